//===- Binding.cpp - which cores and memory a rank uses -------------------===//
#include "tools/llmc-run/Binding.h"
#include <climits>
#include <hwloc.h>
#include <vector>

namespace llmc::tool {

void bindToShare(unsigned index, unsigned count) {
  hwloc_topology_t topology;
  if (hwloc_topology_init(&topology) != 0)
    return;
  hwloc_bitmap_t allowed = hwloc_bitmap_alloc();
  bool known = hwloc_topology_load(topology) == 0 && hwloc_get_cpubind(topology, allowed, HWLOC_CPUBIND_PROCESS) == 0 &&
               hwloc_topology_restrict(topology, allowed, 0) == 0;
  int cores = known ? hwloc_get_nbobjs_by_type(topology, HWLOC_OBJ_CORE) : 0;
  if (cores >= static_cast<int>(count)) {
    std::vector<hwloc_bitmap_t> shares(count);
    hwloc_obj_t root = hwloc_get_root_obj(topology);
    if (hwloc_distrib(topology, &root, 1, shares.data(), count, INT_MAX, 0) == 0) {
      hwloc_set_cpubind(topology, shares[index], HWLOC_CPUBIND_THREAD);
      if (hwloc_get_nbobjs_by_type(topology, HWLOC_OBJ_NUMANODE) > 1)
        hwloc_set_membind(topology, shares[index], HWLOC_MEMBIND_BIND, HWLOC_MEMBIND_THREAD);
      for (hwloc_bitmap_t share : shares)
        hwloc_bitmap_free(share);
    }
  }
  hwloc_bitmap_free(allowed);
  hwloc_topology_destroy(topology);
}

} // namespace llmc::tool
