//===- MpiLink.cpp - messages over MPI ------------------------------------===//
//
// Nonblocking calls on a communicator of our own, asked for completion: no wait in MPI, which has no deadlines, but in
// MPI_Init and MPI_Finalize. A process that ends without MPI_Finalize makes mpirun end the others.
//
// Where the launcher speaks PMIx, the ranks meet over TCP before MPI starts, as those over Gloo do. That names who is missing
// while MPI starts and ends, and who dies while all work.
//
//===----------------------------------------------------------------------===//
#define OMPI_SKIP_MPICXX
#include "runtime/comm/Failure.h"
#include "runtime/comm/Plugin.h"
#include "runtime/comm/mpi/Helper.h"
#include "runtime/comm/mpi/Launcher.h"
#include "runtime/comm/network/NetworkWorld.h"
#include "runtime/comm/rendezvous/Place.h"
#include "runtime/comm/rendezvous/Rendezvous.h"
#include <chrono>
#include <mpi.h>
#include <random>
#include <string>
#include <thread>
#include <vector>

namespace llmc::runtime {
namespace {

/// What MPI says when it has started.
struct Job {
  MPI_Comm world = MPI_COMM_NULL;
  unsigned rank = 0, size = 1;
  uint64_t tags = 32767;
};

/// Waits for all ranks, forever.
Status startMpi(Job &job) {
  int level = MPI_THREAD_SERIALIZED, value = 0;
  if (MPI_Init_thread(nullptr, nullptr, MPI_THREAD_SERIALIZED, &level) != MPI_SUCCESS || level < MPI_THREAD_SERIALIZED)
    return Status::wrongUse("MPI does not start in a process with threads");
  MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_RETURN);
  if (MPI_Comm_dup(MPI_COMM_WORLD, &job.world) != MPI_SUCCESS)
    return Status::internal("MPI_Comm_dup failed");
  MPI_Comm_set_errhandler(job.world, MPI_ERRORS_RETURN);
  MPI_Comm_rank(job.world, &value);
  job.rank = static_cast<unsigned>(value);
  MPI_Comm_size(job.world, &value);
  job.size = static_cast<unsigned>(value);
  void *limit = nullptr;
  int known = 0;
  MPI_Comm_get_attr(MPI_COMM_WORLD, MPI_TAG_UB, &limit, &known);
  if (known)
    job.tags = static_cast<uint64_t>(*static_cast<int *>(limit));
  return Status::success();
}

Status endMpi(Job &job) {
  MPI_Comm_free(&job.world);
  return MPI_Finalize() == MPI_SUCCESS ? Status::success() : Status::internal("MPI_Finalize failed");
}

/// Whether `options` name a rank and size, and others than `who` says.
Status checkPlace(const WorldOptions &options, const std::string &who, unsigned rank, unsigned size) {
  if (options.size == 0 || (options.size == size && options.rank == rank))
    return Status::success();
  return Status::wrongUse(who + " started this process as rank " + std::to_string(rank) + " of " + std::to_string(size) +
                          ", not as rank " + std::to_string(options.rank) + " of " + std::to_string(options.size));
}

class MpiLink : public Link {
public:
  /// MPI's start and end know no deadline: a thread of their own is in them, and the ranks agree over TCP on what becomes of it.
  Status open(const WorldOptions &given) {
    options = given;
    int initialized = 0, finalized = 0;
    MPI_Initialized(&initialized);
    MPI_Finalized(&finalized);
    if (initialized || finalized)
      return Status::wrongUse("this process has opened a world over MPI before");
    if (launcher = Launcher::find(); launcher)
      if (Status status = meet(); !status.ok())
        return status;
    if (Status status = together("MPI_Init", [job = job] { return startMpi(*job); }); !status.ok())
      return status;
    if (Status status = checkPlace(options, "MPI", job->rank, job->size); !status.ok())
      return status;
    return rendezvous ? rendezvous->watch() : Status::success();
  }

  unsigned rank() const override { return job->rank; }
  unsigned size() const override { return job->size; }
  uint64_t maximumTag() const override { return job->tags; }
  Status loss() override { return rendezvous ? rendezvous->loss() : Status::success(); }
  void leave(const Status &reason) override {
    if (rendezvous)
      rendezvous->leave(reason);
  }

  Progress start(size_t number, const Packet &packet) override {
    if (requests.size() <= number)
      requests.resize(number + 1, {MPI_REQUEST_NULL, false, 0});
    int bytes = static_cast<int>(packet.bytes);
    int peer = packet.peer == Packet::kAnyone ? MPI_ANY_SOURCE : static_cast<int>(packet.peer);
    int tag = static_cast<int>(packet.tag);
    MPI_Request &request = requests[number].handle;
    requests[number].send = packet.send;
    requests[number].bytes = bytes;
    int error = packet.send ? MPI_Isend(packet.data, bytes, MPI_BYTE, peer, tag, job->world, &request)
                            : MPI_Irecv(packet.data, bytes, MPI_BYTE, peer, tag, job->world, &request);
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
    Status status = together("MPI_Finalize", [job = job] { return endMpi(*job); });
    return status.ok() && launcher ? launcher->leave() : status;
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

  /// The ranks find each other through the launcher's store.
  Status meet() {
    if (Status status = checkPlace(options, "the launcher", launcher->rank(), launcher->size()); !status.ok())
      return status;
    options.rank = launcher->rank();
    options.size = launcher->size();
    if (options.size == 1)
      return Status::success();
    WorldOptions places = options;
    Place place;
    if (places.rank > 0) {
      if (Status status = getPlace(place); !status.ok())
        return status;
    } else {
      place.job = std::random_device()() | uint64_t(std::random_device()()) << 32;
    }
    places.address = place.addresses;
    places.port = place.port;
    auto announce = [&](uint16_t port) { return launcher->put(describeThisMachine(port, place.job)); };
    auto met = Rendezvous::meet(places, place.job, announce);
    if (met.ok())
      rendezvous = std::move(*met);
    return met.status();
  }

  /// Where rank 0 listens.
  Status getPlace(Place &place) {
    constexpr std::chrono::milliseconds kGrace(300); // it may be about to say so
    std::string text;
    Outcome outcome = launcher->get(0, text, Until(Clock::now() + options.deadline, options.told, kGrace));
    if (outcome == Outcome::Gone)
      return Status::internal("PMIx does not ask for the text of rank 0");
    if (outcome == Outcome::Late)
      return options.isTold() ? toldToEnd({0}) : deadlinePassed({0}, options.deadline);
    return readPlace(text, place) ? Status::success() : Status::internal("rank 0 says that it is at '" + text + "'");
  }

  /// A task that ends when all ranks do theirs. It may be left behind.
  Status together(const std::string &name, std::function<Status()> task) {
    std::future<Status> outcome = helper.start(std::move(task));
    auto end = Clock::now() + options.deadline;
    auto part = [&]() -> std::optional<Status> {
      if (outcome.wait_for(std::chrono::seconds(0)) == std::future_status::ready)
        return outcome.get();
      if (Clock::now() < end)
        return std::nullopt;
      std::string limit = std::to_string(options.deadline.count()) + " ms";
      return Status{StatusCode::DeadlinePassed, name + " has not returned within " + limit + ": not all ranks have come", ""};
    };
    if (rendezvous)
      return rendezvous->conclude(part);
    std::optional<Status> own;
    while (!(own = part()))
      outcome.wait_for(std::chrono::milliseconds(100));
    return std::move(*own);
  }

  WorldOptions options;
  std::shared_ptr<Job> job = std::make_shared<Job>();
  Helper helper; // the thread in MPI_Init, and in MPI_Finalize
  std::unique_ptr<Launcher> launcher;
  std::unique_ptr<Rendezvous> rendezvous;
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
