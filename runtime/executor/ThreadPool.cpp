//===- ThreadPool.cpp - the threads that run a plan -----------------------===//
//
// `ticket` holds the number of the job and how many of its items are left; taking one is one compare-and-swap, which fails
// if the job has changed. The job is over when all items are done: a worker that the system does not run at the moment and
// that has taken nothing is not waited for. What describes the job is read only between taking an item and finishing it.
// Between jobs a worker spins for a while, since kernels follow each other within microseconds, then parks. With more threads
// than cores spinning would take time from those that work, so they park.
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
  uint64_t seen = ticket.load(std::memory_order_acquire);
  while (static_cast<uint32_t>(seen) != 0) {
    if (!ticket.compare_exchange_weak(seen, seen - 1, std::memory_order_acq_rel, std::memory_order_acquire))
      continue;
    int64_t total = items;
    work(context, total - static_cast<uint32_t>(seen), thread);
    if (done.fetch_add(1, std::memory_order_acq_rel) + 1 == static_cast<uint32_t>(total) && !mayspin)
      done.notify_one();
    seen = ticket.load(std::memory_order_acquire);
  }
}

uint32_t ThreadPool::awaitJob(uint32_t seen) {
  for (int i = 0; mayspin && i < kSpins; ++i) {
    if (uint32_t now = epoch.load(std::memory_order_acquire); now != seen)
      return now;
    _mm_pause();
  }
  epoch.wait(seen, std::memory_order_acquire);
  return epoch.load(std::memory_order_acquire);
}

void ThreadPool::workerLoop(unsigned thread, const std::function<void()> &onStart) {
  onStart();
  // The pool stops by one more epoch: who has seen that one sees `stopping`, who has not waits for it no longer.
  for (uint32_t seen = awaitJob(0); !stopping; seen = awaitJob(seen))
    takeItems(thread);
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
  done.store(0, std::memory_order_relaxed);
  uint64_t number = static_cast<uint32_t>(epoch.load(std::memory_order_relaxed) + 1);
  ticket.store(number << 32 | static_cast<uint32_t>(count), std::memory_order_release);
  epoch.fetch_add(1, std::memory_order_seq_cst);
  epoch.notify_all();
  takeItems(0);
  for (int spins = 0;; ++spins) {
    uint32_t finished = done.load(std::memory_order_acquire);
    if (finished == static_cast<uint32_t>(count))
      return;
    if (!mayspin)
      done.wait(finished, std::memory_order_acquire);
    else if (spins < kSpins)
      _mm_pause();
    else
      sched_yield(); // whoever has the last items may need this core
  }
}

} // namespace llmc::runtime
