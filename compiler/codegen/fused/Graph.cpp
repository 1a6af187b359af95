//===- Graph.cpp - expressions over atoms: values, nodes, clean-up -----------===//
#include "compiler/codegen/fused/GraphBuilder.h"
#include "llvm/ADT/STLExtras.h"

using namespace mlir;

namespace llmc::codegen {

static SmallVector<int64_t, 4> rowMajor(ArrayRef<int64_t> shape) {
  SmallVector<int64_t, 4> strides(shape.size(), 1);
  for (int64_t i = static_cast<int64_t>(shape.size()) - 2; i >= 0; --i)
    strides[i] = strides[i + 1] * shape[i + 1];
  return strides;
}

llvm::Expected<Graph> buildGraph(func::FuncOp function) { return GraphBuilder(function).build(); }

llvm::Expected<Graph> GraphBuilder::build() {
  graph.name = function.getName().str();
  auto argument = [&](Type type, SmallVectorImpl<int64_t> *shape) -> KernelArgument {
    auto tensor = dyn_cast<RankedTensorType>(type);
    auto kind = tensor && tensor.hasStaticShape() ? elementKindOf(tensor.getElementType()) : std::nullopt;
    if (!kind) {
      fail(function, "arguments and results must be tensors of static shape");
      return {ElementKind::F32, 0};
    }
    if (shape)
      shape->assign(tensor.getShape().begin(), tensor.getShape().end());
    return {*kind, tensor.getNumElements()};
  };
  for (BlockArgument value : function.getArguments()) {
    TensorValue tensor;
    tensor.form = TensorValue::Viewed;
    SmallVector<int64_t> shape;
    graph.inputs.push_back(argument(value.getType(), &shape));
    tensor.shape.assign(shape.begin(), shape.end());
    tensor.view = {static_cast<int>(value.getArgNumber()), 0, tensor.shape, rowMajor(shape)};
    values[value] = std::move(tensor);
  }
  for (Type type : function.getResultTypes())
    graph.outputs.push_back(argument(type, nullptr));
  for (Operation &op : function.getBody().front()) {
    if (!error.empty())
      break;
    current = &op;
    buildOp(&op);
  }
  if (error.empty())
    finalize();
  if (!error.empty())
    return llvm::createStringError(error);
  return std::move(graph);
}

void GraphBuilder::fail(Operation *op, const Twine &why) {
  if (!error.empty())
    return;
  llvm::raw_string_ostream stream(error);
  stream << "kernel " << function.getName() << ": ";
  if (op && op != function.getOperation())
    stream << "`" << op->getName() << "`: ";
  stream << why;
}

NodeId GraphBuilder::add(Node node) {
  graph.nodes.push_back(std::move(node));
  return static_cast<NodeId>(graph.nodes.size() - 1);
}

ElementKind GraphBuilder::typeOf(Value value) const {
  return elementKindOf(cast<RankedTensorType>(value.getType()).getElementType()).value_or(ElementKind::F32);
}

Dims GraphBuilder::freshDims(ArrayRef<int64_t> shape) {
  Dims dims;
  for (int64_t size : shape)
    dims.push_back(size > 1 ? AtomList{graph.table.create(size)} : AtomList{});
  return dims;
}

Expr GraphBuilder::load(const View &view, ElementKind type) {
  Expr expr;
  expr.dims = freshDims(view.shape);
  Node node;
  node.kind = Node::Load;
  node.type = type;
  node.input = view.input;
  node.offset = view.offset;
  for (auto [dim, stride] : llvm::zip(expr.dims, view.strides))
    if (!dim.empty())
      node.layout.push_back({dim[0], stride});
  expr.node = add(std::move(node));
  loads.push_back({view, expr.dims});
  return expr;
}

Expr GraphBuilder::use(const TensorValue &value) {
  switch (value.form) {
  case TensorValue::Computed:
    return value.expr;
  case TensorValue::Viewed:
    return load(value.view, graph.inputs[value.view.input].type);
  case TensorValue::Splat:
    return {value.expr.node, freshDims(value.shape)};
  case TensorValue::Assembled:
    break;
  }
  fail(current, "an operand put together by concat or insert_slice can only be returned");
  return constant(ElementKind::F32, 0);
}

Expr GraphBuilder::use(Value value) { return use(values[value]); }

void GraphBuilder::set(Value value, Expr expr) {
  TensorValue tensor;
  auto type = cast<RankedTensorType>(value.getType());
  tensor.shape.assign(type.getShape().begin(), type.getShape().end());
  allDims.push_back(expr.dims);
  tensor.expr = std::move(expr);
  values[value] = std::move(tensor);
}

void GraphBuilder::unifyDims(const Dims &a, const Dims &b, Operation *op) {
  if (a.size() != b.size())
    return fail(op, "operands of different rank");
  for (auto [left, right] : llvm::zip(a, b))
    if (!graph.table.unify(left, right))
      return fail(op, "these shapes do not share loops");
}

Expr GraphBuilder::constant(ElementKind type, double value) {
  Node node;
  node.kind = Node::Constant;
  node.type = type;
  node.real = value;
  node.integer = isFloat(type) ? 0 : static_cast<int64_t>(value);
  return {add(std::move(node)), {}};
}

Expr GraphBuilder::elementwise(StringRef op, ArrayRef<Expr> operands, ElementKind type, int64_t predicate) {
  Node node;
  node.kind = Node::Elementwise;
  node.type = type;
  node.op = op.str();
  node.predicate = predicate;
  // Rank-0 operands stand beside any other.
  const Expr *shaped = &operands[0];
  for (const Expr &operand : operands) {
    node.operands.push_back(operand.node);
    if (operand.dims.empty())
      continue;
    if (!shaped->dims.empty())
      unifyDims(shaped->dims, operand.dims, current);
    shaped = &operand;
  }
  Dims dims = shaped->dims;
  return {add(std::move(node)), dims};
}

Expr GraphBuilder::reduce(Reduction kind, const Expr &value, ArrayRef<int64_t> dims) {
  Node node;
  node.kind = Node::Reduce;
  node.type = typeOf(value);
  node.reduction = kind;
  node.operands.push_back(value.node);
  Expr result;
  for (auto [i, list] : llvm::enumerate(value.dims)) {
    if (llvm::is_contained(dims, static_cast<int64_t>(i)))
      node.atoms.append(list);
    else
      result.dims.push_back(list);
  }
  if (node.atoms.empty()) {
    result.node = value.node;
    return result;
  }
  result.node = add(std::move(node));
  return result;
}

Expr GraphBuilder::alongLast(const Expr &value, const Expr &like) {
  Expr result = value;
  result.dims.push_back(like.dims.back());
  unifyDims(result.dims, like.dims, current);
  return result;
}

Expr GraphBuilder::alongRows(const Expr &value, const Expr &like) {
  Expr result = {value.node, like.dims};
  if (!graph.table.unify(value.dims[0], like.dims.back()))
    fail(current, "these shapes do not share loops");
  return result;
}

Expr GraphBuilder::position(const Expr &like, ArrayRef<int64_t> dims, std::optional<ArrayRef<int64_t>> strides) {
  Node node;
  node.kind = Node::Position;
  int64_t stride = 1, last = 0, widest = 0;
  for (size_t i = dims.size(); i-- > 0;) {
    if (strides)
      stride = (*strides)[i];
    for (AtomId atom : llvm::reverse(like.dims[dims[i]])) {
      node.layout.push_back({atom, stride});
      last += (graph.table.size(atom) - 1) * stride;
      widest = std::max(widest, stride);
      stride *= graph.table.size(atom);
    }
  }
  node.type = std::max(last, widest) < INT32_MAX ? ElementKind::I32 : ElementKind::I64;
  return {add(std::move(node)), like.dims};
}

std::optional<Expr> GraphBuilder::sliceLast(Value value, int64_t offset, int64_t size, int64_t stride) {
  const TensorValue &tensor = values[value];
  if (tensor.form != TensorValue::Viewed)
    return std::nullopt;
  View view = tensor.view;
  view.offset += offset * view.strides.back();
  view.shape.back() = size;
  view.strides.back() *= stride;
  return load(view, graph.inputs[view.input].type);
}

void GraphBuilder::setPieces(Value value, ArrayRef<LastPiece> pieces) {
  TensorValue result;
  result.form = TensorValue::Assembled;
  auto type = cast<RankedTensorType>(value.getType());
  result.shape.assign(type.getShape().begin(), type.getShape().end());
  for (const LastPiece &piece : pieces) {
    auto part = std::make_shared<TensorValue>();
    part->shape = result.shape;
    part->shape.back() = piece.size;
    part->expr = piece.expr;
    SmallVector<int64_t, 4> offsets(result.shape.size(), 0), strides(result.shape.size(), 1);
    offsets.back() = piece.offset;
    strides.back() = piece.stride;
    result.pieces.push_back({part, offsets, strides, 0});
  }
  values[value] = std::move(result);
}

bool GraphBuilder::hasRepeatedLoop() const {
  for (const Dims &dims : allDims) {
    AtomList seen;
    for (const AtomList &dim : dims)
      for (AtomId atom : graph.table.resolve(dim)) {
        if (llvm::is_contained(seen, atom))
          return true;
        seen.push_back(atom);
      }
  }
  return false;
}

/// Uses of one argument that nothing relates are walked in one loop where that contradicts nothing.
void GraphBuilder::shareLoops() {
  for (size_t i = 0; i < loads.size(); ++i)
    for (size_t j = i + 1; j < loads.size(); ++j) {
      const View &a = loads[i].first, &b = loads[j].first;
      if (a.input != b.input || a.shape != b.shape || a.strides != b.strides)
        continue;
      AtomTable before = graph.table;
      bool unified = true;
      for (auto [left, right] : llvm::zip(loads[i].second, loads[j].second))
        unified = unified && graph.table.unify(left, right);
      if (!unified || hasRepeatedLoop())
        graph.table = before;
    }
}

/// Puts equal nodes together, resolves atoms to leaves, computes spans.
void GraphBuilder::finalize() {
  if (hasRepeatedLoop())
    return fail(function, "one loop stands for two dimensions of a value");
  shareLoops();
  std::vector<Node> nodes;
  SmallVector<NodeId> renamed(graph.nodes.size());
  for (auto [id, node] : llvm::enumerate(graph.nodes)) {
    node.layout = graph.table.resolve(node.layout);
    node.atoms = graph.table.resolve(node.atoms);
    for (NodeId &operand : node.operands)
      operand = renamed[operand];
    for (DynamicIndex &index : node.dynamic)
      index.index = renamed[index.index];
    auto addSpan = [&](ArrayRef<AtomId> atoms) {
      for (AtomId atom : atoms)
        if (!llvm::is_contained(node.span, atom) && !llvm::is_contained(node.atoms, atom))
          node.span.push_back(atom);
    };
    for (const AtomStride &entry : node.layout)
      addSpan(entry.atom);
    for (NodeId operand : node.operands)
      addSpan(nodes[operand].span);
    for (const DynamicIndex &index : node.dynamic)
      addSpan(nodes[index.index].span);
    llvm::sort(node.span);
    auto same = llvm::find(nodes, node);
    renamed[id] = static_cast<NodeId>(same - nodes.begin());
    if (same == nodes.end())
      nodes.push_back(std::move(node));
  }
  graph.nodes = std::move(nodes);
  for (Store &store : graph.stores) {
    store.node = renamed[store.node];
    store.layout = graph.table.resolve(store.layout);
  }
}

void GraphBuilder::store(const TensorValue &value, int output, int64_t offset, ArrayRef<int64_t> strides, int level) {
  if (value.form == TensorValue::Assembled) {
    for (const TensorValue::Piece &piece : value.pieces) {
      int64_t start = offset;
      SmallVector<int64_t, 4> pieceStrides;
      for (auto [o, s, stride] : llvm::zip(piece.offsets, piece.strides, strides)) {
        start += o * stride;
        pieceStrides.push_back(s * stride);
      }
      store(*piece.value, output, start, pieceStrides, level + piece.level);
    }
    return;
  }
  Expr expr = use(value);
  Store result{expr.node, output, offset, {}, level};
  for (auto [dim, stride] : llvm::zip(expr.dims, strides)) {
    int64_t inner = stride;
    for (AtomId atom : llvm::reverse(dim)) {
      result.layout.push_back({atom, inner});
      inner *= graph.table.size(atom);
    }
  }
  graph.stores.push_back(std::move(result));
}

void GraphBuilder::buildReturn(func::ReturnOp op) {
  for (auto [i, operand] : llvm::enumerate(op.getOperands())) {
    const TensorValue &value = values[operand];
    store(value, static_cast<int>(i), 0, rowMajor(value.shape), 0);
  }
}

} // namespace llmc::codegen
