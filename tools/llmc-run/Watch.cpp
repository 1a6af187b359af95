//===- Watch.cpp - what a rank leaves behind when its job fails -----------===//
#include "tools/llmc-run/Watch.h"
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>
#include <optional>
#include <unistd.h>

using namespace llmc::runtime;

namespace llmc::tool {
namespace {

struct Watched {
  std::string doing = "starting";
  const Executor *executor = nullptr;
};

struct Registry {
  std::mutex mutex; // held while a report is made, so that executors stay
  std::map<unsigned, Watched> ranks;
  std::string logFolder;
  std::vector<std::string> processes; // of all ranks, if they are not threads of this one
  std::string loss;                   // of another rank, if one is known
  std::chrono::milliseconds grace{0};
  bool several = false; // processes or threads that are ranks of one job
  unsigned stepping = 0; // ranks of this process that are in their steps
  std::atomic<int> stop{0};
  std::atomic<std::chrono::steady_clock::time_point> told = std::chrono::steady_clock::time_point::max();
};

/// Never destroyed: threads that report outlive main.
Registry &registry() {
  static Registry &instance = *new Registry;
  return instance;
}

void writeLog(unsigned rank, const Watched &watched) {
  std::string folder = registry().logFolder.empty() ? "." : registry().logFolder;
  std::string path = folder + "/llmc-rank-" + std::to_string(rank) + ".log";
  std::error_code error; // shows when the file is opened
  std::filesystem::create_directories(folder, error);
  std::ofstream file(path);
  file << (watched.executor ? watched.executor->historyText() : "rank " + std::to_string(rank) + ", no instruction has run\n");
  file << "now: " << watched.doing << "\n";
  if (file.flush())
    std::fprintf(stderr, "note: the last instructions of rank %u are in %s\n", rank, path.c_str());
  else
    std::fprintf(stderr, "note: the last instructions of rank %u cannot be written to %s\n", rank, path.c_str());
}

std::string placeOf(const Watched &watched) {
  auto entries = watched.executor ? watched.executor->history().entries() : std::vector<History::Entry>();
  if (entries.empty())
    return watched.doing + ", before the first instruction";
  return watched.doing + (entries.back().end ? ", after " : ", in ") + watched.executor->describe(entries.back());
}

/// Whether a process of this machine has ended, be it that nobody has asked how.
bool isGone(int pid) {
  if (::kill(pid, 0) != 0)
    return errno == ESRCH;
  std::ifstream stream("/proc/" + std::to_string(pid) + "/stat");
  std::string text;
  std::getline(stream, text);
  size_t at = text.rfind(") ");
  return at != std::string::npos && at + 2 < text.size() && (text[at + 2] == 'Z' || text[at + 2] == 'X');
}

/// The ranks of this machine whose processes are gone, as text.
std::string goneRanks(const std::vector<std::string> &processes) {
  std::string own = thisProcess(), host = own.substr(0, own.rfind(' ') + 1), gone;
  for (size_t rank = 0; rank < processes.size(); ++rank) {
    if (processes[rank].compare(0, host.size(), host) != 0)
      continue;
    int pid = std::atoi(processes[rank].c_str() + host.size());
    if (pid > 0 && isGone(pid))
      gone += (gone.empty() ? "" : ", ") + std::to_string(rank);
  }
  return gone;
}

/// Who is missing, as text; where no rank knows, the ranks of this machine whose processes are gone.
std::string whoIsMissing(const std::vector<std::string> &processes, const std::string &loss) {
  if (!loss.empty())
    return "; " + loss;
  std::string gone = goneRanks(processes);
  return gone.empty() ? "" : "; missing: rank " + gone;
}

sigset_t endingSignals() {
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGTERM);
  sigaddset(&signals, SIGINT);
  return signals;
}

const char *nameOf(int signal) { return signal == SIGINT ? "SIGINT" : "SIGTERM"; }

[[noreturn]] void endAtOnce(int signal, const char *why) {
  std::fprintf(stderr, "note: ended by %s %s\n", nameOf(signal), why);
  std::fflush(nullptr);
  std::_Exit(128 + signal);
}

/// A launcher has told the job to end since a rank has failed, or a user has.
[[noreturn]] void endBeforeSteps(int signal) {
  if (!registry().several || signal == SIGINT)
    endAtOnce(signal, "before the first step, or after the last");
  registry().told = std::chrono::steady_clock::now();
  std::this_thread::sleep_for(registry().grace);
  endWithReport("was told to end (SIGTERM), as launchers do when another rank has failed", StatusCode::RankDied);
}

/// The first signal during the steps: they end after the present one. A second one ends the process, and so does the loss of a
/// rank, if what waits for it does not notice.
[[noreturn]] void endAfterStep(int signal, const sigset_t &signals) {
  std::fprintf(stderr, "note: %s: ending after this step; send it again to end at once\n", nameOf(signal));
  registry().stop = signal;
  std::optional<std::chrono::steady_clock::time_point> lost;
  for (;;) {
    timespec wait = {0, 50'000'000};
    int second = sigtimedwait(&signals, nullptr, &wait);
    if (second > 0)
      endAtOnce(second, "before the step was finished");
    bool isLost;
    {
      std::lock_guard<std::mutex> lock(registry().mutex);
      isLost = registry().stepping > 0 && !goneRanks(registry().processes).empty();
    }
    if (isLost && !lost)
      registry().told = *(lost = std::chrono::steady_clock::now());
    if (lost && std::chrono::steady_clock::now() - *lost > registry().grace)
      endWithReport("was told to end (SIGTERM), as launchers do when another rank has failed", StatusCode::RankDied);
  }
}

void awaitSignal() {
  sigset_t signals = endingSignals();
  int number = 0;
  while (sigwait(&signals, &number) != 0)
    ;
  bool isStepping;
  {
    std::lock_guard<std::mutex> lock(registry().mutex);
    isStepping = registry().stepping > 0;
  }
  if (isStepping)
    endAfterStep(number, signals);
  endBeforeSteps(number);
}

} // namespace

void endWithReport(const std::string &reason, StatusCode code) {
  std::lock_guard<std::mutex> lock(registry().mutex); // never let go: who else has something to say is late
  std::string missing = whoIsMissing(registry().processes, registry().loss); // before other survivors end
  if (registry().ranks.empty())
    std::fprintf(stderr, "error: this process %s%s\n", reason.c_str(), missing.c_str());
  for (auto &[rank, watched] : registry().ranks) {
    std::fprintf(stderr, "error: rank %u %s%s; it stood at: %s\n", rank, reason.c_str(), missing.c_str(), placeOf(watched).c_str());
    writeLog(rank, watched);
  }
  if (!registry().processes.empty())
    std::this_thread::sleep_for(std::chrono::milliseconds(300)); // the others look who is gone, too
  std::_Exit(static_cast<int>(code));
}

void beginWatch(const std::string &logFolder, std::chrono::milliseconds grace, bool several) {
  registry().logFolder = logFolder;
  registry().grace = grace;
  registry().several = several;
  sigset_t signals = endingSignals();
  pthread_sigmask(SIG_BLOCK, &signals, nullptr); // all threads inherit it: only one takes the signal
  std::thread(awaitSignal).detach();
}

std::string thisProcess() {
  char host[256] = "";
  ::gethostname(host, sizeof(host) - 1);
  return std::string(host) + " " + std::to_string(::getpid());
}

void watchProcesses(std::vector<std::string> processes) {
  std::lock_guard<std::mutex> lock(registry().mutex);
  registry().processes = std::move(processes);
}

void noteLoss(const Status &loss) {
  {
    std::lock_guard<std::mutex> lock(registry().mutex);
    registry().loss = loss.message;
  }
  std::thread([code = loss.code] {
    std::this_thread::sleep_for(kFailedJobGrace);
    endWithReport("does not end, although the job has failed", code);
  }).detach();
}

const std::atomic<std::chrono::steady_clock::time_point> &toldToEnd() { return registry().told; }

const std::atomic<int> &stopAsked() { return registry().stop; }

Stepping::Stepping() {
  std::lock_guard<std::mutex> lock(registry().mutex);
  ++registry().stepping;
}

Stepping::~Stepping() {
  std::lock_guard<std::mutex> lock(registry().mutex);
  --registry().stepping;
}

WatchedRank::WatchedRank(unsigned rank) : rank(rank) {
  std::lock_guard<std::mutex> lock(registry().mutex);
  registry().ranks[rank];
}

WatchedRank::~WatchedRank() {
  std::lock_guard<std::mutex> lock(registry().mutex);
  registry().ranks.erase(rank);
}

void WatchedRank::setDoing(const std::string &what) {
  std::lock_guard<std::mutex> lock(registry().mutex);
  registry().ranks[rank].doing = what;
}

void WatchedRank::setExecutor(const Executor *executor) {
  std::lock_guard<std::mutex> lock(registry().mutex);
  registry().ranks[rank].executor = executor;
}

void WatchedRank::report(const Status &status) {
  if (status.code != StatusCode::RankDied && status.code != StatusCode::DeadlinePassed)
    return;
  std::lock_guard<std::mutex> lock(registry().mutex);
  writeLog(rank, registry().ranks[rank]);
}

Limit::Limit(std::chrono::milliseconds limit) {
  thread = std::thread([this, limit] {
    std::unique_lock<std::mutex> lock(mutex);
    if (!changed.wait_for(lock, limit, [&] { return done; }))
      endWithReport("waited for other ranks for " + std::to_string(limit.count()) + " ms, not all have come",
                    StatusCode::DeadlinePassed);
  });
}

Limit::~Limit() {
  {
    std::lock_guard<std::mutex> lock(mutex);
    done = true;
  }
  changed.notify_one();
  thread.join();
}

} // namespace llmc::tool
