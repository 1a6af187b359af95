//===- RecipeParser.cpp - the YAML grammar of a recipe --------*- C++ -*-===//
#include "frontends/recipe/RecipeParser.h"
#include "frontends/recipe/Binder.h"
#include "llvm/Support/MemoryBuffer.h"
#include <set>

using llvm::StringRef;
using namespace llmc;
using namespace llmc::recipe;
using train::DataSource;
using train::Optimizer;
using train::Schedule;

static constexpr double kInf = 1.7e308;

std::string ParsedRecipe::where(const std::string &key) const {
  auto it = lines.find(key);
  return it == lines.end() ? file : file + ":" + std::to_string(it->second);
}

static void readLoss(const Value &value, Binder &b) {
  train::Loss &loss = b.out.recipe.loss;
  if (value.kind == Value::Scalar)
    return b.text(value, "loss", loss.output);
  b.mapping(value, "loss.", {{"cross_entropy", [&](const Value &v) {
                                loss.crossEntropy = true;
                                b.mapping(v, "loss.cross_entropy.",
                                          {{"logits", [&](const Value &w) { b.text(w, "logits", loss.logits); }},
                                           {"labels", [&](const Value &w) { b.text(w, "labels", loss.labels); }},
                                           {"ignore_index", [&](const Value &w) {
                                              b.integer(w, "ignore_index", loss.ignoreIndex, INT32_MIN, INT32_MAX);
                                            }}});
                                if (v.kind == Value::Map && (loss.logits.empty() || loss.labels.empty()))
                                  b.problem(v.line, "`loss.cross_entropy` needs both `logits` and `labels`",
                                            "loss: {cross_entropy: {logits: OUTPUT, labels: NEW_INPUT}}");
                              }}});
}

static void readData(const Value &value, Binder &b) {
  if (value.kind != Value::Map)
    return b.problem(value.line, "`data` must be a mapping from input to source, got " + value.describe(),
                     "data: {input_ids: tokens, labels: tokens.next}");
  std::set<std::string> seen;
  for (const Value::Entry &entry : value.entries) {
    std::string source;
    b.out.lines["data." + entry.key] = entry.line;
    if (!seen.insert(entry.key).second) {
      b.problem(entry.line, "input `" + entry.key + "` is fed twice", "remove one of the entries");
      continue;
    }
    b.text(entry.value, "data." + entry.key, source);
    if (source.empty())
      continue;
    DataSource parsed;
    StringRef name = source;
    bool next = name.consume_back(".next");
    if (name == "tokens")
      parsed.kind = next ? DataSource::TokensNext : DataSource::Tokens;
    else
      parsed = {next ? DataSource::ArrayNext : DataSource::Array, name.str()};
    if (name.empty())
      b.problem(entry.line, "`data." + entry.key + "`: `" + source + "` names no source",
                "use tokens, tokens.next, NAME or NAME.next");
    b.out.recipe.data.emplace_back(entry.key, parsed);
  }
}

/// A mapping from free names to positive integers, such as `shapes`.
static void readSizes(const Value &value, const std::string &what, std::vector<std::pair<std::string, int64_t>> &into,
                      Binder &b, llvm::ArrayRef<StringRef> allowed = {}) {
  if (value.kind != Value::Map)
    return b.problem(value.line, "`" + what + "` must be a mapping from name to size, got " + value.describe());
  std::set<std::string> seen;
  for (const Value::Entry &entry : value.entries) {
    b.out.lines[what + "." + entry.key] = entry.line;
    if (!allowed.empty() && !llvm::is_contained(allowed, entry.key)) {
      std::string close = nearest(entry.key, allowed);
      b.problem(entry.line, "unknown key `" + what + "." + entry.key + "`",
                close.empty() ? "the keys here are " + listOf(allowed) : "did you mean `" + close + "`?");
      continue;
    }
    if (!seen.insert(entry.key).second) {
      b.problem(entry.line, "`" + what + "." + entry.key + "` is given twice", "remove one of the entries");
      continue;
    }
    int64_t size = 0;
    b.integer(entry.value, what + "." + entry.key, size, 1, int64_t(1) << 40);
    if (size > 0)
      into.emplace_back(entry.key, size);
  }
}

static void readBatch(const Value &value, Binder &b) {
  train::Batch &batch = b.out.recipe.batch;
  constexpr int64_t kMax = int64_t(1) << 40;
  if (value.kind == Value::Scalar)
    return b.integer(value, "batch", batch.step, 1, kMax);
  b.mapping(value, "batch.", {{"step", [&](const Value &v) { b.integer(v, "batch.step", batch.step, 1, kMax); }},
                              {"micro", [&](const Value &v) {
                                 if (v.kind == Value::Scalar && v.scalar == "auto")
                                   batch.autoMicro = true;
                                 else
                                   b.integer(v, "batch.micro", batch.micro, 1, kMax);
                               }}});
}

static void readBetas(const Value &value, Binder &b) {
  Optimizer &o = b.out.recipe.optimizer;
  if (value.kind != Value::List || value.items.size() != 2)
    return b.problem(value.line, "`optimizer.adamw.betas` must be a list of two numbers, got " + value.describe(),
                     "betas: [0.9, 0.95]");
  b.number(value.items[0], "betas", o.beta1, 0, 0.999999999);
  b.number(value.items[1], "betas", o.beta2, 0, 0.999999999);
}

static void readOptimizer(const Value &value, Binder &b) {
  Optimizer &o = b.out.recipe.optimizer;
  Value::Entry storage;
  const Value::Entry *entry = b.choice(value, "optimizer", {"adamw", "sgd"}, storage);
  if (!entry)
    return;
  std::string path = "optimizer." + entry->key + ".";
  std::vector<Key> keys = {
      {"lr", [&](const Value &v) { b.number(v, path + "lr", o.lr, 0, kInf); }},
      {"weight_decay", [&](const Value &v) { b.number(v, path + "weight_decay", o.weightDecay, 0, kInf); }},
      {"no_decay", [&](const Value &v) { b.texts(v, path + "no_decay", o.noDecay); }}};
  if (entry->key == "adamw") {
    keys.push_back({"betas", [&](const Value &v) { readBetas(v, b); }});
    keys.push_back({"eps", [&](const Value &v) { b.number(v, path + "eps", o.eps, 0, 1, /*openLow=*/true); }});
  } else {
    o.kind = Optimizer::Sgd;
    keys.push_back({"momentum", [&](const Value &v) { b.number(v, path + "momentum", o.momentum, 0, 1); }});
    keys.push_back({"nesterov", [&](const Value &v) { b.boolean(v, path + "nesterov", o.nesterov); }});
  }
  b.mapping(entry->value, path, keys);
}

static void readSchedule(const Value &value, Binder &b) {
  Schedule &s = b.out.recipe.schedule;
  Value::Entry storage;
  const Value::Entry *entry = b.choice(value, "schedule", {"constant", "linear", "cosine"}, storage);
  if (!entry)
    return;
  std::string path = "schedule." + entry->key + ".";
  s.kind = entry->key == "cosine" ? Schedule::Cosine : entry->key == "linear" ? Schedule::Linear : Schedule::Constant;
  std::vector<Key> keys = {
      {"warmup_steps", [&](const Value &v) { b.integer(v, path + "warmup_steps", s.warmupSteps, 0); }},
      {"total_steps", [&](const Value &v) { b.integer(v, path + "total_steps", s.totalSteps, 1); }}};
  if (s.kind != Schedule::Constant)
    keys.push_back({"min_lr", [&](const Value &v) { b.number(v, path + "min_lr", s.minLr, 0, kInf); }});
  b.mapping(entry->value, path, keys);
}

/// `zeros`, `ones`, `constant(x)`, `normal(deviation)`, `uniform(low, high)`.
static void readInitializer(const Value::Entry &entry, Binder &b) {
  train::Initializer init;
  init.glob = entry.key;
  std::string text, hint = "use zeros, ones, constant(x), normal(deviation) or uniform(low, high)";
  b.out.lines["init." + entry.key] = entry.line;
  b.text(entry.value, "init." + entry.key, text);
  if (text.empty())
    return;
  StringRef call = text;
  auto [name, rest] = call.split('(');
  name = name.trim();
  bool hasArguments = call.contains('(');
  std::vector<double> arguments;
  bool ok = !hasArguments || (rest = rest.rtrim(), rest.consume_back(")"));
  if (ok && hasArguments) {
    llvm::SmallVector<StringRef> parts;
    rest.split(parts, ',');
    for (StringRef part : parts) {
      std::optional<double> number = parseNumber(part.trim());
      ok &= number.has_value();
      arguments.push_back(number.value_or(0));
    }
  }
  using Init = train::Initializer;
  struct Form {
    StringRef name;
    Init::Kind kind;
    size_t arguments;
  };
  static const Form forms[] = {
      {"zeros", Init::Zeros, 0}, {"ones", Init::Ones, 0}, {"constant", Init::Constant, 1}, {"normal", Init::Normal, 1},
      {"uniform", Init::Uniform, 2}};
  const Form *form = llvm::find_if(forms, [&](const Form &f) { return f.name == name; });
  if (!ok || form == std::end(forms) || arguments.size() != form->arguments)
    return b.problem(entry.line, "`init." + entry.key + "`: `" + text + "` is no initializer", hint);
  init.kind = form->kind;
  if (init.kind == Init::Constant)
    init.a = arguments[0];
  if (init.kind == Init::Normal)
    init.b = arguments[0];
  if (init.kind == Init::Uniform)
    init.a = arguments[0], init.b = arguments[1];
  if ((init.kind == Init::Normal && init.b < 0) || (init.kind == Init::Uniform && init.a >= init.b))
    return b.problem(entry.line, "`init." + entry.key + "`: `" + text + "` is an empty range", hint);
  b.out.recipe.init.push_back(init);
}

static void readMemory(const Value &value, Binder &b) {
  train::Recipe &r = b.out.recipe;
  b.mapping(value, "memory.",
            {{"budget", [&](const Value &v) { b.bytes(v, "memory.budget", r.memoryBudget); }},
             {"recompute", [&](const Value &v) { b.word(v, "memory.recompute", r.recompute, {"auto", "none", "all"}); }},
             {"offload", [&](const Value &v) { b.word(v, "memory.offload", r.offload, {"none", "host", "nvme"}); }}});
}

static void readCommunication(const Value &value, Binder &b) {
  std::optional<int64_t> bucket;
  b.mapping(value, "communication.",
            {{"bucket", [&](const Value &v) { b.bytes(v, "communication.bucket", bucket, /*low=*/0); }}});
  if (bucket)
    b.out.recipe.bucket = *bucket;
}

/// `sharding: {GLOB: [AXIS, [AXIS, AXIS], {}, null]}`: one entry per dimension.
static void readSharding(const Value &value, Binder &b) {
  if (value.kind != Value::Map)
    return b.problem(value.line, "`sharding` must be a mapping from glob to axes of each dimension, got " + value.describe(),
                     "sharding: {\"*.up.weight\": [tp, {}]}");
  for (const Value::Entry &entry : value.entries) {
    std::string name = "sharding." + entry.key;
    train::ParameterSharding read{entry.key, {}, entry.line};
    if (entry.value.kind != Value::List) {
      b.problem(entry.line, "`" + name + "` must be a list of axes, one entry per dimension, got " + entry.value.describe());
      continue;
    }
    for (const Value &dim : entry.value.items) {
      std::vector<std::string> &axes = read.dims.emplace_back();
      if (dim.kind != Value::Null && !(dim.kind == Value::Map && dim.entries.empty()))
        b.texts(dim, name, axes);
    }
    b.out.recipe.sharding.push_back(read);
  }
}

static void readSeed(const Value &value, Binder &b) {
  if (value.kind != Value::Scalar || value.quoted || StringRef(value.scalar).getAsInteger(10, b.out.recipe.seed))
    b.problem(value.line, "`seed` must be an integer from 0 to 2^64-1, got " + value.describe());
}

void recipe::readRecipe(const Value &root, Binder &b) {
  train::Recipe &r = b.out.recipe;
  std::string average = "tokens";
  b.mapping(
      root, "",
      {{"loss", [&](const Value &v) { readLoss(v, b); }},
       {"loss_average", [&](const Value &v) { b.word(v, "loss_average", average, {"tokens", "micro_batch"}); }},
       {"data", [&](const Value &v) { readData(v, b); }},
       {"shapes", [&](const Value &v) { readSizes(v, "shapes", r.shapes, b); }},
       {"batch", [&](const Value &v) { readBatch(v, b); }},
       {"optimizer", [&](const Value &v) { readOptimizer(v, b); }},
       {"schedule", [&](const Value &v) { readSchedule(v, b); }},
       {"clip_grad_norm",
        [&](const Value &v) {
          double norm = 0;
          b.number(v, "clip_grad_norm", norm, 0, kInf, /*openLow=*/true);
          if (norm > 0)
            r.clipGradNorm = norm;
        }},
       {"precision", [&](const Value &v) { b.word(v, "precision", r.precision, {"fp32", "bf16", "fp16", "fp8"}); }},
       {"mesh", [&](const Value &v) { readSizes(v, "mesh", r.mesh, b, {"dp_replicate", "dp", "tp", "pp", "cp", "ep"}); }},
       {"zero", [&](const Value &v) { b.integer(v, "zero", r.zero, 0, 3); }},
       {"sequence_parallel", [&](const Value &v) { b.boolean(v, "sequence_parallel", r.sequenceParallel); }},
       {"sharding", [&](const Value &v) { readSharding(v, b); }},
       {"onnx_sharding", [&](const Value &v) { b.text(v, "onnx_sharding", r.onnxSharding); }},
       {"communication", [&](const Value &v) { readCommunication(v, b); }},
       {"memory", [&](const Value &v) { readMemory(v, b); }},
       {"weights", [&](const Value &v) { b.text(v, "weights", r.weights); }},
       {"init",
        [&](const Value &v) {
          if (v.kind != Value::Map)
            return b.problem(v.line, "`init` must be a mapping from glob to initializer, got " + v.describe(),
                             "init: {\"*\": normal(0.02), \"*.bias\": zeros}");
          for (const Value::Entry &entry : v.entries)
            readInitializer(entry, b);
        }},
       {"trainable",
        [&](const Value &v) {
          b.texts(v, "trainable", r.trainable);
          if (v.kind == Value::List && v.items.empty())
            b.problem(v.line, "`trainable` names no parameter", "leave it out to train what the model's module trains");
        }},
       {"shuffle", [&](const Value &v) { b.boolean(v, "shuffle", r.shuffle); }},
       {"predict", [&](const Value &v) { b.text(v, "predict", r.predict); }},
       {"seed", [&](const Value &v) { readSeed(v, b); }}});
  r.lossAverage = average == "tokens" ? train::LossAverage::Tokens : train::LossAverage::MicroBatch;
}

/// What `mesh`, `batch.micro`, `sequence_parallel` and `sharding` say of each other.
static void checkMesh(Binder &b) {
  train::Recipe &r = b.out.recipe;
  auto at = [&](const std::string &key) { return b.out.has(key) ? b.out.lines[key] : 1; };
  auto sizeOf = [&](StringRef name) {
    for (auto &[axis, size] : r.mesh)
      if (axis == name)
        return size;
    return int64_t(0);
  };
  int64_t dp = std::max<int64_t>(1, sizeOf("dp")), replicate = std::max<int64_t>(1, sizeOf("dp_replicate"));
  if (r.batch.micro > 0 && r.batch.micro % (dp * replicate) != 0)
    b.problem(at("batch.micro"),
              "`batch.micro` (" + std::to_string(r.batch.micro) + ") does not divide by `mesh.dp` (" + std::to_string(dp) +
                  ")" + (replicate > 1 ? " times `mesh.dp_replicate` (" + std::to_string(replicate) + ")" : ""),
              "batch sizes count the samples of all dp ranks together");
  if (r.sequenceParallel && sizeOf("tp") < 2)
    b.problem(at("sequence_parallel"), "`sequence_parallel` needs tensor ranks", "mesh: {tp: 2}");
  if (!r.onnxSharding.empty() && llvm::all_of(r.mesh, [](auto &axis) { return axis.second == 1; }))
    b.problem(at("onnx_sharding"), "`onnx_sharding` needs a mesh with as many ranks as the configuration has devices",
              "mesh: {dp: 2, tp: 2}");
  for (const train::ParameterSharding &entry : r.sharding)
    for (const std::vector<std::string> &dim : entry.dims)
      for (const std::string &axis : dim)
        if (sizeOf(axis) == 0)
          b.problem(static_cast<unsigned>(entry.line), "`sharding." + entry.glob + "`: the mesh has no axis `" + axis + "`",
                    "name axes of `mesh`");
}

void recipe::checkCombinations(Binder &b) {
  train::Recipe &r = b.out.recipe;
  auto at = [&](const std::string &key) { return b.out.has(key) ? b.out.lines[key] : 1; };
  if (r.batch.step > 0 && r.batch.micro > 0 && r.batch.step % r.batch.micro != 0)
    b.problem(at("batch.micro"), "`batch.step` (" + std::to_string(r.batch.step) + ") is no multiple of `batch.micro` (" +
                                     std::to_string(r.batch.micro) + ")",
              "a step is a whole number of micro-batches");
  const Schedule &s = r.schedule;
  std::string kind = s.kind == Schedule::Cosine ? "cosine" : s.kind == Schedule::Linear ? "linear" : "constant";
  if (s.kind != Schedule::Constant && s.totalSteps == 0 && b.out.has("schedule"))
    b.problem(at("schedule"), "`schedule." + kind + "` needs `total_steps`", "the step at which min_lr is reached");
  if (s.totalSteps > 0 && s.warmupSteps > s.totalSteps)
    b.problem(at("schedule"), "`schedule." + kind + ".warmup_steps` is greater than `total_steps`");
  if (s.minLr > r.optimizer.lr)
    b.problem(at("schedule"), "`schedule." + kind + ".min_lr` is greater than the optimizer's `lr`");
  if (r.optimizer.nesterov && r.optimizer.momentum == 0)
    b.problem(at("optimizer.sgd.nesterov"), "`nesterov` needs a `momentum` greater than 0");
  checkMesh(b);
}

/// A file is DeepSpeed's if its name says JSON or a top-level key is one that only DeepSpeed has.
static bool isDeepSpeed(const Value &root, StringRef file) {
  if (file.ends_with(".json"))
    return true;
  static const StringRef telling[] = {"train_batch_size", "train_micro_batch_size_per_gpu", "zero_optimization",
                                      "gradient_accumulation_steps"};
  return llvm::any_of(root.entries, [](const Value::Entry &entry) { return llvm::is_contained(telling, entry.key); });
}

ParsedRecipe recipe::parseRecipe(llvm::MemoryBufferRef buffer) {
  ParsedRecipe out;
  out.file = buffer.getBufferIdentifier().str();
  Value root = parseDocument(buffer, out.problems);
  if (!out.problems.empty())
    return out;
  Binder binder(out);
  if (isDeepSpeed(root, out.file))
    readDeepSpeed(root, binder);
  else
    readRecipe(root, binder);
  checkCombinations(binder);
  return out;
}

ParsedRecipe recipe::parseRecipeFile(StringRef path) {
  auto buffer = llvm::MemoryBuffer::getFile(path, /*IsText=*/true);
  if (buffer)
    return parseRecipe(**buffer);
  ParsedRecipe out;
  out.file = path.str();
  out.problems.push_back({"cannot read the recipe: " + buffer.getError().message(), path.str(), ""});
  return out;
}

Problems recipe::checkSupported(const ParsedRecipe &parsed) {
  const train::Recipe &r = parsed.recipe;
  Problems problems;
  auto refuse = [&](const std::string &key, const std::string &what, const std::string &hint) {
    problems.push_back({"`" + key + ": " + what + "` is not supported yet", parsed.where(key), hint});
  };
  if (r.precision != "fp32")
    refuse("precision", r.precision, "use `precision: fp32`");
  for (auto &[axis, size] : r.mesh)
    if (size > 1 && axis != "dp_replicate" && axis != "dp" && axis != "tp")
      refuse("mesh." + axis, std::to_string(size), "use the axes dp_replicate, dp and tp");
  if (r.offload != "none")
    refuse("memory.offload", r.offload, "use `offload: none`");
  if (r.recompute != "auto" && r.recompute != "none")
    refuse("memory.recompute", r.recompute, "use `recompute: none` or `auto`");
  return problems;
}
