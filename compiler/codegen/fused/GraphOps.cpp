//===- GraphOps.cpp - arith, math, tensor and structural nn ops as expressions ===//
#include "compiler/codegen/fused/GraphBuilder.h"
#include "llvm/ADT/TypeSwitch.h"

using namespace mlir;

namespace llmc::codegen {

void GraphBuilder::buildOp(Operation *op) {
  if (buildComposite(*this, op))
    return;
  llvm::TypeSwitch<Operation *>(op)
      .Case([&](arith::ConstantOp o) { buildConstant(o); })
      .Case([&](nn::BroadcastOp o) { buildBroadcast(o); })
      .Case([&](nn::ReduceOp o) { buildReduce(o); })
      .Case([&](nn::GatherOp o) { buildGather(o); })
      .Case([&](nn::GatherAlongOp o) { buildGatherAlong(o); })
      .Case([&](nn::TransposeOp o) { buildTranspose(o); })
      .Case([&](tensor::CollapseShapeOp o) { buildReshape(o, o.getSrc(), o.getResultType()); })
      .Case([&](tensor::ExpandShapeOp o) { buildReshape(o, o.getSrc(), o.getResultType()); })
      .Case([&](tensor::ExtractSliceOp o) { buildSlice(o); })
      .Case([&](tensor::InsertSliceOp o) { buildInsert(o); })
      .Case([&](tensor::ConcatOp o) { buildConcat(o); })
      .Case([&](tensor::EmptyOp o) {
        TensorValue value;
        value.form = TensorValue::Assembled;
        value.shape.assign(o.getType().getShape().begin(), o.getType().getShape().end());
        values[o.getResult()] = std::move(value);
      })
      .Case([&](func::ReturnOp o) { buildReturn(o); })
      .Default([&](Operation *o) {
        StringRef dialect = o->getName().getDialectNamespace();
        if ((dialect == "arith" || dialect == "math") && o->getNumResults() == 1 && o->getNumRegions() == 0)
          return buildElementwise(o);
        fail(o, "no kernel form");
      });
}

int64_t predicateOf(Operation *op) {
  if (auto compare = dyn_cast<arith::CmpFOp>(op))
    return static_cast<int64_t>(compare.getPredicate());
  if (auto compare = dyn_cast<arith::CmpIOp>(op))
    return static_cast<int64_t>(compare.getPredicate());
  return -1;
}

void setConstant(Node &node, DenseElementsAttr dense) {
  if (isFloat(node.type)) {
    APFloat value = *dense.getValues<APFloat>().begin();
    bool lossy;
    value.convert(APFloat::IEEEdouble(), APFloat::rmNearestTiesToEven, &lossy);
    node.real = value.convertToDouble();
  } else {
    APInt value = *dense.getValues<APInt>().begin();
    node.integer = node.type == ElementKind::I1 ? static_cast<int64_t>(value.getZExtValue()) : value.getSExtValue();
  }
}

void GraphBuilder::buildElementwise(Operation *op) {
  auto kind = elementKindOf(getElementTypeOrSelf(op->getResult(0).getType()));
  if (!kind || !isa<RankedTensorType>(op->getResult(0).getType()))
    return fail(op, "not a tensor of a known element type");
  SmallVector<Expr> operands;
  for (Value operand : op->getOperands()) {
    if (!isa<RankedTensorType>(operand.getType()))
      return fail(op, "a scalar condition has no kernel form");
    operands.push_back(use(operand));
  }
  set(op->getResult(0), elementwise(op->getName().getStringRef(), operands, *kind, predicateOf(op)));
}

void GraphBuilder::buildConstant(arith::ConstantOp op) {
  auto dense = dyn_cast<DenseElementsAttr>(op.getValue());
  auto kind = dense ? elementKindOf(dense.getElementType()) : std::nullopt;
  if (!kind || !(dense.isSplat() || dense.getNumElements() == 1))
    return fail(op, "a constant whose elements differ is an argument");
  Node node;
  node.kind = Node::Constant;
  node.type = *kind;
  setConstant(node, dense);
  TensorValue value;
  value.form = TensorValue::Splat;
  value.expr.node = add(std::move(node));
  value.shape.assign(dense.getType().getShape().begin(), dense.getType().getShape().end());
  values[op.getResult()] = std::move(value);
}

void GraphBuilder::buildBroadcast(nn::BroadcastOp op) {
  Expr source = use(op.getInput());
  auto type = cast<RankedTensorType>(op.getResult().getType());
  Dims dims = freshDims(type.getShape());
  for (auto [i, dim] : llvm::enumerate(op.getDims()))
    if (!source.dims[i].empty())
      dims[dim] = source.dims[i];
  set(op.getResult(), {source.node, dims});
}

Reduction reductionOf(nn::ReduceKind kind) {
  switch (kind) {
  case nn::ReduceKind::Sum:
  case nn::ReduceKind::Mean:
    break;
  case nn::ReduceKind::Max:
    return Reduction::Max;
  case nn::ReduceKind::Min:
    return Reduction::Min;
  case nn::ReduceKind::Prod:
    return Reduction::Prod;
  }
  return Reduction::Sum;
}

void GraphBuilder::buildReduce(nn::ReduceOp op) {
  Expr source = use(op.getInput());
  Expr result = reduce(reductionOf(op.getKind()), source, op.getDims());
  if (op.getKind() == nn::ReduceKind::Mean) {
    auto type = cast<RankedTensorType>(op.getInput().getType());
    double count = 1;
    for (int64_t dim : op.getDims())
      count *= static_cast<double>(type.getDimSize(dim));
    Expr divisor = constant(typeOf(result), count);
    result = elementwise(isFloat(typeOf(result)) ? "arith.divf" : "arith.divsi", {result, divisor}, typeOf(result));
  }
  set(op.getResult(), result);
}

void GraphBuilder::buildGather(nn::GatherOp op) {
  const TensorValue &table = values[op.getTable()];
  if (table.form != TensorValue::Viewed)
    return fail(op, "the table must be an argument");
  View rows = table.view;
  int64_t stride = rows.strides[0], size = rows.shape[0];
  rows.strides.erase(rows.strides.begin());
  rows.shape.erase(rows.shape.begin());
  Expr index = use(op.getIndices());
  Expr result = load(rows, graph.inputs[rows.input].type);
  graph.nodes[result.node].dynamic.push_back({index.node, stride, size, true});
  Dims dims = index.dims;
  dims.append(result.dims);
  // Loads come before their indices in no case: the index was added first.
  set(op.getResult(), {result.node, dims});
}

void GraphBuilder::buildGatherAlong(nn::GatherAlongOp op) {
  const TensorValue &input = values[op.getInput()];
  if (input.form != TensorValue::Viewed)
    return fail(op, "the input must be an argument");
  View view = input.view;
  int64_t axis = static_cast<int64_t>(op.getAxis());
  int64_t stride = view.strides[axis], size = view.shape[axis];
  view.strides.erase(view.strides.begin() + axis);
  view.shape.erase(view.shape.begin() + axis);
  Expr index = use(op.getIndices());
  Expr result = load(view, graph.inputs[view.input].type);
  Dims others = index.dims;
  others.erase(others.begin() + axis);
  unifyDims(result.dims, others, op);
  graph.nodes[result.node].dynamic.push_back({index.node, stride, size, true});
  set(op.getResult(), {result.node, index.dims});
}

void GraphBuilder::buildTranspose(nn::TransposeOp op) {
  TensorValue source = values[op.getInput()];
  auto permute = [&](auto &list) {
    auto copy = list;
    for (auto [i, p] : llvm::enumerate(op.getPermutation()))
      list[i] = copy[p];
  };
  if (source.form == TensorValue::Assembled)
    return fail(op, "an operand put together by concat or insert_slice can only be returned");
  permute(source.shape);
  if (source.form == TensorValue::Viewed) {
    permute(source.view.shape);
    permute(source.view.strides);
  } else if (source.form == TensorValue::Computed) {
    permute(source.expr.dims);
  }
  values[op.getResult()] = std::move(source);
}

/// The view in another shape; false where its strides do not allow that.
static bool reshapeView(View &view, ArrayRef<int64_t> shape) {
  // Runs of dimensions that lie as one, size-1 dimensions left out.
  SmallVector<std::pair<int64_t, int64_t>> runs; // size, stride of the innermost
  for (auto [size, stride] : llvm::zip(view.shape, view.strides)) {
    if (size == 1)
      continue;
    if (!runs.empty() && runs.back().second == size * stride)
      runs.back() = {runs.back().first * size, stride};
    else
      runs.push_back({size, stride});
  }
  SmallVector<int64_t, 4> strides(shape.size(), 0);
  size_t run = runs.size();
  int64_t left = 1, stride = 0;
  for (size_t i = shape.size(); i-- > 0;) {
    if (shape[i] == 1)
      continue;
    if (left == 1) {
      if (run == 0)
        return false;
      left = runs[--run].first;
      stride = runs[run].second;
    }
    if (left % shape[i] != 0)
      return false;
    strides[i] = stride;
    stride *= shape[i];
    left /= shape[i];
  }
  if (left != 1 || run != 0)
    return false;
  view.shape.assign(shape.begin(), shape.end());
  view.strides = strides;
  return true;
}

void GraphBuilder::buildReshape(Operation *op, Value source, RankedTensorType type) {
  TensorValue value = values[source];
  ArrayRef<int64_t> shape = type.getShape();
  if (value.form == TensorValue::Assembled) {
    if (value.pieces.size() != 1)
      return fail(op, "an operand put together by concat or insert_slice can only be returned");
    return fail(op, "reshape of a partly filled tensor");
  }
  value.shape.assign(shape.begin(), shape.end());
  if (value.form == TensorValue::Splat || (value.form == TensorValue::Viewed && reshapeView(value.view, shape))) {
    values[op->getResult(0)] = std::move(value);
    return;
  }
  Expr expr = use(source);
  AtomList flat;
  for (const AtomList &dim : expr.dims)
    flat.append(dim);
  Dims dims = freshDims(shape);
  AtomList result;
  for (const AtomList &dim : dims)
    result.append(dim);
  if (!graph.table.unify(flat, result))
    return fail(op, "these shapes do not share loops");
  set(op->getResult(0), {expr.node, dims});
}

void GraphBuilder::buildSlice(tensor::ExtractSliceOp op) {
  TensorValue source = values[op.getSource()];
  auto offsets = op.getStaticOffsets(), sizes = op.getStaticSizes(), strides = op.getStaticStrides();
  if (llvm::any_of(offsets, ShapedType::isDynamic))
    return fail(op, "dynamic offsets");
  if (source.form == TensorValue::Splat) {
    source.shape.assign(op.getType().getShape().begin(), op.getType().getShape().end());
    values[op.getResult()] = std::move(source);
    return;
  }
  if (source.form != TensorValue::Viewed)
    return fail(op, "a slice of a computed value");
  View view{source.view.input, source.view.offset, {}, {}};
  llvm::SmallBitVector dropped = op.getDroppedDims();
  for (size_t i = 0; i < sizes.size(); ++i) {
    view.offset += offsets[i] * source.view.strides[i];
    if (dropped[i])
      continue;
    view.shape.push_back(sizes[i]);
    view.strides.push_back(source.view.strides[i] * strides[i]);
  }
  TensorValue value;
  value.form = TensorValue::Viewed;
  value.shape = view.shape;
  value.view = std::move(view);
  values[op.getResult()] = std::move(value);
}

void GraphBuilder::buildInsert(tensor::InsertSliceOp op) {
  auto offsets = op.getStaticOffsets(), strides = op.getStaticStrides();
  if (llvm::any_of(offsets, ShapedType::isDynamic))
    return fail(op, "dynamic offsets");
  TensorValue base = values[op.getDest()], result;
  result.form = TensorValue::Assembled;
  result.shape = base.shape;
  int level = 0;
  if (base.form == TensorValue::Assembled) {
    result.pieces = base.pieces;
    for (const auto &piece : result.pieces) // may overlap what is there: comes after it, unless disjoint along a dimension
      for (size_t i = 0; i <= offsets.size(); ++i) {
        if (i == offsets.size()) {
          level = std::max(level, piece.level + 1);
          break;
        }
        int64_t begin = offsets[i], end = begin + op.getStaticSizes()[i] * strides[i];
        bool ranked = piece.value->shape.size() == offsets.size();
        int64_t pieceEnd = ranked ? piece.offsets[i] + piece.value->shape[i] * piece.strides[i] : base.shape[i];
        if (begin >= pieceEnd || piece.offsets[i] >= end)
          break;
      }
  } else {
    level = 1;
    SmallVector<int64_t, 4> zeros(base.shape.size(), 0), ones(base.shape.size(), 1);
    result.pieces.push_back({std::make_shared<TensorValue>(base), zeros, ones, 0});
  }
  TensorValue source = values[op.getSource()];
  if (source.shape.size() != base.shape.size()) { // dimensions of size 1 come back
    auto full = RankedTensorType::get(op.getStaticSizes(), op.getSourceType().getElementType());
    if (source.form != TensorValue::Viewed || !reshapeView(source.view, full.getShape())) {
      Expr expr = use(source);
      Dims dims;
      llvm::SmallBitVector dropped = op.getDroppedDims();
      size_t next = 0;
      for (size_t i = 0; i < full.getShape().size(); ++i)
        dims.push_back(dropped[i] ? AtomList{} : expr.dims[next++]);
      source.form = TensorValue::Computed;
      source.expr = {expr.node, dims};
    }
    source.shape.assign(full.getShape().begin(), full.getShape().end());
  }
  result.pieces.push_back({std::make_shared<TensorValue>(source), {offsets.begin(), offsets.end()}, {strides.begin(), strides.end()}, level});
  values[op.getResult()] = std::move(result);
}

void GraphBuilder::buildConcat(tensor::ConcatOp op) {
  TensorValue result;
  result.form = TensorValue::Assembled;
  auto type = op.getResultType();
  result.shape.assign(type.getShape().begin(), type.getShape().end());
  int64_t at = 0, dim = static_cast<int64_t>(op.getDim());
  std::optional<Dims> previous;
  SmallVector<int64_t> previousShape;
  for (Value input : op.getInputs()) {
    auto piece = std::make_shared<TensorValue>(values[input]);
    SmallVector<int64_t, 4> offsets(result.shape.size(), 0), ones(result.shape.size(), 1);
    offsets[dim] = at;
    at += piece->shape[dim];
    // Pieces of one shape are walked in one loop.
    if (piece->form == TensorValue::Viewed || piece->form == TensorValue::Splat) {
      Expr expr = use(*piece);
      piece->form = TensorValue::Computed;
      piece->expr = expr;
    }
    if (piece->form == TensorValue::Computed) {
      if (previous && ArrayRef<int64_t>(piece->shape) == ArrayRef<int64_t>(previousShape))
        unifyDims(*previous, piece->expr.dims, op);
      previous = piece->expr.dims;
      previousShape.assign(piece->shape.begin(), piece->shape.end());
    }
    result.pieces.push_back({piece, offsets, ones, 0});
  }
  values[op.getResult()] = std::move(result);
}

} // namespace llmc::codegen
