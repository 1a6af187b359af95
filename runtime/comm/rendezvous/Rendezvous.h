//===- Rendezvous.h - how processes find each other over TCP ----*- C++ -*-===//
#ifndef LLMC_RUNTIME_COMM_RENDEZVOUS_RENDEZVOUS_H
#define LLMC_RUNTIME_COMM_RENDEZVOUS_RENDEZVOUS_H

#include "runtime/comm/Worlds.h"
#include "runtime/comm/rendezvous/Frames.h"
#include <functional>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

struct addrinfo;

namespace llmc::runtime {

/// Rank 0 listens at the address and port of the options; the others connect to it, retrying until it is there. All
/// connections last as long as this object. A rank that is gone is noticed at once: its connection ends.
class Rendezvous {
public:
  /// Called at rank 0 when it listens, with the port.
  using Announce = std::function<Status(uint16_t port)>;

  /// Returns when all ranks have come. Rank 0 takes a free port if the options have none, and listens at all addresses if they
  /// have none. `job` tells jobs apart whose ranks may call at each other's ports. Errors: WrongUse (the address; two processes of
  /// one rank; another world size), RankDied and DeadlinePassed, which name ranks; what `announce` returns.
  static Result<std::unique_ptr<Rendezvous>> meet(const WorldOptions &options, uint64_t job = 0, const Announce &announce = {});
  ~Rendezvous();

  /// The numeric address under which other ranks reach this process.
  const std::string &ownAddress() const { return address; }
  /// Gives every rank the texts of all ranks, by rank.
  Result<std::vector<std::string>> gather(const std::string &own);

  /// What became of something that a rank does by itself; nothing while it goes on, which ends by the deadline.
  using Part = std::function<std::optional<Status>()>;
  /// Ends a phase in which each rank does its part, such as connecting to the others; asks for `part` every few
  /// milliseconds. All ranks return the same: success if all parts have succeeded; else who has died, else a failure of a
  /// part, else DeadlinePassed with the ranks that say nothing. A rank that only waits for such a rank is not missing.
  Status conclude(const Part &part) { return conclude(part, Clock::now() + options.deadline); }

  /// A thread watches the connections until the next `conclude`: that of the first rank that is gone, or leaves, becomes the
  /// `loss` of all others, and WorldOptions::onLoss is called.
  Status watch();
  /// Ends the watch, and tells the others why this rank goes, before it goes.
  void leave(const Status &reason);
  /// RankDied, or the reason of a rank that has left; success while all are there. Any thread.
  Status loss() const;

private:
  Rendezvous(const WorldOptions &options, uint64_t job) : options(options), job(job), end(Clock::now() + options.deadline) {}
  Until until(Clock::time_point time) const;
  Status missing(std::vector<unsigned> ranks) const;
  Status lost(Outcome outcome, unsigned rank) const;

  Status listen(const Announce &announce);
  Status acceptAll(int listener);
  Status welcome(int socket, unsigned rank, unsigned size);
  Status take(int socket, unsigned rank);
  std::vector<unsigned> absent() const;
  Status connect();
  std::optional<Status> connectTo(const addrinfo *addresses);
  std::optional<Status> introduce(int socket);
  Result<std::vector<std::string>> gatherAtRoot(const std::string &own);
  Status noteAddress(int socket);
  Status conclude(const Part &part, Clock::time_point end);
  Status hearAll(const Part &part, Clock::time_point end);
  Status tell(const Part &part, Clock::time_point end);
  void watchConnections();
  void endWatch();
  void announceLoss(unsigned rank, const Status &status);

  const WorldOptions options;
  const uint64_t job;
  Clock::time_point end;
  std::vector<int> sockets; // rank 0: per rank, -1 at first; others: one, to rank 0
  std::string address;

  std::thread watcher;
  int wake = -1; // an event that ends the watch
  mutable std::mutex mutex;
  Status known; // the loss
};

} // namespace llmc::runtime

#endif // LLMC_RUNTIME_COMM_RENDEZVOUS_RENDEZVOUS_H
