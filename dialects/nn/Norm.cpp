//===- Norm.cpp - layer_norm, rms_norm and their backward ops --------------------===//
#include "dialects/nn/Family.h"
#include <cmath>

using namespace mlir;
using namespace llmc;
using namespace llmc::nn;

static bool isRowOf(Value value, RankedTensorType type) {
  return typeOf(value).getRank() == 1 && typeOf(value).getDimSize(0) == type.getShape().back();
}
static bool isStatisticOf(Value value, RankedTensorType type) { return typeOf(value).getShape() == leading(type); }

/// Rows parallel, the normalized dimension whole; scale and bias along it.
static FactorRule normRule(Operation *op, RankedTensorType type, bool backward) {
  RowRule r(type, FactorKind::NeedWhole);
  auto factorsOf = [&](Value value) {
    if (typeOf(value).getShape() == type.getShape())
      return r.whole;
    return isRowOf(value, type) && typeOf(value).getShape() != leading(type) ? TensorFactors{r.column} : r.leadingDims;
  };
  for (Value operand : op->getOperands())
    r.rule.operands.push_back(factorsOf(operand));
  for (Value result : op->getResults())
    r.rule.results.push_back(factorsOf(result));
  if (type.getRank() == 2 && type.getDimSize(0) == type.getDimSize(1)) {
    // [N, N]: shapes cannot tell a statistic from a scale; positions do.
    r.rule.operands[1] = {r.column};
    if (auto norm = dyn_cast<LayerNormOp>(op); norm && norm.getBias())
      r.rule.operands[2] = {r.column};
    if (backward)
      for (unsigned i = 1; i < op->getNumResults(); ++i)
        r.rule.results[i] = {r.column};
  }
  return r.rule;
}

//===-- nn.layer_norm ---------------------------------------------------------------===//

LogicalResult LayerNormOp::verify() {
  RankedTensorType type = typeOf(getInput());
  if (type.getRank() == 0 || !isRowOf(getScale(), type) || (getBias() && !isRowOf(getBias(), type)))
    return emitOpError("C1: scale and bias must have the size of the last dimension");
  return check(*this, isStatisticOf(getMean(), type) && isStatisticOf(getRstd(), type) && typeOf(getResult()) == type,
               "C2: mean and rstd must have the leading shape");
}

// see nn.layer_norm_backward     saves: x, scale, mean, rstd
LogicalResult LayerNormOp::emitVjp(OpBuilder &b, ValueRange cotangents, ArrayRef<bool>, SmallVectorImpl<Value> &gradients) {
  if (cotangents[1] || cotangents[2])
    return emitOpError("has no derivative through its statistics");
  if (!cotangents[0])
    return noGradients(getNumOperands(), gradients);
  auto backward = LayerNormBackwardOp::create(b, getLoc(), getInput().getType(), getScale().getType(), getScale().getType(),
                                              getInput(), getScale(), getMean(), getRstd(), cotangents[0]);
  gradients.append({backward.getInputGradient(), backward.getScaleGradient()});
  if (getBias())
    gradients.push_back(backward.getBiasGradient());
  return success();
}

FactorRule LayerNormOp::getFactorRule() { return normRule(*this, typeOf(getInput()), false); }
int64_t LayerNormOp::getFlops() { return 8 * elements(getInput()); }

LogicalResult LayerNormOp::evaluate(Operands in, Results out) {
  auto [rows, columns] = rowsOf(*in[0]);
  for (int64_t r = 0; r < rows; ++r) {
    const double *x = in[0]->reals.data() + r * columns;
    double mean = 0.0, variance = 0.0;
    for (int64_t c = 0; c < columns; ++c)
      mean += x[c];
    mean /= columns;
    for (int64_t c = 0; c < columns; ++c)
      variance += (x[c] - mean) * (x[c] - mean);
    double rstd = 1.0 / std::sqrt(variance / columns + getEpsilon().convertToDouble());
    for (int64_t c = 0; c < columns; ++c)
      out[0].reals[r * columns + c] =
          (x[c] - mean) * rstd * in[1]->reals[c] + (getBias() ? in[2]->reals[c] : 0.0);
    out[1].reals[r] = mean;
    out[2].reals[r] = rstd;
  }
  return success();
}

LogicalResult LayerNormBackwardOp::verify() {
  return check(*this, getInputGradient().getType() == getInput().getType() &&
                          getScaleGradient().getType() == getScale().getType() &&
                          getBiasGradient().getType() == getScale().getType(),
               "C1: gradient types differ from those of x and scale");
}
LogicalResult LayerNormBackwardOp::emitVjp(OpBuilder &, ValueRange, ArrayRef<bool>, SmallVectorImpl<Value> &) {
  return emitOpError("has no derivative: second derivatives are not computed");
}
FactorRule LayerNormBackwardOp::getFactorRule() { return normRule(*this, typeOf(getInput()), true); }
int64_t LayerNormBackwardOp::getFlops() { return 14 * elements(getInput()); }

LogicalResult LayerNormBackwardOp::evaluate(Operands in, Results out) {
  auto [rows, columns] = rowsOf(*in[0]);
  for (int64_t r = 0; r < rows; ++r) {
    const double *x = in[0]->reals.data() + r * columns, *dy = in[4]->reals.data() + r * columns;
    double mean = in[2]->reals[r], rstd = in[3]->reals[r], sumG = 0.0, sumGh = 0.0;
    for (int64_t c = 0; c < columns; ++c) {
      double h = (x[c] - mean) * rstd, g = dy[c] * in[1]->reals[c];
      sumG += g;
      sumGh += g * h;
      out[1].reals[c] += dy[c] * h;
      out[2].reals[c] += dy[c];
    }
    for (int64_t c = 0; c < columns; ++c) {
      double h = (x[c] - mean) * rstd, g = dy[c] * in[1]->reals[c];
      out[0].reals[r * columns + c] = rstd * (g - sumG / columns - h * sumGh / columns);
    }
  }
  return success();
}

//===-- nn.rms_norm -------------------------------------------------------------------===//

LogicalResult RmsNormOp::verify() {
  RankedTensorType type = typeOf(getInput());
  if (type.getRank() == 0 || !isRowOf(getScale(), type))
    return emitOpError("C1: scale must have the size of the last dimension");
  return check(*this, isStatisticOf(getRstd(), type) && typeOf(getResult()) == type, "C2: rstd must have the leading shape");
}

// see nn.rms_norm_backward     saves: x, scale, rstd
LogicalResult RmsNormOp::emitVjp(OpBuilder &b, ValueRange cotangents, ArrayRef<bool>, SmallVectorImpl<Value> &gradients) {
  if (cotangents[1])
    return emitOpError("has no derivative through its statistics");
  if (!cotangents[0])
    return noGradients(2, gradients);
  auto backward = RmsNormBackwardOp::create(b, getLoc(), getInput().getType(), getScale().getType(), getInput(), getScale(),
                                            getRstd(), cotangents[0]);
  gradients.append({backward.getInputGradient(), backward.getScaleGradient()});
  return success();
}

FactorRule RmsNormOp::getFactorRule() { return normRule(*this, typeOf(getInput()), false); }
int64_t RmsNormOp::getFlops() { return 5 * elements(getInput()); }

LogicalResult RmsNormOp::evaluate(Operands in, Results out) {
  auto [rows, columns] = rowsOf(*in[0]);
  for (int64_t r = 0; r < rows; ++r) {
    const double *x = in[0]->reals.data() + r * columns;
    double squares = 0.0;
    for (int64_t c = 0; c < columns; ++c)
      squares += x[c] * x[c];
    double rstd = 1.0 / std::sqrt(squares / columns + getEpsilon().convertToDouble());
    for (int64_t c = 0; c < columns; ++c)
      out[0].reals[r * columns + c] = x[c] * rstd * in[1]->reals[c];
    out[1].reals[r] = rstd;
  }
  return success();
}

LogicalResult RmsNormBackwardOp::verify() {
  return check(*this, getInputGradient().getType() == getInput().getType() &&
                          getScaleGradient().getType() == getScale().getType(),
               "C1: gradient types differ from those of x and scale");
}
LogicalResult RmsNormBackwardOp::emitVjp(OpBuilder &, ValueRange, ArrayRef<bool>, SmallVectorImpl<Value> &) {
  return emitOpError("has no derivative: second derivatives are not computed");
}
FactorRule RmsNormBackwardOp::getFactorRule() { return normRule(*this, typeOf(getInput()), true); }
int64_t RmsNormBackwardOp::getFlops() { return 10 * elements(getInput()); }

LogicalResult RmsNormBackwardOp::evaluate(Operands in, Results out) {
  auto [rows, columns] = rowsOf(*in[0]);
  for (int64_t r = 0; r < rows; ++r) {
    const double *x = in[0]->reals.data() + r * columns, *dy = in[3]->reals.data() + r * columns;
    double rstd = in[2]->reals[r], sumGh = 0.0;
    for (int64_t c = 0; c < columns; ++c) {
      double h = x[c] * rstd;
      sumGh += dy[c] * in[1]->reals[c] * h;
      out[1].reals[c] += dy[c] * h;
    }
    for (int64_t c = 0; c < columns; ++c)
      out[0].reals[r * columns + c] = rstd * (dy[c] * in[1]->reals[c] - x[c] * rstd * sumGh / columns);
  }
  return success();
}
