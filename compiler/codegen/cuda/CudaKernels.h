//===- CudaKernels.h - kernel functions of level `kernels` become PTX ---------*- C++ -*-===//
//
// The stages of a kernel (Kernels.h) as CUDA entry points: block x is the workgroup, the parameters are the operands'
// pointers in order, or one pointer to an array of them in device memory. A kernel has the same stages, operands, scratch and
// aliasing as on the CPU.
//
//===----------------------------------------------------------------------===//
#ifndef LLMC_COMPILER_CODEGEN_CUDA_CUDAKERNELS_H
#define LLMC_COMPILER_CODEGEN_CUDA_CUDAKERNELS_H

#include "compiler/codegen/Kernels.h"

namespace llmc::codegen {

struct CudaOptions {
  std::string arch = "sm_90a";
  /// The file libdevice.10.bc of the CUDA toolkit; needed by kernels with functions that have no approximation here (f64
  /// exponentials, sin, cos).
  std::string libdevice;
  /// Threads that generate code; 0: as many as the machine has.
  unsigned threads = 0;
};

/// How a stage is launched: `workgroups` blocks of `threads` threads, with `sharedBytes` of dynamic shared memory.
struct CudaStage {
  std::string symbol;
  int64_t threads;
  int64_t sharedBytes;
  bool argumentArray; // one parameter, the array of the operands' pointers
};

struct CudaKernel {
  GeneratedKernel kernel;
  std::vector<CudaStage> stages; // beside kernel.stages
  std::string ptx;               // one module with an entry per stage
};

struct CudaImage {
  std::string arch;
  std::vector<CudaKernel> kernels;
};

/// PTX for all functions of `kernels`, in the order of the functions. Leaves the module as it is. Fails, naming the kernel,
/// where one has no CUDA form. Equal inputs and options give equal text.
llvm::Expected<CudaImage> generateCudaKernels(mlir::ModuleOp kernels, const CudaOptions &options);

} // namespace llmc::codegen

#endif // LLMC_COMPILER_CODEGEN_CUDA_CUDAKERNELS_H
