//===- AgreeTest.cpp - decisions that all ranks take together -------------===//
#include "runtime/comm/Agree.h"
#include "runtime/comm/local/LocalWorld.h"
#include <functional>
#include <gtest/gtest.h>
#include <thread>

using namespace llmc::runtime;

namespace {

void onRanks(unsigned size, const std::function<void(World &)> &body) {
  for (const Status &status : LocalWorld::run(size, [&](World &world) {
         body(world);
         return Status::success();
       }))
    EXPECT_TRUE(status.ok()) << status.message;
}

// Texts of any length, with any bytes, in the order of ranks.
TEST(Agree, TextsOfAllRanks) {
  onRanks(3, [](World &world) {
    auto empty = gatherTexts(world, "");
    ASSERT_TRUE(empty.ok());
    EXPECT_EQ(*empty, std::vector<std::string>(3));
    std::string own = world.rank() == 1 ? std::string("a\0b", 3) : std::string(world.rank() * 1000, 'x');
    auto texts = gatherTexts(world, own);
    ASSERT_TRUE(texts.ok());
    EXPECT_EQ(*texts, (std::vector<std::string>{"", std::string("a\0b", 3), std::string(2000, 'x')}));
  });
}

TEST(Agree, SuccessOfAllIsSuccess) {
  onRanks(3, [](World &world) { EXPECT_TRUE(agree(&world, Status::success()).ok()); });
  EXPECT_EQ(agree(nullptr, Status::badInput("alone")).message, "alone");
}

// All get the same error: each message once, the code and the hint of the first.
TEST(Agree, ErrorsAreShared) {
  onRanks(4, [](World &world) {
    Status own;
    if (world.rank() == 1)
      own = Status::badInput("no file", "give one");
    else if (world.rank() > 1)
      own = Status::wrongUse("too many");
    Status status = agree(&world, own);
    EXPECT_EQ(status.code, StatusCode::BadInput);
    EXPECT_EQ(status.message, "rank 1: no file\nrank 2: too many");
    EXPECT_EQ(status.hint, "give one");
  });
}

} // namespace
