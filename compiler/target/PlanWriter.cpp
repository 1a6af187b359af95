//===- PlanWriter.cpp - plan dialect and kernel image to a plan file ---------------===//
#include "compiler/target/PlanWriter.h"
#include "compiler/target/PlanTables.h"
#include "dialects/train/Train.h"
#include "runtime/plan/PlanFile.h"
#include "runtime/plan/Validator.h"

using namespace mlir;

namespace llmc::target {

llvm::Expected<std::vector<uint8_t>> buildPlan(ModuleOp module, const codegen::KernelImage &image, const PlanWriterOptions &options,
                                               flatbuffers::FlatBufferBuilder &builder) {
  PlanTables tables(module, image, options.folder, options.digests);
  if (llvm::Error error = tables.build())
    return error;
  tables.plan.target = options.target + ":" + image.cpu;
  if (auto model = module->getAttrOfType<StringAttr>(train::kModel))
    tables.plan.model = model.str();
  builder.ForceDefaults(false);
  fb::FinishPlanBuffer(builder, fb::Plan::Pack(builder, &tables.plan));
  runtime::PlanSizes sizes{options.digests ? image.elf.size() : 1, // not generated for a forecast
                            tables.constants.size()};
  std::vector<std::string> problems = runtime::validatePlan(*fb::GetPlan(builder.GetBufferPointer()), sizes);
  if (!problems.empty()) {
    std::string message = "the plan that was made is not valid, which is a mistake of the compiler:";
    for (const std::string &problem : ArrayRef(problems).take_front(20))
      message += "\n  " + problem;
    return llvm::createStringError(message);
  }
  return std::move(tables.constants);
}

llvm::Error writePlanFile(ModuleOp module, const codegen::KernelImage &image, const PlanWriterOptions &options) {
  flatbuffers::FlatBufferBuilder builder(1 << 20);
  auto constants = buildPlan(module, image, options, builder);
  if (!constants)
    return constants.takeError();
  runtime::Bytes code(reinterpret_cast<const uint8_t *>(image.elf.data()), image.elf.size());
  runtime::Status status = runtime::writePlan(options.path, {builder.GetBufferPointer(), builder.GetSize()}, code, *constants);
  if (!status.ok())
    return llvm::createStringError(std::make_error_code(std::errc::io_error), status.message);
  return llvm::Error::success();
}

} // namespace llmc::target
