//===- Importer.h - Model -> IR at level `imported` -------------*- C++ -*-===//
#ifndef LLMC_FRONTENDS_ONNX_IMPORTER_H
#define LLMC_FRONTENDS_ONNX_IMPORTER_H

#include "dialects/train/Recipe.h"
#include "frontends/Problem.h"
#include "frontends/onnx/Model.h"
#include "frontends/onnx/Roles.h"
#include "frontends/onnx/devices/Shardings.h"
#include "mlir/IR/BuiltinOps.h"
#include "mlir/IR/OwningOpRef.h"

namespace llmc::onnx {

struct ImportOptions {
  train::Recipe recipe;
  /// False for `llmc check` without a recipe: a missing loss, unfed inputs and missing values are no problems, unbound
  /// dimensions get stand-in sizes (see `ImportResult::notes`).
  bool forTraining = true;
};

struct ImportResult {
  mlir::OwningOpRef<mlir::ModuleOp> module; // null if there are problems
  Problems problems;
  std::vector<std::string> notes;
  Roles roles;
  Shapes shapes;                              // of inputs, parameters and results of nodes
  std::vector<train::ModelSharding> shardings; // of the configuration that the recipe names
  std::string lossOutput;                      // the loss that the recipe added; empty: it names one of the graph's
};

/// Loads the dialects that an import makes ops of, with their interfaces.
void registerImportDialects(mlir::DialectRegistry &registry);

/// Imports `model` into one public function `@forward`:
///   - arguments: inputs of the graph (then the labels that `recipe.loss` adds), parameters, buffers, constants over 1 KiB.
///     Argument attributes: `train.name`; `train.role` = "input", "param", "buffer" or "constant"; `train.source` =
///     {path, offset, bytes} where the file holds the value; `train.aliases` for tied names; `train.value` for constants; `train.frozen` for
///     parameters that the module does not train;
///   - results: the outputs of the graph (then the loss that the recipe adds) with `train.name`;
///   - static shapes: symbolic dimensions are bound by `recipe.shapes`, a symbolic first dimension of an input by
///     `recipe.batch`.
/// Everything that does not depend on inputs and parameters is evaluated. `context` must have the registered dialects loaded.
ImportResult importModel(const Model &model, const ImportOptions &options, mlir::MLIRContext *context);

} // namespace llmc::onnx

#endif // LLMC_FRONTENDS_ONNX_IMPORTER_H
