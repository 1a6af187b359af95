//===- Generate.cpp - continues a prompt ----------------------------------===//
//
// The window holds the last ids at its front and zeros behind them; a causal model does not look at what comes later, so
// the logits at the last id's place are right.
//
//===----------------------------------------------------------------------===//
#include "runtime/executor/Generate.h"
#include "runtime/io/Random.h"
#include "runtime/io/Safetensors.h"
#include "runtime/plan/View.h"
#include <algorithm>
#include <charconv>
#include <cmath>

namespace llmc::runtime {

namespace {
/// The predict segment's places.
struct Predict {
  uint32_t segment = 0, input = 0, logits = 0;
  int64_t length = 0, vocabulary = 0;
  uint64_t limit = 0;
};
} // namespace

static Result<Predict> findPredict(const Executor &executor) {
  auto segment = executor.segment("predict");
  if (!segment)
    return Status::wrongUse("the plan cannot continue a text: it has no segment `predict`",
                            "compile with `predict: logits` in the recipe");
  auto logits = executor.output(*segment, "logits");
  const auto *inputs = executor.program().segments()->Get(*segment)->inputs();
  if (!inputs || inputs->size() != 1 || !logits)
    return Status::wrongUse("segment `predict` needs one input of ids and the output `logits`");
  Predict predict{*segment, inputs->Get(0)->buffer(), *logits, 0, 0, inputs->Get(0)->limit()};
  Shape ids = shapeOf(executor.buffer(predict.input).shape()), shape = shapeOf(executor.buffer(predict.logits).shape());
  bool fits = ids.size() == 2 && ids[0] == 1 && shape.size() == 3 && shape[0] == 1 && shape[1] == ids[1] && shape[2] > 0 &&
              executor.buffer(predict.logits).type() == fb::DataType::F32;
  fb::DataType type = executor.buffer(predict.input).type();
  if (!fits || (type != fb::DataType::I64 && type != fb::DataType::I32))
    return Status::wrongUse("segment `predict` does not map ids [1, T] to f32 logits [1, T, V]");
  predict.length = ids[1];
  predict.vocabulary = shape[2];
  return predict;
}

static int64_t choose(const float *logits, int64_t count, double temperature, double draw) {
  int64_t best = std::max_element(logits, logits + count) - logits;
  if (temperature <= 0)
    return best;
  std::vector<double> weights(static_cast<size_t>(count));
  double sum = 0;
  for (int64_t i = 0; i < count; ++i)
    sum += weights[i] = std::exp((static_cast<double>(logits[i]) - logits[best]) / temperature);
  double rest = draw * sum;
  for (int64_t i = 0; i < count; ++i)
    if ((rest -= weights[i]) < 0)
      return i;
  return best;
}

/// Runs the segment on the last ids of `ids`, as many as the window holds; returns that number.
static Result<int64_t> run(Executor &executor, const Predict &predict, const std::vector<int64_t> &ids) {
  bool isWide = executor.buffer(predict.input).type() == fb::DataType::I64;
  int64_t used = std::min<int64_t>(predict.length, static_cast<int64_t>(ids.size()));
  uint8_t *input = executor.data(predict.input);
  for (int64_t t = 0; t < predict.length; ++t) {
    int64_t id = t < used ? ids[ids.size() - static_cast<size_t>(used - t)] : 0;
    if (isWide)
      reinterpret_cast<int64_t *>(input)[t] = id;
    else
      reinterpret_cast<int32_t *>(input)[t] = static_cast<int32_t>(id);
  }
  Status status = executor.run(predict.segment);
  return status.ok() ? Result<int64_t>(used) : status;
}

static Status checkPrompt(const Predict &predict, const std::vector<int64_t> &ids) {
  if (ids.empty())
    return Status::wrongUse("the prompt is empty");
  for (int64_t id : ids)
    if (id < 0 || (predict.limit && static_cast<uint64_t>(id) >= predict.limit))
      return Status::badInput("the prompt's id " + std::to_string(id) + " is outside the model's vocabulary");
  return Status::success();
}

Status generate(Executor &executor, const GenerateOptions &options, const std::function<bool(int64_t)> &onToken) {
  auto predict = findPredict(executor);
  if (!predict.ok())
    return predict.status();
  if (Status status = checkPrompt(*predict, options.prompt); !status.ok())
    return status;
  std::vector<int64_t> ids = options.prompt;
  RandomStream random(options.seed, "generate");
  for (uint64_t i = 0; i < options.count; ++i) {
    auto used = run(executor, *predict, ids);
    if (!used.ok())
      return used.status();
    const float *logits = reinterpret_cast<const float *>(executor.data(predict->logits)) + (*used - 1) * predict->vocabulary;
    ids.push_back(choose(logits, predict->vocabulary, options.temperature, random.uniform53(i)));
    if (!onToken(ids.back()))
      break;
  }
  return Status::success();
}

Status saveLogits(Executor &executor, const std::vector<int64_t> &prompt, const std::string &path) {
  auto predict = findPredict(executor);
  if (!predict.ok())
    return predict.status();
  if (Status status = checkPrompt(*predict, prompt); !status.ok())
    return status;
  auto used = run(executor, *predict, prompt);
  if (!used.ok())
    return used.status();
  Bytes bytes(executor.data(predict->logits), static_cast<size_t>(*used * predict->vocabulary) * sizeof(float));
  auto fetch = [=](std::vector<uint8_t> &) { return bytes; };
  return writeSafetensors(path, {{"logits", fb::DataType::F32, {*used, predict->vocabulary}, fetch}});
}

Result<std::vector<int64_t>> parsePrompt(const std::string &prompt, uint64_t vocabulary) {
  std::vector<int64_t> ids;
  if (prompt.rfind("ids:", 0) != 0) {
    bool isSaid = prompt.rfind("bytes:", 0) == 0;
    if (vocabulary < 256 || (vocabulary > 256 && !isSaid))
      return Status::wrongUse("the model's tokens are not bytes: its vocabulary has " + std::to_string(vocabulary) + " ids",
                              std::string("give the prompt as ids:1,2,3") +
                                  (vocabulary > 256 ? ", or as bytes:TEXT if the first 256 ids are bytes" : ""));
    for (char c : prompt.substr(isSaid ? 6 : 0))
      ids.push_back(static_cast<unsigned char>(c));
    return ids;
  }
  const char *at = prompt.data() + 4, *end = prompt.data() + prompt.size();
  while (at != end) {
    int64_t id = 0;
    auto [next, error] = std::from_chars(at, end, id);
    if (error != std::errc() || id < 0 || (next != end && *next != ',') || next + 1 == end)
      return Status::wrongUse("the prompt is no list of ids: '" + prompt + "'", "write ids:1,2,3");
    ids.push_back(id);
    at = next == end ? end : next + 1;
  }
  return ids;
}

} // namespace llmc::runtime
