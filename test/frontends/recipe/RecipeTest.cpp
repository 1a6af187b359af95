//===- RecipeTest.cpp - recipes, good and bad ------===//
#include "frontends/recipe/RecipeParser.h"
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
memory: {budget: 24GiB, recompute: auto, offload: none}
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
  EXPECT_TRUE(r.loss.crossEntropy);
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
  ParsedRecipe parsed = parse("communication: {bucket: 0}");
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
        Bad{"schedule: {linear: {warmup_steps: 9, total_steps: 3}}", 1, "greater than `total_steps`", ""},
        Bad{"schedule: {cosine: {total_steps: 3, min_lr: 1}}", 1, "greater than the optimizer's `lr`", ""},
        Bad{"batch: {step: 32, micro: 5}", 1, "no multiple of `batch.micro`", "whole number"},
        Bad{"batch: {step: 0}", 1, "at least 1", ""},
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
        Bad{"communication: {bucket: big}", 1, "`communication.bucket` must be a size such as 24GiB", ""},
        Bad{"communication: {bucket: -1}", 1, "must be a size such as 24GiB", ""},
        Bad{"communication: {bucket: 0.5}", 1, "must be 0, or between 1 byte and 9 EB", ""},
        Bad{"communication: {buckets: 1MiB}", 1, "unknown key `communication.buckets`", "did you mean `bucket`?"},
        Bad{"communication: 25MiB", 1, "`communication` must be a mapping", "its keys are bucket"},
        Bad{"clip_grad_norm: 0", 1, "greater than 0", ""},
        Bad{"clip_grad_norm:", 1, "has no value", ""},
        Bad{"init: {\"*\": gaussian(0.02)}", 1, "is no initializer", "normal(deviation)"},
        Bad{"init: {\"*\": normal(a)}", 1, "is no initializer", ""},
        Bad{"init: {\"*\": normal(-1)}", 1, "empty range", ""},
        Bad{"data: [input_ids]", 1, "`data` must be a mapping", "tokens.next"},
        Bad{"data: {x: .next}", 1, "names no source", ""},
        Bad{"data: {x: a, x: b}", 1, "is fed twice", ""},
        Bad{"shapes: {seq: -1}", 1, "at least 1", ""},
        Bad{"loss: {cross_entropy: {logits: logits}}", 1, "needs both `logits` and `labels`", ""},
        Bad{"loss: {crossentropy: {}}", 1, "unknown key `loss.crossentropy`", "did you mean `cross_entropy`?"},
        Bad{"seed: 1\nseed: 2", 2, "given twice", "line 1"},
        Bad{"seed: -1", 1, "from 0 to 2^64-1", ""},
        Bad{"shuffle: yes please", 1, "true or false", ""},
        Bad{"trainable: {a: b}", 1, "list of words", ""},
        Bad{"- a\n- b", 1, "the recipe must be a mapping", ""},
        Bad{"loss: *x", 1, "aliases", "quotes"},
        Bad{"loss: loss\n---\nloss: loss", 1, "more than one document", ""}));

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
