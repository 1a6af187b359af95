//===- DeepSpeedBatchTest.cpp - batch sizes of DeepSpeed configurations, counted again ------===//
#include "frontends/recipe/RecipeParser.h"
#include <gtest/gtest.h>

namespace llmc::recipe {
namespace {

/// What a file says; 0 is absent.
struct Sizes {
  int64_t step, micro, accumulate;
};

struct Expected {
  bool valid = true;
  int64_t step = 0, micro = 0; // of all data ranks together
};

std::string entry(const char *key, int64_t value) { return value ? "\"" + std::string(key) + "\": " + std::to_string(value) + ", " : ""; }

ParsedRecipe parse(const Sizes &s, const std::string &mesh) {
  std::string text = "{" + entry("train_batch_size", s.step) + entry("train_micro_batch_size_per_gpu", s.micro) +
                     entry("gradient_accumulation_steps", s.accumulate) + "\"steps_per_print\": 1, \"llmc\": {" + mesh + "}}";
  return parseRecipe(llvm::MemoryBufferRef(text, "ds.json"));
}

/// By enumeration: the sizes of a micro-batch of one rank and the numbers of them that fit what is said, for `ranks` data ranks.
Expected expectedOf(const Sizes &s, int64_t ranks) {
  Expected e;
  if (!s.step && !s.micro) {
    e.valid = s.accumulate <= 1;
    return e;
  }
  e.valid = false;
  for (int64_t micro = 1; micro <= 24; ++micro)
    for (int64_t count = 1; count <= 24; ++count) {
      if ((s.micro && micro != s.micro) || (s.accumulate && count != s.accumulate) || (s.step && micro * count * ranks != s.step))
        continue;
      if (!s.step && !s.accumulate && count != 1)
        continue; // one micro-batch
      e.valid = true;
      e.step = micro * count * ranks;
      e.micro = s.micro || s.accumulate ? micro * ranks : 0;
    }
  return e;
}

// Every combination of the three sizes with every mesh: tensor ranks count no samples, both kinds of data ranks do.
TEST(DeepSpeedBatchTest, EveryMesh) {
  int valid = 0, refused = 0;
  for (auto [mesh, ranks] : {std::pair("\"mesh\": {\"dp\": 2}", 2), std::pair("\"mesh\": {\"dp_replicate\": 3}", 3), std::pair("\"mesh\": {\"tp\": 2}", 1),
                             std::pair("\"mesh\": {\"dp_replicate\": 3, \"dp\": 2}", 6), std::pair("\"mesh\": {\"dp\": 2, \"tp\": 3}", 2),
                             std::pair("\"mesh\": {\"dp_replicate\": 2, \"tp\": 3}", 2), std::pair("\"mesh\": {\"dp_replicate\": 2, \"dp\": 2, \"tp\": 2}", 4),
                             std::pair("\"mesh\": {\"dp\": 1}", 1)})
    for (int64_t step : {0, 1, 2, 3, 6, 8, 12, 18, 24})
      for (int64_t micro : {0, 1, 2, 3})
        for (int64_t accumulate : {0, 1, 2, 4}) {
          Sizes sizes{step, micro, accumulate};
          ParsedRecipe parsed = parse(sizes, mesh);
          Expected expected = expectedOf(sizes, ranks);
          std::string at = std::string(mesh) + ": " + std::to_string(step) + ", " + std::to_string(micro) + ", " + std::to_string(accumulate);
          ASSERT_EQ(parsed.problems.empty(), expected.valid) << at << (parsed.problems.empty() ? "" : parsed.problems[0].text());
          (expected.valid ? valid : refused)++;
          if (!expected.valid) {
            EXPECT_EQ(parsed.problems.size(), 1u) << at;
            EXPECT_NE(parsed.problems[0].text().find(step ? ") is no multiple of " : "needs `train_micro_batch_size_per_gpu`"), std::string::npos) << parsed.problems[0].text();
            EXPECT_NE(parsed.problems[0].hint.find(step ? "each rank has train_micro_batch_size_per_gpu * gradient_accumulation_steps samples of a step"
                                                        : "write the samples of a micro-batch of one rank"),
                      std::string::npos);
            continue;
          }
          EXPECT_EQ(parsed.recipe.batch.step, expected.step) << at;
          EXPECT_EQ(parsed.recipe.batch.micro, expected.micro) << at;
        }
  EXPECT_GT(valid, 200);
  EXPECT_GT(refused, 200);
}

// Without a mesh all three sizes together say how many data ranks there are.
TEST(DeepSpeedBatchTest, RanksFollow) {
  for (int64_t step : {1, 4, 6, 8, 12})
    for (int64_t micro : {1, 2, 3})
      for (int64_t accumulate : {1, 2}) {
        ParsedRecipe parsed = parse({step, micro, accumulate}, "");
        ASSERT_EQ(parsed.problems.empty(), step % (micro * accumulate) == 0) << step << " " << micro << " " << accumulate;
        if (!parsed.problems.empty())
          continue;
        int64_t ranks = step / (micro * accumulate);
        EXPECT_EQ(parsed.recipe.batch.micro, micro * ranks);
        EXPECT_EQ(parsed.recipe.mesh, (decltype(parsed.recipe.mesh)(ranks > 1 ? 1 : 0, {"dp", ranks})));
      }
}

// Products beyond what a recipe takes are refused, also those that no 64 bits hold.
TEST(DeepSpeedBatchTest, LargeProducts) {
  constexpr int64_t most = 1 << 24;
  auto text = [](const Sizes &s, const std::string &mesh) {
    ParsedRecipe parsed = parse(s, mesh);
    EXPECT_LE(parsed.problems.size(), 1u);
    return parsed.problems.empty() ? std::string() : parsed.problems[0].text();
  };
  EXPECT_EQ(text({0, 1 << 12, 1 << 12}, ""), "");
  EXPECT_EQ(text({0, most, 1}, ""), "");
  EXPECT_NE(text({0, most, 2}, "").find("`train_micro_batch_size_per_gpu` makes a step of more than 16777216 samples"), std::string::npos);
  EXPECT_NE(text({0, (1 << 12) + 1, 1 << 12}, "").find("more than 16777216 samples"), std::string::npos);
  EXPECT_EQ(text({0, 16, 1}, "\"mesh\": {\"dp\": 1048576}"), "");
  EXPECT_NE(text({0, 17, 1}, "\"mesh\": {\"dp\": 1048576}").find("more than 16777216 samples"), std::string::npos);
  EXPECT_NE(text({0, most, most}, "\"mesh\": {\"dp\": 65536}").find("more than 16777216 samples"), std::string::npos);   // 2^64
  EXPECT_NE(text({8, most, most}, "\"mesh\": {\"dp\": 65536}").find("(8) is no multiple of"), std::string::npos);        // 2^64
  EXPECT_NE(text({8, most, most}, "\"mesh\": {\"dp\": 32768}").find("(8) is no multiple of"), std::string::npos);        // 2^63
  EXPECT_EQ(text({1 << 20, 1, 1}, ""), "");
  EXPECT_NE(text({1 << 21, 1, 1}, "").find("needs 2097152 data ranks, at most 1048576 are possible"), std::string::npos);
}

TEST(DeepSpeedBatchTest, Betas) {
  auto problemsOf = [](const std::string &betas) {
    ParsedRecipe parsed = parseRecipe(llvm::MemoryBufferRef("{\"train_batch_size\": 8, \"optimizer\": {\"type\": \"AdamW\", \"params\": {\"betas\": " + betas + "}}}", "ds.json"));
    return parsed.problems.empty() ? std::string() : parsed.problems[0].text();
  };
  EXPECT_EQ(problemsOf("[0, 0.9999999]"), "");
  for (const char *betas : {"[0.9]", "[0.9, 0.99, 0.999]", "0.9", "{}"})
    EXPECT_NE(problemsOf(betas).find("`optimizer.params.betas` must be a list of two numbers, got "), std::string::npos) << betas;
  EXPECT_NE(problemsOf("[]").find("\"betas\": [0.9, 0.999]"), std::string::npos);
  EXPECT_NE(problemsOf("[0.9, 1]").find("at most 1"), std::string::npos);
  EXPECT_NE(problemsOf("[-0.1, 0.9]").find("at least 0"), std::string::npos);
}

} // namespace
} // namespace llmc::recipe
