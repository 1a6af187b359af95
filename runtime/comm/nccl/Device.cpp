//===- Device.cpp - the GPU of a rank -------------------------------------===//
#include "runtime/comm/nccl/Device.h"

namespace llmc::runtime::nccl {

Result<std::unique_ptr<Device>> Device::open(const Libraries &libraries, unsigned ordinal) {
  std::unique_ptr<Device> device(new Device(libraries));
  CudaResult result = libraries.cuInit(0);
  if (result == CudaResult::Success)
    result = libraries.cuDeviceGet(&device->number, static_cast<int>(ordinal));
  if (result == CudaResult::Success)
    result = libraries.cuDevicePrimaryCtxRetain(&device->context, device->number);
  if (result == CudaResult::Success)
    return device;
  return Status::wrongUse("GPU " + std::to_string(ordinal) + " cannot be used: " + nameOf(libraries, result),
                          "nvidia-smi lists the GPUs of a machine");
}

Device::~Device() {
  if (context)
    (void)libraries.cuDevicePrimaryCtxRelease_v2(number);
}

} // namespace llmc::runtime::nccl
