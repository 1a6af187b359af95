//===- Atoms.cpp - the iteration dimensions that tensors of a kernel share ---===//
#include "compiler/codegen/fused/Atoms.h"
#include <cassert>

namespace llmc::codegen {

AtomId AtomTable::create(int64_t size) {
  assert(size > 1 && "an atom is a loop");
  atoms.push_back({size});
  return static_cast<AtomId>(atoms.size() - 1);
}

AtomList AtomTable::resolve(llvm::ArrayRef<AtomId> list) const {
  AtomList result;
  for (AtomId atom : list) {
    while (atoms[atom].same >= 0)
      atom = atoms[atom].same;
    if (atoms[atom].outer < 0) {
      result.push_back(atom);
      continue;
    }
    result.append(resolve({atoms[atom].outer}));
    result.append(resolve({atoms[atom].inner}));
  }
  return result;
}

Layout AtomTable::resolve(llvm::ArrayRef<AtomStride> layout) const {
  Layout result;
  for (const AtomStride &entry : layout) {
    AtomList leaves = resolve(llvm::ArrayRef<AtomId>(entry.atom));
    int64_t stride = entry.stride;
    Layout part;
    for (AtomId leaf : llvm::reverse(leaves)) {
      part.push_back({leaf, stride});
      stride *= size(leaf);
    }
    for (const AtomStride &leaf : llvm::reverse(part)) {
      auto *existing = llvm::find_if(result, [&](const AtomStride &other) { return other.atom == leaf.atom; });
      if (existing != result.end())
        existing->stride += leaf.stride;
      else
        result.push_back(leaf);
    }
  }
  return result;
}

void AtomTable::split(AtomId atom, int64_t innerSize) {
  int64_t outerSize = size(atom) / innerSize;
  AtomId outer = create(outerSize);
  AtomId inner = create(innerSize);
  atoms[atom].outer = outer;
  atoms[atom].inner = inner;
}

bool AtomTable::unify(llvm::ArrayRef<AtomId> a, llvm::ArrayRef<AtomId> b) {
  // Innermost first: the innermost loop of both must be the same.
  while (true) {
    AtomList left = resolve(a), right = resolve(b);
    size_t common = 0;
    while (common < left.size() && common < right.size() &&
           left[left.size() - 1 - common] == right[right.size() - 1 - common])
      ++common;
    if (common == left.size() && common == right.size())
      return true;
    if (common == left.size() || common == right.size())
      return false;
    AtomId x = left[left.size() - 1 - common], y = right[right.size() - 1 - common];
    if (size(x) == size(y)) {
      atoms[std::max(x, y)].same = std::min(x, y);
      continue;
    }
    AtomId larger = size(x) > size(y) ? x : y, smaller = size(x) > size(y) ? y : x;
    if (size(larger) % size(smaller) != 0)
      return false;
    split(larger, size(smaller));
  }
}

int64_t AtomTable::product(llvm::ArrayRef<AtomId> list) const {
  int64_t count = 1;
  for (AtomId atom : resolve(list))
    count *= size(atom);
  return count;
}

} // namespace llmc::codegen
