//===- Frontend.cpp - model and recipe files to a module ------------------------===//
#include "compiler/driver/Frontend.h"
#include "dialects/train/Train.h"
#include "frontends/onnx/Importer.h"
#include "frontends/onnx/Reader.h"
#include "frontends/recipe/RecipeParser.h"
#include "llvm/Support/Path.h"

using namespace mlir;

namespace llmc::driver {

/// The size of dimension 0 of the first input; 0 if there is none.
static int64_t exportedBatch(ModuleOp module) {
  auto forward = module.lookupSymbol<func::FuncOp>(train::kForward);
  for (unsigned i = 0; i < forward.getNumArguments(); ++i)
    if (train::argumentString(forward, i, train::kRole) == train::kInput)
      if (auto type = dyn_cast<RankedTensorType>(forward.getArgumentTypes()[i]); type && type.getRank() > 0)
        return type.getDimSize(0);
  return 0;
}

static void resolveBatch(train::Recipe &recipe, int64_t exported, Problems &problems) {
  train::Batch &batch = recipe.batch;
  if (batch.step == 0)
    batch.step = batch.micro != 0 ? batch.micro : exported;
  if (batch.micro == 0)
    batch.micro = batch.step;
  if (batch.micro != 0 && batch.step % batch.micro != 0)
    problems.push_back({"batch.step (" + std::to_string(batch.step) + ") is not a multiple of batch.micro (" + std::to_string(batch.micro) + ")",
                        "", "choose a micro-batch that divides the step"});
}

/// A recipe whose globs leave nothing to train is a mistake of the recipe, not of the model.
static void checkTrainable(ModuleOp module, const recipe::ParsedRecipe &parsed, Problems &problems) {
  auto forward = module.lookupSymbol<func::FuncOp>(train::kForward);
  std::string names;
  for (unsigned i = 0; i < forward.getNumArguments(); ++i) {
    StringRef name = train::argumentString(forward, i, train::kName);
    if (train::argumentString(forward, i, train::kRole) != train::kParam)
      continue;
    // What the recipe does not say, the module does.
    auto matches = [&](const std::string &glob) { return train::matchesGlob(glob, name); };
    if (parsed.recipe.trainable.empty() ? !forward.getArgAttr(i, train::kFrozen) : llvm::any_of(parsed.recipe.trainable, matches))
      return;
    if (names.size() < 200)
      names += (names.empty() ? "" : ", ") + name.str();
  }
  if (!names.empty())
    problems.push_back({parsed.recipe.trainable.empty() ? "the module trains none of its parameters (requires_grad=False)"
                                                      : "`trainable` names no parameter of the model",
                        parsed.where("trainable"), "its parameters are " + names});
}

LoadedModel loadModel(StringRef modelPath, StringRef recipePath, MLIRContext *context) {
  LoadedModel loaded;
  auto take = [&](const Problems &problems) { llvm::append_range(loaded.problems, problems); };
  recipe::ParsedRecipe parsed = recipe::parseRecipeFile(recipePath);
  take(parsed.problems);
  if (parsed.problems.empty())
    take(recipe::checkSupported(parsed));
  llvm::append_range(loaded.notes, parsed.notes);
  onnx::ReadResult read = onnx::readModel(modelPath);
  take(read.problems);
  if (!loaded.problems.empty())
    return loaded;
  loaded.folder = read.model->folder;
  onnx::ImportOptions options;
  options.recipe = parsed.recipe;
  onnx::ImportResult imported = onnx::importModel(*read.model, options, context);
  take(imported.problems);
  llvm::append_range(loaded.notes, imported.notes);
  if (!loaded.problems.empty() || !imported.module)
    return loaded;
  resolveBatch(options.recipe, exportedBatch(*imported.module), loaded.problems);
  options.recipe.modelSharding = std::move(imported.shardings);
  loaded.shapes = std::move(imported.shapes);
  checkTrainable(*imported.module, parsed, loaded.problems);
  (*imported.module)->setAttr(train::kRecipe, train::toAttribute(context, options.recipe));
  (*imported.module)->setAttr(train::kModel, StringAttr::get(context, llvm::sys::path::filename(modelPath)));
  loaded.module = std::move(imported.module);
  return loaded;
}

std::string describe(Location loc) {
  if (auto name = dyn_cast<NameLoc>(loc)) {
    std::string inner = describe(name.getChildLoc());
    return name.getName().str() + (inner.empty() ? "" : ", " + inner);
  }
  if (auto file = dyn_cast<FileLineColLoc>(loc))
    return file.getFilename().str() + ":" + std::to_string(file.getLine());
  if (auto fused = dyn_cast<FusedLoc>(loc)) {
    std::string text;
    for (Location part : fused.getLocations())
      if (std::string inner = describe(part); !inner.empty())
        text += (text.empty() ? "" : ", ") + inner;
    return text;
  }
  return "";
}

} // namespace llmc::driver
