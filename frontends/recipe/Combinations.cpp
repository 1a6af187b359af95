//===- Combinations.cpp - what keys say of each other, and what is not built yet ---===//
//
// Every accepted key has an effect: one that others leave without any is a problem, as is one that contradicts another.
//
//===----------------------------------------------------------------------===//
#include "frontends/recipe/Binder.h"

using llvm::StringRef;
using namespace llmc;
using namespace llmc::recipe;
using train::Schedule;

namespace {
class Combinations {
public:
  explicit Combinations(Binder &b) : b(b), r(b.out.recipe) {}

  void check() {
    batch();
    schedule();
    optimizer();
    mesh();
    shardings();
    data();
  }

private:
  unsigned at(const std::string &key) const {
    for (StringRef path = key; !path.empty(); path = path.contains('.') ? path.rsplit('.').first : "")
      if (auto it = b.out.lines.find(path.str()); it != b.out.lines.end())
        return it->second;
    return 1;
  }
  void problem(const std::string &key, const std::string &message, const std::string &hint) { b.problem(at(key), message, hint); }

  /// Ranks along an axis; 0 if the mesh lacks it.
  int64_t ranksOf(StringRef name) const {
    for (auto &[axis, size] : r.mesh)
      if (axis == name)
        return size;
    return 0;
  }
  bool hasRanks() const {
    return llvm::any_of(r.mesh, [](auto &axis) { return axis.second > 1; });
  }

  void batch() {
    std::string step = std::to_string(r.batch.step), micro = std::to_string(r.batch.micro);
    if (r.batch.step > 0 && r.batch.micro > 0 && r.batch.step % r.batch.micro != 0)
      problem("batch.micro", "`batch.step` (" + step + ") is no multiple of `batch.micro` (" + micro + ")",
              "a step is a whole number of micro-batches");
    int64_t dp = std::max<int64_t>(1, ranksOf("dp")), replicate = std::max<int64_t>(1, ranksOf("dp_replicate"));
    const char *key = r.batch.micro > 0 ? "batch.micro" : "batch.step";
    int64_t samples = r.batch.micro > 0 ? r.batch.micro : r.batch.step;
    if (samples > 0 && samples % (dp * replicate) != 0)
      problem(key, "`" + std::string(key) + "` (" + std::to_string(samples) + ") does not divide by `mesh.dp` (" + std::to_string(dp) + ")" +
                       (replicate > 1 ? " times `mesh.dp_replicate` (" + std::to_string(replicate) + ")" : ""),
              "batch sizes count the samples of all dp ranks together");
  }

  void schedule() {
    const Schedule &s = r.schedule;
    std::string kind = s.kind == Schedule::Cosine ? "cosine" : s.kind == Schedule::Linear ? "linear" : "constant";
    std::string path = "schedule." + kind + ".";
    if (s.kind != Schedule::Constant && s.totalSteps == 0 && !b.out.has(path + "total_steps"))
      problem("schedule", "`schedule." + kind + "` needs `total_steps`", "the step at which min_lr is reached");
    if (s.totalSteps > 0 && s.warmupSteps > s.totalSteps)
      problem(path + "warmup_steps", "`" + path + "warmup_steps` (" + std::to_string(s.warmupSteps) + ") is greater than `total_steps` (" +
                                         std::to_string(s.totalSteps) + ")",
              "the warm-up is a part of the total");
    if (s.minLr > r.optimizer.lr)
      problem(path + "min_lr", "`" + path + "min_lr` is greater than the optimizer's `lr`", "give the learning rate at the end, not a share of it");
  }

  void optimizer() {
    const char *kind = r.optimizer.kind == train::Optimizer::AdamW ? "adamw" : "sgd";
    std::string path = "optimizer." + std::string(kind) + ".";
    if (r.optimizer.nesterov && r.optimizer.momentum == 0)
      problem("optimizer.sgd.nesterov", "`nesterov` needs a `momentum` greater than 0", "optimizer: {sgd: {lr: 0.1, momentum: 0.9, nesterov: true}}");
    if (b.out.has(path + "no_decay") && !b.out.has(path + "weight_decay"))
      problem(path + "no_decay", "`" + path + "no_decay` has no effect without `weight_decay`, which is 0 by default",
              "give `weight_decay`, or remove `no_decay`");
  }

  void mesh() {
    if (r.sequenceParallel && ranksOf("tp") < 2)
      problem("sequence_parallel", "`sequence_parallel` needs tensor ranks", "mesh: {tp: 2}");
    if (r.zero > 0 && ranksOf("dp") == 0)
      problem("zero", "`zero: " + std::to_string(r.zero) + "` has no effect: the mesh has no axis `dp` of data ranks", "mesh: {dp: 2}, or remove `zero`");
    if (!r.onnxSharding.empty() && !hasRanks())
      problem("onnx_sharding", "`onnx_sharding` needs a mesh with as many ranks as the configuration has devices", "mesh: {dp: 2, tp: 2}");
    if (b.out.has("communication.bucket") && !hasRanks())
      problem("communication.bucket", "`communication.bucket` has no effect: there is one rank", "mesh: {dp: 2}, or remove it");
  }

  void shardings() {
    for (const train::ParameterSharding &entry : r.sharding)
      for (const std::vector<std::string> &dim : entry.dims)
        for (const std::string &axis : dim)
          if (ranksOf(axis) == 0)
            b.problem(static_cast<unsigned>(entry.line), "`sharding." + entry.glob + "`: the mesh has no axis `" + axis + "`", "name axes of `mesh`");
  }

  void data() {
    bool tokens = llvm::any_of(r.data, [](auto &entry) { return entry.second.isTokens(); });
    if (b.out.has("shuffle") && !tokens)
      problem("shuffle", "`shuffle` has no effect: no input is fed by `tokens`, and arrays come in their order",
              "remove it; write the arrays of the data file in the order that is wanted");
  }

  Binder &b;
  const train::Recipe &r;
};
} // namespace

void recipe::checkCombinations(Binder &binder) { Combinations(binder).check(); }

Problems recipe::checkSupported(const ParsedRecipe &parsed) {
  const train::Recipe &r = parsed.recipe;
  Problems problems;
  auto refuse = [&](const std::string &key, const std::string &what, const std::string &hint) {
    problems.push_back({"`" + key + ": " + what + "` is not supported yet", parsed.where(key), hint});
  };
  if (r.batch.autoMicro)
    refuse("batch.micro", "auto",
           "give a number that divides `step`, or leave `micro` out for the whole step; with `memory: {budget: SIZE}` a refusal names the "
           "largest that fits");
  if (r.precision != "fp32")
    refuse("precision", r.precision, "use `precision: fp32`");
  for (auto &[axis, size] : r.mesh)
    if (size > 1 && axis != "dp_replicate" && axis != "dp" && axis != "tp")
      refuse("mesh." + axis, std::to_string(size), "use the axes dp_replicate, dp and tp");
  if (r.offload != "none")
    refuse("memory.offload", r.offload, "use `offload: none`");
  if (r.recompute == "all")
    refuse("memory.recompute", "all", "use `recompute: cheap` or `none`");
  if (r.recompute == "auto" && r.memoryBudget)
    problems.push_back({"`memory.recompute: auto` under a budget is not supported yet: nothing is recomputed to meet it", parsed.where("memory.recompute"),
                        "use `recompute: cheap`, which recomputes what costs one pass over memory; if that does not fit, a smaller `batch.micro`"});
  return problems;
}
