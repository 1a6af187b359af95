//===- Frontend.h - model and recipe files to a module ----------*- C++ -*-===//
#ifndef LLMC_COMPILER_DRIVER_FRONTEND_H
#define LLMC_COMPILER_DRIVER_FRONTEND_H

#include "dialects/train/Recipe.h"
#include "frontends/Problem.h"
#include "frontends/onnx/Importer.h"
#include "frontends/recipe/RecipeParser.h"
#include "mlir/IR/BuiltinOps.h"
#include "mlir/IR/OwningOpRef.h"
#include "llvm/ADT/StringMap.h"

namespace llmc::driver {

struct LoadedModel {
  mlir::OwningOpRef<mlir::ModuleOp> module; // level `imported`, with its recipe; null if there are problems
  std::string folder;                       // that paths of `train.source` are relative to
  std::vector<std::string> files;           // that values of the model or its `weights` come from, besides the model's own
  Problems problems;
  std::vector<std::string> notes;
  train::Recipe recipe;                     // with the numbers that it left to the model
  llvm::StringMap<llvm::SmallVector<int64_t>> shapes; // of the model's tensors, as imported
};

/// Imports `model` as `parsed` wants it. The problems are of both, those of the recipe with its file and line.
onnx::ImportResult importWithRecipe(const onnx::Model &model, const recipe::ParsedRecipe &parsed, mlir::MLIRContext *context);

/// Reads a model and a recipe. Everything that is wrong in either is reported at once. `batch.step` and `batch.micro` of the
/// module's recipe are numbers: the exported batch where the recipe says nothing.
LoadedModel loadModel(llvm::StringRef modelPath, llvm::StringRef recipePath, mlir::MLIRContext *context);

/// A location as errors show it: the ONNX node, then the Python line if it is known.
std::string describe(mlir::Location loc);

} // namespace llmc::driver

#endif // LLMC_COMPILER_DRIVER_FRONTEND_H
