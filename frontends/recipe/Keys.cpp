//===- Keys.cpp - the table of all keys of a recipe ---------===//
#include "frontends/recipe/Keys.h"
#include "frontends/recipe/Readers.h"

using llvm::StringRef;
using namespace llmc;
using namespace llmc::recipe;

namespace {

// Readers of plain values, each named after the field that it fills.
#define FIELD(NAME, EXPRESSION, CALL)                                                                                              \
  void NAME(const Value &v, Path path, Binder &b) {                                                                                \
    auto &into = b.out.recipe.EXPRESSION;                                                                                          \
    CALL;                                                                                                                          \
  }
FIELD(prediction, loss.prediction, b.text(v, path, into))
FIELD(target, loss.target, b.text(v, path, into))
FIELD(delta, loss.delta, b.number(v, path, into, kMinReal, kMaxReal))
FIELD(batchStep, batch.step, b.integer(v, path, into, 1, kMaxSamples))
FIELD(rate, optimizer.lr, b.number(v, path, into, 0, kMaxRate))
FIELD(epsilon, optimizer.eps, b.number(v, path, into, kMinReal, 1))
FIELD(weightDecay, optimizer.weightDecay, b.number(v, path, into, 0, kMaxRate))
FIELD(momentum, optimizer.momentum, b.number(v, path, into, 0, 1))
FIELD(nesterov, optimizer.nesterov, b.boolean(v, path, into))
FIELD(warmup, schedule.warmupSteps, b.integer(v, path, into, 0, kMaxSteps))
FIELD(total, schedule.totalSteps, b.integer(v, path, into, 1, kMaxSteps))
FIELD(minRate, schedule.minLr, b.number(v, path, into, 0, kMaxRate))
FIELD(precision, precision, b.word(v, path, into, {"fp32", "bf16", "fp16", "fp8", "fp8_tensor"}))
FIELD(zero, zero, b.integer(v, path, into, 0, 3))
FIELD(sequenceParallel, sequenceParallel, b.boolean(v, path, into))
FIELD(onnxSharding, onnxSharding, b.text(v, path, into))
FIELD(budget, memoryBudget, b.bytes(v, path, into))
FIELD(recompute, recompute, b.word(v, path, into, {"cheap", "none", "auto", "all"}))
FIELD(offload, offload, b.word(v, path, into, {"none", "host", "nvme"}))
FIELD(weights, weights, b.text(v, path, into))
FIELD(shuffle, shuffle, b.boolean(v, path, into))
FIELD(predict, predict, b.text(v, path, into))
#undef FIELD

void probabilities(const Value &v, Path path, Binder &b) {
  b.out.recipe.loss.probabilities = true;
  prediction(v, path, b);
}

void ignoreIndex(const Value &v, Path path, Binder &b) {
  int64_t label = 0;
  if (b.integer(v, path, label, INT32_MIN, INT32_MAX))
    b.out.recipe.loss.ignoreIndex = label;
}

void lossAverage(const Value &v, Path path, Binder &b) {
  std::string average = "tokens";
  b.word(v, path, average, {"tokens", "micro_batch"});
  b.out.recipe.lossAverage = average == "tokens" ? train::LossAverage::Tokens : train::LossAverage::MicroBatch;
}

void trainable(const Value &v, Path path, Binder &b) {
  readGlobs(v, path, b.out.recipe.trainable, b);
  if (v.kind == Value::List && v.items.empty())
    b.problem(v.line, "`" + path + "` names no parameter", "leave it out to train what the model's module trains");
}

void clipGradNorm(const Value &v, Path path, Binder &b) {
  double norm = 0;
  b.number(v, path, norm, 0, kMaxReal, /*openLow=*/true);
  if (norm > 0)
    b.out.recipe.clipGradNorm = norm;
}

constexpr const char kWarmup[] =
    "In step k, counted from 1, of the first `warmup_steps` the learning rate is `lr * k / warmup_steps`: the first step already "
    "learns, and step `warmup_steps` has the whole `lr`. Hugging Face's schedulers are one step behind: `lr * (k - 1) / warmup_steps`.";
constexpr const char kDecayText[] =
    "Globs over the names of parameters that weight decay leaves alone, instead of the default: parameters with fewer than two "
    "dimensions (biases, scales of norms), whatever they are called. `[]` decays all, as PyTorch's optimizers do.";

const KeyInfo table[] = {
    {"loss", "name of an output, or one of the keys below", "loss",
     "What is minimized: a scalar output of the graph, or a mean over an output and an input that the compiler adds. The input is "
     "one of the graph's, or a new one; `data` feeds either.",
     "loss: loss", readLoss},
    {"loss.cross_entropy", "mapping", "", "Mean of -log p[label] over all rows whose label counts, as torch's `cross_entropy`.",
     "loss: {cross_entropy: {logits: logits, labels: labels}}", readAddedLoss},
    {"loss.cross_entropy.logits", "name of an output", "", "Scores [.., classes]. Either this or `probabilities` is needed.",
     "loss: {cross_entropy: {logits: scores, labels: labels}}", prediction},
    {"loss.cross_entropy.probabilities", "name of an output", "",
     "Probabilities [.., classes], of models that end in Softmax. If a Softmax over the classes makes them, its logits are used, "
     "which is exact; else the loss is the mean of -log(max(p[label], 1.2e-38)), and labels are ignored only if `ignore_index` is given.",
     "loss: {cross_entropy: {probabilities: probs, labels: labels}}", probabilities},
    {"loss.cross_entropy.labels", "name of an input", "", "Class numbers, shaped as the output without its last dimension. Needed.",
     "loss: {cross_entropy: {logits: scores, labels: labels}}", target},
    {"loss.cross_entropy.ignore_index", "integer", "-100", "Rows with this label do not count.",
     "loss: {cross_entropy: {logits: scores, labels: labels, ignore_index: 0}}", ignoreIndex},
    {"loss.mse", "mapping", "", "Mean of (prediction - target)^2 over all elements, as torch's `mse_loss`.",
     "loss: {mse: {prediction: y, target: wanted}}", readAddedLoss},
    {"loss.mse.prediction", "name of an output", "", "Needed.", "loss: {mse: {prediction: y, target: wanted}}", prediction},
    {"loss.mse.target", "name of an input", "", "Of the output's shape. Needed.", "loss: {mse: {prediction: y, target: wanted}}", target},
    {"loss.l1", "mapping", "", "Mean of |prediction - target| over all elements, as torch's `l1_loss`; the gradient is 0 where they are equal.",
     "loss: {l1: {prediction: y, target: wanted}}", readAddedLoss},
    {"loss.l1.prediction", "name of an output", "", "Needed.", "loss: {l1: {prediction: y, target: wanted}}", prediction},
    {"loss.l1.target", "name of an input", "", "Of the output's shape. Needed.", "loss: {l1: {prediction: y, target: wanted}}", target},
    {"loss.huber", "mapping", "",
     "Mean over all elements of d^2 / 2 where |d| < delta, else delta (|d| - delta / 2), for d = prediction - target, as torch's `huber_loss`.",
     "loss: {huber: {prediction: y, target: wanted, delta: 0.5}}", readAddedLoss},
    {"loss.huber.prediction", "name of an output", "", "Needed.", "loss: {huber: {prediction: y, target: wanted}}", prediction},
    {"loss.huber.target", "name of an input", "", "Of the output's shape. Needed.", "loss: {huber: {prediction: y, target: wanted}}", target},
    {"loss.huber.delta", "number greater than 0", "1.0", "Where the square becomes a line.",
     "loss: {huber: {prediction: y, target: wanted, delta: 0.5}}", delta},
    {"loss.bce_with_logits", "mapping", "",
     "Mean over all elements of log(1 + e^x) - x t for logits x and targets t from 0 to 1, as torch's `binary_cross_entropy_with_logits`.",
     "loss: {bce_with_logits: {logits: scores, target: wanted}}", readAddedLoss},
    {"loss.bce_with_logits.logits", "name of an output", "", "Needed.", "loss: {bce_with_logits: {logits: scores, target: wanted}}", prediction},
    {"loss.bce_with_logits.target", "name of an input", "", "Of the output's shape. Needed.",
     "loss: {bce_with_logits: {logits: scores, target: wanted}}", target},
    {"loss_average", "tokens or micro_batch", "tokens",
     "How micro-batches make a step. `tokens`: every counted label weighs the same, so that a split changes nothing. `micro_batch`: "
     "the mean of the micro-batches' losses, as loops in PyTorch with gradient accumulation compute it.",
     "loss_average: micro_batch", lossAverage},
    {"data", "mapping from input to source", "", "What feeds each input of the graph. All must be named; nothing is guessed.",
     "data: {input_ids: tokens, labels: tokens.next}", readData},
    {"data.INPUT", "tokens, tokens.next, NAME or NAME.next", "",
     "`tokens`: windows of the token file. `tokens.next`: the same windows one token further on. NAME: arrays NAME.0, NAME.1, ... of "
     "a safetensors file, one a step. `NAME.next`: these shifted left within each row, with -100 at the end. A graph that shifts its "
     "labels itself, as Hugging Face's do, takes `labels: tokens`.",
     "data: {input_ids: tokens, labels: tokens}", nullptr},
    {"data.INPUT.source", "as above", "", "The source, where more is said of an input.",
     "data: {input_ids: tokens, labels: {source: tokens.next, shifted_twice: true}}", nullptr},
    {"data.INPUT.shifted_twice", "true or false", "false",
     "With tokens.next or NAME.next: feeds a graph that shifts this input itself all the same, which then learns the token after the next one.",
     "data: {input_ids: tokens, labels: {source: tokens.next, shifted_twice: true}}", nullptr},
    {"shapes", "mapping from dimension to size", "", "Sizes of the graph's symbolic dimensions.", "shapes: {sequence: 256}", readShapes},
    {"shapes.DIMENSION", "integer from 1 to 2^30", "", "The size of one dimension.", "shapes: {sequence: 256}", nullptr},
    {"batch", "mapping, or a number of samples for `step`", "", "How many samples make a step.", "batch: {step: 32, micro: 8}", readBatch},
    {"batch.step", "integer from 1 to 2^24", "", "Samples of a step, of all data ranks together; default: `micro`, else as exported.", "batch: {step: 32}", batchStep},
    {"batch.micro", "integer from 1 to 2^24", "",
     "Samples of a micro-batch, of all data ranks together. Gradients of `step / micro` micro-batches are summed up before an update. Default: `step`.",
     "batch: {step: 32, micro: 8}", readMicro},
    {"optimizer", "adamw or sgd", "adamw", "What turns gradients into new parameters.", "optimizer: {adamw: {lr: 3.0e-4}}", readOptimizer},
    {"optimizer.adamw", "mapping", "", "As torch.optim.AdamW.", "optimizer: {adamw: {lr: 3.0e-4, weight_decay: 0.1}}", readSection},
    {"optimizer.adamw.lr", "number from 0 to 1e6", "3.0e-4", "The learning rate at its peak.", "optimizer: {adamw: {lr: 3.0e-4}}", rate},
    {"optimizer.adamw.betas", "two numbers from 0 to 0.9999999", "[0.9, 0.95]",
     "Decay of the moments' averages. PyTorch's default is [0.9, 0.999].", "optimizer: {adamw: {betas: [0.9, 0.999]}}", readBetas},
    {"optimizer.adamw.eps", "number from 1.2e-38 to 1", "1.0e-8", "Added to the root of the second moment.", "optimizer: {adamw: {eps: 1.0e-6}}", epsilon},
    {"optimizer.adamw.weight_decay", "number from 0 to 1e6", "0.0",
     "Parameters shrink by `lr * weight_decay` of themselves in each step. PyTorch's default is 0.01.", "optimizer: {adamw: {weight_decay: 0.1}}", weightDecay},
    {"optimizer.adamw.no_decay", "list of globs", "", kDecayText,
     "optimizer: {adamw: {weight_decay: 0.1, no_decay: [\"*.bias\", \"*norm*\"]}}", readNoDecay},
    {"optimizer.sgd", "mapping", "", "As torch.optim.SGD, without dampening.", "optimizer: {sgd: {lr: 0.1, momentum: 0.9}}", readSection},
    {"optimizer.sgd.lr", "number from 0 to 1e6", "3.0e-4", "The learning rate at its peak.", "optimizer: {sgd: {lr: 0.1}}", rate},
    {"optimizer.sgd.momentum", "number from 0 to 1", "0.0", "How much of the last step's direction stays.", "optimizer: {sgd: {lr: 0.1, momentum: 0.9}}", momentum},
    {"optimizer.sgd.nesterov", "true or false", "false", "Nesterov's momentum; needs a `momentum`.",
     "optimizer: {sgd: {lr: 0.1, momentum: 0.9, nesterov: true}}", nesterov},
    {"optimizer.sgd.weight_decay", "number from 0 to 1e6", "0.0", "`weight_decay` times the parameter is added to its gradient.",
     "optimizer: {sgd: {lr: 0.1, weight_decay: 1.0e-4}}", weightDecay},
    {"optimizer.sgd.no_decay", "list of globs", "", kDecayText, "optimizer: {sgd: {lr: 0.1, weight_decay: 1.0e-4, no_decay: []}}", readNoDecay},
    {"schedule", "constant, linear or cosine", "constant", "The learning rate over the steps.",
     "schedule: {cosine: {warmup_steps: 10, total_steps: 100, min_lr: 3.0e-5}}", readSchedule},
    {"schedule.constant", "mapping", "", "`lr` after the warm-up.", "schedule: {constant: {warmup_steps: 10}}", readSection},
    {"schedule.constant.warmup_steps", "integer from 0", "0", kWarmup, "schedule: {constant: {warmup_steps: 10}}", warmup},
    {"schedule.constant.total_steps", "integer from 1", "", "Steps of a run without `--steps`.", "schedule: {constant: {total_steps: 100}}", total},
    {"schedule.linear", "mapping", "", "A line from `lr`, at the end of the warm-up, to `min_lr`.", "schedule: {linear: {total_steps: 100}}", readSection},
    {"schedule.linear.warmup_steps", "integer from 0", "0", kWarmup, "schedule: {linear: {warmup_steps: 10, total_steps: 100}}", warmup},
    {"schedule.linear.total_steps", "integer from 1", "",
     "Steps until `min_lr`, the warm-up included, and of a run without `--steps`. Needed.", "schedule: {linear: {total_steps: 100}}", total},
    {"schedule.linear.min_lr", "number from 0 to lr", "0.0", "The learning rate from step `total_steps + 1` on.",
     "schedule: {linear: {total_steps: 100, min_lr: 1.0e-5}}", minRate},
    {"schedule.cosine", "mapping", "", "Half a wave of a cosine from `lr`, at the end of the warm-up, to `min_lr`.",
     "schedule: {cosine: {total_steps: 100}}", readSection},
    {"schedule.cosine.warmup_steps", "integer from 0", "0", kWarmup, "schedule: {cosine: {warmup_steps: 10, total_steps: 100}}", warmup},
    {"schedule.cosine.total_steps", "integer from 1", "",
     "Steps until `min_lr`, the warm-up included, and of a run without `--steps`. Needed.", "schedule: {cosine: {total_steps: 100}}", total},
    {"schedule.cosine.min_lr", "number from 0 to lr", "0.0", "The learning rate from step `total_steps + 1` on.",
     "schedule: {cosine: {total_steps: 100, min_lr: 3.0e-5}}", minRate},
    {"clip_grad_norm", "number greater than 0", "",
     "Gradients of a larger norm, all parameters together, are scaled down to it, as torch's `clip_grad_norm_`. Default: never.", "clip_grad_norm: 1.0", clipGradNorm},
    {"precision", "fp32", "fp32", "Element type of the computation. bf16, fp16, fp8 and fp8_tensor are known and not supported yet.", "precision: fp32", precision},
    {"mesh", "mapping from axis to ranks", "", "How many ranks there are. The last axis varies fastest.", "mesh: {dp: 2, tp: 2}", readMesh},
    {"mesh.dp_replicate", "integer from 1 to 2^20", "", "Data ranks that ZeRO does not cut over.", "mesh: {dp_replicate: 2, dp: 2}\nzero: 2", nullptr},
    {"mesh.dp", "integer from 1 to 2^20", "", "Data ranks: each has a part of the samples.", "mesh: {dp: 4}", nullptr},
    {"mesh.tp", "integer from 1 to 2^20", "", "Tensor ranks: each has a part of the weights.", "mesh: {tp: 2}", nullptr},
    {"mesh.pp", "1", "", "Stages of a pipeline: not supported yet.", "mesh: {pp: 1}", nullptr},
    {"mesh.cp", "1", "", "Parts of a sequence: not supported yet.", "mesh: {cp: 1}", nullptr},
    {"mesh.ep", "1", "", "Parts of the experts: not supported yet.", "mesh: {ep: 1}", nullptr},
    {"zero", "integer from 0 to 3", "0",
     "What the ranks of `mesh.dp` share out among them: 1 optimizer state, 2 gradients too, 3 parameters too.", "mesh: {dp: 4}\nzero: 2", zero},
    {"sequence_parallel", "true or false", "false", "With tensor ranks: activations between their regions are cut along the sequence.",
     "mesh: {tp: 2}\nsequence_parallel: true", sequenceParallel},
    {"sharding", "mapping from glob to axes", "", "How parameters are cut, instead of what the compiler finds.",
     "mesh: {tp: 2}\nsharding: {\"*.up.weight\": [tp, {}]}", readSharding},
    {"sharding.GLOB", "list with one entry a dimension", "",
     "An axis of the mesh, a list of axes, or {} for a dimension that is whole. The last glob that matches a parameter counts.",
     "mesh: {tp: 2}\nsharding: {\"*.up.weight\": [tp, {}]}", nullptr},
    {"onnx_sharding", "name of a configuration of the model", "", "Shards as the ONNX file says of its own tensors.",
     "mesh: {tp: 2}\nonnx_sharding: llmc", onnxSharding},
    {"communication", "mapping", "", "How ranks talk to each other.", "mesh: {dp: 2}\ncommunication: {bucket: 50MiB}", readSection},
    {"communication.bucket", "size with a unit, or 0", "25MiB", "Tensors share a message up to this size; with 0 each has its own.",
     "mesh: {dp: 2}\ncommunication: {bucket: 50MiB}", readBucket},
    {"memory", "mapping", "", "What a rank may use.", "memory: {budget: 24GiB}", readSection},
    {"memory.budget", "size with a unit", "", "A plan that needs more is refused (exit code 5), with what stands at the peak and what would help.",
     "memory: {budget: 24GiB}", budget},
    {"memory.recompute", "cheap or none", "cheap",
     "Activations that the backward pass makes again instead of keeping them. `cheap`: those that cost one pass over memory. `none`: "
     "all are kept. `auto`, the compiler's choice, is the same as `cheap` without a budget, and with one not supported yet; `all` is not supported yet.",
     "memory: {recompute: none}", recompute},
    {"memory.offload", "none", "none", "State kept outside the device's memory: host and nvme are known and not supported yet.", "memory: {offload: none}", offload},
    {"weights", "path, relative to the recipe", "", "A safetensors file with initial values of parameters.", "weights: model.safetensors", weights},
    {"init", "mapping from glob to initializer", "", "Initial values of parameters that neither graph nor file holds. The last glob that matches counts.",
     "init: {\"*\": normal(0.02), \"*.bias\": zeros}", readInit},
    {"init.GLOB", "zeros, ones, constant(x), normal(deviation) or uniform(low, high)", "", "What parameters of these names begin with.",
     "init: {\"*.weight\": \"uniform(-0.1, 0.1)\"}", nullptr},
    {"trainable", "list of globs", "", "Names of parameters that are trained; the others are frozen. Default: those that the model's module trains.", "trainable: [\"head.*\"]", trainable},
    {"shuffle", "true or false", "true", "Windows of a token file come in another order in each epoch, made from `seed`. Arrays always come in their order.",
     "data: {input_ids: tokens, labels: tokens.next}\nshuffle: false", shuffle},
    {"predict", "name of an output", "", "Adds a segment that computes this output, for `llmc-run --prompt`.", "predict: logits", predict},
    {"seed", "integer from 0 to 2^64-1", "1234", "Of initial values, dropout and the order of windows.", "seed: 1", readSeed},
};

} // namespace

llvm::ArrayRef<KeyInfo> recipe::allKeys() { return table; }

llvm::SmallVector<const KeyInfo *> recipe::keysBelow(StringRef path) {
  llvm::SmallVector<const KeyInfo *> found;
  for (const KeyInfo &key : table) {
    StringRef rest = key.path;
    if ((path.empty() || (rest.consume_front(path) && rest.consume_front("."))) && !rest.contains('.'))
      found.push_back(&key);
  }
  return found;
}

const KeyInfo *recipe::findKey(StringRef path) {
  const KeyInfo *key = llvm::find_if(table, [&](const KeyInfo &each) { return each.path == path; });
  return key == std::end(table) ? nullptr : key;
}
