//===- Conformance.h - what every communicator must do ----------*- C++ -*-===//
#ifndef LLMC_TEST_RUNTIME_COMM_CONFORMANCE_H
#define LLMC_TEST_RUNTIME_COMM_CONFORMANCE_H

#include "runtime/comm/Communicator.h"
#include <string>

namespace llmc::test {

/// `problems`: one line each, empty if there are none. `digest`: of the bits of all results, equal for all backends.
struct Outcome {
  std::string problems;
  uint64_t digest = 0;
};

/// Runs all collectives, messages and groups; to be called by each rank of a world.
Outcome checkConformance(runtime::World &world);

} // namespace llmc::test

#endif // LLMC_TEST_RUNTIME_COMM_CONFORMANCE_H
