//===- FileRolesTest.cpp - what is theirs stays theirs --------------------===//
#include "runtime/support/FileRoles.h"
#include "test/runtime/TinyPlan.h"
#include <filesystem>
#include <sys/stat.h>
#include <unistd.h>

using namespace llmc::runtime;
using namespace llmc::test;

namespace {

namespace fs = std::filesystem;

class Roles : public ::testing::Test {
protected:
  void SetUp() override { writeBytes(folder / "in", {1, 2, 3}); }
  void TearDown() override { EXPECT_EQ(readBytes(folder / "in"), (std::vector<uint8_t>{1, 2, 3})); }
  Status check(const std::string &output) {
    FileRoles roles;
    roles.reads(folder / "in", "the model");
    roles.writes(output, "-o");
    return roles.check();
  }
  TemporaryFolder folder;
};

TEST_F(Roles, OtherFilesAreFine) {
  EXPECT_TRUE(check(folder / "out").ok());
  EXPECT_FALSE(fs::exists(folder / "out")); // only tried
  EXPECT_FALSE(fs::exists(folder / "out.tmp"));
  writeBytes(folder / "out", {7});
  EXPECT_TRUE(check(folder / "out").ok());
  EXPECT_EQ(readBytes(folder / "out"), std::vector<uint8_t>{7});
  EXPECT_TRUE(check("/dev/null").ok());
  EXPECT_TRUE(check("").ok());
}

TEST_F(Roles, WhatIsReadIsNotWritten) {
  fs::create_directory(folder / "sub");
  fs::create_symlink(folder / "in", folder / "link");
  fs::create_symlink(folder.path, folder / "sub/up");
  fs::create_hard_link(folder / "in", folder / "hard");
  for (const char *name : {"in", "./in", "sub/../in", "link", "sub/up/in", "hard"}) {
    Status status = check(folder / name);
    EXPECT_EQ(status.code, StatusCode::WrongUse) << name;
    EXPECT_NE(status.message.find("is the model, which is read"), std::string::npos) << status.message;
  }
  FileRoles roles; // written as `in` first
  fs::rename(folder / "in", folder / "o.tmp");
  roles.reads(folder / "o.tmp", "the model");
  roles.writes(folder / "o", "-o");
  EXPECT_EQ(roles.check().code, StatusCode::WrongUse);
  fs::rename(folder / "o.tmp", folder / "in");
}

TEST_F(Roles, OutputsHaveNamesOfTheirOwn) {
  FileRoles roles;
  roles.writes(folder / "a", "--metrics");
  roles.writes(folder / "./a", "--trace");
  roles.mayWrite(folder / "b", "--profile");
  roles.writes(folder / "b", "--predict");
  Status status = roles.check();
  EXPECT_EQ(status.code, StatusCode::WrongUse);
  EXPECT_NE(status.message.find("--metrics '"), std::string::npos) << status.message;
  EXPECT_NE(status.message.find("is also what --trace names"), std::string::npos) << status.message;
  EXPECT_NE(status.message.find("is also what --predict names"), std::string::npos) << status.message;
  FileRoles devices;
  devices.writes("/dev/null", "--metrics");
  devices.writes("/dev/null", "--trace");
  EXPECT_TRUE(devices.check().ok());
}

TEST_F(Roles, CheckpointsAreLeftAlone) {
  fs::create_directories(folder / "ck/step-00000001");
  writeBytes(folder / "ck/step-00000001/manifest.json", {'{'});
  for (bool isRead : {false, true})
    for (auto [output, good] : {std::pair("ck/step-00000001/model.safetensors", false), std::pair("ck/step-00000009/x", false),
                                std::pair("ck/.lock", false), std::pair("ck/metrics.jsonl", true)}) {
      FileRoles roles;
      roles.writes(folder / output, "--metrics");
      isRead ? roles.readsFolder(folder / "ck", "--checkpoint") : roles.writesFolder(folder / "ck", "--checkpoint");
      Status status = roles.check();
      EXPECT_EQ(status.code == StatusCode::WrongUse, !good) << output << " " << status.message;
    }
  FileRoles one; // the checkpoint itself
  one.readsFolder(folder / "ck/step-00000001", "CHECKPOINT");
  one.writes(folder / "ck/step-00000001/trained.onnx", "-o");
  EXPECT_EQ(one.check().code, StatusCode::WrongUse);
  FileRoles file;
  file.reads(folder / "in", "--data");
  file.writesFolder(folder / "in", "--checkpoint");
  EXPECT_EQ(file.check().code, StatusCode::WrongUse);
}

TEST_F(Roles, WhatCannotBeWrittenIsSaidBefore) {
  EXPECT_NE(check(folder / "none/out").message.find("there is no folder"), std::string::npos);
  EXPECT_NE(check(folder.path).message.find("it is a folder"), std::string::npos);
  FileRoles roles;
  roles.writesFolder(folder / "in/ck", "--checkpoint");
  EXPECT_EQ(roles.check().code, StatusCode::BadInput);
  FileRoles fresh;
  fresh.writesFolder(folder / "new/ck", "--checkpoint");
  EXPECT_TRUE(fresh.check().ok());
  EXPECT_FALSE(fs::exists(folder / "new"));
}

TEST_F(Roles, PipesAndFoldersAreNoInputs) {
  ASSERT_EQ(::mkfifo((folder / "pipe").c_str(), 0600), 0);
  FileRoles roles;
  roles.reads(folder / "pipe", "the model");
  roles.reads(folder.path, "--data");
  roles.reads("/dev/zero", "--weights");
  roles.reads(folder / "missing", "the plan"); // its reader says so
  Status status = roles.check();
  EXPECT_EQ(status.code, StatusCode::BadInput);
  for (const char *text : {"the model", "is a pipe", "--data", "is a folder", "--weights", "is a device"})
    EXPECT_NE(status.message.find(text), std::string::npos) << status.message;
  EXPECT_EQ(status.message.find("missing"), std::string::npos);
}

} // namespace
