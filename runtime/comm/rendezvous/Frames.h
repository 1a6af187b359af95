//===- Frames.h - short messages over a socket, with a deadline -*- C++ -*-===//
#ifndef LLMC_RUNTIME_COMM_RENDEZVOUS_FRAMES_H
#define LLMC_RUNTIME_COMM_RENDEZVOUS_FRAMES_H

#include "runtime/support/Status.h"
#include <atomic>
#include <chrono>
#include <string>

namespace llmc::runtime {

using Clock = std::chrono::steady_clock;

/// Until when to wait: to `end`; or, if the job is told to end, to `grace` after that.
struct Until {
  Until(Clock::time_point end) : end(end) {}
  Until(Clock::time_point end, const std::atomic<Clock::time_point> *told, std::chrono::milliseconds grace)
      : end(end), told(told), grace(grace) {}

  bool passed() const;
  /// For poll(2): at least 0, rounded up; short where the job may be told to end.
  int milliseconds() const;

  Clock::time_point end;
  const std::atomic<Clock::time_point> *told = nullptr; // as WorldOptions::told
  std::chrono::milliseconds grace{0};
};

/// Gone: the other end has closed the connection, or sends what is no frame.
enum class Outcome { Done, Late, Gone };

/// A code (0: no error), a length, and as many bytes. Numbers are in the machine's byte order.
struct Frame {
  static constexpr uint32_t kLeaves = 0x100; // added to the code: the last one of a rank
  uint32_t code = 0, bytes = 0;

  StatusCode status() const { return static_cast<StatusCode>(code & 0xFF); }
};

/// Waits for `events` of poll(2); also when there is an error to read.
bool ready(int socket, short events, Until end);
Outcome writeAll(int socket, const void *memory, size_t bytes, Until end);
Outcome writeFrame(int socket, StatusCode code, const std::string &text, Until end);
/// The last one.
Outcome writeLeave(int socket, const Status &reason, Until end);
/// At most 64 MiB.
Outcome readFrame(int socket, Frame &frame, std::string &text, Until end);

} // namespace llmc::runtime

#endif // LLMC_RUNTIME_COMM_RENDEZVOUS_FRAMES_H
