//===- Frames.h - short messages over a socket, with a deadline -*- C++ -*-===//
#ifndef LLMC_RUNTIME_COMM_GLOO_FRAMES_H
#define LLMC_RUNTIME_COMM_GLOO_FRAMES_H

#include "runtime/support/Status.h"
#include <chrono>
#include <string>

namespace llmc::runtime {

using Clock = std::chrono::steady_clock;

/// Gone: the other end has closed the connection, or sends what is no frame.
enum class Outcome { Done, Late, Gone };

/// A code (0: no error), a length, and as many bytes. Numbers are in the machine's byte order.
struct Frame {
  uint32_t code = 0, bytes = 0;
};

/// For poll(2): at least 0, rounded up.
int millisecondsUntil(Clock::time_point end);
/// Waits for `events` of poll(2); also when there is an error to read.
bool ready(int socket, short events, Clock::time_point end);
Outcome writeAll(int socket, const void *memory, size_t bytes, Clock::time_point end);
Outcome writeFrame(int socket, StatusCode code, const std::string &text, Clock::time_point end);
/// At most 64 MiB.
Outcome readFrame(int socket, Frame &frame, std::string &text, Clock::time_point end);
/// What `outcome`, which is not Done, says of the rank at the other end.
Status describeLoss(Outcome outcome, unsigned rank, std::chrono::milliseconds deadline);

} // namespace llmc::runtime

#endif // LLMC_RUNTIME_COMM_GLOO_FRAMES_H
