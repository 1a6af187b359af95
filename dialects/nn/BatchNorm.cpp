//===- BatchNorm.cpp - nn.batch_norm ---------------------------------------------------===//
#include "dialects/nn/Family.h"
#include <cmath>

using namespace mlir;
using namespace llmc;
using namespace llmc::nn;

LogicalResult BatchNormOp::verify() {
  RankedTensorType type = typeOf(getInput());
  if (type.getRank() < 2 || type.getNumElements() < 2 * type.getDimSize(1))
    return emitOpError("C1: rank 2 or more and two values in each channel expected: one has no variance");
  auto channels = RankedTensorType::get({type.getDimSize(1)}, type.getElementType());
  bool fits = typeOf(getResult()) == type;
  for (Value value : {getScale(), getBias(), getMean(), getVariance(), getNewMean(), getNewVariance()})
    fits &= typeOf(value) == channels;
  return check(*this, fits, "C2: scale, bias and statistics must have shape [channels], the result the input's type");
}

LogicalResult BatchNormOp::emitVjp(OpBuilder &, ValueRange, ArrayRef<bool>, SmallVectorImpl<Value> &) {
  return emitOpError("is differentiated as the elementary ops that `training-build-step` makes of it");
}

// A channel's statistics need all that the other dimensions hold, which the expanded form has as sums.
FactorRule BatchNormOp::getFactorRule() {
  FactorRule rule;
  TensorFactors dims = rule.addDimensions(typeOf(getInput()).getShape()), channel = {dims[1]};
  rule.operands = {dims, channel, channel, channel, channel};
  rule.results = {dims, channel, channel};
  return rule;
}

LogicalResult BatchNormOp::evaluate(Operands in, Results out) {
  const HostTensor &x = *in[0];
  int64_t channels = x.shape[1], inner = x.strides()[1], count = x.size() / channels;
  double momentum = getMomentum().convertToDouble(), epsilon = getEpsilon().convertToDouble();
  std::vector<double> mean(channels), variance(channels);
  auto channelOf = [&](int64_t i) { return i / inner % channels; };
  for (int64_t i = 0; i < x.size(); ++i)
    mean[channelOf(i)] += x.reals[i] / static_cast<double>(count);
  for (int64_t i = 0; i < x.size(); ++i)
    variance[channelOf(i)] += std::pow(x.reals[i] - mean[channelOf(i)], 2) / static_cast<double>(count);
  for (int64_t i = 0; i < x.size(); ++i) {
    int64_t c = channelOf(i);
    out[0].reals[i] = (x.reals[i] - mean[c]) / std::sqrt(variance[c] + epsilon) * in[1]->reals[c] + in[2]->reals[c];
  }
  for (int64_t c = 0; c < channels; ++c) {
    double unbiased = variance[c] * static_cast<double>(count) / static_cast<double>(count - 1);
    out[1].reals[c] = momentum * in[3]->reals[c] + (1 - momentum) * mean[c];
    out[2].reals[c] = momentum * in[4]->reals[c] + (1 - momentum) * unbiased;
  }
  return success();
}

namespace {
/// Arithmetic on the channels of one op.
struct Channels {
  OpBuilder &b;
  BatchNormOp op;
  Location loc = op.getLoc();
  RankedTensorType type = typeOf(op.getInput());

  Value wide(Value v) { return BroadcastOp::create(b, loc, type, v, ArrayRef<int64_t>{1}); }
  Value add(Value x, Value y) { return arith::AddFOp::create(b, loc, x, y); }
  Value mul(Value x, Value y) { return arith::MulFOp::create(b, loc, x, y); }
  Value sub(Value x, Value y) { return arith::SubFOp::create(b, loc, x, y); }
  Value number(double value) { return splat(b, loc, op.getMean().getType(), value); }
  Value average(Value v) {
    SmallVector<int64_t> dims;
    for (int64_t d = 0; d < type.getRank(); ++d)
      if (d != 1)
        dims.push_back(d);
    return ReduceOp::create(b, loc, v, ReduceKind::Mean, dims);
  }
  /// centered / sqrt(variance + epsilon) * scale + bias
  Value normalized(Value centered, Value variance) {
    Value deviation = math::RsqrtOp::create(b, loc, add(variance, number(op.getEpsilon().convertToDouble())));
    return add(mul(centered, wide(mul(deviation, op.getScale()))), wide(op.getBias()));
  }
};
} // namespace

SmallVector<Value> BatchNormOp::expandTraining(OpBuilder &builder) {
  Channels c{builder, *this};
  Value mean = c.average(getInput()), centered = c.sub(getInput(), c.wide(mean));
  Value variance = c.average(c.mul(centered, centered));
  double count = static_cast<double>(c.type.getNumElements() / c.type.getDimSize(1)), kept = getMomentum().convertToDouble();
  Value newMean = c.add(c.mul(getMean(), c.number(kept)), c.mul(mean, c.number(1 - kept)));
  Value newVariance = c.add(c.mul(getVariance(), c.number(kept)), c.mul(variance, c.number((1 - kept) * count / (count - 1))));
  return {c.normalized(centered, variance), newMean, newVariance};
}

Value BatchNormOp::expandInference(OpBuilder &builder) {
  Channels c{builder, *this};
  return c.normalized(c.sub(getInput(), c.wide(getMean())), getVariance());
}
