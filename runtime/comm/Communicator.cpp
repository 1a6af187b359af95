//===- Communicator.cpp - arguments of collectives, checked once for all backends ----===//
#include "runtime/comm/Communicator.h"
#include "runtime/comm/Reduce.h"
#include <algorithm>

namespace llmc::runtime {

static bool reduces(CollectiveKind kind) {
  return kind == CollectiveKind::AllReduce || kind == CollectiveKind::ReduceScatter;
}

Status Communicator::checked(const Collective &call) {
  if (reduces(call.kind) && !canReduce(call.type))
    return Status::wrongUse(std::string("elements of type ") + fb::EnumNameDataType(call.type) + " cannot be reduced");
  if (call.root >= size())
    return Status::wrongUse("root " + std::to_string(call.root) + " of a group of " + std::to_string(size()));
  bool needsFrom = call.kind != CollectiveKind::Broadcast || rank() == call.root;
  for (const Operand &operand : call.operands)
    if (operand.elements > 0 && (!operand.to || (needsFrom && !operand.from)))
      return Status::wrongUse("an operand of a collective has no address");
  Status status = run(call);
  if (status.ok())
    ++sent.calls;
  return status;
}

Status Communicator::allReduce(std::span<const Operand> operands, fb::DataType type, Reduction reduction) {
  return checked({CollectiveKind::AllReduce, operands, type, reduction});
}

Status Communicator::allGather(std::span<const Operand> operands, fb::DataType type) {
  return checked({CollectiveKind::AllGather, operands, type});
}

Status Communicator::reduceScatter(std::span<const Operand> operands, fb::DataType type, Reduction reduction) {
  return checked({CollectiveKind::ReduceScatter, operands, type, reduction});
}

Status Communicator::broadcast(std::span<const Operand> operands, fb::DataType type, unsigned root) {
  return checked({CollectiveKind::Broadcast, operands, type, Reduction::Sum, root});
}

Status Communicator::allToAll(std::span<const Operand> operands, fb::DataType type) {
  return checked({CollectiveKind::AllToAll, operands, type});
}

Status Communicator::barrier() { return checked({}); }

Status Communicator::exchange(std::span<const Transfer> transfers) {
  uint64_t bytes = 0;
  for (const Transfer &transfer : transfers) {
    if (transfer.peer >= size() || transfer.peer == rank())
      return Status::wrongUse("rank " + std::to_string(rank()) + " of a group of " + std::to_string(size()) +
                              " has no peer " + std::to_string(transfer.peer));
    if (transfer.tag >= kTags)
      return Status::wrongUse("tag " + std::to_string(transfer.tag) + " is not below " + std::to_string(kTags));
    if (transfer.bytes > 0 && !transfer.data)
      return Status::wrongUse("a transfer has no address");
    bytes += transfer.kind == Transfer::Send ? transfer.bytes : 0;
  }
  Status status = runExchange(transfers);
  if (status.ok()) {
    sent.bytesSent += bytes;
    ++sent.calls;
  }
  return status;
}

Status Communicator::send(unsigned peer, unsigned tag, std::span<const std::byte> bytes) {
  Transfer transfer{Transfer::Send, peer, tag, const_cast<std::byte *>(bytes.data()), bytes.size()};
  return exchange({&transfer, 1});
}

Status Communicator::recv(unsigned peer, unsigned tag, std::span<std::byte> bytes) {
  Transfer transfer{Transfer::Receive, peer, tag, bytes.data(), bytes.size()};
  return exchange({&transfer, 1});
}

} // namespace llmc::runtime
