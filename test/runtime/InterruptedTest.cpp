//===- InterruptedTest.cpp - checkpoints whose writer is killed at any point ---------------===//
//
// A child process saves, and is killed at its Nth call that changes files, for each N until it ends by itself. What is left
// has the checkpoints that must be there, and after the next save nothing but what is documented.
//
//===----------------------------------------------------------------------===//
#include "runtime/comm/local/LocalWorld.h"
#include "runtime/io/Checkpoint.h"
#include "test/runtime/TinyPlan.h"
#include <csignal>
#include <cstring>
#include <fcntl.h>
#include <filesystem>
#include <functional>
#include <set>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

using namespace llmc::runtime;
using namespace llmc::test;
namespace fs = std::filesystem;

namespace {

enum class Format { Whole, Parts };

std::string folderOf(uint64_t step) { return "step-0000000" + std::to_string(step); }

/// Saves a checkpoint of one parameter and one state that are `step` themselves.
Status save(Format format, const std::string &directory, uint64_t step) {
  static float values[2];
  values[0] = values[1] = static_cast<float>(step);
  auto fetch = [](std::vector<uint8_t> &) { return Bytes(reinterpret_cast<uint8_t *>(values), sizeof(values)); };
  auto tensor = [&](const char *name) { return TensorToWrite{name, fb::DataType::F32, {2}, fetch}; };
  Manifest manifest;
  manifest.step = step;
  if (format == Format::Whole)
    return saveCheckpoint(directory, manifest, {tensor("w")}, {tensor("w.m")});
  for (auto [name, tensors] : {std::pair("w", &manifest.model), std::pair("w.m", &manifest.optimizer)}) {
    (*tensors)[name].shape = {2};
    (*tensors)[name].parts = {{shardName(0), name, Box::whole({2})}};
  }
  std::unique_ptr<World> world = std::move(LocalWorld::create(1)[0]);
  Status status = saveShards(directory, manifest, {tensor("w"), tensor("w.m")}, *world);
  return status.ok() ? world->finish() : status;
}

bool changesFiles(const __ptrace_syscall_info &info) {
  switch (info.entry.nr) {
  case SYS_openat:
    return info.entry.args[2] & O_CREAT;
  case SYS_write:
  case SYS_pwrite64:
  case SYS_fsync:
  case SYS_mkdirat:
  case SYS_unlinkat:
  case SYS_renameat2:
#ifdef SYS_rename // not on all machines
  case SYS_rename:
  case SYS_mkdir:
  case SYS_unlink:
  case SYS_rmdir:
#endif
    return true;
  default:
    return false;
  }
}

enum class End { Killed, ByItself, NotTraced };

/// Runs `body` in a child until its call number `last` that changes files, before which it is killed.
End runUntil(unsigned last, const std::function<bool()> &body) {
  pid_t child = ::fork();
  if (child == 0) {
    if (::ptrace(PTRACE_TRACEME, 0, nullptr, nullptr) != 0)
      ::_exit(2);
    ::raise(SIGSTOP);
    ::_exit(body() ? 0 : 1);
  }
  int state = 0;
  ::waitpid(child, &state, 0);
  if (!WIFSTOPPED(state))
    return End::NotTraced;
  bool traced = ::ptrace(PTRACE_SETOPTIONS, child, nullptr, PTRACE_O_TRACESYSGOOD | PTRACE_O_EXITKILL) == 0;
  for (unsigned count = 0; traced && count < last;) {
    traced = ::ptrace(PTRACE_SYSCALL, child, nullptr, nullptr) == 0 && ::waitpid(child, &state, 0) == child;
    if (WIFEXITED(state)) {
      EXPECT_EQ(WEXITSTATUS(state), 0);
      return End::ByItself;
    }
    __ptrace_syscall_info info = {};
    traced = traced && ::ptrace(PTRACE_GET_SYSCALL_INFO, child, sizeof(info), &info) > 0;
    count += info.op == PTRACE_SYSCALL_INFO_ENTRY && changesFiles(info);
  }
  ::kill(child, SIGKILL);
  ::waitpid(child, nullptr, 0);
  return traced ? End::Killed : End::NotTraced;
}

std::set<std::string> filesIn(const std::string &directory) {
  std::set<std::string> names;
  for (const fs::directory_entry &entry : fs::recursive_directory_iterator(directory))
    names.insert(entry.path().string().substr(directory.size() + 1));
  return names;
}

std::set<std::string> documented(Format format, const std::vector<uint64_t> &steps) {
  std::set<std::string> names;
  for (uint64_t step : steps) {
    names.insert(folderOf(step));
    for (const std::string &name : format == Format::Whole ? std::vector<std::string>{"model.safetensors", "optimizer.safetensors"}
                                                           : std::vector<std::string>{shardName(0)})
      names.insert(folderOf(step) + "/" + name);
    names.insert(folderOf(step) + "/manifest.json");
  }
  return names;
}

/// The checkpoint is undamaged and of that step.
void expectGood(const std::string &folder, uint64_t step) {
  auto reader = openCheckpoint(folder);
  ASSERT_TRUE(reader.ok()) << reader.status().message;
  std::vector<uint8_t> scratch;
  for (auto [tensors, name] : {std::pair(&reader->model(), "w"), std::pair(&reader->optimizer(), "w.m")}) {
    ASSERT_EQ(tensors->count(name), 1u);
    auto bytes = reader->readLogical(name, tensors->at(name), scratch);
    ASSERT_TRUE(bytes.ok()) << bytes.status().message;
    float expected[2] = {static_cast<float>(step), static_cast<float>(step)};
    EXPECT_EQ(bytes->size(), sizeof(expected));
    EXPECT_EQ(std::memcmp(bytes->data(), expected, sizeof(expected)), 0);
  }
}

/// What an earlier kill can leave, of either format.
const char *const kLeftovers[] = {"model.safetensors",         "model.safetensors.tmp",      "optimizer.safetensors",
                                  "optimizer.safetensors.tmp", "rank-00000.safetensors",     "rank-00000.safetensors.tmp",
                                  "rank-00031.safetensors",    "rank-123456.safetensors.tmp", "manifest.json.tmp"};

void leave(const std::string &folder, const std::vector<std::string> &names) {
  fs::create_directories(folder);
  for (const std::string &name : names)
    writeBytes(folder + "/" + name, {1, 2, 3});
}

struct Scenario {
  const char *what;
  std::vector<uint64_t> complete, unfinished; // steps
  uint64_t saved, kept;                       // the step that is saved, and the one that stays whatever happens
};

class Interrupted : public ::testing::TestWithParam<Format> {
protected:
  /// In memory, where there is such a folder: hundreds of checkpoints need no disk.
  static bool useMemory() { return ::access("/dev/shm", W_OK) == 0 && ::setenv("TMPDIR", "/dev/shm", 1) == 0; }
  /// Whether the child has ended by itself.
  End checkKilledAt(unsigned call, const Scenario &scenario, const std::string &start) {
    std::string directory = folder / "ck";
    fs::remove_all(directory);
    fs::copy(start, directory, fs::copy_options::recursive);
    End end = runUntil(call, [&] { return save(GetParam(), directory, scenario.saved).ok(); });
    if (end == End::NotTraced)
      return end;
    std::vector<uint64_t> steps = checkpointSteps(directory);
    EXPECT_EQ(std::count(steps.begin(), steps.end(), scenario.kept), 1);
    for (uint64_t step : steps)
      expectGood(directory + "/" + folderOf(step), step);
    std::vector<std::string> notes;
    auto newest = openNewestCheckpoint(directory, notes);
    EXPECT_TRUE(newest.ok() && *newest && notes.empty());
    if (!newest.ok() || !*newest)
      return End::ByItself;
    uint64_t step = (*newest)->manifest().step;
    EXPECT_EQ(step, steps.front());
    if (end == End::ByItself) {
      EXPECT_EQ(filesIn(directory), documented(GetParam(), {scenario.saved, scenario.kept}));
    }
    EXPECT_TRUE(save(GetParam(), directory, step + 1).ok());
    EXPECT_EQ(filesIn(directory), documented(GetParam(), {step + 1, step}));
    return end;
  }
  const bool inMemory = useMemory();
  TemporaryFolder folder;
};

TEST_P(Interrupted, WhatIsLeftIsUsedOrRemoved) {
  for (const Scenario &scenario : {Scenario{"a new one", {1, 2}, {}, 3, 2}, Scenario{"one again", {1, 2}, {}, 2, 1},
                                   Scenario{"after kills", {2}, {1, 3, 9}, 3, 2}}) {
    SCOPED_TRACE(scenario.what);
    std::string start = folder / "start";
    fs::remove_all(start);
    for (uint64_t step : scenario.complete)
      ASSERT_TRUE(save(GetParam(), start, step).ok());
    for (uint64_t step : scenario.unfinished)
      leave(start + "/" + folderOf(step), {std::begin(kLeftovers), std::end(kLeftovers)});
    unsigned call = 0;
    End end = End::Killed;
    while (end == End::Killed && call < 200) {
      SCOPED_TRACE("killed at call " + std::to_string(++call));
      end = checkKilledAt(call, scenario, start);
      if (end == End::NotTraced)
        GTEST_SKIP() << "processes cannot be traced here";
      if (HasFailure())
        return;
    }
    EXPECT_EQ(end, End::ByItself);
    EXPECT_GT(call, 12u); // the calls are seen
  }
}

// By name, whatever else is there: what checkpoints do not write stays.
TEST_P(Interrupted, OnlyItsOwnNamesAreRemoved) {
  std::string directory = folder / "ck";
  leave(directory + "/" + folderOf(5), {std::begin(kLeftovers), std::end(kLeftovers)});
  leave(directory + "/" + folderOf(6), {});
  const std::vector<std::string> foreign = {"notes.txt",          "model.safetensors.bak",     "rank-.safetensors",
                                            "rank-1x.safetensors", "manifest.json.tmp.tmp.old", "other.safetensors.tmp"};
  leave(directory + "/" + folderOf(7), foreign);
  const std::vector<std::string> folders = {"step-1", "step-000000011", "step-0000000x", "xstep-00000001", "step-",
                                            "step-000000000000000000000001"};
  for (const std::string &name : folders)
    leave(directory + "/" + name, {"model.safetensors"});
  writeBytes(directory + "/step-00000008", {1}); // no folder
  ASSERT_TRUE(save(GetParam(), directory, 1).ok());
  std::set<std::string> expected = documented(GetParam(), {1});
  expected.insert(folderOf(7));
  expected.insert("step-00000008");
  for (const std::string &name : foreign)
    expected.insert(folderOf(7) + "/" + name);
  for (const std::string &name : folders)
    expected.insert({name, name + "/model.safetensors"});
  EXPECT_EQ(filesIn(directory), expected);
}

INSTANTIATE_TEST_SUITE_P(All, Interrupted, ::testing::Values(Format::Whole, Format::Parts),
                         [](const auto &info) { return info.param == Format::Whole ? "Whole" : "Parts"; });

} // namespace
