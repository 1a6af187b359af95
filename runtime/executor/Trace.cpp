//===- Trace.cpp - when each instruction ran ------------------------------===//
#include "runtime/executor/Trace.h"
#include "runtime/executor/Executor.h"
#include "runtime/plan/Tables.h"
#include <algorithm>
#include <chrono>
#include <nlohmann/json.hpp>

namespace llmc::runtime {

int64_t nowNanoseconds() {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

static nlohmann::json eventOf(const fb::Segment &segment, const fb::Instruction &instruction, const Trace::Event &event,
                               int64_t origin) {
  double nanoseconds = static_cast<double>(event.end - event.begin);
  nlohmann::json arguments = {{"origin", textOf(instruction.origin())}, {"predicted_ns", instruction.predicted_ns()}};
  if (instruction.flops() && nanoseconds > 0)
    arguments["gflops_per_s"] = static_cast<double>(instruction.flops()) / nanoseconds;
  if (instruction.bytes() && nanoseconds > 0)
    arguments["gbytes_per_s"] = static_cast<double>(instruction.bytes()) / nanoseconds;
  return {{"name", textOf(instruction.name())},
          {"cat", textOf(segment.name())},
          {"ph", "X"},
          {"pid", 0},
          {"tid", 0},
          {"ts", static_cast<double>(event.begin - origin) / 1e3},
          {"dur", nanoseconds / 1e3},
          {"args", std::move(arguments)}};
}

Status Executor::writeTrace(const Trace &trace, const std::string &path) const {
  auto file = DurableFile::create(path);
  if (!file.ok())
    return file.status();
  int64_t origin = trace.all().empty() ? 0 : trace.all().front().begin;
  std::string text = "{\"displayTimeUnit\":\"ns\",\"traceEvents\":[\n";
  for (size_t i = 0; i < trace.all().size(); ++i) {
    const Trace::Event &event = trace.all()[i];
    const fb::Segment &segment = *rankProgram->segments()->Get(event.segment);
    nlohmann::json entry = eventOf(segment, *segment.instructions()->Get(event.instruction), event, origin);
    text += entry.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
    text += i + 1 < trace.all().size() ? ",\n" : "\n";
    if (text.size() > (1u << 20)) {
      if (Status status = (*file)->write(text); !status.ok())
        return status;
      text.clear();
    }
  }
  if (Status status = (*file)->write(text + "]}\n"); !status.ok())
    return status;
  return (*file)->commit();
}

Status Executor::writeProfile(const std::string &path) const {
  nlohmann::json segments = nlohmann::json::object();
  for (uint32_t i = 0; i < measured.size(); ++i) {
    bool hasRun = std::any_of(measured[i].begin(), measured[i].end(), [](const InstructionTime &time) { return time.runs > 0; });
    if (!hasRun)
      continue;
    nlohmann::json times = nlohmann::json::array();
    for (const InstructionTime &time : measured[i])
      times.push_back(time.mean());
    segments[rankProgram->segments()->Get(i)->name()->str()] = std::move(times);
  }
  nlohmann::json sent = nlohmann::json::object();
  std::vector<std::vector<uint64_t>> bytes = sentBytes();
  for (uint32_t i = 0; i < bytes.size(); ++i)
    for (uint32_t j = 0; j < bytes[i].size(); ++j)
      if (bytes[i][j] > 0)
        sent[rankProgram->segments()->Get(i)->name()->str()][std::to_string(j)] = {{"runs", measured[i][j].runs}, {"bytes", bytes[i][j]}};
  nlohmann::json root = {{"plan", planFile->digest()}, {"threads", pool.threads()}, {"rank", ownRank}, {"segments", std::move(segments)}, {"sent", std::move(sent)}};
  auto file = DurableFile::create(path);
  if (!file.ok())
    return file.status();
  if (Status status = (*file)->write(root.dump(1) + "\n"); !status.ok())
    return status;
  return (*file)->commit();
}

} // namespace llmc::runtime
