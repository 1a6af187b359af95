//===- Loss.cpp - SoftmaxCrossEntropyLoss and NegativeLogLikelihoodLoss ------===//
#include "frontends/onnx/Loss.h"
#include "frontends/onnx/NodeImporter.h"
#include "frontends/onnx/OpTable.h"

using namespace mlir;
using namespace llmc;
using namespace llmc::onnx;

CrossEntropy llmc::onnx::emitCrossEntropy(NodeImporter &n, Value logits, Value labels, int64_t ignoreIndex) {
  Type element = nn::typeOf(logits).getElementType();
  auto scalar = RankedTensorType::get({}, element);
  auto rows = RankedTensorType::get(nn::typeOf(logits).getShape().drop_back(), element);
  auto results = n.emitAll<nn::CrossEntropyOp>(TypeRange{scalar, scalar, rows}, logits, labels,
                                               n.state.builder.getI64IntegerAttr(ignoreIndex));
  return {results[0], results[1], results[2]};
}

/// Moves the class dimension, 1 in ONNX, to the end.
static Value classesLast(NodeImporter &n, Value x) {
  int64_t rank = nn::typeOf(x).getRank();
  SmallVector<int64_t> permutation = {0};
  for (int64_t d = 2; d < rank; ++d)
    permutation.push_back(d);
  permutation.push_back(1);
  return rank <= 2 ? x : n.transpose(x, permutation);
}

/// -log_probability[label] per row, zero where the label is ignored.
static Value perRow(NodeImporter &n, Value logProbability, Value labels, int64_t ignoreIndex) {
  SmallVector<int64_t> shape(nn::typeOf(labels).getShape()), one = shape;
  one.push_back(1);
  Value ignored = n.emit<arith::CmpIOp>(arith::CmpIPredicate::eq, labels, n.splatLike(labels, static_cast<double>(ignoreIndex)));
  Value safe = n.emit<arith::SelectOp>(ignored, n.splatLike(labels, 0), labels);
  auto type = RankedTensorType::get(one, nn::typeOf(logProbability).getElementType());
  Value picked = n.reshape(
      n.emit<nn::GatherAlongOp>(type, logProbability, n.reshape(safe, one), static_cast<int64_t>(shape.size())), shape);
  return n.emit<arith::SelectOp>(ignored, n.splatLike(picked, 0), n.emit<arith::NegFOp>(picked));
}

/// The class weight of each row's label, zero where it is ignored.
static Value weightPerRow(NodeImporter &n, Value weights, Value labels, int64_t ignoreIndex) {
  Value ignored = n.emit<arith::CmpIOp>(arith::CmpIPredicate::eq, labels, n.splatLike(labels, static_cast<double>(ignoreIndex)));
  Value safe = n.emit<arith::SelectOp>(ignored, n.splatLike(labels, 0), labels);
  auto type = RankedTensorType::get(nn::typeOf(labels).getShape(), nn::typeOf(weights).getElementType());
  Value picked = n.emit<nn::GatherOp>(type, weights, safe);
  return n.emit<arith::SelectOp>(ignored, n.splatLike(picked, 0), picked);
}

static Value sumAll(NodeImporter &n, Value value) {
  SmallVector<int64_t> dims;
  for (int64_t d = 0; d < nn::typeOf(value).getRank(); ++d)
    dims.push_back(d);
  return n.emit<nn::ReduceOp>(value, nn::ReduceKind::Sum, dims);
}

/// Both losses: `probabilities` says that the input holds log-probabilities instead of logits.
static LogicalResult loss(NodeImporter &n, bool probabilities) {
  if (!n.in(0) || !n.in(1) || !isa<FloatType>(nn::typeOf(n.in(0)).getElementType()) ||
      !isa<IntegerType>(nn::typeOf(n.in(1)).getElementType()) || n.rank(0) < 2 || n.rank(1) != n.rank(0) - 1)
    return n.fail("logits and integer labels expected");
  if (n.has(2) && (!n.in(2) || n.rank(2) != 1 || n.shape(2)[0] != n.shape(0)[1]))
    return n.fail("one weight per class expected");
  // Without ignore_index no label is ignored; this one no tensor can hold.
  int64_t ignore = n.hasAttr("ignore_index") ? n.attr("ignore_index", 0) : std::numeric_limits<int64_t>::min();
  std::string reduction = n.attrText("reduction", "mean");
  if (reduction != "mean" && reduction != "sum" && reduction != "none")
    return n.fail("reduction " + reduction);
  Value scores = classesLast(n, n.in(0));
  if (nn::typeOf(scores).getShape().drop_back() != n.shape(1))
    return n.fail("labels and logits differ in shape");
  if (n.wants(1)) {
    Value logs = n.emit<nn::LogSoftmaxOp>(scores.getType(), scores);
    SmallVector<int64_t> back = {0, n.rank(0) - 1};
    for (int64_t d = 1; d + 1 < n.rank(0); ++d)
      back.push_back(d);
    n.out(1, n.rank(0) <= 2 ? logs : n.transpose(logs, back));
  }
  Value total, weight;
  auto logSoftmax = scores.getDefiningOp<nn::LogSoftmaxOp>();
  if (n.has(2) || reduction == "none") {
    Value logs = probabilities ? scores : n.emit<nn::LogSoftmaxOp>(scores.getType(), scores);
    Value rows = perRow(n, logs, n.in(1), ignore), weights;
    if (n.has(2)) {
      weights = weightPerRow(n, n.in(2), n.in(1), ignore);
      rows = n.emit<arith::MulFOp>(rows, weights);
    }
    if (reduction == "none")
      return n.done(rows);
    total = sumAll(n, rows);
    weight = sumAll(n, weights);
  } else if (!probabilities || logSoftmax) {
    CrossEntropy ce = emitCrossEntropy(n, probabilities ? logSoftmax.getInput() : scores, n.in(1), ignore);
    total = ce.sum;
    weight = ce.weight;
  } else {
    Value rows = perRow(n, scores, n.in(1), ignore);
    total = sumAll(n, rows);
    Value counted = n.emit<arith::CmpIOp>(arith::CmpIPredicate::ne, n.in(1), n.splatLike(n.in(1), static_cast<double>(ignore)));
    weight = sumAll(n, n.cast(counted, nn::typeOf(rows).getElementType()));
  }
  return n.done(reduction == "sum" ? total : n.emit<arith::DivFOp>(total, weight));
}

static LogicalResult softmaxCrossEntropy(NodeImporter &n) { return loss(n, false); }
static LogicalResult negativeLogLikelihood(NodeImporter &n) { return loss(n, true); }

void llmc::onnx::registerLoss(OpTable &t) {
  t.add("SoftmaxCrossEntropyLoss", 12, softmaxCrossEntropy);
  t.add("NegativeLogLikelihoodLoss", 12, negativeLogLikelihood);
}
