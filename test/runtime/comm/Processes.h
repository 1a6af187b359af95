//===- Processes.h - ranks of a test that are processes ---------*- C++ -*-===//
#ifndef LLMC_TEST_RUNTIME_COMM_PROCESSES_H
#define LLMC_TEST_RUNTIME_COMM_PROCESSES_H

#include "runtime/comm/Worlds.h"
#include "test/runtime/comm/Gpus.h"
#include <string>
#include <vector>

namespace llmc::test {

/// A port that was free a moment ago.
unsigned freePort();
/// Why ranks cannot be processes over `backend` on this machine; empty if they can.
std::string whyAbsent(runtime::Backend backend);

/// Runs `size` ranks of comm_worker and returns what each has written, empty if nothing. Scenarios:
///   conform  problems, or the digest of all results
///   absent   rank 2 does not come to a collective     code, milliseconds, message of the error of each rank
///   killed   rank 2 is killed between two of many     as absent
///   leaves   rank 2 goes away in an orderly process   as absent
///   late     rank 2 does not even start (Gloo)        as absent
///   silent   rank 2 connects first and says nothing   as absent
/// `recovery`: mpiexec is asked to leave the others alone when a rank dies (only Open MPI's can). `gpus`: the scenario
/// is about a world over NCCL, which `backend` bootstraps.
std::vector<std::string> runRanks(runtime::Backend backend, unsigned size, const std::string &scenario,
                                  bool recovery = false, Gpus gpus = Gpus::None);

} // namespace llmc::test

#endif // LLMC_TEST_RUNTIME_COMM_PROCESSES_H
