//===- NcclTest.cpp - ranks with a GPU each -------------------------------===//
//
// Nearly all runs on the fakes: see fake/. Ranks are threads whose worlds bootstrap each other's, or processes.
//
//===----------------------------------------------------------------------===//
#include "runtime/comm/Agree.h"
#include "runtime/comm/nccl/NcclWorld.h"
#include "test/runtime/comm/Conformance.h"
#include "test/runtime/comm/Processes.h"
#include "test/runtime/comm/Threads.h"
#include "test/runtime/comm/fake/FakeNccl.h"
#include <barrier>
#include <cmath>
#include <dlfcn.h>
#include <gtest/gtest.h>
#include <sstream>
#include <thread>

using namespace llmc::runtime;
using namespace llmc::test;
using namespace std::chrono_literals;

namespace {

/// A rank that is a thread, with a fake GPU.
struct Rank {
  World &bootstrap;
  GpuMemory memory;
  std::unique_ptr<World> world;

  static NcclOptions options(unsigned device) {
    NcclOptions options;
    options.device = device;
    options.deadline = 10s;
    options.libraries = librariesOf(Gpus::Fake);
    return options;
  }
  explicit Rank(World &bootstrap) : bootstrap(bootstrap), memory(LLMC_FAKE_CUDA, bootstrap.rank()) {
    auto opened = openNcclWorld(bootstrap, options(bootstrap.rank()));
    EXPECT_TRUE(opened.ok()) << opened.status().message;
    world = std::move(*opened);
  }
  /// A sum of one number.
  Status sum(Communicator &comm) {
    Buffer number(memory, std::vector<char>(sizeof(float)));
    Operand operand{number.address(), number.address(), 1};
    return comm.allReduce({&operand, 1}, fb::DataType::F32, Reduction::Sum);
  }
  Status sum() { return sum(world->all()); }
};

void onGpus(unsigned size, const std::function<void(Rank &)> &body) {
  onThreads(size, [&](World &bootstrap) {
    Rank rank(bootstrap);
    body(rank);
  });
}

/// Makes a rank misbehave, in all of the communicators where it has that number.
class Misbehaviour {
public:
  Misbehaviour(int rank, int how) : rank(rank) { function()(rank, how); }
  ~Misbehaviour() { function()(rank, 0); }

private:
  static MisbehaveFunction *function() {
    void *library = ::dlopen(LLMC_FAKE_NCCL, RTLD_NOW | RTLD_LOCAL);
    return reinterpret_cast<MisbehaveFunction *>(::dlsym(library, kMisbehaveSymbol));
  }
  const int rank;
};

class GpuThreads : public testing::TestWithParam<unsigned> {};

TEST_P(GpuThreads, Conform) {
  onGpus(GetParam(), [](Rank &rank) {
    EXPECT_EQ(checkConformance(*rank.world, rank.memory, {false, false}).problems, "");
    rank.world.reset();
    EXPECT_TRUE(rank.bootstrap.finish().ok()); // the other world is sound
  });
}

INSTANTIATE_TEST_SUITE_P(Ranks, GpuThreads, testing::Values(1, 2, 3, 4), testing::PrintToStringParamName());

/// All results of processes are digests.
void expectConform(Backend backend, unsigned size, Gpus gpus) {
  if (std::string why = whyAbsent(backend); !why.empty())
    GTEST_SKIP() << why;
  for (const std::string &result : runRanks(backend, size, "conform", false, gpus))
    EXPECT_TRUE(!result.empty() && result.find_first_not_of("0123456789") == std::string::npos) << "'" << result << "'";
}

TEST(Nccl, ConformsOverGloo) { expectConform(Backend::Gloo, 4, Gpus::Fake); }
TEST(Nccl, ConformsOverMpi) { expectConform(Backend::Mpi, 4, Gpus::Fake); }

TEST(Nccl, ConformsOnRealGpus) {
  unsigned count = GpuMemory::count(librariesOf(Gpus::Real).cuda);
  if (count == 0)
    GTEST_SKIP() << "this machine has no GPU with CUDA's driver";
  expectConform(Backend::Gloo, std::min(count, 4u), Gpus::Real);
}

/// What is reduced holds no NaN unless all ranks have one there: unlike other worlds.
TEST(Nccl, MaxDropsNan) {
  onGpus(2, [](Rank &rank) {
    float values[] = {rank.world->rank() == 0 ? NAN : 3.0f, NAN}, got[2];
    Buffer buffer(rank.memory, {reinterpret_cast<char *>(values), reinterpret_cast<char *>(values) + sizeof(values)});
    Operand operand{buffer.address(), buffer.address(), 2};
    EXPECT_TRUE(rank.world->all().allReduce({&operand, 1}, fb::DataType::F32, Reduction::Max).ok());
    rank.memory.read(got, buffer.address(), sizeof(got));
    EXPECT_EQ(got[0], 3.0f);
    EXPECT_TRUE(std::isnan(got[1]));
    EXPECT_TRUE(rank.world->finish().ok());
  });
}

/// Only the root has something to send.
TEST(Nccl, BroadcastFromNothingButAtTheRoot) {
  onGpus(3, [](Rank &rank) {
    bool root = rank.world->rank() == 1;
    Buffer buffer(rank.memory, std::vector<char>(100, root ? 7 : 0));
    Operand operands[] = {{root ? buffer.address() : nullptr, buffer.address(), 100}, {nullptr, nullptr, 0}};
    EXPECT_TRUE(rank.world->all().broadcast(operands, fb::DataType::U8, 1).ok());
    EXPECT_EQ(buffer.read(), std::vector<char>(100, 7));
    EXPECT_TRUE(rank.world->finish().ok());
  });
}

/// Everyone is told who is missing, and told the same again.
TEST(Nccl, DeadlineNamesTheMissingRank) {
  onGpus(4, [](Rank &rank) {
    rank.world->setDeadline(100ms);
    if (rank.world->rank() == 2)
      return std::this_thread::sleep_for(500ms);
    for (int round = 0; round < 2; ++round) {
      Status status = rank.sum();
      EXPECT_EQ(status.code, StatusCode::DeadlinePassed);
      EXPECT_EQ(status.message, "rank 2 did not arrive within 100 ms");
    }
    EXPECT_EQ(rank.world->group({0, 1, 3}).status().code, StatusCode::DeadlinePassed);
  });
}

/// NCCL alone is stuck: nobody is missing.
TEST(Nccl, DeadlineSaysThatAllHaveCome) {
  onGpus(2, [](Rank &rank) {
    EXPECT_TRUE(rank.sum().ok());
    rank.world->setDeadline(100ms);
    Misbehaviour hang(static_cast<int>(rank.world->rank()), -1);
    Status status = rank.sum();
    EXPECT_EQ(status.code, StatusCode::DeadlinePassed);
    EXPECT_EQ(status.message, "NCCL has not finished within 100 ms, although all of its ranks have come: 0 1");
    EXPECT_EQ(rank.bootstrap.poll().code, StatusCode::DeadlinePassed);
  });
}

/// The rank whose GPU fails tells the others, which do not wait for the deadline; also those outside of its group.
TEST(Nccl, AnErrorOnOneRankIsToldToAll) {
  std::barrier opened(4);
  onGpus(4, [&](Rank &rank) {
    unsigned number = rank.world->rank();
    auto pair = rank.world->group(number < 2 ? std::vector<unsigned>{1, 0} : std::vector<unsigned>{3, 2});
    opened.arrive_and_wait(); // the error comes after that
    ASSERT_TRUE(pair.ok());
    auto start = std::chrono::steady_clock::now();
    std::unique_ptr<Misbehaviour> failure;
    if (number == 0) // the second of its group, as is rank 2, which never comes
      failure = std::make_unique<Misbehaviour>(1, static_cast<int>(nccl::NcclResult::CudaError));
    Status status = number == 2 ? Status::success() : rank.sum(**pair);
    if (number != 2) {
      EXPECT_EQ(status.code, StatusCode::Internal) << status.message;
      EXPECT_EQ(status.message, "NCCL on rank 0: unhandled cuda error");
    }
    while (rank.world->poll().ok()) // rank 2 stays until then
      std::this_thread::sleep_for(1ms);
    EXPECT_LT(std::chrono::steady_clock::now() - start, 5s);
  });
}

TEST(Nccl, ARankThatLeavesIsNamed) {
  onGpus(3, [](Rank &rank) {
    EXPECT_TRUE(rank.sum().ok());
    if (rank.world->rank() == 2)
      return;
    Status status = rank.sum();
    EXPECT_EQ(status.code, StatusCode::RankDied);
    EXPECT_EQ(status.message, "rank 2 died");
  });
}

struct Failure {
  int code = -1, milliseconds = 0;
  std::string message;
};

/// All ranks but rank 2 fail, without hanging, and name it.
void expectRankTwoNamed(Backend backend, const std::string &scenario, StatusCode code) {
  if (std::string why = whyAbsent(backend); !why.empty())
    GTEST_SKIP() << why;
  std::vector<std::string> results = runRanks(backend, 4, scenario, false, Gpus::Fake);
  for (unsigned rank : {0u, 1u, 3u}) {
    std::istringstream stream(results[rank]);
    Failure failure;
    stream >> failure.code >> failure.milliseconds >> std::ws;
    std::getline(stream, failure.message);
    EXPECT_EQ(failure.code, static_cast<int>(code)) << rank << ": " << results[rank];
    EXPECT_TRUE(failure.message.starts_with("rank 2 d")) << rank << ": " << results[rank];
  }
}

TEST(Nccl, AMissingProcessIsNamedOverGloo) { expectRankTwoNamed(Backend::Gloo, "absent", StatusCode::DeadlinePassed); }
TEST(Nccl, AMissingProcessIsNamedOverMpi) { expectRankTwoNamed(Backend::Mpi, "absent", StatusCode::DeadlinePassed); }
TEST(Nccl, AKilledProcessIsNamed) { expectRankTwoNamed(Backend::Gloo, "killed", StatusCode::RankDied); }
TEST(Nccl, AProcessThatLeavesIsNamed) { expectRankTwoNamed(Backend::Gloo, "leaves", StatusCode::RankDied); }

/// Opens with `change` made on rank 1 only; all ranks get the same error, and the bootstrap world stays usable.
void expectRefused(const std::function<void(NcclOptions &)> &change, const std::string &message,
                   const std::string &hint) {
  onThreads(2, [&](World &bootstrap) {
    NcclOptions options = Rank::options(bootstrap.rank());
    if (bootstrap.rank() == 1)
      change(options);
    Status status = openNcclWorld(bootstrap, options).status();
    EXPECT_EQ(status.code, StatusCode::WrongUse);
    EXPECT_EQ(status.message, message);
    EXPECT_EQ(status.hint, hint);
    EXPECT_TRUE(bootstrap.finish().ok());
  });
}

constexpr char kNcclHint[] = "install the package libnccl2, version 2.18 or later";

TEST(NcclLibraries, AMissingLibraryNamesItsPackage) {
  expectRefused(
      [](NcclOptions &options) { options.libraries.nccl = "/nowhere/libnccl.so.2"; },
      "rank 1: ranks cannot talk over NCCL: /nowhere/libnccl.so.2: cannot open shared object file: No such file "
      "or directory",
      kNcclHint);
  expectRefused(
      [](NcclOptions &options) { options.libraries.cuda = "/nowhere/libcuda.so.1"; },
      "rank 1: ranks cannot talk over NCCL: /nowhere/libcuda.so.1: cannot open shared object file: No such file "
      "or directory",
      "install NVIDIA's driver; libcuda.so.1 comes with it (Debian: libcuda1)");
}

TEST(NcclLibraries, AnOldLibraryIsRefused) {
  expectRefused([](NcclOptions &options) { options.libraries.nccl = LLMC_FAKE_NCCL_OLD; },
                "rank 1: ranks cannot talk over NCCL: '" LLMC_FAKE_NCCL_OLD
                "' is NCCL 2.14.3, and 2.18.0 is the oldest that will do",
                kNcclHint);
}

TEST(NcclLibraries, AMissingFunctionIsNamed) {
  expectRefused([](NcclOptions &options) { options.libraries.nccl = LLMC_FAKE_NCCL_PARTIAL; },
                "rank 1: ranks cannot talk over NCCL: '" LLMC_FAKE_NCCL_PARTIAL "' has no ncclGetErrorString",
                kNcclHint);
}

TEST(NcclLibraries, AMissingGpuIsNamed) {
  expectRefused([](NcclOptions &options) { options.device = 99; },
                "rank 1: GPU 99 cannot be used: CUDA_ERROR_INVALID_DEVICE", "nvidia-smi lists the GPUs of a machine");
}

/// NCCL itself notices, on all ranks.
TEST(NcclLibraries, AGpuIsForOneRank) {
  onThreads(2, [](World &bootstrap) {
    Status status = openNcclWorld(bootstrap, Rank::options(3)).status();
    EXPECT_EQ(status.code, StatusCode::WrongUse);
    EXPECT_TRUE(status.message.ends_with("invalid usage")) << status.message;
  });
}

/// The real library has all that is asked of it; this needs no GPU.
TEST(NcclLibraries, TheRealOneHasAllFunctions) {
  nccl::Libraries libraries;
  if (!std::filesystem::exists(LLMC_TORCH_NCCL))
    GTEST_SKIP() << "there is no '" << LLMC_TORCH_NCCL << "'";
  Status status = nccl::loadNccl(LLMC_TORCH_NCCL, libraries);
  EXPECT_TRUE(status.ok()) << status.message;
  EXPECT_STREQ(libraries.ncclGetErrorString(nccl::NcclResult::Success), "no error");
}

} // namespace
