//===- Data.cpp - what feeds the inputs of a plan -------------------------===//
#include "runtime/io/Data.h"
#include "runtime/io/Random.h"
#include "runtime/plan/Part.h"
#include "runtime/plan/Places.h"
#include "runtime/plan/PlanFile.h"
#include <algorithm>
#include <cstring>

namespace llmc::runtime {

static bool isTokens(const fb::Input &input) {
  return input.source() == fb::Source::Tokens || input.source() == fb::Source::TokensNext;
}

static std::string quote(const std::string &text) { return "'" + text + "'"; }

static std::string textOf(const Shape &shape) {
  std::string text = "[";
  for (size_t i = 0; i < shape.size(); ++i)
    text += (i ? ", " : "") + std::to_string(shape[i]);
  return text + "]";
}

/// The reason why `id` may not enter `input`, empty if it may.
static std::string checkId(const fb::Input &input, int64_t id) {
  if (input.limit() == 0 || (id >= 0 && static_cast<uint64_t>(id) < input.limit()) ||
      (input.allow_ignored() && id == input.ignored()))
    return "";
  return "id " + std::to_string(id) + " for input " + quote(input.name()->str()) + " is outside [0, " +
         std::to_string(input.limit()) + ")";
}

static void storeId(const fb::Buffer &buffer, void *to, int64_t index, int64_t id) {
  if (buffer.type() == fb::DataType::I64)
    static_cast<int64_t *>(to)[index] = id;
  else
    static_cast<int32_t *>(to)[index] = static_cast<int32_t>(id);
}

DataOptions DataOptions::of(const fb::Plan &plan, std::vector<std::string> files, uint32_t rank) {
  DataOptions options;
  options.files = std::move(files);
  options.samplesPerStep = plan.samples_per_step();
  options.samplesPerMicroBatch = plan.samples_per_micro_batch();
  options.sequence = std::max<uint64_t>(1, plan.sequence());
  options.vocabulary = plan.vocabulary();
  options.seed = plan.seed();
  options.shuffle = plan.shuffle();
  options.plan = &plan;
  options.places = placesOfRank(plan, rank);
  options.rank = rank;
  options.ranks = plan.ranks()->size();
  return options;
}

Result<std::unique_ptr<DataSet>> DataSet::open(const DataOptions &options, const fb::Segment &segment,
                                               const fb::RankProgram &program) {
  std::unique_ptr<DataSet> data(new DataSet(options));
  for (const std::string &path : options.files) {
    bool isArrays = path.size() > 12 && path.substr(path.size() - 12) == ".safetensors";
    if (isArrays ? data->arrays != nullptr : data->tokens != nullptr)
      return Status::wrongUse("two data files of one kind: " + quote(path));
    if (isArrays) {
      auto file = SafetensorsFile::open(path);
      if (!file.ok())
        return file.status();
      data->arrays = *file;
    } else {
      auto file = TokenFile::open(path, options.vocabulary);
      if (!file.ok())
        return file.status();
      data->tokens = *file;
      if (!(*file)->note().empty())
        data->remarks.push_back((*file)->note());
    }
  }
  std::string problems;
  bool needsNext = false;
  if (segment.inputs())
    for (const fb::Input *input : *segment.inputs()) {
      std::string problem;
      if (input->source() == fb::Source::Position || input->source() == fb::Source::Place)
        continue;
      if (isTokens(*input))
        problem = data->tokens ? "" : "needs a token file";
      else
        problem = data->arrays ? data->checkArray(*input, *program.buffers()->Get(input->buffer()))
                               : "needs a safetensors file with arrays " + quote(input->array()->str() + ".0") + " and on";
      needsNext |= input->source() == fb::Source::TokensNext;
      if (!problem.empty())
        problems += "\n  input " + quote(input->name()->str()) + " " + problem;
    }
  if (data->tokens) {
    data->windows = (data->tokens->count() - (data->tokens->count() > 0 && needsNext)) / options.sequence;
    if (data->windows == 0)
      problems += "\n  token file " + quote(data->tokens->path()) + " has " + std::to_string(data->tokens->count()) +
                  " tokens, one window needs " + std::to_string(options.sequence + needsNext);
  }
  if (!problems.empty())
    return Status::badInput("the data cannot feed the plan:" + problems, "give the file that the recipe's `data` names");
  if (Status status = data->checkIds(segment, program); !status.ok())
    return status;
  return data;
}

static Status badToken(const TokenFile &tokens, const fb::Input &input, uint64_t position) {
  return Status::badInput(quote(tokens.path()) + " position " + std::to_string(position) + ": " + checkId(input, tokens.at(position)),
                          "was the file made with another tokenizer than the model's?");
}

Status DataSet::checkTokens(const fb::Input &input) {
  constexpr uint64_t kBlock = 1 << 20;
  uint64_t blocks = (tokens->count() + kBlock - 1) / kBlock, stride = (tokens->count() + kCheckedTokens - 1) / kCheckedTokens;
  auto ignored = input.allow_ignored() ? std::optional<int64_t>(input.ignored()) : std::nullopt;
  for (uint64_t block = options.rank * stride; block < blocks; block += options.ranks * stride) {
    uint64_t end = std::min((block + 1) * kBlock, tokens->count());
    uint64_t position = tokens->firstOutside(block * kBlock, end, input.limit(), ignored);
    if (position < end)
      return badToken(*tokens, input, position);
  }
  if (stride > 1 && remarks.empty())
    remarks.push_back("one in " + std::to_string(stride) + " of the ids in " + quote(tokens->path()) +
                      " was checked against the vocabulary; the others are when they are used");
  return Status::success();
}

/// Every element that some step will use.
Status DataSet::checkArrayIds(const fb::Input &input) const {
  for (uint64_t step = options.rank; step < arraySteps; step += options.ranks) {
    std::string name = input.array()->str() + "." + std::to_string(step);
    const TensorInfo *info = arrays->find(name);
    int64_t count = info ? elementCount(info->shape) : 0, length = count > 0 && !info->shape.empty() ? info->shape.back() : 1;
    std::vector<int64_t> ids(static_cast<size_t>(count));
    if (count == 0 || !convertElements(info->type, arrays->data(*info).data(), fb::DataType::I64, ids.data(), count))
      continue;
    for (int64_t i = 0; i < count; ++i)
      if (std::string problem = input.source() == fb::Source::ArrayNext && i % length == 0 ? "" : checkId(input, ids[i]); !problem.empty())
        return Status::badInput(quote(arrays->path()) + " array " + quote(name) + " element " + std::to_string(i) + ": " + problem,
                                "was the file made with another tokenizer than the model's?");
  }
  return Status::success();
}

Status DataSet::checkIds(const fb::Segment &segment, const fb::RankProgram &program) {
  for (uint32_t i = 0; segment.inputs() && i < segment.inputs()->size(); ++i) {
    const fb::Input &input = *segment.inputs()->Get(i);
    fb::DataType type = program.buffers()->Get(input.buffer())->type();
    if (input.limit() == 0 || input.source() == fb::Source::Position || input.source() == fb::Source::Place ||
        (type != fb::DataType::I64 && type != fb::DataType::I32))
      continue;
    if (Status status = isTokens(input) ? checkTokens(input) : checkArrayIds(input); !status.ok())
      return status;
  }
  return Status::success();
}

uint64_t DataSet::steps() const {
  if (arraySteps == UINT64_MAX)
    return UINT64_MAX;
  return options.epochs > (UINT64_MAX - 1) / std::max<uint64_t>(1, arraySteps) ? UINT64_MAX - 1 : arraySteps * options.epochs;
}

std::string DataSet::checkArray(const fb::Input &input, const fb::Buffer &buffer) {
  Shape expected = shapeOf(buffer.shape());
  if (!expected.empty()) // a scalar is for all samples of a step
    expected[0] = static_cast<int64_t>(options.samplesPerStep);
  uint64_t count = 0;
  std::string name = input.array()->str();
  for (;; ++count) {
    const TensorInfo *info = arrays->find(name + "." + std::to_string(count));
    if (!info)
      break;
    bool typesFit = info->supported && (isFloat(info->type) == isFloat(buffer.type()) &&
                                        isInteger(info->type) == isInteger(buffer.type()));
    if (!typesFit)
      return "cannot take the " + info->typeName + " of " + quote(name + "." + std::to_string(count));
    if (info->shape != expected && !(expected.empty() && info->shape == Shape{1}))
      return "needs shape " + textOf(expected) + ", but " + quote(name + "." + std::to_string(count)) + " has " +
             textOf(info->shape);
  }
  if (count == 0)
    return "needs an array " + quote(name + ".0") + ", which " + quote(arrays->path()) + " lacks";
  arraySteps = std::min(arraySteps, count);
  return "";
}

uint64_t DataSet::microBatches() const {
  uint64_t fromTokens = tokens ? windows / options.samplesPerMicroBatch : UINT64_MAX;
  uint64_t perStep = options.samplesPerStep / options.samplesPerMicroBatch;
  return std::min(fromTokens, arraySteps == UINT64_MAX ? UINT64_MAX : arraySteps * perStep);
}

uint64_t DataSet::window(uint64_t sample) const {
  uint64_t epoch = sample / windows, index = sample % windows;
  return options.shuffle ? Permutation(windows, options.seed, epoch)(index) : index;
}

Status DataSet::fillTokens(const fb::Input &input, const fb::Buffer &buffer, uint64_t step, uint64_t first, void *to) const {
  uint64_t length = options.sequence, shift = input.source() == fb::Source::TokensNext ? 1 : 0;
  auto samples = static_cast<uint64_t>(buffer.shape()->Get(0));
  for (uint64_t s = 0; s < samples; ++s) {
    uint64_t begin = window(step * options.samplesPerStep + first + s) * length + shift;
    for (uint64_t t = 0; t < length; ++t) {
      int64_t id = tokens->at(begin + t);
      if (!checkId(input, id).empty())
        return badToken(*tokens, input, begin + t);
      storeId(buffer, to, static_cast<int64_t>(s * length + t), id);
    }
  }
  return Status::success();
}

Status DataSet::fillArray(const fb::Input &input, const fb::Buffer &buffer, uint64_t step, uint64_t first,
                          void *to) const {
  std::string name = input.array()->str() + "." + std::to_string(step < steps() ? step % arraySteps : step);
  const TensorInfo *info = step < steps() ? arrays->find(name) : nullptr;
  if (!info)
    return Status::badInput("the data has run out: " + quote(arrays->path()) + " has no " + quote(name));
  Shape shape = shapeOf(buffer.shape());
  int64_t count = elementCount(shape);
  uint64_t skipped = shape.empty() ? 0 : first * static_cast<uint64_t>(count / shape[0]);
  Bytes rows = arrays->data(*info).subspan(skipped * elementBytes(info->type));
  if (!convertElements(info->type, rows.data(), buffer.type(), to, count))
    return Status::badInput("cannot convert " + quote(name) + " to " + nameOf(buffer.type()));
  if (!isInteger(buffer.type()) || (buffer.type() != fb::DataType::I64 && buffer.type() != fb::DataType::I32))
    return Status::success();
  std::vector<int64_t> ids(static_cast<size_t>(count));
  convertElements(info->type, rows.data(), fb::DataType::I64, ids.data(), count);
  int64_t length = shape.empty() ? 1 : shape.back();
  for (int64_t i = 0; i < count; ++i) {
    bool isShifted = input.source() == fb::Source::ArrayNext, isLast = isShifted && (i + 1) % length == 0;
    int64_t id = isLast ? input.ignored() : ids[i + isShifted];
    std::string problem = isLast ? "" : checkId(input, id);
    if (!problem.empty())
      return Status::badInput(quote(arrays->path()) + " array " + quote(name) + " element " +
                              std::to_string(skipped + static_cast<uint64_t>(i) + isShifted) +
                              ": " + problem);
    storeId(buffer, to, i, id);
  }
  return Status::success();
}

Status DataSet::fill(const fb::Input &input, const fb::Buffer &buffer, uint64_t step, uint64_t micro, void *to) const {
  if (input.source() == fb::Source::Position) {
    int64_t position[2] = {static_cast<int64_t>(step), static_cast<int64_t>(micro * options.samplesPerMicroBatch)};
    std::memcpy(to, position, sizeof(position));
    return Status::success();
  }
  if (input.source() == fb::Source::Place)
    return Status::success(); // known from the start
  uint64_t first = micro * options.samplesPerMicroBatch;
  if (options.plan)
    first += static_cast<uint64_t>(
        partOf(*options.plan, {static_cast<int64_t>(options.samplesPerMicroBatch)}, input.cuts(), options.places).begin[0]);
  return isTokens(input) ? fillTokens(input, buffer, step, first, to) : fillArray(input, buffer, step, first, to);
}

static std::string identify(const std::string &path, Bytes bytes) {
  constexpr size_t kEnd = 1 << 20;
  size_t slash = path.rfind('/');
  size_t length = std::min(bytes.size(), kEnd);
  return path.substr(slash == std::string::npos ? 0 : slash + 1) + " " + std::to_string(bytes.size()) + " " +
         digestOf(bytes.first(length)) + " " + digestOf(bytes.last(length));
}

std::string DataSet::identity() const {
  std::string text;
  if (tokens)
    text += identify(tokens->path(), tokens->bytes());
  if (arrays)
    text += (text.empty() ? "" : "; ") + identify(arrays->path(), arrays->bytes());
  return text;
}

} // namespace llmc::runtime
