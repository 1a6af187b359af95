//===- ContainersTest.cpp - files with one damage each --------------------===//
//
// Each case is a good file with one thing changed, and the words with which the reader refuses it: every reason that a reader
// gives has a case which only that reason refuses. The unchanged file is accepted.
//
//===----------------------------------------------------------------------===//
#include "runtime/io/Manifest.h"
#include "runtime/io/Safetensors.h"
#include "runtime/plan/PlanFile.h"
#include "test/runtime/TinyPlan.h"
#include <cstring>
#include <filesystem>
#include <functional>
#include <nlohmann/json.hpp>
#include <xxhash.h>

using namespace llmc::runtime;
using namespace llmc::test;
using Json = nlohmann::json;

namespace {

//===--------------------------------------------------------------------===//
// safetensors
//===--------------------------------------------------------------------===//

class SafetensorsFiles : public ::testing::Test {
protected:
  /// Three tensors that lie one after the other, 12, 8 and 4 bytes.
  static Json header() {
    return {{"a", {{"dtype", "F32"}, {"shape", {3}}, {"data_offsets", {0, 12}}}},
            {"b", {{"dtype", "I64"}, {"shape", Json::array()}, {"data_offsets", {12, 20}}}},
            {"c", {{"dtype", "BF16"}, {"shape", {1, 2}}, {"data_offsets", {20, 24}}}}};
  }
  /// What the reader says of a file, without the file's name; empty if it is accepted.
  std::string read(const std::vector<uint8_t> &bytes) {
    writeBytes(folder / "x", bytes);
    auto file = SafetensorsFile::open(folder / "x");
    if (file.ok())
      return "";
    EXPECT_EQ(file.status().code, StatusCode::BadInput);
    std::string start = "safetensors file '" + folder / "x" + "' ", message = file.status().message;
    EXPECT_TRUE(message.starts_with(start)) << message;
    return message.substr(start.size());
  }
  std::string readText(const std::string &text, size_t dataBytes, int64_t lengthError = 0) {
    uint64_t length = text.size() + static_cast<uint64_t>(lengthError);
    std::vector<uint8_t> bytes(sizeof(length) + text.size() + dataBytes);
    std::memcpy(bytes.data(), &length, sizeof(length));
    std::memcpy(bytes.data() + sizeof(length), text.data(), text.size());
    return read(bytes);
  }
  std::string readHeader(const Json &json, size_t dataBytes = 24) { return readText(json.dump(), dataBytes); }
  /// The header with the entry at a JSON pointer replaced.
  std::string readWith(const char *pointer, const Json &value) {
    Json json = header();
    json[Json::json_pointer(pointer)] = value;
    return readHeader(json);
  }
  TemporaryFolder folder;
};

TEST_F(SafetensorsFiles, GoodOnesAreAccepted) {
  EXPECT_EQ(readHeader(header()), "");
  Json json = header();
  json["__metadata__"] = {{"format", "pt"}};
  EXPECT_EQ(readHeader(json), "");
  EXPECT_EQ(readText(header().dump() + "     ", 24), ""); // spaces that align the data
  json = header();
  std::swap(json["a"], json["c"]); // names in another order than the data
  EXPECT_EQ(readHeader(json), "");
  for (int place : {0, 12, 24}) { // tensors without elements, anywhere
    json = header();
    json["none"] = {{"dtype", "F32"}, {"shape", {5, 0}}, {"data_offsets", {place, place}}};
    EXPECT_EQ(readHeader(json), "") << place;
  }
  EXPECT_EQ(readText("{}", 0), "");
}

// An element has as many bytes as its type says, no more and no fewer.
TEST_F(SafetensorsFiles, TypesHaveTheirWidths) {
  for (auto [type, width] : std::initializer_list<std::pair<const char *, int>>{
           {"F64", 8}, {"F32", 4}, {"F16", 2}, {"BF16", 2}, {"I64", 8}, {"I32", 4}, {"I8", 1}, {"U8", 1},
           {"BOOL", 1}, {"F8_E4M3", 1}, {"F8_E5M2", 1}, {"I16", 2}, {"U16", 2}, {"U32", 4}, {"U64", 8}})
    for (int bytes : {1, 2, 4, 8}) {
      Json json = {{"t", {{"dtype", type}, {"shape", {3}}, {"data_offsets", {0, 3 * bytes}}}}};
      std::string said = readHeader(json, static_cast<size_t>(3 * bytes));
      std::string wrong = "is damaged:\n  tensor 't': its shape and dtype do not make " + std::to_string(3 * bytes) + " bytes";
      EXPECT_EQ(said, bytes == width ? "" : wrong) << type;
    }
}

TEST_F(SafetensorsFiles, DamagedHeadersAreRefused) {
  std::string text = header().dump(), cut = "is cut or no safetensors file: its header would be ";
  const std::string noObject = "has a header that is not a JSON object";
  EXPECT_EQ(read({}), "is too short");
  EXPECT_EQ(read({2, 0, 0, 0, 0, 0, 0}), "is too short");
  EXPECT_EQ(readText(text, 24, 25), cut + std::to_string(text.size() + 25) + " bytes long");
  EXPECT_EQ(readText(text, 24, -1), noObject);
  EXPECT_EQ(readText(text, 24, 1), noObject); // a byte of data is no JSON
  EXPECT_EQ(readText(text, 24, INT64_MIN), cut + std::to_string(text.size() + (uint64_t(1) << 63)) + " bytes long");
  for (const char *wrong : {"", "[]", "1", "\"a\"", "null", "{\"a\":", "{}{}"})
    EXPECT_EQ(readText(wrong, 0), noObject) << wrong;
  EXPECT_EQ(readText(std::string("{}\0{", 4), 0), noObject); // hidden behind what ends a text in C
}

// A header of more than 100 MB is not even looked at. The file has a hole, and takes no room.
TEST_F(SafetensorsFiles, LongHeadersAreRefused) {
  uint64_t length = 100'000'001;
  std::vector<uint8_t> bytes(sizeof(length));
  std::memcpy(bytes.data(), &length, sizeof(length));
  writeBytes(folder / "long", bytes);
  std::filesystem::resize_file(folder / "long", sizeof(length) + length);
  std::string message = SafetensorsFile::open(folder / "long").status().message;
  EXPECT_TRUE(message.ends_with("is cut or no safetensors file: its header would be 100000001 bytes long")) << message;
}

TEST_F(SafetensorsFiles, KeysThatStandTwiceAreRefused) {
  std::string text = header().dump(), entry = header()["a"].dump();
  std::string twice = text.substr(0, text.size() - 1) + ",\"a\":" + entry + "}";
  EXPECT_EQ(readText(twice, 24), "is damaged: its header has 'a' twice");
  text.insert(text.find("\"dtype\""), "\"shape\":[3],");
  EXPECT_EQ(readText(text, 24), "is damaged: its header has 'shape' twice");
}

TEST_F(SafetensorsFiles, DamagedEntriesAreRefused) {
  struct Case {
    const char *pointer;
    Json value;
    std::string problem;
  };
  const std::string offsets = "its data_offsets are not two numbers", sizes = "its shape holds something else than sizes";
  const std::string bytes12 = "its shape and dtype do not make 12 bytes", noList = "its shape is not a list of sizes";
  const Case cases[] = {
      {"/a", 1, "needs dtype, shape and data_offsets"},
      {"/a/dtype", 32, "its dtype is not a string"},
      {"/a/dtype", "F99", "its dtype 'F99' is unknown"},
      {"/a/dtype", "f32", "its dtype 'f32' is unknown"},
      {"/a/dtype", "BF16", bytes12},
      {"/a/shape", 3, noList},
      {"/a/shape", Json(std::vector<int>(33, 1)), noList},
      {"/a/shape", {-3}, sizes},
      {"/a/shape", {3.0}, sizes},
      {"/a/shape", {"3"}, sizes},
      {"/a/shape", {uint64_t(1) << 63}, sizes},
      {"/a/shape", {2}, bytes12},
      {"/a/shape", {4}, bytes12},
      {"/a/shape", {3, 0}, bytes12},
      {"/a/shape", {int64_t(1) << 62, 4}, bytes12},         // more elements than numbers have
      {"/a/shape", {(int64_t(1) << 62) + 3}, bytes12},      // 2^64 + 12 bytes
      {"/a/data_offsets", 12, offsets},
      {"/a/data_offsets", {0}, offsets},
      {"/a/data_offsets", {0, 12, 12}, offsets},
      {"/a/data_offsets", {-12, 0}, offsets},
      {"/a/data_offsets", {0, 12.0}, offsets},
      {"/a/data_offsets", {0, "12"}, offsets},
      {"/a/data_offsets", {12, 0}, "its data [12, 0) leaves the file, which has 24 bytes of data"},
      {"/a/data_offsets", {13, 25}, "its data [13, 25) leaves the file, which has 24 bytes of data"},
      {"/a/data_offsets", {0, 11}, "its shape and dtype do not make 11 bytes"},
  };
  for (const Case &each : cases)
    EXPECT_EQ(readWith(each.pointer, each.value), "is damaged:\n  tensor 'a': " + each.problem) << each.pointer << " " << each.value;
  for (const char *key : {"dtype", "shape", "data_offsets"}) {
    Json json = header();
    json["a"].erase(key);
    EXPECT_EQ(readHeader(json), "is damaged:\n  tensor 'a': needs dtype, shape and data_offsets") << key;
  }
  Json json = header(); // all of them at once
  json["a"]["dtype"] = 1;
  json["c"]["shape"] = 1;
  EXPECT_EQ(readHeader(json), "is damaged:\n  tensor 'a': its dtype is not a string\n  tensor 'c': its shape is not a list of sizes");
}

// Each tensor by itself is as it should be.
TEST_F(SafetensorsFiles, DamagedLayoutsAreRefused) {
  auto with = [&](const std::map<std::string, std::pair<int, int>> &places, size_t dataBytes) {
    Json json = header();
    for (auto [name, place] : places)
      json[name]["data_offsets"] = {place.first, place.second};
    return readHeader(json, dataBytes);
  };
  const std::string tensor = "is damaged:\n  tensor '", gap = "' leaves a gap before it", overlap = "' overlaps the one before it";
  EXPECT_EQ(with({{"a", {1, 13}}, {"b", {13, 21}}, {"c", {21, 25}}}, 25), tensor + "a" + gap); // at the start
  EXPECT_EQ(with({{"b", {16, 24}}, {"c", {24, 28}}}, 28), tensor + "b" + gap);
  EXPECT_EQ(with({{"c", {21, 25}}}, 25), tensor + "c" + gap);
  EXPECT_EQ(with({{"b", {11, 19}}, {"c", {19, 23}}}, 23), tensor + "b" + overlap);
  EXPECT_EQ(with({{"b", {0, 8}}, {"c", {12, 16}}}, 16), tensor + "a" + overlap);                     // the same start
  EXPECT_EQ(with({{"b", {4, 12}}, {"c", {12, 16}}}, 16), tensor + "b" + overlap);                    // inside
  EXPECT_EQ(with({{"c", {4, 8}}}, 20), tensor + "c" + overlap); // after which the first one goes on
  EXPECT_EQ(with({}, 25), "is damaged:\n  1 bytes after the last tensor");
  EXPECT_EQ(readText("{}", 8), "is damaged:\n  8 bytes after the last tensor");
}

//===--------------------------------------------------------------------===//
// manifests
//===--------------------------------------------------------------------===//

class Manifests : public ::testing::Test {
protected:
  static Json manifest() {
    Manifest made;
    made.step = 7, made.seed = 3;
    made.planDigest = "p", made.dataIdentity = "d";
    made.scalars = {{"lr", 0.5}};
    made.settings = {{"lr", 0.25}};
    made.files = {{"rank-00000.safetensors", "1"}, {"rank-00001.safetensors", "2"}};
    made.inParts = true;
    StoredTensor tensor;
    tensor.shape = {4, 6};
    tensor.view = {{fb::ViewKind::Reshape, {4, 2, 3}}};
    tensor.parts = {{"rank-00000.safetensors", "w#0", {{0, 0, 0}, {4, 1, 3}}}, {"rank-00001.safetensors", "w#1", {{0, 1, 0}, {4, 1, 3}}}};
    made.model = {{"w", tensor}};
    made.optimizer = {{"w.m", tensor}};
    return Json::parse(manifestText(made));
  }
  static std::string readText(const std::string &text, Manifest &&manifest = {}) {
    return parseManifest({reinterpret_cast<const uint8_t *>(text.data()), text.size()}, manifest);
  }
  static std::string readWith(const char *pointer, const Json &value) {
    Json json = manifest();
    json[Json::json_pointer(pointer)] = value;
    return readText(json.dump());
  }
};

TEST_F(Manifests, GoodOnesAreRead) {
  Manifest read;
  EXPECT_EQ(readText(manifest().dump(), std::move(read)), "");
  EXPECT_EQ(Json::parse(manifestText(read)), manifest());
  Json json = manifest(); // those of older releases
  json.erase("settings");
  EXPECT_EQ(readText(json.dump()), "");
  json.erase("tensors");
  json["format"] = "llmc checkpoint 1";
  EXPECT_EQ(readText(json.dump()), "");
}

TEST_F(Manifests, DamagedOnesAreRefused) {
  struct Case {
    const char *pointer;
    Json value;
    std::string problem;
  };
  const std::string lacks = "its manifest lacks entries", other = "its manifest is damaged or of another format";
  const Case cases[] = {
      {"/format", 2, other},
      {"/format", "llmc checkpoint 3", other},
      {"/step", -1, lacks},
      {"/step", 1.5, lacks},
      {"/step", "7", lacks},
      {"/seed", -1, lacks},
      {"/plan", 1, lacks},
      {"/data", 1, lacks},
      {"/scalars", Json::array(), lacks},
      {"/scalars/lr", "1", "its scalar 'lr' is no number"},
      {"/settings/lr", nullptr, "its scalar 'lr' is no number"},
      {"/files", Json::array(), lacks},
      {"/files/rank-00000.safetensors", 1, "'rank-00000.safetensors' is no file with a digest"},
      {"/files/..~1x.safetensors", "1", "'../x.safetensors' is no file with a digest"},
      {"/files/.x.safetensors", "1", "'.x.safetensors' is no file with a digest"},
      {"/files/.safetensors", "1", "'.safetensors' is no file with a digest"},
      {"/files/manifest.json", "1", "'manifest.json' is no file with a digest"},
      {"/tensors", Json::array(), lacks},
      {"/tensors/model", Json::array(), "its manifest is damaged:\n  its tensors are not listed"},
      {"/tensors/optimizer", 1, "its manifest is damaged:\n  its tensors are not listed"},
  };
  for (const Case &each : cases)
    EXPECT_EQ(readWith(each.pointer, each.value), each.problem) << each.pointer << " " << each.value;
  for (const char *key : {"step", "seed", "plan", "data", "scalars", "files", "tensors", "format"}) {
    Json json = manifest();
    json.erase(key);
    EXPECT_EQ(readText(json.dump()), std::string(key) == "format" ? other : lacks) << key;
  }
  std::string text = manifest().dump();
  for (const std::string &wrong : {std::string(), std::string("[]"), text.substr(0, text.size() - 1), text + "}"})
    EXPECT_EQ(readText(wrong), "its manifest is damaged") << wrong;
  text.insert(1, "\"step\":8,");
  EXPECT_EQ(readText(text), "its manifest is damaged: it has 'step' twice");
}

TEST_F(Manifests, DamagedTensorsAreRefused) {
  struct Case {
    const char *pointer;
    Json value;
    std::string problem;
  };
  const std::string needs = "needs type, shape, view and parts", shape = "its shape is no list of sizes", view = "its view is damaged";
  const std::string part = "a part lacks file, tensor, begin or size", outside = "part 'w#1' does not lie in it";
  const Case cases[] = {
      {"", 1, needs},
      {"/parts", 1, needs},
      {"/type", 1, "its type is unknown"},
      {"/type", "F99", "its type is unknown"},
      {"/shape", 24, shape},
      {"/shape", {4, -6}, shape},
      {"/shape", {4, 6.0}, shape},
      {"/shape", Json(std::vector<int>(33, 1)), shape},
      {"/view", 1, "its view is no list"},
      {"/view/0", 1, view},
      {"/view/0", {"Reshape"}, view},
      {"/view/0", {"Reshape", {4, 2, 3}, 1}, view},
      {"/view/0/0", "Turn", view},
      {"/view/0/1", {4, 2, -3}, view},
      {"/view/0/1", Json(std::vector<int>(65, 1)), view},
      {"/parts/1", 1, part},
      {"/parts/1/file", 1, part},
      {"/parts/1/tensor", 1, part},
      {"/parts/1/begin", {0, -1, 0}, part},
      {"/parts/1/size", 3, part},
      {"/parts/1/file", "rank-00002.safetensors", "a part lies in 'rank-00002.safetensors', which is no file of the checkpoint"},
      {"/parts/1/begin", {0, 1}, outside},
      {"/parts/1/size", {4, 1}, outside},
      {"/parts/1/begin", {0, 2, 0}, outside},
      {"/parts/1/begin", {1, 1, 0}, outside},
      {"/parts/1/size", {4, 1, 4}, outside},
      {"/parts/1/size", {4, INT64_MAX, 3}, outside},
  };
  for (auto [kind, name] : {std::pair("model", "w"), std::pair("optimizer", "w.m")}) {
    std::string path = std::string("/tensors/") + kind + "/" + name, start = std::string("its manifest is damaged:\n  tensor '") + name + "': ";
    for (const Case &each : cases)
      EXPECT_EQ(readWith((path + each.pointer).c_str(), each.value), start + each.problem) << each.pointer << " " << each.value;
    for (const char *key : {"/type", "/shape", "/view", "/parts", "/parts/1/file", "/parts/1/tensor", "/parts/1/begin", "/parts/1/size"}) {
      Json json = manifest();
      Json::json_pointer at(path + key);
      json[at.parent_pointer()].erase(at.back());
      EXPECT_EQ(readText(json.dump()), start + (std::string(key).size() > 8 ? part : needs)) << key;
    }
    std::string said = readWith((path + "/view/0/1").c_str(), {4, 2, 4});
    EXPECT_TRUE(said.starts_with(start + "its view does not fit: ")) << said;
  }
}

//===--------------------------------------------------------------------===//
// plan files
//===--------------------------------------------------------------------===//

/// The parts of a plan file, to be changed and put together again under a digest that is right.
struct PlanParts {
  PlanFileHeader header;
  PlanFileSection table[3];
  std::vector<uint8_t> rest;

  explicit PlanParts(const std::vector<uint8_t> &bytes) : rest(bytes.begin() + sizeof(header) + sizeof(table), bytes.end()) {
    std::memcpy(&header, bytes.data(), sizeof(header));
    std::memcpy(table, bytes.data() + sizeof(header), sizeof(table));
  }
  std::vector<uint8_t> join() const {
    std::vector<uint8_t> bytes(sizeof(header) + sizeof(table));
    std::memcpy(bytes.data() + sizeof(header), table, sizeof(table));
    bytes.insert(bytes.end(), rest.begin(), rest.end());
    PlanFileHeader signedHeader = header;
    XXH128_hash_t digest = XXH3_128bits(bytes.data() + sizeof(header), bytes.size() - sizeof(header));
    signedHeader.digest[0] = digest.low64 + header.digest[0];
    signedHeader.digest[1] = digest.high64 + header.digest[1];
    std::memcpy(bytes.data(), &signedHeader, sizeof(header));
    return bytes;
  }
};

TEST(PlanContainer, DamagedOnesAreRefused) {
  TemporaryFolder folder;
  std::vector<uint8_t> constants(100, 3);
  ASSERT_TRUE(writePlan(folder / "x", pack(tinyPlan()), tinyKernels(), constants).ok());
  const std::vector<uint8_t> good = readBytes(folder / "x");
  auto readChanged = [&](const std::function<void(PlanParts &)> &change) {
    PlanParts parts(good);
    parts.header.digest[0] = parts.header.digest[1] = 0;
    change(parts);
    writeBytes(folder / "x", parts.join());
    auto plan = PlanFile::readUnvalidated(folder / "x");
    if (plan.ok())
      return std::string();
    EXPECT_EQ(plan.status().code, StatusCode::PlanRefused);
    return plan.status().message.substr(("plan '" + folder / "x" + "' ").size());
  };
  EXPECT_EQ(readChanged([](PlanParts &) {}), "");
  const std::string size = std::to_string(good.size()), table = "has a damaged section table", digest = "is damaged: its digest does not match its bytes";
  auto say = [&](const std::string &expected, const std::function<void(PlanParts &)> &change) { EXPECT_EQ(readChanged(change), expected); };
  say("is not a plan file (wrong magic)", [](PlanParts &p) { p.header.magic[7] ^= 1; });
  say("has plan version 2, this runtime reads version 1", [](PlanParts &p) { p.header.version = 2; });
  say("has a damaged header", [](PlanParts &p) { p.header.sections = 4; });
  say("has a damaged header", [](PlanParts &p) { p.header.reserved[23] = 1; });
  say("is " + size + " bytes long, its header says 4", [](PlanParts &p) { p.header.fileBytes = 4; });
  say(digest, [](PlanParts &p) { p.header.digest[0] = 1; });
  say(digest, [](PlanParts &p) { p.header.digest[1] = 1; });
  for (int i = 0; i < 3; ++i) {
    say(table, [&](PlanParts &p) { p.table[i].kind = 4 - p.table[i].kind + (i == 1); });
    say(table, [&](PlanParts &p) { p.table[i].reserved = 1; });
    say(table, [&](PlanParts &p) { p.table[i].offset += kPlanAlignment; });
    say(table, [&](PlanParts &p) { p.table[i].bytes = ~uint64_t(0); });
  }
  say(table, [](PlanParts &p) { p.table[0].bytes += kPlanAlignment; }); // reaches into the next
  say(table, [](PlanParts &p) { p.table[2].bytes += 1; });              // leaves the file
  say("has bytes after its last section", [](PlanParts &p) { p.table[2].bytes -= 1; });
  say("has bytes after its last section", [](PlanParts &p) { p.rest.push_back(0), ++p.header.fileBytes; });
  say("is malformed", [](PlanParts &p) { std::fill_n(p.rest.begin() + static_cast<ptrdiff_t>(p.table[0].offset - sizeof(p.header) - sizeof(p.table)), 8, 255); });
  writeBytes(folder / "x", {good.begin(), good.begin() + 100});
  EXPECT_TRUE(PlanFile::readUnvalidated(folder / "x").status().message.ends_with("is too short to be a plan"));
}

} // namespace
