//===- RendezvousTest.cpp - what ranks make of a phase together -----------===//
#include "runtime/comm/Failure.h"
#include "runtime/comm/rendezvous/Place.h"
#include "runtime/comm/rendezvous/Rendezvous.h"
#include "test/runtime/comm/Processes.h"
#include <algorithm>
#include <csignal>
#include <future>
#include <gtest/gtest.h>
#include <numeric>
#include <sys/wait.h>
#include <thread>
#include <unistd.h>

using namespace llmc;
using namespace llmc::runtime;
using namespace std::chrono_literals;

namespace {

/// Runs `body` in one thread per rank.
void onThreads(const std::vector<unsigned> &ranks, const std::function<void(unsigned rank)> &body) {
  std::vector<std::thread> threads;
  for (unsigned rank : ranks)
    threads.emplace_back([&body, rank] { body(rank); });
  for (std::thread &thread : threads)
    thread.join();
}

std::vector<unsigned> allOf(size_t size) {
  std::vector<unsigned> ranks(size);
  std::iota(ranks.begin(), ranks.end(), 0u);
  return ranks;
}

WorldOptions optionsOf(unsigned rank, size_t size, unsigned port) {
  WorldOptions options;
  options.rank = rank;
  options.size = static_cast<unsigned>(size);
  options.address = "127.0.0.1";
  options.port = static_cast<uint16_t>(port);
  return options;
}

enum class WithoutPart { Stops, Dies };

/// What each rank gets from `conclude`, when rank K's part is `parts[K]`. A rank without one stops before it, and stays as
/// long as others go on; or dies.
std::vector<Status> conclude(const std::vector<Rendezvous::Part> &parts, std::chrono::milliseconds deadline,
                             WithoutPart without = WithoutPart::Stops) {
  std::vector<Status> outcomes(parts.size());
  std::vector<std::unique_ptr<Rendezvous>> stopped(parts.size());
  unsigned port = test::freePort();
  onThreads(allOf(parts.size()), [&](unsigned rank) {
    WorldOptions options = optionsOf(rank, parts.size(), port);
    options.deadline = deadline;
    Result<std::unique_ptr<Rendezvous>> rendezvous = Rendezvous::meet(options);
    if (!rendezvous.ok())
      outcomes[rank] = rendezvous.status();
    else if (parts[rank])
      outcomes[rank] = (*rendezvous)->conclude(parts[rank]);
    else if (without == WithoutPart::Stops)
      stopped[rank] = std::move(*rendezvous);
  });
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

/// Ranks of one rendezvous, all of which have met.
std::vector<std::unique_ptr<Rendezvous>> meet(unsigned size, const std::function<void(WorldOptions &)> &adjust = {}) {
  std::vector<std::unique_ptr<Rendezvous>> ranks(size);
  std::promise<uint16_t> announced;
  std::shared_future<uint16_t> port = announced.get_future();
  onThreads(allOf(size), [&](unsigned rank) {
    WorldOptions options = optionsOf(rank, size, rank > 0 ? port.get() : 0);
    options.address = rank > 0 ? "255.255.255.255,127.0.0.1" : "";
    if (adjust)
      adjust(options);
    auto met = Rendezvous::meet(options, 7, [&](uint16_t free) {
      announced.set_value(free);
      return Status::success();
    });
    if (met.ok())
      ranks[rank] = std::move(*met);
    else
      ADD_FAILURE() << met.status().message;
  });
  if (std::find(ranks.begin(), ranks.end(), nullptr) != ranks.end())
    throw std::runtime_error("the ranks do not meet");
  return ranks;
}

/// Waits for it.
Status lossOf(const Rendezvous &rendezvous) {
  for (auto end = Clock::now() + 10s; rendezvous.loss().ok() && Clock::now() < end;)
    std::this_thread::sleep_for(1ms);
  return rendezvous.loss();
}

/// The loss of each rank but `gone`, after that one has done something.
std::vector<Status> lossesAfter(unsigned gone, const std::function<void(std::unique_ptr<Rendezvous> &)> &act) {
  std::vector<std::unique_ptr<Rendezvous>> ranks = meet(4);
  for (unsigned rank = 0; rank < 4; ++rank)
    EXPECT_TRUE(rank == gone || ranks[rank]->watch().ok());
  act(ranks[gone]);
  std::vector<Status> losses(4);
  for (unsigned rank = 0; rank < 4; ++rank)
    if (rank != gone)
      losses[rank] = lossOf(*ranks[rank]);
  return losses;
}

TEST(Rendezvous, ADeathIsKnownToAllWhileTheyWork) {
  auto dies = [](std::unique_ptr<Rendezvous> &rank) { rank.reset(); }; // unwatched: just closes its connection
  expectAll(lossesAfter(2, dies), {0, 1, 3}, StatusCode::RankDied, "rank 2 died");
  expectAll(lossesAfter(0, dies), {1, 2, 3}, StatusCode::RankDied, "rank 0 died");
}

TEST(Rendezvous, WhoLeavesSaysWhy) {
  auto leaves = [](std::unique_ptr<Rendezvous> &rank) {
    rank->leave(deadlinePassed({1}, 300ms));
    rank.reset();
  };
  expectAll(lossesAfter(2, leaves), {0, 1, 3}, StatusCode::DeadlinePassed, "rank 1 did not arrive within 300 ms");
  expectAll(lossesAfter(0, leaves), {1, 2, 3}, StatusCode::DeadlinePassed, "rank 1 did not arrive within 300 ms");
}

TEST(Rendezvous, AWatchedPhaseEndsInAnother) {
  std::vector<std::unique_ptr<Rendezvous>> ranks = meet(3);
  std::vector<Status> outcomes(3);
  onThreads({0, 1, 2}, [&](unsigned rank) {
    EXPECT_TRUE(ranks[rank]->watch().ok());
    std::this_thread::sleep_for(rank == 0 ? 100ms : 0ms); // the others' words lie there while rank 0 still watches
    outcomes[rank] = ranks[rank]->conclude(done);
  });
  expectAll(outcomes, {0, 1, 2}, StatusCode::Ok, "");
}

using Told = std::atomic<Clock::time_point>;

TEST(Rendezvous, AJobThatIsToldToEndNamesWhoHasNotCome) {
  Told told = Clock::now() + 200ms;
  std::vector<Status> outcomes(4);
  unsigned port = test::freePort();
  onThreads({0, 1, 3}, [&](unsigned rank) {
    WorldOptions options = optionsOf(rank, 4, port);
    options.told = &told;
    outcomes[rank] = Rendezvous::meet(options).status();
  });
  expectAll(outcomes, {0, 1, 3}, StatusCode::RankDied, "rank 2 did not arrive before the job was told to end (SIGTERM)");
}

/// What the ranks that go on make of a phase that is told to end; the ranks `silent` do nothing.
std::vector<Status> concludeTold(const std::vector<unsigned> &silent) {
  Told told = Clock::time_point::max();
  auto ranks = meet(4, [&](WorldOptions &options) { options.told = &told; });
  std::vector<Status> outcomes(4);
  std::vector<unsigned> speaking = allOf(4);
  std::erase_if(speaking, [&](unsigned rank) { return std::find(silent.begin(), silent.end(), rank) != silent.end(); });
  told = Clock::now() + 100ms;
  onThreads(speaking, [&](unsigned rank) { outcomes[rank] = ranks[rank]->conclude(goesOn); });
  return outcomes;
}

TEST(Rendezvous, APhaseThatIsToldToEndNamesWhoSaysNothing) {
  expectAll(concludeTold({2}), {0, 1, 3}, StatusCode::RankDied, "rank 2 did not arrive before the job was told to end (SIGTERM)");
  expectAll(concludeTold({0}), {1, 2, 3}, StatusCode::RankDied, "rank 0 did not arrive before the job was told to end (SIGTERM)");
  expectAll(concludeTold({}), {0, 1, 2, 3}, StatusCode::RankDied, "no rank is missing, but the job was told to end (SIGTERM)");
}

/// Who has spoken and then dies is seen, too. Rank 3 is told to end; the others are not.
TEST(Rendezvous, ADeathAfterTheOwnPartIsNamed) {
  Told told = Clock::time_point::max();
  auto ranks = meet(4, [&](WorldOptions &options) { options.told = options.rank == 3 ? &told : nullptr; });
  told = Clock::now();
  std::vector<Status> outcomes(4);
  onThreads(allOf(4), [&](unsigned rank) {
    outcomes[rank] = ranks[rank]->conclude(goesOn);
    ranks[rank].reset();
  });
  expectAll(outcomes, {0, 1, 2}, StatusCode::RankDied, "rank 3 died");
}

/// Rank 0 concludes, and finds that rank 2 is dead, while rank 1 still watches.
TEST(Rendezvous, AVerdictReachesWhoWatches) {
  auto ranks = meet(3);
  EXPECT_TRUE(ranks[1]->watch().ok());
  ranks[2].reset();
  EXPECT_EQ(ranks[0]->conclude(goesOn).message, "rank 2 died");
  EXPECT_EQ(lossOf(*ranks[1]).message, "rank 2 died");
}

TEST(Rendezvous, AnotherJobAtThePortIsAStranger) {
  std::vector<Status> outcomes(2);
  unsigned port = test::freePort();
  onThreads({0, 1}, [&](unsigned rank) {
    WorldOptions options = optionsOf(rank, 2, port);
    options.deadline = 300ms;
    outcomes[rank] = Rendezvous::meet(options, /*job=*/rank).status();
  });
  EXPECT_EQ(outcomes[0].message, "rank 1 did not arrive within 300 ms");
  EXPECT_EQ(outcomes[1].message, "rank 0 did not arrive within 300 ms");
}

// A launcher starts a rank again that died before all had met: it takes its own place.
TEST(Rendezvous, APlaceIsTakenAgainAfterADeath) {
  unsigned port = test::freePort();
  pid_t first = ::fork();
  ASSERT_GE(first, 0);
  if (first == 0) {
    WorldOptions options = optionsOf(1, 3, port);
    options.deadline = 20s;
    (void)Rendezvous::meet(options);
    ::_exit(0);
  }
  std::vector<Status> outcomes(3);
  onThreads(allOf(3), [&](unsigned rank) {
    constexpr std::chrono::milliseconds at[] = {0ms, 600ms, 900ms};
    std::this_thread::sleep_for(at[rank]);
    if (rank == 1) {
      ::kill(first, SIGKILL);
      ::waitpid(first, nullptr, 0);
    }
    WorldOptions options = optionsOf(rank, 3, port);
    options.deadline = 10s;
    outcomes[rank] = Rendezvous::meet(options).status();
  });
  expectAll(outcomes, {0, 1, 2}, StatusCode::Ok, "");
}

// Nobody takes the place of one that lives: the job was started wrongly, which rank 0 and the second of the two say.
TEST(Rendezvous, APlaceIsOnes) {
  unsigned port = test::freePort();
  std::vector<Status> outcomes(3);
  onThreads(allOf(3), [&](unsigned k) {
    constexpr std::chrono::milliseconds at[] = {0ms, 0ms, 600ms};
    std::this_thread::sleep_for(at[k]);
    WorldOptions options = optionsOf(k == 0 ? 0 : 1, 3, port);
    options.deadline = 3s;
    outcomes[k] = Rendezvous::meet(options).status();
  });
  expectAll(outcomes, {0, 2}, StatusCode::WrongUse, "two processes are rank 1");
}

/// When each rank comes, in ms; -1: never. What each then gets.
struct Arrivals {
  const char *what;
  std::vector<int> at;
  std::vector<std::string> expected;
};

/// Each rank meets the others, and ends two phases with them, to which odd ranks come 250 ms late.
void arrive(const Arrivals &arrivals, std::chrono::milliseconds deadline, std::vector<Status> &outcomes, std::vector<Clock::duration> &waits) {
  unsigned port = test::freePort();
  size_t size = arrivals.at.size();
  std::vector<unsigned> coming = allOf(size);
  std::erase_if(coming, [&](unsigned rank) { return arrivals.at[rank] < 0; });
  onThreads(coming, [&](unsigned rank) {
    std::this_thread::sleep_for(std::chrono::milliseconds(arrivals.at[rank]));
    auto begin = Clock::now();
    WorldOptions options = optionsOf(rank, size, port);
    options.deadline = deadline;
    auto met = Rendezvous::meet(options);
    waits[rank] = Clock::now() - begin;
    outcomes[rank] = met.status();
    auto apart = rank % 2 * 250ms;
    for (int phase = 0; phase < 2 && outcomes[rank].ok(); ++phase) {
      std::this_thread::sleep_for(apart);
      outcomes[rank] = (*met)->conclude(done);
    }
  });
}

// Each wait is shorter than the deadline, their sum is longer; and the same with ranks that never come. All cases at once.
TEST(Rendezvous, ADeadlineIsOfEachWait) {
  constexpr auto deadline = 500ms;
  const std::string no1 = "rank 1 did not arrive within 500 ms", no2 = "rank 2 did not arrive within 500 ms";
  const std::string no0 = "rank 0 did not arrive within 500 ms", no12 = "ranks 1, 2 did not arrive within 500 ms";
  const std::vector<Arrivals> cases = {
      {"one after the other", {300, 0, 600}, {"", "", ""}},
      {"rank 0 first", {0, 200, 300}, {"", "", ""}},
      {"rank 0 last", {350, 0, 200}, {"", "", ""}},
      {"rank 2 never", {300, 0, -1}, {no2, no2, ""}},
      {"rank 1 never", {0, -1, 300}, {no1, "", no1}},
      {"rank 0 never", {-1, 0, 300}, {"", no0, no0}},
      {"rank 0 alone", {0, -1, -1}, {no12, "", ""}},
      {"rank 2 too late", {0, 200, 900}, {no2, no2, no0}},
      {"rank 0 too late", {1200, 0, 0}, {no12, no0, no0}},
  };
  std::vector<std::vector<Status>> outcomes(cases.size(), std::vector<Status>(3));
  std::vector<std::vector<Clock::duration>> waits(cases.size(), std::vector<Clock::duration>(3));
  onThreads(allOf(cases.size()), [&](unsigned i) { arrive(cases[i], deadline, outcomes[i], waits[i]); });
  for (size_t i = 0; i < cases.size(); ++i)
    for (unsigned rank = 0; rank < 3; ++rank) {
      EXPECT_EQ(outcomes[i][rank].message, cases[i].expected[rank]) << cases[i].what << ", rank " << rank;
      if (cases[i].expected[rank].empty())
        continue;
      EXPECT_EQ(outcomes[i][rank].code, StatusCode::DeadlinePassed);
      if (rank == 0 || outcomes[i][rank].message == no0) { // the others are told
        EXPECT_GE(waits[i][rank], deadline) << cases[i].what << ", rank " << rank;
      }
      EXPECT_LE(waits[i][rank], 2 * deadline + 1s) << cases[i].what << ", rank " << rank;
    }
}

// A rank that rank 0 has greeted waits as long as rank 0 does, which has begun later: here beyond its own deadline and all grace.
TEST(Rendezvous, AWaitBeginsAnewAtTheGreeting) {
  std::vector<Status> outcomes(3);
  unsigned port = test::freePort();
  onThreads({0, 1, 2}, [&](unsigned rank) {
    constexpr std::chrono::milliseconds at[] = {1400ms, 0ms, 2850ms};
    std::this_thread::sleep_for(at[rank]);
    WorldOptions options = optionsOf(rank, 3, port);
    options.deadline = 1700ms;
    outcomes[rank] = Rendezvous::meet(options).status();
  });
  expectAll(outcomes, {0, 1, 2}, StatusCode::Ok, "");
}

TEST(Place, IsReadAsItWasWritten) {
  Place place;
  ASSERT_TRUE(readPlace(describeThisMachine(5, ~0ull), place));
  EXPECT_TRUE(place.addresses.starts_with("127.0.0.1,::1")) << place.addresses;
  EXPECT_EQ(place.port, 5);
  EXPECT_EQ(place.job, ~0ull);
  ASSERT_TRUE(readPlace("some-other-host 80 3 10.0.0.1,fd00::1", place));
  EXPECT_EQ(place.addresses, "some-other-host,10.0.0.1,fd00::1");
  EXPECT_FALSE(readPlace("", place));
  EXPECT_FALSE(readPlace("host 70000 1 10.0.0.1", place));
}

} // namespace
