//===- SizeClasses.h - sizes that can only change together ------*- C++ -*-===//
#ifndef LLMC_PASSES_SHRINK_SIZECLASSES_H
#define LLMC_PASSES_SHRINK_SIZECLASSES_H

#include "llvm/ADT/ArrayRef.h"
#include "llvm/ADT/IntEqClasses.h"
#include "llvm/ADT/SmallVector.h"
#include <cstdint>
#include <set>
#include <vector>

namespace llmc::shrink {

/// Sizes of dimensions and factors, and what ties them: a dimension is the product of factors, major to minor. Where one
/// tie cuts a size in two, say 4096 into 32 heads of 128, all that are tied to it are cut alike. What is not cut any
/// further is an atom; atoms that ties identify are one class, which has one new size.
class SizeClasses {
public:
  using Slot = unsigned;

  Slot add(int64_t size);
  int64_t size(Slot slot) const { return slots[slot].size; }
  /// `slot` is the product of `parts`, from major to minor; the product of their sizes is its size.
  void tie(Slot slot, llvm::ArrayRef<Slot> parts) { ties.push_back({slot, {parts.begin(), parts.end()}}); }
  /// `a` and `b` become smaller by the same amount.
  void keepDifference(Slot a, Slot b) { differences.push_back({a, b}); }
  void keepSize(Slot slot) { slots[slot].isKept = true; }

  /// New sizes for all: those up to `kept` stay, so do those that are cut in ways that do not agree; others become the
  /// smallest that equal the old ones modulo `modulus`, and that keep their order: the larger of two stays the larger.
  void shrink(int64_t kept, int64_t modulus);
  /// After `shrink`.
  int64_t newSize(Slot slot) const;

private:
  struct SlotState {
    int64_t size = 1;
    bool isKept = false, disagrees = false; // by keepSize; cut in ways that do not agree
    std::set<int64_t> cuts; // sizes of what is minor to each cut; each divides the next
    unsigned firstAtom = 0, atoms = 0;
  };
  struct Tie {
    Slot slot;
    llvm::SmallVector<Slot, 2> parts;
  };

  bool cut(Slot slot, int64_t minor);
  bool spread(const Tie &tie);
  bool refine(const Tie &tie);
  void makeAtoms();

  std::vector<SlotState> slots;
  std::vector<Tie> ties;
  std::vector<std::pair<Slot, Slot>> differences;
  std::vector<int64_t> atoms; // sizes; of each slot from minor to major
  llvm::IntEqClasses classes;
  std::vector<int64_t> less; // by how much an atom becomes smaller
};

} // namespace llmc::shrink

#endif // LLMC_PASSES_SHRINK_SIZECLASSES_H
