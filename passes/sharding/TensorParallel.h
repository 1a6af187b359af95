//===- TensorParallel.h - which parameters tensor parallelism cuts -*- C++ -*-===//
#ifndef LLMC_PASSES_SHARDING_TENSORPARALLEL_H
#define LLMC_PASSES_SHARDING_TENSORPARALLEL_H

#include "dialects/dist/Dist.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include <map>
#include <string>

namespace llmc::sharding {

/// Shardings over `axis` of the parameters of a forward function, by name, found in the graph and not by names: a contraction with
/// a parameter whose contracted dimension comes, through ops that may be cut along it, from contractions with other parameters
/// is one half of a pair; its parameter is cut along the contracted dimension, the others along the dimension that they make
/// (Shoeybi et al. 2019: Megatron-LM). So a pair needs one sum over ranks behind it and none inside. Each parameter belongs to
/// one pair, in program order. The head's weight is cut along its classes, and tables of as many rows with it. What does not
/// divide stays whole.
std::map<std::string, dist::Sharding> findTensorParallel(mlir::func::FuncOp forward, dist::MeshAttr mesh, mlir::StringAttr axis);

} // namespace llmc::sharding

#endif // LLMC_PASSES_SHARDING_TENSORPARALLEL_H
