//===- Composites.cpp - composite nn ops as expressions ----------------------===//
//
// The formula of each op stands in its description in dialects/nn; here it is written over (rows, last dimension).
//
//===----------------------------------------------------------------------===//
#include "compiler/codegen/fused/GraphBuilder.h"
#include "llvm/ADT/TypeSwitch.h"
#include <cmath>

using namespace mlir;

namespace llmc::codegen {
namespace {

/// Arithmetic on expressions of one float type.
struct Math {
  GraphBuilder &g;
  ElementKind type;

  Expr binary(StringRef op, const Expr &a, const Expr &b) { return g.elementwise(op, {a, b}, type); }
  Expr unary(StringRef op, const Expr &a) { return g.elementwise(op, {a}, type); }
  Expr add(const Expr &a, const Expr &b) { return binary("arith.addf", a, b); }
  Expr sub(const Expr &a, const Expr &b) { return binary("arith.subf", a, b); }
  Expr mul(const Expr &a, const Expr &b) { return binary("arith.mulf", a, b); }
  Expr div(const Expr &a, const Expr &b) { return binary("arith.divf", a, b); }
  Expr exp(const Expr &a) { return unary("math.exp", a); }
  Expr log(const Expr &a) { return unary("math.log", a); }
  Expr number(double value) { return g.constant(type, value); }
  Expr select(const Expr &condition, const Expr &a, const Expr &b) { return g.elementwise("arith.select", {condition, a, b}, type); }
  int64_t lastDim(const Expr &a) { return static_cast<int64_t>(a.dims.size()) - 1; }
  Expr rowSum(const Expr &a) { return g.reduce(Reduction::Sum, a, {lastDim(a)}); }
  Expr rowMax(const Expr &a) { return g.reduce(Reduction::Max, a, {lastDim(a)}); }
  Expr overRows(const Expr &a) {
    SmallVector<int64_t> dims;
    for (int64_t i = 0; i < lastDim(a); ++i)
      dims.push_back(i);
    return g.reduce(Reduction::Sum, a, dims);
  }
  Expr sigmoid(const Expr &a) { return div(number(1), add(number(1), exp(sub(number(0), a)))); }
};

void softmax(Math m, Value in, Value out, bool logarithm) {
  Expr x = m.g.use(in);
  Expr shifted = m.sub(x, m.g.alongLast(m.rowMax(x), x));
  Expr e = m.exp(shifted), sum = m.rowSum(e);
  Expr result = logarithm ? m.sub(shifted, m.g.alongLast(m.log(sum), x)) : m.mul(e, m.g.alongLast(m.div(m.number(1), sum), x));
  m.g.set(out, result);
}

void layerNorm(Math m, nn::LayerNormOp op) {
  Expr x = m.g.use(op.getInput());
  Expr count = m.number(static_cast<double>(nn::typeOf(op.getInput()).getShape().back()));
  Expr mean = m.div(m.rowSum(x), count);
  Expr centered = m.sub(x, m.g.alongLast(mean, x));
  Expr variance = m.div(m.rowSum(m.mul(centered, centered)), count);
  Expr rstd = m.div(m.number(1), m.unary("math.sqrt", m.add(variance, m.number(op.getEpsilon().convertToDouble()))));
  Expr y = m.mul(m.mul(centered, m.g.alongLast(rstd, x)), m.g.alongRows(m.g.use(op.getScale()), x));
  if (op.getBias())
    y = m.add(y, m.g.alongRows(m.g.use(op.getBias()), x));
  m.g.set(op.getResult(), y);
  m.g.set(op.getMean(), mean);
  m.g.set(op.getRstd(), rstd);
}

void layerNormBackward(Math m, nn::LayerNormBackwardOp op) {
  Expr x = m.g.use(op.getInput()), dy = m.g.use(op.getCotangent());
  Expr rstd = m.g.alongLast(m.g.use(op.getRstd()), x);
  Expr h = m.mul(m.sub(x, m.g.alongLast(m.g.use(op.getMean()), x)), rstd);
  Expr g = m.mul(dy, m.g.alongRows(m.g.use(op.getScale()), x));
  Expr count = m.number(static_cast<double>(nn::typeOf(op.getInput()).getShape().back()));
  Expr gMean = m.g.alongLast(m.div(m.rowSum(g), count), x), ghMean = m.g.alongLast(m.div(m.rowSum(m.mul(g, h)), count), x);
  m.g.set(op.getInputGradient(), m.mul(rstd, m.sub(m.sub(g, gMean), m.mul(h, ghMean))));
  if (!op.getScaleGradient().use_empty())
    m.g.set(op.getScaleGradient(), m.overRows(m.mul(dy, h)));
  if (!op.getBiasGradient().use_empty())
    m.g.set(op.getBiasGradient(), m.overRows(dy));
}

void rmsNorm(Math m, nn::RmsNormOp op) {
  Expr x = m.g.use(op.getInput());
  Expr count = m.number(static_cast<double>(nn::typeOf(op.getInput()).getShape().back()));
  Expr mean = m.div(m.rowSum(m.mul(x, x)), count);
  Expr rstd = m.div(m.number(1), m.unary("math.sqrt", m.add(mean, m.number(op.getEpsilon().convertToDouble()))));
  m.g.set(op.getResult(), m.mul(m.mul(x, m.g.alongLast(rstd, x)), m.g.alongRows(m.g.use(op.getScale()), x)));
  m.g.set(op.getRstd(), rstd);
}

void rmsNormBackward(Math m, nn::RmsNormBackwardOp op) {
  Expr x = m.g.use(op.getInput()), dy = m.g.use(op.getCotangent());
  Expr rstd = m.g.alongLast(m.g.use(op.getRstd()), x);
  Expr h = m.mul(x, rstd), g = m.mul(dy, m.g.alongRows(m.g.use(op.getScale()), x));
  Expr count = m.number(static_cast<double>(nn::typeOf(op.getInput()).getShape().back()));
  Expr ghMean = m.g.alongLast(m.div(m.rowSum(m.mul(g, h)), count), x);
  m.g.set(op.getInputGradient(), m.mul(rstd, m.sub(g, m.mul(h, ghMean))));
  if (!op.getScaleGradient().use_empty())
    m.g.set(op.getScaleGradient(), m.overRows(m.mul(dy, h)));
}

void gelu(Math m, nn::GeluOp op) {
  Expr x = m.g.use(op.getInput());
  if (op.getTanh()) { // 0.5 (1 + tanh(u)) = sigmoid(2u)
    Expr cubic = m.mul(m.mul(x, x), m.mul(x, m.number(0.044715)));
    m.g.set(op.getResult(), m.mul(x, m.sigmoid(m.mul(m.add(x, cubic), m.number(2.0 * std::sqrt(2.0 / M_PI))))));
    return;
  }
  Expr erf = m.unary("math.erf", m.mul(x, m.number(std::sqrt(0.5))));
  m.g.set(op.getResult(), m.mul(m.mul(x, m.number(0.5)), m.add(m.number(1), erf)));
}

/// Whether each row's label counts, and the label as a position of the last dimension.
std::pair<Expr, Expr> labels(GraphBuilder &g, Value value, int64_t ignored, ElementKind positionType) {
  Expr label = g.use(value);
  ElementKind type = g.typeOf(label);
  Expr counts = g.elementwise("arith.cmpi", {label, g.constant(type, static_cast<double>(ignored))}, ElementKind::I1,
                              static_cast<int64_t>(arith::CmpIPredicate::ne));
  if (type != positionType)
    label = g.elementwise(bytesOf(type) > bytesOf(positionType) ? "arith.trunci" : "arith.extsi", {label}, positionType);
  return {counts, label};
}

void crossEntropy(Math m, nn::CrossEntropyOp op) {
  GraphBuilder &g = m.g;
  Expr x = g.use(op.getLogits());
  Expr max = m.rowMax(x);
  Expr lse = m.add(max, m.log(m.rowSum(m.exp(m.sub(x, g.alongLast(max, x))))));
  Expr column = g.position(x, {m.lastDim(x)});
  auto [counts, label] = labels(g, op.getLabels(), op.getIgnoreIndex(), g.typeOf(column));
  // Picked while the row is read anyway: a lookup of its own would keep the gradient from taking the logits' place.
  Expr here = g.elementwise("arith.cmpi", {column, g.alongLast(label, x)}, ElementKind::I1,
                            static_cast<int64_t>(arith::CmpIPredicate::eq));
  Expr loss = m.select(counts, m.sub(lse, m.rowSum(m.select(here, x, m.number(0)))), m.number(0));
  Expr weight = m.select(counts, m.number(1), m.number(0));
  g.unifyDims(lse.dims, loss.dims, op);
  SmallVector<int64_t> all;
  for (size_t i = 0; i < lse.dims.size(); ++i)
    all.push_back(static_cast<int64_t>(i));
  g.set(op.getLse(), lse);
  g.set(op.getLossSum(), g.reduce(Reduction::Sum, loss, all));
  g.set(op.getWeight(), g.reduce(Reduction::Sum, weight, all));
}

void crossEntropyBackward(Math m, nn::CrossEntropyBackwardOp op) {
  GraphBuilder &g = m.g;
  Expr x = g.use(op.getLogits());
  Expr column = g.position(x, {m.lastDim(x)});
  auto [counts, label] = labels(g, op.getLabels(), op.getIgnoreIndex(), g.typeOf(column));
  Expr scale = m.select(counts, g.use(op.getCotangent()), m.number(0));
  Expr probability = m.exp(m.sub(x, g.alongLast(g.use(op.getLse()), x)));
  Expr here = g.elementwise("arith.cmpi", {column, g.alongLast(label, x)}, ElementKind::I1,
                            static_cast<int64_t>(arith::CmpIPredicate::eq));
  Expr difference = m.sub(probability, m.select(here, m.number(1), m.number(0)));
  g.set(op.getGradient(), m.mul(difference, g.alongLast(scale, x)));
}

/// Rotation of pairs: slices of the input in, pieces of the result out.
void rope(Math m, nn::RopeOp op) {
  GraphBuilder &g = m.g;
  int64_t size = nn::typeOf(op.getInput()).getShape().back(), rotated = nn::typeOf(op.getCos()).getShape().back();
  int64_t half = rotated / 2, stride = op.getInterleaved() ? 2 : 1, second = op.getInterleaved() ? 1 : half;
  auto part = [&](Value value, int64_t offset) -> Expr {
    if (auto slice = g.sliceLast(value, offset, half, stride))
      return *slice;
    g.fail(op, "operands must be arguments");
    return g.use(value);
  };
  Expr a = part(op.getInput(), 0), b = part(op.getInput(), second);
  g.unifyDims(a.dims, b.dims, op);
  auto table = [&](Value value, int64_t offset) { // [T, R] or [B, T, R] beside [B, T, H, D]
    Expr part_ = part(value, offset);
    Dims dims = {a.dims[0], part_.dims[part_.dims.size() - 2], a.dims[2], part_.dims.back()};
    if (part_.dims.size() == 3)
      dims[0] = part_.dims[0];
    g.unifyDims(dims, a.dims, op);
    return Expr{part_.node, a.dims};
  };
  Expr cosA = table(op.getCos(), 0), cosB = table(op.getCos(), second);
  Expr sinA = table(op.getSin(), 0), sinB = table(op.getSin(), second);
  Expr first, last;
  if (op.getTransposed()) {
    first = m.add(m.mul(a, cosA), m.mul(b, sinB));
    last = m.sub(m.mul(b, cosB), m.mul(a, sinA));
  } else {
    first = m.sub(m.mul(a, cosA), m.mul(b, sinA));
    last = m.add(m.mul(b, cosB), m.mul(a, sinB));
  }
  SmallVector<GraphBuilder::LastPiece> pieces = {{first, 0, half, stride}, {last, second, half, stride}};
  if (rotated < size) {
    auto rest = g.sliceLast(op.getInput(), rotated, size - rotated, 1);
    pieces.push_back({*rest, rotated, size - rotated, 1});
  }
  g.setPieces(op.getResult(), pieces);
}

/// Integer arithmetic for Philox, in 64 bits with values below 2^32.
struct Words {
  GraphBuilder &g;
  Expr number(uint64_t value) { return g.constant(ElementKind::I64, static_cast<double>(value)); }
  Expr op(StringRef name, const Expr &a, const Expr &b) { return g.elementwise(name, {a, b}, ElementKind::I64); }
  Expr low(const Expr &a) { return op("arith.andi", a, number(0xffffffffu)); }
  Expr high(const Expr &a) { return op("arith.shrui", a, number(32)); }
  Expr product(const Expr &a, uint64_t b) { return op("arith.muli", a, number(b)); }
  Expr exclusive(const Expr &a, const Expr &b) { return op("arith.xori", a, b); }
};

/// The uniform numbers of dialects/nn/Philox.h.
void dropout(Math m, nn::DropoutOp op) {
  GraphBuilder &g = m.g;
  Expr x = g.use(op.getInput());
  if (!op.getPosition())
    return g.set(op.getResult(), x);
  Words w{g};
  SmallVector<int64_t> rest;
  for (size_t i = 1; i < x.dims.size(); ++i)
    rest.push_back(static_cast<int64_t>(i));
  auto wide = [&](const Expr &value) {
    return g.typeOf(value) == ElementKind::I64 ? value : g.elementwise("arith.extui", {value}, ElementKind::I64);
  };
  Expr element = wide(g.position(x, rest, op.getStrides()));
  Expr sample = x.dims.empty() ? w.number(0) : wide(g.position(x, {0}));
  Expr step = *g.sliceLast(op.getPosition(), 0, 1, 1), first = *g.sliceLast(op.getPosition(), 1, 1, 1);
  step.dims.clear();
  first.dims.clear();
  if (op.getStrides()) {
    Expr part = *g.sliceLast(op.getPosition(), 2, 1, 1);
    part.dims.clear();
    element = w.op("arith.addi", element, part);
  }
  uint64_t seed = static_cast<uint64_t>(op.getSeed());
  Expr block = w.op("arith.shrui", element, w.number(2));
  Expr c0 = w.low(block), c1 = w.low(w.op("arith.addi", sample, first)), c2 = w.low(step);
  Expr c3 = w.exclusive(w.number(static_cast<uint32_t>(op.getId())), w.high(block));
  uint32_t k0 = static_cast<uint32_t>(seed), k1 = static_cast<uint32_t>(seed >> 32);
  for (int round = 0; round < 10; ++round) {
    Expr a = w.product(c0, 0xD2511F53u), b = w.product(c2, 0xCD9E8D57u);
    Expr n0 = w.exclusive(w.exclusive(w.high(b), c1), w.number(k0)), n2 = w.exclusive(w.exclusive(w.high(a), c3), w.number(k1));
    c1 = w.low(b);
    c3 = w.low(a);
    c0 = n0;
    c2 = n2;
    k0 += 0x9E3779B9u;
    k1 += 0xBB67AE85u;
  }
  Expr word = w.op("arith.andi", element, w.number(3));
  auto equals = [&](uint64_t i) {
    return g.elementwise("arith.cmpi", {word, w.number(i)}, ElementKind::I1, static_cast<int64_t>(arith::CmpIPredicate::eq));
  };
  auto pick = [&](const Expr &condition, const Expr &a, const Expr &b) {
    return g.elementwise("arith.select", {condition, a, b}, ElementKind::I64);
  };
  Expr bits = pick(equals(0), c0, pick(equals(1), c1, pick(equals(2), c2, c3)));
  Expr small = g.elementwise("arith.trunci", {w.op("arith.shrui", bits, w.number(8))}, ElementKind::I32);
  double ratio = op.getRatio().convertToDouble();
  // uniform >= ratio, both scaled by 2^24: exact in integers.
  double threshold = std::ceil(static_cast<double>(static_cast<float>(ratio)) * 0x1p24);
  Expr kept = g.elementwise("arith.cmpi", {small, g.constant(ElementKind::I32, threshold)}, ElementKind::I1,
                            static_cast<int64_t>(arith::CmpIPredicate::sge));
  g.set(op.getResult(), m.select(kept, m.mul(x, m.number(1.0 / (1.0 - ratio))), m.number(0)));
}

} // namespace

bool buildComposite(GraphBuilder &g, Operation *op) {
  if (op->getName().getDialectNamespace() != "nn" || op->getNumOperands() == 0)
    return false;
  Math m{g, g.typeOf(op->getOperand(0))};
  return llvm::TypeSwitch<Operation *, bool>(op)
      .Case([&](nn::SoftmaxOp o) { return softmax(m, o.getInput(), o.getResult(), false), true; })
      .Case([&](nn::LogSoftmaxOp o) { return softmax(m, o.getInput(), o.getResult(), true), true; })
      .Case([&](nn::SoftmaxBackwardOp o) {
        Expr y = g.use(o.getResultValue()), dy = g.use(o.getCotangent());
        g.set(o.getGradient(), m.mul(y, m.sub(dy, g.alongLast(m.rowSum(m.mul(dy, y)), y))));
        return true;
      })
      .Case([&](nn::LogSoftmaxBackwardOp o) {
        Expr y = g.use(o.getResultValue()), dy = g.use(o.getCotangent());
        g.set(o.getGradient(), m.sub(dy, m.mul(m.exp(y), g.alongLast(m.rowSum(dy), y))));
        return true;
      })
      .Case([&](nn::LayerNormOp o) { return layerNorm(m, o), true; })
      .Case([&](nn::LayerNormBackwardOp o) { return layerNormBackward(m, o), true; })
      .Case([&](nn::RmsNormOp o) { return rmsNorm(m, o), true; })
      .Case([&](nn::RmsNormBackwardOp o) { return rmsNormBackward(m, o), true; })
      .Case([&](nn::GeluOp o) { return gelu(m, o), true; })
      .Case([&](nn::SigmoidOp o) { return g.set(o.getResult(), m.sigmoid(g.use(o.getInput()))), true; })
      .Case([&](nn::SiluOp o) {
        Expr x = g.use(o.getInput());
        return g.set(o.getResult(), m.mul(x, m.sigmoid(x))), true;
      })
      .Case([&](nn::SwigluOp o) {
        Expr gate = g.use(o.getGate());
        return g.set(o.getResult(), m.mul(m.mul(gate, m.sigmoid(gate)), g.use(o.getUp()))), true;
      })
      .Case([&](nn::CrossEntropyOp o) { return crossEntropy(m, o), true; })
      .Case([&](nn::CrossEntropyBackwardOp o) { return crossEntropyBackward(m, o), true; })
      .Case([&](nn::RopeOp o) { return rope(m, o), true; })
      .Case([&](nn::DropoutOp o) { return dropout(m, o), true; })
      .Default([](Operation *) { return false; });
}

} // namespace llmc::codegen
