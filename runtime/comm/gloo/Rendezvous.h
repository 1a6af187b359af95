//===- Rendezvous.h - how processes find each other over TCP ----*- C++ -*-===//
#ifndef LLMC_RUNTIME_COMM_GLOO_RENDEZVOUS_H
#define LLMC_RUNTIME_COMM_GLOO_RENDEZVOUS_H

#include "runtime/comm/Worlds.h"
#include "runtime/comm/gloo/Frames.h"
#include <functional>
#include <optional>
#include <string>
#include <vector>

namespace llmc::runtime {

/// Rank 0 listens at the address and port of the options; the others connect to it, retrying until it is there. All
/// connections last as long as this object.
class Rendezvous {
public:
  /// Returns when all ranks have come. Errors: WrongUse (the address; two processes of one rank; another world size),
  /// DeadlinePassed, which names the ranks that did not come.
  static Result<std::unique_ptr<Rendezvous>> meet(const WorldOptions &options);
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
  Status conclude(const Part &part);

private:
  Rendezvous(const WorldOptions &options) : options(options), end(Clock::now() + options.deadline) {}
  Status listen();
  Status acceptAll(int listener);
  Status welcome(int socket, unsigned rank, unsigned size);
  std::vector<unsigned> absent() const;
  Status connect();
  Result<std::vector<std::string>> gatherAtRoot(const std::string &own);
  Status noteAddress(int socket);
  Status hearAll(const Part &part, Clock::time_point end);
  Status tell(const Part &part, Clock::time_point end);

  const WorldOptions options;
  const Clock::time_point end;
  std::vector<int> sockets; // rank 0: per rank, -1 at first; others: one, to rank 0
  std::string address;
};

} // namespace llmc::runtime

#endif // LLMC_RUNTIME_COMM_GLOO_RENDEZVOUS_H
