//===- Attention.cpp - attention and its backward op ----------------------------------===//
#include "dialects/nn/Family.h"
#include <cmath>

using namespace mlir;
using namespace llmc;
using namespace llmc::nn;

namespace {

/// The sizes of one attention.
struct Sizes {
  int64_t batch, queries, heads, size, keys, groups, valueSize;
};

template <typename Op>
Sizes sizesOf(Op op) {
  ArrayRef<int64_t> q = typeOf(op.getQuery()).getShape(), k = typeOf(op.getKey()).getShape();
  return {q[0], q[1], q[2], q[3], k[1], k[2], typeOf(op.getValue()).getShape()[3]};
}

template <typename Op>
LogicalResult verifyShapes(Op op, Value result, Value lse) {
  for (Value v : std::initializer_list<Value>{op.getQuery(), op.getKey(), op.getValue(), result})
    if (typeOf(v).getRank() != 4)
      return op.emitOpError("C1: query, key, value and result have rank 4");
  Sizes s = sizesOf(op);
  ArrayRef<int64_t> k = typeOf(op.getKey()).getShape(), v = typeOf(op.getValue()).getShape();
  if (k[0] != s.batch || v[0] != s.batch || k[3] != s.size || v[1] != s.keys || v[2] != s.groups || s.groups == 0 ||
      s.heads % s.groups != 0)
    return op.emitOpError("C1: shapes of query, key and value do not agree");
  if (typeOf(result).getShape() != ArrayRef<int64_t>({s.batch, s.queries, s.heads, s.valueSize}))
    return op.emitOpError("C1: the result must be [B, T, H, E]");
  if (typeOf(lse).getShape() != ArrayRef<int64_t>({s.batch, s.heads, s.queries}))
    return op.emitOpError("C1: lse must be [B, H, T]");
  if (Value mask = op.getMask()) {
    ArrayRef<int64_t> m = typeOf(mask).getShape();
    if (m.size() != 4 || (m[0] != 1 && m[0] != s.batch) || (m[1] != 1 && m[1] != s.heads) || m[2] != s.queries || m[3] != s.keys)
      return op.emitOpError("C1: the mask must be [1 or B, 1 or H, T, S]");
  }
  return success();
}

/// Scores of one row, masked; -inf where the key is not seen.
template <typename Op>
void scoreRow(Op op, const Sizes &s, Operands in, const HostTensor *mask, int64_t b, int64_t h, int64_t t, std::vector<double> &scores) {
  int64_t group = h / (s.heads / s.groups);
  double scale = op.getScale().convertToDouble();
  const double *q = in[0]->reals.data() + ((b * s.queries + t) * s.heads + h) * s.size;
  for (int64_t key = 0; key < s.keys; ++key) {
    const double *k = in[1]->reals.data() + ((b * s.keys + key) * s.groups + group) * s.size;
    double dot = 0.0;
    for (int64_t d = 0; d < s.size; ++d)
      dot += q[d] * k[d];
    scores[key] = dot * scale;
    if (op.getCausal() && key > t + s.keys - s.queries)
      scores[key] = -INFINITY;
    if (!mask)
      continue;
    int64_t at = (((mask->shape[0] == 1 ? 0 : b) * mask->shape[1] + (mask->shape[1] == 1 ? 0 : h)) * s.queries + t) * s.keys + key;
    if (mask->isReal)
      scores[key] += mask->reals[at];
    else if (!mask->integers[at])
      scores[key] = -INFINITY;
  }
}

/// Batch and heads parallel, the rest whole.
template <typename Op>
struct AttentionFactors {
  FactorRule rule;
  TensorFactors query, key, value, result, lse, mask;
  explicit AttentionFactors(Op op) {
    Sizes s = sizesOf(op);
    int64_t batch = rule.add(s.batch), queries = rule.add(s.queries, FactorKind::NeedWhole);
    // Heads are (groups, heads per group): splitting over groups splits keys and values too, and splitting a group does not:
    // the gradients of its key and value are then sums over the parts.
    int64_t groups = rule.add(s.groups), perGroup = rule.add(s.heads / s.groups);
    int64_t size = rule.add(s.size, FactorKind::NeedWhole), keys = rule.add(s.keys, FactorKind::NeedWhole);
    int64_t valueSize = rule.add(s.valueSize, FactorKind::NeedWhole);
    query = {{batch}, {queries}, {groups, perGroup}, {size}};
    key = {{batch}, {keys}, {groups}, {size}};
    value = {{batch}, {keys}, {groups}, {valueSize}};
    result = {{batch}, {queries}, {groups, perGroup}, {valueSize}};
    lse = {{batch}, {groups, perGroup}, {queries}};
    if (Value m = op.getMask()) {
      mask = {{}, {}, {queries}, {keys}};
      if (typeOf(m).getDimSize(0) == s.batch)
        mask[0] = {batch};
      if (typeOf(m).getDimSize(1) == s.heads)
        mask[1] = {groups, perGroup};
    }
  }
};

/// Products over the pairs of queries and keys: `ofKeys` of them sum over or fill the size of a key, `ofValues` that of a value. The causal
/// mask leaves about half of the pairs.
int64_t attentionFlops(const Sizes &s, bool causal, int64_t ofKeys, int64_t ofValues) {
  int64_t pairs = s.batch * s.heads * s.queries * s.keys;
  return 2 * pairs * (ofKeys * s.size + ofValues * s.valueSize) / (causal ? 2 : 1);
}

} // namespace

LogicalResult AttentionOp::verify() { return verifyShapes(*this, getResult(), getLse()); }

// see nn.attention_backward     saves: query, key, value, result, lse
LogicalResult AttentionOp::emitVjp(OpBuilder &b, ValueRange cotangents, ArrayRef<bool> wanted, SmallVectorImpl<Value> &gradients) {
  if (cotangents[1])
    return emitOpError("has no derivative through lse");
  if (getMask() && wanted[3])
    return emitOpError("has no derivative for its mask");
  if (!cotangents[0])
    return noGradients(getNumOperands(), gradients);
  auto backward = AttentionBackwardOp::create(b, getLoc(), getQuery().getType(), getKey().getType(), getValue().getType(), getQuery(),
                                              getKey(), getValue(), getResult(), getLse(), cotangents[0], getMask(),
                                              getScaleAttr(), getCausalAttr());
  llvm::append_range(gradients, backward->getResults());
  if (getMask())
    gradients.push_back(Value());
  return success();
}

FactorRule AttentionOp::getFactorRule() {
  AttentionFactors f(*this);
  f.rule.operands = {f.query, f.key, f.value};
  if (getMask())
    f.rule.operands.push_back(f.mask);
  f.rule.results = {f.result, f.lse};
  return f.rule;
}

int64_t AttentionOp::getFlops() { return attentionFlops(sizesOf(*this), getCausal(), 1, 1); }

LogicalResult AttentionOp::evaluate(Operands in, Results out) {
  Sizes s = sizesOf(*this);
  const HostTensor *mask = getMask() ? in[3] : nullptr;
  std::vector<double> scores(s.keys);
  for (int64_t row = 0; row < s.batch * s.heads * s.queries; ++row) {
    int64_t t = row % s.queries, h = row / s.queries % s.heads, b = row / s.queries / s.heads;
    int64_t group = h / (s.heads / s.groups);
    scoreRow(*this, s, in, mask, b, h, t, scores);
    double top = -INFINITY, sum = 0.0;
    for (double score : scores)
      top = std::max(top, score);
    for (double &score : scores)
      sum += score = top == -INFINITY ? 0.0 : std::exp(score - top);
    out[1].reals[row] = top == -INFINITY ? -INFINITY : top + std::log(sum);
    double *y = out[0].reals.data() + ((b * s.queries + t) * s.heads + h) * s.valueSize;
    for (int64_t key = 0; key < s.keys && sum > 0.0; ++key) {
      const double *v = in[2]->reals.data() + ((b * s.keys + key) * s.groups + group) * s.valueSize;
      for (int64_t e = 0; e < s.valueSize; ++e)
        y[e] += scores[key] / sum * v[e];
    }
  }
  return success();
}

LogicalResult AttentionBackwardOp::verify() {
  if (failed(verifyShapes(*this, getResultValue(), getLse())))
    return failure();
  return check(*this, getQueryGradient().getType() == getQuery().getType() && getKeyGradient().getType() == getKey().getType() &&
                          getValueGradient().getType() == getValue().getType(),
               "C1: gradient types differ from those of query, key and value");
}

LogicalResult AttentionBackwardOp::emitVjp(OpBuilder &, ValueRange, ArrayRef<bool>, SmallVectorImpl<Value> &) {
  return emitOpError("has no derivative: second derivatives are not computed");
}

FactorRule AttentionBackwardOp::getFactorRule() {
  AttentionFactors f(*this);
  f.rule.operands = {f.query, f.key, f.value, f.result, f.lse, f.result};
  if (getMask())
    f.rule.operands.push_back(f.mask);
  f.rule.results = {f.query, f.key, f.value};
  return f.rule;
}

/// The scores once more; gradients of queries and keys; those of the values and of the weights.
int64_t AttentionBackwardOp::getFlops() { return attentionFlops(sizesOf(*this), getCausal(), 3, 2); }

LogicalResult AttentionBackwardOp::evaluate(Operands in, Results out) {
  Sizes s = sizesOf(*this);
  const HostTensor *mask = getMask() ? in[6] : nullptr;
  double scale = getScale().convertToDouble();
  std::vector<double> scores(s.keys);
  for (int64_t row = 0; row < s.batch * s.heads * s.queries; ++row) {
    int64_t t = row % s.queries, h = row / s.queries % s.heads, b = row / s.queries / s.heads;
    int64_t group = h / (s.heads / s.groups);
    double lse = in[4]->reals[row];
    if (lse == -INFINITY)
      continue;
    scoreRow(*this, s, in, mask, b, h, t, scores);
    int64_t qAt = ((b * s.queries + t) * s.heads + h) * s.size, yAt = ((b * s.queries + t) * s.heads + h) * s.valueSize;
    const double *dy = in[5]->reals.data() + yAt, *y = in[3]->reals.data() + yAt;
    double delta = 0.0;
    for (int64_t e = 0; e < s.valueSize; ++e)
      delta += dy[e] * y[e];
    for (int64_t key = 0; key < s.keys; ++key) {
      double p = std::exp(scores[key] - lse), dp = 0.0;
      int64_t kAt = ((b * s.keys + key) * s.groups + group) * s.size, vAt = ((b * s.keys + key) * s.groups + group) * s.valueSize;
      for (int64_t e = 0; e < s.valueSize; ++e) {
        dp += dy[e] * in[2]->reals[vAt + e];
        out[2].reals[vAt + e] += p * dy[e];
      }
      double ds = p * (dp - delta) * scale;
      for (int64_t d = 0; d < s.size; ++d) {
        out[0].reals[qAt + d] += ds * in[1]->reals[kAt + d];
        out[1].reals[kAt + d] += ds * in[0]->reals[qAt + d];
      }
    }
  }
  return success();
}
