//===- Predict.cpp - outputs for arrays of inputs -------------------------===//
#include "runtime/executor/Predict.h"
#include "runtime/io/Safetensors.h"
#include "runtime/plan/Tables.h"
#include <cstring>

namespace llmc::runtime {

namespace {
class Predictor {
public:
  Predictor(Executor &executor, const SafetensorsFile &file) : executor(executor), file(file) {}

  /// Finds the segment, and what of the file feeds it.
  Status prepare(const std::string &path);
  /// Appends to `list` what is to be computed when it is written.
  void addTo(std::vector<TensorToWrite> &list);
  uint64_t arrays() const { return count; }

private:
  struct Feed {
    const fb::Input *input;
    std::string array;
    Shape shape; // of one run
  };
  Status findFeeds();
  std::string checkArray(const Feed &feed, uint64_t index, int64_t &rows) const;
  Status fill(const Feed &feed, uint64_t index, int64_t row);
  Status run(uint64_t index);
  Shape shapeOfOutput(const fb::Output &output, uint64_t index) const;
  const fb::Segment &segment() const { return *executor.program().segments()->Get(number); }

  Executor &executor;
  const SafetensorsFile &file;
  uint32_t number = 0;
  int64_t samples = 1; // of one run
  uint64_t count = 0;
  std::vector<Feed> feeds;
  std::vector<int64_t> rows;                 // by array
  uint64_t computed = UINT64_MAX;            // the array whose outputs are in `results`
  std::vector<std::vector<uint8_t>> results; // by output
};
} // namespace

static std::string quote(const std::string &text) { return "'" + text + "'"; }

static std::string describe(const Shape &shape, bool anyRows) {
  std::string text = "[";
  for (size_t i = 0; i < shape.size(); ++i)
    text += (i ? ", " : "") + (i == 0 && anyRows ? "N" : std::to_string(shape[i]));
  return text + "]";
}

Status Predictor::findFeeds() {
  auto found = executor.segment("predict");
  if (!found)
    return Status::wrongUse("the plan cannot predict: it has no segment `predict`",
                            "compile with `predict: OUTPUT` in the recipe, OUTPUT being an output of the model");
  number = *found;
  for (uint32_t i = 0; i < sizeOf(segment().inputs()); ++i) {
    const fb::Input *input = segment().inputs()->Get(i);
    if (input->source() == fb::Source::Position || input->source() == fb::Source::Place)
      continue;
    bool isStream = input->source() == fb::Source::Tokens || input->source() == fb::Source::TokensNext;
    feeds.push_back({input, textOf(isStream ? input->name() : input->array()), shapeOf(executor.buffer(input->buffer()).shape())});
    if (feeds.back().shape.empty())
      return Status::wrongUse("input " + quote(textOf(input->name())) + " of the model has no samples: it is a scalar");
  }
  if (feeds.empty())
    return Status::wrongUse("segment `predict` has no inputs");
  samples = feeds.front().shape[0];
  for (uint32_t i = 0; i < sizeOf(segment().outputs()); ++i) {
    const fb::Output &output = *segment().outputs()->Get(i);
    Shape shape = shapeOf(executor.buffer(output.buffer()).shape());
    if (shape.empty() || samples == 0 || shape[0] % samples != 0)
      return Status::wrongUse("output " + quote(textOf(output.name())) + " of shape " + describe(shape, false) + " is not by sample, of which there are " +
                              std::to_string(samples));
  }
  return Status::success();
}

/// The problem of an array, empty if there is none.
std::string Predictor::checkArray(const Feed &feed, uint64_t index, int64_t &rowsThere) const {
  std::string name = feed.array + "." + std::to_string(index);
  const TensorInfo *info = file.find(name);
  fb::DataType type = executor.buffer(feed.input->buffer()).type();
  if (!info)
    return quote(name) + " is missing";
  Shape own = info->shape;
  bool fits = own.size() == feed.shape.size();
  for (size_t d = 1; fits && d < own.size(); ++d)
    fits = own[d] == feed.shape[d];
  if (!fits || own[0] % samples != 0 || own[0] == 0)
    return quote(name) + " has shape " + describe(own, false) + ", not " + describe(feed.shape, true) +
           (samples > 1 ? " with N a multiple of " + std::to_string(samples) : "");
  if (!info->supported || isFloat(info->type) != isFloat(type) || isInteger(info->type) != isInteger(type))
    return quote(name) + " has type " + info->typeName + ", not " + nameOf(type);
  if (rowsThere >= 0 && rowsThere != own[0])
    return quote(name) + " has " + std::to_string(own[0]) + " samples, another input " + std::to_string(rowsThere);
  rowsThere = own[0];
  return "";
}

Status Predictor::prepare(const std::string &path) {
  if (Status status = findFeeds(); !status.ok())
    return status;
  std::string problems;
  auto isThere = [&](uint64_t index) {
    for (const Feed &feed : feeds)
      if (file.find(feed.array + "." + std::to_string(index)))
        return true;
    return false;
  };
  for (; count == 0 || isThere(count); ++count) {
    int64_t there = -1;
    for (const Feed &feed : feeds)
      if (std::string problem = checkArray(feed, count, there); !problem.empty())
        problems += "\n  input " + quote(textOf(feed.input->name())) + ": " + problem;
    rows.push_back(there);
  }
  return problems.empty() ? Status::success() : Status::badInput(quote(path) + " cannot feed the model:" + problems);
}

Status Predictor::fill(const Feed &feed, uint64_t index, int64_t row) {
  std::string name = feed.array + "." + std::to_string(index);
  const TensorInfo &info = *file.find(name);
  const fb::Buffer &buffer = executor.buffer(feed.input->buffer());
  int64_t elements = elementCount(feed.shape), first = row * (elements / samples);
  const uint8_t *from = file.data(info).data() + static_cast<uint64_t>(first) * elementBytes(info.type);
  if (!convertElements(info.type, from, buffer.type(), executor.data(feed.input->buffer()), elements))
    return Status::badInput("cannot convert " + quote(name) + " to " + nameOf(buffer.type()));
  if (feed.input->limit() == 0 || !isInteger(info.type))
    return Status::success();
  std::vector<int64_t> ids(static_cast<size_t>(elements));
  convertElements(info.type, from, fb::DataType::I64, ids.data(), elements);
  for (int64_t i = 0; i < elements; ++i)
    if ((ids[i] < 0 || static_cast<uint64_t>(ids[i]) >= feed.input->limit()) &&
        !(feed.input->allow_ignored() && ids[i] == feed.input->ignored()))
      return Status::badInput("array " + quote(name) + " element " + std::to_string(first + i) + ": id " + std::to_string(ids[i]) +
                              " is outside [0, " + std::to_string(feed.input->limit()) + ")");
  return Status::success();
}

/// All samples of one array, to `results`.
Status Predictor::run(uint64_t index) {
  uint32_t outputs = sizeOf(segment().outputs());
  results.assign(outputs, {});
  for (int64_t row = 0; row < rows[index]; row += samples) {
    for (const Feed &feed : feeds)
      if (Status status = fill(feed, index, row); !status.ok())
        return status;
    if (Status status = executor.run(number); !status.ok())
      return status;
    for (uint32_t i = 0; i < outputs; ++i) {
      uint32_t buffer = segment().outputs()->Get(i)->buffer();
      const uint8_t *from = executor.data(buffer);
      results[i].insert(results[i].end(), from, from + executor.buffer(buffer).bytes());
    }
  }
  computed = index;
  return Status::success();
}

Shape Predictor::shapeOfOutput(const fb::Output &output, uint64_t index) const {
  Shape shape = shapeOf(executor.buffer(output.buffer()).shape());
  shape[0] = shape[0] / samples * rows[index];
  return shape;
}

void Predictor::addTo(std::vector<TensorToWrite> &list) {
  for (uint64_t index = 0; index < count; ++index)
    for (uint32_t i = 0; i < sizeOf(segment().outputs()); ++i) {
      const fb::Output &output = *segment().outputs()->Get(i);
      auto fetch = [this, index, i](std::vector<uint8_t> &) -> Result<Bytes> {
        if (computed != index)
          if (Status status = run(index); !status.ok())
            return status;
        return Bytes(results[i]);
      };
      list.push_back({textOf(output.name()) + "." + std::to_string(index), executor.buffer(output.buffer()).type(), shapeOfOutput(output, index), fetch});
    }
}

Result<uint64_t> predictArrays(Executor &executor, const std::string &data, const std::string &path) {
  auto file = SafetensorsFile::open(data);
  if (!file.ok())
    return file.status();
  Predictor predictor(executor, **file);
  if (Status status = predictor.prepare(data); !status.ok())
    return status;
  std::vector<TensorToWrite> list;
  predictor.addTo(list);
  if (Status status = writeSafetensors(path, list); !status.ok())
    return status;
  return predictor.arrays();
}

} // namespace llmc::runtime
