//===- CudaTeam.cpp - the threads of a block ----------------------------------===//
#include "compiler/codegen/cuda/CudaTeam.h"
#include "compiler/codegen/cuda/GpuStage.h"
#include "mlir/Dialect/GPU/IR/GPUDialect.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"

using namespace mlir;

namespace llmc::codegen {

constexpr int64_t lanesPerThread = 4, warpSize = 32, maxAccumulators = 16;

CudaTeam::CudaTeam(Code &code, int64_t threads) : threads(threads) {
  Value id = gpu::ThreadIdOp::create(code.b, code.loc, code.b.getIndexType(), gpu::Dimension::x);
  thread = arith::IndexCastOp::create(code.b, code.loc, code.i64Type(), id);
  if (threads > warpSize) // allocated here, so that the address is known everywhere
    reductionSlots = allocate(code, maxAccumulators * threads / warpSize * 8);
}

static void barrier(Code &code) { gpu::BarrierOp::create(code.b, code.loc); }

Value CudaTeam::allocate(Code &code, int64_t bytes) {
  auto space = LLVM::LLVMPointerType::get(code.b.getContext(), kSharedSpace);
  OpBuilder::InsertionGuard guard(code.b);
  code.b.setInsertionPointAfterValue(thread);
  Value base = LLVM::AddressOfOp::create(code.b, code.loc, space, kSharedMemory);
  Value generic = LLVM::AddrSpaceCastOp::create(code.b, code.loc, code.pointerType(), base);
  Value result = code.address(generic, code.b.getI8Type(), code.i64(shared));
  shared += (bytes + 15) / 16 * 16;
  return result;
}

Value CudaTeam::rowBuffer(Code &code, int64_t columns, int64_t bytes) { return allocate(code, columns * bytes); }

void CudaTeam::once(Code &code, llvm::function_ref<void()> body) {
  barrier(code);
  code.ifThen(code.compare(arith::CmpIPredicate::eq, thread, code.i64(0)), body);
}

void CudaTeam::each(Code &code, Value begin, Value end, llvm::function_ref<void(Value)> body) {
  code.loop(code.add(begin, thread), end, threads, body);
}

/// The value of the lane whose number differs by `offset`; halves of 64-bit values travel by themselves.
Value CudaTeam::shuffle(Code &code, Value value, int64_t offset) {
  Type type = value.getType(), i32 = code.b.getI32Type(), i64 = code.i64Type();
  unsigned bits = type.getIntOrFloatBitWidth();
  auto exchange = [&](Value word) -> Value {
    return gpu::ShuffleOp::create(code.b, code.loc, word, code.integer(i32, offset), code.integer(i32, warpSize), gpu::ShuffleMode::XOR)
        .getShuffleResult();
  };
  if (bits == 32)
    return exchange(value);
  if (bits < 32) // integers: values are computed in f32 at least
    return code.op("arith.trunci", exchange(code.op("arith.extui", value, i32)), type);
  Value word = type == i64 ? value : code.op("arith.bitcast", value, i64);
  Value low = exchange(code.op("arith.trunci", word, i32));
  Value high = exchange(code.op("arith.trunci", code.op("arith.shrui", {word, code.i64(32)}, i64), i32));
  Value joined = code.op(
      "arith.ori", {code.op("arith.extui", low, i64), code.op("arith.shli", {code.op("arith.extui", high, i64), code.i64(32)}, i64)}, i64);
  return type == i64 ? joined : code.op("arith.bitcast", joined, type);
}

Value CudaTeam::reduceWarp(Code &code, Reduction kind, Value value) {
  for (int64_t offset = warpSize / 2; offset > 0; offset /= 2)
    value = combine(code, kind, value, shuffle(code, value, offset));
  return value;
}

/// Each warp's result goes to shared memory; all threads add up the warps in order. Both barriers are needed: the slots may
/// still be read from the walk before.
SmallVector<Value> CudaTeam::reduceBlock(Code &code, ArrayRef<Accumulator> accumulators, ArrayRef<Value> values) {
  SmallVector<Value> results;
  for (auto [accumulator, value] : llvm::zip(accumulators, values))
    results.push_back(reduceWarp(code, accumulator.kind, value));
  int64_t warps = threads / warpSize;
  if (warps == 1)
    return results;
  for (size_t first = 0; first < results.size(); first += maxAccumulators) {
    auto slot = [&](size_t i, Value warp) {
      Value at = code.add(code.i64(static_cast<int64_t>(i - first) * warps), warp);
      return code.address(reductionSlots, code.i64Type(), at);
    };
    size_t last = std::min<size_t>(results.size(), first + maxAccumulators);
    Value isFirstLane = code.compare(arith::CmpIPredicate::eq, code.rem(thread, warpSize), code.i64(0));
    Value warp = code.div(thread, warpSize);
    barrier(code);
    code.ifThen(isFirstLane, [&] {
      for (size_t i = first; i < last; ++i)
        code.store(results[i], slot(i, warp));
    });
    barrier(code);
    for (size_t i = first; i < last; ++i) {
      Type type = results[i].getType();
      results[i] = code.load(type, slot(i, code.i64(0)));
      for (int64_t w = 1; w < warps; ++w)
        results[i] = combine(code, accumulators[i].kind, results[i], code.load(type, slot(i, code.i64(w))));
    }
  }
  return results;
}

SmallVector<Value> CudaTeam::walk(Code &code, Value begin, Value end, int64_t count, Body, ArrayRef<Accumulator> accumulators,
                                  WalkBody emit) {
  auto initial = [&](int64_t width) {
    SmallVector<Value> values;
    for (const Accumulator &accumulator : accumulators)
      values.push_back(neutral(code, accumulator.kind, Code::vectorOf(accumulator.type, width)));
    return values;
  };
  // One scalar of each accumulator that this thread has so far.
  SmallVector<Value> sums;
  auto take = [&](ArrayRef<Value> vectors) {
    for (auto [i, accumulator] : llvm::enumerate(accumulators)) {
      int64_t width = cast<VectorType>(vectors[i].getType()).getDimSize(0);
      for (int64_t lane = 0; lane < width; ++lane) {
        Value each = vector::ExtractOp::create(code.b, code.loc, vectors[i], ArrayRef<int64_t>{lane});
        if (i < sums.size())
          sums[i] = combine(code, accumulator.kind, sums[i], each);
        else
          sums.push_back(each);
      }
    }
  };
  Value whole = count >= 0 ? code.i64(count / lanesPerThread * lanesPerThread)
                           : code.mul(code.div(code.sub(end, begin), lanesPerThread), lanesPerThread);
  Value middle = code.add(begin, whole);
  if (count < 0 || count >= lanesPerThread)
    take(code.loop(code.add(begin, code.mul(thread, lanesPerThread)), middle, threads * lanesPerThread, initial(lanesPerThread),
                   [&](Value column, ValueRange carried) {
                     return emit({lanesPerThread, column, Value(), lanesPerThread}, carried);
                   }));
  if (count < 0 || count % lanesPerThread != 0)
    take(code.loop(code.add(middle, thread), end, threads, initial(1), [&](Value column, ValueRange carried) {
      return emit({1, column, Value(), 1}, carried);
    }));
  if (accumulators.empty())
    return {};
  if (sums.empty())
    for (const Accumulator &accumulator : accumulators)
      sums.push_back(neutral(code, accumulator.kind, accumulator.type));
  return reduceBlock(code, accumulators, sums);
}

/// Squares of 32 through shared memory, whose rows are one element longer, so that columns lie in different banks.
void CudaTeam::transpose(Code &code, const Tile &tile, Value source, Value target, Value countA, Value countB) {
  constexpr int64_t side = 32, row = side + 1;
  Type type = tile.type;
  if (!tileSlots)
    tileSlots = allocate(code, side * row * type.getIntOrFloatBitWidth() / 8);
  Value x = code.rem(thread, side), y = code.div(thread, side);
  auto inside = [&](Value i, Value count) { return code.compare(arith::CmpIPredicate::slt, i, count); };
  auto both = [&](Value p, Value q) { return code.op("arith.andi", {p, q}, code.b.getI1Type()); };
  code.loop(code.i64(0), countA, side, [&](Value a) {
    code.loop(code.i64(0), countB, side, [&](Value b) {
      barrier(code);
      code.loop(y, code.i64(side), threads / side, [&](Value line) {
        Value i = code.add(a, line), j = code.add(b, x);
        code.ifThen(both(inside(i, countA), inside(j, countB)), [&] {
          Value value = code.load(type, code.address(source, type, code.add(code.mul(i, tile.sourceStride), j)));
          code.store(value, code.address(tileSlots, type, code.add(code.mul(line, row), x)));
        });
      });
      barrier(code);
      code.loop(y, code.i64(side), threads / side, [&](Value line) {
        Value i = code.add(a, x), j = code.add(b, line);
        code.ifThen(both(inside(i, countA), inside(j, countB)), [&] {
          Value value = code.load(type, code.address(tileSlots, type, code.add(code.mul(x, row), line)));
          code.store(value, code.address(target, type, code.add(code.mul(j, tile.targetStride), i)));
        });
      });
    });
  });
}

} // namespace llmc::codegen
