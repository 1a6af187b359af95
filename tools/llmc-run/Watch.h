//===- Watch.h - what a rank leaves behind when its job fails ---*- C++ -*-===//
//
// A rank whose job fails says on stderr where it stood, and writes its last instructions to llmc-rank-K.log: also when a
// launcher ends it with SIGTERM, and when it hangs in a call that knows no deadline. A signal of the user ends a job after its step.
//
//===----------------------------------------------------------------------===//
#ifndef LLMC_TOOLS_LLMC_RUN_WATCH_H
#define LLMC_TOOLS_LLMC_RUN_WATCH_H

#include "runtime/executor/Executor.h"
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

namespace llmc::tool {

/// From now on SIGINT and SIGTERM end this process in order. During the steps (Stepping) the first one sets `stopAsked`, and a
/// second one ends the process at once with 128 + signal. Before them it ends so at once; but SIGTERM, which launchers send to
/// the survivors of a job of `several` ranks, makes it report on the ranks it watches and end with the code of a rank that died:
/// after `grace`, in which it may find out from other ranks what has happened, and end by itself. The same during the steps, if
/// another process of the job is gone. Called before any other thread is made; logs go to `logFolder` (empty: here).
void beginWatch(const std::string &logFolder, std::chrono::milliseconds grace, bool several);

/// The signal that asked this process to end after its present step; 0 until then.
const std::atomic<int> &stopAsked();

/// A rank of this process is in its steps, and looks at `stopAsked` after each.
class Stepping {
public:
  Stepping();
  ~Stepping();
  Stepping(const Stepping &) = delete;
};

/// When this process was told to end at once, since the job has not begun or has failed; in the future until then.
const std::atomic<std::chrono::steady_clock::time_point> &toldToEnd();

/// Reports on the ranks that this process still watches, as "rank K `reason`", and ends it.
[[noreturn]] void endWithReport(const std::string &reason, runtime::StatusCode code);

/// This process, for others of the job: "HOST PID".
std::string thisProcess();
/// The processes of all ranks: a report says which of them are gone.
void watchProcesses(std::vector<std::string> processes);
/// How long ranks may go on after their job has failed. Those that wait for others notice at once; one that hangs in a kernel, in
/// reading a file, or in a library that calls the dead, never does.
inline constexpr std::chrono::seconds kFailedJobGrace(2);
/// Another rank has died, or given up for the reason given: reports say so, and this process ends, with one, after the grace.
void noteLoss(const runtime::Status &loss);

/// A rank of this process. What it is doing, and its executor from the time it has one, is known to the threads that report.
class WatchedRank {
public:
  explicit WatchedRank(unsigned rank);
  ~WatchedRank();
  WatchedRank(const WatchedRank &) = delete;

  void setDoing(const std::string &what);
  /// Null before the executor goes away.
  void setExecutor(const runtime::Executor *executor);
  /// Writes the log if `status` says that another rank failed.
  void report(const runtime::Status &status);

private:
  const unsigned rank;
};

/// Ends the process, with a report, if it lives for longer than `limit`: for calls that may wait for other ranks forever.
class Limit {
public:
  explicit Limit(std::chrono::milliseconds limit);
  ~Limit();

private:
  std::mutex mutex;
  std::condition_variable changed;
  bool done = false;
  std::thread thread;
};

} // namespace llmc::tool

#endif // LLMC_TOOLS_LLMC_RUN_WATCH_H
