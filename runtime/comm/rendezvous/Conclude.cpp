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

/// Says that a rank is there, and waits.
Status waiting() { return {StatusCode::DeadlinePassed, "other ranks are waited for", ""}; }

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
  std::vector<unsigned> ranks;
  for (unsigned rank = 1; rank < sockets.size(); ++rank)
    if (!parts[rank] && !broken[rank]) {
      waiting.push_back({sockets[rank], POLLIN, 0});
      ranks.push_back(rank);
    }
  if (::poll(waiting.data(), waiting.size(), static_cast<int>(kTick.count())) > 0)
    for (size_t i = 0; i < waiting.size(); ++i)
      if (waiting[i].revents)
        readFrom(ranks[i]);
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
  for (unsigned rank = 0; rank < parts.size(); ++rank)
    if (!parts[rank])
      silent.push_back(rank);
  if (!silent.empty())
    return missing(silent);
  auto late = std::find_if(parts.begin(), parts.end(), [](const auto &part) { return !part->ok(); });
  return late == parts.end() ? Status::success() : **late;
}

} // namespace

Status Rendezvous::hearAll(const Part &part, Clock::time_point end) {
  Reports reports(sockets);
  for (Until last = until(end + kSkew); !reports.isComplete() && !last.passed();) {
    if (!reports.own())
      reports.own() = isTold() ? waiting() : part();
    reports.read();
    if (reports.hasCause())
      last.end = std::min(last.end, Clock::now() + kPatience);
  }
  Status verdict = reports.verdict([&](std::vector<unsigned> ranks) { return missing(std::move(ranks)); });
  if (isTold() && verdict.code == StatusCode::DeadlinePassed)
    verdict = missing({}); // all ranks only wait
  for (unsigned rank = 1; rank < options.size; ++rank)
    (void)writeFrame(sockets[rank], verdict.code, verdict.message, Clock::now() + 200ms);
  return verdict;
}

Status Rendezvous::tell(const Part &part, Clock::time_point end) {
  std::optional<Status> own;
  while (!(own = isTold() ? waiting() : part()) && Clock::now() < end)
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

Status Rendezvous::conclude(const Part &part) {
  endWatch();
  Clock::time_point end = Clock::now() + options.deadline;
  return options.rank == 0 ? hearAll(part, end) : tell(part, end);
}

} // namespace llmc::runtime
