//===- Worlds.h - opens a world by the name of its backend ------*- C++ -*-===//
#ifndef LLMC_RUNTIME_COMM_WORLDS_H
#define LLMC_RUNTIME_COMM_WORLDS_H

#include "runtime/comm/Communicator.h"
#include <atomic>
#include <functional>
#include <string>

namespace llmc::runtime {

/// Local: threads of one process (more than one of them: LocalWorld.h). Gloo: processes that a launcher tells their
/// rank, over TCP, without encryption or authentication. Mpi: processes that mpirun or srun started.
enum class Backend { Local, Gloo, Mpi };

struct WorldOptions {
  /// Mpi: MPI knows both; they must agree with it where they are given.
  unsigned rank = 0, size = 0;
  /// Gloo: where rank 0 listens while the ranks find each other, and how the others reach it (addresses or names, separated by
  /// commas: tried in turn).
  std::string address;
  uint16_t port = 0;
  /// For opening, and then as in World::setDeadline.
  std::chrono::milliseconds deadline = kDefaultDeadline;
  /// Where the plugins lie; empty: beside the executable.
  std::string plugins;
  /// If not null: when the job was told to end, with SIGTERM say; in the future until then. Ranks that have not come by then
  /// will not: opening ends, and names them. Outlives the world.
  const std::atomic<std::chrono::steady_clock::time_point> *told = nullptr;
  /// Called at most once, by a thread of the backend, when another rank has died or gives up. Mpi, where the launcher speaks PMIx.
  std::function<void(const Status &)> onLoss;

  bool isTold() const { return told && std::chrono::steady_clock::now() >= told->load(); }
};

/// Returns when all ranks have called it. A plugin is loaded when it is first needed, and stays. One world per process
/// with Mpi, ever.
/// Errors: WrongUse (options; a plugin or its library is not there, with the package to install as the hint), RankDied,
/// DeadlinePassed.
Result<std::unique_ptr<World>> openWorld(Backend backend, const WorldOptions &options);

} // namespace llmc::runtime

#endif // LLMC_RUNTIME_COMM_WORLDS_H
