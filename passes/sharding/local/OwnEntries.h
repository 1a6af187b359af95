//===- OwnEntries.h - dropout of one part of a tensor -----------*- C++ -*-===//
#ifndef LLMC_PASSES_SHARDING_LOCAL_OWNENTRIES_H
#define LLMC_PASSES_SHARDING_LOCAL_OWNENTRIES_H

#include "dialects/dist/Dist.h"
#include "dialects/nn/Nn.h"

namespace llmc::sharding {

/// Positions of dropouts that count the entries of the rank's own part as those of the whole tensor.
class OwnEntries {
public:
  /// Gives `dropout`, of local types already and cut like `dims` says, the numbers of its part of a tensor of `whole`. What is
  /// made for one is shared by all of its function that are cut alike.
  void count(nn::DropoutOp dropout, llvm::ArrayRef<dist::Axes> dims, mlir::RankedTensorType whole);

private:
  llvm::DenseMap<std::pair<mlir::Value, mlir::Attribute>, mlir::Value> positions;
};

} // namespace llmc::sharding

#endif // LLMC_PASSES_SHARDING_LOCAL_OWNENTRIES_H
