//===- Kernels.h - kernel functions of level `kernels` become machine code ----*- C++ -*-===//
//
// A kernel function is a private func.func on tensors of static shape that returns tensors. Its code is a list of stages;
// a stage is one function `void symbol(void *const *arguments, int64_t workgroup)`, called once for each workgroup from 0
// to `workgroups - 1`, by any thread, in any order. All workgroups of a stage finish before the next stage starts. Work is
// partitioned by shape alone, so results are the same bits for any number of threads.
//
//===----------------------------------------------------------------------===//
#ifndef LLMC_COMPILER_CODEGEN_KERNELS_H
#define LLMC_COMPILER_CODEGEN_KERNELS_H

#include "llvm/ADT/SmallVector.h"
#include "llvm/Support/Error.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/BuiltinOps.h"
#include <string>
#include <vector>

namespace llmc::codegen {

enum class OperandKind { Input, Output, Scratch };
/// Write: what the bytes were before the stage does not matter, even where it reads back what it wrote. ReadWrite: it does.
enum class AccessMode { Read, Write, ReadWrite };

/// One pointer that a stage gets: argument `index` of the kernel, its result `index`, or scratch buffer `index`.
struct StageOperand {
  OperandKind kind;
  int index;
  AccessMode mode;
  int64_t bytes;
};

/// One function of the image. `arguments[i]` points to operands[i]; all pointers are aligned to 64 bytes.
struct KernelStage {
  std::string symbol;
  int64_t workgroups;
  llvm::SmallVector<StageOperand> operands;
};

/// What the planner and the executor need to know about one kernel function.
struct GeneratedKernel {
  std::string name;
  llvm::SmallVector<KernelStage> stages;
  llvm::SmallVector<int64_t> scratchBytes;
  /// (input, output): this output may take the storage of this input, if the input is dead afterwards. Each pair holds on
  /// its own and together with any others that pair each input and each output at most once.
  llvm::SmallVector<std::pair<int, int>> mayAlias;
};

struct CpuOptions {
  /// An LLVM CPU name; empty: x86-64-v4 where this machine has it, else x86-64-v3.
  std::string cpu;
  /// Threads that generate code; 0: as many as the machine has.
  unsigned threads = 0;
};

/// One ELF shared object with all stages of all kernels. Equal inputs and options give equal bytes.
struct KernelImage {
  std::vector<char> elf;
  std::string cpu;
  std::vector<GeneratedKernel> kernels;
};

/// The stages, scratch and aliasing of a kernel function, without generating code. Fails, naming the op, where the function
/// holds what no kernel form covers; splitting it into smaller kernels then helps.
llvm::Expected<GeneratedKernel> describeKernel(mlir::func::FuncOp function);

/// Machine code for all functions of `kernels`, in the order of the functions. Leaves the module as it is.
llvm::Expected<KernelImage> generateCpuKernels(mlir::ModuleOp kernels, const CpuOptions &options);

} // namespace llmc::codegen

#endif // LLMC_COMPILER_CODEGEN_KERNELS_H
