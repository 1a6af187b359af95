//===- DeepSpeed.cpp - DeepSpeed JSON configurations as recipes ----*- C++ -*-===//
//
// Keys with a meaning for training become the recipe. Keys that only concern DeepSpeed's own runtime are listed as notes.
// Keys that would change numbers in a way that is not built are errors, which name what to write instead, unless `llmc`
// decides the same (DeepSpeedKeys.h has both lists). Any other key is an error. `auto`, which Hugging Face's Trainer fills
// in from its arguments, is the default of these arguments, with a note, or an error where there is none.
//
//===----------------------------------------------------------------------===//
#include "frontends/recipe/DeepSpeedKeys.h"
#include "frontends/recipe/Readers.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/ADT/StringSet.h"
#include "llvm/Support/CheckedArithmetic.h"

using llvm::StringRef;
using namespace llmc;
using namespace llmc::recipe;
using train::Optimizer;
using train::Schedule;

static bool isAuto(const Value &value) { return value.kind == Value::Scalar && value.scalar == "auto"; }

namespace {
class DeepSpeed {
public:
  explicit DeepSpeed(Binder &b) : b(b), r(b.out.recipe) {}

  void read(const Value &root) {
    for (const Value::Entry &entry : root.entries)
      if (entry.key == "llmc" && entry.value.kind == Value::Map)
        for (const Value::Entry &inner : entry.value.entries)
          ownKeys.insert(inner.key);
    r.optimizer.beta2 = 0.999; // DeepSpeed's defaults where they differ from a recipe's
    r.optimizer.lr = 1e-3;
    r.optimizer.noDecay.emplace();
    r.lossAverage = train::LossAverage::MicroBatch;
    if (!ownKeys.contains("loss_average"))
      b.out.notes.push_back("loss_average: micro_batch, as DeepSpeed averages");
    readKeys(root);
    if (own)
      readOwn(*own);
    batch();
    if (minRatio > 0 && !ownKeys.contains("schedule"))
      r.schedule.minLr = minRatio * r.optimizer.lr;
    for (const Deferred &each : deferred)
      if (!ownKeys.contains(each.key))
        b.problem(each.line, each.message, each.hint);
  }

private:
  /// A problem of a key that `llmc` may decide instead.
  struct Deferred {
    std::string key; // of a recipe
    unsigned line;
    std::string message, hint;
  };

  void readKeys(const Value &root) {
    std::vector<Key> keys = {
        {"train_batch_size", [&](const Value &v) { samples(v, "train_batch_size", step); }},
        {"train_micro_batch_size_per_gpu", [&](const Value &v) { samples(v, "train_micro_batch_size_per_gpu", micro); }},
        {"gradient_accumulation_steps", [&](const Value &v) { samples(v, "gradient_accumulation_steps", accumulate); }},
        {"optimizer", [&](const Value &v) { optimizer(v); }},
        {"scheduler", [&](const Value &v) { scheduler(v); }},
        {"gradient_clipping",
         [&](const Value &v) {
           double norm = 0;
           number(v, "gradient_clipping", norm, 0, kMaxReal, "1", 1.0);
           if (norm > 0)
             r.clipGradNorm = norm;
         }},
        {"fp16", [&](const Value &v) { precision(v, "fp16"); }},
        {"bf16", [&](const Value &v) { precision(v, "bf16"); }},
        {"zero_optimization", [&](const Value &v) { zero(v); }},
        {"seed", [&](const Value &v) { b.integer(v, "seed", seed, 0); }},
        {"llmc", [&](const Value &v) { own = &v; }}};
    addListed(keys, "", deepspeed::topKeys());
    b.mapping(root, "", keys);
    if (seed >= 0)
      r.seed = static_cast<uint64_t>(seed);
  }

  void note(const std::string &key) { b.out.notes.push_back("`" + key + "` only concerns DeepSpeed's runtime: ignored"); }

  /// Readers of keys that are ignored, or refused unless they change nothing.
  void addListed(std::vector<Key> &keys, const std::string &prefix, const deepspeed::ListedKeys &listed) {
    for (StringRef name : listed.ignored)
      keys.push_back({name, [this, prefix, name](const Value &) { note(prefix + name.str()); }});
    for (const deepspeed::Neutral &each : listed.neutral)
      keys.push_back({each.name, [this, prefix, &each](const Value &v) {
                        if (!deepspeed::isNeutral(v, each))
                          deferred.push_back({each.instead.split(':').first.str(), v.line, "`" + prefix + each.name.str() + "` is not supported: " + each.what.str(),
                                              each.hint.str()});
                      }});
  }

  /// A number; `auto` is `automatic`, the default of the Trainer's argument, which notes show as `text`.
  void number(const Value &v, const std::string &name, double &into, double low, double high, StringRef text, double automatic, bool openLow = false) {
    if (!isAuto(v))
      return b.number(v, name, into, low, high, openLow);
    into = automatic;
    b.out.notes.push_back("`" + name + ": auto` is " + text.str() + ", the default of Hugging Face's Trainer; write a number for another");
  }

  void samples(const Value &v, const std::string &name, int64_t &into) {
    if (isAuto(v))
      b.out.notes.push_back("`" + name + ": auto` follows from the other batch sizes and the batch that the model was exported with; write a number for another");
    else
      b.integer(v, name, into, 1, kMaxSamples);
  }

  /// The keys of the YAML grammar; they replace what DeepSpeed's keys say.
  void readOwn(const Value &value) {
    auto lines = std::move(b.out.lines); // `seed` may stand in both
    b.out.lines.clear();
    if (ownKeys.contains("optimizer"))
      r.optimizer = Optimizer();
    if (ownKeys.contains("schedule"))
      r.schedule = Schedule();
    if (ownKeys.contains("precision"))
      r.precision = "fp32";
    if (ownKeys.contains("mesh"))
      r.mesh.clear();
    b.section(value, "");
    for (auto &line : lines)
      b.out.lines.insert(line);
  }

  /// Ranks over the data that `llmc` gives; 0 if it does not.
  int64_t givenRanks() const {
    int64_t ranks = 1;
    for (auto &[axis, size] : r.mesh)
      if (axis == "dp" || axis == "dp_replicate")
        ranks *= size;
    return ownKeys.contains("mesh") ? ranks : 0;
  }

  /// train_batch_size = train_micro_batch_size_per_gpu * gradient_accumulation_steps * ranks; what is absent follows.
  void batch() {
    int64_t given = givenRanks(), ranks = std::max<int64_t>(given, 1);
    for (const char *key : {"train_micro_batch_size_per_gpu", "train_batch_size"})
      if (b.out.has(key))
        for (const char *ours : {"batch.micro", "batch.step", "mesh.dp"})
          b.out.lines.try_emplace(ours, b.out.lines[key]);
    auto mismatch = [&] {
      b.problem(b.out.lines["train_batch_size"],
                "`train_batch_size` (" + std::to_string(step) + ") is no multiple of " +
                    (micro ? "`train_micro_batch_size_per_gpu` (" + std::to_string(micro) + ")" : std::string()) + (micro && accumulate ? " times " : "") +
                    (accumulate ? "`gradient_accumulation_steps` (" + std::to_string(accumulate) + ")" : std::string()) +
                    (ranks > 1 ? " times " + std::to_string(ranks) + " data ranks" : ""),
                "each rank has train_micro_batch_size_per_gpu * gradient_accumulation_steps samples of a step");
    };
    int64_t part = std::max<int64_t>(micro, 1) * std::max<int64_t>(accumulate, 1);
    if (step && micro && accumulate && !given && step % part == 0)
      ranks = step / part;
    std::optional<int64_t> whole = llvm::checkedMul(part, ranks); // samples of a step, or what divides them
    if (step && (!whole || step % *whole != 0 || (micro && accumulate && step != *whole)))
      return mismatch();
    const char *factor = micro ? "train_micro_batch_size_per_gpu" : "gradient_accumulation_steps";
    if (!step && part > 1 && (!whole || *whole > kMaxSamples))
      return b.problem(b.out.lines[factor], "`" + std::string(factor) + "` makes a step of more than " + std::to_string(kMaxSamples) + " samples", "write smaller numbers");
    if (!given && ranks > kMaxRanks)
      return b.problem(b.out.lines["train_batch_size"], "`train_batch_size` needs " + std::to_string(ranks) + " data ranks, at most " + std::to_string(kMaxRanks) + " are possible",
                       "write a larger `train_micro_batch_size_per_gpu`");
    if (!step && !micro && accumulate > 1 && !ownKeys.contains("batch"))
      return b.problem(b.out.lines["gradient_accumulation_steps"], "`gradient_accumulation_steps` needs `train_micro_batch_size_per_gpu`",
                       "write the samples of a micro-batch of one rank");
    if (!ownKeys.contains("batch")) {
      r.batch.step = step ? step : micro * std::max<int64_t>(accumulate, 1) * ranks;
      r.batch.micro = micro ? micro * ranks : accumulate && step ? step / accumulate : 0;
    }
    if (!given && (ranks > 1 || r.zero > 0))
      r.mesh.emplace_back("dp", ranks);
    if (!given && ranks > 1)
      b.out.notes.push_back("mesh: {dp: " + std::to_string(ranks) + "}, since train_batch_size is " + std::to_string(ranks) +
                            " times train_micro_batch_size_per_gpu * gradient_accumulation_steps: run with `--ranks " + std::to_string(ranks) +
                            "` or `mpirun -n " + std::to_string(ranks) + "`");
    else if (!given && r.zero > 0)
      b.out.notes.push_back("`zero_optimization.stage` cuts nothing on one rank: for more, give train_batch_size, train_micro_batch_size_per_gpu and "
                            "gradient_accumulation_steps, or `\"llmc\": {\"mesh\": {\"dp\": N}}`");
  }

  //===-- Optimizer -----------------------------------------------------------------------===//

  void optimizer(const Value &value) {
    std::string type;
    const Value *params = nullptr;
    b.mapping(value, "optimizer.",
              {{"type", [&](const Value &v) { b.text(v, "optimizer.type", type); }},
               {"params", [&](const Value &v) { params = &v; }},
               {"legacy_fusion", [&](const Value &) { note("optimizer.legacy_fusion"); }}});
    if (type.empty()) {
      if (value.kind == Value::Map && !b.out.has("optimizer.type"))
        b.problem(value.line, "`optimizer` has no `type`", "AdamW, Adam or SGD");
      return;
    }
    std::string lower = StringRef(type).lower();
    bool sgd = type == "SGD", adam = lower == "adam" || lower == "adamw"; // DeepSpeed ignores case for its own
    if (!sgd && !adam) {
      std::string close = nearest(type, {"AdamW", "Adam", "SGD"});
      deferred.push_back({"optimizer", b.out.lines["optimizer.type"], "`optimizer.type: " + type + "` is not supported",
                          (lower.size() <= 6 && !close.empty() && lower != "lion" && lower != "lamb" ? "did you mean `" + close + "`? " : std::string()) +
                              "use AdamW, Adam or SGD, or give `\"llmc\": {\"optimizer\": ...}`"});
      return;
    }
    r.optimizer.kind = sgd ? Optimizer::Sgd : Optimizer::AdamW;
    if (params)
      sgd ? sgdParams(*params) : adamParams(*params, lower == "adamw");
    if (r.optimizer.weightDecay > 0 && !ownKeys.contains("optimizer"))
      b.out.notes.push_back("weight decay applies to all parameters, as in DeepSpeed; `\"llmc\": {\"optimizer\": {...}}` can except some");
  }

  std::vector<Key> commonParams() {
    const std::string path = "optimizer.params.";
    Optimizer &o = r.optimizer;
    return {{"lr", [this, path, &o](const Value &v) { number(v, path + "lr", o.lr, 0, kMaxRate, "5e-5", 5e-5); }},
            {"weight_decay", [this, path, &o](const Value &v) { number(v, path + "weight_decay", o.weightDecay, 0, kMaxRate, "0", 0); }}};
  }

  void sgdParams(const Value &params) {
    const std::string path = "optimizer.params.";
    Optimizer &o = r.optimizer;
    std::vector<Key> keys = commonParams();
    keys.push_back({"momentum", [&](const Value &v) { b.number(v, path + "momentum", o.momentum, 0, 1); }});
    keys.push_back({"nesterov", [&](const Value &v) { b.boolean(v, path + "nesterov", o.nesterov); }});
    addListed(keys, path, deepspeed::sgdKeys());
    b.mapping(params, path, keys);
    if (o.nesterov && o.momentum == 0)
      b.out.lines.try_emplace("optimizer.sgd.nesterov", b.out.lines[path + "nesterov"]);
  }

  void adamParams(const Value &params, bool alwaysDecoupled) {
    const std::string path = "optimizer.params.";
    Optimizer &o = r.optimizer;
    bool decoupled = true, torch = false;
    std::vector<Key> keys = commonParams();
    keys.push_back({"betas", [&](const Value &v) { betas(v); }});
    keys.push_back({"eps", [&](const Value &v) { number(v, path + "eps", o.eps, kMinReal, 1, "1e-8", 1e-8); }});
    keys.push_back({"adam_w_mode", [&](const Value &v) { b.boolean(v, path + "adam_w_mode", decoupled); }});
    keys.push_back({"torch_adam", [&](const Value &v) { b.boolean(v, path + "torch_adam", torch); }});
    addListed(keys, path, deepspeed::adamKeys());
    b.mapping(params, path, keys);
    decoupled |= alwaysDecoupled;
    if (torch && decoupled && !b.out.has(path + "weight_decay")) {
      o.weightDecay = 0.01;
      b.out.notes.push_back("`" + path + "weight_decay` is 0.01, the default of torch.optim.AdamW, which `torch_adam` names");
    }
    if (!decoupled && o.weightDecay != 0)
      deferred.push_back({"optimizer", params.line, "Adam with weight decay in the gradient (`adam_w_mode: false`) is not supported",
                          "use AdamW, or weight_decay 0"});
  }

  void betas(const Value &v) {
    const std::string name = "optimizer.params.betas";
    if (isAuto(v)) {
      b.out.notes.push_back("`" + name + ": auto` is [0.9, 0.999], the default of Hugging Face's Trainer; write two numbers for others");
      return;
    }
    if (v.kind != Value::List || v.items.size() != 2)
      return b.problem(v.line, "`" + name + "` must be a list of two numbers, got " + v.describe(), "\"betas\": [0.9, 0.999]");
    b.number(v.items[0], name, r.optimizer.beta1, 0, kMaxBeta);
    b.number(v.items[1], name, r.optimizer.beta2, 0, kMaxBeta);
  }

  //===-- Schedule ------------------------------------------------------------------------===//

  void scheduler(const Value &value) {
    std::string type;
    const Value *params = nullptr;
    b.mapping(value, "scheduler.",
              {{"type", [&](const Value &v) { b.text(v, "scheduler.type", type); }}, {"params", [&](const Value &v) { params = &v; }}});
    if (type.empty())
      return;
    Schedule &s = r.schedule;
    if (type != "WarmupLR" && type != "WarmupDecayLR" && type != "WarmupCosineLR") {
      deferred.push_back({"schedule", b.out.lines["scheduler.type"], "`scheduler.type: " + type + "` is not supported",
                          "use WarmupLR, WarmupDecayLR or WarmupCosineLR, or give `\"llmc\": {\"schedule\": ...}`"});
      return;
    }
    s.kind = type == "WarmupLR" ? Schedule::Constant : type == "WarmupDecayLR" ? Schedule::Linear : Schedule::Cosine;
    b.out.lines.try_emplace("schedule", b.out.lines["scheduler"]);
    if (params)
      schedulerParams(*params);
  }

  void schedulerParams(const Value &params) {
    Schedule &s = r.schedule;
    const std::string path = "scheduler.params.";
    std::string shape = "log";
    double peak = 1e-3, start = 0, endRatio = 0.0001; // DeepSpeed's defaults
    bool automaticPeak = false;
    std::vector<Key> keys = {
        {"warmup_num_steps",
         [&](const Value &v) {
           if (isAuto(v))
             b.out.notes.push_back("`" + path + "warmup_num_steps: auto` is 0, the default of Hugging Face's Trainer; write a number for another");
           else
             b.integer(v, path + "warmup_num_steps", s.warmupSteps, 0, kMaxSteps);
         }},
        {"warmup_type", [&](const Value &v) { b.word(v, path + "warmup_type", shape, {"linear", "log"}); }},
        {"last_batch_iteration", [&](const Value &) { note(path + "last_batch_iteration"); }}};
    if (s.kind != Schedule::Constant)
      keys.push_back({"total_num_steps", [&](const Value &v) {
                        if (isAuto(v))
                          deferred.push_back({"schedule", v.line, "`" + path + "total_num_steps: auto` is the length of a run of Hugging Face's Trainer",
                                              "write the number of steps"});
                        else
                          b.integer(v, path + "total_num_steps", s.totalSteps, 1, kMaxSteps);
                      }});
    if (s.kind == Schedule::Cosine) {
      keys.push_back({"warmup_min_ratio", [&](const Value &v) { b.number(v, path + "warmup_min_ratio", start, 0, 1); }});
      keys.push_back({"cos_min_ratio", [&](const Value &v) { b.number(v, path + "cos_min_ratio", endRatio, 0, 1); }});
    } else {
      keys.push_back({"warmup_min_lr", [&](const Value &v) { number(v, path + "warmup_min_lr", start, 0, kMaxRate, "0", 0); }});
      keys.push_back({"warmup_max_lr", [&](const Value &v) { (automaticPeak = isAuto(v)) ? void() : b.number(v, path + "warmup_max_lr", peak, 0, kMaxRate); }});
    }
    b.mapping(params, path, keys);
    for (const char *kind : {"linear", "cosine"}) // an `auto` is a problem of its own
      if (s.kind != Schedule::Constant && b.out.has(path + "total_num_steps"))
        b.out.lines.try_emplace("schedule." + std::string(kind) + ".total_steps", b.out.lines[path + "total_num_steps"]);
    if (start != 0)
      deferred.push_back({"schedule", params.line, "a warm-up that does not begin at 0 is not supported", "set it to 0"});
    if (shape == "log" && s.warmupSteps > 0)
      deferred.push_back({"schedule", params.line, "`" + path + "warmup_type: log`, DeepSpeed's default, is not supported", "write \"warmup_type\": \"linear\""});
    if (shape == "linear" && s.warmupSteps > 0)
      b.out.notes.push_back("warm-up: step k of N has lr * k / N; DeepSpeed's is one step behind");
    if (s.kind != Schedule::Cosine && !automaticPeak && !ownKeys.contains("schedule")) {
      if (!b.out.has(path + "warmup_max_lr"))
        b.out.notes.push_back("`" + path + "warmup_max_lr` is 0.001, DeepSpeed's default, whatever the optimizer's lr");
      r.optimizer.lr = peak;
    }
    minRatio = s.kind == Schedule::Cosine ? endRatio : 0;
  }

  //===-- Precision and ZeRO ----------------------------------------------------------------===//

  void precision(const Value &value, const std::string &name) {
    bool enabled = false;
    std::vector<Key> keys = {{"enabled", [&](const Value &v) {
                                if (isAuto(v))
                                  b.out.notes.push_back("`" + name + ".enabled: auto` is false, the default of Hugging Face's Trainer");
                                else
                                  b.boolean(v, name + ".enabled", enabled);
                              }}};
    addListed(keys, name + ".", deepspeed::precisionKeys());
    b.mapping(value, name + ".", keys);
    if (enabled)
      deferred.push_back({"precision", b.out.lines[name + ".enabled"], "`" + name + ": {enabled: true}` is not supported yet: everything is computed in fp32",
                          "write \"" + name + "\": {\"enabled\": false}"});
  }

  /// offload_optimizer, offload_param
  void offload(const Value &v, const std::string &name) {
    std::string where = "none";
    std::vector<Key> keys = {{"device", [&](const Value &w) { b.word(w, name + ".device", where, {"none", "cpu", "nvme"}); }}};
    addListed(keys, name + ".", deepspeed::offloadKeys());
    b.mapping(v, name + ".", keys);
    if (where != "none")
      deferred.push_back({"memory", b.out.lines[name + ".device"], "`" + name + ": {device: " + where + "}` is not supported yet",
                          "write \"device\": \"none\", or remove `" + StringRef(name).rsplit('.').second.str() + "`"});
  }

  void zero(const Value &value) {
    const std::string path = "zero_optimization.";
    std::vector<Key> keys = {{"stage", [&](const Value &v) { b.integer(v, path + "stage", r.zero, 0, 3); }},
                             {"offload_optimizer", [&](const Value &v) { offload(v, path + "offload_optimizer"); }},
                             {"offload_param", [&](const Value &v) { offload(v, path + "offload_param"); }}};
    addListed(keys, path, deepspeed::zeroKeys());
    b.mapping(value, path, keys);
    if (b.out.has(path + "stage"))
      b.out.lines.try_emplace("zero", b.out.lines[path + "stage"]);
  }

  Binder &b;
  train::Recipe &r;
  int64_t step = 0, micro = 0, accumulate = 0, seed = -1;
  double minRatio = 0; // of the peak lr, which is known at the end
  const Value *own = nullptr;
  llvm::StringSet<> ownKeys; // at the top of `llmc`
  std::vector<Deferred> deferred;
};
} // namespace

void recipe::readDeepSpeed(const Value &root, Binder &binder) { DeepSpeed(binder).read(root); }
