//===- Family.h - what the op families share --------------------*- C++ -*-===//
#ifndef LLMC_DIALECTS_NN_FAMILY_H
#define LLMC_DIALECTS_NN_FAMILY_H

#include "dialects/nn/Nn.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"

namespace llmc::nn {

using Operands = llvm::ArrayRef<const HostTensor *>;
using Results = llvm::MutableArrayRef<HostTensor>;

/// Fails with "<label>: <text>" at the op unless `holds`.
inline llvm::LogicalResult check(mlir::Operation *op, bool holds, const llvm::Twine &message) {
  if (holds)
    return mlir::success();
  return op->emitOpError() << message;
}

/// Rows (all leading dimensions) and columns (the last one) of a tensor of rank >= 1.
struct RowsColumns {
  int64_t rows, columns;
};
inline RowsColumns rowsOf(const HostTensor &t) {
  int64_t columns = t.shape.empty() ? 1 : t.shape.back();
  return {columns == 0 ? 0 : t.size() / columns, columns};
}
/// The leading dimensions of a shape.
inline llvm::ArrayRef<int64_t> leading(mlir::RankedTensorType type) { return type.getShape().drop_back(); }

/// Appends `count` null gradients; used where no gradient arrives.
inline llvm::LogicalResult noGradients(unsigned count, llvm::SmallVectorImpl<mlir::Value> &gradients) {
  gradients.append(count, mlir::Value());
  return mlir::success();
}

/// A rule over rows and the last dimension: the leading dimensions of `type` parallel, the last one of kind `last`.
struct RowRule {
  FactorRule rule;
  TensorFactors leadingDims, whole;
  DimensionFactors column;
  RowRule(mlir::RankedTensorType type, FactorKind last) {
    leadingDims = rule.addDimensions(leading(type));
    column = {rule.add(type.getShape().back(), last)};
    whole = leadingDims;
    whole.push_back(column);
  }
};

inline int64_t elements(mlir::Value value) { return typeOf(value).getNumElements(); }

} // namespace llmc::nn

#endif // LLMC_DIALECTS_NN_FAMILY_H
