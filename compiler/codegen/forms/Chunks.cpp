//===- Chunks.cpp - many tensors, one after another in chunks of one size -----===//
#include "compiler/codegen/forms/Chunks.h"
#include "llvm/Support/MathExtras.h"
#include <limits>

using namespace mlir;

namespace llmc::codegen {

void Chunks::add(int64_t elements) {
  sizes.push_back(elements);
  first.push_back(chunks);
  chunks += (elements + chunkSize - 1) / chunkSize;
}

/// Binary search for the last tensor that begins at or before the chunk; the table is filled up to a power of two.
Chunks::Place Chunks::locate(Code &code, Value index) const {
  std::vector<int64_t> padded = first;
  padded.resize(llvm::PowerOf2Ceil(padded.size()), std::numeric_limits<int64_t>::max());
  Value table = code.table(padded);
  auto entry = [&](Value base, Value at) { return code.load(code.i64Type(), code.address(base, code.i64Type(), at)); };
  Value tensor = code.i64(0);
  for (int64_t step = static_cast<int64_t>(padded.size()) / 2; step > 0; step /= 2) {
    Value middle = code.add(tensor, step);
    tensor = code.select(code.compare(arith::CmpIPredicate::sle, entry(table, middle), index), middle, tensor);
  }
  Value begin = code.mul(code.sub(index, entry(table, tensor)), chunkSize);
  Value end = code.min(code.add(begin, chunkSize), entry(code.table(sizes), tensor));
  return {tensor, begin, end};
}

} // namespace llmc::codegen
