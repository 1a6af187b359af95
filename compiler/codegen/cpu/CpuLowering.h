//===- CpuLowering.h - emitted code -> LLVM IR -> object file -----------------*- C++ -*-===//
#ifndef LLMC_COMPILER_CODEGEN_CPU_CPULOWERING_H
#define LLMC_COMPILER_CODEGEN_CPU_CPULOWERING_H

#include "compiler/codegen/KernelForm.h"
#include "llvm/Target/TargetMachine.h"
#include "mlir/Rewrite/FrozenRewritePatternSet.h"

namespace llmc::codegen {

/// What one thread needs to generate objects: an MLIR context, the patterns, a target machine. Made once, used many times.
class CpuWorker {
public:
  explicit CpuWorker(llvm::StringRef cpu);
  ~CpuWorker();
  /// The relocatable object of one kernel.
  llvm::Expected<llvm::SmallVector<char, 0>> generate(const KernelForm &form);

private:
  llvm::Error lower(mlir::ModuleOp module);
  mlir::MLIRContext context;
  mlir::FrozenRewritePatternSet approximations;
  std::unique_ptr<llvm::TargetMachine> machine;
};

/// x86-64-v4 or x86-64-v3, what this machine has.
std::string hostCpuLevel();

} // namespace llmc::codegen

#endif // LLMC_COMPILER_CODEGEN_CPU_CPULOWERING_H
