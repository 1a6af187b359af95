//===- Metrics.h - what a run reports ---------------------------*- C++ -*-===//
#ifndef LLMC_RUNTIME_EXECUTOR_METRICS_H
#define LLMC_RUNTIME_EXECUTOR_METRICS_H

#include "runtime/support/Status.h"
#include <cstdint>
#include <cstdio>
#include <memory>
#include <string>

namespace llmc::runtime {

struct StepReport {
  uint64_t step = 0; // from 1
  double loss = 0, gradNorm = 0, lr = 0;
  double seconds = 0, tokensPerSecond = 0;
  double flopsPerSecond = 0, peakFlopsPerSecond = 0; // peak 0: unknown
  uint64_t memoryBytes = 0, memoryTotal = 0;         // peak resident, and what the machine has
};

/// torchtitan's line, without its colours.
std::string formatProgress(const StepReport &report);

/// Lines of JSON, one object per step or evaluation; each line is in the file when the call returns.
class MetricsFile {
public:
  /// Starts an empty file, or, if `keepSteps` > 0, keeps the lines of steps up to that one (a resumed run).
  static Result<std::unique_ptr<MetricsFile>> open(const std::string &path, uint64_t keepSteps);
  ~MetricsFile();
  MetricsFile(const MetricsFile &) = delete;
  MetricsFile &operator=(const MetricsFile &) = delete;

  void addStep(const StepReport &report);
  void addEvaluation(uint64_t step, double loss);

private:
  MetricsFile() = default;
  std::FILE *file = nullptr;
};

/// Peak resident memory of this process, and memory of the machine, in bytes.
uint64_t peakResidentBytes();
uint64_t machineMemoryBytes();

} // namespace llmc::runtime

#endif // LLMC_RUNTIME_EXECUTOR_METRICS_H
