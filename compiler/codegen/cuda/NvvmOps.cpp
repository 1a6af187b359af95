//===- NvvmOps.cpp - gpu and math ops -> NVVM ops and libdevice calls ---------===//
#include "compiler/codegen/cuda/CudaLowering.h"
#include "mlir/Dialect/GPU/IR/GPUDialect.h"
#include "mlir/Dialect/LLVMIR/NVVMDialect.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"
#include "llvm/ADT/StringMap.h"
#include "llvm/ADT/TypeSwitch.h"

using namespace mlir;

namespace llmc::codegen {

static void replace(Operation *op) {
  OpBuilder b(op);
  Location loc = op->getLoc();
  Type i32 = b.getI32Type();
  auto number = [&](Value id) { return arith::IndexCastUIOp::create(b, loc, b.getIndexType(), id).getResult(); };
  llvm::TypeSwitch<Operation *>(op)
      .Case([&](gpu::ThreadIdOp o) { o.replaceAllUsesWith(number(NVVM::ThreadIdXOp::create(b, loc, i32))); })
      .Case([&](gpu::BlockIdOp o) { o.replaceAllUsesWith(number(NVVM::BlockIdXOp::create(b, loc, i32))); })
      .Case([&](gpu::BarrierOp) { NVVM::Barrier0Op::create(b, loc); })
      .Case([&](gpu::ShuffleOp o) {
        Value all = arith::ConstantOp::create(b, loc, b.getI32IntegerAttr(-1)),
              clamp = arith::ConstantOp::create(b, loc, b.getI32IntegerAttr(31));
        Value result =
            NVVM::ShflOp::create(b, loc, o.getValue().getType(), all, o.getValue(), o.getOffset(), clamp, NVVM::ShflKind::bfly, UnitAttr());
        o.getShuffleResult().replaceAllUsesWith(result);
      });
  op->erase();
}

void lowerGpuToNvvm(ModuleOp module) {
  SmallVector<Operation *> ops;
  module.walk([&](Operation *op) {
    if (isa<gpu::GPUDialect>(op->getDialect()))
      ops.push_back(op);
  });
  for (Operation *op : ops)
    replace(op);
  for (auto function : module.getOps<LLVM::LLVMFuncOp>())
    if (function->hasAttr(kGpuKernel)) {
      auto threads = function->getAttrOfType<IntegerAttr>(kGpuThreads);
      function->setAttr(NVVM::NVVMDialect::getKernelFuncAttrName(), UnitAttr::get(module.getContext()));
      function->setAttr(NVVM::NVVMDialect::getMaxntidAttrName(),
                        DenseI32ArrayAttr::get(module.getContext(), {static_cast<int32_t>(threads.getInt())}));
      function->removeAttr(kGpuKernel);
      function->removeAttr(kGpuThreads);
    }
}

/// What NVPTX selects by itself, for f32 and f64.
static bool isInstruction(StringRef name) {
  return llvm::is_contained({"absf", "absi", "ceil", "copysign", "ctlz", "ctpop", "cttz", "floor", "fma", "isfinite", "isinf", "isnan",
                             "isnormal", "round", "roundeven", "rsqrt", "sqrt", "trunc"},
                            name);
}

static StringRef libdeviceName(StringRef name) {
  static const llvm::StringMap<StringRef> names = {
      {"acos", "acos"},   {"acosh", "acosh"}, {"asin", "asin"},   {"asinh", "asinh"}, {"atan", "atan"},   {"atan2", "atan2"},
      {"atanh", "atanh"}, {"cbrt", "cbrt"},   {"cos", "cos"},     {"cosh", "cosh"},   {"erf", "erf"},     {"erfc", "erfc"},
      {"exp", "exp"},     {"exp2", "exp2"},   {"expm1", "expm1"}, {"log", "log"},     {"log10", "log10"}, {"log1p", "log1p"},
      {"log2", "log2"},   {"powf", "pow"},    {"sin", "sin"},     {"sinh", "sinh"},   {"tan", "tan"},     {"tanh", "tanh"}};
  return names.lookup(name);
}

llvm::Error lowerMathToLibdevice(ModuleOp module, bool &called) {
  SmallVector<Operation *> ops;
  module.walk([&](Operation *op) {
    if (isa<math::MathDialect>(op->getDialect()) && !isInstruction(op->getName().stripDialect()))
      ops.push_back(op);
  });
  for (Operation *op : ops) {
    StringRef name = libdeviceName(op->getName().stripDialect());
    Type type = getElementTypeOrSelf(op->getResult(0).getType());
    if (name.empty() || !(type.isF32() || type.isF64()))
      return llvm::createStringError("`" + op->getName().getStringRef().str() + "` has no CUDA form");
    called = true;
    std::string symbol = ("__nv_" + name + (type.isF32() ? "f" : "")).str();
    auto function = module.lookupSymbol<LLVM::LLVMFuncOp>(symbol);
    OpBuilder b(op);
    Location loc = op->getLoc();
    if (!function) {
      OpBuilder top = OpBuilder::atBlockBegin(module.getBody());
      SmallVector<Type> parameters(op->getNumOperands(), type);
      function = LLVM::LLVMFuncOp::create(top, loc, symbol, LLVM::LLVMFunctionType::get(type, parameters));
    }
    auto call = [&](ValueRange operands) { return LLVM::CallOp::create(b, loc, function, operands).getResult(); };
    auto vector = dyn_cast<VectorType>(op->getResult(0).getType());
    Value result;
    if (!vector) {
      result = call(op->getOperands());
    } else {
      SmallVector<Value> lanes;
      for (int64_t lane = 0; lane < vector.getDimSize(0); ++lane) {
        SmallVector<Value> operands;
        for (Value operand : op->getOperands())
          operands.push_back(vector::ExtractOp::create(b, loc, operand, ArrayRef<int64_t>{lane}));
        lanes.push_back(call(operands));
      }
      result = vector::FromElementsOp::create(b, loc, vector, lanes);
    }
    op->getResult(0).replaceAllUsesWith(result);
    op->erase();
  }
  return llvm::Error::success();
}

} // namespace llmc::codegen
