//===- Shardings.h - the model's own shardings, in axes of a mesh ---*- C++ -*-===//
#ifndef LLMC_FRONTENDS_ONNX_DEVICES_SHARDINGS_H
#define LLMC_FRONTENDS_ONNX_DEVICES_SHARDINGS_H

#include "dialects/train/Recipe.h"
#include "frontends/Problem.h"
#include "frontends/onnx/Model.h"
#include "frontends/onnx/Roles.h"

namespace llmc::onnx {

/// The shape of each tensor that is imported, by name.
using Shapes = llvm::StringMap<llvm::SmallVector<int64_t>>;

struct ShardingsResult {
  std::vector<train::ModelSharding> shardings;
  Problems problems;
  std::vector<std::string> notes;
};

/// What the configuration `recipe.onnxSharding` of `model` says of its tensors: one sharding for each, that of the node that
/// makes it before those of nodes that read it. Device d of the configuration is rank d of the recipe's mesh, which is
/// row-major over its axes. Problems, all of them: an unknown configuration or one of another number of devices, a spec that
/// contradicts the tensor or itself, parts that are no places of axes, pipeline stages. Notes: what is said of constants, of
/// tensors that are not computed, and of one tensor in two ways.
ShardingsResult readShardings(const Model &model, const train::Recipe &recipe, const Roles &roles, const Shapes &shapes);

} // namespace llmc::onnx

#endif // LLMC_FRONTENDS_ONNX_DEVICES_SHARDINGS_H
