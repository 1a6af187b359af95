//===- Forward.cpp - attention for a block of queries -------------------------===//
//
// Dao 2023 (FlashAttention-2) with transposed tiles: queries are lanes, so that maxima and sums over keys need no shuffles,
// and neither keys nor values are transposed.
//
//   Q^T <- scale * queries                                   [D, queries]
//   for each block of keys that a query of the block sees:
//     S^T <- K Q^T (+ mask)                                  [keys, queries]
//     m' <- max(m, S^T);  P^T <- exp(S^T - m');  c <- exp(m - m');  l <- c l + sum P^T;  m <- m'
//     O^T <- c O^T + V^T P^T                                 [E, queries]
//   result <- (O^T / l)^T;  lse <- m + log(l)
//
// m starts at the lowest finite number, so that a row that sees no key has l = 0 and no NaN on the way.
//
//===----------------------------------------------------------------------===//
#include "compiler/codegen/attention/Plan.h"
#include <limits>

using namespace mlir;

namespace llmc::codegen::attention {
namespace {

class Forward {
public:
  explicit Forward(const StageCode &stage) : stage(stage), plan(stage.plan), p(stage.problem), tile(stage.tile), code(stage.code) {}
  void emit(Value workgroup);

private:
  void emitKeyBlock(Value firstKey);
  void emitScores(Value firstKey, Value keys);
  void emitMask(Value firstKey);
  void emitCausal(Value firstKey, Value keys);
  void emitSoftmax(Value keys);
  void emitResults();

  const StageCode &stage;
  const Plan &plan;
  const Problem &p;
  TileCode &tile;
  Code &code;
  int64_t lanes, dStep, eStep; // elements of a tile's row
  Value b, h, group, firstQuery, seen;
  Value query, key, value, scores, result, top, sum, correction;
};

void Forward::emit(Value workgroup) {
  lanes = plan.queryBlock;
  dStep = roundUp(p.D, kLanes);
  eStep = roundUp(p.E, kLanes);
  int64_t blocks = ceilDiv(p.T, lanes);
  b = code.div(workgroup, p.H * blocks);
  h = code.rem(code.div(workgroup, blocks), p.H);
  group = code.div(h, plan.heads());
  Value block = code.rem(workgroup, blocks);
  if (p.causal) // the longest first
    block = code.sub(code.i64(blocks - 1), block);
  firstQuery = code.mul(block, lanes);
  seen = code.i64(p.S);
  if (p.causal)
    seen = code.max(code.i64(0), code.min(seen, code.add(firstQuery, lanes + p.S - p.T)));
  query = tile.buffer(dStep * lanes);
  key = tile.buffer((plan.keyBlock + kRows) * dStep);
  value = tile.buffer((plan.keyBlock + kRows) * eStep);
  scores = tile.buffer(roundUp(plan.keyBlock + kRows, kLanes) * lanes);
  result = tile.buffer(eStep * lanes);
  top = tile.buffer(lanes);
  sum = tile.buffer(lanes);
  correction = tile.buffer(lanes);
  Mover(tile, p.query, stage.input(p.query), b, h).transposeIn(query, lanes, firstQuery, lanes, p.scale);
  tile.fill(key, (plan.keyBlock + kRows) * dStep, 0); // rows past the last key are multiplied too, and denormals are slow
  tile.fill(result, eStep * lanes, 0);
  tile.fill(top, lanes, -std::numeric_limits<float>::max());
  tile.fill(sum, lanes, 0);
  code.loop(code.i64(0), seen, plan.keyBlock, [&](Value firstKey) { emitKeyBlock(firstKey); });
  emitResults();
}

void Forward::emitKeyBlock(Value firstKey) {
  Value keys = code.min(code.sub(seen, firstKey), code.i64(plan.keyBlock));
  Mover(tile, p.key, stage.input(p.key), b, group).copyIn(key, dStep, firstKey, keys, 1);
  Mover(tile, p.value, stage.input(p.value), b, group).copyIn(value, eStep, firstKey, keys, 1);
  emitScores(firstKey, keys);
  if (p.mask)
    emitMask(firstKey);
  if (p.causal) {
    Value lastSeenByFirst = code.add(firstQuery, p.S - p.T);
    code.ifThen(code.compare(arith::CmpIPredicate::sgt, code.sub(code.add(firstKey, keys), code.i64(1)), lastSeenByFirst),
                [&] { emitCausal(firstKey, keys); });
  }
  emitSoftmax(keys);
  Product weighted{value, 1, eStep, scores, lanes, result, lanes, keys, Product::ScaleAndAdd, correction, {}};
  // Vector v of the queries sees keys before this end only.
  for (int64_t v = 0; p.causal && v < lanes / kLanes; ++v) {
    Value end = code.add(code.sub(firstQuery, firstKey), p.S - p.T + (v + 1) * kLanes);
    weighted.segments.push_back({code.max(code.i64(0), code.min(end, keys)), v, lanes / kLanes - v});
  }
  tile.product(weighted, p.E, lanes);
}

/// S^T, without vectors of queries that come before all keys of a register tile.
void Forward::emitScores(Value firstKey, Value keys) {
  code.loop(code.i64(0), keys, kRows, [&](Value row) {
    int64_t vectors = lanes / kLanes;
    Value before = code.sub(code.add(firstKey, row), code.add(firstQuery, p.S - p.T));
    Value hidden = p.causal ? code.op("arith.shrsi", {before, code.i64(4)}, code.i64Type()) : Value();
    tile.choose(hidden, p.causal ? vectors : 1, [&](int64_t skip) {
      Value column = code.i64(skip * kLanes);
      tile.registerTile({tile.at(key, code.mul(row, dStep)), dStep, 1, tile.at(query, column), lanes,
                         tile.at(scores, code.add(code.mul(row, lanes), column)), lanes, code.i64(p.D), Product::Zero, {}, {}},
                        kRows, vectors - skip);
    });
  });
}

/// Adds the mask, read along the keys and transposed.
void Forward::emitMask(Value firstKey) {
  Value base = stage.input(*p.mask), last = code.i64(p.T - 1);
  code.loop(code.i64(0), code.i64(plan.keyBlock), kLanes, [&](Value k) {
    Value column = code.add(firstKey, k), inside = tile.lanesBelow(code.sub(code.i64(p.S), column));
    code.loop(code.i64(0), code.i64(lanes), kLanes, [&](Value q) {
      SmallVector<Value> block;
      for (int64_t i = 0; i < kLanes; ++i) {
        Value t = code.min(code.add(code.add(firstQuery, q), i), last);
        block.push_back(Row(tile, *p.mask, base, {b, h, t}).load(column, inside));
      }
      for (auto [i, mask] : llvm::enumerate(tile.transpose(block))) {
        Value at = tile.at(scores, code.add(code.mul(code.add(k, static_cast<int64_t>(i)), lanes), q));
        tile.store(code.addf(tile.load(at), mask), at);
      }
    });
  });
}

/// Hides keys from the queries before them.
void Forward::emitCausal(Value firstKey, Value keys) {
  Value hidden = code.number(tile.lanesType(), -std::numeric_limits<double>::infinity());
  code.loop(code.i64(0), keys, 1, [&](Value k) {
    // Lane q sees the key if firstKey + k <= firstQuery + q + S - T.
    Value firstSeeing = code.sub(code.add(firstKey, k), code.add(firstQuery, p.S - p.T));
    for (int64_t v = 0; v < lanes; v += kLanes) {
      Value at = tile.at(scores, code.add(code.mul(k, lanes), v));
      Value unseen = tile.lanesBelow(code.sub(firstSeeing, code.i64(v)));
      tile.store(code.select(unseen, hidden, tile.load(at)), at);
    }
  });
}

void Forward::emitSoftmax(Value keys) {
  int64_t vectors = lanes / kLanes;
  SmallVector<Value> before, sums;
  for (int64_t v = 0; v < vectors; ++v)
    before.push_back(tile.load(tile.at(top, v * kLanes)));
  auto score = [&](Value k, int64_t v) { return tile.at(scores, code.add(code.mul(k, lanes), v * kLanes)); };
  SmallVector<Value> tops = code.loop(code.i64(0), keys, 1, before, [&](Value k, ValueRange carried) {
    SmallVector<Value> next;
    for (int64_t v = 0; v < vectors; ++v)
      next.push_back(code.fastMax(tile.load(score(k, v)), carried[v]));
    return next;
  });
  for (int64_t v = 0; v < vectors; ++v) {
    Value factor = tile.exp(code.subf(before[v], tops[v]));
    tile.store(tops[v], tile.at(top, v * kLanes));
    tile.store(factor, tile.at(correction, v * kLanes));
    sums.push_back(code.mulf(factor, tile.load(tile.at(sum, v * kLanes))));
  }
  sums = code.loop(code.i64(0), keys, 1, sums, [&](Value k, ValueRange carried) {
    SmallVector<Value> next;
    for (int64_t v = 0; v < vectors; ++v) {
      Value weight = tile.exp(code.subf(tile.load(score(k, v)), tops[v]));
      tile.store(weight, score(k, v));
      next.push_back(code.addf(carried[v], weight));
    }
    return next;
  });
  for (int64_t v = 0; v < vectors; ++v)
    tile.store(sums[v], tile.at(sum, v * kLanes));
}

void Forward::emitResults() {
  Type type = tile.lanesType(), i1 = Code::vectorOf(code.b.getI1Type(), kLanes);
  Value zero = code.number(type, 0), one = code.number(type, 1);
  for (int64_t v = 0; v < lanes; v += kLanes) {
    Value total = tile.load(tile.at(sum, v));
    Value empty = code.op("arith.cmpf", {total, zero}, i1, static_cast<int64_t>(arith::CmpFPredicate::OEQ));
    tile.store(code.select(empty, zero, code.divf(one, total)), tile.at(correction, v));
    if (!p.stores[1])
      continue;
    Value lse = code.addf(tile.load(tile.at(top, v)), code.op("math.log", {total}, type));
    lse = code.select(empty, code.number(type, -std::numeric_limits<double>::infinity()), lse);
    Value first = code.add(firstQuery, v);
    Value inside = p.T % lanes == 0 ? Value() : tile.lanesBelow(code.sub(code.i64(p.T), first));
    Row(tile, *p.stores[1], stage.output(*p.stores[1]), {b, h}).store(lse, first, inside);
  }
  if (p.stores[0])
    Mover(tile, *p.stores[0], stage.output(*p.stores[0]), b, h).transposeOut(result, lanes, firstQuery, lanes, correction);
}

} // namespace

void emitForward(const StageCode &stage, Value workgroup) { Forward(stage).emit(workgroup); }

} // namespace llmc::codegen::attention
