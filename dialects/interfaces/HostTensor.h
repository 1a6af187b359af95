//===- HostTensor.h - a dense array on the host -----------------*- C++ -*-===//
//
// The values of the reference interpreter and of constant folding. Simple on purpose: reals are doubles, everything else
// is int64 (bool as 0 and 1), row-major.
//
//===----------------------------------------------------------------------===//
#ifndef LLMC_DIALECTS_INTERFACES_HOSTTENSOR_H
#define LLMC_DIALECTS_INTERFACES_HOSTTENSOR_H

#include "mlir/IR/BuiltinAttributes.h"
#include "mlir/IR/BuiltinTypes.h"
#include <vector>

namespace llmc {

struct HostTensor {
  llvm::SmallVector<int64_t, 4> shape;
  bool isReal = true;
  std::vector<double> reals;      // used if isReal
  std::vector<int64_t> integers;  // used otherwise

  int64_t size() const;
  int64_t rank() const { return static_cast<int64_t>(shape.size()); }
  double real(int64_t index) const { return isReal ? reals[index] : static_cast<double>(integers[index]); }
  /// Row-major strides in elements.
  llvm::SmallVector<int64_t, 4> strides() const;

  /// Zeros of a ranked tensor type with static shape, or of a scalar type (rank 0).
  static HostTensor zeros(mlir::Type type);
  static HostTensor zeros(llvm::ArrayRef<int64_t> shape, bool isReal);
  /// The elements of a constant; reads every dense form (splat, raw, resource with data).
  static mlir::FailureOr<HostTensor> fromAttribute(mlir::ElementsAttr attribute);
  /// A dense attribute of `type`, rounded to its element type; a splat if all elements are equal bit for bit.
  mlir::DenseElementsAttr toAttribute(mlir::RankedTensorType type) const;
};

/// Rounds reals to what `elementType` can hold (f32, bf16, f16; f64 unchanged) and wraps integers to its width.
void roundTo(mlir::Type elementType, HostTensor &tensor);

} // namespace llmc

#endif // LLMC_DIALECTS_INTERFACES_HOSTTENSOR_H
