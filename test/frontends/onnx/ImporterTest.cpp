//===- ImporterTest.cpp - models to IR: roles, shapes, losses, refusals ------===//
#include "frontends/onnx/Importer.h"
#include "TextModel.h"
#include "frontends/onnx/Reader.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include <fstream>

namespace llmc::test {
namespace {

class ImporterTest : public TempFolder {
protected:
  void SetUp() override {
    TempFolder::SetUp();
    mlir::DialectRegistry registry;
    onnx::registerImportDialects(registry);
    context.appendDialectRegistry(registry);
    options.recipe.data = {{"x", {train::DataSource::Array, "x"}}, {"labels", {train::DataSource::Array, "labels"}}};
  }

  onnx::ImportResult import(llvm::StringRef text) {
    auto read = onnx::readModel(model(text));
    EXPECT_TRUE(read.model) << textOf(read.problems);
    kept = std::move(read.model);
    return onnx::importModel(*kept, options, &context);
  }

  std::string irOf(onnx::ImportResult &result) {
    std::string text;
    if (result.module) {
      llvm::raw_string_ostream os(text);
      result.module->print(os);
    }
    return text;
  }

  /// Imports the small network with `extra`, expects success, returns the IR.
  std::string ir(llvm::StringRef text) {
    auto result = import(text);
    EXPECT_TRUE(result.module) << textOf(result.problems);
    return irOf(result);
  }

  Problems problemsOf(llvm::StringRef text) { return import(text).problems; }

  mlir::MLIRContext context;
  onnx::ImportOptions options;
  std::unique_ptr<onnx::Model> kept;
};

bool contains(const std::string &text, llvm::StringRef part) { return llvm::StringRef(text).contains(part); }

TEST_F(ImporterTest, ArgumentsHaveNamesRolesAndSources) {
  auto result = import(mlpText());
  ASSERT_TRUE(result.module) << textOf(result.problems);
  auto function = *result.module->getOps<mlir::func::FuncOp>().begin();
  ASSERT_EQ(function.getNumArguments(), 5u);
  EXPECT_EQ(function.getArgAttrOfType<mlir::StringAttr>(0, "train.name"), "x");
  EXPECT_EQ(function.getArgAttrOfType<mlir::StringAttr>(1, "train.role"), "input");
  EXPECT_EQ(function.getArgAttrOfType<mlir::StringAttr>(4, "train.name"), "fc2.weight");
  EXPECT_EQ(function.getArgAttrOfType<mlir::StringAttr>(4, "train.role"), "param");
  auto source = function.getArgAttrOfType<mlir::DictionaryAttr>(4, "train.source");
  ASSERT_TRUE(source);
  EXPECT_EQ(source.getAs<mlir::IntegerAttr>("bytes").getInt(), 40);
  EXPECT_EQ(function.getResultAttrOfType<mlir::StringAttr>(0, "train.name"), "loss");
}

// Node name and Python line stay with each op.
TEST_F(ImporterTest, LocationsNameNodeAndLine) {
  auto result = import(mlpText());
  ASSERT_TRUE(result.module);
  std::string text;
  llvm::raw_string_ostream os(text);
  result.module->print(os, mlir::OpPrintingFlags().enableDebugInfo());
  EXPECT_TRUE(contains(text, "\"node_h\"")) << text;
  EXPECT_TRUE(contains(text, "\"model.py\":7")) << text;
}

// Arithmetic on constants leaves nothing behind; a constant with equal slices is stored once.
TEST_F(ImporterTest, FoldsConstants) {
  std::string extra = ints("axis", {0}) + floats("c", {2}, 2) + node("Shape", {"logits"}, {"s"}) +
                      node("Gather", {"s", "axis"}, {"s0"}) + node("ConstantOfShape", {"s0"}, {"z"}) +
                      node("Unsqueeze", {"z", "one"}, {"zz"}) + ints("one", {1}) + node("Exp", {"zz"}, {"e"}) +
                      node("Mul", {"logits", "e"}, {"m"}) + value("output", "m", 1, {"4", "2"});
  std::string text = ir(mlpText(extra));
  EXPECT_FALSE(contains(text, "math.exp")) << text;
  EXPECT_TRUE(contains(text, "arith.constant dense<1.000000e+00> : tensor<4x2xf32>")) << text;
}

// Over 1 KiB a constant is an argument; equal ones share it.
TEST_F(ImporterTest, LargeConstantsAreArguments) {
  std::string range = "initializer { name: \"big\" data_type: 1 dims: 1 dims: 400";
  for (int i = 0; i < 400; ++i)
    range += " float_data: " + std::to_string(i);
  range += " }\n";
  std::string extra = range + ints("axes", {1}) + node("ReduceSum", {"x", "axes"}, {"sum"}) + node("Add", {"sum", "big"}, {"a"}) +
                      node("Neg", {"big"}, {"nb"}) + node("Neg", {"nb"}, {"nnb"}) + node("Mul", {"a", "nnb"}, {"b"}) +
                      value("output", "b", 1, {"4", "400"});
  auto result = import(mlpText(extra));
  ASSERT_TRUE(result.module) << textOf(result.problems);
  auto function = *result.module->getOps<mlir::func::FuncOp>().begin();
  ASSERT_EQ(function.getNumArguments(), 6u);
  EXPECT_EQ(function.getArgAttrOfType<mlir::StringAttr>(5, "train.role"), "constant");
  EXPECT_TRUE(function.getArgAttr(5, "train.value"));
}

TEST_F(ImporterTest, BindsSymbolicDimensions) {
  std::string text = "graph {" + value("input", "x", 1, {"batch", "seq"}) + value("output", "loss", 1, {}) +
                     node("ReduceMean", {"x"}, {"loss"}, "attribute { name: \"keepdims\" type: INT i: 0 }") + "}";
  options.recipe.data.pop_back();
  Problems problems = problemsOf(text);
  ASSERT_EQ(problems.size(), 2u) << textOf(problems);
  EXPECT_TRUE(contains(textOf(problems), "dimension 1 of input `x` (`seq`) has no size")) << textOf(problems);
  options.recipe.shapes = {{"seq", 6}};
  options.recipe.batch.micro = 3;
  EXPECT_TRUE(contains(ir(text), "tensor<3x6xf32>"));
  options.recipe.shapes.emplace_back("sequence", 6);
  expectOne(problemsOf(text), "`shapes.sequence` names no dimension of the model");
}

// The mean loss is the sum divided by the weight, so that accumulation can average over tokens.
TEST_F(ImporterTest, LossIsSumOverWeight) {
  std::string text = ir(mlpText());
  EXPECT_TRUE(contains(text, "nn.cross_entropy")) << text;
  EXPECT_TRUE(contains(text, "arith.divf")) << text;
}

TEST_F(ImporterTest, AddsCrossEntropy) {
  std::string graph = mlpText();
  options.recipe.loss.kind = train::Loss::CrossEntropy;
  options.recipe.loss.prediction = "logits";
  options.recipe.loss.target = "targets";
  options.recipe.data.push_back({"targets", {train::DataSource::Array, "targets"}});
  auto result = import(graph);
  ASSERT_TRUE(result.module) << textOf(result.problems);
  auto function = *result.module->getOps<mlir::func::FuncOp>().begin();
  EXPECT_EQ(function.getArgAttrOfType<mlir::StringAttr>(2, "train.name"), "targets"); // after the graph's own inputs
  EXPECT_EQ(function.getResultAttrOfType<mlir::StringAttr>(2, "train.name"), "loss_added");
}

std::string signature(llvm::StringRef lines) {
  return "metadata_props { key: \"pkg.torch.export.ExportedProgram.graph_signature\" value: \"" + lines.str() + "\" }\n";
}

// A name of the signature whose module uses a parameter listed later is tied to it.
TEST_F(ImporterTest, TiedParametersAreAliases) {
  std::string extra =
      signature("p_emb: PARAMETER target='emb.weight'\\np_fc2: PARAMETER target='fc2.weight'") +
      node("Identity", {"fc2.weight"}, {"i"}, "metadata_props { key: \"pkg.torch.onnx.name_scopes\" value: \"['', 'emb', 'call']\" }") +
      value("output", "i", 1, {"2", "5"});
  auto result = import(mlpText(extra));
  ASSERT_TRUE(result.module) << textOf(result.problems);
  EXPECT_TRUE(contains(irOf(result), "train.aliases = [\"emb.weight\"]")) << irOf(result);
}

TEST_F(ImporterTest, LostParametersAreListed) {
  std::string extra = signature("p_fc1_b: PARAMETER target='fc1.bias'\\np_fc3_b: PARAMETER target='fc3.bias'\\np_q: PARAMETER target='q'");
  Problems problems = problemsOf(mlpText(extra));
  expectOne(problems, "2 parameters of the PyTorch model are not in this file\n  fc3.bias\n  q");
  EXPECT_EQ(problems[0].exitCode, 4);
  options.recipe.trainable = {"fc*"}; // what is not trained may be missing
  expectOne(problemsOf(mlpText(extra)), "1 parameters");
}

// All unsupported operators at once, with counts and the first place.
TEST_F(ImporterTest, ReportsUnsupportedOperators) {
  std::string extra = node("NonZero", {"h"}, {"n"}) + node("Det", {"h"}, {"d1"}) + node("Det", {"h"}, {"d2"}) +
                      node("Thing", {"h"}, {"t"}, "domain: \"my.ops\"") + value("output", "n", 7, {"2"}) +
                      value("output", "d1", 1, {}) + value("output", "d2", 1, {}) + value("output", "t", 1, {});
  Problems problems = problemsOf(mlpText(extra));
  expectOne(problems, "3 operators of this model are not supported");
  EXPECT_EQ(problems[0].exitCode, 4);
  EXPECT_TRUE(contains(problems[0].message, "Det  2x  first at node_d1")) << problems[0].message;
  EXPECT_TRUE(contains(problems[0].message, "my.ops.Thing  1x")) << problems[0].message;
  EXPECT_TRUE(contains(problems[0].message, "depends on data")) << problems[0].message;
}

// An operator that no output needs is no problem.
TEST_F(ImporterTest, IgnoresDeadNodes) { ir(mlpText(node("Det", {"h"}, {"d"}))); }

TEST_F(ImporterTest, Refusals) {
  expectOne(problemsOf(mlpText("initializer { name: \"b\" data_type: 16 dims: 1 raw_data: \"xx\" }")), "`precision: bf16`");
  options.recipe.data.push_back({"s", {train::DataSource::Array, "s"}});
  expectOne(problemsOf(mlpText("input { name: \"s\" type { tensor_type { elem_type: 8 shape { } } } }")), "type string");
  options.recipe.data.pop_back();
  expectOne(problemsOf(mlpText(node("MatMul", {"h", "h"}, {"p"}) + value("output", "p", 1, {}))), "inner dimensions differ");
  expectOne(problemsOf(mlpText(node("Add", {"h", "labels"}, {"p"}) + value("output", "p", 1, {}))), "different element types");
  expectOne(problemsOf(mlpText(node("Add", {"h", "fc1.weight"}, {"p"}) + value("output", "p", 1, {}))), "shapes do not match");
  expectOne(problemsOf(mlpText(ints("s", {7, 7}) + node("Reshape", {"h", "s"}, {"p"}) + value("output", "p", 1, {}))),
            "cannot take the new shape");
  expectOne(problemsOf(mlpText(ints("s", {1 << 30, 1 << 30, 1 << 30}) + node("Expand", {"h", "s"}, {"p"}) + value("output", "p", 1, {}))),
            "cannot be expanded to 1073741824");
  expectOne(problemsOf(mlpText(ints("i", {99}) + node("Gather", {"h", "i"}, {"p"}) + value("output", "p", 1, {}))),
            "index 99 is outside");
  expectOne(problemsOf(mlpText(node("Reshape", {"h", "labels"}, {"p"}) + value("output", "p", 1, {}))), "depends on data");
  expectOne(problemsOf(mlpText(node("Transpose", {"h"}, {"p"}, "attribute { name: \"perm\" type: INTS ints: 0 ints: 0 }") +
                               value("output", "p", 1, {}))),
            "no permutation");
}

TEST_F(ImporterTest, BadRecipesForThisModel) {
  options.recipe.data.pop_back();
  expectOne(problemsOf(mlpText()), "input `labels` is fed by nothing");
  options.recipe.data.push_back({"labels", {train::DataSource::Array, "labels"}});
  options.recipe.data.push_back({"lables", {}});
  expectOne(problemsOf(mlpText()), "`data.lables` names no input");
  options.recipe.data.pop_back();
  options.recipe.loss.output = "los";
  expectOne(problemsOf(mlpText()), "`loss: los` is no output of the model");
  options.recipe.loss.output = "logits";
  expectOne(problemsOf(mlpText()), "is no real scalar");
  options.recipe.loss.output = "loss";
  options.recipe.predict = "logit";
  expectOne(problemsOf(mlpText()), "`predict: logit` is no output");
}

// No altered byte of a model that the reader takes crashes the importer.
TEST_F(ImporterTest, Altered) {
  std::string path = model(mlpText(ints("s", {5, 4}) + node("Reshape", {"h", "s"}, {"p"}) + value("output", "p", 1, {})));
  std::ifstream in(path, std::ios::binary);
  std::string bytes((std::istreambuf_iterator<char>(in)), {});
  for (size_t i = 0; i < bytes.size(); i += 3) {
    std::string altered = bytes;
    altered[i] = static_cast<char>(altered[i] ^ (1 << (i % 8)));
    auto read = onnx::readModel(write("altered.onnx", altered));
    if (!read.model)
      continue;
    auto result = onnx::importModel(*read.model, options, &context);
    EXPECT_TRUE(result.module || !result.problems.empty()) << i;
  }
}

// Weights in a file that does not exist need an initializer for each.
TEST_F(ImporterTest, MissingDataNeedsInitializers) {
  std::string extra = "initializer { name: \"fc3.weight\" data_type: 1 dims: 5 data_location: EXTERNAL external_data { key: "
                      "\"location\" value: \"gone.bin\" } }" +
                      kind("fc3.weight", "PARAMETER") + node("Mul", {"h", "fc3.weight"}, {"p"}) + value("output", "p", 1, {});
  expectOne(problemsOf(mlpText(extra)), "1 values are in the data file `gone.bin`");
  options.recipe.init.push_back({train::Initializer::Normal, "fc3.*", 0, 0.02});
  EXPECT_TRUE(import(mlpText(extra)).module);
  std::string needed = extra + node("Shape", {"k"}, {"s"}) +
                       "initializer { name: \"k\" data_type: 7 dims: 2 data_location: EXTERNAL external_data { key: \"location\" "
                       "value: \"gone.bin\" } }" +
                       node("Reshape", {"h", "k"}, {"q"}) + value("output", "q", 1, {});
  EXPECT_TRUE(contains(textOf(problemsOf(mlpText(needed))), "is needed at compile time, but its data file is missing"));
}

// What is known at compile time is computed then, but a random operator draws anew in each step, also for a constant.
TEST_F(ImporterTest, RandomOperatorsAreNotFolded) {
  std::string drop = floats("c", {4}, 2) + floats("ratio", {}, 0.25) + "initializer { name: \"t\" data_type: 9 int32_data: 1 }\n";
  std::string text = ir(mlpText(drop + node("Neg", {"c"}, {"n"}) + node("Dropout", {"n", "ratio", "t"}, {"d"}) + node("Neg", {"d"}, {"q"}) + value("output", "q", 1, {"4"})));
  EXPECT_TRUE(contains(text, "nn.dropout")) << text;
  size_t negations = 0;
  for (size_t at = text.find("arith.negf"); at != std::string::npos; at = text.find("arith.negf", at + 1))
    ++negations;
  EXPECT_EQ(negations, 1u) << text; // the first one is known
}

} // namespace
} // namespace llmc::test
