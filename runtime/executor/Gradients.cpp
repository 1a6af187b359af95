//===- Gradients.cpp - writes the gradients of a step ---------------------===//
//
// Rank 0 writes the file. Tensor by tensor, part by part, the ranks that hold something of it send theirs, in order,
// and rank 0 adds up what is still to be added up. No rank keeps more than one whole tensor.
//
//===----------------------------------------------------------------------===//
#include "runtime/comm/Agree.h"
#include "runtime/executor/ModelState.h"
#include <cstring>

namespace llmc::runtime {

namespace {
class GradientGatherer {
public:
  explicit GradientGatherer(const Executor &executor) : executor(executor) {}

  Status findWeight();
  /// On rank 0: the logical tensor, averaged.
  Result<Bytes> receive(const StateTensor &tensor, std::vector<uint8_t> &scratch);
  /// On the others.
  Status send(const StateTensor &tensor);

private:
  /// Those that add up to a part.
  std::vector<Holder> sourcesOf(const StateTensor &tensor, const HeldPart &part) const;
  Result<Bytes> fetch(const Holder &source, size_t bytes, std::vector<uint8_t> &scratch);

  const Executor &executor;
  double weight = 1;
};
} // namespace

template <typename T> static void addInto(void *sum, const void *values, size_t bytes) {
  for (size_t i = 0; i < bytes / sizeof(T); ++i)
    static_cast<T *>(sum)[i] += static_cast<const T *>(values)[i];
}

template <typename T> static void divide(void *values, size_t bytes, double by) {
  for (size_t i = 0; i < bytes / sizeof(T); ++i)
    static_cast<T *>(values)[i] = static_cast<T>(static_cast<T *>(values)[i] / by);
}

Status GradientGatherer::findWeight() {
  const fb::RankProgram &program = executor.program();
  double own = program.weight() >= 0 ? executor.scalar(static_cast<uint32_t>(program.weight())) : 1.0, sum = own;
  if (World *world = executor.world()) {
    std::vector<double> all(world->size());
    Operand operand{&own, all.data(), 1};
    if (Status status = world->all().allGather({&operand, 1}, fb::DataType::F64); !status.ok())
      return status;
    std::vector<uint32_t> divisions;
    if (program.weight_sum())
      divisions.assign(program.weight_sum()->begin(), program.weight_sum()->end());
    sum = 0;
    for (uint32_t rank : ranksAround(executor.plan(), divisions, executor.rank()))
      sum += all[rank];
  }
  weight = sum != 0 ? sum : 1.0;
  return Status::success();
}

std::vector<Holder> GradientGatherer::sourcesOf(const StateTensor &tensor, const HeldPart &part) const {
  std::vector<Holder> sources;
  for (uint32_t rank : ranksAround(executor.plan(), tensor.sum, part.holders.front().rank))
    for (const Holder &holder : part.holders)
      if (holder.rank == rank)
        sources.push_back(holder);
  return sources;
}

Result<Bytes> GradientGatherer::fetch(const Holder &source, size_t bytes, std::vector<uint8_t> &scratch) {
  if (source.rank == executor.rank())
    return Bytes(executor.data(source.buffer), bytes);
  scratch.resize(bytes);
  Status status = executor.world()->all().recv(source.rank, 0, std::as_writable_bytes(std::span(scratch)));
  if (!status.ok())
    return status;
  return Bytes(scratch);
}

Status GradientGatherer::send(const StateTensor &tensor) {
  for (const HeldPart &part : tensor.parts)
    for (const Holder &source : sourcesOf(tensor, part)) {
      if (source.rank != executor.rank())
        continue;
      Bytes bytes(executor.data(source.buffer),
                  static_cast<size_t>(elementCount(part.box.size)) * elementBytes(tensor.type));
      if (Status status = executor.world()->all().send(0, 0, std::as_bytes(bytes)); !status.ok())
        return status;
    }
  return Status::success();
}

Result<Bytes> GradientGatherer::receive(const StateTensor &tensor, std::vector<uint8_t> &scratch) {
  uint64_t width = elementBytes(tensor.type);
  std::vector<uint8_t> whole(static_cast<size_t>(elementCount(tensor.compiled)) * width), sum, received;
  auto add = tensor.type == fb::DataType::F64 ? addInto<double> : addInto<float>;
  for (const HeldPart &part : tensor.parts) {
    size_t bytes = static_cast<size_t>(elementCount(part.box.size)) * width;
    sum.clear();
    for (const Holder &source : sourcesOf(tensor, part)) {
      auto values = fetch(source, bytes, received);
      if (!values.ok())
        return values.status();
      if (sum.empty())
        sum.assign(values->begin(), values->end());
      else
        add(sum.data(), values->data(), bytes);
    }
    copyCommon(part.box, sum.data(), Box::whole(tensor.compiled), whole.data(), width);
  }
  scratch.resize(static_cast<size_t>(elementCount(tensor.shape)) * width);
  toLogical(tensor.view, tensor.shape, width, whole.data(), scratch.data());
  (tensor.type == fb::DataType::F64 ? divide<double> : divide<float>)(scratch.data(), scratch.size(), weight);
  return Bytes(scratch);
}

Status ModelState::saveGradients(const std::string &path) const {
  std::vector<StateTensor> gradients = gradientLayout(executor.plan());
  GradientGatherer gatherer(executor);
  if (Status status = gatherer.findWeight(); !status.ok())
    return status;
  bool writes = executor.rank() == 0;
  Status writable;
  if (writes) // asked before the others send, who would wait for a rank that has given up
    if (auto file = DurableFile::create(path); !file.ok())
      writable = file.status();
  if (Status status = agree(executor.world(), writable); !status.ok())
    return status;
  std::vector<TensorToWrite> tensors;
  for (const StateTensor &tensor : gradients) {
    if (writes)
      tensors.push_back({tensor.name, tensor.type, tensor.shape,
                         [&](std::vector<uint8_t> &scratch) { return gatherer.receive(tensor, scratch); }});
    else if (Status status = gatherer.send(tensor); !status.ok())
      return status;
  }
  return writes ? writeSafetensors(path, tensors) : Status::success();
}

} // namespace llmc::runtime
