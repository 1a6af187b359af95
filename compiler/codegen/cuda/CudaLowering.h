//===- CudaLowering.h - stages of GPU threads -> NVVM -> PTX ------------------*- C++ -*-===//
#ifndef LLMC_COMPILER_CODEGEN_CUDA_CUDALOWERING_H
#define LLMC_COMPILER_CODEGEN_CUDA_CUDALOWERING_H

#include "compiler/codegen/cuda/GpuStage.h"
#include "mlir/Rewrite/FrozenRewritePatternSet.h"
#include "llvm/Target/TargetMachine.h"

namespace llmc::codegen {

/// What one thread needs to generate PTX. Made once, used many times.
class CudaWorker {
public:
  explicit CudaWorker(const CudaOptions &options);
  ~CudaWorker();
  llvm::Expected<CudaKernel> generate(const KernelForm &form);

private:
  llvm::Error lower(mlir::ModuleOp module, bool &callsLibrary);
  llvm::Error linkLibrary(llvm::Module &module);

  CudaOptions options;
  mlir::MLIRContext context;
  mlir::FrozenRewritePatternSet approximations;
  std::unique_ptr<llvm::TargetMachine> machine;
};

/// Replaces the gpu dialect by NVVM in stage functions, and marks these as kernels.
void lowerGpuToNvvm(mlir::ModuleOp module);
/// Replaces functions of the math dialect that NVPTX has no instruction for by calls to libdevice, lane by lane. The error
/// names a function that libdevice lacks; `called` is set if there is a call.
llvm::Error lowerMathToLibdevice(mlir::ModuleOp module, bool &called);

} // namespace llmc::codegen

#endif // LLMC_COMPILER_CODEGEN_CUDA_CUDALOWERING_H
