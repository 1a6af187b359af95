//===- Forms.h - the generators for kernels that are not (rows, columns) ------*- C++ -*-===//
//
// Each returns null where the function is not of its kind, and an error where it is but cannot be generated.
//
//===----------------------------------------------------------------------===//
#ifndef LLMC_COMPILER_CODEGEN_FORMS_FORMS_H
#define LLMC_COMPILER_CODEGEN_FORMS_FORMS_H

#include "compiler/codegen/KernelForm.h"

namespace llmc::codegen {

using FormResult = llvm::Expected<std::unique_ptr<KernelForm>>;

/// nn.adamw or nn.sgd on any number of parameters, with scalar arithmetic before them.
FormResult makeOptimizerForm(mlir::func::FuncOp function);
/// One nn.sum_of_squares, with scalar arithmetic after it.
FormResult makeSumOfSquaresForm(mlir::func::FuncOp function);
/// nn.scatter_add, perhaps added to a whole argument.
FormResult makeScatterForm(mlir::func::FuncOp function);
/// nn.scatter_add_along or nn.top_k alone: plain loops over lines.
FormResult makeAlongForm(mlir::func::FuncOp function);
/// nn.reduce alone, over any dimensions.
FormResult makeReduceForm(mlir::func::FuncOp function);

/// nn.transpose alone, where the innermost dimension changes.
FormResult makeTransposeForm(mlir::func::FuncOp function);

/// The number of the argument that `value` is, perhaps in another shape; -1 if it is computed.
int argumentOf(mlir::Value value);
/// The only op of a function beside reshapes, splat constants and the terminator, if it is the only one.
mlir::Operation *onlyOp(mlir::func::FuncOp function);
/// The position of `value` among the results of the function if it is returned once, perhaps in another shape; else -1.
int resultOf(mlir::func::FuncOp function, mlir::Value value);
/// Bytes and element kind of a tensor of static shape; no kind if it has none.
struct TensorSize {
  std::optional<ElementKind> kind;
  int64_t elements = 0;
  int64_t bytes() const { return elements * bytesOf(*kind); }
};
TensorSize sizeOf(mlir::Type type);

/// What an op of a form reads: an argument, perhaps in another shape, or one value everywhere.
struct Source {
  int argument = -1;
  bool isSplat = false;
  ElementKind kind = ElementKind::F32;
  int64_t elements = 0;
  Node splat;
  /// Neither where `value` is computed or has no static shape and known element type.
  static Source of(mlir::Value value);
  bool isKnown() const { return argument >= 0 || isSplat; }
  int64_t bytes() const { return elements * bytesOf(kind); }
  /// Appends the operand, if this is an argument.
  void addTo(KernelStage &stage) const;
  /// Its pointer among the operands of a stage, or null.
  mlir::Value pointer(const KernelStage &stage, llvm::ArrayRef<mlir::Value> operands) const;
  /// The elements from `position` on, as Code::loadElements.
  mlir::Value load(Code &code, mlir::Value pointer, mlir::Value position, int64_t width, mlir::Value mask = {},
                   int64_t alignment = 0) const;
  /// Integer `position` as i64 in [0, size): negative ones count from the end, others are clamped.
  mlir::Value index(Code &code, mlir::Value pointer, mlir::Value position, int64_t size) const;
};

} // namespace llmc::codegen

#endif // LLMC_COMPILER_CODEGEN_FORMS_FORMS_H
