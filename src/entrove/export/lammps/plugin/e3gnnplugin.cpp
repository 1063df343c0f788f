// Registers SevenNet's pair style e3gnn with LAMMPS' command "plugin load".
//
// The pair style itself is SevenNet's file pair_e3gnn.cpp, which build_plugin.sh compiles together
// with this one. The interface of plugins is described in LAMMPS' manual ("Writing plugins").

#include "pair_e3gnn.h"

#if __has_include("lammpsplugin.h")
#include "lammpsplugin.h"
#else
// The headers of LAMMPS' Python package lack this one; these are the types that the manual describes.
extern "C" {
typedef void *(lammpsplugin_factory1)(void *);
typedef void *(lammpsplugin_factory2)(void *, int, char **);
typedef struct {
  const char *version;
  const char *style;
  const char *name;
  const char *info;
  const char *author;
  union {
    lammpsplugin_factory1 *v1;
    lammpsplugin_factory2 *v2;
  } creator;
  void *handle;
} lammpsplugin_t;
typedef void (*lammpsplugin_regfunc)(lammpsplugin_t *, void *);
}
#endif

#if __has_include("version.h")
#include "version.h"
#endif
#ifndef LAMMPS_VERSION
// LAMMPS only prints a warning where this differs from its own version.
#define LAMMPS_VERSION "unknown"
#endif

static void *create_pair(void *lammps)
{
  return new LAMMPS_NS::PairE3GNN(static_cast<LAMMPS_NS::LAMMPS *>(lammps));
}

extern "C" void lammpsplugin_init(void *lammps, void *handle, void *registration)
{
  lammpsplugin_t plugin{};
  plugin.version = LAMMPS_VERSION;
  plugin.style = "pair";
  plugin.name = "e3gnn";
  plugin.info = "SevenNet, one rank";
  plugin.author = "SevenNet's developers";
  plugin.creator.v1 = &create_pair;
  plugin.handle = handle;
  reinterpret_cast<lammpsplugin_regfunc>(registration)(&plugin, lammps);
}
