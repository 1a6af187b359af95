//===- Forward.cpp - attention for a block of queries -------------------------===//
//
// Dao 2023 (FlashAttention-2) with transposed tiles: queries are lanes, so that maxima and sums over keys need no shuffles,
// and neither keys nor values are transposed.
//
//   Q^T <- scale * queries                                   [D, queries]
//   for each block of keys that a query of the block sees:   (once for all blocks of queries of the workgroup)
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
  /// A block of queries with its tiles.
  struct Panel {
    Value firstQuery, query, result, top, sum;
  };
  Panel panel(Value index);
  /// How many keys are seen by the last of the panel's queries.
  Value seenBy(Value firstQuery);
  void emitKeyBlock(Value firstKey, Value seen);
  void emitPanel(const Panel &panel, Value firstKey, Value keys);
  void emitScores(const Panel &panel, Value firstKey, Value keys);
  void emitMask(const Panel &panel, Value firstKey);
  void emitCausal(const Panel &panel, Value firstKey, Value keys);
  void emitSoftmax(const Panel &panel, Value keys);
  void emitResults(const Panel &panel);
  void overPanels(llvm::function_ref<void(const Panel &)> body);

  const StageCode &stage;
  const Plan &plan;
  const Problem &p;
  TileCode &tile;
  Code &code;
  int64_t lanes, dStep, eStep; // elements of a tile's row
  Value b, h, group, firstQuery;
  Value key, value, scores, correction;
  Panel all; // the tiles of all panels, one after the other
};

Forward::Panel Forward::panel(Value index) {
  Value statistics = code.mul(index, lanes);
  return {code.add(firstQuery, code.mul(index, lanes)), tile.at(all.query, code.mul(index, dStep * lanes)),
          tile.at(all.result, code.mul(index, eStep * lanes)), tile.at(all.top, statistics), tile.at(all.sum, statistics)};
}

void Forward::overPanels(llvm::function_ref<void(const Panel &)> body) {
  if (plan.panels == 1)
    return body(panel(code.i64(0)));
  code.loop(code.i64(0), code.i64(plan.panels), 1, [&](Value index) {
    Panel each = panel(index);
    code.ifThen(code.compare(arith::CmpIPredicate::slt, each.firstQuery, code.i64(p.T)), [&] { body(each); });
  });
}

Value Forward::seenBy(Value first) {
  if (!p.causal)
    return code.i64(p.S);
  return code.max(code.i64(0), code.min(code.i64(p.S), code.add(first, lanes + p.S - p.T)));
}

void Forward::emit(Value workgroup) {
  lanes = plan.queryBlock;
  dStep = roundUp(p.D, kLanes);
  eStep = roundUp(p.E, kLanes);
  int64_t blocks = ceilDiv(p.T, lanes * plan.panels);
  b = code.div(workgroup, p.H * blocks);
  h = code.rem(code.div(workgroup, blocks), p.H);
  group = code.div(h, plan.heads());
  Value block = code.rem(workgroup, blocks);
  if (p.causal) // the longest first
    block = code.sub(code.i64(blocks - 1), block);
  firstQuery = code.mul(block, lanes * plan.panels);
  key = tile.buffer((plan.keyBlock + kRows) * dStep);
  // Rows past the last key are multiplied too, and denormals are slow.
  tile.fill(key, (plan.keyBlock + kRows) * dStep, 0);
  value = tile.buffer(plan.keyBlock * eStep);
  scores = tile.buffer(roundUp(plan.keyBlock + kRows, kLanes) * lanes);
  correction = tile.buffer(lanes);
  all = {firstQuery, tile.buffer(plan.panels * dStep * lanes), tile.buffer(plan.panels * eStep * lanes), tile.buffer(plan.panels * lanes),
         tile.buffer(plan.panels * lanes)};
  overPanels([&](const Panel &panel) {
    Mover(tile, p.query, stage.input(p.query), b, h).transposeIn(panel.query, lanes, panel.firstQuery, lanes, p.scale);
    tile.fill(panel.result, eStep * lanes, 0);
    tile.fill(panel.top, lanes, -std::numeric_limits<float>::max());
    tile.fill(panel.sum, lanes, 0);
  });
  Value seen = seenBy(code.add(firstQuery, (plan.panels - 1) * lanes));
  code.loop(code.i64(0), seen, plan.keyBlock, [&](Value firstKey) { emitKeyBlock(firstKey, seen); });
  overPanels([&](const Panel &panel) { emitResults(panel); });
}

void Forward::emitKeyBlock(Value firstKey, Value seen) {
  Value keys = code.min(code.sub(seen, firstKey), code.i64(plan.keyBlock));
  Mover(tile, p.key, stage.input(p.key), b, group).copyIn(key, dStep, firstKey, keys, 1);
  Mover(tile, p.value, stage.input(p.value), b, group).copyIn(value, eStep, firstKey, keys, 1);
  overPanels([&](const Panel &panel) {
    if (plan.panels == 1 || !p.causal)
      return emitPanel(panel, firstKey, keys);
    Value seenByPanel = code.sub(seenBy(panel.firstQuery), firstKey);
    code.ifThen(code.compare(arith::CmpIPredicate::sgt, seenByPanel, code.i64(0)),
                [&] { emitPanel(panel, firstKey, code.min(keys, seenByPanel)); });
  });
}

void Forward::emitPanel(const Panel &panel, Value firstKey, Value keys) {
  emitScores(panel, firstKey, keys);
  if (p.mask)
    emitMask(panel, firstKey);
  if (p.causal) {
    Value lastSeenByFirst = code.add(panel.firstQuery, p.S - p.T);
    code.ifThen(code.compare(arith::CmpIPredicate::sgt, code.sub(code.add(firstKey, keys), code.i64(1)), lastSeenByFirst),
                [&] { emitCausal(panel, firstKey, keys); });
  }
  emitSoftmax(panel, keys);
  Product weighted{value, 1, eStep, scores, lanes, panel.result, lanes, keys, Product::ScaleAndAdd, correction, {}};
  // Vector v of the queries sees keys before this end only.
  for (int64_t v = 0; p.causal && v < lanes / kLanes; ++v) {
    Value end = code.add(code.sub(panel.firstQuery, firstKey), p.S - p.T + (v + 1) * kLanes);
    weighted.segments.push_back({code.max(code.i64(0), code.min(end, keys)), v, lanes / kLanes - v});
  }
  tile.product(weighted, p.E, lanes);
}

/// S^T, without vectors of queries that come before all keys of a register tile.
void Forward::emitScores(const Panel &panel, Value firstKey, Value keys) {
  code.loop(code.i64(0), keys, kRows, [&](Value row) {
    int64_t vectors = lanes / kLanes;
    Product product{tile.at(key, code.mul(row, dStep)), dStep, 1, {}, lanes, {}, lanes, code.i64(p.D), Product::Zero, {}, {}};
    Value before = code.sub(code.add(firstKey, row), code.add(panel.firstQuery, p.S - p.T));
    Value hidden = p.causal ? code.op("arith.shrsi", {before, code.i64(4)}, code.i64Type()) : Value();
    tile.choose(hidden, p.causal ? vectors : 1, [&](int64_t skip) {
      Value column = code.i64(skip * kLanes);
      product.b = tile.at(panel.query, column);
      product.c = tile.at(scores, code.add(code.mul(row, lanes), column));
      tile.registerTile(product, kRows, vectors - skip);
    });
  });
}

/// Adds the mask, read along the keys and transposed.
void Forward::emitMask(const Panel &panel, Value firstKey) {
  Value base = stage.input(*p.mask), last = code.i64(p.T - 1);
  code.loop(code.i64(0), code.i64(plan.keyBlock), kLanes, [&](Value k) {
    Value column = code.add(firstKey, k), inside = tile.lanesBelow(code.sub(code.i64(p.S), column));
    code.loop(code.i64(0), code.i64(lanes), kLanes, [&](Value q) {
      SmallVector<Value> block;
      for (int64_t i = 0; i < kLanes; ++i) {
        Value t = code.min(code.add(code.add(panel.firstQuery, q), i), last);
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
void Forward::emitCausal(const Panel &panel, Value firstKey, Value keys) {
  Value hidden = code.number(tile.lanesType(), -std::numeric_limits<double>::infinity());
  code.loop(code.i64(0), keys, 1, [&](Value k) {
    // Lane q sees the key if firstKey + k <= panel.firstQuery + q + S - T.
    Value firstSeeing = code.sub(code.add(firstKey, k), code.add(panel.firstQuery, p.S - p.T));
    for (int64_t v = 0; v < lanes; v += kLanes) {
      Value at = tile.at(scores, code.add(code.mul(k, lanes), v));
      Value unseen = tile.lanesBelow(code.sub(firstSeeing, code.i64(v)));
      tile.store(code.select(unseen, hidden, tile.load(at)), at);
    }
  });
}

void Forward::emitSoftmax(const Panel &panel, Value keys) {
  int64_t vectors = lanes / kLanes;
  SmallVector<Value> before, sums;
  for (int64_t v = 0; v < vectors; ++v)
    before.push_back(tile.load(tile.at(panel.top, v * kLanes)));
  auto score = [&](Value k, int64_t v) { return tile.at(scores, code.add(code.mul(k, lanes), v * kLanes)); };
  SmallVector<Value> tops = code.loop(code.i64(0), keys, 1, before, [&](Value k, ValueRange carried) {
    SmallVector<Value> next;
    for (int64_t v = 0; v < vectors; ++v)
      next.push_back(code.fastMax(tile.load(score(k, v)), carried[v]));
    return next;
  });
  for (int64_t v = 0; v < vectors; ++v) {
    Value factor = tile.exp(code.subf(before[v], tops[v]));
    tile.store(tops[v], tile.at(panel.top, v * kLanes));
    tile.store(factor, tile.at(correction, v * kLanes));
    sums.push_back(code.mulf(factor, tile.load(tile.at(panel.sum, v * kLanes))));
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
    tile.store(sums[v], tile.at(panel.sum, v * kLanes));
}

void Forward::emitResults(const Panel &panel) {
  Type type = tile.lanesType(), i1 = Code::vectorOf(code.b.getI1Type(), kLanes);
  Value zero = code.number(type, 0), one = code.number(type, 1);
  for (int64_t v = 0; v < lanes; v += kLanes) {
    Value total = tile.load(tile.at(panel.sum, v));
    Value empty = code.op("arith.cmpf", {total, zero}, i1, static_cast<int64_t>(arith::CmpFPredicate::OEQ));
    tile.store(code.select(empty, zero, code.divf(one, total)), tile.at(correction, v));
    if (!p.stores[1])
      continue;
    Value lse = code.addf(tile.load(tile.at(panel.top, v)), code.op("math.log", {total}, type));
    lse = code.select(empty, code.number(type, -std::numeric_limits<double>::infinity()), lse);
    Value first = code.add(panel.firstQuery, v);
    Value inside = p.T % lanes == 0 ? Value() : tile.lanesBelow(code.sub(code.i64(p.T), first));
    Row(tile, *p.stores[1], stage.output(*p.stores[1]), {b, h}).store(lse, first, inside);
  }
  if (p.stores[0])
    Mover(tile, *p.stores[0], stage.output(*p.stores[0]), b, h).transposeOut(panel.result, lanes, panel.firstQuery, lanes, correction);
}

} // namespace

void emitForward(const StageCode &stage, Value workgroup) { Forward(stage).emit(workgroup); }

} // namespace llmc::codegen::attention
