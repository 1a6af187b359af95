//===- Link.h - what a library for messages must offer ----------*- C++ -*-===//
//
// Gloo and MPI differ in how bytes get from process to process, and in nothing else: collectives, deadlines, groups and
// failures are in NetworkWorld.
//
//===----------------------------------------------------------------------===//
#ifndef LLMC_RUNTIME_COMM_NETWORK_LINK_H
#define LLMC_RUNTIME_COMM_NETWORK_LINK_H

#include "runtime/support/Status.h"
#include <cstddef>
#include <cstdint>

namespace llmc::runtime {

/// A message on its way; `peer` is a rank of the world, or, to receive, kAnyone. Messages of equal sender, receiver and
/// tag keep their order.
struct Packet {
  static constexpr unsigned kAnyone = ~0u;
  bool send;
  unsigned peer;
  uint64_t tag;
  void *data;
  size_t bytes; // 1 to Link::kPacketBytes; the receiver knows the size
};

class Link {
public:
  static constexpr size_t kPacketBytes = size_t(1) << 30;
  enum class Progress { Pending, Done, Lost }; // Lost: the peer cannot be reached any more

  virtual ~Link() = default;
  virtual unsigned rank() const = 0;
  virtual unsigned size() const = 0;
  virtual uint64_t maximumTag() const = 0;

  /// Begins the transfer of a packet, under a number that `wait` is asked by. Never waits for the peer. The number is
  /// free for use again once the answer was Done or Lost.
  virtual Progress start(size_t number, const Packet &packet) = 0;
  /// Waits for a transfer, for about 10 ms at most.
  virtual Progress wait(size_t number) = 0;
  /// Drops what is pending from number `first` on: its memory is not touched any more.
  virtual void drop(size_t first) = 0;
  /// What is known without a transfer that shows it: RankDied, or why another rank gives up; success if nothing is.
  virtual Status loss() { return Status::success(); }
  /// This rank gives up: for the `loss` of the others.
  virtual void leave(const Status &) {}
  /// The orderly end, after all ranks have agreed on it. Nothing is called afterwards.
  virtual Status close() = 0;
};

} // namespace llmc::runtime

#endif // LLMC_RUNTIME_COMM_NETWORK_LINK_H
