//===- Device.h - the GPU of a rank -----------------------------*- C++ -*-===//
#ifndef LLMC_RUNTIME_COMM_NCCL_DEVICE_H
#define LLMC_RUNTIME_COMM_NCCL_DEVICE_H

#include "runtime/comm/nccl/Libraries.h"
#include <memory>

namespace llmc::runtime::nccl {

/// Holds the primary context of a GPU: the one that a process' users of that GPU share.
class Device {
public:
  /// Errors: WrongUse if there is no such GPU.
  static Result<std::unique_ptr<Device>> open(const Libraries &libraries, unsigned ordinal);
  ~Device();
  Device(const Device &) = delete;
  Device &operator=(const Device &) = delete;

  const Libraries libraries;

  /// Makes the context the calling thread's, as long as it lives.
  class Current {
  public:
    explicit Current(const Device &device) : device(device) {
      (void)device.libraries.cuCtxPushCurrent_v2(device.context);
    }
    ~Current() {
      CudaContext popped;
      (void)device.libraries.cuCtxPopCurrent_v2(&popped);
    }
    Current(const Current &) = delete;
    Current &operator=(const Current &) = delete;

  private:
    const Device &device;
  };

private:
  explicit Device(const Libraries &libraries) : libraries(libraries) {}

  CudaDevice number = 0;
  CudaContext context = nullptr;
};

} // namespace llmc::runtime::nccl

#endif // LLMC_RUNTIME_COMM_NCCL_DEVICE_H
