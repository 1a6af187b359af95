//===- CpuLowering.cpp - emitted code -> LLVM IR -> object file ---------------===//
#include "compiler/codegen/cpu/CpuLowering.h"
#include "compiler/codegen/OptimizeLlvm.h"
#include "llvm/IR/LegacyPassManager.h"
#include "llvm/IR/Verifier.h"
#include "llvm/MC/MCSubtargetInfo.h"
#include "llvm/MC/TargetRegistry.h"
#include "llvm/Support/TargetSelect.h"
#include "llvm/TargetParser/Host.h"
#include "mlir/Conversion/ArithToLLVM/ArithToLLVM.h"
#include "mlir/Conversion/ControlFlowToLLVM/ControlFlowToLLVM.h"
#include "mlir/Conversion/LLVMCommon/ConversionTarget.h"
#include "mlir/Conversion/LLVMCommon/TypeConverter.h"
#include "mlir/Conversion/MathToLLVM/MathToLLVM.h"
#include "mlir/Conversion/SCFToControlFlow/SCFToControlFlow.h"
#include "mlir/Conversion/VectorToLLVM/ConvertVectorToLLVM.h"
#include "mlir/Dialect/Arith/Transforms/Passes.h"
#include "mlir/Dialect/ControlFlow/IR/ControlFlow.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/Math/Transforms/Passes.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"
#include "mlir/Dialect/Vector/Transforms/LoweringPatterns.h"
#include "mlir/Target/LLVMIR/Dialect/Builtin/BuiltinToLLVMIRTranslation.h"
#include "mlir/Target/LLVMIR/Dialect/LLVMIR/LLVMToLLVMIRTranslation.h"
#include "mlir/Target/LLVMIR/Export.h"
#include "mlir/Transforms/DialectConversion.h"
#include "mlir/Transforms/GreedyPatternRewriteDriver.h"
#include <mutex>

using namespace mlir;

namespace llmc::codegen {

static constexpr llvm::StringLiteral kOptimizations =
    "function(early-cse,instcombine<no-verify-fixpoint>,simplifycfg,loop-mssa(licm),instcombine<no-verify-fixpoint>)";

std::string hostCpuLevel() {
  llvm::StringMap<bool> features = llvm::sys::getHostCPUFeatures();
  bool v4 = true;
  for (const char *feature : {"avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl"})
    v4 = v4 && features.lookup(feature);
  return v4 ? "x86-64-v4" : "x86-64-v3";
}

static std::unique_ptr<llvm::TargetMachine> createMachine(StringRef cpu) {
  static std::once_flag once;
  std::call_once(once, [] {
    llvm::InitializeNativeTarget();
    llvm::InitializeNativeTargetAsmPrinter();
  });
  llvm::Triple triple(llvm::sys::getDefaultTargetTriple());
  std::string problem;
  const llvm::Target *target = llvm::TargetRegistry::lookupTarget(triple, problem);
  if (!target)
    return nullptr;
  // 512-bit registers, which LLVM would otherwise avoid on some processors.
  StringRef features = cpu == "x86-64-v4" ? "-prefer-256-bit" : "";
  llvm::TargetOptions options;
  return std::unique_ptr<llvm::TargetMachine>(target->createTargetMachine(triple, cpu, features, options, llvm::Reloc::PIC_,
                                                                          std::nullopt, llvm::CodeGenOptLevel::Default));
}

namespace {

/// The error function in double precision, which LLVM has no intrinsic for and MLIR no approximation of: the C library's, element by
/// element.
struct ErfOfDoubles : OpRewritePattern<math::ErfOp> {
  using OpRewritePattern::OpRewritePattern;
  LogicalResult matchAndRewrite(math::ErfOp op, PatternRewriter &rewriter) const override {
    Type element = getElementTypeOrSelf(op.getType());
    if (!element.isF64())
      return failure();
    auto module = op->getParentOfType<ModuleOp>();
    auto function = module.lookupSymbol<LLVM::LLVMFuncOp>("erf");
    if (!function) {
      OpBuilder::InsertionGuard guard(rewriter);
      rewriter.setInsertionPointToStart(module.getBody());
      function = LLVM::LLVMFuncOp::create(rewriter, op.getLoc(), "erf", LLVM::LLVMFunctionType::get(element, {element}));
    }
    auto call = [&](Value x) { return LLVM::CallOp::create(rewriter, op.getLoc(), function, x).getResult(); };
    auto vector = dyn_cast<VectorType>(op.getType());
    if (!vector) {
      rewriter.replaceOp(op, call(op.getOperand()));
      return success();
    }
    Value result = arith::ConstantOp::create(rewriter, op.getLoc(), rewriter.getZeroAttr(vector));
    for (int64_t i = 0; i < vector.getNumElements(); ++i)
      result = vector::InsertOp::create(rewriter, op.getLoc(), call(vector::ExtractOp::create(rewriter, op.getLoc(), op.getOperand(), i)), result, i);
    rewriter.replaceOp(op, result);
    return success();
  }
};

} // namespace

CpuWorker::CpuWorker(StringRef cpu) : context(MLIRContext::Threading::DISABLED), machine(createMachine(cpu)) {
  DialectRegistry registry;
  registerBuiltinDialectTranslation(registry);
  registerLLVMDialectTranslation(registry);
  context.appendDialectRegistry(registry);
  context.loadDialect<arith::ArithDialect, math::MathDialect, scf::SCFDialect, cf::ControlFlowDialect, vector::VectorDialect,
                      LLVM::LLVMDialect, func::FuncDialect>();
  RewritePatternSet patterns(&context);
  populateMathApproximations(patterns);
  patterns.add<ErfOfDoubles>(&context);
  arith::populateExpandBFloat16Patterns(patterns); // LLVM would call a library function for each element
  approximations = std::move(patterns);
}

CpuWorker::~CpuWorker() = default;

llvm::Error CpuWorker::lower(ModuleOp module) {
  GreedyRewriteConfig config;
  if (failed(applyPatternsGreedily(module, approximations, config)))
    return llvm::createStringError("math approximation did not converge");
  LowerToLLVMOptions options(&context);
  LLVMTypeConverter converter(&context, options);
  RewritePatternSet patterns(&context);
  populateSCFToControlFlowConversionPatterns(patterns);
  cf::populateControlFlowToLLVMConversionPatterns(converter, patterns);
  arith::populateArithToLLVMConversionPatterns(converter, patterns);
  populateMathToLLVMConversionPatterns(converter, patterns);
  populateVectorToLLVMConversionPatterns(converter, patterns);
  vector::populateVectorBroadcastLoweringPatterns(patterns);
  LLVMConversionTarget target(context);
  target.addLegalOp<ModuleOp>();
  if (failed(applyPartialConversion(module, target, std::move(patterns))))
    return llvm::createStringError("lowering to LLVM failed");
  return llvm::Error::success();
}

llvm::Expected<llvm::SmallVector<char, 0>> CpuWorker::generate(const KernelForm &form) {
  if (!machine)
    return llvm::createStringError("LLVM has no target for this machine");
  OwningOpRef<ModuleOp> module = ModuleOp::create(UnknownLoc::get(&context));
  form.emitCpuHelpers(*module);
  for (auto [i, stage] : llvm::enumerate(form.description().stages))
    emitStageFunction(*module, stage.symbol, stage.operands.size(), form.readsArguments(i),
                      [&](Code &code, ArrayRef<Value> operands, Value workgroup) {
                        code.wideRegisters = machine->getMCSubtargetInfo()->checkFeatures("+avx512f");
                        form.emitCpu(code, i, operands, workgroup);
                      });
  if (llvm::Error error = lower(*module))
    return error;
  llvm::LLVMContext llvmContext;
  std::unique_ptr<llvm::Module> code = translateModuleToLLVMIR(*module, llvmContext, form.description().name);
  if (!code)
    return llvm::createStringError("translation to LLVM IR failed");
  code->setDataLayout(machine->createDataLayout());
  code->setTargetTriple(machine->getTargetTriple());
  for (llvm::Function &function : *code)
    if (!function.isDeclaration()) {
      function.addFnAttr("target-cpu", machine->getTargetCPU());
      function.addFnAttr("prefer-vector-width", "512");
      function.addFnAttr("min-legal-vector-width", "512");
      function.setDoesNotThrow();
    }
  optimizeLlvm(*code, *machine, kOptimizations);
  llvm::SmallVector<char, 0> object;
  llvm::raw_svector_ostream stream(object);
  llvm::legacy::PassManager passes;
  if (machine->addPassesToEmitFile(passes, stream, nullptr, llvm::CodeGenFileType::ObjectFile))
    return llvm::createStringError("this target cannot write object files");
  passes.run(*code);
  return object;
}

} // namespace llmc::codegen
