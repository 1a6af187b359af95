//===- HostValues.h - stored bytes as values of the interpreter -*- C++ -*-===//
#ifndef LLMC_TOOLS_LLMC_HOSTVALUES_H
#define LLMC_TOOLS_LLMC_HOSTVALUES_H

#include "dialects/interfaces/HostTensor.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "runtime/executor/Executor.h"
#include "runtime/io/Numbers.h"
#include "runtime/support/File.h"
#include "runtime/support/Status.h"
#include <map>
#include <optional>

namespace llmc::tool {

/// The elements of a stored tensor of `type`; nothing if the number of bytes is another, or for element types that no
/// model here holds.
std::optional<HostTensor> fromBytes(runtime::Bytes bytes, mlir::RankedTensorType type);

/// The type of a stored element; nothing for those that no model here holds.
std::optional<mlir::Type> elementTypeOf(runtime::fb::DataType type, mlir::MLIRContext *context);

/// The elements of `value` as stored in `type`, in `scratch`.
runtime::Bytes toBytes(const HostTensor &value, runtime::fb::DataType type, std::vector<uint8_t> &scratch);

/// What buffer `index` of `executor` holds, as bytes if its element type is none of those above.
HostTensor valueOf(const runtime::Executor &executor, uint32_t index, mlir::MLIRContext *context);

/// The average gradient of a parameter after @accumulate, before clipping; nothing for what is not trained.
std::optional<HostTensor> averageGradient(const runtime::Executor &executor, const runtime::fb::Parameter &parameter, mlir::MLIRContext *context);

/// The value of argument `index` of `function` from the file below `folder` that its `train.source` names. Errors:
/// BadInput, with the argument's name.
runtime::Result<HostTensor> readParameter(mlir::func::FuncOp function, unsigned index, llvm::StringRef folder);

/// The values of a module's parameters that the recipe's `weights`, a path below `folder`, hold. Errors: BadInput, all problems at
/// once, for those of another shape or type; what is missing is left to the caller.
runtime::Result<std::map<std::string, HostTensor>> readWeights(mlir::ModuleOp module, llvm::StringRef folder, llvm::StringRef weights);

/// A value of `shape` for input `index` of a function, where there is no data: ids below the input's limit, an ignored one now
/// and then but never in front of a row; ones where there is no limit, as in masks; reals in [-1, 1). A function of the seed
/// and `name`.
HostTensor makeUpInput(mlir::func::FuncOp function, unsigned index, llvm::ArrayRef<int64_t> shape, uint64_t seed, const std::string &name);

} // namespace llmc::tool

#endif // LLMC_TOOLS_LLMC_HOSTVALUES_H
