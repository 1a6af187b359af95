//===- Update.cpp - @update: clipping, schedule, optimizer ------------------------===//
//
//   loss      = loss_sum / weight
//   norm      = sqrt(sum of squares of all gradients) / |weight|
//   scale     = min(1, clip / (norm + 1e-6)) / weight        (as torch.nn.utils.clip_grad_norm_), 0 if the weight is 0
//   lr        = schedule(step), see train::Schedule
//   new state = optimizer(param, gradient * scale, lr)
// Scalars are f64 so that 1 - beta^k keeps its digits; the optimizer gets them in its own type.
//
//===----------------------------------------------------------------------===//
#include "dialects/nn/Nn.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "passes/training/StepBuilder.h"
#include <numbers>

using namespace mlir;
using namespace llmc;
using namespace llmc::training;

namespace {

/// Arithmetic on rank-0 f64 tensors.
struct Scalars {
  OpBuilder &b;
  Location loc;
  RankedTensorType type = RankedTensorType::get({}, b.getF64Type());

  Value c(double value) { return nn::splat(b, loc, type, value); }
  Value add(Value x, Value y) { return arith::AddFOp::create(b, loc, x, y); }
  Value sub(Value x, Value y) { return arith::SubFOp::create(b, loc, x, y); }
  Value mul(Value x, Value y) { return arith::MulFOp::create(b, loc, x, y); }
  Value div(Value x, Value y) { return arith::DivFOp::create(b, loc, x, y); }
  Value min(Value x, Value y) { return arith::MinimumFOp::create(b, loc, x, y); }
  Value max(Value x, Value y) { return arith::MaximumFOp::create(b, loc, x, y); }
  Value abs(Value x) { return math::AbsFOp::create(b, loc, x); }
  Value less(Value x, Value y) { return arith::CmpFOp::create(b, loc, arith::CmpFPredicate::OLT, x, y); }
  Value isZero(Value x) { return arith::CmpFOp::create(b, loc, arith::CmpFPredicate::OEQ, x, c(0.0)); }
  Value both(Value x, Value y) { return arith::AndIOp::create(b, loc, x, y); }
  Value select(Value condition, Value x, Value y) { return arith::SelectOp::create(b, loc, condition, x, y); }
  Value to(Value x, Type element) {
    return element.isF64() ? x : arith::TruncFOp::create(b, loc, RankedTensorType::get({}, element), x).getResult();
  }
  Value from(Value x) { return nn::typeOf(x).getElementType().isF64() ? x : arith::ExtFOp::create(b, loc, type, x).getResult(); }
};

/// The learning rate of step k (f64, counted from 0) for the peak `lr`.
Value scheduledRate(Scalars &s, const train::Schedule &schedule, Value k, Value lr) {
  double warmup = static_cast<double>(schedule.warmupSteps), total = static_cast<double>(schedule.totalSteps);
  Value rate = lr;
  if (schedule.kind != train::Schedule::Constant) {
    Value length = s.c(std::max(1.0, total - warmup));
    Value progress = s.min(s.max(s.div(s.sub(k, s.c(warmup)), length), s.c(0.0)), s.c(1.0));
    Value share = s.sub(s.c(1.0), progress);
    if (schedule.kind == train::Schedule::Cosine) {
      Value cosine = math::CosOp::create(s.b, s.loc, s.mul(s.c(std::numbers::pi), progress));
      share = s.mul(s.c(0.5), s.add(s.c(1.0), cosine));
    }
    Value low = s.c(schedule.minLr);
    rate = s.add(low, s.mul(s.sub(lr, low), share));
  }
  if (schedule.warmupSteps > 0) {
    Value ramp = s.div(s.mul(lr, s.add(k, s.c(1.0))), s.c(warmup));
    rate = s.select(s.less(k, s.c(warmup)), ramp, rate);
  }
  return rate;
}

struct UpdateBuilder {
  ModuleOp module;
  StepFunction step;
  Scalars s;
  const train::Recipe &recipe;
  ArrayRef<Trainable> trainables;
  SmallVector<Value> params, gradients;
  SmallVector<SmallVector<Value>> moments;
  Value scale, rate, k;

  UpdateBuilder(ModuleOp module, const train::Recipe &recipe, ArrayRef<Trainable> trainables)
      : module(module), step(module, train::kUpdate), s{step.builder, step.loc}, recipe(recipe), trainables(trainables) {}

  void addStateArguments() {
    SmallVector<StringRef> names = recipe.optimizer.kind == train::Optimizer::AdamW ? SmallVector<StringRef>{"exp_avg", "exp_avg_sq"}
                                                                                    : SmallVector<StringRef>{"momentum"};
    for (const Trainable &t : trainables)
      params.push_back(step.addArgument(t.type, t.name, train::kParam, t.loc));
    for (StringRef state : names) {
      moments.emplace_back();
      for (const Trainable &t : trainables)
        moments.back().push_back(step.addArgument(t.type, (state + "." + t.name).str(), train::kMoment, t.loc));
    }
    for (const Trainable &t : trainables)
      gradients.push_back(step.addArgument(t.type, t.name, train::kGradient, t.loc));
  }

  Type accumulatorType(StringRef name) {
    auto accumulate = module.lookupSymbol<func::FuncOp>(train::kAccumulate);
    return accumulate.getResultTypes()[train::findResult(accumulate, name, train::kAccumulator)];
  }

  void adamw(size_t i) {
    const train::Optimizer &o = recipe.optimizer;
    Type element = trainables[i].type.getElementType(), type = trainables[i].type;
    Value count = s.add(k, s.c(1.0));
    auto correction = [&](double beta) { return s.to(s.sub(s.c(1.0), math::PowFOp::create(s.b, s.loc, s.c(beta), count)), element); };
    auto f = [&](double v) { return s.b.getF64FloatAttr(v); };
    auto op = nn::AdamWOp::create(s.b, trainables[i].loc, type, type, type, params[i], gradients[i], moments[0][i], moments[1][i],
                                  s.to(rate, element), s.to(scale, element), correction(o.beta1), correction(o.beta2), f(o.beta1),
                                  f(o.beta2), f(o.eps), f(trainables[i].decay ? o.weightDecay : 0.0));
    step.addResult(op.getNewParameter(), trainables[i].name, train::kParam);
    step.addResult(op.getNewFirstMoment(), "exp_avg." + trainables[i].name, train::kMoment);
    step.addResult(op.getNewSecondMoment(), "exp_avg_sq." + trainables[i].name, train::kMoment);
  }

  void sgd(size_t i) {
    const train::Optimizer &o = recipe.optimizer;
    Type element = trainables[i].type.getElementType(), type = trainables[i].type;
    auto op = nn::SgdOp::create(s.b, trainables[i].loc, type, type, params[i], gradients[i], moments[0][i], s.to(rate, element), s.to(scale, element),
                                s.b.getF64FloatAttr(o.momentum), s.b.getF64FloatAttr(trainables[i].decay ? o.weightDecay : 0.0),
                                s.b.getBoolAttr(o.nesterov));
    step.addResult(op.getNewParameter(), trainables[i].name, train::kParam);
    step.addResult(op.getNewBuffer(), "momentum." + trainables[i].name, train::kMoment);
  }

  func::FuncOp build(bool accumulate) {
    addStateArguments();
    Type real = RankedTensorType::get({}, s.b.getF32Type()), whole = RankedTensorType::get({}, s.b.getI64Type());
    // Of the loss's type, as @accumulate adds them up.
    Type lossType = accumulatorType("loss_sum"), weightType = accumulatorType("weight");
    Value lossSum = step.addArgument(lossType, "loss_sum", train::kAccumulator), weight = step.addArgument(weightType, "weight", train::kAccumulator);
    Value counter = step.addArgument(whole, "step", train::kScalar), lr = step.addArgument(real, "lr", train::kScalar);

    k = arith::SIToFPOp::create(s.b, s.loc, s.type, counter);
    // A step without a single counted token changes nothing but the step: its loss is zero, not NaN, and so is the scale by
    // which optimizers know it. Any other weight is the loss's own denominator, which may be negative.
    Value hasNoWeight = s.isZero(s.from(weight));
    Value count = s.select(s.both(hasNoWeight, s.isZero(s.from(lossSum))), s.c(1.0), s.from(weight));
    Value squares = nn::SumOfSquaresOp::create(s.b, s.loc, real, gradients);
    Value norm = s.div(math::SqrtOp::create(s.b, s.loc, s.from(squares)), s.abs(count));
    scale = s.div(s.c(1.0), count);
    if (recipe.clipGradNorm)
      scale = s.mul(scale, s.min(s.c(1.0), s.div(s.c(*recipe.clipGradNorm), s.add(norm, s.c(1e-6)))));
    scale = s.select(hasNoWeight, s.c(0.0), scale);
    rate = scheduledRate(s, recipe.schedule, k, s.from(lr));

    for (size_t i = 0; i < trainables.size(); ++i)
      recipe.optimizer.kind == train::Optimizer::AdamW ? adamw(i) : sgd(i);
    if (accumulate) {
      for (const Trainable &t : trainables)
        step.addResult(nn::splat(s.b, s.loc, t.type, 0.0), t.name, train::kGradient);
      step.addResult(nn::splat(s.b, s.loc, lossType, 0.0), "loss_sum", train::kAccumulator);
      step.addResult(nn::splat(s.b, s.loc, weightType, 0.0), "weight", train::kAccumulator);
    }
    step.addResult(arith::AddIOp::create(s.b, s.loc, counter, nn::splat(s.b, s.loc, whole, 1)), "step", train::kScalar);
    step.addResult(s.to(s.div(s.from(lossSum), count), getElementTypeOrSelf(lossType)), "loss", train::kOutput);
    step.addResult(s.to(norm, s.b.getF32Type()), "grad_norm", train::kOutput);
    step.addResult(s.to(rate, s.b.getF32Type()), "lr", train::kOutput);
    return step.finish();
  }
};

} // namespace

func::FuncOp llmc::training::buildUpdate(ModuleOp module, const train::Recipe &recipe, ArrayRef<Trainable> trainables, bool accumulate) {
  return UpdateBuilder(module, recipe, trainables).build(accumulate);
}
