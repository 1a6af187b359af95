//===- SumOfSquares.cpp - nn.sum_of_squares over many tensors -----------------===//
//
//   stage 0: each chunk of each operand is summed in its element type (f32 for narrower ones) in several accumulators;
//   stage 1: one workgroup adds up the chunks' sums in f64, in their order, and does the scalar arithmetic after it.
//
//===----------------------------------------------------------------------===//
#include "compiler/codegen/forms/Chunks.h"
#include "compiler/codegen/forms/Forms.h"
#include "compiler/codegen/forms/ScalarProgram.h"
#include "dialects/nn/Nn.h"

using namespace mlir;

namespace llmc::codegen {
namespace {

class SumOfSquaresForm : public TeamForm {
public:
  llvm::Error build(func::FuncOp function);
  bool readsArguments(size_t index) const override { return index < groups.size(); }
  void emit(Team &team, Code &code, size_t index, ArrayRef<Value> operands, Value workgroup) const override;

private:
  /// The operands of one element type; sums of its chunks from `firstSum` on.
  struct Group {
    ElementKind type;
    Chunks chunks;
    int64_t firstSum = 0;
  };
  llvm::Error unsupported(Operation *op, const Twine &why) const {
    return llvm::createStringError(("kernel " + kernel.name + ": `" + op->getName().getStringRef() + "`: " + why).str());
  }
  void emitChunk(Team &team, Code &code, const Group &group, Value arguments, Value workgroup) const;
  void emitTotal(Team &team, Code &code, ArrayRef<Value> operands) const;

  ScalarProgram program;
  std::vector<Group> groups;
  SmallVector<int> results; // of the program
  int64_t sums = 0;
};

llvm::Error SumOfSquaresForm::build(func::FuncOp function) {
  kernel.name = function.getName().str();
  bool found = false;
  for (Operation &op : function.getBody().front().without_terminator()) {
    auto sum = dyn_cast<nn::SumOfSquaresOp>(op);
    if (!sum) {
      if (!program.add(&op))
        return unsupported(&op, "does not go with a sum of squares in one kernel");
      continue;
    }
    if (std::exchange(found, true))
      return unsupported(&op, "a second sum of squares is a kernel of its own");
    for (Value input : sum.getInputs()) {
      auto argument = dyn_cast<BlockArgument>(input);
      auto tensor = cast<RankedTensorType>(input.getType());
      auto type = elementKindOf(tensor.getElementType());
      if (!argument || !type || !tensor.hasStaticShape())
        return unsupported(&op, "the operands must be arguments of static shape and known element type");
      auto group = llvm::find_if(groups, [&](const Group &each) { return each.type == *type; });
      if (group == groups.end()) {
        groups.push_back({*type, {}});
        kernel.stages.push_back({kernel.name + "_" + std::to_string(groups.size() - 1), 0, {}});
        group = groups.end() - 1;
      }
      group->chunks.add(tensor.getNumElements());
      kernel.stages[group - groups.begin()].operands.push_back(
          {OperandKind::Input, static_cast<int>(argument.getArgNumber()), AccessMode::Read, tensor.getNumElements() * bytesOf(*type)});
    }
    program.addExternal(sum.getResult());
  }
  for (Group &group : groups) {
    group.firstSum = sums;
    sums += group.chunks.count();
  }
  kernel.scratchBytes.push_back(std::max<int64_t>(sums, 1) * 8);
  for (auto [group, stage] : llvm::zip(groups, kernel.stages)) {
    stage.workgroups = group.chunks.count();
    stage.operands.push_back({OperandKind::Scratch, 0, AccessMode::Write, kernel.scratchBytes[0]});
  }
  KernelStage last{kernel.name + "_" + std::to_string(groups.size()), 1, {}};
  last.operands.push_back({OperandKind::Scratch, 0, AccessMode::Read, kernel.scratchBytes[0]});
  auto end = cast<func::ReturnOp>(function.getBody().front().getTerminator());
  for (auto [i, value] : llvm::enumerate(end.getOperands())) {
    results.push_back(program.idOf(value));
    if (results.back() < 0)
      return unsupported(end, "only scalars go with a sum of squares in one kernel");
    last.operands.push_back({OperandKind::Output, static_cast<int>(i), AccessMode::Write, bytesOf(program.kindOf(results.back()))});
  }
  for (int input : program.inputs())
    last.operands.push_back(
        {OperandKind::Input, input, AccessMode::Read, bytesOf(*elementKindOf(getElementTypeOrSelf(function.getArgumentTypes()[input])))});
  kernel.stages.push_back(std::move(last));
  return llvm::Error::success();
}

void SumOfSquaresForm::emitChunk(Team &team, Code &code, const Group &group, Value arguments, Value workgroup) const {
  auto pointerAt = [&](Value at) { return code.load(code.pointerType(), code.address(arguments, code.pointerType(), at), 8); };
  Chunks::Place place = group.chunks.locate(code, workgroup);
  Value base = pointerAt(place.tensor), scratch = pointerAt(code.i64(group.chunks.tensors()));
  Type type = computeType(code.b.getContext(), group.type), stored = storageType(code.b.getContext(), group.type);
  auto sum =
      team.walk(code, place.begin, place.end, -1, Team::Body::Light, {{Reduction::Sum, type}}, [&](const Lanes &lanes, ValueRange carried) {
        Value x = code.loadElements(group.type, code.address(base, stored, lanes.column), lanes.width, 1, lanes.mask,
                                    lanes.alignment(bytesOf(group.type), Chunks::chunkSize));
        return SmallVector<Value>{code.addf(carried[0], code.mulf(x, x))};
      });
  Value total = type == code.b.getF64Type() ? sum[0] : code.op("arith.extf", sum[0], code.b.getF64Type());
  team.once(code, [&] { code.store(total, code.address(scratch, code.b.getF64Type(), code.add(workgroup, group.firstSum))); });
}

void SumOfSquaresForm::emitTotal(Team &team, Code &code, ArrayRef<Value> operands) const {
  Type real = code.b.getF64Type();
  auto sum = team.walk(
      code, code.i64(0), code.i64(sums), sums, Team::Body::Wide64, {{Reduction::Sum, real}}, [&](const Lanes &lanes, ValueRange carried) {
        Value x =
            code.load(Code::vectorOf(real, lanes.width), code.address(operands[0], real, lanes.column), lanes.alignment(8, 64), lanes.mask);
        return SmallVector<Value>{code.addf(carried[0], x)};
      });
  ElementKind kind = program.kindOf(program.externalIds().front());
  Value total = sum[0];
  if (Type type = computeType(code.b.getContext(), kind); type != real)
    total = code.op("arith.truncf", total, type);
  auto pointer = [&](size_t i) { return operands[1 + results.size() + i]; };
  SmallVector<Value> values = program.emit(code, results, pointer, {total});
  team.once(code, [&] {
    for (auto [i, value] : llvm::enumerate(values))
      code.storeElements(program.kindOf(results[i]), value, operands[1 + i]);
  });
}

void SumOfSquaresForm::emit(Team &team, Code &code, size_t index, ArrayRef<Value> operands, Value workgroup) const {
  if (index < groups.size())
    emitChunk(team, code, groups[index], operands[0], workgroup);
  else
    emitTotal(team, code, operands);
}

} // namespace

FormResult makeSumOfSquaresForm(func::FuncOp function) {
  bool applies = llvm::any_of(function.getBody().front(), [](Operation &op) { return isa<nn::SumOfSquaresOp>(op); });
  if (!applies)
    return nullptr;
  auto form = std::make_unique<SumOfSquaresForm>();
  if (llvm::Error error = form->build(function))
    return error;
  return form;
}

} // namespace llmc::codegen
