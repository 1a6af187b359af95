//===- Optimizer.cpp - sum_of_squares, adamw, sgd -----------------------------------------===//
#include "dialects/nn/Family.h"
#include <cmath>

using namespace mlir;
using namespace llmc;
using namespace llmc::nn;

static LogicalResult noDerivative(Operation *op) { return op->emitOpError("has no derivative: it stands in the update"); }

/// Full-shape operands share factors, rank-0 operands have none.
static FactorRule updateRule(Operation *op) {
  FactorRule rule;
  TensorFactors dims = rule.addDimensions(typeOf(op->getOperand(0)).getShape());
  for (Value operand : op->getOperands())
    rule.operands.push_back(operand.getType() == op->getOperand(0).getType() ? dims : TensorFactors());
  rule.results.assign(op->getNumResults(), dims);
  return rule;
}

static bool oneType(ValueRange values, Type type) {
  return llvm::all_of(values, [&](Value v) { return v.getType() == type; });
}

/// The results of an update that is skipped: the operands `state`.
static LogicalResult keepState(Operands in, ArrayRef<size_t> state, Results out) {
  for (auto [result, operand] : llvm::zip_equal(out, state))
    result.reals = in[operand]->reals;
  return success();
}

//===-- nn.sum_of_squares ------------------------------------------------------------------===//

LogicalResult SumOfSquaresOp::emitVjp(OpBuilder &, ValueRange, ArrayRef<bool>, SmallVectorImpl<Value> &) { return noDerivative(*this); }
FactorRule SumOfSquaresOp::getFactorRule() {
  FactorRule rule;
  for (Value input : getInputs())
    rule.operands.push_back(rule.addDimensions(typeOf(input).getShape(), FactorKind::Sum));
  rule.results = {{}};
  rule.separable = true;
  return rule;
}
int64_t SumOfSquaresOp::getFlops() {
  int64_t flops = 0;
  for (Value input : getInputs())
    flops += 2 * elements(input);
  return flops;
}
LogicalResult SumOfSquaresOp::evaluate(Operands in, Results out) {
  for (const HostTensor *tensor : in)
    for (double value : tensor->reals)
      out[0].reals[0] += value * value;
  return success();
}

//===-- nn.adamw -----------------------------------------------------------------------------===//

LogicalResult AdamWOp::verify() {
  Type type = getParameter().getType();
  return check(*this, oneType(getOperands().take_front(4), type) && oneType(getResults(), type) &&
                          llvm::all_of(getOperands().drop_front(4), [](Value v) { return typeOf(v).getRank() == 0; }),
               "C1: parameter, gradient, moments and results must have one type, scalars rank 0");
}
LogicalResult AdamWOp::emitVjp(OpBuilder &, ValueRange, ArrayRef<bool>, SmallVectorImpl<Value> &) { return noDerivative(*this); }
FactorRule AdamWOp::getFactorRule() { return updateRule(*this); }
int64_t AdamWOp::getFlops() { return 14 * elements(getParameter()); }

LogicalResult AdamWOp::evaluate(Operands in, Results out) {
  double lr = in[4]->reals[0], scale = in[5]->reals[0], c1 = in[6]->reals[0], c2 = in[7]->reals[0];
  double beta1 = getBeta1().convertToDouble(), beta2 = getBeta2().convertToDouble();
  double epsilon = getEpsilon().convertToDouble(), decay = getDecay().convertToDouble();
  if (scale == 0)
    return keepState(in, {0, 2, 3}, out);
  for (int64_t i = 0, e = in[0]->size(); i < e; ++i) {
    double g = in[1]->reals[i] * scale;
    double m = in[2]->reals[i] + (1.0 - beta1) * (g - in[2]->reals[i]);
    double v = beta2 * in[3]->reals[i] + (1.0 - beta2) * g * g;
    double p = in[0]->reals[i] * (1.0 - lr * decay);
    out[0].reals[i] = p - lr / c1 * m / (std::sqrt(v) / std::sqrt(c2) + epsilon);
    out[1].reals[i] = m;
    out[2].reals[i] = v;
  }
  return success();
}

//===-- nn.sgd --------------------------------------------------------------------------------===//

LogicalResult SgdOp::verify() {
  Type type = getParameter().getType();
  return check(*this, oneType(getOperands().take_front(3), type) && oneType(getResults(), type) &&
                          llvm::all_of(getOperands().drop_front(3), [](Value v) { return typeOf(v).getRank() == 0; }),
               "C1: parameter, gradient, buffer and results must have one type, scalars rank 0");
}
LogicalResult SgdOp::emitVjp(OpBuilder &, ValueRange, ArrayRef<bool>, SmallVectorImpl<Value> &) { return noDerivative(*this); }
FactorRule SgdOp::getFactorRule() { return updateRule(*this); }
int64_t SgdOp::getFlops() { return 7 * elements(getParameter()); }

LogicalResult SgdOp::evaluate(Operands in, Results out) {
  double lr = in[3]->reals[0], scale = in[4]->reals[0];
  double momentum = getMomentum().convertToDouble(), decay = getDecay().convertToDouble();
  if (scale == 0)
    return keepState(in, {0, 2}, out);
  for (int64_t i = 0, e = in[0]->size(); i < e; ++i) {
    double g = in[1]->reals[i] * scale + decay * in[0]->reals[i];
    double b = momentum * in[2]->reals[i] + g;
    out[0].reals[i] = in[0]->reals[i] - lr * (getNesterov() ? g + momentum * b : b);
    out[1].reals[i] = b;
  }
  return success();
}
