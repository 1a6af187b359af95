//===- Attention.cpp - Attention and RotaryEmbedding of opset 23 ------===//
#include "frontends/onnx/NodeImporter.h"
#include "frontends/onnx/OpTable.h"
#include <cmath>

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

static LogicalResult attention(NodeImporter &n) {
  if (!n.in(0) || !n.in(1) || !n.in(2) || !isa<FloatType>(nn::typeOf(n.in(0)).getElementType()))
    return n.fail("real query, key and value expected");
  if (n.has(4) || n.has(5) || n.wants(1) || n.wants(2))
    return n.fail("a key/value cache");
  if (n.has(6))
    return n.fail("nonpad_kv_seqlen");
  if (n.wants(3))
    return n.fail("the scores as an output");
  if (n.attrFloat("softcap", 0) != 0)
    return n.fail("softcap");
  auto q = sequenceFirst(n, n.in(0), n.attr("q_num_heads", 0));
  auto k = sequenceFirst(n, n.in(1), n.attr("kv_num_heads", 0));
  auto v = sequenceFirst(n, n.in(2), n.attr("kv_num_heads", 0));
  if (failed(q) || failed(k) || failed(v))
    return failure();
  ArrayRef<int64_t> qs = nn::typeOf(*q).getShape(), ks = nn::typeOf(*k).getShape(), vs = nn::typeOf(*v).getShape();
  int64_t batch = qs[0], t = qs[1], heads = qs[2], s = ks[1];
  if (ks[0] != batch || vs[0] != batch || vs[1] != s || ks[2] != vs[2] || heads % ks[2] || qs[3] != ks[3])
    return n.fail("query, key and value do not fit each other");
  double scale = n.attrFloat("scale", static_cast<float>(1.0 / std::sqrt(static_cast<double>(qs[3]))));
  bool causal = n.attr("is_causal", 0);
  Value mask;
  if (n.in(3)) {
    auto full = fullMask(n, n.in(3), batch, heads, t, s);
    if (failed(full))
      return failure();
    mask = *full;
  }
  if (causal && t != s)
    return n.fail("is_causal with " + Twine(t) + " queries and " + Twine(s) + " keys");
  OpBuilder &b = n.state.builder;
  Type element = nn::typeOf(*q).getElementType();
  auto type = RankedTensorType::get({batch, t, heads, vs[3]}, element), lse = RankedTensorType::get({batch, heads, t}, element);
  Value y = n.emitAll<nn::AttentionOp>(TypeRange{type, lse}, *q, *k, *v, mask, b.getF64FloatAttr(scale), b.getBoolAttr(causal))[0];
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
