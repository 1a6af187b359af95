//===- LossChain.h - from the log-sum-exps of ranks to the whole one -*- C++ -*-===//
#ifndef LLMC_PASSES_LOWERING_LOSSCHAIN_H
#define LLMC_PASSES_LOWERING_LOSSCHAIN_H

#include "dialects/nn/Nn.h"

namespace llmc::lowering {

/// The ops between the log-sum-exp of one rank's classes, a result of a loss in parts, and that of all classes, which
/// its derivative reads: elementwise ones, changes of shape and sums or maxima over ranks, so that rows do not mix.
class LossChain {
public:
  /// The chain behind `loss`; not valid if there is none of this kind, or more than the last value of it is read
  /// elsewhere.
  static LossChain find(nn::LinearCrossEntropyOp loss);

  bool isValid() const { return static_cast<bool>(end); }
  nn::LinearCrossEntropyBackwardOp backward() const { return derivative; }
  /// The log-sum-exp of all classes.
  mlir::Value whole() const { return end; }

  /// The whole log-sum-exp of some rows, from the rank's own of these [rows].
  mlir::Value emit(mlir::OpBuilder &b, mlir::Value own) const;
  /// Erases the ops, whose last value has no readers any more.
  void erase();

private:
  mlir::Value begin, end;
  nn::LinearCrossEntropyBackwardOp derivative;
  llvm::SmallVector<mlir::Operation *> ops; // in program order
};

} // namespace llmc::lowering

#endif // LLMC_PASSES_LOWERING_LOSSCHAIN_H
