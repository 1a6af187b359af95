//===- Helper.h - calls that may never return -------------------*- C++ -*-===//
#ifndef LLMC_RUNTIME_COMM_MPI_HELPER_H
#define LLMC_RUNTIME_COMM_MPI_HELPER_H

#include "runtime/support/Status.h"
#include <condition_variable>
#include <deque>
#include <functional>
#include <future>
#include <memory>
#include <mutex>
#include <thread>

namespace llmc::runtime {

/// A thread that does tasks one after the other. One that is in the middle of a task when this object goes away is left to
/// itself: tasks own what they touch.
class Helper {
public:
  Helper();
  ~Helper();
  Helper(const Helper &) = delete;

  std::future<Status> start(std::function<Status()> task);

private:
  struct State {
    std::mutex mutex;
    std::condition_variable changed;
    std::deque<std::packaged_task<Status()>> tasks;
    bool busy = false, ending = false;
  };
  static void work(const std::shared_ptr<State> &state);

  std::shared_ptr<State> state = std::make_shared<State>();
  std::thread thread;
};

} // namespace llmc::runtime

#endif // LLMC_RUNTIME_COMM_MPI_HELPER_H
