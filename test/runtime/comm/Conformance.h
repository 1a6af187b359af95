//===- Conformance.h - what every communicator must do ----------*- C++ -*-===//
#ifndef LLMC_TEST_RUNTIME_COMM_CONFORMANCE_H
#define LLMC_TEST_RUNTIME_COMM_CONFORMANCE_H

#include "runtime/comm/Communicator.h"
#include "test/runtime/comm/Memory.h"
#include <string>

namespace llmc::test {

/// `problems`: one line each, empty if there are none. `digest`: of the bits of all results, equal for all backends.
struct Outcome {
  std::string problems;
  uint64_t digest = 0;
};

/// What a backend promises beyond what all do.
struct Promises {
  bool rankOrder = true; // of additions; otherwise sums of floats are as near as any order brings them
  bool tags = true;      // messages to a rank may be received in another order than they are sent
};

/// Runs all collectives, messages and groups, on operands in `memory`; to be called by each rank of a world.
Outcome checkConformance(runtime::World &world, const Memory &memory = Memory(), const Promises &promises = {});

} // namespace llmc::test

#endif // LLMC_TEST_RUNTIME_COMM_CONFORMANCE_H
