//===- SampleFlow.cpp - how values depend on the samples of a batch ------------===//
//
// One walk in program order. A result that contains the batch is per sample if all that it is made of is, or is the same for all
// samples; a result that lacks the batch of its operands is a sum or an average over samples if the op reduces it so; what is
// computed of sums and averages stays one under linear operations.
//
//===----------------------------------------------------------------------===//
#include "passes/analysis/SampleFlow.h"
#include "dialects/nn/Nn.h"
#include "dialects/train/Train.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"

using namespace mlir;

namespace llmc::analysis {

namespace {

/// Ops of which each result element is one element of the operand, its negative, or an average or sum of some.
bool isLinear(Operation *op) {
  if (auto reduce = dyn_cast<nn::ReduceOp>(op))
    return reduce.getKind() == nn::ReduceKind::Sum || reduce.getKind() == nn::ReduceKind::Mean;
  return isa<tensor::CollapseShapeOp, tensor::ExpandShapeOp, tensor::ExtractSliceOp, nn::TransposeOp, nn::BroadcastOp, nn::StopGradientOp, arith::NegFOp,
             arith::ExtFOp, arith::TruncFOp, arith::SIToFPOp, arith::UIToFPOp, arith::ExtSIOp, arith::ExtUIOp>(op);
}

/// The degree of a value made of ones of degrees `a` and `b` by an op that keeps degrees apart, such as a sum.
std::optional<double> common(const Samples &a, const Samples &b) {
  if (a.kind == Samples::None)
    return b.degree;
  if (b.kind == Samples::None || a.degree == b.degree)
    return a.degree;
  return std::nullopt;
}

Samples::Kind kindOfSum(Samples::Kind a, Samples::Kind b) {
  if (a == b)
    return a;
  bool shifted = (a == Samples::Mean && b == Samples::None) || (b == Samples::Mean && a == Samples::None);
  return shifted ? Samples::Mean : Samples::Mixed;
}

} // namespace

SampleFlow::SampleFlow(func::FuncOp function, const BatchTrace &trace) : trace(trace) {
  for (BlockArgument argument : function.getArguments()) {
    Samples &samples = values[argument];
    StringRef role = train::argumentString(function, argument.getArgNumber(), train::kRole);
    if (trace.isMarked(argument) && role == train::kInput)
      samples.kind = Samples::PerSample;
    samples.isConstant = role == train::kConstant;
    samples.hasParameter = role == train::kParam;
  }
  for (Operation &op : function.getBody().front().without_terminator())
    visit(&op);
}

void SampleFlow::visit(Operation *op) {
  bool isConstant = true, hasParameter = false, depends = false;
  for (Value operand : op->getOperands()) {
    Samples samples = (*this)[operand];
    isConstant &= samples.isConstant;
    hasParameter |= samples.hasParameter;
    depends |= samples.kind != Samples::None;
  }
  bool hasProblem = llvm::any_of(trace.problems(), [&](const BatchTrace::Problem &problem) { return problem.op == op; });
  for (OpResult result : op->getResults()) {
    Samples samples;
    if (depends)
      samples = trace.isMarked(result) || llvm::none_of(op->getOperands(), [&](Value v) { return trace.isMarked(v) && (*this)[v].kind != Samples::None; })
                    ? combined(op)
                    : reduced(op, result);
    if (depends && hasProblem)
      samples = {Samples::Mixed, std::nullopt};
    if (depends && trace.isMarked(result) && samples.kind != Samples::PerSample)
      samples.kind = Samples::Mixed;
    if (samples.kind == Samples::Mixed) {
      for (Value operand : op->getOperands())
        if (!samples.mixed)
          samples.mixed = (*this)[operand].mixed;
      if (!samples.mixed)
        samples.mixed = op;
    }
    samples.isConstant = !depends && isConstant;
    // How many labels count does not depend on weights, and no gradient goes into what is detached.
    bool isCount = result.getResultNumber() == 1 && isa<nn::CrossEntropyOp, nn::LinearCrossEntropyOp>(op);
    samples.hasParameter = hasParameter && !isCount && !isa<nn::StopGradientOp>(op);
    values[result] = samples;
  }
}

/// A result without the batch of the op's operands.
Samples SampleFlow::reduced(Operation *op, OpResult result) const {
  for (Value operand : op->getOperands())
    if (Samples samples = (*this)[operand]; samples.kind != Samples::None && samples.kind != Samples::PerSample)
      return {Samples::Mixed, std::nullopt};
  if (auto reduce = dyn_cast<nn::ReduceOp>(op)) {
    if (reduce.getKind() == nn::ReduceKind::Sum)
      return {Samples::Sum, 1.0};
    if (reduce.getKind() == nn::ReduceKind::Mean)
      return {Samples::Mean, 0.0};
    return {Samples::Mixed, reduce.getKind() == nn::ReduceKind::Prod ? std::nullopt : std::optional(0.0)};
  }
  if (isa<nn::ContractOp, nn::BatchSizeOp>(op))
    return {Samples::Sum, 1.0};
  bool isLoss = isa<nn::CrossEntropyOp, nn::LinearCrossEntropyOp>(op);
  if (isLoss && result.getResultNumber() < 2)
    return {Samples::Sum, 1.0};
  return {Samples::Mixed, std::nullopt};
}

/// A result that has the batch of the op's operands, or whose operands have none.
Samples SampleFlow::combined(Operation *op) const {
  SmallVector<Samples> operands;
  for (Value operand : op->getOperands())
    operands.push_back((*this)[operand]);
  auto is = [](Samples::Kind kind) { return [kind](const Samples &s) { return s.kind == kind; }; };
  if (llvm::all_of(operands, [](const Samples &s) { return s.kind == Samples::None || s.kind == Samples::PerSample; }))
    return {Samples::PerSample, 0.0};
  if (operands.size() == 1 && isLinear(op))
    return operands[0];
  if (auto root = dyn_cast<math::SqrtOp>(op); root && operands[0].degree)
    return {Samples::Mixed, *operands[0].degree / 2};
  if (operands.size() == 2 && isa<arith::AddFOp, arith::SubFOp, arith::AddIOp, arith::SubIOp>(op))
    return {kindOfSum(operands[0].kind, operands[1].kind), common(operands[0], operands[1])};
  if (operands.size() == 2 && isa<arith::MaximumFOp, arith::MinimumFOp, arith::MaxSIOp, arith::MinSIOp>(op))
    return {Samples::Mixed, common(operands[0], operands[1])};
  if (auto select = dyn_cast<arith::SelectOp>(op); select && matchPattern(select.getTrueValue(), m_AnyZeroFloat()))
    return {Samples::Mixed, operands[2].degree};
  bool divides = isa<arith::DivFOp, arith::DivSIOp>(op);
  if (operands.size() == 2 && (divides || isa<arith::MulFOp, arith::MulIOp, nn::ContractOp>(op))) {
    Samples result{Samples::Mixed, std::nullopt};
    if (operands[0].degree && operands[1].degree)
      result.degree = divides ? *operands[0].degree - *operands[1].degree : *operands[0].degree + *operands[1].degree;
    if (is(Samples::None)(operands[1]))
      result.kind = operands[0].kind;
    else if (is(Samples::None)(operands[0]) && !divides)
      result.kind = operands[1].kind;
    return result;
  }
  if (isa<tensor::ConcatOp>(op) && llvm::all_equal(llvm::map_range(operands, [](const Samples &s) { return s.kind; })))
    return operands[0];
  bool even = llvm::all_of(operands, [](const Samples &s) { return s.degree == 0.0; });
  return {Samples::Mixed, even ? std::optional(0.0) : std::nullopt};
}

} // namespace llmc::analysis
