//===- ThreadPool.cpp - the threads that run a plan -----------------------===//
//
// A job is announced by raising `epoch`. Between jobs a worker spins for a while, since kernels follow each other within
// microseconds, then parks. With more threads than cores spinning would take time from those that work, so they park. The
// caller spins for as long, then yields: on a busy machine the worker that it waits for may want its core.
//
//===----------------------------------------------------------------------===//
#include "runtime/executor/ThreadPool.h"
#include <immintrin.h>
#include <sched.h>

namespace llmc::runtime {

static constexpr int kSpins = 8000; // about 100 microseconds

unsigned availableCores() {
  cpu_set_t set;
  CPU_ZERO(&set);
  if (sched_getaffinity(0, sizeof(set), &set) == 0 && CPU_COUNT(&set) > 0)
    return static_cast<unsigned>(CPU_COUNT(&set));
  unsigned count = std::thread::hardware_concurrency();
  return count ? count : 1;
}

ThreadPool::ThreadPool(unsigned threads, std::function<void()> onStart) : mayspin(threads <= availableCores()) {
  onStart();
  for (unsigned i = 1; i < threads; ++i)
    workers.emplace_back([this, i, onStart] { workerLoop(i, onStart); });
}

ThreadPool::~ThreadPool() {
  stopping = true;
  epoch.fetch_add(1, std::memory_order_seq_cst);
  epoch.notify_all();
  for (std::thread &worker : workers)
    worker.join();
}

void ThreadPool::takeItems(unsigned thread) {
  for (;;) {
    int64_t item = next.fetch_add(1, std::memory_order_relaxed);
    if (item >= items)
      return;
    work(context, item, thread);
  }
}

bool ThreadPool::awaitJob(uint32_t seen) {
  for (int i = 0; mayspin && i < kSpins; ++i) {
    if (epoch.load(std::memory_order_acquire) != seen)
      return !stopping;
    _mm_pause();
  }
  epoch.wait(seen, std::memory_order_acquire);
  return !stopping;
}

void ThreadPool::workerLoop(unsigned thread, const std::function<void()> &onStart) {
  onStart();
  for (uint32_t seen = 0;; ++seen) {
    if (!awaitJob(seen))
      return;
    takeItems(thread);
    if (busy.fetch_sub(1, std::memory_order_acq_rel) == 1 && !mayspin)
      busy.notify_one();
  }
}

void ThreadPool::run(int64_t count, Work job, void *jobContext) {
  if (count <= 1 || workers.empty()) {
    for (int64_t item = 0; item < count; ++item)
      job(jobContext, item, 0);
    return;
  }
  work = job;
  context = jobContext;
  items = count;
  next.store(0, std::memory_order_relaxed);
  busy.store(static_cast<uint32_t>(workers.size()), std::memory_order_relaxed);
  epoch.fetch_add(1, std::memory_order_seq_cst);
  epoch.notify_all();
  takeItems(0);
  int spins = 0;
  while (uint32_t left = busy.load(std::memory_order_acquire)) {
    if (!mayspin) {
      busy.wait(left, std::memory_order_acquire);
    } else if (spins < kSpins) {
      ++spins;
      _mm_pause();
    } else {
      ::sched_yield();
    }
  }
}

} // namespace llmc::runtime
