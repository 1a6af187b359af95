//===- NetworkWorld.cpp - ranks that are processes ------------------------===//
//
// A rank that fails tells all others why before it goes, so that they report the rank that did not come, rather than
// the one that gave up on it. Each rank therefore has a notice from anyone in receipt at all times.
//
// Numbers of the link: 0 for the receipt of a notice; 1 + peer for notices sent; from there on the pieces of a
// transfer.
//
//===----------------------------------------------------------------------===//
#include "runtime/comm/network/NetworkWorld.h"
#include "runtime/comm/Failure.h"
#include "runtime/comm/network/NetworkCommunicator.h"
#include <algorithm>
#include <numeric>
#include <set>

namespace llmc::runtime {

using Clock = std::chrono::steady_clock;
using namespace std::chrono_literals;

NetworkWorld::NetworkWorld(std::unique_ptr<Link> opened, std::chrono::milliseconds limit)
    : link(std::move(opened)), deadline(limit) {
  if (size() > 1)
    listening = link->start(0, {false, Packet::kAnyone, kNoticeTag, incoming.data(), sizeof(Notice)}) ==
                Link::Progress::Pending;
  std::vector<unsigned> everyone(size());
  std::iota(everyone.begin(), everyone.end(), 0u);
  whole = std::make_unique<NetworkCommunicator>(*this, everyone, rank(), 1);
}

NetworkWorld::~NetworkWorld() {
  if (!finished && failure.ok())
    (void)giveUp(rankDied(rank()));
}

/// Takes over the failure of another rank, if one has come. What the link knows, all know: they need no notice, and a library may
/// be stuck when it sends one to the dead.
bool NetworkWorld::readNotice() {
  failure = link->loss();
  if (!failure.ok()) {
    listening = false;
    return true;
  }
  if (!listening)
    return false;
  Link::Progress progress = link->wait(0);
  listening = progress == Link::Progress::Pending;
  if (progress == Link::Progress::Done)
    failure = {static_cast<StatusCode>(incoming[0]), std::string(incoming.data() + 1), ""};
  return !failure.ok();
}

/// To all that take it at once: some may have failed for themselves, or not be there.
void NetworkWorld::sendNotices() {
  outgoing[0] = static_cast<char>(failure.code);
  failure.message.copy(outgoing.data() + 1, outgoing.size() - 2);
  std::vector<unsigned> sending;
  for (unsigned peer = 0; peer < size(); ++peer)
    if (peer != rank() &&
        link->start(1 + peer, {true, peer, kNoticeTag, outgoing.data(), sizeof(Notice)}) == Link::Progress::Pending)
      sending.push_back(peer);
  for (Clock::time_point end = Clock::now() + 100ms; !sending.empty() && Clock::now() < end;)
    std::erase_if(sending, [&](unsigned peer) { return link->wait(1 + peer) != Link::Progress::Pending; });
}

/// Messages under way go on while notices are sent, since a notice cannot pass a message that is half sent.
Status NetworkWorld::giveUp(Status status) {
  failure = std::move(status);
  link->leave(failure);
  sendNotices();
  link->drop(0);
  listening = false;
  return failure;
}

/// A peer that has given up may have said why: that counts, if it comes within `patience`. It has told the others too.
Status NetworkWorld::failUnlessTold(Status status, std::chrono::milliseconds patience) {
  Clock::time_point end = Clock::now() + patience;
  do
    if (readNotice()) {
      link->drop(0);
      return failure;
    }
  while (listening && Clock::now() < end);
  return giveUp(std::move(status));
}

/// The ranks whose messages have not come; where all have, those that do not take this rank's. Who misses several may be a
/// message ahead of ranks that miss one, which then know better: they speak first.
Status NetworkWorld::expired() {
  std::vector<unsigned> missing;
  for (bool sends : {false, true})
    for (size_t i = 0; i < pieces.size() && (!sends || missing.empty()); ++i)
      if (unfinished[i] && pieces[i].send == sends)
        missing.push_back(pieces[i].peer);
  auto patience = std::set<unsigned>(missing.begin(), missing.end()).size() > 1 ? 200ms : 0ms;
  return failUnlessTold(deadlinePassed(missing, deadline), patience);
}

Status NetworkWorld::await() {
  size_t left = 0, base = 1 + size();
  unfinished.assign(pieces.size(), 0);
  for (size_t i = 0; i < pieces.size(); ++i) {
    Link::Progress progress = link->start(base + i, pieces[i]);
    if (progress == Link::Progress::Lost)
      return failUnlessTold(rankDied(pieces[i].peer), 100ms);
    unfinished[i] = progress == Link::Progress::Pending;
    left += unfinished[i] ? 1 : 0;
  }
  Clock::time_point end = Clock::now() + deadline;
  for (size_t i = 0, waits = 1; left > 0; i = (i + 1) % pieces.size()) {
    if (!unfinished[i])
      continue;
    Link::Progress progress = link->wait(base + i);
    if (progress == Link::Progress::Lost)
      return failUnlessTold(rankDied(pieces[i].peer), 100ms);
    if (progress == Link::Progress::Done) {
      unfinished[i] = 0;
      --left;
      end = Clock::now() + deadline;
    } else if (Clock::now() >= end) {
      return expired();
    } else if ((!link->loss().ok() || waits++ % 8 == 0) && readNotice()) {
      link->drop(0);
      return failure;
    }
  }
  return Status::success();
}

Status NetworkWorld::transfer(std::span<const Packet> packets) {
  if (!failure.ok())
    return failure;
  pieces.clear();
  for (Packet packet : packets)
    for (size_t left = packet.bytes; left > 0; left -= packet.bytes) {
      packet.bytes = std::min(left, Link::kPacketBytes);
      pieces.push_back(packet);
      packet.data = static_cast<char *>(packet.data) + packet.bytes;
    }
  return await();
}

Result<std::unique_ptr<Communicator>> NetworkWorld::group(std::vector<unsigned> ranks) {
  if (Status status = checkGroup(ranks, rank(), size()); !status.ok())
    return status;
  struct Proposal {
    uint64_t number, list; // digest of the ranks
  };
  Proposal own{nextGroup, 0xCBF29CE484222325ull};
  for (unsigned each : ranks)
    own.list = (own.list ^ each) * 0x100000001B3ull;
  std::vector<Proposal> proposals(ranks.size(), own);
  std::vector<Packet> packets;
  for (size_t i = 0; i < ranks.size(); ++i)
    if (ranks[i] != rank()) {
      packets.push_back({false, ranks[i], kGroupTag, &proposals[i], sizeof(Proposal)});
      packets.push_back({true, ranks[i], kGroupTag, &own, sizeof(Proposal)});
    }
  if (Status status = transfer(packets); !status.ok())
    return status;
  for (size_t i = 0; i < ranks.size(); ++i) {
    if (proposals[i].list != own.list)
      return giveUp(Status::wrongUse("ranks " + std::to_string(rank()) + " and " + std::to_string(ranks[i]) +
                                     " ask for different groups"));
    nextGroup = std::max(nextGroup, proposals[i].number);
  }
  uint64_t number = nextGroup++;
  if (NetworkCommunicator::lastTag(number) > link->maximumTag())
    return giveUp(Status::wrongUse("too many groups for the tags of this transport"));
  unsigned place = static_cast<unsigned>(std::find(ranks.begin(), ranks.end(), rank()) - ranks.begin());
  return std::unique_ptr<Communicator>(std::make_unique<NetworkCommunicator>(*this, std::move(ranks), place, number));
}

Status NetworkWorld::poll() {
  if (failure.ok() && readNotice())
    link->drop(0);
  return failure;
}

Status NetworkWorld::fail(Status status) {
  return failure.ok() ? failUnlessTold(std::move(status), 100ms) : failure;
}

Status NetworkWorld::finish() {
  if (Status status = whole->barrier(); !status.ok())
    return status;
  finished = true;
  link->drop(0);
  return link->close();
}

} // namespace llmc::runtime
