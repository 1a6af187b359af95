//===- OutlineKernels.cpp - lowering-outline-kernels ------------------------------===//
#include "dialects/nn/Nn.h"
#include "dialects/plan/Plan.h"
#include "mlir/IR/PatternMatch.h"
#include "mlir/Transforms/RegionUtils.h"
#include "passes/lowering/KernelOutliner.h"
#include "passes/lowering/Passes.h"

namespace llmc::lowering {
#define GEN_PASS_DEF_LOWERINGOUTLINEKERNELS
#include "passes/lowering/Passes.h.inc"
} // namespace llmc::lowering

using namespace mlir;
using namespace llmc;

namespace {

struct OutlineKernels : lowering::impl::LoweringOutlineKernelsBase<OutlineKernels> {
  using LoweringOutlineKernelsBase::LoweringOutlineKernelsBase;

  void runOnOperation() override {
    analysis::FusionOptions options;
    options.fuse = fuse;
    SmallVector<func::FuncOp> functions(getOperation().getOps<func::FuncOp>());
    for (func::FuncOp function : functions) { // a gradient that nothing reads has no buffer
      IRRewriter rewriter(&getContext());
      (void)runRegionDCE(rewriter, function->getRegions());
    }
    lowering::outlineKernels(getOperation(), functions, options);
  }
};

} // namespace
