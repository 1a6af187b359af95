//===- Elementwise.cpp - arithmetic, comparison and activation operators ------===//
#include "frontends/onnx/NodeImporter.h"
#include "frontends/onnx/OpTable.h"
#include <cmath>
#include <numbers>

using namespace mlir;
using namespace llmc;
using namespace llmc::onnx;

static bool isFloat(Value value) { return isa<FloatType>(nn::typeOf(value).getElementType()); }

/// Broadcasts the inputs from `first` on to their common shape; they must have one element type.
static LogicalResult aligned(NodeImporter &n, SmallVectorImpl<Value> &values, size_t first = 0) {
  for (size_t i = first; i < n.node.inputs.size(); ++i) {
    if (!n.in(i))
      return n.fail("input " + Twine(i) + " is missing");
    values.push_back(n.in(i));
    if (nn::typeOf(values.back()).getElementType() != nn::typeOf(values.front()).getElementType())
      return n.fail("the inputs have different element types");
  }
  if (values.empty())
    return n.fail("the node has no inputs");
  auto shape = n.commonShape(values);
  if (failed(shape))
    return failure();
  for (Value &value : values)
    value = n.broadcastTo(value, *shape);
  return success();
}

/// The larger or smaller of two reals, with PyTorch's derivatives where they are equal: torch.maximum gives each half, torch.clamp, whose
/// bound is a number, gives its input none. arith's ops give their second operand all.
template <typename Op> static Value extreme(NodeImporter &n, Value a, Value b, bool aIsBound, bool bIsBound) {
  if (aIsBound || bIsBound)
    return bIsBound ? n.emit<Op>(a, b) : n.emit<Op>(b, a);
  Value equal = n.emit<arith::CmpFOp>(arith::CmpFPredicate::OEQ, a, b), half = n.splatLike(a, 0.5);
  Value middle = n.emit<arith::AddFOp>(n.emit<arith::MulFOp>(a, half), n.emit<arith::MulFOp>(b, half));
  return n.emit<arith::SelectOp>(equal, middle, n.emit<Op>(a, b));
}

template <typename FloatOp, typename IntOp> static LogicalResult extremes(NodeImporter &n) {
  SmallVector<Value> v;
  if (failed(aligned(n, v)))
    return failure();
  auto isBound = [&](size_t i) { return n.isKnown(i) && nn::typeOf(n.in(i)).getRank() == 0; };
  Value result = v.front();
  bool known = isBound(0);
  for (size_t i = 1; i < v.size(); ++i) {
    result = isFloat(result) ? extreme<FloatOp>(n, result, v[i], known, isBound(i)) : n.emit<IntOp>(result, v[i]);
    known &= isBound(i);
  }
  return n.done(result);
}

template <typename FloatOp, typename IntOp> static LogicalResult binary(NodeImporter &n) {
  SmallVector<Value> v;
  if (failed(aligned(n, v)))
    return failure();
  // Sums of any number of operands; the others have two.
  Value result = v.front();
  for (Value next : ArrayRef<Value>(v).drop_front())
    result = isFloat(result) ? n.emit<FloatOp>(result, next) : n.emit<IntOp>(result, next);
  return n.done(result);
}

static LogicalResult mean(NodeImporter &n) {
  SmallVector<Value> v;
  if (failed(aligned(n, v)))
    return failure();
  Value result = v.front();
  for (Value next : ArrayRef<Value>(v).drop_front())
    result = n.emit<arith::AddFOp>(result, next);
  return n.done(n.emit<arith::DivFOp>(result, n.splatLike(result, static_cast<double>(v.size()))));
}

static LogicalResult divide(NodeImporter &n) {
  SmallVector<Value> v;
  if (failed(aligned(n, v)) || v.size() != 2)
    return n.fail("two inputs expected");
  if (isFloat(v[0]))
    return n.done(n.emit<arith::DivFOp>(v[0], v[1]));
  if (const HostTensor *by = n.state.pool.elements(v[1]); by && llvm::is_contained(by->integers, 0))
    return n.fail("division of integers by zero");
  return n.done(n.emit<arith::DivSIOp>(v[0], v[1]));
}

static LogicalResult modulo(NodeImporter &n) {
  SmallVector<Value> v;
  if (failed(aligned(n, v)) || v.size() != 2)
    return n.fail("two inputs expected");
  if (isFloat(v[0]))
    return n.attr("fmod", 0) ? n.done(n.emit<arith::RemFOp>(v[0], v[1])) : n.fail("Mod of reals needs fmod=1");
  if (const HostTensor *by = n.state.pool.elements(v[1]); by && llvm::is_contained(by->integers, 0))
    return n.fail("division of integers by zero");
  Value rest = n.emit<arith::RemSIOp>(v[0], v[1]);
  if (n.attr("fmod", 0))
    return n.done(rest);
  // Python's sign: a - floor(a / b) * b.
  Value quotient = n.emit<arith::FloorDivSIOp>(v[0], v[1]);
  return n.done(n.emit<arith::SubIOp>(v[0], n.emit<arith::MulIOp>(quotient, v[1])));
}

static LogicalResult power(NodeImporter &n) {
  if (!n.in(0) || !n.in(1))
    return n.fail("two inputs expected");
  Type type = nn::typeOf(n.in(0)).getElementType(), real = isFloat(n.in(0)) ? type : n.state.builder.getF64Type();
  bool isInteger = !isFloat(n.in(0)) && !(n.isKnown(0) && n.isKnown(1));
  if (const HostTensor *exponent = isInteger ? n.state.pool.elements(n.in(1)) : nullptr; exponent && exponent->size() == 1)
    if (double times = exponent->real(0); times >= 0 && times <= 16 && times == std::floor(times)) {
      auto shape = n.commonShape({n.in(0), n.in(1)});
      if (failed(shape))
        return failure();
      Value base = n.broadcastTo(n.in(0), *shape), result = n.splatLike(base, 1);
      for (int i = 0; i < static_cast<int>(times); ++i)
        result = n.emit<arith::MulIOp>(result, base);
      return n.done(result);
    }
  if (isInteger && !isFloat(n.in(1))) // f64 holds no integers above 2^53
    return n.fail("a power of integers whose exponent depends on data");
  Value base = n.cast(n.in(0), real), exponent = n.cast(n.in(1), real);
  auto shape = n.commonShape({base, exponent});
  if (failed(shape))
    return failure();
  return n.done(n.cast(n.emit<math::PowFOp>(n.broadcastTo(base, *shape), n.broadcastTo(exponent, *shape)), type));
}

template <arith::CmpFPredicate F, arith::CmpIPredicate I> static LogicalResult compare(NodeImporter &n) {
  SmallVector<Value> v;
  if (failed(aligned(n, v)) || v.size() != 2)
    return n.fail("two inputs expected");
  return n.done(isFloat(v[0]) ? n.emit<arith::CmpFOp>(F, v[0], v[1]) : n.emit<arith::CmpIOp>(I, v[0], v[1]));
}

template <typename Op> static LogicalResult logical(NodeImporter &n) {
  SmallVector<Value> v;
  if (failed(aligned(n, v)) || v.size() != 2 || isFloat(v[0]))
    return n.fail("two boolean or integer inputs expected");
  return n.done(n.emit<Op>(v[0], v[1]));
}

static LogicalResult invert(NodeImporter &n) {
  if (!n.in(0) || isFloat(n.in(0)))
    return n.fail("a boolean or integer input expected");
  bool isBool = nn::typeOf(n.in(0)).getElementType().isInteger(1);
  return n.done(n.emit<arith::XOrIOp>(n.in(0), n.splatLike(n.in(0), isBool ? 1 : -1)));
}

static LogicalResult where(NodeImporter &n) {
  if (!n.in(0) || !n.in(1) || !n.in(2) || !nn::typeOf(n.in(0)).getElementType().isInteger(1) ||
      nn::typeOf(n.in(1)).getElementType() != nn::typeOf(n.in(2)).getElementType())
    return n.fail("a boolean condition and two inputs of one type expected");
  auto shape = n.commonShape({n.in(0), n.in(1), n.in(2)});
  if (failed(shape))
    return failure();
  return n.done(n.emit<arith::SelectOp>(n.broadcastTo(n.in(0), *shape), n.broadcastTo(n.in(1), *shape),
                                        n.broadcastTo(n.in(2), *shape)));
}

template <typename Op> static LogicalResult unary(NodeImporter &n) {
  if (!n.in(0) || !isFloat(n.in(0)))
    return n.fail("a real input expected");
  return n.done(n.emit<Op>(n.in(0)));
}

/// The operators that the nn dialect declares with one operand and the operand's type.
template <typename Op> static LogicalResult activation(NodeImporter &n) {
  if (!n.in(0) || !isFloat(n.in(0)))
    return n.fail("a real input expected");
  return n.done(n.emit<Op>(n.in(0).getType(), n.in(0)));
}

static LogicalResult negate(NodeImporter &n) {
  if (!n.in(0))
    return n.fail("input 0 is missing");
  if (isFloat(n.in(0)))
    return n.done(n.emit<arith::NegFOp>(n.in(0)));
  return n.done(n.emit<arith::SubIOp>(n.splatLike(n.in(0), 0), n.in(0)));
}

static LogicalResult absolute(NodeImporter &n) {
  if (!n.in(0))
    return n.fail("input 0 is missing");
  return n.done(isFloat(n.in(0)) ? n.emit<math::AbsFOp>(n.in(0)) : n.emit<math::AbsIOp>(n.in(0)));
}

static LogicalResult sign(NodeImporter &n) {
  if (!n.in(0) || !isFloat(n.in(0)))
    return n.fail("a real input expected");
  Value x = n.in(0), zero = n.splatLike(x, 0);
  Value above = n.emit<arith::CmpFOp>(arith::CmpFPredicate::OGT, x, zero);
  Value below = n.emit<arith::CmpFOp>(arith::CmpFPredicate::OLT, x, zero);
  Value negative = n.emit<arith::SelectOp>(below, n.splatLike(x, -1), zero);
  return n.done(n.emit<arith::SelectOp>(above, n.splatLike(x, 1), negative));
}

static LogicalResult reciprocal(NodeImporter &n) {
  if (!n.in(0) || !isFloat(n.in(0)))
    return n.fail("a real input expected");
  return n.done(n.emit<arith::DivFOp>(n.splatLike(n.in(0), 1), n.in(0)));
}

static LogicalResult relu(NodeImporter &n) {
  if (!n.in(0))
    return n.fail("input 0 is missing");
  Value zero = n.splatLike(n.in(0), 0);
  return n.done(isFloat(n.in(0)) ? n.emit<arith::MaximumFOp>(n.in(0), zero) : n.emit<arith::MaxSIOp>(n.in(0), zero));
}

static LogicalResult isNan(NodeImporter &n) {
  if (!n.in(0) || !isFloat(n.in(0)))
    return n.fail("a real input expected");
  return n.done(n.emit<arith::CmpFOp>(arith::CmpFPredicate::UNO, n.in(0), n.in(0)));
}

static LogicalResult isInf(NodeImporter &n) {
  if (!n.in(0) || !isFloat(n.in(0)))
    return n.fail("a real input expected");
  double infinity = std::numeric_limits<double>::infinity();
  Value x = n.in(0);
  Value above = n.emit<arith::CmpFOp>(arith::CmpFPredicate::OEQ, x, n.splatLike(x, infinity));
  Value below = n.emit<arith::CmpFOp>(arith::CmpFPredicate::OEQ, x, n.splatLike(x, -infinity));
  bool positive = n.attr("detect_positive", 1), negative = n.attr("detect_negative", 1);
  return n.done(positive && negative ? n.emit<arith::OrIOp>(above, below) : positive ? above : below);
}

static LogicalResult gelu(NodeImporter &n) {
  if (!n.in(0) || !isFloat(n.in(0)))
    return n.fail("a real input expected");
  bool tanh = n.attrText("approximate", "none") == "tanh";
  return n.done(n.emit<nn::GeluOp>(n.in(0).getType(), n.in(0), n.state.builder.getBoolAttr(tanh)));
}

// log(1 + exp(x)) = max(x, 0) + log1p(exp(-|x|)), with selections, whose derivative at 0 is 1/2
static Value softplusOf(NodeImporter &n, Value x) {
  Value zero = n.splatLike(x, 0), positive = n.emit<arith::CmpFOp>(arith::CmpFPredicate::OGT, x, zero);
  Value falling = n.emit<arith::SelectOp>(positive, n.emit<arith::NegFOp>(x), x);
  Value tail = n.emit<math::Log1pOp>(n.emit<math::ExpOp>(falling));
  return n.emit<arith::AddFOp>(n.emit<arith::SelectOp>(positive, x, zero), tail);
}
static LogicalResult softplus(NodeImporter &n) {
  if (!n.in(0) || !isFloat(n.in(0)))
    return n.fail("a real input expected");
  return n.done(softplusOf(n, n.in(0)));
}

// x > 0 ? scale x : alpha (exp(x) - 1) scale, or alpha x if `linear`
static LogicalResult leaky(NodeImporter &n, double alpha, double scale, bool linear) {
  if (!n.in(0) || !isFloat(n.in(0)))
    return n.fail("a real input expected");
  Value x = n.in(0);
  Value positive = n.emit<arith::CmpFOp>(arith::CmpFPredicate::OGT, x, n.splatLike(x, 0));
  Value below = x;
  if (!linear) // exp of the positive side may overflow, and would reach the gradient
    below = n.emit<math::ExpM1Op>(n.emit<arith::SelectOp>(positive, n.splatLike(x, 0), x));
  below = n.emit<arith::MulFOp>(below, n.splatLike(x, alpha * scale));
  Value above = scale == 1 ? x : n.emit<arith::MulFOp>(x, n.splatLike(x, scale));
  return n.done(n.emit<arith::SelectOp>(positive, above, below));
}
static LogicalResult leakyRelu(NodeImporter &n) { return leaky(n, n.attrFloat("alpha", 0.01f), 1, true); }
static LogicalResult elu(NodeImporter &n) { return leaky(n, n.attrFloat("alpha", 1), 1, false); }
static LogicalResult selu(NodeImporter &n) {
  return leaky(n, n.attrFloat("alpha", 1.67326319217681884765625), n.attrFloat("gamma", 1.05070102214813232421875), false);
}

// Celu: max(x, 0) + min(alpha (exp(x / alpha) - 1), 0), with selections, whose derivative at 0 is 1
static LogicalResult celu(NodeImporter &n) {
  double alpha = n.attrFloat("alpha", 1);
  if (!n.in(0) || !isFloat(n.in(0)) || alpha == 0)
    return n.fail("a real input expected");
  Value x = n.in(0), zero = n.splatLike(x, 0), positive = n.emit<arith::CmpFOp>(arith::CmpFPredicate::OGT, x, zero);
  Value below = n.emit<arith::SelectOp>(positive, zero, x);
  below = n.emit<math::ExpM1Op>(n.emit<arith::DivFOp>(below, n.splatLike(x, alpha)));
  below = n.emit<arith::MulFOp>(below, n.splatLike(x, alpha));
  return n.done(n.emit<arith::AddFOp>(n.emit<arith::SelectOp>(positive, x, zero), below));
}

static LogicalResult thresholdedRelu(NodeImporter &n) {
  if (!n.in(0) || !isFloat(n.in(0)))
    return n.fail("a real input expected");
  Value x = n.in(0);
  Value above = n.emit<arith::CmpFOp>(arith::CmpFPredicate::OGT, x, n.splatLike(x, n.attrFloat("alpha", 1)));
  return n.done(n.emit<arith::SelectOp>(above, x, n.splatLike(x, 0)));
}

// x / (1 + |x|)
static LogicalResult softsign(NodeImporter &n) {
  if (!n.in(0) || !isFloat(n.in(0)))
    return n.fail("a real input expected");
  Value x = n.in(0);
  return n.done(n.emit<arith::DivFOp>(x, n.emit<arith::AddFOp>(n.emit<math::AbsFOp>(x), n.splatLike(x, 1))));
}

// (exp(x) + sign exp(-x)) / 2
template <int sign> static LogicalResult hyperbolic(NodeImporter &n) {
  if (!n.in(0) || !isFloat(n.in(0)))
    return n.fail("a real input expected");
  Value x = n.in(0), up = n.emit<math::ExpOp>(x), down = n.emit<math::ExpOp>(n.emit<arith::NegFOp>(x));
  Value sum = sign > 0 ? n.emit<arith::AddFOp>(up, down) : n.emit<arith::SubFOp>(up, down);
  return n.done(n.emit<arith::MulFOp>(sum, n.splatLike(x, 0.5)));
}

static LogicalResult tangent(NodeImporter &n) {
  if (!n.in(0) || !isFloat(n.in(0)))
    return n.fail("a real input expected");
  return n.done(n.emit<arith::DivFOp>(n.emit<math::SinOp>(n.in(0)), n.emit<math::CosOp>(n.in(0))));
}

// asinh(x) = sign(x) log1p(|x| + x^2 / (1 + sqrt(1 + x^2)))
static LogicalResult areaSine(NodeImporter &n) {
  if (!n.in(0) || !isFloat(n.in(0)))
    return n.fail("a real input expected");
  Value x = n.in(0), size = n.emit<math::AbsFOp>(x), square = n.emit<arith::MulFOp>(x, x), one = n.splatLike(x, 1);
  Value root = n.emit<math::SqrtOp>(n.emit<arith::AddFOp>(square, one));
  Value rest = n.emit<arith::DivFOp>(square, n.emit<arith::AddFOp>(root, one));
  Value y = n.emit<math::Log1pOp>(n.emit<arith::AddFOp>(size, rest));
  Value negative = n.emit<arith::CmpFOp>(arith::CmpFPredicate::OLT, x, n.splatLike(x, 0));
  return n.done(n.emit<arith::SelectOp>(negative, n.emit<arith::NegFOp>(y), y));
}

// acosh(x) = log(x + sqrt(x^2 - 1))
static LogicalResult areaCosine(NodeImporter &n) {
  if (!n.in(0) || !isFloat(n.in(0)))
    return n.fail("a real input expected");
  Value x = n.in(0), one = n.splatLike(x, 1);
  Value root = n.emit<math::SqrtOp>(n.emit<arith::SubFOp>(n.emit<arith::MulFOp>(x, x), one));
  return n.done(n.emit<math::LogOp>(n.emit<arith::AddFOp>(x, root)));
}

// atanh(x) = (log1p(x) - log1p(-x)) / 2
static LogicalResult areaTangent(NodeImporter &n) {
  if (!n.in(0) || !isFloat(n.in(0)))
    return n.fail("a real input expected");
  Value x = n.in(0), up = n.emit<math::Log1pOp>(x), down = n.emit<math::Log1pOp>(n.emit<arith::NegFOp>(x));
  return n.done(n.emit<arith::MulFOp>(n.emit<arith::SubFOp>(up, down), n.splatLike(x, 0.5)));
}

// x + bias below -lambd, x - bias above lambd, else 0
static LogicalResult shrink(NodeImporter &n) {
  if (!n.in(0) || !isFloat(n.in(0)))
    return n.fail("a real input expected");
  double lambd = n.attrFloat("lambd", 0.5), bias = n.attrFloat("bias", 0);
  Value x = n.in(0);
  Value below = n.emit<arith::CmpFOp>(arith::CmpFPredicate::OLT, x, n.splatLike(x, -lambd));
  Value above = n.emit<arith::CmpFOp>(arith::CmpFPredicate::OGT, x, n.splatLike(x, lambd));
  Value rest = n.emit<arith::SelectOp>(above, n.emit<arith::SubFOp>(x, n.splatLike(x, bias)), n.splatLike(x, 0));
  return n.done(n.emit<arith::SelectOp>(below, n.emit<arith::AddFOp>(x, n.splatLike(x, bias)), rest));
}

// x sigmoid(alpha x)
static LogicalResult swish(NodeImporter &n) {
  if (!n.in(0) || !isFloat(n.in(0)))
    return n.fail("a real input expected");
  double alpha = n.attrFloat("alpha", 1);
  Value x = n.in(0), scaled = alpha == 1 ? x : n.emit<arith::MulFOp>(x, n.splatLike(x, alpha));
  return n.done(n.emit<arith::MulFOp>(x, n.emit<nn::SigmoidOp>(scaled.getType(), scaled)));
}

static LogicalResult clip(NodeImporter &n) {
  if (!n.in(0))
    return n.fail("input 0 is missing");
  Value x = n.in(0);
  auto bound = [&](Value b) {
    if (nn::typeOf(b).getNumElements() != 1)
      (void)n.fail("a bound must be one number");
    return n.failed() ? x : n.broadcastTo(n.cast(n.reshape(b, {}), nn::typeOf(x).getElementType()), nn::typeOf(x).getShape());
  };
  if (n.in(1))
    x = isFloat(x) ? n.emit<arith::MaximumFOp>(x, bound(n.in(1))) : n.emit<arith::MaxSIOp>(x, bound(n.in(1)));
  if (n.in(2))
    x = isFloat(x) ? n.emit<arith::MinimumFOp>(x, bound(n.in(2))) : n.emit<arith::MinSIOp>(x, bound(n.in(2)));
  return n.failed() ? failure() : n.done(x);
}

// HardSigmoid: clip(alpha x + beta, 0, 1); HardSwish: x times that with alpha 1/6, beta 1/2.
static Value hardSigmoidOf(NodeImporter &n, Value x, double alpha, double beta) {
  Value line = n.emit<arith::AddFOp>(n.emit<arith::MulFOp>(x, n.splatLike(x, alpha)), n.splatLike(x, beta));
  return n.emit<arith::MinimumFOp>(n.emit<arith::MaximumFOp>(line, n.splatLike(x, 0)), n.splatLike(x, 1));
}
static LogicalResult hardSigmoid(NodeImporter &n) {
  if (!n.in(0) || !isFloat(n.in(0)))
    return n.fail("a real input expected");
  return n.done(hardSigmoidOf(n, n.in(0), n.attrFloat("alpha", 0.2f), n.attrFloat("beta", 0.5f)));
}
static LogicalResult hardSwish(NodeImporter &n) {
  if (!n.in(0) || !isFloat(n.in(0)))
    return n.fail("a real input expected");
  return n.done(n.emit<arith::MulFOp>(n.in(0), hardSigmoidOf(n, n.in(0), 1.0 / 6, 0.5)));
}

// x tanh(softplus(x))
static LogicalResult mish(NodeImporter &n) {
  if (!n.in(0) || !isFloat(n.in(0)))
    return n.fail("a real input expected");
  return n.done(n.emit<arith::MulFOp>(n.in(0), n.emit<math::TanhOp>(softplusOf(n, n.in(0)))));
}

static LogicalResult prelu(NodeImporter &n) {
  if (!n.in(0) || !n.in(1) || !isFloat(n.in(0)) || nn::typeOf(n.in(0)).getElementType() != nn::typeOf(n.in(1)).getElementType())
    return n.fail("two real inputs expected");
  auto shape = n.commonShape({n.in(0), n.in(1)});
  if (failed(shape) || ArrayRef<int64_t>(*shape) != n.shape(0))
    return n.fail("the slope does not fit the input");
  Value x = n.in(0), slope = n.broadcastTo(n.in(1), nn::typeOf(x).getShape());
  Value positive = n.emit<arith::CmpFOp>(arith::CmpFPredicate::OGT, x, n.splatLike(x, 0));
  return n.done(n.emit<arith::SelectOp>(positive, x, n.emit<arith::MulFOp>(x, slope)));
}

static LogicalResult castTo(NodeImporter &n) {
  if (!n.in(0))
    return n.fail("input 0 is missing");
  auto to = static_cast<DType>(n.attr("to", 0));
  Type type = elementType(to, n.loc.getContext());
  if (!type)
    return n.fail("cast to " + nameOf(to));
  return n.done(n.cast(n.in(0), type));
}

static LogicalResult castLike(NodeImporter &n) {
  if (!n.in(0) || !n.in(1))
    return n.fail("two inputs expected");
  return n.done(n.cast(n.in(0), nn::typeOf(n.in(1)).getElementType()));
}

static LogicalResult identity(NodeImporter &n) {
  if (const Slot *slot = n.slot(0); slot && slot->isSequence) {
    n.outSequence(0, slot->sequence);
    return success();
  }
  return n.in(0) ? n.done(n.in(0)) : n.fail("input 0 is missing");
}

void llmc::onnx::registerElementwise(OpTable &t) {
  using F = arith::CmpFPredicate;
  using I = arith::CmpIPredicate;
  t.add("Add", 7, binary<arith::AddFOp, arith::AddIOp>);
  t.add("Sub", 7, binary<arith::SubFOp, arith::SubIOp>);
  t.add("Mul", 7, binary<arith::MulFOp, arith::MulIOp>);
  t.add("Div", 7, divide);
  t.add("Mod", 10, modulo);
  t.add("Pow", 7, power);
  t.add("Sum", 6, binary<arith::AddFOp, arith::AddIOp>);
  t.add("Max", 6, extremes<arith::MaximumFOp, arith::MaxSIOp>);
  t.add("Min", 6, extremes<arith::MinimumFOp, arith::MinSIOp>);
  t.add("Mean", 6, mean);
  t.add("Equal", 7, compare<F::OEQ, I::eq>);
  t.add("Greater", 7, compare<F::OGT, I::sgt>);
  t.add("GreaterOrEqual", 12, compare<F::OGE, I::sge>);
  t.add("Less", 7, compare<F::OLT, I::slt>);
  t.add("LessOrEqual", 12, compare<F::OLE, I::sle>);
  t.add("And", 7, logical<arith::AndIOp>);
  t.add("Or", 7, logical<arith::OrIOp>);
  t.add("Xor", 7, logical<arith::XOrIOp>);
  t.add("BitwiseAnd", 18, logical<arith::AndIOp>);
  t.add("BitwiseOr", 18, logical<arith::OrIOp>);
  t.add("BitwiseXor", 18, logical<arith::XOrIOp>);
  t.add("Not", 1, invert);
  t.add("BitwiseNot", 18, invert);
  t.add("Where", 9, where);
  t.add("Neg", 6, negate);
  t.add("Abs", 6, absolute);
  t.add("Sign", 9, sign);
  t.add("Exp", 6, unary<math::ExpOp>);
  t.add("Log", 6, unary<math::LogOp>);
  t.add("Sqrt", 6, unary<math::SqrtOp>);
  t.add("Tanh", 6, unary<math::TanhOp>);
  t.add("Erf", 9, unary<math::ErfOp>);
  t.add("Sin", 7, unary<math::SinOp>);
  t.add("Cos", 7, unary<math::CosOp>);
  t.add("Floor", 6, unary<math::FloorOp>);
  t.add("Ceil", 6, unary<math::CeilOp>);
  t.add("Round", 11, unary<math::RoundEvenOp>);
  t.add("Reciprocal", 6, reciprocal);
  t.add("Sigmoid", 6, activation<nn::SigmoidOp>);
  t.add("Relu", 6, relu);
  t.add("LeakyRelu", 6, leakyRelu);
  t.add("PRelu", 7, prelu);
  t.add("Elu", 6, elu);
  t.add("Selu", 6, selu);
  t.add("Celu", 12, celu);
  t.add("ThresholdedRelu", 10, thresholdedRelu);
  t.add("Softsign", 1, softsign);
  t.add("Sinh", 9, hyperbolic<-1>);
  t.add("Cosh", 9, hyperbolic<1>);
  t.add("Tan", 7, tangent);
  t.add("Asinh", 9, areaSine);
  t.add("Acosh", 9, areaCosine);
  t.add("Atanh", 9, areaTangent);
  t.add("Shrink", 9, shrink);
  t.add("Swish", 24, swish);
  t.add("Softplus", 1, softplus);
  t.add("HardSigmoid", 6, hardSigmoid);
  t.add("HardSwish", 14, hardSwish);
  t.add("Mish", 18, mish);
  t.add("Gelu", 20, gelu);
  t.add("IsNaN", 9, isNan);
  t.add("IsInf", 10, isInf);
  t.add("Clip", 6, clip);
  t.add("Cast", 6, castTo);
  t.add("CastLike", 15, castLike);
  t.add("Identity", 1, identity);
}
