//===- RefusalsTest.cpp - files, recipes and losses that are refused, each beside one that is taken ------===//
#include "GraphTest.h"
#include "compiler/reference/Interpreter.h"
#include "frontends/onnx/Constants.h"
#include "frontends/onnx/Reader.h"
#include <cmath>

namespace llmc::test {
namespace {

using train::DataSource;
using train::Loss;

class RefusalsTest : public GraphTest {
protected:
  /// The graph with inputs x [4, 6] and y = `parts` of it.
  std::string graph(const std::string &parts, const std::string &input = value("input", "x", 1, {"4", "6"})) { return graphOf(18, input + value("output", "y", 1, {}) + parts); }
  void expect(const std::string &taken, const std::string &refused, const char *part) {
    EXPECT_EQ(refusalOf(taken), "") << taken;
    std::string text = refusalOf(refused);
    EXPECT_NE(text.find(part), std::string::npos) << refused << text << "lacks: " << part;
  }
};

TEST_F(RefusalsTest, Graphs) {
  std::string neg = node("Neg", {"x"}, {"y"}), good = graph(neg);
  expect(good, graph(neg, value("input", "x", 8, {"4"})), "input `x` has type string, which is not supported");
  expect(good, graph(neg, value("input", "x", 8, {"4"})), "use float32, int64, int32 or bool");
  expect(graph(neg, value("input", "x", 1, {"1048576", "67108864"})), graph(neg, value("input", "x", 1, {"1048576", "67108865"})), "input `x` is empty or too large");
  expect(good, graph(node("Nothing", {"x"}, {"y"})), "`llmc check` lists all operators");
  expect(good, graph(node("Neg", {"x"}, {"y"}, "domain: \"com.other\"")), "not an operator of the ONNX standard");
  std::string half = "initializer { name: \"w\" data_type: 10 dims: 6 raw_data: \"123456123456\" }\n";
  expect(graph(floats("w", {6}, 1) + node("Add", {"x", "w"}, {"y"})), graph(half + node("Add", {"x", "w"}, {"y"})), "the model computes in float16 (1 tensors), which needs `precision: fp16`, not supported yet");
  expect(good, graph(half + neg), "export the model in float32 (model.float())");
  expect(graph(ints("axes", {0}) + node("Unsqueeze", {"x", "axes"}, {"y"})), graph(floats("axes", {1}, 0) + node("Unsqueeze", {"x", "axes"}, {"y"})), "input 1 must hold integers");
}

TEST_F(RefusalsTest, Files) {
  auto textAt = [](const std::string &path) { return textOf(onnx::readModel(path).problems); };
  std::string path = model(graph(node("Neg", {"x"}, {"y"})));
  EXPECT_EQ(textAt(path), "");
  EXPECT_NE(textAt(folder).find("this is a folder, not an ONNX file"), std::string::npos);
  EXPECT_NE(textAt(folder).find("name the .onnx file in it"), std::string::npos);
  EXPECT_NE(textAt(folder + "/none.onnx").find("cannot read the model: "), std::string::npos);
  EXPECT_NE(textAt(write("empty.onnx", "")).find("export the model again"), std::string::npos);
  EXPECT_NE(textAt(write("zip.onnx", "PK\x03\x04 this is a zip file")).find("this is no ONNX file, or it is damaged"), std::string::npos);
  EXPECT_NE(textAt(write("zip.onnx", "PK\x03\x04 this is a zip file")).find("was the download or copy complete?"), std::string::npos);
  EXPECT_NE(textAt(model("producer_name: \"x\"")).find("is this an ONNX model?"), std::string::npos);
}

// The last byte of a data file is reached, the one behind it is not.
TEST_F(RefusalsTest, ExternalData) {
  auto text = [&](int64_t offset, const char *location = "w.bin") {
    return refusalOf(graph("initializer { name: \"w\" data_type: 1 dims: 6 data_location: EXTERNAL external_data { key: \"location\" value: \"" + std::string(location) +
                           "\" } external_data { key: \"offset\" value: \"" + std::to_string(offset) + "\" } }\n" + node("Add", {"x", "w"}, {"y"})));
  };
  write("w.bin", std::string(32, '\0'));
  EXPECT_EQ(text(8), "");
  EXPECT_NE(text(9).find("the data file `w.bin` ends before this tensor (32 bytes, needs offset 9 + 24)"), std::string::npos) << text(9);
  EXPECT_NE(text(9).find("the data file is truncated or belongs to another model"), std::string::npos);
  EXPECT_NE(text(0, "../w.bin").find("move the file beside the model and save the model again"), std::string::npos);
}

// Sizes of tensors up to 2^46 elements.
TEST_F(RefusalsTest, Tensors) {
  auto text = [&](const std::string &fields) { return refusalOf(graph("initializer { name: \"w\" " + fields + " }\n" + node("Neg", {"x"}, {"y"}))); };
  EXPECT_EQ(text("data_type: 1 dims: 1 float_data: 1"), "");
  EXPECT_NE(text("data_type: 1 dims: 70368744177665").find("the size of the tensor overflows"), std::string::npos);
  EXPECT_NE(text("data_type: 1 dims: 70368744177664").find("0 elements of data"), std::string::npos);
  EXPECT_NE(text("data_type: 1 dims: -1").find("a dimension is negative"), std::string::npos);
  EXPECT_NE(text("data_type: 17 dims: 1 raw_data: \"x\"").find("supported are float32, float64, integers and bool"), std::string::npos);
  EXPECT_NE(text("data_type: 1 dims: 1 segment { begin: 0 end: 1 }").find("save the model again with onnx.save"), std::string::npos);
}

/// Losses that a recipe adds to p [4, 6], a function of x.
class AddedLossTest : public RefusalsTest {
protected:
  void SetUp() override {
    RefusalsTest::SetUp();
    options.recipe.loss = {};
    options.recipe.loss.kind = Loss::CrossEntropy;
    options.recipe.loss.prediction = "p";
    options.recipe.loss.target = "l";
    options.recipe.loss.probabilities = true;
    options.recipe.data = {{"x", {DataSource::Array, "x"}}, {"l", {DataSource::Array, "l"}}};
  }
  static std::string text(const std::string &parts) { return graphOf(18, value("input", "x", 1, {"4", "6"}) + value("output", "p", 1, {}) + parts); }
  static std::string to(const char *op, const char *from, const char *into, std::vector<int64_t> shape) {
    return ints(std::string(into) + ".shape", shape) + node(op, {from, std::string(into) + ".shape"}, {into});
  }

  std::unique_ptr<onnx::Model> kept;
  onnx::ImportResult import(const std::string &parts) {
    auto read = onnx::readModel(model(text(parts)));
    EXPECT_TRUE(read.model) << textOf(read.problems);
    kept = std::move(read.model);
    return onnx::importModel(*kept, options, &context);
  }
  /// The loss of these numbers, in f64.
  double lossOf(const std::string &parts, const HostTensor &x, const HostTensor &labels, bool &fused) {
    auto imported = import(parts);
    EXPECT_TRUE(imported.module) << textOf(imported.problems);
    if (!imported.module)
      return NAN;
    auto function = *imported.module->getOps<mlir::func::FuncOp>().begin();
    fused = false;
    function.walk([&](mlir::Operation *op) { fused |= op->getName().getStringRef() == "nn.cross_entropy"; });
    auto results = reference::Interpreter(reference::Arithmetic::AsTyped).run(function, {x, labels});
    EXPECT_TRUE(mlir::succeeded(results));
    return mlir::succeeded(results) ? results->back().reals[0] : NAN;
  }
};

// Only a Softmax whose rows are those of the probabilities gives their logits: reshaped to other rows, the probabilities themselves are
// looked up. Both are the mean of -log(p[label]).
TEST_F(AddedLossTest, ProbabilitiesOfOtherRows) {
  HostTensor x = HostTensor::zeros({4, 6}, true);
  for (int64_t i = 0; i < 24; ++i)
    x.reals[i] = std::sin(1.7 * i);
  std::vector<double> p(24);
  for (int64_t r = 0; r < 4; ++r) {
    double sum = 0;
    for (int64_t c = 0; c < 6; ++c)
      sum += std::exp(x.reals[r * 6 + c]);
    for (int64_t c = 0; c < 6; ++c)
      p[r * 6 + c] = std::exp(x.reals[r * 6 + c]) / sum;
  }
  std::string softmax = node("Softmax", {"x"}, {"s"}, attr("axis", int64_t(-1)));
  for (auto [shape, isFused] : {std::pair(std::vector<int64_t>{4, 6}, true), std::pair(std::vector<int64_t>{2, 2, 6}, true), std::pair(std::vector<int64_t>{8, 3}, false),
                                std::pair(std::vector<int64_t>{2, 12}, false), std::pair(std::vector<int64_t>{4, 2, 3}, false), std::pair(std::vector<int64_t>{6, 4}, false)}) {
    std::vector<int64_t> rows(shape.begin(), shape.end() - 1);
    HostTensor labels = HostTensor::zeros(rows, false);
    double expected = 0;
    for (int64_t r = 0; r < labels.size(); ++r) {
      labels.integers[r] = (2 * r + 1) % shape.back();
      expected -= std::log(p[r * shape.back() + labels.integers[r]]) / labels.size();
    }
    bool fused = false;
    EXPECT_NEAR(lossOf(softmax + to("Reshape", "s", "p", shape), x, labels, fused), expected, 1e-5) << shape[0];
    EXPECT_EQ(fused, isFused) << shape[0];
  }
}

TEST_F(AddedLossTest, Refusals) {
  auto has = [&](const std::string &parts, const char *part) {
    std::string found = textOf(import(parts).problems);
    EXPECT_NE(found.find(part), std::string::npos) << found << "lacks: " << part;
  };
  std::string neg = node("Neg", {"x"}, {"p"});
  EXPECT_EQ(textOf(import(neg).problems), "");
  has(node("ReduceSum", {"x", "axis"}, {"p"}, attr("keepdims", int64_t(0))) + ints("axis", {1}), "`loss.cross_entropy.probabilities`: `p` cannot be that: scores [.., classes] are expected");
  has(floats("k", {4, 6}, 1) + node("Neg", {"k"}, {"p"}), "it must depend on inputs and parameters");
  has(neg + value("input", "l", 7, {"5"}), ", class numbers tensor<4xi64> are expected");
  has(neg + value("input", "l", 7, {"5"}), "give a name that no input of the graph has, for a new input");
  EXPECT_EQ(textOf(import(neg + value("input", "l", 7, {"4"})).problems), "");
  has(neg + value("input", "l", 1, {"4"}), ", class numbers tensor<4xi64> are expected");
  options.recipe.loss.kind = Loss::Mse;
  options.recipe.loss.probabilities = false;
  EXPECT_EQ(textOf(import(neg).problems), "");
  EXPECT_EQ(textOf(import(neg + value("input", "l", 1, {"4", "6"})).problems), "");
  has(neg + value("input", "l", 1, {"4"}), ", the shape of `p`, tensor<4x6xf32>, is expected");
  has(node("ReduceSum", {"x"}, {"p"}, attr("keepdims", int64_t(0))), "real numbers of each sample are expected");
}

TEST_F(AddedLossTest, Sources) {
  options.forTraining = true;
  std::string trained = floats("w", {6}, 1) + kind("w", "PARAMETER") + node("Mul", {"x", "w"}, {"p"});
  auto with = [&](DataSource source, const std::string &input) {
    options.recipe.data = {{"x", {DataSource::Array, "x"}}, {"l", {DataSource::Array, "l"}}, {"z", source}};
    return textOf(import(trained + input).problems);
  };
  DataSource tokens{DataSource::Tokens, ""}, next{DataSource::ArrayNext, "a"}, array{DataSource::Array, "a"};
  std::string ids = value("input", "z", 7, {"4", "5"}), classes = value("input", "z", 7, {"4"}), real = value("input", "z", 1, {"4", "5"});
  EXPECT_EQ(with(tokens, ids), "");
  EXPECT_EQ(with(next, ids), "");
  EXPECT_EQ(with(array, classes), "");
  EXPECT_EQ(with(array, real), "");
  EXPECT_NE(with(tokens, real).find("name an array of the data file: `data: {z: z}`"), std::string::npos);
  EXPECT_NE(with(tokens, classes).find("name an array of the data file: `data: {z: z}`"), std::string::npos);
  EXPECT_NE(with(next, real).find("only class numbers are shifted: name the array alone"), std::string::npos);
  EXPECT_NE(with(next, classes).find("shifts within rows, which an input of 1 dimensions has not"), std::string::npos);
  options.recipe.data.pop_back();
  std::string missing = textOf(import(trained + ids).problems);
  EXPECT_NE(missing.find("add it, for example `data: {z: tokens}`"), std::string::npos) << missing;
}

} // namespace
} // namespace llmc::test
