//===- LocalCommunicator.cpp - collectives of threads ---------------------===//
//
// A reduction is divided between the ranks: each reduces its part of all ranks' operands, in rank order, and stores it
// where it is needed. Everything else is fetched by the rank that needs it.
//
//===----------------------------------------------------------------------===//
#include "runtime/comm/local/LocalCommunicator.h"
#include "runtime/comm/Bucket.h"
#include "runtime/comm/Failure.h"
#include "runtime/comm/Reduce.h"
#include "runtime/comm/local/StreamingCopy.h"
#include "runtime/plan/View.h"
#include <immintrin.h>
#include <thread>

namespace llmc::runtime::local {

using Clock = std::chrono::steady_clock;
static constexpr int kSpins = 4000; // about 50 microseconds

Status Shared::fail(Status status) {
  if (!failed) {
    failed = true;
    failure = std::move(status);
    for (auto &[ranks, opened] : groups)
      for (std::shared_ptr<Group> &group : opened)
        group->arrived.fetch_or(Group::kFailed);
    changed.notify_all();
  }
  return failure;
}

void Shared::wake() {
  if (sleepers.load() == 0)
    return;
  { std::lock_guard<std::mutex> lock(mutex); }
  changed.notify_all();
}

LocalCommunicator::LocalCommunicator(std::shared_ptr<Shared> shared, std::shared_ptr<Group> group, unsigned rank,
                                     const std::chrono::milliseconds &deadline)
    : Communicator(group->ranks, rank), shared(std::move(shared)), group(std::move(group)), waitLimit(deadline),
      mayspin(size() <= std::thread::hardware_concurrency()), sources(size()), targets(size()) {}

template <typename F> bool LocalCommunicator::spin(F &&done) const {
  for (int i = 0; mayspin && i < kSpins; ++i) {
    if (done())
      return true;
    _mm_pause();
  }
  return done();
}

Status LocalCommunicator::arrive(Clock::time_point deadline) {
  ++meeting;
  uint64_t goal = meeting * size(), count = group->arrived.load();
  group->meetings[rank()].store(meeting);
  while (!(count & Group::kFailed) && !group->arrived.compare_exchange_weak(count, count + 1))
    ;
  auto complete = [&] { return (group->arrived.load() & ~Group::kFailed) >= goal; };
  if (complete())
    return shared->wake(), Status::success();
  if (!(count & Group::kFailed) && spin(complete))
    return Status::success();
  std::unique_lock<std::mutex> lock(shared->mutex);
  ++shared->sleepers;
  shared->changed.wait_until(lock, deadline, [&] { return complete() || shared->failed; });
  --shared->sleepers;
  for (;;) {
    count = group->arrived.load();
    if ((count & ~Group::kFailed) >= goal)
      return Status::success();
    if (shared->failed)
      return shared->failure;
    std::vector<unsigned> missing;
    for (unsigned i = 0; i < size(); ++i)
      if (group->meetings[i].load() < meeting)
        missing.push_back(members[i]);
    if (missing.empty()) // the last one comes in this very moment
      std::this_thread::yield();
    else if (group->arrived.compare_exchange_strong(count, count | Group::kFailed))
      return shared->fail(deadlinePassed(missing, waitLimit));
  }
}

void LocalCommunicator::finish() {
  uint64_t goal = meeting * size();
  auto complete = [&] { return group->finished.load() >= goal; };
  group->finished.fetch_add(1);
  if (complete())
    return shared->wake();
  if (spin(complete))
    return;
  std::unique_lock<std::mutex> lock(shared->mutex);
  ++shared->sleepers;
  shared->changed.wait(lock, complete);
  --shared->sleepers;
}

/// All members see the same calls, and so come to the same answer.
Status LocalCommunicator::agree() const {
  const Collective &first = group->calls[0];
  for (unsigned i = 1; i < size(); ++i) {
    const Collective &call = group->calls[i];
    auto sameSize = [](const Operand &a, const Operand &b) { return a.elements == b.elements; };
    if (call.kind != first.kind || call.type != first.type || call.reduction != first.reduction ||
        call.root != first.root ||
        !std::equal(call.operands.begin(), call.operands.end(), first.operands.begin(), first.operands.end(), sameSize))
      return Status::wrongUse("ranks " + std::to_string(members[0]) + " and " + std::to_string(members[i]) +
                              " call different collectives, or the same with different arguments");
  }
  return Status::success();
}

void LocalCommunicator::allReduce(const Collective &call) {
  size_t width = elementBytes(call.type), total = countElements(call.operands);
  size_t begin = partBegin(total, rank(), size()), end = partBegin(total, rank() + 1, size());
  Range part{call.operands, width, false, 0, begin * width, (end - begin) * width};
  part.forEach([&](size_t k, size_t offset, size_t bytes) {
    for (unsigned i = 0; i < size(); ++i) {
      const Operand &operand = group->calls[i].operands[k];
      sources[i] = static_cast<const char *>(operand.from) + offset;
      targets[i] = static_cast<char *>(operand.to) + offset;
    }
    reduceInOrder(sources, targets, bytes / width, call.type, call.reduction);
  });
}

void LocalCommunicator::reduceScatter(const Collective &call) {
  size_t width = elementBytes(call.type);
  for (size_t k = 0; k < call.operands.size(); ++k) {
    const Operand &own = call.operands[k];
    for (unsigned i = 0; i < size(); ++i)
      sources[i] = static_cast<const char *>(group->calls[i].operands[k].from) + rank() * own.elements * width;
    reduceInOrder(sources, {&own.to, 1}, own.elements, call.type, call.reduction);
  }
}

/// AllGather, Broadcast, AllToAll: copies what this rank needs from where it lies.
void LocalCommunicator::fetch(const Collective &call) {
  size_t width = elementBytes(call.type);
  bool broadcast = call.kind == CollectiveKind::Broadcast, allToAll = call.kind == CollectiveKind::AllToAll;
  for (unsigned step = 0; step < size(); ++step) {
    unsigned peer = (rank() + step) % size();
    if (broadcast && peer != call.root)
      continue;
    for (size_t k = 0; k < call.operands.size(); ++k) {
      size_t bytes = call.operands[k].elements * width;
      const char *from = static_cast<const char *>(group->calls[peer].operands[k].from);
      char *to = static_cast<char *>(call.operands[k].to) + (broadcast ? 0 : peer * bytes);
      from += allToAll ? rank() * bytes : 0;
      if (bytes > 0 && from != to)
        streamingCopy(to, from, bytes);
    }
  }
}

Status LocalCommunicator::run(const Collective &call) {
  group->calls[rank()] = call;
  if (Status status = arrive(Clock::now() + waitLimit); !status.ok())
    return status;
  Status agreed = agree();
  if (agreed.ok()) {
    if (call.kind == CollectiveKind::AllReduce)
      allReduce(call);
    else if (call.kind == CollectiveKind::ReduceScatter)
      reduceScatter(call);
    else if (call.kind != CollectiveKind::Barrier)
      fetch(call);
    sent.bytesSent += elementsSent(call, rank(), size()) * elementBytes(call.type);
  }
  finish();
  if (agreed.ok())
    return agreed;
  std::lock_guard<std::mutex> lock(shared->mutex);
  return shared->fail(agreed);
}

Status LocalCommunicator::receive(const Transfer &transfer, Clock::time_point deadline,
                                  std::unique_lock<std::mutex> &lock) {
  Offer *found = nullptr;
  auto offered = [&] {
    for (Offer &offer : group->offers[transfer.peer])
      if (offer.state == Offer::Open && offer.transfer->peer == rank() && offer.transfer->tag == transfer.tag) {
        found = &offer;
        return true;
      }
    return shared->failed;
  };
  shared->changed.wait_until(lock, deadline, offered);
  if (shared->failed)
    return shared->failure;
  if (!found)
    return shared->fail(deadlinePassed({members[transfer.peer]}, waitLimit));
  if (found->transfer->bytes != transfer.bytes)
    return shared->fail(Status::wrongUse(
        "rank " + std::to_string(members[transfer.peer]) + " sends " + std::to_string(found->transfer->bytes) +
        " bytes, rank " + std::to_string(members[rank()]) + " receives " + std::to_string(transfer.bytes)));
  found->state = Offer::Taken; // until Done the sender keeps the offer and its memory
  lock.unlock();
  if (transfer.bytes > 0)
    std::memcpy(transfer.data, found->transfer->data, transfer.bytes);
  lock.lock();
  found->state = Offer::Done;
  shared->changed.notify_all();
  return Status::success();
}

/// Waits until all own offers are done, or none of them is being copied and the world has failed.
Status LocalCommunicator::awaitOffers(Clock::time_point deadline, std::unique_lock<std::mutex> &lock) {
  std::vector<Offer> &offers = group->offers[rank()];
  auto none = [&](Offer::State state) {
    return std::none_of(offers.begin(), offers.end(), [&](const Offer &offer) { return offer.state == state; });
  };
  shared->changed.wait_until(lock, deadline, [&] { return none(Offer::Open) || shared->failed; });
  Status status = shared->failed ? shared->failure : Status::success();
  if (status.ok() && !none(Offer::Open)) {
    std::vector<unsigned> missing;
    for (const Offer &offer : offers)
      if (offer.state == Offer::Open)
        missing.push_back(members[offer.transfer->peer]);
    status = shared->fail(deadlinePassed(missing, waitLimit));
  }
  shared->changed.wait(lock, [&] { return none(Offer::Taken); });
  if (none(Offer::Open))
    status = Status::success();
  offers.clear();
  return status;
}

Status LocalCommunicator::runExchange(std::span<const Transfer> transfers) {
  Clock::time_point deadline = Clock::now() + waitLimit;
  std::unique_lock<std::mutex> lock(shared->mutex);
  if (shared->failed)
    return shared->failure;
  ++shared->sleepers;
  for (const Transfer &transfer : transfers)
    if (transfer.kind == Transfer::Send)
      group->offers[rank()].push_back({&transfer});
  shared->changed.notify_all();
  Status received = Status::success();
  for (const Transfer &transfer : transfers)
    if (received.ok() && transfer.kind == Transfer::Receive)
      received = receive(transfer, deadline, lock);
  Status offered = awaitOffers(deadline, lock);
  --shared->sleepers;
  return received.ok() ? offered : received;
}

} // namespace llmc::runtime::local
