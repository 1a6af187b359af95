//===- OwnRows.cpp - ops that look into one part of a table ---------------------===//
//
// With n rows on each rank, row i lies on the rank whose place is i / n, as its row i % n. A row of another rank is
// looked up as i % n too, and what is found is not used: so lookups stay within the table, and spread over it.
//
//===----------------------------------------------------------------------===//
#include "passes/sharding/local/OwnRows.h"
#include "dialects/nn/Nn.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "llvm/ADT/TypeSwitch.h"

using namespace mlir;

namespace llmc::sharding {

using dist::Axes;
using dist::Sharding;

namespace {

RankedTensorType typeOf(Value value) { return cast<RankedTensorType>(value.getType()); }

class OwnRows {
public:
  OwnRows(Operation *op, ArrayRef<StringAttr> axes, dist::MeshAttr mesh)
      : op(op), b(op), axes(axes), parts(mesh.size(axes)) {}

  void gather(nn::GatherOp gather) {
    int64_t rows = typeOf(gather.getTable()).getDimSize(0);
    Value indices = fromStart(gather.getIndices(), rows * parts), own = isOwn(indices, rows);
    gather.getIndicesMutable().assign(place(indices, rows));
    b.setInsertionPointAfter(gather);
    Value found = gather.getResult(), masked = masking(own, found);
    found.replaceAllUsesExcept(masked, masked.getDefiningOp());
  }

  void scatter(nn::ScatterAddOp scatter) {
    int64_t rows = typeOf(scatter.getResult()).getDimSize(0);
    Value indices = fromStart(scatter.getIndices(), rows * parts);
    scatter.getUpdatesMutable().assign(masking(isOwn(indices, rows), scatter.getUpdates()));
    scatter.getIndicesMutable().assign(place(indices, rows));
  }

  void loss(nn::LinearCrossEntropyOp loss) {
    int64_t rows = typeOf(loss.getWeightMatrix()).getDimSize(loss.getVocabularyLast() ? 1 : 0);
    Value labels = loss.getLabels();
    Value own = arith::AndIOp::create(b, loc(), counts(labels, loss.getIgnoreIndex()), isOwn(labels, rows));
    loss.getLabelsMutable().assign(select(own, place(labels, rows), constant(labels, -1)));
    loss.setIgnoreIndex(-1);
    loss.setParts(*loss.getParts() / parts);
  }

  void lossBackward(nn::LinearCrossEntropyBackwardOp backward) {
    int64_t rows = typeOf(backward.getWeightMatrix()).getDimSize(backward.getVocabularyLast() ? 1 : 0);
    Value labels = backward.getLabels();
    Value classes = select(isOwn(labels, rows), place(labels, rows), constant(labels, rows));
    backward.getLabelsMutable().assign(
        select(counts(labels, backward.getIgnoreIndex()), classes, constant(labels, -1)));
    backward.setIgnoreIndex(-1);
  }

private:
  Location loc() { return op->getLoc(); }
  Value constant(Value like, int64_t value) {
    RankedTensorType type = typeOf(like);
    return arith::ConstantOp::create(b, loc(),
                                     DenseElementsAttr::get(type, b.getIntegerAttr(type.getElementType(), value)));
  }
  Value select(Value condition, Value x, Value y) { return arith::SelectOp::create(b, loc(), condition, x, y); }
  Value compare(arith::CmpIPredicate predicate, Value x, Value y) {
    return arith::CmpIOp::create(b, loc(), predicate, x, y);
  }

  /// Negative indices count from the end.
  Value fromStart(Value indices, int64_t rows) {
    return select(compare(arith::CmpIPredicate::slt, indices, constant(indices, 0)),
                  arith::AddIOp::create(b, loc(), indices, constant(indices, rows)), indices);
  }
  Value counts(Value labels, int64_t ignored) {
    return compare(arith::CmpIPredicate::ne, labels, constant(labels, ignored));
  }
  Value place(Value indices, int64_t rows) {
    return arith::RemSIOp::create(b, loc(), indices, constant(indices, rows));
  }

  Value isOwn(Value indices, int64_t rows) {
    RankedTensorType type = typeOf(indices);
    Value rank = dist::IndexOp::create(b, loc(), RankedTensorType::get({}, b.getI64Type()),
                                       dist::namesOf(op->getContext(), axes));
    if (!type.getElementType().isInteger(64))
      rank = arith::TruncIOp::create(b, loc(), RankedTensorType::get({}, type.getElementType()), rank);
    Value each = nn::BroadcastOp::create(b, loc(), type, rank, b.getDenseI64ArrayAttr({}));
    return compare(arith::CmpIPredicate::eq, arith::DivSIOp::create(b, loc(), indices, constant(indices, rows)), each);
  }

  /// `rows` [indices..., columns...] where the index is an own one, else zeros.
  Value masking(Value own, Value rows) {
    RankedTensorType type = typeOf(rows);
    auto dims = llvm::to_vector(llvm::seq<int64_t>(0, typeOf(own).getRank()));
    Value each = nn::BroadcastOp::create(b, loc(), type.clone(b.getI1Type()), own, dims);
    Value zeros = arith::ConstantOp::create(b, loc(), cast<TypedAttr>(b.getZeroAttr(type)));
    return select(each, rows, zeros);
  }

  Operation *op;
  OpBuilder b;
  ArrayRef<StringAttr> axes;
  int64_t parts;
};

} // namespace

Axes axesOfRows(Operation *op, ArrayRef<Sharding> results) {
  return llvm::TypeSwitch<Operation *, Axes>(op)
      .Case([&](nn::GatherOp) { return results[0].sum; })
      .Case([&](nn::ScatterAddOp) { return results[0].dims[0]; })
      .Case([&](nn::LinearCrossEntropyOp loss) { return loss.getParts() ? results[2].dims[0] : Axes(); })
      .Case([&](nn::LinearCrossEntropyBackwardOp loss) { return results[1].dims[loss.getVocabularyLast() ? 1 : 0]; })
      .Default(Axes());
}

void useOwnRows(Operation *op, ArrayRef<StringAttr> axes, dist::MeshAttr mesh) {
  OwnRows rows(op, axes, mesh);
  llvm::TypeSwitch<Operation *>(op)
      .Case([&](nn::GatherOp gather) { rows.gather(gather); })
      .Case([&](nn::ScatterAddOp scatter) { rows.scatter(scatter); })
      .Case([&](nn::LinearCrossEntropyOp loss) { rows.loss(loss); })
      .Case([&](nn::LinearCrossEntropyBackwardOp loss) { rows.lossBackward(loss); });
}

} // namespace llmc::sharding
