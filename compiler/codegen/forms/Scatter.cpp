//===- Scatter.cpp - nn.scatter_add, the gradient of an embedding -------------===//
//
// Table [V, C], indices [N], updates [N, C]. Rows are added in the order of the indices, without looking at rows that do
// not occur and without sorting:
//
//   stage 0, workgroup 0: head[row] = the first position whose index is `row`, next[i] = the next one after i, or -1.
//       Built from the back; only entries of head that occur are touched.
//   stage 0, other workgroups: a block of the table is set to zero, or copied from the tensor that is added to.
//   stage 1: a workgroup has a block of positions and of columns; for each position that is a head, follows the list and
//       adds up its updates.
//
//===----------------------------------------------------------------------===//
#include "compiler/codegen/forms/Forms.h"
#include "dialects/nn/Nn.h"
#include <numeric>

using namespace mlir;

namespace llmc::codegen {
namespace {

constexpr int64_t fillBlock = 64 * 1024, positionBlock = 32, columnBlock = 256;

class ScatterForm : public TeamForm {
public:
  llvm::Error build(func::FuncOp function, nn::ScatterAddOp op);
  void emit(Team &team, Code &code, size_t index, ArrayRef<Value> operands, Value workgroup) const override;
  int64_t walkLength(size_t index) const override { return index == 0 ? 1024 : std::min(columns, columnBlock); }

private:
  void emitLists(Team &team, Code &code, ArrayRef<Value> operands) const;
  void emitFill(Team &team, Code &code, ArrayRef<Value> operands, Value block) const;
  void emitSums(Team &team, Code &code, ArrayRef<Value> operands, Value workgroup) const;
  int64_t blocks() const { return (columns + columnBlock - 1) / columnBlock; }

  int64_t rows = 0, columns = 0, positions = 0;
  ElementKind type = ElementKind::F32;
  Source indices, updates;
  bool added = false; // to another tensor
};

llvm::Error ScatterForm::build(func::FuncOp function, nn::ScatterAddOp op) {
  kernel.name = function.getName().str();
  auto unsupported = [&](const Twine &why) {
    return llvm::createStringError(("kernel " + kernel.name + ": `nn.scatter_add`: " + why).str());
  };
  int other = -1;
  Value result = op.getResult();
  int64_t ops = 1;
  if (result.hasOneUse())
    if (auto add = dyn_cast<arith::AddFOp>(*result.user_begin())) {
      other = argumentOf(add.getLhs() == result ? add.getRhs() : add.getLhs());
      if (other < 0)
        return unsupported("what it is added to must be an argument");
      result = add.getResult();
      ++ops;
    }
  for (Operation &each : function.getBody().front().without_terminator())
    ops -= !isa<arith::ConstantOp>(each) && each.getName().getDialectNamespace() != "tensor";
  indices = Source::of(op.getIndices());
  updates = Source::of(op.getUpdates());
  int output = resultOf(function, result);
  TensorSize table = sizeOf(op.getResult().getType());
  if (ops != 0 || function.getNumResults() != 1 || output < 0)
    return unsupported("goes with one addition at most in one kernel");
  if (!indices.isKnown() || !updates.isKnown() || !table.kind || indices.kind == ElementKind::I1)
    return unsupported("the operands must be arguments of static shape and known element type");
  added = other >= 0;
  rows = cast<RankedTensorType>(op.getResult().getType()).getDimSize(0);
  columns = rows ? table.elements / rows : 0;
  positions = indices.elements;
  type = *table.kind;
  kernel.scratchBytes = {rows * 4, positions * 4};
  StageOperand head{OperandKind::Scratch, 0, AccessMode::Write, rows * 4}, next{OperandKind::Scratch, 1, AccessMode::Write, positions * 4};
  StageOperand target{OperandKind::Output, output, AccessMode::Write, table.bytes()};
  KernelStage first{kernel.name + "_0", 1 + (table.elements + fillBlock - 1) / fillBlock, {head, next, target}};
  if (added) {
    first.operands.push_back({OperandKind::Input, other, AccessMode::Read, table.bytes()});
    kernel.mayAlias.push_back({other, output});
  }
  indices.addTo(first);
  head.mode = next.mode = AccessMode::Read;
  target.mode = AccessMode::ReadWrite;
  KernelStage second{kernel.name + "_1", (positions + positionBlock - 1) / positionBlock * blocks(), {head, next, target}};
  indices.addTo(second);
  updates.addTo(second);
  kernel.stages = {std::move(first), std::move(second)};
  return llvm::Error::success();
}

static Value loadPosition(Code &code, Value array, Value at) {
  return code.op("arith.extsi", code.load(code.b.getI32Type(), code.address(array, code.b.getI32Type(), at)), code.i64Type());
}

static void storePosition(Code &code, Value position, Value array, Value at) {
  code.store(code.op("arith.trunci", position, code.b.getI32Type()), code.address(array, code.b.getI32Type(), at));
}

void ScatterForm::emitLists(Team &team, Code &code, ArrayRef<Value> operands) const {
  Value head = operands[0], next = operands[1], index = indices.pointer(kernel.stages[0], operands);
  team.once(code, [&] {
    code.loop(code.i64(0), code.i64(positions), 1,
              [&](Value i) { storePosition(code, code.i64(-1), head, indices.index(code, index, i, rows)); });
    code.loop(code.i64(0), code.i64(positions), 1, [&](Value i) {
      Value position = code.sub(code.i64(positions - 1), i), row = indices.index(code, index, position, rows);
      storePosition(code, loadPosition(code, head, row), next, position);
      storePosition(code, position, head, row);
    });
  });
}

void ScatterForm::emitFill(Team &team, Code &code, ArrayRef<Value> operands, Value block) const {
  Type stored = storageType(code.b.getContext(), type), computed = computeType(code.b.getContext(), type);
  Value begin = code.mul(block, fillBlock), end = code.min(code.add(begin, fillBlock), code.i64(rows * columns));
  auto walk = [&] {
    team.walk(code, begin, end, -1, Team::Body::Light, {}, [&](const Lanes &lanes, ValueRange) {
      int64_t alignment = lanes.alignment(bytesOf(type), fillBlock);
      Value value = added ? code.loadElements(type, code.address(operands[3], stored, lanes.column), lanes.width, 1, lanes.mask, alignment)
                          : code.number(Code::vectorOf(computed, lanes.width), 0);
      code.storeElements(type, value, code.address(operands[2], stored, lanes.column), 1, lanes.mask, alignment);
      return SmallVector<Value>();
    });
  };
  if (!added)
    return walk();
  auto number = [&](Value pointer) { return LLVM::PtrToIntOp::create(code.b, code.loc, code.i64Type(), pointer); };
  code.ifThen(code.compare(arith::CmpIPredicate::ne, number(operands[2]), number(operands[3])), walk);
}

void ScatterForm::emitSums(Team &team, Code &code, ArrayRef<Value> operands, Value workgroup) const {
  Value head = operands[0], next = operands[1], table = operands[2];
  Value index = indices.pointer(kernel.stages[1], operands), update = updates.pointer(kernel.stages[1], operands);
  Type stored = storageType(code.b.getContext(), type), computed = computeType(code.b.getContext(), type);
  Value columnBegin = code.mul(code.rem(workgroup, blocks()), columnBlock);
  Value columnEnd = code.min(code.add(columnBegin, columnBlock), code.i64(columns));
  Value begin = code.mul(code.div(workgroup, blocks()), positionBlock);
  Value end = code.min(code.add(begin, positionBlock), code.i64(positions));
  auto addList = [&](Value first, Value row) {
    Value target = code.address(table, stored, code.mul(row, columns));
    team.walk(code, columnBegin, columnEnd, columns % columnBlock == 0 ? columnBlock : -1, Team::Body::Light, {},
              [&](const Lanes &lanes, ValueRange) {
                int64_t alignment = lanes.alignment(bytesOf(type), std::gcd(columnBlock, columns));
                Value zero = code.number(Code::vectorOf(computed, lanes.width), 0);
                auto sum = code.repeat(
                    {first, zero}, [&](ValueRange c) { return code.compare(arith::CmpIPredicate::sge, c[0], code.i64(0)); },
                    [&](ValueRange c) {
                      Value at = code.add(code.mul(c[0], columns), lanes.column);
                      Value value = code.addf(c[1], updates.load(code, update, at, lanes.width, lanes.mask, alignment));
                      return SmallVector<Value>{loadPosition(code, next, c[0]), value};
                    });
                Value at = code.address(target, stored, lanes.column), value = sum[1];
                if (added)
                  value = code.addf(code.loadElements(type, at, lanes.width, 1, lanes.mask, alignment), value);
                code.storeElements(type, value, at, 1, lanes.mask, alignment);
                return SmallVector<Value>();
              });
  };
  code.loop(begin, end, 1, [&](Value i) {
    Value row = indices.index(code, index, i, rows);
    code.ifThen(code.compare(arith::CmpIPredicate::eq, loadPosition(code, head, row), i), [&] { addList(i, row); });
  });
}

void ScatterForm::emit(Team &team, Code &code, size_t index, ArrayRef<Value> operands, Value workgroup) const {
  if (index == 1)
    return emitSums(team, code, operands, workgroup);
  Value isFirst = code.compare(arith::CmpIPredicate::eq, workgroup, code.i64(0));
  code.ifThen(isFirst, [&] { emitLists(team, code, operands); });
  code.ifThen(code.compare(arith::CmpIPredicate::ne, workgroup, code.i64(0)),
              [&] { emitFill(team, code, operands, code.sub(workgroup, code.i64(1))); });
}

} // namespace

FormResult makeScatterForm(func::FuncOp function) {
  auto ops = function.getBody().front().getOps<nn::ScatterAddOp>();
  if (ops.empty())
    return nullptr;
  auto form = std::make_unique<ScatterForm>();
  if (llvm::Error error = form->build(function, *ops.begin()))
    return error;
  return form;
}

} // namespace llmc::codegen
