//===- KernelForm.h - one way of turning a kernel function into code ----------*- C++ -*-===//
#ifndef LLMC_COMPILER_CODEGEN_KERNELFORM_H
#define LLMC_COMPILER_CODEGEN_KERNELFORM_H

#include "compiler/codegen/Code.h"
#include "compiler/codegen/Kernels.h"
#include <memory>

namespace llmc::codegen {

/// A kernel function understood: holds no MLIR objects, so code can be emitted on any thread, in any context.
class KernelForm {
public:
  virtual ~KernelForm() = default;
  const GeneratedKernel &description() const { return kernel; }
  /// Emits stage `index` for the CPU at the insertion point of `code`.
  virtual void emitCpu(Code &code, size_t index, llvm::ArrayRef<mlir::Value> operands, mlir::Value workgroup) const = 0;
  /// Declares helper functions that the stages call; they are private to the kernel.
  virtual void emitCpuHelpers(mlir::ModuleOp module) const {}

protected:
  GeneratedKernel kernel;
};

/// The form of a kernel function; the error names the op that has none.
llvm::Expected<std::unique_ptr<KernelForm>> selectForm(mlir::func::FuncOp function);

} // namespace llmc::codegen

#endif // LLMC_COMPILER_CODEGEN_KERNELFORM_H
