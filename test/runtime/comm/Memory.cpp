//===- Memory.cpp - where operands of a test lie --------------------------===//
#include "test/runtime/comm/Memory.h"
#include <cstdlib>
#include <cstring>
#include <dlfcn.h>

using namespace llmc::runtime::nccl;

namespace llmc::test {

char *Memory::allocate(size_t bytes) const { return static_cast<char *>(std::malloc(bytes)); }
void Memory::release(char *address) const { std::free(address); }
void Memory::write(char *to, const void *from, size_t bytes) const {
  if (bytes > 0)
    std::memcpy(to, from, bytes);
}
void Memory::read(void *to, const char *from, size_t bytes) const {
  if (bytes > 0)
    std::memcpy(to, from, bytes);
}

// CUDA Driver API: CUdeviceptr has 64 bits.
#define LLMC_MEMORY_FUNCTIONS(F)                                                                                       \
  F(cuInit, (unsigned flags))                                                                                          \
  F(cuDeviceGetCount, (int *count))                                                                                    \
  F(cuDevicePrimaryCtxRetain, (CudaContext * context, CudaDevice device))                                              \
  F(cuCtxPushCurrent_v2, (CudaContext context))                                                                        \
  F(cuCtxPopCurrent_v2, (CudaContext * context))                                                                       \
  F(cuMemAlloc_v2, (uint64_t * address, size_t bytes))                                                                 \
  F(cuMemFree_v2, (uint64_t address))                                                                                  \
  F(cuMemcpyHtoD_v2, (uint64_t to, const void *from, size_t bytes))                                                    \
  F(cuMemcpyDtoH_v2, (void *to, uint64_t from, size_t bytes))

struct GpuMemory::Functions {
  explicit Functions(const std::string &library) : handle(::dlopen(library.c_str(), RTLD_NOW | RTLD_LOCAL)) {
#define LLMC_FIND(name, parameters) name = handle ? reinterpret_cast<decltype(name)>(::dlsym(handle, #name)) : nullptr;
    LLMC_MEMORY_FUNCTIONS(LLMC_FIND)
  }

  void *handle;
#define LLMC_MEMBER(name, parameters) CudaResult(*name) parameters;
  LLMC_MEMORY_FUNCTIONS(LLMC_MEMBER)
};

/// Of a test: an error of CUDA ends it.
static void must(CudaResult result) {
  if (result != CudaResult::Success)
    std::abort();
}

static uint64_t bits(const char *address) { return reinterpret_cast<uint64_t>(address); }

unsigned GpuMemory::count(const std::string &library) {
  Functions functions(library);
  int count = 0;
  if (functions.handle && functions.cuInit(0) == CudaResult::Success)
    must(functions.cuDeviceGetCount(&count));
  return static_cast<unsigned>(count);
}

GpuMemory::GpuMemory(const std::string &library, unsigned device) : functions(new Functions(library)) {
  must(functions->cuInit(0));
  must(functions->cuDevicePrimaryCtxRetain(&context, static_cast<CudaDevice>(device)));
  must(functions->cuCtxPushCurrent_v2(context));
}

GpuMemory::~GpuMemory() { must(functions->cuCtxPopCurrent_v2(&context)); }

char *GpuMemory::allocate(size_t bytes) const {
  uint64_t address = 0;
  must(functions->cuMemAlloc_v2(&address, bytes));
  return reinterpret_cast<char *>(address);
}

void GpuMemory::release(char *address) const { must(functions->cuMemFree_v2(bits(address))); }

void GpuMemory::write(char *to, const void *from, size_t bytes) const {
  if (bytes > 0)
    must(functions->cuMemcpyHtoD_v2(bits(to), from, bytes));
}

void GpuMemory::read(void *to, const char *from, size_t bytes) const {
  if (bytes > 0)
    must(functions->cuMemcpyDtoH_v2(to, bits(from), bytes));
}

} // namespace llmc::test
