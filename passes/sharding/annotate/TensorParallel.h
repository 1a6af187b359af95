//===- TensorParallel.h - which parameters tensor parallelism cuts -*- C++ -*-===//
#ifndef LLMC_PASSES_SHARDING_ANNOTATE_TENSORPARALLEL_H
#define LLMC_PASSES_SHARDING_ANNOTATE_TENSORPARALLEL_H

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include <map>
#include <string>

namespace llmc::sharding {

/// How a parameter is cut: one dimension into a number of parts, over the major places of the tensor ranks.
struct TensorCut {
  int64_t dim, parts;
  bool operator==(const TensorCut &) const = default;
};

/// Cuts over `ranks` tensor ranks of the parameters of a forward function, by name, found in the graph and not by
/// names: a contraction with a parameter whose contracted dimension comes, through ops that may be cut along it, from
/// contractions with other parameters is one half of a pair; its parameter is cut along the contracted dimension, the
/// others along the dimension that they make (Shoeybi et al. 2019: Megatron-LM). So a pair needs one sum over ranks
/// behind it and none inside. Each parameter belongs to one pair, in program order. Where less than `ranks` parts are
/// possible, such as for keys and values of few heads, the number of parts is the largest divisor that is. The head's
/// weight is cut along its classes, and tables of as many rows with it. What does not divide stays whole.
std::map<std::string, TensorCut> findTensorParallel(mlir::func::FuncOp forward, int64_t ranks);

} // namespace llmc::sharding

#endif // LLMC_PASSES_SHARDING_ANNOTATE_TENSORPARALLEL_H
