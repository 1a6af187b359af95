//===- RecipeOnGraphTest.cpp - what a recipe says of a graph: names, sources, shifted labels ------===//
#include "TextModel.h"
#include "dialects/train/Train.h"
#include "frontends/onnx/Importer.h"
#include "frontends/onnx/Reader.h"
#include "frontends/onnx/recipe/ShiftedLabels.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"

namespace llmc::test {
namespace {

using train::DataSource;

std::string dim(int64_t axis) { return "attribute { name: \"axis\" type: INT i: " + std::to_string(axis) + " }"; }
std::string slice(const std::string &from, const std::string &to, int64_t begin, int64_t end) {
  return ints(to + "_b", {begin}) + ints(to + "_e", {end}) + ints(to + "_a", {1}) + node("Slice", {from, to + "_b", to + "_e", to + "_a"}, {to});
}
std::string flat(const std::string &from, const std::string &to, llvm::ArrayRef<int64_t> shape) {
  return ints(to + "_s", shape) + node("Reshape", {from, to + "_s"}, {to});
}

constexpr int64_t kEnd = INT64_MAX;

class RecipeOnGraphTest : public TempFolder {
protected:
  void SetUp() override {
    TempFolder::SetUp();
    mlir::DialectRegistry registry;
    onnx::registerImportDialects(registry);
    context.appendDialectRegistry(registry);
    options.recipe.data = {{"ids", {DataSource::Tokens, ""}}, {"labels", {DataSource::TokensNext, ""}}};
  }

  onnx::ImportResult import(const std::string &body) {
    std::string text = "graph {" + value("input", "ids", 7, {"2", "6"}) + value("input", "labels", 7, {"2", "6"}) + value("output", "loss", 1, {}) +
                       floats("embed", {5, 4}, 0.5) + floats("head", {4, 5}, 0.25) + node("Gather", {"embed", "ids"}, {"h"}) + body + "}";
    auto read = onnx::readModel(model(text));
    EXPECT_TRUE(read.model) << textOf(read.problems);
    kept = std::move(read.model);
    return onnx::importModel(*kept, options, &context);
  }
  Problems problemsOf(const std::string &body) { return import(body).problems; }

  /// Logits and labels, each flattened to rows, into a loss.
  std::string lossOf(const std::string &logits, const std::string &labels) {
    return flat(logits, "rows", {-1, 5}) + flat(labels, "row_labels", {-1}) + node("SoftmaxCrossEntropyLoss", {"rows", "row_labels"}, {"loss"});
  }
  const std::string project = node("MatMul", {"h", "head"}, {"logits"});

  mlir::MLIRContext context;
  onnx::ImportOptions options;
  std::unique_ptr<onnx::Model> kept;
};

// However a graph shifts its labels, or its scores against them, the stream is not shifted again.
TEST_F(RecipeOnGraphTest, ShiftsAreFound) {
  std::string zeros = floats("zeros", {2, 1, 5}, 0);
  std::pair<const char *, std::string> graphs[] = {
      {"sliced", project + slice("logits", "a", 0, -1) + slice("labels", "b", 1, kEnd) + lossOf("a", "b")},
      {"padded, as Hugging Face", project + ints("pads", {0, 0, 0, 1}) + "initializer { name: \"minus\" data_type: 7 int64_data: -100 }\n" +
                                      node("Pad", {"labels", "pads", "minus"}, {"padded"}) + slice("padded", "b", 1, kEnd) + lossOf("logits", "b")},
      {"gathered", project + ints("later", {1, 2, 3, 4, 5}) + node("Gather", {"labels", "later"}, {"b"}, dim(1)) + slice("logits", "a", 0, 5) + lossOf("a", "b")},
      {"rolled", project + slice("labels", "x", 1, kEnd) + slice("labels", "y", 0, 1) + node("Concat", {"x", "y"}, {"b"}, dim(1)) + lossOf("logits", "b")},
      {"hidden states sliced", slice("h", "short", 0, -1) + node("MatMul", {"short", "head"}, {"a"}) + slice("labels", "b", 1, kEnd) + lossOf("a", "b")},
      {"scores moved right", project + slice("logits", "x", 0, -1) + zeros + node("Concat", {"zeros", "x"}, {"a"}, dim(1)) + lossOf("a", "labels")},
      {"log-likelihood", project + slice("logits", "a", 0, -1) + slice("labels", "b", 1, kEnd) + node("LogSoftmax", {"a"}, {"p"}, dim(-1)) +
                             flat("b", "index", {2, 5, 1}) + node("GatherElements", {"p", "index"}, {"picked"}, dim(2)) + node("ReduceMean", {"picked"}, {"mean"}, "attribute { name: \"keepdims\" type: INT i: 0 }") +
                             node("Neg", {"mean"}, {"loss"})}};
  for (auto &[name, body] : graphs) {
    SCOPED_TRACE(name);
    options.recipe.data[1].second = {DataSource::TokensNext, ""};
    Problems problems = problemsOf(body);
    expectOne(problems, "the graph shifts `labels` itself, by 1, so that it would learn the token 2 positions further on");
    expectOne(problems, "write `data: {labels: tokens}`");
    EXPECT_EQ(problems.empty() ? "" : problems[0].key, "data.labels");
    options.recipe.data[1].second = {DataSource::ArrayNext, "NAME"};
    expectOne(problemsOf(body), "write `data: {labels: NAME}`");
    options.recipe.data[1].second.shiftedTwice = true;
    EXPECT_TRUE(import(body).module);
    options.recipe.data[1].second = {DataSource::Tokens, ""};
    EXPECT_TRUE(import(body).module);
  }
}

TEST_F(RecipeOnGraphTest, NoShiftIsSeenWhereThereIsNone) {
  std::pair<const char *, std::string> graphs[] = {
      {"plain", project + lossOf("logits", "labels")},
      {"the last position dropped", project + slice("logits", "a", 0, -1) + slice("labels", "b", 0, -1) + lossOf("a", "b")},
      {"the first position dropped", project + slice("logits", "a", 1, kEnd) + slice("labels", "b", 1, kEnd) + lossOf("a", "b")},
      {"two tokens predicted", project + slice("logits", "a", 0, -1) + slice("labels", "b", 1, kEnd) + flat("a", "rows2", {-1, 5}) + flat("b", "labels2", {-1}) +
                                   node("SoftmaxCrossEntropyLoss", {"rows2", "labels2"}, {"loss2"}) + flat("logits", "rows", {-1, 5}) +
                                   flat("labels", "row_labels", {-1}) + node("SoftmaxCrossEntropyLoss", {"rows", "row_labels"}, {"loss1"}) +
                                   node("Add", {"loss1", "loss2"}, {"loss"})}};
  for (auto &[name, body] : graphs) {
    SCOPED_TRACE(name);
    options.recipe.data[1].second = {DataSource::TokensNext, ""};
    auto result = import(body);
    EXPECT_TRUE(result.module) << textOf(result.problems);
    options.recipe.data[1].second.shiftedTwice = true;
    expectOne(problemsOf(body), "`data.labels.shifted_twice` has no effect");
  }
}

// Names and sources that are wrong are said together, before anything is imported.
TEST_F(RecipeOnGraphTest, AllWrongNamesAtOnce) {
  options.recipe.loss.output = "losss";
  options.recipe.predict = "logit";
  options.recipe.data = {{"idz", {DataSource::Tokens, ""}}, {"labels", {DataSource::Tokens, ""}}};
  Problems problems = problemsOf(project + lossOf("logits", "labels") + value("output", "logits", 1, {"2", "6", "5"}));
  ASSERT_EQ(problems.size(), 4u) << textOf(problems);
  std::string text = textOf(problems);
  for (const char *part : {"`loss: losss` is no output of the model", "did you mean `loss`?", "`predict: logit` is no output", "did you mean `logits`?",
                           "input `ids` is fed by nothing", "`data.idz` names no input of the model", "did you mean `ids`?"})
    EXPECT_NE(text.find(part), std::string::npos) << part << "\n" << text;
  for (const Problem &problem : problems)
    EXPECT_FALSE(problem.key.empty()) << problem.text();
}

TEST_F(RecipeOnGraphTest, PredictionsAreNoScalars) {
  options.recipe.predict = "loss";
  expectOne(problemsOf(project + lossOf("logits", "labels")), "`predict: loss` is one number");
}

TEST_F(RecipeOnGraphTest, SourcesSuitInputs) {
  std::string body = project + lossOf("logits", "labels") + value("input", "real", 1, {"2", "6"}) + value("input", "class", 7, {"2"}) +
                     value("input", "more", 7, {"2", "3"}) + value("output", "real", 1, {"2", "6"}) + value("output", "class", 7, {"2"}) + value("output", "more", 7, {"2", "3"});
  auto with = [&](DataSource real, DataSource one, DataSource more) {
    options.recipe.data.resize(2);
    options.recipe.data.insert(options.recipe.data.end(), {{"real", real}, {"class", one}, {"more", more}});
    return problemsOf(body);
  };
  DataSource tokens{DataSource::Tokens, ""}, array{DataSource::Array, "a"}, next{DataSource::ArrayNext, "a"};
  EXPECT_TRUE(with(array, array, array).empty());
  expectOne(with(tokens, array, array), "`data.real: tokens` feeds integers to an input of type");
  expectOne(with(next, array, array), "`data.real: a.next` feeds integers");
  expectOne(with(array, tokens, array), "`data.class: tokens` feeds rows of tokens [samples, length] to an input of 1 dimensions");
  expectOne(with(array, next, array), "`data.class: a.next` shifts within rows");
  expectOne(with(array, array, tokens), "`data.more: tokens` has windows of 3 tokens, `data.ids` of 6");
}

// The input of an added loss is a new one, and what it cannot be is said.
TEST_F(RecipeOnGraphTest, AddedLosses) {
  std::string body = project + lossOf("logits", "labels") + value("output", "logits", 1, {"2", "6", "5"}) + value("output", "ids", 7, {"2", "6"});
  auto add = [&](train::Loss::Kind kind, const char *of, const char *with) {
    options.recipe.loss = {};
    options.recipe.loss.kind = kind;
    options.recipe.loss.prediction = of;
    options.recipe.loss.target = with;
    options.recipe.data.resize(2);
    if (llvm::StringRef(with) == "wanted")
      options.recipe.data.push_back({"wanted", {DataSource::Array, "wanted"}});
    return import(body);
  };
  auto result = add(train::Loss::Mse, "logits", "wanted");
  ASSERT_TRUE(result.module) << textOf(result.problems);
  EXPECT_EQ(result.lossOutput, "loss_added"); // the graph has a `loss`
  auto function = *result.module->getOps<mlir::func::FuncOp>().begin();
  EXPECT_EQ(function.getArgAttrOfType<mlir::StringAttr>(2, "train.name"), "wanted");
  EXPECT_EQ(function.getArgumentTypes()[2], mlir::RankedTensorType::get({2, 6, 5}, mlir::Float32Type::get(&context)));
  expectOne(add(train::Loss::L1, "logit", "wanted").problems, "`logit`, of `loss`, is no output of the model");
  expectOne(add(train::Loss::L1, "ids", "wanted").problems, "`loss.l1.prediction`: `ids` cannot be that");
  expectOne(add(train::Loss::Huber, "logits", "labels").problems, "`loss.huber.target`: input `labels` is tensor<2x6xi64>");
  expectOne(add(train::Loss::CrossEntropy, "loss", "wanted").problems, "`loss.cross_entropy.logits`: `loss` cannot be that");
  EXPECT_TRUE(add(train::Loss::CrossEntropy, "logits", "labels").module);
}

} // namespace
} // namespace llmc::test
