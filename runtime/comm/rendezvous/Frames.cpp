//===- Frames.cpp - short messages over a socket, with a deadline ---------===//
#include "runtime/comm/rendezvous/Frames.h"
#include <algorithm>
#include <cerrno>
#include <poll.h>
#include <sys/socket.h>

namespace llmc::runtime {

constexpr uint32_t kFrameBytes = 64u << 20;
constexpr std::chrono::milliseconds kLook(20); // between two looks at whether the job is told to end

bool Until::passed() const {
  Clock::time_point now = Clock::now();
  return now >= end || (told && now - grace >= told->load());
}

int Until::milliseconds() const {
  auto left = std::chrono::duration_cast<std::chrono::milliseconds>(end - Clock::now()).count() + 1;
  return static_cast<int>(std::clamp<int64_t>(left, 0, told ? kLook.count() : 1 << 30));
}

bool ready(int socket, short events, Until end) {
  pollfd waiting{socket, events, 0};
  int count;
  do
    count = ::poll(&waiting, 1, end.milliseconds());
  while ((count == 0 || (count < 0 && errno == EINTR)) && !end.passed());
  return count > 0;
}

static Outcome readAll(int socket, void *memory, size_t bytes, Until end) {
  for (char *place = static_cast<char *>(memory); bytes > 0;) {
    if (!ready(socket, POLLIN, end))
      return Outcome::Late;
    ssize_t count = ::recv(socket, place, bytes, MSG_DONTWAIT);
    if (count == 0 || (count < 0 && errno != EINTR && errno != EAGAIN))
      return Outcome::Gone;
    place += std::max<ssize_t>(count, 0);
    bytes -= static_cast<size_t>(std::max<ssize_t>(count, 0));
  }
  return Outcome::Done;
}

Outcome writeAll(int socket, const void *memory, size_t bytes, Until end) {
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

static Outcome writeFrame(int socket, uint32_t code, const std::string &text, Until end) {
  Frame frame{code, static_cast<uint32_t>(text.size())};
  std::string bytes(reinterpret_cast<const char *>(&frame), sizeof(frame));
  bytes += text; // in one piece: the connection may end right after it
  Outcome outcome = writeAll(socket, bytes.data(), bytes.size(), end);
  if (outcome == Outcome::Late)
    ::shutdown(socket, SHUT_WR); // what follows half a frame would be misread
  return outcome;
}

Outcome writeFrame(int socket, StatusCode code, const std::string &text, Until end) {
  return writeFrame(socket, static_cast<uint32_t>(code), text, end);
}

Outcome writeLeave(int socket, const Status &reason, Until end) {
  return writeFrame(socket, Frame::kLeaves | static_cast<uint32_t>(reason.code), reason.message, end);
}

Outcome readFrame(int socket, Frame &frame, std::string &text, Until end) {
  if (Outcome outcome = readAll(socket, &frame, sizeof(frame), end); outcome != Outcome::Done)
    return outcome;
  if (frame.bytes > kFrameBytes)
    return Outcome::Gone;
  text.resize(frame.bytes);
  return readAll(socket, text.data(), text.size(), end);
}

} // namespace llmc::runtime
