//===- ExpandLoss.cpp - lowering-expand-loss ------------------------------------------===//
//
//   1. pair each linear_cross_entropy with its backward op, if what the loss is weighted with (the cotangent) can be known
//      before the loss: then both walk the rows together, and logits are made once;
//   2. cut the rows into chunks whose logits stay within a bound, and walk them: logits, loss, gradient of the logits (in
//      their place), gradient of the input, gradient of the weight (added up);
//   3. a backward op without a partner makes the logits again.
//
// Where ranks have parts of the classes, the gradient needs the log-sum-exp of all of them, which takes messages of one number
// a row between loss and gradient. They are sent chunk by chunk: making the logits again instead is a fourth product beside
// three, thousands of operations for each byte that fewer messages would save.
//
//===----------------------------------------------------------------------===//
#include "dialects/nn/Nn.h"
#include "mlir/Analysis/SliceAnalysis.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/IR/IRMapping.h"
#include "passes/lowering/LossChain.h"
#include "passes/lowering/Passes.h"
#include "llvm/Support/MathExtras.h"

namespace llmc::lowering {
#define GEN_PASS_DEF_LOWERINGEXPANDLOSS
#include "passes/lowering/Passes.h.inc"
} // namespace llmc::lowering

using namespace mlir;
using namespace llmc;

namespace {

/// Rows of one chunk: the logits of a chunk stay within `bytes`, but matrix products want rows.
int64_t chunkRows(int64_t rows, int64_t vocabulary, int64_t bytes) {
  constexpr int64_t granule = 64;
  int64_t most = std::max<int64_t>(granule, bytes / (4 * vocabulary) / granule * granule);
  if (rows <= most)
    return rows;
  int64_t chunks = llvm::divideCeil(rows, most);
  return llvm::alignTo(llvm::divideCeil(rows, chunks), granule);
}

/// Operands that the loss and its backward op share.
struct Head {
  Value input, weight, labels, bias;
  int64_t ignored;
  bool vocabularyLast;

  explicit Head(nn::LinearCrossEntropyOp op)
      : input(op.getInput()), weight(op.getWeightMatrix()), labels(op.getLabels()), bias(op.getBias()), ignored(op.getIgnoreIndex()),
        vocabularyLast(op.getVocabularyLast()) {}
  explicit Head(nn::LinearCrossEntropyBackwardOp op)
      : input(op.getInput()), weight(op.getWeightMatrix()), labels(op.getLabels()), bias(op.getBias()), ignored(op.getIgnoreIndex()),
        vocabularyLast(op.getVocabularyLast()) {}
  bool operator==(const Head &) const = default;
  /// The same head, perhaps with other labels.
  bool isSameButLabels(const Head &other) const {
    Head same = *this;
    same.labels = other.labels;
    return same == other;
  }
  int64_t vocabulary() const { return nn::typeOf(weight).getDimSize(vocabularyLast ? 1 : 0); }
};

/// Emits the walk over the rows.
class Walker {
public:
  Walker(OpBuilder &b, Location loc, const Head &head, int64_t bytes) : b(b), loc(loc), head(head) {
    RankedTensorType type = nn::typeOf(head.input);
    columns = type.getShape().back();
    rows = type.getNumElements() / columns;
    chunk = chunkRows(rows, head.vocabulary(), bytes);
    input = nn::reshape(b, loc, head.input, {rows, columns});
    labels = nn::reshape(b, loc, head.labels, {rows});
  }

  /// Gradients are of these labels, and of a softmax over all ranks' classes.
  void useChain(const lowering::LossChain &c, Value labelsOfGradient) {
    chain = &c;
    gradientLabels = nn::reshape(b, loc, labelsOfGradient, {rows});
  }

  /// `lse` null: the loss is computed; `cotangent` null: no gradients.
  void run(Value lse, Value cotangent) {
    if (lse)
      lse = nn::reshape(b, loc, lse, {rows});
    for (int64_t begin = 0; begin < rows; begin += chunk)
      step(begin, std::min(chunk, rows - begin), lse, cotangent);
  }

  bool wantsBiasGradient = false;
  Value lossSum, count, weightGradient, biasGradient;
  Value wholeLse(RankedTensorType type) { return nn::reshape(b, loc, assembled(wholeLses), type.getShape()); }
  Value lse(RankedTensorType type) { return nn::reshape(b, loc, assembled(lses), type.getShape()); }
  Value inputGradient() { return nn::reshape(b, loc, assembled(inputGradients), nn::typeOf(head.input).getShape()); }

private:
  Value slice(Value value, int64_t begin, int64_t size) {
    if (size == rows)
      return value;
    SmallVector<OpFoldResult> offsets = {b.getIndexAttr(begin)}, sizes = {b.getIndexAttr(size)};
    for (int64_t dim : nn::typeOf(value).getShape().drop_front()) {
      offsets.push_back(b.getIndexAttr(0));
      sizes.push_back(b.getIndexAttr(dim));
    }
    SmallVector<OpFoldResult> ones(sizes.size(), b.getIndexAttr(1));
    return tensor::ExtractSliceOp::create(b, loc, value, offsets, sizes, ones);
  }
  Value assembled(ArrayRef<Value> parts) {
    return parts.size() == 1 ? parts[0] : tensor::ConcatOp::create(b, loc, 0, parts).getResult();
  }
  Value plus(Value sum, Value term) { return sum ? arith::AddFOp::create(b, loc, sum, term).getResult() : term; }

  void step(int64_t begin, int64_t size, Value lse, Value cotangent) {
    Value x = slice(input, begin, size), label = slice(labels, begin, size);
    Value logits = nn::ContractOp::create(b, loc, head.vocabularyLast ? "tc,cv->tv" : "tc,vc->tv", x, head.weight);
    Type element = nn::typeOf(logits).getElementType();
    if (head.bias)
      logits = arith::AddFOp::create(b, loc, logits, nn::BroadcastOp::create(b, loc, logits.getType(), head.bias, ArrayRef<int64_t>{1}));
    Value rowLse;
    if (lse) {
      rowLse = slice(lse, begin, size);
    } else {
      auto scalar = RankedTensorType::get({}, element);
      auto loss = nn::CrossEntropyOp::create(b, loc, scalar, scalar, RankedTensorType::get({size}, element), logits, label, head.ignored);
      lossSum = plus(lossSum, loss.getLossSum());
      count = plus(count, loss.getWeight());
      lses.push_back(rowLse = loss.getLse());
    }
    if (!cotangent)
      return;
    if (chain) {
      wholeLses.push_back(rowLse = chain->emit(b, rowLse));
      label = slice(gradientLabels, begin, size);
    }
    Value gradient = nn::CrossEntropyBackwardOp::create(b, loc, logits.getType(), logits, label, rowLse, cotangent, head.ignored);
    inputGradients.push_back(nn::ContractOp::create(b, loc, head.vocabularyLast ? "tv,cv->tc" : "tv,vc->tc", gradient, head.weight));
    Value product = head.vocabularyLast ? nn::ContractOp::create(b, loc, "tc,tv->cv", x, gradient)
                                        : nn::ContractOp::create(b, loc, "tv,tc->vc", gradient, x);
    weightGradient = plus(weightGradient, product);
    if (wantsBiasGradient)
      biasGradient = plus(biasGradient, nn::ReduceOp::create(b, loc, gradient, nn::ReduceKind::Sum, ArrayRef<int64_t>{0}));
  }

  OpBuilder &b;
  Location loc;
  const Head &head;
  int64_t rows, columns, chunk;
  Value input, labels, gradientLabels;
  const lowering::LossChain *chain = nullptr;
  SmallVector<Value> lses, wholeLses, inputGradients;
};

struct ExpandLoss : lowering::impl::LoweringExpandLossBase<ExpandLoss> {
  using LoweringExpandLossBase::LoweringExpandLossBase;

  void runOnOperation() override {
    SmallVector<nn::LinearCrossEntropyOp> losses;
    SmallVector<nn::LinearCrossEntropyBackwardOp> gradients;
    getOperation().walk([&](nn::LinearCrossEntropyOp op) { losses.push_back(op); });
    for (nn::LinearCrossEntropyOp loss : losses)
      expand(loss);
    getOperation().walk([&](nn::LinearCrossEntropyBackwardOp op) { gradients.push_back(op); });
    for (nn::LinearCrossEntropyBackwardOp gradient : gradients)
      expand(gradient);
  }

  /// The backward op of `loss`, if it is the only reader of the log-sum-exp.
  static nn::LinearCrossEntropyBackwardOp partnerOf(nn::LinearCrossEntropyOp loss) {
    if (!loss.getLse().hasOneUse())
      return {};
    auto backward = dyn_cast<nn::LinearCrossEntropyBackwardOp>(*loss.getLse().user_begin());
    return backward && Head(backward) == Head(loss) ? backward : nn::LinearCrossEntropyBackwardOp();
  }

  void expand(nn::LinearCrossEntropyOp loss) {
    OpBuilder b(loss);
    Head head(loss);
    Value cotangent, labels;
    lowering::LossChain chain = lowering::LossChain::find(loss);
    nn::LinearCrossEntropyBackwardOp backward = chain.isValid() ? chain.backward() : partnerOf(loss);
    if (chain.isValid() && (!Head(backward).isSameButLabels(head) || !(labels = valueBefore(loss, backward.getLabels()))))
      backward = {};
    if (backward)
      cotangent = valueBefore(loss, backward.getCotangent());
    Walker walker(b, loss.getLoc(), head, chunkBytes);
    if (labels && cotangent)
      walker.useChain(chain, labels);
    walker.wantsBiasGradient = wantsBiasGradient(backward);
    walker.run(Value(), cotangent);
    if (cotangent)
      replace(backward, walker);
    if (labels && cotangent) {
      chain.whole().replaceAllUsesWith(walker.wholeLse(nn::typeOf(chain.whole())));
      chain.erase();
    }
    loss.getLossSum().replaceAllUsesWith(walker.lossSum);
    loss.getWeight().replaceAllUsesWith(walker.count);
    if (!loss.getLse().use_empty())
      loss.getLse().replaceAllUsesWith(walker.lse(nn::typeOf(loss.getLse())));
    loss.erase();
  }

  void expand(nn::LinearCrossEntropyBackwardOp backward) {
    OpBuilder b(backward);
    Head head(backward);
    Walker walker(b, backward.getLoc(), head, chunkBytes);
    walker.wantsBiasGradient = wantsBiasGradient(backward);
    walker.run(backward.getLse(), backward.getCotangent());
    replace(backward, walker);
  }

  /// The bias may be a mask, which has none.
  static bool wantsBiasGradient(nn::LinearCrossEntropyBackwardOp backward) {
    return backward && backward.getBiasGradient() && !backward.getBiasGradient().use_empty();
  }

  static void replace(nn::LinearCrossEntropyBackwardOp backward, Walker &walker) {
    backward.getInputGradient().replaceAllUsesWith(walker.inputGradient());
    backward.getWeightGradient().replaceAllUsesWith(walker.weightGradient);
    if (walker.wantsBiasGradient)
      backward.getBiasGradient().replaceAllUsesWith(walker.biasGradient);
    backward.erase();
  }

  /// A value, such as the cotangent, in front of `loss`; null if it depends on the loss itself. The count of labels it may
  /// depend on: that is computed from the labels alone.
  Value valueBefore(nn::LinearCrossEntropyOp loss, Value value) {
    if (isa<BlockArgument>(value))
      return value;
    llvm::SetVector<Operation *> slice;
    BackwardSliceOptions options;
    options.inclusive = true;
    options.omitBlockArguments = true;
    options.filter = [&](Operation *op) { return op == loss || loss->isBeforeInBlock(op); };
    (void)getBackwardSlice(value, &slice, options);
    for (Operation *op : slice)
      for (Value operand : op->getOperands())
        if (operand == loss.getLossSum() || operand == loss.getLse())
          return {};
    if (value == loss.getLossSum() || value == loss.getLse())
      return {};
    OpBuilder b(loss);
    IRMapping map;
    if (slice.contains(loss.getOperation())) {
      slice.remove(loss);
      map.map(loss.getWeight(), countLabels(b, loss));
    }
    SmallVector<Operation *> ops(slice.begin(), slice.end());
    llvm::sort(ops, [](Operation *x, Operation *y) { return x->isBeforeInBlock(y); });
    for (Operation *op : ops)
      b.clone(*op, map);
    return map.lookupOrDefault(value);
  }

  static Value countLabels(OpBuilder &b, nn::LinearCrossEntropyOp loss) {
    Location loc = loss.getLoc();
    RankedTensorType type = nn::typeOf(loss.getLabels());
    Value labels = nn::reshape(b, loc, loss.getLabels(), {type.getNumElements()});
    auto ignored = DenseElementsAttr::get(nn::typeOf(labels), b.getIntegerAttr(type.getElementType(), loss.getIgnoreIndex()));
    Value counts = arith::CmpIOp::create(b, loc, arith::CmpIPredicate::ne, labels, arith::ConstantOp::create(b, loc, ignored));
    Type element = nn::typeOf(loss.getWeight()).getElementType();
    Value ones = arith::UIToFPOp::create(b, loc, RankedTensorType::get({type.getNumElements()}, element), counts);
    return nn::ReduceOp::create(b, loc, ones, nn::ReduceKind::Sum, ArrayRef<int64_t>{0});
  }
};

} // namespace
