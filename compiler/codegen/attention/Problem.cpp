//===- Problem.cpp - an attention kernel function as views around one op ------===//
//
//   1. operands: each argument is a row-major view; slices, transpositions and reshapes of views are views;
//   2. results: from each returned value back to the op, the row-major view of the kernel's result is cut by concat and
//      reshaped by the inverse of each view op.
//
//===----------------------------------------------------------------------===//
#include "compiler/codegen/attention/Problem.h"
#include "dialects/nn/Nn.h"
#include "llvm/ADT/TypeSwitch.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include <limits>

using namespace mlir;

namespace llmc::codegen::attention {
namespace {

void expand(AffineView &view, ArrayRef<ReassociationIndices> groups, ArrayRef<int64_t> shape) {
  SmallVector<int64_t, 4> strides(shape.size(), 1);
  for (auto [d, group] : llvm::enumerate(groups)) {
    int64_t stride = view.strides[d];
    for (int64_t i : llvm::reverse(group)) {
      strides[i] = stride;
      stride *= shape[i];
    }
  }
  view.shape.assign(shape.begin(), shape.end());
  view.strides = strides;
}

/// False if the merged dimensions do not lie one after the other.
bool collapse(AffineView &view, ArrayRef<ReassociationIndices> groups) {
  SmallVector<int64_t, 4> shape, strides;
  for (const ReassociationIndices &group : groups) {
    int64_t size = 1, stride = 1;
    for (int64_t i : llvm::reverse(group)) {
      if (view.shape[i] == 1)
        continue;
      if (size == 1)
        stride = view.strides[i];
      else if (view.strides[i] != stride * size && view.tensor >= 0)
        return false;
      size *= view.shape[i];
    }
    shape.push_back(size);
    strides.push_back(view.tensor >= 0 ? stride : 0);
  }
  view.shape = shape;
  view.strides = strides;
  return true;
}

void transpose(AffineView &view, ArrayRef<int64_t> permutation) {
  AffineView old = view;
  for (auto [i, from] : llvm::enumerate(permutation)) {
    view.shape[i] = old.shape[from];
    view.strides[i] = old.strides[from];
  }
}

class Reader {
public:
  explicit Reader(func::FuncOp function) : function(function) {}
  llvm::Expected<Problem> read();

private:
  void fail(Operation *op, const Twine &why) {
    if (!error.empty())
      return;
    llvm::raw_string_ostream stream(error);
    stream << "kernel " << function.getName() << ": ";
    if (op && op != function.getOperation())
      stream << "`" << op->getName() << "`: ";
    stream << why;
  }
  AffineView wholeTensor(Type type, int index);
  AffineView viewOf(Value value);
  void readSlice(tensor::ExtractSliceOp op, AffineView &view);
  void readSplat(arith::ConstantOp op, AffineView &view);
  /// `value` goes to `view`.
  void store(Value value, AffineView view);
  template <typename Op>
  void readOp(Op op);
  void checkTypes();

  func::FuncOp function;
  Operation *attention = nullptr;
  Problem problem;
  std::string error;
};

AffineView Reader::wholeTensor(Type type, int index) {
  AffineView view;
  auto tensor = dyn_cast<RankedTensorType>(type);
  auto kind = tensor && tensor.hasStaticShape() ? elementKindOf(tensor.getElementType()) : std::nullopt;
  if (!kind) {
    fail(function, "arguments and results must be tensors of static shape");
    return view;
  }
  view.tensor = index;
  view.type = *kind;
  view.shape.assign(tensor.getShape().begin(), tensor.getShape().end());
  view.strides.assign(view.shape.size(), 1);
  for (size_t i = view.shape.size(); i-- > 1;)
    view.strides[i - 1] = view.strides[i] * view.shape[i];
  return view;
}

void Reader::readSlice(tensor::ExtractSliceOp op, AffineView &view) {
  if (op->getNumOperands() != 1)
    return fail(op, "offsets and sizes must be static");
  AffineView whole = view;
  llvm::SmallBitVector dropped = op.getDroppedDims();
  view.shape.clear();
  view.strides.clear();
  for (size_t d = 0; d < whole.shape.size(); ++d) {
    view.offset += op.getStaticOffsets()[d] * whole.strides[d];
    if (dropped.test(d))
      continue;
    view.shape.push_back(op.getStaticSizes()[d]);
    view.strides.push_back(whole.strides[d] * op.getStaticStrides()[d]);
  }
}

void Reader::readSplat(arith::ConstantOp op, AffineView &view) {
  auto dense = dyn_cast<DenseElementsAttr>(op.getValue());
  if (!dense || !dense.isSplat())
    return fail(op, "only constants of one value stand inside a kernel");
  view = wholeTensor(op.getType(), -1);
  view.strides.assign(view.shape.size(), 0);
  if (isa<FloatType>(dense.getElementType()))
    view.splat = dense.getSplatValue<APFloat>().convertToDouble();
  else
    view.splat = dense.getSplatValue<APInt>().getBoolValue();
}

AffineView Reader::viewOf(Value value) {
  if (auto argument = dyn_cast<BlockArgument>(value))
    return wholeTensor(value.getType(), static_cast<int>(argument.getArgNumber()));
  Operation *op = value.getDefiningOp();
  AffineView view;
  if (auto constant = dyn_cast<arith::ConstantOp>(op)) {
    readSplat(constant, view);
    return view;
  }
  if (!isa<tensor::ExtractSliceOp, tensor::ExpandShapeOp, tensor::CollapseShapeOp, nn::TransposeOp>(op)) {
    fail(op, "is not a view of an argument of the attention's kernel");
    return view;
  }
  view = viewOf(op->getOperand(0));
  if (!error.empty())
    return view;
  llvm::TypeSwitch<Operation *>(op)
      .Case([&](tensor::ExtractSliceOp slice) { readSlice(slice, view); })
      .Case([&](tensor::ExpandShapeOp o) { expand(view, o.getReassociationIndices(), o.getResultType().getShape()); })
      .Case([&](nn::TransposeOp o) { transpose(view, o.getPermutation()); })
      .Case([&](tensor::CollapseShapeOp o) {
        if (!collapse(view, o.getReassociationIndices()))
          fail(op, "merges dimensions that do not lie one after the other");
      });
  return view;
}

void Reader::store(Value value, AffineView view) {
  Operation *op = value.getDefiningOp();
  if (op && op == attention) {
    std::optional<AffineView> &known = problem.stores[cast<OpResult>(value).getResultNumber()];
    if (known)
      return fail(op, "a result of the attention is returned twice");
    known = view;
    return;
  }
  if (auto expanded = dyn_cast_or_null<tensor::ExpandShapeOp>(op)) {
    if (!collapse(view, expanded.getReassociationIndices()))
      return fail(op, "splits a dimension whose parts do not lie one after the other in the result");
    return store(expanded.getSrc(), view);
  }
  if (auto collapsed = dyn_cast_or_null<tensor::CollapseShapeOp>(op)) {
    expand(view, collapsed.getReassociationIndices(), collapsed.getSrcType().getShape());
    return store(collapsed.getSrc(), view);
  }
  if (auto transposed = dyn_cast_or_null<nn::TransposeOp>(op)) {
    SmallVector<int64_t> inverse(view.shape.size());
    for (auto [i, from] : llvm::enumerate(transposed.getPermutation()))
      inverse[from] = static_cast<int64_t>(i);
    transpose(view, inverse);
    return store(transposed.getInput(), view);
  }
  if (auto concat = dyn_cast_or_null<tensor::ConcatOp>(op)) {
    auto dim = static_cast<size_t>(concat.getDim());
    for (Value input : concat.getInputs()) {
      AffineView part = view;
      part.shape[dim] = cast<RankedTensorType>(input.getType()).getDimSize(concat.getDim());
      view.offset += part.shape[dim] * view.strides[dim];
      store(input, part);
    }
    return;
  }
  fail(op, "is returned by an attention's kernel, but no view of a result of the attention");
}

template <typename Op>
void Reader::readOp(Op op) {
  problem.scale = op.getScale().convertToDouble();
  problem.causal = op.getCausal();
  problem.query = viewOf(op.getQuery());
  problem.key = viewOf(op.getKey());
  problem.value = viewOf(op.getValue());
  if (op.getMask())
    problem.mask = viewOf(op.getMask());
  if (!error.empty())
    return;
  ArrayRef<int64_t> q = problem.query.shape, k = problem.key.shape;
  problem.B = q[0], problem.T = q[1], problem.H = q[2], problem.D = q[3];
  problem.S = k[1], problem.G = k[2], problem.E = problem.value.shape[3];
}

void Reader::checkTypes() {
  auto check = [&](const AffineView &view, StringRef what) {
    if (view.type != ElementKind::F32 && view.type != ElementKind::BF16 && view.type != ElementKind::F16)
      fail(attention, what + " must be f32, bf16 or f16");
  };
  for (const AffineView *view : {&problem.query, &problem.key, &problem.value})
    check(*view, "query, key and value");
  if (problem.backward)
    for (const AffineView *view : {&problem.forwardResult, &problem.cotangent, &problem.lse})
      check(*view, "result, lse and cotangent");
  for (const auto &store : problem.stores)
    if (store)
      check(*store, "results");
  if (problem.mask && problem.mask->type != ElementKind::I1)
    check(*problem.mask, "an additive mask");
  // Tiles live on the stack.
  if (std::max(problem.D, problem.E) > 4096)
    fail(attention, "heads are limited to 4096 entries");
}

llvm::Expected<Problem> Reader::read() {
  problem.name = function.getName().str();
  for (Type type : function.getArgumentTypes()) {
    AffineView view = wholeTensor(type, 0);
    problem.inputBytes.push_back(cast<ShapedType>(type).getNumElements() * bytesOf(view.type));
  }
  for (Operation &op : function.getBody().front())
    if (isa<nn::AttentionOp, nn::AttentionBackwardOp>(op)) {
      if (attention)
        fail(&op, "a kernel holds one attention");
      attention = &op;
    }
  if (auto forward = dyn_cast<nn::AttentionOp>(attention)) {
    readOp(forward);
  } else {
    auto op = cast<nn::AttentionBackwardOp>(attention);
    problem.backward = true;
    readOp(op);
    problem.forwardResult = viewOf(op.getResultValue());
    problem.lse = viewOf(op.getLse());
    problem.cotangent = viewOf(op.getCotangent());
  }
  Operation *terminator = function.getBody().front().getTerminator();
  for (auto [i, value] : llvm::enumerate(terminator->getOperands())) {
    AffineView view = wholeTensor(value.getType(), static_cast<int>(i));
    problem.outputBytes.push_back(cast<ShapedType>(value.getType()).getNumElements() * bytesOf(view.type));
    if (error.empty())
      store(value, view);
  }
  if (error.empty())
    checkTypes();
  if (!error.empty())
    return llvm::createStringError(error);
  return std::move(problem);
}

} // namespace

bool holdsAttention(func::FuncOp function) {
  return !function.isDeclaration() &&
         llvm::any_of(function.getBody().front(),
                      [](Operation &op) { return isa<nn::AttentionOp, nn::AttentionBackwardOp>(op); });
}

llvm::Expected<Problem> readProblem(func::FuncOp function) { return Reader(function).read(); }

} // namespace llmc::codegen::attention
