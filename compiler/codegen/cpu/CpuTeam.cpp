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

} // namespace llmc::codegen
