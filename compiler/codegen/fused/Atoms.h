//===- Atoms.h - the iteration dimensions that tensors of a kernel share ------*- C++ -*-===//
//
// Each dimension of each tensor in a kernel is a list of atoms, outermost first. Ops that relate dimensions unify their
// atoms; a reshape that splits a dimension splits its atom. What remains are the loops of the kernel.
//
//===----------------------------------------------------------------------===//
#ifndef LLMC_COMPILER_CODEGEN_FUSED_ATOMS_H
#define LLMC_COMPILER_CODEGEN_FUSED_ATOMS_H

#include "llvm/ADT/ArrayRef.h"
#include "llvm/ADT/SmallVector.h"

namespace llmc::codegen {

using AtomId = int;
using AtomList = llvm::SmallVector<AtomId, 4>;

/// Atoms with a stride each: an affine function of the iteration point, offset aside.
struct AtomStride {
  AtomId atom;
  int64_t stride;
  bool operator==(const AtomStride &other) const = default;
};
using Layout = llvm::SmallVector<AtomStride, 4>;

class AtomTable {
public:
  /// A new atom of `size` > 1.
  AtomId create(int64_t size);
  int64_t size(AtomId atom) const { return atoms[atom].size; }
  /// The leaves that `list` stands for.
  AtomList resolve(llvm::ArrayRef<AtomId> list) const;
  /// A layout over leaves, equal atoms merged.
  Layout resolve(llvm::ArrayRef<AtomStride> layout) const;
  /// Makes two lists of equal total size the same loops; splits atoms where needed. False if their sizes do not nest.
  bool unify(llvm::ArrayRef<AtomId> a, llvm::ArrayRef<AtomId> b);
  int64_t product(llvm::ArrayRef<AtomId> list) const;

private:
  struct Atom {
    int64_t size;
    AtomId same = -1;             // stands for this one
    AtomId outer = -1, inner = -1; // or was split
  };
  void split(AtomId atom, int64_t innerSize);
  llvm::SmallVector<Atom, 16> atoms;
};

} // namespace llmc::codegen

#endif // LLMC_COMPILER_CODEGEN_FUSED_ATOMS_H
