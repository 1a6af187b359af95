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

/// What becomes of the lines that a file of metrics has.
struct MetricsStart {
  bool overwrite = false; // they go
  bool resume = false;    // they stay, up to those of step `keepSteps`: later ones come again
  uint64_t keepSteps = 0;
};

/// Lines of JSON, one object per step or evaluation; each line is in the file when the call returns.
class MetricsFile {
public:
  /// Errors: WrongUse if the file has something in it, and is neither to be overwritten nor that of the run that is resumed;
  /// BadInput if it cannot be written.
  static Result<std::unique_ptr<MetricsFile>> open(const std::string &path, const MetricsStart &start);
  ~MetricsFile();
  MetricsFile(const MetricsFile &) = delete;
  MetricsFile &operator=(const MetricsFile &) = delete;

  /// Errors: BadInput if the line cannot be written, as on a full disk.
  Status addStep(const StepReport &report);
  Status addEvaluation(uint64_t step, double loss);

private:
  MetricsFile() = default;
  Status add(const std::string &line);
  std::string name;
  std::FILE *file = nullptr;
};

/// Peak resident memory of this process, and memory of the machine, in bytes.
uint64_t peakResidentBytes();
uint64_t machineMemoryBytes();
/// Memory that this process may use: the machine's, or what a container is limited to.
uint64_t usableMemoryBytes();

} // namespace llmc::runtime

#endif // LLMC_RUNTIME_EXECUTOR_METRICS_H
