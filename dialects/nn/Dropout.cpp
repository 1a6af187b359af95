//===- Dropout.cpp - nn.dropout ----------------------------------------------------------===//
#include "dialects/nn/Family.h"
#include "dialects/nn/Philox.h"

using namespace mlir;
using namespace llmc;
using namespace llmc::nn;

LogicalResult DropoutOp::verify() {
  if (getPosition() && typeOf(getPosition()) != RankedTensorType::get({2}, IntegerType::get(getContext(), 64)))
    return emitOpError("C1: position must be tensor<2xi64>");
  double ratio = getRatio().convertToDouble();
  return check(*this, ratio >= 0.0 && ratio < 1.0 && getResult().getType() == getInput().getType(),
               "C2: ratio must be in [0, 1), and the result of the input's type");
}

// y = x mask / (1 - ratio)   dx = dy mask / (1 - ratio), the same mask     saves: nothing but the position
LogicalResult DropoutOp::emitVjp(OpBuilder &b, ValueRange cotangents, ArrayRef<bool>,
                                 SmallVectorImpl<Value> &gradients) {
  if (!cotangents[0])
    return noGradients(getNumOperands(), gradients);
  gradients.push_back(DropoutOp::create(b, getLoc(), getType(), cotangents[0], getPosition(), getRatioAttr(),
                                        getSeedAttr(), getIdAttr()));
  if (getPosition())
    gradients.push_back(Value());
  return success();
}

FactorRule DropoutOp::getFactorRule() {
  FactorRule rule = elementwiseFactorRule(*this);
  if (!getPosition())
    return rule;
  rule.operands[1] = {{}};
  // Entries are numbered within a sample: only samples can be told apart when the tensor is cut.
  for (Factor &factor : MutableArrayRef(rule.factors).drop_front(std::min<size_t>(1, rule.factors.size())))
    factor.kind = FactorKind::NeedWhole;
  return rule;
}
int64_t DropoutOp::getFlops() { return 12 * elements(getResult()); }

LogicalResult DropoutOp::evaluate(Operands in, Results out) {
  if (!getPosition()) {
    out[0].reals = in[0]->reals;
    return success();
  }
  double ratio = getRatio().convertToDouble();
  int64_t samples = in[0]->shape.empty() ? 1 : in[0]->shape[0], perSample = samples == 0 ? 0 : in[0]->size() / samples;
  for (int64_t s = 0; s < samples; ++s)
    for (int64_t e = 0; e < perSample; ++e) {
      float u =
          dropoutUniform(getSeed(), in[1]->integers[0], static_cast<uint32_t>(getId()), in[1]->integers[1] + s, e);
      bool kept = u >= static_cast<float>(ratio);
      out[0].reals[s * perSample + e] = kept ? in[0]->reals[s * perSample + e] * (1.0 / (1.0 - ratio)) : 0.0;
    }
  return success();
}
