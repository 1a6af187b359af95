//===- NormalizeLoss.cpp - training-normalize-loss ----------------------------===//
//
// The loss of a step of several micro-batches is (sum of numerators) / (sum of weights), of
//   an average over samples   mean * n / n         n: the samples of the micro-batch
//   a sum over samples        sum * N / n          N: the samples of the step, which the weights n add up to
//   a quotient of two sums    numerator / denominator, if no weight of the model flows into the denominator
//   c / sum                   (c n / N) / sum
//   c * x, x / c, -x          c * numerator / denominator, for c the same for all samples
//   x + y                     numerators added, if both have one denominator
// Anything else has no such form: it is right for a step of one micro-batch, and refused otherwise.
//
//===----------------------------------------------------------------------===//
#include "dialects/nn/Nn.h"
#include "dialects/train/Recipe.h"
#include "dialects/train/Train.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "passes/analysis/SampleFlow.h"
#include "passes/training/Passes.h"

namespace llmc::training {
#define GEN_PASS_DEF_TRAININGNORMALIZELOSS
#include "passes/training/Passes.h.inc"
} // namespace llmc::training

using namespace mlir;
using namespace llmc;
using analysis::BatchTrace;
using analysis::SampleFlow;
using analysis::Samples;

namespace {

/// A loss as a quotient of two scalars that are summed over micro-batches.
struct Quotient {
  Value sum, weight;
};

/// Finds the quotient of a loss. Nothing is added to the function where there is none.
class LossSplitter {
public:
  LossSplitter(OpBuilder &b, const SampleFlow &flow, double microSamples, double stepSamples)
      : b(b), flow(flow), microSamples(microSamples), stepSamples(stepSamples) {}

  std::optional<Quotient> split(Value loss) {
    loss = nn::throughReshapes(loss);
    Samples samples = flow[loss];
    Location loc = loss.getLoc();
    if (nn::typeOf(loss).getNumElements() != 1)
      return fail(loss);
    if (samples.kind == Samples::Mean || samples.kind == Samples::None)
      return Quotient{times(loc, scalar(loss), microSamples), number(loss, microSamples)};
    if (samples.kind == Samples::Sum)
      return Quotient{times(loc, scalar(loss), stepSamples), number(loss, microSamples)};
    Operation *op = loss.getDefiningOp();
    if (auto divide = dyn_cast_or_null<arith::DivFOp>(op))
      return splitDivision(divide);
    if (auto multiply = dyn_cast_or_null<arith::MulFOp>(op)) {
      for (auto [inner, factor] : {std::pair(multiply.getLhs(), multiply.getRhs()), std::pair(multiply.getRhs(), multiply.getLhs())})
        if (flow[factor].kind == Samples::None)
          if (std::optional<Quotient> quotient = split(inner))
            return Quotient{arith::MulFOp::create(b, loc, quotient->sum, scalar(factor)), quotient->weight};
      return fail(loss);
    }
    if (auto negate = dyn_cast_or_null<arith::NegFOp>(op)) {
      std::optional<Quotient> quotient = split(negate.getOperand());
      return quotient ? std::optional(Quotient{arith::NegFOp::create(b, loc, quotient->sum), quotient->weight}) : std::nullopt;
    }
    if (isa_and_nonnull<arith::AddFOp, arith::SubFOp>(op))
      return splitSum(op);
    return fail(loss);
  }

  /// The value that has no such form.
  Value culprit;

private:
  std::optional<Quotient> fail(Value value) {
    if (!culprit)
      culprit = value;
    return std::nullopt;
  }
  Value scalar(Value value) { return nn::reshape(b, value.getLoc(), value, {}); }
  Value number(Value like, double value) { return nn::splat(b, like.getLoc(), nn::typeOf(like).clone(ArrayRef<int64_t>{}), value); }
  Value times(Location loc, Value value, double factor) {
    return factor == 1.0 ? value : arith::MulFOp::create(b, loc, value, number(value, factor)).getResult();
  }

  std::optional<Quotient> splitDivision(arith::DivFOp divide) {
    Value numerator = nn::throughReshapes(divide.getLhs()), denominator = nn::throughReshapes(divide.getRhs());
    bool isSum = flow[numerator].kind == Samples::Sum || flow[numerator].kind == Samples::None;
    if (isSum && flow[denominator].kind == Samples::Sum && !flow[denominator].hasParameter &&
        nn::typeOf(numerator).getNumElements() == 1 && nn::typeOf(denominator).getNumElements() == 1)
      // What does not depend on the samples is there once in a step, and so in part in each of its micro-batches.
      return Quotient{times(divide.getLoc(), scalar(numerator), flow[numerator].kind == Samples::Sum ? 1.0 : microSamples / stepSamples), scalar(denominator)};
    if (flow[denominator].kind != Samples::None)
      return fail(divide);
    std::optional<Quotient> quotient = split(numerator);
    if (!quotient)
      return std::nullopt;
    return Quotient{arith::DivFOp::create(b, divide.getLoc(), quotient->sum, scalar(denominator)), quotient->weight};
  }

  /// x + y with one weight; what does not depend on the samples is of any weight.
  std::optional<Quotient> splitSum(Operation *op) {
    Location loc = op->getLoc();
    auto combine = [&](Value x, Value y) {
      return isa<arith::AddFOp>(op) ? arith::AddFOp::create(b, loc, x, y).getResult() : arith::SubFOp::create(b, loc, x, y).getResult();
    };
    Value left = op->getOperand(0), right = op->getOperand(1);
    bool isLeftFixed = flow[left].kind == Samples::None, isRightFixed = flow[right].kind == Samples::None;
    std::optional<Quotient> x = isLeftFixed ? std::nullopt : split(left), y = isRightFixed ? std::nullopt : split(right);
    if (isLeftFixed && y)
      x = {arith::MulFOp::create(b, loc, scalar(left), y->weight), y->weight};
    if (isRightFixed && x)
      y = {arith::MulFOp::create(b, loc, scalar(right), x->weight), x->weight};
    if (!x || !y)
      return std::nullopt;
    bool sameWeight = x->weight == y->weight || areEqualNumbers(x->weight, y->weight);
    return sameWeight ? std::optional(Quotient{combine(x->sum, y->sum), x->weight}) : fail(op->getResult(0));
  }

  static bool areEqualNumbers(Value a, Value b) {
    auto x = a.getDefiningOp<arith::ConstantOp>(), y = b.getDefiningOp<arith::ConstantOp>();
    return x && y && x.getValue() == y.getValue();
  }

  OpBuilder &b;
  const SampleFlow &flow;
  double microSamples, stepSamples;
};

struct NormalizeLoss : training::impl::TrainingNormalizeLossBase<NormalizeLoss> {
  void runOnOperation() override {
    auto forward = getOperation().lookupSymbol<func::FuncOp>(train::kForward);
    FailureOr<BatchTrace> trace = BatchTrace::of(forward);
    if (failed(trace))
      return signalPassFailure();
    auto ret = cast<func::ReturnOp>(forward.getBody().front().getTerminator());
    OpBuilder b(ret);
    std::optional<Quotient> quotient = quotientOf(b, forward, *trace, ret.getOperand(0));
    if (!quotient)
      return signalPassFailure();
    SmallVector<Value> results = {quotient->sum, quotient->weight};
    SmallVector<DictionaryAttr> attributes = {train::nameAndRole(&getContext(), "loss_sum", train::kOutput),
                                              train::nameAndRole(&getContext(), "weight", train::kOutput)};
    for (unsigned i = 1; i < forward.getNumResults(); ++i) { // new values of buffers
      results.push_back(ret.getOperand(i));
      attributes.push_back(forward.getResultAttrDict(i));
    }
    ret->setOperands(results);
    forward.setType(FunctionType::get(&getContext(), forward.getArgumentTypes(), ret.getOperandTypes()));
    forward.setAllResultAttrs(attributes);
  }

  std::optional<Quotient> quotientOf(OpBuilder &b, func::FuncOp forward, const BatchTrace &trace, Value loss) {
    train::Recipe recipe = train::recipeOf(getOperation());
    Quotient whole{nn::reshape(b, loss.getLoc(), loss, {}), {}};
    whole.weight = nn::splat(b, loss.getLoc(), whole.sum.getType(), 1.0);
    if (recipe.lossAverage == train::LossAverage::MicroBatch)
      return whole;
    int64_t micro = recipe.batch.micro > 0 ? recipe.batch.micro : trace.batch(), step = std::max(recipe.batch.step, micro);
    SampleFlow flow(forward, trace);
    if (step == micro && flow[nn::throughReshapes(loss)].kind != Samples::Mixed)
      return whole;
    LossSplitter splitter(b, flow, static_cast<double>(micro), static_cast<double>(step));
    if (std::optional<Quotient> quotient = splitter.split(loss))
      return quotient;
    if (step == micro)
      return whole;
    refuse(splitter.culprit ? splitter.culprit : loss, flow, step, micro);
    return std::nullopt;
  }

  /// One error: the term of the loss, and where it stops being a sum of what each sample adds.
  static void refuse(Value term, const SampleFlow &flow, int64_t step, int64_t micro) {
    InFlightDiagnostic error = emitError(term.getLoc())
                               << "the loss cannot be split into micro-batches here: this term is neither an average nor a sum over "
                                  "samples, nor one sum divided by another";
    Operation *mixed = flow[term].mixed;
    if (mixed && mixed != term.getDefiningOp())
      error.attachNote(mixed->getLoc()) << "samples are mixed first here";
    error.attachNote() << "hint: compute each step as one micro-batch, with `batch: {step: " << step << ", micro: " << step
                       << "}`, or average the losses of micro-batches of " << micro << ", with `loss_average: micro_batch`";
  }
};

} // namespace
