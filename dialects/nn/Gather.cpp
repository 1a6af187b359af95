//===- Gather.cpp - gather, scatter_add and their forms along an axis ---------===//
#include "dialects/nn/Family.h"

using namespace mlir;
using namespace llmc;
using namespace llmc::nn;

static LogicalResult outOfRange(Operation *op, int64_t index, int64_t size) {
  return op->emitOpError() << "index " << index << " is outside of the " << size << " entries";
}

/// indices' shape followed by table's shape without its first dimension.
static SmallVector<int64_t> gatheredShape(Value table, Value indices) {
  SmallVector<int64_t> shape(typeOf(indices).getShape());
  llvm::append_range(shape, typeOf(table).getShape().drop_front());
  return shape;
}

/// Factors of (table, indices, rows): rows of the table are summed over, since a lookup finds nothing in other parts than one.
struct GatherFactors {
  FactorRule rule;
  TensorFactors table, indices, rows;
  GatherFactors(Value tableValue, Value indexValue) {
    indices = rule.addDimensions(typeOf(indexValue).getShape());
    TensorFactors columns = rule.addDimensions(typeOf(tableValue).getShape().drop_front());
    table.push_back({rule.add(typeOf(tableValue).getDimSize(0), FactorKind::Sum)});
    rows = indices;
    llvm::append_range(table, columns);
    llvm::append_range(rows, columns);
  }
};

//===-- nn.gather ----------------------------------------------------------------===//

LogicalResult GatherOp::verify() {
  if (typeOf(getTable()).getRank() == 0)
    return emitOpError("C1: the table has rank 0");
  return check(*this, typeOf(getResult()) == RankedTensorType::get(gatheredShape(getTable(), getIndices()),
                                                                   typeOf(getTable()).getElementType()),
               "C1: the result's shape must be the indices' followed by the table's without its first dimension");
}

// y = table[i]   dtable = scatter_add(i, dy)     saves: i
LogicalResult GatherOp::emitVjp(OpBuilder &b, ValueRange cotangents, ArrayRef<bool> wanted, SmallVectorImpl<Value> &gradients) {
  if (!cotangents[0] || !wanted[0])
    return noGradients(2, gradients);
  gradients.push_back(ScatterAddOp::create(b, getLoc(), getTable().getType(), getIndices(), cotangents[0]));
  gradients.push_back(Value());
  return success();
}

FactorRule GatherOp::getFactorRule() {
  GatherFactors f(getTable(), getIndices());
  f.rule.operands = {f.table, f.indices};
  f.rule.results = {f.rows};
  return f.rule;
}

LogicalResult GatherOp::evaluate(Operands in, Results out) {
  int64_t rows = in[0]->shape[0], width = rows == 0 ? 0 : in[0]->size() / rows;
  for (int64_t i = 0; i < in[1]->size(); ++i) {
    int64_t row = in[1]->integers[i] < 0 ? in[1]->integers[i] + rows : in[1]->integers[i];
    if (row < 0 || row >= rows)
      return outOfRange(*this, in[1]->integers[i], rows);
    for (int64_t c = 0; c < width; ++c) {
      if (out[0].isReal)
        out[0].reals[i * width + c] = in[0]->reals[row * width + c];
      else
        out[0].integers[i * width + c] = in[0]->integers[row * width + c];
    }
  }
  return success();
}

//===-- nn.scatter_add -------------------------------------------------------------===//

LogicalResult ScatterAddOp::verify() {
  if (typeOf(getResult()).getRank() == 0)
    return emitOpError("C1: the result has rank 0");
  return check(*this, typeOf(getUpdates()) == RankedTensorType::get(gatheredShape(getResult(), getIndices()),
                                                                    typeOf(getResult()).getElementType()),
               "C1: the updates' shape must be the indices' followed by the result's without its first dimension");
}

// table = scatter_add(i, u)   du = gather(dtable, i)
LogicalResult ScatterAddOp::emitVjp(OpBuilder &b, ValueRange cotangents, ArrayRef<bool> wanted, SmallVectorImpl<Value> &gradients) {
  if (!cotangents[0])
    return noGradients(2, gradients);
  gradients.push_back(Value());
  gradients.push_back(GatherOp::create(b, getLoc(), getUpdates().getType(), cotangents[0], getIndices()));
  return success();
}

FactorRule ScatterAddOp::getFactorRule() {
  GatherFactors f(getResult(), getIndices());
  for (DimensionFactors &dim : f.indices)
    f.rule.factors[dim[0]].kind = FactorKind::Sum;
  f.rule.operands = {f.indices, f.rows};
  f.rule.results = {f.table};
  return f.rule;
}

LogicalResult ScatterAddOp::evaluate(Operands in, Results out) {
  int64_t rows = out[0].shape[0], width = rows == 0 ? 0 : out[0].size() / rows;
  for (int64_t i = 0; i < in[0]->size(); ++i) {
    int64_t row = in[0]->integers[i] < 0 ? in[0]->integers[i] + rows : in[0]->integers[i];
    if (row < 0 || row >= rows)
      return outOfRange(*this, in[0]->integers[i], rows);
    for (int64_t c = 0; c < width; ++c)
      out[0].reals[row * width + c] += in[1]->reals[i * width + c];
  }
  return success();
}

//===-- nn.gather_along, nn.scatter_add_along -----------------------------------------===//

static LogicalResult verifyAlong(Operation *op, Value whole, Value indices, Value picked, int64_t axis) {
  RankedTensorType w = typeOf(whole), i = typeOf(indices), p = typeOf(picked);
  if (w.getRank() != i.getRank() || i.getShape() != p.getShape() || axis < 0 || axis >= w.getRank())
    return op->emitOpError("C1: ranks, shapes or axis do not agree");
  for (int64_t d = 0; d < w.getRank(); ++d)
    if (d != axis && w.getDimSize(d) != i.getDimSize(d))
      return op->emitOpError("C2: dimension ") << d << " of the indices differs";
  return success();
}

/// Calls fn(position in indices, position in the whole tensor); fails on an index out of range.
template <typename Fn>
static LogicalResult forAlong(Operation *op, const HostTensor &indices, const HostTensor &whole, int64_t axis, Fn fn) {
  auto small = indices.strides(), large = whole.strides();
  for (int64_t i = 0, e = indices.size(); i < e; ++i) {
    int64_t at = 0;
    for (int64_t d = 0; d < indices.rank(); ++d) {
      int64_t index = i / small[d] % indices.shape[d];
      if (d == axis) {
        index = indices.integers[i] < 0 ? indices.integers[i] + whole.shape[d] : indices.integers[i];
        if (index < 0 || index >= whole.shape[d])
          return outOfRange(op, indices.integers[i], whole.shape[d]);
      }
      at += index * large[d];
    }
    fn(i, at);
  }
  return success();
}

static FactorRule alongRule(Value whole, Value indices, int64_t axis, TensorFactors &wholeDims, TensorFactors &pickedDims) {
  FactorRule rule;
  wholeDims = rule.addDimensions(typeOf(whole).getShape());
  rule.factors[wholeDims[axis][0]].kind = FactorKind::NeedWhole;
  pickedDims = wholeDims;
  pickedDims[axis] = {rule.add(typeOf(indices).getDimSize(axis))};
  return rule;
}

LogicalResult GatherAlongOp::verify() { return verifyAlong(*this, getInput(), getIndices(), getResult(), getAxis()); }

// y = gather_along(x, i)   dx = scatter_add_along(i, dy)     saves: i
LogicalResult GatherAlongOp::emitVjp(OpBuilder &b, ValueRange cotangents, ArrayRef<bool> wanted, SmallVectorImpl<Value> &gradients) {
  if (!cotangents[0] || !wanted[0])
    return noGradients(2, gradients);
  gradients.push_back(ScatterAddAlongOp::create(b, getLoc(), getInput().getType(), getIndices(), cotangents[0], getAxis()));
  gradients.push_back(Value());
  return success();
}

FactorRule GatherAlongOp::getFactorRule() {
  TensorFactors whole, picked;
  FactorRule rule = alongRule(getInput(), getIndices(), getAxis(), whole, picked);
  rule.operands = {whole, picked};
  rule.results = {picked};
  return rule;
}

LogicalResult GatherAlongOp::evaluate(Operands in, Results out) {
  return forAlong(*this, *in[1], *in[0], getAxis(), [&](int64_t i, int64_t at) {
    if (out[0].isReal)
      out[0].reals[i] = in[0]->reals[at];
    else
      out[0].integers[i] = in[0]->integers[at];
  });
}

LogicalResult ScatterAddAlongOp::verify() { return verifyAlong(*this, getResult(), getIndices(), getUpdates(), getAxis()); }

LogicalResult ScatterAddAlongOp::emitVjp(OpBuilder &b, ValueRange cotangents, ArrayRef<bool> wanted, SmallVectorImpl<Value> &gradients) {
  if (!cotangents[0])
    return noGradients(2, gradients);
  gradients.push_back(Value());
  gradients.push_back(GatherAlongOp::create(b, getLoc(), getUpdates().getType(), cotangents[0], getIndices(), getAxis()));
  return success();
}

FactorRule ScatterAddAlongOp::getFactorRule() {
  TensorFactors whole, picked;
  FactorRule rule = alongRule(getResult(), getIndices(), getAxis(), whole, picked);
  rule.factors[picked[getAxis()][0]].kind = FactorKind::Sum;
  rule.operands = {picked, picked};
  rule.results = {whole};
  return rule;
}

LogicalResult ScatterAddAlongOp::evaluate(Operands in, Results out) {
  return forAlong(*this, *in[0], out[0], getAxis(),
                  [&](int64_t i, int64_t at) { out[0].reals[at] += in[1]->reals[i]; });
}
