//===- Dropout.cpp - nn.dropout ----------------------------------------------------------===//
#include "dialects/nn/Family.h"
#include "dialects/nn/Philox.h"

using namespace mlir;
using namespace llmc;
using namespace llmc::nn;

/// Whether `strides` number the entries of a sample of this shape, none beyond 2^60.
static bool areStrides(ArrayRef<int64_t> strides, ArrayRef<int64_t> shape) {
  if (shape.empty() || strides.size() != shape.size() - 1)
    return false;
  int64_t last = 0;
  for (auto [stride, size] : llvm::zip_equal(strides, shape.drop_front())) {
    int64_t along = 0;
    if (stride < 0 || stride > int64_t(1) << 60 || llvm::MulOverflow(stride, std::max<int64_t>(size - 1, 0), along) ||
        llvm::AddOverflow(last, along, last) || last > int64_t(1) << 60)
      return false;
  }
  return true;
}

LogicalResult DropoutOp::verify() {
  int64_t numbers = getStrides() ? 3 : 2;
  bool isPlaced = getPosition() && typeOf(getPosition()) == RankedTensorType::get({numbers}, IntegerType::get(getContext(), 64));
  if (!isPlaced && (getPosition() || getStrides()))
    return emitOpError("C1: position must be tensor<2xi64>, or with strides tensor<3xi64>");
  if (getStrides() && !areStrides(*getStrides(), typeOf(getInput()).getShape()))
    return emitOpError("C3: strides must be one for each dimension behind the first, not negative, and number no entry beyond 2^60");
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
                                        getSeedAttr(), getIdAttr(), getStridesAttr()));
  if (getPosition())
    gradients.push_back(Value());
  return success();
}

FactorRule DropoutOp::getFactorRule() {
  FactorRule rule = elementwiseFactorRule(*this);
  if (!getPosition())
    return rule;
  rule.operands[1] = {{}};
  return rule;
}
int64_t DropoutOp::getFlops() { return 12 * elements(getResult()); }

LogicalResult DropoutOp::evaluate(Operands in, Results out) {
  if (!getPosition()) {
    out[0].reals = in[0]->reals;
    return success();
  }
  double ratio = getRatio().convertToDouble();
  ArrayRef<int64_t> shape = in[0]->shape;
  int64_t samples = shape.empty() ? 1 : shape[0], perSample = samples == 0 ? 0 : in[0]->size() / samples;
  uint64_t first = getStrides() ? static_cast<uint64_t>(in[1]->integers[2]) : 0;
  SmallVector<int64_t> own = in[0]->strides();
  auto numberOf = [&](int64_t entry) {
    if (!getStrides())
      return static_cast<uint64_t>(entry);
    uint64_t number = first;
    for (auto [d, stride] : llvm::enumerate(*getStrides()))
      number += static_cast<uint64_t>(entry / own[d + 1] % shape[d + 1] * stride);
    return number;
  };
  for (int64_t s = 0; s < samples; ++s)
    for (int64_t e = 0; e < perSample; ++e) {
      float u = dropoutUniform(getSeed(), in[1]->integers[0], static_cast<uint32_t>(getId()), in[1]->integers[1] + s,
                               numberOf(e));
      bool kept = u >= static_cast<float>(ratio);
      out[0].reals[s * perSample + e] = kept ? in[0]->reals[s * perSample + e] * (1.0 / (1.0 - ratio)) : 0.0;
    }
  return success();
}
