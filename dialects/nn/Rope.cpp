//===- Rope.cpp - nn.rope: rotary position embedding -------------------------------===//
#include "dialects/nn/Family.h"

using namespace mlir;
using namespace llmc;
using namespace llmc::nn;

LogicalResult RopeOp::verify() {
  RankedTensorType type = typeOf(getInput()), table = typeOf(getCos());
  if (type.getRank() != 4 || typeOf(getResult()) != type || typeOf(getSin()) != table || table.getRank() < 2 || table.getRank() > 3)
    return emitOpError("C1: input must be [batch, sequence, heads, size], cos and sin [sequence, R] or [batch, sequence, R]");
  int64_t rotated = table.getShape().back();
  bool rows = table.getShape()[table.getRank() - 2] == type.getDimSize(1) &&
              (table.getRank() == 2 || table.getDimSize(0) == type.getDimSize(0));
  return check(*this, rows && rotated % 2 == 0 && rotated <= type.getDimSize(3),
               "C1: the tables do not fit [batch, sequence, heads, size], or R is odd or larger than size");
}

// y = R x   dx = R^T dy     saves: the tables
LogicalResult RopeOp::emitVjp(OpBuilder &b, ValueRange cotangents, ArrayRef<bool> wanted, SmallVectorImpl<Value> &gradients) {
  if (wanted[1] || wanted[2])
    return emitOpError("has no derivative for its tables");
  if (!cotangents[0])
    return noGradients(3, gradients);
  gradients.append({RopeOp::create(b, getLoc(), getType(), cotangents[0], getCos(), getSin(), getInterleaved(), !getTransposed()),
                    Value(), Value()});
  return success();
}

FactorRule RopeOp::getFactorRule() {
  FactorRule rule;
  TensorFactors dims = rule.addDimensions(typeOf(getInput()).getShape());
  rule.factors[dims[3][0]].kind = FactorKind::NeedWhole;
  DimensionFactors rotated = {rule.add(typeOf(getCos()).getShape().back(), FactorKind::NeedWhole)};
  TensorFactors table = typeOf(getCos()).getRank() == 3 ? TensorFactors{dims[0], dims[1], rotated} : TensorFactors{dims[1], rotated};
  rule.operands = {dims, table, table};
  rule.results = {dims};
  return rule;
}

int64_t RopeOp::getFlops() { return 3 * elements(getInput()); }

LogicalResult RopeOp::evaluate(Operands in, Results out) {
  ArrayRef<int64_t> shape = in[0]->shape;
  int64_t rotated = in[1]->shape.back(), half = rotated / 2, size = shape[3];
  out[0].reals = in[0]->reals;
  for (int64_t row = 0; row < shape[0] * shape[1] * shape[2]; ++row) {
    int64_t position = row / shape[2] % shape[1], sample = row / shape[2] / shape[1];
    int64_t table = ((in[1]->rank() == 3 ? sample * shape[1] : 0) + position) * rotated;
    const double *x = in[0]->reals.data() + row * size, *cos = in[1]->reals.data() + table, *sin = in[2]->reals.data() + table;
    double *y = out[0].reals.data() + row * size;
    for (int64_t i = 0; i < half; ++i) {
      int64_t a = getInterleaved() ? 2 * i : i, b = getInterleaved() ? 2 * i + 1 : i + half;
      y[a] = getTransposed() ? x[a] * cos[a] + x[b] * sin[b] : x[a] * cos[a] - x[b] * sin[a];
      y[b] = getTransposed() ? x[b] * cos[b] - x[a] * sin[a] : x[b] * cos[b] + x[a] * sin[b];
    }
  }
  return success();
}
