//===- Ranks.h - where the ranks of a job run -------------------*- C++ -*-===//
#ifndef LLMC_TOOLS_LLMC_RUN_RANKS_H
#define LLMC_TOOLS_LLMC_RUN_RANKS_H

#include "runtime/comm/Worlds.h"
#include "tools/llmc-run/Watch.h"
#include <functional>

namespace llmc::tool {

struct RanksOptions {
  unsigned ranks = 0; // --ranks: threads of this process; 0: not given
  std::string comm;   // --comm: local, mpi, gloo; empty: as launched
  double deadline = 60; // --deadline, seconds
  std::string logFolder;
  bool bind = true;     // ranks get cores of their own
  unsigned threads = 0; // --threads, of all ranks of this process together; 0: all cores

  std::chrono::milliseconds wait() const { return std::chrono::milliseconds(static_cast<int64_t>(deadline * 1000)); }
};

/// What one rank does, with its world (null if there is one rank) and the number of its threads. It ends with World::finish.
using RankMain = std::function<runtime::Status(WatchedRank &watched, unsigned rank, runtime::World *world, unsigned threads)>;

/// Runs a plan of `ranks` ranks as it was launched: in this process, as threads, or as one process of several, which
/// mpirun, srun or a launcher that sets RANK, WORLD_SIZE, MASTER_ADDR and MASTER_PORT started. Returns the error to show:
/// the one that made the others' happen, if that is known. Errors: WrongUse if the plan is for another number of ranks.
runtime::Status runRanks(unsigned ranks, const RanksOptions &options, const RankMain &rankMain);

} // namespace llmc::tool

#endif // LLMC_TOOLS_LLMC_RUN_RANKS_H
