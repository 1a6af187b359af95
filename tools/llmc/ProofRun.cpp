//===- ProofRun.cpp - one step of a model, for the replay of its proof --------------===//
#include "tools/llmc/ProofRun.h"
#include "compiler/driver/Compile.h"
#include "compiler/reference/Trainer.h"
#include "dialects/train/Recipe.h"
#include "dialects/train/Train.h"
#include "runtime/executor/ModelState.h"
#include "runtime/executor/ThreadPool.h"
#include "tools/llmc/HostValues.h"
#include "tools/llmc/Tool.h"
#include "llvm/ADT/ScopeExit.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/FormatVariadic.h"
#include <cstring>

using namespace mlir;

namespace llmc::tool {

namespace {

namespace fb = runtime::fb;

// What the interpreter does in about two seconds; a plan of that size is compiled and run in about the same.
constexpr double kMostFlops = 5e8;

int failWith(const runtime::Status &status) { return fail(static_cast<ExitCode>(status.code), status.message, status.hint); }

double flopsOf(func::FuncOp function) {
  double flops = 0;
  function.walk([&](Operation *op) {
    if (auto cost = dyn_cast<Cost>(op))
      flops += static_cast<double>(cost.getFlops());
  });
  return flops;
}

int interpret(ModuleOp module, StringRef folder, const ProofInputs &inputs, ProofResult &result) {
  reference::Trainer trainer(module, reference::Arithmetic::AsTyped);
  std::set<std::string> parameters, buffers;
  for (auto function : module.getOps<func::FuncOp>())
    for (unsigned i = 0; i < function.getNumArguments(); ++i) {
      StringRef role = train::argumentString(function, i, train::kRole);
      std::string name = train::argumentString(function, i, train::kName).str();
      if (role != train::kParam && role != train::kBuffer)
        continue;
      if (!(role == train::kParam ? parameters : buffers).insert(name).second)
        continue;
      auto value = readParameter(function, i, folder);
      if (!value.ok())
        return failWith(value.status());
      trainer.set(name, std::move(*value));
    }
  if (failed(trainer.step({inputs})))
    return kUnsupported;
  result.loss = trainer.outputs.at("loss").reals[0];
  for (const std::string &name : parameters)
    if (const HostTensor *gradient = trainer.gradient(name))
      result.gradients[name] = *gradient;
  for (const std::string &name : buffers)
    if (const HostTensor *buffer = trainer.get(name))
      result.buffers[name] = *buffer;
  return kDone;
}

class PlanRun {
public:
  PlanRun(ModuleOp module, StringRef modelFolder, const ProofInputs &inputs) : module(module), modelFolder(modelFolder), inputs(inputs) {}

  int run(ProofResult &result) {
    llvm::SmallString<128> created;
    if (std::error_code error = llvm::sys::fs::createUniqueDirectory("llmc-check", created))
      return fail(kBadInput, "cannot create a temporary folder: " + error.message());
    folder = created.str().str();
    llvm::scope_exit remove([&] { llvm::sys::fs::remove_directories(folder); });
    driver::PipelineOptions pipeline;
    pipeline.from = driver::Level::Step;
    pipeline.to = driver::Level::Plan;
    if (failed(driver::runPipeline(module, pipeline)))
      return kUnsupported;
    driver::PlanOptions options;
    options.file = {folder + "/m.plan", "cpu", modelFolder.str()};
    if (llvm::Error error = driver::generatePlan(module, options))
      return fail(kUnsupported, llvm::toString(std::move(error)));
    runtime::Status status = execute(result);
    return status.ok() ? kDone : failWith(status);
  }

private:
  runtime::Status execute(ProofResult &result) {
    auto plan = runtime::PlanFile::read(folder + "/m.plan");
    if (!plan.ok())
      return plan.status();
    runtime::ThreadPool pool(runtime::availableCores(), runtime::GemmLibrary::initializeThread);
    auto created = runtime::Executor::create(*plan, 0, pool);
    if (!created.ok())
      return created.status();
    runtime::Executor &executor = **created;
    uint32_t accumulate = *executor.segment("accumulate"), update = *executor.segment("update");
    runtime::Status status =
        runtime::ModelState(executor).initialize({modelFolder.str(), "", /*mayBeZero=*/true}, [](const std::string &, double) {});
    if (!status.ok())
      return status;
    setInputs(executor, *executor.program().segments()->Get(accumulate));
    if (status = executor.run(accumulate); !status.ok())
      return status;
    for (const fb::Parameter *parameter : *executor.program().parameters())
      if (auto gradient = averageGradient(executor, *parameter, module.getContext()))
        result.gradients[parameter->name()->str()] = std::move(*gradient);
    if (status = executor.run(update); !status.ok())
      return status;
    result.loss = executor.scalar(*executor.output(update, "loss"));
    return readBuffers(executor, result);
  }

  /// Inputs that the proof lacks, as the place in the data, are zero.
  void setInputs(runtime::Executor &executor, const fb::Segment &segment) {
    std::vector<uint8_t> scratch;
    for (uint32_t i = 0; segment.inputs() && i < segment.inputs()->size(); ++i) {
      const fb::Input &input = *segment.inputs()->Get(i);
      const fb::Buffer &buffer = executor.buffer(input.buffer());
      uint64_t bytes = runtime::elementCount(runtime::shapeOf(buffer.shape())) * runtime::elementBytes(buffer.type());
      std::memset(executor.data(input.buffer()), 0, bytes);
      auto it = inputs.find(input.name()->str());
      if (it == inputs.end() || input.source() == fb::Source::Position)
        continue;
      runtime::Bytes values = toBytes(it->second, buffer.type(), scratch);
      std::memcpy(executor.data(input.buffer()), values.data(), std::min<uint64_t>(bytes, values.size()));
    }
  }

  /// State that is no parameter's.
  runtime::Status readBuffers(runtime::Executor &executor, ProofResult &result) {
    std::vector<uint8_t> scratch;
    for (const runtime::TensorToWrite &tensor : runtime::ModelState(executor).modelTensors()) {
      std::optional<Type> element = elementTypeOf(tensor.type, module.getContext());
      auto bytes = tensor.fetch(scratch);
      if (!bytes.ok())
        return bytes.status();
      if (element && !result.gradients.count(tensor.name))
        if (auto value = fromBytes(*bytes, RankedTensorType::get(tensor.shape, *element)))
          result.buffers[tensor.name] = std::move(*value);
    }
    return runtime::Status::success();
  }

  ModuleOp module;
  StringRef modelFolder;
  const ProofInputs &inputs;
  std::string folder;
};

} // namespace

std::optional<HostTensor> valueOf(const runtime::SafetensorsFile &file, const runtime::TensorInfo &info, MLIRContext *context) {
  std::optional<Type> element = info.supported ? elementTypeOf(info.type, context) : std::nullopt;
  return element ? fromBytes(file.data(info), RankedTensorType::get(info.shape, *element)) : std::nullopt;
}

int runProof(ModuleOp module, StringRef folder, const ProofInputs &inputs, ProofResult &result) {
  double flops = flopsOf(module.lookupSymbol<func::FuncOp>(train::kAccumulate));
  if (flops <= kMostFlops) {
    result.how = "in the reference interpreter";
    return interpret(module, folder, inputs, result);
  }
  result.how = llvm::formatv("by a compiled plan, since {0:F1} GFLOP are too much for the reference interpreter", flops / 1e9).str();
  return PlanRun(module, folder, inputs).run(result);
}

} // namespace llmc::tool
