//===- Compile.cpp - a module to a plan file ----------------------------------------===//
#include "compiler/driver/Compile.h"
#include "dialects/interfaces/Interfaces.h"
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

/// What codegen-describe-kernels noted of a kernel.
static codegen::GeneratedKernel describedKernel(func::FuncOp function) {
  codegen::GeneratedKernel kernel{function.getName().str(), {}, {}, {}};
  auto stages = function->getAttrOfType<DictionaryAttr>(plan::kStages);
  ArrayRef<int64_t> scratch = stages.getAs<DenseI64ArrayAttr>("scratch").asArrayRef();
  kernel.scratchBytes.assign(scratch.begin(), scratch.end());
  for (auto stage : stages.getAs<ArrayAttr>("stages").getAsRange<DictionaryAttr>()) {
    codegen::KernelStage entry{kernel.name + "_" + std::to_string(kernel.stages.size()), stage.getAs<IntegerAttr>("workgroups").getInt(), {}};
    for (auto operand : stage.getAs<ArrayAttr>("operands").getAsRange<ArrayAttr>()) {
      StringRef kind = cast<StringAttr>(operand[0]).getValue(), mode = cast<StringAttr>(operand[2]).getValue();
      auto index = static_cast<int>(cast<IntegerAttr>(operand[1]).getInt());
      int64_t bytes = kind == "input"    ? tensorBytes(function.getArgumentTypes()[index])
                      : kind == "output" ? tensorBytes(function.getResultTypes()[index])
                                         : scratch[index];
      entry.operands.push_back({kind == "input"    ? codegen::OperandKind::Input
                                : kind == "output" ? codegen::OperandKind::Output
                                                   : codegen::OperandKind::Scratch,
                                index,
                                mode == "read"    ? codegen::AccessMode::Read
                                : mode == "write" ? codegen::AccessMode::Write
                                                  : codegen::AccessMode::ReadWrite,
                                bytes});
    }
    kernel.stages.push_back(std::move(entry));
  }
  return kernel;
}

llvm::Expected<const plan::fb::Plan *> forecastPlan(ModuleOp module, const PlanOptions &options, flatbuffers::FlatBufferBuilder &builder) {
  codegen::KernelImage image;
  image.cpu = options.cpu.empty() ? "x86-64-v4" : options.cpu;
  for (auto function : module.getOps<func::FuncOp>())
    if (function->hasAttr(plan::kStages))
      image.kernels.push_back(describedKernel(function));
  target::PlanWriterOptions file = options.file;
  file.digests = false;
  auto constants = target::buildPlan(module, image, file, builder);
  if (!constants)
    return constants.takeError();
  return plan::fb::GetPlan(builder.GetBufferPointer());
}

} // namespace llmc::driver
