//===- PartTest.cpp - boxes of tensors, and who holds them ----------------===//
#include "runtime/plan/Part.h"
#include "runtime/plan/Places.h"
#include "runtime/plan/StateLayout.h"
#include "test/runtime/StatePlan.h"
#include <numeric>

using namespace llmc::runtime;
using namespace llmc::test;

namespace {

std::vector<int32_t> numbers(int64_t count) {
  std::vector<int32_t> values(static_cast<size_t>(count));
  std::iota(values.begin(), values.end(), 0);
  return values;
}

TEST(Part, IntersectionOfBoxes) {
  Box a{{0, 2}, {4, 4}}, b{{2, 0}, {4, 3}};
  EXPECT_EQ(intersect(a, b), (Box{{2, 2}, {2, 1}}));
  EXPECT_FALSE(intersect(a, Box{{4, 2}, {1, 1}})) << "they touch, but have nothing in common";
  EXPECT_EQ(intersect(Box{}, Box{}), Box{}) << "a scalar is itself";
}

TEST(Part, RunsAreAsLongAsNeighboursAre) {
  Box rows{{1, 0, 0}, {2, 3, 4}}, columns{{0, 1, 0}, {2, 2, 4}}, inner{{1, 1, 1}, {1, 2, 2}};
  Shape shape{3, 3, 4};
  EXPECT_EQ(Runs(rows, shape).length, 24);
  EXPECT_EQ(Runs(rows, shape).begin(0), 12);
  EXPECT_EQ(Runs(columns, shape).length, 8);
  EXPECT_EQ(Runs(columns, shape).begin(1), 16);
  EXPECT_EQ(Runs(inner, shape).count, 2);
  EXPECT_EQ(Runs(inner, shape).begin(1), 12 + 8 + 1);
}

// From one part of a [4, 6] tensor to another: only what they have in common moves.
TEST(Part, CopiesWhatBoxesHaveInCommon) {
  std::vector<int32_t> whole = numbers(24), from(12, -1), to(8, -1);
  Box all = Box::whole({4, 6}), left{{0, 0}, {4, 3}}, low{{2, 2}, {2, 4}};
  copyCommon(all, whole.data(), left, from.data(), 4);
  EXPECT_EQ(from, (std::vector<int32_t>{0, 1, 2, 6, 7, 8, 12, 13, 14, 18, 19, 20}));
  copyCommon(left, from.data(), low, to.data(), 4);
  EXPECT_EQ(to, (std::vector<int32_t>{14, -1, -1, -1, 20, -1, -1, -1}));
}

TEST(Part, CoverageIsExact) {
  Box all = Box::whole({4, 4}), left{{0, 0}, {4, 2}}, right{{0, 2}, {4, 2}}, low{{1, 0}, {3, 4}};
  EXPECT_TRUE(covers({left, right}, all));
  EXPECT_TRUE(covers({low, right, left}, all)) << "overlaps do no harm";
  EXPECT_FALSE(covers({left, low}, all));
  EXPECT_FALSE(covers({}, all));
  EXPECT_TRUE(covers({}, Box::whole({0, 4}))) << "nothing to cover";
}

// A padded, permuted tensor: the part of it is the same as the same part of all of it.
TEST(Part, PartsOfViews) {
  std::vector<int32_t> logical = numbers(6), part(4, -1);
  std::vector<ViewStep> view = {{fb::ViewKind::Pad, {0, 1, 0, 0}}, {fb::ViewKind::Permute, {1, 0}}};
  EXPECT_EQ(compiledShape(view, {3, 2}), (Shape{2, 4}));
  toPart(view, {3, 2}, {{0, 2}, {2, 2}}, 4, logical.data(), part.data());
  EXPECT_EQ(part, (std::vector<int32_t>{4, 0, 5, 0}));
}

// Rank 5 of dp 2 x tp 4 has places 1 and 1; cuts of one dimension are applied in order.
TEST(Part, CutsFollowPlaces) {
  std::vector<uint8_t> bytes = pack(statePlan({2, 4, true, 6}));
  const fb::Plan &plan = *fb::GetPlan(bytes.data());
  const fb::Parameter &embed = *plan.programs()->Get(0)->parameters()->Get(0);
  EXPECT_EQ(partOf(plan, {16, 8}, embed.cuts(), placesOfRank(plan, 5)), (Box{{4, 0}, {4, 8}}));
  EXPECT_EQ(partOf(plan, {16, 8}, embed.states()->Get(0)->cuts(), placesOfRank(plan, 5)), (Box{{4, 4}, {4, 4}}));
  fb::CutT first, second;
  first.groups = DpGroups;
  second.groups = TpGroups;
  flatbuffers::FlatBufferBuilder builder;
  auto cuts = builder.CreateVector<flatbuffers::Offset<fb::Cut>>(
      {fb::Cut::Pack(builder, &first), fb::Cut::Pack(builder, &second)});
  builder.Finish(cuts);
  EXPECT_EQ(partOf(plan, {16}, flatbuffers::GetRoot<Cuts>(builder.GetBufferPointer()), placesOfRank(plan, 5)), (Box{{10}, {2}}));
}

TEST(Part, RanksAroundARank) {
  std::vector<uint8_t> bytes = pack(statePlan({2, 2}));
  const fb::Plan &plan = *fb::GetPlan(bytes.data());
  EXPECT_EQ(ranksAround(plan, {}, 1), (std::vector<uint32_t>{1}));
  EXPECT_EQ(ranksAround(plan, {DpGroups}, 1), (std::vector<uint32_t>{1, 3}));
  EXPECT_EQ(ranksAround(plan, {DpGroups, TpGroups}, 1), (std::vector<uint32_t>{0, 1, 2, 3}));
}

} // namespace
