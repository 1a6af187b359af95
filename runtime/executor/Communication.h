//===- Communication.h - the collectives of one rank's program --*- C++ -*-===//
#ifndef LLMC_RUNTIME_EXECUTOR_COMMUNICATION_H
#define LLMC_RUNTIME_EXECUTOR_COMMUNICATION_H

#include "runtime/comm/Communicator.h"
#include "runtime/plan/PlanFile.h"
#include <condition_variable>
#include <deque>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

namespace llmc::runtime {

/// A collective whose operands have addresses.
struct BoundCollective {
  fb::CollectiveKind kind = fb::CollectiveKind::AllReduce;
  Communicator *group = nullptr; // null: the rank is alone in its group
  fb::DataType type = fb::DataType::U8;
  Reduction reduction = Reduction::Sum;
  std::vector<Operand> operands; // `elements` as the Communicator counts them
  std::vector<size_t> bytes;     // of `from`, per operand
  uint64_t sent = 0;             // payload bytes so far
};

/// The communicators of a rank, one per division of the plan that has collectives, and the thread that runs collectives beside compute.
/// Collectives run in the order in which they are started. Not thread-safe.
class Communication {
public:
  /// Opens the groups of divisions in which any rank of the plan has a collective, be it another program's, so that all open the
  /// same; all ranks of the job do so at the same time. `world` outlives this; null for a
  /// plan of one rank. Errors: as World::group.
  static Result<std::unique_ptr<Communication>> open(const fb::Plan &plan, uint32_t rank, World *world);
  ~Communication();

  /// The rank's group in division `groups`; null if it is alone there, or no collective needs it.
  Communicator *group(uint32_t groups) const { return divisions[groups].get(); }

  /// Runs now, after everything that was started. Errors: as the Communicator's.
  Status run(BoundCollective &collective);
  /// Starts to run beside the caller; returns a ticket to wait for. What it reads and writes is left alone until then.
  uint64_t start(BoundCollective &collective);
  /// Errors: those of any collective up to the ticket's.
  Status wait(uint64_t ticket);

private:
  Communication() = default;
  static Status execute(BoundCollective &collective);
  void work();

  std::vector<std::unique_ptr<Communicator>> divisions;
  std::thread thread; // made at the first start
  std::mutex mutex;
  std::condition_variable changed;
  std::deque<BoundCollective *> queue;
  uint64_t started = 0, done = 0;
  bool stopping = false;
  Status failure;
};

/// Returns when all ranks have called it with equal plans and equal `options`. Errors: PlanRefused on all ranks, naming those
/// that differ from rank 0; RankDied, DeadlinePassed.
Status compareRanks(World &world, const PlanFile &plan, const std::string &options);

} // namespace llmc::runtime

#endif // LLMC_RUNTIME_EXECUTOR_COMMUNICATION_H
