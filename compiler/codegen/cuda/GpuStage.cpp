//===- GpuStage.cpp - stages as code of one GPU thread ------------------------===//
#include "compiler/codegen/cuda/GpuStage.h"
#include "compiler/codegen/cuda/CudaTeam.h"
#include "mlir/Dialect/GPU/IR/GPUDialect.h"
#include "llvm/Support/MathExtras.h"

using namespace mlir;

namespace llmc::codegen {

/// A warp for short walks, at most eight; four columns for each thread.
static int64_t threadsFor(int64_t walkLength) {
  return std::clamp<int64_t>(static_cast<int64_t>(llvm::PowerOf2Ceil(static_cast<uint64_t>(std::max<int64_t>(walkLength, 1)))) / 4, 32,
                             256);
}

std::vector<CudaStage> emitGpuStages(ModuleOp module, const TeamForm &form) {
  MLIRContext *context = module.getContext();
  Location loc = module.getLoc();
  auto pointer = LLVM::LLVMPointerType::get(context);
  OpBuilder top = OpBuilder::atBlockEnd(module.getBody());
  auto bytes = LLVM::LLVMArrayType::get(top.getI8Type(), 0);
  LLVM::GlobalOp::create(top, loc, bytes, /*isConstant=*/false, LLVM::Linkage::External, kSharedMemory, Attribute(), /*alignment=*/16,
                         kSharedSpace);
  std::vector<CudaStage> result;
  for (auto [i, stage] : llvm::enumerate(form.description().stages)) {
    CudaStage launch{stage.symbol, threadsFor(form.walkLength(i)), 0, form.readsArguments(i)};
    SmallVector<Type> parameters(launch.argumentArray ? 1 : stage.operands.size(), pointer);
    auto type = LLVM::LLVMFunctionType::get(LLVM::LLVMVoidType::get(context), parameters);
    OpBuilder b = OpBuilder::atBlockEnd(module.getBody());
    auto function = LLVM::LLVMFuncOp::create(b, loc, stage.symbol, type);
    function->setAttr(kGpuKernel, b.getUnitAttr());
    function->setAttr(kGpuThreads, b.getI32IntegerAttr(static_cast<int32_t>(launch.threads)));
    Block *entry = function.addEntryBlock(b);
    b.setInsertionPointToStart(entry);
    Code code(b, loc);
    CudaTeam team(code, launch.threads);
    Value block = gpu::BlockIdOp::create(code.b, loc, code.b.getIndexType(), gpu::Dimension::x);
    Value workgroup = arith::IndexCastOp::create(code.b, loc, code.i64Type(), block);
    SmallVector<Value> operands(entry->getArguments());
    form.emit(team, code, i, operands, workgroup);
    LLVM::ReturnOp::create(code.b, loc, ValueRange());
    launch.sharedBytes = team.sharedBytes();
    result.push_back(std::move(launch));
  }
  return result;
}

} // namespace llmc::codegen
