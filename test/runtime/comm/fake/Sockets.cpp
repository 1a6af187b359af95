//===- Sockets.cpp - how ranks of the fake NCCL reach each other ----------===//
#include "test/runtime/comm/fake/Sockets.h"
#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstring>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
#include <utility>

namespace llmc::test {

/// In Linux' abstract name space: nothing is left behind.
static std::pair<sockaddr_un, socklen_t> addressOf(const std::string &name, int rank) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::string path = "llmc-fake-nccl-" + name + "-" + std::to_string(rank);
  path.copy(address.sun_path + 1, sizeof(address.sun_path) - 1);
  return {address, static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + 1 + path.size())};
}

Sockets::~Sockets() {
  for (int socket : peers)
    if (socket >= 0)
      ::close(socket);
}

/// Until the peer listens.
bool Sockets::call(int peer) {
  auto [address, bytes] = addressOf(name, peer);
  int socket = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  peers[static_cast<size_t>(peer)] = socket;
  while (::connect(socket, reinterpret_cast<sockaddr *>(&address), bytes) != 0) {
    if (stop || (errno != ECONNREFUSED && errno != EAGAIN && errno != EINTR))
      return false;
    ::usleep(200);
  }
  return ::send(socket, &rank, sizeof(rank), MSG_NOSIGNAL) == sizeof(rank);
}

bool Sockets::connect() {
  auto [address, bytes] = addressOf(name, rank);
  int listener = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  bool good = ::bind(listener, reinterpret_cast<sockaddr *>(&address), bytes) == 0 && ::listen(listener, 64) == 0;
  for (int peer = 0; peer < rank && good; ++peer)
    good = call(peer);
  for (int missing = static_cast<int>(peers.size()) - 1 - rank; missing > 0 && good;) {
    pollfd waiting{listener, POLLIN, 0};
    if (::poll(&waiting, 1, 1) > 0) {
      int socket = ::accept4(listener, nullptr, nullptr, SOCK_CLOEXEC), peer = -1;
      good = ::recv(socket, &peer, sizeof(peer), MSG_WAITALL) == sizeof(peer);
      if (good)
        peers[static_cast<size_t>(peer)] = socket;
      --missing;
    }
    good = good && !stop;
  }
  ::close(listener);
  return good;
}

/// Moves what it can of the first piece for a peer.
bool Sockets::progress(bool send, int peer, std::vector<Piece> &pieces, bool &lost) {
  for (size_t i = 0; i < pieces.size(); ++i) {
    Piece &piece = pieces[i];
    if (piece.peer != peer)
      continue;
    int socket = peers[static_cast<size_t>(peer)];
    ssize_t bytes = send ? ::send(socket, piece.data, piece.bytes, MSG_DONTWAIT | MSG_NOSIGNAL)
                         : ::recv(socket, piece.data, piece.bytes, MSG_DONTWAIT);
    lost = lost || bytes == 0 || (bytes < 0 && errno != EAGAIN && errno != EINTR);
    if (bytes <= 0)
      return false;
    piece.data += bytes;
    piece.bytes -= static_cast<size_t>(bytes);
    if (piece.bytes == 0)
      pieces.erase(pieces.begin() + static_cast<std::ptrdiff_t>(i));
    return true;
  }
  return false;
}

/// The pieces to oneself, which are taken out.
static bool moveOwn(int rank, std::vector<Piece> &sends, std::vector<Piece> &receives) {
  auto own = [&](const Piece &piece) { return piece.peer == rank; };
  auto to = receives.begin();
  for (const Piece &from : sends)
    if (own(from)) {
      to = std::find_if(to, receives.end(), own);
      if (to == receives.end() || to->bytes != from.bytes)
        return false;
      std::memcpy(to++->data, from.data, from.bytes);
    }
  std::erase_if(sends, own);
  std::erase_if(receives, own);
  return true;
}

bool Sockets::move(std::vector<Piece> sends, std::vector<Piece> receives) {
  bool lost = !moveOwn(rank, sends, receives);
  while (!lost && !stop && !(sends.empty() && receives.empty())) {
    bool moved = false;
    for (int peer = 0; peer < static_cast<int>(peers.size()) && !lost; ++peer)
      for (bool send : {true, false})
        moved = progress(send, peer, send ? sends : receives, lost) || moved;
    if (!moved)
      ::usleep(20);
  }
  return !lost && !stop;
}

} // namespace llmc::test
