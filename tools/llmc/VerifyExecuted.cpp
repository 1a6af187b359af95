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
#include "runtime/comm/Failure.h"
#include "runtime/comm/local/LocalWorld.h"
#include "runtime/executor/TrainingLoop.h"
#include "runtime/io/CheckpointReader.h"
#include "runtime/io/Random.h"
#include "tools/llmc/Differences.h"
#include "tools/llmc/HostValues.h"
#include "tools/llmc/Tool.h"
#include "llvm/ADT/ScopeExit.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/FormatVariadic.h"

using namespace mlir;

namespace llmc::tool {

namespace {

namespace fb = runtime::fb;

/// Keeps what rank 0 reports.
struct Recorder : runtime::TrainingObserver {
  runtime::Status onStep(const runtime::StepReport &report) override {
    steps.push_back(report);
    return runtime::Status::success();
  }
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
    uint64_t seed = recipe.seed;
    std::vector<runtime::TensorToWrite> tensors;
    for (unsigned i = 0; i < function.getNumArguments(); ++i) {
      if (train::argumentString(function, i, train::kRole) != train::kInput)
        continue;
      auto type = cast<RankedTensorType>(function.getArgumentTypes()[i]);
      std::optional<fb::DataType> element = target::dataTypeOf(type);
      std::vector<int64_t> shape(type.getShape());
      if (!element)
        return runtime::Status::badInput("input '" + train::argumentString(function, i, train::kName).str() + "' cannot be made up");
      if (!shape.empty() && recipe.batch.micro)
        shape[0] = recipe.batch.step;
      for (int64_t k = 0; k < steps; ++k) {
        std::string name = train::argumentString(function, i, train::kName).str() + "." + std::to_string(k);
        tensors.push_back({name, *element, shape, [=](std::vector<uint8_t> &scratch) -> runtime::Result<runtime::Bytes> {
                             return toBytes(makeUpInput(function, i, shape, seed, name), *element, scratch);
                           }});
      }
    }
    return runtime::writeSafetensors(folder + "/inputs.safetensors", tensors);
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
    Recorder recorder;
    runtime::Status status = runtime::causeOf(runtime::LocalWorld::run(count, [&](runtime::World &world) {
      runtime::TrainingObserver silent;
      return runRank(plan, world.rank(), count > 1 ? &world : nullptr, name,
                     world.rank() == 0 ? static_cast<runtime::TrainingObserver &>(recorder) : silent);
    }));
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
    HostTensor tensor = HostTensor::zeros(shape, /*isReal=*/true);
    runtime::convertElements(type, bytes.data(), fb::DataType::F64, tensor.reals.data(), tensor.size());
    return tensor;
  }

  runtime::Status compare(Run &many, Run &one) {
    for (auto [k, pair] : llvm::enumerate(llvm::zip_equal(many.steps, one.steps))) {
      auto &[found, expected] = pair;
      std::string when = "step " + std::to_string(k + 1);
      ledger.add(when, "loss", relativeDifference(found.loss, expected.loss), kLossTolerance);
      ledger.add(when, "grad_norm", relativeDifference(found.gradNorm, expected.gradNorm), kNormTolerance);
    }
    std::map<std::string, std::pair<HostTensor, HostTensor>> gradients; // found, expected
    for (auto &[name, info] : one.gradients->tensors()) {
      const runtime::TensorInfo *found = many.gradients->find(name);
      if (!found)
        return runtime::Status::internal("the ranks have no gradient of '" + name + "'");
      gradients[name] = {values(found->type, found->shape, many.gradients->data(*found)), values(info.type, info.shape, one.gradients->data(info))};
    }
    SmallVector<Ledger::Gradient> list;
    for (auto &[name, pair] : gradients)
      list.push_back({name, &pair.first, &pair.second});
    ledger.addGradients("step 1", list, kNoise, kGradientTolerance);
    // A parameter whose gradient is noise, such as a bias in front of a normalization, takes the running mean behind it along.
    bool isNoisy = llvm::any_of(gradients, [&](auto &entry) { return ledger.isNoise(entry.first); });
    std::vector<uint8_t> left, right;
    for (auto &[name, stored] : one.checkpoint->model()) {
      auto found = many.checkpoint->model().find(name);
      if (found == many.checkpoint->model().end())
        return runtime::Status::internal("the ranks have no parameter '" + name + "'");
      auto ours = many.checkpoint->readLogical(name, found->second, left), theirs = one.checkpoint->readLogical(name, stored, right);
      if (!ours.ok() || !theirs.ok())
        return ours.ok() ? theirs.status() : ours.status();
      names.push_back(name);
      if (!ledger.isNoise(name) && !(isNoisy && !gradients.count(name)))
        ledger.addParameter("after the last step", name,
                            byLargestEntry(values(found->second.type, found->second.shape, *ours), values(stored.type, stored.shape, *theirs)),
                            kParameterTolerance);
    }
    return runtime::Status::success();
  }

  int finish(const Run &many) {
    llvm::outs() << "largest relative differences of the plan on local ranks to one rank, executed in f32 for " << many.steps.size()
                 << " steps\n";
    ledger.print(names, "value");
    if (ledger.firstProblem().empty()) {
      llvm::outs() << "the executed ranks compute what one executed rank computes\n";
      return kDone;
    }
    llvm::outs().flush();
    return fail(kNumbersDiffer, "the executed ranks do not compute what one computes; first at " + ledger.firstProblem(),
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
