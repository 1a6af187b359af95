//===- Verify.cpp - llmc verify: the compiled plan against the reference interpreter ---===//
//
//   1. the model is brought to level `step` (StepModel.h); a copy of that is what the interpreter runs, the rest of the pipeline makes the
//      plan that the executor runs;
//   2. the executor makes the initial values and the interpreter takes them over;
//   3. both run the same inputs, each step compared in the order in which a step computes: loss, gradients, gradient norm,
//      parameters. What is out of tolerance first names the culprit, since all that follows is off too.
// Ids and reals are made up where no data is given, as a function of (recipe's seed, step, micro-batch, input).
//
//===----------------------------------------------------------------------===//
#include "compiler/driver/Compile.h"
#include "compiler/reference/Trainer.h"
#include "dialects/train/Train.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "runtime/executor/ModelState.h"
#include "runtime/io/Data.h"
#include "runtime/io/Random.h"
#include "tools/llmc/Differences.h"
#include "tools/llmc/HostValues.h"
#include "tools/llmc/StepModel.h"
#include "tools/llmc/Tool.h"
#include "llvm/ADT/ScopeExit.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/FormatVariadic.h"
#include <cmath>

using namespace mlir;

namespace llmc::tool {

namespace {

namespace fb = runtime::fb;

constexpr double kOutput = 2e-5;
// Gradients after the first step are those of weights that have drifted apart already.
constexpr double kLaterGradient = 5e-4;

class Verifier {
public:
  Verifier(const VerifyOptions &options, MLIRContext &context) : options(options), context(context) {}
  int run();

private:
  int fail(const runtime::Status &status) {
    return tool::fail(static_cast<ExitCode>(status.code), status.message, status.hint);
  }
  int prepare();
  int makePlan();
  std::vector<std::pair<std::string, HostTensor>> parameters() const;
  runtime::Status fill(uint32_t segment, uint64_t step, uint64_t micro, reference::Trainer::Inputs &inputs);
  void makeUp(const fb::Input &input, const fb::Buffer &buffer, uint64_t step, uint64_t micro, uint8_t *to) const;
  int compareForward(StringRef function);
  void move(HostTensor &value, const std::string &name);
  std::map<std::string, HostTensor> movedOutputs(StringRef function, const reference::Trainer::Inputs &inputs);
  int compareStep(uint64_t step);
  int finish();

  const VerifyOptions &options;
  MLIRContext &context;
  driver::LoadedModel loaded;
  OwningOpRef<ModuleOp> stepModule;
  std::unique_ptr<runtime::ThreadPool> pool;
  std::unique_ptr<runtime::Executor> executor;
  std::unique_ptr<runtime::DataSet> data;
  std::unique_ptr<reference::Trainer> trainer;
  std::map<std::string, HostTensor> start;
  Ledger ledger;
};

int Verifier::prepare() {
  if (int code = loadStepModel(options, context, loaded))
    return code;
  train::Recipe recipe = train::recipeOf(*loaded.module);
  if (llvm::any_of(recipe.mesh, [](const auto &axis) { return axis.second > 1; })) {
    if (!options.data.empty())
      return tool::fail(kWrongUse, "ranks are verified on inputs that are made up", "leave --data out");
    int code = verifyRanks(*loaded.module, loaded.folder, options.steps);
    return code ? code : verifyExecutedRanks(*loaded.module, loaded.folder, options.steps);
  }
  stepModule = loaded.module->clone();
  driver::PipelineOptions pipeline;
  pipeline.from = driver::Level::Step;
  pipeline.to = driver::Level::Plan;
  if (failed(driver::runPipeline(*loaded.module, pipeline)))
    return kUnsupported;
  return makePlan();
}

int Verifier::makePlan() {
  llvm::SmallString<128> folder;
  if (std::error_code error = llvm::sys::fs::createUniqueDirectory("llmc-verify", folder))
    return tool::fail(kBadInput, "cannot create a temporary folder: " + error.message());
  llvm::scope_exit remove([&] { llvm::sys::fs::remove_directories(folder); });
  driver::PlanOptions plan;
  plan.file = {(folder + "/m.plan").str(), "cpu", loaded.folder};
  if (llvm::Error error = driver::generatePlan(*loaded.module, plan))
    return tool::fail(kUnsupported, llvm::toString(std::move(error)));
  auto file = runtime::PlanFile::read(plan.file.path);
  if (!file.ok())
    return fail(file.status());
  pool = std::make_unique<runtime::ThreadPool>(runtime::availableCores(), runtime::GemmLibrary::initializeThread);
  auto created = runtime::Executor::create(*file, 0, *pool);
  if (!created.ok())
    return fail(created.status());
  executor = std::move(*created);
  if (!options.data.empty()) {
    auto opened = runtime::DataSet::open(runtime::DataOptions::of(executor->plan(), {options.data}),
                                         *executor->program().segments()->Get(*executor->segment("accumulate")),
                                         executor->program());
    if (!opened.ok())
      return fail(opened.status());
    data = std::move(*opened);
    if (static_cast<uint64_t>(options.steps) > data->steps())
      return tool::fail(kBadInput,
                        "the data lasts for " + llvm::Twine(data->steps()) + " steps, " + llvm::Twine(options.steps) +
                            " are to run",
                        "ask for fewer with --steps");
  }
  runtime::Status status =
      runtime::ModelState(*executor).initialize({loaded.folder, "", /*mayBeZero=*/true}, [](const std::string &, double) {});
  if (!status.ok())
    return fail(status);
  trainer = std::make_unique<reference::Trainer>(*stepModule, reference::Arithmetic::AsTyped);
  for (auto &[name, value] : parameters()) {
    trainer->set(name, value);
    start[name] = std::move(value);
  }
  return kDone;
}

/// Parameters and buffers of the model by name, in logical form.
std::vector<std::pair<std::string, HostTensor>> Verifier::parameters() const {
  std::vector<std::pair<std::string, HostTensor>> values;
  std::vector<uint8_t> scratch;
  for (const runtime::TensorToWrite &tensor : runtime::ModelState(*executor).modelTensors())
    values.emplace_back(
        tensor.name,
        *fromBytes(*tensor.fetch(scratch), RankedTensorType::get(tensor.shape, *elementTypeOf(tensor.type, &context))));
  return values;
}

/// Ids below the input's limit, an ignored one now and then; zeros and ones where there is no limit, as in masks, and
/// ones in front, so that no row is masked whole; reals between -1 and 1.
void Verifier::makeUp(const fb::Input &input, const fb::Buffer &buffer, uint64_t step, uint64_t micro,
                      uint8_t *to) const {
  runtime::RandomStream random(executor->plan().seed(), "verify " + input.name()->str() + " " + std::to_string(step) +
                                                            " " + std::to_string(micro));
  runtime::Shape shape = runtime::shapeOf(buffer.shape());
  int64_t count = runtime::elementCount(shape), row = shape.empty() ? 1 : std::max<int64_t>(1, shape.back());
  uint64_t limit = input.limit() > 0 ? input.limit() : 2;
  for (int64_t i = 0; i < count; ++i) {
    double draw = random.uniform53(i);
    int64_t id = input.limit() == 0 && i % row == 0
                     ? 1
                     : std::min<int64_t>(static_cast<int64_t>(draw * static_cast<double>(limit)), limit - 1);
    if (input.allow_ignored() && i % row != 0 && random.uniform53(count + i) < 0.125)
      id = input.ignored();
    auto store = [&](auto value) { std::memcpy(to + i * sizeof(value), &value, sizeof(value)); };
    switch (buffer.type()) {
    case fb::DataType::F32:
      store(static_cast<float>(2 * draw - 1));
      break;
    case fb::DataType::F64:
      store(2 * draw - 1);
      break;
    case fb::DataType::I64:
      store(id);
      break;
    case fb::DataType::I32:
      store(static_cast<int32_t>(id));
      break;
    default:
      store(static_cast<int8_t>(id));
    }
  }
}

runtime::Status Verifier::fill(uint32_t segment, uint64_t step, uint64_t micro, reference::Trainer::Inputs &inputs) {
  const fb::Segment &entry = *executor->program().segments()->Get(segment);
  bool fromData = data && entry.name()->str() != train::kPredict;
  for (uint32_t i = 0; entry.inputs() && i < entry.inputs()->size(); ++i) {
    const fb::Input &input = *entry.inputs()->Get(i);
    const fb::Buffer &buffer = executor->buffer(input.buffer());
    uint8_t *to = executor->data(input.buffer());
    if (input.source() == fb::Source::Position) {
      int64_t position[2] = {static_cast<int64_t>(step),
                             static_cast<int64_t>(micro * executor->plan().samples_per_micro_batch())};
      std::memcpy(to, position, sizeof(position));
    } else if (fromData) {
      if (runtime::Status status = data->fill(input, buffer, step, micro, to); !status.ok())
        return status;
    } else {
      makeUp(input, buffer, step, micro, to);
    }
    if (input.source() != fb::Source::Position)
      inputs[input.name()->str()] = valueOf(*executor, input.buffer(), &context);
  }
  return runtime::Status::success();
}

/// @evaluate and @predict, with the initial parameters.
int Verifier::compareForward(StringRef function) {
  std::optional<uint32_t> segment = executor->segment(function.str());
  if (!segment)
    return kDone;
  reference::Trainer::Inputs inputs;
  if (runtime::Status status = fill(*segment, 0, 0, inputs); !status.ok())
    return fail(status);
  if (runtime::Status status = executor->run(*segment); !status.ok())
    return fail(status);
  auto expected = trainer->evaluate(function, inputs);
  if (failed(expected))
    return kBadInput;
  std::optional<std::map<std::string, HostTensor>> moved;
  for (auto &[name, value] : *expected) {
    std::optional<uint32_t> buffer = executor->output(*segment, name);
    if (!buffer)
      continue;
    std::string what = "output '" + name + "' of @" + function.str();
    double difference = byLargestEntry(valueOf(*executor, *buffer, &context), value), tolerance = kOutput;
    if (!(difference <= tolerance)) {
      if (!moved)
        moved = movedOutputs(function, inputs);
      double sensitivity = moved->count(name) ? byLargestEntry(moved->at(name), value) : 0.0;
      tolerance = std::max(tolerance, std::isfinite(sensitivity) ? 4 * sensitivity : 0.0);
      if (tolerance > kOutput)
        llvm::outs() << llvm::formatv("{0} is ill-conditioned: rounding of parameters and constants alone moves it by {1:E1}\n",
                                      what, sensitivity);
    }
    ledger.add("@" + function.str(), what, difference, tolerance);
  }
  return kDone;
}

/// Moves each number by a few units of its last place, a fixed part of it for each `name`.
void Verifier::move(HostTensor &value, const std::string &name) {
  runtime::RandomStream random(executor->plan().seed(), "move " + name);
  bool isDouble = llvm::any_of(value.reals, [](double x) { return x != static_cast<double>(static_cast<float>(x)); });
  for (size_t i = 0; i < value.reals.size(); ++i)
    value.reals[i] *= 1.0 + (random.uniform53(static_cast<int64_t>(i)) - 0.5) * (isDouble ? 0x1p-49 : 0x1p-20);
  if (!isDouble)
    roundTo(Float32Type::get(&context), value);
}

/// Outputs where parameters and constants are moved: how far rounding may carry them. Constants that something is compared with keep
/// their values, since a comparison may not turn.
std::map<std::string, HostTensor> Verifier::movedOutputs(StringRef function, const reference::Trainer::Inputs &inputs) {
  OwningOpRef<ModuleOp> module = stepModule->clone();
  int64_t count = 0;
  module->walk([&](arith::ConstantOp constant) {
    auto elements = dyn_cast<DenseElementsAttr>(constant.getValue());
    if (!elements || !isa<FloatType>(elements.getElementType()) || (elements.isSplat() && elements.getSplatValue<APFloat>().isZero()) ||
        llvm::any_of(constant->getUsers(), [](Operation *user) { return isa<arith::CmpFOp>(user); }))
      return;
    auto value = HostTensor::fromAttribute(elements);
    if (failed(value))
      return;
    move(*value, "constant " + std::to_string(count++));
    constant.setValueAttr(value->toAttribute(cast<RankedTensorType>(elements.getType())));
  });
  reference::Trainer other(*module, reference::Arithmetic::AsTyped);
  for (auto &[name, value] : start) {
    HostTensor moved = value;
    move(moved, name);
    other.set(name, std::move(moved));
  }
  auto outputs = other.evaluate(function, inputs);
  return failed(outputs) ? std::map<std::string, HostTensor>() : *outputs;
}

int Verifier::compareStep(uint64_t step) {
  uint32_t accumulate = *executor->segment("accumulate"), update = *executor->segment("update");
  std::vector<reference::Trainer::Inputs> batches(executor->plan().micro_batches());
  for (uint64_t micro = 0; micro < batches.size(); ++micro) {
    if (runtime::Status status = fill(accumulate, step, micro, batches[micro]); !status.ok())
      return fail(status);
    if (runtime::Status status = executor->run(accumulate); !status.ok())
      return fail(status);
  }
  std::vector<std::optional<HostTensor>> gradients;
  for (const fb::Parameter *parameter : *executor->program().parameters())
    gradients.push_back(averageGradient(*executor, *parameter, &context));
  if (runtime::Status status = executor->run(update); !status.ok())
    return fail(status);
  if (failed(trainer->step(batches)))
    return kBadInput;
  std::string when = "step " + std::to_string(step + 1);
  auto scalar = [&](const char *name, double tolerance) {
    double expected = trainer->outputs.at(name).reals[0], value = executor->scalar(*executor->output(update, name));
    ledger.add(when, name, relativeDifference(value, expected), tolerance);
  };
  scalar("loss", kLossTolerance);
  SmallVector<Ledger::Gradient> compared;
  for (auto [parameter, gradient] : llvm::zip(*executor->program().parameters(), gradients))
    if (const HostTensor *expected = trainer->gradient(parameter->name()->str()); gradient && expected)
      compared.push_back({parameter->name()->str(), &*gradient, expected});
  ledger.addGradients(when, compared, kNoise, step == 0 ? kGradientTolerance : kLaterGradient);
  scalar("grad_norm", kNormTolerance);
  scalar("lr", kLossTolerance);
  for (auto &[name, value] : parameters())
    if (const HostTensor *expected = trainer->get(name); expected && !ledger.isNoise(name))
      ledger.addParameter(when, name, byChange(value, *expected, start[name]), kParameterTolerance);
  return kDone;
}

int Verifier::finish() {
  llvm::outs() << "largest relative differences to the reference interpreter\n";
  std::vector<std::string> names;
  for (auto &[name, value] : start)
    names.push_back(name);
  ledger.print(names, "change");
  if (ledger.firstProblem().empty()) {
    llvm::outs() << "the plan agrees with the reference interpreter\n";
    return kDone;
  }
  llvm::outs().flush();
  return tool::fail(kNumbersDiffer, "the plan does not compute what the model says; first at " + ledger.firstProblem(),
                    "this is a mistake of the compiler: please report it with the model and the recipe");
}

int Verifier::run() {
  if (int code = prepare(); code || !executor)
    return code;
  for (StringRef function : {train::kEvaluate, train::kPredict})
    if (int code = compareForward(function))
      return code;
  for (int64_t step = 0; step < options.steps; ++step)
    if (int code = compareStep(step))
      return code;
  return finish();
}

} // namespace

int verify(const VerifyOptions &options, MLIRContext &context) {
  if (options.steps < 1)
    return fail(kWrongUse, "--steps " + llvm::Twine(options.steps) + " is no number of steps");
  return Verifier(options, context).run();
}

} // namespace llmc::tool
