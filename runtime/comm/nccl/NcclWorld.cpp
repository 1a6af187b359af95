//===- NcclWorld.cpp - ranks with a GPU each ------------------------------===//
#include "runtime/comm/nccl/NcclWorld.h"
#include "runtime/comm/Agree.h"
#include "runtime/comm/Failure.h"
#include "runtime/comm/nccl/NcclCommunicator.h"

namespace llmc::runtime {
namespace {

using nccl::Device;
using nccl::NcclCommunicator;

class NcclWorld : public World {
public:
  NcclWorld(World &bootstrap, std::unique_ptr<Device> device, std::chrono::milliseconds deadline)
      : shared{bootstrap, std::move(device), deadline, Status::success()},
        whole(std::make_unique<NcclCommunicator>(shared, bootstrap.all())) {}

  ~NcclWorld() override {
    if (!finished && shared.failure.ok())
      shared.failure = shared.bootstrap.fail(rankDied(rank()));
  }

  Status open() { return whole->open(); }

  unsigned rank() const override { return shared.bootstrap.rank(); }
  unsigned size() const override { return shared.bootstrap.size(); }
  Communicator &all() override { return *whole; }

  Result<std::unique_ptr<Communicator>> group(std::vector<unsigned> ranks) override {
    if (!shared.failure.ok())
      return shared.failure;
    auto meeting = shared.bootstrap.group(std::move(ranks));
    if (!meeting.ok()) {
      (void)poll(); // wrong use is no failure
      return meeting.status();
    }
    Communicator &same = **meeting;
    auto group = std::make_unique<NcclCommunicator>(shared, same, std::move(*meeting));
    if (Status status = group->open(); !status.ok())
      return status;
    return std::unique_ptr<Communicator>(std::move(group));
  }

  void setDeadline(std::chrono::milliseconds deadline) override {
    shared.deadline = deadline;
    shared.bootstrap.setDeadline(deadline);
  }

  Status poll() override {
    if (shared.failure.ok())
      shared.failure = shared.bootstrap.poll();
    return shared.failure;
  }

  Status fail(Status status) override {
    if (shared.failure.ok())
      shared.failure = shared.bootstrap.fail(std::move(status));
    return shared.failure;
  }

  Status finish() override {
    Status status = whole->barrier();
    finished = status.ok();
    return status;
  }

private:
  nccl::Shared shared;
  std::unique_ptr<NcclCommunicator> whole;
  bool finished = false;
};

Result<std::unique_ptr<Device>> openDevice(const NcclOptions &options) {
  nccl::Libraries libraries;
  if (Status status = nccl::loadCuda(options.libraries.cuda, libraries); !status.ok())
    return status;
  if (Status status = nccl::loadNccl(options.libraries.nccl, libraries); !status.ok())
    return status;
  return Device::open(libraries, options.device);
}

} // namespace

Result<std::unique_ptr<World>> openNcclWorld(World &bootstrap, const NcclOptions &options) {
  bootstrap.setDeadline(options.deadline);
  auto device = openDevice(options);
  if (Status status = agree(&bootstrap, device.status()); !status.ok())
    return status;
  auto world = std::make_unique<NcclWorld>(bootstrap, std::move(*device), options.deadline);
  if (Status status = world->open(); !status.ok())
    return status;
  return std::unique_ptr<World>(std::move(world));
}

} // namespace llmc::runtime
