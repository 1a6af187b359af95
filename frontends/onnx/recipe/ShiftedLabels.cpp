//===- ShiftedLabels.cpp - does a graph shift its labels itself? ---===//
//
//   1. the labels that reach a loss are computed from an input whose entries are their own numbers, so that it shows which
//      entry each row is compared with, however the graph pads, slices, gathers or rolls them;
//   2. the row's scores are followed back through what keeps positions, to slices and concatenations that move them;
//   3. the shift is the difference that most rows of the first sample have.
//
//===----------------------------------------------------------------------===//
#include "frontends/onnx/recipe/ShiftedLabels.h"
#include "dialects/interfaces/Interfaces.h"
#include "dialects/nn/Nn.h"
#include "dialects/train/Train.h"
#include "frontends/onnx/recipe/RecipeChecks.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include <map>
#include <unordered_map>

using namespace mlir;
using namespace llmc;
using namespace llmc::onnx;

namespace {

constexpr int64_t kMostElements = int64_t(1) << 22;
constexpr int kMostSteps = 64;

class ShiftFinder {
public:
  ShiftFinder(func::FuncOp forward, unsigned index) : forward(forward), labels(forward.getArgument(index)), type(nn::typeOf(labels)) {}

  std::optional<int64_t> find() {
    if (type.getRank() != 2 || type.getNumElements() > kMostElements)
      return std::nullopt;
    std::optional<int64_t> least;
    auto look = [&](Value chosen, Value scores) {
      if (std::optional<int64_t> shift = shiftOf(chosen, scores))
        least = least ? std::min(*least, *shift) : *shift;
    };
    forward.walk([&](Operation *op) {
      if (auto loss = dyn_cast<nn::CrossEntropyOp>(op))
        look(loss.getLabels(), loss.getLogits());
      else if (auto gather = dyn_cast<nn::GatherAlongOp>(op); gather && static_cast<int64_t>(gather.getAxis()) == nn::typeOf(gather.getInput()).getRank() - 1)
        look(gather.getIndices(), gather.getInput());
    });
    return least;
  }

private:
  struct Known {
    HostTensor tensor;
    bool fromLabels = false;
  };

  /// The value of `value` where the labels are 1, 2, 3, ... and all other inputs are ones; null if parameters are needed.
  const Known *evaluate(Value value, int depth = 0) {
    if (auto it = values.find(value.getAsOpaquePointer()); it != values.end())
      return it->second ? &*it->second : nullptr;
    auto ranked = dyn_cast<RankedTensorType>(value.getType());
    if (!ranked || ranked.getNumElements() > kMostElements || depth > kMostSteps)
      return nullptr;
    std::optional<Known> known = isa<BlockArgument>(value) ? argument(cast<BlockArgument>(value)) : result(cast<OpResult>(value), depth);
    std::optional<Known> &stored = values[value.getAsOpaquePointer()]; // a node of the map, which stays where it is
    stored = std::move(known);
    return stored ? &*stored : nullptr;
  }

  std::optional<Known> argument(BlockArgument argument) {
    if (auto value = forward.getArgAttrOfType<ElementsAttr>(argument.getArgNumber(), train::kValue))
      if (FailureOr<HostTensor> tensor = HostTensor::fromAttribute(value); succeeded(tensor))
        return Known{std::move(*tensor)};
    if (train::argumentString(forward, argument.getArgNumber(), train::kRole) != train::kInput)
      return std::nullopt;
    Known known{HostTensor::zeros(argument.getType()), argument == labels};
    for (int64_t i = 0, e = known.tensor.size(); i < e; ++i)
      if (known.tensor.isReal)
        known.tensor.reals[i] = 1;
      else
        known.tensor.integers[i] = argument == labels ? i + 1 : 1;
    return known;
  }

  std::optional<Known> result(OpResult value, int depth) {
    Operation *op = value.getOwner();
    auto evaluable = dyn_cast<Evaluable>(op);
    if (!evaluable)
      return std::nullopt;
    SmallVector<const HostTensor *> operands;
    bool fromLabels = false;
    for (Value operand : op->getOperands()) {
      const Known *known = evaluate(operand, depth + 1);
      if (!known)
        return std::nullopt;
      operands.push_back(&known->tensor);
      fromLabels |= known->fromLabels;
    }
    std::vector<HostTensor> results;
    for (Type each : op->getResultTypes())
      results.push_back(HostTensor::zeros(each));
    if (failed(evaluable.evaluate(operands, results)))
      return std::nullopt;
    return Known{std::move(results[value.getResultNumber()]), fromLabels};
  }

  /// How far position r of `scores` is behind position r of the values that its rows are made of.
  int64_t offsetOf(Value scores, int64_t rows) const {
    int64_t offset = 0, length = type.getDimSize(1);
    for (int step = 0; step < kMostSteps && scores.getDefiningOp(); ++step) {
      Operation *op = scores.getDefiningOp();
      if (op->getNumOperands() == 0)
        break;
      if (auto slice = dyn_cast<tensor::ExtractSliceOp>(op)) {
        for (auto [d, size] : llvm::enumerate(slice.getSourceType().getShape()))
          if (size >= length && slice.getType().getDimSize(static_cast<unsigned>(d)) == rows && size != rows && !slice.isDynamicOffset(static_cast<unsigned>(d)))
            offset += slice.getStaticOffset(static_cast<unsigned>(d));
      } else if (auto concat = dyn_cast<tensor::ConcatOp>(op); concat && concat.getNumOperands() == 2) {
        Value first = concat.getOperand(0), second = concat.getOperand(1);
        if (first.getDefiningOp() && isa<arith::ConstantOp, nn::BroadcastOp>(first.getDefiningOp())) {
          offset -= nn::typeOf(first).getDimSize(static_cast<unsigned>(concat.getDim()));
          scores = second;
          continue;
        }
      }
      scores = op->getOperand(0);
    }
    return offset;
  }

  /// The difference of positions that most rows have.
  std::optional<int64_t> shiftOf(Value chosen, Value scores) {
    const Known *known = evaluate(chosen);
    if (!known || !known->fromLabels || known->tensor.isReal)
      return std::nullopt;
    int64_t samples = type.getDimSize(0), length = type.getDimSize(1), total = known->tensor.size();
    if (total % samples != 0)
      return std::nullopt;
    int64_t rows = total / samples, offset = offsetOf(scores, rows);
    // Rows are sample by sample, or position by position.
    for (bool sampleFirst : {true, false}) {
      std::map<int64_t, int64_t> votes;
      int64_t best = 0, found = 0, all = 0;
      for (int64_t i = 0; i < total; ++i) {
        int64_t entry = known->tensor.integers[i] - 1, sample = sampleFirst ? i / rows : i % samples, row = sampleFirst ? i % rows : i / samples;
        if (entry < 0 || entry >= samples * length)
          continue;
        ++all;
        if (int64_t count = entry / length == sample ? ++votes[entry % length - row - offset] : 0; count > best) {
          best = count;
          found = entry % length - row - offset;
        }
      }
      if (best > 0 && 2 * best > all)
        return found;
    }
    return std::nullopt;
  }

  func::FuncOp forward;
  BlockArgument labels;
  RankedTensorType type;
  std::unordered_map<const void *, std::optional<Known>> values;
};

} // namespace

std::optional<int64_t> llmc::onnx::shiftOfLabels(func::FuncOp forward, unsigned labels) { return ShiftFinder(forward, labels).find(); }

Problems llmc::onnx::checkShifts(func::FuncOp forward, const train::Recipe &recipe) {
  Problems problems;
  for (auto &[name, source] : recipe.data) {
    int64_t index = source.isNext() ? train::findArgument(forward, name, train::kInput) : -1;
    if (index < 0)
      continue;
    std::optional<int64_t> shift = shiftOfLabels(forward, static_cast<unsigned>(index));
    std::string key = "data." + name, plain = source.isTokens() ? "tokens" : source.array;
    if (shift.value_or(0) > 0 && !source.shiftedTwice)
      problems.push_back(recipeProblem(key,
                                       "`" + key + ": " + plain + ".next`: the graph shifts `" + name + "` itself, by " + std::to_string(*shift) +
                                           ", so that it would learn the token " + std::to_string(*shift + 1) + " positions further on",
                                       "write `data: {" + name + ": " + plain + "}`; if it is meant, `" + name + ": {source: " + plain + ".next, shifted_twice: true}`"));
    if (source.shiftedTwice && shift && *shift <= 0)
      problems.push_back(recipeProblem(key, "`" + key + ".shifted_twice` has no effect: the graph does not shift `" + name + "` itself",
                                       "write `data: {" + name + ": " + plain + ".next}`"));
  }
  return problems;
}
