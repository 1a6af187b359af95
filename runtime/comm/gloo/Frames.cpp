//===- Frames.cpp - short messages over a socket, with a deadline ---------===//
#include "runtime/comm/gloo/Frames.h"
#include "runtime/comm/Failure.h"
#include <algorithm>
#include <cerrno>
#include <poll.h>
#include <sys/socket.h>

namespace llmc::runtime {

constexpr uint32_t kFrameBytes = 64u << 20;

int millisecondsUntil(Clock::time_point end) {
  auto left = std::chrono::duration_cast<std::chrono::milliseconds>(end - Clock::now()).count();
  return static_cast<int>(std::clamp<int64_t>(left + 1, 0, 1 << 30));
}

bool ready(int socket, short events, Clock::time_point end) {
  pollfd waiting{socket, events, 0};
  int count;
  do
    count = Clock::now() < end ? ::poll(&waiting, 1, millisecondsUntil(end)) : 0;
  while (count < 0 && errno == EINTR);
  return count > 0;
}

static Outcome readAll(int socket, void *memory, size_t bytes, Clock::time_point end) {
  for (char *place = static_cast<char *>(memory); bytes > 0;) {
    if (!ready(socket, POLLIN, end))
      return Outcome::Late;
    ssize_t count = ::recv(socket, place, bytes, 0);
    if (count == 0 || (count < 0 && errno != EINTR && errno != EAGAIN))
      return Outcome::Gone;
    place += std::max<ssize_t>(count, 0);
    bytes -= static_cast<size_t>(std::max<ssize_t>(count, 0));
  }
  return Outcome::Done;
}

Outcome writeAll(int socket, const void *memory, size_t bytes, Clock::time_point end) {
  for (const char *place = static_cast<const char *>(memory); bytes > 0;) {
    if (!ready(socket, POLLOUT, end))
      return Outcome::Late;
    ssize_t count = ::send(socket, place, bytes, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (count < 0 && errno != EINTR && errno != EAGAIN)
      return Outcome::Gone;
    place += std::max<ssize_t>(count, 0);
    bytes -= static_cast<size_t>(std::max<ssize_t>(count, 0));
  }
  return Outcome::Done;
}

Outcome writeFrame(int socket, StatusCode code, const std::string &text, Clock::time_point end) {
  Frame frame{static_cast<uint32_t>(code), static_cast<uint32_t>(text.size())};
  Outcome outcome = writeAll(socket, &frame, sizeof(frame), end);
  return outcome == Outcome::Done ? writeAll(socket, text.data(), text.size(), end) : outcome;
}

Outcome readFrame(int socket, Frame &frame, std::string &text, Clock::time_point end) {
  if (Outcome outcome = readAll(socket, &frame, sizeof(frame), end); outcome != Outcome::Done)
    return outcome;
  if (frame.bytes > kFrameBytes)
    return Outcome::Gone;
  text.resize(frame.bytes);
  return readAll(socket, text.data(), text.size(), end);
}

Status describeLoss(Outcome outcome, unsigned rank, std::chrono::milliseconds deadline) {
  return outcome == Outcome::Late ? deadlinePassed({rank}, deadline) : rankDied(rank);
}

} // namespace llmc::runtime
