//===- Pipeline.h - the levels and the passes between them ------*- C++ -*-===//
#ifndef LLMC_COMPILER_DRIVER_PIPELINE_H
#define LLMC_COMPILER_DRIVER_PIPELINE_H

#include "mlir/IR/BuiltinOps.h"
#include "mlir/IR/DialectRegistry.h"
#include "mlir/Pass/PassManager.h"
#include <optional>
#include <string>

namespace llmc::driver {

enum class Level {
#define LLMC_LEVEL(NAME, TEXT) NAME,
#include "compiler/driver/Levels.def"
};

llvm::StringRef nameOf(Level level);
std::optional<Level> levelNamed(llvm::StringRef name);
/// All level names, comma-separated, for messages.
std::string allLevelNames();

/// Every dialect and external model that a module of any level may hold.
void registerAllDialects(mlir::DialectRegistry &registry);
/// Registers every pass for textual pipelines.
void registerAllPasses();

/// How a model is made smaller for `llmc verify`, at the end of level `model`: one of each repeated block; that, and
/// smaller sizes.
enum class Shrink { Nothing, Blocks, Sizes };

/// Adds the passes that lead from the level before `level` to `level`, and its verifier.
void buildLevel(mlir::OpPassManager &pm, Level level, Shrink shrink = Shrink::Nothing);

struct PipelineOptions {
  Level from = Level::Imported; // level of the module that is given
  Level to = Level::Kernels;
  Shrink shrink = Shrink::Nothing;
  std::string dumpDirectory;    // if not empty, one numbered file per level is written there
};

/// Runs the levels after `from` up to `to`. Diagnostics go to the context's handler.
mlir::LogicalResult runPipeline(mlir::ModuleOp module, const PipelineOptions &options);

} // namespace llmc::driver

#endif // LLMC_COMPILER_DRIVER_PIPELINE_H
