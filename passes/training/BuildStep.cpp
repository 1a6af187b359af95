//===- BuildStep.cpp - training-build-step --------------------------------------===//
//
//   1. @evaluate is a copy of @forward without dropout, which normalizes batches by their running statistics;
//   2. @forward's dropouts get the position argument;
//   3. @accumulate takes value and gradient of @forward and adds to accumulators if a step has several micro-batches;
//   4. @update (Update.cpp) turns gradients into new state.
// @forward becomes private; it is gone after autodiff has copied it.
//
//===----------------------------------------------------------------------===//
#include "dialects/nn/Nn.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "passes/training/Passes.h"
#include "passes/training/StepBuilder.h"

namespace llmc::training {
#define GEN_PASS_DEF_TRAININGBUILDSTEP
#include "passes/training/Passes.h.inc"
} // namespace llmc::training

using namespace mlir;
using namespace llmc;
using namespace llmc::training;

//===-- StepFunction ---------------------------------------------------------------===//

StepFunction::StepFunction(ModuleOp module, StringRef name)
    : builder(module.getContext()), loc(NameLoc::get(builder.getStringAttr(name))) {
  builder.setInsertionPointToEnd(module.getBody());
  function = func::FuncOp::create(builder, loc, name, builder.getFunctionType({}, {}));
  builder.setInsertionPointToStart(function.addEntryBlock());
}

Value StepFunction::addArgument(Type type, DictionaryAttr attributes, Location at) {
  argumentAttrs.push_back(attributes);
  return function.getBody().front().addArgument(type, at);
}

Value StepFunction::addArgument(Type type, StringRef name, StringRef role, Location at) {
  return addArgument(type, train::nameAndRole(builder.getContext(), name, role), at);
}

void StepFunction::addResult(Value value, StringRef name, StringRef role) {
  results.push_back(value);
  resultAttrs.push_back(train::nameAndRole(builder.getContext(), name, role));
}

func::FuncOp StepFunction::finish() {
  func::ReturnOp::create(builder, loc, results);
  function.setType(builder.getFunctionType(function.getBody().front().getArgumentTypes(), TypeRange(ValueRange(results))));
  function.setAllArgAttrs(argumentAttrs);
  function.setAllResultAttrs(resultAttrs);
  return function;
}

//===-- The pass ----------------------------------------------------------------------===//

namespace {

struct BuildStep : training::impl::TrainingBuildStepBase<BuildStep> {
  void runOnOperation() override {
    ModuleOp module = getOperation();
    recipe = train::recipeOf(module);
    auto forward = module.lookupSymbol<func::FuncOp>(train::kForward);
    accumulate = recipe.batch.step > recipe.batch.micro && recipe.batch.micro > 0;
    for (auto function : module.getOps<func::FuncOp>())
      if (!function.isDeclaration())
        locateArguments(function);
    collectTrainables(forward);
    if (trainables.empty()) {
      forward.emitError() << "the model has no parameter to train (recipe key 'trainable')";
      return signalPassFailure();
    }
    makeEvaluate(forward);
    if (auto predict = module.lookupSymbol<func::FuncOp>(train::kPredict))
      finishPredict(predict);
    useBatchStatistics(forward);
    bool random = givePosition(forward);
    makeAccumulate(forward, random);
    buildUpdate(module, recipe, trainables, accumulate);
    forward.setPrivate();
  }

  /// An argument comes from where it is read first: so does what is later done to its gradient, or sent between ranks.
  static void locateArguments(func::FuncOp function) {
    llvm::SmallPtrSet<Value, 16> seen;
    for (Operation &op : function.getBody().front().without_terminator())
      for (Value operand : op.getOperands())
        if (auto argument = dyn_cast<BlockArgument>(operand); argument && seen.insert(argument).second)
          argument.setLoc(op.getLoc());
  }

  void collectTrainables(func::FuncOp forward) {
    for (unsigned i = 0; i < forward.getNumArguments(); ++i) {
      StringRef name = train::argumentString(forward, i, train::kName);
      auto type = cast<RankedTensorType>(forward.getArgumentTypes()[i]);
      std::vector<std::string> names = train::namesOf(forward, i);
      // What the recipe does not say, the module does.
      bool chosen = recipe.trainable.empty() ? !forward.getArgAttr(i, train::kFrozen) : train::matchesAny(recipe.trainable, names);
      if (train::argumentString(forward, i, train::kRole) != train::kParam || !chosen ||
          !isa<FloatType>(type.getElementType()))
        continue;
      bool decay = recipe.optimizer.decays(names, train::logicalRank(forward, i));
      trainables.push_back({name.str(), type, decay, forward.getArgument(i).getLoc()});
      wrt.push_back(i);
    }
  }

  void makeEvaluate(func::FuncOp forward) {
    auto evaluate = cast<func::FuncOp>(forward->clone());
    evaluate.setName(train::kEvaluate);
    getOperation().push_back(evaluate);
    removeDropout(evaluate);
    dropBufferUpdates(evaluate);
    useRunningStatistics(evaluate);
  }

  /// What @forward makes of buffers is state of @accumulate alone.
  void dropBufferUpdates(func::FuncOp function) {
    llvm::BitVector updates(function.getNumResults());
    for (unsigned i = 0; i < function.getNumResults(); ++i)
      updates[i] = train::resultString(function, i, train::kRole) == train::kBuffer;
    cast<func::ReturnOp>(function.getBody().front().getTerminator())->eraseOperands(updates);
    (void)function.eraseResults(updates);
  }

  void useRunningStatistics(func::FuncOp function) {
    function.walk([](nn::BatchNormOp op) {
      OpBuilder b(op);
      op.getResult().replaceAllUsesWith(op.expandInference(b));
      op.erase();
    });
  }

  void useBatchStatistics(func::FuncOp function) {
    function.walk([](nn::BatchNormOp op) {
      OpBuilder b(op);
      op->replaceAllUsesWith(op.expandTraining(b));
      op.erase();
    });
  }

  void removeDropout(func::FuncOp function) {
    function.walk([](nn::DropoutOp op) {
      op.replaceAllUsesWith(op.getInput());
      op.erase();
    });
  }

  /// The runtime finds the prediction by one name, and feeds only what it depends on (no labels).
  void finishPredict(func::FuncOp predict) {
    removeDropout(predict);
    predict.setResultAttrs(0, train::nameAndRole(&getContext(), "logits", train::kOutput));
    llvm::BitVector unused(predict.getNumArguments());
    for (BlockArgument argument : predict.getArguments())
      if (argument.use_empty() && train::argumentString(predict, argument.getArgNumber(), train::kRole) == train::kInput)
        unused.set(argument.getArgNumber());
    (void)predict.eraseArguments(unused);
  }

  /// Appends the position argument if `forward` has dropout; true if it has.
  bool givePosition(func::FuncOp forward) {
    SmallVector<nn::DropoutOp> dropouts;
    forward.walk([&](nn::DropoutOp op) { dropouts.push_back(op); });
    if (dropouts.empty())
      return false;
    Builder b(&getContext());
    auto type = RankedTensorType::get({2}, b.getI64Type());
    unsigned index = forward.getNumArguments();
    (void)forward.insertArgument(index, type, train::nameAndRole(&getContext(), "position", train::kPosition), forward.getLoc());
    for (auto [id, op] : llvm::enumerate(dropouts)) {
      op.getPositionMutable().assign(forward.getArgument(index));
      op.setSeed(recipe.seed);
      op.setId(static_cast<int64_t>(id));
    }
    return true;
  }

  void makeAccumulate(func::FuncOp forward, bool random) {
    StepFunction step(getOperation(), train::kAccumulate);
    SmallVector<Value> inputs;
    for (unsigned i = 0; i < forward.getNumArguments(); ++i)
      inputs.push_back(step.addArgument(forward.getArgumentTypes()[i], forward.getArgAttrDict(i), forward.getArgument(i).getLoc()));
    SmallVector<Type> types(forward.getResultTypes());
    for (Trainable &trainable : trainables)
      types.push_back(trainable.type);
    auto grad = train::ValueAndGradOp::create(step.builder, step.loc, types, forward.getName(), inputs, wrt);
    auto add = [&](Value value, StringRef name, StringRef role, Location at) {
      if (accumulate)
        value = arith::AddFOp::create(step.builder, at, step.addArgument(value.getType(), name, role, at), value);
      step.addResult(value, name, role);
    };
    for (auto [i, trainable] : llvm::enumerate(trainables))
      add(grad.getResult(forward.getNumResults() + i), trainable.name, train::kGradient, trainable.loc);
    for (unsigned i = 2; i < forward.getNumResults(); ++i) // each micro-batch changes them, as PyTorch's forward does
      step.addResult(grad.getResult(i), train::resultString(forward, i, train::kName), train::kBuffer);
    add(grad.getResult(0), "loss_sum", train::kAccumulator, step.loc);
    add(grad.getResult(1), "weight", train::kAccumulator, step.loc);
    step.finish();
  }

  train::Recipe recipe;
  bool accumulate = false;
  SmallVector<Trainable> trainables;
  SmallVector<int64_t> wrt;
};

} // namespace
