//===- DeepSpeedTest.cpp - DeepSpeed configurations as recipes ------===//
#include "frontends/recipe/RecipeParser.h"
#include <gtest/gtest.h>

namespace llmc::recipe {
namespace {

ParsedRecipe parse(llvm::StringRef text) { return parseRecipe(llvm::MemoryBufferRef(text, "ds.json")); }

std::string problemsOf(llvm::StringRef text) {
  std::string all;
  for (const Problem &problem : parse(text).problems)
    all += problem.text();
  return all;
}

TEST(DeepSpeedTest, ReadsATypicalFile) {
  ParsedRecipe parsed = parse(R"({
    "train_batch_size": 32, "train_micro_batch_size_per_gpu": 4, "gradient_accumulation_steps": 4,
    "optimizer": {"type": "AdamW", "params": {"lr": 3e-4, "betas": [0.9, 0.95], "weight_decay": 0.1}},
    "scheduler": {"type": "WarmupCosineLR", "params": {"total_num_steps": 100, "warmup_num_steps": 10, "cos_min_ratio": 0.1}},
    "gradient_clipping": 1.0, "fp16": {"enabled": false}, "bf16": {"enabled": true},
    "zero_optimization": {"stage": 2, "overlap_comm": true}, "steps_per_print": 10,
    "llmc": {"data": {"input_ids": "tokens", "labels": "tokens.next"}, "seed": 7}})");
  ASSERT_TRUE(parsed.problems.empty()) << parsed.problems[0].text();
  const train::Recipe &r = parsed.recipe;
  EXPECT_EQ(r.batch.step, 32);
  EXPECT_EQ(r.batch.micro, 8); // both data-parallel ranks together
  ASSERT_EQ(r.mesh.size(), 1u);
  EXPECT_EQ(r.mesh[0].second, 2);
  EXPECT_EQ(r.optimizer.eps, 1e-8);
  EXPECT_DOUBLE_EQ(r.schedule.minLr, 3e-5);
  EXPECT_EQ(r.clipGradNorm, 1.0);
  EXPECT_EQ(r.precision, "bf16");
  EXPECT_EQ(r.zero, 2);
  EXPECT_EQ(r.lossAverage, train::LossAverage::MicroBatch);
  EXPECT_EQ(r.data.size(), 2u);
  EXPECT_EQ(r.seed, 7u);
  EXPECT_EQ(parsed.notes.size(), 4u); // averaging, linear warm-up, overlap_comm, steps_per_print
}

TEST(DeepSpeedTest, RecognizedByItsKeys) {
  ParsedRecipe parsed = parseRecipe(llvm::MemoryBufferRef("{\"train_batch_size\": 8}", "recipe"));
  EXPECT_TRUE(parsed.problems.empty());
  EXPECT_EQ(parsed.recipe.batch.step, 8);
}

TEST(DeepSpeedTest, BadFiles) {
  EXPECT_NE(problemsOf(R"({"train_batchsize": 8})").find("did you mean `train_batch_size`?"), std::string::npos);
  EXPECT_NE(problemsOf(R"({"train_batch_size": "auto"})").find("must be an integer"), std::string::npos);
  EXPECT_NE(problemsOf(R"({"train_batch_size": 7, "train_micro_batch_size_per_gpu": 2, "gradient_accumulation_steps": 2})")
                .find("no multiple"),
            std::string::npos);
  EXPECT_NE(problemsOf(R"({"optimizer": {"type": "Lion"}})").find("unknown optimizer.type `Lion`"), std::string::npos);
  EXPECT_NE(problemsOf(R"({"optimizer": {"type": "Adam", "params": {"adam_w_mode": false, "weight_decay": 0.1}}})")
                .find("adam_w_mode"),
            std::string::npos);
  EXPECT_NE(problemsOf(R"({"scheduler": {"type": "WarmupLR", "params": {"warmup_min_lr": 0.1}}})").find("begin at 0"),
            std::string::npos);
  EXPECT_NE(problemsOf(R"({"fp16": {"enabled": true}, "bf16": {"enabled": true}})").find("both fp16 and bf16"),
            std::string::npos);
}

} // namespace
} // namespace llmc::recipe
