//===- DropConstants.cpp - import-drop-constants -------------------------------------===//
#include "passes/import/KnownValues.h"
#include "passes/import/Passes.h"

namespace llmc::importing {
#define GEN_PASS_DEF_IMPORTDROPCONSTANTS
#include "passes/import/Passes.h.inc"
} // namespace llmc::importing

using namespace mlir;
using namespace llmc;

namespace {

struct DropConstants : importing::impl::ImportDropConstantsBase<DropConstants> {
  void runOnOperation() override {
    for (auto function : getOperation().getOps<func::FuncOp>())
      importing::KnownValues(function).eraseUnused();
  }
};

} // namespace
