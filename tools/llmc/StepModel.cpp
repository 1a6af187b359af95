//===- StepModel.cpp - what llmc verify runs: a module of level `step` ------------===//
//
// The bound is what the reference interpreter does in a minute or two. Unless told otherwise, a model beyond it is
// shrunk: to one of each repeated block, and if that is not enough, to smaller sizes too, which data of the user's would
// not fit. What that leaves out is said before anything runs, and so is what the proof then does not cover.
//
//===----------------------------------------------------------------------===//
#include "tools/llmc/StepModel.h"
#include "dialects/interfaces/Interfaces.h"
#include "dialects/train/Train.h"
#include "mlir/Parser/Parser.h"
#include "llvm/Support/FormatVariadic.h"
#include "llvm/Support/Path.h"

using namespace mlir;

namespace llmc::tool {

namespace {

constexpr double kMostFlops = 5e10;
// Each is held several times, in f64: its gradient, its moments, and all of that on simulated ranks.
constexpr double kMostParameters = 3e7;

/// What a module of level `step` asks of the interpreter.
struct Work {
  int64_t microBatches = 1;
  double flops = 0, parameters = 0; // of a micro-batch, of the model

  static Work of(ModuleOp module) {
    Work work;
    train::Recipe recipe = train::recipeOf(module);
    auto accumulate = module.lookupSymbol<func::FuncOp>(train::kAccumulate);
    work.microBatches = recipe.batch.micro ? recipe.batch.step / recipe.batch.micro : 1;
    accumulate.walk([&](Operation *op) {
      if (auto cost = dyn_cast<Cost>(op))
        work.flops += static_cast<double>(cost.getFlops());
    });
    for (unsigned i = 0; i < accumulate.getNumArguments(); ++i)
      if (train::argumentString(accumulate, i, train::kRole) == train::kParam)
        work.parameters +=
            static_cast<double>(cast<RankedTensorType>(accumulate.getArgumentTypes()[i]).getNumElements());
    return work;
  }
  double total(int64_t steps) const { return flops * static_cast<double>(microBatches) * static_cast<double>(steps); }
  bool isSmall(int64_t steps) const { return total(steps) <= kMostFlops && parameters <= kMostParameters; }
};

int load(const VerifyOptions &options, MLIRContext &context, driver::LoadedModel &loaded) {
  if (!options.recipe.empty()) {
    loaded = driver::loadModel(options.model, options.recipe, &context);
    return loaded.module && loaded.problems.empty() ? kDone : report(loaded.problems);
  }
  loaded.module = parseSourceFile<ModuleOp>(options.model, &context);
  loaded.folder = llvm::sys::path::parent_path(options.model).str();
  return loaded.module ? kDone : kBadInput;
}

int refuse(const VerifyOptions &options, const Work &work) {
  return fail(
      kDoesNotFit,
      llvm::formatv("{0} steps are {1:F1} GFLOP, too much for the reference interpreter, whose bound is {2:F0} GFLOP",
                    options.steps, work.total(options.steps) / 1e9, kMostFlops / 1e9)
          .str(),
      llvm::formatv(
          "a micro-batch is {0:F1} GFLOP: verify fewer steps, a smaller batch, or a model with fewer layers or "
          "a shorter sequence{1}; the same operations are checked then",
          work.flops / 1e9,
          options.shrink == "no" || options.shrink == "blocks" ? ", or let it be shrunk (--shrink auto)"
          : !options.data.empty()                              ? ", or leave --data out, so that sizes can be smaller"
                                                               : "")
          .str());
}

void printLeftOut(ModuleOp module, driver::Shrink shrink) {
  auto lines = module->getAttrOfType<ArrayAttr>(train::kLeftOut);
  if (!lines && shrink != driver::Shrink::Nothing)
    llvm::outs() << "the whole model is verified: no two of its blocks are equal"
                 << (shrink == driver::Shrink::Sizes ? ", and no size of it can be smaller\n" : "\n");
  if (!lines)
    return;
  llvm::outs() << "a smaller model is verified:\n";
  for (StringRef line : lines.getAsValueRange<StringAttr>())
    llvm::outs() << "  " << line << "\n";
  llvm::outs()
      << "  not covered: rounding that grows with what is left out, and memory, time and messages of the whole "
         "model (llmc plan)\n";
}

} // namespace

int loadStepModel(const VerifyOptions &options, MLIRContext &context, driver::LoadedModel &loaded) {
  using driver::Shrink;
  driver::PipelineOptions pipeline;
  pipeline.from = options.from;
  pipeline.to = driver::Level::Step;
  SmallVector<Shrink> attempts = {Shrink::Nothing, Shrink::Blocks};
  if (options.data.empty())
    attempts.push_back(Shrink::Sizes);
  if (options.shrink == "blocks")
    attempts = {Shrink::Blocks};
  else if (options.shrink == "sizes")
    attempts = {Shrink::Sizes};
  else if (options.shrink == "no" || options.from != driver::Level::Imported)
    attempts.truncate(1);
  if (attempts.front() != Shrink::Nothing && options.from != driver::Level::Imported)
    return fail(kWrongUse, "IR of level '" + driver::nameOf(options.from) + "' is not shrunk",
                "start from level imported, or from the model");
  if (attempts.front() == Shrink::Sizes && !options.data.empty())
    return fail(kWrongUse, "--data has the sizes of the model, which --shrink sizes makes smaller",
                "leave --data out, inputs are made up then; or --shrink blocks");
  if (int code = load(options, context, loaded))
    return code;
  if (loaded.folder.empty())
    loaded.folder = "."; // "" would be the folder of a plan, which is a temporary one
  OwningOpRef<ModuleOp> imported = std::move(loaded.module);
  Work work;
  for (Shrink shrink : attempts) {
    loaded.module = imported->clone();
    pipeline.shrink = shrink;
    if (failed(driver::runPipeline(*loaded.module, pipeline)))
      return kUnsupported;
    work = Work::of(*loaded.module);
    if (work.isSmall(options.steps))
      break;
  }
  printLeftOut(*loaded.module, pipeline.shrink);
  if (work.total(options.steps) > kMostFlops)
    return refuse(options, work);
  llvm::outs() << llvm::formatv(
      "{0} steps of {1} micro-batches, {2:F3} GFLOP each, {3}\n", options.steps, work.microBatches, work.flops / 1e9,
      options.data.empty() ? "inputs made up from seed " + std::to_string(train::recipeOf(*loaded.module).seed)
                           : "inputs from " + options.data);
  return kDone;
}

} // namespace llmc::tool
