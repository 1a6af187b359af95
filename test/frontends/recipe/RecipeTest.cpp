//===- RecipeTest.cpp - recipes, good and bad ------===//
#include "frontends/recipe/RecipeParser.h"
#include "frontends/recipe/Keys.h"
#include "frontends/recipe/ModelChecks.h"
#include "frontends/recipe/RecipePrinter.h"
#include "llvm/Support/FormatVariadic.h"
#include "mlir/IR/Builders.h"
#include "mlir/IR/MLIRContext.h"
#include <gtest/gtest.h>

namespace llmc::recipe {
namespace {

ParsedRecipe parse(llvm::StringRef text, llvm::StringRef name = "r.yaml") {
  return parseRecipe(llvm::MemoryBufferRef(text, name));
}

std::string textOf(const Problems &problems) {
  std::string text;
  for (const Problem &problem : problems)
    text += problem.text();
  return text;
}

constexpr const char *kFull = R"yaml(
loss: {cross_entropy: {logits: logits, labels: labels}}
loss_average: micro_batch
data: {input_ids: tokens, labels: tokens.next, extra: NAME, more: NAME.next}
shapes: {sequence: 256}
batch: {step: 32, micro: 8}
optimizer: {adamw: {lr: 3.0e-4, betas: [0.9, 0.95], eps: 1.0e-8, weight_decay: 0.1, no_decay: ["*.bias", "*norm*"]}}
schedule: {cosine: {warmup_steps: 10, total_steps: 100, min_lr: 3.0e-5}}
clip_grad_norm: 1.0
precision: bf16
mesh: {dp: 2, tp: 2}
zero: 1
communication: {bucket: 1.5MiB}
memory: {budget: 24GiB, recompute: none, offload: none}
weights: model.safetensors
init: {"*": normal(0.02), "*.bias": zeros, "*norm*.weight": "uniform(-1, 1)"}
trainable: ["*"]
shuffle: false
predict: logits
seed: 18446744073709551615
sequence_parallel: true
sharding: {"*.up.weight": [{}, tp], "*.embed": [[tp, dp], null]}
)yaml";

TEST(RecipeTest, ReadsEveryKey) {
  ParsedRecipe parsed = parse(kFull);
  ASSERT_TRUE(parsed.problems.empty()) << textOf(parsed.problems);
  const train::Recipe &r = parsed.recipe;
  EXPECT_EQ(r.loss.kind, train::Loss::CrossEntropy);
  EXPECT_EQ(r.loss.prediction, "logits");
  EXPECT_EQ(r.loss.target, "labels");
  EXPECT_EQ(r.lossAverage, train::LossAverage::MicroBatch);
  ASSERT_EQ(r.data.size(), 4u);
  EXPECT_EQ(r.data[1].second.kind, train::DataSource::TokensNext);
  EXPECT_EQ(r.data[3].second, (train::DataSource{train::DataSource::ArrayNext, "NAME"}));
  EXPECT_EQ(r.batch.micro, 8);
  EXPECT_EQ(r.optimizer.weightDecay, 0.1);
  EXPECT_EQ(r.schedule.kind, train::Schedule::Cosine);
  EXPECT_EQ(r.bucket, 3 << 19);
  EXPECT_EQ(r.memoryBudget, int64_t(24) << 30);
  ASSERT_EQ(r.init.size(), 3u);
  EXPECT_EQ(r.init[0].b, 0.02);
  EXPECT_EQ(r.init[2].a, -1);
  EXPECT_EQ(r.seed, UINT64_MAX);
  EXPECT_TRUE(r.sequenceParallel);
  ASSERT_EQ(r.sharding.size(), 2u);
  EXPECT_EQ(r.sharding[0], (train::ParameterSharding{"*.up.weight", {{}, {"tp"}}, 22}));
  EXPECT_EQ(r.sharding[1].dims, (std::vector<std::vector<std::string>>{{"tp", "dp"}, {}}));
  EXPECT_EQ(parsed.where("zero"), "r.yaml:12");
}

// What is parsed but not built yet is refused by key: precision, two mesh axes, zero.
TEST(RecipeTest, RefusesWhatIsNotBuilt) {
  Problems problems = checkSupported(parse(kFull));
  EXPECT_EQ(problems.size(), 1u) << textOf(problems);
  EXPECT_NE(textOf(problems).find("`precision: bf16` is not supported yet [r.yaml:10]"), std::string::npos);
}

TEST(RecipeTest, AttributeRoundTrip) {
  mlir::MLIRContext context;
  for (const char *text : {kFull, ""}) {
    train::Recipe recipe = parse(text).recipe;
    auto back = train::fromAttribute(train::toAttribute(&context, recipe));
    ASSERT_TRUE(mlir::succeeded(back));
    EXPECT_EQ(*back, recipe);
  }
  // A missing key has its default, a mistyped one is an error.
  mlir::Builder builder(&context);
  auto empty = train::fromAttribute(builder.getDictionaryAttr({}));
  ASSERT_TRUE(mlir::succeeded(empty));
  EXPECT_EQ(*empty, train::Recipe());
  mlir::NamedAttribute mistyped = builder.getNamedAttr("precision", builder.getI64IntegerAttr(16));
  EXPECT_TRUE(mlir::failed(train::fromAttribute(builder.getDictionaryAttr(mistyped))));
}

TEST(RecipeTest, DefaultsTrain) {
  ParsedRecipe parsed = parse("");
  EXPECT_TRUE(parsed.problems.empty());
  EXPECT_EQ(parsed.recipe, train::Recipe());
}

TEST(RecipeTest, BucketOfNothing) {
  ParsedRecipe parsed = parse("mesh: {dp: 2}\ncommunication: {bucket: 0}");
  EXPECT_TRUE(parsed.problems.empty()) << textOf(parsed.problems);
  EXPECT_EQ(parsed.recipe.bucket, 0);
}

TEST(RecipeTest, Globs) {
  EXPECT_TRUE(train::matchesGlob("*.bias", "a.b.bias"));
  EXPECT_TRUE(train::matchesGlob("*norm*", "layers.0.norm1.weight"));
  EXPECT_TRUE(train::matchesGlob("h.?.w", "h.3.w"));
  EXPECT_FALSE(train::matchesGlob("*.bias", "a.bias2"));
  EXPECT_FALSE(train::matchesGlob("h.?.w", "h.10.w"));
  EXPECT_TRUE(train::matchesGlob("**a*b**", "xxaxxbx"));
}

struct Bad {
  const char *text;
  unsigned line;
  const char *message;
  const char *hint;
};

class BadRecipe : public testing::TestWithParam<Bad> {};

// Each is one problem with its line and, where one is near, the valid key.
TEST_P(BadRecipe, IsOneClearProblem) {
  const Bad &bad = GetParam();
  ParsedRecipe parsed = parse(bad.text);
  ASSERT_EQ(parsed.problems.size(), 1u) << textOf(parsed.problems);
  const Problem &problem = parsed.problems[0];
  EXPECT_NE(problem.message.find(bad.message), std::string::npos) << problem.text();
  EXPECT_NE(problem.hint.find(bad.hint), std::string::npos) << problem.text();
  EXPECT_EQ(problem.where, llvm::formatv("r.yaml:{0}", bad.line).str()) << problem.text();
  EXPECT_EQ(problem.exitCode, 3);
}

INSTANTIATE_TEST_SUITE_P(
    All, BadRecipe,
    testing::Values(
        Bad{"loss: loss\noptimiser: {adamw: {}}", 2, "unknown key `optimiser`", "did you mean `optimizer`?"},
        Bad{"batch: {step: 8, mirco: 4}", 1, "unknown key `batch.mirco`", "did you mean `micro`?"},
        Bad{"optimizer: {adam: {}}", 1, "unknown optimizer `adam`", "did you mean `adamw`?"},
        Bad{"optimizer: {adamw: {}, sgd: {}}", 1, "exactly one of adamw or sgd", ""},
        Bad{"optimizer:\n  adamw:\n    lr: fast", 3, "`optimizer.adamw.lr` must be a number, got `fast`", ""},
        Bad{"optimizer: {adamw: {lr: \"1e-3\"}}", 1, "must be a number", ""},
        Bad{"optimizer: {adamw: {lr: nan}}", 1, "must be a number", ""},
        Bad{"optimizer: {adamw: {betas: [0.9]}}", 1, "list of two numbers", "betas: [0.9, 0.95]"},
        Bad{"optimizer: {adamw: {betas: [0.9, 1.5]}}", 1, "at most 1", ""},
        Bad{"optimizer: {sgd: {betas: [0.9, 0.95]}}", 1, "unknown key `optimizer.sgd.betas`", ""},
        Bad{"optimizer: {sgd: {nesterov: true}}", 1, "needs a `momentum`", ""},
        Bad{"schedule: {cosine: {warmup_steps: 3}}", 1, "needs `total_steps`", ""},
        Bad{"schedule: {linear: {warmup_steps: 9, total_steps: 3}}", 1, "`schedule.linear.warmup_steps` (9) is greater than `total_steps` (3)", "part of the total"},
        Bad{"schedule: {cosine: {total_steps: 3, min_lr: 1}}", 1, "greater than the optimizer's `lr`", ""},
        Bad{"batch: {step: 32, micro: 5}", 1, "no multiple of `batch.micro`", "whole number"},
        Bad{"batch: {step: 0}", 1, "at least 1", "batch: {step: 32}"},
        Bad{"batch: {step: 1099511627776}", 1, "at most 16777216", ""},
        Bad{"batch: {micro: 1099511627776}", 1, "at most 16777216", ""},
        Bad{"batch: 1099511627776", 1, "at most 16777216", ""},
        Bad{"batch: {step: 4.0}", 1, "must be an integer", ""},
        Bad{"shapes: {sequence: 1099511627776}", 1, "at most 1073741824", ""},
        Bad{"mesh: {dp: 1099511627776}", 1, "at most 1048576", ""},
        Bad{"mesh: {dp: 1048576, tp: 2}", 1, "too many ranks", ""},
        Bad{"mesh: {dp: 3}\nbatch: {step: 8}", 2, "`batch.step` (8) does not divide by `mesh.dp` (3)", ""},
        Bad{"optimizer: {sgd: {lr: -1}}", 1, "`optimizer.sgd.lr` must be at least 0", "lr: 0.1"},
        Bad{"optimizer: {sgd: {lr: 1e30}}", 1, "at most 1e+06, got 1e30", ""},
        Bad{"optimizer: {sgd: {lr: 1e39}}", 1, "at most 1e+06, got 1e39", ""},
        Bad{"optimizer: {sgd: {lr: nan}}", 1, "must be a number, got `nan`", ""},
        Bad{"optimizer: {sgd: {lr: inf}}", 1, "must be a number, got `inf`", ""},
        Bad{"optimizer: {sgd: {lr: .inf}}", 1, "must be a number", ""},
        Bad{"optimizer: {sgd: {lr: \"0.1\"}}", 1, "must be a number", ""},
        Bad{"optimizer: {sgd: {lr: 0,1}}", 1, "unknown key `optimizer.sgd.1`", ""},
        Bad{"optimizer: {sgd: {momentum: 1.1}}", 1, "at most 1", ""},
        Bad{"optimizer: {sgd: {momentum: -0.1}}", 1, "at least 0", ""},
        Bad{"optimizer: {sgd: {betas: [0.9, 0.99]}}", 1, "unknown key `optimizer.sgd.betas`", ""},
        Bad{"optimizer: {adamw: {betas: [0.9, 1.0]}}", 1, "at most 1", ""},
        Bad{"optimizer: {adamw: {betas: [-0.1, 0.9]}}", 1, "at least 0", ""},
        Bad{"optimizer: {adamw: {betas: [0.9, 0.99, 0.999]}}", 1, "list of two numbers", ""},
        Bad{"optimizer: {adamw: {eps: 1e-50}}", 1, "must be at least", ""},
        Bad{"optimizer: {adamw: {eps: 0}}", 1, "must be at least", ""},
        Bad{"optimizer: {adamw: {weight_decay: -0.1}}", 1, "at least 0", ""},
        Bad{"optimizer: {adamw: {momentum: 0.9}}", 1, "unknown key `optimizer.adamw.momentum`", ""},
        Bad{"optimizer: {adamw: {no_decay: [a]}}", 1, "`optimizer.adamw.no_decay` has no effect without `weight_decay`", ""},
        Bad{"optimizer: {adamw: {weight_decay: 1, no_decay: [a, a]}}", 1, "names `a` twice", ""},
        Bad{"optimizer: {adamw: {weight_decay: 1, no_decay: [\"\"]}}", 1, "has an empty name", ""},
        Bad{"optimizer: {adamw: {}, sgd: {}}", 1, "must name exactly one of adamw or sgd", ""},
        Bad{"clip_grad_norm: inf", 1, "must be a number", "clip_grad_norm: 1.0"},
        Bad{"clip_grad_norm: 1e40", 1, "at most 3.40282e+38", ""},
        Bad{"clip_grad_norm: -1", 1, "greater than 0", ""},
        Bad{"zero: 1", 1, "the mesh has no axis `dp`", "mesh: {dp: 2}"},
        Bad{"mesh: {tp: 2}\nzero: 1", 2, "the mesh has no axis `dp`", ""},
        Bad{"lora: {rank: 8}", 1, "`lora` is not supported yet", ""},
        Bad{"pipeline: {schedule: 1f1b}", 1, "`pipeline` is not supported yet", ""},
        Bad{"quantize: {}", 1, "`quantize` is not supported yet", ""},
        Bad{"zero: true", 1, "must be an integer", ""},
        Bad{"communication: {bucket: 1MiB}", 1, "has no effect: there is one rank", ""},
        Bad{"memory: {budget: 24}", 1, "`memory.budget` has no unit", "24MiB"},
        Bad{"memory: {budget: 24gib}", 1, "must be a size such as 24GiB", ""},
        Bad{"memory: {budget: [24GiB]}", 1, "must be a size such as 24GiB", ""},
        Bad{"memory: {recompute: some}", 1, "unknown memory.recompute `some`", ""},
        Bad{"memory: {offload: disk}", 1, "unknown memory.offload `disk`", ""},
        Bad{"data: {x: a}\nshuffle: true", 2, "`shuffle` has no effect", ""},
        Bad{"data: {x: a}\nshuffle: false", 2, "`shuffle` has no effect", ""},
        Bad{"data: {x: tokens.prev}", 1, "`tokens.prev` names no source", "tokens.next"},
        Bad{"data: {x: tokens.next.next}", 1, "names no source", ""},
        Bad{"data: {x: NAME.prev}", 1, "`NAME.prev` names no source", "NAME.next"},
        Bad{"data: {x: NAME.Next}", 1, "names no source", "did you mean `NAME.next`?"},
        Bad{"data: {x: token}", 1, "names no source", "did you mean `tokens`?"},
        Bad{"data: {x: Tokens.next}", 1, "names no source", "did you mean `tokens.next`?"},
        Bad{"data: {x: [a]}", 1, "must be a word, got a list", ""},
        Bad{"data: {x: {shifted_twice: true}}", 1, "has no `source`", ""},
        Bad{"data: {x: {source: tokens, shifted_twice: true}}", 1, "has no effect on `tokens`", ""},
        Bad{"init: {\"*\": zeros, \"*\": ones}", 1, "`init.*` is given twice", ""},
        Bad{"init: {\"*\": normal(1e300)}", 1, "beyond what fp32 holds", ""},
        Bad{"init: {\"*\": \"uniform(1, 1)\"}", 1, "empty range", ""},
        Bad{"init: {\"*\": normal(0.02}", 1, "is no initializer", ""},
        Bad{"mesh: {tp: 2}\nsharding: {\"*\": [tp, tp]}", 2, "axis tp stands twice", ""},
        Bad{"trainable: []", 1, "`trainable` names no parameter", ""},
        Bad{"seed: 18446744073709551616", 1, "from 0 to 2^64-1", ""},
        Bad{"seed: 1.5", 1, "from 0 to 2^64-1", ""},
        Bad{"loss: {mse: {prediction: y}}", 1, "`loss.mse` needs both `prediction` and `target`", "loss: {mse:"},
        Bad{"loss: {mse: {logits: y, target: t}}", 1, "unknown key `loss.mse.logits`", ""},
        Bad{"loss: {mse: {prediction: y, target: t}, l1: {prediction: y, target: t}}", 1, "must name exactly one", ""},
        Bad{"loss: {huber: {prediction: y, target: t, delta: 0}}", 1, "`loss.huber.delta` must be at least", ""},
        Bad{"loss: {cross_entropy: {logits: a, probabilities: a, labels: b}}", 1, "both `logits` and `probabilities`", ""},
        Bad{"loss: [a]", 1, "must name exactly one of cross_entropy, mse", ""},
        Bad{"mesh: {dp: 3}\nbatch: {step: 8, micro: 4}", 2, "does not divide by `mesh.dp`", ""},
        Bad{"mesh: {dp_replicate: 2, dp: 2}\nbatch: {step: 8, micro: 2}", 2, "`mesh.dp` (2) times `mesh.dp_replicate` (2)", ""},
        Bad{"sequence_parallel: true", 1, "needs tensor ranks", "mesh: {tp: 2}"},
        Bad{"mesh: {tp: 2}\nsharding: {\"*.w\": [dp]}", 2, "`sharding.*.w`: the mesh has no axis `dp`", "axes of `mesh`"},
        Bad{"sharding: {\"*.w\": tp}", 1, "must be a list of axes", ""},
        Bad{"onnx_sharding: a", 1, "`onnx_sharding` needs a mesh", "mesh:"},
        Bad{"sharding: [tp]", 1, "must be a mapping from glob", ""},
        Bad{"mesh: {data: 2}", 1, "unknown key `mesh.data`", ""},
        Bad{"precision: bf17", 1, "unknown precision `bf17`", "did you mean `bf16`?"},
        Bad{"zero: 4", 1, "at most 3", ""},
        Bad{"memory: {budget: 24 Gigs}", 1, "must be a size such as 24GiB", ""},
        Bad{"memory: {budget: 0}", 1, "`memory.budget` must be between 1 byte and 9 EB, got 0", ""},
        Bad{"mesh: {dp: 2}\ncommunication: {bucket: big}", 2, "`communication.bucket` must be a size such as 24GiB", ""},
        Bad{"mesh: {dp: 2}\ncommunication: {bucket: -1}", 2, "must be a size such as 24GiB", ""},
        Bad{"mesh: {dp: 2}\ncommunication: {bucket: 0.5B}", 2, "must be 0, or between 1 byte and 9 EB", ""},
        Bad{"communication: {buckets: 1MiB}", 1, "unknown key `communication.buckets`", "did you mean `bucket`?"},
        Bad{"communication: 25MiB", 1, "`communication` must be a mapping", "its keys are bucket"},
        Bad{"clip_grad_norm: 0", 1, "greater than 0", ""},
        Bad{"clip_grad_norm:", 1, "has no value", ""},
        Bad{"init: {\"*\": gaussian(0.02)}", 1, "is no initializer", "normal(deviation)"},
        Bad{"init: {\"*\": normal(a)}", 1, "is no initializer", ""},
        Bad{"init: {\"*\": normal(-1)}", 1, "empty range", ""},
        Bad{"data: [input_ids]", 1, "`data` must be a mapping", "tokens.next"},
        Bad{"data: {x: .next}", 1, "names no source", ""},
        Bad{"data: {x: a, x: b}", 1, "`data.x` is given twice", "remove one"},
        Bad{"shapes: {seq: -1}", 1, "at least 1", ""},
        Bad{"loss: {cross_entropy: {logits: logits}}", 1, "needs both `logits` (or `probabilities`) and `labels`", ""},
        Bad{"loss: {crossentropy: {}}", 1, "unknown loss `crossentropy`", "did you mean `cross_entropy`?"},
        Bad{"seed: 1\nseed: 2", 2, "given twice", "line 1"},
        Bad{"seed: -1", 1, "from 0 to 2^64-1", ""},
        Bad{"data: {x: tokens}\nshuffle: yes please", 2, "true or false", ""},
        Bad{"trainable: {a: b}", 1, "list of words", ""},
        Bad{"- a\n- b", 1, "the recipe must be a mapping", ""},
        Bad{"loss: *x", 1, "aliases", "quotes"},
        Bad{"loss: loss\n---\nloss: loss", 1, "more than one document", ""}));

//===-- The table of keys ---------------------------------------------------------------===//

// Every row has a text and an example that is a recipe, and what is printed of it is the same recipe.
TEST(RecipeKeysTest, ExamplesParseAndPrint) {
  for (const KeyInfo &key : allKeys()) {
    ParsedRecipe parsed = parse(key.example);
    EXPECT_TRUE(parsed.problems.empty()) << key.path.str() << "\n" << textOf(parsed.problems);
    EXPECT_FALSE(key.text.empty() || key.type.empty()) << key.path.str();
    EXPECT_TRUE(key.example.contains(key.name()) || key.name() == key.name().upper()) << key.path.str();
    std::string printed = printRecipe(parsed.recipe);
    ParsedRecipe again = parse(printed);
    EXPECT_TRUE(again.problems.empty()) << printed << textOf(again.problems);
    EXPECT_EQ(again.recipe, parsed.recipe) << printed;
  }
}

// A default that the table names is the one of the struct.
TEST(RecipeKeysTest, DefaultsAreTrue) {
  for (const KeyInfo &key : allKeys()) {
    if (key.fallback.empty() || !key.read || key.path == "loss.cross_entropy.ignore_index")
      continue;
    llvm::SmallVector<llvm::StringRef> parts;
    key.path.split(parts, '.');
    std::string with = key.fallback.str(), without = "{}";
    for (size_t i = parts.size(); i-- > 0;) {
      with = parts[i].str() + ": " + with;
      if (i + 1 < parts.size())
        without = parts[i].str() + ": " + without;
      if (i > 0) {
        with = "{" + with + "}";
        without = i + 1 < parts.size() ? "{" + without + "}" : without;
      }
    }
    EXPECT_EQ(parse(with).recipe, parse(parts.size() == 1 ? "" : without).recipe) << with << " against " << without;
  }
  EXPECT_EQ(train::kIgnoredLabel, -100);
}

TEST(RecipeKeysTest, PrintsEveryKindOfValue) {
  for (const char *text :
       {kFull, "", "loss: {cross_entropy: {probabilities: \"a \\\"b\\\\\", labels: c, ignore_index: 3}}",
        "loss: {huber: {prediction: y, target: t, delta: 0.1}}\nbatch: 3", "batch: {micro: auto}",
        "data: {\"x.y\": {source: tokens.next, shifted_twice: true}, z: NAME.next}\nshuffle: false",
        "optimizer: {adamw: {lr: 0.1234567890123456789, weight_decay: 1, no_decay: []}}", "optimizer: {sgd: {momentum: 0.9, nesterov: true}}",
        "init: {\"*\": constant(-3.5e-7), a: zeros, b: ones}", "schedule: {constant: {total_steps: 7}}"}) {
    ParsedRecipe parsed = parse(text);
    ASSERT_TRUE(parsed.problems.empty()) << text << textOf(parsed.problems);
    ParsedRecipe again = parse(printRecipe(parsed.recipe));
    EXPECT_TRUE(again.problems.empty()) << printRecipe(parsed.recipe) << textOf(again.problems);
    EXPECT_EQ(again.recipe, parsed.recipe) << printRecipe(parsed.recipe);
  }
}

TEST(RecipeKeysTest, ExplainsByPathOrName) {
  std::string near;
  EXPECT_NE(explainKey("optimizer.adamw.lr", near).find("default 3.0e-4"), std::string::npos);
  EXPECT_NE(explainKey("lr", near).find("optimizer.sgd.lr"), std::string::npos);
  EXPECT_NE(explainKey("clip_grad_norm", near).find("clip_grad_norm: 1.0"), std::string::npos);
  EXPECT_NE(explainKey("schedule", near).find("schedule.cosine.min_lr"), std::string::npos); // those below it too
  EXPECT_EQ(explainKey("optimiser", near), "");
  EXPECT_EQ(near, "optimizer");
}

//===-- What a recipe says of parameters --------------------------------------------------===//

const std::vector<NamedParameter> kParameters = {
    {{"embed.weight", "head.weight"}, 2, false}, {{"block.ln_1.weight"}, 1, true}, {{"block.fc.bias"}, 1, true}};

std::string parameterProblems(llvm::StringRef text) {
  ParsedRecipe parsed = parse(text);
  EXPECT_TRUE(parsed.problems.empty()) << textOf(parsed.problems);
  return textOf(checkParameters(parsed, kParameters));
}

TEST(ParameterChecksTest, GlobsMatchSomething) {
  EXPECT_EQ(parameterProblems("trainable: [\"head.*\", \"*.bias\"]\noptimizer: {adamw: {weight_decay: 1, no_decay: [\"*ln*\"]}}"), "");
  std::string text = parameterProblems("trainable:\n  - \"*\"\n  - nothing.*\noptimizer: {sgd: {weight_decay: 1, no_decay: [\"*.LayerNorm.*\"]}}\n"
                                       "init: {\"*.wait\": zeros}\nmesh: {tp: 2}\nsharding: {\"x.*\": [tp]}");
  EXPECT_NE(text.find("`trainable`: no parameter of the model is called `nothing.*` [r.yaml:3]"), std::string::npos) << text;
  EXPECT_NE(text.find("`optimizer.sgd.no_decay`: no parameter of the model is called `*.LayerNorm.*` [r.yaml:4]"), std::string::npos) << text;
  EXPECT_NE(text.find("`init`: no parameter of the model is called `*.wait` [r.yaml:5]"), std::string::npos) << text;
  EXPECT_NE(text.find("`sharding`: no parameter of the model is called `x.*` [r.yaml:7]"), std::string::npos) << text;
  EXPECT_NE(text.find("its parameters are embed.weight, head.weight, block.ln_1.weight"), std::string::npos) << text;
}

TEST(ParameterChecksTest, InitializersInitialize) {
  EXPECT_EQ(parameterProblems("init: {\"*\": zeros}"), "");
  EXPECT_NE(parameterProblems("init: {\"*.bias\": zeros}").find("`init.*.bias` has no effect"), std::string::npos);
}

TEST(ParameterChecksTest, ShardingsHaveTheRank) {
  EXPECT_NE(parameterProblems("mesh: {tp: 2}\nsharding: {\"*.bias\": [tp, {}]}").find("parameter 'block.fc.bias' has 1 dimensions, 2 are given [r.yaml:2]"),
            std::string::npos);
}

// Where the recipe names none, parameters with fewer than two dimensions do not decay, whatever they are called; a list
// replaces this rule, and an empty one leaves nothing out.
TEST(RecipeTest, WeightDecay) {
  train::Optimizer o = parse("optimizer: {adamw: {weight_decay: 0.1}}").recipe.optimizer;
  EXPECT_TRUE(o.decays({"norm.weight"}, 2));
  EXPECT_FALSE(o.decays({"ln_1.weight"}, 1));
  EXPECT_FALSE(o.decays({"scale"}, 0));
  o = parse("optimizer: {adamw: {weight_decay: 0.1, no_decay: [\"*norm*\"]}}").recipe.optimizer;
  EXPECT_FALSE(o.decays({"norm.weight"}, 2));
  EXPECT_FALSE(o.decays({"a", "norm.tied"}, 2));
  EXPECT_TRUE(o.decays({"ln_1.weight"}, 1));
  EXPECT_TRUE(parse("optimizer: {sgd: {weight_decay: 0.1, no_decay: []}}").recipe.optimizer.decays({"b"}, 1));
  EXPECT_FALSE(train::Recipe().optimizer.decays({"w"}, 2));
}

// What compiles to nothing yet is refused by its name.
TEST(RecipeTest, RefusesByName) {
  for (auto [text, what] : {std::pair("batch: {step: 8, micro: auto}", "`batch.micro: auto` is not supported yet"),
                            std::pair("memory: {budget: 1GiB, recompute: auto}", "`memory.recompute: auto` under a budget"),
                            std::pair("memory: {recompute: all}", "`memory.recompute: all`"), std::pair("memory: {offload: host}", "`memory.offload: host`"),
                            std::pair("precision: fp16", "`precision: fp16`"), std::pair("precision: fp8_tensor", "`precision: fp8_tensor`"), std::pair("mesh: {pp: 2}", "`mesh.pp: 2`"),
                            std::pair("mesh: {cp: 2}", "`mesh.cp: 2`"), std::pair("mesh: {ep: 2}", "`mesh.ep: 2`")}) {
    std::string problems = textOf(checkSupported(parse(text)));
    EXPECT_NE(problems.find(what), std::string::npos) << problems;
    EXPECT_NE(problems.find("[r.yaml:1]"), std::string::npos) << problems;
  }
  for (const char *text : {"memory: {budget: 1GiB}", "memory: {recompute: auto}", "memory: {recompute: cheap}", "mesh: {pp: 1}"})
    EXPECT_TRUE(checkSupported(parse(text)).empty()) << text;
}

// All problems are reported at once.
TEST(RecipeTest, ReportsEverything) {
  ParsedRecipe parsed = parse("los: loss\nzero: 9\nprecision: f\nseed: x\n");
  EXPECT_EQ(parsed.problems.size(), 4u) << textOf(parsed.problems);
}

// Text that is no recipe is refused without recursion or a crash.
TEST(RecipeTest, HostileText) {
  std::string indented;
  for (int i = 0; i < 800; ++i)
    indented += std::string(i, ' ') + "a:\n";
  for (const std::string &text :
       {std::string(100000, '['), std::string(100000, '{'), indented, std::string("a\0b", 3), std::string("a: {b"),
        std::string("a: \"b"), std::string("\xff\xfe\x00a", 4), std::string("? ? ? ?"), std::string("a: !!x &y [&z"),
        std::string(2 << 20, 'a')}) {
    ParsedRecipe parsed = parse(text);
    EXPECT_FALSE(parsed.problems.empty()) << text.substr(0, 40);
  }
  std::string dashes;
  for (int i = 0; i < 50000; ++i)
    dashes += "- ";
  EXPECT_FALSE(parse(dashes).problems.empty());
}

TEST(RecipeTest, MissingFile) { EXPECT_EQ(parseRecipeFile("/nonexistent/r.yaml").problems.size(), 1u); }

} // namespace
} // namespace llmc::recipe
