//===- Matching.h - what recomposition looks for in IR ----------*- C++ -*-===//
#ifndef LLMC_PASSES_IMPORT_MATCHING_H
#define LLMC_PASSES_IMPORT_MATCHING_H

#include "dialects/nn/Nn.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include <optional>

namespace llmc::importing {

/// The one value that all elements of a floating-point or integer constant have, looking through broadcasts and reshapes.
std::optional<double> splatOf(mlir::Value value);
/// True if `value` is a splat of `expected`, up to rounding (see roundingOf).
bool isSplat(mlir::Value value, double expected);
/// The relative difference by which a written-down constant may differ: a 16-bit float's for bf16 and f16, else a 32-bit one's,
/// since graphs in f64 often hold constants that were f32.
double roundingOf(mlir::Type elementType);

/// A tensor as repetitions of a smaller one: the dimensions of `source` that are larger than 1 are, in order, the dimensions
/// `dims` of the value; along the others the value repeats.
struct Spread {
  mlir::Value source;
  llvm::SmallVector<int64_t> dims;

  /// `source` without its dimensions of size 1.
  mlir::Value squeezed(mlir::OpBuilder &builder, mlir::Location loc) const;
};
/// Looks through broadcasts and through reshapes that only add or drop dimensions of size 1.
Spread spreadOf(mlir::Value value);

/// The tensor of shape `shape` whose dimensions `dims` are the `spread`'s, in order, and that repeats along the others. The
/// dimensions must increase.
mlir::Value respread(mlir::OpBuilder &builder, mlir::Location loc, const Spread &spread, llvm::ArrayRef<int64_t> dims,
                     llvm::ArrayRef<int64_t> shape);

/// Values of floating-point type that a parameter flows into.
llvm::DenseSet<mlir::Value> valuesOfParameters(mlir::func::FuncOp function);

/// The other operand of a binary op, if one operand is `operand`; null otherwise.
template <typename Op> mlir::Value otherOperand(Op op, mlir::Value operand) {
  if (op.getLhs() == operand)
    return op.getRhs();
  return op.getRhs() == operand ? op.getLhs() : mlir::Value();
}

/// Applies `fn(a, b)` to both orders of a commutative op's operands until it returns true.
template <typename Op, typename Fn> bool eitherOrder(Op op, Fn fn) { return fn(op.getLhs(), op.getRhs()) || fn(op.getRhs(), op.getLhs()); }

} // namespace llmc::importing

#endif // LLMC_PASSES_IMPORT_MATCHING_H
