//===- Along.cpp - nn.scatter_add_along and nn.top_k: plain loops over lines --===//
//
// A line is what one axis runs over, all other indices fixed; lines are independent and divided among workgroups and their
// threads. Within a line entries are visited in order. Made for the routing of experts, whose lines are short.
//
//===----------------------------------------------------------------------===//
#include "compiler/codegen/forms/Forms.h"
#include "dialects/nn/Nn.h"
#include <numeric>

using namespace mlir;

namespace llmc::codegen {
namespace {

/// Lines of `size` entries in the whole tensor and `picked` in the other one, seen as [outer, size or picked, inner].
struct Lines {
  int64_t outer = 1, inner = 1, size = 0, picked = 0;
  ElementKind type = ElementKind::F32, indexType = ElementKind::I64;
  int64_t count() const { return outer * inner; }
  int64_t block() const { return std::max<int64_t>(1, 16384 / std::max<int64_t>(1, size * std::max<int64_t>(1, picked))); }
  int64_t workgroups() const { return (count() + block() - 1) / block(); }

  Value offset(Code &code, Value line, int64_t length) const {
    return code.add(code.mul(code.div(line, inner), length * inner), code.rem(line, inner));
  }
  Value lineAddress(Code &code, ElementKind kind, Value base, Value line, int64_t length) const {
    return code.address(base, storageType(code.b.getContext(), kind), offset(code, line, length));
  }
  Value entry(Code &code, ElementKind kind, Value line, Value index) const {
    return code.address(line, storageType(code.b.getContext(), kind), code.mul(index, inner));
  }
};

class AlongForm : public TeamForm {
protected:
  llvm::Error unsupported(StringRef op) const {
    return llvm::createStringError("kernel " + kernel.name + ": `" + op.str() +
                                   "`: alone in its kernel, on arguments of known element type, expected");
  }
  void eachLine(Team &team, Code &code, Value workgroup, llvm::function_ref<void(Value)> body) const {
    Value begin = code.mul(workgroup, lines.block());
    team.each(code, begin, code.min(code.add(begin, lines.block()), code.i64(lines.count())), body);
  }
  Lines lines;
};

class ScatterAlongForm : public AlongForm {
public:
  llvm::Error build(func::FuncOp function, nn::ScatterAddAlongOp op);
  void emit(Team &team, Code &code, size_t index, ArrayRef<Value> operands, Value workgroup) const override;

private:
  static constexpr int64_t fillBlock = 64 * 1024;
  int64_t elements = 0;
  Source indices, updates;
};

llvm::Error ScatterAlongForm::build(func::FuncOp function, nn::ScatterAddAlongOp op) {
  kernel.name = function.getName().str();
  int output = resultOf(function, op.getResult());
  indices = Source::of(op.getIndices());
  updates = Source::of(op.getUpdates());
  TensorSize result = sizeOf(op.getResult().getType());
  if (onlyOp(function) != op || !indices.isKnown() || !updates.isKnown() || output < 0 || function.getNumResults() != 1 || !result.kind ||
      indices.kind == ElementKind::I1)
    return unsupported("nn.scatter_add_along");
  auto shape = cast<RankedTensorType>(op.getResult().getType()).getShape();
  size_t axis = op.getAxis();
  lines = {std::accumulate(shape.begin(), shape.begin() + axis, int64_t(1), std::multiplies<>()),
           std::accumulate(shape.begin() + axis + 1, shape.end(), int64_t(1), std::multiplies<>()),
           shape[axis],
           cast<RankedTensorType>(op.getIndices().getType()).getDimSize(axis),
           *result.kind,
           indices.kind};
  elements = result.elements;
  StageOperand target{OperandKind::Output, output, AccessMode::Write, result.bytes()};
  kernel.stages.push_back({kernel.name + "_0", (elements + fillBlock - 1) / fillBlock, {target}});
  target.mode = AccessMode::ReadWrite;
  KernelStage second{kernel.name + "_1", lines.workgroups(), {target}};
  indices.addTo(second);
  updates.addTo(second);
  kernel.stages.push_back(std::move(second));
  return llvm::Error::success();
}

void ScatterAlongForm::emit(Team &team, Code &code, size_t stage, ArrayRef<Value> operands, Value workgroup) const {
  Type stored = storageType(code.b.getContext(), lines.type), computed = computeType(code.b.getContext(), lines.type);
  if (stage == 0) {
    Value begin = code.mul(workgroup, fillBlock), end = code.min(code.add(begin, fillBlock), code.i64(elements));
    team.walk(code, begin, end, -1, Team::Body::Light, {}, [&](const Lanes &lanes, ValueRange) {
      code.storeElements(lines.type, code.number(Code::vectorOf(computed, lanes.width), 0), code.address(operands[0], stored, lanes.column),
                         1, lanes.mask, lanes.alignment(bytesOf(lines.type), fillBlock));
      return SmallVector<Value>();
    });
    return;
  }
  Value index = indices.pointer(kernel.stages[1], operands), update = updates.pointer(kernel.stages[1], operands);
  eachLine(team, code, workgroup, [&](Value line) {
    Value first = lines.offset(code, line, lines.picked), target = lines.lineAddress(code, lines.type, operands[0], line, lines.size);
    code.loop(code.i64(0), code.i64(lines.picked), 1, [&](Value i) {
      Value position = code.add(first, code.mul(i, lines.inner));
      Value at = lines.entry(code, lines.type, target, indices.index(code, index, position, lines.size));
      code.storeElements(lines.type, code.addf(code.loadElements(lines.type, at, 0), updates.load(code, update, position, 0)), at);
    });
  });
}

/// Entry j is the largest one after entry j - 1 in the order (larger value, then lower index): nothing is kept but that.
class TopKForm : public AlongForm {
public:
  llvm::Error build(func::FuncOp function, nn::TopKOp op);
  void emit(Team &team, Code &code, size_t index, ArrayRef<Value> operands, Value workgroup) const override;

private:
  bool hasValues = false, hasIndices = false; // returned
};

llvm::Error TopKForm::build(func::FuncOp function, nn::TopKOp op) {
  kernel.name = function.getName().str();
  int input = argumentOf(op.getInput()), values = resultOf(function, op.getValues()), indices = resultOf(function, op.getIndices());
  TensorSize from = sizeOf(op.getInput().getType()), value = sizeOf(op.getValues().getType()), index = sizeOf(op.getIndices().getType());
  hasValues = values >= 0;
  hasIndices = indices >= 0;
  if (onlyOp(function) != op || input < 0 || !from.kind || !index.kind || *index.kind == ElementKind::I1 ||
      function.getNumResults() != static_cast<unsigned>(hasValues + hasIndices))
    return unsupported("nn.top_k");
  int64_t size = cast<RankedTensorType>(op.getInput().getType()).getShape().back();
  lines = {size ? from.elements / size : 0,
           1,
           size,
           cast<RankedTensorType>(op.getValues().getType()).getShape().back(),
           *from.kind,
           *index.kind};
  KernelStage stage{kernel.name + "_0", lines.workgroups(), {{OperandKind::Input, input, AccessMode::Read, from.bytes()}}};
  if (hasValues)
    stage.operands.push_back({OperandKind::Output, values, AccessMode::Write, value.bytes()});
  if (hasIndices)
    stage.operands.push_back({OperandKind::Output, indices, AccessMode::Write, index.bytes()});
  kernel.stages.push_back(std::move(stage));
  return llvm::Error::success();
}

void TopKForm::emit(Team &team, Code &code, size_t, ArrayRef<Value> operands, Value workgroup) const {
  Type type = computeType(code.b.getContext(), lines.type), indexType = computeType(code.b.getContext(), lines.indexType);
  auto real = [&](arith::CmpFPredicate predicate, Value x, Value y) {
    return code.op("arith.cmpf", {x, y}, code.b.getI1Type(), static_cast<int64_t>(predicate));
  };
  auto both = [&](Value x, Value y) { return code.op("arith.andi", {x, y}, code.b.getI1Type()); };
  auto either = [&](Value x, Value y) { return code.op("arith.ori", {x, y}, code.b.getI1Type()); };
  Value infinity = neutral(code, Reduction::Min, type), none = code.i64(-1);
  eachLine(team, code, workgroup, [&](Value line) {
    Value source = lines.lineAddress(code, lines.type, operands[0], line, lines.size);
    code.loop(code.i64(0), code.i64(lines.picked), 1, {infinity, none}, [&](Value j, ValueRange last) {
      Value lastValue = last[0], lastIndex = last[1];
      auto best = code.loop(code.i64(0), code.i64(lines.size), 1, {neutral(code, Reduction::Max, type), none}, [&](Value i, ValueRange c) {
        Value value = code.loadElements(lines.type, lines.entry(code, lines.type, source, i), 0);
        Value equal = both(real(arith::CmpFPredicate::OEQ, value, lastValue), code.compare(arith::CmpIPredicate::sgt, i, lastIndex));
        Value after = either(real(arith::CmpFPredicate::OLT, value, lastValue), equal);
        Value better = either(real(arith::CmpFPredicate::OGT, value, c[0]), code.compare(arith::CmpIPredicate::slt, c[1], code.i64(0)));
        Value take = both(after, better);
        return SmallVector<Value>{code.select(take, value, c[0]), code.select(take, i, c[1])};
      });
      Value at = code.add(code.mul(line, lines.picked), j);
      if (hasValues)
        code.storeElements(lines.type, best[0], code.address(operands[1], storageType(code.b.getContext(), lines.type), at));
      if (hasIndices) {
        Value index = code.max(best[1], code.i64(0)); // NaN alone is after nothing
        if (index.getType() != indexType)
          index = code.op("arith.trunci", index, indexType);
        code.storeElements(lines.indexType, index, code.address(operands[1 + hasValues], indexType, at));
      }
      return best;
    });
  });
}

template <typename Form, typename Op> FormResult make(func::FuncOp function, Op op) {
  auto form = std::make_unique<Form>();
  if (llvm::Error error = form->build(function, op))
    return error;
  return form;
}

} // namespace

FormResult makeAlongForm(func::FuncOp function) {
  for (Operation &op : function.getBody().front()) {
    if (auto scatter = dyn_cast<nn::ScatterAddAlongOp>(op))
      return make<ScatterAlongForm>(function, scatter);
    if (auto topK = dyn_cast<nn::TopKOp>(op))
      return make<TopKForm>(function, topK);
  }
  return nullptr;
}

} // namespace llmc::codegen
