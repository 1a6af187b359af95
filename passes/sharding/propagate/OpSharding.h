//===- OpSharding.h - shardings that one op's factor rule allows -*- C++ -*-===//
#ifndef LLMC_PASSES_SHARDING_PROPAGATE_OPSHARDING_H
#define LLMC_PASSES_SHARDING_PROPAGATE_OPSHARDING_H

#include "dialects/dist/Dist.h"
#include "dialects/interfaces/Interfaces.h"

namespace llmc::sharding {

/// What an op needs of its operands and what its results then are.
struct OpSharding {
  llvm::SmallVector<dist::Sharding> operands, results;
};

/// Chooses axes for the factors of `rule`, from the operands' shardings as they are: a factor takes those of the
/// largest operand that has some for it, an axis serves one factor. Partial operands are needed whole, or as cut by the
/// factors. `wanted` is how the first result is needed, of rank 0 if that is open: its axes go to factors that no
/// operand has.
OpSharding shardByRule(const FactorRule &rule, llvm::ArrayRef<dist::Sharding> operands,
                       llvm::ArrayRef<int64_t> operandBytes, dist::MeshAttr mesh, const dist::Sharding &wanted = {});

/// Lets operands of `op` that are partial sums, in `operands`, be summed after the op instead of before where it is
/// linear: in all of its tensors together, if all are the same sums, or in one beside whole ones.
void keepPartialSums(mlir::Operation *op, llvm::ArrayRef<dist::Sharding> operands, OpSharding &chosen,
                     dist::MeshAttr mesh);

} // namespace llmc::sharding

#endif // LLMC_PASSES_SHARDING_PROPAGATE_OPSHARDING_H
