//===- SelectOutputs.cpp - training-select-outputs ---------------------------===//
#include "dialects/nn/Nn.h"
#include "dialects/train/Recipe.h"
#include "dialects/train/Train.h"
#include "passes/training/Passes.h"

namespace llmc::training {
#define GEN_PASS_DEF_TRAININGSELECTOUTPUTS
#include "passes/training/Passes.h.inc"
} // namespace llmc::training

using namespace mlir;
using namespace llmc;

namespace {

/// Keeps one result of `function`, and in @forward the new values of buffers behind it; fails, listing the results there are, if
/// none has this name.
LogicalResult keepResult(func::FuncOp function, StringRef name, StringRef key) {
  int64_t index = train::findResult(function, name);
  if (index < 0) {
    InFlightDiagnostic error = function.emitError() << "the graph has no output '" << name << "' (recipe key '" << key << "')";
    std::string names;
    for (unsigned i = 0; i < function.getNumResults(); ++i)
      if (train::resultString(function, i, train::kRole) != train::kBuffer)
        names += (i ? ", " : "") + train::resultString(function, i, train::kName).str();
    error.attachNote() << "its outputs are: " << names;
    return error;
  }
  llvm::BitVector dropped(function.getNumResults(), true);
  dropped.reset(index);
  if (function.getName() == train::kForward)
    for (unsigned i = 0; i < function.getNumResults(); ++i)
      if (train::resultString(function, i, train::kRole) == train::kBuffer)
        dropped.reset(i);
  cast<func::ReturnOp>(function.getBody().front().getTerminator())->eraseOperands(dropped);
  return function.eraseResults(dropped);
}

struct SelectOutputs : training::impl::TrainingSelectOutputsBase<SelectOutputs> {
  void runOnOperation() override {
    ModuleOp module = getOperation();
    train::Recipe recipe = train::recipeOf(module);
    auto forward = module.lookupSymbol<func::FuncOp>(train::kForward);
    if (!forward) {
      module.emitError() << "no function @forward";
      return signalPassFailure();
    }
    if (!recipe.predict.empty()) {
      auto predict = cast<func::FuncOp>(forward->clone());
      predict.setName(train::kPredict);
      module.insert(std::next(forward->getIterator()), predict);
      if (failed(keepResult(predict, recipe.predict, "predict")))
        return signalPassFailure();
      predict.walk([](nn::BatchNormOp op) { // one sample has no statistics of its own
        OpBuilder b(op);
        op.getResult().replaceAllUsesWith(op.expandInference(b));
      });
    }
    if (failed(keepResult(forward, recipe.loss.output, "loss")))
      return signalPassFailure();
    auto type = dyn_cast<RankedTensorType>(forward.getResultTypes().front());
    if (!type || type.getNumElements() != 1 || !isa<FloatType>(type.getElementType())) {
      forward.emitError() << "output '" << recipe.loss.output << "' is no scalar loss but " << forward.getResultTypes().front();
      signalPassFailure();
    }
  }
};

} // namespace
