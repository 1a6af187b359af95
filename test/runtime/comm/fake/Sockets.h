//===- Sockets.h - how ranks of the fake NCCL reach each other --*- C++ -*-===//
#ifndef LLMC_TEST_RUNTIME_COMM_FAKE_SOCKETS_H
#define LLMC_TEST_RUNTIME_COMM_FAKE_SOCKETS_H

#include <atomic>
#include <cstddef>
#include <string>
#include <vector>

namespace llmc::test {

struct Piece {
  int peer;
  char *data; // only read when sent
  size_t bytes;
};

/// A connection between each two of some processes or threads of a machine, under a name that no others have.
class Sockets {
public:
  Sockets(std::string name, int rank, int size, const std::atomic<bool> &stop)
      : name(std::move(name)), rank(rank), peers(static_cast<size_t>(size), -1), stop(stop) {}
  ~Sockets();

  /// Both return false if a peer is lost, or `stop` has become true.
  bool connect();
  /// In the order given between each two; pieces to oneself too.
  bool move(std::vector<Piece> sends, std::vector<Piece> receives);

private:
  bool call(int peer);
  bool progress(bool send, int peer, std::vector<Piece> &pieces, bool &lost);

  const std::string name;
  const int rank;
  std::vector<int> peers;
  const std::atomic<bool> &stop;
};

} // namespace llmc::test

#endif // LLMC_TEST_RUNTIME_COMM_FAKE_SOCKETS_H
