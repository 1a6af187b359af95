//===- Attention.cpp - Attention and RotaryEmbedding of opset 23 ------===//
#include "frontends/onnx/NodeImporter.h"
#include "frontends/onnx/OpTable.h"
#include "llvm/Support/CheckedArithmetic.h"
#include <cmath>
#include <limits>

using namespace mlir;
using namespace llmc;
using namespace llmc::onnx;

/// [b, h, t, d], or [b, t, h * d] with `heads`, as [b, t, h, d].
static FailureOr<Value> sequenceFirst(NodeImporter &n, Value x, int64_t heads) {
  ArrayRef<int64_t> shape = nn::typeOf(x).getShape();
  if (shape.size() == 4)
    return n.transpose(x, {0, 2, 1, 3});
  if (shape.size() != 3 || heads < 1 || shape[2] % heads)
    return n.fail("inputs of rank 4, or of rank 3 with the number of heads, expected");
  return n.reshape(x, {shape[0], shape[1], heads, shape[2] / heads});
}

/// The mask as [b, h, t, s] with t and s whole.
static FailureOr<Value> fullMask(NodeImporter &n, Value mask, int64_t batch, int64_t heads, int64_t t, int64_t s) {
  SmallVector<int64_t> shape(nn::typeOf(mask).getShape());
  if (shape.size() > 4 || shape.empty())
    return n.fail("a mask of rank " + Twine(shape.size()));
  shape.insert(shape.begin(), 4 - shape.size(), 1);
  mask = n.reshape(mask, shape);
  int64_t whole[] = {batch, heads, t, s};
  for (int64_t d = 0; d < 4; ++d)
    if (shape[d] != 1 && shape[d] != whole[d])
      return n.fail("the mask does not fit the scores");
  shape[2] = t;
  shape[3] = s;
  return n.broadcast(mask, shape, {0, 1, 2, 3});
}

namespace {
/// Query [b, t, h, d], key [b, s, g, d] and value [b, s, g, e] with the past in front, and a mask that is whole in t and s.
struct AttentionParts {
  Value query, key, value, mask;
  double scale = 1;
  bool causal = false;
  int64_t past = 0; // keys that come before the first query
};
} // namespace

static FailureOr<AttentionParts> attentionParts(NodeImporter &n) {
  AttentionParts a;
  auto q = sequenceFirst(n, n.in(0), n.attr("q_num_heads", 0));
  auto k = sequenceFirst(n, n.in(1), n.attr("kv_num_heads", 0));
  auto v = sequenceFirst(n, n.in(2), n.attr("kv_num_heads", 0));
  if (failed(q) || failed(k) || failed(v))
    return failure();
  if (n.has(4) != n.has(5))
    return n.fail("a past of the keys and of the values expected, or neither");
  if (n.has(4)) {
    if (!n.in(4) || !n.in(5) || n.rank(4) != 4 || n.rank(5) != 4 || n.shape(4)[2] != n.shape(5)[2])
      return n.fail("a past of rank 4 expected");
    a.past = n.shape(4)[2];
    for (auto [i, current] : {std::pair<size_t, Value>(4, *k), {5, *v}}) {
      ArrayRef<int64_t> before = n.shape(i), now = nn::typeOf(current).getShape();
      if (before[0] != now[0] || before[1] != now[2] || before[3] != now[3] ||
          nn::typeOf(n.in(i)).getElementType() != nn::typeOf(current).getElementType())
        return n.fail("the past does not fit the keys and values");
    }
    k = a.past ? n.concat({n.transpose(n.in(4), {0, 2, 1, 3}), *k}, 1) : *k;
    v = a.past ? n.concat({n.transpose(n.in(5), {0, 2, 1, 3}), *v}, 1) : *v;
  }
  a.query = *q, a.key = *k, a.value = *v;
  ArrayRef<int64_t> qs = nn::typeOf(*q).getShape(), ks = nn::typeOf(*k).getShape(), vs = nn::typeOf(*v).getShape();
  if (ks[0] != qs[0] || vs[0] != qs[0] || vs[1] != ks[1] || ks[2] != vs[2] || qs[2] % ks[2] || qs[3] != ks[3])
    return n.fail("query, key and value do not fit each other");
  a.scale = n.attrFloat("scale", static_cast<float>(1.0 / std::sqrt(static_cast<double>(qs[3]))));
  a.causal = n.attr("is_causal", 0);
  if (n.in(3)) {
    auto full = fullMask(n, n.in(3), qs[0], qs[2], qs[1], ks[1]);
    if (failed(full))
      return failure();
    a.mask = *full;
  }
  return a;
}

/// What is added to the scores [b, h, t, s]: minus infinity where the mask is false or, in the causal form, a key comes after
/// the query.
static Value maskScores(NodeImporter &n, Value scores, const AttentionParts &a) {
  RankedTensorType type = nn::typeOf(scores);
  Value low = n.splatLike(scores, -std::numeric_limits<double>::infinity());
  if (a.mask && isa<FloatType>(nn::typeOf(a.mask).getElementType()))
    scores = n.emit<arith::AddFOp>(scores, n.broadcastTo(a.mask, type.getShape()));
  else if (a.mask)
    scores = n.emit<arith::SelectOp>(n.broadcastTo(a.mask, type.getShape()), scores, low);
  if (!a.causal)
    return scores;
  HostTensor seen;
  seen.isReal = false;
  int64_t t = type.getDimSize(2), s = type.getDimSize(3);
  seen.shape = {t, s};
  for (int64_t i = 0; i < t; ++i)
    for (int64_t j = 0; j < s; ++j)
      seen.integers.push_back(j <= i + a.past);
  Value mask = n.state.pool.make(n.loc, RankedTensorType::get({t, s}, n.state.builder.getI1Type()), std::move(seen));
  return n.emit<arith::SelectOp>(n.broadcastTo(mask, type.getShape()), scores, low);
}

/// True if a parameter that may be trained flows into `value`.
static bool isTrained(Value value) {
  llvm::SmallPtrSet<Value, 16> seen;
  SmallVector<Value> stack = {value};
  while (!stack.empty()) {
    Value next = stack.pop_back_val();
    if (!seen.insert(next).second)
      continue;
    if (Operation *op = next.getDefiningOp()) {
      llvm::append_range(stack, op->getOperands());
      continue;
    }
    auto argument = cast<BlockArgument>(next);
    auto function = cast<func::FuncOp>(argument.getOwner()->getParentOp());
    auto role = function.getArgAttrOfType<StringAttr>(argument.getArgNumber(), "train.role");
    if (role && role.getValue() == "param" && !function.getArgAttr(argument.getArgNumber(), "train.frozen"))
      return true;
  }
  return false;
}

/// The forms that nn.attention lacks, score by score: a soft cap, a past, queries and keys of different number that are causal,
/// the scores as a result, a mask that needs a gradient.
static Value scoredAttention(NodeImporter &n, const AttentionParts &a) {
  ArrayRef<int64_t> qs = nn::typeOf(a.query).getShape(), ks = nn::typeOf(a.key).getShape(), vs = nn::typeOf(a.value).getShape();
  int64_t batch = qs[0], t = qs[1], heads = qs[2], s = ks[1], groups = ks[2];
  Value query = n.reshape(a.query, {batch, t, groups, heads / groups, qs[3]});
  Value products = n.emit<nn::ContractOp>("btgrd,bsgd->bgrts", query, a.key);
  Value scores = n.reshape(products, {batch, heads, t, s});
  scores = n.emit<arith::MulFOp>(scores, n.splatLike(scores, a.scale));
  if (double cap = n.attrFloat("softcap", 0); cap > 0) {
    Value ratio = n.emit<math::TanhOp>(n.emit<arith::DivFOp>(scores, n.splatLike(scores, cap)));
    scores = n.emit<arith::MulFOp>(ratio, n.splatLike(ratio, cap));
  }
  Value masked = maskScores(n, scores, a);
  Value weights = n.emit<nn::SoftmaxOp>(masked.getType(), masked);
  int64_t mode = n.attr("qk_matmul_output_mode", 0);
  n.out(3, mode == 3 ? weights : mode == 2 ? masked : scores);
  Value split = n.reshape(weights, {batch, groups, heads / groups, t, s});
  return n.reshape(n.emit<nn::ContractOp>("bgrts,bsge->btgre", split, a.value), {batch, t, heads, vs[3]});
}

static LogicalResult attention(NodeImporter &n) {
  if (!n.in(0) || !n.in(1) || !n.in(2) || !isa<FloatType>(nn::typeOf(n.in(0)).getElementType()))
    return n.fail("real query, key and value expected");
  if (n.has(6))
    return n.fail("nonpad_kv_seqlen");
  if (n.attrFloat("softcap", 0) < 0)
    return n.fail("a negative softcap");
  auto a = attentionParts(n);
  if (failed(a))
    return failure();
  ArrayRef<int64_t> qs = nn::typeOf(a->query).getShape(), vs = nn::typeOf(a->value).getShape();
  int64_t batch = qs[0], t = qs[1], heads = qs[2], s = vs[1];
  if (auto scores = llvm::checkedMul(t, s); !scores || *scores > (int64_t(1) << 28))
    return n.fail("too many queries and keys");
  Value y;
  bool trainedMask = a->mask && isa<FloatType>(nn::typeOf(a->mask).getElementType()) && isTrained(a->mask);
  if (n.attrFloat("softcap", 0) != 0 || (a->causal && (t != s || a->past)) || n.wants(3) || trainedMask) {
    y = scoredAttention(n, *a);
  } else {
    OpBuilder &b = n.state.builder;
    Type element = nn::typeOf(a->query).getElementType();
    auto type = RankedTensorType::get({batch, t, heads, vs[3]}, element), lse = RankedTensorType::get({batch, heads, t}, element);
    y = n.emitAll<nn::AttentionOp>(TypeRange{type, lse}, a->query, a->key, a->value, a->mask, b.getF64FloatAttr(a->scale),
                                   b.getBoolAttr(a->causal))[0];
  }
  if (n.wants(1))
    n.out(1, n.transpose(a->key, {0, 2, 1, 3}));
  if (n.wants(2))
    n.out(2, n.transpose(a->value, {0, 2, 1, 3}));
  if (n.rank(0) == 4)
    return n.done(n.transpose(y, {0, 2, 1, 3}));
  return n.done(n.reshape(y, {batch, t, heads * vs[3]}));
}

/// The cos or sin table as [t, r] or [b, t, r] from caches that hold each angle once.
static FailureOr<Value> rotaryTable(NodeImporter &n, size_t i, int64_t batch, int64_t t, bool interleaved) {
  Value table = n.in(i);
  if (Value positions = n.in(3)) {
    if (nn::typeOf(table).getRank() != 2 || nn::typeOf(positions).getRank() != 2)
      return n.fail("a cache of rank 2 with positions of rank 2 expected");
    SmallVector<int64_t> shape(nn::typeOf(positions).getShape());
    shape.push_back(nn::typeOf(table).getDimSize(1));
    table = n.emit<nn::GatherOp>(RankedTensorType::get(shape, nn::typeOf(table).getElementType()), table, positions);
  }
  SmallVector<int64_t> shape(nn::typeOf(table).getShape());
  if (shape.size() == 3 && shape[0] == 1) {
    shape.erase(shape.begin());
    table = n.reshape(table, shape);
  }
  bool fits = shape.size() == 2 ? shape[0] == t : shape.size() == 3 && shape[0] == batch && shape[1] == t;
  if (!fits)
    return n.fail("the cos and sin tables do not fit the input");
  int64_t last = static_cast<int64_t>(shape.size()) - 1;
  if (!interleaved)
    return n.concat({table, table}, last);
  SmallVector<int64_t> pairs = shape, dims;
  pairs.push_back(2);
  for (int64_t d = 0; d <= last; ++d)
    dims.push_back(d);
  shape[last] *= 2;
  return n.reshape(n.broadcast(table, pairs, dims), shape);
}

static LogicalResult rotary(NodeImporter &n) {
  if (!n.in(0) || !n.in(1) || !n.in(2) || !isa<FloatType>(nn::typeOf(n.in(0)).getElementType()))
    return n.fail("a real input and two tables expected");
  auto x = sequenceFirst(n, n.in(0), n.attr("num_heads", 0));
  if (failed(x))
    return failure();
  bool interleaved = n.attr("interleaved", 0);
  ArrayRef<int64_t> shape = nn::typeOf(*x).getShape();
  auto cos = rotaryTable(n, 1, shape[0], shape[1], interleaved), sin = rotaryTable(n, 2, shape[0], shape[1], interleaved);
  if (failed(cos) || failed(sin))
    return failure();
  int64_t rotated = n.attr("rotary_embedding_dim", 0);
  if (rotated != 0 && rotated != nn::typeOf(*cos).getShape().back())
    return n.fail("rotary_embedding_dim does not fit the tables");
  Value y = n.emit<nn::RopeOp>(x->getType(), *x, *cos, *sin, interleaved ? n.state.builder.getUnitAttr() : UnitAttr(), UnitAttr());
  if (n.rank(0) == 4)
    return n.done(n.transpose(y, {0, 2, 1, 3}));
  return n.done(n.reshape(y, n.shape(0)));
}

void llmc::onnx::registerAttention(OpTable &t) {
  t.add("Attention", 23, attention);
  t.add("RotaryEmbedding", 23, rotary);
}
