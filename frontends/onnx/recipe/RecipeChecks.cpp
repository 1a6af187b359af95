//===- RecipeChecks.cpp - what a recipe says of a graph ---===//
#include "frontends/onnx/recipe/RecipeChecks.h"
#include "dialects/nn/Nn.h"
#include "dialects/train/Train.h"
#include "llvm/ADT/StringExtras.h"

using namespace mlir;
using namespace llmc;
using namespace llmc::onnx;
using train::DataSource;
using train::Loss;

Problem llmc::onnx::recipeProblem(const std::string &key, const std::string &message, const std::string &hint) {
  Problem problem{message, "", hint};
  problem.key = key;
  return problem;
}

static std::string textOf(const DataSource &source) {
  return (source.isTokens() ? std::string("tokens") : source.array) + (source.isNext() ? ".next" : "");
}

/// "did you mean `x`? its inputs are ..." of names like `word`.
static std::string choices(StringRef word, StringRef what, ArrayRef<std::string> names) {
  std::string close;
  unsigned best = std::max<size_t>(2, word.size() / 3) + 1;
  for (const std::string &name : names)
    if (unsigned distance = word.edit_distance(name, true, best); distance < best) {
      best = distance;
      close = name;
    }
  return (close.empty() ? "" : "did you mean `" + close + "`? ") + "its " + what.str() + " are " + llvm::join(names, ", ");
}

namespace {
class NameChecks {
public:
  NameChecks(const Model &model, const train::Recipe &recipe) : model(model), recipe(recipe) {
    for (const ValueInfo &input : model.inputs)
      inputs.push_back(input.name);
    for (const ValueInfo &output : model.outputs)
      outputs.push_back(output.name);
    if (recipe.loss.kind != Loss::Output && !recipe.loss.target.empty() && !llvm::is_contained(inputs, recipe.loss.target))
      inputs.push_back(recipe.loss.target);
  }

  Problems run() {
    loss();
    if (!recipe.predict.empty() && !llvm::is_contained(outputs, recipe.predict))
      problem("predict", "`predict: " + recipe.predict + "` is no output of the model", choices(recipe.predict, "outputs", outputs));
    for (const std::string &input : inputs)
      if (llvm::none_of(recipe.data, [&](auto &entry) { return entry.first == input; }))
        problem("data", "input `" + input + "` is fed by nothing", "add it, for example `data: {" + input + ": " + suggestion(input) + "}`");
    for (auto &[input, source] : recipe.data)
      if (!llvm::is_contained(inputs, input))
        problem("data." + input, "`data." + input + "` names no input of the model", choices(input, "inputs", inputs));
    for (const ValueInfo &input : model.inputs)
      for (auto &[name, source] : recipe.data)
        if (name == input.name)
          feed(input, source);
    return std::move(problems);
  }

private:
  void problem(const std::string &key, const std::string &message, const std::string &hint) { problems.push_back(recipeProblem(key, message, hint)); }

  void loss() {
    const Loss &l = recipe.loss;
    if (l.kind == Loss::Output) {
      if (!llvm::is_contained(outputs, l.output))
        problem("loss", "`loss: " + l.output + "` is no output of the model",
                choices(l.output, "outputs", outputs) +
                    "; if it has no loss, add one: `loss: {cross_entropy: {logits: OUTPUT, labels: labels}}`, or `mse`, `l1`, `huber`, `bce_with_logits`");
    } else if (!l.prediction.empty() && !llvm::is_contained(outputs, l.prediction)) {
      problem("loss", "`" + l.prediction + "`, of `loss`, is no output of the model", choices(l.prediction, "outputs", outputs));
    }
  }

  /// What could feed an input: a stream for rows of ids, else arrays.
  std::string suggestion(StringRef name) const {
    for (const ValueInfo &input : model.inputs)
      if (input.name == name && isInteger(input) && input.dims.size() == 2)
        return "tokens";
    return name.str();
  }

  static bool isInteger(const ValueInfo &input) { return input.type == DType::Int64 || input.type == DType::Int32; }

  void feed(const ValueInfo &input, const DataSource &source) {
    std::string key = "data." + input.name, text = textOf(source);
    if ((source.isTokens() || source.isNext()) && !isInteger(input))
      problem(key, "`" + key + ": " + text + "` feeds integers to an input of type " + onnx::nameOf(input.type),
              source.isTokens() ? "name an array of the data file: `data: {" + input.name + ": " + input.name + "}`" : "only class numbers are shifted: name the array alone");
    else if (source.isTokens() && input.dims.size() != 2)
      problem(key, "`" + key + ": " + text + "` feeds rows of tokens [samples, length] to an input of " + std::to_string(input.dims.size()) + " dimensions",
              "name an array of the data file: `data: {" + input.name + ": " + input.name + "}`");
    else if (source.isNext() && input.dims.size() < 2)
      problem(key, "`" + key + ": " + text + "` shifts within rows, which an input of " + std::to_string(input.dims.size()) + " dimensions has not", "name the array alone");
  }

  const Model &model;
  const train::Recipe &recipe;
  std::vector<std::string> inputs, outputs;
  Problems problems;
};
} // namespace

Problems llmc::onnx::checkNames(const Model &model, const train::Recipe &recipe) { return NameChecks(model, recipe).run(); }

Problems llmc::onnx::checkShapes(func::FuncOp forward, const train::Recipe &recipe) {
  Problems problems;
  std::string first;
  int64_t length = 0;
  for (auto &[name, source] : recipe.data) {
    int64_t index = train::findArgument(forward, name, train::kInput);
    if (index < 0)
      continue;
    auto type = cast<RankedTensorType>(forward.getArgumentTypes()[index]);
    std::string key = "data." + name, text = "`" + key + ": " + textOf(source) + "`";
    bool rows = type.getRank() == 2 && type.getElementType().isInteger() && !type.getElementType().isInteger(1);
    if (source.isTokens() && !rows) {
      problems.push_back(recipeProblem(key, text + " feeds rows of tokens [samples, length], which this input does not take", "name an array of the data file"));
    } else if (source.isNext() && (type.getRank() < 2 || !type.getElementType().isInteger())) {
      problems.push_back(recipeProblem(key, text + " shifts class numbers within rows, which this input does not have", "name the array alone"));
    } else if (source.isTokens() && length != 0 && type.getDimSize(1) != length) {
      problems.push_back(recipeProblem(key, text + " has windows of " + std::to_string(type.getDimSize(1)) + " tokens, `data." + first + "` of " +
                                                std::to_string(length),
                                       "inputs that one stream feeds have one length"));
    } else if (source.isTokens() && length == 0) {
      length = type.getDimSize(1);
      first = name;
    }
  }
  if (int64_t index = recipe.predict.empty() ? -1 : train::findResult(forward, recipe.predict); index >= 0) {
    auto type = cast<RankedTensorType>(forward.getResultTypes()[index]);
    if (type.getRank() == 0 || type.getNumElements() == 1)
      problems.push_back(recipeProblem("predict", "`predict: " + recipe.predict + "` is one number, not a prediction for each sample", "name an output such as the logits"));
  }
  return problems;
}
