//===- SizeClasses.cpp - sizes that can only change together ----------------------===//
//
//   1. cuts go from dimensions to factors and back until nothing changes; cuts of one slot of which neither divides the
//      other (6 as 2 x 3 and as 3 x 2) keep it as it is, and all that is tied to it;
//   2. what lies between cuts are atoms; ties identify them in order;
//   3. classes that keep their difference are a group, whose members become smaller by one amount.
//
//===----------------------------------------------------------------------===//
#include "passes/shrink/SizeClasses.h"
#include "llvm/ADT/STLExtras.h"
#include <map>
#include <optional>

using llvm::ArrayRef;

namespace llmc::shrink {

SizeClasses::Slot SizeClasses::add(int64_t size) {
  slots.emplace_back().size = size;
  return static_cast<Slot>(slots.size() - 1);
}

//===-- Cuts ---------------------------------------------------------------------===//

/// Returns whether anything changed.
bool SizeClasses::cut(Slot slot, int64_t minor) {
  SlotState &state = slots[slot];
  if (minor <= 1 || minor >= state.size || state.disagrees || state.cuts.count(minor))
    return false;
  auto agrees = [&](int64_t other) { return minor % other == 0 || other % minor == 0; };
  if (llvm::all_of(state.cuts, agrees) && state.size % minor == 0)
    state.cuts.insert(minor);
  else
    state.disagrees = true;
  return true;
}

/// Where one disagrees, all of its tie do.
bool SizeClasses::spread(const Tie &tie) {
  bool isChanged = !slots[tie.slot].disagrees;
  slots[tie.slot].disagrees = true;
  for (Slot part : tie.parts) {
    isChanged = isChanged || !slots[part].disagrees;
    slots[part].disagrees = true;
  }
  return isChanged;
}

bool SizeClasses::refine(const Tie &tie) {
  bool isChanged = false;
  int64_t minor = 1;
  for (Slot part : llvm::reverse(tie.parts)) {
    int64_t size = slots[part].size;
    isChanged |= cut(tie.slot, minor);
    for (int64_t own : slots[part].cuts)
      isChanged |= cut(tie.slot, minor * own);
    for (int64_t whole : slots[tie.slot].cuts)
      if (whole > minor && whole < minor * size) {
        if (whole % minor == 0)
          isChanged |= cut(part, whole / minor);
        else
          isChanged |= !std::exchange(slots[tie.slot].disagrees, true);
      }
    minor *= size;
  }
  return isChanged;
}

void SizeClasses::makeAtoms() {
  for (SlotState &slot : slots) {
    slot.firstAtom = static_cast<unsigned>(atoms.size());
    int64_t minor = 1;
    for (int64_t next : slot.cuts) {
      atoms.push_back(next / minor);
      minor = next;
    }
    if (slot.size > minor)
      atoms.push_back(slot.size / minor);
    slot.atoms = static_cast<unsigned>(atoms.size()) - slot.firstAtom;
  }
}

//===-- New sizes ------------------------------------------------------------------===//

void SizeClasses::shrink(int64_t kept, int64_t modulus) {
  for (bool isChanged = true; isChanged;) {
    isChanged = false;
    for (const Tie &tie : ties) {
      bool isSpread = slots[tie.slot].disagrees || llvm::any_of(tie.parts, [&](Slot part) { return slots[part].disagrees; });
      isChanged |= isSpread ? spread(tie) : refine(tie);
    }
  }
  for (SlotState &slot : slots)
    if (slot.disagrees)
      slot.cuts.clear();
  makeAtoms();

  classes.grow(static_cast<unsigned>(atoms.size()));
  for (const Tie &tie : ties) {
    unsigned atom = slots[tie.slot].firstAtom;
    if (!slots[tie.slot].disagrees)
      for (Slot part : llvm::reverse(tie.parts))
        for (unsigned k = 0; k < slots[part].atoms; ++k)
          classes.join(atom++, slots[part].firstAtom + k);
  }
  llvm::IntEqClasses groups = classes;
  for (auto [a, b] : differences) {
    if (slots[a].atoms == 1 && slots[b].atoms == 1)
      groups.join(slots[a].firstAtom, slots[b].firstAtom);
    else
      slots[a].isKept = slots[b].isKept = true;
  }
  classes.compress();
  groups.compress();

  std::vector<int64_t> smallest(groups.getNumClasses(), INT64_MAX);
  for (auto [atom, size] : llvm::enumerate(atoms))
    smallest[groups[static_cast<unsigned>(atom)]] = std::min(smallest[groups[static_cast<unsigned>(atom)]], size);
  for (const SlotState &slot : slots)
    for (unsigned k = 0; k < slot.atoms; ++k)
      if (slot.isKept || slot.disagrees)
        smallest[groups[slot.firstAtom + k]] = 0; // stays
  std::map<int64_t, int64_t> sizes; // old to new, in order
  for (int64_t size : smallest)
    sizes[size] = size;
  int64_t previous = kept;
  for (auto &[from, to] : sizes)
    if (from > kept)
      previous = to = std::min(from, previous + 1 + (from % modulus - (previous + 1) % modulus + modulus) % modulus);
  less.resize(atoms.size());
  for (auto [atom, size] : llvm::enumerate(atoms)) {
    int64_t from = smallest[groups[static_cast<unsigned>(atom)]];
    less[atom] = from - sizes[from];
  }
}

int64_t SizeClasses::newSize(Slot slot) const {
  int64_t size = 1;
  for (unsigned k = 0; k < slots[slot].atoms; ++k)
    size *= atoms[slots[slot].firstAtom + k] - less[slots[slot].firstAtom + k];
  return size;
}

} // namespace llmc::shrink
