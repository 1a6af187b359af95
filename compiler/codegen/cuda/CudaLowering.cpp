//===- CudaLowering.cpp - stages of GPU threads -> NVVM -> PTX ----------------===//
#include "compiler/codegen/cuda/CudaLowering.h"
#include "compiler/codegen/OptimizeLlvm.h"
#include "mlir/Conversion/ArithToLLVM/ArithToLLVM.h"
#include "mlir/Conversion/ControlFlowToLLVM/ControlFlowToLLVM.h"
#include "mlir/Conversion/LLVMCommon/ConversionTarget.h"
#include "mlir/Conversion/LLVMCommon/TypeConverter.h"
#include "mlir/Conversion/MathToLLVM/MathToLLVM.h"
#include "mlir/Conversion/SCFToControlFlow/SCFToControlFlow.h"
#include "mlir/Conversion/VectorToLLVM/ConvertVectorToLLVM.h"
#include "mlir/Dialect/ControlFlow/IR/ControlFlow.h"
#include "mlir/Dialect/GPU/IR/GPUDialect.h"
#include "mlir/Dialect/LLVMIR/NVVMDialect.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"
#include "mlir/Dialect/Vector/Transforms/LoweringPatterns.h"
#include "mlir/Target/LLVMIR/Dialect/Builtin/BuiltinToLLVMIRTranslation.h"
#include "mlir/Target/LLVMIR/Dialect/LLVMIR/LLVMToLLVMIRTranslation.h"
#include "mlir/Target/LLVMIR/Dialect/NVVM/NVVMToLLVMIRTranslation.h"
#include "mlir/Target/LLVMIR/Export.h"
#include "mlir/Transforms/DialectConversion.h"
#include "mlir/Transforms/GreedyPatternRewriteDriver.h"
#include "llvm/Bitcode/BitcodeReader.h"
#include "llvm/IR/LegacyPassManager.h"
#include "llvm/IR/Module.h"
#include "llvm/IRReader/IRReader.h"
#include "llvm/Linker/Linker.h"
#include "llvm/MC/TargetRegistry.h"
#include "llvm/Support/SourceMgr.h"
#include "llvm/Support/TargetSelect.h"
#include <mutex>

// Declared in a header that only LLVM's build has.
extern "C" {
void LLVMInitializeNVPTXTarget();
void LLVMInitializeNVPTXTargetInfo();
void LLVMInitializeNVPTXTargetMC();
void LLVMInitializeNVPTXAsmPrinter();
}

using namespace mlir;

namespace llmc::codegen {

static constexpr llvm::StringLiteral kOptimizations =
    "default<O2>";

static std::unique_ptr<llvm::TargetMachine> createMachine(StringRef arch) {
  static std::once_flag once;
  std::call_once(once, [] {
    LLVMInitializeNVPTXTargetInfo();
    LLVMInitializeNVPTXTarget();
    LLVMInitializeNVPTXTargetMC();
    LLVMInitializeNVPTXAsmPrinter();
  });
  llvm::Triple triple("nvptx64-nvidia-cuda");
  std::string problem;
  const llvm::Target *target = llvm::TargetRegistry::lookupTarget(triple, problem);
  if (!target)
    return nullptr;
  return std::unique_ptr<llvm::TargetMachine>(
      target->createTargetMachine(triple, arch, "", llvm::TargetOptions(), std::nullopt, std::nullopt, llvm::CodeGenOptLevel::Default));
}

CudaWorker::CudaWorker(const CudaOptions &options)
    : options(options), context(MLIRContext::Threading::DISABLED), machine(createMachine(options.arch)) {
  DialectRegistry registry;
  registerBuiltinDialectTranslation(registry);
  registerLLVMDialectTranslation(registry);
  registerNVVMDialectTranslation(registry);
  context.appendDialectRegistry(registry);
  context.loadDialect<arith::ArithDialect, math::MathDialect, scf::SCFDialect, cf::ControlFlowDialect, vector::VectorDialect,
                      LLVM::LLVMDialect, NVVM::NVVMDialect, gpu::GPUDialect>();
  RewritePatternSet patterns(&context);
  populateMathApproximations(patterns);
  approximations = std::move(patterns);
}

CudaWorker::~CudaWorker() = default;

llvm::Error CudaWorker::lower(ModuleOp module, bool &callsLibrary) {
  if (failed(applyPatternsGreedily(module, approximations)))
    return llvm::createStringError("math approximation did not converge");
  if (llvm::Error error = lowerMathToLibdevice(module, callsLibrary))
    return error;
  lowerGpuToNvvm(module);
  LowerToLLVMOptions lowering(&context);
  LLVMTypeConverter converter(&context, lowering);
  RewritePatternSet patterns(&context);
  populateSCFToControlFlowConversionPatterns(patterns);
  cf::populateControlFlowToLLVMConversionPatterns(converter, patterns);
  arith::populateArithToLLVMConversionPatterns(converter, patterns);
  populateMathToLLVMConversionPatterns(converter, patterns);
  populateVectorToLLVMConversionPatterns(converter, patterns);
  vector::populateVectorBroadcastLoweringPatterns(patterns);
  LLVMConversionTarget target(context);
  target.addLegalOp<ModuleOp>();
  target.addLegalDialect<NVVM::NVVMDialect>();
  if (failed(applyPartialConversion(module, target, std::move(patterns))))
    return llvm::createStringError("lowering to NVVM failed");
  return llvm::Error::success();
}

llvm::Error CudaWorker::linkLibrary(llvm::Module &module) {
  if (options.libdevice.empty())
    return llvm::createStringError("needs libdevice of the CUDA toolkit, which was not found");
  llvm::SMDiagnostic problem;
  std::unique_ptr<llvm::Module> library = llvm::parseIRFile(options.libdevice, problem, module.getContext());
  if (!library)
    return llvm::createStringError("cannot read " + options.libdevice + ": " + problem.getMessage().str());
  library->setTargetTriple(module.getTargetTriple());
  library->setDataLayout(module.getDataLayout());
  if (llvm::Linker::linkModules(module, std::move(library), llvm::Linker::Flags::LinkOnlyNeeded))
    return llvm::createStringError("cannot link " + options.libdevice);
  for (llvm::Function &function : module)
    if (!function.isDeclaration() && function.getCallingConv() != llvm::CallingConv::PTX_Kernel)
      function.setLinkage(llvm::GlobalValue::InternalLinkage);
  return llvm::Error::success();
}

llvm::Expected<CudaKernel> CudaWorker::generate(const KernelForm &form) {
  if (!machine)
    return llvm::createStringError("LLVM has no target NVPTX here");
  if (!form.teamForm())
    return llvm::createStringError("this kind of kernel has no CUDA form");
  CudaKernel result;
  result.kernel = form.description();
  OwningOpRef<ModuleOp> module = ModuleOp::create(UnknownLoc::get(&context));
  result.stages = emitGpuStages(*module, *form.teamForm());
  bool callsLibrary = false;
  if (llvm::Error error = lower(*module, callsLibrary))
    return error;
  llvm::LLVMContext llvmContext;
  std::unique_ptr<llvm::Module> code = translateModuleToLLVMIR(*module, llvmContext, form.description().name);
  if (!code)
    return llvm::createStringError("translation to LLVM IR failed");
  code->setDataLayout(machine->createDataLayout());
  code->setTargetTriple(machine->getTargetTriple());
  if (callsLibrary)
    if (llvm::Error error = linkLibrary(*code))
      return error;
  optimizeLlvm(*code, *machine, kOptimizations);
  llvm::SmallVector<char, 0> text;
  llvm::raw_svector_ostream stream(text);
  llvm::legacy::PassManager passes;
  if (machine->addPassesToEmitFile(passes, stream, nullptr, llvm::CodeGenFileType::AssemblyFile))
    return llvm::createStringError("this target cannot write PTX");
  passes.run(*code);
  result.ptx.assign(text.begin(), text.end());
  return result;
}

} // namespace llmc::codegen
