//===- VerifyLevel.cpp - verify-level --------------------------------------------===//
#include "dialects/dist/Dist.h"
#include "dialects/nn/Nn.h"
#include "dialects/train/Train.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "passes/verify/Passes.h"
#include "passes/verify/VerifyPlan.h"
#include "passes/verify/VerifyShardings.h"
#include <map>

namespace llmc::verify {
#define GEN_PASS_DEF_VERIFYLEVEL
#include "passes/verify/Passes.h.inc"
} // namespace llmc::verify

using namespace mlir;
using namespace llmc;

namespace {

bool isTensorLevelDialect(Operation *op) {
  return isa_and_nonnull<nn::NnDialect, arith::ArithDialect, math::MathDialect, tensor::TensorDialect>(
      op->getDialect());
}

struct VerifyLevel : verify::impl::VerifyLevelBase<VerifyLevel> {
  using VerifyLevelBase::VerifyLevelBase;

  void runOnOperation() override {
    bool valid = true;
    if (level == "imported" || level == "model")
      valid = verifyForward();
    else if (level == "step" || level == "sharded" || level == "scheduled" || level == "local")
      valid = verifyStep();
    else if (level == "kernels")
      valid = verifyKernels();
    else if (level == "plan")
      valid = verify::verifyPlan(getOperation());
    if (valid && (level == "sharded" || level == "scheduled"))
      valid = verify::verifyShardings(getOperation());
    if (!valid)
      signalPassFailure();
  }

  bool illegal(Operation *op, StringRef culprit) {
    InFlightDiagnostic error = op->emitError() << "op `" << op->getName() << "` is illegal at level `" << level << "`";
    if (!culprit.empty())
      error.attachNote() << "pass `" << culprit << "` should have removed it";
    return false;
  }

  bool verifyRoles(func::FuncOp function) {
    bool valid = true;
    for (unsigned i = 0; i < function.getNumArguments(); ++i) {
      auto type = dyn_cast<RankedTensorType>(function.getArgumentTypes()[i]);
      if (!type || !type.hasStaticShape())
        valid = (function.emitError() << "argument " << i << " has no static shape", false);
      if (train::argumentString(function, i, train::kRole).empty() ||
          train::argumentString(function, i, train::kName).empty())
        valid = (function.emitError() << "argument " << i << " has no `train.role` or `train.name`", false);
    }
    for (unsigned i = 0; i < function.getNumResults(); ++i)
      if (train::resultString(function, i, train::kName).empty())
        valid = (function.emitError() << "result " << i << " has no `train.name`", false);
    return valid;
  }

  /// Levels imported and model: @forward, perhaps @predict, of tensor ops with static shapes.
  bool verifyForward() {
    auto forward = getOperation().lookupSymbol<func::FuncOp>(train::kForward);
    if (!forward)
      return (getOperation().emitError() << "no function @forward at level `" << level << "`", false);
    bool valid = true;
    for (auto function : getOperation().getOps<func::FuncOp>()) {
      valid &= verifyRoles(function);
      for (Operation &op : function.getBody().front().without_terminator())
        if (!isTensorLevelDialect(&op))
          valid = illegal(&op, isa<train::ValueAndGradOp>(op) ? "autodiff-expand" : "");
    }
    return valid;
  }

  /// Levels step to local: the functions of a step, pure, state in = state out.
  bool verifyStep() {
    bool valid = true;
    for (StringRef name : {train::kAccumulate, train::kUpdate, train::kEvaluate})
      if (!getOperation().lookupSymbol(name))
        valid = (getOperation().emitError() << "no function @" << name << " at level `" << level << "`", false);
    for (auto function : getOperation().getOps<func::FuncOp>()) {
      valid &= verifyRoles(function);
      for (Operation &op : function.getBody().front().without_terminator()) {
        if (isa<train::ValueAndGradOp>(op))
          valid = illegal(&op, "autodiff-expand");
        else if (isa<dist::ReshardOp, nn::FlattenPartsOp, nn::UnflattenPartsOp>(op)
                     ? level == "step" || level == "local"
                     : !isTensorLevelDialect(&op) && !(level == "local" && isa<dist::DistDialect>(op.getDialect())))
          valid = illegal(&op, !isa<train::TrainDialect>(op.getDialect()) && level == "local" ? "sharding-partition" : "");
      }
      valid &= verifyState(function);
    }
    return verifySharedState() && valid;
  }

  /// Functions that share state by name and role agree on its type.
  bool verifySharedState() {
    bool valid = true;
    std::map<std::pair<StringRef, StringRef>, Type> types;
    for (auto function : getOperation().getOps<func::FuncOp>())
      for (unsigned i = 0; i < function.getNumArguments() + function.getNumResults(); ++i) {
        bool isArgument = i < function.getNumArguments();
        unsigned at = isArgument ? i : i - function.getNumArguments();
        StringRef role = isArgument ? train::argumentString(function, at, train::kRole)
                                    : train::resultString(function, at, train::kRole);
        StringRef name = isArgument ? train::argumentString(function, at, train::kName)
                                    : train::resultString(function, at, train::kName);
        Type type = isArgument ? function.getArgumentTypes()[at] : function.getResultTypes()[at];
        if (role == train::kInput || role == train::kOutput || role == train::kPosition || role == train::kConstant)
          continue;
        Type known = types.try_emplace({role, name}, type).first->second;
        if (known != type)
          valid = (function.emitError() << "state '" << name << "' is " << type << " here, and " << known
                                        << " in another function",
                   false);
      }
    return valid;
  }

  bool verifyState(func::FuncOp function) {
    bool valid = true;
    train::ArgumentTable arguments(function);
    for (unsigned i = 0; i < function.getNumResults(); ++i) {
      StringRef name = train::resultString(function, i, train::kName),
                role = train::resultString(function, i, train::kRole);
      int64_t argument = arguments.find(name, role);
      if (argument >= 0 && function.getArgumentTypes()[argument] != function.getResultTypes()[i])
        valid =
            (function.emitError() << "state '" << name << "' changes its type from "
                                  << function.getArgumentTypes()[argument] << " to " << function.getResultTypes()[i],
             false);
    }
    return valid;
  }

  /// Level kernels: outer functions hold calls, collectives, constants and views only.
  bool verifyKernels() {
    bool valid = true;
    for (auto function : getOperation().getOps<func::FuncOp>()) {
      if (function.isPrivate())
        continue;
      for (Operation &op : function.getBody().front().without_terminator())
        if (!isa<func::CallOp, arith::ConstantOp, tensor::CollapseShapeOp, tensor::ExpandShapeOp,
                 tensor::ExtractSliceOp, tensor::ConcatOp, dist::AllReduceOp, dist::AllGatherOp,
                 dist::ReduceScatterOp, dist::PartOp, dist::IndexOp>(op))
          valid = illegal(&op, "lowering-outline-kernels");
    }
    return valid;
  }
};

} // namespace
