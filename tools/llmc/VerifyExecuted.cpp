//===- VerifyExecuted.cpp - llmc verify with a mesh: the plan on N local ranks against one --===//
//
//   1. the module at level `step` becomes two plans: with its mesh, and without;
//   2. both train on the same inputs, made up and written to a file, in a temporary folder: the one on threads as ranks;
//   3. losses, gradient norms, the gradients of the first step and the parameters after the last are compared. They may
//      differ by f32 sums in another order.
//
//===----------------------------------------------------------------------===//
#include "compiler/driver/Compile.h"
#include "compiler/target/PlanTables.h"
#include "dialects/train/Recipe.h"
#include "dialects/train/Train.h"
#include "runtime/comm/local/LocalWorld.h"
#include "runtime/executor/TrainingLoop.h"
#include "runtime/io/CheckpointReader.h"
#include "runtime/io/Random.h"
#include "tools/llmc/Differences.h"
#include "tools/llmc/HostValues.h"
#include "tools/llmc/Tool.h"
#include "llvm/ADT/ScopeExit.h"
#include "llvm/Support/FileSystem.h"
#include <set>
#include <thread>

using namespace mlir;

namespace llmc::tool {

namespace {

namespace fb = runtime::fb;

// As for one rank against the interpreter: see Verify.cpp.
constexpr double kLoss = 1e-5, kNorm = 5e-4, kGradient = 2e-5, kParameter = 2e-3, kZeroGradient = 1e-6;

/// Keeps what rank 0 reports.
struct Recorder : runtime::TrainingObserver {
  void onStep(const runtime::StepReport &report) override { steps.push_back(report); }
  std::vector<runtime::StepReport> steps;
};

/// One plan, trained.
struct Run {
  std::vector<runtime::StepReport> steps;
  std::shared_ptr<runtime::SafetensorsFile> gradients;
  std::unique_ptr<runtime::CheckpointReader> checkpoint;
};

class ExecutedVerifier {
public:
  ExecutedVerifier(ModuleOp step, StringRef modelFolder, int64_t steps) : step(step), modelFolder(modelFolder), steps(steps) {}

  int run() {
    llvm::SmallString<128> created;
    if (std::error_code error = llvm::sys::fs::createUniqueDirectory("llmc-verify", created))
      return fail(kBadInput, "cannot create a temporary folder: " + error.message());
    folder = created.str().str();
    llvm::scope_exit remove([&] { llvm::sys::fs::remove_directories(folder); });
    if (runtime::Status status = writeInputs(); !status.ok())
      return failed(status);
    Run many, one;
    if (int code = train("many", /*withMesh=*/true, many))
      return code;
    if (int code = train("one", /*withMesh=*/false, one))
      return code;
    if (runtime::Status status = compare(many, one); !status.ok())
      return failed(status);
    return finish(many);
  }

private:
  static int failed(const runtime::Status &status) {
    return fail(static_cast<ExitCode>(status.code), status.message, status.hint);
  }

  //===-- Inputs ------------------------------------------------------------------===//

  /// Arrays NAME.0, NAME.1, ... of all samples of a step, in the type of the input.
  runtime::Status writeInputs() {
    auto function = step.lookupSymbol<func::FuncOp>(train::kAccumulate);
    train::Recipe recipe = train::recipeOf(step);
    std::vector<runtime::TensorToWrite> tensors;
    for (unsigned i = 0; i < function.getNumArguments(); ++i) {
      if (train::argumentString(function, i, train::kRole) != train::kInput)
        continue;
      auto type = cast<RankedTensorType>(function.getArgumentTypes()[i]);
      std::optional<fb::DataType> element = target::dataTypeOf(type);
      std::vector<int64_t> shape(type.getShape());
      if (!element || shape.empty())
        return runtime::Status::badInput("input '" + train::argumentString(function, i, train::kName).str() + "' cannot be made up");
      shape[0] = recipe.batch.micro ? recipe.batch.step : shape[0];
      for (int64_t k = 0; k < steps; ++k) {
        std::string name = train::argumentString(function, i, train::kName).str() + "." + std::to_string(k);
        tensors.push_back({name, *element, shape, [=, this](std::vector<uint8_t> &scratch) -> runtime::Result<runtime::Bytes> {
                             makeUp(function, i, name, shape, *element, recipe.seed, scratch);
                             return runtime::Bytes(scratch.data(), scratch.size());
                           }});
      }
    }
    return runtime::writeSafetensors(folder + "/inputs.safetensors", tensors);
  }

  /// Ids below the input's limit, an ignored one now and then; ones where there is no limit, as in masks; reals in [-1, 1).
  static void makeUp(func::FuncOp function, unsigned argument, const std::string &name, const std::vector<int64_t> &shape,
                     fb::DataType type, uint64_t seed, std::vector<uint8_t> &bytes) {
    int64_t count = runtime::elementCount(shape), row = std::max<int64_t>(1, shape.back());
    runtime::RandomStream random(seed, "verify " + name);
    auto limit = function.getArgAttrOfType<IntegerAttr>(argument, train::kLimit);
    auto ignored = function.getArgAttrOfType<IntegerAttr>(argument, train::kIgnored);
    bool isReal = runtime::isFloat(type);
    std::vector<float> reals(isReal ? count : 0);
    std::vector<int64_t> integers(isReal ? 0 : count);
    for (int64_t k = 0; k < count; ++k) {
      double draw = random.uniform53(k);
      if (isReal)
        reals[k] = static_cast<float>(2 * draw - 1);
      else if (ignored && k % row != 0 && random.uniform53(count + k) < 0.125)
        integers[k] = ignored.getInt();
      else
        integers[k] = limit ? static_cast<int64_t>(draw * static_cast<double>(limit.getInt())) : 1;
    }
    bytes.resize(static_cast<size_t>(count) * runtime::elementBytes(type));
    if (isReal)
      runtime::convertElements(fb::DataType::F32, reals.data(), type, bytes.data(), count);
    else
      runtime::convertElements(fb::DataType::I64, integers.data(), type, bytes.data(), count);
  }

  //===-- Training ----------------------------------------------------------------===//

  int train(const std::string &name, bool withMesh, Run &result) {
    OwningOpRef<ModuleOp> module = step.clone();
    train::Recipe recipe = train::recipeOf(*module);
    recipe.data.clear();
    auto function = step.lookupSymbol<func::FuncOp>(train::kAccumulate);
    for (unsigned i = 0; i < function.getNumArguments(); ++i)
      if (std::string input = train::argumentString(function, i, train::kName).str(); train::argumentString(function, i, train::kRole) == train::kInput)
        recipe.data.push_back({input, {train::DataSource::Array, input}});
    if (recipe.init.empty())
      recipe.init.push_back({train::Initializer::Normal, "*", 0.0, 0.05});
    if (!withMesh)
      recipe.mesh.clear(), recipe.zero = 0, recipe.sharding.clear();
    (*module)->setAttr(train::kRecipe, train::toAttribute(module->getContext(), recipe));
    driver::PipelineOptions pipeline;
    pipeline.from = driver::Level::Step;
    pipeline.to = driver::Level::Plan;
    if (mlir::failed(driver::runPipeline(*module, pipeline)))
      return kUnsupported;
    driver::PlanOptions options;
    options.file = {folder + "/" + name + ".plan", "cpu", modelFolder.str()};
    if (llvm::Error error = driver::generatePlan(*module, options))
      return fail(kUnsupported, llvm::toString(std::move(error)));
    auto plan = runtime::PlanFile::read(options.file.path);
    if (!plan.ok())
      return failed(plan.status());
    runtime::Status status = runAll(*plan, name, result);
    return status.ok() ? kDone : failed(status);
  }

  runtime::Status runAll(const std::shared_ptr<runtime::PlanFile> &plan, const std::string &name, Run &result) {
    uint32_t count = plan->plan().ranks()->size();
    std::vector<std::unique_ptr<runtime::World>> worlds = runtime::LocalWorld::create(count);
    std::vector<runtime::Status> outcomes(count);
    std::vector<std::thread> threads;
    Recorder recorder;
    for (uint32_t rank = 0; rank < count; ++rank)
      threads.emplace_back([&, rank] {
        runtime::TrainingObserver silent;
        outcomes[rank] = runRank(plan, rank, count > 1 ? worlds[rank].get() : nullptr, name,
                                 rank == 0 ? static_cast<runtime::TrainingObserver &>(recorder) : silent);
        if (outcomes[rank].ok())
          outcomes[rank] = worlds[rank]->finish();
        worlds[rank].reset();
      });
    for (std::thread &thread : threads)
      thread.join();
    for (const runtime::Status &status : outcomes)
      if (!status.ok())
        return status;
    result.steps = std::move(recorder.steps);
    auto gradients = runtime::SafetensorsFile::open(folder + "/" + name + ".gradients");
    if (!gradients.ok())
      return gradients.status();
    result.gradients = *gradients;
    auto checkpoint = runtime::CheckpointReader::open(folder + "/" + name + "/" + llvm::formatv("step-{0,0+8}", steps).str());
    if (!checkpoint.ok())
      return checkpoint.status();
    result.checkpoint = std::make_unique<runtime::CheckpointReader>(std::move(*checkpoint));
    return runtime::Status::success();
  }

  runtime::Status runRank(const std::shared_ptr<runtime::PlanFile> &plan, uint32_t rank, runtime::World *world, const std::string &name,
                          runtime::TrainingObserver &observer) {
    runtime::ThreadPool pool(std::max(1u, runtime::availableCores() / plan->plan().ranks()->size()), runtime::GemmLibrary::initializeThread);
    auto executor = runtime::Executor::create(plan, rank, pool, true, world);
    if (!executor.ok())
      return executor.status();
    runtime::TrainingOptions options;
    options.dataFiles = {folder + "/inputs.safetensors"};
    options.steps = static_cast<uint64_t>(steps);
    options.checkpointFolder = folder + "/" + name;
    options.modelFolder = modelFolder.str();
    options.saveGradients = {1, folder + "/" + name + ".gradients"};
    runtime::TrainingLoop loop(**executor, options, observer);
    for (auto phase : {&runtime::TrainingLoop::prepareData, &runtime::TrainingLoop::prepareState, &runtime::TrainingLoop::run})
      if (runtime::Status status = (loop.*phase)(); !status.ok())
        return status;
    return runtime::Status::success();
  }

  //===-- Comparison --------------------------------------------------------------===//

  static HostTensor values(fb::DataType type, const runtime::Shape &shape, runtime::Bytes bytes) {
    HostTensor tensor;
    tensor.shape.assign(shape.begin(), shape.end());
    tensor.isReal = true;
    tensor.reals.resize(static_cast<size_t>(runtime::elementCount(shape)));
    runtime::convertElements(type, bytes.data(), fb::DataType::F64, tensor.reals.data(), static_cast<int64_t>(tensor.reals.size()));
    return tensor;
  }

  runtime::Status compare(Run &many, Run &one) {
    auto relative = [](double x, double y) { return x == y ? 0 : std::abs(x - y) / std::max(std::abs(y), 1e-30); };
    for (auto [k, pair] : llvm::enumerate(llvm::zip_equal(many.steps, one.steps))) {
      auto &[found, expected] = pair;
      std::string when = "step " + std::to_string(k + 1);
      ledger.add(when, "loss", relative(found.loss, expected.loss), kLoss);
      ledger.add(when, "grad_norm", relative(found.gradNorm, expected.gradNorm), kNorm);
    }
    double largest = 0;
    std::map<std::string, HostTensor> expected;
    for (auto &[name, info] : one.gradients->tensors())
      largest = std::max(largest, largestEntry(expected[name] = values(info.type, info.shape, one.gradients->data(info))));
    std::set<std::string> zeroGradients;
    for (auto &[name, gradient] : expected) {
      const runtime::TensorInfo *info = many.gradients->find(name);
      if (!info)
        return runtime::Status::internal("the ranks have no gradient of '" + name + "'");
      bool isZero = largestEntry(gradient) < kZeroGradient * largest;
      if (isZero)
        zeroGradients.insert(name);
      double scale = isZero ? largestEntry(gradient) / largest : 1.0;
      ledger.add("step 1", "the gradient of '" + name + "'",
                 byLargestEntry(values(info->type, info->shape, many.gradients->data(*info)), gradient) * scale, kGradient);
    }
    std::vector<uint8_t> left, right;
    for (auto &[name, stored] : one.checkpoint->model()) {
      auto found = many.checkpoint->model().find(name);
      if (found == many.checkpoint->model().end())
        return runtime::Status::internal("the ranks have no parameter '" + name + "'");
      auto ours = many.checkpoint->readLogical(name, found->second, left), theirs = one.checkpoint->readLogical(name, stored, right);
      if (!ours.ok() || !theirs.ok())
        return ours.ok() ? theirs.status() : ours.status();
      names.push_back(name);
      if (!zeroGradients.count(name))
        ledger.add("after the last step", "parameter '" + name + "'",
                   byLargestEntry(values(found->second.type, found->second.shape, *ours), values(stored.type, stored.shape, *theirs)), kParameter);
    }
    return runtime::Status::success();
  }

  int finish(const Run &many) {
    llvm::outs() << "largest relative differences of the plan on local ranks to one rank, executed in f32 for " << many.steps.size()
                 << " steps\n";
    for (StringRef what : {"loss", "grad_norm"})
      llvm::outs() << llvm::formatv("  {0,-50} {1}\n", what, ledger.text(what.str()));
    llvm::outs() << llvm::formatv("  {0,-50} {1,-10} {2}\n", "parameter", "gradient", "value");
    for (const std::string &name : names)
      llvm::outs() << llvm::formatv("  {0,-50} {1,-10} {2}\n", name, ledger.text("the gradient of '" + name + "'"), ledger.text("parameter '" + name + "'"));
    if (ledger.first.empty()) {
      llvm::outs() << "the executed ranks compute what one executed rank computes\n";
      return kDone;
    }
    llvm::outs().flush();
    return fail(kNumbersDiffer, "the executed ranks do not compute what one computes; first at " + ledger.first,
                "this is a mistake of the compiler or the runtime: please report it with the model and the recipe");
  }

  ModuleOp step;
  StringRef modelFolder;
  int64_t steps;
  std::string folder;
  std::vector<std::string> names;
  Ledger ledger;
};

} // namespace

int verifyExecutedRanks(ModuleOp step, StringRef folder, int64_t steps) { return ExecutedVerifier(step, folder, steps).run(); }

} // namespace llmc::tool
