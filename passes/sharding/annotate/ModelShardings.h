//===- ModelShardings.h - shardings that the model itself names -*- C++ -*-===//
#ifndef LLMC_PASSES_SHARDING_ANNOTATE_MODELSHARDINGS_H
#define LLMC_PASSES_SHARDING_ANNOTATE_MODELSHARDINGS_H

#include "passes/sharding/annotate/RecipeShardings.h"

namespace llmc::sharding {

/// Puts what the model says of its parameters over what `parameters` has, and admits the parts that it makes of axes.
/// Fails, naming the node, where a parameter is not stored so that it can be cut like that.
mlir::LogicalResult readModelShardings(mlir::func::FuncOp forward, const train::Recipe &recipe, AxisSplitter &axes,
                                       std::map<std::string, Cuts> &parameters);

/// Admits the parts that the model makes of axes for its values. Fails at parts that no mesh has.
mlir::LogicalResult admitValues(mlir::func::FuncOp forward, const train::Recipe &recipe, AxisSplitter &axes);

/// After all parts are admitted: what the model says of its values, for `dist.wanted`; a note names what cannot be said in
/// axes of whole dimensions.
mlir::ArrayAttr wantedOf(mlir::func::FuncOp forward, const train::Recipe &recipe, const AxisSplitter &axes);

} // namespace llmc::sharding

#endif // LLMC_PASSES_SHARDING_ANNOTATE_MODELSHARDINGS_H
