//===- FactorRule.h - which dimensions of an op move together ---*- C++ -*-===//
#ifndef LLMC_DIALECTS_INTERFACES_FACTORRULE_H
#define LLMC_DIALECTS_INTERFACES_FACTORRULE_H

#include "llvm/ADT/ArrayRef.h"
#include "llvm/ADT/SmallVector.h"
#include <cstdint>

namespace llmc {

/// How results depend on a factor: Parallel factors appear in results and split freely; Sum and Max factors are reduced
/// over (a split leaves a partial sum or maximum); NeedWhole factors must not be split.
enum class FactorKind { Parallel, Sum, Max, NeedWhole };

struct Factor {
  int64_t size;
  FactorKind kind;
};

/// The factors of one dimension, from major to minor; the product of their sizes is the dimension. Empty: size 1, or a
/// dimension over which the tensor is constant.
using DimensionFactors = llvm::SmallVector<int64_t, 2>;
using TensorFactors = llvm::SmallVector<DimensionFactors, 4>;

/// An einsum-like rule: for every dimension of every operand and result, the factors it is made of.
struct FactorRule {
  llvm::SmallVector<Factor> factors;
  llvm::SmallVector<TensorFactors> operands, results;
  /// The op is a sum of one function of each operand: an axis may cut factors of several operands.
  bool separable = false;

  int64_t add(int64_t size, FactorKind kind = FactorKind::Parallel) {
    factors.push_back({size, kind});
    return static_cast<int64_t>(factors.size()) - 1;
  }
  /// One parallel factor per entry of `shape`.
  TensorFactors addDimensions(llvm::ArrayRef<int64_t> shape, FactorKind kind = FactorKind::Parallel) {
    TensorFactors dims;
    for (int64_t size : shape)
      dims.push_back({add(size, kind)});
    return dims;
  }
};

} // namespace llmc

#endif // LLMC_DIALECTS_INTERFACES_FACTORRULE_H
