//===- Abi.h - what is used of CUDA and NCCL --------------------*- C++ -*-===//
//
// Functions and values of two libraries that are loaded when first needed, so that nothing of them is needed to build.
// From "CUDA Driver API" (cuda.h of CUDA 12 and 13: names after its #defines, hence the _v2) and "NCCL API" (nccl.h of
// NCCL 2.18 to 2.30), both by NVIDIA: values and layouts are part of their binary interface, and stay.
//
//===----------------------------------------------------------------------===//
#ifndef LLMC_RUNTIME_COMM_NCCL_ABI_H
#define LLMC_RUNTIME_COMM_NCCL_ABI_H

#include <climits>
#include <cstddef>

namespace llmc::runtime::nccl {

enum class CudaResult : int { Success = 0, NoDevice = 100, InvalidDevice = 101, NotReady = 600 };
using CudaDevice = int;
using CudaContext = struct CUctx_st *;
using CudaStream = struct CUstream_st *;
inline constexpr unsigned kNonBlockingStream = 1; // does not wait for the default stream

/// F(name, parameters)
#define LLMC_CUDA_FUNCTIONS(F)                                                                                         \
  F(cuInit, (unsigned flags))                                                                                          \
  F(cuGetErrorName, (CudaResult result, const char **name))                                                            \
  F(cuDeviceGet, (CudaDevice * device, int ordinal))                                                                   \
  F(cuDevicePrimaryCtxRetain, (CudaContext * context, CudaDevice device))                                              \
  F(cuDevicePrimaryCtxRelease_v2, (CudaDevice device))                                                                 \
  F(cuCtxPushCurrent_v2, (CudaContext context))                                                                        \
  F(cuCtxPopCurrent_v2, (CudaContext * context))                                                                       \
  F(cuStreamCreate, (CudaStream * stream, unsigned flags))                                                             \
  F(cuStreamQuery, (CudaStream stream))                                                                                \
  F(cuStreamDestroy_v2, (CudaStream stream))

enum class NcclResult : int {
  Success = 0,
  CudaError = 1,
  SystemError = 2,
  InternalError = 3,
  InvalidArgument = 4,
  InvalidUsage = 5,
  RemoteError = 6,
  InProgress = 7,
  Timeout = 8
};
enum class NcclType : int { U8 = 1, I32 = 2, I64 = 4, F32 = 7, F64 = 8 };
enum class NcclReduction : int { Sum = 0, Max = 2 };
using NcclComm = struct ncclComm *;
struct NcclId {
  char bytes[128];
};

/// As of 2.18: a later library takes as much as `size` says, and of that what `version` knows. The padding of 2.18's
/// struct is `trafficClass` since 2.25.
struct NcclConfig {
  static constexpr int kUndefined = INT_MIN;
  size_t size = sizeof(NcclConfig);
  unsigned magic = 0xcafebeef, version = 21800;
  int blocking = kUndefined, cgaClusterSize = kUndefined, minCTAs = kUndefined, maxCTAs = kUndefined;
  const char *netName = nullptr;
  int splitShare = kUndefined, trafficClass = kUndefined;
};
static_assert(sizeof(NcclConfig) == 48 && offsetof(NcclConfig, blocking) == 16 && offsetof(NcclConfig, netName) == 32);

/// major * 10000 + minor * 100 + patch. Communicators that do not block are whole since then.
inline constexpr int kOldestNccl = 21800;

/// F(result, name, parameters)
#define LLMC_NCCL_FUNCTIONS(F)                                                                                         \
  F(NcclResult, ncclGetVersion, (int *version))                                                                        \
  F(const char *, ncclGetErrorString, (NcclResult result))                                                             \
  F(NcclResult, ncclGetUniqueId, (NcclId * id))                                                                        \
  F(NcclResult, ncclCommInitRankConfig, (NcclComm * comm, int size, NcclId id, int rank, NcclConfig *config))          \
  F(NcclResult, ncclCommGetAsyncError, (NcclComm comm, NcclResult * error))                                            \
  F(NcclResult, ncclCommFinalize, (NcclComm comm))                                                                     \
  F(NcclResult, ncclCommDestroy, (NcclComm comm))                                                                      \
  F(NcclResult, ncclCommAbort, (NcclComm comm))                                                                        \
  F(NcclResult, ncclGroupStart, ())                                                                                    \
  F(NcclResult, ncclGroupEnd, ())                                                                                      \
  F(NcclResult, ncclAllReduce,                                                                                         \
    (const void *from, void *to, size_t count, NcclType type, NcclReduction reduction, NcclComm comm,                  \
     CudaStream stream))                                                                                               \
  F(NcclResult, ncclReduceScatter,                                                                                     \
    (const void *from, void *to, size_t countTo, NcclType type, NcclReduction reduction, NcclComm comm,                \
     CudaStream stream))                                                                                               \
  F(NcclResult, ncclAllGather,                                                                                         \
    (const void *from, void *to, size_t countFrom, NcclType type, NcclComm comm, CudaStream stream))                   \
  F(NcclResult, ncclBroadcast,                                                                                         \
    (const void *from, void *to, size_t count, NcclType type, int root, NcclComm comm, CudaStream stream))             \
  F(NcclResult, ncclSend, (const void *from, size_t count, NcclType type, int peer, NcclComm comm, CudaStream stream)) \
  F(NcclResult, ncclRecv, (void *to, size_t count, NcclType type, int peer, NcclComm comm, CudaStream stream))

} // namespace llmc::runtime::nccl

#endif // LLMC_RUNTIME_COMM_NCCL_ABI_H
