//===- Partition.cpp - sharding-partition ---------------------------------------===//
#include "dialects/dist/Dist.h"
#include "dialects/interfaces/Interfaces.h"
#include "dialects/nn/Nn.h"
#include "dialects/train/Train.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "passes/sharding/local/LocalParts.h"
#include "passes/sharding/local/OwnEntries.h"
#include "passes/sharding/local/OwnRows.h"
#include "passes/sharding/Passes.h"

namespace llmc::sharding {
#define GEN_PASS_DEF_SHARDINGPARTITION
#include "passes/sharding/Passes.h.inc"
} // namespace llmc::sharding

using namespace mlir;
using namespace llmc;
using dist::Axes;
using dist::namesOf;
using dist::Sharding;
using dist::ShardingAttr;

namespace {

RankedTensorType typeOf(Value value) { return cast<RankedTensorType>(value.getType()); }

class Partitioner {
public:
  explicit Partitioner(dist::MeshAttr mesh) : mesh(mesh), context(mesh.getContext()) {}

  LogicalResult run(func::FuncOp function) {
    SmallVector<Type> arguments, results;
    for (BlockArgument argument : function.getArguments()) {
      FailureOr<RankedTensorType> type =
          localType(function, typeOf(argument),
                    function.getArgAttrOfType<ShardingAttr>(argument.getArgNumber(), dist::kSharding));
      if (failed(type))
        return failure();
      arguments.push_back(*type);
    }
    for (unsigned i = 0; i < function.getNumResults(); ++i) {
      FailureOr<RankedTensorType> type = localType(function, cast<RankedTensorType>(function.getResultTypes()[i]),
                                                   function.getResultAttrOfType<ShardingAttr>(i, dist::kSharding));
      if (failed(type))
        return failure();
      results.push_back(*type);
    }
    for (auto [argument, type] : llvm::zip_equal(function.getArguments(), arguments))
      argument.setType(type);
    for (Operation &op : llvm::make_early_inc_range(function.getBody().front().without_terminator()))
      if (failed(visit(&op)))
        return failure();
    function.setType(FunctionType::get(context, arguments, results));
    return success();
  }

private:
  FailureOr<RankedTensorType> localType(Operation *at, RankedTensorType type, ShardingAttr sharding) {
    if (!sharding)
      return at->emitOpError("has a value without sharding"), failure();
    FailureOr<RankedTensorType> local = Sharding::of(sharding).localType(type, mesh);
    if (failed(local))
      return at->emitOpError("has a value that does not divide: ") << type << " as " << sharding, failure();
    return local;
  }

  LogicalResult visit(Operation *op) {
    if (auto reshard = dyn_cast<dist::ReshardOp>(op))
      return replaceReshard(reshard);
    auto shardings = op->getAttrOfType<ArrayAttr>(dist::kShardings);
    if (!shardings) // a constant that is whole
      return isa<arith::ConstantOp>(op) ? success() : op->emitOpError("has no shardings");
    op->removeAttr(dist::kShardings);
    SmallVector<RankedTensorType> before;
    for (auto [result, sharding] : llvm::zip_equal(op->getResults(), shardings)) {
      before.push_back(typeOf(result));
      FailureOr<RankedTensorType> local = localType(op, before.back(), cast<ShardingAttr>(sharding));
      if (failed(local))
        return failure();
      result.setType(*local);
    }
    return adapt(op, before);
  }

  /// What an op says of shapes and places beside its types.
  LogicalResult adapt(Operation *op, ArrayRef<RankedTensorType> before) {
    OpBuilder b(op);
    if (auto constant = dyn_cast<arith::ConstantOp>(op)) {
      auto elements = cast<DenseElementsAttr>(constant.getValue());
      constant.setValueAttr(elements.resizeSplat(typeOf(constant.getResult())));
    } else if (auto slice = dyn_cast<tensor::ExtractSliceOp>(op)) {
      slice.setStaticSizes(localSizes(slice, slice.getType().getShape()));
    } else if (auto insert = dyn_cast<tensor::InsertSliceOp>(op)) {
      insert.setStaticSizes(localSizes(insert, insert.getSourceType().getShape()));
    } else if (auto expand = dyn_cast<tensor::ExpandShapeOp>(op)) {
      expand.setStaticOutputShape(expand.getResultType().getShape());
    } else if (auto reduce = dyn_cast<nn::ReduceOp>(op); reduce && reduce.getKind() == nn::ReduceKind::Mean) {
      adaptMean(b, reduce);
    } else if (auto dropout = dyn_cast<nn::DropoutOp>(op); dropout && dropout.getPosition()) {
      ownEntries.count(dropout, cutDims[op], before[0]);
    } else if (cutRows.contains(op)) {
      sharding::useOwnRows(op, cutRows[op], mesh);
    } else if (isa<nn::FlattenPartsOp, nn::UnflattenPartsOp>(op)) {
      sharding::expandParts(op);
    } else if (isa<nn::ReduceOp, nn::BroadcastOp>(op) &&
               typeOf(op->getOperand(0)).getNumElements() == typeOf(op->getResult(0)).getNumElements()) {
      // The dimensions that it has more, or less, are of one entry here.
      op->getResult(0).replaceAllUsesWith(
          nn::reshape(b, op->getLoc(), op->getOperand(0), typeOf(op->getResult(0)).getShape()));
      op->erase();
    }
    return success();
  }

  /// Sizes of a slice of this local shape; dimensions that it drops keep their size of 1.
  template <typename Op> SmallVector<int64_t> localSizes(Op op, ArrayRef<int64_t> shape) {
    SmallVector<int64_t> sizes(op.getStaticSizes());
    const llvm::SmallBitVector &dropped = droppedDims[op];
    for (auto [d, size] : llvm::enumerate(sizes))
      if (!dropped.test(d)) {
        size = shape.front();
        shape = shape.drop_front();
      }
    return sizes;
  }

  /// The global mean is the sum over ranks of local sums over the global count; operands have their local types
  /// already, so the global count is the local one times what the partial sum spans.
  void adaptMean(OpBuilder &b, nn::ReduceOp reduce) {
    int64_t ratio = spanOfMean.lookup(reduce);
    if (ratio <= 1)
      return;
    b.setInsertionPointAfter(reduce);
    RankedTensorType type = typeOf(reduce.getResult());
    Value share = arith::ConstantOp::create(
        b, reduce.getLoc(),
        DenseElementsAttr::get(type, b.getFloatAttr(type.getElementType(), 1.0 / static_cast<double>(ratio))));
    auto scaled = arith::MulFOp::create(b, reduce.getLoc(), reduce.getResult(), share);
    reduce.getResult().replaceAllUsesExcept(scaled, scaled);
  }

public:
  /// Reads, before any type changes, what `adapt` needs to know of shardings.
  void prepare(func::FuncOp function) {
    for (Operation &op : function.getBody().front()) {
      auto shardings = op.getAttrOfType<ArrayAttr>(dist::kShardings);
      if (!shardings)
        continue;
      if (auto slice = dyn_cast<tensor::ExtractSliceOp>(op))
        droppedDims[&op] = slice.getDroppedDims();
      if (auto insert = dyn_cast<tensor::InsertSliceOp>(op))
        droppedDims[&op] = insert.getDroppedDims();
      if (auto reduce = dyn_cast<nn::ReduceOp>(op))
        spanOfMean[&op] = mesh.size(Sharding::of(cast<ShardingAttr>(shardings[0])).sum);
      if (isa<nn::DropoutOp>(op))
        cutDims[&op] = Sharding::of(cast<ShardingAttr>(shardings[0])).dims;
      SmallVector<Sharding> results;
      for (Attribute sharding : shardings)
        results.push_back(Sharding::of(cast<ShardingAttr>(sharding)));
      if (Axes axes = sharding::axesOfRows(&op, results); !axes.empty())
        cutRows[&op] = axes;
    }
  }

private:
  //===-- Reshards ---------------------------------------------------------------===//

  LogicalResult replaceReshard(dist::ReshardOp reshard) {
    OpBuilder b(reshard);
    Sharding from = Sharding::of(reshard.getFrom()), to = Sharding::of(reshard.getTo());
    Value value = reshard.getInput();
    type = typeOf(value); // local already
    reason = reshard.getReasonAttr();
    value = reducePartial(b, reshard.getLoc(), value, from, to);
    // All gathers first: an axis may go from a later dimension to an earlier one.
    for (bool gathers : {true, false})
      for (size_t d = 0; d < from.dims.size(); ++d)
        value = changeCut(b, reshard.getLoc(), value, from.dims[d], to.dims[d], d, gathers);
    reshard.getResult().replaceAllUsesWith(value);
    reshard.erase();
    return success();
  }

  static bool startsWith(const Axes &whole, const Axes &prefix) {
    return prefix.size() <= whole.size() && std::equal(prefix.begin(), prefix.end(), whole.begin());
  }

  RankedTensorType scaled(size_t dim, int64_t numerator, int64_t denominator) {
    SmallVector<int64_t> shape(type.getShape());
    shape[dim] = shape[dim] * numerator / denominator;
    return type = RankedTensorType::get(shape, type.getElementType());
  }

  /// Resolves partial axes: scattered where `to` cuts a dimension further by just these axes, else to all ranks.
  Value reducePartial(OpBuilder &b, Location loc, Value value, Sharding &from, const Sharding &to) {
    for (auto [kind, partial, kept] : {std::tuple("sum", &from.sum, &to.sum), std::tuple("max", &from.max, &to.max)}) {
      Axes gone;
      llvm::copy_if(*partial, std::back_inserter(gone),
                    [&](StringAttr axis) { return !llvm::is_contained(*kept, axis); });
      for (size_t d = 0; d < from.dims.size() && !gone.empty(); ++d) {
        if (!startsWith(to.dims[d], from.dims[d]))
          continue;
        Axes added(to.dims[d].begin() + static_cast<ptrdiff_t>(from.dims[d].size()), to.dims[d].end());
        if (added.empty() || !llvm::all_of(added, [&](StringAttr axis) { return llvm::is_contained(gone, axis); }))
          continue;
        Type scattered = scaled(d, 1, mesh.size(added));
        value =
            dist::ReduceScatterOp::create(b, loc, scattered, value, namesOf(context, added),
                                          b.getI64IntegerAttr(static_cast<int64_t>(d)), b.getStringAttr(kind), reason)
                ->getResult(0);
        llvm::append_range(from.dims[d], added);
        llvm::erase_if(gone, [&](StringAttr axis) { return llvm::is_contained(added, axis); });
      }
      if (!gone.empty())
        value = dist::AllReduceOp::create(b, loc, type, value, namesOf(context, gone), b.getStringAttr(kind), reason)
                    ->getResult(0);
      *partial = *kept;
    }
    return value;
  }

  /// Gathers what `to` does not cut, or cuts what it cuts further.
  Value changeCut(OpBuilder &b, Location loc, Value value, const Axes &from, const Axes &to, size_t d, bool gathers) {
    size_t common = 0;
    while (common < from.size() && common < to.size() && from[common] == to[common])
      ++common;
    auto dim = b.getI64IntegerAttr(static_cast<int64_t>(d));
    if (Axes gone(from.begin() + static_cast<ptrdiff_t>(common), from.end()); gathers && !gone.empty()) {
      Type gathered = scaled(d, mesh.size(gone), 1);
      value = dist::AllGatherOp::create(b, loc, gathered, value, namesOf(context, gone), dim, reason)->getResult(0);
    }
    if (Axes added(to.begin() + static_cast<ptrdiff_t>(common), to.end()); !gathers && !added.empty()) {
      Type part = scaled(d, 1, mesh.size(added));
      value = dist::PartOp::create(b, loc, part, value, namesOf(context, added), dim);
    }
    return value;
  }

  dist::MeshAttr mesh;
  MLIRContext *context;
  RankedTensorType type; // of the value that a reshard has come to
  StringAttr reason;
  DenseMap<Operation *, llvm::SmallBitVector> droppedDims;
  DenseMap<Operation *, int64_t> spanOfMean;
  DenseMap<Operation *, Axes> cutRows;
  DenseMap<Operation *, SmallVector<Axes, 4>> cutDims;
  sharding::OwnEntries ownEntries;
};

struct Partition : sharding::impl::ShardingPartitionBase<Partition> {
  void runOnOperation() override {
    dist::MeshAttr mesh = dist::meshOf(getOperation());
    if (!mesh)
      return;
    for (auto function : getOperation().getOps<func::FuncOp>()) {
      Partitioner partitioner(mesh);
      partitioner.prepare(function);
      if (failed(partitioner.run(function)))
        return signalPassFailure();
    }
  }
};

} // namespace
