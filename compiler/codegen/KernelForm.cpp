//===- KernelForm.cpp - which generator a kernel function goes to -------------===//
#include "compiler/codegen/KernelForm.h"
#include "compiler/codegen/fused/TeamEmitter.h"
#include "compiler/codegen/attention/AttentionForm.h"
#include "compiler/codegen/cpu/CpuTeam.h"
#include "compiler/codegen/forms/Forms.h"

using namespace mlir;

namespace llmc::codegen {
namespace {

class FusedForm : public TeamForm {
public:
  explicit FusedForm(StagedKernel staged_) : staged(std::move(staged_)) { kernel = staged.description; }
  void emit(Team &team, Code &code, size_t index, ArrayRef<Value> operands, Value workgroup) const override {
    emitStage(staged, index, team, code, operands, workgroup);
  }
  int64_t walkLength(size_t index) const override { return staged.stages[index].columnBlock; }

private:
  StagedKernel staged;
};

} // namespace

void TeamForm::emitCpu(Code &code, size_t index, ArrayRef<Value> operands, Value workgroup) const {
  CpuTeam team;
  emit(team, code, index, operands, workgroup);
}

llvm::Expected<std::unique_ptr<KernelForm>> selectForm(func::FuncOp function) {
  for (auto make : {attention::createAttentionForm, makeOptimizerForm, makeSumOfSquaresForm, makeScatterForm, makeAlongForm,
                    makeTransposeForm}) {
    FormResult form = make(function);
    if (!form || *form)
      return form;
  }
  auto graph = buildGraph(function);
  if (!graph)
    return graph.takeError();
  auto staged = planStages(std::move(*graph));
  if (!staged) {
    FormResult form = makeReduceForm(function);
    if (form && !*form)
      return staged.takeError();
    llvm::consumeError(staged.takeError());
    return form;
  }
  return std::make_unique<FusedForm>(std::move(*staged));
}

llvm::Expected<GeneratedKernel> describeKernel(func::FuncOp function) {
  auto form = selectForm(function);
  if (!form)
    return form.takeError();
  return (*form)->description();
}

} // namespace llmc::codegen
