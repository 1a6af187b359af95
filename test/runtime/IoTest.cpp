//===- IoTest.cpp - files, random numbers, views --------------------------===//
#include "runtime/io/Checkpoint.h"
#include "runtime/io/Data.h"
#include "runtime/io/FolderLock.h"
#include "runtime/io/ParameterInit.h"
#include "runtime/io/Random.h"
#include "runtime/io/WeightFiles.h"
#include "runtime/support/Checked.h"
#include "test/runtime/TinyPlan.h"
#include <cmath>
#include <cstring>
#include <filesystem>
#include <set>
#include <unistd.h>

using namespace llmc::runtime;
using namespace llmc::test;

namespace {

TEST(Safetensors, WritesWhatItReads) {
  TemporaryFolder folder;
  std::vector<float> values = {1, 2, 3, 4, 5, 6};
  auto fetch = [&](std::vector<uint8_t> &) { return Bytes(reinterpret_cast<uint8_t *>(values.data()), 24); };
  std::string digest;
  ASSERT_TRUE(writeSafetensors(folder / "x", {{"b", fb::DataType::F32, {2, 3}, fetch}, {"a", fb::DataType::F32, {6}, fetch}}, &digest).ok());
  auto file = SafetensorsFile::open(folder / "x");
  ASSERT_TRUE(file.ok()) << file.status().message;
  EXPECT_EQ(digest, digestOf((*file)->bytes()));
  const TensorInfo *info = (*file)->find("b");
  ASSERT_TRUE(info);
  EXPECT_EQ(std::memcmp((*file)->data(*info).data(), values.data(), 24), 0);
  EXPECT_FALSE(std::filesystem::exists(folder / "x.tmp"));
}

TEST(TokenFile, ReadsItsFormats) {
  TemporaryFolder folder;
  writeBytes(folder / "a.u16", {1, 0, 0, 1});
  writeBytes(folder / "a.u32", {1, 0, 0, 0, 0, 0, 0, 255});
  writeBytes(folder / "a.txt", {'h', 'i', 200});
  auto wide = TokenFile::open(folder / "a.u32");
  EXPECT_EQ((*TokenFile::open(folder / "a.u16"))->at(1), 256);
  EXPECT_EQ((*wide)->at(1), 0xff000000);
  EXPECT_EQ((*TokenFile::open(folder / "a.txt"))->at(2), 200);
  std::vector<uint8_t> bin(1024 + 6);
  int32_t header[3] = {20240520, 1, 3};
  std::memcpy(bin.data(), header, sizeof(header));
  bin[1026] = 9;
  writeBytes(folder / "a.bin", bin);
  auto tokens = TokenFile::open(folder / "a.bin");
  ASSERT_TRUE(tokens.ok()) << tokens.status().message;
  EXPECT_EQ((*tokens)->count(), 3u);
  EXPECT_EQ((*tokens)->at(1), 9);
}

TEST(TokenFile, DamagedFilesAreRefused) {
  TemporaryFolder folder;
  auto isRefused = [&](const char *name, const std::vector<uint8_t> &bytes) {
    writeBytes(folder / name, bytes);
    return TokenFile::open(folder / name).status().code == StatusCode::BadInput;
  };
  EXPECT_TRUE(isRefused("a.u16", {}));
  EXPECT_TRUE(isRefused("a.u16", {1, 2, 3}));
  EXPECT_TRUE(isRefused("a.u32", {1, 2, 3, 4, 5}));
  EXPECT_TRUE(isRefused("a.txt", {}));
  EXPECT_TRUE(isRefused("a.bin", std::vector<uint8_t>(100)));
  EXPECT_TRUE(isRefused("a.bin", std::vector<uint8_t>(2000)));
  EXPECT_TRUE(isRefused("a.dat", {1, 2, 3, 4}));
  EXPECT_TRUE(isRefused("a", {1, 2, 3, 4}));
  EXPECT_TRUE(isRefused("a.npy", std::vector<uint8_t>(200)));
  EXPECT_TRUE(isRefused("a.idx", {1, 2, 3}));
  std::vector<uint8_t> bin(1024 + 6);
  for (int32_t count : {4, 2, -1}) {
    int32_t header[3] = {20240520, 1, count};
    std::memcpy(bin.data(), header, sizeof(header));
    EXPECT_TRUE(isRefused("a.bin", bin)) << count;
  }
}

// Bytes of a text are ids only where the vocabulary is just the bytes, or the user says so.
TEST(TokenFile, TextIsToldFromIds) {
  TemporaryFolder folder;
  writeBytes(folder / "a.TXT", {'h', 'i', 200});
  writeBytes(folder / "corpus", {'h', 'i', 200});
  EXPECT_TRUE(TokenFile::open(folder / "a.TXT", 256).ok());
  for (uint64_t vocabulary : {100, 257, 50257}) {
    auto file = TokenFile::open(folder / "a.TXT", vocabulary);
    ASSERT_FALSE(file.ok()) << vocabulary;
    EXPECT_NE(file.status().message.find("the model's vocabulary has " + std::to_string(vocabulary) + " ids"), std::string::npos);
  }
  auto unknown = TokenFile::open(folder / "corpus", 256);
  ASSERT_FALSE(unknown.ok());
  EXPECT_NE(unknown.status().hint.find("corpus:u16"), std::string::npos) << unknown.status().hint;
  auto bytes = TokenFile::open(folder / "corpus:bytes", 50257);
  ASSERT_TRUE(bytes.ok()) << bytes.status().message;
  EXPECT_EQ((*bytes)->at(2), 200);
}

TEST(TokenFile, TypesAreNamed) {
  TemporaryFolder folder;
  writeBytes(folder / "t.bin", {1, 0, 255, 255, 0, 128, 255, 255});
  auto at = [&](const std::string &type, uint64_t position) { return (*TokenFile::open(folder / ("t.bin:" + type)))->at(position); };
  EXPECT_EQ(at("u8", 2), 255);
  EXPECT_EQ(at("i8", 2), -1);
  EXPECT_EQ(at("u16", 1), 65535);
  EXPECT_EQ(at("i16", 2), -32768);
  EXPECT_EQ(at("u32", 0), 0xffff0001);
  EXPECT_EQ(at("i32", 1), -32768);
  EXPECT_EQ(at("i64", 0), static_cast<int64_t>(0xffff8000ffff0001));
  EXPECT_EQ((*TokenFile::open(folder / "t.bin:i64"))->count(), 1u);
  std::filesystem::copy(folder / "t.bin", folder / "t.U16");
  EXPECT_EQ((*TokenFile::open(folder / "t.U16"))->at(1), 65535);
  std::filesystem::copy(folder / "t.bin", folder / "odd:u16"); // a name of its own
  EXPECT_FALSE(TokenFile::open(folder / "odd:u16").ok());
  EXPECT_EQ((*TokenFile::open(folder / "odd:u16:u16"))->at(1), 65535);
}

TEST(TokenFile, LargeVocabulariesOfLlmC) {
  TemporaryFolder folder;
  std::vector<uint8_t> bin(1024 + 8);
  int32_t header[3] = {20240801, 7, 2};
  std::memcpy(bin.data(), header, sizeof(header));
  bin[1028 + 2] = 1; // 65536
  writeBytes(folder / "a.bin", bin);
  auto tokens = TokenFile::open(folder / "a.bin");
  ASSERT_TRUE(tokens.ok()) << tokens.status().message;
  EXPECT_EQ((*tokens)->count(), 2u);
  EXPECT_EQ((*tokens)->at(1), 65536);
}

std::vector<uint8_t> npy(const std::string &fields, std::vector<uint8_t> data) {
  std::string header = "{" + fields + "}";
  header.resize(118, ' ');
  std::string start = std::string("\x93NUMPY\x01\x00", 8) + static_cast<char>(118) + '\0' + header;
  std::vector<uint8_t> bytes(start.begin(), start.end());
  bytes.insert(bytes.end(), data.begin(), data.end());
  return bytes;
}

TEST(TokenFile, NumpyArrays) {
  TemporaryFolder folder;
  auto open = [&](const std::string &fields, std::vector<uint8_t> data) {
    writeBytes(folder / "a.npy", npy(fields, std::move(data)));
    return TokenFile::open(folder / "a.npy");
  };
  auto row = open("'descr': '<u2', 'fortran_order': False, 'shape': (3,), ", {1, 0, 2, 0, 0, 1});
  ASSERT_TRUE(row.ok()) << row.status().message;
  EXPECT_EQ((*row)->count(), 3u);
  EXPECT_EQ((*row)->at(2), 256);
  EXPECT_EQ((*row)->note(), "");
  auto table = open("'descr': '<i4', 'fortran_order': False, 'shape': (2, 1), ", {5, 0, 0, 0, 255, 255, 255, 255});
  ASSERT_TRUE(table.ok()) << table.status().message;
  EXPECT_EQ((*table)->at(1), -1);
  EXPECT_NE((*table)->note().find("(2,1)"), std::string::npos);
  EXPECT_FALSE(open("'descr': '<i4', 'fortran_order': True, 'shape': (2, 1), ", {5, 0, 0, 0, 1, 0, 0, 0}).ok());
  EXPECT_FALSE(open("'descr': '<u2', 'fortran_order': False, 'shape': (4,), ", {1, 0, 2, 0, 0, 1}).ok());
  EXPECT_FALSE(open("'descr': '>u2', 'fortran_order': False, 'shape': (3,), ", {1, 0, 2, 0, 0, 1}).ok());
  auto reals = open("'descr': '<f4', 'fortran_order': False, 'shape': (1,), ", {0, 0, 0, 0});
  ASSERT_FALSE(reals.ok());
  EXPECT_NE(reals.status().message.find("'<f4'"), std::string::npos) << reals.status().message;
}

// Index: magic, version, type (8: u16), two sequences of 2 and 1 ids, one document of both.
TEST(TokenFile, Megatron) {
  TemporaryFolder folder;
  std::vector<uint8_t> index = {'M', 'M', 'I', 'D', 'I', 'D', 'X', 0, 0};
  auto put = [&](uint64_t value, size_t bytes) {
    for (size_t i = 0; i < bytes; ++i)
      index.push_back(static_cast<uint8_t>(value >> (8 * i)));
  };
  put(1, 8), put(8, 1), put(2, 8), put(2, 8);
  put(2, 4), put(1, 4);
  size_t places = index.size();
  put(0, 8), put(4, 8);
  put(0, 8), put(2, 8);
  writeBytes(folder / "t.idx", index);
  auto alone = TokenFile::open(folder / "t.idx");
  ASSERT_FALSE(alone.ok());
  EXPECT_NE(alone.status().message.find("t.bin"), std::string::npos);
  writeBytes(folder / "t.bin", {1, 0, 2, 0, 3, 1});
  for (const char *name : {"t.idx", "t.bin"}) {
    auto tokens = TokenFile::open(folder / name);
    ASSERT_TRUE(tokens.ok()) << tokens.status().message;
    EXPECT_EQ((*tokens)->count(), 3u);
    EXPECT_EQ((*tokens)->at(2), 259);
  }
  EXPECT_EQ(TokenFile::filesOf(folder / "t.bin").size(), 2u);
  index[places + 8] = 2; // sequences that overlap
  writeBytes(folder / "t.idx", index);
  EXPECT_FALSE(TokenFile::open(folder / "t.idx").ok());
  index[places + 8] = 4;
  index[17] = 6; // reals
  writeBytes(folder / "t.idx", index);
  EXPECT_FALSE(TokenFile::open(folder / "t.idx").ok());
  index[17] = 8;
  index.pop_back();
  writeBytes(folder / "t.idx", index);
  EXPECT_FALSE(TokenFile::open(folder / "t.idx").ok());
}

TEST(TokenFile, FindsIdsOutside) {
  TemporaryFolder folder;
  writeBytes(folder / "t.i32", {1, 0, 0, 0, 156, 255, 255, 255, 8, 0, 0, 0}); // 1, -100, 8
  auto tokens = TokenFile::open(folder / "t.i32");
  ASSERT_TRUE(tokens.ok());
  EXPECT_EQ((*tokens)->firstOutside(0, 3, 9, std::nullopt), 1u);
  EXPECT_EQ((*tokens)->firstOutside(0, 3, 9, -100), 3u);
  EXPECT_EQ((*tokens)->firstOutside(0, 3, 8, -100), 2u);
  EXPECT_EQ((*tokens)->firstOutside(0, 2, 8, -100), 2u);
}

class WeightNames : public ::testing::Test {
protected:
  void write(const std::string &file, const std::vector<std::string> &names) {
    auto fetch = [&](std::vector<uint8_t> &) { return Bytes(reinterpret_cast<const uint8_t *>(&value), 4); };
    std::vector<TensorToWrite> list;
    for (const std::string &name : names)
      list.push_back({name, fb::DataType::F32, {1}, fetch});
    ASSERT_TRUE(writeSafetensors(folder / file, list).ok());
  }
  /// The names found, "-" for none, and the problem.
  std::string match(const std::string &file, const std::vector<WeightFiles::Wanted> &wanted) {
    auto files = WeightFiles::open(folder / file);
    if (!files.ok())
      return files.status().message;
    WeightFiles::Match result = files->match(wanted);
    std::string text;
    for (const WeightFiles::Entry &entry : result.entries)
      text += (entry.file ? entry.name : "-") + " ";
    return text + result.problem;
  }
  TemporaryFolder folder;
  float value = 1;
};

TEST_F(WeightNames, OwnNamesThenOthers) {
  write("w.safetensors", {"a", "model.b", "tied"});
  EXPECT_EQ(match("w.safetensors", {{"a", {}}, {"b", {}}, {"c", {"tied"}}, {"d", {}}}), "a model.b tied - ");
  write("w.safetensors", {"h.0", "lm_head"}); // a file of the inner model, for the outer one
  EXPECT_EQ(match("w.safetensors", {{"transformer.h.0", {}}, {"lm_head", {}}}), "h.0 lm_head ");
  write("w.safetensors", {"module._orig_mod.a"});
  EXPECT_EQ(match("w.safetensors", {{"model.a", {}}}), "module._orig_mod.a ");
}

TEST_F(WeightNames, AmbiguousOnesAreRefused) {
  write("w.safetensors", {"model.a", "module.a"});
  EXPECT_NE(match("w.safetensors", {{"a", {}}}).find("may be 'model.a' or 'module.a'"), std::string::npos);
  EXPECT_EQ(match("w.safetensors", {{"model.a", {}}}), "model.a "); // its own name
  write("w.safetensors", {"a"});
  EXPECT_NE(match("w.safetensors", {{"a", {}}, {"model.a", {}}}).find("'a' fits both parameters 'a' and 'model.a'"), std::string::npos);
}

TEST_F(WeightNames, IndexOfSeveralFiles) {
  write("1.safetensors", {"a"});
  write("2.safetensors", {"b", "left"});
  auto index = [&](const std::string &text) { writeBytes(folder / "i.json", {text.begin(), text.end()}); };
  index(R"({"weight_map": {"a": "1.safetensors", "b": "2.safetensors"}})");
  EXPECT_EQ(match("i.json", {{"a", {}}, {"b", {}}, {"left", {}}}), "a b - "); // the index says what counts
  auto files = WeightFiles::open(folder / "i.json");
  ASSERT_TRUE(files.ok());
  EXPECT_EQ(files->paths().size(), 3u);
  index(R"({"weight_map": {"a": "1.safetensors", "b": "3.safetensors", "c": "2.safetensors", "d": "../x"}})");
  std::string problems = match("i.json", {});
  for (const char *text : {"3.safetensors", "'2.safetensors' has no tensor 'c'", "tensor 'd' names no file beside the index"})
    EXPECT_NE(problems.find(text), std::string::npos) << problems;
  index("[]");
  EXPECT_NE(match("i.json", {}).find("weight_map"), std::string::npos);
}

TEST(FolderLock, OneHolderAtATime) {
  TemporaryFolder folder;
  auto first = FolderLock::take(folder / "ck");
  ASSERT_TRUE(first.ok()) << first.status().message;
  auto second = FolderLock::take(folder / "ck");
  ASSERT_FALSE(second.ok());
  EXPECT_EQ(second.status().code, StatusCode::WrongUse);
  EXPECT_NE(second.status().message.find("process " + std::to_string(::getpid())), std::string::npos) << second.status().message;
  first->reset();
  EXPECT_TRUE(FolderLock::take(folder / "ck").ok());
  writeBytes(folder / "file", {1});
  EXPECT_EQ(FolderLock::take(folder / "file").status().code, StatusCode::BadInput);
}

TEST(DurableFile, WritesToDevicesAsTheyAre) {
  for (int i = 0; i < 2; ++i) { // it is still there afterwards
    auto file = DurableFile::create("/dev/null");
    ASSERT_TRUE(file.ok()) << file.status().message;
    EXPECT_TRUE((*file)->write("x").ok());
    EXPECT_TRUE((*file)->commit().ok());
    EXPECT_TRUE(std::filesystem::is_character_file("/dev/null"));
  }
  auto full = DurableFile::create("/dev/full");
  ASSERT_TRUE(full.ok());
  EXPECT_EQ((*full)->write("x").code, StatusCode::BadInput);
}

TEST(MappedFile, KnowsWhereItIs) {
  TemporaryFolder folder;
  writeBytes(folder / "x", std::vector<uint8_t>(5000));
  auto file = MappedFile::open(folder / "x");
  ASSERT_TRUE(file.ok());
  const uint8_t *begin = (*file)->bytes().data();
  EXPECT_STREQ(MappedFile::nameAt(begin + 4999), (folder / "x").c_str());
  EXPECT_EQ(MappedFile::nameAt(begin + 5000), nullptr);
  *file = nullptr;
  EXPECT_EQ(MappedFile::nameAt(begin), nullptr);
}

// Known answers of Random123's kat_vectors.
TEST(Random, PhiloxKnownAnswers) {
  EXPECT_EQ(philox({0, 0, 0, 0}, {0, 0}), (std::array<uint32_t, 4>{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}));
  EXPECT_EQ(philox({~0u, ~0u, ~0u, ~0u}, {~0u, ~0u}), (std::array<uint32_t, 4>{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}));
}

TEST(Random, NormalHasItsMoments) {
  RandomStream stream(1, "w");
  double sum = 0, squares = 0, fourth = 0;
  constexpr int kCount = 200'000;
  for (int i = 0; i < kCount; i += 2)
    for (float value : stream.normalPair(static_cast<uint64_t>(i))) {
      sum += value;
      squares += double(value) * value;
      fourth += std::pow(value, 4);
    }
  EXPECT_NEAR(sum / kCount, 0, 0.01);
  EXPECT_NEAR(squares / kCount, 1, 0.02);
  EXPECT_NEAR(fourth / kCount, 3, 0.1);
}

TEST(Random, PermutationIsABijection) {
  for (uint64_t size : {1, 2, 3, 4, 5, 16, 17, 1000, 4097}) {
    Permutation order(size, 42, 3);
    std::set<uint64_t> seen;
    for (uint64_t i = 0; i < size; ++i)
      seen.insert(order(i));
    EXPECT_EQ(seen.size(), size);
    EXPECT_LT(*seen.rbegin(), size);
  }
  Permutation first(1000, 42, 0), second(1000, 42, 1), other(1000, 43, 0);
  int equal = 0;
  for (uint64_t i = 0; i < 1000; ++i)
    equal += (first(i) == second(i)) + (first(i) == other(i)) + (first(i) == i);
  EXPECT_LT(equal, 30);
}

// Orders and draws are promised: the same numbers in every release.
TEST(Random, OrdersAreThose) {
  const std::vector<std::vector<uint64_t>> expected = {{7, 3, 4, 8, 0, 9, 1, 2, 6, 5}, {8, 0, 4, 1, 6, 7, 9, 3, 2, 5}, {6, 1, 9, 5, 3, 4, 0, 7, 8, 2}};
  for (uint64_t round = 0; round < expected.size(); ++round)
    for (uint64_t i = 0; i < 10; ++i)
      EXPECT_EQ(Permutation(10, 7, round)(i), expected[round][i]) << round << " " << i;
}

// Also beyond 2^32 elements, where the counter's second word counts.
TEST(Random, DrawsAreThose) {
  RandomStream stream(1, "w");
  struct Draw {
    uint64_t index;
    float uniform;
    double uniform53;
    float normal;
  };
  for (Draw draw : {Draw{0, 0.291484177f, 0.29148420431271749, 0.701440573f}, Draw{3, 0.394051611f, 0.15565990824760634, -0.81142956f},
                    Draw{uint64_t(1) << 32, 0.0141316056f, 0.15007122820905716, -0.0958122686f},
                    Draw{(uint64_t(1) << 34) + 1, 0.228453159f, 0.43650347912397958, 0.262871653f},
                    Draw{(uint64_t(1) << 40) + 6, 0.353672385f, 0.84728434706766709, -0.911024392f}}) {
    EXPECT_FLOAT_EQ(stream.uniform(draw.index), draw.uniform) << draw.index;
    EXPECT_DOUBLE_EQ(stream.uniform53(draw.index), draw.uniform53) << draw.index;
    EXPECT_FLOAT_EQ(stream.normalPair(draw.index / 2 * 2)[0], draw.normal) << draw.index;
  }
}

TEST(View, RoundTrips) {
  std::vector<float> logical(24), compiled(40), back(24);
  for (int i = 0; i < 24; ++i)
    logical[i] = static_cast<float>(i + 1);
  std::vector<ViewStep> steps = {{fb::ViewKind::Reshape, {2, 3, 4}}, {fb::ViewKind::Permute, {2, 0, 1}},
                                 {fb::ViewKind::Pad, {0, 1, 0, 0, 1, 0}}};
  Shape shape = {4, 6};
  std::string problem;
  ASSERT_TRUE(applyToShape(steps, shape, problem)) << problem;
  EXPECT_EQ(shape, (Shape{5, 2, 4}));
  toCompiled(steps, {4, 6}, 4, logical.data(), compiled.data());
  EXPECT_EQ(compiled[0], 0);               // padding
  EXPECT_EQ(compiled[1], 1);               // [0, 0, 1] is [0, 0, 0] of the permuted tensor
  EXPECT_EQ(compiled[1 * 8 + 1 * 4 + 2], 18); // [1, 1, 1] of it: row 1, column 1, place 1 of 2 x 3 x 4
  toLogical(steps, {4, 6}, 4, compiled.data(), back.data());
  EXPECT_EQ(logical, back);
}

TEST(View, SliceTakesAPart) {
  std::vector<int32_t> logical = {1, 2, 3, 4, 5, 6}, compiled(2), back(6);
  std::vector<ViewStep> steps = {{fb::ViewKind::Slice, {1, 1, 1, 2}}};
  toCompiled(steps, {2, 3}, 4, logical.data(), compiled.data());
  EXPECT_EQ(compiled, (std::vector<int32_t>{5, 6}));
  toLogical(steps, {2, 3}, 4, compiled.data(), back.data());
  EXPECT_EQ(back, (std::vector<int32_t>{0, 0, 0, 0, 5, 6}));
}

TEST(Numbers, HalfTypesRoundTrip) {
  for (fb::DataType type : {fb::DataType::F16, fb::DataType::BF16})
    for (uint32_t bits = 0; bits < 65536; ++bits) {
      uint16_t half = static_cast<uint16_t>(bits), back;
      float value;
      convertElements(type, &half, fb::DataType::F32, &value, 1);
      convertElements(fb::DataType::F32, &value, type, &back, 1);
      ASSERT_TRUE(std::isnan(value) || half == back) << bits;
    }
  float tie = 1.00048828125f; // halfway between two f16 numbers: to even
  uint16_t half;
  convertElements(fb::DataType::F32, &tie, fb::DataType::F16, &half, 1);
  EXPECT_EQ(half, 0x3c00);
}

// Numbers keep their kind: a value that would have to be rounded to an integer, or of another kind, is refused.
TEST(Numbers, KindsAreKept) {
  using enum fb::DataType;
  for (auto [from, to, possible] : {std::tuple(F32, F64, true), {F64, F32, true}, {F32, BF16, true}, {F16, F32, true}, {I32, I64, true}, {I64, I32, true}, {U8, I64, true},
                                    {F32, F32, true}, {I64, I64, true}, {F32, I64, false}, {F32, I32, false}, {I64, F32, false}, {I32, F64, false}, {U8, F32, false}, {BF16, I8, false}}) {
    uint64_t source = 0, target = ~uint64_t(0);
    EXPECT_EQ(convertElements(from, &source, to, &target, 1), possible) << static_cast<int>(from) << " to " << static_cast<int>(to);
    if (!possible)
      EXPECT_EQ(target, ~uint64_t(0));
  }
  std::vector<int32_t> narrow = {-1, 7, INT32_MIN};
  std::vector<int64_t> wide(3);
  ASSERT_TRUE(convertElements(I32, narrow.data(), I64, wide.data(), 3));
  EXPECT_EQ(wide, (std::vector<int64_t>{-1, 7, INT32_MIN}));
}

TEST(Checked, NoticesOverflow) {
  EXPECT_FALSE((Checked(INT64_MAX) + 1).valid());
  EXPECT_FALSE((Checked(int64_t(1) << 40) * (int64_t(1) << 40)).valid());
  EXPECT_FALSE((Checked(3) - 4).valid());
  EXPECT_FALSE((Checked(-1) + 5).valid());
  EXPECT_FALSE(Checked(uint64_t(1) << 63).valid());
  EXPECT_EQ((Checked(6) * 7).value(), 42);
}

TEST(Paths, StayInTheirFolder) {
  for (const char *bad : {"", "/a", "..", "../a", "a/..", "a/../b"})
    EXPECT_FALSE(isContainedPath(bad)) << bad;
  for (const char *good : {"a", "a/b", "..a", "a..b/c"})
    EXPECT_TRUE(isContainedPath(good)) << good;
  TemporaryFolder folder, outside;
  writeBytes(outside / "secret", {1});
  writeBytes(folder / "file", {1});
  std::filesystem::create_symlink(outside / "secret", folder / "link");
  std::filesystem::create_symlink(folder / "file", folder / "inner");
  EXPECT_TRUE(resolveInside(folder.path, "file").ok());
  EXPECT_TRUE(resolveInside(folder.path, "inner").ok());
  EXPECT_EQ(resolveInside(folder.path, "link").status().code, StatusCode::BadInput);
  EXPECT_EQ(resolveInside(folder.path, "missing").status().code, StatusCode::BadInput);
}

/// A plan of arrays instead of tokens, and its file.
struct ArrayPlan {
  explicit ArrayPlan(fb::Source source) {
    fb::PlanT plan = tinyPlan();
    for (auto &input : plan.programs[0]->segments[0]->inputs) {
      input->source = input->name == "ids" ? fb::Source::Array : source;
      input->array = "x";
    }
    bytes = pack(plan);
  }
  const fb::RankProgram &program() const { return *fb::GetPlan(bytes.data())->programs()->Get(0); }
  const fb::Segment &segment() const { return *program().segments()->Get(0); }
  std::vector<uint8_t> bytes;
};

TEST(Data, ArraysAreSplitInOrderAndShifted) {
  TemporaryFolder folder;
  std::vector<int64_t> ids(16);
  for (int i = 0; i < 16; ++i)
    ids[i] = i % 8;
  auto fetch = [&](std::vector<uint8_t> &) { return Bytes(reinterpret_cast<uint8_t *>(ids.data()), 128); };
  ASSERT_TRUE(writeSafetensors(folder / "x.safetensors", {{"x.0", fb::DataType::I64, {4, 4}, fetch}, {"x.1", fb::DataType::I64, {4, 4}, fetch}}).ok());
  ArrayPlan plan(fb::Source::ArrayNext);
  DataOptions options{{folder / "x.safetensors"}, 4, 2, 4, 8, 1, true};
  auto data = DataSet::open(options, plan.segment(), plan.program());
  ASSERT_TRUE(data.ok()) << data.status().message;
  EXPECT_EQ((*data)->steps(), 2u);
  std::vector<int64_t> row(8);
  const fb::Input &labels = *plan.segment().inputs()->Get(1);
  ASSERT_TRUE((*data)->fill(labels, *plan.program().buffers()->Get(labels.buffer()), 1, 1, row.data()).ok());
  EXPECT_EQ(row, (std::vector<int64_t>{1, 2, 3, -100, 5, 6, 7, -100}));
  EXPECT_EQ((*data)->fill(labels, *plan.program().buffers()->Get(labels.buffer()), 2, 0, row.data()).code, StatusCode::BadInput);
  ids[5] = 8;
  ASSERT_TRUE(writeSafetensors(folder / "y.safetensors", {{"x.0", fb::DataType::I64, {4, 4}, fetch}}).ok());
  options.files = {folder / "y.safetensors"};
  Status status = DataSet::open(options, plan.segment(), plan.program()).status(); // before any step
  EXPECT_NE(status.message.find("element 5"), std::string::npos) << status.message;
}

// Eight windows, each of one id: the order of samples in two epochs, of four samples a step; not shuffled, the file's own.
TEST(Data, OrdersOfEpochsAreThose) {
  TemporaryFolder folder;
  std::vector<uint8_t> bytes;
  for (uint8_t i = 0; i < 33; ++i)
    bytes.insert(bytes.end(), {static_cast<uint8_t>(i / 4 % 8), 0});
  writeBytes(folder / "t.u16", bytes);
  std::vector<uint8_t> packed = pack(tinyPlan());
  const fb::Plan &plan = *fb::GetPlan(packed.data());
  const fb::RankProgram &program = *plan.programs()->Get(0);
  for (bool shuffle : {true, false}) {
    DataOptions options = DataOptions::of(plan, {folder / "t.u16"});
    options.shuffle = shuffle;
    auto data = DataSet::open(options, *program.segments()->Get(0), program);
    ASSERT_TRUE(data.ok()) << data.status().message;
    const fb::Input &input = *program.segments()->Get(0)->inputs()->Get(0);
    std::vector<int64_t> samples, row(8);
    for (uint64_t run = 0; run < 8; ++run) {
      ASSERT_TRUE((*data)->fill(input, *program.buffers()->Get(input.buffer()), run / 2, run % 2, row.data()).ok());
      samples.insert(samples.end(), {row[0], row[4]});
    }
    EXPECT_EQ(samples, shuffle ? (std::vector<int64_t>{7, 3, 4, 6, 0, 5, 1, 2, 2, 0, 4, 1, 6, 7, 5, 3})
                               : (std::vector<int64_t>{0, 1, 2, 3, 4, 5, 6, 7, 0, 1, 2, 3, 4, 5, 6, 7}));
  }
}

// Of n arrays, step k takes number k mod n.
TEST(Data, ArraysLastForEpochs) {
  TemporaryFolder folder;
  std::vector<int64_t> ids(16, 1), others(16, 2);
  auto fetch = [](std::vector<int64_t> &from) {
    return [&](std::vector<uint8_t> &) { return Bytes(reinterpret_cast<uint8_t *>(from.data()), 128); };
  };
  ASSERT_TRUE(writeSafetensors(folder / "x.safetensors", {{"x.0", fb::DataType::I64, {4, 4}, fetch(ids)}, {"x.1", fb::DataType::I64, {4, 4}, fetch(others)}}).ok());
  ArrayPlan plan(fb::Source::Array);
  DataOptions options{{folder / "x.safetensors"}, 4, 2, 4, 8, 1, true};
  options.epochs = 2;
  auto data = DataSet::open(options, plan.segment(), plan.program());
  ASSERT_TRUE(data.ok()) << data.status().message;
  EXPECT_EQ((*data)->steps(), 4u);
  const fb::Input &input = *plan.segment().inputs()->Get(0);
  const fb::Buffer &buffer = *plan.program().buffers()->Get(input.buffer());
  std::vector<int64_t> row(8);
  for (uint64_t step = 0; step < 4; ++step) {
    ASSERT_TRUE((*data)->fill(input, buffer, step, 0, row.data()).ok());
    EXPECT_EQ(row[0], step % 2 ? 2 : 1) << step;
  }
  EXPECT_EQ((*data)->fill(input, buffer, 4, 0, row.data()).code, StatusCode::BadInput);
  options.epochs = UINT64_MAX;
  EXPECT_EQ((*DataSet::open(options, plan.segment(), plan.program()))->steps(), UINT64_MAX - 1);
}

// All ids of a token file, also of those parts that no window of the first steps takes; ranks share the work.
TEST(Data, IdsAreCheckedBeforeTheFirstStep) {
  TemporaryFolder folder;
  std::vector<uint8_t> bytes(3 << 21);
  std::vector<uint8_t> plan = pack(tinyPlan());
  const fb::RankProgram &program = *fb::GetPlan(plan.data())->programs()->Get(0);
  auto open = [&](uint32_t rank, uint32_t ranks) {
    DataOptions options = DataOptions::of(*fb::GetPlan(plan.data()), {folder / "t.u16"});
    options.rank = rank;
    options.ranks = ranks;
    return DataSet::open(options, *program.segments()->Get(0), program).status();
  };
  writeBytes(folder / "t.u16", bytes);
  EXPECT_TRUE(open(0, 1).ok());
  bytes[2 * ((1 << 20) + 5)] = 9; // in the second block of 2^20
  writeBytes(folder / "t.u16", bytes);
  Status status = open(0, 1);
  EXPECT_NE(status.message.find("position 1048581: id 9"), std::string::npos) << status.message;
  EXPECT_TRUE(open(0, 2).ok());
  EXPECT_FALSE(open(1, 2).ok());
}

TEST(Data, ArraysThatDoNotFitAreRefused) {
  TemporaryFolder folder;
  std::vector<int64_t> ids(16);
  auto fetch = [&](std::vector<uint8_t> &) { return Bytes(reinterpret_cast<uint8_t *>(ids.data()), 128); };
  ArrayPlan plan(fb::Source::Array);
  auto codeOf = [&](const char *name, fb::DataType type, Shape shape) {
    EXPECT_TRUE(writeSafetensors(folder / "x.safetensors", {{name, type, shape, fetch}}).ok());
    DataOptions options{{folder / "x.safetensors"}, 4, 2, 4, 8, 1, true};
    return DataSet::open(options, plan.segment(), plan.program()).status().code;
  };
  EXPECT_EQ(codeOf("x.0", fb::DataType::I64, {4, 4}), StatusCode::Ok);
  EXPECT_EQ(codeOf("x.0", fb::DataType::I64, {2, 8}), StatusCode::BadInput);
  EXPECT_EQ(codeOf("x.0", fb::DataType::F64, {4, 4}), StatusCode::BadInput);
  EXPECT_EQ(codeOf("x.1", fb::DataType::I64, {4, 4}), StatusCode::BadInput);
}

/// tinyPlan for two ranks, each of which gets one of the two samples of a micro-batch.
fb::PlanT halvedPlan() {
  fb::PlanT plan = tinyPlan();
  plan.ranks.push_back(std::make_unique<fb::RankT>());
  plan.groups.push_back(std::make_unique<fb::GroupsT>());
  plan.groups[0]->size = 2;
  plan.groups[0]->ranks = {0, 1};
  for (auto &input : plan.programs[0]->segments[0]->inputs) {
    input->cuts.push_back(std::make_unique<fb::CutT>());
    plan.programs[0]->buffers[input->buffer]->shape[0] = 1;
  }
  return plan;
}

/// What rank `rank` gets for `input` of the accumulate segment, over two steps of two micro-batches.
std::vector<int64_t> idsOf(const fb::PlanT &object, uint32_t input, uint32_t rank, const std::string &file) {
  std::vector<uint8_t> bytes = pack(object);
  const fb::Plan &plan = *fb::GetPlan(bytes.data());
  const fb::RankProgram &program = *plan.programs()->Get(0);
  DataOptions options = DataOptions::of(plan, {file}, rank);
  auto data = DataSet::open(options, *program.segments()->Get(0), program);
  EXPECT_TRUE(data.ok()) << data.status().message;
  const fb::Input &entry = *program.segments()->Get(0)->inputs()->Get(input);
  const fb::Buffer &buffer = *program.buffers()->Get(entry.buffer());
  std::vector<int64_t> all, ids(static_cast<size_t>(elementCount(shapeOf(buffer.shape()))));
  for (uint64_t run = 0; run < 4; ++run) {
    EXPECT_TRUE((*data)->fill(entry, buffer, run / 2, run % 2, ids.data()).ok());
    all.insert(all.end(), ids.begin(), ids.end());
  }
  return all;
}

// Ranks get, side by side, what one rank gets: from shuffled tokens and from arrays.
TEST(Data, RanksGetTheirSamples) {
  TemporaryFolder folder;
  writeTokens(folder / "t.u16", 400);
  std::vector<int64_t> ids(16);
  for (int i = 0; i < 16; ++i)
    ids[i] = i * 3 % 8;
  auto fetch = [&](std::vector<uint8_t> &) { return Bytes(reinterpret_cast<uint8_t *>(ids.data()), 128); };
  ASSERT_TRUE(writeSafetensors(folder / "x.safetensors", {{"x.0", fb::DataType::I64, {4, 4}, fetch}, {"x.1", fb::DataType::I64, {4, 4}, fetch}}).ok());
  for (bool arrays : {false, true}) {
    fb::PlanT whole = tinyPlan(), halves = halvedPlan();
    for (fb::PlanT *plan : {&whole, &halves})
      for (auto &input : plan->programs[0]->segments[0]->inputs)
        if (arrays) {
          input->source = input->name == "ids" ? fb::Source::Array : fb::Source::ArrayNext;
          input->array = "x";
        }
    std::string file = folder / (arrays ? "x.safetensors" : "t.u16");
    for (uint32_t input : {0, 1}) {
      std::vector<int64_t> all = idsOf(whole, input, 0, file), first = idsOf(halves, input, 0, file), joined;
      std::vector<int64_t> second = idsOf(halves, input, 1, file);
      for (size_t run = 0; run < 4; ++run)
        for (const std::vector<int64_t> *half : {&first, &second})
          joined.insert(joined.end(), half->begin() + run * 4, half->begin() + run * 4 + 4);
      EXPECT_EQ(joined, all) << (arrays ? "arrays" : "tokens") << " input " << input;
    }
  }
}

// The position counts the samples of all ranks; places are not the data's to fill.
TEST(Data, PositionIsGlobal) {
  TemporaryFolder folder;
  writeTokens(folder / "t.u16", 400);
  std::vector<uint8_t> bytes = pack(halvedPlan());
  const fb::Plan &plan = *fb::GetPlan(bytes.data());
  const fb::RankProgram &program = *plan.programs()->Get(0);
  DataOptions options = DataOptions::of(plan, {folder / "t.u16"}, 1);
  auto data = DataSet::open(options, *program.segments()->Get(0), program);
  ASSERT_TRUE(data.ok());
  fb::InputT position, place;
  position.source = fb::Source::Position;
  place.source = fb::Source::Place;
  auto fill = [&](const fb::InputT &object, int64_t *to) {
    flatbuffers::FlatBufferBuilder builder;
    builder.Finish(fb::Input::Pack(builder, &object));
    const auto *input = flatbuffers::GetRoot<fb::Input>(builder.GetBufferPointer());
    return (*data)->fill(*input, *program.buffers()->Get(0), 3, 1, to).ok();
  };
  int64_t values[2] = {-1, -1};
  EXPECT_TRUE(fill(place, values));
  EXPECT_EQ(values[0], -1);
  EXPECT_TRUE(fill(position, values));
  EXPECT_EQ(values[0], 3);
  EXPECT_EQ(values[1], 2);
}

} // namespace
