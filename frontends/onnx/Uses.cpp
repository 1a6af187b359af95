//===- Uses.cpp - what the use of an initializer says of it ------===//
#include "frontends/onnx/Uses.h"
#include "frontends/onnx/Constants.h"
#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/StringExtras.h"
#include <cmath>

using llvm::StringRef;
using namespace llmc;
using namespace llmc::onnx;

static constexpr unsigned kMaxDepth = 8;

//===-- What the elements say -------------------------------------------------------===//

namespace {
/// The elements of a tensor, if they are there.
class Elements {
public:
  explicit Elements(const Tensor &tensor) : tensor(tensor) {
    if (!tensor.missing && (tensor.type == DType::Float || tensor.type == DType::Double) &&
        static_cast<int64_t>(tensor.data.size()) == tensor.bytes())
      values = hostTensor(tensor).reals;
  }

  /// Zeros and minus infinities, or numbers as low: added to scores.
  bool isAdditiveMask() const {
    bool low = llvm::any_of(values, [](double v) { return v <= -1e4; });
    return low && llvm::all_of(values, [](double v) { return v == 0 || v <= -1e4; });
  }

  /// Zeros and ones, both: multiplied with scores.
  bool isBinaryMask() const {
    return llvm::is_contained(values, 0.0) && llvm::is_contained(values, 1.0) &&
           llvm::all_of(values, [](double v) { return v == 0 || v == 1; });
  }

  bool areEqual() const {
    return !values.empty() && llvm::all_of(values, [&](double v) { return v == values.front(); });
  }

  /// Rows 0, 1, 2, ... of sin(row w) or cos(row w), each column with a w of its own.
  bool areWaves() const {
    int64_t rows = 1;
    for (int64_t extent : tensor.dims)
      if (extent != 1) {
        rows = extent;
        break;
      }
    if (values.empty() || rows < 3)
      return false;
    int64_t columns = static_cast<int64_t>(values.size()) / rows;
    bool moves = false;
    for (int64_t c = 0; c < columns; ++c) {
      double zero = values[c], one = values[columns + c], two = values[2 * columns + c];
      if ((zero != 0 && zero != 1) || std::abs(one) > 1)
        return false;
      double twice = zero == 1 ? 2 * one * one - 1 : 2 * std::abs(one) * std::sqrt(1 - one * one);
      if (std::abs((zero == 1 ? two : std::abs(two)) - twice) > 1e-4)
        return false;
      moves |= one != zero;
    }
    return moves;
  }

  /// 1, r, r^2, ... with r below 1: what positions are multiplied with before sine and cosine.
  bool areFrequencies() const {
    if (values.size() < 3 || values[0] != 1 || values[1] <= 0 || values[1] >= 1)
      return false;
    for (size_t i = 2; i < values.size(); ++i)
      if (std::abs(values[i] - values[i - 1] * values[1]) > 1e-4 * values[i - 1])
        return false;
    return true;
  }

private:
  const Tensor &tensor;
  std::vector<double> values;
};
} // namespace

/// At most one dimension is larger than 1.
static bool isVector(const Tensor &tensor) {
  return llvm::count_if(tensor.dims, [](int64_t extent) { return extent != 1; }) <= 1;
}

/// "blocks.0.gamma": names of modules, with a dot.
static bool isModuleName(StringRef name) {
  if (!name.contains('.'))
    return false;
  for (StringRef part : llvm::split(name, '.'))
    if (part.empty() || !llvm::all_of(part, [](char c) { return llvm::isAlnum(c) || c == '_'; }))
      return false;
  return !llvm::isDigit(name.front());
}

//===-- UseJudge -----------------------------------------------------------------------===//

UseJudge::UseJudge(const Model &model) : model(model) {
  for (const ValueInfo &input : model.inputs)
    data.insert(input.name);
  for (const Node &node : model.nodes)
    addUses(node);
}

/// Nodes are in order, so that what a node reads is known when it comes.
void UseJudge::addUses(const Node &node) {
  bool depends = llvm::any_of(node.inputs, [&](const std::string &name) { return data.contains(name); }) ||
                 llvm::any_of(node.captures, [&](const std::string &name) { return data.contains(name); });
  for (auto [i, input] : llvm::enumerate(node.inputs))
    if (!input.empty())
      uses[input].push_back({&node, i});
  // The shape of a value is known, whatever the value depends on.
  if (depends && node.op != "Shape" && node.op != "Size")
    data.insert(node.outputs.begin(), node.outputs.end());
  for (const std::string &output : node.outputs)
    producer[output] = &node;
  for (const NodeAttribute &attribute : node.attributes)
    if (attribute.graph)
      for (const Node &inner : attribute.graph->nodes)
        addUses(inner);
}

static Verdict verdict(Verdict::Kind kind, const std::string &what, const Node &node) {
  return {kind, what + " `" + node.name + "`"};
}

Verdict UseJudge::judge(const Tensor &tensor) const {
  bool real = tensor.type == DType::Float || tensor.type == DType::Double || tensor.type == DType::Float16 ||
              tensor.type == DType::BFloat16;
  if (!real)
    return {Verdict::Constant, "no real numbers"};
  Verdict found = follow(tensor.name, tensor, 0);
  if (found.kind == Verdict::Parameter || found.kind == Verdict::Buffer)
    return found;
  if (isModuleName(tensor.name)) {
    StringRef last = StringRef(tensor.name).rsplit('.').second;
    if (last == "running_mean" || last == "running_var")
      return {Verdict::Buffer, "named as running statistics"};
    if (found.kind == Verdict::Unclear)
      return {Verdict::Parameter, "named as a module's; " + found.reason};
  }
  return found;
}

size_t UseJudge::countEqual(const Tensor &tensor) const {
  auto it = uses.find(tensor.name);
  if (it == uses.end() || tensor.elements < 2 || !Elements(tensor).areEqual())
    return 0;
  return it->second.size();
}

Verdict UseJudge::follow(StringRef value, const Tensor &tensor, unsigned depth) const {
  Verdict best{Verdict::Constant, "no operator reads it"};
  auto it = uses.find(value);
  if (it == uses.end())
    return best;
  if (depth > kMaxDepth)
    return {Verdict::Unclear, "too many operators between it and where it is used"};
  bool first = true;
  for (const Use &use : it->second) {
    Verdict found = ofUse(use, tensor, depth);
    if (first || found.kind > best.kind)
      best = found;
    first = false;
  }
  return best;
}

Verdict UseJudge::ofUse(const Use &use, const Tensor &tensor, unsigned depth) const {
  static const StringRef views[] = {"Transpose", "Reshape", "Cast",  "CastLike", "Identity", "Squeeze",
                                    "Unsqueeze", "Split",   "Slice", "Expand",   "Flatten",  "Tile"};
  static const StringRef arithmetic[] = {"Add", "Sub", "Mul", "Div", "Sum", "Concat", "Where"};
  const Node &node = *use.node;
  StringRef op = node.op;
  auto followOutputs = [&] {
    std::optional<Verdict> best;
    for (const std::string &output : node.outputs)
      if (Verdict found = follow(output, tensor, depth + 1); !output.empty() && (!best || found.kind > best->kind))
        best = found;
    return best.value_or(Verdict{Verdict::Constant, "no operator reads it"});
  };
  if (llvm::is_contained(views, op))
    return use.operand == 0 ? followOutputs() : verdict(Verdict::Constant, "a shape or an axis of", node);
  if (op == "BatchNormalization" && use.operand >= 3)
    return verdict(Verdict::Buffer, "running statistics of", node);
  if (op.ends_with("Normalization") && use.operand > 0)
    return verdict(Verdict::Parameter, "scale or bias of", node);
  bool product = op == "MatMul" || op == "Einsum" || (op == "Gemm" && use.operand < 2);
  bool outer = op == "MatMul" && tensor.dims.size() >= 3 && llvm::is_contained(llvm::ArrayRef(tensor.dims).take_back(2), 1);
  if (product && !llvm::all_of(node.outputs, [&](const std::string &name) { return !dependsOnData(name); })) {
    if (outer && Elements(tensor).areFrequencies())
      return verdict(Verdict::Constant, "frequencies, read by", node);
    return outer ? verdict(Verdict::Unclear, "an outer product in", node) : verdict(Verdict::Parameter, "weight of", node);
  }
  bool weight = (op == "Conv" || op == "ConvTranspose" || op == "PRelu" || op == "LSTM" || op == "GRU" || op == "RNN") &&
                use.operand >= 1 && use.operand <= 3;
  if (weight || (op == "Gemm" && use.operand == 2))
    return verdict(Verdict::Parameter, op == "Gemm" || use.operand > 1 ? "bias of" : "weight of", node);
  if (!dependsOnData(node.outputs.empty() ? "" : node.outputs.front())) { // an expression of constants
    Verdict found = followOutputs();
    if (tensor.elements > 1 && found.kind == Verdict::Parameter && !isModuleName(tensor.name))
      found.kind = Verdict::Unclear;
    return tensor.elements > 1 ? found : Verdict{Verdict::Constant, "one number"};
  }
  if ((op == "Gather" || op == "GatherND" || op == "GatherElements") && use.operand == 0)
    return ofTable(use, tensor);
  if (op == "Attention" && use.operand < 3)
    return verdict(Verdict::Parameter, "query, key or value of", node);
  if (llvm::is_contained(arithmetic, op) || (op == "Attention" && use.operand == 3) || op.starts_with("Scatter"))
    return ofArithmetic(use, tensor);
  return verdict(Verdict::Constant, ("an operand of " + op).str(), node);
}

/// A table that data looks up: of embeddings, unless its rows are multiplied with data, as rotary tables are.
Verdict UseJudge::ofTable(const Use &use, const Tensor &tensor) const {
  const Node &node = *use.node;
  if (tensor.elements == 1 || Elements(tensor).areWaves())
    return verdict(Verdict::Constant, tensor.elements == 1 ? "one number, read by" : "sines and cosines, read by", node);
  std::vector<std::string> values = node.outputs;
  for (unsigned depth = 0; depth < kMaxDepth && !values.empty(); ++depth) {
    std::vector<std::string> next;
    for (const std::string &value : values)
      for (const Use &reader : uses.lookup(value)) {
        StringRef op = reader.node->op;
        if (op == "Mul" && dependsOnData(reader.node->inputs[reader.operand == 0 ? 1 : 0]))
          return verdict(Verdict::Unclear, "a table whose rows are multiplied with data in", *reader.node);
        if (op == "Reshape" || op == "Transpose" || op == "Cast" || op == "Unsqueeze" || op == "Squeeze" || op == "Identity")
          next.insert(next.end(), reader.node->outputs.begin(), reader.node->outputs.end());
      }
    values = std::move(next);
  }
  if (Elements(tensor).isBinaryMask())
    return verdict(Verdict::Unclear, "a table of zeros and ones, looked up by", node);
  return verdict(Verdict::Parameter, "table of", node);
}

/// Added to, multiplied or joined with data.
Verdict UseJudge::ofArithmetic(const Use &use, const Tensor &tensor) const {
  const Node &node = *use.node;
  StringRef op = node.op;
  if (tensor.elements <= 1)
    return verdict(Verdict::Constant, "one number, read by", node);
  Elements elements(tensor);
  if (elements.isAdditiveMask() || (elements.isBinaryMask() && op != "Add" && op != "Concat"))
    return verdict(Verdict::Constant, "a mask, read by", node);
  if (elements.areWaves())
    return verdict(Verdict::Constant, "sines and cosines, read by", node);
  if (op.starts_with("Scatter") && elements.areEqual())
    return verdict(Verdict::Constant, "filled with one number, read by", node);
  if (elements.areFrequencies() && op == "Mul")
    return verdict(Verdict::Constant, "frequencies, read by", node);
  if (op == "Concat" && elements.areEqual()) // a fresh token may be zeros; a border is as wide as the data
    return isVector(tensor) ? verdict(Verdict::Unclear, "joined with data, all elements equal, in", node)
                            : verdict(Verdict::Constant, "a border of equal numbers, read by", node);
  if (op == "Concat")
    return verdict(Verdict::Parameter, "joined with data by", node);
  for (auto [i, input] : llvm::enumerate(node.inputs))
    if (i != use.operand && isInput(input, 0))
      return verdict(Verdict::Unclear, "an operation on an input of the graph in", node);
  if (op == "Add" || op == "Sum")
    return !isVector(tensor) && feedsSoftmax(node.outputs.front(), 0)
               ? verdict(Verdict::Unclear, "added to the scores of an attention in", node)
               : verdict(Verdict::Parameter, "added to data by", node);
  if ((op == "Mul" || op == "Where") && isVector(tensor))
    return verdict(Verdict::Parameter, op == "Mul" ? "multiplied with data by" : "selected into data by", node);
  return verdict(Verdict::Unclear, ("an operand of " + op).str(), node);
}

bool UseJudge::feedsSoftmax(StringRef value, unsigned depth) const {
  static const StringRef between[] = {"Add", "Where", "Cast", "Reshape", "Transpose", "Identity", "Mul", "Div"};
  for (const Use &use : uses.lookup(value)) {
    if (use.node->op == "Softmax")
      return true;
    if (depth < 4 && llvm::is_contained(between, use.node->op) && !use.node->outputs.empty() &&
        feedsSoftmax(use.node->outputs.front(), depth + 1))
      return true;
  }
  return false;
}

/// An input of the graph, or one whose elements were only moved.
bool UseJudge::isInput(StringRef value, unsigned depth) const {
  if (llvm::any_of(model.inputs, [&](const ValueInfo &input) { return input.name == value; }))
    return true;
  auto it = producer.find(value);
  if (it == producer.end() || depth > kMaxDepth || it->second->inputs.empty())
    return false;
  static const StringRef views[] = {"Transpose", "Reshape", "Cast", "Identity", "Squeeze", "Unsqueeze", "Flatten", "Slice"};
  return llvm::is_contained(views, it->second->op) && isInput(it->second->inputs.front(), depth + 1);
}
