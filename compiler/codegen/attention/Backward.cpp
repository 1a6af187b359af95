//===- Backward.cpp - gradients of attention for a chunk of keys --------------===//
//
// A workgroup has the keys of one chunk, of one batch entry and key head, and walks all queries of the group's heads that
// see them; keys are lanes. Each of the five products is computed once.
//
//   for each block of keys:
//     K^T, V^T, K <- keys and values; K and K^T times scale
//     for each head of the group, for each block of queries that sees a key of the block:
//       P <- exp(Q K^T (+ mask) - lse);  dS <- P (dO V^T - delta)            [queries, keys]
//       dV^T += dO^T P;  dK^T += Q^T dS                                      [E, keys], [D, keys]
//       dQ += dS K                                                           [queries, D]
//     dK <- scale (dK^T)^T;  dV <- (dV^T)^T
//
// The order of every sum is that of these loops. Chunks leave parts of dQ, which the last stage adds up.
//
//===----------------------------------------------------------------------===//
#include "compiler/codegen/attention/Plan.h"
#include "compiler/codegen/cpu/CpuTeam.h"
#include <limits>

using namespace mlir;

namespace llmc::codegen::attention {
namespace {

AffineView rowMajor(std::initializer_list<int64_t> shape) {
  AffineView view;
  view.tensor = 0;
  view.shape.assign(shape);
  view.strides.assign(shape.size(), 1);
  for (size_t i = shape.size(); i-- > 1;)
    view.strides[i - 1] = view.strides[i] * view.shape[i];
  return view;
}

AffineView deltaView(const Problem &p) { return rowMajor({p.B, p.H, p.T}); }
AffineView partsView(const Plan &plan) {
  const Problem &p = plan.problem;
  return rowMajor({(static_cast<int64_t>(plan.chunks.size()) - 1) * p.B, p.T, p.H, p.D});
}

class Backward {
public:
  explicit Backward(const StageCode &stage) : stage(stage), plan(stage.plan), p(stage.problem), tile(stage.tile), code(stage.code) {}
  void emit(Value workgroup);

private:
  Value chunkStart(Value chunk);
  void clearQuery();
  void emitKeyBlock(Value firstKey);
  void emitQueryBlock(Value h, Value firstKey, Value firstQuery, Value keys);
  void emitScores(Value h, Value firstKey, Value firstQuery, Value row);
  Value seenBy(Value firstKey, Value t);
  void emitCausal(Value firstKey, Value t, Value scoreRow, Value gradientRow);
  void addQuery(Value h, Value firstQuery, Value queries);
  Row queryRow(Value t, Value h) { return Row(tile, queryGradient, queryBase, {queryBatch, t, h}); }

  const StageCode &stage;
  const Plan &plan;
  const Problem &p;
  TileCode &tile;
  Code &code;
  AffineView delta, queryGradient;
  int64_t lanes, dStep, eStep;
  bool wantQuery, wantKey, wantValue;
  Value b, group, queryBase, queryBatch;
  Value keyT, valueT, key, query, cotangent, weights, gradients, keyGradient, valueGradient, queryTile;
};

Value Backward::chunkStart(Value chunk) {
  Value start = code.i64(plan.chunks[0]);
  for (size_t i = 1; i < plan.chunks.size(); ++i)
    start = code.select(code.compare(arith::CmpIPredicate::sge, chunk, code.i64(static_cast<int64_t>(i))), code.i64(plan.chunks[i]), start);
  return start;
}

void Backward::emit(Value workgroup) {
  wantQuery = p.stores[0].has_value(), wantKey = p.stores[1].has_value(), wantValue = p.stores[2].has_value();
  lanes = plan.keyBlock;
  dStep = roundUp(p.D, kLanes);
  eStep = roundUp(p.E, kLanes);
  int64_t chunks = static_cast<int64_t>(plan.chunks.size()) - 1;
  Value chunk = code.rem(workgroup, chunks);
  group = code.rem(code.div(workgroup, chunks), p.G);
  b = code.div(workgroup, chunks * p.G);
  delta = deltaView(p);
  queryBatch = b;
  if (plan.partialQuery) {
    queryGradient = partsView(plan);
    queryBase = stage.pointer(OperandKind::Scratch, plan.queryScratch);
    queryBatch = code.add(code.mul(chunk, p.B), b);
  } else if (wantQuery) {
    queryGradient = *p.stores[0];
    queryBase = stage.output(queryGradient);
  }
  int64_t rows = roundUp(plan.queryBlock, kRows);
  keyT = tile.buffer(dStep * lanes), valueT = tile.buffer(eStep * lanes), key = tile.buffer(lanes * dStep);
  query = tile.buffer(rows * dStep), cotangent = tile.buffer(rows * eStep);
  weights = tile.buffer(rows * lanes), gradients = tile.buffer(rows * lanes);
  keyGradient = tile.buffer(dStep * lanes), valueGradient = tile.buffer(eStep * lanes);
  queryTile = tile.buffer(rows * dStep);
  // Rows past the last query are multiplied too, and denormals are slow.
  tile.fill(query, rows * dStep, 0);
  tile.fill(cotangent, rows * eStep, 0);
  if (wantQuery)
    clearQuery();
  Value begin = code.mul(chunkStart(chunk), lanes), end = code.min(code.mul(chunkStart(code.add(chunk, 1)), lanes), code.i64(p.S));
  code.loop(begin, end, lanes, [&](Value firstKey) { emitKeyBlock(firstKey); });
}

void Backward::clearQuery() {
  Mover mover(tile, queryGradient, queryBase, queryBatch, group);
  Value zero = code.number(tile.lanesType(), 0);
  code.loop(code.i64(0), code.i64(p.T), 1, [&](Value t) {
    code.loop(code.i64(0), code.i64(plan.heads()), 1, [&](Value i) {
      Row row = queryRow(t, code.add(code.mul(group, plan.heads()), i));
      mover.columns([&](Value column, Value mask) { row.store(zero, column, mask); });
    });
  });
}

void Backward::emitKeyBlock(Value firstKey) {
  Value keys = code.min(code.i64(lanes), code.sub(code.i64(p.S), firstKey));
  Mover keyMover(tile, p.key, stage.input(p.key), b, group), valueMover(tile, p.value, stage.input(p.value), b, group);
  keyMover.transposeIn(keyT, lanes, firstKey, lanes, p.scale);
  valueMover.transposeIn(valueT, lanes, firstKey, lanes, 1);
  if (wantQuery)
    keyMover.copyIn(key, dStep, firstKey, keys, p.scale);
  tile.fill(keyGradient, dStep * lanes, 0);
  tile.fill(valueGradient, eStep * lanes, 0);
  Value firstQuery = p.causal ? code.max(code.i64(0), code.sub(firstKey, code.i64(p.S - p.T))) : code.i64(0);
  code.loop(code.i64(0), code.i64(plan.heads()), 1, [&](Value i) {
    Value h = code.add(code.mul(group, plan.heads()), i);
    code.loop(firstQuery, code.i64(p.T), plan.queryBlock, [&](Value t) { emitQueryBlock(h, firstKey, t, keys); });
  });
  if (wantKey) {
    Value factors = tile.buffer(lanes);
    tile.fill(factors, lanes, p.scale);
    Mover(tile, *p.stores[1], stage.output(*p.stores[1]), b, group).transposeOut(keyGradient, lanes, firstKey, lanes, factors);
  }
  if (wantValue)
    Mover(tile, *p.stores[2], stage.output(*p.stores[2]), b, group).transposeOut(valueGradient, lanes, firstKey, lanes, {});
}

void Backward::emitQueryBlock(Value h, Value firstKey, Value firstQuery, Value keys) {
  Value queries = code.min(code.i64(plan.queryBlock), code.sub(code.i64(p.T), firstQuery));
  Mover(tile, p.query, stage.input(p.query), b, h).copyIn(query, dStep, firstQuery, queries, 1);
  Mover(tile, p.cotangent, stage.input(p.cotangent), b, h).copyIn(cotangent, eStep, firstQuery, queries, 1);
  code.loop(code.i64(0), queries, kRows, [&](Value row) { emitScores(h, firstKey, firstQuery, row); });
  // Vector v of the keys is seen by the queries from this start on.
  SmallVector<Segment, 4> segments;
  for (int64_t v = 1; p.causal && v < lanes / kLanes; ++v) {
    Value start = code.sub(code.add(firstKey, v * kLanes), code.add(firstQuery, p.S - p.T));
    segments.push_back({code.max(code.i64(0), code.min(start, queries)), 0, v});
  }
  if (p.causal)
    segments.push_back({queries, 0, lanes / kLanes});
  if (wantValue)
    tile.product({cotangent, 1, eStep, weights, lanes, valueGradient, lanes, queries, Product::Add, {}, segments}, p.E, lanes);
  if (wantKey)
    tile.product({query, 1, dStep, gradients, lanes, keyGradient, lanes, queries, Product::Add, {}, segments}, p.D, lanes);
  if (!wantQuery)
    return;
  auto countOf = [&](Value row) {
    return p.causal ? code.max(code.i64(0), code.min(keys, seenBy(firstKey, code.add(firstQuery, row)))) : keys;
  };
  tile.product({gradients, lanes, 1, key, dStep, queryTile, dStep, keys, Product::Zero, {}, {}}, queries, dStep, countOf);
  addQuery(h, firstQuery, queries);
}

/// How many keys from `firstKey` on the last query of the register tile that starts with query `t` sees.
Value Backward::seenBy(Value firstKey, Value t) { return code.sub(code.add(t, kRows + p.S - p.T), firstKey); }

/// Hides keys from the queries before them: scores of -inf, gradients of 0.
void Backward::emitCausal(Value firstKey, Value t, Value scoreRow, Value gradientRow) {
  Value hidden = code.number(tile.lanesType(), -std::numeric_limits<double>::infinity()), zero = code.number(tile.lanesType(), 0);
  code.loop(code.i64(0), code.i64(kRows), 1, [&](Value r) {
    Value seen = code.sub(code.add(code.add(t, r), p.S - p.T + 1), firstKey);
    for (int64_t v = 0; v < lanes; v += kLanes) {
      Value offset = code.add(code.mul(r, lanes), v), visible = tile.lanesBelow(code.sub(seen, code.i64(v)));
      Value score = tile.at(scoreRow, offset), gradient = tile.at(gradientRow, offset);
      tile.store(code.select(visible, tile.load(score), hidden), score);
      tile.store(code.select(visible, tile.load(gradient), zero), gradient);
    }
  });
}

/// P and dS for the queries [row, row + kRows) of the block. Rows past the last query hold anything.
void Backward::emitScores(Value h, Value firstKey, Value firstQuery, Value row) {
  int64_t vectors = lanes / kLanes;
  Value rowOffset = code.mul(row, lanes);
  Value weightRow = tile.at(weights, rowOffset), gradientRow = tile.at(gradients, rowOffset);
  Value t = code.add(firstQuery, row), seen = p.causal ? seenBy(firstKey, t) : Value();
  Value last = p.causal ? code.op("arith.shrsi", {code.sub(seen, code.i64(1)), code.i64(4)}, code.i64Type()) : Value();
  tile.choose(last, p.causal ? vectors : 1, [&](int64_t i) {
    int64_t active = p.causal ? i + 1 : vectors;
    tile.registerTile({tile.at(query, code.mul(row, dStep)), dStep, 1, keyT, lanes, weightRow, lanes, code.i64(p.D), Product::Zero, {}, {}},
                      kRows, active);
    tile.registerTile({tile.at(cotangent, code.mul(row, eStep)), eStep, 1, valueT, lanes, gradientRow, lanes, code.i64(p.E),
                       Product::Zero, {}, {}}, kRows, active);
  });
  if (p.causal) // the first query of the tile does not see all keys of the block
    code.ifThen(code.compare(arith::CmpIPredicate::slt, code.sub(seen, code.i64(kRows - 1)), code.i64(lanes)),
                [&] { emitCausal(firstKey, t, weightRow, gradientRow); });
  Value infinity = code.number(tile.f32(), std::numeric_limits<double>::infinity());
  Value minusInfinity = code.number(tile.f32(), -std::numeric_limits<double>::infinity());
  code.loop(code.i64(0), code.i64(kRows), 1, [&](Value r) {
    Value t = code.min(code.add(code.add(firstQuery, row), r), code.i64(p.T - 1));
    Value lse = Row(tile, p.lse, stage.input(p.lse), {b, h}).loadOne(t);
    // A row that sees no key: exp(score - inf) is zero.
    Value empty = code.op("arith.cmpf", {lse, minusInfinity}, code.b.getI1Type(), static_cast<int64_t>(arith::CmpFPredicate::OEQ));
    lse = code.splat(code.select(empty, infinity, lse), kLanes);
    Value deltaLanes = code.splat(Row(tile, delta, stage.pointer(OperandKind::Scratch, plan.deltaScratch), {b, h}).loadOne(t), kLanes);
    for (int64_t v = 0; v < vectors; ++v) {
      Value offset = code.add(code.mul(r, lanes), v * kLanes);
      Value at = tile.at(weightRow, offset), gradientAt = tile.at(gradientRow, offset);
      Value score = tile.load(at), column = code.add(firstKey, v * kLanes);
      if (p.mask) {
        Value inside = tile.lanesBelow(code.sub(code.i64(p.S), column));
        score = code.addf(score, Row(tile, *p.mask, stage.input(*p.mask), {b, h, t}).load(column, inside));
      }
      Value weight = tile.exp(code.subf(score, lse));
      tile.store(weight, at);
      tile.store(code.mulf(weight, code.subf(tile.load(gradientAt), deltaLanes)), gradientAt);
    }
  });
}

void Backward::addQuery(Value h, Value firstQuery, Value queries) {
  Mover mover(tile, queryGradient, queryBase, queryBatch, h);
  code.loop(code.i64(0), queries, 1, [&](Value r) {
    Row row = mover.row(code.add(firstQuery, r));
    mover.columns([&](Value column, Value mask) {
      Value part = tile.load(tile.at(queryTile, code.add(code.mul(r, dStep), column)));
      row.store(code.addf(row.load(column, mask), part), column, mask);
    });
  });
}

/// Calls `body` for each row (b, t, h) of a block of rows.
void overRows(const StageCode &stage, Value workgroup, llvm::function_ref<void(Value, Value, Value)> body) {
  Code &code = stage.code;
  const Problem &p = stage.problem;
  int64_t blocks = ceilDiv(p.T, kRowBlock);
  Value b = code.div(workgroup, blocks), first = code.mul(code.rem(workgroup, blocks), kRowBlock);
  Value end = code.min(code.add(first, kRowBlock), code.i64(p.T));
  code.loop(first, end, 1, [&](Value t) {
    code.loop(code.i64(0), code.i64(p.H), 1, [&](Value h) { body(b, t, h); });
  });
}

} // namespace

void emitBackward(const StageCode &stage, Value workgroup) { Backward(stage).emit(workgroup); }

void emitDelta(const StageCode &stage, Value workgroup) {
  TileCode &tile = stage.tile;
  Code &code = stage.code;
  const Problem &p = stage.problem;
  AffineView delta = deltaView(p);
  overRows(stage, workgroup, [&](Value b, Value t, Value h) {
    Row result(tile, p.forwardResult, stage.input(p.forwardResult), {b, t, h});
    Row cotangent(tile, p.cotangent, stage.input(p.cotangent), {b, t, h});
    int64_t even = p.E / kLanes * kLanes;
    Value sum = code.number(tile.lanesType(), 0);
    auto step = [&](Value sum, Value column, Value mask) { return code.fma(result.load(column, mask), cotangent.load(column, mask), sum); };
    if (even > 0)
      sum = code.loop(code.i64(0), code.i64(even), kLanes, sum, [&](Value column, ValueRange carried) {
        return SmallVector<Value>{step(carried[0], column, {})};
      })[0];
    if (even < p.E)
      sum = step(sum, code.i64(even), tile.lanesBelow(code.i64(p.E - even)));
    Value address = code.add(code.mul(code.add(code.mul(b, p.H), h), p.T), t);
    code.store(reduceLanes(code, Reduction::Sum, sum), tile.at(stage.pointer(OperandKind::Scratch, stage.plan.deltaScratch), address));
  });
}

void emitQuerySum(const StageCode &stage, Value workgroup) {
  TileCode &tile = stage.tile;
  Code &code = stage.code;
  const Problem &p = stage.problem;
  AffineView parts = partsView(stage.plan);
  Value source = stage.pointer(OperandKind::Scratch, stage.plan.queryScratch), target = stage.output(*p.stores[0]);
  overRows(stage, workgroup, [&](Value b, Value t, Value h) {
    Row row(tile, *p.stores[0], target, {b, t, h});
    Mover(tile, *p.stores[0], target, b, h).columns([&](Value column, Value mask) {
      Value sum;
      for (size_t chunk = 0; chunk + 1 < stage.plan.chunks.size(); ++chunk) {
        Value part = Row(tile, parts, source, {code.add(b, static_cast<int64_t>(chunk) * p.B), t, h}).load(column, mask);
        sum = sum ? code.addf(sum, part) : part;
      }
      row.store(sum, column, mask);
    });
  });
}

} // namespace llmc::codegen::attention
