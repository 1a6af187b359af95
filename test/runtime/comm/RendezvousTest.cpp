//===- RendezvousTest.cpp - what ranks make of a phase together -----------===//
#include "runtime/comm/Failure.h"
#include "runtime/comm/gloo/Rendezvous.h"
#include "test/runtime/comm/Processes.h"
#include <gtest/gtest.h>
#include <thread>

using namespace llmc;
using namespace llmc::runtime;
using namespace std::chrono_literals;

namespace {

enum class WithoutPart { Stops, Dies };

/// What each rank gets from `conclude`, when rank K's part is `parts[K]`. A rank without one stops before it, and stays as
/// long as others go on; or dies.
std::vector<Status> conclude(const std::vector<Rendezvous::Part> &parts, std::chrono::milliseconds deadline,
                             WithoutPart without = WithoutPart::Stops) {
  std::vector<Status> outcomes(parts.size());
  std::vector<std::unique_ptr<Rendezvous>> stopped(parts.size());
  unsigned port = test::freePort();
  std::vector<std::thread> ranks;
  for (unsigned rank = 0; rank < parts.size(); ++rank)
    ranks.emplace_back([&, rank] {
      WorldOptions options{rank, static_cast<unsigned>(parts.size()), "127.0.0.1", static_cast<uint16_t>(port), deadline, ""};
      Result<std::unique_ptr<Rendezvous>> rendezvous = Rendezvous::meet(options);
      if (!rendezvous.ok())
        outcomes[rank] = rendezvous.status();
      else if (parts[rank])
        outcomes[rank] = (*rendezvous)->conclude(parts[rank]);
      else if (without == WithoutPart::Stops)
        stopped[rank] = std::move(*rendezvous);
    });
  for (std::thread &rank : ranks)
    rank.join();
  return outcomes;
}

std::optional<Status> done() { return Status::success(); }
std::optional<Status> goesOn() { return std::nullopt; }

Rendezvous::Part lateFor(unsigned peer, std::chrono::milliseconds deadline) {
  return [peer, deadline, end = Clock::now() + deadline]() -> std::optional<Status> {
    return Clock::now() < end ? std::nullopt : std::optional(deadlinePassed({peer}, deadline));
  };
}

void expectAll(const std::vector<Status> &outcomes, std::vector<unsigned> ranks, StatusCode code, const std::string &message) {
  for (unsigned rank : ranks) {
    EXPECT_EQ(outcomes[rank].code, code) << rank;
    EXPECT_EQ(outcomes[rank].message, message) << rank;
  }
}

TEST(Rendezvous, APhaseSucceedsIfAllPartsDo) {
  expectAll(conclude({done, done, done, done}, 10s), {0, 1, 2, 3}, StatusCode::Ok, "");
}

TEST(Rendezvous, ARankThatWaitsForTheMissingOneIsThere) {
  expectAll(conclude({done, lateFor(2, 300ms), nullptr, done}, 300ms), {0, 1, 3}, StatusCode::DeadlinePassed,
            "rank 2 did not arrive within 300 ms");
}

TEST(Rendezvous, RankZeroCanBeMissing) {
  expectAll(conclude({nullptr, lateFor(0, 300ms), done, done}, 300ms), {1, 2, 3}, StatusCode::DeadlinePassed,
            "rank 0 did not arrive within 300 ms");
}

TEST(Rendezvous, TwoThatCannotReachEachOtherAreNamed) {
  expectAll(conclude({done, lateFor(3, 300ms), done, lateFor(1, 300ms)}, 300ms), {0, 1, 2, 3}, StatusCode::DeadlinePassed,
            "rank 3 did not arrive within 300 ms");
}

/// The others go on: they are told, long before their deadline.
TEST(Rendezvous, AFailureEndsThePhaseOfAll) {
  auto begin = Clock::now();
  auto fails = [] { return std::optional(rankDied(2)); };
  expectAll(conclude({goesOn, fails, goesOn, goesOn}, 20s), {0, 1, 2, 3}, StatusCode::RankDied, "rank 2 died");
  EXPECT_LT(Clock::now() - begin, 10s);
}

/// Its connection ends while the others go on.
TEST(Rendezvous, ARankThatDiesIsNamed) {
  auto begin = Clock::now();
  expectAll(conclude({goesOn, goesOn, nullptr, goesOn}, 20s, WithoutPart::Dies), {0, 1, 3}, StatusCode::RankDied, "rank 2 died");
  EXPECT_LT(Clock::now() - begin, 10s);
}

} // namespace
