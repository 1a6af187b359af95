//===- RecomposeAttention.cpp - import-recompose-attention -------------------------------===//
//
// From the contraction of weights with values upward:
//   1. the weights are a softmax, perhaps guarded against rows of NaN, and nothing else uses them;
//   2. the softmax's input is a contraction of queries and keys under scales and masks, in any order that scales first;
//   3. labels that queries and keys share are batch and key heads; of those that only the queries have, the last is the
//      sequence and the other the query heads of one key head;
//   4. the result replaces the second contraction; transposes give and take [B, T, H, D], and cancel in import-sink-transposes.
// A mask that a parameter flows into needs a gradient, which nn.attention does not give: such attention stays decomposed.
//
//===----------------------------------------------------------------------===//
#include "dialects/train/Train.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "passes/import/AttentionMask.h"
#include "passes/import/Matching.h"
#include "passes/import/Passes.h"
#include <cmath>

namespace llmc::importing {
#define GEN_PASS_DEF_IMPORTRECOMPOSEATTENTION
#include "passes/import/Passes.h.inc"
} // namespace llmc::importing

using namespace mlir;
using namespace llmc;
using namespace llmc::importing;

namespace {

/// Hides scores: i1 (true: seen, or hidden if `inverted`) or added. A `fill` that is finite is kept as an addend, since rows
/// that see nothing then spread over all keys.
struct Mask {
  Value value;
  bool inverted = false;
  double fill = -INFINITY;
};

/// contraction * scale + masks.
struct Scores {
  nn::ContractOp contract;
  double scale = 1.0;
  SmallVector<Mask> masks;
};

/// Reads scores from the outside in.
bool readScores(Value value, Scores &scores) {
  if (!value.hasOneUse())
    return false;
  if (auto contract = value.getDefiningOp<nn::ContractOp>()) {
    scores.contract = contract;
    return true;
  }
  auto attempt = [&](Value inner, auto change) {
    Scores copy = scores;
    change(copy);
    if (!readScores(inner, copy))
      return false;
    scores = std::move(copy);
    return true;
  };
  Operation *op = value.getDefiningOp();
  if (isa_and_nonnull<arith::MulFOp, arith::DivFOp>(op)) {
    for (int i : {0, 1}) {
      std::optional<double> factor = splatOf(op->getOperand(1 - i));
      bool divides = isa<arith::DivFOp>(op);
      if (!factor || *factor == 0.0 || (divides && i == 1))
        continue;
      return attempt(op->getOperand(i), [&](Scores &s) { s.scale *= divides ? 1.0 / *factor : *factor; });
    }
    return false;
  }
  if (scores.scale != 1.0) // a scale outside of a mask would scale it too
    return false;
  if (auto add = dyn_cast_or_null<arith::AddFOp>(op))
    return eitherOrder(add, [&](Value inner, Value mask) { return attempt(inner, [&](Scores &s) { s.masks.push_back({mask}); }); });
  if (auto select = dyn_cast_or_null<arith::SelectOp>(op)) {
    if (select.getCondition().getType().isInteger(1) || nn::typeOf(select.getCondition()).getRank() == 0)
      return false;
    for (bool inverted : {false, true}) {
      std::optional<double> fill = splatOf(inverted ? select.getTrueValue() : select.getFalseValue());
      if (fill && *fill <= MaskReader::kHidden)
        return attempt(inverted ? select.getFalseValue() : select.getTrueValue(),
                       [&](Scores &s) { s.masks.push_back({select.getCondition(), inverted, *fill}); });
    }
  }
  return false;
}

/// The softmax of guarded or plain weights that have no user but `weights`' only one.
nn::SoftmaxOp softmaxOf(Value weights) {
  if (!weights.hasOneUse())
    return {};
  if (auto softmax = weights.getDefiningOp<nn::SoftmaxOp>())
    return softmax;
  auto select = weights.getDefiningOp<arith::SelectOp>();
  auto isNan = select ? select.getCondition().getDefiningOp<arith::CmpFOp>() : nullptr;
  auto softmax = select ? select.getFalseValue().getDefiningOp<nn::SoftmaxOp>() : nullptr;
  if (!softmax || !isNan || !isSplat(select.getTrueValue(), 0.0) || isNan.getLhs() != softmax.getResult() ||
      isNan.getRhs() != softmax.getResult())
    return {};
  bool guards = isNan.getPredicate() == arith::CmpFPredicate::UNO || isNan.getPredicate() == arith::CmpFPredicate::UNE;
  bool onlyHere = llvm::all_of(softmax->getUsers(), [&](Operation *user) { return user == select || user == isNan; });
  return guards && onlyHere && isNan->hasOneUse() ? softmax : nn::SoftmaxOp();
}

/// Which label is what. `group` and `member` (of a group) are 0 if there is none.
struct Labels {
  std::string query, key, value, scores, result;
  char batch = 0, group = 0, member = 0, queries = 0, keys = 0, size = 0, valueSize = 0;
  bool queryIsRhs = false, valueIsRhs = false;
};

std::string without(StringRef labels, StringRef others) {
  std::string rest;
  for (char label : labels)
    if (!others.contains(label))
      rest.push_back(label);
  return rest;
}
bool isSame(StringRef a, StringRef b) { return a.size() == b.size() && without(a, b).empty(); }

/// The labels of both contractions; nothing if they are no attention. With a batch of one, a single shared dimension that is
/// larger is not the batch but heads.
std::optional<Labels> readLabels(nn::ContractOp scores, nn::ContractOp product, bool weightsAreRhs, int64_t batchSize) {
  Labels l;
  l.scores = scores.resultLabels().str();
  if (l.scores.empty())
    return std::nullopt;
  l.keys = l.scores.back();
  l.queryIsRhs = scores.lhsLabels().contains(l.keys);
  l.query = (l.queryIsRhs ? scores.rhsLabels() : scores.lhsLabels()).str();
  l.key = (l.queryIsRhs ? scores.lhsLabels() : scores.rhsLabels()).str();
  std::string contracted = without(l.query, l.scores), onlyQuery = without(without(l.scores, l.key), std::string(1, l.keys));
  std::string shared = without(without(l.scores, onlyQuery), std::string(1, l.keys));
  if (StringRef(l.query).contains(l.keys) || contracted.size() != 1 || onlyQuery.empty() || onlyQuery.size() > 2 || shared.empty() ||
      shared.size() > 2 || !isSame(l.query, shared + onlyQuery + contracted) || !isSame(l.key, shared + l.keys + contracted))
    return std::nullopt;
  l.size = contracted[0];
  l.queries = onlyQuery.back();
  l.member = onlyQuery.size() == 2 ? onlyQuery[0] : 0;
  l.batch = shared[0];
  l.group = shared.size() == 2 ? shared[1] : 0;
  if (!l.group && !l.member && batchSize == 1 && nn::typeOf(scores).getDimSize(l.scores.find(l.batch)) > 1)
    std::swap(l.batch, l.group);
  // The second contraction in the first one's labels; its new label is '*'.
  l.valueIsRhs = !weightsAreRhs;
  StringRef weights = weightsAreRhs ? product.rhsLabels() : product.lhsLabels();
  auto renamed = [&](StringRef labels) {
    std::string result;
    for (char label : labels)
      result.push_back(weights.contains(label) ? l.scores[weights.find(label)] : '*');
    return result;
  };
  l.valueSize = '*';
  l.value = renamed(weightsAreRhs ? product.lhsLabels() : product.rhsLabels());
  l.result = renamed(product.resultLabels());
  if (!isSame(l.value, shared + l.keys + "*") || !isSame(l.result, without(l.scores, std::string(1, l.keys)) + "*"))
    return std::nullopt;
  return l;
}

class Rewriter {
public:
  Rewriter(nn::ContractOp product, const Scores &scores, const Labels &labels)
      : product(product), scores(scores), l(labels), builder(product), loc(product.getLoc()) {}

  /// The attention in place of the product; null if a mask has a form that nn.attention does not take.
  Value run(MaskReader &reader);

private:
  int64_t sizeOf(char label) const {
    if (label == 0)
      return 1;
    nn::ContractOp contract = scores.contract;
    return nn::typeOf(contract).getDimSize(StringRef(l.scores).find(label));
  }
  /// `value` with its dimensions in the order of `to`; labels that it lacks are left out.
  Value permuted(Value value, StringRef from, StringRef to) {
    SmallVector<int64_t> permutation;
    for (char label : to)
      if (size_t at = from.find(label); at != StringRef::npos)
        permutation.push_back(static_cast<int64_t>(at));
    return builder.createOrFold<nn::TransposeOp>(loc, value, permutation);
  }
  /// [B, T, H, D] of an operand.
  Value operand(Value value, StringRef labels, std::initializer_list<char> order, ArrayRef<int64_t> shape) {
    std::string to;
    for (char label : order)
      if (label)
        to.push_back(label);
    return nn::reshape(builder, loc, permuted(value, labels, to), shape);
  }
  bool readMasks(MaskReader &reader);
  bool placeMasks();
  Value combined();
  Value additive(const Mask &mask, Value value);

  nn::ContractOp product;
  const Scores &scores;
  const Labels &l;
  OpBuilder builder;
  Location loc;
  bool causal = false;
  SmallVector<Mask> masks;
  SmallVector<SmallVector<int64_t>> places; // of each mask's large dimensions in [B, H, T, S]
};

/// Drops masks that hide nothing or that `causal` says.
bool Rewriter::readMasks(MaskReader &reader) {
  // The reader wants queries second to last.
  bool ordered = l.scores[l.scores.size() - 2] == l.queries;
  for (const Mask &mask : scores.masks) {
    MaskKind kind = ordered ? reader.kindOf(mask.value, mask.inverted) : MaskKind::Other;
    causal |= kind == MaskKind::Causal;
    if (kind == MaskKind::Other)
      masks.push_back(mask);
  }
  return placeMasks();
}

bool Rewriter::placeMasks() {
  for (const Mask &mask : masks) {
    SmallVector<int64_t> place;
    for (int64_t d : spreadOf(mask.value).dims) {
      char label = l.scores[d];
      // Heads that are split in two labels have no place of their own.
      if ((label == l.group && l.member) || (label == l.member && l.group))
        return false;
      place.push_back(label == l.batch ? 0 : label == l.queries ? 2 : label == l.keys ? 3 : 1);
    }
    if (!llvm::is_sorted(place))
      return false;
    places.push_back(place);
  }
  return true;
}

Value Rewriter::additive(const Mask &mask, Value value) {
  RankedTensorType type = nn::typeOf(value);
  if (isa<FloatType>(type.getElementType()))
    return value;
  auto floats = type.clone(nn::typeOf(product).getElementType());
  Value seen = nn::splat(builder, loc, floats, 0.0), hidden = nn::splat(builder, loc, floats, mask.fill);
  return arith::SelectOp::create(builder, loc, value, mask.inverted ? hidden : seen, mask.inverted ? seen : hidden);
}

/// One mask [b, h, T, S] of all, b and h being 1 or whole; null if there is none.
Value Rewriter::combined() {
  SmallVector<int64_t> shape = {1, 1, sizeOf(l.queries), sizeOf(l.keys)};
  for (const SmallVector<int64_t> &place : places)
    for (int64_t d : place)
      shape[d] = d == 0 ? sizeOf(l.batch) : d == 1 ? sizeOf(l.group) * sizeOf(l.member) : shape[d];
  bool stayBoolean = llvm::all_of(masks, [](const Mask &m) {
    return nn::typeOf(m.value).getElementType().isInteger(1) && !m.inverted && m.fill == -INFINITY;
  });
  Value result;
  for (auto [mask, place] : llvm::zip(masks, places)) {
    Value value = respread(builder, loc, spreadOf(mask.value), place, shape);
    if (!stayBoolean)
      value = additive(mask, value);
    if (!result)
      result = value;
    else if (stayBoolean)
      result = arith::AndIOp::create(builder, loc, result, value);
    else
      result = arith::AddFOp::create(builder, loc, result, value);
  }
  return result;
}

Value Rewriter::run(MaskReader &reader) {
  if (!readMasks(reader))
    return {};
  nn::ContractOp contract = scores.contract;
  Value q = l.queryIsRhs ? contract.getRhs() : contract.getLhs(), k = l.queryIsRhs ? contract.getLhs() : contract.getRhs();
  Value v = l.valueIsRhs ? product.getRhs() : product.getLhs();
  int64_t batch = sizeOf(l.batch), queries = sizeOf(l.queries), keys = sizeOf(l.keys), groups = sizeOf(l.group);
  int64_t heads = groups * sizeOf(l.member), size = nn::typeOf(q).getDimSize(StringRef(l.query).find(l.size));
  int64_t valueSize = nn::typeOf(v).getDimSize(StringRef(l.value).find(l.valueSize));
  q = operand(q, l.query, {l.batch, l.queries, l.group, l.member, l.size}, {batch, queries, heads, size});
  k = operand(k, l.key, {l.batch, l.keys, l.group, l.size}, {batch, keys, groups, size});
  v = operand(v, l.value, {l.batch, l.keys, l.group, l.valueSize}, {batch, keys, groups, valueSize});
  Type element = nn::typeOf(q).getElementType();
  auto attention = nn::AttentionOp::create(builder, loc, RankedTensorType::get({batch, queries, heads, valueSize}, element),
                                           RankedTensorType::get({batch, heads, queries}, element), q, k, v, combined(),
                                           builder.getF64FloatAttr(scores.scale), builder.getBoolAttr(causal));
  std::string order;
  SmallVector<int64_t> shape;
  for (char label : {l.batch, l.queries, l.group, l.member, l.valueSize})
    if (label) {
      order.push_back(label);
      shape.push_back(label == l.valueSize ? valueSize : sizeOf(label));
    }
  return permuted(nn::reshape(builder, loc, attention.getResult(), shape), order, l.result);
}

struct RecomposeAttention : importing::impl::ImportRecomposeAttentionBase<RecomposeAttention> {
  void runOnOperation() override {
    for (auto function : getOperation().getOps<func::FuncOp>()) {
      DenseSet<Value> trained = valuesOfParameters(function);
      MaskReader reader(function);
      SmallVector<nn::ContractOp> products(function.getOps<nn::ContractOp>());
      for (nn::ContractOp product : products)
        recompose(product, trained, reader, batchOf(function));
    }
  }

  /// The size of dimension 0 of the first input; 0 if there is none.
  static int64_t batchOf(func::FuncOp function) {
    for (BlockArgument argument : function.getArguments())
      if (train::argumentString(function, argument.getArgNumber(), train::kRole) == train::kInput && nn::typeOf(argument).getRank() > 0)
        return nn::typeOf(argument).getDimSize(0);
    return 0;
  }

  void recompose(nn::ContractOp product, DenseSet<Value> &trained, MaskReader &reader, int64_t batchSize) {
    for (bool weightsAreRhs : {false, true}) {
      Value weights = weightsAreRhs ? product.getRhs() : product.getLhs();
      nn::SoftmaxOp softmax = softmaxOf(weights);
      Scores scores;
      if (!softmax || !readScores(softmax.getInput(), scores) ||
          llvm::any_of(scores.masks, [&](const Mask &mask) { return trained.contains(mask.value); }))
        continue;
      std::optional<Labels> labels = readLabels(scores.contract, product, weightsAreRhs, batchSize);
      Value result = labels ? Rewriter(product, scores, *labels).run(reader) : Value();
      if (!result)
        continue;
      if (trained.contains(product.getResult()))
        trained.insert(result);
      product.replaceAllUsesWith(result); // what is unused now goes with the next clean-up
      return;
    }
  }
};

} // namespace
