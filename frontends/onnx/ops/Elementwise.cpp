//===- Elementwise.cpp - arithmetic, comparison and activation operators ------===//
#include "frontends/onnx/NodeImporter.h"
#include "frontends/onnx/OpTable.h"
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

template <typename FloatOp, typename IntOp> static LogicalResult binary(NodeImporter &n) {
  SmallVector<Value> v;
  if (failed(aligned(n, v)))
    return failure();
  // Add, Max and Min of any number of operands; the others have two.
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
  if (!n.in(0) || !n.in(1) || !isFloat(n.in(0)))
    return n.fail("a real base expected");
  Value exponent = n.cast(n.in(1), nn::typeOf(n.in(0)).getElementType());
  auto shape = n.commonShape({n.in(0), exponent});
  if (failed(shape))
    return failure();
  return n.done(n.emit<math::PowFOp>(n.broadcastTo(n.in(0), *shape), n.broadcastTo(exponent, *shape)));
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
    below = n.emit<math::ExpM1Op>(n.emit<arith::MinimumFOp>(x, n.splatLike(x, 0)));
  below = n.emit<arith::MulFOp>(below, n.splatLike(x, alpha * scale));
  Value above = scale == 1 ? x : n.emit<arith::MulFOp>(x, n.splatLike(x, scale));
  return n.done(n.emit<arith::SelectOp>(positive, above, below));
}
static LogicalResult leakyRelu(NodeImporter &n) { return leaky(n, n.attrFloat("alpha", 0.01f), 1, true); }
static LogicalResult elu(NodeImporter &n) { return leaky(n, n.attrFloat("alpha", 1), 1, false); }
static LogicalResult selu(NodeImporter &n) {
  return leaky(n, n.attrFloat("alpha", 1.67326319217681884765625), n.attrFloat("gamma", 1.05070102214813232421875), false);
}

// Celu: max(x, 0) + min(alpha (exp(x / alpha) - 1), 0)
static LogicalResult celu(NodeImporter &n) {
  double alpha = n.attrFloat("alpha", 1);
  if (!n.in(0) || !isFloat(n.in(0)) || alpha == 0)
    return n.fail("a real input expected");
  Value x = n.in(0), below = n.emit<arith::MinimumFOp>(x, n.splatLike(x, 0));
  below = n.emit<math::ExpM1Op>(n.emit<arith::DivFOp>(below, n.splatLike(x, alpha)));
  below = n.emit<arith::MulFOp>(below, n.splatLike(x, alpha));
  return n.done(n.emit<arith::AddFOp>(n.emit<arith::MaximumFOp>(x, n.splatLike(x, 0)), below));
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

static LogicalResult clip(NodeImporter &n) {
  if (!n.in(0))
    return n.fail("input 0 is missing");
  Value x = n.in(0);
  ArrayRef<int64_t> shape = nn::typeOf(x).getShape();
  if (n.in(1))
    x = isFloat(x) ? n.emit<arith::MaximumFOp>(x, n.broadcastTo(n.in(1), shape))
                   : n.emit<arith::MaxSIOp>(x, n.broadcastTo(n.in(1), shape));
  if (n.in(2))
    x = isFloat(x) ? n.emit<arith::MinimumFOp>(x, n.broadcastTo(n.in(2), shape))
                   : n.emit<arith::MinSIOp>(x, n.broadcastTo(n.in(2), shape));
  return n.done(x);
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
  if (!n.in(0) || !n.in(1) || !isFloat(n.in(0)))
    return n.fail("two real inputs expected");
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
  t.add("Add", 14, binary<arith::AddFOp, arith::AddIOp>);
  t.add("Sub", 14, binary<arith::SubFOp, arith::SubIOp>);
  t.add("Mul", 14, binary<arith::MulFOp, arith::MulIOp>);
  t.add("Div", 14, divide);
  t.add("Mod", 13, modulo);
  t.add("Pow", 15, power);
  t.add("Sum", 13, binary<arith::AddFOp, arith::AddIOp>);
  t.add("Max", 13, binary<arith::MaximumFOp, arith::MaxSIOp>);
  t.add("Min", 13, binary<arith::MinimumFOp, arith::MinSIOp>);
  t.add("Mean", 13, mean);
  t.add("Equal", 13, compare<F::OEQ, I::eq>);
  t.add("Greater", 13, compare<F::OGT, I::sgt>);
  t.add("GreaterOrEqual", 16, compare<F::OGE, I::sge>);
  t.add("Less", 13, compare<F::OLT, I::slt>);
  t.add("LessOrEqual", 16, compare<F::OLE, I::sle>);
  t.add("And", 7, logical<arith::AndIOp>);
  t.add("Or", 7, logical<arith::OrIOp>);
  t.add("Xor", 7, logical<arith::XOrIOp>);
  t.add("BitwiseAnd", 18, logical<arith::AndIOp>);
  t.add("BitwiseOr", 18, logical<arith::OrIOp>);
  t.add("BitwiseXor", 18, logical<arith::XOrIOp>);
  t.add("Not", 1, invert);
  t.add("BitwiseNot", 18, invert);
  t.add("Where", 16, where);
  t.add("Neg", 13, negate);
  t.add("Abs", 13, absolute);
  t.add("Sign", 13, sign);
  t.add("Exp", 13, unary<math::ExpOp>);
  t.add("Log", 13, unary<math::LogOp>);
  t.add("Sqrt", 13, unary<math::SqrtOp>);
  t.add("Tanh", 13, unary<math::TanhOp>);
  t.add("Erf", 13, unary<math::ErfOp>);
  t.add("Sin", 7, unary<math::SinOp>);
  t.add("Cos", 7, unary<math::CosOp>);
  t.add("Floor", 13, unary<math::FloorOp>);
  t.add("Ceil", 13, unary<math::CeilOp>);
  t.add("Round", 11, unary<math::RoundEvenOp>);
  t.add("Reciprocal", 13, reciprocal);
  t.add("Sigmoid", 13, activation<nn::SigmoidOp>);
  t.add("Relu", 14, relu);
  t.add("LeakyRelu", 16, leakyRelu);
  t.add("PRelu", 16, prelu);
  t.add("Elu", 6, elu);
  t.add("Selu", 6, selu);
  t.add("Celu", 12, celu);
  t.add("ThresholdedRelu", 10, thresholdedRelu);
  t.add("Softsign", 1, softsign);
  t.add("Sinh", 9, hyperbolic<-1>);
  t.add("Cosh", 9, hyperbolic<1>);
  t.add("Tan", 7, tangent);
  t.add("Softplus", 1, softplus);
  t.add("HardSigmoid", 6, hardSigmoid);
  t.add("HardSwish", 14, hardSwish);
  t.add("Mish", 18, mish);
  t.add("Gelu", 20, gelu);
  t.add("IsNaN", 13, isNan);
  t.add("IsInf", 10, isInf);
  t.add("Clip", 13, clip);
  t.add("Cast", 13, castTo);
  t.add("CastLike", 15, castLike);
  t.add("Identity", 1, identity);
}
