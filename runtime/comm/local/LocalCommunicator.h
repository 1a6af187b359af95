//===- LocalCommunicator.h - a thread's view of its group -------*- C++ -*-===//
#ifndef LLMC_RUNTIME_COMM_LOCAL_LOCALCOMMUNICATOR_H
#define LLMC_RUNTIME_COMM_LOCAL_LOCALCOMMUNICATOR_H

#include "runtime/comm/local/LocalGroup.h"

namespace llmc::runtime::local {

/// `deadline` is the world's, and may change between calls.
class LocalCommunicator : public Communicator {
public:
  LocalCommunicator(std::shared_ptr<Shared> shared, std::shared_ptr<Group> group, unsigned rank,
                    const std::chrono::milliseconds &deadline);

private:
  Status run(const Collective &call) override;
  Status runExchange(std::span<const Transfer> transfers) override;

  Status arrive(std::chrono::steady_clock::time_point deadline);
  void finish();
  Status agree() const;
  void allReduce(const Collective &call);
  void reduceScatter(const Collective &call);
  void fetch(const Collective &call);
  template <typename F> bool spin(F &&done) const;
  Status receive(const Transfer &transfer, std::chrono::steady_clock::time_point deadline,
                 std::unique_lock<std::mutex> &lock);
  Status awaitOffers(std::chrono::steady_clock::time_point deadline, std::unique_lock<std::mutex> &lock);

  const std::shared_ptr<Shared> shared;
  const std::shared_ptr<Group> group;
  const std::chrono::milliseconds &waitLimit;
  const bool mayspin;
  uint64_t meeting = 0; // collectives so far
  std::vector<const void *> sources;
  std::vector<void *> targets;
};

} // namespace llmc::runtime::local

#endif // LLMC_RUNTIME_COMM_LOCAL_LOCALCOMMUNICATOR_H
