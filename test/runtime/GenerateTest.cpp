//===- GenerateTest.cpp - how often which id is drawn ---------------------===//
//
// The tiny plan's logits are a row of its weight, the same for all ids here: each new id is a draw of its own from known logits.
// Draws are fixed by the seed. Frequencies are judged by Pearson's statistic, which exceeds `kSurprise` once in 100,000 seeds.
//
//===----------------------------------------------------------------------===//
#include "runtime/executor/Generate.h"
#include "test/runtime/TinyPlan.h"
#include <algorithm>
#include <array>
#include <cmath>

using namespace llmc::runtime;
using namespace llmc::test;

namespace {

constexpr size_t kIds = 8;
constexpr double kSurprise = 36.0; // 7 degrees of freedom
using Row = std::array<float, kIds>;

class Drawing : public ::testing::Test {
protected:
  void SetUp() override {
    writeTinyPlan(tinyPlan(), folder / "m.plan");
    auto plan = PlanFile::read(folder / "m.plan");
    ASSERT_TRUE(plan.ok());
    auto made = Executor::create(*plan, 0, pool);
    ASSERT_TRUE(made.ok());
    executor = std::move(*made);
  }
  std::vector<int64_t> draw(const Row &logits, double temperature, uint64_t count, uint64_t seed = 1) {
    for (size_t row = 0; row < kIds; ++row)
      std::copy(logits.begin(), logits.end(), reinterpret_cast<float *>(executor->data(Weight)) + row * kIds);
    std::vector<int64_t> ids;
    Status status = generate(*executor, {{0}, count, temperature, seed}, [&](int64_t id) { return ids.push_back(id), true; });
    EXPECT_TRUE(status.ok()) << status.message;
    EXPECT_EQ(ids.size(), count);
    return ids;
  }
  static Row softmax(const Row &logits, double temperature) {
    double largest = *std::max_element(logits.begin(), logits.end()), sum = 0;
    Row shares;
    for (float logit : logits)
      sum += std::exp((logit - largest) / temperature);
    for (size_t i = 0; i < kIds; ++i)
      shares[i] = static_cast<float>(std::exp((logits[i] - largest) / temperature) / sum);
    return shares;
  }
  /// Pearson's statistic of `ids` against `shares`; infinity if an id without a share is drawn.
  static double surprise(const std::vector<int64_t> &ids, const Row &shares) {
    double total = 0;
    for (size_t i = 0; i < kIds; ++i) {
      double expected = shares[i] * static_cast<double>(ids.size());
      auto seen = static_cast<double>(std::count(ids.begin(), ids.end(), static_cast<int64_t>(i)));
      total += expected > 0 ? (seen - expected) * (seen - expected) / expected : seen > 0 ? INFINITY : 0;
    }
    return total;
  }
  TemporaryFolder folder;
  ThreadPool pool{1, GemmLibrary::initializeThread};
  std::unique_ptr<Executor> executor;
};

const Row kLogits = {0.5f, -1.0f, 2.0f, 0.0f, 1.5f, -0.5f, 1.0f, 0.25f};

TEST_F(Drawing, FollowsTheSoftmaxOfTheScaledLogits) {
  for (double temperature : {0.5, 1.0, 2.0, 10.0}) {
    std::vector<int64_t> ids = draw(kLogits, temperature, 12'000);
    EXPECT_LT(surprise(ids, softmax(kLogits, temperature)), kSurprise) << temperature;
    if (temperature == 10) // too even to be told from its neighbours
      continue;
    for (double other : {temperature / 1.3, temperature * 1.3})
      EXPECT_GT(surprise(ids, softmax(kLogits, other)), kSurprise) << temperature << " taken for " << other;
  }
}

// A number added to all logits changes nothing, however large.
TEST_F(Drawing, OnlyDifferencesOfLogitsCount) {
  for (float shift : {-1000.0f, 1000.0f}) {
    Row shifted = kLogits;
    for (float &logit : shifted)
      logit += shift;
    EXPECT_EQ(draw(shifted, 1, 2000), draw(kLogits, 1, 2000)) << shift;
  }
}

TEST_F(Drawing, GreatHeatIsUniform) {
  Row uniform;
  uniform.fill(1.0f / kIds);
  for (double temperature : {1e4, 1e30, 1e300})
    EXPECT_LT(surprise(draw(kLogits, temperature, 12'000), uniform), kSurprise) << temperature;
}

TEST_F(Drawing, WithoutHeatTheLargestIsTaken) {
  for (size_t largest = 0; largest < kIds; ++largest) {
    Row logits = kLogits;
    logits[largest] = 2.5f;
    for (double temperature : {0.0, 1e-300, 1e-6, 1e-2})
      EXPECT_EQ(draw(logits, temperature, 200), std::vector<int64_t>(200, static_cast<int64_t>(largest))) << temperature;
  }
}

TEST_F(Drawing, OfEqualLogitsTheFirstIsTakenOrAllAreDrawn) {
  Row tied = {0, 3, 1, 3, 2, 3, -1, 0}, thirds = {0, 1 / 3.f, 0, 1 / 3.f, 0, 1 / 3.f, 0, 0};
  EXPECT_EQ(draw(tied, 0, 100), std::vector<int64_t>(100, 1));
  EXPECT_LT(surprise(draw(tied, 1e-3, 6000), thirds), kSurprise);
  Row equal;
  equal.fill(-7.0f);
  EXPECT_EQ(draw(equal, 0, 100), std::vector<int64_t>(100, 0));
  EXPECT_LT(surprise(draw(equal, 1, 12'000), softmax(equal, 1)), kSurprise);
}

// Logits so small that their share is zero, at either end.
TEST_F(Drawing, TheImpossibleIsNotDrawn) {
  Row logits = {-1e30f, 0, 0, -1e30f, 0, 0, 0, -1e30f}, fifths = {0, 0.2f, 0.2f, 0, 0.2f, 0.2f, 0.2f, 0};
  EXPECT_LT(surprise(draw(logits, 1, 12'000), fifths), kSurprise);
}

TEST_F(Drawing, DrawsAreOfTheSeedAndThePlace) {
  std::vector<int64_t> ids = draw(kLogits, 1, 500, 5), again = draw(kLogits, 1, 500, 5), fewer = draw(kLogits, 1, 100, 5);
  EXPECT_EQ(ids, again);
  EXPECT_TRUE(std::equal(fewer.begin(), fewer.end(), ids.begin()));
  std::vector<int64_t> other = draw(kLogits, 1, 500, 6);
  int same = 0;
  for (size_t i = 0; i < ids.size(); ++i)
    same += ids[i] == other[i];
  EXPECT_LT(same, 250); // about a quarter by chance
}

// Ids that follow each other are independent: pairs have the product of the shares.
TEST_F(Drawing, NeighboursAreIndependent) {
  Row equal;
  equal.fill(0.0f);
  std::vector<int64_t> ids = draw(equal, 1, 32'001);
  std::array<int, kIds * kIds> pairs{};
  for (size_t i = 0; i + 1 < ids.size(); ++i)
    ++pairs[static_cast<size_t>(ids[i]) * kIds + static_cast<size_t>(ids[i + 1])];
  double total = 0;
  for (int seen : pairs)
    total += (seen - 500.0) * (seen - 500.0) / 500.0;
  EXPECT_LT(total, 125.0); // 63 degrees of freedom
}

TEST(Prompts, ListsOfIdsAndBytes) {
  auto ids = [](const char *prompt, uint64_t vocabulary) {
    auto parsed = parsePrompt(prompt, vocabulary);
    EXPECT_TRUE(parsed.ok()) << prompt << ": " << parsed.status().message;
    return parsed.ok() ? *parsed : std::vector<int64_t>();
  };
  using Ids = std::vector<int64_t>;
  EXPECT_EQ(ids("ids:1,22,333", 8), (Ids{1, 22, 333})); // whether the model has them is not known here
  EXPECT_EQ(ids("ids:0", 256), Ids{0});
  EXPECT_EQ(ids("ids:", 256), Ids{});
  EXPECT_EQ(ids("a\xff", 256), (Ids{97, 255}));
  EXPECT_EQ(ids("bytes:a:b", 256), (Ids{97, 58, 98}));
  EXPECT_EQ(ids("bytes:ids:1", 257), (Ids{105, 100, 115, 58, 49}));
  EXPECT_EQ(ids("bytes:", 256), Ids{});
  for (const char *prompt : {"ids:1,", "ids:,1", "ids:1,,2", "ids:-1", "ids:1 2", "ids: 1", "ids:1;2", "ids:x", "ids:99999999999999999999", "ids:1.5"}) {
    auto parsed = parsePrompt(prompt, 256);
    ASSERT_FALSE(parsed.ok()) << prompt;
    EXPECT_EQ(parsed.status().code, StatusCode::WrongUse);
    EXPECT_EQ(parsed.status().message, std::string("the prompt is no list of ids: '") + prompt + "'");
  }
  for (auto [prompt, vocabulary, hint] : {std::tuple("a", 255, "give the prompt as ids:1,2,3"), std::tuple("bytes:a", 255, "give the prompt as ids:1,2,3"),
                                          std::tuple("a", 257, "give the prompt as ids:1,2,3, or as bytes:TEXT if the first 256 ids are bytes")}) {
    auto parsed = parsePrompt(prompt, vocabulary);
    ASSERT_FALSE(parsed.ok()) << prompt << vocabulary;
    EXPECT_EQ(parsed.status().message, "the model's tokens are not bytes: its vocabulary has " + std::to_string(vocabulary) + " ids");
    EXPECT_EQ(parsed.status().hint, hint);
  }
}

TEST_F(Drawing, OnlyIdsOfTheModelAreTaken) {
  auto attempt = [&](std::vector<int64_t> prompt) {
    Status first = generate(*executor, {prompt, 1, 0, 1}, [](int64_t) { return true; });
    Status second = saveLogits(*executor, prompt, folder / "l.safetensors");
    EXPECT_EQ(first.message, second.message);
    return first;
  };
  EXPECT_TRUE(attempt({0, kIds - 1}).ok());
  EXPECT_EQ(attempt({0, kIds}).message, "the prompt's id 8 is outside the model's vocabulary");
  EXPECT_EQ(attempt({-1}).code, StatusCode::BadInput);
  EXPECT_EQ(attempt({}).message, "the prompt is empty");
}

TEST_F(Drawing, EndsWhenItIsToldTo) {
  int count = 0;
  EXPECT_TRUE(generate(*executor, {{0}, 5, 0, 1}, [&](int64_t) { return ++count < 3; }).ok());
  EXPECT_EQ(count, 3);
}

} // namespace
