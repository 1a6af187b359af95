//===- DropStopGradients.cpp - autodiff-drop-stop-gradients ---------------------------===//
#include "dialects/nn/Nn.h"
#include "passes/autodiff/Passes.h"

namespace llmc::autodiff {
#define GEN_PASS_DEF_AUTODIFFDROPSTOPGRADIENTS
#include "passes/autodiff/Passes.h.inc"
} // namespace llmc::autodiff

using namespace mlir;
using namespace llmc;

namespace {

struct DropStopGradients : autodiff::impl::AutodiffDropStopGradientsBase<DropStopGradients> {
  void runOnOperation() override {
    getOperation().walk([](nn::StopGradientOp op) {
      op.replaceAllUsesWith(op.getInput());
      op.erase();
    });
  }
};

} // namespace
