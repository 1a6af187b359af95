//===- Interpret.cpp - llmc interpret: trains with the reference interpreter ----------===//
#include "compiler/reference/Trainer.h"
#include "compiler/reference/View.h"
#include "dialects/train/Train.h"
#include "runtime/io/Safetensors.h"
#include "tools/llmc/HostValues.h"
#include "tools/llmc/Tool.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/Format.h"
#include "llvm/Support/raw_ostream.h"
#include <cmath>

using namespace mlir;

namespace llmc::tool {

namespace {

/// NAME.next: each row one entry to the left, -100 at its end.
void shiftRows(HostTensor &tensor) {
  int64_t columns = tensor.shape.back();
  for (int64_t i = 0, e = tensor.size(); i < e; ++i)
    tensor.integers[i] = (i + 1) % columns == 0 ? -100 : tensor.integers[i + 1];
}

class Session {
public:
  Session(const InterpretOptions &options, MLIRContext &context) : options(options), context(context) {}
  int run();

private:
  int checkFiles(runtime::FileRoles &roles);
  int loadWeights();
  int loadStep(int64_t step, std::vector<reference::Trainer::Inputs> &batches);
  int save(const std::vector<std::string> &requests, int64_t step, bool gradients);

  const InterpretOptions &options;
  MLIRContext &context;
  driver::LoadedModel loaded;
  OwningOpRef<ModuleOp> executed; // what the trainer runs
  train::Recipe recipe;
  func::FuncOp accumulate;
  std::shared_ptr<runtime::SafetensorsFile> data;
  std::unique_ptr<reference::Trainer> trainer;
};

int Session::loadWeights() {
  if (!recipe.weights.empty()) {
    auto values = readWeights(*loaded.module, loaded.folder, recipe.weights);
    if (!values.ok())
      return failWith(values.status());
    for (auto &[name, value] : *values)
      trainer->set(name, std::move(value));
  }
  for (auto function : loaded.module->getOps<func::FuncOp>())
    for (unsigned i = 0; i < function.getNumArguments(); ++i) {
      StringRef role = train::argumentString(function, i, train::kRole),
                name = train::argumentString(function, i, train::kName);
      if ((role != train::kParam && role != train::kBuffer) || trainer->get(name))
        continue;
      auto value = readParameter(function, i, loaded.folder);
      if (!value.ok())
        return fail(kBadInput, value.status().message, value.status().hint);
      trainer->set(name, std::move(*value));
    }
  return kDone;
}

/// The micro-batches of a step: rows of the arrays NAME.step, in order.
int Session::loadStep(int64_t step, std::vector<reference::Trainer::Inputs> &batches) {
  int64_t count = recipe.batch.step / recipe.batch.micro;
  batches.assign(count, {});
  for (unsigned i = 0; i < accumulate.getNumArguments(); ++i) {
    if (train::argumentString(accumulate, i, train::kRole) != train::kInput)
      continue;
    std::string name = train::argumentString(accumulate, i, train::kName).str();
    std::string array = name;
    bool shifted = false;
    for (auto &[input, source] : recipe.data)
      if (input == name) {
        if (source.kind != train::DataSource::Array && source.kind != train::DataSource::ArrayNext)
          return fail(kBadInput, "input '" + name + "': the interpreter reads arrays of a safetensors file only",
                      "data: {" + name + ": ARRAY}");
        array = source.array;
        shifted = source.kind == train::DataSource::ArrayNext;
      }
    std::string key = array + "." + std::to_string(step);
    const runtime::TensorInfo *info = data->find(key);
    if (!info)
      return fail(kBadInput, options.data + " has no array '" + key + "'");
    auto micro = cast<RankedTensorType>(accumulate.getArgumentTypes()[i]);
    SmallVector<int64_t> shape(micro.getShape());
    if (!shape.empty()) // a scalar is for all samples
      shape[0] *= count;
    auto whole = fromBytes(data->data(*info), RankedTensorType::get(shape, micro.getElementType()));
    bool fits = llvm::equal(info->shape, shape) || (shape.empty() && info->shape == runtime::Shape{1}); // one number, as NumPy saves it too
    if (!whole || !fits)
      return fail(kBadInput, "array '" + key + "' has another shape or type than the graph's input");
    if (shifted)
      shiftRows(*whole);
    int64_t size = micro.getNumElements();
    for (int64_t b = 0; b < count; ++b) {
      HostTensor part = HostTensor::zeros(micro);
      int64_t first = shape.empty() ? 0 : b * size;
      if (part.isReal)
        std::copy_n(whole->reals.begin() + first, size, part.reals.begin());
      else
        std::copy_n(whole->integers.begin() + first, size, part.integers.begin());
      batches[b][name] = std::move(part);
    }
  }
  return kDone;
}

int Session::save(const std::vector<std::string> &requests, int64_t step, bool gradients) {
  for (StringRef request : requests) {
    auto [number, path] = request.split(':');
    int64_t wanted;
    if (number.getAsInteger(10, wanted) || path.empty())
      return fail(kWrongUse, "'" + request + "' is not STEP:FILE");
    if (wanted != step)
      continue;
    std::vector<runtime::TensorToWrite> tensors;
    for (unsigned i = 0; i < accumulate.getNumArguments(); ++i) {
      StringRef role = train::argumentString(accumulate, i, train::kRole);
      if (role != train::kParam && (gradients || role != train::kBuffer))
        continue;
      std::string name = train::argumentString(accumulate, i, train::kName).str();
      const HostTensor *stored = gradients ? trainer->gradient(name) : trainer->get(name);
      if (!stored)
        continue;
      HostTensor value = *stored;
      runtime::Shape shape(value.shape.begin(), value.shape.end());
      auto fetch = [value = std::move(value)](std::vector<uint8_t> &scratch) {
        scratch.resize(value.reals.size() * sizeof(float));
        for (size_t k = 0; k < value.reals.size(); ++k) {
          float rounded = static_cast<float>(value.reals[k]);
          std::memcpy(scratch.data() + k * sizeof(float), &rounded, sizeof(float));
        }
        return runtime::Bytes(scratch);
      };
      tensors.push_back({name, runtime::fb::DataType::F32, shape, fetch});
    }
    runtime::Status status = runtime::writeSafetensors(path.str(), tensors);
    if (!status.ok())
      return fail(kBadInput, status.message, status.hint);
  }
  return kDone;
}

/// No output is a file that is read; metrics of another run stay.
int Session::checkFiles(runtime::FileRoles &roles) {
  roles.reads(options.model, "the model itself");
  readsRecipe(roles, options.recipe);
  roles.reads(options.data, "--data");
  roles.writes(options.metrics, "--metrics");
  for (auto [list, what] : {std::pair(&options.saveGradients, "--save-gradients"), std::pair(&options.saveWeights, "--save-weights")})
    for (StringRef request : *list)
      roles.writes(request.split(':').second.str(), what);
  if (runtime::Status status = roles.check(); !status.ok())
    return failWith(status);
  uint64_t bytes = 0;
  if (!options.metrics.empty() && !options.overwrite && !llvm::sys::fs::file_size(options.metrics, bytes) && bytes > 0)
    return fail(kWrongUse, "'" + options.metrics + "' holds metrics of another run, or something else",
                "name another file with --metrics, or write over this one with --overwrite");
  return kDone;
}

int Session::run() {
  runtime::FileRoles roles;
  if (int code = checkFiles(roles))
    return code;
  loaded = driver::loadModel(options.model, options.recipe, &context);
  if (!loaded.module || !loaded.problems.empty())
    return report(loaded.problems);
  if (int code = checkLoadedFiles(roles, loaded))
    return code;
  driver::PipelineOptions pipeline;
  pipeline.to = driver::Level::Step;
  if (failed(driver::runPipeline(*loaded.module, pipeline)))
    return kUnsupported;
  // With a mesh the ranks run in lockstep, each on its part; what goes in and out has the whole shapes of level `step`.
  executed = loaded.module->clone();
  pipeline.from = driver::Level::Step;
  pipeline.to = driver::Level::Sharded;
  if (failed(driver::runPipeline(*executed, pipeline)))
    return kUnsupported;
  if (dist::meshOf(*executed)) {
    pipeline.from = driver::Level::Sharded;
    pipeline.to = driver::Level::Local;
    if (failed(driver::runPipeline(*executed, pipeline)))
      return kUnsupported;
  }
  recipe = train::recipeOf(*loaded.module);
  accumulate = loaded.module->lookupSymbol<func::FuncOp>(train::kAccumulate);
  auto opened = runtime::SafetensorsFile::open(options.data);
  if (!opened.ok())
    return fail(kBadInput, opened.status().message, opened.status().hint);
  data = *opened;
  trainer = std::make_unique<reference::Trainer>(*executed, options.f64 ? reference::Arithmetic::F64
                                                                        : reference::Arithmetic::AsTyped);
  if (int code = loadWeights())
    return code;
  std::string lines;
  for (int64_t step = 0; step < options.steps; ++step) {
    std::vector<reference::Trainer::Inputs> batches;
    if (int code = loadStep(step, batches))
      return code;
    if (failed(trainer->step(batches)))
      return kBadInput;
    auto output = [&](const char *name) { return trainer->outputs.at(name).reals[0]; };
    llvm::raw_string_ostream stream(lines);
    stream << "{\"step\": " << step + 1 << llvm::format(", \"loss\": %.17g", output("loss"))
           << llvm::format(", \"grad_norm\": %.17g", output("grad_norm"))
           << llvm::format(", \"lr\": %.17g}\n", output("lr"));
    llvm::outs() << llvm::format("step: %2d", static_cast<int>(step + 1))
                 << llvm::format("  loss: %8.5f", output("loss"))
                 << llvm::format("  grad_norm: %7.4f\n", output("grad_norm"));
    llvm::outs().flush();
    if (int code = save(options.saveGradients, step + 1, true))
      return code;
    if (int code = save(options.saveWeights, step + 1, false))
      return code;
  }
  if (!options.metrics.empty()) {
    std::error_code error;
    llvm::raw_fd_ostream stream(options.metrics, error);
    if (error)
      return fail(kBadInput, "cannot write " + options.metrics + ": " + error.message());
    stream << lines;
  }
  return kDone;
}

} // namespace

int interpret(const InterpretOptions &options, MLIRContext &context) {
  if (options.recipe.empty() || options.data.empty())
    return fail(kWrongUse, "interpret needs a recipe (-r) and data (--data)");
  return Session(options, context).run();
}

} // namespace llmc::tool
