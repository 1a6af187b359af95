//===- MathModels.cpp - math on tensors: values and derivatives -------------===//
#include "dialects/interfaces/Models.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/IR/Matchers.h"
#include <cmath>
#include <numbers>

using namespace mlir;
using namespace llmc;
using namespace llmc::models;

namespace {

/// Short names for the arithmetic that derivatives are written in.
struct Emit {
  OpBuilder &b;
  Location loc;
  Value mul(Value x, Value y) { return arith::MulFOp::create(b, loc, x, y); }
  Value add(Value x, Value y) { return arith::AddFOp::create(b, loc, x, y); }
  Value sub(Value x, Value y) { return arith::SubFOp::create(b, loc, x, y); }
  Value div(Value x, Value y) { return arith::DivFOp::create(b, loc, x, y); }
  Value neg(Value x) { return arith::NegFOp::create(b, loc, x); }
  Value splat(Value like, double value) {
    auto type = cast<ShapedType>(like.getType());
    return arith::ConstantOp::create(b, loc, DenseElementsAttr::get(type, b.getFloatAttr(type.getElementType(), value)));
  }
};

// exp: dx = dy y; log: dx = dy / x; sqrt: dx = dy / (2 y); rsqrt: dx = -dy y^3 / 2
void attachPowers(MLIRContext *ctx) {
  attachReal<math::ExpOp, [](double x) { return std::exp(x); },
             [](OpBuilder &b, math::ExpOp op, Value dy, ArrayRef<bool>, Gradients &g) {
               g.push_back(Emit{b, op.getLoc()}.mul(dy, op.getResult()));
             }>(ctx);
  attachReal<math::LogOp, [](double x) { return std::log(x); },
             [](OpBuilder &b, math::LogOp op, Value dy, ArrayRef<bool>, Gradients &g) {
               g.push_back(Emit{b, op.getLoc()}.div(dy, op.getOperand()));
             }>(ctx);
  attachReal<math::SqrtOp, [](double x) { return std::sqrt(x); },
             [](OpBuilder &b, math::SqrtOp op, Value dy, ArrayRef<bool>, Gradients &g) {
               Emit e{b, op.getLoc()};
               g.push_back(e.div(e.mul(dy, e.splat(dy, 0.5)), op.getResult()));
             }>(ctx);
  attachReal<math::RsqrtOp, [](double x) { return 1.0 / std::sqrt(x); },
             [](OpBuilder &b, math::RsqrtOp op, Value dy, ArrayRef<bool>, Gradients &g) {
               Emit e{b, op.getLoc()};
               Value y = op.getResult();
               g.push_back(e.mul(e.mul(dy, e.splat(dy, -0.5)), e.mul(y, e.mul(y, y))));
             }>(ctx);
}

// tanh: dx = dy (1 - y^2); erf: dx = dy 2/sqrt(pi) exp(-x^2); sin: dx = dy cos x; cos: dx = -dy sin x
void attachTranscendental(MLIRContext *ctx) {
  attachReal<math::TanhOp, [](double x) { return std::tanh(x); },
             [](OpBuilder &b, math::TanhOp op, Value dy, ArrayRef<bool>, Gradients &g) {
               Emit e{b, op.getLoc()};
               Value y = op.getResult();
               g.push_back(e.mul(dy, e.sub(e.splat(dy, 1.0), e.mul(y, y))));
             }>(ctx);
  attachReal<math::ErfOp, [](double x) { return std::erf(x); },
             [](OpBuilder &b, math::ErfOp op, Value dy, ArrayRef<bool>, Gradients &g) {
               Emit e{b, op.getLoc()};
               Value x = op.getOperand();
               Value density = math::ExpOp::create(b, op.getLoc(), e.neg(e.mul(x, x)));
               g.push_back(e.mul(dy, e.mul(e.splat(dy, 2.0 * std::numbers::inv_sqrtpi), density)));
             }>(ctx);
  attachReal<math::SinOp, [](double x) { return std::sin(x); },
             [](OpBuilder &b, math::SinOp op, Value dy, ArrayRef<bool>, Gradients &g) {
               g.push_back(Emit{b, op.getLoc()}.mul(dy, math::CosOp::create(b, op.getLoc(), op.getOperand())));
             }>(ctx);
  attachReal<math::CosOp, [](double x) { return std::cos(x); },
             [](OpBuilder &b, math::CosOp op, Value dy, ArrayRef<bool>, Gradients &g) {
               Emit e{b, op.getLoc()};
               g.push_back(e.neg(e.mul(dy, math::SinOp::create(b, op.getLoc(), op.getOperand()))));
             }>(ctx);
}

// log1p: dx = dy / (1 + x); expm1: dx = dy (y + 1); |x|: dx = dy sign(x), 0 at 0
void attachOthers(MLIRContext *ctx) {
  attachReal<math::Log1pOp, [](double x) { return std::log1p(x); },
             [](OpBuilder &b, math::Log1pOp op, Value dy, ArrayRef<bool>, Gradients &g) {
               Emit e{b, op.getLoc()};
               g.push_back(e.div(dy, e.add(op.getOperand(), e.splat(dy, 1.0))));
             }>(ctx);
  attachReal<math::ExpM1Op, [](double x) { return std::expm1(x); },
             [](OpBuilder &b, math::ExpM1Op op, Value dy, ArrayRef<bool>, Gradients &g) {
               Emit e{b, op.getLoc()};
               g.push_back(e.mul(dy, e.add(op.getResult(), e.splat(dy, 1.0))));
             }>(ctx);
  attachReal<math::AbsFOp, [](double x) { return std::fabs(x); },
             [](OpBuilder &b, math::AbsFOp op, Value dy, ArrayRef<bool>, Gradients &g) {
               Emit e{b, op.getLoc()};
               Location loc = op.getLoc();
               Value x = op.getOperand(), zero = e.splat(dy, 0.0);
               Value above = arith::CmpFOp::create(b, loc, arith::CmpFPredicate::OGT, x, zero);
               Value below = arith::CmpFOp::create(b, loc, arith::CmpFPredicate::OLT, x, zero);
               Value negative = arith::SelectOp::create(b, loc, below, e.neg(dy), zero);
               g.push_back(arith::SelectOp::create(b, loc, above, dy, negative));
             }>(ctx);
}

/// The value of a splat float constant.
std::optional<double> splatValue(Value value) {
  DenseElementsAttr dense;
  if (!matchPattern(value, m_Constant(&dense)) || !dense.isSplat())
    return std::nullopt;
  return dense.getSplatValue<APFloat>().convertToDouble();
}

// y = a^p   da = dy p a^(p-1), 0 if p = 0; dp = dy y log(a), 0 if a = 0 and p >= 0; whole exponents 2 and 3 are products, as PyTorch
// computes them
void powerVjp(OpBuilder &b, math::PowFOp op, Value dy, ArrayRef<bool> wanted, Gradients &g) {
  Location loc = op.getLoc();
  Emit e{b, loc};
  Value a = op.getLhs(), p = op.getRhs(), zero = e.splat(dy, 0.0);
  std::optional<double> exponent = splatValue(p);
  Value power;
  if (exponent && *exponent == 2.0)
    power = a;
  else if (exponent && *exponent == 3.0)
    power = e.mul(a, a);
  else if (exponent)
    power = math::PowFOp::create(b, loc, a, e.splat(a, *exponent - 1.0));
  else
    power = math::PowFOp::create(b, loc, a, e.sub(p, e.splat(p, 1.0)));
  Value da = e.mul(p, power);
  if (!exponent || *exponent == 0.0)
    da = arith::SelectOp::create(b, loc, arith::CmpFOp::create(b, loc, arith::CmpFPredicate::OEQ, p, zero), zero, da);
  g.push_back(wanted[0] ? e.mul(dy, da) : Value());
  if (!wanted[1])
    return g.push_back(Value());
  Value isZero = arith::CmpFOp::create(b, loc, arith::CmpFPredicate::OEQ, a, zero);
  Value isFlat = arith::AndIOp::create(b, loc, isZero, arith::CmpFOp::create(b, loc, arith::CmpFPredicate::OGE, p, zero));
  Value dp = e.mul(op.getResult(), math::LogOp::create(b, loc, a));
  g.push_back(e.mul(dy, arith::SelectOp::create(b, loc, isFlat, zero, dp)));
}

} // namespace

void llmc::registerMathModels(DialectRegistry &registry) {
  registry.addExtension(+[](MLIRContext *ctx, math::MathDialect *) {
    attachPowers(ctx);
    attachTranscendental(ctx);
    attachOthers(ctx);
    attachReal<math::PowFOp, [](double a, double b) { return std::pow(a, b); }, powerVjp>(ctx);
    attachElementwise<math::FloorOp, RealModel<math::FloorOp, [](double x) { return std::floor(x); }>,
                      ZeroVjpModel<math::FloorOp>>(ctx);
    attachElementwise<math::CeilOp, RealModel<math::CeilOp, [](double x) { return std::ceil(x); }>,
                      ZeroVjpModel<math::CeilOp>>(ctx);
    attachElementwise<math::RoundEvenOp, RealModel<math::RoundEvenOp, [](double x) { return std::nearbyint(x); }>,
                      ZeroVjpModel<math::RoundEvenOp>>(ctx);
    attachInteger<math::AbsIOp, [](int64_t x) { return x < 0 ? -x : x; }>(ctx);
  });
}
