//===- ModelState.cpp - parameters, optimizer state and scalars -----------===//
#include "runtime/executor/ModelState.h"
#include "runtime/comm/Agree.h"
#include "runtime/plan/Tables.h"
#include <algorithm>
#include <set>

namespace llmc::runtime {

void ModelState::setInitialScalars() {
  for (uint32_t i = 0; i < sizeOf(program().scalars()); ++i) {
    const fb::Scalar &scalar = *program().scalars()->Get(i);
    executor.setScalar(scalar.buffer(), scalar.initial());
  }
}

Status ModelState::initialize(const std::string &folder, const std::string &weights, const Progress &progress) {
  executor.clearState();
  setInitialScalars();
  return agree(executor.world(), initializeParameters(folder, weights, progress));
}

Status ModelState::initializeParameters(const std::string &folder, const std::string &weights,
                                        const Progress &progress) {
  ParallelFor parallel = [&](int64_t items, const std::function<void(int64_t)> &work) {
    executor.threads().forEach(items, [&](int64_t item, unsigned) { work(item); });
  };
  ParameterInitializer initializer(executor.plan(), executor.rank(), folder, parallel);
  if (!weights.empty())
    return loadWeights(initializer, weights);
  std::string problems, hint;
  uint32_t count = sizeOf(program().parameters());
  for (uint32_t i = 0; i < count; ++i) {
    const fb::Parameter &parameter = *program().parameters()->Get(i);
    Status status = initializer.initialize(parameter, executor.data(parameter.buffer()));
    if (!status.ok()) {
      problems += "\n  " + status.message;
      hint = status.hint;
    }
    progress("initializing parameters", static_cast<double>(i + 1) / count);
  }
  return problems.empty() ? Status::success() : Status::badInput("parameters cannot be initialized:" + problems, hint);
}

/// The tensor of `parameter` in `file`, under its own or one of its other names.
static const TensorInfo *findTensor(const SafetensorsFile &file, const fb::Parameter &parameter) {
  const TensorInfo *info = file.find(parameter.name()->str());
  for (uint32_t i = 0; !info && i < sizeOf(parameter.aliases()); ++i)
    info = file.find(parameter.aliases()->Get(i)->str());
  return info;
}

Status ModelState::loadWeights(ParameterInitializer &initializer, const std::string &path) {
  auto file = SafetensorsFile::open(path);
  if (!file.ok())
    return file.status();
  std::string problems;
  for (uint32_t i = 0; i < sizeOf(program().parameters()); ++i) {
    const fb::Parameter &parameter = *program().parameters()->Get(i);
    const TensorInfo *info = findTensor(**file, parameter);
    if (!info) {
      problems += "\n  parameter '" + parameter.name()->str() + "' is missing";
      continue;
    }
    Status status = initializer.load(parameter, **file, *info, executor.data(parameter.buffer()));
    if (!status.ok())
      problems += "\n  " + status.message;
  }
  return problems.empty() ? Status::success()
                          : Status::badInput("weights file '" + path + "' does not fit the plan:" + problems,
                                             "it must hold every parameter by the name that the model gives it");
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
    auto found = manifest.scalars.find(scalar.name()->str());
    if (found != manifest.scalars.end())
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

Status ModelState::set(const std::string &name, double value) {
  std::string known;
  for (uint32_t i = 0; i < sizeOf(program().scalars()); ++i) {
    const fb::Scalar &scalar = *program().scalars()->Get(i);
    if (!scalar.settable())
      continue;
    if (scalar.name()->str() == name) {
      executor.setScalar(scalar.buffer(), value);
      return Status::success();
    }
    known += " " + scalar.name()->str();
  }
  return Status::wrongUse("the plan has no scalar '" + name + "' that can be set",
                          known.empty() ? "this plan has none" : "it has:" + known);
}

uint64_t ModelState::step() const {
  for (uint32_t i = 0; i < sizeOf(program().scalars()); ++i)
    if (program().scalars()->Get(i)->name()->str() == "step")
      return static_cast<uint64_t>(std::max(0.0, executor.scalar(program().scalars()->Get(i)->buffer())));
  return 0;
}

} // namespace llmc::runtime
