//===- Frontend.cpp - model and recipe files to a module ------------------------===//
#include "compiler/driver/Frontend.h"
#include "dialects/train/Train.h"
#include "frontends/onnx/Importer.h"
#include "frontends/onnx/Reader.h"
#include "frontends/recipe/ModelChecks.h"
#include "frontends/recipe/RecipeParser.h"
#include "llvm/Support/FileSystem.h"
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

/// Numbers for what the recipe leaves to the model. What they contradict then, the recipe's reader could not see.
static void resolveBatch(train::Recipe &recipe, int64_t exported, Problems &problems) {
  train::Batch &batch = recipe.batch;
  bool given = batch.step != 0 || batch.micro != 0;
  if (batch.step == 0)
    batch.step = batch.micro != 0 ? batch.micro : exported;
  if (batch.micro == 0)
    batch.micro = batch.step;
  if (batch.step > INT32_MAX)
    problems.push_back({"batch.step (" + std::to_string(batch.step) + ") is more samples than a plan counts, " + std::to_string(INT32_MAX), "",
                        "a step of fewer samples, with more steps"});
  int64_t ranks = 1;
  for (auto &[axis, size] : recipe.mesh)
    if (axis == "dp" || axis == "dp_replicate")
      ranks *= size;
  if (given || batch.micro % ranks == 0)
    return;
  Problem problem{"the batch that the model was exported with, " + std::to_string(exported) + " samples, does not divide by the " + std::to_string(ranks) +
                      " data ranks of `mesh`",
                  "", "give a multiple of " + std::to_string(ranks) + ": `batch: {micro: " + std::to_string(ranks) + "}`"};
  problem.key = "mesh.dp";
  problems.push_back(problem);
}

/// Parameters as a recipe can name them.
static std::vector<recipe::NamedParameter> parametersOf(ModuleOp module, const onnx::Model &model) {
  auto forward = module.lookupSymbol<func::FuncOp>(train::kForward);
  std::vector<recipe::NamedParameter> parameters;
  for (unsigned i = 0; i < forward.getNumArguments(); ++i)
    if (train::argumentString(forward, i, train::kRole) == train::kParam) {
      const onnx::Tensor *tensor = model.initializer(train::argumentString(forward, i, train::kName));
      parameters.push_back({train::namesOf(forward, i), train::logicalRank(forward, i), tensor && !tensor->missing,
                            forward.getArgAttr(i, train::kFrozen) != nullptr});
    }
  return parameters;
}

onnx::ImportResult importWithRecipe(const onnx::Model &model, const recipe::ParsedRecipe &parsed, MLIRContext *context) {
  onnx::ImportOptions options;
  options.recipe = parsed.recipe;
  onnx::ImportResult imported = onnx::importModel(model, options, context);
  if (imported.module)
    llvm::append_range(imported.problems, recipe::checkParameters(parsed, parametersOf(*imported.module, model)));
  recipe::locate(imported.problems, parsed);
  return imported;
}

/// The recipe's `weights`, a path relative to the recipe, becomes one relative to the model's folder, as all files of a plan.
static void placeWeights(train::Recipe &recipe, StringRef recipePath, StringRef modelFolder, StringRef where, Problems &problems) {
  if (recipe.weights.empty())
    return;
  llvm::SmallString<256> file(llvm::sys::path::is_absolute(recipe.weights) ? "" : llvm::sys::path::parent_path(recipePath)), folder(modelFolder);
  llvm::sys::path::append(file, recipe.weights);
  if (!llvm::sys::fs::is_regular_file(file)) {
    problems.push_back({"`weights` names '" + file.str().str() + "', which is no file", where.str(),
                        "the path is relative to the recipe; leave `weights` out to give llmc-run --weights FILE"});
    return;
  }
  llvm::sys::fs::make_absolute(file);
  llvm::sys::fs::make_absolute(folder);
  llvm::sys::path::remove_dots(file, /*remove_dot_dot=*/true);
  llvm::sys::path::remove_dots(folder, /*remove_dot_dot=*/true);
  StringRef inside = file;
  if (!inside.consume_front(folder) || !inside.consume_front("/")) {
    problems.push_back({"`weights` names '" + file.str().str() + "', which does not lie in the model's folder", where.str(),
                        "a plan names files of its own folder only: move it there, or leave `weights` out and give llmc-run --weights FILE"});
    return;
  }
  recipe.weights = inside.str();
}

/// Paths, each once.
static void addFile(std::vector<std::string> &files, StringRef folder, StringRef name) {
  llvm::SmallString<256> path(folder);
  llvm::sys::path::append(path, name);
  if (!llvm::is_contained(files, path.str()))
    files.push_back(path.str().str());
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
  for (const onnx::Tensor &initializer : read.model->initializers)
    if (initializer.source)
      addFile(loaded.files, loaded.folder, initializer.source->path);
  placeWeights(parsed.recipe, recipePath, loaded.folder, parsed.where("weights"), loaded.problems);
  if (!loaded.problems.empty())
    return loaded;
  if (!parsed.recipe.weights.empty())
    addFile(loaded.files, loaded.folder, parsed.recipe.weights);
  onnx::ImportResult imported = importWithRecipe(*read.model, parsed, context);
  take(imported.problems);
  llvm::append_range(loaded.notes, imported.notes);
  if (!loaded.problems.empty() || !imported.module)
    return loaded;
  loaded.recipe = parsed.recipe;
  resolveBatch(loaded.recipe, exportedBatch(*imported.module), loaded.problems);
  recipe::locate(loaded.problems, parsed);
  loaded.shapes = std::move(imported.shapes);
  train::Recipe attached = loaded.recipe;
  attached.modelSharding = std::move(imported.shardings);
  if (!imported.lossOutput.empty())
    attached.loss.output = imported.lossOutput;
  (*imported.module)->setAttr(train::kRecipe, train::toAttribute(context, attached));
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
