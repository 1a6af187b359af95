//===- VersionsTest.cpp - operators that changed, in the form of each operator set ------===//
#include "GraphTest.h"
#include "frontends/onnx/Reader.h"
#include "frontends/onnx/Writer.h"
#include <cstring>
#include <fstream>
#include "mlir/Dialect/Func/IR/FuncOps.h"

namespace llmc::test {
namespace {

using ::testing::Test;
using Values = std::vector<double>;

class VersionsTest : public GraphTest {
protected:
  /// The elements of output y of one node on x, whose shape is that of `input`.
  Values of(int64_t opset, const std::string &nodeText, const HostTensor &input, const std::string &initializers = "", int type = 1) {
    std::vector<std::string> dims;
    for (int64_t extent : input.shape)
      dims.push_back(std::to_string(extent));
    return valuesOf(graphOf(opset, value("input", "x", type, dims) + value("output", "y", type, {}) + initializers + nodeText), {input});
  }
};

const HostTensor six = reals({2, 3}, {1, 2, 3, 4, 5, 6});

// Axes were an attribute before 13 (ReduceSum, Squeeze, Unsqueeze) and 18 (the other reductions).
TEST_F(VersionsTest, AxesOfReductions) {
  Values rows = {6, 15}, columns = {5, 7, 9};
  EXPECT_EQ(of(11, node("ReduceSum", {"x"}, {"y"}, attrInts("axes", {1})), six), rows);
  EXPECT_EQ(of(7, node("ReduceSum", {"x"}, {"y"}, attrInts("axes", {0}) + attr("keepdims", int64_t(0))), six), columns);
  EXPECT_EQ(of(13, node("ReduceSum", {"x", "a"}, {"y"}), six, ints("a", {1})), rows);
  EXPECT_EQ(of(17, node("ReduceMax", {"x"}, {"y"}, attrInts("axes", {1})), six), (Values{3, 6}));
  EXPECT_EQ(of(18, node("ReduceMax", {"x", "a"}, {"y"}), six, ints("a", {1})), (Values{3, 6}));
  EXPECT_EQ(of(17, node("ReduceMean", {"x"}, {"y"}), six), (Values{3.5}));
}

TEST_F(VersionsTest, SqueezeAndUnsqueeze) {
  std::string both = node("Unsqueeze", {"x"}, {"u"}, attrInts("axes", {0, 3})) + node("Squeeze", {"u"}, {"s"}, attrInts("axes", {0})) +
                     node("Shape", {"s"}, {"y"});
  EXPECT_EQ(of(12, both, six, "", 1), (Values{2, 3, 1}));
  std::string newer = node("Unsqueeze", {"x", "a"}, {"u"}) + node("Squeeze", {"u", "b"}, {"s"}) + node("Shape", {"s"}, {"y"});
  EXPECT_EQ(of(13, newer, six, ints("a", {0, 3}) + ints("b", {0})), (Values{2, 3, 1}));
}

// Before 13 Softmax was over all dimensions from `axis`, 1 by default, together.
TEST_F(VersionsTest, SoftmaxOverRows) {
  HostTensor x = reals({1, 2, 2}, {0, 0, 0, 0});
  EXPECT_EQ(of(12, node("Softmax", {"x"}, {"y"}), x), (Values{0.25, 0.25, 0.25, 0.25}));
  EXPECT_EQ(of(12, node("Softmax", {"x"}, {"y"}, attr("axis", int64_t(2))), x), (Values{0.5, 0.5, 0.5, 0.5}));
  EXPECT_EQ(of(13, node("Softmax", {"x"}, {"y"}), x), (Values{0.5, 0.5, 0.5, 0.5}));
  HostTensor y = reals({1, 2, 2}, {1, 2, 3, 0});
  EXPECT_EQ(of(12, node("Hardmax", {"x"}, {"y"}), y), (Values{0, 0, 1, 0}));
  EXPECT_EQ(of(13, node("Hardmax", {"x"}, {"y"}), y), (Values{0, 1, 1, 0}));
  Values logs = of(11, node("LogSoftmax", {"x"}, {"y"}, attr("axis", int64_t(0))), x);
  ASSERT_EQ(logs.size(), 4u);
  EXPECT_NEAR(logs[0], -1.3862944, 1e-6);
}

TEST_F(VersionsTest, BoundsOfClip) {
  EXPECT_EQ(of(10, node("Clip", {"x"}, {"y"}, attr("min", 2.0) + attr("max", 4.0)), six), (Values{2, 2, 3, 4, 4, 4}));
  EXPECT_EQ(of(7, node("Clip", {"x"}, {"y"}, attr("max", 4.0)), six), (Values{1, 2, 3, 4, 4, 4}));
  EXPECT_EQ(of(11, node("Clip", {"x", "", "h"}, {"y"}), six, floatsOf("h", {}, {4})), (Values{1, 2, 3, 4, 4, 4}));
}

TEST_F(VersionsTest, SliceAndPad) {
  std::string old = attrInts("starts", {1}) + attrInts("ends", {9}) + attrInts("axes", {1});
  EXPECT_EQ(of(9, node("Slice", {"x"}, {"y"}, old), six), (Values{2, 3, 5, 6}));
  EXPECT_EQ(of(10, node("Slice", {"x", "s", "e", "a"}, {"y"}), six, ints("s", {1}) + ints("e", {9}) + ints("a", {1})), (Values{2, 3, 5, 6}));
  std::string pads = attrInts("pads", {0, 1, 0, 0}) + attr("value", 7.0);
  EXPECT_EQ(of(10, node("Pad", {"x"}, {"y"}, pads), six), (Values{7, 1, 2, 3, 7, 4, 5, 6}));
  EXPECT_EQ(of(11, node("Pad", {"x", "p", "v"}, {"y"}), six, ints("p", {0, 1, 0, 0}) + floatsOf("v", {}, {7})),
            (Values{7, 1, 2, 3, 7, 4, 5, 6}));
}

TEST_F(VersionsTest, PadFromTheInput) {
  auto padded = [&](const std::string &mode) {
    return of(18, node("Pad", {"x", "p"}, {"y"}, attr("mode", llvm::StringRef(mode))), reals({1, 3}, {1, 2, 3}), ints("p", {0, 2, 0, 1}));
  };
  EXPECT_EQ(padded("reflect"), (Values{3, 2, 1, 2, 3, 2}));
  EXPECT_EQ(padded("edge"), (Values{1, 1, 1, 2, 3, 3}));
  EXPECT_EQ(padded("wrap"), (Values{2, 3, 1, 2, 3, 1}));
}

TEST_F(VersionsTest, SplitAndTopK) {
  std::string split = node("Split", {"x"}, {"p", "y"}, attrInts("split", {1, 2}) + attr("axis", int64_t(1)));
  EXPECT_EQ(of(11, split, six), (Values{2, 3, 5, 6}));
  EXPECT_EQ(of(13, node("Split", {"x", "s"}, {"p", "y"}, attr("axis", int64_t(1))), six, ints("s", {1, 2})), (Values{2, 3, 5, 6}));
  EXPECT_EQ(of(17, node("Split", {"x"}, {"p", "y"}), six), (Values{4, 5, 6}));
  EXPECT_EQ(of(9, node("TopK", {"x"}, {"y", "i"}, attr("k", int64_t(1))), six), (Values{3, 6}));
  EXPECT_EQ(of(10, node("TopK", {"x", "k"}, {"y", "i"}), six, ints("k", {1})), (Values{3, 6}));
}

TEST_F(VersionsTest, ScatterIsScatterElements) {
  std::string parts = ints("at", {0}) + floats("u", {1}, 9) + node("Scatter", {"x", "at", "u"}, {"y"});
  EXPECT_EQ(of(10, parts, reals({3}, {1, 2, 3})), (Values{9, 2, 3}));
}

// Before 12 a Dropout node has no mode of its own: a training step drops.
TEST_F(VersionsTest, OldDropoutDrops) {
  auto text = [&](int64_t opset, const std::string &drop) {
    auto read = onnx::readModel(model(graphOf(opset, value("input", "x", 1, {"2", "3"}) + value("output", "y", 1, {}) + drop)));
    EXPECT_TRUE(read.model) << textOf(read.problems);
    auto result = onnx::importModel(*read.model, options, &context);
    EXPECT_TRUE(result.module) << textOf(result.problems);
    std::string ir;
    llvm::raw_string_ostream os(ir);
    result.module->print(os);
    return ir;
  };
  EXPECT_NE(text(10, node("Dropout", {"x"}, {"y", "mask"}, attr("ratio", 0.25))).find("2.500000e-01"), std::string::npos);
  EXPECT_NE(text(7, node("Dropout", {"x"}, {"y"})).find("5.000000e-01"), std::string::npos);
  EXPECT_EQ(text(12, node("Dropout", {"x"}, {"y"})).find("nn.dropout"), std::string::npos);
}

// Before 14 BatchNormalization was in training mode if it had more than one output, used or not.
TEST_F(VersionsTest, BatchNormalizationMode) {
  std::string parts = floats("s", {3}, 2) + floats("b", {3}, 1) + floats("m", {3}, 1) + floats("v", {3}, 4);
  std::string one = parts + node("BatchNormalization", {"x", "s", "b", "m", "v"}, {"y"}, attr("epsilon", 0.0));
  EXPECT_EQ(of(9, one, six), (Values{1, 2, 3, 4, 5, 6}));
  EXPECT_EQ(of(7, one, six), (Values{1, 2, 3, 4, 5, 6}));
  auto graph = [&](int64_t opset, const std::string &nodeText) {
    return graphOf(opset, value("input", "x", 1, {"2", "3"}) + value("output", "y", 1, {}) + parts + nodeText);
  };
  std::string five = node("BatchNormalization", {"x", "s", "b", "m", "v"}, {"y", "m2", "v2", "sm", "sv"});
  auto read = onnx::readModel(model(graph(9, five)));
  ASSERT_TRUE(read.model);
  const onnx::NodeAttribute *mode = read.model->nodes[0].attribute("training_mode");
  ASSERT_NE(mode, nullptr);
  EXPECT_EQ(mode->i, 1);
  read = onnx::readModel(model(graph(14, five)));
  EXPECT_EQ(read.model->nodes[0].attribute("training_mode"), nullptr);
  std::string each = node("BatchNormalization", {"x", "s", "b", "m", "v"}, {"y"}, attr("spatial", int64_t(0)));
  EXPECT_NE(refusalOf(graph(7, each)).find("spatial=0"), std::string::npos);
}

// Newer sets allow more types; the forms are those of before.
TEST_F(VersionsTest, NewestSets) {
  for (int64_t opset : {24, 25, 26, 27}) {
    EXPECT_EQ(of(opset, node("Reshape", {"x", "s"}, {"r"}) + node("Transpose", {"r"}, {"y"}), six, ints("s", {3, 2})), (Values{1, 3, 5, 2, 4, 6}));
    EXPECT_EQ(of(opset, node("Unsqueeze", {"x", "a"}, {"u"}) + node("Flatten", {"u"}, {"y"}), six, ints("a", {0})), (Values{1, 2, 3, 4, 5, 6}));
  }
  Values swish = of(24, node("Swish", {"x"}, {"y"}, attr("alpha", 2.0)), reals({1}, {1}));
  ASSERT_EQ(swish.size(), 1u);
  EXPECT_NEAR(swish[0], 0.8807971, 1e-6);
}

// Before IR version 4 each initializer was also an input.
TEST_F(VersionsTest, InitializersAsInputs) {
  std::string graph = "ir_version: 3 opset_import { version: 8 } graph {" + value("input", "x", 1, {"2", "3"}) + value("input", "w", 1, {"3", "1"}) +
                      value("output", "y", 1, {}) + floats("w", {3, 1}, 1) + node("MatMul", {"x", "w"}, {"y"}) + "}";
  EXPECT_EQ(valuesOf(graph, {six}), (Values{6, 15}));
}

// A branch of If with a known condition stands in the node's place, with what it reads of the values around it.
TEST_F(VersionsTest, IfTakesTheKnownBranch) {
  auto graph = [&](const std::string &condition) {
    auto branch = [](const std::string &name, const std::string &op, double c) {
      return " attribute { name: \"" + name + "\" type: GRAPH g { name: \"b\" " + floatsOf("c", {}, {c}) + node(op, {"x", "c"}, {"r"}) +
             " output { name: \"r\" } } }";
    };
    return graphOf(16, value("input", "x", 1, {"2", "3"}) + value("output", "y", 1, {}) + ints("two", {2}) + ints("zero", {0}) +
                           node("Shape", {"x"}, {"shape"}) + node("Gather", {"shape", "zero"}, {"rows"}) + condition +
                           node("If", {"cond"}, {"y"}, branch("then_branch", "Add", 1) + branch("else_branch", "Mul", 2)));
  };
  EXPECT_EQ(valuesOf(graph(node("Equal", {"rows", "two"}, {"cond"})), {six}), (Values{2, 3, 4, 5, 6, 7}));
  EXPECT_EQ(valuesOf(graph(node("Greater", {"rows", "two"}, {"cond"})), {six}), (Values{2, 4, 6, 8, 10, 12}));
  std::string data = node("ReduceSum", {"x"}, {"sum"}, attr("keepdims", int64_t(0))) + node("Cast", {"sum"}, {"cond"}, attr("to", int64_t(9)));
  std::string refusal = refusalOf(graph(data));
  EXPECT_NE(refusal.find("If  1x  first at node_y  a condition that depends on data"), std::string::npos) << refusal;
}

// No altered byte of a model with branches, old forms and weights in nodes crashes reader or importer.
TEST_F(VersionsTest, Altered) {
  std::string branch = " attribute { name: \"then_branch\" type: GRAPH g { name: \"b\" " + node("Add", {"p", "p"}, {"r"}) + " output { name: \"r\" } } }";
  std::string path = model(graphOf(9, value("input", "x", 1, {"2", "3"}) + value("output", "y", 1, {}) +
                                          "node { op_type: \"Constant\" output: \"w\" attribute { name: \"value\" type: TENSOR t { data_type: 1 dims: 3 "
                                          "float_data: 1 float_data: 2 float_data: 3 } } }\n" +
                                          "initializer { name: \"yes\" data_type: 9 int32_data: 1 }\n" + node("Mul", {"x", "w"}, {"m"}) +
                                          node("Pad", {"m"}, {"p"}, attrInts("pads", {0, 1, 0, 0}) + attr("value", 7.0)) +
                                          node("If", {"yes"}, {"i"}, branch) + node("Slice", {"i"}, {"s"}, attrInts("starts", {1}) + attrInts("ends", {2})) +
                                          node("Squeeze", {"s"}, {"y"}, attrInts("axes", {0}))));
  std::ifstream in(path, std::ios::binary);
  std::string bytes((std::istreambuf_iterator<char>(in)), {});
  for (size_t i = 0; i < bytes.size(); ++i) {
    std::string altered = bytes;
    altered[i] = static_cast<char>(altered[i] ^ (1 << (i % 8)));
    auto read = onnx::readModel(write("altered.onnx", altered));
    if (!read.model)
      continue;
    auto result = onnx::importModel(*read.model, options, &context);
    EXPECT_TRUE(result.module || !result.problems.empty()) << i;
  }
}

// Some writers keep all weights in Constant nodes: they are initializers, trained and written back.
TEST_F(VersionsTest, WeightsInConstantNodes) {
  auto constant = [](const std::string &name, const std::string &numbers) {
    return "node { op_type: \"Constant\" output: \"" + name + "\" attribute { name: \"value\" type: TENSOR t { data_type: 1 " + numbers + " } } }\n";
  };
  std::string parts = value("input", "x", 1, {"2", "3"}) + value("output", "y", 1, {}) +
                      constant("w", "dims: 3 dims: 1 raw_data: \"\\000\\000\\200\\077\\000\\000\\000\\100\\000\\000\\200\\077\"") + constant("c", "float_data: 2") +
                      node("MatMul", {"x", "w"}, {"m"}) + node("Mul", {"m", "c"}, {"y"});
  EXPECT_EQ(valuesOf(graphOf(12, parts), {six}), (Values{16, 40}));
  auto read = onnx::readModel(model(graphOf(12, parts)));
  ASSERT_TRUE(read.model);
  const onnx::Tensor *weight = read.model->initializer("w");
  ASSERT_NE(weight, nullptr);
  EXPECT_TRUE(weight->source) << "the values are read from the file when training starts";
  EXPECT_EQ(read.model->initializer("c"), nullptr);
  std::vector<float> values = {3, 3, 3};
  auto written = onnx::rewriteModel(*read.model, {{"w", {reinterpret_cast<const char *>(values.data()), 12}}}, {});
  ASSERT_TRUE(written.model) << textOf(written.problems);
  auto again = onnx::readModel(write("again.onnx", written.model->file));
  ASSERT_TRUE(again.model) << textOf(again.problems);
  EXPECT_EQ(std::memcmp(again.model->initializer("w")->data.data(), values.data(), 12), 0);
  // Beside real initializers a Constant node stays what it says.
  read = onnx::readModel(model(graphOf(12, parts + floats("other", {2}, 1))));
  EXPECT_EQ(read.model->initializer("w"), nullptr);
}

// Open dimensions without a name are bound as INPUT.INDEX; -1 and "?" are open too.
TEST_F(VersionsTest, OpenDimensionsWithoutName) {
  auto graph = [](const std::string &dim) {
    return graphOf(11, "input { name: \"x\" type { tensor_type { elem_type: 1 shape { dim { dim_value: 2 } dim { " + dim + " } } } } }\n" +
                           value("output", "y", 1, {}) + node("Relu", {"x"}, {"y"}));
  };
  options.recipe.shapes = {{"x.1", 3}};
  for (const char *dim : {"", "dim_value: -1", "dim_param: \"?\""})
    EXPECT_EQ(valuesOf(graph(dim), {six}).size(), 6u) << dim;
  EXPECT_NE(refusalOf(graph("dim_value: -2")).find("a dimension of input `x` is out of range"), std::string::npos);
}

// A graph inside a graph inside a function: each level reads the levels around it.
TEST_F(VersionsTest, IfInsideIfInsideAFunction) {
  std::string inner = node("If", {"t"}, {"q"},
                           " attribute { name: \"then_branch\" type: GRAPH g { name: \"i\" " + node("Add", {"a", "r"}, {"z"}) +
                               " output { name: \"z\" } } } attribute { name: \"else_branch\" type: GRAPH g { name: \"e\" " +
                               node("Sub", {"a", "r"}, {"z"}) + " output { name: \"z\" } } }");
  std::string outer = node("If", {"t"}, {"o"},
                           " attribute { name: \"then_branch\" type: GRAPH g { name: \"j\" " + node("Add", {"a", "a"}, {"r"}) + inner +
                               " output { name: \"q\" } } } attribute { name: \"else_branch\" type: GRAPH g { name: \"k\" " +
                               node("Identity", {"a"}, {"w"}) + " output { name: \"w\" } } }");
  std::string text = "opset_import { version: 18 } opset_import { domain: \"f\" version: 1 } functions { name: \"F\" domain: \"f\" input: \"a\" "
                     "input: \"t\" output: \"o\" opset_import { version: 18 } " +
                     outer + "} graph {" + value("input", "x", 1, {"2", "3"}) + value("output", "y", 1, {}) +
                     "initializer { name: \"yes\" data_type: 9 int32_data: 1 }\n" + node("F", {"x", "yes"}, {"p"}, "domain: \"f\"") +
                     node("F", {"p", "yes"}, {"y"}, "domain: \"f\"") + "}";
  EXPECT_EQ(valuesOf(text, {six}), (Values{9, 18, 27, 36, 45, 54}));
}

} // namespace
} // namespace llmc::test
