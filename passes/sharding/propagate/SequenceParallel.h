//===- SequenceParallel.h - activations cut along the sequence --*- C++ -*-===//
#ifndef LLMC_PASSES_SHARDING_PROPAGATE_SEQUENCEPARALLEL_H
#define LLMC_PASSES_SHARDING_PROPAGATE_SEQUENCEPARALLEL_H

#include "passes/sharding/propagate/OpSharding.h"
#include "llvm/ADT/DenseSet.h"

namespace llmc::sharding {

/// How each op of a function is cut, in program order. With `isOn`, sums over tensor ranks of [batch, sequence, ...]
/// tensors are scattered along the sequence where an op reads them (Korthikanti et al. 2022), and stay so until an op
/// uses tensor ranks otherwise: such as a product with a weight that is cut, for which they are gathered.
class SequenceParallel {
public:
  SequenceParallel(dist::MeshAttr mesh, bool isOn);

  /// What `op` needs of its operands, whose shardings are `present`, and what its results are. Fails, with an error,
  /// where tensor ranks do not divide a sequence.
  mlir::FailureOr<OpSharding> choose(mlir::Operation *op, llvm::ArrayRef<dist::Sharding> present,
                                     llvm::ArrayRef<int64_t> bytes, const dist::Sharding &wanted);

  /// The sharding to go through from `from` to `to`: a sum that is needed whole is scattered and gathered, which is as
  /// much as a sum to all ranks, and the parts serve other readers.
  std::optional<dist::Sharding> between(const dist::Sharding &from, const dist::Sharding &to, mlir::Value value) const;

private:
  bool isSummed(const dist::Sharding &sharding, mlir::Value value) const;
  bool usesTensorRanks(const OpSharding &sharding) const;
  bool isCut(const dist::Sharding &sharding) const;

  dist::MeshAttr mesh;
  dist::Axes axes; // tensor ranks; empty: off
  llvm::DenseSet<mlir::Value> alongSequence;
};

} // namespace llmc::sharding

#endif // LLMC_PASSES_SHARDING_PROPAGATE_SEQUENCEPARALLEL_H
