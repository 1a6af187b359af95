//===- Metrics.cpp - what a run reports -----------------------------------===//
#include "runtime/executor/Metrics.h"
#include "runtime/support/File.h"
#include <algorithm>
#include <cerrno>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <optional>
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

/// The lines of steps up to `step`; nothing if the file holds other things than metrics. A last line that was cut off counts
/// as not there.
static std::optional<std::string> linesUpTo(const std::string &path, uint64_t step) {
  std::ifstream stream(path);
  std::string kept;
  for (std::string line; std::getline(stream, line);) {
    nlohmann::json entry = nlohmann::json::parse(line, nullptr, /*allow_exceptions=*/false);
    if (!entry.is_object() || !entry.contains("step") || !entry["step"].is_number_unsigned()) {
      if (stream.peek() == std::ifstream::traits_type::eof() && line.starts_with("{\"step\""))
        break;
      return std::nullopt;
    }
    if (entry["step"].get<uint64_t>() <= step)
      kept += line + "\n";
  }
  return kept;
}

Result<std::unique_ptr<MetricsFile>> MetricsFile::open(const std::string &path, const MetricsStart &start) {
  std::error_code error;
  bool isOld = std::filesystem::is_regular_file(path, error) && std::filesystem::file_size(path, error) > 0;
  if (isOld && !start.overwrite && !start.resume)
    return Status::wrongUse("'" + path + "' holds metrics of another run, or something else",
                            "name another file with --metrics, or write over this one with --overwrite");
  if (isOld && start.resume) {
    std::optional<std::string> kept = linesUpTo(path, start.keepSteps);
    if (!kept && !start.overwrite)
      return Status::wrongUse("'" + path + "' holds other things than metrics",
                              "name another file with --metrics, or write over this one with --overwrite");
    auto file = DurableFile::create(path); // whole or not at all: a run killed here must find the lines again
    if (!file.ok())
      return file.status();
    if (Status status = (*file)->write(kept.value_or("")); !status.ok())
      return status;
    if (Status status = (*file)->commit(); !status.ok())
      return status;
  }
  std::unique_ptr<MetricsFile> metrics(new MetricsFile);
  metrics->name = path;
  metrics->file = std::fopen(path.c_str(), start.resume ? "ae" : "we");
  if (!metrics->file)
    return Status::badInput("cannot write '" + path + "': " + std::strerror(errno));
  return metrics;
}

MetricsFile::~MetricsFile() {
  if (file)
    std::fclose(file);
}

Status MetricsFile::add(const std::string &line) {
  if (std::fputs(line.c_str(), file) < 0 || std::fflush(file) != 0)
    return Status::badInput("cannot write '" + name + "': " + std::strerror(errno));
  return Status::success();
}

Status MetricsFile::addStep(const StepReport &report) {
  return add("{\"step\": " + std::to_string(report.step) + ", \"loss\": " + number(report.loss) + ", \"grad_norm\": " +
             number(report.gradNorm) + ", \"lr\": " + number(report.lr) + ", \"tokens_per_s\": " +
             number(report.tokensPerSecond) + ", \"memory_bytes\": " + std::to_string(report.memoryBytes) +
             ", \"seconds\": " + number(report.seconds) + ", \"tflops\": " + number(report.flopsPerSecond / 1e12) + "}\n");
}

Status MetricsFile::addEvaluation(uint64_t step, double loss) {
  return add("{\"step\": " + std::to_string(step) + ", \"eval_loss\": " + number(loss) + "}\n");
}

uint64_t peakResidentBytes() {
  struct rusage usage;
  return ::getrusage(RUSAGE_SELF, &usage) == 0 ? static_cast<uint64_t>(usage.ru_maxrss) * 1024 : 0;
}

uint64_t machineMemoryBytes() {
  return static_cast<uint64_t>(::sysconf(_SC_PHYS_PAGES)) * static_cast<uint64_t>(::sysconf(_SC_PAGESIZE));
}

uint64_t usableMemoryBytes() {
  uint64_t all = machineMemoryBytes(), limit = 0;
  for (const char *file : {"/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"})
    if (std::ifstream stream(file); stream >> limit && limit > 0)
      return std::min(all, limit);
  return all;
}

} // namespace llmc::runtime
