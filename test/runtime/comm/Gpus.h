//===- Gpus.h - GPUs for a test, real or not --------------------*- C++ -*-===//
#ifndef LLMC_TEST_RUNTIME_COMM_GPUS_H
#define LLMC_TEST_RUNTIME_COMM_GPUS_H

#include "runtime/comm/nccl/Libraries.h"
#include <filesystem>

namespace llmc::test {

/// Fake: the libraries of test/runtime/comm/fake, 8 GPUs.
enum class Gpus { None, Fake, Real };

/// The libraries; of a real NCCL the one that PyTorch brings, if it is there, as scripts/setup installs it.
inline runtime::nccl::LibraryPaths librariesOf(Gpus gpus) {
  runtime::nccl::LibraryPaths paths;
  if (gpus == Gpus::Fake)
    return {LLMC_FAKE_CUDA, LLMC_FAKE_NCCL};
  if (std::filesystem::exists(LLMC_TORCH_NCCL))
    paths.nccl = LLMC_TORCH_NCCL;
  return paths;
}

} // namespace llmc::test

#endif // LLMC_TEST_RUNTIME_COMM_GPUS_H
