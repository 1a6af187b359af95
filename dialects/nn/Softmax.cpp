//===- Softmax.cpp - softmax, log_softmax and their backward ops ----------------===//
#include "dialects/nn/Family.h"
#include <cmath>

using namespace mlir;
using namespace llmc;
using namespace llmc::nn;

namespace {

/// All four ops work on whole rows.
FactorRule rowwise(Operation *op) {
  RowRule r(typeOf(op->getResult(0)), FactorKind::NeedWhole);
  r.rule.operands.assign(op->getNumOperands(), r.whole);
  r.rule.results = {r.whole};
  return r.rule;
}

void softmaxRow(const double *x, double *y, int64_t columns, bool logarithm) {
  double top = -INFINITY, sum = 0.0;
  for (int64_t c = 0; c < columns; ++c)
    top = std::isnan(x[c]) ? x[c] : std::max(top, x[c]);
  for (int64_t c = 0; c < columns; ++c)
    sum += std::exp(x[c] - top);
  for (int64_t c = 0; c < columns; ++c)
    y[c] = logarithm ? x[c] - top - std::log(sum) : std::exp(x[c] - top) / sum;
}

void softmaxRows(const HostTensor &in, HostTensor &out, bool logarithm) {
  auto [rows, columns] = rowsOf(in);
  for (int64_t r = 0; r < rows; ++r)
    softmaxRow(in.reals.data() + r * columns, out.reals.data() + r * columns, columns, logarithm);
}

} // namespace

// y = softmax(x)   dx = y (dy - sum(dy y))     saves: y
LogicalResult SoftmaxOp::emitVjp(OpBuilder &b, ValueRange cotangents, ArrayRef<bool>, SmallVectorImpl<Value> &gradients) {
  if (!cotangents[0])
    return noGradients(1, gradients);
  gradients.push_back(SoftmaxBackwardOp::create(b, getLoc(), getType(), getResult(), cotangents[0]));
  return success();
}
FactorRule SoftmaxOp::getFactorRule() { return rowwise(*this); }
int64_t SoftmaxOp::getFlops() { return 5 * elements(getResult()); }
LogicalResult SoftmaxOp::evaluate(Operands in, Results out) {
  softmaxRows(*in[0], out[0], false);
  return success();
}

LogicalResult SoftmaxBackwardOp::emitVjp(OpBuilder &, ValueRange, ArrayRef<bool>, SmallVectorImpl<Value> &) {
  return emitOpError("has no derivative: second derivatives are not computed");
}
FactorRule SoftmaxBackwardOp::getFactorRule() { return rowwise(*this); }
int64_t SoftmaxBackwardOp::getFlops() { return 4 * elements(getGradient()); }
LogicalResult SoftmaxBackwardOp::evaluate(Operands in, Results out) {
  auto [rows, columns] = rowsOf(*in[0]);
  for (int64_t r = 0; r < rows; ++r) {
    const double *y = in[0]->reals.data() + r * columns, *dy = in[1]->reals.data() + r * columns;
    double dot = 0.0;
    for (int64_t c = 0; c < columns; ++c)
      dot += y[c] * dy[c];
    for (int64_t c = 0; c < columns; ++c)
      out[0].reals[r * columns + c] = y[c] * (dy[c] - dot);
  }
  return success();
}

// y = log_softmax(x)   dx = dy - exp(y) sum(dy)     saves: y
LogicalResult LogSoftmaxOp::emitVjp(OpBuilder &b, ValueRange cotangents, ArrayRef<bool>, SmallVectorImpl<Value> &gradients) {
  if (!cotangents[0])
    return noGradients(1, gradients);
  gradients.push_back(LogSoftmaxBackwardOp::create(b, getLoc(), getType(), getResult(), cotangents[0]));
  return success();
}
FactorRule LogSoftmaxOp::getFactorRule() { return rowwise(*this); }
int64_t LogSoftmaxOp::getFlops() { return 5 * elements(getResult()); }
LogicalResult LogSoftmaxOp::evaluate(Operands in, Results out) {
  softmaxRows(*in[0], out[0], true);
  return success();
}

LogicalResult LogSoftmaxBackwardOp::emitVjp(OpBuilder &, ValueRange, ArrayRef<bool>, SmallVectorImpl<Value> &) {
  return emitOpError("has no derivative: second derivatives are not computed");
}
FactorRule LogSoftmaxBackwardOp::getFactorRule() { return rowwise(*this); }
int64_t LogSoftmaxBackwardOp::getFlops() { return 4 * elements(getGradient()); }
LogicalResult LogSoftmaxBackwardOp::evaluate(Operands in, Results out) {
  auto [rows, columns] = rowsOf(*in[0]);
  for (int64_t r = 0; r < rows; ++r) {
    const double *y = in[0]->reals.data() + r * columns, *dy = in[1]->reals.data() + r * columns;
    double sum = 0.0;
    for (int64_t c = 0; c < columns; ++c)
      sum += dy[c];
    for (int64_t c = 0; c < columns; ++c)
      out[0].reals[r * columns + c] = dy[c] - std::exp(y[c]) * sum;
  }
  return success();
}
