//===- VerifyRanks.cpp - llmc verify with a mesh: N simulated ranks against one ------------===//
//
//   1. a copy of the module at level `step` is brought to level `local`;
//   2. the interpreter runs both in f64, from the same parameters (the model's; what has no value in a file is made up) and on
//      the same inputs;
//   3. outputs, gradients and parameters are compared, in the order in which a step computes them. They may differ by the
//      order of sums alone.
//
//===----------------------------------------------------------------------===//
#include "compiler/reference/Trainer.h"
#include "compiler/reference/View.h"
#include "dialects/dist/Dist.h"
#include "dialects/train/Recipe.h"
#include "dialects/train/Train.h"
#include "runtime/io/Random.h"
#include "tools/llmc/Differences.h"
#include "tools/llmc/HostValues.h"
#include "tools/llmc/Tool.h"

using namespace mlir;

namespace llmc::tool {

namespace {

// f64 rounds at 1e-16; sums of a step in other orders stay far below this.
constexpr double kTolerance = 1e-10, kZeroGradient = 1e-9;

class RanksVerifier {
public:
  RanksVerifier(ModuleOp step, StringRef folder) : step(step), folder(folder), recipe(train::recipeOf(step)) {}

  int run(int64_t steps) {
    local = step.clone();
    driver::PipelineOptions pipeline;
    pipeline.from = driver::Level::Step;
    pipeline.to = driver::Level::Local;
    if (failed(driver::runPipeline(*local, pipeline)))
      return kUnsupported;
    one = std::make_unique<reference::Trainer>(step, reference::Arithmetic::F64);
    ranks = std::make_unique<reference::Trainer>(*local, reference::Arithmetic::F64);
    for (auto function : step.getOps<func::FuncOp>())
      for (unsigned i = 0; i < function.getNumArguments(); ++i)
        if (int code = setParameter(function, i))
          return code;
    for (StringRef function : {train::kEvaluate, train::kPredict})
      if (int code = compareForward(function))
        return code;
    for (int64_t k = 0; k < steps; ++k)
      if (int code = compareStep(k))
        return code;
    return finish();
  }

private:
  int setParameter(func::FuncOp function, unsigned i) {
    StringRef role = train::argumentString(function, i, train::kRole),
              name = train::argumentString(function, i, train::kName);
    if ((role != train::kParam && role != train::kBuffer) || one->get(name))
      return kDone;
    const train::Initializer *init = nullptr;
    for (const train::Initializer &entry : recipe.init)
      init = train::matchesGlob(entry.glob, name) ? &entry : init;
    HostTensor value = HostTensor::zeros(reference::logicalType(function, i));
    auto read = function.getArgAttr(i, train::kSource) ? std::optional(readParameter(function, i, folder)) : std::nullopt;
    if (read && read->ok())
      value = std::move(**read);
    else if (read && !init && recipe.weights.empty()) // with other values to come, a graph may be without its weights
      return fail(kBadInput, read->status().message, read->status().hint);
    else
      makeUpValue(name, init ? *init : train::Initializer{train::Initializer::Uniform, "*", -0.05, 0.05}, value);
    one->set(name, value);
    ranks->set(name, std::move(value));
    names.push_back(name.str());
    return kDone;
  }

  void makeUpValue(StringRef name, const train::Initializer &init, HostTensor &value) {
    runtime::RandomStream random(recipe.seed, name.str());
    for (auto [k, x] : llvm::enumerate(value.reals))
      x = init.kind == train::Initializer::Normal    ? init.b * random.normalPair(k & ~1ul)[k & 1]
          : init.kind == train::Initializer::Uniform ? init.a + (init.b - init.a) * random.uniform53(k)
          : init.kind == train::Initializer::Ones    ? 1.0
                                                     : init.a;
  }

  reference::Trainer::Inputs makeUp(func::FuncOp function, const std::string &when) {
    reference::Trainer::Inputs inputs;
    for (unsigned i = 0; i < function.getNumArguments(); ++i) {
      if (train::argumentString(function, i, train::kRole) != train::kInput)
        continue;
      std::string name = train::argumentString(function, i, train::kName).str();
      inputs[name] = makeUpInput(function, i, cast<RankedTensorType>(function.getArgumentTypes()[i]).getShape(), recipe.seed, name + " " + when);
    }
    return inputs;
  }

  int compareForward(StringRef name) {
    auto function = step.lookupSymbol<func::FuncOp>(name);
    if (!function)
      return kDone;
    reference::Trainer::Inputs inputs = makeUp(function, name.str());
    auto expected = one->evaluate(name, inputs), found = ranks->evaluate(name, inputs);
    if (failed(expected) || failed(found))
      return kBadInput;
    for (auto &[output, value] : *expected)
      compare("@" + name.str(), "output '" + output + "' of @" + name.str(), found->at(output), value);
    return kDone;
  }

  int compareStep(int64_t k) {
    std::string when = "step " + std::to_string(k + 1);
    auto function = step.lookupSymbol<func::FuncOp>(train::kAccumulate);
    int64_t count = recipe.batch.micro ? std::max<int64_t>(1, recipe.batch.step / recipe.batch.micro) : 1;
    std::vector<reference::Trainer::Inputs> batches;
    for (int64_t micro = 0; micro < count; ++micro)
      batches.push_back(makeUp(function, std::to_string(k) + " " + std::to_string(micro)));
    if (failed(one->step(batches)) || failed(ranks->step(batches)))
      return kBadInput;
    compare(when, "loss", ranks->outputs.at("loss"), one->outputs.at("loss"));
    SmallVector<Ledger::Gradient> gradients;
    for (const std::string &name : names)
      if (const HostTensor *expected = one->gradient(name))
        gradients.push_back({name, ranks->gradient(name), expected});
    ledger.addGradients(when, gradients, kZeroGradient, kTolerance);
    compare(when, "grad_norm", ranks->outputs.at("grad_norm"), one->outputs.at("grad_norm"));
    for (const std::string &name : names)
      if (const HostTensor *expected = one->get(name); expected && !ledger.isNoise(name))
        ledger.addParameter(when, name, byLargestEntry(*ranks->get(name), *expected), kTolerance);
    return kDone;
  }

  void compare(const std::string &when, const std::string &what, const HostTensor &value, const HostTensor &expected) {
    ledger.add(when, what, byLargestEntry(value, expected), kTolerance);
  }

  int finish() {
    llvm::outs() << "largest relative differences of " << dist::meshOf(*local).ranks() << " ranks to one, in f64\n";
    ledger.print(names, "value");
    if (ledger.firstProblem().empty()) {
      llvm::outs() << "the ranks compute what one rank computes\n";
      return kDone;
    }
    llvm::outs().flush();
    return fail(kNumbersDiffer, "the ranks do not compute what one rank computes; first at " + ledger.firstProblem(),
                "this is a mistake of the compiler: please report it with the model and the recipe");
  }

  ModuleOp step;
  StringRef folder;
  train::Recipe recipe;
  OwningOpRef<ModuleOp> local;
  std::unique_ptr<reference::Trainer> one, ranks;
  std::vector<std::string> names; // parameters and buffers
  Ledger ledger;
};

} // namespace

int verifyRanks(ModuleOp step, StringRef folder, int64_t steps) { return RanksVerifier(step, folder).run(steps); }

} // namespace llmc::tool
