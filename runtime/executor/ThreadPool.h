//===- ThreadPool.h - the threads that run a plan ---------------*- C++ -*-===//
#ifndef LLMC_RUNTIME_EXECUTOR_THREADPOOL_H
#define LLMC_RUNTIME_EXECUTOR_THREADPOOL_H

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <thread>
#include <vector>

namespace llmc::runtime {

/// Persistent threads that share out the items of one job at a time. Items are handed out dynamically, in order of their
/// index; a job whose items do not depend on each other gives the same result for any number of threads.
class ThreadPool {
public:
  /// `threads` counts the caller of `run`, which works too; `onStart` runs once in each thread, the constructor's included.
  ThreadPool(unsigned threads, std::function<void()> onStart);
  ~ThreadPool();
  ThreadPool(const ThreadPool &) = delete;
  ThreadPool &operator=(const ThreadPool &) = delete;

  unsigned threads() const { return static_cast<unsigned>(workers.size()) + 1; }

  /// Calls work(context, item, thread) for each item in [0, items), fewer than 2^32, and returns when all are done. One
  /// caller at a time; `work` must not throw and must not call `run`.
  using Work = void (*)(void *context, int64_t item, unsigned thread);
  void run(int64_t items, Work work, void *context);

  /// `run` for a callable (item, thread).
  template <typename F> void forEach(int64_t items, F &&callable) {
    run(
        items, [](void *context, int64_t item, unsigned thread) { (*static_cast<std::remove_reference_t<F> *>(context))(item, thread); },
        const_cast<void *>(static_cast<const void *>(&callable)));
  }

private:
  void workerLoop(unsigned thread, const std::function<void()> &onStart);
  void takeItems(unsigned thread);
  /// Waits for an epoch other than `seen`; returns it.
  uint32_t awaitJob(uint32_t seen);

  std::vector<std::thread> workers;
  bool mayspin;
  Work work = nullptr;
  void *context = nullptr;
  int64_t items = 0;
  std::atomic<bool> stopping{false};
  alignas(64) std::atomic<uint32_t> epoch{0};  // counts jobs
  alignas(64) std::atomic<uint64_t> ticket{0}; // number of the job, items not handed out yet
  alignas(64) std::atomic<uint32_t> done{0};   // items finished
};

/// Cores this process may use.
unsigned availableCores();

} // namespace llmc::runtime

#endif // LLMC_RUNTIME_EXECUTOR_THREADPOOL_H
