//===- Worker.cpp - one rank of a test, as a process ----------------------===//
//
// comm_worker BACKEND SCENARIO FOLDER [RANK SIZE PORT]: writes what it found to FOLDER/RANK; see Processes.h.
//
//===----------------------------------------------------------------------===//
#include "runtime/comm/Worlds.h"
#include "test/runtime/comm/Conformance.h"
#include <csignal>
#include <filesystem>
#include <fstream>
#include <thread>

using namespace llmc::runtime;
using namespace std::chrono_literals;

namespace {

/// The error that ends a loop of sums, or nothing after `rounds`.
Status sumRepeatedly(Communicator &comm, int rounds) {
  std::vector<float> numbers(100000, 1.0f);
  Operand operand{numbers.data(), numbers.data(), numbers.size()};
  for (int round = 0; round < rounds; ++round)
    if (Status status = comm.allReduce({&operand, 1}, fb::DataType::F32, Reduction::Max); !status.ok())
      return status;
  return Status::success();
}

/// What the scenarios of failures do after all ranks have met; `odd` is the rank that misbehaves.
Status misbehave(World &world, const std::string &scenario, bool odd) {
  if (scenario == "absent") {
    world.setDeadline(300ms);
    if (odd)
      std::this_thread::sleep_for(900ms);
    return odd ? Status::success() : sumRepeatedly(world.all(), 1);
  }
  world.setDeadline(2000ms);
  if (odd) { // the others are in the middle of something
    (void)sumRepeatedly(world.all(), 20);
    if (scenario == "killed")
      (void)raise(SIGKILL);
    return Status::success();
  }
  return sumRepeatedly(world.all(), 1 << 30);
}

} // namespace

int main(int argc, char **argv) {
  if (argc < 4)
    return 2;
  std::string backend = argv[1], scenario = argv[2], folder = argv[3];
  WorldOptions options;
  options.deadline = scenario == "late" ? 700ms : 10000ms;
  if (argc > 6) {
    options.rank = static_cast<unsigned>(std::stoul(argv[4]));
    options.size = static_cast<unsigned>(std::stoul(argv[5]));
    options.address = "127.0.0.1"; // also where no name is resolved
    options.port = static_cast<uint16_t>(std::stoul(argv[6]));
  }
  constexpr unsigned kOdd = 2;
  if (scenario == "late" && options.rank == kOdd)
    return 0;
  auto start = std::chrono::steady_clock::now();
  Result<std::unique_ptr<World>> world = openWorld(backend == "mpi" ? Backend::Mpi : Backend::Gloo, options);
  Status status = world.status();
  unsigned rank = world.ok() ? (*world)->rank() : options.rank;
  std::string result;
  if (world.ok() && scenario == "conform") {
    llmc::test::Outcome outcome = llmc::test::checkConformance(**world);
    result = outcome.problems.empty() ? std::to_string(outcome.digest) : outcome.problems;
  } else {
    if (world.ok()) {
      start = std::chrono::steady_clock::now();
      status = misbehave(**world, scenario, rank == kOdd);
    }
    auto taken = std::chrono::duration_cast<std::chrono::milliseconds>(std::chrono::steady_clock::now() - start);
    result = std::to_string(static_cast<int>(status.code)) + " " + std::to_string(taken.count()) + " " + status.message;
  }
  std::string file = folder + "/" + std::to_string(rank);
  std::ofstream(file + ".part") << result;
  std::filesystem::rename(file + ".part", file);
  // mpiexec ends the others when the first ends.
  bool waits = world.ok() && backend == "mpi" && scenario != "conform";
  unsigned ranks = waits ? (*world)->size() : 0, expected = scenario == "killed" && ranks > 0 ? ranks - 1 : ranks;
  if (world.ok())
    (*world).reset(); // rank 2 leaves
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
