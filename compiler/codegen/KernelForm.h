//===- KernelForm.h - one way of turning a kernel function into code ----------*- C++ -*-===//
#ifndef LLMC_COMPILER_CODEGEN_KERNELFORM_H
#define LLMC_COMPILER_CODEGEN_KERNELFORM_H

#include "compiler/codegen/Code.h"
#include "compiler/codegen/Kernels.h"
#include "compiler/codegen/fused/Team.h"
#include <memory>

namespace llmc::codegen {

class TeamForm;

/// A kernel function understood: holds no MLIR objects, so code can be emitted on any thread, in any context.
class KernelForm {
public:
  virtual ~KernelForm() = default;
  const GeneratedKernel &description() const { return kernel; }
  /// Emits stage `index` for the CPU at the insertion point of `code`.
  virtual void emitCpu(Code &code, size_t index, llvm::ArrayRef<mlir::Value> operands, mlir::Value workgroup) const = 0;
  /// Whether stage `index` has so many operands that it reads the pointers it needs itself: emit functions then get one
  /// operand, the array of all pointers.
  virtual bool readsArguments(size_t index) const { return false; }
  /// The form as one that is written against Team, or null: then there is no CUDA form.
  virtual const TeamForm *teamForm() const { return nullptr; }
  /// Declares helper functions that the stages call; they are private to the kernel.
  virtual void emitCpuHelpers(mlir::ModuleOp module) const {}

protected:
  GeneratedKernel kernel;
};

/// A form written against Team alone: one emitter for all targets.
class TeamForm : public KernelForm {
public:
  virtual void emit(Team &team, Code &code, size_t index, llvm::ArrayRef<mlir::Value> operands, mlir::Value workgroup) const = 0;
  void emitCpu(Code &code, size_t index, llvm::ArrayRef<mlir::Value> operands, mlir::Value workgroup) const final;
  const TeamForm *teamForm() const final { return this; }
  /// How many columns a walk of stage `index` has about: decides how many threads a team gets.
  virtual int64_t walkLength(size_t) const { return 1024; }
};

/// The form of a kernel function; the error names the op that has none.
llvm::Expected<std::unique_ptr<KernelForm>> selectForm(mlir::func::FuncOp function);

} // namespace llmc::codegen

#endif // LLMC_COMPILER_CODEGEN_KERNELFORM_H
