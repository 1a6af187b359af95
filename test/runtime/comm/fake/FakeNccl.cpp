//===- FakeNccl.cpp - a libnccl.so.2 for the fake CUDA --------------------===//
//
// As asynchronous as a communicator that does not block may be: its thread connects it, and hands groups of calls on to
// their streams, a while after the calls have returned. A kernel that cannot go on spins until the communicator is
// aborted. Reduces from the last rank to the first: NCCL's order is not that of the ranks either.
//
//===----------------------------------------------------------------------===//
#include "test/runtime/comm/fake/FakeNccl.h"
#include "test/runtime/comm/fake/FakeCuda.h"
#include "test/runtime/comm/fake/Sockets.h"
#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <random>
#include <thread>
#include <type_traits>

using namespace llmc::runtime::nccl;
using namespace llmc::test;

namespace {

constexpr int kRanks = 64;
std::atomic<int> misbehaviour[kRanks];

using Work = std::function<bool()>; // a part of a kernel: false if a peer is lost

} // namespace

struct llmc::runtime::nccl::ncclComm {
  ncclComm(int rank, int size, const std::string &name) : rank(rank), size(size), sockets(name, rank, size, stop) {}
  ~ncclComm() {
    stop = true;
    if (thread.joinable())
      thread.join();
  }

  /// Does it on the communicator's thread, once what it did before is done.
  void later(std::function<NcclResult()> what) {
    if (thread.joinable())
      thread.join();
    state = NcclResult::InProgress;
    thread = std::thread([this, what = std::move(what)] {
      std::this_thread::sleep_for(std::chrono::microseconds(50));
      NcclResult result = what();
      NcclResult expected = NcclResult::InProgress;
      state.compare_exchange_strong(expected, result); // a kernel may have failed
    });
  }

  /// A kernel: it never ends if it fails.
  void launch(CudaStream stream, std::vector<Work> parts) {
    ++running;
    enqueue(stream, [this, parts = std::move(parts)] {
      int how = misbehaviour[rank];
      bool good = how == 0;
      for (size_t i = 0; i < parts.size() && good; ++i)
        good = parts[i]();
      if (!good && how >= 0 && !stop)
        state = how > 0 ? static_cast<NcclResult>(how) : NcclResult::RemoteError;
      while (!good && !stop)
        std::this_thread::sleep_for(std::chrono::microseconds(50));
      --running;
    });
  }

  /// Every rank sees every other's number of a GPU.
  NcclResult connect(int device) {
    if (!sockets.connect())
      return NcclResult::RemoteError;
    std::vector<int> devices(static_cast<size_t>(size), -1);
    std::vector<Piece> sends, receives;
    for (int peer = 0; peer < size; ++peer) {
      sends.push_back({peer, reinterpret_cast<char *>(&device), sizeof(int)});
      receives.push_back({peer, reinterpret_cast<char *>(&devices[static_cast<size_t>(peer)]), sizeof(int)});
    }
    if (!sockets.move(sends, receives))
      return NcclResult::RemoteError;
    return std::count(devices.begin(), devices.end(), device) > 1 ? NcclResult::InvalidUsage : NcclResult::Success;
  }

  const int rank, size;
  std::atomic<bool> stop{false};
  std::atomic<int> running{0};
  std::atomic<NcclResult> state{NcclResult::Success};
  Sockets sockets;
  std::thread thread;
};

namespace {

/// The calls of a thread since ncclGroupStart, all of one communicator and stream.
struct Group {
  NcclComm comm = nullptr;
  CudaStream stream = nullptr;
  std::vector<Work> collectives;
  std::vector<Piece> sends, receives;
};
thread_local Group group;

void join(NcclComm comm, CudaStream stream) {
  group.comm = comm;
  group.stream = stream;
}

char *host(const void *address) { return static_cast<char *>(hostAddress(address)); }

size_t widthOf(NcclType type) {
  return type == NcclType::U8 ? 1 : type == NcclType::I32 || type == NcclType::F32 ? 4 : 8;
}

template <typename T> T combine(T a, T b, NcclReduction reduction) {
  if constexpr (std::is_floating_point_v<T>)
    return reduction == NcclReduction::Max ? std::fmax(a, b) : a + b;
  else
    return reduction == NcclReduction::Max ? std::max(a, b)
                                           : static_cast<T>(static_cast<uint64_t>(a) + static_cast<uint64_t>(b));
}

template <typename T>
void reduce(std::vector<std::vector<char>> &sources, size_t count, NcclReduction reduction, char *to) {
  auto at = [&](size_t rank) { return reinterpret_cast<T *>(sources[rank].data()); };
  size_t last = sources.size() - 1;
  for (size_t rank = last; rank-- > 0;)
    for (size_t i = 0; i < count; ++i)
      at(last)[i] = combine(at(last)[i], at(rank)[i], reduction);
  std::memcpy(to, sources[last].data(), count * sizeof(T));
}

/// `stride`: from what one rank gets of `from` to what the next does.
bool reduceParts(NcclComm comm, char *from, size_t stride, char *to, size_t count, NcclType type,
                 NcclReduction reduction) {
  size_t bytes = count * widthOf(type);
  std::vector<std::vector<char>> sources(static_cast<size_t>(comm->size), std::vector<char>(bytes));
  std::vector<Piece> sends, receives;
  for (int peer = 0; peer < comm->size; ++peer) {
    sends.push_back({peer, from + static_cast<size_t>(peer) * stride, bytes});
    receives.push_back({peer, sources[static_cast<size_t>(peer)].data(), bytes});
  }
  if (!comm->sockets.move(sends, receives))
    return false;
  switch (type) {
  case NcclType::F32:
    reduce<float>(sources, count, reduction, to);
    break;
  case NcclType::F64:
    reduce<double>(sources, count, reduction, to);
    break;
  case NcclType::I32:
    reduce<int32_t>(sources, count, reduction, to);
    break;
  default:
    reduce<int64_t>(sources, count, reduction, to);
    break;
  }
  return true;
}

} // namespace

void fakeNcclMisbehave(int rank, int how) { misbehaviour[rank] = how; }

#define LLMC_DECLARE(result, name, parameters) extern "C" result name parameters;
LLMC_NCCL_FUNCTIONS(LLMC_DECLARE)

NcclResult ncclGetVersion(int *version) {
  *version = kOldestNccl;
  return NcclResult::Success;
}

const char *ncclGetErrorString(NcclResult result) {
  return result == NcclResult::CudaError      ? "unhandled cuda error"
         : result == NcclResult::InvalidUsage ? "invalid usage"
                                              : "remote process exited or there was a network error";
}

NcclResult ncclGetUniqueId(NcclId *id) {
  *id = {};
  std::random_device random;
  for (int i = 0; i < 32; ++i)
    id->bytes[i] = "0123456789abcdef"[random() % 16];
  return NcclResult::Success;
}

NcclResult ncclCommInitRankConfig(NcclComm *comm, int size, NcclId id, int rank, NcclConfig *config) {
  int device = currentDevice();
  if (config->size != sizeof(NcclConfig) || config->magic != 0xcafebeef || config->blocking != 0 || device < 0)
    return NcclResult::InvalidArgument;
  *comm = new ncclComm(rank, size, id.bytes);
  (*comm)->later([comm = *comm, device] { return comm->connect(device); });
  return NcclResult::InProgress;
}

NcclResult ncclCommGetAsyncError(NcclComm comm, NcclResult *error) {
  *error = comm->state;
  return NcclResult::Success;
}

NcclResult ncclCommFinalize(NcclComm comm) {
  comm->later([] { return NcclResult::Success; });
  return NcclResult::InProgress;
}

NcclResult ncclCommDestroy(NcclComm comm) {
  delete comm;
  return NcclResult::Success;
}

NcclResult ncclCommAbort(NcclComm comm) {
  comm->stop = true;
  comm->thread.join(); // it may still launch something
  while (comm->running > 0)
    std::this_thread::yield();
  delete comm;
  return NcclResult::Success;
}

NcclResult ncclGroupStart() {
  group = {};
  return NcclResult::Success;
}

NcclResult ncclGroupEnd() {
  if (!group.comm)
    return NcclResult::Success;
  NcclComm comm = group.comm;
  if (!group.sends.empty() || !group.receives.empty())
    group.collectives.push_back(
        [comm, sends = group.sends, receives = group.receives] { return comm->sockets.move(sends, receives); });
  comm->later([comm, stream = group.stream, parts = group.collectives] {
    comm->launch(stream, parts);
    return NcclResult::Success;
  });
  return NcclResult::InProgress;
}

NcclResult ncclAllReduce(const void *from, void *to, size_t count, NcclType type, NcclReduction reduction,
                         NcclComm comm, CudaStream stream) {
  join(comm, stream);
  group.collectives.push_back([=] { return reduceParts(comm, host(from), 0, host(to), count, type, reduction); });
  return NcclResult::Success;
}

NcclResult ncclReduceScatter(const void *from, void *to, size_t countTo, NcclType type, NcclReduction reduction,
                             NcclComm comm, CudaStream stream) {
  join(comm, stream);
  group.collectives.push_back(
      [=] { return reduceParts(comm, host(from), countTo * widthOf(type), host(to), countTo, type, reduction); });
  return NcclResult::Success;
}

NcclResult ncclAllGather(const void *from, void *to, size_t countFrom, NcclType type, NcclComm comm,
                         CudaStream stream) {
  join(comm, stream);
  group.collectives.push_back([=] {
    size_t bytes = countFrom * widthOf(type);
    std::vector<char> own(host(from), host(from) + bytes); // may be this rank's place in `to`
    std::vector<Piece> sends, receives;
    for (int peer = 0; peer < comm->size; ++peer) {
      sends.push_back({peer, own.data(), bytes});
      receives.push_back({peer, host(to) + static_cast<size_t>(peer) * bytes, bytes});
    }
    return comm->sockets.move(sends, receives);
  });
  return NcclResult::Success;
}

NcclResult ncclBroadcast(const void *from, void *to, size_t count, NcclType type, int root, NcclComm comm,
                         CudaStream stream) {
  join(comm, stream);
  group.collectives.push_back([=] {
    size_t bytes = count * widthOf(type);
    if (comm->rank != root)
      return comm->sockets.move({}, {{root, host(to), bytes}});
    std::vector<Piece> sends;
    for (int peer = 0; peer < comm->size; ++peer)
      if (peer != root)
        sends.push_back({peer, host(from), bytes});
    std::memmove(host(to), host(from), bytes);
    return comm->sockets.move(sends, {});
  });
  return NcclResult::Success;
}

NcclResult ncclSend(const void *from, size_t count, NcclType type, int peer, NcclComm comm, CudaStream stream) {
  join(comm, stream);
  group.sends.push_back({peer, host(from), count * widthOf(type)});
  return NcclResult::Success;
}

NcclResult ncclRecv(void *to, size_t count, NcclType type, int peer, NcclComm comm, CudaStream stream) {
  join(comm, stream);
  group.receives.push_back({peer, host(to), count * widthOf(type)});
  return NcclResult::Success;
}
