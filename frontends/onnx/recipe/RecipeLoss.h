//===- RecipeLoss.h - the loss that a recipe adds to a graph ----*- C++ -*-===//
#ifndef LLMC_FRONTENDS_ONNX_RECIPE_RECIPELOSS_H
#define LLMC_FRONTENDS_ONNX_RECIPE_RECIPELOSS_H

#include "dialects/train/Recipe.h"
#include "frontends/Problem.h"
#include "frontends/onnx/NodeImporter.h"

namespace llmc::onnx {

/// The graph as far as it is imported.
struct ImportedGraph {
  mlir::func::FuncOp function;
  ImportState &state;
  std::vector<std::pair<std::string, mlir::Value>> &outputs;
  std::vector<std::string> &inputNames; // arguments of `function`, the first ones
};

/// Appends to the outputs of `graph` the loss that `recipe` names, a mean of PyTorch's over an output and an input, which is
/// a new one after the others unless the graph has one of that name. The name of the new output, which no other has; empty
/// if there are problems.
std::string addRecipeLoss(const train::Recipe &recipe, ImportedGraph graph, Problems &problems);

} // namespace llmc::onnx

#endif // LLMC_FRONTENDS_ONNX_RECIPE_RECIPELOSS_H
