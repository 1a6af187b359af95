//===- ConformanceTest.cpp - every backend, one suite ---------------------===//
#include "test/runtime/comm/Conformance.h"
#include "runtime/comm/local/LocalWorld.h"
#include "test/runtime/comm/Processes.h"
#include <gtest/gtest.h>
#include <sstream>
#include <thread>

using namespace llmc::runtime;
using namespace llmc::test;

namespace {

/// What each rank got when all are threads: a digest, or problems.
std::vector<std::string> runThreads(unsigned size) {
  std::vector<std::unique_ptr<World>> worlds = LocalWorld::create(size);
  std::vector<std::string> results(size);
  std::vector<std::thread> threads;
  for (unsigned rank = 0; rank < size; ++rank)
    threads.emplace_back([&, rank] {
      Outcome outcome = checkConformance(*worlds[rank]);
      results[rank] = outcome.problems.empty() ? std::to_string(outcome.digest) : outcome.problems;
    });
  for (std::thread &thread : threads)
    thread.join();
  return results;
}

bool isDigest(const std::string &text) {
  return !text.empty() && text.find_first_not_of("0123456789") == std::string::npos;
}

class Threads : public testing::TestWithParam<unsigned> {};
class Processes : public testing::TestWithParam<unsigned> {};

TEST_P(Threads, Conform) {
  for (const std::string &result : runThreads(GetParam()))
    EXPECT_TRUE(isDigest(result)) << result;
}

/// The suite passes, and the results have the bits that threads get.
void expectSameAsThreads(Backend backend, unsigned size) {
  std::vector<std::string> results = runRanks(backend, size, "conform");
  for (const std::string &result : results)
    ASSERT_TRUE(isDigest(result)) << "'" << result << "'";
  EXPECT_EQ(results, runThreads(size));
}

TEST_P(Processes, ConformOverGloo) {
  if (std::string why = whyAbsent(Backend::Gloo); !why.empty())
    GTEST_SKIP() << why;
  expectSameAsThreads(Backend::Gloo, GetParam());
}

TEST_P(Processes, ConformOverMpi) {
  if (std::string why = whyAbsent(Backend::Mpi); !why.empty())
    GTEST_SKIP() << why;
  expectSameAsThreads(Backend::Mpi, GetParam());
}

INSTANTIATE_TEST_SUITE_P(Ranks, Threads, testing::Values(1, 2, 3, 4, 5), testing::PrintToStringParamName());
INSTANTIATE_TEST_SUITE_P(Ranks, Processes, testing::Values(1, 2, 3, 4), testing::PrintToStringParamName());

struct Failure {
  int code = -1, milliseconds = 0;
  std::string message;
};

Failure parse(const std::string &result) {
  Failure failure;
  std::istringstream stream(result);
  stream >> failure.code >> failure.milliseconds >> std::ws;
  std::getline(stream, failure.message);
  return failure;
}

/// All ranks but rank 2 fail, without hanging, and name it.
void expectRankTwoNamed(const std::vector<std::string> &results, int code, int milliseconds) {
  for (unsigned rank : {0u, 1u, 3u}) {
    Failure failure = parse(results[rank]);
    EXPECT_TRUE(failure.code == code) << rank << ": " << results[rank];
    EXPECT_TRUE(failure.message.starts_with("rank 2 d")) << rank << ": " << results[rank];
    EXPECT_LT(failure.milliseconds, milliseconds) << rank << ": " << results[rank];
  }
}

constexpr int kDied = static_cast<int>(StatusCode::RankDied), kLate = static_cast<int>(StatusCode::DeadlinePassed);

TEST(Gloo, DeadlineNamesTheMissingRank) {
  if (std::string why = whyAbsent(Backend::Gloo); !why.empty())
    GTEST_SKIP() << why;
  expectRankTwoNamed(runRanks(Backend::Gloo, 4, "absent"), kLate, 60000);
}

TEST(Gloo, AKilledRankIsNamed) {
  if (std::string why = whyAbsent(Backend::Gloo); !why.empty())
    GTEST_SKIP() << why;
  expectRankTwoNamed(runRanks(Backend::Gloo, 4, "killed"), kDied, 60000);
}

TEST(Gloo, ARankThatLeavesIsNamed) {
  if (std::string why = whyAbsent(Backend::Gloo); !why.empty())
    GTEST_SKIP() << why;
  expectRankTwoNamed(runRanks(Backend::Gloo, 4, "leaves"), kDied, 60000);
}

TEST(Gloo, ARankThatDoesNotStartIsNamed) {
  if (std::string why = whyAbsent(Backend::Gloo); !why.empty())
    GTEST_SKIP() << why;
  expectRankTwoNamed(runRanks(Backend::Gloo, 4, "late"), kLate, 60000);
}

TEST(Gloo, ARankThatStopsWhileItJoinsHoldsUpNoOther) {
  if (std::string why = whyAbsent(Backend::Gloo); !why.empty())
    GTEST_SKIP() << why;
  expectRankTwoNamed(runRanks(Backend::Gloo, 4, "silent"), kLate, 60000);
}

TEST(Mpi, DeadlineNamesTheMissingRank) {
  if (std::string why = whyAbsent(Backend::Mpi); !why.empty())
    GTEST_SKIP() << why;
  expectRankTwoNamed(runRanks(Backend::Mpi, 4, "absent"), kLate, 60000);
}

TEST(Mpi, ARankThatLeavesIsNamed) {
  if (std::string why = whyAbsent(Backend::Mpi); !why.empty())
    GTEST_SKIP() << why;
  expectRankTwoNamed(runRanks(Backend::Mpi, 4, "leaves"), kDied, 60000);
}

/// mpiexec ends the job of a rank that is killed; the others are often faster.
TEST(Mpi, AKilledRankEndsTheJob) {
  if (std::string why = whyAbsent(Backend::Mpi); !why.empty())
    GTEST_SKIP() << why;
  for (const std::string &result : runRanks(Backend::Mpi, 4, "killed"))
    EXPECT_TRUE(result.empty() || (parse(result).code == kDied && parse(result).message == "rank 2 died")) << result;
}

/// Over PMIx and TCP it is known at once; otherwise by the deadline.
TEST(Mpi, AKilledRankIsNamedWhereOthersLiveOn) {
  if (std::string why = whyAbsent(Backend::Mpi); !why.empty())
    GTEST_SKIP() << why;
  if (!std::string(LLMC_MPIEXEC_KIND).starts_with("Open MPI"))
    GTEST_SKIP() << "only Open MPI's mpiexec can leave the others alone";
  expectRankTwoNamed(runRanks(Backend::Mpi, 4, "killed", true), LLMC_PMIX ? kDied : kLate, 60000);
}

/// What one rank gives up for, all end with: its code and its words.
void expectToldToAll(Backend backend) {
  if (std::string why = whyAbsent(backend); !why.empty())
    GTEST_SKIP() << why;
  for (const std::string &result : runRanks(backend, 4, "fails")) {
    EXPECT_EQ(parse(result).code, static_cast<int>(StatusCode::BadInput)) << result;
    EXPECT_EQ(parse(result).message, "the data of rank 2 end") << result;
    EXPECT_LT(parse(result).milliseconds, 60000);
  }
}

TEST(Gloo, AFailureOfOneRankIsToldToAll) { expectToldToAll(Backend::Gloo); }
TEST(Mpi, AFailureOfOneRankIsToldToAll) { expectToldToAll(Backend::Mpi); }

TEST(Worlds, AMissingPluginNamesItsPackage) {
  WorldOptions options;
  options.size = 2;
  options.plugins = "/nowhere";
  Status status = openWorld(Backend::Gloo, options).status();
  EXPECT_EQ(status.code, StatusCode::WrongUse);
  EXPECT_EQ(status.message, "ranks cannot talk over gloo: there is no '/nowhere/llmc_comm_gloo.so', as where its package was not there at the build");
  EXPECT_EQ(status.hint, "install the package libgloo-dev, configure and build again");
  EXPECT_EQ(openWorld(Backend::Mpi, options).status().hint, "install the package libopenmpi-dev, configure and build again");
  EXPECT_EQ(openWorld(Backend::Local, options).status().code, StatusCode::WrongUse);
  EXPECT_TRUE(openWorld(Backend::Local, {}).ok());
}

} // namespace
