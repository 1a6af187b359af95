//===- ShiftedLabels.h - does a graph shift its labels itself? --*- C++ -*-===//
#ifndef LLMC_FRONTENDS_ONNX_RECIPE_SHIFTEDLABELS_H
#define LLMC_FRONTENDS_ONNX_RECIPE_SHIFTEDLABELS_H

#include "dialects/train/Recipe.h"
#include "frontends/Problem.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include <optional>

namespace llmc::onnx {

/// By how many positions the losses of `forward` look further on in the input `labels` [samples, length] than in the scores
/// that they compare it with; the least of them if there are several. Nothing if that cannot be told.
std::optional<int64_t> shiftOfLabels(mlir::func::FuncOp forward, unsigned labels);

/// Inputs fed with `tokens.next` or `NAME.next` that the graph shifts again, unless the recipe wants that; and where it
/// wants that without need.
Problems checkShifts(mlir::func::FuncOp forward, const train::Recipe &recipe);

} // namespace llmc::onnx

#endif // LLMC_FRONTENDS_ONNX_RECIPE_SHIFTEDLABELS_H
