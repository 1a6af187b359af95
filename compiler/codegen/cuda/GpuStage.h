//===- GpuStage.h - stages as code of one GPU thread --------------------------*- C++ -*-===//
//
// What a stage looks like before it is known which machine runs it: an LLVM function whose parameters are the operands, with
// four ops of the gpu dialect (thread_id x, block_id x, barrier, shuffle xor of 32-bit values over 32 lanes) and the symbol
// kSharedMemory, an array of bytes in address space 3 that the threads of a block share. A target replaces these five: CUDA
// by NVVM, an emulator by calls that switch fibers.
//
//===----------------------------------------------------------------------===//
#ifndef LLMC_COMPILER_CODEGEN_CUDA_GPUSTAGE_H
#define LLMC_COMPILER_CODEGEN_CUDA_GPUSTAGE_H

#include "compiler/codegen/KernelForm.h"
#include "compiler/codegen/cuda/CudaKernels.h"

namespace llmc::codegen {

constexpr llvm::StringLiteral kSharedMemory = "llmc_shared";
constexpr unsigned kSharedSpace = 3;
/// Unit attribute of a stage function; its integer attribute `llmc.threads` is the size of a block.
constexpr llvm::StringLiteral kGpuKernel = "llmc.gpu_kernel";
constexpr llvm::StringLiteral kGpuThreads = "llmc.threads";

/// Adds the function of each stage to `module`, and returns how they are launched.
std::vector<CudaStage> emitGpuStages(mlir::ModuleOp module, const TeamForm &form);

} // namespace llmc::codegen

#endif // LLMC_COMPILER_CODEGEN_CUDA_GPUSTAGE_H
