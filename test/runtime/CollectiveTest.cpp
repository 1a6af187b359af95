//===- CollectiveTest.cpp - collectives, places and events, executed ------===//
//
// Plans made by hand run on ranks that are threads. Element i of the buffer a rank starts from is 100 * rank + i, so that
// every result says where it came from.
//
//===----------------------------------------------------------------------===//
#include "runtime/comm/local/LocalWorld.h"
#include "runtime/executor/Communication.h"
#include "runtime/executor/History.h"
#include "test/runtime/CollectivePlan.h"
#include "test/runtime/StatePlan.h"
#include <cstring>
#include <thread>

using namespace llmc::runtime;
using namespace llmc::test;
using Kind = fb::CollectiveKind;
using Values = std::vector<float>;

namespace {

Values startOf(uint32_t rank, size_t count) {
  Values values(count);
  for (size_t i = 0; i < count; ++i)
    values[i] = static_cast<float>(100 * rank + i);
  return values;
}

class Collectives : public ::testing::Test {
protected:
  /// Runs `plan` on all ranks with startOf in each buffer of `starts`; `expected(rank)` is what `result` then holds.
  template <typename F> void expectValues(const CollectivePlan &plan, const std::vector<uint32_t> &starts, uint32_t result, F expected) {
    Status status = writePlan(folder / "m.plan", pack(plan.plan), {}, {});
    ASSERT_TRUE(status.ok()) << status.message;
    onRanks(folder / "m.plan", [&](RankOfPlan &rank) {
      for (int run = 0; run < 3; ++run) { // the same each time: nothing is left over
        rank.executor.clearState();
        for (uint32_t index : starts) {
          Values start = startOf(rank.executor.rank(), rank.executor.buffer(index).bytes() / sizeof(float));
          std::memcpy(rank.executor.data(index), start.data(), start.size() * sizeof(float));
        }
        Status ran = rank.executor.run(0);
        ASSERT_TRUE(ran.ok()) << ran.message;
        EXPECT_EQ(valuesOf(rank, result), expected(rank.executor.rank())) << "rank " << rank.executor.rank();
      }
    });
  }
  static Values valuesOf(RankOfPlan &rank, uint32_t index) {
    Values values(rank.executor.buffer(index).bytes() / sizeof(float));
    std::memcpy(values.data(), rank.executor.data(index), values.size() * sizeof(float));
    return values;
  }
  TemporaryFolder folder;
};

constexpr uint32_t kRanks = 4;

/// Of the division Across: place 0 is the higher rank.
std::vector<uint32_t> pairOf(uint32_t rank) { return {rank % 2 + 2, rank % 2}; }
uint32_t placeAcross(uint32_t rank) { return rank < 2 ? 1 : 0; }

Values sumOf(const std::vector<uint32_t> &ranks, size_t count) {
  Values sum(count, 0);
  for (uint32_t rank : ranks)
    for (size_t i = 0; i < count; ++i)
      sum[i] += startOf(rank, count)[i];
  return sum;
}

TEST_F(Collectives, AllReduce) {
  CollectivePlan sum(kRanks);
  uint32_t from = sum.addBuffer("from", 10), to = sum.addBuffer("to", 10);
  sum.addCollective(Kind::AllReduce, AllRanks, {{from, to}});
  expectValues(sum, {from}, to, [](uint32_t) { return sumOf({0, 1, 2, 3}, 10); });

  CollectivePlan largest(kRanks);
  uint32_t both = largest.addBuffer("both", 10);
  largest.addCollective(Kind::AllReduce, Across, {{both, both}}).body.AsCollective()->reduction = fb::Reduction::Max;
  expectValues(largest, {both}, both, [](uint32_t rank) { return startOf(rank % 2 + 2, 10); });
}

// One message of two tensors is the same as a message each.
TEST_F(Collectives, SeveralOperands) {
  CollectivePlan plan(kRanks);
  uint32_t small = plan.addBuffer("small", 3), large = plan.addBuffer("large", 5000);
  plan.addCollective(Kind::AllReduce, AllRanks, {{small, small}, {large, large}});
  expectValues(plan, {small, large}, small, [](uint32_t) { return sumOf({0, 1, 2, 3}, 3); });
  expectValues(plan, {small, large}, large, [](uint32_t) { return sumOf({0, 1, 2, 3}, 5000); });
}

// Parts lie in the order of places, which is not that of ranks; with `from` apart, and as the rank's own part of `to`.
TEST_F(Collectives, AllGather) {
  auto expected = [](uint32_t rank) {
    Values all = startOf(pairOf(rank)[0], 6), second = startOf(pairOf(rank)[1], 6);
    all.insert(all.end(), second.begin(), second.end());
    return all;
  };
  CollectivePlan apart(kRanks);
  uint32_t from = apart.addBuffer("from", 6), to = apart.addBuffer("to", 12);
  apart.addCollective(Kind::AllGather, Across, {{from, to}});
  expectValues(apart, {from}, to, expected);

  CollectivePlan inPlace(kRanks);
  uint32_t whole = inPlace.addBuffer("whole", 12), part = inPlace.addPart("part", whole, Across);
  inPlace.addCollective(Kind::AllGather, Across, {{part, whole}});
  expectValues(inPlace, {part}, whole, expected);
}

TEST_F(Collectives, ReduceScatter) {
  auto expected = [](uint32_t rank) {
    Values sum = sumOf(pairOf(rank), 12);
    return Values(sum.begin() + placeAcross(rank) * 6, sum.begin() + placeAcross(rank) * 6 + 6);
  };
  CollectivePlan apart(kRanks);
  uint32_t from = apart.addBuffer("from", 12), to = apart.addBuffer("to", 6);
  apart.addCollective(Kind::ReduceScatter, Across, {{from, to}});
  expectValues(apart, {from}, to, expected);

  CollectivePlan inPlace(kRanks);
  uint32_t whole = inPlace.addBuffer("whole", 12), part = inPlace.addPart("part", whole, Across);
  inPlace.addCollective(Kind::ReduceScatter, Across, {{whole, part}});
  expectValues(inPlace, {whole}, part, expected);
}

TEST_F(Collectives, AllToAll) {
  CollectivePlan plan(kRanks);
  uint32_t from = plan.addBuffer("from", 8), to = plan.addBuffer("to", 8);
  plan.addCollective(Kind::AllToAll, AllRanks, {{from, to}});
  expectValues(plan, {from}, to, [](uint32_t rank) {
    Values parts;
    for (uint32_t other = 0; other < kRanks; ++other)
      for (uint32_t i = 0; i < 2; ++i)
        parts.push_back(static_cast<float>(100 * other + 2 * rank + i));
    return parts;
  });
}

// A rank that is alone in its group sends nothing, and has everything.
TEST_F(Collectives, AloneInTheGroup) {
  for (Kind kind : {Kind::AllReduce, Kind::AllGather, Kind::ReduceScatter, Kind::AllToAll}) {
    CollectivePlan plan(kRanks);
    uint32_t from = plan.addBuffer("from", 8), to = plan.addBuffer("to", 8);
    plan.addCollective(kind, Alone, {{from, to}});
    expectValues(plan, {from}, to, [](uint32_t rank) { return startOf(rank, 8); });
  }
}

// Rows of [3, 4] that begin at the rank's place: column `place` of each, into every other element.
TEST_F(Collectives, StridedCopyAtThePlace) {
  CollectivePlan plan(kRanks);
  uint32_t from = plan.addBuffer("from", 12), to = plan.addBuffer("to", 6);
  fb::CopyT &copy = *plan.addCopy(to, from).body.AsCopy();
  copy.sizes = {3};
  copy.unit = 4;
  copy.to_strides = {8};
  copy.from_strides = {16};
  copy.place_groups = AllRanks;
  copy.place_stride = 4;
  expectValues(plan, {from}, to, [](uint32_t rank) {
    Values result(6, 0);
    for (uint32_t row = 0; row < 3; ++row)
      result[2 * row] = startOf(rank, 12)[4 * row + rank];
    return result;
  });
}

// [2, 3, 4] transposed to [3, 2, 4] in blocks of two elements.
TEST_F(Collectives, StridedCopyOfThreeDimensions) {
  CollectivePlan plan(kRanks);
  uint32_t from = plan.addBuffer("from", 24), to = plan.addBuffer("to", 24);
  fb::CopyT &copy = *plan.addCopy(to, from).body.AsCopy();
  copy.sizes = {3, 2, 2};
  copy.unit = 8;
  copy.to_strides = {32, 16, 8};
  copy.from_strides = {16, 48, 8};
  expectValues(plan, {from}, to, [](uint32_t rank) {
    Values result;
    for (uint32_t b = 0; b < 3; ++b)
      for (uint32_t a = 0; a < 2; ++a)
        for (uint32_t c = 0; c < 4; ++c)
          result.push_back(startOf(rank, 24)[a * 12 + b * 4 + c]);
    return result;
  });
}

// Two collectives run beside a copy; a third one, without an event, comes after them.
TEST_F(Collectives, AsynchronousThenWaited) {
  CollectivePlan plan(kRanks);
  uint32_t a = plan.addBuffer("a", 1000), b = plan.addBuffer("b", 10), c = plan.addBuffer("c", 10), d = plan.addBuffer("d", 10);
  plan.addCollective(Kind::AllReduce, AllRanks, {{a, a}}, 0);
  plan.addCollective(Kind::AllReduce, Across, {{b, b}}, 7);
  plan.addCopy(d, c);
  plan.addCollective(Kind::AllReduce, AllRanks, {{c, c}});
  plan.addWait(7);
  plan.addWait(0);
  plan.addCollective(Kind::AllReduce, AllRanks, {{b, b}}, 1);
  plan.addWait(1);
  Values everyone = sumOf({0, 1, 2, 3}, 10), twice(10);
  for (size_t i = 0; i < 10; ++i)
    twice[i] = 2 * everyone[i];
  expectValues(plan, {a, b, c}, a, [](uint32_t) { return sumOf({0, 1, 2, 3}, 1000); });
  expectValues(plan, {a, b, c}, b, [&](uint32_t) { return twice; });
  expectValues(plan, {a, b, c}, c, [&](uint32_t) { return everyone; });
  expectValues(plan, {a, b, c}, d, [](uint32_t rank) { return startOf(rank, 10); });
}

/// Notes the groups that are asked for, and opens none.
class NotingWorld : public World {
public:
  explicit NotingWorld(World &world) : world(world) {}
  unsigned rank() const override { return world.rank(); }
  unsigned size() const override { return world.size(); }
  Communicator &all() override { return world.all(); }
  Result<std::unique_ptr<Communicator>> group(std::vector<unsigned> ranks) override {
    asked.push_back(ranks);
    return std::unique_ptr<Communicator>();
  }
  void setDeadline(std::chrono::milliseconds deadline) override { world.setDeadline(deadline); }
  Status poll() override { return world.poll(); }
  Status fail(Status status) override { return world.fail(std::move(status)); }
  Status finish() override { return world.finish(); }

  std::vector<std::vector<unsigned>> asked;

private:
  World &world;
};

// Groups in which nobody talks are not opened, whatever their places are for; those of another rank's program are.
TEST_F(Collectives, OnlyGroupsThatTalkAreOpened) {
  auto askedBy = [&](const CollectivePlan &plan) {
    EXPECT_TRUE(writePlan(folder / "m.plan", pack(plan.plan), {}, {}).ok());
    auto file = PlanFile::read(folder / "m.plan");
    EXPECT_TRUE(file.ok()) << file.status().message;
    std::vector<std::unique_ptr<World>> worlds = LocalWorld::create(1);
    NotingWorld world(*worlds[0]);
    EXPECT_TRUE(Communication::open((*file)->plan(), 1, &world).ok());
    EXPECT_TRUE(worlds[0]->finish().ok());
    return world.asked;
  };
  using Asked = std::vector<std::vector<unsigned>>;
  CollectivePlan plan(kRanks);
  uint32_t a = plan.addBuffer("a", 10);
  plan.addPlace("across", Across);
  EXPECT_EQ(askedBy(plan), Asked());
  plan.addCollective(Kind::AllReduce, Alone, {{a, a}});
  EXPECT_EQ(askedBy(plan), Asked());
  plan.addCollective(Kind::AllReduce, AllRanks, {{a, a}});
  EXPECT_EQ(askedBy(plan), (Asked{{0, 1, 2, 3}}));
  for (uint32_t rank : {0, 2})
    plan.giveOwnProgram(rank);
  for (size_t program : {1, 2}) {
    auto &instructions = plan.plan.programs[program]->segments[0]->instructions;
    instructions.push_back(std::make_unique<fb::InstructionT>(*instructions.back()));
    instructions.back()->body.AsCollective()->groups = Across;
  }
  EXPECT_EQ(askedBy(plan), (Asked{{0, 1, 2, 3}, {3, 1}}));
}

TEST_F(Collectives, RanksKnowTheirPlace) {
  CollectivePlan plan(kRanks);
  uint32_t all = plan.addPlace("all", AllRanks), across = plan.addPlace("across", Across), alone = plan.addPlace("alone", Alone);
  ASSERT_TRUE(writePlan(folder / "m.plan", pack(plan.plan), {}, {}).ok());
  onRanks(folder / "m.plan", [&](RankOfPlan &rank) {
    uint32_t number = rank.executor.rank();
    EXPECT_EQ(rank.executor.scalar(all), number);
    EXPECT_EQ(rank.executor.scalar(across), placeAcross(number));
    EXPECT_EQ(rank.executor.scalar(alone), 0);
  });
}

// What an instruction has sent is counted where it was started, whether or not it runs beside others.
TEST_F(Collectives, SentBytesAreCounted) {
  CollectivePlan plan(kRanks);
  uint32_t a = plan.addBuffer("a", 1000), b = plan.addBuffer("b", 8), part = plan.addPart("part", b, AllRanks);
  plan.addCollective(Kind::AllReduce, AllRanks, {{a, a}}, 0);
  plan.addCollective(Kind::AllGather, AllRanks, {{part, b}});
  plan.addWait(0);
  ASSERT_TRUE(writePlan(folder / "m.plan", pack(plan.plan), {}, {}).ok());
  onRanks(folder / "m.plan", [&](RankOfPlan &rank) {
    for (int run = 0; run < 2; ++run)
      ASSERT_TRUE(rank.executor.run(0).ok());
    EXPECT_EQ(rank.executor.sentBytes()[0], (std::vector<uint64_t>{2 * 2 * 4000 * 3 / 4, 2 * 32 * 3 / 4, 0}));
  });
}

// A rank that goes away is named by the others, with the collective that they wait in: at the wait, if it runs beside.
TEST_F(Collectives, LostRanksAreNamedWhereTheyAreMissed) {
  CollectivePlan plan(2);
  uint32_t a = plan.addBuffer("gradients", 10);
  plan.addCollective(Kind::AllReduce, AllRanks, {{a, a}}, 3);
  plan.addWait(3);
  ASSERT_TRUE(writePlan(folder / "m.plan", pack(plan.plan), {}, {}).ok());
  onRanks(folder / "m.plan", [&](RankOfPlan &rank) {
    ASSERT_TRUE(rank.executor.run(0).ok());
    rank.world->setDeadline(std::chrono::milliseconds(50));
    if (rank.executor.rank() == 1)
      return;
    Status status = rank.executor.run(0, 41, 0);
    EXPECT_TRUE(status.code == StatusCode::DeadlinePassed || status.code == StatusCode::RankDied) << status.message;
    EXPECT_NE(status.message.find("step 42, segment 'update', instruction 1 'collective1' (test of gradients): rank 1 "), std::string::npos)
        << status.message;
    std::vector<History::Entry> entries = rank.executor.history().entries();
    ASSERT_EQ(entries.size(), 4u);
    EXPECT_EQ(entries.back().end, 0) << "it has not ended";
    EXPECT_NE(rank.executor.historyText().find("step 42, micro-batch 0, segment 'update', instruction 1 'wait2': not ended"), std::string::npos)
        << rank.executor.historyText();
  }, false);
}

TEST(History, KeepsTheLastEntries) {
  History history;
  EXPECT_TRUE(history.entries().empty());
  for (uint64_t i = 0; i < 3 * History::kEntries + 5; ++i) {
    history.begin({i, 1, 2, static_cast<uint32_t>(i), static_cast<int64_t>(10 * i), 0});
    if (i == 0) {
      EXPECT_EQ(history.entries().back().end, 0);
    }
    history.end(static_cast<int64_t>(10 * i + 5));
    ASSERT_EQ(history.entries().size(), std::min<uint64_t>(i + 1, History::kEntries));
  }
  std::vector<History::Entry> entries = history.entries();
  for (size_t k = 0; k < entries.size(); ++k) {
    uint64_t i = 2 * History::kEntries + 5 + k;
    EXPECT_EQ(entries[k].step, i);
    EXPECT_EQ(entries[k].instruction, i);
    EXPECT_EQ(entries[k].begin, static_cast<int64_t>(10 * i));
    EXPECT_EQ(entries[k].end, static_cast<int64_t>(10 * i + 5));
  }
}

// A reader beside the writer sees whole entries, in order.
TEST(History, IsReadWhileItIsWritten) {
  History history;
  std::atomic<bool> stop{false};
  std::thread writer([&] {
    for (uint64_t i = 0; !stop; ++i) {
      history.begin({i, static_cast<uint32_t>(i), static_cast<uint32_t>(i), static_cast<uint32_t>(i), static_cast<int64_t>(i), 0});
      history.end(static_cast<int64_t>(i + 1));
    }
  });
  for (int round = 0; round < 200; ++round) {
    uint64_t before = 0;
    for (const History::Entry &entry : history.entries()) {
      EXPECT_TRUE(entry.micro == static_cast<uint32_t>(entry.step) && entry.segment == entry.micro && entry.instruction == entry.micro &&
                  entry.begin == static_cast<int64_t>(entry.step));
      EXPECT_TRUE(entry.step == 0 || entry.step > before);
      before = entry.step;
    }
  }
  stop = true;
  writer.join();
}

} // namespace
