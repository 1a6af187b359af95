//===- DescribeKernels.cpp - codegen-describe-kernels -----------------------------===//
//
//   1. describe each fused kernel; where that fails and the kernel has several ops, outline each of its ops as a kernel of
//      its own and inline what is left of it at its calls;
//   2. describe the new kernels; a failure now is an error.
//
//===----------------------------------------------------------------------===//
#include "compiler/codegen/Kernels.h"
#include "compiler/codegen/Passes.h"
#include "dialects/plan/Plan.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/IR/IRMapping.h"
#include "passes/analysis/FusionGroups.h"
#include "passes/lowering/KernelOutliner.h"

namespace llmc::codegen {
#define GEN_PASS_DEF_CODEGENDESCRIBEKERNELS
#include "compiler/codegen/Passes.h.inc"
} // namespace llmc::codegen

using namespace mlir;
using namespace llmc;
using namespace llmc::codegen;

namespace {

DictionaryAttr toAttribute(MLIRContext *context, const GeneratedKernel &kernel) {
  Builder b(context);
  static constexpr StringLiteral kinds[] = {"input", "output", "scratch"}, modes[] = {"read", "write", "readwrite"};
  SmallVector<Attribute> stages;
  for (const KernelStage &stage : kernel.stages) {
    SmallVector<Attribute> operands;
    for (const StageOperand &operand : stage.operands)
      operands.push_back(b.getArrayAttr({b.getStringAttr(kinds[static_cast<int>(operand.kind)]), b.getI64IntegerAttr(operand.index),
                                         b.getStringAttr(modes[static_cast<int>(operand.mode)])}));
    stages.push_back(b.getDictionaryAttr({b.getNamedAttr("workgroups", b.getI64IntegerAttr(stage.workgroups)),
                                          b.getNamedAttr("operands", b.getArrayAttr(operands))}));
  }
  SmallVector<int64_t> aliases;
  for (auto [input, output] : kernel.mayAlias)
    aliases.append({output, input});
  return b.getDictionaryAttr({b.getNamedAttr("stages", b.getArrayAttr(stages)),
                              b.getNamedAttr("scratch", b.getDenseI64ArrayAttr(kernel.scratchBytes)),
                              b.getNamedAttr("alias", b.getDenseI64ArrayAttr(aliases))});
}

bool isFused(func::FuncOp function) {
  auto kind = function->getAttrOfType<StringAttr>(plan::kKernel);
  return kind && kind.getValue() == "fused";
}

/// True if more than one op of the kernel computes something.
bool hasSeveralOps(func::FuncOp kernel) {
  int64_t count = 0;
  for (Operation &op : kernel.getBody().front().without_terminator())
    count += !analysis::isView(&op) && !isa<arith::ConstantOp>(op) && !analysis::isAbsorbed(&op);
  return count > 1;
}

struct DescribeKernels : codegen::impl::CodegenDescribeKernelsBase<DescribeKernels> {
  void runOnOperation() override {
    SmallVector<func::FuncOp> failed;
    for (auto kernel : getOperation().getOps<func::FuncOp>())
      if (isFused(kernel) && !describe(kernel, hasSeveralOps(kernel)))
        failed.push_back(kernel);
    bool valid = true;
    SmallVector<func::FuncOp> several;
    for (func::FuncOp kernel : failed)
      if (hasSeveralOps(kernel))
        several.push_back(kernel);
      else
        valid = false;
    if (!several.empty())
      split(several);
    for (auto kernel : getOperation().getOps<func::FuncOp>())
      if (isFused(kernel) && !kernel->hasAttr(plan::kStages) && !llvm::is_contained(failed, kernel))
        valid &= describe(kernel, false);
    if (!valid)
      signalPassFailure();
  }

  bool describe(func::FuncOp kernel, bool quiet) {
    llvm::Expected<GeneratedKernel> description = describeKernel(kernel);
    if (!description) {
      std::string message = llvm::toString(description.takeError());
      if (!quiet)
        kernel.emitError() << message;
      return false;
    }
    kernel->setAttr(plan::kStages, toAttribute(&getContext(), *description));
    return true;
  }

  /// Each op of the kernels becomes a kernel; the calls of the old ones become calls of these.
  void split(SmallVectorImpl<func::FuncOp> &kernels) {
    analysis::FusionOptions options;
    options.fuse = false;
    lowering::outlineKernels(getOperation(), kernels, options);
    SmallVector<func::CallOp> calls;
    DenseMap<StringAttr, func::FuncOp> byName;
    for (func::FuncOp kernel : kernels)
      byName[kernel.getSymNameAttr()] = kernel;
    getOperation().walk([&](func::CallOp call) {
      if (byName.contains(call.getCalleeAttr().getAttr()))
        calls.push_back(call);
    });
    for (func::CallOp call : calls)
      inlineBody(call, byName.lookup(call.getCalleeAttr().getAttr()));
    for (func::FuncOp kernel : kernels)
      kernel->erase();
  }

  static void inlineBody(func::CallOp call, func::FuncOp kernel) {
    OpBuilder builder(call);
    IRMapping map;
    map.map(kernel.getArguments(), call.getOperands());
    Block &body = kernel.getBody().front();
    for (Operation &op : body.without_terminator())
      builder.clone(op, map);
    for (auto [result, value] : llvm::zip(call.getResults(), body.getTerminator()->getOperands()))
      result.replaceAllUsesWith(map.lookupOrDefault(value));
    call.erase();
  }
};

} // namespace
