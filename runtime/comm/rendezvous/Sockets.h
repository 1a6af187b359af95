//===- Sockets.h - addresses and options of TCP sockets ---------*- C++ -*-===//
#ifndef LLMC_RUNTIME_COMM_RENDEZVOUS_SOCKETS_H
#define LLMC_RUNTIME_COMM_RENDEZVOUS_SOCKETS_H

#include "runtime/support/Status.h"
#include <cstdint>
#include <netdb.h>
#include <optional>
#include <string>
#include <vector>

namespace llmc::runtime {

/// The addresses that a name has.
struct Addresses {
  addrinfo *first = nullptr;

  Addresses() = default;
  Addresses(const Addresses &) = delete;
  ~Addresses();
  /// Once. An empty `name`: all addresses of this machine. Errors: WrongUse.
  Status resolve(const std::string &name, uint16_t port);
};

std::vector<std::string> splitAtCommas(const std::string &text);

/// A socket that listens at the port of `addresses`, at all of this machine's addresses (its name may mean another one here than
/// elsewhere); -1 and errno if there is none.
int openListener(const addrinfo *addresses, unsigned callers);
/// The port of this end; 0 if there is none.
uint16_t portOf(int socket);
/// The numeric address of this end; empty if there is none.
std::string addressOf(int socket);

/// Frames go out at once. A machine that is gone without a word is noticed within two minutes, and firewalls that forget silent
/// connections are kept from it.
void tune(int socket);
/// Raises the limit on open files, if it can be. The usual one is 1,024.
void allowFiles(uint64_t count);
/// The index of a connection that has ended, if there is one; -1 among the sockets stands for none.
std::optional<unsigned> goneOf(const std::vector<int> &sockets);

} // namespace llmc::runtime

#endif // LLMC_RUNTIME_COMM_RENDEZVOUS_SOCKETS_H
