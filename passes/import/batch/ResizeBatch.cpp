//===- ResizeBatch.cpp - import-resize-batch ---------------------------------------===//
#include "dialects/nn/Nn.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "passes/import/Passes.h"
#include "passes/import/batch/Resizer.h"

namespace llmc::importing {
#define GEN_PASS_DEF_IMPORTRESIZEBATCH
#include "passes/import/Passes.h.inc"
} // namespace llmc::importing

using namespace mlir;
using namespace llmc;
using namespace llmc::importing;
using analysis::BatchTrace;

namespace {

/// Nothing changes the batch any more: its size is a number.
void writeBatchSizes(func::FuncOp function) {
  function.walk([](nn::BatchSizeOp op) {
    OpBuilder b(op);
    double size = static_cast<double>(nn::typeOf(op.getInput()).getDimSize(0));
    op.replaceAllUsesWith(nn::splat(b, op.getLoc(), nn::typeOf(op.getResult()), size));
    op.erase();
  });
}

struct ResizeBatch : importing::impl::ImportResizeBatchBase<ResizeBatch> {
  void runOnOperation() override {
    for (auto function : getOperation().getOps<func::FuncOp>()) {
      FailureOr<BatchTrace> trace = BatchTrace::of(function);
      if (failed(trace))
        return signalPassFailure();
      int64_t wanted = wantedBatch(function), target = wanted ? wanted : exportedBatch(function, trace->batch());
      function->removeAttr(kExportedBatch);
      if (target != trace->batch() && (failed(trace->report()) || failed(resizeBatch(function, *trace, target))))
        return signalPassFailure();
      writeBatchSizes(function);
    }
  }
};

} // namespace
