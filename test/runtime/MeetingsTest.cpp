//===- MeetingsTest.cpp - plans whose ranks would not meet are refused ----===//
//
// Rules of collectives, copies, events and places, one altered plan each; then plans in which one rank's program differs,
// made at random: the validator refuses them as one file, and the ranks do when they compare files.
//
//===----------------------------------------------------------------------===//
#include "runtime/comm/local/LocalWorld.h"
#include "runtime/executor/Communication.h"
#include "runtime/plan/Validator.h"
#include "test/runtime/CollectivePlan.h"
#include <algorithm>
#include <functional>
#include <random>
#include <thread>

using namespace llmc::runtime;
using namespace llmc::test;
using Kind = fb::CollectiveKind;

namespace {

std::vector<std::string> problemsOf(const fb::PlanT &plan) {
  std::vector<uint8_t> bytes = pack(plan);
  return validatePlan(*fb::GetPlan(bytes.data()), {0, 0});
}

std::string joined(const std::vector<std::string> &problems) {
  std::string text;
  for (const std::string &problem : problems)
    text += problem + "\n";
  return text;
}

/// Buffers and instructions of the plan below.
enum Buffer : uint32_t { Whole, Part, Small, Other, Spare, WhereItIs };
enum Instruction { Reduce, Gather, Scatter, Swap, Start, Strided, Await };

/// Every kind of collective on four ranks, in place where that is possible, and one that runs beside a strided copy.
CollectivePlan sample() {
  CollectivePlan plan(4);
  plan.addBuffer("whole", 16);
  plan.addPart("part", Whole, AllRanks);
  plan.addBuffer("small", 16);
  plan.addBuffer("other", 16);
  plan.addBuffer("spare", 16);
  plan.addPlace("place", AllRanks);
  plan.addCollective(Kind::AllReduce, AllRanks, {{Small, Small}, {Other, Spare}});
  plan.addCollective(Kind::AllGather, AllRanks, {{Part, Whole}});
  plan.addCollective(Kind::ReduceScatter, AllRanks, {{Whole, Part}});
  plan.addCollective(Kind::AllToAll, Across, {{Small, Other}});
  plan.addCollective(Kind::AllReduce, AllRanks, {{Whole, Whole}}, 0);
  fb::CopyT &copy = *plan.addCopy(Spare, Other).body.AsCopy();
  copy.sizes = {2, 2};
  copy.unit = 8;
  copy.to_strides = {16, 8};
  copy.from_strides = {16, 8};
  copy.place_groups = Across;
  copy.place_stride = 32;
  plan.addWait(0);
  return plan;
}

struct Case {
  const char *expected;
  std::function<void(CollectivePlan &)> alter;
};

void runCases(const std::vector<Case> &cases) {
  for (const Case &test : cases) {
    CollectivePlan plan = sample();
    ASSERT_EQ(joined(problemsOf(plan.plan)), "");
    test.alter(plan);
    std::string problems = joined(problemsOf(plan.plan));
    EXPECT_NE(problems.find(test.expected), std::string::npos) << "expected '" << test.expected << "', got:\n" << problems;
  }
}

fb::CollectiveT &body(CollectivePlan &plan, int index) { return *plan.at(index).body.AsCollective(); }
fb::CopyT &copy(CollectivePlan &plan) { return *plan.at(Strided).body.AsCopy(); }
fb::OperandT &operand(CollectivePlan &plan, int index, int number) { return *plan.at(index).operands[number]; }

TEST(Meetings, Groups) {
  auto division = [](CollectivePlan &p, int index) -> fb::GroupsT & { return *p.plan.groups[index]; };
  auto addAxis = [](CollectivePlan &p, uint32_t size) {
    p.plan.mesh.push_back(std::make_unique<fb::MeshAxisT>());
    p.plan.mesh.back()->size = size;
  };
  runCases({
      {"does not divide the ranks", [&](CollectivePlan &p) { division(p, AllRanks).size = 3; }},
      {"does not divide the ranks", [&](CollectivePlan &p) { division(p, AllRanks).size = 0; }},
      {"do not hold each rank once", [&](CollectivePlan &p) { division(p, Across).ranks.pop_back(); }},
      {"do not hold each rank once", [&](CollectivePlan &p) { division(p, Across).ranks[0] = 1; }},
      {"do not hold each rank once", [&](CollectivePlan &p) { division(p, Across).ranks[0] = 4; }},
      {"another number of points", [&](CollectivePlan &p) { addAxis(p, 2), addAxis(p, 3); }},
      {"another number of points", [&](CollectivePlan &p) { addAxis(p, 1u << 31), addAxis(p, 1u << 31), addAxis(p, 4); }},
  });
}

TEST(Meetings, Collectives) {
  runCases({
      {"names no division into groups", [](CollectivePlan &p) { body(p, Reduce).groups = 3; }},
      {"unknown collective", [](CollectivePlan &p) { body(p, Reduce).kind = static_cast<Kind>(4); }},
      {"unknown collective, reduction", [](CollectivePlan &p) { body(p, Reduce).reduction = static_cast<fb::Reduction>(2); }},
      {"element type", [](CollectivePlan &p) { body(p, Reduce).type = static_cast<fb::DataType>(77); }},
      {"needs operands in pairs", [](CollectivePlan &p) { p.at(Reduce).operands.pop_back(); }},
      {"needs operands in pairs", [](CollectivePlan &p) { p.at(Reduce).operands.clear(); }},
      {"cannot be reduced", [](CollectivePlan &p) { body(p, Reduce).type = fb::DataType::BF16; }},
      {"cannot be reduced", [](CollectivePlan &p) { body(p, Scatter).type = fb::DataType::U8; }},
      {"have the wrong access", [](CollectivePlan &p) { operand(p, Swap, 0).access = fb::Access::ReadWrite; }},
      {"have the wrong access", [](CollectivePlan &p) { operand(p, Swap, 1).access = fb::Access::Read; }},
      {"are no whole elements", [](CollectivePlan &p) { operand(p, Reduce, 0).bytes = operand(p, Reduce, 1).bytes = 62; }},
      {"are not aligned to their elements", [](CollectivePlan &p) {
         body(p, Reduce).type = fb::DataType::F64;
         operand(p, Reduce, 0).offset = operand(p, Reduce, 1).offset = 4;
         operand(p, Reduce, 0).bytes = operand(p, Reduce, 1).bytes = 8;
       }},
      {"do not have the bytes for 4 ranks", [](CollectivePlan &p) { operand(p, Reduce, 0).bytes = 32; }},
      {"do not have the bytes for 4 ranks", [](CollectivePlan &p) { operand(p, Gather, 1).bytes = 32; }},
      {"do not have the bytes for 4 ranks", [](CollectivePlan &p) { operand(p, Scatter, 0).bytes = 32; }},
      {"do not have the bytes for 2 ranks", [](CollectivePlan &p) { operand(p, Swap, 0).bytes = operand(p, Swap, 1).bytes = 12; }},
      {"overlap", [](CollectivePlan &p) { operand(p, Swap, 1).buffer = Small; }},
      {"operands 0 and 1: overlap", [](CollectivePlan &p) { operand(p, Gather, 0).buffer = Whole, operand(p, Gather, 0).bytes = 16; }},
      {"operands 0 and 1: overlap", [](CollectivePlan &p) { operand(p, Scatter, 1).buffer = Whole, operand(p, Scatter, 1).bytes = 16; }},
      {"overlap operand 2", [](CollectivePlan &p) { operand(p, Reduce, 2).buffer = Small; }},
      {"overlap operand 3", [](CollectivePlan &p) { operand(p, Reduce, 3).buffer = Small; }},
  });
}

TEST(Meetings, PlacesOfBuffers) {
  runCases({
      {"its place is in no division", [](CollectivePlan &p) { p.buffer(Part).place_groups = 3; }},
      {"is a part of no buffer", [](CollectivePlan &p) { p.buffer(Part).alias_of = -1; }},
      {"places of ranks overlap", [](CollectivePlan &p) { p.buffer(Part).place_stride = 12; }},
      {"not aligned", [](CollectivePlan &p) { p.buffer(Part).place_stride = 18; }},
      {"does not lie inside the buffer it aliases", [](CollectivePlan &p) { p.buffer(Part).place_stride = 20; }},
      {"does not lie inside the buffer it aliases", [](CollectivePlan &p) { p.buffer(Part).place_stride = UINT64_MAX / 8 * 4; }},
      {"whose place depends on the rank", [](CollectivePlan &p) {
         p.program().buffers.push_back(std::make_unique<fb::BufferT>(p.buffer(Part)));
         p.program().buffers.back()->place_groups = -1;
         p.program().buffers.back()->alias_of = Part;
       }},
      // a part by its place in another division is not the collective's own
      {"operands 0 and 1: overlap", [](CollectivePlan &p) { p.buffer(Part).place_groups = Across; }},
      {"a place is not one 64-bit integer", [](CollectivePlan &p) { p.buffer(WhereItIs).type = fb::DataType::F64; }},
      {"its place is in no division", [](CollectivePlan &p) { p.program().segments[0]->inputs[0]->place_groups = -1; }},
  });
}

TEST(Meetings, StridedCopies) {
  runCases({
      {"copy of unequal sizes", [](CollectivePlan &p) { copy(p) = fb::CopyT(), operand(p, Strided, 0).bytes = 32; }},
      {"copy of unequal sizes", [](CollectivePlan &p) { copy(p).sizes.clear(); }},
      {"no unit", [](CollectivePlan &p) { copy(p).unit = 0; }},
      {"different number", [](CollectivePlan &p) { copy(p).to_strides.pop_back(); }},
      {"different number", [](CollectivePlan &p) { copy(p).from_strides.push_back(1); }},
      {"different number", [](CollectivePlan &p) { copy(p).sizes = copy(p).to_strides = copy(p).from_strides = {1, 1, 1, 1, 1}; }},
      {"empty dimension", [](CollectivePlan &p) { copy(p).sizes = {2, 0}; }},
      {"blocks of a strided copy overlap", [](CollectivePlan &p) { copy(p).to_strides = {16, 4}; }},
      {"blocks of a strided copy overlap", [](CollectivePlan &p) { copy(p).to_strides = {8, 8}; }},
      {"names no division into groups", [](CollectivePlan &p) { copy(p).place_groups = 5; }},
      {"leaves its operands", [](CollectivePlan &p) { copy(p).to_strides = {64, 8}; }},
      {"leaves its operands", [](CollectivePlan &p) { copy(p).from_strides = {24, 16}; }},
      {"leaves its operands", [](CollectivePlan &p) { copy(p).place_stride = 36; }},
      {"leaves its operands", [](CollectivePlan &p) { copy(p).place_stride = UINT64_MAX; }},
      {"copy onto itself", [](CollectivePlan &p) { operand(p, Strided, 1).buffer = Spare; }},
  });
}

TEST(Meetings, Events) {
  auto wait = [](CollectivePlan &p) -> fb::WaitT & { return *p.at(Await).body.AsWait(); };
  runCases({
      {"waits for an event that no collective before it has", [&](CollectivePlan &p) { wait(p).event = 1; }},
      {"waits for an event that no collective before it has", [&](CollectivePlan &p) { p.addWait(0); }},
      {"ends while collectives are not waited for", [&](CollectivePlan &p) { p.program().segments[0]->instructions.pop_back(); }},
      {"its event is another's", [&](CollectivePlan &p) { body(p, Reduce).event = 0; }},
      {"its event is another's, or impossible", [&](CollectivePlan &p) { wait(p).event = 1u << 20, body(p, Start).event = 1 << 20; }},
      {"touches what the collective of event 0 still works on", [&](CollectivePlan &p) { operand(p, Strided, 1).buffer = Whole; }},
      {"touches what the collective of event 0 still works on", [&](CollectivePlan &p) { body(p, Start).event = -1, body(p, Gather).event = 0; }},
      {"a wait has no operands", [&](CollectivePlan &p) { p.at(Await).operands.push_back(std::make_unique<fb::OperandT>(operand(p, Reduce, 0))); }},
  });
}

// Sequences that agree in every group, and yet no rank comes to the end: 0 waits for 2, 2 for 3, 3 for 1, 1 for 0.
TEST(Meetings, CirclesOfRanks) {
  CollectivePlan plan(4);
  plan.plan.groups[AllRanks]->size = 2; // {0, 1}, {2, 3}
  uint32_t a = plan.addBuffer("a", 4), b = plan.addBuffer("b", 4);
  plan.addCollective(Kind::AllReduce, AllRanks, {{a, a}});
  plan.addCollective(Kind::AllReduce, Across, {{b, b}});
  auto &instructions = plan.giveOwnProgram(1).segments[0]->instructions;
  std::swap(instructions[0], instructions[1]);
  EXPECT_EQ(joined(problemsOf(plan.plan)), "") << "one rank that differs makes no circle";
  plan.plan.ranks[2]->program = 1;
  std::string problems = joined(problemsOf(plan.plan));
  EXPECT_NE(problems.find("segment 'update': ranks would wait for each other forever: rank 0 in groups 'all', rank 1 in groups 'across'"),
            std::string::npos)
      << problems;
}

/// A chain of collectives over all ranks and over pairs.
CollectivePlan chain(std::mt19937 &random) {
  CollectivePlan plan(random() % 2 ? 4 : 2);
  uint32_t count = 4 + random() % 12;
  for (uint32_t i = 0; i < count; ++i) {
    CollectiveGroups groups = random() % 2 ? AllRanks : Across;
    int64_t elements = 8 * (1 + random() % 3);
    auto kind = static_cast<Kind>(random() % 4);
    uint32_t large = plan.addBuffer("large" + std::to_string(i), elements), small = plan.addPart("part" + std::to_string(i), large, groups);
    if (kind == Kind::AllGather)
      plan.addCollective(kind, groups, {{small, large}});
    else if (kind == Kind::ReduceScatter)
      plan.addCollective(kind, groups, {{large, small}});
    else
      plan.addCollective(kind, groups, {{large, plan.addBuffer("to" + std::to_string(i), elements)}});
  }
  return plan;
}

/// Gives one rank a program of its own, in which a collective is swapped with another, dropped or resized. Says which.
std::string spoil(CollectivePlan &plan, std::mt19937 &random) {
  uint32_t rank = random() % plan.plan.ranks.size();
  fb::RankProgramT &program = plan.giveOwnProgram(rank);
  auto &instructions = program.segments[0]->instructions;
  size_t index = random() % instructions.size(), other = (index + 1 + random() % (instructions.size() - 1)) % instructions.size();
  std::string where = " " + std::to_string(index) + " of rank " + std::to_string(rank);
  switch (random() % 3) {
  case 0:
    std::swap(instructions[index], instructions[other]);
    return "swapped with " + std::to_string(other) + where;
  case 1:
    instructions.erase(instructions.begin() + static_cast<ptrdiff_t>(index));
    return "dropped" + where;
  default:
    for (std::unique_ptr<fb::OperandT> &operand : instructions[index]->operands) { // half of everything, which is sound alone
      fb::BufferT &buffer = *program.buffers[operand->buffer];
      buffer.bytes /= 2;
      buffer.shape[0] /= 2;
      buffer.place_stride /= 2;
      operand->bytes /= 2;
    }
    return "resized" + where;
  }
}

/// What each rank says when it compares its file with those of the others.
std::vector<Status> compare(const std::vector<PlanFile *> &files, const std::vector<std::string> &options) {
  return LocalWorld::run(static_cast<unsigned>(files.size()),
                         [&](World &world) { return compareRanks(world, *files[world.rank()], options[world.rank()]); });
}

TEST(Meetings, SpoiltPlansAreRefused) {
  TemporaryFolder folder;
  std::mt19937 random(1); // the same numbers everywhere
  auto fileOf = [&](const fb::PlanT &plan, const char *name) {
    EXPECT_TRUE(writePlan(folder / name, pack(plan), {}, {}).ok());
    auto file = PlanFile::readUnvalidated(folder / name);
    EXPECT_TRUE(file.ok()) << file.status().message;
    return *file;
  };
  int refused = 0, refusedApart = 0;
  for (int i = 0; i < 100; ++i) {
    CollectivePlan plan = chain(random);
    ASSERT_EQ(joined(problemsOf(plan.plan)), "");
    auto good = fileOf(plan.plan, "good.plan");
    std::string what = spoil(plan, random);
    bool isRefused = !problemsOf(plan.plan).empty();
    refused += isRefused;
    EXPECT_TRUE(isRefused) << "plan " << i << ": " << what;

    size_t ranks = plan.plan.ranks.size(), odd = static_cast<size_t>(random() % ranks); // has a file of its own
    for (std::unique_ptr<fb::RankT> &rank : plan.plan.ranks)
      rank->program = 1;
    plan.plan.programs[0] = std::make_unique<fb::RankProgramT>(*plan.plan.programs[1]);
    auto spoilt = fileOf(plan.plan, "spoilt.plan");
    std::vector<PlanFile *> files(ranks, good.get());
    files[odd] = spoilt.get();
    std::vector<Status> outcomes = compare(files, std::vector<std::string>(ranks));
    bool all = std::all_of(outcomes.begin(), outcomes.end(), [](const Status &status) { return status.code == StatusCode::PlanRefused; });
    refusedApart += all;
    EXPECT_TRUE(all) << "plan " << i << ": " << what;
  }
  EXPECT_EQ(refused, 100);
  EXPECT_EQ(refusedApart, 100);
}

// Two reductions of the same size, swapped: every message would fit, and every gradient be wrong.
TEST(Meetings, WhatIsReducedMustAgree) {
  CollectivePlan plan(2);
  uint32_t a = plan.addBuffer("a", 4), b = plan.addBuffer("b", 4);
  plan.addCollective(Kind::AllReduce, AllRanks, {{a, a}});
  plan.addCollective(Kind::AllReduce, AllRanks, {{b, b}});
  auto &instructions = plan.giveOwnProgram(1).segments[0]->instructions;
  std::swap(instructions[0], instructions[1]);
  std::string problems = joined(problemsOf(plan.plan));
  EXPECT_NE(problems.find("AllReduce (test of a) of 32 bytes in segment 'update' on the one, AllReduce (test of b)"), std::string::npos) << problems;
}

// All ranks say which differ from rank 0, by their plans first.
TEST(Meetings, RanksCompareWhatTheyWereGiven) {
  TemporaryFolder folder;
  std::mt19937 random(2);
  std::vector<std::shared_ptr<PlanFile>> plans;
  for (const char *name : {"a.plan", "b.plan"}) {
    ASSERT_TRUE(writePlan(folder / name, pack(chain(random).plan), {}, {}).ok());
    plans.push_back(*PlanFile::read(folder / name));
  }
  PlanFile *a = plans[0].get(), *b = plans[1].get();
  for (const Status &status : compare({a, a, a}, {"x", "x", "x"}))
    EXPECT_TRUE(status.ok()) << status.message;
  for (const Status &status : compare({a, b, a, b}, {"x", "x", "y", "x"})) {
    EXPECT_EQ(status.code, StatusCode::PlanRefused);
    EXPECT_EQ(status.message, "ranks 1 3 have another plan than rank 0");
  }
  for (const Status &status : compare({a, a, a, a}, {"x", "x", "y", "longer"})) {
    EXPECT_EQ(status.code, StatusCode::PlanRefused);
    EXPECT_EQ(status.message, "ranks 2 3 were started with other arguments than rank 0");
  }
}

} // namespace
