//===- RecipeChecks.h - what a recipe says of a graph -----------*- C++ -*-===//
#ifndef LLMC_FRONTENDS_ONNX_RECIPE_RECIPECHECKS_H
#define LLMC_FRONTENDS_ONNX_RECIPE_RECIPECHECKS_H

#include "dialects/train/Recipe.h"
#include "frontends/Problem.h"
#include "frontends/onnx/Model.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"

namespace llmc::onnx {

/// Before the import: outputs that the recipe names and the model lacks, inputs that nothing feeds, keys of `data` that are
/// no inputs, sources that do not suit an input's type.
Problems checkNames(const Model &model, const train::Recipe &recipe);

/// After it, in shapes that are known: sources that do not suit inputs, a prediction that is no tensor of the samples'.
Problems checkShapes(mlir::func::FuncOp forward, const train::Recipe &recipe);

/// A problem of the recipe's key.
Problem recipeProblem(const std::string &key, const std::string &message, const std::string &hint);

} // namespace llmc::onnx

#endif // LLMC_FRONTENDS_ONNX_RECIPE_RECIPECHECKS_H
