//===- ShardingsTest.cpp - the model's own shardings, in axes of a mesh ------===//
#include "frontends/onnx/devices/Shardings.h"
#include "TextModel.h"
#include "frontends/onnx/Reader.h"

namespace llmc::test {
namespace {

using onnx::ShardingSpec;
using train::ModelSharding;

/// y = f(x, w) with one sharding on the node.
class ShardingsTest : public testing::Test {
protected:
  ShardingsTest() {
    model.file = "model.onnx";
    model.configurations = {{"c", 4, 0}};
    model.inputs.push_back({"x", onnx::DType::Float, true, true, {{8, ""}, {6, ""}}});
    onnx::Node node;
    node.name = "mul";
    node.inputs = {"x", "w", "k"};
    node.outputs = {"y"};
    node.devices = {{"c", {}, false, ""}};
    model.nodes = {node};
    roles.kinds["w"] = onnx::Kind::Parameter;
    for (const char *name : {"x", "w", "k", "y"})
      shapes[name] = {8, 6};
    recipe.onnxSharding = "c";
    recipe.mesh = {{"dp", 2}, {"tp", 2}};
  }

  onnx::ShardingsResult read(std::vector<ShardingSpec> specs) {
    model.nodes[0].devices[0].specs = std::move(specs);
    return onnx::readShardings(model, recipe, roles, shapes);
  }

  /// "dp; tp/2" of the axes of each dimension, "dp,tp" of several, "1|tp" of factors; or the problem.
  std::string cutsOf(const ShardingSpec &spec) {
    onnx::ShardingsResult result = read({spec});
    if (!result.problems.empty())
      return textOf(result.problems);
    std::string text;
    for (const auto &factors : result.shardings.at(0).dims) {
      text += text.empty() ? "[" : "; ";
      for (const ModelSharding::Factor &factor : factors) {
        text += &factor == &factors.front() ? "" : "|";
        for (const ModelSharding::Axis &axis : factor.axes)
          text += (&axis == &factor.axes.front() ? "" : ",") + axis.name + "/" + std::to_string(axis.parts);
      }
    }
    return text + "]";
  }

  static ShardingSpec spec(std::vector<int64_t> devices, std::vector<std::pair<int64_t, int64_t>> axes, const char *tensor = "w") {
    ShardingSpec spec;
    spec.tensor = tensor;
    spec.devices = std::move(devices);
    for (auto [axis, shards] : axes)
      spec.dims.push_back({axis, {{std::nullopt, shards}}});
    return spec;
  }

  onnx::Model model;
  onnx::Roles roles;
  onnx::Shapes shapes;
  train::Recipe recipe;
};

TEST_F(ShardingsTest, DevicesAreRanksOfTheMesh) {
  EXPECT_EQ(cutsOf(spec({}, {})), "[; ]");
  EXPECT_EQ(cutsOf(spec({3, 1, 2, 0}, {})), "[; ]"); // all hold the whole
  EXPECT_EQ(cutsOf(spec({0, 1, 2, 3}, {{0, 2}, {1, 2}})), "[dp/2; tp/2]");
  EXPECT_EQ(cutsOf(spec({0, 1, 2, 3}, {{-1, 2}, {-2, 2}})), "[tp/2; dp/2]"); // shards are numbered in the order of the list
  EXPECT_EQ(cutsOf(spec({0, 2, 1, 3}, {{0, 2}, {1, 2}})), "[tp/2; dp/2]");
  EXPECT_EQ(cutsOf(spec({0, 1, 2, 3}, {{0, 4}})), "[dp/2,tp/2; ]");
  EXPECT_EQ(cutsOf(spec({0, 2, 1, 3}, {{0, 4}})), "[tp/2,dp/2; ]");
  recipe.mesh = {{"tp", 4}};
  EXPECT_EQ(cutsOf(spec({0, 1, 2, 3}, {{0, 4}})), "[tp/4; ]");
}

TEST_F(ShardingsTest, GroupsHoldTheSame) {
  auto grouped = [](std::vector<int64_t> first, std::vector<int64_t> second) {
    ShardingSpec result = spec({-1, 7}, {{1, 2}});
    result.groups = {{-1, std::move(first)}, {7, std::move(second)}};
    return result;
  };
  EXPECT_EQ(cutsOf(grouped({0, 1}, {2, 3})), "[; dp/2]");
  EXPECT_EQ(cutsOf(grouped({2, 0}, {1, 3})), "[; tp/2]");
  EXPECT_NE(cutsOf(grouped({0, 3}, {1, 2})).find("shards of axis 1 on devices [[0, 3], [1, 2]] are no places of axes of the mesh (dp 2 x tp 2) [mul]"),
            std::string::npos);
  recipe.mesh = {{"tp", 4}}; // over the major half of an axis
  EXPECT_EQ(cutsOf(grouped({0, 1}, {2, 3})), "[; tp/2]");
}

TEST_F(ShardingsTest, FusedDimensionsHaveFactors) {
  ShardingSpec fused = spec({0, 1, 2, 3}, {{0, 2}});
  fused.dims.push_back({1, {{3, 1}, {2, 2}}});
  EXPECT_EQ(cutsOf(fused), "[dp/2; |tp/2]");
}

TEST_F(ShardingsTest, MistakesAreNamed) {
  auto expectError = [&](const ShardingSpec &each, const char *part) {
    std::string text = cutsOf(each);
    EXPECT_NE(text.find(part), std::string::npos) << text;
    EXPECT_NE(text.find("[mul]"), std::string::npos) << text;
  };
  expectError(spec({0, 1, 2, 3}, {{2, 4}}), "axis 2 is outside a tensor of rank 2");
  expectError(spec({0, 1, 2, 3}, {{-3, 4}}), "axis -3 is outside a tensor of rank 2");
  expectError(spec({0, 1, 2, 3}, {{0, 2}, {-2, 2}}), "axis 0 stands twice");
  expectError(spec({0, 1}, {{0, 4}}), "2 devices or groups are given for 4 shards");
  expectError(spec({0, 1}, {{0, 2}}), "only 2 of the 4 devices hold a part: [0, 1]");
  expectError(spec({0, 1, 2, 4}, {{0, 4}}), "device 4 is out of range");
  expectError(spec({0, 1, 2, -1}, {{0, 4}}), "device -1 is out of range");
  expectError(spec({0, 1, 2, 2}, {{0, 4}}), "device 2 stands twice");
  expectError(spec({0, 1, 2, 3}, {{0, 0}}), "axis 0 is cut into 0 shards");
  expectError(spec({0, 1, 2, 3}, {{0, 9}}), "axis 0 is cut into 9 shards, of size 8");
  expectError(spec({0, 1, 2, 3}, {{0, 4}, {1, 2}}), "more shards than the 4 devices");
  expectError(spec({}, {}, "other"), "tensor `other`, which is neither input nor output");
  ShardingSpec wrong = spec({0, 1, 2, 3}, {});
  wrong.dims = {{0, {{int64_t(1) << 62, 2}, {int64_t(1) << 62, 2}}}};
  expectError(wrong, "more shards than the 4 devices");
  wrong.dims = {{0, {{3, 2}, {3, 2}}}};
  expectError(wrong, "axis 0 has size 8, its `simple_sharding` makes 9");
  wrong.dims = {{std::nullopt, {}}};
  expectError(wrong, "names no axis");
  wrong.dims = {{0, {}}};
  expectError(wrong, "axis 0 has no `simple_sharding`");
  wrong = spec({1}, {});
  wrong.groups = {{1, {0, 1}}, {1, {2, 3}}};
  expectError(wrong, "group 1 is defined twice");
}

TEST_F(ShardingsTest, ConfigurationMustFit) {
  auto problems = [&] { return textOf(read({}).problems); };
  EXPECT_EQ(problems(), "");
  recipe.mesh = {{"dp", 2}};
  EXPECT_NE(problems().find("configuration `c` has 4 devices, the mesh (dp 2) has 2 ranks"), std::string::npos);
  recipe.mesh = {{"dp", int64_t(1) << 40}, {"tp", int64_t(1) << 40}};
  EXPECT_NE(problems().find("too many ranks"), std::string::npos);
  recipe.mesh = {{"dp", 2}, {"tp", 2}};
  model.nodes[0].devices[0].hasStage = true;
  EXPECT_NE(problems().find("configuration `c` has pipeline stages, which are not supported yet [mul]"), std::string::npos);
  model.nodes[0].devices[0] = {"d", {}, false, ""};
  EXPECT_NE(problems().find("`d` is no configuration of the model [mul]"), std::string::npos);
  recipe.onnxSharding = "e";
  EXPECT_NE(problems().find("`onnx_sharding: e` names no configuration of the model"), std::string::npos);
}

// All of them at once; constants and tensors that are not there are said, not refused.
TEST_F(ShardingsTest, EachTensorHasOne) {
  onnx::ShardingsResult result = read({spec({0, 1, 2, 3}, {{5, 4}}), spec({0, 1}, {{0, 2}}, "y")});
  EXPECT_EQ(result.problems.size(), 2u);
  shapes.erase("y");
  result = read({spec({0, 1, 2, 3}, {{0, 4}}, "k"), spec({0, 1, 2, 3}, {{0, 4}}, "y"), spec({0, 1, 2, 3}, {{0, 4}}, "x")});
  EXPECT_TRUE(result.problems.empty());
  ASSERT_EQ(result.notes.size(), 2u);
  EXPECT_EQ(result.notes[0], "`onnx_sharding`: 1 tensor that the model cuts are whole on every rank, being constants: k (mul)");
  ASSERT_EQ(result.shardings.size(), 1u);
  EXPECT_EQ(result.shardings[0].kind, ModelSharding::Input);
  result = read({spec({0, 1, 2, 3}, {{0, 4}}), spec({0, 2, 1, 3}, {{0, 4}})});
  expectOne(result.problems, "tensor `w` is cut in two ways");
}

class ShardingFieldsTest : public TempFolder {};

// A call of a function is gone after reading, and names inside are new ones.
TEST_F(ShardingFieldsTest, SurviveInlining) {
  std::string path = model(R"(
    configuration { name: "c" num_devices: 2 }
    graph {
      node { op_type: "F" domain: "own" name: "call" input: "x" output: "y"
             device_configurations { configuration_id: "c" sharding_spec { tensor_name: "y" device: 0 device: 1 sharded_dim { axis: -1 simple_sharding { dim_value: 2 num_shards: 2 } } } } }
      input { name: "x" type { tensor_type { elem_type: 1 shape { dim { dim_value: 2 } } } } }
      output { name: "y" type { tensor_type { elem_type: 1 shape { dim { dim_value: 2 } } } } }
    }
    opset_import { version: 18 } opset_import { domain: "own" version: 1 }
    functions { name: "F" domain: "own" input: "a" output: "b" opset_import { version: 18 }
      node { op_type: "Relu" name: "r" input: "a" output: "t"
             device_configurations { configuration_id: "c" sharding_spec { tensor_name: "t" device: 0 device: 1 sharded_dim { axis: 0 simple_sharding { num_shards: 2 } } } } }
      node { op_type: "Relu" name: "s" input: "t" output: "b" } })");
  auto read = onnx::readModel(path);
  ASSERT_TRUE(read.model) << textOf(read.problems);
  const onnx::Node &node = read.model->nodes.at(0);
  ASSERT_EQ(node.devices.size(), 2u);
  EXPECT_EQ(node.devices[0].specs[0].tensor, "call/t");
  EXPECT_EQ(node.devices[1].specs[0].tensor, "y");
  EXPECT_EQ(node.devices[1].call, "call");
  onnx::Shapes shapes;
  for (const char *name : {"x", "y", "call/t"})
    shapes[name] = {2};
  train::Recipe recipe;
  recipe.onnxSharding = "c";
  recipe.mesh = {{"tp", 2}};
  onnx::ShardingsResult result = onnx::readShardings(*read.model, recipe, {}, shapes);
  EXPECT_TRUE(result.problems.empty()) << textOf(result.problems);
  EXPECT_EQ(result.shardings.size(), 2u);
}

} // namespace
} // namespace llmc::test
