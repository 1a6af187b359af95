//===- Helper.cpp - calls that may never return ---------------------------===//
#include "runtime/comm/mpi/Helper.h"

namespace llmc::runtime {

Helper::Helper() {
  thread = std::thread([state = state] { work(state); });
}

Helper::~Helper() {
  bool stuck;
  {
    std::lock_guard<std::mutex> lock(state->mutex);
    state->ending = true;
    stuck = state->busy;
  }
  state->changed.notify_one();
  if (stuck)
    thread.detach();
  else
    thread.join();
}

std::future<Status> Helper::start(std::function<Status()> task) {
  std::packaged_task<Status()> packaged(std::move(task));
  std::future<Status> outcome = packaged.get_future();
  {
    std::lock_guard<std::mutex> lock(state->mutex);
    state->tasks.push_back(std::move(packaged));
  }
  state->changed.notify_one();
  return outcome;
}

void Helper::work(const std::shared_ptr<State> &state) {
  std::unique_lock<std::mutex> lock(state->mutex);
  while (true) {
    state->changed.wait(lock, [&] { return state->ending || !state->tasks.empty(); });
    if (state->ending)
      return;
    std::packaged_task<Status()> task = std::move(state->tasks.front());
    state->tasks.pop_front();
    state->busy = true;
    lock.unlock();
    task();
    lock.lock();
    state->busy = false;
  }
}

} // namespace llmc::runtime
