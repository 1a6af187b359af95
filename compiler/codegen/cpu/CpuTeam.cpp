//===- CpuTeam.cpp - one thread with vectors ----------------------------------===//
#include "compiler/codegen/cpu/CpuTeam.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"

using namespace mlir;

namespace llmc::codegen {

static Value slice(Code &code, Value vector, int64_t offset, int64_t size) {
  SmallVector<int64_t> mask;
  for (int64_t i = 0; i < size; ++i)
    mask.push_back(offset + i);
  return vector::ShuffleOp::create(code.b, code.loc, vector, vector, mask);
}

/// Halves a vector down to `width` lanes.
static Value fold(Code &code, Reduction kind, Value vector, int64_t width) {
  for (int64_t size = cast<VectorType>(vector.getType()).getDimSize(0); size > width; size /= 2)
    vector = combine(code, kind, slice(code, vector, 0, size / 2), slice(code, vector, size / 2, size / 2));
  return vector;
}

Value reduceLanes(Code &code, Reduction kind, Value vector) {
  Value last = fold(code, kind, vector, 1);
  return vector::ExtractOp::create(code.b, code.loc, last, ArrayRef<int64_t>{0});
}

SmallVector<Value> CpuTeam::walk(Code &code, Value begin, Value end, int64_t count, Body body,
                                 ArrayRef<Accumulator> accumulators, WalkBody emit) {
  constexpr int64_t narrow = 16;
  int64_t wide = body == Body::Light ? 64 : body == Body::Heavy ? 32 : 16;
  auto initial = [&](int64_t width) {
    SmallVector<Value> values;
    for (const Accumulator &accumulator : accumulators)
      values.push_back(neutral(code, accumulator.kind, Code::vectorOf(accumulator.type, width)));
    return values;
  };
  SmallVector<Value> sums;
  Value middle = begin;
  if (count < 0 || count >= wide) {
    middle = count < 0 ? code.add(begin, code.mul(code.div(code.sub(end, begin), wide), wide)) : code.add(begin, count / wide * wide);
    sums = code.loop(begin, middle, wide, initial(wide), [&](Value column, ValueRange carried) {
      return emit({wide, column, Value(), wide}, carried);
    });
    for (auto [sum, accumulator] : llvm::zip(sums, accumulators))
      sum = fold(code, accumulator.kind, sum, narrow);
  }
  if (count < 0 || count % wide != 0) {
    SmallVector<Value> start = sums.empty() ? initial(narrow) : sums;
    Value iota = code.iota(code.b.getI32Type(), narrow);
    sums = code.loop(middle, end, narrow, start, [&](Value column, ValueRange carried) {
      Value left = arith::TruncIOp::create(code.b, code.loc, code.b.getI32Type(), code.min(code.sub(end, column), code.i64(narrow)));
      Value mask = code.compare(arith::CmpIPredicate::slt, iota, code.splat(left, narrow));
      SmallVector<Value> next = emit({narrow, column, mask, narrow}, carried);
      for (auto [value, before] : llvm::zip(next, carried))
        value = code.select(mask, value, before);
      return next;
    });
  }
  for (auto [sum, accumulator] : llvm::zip(sums, accumulators))
    sum = reduceLanes(code, accumulator.kind, sum);
  return sums;
}

/// Transposes square blocks of `vectors` in registers: exchanges blocks of half the size across the diagonal, then within.
static void transposeInRegisters(Code &code, SmallVectorImpl<Value> &vectors) {
  int64_t size = static_cast<int64_t>(vectors.size());
  for (int64_t half = size / 2; half > 0; half /= 2)
    for (int64_t row = 0; row < size; ++row) {
      if (row & half)
        continue;
      SmallVector<int64_t> first, second;
      for (int64_t lane = 0; lane < size; ++lane) {
        first.push_back(lane & half ? size + lane - half : lane);
        second.push_back(lane & half ? size + lane : lane + half);
      }
      Value a = vectors[row], b = vectors[row + half];
      vectors[row] = vector::ShuffleOp::create(code.b, code.loc, a, b, first);
      vectors[row + half] = vector::ShuffleOp::create(code.b, code.loc, a, b, second);
    }
}

/// Blocks of a vector's size where they are whole, else element by element. Rows of whole cache lines that nobody reads soon
/// are stored past the cache: rows far apart would be read first, and displace one another.
void CpuTeam::transpose(Code &code, const Tile &tile, Value source, Value target, Value countA, Value countB) {
  Type type = tile.type;
  int64_t bytes = type.getIntOrFloatBitWidth() / 8, size = std::min<int64_t>(16, 64 / bytes);
  bool pastCache = tile.streaming && size * bytes == 64 && tile.alignment % 64 == 0;
  auto wholeBlock = [&](Value a, Value b) {
    Value from = code.address(source, type, code.add(code.mul(a, tile.sourceStride), b));
    Value to = code.address(target, type, code.add(code.mul(b, tile.targetStride), a));
    SmallVector<Value> vectors;
    for (int64_t i = 0; i < size; ++i)
      vectors.push_back(code.load(Code::vectorOf(type, size), code.address(from, type, code.i64(i * tile.sourceStride))));
    transposeInRegisters(code, vectors);
    for (int64_t i = 0; i < size; ++i) {
      Value at = code.address(to, type, code.i64(i * tile.targetStride));
      LLVM::StoreOp::create(code.b, code.loc, vectors[i], at, static_cast<unsigned>(pastCache ? 64 : bytes), /*isVolatile=*/false, pastCache);
    }
  };
  auto partOfBlock = [&](Value a, Value b) {
    code.loop(b, code.min(code.add(b, size), countB), 1, [&](Value j) {
      code.loop(a, code.min(code.add(a, size), countA), 1, [&](Value i) {
        Value value = code.load(type, code.address(source, type, code.add(code.mul(i, tile.sourceStride), j)));
        code.store(value, code.address(target, type, code.add(code.mul(j, tile.targetStride), i)));
      });
    });
  };
  code.loop(code.i64(0), countA, size, [&](Value a) {
    Value wholeA = code.compare(arith::CmpIPredicate::sle, code.add(a, size), countA);
    code.loop(code.i64(0), countB, size, [&](Value b) {
      Value wholeB = code.compare(arith::CmpIPredicate::sle, code.add(b, size), countB);
      code.ifElse(code.op("arith.andi", {wholeA, wholeB}, code.b.getI1Type()), [&] { wholeBlock(a, b); }, [&] { partOfBlock(a, b); });
    });
  });
  if (pastCache) // such stores are ordered by nothing else
    LLVM::CallIntrinsicOp::create(code.b, code.loc, code.b.getStringAttr("llvm.x86.sse.sfence"), ValueRange());
}

} // namespace llmc::codegen
