//===- Launch.h - what launchers say in the environment ---------*- C++ -*-===//
#ifndef LLMC_TOOLS_LLMC_RUN_LAUNCH_H
#define LLMC_TOOLS_LLMC_RUN_LAUNCH_H

#include "runtime/comm/Worlds.h"
#include <functional>
#include <string>

namespace llmc::tool {

/// The value of an environment variable; empty if it is not set.
using Environment = std::function<std::string(const char *name)>;
std::string processEnvironment(const char *name);

/// How the ranks of this job talk: `comm` if it is given, local if `ranks`, the number of --ranks, is not 0; else as this
/// process was launched: mpi by mpirun or srun, gloo by what sets RANK and WORLD_SIZE, such as torchrun, local by nothing.
std::string chosenComm(const std::string &comm, unsigned ranks, const Environment &environment);

/// The rank that the launcher gave this process, 0 if there is none.
unsigned ownRank(const Environment &environment);

/// Fills in rank, size, address and port for a plan of `ranks` ranks, from RANK, WORLD_SIZE, MASTER_ADDR and MASTER_PORT.
/// Errors: WrongUse, naming the variable.
runtime::Status readPlace(const Environment &environment, unsigned ranks, runtime::WorldOptions &options);

} // namespace llmc::tool

#endif // LLMC_TOOLS_LLMC_RUN_LAUNCH_H
