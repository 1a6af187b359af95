//===- Packing.cpp - offsets for live ranges ------------------------------------===//
#include "passes/scheduling/Packing.h"
#include "llvm/ADT/STLExtras.h"
#include "llvm/Support/MathExtras.h"
#include <map>

namespace llmc::scheduling {

int64_t pack(llvm::MutableArrayRef<LiveRange> ranges, int64_t alignment) {
  llvm::SmallVector<LiveRange *> order;
  for (LiveRange &range : ranges)
    order.push_back(&range);
  llvm::stable_sort(order, [](const LiveRange *a, const LiveRange *b) {
    return a->bytes != b->bytes ? a->bytes > b->bytes : a->first < b->first;
  });
  // Placed ranges by offset.
  std::multimap<int64_t, const LiveRange *> placed;
  int64_t total = 0;
  for (LiveRange *range : order) {
    int64_t bytes = llvm::alignTo(range->bytes, alignment), offset = 0;
    for (auto &[start, other] : placed) {
      if (other->last < range->first || other->first > range->last)
        continue;
      if (start >= offset + bytes)
        break;
      offset = std::max(offset, start + static_cast<int64_t>(llvm::alignTo(other->bytes, alignment)));
    }
    range->offset = offset;
    placed.emplace(offset, range);
    total = std::max(total, offset + bytes);
  }
  return total;
}

int64_t peakOf(llvm::ArrayRef<LiveRange> ranges) {
  std::map<int64_t, int64_t> changes;
  for (const LiveRange &range : ranges) {
    changes[range.first] += range.bytes;
    changes[range.last + 1] -= range.bytes;
  }
  int64_t alive = 0, peak = 0;
  for (auto &[position, change] : changes)
    peak = std::max(peak, alive += change);
  return peak;
}

} // namespace llmc::scheduling
