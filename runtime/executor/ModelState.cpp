//===- ModelState.cpp - parameters, optimizer state and scalars -----------===//
#include "runtime/executor/ModelState.h"
#include "runtime/comm/Agree.h"
#include "runtime/plan/Tables.h"
#include <algorithm>
#include <atomic>
#include <cmath>
#include <set>

namespace llmc::runtime {

void ModelState::setInitialScalars() {
  for (uint32_t i = 0; i < sizeOf(program().scalars()); ++i) {
    const fb::Scalar &scalar = *program().scalars()->Get(i);
    executor.setScalar(scalar.buffer(), scalar.initial());
  }
}

Status ModelState::initialize(const InitialValues &from, const Progress &progress, std::vector<std::string> *notes) {
  executor.clearState();
  setInitialScalars();
  std::vector<std::string> unheard;
  return agree(executor.world(), initializeParameters(from, progress, notes ? *notes : unheard));
}

Status ModelState::initializeParameters(const InitialValues &from, const Progress &progress,
                                        std::vector<std::string> &notes) {
  ParallelFor parallel = [&](int64_t items, const std::function<void(int64_t)> &work) {
    executor.threads().forEach(items, [&](int64_t item, unsigned) { work(item); });
  };
  ParameterInitializer initializer(executor.plan(), executor.rank(), from.folder, parallel);
  if (!from.weights.empty())
    return loadWeights(initializer, from.weights, notes);
  if (std::string named = textOf(executor.plan().weights()); !named.empty()) {
    auto path = resolveInside(from.folder, named);
    if (!path.ok())
      return Status::badInput("the recipe's `weights`: " + path.status().message,
                              "they are looked for beside the plan, or in --model-folder; --weights FILE takes others");
    return loadWeights(initializer, *path, notes);
  }
  std::string problems, hint;
  uint32_t count = sizeOf(program().parameters());
  for (uint32_t i = 0; i < count; ++i) {
    const fb::Parameter &parameter = *program().parameters()->Get(i);
    if (!parameter.init() && from.mayBeZero)
      continue;
    Status status = initializer.initialize(parameter, executor.data(parameter.buffer()));
    if (!status.ok()) {
      problems += "\n  " + status.message;
      hint = status.hint;
    }
    progress("initializing parameters", static_cast<double>(i + 1) / count);
  }
  return problems.empty() ? Status::success() : Status::badInput("parameters cannot be initialized:" + problems, hint);
}

/// Names of tensors in a message: the first few.
static std::string firstOf(const std::vector<std::string> &names) {
  std::string text;
  for (size_t i = 0; i < names.size() && i < 8; ++i)
    text += (i ? ", " : "") + names[i];
  return text + (names.size() > 8 ? ", and " + std::to_string(names.size() - 8) + " more" : "");
}

Status ModelState::loadWeights(ParameterInitializer &initializer, const std::string &path,
                               std::vector<std::string> &notes) {
  auto files = WeightFiles::open(path);
  if (!files.ok())
    return files.status();
  std::vector<WeightFiles::Wanted> wanted;
  for (uint32_t i = 0; i < sizeOf(program().parameters()); ++i) {
    const fb::Parameter &parameter = *program().parameters()->Get(i);
    wanted.push_back({textOf(parameter.name()), {}});
    for (uint32_t j = 0; j < sizeOf(parameter.aliases()); ++j)
      wanted.back().aliases.push_back(textOf(parameter.aliases()->Get(j)));
  }
  WeightFiles::Match match = files->match(wanted);
  std::string problems = match.problem;
  std::vector<std::string> missing, drawn, unused;
  std::set<std::string> used;
  for (uint32_t i = 0; i < wanted.size(); ++i) {
    const fb::Parameter &parameter = *program().parameters()->Get(i);
    const WeightFiles::Entry &entry = match.entries[i];
    bool standsIn = !entry.file && parameter.init() && parameter.init()->stands_in();
    Status status = entry.file ? initializer.load(parameter, *entry.file, *entry.info, executor.data(parameter.buffer()))
                    : standsIn ? initializer.initialize(parameter, executor.data(parameter.buffer()))
                               : Status::badInput("parameter '" + wanted[i].name + "' is missing");
    if (!status.ok())
      problems += "\n  " + status.message;
    if (standsIn)
      drawn.push_back(wanted[i].name);
    used.insert(entry.name);
  }
  for (const auto &[name, entry] : files->entries())
    if (!used.count(name))
      unused.push_back(name);
  if (!problems.empty())
    return Status::badInput("weights file '" + path + "' does not fit the plan:" + problems,
                            "it must hold every parameter by the name and in the shape that the model gives it" +
                                (unused.empty() ? "" : "; it also holds " + firstOf(unused)));
  if (match.renamed > 0)
    notes.push_back(std::to_string(match.renamed) + " parameters were found in '" + path + "' under names with another prefix");
  if (!drawn.empty())
    notes.push_back("'" + path + "' does not hold " + firstOf(drawn) + ": the recipe's `init` counts");
  if (!unused.empty())
    notes.push_back("'" + path + "' also holds " + firstOf(unused) + ", which the model does not have");
  return Status::success();
}

std::vector<TensorToWrite> ModelState::wholeTensors(const std::vector<StateTensor> &tensors) const {
  std::vector<TensorToWrite> list;
  for (const StateTensor &tensor : tensors) {
    uint64_t width = elementBytes(tensor.type), bytes = static_cast<uint64_t>(elementCount(tensor.shape)) * width;
    const uint8_t *data = executor.data(tensor.parts[0].holders[0].buffer);
    auto fetch = [view = tensor.view, shape = tensor.shape, width, bytes,
                  data](std::vector<uint8_t> &scratch) -> Bytes {
      if (keepsBytes(view))
        return {data, bytes};
      scratch.resize(bytes);
      toLogical(view, shape, width, data, scratch.data());
      return {scratch.data(), bytes};
    };
    list.push_back({tensor.name, tensor.type, tensor.shape, fetch});
  }
  return list;
}

std::vector<TensorToWrite> ModelState::modelTensors() const { return wholeTensors(layout.model); }

namespace {
/// Which rank writes which part of each tensor, under which name.
class ShardList {
public:
  explicit ShardList(const Executor &executor) : executor(executor) {}

  /// Adds this rank's parts to `own`, all ranks' to `stored`.
  void add(const std::vector<StateTensor> &tensors, StoredTensors &stored) {
    for (const StateTensor &tensor : tensors) {
      StoredTensor &entry = stored[tensor.name];
      entry = {true, tensor.type, nameOf(tensor.type), tensor.shape, tensor.view, {}};
      for (size_t i = 0; i < tensor.parts.size(); ++i) {
        std::string name = uniqueName(tensor.parts.size() == 1 ? tensor.name : tensor.name + "#" + std::to_string(i));
        const HeldPart &part = tensor.parts[i];
        const Holder &writer = part.holders.front();
        entry.parts.push_back({shardName(writer.rank), name, part.box});
        if (writer.rank == executor.rank())
          own.push_back({name, tensor.type, part.box.size, bytesOf(tensor, part, executor.data(writer.buffer))});
      }
    }
  }
  std::vector<TensorToWrite> own;

private:
  static std::function<Result<Bytes>(std::vector<uint8_t> &)> bytesOf(const StateTensor &tensor, const HeldPart &part,
                                                                      const uint8_t *data) {
    Bytes bytes(data, static_cast<uint64_t>(elementCount(part.box.size)) * elementBytes(tensor.type));
    return [bytes](std::vector<uint8_t> &) { return bytes; };
  }
  std::string uniqueName(std::string name) {
    while (!names.insert(name).second)
      name += "'";
    return name;
  }

  const Executor &executor;
  std::set<std::string> names;
};
} // namespace

Status ModelState::save(const std::string &directory, Manifest manifest) const {
  if (executor.plan().ranks()->size() == 1)
    return saveCheckpoint(directory, std::move(manifest), wholeTensors(layout.model), wholeTensors(layout.optimizer));
  ShardList shards(executor);
  shards.add(layout.model, manifest.model);
  shards.add(layout.optimizer, manifest.optimizer);
  return saveShards(directory, std::move(manifest), shards.own, *executor.world());
}

/// Returns the problems.
std::string ModelState::restoreTensors(CheckpointReader &checkpoint, const std::vector<StateTensor> &tensors,
                                       const StoredTensors &stored) {
  std::string problems;
  for (const StateTensor &tensor : tensors) {
    uint32_t buffer = 0;
    const HeldPart *own = tensor.partOf(executor.rank(), buffer);
    if (!own)
      continue;
    auto found = stored.find(tensor.name);
    if (found == stored.end()) {
      problems += "\n  '" + tensor.name + "' is missing";
      continue;
    }
    const StoredTensor &entry = found->second;
    if (!entry.supported || entry.type != tensor.type || entry.shape != tensor.shape) {
      problems += "\n  '" + tensor.name + "' has another shape or type";
      continue;
    }
    Status status = checkpoint.readBox(tensor.name, entry, tensor.view, own->box, executor.data(buffer));
    if (!status.ok())
      problems += "\n  " + status.message;
  }
  return problems;
}

Status ModelState::restore(CheckpointReader &checkpoint) {
  executor.clearState();
  setInitialScalars();
  std::string problems = restoreTensors(checkpoint, layout.model, checkpoint.model()) +
                         restoreTensors(checkpoint, layout.optimizer, checkpoint.optimizer());
  const Manifest &manifest = checkpoint.manifest();
  for (uint32_t i = 0; i < sizeOf(program().scalars()); ++i) {
    const fb::Scalar &scalar = *program().scalars()->Get(i);
    std::string name = scalar.name()->str();
    auto found = manifest.scalars.find(name);
    // What a plan decides is the new plan's, unless a user has set it.
    bool isPlans = scalar.settable() && manifest.settings && !manifest.settings->count(name) &&
                   manifest.planDigest != executor.file().digest();
    if (found != manifest.scalars.end() && !isPlans)
      executor.setScalar(scalar.buffer(), found->second);
  }
  if (step() != manifest.step)
    problems += "\n  the plan's step counter cannot be set to step " + std::to_string(manifest.step);
  Status status = problems.empty()
                      ? Status::success()
                      : Status::badInput("checkpoint '" + checkpoint.folder() + "' does not fit the plan:" + problems,
                                         "was it written by a run of another model?");
  return agree(executor.world(), status);
}

std::map<std::string, double> ModelState::scalars() const {
  std::map<std::string, double> values;
  for (uint32_t i = 0; i < sizeOf(program().scalars()); ++i) {
    const fb::Scalar &scalar = *program().scalars()->Get(i);
    values[scalar.name()->str()] = executor.scalar(scalar.buffer());
  }
  return values;
}

std::map<std::string, double> ModelState::planScalars() const {
  std::map<std::string, double> values;
  for (uint32_t i = 0; i < sizeOf(program().scalars()); ++i)
    if (const fb::Scalar &scalar = *program().scalars()->Get(i); scalar.settable())
      values[scalar.name()->str()] = scalar.initial();
  return values;
}

static bool isHeldBy(fb::DataType type, double value) {
  return type == fb::DataType::F32 ? std::isfinite(static_cast<float>(value)) : std::isfinite(value);
}

Status ModelState::set(const std::string &name, double value) {
  std::string known;
  for (uint32_t i = 0; i < sizeOf(program().scalars()); ++i) {
    const fb::Scalar &scalar = *program().scalars()->Get(i);
    if (!scalar.settable())
      continue;
    if (scalar.name()->str() == name) {
      if (!isHeldBy(scalar.type(), value) || value < 0)
        return Status::wrongUse("--set " + name + ": " + nameOf(scalar.type()) + " numbers from 0 on are taken, not " +
                                std::to_string(value));
      executor.setScalar(scalar.buffer(), value);
      return Status::success();
    }
    known += " " + scalar.name()->str();
  }
  return Status::wrongUse("the plan has no scalar '" + name + "' that can be set",
                          known.empty() ? "this plan has none" : "it has:" + known);
}

std::string ModelState::firstUnsound() const {
  constexpr int64_t kBlock = 1 << 18;
  auto isSound = [&](uint32_t index) {
    const fb::Buffer &buffer = executor.buffer(index);
    if (!isFloat(buffer.type()))
      return true;
    int64_t count = elementCount(shapeOf(buffer.shape()));
    std::atomic<bool> sound{true};
    executor.threads().forEach((count + kBlock - 1) / kBlock, [&](int64_t block, unsigned) {
      int64_t begin = block * kBlock, length = std::min(kBlock, count - begin);
      std::vector<double> values(static_cast<size_t>(length));
      convertElements(buffer.type(), executor.data(index) + static_cast<uint64_t>(begin) * elementBytes(buffer.type()),
                      fb::DataType::F64, values.data(), length);
      if (!std::all_of(values.begin(), values.end(), [](double value) { return std::isfinite(value); }))
        sound = false;
    });
    return sound.load();
  };
  for (uint32_t i = 0; i < sizeOf(program().parameters()); ++i) {
    const fb::Parameter &parameter = *program().parameters()->Get(i);
    if (!parameter.trainable())
      continue; // frozen ones may hold infinities, as masks do
    if (!isSound(parameter.buffer()))
      return "parameter '" + textOf(parameter.name()) + "'";
    for (uint32_t j = 0; j < sizeOf(parameter.states()); ++j)
      if (!isSound(parameter.states()->Get(j)->buffer()))
        return textOf(parameter.states()->Get(j)->name()) + " of parameter '" + textOf(parameter.name()) + "'";
  }
  return "";
}

uint64_t ModelState::step() const {
  for (uint32_t i = 0; i < sizeOf(program().scalars()); ++i)
    if (program().scalars()->Get(i)->name()->str() == "step")
      return static_cast<uint64_t>(std::max(0.0, executor.scalar(program().scalars()->Get(i)->buffer())));
  return 0;
}

} // namespace llmc::runtime
