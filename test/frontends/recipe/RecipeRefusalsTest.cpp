//===- RecipeRefusalsTest.cpp - what a recipe may not say, beside the nearest that it may ------===//
#include "frontends/recipe/RecipeParser.h"
#include <gtest/gtest.h>

namespace llmc::recipe {
namespace {

struct Case {
  std::string accepted, refused;
  const char *message, *hint;
};

/// Problems of keys and of what is not built.
Problems problemsOf(const std::string &text) {
  ParsedRecipe parsed = parseRecipe(llvm::MemoryBufferRef(text, "r.yaml"));
  return parsed.problems.empty() ? checkSupported(parsed) : parsed.problems;
}

std::string textOf(const Problems &problems) {
  std::string text;
  for (const Problem &problem : problems)
    text += problem.text();
  return text;
}

void check(const std::vector<Case> &cases) {
  for (const Case &each : cases) {
    EXPECT_EQ(textOf(problemsOf(each.accepted)), "") << each.accepted;
    Problems problems = problemsOf(each.refused);
    ASSERT_EQ(problems.size(), 1u) << each.refused << "\n" << textOf(problems);
    EXPECT_NE(problems[0].message.find(each.message), std::string::npos) << each.refused << "\n" << problems[0].text();
    EXPECT_NE(problems[0].hint.find(each.hint), std::string::npos) << each.refused << "\n" << problems[0].text();
  }
}

TEST(RecipeRefusalsTest, Values) {
  check({{"seed: 1", "seed:", "`seed` has no value", "give a value or remove the key"},
         {"init: {a: zeros}", "init: {a: }", "`init.a` has no value", "give a value or remove the key"},
         {"init: {a: zeros}", "init: {\"\": zeros}", "`init` has an empty name of a glob", "init:"},
         {"data: {a: b}", "data: {\"\": b}", "`data` has an empty name of an input", "data:"},
         {"trainable: [a, b]", "trainable: [a, [b]]", "`trainable` must be a list of words, an entry is a list", ""},
         {"trainable: a", "trainable: {a: b}", "`trainable` must be a list of words, got a mapping", ""},
         {"trainable: [a]", "trainable: []", "`trainable` names no parameter", "leave it out to train what the model's module trains"},
         {"memory: {}", "memory: 3", "`memory` must be a mapping, got `3`", "its keys are"},
         {"memory: {budget: 24GiB}", "memory: {budget: 24XB}", "`memory.budget` must be a size such as 24GiB or 512MB, got `24XB`", ""},
         {"memory: {budget: 1B}", "memory: {budget: 0.9B}", "between 1 byte and 9 EB", ""},
         {"memory: {budget: 9000000TB}", "memory: {budget: 9000001TB}", "between 1 byte and 9 EB", ""},
         {"batch: 4", "batch: \"4\"", "`batch` must be an integer, got `4`", ""},
         {"batch: 4", "batch: 4x", "`batch` must be an integer, got `4x`", ""},
         {"data: {x: tokens}\nshuffle: true", "data: {x: tokens}\nshuffle: \"true\"", "`shuffle` must be true or false, got `true`", ""},
         {"data: {x: tokens}\nshuffle: false", "data: {x: tokens}\nshuffle: [false]", "`shuffle` must be true or false, got a list", ""},
         {"seed: 18446744073709551615", "seed: \"1\"", "`seed` must be an integer from 0 to 2^64-1, got `1`", "seed: 1234"},
         {"seed: 0", "seed: -1", "`seed` must be an integer from 0 to 2^64-1, got `-1`", ""}});
}

// The last number that is taken, and the first that is not.
TEST(RecipeRefusalsTest, Bounds) {
  check({{"batch: 16777216", "batch: 16777217", "at most 16777216", ""},
         {"batch: 1", "batch: 0", "at least 1", ""},
         {"shapes: {s: 1073741824}", "shapes: {s: 1073741825}", "at most 1073741824", ""},
         {"mesh: {dp: 1048576}", "mesh: {dp: 1048577}", "at most 1048576", ""},
         {"mesh: {dp: 524288, tp: 2}", "mesh: {dp: 524289, tp: 2}", "`mesh` has too many ranks, at most 1048576 are possible", "make an axis smaller"},
         {"optimizer: {sgd: {lr: 0, momentum: 1}}", "optimizer: {sgd: {momentum: 1.001}}", "at most 1", ""},
         {"optimizer: {sgd: {lr: 1e6}}", "optimizer: {sgd: {lr: 1000001}}", "at most 1e+06", ""},
         {"optimizer: {adamw: {betas: [0, 0.9999999]}}", "optimizer: {adamw: {betas: [0, 0.99999991]}}", "at most 1", ""},
         {"optimizer: {adamw: {betas: [0, 0]}}", "optimizer: {adamw: {betas: [0, -0.001]}}", "at least 0", ""},
         {"optimizer: {adamw: {betas: [0.9, 0.99]}}", "optimizer: {adamw: {betas: 0.9}}", "`optimizer.adamw.betas` must be a list of two numbers, got `0.9`", "betas: [0.9, 0.95]"},
         {"mesh: {dp: 2}\nzero: 3", "mesh: {dp: 2}\nzero: 4", "at most 3", ""},
         {"init: {a: constant(3.4e38)}", "init: {a: constant(3.5e38)}", "is beyond what fp32 holds", "use smaller numbers"},
         {"init: {a: \"uniform(-3.4e38, 0)\"}", "init: {a: \"uniform(-3.5e38, 0)\"}", "is beyond what fp32 holds", ""},
         {"init: {a: normal(0)}", "init: {a: normal(-0.001)}", "is an empty range", "uniform(low, high)"},
         {"init: {a: \"uniform(0, 0.001)\"}", "init: {a: \"uniform(0, 0)\"}", "is an empty range", ""}});
}

TEST(RecipeRefusalsTest, Sources) {
  check({{"data: {x: a.next}", "data: {x: a.shifted}", "`data.x`: `a.shifted` names no source", "use a, or a.next, which is shifted left within each row"},
         {"data: {token: token.next}", "data: {x: token.next}", "`token.next` names no source",
          "did you mean `tokens.next`? An array of this name must be called otherwise"},
         {"data: {x: arrays}", "data: {x: token}", "`token` names no source", "did you mean `tokens`? An array of this name must be called otherwise"},
         {"data: {x: a.body}", "data: {x: a.nex}", "names no source", "did you mean `a.next`?"},
         {"data: {x: tokens.next}", "data: {x: tokens.b}", "names no source", "there is no other shift"},
         {"data: {x: a}", "data: {x: a b}", "names no source", "use tokens, tokens.next, NAME or NAME.next"},
         {"data: {x: {source: a.next, shifted_twice: true}}", "data: {x: {source: a, shifted_twice: true}}", "has no effect on `a`", ""},
         {"loss: {cross_entropy: {probabilities: p, labels: l}}", "loss: {cross_entropy: {probabilities: p, logits: p, labels: l}}", "has both `logits` and `probabilities`",
          "keep `logits` if the output is no result of a Softmax"},
         {"optimizer: {adamw: {weight_decay: 1, no_decay: [a]}}", "optimizer: {adamw: {weight_decay: 1, no_decay: [\"\"]}}", "has an empty name",
          "a name of a parameter, or a glob such as \"*.bias\""},
         {"mesh: {tp: 2, dp: 2}\nsharding: {a: [tp, dp]}", "mesh: {tp: 2}\nsharding: {a: [[tp, tp]]}", "axis tp stands twice", "an axis cuts one dimension"},
         {"mesh: {tp: 2}\nsharding: {a: [tp, {}, null]}", "mesh: {tp: 2}\nsharding: {a: tp}", "must be a list of axes, one entry per dimension, got `tp`", ""}});
}

TEST(RecipeRefusalsTest, Documents) {
  check({{"loss: \"*x\"", "loss: *x", "aliases (`*name`) are not supported", "put a value that begins with `*` in quotes"},
         {"init: {\"*\": zeros}", "init: {[a]: zeros}", "a key must be a word or quoted text", "put a key that begins with `*` in quotes"},
         {"---\nseed: 1\n", "seed: 1\n---\nseed: 1\n", "the file holds more than one document", "remove the `---` line and what follows"},
         {"seed: 1", "seed: " + std::string(70, '[') + std::string(70, ']'), "nested too deeply", "a recipe needs no more than 4 levels"},
         {"trainable: [a]", "trainable: [a", "not valid YAML: ", ""}});
}

TEST(RecipeRefusalsTest, Combinations) {
  check({{"batch: {step: 8, micro: 8}", "batch: {step: 8, micro: 16}", "`batch.step` (8) is no multiple of `batch.micro` (16)", "a step is a whole number of micro-batches"},
         {"batch: {step: 8, micro: 4}", "batch: {step: 8, micro: 3}", "`batch.step` (8) is no multiple of `batch.micro` (3)", ""},
         {"mesh: {dp: 2}\nbatch: 8", "mesh: {dp: 3}\nbatch: 8", "`batch.step` (8) does not divide by `mesh.dp` (3)", "batch sizes count the samples of all dp ranks together"},
         {"mesh: {dp_replicate: 2, dp: 2}\nbatch: 8", "mesh: {dp_replicate: 2, dp: 2}\nbatch: 6", "(6) does not divide by `mesh.dp` (2) times `mesh.dp_replicate` (2)", ""},
         {"mesh: {dp_replicate: 2}\nbatch: 8", "mesh: {dp_replicate: 2}\nbatch: 7", "(7) does not divide by `mesh.dp` (1) times `mesh.dp_replicate` (2)", ""},
         {"mesh: {dp: 2, tp: 3}\nbatch: {step: 8, micro: 2}", "mesh: {dp: 2}\nbatch: {step: 8, micro: 1}", "`batch.micro` (1) does not divide", ""},
         {"schedule: {cosine: {total_steps: 3}}", "schedule: cosine", "`schedule.cosine` needs `total_steps`", "the step at which min_lr is reached"},
         {"schedule: constant", "schedule: linear", "`schedule.linear` needs `total_steps`", ""},
         {"schedule: {linear: {warmup_steps: 3, total_steps: 3}}", "schedule: {linear: {warmup_steps: 4, total_steps: 3}}",
          "`schedule.linear.warmup_steps` (4) is greater than `total_steps` (3)", "the warm-up is a part of the total"},
         {"optimizer: {sgd: {lr: 0.5}}\nschedule: {cosine: {total_steps: 3, min_lr: 0.5}}", "optimizer: {sgd: {lr: 0.5}}\nschedule: {cosine: {total_steps: 3, min_lr: 0.51}}",
          "`schedule.cosine.min_lr` is greater than the optimizer's `lr`", "give the learning rate at the end, not a share of it"},
         {"optimizer: {sgd: {momentum: 0.1, nesterov: true}}", "optimizer: {sgd: {momentum: 0, nesterov: true}}", "`nesterov` needs a `momentum` greater than 0",
          "optimizer: {sgd: {lr: 0.1, momentum: 0.9, nesterov: true}}"},
         {"mesh: {tp: 2}\nsequence_parallel: true", "mesh: {tp: 1}\nsequence_parallel: true", "`sequence_parallel` needs tensor ranks", "mesh: {tp: 2}"},
         {"mesh: {dp: 1}\nzero: 1", "mesh: {dp_replicate: 2}\nzero: 1", "`zero: 1` has no effect: the mesh has no axis `dp` of data ranks", "mesh: {dp: 2}, or remove `zero`"},
         {"zero: 0", "zero: 2", "`zero: 2` has no effect", ""},
         {"mesh: {tp: 2}\nonnx_sharding: a", "mesh: {tp: 1}\nonnx_sharding: a", "needs a mesh with as many ranks as the configuration has devices", "mesh: {dp: 2, tp: 2}"},
         {"mesh: {tp: 2}\ncommunication: {bucket: 1MiB}", "mesh: {tp: 1}\ncommunication: {bucket: 1MiB}", "`communication.bucket` has no effect: there is one rank", ", or remove it"},
         {"data: {x: tokens, y: a}\nshuffle: true", "data: {y: a}\nshuffle: true", "`shuffle` has no effect", ""}});
}

TEST(RecipeRefusalsTest, NotBuilt) {
  check({{"precision: fp32", "precision: bf16", "`precision: bf16` is not supported yet", "use `precision: fp32`"},
         {"mesh: {pp: 1}", "mesh: {pp: 2}", "`mesh.pp: 2` is not supported yet", "use the axes dp_replicate, dp and tp"},
         {"mesh: {dp_replicate: 2, dp: 2, tp: 2}", "mesh: {ep: 2}", "`mesh.ep: 2` is not supported yet", ""},
         {"memory: {offload: none}", "memory: {offload: host}", "`memory.offload: host` is not supported yet", ""},
         {"memory: {recompute: cheap}", "memory: {recompute: all}", "`memory.recompute: all` is not supported yet", ""},
         {"memory: {recompute: auto}", "memory: {recompute: auto, budget: 1GiB}", "`memory.recompute: auto` under a budget is not supported yet", ""}});
}

} // namespace
} // namespace llmc::recipe
