//===- main.cpp - llmc: the compiler's command line -------------------------------===//
#include "mlir/IR/Diagnostics.h"
#include "mlir/IR/MLIRContext.h"
#include "runtime/io/TokenFile.h"
#include "tools/common/Crash.h"
#include "tools/llmc/Tool.h"
#include "llvm/Support/CommandLine.h"
#include "llvm/Support/ManagedStatic.h"

using namespace llmc;
namespace cl = llvm::cl;

namespace {

cl::SubCommand checkCommand("check", "what is trainable, what is unsupported, sizes");
cl::SubCommand compileCommand("compile", "model and recipe to a level of the compiler");
cl::SubCommand explainCommand("explain", "what a plan does: memory at the peak, kernels, forecast and measured times");
cl::SubCommand planCommand("plan", "forecast without code: memory, communication and time of a step");
cl::SubCommand exportCommand("export", "the trained values of a checkpoint, as ONNX or safetensors");
cl::SubCommand interpretCommand("interpret",
                                "trains with the reference interpreter: slow, exact, the judge of every target");
cl::SubCommand recipeCommand("recipe", "the keys of a recipe: types, defaults, examples");
cl::SubCommand verifyCommand("verify",
                             "runs a few steps of the compiled plan and of the reference interpreter, and compares");

cl::opt<std::string> model(cl::Positional, cl::desc("model.onnx"), cl::Required, cl::sub(checkCommand),
                           cl::sub(compileCommand), cl::sub(interpretCommand), cl::sub(planCommand),
                           cl::sub(verifyCommand));
cl::opt<std::string> planFile(cl::Positional, cl::desc("m.plan"), cl::Required, cl::sub(explainCommand));
cl::opt<std::string> profile("profile", cl::desc("what llmc-run --profile wrote"), cl::value_desc("file"),
                             cl::sub(explainCommand));
cl::opt<bool> asJson("json", cl::desc("the figures as JSON: memory, state, communication"), cl::sub(explainCommand),
                     cl::sub(planCommand));
cl::opt<std::string> checkpointFolder(cl::Positional, cl::desc("CHECKPOINT"), cl::Required, cl::sub(exportCommand));
cl::opt<std::string> exportedModel("model", cl::desc("the model that was trained"), cl::value_desc("model.onnx"),
                                   cl::Required, cl::sub(exportCommand));
cl::opt<std::string> exportOutput("o", cl::desc("file to write"), cl::value_desc("trained.onnx | trained.safetensors"),
                                  cl::Required, cl::sub(exportCommand));
cl::opt<std::string> recipeFile("r", cl::desc("recipe (YAML, or DeepSpeed JSON)"), cl::value_desc("file"),
                                cl::sub(checkCommand), cl::sub(compileCommand), cl::sub(interpretCommand),
                                cl::sub(planCommand), cl::sub(verifyCommand));
cl::opt<std::string> output("o", cl::desc("plan file, or with --stop-after the IR, by default on stdout"),
                            cl::sub(compileCommand));
cl::opt<std::string> shardedOutput("o", cl::desc("writes the model with the shardings of the plan"),
                                   cl::value_desc("sharded.onnx"), cl::sub(planCommand));
cl::opt<std::string> configuration("configuration", cl::desc("with -o: the name of the configuration of devices"),
                                   cl::init("llmc"), cl::sub(planCommand));
cl::opt<std::string> stopAfter("stop-after", cl::desc("prints IR of this level instead of writing a plan"),
                               cl::sub(compileCommand));
cl::opt<std::string> startFrom("start-from", cl::desc("the model is IR of this level, as --stop-after prints it"),
                               cl::sub(compileCommand), cl::sub(verifyCommand));
cl::opt<std::string>
    modelFolder("model-folder",
                cl::desc("with --start-from: where the files of parameters lie (default: beside the IR)"),
                cl::sub(compileCommand));
cl::opt<bool> printRecipe("print-recipe", cl::desc("prints all values of the recipe that are in force, as a recipe, and does nothing else"),
                          cl::sub(compileCommand));
cl::opt<std::string> explainedKey("explain", cl::desc("a key, such as optimizer.adamw.lr or lr"), cl::value_desc("key"),
                                  cl::sub(recipeCommand));
cl::opt<bool> asMarkdown("markdown", cl::desc("the page docs/recipe.md"), cl::sub(recipeCommand));
cl::opt<std::string> dumpLevels("dump-levels", cl::desc("writes each level into this folder"), cl::sub(compileCommand));
cl::opt<std::string> data("data", cl::desc("safetensors file with NAME.0, NAME.1, ..."), cl::sub(interpretCommand));
cl::opt<std::string> verifyData("data", cl::desc("tokens, text or a safetensors file; without it inputs are made up"),
                                cl::sub(verifyCommand));
cl::opt<std::string> metrics("metrics", cl::desc("JSONL file"), cl::sub(interpretCommand));
cl::opt<bool> overwrite("overwrite", cl::desc("let --metrics write over an older file"), cl::sub(interpretCommand));
cl::opt<int64_t> steps("steps", cl::desc("number of steps"), cl::init(1), cl::sub(interpretCommand));
cl::opt<int64_t> verifySteps("steps", cl::desc("number of steps"), cl::init(2), cl::sub(verifyCommand));
cl::opt<bool> verbose("verbose", cl::desc("after a crash: the stack"), cl::sub(cl::SubCommand::getAll()));
cl::opt<std::string> shrink("shrink",
                            cl::desc("auto (the default): if the interpreter needs it; no; blocks: one of each repeated "
                                     "block; sizes: that, and smaller sizes"),
                            cl::value_desc("auto|no|blocks|sizes"), cl::init("auto"), cl::sub(verifyCommand));
cl::opt<bool> f64("f64", cl::desc("all arithmetic in double precision"), cl::sub(interpretCommand));
cl::list<std::string> saveGradients("save-gradients", cl::desc("STEP:FILE"), cl::sub(interpretCommand));
cl::list<std::string> saveWeights("save-weights", cl::desc("STEP:FILE"), cl::sub(interpretCommand));

/// Diagnostics as users read them: what, where; notes below, of which some are hints.
void printDiagnostic(mlir::Diagnostic &diagnostic) {
  static constexpr const char *kinds[] = {"note", "warning", "error", "note"};
  auto print = [](mlir::Diagnostic &d) {
    if (llvm::StringRef(d.str()).starts_with("hint: ")) {
      llvm::errs() << d.str() << "\n";
      return;
    }
    std::string where = driver::describe(d.getLocation());
    llvm::errs() << kinds[static_cast<int>(d.getSeverity())] << ": " << d.str()
                 << (where.empty() ? "" : " [" + where + "]") << "\n";
  };
  print(diagnostic);
  for (mlir::Diagnostic &note : diagnostic.getNotes())
    print(note);
}

int runCompile(mlir::MLIRContext &context) {
  tool::CompileOptions options;
  options.model = model;
  options.output = output;
  options.modelFolder = modelFolder;
  options.pipeline.dumpDirectory = dumpLevels;
  options.writePlan = stopAfter.empty();
  std::string last = stopAfter.empty() ? "plan" : stopAfter.getValue(),
              first = startFrom.empty() ? "imported" : startFrom.getValue();
  std::optional<driver::Level> to = driver::levelNamed(last), from = driver::levelNamed(first);
  if (!to || !from)
    return tool::fail(tool::kWrongUse, "no level '" + (to ? first : last) + "'",
                      "the levels are: " + driver::allLevelNames());
  if (*from > *to)
    return tool::fail(tool::kWrongUse, "level '" + first + "' comes after '" + last + "'");
  options.pipeline.from = *from;
  options.pipeline.to = *to;
  if (recipeFile.empty() && startFrom.empty())
    return tool::fail(tool::kWrongUse, "compile needs a recipe", "give one with -r recipe.yaml");
  options.printRecipe = printRecipe;
  if (printRecipe && recipeFile.empty())
    return tool::fail(tool::kWrongUse, "--print-recipe needs a recipe", "give one with -r recipe.yaml");
  if (options.writePlan && output.empty() && !printRecipe)
    return tool::fail(tool::kWrongUse, "compile needs a place for the plan",
                      "give one with -o m.plan, or --stop-after LEVEL for IR");
  if (startFrom.empty() || printRecipe)
    options.recipe = recipeFile;
  return tool::compile(options, context);
}

int runPlan(mlir::MLIRContext &context) {
  if (recipeFile.empty())
    return tool::fail(tool::kWrongUse, "plan needs a recipe", "give one with -r recipe.yaml");
  if (!shardedOutput.empty() && configuration.empty())
    return tool::fail(tool::kWrongUse, "a configuration needs a name", "leave --configuration out, or name it");
  tool::CompileOptions options;
  options.model = model;
  options.recipe = recipeFile;
  options.pipeline.from = driver::Level::Imported;
  options.pipeline.to = driver::Level::Plan;
  options.forecast = true;
  options.asJson = asJson;
  options.sharded = {shardedOutput, configuration};
  return tool::compile(options, context);
}

int runVerify(mlir::MLIRContext &context) {
  tool::VerifyOptions options{model, startFrom.empty() ? recipeFile.getValue() : "", verifyData};
  options.steps = verifySteps;
  if (recipeFile.empty() && startFrom.empty())
    return tool::fail(tool::kWrongUse, "verify needs a recipe", "give one with -r recipe.yaml");
  std::optional<driver::Level> from = driver::levelNamed(startFrom.empty() ? "imported" : startFrom.getValue());
  if (!from || *from > driver::Level::Step)
    return tool::fail(tool::kWrongUse, "verify starts from imported, model or step, not from '" + startFrom + "'");
  options.from = *from;
  options.shrink = shrink;
  if (shrink != "auto" && shrink != "no" && shrink != "blocks" && shrink != "sizes")
    return tool::fail(tool::kWrongUse, "--shrink does not know '" + shrink.getValue() + "'",
                      "it is one of auto, no, blocks and sizes");
  return tool::verify(options, context);
}

/// A pipe, say, would be waited for.
int checkInputs() {
  runtime::FileRoles roles;
  roles.reads(model, "the model");
  roles.reads(exportedModel, "the model");
  roles.reads(planFile, "the plan");
  roles.reads(profile, "--profile");
  roles.reads(data, "--data");
  for (const std::string &file : runtime::TokenFile::filesOf(verifyData))
    roles.reads(file, "--data");
  tool::readsRecipe(roles, recipeFile);
  runtime::Status status = roles.check();
  return status.ok() ? tool::kDone : tool::failWith(status);
}

int runCommand() {
  mlir::DialectRegistry registry;
  driver::registerAllDialects(registry);
  mlir::MLIRContext context(registry);
  context.loadAllAvailableDialects();
  context.printOpOnDiagnostic(false);
  context.getDiagEngine().registerHandler(printDiagnostic);
  if (int code = checkInputs())
    return code;
  if (checkCommand)
    return tool::check(model, recipeFile, context);
  if (compileCommand)
    return runCompile(context);
  if (planCommand)
    return runPlan(context);
  if (recipeCommand)
    return tool::explainRecipe(explainedKey, asMarkdown);
  if (explainCommand)
    return tool::explain(planFile, profile, asJson);
  if (exportCommand)
    return tool::exportCheckpoint({checkpointFolder, exportedModel, exportOutput});
  if (interpretCommand && recipeFile.empty())
    return tool::fail(tool::kWrongUse, "interpret needs a recipe", "give one with -r recipe.yaml");
  if (steps < 0 || verifySteps < 1)
    return tool::fail(tool::kWrongUse, std::string("--steps needs a whole number from ") + (verifyCommand ? "1" : "0") + " on");
  if (interpretCommand)
    return tool::interpret({model, recipeFile, data, metrics, steps, f64, saveGradients, saveWeights, overwrite}, context);
  if (verifyCommand)
    return runVerify(context);
  return tool::fail(tool::kWrongUse, "no command",
                    "llmc check | compile | plan | explain | export | interpret | recipe | verify; llmc --help");
}

} // namespace

int main(int argc, char **argv) {
  tool::reportCrashes(argc, argv);
  cl::OptionCategory ours("options of llmc"); // the top level has none; LLVM's hundreds are left out of the help
  cl::HideUnrelatedOptions(ours);
  llvm::llvm_shutdown_obj shutdown;
  std::string mistakes;
  llvm::raw_string_ostream stream(mistakes);
  if (!cl::ParseCommandLineOptions(argc, argv, "llmc: compiles the training of a model\n", &stream))
    return tool::fail(tool::kWrongUse, llvm::StringRef(mistakes).trim(),
                      "llmc --help and llmc COMMAND --help list the options");
  int code = runCommand();
  llvm::outs().flush();
  if (llvm::outs().has_error()) {
    std::string reason = llvm::outs().error().message();
    llvm::outs().clear_error();
    return tool::fail(tool::kBadInput, "cannot write to stdout: " + reason);
  }
  return code;
}
