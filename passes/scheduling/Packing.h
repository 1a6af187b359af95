//===- Packing.h - offsets for live ranges ----------------------*- C++ -*-===//
#ifndef LLMC_PASSES_SCHEDULING_PACKING_H
#define LLMC_PASSES_SCHEDULING_PACKING_H

#include "llvm/ADT/ArrayRef.h"
#include <cstdint>

namespace llmc::scheduling {

/// Bytes that are needed from instruction `first` to instruction `last`, both inclusive.
struct LiveRange {
  int64_t first, last, bytes;
  int64_t offset = 0; // set by `pack`
};

/// Gives each range an offset (a multiple of `alignment`) so that ranges that overlap in time do not overlap in space:
/// largest first, each at the lowest free offset. Returns the bytes needed.
int64_t pack(llvm::MutableArrayRef<LiveRange> ranges, int64_t alignment);

/// The largest sum of bytes alive at one instruction: a lower bound for `pack`.
int64_t peakOf(llvm::ArrayRef<LiveRange> ranges);

} // namespace llmc::scheduling

#endif // LLMC_PASSES_SCHEDULING_PACKING_H
