//===- ViewSteps.h - `train.view` as steps of the plan file -----*- C++ -*-===//
#ifndef LLMC_COMPILER_TARGET_VIEWSTEPS_H
#define LLMC_COMPILER_TARGET_VIEWSTEPS_H

#include "mlir/IR/BuiltinAttributes.h"
#include "runtime/plan/Plan_generated.h"
#include <memory>
#include <vector>

namespace llmc::target {

/// The steps of a `train.view` that begins at a tensor of `logical` shape.
std::vector<std::unique_ptr<plan::fb::ViewT>> viewSteps(mlir::ArrayAttr view, llvm::ArrayRef<int64_t> logical);

} // namespace llmc::target

#endif // LLMC_COMPILER_TARGET_VIEWSTEPS_H
