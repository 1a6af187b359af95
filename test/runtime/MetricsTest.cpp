//===- MetricsTest.cpp - the lines that a run prints and writes ------===//
#include "runtime/executor/Metrics.h"
#include <cmath>
#include <filesystem>
#include <fstream>
#include <gtest/gtest.h>
#include <sstream>
#include <unistd.h>

namespace llmc::runtime {
namespace {

StepReport report() {
  StepReport r;
  r.step = 7;
  r.loss = 3.141592653589793;
  r.gradNorm = 0.5;
  r.lr = 3e-4;
  r.seconds = 0.25;
  r.tokensPerSecond = 1234567.4;
  r.flopsPerSecond = 2.5e12;
  r.peakFlopsPerSecond = 1e13;
  r.memoryBytes = uint64_t(3) << 29; // 1.5 GiB
  r.memoryTotal = uint64_t(6) << 30;
  return r;
}

TEST(MetricsTest, Progress) {
  StepReport r = report();
  EXPECT_EQ(formatProgress(r), "step:  7  loss: 3.14159  grad_norm:  0.5000  memory:  1.50GiB(25.00%)  tps: 1,234,567  tflops: 2.50  mfu: 25.0%");
  r.peakFlopsPerSecond = 0; // unknown, as is the memory of some machines
  r.memoryTotal = 0;
  for (auto [tokens, text] : {std::pair(0.0, "0"), {1.5, "2"}, {999.4, "999"}, {999.5, "1,000"}, {123456.0, "123,456"}, {1e9, "1,000,000,000"}}) {
    r.tokensPerSecond = tokens;
    EXPECT_EQ(formatProgress(r), std::string("step:  7  loss: 3.14159  grad_norm:  0.5000  memory:  1.50GiB(0.00%)  tps: ") + text + "  tflops: 2.50  mfu: 0.0%");
  }
}

// 17 digits give every double back; what is no number is null.
TEST(MetricsTest, Lines) {
  std::string path = testing::TempDir() + "metrics-" + std::to_string(::getpid()) + ".jsonl";
  std::filesystem::remove(path);
  {
    auto file = MetricsFile::open(path, {});
    ASSERT_TRUE(file.ok()) << file.status().message;
    ASSERT_TRUE((*file)->addStep(report()).ok());
    ASSERT_TRUE((*file)->addEvaluation(7, 0.1).ok());
    StepReport bad = report();
    bad.loss = NAN;
    bad.gradNorm = INFINITY;
    ASSERT_TRUE((*file)->addStep(bad).ok());
    std::ifstream stream(path); // each line is there when the call returns
    std::stringstream text;
    text << stream.rdbuf();
    std::string rest = ", \"lr\": 0.00029999999999999997, \"tokens_per_s\": 1234567.3999999999, \"memory_bytes\": 1610612736, \"seconds\": 0.25, \"tflops\": 2.5}\n";
    EXPECT_EQ(text.str(), "{\"step\": 7, \"loss\": 3.1415926535897931, \"grad_norm\": 0.5" + rest + "{\"step\": 7, \"eval_loss\": 0.10000000000000001}\n" +
                              "{\"step\": 7, \"loss\": null, \"grad_norm\": null" + rest);
  }
  std::filesystem::remove(path);
}

TEST(MetricsTest, Memory) {
  EXPECT_GT(peakResidentBytes(), uint64_t(1) << 20);
  EXPECT_LT(peakResidentBytes(), machineMemoryBytes());
  std::vector<char> touched(size_t(256) << 20, 1);
  EXPECT_GE(peakResidentBytes(), touched.size());
  EXPECT_LE(usableMemoryBytes(), machineMemoryBytes());
  EXPECT_GT(usableMemoryBytes(), uint64_t(1) << 28);
}

} // namespace
} // namespace llmc::runtime
