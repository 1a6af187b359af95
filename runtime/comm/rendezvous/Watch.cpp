//===- Watch.cpp - who is gone while all work -----------------------------===//
//
// Rank 0 sees the connections of all end, and tells the others. What the watch sees stays unread: it may be what the next phase
// begins with.
//
//===----------------------------------------------------------------------===//
#include "runtime/comm/Failure.h"
#include "runtime/comm/rendezvous/Rendezvous.h"
#include <cerrno>
#include <cstring>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

namespace llmc::runtime {

using namespace std::chrono_literals;

namespace {

/// Which frame a readable connection begins with: Done with its head and text; Late while it is not complete.
Outcome peekFrame(int socket, Frame &frame, std::string &text) {
  char bytes[16384]; // names of a thousand ranks
  ssize_t count = ::recv(socket, bytes, sizeof(bytes), MSG_PEEK | MSG_DONTWAIT);
  if (count == 0 || (count < 0 && errno != EINTR && errno != EAGAIN))
    return Outcome::Gone;
  if (count < static_cast<ssize_t>(sizeof(frame)))
    return Outcome::Late;
  std::memcpy(&frame, bytes, sizeof(frame));
  size_t length = std::min<size_t>(frame.bytes, sizeof(bytes) - sizeof(frame));
  if (static_cast<size_t>(count) < sizeof(frame) + length)
    return Outcome::Late;
  text.assign(bytes + sizeof(frame), length);
  return Outcome::Done;
}

} // namespace

Status Rendezvous::watch() {
  wake = ::eventfd(0, EFD_CLOEXEC);
  if (wake < 0)
    return Status::internal(std::string("there is no event to wait for: ") + std::strerror(errno));
  watcher = std::thread([this] { watchConnections(); });
  return Status::success();
}

void Rendezvous::endWatch() {
  if (!watcher.joinable())
    return;
  uint64_t one = 1;
  while (::write(wake, &one, sizeof(one)) < 0 && errno == EINTR)
    ;
  watcher.join();
  ::close(wake);
}

Status Rendezvous::loss() const {
  std::lock_guard<std::mutex> lock(mutex);
  return known;
}

/// Rank 0 passes it on.
void Rendezvous::announceLoss(unsigned lost, const Status &status) {
  for (unsigned rank = 1; options.rank == 0 && rank < sockets.size(); ++rank)
    if (rank != lost)
      (void)writeLeave(sockets[rank], status, Clock::now() + 50ms);
  {
    std::lock_guard<std::mutex> lock(mutex);
    known = status;
  }
  if (options.onLoss)
    options.onLoss(status);
}

void Rendezvous::leave(const Status &reason) {
  endWatch();
  for (int socket : sockets)
    if (socket >= 0)
      (void)writeLeave(socket, reason, Clock::now() + 50ms);
}

void Rendezvous::watchConnections() {
  std::vector<pollfd> waiting;
  for (int socket : sockets)
    waiting.push_back({socket, POLLIN, 0}); // poll passes over -1
  waiting.push_back({wake, POLLIN, 0});
  while (::poll(waiting.data(), waiting.size(), -1) >= 0 || errno == EINTR) {
    if (waiting.back().revents)
      return;
    for (unsigned i = 0; i < sockets.size(); ++i) {
      if (!waiting[i].revents)
        continue;
      Frame frame;
      std::string text;
      Outcome outcome = peekFrame(sockets[i], frame, text);
      if (outcome == Outcome::Gone)
        return announceLoss(i, rankDied(i));
      bool isVerdict = options.rank > 0 && frame.code != 0; // rank 0 has concluded, without this rank
      if (outcome == Outcome::Done && (frame.code & Frame::kLeaves || isVerdict))
        return announceLoss(i, {frame.status(), std::move(text), ""});
      if (outcome == Outcome::Done)
        waiting[i].fd = -1; // it is in the next phase
      else
        std::this_thread::sleep_for(1ms);
    }
  }
}

} // namespace llmc::runtime
