//===- RolesTest.cpp - which initializers are trained, and why ------===//
#include "GraphTest.h"
#include "dialects/train/Train.h"
#include "frontends/onnx/Reader.h"
#include "frontends/onnx/Roles.h"
#include "frontends/onnx/PrintRoles.h"
#include <cmath>

namespace llmc::test {
namespace {

class RolesTest : public GraphTest {
protected:
  /// Roles of a graph without metadata with input x [4, 3] and ids [4].
  onnx::Roles rolesOf(const std::string &parts, std::vector<std::string> trainable = {}) {
    read(parts);
    onnx::Roles roles = onnx::findRoles(*kept);
    recipe.trainable = std::move(trainable);
    onnx::chooseTrainable(*kept, recipe, roles);
    return roles;
  }

  void read(const std::string &parts) {
    auto result = onnx::readModel(model(graphOf(18, value("input", "x", 1, {"4", "3"}) + value("input", "ids", 7, {"4"}) +
                                                        value("output", "y", 1, {}) + parts)));
    ASSERT_TRUE(result.model) << textOf(result.problems);
    kept = std::move(result.model);
  }

  /// "parameter", "buffer", "unclear" or "constant".
  std::string roleOf(const std::string &name, const std::string &parts, std::vector<std::string> trainable = {}) {
    onnx::Roles roles = rolesOf(parts, std::move(trainable));
    if (llvm::is_contained(roles.unclear, name))
      return "unclear";
    onnx::Kind kind = roles.of(name);
    return kind == onnx::Kind::Parameter ? "parameter" : kind == onnx::Kind::Buffer ? "buffer" : "constant";
  }

  std::unique_ptr<onnx::Model> kept;
  train::Recipe recipe;
};

/// h [4, 3], which depends on data and is no input.
std::string hidden() { return node("Tanh", {"x"}, {"h"}); }

// Whatever the names are: what operators use as weights, biases, scales, tables and tokens is trained.
TEST_F(RolesTest, UsesThatTell) {
  EXPECT_EQ(roleOf("onnx::MatMul_237", floats("onnx::MatMul_237", {3, 3}, 1) + node("MatMul", {"x", "onnx::MatMul_237"}, {"y"})), "parameter");
  EXPECT_EQ(roleOf("t", floats("t", {3, 3}, 1) + node("Transpose", {"t"}, {"tt"}) + node("MatMul", {"x", "tt"}, {"y"})), "parameter");
  EXPECT_EQ(roleOf("c", floats("w", {3, 2}, 1) + floats("c", {2}, 0) + node("Gemm", {"x", "w", "c"}, {"y"})), "parameter");
  EXPECT_EQ(roleOf("b1", floats("w", {3, 2}, 1) + floats("b1", {2}, 0) + node("MatMul", {"x", "w"}, {"m"}) + node("Add", {"m", "b1"}, {"y"})), "parameter");
  EXPECT_EQ(roleOf("scale", hidden() + floats("scale", {3}, 1) + node("Mul", {"h", "scale"}, {"y"})), "parameter");
  EXPECT_EQ(roleOf("pos", hidden() + floatsOf("pos", {4, 3}, {.1, .2, .3, .4, .5, .6, .7, .8, .9, 1, 2, 3}) + node("Add", {"h", "pos"}, {"y"})), "parameter");
  EXPECT_EQ(roleOf("table", floats("table", {9, 3}, 0.5) + node("Gather", {"table", "ids"}, {"y"})), "parameter");
  EXPECT_EQ(roleOf("cls_token", hidden() + floatsOf("cls_token", {1, 3}, {.1, .2, .3}) + node("Concat", {"cls_token", "h"}, {"y"}, attr("axis", int64_t(0)))),
            "parameter");
  std::string norm = floats("g", {3}, 1) + floats("o", {3}, 0) + node("LayerNormalization", {"x", "g", "o"}, {"y"});
  EXPECT_EQ(roleOf("g", norm), "parameter");
  EXPECT_EQ(roleOf("o", norm), "parameter");
  std::string branch = node("If", {"yes"}, {"y"}, " attribute { name: \"then_branch\" type: GRAPH g { name: \"b\" " + node("MatMul", {"x", "w"}, {"r"}) +
                                                  " output { name: \"r\" } } }");
  EXPECT_EQ(roleOf("w", floats("w", {3, 3}, 1) + "initializer { name: \"yes\" data_type: 9 int32_data: 1 }\n" + branch), "parameter");
}

TEST_F(RolesTest, StatisticsAreBuffers) {
  std::string parts = floats("s", {3}, 2) + floats("b", {3}, 1) + floats("m", {3}, 1) + floats("v", {3}, 4) +
                      node("BatchNormalization", {"x", "s", "b", "m", "v"}, {"y"});
  EXPECT_EQ(roleOf("m", parts), "buffer");
  EXPECT_EQ(roleOf("v", parts), "buffer");
  EXPECT_EQ(roleOf("s", parts), "parameter");
  EXPECT_EQ(roleOf("bn.running_mean", hidden() + floats("bn.running_mean", {3}, 2) + node("Sub", {"h", "bn.running_mean"}, {"y"})), "buffer");
}

// Masks, waves, single numbers: never trained, whatever they are called.
TEST_F(RolesTest, ConstantsStay) {
  EXPECT_EQ(roleOf("eps", hidden() + floats("eps", {1}, 1e-5) + node("Add", {"h", "eps"}, {"y"})), "constant");
  EXPECT_EQ(roleOf("a.scale", hidden() + floats("a.scale", {}, 0.125) + node("Mul", {"h", "a.scale"}, {"y"})), "constant");
  std::string mask = floatsOf("a.mask", {3}, {0, -1e9, 0}) + node("Add", {"h", "a.mask"}, {"y"});
  EXPECT_EQ(roleOf("a.mask", hidden() + mask), "constant");
  EXPECT_EQ(roleOf("keep", hidden() + floatsOf("keep", {3}, {0, 1, 1}) + node("Mul", {"h", "keep"}, {"y"})), "constant");
  std::vector<double> waves;
  for (int row = 0; row < 4; ++row)
    for (double w : {1.0, 0.3, 0.01})
      waves.push_back(w == 0.3 ? std::cos(row * w) : std::sin(row * w));
  EXPECT_EQ(roleOf("pe.pe", hidden() + floatsOf("pe.pe", {1, 4, 3}, waves) + node("Add", {"h", "pe.pe"}, {"y"})), "constant");
  EXPECT_EQ(roleOf("cos", floatsOf("cos", {4, 3}, waves) + node("Gather", {"cos", "ids"}, {"y"})), "constant");
  EXPECT_EQ(roleOf("inv_freq", node("Unsqueeze", {"x", "ax"}, {"u"}) + ints("ax", {1}) + floatsOf("inv_freq", {1, 3, 1}, {1, 0.1, 0.01}) +
                                   node("MatMul", {"inv_freq", "u"}, {"y"})),
            "constant");
  EXPECT_EQ(roleOf("empty", hidden() + floats("empty", {4, 3}, 0) + ints("at", {0, 1, 2, 3}) + node("Unsqueeze", {"at", "one"}, {"rows"}) + ints("one", {1}) +
                                node("ScatterND", {"empty", "rows", "h"}, {"y"})),
            "constant");
  auto joined = [&](const std::string &name, std::vector<int64_t> shape) {
    return hidden() + floats(name, shape, 0) + node("Concat", {name, "h"}, {"y"}, attr("axis", int64_t(0)));
  };
  EXPECT_EQ(roleOf("border", joined("border", {2, 3})), "constant");
  EXPECT_EQ(roleOf("token", joined("token", {1, 3})), "unclear");
  EXPECT_EQ(roleOf("low", hidden() + floats("low", {3}, 2) + node("Max", {"h", "low"}, {"y"})), "constant");
  EXPECT_EQ(roleOf("weights", hidden() + floats("weights", {3}, 2) + node("SoftmaxCrossEntropyLoss", {"h", "ids", "weights"}, {"y"})), "constant");
  // A row of zeros does not make an embedding a table of sines.
  EXPECT_EQ(roleOf("words", floatsOf("words", {3, 2}, {0, 0, .01, -.02, .03, .01}) + node("Gather", {"words", "ids"}, {"y"})), "parameter");
}

// Where the use does not tell, a name as modules give it does; else nothing is guessed.
TEST_F(RolesTest, UsesThatDoNotTell) {
  auto times = [&](const std::string &name) { return hidden() + floats(name, {4, 3}, 0.5) + node("Mul", {"h", name}, {"y"}); };
  EXPECT_EQ(roleOf("c", times("c")), "unclear");
  EXPECT_EQ(roleOf("block.gamma", times("block.gamma")), "parameter");
  EXPECT_EQ(roleOf("mean", floats("mean", {3}, 0.5) + node("Sub", {"x", "mean"}, {"y"})), "unclear");
  EXPECT_EQ(roleOf("bias", hidden() + floats("bias", {4, 3}, 0.5) + node("Add", {"h", "bias"}, {"s"}) + node("Softmax", {"s"}, {"y"})), "unclear");
  EXPECT_EQ(roleOf("v", floats("v", {3, 3}, 1) + floats("g", {3, 3}, 2) + node("Mul", {"v", "g"}, {"w"}) + node("MatMul", {"x", "w"}, {"y"})), "unclear");
  read(times("c"));
  Problems problems = onnx::reportUnclear(rolesOf(times("c")));
  expectOne(problems, "1 initializers their use does not tell whether they are trained\n  c  an operand of Mul `node_y`");
  EXPECT_EQ(problems[0].exitCode, 4);
  EXPECT_NE(problems[0].hint.find("trainable: [\"c\""), std::string::npos) << problems[0].hint;
}

// Equal initializers that several nodes read may be several parameters that an exporter merged.
TEST_F(RolesTest, MergedParameters) {
  auto norms = [](const std::string &first, const std::string &scale) {
    return floatsOf("w", {3}, {.1, .2, .3}) + scale + floatsOf("o", {3}, {1, 2, 3}) + node("LayerNormalization", {"x", first, "o"}, {"a"}) +
           node("LayerNormalization", {"a", "g", "o"}, {"y"});
  };
  Problems problems = onnx::reportUnclear(rolesOf(norms("g", floats("g", {3}, 1))));
  expectOne(problems, "1 initializers hold equal numbers and are read by several nodes");
  EXPECT_NE(problems[0].message.find("\n  g  2 nodes"), std::string::npos) << problems[0].message;
  EXPECT_TRUE(onnx::reportUnclear(rolesOf(norms("g", floats("g", {3}, 1)), {"g", "o"})).empty());
  EXPECT_TRUE(onnx::reportUnclear(rolesOf(norms("w", floats("g", {3}, 1)))).empty());
  EXPECT_TRUE(onnx::reportUnclear(rolesOf(norms("g", floatsOf("g", {3}, {1, 1, 2})))).empty());
}

// export.py says which names one parameter has.
TEST_F(RolesTest, TiedNames) {
  std::string tied = "metadata_props { key: \"llmc.tied\" value: \"fc1.weight shared.weight other.weight\" }\n"
                     "metadata_props { key: \"pkg.torch.export.ExportedProgram.graph_signature\" value: \"p_a: PARAMETER "
                     "target='shared.weight'\\np_b: PARAMETER target='other.weight'\\np_c: PARAMETER target='fc1.weight'\" }\n";
  auto result = onnx::readModel(model(mlpText(tied)));
  ASSERT_TRUE(result.model);
  onnx::Roles roles = onnx::findRoles(*result.model);
  EXPECT_EQ(roles.aliases["fc1.weight"], (std::vector<std::string>{"shared.weight", "other.weight"}));
  EXPECT_TRUE(roles.lost.empty());
}

// `trainable` may name any real initializer; a glob decides unclear ones, `*` decides nothing.
TEST_F(RolesTest, RecipeDecides) {
  std::string parts = hidden() + floats("c", {4, 3}, 0.5) + node("Mul", {"h", "c"}, {"a"}) + floats("w", {3, 3}, 1) + node("MatMul", {"a", "w"}, {"m"}) +
                      floats("eps", {1}, 1) + node("Add", {"m", "eps"}, {"y"});
  EXPECT_EQ(roleOf("c", parts, {"c"}), "parameter");
  EXPECT_EQ(roleOf("c", parts, {"?"}), "parameter");
  EXPECT_EQ(roleOf("c", parts, {"w"}), "constant");
  EXPECT_EQ(roleOf("c", parts, {"*"}), "unclear");
  EXPECT_EQ(roleOf("eps", parts, {"eps"}), "parameter");
  EXPECT_EQ(roleOf("eps", parts, {"ep*"}), "constant");
  EXPECT_EQ(roleOf("w", parts, {"c"}), "parameter"); // frozen, but still the model's
}

// The exporter's mark is the default of `trainable`.
TEST_F(RolesTest, TheModuleFreezes) {
  std::string frozen = "value_info { name: \"fc1.bias\" metadata_props { key: \"llmc.trainable\" value: \"false\" } }\n";
  auto result = onnx::readModel(model(mlpText(frozen)));
  ASSERT_TRUE(result.model);
  onnx::Roles roles = onnx::findRoles(*result.model);
  EXPECT_TRUE(roles.frozen.contains("fc1.bias"));
  EXPECT_FALSE(roles.frozen.contains("fc1.weight"));
  onnx::ImportResult imported = onnx::importModel(*result.model, options, &context);
  ASSERT_TRUE(imported.module) << textOf(imported.problems);
  auto function = *imported.module->getOps<mlir::func::FuncOp>().begin();
  for (unsigned i = 0; i < function.getNumArguments(); ++i)
    EXPECT_EQ(bool(function.getArgAttr(i, train::kFrozen)), train::argumentString(function, i, train::kName) == "fc1.bias") << i;
  std::string text;
  llvm::raw_string_ostream os(text);
  onnx::printRoles(*result.model, roles, recipe, os);
  EXPECT_NE(text.find("trained: 2\n"), std::string::npos) << text;
  EXPECT_NE(text.find("requires_grad=False"), std::string::npos) << text;
  text.clear();
  recipe.trainable = {"*.bias"};
  onnx::printRoles(*result.model, roles, recipe, os);
  EXPECT_NE(text.find("trained: 1\n  fc1.bias"), std::string::npos) << text;
  EXPECT_NE(text.find("no glob of `trainable` matches it"), std::string::npos) << text;
}

} // namespace
} // namespace llmc::test
