//===- FakeCuda.h - what the fake NCCL asks of the fake CUDA ----*- C++ -*-===//
#ifndef LLMC_TEST_RUNTIME_COMM_FAKE_FAKECUDA_H
#define LLMC_TEST_RUNTIME_COMM_FAKE_FAKECUDA_H

#include "runtime/comm/nccl/Abi.h"
#include <functional>

namespace llmc::test {

/// Where the bytes of a GPU's address lie in the host's memory. Ends the program if it is no such address.
void *hostAddress(const void *deviceAddress);
/// Work for a stream, which does it after all before.
void enqueue(runtime::nccl::CudaStream stream, std::function<void()> work);
/// The number of the GPU whose context is current, or -1.
int currentDevice();

} // namespace llmc::test

#endif // LLMC_TEST_RUNTIME_COMM_FAKE_FAKECUDA_H
