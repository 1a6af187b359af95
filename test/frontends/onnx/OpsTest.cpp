//===- OpsTest.cpp - operators whose import takes more than one op: values of small graphs ------===//
#include "GraphTest.h"
#include "frontends/onnx/Reader.h"

namespace llmc::test {
namespace {

using Values = std::vector<double>;

class OpsTest : public GraphTest {
protected:
  /// The elements of output y; inputs are x (reals or int64 by the tensor) and, if there are more, x1, x2.
  Values of(const std::string &parts, const std::vector<HostTensor> &inputs, int64_t opset = 18) {
    std::string text;
    for (auto [i, tensor] : llvm::enumerate(inputs)) {
      std::vector<std::string> dims;
      for (int64_t extent : tensor.shape)
        dims.push_back(std::to_string(extent));
      text += value("input", i == 0 ? "x" : "x" + std::to_string(i), tensor.isReal ? 1 : 7, dims);
    }
    return valuesOf(graphOf(opset, text + value("output", "y", 1, {}) + parts), inputs);
  }
};

// Rows at constant places, the last of equal ones stays; negative indices count from the end.
TEST_F(OpsTest, ScatterOverwrites) {
  std::string updates = floatsOf("u", {3, 2}, {1, 2, 3, 4, 5, 6});
  auto at = [](std::vector<int64_t> values) { // [3, 1]
    std::string text = "initializer { name: \"at\" data_type: 7 dims: 3 dims: 1";
    for (int64_t v : values)
      text += " int64_data: " + std::to_string(v);
    return text + " }\n";
  };
  std::string rows = updates + node("ScatterND", {"x", "at", "u"}, {"y"});
  HostTensor zeros = reals({4, 2}, {9, 9, 9, 9, 9, 9, 9, 9});
  EXPECT_EQ(of(rows + at({2, 0, 2}), {zeros}), (Values{3, 4, 9, 9, 5, 6, 9, 9}));
  EXPECT_EQ(of(rows + at({-1, 0, 1}), {zeros}), (Values{3, 4, 5, 6, 9, 9, 1, 2}));
  EXPECT_EQ(of(rows + at({1, 2, 3}), {zeros}), (Values{9, 9, 1, 2, 3, 4, 5, 6}));
}

TEST_F(OpsTest, ScatterAtPlacesFromData) {
  HostTensor data = reals({2, 3}, {1, 2, 3, 4, 5, 6}), at = integers({2, 2}, {0, 2, 1, -2});
  std::string parts = floatsOf("u", {2, 2}, {10, 20, 30, 40}) + node("ScatterElements", {"x", "x1", "u"}, {"y"}, attr("axis", int64_t(1)));
  EXPECT_EQ(of(parts, {data, at}), (Values{10, 2, 20, 4, 40, 6}));
  // Fewer rows of indices than of data: the rest stays. Integers stay integers.
  std::string whole = "initializer { name: \"u\" data_type: 7 dims: 1 dims: 1 int64_data: 9007199254740993 }\n" +
                      node("ScatterElements", {"x", "x1", "u"}, {"s"}, attr("axis", int64_t(1))) + node("Sub", {"s", "one"}, {"y"}) + ints("one", {1});
  EXPECT_EQ(of(whole, {integers({2, 2}, {1, 2, 3, 4}), integers({1, 1}, {1})}), (Values{0, 9007199254740992.0, 2, 3}));
  std::string rows = floatsOf("u", {2, 3}, {7, 7, 7, 8, 8, 8}) + node("ScatterND", {"x", "x1", "u"}, {"y"});
  EXPECT_EQ(of(rows, {data, integers({2, 1}, {1, 1})}), (Values{1, 2, 3, 8, 8, 8}));
}

TEST_F(OpsTest, ConstantsOfAShape) {
  auto filled = [](const std::string &tensor, std::vector<int64_t> shape) {
    return ints("shape", shape) + node("ConstantOfShape", {"shape"}, {"c"}, " attribute { name: \"value\" type: TENSOR t { " + tensor + " } }") + node("Add", {"x", "c"}, {"y"});
  };
  EXPECT_EQ(of(filled("data_type: 1 dims: 1 float_data: 2.5", {2}), {reals({2}, {1, 2})}), (Values{3.5, 4.5}));
  EXPECT_EQ(of(filled("data_type: 7 dims: 1 int64_data: -3", {2}), {integers({2}, {1, 2})}), (Values{-2, -1}));
  EXPECT_EQ(of(ints("shape", {2}) + node("ConstantOfShape", {"shape"}, {"c"}) + node("Add", {"x", "c"}, {"y"}), {reals({2}, {1, 2})}), (Values{1, 2})); // zeros
  auto refusal = [&](const std::string &tensor, std::vector<int64_t> shape) {
    return refusalOf(graphOf(18, value("input", "x", 1, {"2"}) + value("output", "y", 1, {}) + filled(tensor, shape)));
  };
  for (const char *tensor : {"data_type: 8 dims: 1 string_data: \"a\"", "data_type: 1 dims: 2 float_data: 1 float_data: 2"})
    EXPECT_NE(refusal(tensor, {2}).find("the value must be one number"), std::string::npos) << refusal(tensor, {2});
  for (std::vector<int64_t> shape : {std::vector<int64_t>{-1}, {int64_t(1) << 21, int64_t(1) << 20}, {int64_t(1) << 62, 4}})
    EXPECT_NE(refusal("data_type: 1 dims: 1 float_data: 1", shape).find("the shape is not valid"), std::string::npos) << shape[0];
}

// Integers to a constant power are products, exact beyond what a double holds; others are refused.
TEST_F(OpsTest, PowersOfIntegers) {
  auto power = [](const std::string &exponent) { return node("Pow", {"x", "e"}, {"p"}) + node("Cast", {"p"}, {"y"}, attr("to", int64_t(7))) + exponent; };
  auto integer = [](int64_t e) { return "initializer { name: \"e\" data_type: 7 int64_data: " + std::to_string(e) + " }\n"; };
  HostTensor bases = integers({4}, {-2, 0, 3, 1});
  EXPECT_EQ(of(power(integer(0)), {bases}), (Values{1, 1, 1, 1}));
  EXPECT_EQ(of(power(integer(1)), {bases}), (Values{-2, 0, 3, 1}));
  EXPECT_EQ(of(power(integer(3)), {bases}), (Values{-8, 0, 27, 1}));
  EXPECT_EQ(of(power(integer(16)), {bases}), (Values{65536, 0, 43046721, 1}));
  std::string difference = node("Pow", {"x", "e"}, {"p"}) + node("Sub", {"p", "base"}, {"y"}) + integer(2) + "initializer { name: \"base\" data_type: 7 int64_data: 9007199254740992 }\n";
  EXPECT_EQ(of(difference, {integers({1}, {94906267})}), Values{261134297});
  auto refusal = [&](int64_t e) { return refusalOf(graphOf(18, value("input", "x", 7, {"4"}) + value("output", "y", 1, {}) + power(integer(e)))); };
  EXPECT_EQ(refusal(16), "");
  EXPECT_NE(refusal(17).find("a power of integers"), std::string::npos) << refusal(17);
  EXPECT_NE(refusal(-1).find("a power of integers"), std::string::npos) << refusal(-1);
}

// x[arange(b), i, ...] of PyTorch: tuples that begin with their row.
TEST_F(OpsTest, GatherInRows) {
  HostTensor data = reals({3, 2, 2}, {0, 1, 10, 11, 100, 101, 110, 111, 200, 201, 210, 211});
  std::string rows = "initializer { name: \"rows\" data_type: 7 dims: 3 dims: 1 int64_data: 0 int64_data: 1 int64_data: 2 }\n";
  std::string other = "initializer { name: \"rows\" data_type: 7 dims: 3 dims: 1 int64_data: 0 int64_data: 2 int64_data: 2 }\n";
  std::string one = node("Concat", {"rows", "x1"}, {"at"}, attr("axis", int64_t(1))) + node("GatherND", {"x", "at"}, {"y"});
  EXPECT_EQ(of(rows + one, {data, integers({3, 1}, {1, 0, 1})}), (Values{10, 11, 100, 101, 210, 211}));
  EXPECT_EQ(of(rows + one, {data, integers({3, 2}, {1, 0, 0, 1, -1, 1})}), (Values{10, 101, 211}));
  EXPECT_EQ(of(other + one, {data, integers({3, 2}, {1, 0, 0, 1, 1, 1})}), (Values{10, 201, 211})); // not each its own
}

TEST_F(OpsTest, ScatterRefusals) {
  auto graph = [](const std::string &nodeText, const std::string &count) {
    return graphOf(18, value("input", "x", 1, {"100"}) + value("input", "at", 7, {count}) + value("input", "u", 1, {count}) + value("output", "y", 1, {}) + nodeText);
  };
  std::string many = refusalOf(graph(node("ScatterElements", {"x", "at", "u"}, {"y"}), "65"));
  EXPECT_NE(many.find("ScatterElements  1x  first at node_y  more than 64 indices that may repeat"), std::string::npos) << many;
  std::string product = refusalOf(graph(node("ScatterElements", {"x", "at", "u"}, {"y"}, attr("reduction", llvm::StringRef("mul"))), "3"));
  EXPECT_NE(product.find("first at node_y  reduction mul"), std::string::npos) << product;
}

TEST_F(OpsTest, PositionsOfExtremes) {
  HostTensor x = integers({2, 4}, {3, 9007199254740993, 9007199254740992, 9007199254740993, -1, -1, -5, -5});
  EXPECT_EQ(of(node("ArgMax", {"x"}, {"y"}, attr("axis", int64_t(1)) + attr("keepdims", int64_t(0))), {x}), (Values{1, 0}));
  EXPECT_EQ(of(node("ArgMax", {"x"}, {"y"}, attr("axis", int64_t(-1)) + attr("select_last_index", int64_t(1))), {x}), (Values{3, 1}));
  EXPECT_EQ(of(node("ArgMin", {"x"}, {"y"}, attr("axis", int64_t(1))), {x}), (Values{0, 2}));
  EXPECT_EQ(of(node("ArgMin", {"x"}, {"y"}, attr("axis", int64_t(0)) + attr("keepdims", int64_t(0))), {x}), (Values{1, 1, 1, 1}));
  HostTensor real = reals({3}, {2, 7, 7});
  EXPECT_EQ(of(node("ArgMax", {"x"}, {"y"}), {real}), (Values{1}));
  EXPECT_EQ(of(node("ArgMax", {"x"}, {"y"}, attr("select_last_index", int64_t(1))), {real}), (Values{2}));
  EXPECT_EQ(of(node("Hardmax", {"x"}, {"y"}), {real}), (Values{0, 1, 0}));
}

TEST_F(OpsTest, RunningSumsOfIntegers) {
  HostTensor x = integers({2, 5}, {1, 2, 3, 4, 5, 9007199254740993, 0, 0, -1, 0});
  std::string axis = ints("axis", {1});
  EXPECT_EQ(of(axis + node("CumSum", {"x", "axis"}, {"s"}) + node("Sub", {"s", "big"}, {"y"}) + ints("big", {0}), {integers({1, 5}, {1, 2, 3, 4, 5})}),
            (Values{1, 3, 6, 10, 15}));
  EXPECT_EQ(of(axis + node("CumSum", {"x", "axis"}, {"y"}, attr("exclusive", int64_t(1))), {integers({1, 3}, {4, 2, 1})}), (Values{0, 4, 6}));
  EXPECT_EQ(of(axis + node("CumSum", {"x", "axis"}, {"y"}, attr("reverse", int64_t(1))), {integers({1, 3}, {4, 2, 1})}), (Values{7, 3, 1}));
  HostTensor out = outputOf(graphOf(18, value("input", "x", 7, {"2", "5"}) + value("output", "y", 7, {}) + axis + node("CumSum", {"x", "axis"}, {"y"})), {x});
  EXPECT_EQ(out.integers, (std::vector<int64_t>{1, 3, 6, 10, 15, 9007199254740993, 9007199254740993, 9007199254740993, 9007199254740992, 9007199254740992}));
  EXPECT_EQ(of(axis + node("CumProd", {"x", "axis"}, {"y"}), {reals({1, 4}, {1, 2, 3, 4})}, 26), (Values{1, 2, 6, 24}));
}

// A past comes before the keys; causal queries see it; a soft cap bends scores before the mask.
TEST_F(OpsTest, AttentionForms) {
  HostTensor q = reals({1, 1, 2, 1}, {1, 1}), k = reals({1, 1, 2, 1}, {0, 0}), v = reals({1, 1, 2, 1}, {1, 3});
  std::string past = floatsOf("pk", {1, 1, 1, 1}, {0}) + floatsOf("pv", {1, 1, 1, 1}, {5});
  EXPECT_EQ(of(past + node("Attention", {"x", "x1", "x2", "", "pk", "pv"}, {"y", "a", "b"}, attr("is_causal", int64_t(1))), {q, k, v}, 23), (Values{3, 3}));
  std::string causal = node("Attention", {"x", "x1", "x2"}, {"y"}, attr("is_causal", int64_t(1)));
  EXPECT_EQ(of(causal, {reals({1, 1, 1, 1}, {1}), k, v}, 23), (Values{1}));
  Values capped = of(node("Attention", {"x", "x1", "x2"}, {"y"}, attr("softcap", 1.0) + attr("scale", 1.0)),
                     {reals({1, 1, 1, 1}, {1}), reals({1, 1, 2, 1}, {0, 100}), reals({1, 1, 2, 1}, {0, 1})}, 23);
  ASSERT_EQ(capped.size(), 1u);
  EXPECT_NEAR(capped[0], 0.7310586, 1e-6); // 1 / (1 + exp(-tanh(100)))
}

// A mask that a parameter flows into needs a gradient, which the fused form does not give.
TEST_F(OpsTest, TrainedMaskStaysApart) {
  auto text = [&](const std::string &mask) {
    auto read = onnx::readModel(model(graphOf(23, value("input", "q", 1, {"1", "1", "2", "1"}) + value("input", "m", 1, {"2", "2"}) + value("output", "y", 1, {}) +
                                                      floatsOf("w", {2, 2}, {.1, .2, .3, .4}) + kind("w", "PARAMETER") + node("Tanh", {"w"}, {"t"}) +
                                                      node("Attention", {"q", "q", "q", mask}, {"y"}))));
    EXPECT_TRUE(read.model) << textOf(read.problems);
    auto result = onnx::importModel(*read.model, options, &context);
    EXPECT_TRUE(result.module) << textOf(result.problems);
    std::string ir;
    llvm::raw_string_ostream os(ir);
    if (result.module)
      result.module->print(os);
    return ir;
  };
  EXPECT_EQ(text("t").find("nn.attention"), std::string::npos);
  EXPECT_NE(text("m").find("nn.attention"), std::string::npos);
}

TEST_F(OpsTest, BooleansReduce) {
  std::string parts = node("Greater", {"x", "half"}, {"b"}) + floats("half", {}, 0.5) + ints("axes", {1});
  HostTensor x = reals({2, 2}, {1, 0, 0, 0});
  auto cast = [](const std::string &from) { return node("Cast", {from}, {"y"}, attr("to", int64_t(7))); };
  EXPECT_EQ(of(parts + node("ReduceMax", {"b", "axes"}, {"r"}) + cast("r"), {x}, 20), (Values{1, 0}));
  EXPECT_EQ(of(parts + node("ReduceMin", {"b", "axes"}, {"r"}) + cast("r"), {x}, 20), (Values{0, 0}));
}

} // namespace
} // namespace llmc::test
