//===- NetworkWorld.h - ranks that are processes ----------------*- C++ -*-===//
//
// A tag is (number of the communicator, collective or message, tag of the message). The members of a group agree on its
// number when they make it: the largest of the next free numbers of all members, so that no two groups with a common
// member share one. Number 0 is the world's own.
//
//===----------------------------------------------------------------------===//
#ifndef LLMC_RUNTIME_COMM_NETWORK_NETWORKWORLD_H
#define LLMC_RUNTIME_COMM_NETWORK_NETWORKWORLD_H

#include "runtime/comm/Communicator.h"
#include "runtime/comm/network/Link.h"
#include <array>

namespace llmc::runtime {

class NetworkWorld : public World {
public:
  NetworkWorld(std::unique_ptr<Link> link, std::chrono::milliseconds deadline);
  ~NetworkWorld() override;

  unsigned rank() const override { return link->rank(); }
  unsigned size() const override { return link->size(); }
  Communicator &all() override { return *whole; }
  Result<std::unique_ptr<Communicator>> group(std::vector<unsigned> ranks) override;
  void setDeadline(std::chrono::milliseconds limit) override { deadline = limit; }
  Status poll() override;
  Status fail(Status status) override;
  Status finish() override;

  /// Does all of `packets`, of any size, and returns when all are done.
  Status transfer(std::span<const Packet> packets);

private:
  using Notice = std::array<char, 512>; // a code, then text that ends in 0
  static constexpr uint64_t kNoticeTag = 0, kGroupTag = 1;

  Status giveUp(Status status);
  Status failUnlessTold(Status status, std::chrono::milliseconds patience);
  bool readNotice();
  void sendNotices();
  Status await();
  Status expired();

  const std::unique_ptr<Link> link;
  std::chrono::milliseconds deadline;
  Status failure;
  uint64_t nextGroup = 2;
  std::vector<Packet> pieces;   // of the transfer at hand, each at most kPacketBytes
  std::vector<char> unfinished; // of `pieces`
  Notice incoming{}, outgoing{};
  bool listening = false; // `incoming` is in receipt
  std::unique_ptr<Communicator> whole;
  bool finished = false;
};

} // namespace llmc::runtime

#endif // LLMC_RUNTIME_COMM_NETWORK_NETWORKWORLD_H
