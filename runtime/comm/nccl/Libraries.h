//===- Libraries.h - CUDA's driver and NCCL, loaded at run time -*- C++ -*-===//
#ifndef LLMC_RUNTIME_COMM_NCCL_LIBRARIES_H
#define LLMC_RUNTIME_COMM_NCCL_LIBRARIES_H

#include "runtime/comm/nccl/Abi.h"
#include "runtime/support/Status.h"

namespace llmc::runtime::nccl {

/// Names for the dynamic loader, or paths.
struct LibraryPaths {
  std::string cuda = "libcuda.so.1", nccl = "libnccl.so.2";
};

/// The functions of both, under the names they have there.
struct Libraries {
#define LLMC_MEMBER(name, parameters) CudaResult(*name) parameters = nullptr;
  LLMC_CUDA_FUNCTIONS(LLMC_MEMBER)
#undef LLMC_MEMBER
#define LLMC_MEMBER(result, name, parameters) result(*name) parameters = nullptr;
  LLMC_NCCL_FUNCTIONS(LLMC_MEMBER)
#undef LLMC_MEMBER
};

/// Once loaded, libraries stay. Errors, with the package to install as the hint: WrongUse if one is not there, lacks a
/// function or is older than kOldestNccl.
Status loadCuda(const std::string &path, Libraries &libraries);
Status loadNccl(const std::string &path, Libraries &libraries);

/// What CUDA calls a result.
std::string nameOf(const Libraries &libraries, CudaResult result);

} // namespace llmc::runtime::nccl

#endif // LLMC_RUNTIME_COMM_NCCL_LIBRARIES_H
