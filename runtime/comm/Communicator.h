//===- Communicator.h - what ranks say to each other ------------*- C++ -*-===//
//
// One interface for ranks that are threads of a process (local), or processes (Gloo, MPI), and for ranks with a GPU each
// (NCCL, whose addresses are the GPU's). Reductions add in the order of the ranks, ((r0 + r1) + r2) + ..., in the element
// type, so that every backend gives the same bits, for any bucketing; all but NCCL, see nccl/NcclWorld.h. Memory stays
// the caller's; it may be used again when a call returns, whether or not it succeeded.
//
// Errors of all calls: WrongUse (an argument; nothing was sent), RankDied, DeadlinePassed (the message names the ranks,
// numbered as in the world). After RankDied or DeadlinePassed the world and all its communicators are unusable: further
// calls return the same error at once, and ranks that wait for this one are woken and return it too.
//
// A world and its communicators are used by one thread at a time.
//
//===----------------------------------------------------------------------===//
#ifndef LLMC_RUNTIME_COMM_COMMUNICATOR_H
#define LLMC_RUNTIME_COMM_COMMUNICATOR_H

#include "runtime/plan/Plan_generated.h"
#include "runtime/support/Status.h"
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

namespace llmc::runtime {

namespace fb = llmc::plan::fb;

/// Max of floats is NaN if any operand is (over NCCL: if all are).
enum class Reduction { Sum, Max };

/// One tensor of a collective; each collective says what `elements` counts. Operands of one call do not overlap, nor do
/// `from` and `to` but as the collective allows. All ranks pass the same counts in the same order.
struct Operand {
  const void *from = nullptr;
  void *to = nullptr;
  size_t elements = 0;
};

/// A message to or from `peer` (a rank of the communicator). Messages with equal sender, receiver and tag arrive in the
/// order they were sent; sender and receiver agree on `bytes`. A message of 0 bytes need not be sent at all.
struct Transfer {
  enum Kind { Send, Receive } kind;
  unsigned peer;
  unsigned tag; // below Communicator::kTags
  void *data;   // only read by Send
  size_t bytes;
};

/// What a rank has sent to others: payload bytes, and calls that succeeded. Ranks that are threads count the bytes that
/// the same collective takes between processes.
struct Traffic {
  uint64_t bytesSent = 0, calls = 0;
};

enum class CollectiveKind { AllReduce, AllGather, ReduceScatter, Broadcast, AllToAll, Barrier };

/// A call of a collective, as backends get it: its arguments are checked.
struct Collective {
  CollectiveKind kind = CollectiveKind::Barrier;
  std::span<const Operand> operands;
  fb::DataType type = fb::DataType::U8;
  Reduction reduction = Reduction::Sum;
  unsigned root = 0;
};

/// One rank's view of an ordered group of ranks. All ranks of the group issue the same sequence of collectives. With n
/// ranks and P bytes (of the larger side of each operand, summed up), a rank sends 2P(n-1)/n bytes for allReduce,
/// P(n-1)/n for the others; broadcast: P for the root, P(n-2)/(n-1) for each other.
class Communicator {
public:
  static constexpr unsigned kTags = 1u << 16;

  virtual ~Communicator() = default;
  Communicator(const Communicator &) = delete;
  Communicator &operator=(const Communicator &) = delete;

  unsigned rank() const { return position; }
  unsigned size() const { return static_cast<unsigned>(members.size()); }
  /// The group: members in order, by their rank in the world.
  const std::vector<unsigned> &ranks() const { return members; }
  Traffic traffic() const { return sent; }

  /// to = from of all ranks, reduced. `elements`: of each side. from == to is allowed. Types: F32, F64, I32, I64 (sums
  /// of integers wrap).
  Status allReduce(std::span<const Operand> operands, fb::DataType type, Reduction reduction);
  /// to = the `from` of rank 0, then of rank 1, ... `elements`: of `from`; `to` has size() times as many. `from` may be
  /// this rank's place in `to`.
  Status allGather(std::span<const Operand> operands, fb::DataType type);
  /// to = this rank's part of the reduced `from`. `elements`: of `to`; `from` has size() times as many. `to` may be
  /// this rank's part of `from`. Types as allReduce.
  Status reduceScatter(std::span<const Operand> operands, fb::DataType type, Reduction reduction);
  /// to = the root's `from`. `elements`: of each side. from == to is allowed; `from` may be null but at the root.
  Status broadcast(std::span<const Operand> operands, fb::DataType type, unsigned root);
  /// Part j of `to` = this rank's part of rank j's `from`. `elements`: of one part; both sides have size() parts.
  Status allToAll(std::span<const Operand> operands, fb::DataType type);
  /// Returns when all ranks have called it.
  Status barrier();

  /// Does all of `transfers`, in any order, and returns when all are done: ranks that send to each other in one call do
  /// not wait for each other in a circle.
  Status exchange(std::span<const Transfer> transfers);
  /// One transfer. `send` may wait until the peer receives.
  Status send(unsigned peer, unsigned tag, std::span<const std::byte> bytes);
  Status recv(unsigned peer, unsigned tag, std::span<std::byte> bytes);

protected:
  Communicator(std::vector<unsigned> ranks, unsigned rank) : members(std::move(ranks)), position(rank) {}
  virtual Status run(const Collective &call) = 0;
  virtual Status runExchange(std::span<const Transfer> transfers) = 0;

  const std::vector<unsigned> members;
  const unsigned position;
  Traffic sent;

private:
  Status checked(const Collective &call);
};

/// One rank's view of all ranks of a job. Communicators do not outlive it. A world that goes away without a successful
/// `finish` looks to the others like a rank that died.
class World {
public:
  virtual ~World() = default;

  virtual unsigned rank() const = 0;
  virtual unsigned size() const = 0;
  /// The communicator of all ranks, in order.
  virtual Communicator &all() = 0;
  /// A communicator of `ranks`, whose order becomes that of the group. All of them call it, with equal lists, and in
  /// the same order where they share several groups; returns when all have.
  virtual Result<std::unique_ptr<Communicator>> group(std::vector<unsigned> ranks) = 0;
  /// How long a call waits while nothing arrives from any rank. 5 minutes at first.
  virtual void setDeadline(std::chrono::milliseconds deadline) = 0;
  /// The failure that this rank has met or been told of, if any. Does not wait for it, but may take 10 ms.
  virtual Status poll() = 0;
  /// Gives up for this rank's own reason, and tells the others. Returns the failure of the world: `status`, unless there
  /// was one before.
  virtual Status fail(Status status) = 0;
  /// The orderly end: waits for all ranks to call it. Nothing may be called afterwards.
  virtual Status finish() = 0;
};

/// What World::setDeadline starts with.
inline constexpr std::chrono::milliseconds kDefaultDeadline = std::chrono::minutes(5);

} // namespace llmc::runtime

#endif // LLMC_RUNTIME_COMM_COMMUNICATOR_H
