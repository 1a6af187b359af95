//===- Readers.cpp - values of keys that are more than one number or word ---===//
#include "frontends/recipe/Readers.h"
#include "frontends/recipe/Keys.h"
#include <set>

using llvm::StringRef;
using namespace llmc;
using namespace llmc::recipe;
using train::DataSource;
using train::Loss;
using train::Optimizer;
using train::Schedule;

void recipe::readSection(const Value &value, Path path, Binder &b) { b.section(value, path); }

//===-- Loss and data -------------------------------------------------------------------===//

void recipe::readLoss(const Value &value, Path path, Binder &b) {
  if (value.kind == Value::Scalar)
    return b.text(value, path, b.out.recipe.loss.output);
  llvm::SmallVector<StringRef> kinds;
  for (const KeyInfo *key : keysBelow(path))
    kinds.push_back(key->name());
  Value::Entry storage;
  if (const Value::Entry *entry = b.choice(value, path, kinds, storage))
    findKey(path + "." + entry->key)->read(entry->value, path + "." + entry->key, b);
}

void recipe::readAddedLoss(const Value &value, Path path, Binder &b) {
  Loss &loss = b.out.recipe.loss;
  StringRef name = StringRef(path).rsplit('.').second;
  loss.kind = name == "mse"     ? Loss::Mse
              : name == "l1"    ? Loss::L1
              : name == "huber" ? Loss::Huber
              : name == "bce_with_logits" ? Loss::BceWithLogits
                                          : Loss::CrossEntropy;
  size_t before = b.out.problems.size();
  b.section(value, path);
  if (value.kind != Value::Map || b.out.problems.size() != before)
    return;
  bool entropy = loss.kind == Loss::CrossEntropy;
  std::string of = entropy || loss.kind == Loss::BceWithLogits ? "logits" : "prediction", with = entropy ? "labels" : "target";
  if (loss.prediction.empty() || loss.target.empty())
    b.problem(value.line, "`" + path + "` needs both `" + of + "`" + (entropy ? " (or `probabilities`)" : "") + " and `" + with + "`",
              findKey(path)->example.str());
  if (entropy && b.out.has(path + ".logits") && b.out.has(path + ".probabilities"))
    b.problem(value.line, "`" + path + "` has both `logits` and `probabilities`", "keep `logits` if the output is no result of a Softmax");
}

/// The source that `text` names, or nothing and a problem with what may be meant.
static std::optional<DataSource> parseSource(StringRef text, StringRef input, unsigned line, Path path, Binder &b) {
  auto refuse = [&](const std::string &hint) {
    b.problem(line, "`" + path + "`: `" + text.str() + "` names no source", hint);
    return std::nullopt;
  };
  const std::string all = "use tokens, tokens.next, NAME or NAME.next";
  auto [stem, suffix] = text.rsplit('.');
  if (text.starts_with("tokens.") && text != "tokens.next")
    return refuse("use tokens, or tokens.next for the same windows one token further on; there is no other shift");
  static const StringRef unknown[] = {"prev", "previous", "last", "shift", "shifted"};
  if (llvm::is_contained(unknown, suffix))
    return refuse("use " + stem.str() + ", or " + stem.str() + ".next, which is shifted left within each row");
  bool nearNext = !suffix.empty() && suffix != "next" && suffix.lower() != suffix.upper() &&
                  StringRef(suffix.lower()).edit_distance("next", true, 2) <= 1;
  if (nearNext)
    return refuse("did you mean `" + stem.str() + ".next`?");
  StringRef name = text;
  bool next = name.consume_back(".next");
  if (name.empty() || name.contains(' '))
    return refuse(all);
  if (name == "tokens")
    return DataSource{next ? DataSource::TokensNext : DataSource::Tokens, ""};
  if (name != input && StringRef(name.lower()).edit_distance("tokens", true, 2) <= 1)
    return refuse(std::string("did you mean `tokens") + (next ? ".next" : "") + "`? An array of this name must be called otherwise");
  return DataSource{next ? DataSource::ArrayNext : DataSource::Array, name.str()};
}

static void readInput(const Value::Entry &entry, Path path, Binder &b) {
  std::string text;
  bool twice = false;
  const Value *source = &entry.value;
  if (entry.value.kind == Value::Map) {
    source = nullptr;
    size_t before = b.out.problems.size();
    b.mapping(entry.value, path + ".",
              {{"source", [&](const Value &v) { source = &v; }},
               {"shifted_twice", [&](const Value &v) { b.boolean(v, path + ".shifted_twice", twice); }}});
    if (!source && b.out.problems.size() == before)
      b.problem(entry.line, "`" + path + "` has no `source`", path + ": {source: tokens.next, shifted_twice: true}");
    if (!source)
      return;
  }
  b.text(*source, path, text);
  if (text.empty())
    return;
  std::optional<DataSource> parsed = parseSource(text, entry.key, source->line, path, b);
  if (!parsed)
    return;
  parsed->shiftedTwice = twice;
  if (twice && !parsed->isNext())
    b.problem(entry.line, "`" + path + ".shifted_twice` has no effect on `" + text + "`", "it is for tokens.next and NAME.next; remove it");
  b.out.recipe.data.emplace_back(entry.key, *parsed);
}

void recipe::readData(const Value &value, Path path, Binder &b) {
  b.freeMapping(value, path, "input", "source", [&](const Value::Entry &entry) { readInput(entry, path + "." + entry.key, b); });
}

//===-- Sizes -----------------------------------------------------------------------------===//

void recipe::readShapes(const Value &value, Path path, Binder &b) {
  b.freeMapping(value, path, "dimension", "size", [&](const Value::Entry &entry) {
    int64_t size = 0;
    if (b.integer(entry.value, path + "." + entry.key, size, 1, kMaxDimension))
      b.out.recipe.shapes.emplace_back(entry.key, size);
  });
}

void recipe::readMesh(const Value &value, Path path, Binder &b) {
  llvm::SmallVector<StringRef> axes;
  for (const KeyInfo *key : keysBelow(path))
    axes.push_back(key->name());
  int64_t ranks = 1;
  b.freeMapping(value, path, "axis", "number of ranks", [&](const Value::Entry &entry) {
    if (!llvm::is_contained(axes, entry.key)) {
      std::string close = nearest(entry.key, axes);
      return b.problem(entry.line, "unknown key `" + path + "." + entry.key + "`",
                       close.empty() ? "the keys here are " + listOf(axes) : "did you mean `" + close + "`?");
    }
    int64_t size = 0;
    if (!b.integer(entry.value, path + "." + entry.key, size, 1, kMaxRanks))
      return;
    b.out.recipe.mesh.emplace_back(entry.key, size);
    if (ranks <= kMaxRanks && (ranks *= size) > kMaxRanks)
      b.problem(entry.line, "`" + path + "` has too many ranks, at most " + std::to_string(kMaxRanks) + " are possible", "make an axis smaller");
  });
}

void recipe::readBatch(const Value &value, Path path, Binder &b) {
  if (value.kind == Value::Scalar)
    b.integer(value, path, b.out.recipe.batch.step, 1, kMaxSamples);
  else
    b.section(value, path);
}

void recipe::readMicro(const Value &value, Path path, Binder &b) {
  if (value.kind == Value::Scalar && value.scalar == "auto")
    b.out.recipe.batch.autoMicro = true;
  else
    b.integer(value, path, b.out.recipe.batch.micro, 1, kMaxSamples);
}

void recipe::readBucket(const Value &value, Path path, Binder &b) {
  std::optional<int64_t> bucket;
  b.bytes(value, path, bucket, /*low=*/0);
  if (bucket)
    b.out.recipe.bucket = *bucket;
}

void recipe::readSeed(const Value &value, Path path, Binder &b) {
  if (value.kind != Value::Scalar || value.quoted || StringRef(value.scalar).getAsInteger(10, b.out.recipe.seed))
    b.problem(value.line, "`" + path + "` must be an integer from 0 to 2^64-1, got " + value.describe(), "seed: 1234");
}

//===-- Optimizer and schedule ------------------------------------------------------------===//

void recipe::readOptimizer(const Value &value, Path path, Binder &b) {
  Value::Entry storage;
  const Value::Entry *entry = b.choice(value, path, {"adamw", "sgd"}, storage);
  if (!entry)
    return;
  b.out.recipe.optimizer.kind = entry->key == "adamw" ? Optimizer::AdamW : Optimizer::Sgd;
  b.section(entry->value, path + "." + entry->key);
}

void recipe::readBetas(const Value &value, Path path, Binder &b) {
  Optimizer &o = b.out.recipe.optimizer;
  if (value.kind != Value::List || value.items.size() != 2)
    return b.problem(value.line, "`" + path + "` must be a list of two numbers, got " + value.describe(), "betas: [0.9, 0.95]");
  b.number(value.items[0], path, o.beta1, 0, kMaxBeta);
  b.number(value.items[1], path, o.beta2, 0, kMaxBeta);
}

void recipe::readGlobs(const Value &value, Path path, std::vector<std::string> &into, Binder &b) {
  std::vector<std::string> read;
  if (!b.texts(value, path, read))
    return;
  std::set<std::string> seen;
  for (auto [i, glob] : llvm::enumerate(read)) {
    unsigned line = value.kind == Value::List ? value.items[i].line : value.line;
    b.out.lines.try_emplace(path + "." + glob, line);
    if (glob.empty())
      b.problem(line, "`" + path + "` has an empty name", "a name of a parameter, or a glob such as \"*.bias\"");
    else if (!seen.insert(glob).second)
      b.problem(line, "`" + path + "` names `" + glob + "` twice", "remove one");
  }
  into = std::move(read);
}

void recipe::readNoDecay(const Value &value, Path path, Binder &b) {
  readGlobs(value, path, b.out.recipe.optimizer.noDecay.emplace(), b);
}

void recipe::readSchedule(const Value &value, Path path, Binder &b) {
  Value::Entry storage;
  const Value::Entry *entry = b.choice(value, path, {"constant", "linear", "cosine"}, storage);
  if (!entry)
    return;
  b.out.recipe.schedule.kind = entry->key == "cosine"   ? Schedule::Cosine
                               : entry->key == "linear" ? Schedule::Linear
                                                        : Schedule::Constant;
  b.section(entry->value, path + "." + entry->key);
}

//===-- Parameters --------------------------------------------------------------------------===//

/// NAME or NAME(NUMBER, ...) as its name and numbers; nothing if it is no such text.
static std::optional<std::pair<StringRef, std::vector<double>>> parseCall(StringRef call) {
  auto [name, rest] = call.split('(');
  std::vector<double> arguments;
  if (!call.contains('('))
    return std::pair(name.trim(), arguments);
  rest = rest.rtrim();
  if (!rest.consume_back(")"))
    return std::nullopt;
  llvm::SmallVector<StringRef> parts;
  rest.split(parts, ',');
  for (StringRef part : parts) {
    std::optional<double> number = parseNumber(part.trim());
    if (!number)
      return std::nullopt;
    arguments.push_back(*number);
  }
  return std::pair(name.trim(), arguments);
}

/// `zeros`, `ones`, `constant(x)`, `normal(deviation)`, `uniform(low, high)`.
static void readInitializer(const Value::Entry &entry, Path path, Binder &b) {
  using Init = train::Initializer;
  struct Form {
    StringRef name;
    Init::Kind kind;
    size_t arguments;
  };
  static const Form forms[] = {
      {"zeros", Init::Zeros, 0}, {"ones", Init::Ones, 0}, {"constant", Init::Constant, 1}, {"normal", Init::Normal, 1}, {"uniform", Init::Uniform, 2}};
  const std::string hint = "use zeros, ones, constant(x), normal(deviation) or uniform(low, high)";
  Init init;
  init.glob = entry.key;
  std::string text;
  b.text(entry.value, path, text);
  if (text.empty())
    return;
  auto call = parseCall(text);
  const Form *form = call ? llvm::find_if(forms, [&](const Form &f) { return f.name == call->first; }) : std::end(forms);
  if (form == std::end(forms) || call->second.size() != form->arguments)
    return b.problem(entry.line, "`" + path + "`: `" + text + "` is no initializer", hint);
  const std::vector<double> &arguments = call->second;
  if (llvm::any_of(arguments, [](double x) { return std::abs(x) > kMaxReal; }))
    return b.problem(entry.line, "`" + path + "`: `" + text + "` is beyond what fp32 holds", "use smaller numbers");
  init.kind = form->kind;
  if (init.kind == Init::Constant || init.kind == Init::Uniform)
    init.a = arguments[0];
  if (init.kind == Init::Normal || init.kind == Init::Uniform)
    init.b = arguments.back();
  if ((init.kind == Init::Normal && init.b < 0) || (init.kind == Init::Uniform && init.a >= init.b))
    return b.problem(entry.line, "`" + path + "`: `" + text + "` is an empty range", hint);
  b.out.recipe.init.push_back(init);
}

void recipe::readInit(const Value &value, Path path, Binder &b) {
  b.freeMapping(value, path, "glob", "initializer", [&](const Value::Entry &entry) { readInitializer(entry, path + "." + entry.key, b); });
}

/// `sharding: {GLOB: [AXIS, [AXIS, AXIS], {}, null]}`: one entry per dimension.
void recipe::readSharding(const Value &value, Path path, Binder &b) {
  b.freeMapping(value, path, "glob", "axes of each dimension", [&](const Value::Entry &entry) {
    std::string name = path + "." + entry.key;
    train::ParameterSharding read{entry.key, {}, entry.line};
    if (entry.value.kind != Value::List)
      return b.problem(entry.line, "`" + name + "` must be a list of axes, one entry per dimension, got " + entry.value.describe(),
                       "sharding: {\"*.up.weight\": [tp, {}]}");
    std::set<std::string> seen;
    for (const Value &dim : entry.value.items) {
      std::vector<std::string> &axes = read.dims.emplace_back();
      if (dim.kind != Value::Null && !(dim.kind == Value::Map && dim.entries.empty()))
        b.texts(dim, name, axes);
      for (const std::string &axis : axes)
        if (!seen.insert(axis).second)
          b.problem(entry.line, "`" + name + "`: axis " + axis + " stands twice", "an axis cuts one dimension");
    }
    b.out.recipe.sharding.push_back(read);
  });
}
