//===- SplitLoss.cpp - sharding-split-loss --------------------------------------===//
//
// With m the maximum of the parts' log-sum-exps l, the whole one is m + log(sum exp(l - m)); a row's loss is that of
// its label's part, plus the difference of the whole log-sum-exp and that part's. Both differences are of numbers that
// are close to each other. Maximum and sum are over a dimension that tensor ranks cut: one message of each kind, of one
// number a row.
//
//===----------------------------------------------------------------------===//
#include "dialects/dist/Dist.h"
#include "dialects/nn/Nn.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "passes/sharding/Axes.h"
#include "passes/sharding/Passes.h"

namespace llmc::sharding {
#define GEN_PASS_DEF_SHARDINGSPLITLOSS
#include "passes/sharding/Passes.h.inc"
} // namespace llmc::sharding

using namespace mlir;
using namespace llmc;

namespace {

class LossSplitter {
public:
  LossSplitter(nn::LinearCrossEntropyOp loss, int64_t parts) : loss(loss), b(loss), parts(parts) {
    type = nn::typeOf(loss.getLse());
    SmallVector<int64_t> shape(type.getShape());
    shape.insert(shape.begin(), parts);
    partType = RankedTensorType::get(shape, type.getElementType());
    leading = llvm::to_vector(llvm::seq<int64_t>(1, partType.getRank()));
  }

  void run() {
    auto split = nn::LinearCrossEntropyOp::create(b, loc(), loss.getLossSum().getType(), loss.getWeight().getType(),
                                                  partType, loss.getInput(), loss.getWeightMatrix(), loss.getLabels(),
                                                  loss.getBias(), loss.getIgnoreIndexAttr(),
                                                  loss.getVocabularyLastAttr(), b.getI64IntegerAttr(parts));
    Value own = split.getLse(), max = nn::ReduceOp::create(b, loc(), own, nn::ReduceKind::Max, ArrayRef<int64_t>{0});
    Value shares = math::ExpOp::create(b, loc(), arith::SubFOp::create(b, loc(), own, perPart(max)));
    Value sum = nn::ReduceOp::create(b, loc(), shares, nn::ReduceKind::Sum, ArrayRef<int64_t>{0});
    Value whole = arith::AddFOp::create(b, loc(), max, math::LogOp::create(b, loc(), sum));
    Value rest = arith::SubFOp::create(b, loc(), perPart(whole), own);
    Value zeros = arith::ConstantOp::create(b, loc(), cast<TypedAttr>(b.getZeroAttr(partType)));
    rest = arith::SelectOp::create(b, loc(), partsOfLabels(), rest, zeros);
    Value restSum = nn::ReduceOp::create(b, loc(), rest, nn::ReduceKind::Sum,
                                         llvm::to_vector(llvm::seq<int64_t>(0, partType.getRank())));
    loss.getLossSum().replaceAllUsesWith(arith::AddFOp::create(b, loc(), split.getLossSum(), restSum));
    loss.getWeight().replaceAllUsesWith(split.getWeight());
    loss.getLse().replaceAllUsesWith(whole);
    loss.erase();
  }

private:
  Location loc() { return loss.getLoc(); }
  Value perPart(Value rows) {
    return nn::BroadcastOp::create(b, loc(), partType.clone(nn::typeOf(rows).getElementType()), rows, leading);
  }
  Value constant(RankedTensorType type, int64_t value) {
    return arith::ConstantOp::create(b, loc(),
                                     DenseElementsAttr::get(type, b.getIntegerAttr(type.getElementType(), value)));
  }

  /// Where a row's label counts and is in the part.
  Value partsOfLabels() {
    Value labels = loss.getLabels();
    RankedTensorType labelType = nn::typeOf(labels);
    int64_t classes = nn::typeOf(loss.getWeightMatrix()).getDimSize(loss.getVocabularyLast() ? 1 : 0);
    Value counts =
        arith::CmpIOp::create(b, loc(), arith::CmpIPredicate::ne, labels, constant(labelType, loss.getIgnoreIndex()));
    Value part = arith::DivSIOp::create(b, loc(), labels, constant(labelType, classes / parts));
    part = arith::SelectOp::create(b, loc(), counts, part, constant(labelType, -1));
    SmallVector<Attribute> numbers;
    for (int64_t i = 0; i < parts; ++i)
      numbers.push_back(b.getIntegerAttr(labelType.getElementType(), i));
    Value all = arith::ConstantOp::create(
        b, loc(), DenseElementsAttr::get(RankedTensorType::get({parts}, labelType.getElementType()), numbers));
    all = nn::BroadcastOp::create(b, loc(), partType.clone(labelType.getElementType()), all, ArrayRef<int64_t>{0});
    return arith::CmpIOp::create(b, loc(), arith::CmpIPredicate::eq, perPart(part), all);
  }

  nn::LinearCrossEntropyOp loss;
  OpBuilder b;
  int64_t parts;
  RankedTensorType type, partType;
  SmallVector<int64_t> leading; // dimensions of partType behind the parts
};

struct SplitLoss : sharding::impl::ShardingSplitLossBase<SplitLoss> {
  void runOnOperation() override {
    dist::MeshAttr mesh = dist::meshOf(getOperation());
    if (!mesh)
      return;
    for (auto function : getOperation().getOps<func::FuncOp>())
      for (auto loss : llvm::make_early_inc_range(function.getOps<nn::LinearCrossEntropyOp>()))
        if (int64_t parts = partsOf(function, loss, mesh); parts > 1)
          LossSplitter(loss, parts).run();
  }

  /// Tensor ranks that cut the classes.
  static int64_t partsOf(func::FuncOp function, nn::LinearCrossEntropyOp loss, dist::MeshAttr mesh) {
    auto weight = dyn_cast<BlockArgument>(loss.getWeightMatrix());
    auto attribute = weight ? function.getArgAttrOfType<dist::ShardingAttr>(weight.getArgNumber(), dist::kSharding)
                            : dist::ShardingAttr();
    if (!attribute || loss.getParts())
      return 1;
    return mesh.size(sharding::withoutData(dist::Sharding::of(attribute)).dims[loss.getVocabularyLast() ? 1 : 0]);
  }
};

} // namespace
