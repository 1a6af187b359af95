//===- Rendezvous.cpp - how processes find each other over TCP ------------===//
//
// A connection begins with a greeting; then frames go both ways: a code, a length, and bytes. Rank 0 answers a greeting with an
// empty frame. A frame from rank 0 with a code other than 0 holds the message of an error, which all ranks then return. Numbers
// are in the machine's byte order: a greeting of another order is not recognized.
//
//===----------------------------------------------------------------------===//
#include "runtime/comm/rendezvous/Rendezvous.h"
#include "runtime/comm/Failure.h"
#include "runtime/comm/rendezvous/Sockets.h"
#include <algorithm>
#include <cerrno>
#include <cstring>
#include <netdb.h>
#include <poll.h>
#include <sys/socket.h>
#include <thread>
#include <unistd.h>

namespace llmc::runtime {

using namespace std::chrono_literals;

namespace {

struct Greeting {
  uint64_t mark = 0x32756D6D6F634C4Cull, job = 0;
  uint32_t rank = 0, size = 0;
};

/// Rank 0 speaks a little after the job was told to end, for what comes meanwhile; the others wait for its word.
constexpr auto kRootsGrace = 150ms, kOthersGrace = 300ms;

} // namespace

Rendezvous::~Rendezvous() {
  if (watcher.joinable())
    leave(rankDied(options.rank));
  for (int socket : sockets)
    if (socket >= 0)
      ::close(socket);
}

Until Rendezvous::until(Clock::time_point time) const {
  return Until(time, options.told, options.rank == 0 ? kRootsGrace : kOthersGrace);
}

Status Rendezvous::missing(std::vector<unsigned> ranks) const {
  return options.isTold() ? toldToEnd(std::move(ranks)) : deadlinePassed(std::move(ranks), options.deadline);
}

/// What `outcome`, which is not Done, says of the rank at the other end.
Status Rendezvous::lost(Outcome outcome, unsigned rank) const {
  return outcome == Outcome::Late ? missing({rank}) : rankDied(rank);
}

Status Rendezvous::noteAddress(int socket) {
  address = addressOf(socket);
  return address.empty() ? Status::internal("a connected socket has no address") : Status::success();
}

Status Rendezvous::listen(const Announce &announce) {
  Addresses addresses;
  std::vector<std::string> names = splitAtCommas(options.address);
  if (Status status = addresses.resolve(names.empty() ? "" : names[0], options.port); !status.ok())
    return status;
  int listener = openListener(addresses.first, options.size);
  if (listener < 0)
    return Status::wrongUse("rank 0 cannot listen at port " + std::to_string(options.port) + ": " +
                                std::strerror(errno),
                            "give all ranks another port; some launchers keep theirs for themselves");
  Status status = announce ? announce(portOf(listener)) : Status::success();
  if (status.ok())
    status = acceptAll(listener);
  ::close(listener);
  for (int socket : sockets)
    if (socket >= 0 && !status.ok())
      (void)writeFrame(socket, status.code, status.message, Clock::now() + 200ms);
  return status;
}

namespace {

/// A connection whose greeting has not come yet.
struct Caller {
  int socket;
  Clock::time_point end; // of the wait for it: it may be a stranger
  Greeting greeting{.mark = 0};
  size_t received = 0;

  /// Takes what has come.
  Outcome receive(uint64_t job) {
    ssize_t count = ::recv(socket, reinterpret_cast<char *>(&greeting) + received, sizeof(greeting) - received, MSG_DONTWAIT);
    if (count == 0 || (count < 0 && errno != EINTR && errno != EAGAIN))
      return Outcome::Gone;
    received += static_cast<size_t>(std::max<ssize_t>(count, 0));
    if (received == sizeof(greeting))
      return greeting.mark == Greeting().mark && greeting.job == job ? Outcome::Done : Outcome::Gone;
    return Clock::now() < end ? Outcome::Late : Outcome::Gone;
  }
};

} // namespace

/// Callers are heard as they speak: one that stops before its greeting holds up no other.
Status Rendezvous::acceptAll(int listener) {
  constexpr size_t kStrangers = 64;
  sockets.assign(options.size, -1);
  allowFiles(2 * options.size + 1024);
  std::vector<Caller> callers;
  Status status = Status::success();
  while (status.ok() && !absent().empty()) {
    std::vector<pollfd> waiting = {{callers.size() < options.size + kStrangers ? listener : -1, POLLIN, 0}};
    for (const Caller &caller : callers)
      waiting.push_back({caller.socket, POLLIN, 0});
    if (::poll(waiting.data(), waiting.size(), std::min(until(end).milliseconds(), 100)) > 0 && waiting[0].revents) {
      int socket = ::accept4(listener, nullptr, nullptr, SOCK_CLOEXEC);
      if (socket >= 0)
        callers.push_back({socket, Clock::now() + 2s});
      else if (errno == EMFILE || errno == ENFILE)
        status = Status::wrongUse("rank 0 cannot open a connection to each of " + std::to_string(options.size) +
                                      " ranks: too many files",
                                  "raise the limit: ulimit -n " + std::to_string(2 * options.size + 1024));
    }
    for (size_t i = 0; i < callers.size() && status.ok();) {
      Outcome outcome = callers[i].receive(job);
      if (outcome == Outcome::Late) {
        ++i;
        continue;
      }
      Caller caller = callers[i];
      callers.erase(callers.begin() + static_cast<std::ptrdiff_t>(i));
      if (outcome == Outcome::Gone)
        ::close(caller.socket);
      else
        status = welcome(caller.socket, caller.greeting.rank, caller.greeting.size);
    }
    if (std::vector<unsigned> ranks = absent(); status.ok() && !ranks.empty() && until(end).passed())
      status = missing(std::move(ranks));
  }
  for (const Caller &caller : callers)
    ::close(caller.socket);
  if (auto rank = goneOf(sockets)) // told to all, so not before all have come
    return rankDied(*rank);
  return status;
}

std::vector<unsigned> Rendezvous::absent() const {
  std::vector<unsigned> ranks;
  for (unsigned rank = 1; rank < options.size; ++rank)
    if (sockets[rank] < 0)
      ranks.push_back(rank);
  return ranks;
}

/// Takes over the socket of a caller that says it is `rank` of `size`.
Status Rendezvous::welcome(int socket, unsigned rank, unsigned size) {
  bool fits = size == options.size && rank > 0 && rank < options.size;
  if (fits && (sockets[rank] < 0 || goneOf({sockets[rank]})))
    return take(socket, rank);
  Status status = Status::wrongUse(fits ? "two processes are rank " + std::to_string(rank)
                                        : "rank " + std::to_string(rank) + " takes the world for one of " +
                                              std::to_string(size) + " ranks, rank 0 for one of " +
                                              std::to_string(options.size));
  (void)writeFrame(socket, status.code, status.message, Clock::now() + 200ms);
  ::close(socket);
  return status;
}

/// In place of one that the rank has given up: it did not get an answer in time.
Status Rendezvous::take(int socket, unsigned rank) {
  if (sockets[rank] >= 0)
    ::close(sockets[rank]);
  sockets[rank] = socket;
  tune(socket);
  (void)writeFrame(socket, StatusCode::Ok, "", Clock::now() + 200ms); // whether it is still there shows later
  return noteAddress(socket);
}

/// What rank 0 answers; nothing if it is somebody else, or says nothing.
std::optional<Status> Rendezvous::introduce(int socket) {
  constexpr auto kPatience = 5s;
  Greeting greeting;
  greeting.job = job;
  greeting.rank = options.rank;
  greeting.size = options.size;
  Until patience = until(std::min(end, Clock::now() + kPatience));
  Frame answer;
  std::string text;
  if (writeAll(socket, &greeting, sizeof(greeting), patience) != Outcome::Done ||
      readFrame(socket, answer, text, patience) != Outcome::Done)
    return std::nullopt;
  return Status{answer.status(), std::move(text), ""};
}

/// What rank 0 answers at one of `addresses`; nothing if it is not there.
std::optional<Status> Rendezvous::connectTo(const addrinfo *addresses) {
  for (const addrinfo *each = addresses; each; each = each->ai_next) {
    int socket = ::socket(each->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    int error = 0;
    socklen_t bytes = sizeof(error);
    if (socket < 0)
      continue;
    bool open = ::connect(socket, each->ai_addr, each->ai_addrlen) == 0 ||
                (errno == EINPROGRESS && ready(socket, POLLOUT, until(std::min(end, Clock::now() + 2s))) &&
                 ::getsockopt(socket, SOL_SOCKET, SO_ERROR, &error, &bytes) == 0 && error == 0);
    if (open)
      tune(socket);
    std::optional<Status> answer = open ? introduce(socket) : std::nullopt;
    if (answer && answer->ok())
      sockets.push_back(socket);
    else
      ::close(socket);
    if (answer)
      return answer;
  }
  return std::nullopt;
}

/// Once connected, the wait begins anew: rank 0, which has begun later, speaks when its own has ended.
Status Rendezvous::connect() {
  std::vector<std::string> names = splitAtCommas(options.address);
  do {
    Status resolved = Status::wrongUse("rank 0 has no address");
    for (const std::string &name : names) {
      Addresses addresses;
      Status status = addresses.resolve(name, options.port);
      if (!resolved.ok())
        resolved = status; // one that can be resolved will do
      std::optional<Status> answer = status.ok() ? connectTo(addresses.first) : std::nullopt;
      if (answer && !answer->ok())
        return *answer;
      if (answer) {
        end = Clock::now() + options.deadline;
        return noteAddress(sockets[0]);
      }
    }
    if (!resolved.ok())
      return resolved;
    std::this_thread::sleep_for(20ms); // rank 0 may start later
  } while (!until(end).passed());
  Status status = missing({0});
  status.hint = "it is expected at " + options.address + ", port " + std::to_string(options.port);
  return status;
}

Result<std::unique_ptr<Rendezvous>> Rendezvous::meet(const WorldOptions &options, uint64_t job, const Announce &announce) {
  std::unique_ptr<Rendezvous> rendezvous(new Rendezvous(options, job));
  Status status = options.rank == 0 ? rendezvous->listen(announce) : rendezvous->connect();
  if (status.ok())
    status = rendezvous->conclude([] { return Status::success(); }, rendezvous->end);
  if (!status.ok())
    return status;
  rendezvous->end = Clock::now() + options.deadline;
  return rendezvous;
}

Result<std::vector<std::string>> Rendezvous::gatherAtRoot(const std::string &own) {
  std::vector<std::string> texts(options.size);
  texts[0] = own;
  for (unsigned rank = 1; rank < options.size; ++rank) {
    Frame frame;
    if (Outcome outcome = readFrame(sockets[rank], frame, texts[rank], until(end)); outcome != Outcome::Done)
      return lost(outcome, rank);
  }
  return texts;
}

Result<std::vector<std::string>> Rendezvous::gather(const std::string &own) {
  if (options.rank == 0) {
    Result<std::vector<std::string>> texts = gatherAtRoot(own);
    Status lostOne;
    for (unsigned rank = 1; rank < options.size; ++rank) { // whoever is lost, the others are told
      Outcome outcome = Outcome::Done;
      if (!texts.ok())
        (void)writeFrame(sockets[rank], texts.status().code, texts.status().message, Clock::now() + 200ms);
      for (unsigned each = 0; texts.ok() && outcome == Outcome::Done && each < options.size; ++each)
        outcome = writeFrame(sockets[rank], StatusCode::Ok, (*texts)[each], until(end));
      if (outcome != Outcome::Done && lostOne.ok())
        lostOne = lost(outcome, rank);
    }
    if (!lostOne.ok())
      return lostOne;
    return texts;
  }
  std::vector<std::string> texts(options.size);
  Outcome outcome = writeFrame(sockets[0], StatusCode::Ok, own, until(end));
  for (unsigned each = 0; outcome != Outcome::Gone && each < options.size; ++each) {
    Frame frame;
    // Rank 0 says who is missing when its own wait ends, which may have begun a little later.
    outcome = readFrame(sockets[0], frame, texts[each], until(end + 500ms));
    if (outcome == Outcome::Done && frame.code != 0)
      return Status{frame.status(), texts[each], ""};
  }
  if (outcome != Outcome::Done)
    return lost(outcome, 0);
  return texts;
}

} // namespace llmc::runtime
