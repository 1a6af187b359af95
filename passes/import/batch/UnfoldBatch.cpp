//===- UnfoldBatch.cpp - import-unfold-batch ---------------------------------------===//
#include "dialects/nn/Nn.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/IR/PatternMatch.h"
#include "mlir/Transforms/RegionUtils.h"
#include "passes/import/Passes.h"
#include "passes/import/batch/Resizer.h"

namespace llmc::importing {
#define GEN_PASS_DEF_IMPORTUNFOLDBATCH
#include "passes/import/Passes.h.inc"
} // namespace llmc::importing

using namespace mlir;
using namespace llmc;
using namespace llmc::importing;
using analysis::BatchTrace;

namespace {

struct UnfoldBatch : importing::impl::ImportUnfoldBatchBase<UnfoldBatch> {
  void runOnOperation() override {
    for (auto function : getOperation().getOps<func::FuncOp>()) {
      IRRewriter rewriter(&getContext());
      (void)runRegionDCE(rewriter, function->getRegions()); // outputs that are not wanted may use the batch as they like
      FailureOr<BatchTrace> trace = BatchTrace::of(function);
      if (failed(trace))
        return signalPassFailure();
      if (trace->batch() != 1)
        continue;
      int64_t wanted = wantedBatch(function);
      if (!trace->problems().empty()) {
        if (wanted > 1) {
          (void)trace->report();
          return signalPassFailure();
        }
        continue; // as it was exported
      }
      if (failed(resizeBatch(function, *trace, 2)))
        return signalPassFailure();
      function->setAttr(kExportedBatch, Builder(&getContext()).getI64IntegerAttr(1));
    }
  }
};

} // namespace
