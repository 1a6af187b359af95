//===- LocalWorld.h - ranks that are threads of one process -----*- C++ -*-===//
#ifndef LLMC_RUNTIME_COMM_LOCAL_LOCALWORLD_H
#define LLMC_RUNTIME_COMM_LOCAL_LOCALWORLD_H

#include "runtime/comm/Communicator.h"
#include <functional>

namespace llmc::runtime {

class LocalWorld {
public:
  /// One world per rank, in order, each for a thread of its own. Ranks read and write each other's operands: a
  /// collective takes no memory but its operands, and allocates nothing. `size` > 0.
  static std::vector<std::unique_ptr<World>> create(unsigned size);

  /// Runs a function for each rank, on a thread of its own, and finishes the worlds of those that succeed; one that fails
  /// leaves, as if it had died. Returns the outcomes, by rank.
  static std::vector<Status> run(unsigned size, const std::function<Status(World &)> &rankMain);
};

} // namespace llmc::runtime

#endif // LLMC_RUNTIME_COMM_LOCAL_LOCALWORLD_H
