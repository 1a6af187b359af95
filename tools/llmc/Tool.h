//===- Tool.h - what the subcommands of llmc share --------------*- C++ -*-===//
#ifndef LLMC_TOOLS_LLMC_TOOL_H
#define LLMC_TOOLS_LLMC_TOOL_H

#include "compiler/driver/Frontend.h"
#include "compiler/driver/Pipeline.h"
#include "runtime/support/FileRoles.h"
#include "llvm/Support/raw_ostream.h"

namespace llmc::tool {

enum ExitCode { kDone = 0, kWrongUse = 2, kBadInput = 3, kUnsupported = 4, kDoesNotFit = 5, kNumbersDiffer = 17 };

/// Prints problems to stderr; the exit code of the first, or kDone.
inline int report(const Problems &problems) {
  for (const Problem &problem : problems)
    llvm::errs() << problem.text();
  return problems.empty() ? kDone : problems.front().exitCode;
}

inline int fail(ExitCode code, const llvm::Twine &message, const llvm::Twine &hint = "") {
  llvm::errs() << "error: " << message << "\n";
  if (std::string text = hint.str(); !text.empty())
    llvm::errs() << "hint: " << text << "\n";
  return code;
}

inline int failWith(const runtime::Status &status) {
  return fail(static_cast<ExitCode>(status.code), status.message, status.hint);
}

/// A recipe may also come from a pipe that the shell has opened, as in -r <(...).
inline void readsRecipe(runtime::FileRoles &roles, const std::string &recipe) {
  if (!llvm::StringRef(recipe).starts_with("/dev/"))
    roles.reads(recipe, "the recipe");
}

/// The files of a loaded model beside the model itself: outputs must not be one of them.
int checkLoadedFiles(runtime::FileRoles &roles, const driver::LoadedModel &loaded);

using LoadedShapes = llvm::StringMap<llvm::SmallVector<int64_t>>;

/// The copy of a model that says how it is sharded.
struct ShardedModelOptions {
  std::string output; // empty: none
  std::string configuration;
};

struct CompileOptions {
  std::string model, recipe; // without a recipe, the model is IR of level pipeline.from
  driver::PipelineOptions pipeline;
  std::string modelFolder; // of IR: where the files of its parameters lie; empty: beside the IR
  std::string output;
  bool writePlan = false; // else prints IR
  bool forecast = false;  // prints what the plan would need, without generating it
  bool asJson = false;    // the forecast
  bool printRecipe = false; // nothing else
  ShardedModelOptions sharded;
};

struct InterpretOptions {
  std::string model, recipe, data, metrics;
  int64_t steps = 1;
  bool f64 = false;
  std::vector<std::string> saveGradients, saveWeights; // STEP:FILE
  bool overwrite = false; // metrics
};

struct ExportOptions {
  std::string checkpoint, model, output; // the output is named .onnx or .safetensors
};

struct VerifyOptions {
  std::string model, recipe,
      data; // without a recipe, the model is IR of level `from`; without data, inputs are made up
  driver::Level from = driver::Level::Imported;
  int64_t steps = 2;
  std::string shrink = "auto"; // auto | no | blocks | sizes
};

/// `llmc check`, `llmc compile`, `llmc explain`, `llmc recipe`, `llmc export`, `llmc interpret`, `llmc verify`; each
/// returns the exit code.
int check(llvm::StringRef model, llvm::StringRef recipe, mlir::MLIRContext &context);
int compile(const CompileOptions &options, mlir::MLIRContext &context);
int explain(llvm::StringRef plan, llvm::StringRef profile, bool json);
int explainRecipe(llvm::StringRef key, bool markdown);
int exportCheckpoint(const ExportOptions &options);
int interpret(const InterpretOptions &options, mlir::MLIRContext &context);
int verify(const VerifyOptions &options, mlir::MLIRContext &context);

/// Writes the model of `modelPath` with the shardings of `module`, which it became at level `sharded`, in the format's own
/// fields. Returns the exit code.
int writeShardedModel(mlir::ModuleOp module, const std::string &modelPath, const LoadedShapes &shapes,
                      const ShardedModelOptions &options);

/// What `llmc verify` does where the recipe has a mesh: trains `step` (a module of level `step`, which stays as it is)
/// for `steps` steps on one rank and on the simulated ranks of the mesh, in f64, on made-up inputs, and compares.
/// `folder` holds the files of its parameters. Returns the exit code.
int verifyRanks(mlir::ModuleOp step, llvm::StringRef folder, int64_t steps);

/// After that: the same with plans, executed by threads as ranks and by one rank, in f32.
int verifyExecutedRanks(mlir::ModuleOp step, llvm::StringRef folder, int64_t steps);

} // namespace llmc::tool

#endif // LLMC_TOOLS_LLMC_TOOL_H
