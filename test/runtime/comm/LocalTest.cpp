//===- LocalTest.cpp - ranks that are threads -----------------------------===//
#include "test/runtime/comm/Threads.h"
#include <atomic>
#include <gtest/gtest.h>
#include <thread>

using namespace llmc::runtime;
using namespace llmc::test;
using namespace std::chrono_literals;

namespace {

/// Everyone is told who is missing, and told the same again.
TEST(Local, DeadlineNamesTheMissingRank) {
  onThreads(4, [](World &world) {
    world.setDeadline(100ms);
    if (world.rank() == 2)
      return std::this_thread::sleep_for(400ms);
    auto start = std::chrono::steady_clock::now();
    for (int round = 0; round < 2; ++round) {
      Status status = world.all().barrier();
      EXPECT_EQ(status.code, StatusCode::DeadlinePassed);
      EXPECT_EQ(status.message, "rank 2 did not arrive within 100 ms");
    }
    EXPECT_EQ(world.group({0, 1, 3}).status().code, StatusCode::DeadlinePassed);
    EXPECT_LT(std::chrono::steady_clock::now() - start, 1100ms);
  });
}

/// The world ends for all at once: also for a group without the missing rank, whose members wait much longer.
TEST(Local, AFailureWakesEveryGroup) {
  onThreads(4, [](World &world) {
    world.setDeadline(world.rank() == 0 ? 100ms : 60000ms);
    auto start = std::chrono::steady_clock::now();
    float number = 1;
    Status status;
    if (world.rank() == 0)
      status = world.all().recv(1, 0, std::as_writable_bytes(std::span(&number, 1)));
    else if (world.rank() == 1)
      status = world.all().barrier();
    else if (world.rank() == 2)
      status = world.all().recv(3, 0, std::as_writable_bytes(std::span(&number, 1)));
    else
      status = world.group({1, 3}).status();
    EXPECT_EQ(status.message, "rank 1 did not arrive within 100 ms");
    EXPECT_LT(std::chrono::steady_clock::now() - start, 5s);
  });
}

TEST(Local, ARankThatLeavesIsNamed) {
  onThreads(3, [](World &world) {
    if (world.rank() == 1)
      return;
    Status status = world.all().barrier();
    EXPECT_EQ(status.code, StatusCode::RankDied);
    EXPECT_EQ(status.message, "rank 1 died");
  });
}

TEST(Local, DifferentCallsAreRefused) {
  onThreads(2, [](World &world) {
    float number = 1;
    Operand operand{&number, &number, 1};
    Reduction reduction = world.rank() == 0 ? Reduction::Sum : Reduction::Max;
    Status status = world.all().allReduce({&operand, 1}, fb::DataType::F32, reduction);
    EXPECT_EQ(status.code, StatusCode::WrongUse);
    EXPECT_EQ(number, 1);
    EXPECT_EQ(world.all().barrier().code, StatusCode::WrongUse);
  });
}

/// Deadlines that expire while the last rank comes: either all ranks pass, or none does.
TEST(Local, AllPassOrNone) {
  for (int round = 0; round < 60; ++round) {
    std::atomic<int> passed{0};
    onThreads(3, [&](World &world) {
      world.setDeadline(2ms);
      if (world.rank() == 0)
        std::this_thread::sleep_for(std::chrono::microseconds(1900 + 5 * round));
      if (world.all().barrier().ok())
        ++passed;
      std::this_thread::sleep_for(1ms);
    });
    EXPECT_TRUE(passed == 0 || passed == 3) << passed;
  }
}

} // namespace
