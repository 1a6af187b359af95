//===- Reduce.cpp - reductions, softmax and cumulative sums ------===//
#include "frontends/onnx/NodeImporter.h"
#include "frontends/onnx/OpTable.h"
#include <limits>

using namespace mlir;
using namespace llmc;
using namespace llmc::onnx;

namespace {
/// The dimensions of one Reduce operator and how its result is shaped.
struct Reduction {
  SmallVector<int64_t> dims;
  SmallVector<int64_t> shape; // of the result
  SmallVector<int64_t> keptShape; // of the result with size-1 dimensions
  bool nothing = false;
};
} // namespace

static FailureOr<Reduction> reductionOf(NodeImporter &n) {
  if (!n.in(0))
    return n.fail("input 0 is missing");
  auto axes = n.ints(1);
  if (failed(axes))
    return failure();
  Reduction r;
  if (axes->empty() && n.attr("noop_with_empty_axes", 0)) {
    r.nothing = true;
    return r;
  }
  if (axes->empty())
    for (int64_t d = 0; d < n.rank(0); ++d)
      r.dims.push_back(d);
  for (int64_t axis : *axes) {
    auto checked = n.axis(axis, n.rank(0));
    if (failed(checked))
      return failure();
    r.dims.push_back(*checked);
  }
  llvm::sort(r.dims);
  r.dims.erase(std::unique(r.dims.begin(), r.dims.end()), r.dims.end());
  for (auto [d, extent] : llvm::enumerate(n.shape(0))) {
    bool reduced = llvm::is_contained(r.dims, static_cast<int64_t>(d));
    r.keptShape.push_back(reduced ? 1 : extent);
    if (!reduced || n.attr("keepdims", 1))
      r.shape.push_back(reduced ? 1 : extent);
  }
  if (nn::typeOf(n.in(0)).getNumElements() == 0 && llvm::is_contained(r.shape, 0))
    return n.fail("an empty result");
  return r;
}

/// Of nothing: a sum is 0, a product 1, a maximum as low as can be.
static double reducedNothing(nn::ReduceKind kind, Type type) {
  double infinity = std::numeric_limits<double>::infinity();
  switch (kind) {
  case nn::ReduceKind::Sum:
    return 0;
  case nn::ReduceKind::Prod:
    return 1;
  case nn::ReduceKind::Mean:
    return std::numeric_limits<double>::quiet_NaN();
  case nn::ReduceKind::Max:
    return type.isInteger(1) ? 0 : -infinity;
  case nn::ReduceKind::Min:
    return type.isInteger(1) ? 1 : infinity;
  }
  return 0;
}

static Value reduceTo(NodeImporter &n, Value value, nn::ReduceKind kind, const Reduction &r) {
  RankedTensorType type = nn::typeOf(value);
  if (type.getNumElements() == 0) {
    if (!isa<FloatType>(type.getElementType()) && kind != nn::ReduceKind::Sum && kind != nn::ReduceKind::Prod && !type.getElementType().isInteger(1))
      (void)n.fail("an extreme of no integers");
    SmallVector<int64_t> shape;
    for (auto [d, extent] : llvm::enumerate(type.getShape()))
      if (!llvm::is_contained(r.dims, static_cast<int64_t>(d)))
        shape.push_back(extent);
    return n.splat(RankedTensorType::get(shape, type.getElementType()), n.failed() ? 0 : reducedNothing(kind, type.getElementType()));
  }
  return r.dims.empty() ? value : n.emit<nn::ReduceOp>(value, kind, ArrayRef<int64_t>(r.dims));
}

template <nn::ReduceKind kind> static LogicalResult reduce(NodeImporter &n) {
  auto r = reductionOf(n);
  if (failed(r))
    return failure();
  if (r->nothing)
    return n.done(n.in(0));
  if (nn::typeOf(n.in(0)).getElementType().isInteger(1)) { // true is the larger one, as in integers that have a sign bit
    Value found = reduceTo(n, n.cast(n.in(0), n.state.builder.getI32Type()), kind, *r);
    return n.done(n.reshape(n.cast(found, n.state.builder.getI1Type()), r->shape));
  }
  return n.done(n.reshape(reduceTo(n, n.in(0), kind, *r), r->shape));
}

enum class Norm { SumSquare, L1, L2, LogSum };

/// Reductions of a function of the elements, or functions of a sum.
template <Norm norm> static LogicalResult reduceNorm(NodeImporter &n) {
  auto r = reductionOf(n);
  if (failed(r) || !isa<FloatType>(nn::typeOf(n.in(0)).getElementType()))
    return n.fail("a real input expected");
  Value x = n.in(0);
  if (norm == Norm::L1)
    x = n.emit<math::AbsFOp>(x);
  if (norm == Norm::L2 || norm == Norm::SumSquare)
    x = n.emit<arith::MulFOp>(x, x);
  if (!r->nothing)
    x = reduceTo(n, x, nn::ReduceKind::Sum, *r);
  if (norm == Norm::L2)
    x = n.normOf(x);
  if (norm == Norm::LogSum)
    x = n.emit<math::LogOp>(x);
  return n.done(r->nothing ? x : n.reshape(x, r->shape));
}

// log(sum(exp(x))) = max + log(sum(exp(x - max)))
static LogicalResult logSumExp(NodeImporter &n) {
  auto r = reductionOf(n);
  if (failed(r) || !isa<FloatType>(nn::typeOf(n.in(0)).getElementType()))
    return n.fail("a real input expected");
  if (r->nothing)
    return n.done(n.in(0));
  Value x = n.in(0), top = reduceTo(n, x, nn::ReduceKind::Max, *r);
  if (nn::typeOf(x).getNumElements() == 0)
    return n.done(n.reshape(top, r->shape)); // the logarithm of 0
  Value shifted = n.emit<arith::SubFOp>(x, n.broadcastTo(n.reshape(top, r->keptShape), n.shape(0)));
  Value sum = reduceTo(n, n.emit<math::ExpOp>(shifted), nn::ReduceKind::Sum, *r);
  return n.done(n.reshape(n.emit<arith::AddFOp>(n.emit<math::LogOp>(sum), top), r->shape));
}

template <typename Op> static LogicalResult softmax(NodeImporter &n) {
  if (!n.in(0) || !isa<FloatType>(nn::typeOf(n.in(0)).getElementType()) || n.rank(0) == 0)
    return n.fail("a real input expected");
  auto axis = n.axis(n.attr("axis", -1), n.rank(0));
  if (failed(axis))
    return failure();
  Value x = n.swapLast(n.in(0), *axis);
  return n.done(n.swapLast(n.emit<Op>(x.getType(), x), *axis));
}

/// Before 13: over all dimensions from `axis` on together.
template <typename Op> static LogicalResult softmaxOfRows(NodeImporter &n) {
  if (!n.in(0) || !isa<FloatType>(nn::typeOf(n.in(0)).getElementType()) || n.rank(0) == 0)
    return n.fail("a real input expected");
  int64_t axis = n.attr("axis", 1);
  axis = axis < 0 ? axis + n.rank(0) : axis;
  if (axis < 0 || axis > n.rank(0))
    return n.fail("the axis is out of range");
  SmallVector<int64_t> rows(n.shape(0).take_front(axis));
  int64_t columns = 1;
  for (int64_t extent : n.shape(0).drop_front(axis))
    columns *= extent;
  rows.push_back(columns);
  Value x = n.reshape(n.in(0), rows);
  return n.done(n.reshape(n.emit<Op>(x.getType(), x), n.shape(0)));
}

/// Running sums of integers, exact: after step k each element holds the sum of the 2^k before and with it.
static Value integerSums(NodeImporter &n, Value x, int64_t axis, bool exclusive, bool reverse) {
  int64_t extent = nn::typeOf(x).getDimSize(axis);
  MLIRContext *context = n.state.builder.getContext();
  auto shifted = [&](Value value, int64_t by) { // towards the end, or the start if `reverse`
    Value part = n.slice(value, axis, reverse ? by : 0, extent - by);
    SmallVector<int64_t> sizes(nn::typeOf(part).getShape()), offsets(sizes.size(), 0);
    offsets[axis] = reverse ? 0 : by;
    return n.emit<tensor::InsertSliceOp>(part, n.splatLike(value, 0), getAsIndexOpFoldResult(context, offsets),
                                         getAsIndexOpFoldResult(context, sizes),
                                         SmallVector<OpFoldResult>(sizes.size(), n.state.builder.getIndexAttr(1)));
  };
  Value sum = x;
  for (int64_t by = 1; by < extent; by *= 2)
    sum = n.emit<arith::AddIOp>(sum, shifted(sum, by));
  return exclusive ? n.emit<arith::SubIOp>(sum, x) : sum;
}

/// CumSum of known values; of integers, sums of shifted ones; of reals, a contraction with a triangle of ones.
static LogicalResult cumSum(NodeImporter &n) {
  auto given = n.ints(1);
  if (!n.in(0) || failed(given) || given->size() != 1)
    return n.fail("one constant axis expected");
  auto axis = n.axis(given->front(), n.rank(0));
  if (failed(axis))
    return failure();
  bool exclusive = n.attr("exclusive", 0), reverse = n.attr("reverse", 0);
  int64_t extent = n.shape(0)[*axis];
  RankedTensorType type = nn::typeOf(n.in(0));
  if (const HostTensor *known = n.state.pool.elements(n.in(0))) {
    HostTensor sum = *known;
    int64_t step = sum.strides()[*axis];
    for (int64_t start = 0; start < sum.size(); ++start) {
      if ((start / step) % extent != 0)
        continue;
      double real = 0;
      uint64_t whole = 0;
      for (int64_t k = 0; k < extent; ++k) {
        int64_t at = start + (reverse ? extent - 1 - k : k) * step;
        double x = sum.isReal ? sum.reals[at] : 0;
        uint64_t w = sum.isReal ? 0 : static_cast<uint64_t>(sum.integers[at]);
        if (sum.isReal)
          sum.reals[at] = exclusive ? real : real + x;
        else
          sum.integers[at] = static_cast<int64_t>(exclusive ? whole : whole + w);
        real += x;
        whole += w;
      }
    }
    roundTo(type.getElementType(), sum);
    return n.done(n.state.pool.make(n.loc, type, std::move(sum)));
  }
  if (!isa<FloatType>(type.getElementType()))
    return n.done(integerSums(n, n.in(0), *axis, exclusive, reverse));
  if (extent > (1 << 14))
    return n.fail("a running sum over " + Twine(extent) + " elements");
  HostTensor triangle;
  triangle.shape = {extent, extent};
  for (int64_t i = 0; i < extent; ++i)
    for (int64_t j = 0; j < extent; ++j)
      triangle.reals.push_back(reverse ? (exclusive ? i > j : i >= j) : (exclusive ? i < j : i <= j));
  Value ones = n.state.pool.make(n.loc, RankedTensorType::get({extent, extent}, type.getElementType()), std::move(triangle));
  Value x = n.swapLast(n.in(0), *axis);
  std::string letters;
  for (int64_t d = 0; d + 1 < type.getRank(); ++d)
    letters += static_cast<char>('a' + d);
  if (letters.size() > 20)
    return n.fail("too many dimensions");
  return n.done(n.swapLast(n.emit<nn::ContractOp>(letters + "x,xy->" + letters + "y", x, ones), *axis));
}

/// Running products: after step k each element holds the product of the 2^k before and with it.
static LogicalResult cumProd(NodeImporter &n) {
  auto given = n.ints(1);
  if (!n.in(0) || failed(given) || given->size() != 1)
    return n.fail("one constant axis expected");
  auto axis = n.axis(given->front(), n.rank(0));
  if (failed(axis))
    return failure();
  bool reverse = n.attr("reverse", 0), isReal = isa<FloatType>(nn::typeOf(n.in(0)).getElementType());
  int64_t extent = n.shape(0)[*axis];
  MLIRContext *context = n.state.builder.getContext();
  auto shifted = [&](Value value, int64_t by) {
    Value part = n.slice(value, *axis, reverse ? by : 0, extent - by), ones = n.splatLike(value, 1);
    SmallVector<int64_t> sizes(nn::typeOf(part).getShape()), offsets(sizes.size(), 0);
    if (extent == by)
      return ones;
    offsets[*axis] = reverse ? 0 : by;
    return n.emit<tensor::InsertSliceOp>(part, ones, getAsIndexOpFoldResult(context, offsets), getAsIndexOpFoldResult(context, sizes),
                                         SmallVector<OpFoldResult>(sizes.size(), n.state.builder.getIndexAttr(1)));
  };
  Value product = n.attr("exclusive", 0) ? shifted(n.in(0), 1) : n.in(0);
  for (int64_t by = 1; by < extent; by *= 2)
    product = isReal ? n.emit<arith::MulFOp>(product, shifted(product, by)) : n.emit<arith::MulIOp>(product, shifted(product, by));
  return n.done(product);
}

void llmc::onnx::registerReduce(OpTable &t) {
  t.add("ReduceSum", 1, reduce<nn::ReduceKind::Sum>);
  t.add("ReduceMean", 1, reduce<nn::ReduceKind::Mean>);
  t.add("ReduceMax", 1, reduce<nn::ReduceKind::Max>);
  t.add("ReduceMin", 1, reduce<nn::ReduceKind::Min>);
  t.add("ReduceProd", 1, reduce<nn::ReduceKind::Prod>);
  t.add("ReduceSumSquare", 1, reduceNorm<Norm::SumSquare>);
  t.add("ReduceL1", 1, reduceNorm<Norm::L1>);
  t.add("ReduceL2", 1, reduceNorm<Norm::L2>);
  t.add("ReduceLogSum", 1, reduceNorm<Norm::LogSum>);
  t.add("ReduceLogSumExp", 1, logSumExp);
  t.add("Softmax", 1, softmaxOfRows<nn::SoftmaxOp>);
  t.add("LogSoftmax", 1, softmaxOfRows<nn::LogSoftmaxOp>);
  t.add("Softmax", 13, softmax<nn::SoftmaxOp>);
  t.add("LogSoftmax", 13, softmax<nn::LogSoftmaxOp>);
  t.add("CumProd", 26, cumProd);
  t.add("CumSum", 11, cumSum);
}
