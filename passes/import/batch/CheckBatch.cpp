//===- CheckBatch.cpp - import-check-batch ------------------------------------------===//
#include "dialects/nn/Nn.h"
#include "dialects/train/Recipe.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "passes/analysis/SampleFlow.h"
#include "passes/import/KnownValues.h"
#include "passes/import/Passes.h"
#include "passes/import/batch/Resizer.h"
#include "dialects/train/Train.h"
#include "llvm/Support/Format.h"

namespace llmc::importing {
#define GEN_PASS_DEF_IMPORTCHECKBATCH
#include "passes/import/Passes.h.inc"
} // namespace llmc::importing

using namespace mlir;
using namespace llmc;
using namespace llmc::importing;
using analysis::BatchTrace;
using analysis::SampleFlow;
using analysis::Samples;

namespace {

/// The number in every element of `value`, as text; empty if it is no such constant.
std::string numberOf(KnownValues &known, Value value) {
  while (auto broadcast = value.getDefiningOp<nn::BroadcastOp>())
    value = broadcast.getInput();
  auto attribute = dyn_cast_or_null<DenseElementsAttr>(known.attributeOf(nn::throughReshapes(value)));
  if (!attribute || !attribute.isSplat())
    return "";
  std::string text;
  llvm::raw_string_ostream stream(text);
  if (auto real = dyn_cast<FloatAttr>(attribute.getSplatValue<Attribute>()))
    stream << llvm::format(" (%g)", real.getValueAsDouble());
  else if (auto integer = dyn_cast<IntegerAttr>(attribute.getSplatValue<Attribute>()))
    stream << " (" << integer.getValue() << ")";
  return text;
}

struct CheckBatch : importing::impl::ImportCheckBatchBase<CheckBatch> {
  void runOnOperation() override {
    for (auto function : getOperation().getOps<func::FuncOp>())
      if (failed(check(function)))
        signalPassFailure();
  }

  LogicalResult check(func::FuncOp function) {
    FailureOr<BatchTrace> trace = BatchTrace::of(function);
    if (failed(trace))
      return failure();
    int64_t wanted = wantedBatch(function), exported = exportedBatch(function, trace->batch());
    bool resized = wanted != 0 && wanted != exported;
    if (!resized && !splitsLoss(function, exported))
      return success();
    std::string hint = resized ? resizeHint(function, exported, wanted) : splitHint(exported);
    bool ok = true;
    auto report = [&](Operation *op, const Twine &message) {
      InFlightDiagnostic error = op->emitError() << message;
      error.attachNote() << hint;
      ok = false;
    };
    if (auto reason = function->getAttrOfType<StringAttr>(train::kFixedBatch))
      report(function, "this model computes something else with another number of samples: " + reason.getValue());
    if (resized)
      for (const BatchTrace::Problem &problem : trace->problems())
        report(problem.op, problem.message);
    if (!function->hasAttr(train::kKnownNumbers))
      checkNumbers(function, *trace, report);
    return success(ok);
  }

  /// True if the loss of a step is put together from several micro-batches of the exported size: a number that was made of this
  /// size should have been made of the step's.
  static bool splitsLoss(func::FuncOp function, int64_t micro) {
    train::Recipe recipe = train::recipeOf(function->getParentOfType<ModuleOp>());
    return function.getName() == train::kForward && recipe.lossAverage != train::LossAverage::MicroBatch && recipe.batch.step > micro;
  }

  static std::string resizeHint(func::FuncOp function, int64_t exported, int64_t wanted) {
    return ("hint: the file was exported with " + Twine(exported) + (exported == 1 ? " sample" : " samples") + ": export it with " +
            Twine(wanted) + ", as many as a micro-batch has" +
            (function.getName() == train::kPredict ? " (a prediction has one)" : ", or write `micro: " + Twine(exported) + "`"))
        .str();
  }
  static std::string splitHint(int64_t micro) {
    return ("hint: export the model with as many samples as a step has and compute each step as one micro-batch, or average the losses of "
            "micro-batches of " + Twine(micro) + ", with `loss_average: micro_batch`")
        .str();
  }

  /// A number that meets a sum over samples may be the batch size, or have been made of it.
  static void checkNumbers(func::FuncOp function, const BatchTrace &trace, llvm::function_ref<void(Operation *, const Twine &)> report) {
    SampleFlow flow(function, trace);
    KnownValues known(function);
    for (Operation &op : function.getBody().front().without_terminator()) {
      bool divides = isa<arith::DivFOp, arith::DivSIOp>(op);
      if (!divides && !isa<arith::MulFOp, arith::MulIOp>(op))
        continue;
      for (auto [sum, number] : {std::pair(op.getOperand(0), op.getOperand(1)), std::pair(op.getOperand(1), op.getOperand(0))}) {
        Samples samples = flow[sum];
        if (samples.kind == Samples::None || samples.degree == 0.0 || !flow[number].isConstant)
          continue;
        report(&op, (divides ? "divides" : "multiplies") + Twine(" a sum over the samples of the batch by a number") +
                        numberOf(known, number) + " that may follow from the batch size");
      }
    }
  }
};

} // namespace
