//===- Compile.cpp - a module to a plan file ----------------------------------------===//
#include "compiler/driver/Compile.h"
#include "dialects/plan/Plan.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"

using namespace mlir;

namespace llmc::driver {

llvm::Error generatePlan(ModuleOp module, const PlanOptions &options) {
  OwningOpRef<ModuleOp> kernels = ModuleOp::create(module.getLoc());
  for (auto function : module.getOps<func::FuncOp>())
    if (function->hasAttr(plan::kStages))
      kernels->push_back(function->clone());
  codegen::CpuOptions cpu;
  cpu.cpu = options.cpu;
  llvm::Expected<codegen::KernelImage> image = codegen::generateCpuKernels(*kernels, cpu);
  if (!image)
    return image.takeError();
  return target::writePlanFile(module, *image, options.file);
}

} // namespace llmc::driver
