//===- Conclude.cpp - what ranks make of a phase together -----------------===//
//
// Each rank tells rank 0 what became of its part; rank 0 tells all what to make of it. A rank that waits for another
// one and says so is there; who says nothing is missing.
//
//===----------------------------------------------------------------------===//
#include "runtime/comm/Failure.h"
#include "runtime/comm/rendezvous/Frames.h"
#include "runtime/comm/rendezvous/Rendezvous.h"
#include <algorithm>
#include <poll.h>

namespace llmc::runtime {

using namespace std::chrono_literals;

namespace {

constexpr auto kTick = 2ms;       // between two looks at the own part
constexpr auto kPatience = 200ms; // for what explains a failure that a rank has told
constexpr auto kSkew = 500ms;     // by which one rank may begin after another

/// The part of a rank that was told to end: it is there, and waits for something.
Status waiting() { return {StatusCode::DeadlinePassed, "", ""}; }
bool isWaiting(const Status &part) { return part.code == StatusCode::DeadlinePassed && part.message.empty(); }

/// What rank 0 knows.
class Reports {
public:
  explicit Reports(const std::vector<int> &sockets) : sockets(sockets), parts(sockets.size()), broken(sockets.size()) {}

  std::optional<Status> &own() { return parts[0]; }
  /// Reads what has come, or comes within a tick.
  void read();
  bool isComplete() const {
    return died || std::all_of(parts.begin(), parts.end(), [](const auto &part) { return part.has_value(); });
  }
  bool hasCause() const { return std::any_of(parts.begin(), parts.end(), isCause); }
  /// `missing`: what to make of ranks that say nothing.
  Status verdict(const std::function<Status(std::vector<unsigned>)> &missing) const;

private:
  /// A failure that is more than waiting.
  static bool isCause(const std::optional<Status> &part) {
    return part && !part->ok() && part->code != StatusCode::DeadlinePassed;
  }
  void readFrom(unsigned rank);

  const std::vector<int> &sockets;
  std::vector<std::optional<Status>> parts;
  std::vector<char> broken; // half a frame has come: the rank stopped in the middle
  std::optional<unsigned> died;
};

void Reports::read() {
  std::vector<pollfd> waiting;
  for (unsigned rank = 0; rank < sockets.size(); ++rank) // who has spoken may still die
    waiting.push_back({sockets[rank], static_cast<short>(parts[rank] || broken[rank] ? POLLRDHUP : POLLIN), 0});
  if (::poll(waiting.data(), waiting.size(), static_cast<int>(kTick.count())) <= 0)
    return;
  for (unsigned rank = 0; rank < sockets.size(); ++rank)
    if (waiting[rank].revents && !parts[rank] && !broken[rank])
      readFrom(rank);
    else if (waiting[rank].revents && !died)
      died = rank;
}

void Reports::readFrom(unsigned rank) {
  Frame frame;
  std::string text;
  Outcome outcome = readFrame(sockets[rank], frame, text, Clock::now() + 100ms);
  broken[rank] = outcome == Outcome::Late;
  if (outcome == Outcome::Gone && !died)
    died = rank;
  if (outcome == Outcome::Done)
    parts[rank] = Status{frame.status(), std::move(text), ""};
}

/// A rank whose connection is gone has died, whatever others take it for. Who says nothing until the end is missing.
Status Reports::verdict(const std::function<Status(std::vector<unsigned>)> &missing) const {
  if (died)
    return rankDied(*died);
  if (auto cause = std::find_if(parts.begin(), parts.end(), isCause); cause != parts.end())
    return **cause;
  std::vector<unsigned> silent;
  for (unsigned rank = 1; rank < parts.size(); ++rank)
    if (!parts[rank])
      silent.push_back(rank);
  if (!silent.empty())
    return missing(silent);
  auto late = std::find_if(parts.begin(), parts.end(), [](const auto &part) { return part && !part->ok() && !isWaiting(*part); });
  if (late != parts.end())
    return **late;
  bool waits = std::any_of(parts.begin(), parts.end(), [](const auto &part) { return !part || isWaiting(*part); });
  return waits ? toldToEnd({}) : Status::success();
}

} // namespace

Status Rendezvous::hearAll(const Part &part, Clock::time_point end) {
  Reports reports(sockets);
  Until last = until(end + kSkew);
  do {
    if (!reports.own())
      reports.own() = options.isTold() ? waiting() : part();
    reports.read();
    if (reports.hasCause())
      last.end = std::min(last.end, Clock::now() + kPatience);
  } while (!reports.isComplete() && !last.passed());
  Status verdict = reports.verdict([&](std::vector<unsigned> ranks) { return missing(std::move(ranks)); });
  for (unsigned rank = 1; rank < options.size; ++rank)
    (void)writeFrame(sockets[rank], verdict.code, verdict.message, Clock::now() + 200ms);
  return verdict;
}

Status Rendezvous::tell(const Part &part, Clock::time_point end) {
  std::optional<Status> own;
  while (!(own = options.isTold() ? waiting() : part()) && Clock::now() < end)
    if (ready(sockets[0], POLLIN, Clock::now() + kTick)) // rank 0 knows already
      break;
  if (own)
    (void)writeFrame(sockets[0], own->code, own->message, until(end + kSkew));
  Frame frame;
  std::string text;
  Outcome outcome = readFrame(sockets[0], frame, text, until(end + 2 * kSkew));
  if (outcome == Outcome::Done)
    return {frame.status(), std::move(text), ""};
  return lost(outcome, 0);
}

Status Rendezvous::conclude(const Part &part, Clock::time_point end) {
  endWatch();
  return options.rank == 0 ? hearAll(part, end) : tell(part, end);
}

} // namespace llmc::runtime
