//===- Compile.cpp - llmc compile ------------------------------------------------------===//
#include "compiler/driver/Compile.h"
#include "compiler/driver/Budget.h"
#include "compiler/driver/Explain.h"
#include "dialects/train/Train.h"
#include "frontends/recipe/RecipePrinter.h"
#include "mlir/Parser/Parser.h"
#include "mlir/Support/FileUtilities.h"
#include "tools/llmc/OnnxFile.h"
#include "tools/llmc/Proof.h"
#include "tools/llmc/Tool.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/Path.h"
#include "llvm/Support/ToolOutputFile.h"

using namespace mlir;

namespace llmc::tool {

static int printIr(ModuleOp module, StringRef output) {
  std::string message;
  auto file = openOutputFile(output.empty() ? "-" : output, &message);
  if (!file)
    return fail(kBadInput, message);
  module->print(file->os(), OpPrintingFlags().enableDebugInfo(true, false).useLocalScope());
  file->os() << "\n";
  file->keep();
  return kDone;
}

static int printForecast(ModuleOp module, driver::PlanOptions options, bool asJson) {
  options.file.target = "cpu";
  flatbuffers::FlatBufferBuilder builder(1 << 20);
  llvm::Expected<const llmc::plan::fb::Plan *> plan = driver::forecastPlan(module, options, builder);
  if (!plan)
    return fail(kUnsupported, llvm::toString(plan.takeError()));
  if (asJson)
    driver::writeJson(**plan, "", llvm::outs());
  else
    driver::explainForecast(**plan, llvm::outs());
  return kDone;
}

/// Of a pipeline that failed.
static ExitCode codeOf(ModuleOp module) { return module->hasAttr(train::kMistake) ? kBadInput : kUnsupported; }

/// To the level that the options say. A copy of the model that says how it is sharded is written on the way.
static int lower(ModuleOp module, const CompileOptions &options, const LoadedShapes &shapes) {
  driver::PipelineOptions pipeline = options.pipeline;
  if (!options.sharded.output.empty()) {
    pipeline.to = driver::Level::Sharded;
    if (failed(driver::runPipeline(module, pipeline)))
      return codeOf(module);
    if (int code = writeShardedModel(module, options.model, shapes, options.sharded))
      return code;
    pipeline.from = driver::Level::Sharded;
    pipeline.to = options.pipeline.to;
  }
  return succeeded(driver::runPipeline(module, pipeline)) ? kDone : codeOf(module);
}

/// Before anything is read: no output is a file that is read, and each can be written.
static int checkFiles(const CompileOptions &options, runtime::FileRoles &roles) {
  roles.reads(options.model, "the model itself");
  readsRecipe(roles, options.recipe);
  StringRef copy = options.sharded.output;
  if (!copy.empty() && !copy.ends_with(".onnx"))
    return fail(kWrongUse, "-o '" + copy + "' names no .onnx file", "llmc plan writes the model with its shardings");
  if (options.output != "-")
    roles.writes(options.output, "-o");
  roles.writes(copy.str(), "-o");
  if (!copy.empty())
    roles.writes(copy.str() + ".data", "the data of -o");
  if (!options.pipeline.dumpDirectory.empty())
    for (int i = 0; i <= static_cast<int>(driver::Level::Plan); ++i)
      roles.mayWrite(options.pipeline.dumpDirectory + "/" + std::to_string(i) + "-" + driver::nameOf(static_cast<driver::Level>(i)).str() + ".mlir",
                     "a level of --dump-levels");
  runtime::Status status = roles.check();
  return status.ok() ? kDone : failWith(status);
}

int checkLoadedFiles(runtime::FileRoles &roles, const driver::LoadedModel &loaded) {
  for (const std::string &file : loaded.files)
    roles.reads(file, "a data file of the model itself");
  runtime::Status status = roles.check();
  return status.ok() ? kDone : failWith(status);
}

int compile(const CompileOptions &options, MLIRContext &context) {
  runtime::FileRoles roles;
  if (int code = checkFiles(options, roles))
    return code;
  LoadedShapes shapes;
  driver::PlanOptions plan;
  OwningOpRef<ModuleOp> module;
  if (!options.recipe.empty()) {
    driver::LoadedModel loaded = driver::loadModel(options.model, options.recipe, &context);
    if (!loaded.module || !loaded.problems.empty())
      return report(loaded.problems);
    if (int code = checkLoadedFiles(roles, loaded))
      return code;
    for (const std::string &note : loaded.notes)
      llvm::errs() << "note: " << note << "\n";
    if (options.printRecipe) {
      llvm::outs() << recipe::printRecipe(loaded.recipe);
      return kDone;
    }
    if (options.writePlan && !llvm::sys::fs::exists(proofPath(options.model)))
      llvm::errs() << "note: there is no " << llvm::sys::path::filename(proofPath(options.model))
                   << " beside the model, by which `llmc check` would compare it with PyTorch\n";
    module = std::move(loaded.module);
    shapes = std::move(loaded.shapes);
    plan.file.folder = loaded.folder;
  } else {
    module = parseSourceFile<ModuleOp>(options.model, &context);
    if (!module)
      return kBadInput;
    plan.file.folder =
        options.modelFolder.empty() ? llvm::sys::path::parent_path(options.model).str() : options.modelFolder;
  }
  // Smaller micro-batches are tried from here if the plan does not fit.
  OwningOpRef<ModuleOp> imported;
  if (options.pipeline.from == driver::Level::Imported && train::recipeOf(*module).memoryBudget)
    imported = module->clone();
  if (int code = lower(*module, options, shapes))
    return code;
  if (options.pipeline.to == driver::Level::Plan)
    if (std::optional<Problem> problem = driver::judgeBudget(*module, imported ? *imported : ModuleOp()))
      return report({*problem});
  if (options.forecast)
    return printForecast(*module, plan, options.asJson);
  if (!options.writePlan)
    return printIr(*module, options.output);
  plan.file.path = options.output;
  plan.file.target = "cpu";
  llvm::Error error = driver::generatePlan(*module, plan);
  if (!error)
    return kDone;
  ExitCode code = kUnsupported;
  std::string message;
  llvm::handleAllErrors(std::move(error), [&](const llvm::ErrorInfoBase &info) {
    message = info.message();
    if (info.convertToErrorCode() == std::make_error_code(std::errc::io_error))
      code = kBadInput;
  });
  return fail(code, message);
}

} // namespace llmc::tool
