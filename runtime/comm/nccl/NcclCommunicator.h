//===- NcclCommunicator.h - a GPU's view of its group -----------*- C++ -*-===//
#ifndef LLMC_RUNTIME_COMM_NCCL_NCCLCOMMUNICATOR_H
#define LLMC_RUNTIME_COMM_NCCL_NCCLCOMMUNICATOR_H

#include "runtime/comm/Communicator.h"
#include "runtime/comm/nccl/Device.h"
#include <functional>

namespace llmc::runtime::nccl {

/// What the communicators of a world share.
struct Shared {
  World &bootstrap;
  std::unique_ptr<Device> device;
  std::chrono::milliseconds deadline;
  Status failure;
};

class NcclCommunicator : public Communicator {
public:
  /// `meeting`: the bootstrap world's communicator of the same ranks; `own`: the same, where it is for this one alone.
  NcclCommunicator(Shared &shared, Communicator &meeting, std::unique_ptr<Communicator> own = nullptr)
      : Communicator(meeting.ranks(), meeting.rank()), shared(shared), functions(shared.device->libraries),
        meeting(meeting), own(std::move(own)) {}
  ~NcclCommunicator() override;
  /// All ranks of the group call it, before anything else.
  Status open();

private:
  Status run(const Collective &call) override;
  Status runExchange(std::span<const Transfer> transfers) override;

  NcclResult enqueue(const Collective &call, const Operand &operand, size_t width);
  Status inGroup(size_t calls, const std::function<NcclResult(size_t)> &issue);
  Status await();
  Status expired();
  Status failed(NcclResult result);
  Status failed(CudaResult result);
  Status giveUp(Status status);
  void abort();

  Shared &shared;
  const Libraries &functions;
  Communicator &meeting;
  const std::unique_ptr<Communicator> own;
  CudaStream stream = nullptr;
  NcclComm comm = nullptr;
};

} // namespace llmc::runtime::nccl

#endif // LLMC_RUNTIME_COMM_NCCL_NCCLCOMMUNICATOR_H
