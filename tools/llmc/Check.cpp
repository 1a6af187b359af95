//===- Check.cpp - llmc check ----------------------------------------------------------===//
#include "dialects/interfaces/Interfaces.h"
#include "dialects/train/Train.h"
#include "frontends/onnx/Importer.h"
#include "frontends/onnx/PrintRoles.h"
#include "frontends/onnx/Reader.h"
#include "frontends/recipe/RecipeParser.h"
#include "tools/llmc/Proof.h"
#include "tools/llmc/Tool.h"
#include "llvm/ADT/StringMap.h"
#include "llvm/Support/FormatVariadic.h"

using namespace mlir;

namespace llmc::tool {

static void printArguments(func::FuncOp forward, StringRef role, StringRef title) {
  int64_t count = 0, elements = 0, bytes = 0;
  std::string lines;
  llvm::raw_string_ostream stream(lines);
  for (unsigned i = 0; i < forward.getNumArguments(); ++i) {
    if (train::argumentString(forward, i, train::kRole) != role)
      continue;
    auto type = cast<RankedTensorType>(forward.getArgumentTypes()[i]);
    ++count;
    elements += type.getNumElements();
    bytes += tensorBytes(type);
    stream << llvm::formatv("  {0,-60} ", train::argumentString(forward, i, train::kName)) << type << "\n";
  }
  llvm::outs() << title << ": " << count << " tensors, " << elements << " elements, " << bytes << " bytes\n" << lines;
}

/// What compile refuses before it has to do with a target.
static int checkTraining(StringRef model, StringRef recipe, MLIRContext &context) {
  driver::LoadedModel loaded = driver::loadModel(model, recipe, &context);
  if (!loaded.module || !loaded.problems.empty())
    return report(loaded.problems);
  driver::PipelineOptions pipeline;
  pipeline.to = driver::Level::Step;
  return succeeded(driver::runPipeline(*loaded.module, pipeline)) ? kDone : kUnsupported;
}

int check(StringRef model, StringRef recipe, MLIRContext &context) {
  onnx::ReadResult read = onnx::readModel(model);
  if (!read.model)
    return report(read.problems);
  recipe::ParsedRecipe parsed;
  if (!recipe.empty()) {
    parsed = recipe::parseRecipeFile(recipe);
    Problems problems = parsed.problems.empty() ? recipe::checkSupported(parsed) : parsed.problems;
    if (!problems.empty())
      return report(problems);
  }
  std::map<std::string, int64_t> operators;
  for (const onnx::Node &node : read.model->nodes)
    ++operators[node.opName()];
  llvm::outs() << "operators: " << read.model->nodes.size() << " nodes\n ";
  for (auto &[name, count] : operators)
    llvm::outs() << " " << name << ":" << count;
  llvm::outs() << "\n";
  onnx::ImportOptions untrained;
  untrained.forTraining = false;
  onnx::ImportResult imported = recipe.empty() ? onnx::importModel(*read.model, untrained, &context)
                                               : driver::importWithRecipe(*read.model, parsed, &context);
  if (imported.module) {
    auto forward = imported.module->lookupSymbol<func::FuncOp>(train::kForward);
    printArguments(forward, train::kParam, "parameters");
    printArguments(forward, train::kBuffer, "buffers");
    printArguments(forward, train::kInput, "inputs (each needs a key under `data`)");
    llvm::outs() << "outputs:";
    for (unsigned i = 0; i < forward.getNumResults(); ++i)
      if (train::resultString(forward, i, train::kRole) != train::kBuffer)
        llvm::outs() << " " << train::resultString(forward, i, train::kName) << " " << forward.getResultTypes()[i];
    llvm::outs() << "\n";
  }
  onnx::printRoles(*read.model, imported.roles, parsed.recipe, llvm::outs());
  for (const std::string &note : imported.notes)
    llvm::outs() << "note: " << note << "\n";
  llvm::outs().flush();
  if (!imported.problems.empty())
    return report(imported.problems);
  bool hasLoss = llvm::any_of(read.model->outputs, [](const onnx::ValueInfo &output) { return output.name == "loss"; });
  if (recipe.empty() && !hasLoss) {
    llvm::outs() << "note: no output is called `loss`; with a recipe (-r) the whole of training is checked\n";
    return kDone;
  }
  int code = recipe.empty() ? withRecipeFile(defaultRecipe(*read.model, 0), [&](StringRef made) { return checkTraining(model, made, context); })
                            : checkTraining(model, recipe, context);
  if (code || !hasLoss)
    return code;
  return replayProof(model, *read.model, context);
}

} // namespace llmc::tool
