//===- Pipeline.cpp - the levels and the passes between them --------------------===//
#include "compiler/driver/Pipeline.h"
#include "compiler/codegen/Passes.h"
#include "dialects/dist/Dist.h"
#include "dialects/nn/Nn.h"
#include "dialects/plan/Plan.h"
#include "dialects/train/Train.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/Support/FileUtilities.h"
#include "mlir/Transforms/Passes.h"
#include "passes/autodiff/Passes.h"
#include "passes/import/Passes.h"
#include "passes/lowering/Passes.h"
#include "passes/remat/Passes.h"
#include "passes/scheduling/Passes.h"
#include "passes/sharding/Passes.h"
#include "passes/shrink/Passes.h"
#include "passes/training/Passes.h"
#include "passes/verify/Passes.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/FormatVariadic.h"
#include "llvm/Support/Path.h"
#include "llvm/Support/ToolOutputFile.h"
#include <thread>

using namespace mlir;

namespace llmc::driver {

static constexpr llvm::StringLiteral kNames[] = {
#define LLMC_LEVEL(NAME, TEXT) TEXT,
#include "compiler/driver/Levels.def"
};

StringRef nameOf(Level level) { return kNames[static_cast<size_t>(level)]; }

std::optional<Level> levelNamed(StringRef name) {
  for (auto [i, text] : llvm::enumerate(kNames))
    if (text == name)
      return static_cast<Level>(i);
  return std::nullopt;
}

std::string allLevelNames() { return llvm::join(ArrayRef<llvm::StringLiteral>(kNames), ", "); }

void registerAllDialects(DialectRegistry &registry) {
  registry.insert<arith::ArithDialect, func::FuncDialect, math::MathDialect, tensor::TensorDialect, dist::DistDialect,
                  nn::NnDialect, train::TrainDialect, plan::PlanDialect>();
  registerExternalModels(registry);
}

void registerAllPasses() {
  autodiff::registerAutodiffPasses();
  codegen::registerCodegenPasses();
  importing::registerImportPasses();
  lowering::registerLoweringPasses();
  scheduling::registerSchedulingPasses();
  sharding::registerShardingPasses();
  shrink::registerShrinkPasses();
  training::registerTrainingPasses();
  verify::registerVerifyPasses();
  remat::registerRematPasses();
  registerTransformsPasses();
}

static void cleanUp(OpPassManager &pm) {
  pm.addPass(createCanonicalizerPass());
  pm.addPass(createCSEPass());
}

// Transposes first, so that scores, values and rotations stand as [B, T, H, D] where they can; recomposition puts in
// what it needs, and the second time these cancel. Attention before its simplification, which is for imported attention
// too. The loss last: its hidden states come out of all that.
static void recompose(OpPassManager &pm) {
  cleanUp(pm);
  pm.addPass(importing::createImportSinkTransposes());
  pm.addPass(importing::createImportRecomposeNorms());
  pm.addPass(importing::createImportRecomposeActivations());
  pm.addPass(importing::createImportRecomposeRope());
  pm.addPass(importing::createImportRecomposeAttention());
  pm.addPass(importing::createImportSinkTransposes());
  pm.addPass(importing::createImportSimplifyAttention());
  pm.addPass(importing::createImportRecomposeLoss());
  cleanUp(pm);
}

// Outputs first, so that nothing is traced or recomposed that the loss does not need. The batch is traced while it has a size of
// its own: a batch of one becomes two at once, while reshapes still say which dimensions the file names, and gets its final size
// when the loss is known as a sum over samples. The loss is split into sum and weight before differentiation: gradients are
// summed over micro-batches, then divided.
static void buildModel(OpPassManager &pm, Shrink shrink) {
  pm.addPass(training::createTrainingSelectOutputs());
  pm.addPass(importing::createImportUnfoldBatch());
  cleanUp(pm);
  pm.addPass(importing::createImportCheckBatch());
  pm.addPass(importing::createImportKeepBatch());
  recompose(pm);
  pm.addPass(training::createTrainingNormalizeLoss());
  pm.addPass(importing::createImportResizeBatch());
  cleanUp(pm);
  pm.addPass(importing::createImportDropConstants());
  if (shrink != Shrink::Nothing)
    pm.addPass(shrink::createShrinkKeepBlocks()); // before what the sizes and names of all blocks decide
  if (shrink == Shrink::Sizes)
    pm.addPass(shrink::createShrinkSizes()); // before ids of inputs get their bounds
  pm.addPass(importing::createImportBoundInputs());
  pm.addPass(sharding::createShardingGroupFusedWeights());
  pm.addPass(sharding::createShardingPadVocabulary()); // knows from the bounds of inputs that no id is negative
}

static void buildStep(OpPassManager &pm) {
  pm.addPass(training::createTrainingBuildStep());
  pm.addPass(autodiff::createAutodiffExpand());
  pm.addPass(autodiff::createAutodiffDropStopGradients());
  pm.addPass(autodiff::createAutodiffMergeSlices());
  pm.addPass(createSymbolDCEPass());
  cleanUp(pm);
}

void buildLevel(OpPassManager &pm, Level level, Shrink shrink) {
  switch (level) {
  case Level::Imported:
    break;
  case Level::Model:
    buildModel(pm, shrink);
    break;
  case Level::Step:
    buildStep(pm);
    break;
  case Level::Scheduled:
    pm.addPass(remat::createRematRecomputeCheap()); // no CSE from here on: it would merge what is computed again
    break;
  case Level::Sharded: // nothing without a mesh
    pm.addPass(sharding::createShardingAnnotate());
    pm.addPass(sharding::createShardingSplitLoss()); // knows how weights are cut, and what it makes is yet to be sharded
    pm.addPass(sharding::createShardingFlattenState()); // what reads a parameter may not read it directly from here on
    pm.addPass(sharding::createShardingPropagate());
    break;
  case Level::Local:
    pm.addPass(sharding::createShardingPartition());
    pm.addPass(sharding::createShardingMergeCollectives());
    pm.addPass(sharding::createShardingScheduleCollectives()); // last: what is merged moves together
    break;
  case Level::Kernels:
    pm.addPass(lowering::createLoweringExpandLoss()); // makes contractions
    pm.addPass(lowering::createLoweringPrepareCollectives()); // makes transposes
    pm.addPass(lowering::createLoweringPrepareContractions());
    pm.addPass(lowering::createLoweringOrderSums()); // after transposes of products are final, before kernels are cut
    pm.addPass(lowering::createLoweringOutlineKernels());
    pm.addPass(codegen::createCodegenDescribeKernels()); // may split kernels
    pm.addPass(lowering::createLoweringSelectLibrary({.cores = std::max(1u, std::thread::hardware_concurrency())}));
    break;
  case Level::Plan:
    pm.addPass(scheduling::createSchedulingAssignBuffers());
    break;
  }
  verify::VerifyLevelOptions options;
  options.level = nameOf(level).str();
  pm.addPass(verify::createVerifyLevel(options));
}

static LogicalResult dump(ModuleOp module, StringRef directory, Level level) {
  SmallString<128> path(directory);
  llvm::sys::path::append(path, llvm::formatv("{0}-{1}.mlir", static_cast<int>(level), nameOf(level)).str());
  std::string message;
  if (std::error_code error = llvm::sys::fs::create_directories(directory))
    return module.emitError() << "cannot create " << directory << ": " << error.message();
  auto file = openOutputFile(path, &message);
  if (!file)
    return module.emitError() << message;
  module.print(file->os(), OpPrintingFlags().enableDebugInfo(true, false).useLocalScope());
  file->keep();
  return success();
}

LogicalResult runPipeline(ModuleOp module, const PipelineOptions &options) {
  for (int i = static_cast<int>(options.from); i <= static_cast<int>(options.to); ++i) {
    auto level = static_cast<Level>(i);
    PassManager pm(module.getContext());
    if (level == options.from) {
      verify::VerifyLevelOptions verifyOptions;
      verifyOptions.level = nameOf(level).str();
      pm.addPass(verify::createVerifyLevel(verifyOptions));
    } else {
      buildLevel(pm, level, options.shrink);
    }
    if (failed(pm.run(module)))
      return failure();
    if (!options.dumpDirectory.empty() && failed(dump(module, options.dumpDirectory, level)))
      return failure();
  }
  return success();
}

} // namespace llmc::driver
