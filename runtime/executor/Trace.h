//===- Trace.h - when each instruction ran ----------------------*- C++ -*-===//
#ifndef LLMC_RUNTIME_EXECUTOR_TRACE_H
#define LLMC_RUNTIME_EXECUTOR_TRACE_H

#include "runtime/support/Status.h"
#include <cstdint>
#include <string>
#include <vector>

namespace llmc::runtime {

/// Nanoseconds of the steady clock.
int64_t nowNanoseconds();

/// Events of a run, for chrome://tracing and Perfetto.
class Trace {
public:
  struct Event {
    uint32_t segment, instruction;
    int64_t begin, end; // nanoseconds
  };
  void add(const Event &event) {
    if (events.size() < kLimit)
      events.push_back(event);
  }
  const std::vector<Event> &all() const { return events; }

private:
  static constexpr size_t kLimit = 2'000'000;
  std::vector<Event> events;
};

} // namespace llmc::runtime

#endif // LLMC_RUNTIME_EXECUTOR_TRACE_H
