//===- NetworkCommunicator.cpp - collectives of messages ------------------===//
//
// Each collective is one or two moves; a move sends each peer a range of the operands and receives one from it, in
// rounds of at most a chunk per peer. Pieces that are contiguous in the operands are sent and received in place.
//
//   reduceScatter  every rank receives its part from every other rank, and adds them up in rank order
//   allReduce      reduceScatter with parts that differ by an element at most, then allGather of the parts
//   broadcast      the root gives each other rank a part of its own, which that rank passes on to the rest
//
//===----------------------------------------------------------------------===//
#include "runtime/comm/network/NetworkCommunicator.h"
#include "runtime/comm/Reduce.h"
#include "runtime/plan/View.h"

namespace llmc::runtime {

static size_t chunkBytes(size_t ranks) { // 4 MiB for all, within bounds
  return std::clamp<size_t>((4u << 20) / ranks, 64u << 10, 1u << 20) / 64 * 64;
}

NetworkCommunicator::NetworkCommunicator(NetworkWorld &world, std::vector<unsigned> ranks, unsigned rank,
                                         uint64_t number)
    : Communicator(std::move(ranks), rank), world(world), number(number), chunk(chunkBytes(size())),
      scratch(size() > 1 ? new char[2 * size() * chunk] : nullptr), outgoing(size()), incoming(size()),
      sources(size()) {}

void NetworkCommunicator::reset() {
  outgoing.assign(size(), Range());
  incoming.assign(size(), Range());
}

/// Sends and receives what lies between `offset` and `offset` + chunk of each range. When reducing, what comes stays in
/// scratch memory.
Status NetworkCommunicator::round(size_t offset, bool reducing) {
  auto piece = [&](const Range &range) {
    return range.slice(offset, range.bytes > offset ? std::min(range.bytes - offset, chunk) : 0);
  };
  packets.clear();
  for (unsigned step = 1; step < size(); ++step) {
    unsigned peer = (rank() + size() - step) % size();
    if (Range to = piece(incoming[peer]); to.bytes > 0) {
      char *place = reducing ? nullptr : to.contiguous();
      packets.push_back({false, members[peer], tag(false, 0), place ? place : landing(peer), to.bytes});
    }
  }
  for (unsigned step = 1; step < size(); ++step) {
    unsigned peer = (rank() + step) % size();
    if (Range from = piece(outgoing[peer]); from.bytes > 0) {
      char *place = from.contiguous();
      if (!place)
        from.copyTo(place = packing(peer));
      packets.push_back({true, members[peer], tag(false, 0), place, from.bytes});
      sent.bytesSent += from.bytes;
    }
  }
  if (Status status = world.transfer(packets); !status.ok())
    return status;
  for (unsigned peer = 0; peer < size() && !reducing; ++peer)
    if (Range to = piece(incoming[peer]); to.bytes > 0 && !to.contiguous())
      to.copyFrom(landing(peer));
  return Status::success();
}

Status NetworkCommunicator::move() {
  size_t longest = 0;
  for (unsigned peer = 0; peer < size(); ++peer)
    longest = std::max({longest, outgoing[peer].bytes, incoming[peer].bytes});
  for (size_t offset = 0; offset < longest; offset += chunk)
    if (Status status = round(offset, false); !status.ok())
      return status;
  return Status::success();
}

/// Sends `outgoing`, and receives from each peer as many bytes as `own` has; `target` gets the sum of all, `own` in its
/// place. Where `target` is `own`, each round writes only what it has read.
Status NetworkCommunicator::reduce(const Collective &call, const Range &own, const Range &target) {
  size_t longest = own.bytes;
  for (unsigned peer = 0; peer < size(); ++peer) {
    incoming[peer].bytes = peer == rank() ? 0 : own.bytes;
    longest = std::max(longest, outgoing[peer].bytes);
  }
  for (size_t offset = 0; offset < longest; offset += chunk) {
    if (Status status = round(offset, true); !status.ok())
      return status;
    size_t landed = 0;
    own.slice(offset, own.bytes > offset ? std::min(own.bytes - offset, chunk) : 0)
        .forEach([&](size_t k, size_t first, size_t bytes) {
          for (unsigned i = 0; i < size(); ++i)
            sources[i] = i == rank() ? own.address(k) + first : landing(i) + landed;
          void *to = target.address(k) + first;
          reduceInOrder(sources, {&to, 1}, bytes / own.width, call.type, call.reduction);
          landed += bytes;
        });
  }
  return Status::success();
}

Status NetworkCommunicator::broadcast(const Collective &call, const Range &from, const Range &to) {
  unsigned others = size() - 1;
  size_t total = countElements(call.operands);
  if (rank() == call.root)
    to.copyFrom(from);
  if (others == 0)
    return Status::success();
  auto partOf = [&](unsigned peer, const Range &side) {
    size_t place = (peer + size() - call.root) % size() - 1, begin = partBegin(total, place, others);
    return side.slice(begin * side.width, (partBegin(total, place + 1, others) - begin) * side.width);
  };
  reset();
  if (rank() == call.root) {
    for (unsigned peer = 0; peer < size(); ++peer)
      if (peer != rank())
        outgoing[peer] = partOf(peer, from);
    return move();
  }
  incoming[call.root] = partOf(rank(), to);
  if (Status status = move(); !status.ok())
    return status;
  reset();
  for (unsigned peer = 0; peer < size(); ++peer)
    if (peer != rank() && peer != call.root) {
      outgoing[peer] = partOf(rank(), to);
      incoming[peer] = partOf(peer, to);
    }
  return move();
}

Status NetworkCommunicator::barrier() {
  packets.clear();
  for (unsigned peer = 0; peer < size(); ++peer)
    if (peer != rank()) {
      packets.push_back({false, members[peer], tag(false, 1), landing(peer), 1});
      packets.push_back({true, members[peer], tag(false, 1), packing(peer), 1});
    }
  return world.transfer(packets);
}

Status NetworkCommunicator::run(const Collective &call) {
  size_t width = elementBytes(call.type), total = countElements(call.operands), bytes = total * width;
  Range from{call.operands, width, false, 0, 0, bytes}, to{call.operands, width, true, 0, 0, bytes};
  auto part = [](Range range, unsigned index) {
    range.part = index;
    return range;
  };
  reset();
  switch (call.kind) {
  case CollectiveKind::Barrier:
    return barrier();
  case CollectiveKind::Broadcast:
    return broadcast(call, from, to);
  case CollectiveKind::AllGather:
  case CollectiveKind::AllToAll:
    for (unsigned peer = 0; peer < size(); ++peer) {
      bool gather = call.kind == CollectiveKind::AllGather;
      Range source = gather ? from : part(from, peer);
      if (peer == rank()) {
        part(to, peer).copyFrom(source);
      } else {
        outgoing[peer] = source;
        incoming[peer] = part(to, peer);
      }
    }
    return move();
  case CollectiveKind::ReduceScatter:
    for (unsigned peer = 0; peer < size(); ++peer)
      if (peer != rank())
        outgoing[peer] = part(from, peer);
    return reduce(call, part(from, rank()), to);
  case CollectiveKind::AllReduce: {
    auto share = [&](const Range &side, unsigned peer) {
      size_t begin = partBegin(total, peer, size());
      return side.slice(begin * width, (partBegin(total, peer + 1, size()) - begin) * width);
    };
    for (unsigned peer = 0; peer < size(); ++peer)
      if (peer != rank())
        outgoing[peer] = share(from, peer);
    if (Status status = reduce(call, share(from, rank()), share(to, rank())); !status.ok())
      return status;
    reset();
    for (unsigned peer = 0; peer < size(); ++peer)
      if (peer != rank()) {
        outgoing[peer] = share(to, rank());
        incoming[peer] = share(to, peer);
      }
    return move();
  }
  }
  return Status::internal("unknown collective");
}

Status NetworkCommunicator::runExchange(std::span<const Transfer> transfers) {
  packets.clear();
  for (const Transfer &transfer : transfers)
    packets.push_back({transfer.kind == Transfer::Send, members[transfer.peer], tag(true, transfer.tag), transfer.data,
                       transfer.bytes});
  return world.transfer(packets);
}

} // namespace llmc::runtime
