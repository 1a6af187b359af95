//===- Ranks.cpp - where the ranks of a job run ---------------------------===//
#include "tools/llmc-run/Ranks.h"
#include "runtime/comm/local/LocalWorld.h"
#include "tools/llmc-run/Binding.h"
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <map>
#include <thread>

using namespace llmc::runtime;

namespace llmc::tool {
namespace {

std::mutex watchedMutex;
std::map<unsigned, const Executor *> watched;
RanksOptions watchedOptions;

std::string environment(const char *name) {
  const char *value = std::getenv(name);
  return value ? value : "";
}

bool startedByMpi() {
  return !environment("OMPI_COMM_WORLD_RANK").empty() || !environment("PMI_RANK").empty() || !environment("PMIX_RANK").empty();
}

/// Waits for SIGTERM, which all other threads leave blocked, so that a rank that hangs in a call can still say where.
void awaitSignal() {
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGTERM);
  int number = 0;
  sigwait(&signals, &number);
  std::lock_guard<std::mutex> lock(watchedMutex);
  std::fflush(stdout);
  for (auto &[rank, executor] : watched) {
    writeLog(*executor, watchedOptions);
    auto entries = executor->history().entries();
    std::string where = entries.empty() ? "before the first step" : executor->describe(entries.back());
    std::fprintf(stderr, "error: rank %u was told to end (SIGTERM), another rank has failed; it stood at %s\n", rank, where.c_str());
  }
  std::_Exit(static_cast<int>(StatusCode::RankDied));
}

void blockSigterm() {
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGTERM);
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  std::thread(awaitSignal).detach();
}

std::chrono::milliseconds deadlineOf(const RanksOptions &options) {
  return std::chrono::milliseconds(static_cast<int64_t>(options.deadline * 1000));
}

/// Threads of a rank when `local` ranks share this machine.
unsigned threadsFor(const RanksOptions &options, unsigned local) {
  unsigned all = options.threads ? options.threads : availableCores();
  return std::max(1u, all / std::max(1u, local));
}

Status runThreads(unsigned ranks, const RanksOptions &options, const RankMain &rankMain) {
  std::vector<std::unique_ptr<World>> worlds = LocalWorld::create(ranks);
  std::vector<Status> outcomes(ranks);
  std::vector<std::thread> threads;
  unsigned share = threadsFor(options, ranks); // of all cores: before binding
  for (unsigned rank = 0; rank < ranks; ++rank)
    threads.emplace_back([&, rank] {
      if (options.bind)
        bindToShare(rank, ranks);
      worlds[rank]->setDeadline(deadlineOf(options));
      outcomes[rank] = rankMain(rank, worlds[rank].get(), share);
      if (outcomes[rank].ok())
        outcomes[rank] = worlds[rank]->finish();
      worlds[rank].reset();
    });
  for (std::thread &thread : threads)
    thread.join();
  const Status *shown = nullptr; // a cause goes before what followed from it
  for (const Status &outcome : outcomes)
    if (!outcome.ok() && (!shown || (shown->code == StatusCode::RankDied && outcome.code != StatusCode::RankDied)))
      shown = &outcome;
  return shown ? *shown : Status::success();
}

Status parseNumber(const char *name, uint64_t limit, uint64_t &value) {
  std::string text = environment(name);
  char *end = nullptr;
  value = std::strtoull(text.c_str(), &end, 10);
  if (text.empty() || *end || value >= limit)
    return Status::wrongUse(std::string("the environment variable ") + name + " is '" + text + "', not a number below " +
                                std::to_string(limit),
                            "launchers such as torchrun set RANK, WORLD_SIZE, MASTER_ADDR and MASTER_PORT");
  return Status::success();
}

Status runProcess(Backend backend, unsigned ranks, const RanksOptions &options, const RankMain &rankMain) {
  WorldOptions worldOptions;
  worldOptions.deadline = deadlineOf(options);
  if (backend == Backend::Gloo) {
    uint64_t rank = 0, size = 0, port = 0;
    for (Status status : {parseNumber("RANK", 1u << 20, rank), parseNumber("WORLD_SIZE", 1u << 20, size), parseNumber("MASTER_PORT", 65536, port)})
      if (!status.ok())
        return status;
    worldOptions.rank = static_cast<unsigned>(rank);
    worldOptions.size = static_cast<unsigned>(size);
    worldOptions.port = static_cast<uint16_t>(port);
    worldOptions.address = environment("MASTER_ADDR");
    if (size != ranks)
      return Status::wrongUse("the plan is for " + std::to_string(ranks) + " ranks, WORLD_SIZE is " + std::to_string(size));
  }
  auto world = openWorld(backend, worldOptions);
  if (!world.ok())
    return world.status();
  if ((*world)->size() != ranks)
    return Status::wrongUse("the plan is for " + std::to_string(ranks) + " ranks, the job has " + std::to_string((*world)->size()),
                            "start as many, or compile for another mesh");
  uint64_t local = 1;
  for (const char *name : {"OMPI_COMM_WORLD_LOCAL_SIZE", "LOCAL_WORLD_SIZE", "MPI_LOCALNRANKS"})
    if (uint64_t value = 0; !environment(name).empty() && parseNumber(name, 1u << 20, value).ok())
      local = std::max<uint64_t>(1, value);
  unsigned threads = threadsFor(options, static_cast<unsigned>(local)); // of all cores: before binding
  if (uint64_t index = 0; options.bind && backend == Backend::Gloo && !environment("LOCAL_RANK").empty()) // mpirun and srun bind
    if (parseNumber("LOCAL_RANK", local, index).ok())
      bindToShare(static_cast<unsigned>(index), static_cast<unsigned>(local));
  Status status = rankMain((*world)->rank(), world->get(), threads);
  return status.ok() ? (*world)->finish() : status;
}

} // namespace

void watch(unsigned rank, const Executor *executor) {
  std::lock_guard<std::mutex> lock(watchedMutex);
  if (executor)
    watched[rank] = executor;
  else
    watched.erase(rank);
}

void writeLog(const Executor &executor, const RanksOptions &options) {
  std::string path = (options.logFolder.empty() ? std::string(".") : options.logFolder) + "/llmc-rank-" +
                     std::to_string(executor.rank()) + ".log";
  std::ofstream(path) << executor.historyText();
  std::fprintf(stderr, "note: the last instructions of rank %u are in %s\n", executor.rank(), path.c_str());
}

Status runRanks(unsigned ranks, const RanksOptions &options, const RankMain &rankMain) {
  watchedOptions = options;
  std::string comm = options.comm;
  bool launchedByEnvironment = !environment("RANK").empty() && !environment("WORLD_SIZE").empty();
  if (comm.empty())
    comm = options.ranks > 0 ? "local" : startedByMpi() ? "mpi" : launchedByEnvironment ? "gloo" : "local";
  if (comm == "local") {
    unsigned asked = options.ranks > 0 ? options.ranks : 1;
    if (asked != ranks)
      return Status::wrongUse("the plan is for " + std::to_string(ranks) + " ranks, not " + std::to_string(asked),
                              ranks == 1 ? "compile with `mesh` for several"
                                         : "run it with --ranks " + std::to_string(ranks) + ", or with mpirun -n " +
                                               std::to_string(ranks) + " llmc-run ...");
    if (ranks == 1)
      return rankMain(0, nullptr, threadsFor(options, 1));
    blockSigterm();
    return runThreads(ranks, options, rankMain);
  }
  blockSigterm();
  return runProcess(comm == "mpi" ? Backend::Mpi : Backend::Gloo, ranks, options, rankMain);
}

} // namespace llmc::tool
