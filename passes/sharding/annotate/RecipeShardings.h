//===- RecipeShardings.h - shardings that the recipe names ------*- C++ -*-===//
#ifndef LLMC_PASSES_SHARDING_ANNOTATE_RECIPESHARDINGS_H
#define LLMC_PASSES_SHARDING_ANNOTATE_RECIPESHARDINGS_H

#include "dialects/train/Recipe.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "passes/sharding/Axes.h"
#include <map>

namespace llmc::sharding {

/// The axes of one dimension, each with the number of parts that its major places make; and of each dimension of a
/// tensor.
using DimCuts = llvm::SmallVector<std::pair<mlir::StringAttr, int64_t>, 2>;
using Cuts = llvm::SmallVector<DimCuts, 4>;

/// The dimension of the stored shape of a parameter that stands for each of the logical one: of several that one became,
/// the last.
llvm::SmallVector<int64_t> storedDims(llvm::ArrayRef<int64_t> stored, llvm::ArrayRef<int64_t> logical);
llvm::SmallVector<int64_t> storedDims(mlir::func::FuncOp function, unsigned argument);

/// Puts the `sharding` entries of the recipe over what `parameters` has for the parameters of `forward`. Dimensions are
/// those of the logical shape. Fails, with the line of the recipe, at an entry that names no parameter, does not fit
/// one's rank, or has axes that do not divide or stand twice.
mlir::LogicalResult readRecipeShardings(mlir::func::FuncOp forward, const train::Recipe &recipe,
                                        const AxisSplitter &axes, std::map<std::string, Cuts> &parameters);

} // namespace llmc::sharding

#endif // LLMC_PASSES_SHARDING_ANNOTATE_RECIPESHARDINGS_H
