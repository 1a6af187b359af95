//===- TinyPlan.h - a small plan that really trains -------------*- C++ -*-===//
//
// A bigram model: 8 ids, windows of 4, 2 samples a micro-batch, 2 micro-batches a step, SGD with momentum. It has every
// segment and every instruction kind that the runtime executes. Tests alter the object form and write it to a file.
//
//===----------------------------------------------------------------------===//
#ifndef LLMC_TEST_RUNTIME_TINYPLAN_H
#define LLMC_TEST_RUNTIME_TINYPLAN_H

#include "runtime/plan/PlanFile.h"
#include <gtest/gtest.h>
#include <string>
#include <vector>

namespace llmc::test {

namespace fb = llmc::plan::fb;

/// Order of the buffers in the plan.
enum TinyBuffer {
  Weight, Momentum, Gradient, LossSum, StepCount, LearningRate, // State
  Ids, Labels, PredictIds,                                      // Input
  Onehot, Logits, LogitsGradient,                               // Scratch of accumulate; the last is an alias
  EvalOnehot, EvalLogits, PredictOnehot, PredictScratch,        // Scratch of evaluate and predict
  OutLoss, OutNorm, OutRate, OutSum, OutWeight, OutLogits       // Output
};
enum TinySegment { Accumulate, Update, Evaluate, Predict };

/// A valid plan.
fb::PlanT tinyPlan();

/// FlatBuffer bytes of `plan`.
std::vector<uint8_t> pack(const fb::PlanT &plan);
/// The kernels' shared object.
std::vector<uint8_t> tinyKernels();
/// Writes `plan` with its kernels. The test fails if that fails.
void writeTinyPlan(const fb::PlanT &plan, const std::string &path);

/// A fresh empty folder, removed by the destructor.
class TemporaryFolder {
public:
  TemporaryFolder();
  ~TemporaryFolder();
  std::string operator/(const std::string &name) const { return path + "/" + name; }
  std::string path;
};

std::vector<uint8_t> readBytes(const std::string &path);
void writeBytes(const std::string &path, const std::vector<uint8_t> &bytes);
/// Writes ids below `limit` as a .u16 file.
void writeTokens(const std::string &path, size_t count, unsigned limit = 8);

} // namespace llmc::test

#endif // LLMC_TEST_RUNTIME_TINYPLAN_H
