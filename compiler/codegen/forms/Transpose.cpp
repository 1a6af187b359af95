//===- Transpose.cpp - nn.transpose in tiles ----------------------------------===//
//
// The innermost dimension of the input (b) and of the result (a) are cut into tiles, which the team transposes; a workgroup
// has one tile of b and several of a, so that it writes long runs. All other dimensions are walked by workgroups.
//
//===----------------------------------------------------------------------===//
#include "compiler/codegen/forms/Forms.h"
#include "dialects/nn/Nn.h"
#include <numeric>

using namespace mlir;

namespace llmc::codegen {
namespace {

struct Dimension {
  int64_t size, source, target; // strides
};

class TransposeForm : public TeamForm {
public:
  /// False where the innermost dimension stays innermost, which copies of rows do better.
  bool build(func::FuncOp function, nn::TransposeOp op);
  void emit(Team &team, Code &code, size_t index, ArrayRef<Value> operands, Value workgroup) const override;

private:
  static constexpr int64_t tile = Team::transposeTile, tilesOfA = 2;
  int64_t blocksA() const { return (a.size + tile * tilesOfA - 1) / (tile * tilesOfA); }
  int64_t blocksB() const { return (b.size + tile - 1) / tile; }

  SmallVector<Dimension> outer;
  Dimension a, b; // innermost of the result, of the input
  unsigned bits = 32;
};

/// The dimensions in the order of the result, neighbours that are neighbours in both tensors merged, size 1 left out.
SmallVector<Dimension> dimensionsOf(nn::TransposeOp op) {
  auto shape = cast<RankedTensorType>(op.getInput().getType()).getShape();
  SmallVector<int64_t> source(shape.size(), 1);
  for (size_t i = shape.size(); i-- > 1;)
    source[i - 1] = source[i] * shape[i];
  SmallVector<Dimension> dims; // innermost first
  int64_t target = 1;
  for (int64_t p : llvm::reverse(op.getPermutation())) {
    if (shape[p] == 1)
      continue;
    if (!dims.empty() && dims.back().source * dims.back().size == source[p])
      dims.back().size *= shape[p];
    else
      dims.push_back({shape[p], source[p], target});
    target *= shape[p];
  }
  std::reverse(dims.begin(), dims.end());
  return dims;
}

bool TransposeForm::build(func::FuncOp function, nn::TransposeOp op) {
  kernel.name = function.getName().str();
  int input = argumentOf(op.getInput()), output = resultOf(function, op.getResult());
  TensorSize size = sizeOf(op.getInput().getType());
  if (input < 0 || output < 0 || function.getNumResults() != 1 || !size.kind || size.elements == 0)
    return false;
  outer = dimensionsOf(op);
  auto innermost = llvm::find_if(outer, [](const Dimension &dim) { return dim.source == 1; });
  if (outer.size() < 2 || innermost == outer.end() - 1)
    return false;
  a = outer.back();
  b = *innermost;
  outer.erase(innermost);
  outer.pop_back();
  bits = static_cast<unsigned>(bytesOf(*size.kind) * 8);
  int64_t workgroups = blocksA() * blocksB();
  for (const Dimension &dim : outer)
    workgroups *= dim.size;
  kernel.stages.push_back(
      {kernel.name + "_0",
       workgroups,
       {{OperandKind::Input, input, AccessMode::Read, size.bytes()}, {OperandKind::Output, output, AccessMode::Write, size.bytes()}}});
  return true;
}

void TransposeForm::emit(Team &team, Code &code, size_t, ArrayRef<Value> operands, Value workgroup) const {
  Type type = code.b.getIntegerType(bits);
  Value beginA = code.mul(code.rem(workgroup, blocksA()), tile * tilesOfA);
  Value rest = code.div(workgroup, blocksA());
  Value beginB = code.mul(code.rem(rest, blocksB()), tile);
  rest = code.div(rest, blocksB());
  Value source = code.mul(beginA, a.source), target = code.mul(beginB, b.target);
  source = code.add(source, beginB);
  target = code.add(target, beginA);
  for (const Dimension &dim : llvm::reverse(outer)) {
    Value index = code.rem(rest, dim.size);
    rest = code.div(rest, dim.size);
    source = code.add(source, code.mul(index, dim.source));
    target = code.add(target, code.mul(index, dim.target));
  }
  Value countB = code.min(code.sub(code.i64(b.size), beginB), code.i64(tile));
  Value endA = code.min(code.sub(code.i64(a.size), beginA), code.i64(tile * tilesOfA));
  int64_t unit = b.target;
  for (const Dimension &dim : outer)
    unit = std::gcd(unit, dim.target);
  Tile shape{type, a.source, b.target, (unit & -unit) * bits / 8, kernel.stages[0].operands[1].bytes > 4 << 20};
  code.loop(code.i64(0), endA, tile, [&](Value at) {
    team.transpose(code, shape, code.address(operands[0], type, code.add(source, code.mul(at, a.source))),
                   code.address(operands[1], type, code.add(target, at)), code.min(code.sub(endA, at), code.i64(tile)), countB);
  });
}

} // namespace

FormResult makeTransposeForm(func::FuncOp function) {
  auto op = dyn_cast_or_null<nn::TransposeOp>(onlyOp(function));
  auto form = std::make_unique<TransposeForm>();
  if (!op || !form->build(function, op))
    return nullptr;
  return form;
}

} // namespace llmc::codegen
