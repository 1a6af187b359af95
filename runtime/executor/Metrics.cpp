//===- Metrics.cpp - what a run reports -----------------------------------===//
#include "runtime/executor/Metrics.h"
#include "runtime/support/File.h"
#include <cerrno>
#include <cmath>
#include <cstring>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sys/resource.h>
#include <unistd.h>

namespace llmc::runtime {

static std::string withCommas(uint64_t value) {
  std::string digits = std::to_string(value), text;
  for (size_t i = 0; i < digits.size(); ++i) {
    if (i > 0 && (digits.size() - i) % 3 == 0)
      text += ',';
    text += digits[i];
  }
  return text;
}

std::string formatProgress(const StepReport &report) {
  char text[256];
  double gibibytes = static_cast<double>(report.memoryBytes) / 1073741824.0;
  double share = report.memoryTotal ? 100.0 * static_cast<double>(report.memoryBytes) / static_cast<double>(report.memoryTotal) : 0;
  double mfu = report.peakFlopsPerSecond > 0 ? 100.0 * report.flopsPerSecond / report.peakFlopsPerSecond : 0;
  std::snprintf(text, sizeof(text),
                "step: %2llu  loss: %7.5f  grad_norm: %7.4f  memory: %5.2fGiB(%.2f%%)  tps: %s  tflops: %.2f  mfu: %.1f%%",
                static_cast<unsigned long long>(report.step), report.loss, report.gradNorm, gibibytes, share,
                withCommas(static_cast<uint64_t>(std::llround(report.tokensPerSecond))).c_str(),
                report.flopsPerSecond / 1e12, mfu);
  return text;
}

/// 17 digits; null if not finite, which JSON has no number for.
static std::string number(double value) {
  if (!std::isfinite(value))
    return "null";
  char text[40];
  std::snprintf(text, sizeof(text), "%.17g", value);
  return text;
}

static std::string linesUpTo(const std::string &path, uint64_t step) {
  std::ifstream stream(path);
  std::string kept;
  for (std::string line; std::getline(stream, line);) {
    nlohmann::json entry = nlohmann::json::parse(line, nullptr, /*allow_exceptions=*/false);
    if (entry.is_object() && entry.contains("step") && entry["step"].is_number_unsigned() &&
        entry["step"].get<uint64_t>() <= step)
      kept += line + "\n";
  }
  return kept;
}

Result<std::unique_ptr<MetricsFile>> MetricsFile::open(const std::string &path, uint64_t keepSteps) {
  // Whole or not at all: a run killed here must find the lines again.
  if (keepSteps > 0) {
    auto kept = DurableFile::create(path);
    if (!kept.ok())
      return kept.status();
    if (Status status = (*kept)->write(linesUpTo(path, keepSteps)); !status.ok())
      return status;
    if (Status status = (*kept)->commit(); !status.ok())
      return status;
  }
  std::unique_ptr<MetricsFile> metrics(new MetricsFile);
  metrics->file = std::fopen(path.c_str(), keepSteps > 0 ? "a" : "w");
  if (!metrics->file)
    return Status::badInput("cannot write '" + path + "': " + std::strerror(errno));
  return metrics;
}

MetricsFile::~MetricsFile() {
  if (file)
    std::fclose(file);
}

void MetricsFile::addStep(const StepReport &report) {
  std::fprintf(file,
               "{\"step\": %llu, \"loss\": %s, \"grad_norm\": %s, \"lr\": %s, \"tokens_per_s\": %s, "
               "\"memory_bytes\": %llu, \"seconds\": %s, \"tflops\": %s}\n",
               static_cast<unsigned long long>(report.step), number(report.loss).c_str(), number(report.gradNorm).c_str(),
               number(report.lr).c_str(), number(report.tokensPerSecond).c_str(),
               static_cast<unsigned long long>(report.memoryBytes), number(report.seconds).c_str(),
               number(report.flopsPerSecond / 1e12).c_str());
  std::fflush(file);
}

void MetricsFile::addEvaluation(uint64_t step, double loss) {
  std::fprintf(file, "{\"step\": %llu, \"eval_loss\": %s}\n", static_cast<unsigned long long>(step), number(loss).c_str());
  std::fflush(file);
}

uint64_t peakResidentBytes() {
  struct rusage usage;
  return ::getrusage(RUSAGE_SELF, &usage) == 0 ? static_cast<uint64_t>(usage.ru_maxrss) * 1024 : 0;
}

uint64_t machineMemoryBytes() {
  return static_cast<uint64_t>(::sysconf(_SC_PHYS_PAGES)) * static_cast<uint64_t>(::sysconf(_SC_PAGESIZE));
}

} // namespace llmc::runtime
