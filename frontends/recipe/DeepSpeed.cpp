//===- DeepSpeed.cpp - DeepSpeed JSON configurations as recipes ----*- C++ -*-===//
//
// Keys with a meaning for training become the recipe; keys about DeepSpeed's own runtime are listed as notes; any other
// key is an error. `auto` values, which Hugging Face's Trainer fills in, are errors: nothing here fills them.
//
//===----------------------------------------------------------------------===//
#include "frontends/recipe/Binder.h"

using llvm::StringRef;
using namespace llmc;
using namespace llmc::recipe;
using train::Optimizer;
using train::Schedule;

static constexpr double kInf = 1.7e308;
static constexpr int64_t kMax = int64_t(1) << 40;

namespace {
class DeepSpeed {
public:
  explicit DeepSpeed(Binder &b) : b(b), r(b.out.recipe) {}

  void read(const Value &root) {
    r.optimizer.beta2 = 0.999; // DeepSpeed's defaults where they differ from a recipe's
    r.optimizer.lr = 1e-3;
    r.optimizer.noDecay.clear();
    r.lossAverage = train::LossAverage::MicroBatch;
    b.out.notes.push_back("loss_average: micro_batch, as DeepSpeed averages");
    std::vector<Key> keys = {
        {"train_batch_size", [&](const Value &v) { b.integer(v, "train_batch_size", step, 1, kMax); }},
        {"train_micro_batch_size_per_gpu",
         [&](const Value &v) { b.integer(v, "train_micro_batch_size_per_gpu", micro, 1, kMax); }},
        {"gradient_accumulation_steps",
         [&](const Value &v) { b.integer(v, "gradient_accumulation_steps", accumulate, 1, kMax); }},
        {"optimizer", [&](const Value &v) { optimizer(v); }},
        {"scheduler", [&](const Value &v) { scheduler(v); }},
        {"gradient_clipping",
         [&](const Value &v) {
           double norm = 0;
           b.number(v, "gradient_clipping", norm, 0, kInf);
           if (norm > 0)
             r.clipGradNorm = norm;
         }},
        {"fp16", [&](const Value &v) { precision(v, "fp16"); }},
        {"bf16", [&](const Value &v) { precision(v, "bf16"); }},
        {"zero_optimization", [&](const Value &v) { zero(v); }},
        {"seed", [&](const Value &v) { b.integer(v, "seed", seed, 0); }},
        {"llmc", [&](const Value &v) { own = &v; }}};
    // What only concerns DeepSpeed's runtime.
    for (StringRef name :
         {"steps_per_print", "wall_clock_breakdown", "memory_breakdown", "dump_state", "tensorboard", "wandb", "csv_monitor",
          "comet", "comms_logger", "flops_profiler", "communication_data_type", "prescale_gradients",
          "gradient_predivide_factor", "sparse_gradients", "disable_allgather", "zero_allow_untrusted_checkpoint",
          "checkpoint", "aio", "activation_checkpointing", "zero_force_ds_cpu_optimizer", "torch_autocast",
          "data_types", "timers"})
      keys.push_back({name, [this, name](const Value &) { note(name.str()); }});
    b.mapping(root, "", keys);
    batch(root.line);
    if (own)
      readOwn(*own);
    if (seed >= 0)
      r.seed = static_cast<uint64_t>(seed);
  }

private:
  void note(const std::string &key) { b.out.notes.push_back("`" + key + "` only concerns DeepSpeed's runtime: ignored"); }

  /// The keys of the YAML grammar; they override what DeepSpeed's keys say.
  void readOwn(const Value &value) {
    auto lines = std::move(b.out.lines); // `seed` may stand in both
    b.out.lines.clear();
    train::LossAverage before = r.lossAverage;
    readRecipe(value, b);
    if (!b.out.has("loss_average"))
      r.lossAverage = before;
    for (auto &line : lines)
      b.out.lines.insert(line);
  }

  void batch(unsigned line) {
    if (step && accumulate && !micro && step % accumulate == 0)
      micro = step / accumulate;
    int64_t perRank = micro * std::max<int64_t>(accumulate, 1);
    int64_t ranks = 1;
    if (step && micro && accumulate) {
      ranks = step / std::max<int64_t>(perRank, 1);
      if (perRank == 0 || step % perRank != 0)
        return b.problem(b.out.lines["train_batch_size"],
                         "`train_batch_size` is no multiple of `train_micro_batch_size_per_gpu` times "
                         "`gradient_accumulation_steps`");
    } else if (!step) {
      step = perRank;
    }
    if (ranks > 1)
      r.mesh.emplace_back("dp", ranks);
    r.batch.step = step;
    r.batch.micro = micro * ranks;
    for (const char *key : {"train_micro_batch_size_per_gpu", "train_batch_size"})
      if (b.out.has(key)) {
        b.out.lines.try_emplace("batch.micro", b.out.lines[key]);
        b.out.lines.try_emplace("mesh.dp", b.out.lines[key]);
      }
  }

  void optimizer(const Value &value) {
    std::string type;
    const Value *params = nullptr;
    b.mapping(value, "optimizer.",
              {{"type", [&](const Value &v) { b.word(v, "optimizer.type", type, {"AdamW", "Adam", "SGD"}); }},
               {"params", [&](const Value &v) { params = &v; }},
               {"legacy_fusion", [&](const Value &) { note("optimizer.legacy_fusion"); }}});
    Optimizer &o = r.optimizer;
    o.kind = type == "SGD" ? Optimizer::Sgd : Optimizer::AdamW;
    if (type.empty()) {
      if (value.kind == Value::Map && !b.out.has("optimizer.type"))
        b.problem(value.line, "`optimizer` has no `type`", "AdamW, Adam or SGD");
      return;
    }
    if (!params)
      return;
    bool decoupled = true;
    std::string path = "optimizer.params.";
    std::vector<Key> keys = {
        {"lr", [&](const Value &v) { b.number(v, path + "lr", o.lr, 0, kInf); }},
        {"weight_decay", [&](const Value &v) { b.number(v, path + "weight_decay", o.weightDecay, 0, kInf); }}};
    if (o.kind == Optimizer::Sgd) {
      keys.push_back({"momentum", [&](const Value &v) { b.number(v, path + "momentum", o.momentum, 0, 1); }});
      keys.push_back({"nesterov", [&](const Value &v) { b.boolean(v, path + "nesterov", o.nesterov); }});
    } else {
      keys.push_back({"betas", [&](const Value &v) { betas(v); }});
      keys.push_back({"eps", [&](const Value &v) { b.number(v, path + "eps", o.eps, 0, 1, true); }});
      keys.push_back({"adam_w_mode", [&](const Value &v) { b.boolean(v, path + "adam_w_mode", decoupled); }});
      keys.push_back({"torch_adam", [&](const Value &) { note(path + "torch_adam"); }});
      keys.push_back({"fused", [&](const Value &) { note(path + "fused"); }});
    }
    b.mapping(*params, path, keys);
    if (!decoupled && o.weightDecay != 0)
      b.problem(params->line, "Adam with weight decay in the gradient (`adam_w_mode: false`) is not supported",
                "use AdamW, or weight_decay 0");
  }

  void betas(const Value &v) {
    if (v.kind != Value::List || v.items.size() != 2)
      return b.problem(v.line, "`optimizer.params.betas` must be a list of two numbers, got " + v.describe());
    b.number(v.items[0], "optimizer.params.betas", r.optimizer.beta1, 0, 0.999999999);
    b.number(v.items[1], "optimizer.params.betas", r.optimizer.beta2, 0, 0.999999999);
  }

  void scheduler(const Value &value) {
    std::string type;
    const Value *params = nullptr;
    b.mapping(value, "scheduler.",
              {{"type",
                [&](const Value &v) {
                  b.word(v, "scheduler.type", type, {"WarmupLR", "WarmupDecayLR", "WarmupCosineLR"});
                }},
               {"params", [&](const Value &v) { params = &v; }}});
    if (type.empty() || !params)
      return;
    Schedule &s = r.schedule;
    s.kind = type == "WarmupLR"        ? Schedule::Constant
             : type == "WarmupDecayLR" ? Schedule::Linear
                                       : Schedule::Cosine;
    std::string path = "scheduler.params.", shape;
    double peak = -1, start = 0, endRatio = 0.0001;
    std::vector<Key> keys = {
        {"warmup_num_steps", [&](const Value &v) { b.integer(v, path + "warmup_num_steps", s.warmupSteps, 0); }},
        {"warmup_type", [&](const Value &v) { b.word(v, path + "warmup_type", shape, {"linear"}); }},
        {"last_batch_iteration", [&](const Value &) { note(path + "last_batch_iteration"); }}};
    if (s.kind != Schedule::Constant)
      keys.push_back({"total_num_steps", [&](const Value &v) { b.integer(v, path + "total_num_steps", s.totalSteps, 1); }});
    if (s.kind == Schedule::Cosine) {
      keys.push_back({"warmup_min_ratio", [&](const Value &v) { b.number(v, path + "warmup_min_ratio", start, 0, 1); }});
      keys.push_back({"cos_min_ratio", [&](const Value &v) { b.number(v, path + "cos_min_ratio", endRatio, 0, 1); }});
    } else {
      keys.push_back({"warmup_min_lr", [&](const Value &v) { b.number(v, path + "warmup_min_lr", start, 0, kInf); }});
      keys.push_back({"warmup_max_lr", [&](const Value &v) { b.number(v, path + "warmup_max_lr", peak, 0, kInf); }});
    }
    b.mapping(*params, path, keys);
    b.out.lines.try_emplace("schedule", b.out.lines["scheduler"]);
    if (start != 0)
      b.problem(params->line, "a warm-up that does not begin at 0 is not supported", "set it to 0");
    if (shape.empty() && s.warmupSteps > 0)
      b.out.notes.push_back("warm-up is linear (DeepSpeed's default is logarithmic)");
    if (peak >= 0)
      r.optimizer.lr = peak;
    minRatio = s.kind == Schedule::Cosine ? endRatio : 0;
    s.minLr = 0;
  }

  void precision(const Value &value, const std::string &name) {
    bool enabled = true;
    std::vector<Key> keys = {{"enabled", [&](const Value &v) { b.boolean(v, name + ".enabled", enabled); }}};
    // The scale of the loss is managed by the compiled step.
    for (StringRef key : {"loss_scale", "loss_scale_window", "initial_scale_power", "hysteresis", "min_loss_scale",
                          "consecutive_hysteresis", "auto_cast", "fp16_master_weights_and_grads",
                          "bf16_master_weights_and_grads", "bf16_optimizer_states", "immediate_grad_update",
                          "check_grad_overflow"})
      keys.push_back({key, [this, name, key](const Value &) { note(name + "." + key.str()); }});
    b.mapping(value, name + ".", keys);
    if (!enabled)
      return;
    if (r.precision != "fp32")
      b.problem(value.line, "both fp16 and bf16 are enabled", "enable one of them");
    r.precision = name;
    b.out.lines.try_emplace("precision", b.out.lines[name]);
  }

  void zero(const Value &value) {
    bool offload = false;
    auto device = [&](const Value &v, const std::string &name) {
      std::string where = "none";
      std::vector<Key> keys = {
          {"device", [&](const Value &w) { b.word(w, name + ".device", where, {"none", "cpu", "nvme"}); }}};
      for (StringRef key : {"nvme_path", "pin_memory", "buffer_count", "buffer_size", "max_in_cpu", "fast_init",
                            "pipeline_read", "pipeline_write", "ratio"})
        keys.push_back({key, [this, name, key](const Value &) { note(name + "." + key.str()); }});
      b.mapping(v, name + ".", keys);
      if (where != "none") {
        r.offload = where == "cpu" ? "host" : "nvme";
        offload = true;
      }
    };
    std::vector<Key> keys = {
        {"stage", [&](const Value &v) { b.integer(v, "zero_optimization.stage", r.zero, 0, 3); }},
        {"offload_optimizer", [&](const Value &v) { device(v, "zero_optimization.offload_optimizer"); }},
        {"offload_param", [&](const Value &v) { device(v, "zero_optimization.offload_param"); }}};
    for (StringRef key :
         {"allgather_partitions", "allgather_bucket_size", "overlap_comm", "reduce_scatter", "reduce_bucket_size",
          "contiguous_gradients", "sub_group_size", "stage3_prefetch_bucket_size", "stage3_param_persistence_threshold",
          "stage3_max_live_parameters", "stage3_max_reuse_distance", "stage3_gather_16bit_weights_on_model_save",
          "round_robin_gradients", "ignore_unused_parameters", "elastic_checkpoint", "load_from_fp32_weights",
          "memory_efficient_linear", "zero_hpz_partition_size", "zero_quantized_weights", "zero_quantized_gradients"})
      keys.push_back({key, [this, key](const Value &) { note("zero_optimization." + key.str()); }});
    b.mapping(value, "zero_optimization.", keys);
    b.out.lines.try_emplace("zero", b.out.lines["zero_optimization"]);
    if (offload)
      b.out.lines.try_emplace("memory.offload", b.out.lines["zero_optimization"]);
  }

public:
  double minRatio = 0; // of the peak lr, applied when both are known

private:
  Binder &b;
  train::Recipe &r;
  int64_t step = 0, micro = 0, accumulate = 0, seed = -1;
  const Value *own = nullptr;
};
} // namespace

void recipe::readDeepSpeed(const Value &root, Binder &binder) {
  DeepSpeed reader(binder);
  reader.read(root);
  if (reader.minRatio > 0)
    binder.out.recipe.schedule.minLr = reader.minRatio * binder.out.recipe.optimizer.lr;
}
