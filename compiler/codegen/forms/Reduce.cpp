//===- Reduce.cpp - nn.reduce over dimensions in the middle -------------------===//
//
// The reduced dimensions form runs of neighbours. Each run, innermost first, is one stage over what the one before left, seen
// as [outer, reduced, inner]: with inner = 1 each row is reduced by the team, otherwise each column by itself.
//
//===----------------------------------------------------------------------===//
#include "compiler/codegen/forms/Forms.h"
#include "dialects/nn/Nn.h"
#include <numeric>

using namespace mlir;

namespace llmc::codegen {
namespace {

struct Run {
  int64_t outer, reduced, inner;
  int64_t rowBlock, columnBlock;
  ElementKind from, to;
  int64_t columnBlocks() const { return (inner + columnBlock - 1) / columnBlock; }
};

class ReduceForm : public TeamForm {
public:
  llvm::Error build(func::FuncOp function, nn::ReduceOp op);
  void emit(Team &team, Code &code, size_t index, ArrayRef<Value> operands, Value workgroup) const override;

private:
  void emitRows(Team &team, Code &code, const Run &run, ArrayRef<Value> operands, Value workgroup) const;
  void emitColumns(Team &team, Code &code, const Run &run, ArrayRef<Value> operands, Value workgroup) const;
  Value finish(Code &code, const Run &run, Value value) const;

  Reduction kind = Reduction::Sum;
  int64_t divisor = 1; // of the last run
  std::vector<Run> runs;
};

/// The runs of reduced dimensions, innermost first.
std::vector<Run> runsOf(ArrayRef<int64_t> shape, ArrayRef<int64_t> dims) {
  SmallVector<std::pair<int64_t, bool>> merged; // neighbouring dimensions of one kind
  for (auto [i, size] : llvm::enumerate(shape)) {
    bool reduced = llvm::is_contained(dims, static_cast<int64_t>(i));
    if (!merged.empty() && merged.back().second == reduced)
      merged.back().first *= size;
    else
      merged.push_back({size, reduced});
  }
  std::vector<Run> runs;
  for (size_t i = merged.size(); i-- > 0;) {
    if (!merged[i].second)
      continue;
    Run run{1, merged[i].first, 1, 1, 1, ElementKind::F32, ElementKind::F32};
    for (size_t j = 0; j < merged.size(); ++j)
      if (j < i)
        run.outer *= merged[j].first;
      else if (j > i && !merged[j].second)
        run.inner *= merged[j].first;
    runs.push_back(run);
  }
  return runs;
}

llvm::Error ReduceForm::build(func::FuncOp function, nn::ReduceOp op) {
  kernel.name = function.getName().str();
  auto input = cast<RankedTensorType>(op.getInput().getType());
  TensorSize from = sizeOf(input), to = sizeOf(op.getResult().getType());
  int argument = argumentOf(op.getInput()), output = resultOf(function, op.getResult());
  if (argument < 0 || output < 0 || function.getNumResults() != 1 || !from.kind || *from.kind == ElementKind::I1)
    return llvm::createStringError("kernel " + kernel.name + ": `nn.reduce`: an argument of static shape and known element type expected");
  kind = reductionOf(op.getKind());
  if (op.getKind() == nn::ReduceKind::Mean)
    divisor = to.elements ? from.elements / to.elements : 1;
  runs = runsOf(input.getShape(), op.getDims());
  bool narrow = *from.kind == ElementKind::BF16 || *from.kind == ElementKind::F16;
  ElementKind between = narrow ? ElementKind::F32 : *from.kind;
  StageOperand source{OperandKind::Input, argument, AccessMode::Read, from.bytes()};
  for (auto [i, run] : llvm::enumerate(runs)) {
    bool last = i + 1 == runs.size();
    run.from = i == 0 ? *from.kind : between;
    run.to = last ? *to.kind : between;
    constexpr int64_t target = 16384;
    run.columnBlock = std::min<int64_t>(run.inner, 1024);
    run.rowBlock = std::clamp<int64_t>(target / std::max<int64_t>(1, run.reduced * run.columnBlock), 1, std::max<int64_t>(run.outer, 1));
    int64_t bytes = run.outer * run.inner * bytesOf(run.to);
    StageOperand target_{OperandKind::Output, output, AccessMode::Write, bytes};
    if (!last) {
      target_.kind = OperandKind::Scratch;
      target_.index = static_cast<int>(i);
      kernel.scratchBytes.push_back(bytes);
    }
    int64_t rowBlocks = (run.outer + run.rowBlock - 1) / run.rowBlock;
    kernel.stages.push_back({kernel.name + "_" + std::to_string(i), run.inner ? rowBlocks * run.columnBlocks() : 0, {source, target_}});
    source = target_;
    source.mode = AccessMode::Read;
  }
  return llvm::Error::success();
}

/// Divides at the end, for a mean.
Value ReduceForm::finish(Code &code, const Run &run, Value value) const {
  if (divisor == 1 || &run != &runs.back())
    return value;
  Type type = value.getType();
  return isFloat(run.to) ? code.divf(value, code.number(type, static_cast<double>(divisor)))
                         : code.op("arith.divsi", {value, code.integer(type, divisor)}, type);
}

void ReduceForm::emitRows(Team &team, Code &code, const Run &run, ArrayRef<Value> operands, Value workgroup) const {
  Type stored = storageType(code.b.getContext(), run.from), type = computeType(code.b.getContext(), run.from);
  Value begin = code.mul(workgroup, run.rowBlock), end = code.min(code.add(begin, run.rowBlock), code.i64(run.outer));
  code.loop(begin, end, 1, [&](Value row) {
    Value base = code.address(operands[0], stored, code.mul(row, run.reduced));
    auto result = team.walk(code, code.i64(0), code.i64(run.reduced), run.reduced, Team::Body::Light, {{kind, type}},
                            [&](const Lanes &lanes, ValueRange carried) {
                              Value at = code.address(base, stored, lanes.column);
                              Value value = code.loadElements(run.from, at, lanes.width, 1, lanes.mask,
                                                              lanes.alignment(bytesOf(run.from), run.reduced));
                              return SmallVector<Value>{combine(code, kind, carried[0], value)};
                            });
    Value value = finish(code, run, result[0]);
    team.once(code, [&] { code.storeElements(run.to, value, code.address(operands[1], storageType(code.b.getContext(), run.to), row)); });
  });
}

void ReduceForm::emitColumns(Team &team, Code &code, const Run &run, ArrayRef<Value> operands, Value workgroup) const {
  Type stored = storageType(code.b.getContext(), run.from), type = computeType(code.b.getContext(), run.from);
  Value columnBegin = code.mul(code.rem(workgroup, run.columnBlocks()), run.columnBlock);
  Value columnEnd = code.min(code.add(columnBegin, run.columnBlock), code.i64(run.inner));
  Value begin = code.mul(code.div(workgroup, run.columnBlocks()), run.rowBlock);
  Value end = code.min(code.add(begin, run.rowBlock), code.i64(run.outer));
  int64_t unit = std::gcd(run.columnBlock, run.inner);
  code.loop(begin, end, 1, [&](Value row) {
    Value base = code.address(operands[0], stored, code.mul(row, run.reduced * run.inner));
    Value target = code.address(operands[1], storageType(code.b.getContext(), run.to), code.mul(row, run.inner));
    team.walk(code, columnBegin, columnEnd, -1, Team::Body::Light, {}, [&](const Lanes &lanes, ValueRange) {
      Value initial = neutral(code, kind, Code::vectorOf(type, lanes.width));
      auto result = code.loop(code.i64(0), code.i64(run.reduced), 1, {initial}, [&](Value i, ValueRange carried) {
        Value at = code.address(base, stored, code.add(code.mul(i, run.inner), lanes.column));
        Value value = code.loadElements(run.from, at, lanes.width, 1, lanes.mask, lanes.alignment(bytesOf(run.from), unit));
        return SmallVector<Value>{combine(code, kind, carried[0], value)};
      });
      Value at = code.address(target, storageType(code.b.getContext(), run.to), lanes.column);
      code.storeElements(run.to, finish(code, run, result[0]), at, 1, lanes.mask, lanes.alignment(bytesOf(run.to), unit));
      return SmallVector<Value>();
    });
  });
}

void ReduceForm::emit(Team &team, Code &code, size_t index, ArrayRef<Value> operands, Value workgroup) const {
  const Run &run = runs[index];
  if (run.inner == 1)
    emitRows(team, code, run, operands, workgroup);
  else
    emitColumns(team, code, run, operands, workgroup);
}

} // namespace

FormResult makeReduceForm(func::FuncOp function) {
  auto op = dyn_cast_or_null<nn::ReduceOp>(onlyOp(function));
  if (!op || op.getDims().empty())
    return nullptr;
  auto form = std::make_unique<ReduceForm>();
  if (llvm::Error error = form->build(function, op))
    return error;
  return form;
}

} // namespace llmc::codegen
