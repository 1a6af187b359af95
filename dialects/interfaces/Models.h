//===- Models.h - external models from small lambdas ------------*- C++ -*-===//
//
// arith and math ops are elementwise, so one lambda per op and facet says everything: the value and the derivative.
//
//===----------------------------------------------------------------------===//
#ifndef LLMC_DIALECTS_INTERFACES_MODELS_H
#define LLMC_DIALECTS_INTERFACES_MODELS_H

#include "dialects/interfaces/Interfaces.h"

namespace llmc::models {

using Operands = llvm::ArrayRef<const HostTensor *>;
using Results = llvm::MutableArrayRef<HostTensor>;
using Gradients = llvm::SmallVectorImpl<mlir::Value>;

/// Index into operand `t` for result element i: scalars (tt.func-style rank 0 conditions) repeat.
inline int64_t at(const HostTensor &t, int64_t i) { return t.size() == 1 ? 0 : i; }

template <typename Op, auto Fn>
struct RealModel : Evaluable::ExternalModel<RealModel<Op, Fn>, Op> {
  llvm::LogicalResult evaluate(mlir::Operation *op, Operands in, Results out) const {
    for (int64_t i = 0, e = out[0].size(); i < e; ++i) {
      if constexpr (std::is_invocable_v<decltype(Fn), double, double>)
        out[0].reals[i] = Fn(in[0]->reals[at(*in[0], i)], in[1]->reals[at(*in[1], i)]);
      else
        out[0].reals[i] = Fn(in[0]->reals[at(*in[0], i)]);
    }
    return mlir::success();
  }
};

template <typename Op, auto Fn>
struct IntegerModel : Evaluable::ExternalModel<IntegerModel<Op, Fn>, Op> {
  llvm::LogicalResult evaluate(mlir::Operation *op, Operands in, Results out) const {
    for (int64_t i = 0, e = out[0].size(); i < e; ++i) {
      if constexpr (std::is_invocable_v<decltype(Fn), int64_t, int64_t>)
        out[0].integers[i] = Fn(in[0]->integers[at(*in[0], i)], in[1]->integers[at(*in[1], i)]);
      else
        out[0].integers[i] = Fn(in[0]->integers[at(*in[0], i)]);
    }
    return mlir::success();
  }
};

/// Fn(op, operands, results): any shape.
template <typename Op, auto Fn>
struct ValueModel : Evaluable::ExternalModel<ValueModel<Op, Fn>, Op> {
  llvm::LogicalResult evaluate(mlir::Operation *op, Operands in, Results out) const {
    return Fn(llvm::cast<Op>(op), in, out);
  }
};

/// Fn(builder, op, dy, wanted, gradients), called only if dy is not null; must append one value per operand.
template <typename Op, auto Fn>
struct VjpModel : Differentiable::ExternalModel<VjpModel<Op, Fn>, Op> {
  llvm::LogicalResult emitVjp(mlir::Operation *op, mlir::OpBuilder &builder, mlir::ValueRange cotangents,
                              llvm::ArrayRef<bool> wanted, Gradients &gradients) const {
    if (!cotangents[0])
      gradients.append(op->getNumOperands(), mlir::Value());
    else
      Fn(builder, llvm::cast<Op>(op), cotangents[0], wanted, gradients);
    return mlir::success();
  }
};

/// An op through which no gradient flows (comparisons, integers, constants).
template <typename Op>
struct ZeroVjpModel : Differentiable::ExternalModel<ZeroVjpModel<Op>, Op> {
  llvm::LogicalResult emitVjp(mlir::Operation *op, mlir::OpBuilder &, mlir::ValueRange, llvm::ArrayRef<bool>,
                              Gradients &gradients) const {
    gradients.append(op->getNumOperands(), mlir::Value());
    return mlir::success();
  }
};

template <typename Op>
struct ElementwiseShardModel : Shardable::ExternalModel<ElementwiseShardModel<Op>, Op> {
  FactorRule getFactorRule(mlir::Operation *op) const { return elementwiseFactorRule(op); }
};

template <typename Op>
struct ElementwiseCostModel : Cost::ExternalModel<ElementwiseCostModel<Op>, Op> {};

/// Attaches value, derivative, factor rule and cost of one elementwise op.
template <typename Op, typename Value, typename Vjp>
void attachElementwise(mlir::MLIRContext *context) {
  Op::template attachInterface<Value, Vjp, ElementwiseShardModel<Op>, ElementwiseCostModel<Op>>(*context);
}
template <typename Op, auto Fn, auto Vjp>
void attachReal(mlir::MLIRContext *context) {
  attachElementwise<Op, RealModel<Op, Fn>, VjpModel<Op, Vjp>>(context);
}
template <typename Op, auto Fn>
void attachInteger(mlir::MLIRContext *context) {
  attachElementwise<Op, IntegerModel<Op, Fn>, ZeroVjpModel<Op>>(context);
}

} // namespace llmc::models

#endif // LLMC_DIALECTS_INTERFACES_MODELS_H
