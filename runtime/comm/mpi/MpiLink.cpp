//===- MpiLink.cpp - messages over MPI ------------------------------------===//
//
// Nonblocking calls on a communicator of our own, asked for completion: no wait in MPI, which has no deadlines, but in
// MPI_Init and MPI_Finalize. A process that ends without MPI_Finalize makes mpirun end the others.
//
//===----------------------------------------------------------------------===//
#define OMPI_SKIP_MPICXX
#include "runtime/comm/Plugin.h"
#include "runtime/comm/network/NetworkWorld.h"
#include <chrono>
#include <mpi.h>
#include <string>
#include <thread>
#include <vector>

namespace llmc::runtime {
namespace {

class MpiLink : public Link {
public:
  Status open(const WorldOptions &options) {
    int initialized = 0, finalized = 0, level = MPI_THREAD_SERIALIZED, value = 0;
    MPI_Initialized(&initialized);
    MPI_Finalized(&finalized);
    if (initialized || finalized)
      return Status::wrongUse("this process has opened a world over MPI before");
    if (MPI_Init_thread(nullptr, nullptr, MPI_THREAD_SERIALIZED, &level) != MPI_SUCCESS || level < MPI_THREAD_SERIALIZED)
      return Status::wrongUse("MPI does not start in a process with threads");
    MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_RETURN);
    if (MPI_Comm_dup(MPI_COMM_WORLD, &world) != MPI_SUCCESS)
      return Status::internal("MPI_Comm_dup failed");
    MPI_Comm_set_errhandler(world, MPI_ERRORS_RETURN);
    MPI_Comm_rank(world, &value);
    own = static_cast<unsigned>(value);
    MPI_Comm_size(world, &value);
    count = static_cast<unsigned>(value);
    void *limit = nullptr;
    int known = 0;
    MPI_Comm_get_attr(MPI_COMM_WORLD, MPI_TAG_UB, &limit, &known);
    tags = known ? static_cast<uint64_t>(*static_cast<int *>(limit)) : 32767;
    if (options.size > 0 && (options.size != count || options.rank != own))
      return Status::wrongUse("MPI started this process as rank " + std::to_string(own) + " of " +
                              std::to_string(count) + ", not as rank " + std::to_string(options.rank) + " of " +
                              std::to_string(options.size));
    return Status::success();
  }

  unsigned rank() const override { return own; }
  unsigned size() const override { return count; }
  uint64_t maximumTag() const override { return tags; }

  Progress start(size_t number, const Packet &packet) override {
    if (requests.size() <= number)
      requests.resize(number + 1, {MPI_REQUEST_NULL, false, 0});
    int bytes = static_cast<int>(packet.bytes);
    int peer = packet.peer == Packet::kAnyone ? MPI_ANY_SOURCE : static_cast<int>(packet.peer);
    int tag = static_cast<int>(packet.tag);
    MPI_Request &request = requests[number].handle;
    requests[number].send = packet.send;
    requests[number].bytes = bytes;
    int error = packet.send ? MPI_Isend(packet.data, bytes, MPI_BYTE, peer, tag, world, &request)
                            : MPI_Irecv(packet.data, bytes, MPI_BYTE, peer, tag, world, &request);
    return error == MPI_SUCCESS ? Progress::Pending : Progress::Lost;
  }

  Progress wait(size_t number) override {
    auto end = std::chrono::steady_clock::now() + std::chrono::milliseconds(10);
    for (int round = 0;; ++round) {
      Progress progress = test(requests[number]);
      if (progress != Progress::Pending || std::chrono::steady_clock::now() >= end)
        return progress;
      if (round < kYields)
        std::this_thread::yield();
      else
        std::this_thread::sleep_for(std::chrono::microseconds(20));
    }
  }

  /// MPI moves bytes only inside its calls, and receives that are dropped are followed by none but MPI_Finalize.
  void drop(size_t first) override {
    for (size_t i = first; i < requests.size(); ++i) {
      if (requests[i].handle == MPI_REQUEST_NULL)
        continue;
      if (!requests[i].send)
        MPI_Cancel(&requests[i].handle);
      MPI_Request_free(&requests[i].handle);
    }
    requests.resize(std::min(requests.size(), first), {MPI_REQUEST_NULL, false, 0});
  }

  Status close() override {
    MPI_Comm_free(&world);
    return MPI_Finalize() == MPI_SUCCESS ? Status::success() : Status::internal("MPI_Finalize failed");
  }

private:
  struct Request {
    MPI_Request handle;
    bool send;
    int bytes;
  };
  static constexpr int kYields = 200;

  static Progress test(Request &request) {
    int done = 0, bytes = 0;
    MPI_Status status;
    if (MPI_Test(&request.handle, &done, &status) != MPI_SUCCESS)
      return Progress::Lost;
    if (!done)
      return Progress::Pending;
    if (!request.send && (MPI_Get_count(&status, MPI_BYTE, &bytes) != MPI_SUCCESS || bytes != request.bytes))
      return Progress::Lost;
    return Progress::Done;
  }

  MPI_Comm world = MPI_COMM_NULL;
  unsigned own = 0, count = 1;
  uint64_t tags = 0;
  std::vector<Request> requests;
};

} // namespace
} // namespace llmc::runtime

void llmcOpenWorld(const llmc::runtime::WorldOptions &options, llmc::runtime::Status &status,
                   std::unique_ptr<llmc::runtime::World> &world) {
  using namespace llmc::runtime;
  auto link = std::make_unique<MpiLink>();
  status = link->open(options);
  if (status.ok())
    world = std::make_unique<NetworkWorld>(std::move(link), options.deadline);
}
