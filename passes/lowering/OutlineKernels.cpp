//===- OutlineKernels.cpp - lowering-outline-kernels ------------------------------===//
#include "dialects/nn/Nn.h"
#include "dialects/plan/Plan.h"
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
    lowering::outlineKernels(getOperation(), SmallVector<func::FuncOp>(getOperation().getOps<func::FuncOp>()), options);
  }
};

} // namespace
