//===- LocalGroup.h - what the threads of a process share -------*- C++ -*-===//
//
// A collective has two meetings. At the first, all members have said what they call and where their operands lie; a
// deadline or an error elsewhere may break it, for all members or for none: the count of arrivals and the mark of
// failure are one word. After it members read and write each other's operands. At the second all have finished doing
// so; it has no deadline, since what it waits for is only copying and adding.
//
//===----------------------------------------------------------------------===//
#ifndef LLMC_RUNTIME_COMM_LOCAL_LOCALGROUP_H
#define LLMC_RUNTIME_COMM_LOCAL_LOCALGROUP_H

#include "runtime/comm/Communicator.h"
#include <atomic>
#include <condition_variable>
#include <map>
#include <mutex>

namespace llmc::runtime::local {

/// A message that its sender offers; guarded by Shared::mutex.
struct Offer {
  const Transfer *transfer;
  enum State { Open, Taken, Done } state = Open;
};

struct Group {
  explicit Group(std::vector<unsigned> ranks)
      : ranks(std::move(ranks)), calls(this->ranks.size()), meetings(this->ranks.size()), offers(this->ranks.size()) {}

  static constexpr uint64_t kFailed = 1ull << 63;

  const std::vector<unsigned> ranks;            // of the world
  alignas(64) std::atomic<uint64_t> arrived{0}; // over all collectives so far, and kFailed, which stops the count
  alignas(64) std::atomic<uint64_t> finished{0};
  std::vector<Collective> calls;               // per member, valid between the meetings
  std::vector<std::atomic<uint64_t>> meetings; // per member: collectives that it has come to
  std::vector<std::vector<Offer>> offers;      // per sender; guarded by Shared::mutex
};

/// One per world; groups live as long.
struct Shared {
  std::mutex mutex;
  std::condition_variable changed; // with `mutex`, for all waits
  std::atomic<unsigned> sleepers{0};
  bool failed = false;
  Status failure;                                                              // the first; set once
  std::map<std::vector<unsigned>, std::vector<std::shared_ptr<Group>>> groups; // each list may be opened repeatedly

  /// Marks the world as unusable and wakes everyone; returns the first failure. The caller holds `mutex`.
  Status fail(Status status);
  /// Wakes sleepers after a change that was not made under `mutex`.
  void wake();
};

} // namespace llmc::runtime::local

#endif // LLMC_RUNTIME_COMM_LOCAL_LOCALGROUP_H
