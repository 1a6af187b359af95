//===- KernelForm.cpp - which generator a kernel function goes to -------------===//
#include "compiler/codegen/KernelForm.h"
#include "compiler/codegen/TeamEmitter.h"
#include "compiler/codegen/attention/AttentionForm.h"
#include "compiler/codegen/cpu/CpuTeam.h"

using namespace mlir;

namespace llmc::codegen {
namespace {

class FusedForm : public KernelForm {
public:
  explicit FusedForm(StagedKernel staged_) : staged(std::move(staged_)) { kernel = staged.description; }
  void emitCpu(Code &code, size_t index, ArrayRef<Value> operands, Value workgroup) const override {
    CpuTeam team;
    emitStage(staged, index, team, code, operands, workgroup);
  }

private:
  StagedKernel staged;
};

} // namespace

llvm::Expected<std::unique_ptr<KernelForm>> selectForm(func::FuncOp function) {
  auto attention = attention::createAttentionForm(function);
  if (!attention || *attention)
    return attention;
  auto graph = buildGraph(function);
  if (!graph)
    return graph.takeError();
  auto staged = planStages(std::move(*graph));
  if (!staged)
    return staged.takeError();
  return std::make_unique<FusedForm>(std::move(*staged));
}

llvm::Expected<GeneratedKernel> describeKernel(func::FuncOp function) {
  auto form = selectForm(function);
  if (!form)
    return form.takeError();
  return (*form)->description();
}

} // namespace llmc::codegen
