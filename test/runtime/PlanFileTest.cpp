//===- PlanFileTest.cpp - plan files that are cut or altered --------------===//
#include "runtime/executor/KernelImage.h"
#include "runtime/executor/Executor.h"
#include "runtime/plan/Validator.h"
#include "test/runtime/TinyPlan.h"
#include <algorithm>
#include <cstring>
#include <elf.h>

using namespace llmc::runtime;
using namespace llmc::test;

namespace {

class PlanFiles : public ::testing::Test {
protected:
  void SetUp() override { writeTinyPlan(tinyPlan(), path); }
  StatusCode codeOf(const std::vector<uint8_t> &bytes) {
    writeBytes(folder / "altered.plan", bytes);
    auto plan = PlanFile::read(folder / "altered.plan");
    return plan.ok() ? StatusCode::Ok : plan.status().code;
  }
  TemporaryFolder folder;
  std::string path = folder / "m.plan";
};

TEST_F(PlanFiles, EqualPlansAreEqualBytes) {
  writeTinyPlan(tinyPlan(), folder / "again.plan");
  EXPECT_EQ(readBytes(path), readBytes(folder / "again.plan"));
}

TEST_F(PlanFiles, SectionsComeBack) {
  std::vector<uint8_t> constants(10'000, 3);
  ASSERT_TRUE(writePlan(path, pack(tinyPlan()), tinyKernels(), constants).ok());
  auto plan = PlanFile::read(path);
  ASSERT_TRUE(plan.ok()) << plan.status().message;
  EXPECT_TRUE(std::equal(constants.begin(), constants.end(), (*plan)->constants().begin(), (*plan)->constants().end()));
  EXPECT_EQ(reinterpret_cast<uintptr_t>((*plan)->constants().data()) % kPlanAlignment, 0u);
  EXPECT_EQ((*plan)->kernelImage().size(), tinyKernels().size());
  EXPECT_EQ((*plan)->digest().size(), 32u);
}

TEST_F(PlanFiles, EveryCutIsRefused) {
  std::vector<uint8_t> bytes = readBytes(path);
  for (size_t length : {size_t(0), size_t(1), size_t(63), size_t(64), size_t(135), size_t(4096), bytes.size() / 2, bytes.size() - 1})
    EXPECT_EQ(codeOf({bytes.begin(), bytes.begin() + static_cast<ptrdiff_t>(length)}), StatusCode::PlanRefused) << length;
  bytes.push_back(0);
  EXPECT_EQ(codeOf(bytes), StatusCode::PlanRefused);
}

TEST_F(PlanFiles, EveryAlteredByteIsRefused) {
  const std::vector<uint8_t> bytes = readBytes(path);
  for (size_t i = 0; i < bytes.size(); i += i < 4400 ? 1 : 97) {
    std::vector<uint8_t> altered = bytes;
    altered[i] ^= 0x10;
    ASSERT_EQ(codeOf(altered), StatusCode::PlanRefused) << "byte " << i;
  }
}

// Damage under a right digest, as a malicious writer would make it: refused, or harmless.
TEST_F(PlanFiles, DamagedFlatbufferNeverCrashes) {
  const std::vector<uint8_t> bytes = pack(tinyPlan());
  uint32_t state = 12345;
  auto next = [&] { return state = state * 1664525 + 1013904223; };
  int refused = 0;
  for (int round = 0; round < 3000; ++round) {
    std::vector<uint8_t> altered = bytes;
    for (uint32_t i = 0, count = 1 + (next() >> 30); i < count; ++i)
      altered[(uint64_t(next()) * altered.size()) >> 32] = static_cast<uint8_t>(next() >> 24);
    flatbuffers::Verifier verifier(altered.data(), altered.size(), 64, 1'000'000);
    if (!fb::VerifyPlanBuffer(verifier) || !validatePlan(*fb::GetPlan(altered.data()), {tinyKernels().size(), 0}).empty())
      ++refused;
  }
  EXPECT_GT(refused, 1500);
}

TEST_F(PlanFiles, MissingFilesAndFoldersAreNamed) {
  EXPECT_EQ(PlanFile::read(folder / "none").status().code, StatusCode::BadInput);
  EXPECT_EQ(PlanFile::read(folder.path).status().code, StatusCode::BadInput);
}

TEST_F(PlanFiles, KernelsThatDoNotLoadAreRefused) {
  ThreadPool pool(1, GemmLibrary::initializeThread);
  std::vector<uint8_t> kernels = tinyKernels();
  kernels.resize(kernels.size() / 4);
  ASSERT_TRUE(writePlan(path, pack(tinyPlan()), kernels, {}).ok());
  auto plan = PlanFile::read(path);
  ASSERT_TRUE(plan.ok());
  EXPECT_EQ(Executor::create(*plan, 0, pool).status().code, StatusCode::PlanRefused);
  fb::PlanT renamed = tinyPlan();
  renamed.kernels[0]->symbol = "nowhere";
  writeTinyPlan(renamed, path);
  plan = PlanFile::read(path);
  ASSERT_TRUE(plan.ok());
  auto executor = Executor::create(*plan, 0, pool);
  EXPECT_NE(executor.status().message.find("nowhere"), std::string::npos);
}

// Headers of kernels are not trusted: what lies outside of the image, or is for another machine, is refused before the loader sees it.
TEST_F(PlanFiles, HeadersOfKernelsAreChecked) {
  std::vector<uint8_t> whole = tinyKernels();
  EXPECT_TRUE(KernelImage::load({whole.data(), whole.size()}).ok());
  auto problem = [&](auto &&damage) {
    std::vector<uint8_t> image = whole;
    auto &header = *reinterpret_cast<Elf64_Ehdr *>(image.data());
    damage(header, *reinterpret_cast<Elf64_Phdr *>(image.data() + header.e_phoff));
    auto loaded = KernelImage::load({image.data(), image.size()});
    EXPECT_EQ(loaded.status().code, StatusCode::PlanRefused);
    return loaded.status().message;
  };
  const std::string cut = "its kernels cannot be loaded: they are cut", other = "its kernels cannot be loaded: they are no 64-bit shared object";
  uint64_t size = whole.size();
  EXPECT_EQ(problem([](Elf64_Ehdr &h, Elf64_Phdr &) { h.e_ident[0] = 'M'; }), other);
  EXPECT_EQ(problem([](Elf64_Ehdr &h, Elf64_Phdr &) { h.e_ident[EI_CLASS] = ELFCLASS32; }), other);
  EXPECT_EQ(problem([](Elf64_Ehdr &h, Elf64_Phdr &) { h.e_type = ET_EXEC; }), other);
  EXPECT_EQ(problem([](Elf64_Ehdr &h, Elf64_Phdr &) { h.e_machine = EM_AARCH64; }), "its kernels cannot be loaded: they are for another processor");
  EXPECT_EQ(problem([](Elf64_Ehdr &h, Elf64_Phdr &) { h.e_phentsize = 8; }), cut);
  EXPECT_EQ(problem([&](Elf64_Ehdr &h, Elf64_Phdr &) { h.e_phoff = size + 8; }), cut);
  EXPECT_EQ(problem([&](Elf64_Ehdr &h, Elf64_Phdr &) { h.e_phoff = size - 8; }), cut);
  EXPECT_EQ(problem([](Elf64_Ehdr &h, Elf64_Phdr &) { h.e_phoff = ~uint64_t(0); }), cut);
  EXPECT_EQ(problem([](Elf64_Ehdr &h, Elf64_Phdr &) { h.e_phnum = 0xffff; }), cut);
  EXPECT_EQ(problem([&](Elf64_Ehdr &, Elf64_Phdr &p) { p.p_offset = size + 1; }), cut);
  EXPECT_EQ(problem([](Elf64_Ehdr &, Elf64_Phdr &p) { p.p_offset = ~uint64_t(0); }), cut);
  EXPECT_EQ(problem([&](Elf64_Ehdr &, Elf64_Phdr &p) { p.p_filesz = size + 1; }), cut);
  EXPECT_EQ(problem([](Elf64_Ehdr &, Elf64_Phdr &p) { p.p_filesz = ~uint64_t(0); }), cut);
  for (size_t bytes : {size_t(1), sizeof(Elf64_Ehdr) - 1, sizeof(Elf64_Ehdr)})
    EXPECT_EQ(KernelImage::load({whole.data(), bytes}).status().message, cut);
}

// Two plans in one process keep their own kernels.
TEST_F(PlanFiles, TwoExecutorsLiveSideBySide) {
  ThreadPool pool(2, GemmLibrary::initializeThread);
  auto plan = PlanFile::read(path);
  ASSERT_TRUE(plan.ok());
  auto first = Executor::create(*plan, 0, pool), second = Executor::create(*plan, 0, pool);
  ASSERT_TRUE(first.ok() && second.ok());
  EXPECT_TRUE((*first)->run(Update).ok());
  EXPECT_EQ((*first)->scalar(StepCount), 1);
  EXPECT_EQ((*second)->scalar(StepCount), 0);
}

TEST_F(PlanFiles, TraceIsJson) {
  ThreadPool pool(1, GemmLibrary::initializeThread);
  auto plan = PlanFile::read(path);
  auto executor = Executor::create(*plan, 0, pool);
  ASSERT_TRUE(executor.ok());
  Trace trace;
  (*executor)->setTrace(&trace);
  ASSERT_TRUE((*executor)->run(Accumulate).ok());
  EXPECT_EQ(trace.all().size(), 4u);
  EXPECT_EQ((*executor)->times()[Accumulate][1].runs, 1u);
  ASSERT_TRUE((*executor)->writeTrace(trace, folder / "t.json").ok());
  std::vector<uint8_t> text = readBytes(folder / "t.json");
  EXPECT_NE(std::string(text.begin(), text.end()).find("\"/tiny/gradient\""), std::string::npos);
}

} // namespace
