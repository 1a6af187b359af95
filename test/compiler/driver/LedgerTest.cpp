//===- LedgerTest.cpp - figures of messages, by hand ---------------------------------===//
#include "compiler/driver/Ledger.h"
#include <gtest/gtest.h>

using namespace llmc;
using namespace llmc::driver;

namespace {

namespace fb = llmc::plan::fb;

class LedgerTest : public testing::Test {
protected:
  LedgerTest() {
    plan.micro_batches = 3;
    plan.groups.push_back(std::make_unique<fb::GroupsT>());
    plan.groups[0]->name = "groups.dp";
    plan.groups[0]->size = 4;
    plan.programs.push_back(std::make_unique<fb::RankProgramT>());
    plan.programs[0]->segments.push_back(std::make_unique<fb::SegmentT>());
    segment().name = "accumulate";
  }
  fb::SegmentT &segment() { return *plan.programs[0]->segments.back(); }

  fb::InstructionT &add(uint64_t nanoseconds) {
    segment().instructions.push_back(std::make_unique<fb::InstructionT>());
    segment().instructions.back()->predicted_ns = nanoseconds;
    return *segment().instructions.back();
  }
  void addCompute(uint64_t nanoseconds) { add(nanoseconds).body.Set(fb::LaunchT()); }
  void addWait(uint32_t event) {
    fb::WaitT wait;
    wait.event = event;
    add(0).body.Set(wait);
  }
  /// A message of tensors of these (source, result) bytes.
  void addMessage(fb::CollectiveKind kind, int32_t event, uint64_t nanoseconds, std::vector<std::pair<uint64_t, uint64_t>> tensors) {
    fb::CollectiveT collective;
    collective.kind = kind;
    collective.event = event;
    collective.reason = "test";
    fb::InstructionT &instruction = add(nanoseconds);
    instruction.body.Set(collective);
    for (auto [from, to] : tensors)
      for (uint64_t bytes : {from, to}) {
        instruction.operands.push_back(std::make_unique<fb::OperandT>());
        instruction.operands.back()->bytes = bytes;
      }
  }
  std::vector<LedgerEntry> ledger() {
    builder.Finish(fb::Plan::Pack(builder, &plan));
    const auto *packed = flatbuffers::GetRoot<fb::Plan>(builder.GetBufferPointer());
    return ledgerOf(*packed, *packed->programs()->Get(0));
  }

  fb::PlanT plan;
  flatbuffers::FlatBufferBuilder builder;
};

// Two messages at once: each is hidden by the compute until its own wait, not by the other message, and by none after the wait.
TEST_F(LedgerTest, ComputeHidesMessages) {
  addMessage(fb::CollectiveKind::AllReduce, 0, 100, {{64, 64}}); // 30 + 40 of compute until its wait
  addCompute(30);
  addMessage(fb::CollectiveKind::AllGather, 1, 70, {{16, 64}}); // 40 + 20
  addCompute(40);
  addWait(0);
  addCompute(20);
  addWait(1);
  addCompute(500);
  addMessage(fb::CollectiveKind::AllReduce, -1, 50, {{4, 4}}); // nothing runs beside it
  addCompute(500);
  addMessage(fb::CollectiveKind::ReduceScatter, 2, 10, {{64, 16}}); // more compute than it takes
  addCompute(11);
  addWait(2);
  std::vector<uint64_t> exposed;
  for (const LedgerEntry &entry : ledger())
    exposed.push_back(entry.exposed);
  EXPECT_EQ(exposed, (std::vector<uint64_t>{30, 10, 50, 0}));
}

TEST_F(LedgerTest, BytesOfMessages) {
  addMessage(fb::CollectiveKind::AllReduce, -1, 1, {{64, 64}, {32, 32}});
  addMessage(fb::CollectiveKind::AllGather, -1, 1, {{16, 64}, {4, 16}});
  addMessage(fb::CollectiveKind::ReduceScatter, -1, 1, {{64, 16}});
  for (const char *name : {"update", "evaluate"}) {
    plan.programs[0]->segments.push_back(std::make_unique<fb::SegmentT>());
    segment().name = name;
    addMessage(fb::CollectiveKind::AllReduce, -1, 1, {{8, 8}});
  }
  std::vector<LedgerEntry> entries = ledger();
  ASSERT_EQ(entries.size(), 5u);
  uint64_t payloads[] = {96, 80, 64, 8, 8}, times[] = {3, 3, 3, 1, 0};
  double sent[] = {144, 60, 48, 12, 12}; // a group of 4: 2 P 3/4, P 3/4
  for (size_t i = 0; i < 5; ++i) {
    EXPECT_EQ(entries[i].payload, payloads[i]) << i;
    EXPECT_EQ(entries[i].sent, sent[i]) << i;
    EXPECT_EQ(entries[i].timesPerStep, times[i]) << i;
    EXPECT_EQ(entries[i].ranks, 4u);
  }
  EXPECT_EQ(entries[1].position, 1u);
  EXPECT_EQ(entries[4].segment, "evaluate");

  std::string text;
  llvm::raw_string_ostream stream(text);
  printLedger(entries, stream);
  // What a step sends: three micro-batches and one update.
  EXPECT_NE(text.find("a step: 768.0 bytes sent"), std::string::npos) << text;
}

} // namespace
