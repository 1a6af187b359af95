//===- Sockets.cpp - addresses and options of TCP sockets -----------------===//
#include "runtime/comm/rendezvous/Sockets.h"
#include <algorithm>
#include <cerrno>
#include <cstring>
#include <netinet/tcp.h>
#include <poll.h>
#include <sstream>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

namespace llmc::runtime {

Addresses::~Addresses() {
  if (first)
    ::freeaddrinfo(first);
}

Status Addresses::resolve(const std::string &name, uint16_t port) {
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = name.empty() ? AI_PASSIVE : 0;
  if (int error = ::getaddrinfo(name.empty() ? nullptr : name.c_str(), std::to_string(port).c_str(), &hints, &first))
    return Status::wrongUse("'" + name + "' is no address: " + ::gai_strerror(error));
  return Status::success();
}

std::vector<std::string> splitAtCommas(const std::string &text) {
  std::vector<std::string> parts;
  std::istringstream stream(text);
  for (std::string part; std::getline(stream, part, ',');)
    parts.push_back(part);
  return parts;
}

int openListener(const addrinfo *addresses, unsigned callers) {
  int reason = 0;
  for (int family : {AF_INET6, AF_INET}) // the first takes callers of both
    for (const addrinfo *each = addresses; each; each = each->ai_next) {
      if (each->ai_family != family)
        continue;
      sockaddr_storage any{};
      std::memcpy(&any, each->ai_addr, each->ai_addrlen);
      int listener = ::socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0), on = 1, off = 0;
      if (family == AF_INET)
        reinterpret_cast<sockaddr_in &>(any).sin_addr.s_addr = INADDR_ANY;
      else
        reinterpret_cast<sockaddr_in6 &>(any).sin6_addr = in6addr_any;
      if (listener >= 0 && ::setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) == 0 &&
          (family == AF_INET || ::setsockopt(listener, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof(off)) == 0) &&
          ::bind(listener, reinterpret_cast<sockaddr *>(&any), each->ai_addrlen) == 0 &&
          ::listen(listener, static_cast<int>(callers)) == 0)
        return listener;
      reason = errno;
      if (listener >= 0)
        ::close(listener);
    }
  errno = reason;
  return -1;
}

uint16_t portOf(int socket) {
  sockaddr_storage own{};
  socklen_t bytes = sizeof(own);
  if (::getsockname(socket, reinterpret_cast<sockaddr *>(&own), &bytes) != 0)
    return 0;
  return ntohs(own.ss_family == AF_INET ? reinterpret_cast<sockaddr_in &>(own).sin_port
                                        : reinterpret_cast<sockaddr_in6 &>(own).sin6_port);
}

std::string addressOf(int socket) {
  sockaddr_storage own{};
  socklen_t bytes = sizeof(own);
  char text[NI_MAXHOST] = "";
  if (::getsockname(socket, reinterpret_cast<sockaddr *>(&own), &bytes) != 0 ||
      ::getnameinfo(reinterpret_cast<sockaddr *>(&own), bytes, text, sizeof(text), nullptr, 0, NI_NUMERICHOST) != 0)
    return "";
  std::string address = text, mapped = "::ffff:"; // IPv4, on a socket for both
  return address.starts_with(mapped) ? address.substr(mapped.size()) : address;
}

void tune(int socket) {
  auto set = [socket](int level, int name, int value) { (void)::setsockopt(socket, level, name, &value, sizeof(value)); };
  set(IPPROTO_TCP, TCP_NODELAY, 1);
  set(SOL_SOCKET, SO_KEEPALIVE, 1);
  set(IPPROTO_TCP, TCP_KEEPIDLE, 30);
  set(IPPROTO_TCP, TCP_KEEPINTVL, 10);
  set(IPPROTO_TCP, TCP_KEEPCNT, 6);
}

void allowFiles(uint64_t count) {
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < count) {
    limit.rlim_cur = std::min<rlim_t>(count, limit.rlim_max);
    (void)::setrlimit(RLIMIT_NOFILE, &limit);
  }
}

std::optional<unsigned> goneOf(const std::vector<int> &sockets) {
  std::vector<pollfd> waiting;
  for (int socket : sockets)
    waiting.push_back({socket, POLLRDHUP, 0}); // poll passes over -1
  if (::poll(waiting.data(), waiting.size(), 0) > 0)
    for (unsigned i = 0; i < sockets.size(); ++i)
      if (waiting[i].revents)
        return i;
  return std::nullopt;
}

} // namespace llmc::runtime
