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

struct ResizeBatch : importing::impl::ImportResizeBatchBase<ResizeBatch> {
  void runOnOperation() override {
    for (auto function : getOperation().getOps<func::FuncOp>()) {
      FailureOr<BatchTrace> trace = BatchTrace::of(function);
      if (failed(trace))
        return signalPassFailure();
      int64_t wanted = wantedBatch(function), target = wanted ? wanted : exportedBatch(function, trace->batch());
      function->removeAttr(kExportedBatch);
      if (target == trace->batch())
        continue;
      if (failed(trace->report()) || failed(resizeBatch(function, *trace, target)))
        return signalPassFailure();
    }
  }
};

} // namespace
