//===- Worker.cpp - one rank of a test, as a process ----------------------===//
//
// comm_worker BACKEND[+fake|+gpu] SCENARIO FOLDER [RANK SIZE PORT]: writes what it found to FOLDER/RANK; see
// Processes.h.
//
//===----------------------------------------------------------------------===//
#include "runtime/comm/Worlds.h"
#include "runtime/comm/nccl/NcclWorld.h"
#include "test/runtime/comm/Conformance.h"
#include "test/runtime/comm/Gpus.h"
#include <csignal>
#include <filesystem>
#include <fstream>
#include <netinet/in.h>
#include <sys/socket.h>
#include <thread>
#include <unistd.h>

using namespace llmc::runtime;
using namespace std::chrono_literals;

namespace {

/// The world that a scenario is about, and where its operands lie.
struct Place {
  std::unique_ptr<World> processes, gpus; // the first bootstraps the second, if there is one
  std::unique_ptr<llmc::test::Memory> memory = std::make_unique<llmc::test::Memory>();

  World &world() const { return gpus ? *gpus : *processes; }
};

/// The error that ends a loop of maxima, or nothing after `rounds`.
Status reduceRepeatedly(const Place &place, int rounds) {
  Communicator &comm = place.world().all();
  constexpr size_t kCount = 100000;
  llmc::test::Buffer numbers(*place.memory, std::vector<char>(kCount * sizeof(float)));
  Operand operand{numbers.address(), numbers.address(), kCount};
  for (int round = 0; round < rounds; ++round)
    if (Status status = comm.allReduce({&operand, 1}, fb::DataType::F32, Reduction::Max); !status.ok())
      return status;
  return Status::success();
}

/// What the scenarios of failures do after all ranks have met; `odd` is the rank that misbehaves.
Status misbehave(const Place &place, const std::string &scenario, bool odd) {
  if (scenario == "absent") {
    place.world().setDeadline(300ms);
    if (odd)
      std::this_thread::sleep_for(900ms);
    return odd ? Status::success() : reduceRepeatedly(place, 1);
  }
  place.world().setDeadline(2000ms);
  if (odd) { // the others are in the middle of something
    (void)reduceRepeatedly(place, 20);
    if (scenario == "killed")
      (void)raise(SIGKILL);
    if (scenario == "fails")
      return place.world().fail(Status::badInput("the data of rank 2 end"));
    return Status::success();
  }
  return reduceRepeatedly(place, 1 << 30);
}

/// `gpus`: "fake", "gpu", or nothing for ranks without a GPU.
Status open(Backend backend, const WorldOptions &options, const std::string &gpus, Place &place) {
  Result<std::unique_ptr<World>> processes = openWorld(backend, options);
  if (!processes.ok())
    return processes.status();
  place.processes = std::move(*processes);
  if (gpus.empty())
    return Status::success();
  NcclOptions ncclOptions;
  ncclOptions.device = place.processes->rank();
  ncclOptions.deadline = options.deadline;
  ncclOptions.libraries = llmc::test::librariesOf(gpus == "fake" ? llmc::test::Gpus::Fake : llmc::test::Gpus::Real);
  place.memory = std::make_unique<llmc::test::GpuMemory>(ncclOptions.libraries.cuda, ncclOptions.device);
  Result<std::unique_ptr<World>> world = openNcclWorld(*place.processes, ncclOptions);
  if (world.ok())
    place.gpus = std::move(*world);
  return world.status();
}

/// Problems, or the digest.
std::string conform(const Place &place) {
  llmc::test::Promises promises;
  promises.rankOrder = promises.tags = !place.gpus;
  llmc::test::Outcome outcome = llmc::test::checkConformance(place.world(), *place.memory, promises);
  Status ended = place.gpus ? place.processes->finish() : Status::success();
  outcome.problems += ended.message;
  return outcome.problems.empty() ? std::to_string(outcome.digest) : outcome.problems;
}

/// Connects to rank 0 and says nothing until the others have given up.
void connectSilently(uint16_t port) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  for (int i = 0; i < 200; ++i) {
    int socket = ::socket(AF_INET, SOCK_STREAM, 0);
    if (::connect(socket, reinterpret_cast<sockaddr *>(&address), sizeof(address)) == 0)
      return std::this_thread::sleep_for(2500ms);
    ::close(socket);
    std::this_thread::sleep_for(5ms); // rank 0 may start later
  }
}

} // namespace

int main(int argc, char **argv) {
  if (argc < 4)
    return 2;
  std::string kind = argv[1], scenario = argv[2], folder = argv[3];
  std::string backend = kind.substr(0, kind.find('+')), gpus = kind.substr(std::min(backend.size() + 1, kind.size()));
  WorldOptions options;
  options.deadline = scenario == "late" ? 700ms : scenario == "silent" ? 1500ms : 10000ms;
  if (argc > 6) {
    options.rank = static_cast<unsigned>(std::stoul(argv[4]));
    options.size = static_cast<unsigned>(std::stoul(argv[5]));
    options.address = "127.0.0.1"; // also where no name is resolved
    options.port = static_cast<uint16_t>(std::stoul(argv[6]));
  }
  constexpr unsigned kOdd = 2;
  if (scenario == "late" && options.rank == kOdd)
    return 0;
  if (scenario == "silent" && options.rank == kOdd) {
    connectSilently(options.port);
    return 0;
  }
  if (scenario == "silent" && options.rank > 0)
    std::this_thread::sleep_for(300ms); // the silent one is first
  auto start = std::chrono::steady_clock::now();
  Place place;
  Status status = open(backend == "mpi" ? Backend::Mpi : Backend::Gloo, options, gpus, place);
  unsigned rank = place.processes ? place.processes->rank() : options.rank;
  std::string result;
  if (status.ok() && scenario == "conform") {
    result = conform(place);
  } else {
    if (status.ok()) {
      start = std::chrono::steady_clock::now();
      status = misbehave(place, scenario, rank == kOdd);
    }
    auto taken = std::chrono::duration_cast<std::chrono::milliseconds>(std::chrono::steady_clock::now() - start);
    result = std::to_string(static_cast<int>(status.code)) + " " + std::to_string(taken.count()) + " " + status.message;
  }
  std::string file = folder + "/" + std::to_string(rank);
  std::ofstream(file + ".part") << result;
  std::filesystem::rename(file + ".part", file);
  // mpiexec ends the others when the first ends.
  bool waits = place.processes && backend == "mpi" && scenario != "conform";
  unsigned ranks = waits ? place.processes->size() : 0,
           expected = scenario == "killed" && ranks > 0 ? ranks - 1 : ranks;
  place.gpus.reset(); // rank 2 leaves
  place.processes.reset();
  auto written = [&] {
    unsigned count = 0;
    for (unsigned each = 0; each < ranks; ++each)
      count += std::filesystem::exists(folder + "/" + std::to_string(each)) ? 1 : 0;
    return count;
  };
  for (int i = 0; i < 1000 && written() < expected; ++i)
    std::this_thread::sleep_for(5ms);
  return 0;
}
