//===- Versions.cpp - nodes of older operator sets in the form of the newest ------===//
//
// The importer's handlers take each operator in its newest form. Most changes from one operator set to the next only allow more
// types or shapes; the others stand here in one table. An operator whose meaning changed with its form unchanged (Softmax,
// Hardmax, GroupNormalization) has a handler for each meaning in the table of operators instead.
//
//===----------------------------------------------------------------------===//
#include "frontends/onnx/ReaderParts.h"
#include <cstring>

using llvm::StringRef;
using namespace llmc;
using namespace llmc::onnx;

namespace {
/// In operator sets before `before`, input `input` was the attribute `attribute`.
struct Moved {
  StringRef op;
  int64_t before;
  StringRef attribute;
  size_t input;
};

/// In operator sets before `before`, the operator had another name.
struct Renamed {
  StringRef op;
  int64_t before;
  StringRef now;
};
} // namespace

static constexpr Moved kMoved[] = {
    {"Squeeze", 13, "axes", 1},
    {"Unsqueeze", 13, "axes", 1},
    {"ReduceSum", 13, "axes", 1},
    {"ReduceMean", 18, "axes", 1},
    {"ReduceMax", 18, "axes", 1},
    {"ReduceMin", 18, "axes", 1},
    {"ReduceProd", 18, "axes", 1},
    {"ReduceL1", 18, "axes", 1},
    {"ReduceL2", 18, "axes", 1},
    {"ReduceLogSum", 18, "axes", 1},
    {"ReduceLogSumExp", 18, "axes", 1},
    {"ReduceSumSquare", 18, "axes", 1},
    {"Split", 13, "split", 1},
    {"Slice", 10, "starts", 1},
    {"Slice", 10, "ends", 2},
    {"Slice", 10, "axes", 3},
    {"Pad", 11, "pads", 1},
    {"Pad", 11, "value", 2},
    {"Clip", 11, "min", 1},
    {"Clip", 11, "max", 2},
    {"TopK", 10, "k", 1},
    {"Dropout", 12, "ratio", 1},
};

// Scatter was deprecated in favour of ScatterElements, and files of newer sets still hold it.
static constexpr Renamed kRenamed[] = {{"Scatter", INT64_MAX, "ScatterElements"}};

/// A constant of one element type: [count] for a list, [] for a number.
template <typename T> static Tensor makeTensor(DType type, llvm::ArrayRef<T> values, bool isList) {
  Tensor tensor;
  tensor.type = type;
  tensor.elements = static_cast<int64_t>(values.size());
  if (isList)
    tensor.dims.push_back(tensor.elements);
  tensor.owned = std::make_shared<std::string>(reinterpret_cast<const char *>(values.data()), values.size() * sizeof(T));
  tensor.data = llvm::ArrayRef<char>(tensor.owned->data(), tensor.owned->size());
  return tensor;
}

static void setInput(Node &node, size_t index, StringRef what, Tensor tensor, std::vector<Tensor> &constants) {
  // No value of the file has such a name: the first output is unique.
  tensor.name = (node.outputs.empty() ? node.name : node.outputs.front()) + "\n" + what.str();
  if (node.inputs.size() <= index)
    node.inputs.resize(index + 1);
  node.inputs[index] = tensor.name;
  constants.push_back(std::move(tensor));
}

static void moveAttribute(Node &node, const Moved &moved, std::vector<Tensor> &constants) {
  const NodeAttribute *given = node.attribute(moved.attribute);
  if (!given)
    return;
  NodeAttribute a = *given;
  llvm::erase_if(node.attributes, [&](const NodeAttribute &other) { return other.name == moved.attribute; });
  if (a.kind == NodeAttribute::Ints)
    setInput(node, moved.input, moved.attribute, makeTensor<int64_t>(DType::Int64, a.ints, true), constants);
  else if (a.kind == NodeAttribute::Int)
    setInput(node, moved.input, moved.attribute, makeTensor<int64_t>(DType::Int64, a.i, true), constants);
  else if (a.kind == NodeAttribute::Float)
    setInput(node, moved.input, moved.attribute, makeTensor<float>(DType::Float, a.f, false), constants);
}

/// Before 12 a Dropout node said nothing of its mode: in training it drops.
static void adaptDropout(Node &node, std::vector<Tensor> &constants) {
  char training = 1;
  setInput(node, 2, "training_mode", makeTensor<char>(DType::Bool, training, false), constants);
}

/// Before 14 BatchNormalization was in training mode if it had more than one output: the new running statistics, then those
/// of the batch.
static void adaptBatchNorm(Node &node) {
  size_t outputs = llvm::count_if(node.outputs, [](const std::string &name) { return !name.empty(); });
  if (outputs < 2)
    return;
  NodeAttribute training;
  training.name = "training_mode";
  training.kind = NodeAttribute::Int;
  training.i = 1;
  node.attributes.push_back(training);
}

void llmc::onnx::adaptVersion(Node &node, std::vector<Tensor> &constants) {
  for (NodeAttribute &attribute : node.attributes)
    if (attribute.graph) {
      for (Node &inner : attribute.graph->nodes)
        adaptVersion(inner, constants);
      constants.insert(constants.end(), attribute.graph->initializers.begin(), attribute.graph->initializers.end());
      attribute.graph->initializers.clear();
    }
  if (!node.domain.empty())
    return;
  for (const Renamed &renamed : kRenamed)
    if (node.op == renamed.op && node.version < renamed.before)
      node.op = renamed.now.str();
  if (node.op == "Dropout" && node.version < 12)
    adaptDropout(node, constants);
  if (node.op == "BatchNormalization" && node.version < 14)
    adaptBatchNorm(node);
  for (const Moved &moved : kMoved)
    if (node.op == moved.op && node.version < moved.before)
      moveAttribute(node, moved, constants);
}
