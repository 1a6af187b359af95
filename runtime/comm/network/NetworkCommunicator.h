//===- NetworkCommunicator.h - a process' view of its group -----*- C++ -*-===//
#ifndef LLMC_RUNTIME_COMM_NETWORK_NETWORKCOMMUNICATOR_H
#define LLMC_RUNTIME_COMM_NETWORK_NETWORKCOMMUNICATOR_H

#include "runtime/comm/Bucket.h"
#include "runtime/comm/network/NetworkWorld.h"

namespace llmc::runtime {

class NetworkCommunicator : public Communicator {
public:
  /// `number`: see NetworkWorld.h.
  NetworkCommunicator(NetworkWorld &world, std::vector<unsigned> ranks, unsigned rank, uint64_t number);
  static uint64_t lastTag(uint64_t number) { return (number + 1) * 2 * kTags - 1; }

private:
  Status run(const Collective &call) override;
  Status runExchange(std::span<const Transfer> transfers) override;

  Status barrier();
  Status broadcast(const Collective &call, const Range &from, const Range &to);
  Status reduce(const Collective &call, const Range &own, const Range &target);
  Status move();
  Status round(size_t offset, bool reducing);
  void reset();

  uint64_t tag(bool message, unsigned of) const { return (number * 2 + (message ? 1 : 0)) * kTags + of; }
  char *landing(unsigned peer) { return scratch.get() + peer * chunk; }
  char *packing(unsigned peer) { return scratch.get() + (size() + peer) * chunk; }

  NetworkWorld &world;
  const uint64_t number;
  const size_t chunk;                    // bytes that go to or come from a peer in one round
  std::unique_ptr<char[]> scratch;       // a chunk per peer for each direction
  std::vector<Range> outgoing, incoming; // per peer
  std::vector<Packet> packets;
  std::vector<const void *> sources;
};

} // namespace llmc::runtime

#endif // LLMC_RUNTIME_COMM_NETWORK_NETWORKCOMMUNICATOR_H
