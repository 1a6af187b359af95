//===- NcclWorld.h - ranks with a GPU each ----------------------*- C++ -*-===//
//
// What differs from other worlds:
//   - Addresses are the GPU's. Collectives run on a stream of their communicator's own: what writes their operands must
//     be complete when they are called, as what they write is when they return.
//   - NCCL reduces in an order of its own, which depends on the number of ranks, their links and the size. Sums of
//     floats differ in their last bits from those of other worlds; those of integers and maxima do not. Max drops NaN,
//     unless all operands are NaN (fmax).
//   - NCCL has no tags. What a rank sends to another is received in the order it is sent; within one exchange, in the
//     order of the tags, and of equal tags as listed. Tags and sizes that do not match are not noticed.
//   - It cannot be seen whether something arrives: the deadline counts from the beginning of a call. When it has
//     passed, the ranks of the group meet in the bootstrap world, to tell who is missing, which takes as long again.
//
//===----------------------------------------------------------------------===//
#ifndef LLMC_RUNTIME_COMM_NCCL_NCCLWORLD_H
#define LLMC_RUNTIME_COMM_NCCL_NCCLWORLD_H

#include "runtime/comm/Communicator.h"
#include "runtime/comm/nccl/Libraries.h"

namespace llmc::runtime {

struct NcclOptions {
  unsigned device = 0; // of this rank, as CUDA counts
  /// For opening, and then as in World::setDeadline.
  std::chrono::milliseconds deadline = kDefaultDeadline;
  nccl::LibraryPaths libraries;
};

/// The ranks of `bootstrap`, with a GPU each. All ranks call it; the libraries are loaded then. `bootstrap` takes over
/// the deadline, outlives the world, and stays of use to the same thread, for what lies in the host's memory; a failure
/// of one is a failure of both, and each has an end of its own: this one's goes first. Errors: as openWorld's, the same
/// on all ranks: WrongUse also if a rank has no such GPU, or two have the same.
Result<std::unique_ptr<World>> openNcclWorld(World &bootstrap, const NcclOptions &options);

} // namespace llmc::runtime

#endif // LLMC_RUNTIME_COMM_NCCL_NCCLWORLD_H
