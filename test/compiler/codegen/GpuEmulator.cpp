//===- GpuEmulator.cpp - runs the stages of GPU threads on the CPU ---------------------===//
#include "GpuEmulator.h"
#include "mlir/Conversion/ArithToLLVM/ArithToLLVM.h"
#include "mlir/Conversion/ControlFlowToLLVM/ControlFlowToLLVM.h"
#include "mlir/Conversion/LLVMCommon/ConversionTarget.h"
#include "mlir/Conversion/LLVMCommon/TypeConverter.h"
#include "mlir/Conversion/MathToLLVM/MathToLLVM.h"
#include "mlir/Conversion/MathToLibm/MathToLibm.h"
#include "mlir/Conversion/SCFToControlFlow/SCFToControlFlow.h"
#include "mlir/Conversion/VectorToLLVM/ConvertVectorToLLVM.h"
#include "mlir/Dialect/Arith/Transforms/Passes.h"
#include "mlir/Dialect/ControlFlow/IR/ControlFlow.h"
#include "mlir/Dialect/GPU/IR/GPUDialect.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"
#include "mlir/Dialect/Vector/Transforms/LoweringPatterns.h"
#include "mlir/Target/LLVMIR/Dialect/Builtin/BuiltinToLLVMIRTranslation.h"
#include "mlir/Target/LLVMIR/Dialect/LLVMIR/LLVMToLLVMIRTranslation.h"
#include "mlir/Target/LLVMIR/Export.h"
#include "mlir/Transforms/DialectConversion.h"
#include "mlir/Transforms/GreedyPatternRewriteDriver.h"
#include "llvm/ExecutionEngine/Orc/ThreadSafeModule.h"
#include "llvm/Support/TargetSelect.h"
#include <numeric>
#include <random>
#include <ucontext.h>

using namespace mlir;

namespace llmc::test {

//===--------------------------------------------------------------------===//
// A block of fibers
//===--------------------------------------------------------------------===//

namespace {

constexpr unsigned kWarp = 32;

class Block {
public:
  Block(unsigned threads, int64_t sharedBytes, ThreadOrder order)
      : fibers(threads), shared(static_cast<size_t>(sharedBytes) + 64), sequence(threads), order(order) {
    std::iota(sequence.begin(), sequence.end(), 0u);
    if (order == ThreadOrder::Backward)
      std::reverse(sequence.begin(), sequence.end());
  }
  /// Runs `body` once per thread. Errors: threads that wait for ones that have ended.
  void run(unsigned block, const std::function<void()> &body);

  static Block *current;
  std::function<void()> body;
  unsigned block = 0, thread = 0;
  char *sharedMemory() { return shared.data() + (64 - reinterpret_cast<uintptr_t>(shared.data()) % 64) % 64; }
  void waitForBlock() { wait(State::AtBarrier); }
  uint32_t exchange(uint32_t value, uint32_t offset) {
    fibers[thread].value = value;
    fibers[thread].offset = offset;
    wait(State::AtShuffle);
    return fibers[thread].value;
  }

private:
  enum class State { Ready, AtBarrier, AtShuffle, Done };
  struct Fiber {
    State state = State::Ready;
    uint32_t value = 0, offset = 0;
    ucontext_t context;
    std::vector<char> stack = std::vector<char>(256 * 1024);
  };
  static void enter();
  void wait(State state) {
    Fiber &fiber = fibers[thread];
    fiber.state = state;
    swapcontext(&fiber.context, &scheduler);
  }
  void shuffleWarp(unsigned first);
  bool releaseBarrier();

  std::vector<Fiber> fibers;
  std::vector<char> shared;
  std::vector<unsigned> sequence;
  ThreadOrder order;
  std::mt19937 random{7};
  ucontext_t scheduler;
};

Block *Block::current = nullptr;

void Block::enter() {
  Block &block = *current;
  block.body();
  block.wait(State::Done);
}

/// Once all lanes are there, each gets the value of the lane whose number differs by `offset`.
void Block::shuffleWarp(unsigned first) {
  uint32_t values[kWarp];
  for (unsigned lane = 0; lane < kWarp; ++lane) {
    if (fibers[first + lane].state != State::AtShuffle)
      return;
    values[lane] = fibers[first + lane].value;
  }
  for (unsigned lane = 0; lane < kWarp; ++lane) {
    fibers[first + lane].value = values[lane ^ fibers[first + lane].offset];
    fibers[first + lane].state = State::Ready;
  }
}

bool Block::releaseBarrier() {
  if (!llvm::all_of(fibers, [](const Fiber &fiber) { return fiber.state == State::AtBarrier; }))
    return false;
  for (Fiber &fiber : fibers)
    fiber.state = State::Ready;
  if (order == ThreadOrder::Shuffled)
    std::shuffle(sequence.begin(), sequence.end(), random);
  return true;
}

void Block::run(unsigned number, const std::function<void()> &work) {
  current = this;
  block = number;
  body = work;
  std::fill(shared.begin(), shared.end(), char(0xff)); // not a number, in each type
  for (Fiber &fiber : fibers) {
    fiber.state = State::Ready;
    getcontext(&fiber.context);
    fiber.context.uc_stack.ss_sp = fiber.stack.data();
    fiber.context.uc_stack.ss_size = fiber.stack.size();
    fiber.context.uc_link = nullptr;
    makecontext(&fiber.context, &Block::enter, 0);
  }
  for (;;) {
    auto next = llvm::find_if(sequence, [&](unsigned t) { return fibers[t].state == State::Ready; });
    if (next == sequence.end()) {
      if (llvm::all_of(fibers, [](const Fiber &fiber) { return fiber.state == State::Done; }))
        return;
      if (releaseBarrier())
        continue;
      ADD_FAILURE() << "threads wait for ones that have ended, or at different places";
      return;
    }
    thread = *next;
    swapcontext(&scheduler, &fibers[thread].context);
    if (fibers[thread].state == State::AtShuffle)
      shuffleWarp(thread / kWarp * kWarp);
  }
}

// What the code calls.
int32_t threadNumber() { return static_cast<int32_t>(Block::current->thread); }
int32_t blockNumber() { return static_cast<int32_t>(Block::current->block); }
void barrier() { Block::current->waitForBlock(); }
uint32_t shuffle(uint32_t value, uint32_t offset) { return Block::current->exchange(value, offset); }
char *sharedMemory() { return Block::current->sharedMemory(); }

} // namespace

//===--------------------------------------------------------------------===//
// Code
//===--------------------------------------------------------------------===//

std::optional<unsigned> EmulatedKernel::removed;

/// Replaces the ops of GPU threads by calls. Returns how many barriers there were.
static unsigned lowerGpuToCalls(ModuleOp module, std::optional<unsigned> removed) {
  MLIRContext *context = module.getContext();
  OpBuilder top = OpBuilder::atBlockBegin(module.getBody());
  Type i32 = top.getI32Type(), pointer = LLVM::LLVMPointerType::get(context), nothing = LLVM::LLVMVoidType::get(context);
  auto declare = [&](StringRef name, Type result, ArrayRef<Type> parameters) {
    return LLVM::LLVMFuncOp::create(top, module.getLoc(), name, LLVM::LLVMFunctionType::get(result, parameters));
  };
  auto thread = declare("emulated_thread", i32, {}), block = declare("emulated_block", i32, {}),
       wait = declare("emulated_barrier", nothing, {}), exchange = declare("emulated_shuffle", i32, {i32, i32}),
       shared = declare("emulated_shared", pointer, {});
  unsigned barriers = 0;
  SmallVector<Operation *> ops;
  module.walk([&](Operation *op) {
    if (isa<gpu::GPUDialect>(op->getDialect()) || isa<LLVM::AddrSpaceCastOp>(op))
      ops.push_back(op);
  });
  for (Operation *op : ops) {
    OpBuilder b(op);
    Location loc = op->getLoc();
    auto call = [&](LLVM::LLVMFuncOp function, ValueRange operands) { return LLVM::CallOp::create(b, loc, function, operands); };
    if (isa<gpu::BarrierOp>(op)) {
      if (barriers++ != removed)
        call(wait, {});
    } else if (auto exchanged = dyn_cast<gpu::ShuffleOp>(op)) {
      Type type = exchanged.getValue().getType();
      Value word = type == i32 ? exchanged.getValue() : LLVM::BitcastOp::create(b, loc, i32, exchanged.getValue()).getResult();
      Value result = call(exchange, {word, exchanged.getOffset()}).getResult();
      exchanged.getShuffleResult().replaceAllUsesWith(type == i32 ? result : LLVM::BitcastOp::create(b, loc, type, result).getResult());
    } else if (isa<LLVM::AddrSpaceCastOp>(op)) {
      op->replaceAllUsesWith(call(shared, {}));
    } else {
      Value number = call(isa<gpu::ThreadIdOp>(op) ? thread : block, {}).getResult();
      op->getResult(0).replaceAllUsesWith(arith::IndexCastOp::create(b, loc, b.getIndexType(), number));
    }
    op->erase();
  }
  module.walk([](LLVM::AddressOfOp op) { op.erase(); });
  for (auto global : llvm::make_early_inc_range(module.getOps<LLVM::GlobalOp>()))
    if (global.getSymName() == codegen::kSharedMemory)
      global.erase();
  return barriers;
}

static LogicalResult lowerToLlvm(ModuleOp module) {
  MLIRContext *context = module.getContext();
  RewritePatternSet approximations(context);
  codegen::populateMathApproximations(approximations);
  arith::populateExpandBFloat16Patterns(approximations);
  if (failed(applyPatternsGreedily(module, std::move(approximations))))
    return failure();
  LLVMTypeConverter converter(context);
  RewritePatternSet patterns(context);
  populateSCFToControlFlowConversionPatterns(patterns);
  cf::populateControlFlowToLLVMConversionPatterns(converter, patterns);
  arith::populateArithToLLVMConversionPatterns(converter, patterns);
  populateMathToLLVMConversionPatterns(converter, patterns);
  populateVectorToLLVMConversionPatterns(converter, patterns);
  vector::populateVectorBroadcastLoweringPatterns(patterns);
  LLVMConversionTarget target(*context);
  target.addLegalOp<ModuleOp>();
  return applyPartialConversion(module, target, std::move(patterns));
}

EmulatedKernel::EmulatedKernel(func::FuncOp function) {
  auto form = codegen::selectForm(function);
  if (!form) {
    ADD_FAILURE() << llvm::toString(form.takeError());
    return;
  }
  kernel = (*form)->description();
  DialectRegistry registry;
  registerBuiltinDialectTranslation(registry);
  registerLLVMDialectTranslation(registry);
  MLIRContext context(registry);
  context.loadDialect<arith::ArithDialect, math::MathDialect, scf::SCFDialect, cf::ControlFlowDialect, vector::VectorDialect,
                      LLVM::LLVMDialect, gpu::GPUDialect>();
  OwningOpRef<ModuleOp> module = ModuleOp::create(UnknownLoc::get(&context));
  launches = codegen::emitGpuStages(*module, *(*form)->teamForm());
  compile(*module);
}

void EmulatedKernel::compile(ModuleOp module) {
  barrierCount = lowerGpuToCalls(module, removed);
  ASSERT_TRUE(succeeded(lowerToLlvm(module)));
  llvm::InitializeNativeTarget();
  llvm::InitializeNativeTargetAsmPrinter();
  auto llvmContext = std::make_unique<llvm::LLVMContext>();
  std::unique_ptr<llvm::Module> code = translateModuleToLLVMIR(module, *llvmContext);
  ASSERT_TRUE(code);
  auto made = llvm::orc::LLJITBuilder().create();
  ASSERT_TRUE(static_cast<bool>(made)) << llvm::toString(made.takeError());
  jit = std::move(*made);
  llvm::orc::SymbolMap symbols;
  auto define = [&](const char *name, auto *function) {
    symbols[jit->mangleAndIntern(name)] = {llvm::orc::ExecutorAddr::fromPtr(function), llvm::JITSymbolFlags::Exported};
  };
  define("emulated_thread", &threadNumber);
  define("emulated_block", &blockNumber);
  define("emulated_barrier", &barrier);
  define("emulated_shuffle", &shuffle);
  define("emulated_shared", &sharedMemory);
  llvm::cantFail(jit->getMainJITDylib().define(llvm::orc::absoluteSymbols(std::move(symbols))));
  code->setDataLayout(jit->getDataLayout());
  llvm::cantFail(jit->addIRModule(llvm::orc::ThreadSafeModule(std::move(code), std::move(llvmContext))));
}

/// Calls a function of pointers alone.
static void callWith(void *function, ArrayRef<void *> a) {
  auto call = [&](auto... pointers) { reinterpret_cast<void (*)(decltype(pointers)...)>(function)(pointers...); };
  void *all[12] = {};
  ASSERT_LE(a.size(), 12u);
  llvm::copy(a, all); // more arguments than parameters do no harm here
  call(all[0], all[1], all[2], all[3], all[4], all[5], all[6], all[7], all[8], all[9], all[10], all[11]);
}

std::vector<Storage> EmulatedKernel::run(const std::vector<Storage> &inputs, TypeRange resultTypes, ThreadOrder order) {
  std::vector<Storage> outputs, scratch;
  for (Type type : resultTypes)
    outputs.emplace_back(cast<RankedTensorType>(type).getNumElements() * std::max<int64_t>(1, getElementTypeOrSelf(type).getIntOrFloatBitWidth() / 8));
  for (int64_t bytes : kernel.scratchBytes)
    scratch.emplace_back(bytes);
  for (auto [stage, launch] : llvm::zip_equal(kernel.stages, launches)) {
    if (!jit)
      return outputs;
    auto function = jit->lookup(stage.symbol);
    if (!function) {
      ADD_FAILURE() << llvm::toString(function.takeError());
      return outputs;
    }
    std::vector<void *> pointers;
    for (const codegen::StageOperand &operand : stage.operands)
      pointers.push_back((operand.kind == codegen::OperandKind::Input    ? inputs
                          : operand.kind == codegen::OperandKind::Output ? outputs
                                                                         : scratch)[operand.index]
                             .data.get());
    void *array = pointers.data();
    Block block(static_cast<unsigned>(launch.threads), launch.sharedBytes, order);
    for (int64_t w = 0; w < stage.workgroups; ++w)
      block.run(static_cast<unsigned>(w), [&] {
        callWith(function->toPtr<void *>(), launch.argumentArray ? ArrayRef<void *>(array) : ArrayRef<void *>(pointers));
      });
  }
  return outputs;
}

} // namespace llmc::test
