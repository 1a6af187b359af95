//===- AttentionForm.cpp - kernels of attention and its backward op -----------===//
#include "compiler/codegen/attention/AttentionForm.h"
#include "compiler/codegen/attention/Plan.h"

using namespace mlir;

namespace llmc::codegen::attention {
namespace {

class AttentionForm : public KernelForm {
public:
  explicit AttentionForm(Plan plan_) : plan(std::move(plan_)) { kernel = plan.description; }
  void emitCpu(Code &code, size_t index, ArrayRef<Value> operands, Value workgroup) const override {
    TileCode tile(code);
    StageCode stage{plan, plan.problem, tile, code, kernel.stages[index], operands};
    if (!plan.problem.backward)
      emitForward(stage, workgroup);
    else if (index == 0)
      emitDelta(stage, workgroup);
    else if (index == 1)
      emitBackward(stage, workgroup);
    else
      emitQuerySum(stage, workgroup);
  }

private:
  Plan plan;
};

} // namespace

llvm::Expected<std::unique_ptr<KernelForm>> createAttentionForm(func::FuncOp function) {
  if (!holdsAttention(function))
    return nullptr;
  auto problem = readProblem(function);
  if (!problem)
    return problem.takeError();
  return std::make_unique<AttentionForm>(makePlan(std::move(*problem)));
}

} // namespace llmc::codegen::attention
