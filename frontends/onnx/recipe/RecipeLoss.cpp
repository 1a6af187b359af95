//===- RecipeLoss.cpp - the loss that a recipe adds to a graph ---===//
//
// Cross-entropy is nn.cross_entropy, whose sum and weight are split over micro-batches exactly. The others, and the
// cross-entropy of probabilities that no Softmax makes, are the mean of a tensor whose first dimension is the batch.
//
//===----------------------------------------------------------------------===//
#include "frontends/onnx/recipe/RecipeLoss.h"
#include "frontends/onnx/Loss.h"
#include "llvm/ADT/StringExtras.h"

using namespace mlir;
using namespace llmc;
using namespace llmc::onnx;
using train::Loss;

namespace {

constexpr double kSmallestReal = 1.1754944e-38; // of normal f32 numbers

StringRef nameOf(Loss::Kind kind) {
  static constexpr llvm::StringLiteral names[] = {"output", "cross_entropy", "mse", "l1", "huber", "bce_with_logits"};
  return names[kind];
}

class RecipeLoss {
public:
  RecipeLoss(const train::Recipe &recipe, ImportedGraph graph, Problems &problems)
      : recipe(recipe), loss(recipe.loss), graph(graph), problems(problems), location(NameLoc::get(graph.state.builder.getStringAttr("loss"))),
        n(node, location, graph.state) {
    node.name = "loss";
  }

  std::string add() {
    auto output = llvm::find_if(graph.outputs, [&](auto &o) { return o.first == loss.prediction; });
    if (output == graph.outputs.end() || !output->second)
      return ""; // said before, by name
    Value prediction = output->second;
    RankedTensorType type = nn::typeOf(prediction);
    bool entropy = loss.kind == Loss::CrossEntropy;
    if (!isa<FloatType>(type.getElementType()) || type.getRank() < (entropy ? 2 : 1))
      return problem(ofKey(), "`" + loss.prediction + "` cannot be that: " + (entropy ? "scores [.., classes]" : "real numbers of each sample") + " are expected",
                     "it is " + textOf(type));
    if (graph.state.pool.isKnown(prediction))
      return problem(ofKey(), "`" + loss.prediction + "` is a constant", "it must depend on inputs and parameters");
    Value target = entropy ? labels(type) : targetOf(type);
    if (!target)
      return "";
    Value result = entropy ? crossEntropy(prediction, target) : mean(elements(prediction, target));
    std::string name = "loss";
    while (llvm::is_contained(llvm::make_first_range(graph.outputs), name))
      name += "_added";
    graph.outputs.emplace_back(name, result);
    return name;
  }

private:
  std::string ofKey() const {
    StringRef word = loss.probabilities                                                      ? "probabilities"
                     : loss.kind == Loss::CrossEntropy || loss.kind == Loss::BceWithLogits ? "logits"
                                                                                            : "prediction";
    return ("loss." + nameOf(loss.kind) + "." + word).str();
  }
  std::string targetKey() const { return ("loss." + nameOf(loss.kind) + (loss.kind == Loss::CrossEntropy ? ".labels" : ".target")).str(); }

  std::string problem(const std::string &key, const std::string &message, const std::string &hint) {
    Problem found{"`" + key + "`: " + message, "", hint};
    found.key = key;
    problems.push_back(found);
    return "";
  }

  static std::string textOf(RankedTensorType type) {
    std::string text;
    llvm::raw_string_ostream(text) << type;
    return text;
  }

  /// The argument of this name, which is made if the graph has none.
  Value input(RankedTensorType type) {
    if (llvm::is_contained(graph.inputNames, loss.target))
      return graph.state.slots[loss.target].value;
    Builder &b = graph.state.builder;
    unsigned index = graph.inputNames.size();
    auto attributes = b.getDictionaryAttr({b.getNamedAttr("train.name", b.getStringAttr(loss.target)), b.getNamedAttr("train.role", b.getStringAttr("input"))});
    (void)graph.function.insertArgument(index, type, attributes, NameLoc::get(b.getStringAttr(loss.target)));
    graph.inputNames.push_back(loss.target);
    return graph.function.getArgument(index);
  }

  Value labels(RankedTensorType scores) {
    auto type = RankedTensorType::get(scores.getShape().drop_back(), graph.state.builder.getI64Type());
    Value value = input(type);
    RankedTensorType found = nn::typeOf(value);
    if (found.getShape() == type.getShape() && isa<IntegerType>(found.getElementType()) && !found.getElementType().isInteger(1))
      return value;
    problem(targetKey(), "input `" + loss.target + "` is " + textOf(found) + ", class numbers " + textOf(type) + " are expected",
            "give a name that no input of the graph has, for a new input");
    return Value();
  }

  Value targetOf(RankedTensorType type) {
    Value value = input(type);
    RankedTensorType found = nn::typeOf(value);
    if (found.getShape() == type.getShape())
      return n.cast(value, type.getElementType());
    problem(targetKey(), "input `" + loss.target + "` is " + textOf(found) + ", the shape of `" + loss.prediction + "`, " + textOf(type) + ", is expected",
            "give a name that no input of the graph has, for a new input");
    return Value();
  }

  //===-- Cross-entropy -------------------------------------------------------------------===//

  Value crossEntropy(Value scores, Value labels) {
    Value logits = loss.probabilities ? logitsOf(scores) : scores;
    if (!logits)
      return likelihood(scores, labels);
    CrossEntropy ce = emitCrossEntropy(n, logits, labels, loss.ignoreIndex.value_or(train::kIgnoredLabel));
    return n.emit<arith::DivFOp>(ce.sum, ce.weight);
  }

  /// What a Softmax over the last dimension makes `probabilities` of; null if none does.
  Value logitsOf(Value probabilities) {
    auto softmax = nn::throughReshapes(probabilities).getDefiningOp<nn::SoftmaxOp>();
    if (!softmax || nn::typeOf(softmax.getInput()).getShape().back() != nn::typeOf(probabilities).getShape().back())
      return Value();
    return n.reshape(softmax.getInput(), nn::typeOf(probabilities).getShape());
  }

  /// The mean of -log(max(p[label], smallest)) over all rows, or over those whose label counts if one does not.
  Value likelihood(Value probabilities, Value labels) {
    RankedTensorType type = nn::typeOf(labels);
    SmallVector<int64_t> one(type.getShape());
    one.push_back(1);
    Value counted;
    if (loss.ignoreIndex) {
      counted = n.emit<arith::CmpIOp>(arith::CmpIPredicate::ne, labels, n.splatLike(labels, static_cast<double>(*loss.ignoreIndex)));
      labels = n.emit<arith::SelectOp>(counted, labels, n.splatLike(labels, 0));
    }
    auto pickedType = RankedTensorType::get(one, nn::typeOf(probabilities).getElementType());
    Value picked = n.reshape(n.emit<nn::GatherAlongOp>(pickedType, probabilities, n.reshape(labels, one), type.getRank()), type.getShape());
    // As torch.clamp: the gradient is that of p where p is not below the bound.
    Value small = n.splatLike(picked, kSmallestReal);
    Value below = n.emit<arith::CmpFOp>(arith::CmpFPredicate::OLT, picked, small);
    Value rows = n.emit<arith::NegFOp>(n.emit<math::LogOp>(n.emit<arith::SelectOp>(below, small, picked)));
    if (!counted)
      return mean(rows);
    Value sum = reduce(n.emit<arith::SelectOp>(counted, rows, n.splatLike(rows, 0)), nn::ReduceKind::Sum);
    return n.emit<arith::DivFOp>(sum, reduce(n.cast(counted, nn::typeOf(rows).getElementType()), nn::ReduceKind::Sum));
  }

  //===-- Losses of each element ------------------------------------------------------------===//

  Value elements(Value x, Value t) {
    if (loss.kind == Loss::BceWithLogits)
      return binary(x, t);
    Value d = n.emit<arith::SubFOp>(x, t);
    if (loss.kind == Loss::Mse)
      return n.emit<arith::MulFOp>(d, d);
    Value size = n.emit<math::AbsFOp>(d);
    return loss.kind == Loss::L1 ? size : huber(d, size);
  }

  // |d| < delta ? d^2 / 2 : delta (|d| - delta / 2)
  Value huber(Value d, Value size) {
    Value square = n.emit<arith::MulFOp>(n.emit<arith::MulFOp>(d, d), n.splatLike(d, 0.5));
    Value line = n.emit<arith::MulFOp>(n.emit<arith::SubFOp>(size, n.splatLike(d, loss.delta / 2)), n.splatLike(d, loss.delta));
    Value inside = n.emit<arith::CmpFOp>(arith::CmpFPredicate::OLT, size, n.splatLike(d, loss.delta));
    return n.emit<arith::SelectOp>(inside, square, line);
  }

  // max(x, 0) + log(1 + e^-|x|) - x t, with selections instead of max and |x|, whose derivatives at 0 would be 0 and not 1/2
  Value binary(Value x, Value t) {
    Value zero = n.splatLike(x, 0), positive = n.emit<arith::CmpFOp>(arith::CmpFPredicate::OGT, x, zero);
    Value falling = n.emit<arith::SelectOp>(positive, n.emit<arith::NegFOp>(x), x);
    Value tail = n.emit<math::Log1pOp>(n.emit<math::ExpOp>(falling));
    Value whole = n.emit<arith::AddFOp>(n.emit<arith::SelectOp>(positive, x, zero), tail);
    return n.emit<arith::SubFOp>(whole, n.emit<arith::MulFOp>(x, t));
  }

  Value mean(Value rows) { return reduce(rows, nn::ReduceKind::Mean); }

  Value reduce(Value rows, nn::ReduceKind kind) {
    SmallVector<int64_t> dims = llvm::to_vector(llvm::seq<int64_t>(0, nn::typeOf(rows).getRank()));
    return n.emit<nn::ReduceOp>(rows, kind, dims);
  }

  const train::Recipe &recipe;
  const Loss &loss;
  ImportedGraph graph;
  Problems &problems;
  Node node;
  Location location;
  NodeImporter n;
};

} // namespace

std::string llmc::onnx::addRecipeLoss(const train::Recipe &recipe, ImportedGraph graph, Problems &problems) {
  return RecipeLoss(recipe, graph, problems).add();
}
