//===- NcclCommunicator.cpp - a GPU's view of its group -------------------===//
//
// NCCL waits without deadlines, so it is asked not to wait: communicators do not block (ncclConfig_t::blocking = 0),
// and their state and the stream are polled. Who is missing is asked in the bootstrap world: all ranks of the group
// that see no end, or the loss of a peer, come to a barrier there, and those that do not come are the missing ones.
//
//===----------------------------------------------------------------------===//
#include "runtime/comm/nccl/NcclCommunicator.h"
#include "runtime/comm/Bucket.h"
#include "runtime/plan/View.h"
#include <thread>

namespace llmc::runtime::nccl {

using Clock = std::chrono::steady_clock;
using namespace std::chrono_literals;

static NcclType typeOf(fb::DataType type) {
  switch (type) {
  case fb::DataType::F32:
    return NcclType::F32;
  case fb::DataType::F64:
    return NcclType::F64;
  case fb::DataType::I32:
    return NcclType::I32;
  default:
    return NcclType::I64;
  }
}

static bool isError(NcclResult result) { return result != NcclResult::Success && result != NcclResult::InProgress; }

/// Calls done() until it is true, or until `end`; seldom once it has taken a while.
template <typename F> static bool poll(Clock::time_point end, F &&done) {
  for (auto start = Clock::now(), now = start; !done(); now = Clock::now()) {
    if (now >= end)
      return false;
    if (now - start < 1ms)
      std::this_thread::yield();
    else
      std::this_thread::sleep_for(20us);
  }
  return true;
}

Status NcclCommunicator::open() {
  struct {
    NcclResult result = NcclResult::Success;
    NcclId id{};
  } first;
  Device::Current current(*shared.device);
  if (rank() == 0)
    first.result = functions.ncclGetUniqueId(&first.id);
  Operand operand{&first, &first, sizeof(first)};
  if (Status status = meeting.broadcast({&operand, 1}, fb::DataType::U8, 0); !status.ok())
    return giveUp(status);
  if (first.result != NcclResult::Success)
    return failed(first.result);
  if (CudaResult result = functions.cuStreamCreate(&stream, kNonBlockingStream); result != CudaResult::Success)
    return failed(result);
  NcclConfig config;
  config.blocking = 0;
  NcclResult result =
      functions.ncclCommInitRankConfig(&comm, static_cast<int>(size()), first.id, static_cast<int>(rank()), &config);
  return isError(result) ? failed(result) : await();
}

/// In a world that is sound all calls have ended; NCCL may still have to pass something on.
NcclCommunicator::~NcclCommunicator() {
  Device::Current current(*shared.device);
  NcclResult state = NcclResult::InternalError;
  if (comm && shared.failure.ok()) {
    state = functions.ncclCommFinalize(comm);
    poll(Clock::now() + shared.deadline, [&] {
      if (!isError(state))
        (void)functions.ncclCommGetAsyncError(comm, &state);
      return state != NcclResult::InProgress;
    });
  }
  if (state == NcclResult::Success)
    (void)functions.ncclCommDestroy(comm);
  else
    abort();
  if (stream)
    (void)functions.cuStreamDestroy_v2(stream);
}

/// Ends what is under way, and waits until it touches no memory any more.
void NcclCommunicator::abort() {
  if (!comm)
    return;
  (void)functions.ncclCommAbort(comm);
  comm = nullptr;
  poll(Clock::now() + 2s, [&] { return functions.cuStreamQuery(stream) != CudaResult::NotReady; });
}

Status NcclCommunicator::giveUp(Status status) {
  shared.failure = std::move(status);
  abort();
  return shared.failure;
}

/// The mistake of a peer, if it has one: then it does not come to the barrier. Otherwise this rank's.
Status NcclCommunicator::failed(NcclResult result) {
  if (result == NcclResult::RemoteError || result == NcclResult::SystemError || result == NcclResult::Timeout)
    if (Status status = meeting.barrier(); !status.ok())
      return giveUp(status);
  std::string message = "NCCL on rank " + std::to_string(members[rank()]) + ": " + functions.ncclGetErrorString(result);
  std::string hint = "with NCCL_DEBUG=WARN in the environment NCCL says more";
  if (result == NcclResult::InvalidUsage)
    return giveUp(shared.bootstrap.fail(Status::wrongUse(message, "each rank needs a GPU of its own; " + hint)));
  return giveUp(shared.bootstrap.fail({StatusCode::Internal, message, hint}));
}

Status NcclCommunicator::failed(CudaResult result) {
  return giveUp(shared.bootstrap.fail(
      Status::internal("CUDA on rank " + std::to_string(members[rank()]) + ": " + nameOf(functions, result))));
}

Status NcclCommunicator::expired() {
  if (Status status = meeting.barrier(); !status.ok())
    return giveUp(status);
  std::string message = "NCCL has not finished within " + std::to_string(shared.deadline.count()) +
                        " ms, although all of its ranks have come:";
  for (unsigned each : members)
    message += " " + std::to_string(each);
  return giveUp(shared.bootstrap.fail({StatusCode::DeadlinePassed, message, ""}));
}

/// Waits until NCCL has taken in what it was given, and the stream has done it. Now and then, as it may take 10 ms,
/// looks whether a rank outside of the group has failed.
Status NcclCommunicator::await() {
  Clock::time_point end = Clock::now() + shared.deadline;
  NcclResult state = NcclResult::Success;
  CudaResult done = CudaResult::NotReady;
  auto settled = [&] {
    if (NcclResult result = functions.ncclCommGetAsyncError(comm, &state); result != NcclResult::Success)
      state = result;
    if (state == NcclResult::Success)
      done = functions.cuStreamQuery(stream);
    return done != CudaResult::NotReady || isError(state);
  };
  while (!poll(std::min(end, Clock::now() + 200ms), settled)) {
    if (Clock::now() >= end)
      return expired();
    if (Status told = shared.bootstrap.poll(); !told.ok())
      return giveUp(told);
  }
  if (state != NcclResult::Success)
    return failed(state);
  return done == CudaResult::Success ? Status::success() : failed(done);
}

/// Makes calls of NCCL as a group, until one fails, and waits for them.
Status NcclCommunicator::inGroup(size_t calls, const std::function<NcclResult(size_t)> &issue) {
  NcclResult result = functions.ncclGroupStart();
  for (size_t i = 0; i < calls && !isError(result); ++i)
    result = issue(i);
  if (NcclResult ended = functions.ncclGroupEnd(); !isError(result))
    result = ended;
  return isError(result) ? failed(result) : await();
}

/// Bytes are bytes wherever nothing is reduced. Calls with oneself are part of a group as any other.
NcclResult NcclCommunicator::enqueue(const Collective &call, const Operand &operand, size_t width) {
  const char *from = static_cast<const char *>(operand.from);
  char *to = static_cast<char *>(operand.to);
  size_t count = operand.elements, bytes = count * width;
  NcclReduction reduction = call.reduction == Reduction::Sum ? NcclReduction::Sum : NcclReduction::Max;
  switch (call.kind) {
  case CollectiveKind::AllReduce:
    return functions.ncclAllReduce(from, to, count, typeOf(call.type), reduction, comm, stream);
  case CollectiveKind::ReduceScatter:
    return functions.ncclReduceScatter(from, to, count, typeOf(call.type), reduction, comm, stream);
  case CollectiveKind::AllGather:
    return functions.ncclAllGather(from, to, bytes, NcclType::U8, comm, stream);
  case CollectiveKind::Broadcast:
    return functions.ncclBroadcast(rank() == call.root ? from : to, to, bytes, NcclType::U8,
                                   static_cast<int>(call.root), comm, stream);
  case CollectiveKind::AllToAll:
    for (unsigned peer = 0; peer < size(); ++peer) {
      int number = static_cast<int>(peer);
      NcclResult result = functions.ncclSend(from + peer * bytes, bytes, NcclType::U8, number, comm, stream);
      if (!isError(result))
        result = functions.ncclRecv(to + peer * bytes, bytes, NcclType::U8, number, comm, stream);
      if (isError(result))
        return result;
    }
    return NcclResult::Success;
  case CollectiveKind::Barrier:
    break;
  }
  return NcclResult::InternalError;
}

Status NcclCommunicator::run(const Collective &call) {
  if (!shared.failure.ok())
    return shared.failure;
  if (call.kind == CollectiveKind::Barrier) {
    Status status = meeting.barrier();
    return status.ok() ? status : giveUp(status);
  }
  Device::Current current(*shared.device);
  size_t width = elementBytes(call.type);
  Status status = inGroup(call.operands.size(), [&](size_t i) {
    return call.operands[i].elements > 0 ? enqueue(call, call.operands[i], width) : NcclResult::Success;
  });
  if (status.ok())
    sent.bytesSent += elementsSent(call, rank(), size()) * width;
  return status;
}

Status NcclCommunicator::runExchange(std::span<const Transfer> transfers) {
  if (!shared.failure.ok())
    return shared.failure;
  Device::Current current(*shared.device);
  std::vector<const Transfer *> order;
  for (const Transfer &transfer : transfers)
    if (transfer.bytes > 0)
      order.push_back(&transfer);
  std::stable_sort(order.begin(), order.end(), [](auto *a, auto *b) { return a->tag < b->tag; });
  return inGroup(order.size(), [&](size_t i) {
    const Transfer &each = *order[i];
    int peer = static_cast<int>(each.peer);
    return each.kind == Transfer::Send ? functions.ncclSend(each.data, each.bytes, NcclType::U8, peer, comm, stream)
                                       : functions.ncclRecv(each.data, each.bytes, NcclType::U8, peer, comm, stream);
  });
}

} // namespace llmc::runtime::nccl
