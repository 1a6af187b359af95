//===- FakeCuda.cpp - a libcuda.so.1 without a GPU ------------------------===//
//
// A stream is a thread. GPU addresses are host addresses that no host may touch: a bit is set that no address has.
//
//===----------------------------------------------------------------------===//
#include "test/runtime/comm/fake/FakeCuda.h"
#include <condition_variable>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <mutex>
#include <thread>
#include <vector>

using namespace llmc::runtime::nccl;

struct llmc::runtime::nccl::CUctx_st {
  int device;
};

struct llmc::runtime::nccl::CUstream_st {
  CUstream_st() : thread([this] { loop(); }) {}
  ~CUstream_st() {
    {
      std::lock_guard<std::mutex> lock(mutex);
      ending = true;
    }
    changed.notify_one();
    thread.join();
  }
  void add(std::function<void()> each) {
    std::lock_guard<std::mutex> lock(mutex);
    work.push_back(std::move(each));
    changed.notify_one();
  }
  bool idle() {
    std::lock_guard<std::mutex> lock(mutex);
    return work.empty();
  }

private:
  void loop() {
    std::unique_lock<std::mutex> lock(mutex);
    for (;;) {
      changed.wait(lock, [&] { return ending || !work.empty(); });
      if (work.empty())
        return;
      std::function<void()> next = work.front();
      lock.unlock();
      next();
      lock.lock();
      work.pop_front();
    }
  }

  std::mutex mutex;
  std::condition_variable changed;
  std::deque<std::function<void()>> work; // the first is being done
  bool ending = false;
  std::thread thread;
};

namespace {

constexpr uint64_t kDeviceBit = 1ull << 62;
constexpr auto kInvalidValue = static_cast<CudaResult>(1), kInvalidContext = static_cast<CudaResult>(201);

CUctx_st contexts[] = {{0}, {1}, {2}, {3}, {4}, {5}, {6}, {7}};
constexpr int kDevices = 8;
thread_local std::vector<CudaContext> current;

} // namespace

void *llmc::test::hostAddress(const void *deviceAddress) {
  auto bits = reinterpret_cast<uint64_t>(deviceAddress);
  if (!(bits & kDeviceBit))
    std::abort();
  return reinterpret_cast<void *>(bits & ~kDeviceBit);
}

void llmc::test::enqueue(CudaStream stream, std::function<void()> work) { stream->add(std::move(work)); }

int llmc::test::currentDevice() { return current.empty() ? -1 : current.back()->device; }

#define LLMC_DECLARE(name, parameters) extern "C" CudaResult name parameters;
LLMC_CUDA_FUNCTIONS(LLMC_DECLARE)

CudaResult cuInit(unsigned) { return CudaResult::Success; }

CudaResult cuGetErrorName(CudaResult result, const char **name) {
  *name = result == CudaResult::InvalidDevice ? "CUDA_ERROR_INVALID_DEVICE" : nullptr;
  return *name ? CudaResult::Success : kInvalidValue;
}

CudaResult cuDeviceGet(CudaDevice *device, int ordinal) {
  *device = ordinal;
  return ordinal >= 0 && ordinal < kDevices ? CudaResult::Success : CudaResult::InvalidDevice;
}

CudaResult cuDevicePrimaryCtxRetain(CudaContext *context, CudaDevice device) {
  *context = &contexts[device];
  return CudaResult::Success;
}

CudaResult cuDevicePrimaryCtxRelease_v2(CudaDevice) { return CudaResult::Success; }

CudaResult cuCtxPushCurrent_v2(CudaContext context) {
  current.push_back(context);
  return CudaResult::Success;
}

CudaResult cuCtxPopCurrent_v2(CudaContext *context) {
  if (current.empty())
    return kInvalidContext;
  *context = current.back();
  current.pop_back();
  return CudaResult::Success;
}

CudaResult cuStreamCreate(CudaStream *stream, unsigned) {
  if (current.empty())
    return kInvalidContext;
  *stream = new CUstream_st;
  return CudaResult::Success;
}

CudaResult cuStreamQuery(CudaStream stream) { return stream->idle() ? CudaResult::Success : CudaResult::NotReady; }

CudaResult cuStreamDestroy_v2(CudaStream stream) {
  delete stream;
  return CudaResult::Success;
}

extern "C" CudaResult cuDeviceGetCount(int *count) {
  *count = kDevices;
  return CudaResult::Success;
}

extern "C" CudaResult cuMemAlloc_v2(uint64_t *address, size_t bytes) {
  if (current.empty() || bytes == 0)
    return kInvalidValue;
  *address = reinterpret_cast<uint64_t>(std::malloc(bytes)) | kDeviceBit;
  return CudaResult::Success;
}

extern "C" CudaResult cuMemFree_v2(uint64_t address) {
  std::free(llmc::test::hostAddress(reinterpret_cast<void *>(address)));
  return CudaResult::Success;
}

extern "C" CudaResult cuMemcpyHtoD_v2(uint64_t to, const void *from, size_t bytes) {
  std::memcpy(llmc::test::hostAddress(reinterpret_cast<void *>(to)), from, bytes);
  return CudaResult::Success;
}

extern "C" CudaResult cuMemcpyDtoH_v2(void *to, uint64_t from, size_t bytes) {
  std::memcpy(to, llmc::test::hostAddress(reinterpret_cast<void *>(from)), bytes);
  return CudaResult::Success;
}
