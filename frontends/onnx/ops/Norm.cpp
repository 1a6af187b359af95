//===- Norm.cpp - layer, RMS, group and instance normalization, dropout ------===//
#include "frontends/onnx/NodeImporter.h"
#include "frontends/onnx/OpTable.h"

using namespace mlir;
using namespace llmc;
using namespace llmc::onnx;

namespace {
/// Input and parameters of a normalization over all dimensions from `axis` on, made one dimension.
struct Rows {
  Value x, scale, bias;
  SmallVector<int64_t> shape, leading; // of the input; of the statistics in ONNX (normalized dimensions are 1)
  SmallVector<int64_t> rows;           // leading dimensions of x
};
} // namespace

static FailureOr<Rows> rowsOf(NodeImporter &n) {
  if (!n.in(0) || !n.in(1) || !isa<FloatType>(nn::typeOf(n.in(0)).getElementType()) || n.rank(0) == 0)
    return n.fail("a real input and a scale expected");
  auto axis = n.axis(n.attr("axis", -1), n.rank(0));
  if (failed(axis))
    return failure();
  Rows r;
  r.shape.assign(n.shape(0).begin(), n.shape(0).end());
  r.rows.assign(r.shape.begin(), r.shape.begin() + *axis);
  r.leading = r.rows;
  r.leading.resize(r.shape.size(), 1);
  SmallVector<int64_t> normalized(r.shape.begin() + *axis, r.shape.end());
  int64_t columns = 1;
  for (int64_t extent : normalized)
    columns *= extent;
  SmallVector<int64_t> flat = r.rows;
  flat.push_back(columns);
  r.x = n.reshape(n.in(0), flat);
  auto parameter = [&](Value p) -> Value {
    if (!p)
      return {};
    if (nn::typeOf(p).getElementType() != nn::typeOf(r.x).getElementType()) {
      (void)n.fail("scale and input differ in element type");
      return {};
    }
    // Leading 1s of the parameter say nothing.
    SmallVector<int64_t> shape(nn::typeOf(p).getShape());
    while (shape.size() > normalized.size() && shape.front() == 1)
      shape.erase(shape.begin());
    p = n.reshape(p, shape);
    auto common = n.commonShape({p, n.splat(RankedTensorType::get(normalized, nn::typeOf(p).getElementType()), 0)});
    if (failed(common) || *common != normalized) {
      (void)n.fail("the scale does not have the shape of the normalized dimensions");
      return {};
    }
    return n.reshape(n.broadcastTo(p, normalized), {columns});
  };
  r.scale = parameter(n.in(1));
  r.bias = parameter(n.in(2));
  if (n.failed())
    return failure();
  return r;
}

static LogicalResult layerNorm(NodeImporter &n) {
  auto r = rowsOf(n);
  if (failed(r))
    return failure();
  auto stats = RankedTensorType::get(r->rows, nn::typeOf(r->x).getElementType());
  OpBuilder &b = n.state.builder;
  auto results = n.emitAll<nn::LayerNormOp>(TypeRange{r->x.getType(), stats, stats}, r->x, r->scale, r->bias,
                                            b.getF64FloatAttr(n.attrFloat("epsilon", 1e-5f)));
  n.out(0, n.reshape(results[0], r->shape));
  if (n.wants(1))
    n.out(1, n.reshape(results[1], r->leading));
  if (n.wants(2))
    n.out(2, n.reshape(results[2], r->leading));
  return success();
}

static LogicalResult rmsNorm(NodeImporter &n) {
  auto r = rowsOf(n);
  if (failed(r))
    return failure();
  auto stats = RankedTensorType::get(r->rows, nn::typeOf(r->x).getElementType());
  auto results = n.emitAll<nn::RmsNormOp>(TypeRange{r->x.getType(), stats}, r->x, r->scale,
                                          n.state.builder.getF64FloatAttr(n.attrFloat("epsilon", 1e-5f)));
  return n.done(n.reshape(results[0], r->shape));
}

/// Normalizes groups of channels of an image [b, c, ...] and scales each channel.
static LogicalResult groupNorm(NodeImporter &n, int64_t groups, bool scalePerGroup) {
  if (!n.in(0) || !n.in(1) || !n.in(2) || n.rank(0) < 3 || !isa<FloatType>(nn::typeOf(n.in(0)).getElementType()))
    return n.fail("a real image, scale and bias expected");
  int64_t batch = n.shape(0)[0], channels = n.shape(0)[1];
  if (groups < 1 || channels % groups || n.rank(1) != 1 || n.shape(1) != n.shape(2) ||
      n.shape(1)[0] != (scalePerGroup ? groups : channels))
    return n.fail("scale and bias must have one entry per channel");
  int64_t columns = nn::typeOf(n.in(0)).getNumElements() / (batch * groups);
  Type element = nn::typeOf(n.in(0)).getElementType();
  auto stats = RankedTensorType::get({batch, groups}, element), unit = RankedTensorType::get({columns}, element);
  Value x = n.reshape(n.in(0), {batch, groups, columns});
  Value y = n.emitAll<nn::LayerNormOp>(TypeRange{x.getType(), stats, stats}, x, n.splat(unit, 1), Value(),
                                       n.state.builder.getF64FloatAttr(n.attrFloat("epsilon", 1e-5f)))[0];
  y = n.reshape(y, n.shape(0));
  auto perChannel = [&](Value p) {
    if (scalePerGroup)
      p = n.reshape(n.broadcast(p, {groups, channels / groups}, {0}), {channels});
    return n.broadcast(p, n.shape(0), {1});
  };
  y = n.emit<arith::MulFOp>(y, perChannel(n.in(1)));
  return n.done(n.emit<arith::AddFOp>(y, perChannel(n.in(2))));
}

static LogicalResult groupNormPerGroup(NodeImporter &n) { return groupNorm(n, n.attr("num_groups", 0), true); }
static LogicalResult groupNormPerChannel(NodeImporter &n) { return groupNorm(n, n.attr("num_groups", 0), false); }
static LogicalResult instanceNorm(NodeImporter &n) {
  return n.in(0) && n.rank(0) >= 2 ? groupNorm(n, n.shape(0)[1], false) : n.fail("a real image expected");
}

/// BatchNormalization in training mode: the batch's statistics, and new running ones. Their variance is the unbiased one in files
/// that PyTorch wrote, which takes the operator for its own; the standard's is the biased one.
static LogicalResult batchNormTraining(NodeImporter &n) {
  if (!n.state.isPyTorchs)
    return n.fail("training_mode=1 in a file that PyTorch did not write: its running variance would be the biased one");
  if (nn::typeOf(n.in(0)).getNumElements() < 2 * n.shape(0)[1])
    return n.fail("training_mode=1 with one value per channel, which has no variance");
  auto running = [&](size_t i) {
    std::string buffer = n.state.bufferOf.lookup(n.node.inputs[i]);
    auto changed = n.state.newBuffers.find(buffer); // by another node: the same module, called again
    return std::pair(buffer, buffer.empty() ? Value() : changed == n.state.newBuffers.end() ? n.in(i) : changed->second);
  };
  auto [meanName, mean] = running(3);
  auto [varianceName, variance] = running(4);
  if (!mean || !variance)
    return n.fail("training_mode=1 with running statistics that are no initializers of the file");
  OpBuilder &b = n.state.builder;
  SmallVector<Value> results = n.emitAll<nn::BatchNormOp>(
      n.in(0).getType(), mean.getType(), variance.getType(), n.in(0), n.in(1), n.in(2), mean, variance,
      b.getF64FloatAttr(n.attrFloat("epsilon", 1e-5f)), b.getF64FloatAttr(n.attrFloat("momentum", 0.9f)));
  n.state.newBuffers[meanName] = results[1];
  n.state.newBuffers[varianceName] = results[2];
  for (size_t i = 0; i < 3; ++i)
    n.out(i, results[i]);
  for (size_t i : {1, 2})
    if (n.wants(i))
      n.state.bufferOf[n.node.outputs[i]] = i == 1 ? meanName : varianceName;
  return success();
}

static LogicalResult batchNorm(NodeImporter &n) {
  for (size_t i = 0; i < 5; ++i)
    if (!n.in(i) || (i > 0 && n.rank(i) != 1))
      return n.fail("five inputs expected");
  if (!n.attr("spatial", 1))
    return n.fail("spatial=0: statistics of each element");
  if (n.rank(0) < 2)
    return n.fail("an image expected");
  if (n.attr("training_mode", 0))
    return batchNormTraining(n);
  ArrayRef<int64_t> shape = n.shape(0);
  auto wide = [&](Value p) { return n.broadcast(p, shape, {1}); };
  Value deviation = n.emit<arith::AddFOp>(n.in(4), n.splatLike(n.in(4), n.attrFloat("epsilon", 1e-5f)));
  Value factor = n.emit<arith::MulFOp>(n.in(1), n.emit<math::RsqrtOp>(deviation));
  Value centered = n.emit<arith::SubFOp>(n.in(0), wide(n.in(3)));
  return n.done(n.emit<arith::AddFOp>(n.emit<arith::MulFOp>(centered, wide(factor)), wide(n.in(2))));
}

// x / norm(x) along one axis, 0 where the norm is 0
static LogicalResult lpNorm(NodeImporter &n) {
  if (!n.in(0) || !isa<FloatType>(nn::typeOf(n.in(0)).getElementType()))
    return n.fail("a real input expected");
  auto axis = n.axis(n.attr("axis", -1), n.rank(0));
  int64_t p = n.attr("p", 2);
  if (failed(axis) || (p != 1 && p != 2))
    return n.fail("p must be 1 or 2");
  Value x = n.in(0);
  Value terms = p == 1 ? n.emit<math::AbsFOp>(x) : n.emit<arith::MulFOp>(x, x);
  Value sum = n.emit<nn::ReduceOp>(terms, nn::ReduceKind::Sum, ArrayRef<int64_t>(*axis));
  SmallVector<int64_t> kept(n.shape(0));
  kept[*axis] = 1;
  Value norm = n.reshape(p == 1 ? sum : n.normOf(sum), kept);
  Value isZero = n.emit<arith::CmpFOp>(arith::CmpFPredicate::OEQ, norm, n.splatLike(norm, 0));
  norm = n.emit<arith::SelectOp>(isZero, n.splatLike(norm, 1), norm);
  return n.done(n.emit<arith::DivFOp>(x, n.broadcastTo(norm, n.shape(0))));
}

/// x minus its mean over some dimensions, divided by the deviation there.
static LogicalResult meanVarianceNorm(NodeImporter &n) {
  if (!n.in(0) || !isa<FloatType>(nn::typeOf(n.in(0)).getElementType()))
    return n.fail("a real input expected");
  SmallVector<int64_t> dims, kept(n.shape(0));
  for (int64_t given : n.attrInts("axes").value_or(SmallVector<int64_t>{0, 2, 3})) {
    auto axis = n.axis(given, n.rank(0));
    if (failed(axis))
      return failure();
    dims.push_back(*axis);
    kept[*axis] = 1;
  }
  llvm::sort(dims);
  dims.erase(std::unique(dims.begin(), dims.end()), dims.end());
  if (dims.empty())
    return n.fail("axes expected");
  auto mean = [&](Value v) {
    return n.broadcastTo(n.reshape(n.emit<nn::ReduceOp>(v, nn::ReduceKind::Mean, ArrayRef<int64_t>(dims)), kept), n.shape(0));
  };
  Value centered = n.emit<arith::SubFOp>(n.in(0), mean(n.in(0)));
  Value deviation = n.emit<math::SqrtOp>(mean(n.emit<arith::MulFOp>(centered, centered)));
  return n.done(n.emit<arith::DivFOp>(centered, n.emit<arith::AddFOp>(deviation, n.splatLike(deviation, 1e-9))));
}

static LogicalResult dropout(NodeImporter &n) {
  if (!n.in(0))
    return n.fail("input 0 is missing");
  bool training = false;
  double ratio = 0.5;
  if (n.has(1)) {
    const HostTensor *value = n.constant(1);
    if (!value || value->size() != 1)
      return n.fail("the ratio must be one constant");
    ratio = value->real(0);
  }
  if (n.has(2)) {
    const HostTensor *value = n.constant(2);
    if (!value || value->size() != 1)
      return n.fail("training_mode must be one constant");
    training = value->real(0) != 0;
  }
  if (n.wants(1) && training && ratio != 0)
    return n.fail("the mask output");
  if (!(ratio >= 0 && ratio < 1))
    return n.fail("a ratio outside [0, 1)");
  n.out(1, n.splat(RankedTensorType::get(n.shape(0), n.state.builder.getI1Type()), 1)); // nothing is dropped
  if (!training || ratio == 0)
    return n.done(n.in(0));
  OpBuilder &b = n.state.builder;
  return n.done(n.emit<nn::DropoutOp>(n.in(0).getType(), n.in(0), Value(), b.getF64FloatAttr(ratio),
                                      b.getI64IntegerAttr(static_cast<int64_t>(n.state.seed)),
                                      b.getI64IntegerAttr(n.state.nextDropout++), DenseI64ArrayAttr()));
}

void llmc::onnx::registerNorm(OpTable &t) {
  t.add("LayerNormalization", 17, layerNorm);
  t.add("RMSNormalization", 23, rmsNorm);
  t.add("GroupNormalization", 18, groupNormPerGroup);
  t.add("GroupNormalization", 21, groupNormPerChannel);
  t.add("InstanceNormalization", 6, instanceNorm);
  t.add("BatchNormalization", 7, batchNorm);
  t.add("LpNormalization", 1, lpNorm);
  t.add("MeanVarianceNormalization", 9, meanVarianceNorm);
  t.add("Dropout", 7, dropout);
}
