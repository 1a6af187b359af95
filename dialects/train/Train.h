//===- Train.h - the train dialect and its argument roles -------*- C++ -*-===//
#ifndef LLMC_DIALECTS_TRAIN_TRAIN_H
#define LLMC_DIALECTS_TRAIN_TRAIN_H

#include "mlir/Bytecode/BytecodeOpInterface.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/BuiltinTypes.h"
#include "mlir/IR/Dialect.h"
#include "mlir/IR/OpDefinition.h"
#include "mlir/IR/OpImplementation.h"
#include "mlir/IR/SymbolTable.h"
#include "mlir/Interfaces/SideEffectInterfaces.h"
#include "llvm/ADT/StringMap.h"

#include "dialects/train/TrainDialect.h.inc"
#define GET_OP_CLASSES
#include "dialects/train/TrainOps.h.inc"

namespace llmc::train {

// Attribute names on function arguments and results.
inline constexpr llvm::StringLiteral kName = "train.name";       // StringAttr
inline constexpr llvm::StringLiteral kRole = "train.role";       // StringAttr, one of the roles below
inline constexpr llvm::StringLiteral kSource = "train.source";   // {path, offset, bytes}: initial value in a file
inline constexpr llvm::StringLiteral kValue = "train.value";     // ElementsAttr: value of a constant
inline constexpr llvm::StringLiteral kAliases = "train.aliases"; // ArrayAttr of other names of a tied parameter
inline constexpr llvm::StringLiteral kFrozen = "train.frozen";   // UnitAttr on a param that the model's module does not train
inline constexpr llvm::StringLiteral kShape =
    "train.shape"; // DenseI64ArrayAttr on a param, its gradient or moments: the logical shape, if another
inline constexpr llvm::StringLiteral kView =
    "train.view"; // ArrayAttr of {reshape = SHAPE}, {permute = DIMS} and {pad = SHAPE}: how the logical shape becomes the argument's, step by step
inline constexpr llvm::StringLiteral kDecay = "train.decay";     // UnitAttr on params that get weight decay
inline constexpr llvm::StringLiteral kLimit = "train.limit";     // IntegerAttr on an input: ids are below it
inline constexpr llvm::StringLiteral kIgnored = "train.ignored"; // IntegerAttr on an input: the one other value allowed
inline constexpr llvm::StringLiteral kAxes =
    "train.axes"; // DenseI64ArrayAttr on a reshape or slice just imported: the dimensions that it makes, drops or cuts, increasing
inline constexpr llvm::StringLiteral kKnownNumbers = "train.known_numbers"; // UnitAttr on a function: none follows the batch unsaid
inline constexpr llvm::StringLiteral kFixedBatch = "train.fixed_batch";     // StringAttr on one: why only the exported size is right
inline constexpr llvm::StringLiteral kRecipe = "train.recipe";   // DictionaryAttr on the module
inline constexpr llvm::StringLiteral kLeftOut = "train.left_out"; // ArrayAttr of lines on the module: what shrinking it left out
inline constexpr llvm::StringLiteral kMistake = "train.mistake";  // UnitAttr on the module: a pass failed over the recipe, not the model
inline constexpr llvm::StringLiteral kModel = "train.model";     // StringAttr on the module: the model's file name

// Roles. A result with the name and role of an argument is the argument's new value (state in = state out).
inline constexpr llvm::StringLiteral kInput = "input";             // filled by the data loader
inline constexpr llvm::StringLiteral kParam = "param";             // trained (or frozen) weight
inline constexpr llvm::StringLiteral kBuffer = "buffer";           // weight that is not trained
inline constexpr llvm::StringLiteral kConstant = "constant";       // value known at compile time
inline constexpr llvm::StringLiteral kGradient = "gradient";       // gradient of param NAME, summed over the step
inline constexpr llvm::StringLiteral kAccumulator = "accumulator"; // loss_sum and weight, summed over the step
inline constexpr llvm::StringLiteral kMoment = "moment";           // optimizer state, named STATE.PARAM
inline constexpr llvm::StringLiteral kScalar = "scalar";           // step, lr: state set by name
inline constexpr llvm::StringLiteral kPosition = "position";       // [step, first sample of the micro-batch]
inline constexpr llvm::StringLiteral kOutput = "output";           // read by the runtime after the segment

/// The string attribute `key` of an argument or result; empty if absent.
llvm::StringRef argumentString(mlir::func::FuncOp function, unsigned index, llvm::StringRef key);
llvm::StringRef resultString(mlir::func::FuncOp function, unsigned index, llvm::StringRef key);

/// The index of the argument or result with this name and role (any role if empty); -1 if there is none.
int64_t findArgument(mlir::func::FuncOp function, llvm::StringRef name, llvm::StringRef role = "");
int64_t findResult(mlir::func::FuncOp function, llvm::StringRef name, llvm::StringRef role = "");

/// All names of a parameter: its own, then those it is tied to.
std::vector<std::string> namesOf(mlir::func::FuncOp function, unsigned index);
/// Dimensions that a parameter, or its gradient or moments, has in the model.
int64_t logicalRank(mlir::func::FuncOp function, unsigned index);

/// The arguments of a function by name and role, for many look-ups.
class ArgumentTable {
public:
  explicit ArgumentTable(mlir::func::FuncOp function);
  /// The index of the argument with this name and role; -1 if there is none.
  int64_t find(llvm::StringRef name, llvm::StringRef role) const;

private:
  llvm::StringMap<int64_t> indices;
};

/// An attribute dictionary {train.name, train.role}.
mlir::DictionaryAttr nameAndRole(mlir::MLIRContext *context, llvm::StringRef name, llvm::StringRef role);

// Names of the functions of a module.
inline constexpr llvm::StringLiteral kForward = "forward";
inline constexpr llvm::StringLiteral kAccumulate = "accumulate";
inline constexpr llvm::StringLiteral kUpdate = "update";
inline constexpr llvm::StringLiteral kEvaluate = "evaluate";
inline constexpr llvm::StringLiteral kPredict = "predict";

} // namespace llmc::train

#endif // LLMC_DIALECTS_TRAIN_TRAIN_H
