//===- Ranks.cpp - where the ranks of a job run ---------------------------===//
#include "tools/llmc-run/Ranks.h"
#include "runtime/comm/Agree.h"
#include "runtime/comm/Failure.h"
#include "runtime/comm/local/LocalWorld.h"
#include "tools/llmc-run/Binding.h"
#include "tools/llmc-run/Launch.h"
#include "tools/llmc-run/Watch.h"
#include <algorithm>
#include <condition_variable>
#include <mutex>
#include <thread>
#include <utility>

using namespace llmc::runtime;

namespace llmc::tool {
namespace {

/// Threads of a rank when `local` ranks share this machine.
unsigned threadsFor(const RanksOptions &options, unsigned local) {
  unsigned all = options.threads ? options.threads : availableCores();
  return std::max(1u, all / std::max(1u, local));
}

/// How long a process goes on after it was told to end, for what other ranks say. Launchers kill it after a second or more.
constexpr std::chrono::milliseconds kProcessGrace(400);

Status runThreads(unsigned ranks, const RanksOptions &options, const RankMain &rankMain) {
  std::vector<std::unique_ptr<World>> worlds = LocalWorld::create(ranks);
  std::mutex mutex;
  std::condition_variable changed;
  std::vector<Status> ended;
  std::vector<std::thread> threads;
  unsigned share = threadsFor(options, ranks); // of all cores: before binding
  for (unsigned rank = 0; rank < ranks; ++rank)
    threads.emplace_back([&, rank] {
      if (options.bind)
        bindToShare(rank, ranks);
      worlds[rank]->setDeadline(options.wait());
      Status outcome;
      {
        WatchedRank watched(rank);
        outcome = rankMain(watched, rank, worlds[rank].get(), share);
      }
      worlds[rank].reset();
      std::lock_guard<std::mutex> lock(mutex);
      ended.push_back(std::move(outcome));
      changed.notify_one();
    });
  {
    std::unique_lock<std::mutex> lock(mutex);
    auto allEnded = [&] { return ended.size() == ranks; };
    changed.wait(lock, [&] { return allEnded() || (!ended.empty() && !causeOf(ended).ok()); });
    if (!changed.wait_for(lock, kFailedJobGrace, allEnded))
      endWithReport("does not end, although the job has failed: " + causeOf(ended).message, causeOf(ended).code);
  }
  for (std::thread &thread : threads)
    thread.join();
  return causeOf(ended);
}

/// Ranks find rank 0, meet there, and connect, with a deadline for each; the limit is for where these fail.
Result<std::unique_ptr<World>> join(Backend backend, const WorldOptions &options) {
  Limit limit(3 * (options.deadline + std::chrono::seconds(1)));
  return openWorld(backend, options);
}

/// The rank's number among the ranks of its machine, and how many they are.
std::pair<unsigned, unsigned> placeOnMachine(const std::vector<std::string> &processes, unsigned rank) {
  auto hostOf = [](const std::string &process) { return process.substr(0, process.rfind(' ')); };
  unsigned index = 0, count = 0;
  for (unsigned other = 0; other < processes.size(); ++other)
    if (hostOf(processes[other]) == hostOf(processes[rank])) {
      index += other < rank;
      ++count;
    }
  return {index, count};
}

Status runProcess(Backend backend, unsigned ranks, const RanksOptions &options, const RankMain &rankMain) {
  WorldOptions worldOptions;
  worldOptions.deadline = options.wait();
  worldOptions.told = &toldToEnd();
  worldOptions.onLoss = noteLoss;
  if (backend == Backend::Gloo)
    if (Status status = readPlace(processEnvironment, ranks, worldOptions); !status.ok())
      return status;
  WatchedRank watched(ownRank(processEnvironment));
  watched.setDoing("joining the job");
  auto world = join(backend, worldOptions);
  if (!world.ok()) {
    watched.report(world.status());
    return during("joining the job", world.status());
  }
  if ((*world)->size() != ranks)
    return Status::wrongUse("the plan is for " + std::to_string(ranks) + " ranks, the job has " + std::to_string((*world)->size()),
                            "start as many, or compile for another mesh");
  auto processes = gatherTexts(**world, thisProcess());
  if (!processes.ok()) {
    watched.report(processes.status());
    return during("joining the job", processes.status());
  }
  auto [index, count] = placeOnMachine(*processes, (*world)->rank());
  watchProcesses(std::move(*processes));
  unsigned threads = threadsFor(options, count); // of all cores: before binding
  if (options.bind && backend == Backend::Gloo) // mpirun and srun bind
    bindToShare(index, count);
  Status status = rankMain(watched, (*world)->rank(), world->get(), threads);
  if (!status.ok() && !status.isUserEnd())
    return status;
  Limit limit(worldOptions.deadline); // all is done; but a library may wait at its end for a rank that has stopped since
  world->reset();
  return status;
}

} // namespace

Status runRanks(unsigned ranks, const RanksOptions &options, const RankMain &rankMain) {
  std::string comm = chosenComm(options.comm, options.ranks, processEnvironment);
  if (comm == "local") {
    unsigned asked = options.ranks > 0 ? options.ranks : 1;
    if (asked != ranks)
      return Status::wrongUse("the plan is for " + std::to_string(ranks) + " ranks, not " + std::to_string(asked),
                              ranks == 1 ? "compile with `mesh` for several"
                                         : "run it with --ranks " + std::to_string(ranks) + ", or with mpirun -n " +
                                               std::to_string(ranks) + " llmc-run ...");
    beginWatch(options.logFolder, std::chrono::milliseconds(0), ranks > 1);
    if (ranks == 1) {
      WatchedRank watched(0);
      return rankMain(watched, 0, nullptr, threadsFor(options, 1));
    }
    return runThreads(ranks, options, rankMain);
  }
  beginWatch(options.logFolder, kProcessGrace, true);
  return runProcess(comm == "mpi" ? Backend::Mpi : Backend::Gloo, ranks, options, rankMain);
}

} // namespace llmc::tool
