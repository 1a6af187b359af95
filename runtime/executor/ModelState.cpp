//===- ModelState.cpp - parameters, optimizer state and scalars -----------===//
//
// A checkpoint holds parameters and their optimizer states in logical form, and beside them, as they are, all other
// buffers of state that are no gradients (running statistics and the like), as `buffer.NAME`.
//
//===----------------------------------------------------------------------===//
#include "runtime/executor/ModelState.h"
#include <cmath>
#include <cstring>
#include <set>

namespace llmc::runtime {

template <typename T> static uint32_t sizeOf(const flatbuffers::Vector<T> *vector) { return vector ? vector->size() : 0; }

uint32_t ModelState::rootOf(uint32_t buffer) const {
  while (executor.buffer(buffer).alias_of() >= 0)
    buffer = static_cast<uint32_t>(executor.buffer(buffer).alias_of());
  return buffer;
}

std::vector<ModelState::Extra> ModelState::extraBuffers() const {
  std::set<uint32_t> covered;
  for (uint32_t i = 0; i < sizeOf(program().parameters()); ++i) {
    const fb::Parameter &parameter = *program().parameters()->Get(i);
    covered.insert(rootOf(parameter.buffer()));
    if (parameter.gradient())
      covered.insert(rootOf(parameter.gradient()->buffer()));
    for (uint32_t j = 0; j < sizeOf(parameter.states()); ++j)
      covered.insert(rootOf(parameter.states()->Get(j)->buffer()));
  }
  for (uint32_t i = 0; i < sizeOf(program().scalars()); ++i)
    covered.insert(rootOf(program().scalars()->Get(i)->buffer()));
  std::vector<Extra> extras;
  std::set<std::string> names;
  for (uint32_t i = 0; i < sizeOf(program().buffers()); ++i) {
    const fb::Buffer &buffer = executor.buffer(i);
    if (buffer.alias_of() >= 0 || covered.count(i) ||
        program().arenas()->Get(buffer.arena())->kind() != fb::ArenaKind::State)
      continue;
    std::string name = "buffer." + (buffer.name() ? buffer.name()->str() : "");
    if (!names.insert(name).second)
      name += "." + std::to_string(i);
    extras.push_back({name, i});
  }
  return extras;
}

void ModelState::setInitialScalars() {
  for (uint32_t i = 0; i < sizeOf(program().scalars()); ++i) {
    const fb::Scalar &scalar = *program().scalars()->Get(i);
    executor.setScalar(scalar.buffer(), scalar.initial());
  }
}

Status ModelState::initialize(const std::string &folder, const std::string &weights, const Progress &progress) {
  executor.clearState();
  setInitialScalars();
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

TensorToWrite ModelState::logicalTensor(const std::string &name, const fb::Parameter &parameter, uint32_t buffer) const {
  fb::DataType type = executor.buffer(buffer).type();
  Shape shape = shapeOf(parameter.shape());
  uint64_t bytes = static_cast<uint64_t>(elementCount(shape)) * elementBytes(type);
  std::vector<ViewStep> view = viewOf(parameter);
  const uint8_t *data = executor.data(buffer);
  return {name, type, shape, [=](std::vector<uint8_t> &scratch) -> Bytes {
            if (view.empty())
              return {data, bytes};
            scratch.resize(bytes);
            toLogical(view, shape, elementBytes(type), data, scratch.data());
            return {scratch.data(), bytes};
          }};
}

std::vector<TensorToWrite> ModelState::modelTensors() const {
  std::vector<TensorToWrite> tensors;
  for (uint32_t i = 0; i < sizeOf(program().parameters()); ++i) {
    const fb::Parameter &parameter = *program().parameters()->Get(i);
    tensors.push_back(logicalTensor(parameter.name()->str(), parameter, parameter.buffer()));
  }
  return tensors;
}

std::vector<TensorToWrite> ModelState::optimizerTensors() const {
  std::vector<TensorToWrite> tensors;
  for (uint32_t i = 0; i < sizeOf(program().parameters()); ++i) {
    const fb::Parameter &parameter = *program().parameters()->Get(i);
    for (uint32_t j = 0; j < sizeOf(parameter.states()); ++j) {
      const fb::StateBuffer &state = *parameter.states()->Get(j);
      tensors.push_back(logicalTensor(parameter.name()->str() + "." + state.name()->str(), parameter, state.buffer()));
    }
  }
  for (const Extra &extra : extraBuffers()) {
    const fb::Buffer &buffer = executor.buffer(extra.buffer);
    Bytes bytes(executor.data(extra.buffer), buffer.bytes());
    tensors.push_back({extra.name, fb::DataType::U8, {static_cast<int64_t>(buffer.bytes())},
                       [=](std::vector<uint8_t> &) { return bytes; }});
  }
  return tensors;
}

/// `tensor` divided by `weight`, element by element.
static TensorToWrite average(TensorToWrite tensor, double weight) {
  auto fetch = std::move(tensor.fetch);
  fb::DataType type = tensor.type;
  tensor.fetch = [fetch, weight, type](std::vector<uint8_t> &scratch) -> Bytes {
    Bytes sum = fetch(scratch);
    if (scratch.data() != sum.data())
      scratch.assign(sum.begin(), sum.end());
    auto divide = [&](auto *values, size_t count) {
      for (size_t i = 0; i < count; ++i)
        values[i] = static_cast<std::remove_reference_t<decltype(*values)>>(values[i] / weight);
    };
    if (type == fb::DataType::F32)
      divide(reinterpret_cast<float *>(scratch.data()), scratch.size() / sizeof(float));
    else if (type == fb::DataType::F64)
      divide(reinterpret_cast<double *>(scratch.data()), scratch.size() / sizeof(double));
    return {scratch.data(), scratch.size()};
  };
  return tensor;
}

Status ModelState::saveGradients(const std::string &path) const {
  double weight = program().weight() >= 0 ? executor.scalar(static_cast<uint32_t>(program().weight())) : 1.0;
  std::vector<TensorToWrite> tensors;
  for (uint32_t i = 0; i < sizeOf(program().parameters()); ++i) {
    const fb::Parameter &parameter = *program().parameters()->Get(i);
    if (parameter.gradient())
      tensors.push_back(average(logicalTensor(parameter.name()->str(), parameter, parameter.gradient()->buffer()),
                                weight > 0 ? weight : 1.0));
  }
  return writeSafetensors(path, tensors);
}

Status ModelState::restore(const Checkpoint &checkpoint) {
  executor.clearState();
  setInitialScalars();
  std::string problems;
  auto load = [&](const SafetensorsFile &file, const std::string &name, const TensorInfo *info,
                  const fb::Parameter &parameter, uint32_t buffer) {
    fb::DataType type = executor.buffer(buffer).type();
    Shape shape = shapeOf(parameter.shape());
    if (!info || !info->supported || info->type != type || info->shape != shape) {
      problems += "\n  '" + name + "' " + (info ? "has another shape or type" : "is missing");
      return;
    }
    toCompiled(viewOf(parameter), shape, elementBytes(type), file.data(*info).data(), executor.data(buffer));
  };
  for (uint32_t i = 0; i < sizeOf(program().parameters()); ++i) {
    const fb::Parameter &parameter = *program().parameters()->Get(i);
    std::string name = parameter.name()->str();
    load(*checkpoint.model, name, checkpoint.model->find(name), parameter, parameter.buffer());
    for (uint32_t j = 0; j < sizeOf(parameter.states()); ++j) {
      std::string stateName = name + "." + parameter.states()->Get(j)->name()->str();
      load(*checkpoint.optimizer, stateName, checkpoint.optimizer->find(stateName), parameter,
           parameter.states()->Get(j)->buffer());
    }
  }
  for (const Extra &extra : extraBuffers()) {
    const TensorInfo *info = checkpoint.optimizer->find(extra.name);
    if (!info || info->end - info->begin != executor.buffer(extra.buffer).bytes()) {
      problems += "\n  '" + extra.name + "' " + (info ? "has another size" : "is missing");
      continue;
    }
    std::memcpy(executor.data(extra.buffer), checkpoint.optimizer->data(*info).data(), info->end - info->begin);
  }
  for (uint32_t i = 0; i < sizeOf(program().scalars()); ++i) {
    const fb::Scalar &scalar = *program().scalars()->Get(i);
    auto found = checkpoint.manifest.scalars.find(scalar.name()->str());
    if (found != checkpoint.manifest.scalars.end())
      executor.setScalar(scalar.buffer(), found->second);
  }
  if (step() != checkpoint.manifest.step)
    problems += "\n  the plan's step counter cannot be set to step " + std::to_string(checkpoint.manifest.step);
  return problems.empty() ? Status::success()
                          : Status::badInput("checkpoint '" + checkpoint.folder + "' does not fit the plan:" + problems,
                                             "was it written by a run of another model?");
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
