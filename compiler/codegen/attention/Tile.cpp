//===- Tile.cpp - products, transposition and exponentials on tiles of f32 ----===//
//
// A register tile of 6 rows and 64 columns has 24 accumulators of 16 lanes, 4 vectors of B and one broadcast element of A:
// 29 of the 32 registers of AVX-512. With 16 registers of half the size, a tile has 16 columns: 12 accumulators.
//
//===----------------------------------------------------------------------===//
#include "compiler/codegen/attention/Tile.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"
#include <limits>

using namespace mlir;

namespace llmc::codegen::attention {

Value TileCode::lanesBelow(Value count) {
  Value clamped = code.max(code.min(count, code.i64(kLanes)), code.i64(0));
  Value narrow = code.op("arith.trunci", clamped, code.b.getI32Type());
  return code.compare(arith::CmpIPredicate::slt, code.iota(code.b.getI32Type(), kLanes), code.splat(narrow, kLanes));
}

void TileCode::fill(Value pointer, int64_t elements, double value) {
  Value lanes = code.number(lanesType(), value);
  code.loop(code.i64(0), code.i64(elements), kLanes, [&](Value i) { store(lanes, at(pointer, i)); });
}

/// The same as one tile for each vector.
void TileCode::narrowTile(const Product &p, int64_t rows, int64_t vectors) {
  for (int64_t v = 0; v < vectors; ++v) {
    Product part = p;
    part.b = at(p.b, v * kLanes);
    part.c = at(p.c, v * kLanes);
    if (p.scale)
      part.scale = at(p.scale, v * kLanes);
    part.segments.clear();
    for (const Segment &segment : p.segments) {
      bool active = v >= segment.firstVector && v < segment.firstVector + segment.vectors;
      if (!part.segments.empty() && part.segments.back().vectors == active)
        part.segments.back().end = segment.end;
      else
        part.segments.push_back({segment.end, 0, active});
    }
    registerTile(part, rows, 1);
  }
}

void TileCode::registerTile(const Product &p, int64_t rows, int64_t vectors) {
  if (!code.wideRegisters && vectors > 1)
    return narrowTile(p, rows, vectors);
  SmallVector<Value> sums, scales;
  for (int64_t v = 0; v < vectors && p.start == Product::ScaleAndAdd; ++v)
    scales.push_back(load(at(p.scale, v * kLanes)));
  for (int64_t r = 0; r < rows; ++r)
    for (int64_t v = 0; v < vectors; ++v) {
      if (p.start == Product::Zero) {
        sums.push_back(code.number(lanesType(), 0));
        continue;
      }
      Value before = load(at(p.c, r * p.cRow + v * kLanes));
      sums.push_back(p.start == Product::Add ? before : code.mulf(before, scales[v]));
    }
  SmallVector<Segment, 4> segments = p.segments;
  if (segments.empty())
    segments.push_back({p.count, 0, vectors});
  Value begin = code.i64(0);
  for (const Segment &segment : segments) {
    if (segment.vectors == 0) {
      begin = segment.end;
      continue;
    }
    SmallVector<Value> active;
    auto index = [&](int64_t r, int64_t v) { return r * vectors + segment.firstVector + v; };
    for (int64_t r = 0; r < rows; ++r)
      for (int64_t v = 0; v < segment.vectors; ++v)
        active.push_back(sums[index(r, v)]);
    active = code.loop(begin, segment.end, 1, active, [&](Value k, ValueRange carried) {
      SmallVector<Value> next(carried.begin(), carried.end()), b;
      Value a = at(p.a, code.mul(k, p.aStep)), bRow = at(p.b, code.mul(k, p.bStep));
      for (int64_t v = 0; v < segment.vectors; ++v)
        b.push_back(load(at(bRow, (segment.firstVector + v) * kLanes)));
      for (int64_t r = 0; r < rows; ++r) {
        Value element = broadcast(at(a, r * p.aRow));
        for (int64_t v = 0; v < segment.vectors; ++v) {
          Value &sum = next[r * segment.vectors + v];
          sum = code.fma(element, b[v], sum);
        }
      }
      return next;
    });
    for (int64_t r = 0; r < rows; ++r)
      for (int64_t v = 0; v < segment.vectors; ++v)
        sums[index(r, v)] = active[r * segment.vectors + v];
    begin = segment.end;
  }
  for (int64_t r = 0; r < rows; ++r)
    for (int64_t v = 0; v < vectors; ++v)
      store(sums[r * vectors + v], at(p.c, r * p.cRow + v * kLanes));
}

void TileCode::choose(Value index, int64_t count, llvm::function_ref<void(int64_t)> emit) {
  if (count == 1)
    return emit(0);
  for (int64_t i = 0; i < count; ++i) {
    auto predicate = i == 0 ? arith::CmpIPredicate::sle : i + 1 == count ? arith::CmpIPredicate::sge : arith::CmpIPredicate::eq;
    code.ifThen(code.compare(predicate, index, code.i64(i)), [&] { emit(i); });
  }
}

void TileCode::panels(const Product &whole, int64_t columns, llvm::function_ref<void(EmitRows)> overRows) {
  constexpr int64_t panel = 4 * kLanes;
  auto emit = [&](Value column, int64_t vectors) {
    overRows([&](Value row, int64_t rows, Value count) {
      Product p = whole;
      p.a = at(whole.a, code.mul(row, whole.aRow));
      p.b = at(whole.b, column);
      p.c = at(whole.c, code.add(code.mul(row, whole.cRow), column));
      if (count)
        p.count = count;
      if (whole.scale)
        p.scale = at(whole.scale, column);
      registerTile(p, rows, vectors);
    });
  };
  int64_t even = columns / panel * panel;
  if (even > panel)
    code.loop(code.i64(0), code.i64(even), panel, [&](Value column) { emit(column, 4); });
  else if (even > 0)
    emit(code.i64(0), 4);
  if (even < columns)
    emit(code.i64(even), (columns - even) / kLanes);
}

void TileCode::product(const Product &p, int64_t rows, int64_t columns) {
  panels(p, columns, [&](EmitRows emit) {
    int64_t even = rows / kRows * kRows;
    if (even > 0)
      code.loop(code.i64(0), code.i64(even), kRows, [&](Value row) { emit(row, kRows, {}); });
    if (even < rows)
      emit(code.i64(even), rows - even, {});
  });
}

void TileCode::product(const Product &p, Value rows, int64_t columns, llvm::function_ref<Value(Value)> countOf) {
  panels(p, columns, [&](EmitRows emit) {
    code.loop(code.i64(0), rows, kRows, [&](Value row) { emit(row, kRows, countOf ? countOf(row) : Value()); });
  });
}

SmallVector<Value> TileCode::transpose(ArrayRef<Value> rows) {
  SmallVector<Value> result(rows);
  for (int64_t step = 1; step < kLanes; step *= 2)
    for (int64_t i = 0; i < kLanes; ++i) {
      if (i & step)
        continue;
      SmallVector<int64_t> low, high;
      for (int64_t lane = 0; lane < kLanes; ++lane) {
        low.push_back(lane & step ? kLanes + lane - step : lane);
        high.push_back(lane & step ? kLanes + lane : lane + step);
      }
      Value x = result[i], y = result[i + step];
      result[i] = vector::ShuffleOp::create(code.b, code.loc, x, y, low);
      result[i + step] = vector::ShuffleOp::create(code.b, code.loc, x, y, high);
    }
  return result;
}

// exp(x) = 2^n 2^f, n = round(x log2(e)), f in [-1/2, 1/2]. Adding 1.5 * 2^23 + 127 rounds to an integer whose low bits are
// the exponent n + 127. The polynomial is Cephes' exp2f.
Value TileCode::exp(Value x) {
  auto constant = [&](double value) { return code.number(x.getType(), value); };
  constexpr double log2e = 1.4426950408889634;
  // NaN is no less than anything, and stays.
  Value lowest = constant(-88.0);
  Type i1 = Code::vectorOf(code.b.getI1Type(), kLanes);
  Value isLow = code.op("arith.cmpf", {x, lowest}, i1, static_cast<int64_t>(arith::CmpFPredicate::OLT));
  x = code.select(isLow, lowest, x);
  Value magic = constant(12582912.0 + 127.0);
  Value shifted = code.fma(x, constant(log2e), magic);
  Value rounded = code.subf(shifted, magic);
  Value f = code.fma(x, constant(log2e), code.op("arith.negf", rounded, x.getType()));
  Value sum = constant(1.535336188319500e-4);
  for (double coefficient : {1.339887440266574e-3, 9.618437357674640e-3, 5.550332471162809e-2, 2.402264791363012e-1,
                             6.931472028550421e-1, 1.0})
    sum = code.fma(sum, f, constant(coefficient));
  Type integers = Code::vectorOf(code.b.getI32Type(), kLanes);
  Value bits = code.op("arith.bitcast", shifted, integers);
  bits = code.op("arith.shli", {bits, code.integer(integers, 23)}, integers);
  return code.mulf(sum, code.op("arith.bitcast", bits, x.getType()));
}

Row::Row(TileCode &tile, const AffineView &view, Value base, ArrayRef<Value> indices) : tile(tile), view(view) {
  if (view.tensor < 0)
    return;
  Code &code = tile.code;
  Value offset = code.i64(view.offset);
  for (auto [index, size, stride] : llvm::zip(indices, view.shape, view.strides))
    if (size > 1)
      offset = code.add(offset, code.mul(index, stride));
  pointer = code.address(base, storageType(code.b.getContext(), view.type), offset);
}

Value Row::address(Value column) const {
  Code &code = tile.code;
  return code.address(pointer, storageType(code.b.getContext(), view.type), code.mul(column, view.strides.back()));
}

/// What is added to a score for a mask element.
static Value additive(TileCode &tile, ElementKind type, Value value) {
  if (type != ElementKind::I1)
    return value;
  auto vector = dyn_cast<VectorType>(value.getType());
  Type real = Code::vectorOf(tile.f32(), vector ? kLanes : 0);
  return tile.code.select(value, tile.code.number(real, 0), tile.code.number(real, -std::numeric_limits<double>::infinity()));
}

Value Row::load(Value column, Value mask) const {
  bool unseen = view.type == ElementKind::I1 && view.splat == 0;
  if (view.tensor < 0)
    return tile.code.number(tile.lanesType(), view.type == ElementKind::I1 ? (unseen ? -std::numeric_limits<double>::infinity() : 0) : view.splat);
  int64_t stride = view.shape.back() == 1 ? 1 : view.strides.back();
  return additive(tile, view.type, tile.code.loadElements(view.type, address(column), kLanes, stride, mask));
}

Value Row::loadOne(Value column) const {
  if (view.tensor < 0)
    return tile.code.number(tile.f32(), view.splat);
  return additive(tile, view.type, tile.code.loadElements(view.type, address(column), 0));
}

void Row::store(Value value, Value column, Value mask) const {
  int64_t stride = view.shape.back() == 1 ? 1 : view.strides.back();
  tile.code.storeElements(view.type, value, address(column), stride, mask);
}

void Mover::columns(llvm::function_ref<void(Value, Value)> body) {
  Code &code = tile.code;
  int64_t even = size / kLanes * kLanes;
  if (even > 0)
    code.loop(code.i64(0), code.i64(even), kLanes, [&](Value column) { body(column, Value()); });
  if (even < size)
    body(code.i64(even), tile.lanesBelow(code.i64(size - even)));
}

static Value times(Code &code, Value value, double factor) {
  return factor == 1 ? value : code.mulf(value, code.number(value.getType(), factor));
}

void Mover::copyIn(Value target, int64_t rowStep, Value first, Value rows, double factor) {
  Code &code = tile.code;
  code.loop(code.i64(0), rows, 1, [&](Value r) {
    Row source = row(code.add(first, r));
    columns([&](Value column, Value mask) {
      tile.store(times(code, source.load(column, mask), factor), tile.at(target, code.add(code.mul(r, rowStep), column)));
    });
  });
}

void Mover::transposeIn(Value target, int64_t rowStep, Value first, int64_t rows, double factor) {
  Code &code = tile.code;
  Value last = code.i64(view.shape[1] - 1);
  code.loop(code.i64(0), code.i64(rows), kLanes, [&](Value r) {
    columns([&](Value column, Value mask) {
      SmallVector<Value> block;
      for (int64_t i = 0; i < kLanes; ++i)
        block.push_back(row(code.min(code.add(code.add(first, r), i), last)).load(column, mask));
      for (auto [i, lanes] : llvm::enumerate(tile.transpose(block))) {
        Value at = code.add(code.mul(code.add(column, static_cast<int64_t>(i)), rowStep), r);
        tile.store(times(code, lanes, factor), tile.at(target, at));
      }
    });
  });
}

void Mover::transposeOut(Value source, int64_t rowStep, Value first, int64_t rows, Value factors) {
  Code &code = tile.code;
  bool whole = view.shape[1] % rows == 0;
  code.loop(code.i64(0), code.i64(rows), kLanes, [&](Value r) {
    Value factor = factors ? tile.load(tile.at(factors, r)) : Value();
    columns([&](Value column, Value mask) {
      SmallVector<Value> block;
      for (int64_t i = 0; i < kLanes; ++i) {
        Value lanes = tile.load(tile.at(source, code.add(code.mul(code.add(column, i), rowStep), r)));
        block.push_back(factor ? code.mulf(lanes, factor) : lanes);
      }
      for (auto [i, lanes] : llvm::enumerate(tile.transpose(block))) {
        Value index = code.add(code.add(first, r), static_cast<int64_t>(i));
        if (whole) {
          row(index).store(lanes, column, mask);
          continue;
        }
        code.ifThen(code.compare(arith::CmpIPredicate::slt, index, code.i64(view.shape[1])),
                    [&] { row(index).store(lanes, column, mask); });
      }
    });
  });
}

} // namespace llmc::codegen::attention
