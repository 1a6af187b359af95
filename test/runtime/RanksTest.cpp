//===- RanksTest.cpp - state that several ranks share ---------------------===//
//
// Whatever the mesh, all ranks together hold the same: after initialization, and after a checkpoint of any other mesh.
//
//===----------------------------------------------------------------------===//
#include "runtime/io/Checkpoint.h"
#include "test/runtime/StatePlan.h"
#include <cctype>
#include <csignal>
#include <cstring>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <sys/wait.h>
#include <unistd.h>

using namespace llmc::runtime;
using namespace llmc::test;

namespace {

const std::vector<StateMesh> kMeshes = {{1, 1}, {2, 1, true}, {1, 2},           {2, 2, true},
                                        {2, 2}, {4, 1},       {1, 4, false, 2}, {2, 4, true, 6}, {4, 2, true}};

auto silent = [](const std::string &, double) {};

class Ranks : public ::testing::Test {
protected:
  std::string plan(const StateMesh &mesh) { return write(statePlan(mesh), mesh.text() + ".plan"); }
  std::string write(const fb::PlanT &plan, const std::string &name) {
    Status status = writePlan(folder / name, pack(plan), {}, {});
    EXPECT_TRUE(status.ok()) << status.message;
    return folder / name;
  }
  void save(const StateMesh &mesh, uint64_t seed, const std::string &name = "ck") {
    onRanks(plan(mesh), [&](RankOfPlan &rank) {
      fillState(rank, seed);
      Manifest manifest;
      manifest.step = seed;
      manifest.scalars = rank.state.scalars();
      Status status = rank.state.save(folder / name, manifest);
      EXPECT_TRUE(status.ok()) << status.message;
    });
  }
  /// The outcome on all ranks, which must be the same.
  Status restore(const StateMesh &mesh, uint64_t seed, const std::string &what) {
    Status result;
    onRanks(plan(mesh), [&](RankOfPlan &rank) {
      std::vector<std::string> notes;
      auto checkpoint = openNewestCheckpoint(folder / "ck", notes, rank.world);
      Status status = checkpoint.status();
      if (checkpoint.ok() && *checkpoint)
        status = rank.state.restore(**checkpoint);
      if (status.ok())
        expectState(rank, seed, what);
      if (rank.executor.rank() == 0)
        result = status;
      if (rank.world) {
        EXPECT_TRUE(rank.world->all().barrier().ok());
        EXPECT_EQ(status.message, result.message);
      }
    });
    return result;
  }
  nlohmann::json manifestOf(const std::string &path) {
    std::vector<uint8_t> bytes = readBytes(path);
    return nlohmann::json::parse(bytes.begin(), bytes.end());
  }
  void writeJson(const std::string &path, const nlohmann::json &json) {
    std::string text = json.dump();
    writeBytes(path, {text.begin(), text.end()});
  }
  TemporaryFolder folder;
};

// Random values, values from a file and weights of another element type: each rank gets its part of what one rank gets.
TEST_F(Ranks, InitialValuesAreParts) {
  std::vector<float> values(32);
  for (size_t i = 0; i < values.size(); ++i)
    values[i] = static_cast<float>(i);
  auto *bytes = reinterpret_cast<const uint8_t *>(values.data());
  writeBytes(folder / "w.bin", {bytes, bytes + 128});
  auto setFile = [](fb::PlanT plan) {
    fb::InitT &init = *plan.programs[0]->parameters[2]->init;
    init.kind = fb::InitKind::File;
    init.path = "w.bin";
    init.bytes = 128;
    return plan;
  };
  std::vector<double> wide(400);
  for (size_t i = 0; i < wide.size(); ++i)
    wide[i] = static_cast<double>(i) / 7;
  auto fetch = [&](size_t count) {
    return [&wide, count](std::vector<uint8_t> &) {
      return Bytes(reinterpret_cast<const uint8_t *>(wide.data()), count * 8);
    };
  };
  ASSERT_TRUE(writeSafetensors(folder / "w.safetensors", {{"embed", fb::DataType::F64, {10, 8}, fetch(80)},
                                                          {"qkv", fb::DataType::F64, {8, 24}, fetch(192)},
                                                          {"proj", fb::DataType::F64, {8, 4}, fetch(32)},
                                                          {"norm", fb::DataType::F64, {16}, fetch(16)},
                                                          {"odd", fb::DataType::F64, {5, 4}, fetch(20)}})
                  .ok());
  for (const std::string &weights : {std::string(), folder / "w.safetensors"}) {
    std::map<std::string, std::vector<uint8_t>> whole;
    onRanks(write(setFile(statePlan({})), "one.plan"), [&](RankOfPlan &rank) {
      ASSERT_TRUE(rank.state.initialize({folder.path, weights}, silent).ok());
      std::vector<uint8_t> scratch;
      for (const TensorToWrite &tensor : rank.state.modelTensors()) {
        auto fetched = tensor.fetch(scratch);
        whole[tensor.name].assign(fetched->begin(), fetched->end());
      }
    });
    for (const StateMesh &mesh : kMeshes)
      onRanks(write(setFile(statePlan(mesh)), "many.plan"), [&](RankOfPlan &rank) {
        Status status = rank.state.initialize({folder.path, weights}, silent);
        ASSERT_TRUE(status.ok()) << status.message;
        for (const StateTensor &tensor : stateLayout(rank.executor.plan()).model) {
          uint32_t buffer = 0;
          const HeldPart *part = tensor.partOf(rank.executor.rank(), buffer);
          uint64_t width = elementBytes(tensor.type);
          std::vector<uint8_t> expected(static_cast<size_t>(elementCount(part->box.size)) * width);
          toPart(tensor.view, tensor.shape, part->box, width, whole[tensor.name].data(), expected.data());
          EXPECT_EQ(std::memcmp(rank.executor.data(buffer), expected.data(), expected.size()), 0)
              << mesh.text() << " " << tensor.name << " on rank " << rank.executor.rank();
        }
      });
  }
}

// One rank's problem is every rank's error, once.
TEST_F(Ranks, ProblemsAreShared) {
  onRanks(plan({2, 2}), [&](RankOfPlan &rank) {
    Status status = rank.state.initialize({folder.path, folder / "none.safetensors"}, silent);
    EXPECT_EQ(status.code, StatusCode::BadInput);
    EXPECT_EQ(status.message.rfind("rank 0: ", 0), 0u) << status.message;
    EXPECT_EQ(status.message.find("rank 1: "), std::string::npos) << status.message;
  });
}

TEST_F(Ranks, AnyMeshReadsAnyCheckpoint) {
  uint64_t seed = 0;
  for (const StateMesh &from : kMeshes) {
    save(from, ++seed);
    bool isWhole = std::filesystem::exists(folder / ("ck/step-0000000" + std::to_string(seed) + "/model.safetensors"));
    EXPECT_EQ(isWhole, from.ranks() == 1);
    for (const StateMesh &to : kMeshes) {
      Status status = restore(to, seed, from.text() + " -> " + to.text());
      EXPECT_TRUE(status.ok()) << from.text() << " -> " << to.text() << ": " << status.message;
    }
  }
}

// What export reads: logical tensors, from however many files.
TEST_F(Ranks, LogicalTensorsAreAssembled) {
  save({2, 4, true, 6}, 3);
  auto checkpoint = openCheckpoint(folder / "ck/step-00000003");
  ASSERT_TRUE(checkpoint.ok()) << checkpoint.status().message;
  fb::PlanT one = statePlan({});
  std::vector<uint8_t> bytes = pack(one), scratch;
  StateLayout layout = stateLayout(*fb::GetPlan(bytes.data()));
  EXPECT_EQ(checkpoint->model().size(), layout.model.size());
  EXPECT_EQ(checkpoint->optimizer().size(), layout.optimizer.size());
  EXPECT_FALSE(checkpoint->optimizer().count("buffer.loss_sum")) << "is zero at the start of a step";
  EXPECT_TRUE(checkpoint->optimizer().count("buffer.running"));
  for (auto [tensors, stored] :
       {std::pair(&layout.model, &checkpoint->model()), std::pair(&layout.optimizer, &checkpoint->optimizer())})
    for (const StateTensor &tensor : *tensors) {
      ASSERT_TRUE(stored->count(tensor.name)) << tensor.name;
      auto logical = checkpoint->readLogical(tensor.name, stored->at(tensor.name), scratch);
      ASSERT_TRUE(logical.ok()) << logical.status().message;
      EXPECT_EQ(std::vector<uint8_t>(logical->begin(), logical->end()), logicalBytes(tensor, 3)) << tensor.name;
    }
}

// Each part is written once, by the first rank that holds it.
TEST_F(Ranks, EachPartIsWrittenOnce) {
  save({2, 2}, 1);
  auto first = SafetensorsFile::open(folder / "ck/step-00000001/rank-00000.safetensors");
  ASSERT_TRUE(first.ok());
  EXPECT_TRUE((*first)->find("norm"));
  EXPECT_TRUE((*first)->find("qkv#0"));
  auto second = SafetensorsFile::open(folder / "ck/step-00000001/rank-00001.safetensors");
  ASSERT_TRUE(second.ok());
  EXPECT_TRUE((*second)->find("qkv#1"));
  EXPECT_FALSE((*second)->find("norm"));
  EXPECT_FALSE(std::filesystem::exists(folder / "ck/step-00000001/rank-00002.safetensors"));
}

// The newest checkpoint lacks a file, or one is damaged: all ranks take the one before it.
TEST_F(Ranks, DamagedCheckpointsArePassedOverByAll) {
  for (const char *name : {"rank-00001.safetensors", "rank-00003.safetensors", "manifest.json"}) {
    save({2, 2, true}, 1);
    save({2, 2, true}, 2);
    std::string path = folder / (std::string("ck/step-00000002/") + name);
    std::vector<uint8_t> bytes = readBytes(path);
    bytes[bytes.size() / 2] ^= 1;
    writeBytes(path, bytes);
    EXPECT_TRUE(restore({4, 1}, 1, name).ok()) << name;
    std::filesystem::remove(path);
    EXPECT_TRUE(restore({1, 2}, 1, name).ok()) << name;
  }
  std::filesystem::remove(folder / "ck/step-00000001/rank-00000.safetensors");
  std::filesystem::remove(folder / "ck/step-00000002/rank-00003.safetensors");
  Status status = restore({2, 1, true}, 1, "");
  EXPECT_EQ(status.code, StatusCode::BadInput);
  EXPECT_NE(status.message.find("rank-00000.safetensors"), std::string::npos) << status.message;
}

// A manifest that is not true is refused, with the name of the tensor or file.
TEST_F(Ranks, WrongManifestsAreRefused) {
  save({2, 2, true}, 1);
  std::string path = folder / "ck/step-00000001/manifest.json";
  nlohmann::json good = manifestOf(path);
  struct Case {
    const char *expected;
    std::function<void(nlohmann::json &)> alter;
  };
  auto qkv = [](nlohmann::json &json) -> nlohmann::json & { return json["tensors"]["model"]["qkv"]; };
  std::vector<Case> cases = {
      {"'qkv' leave some of it out", [&](nlohmann::json &json) { qkv(json)["parts"].erase(1); }},
      {"'qkv' leave some of it out", [&](nlohmann::json &json) { qkv(json)["parts"][1] = qkv(json)["parts"][0]; }},
      {"'qkv': part 'qkv#0' does not lie in it", [&](nlohmann::json &json) { qkv(json)["parts"][0]["begin"][2] = 5; }},
      {"'qkv': part 'qkv#0' does not lie in it",
       [&](nlohmann::json &json) { qkv(json)["parts"][0]["size"][2] = INT64_MAX; }},
      {"'qkv': part 'qkv#0' does not lie in it",
       [&](nlohmann::json &json) { qkv(json)["parts"][0]["begin"].erase(0); }},
      {"'qkv': a part lacks", [&](nlohmann::json &json) { qkv(json)["parts"][0].erase("file"); }},
      {"'qkv': a part lacks", [&](nlohmann::json &json) { qkv(json)["parts"][0]["begin"][0] = -1; }},
      {"no file of the checkpoint", [&](nlohmann::json &json) { qkv(json)["parts"][0]["file"] = "../x.safetensors"; }},
      {"no file with a digest", [&](nlohmann::json &json) { json["files"]["../x.safetensors"] = "0"; }},
      {"another shape or type than in the manifest",
       [&](nlohmann::json &json) { qkv(json)["parts"][0]["tensor"] = "embed#0"; }},
      {"'nothing' in rank-00000.safetensors is missing",
       [&](nlohmann::json &json) { qkv(json)["parts"][0]["tensor"] = "nothing"; }},
      {"'qkv': its type is unknown", [&](nlohmann::json &json) { qkv(json)["type"] = "X"; }},
      {"'qkv': its shape", [&](nlohmann::json &json) { qkv(json)["shape"] = 3; }},
      {"'qkv': its view is damaged", [&](nlohmann::json &json) { qkv(json)["view"][0][0] = "X"; }},
      {"'qkv': its view does not fit", [&](nlohmann::json &json) { qkv(json)["view"][0][1][0] = 9; }},
      {"'qkv': needs type", [&](nlohmann::json &json) { qkv(json).erase("parts"); }},
      {"'qkv' is missing", [&](nlohmann::json &json) { json["tensors"]["model"].erase("qkv"); }},
      {"'qkv' has another shape or type", [&](nlohmann::json &json) { qkv(json)["type"] = "I32"; }},
      {"its tensors are not listed", [&](nlohmann::json &json) { json["tensors"].erase("model"); }},
      {"lacks entries", [&](nlohmann::json &json) { json.erase("tensors"); }},
      {"of another format", [&](nlohmann::json &json) { json["format"] = "llmc checkpoint 3"; }},
  };
  for (const Case &test : cases) {
    nlohmann::json json = good;
    test.alter(json);
    writeJson(path, json);
    Status status = restore({2, 2, true}, 1, test.expected);
    EXPECT_EQ(status.code, StatusCode::BadInput) << test.expected;
    EXPECT_NE(status.message.find(test.expected), std::string::npos)
        << "expected '" << test.expected << "', got " << status.message;
  }
}

// Damage anywhere in a manifest: refused, or harmless.
TEST_F(Ranks, DamagedManifestsNeverCrash) {
  save({2, 2, true}, 1);
  std::string path = folder / "ck/step-00000001/manifest.json";
  const std::vector<uint8_t> good = readBytes(path);
  uint32_t state = 12345;
  auto next = [&] { return state = state * 1664525 + 1013904223; };
  int refused = 0;
  for (int round = 0; round < 1500; ++round) {
    std::vector<uint8_t> altered = good;
    uint8_t &byte = altered[(uint64_t(next()) * altered.size()) >> 32];
    byte = std::isdigit(byte) ? static_cast<uint8_t>('0' + (next() >> 24) % 10) : static_cast<uint8_t>(next() >> 24);
    writeBytes(path, altered);
    auto checkpoint = CheckpointReader::open(folder / "ck/step-00000001");
    bool isGood = checkpoint.ok();
    std::vector<uint8_t> scratch;
    for (const StoredTensors *tensors :
         {checkpoint.ok() ? &checkpoint->model() : nullptr, checkpoint.ok() ? &checkpoint->optimizer() : nullptr})
      if (tensors)
        for (const auto &[name, tensor] : *tensors)
          isGood &= checkpoint->readLogical(name, tensor, scratch).ok();
    refused += !isGood;
  }
  EXPECT_GT(refused, 300);
}

// Processes killed at any moment of saving leave a checkpoint that all ranks can use.
TEST_F(Ranks, KilledJobsLeaveACheckpoint) {
  save({2, 2, true}, 1);
  std::string path = plan({2, 2, true});
  for (int attempt = 0; attempt < 8; ++attempt) {
    pid_t child = ::fork();
    ASSERT_GE(child, 0);
    if (child == 0) {
      onRanks(path, [&](RankOfPlan &rank) {
        for (uint64_t step = 2; step < 1000; ++step) {
          fillState(rank, step);
          Manifest manifest;
          manifest.step = step;
          manifest.scalars = rank.state.scalars();
          (void)rank.state.save(folder / "ck", manifest);
        }
      });
      ::_exit(0);
    }
    ::usleep(4000 + attempt * 3100);
    ::kill(child, SIGKILL);
    ::waitpid(child, nullptr, 0);
    std::vector<uint64_t> steps = checkpointSteps(folder / "ck");
    ASSERT_FALSE(steps.empty());
    EXPECT_TRUE(restore({1, 2}, steps.front(), "killed").ok());
  }
  EXPECT_LE(checkpointSteps(folder / "ck").size(), 3u);
}

// Gradients come whole to one file: parts side by side, what is not reduced yet added up, divided by everybody's
// weight.
TEST_F(Ranks, GradientsAreGatheredAndAveraged) {
  for (const StateMesh &mesh : kMeshes) {
    std::string file = folder / "g.safetensors";
    onRanks(plan(mesh), [&](RankOfPlan &rank) {
      uint32_t number = rank.executor.rank(), place = number / mesh.tp;
      rank.executor.setScalar(static_cast<uint32_t>(rank.executor.program().weight()), 2);
      uint32_t sum = mesh.dp * (mesh.dp + 1) / 2; // of 1 + place
      for (const StateTensor &tensor : gradientLayout(rank.executor.plan())) {
        std::vector<float> logical(static_cast<size_t>(elementCount(tensor.shape)));
        for (size_t i = 0; i < logical.size(); ++i)
          logical[i] = static_cast<float>(i + 1) * static_cast<float>(mesh.zero ? sum : 1 + place);
        uint32_t buffer = 0;
        const HeldPart *part = tensor.partOf(number, buffer);
        toPart(tensor.view, tensor.shape, part->box, 4, logical.data(), rank.executor.data(buffer));
      }
      Status status = rank.state.saveGradients(file);
      EXPECT_TRUE(status.ok()) << status.message;
      EXPECT_EQ(rank.state.saveGradients(folder / "none/g.safetensors").code, StatusCode::BadInput) << "on all ranks";
    });
    auto written = SafetensorsFile::open(file);
    ASSERT_TRUE(written.ok()) << written.status().message;
    for (const char *name : {"embed", "qkv", "proj", "norm"}) {
      const TensorInfo *info = (*written)->find(name);
      ASSERT_TRUE(info) << name;
      const float *values = reinterpret_cast<const float *>((*written)->data(*info).data());
      for (int64_t i = 0; i < elementCount(info->shape); ++i)
        ASSERT_FLOAT_EQ(values[i], static_cast<float>((i + 1) * (mesh.dp + 1)) / 4) << mesh.text() << " " << name;
    }
  }
}

} // namespace
