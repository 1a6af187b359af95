//===- StepBuilder.h - functions of a step, argument by argument -*- C++ -*-===//
#ifndef LLMC_PASSES_TRAINING_STEPBUILDER_H
#define LLMC_PASSES_TRAINING_STEPBUILDER_H

#include "dialects/train/Recipe.h"
#include "dialects/train/Train.h"
#include "mlir/IR/Builders.h"

namespace llmc::training {

/// One trainable parameter: its type, whether it gets weight decay, and where the model reads it first.
struct Trainable {
  std::string name;
  mlir::RankedTensorType type;
  bool decay;
  mlir::Location loc;
};

/// A function under construction: arguments and results are added one by one with their attributes.
class StepFunction {
public:
  StepFunction(mlir::ModuleOp module, llvm::StringRef name);
  mlir::Value addArgument(mlir::Type type, mlir::DictionaryAttr attributes, mlir::Location at);
  mlir::Value addArgument(mlir::Type type, llvm::StringRef name, llvm::StringRef role) { return addArgument(type, name, role, loc); }
  mlir::Value addArgument(mlir::Type type, llvm::StringRef name, llvm::StringRef role, mlir::Location at);
  void addResult(mlir::Value value, llvm::StringRef name, llvm::StringRef role);
  /// Writes the terminator and the function's type.
  mlir::func::FuncOp finish();

  mlir::OpBuilder builder;
  mlir::Location loc;

private:
  mlir::func::FuncOp function;
  llvm::SmallVector<mlir::DictionaryAttr> argumentAttrs, resultAttrs;
  llvm::SmallVector<mlir::Value> results;
};

/// Builds @update for `trainables`, after @accumulate; `accumulate`: more than one micro-batch a step, so accumulators are zeroed.
mlir::func::FuncOp buildUpdate(mlir::ModuleOp module, const train::Recipe &recipe, llvm::ArrayRef<Trainable> trainables,
                               bool accumulate);

} // namespace llmc::training

#endif // LLMC_PASSES_TRAINING_STEPBUILDER_H
