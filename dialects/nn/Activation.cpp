//===- Activation.cpp - gelu, sigmoid, silu, swiglu -------------------------------===//
//
// Derivatives are emitted as arith and math from the op's input, so that only the input is saved.
//
//===----------------------------------------------------------------------===//
#include "dialects/nn/Family.h"
#include <cmath>
#include <numbers>

using namespace mlir;
using namespace llmc;
using namespace llmc::nn;

namespace {

constexpr double kGeluCubic = 0.044715;
const double kSqrtTwoOverPi = std::sqrt(2.0 / std::numbers::pi);

double sigmoid(double x) { return 1.0 / (1.0 + std::exp(-x)); }

/// Arithmetic on tensors of one type.
struct Emit {
  OpBuilder &b;
  Location loc;
  Type type;
  Value c(double value) { return splat(b, loc, type, value); }
  Value mul(Value x, Value y) { return arith::MulFOp::create(b, loc, x, y); }
  Value add(Value x, Value y) { return arith::AddFOp::create(b, loc, x, y); }
  Value sub(Value x, Value y) { return arith::SubFOp::create(b, loc, x, y); }
  Value sigmoid(Value x) { return SigmoidOp::create(b, loc, type, x); }
};

template <typename Fn>
LogicalResult mapValues(Operands in, Results out, Fn fn) {
  for (int64_t i = 0, e = out[0].size(); i < e; ++i)
    out[0].reals[i] = fn(i);
  return success();
}

} // namespace

//===-- nn.gelu -----------------------------------------------------------------------===//

// tanh: u = k (x + c x^3), t = tanh(u), dx = dy (0.5 (1 + t) + 0.5 x (1 - t^2) k (1 + 3 c x^2))
// erf:  dx = dy (0.5 (1 + erf(x / sqrt 2)) + x exp(-x^2 / 2) / sqrt(2 pi))     saves: x
LogicalResult GeluOp::emitVjp(OpBuilder &b, ValueRange cotangents, ArrayRef<bool>, SmallVectorImpl<Value> &gradients) {
  if (!cotangents[0])
    return noGradients(1, gradients);
  Emit e{b, getLoc(), getType()};
  Value x = getInput(), slope;
  if (getTanh()) {
    Value square = e.mul(x, x);
    Value inner = e.mul(e.mul(e.c(kSqrtTwoOverPi), x), e.add(e.c(1.0), e.mul(e.c(kGeluCubic), square)));
    Value t = math::TanhOp::create(b, getLoc(), inner);
    Value innerSlope = e.mul(e.c(kSqrtTwoOverPi), e.add(e.c(1.0), e.mul(e.c(3.0 * kGeluCubic), square)));
    Value left = e.mul(e.c(0.5), e.add(e.c(1.0), t));
    Value right = e.mul(e.mul(e.mul(e.c(0.5), x), e.sub(e.c(1.0), e.mul(t, t))), innerSlope);
    slope = e.add(left, right);
  } else {
    Value erf = math::ErfOp::create(b, getLoc(), e.mul(x, e.c(1.0 / std::numbers::sqrt2)));
    Value density = math::ExpOp::create(b, getLoc(), e.mul(e.c(-0.5), e.mul(x, x)));
    Value left = e.mul(e.c(0.5), e.add(e.c(1.0), erf));
    slope = e.add(left, e.mul(e.mul(x, density), e.c(1.0 / std::sqrt(2.0 * std::numbers::pi))));
  }
  gradients.push_back(e.mul(cotangents[0], slope));
  return success();
}
FactorRule GeluOp::getFactorRule() { return elementwiseFactorRule(*this); }
int64_t GeluOp::getFlops() { return 10 * elements(getResult()); }
LogicalResult GeluOp::evaluate(Operands in, Results out) {
  return mapValues(in, out, [&](int64_t i) {
    double x = in[0]->reals[i];
    if (getTanh())
      return 0.5 * x * (1.0 + std::tanh(kSqrtTwoOverPi * (x + kGeluCubic * x * x * x)));
    return 0.5 * x * (1.0 + std::erf(x / std::numbers::sqrt2));
  });
}

//===-- nn.sigmoid ----------------------------------------------------------------------===//

// y = sigmoid(x)   dx = dy y (1 - y)     saves: y
LogicalResult SigmoidOp::emitVjp(OpBuilder &b, ValueRange cotangents, ArrayRef<bool>, SmallVectorImpl<Value> &gradients) {
  if (!cotangents[0])
    return noGradients(1, gradients);
  Emit e{b, getLoc(), getType()};
  gradients.push_back(e.mul(cotangents[0], e.mul(getResult(), e.sub(e.c(1.0), getResult()))));
  return success();
}
FactorRule SigmoidOp::getFactorRule() { return elementwiseFactorRule(*this); }
int64_t SigmoidOp::getFlops() { return 4 * elements(getResult()); }
LogicalResult SigmoidOp::evaluate(Operands in, Results out) {
  return mapValues(in, out, [&](int64_t i) { return sigmoid(in[0]->reals[i]); });
}

//===-- nn.silu --------------------------------------------------------------------------===//

/// s + x s (1 - s) with s = sigmoid(x): the slope of silu.
static Value siluSlope(Emit &e, Value x, Value s) { return e.mul(s, e.add(e.c(1.0), e.mul(x, e.sub(e.c(1.0), s)))); }

// y = x s   dx = dy s (1 + x (1 - s)), s = sigmoid(x)     saves: x
LogicalResult SiluOp::emitVjp(OpBuilder &b, ValueRange cotangents, ArrayRef<bool>, SmallVectorImpl<Value> &gradients) {
  if (!cotangents[0])
    return noGradients(1, gradients);
  Emit e{b, getLoc(), getType()};
  gradients.push_back(e.mul(cotangents[0], siluSlope(e, getInput(), e.sigmoid(getInput()))));
  return success();
}
FactorRule SiluOp::getFactorRule() { return elementwiseFactorRule(*this); }
int64_t SiluOp::getFlops() { return 5 * elements(getResult()); }
LogicalResult SiluOp::evaluate(Operands in, Results out) {
  return mapValues(in, out, [&](int64_t i) { return in[0]->reals[i] * sigmoid(in[0]->reals[i]); });
}

//===-- nn.swiglu -------------------------------------------------------------------------===//

// y = silu(g) u   dg = dy u silu'(g), du = dy silu(g)     saves: g, u
LogicalResult SwigluOp::emitVjp(OpBuilder &b, ValueRange cotangents, ArrayRef<bool> wanted, SmallVectorImpl<Value> &gradients) {
  Value dy = cotangents[0];
  if (!dy)
    return noGradients(2, gradients);
  Emit e{b, getLoc(), getType()};
  Value s = e.sigmoid(getGate());
  gradients.push_back(wanted[0] ? e.mul(e.mul(dy, getUp()), siluSlope(e, getGate(), s)) : Value());
  gradients.push_back(wanted[1] ? e.mul(dy, e.mul(getGate(), s)) : Value());
  return success();
}
FactorRule SwigluOp::getFactorRule() { return elementwiseFactorRule(*this); }
int64_t SwigluOp::getFlops() { return 6 * elements(getResult()); }
LogicalResult SwigluOp::evaluate(Operands in, Results out) {
  return mapValues(in, out, [&](int64_t i) { return in[0]->reals[i] * sigmoid(in[0]->reals[i]) * in[1]->reals[i]; });
}
