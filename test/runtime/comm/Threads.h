//===- Threads.h - ranks of a test that are threads -------------*- C++ -*-===//
#ifndef LLMC_TEST_RUNTIME_COMM_THREADS_H
#define LLMC_TEST_RUNTIME_COMM_THREADS_H

#include "runtime/comm/local/LocalWorld.h"
#include <functional>
#include <thread>

namespace llmc::test {

/// Runs `body` in one thread per rank; a rank's world ends with its thread.
inline void onThreads(unsigned size, const std::function<void(runtime::World &)> &body) {
  std::vector<std::unique_ptr<runtime::World>> worlds = runtime::LocalWorld::create(size);
  std::vector<std::thread> threads;
  for (std::unique_ptr<runtime::World> &world : worlds)
    threads.emplace_back([&body, mine = std::move(world)] { body(*mine); });
  for (std::thread &thread : threads)
    thread.join();
}

} // namespace llmc::test

#endif // LLMC_TEST_RUNTIME_COMM_THREADS_H
