//===- Loss.cpp - cross_entropy, linear_cross_entropy and their backward ops ------------===//
#include "dialects/nn/Family.h"
#include <cmath>

using namespace mlir;
using namespace llmc;
using namespace llmc::nn;

namespace {

double logSumExp(const double *x, int64_t columns) {
  double top = -INFINITY, sum = 0.0;
  for (int64_t c = 0; c < columns; ++c)
    top = std::max(top, x[c]);
  for (int64_t c = 0; c < columns; ++c)
    sum += std::exp(x[c] - top);
  return top + std::log(sum);
}

/// `elsewhere` if the label may be the number of classes.
LogicalResult labelInRange(Operation *op, int64_t label, int64_t classes, int64_t row, bool elsewhere = false) {
  if (label >= 0 && (label < classes || (elsewhere && label == classes)))
    return success();
  return op->emitOpError() << "label " << label << " of row " << row << " is outside of the " << classes << " classes";
}

/// loss_sum, weight and lse of one row of logits.
LogicalResult lossOfRow(Operation *op, const double *logits, int64_t classes, int64_t label, int64_t ignored, int64_t row, Results out) {
  double lse = logSumExp(logits, classes);
  out[2].reals[row] = lse;
  if (label == ignored)
    return success();
  if (failed(labelInRange(op, label, classes, row)))
    return failure();
  out[0].reals[0] += lse - logits[label];
  out[1].reals[0] += 1.0;
  return success();
}

bool leadingShape(Value value, RankedTensorType type) { return typeOf(value).getShape() == leading(type); }

template <typename Op>
int64_t classesOf(Op op) {
  return typeOf(op.getWeightMatrix()).getDimSize(op.getVocabularyLast() ? 1 : 0);
}

/// How a linear head's operands move: rows parallel (sums for the loss), parts of the vocabulary summed, width whole.
template <typename Op>
struct HeadFactors {
  FactorRule rule;
  TensorFactors input, matrix, rows, bias;
  int64_t parts;
  /// The vocabulary is (parts, classes of one): parts may be cut.
  HeadFactors(Op op, int64_t partCount) {
    RankedTensorType type = typeOf(op.getInput());
    rows = rule.addDimensions(leading(type), FactorKind::Sum);
    int64_t column = rule.add(type.getShape().back(), FactorKind::NeedWhole);
    parts = rule.add(partCount, FactorKind::Sum);
    DimensionFactors vocabulary = {parts, rule.add(classesOf(op) / partCount, FactorKind::NeedWhole)};
    input = rows;
    input.push_back({column});
    matrix = op.getVocabularyLast() ? TensorFactors{{column}, vocabulary} : TensorFactors{vocabulary, {column}};
    bias = {vocabulary};
  }
};

template <typename Op>
LogicalResult verifyHead(Op op) {
  RankedTensorType type = typeOf(op.getInput()), matrix = typeOf(op.getWeightMatrix());
  if (type.getRank() == 0 || matrix.getRank() != 2 || matrix.getDimSize(op.getVocabularyLast() ? 0 : 1) != type.getShape().back())
    return op.emitOpError("C1: the weight must be [V, C], or [C, V] if vocabulary_last");
  if (op.getBias() && typeOf(op.getBias()).getShape() != ArrayRef<int64_t>(matrix.getDimSize(op.getVocabularyLast() ? 1 : 0)))
    return op.emitOpError("C1: the bias must be [V]");
  return check(op, leadingShape(op.getLabels(), type), "C1: labels must have the input's leading shape");
}

/// The logits of one row of a linear head.
template <typename Op>
void logitsOfRow(Op op, Operands in, unsigned biasIndex, int64_t row, std::vector<double> &logits) {
  int64_t width = in[0]->shape.back(), classes = static_cast<int64_t>(logits.size());
  const double *x = in[0]->reals.data() + row * width;
  for (int64_t v = 0; v < classes; ++v) {
    double sum = op.getBias() ? in[biasIndex]->reals[v] : 0.0;
    int64_t at = op.getVocabularyLast() ? v : v * width, step = op.getVocabularyLast() ? classes : 1;
    for (int64_t c = 0; c < width; ++c)
      sum += x[c] * in[1]->reals[at + c * step];
    logits[v] = sum;
  }
}

} // namespace

//===-- nn.cross_entropy --------------------------------------------------------------------===//

LogicalResult CrossEntropyOp::verify() {
  RankedTensorType type = typeOf(getLogits());
  return check(*this, type.getRank() >= 1 && leadingShape(getLabels(), type) && leadingShape(getLse(), type) &&
                          typeOf(getLossSum()).getRank() == 0 && typeOf(getWeight()).getRank() == 0,
               "C1: labels and lse must have the logits' leading shape, loss_sum and weight rank 0");
}

// see nn.cross_entropy_backward     saves: logits, labels, lse
LogicalResult CrossEntropyOp::emitVjp(OpBuilder &b, ValueRange cotangents, ArrayRef<bool>, SmallVectorImpl<Value> &gradients) {
  if (cotangents[2])
    return emitOpError("has no derivative through lse");
  if (!cotangents[0])
    return noGradients(2, gradients);
  gradients.append({CrossEntropyBackwardOp::create(b, getLoc(), getLogits().getType(), getLogits(), getLabels(), getLse(),
                                                   cotangents[0], getIgnoreIndexAttr()),
                    Value()});
  return success();
}

FactorRule CrossEntropyOp::getFactorRule() {
  RowRule r(typeOf(getLogits()), FactorKind::NeedWhole);
  for (DimensionFactors &dim : r.leadingDims)
    r.rule.factors[dim[0]].kind = FactorKind::Sum;
  r.rule.operands = {r.whole, r.leadingDims};
  r.rule.results = {{}, {}, r.leadingDims};
  return r.rule;
}
int64_t CrossEntropyOp::getFlops() { return 4 * elements(getLogits()); }

LogicalResult CrossEntropyOp::evaluate(Operands in, Results out) {
  auto [rows, classes] = rowsOf(*in[0]);
  for (int64_t r = 0; r < rows; ++r)
    if (failed(lossOfRow(*this, in[0]->reals.data() + r * classes, classes, in[1]->integers[r], getIgnoreIndex(), r, out)))
      return failure();
  return success();
}

LogicalResult CrossEntropyBackwardOp::verify() {
  return check(*this, getGradient().getType() == getLogits().getType(), "C1: the gradient must have the logits' type");
}
LogicalResult CrossEntropyBackwardOp::emitVjp(OpBuilder &, ValueRange, ArrayRef<bool>, SmallVectorImpl<Value> &) {
  return emitOpError("has no derivative: second derivatives are not computed");
}
FactorRule CrossEntropyBackwardOp::getFactorRule() {
  RowRule r(typeOf(getLogits()), FactorKind::NeedWhole);
  r.rule.operands = {r.whole, r.leadingDims, r.leadingDims, {}};
  r.rule.results = {r.whole};
  return r.rule;
}
int64_t CrossEntropyBackwardOp::getFlops() { return 4 * elements(getLogits()); }

LogicalResult CrossEntropyBackwardOp::evaluate(Operands in, Results out) {
  auto [rows, classes] = rowsOf(*in[0]);
  for (int64_t r = 0; r < rows; ++r) {
    int64_t label = in[1]->integers[r];
    if (label == getIgnoreIndex())
      continue;
    if (failed(labelInRange(*this, label, classes, r, /*elsewhere=*/true)))
      return failure();
    for (int64_t c = 0; c < classes; ++c)
      out[0].reals[r * classes + c] =
          in[3]->reals[0] * (std::exp(in[0]->reals[r * classes + c] - in[2]->reals[r]) - (c == label ? 1.0 : 0.0));
  }
  return success();
}

//===-- nn.linear_cross_entropy ---------------------------------------------------------------===//

LogicalResult LinearCrossEntropyOp::verify() {
  if (failed(verifyHead(*this)))
    return failure();
  SmallVector<int64_t> shape(leading(typeOf(getInput())));
  if (std::optional<int64_t> parts = getParts()) {
    if (*parts < 1 || classesOf(*this) % *parts != 0)
      return emitOpError("C2: ") << *parts << " parts do not divide " << classesOf(*this) << " classes";
    shape.insert(shape.begin(), *parts);
  }
  return check(*this, typeOf(getLse()).getShape() == ArrayRef<int64_t>(shape),
               "C1: lse must have the input's leading shape, behind `parts` if there are some");
}

// see nn.linear_cross_entropy_backward     saves: input, weight, labels, lse
LogicalResult LinearCrossEntropyOp::emitVjp(OpBuilder &b, ValueRange cotangents, ArrayRef<bool>, SmallVectorImpl<Value> &gradients) {
  if (cotangents[2])
    return emitOpError("has no derivative through lse");
  if (!cotangents[0])
    return noGradients(getNumOperands(), gradients);
  if (getParts())
    return emitOpError("has no derivative in parts: they are made after differentiation");
  auto backward = LinearCrossEntropyBackwardOp::create(
      b, getLoc(), getInput().getType(), getWeightMatrix().getType(), getBias() ? getBias().getType() : Type(), getInput(),
      getWeightMatrix(), getLabels(), getLse(), cotangents[0], getBias(), getIgnoreIndexAttr(), getVocabularyLastAttr());
  gradients.append({backward.getInputGradient(), backward.getWeightGradient(), Value()});
  if (getBias())
    gradients.push_back(backward.getBiasGradient());
  return success();
}

FactorRule LinearCrossEntropyOp::getFactorRule() {
  HeadFactors f(*this, getParts().value_or(1));
  f.rule.operands = {f.input, f.matrix, f.rows};
  if (getBias())
    f.rule.operands.push_back(f.bias);
  TensorFactors lse = f.rows;
  if (getParts())
    lse.insert(lse.begin(), {f.parts});
  f.rule.results = {{}, {}, lse};
  return f.rule;
}
int64_t LinearCrossEntropyOp::getFlops() {
  int64_t rows = elements(getLabels());
  return 2 * rows * elements(getWeightMatrix()) + 4 * rows * (elements(getWeightMatrix()) / typeOf(getInput()).getShape().back());
}

LogicalResult LinearCrossEntropyOp::evaluate(Operands in, Results out) {
  int64_t rows = in[2]->size(), classes = classesOf(*this), parts = getParts().value_or(1), own = classes / parts;
  std::vector<double> logits(classes);
  for (int64_t r = 0; r < rows; ++r) {
    logitsOfRow(*this, in, 3, r, logits);
    int64_t label = in[2]->integers[r];
    for (int64_t part = 0; part < parts; ++part)
      out[2].reals[part * rows + r] = logSumExp(logits.data() + part * own, own);
    if (label == getIgnoreIndex())
      continue;
    if (failed(labelInRange(*this, label, classes, r)))
      return failure();
    out[0].reals[0] += out[2].reals[label / own * rows + r] - logits[label];
    out[1].reals[0] += 1.0;
  }
  return success();
}

LogicalResult LinearCrossEntropyBackwardOp::verify() {
  if (failed(verifyHead(*this)))
    return failure();
  bool biasMatches = static_cast<bool>(getBias()) == static_cast<bool>(getBiasGradient()) &&
                     (!getBias() || getBias().getType() == getBiasGradient().getType());
  return check(*this, getInputGradient().getType() == getInput().getType() &&
                          getWeightGradient().getType() == getWeightMatrix().getType() && biasMatches,
               "C1: gradient types differ from those of input, weight and bias");
}
LogicalResult LinearCrossEntropyBackwardOp::emitVjp(OpBuilder &, ValueRange, ArrayRef<bool>, SmallVectorImpl<Value> &) {
  return emitOpError("has no derivative: second derivatives are not computed");
}
FactorRule LinearCrossEntropyBackwardOp::getFactorRule() {
  HeadFactors f(*this, classesOf(*this));
  f.rule.operands = {f.input, f.matrix, f.rows, f.rows, {}};
  if (getBias())
    f.rule.operands.push_back(f.bias);
  f.rule.results = {f.input, f.matrix};
  if (getBias())
    f.rule.results.push_back(f.bias);
  return f.rule;
}
int64_t LinearCrossEntropyBackwardOp::getFlops() { return 6 * elements(getLse()) * elements(getWeightMatrix()); }

LogicalResult LinearCrossEntropyBackwardOp::evaluate(Operands in, Results out) {
  int64_t width = in[0]->shape.back(), classes = in[1]->shape[getVocabularyLast() ? 1 : 0];
  std::vector<double> logits(classes);
  for (int64_t r = 0; r < in[2]->size(); ++r) {
    int64_t label = in[2]->integers[r];
    if (label == getIgnoreIndex())
      continue;
    if (failed(labelInRange(*this, label, classes, r, /*elsewhere=*/true)))
      return failure();
    logitsOfRow(*this, in, 5, r, logits);
    for (int64_t v = 0; v < classes; ++v) {
      double g = in[4]->reals[0] * (std::exp(logits[v] - in[3]->reals[r]) - (v == label ? 1.0 : 0.0));
      int64_t at = getVocabularyLast() ? v : v * width, step = getVocabularyLast() ? classes : 1;
      for (int64_t c = 0; c < width; ++c) {
        out[0].reals[r * width + c] += g * in[1]->reals[at + c * step];
        out[1].reals[at + c * step] += g * in[0]->reals[r * width + c];
      }
      if (getBias())
        out[2].reals[v] += g;
    }
  }
  return success();
}
