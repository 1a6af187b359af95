//===- TeamEmitter.cpp - code for the stages of a fused kernel ----------------===//
//
//   for each row of the block:                      scalars of the row are computed where first needed
//     for each phase:
//       walk the columns: values, stores, row accumulators, sums over rows (in scratch)
//       the finished row reductions are scalars of the row from here on
//
//===----------------------------------------------------------------------===//
#include "compiler/codegen/fused/TeamEmitter.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"
#include <map>
#include <numeric>

using namespace mlir;

namespace llmc::codegen {
namespace {

class StageEmitter {
public:
  StageEmitter(const StagedKernel &kernel, size_t index, Team &team, Code &code, ArrayRef<Value> operands)
      : kernel(kernel), graph(kernel.graph), stage(kernel.stages[index]), description(kernel.description.stages[index]),
        team(team), code(code), operands(operands) {}
  void emit(Value workgroup);

private:
  Type typeOf(NodeId id) { return computeType(code.b.getContext(), graph.nodes[id].type); }
  Type storedType(ElementKind kind) { return storageType(code.b.getContext(), kind); }
  Value pointer(OperandKind kind, int index) {
    return operands[StagedKernel::operandIndex(description, kind, index)];
  }
  bool isVector(NodeId id) { return kernel.isVector(stage, id); }
  /// The address of an access at the present row, column 0.
  Value rowPointer(Value base, ElementKind kind, const Access &access, Value extra = {});
  /// In bytes, of the first lane of an access with unit column stride.
  int64_t alignment(ElementKind kind, const Access &access, const Lanes &lanes, ArrayRef<DynamicIndex> dynamic = {});
  int64_t alignment(const Partial &partial, const Lanes &lanes);
  int64_t bufferAlignment(NodeId id, const Lanes &lanes) {
    return lanes.alignment(std::max(1u, getElementTypeOrSelf(typeOf(id)).getIntOrFloatBitWidth() / 8), 0);
  }
  Value scalar(NodeId id);
  Value computeScalar(NodeId id);
  Value vector(NodeId id, const Lanes &lanes);
  Value computeVector(NodeId id, const Lanes &lanes);
  Value loadVector(const Node &node, const Lanes &lanes);
  Value finishPartial(NodeId id, const Lanes *lanes);
  Value dynamicOffset(const Node &node);
  /// Scalars that the vector expression needs, computed outside of the walk.
  void prepare(NodeId id);
  void startPartials();
  void accumulate(NodeId id, Value value, const Lanes *lanes);
  Value partialPointer(const Partial &partial);
  void emitRow();
  void emitPhase(int phase);
  Team::Body weigh(ArrayRef<NodeId> roots);

  const StagedKernel &kernel;
  const Graph &graph;
  const Stage &stage;
  const KernelStage &description;
  Team &team;
  Code &code;
  ArrayRef<Value> operands;
  Value rowBlock, columnBlock, columnBegin, columnEnd;
  SmallVector<Value> rowIndices;
  std::map<NodeId, Value> blockScalars, rowScalars, vectors, buffers, rowPointers;
  std::map<NodeId, int> bufferedIn;
  std::set<NodeId> prepared;
  int phase = 0;
};

Value StageEmitter::rowPointer(Value base, ElementKind kind, const Access &access, Value extra) {
  Value offset = code.i64(access.offset);
  for (auto [index, stride] : llvm::zip(rowIndices, access.rowStrides))
    if (stride != 0)
      offset = code.add(offset, code.mul(index, stride));
  if (extra)
    offset = code.add(offset, extra);
  return code.address(base, storedType(kind), offset);
}

int64_t StageEmitter::alignment(ElementKind kind, const Access &access, const Lanes &lanes, ArrayRef<DynamicIndex> dynamic) {
  int64_t unit = std::gcd<int64_t>(stage.columnBlocks > 1 ? stage.columnBlock : 0, access.offset);
  for (int64_t stride : access.rowStrides)
    unit = std::gcd(unit, stride);
  for (const DynamicIndex &index : dynamic)
    unit = std::gcd(unit, index.stride);
  return access.columnStride == 1 ? lanes.alignment(bytesOf(kind), unit) : 0;
}

int64_t StageEmitter::alignment(const Partial &partial, const Lanes &lanes) {
  Access access = kernel.project(stage, partial.layout, 0);
  access.rowStrides.push_back(partial.blocks > 1 ? partial.elements : 0);
  return alignment(partial.type, access, lanes);
}

/// The data-dependent part of a load's address, as far as it is the same for the row.
Value StageEmitter::dynamicOffset(const Node &node) {
  Value offset;
  for (const DynamicIndex &dynamic : node.dynamic) {
    if (isVector(dynamic.index))
      continue;
    Value index = scalar(dynamic.index);
    if (index.getType() != code.i64Type())
      index = code.op("arith.extsi", index, code.i64Type());
    if (dynamic.wrap)
      index = code.select(code.compare(arith::CmpIPredicate::slt, index, code.i64(0)), code.add(index, dynamic.size), index);
    index = code.max(code.min(index, code.i64(dynamic.size - 1)), code.i64(0));
    Value part = code.mul(index, dynamic.stride);
    offset = offset ? code.add(offset, part) : part;
  }
  return offset;
}

Value StageEmitter::scalar(NodeId id) {
  if (auto found = blockScalars.find(id); found != blockScalars.end())
    return found->second;
  if (auto found = rowScalars.find(id); found != rowScalars.end())
    return found->second;
  return rowScalars[id] = computeScalar(id);
}

Value StageEmitter::computeScalar(NodeId id) {
  const Node &node = graph.nodes[id];
  if (kernel.partialOf(id))
    return finishPartial(id, nullptr);
  switch (node.kind) {
  case Node::Constant:
    return isFloat(node.type) ? code.number(typeOf(id), node.real) : code.integer(typeOf(id), node.integer);
  case Node::Load: {
    Value base = pointer(OperandKind::Input, node.input);
    Access access = kernel.project(stage, node.layout, node.offset);
    return code.loadElements(node.type, rowPointer(base, node.type, access, dynamicOffset(node)), 0);
  }
  case Node::Position: {
    Access access = kernel.project(stage, node.layout, node.offset);
    Value value = code.i64(access.offset);
    for (auto [index, stride] : llvm::zip(rowIndices, access.rowStrides))
      value = code.add(value, code.mul(index, stride));
    return node.type == ElementKind::I64 ? value : code.op("arith.trunci", value, typeOf(id));
  }
  case Node::Elementwise: {
    SmallVector<Value> values;
    for (NodeId operand : node.operands)
      values.push_back(scalar(operand));
    return emitElementwise(code, node, values, 0);
  }
  case Node::Reduce:
    break;
  }
  llvm_unreachable("a row reduction is finished by its phase");
}

/// Adds up the blocks of a partial reduction, in order.
Value StageEmitter::finishPartial(NodeId id, const Lanes *lanes) {
  const Partial &partial = *kernel.partialOf(id);
  Value base = pointer(OperandKind::Scratch, partial.scratch);
  Access access = kernel.project(stage, partial.layout, 0);
  Value start = rowPointer(base, partial.type, access);
  int64_t width = lanes ? lanes->width : 0;
  if (lanes)
    start = code.address(start, storedType(partial.type), code.mul(lanes->column, access.columnStride));
  Reduction kind = graph.nodes[id].reduction;
  Type type = Code::vectorOf(computeType(code.b.getContext(), partial.type), width);
  auto sums = code.loop(code.i64(0), code.i64(partial.blocks), 1, {neutral(code, kind, type)}, [&](Value block, ValueRange sum) {
    Value at = code.address(start, storedType(partial.type), code.mul(block, partial.elements));
    Value value = code.loadElements(partial.type, at, width, access.columnStride, lanes ? lanes->mask : Value(),
                                    lanes ? alignment(partial, *lanes) : 0);
    return SmallVector<Value>{combine(code, kind, sum[0], value)};
  });
  return sums[0];
}

Value StageEmitter::vector(NodeId id, const Lanes &lanes) {
  if (!isVector(id)) {
    const Node &node = graph.nodes[id];
    if (node.kind == Node::Constant) {
      Type type = Code::vectorOf(typeOf(id), lanes.width);
      return isFloat(node.type) ? code.number(type, node.real) : code.integer(type, node.integer);
    }
    return code.splat(scalar(id), lanes.width);
  }
  if (auto found = vectors.find(id); found != vectors.end())
    return found->second;
  return vectors[id] = computeVector(id, lanes);
}

Value StageEmitter::loadVector(const Node &node, const Lanes &lanes) {
  Access access = kernel.project(stage, node.layout, node.offset);
  NodeId id = static_cast<NodeId>(&node - graph.nodes.data());
  Value start = code.address(rowPointers.at(id), storedType(node.type), code.mul(lanes.column, access.columnStride));
  Value index;
  for (const DynamicIndex &dynamic : node.dynamic) {
    if (!isVector(dynamic.index))
      continue;
    Value each = vector(dynamic.index, lanes);
    Type wide = Code::vectorOf(code.i64Type(), lanes.width);
    if (each.getType() != wide)
      each = code.op("arith.extsi", each, wide);
    Value zero = code.integer(wide, 0);
    if (dynamic.wrap)
      each = code.select(code.compare(arith::CmpIPredicate::slt, each, zero), code.add(each, code.integer(wide, dynamic.size)), each);
    each = code.mul(code.max(code.min(each, code.integer(wide, dynamic.size - 1)), zero), code.integer(wide, dynamic.stride));
    index = index ? code.add(index, each) : each;
  }
  if (!index)
    return code.loadElements(node.type, start, lanes.width, access.columnStride, lanes.mask,
                             alignment(node.type, access, lanes, node.dynamic));
  Type wide = Code::vectorOf(code.i64Type(), lanes.width);
  index = code.add(index, code.mul(code.iota(code.i64Type(), lanes.width), code.integer(wide, access.columnStride)));
  return code.gatherElements(node.type, start, index, lanes.mask);
}

Value StageEmitter::computeVector(NodeId id, const Lanes &lanes) {
  const Node &node = graph.nodes[id];
  if (kernel.partialOf(id))
    return finishPartial(id, &lanes);
  if (stage.reloaded.count(id) && stage.phase[id] < phase)
    for (int index : stage.stores) {
      const Store &store = graph.stores[index];
      if (store.node != id)
        continue;
      ElementKind kind = graph.outputs[store.output].type;
      Access access = kernel.project(stage, store.layout, store.offset);
      Value row = rowPointer(pointer(OperandKind::Output, store.output), kind, access);
      Value start = code.address(row, storedType(kind), code.mul(lanes.column, access.columnStride));
      return code.loadElements(kind, start, lanes.width, access.columnStride, lanes.mask, alignment(kind, access, lanes));
    }
  auto buffer = buffers.find(id);
  Value bufferAt;
  if (buffer != buffers.end()) {
    bufferAt = code.address(buffer->second, typeOf(id), code.sub(lanes.column, columnBegin));
    auto [first, inserted] = bufferedIn.try_emplace(id, phase);
    if (first->second < phase)
      return code.load(Code::vectorOf(typeOf(id), lanes.width), bufferAt, bufferAlignment(id, lanes), lanes.mask);
  }
  Value value;
  if (node.kind == Node::Load) {
    value = loadVector(node, lanes);
  } else if (node.kind == Node::Position) {
    Access access = kernel.project(stage, node.layout, node.offset);
    Value first = code.add(rowScalars.at(id), code.mul(lanes.column, access.columnStride));
    if (node.type == ElementKind::I32)
      first = code.op("arith.trunci", first, typeOf(id));
    Value lane = code.mul(code.iota(typeOf(id), lanes.width), code.integer(Code::vectorOf(typeOf(id), lanes.width), access.columnStride));
    value = code.add(code.splat(first, lanes.width), lane);
  } else {
    SmallVector<Value> values;
    for (NodeId operand : node.operands)
      values.push_back(vector(operand, lanes));
    value = emitElementwise(code, node, values, lanes.width);
  }
  if (bufferAt)
    code.store(value, bufferAt, bufferAlignment(id, lanes), lanes.mask);
  return value;
}

void StageEmitter::prepare(NodeId id) {
  if (!isVector(id)) {
    if (graph.nodes[id].kind != Node::Constant)
      scalar(id);
    return;
  }
  if (!prepared.insert(id).second)
    return;
  const Node &node = graph.nodes[id];
  if (kernel.partialOf(id))
    return;
  if (node.kind == Node::Load) {
    for (const DynamicIndex &dynamic : node.dynamic)
      prepare(dynamic.index);
    if (!rowPointers.count(id)) {
      Access access = kernel.project(stage, node.layout, node.offset);
      rowPointers[id] = rowPointer(pointer(OperandKind::Input, node.input), node.type, access, dynamicOffset(node));
    }
  }
  if (node.kind == Node::Position && !rowScalars.count(id)) {
    Access access = kernel.project(stage, node.layout, node.offset);
    Value value = code.i64(access.offset);
    for (auto [index, stride] : llvm::zip(rowIndices, access.rowStrides))
      value = code.add(value, code.mul(index, stride));
    rowScalars[id] = value;
  }
  if (stage.reloaded.count(id) && stage.phase[id] < phase)
    return;
  if (auto first = bufferedIn.find(id); first != bufferedIn.end() && first->second < phase)
    return;
  for (NodeId operand : node.operands)
    prepare(operand);
}

/// Where this workgroup's block of a partial reduction starts.
Value StageEmitter::partialPointer(const Partial &partial) {
  Value base = pointer(OperandKind::Scratch, partial.scratch);
  Value block = rowBlock;
  if (graph.nodes[partial.node].span.empty())
    block = code.add(code.mul(rowBlock, stage.columnBlocks), columnBlock);
  return code.address(base, storedType(partial.type), code.mul(block, partial.elements));
}

void StageEmitter::startPartials() {
  for (NodeId id : stage.partials) {
    const Partial &partial = *kernel.partialOf(id);
    Type type = computeType(code.b.getContext(), partial.type);
    Reduction kind = graph.nodes[id].reduction;
    Value start = partialPointer(partial);
    if (graph.nodes[id].span.empty()) {
      team.once(code, [&] { code.storeElements(partial.type, neutral(code, kind, type), start); });
      continue;
    }
    int64_t count = stage.columns % stage.columnBlock == 0 ? stage.columnBlock : -1;
    team.walk(code, columnBegin, columnEnd, count, Team::Body::Light, {}, [&](const Lanes &lanes, ValueRange) {
      Value at = code.address(start, storedType(partial.type), lanes.column);
      code.storeElements(partial.type, neutral(code, kind, Code::vectorOf(type, lanes.width)), at, 1, lanes.mask,
                         alignment(partial, lanes));
      return SmallVector<Value>();
    });
  }
}

void StageEmitter::accumulate(NodeId id, Value value, const Lanes *lanes) {
  const Partial &partial = *kernel.partialOf(id);
  Value at = partialPointer(partial);
  auto update = [&](int64_t width, Value mask, int64_t aligned) {
    Value before = code.loadElements(partial.type, at, width, 1, mask, aligned);
    code.storeElements(partial.type, combine(code, graph.nodes[id].reduction, before, value), at, 1, mask, aligned);
  };
  if (!lanes)
    return team.once(code, [&] { update(0, Value(), 0); });
  at = code.address(at, storedType(partial.type), lanes->column);
  update(lanes->width, lanes->mask, alignment(partial, *lanes));
}

Team::Body StageEmitter::weigh(ArrayRef<NodeId> roots) {
  std::set<NodeId> seen;
  bool heavy = false, wide = false;
  int count = 0;
  std::function<void(NodeId)> visit = [&](NodeId id) {
    if (!isVector(id) || !seen.insert(id).second)
      return;
    const Node &node = graph.nodes[id];
    ++count;
    wide |= bytesOf(node.type) == 8;
    heavy |= StringRef(node.op).starts_with("math.");
    if (!kernel.partialOf(id))
      for (NodeId operand : node.operands)
        visit(operand);
  };
  for (NodeId root : roots)
    visit(root);
  return wide || count > 60 ? Team::Body::Wide64 : heavy || count > 24 ? Team::Body::Heavy : Team::Body::Light;
}

void StageEmitter::emitPhase(int current) {
  phase = current;
  prepared.clear();
  SmallVector<NodeId> rowReductions, vectorPartials, rowPartials, columnSums, roots;
  SmallVector<int> vectorStores, rowStores;
  auto now = [&](NodeId id) { return stage.phase[id] == current; };
  for (NodeId id : stage.reachable)
    if (kernel.isRowReduction(stage, id) && now(graph.nodes[id].operands[0]))
      rowReductions.push_back(id);
  auto reducesColumns = [&](NodeId id) {
    return llvm::any_of(graph.nodes[id].atoms, [&](AtomId atom) { return llvm::is_contained(stage.columnLoop, atom); });
  };
  for (NodeId id : stage.partials) {
    NodeId operand = graph.nodes[id].operands[0];
    if (now(operand))
      (reducesColumns(id) ? columnSums : isVector(id) ? vectorPartials : rowPartials).push_back(id);
  }
  auto isVectorStore = [&](int store) {
    return stage.columns > 1 && kernel.project(stage, graph.stores[store].layout, 0).columnStride != 0;
  };
  for (int store : stage.stores)
    if (now(graph.stores[store].node))
      (isVectorStore(store) ? vectorStores : rowStores).push_back(store);
  for (ArrayRef<NodeId> list : {ArrayRef<NodeId>(rowReductions), ArrayRef<NodeId>(vectorPartials), ArrayRef<NodeId>(columnSums)})
    for (NodeId id : list)
      roots.push_back(graph.nodes[id].operands[0]);
  for (int store : vectorStores)
    roots.push_back(graph.stores[store].node);
  SmallVector<NodeId> reductions(rowReductions);
  reductions.append(columnSums);
  SmallVector<Accumulator> accumulators;
  for (NodeId id : reductions)
    accumulators.push_back({graph.nodes[id].reduction, typeOf(id)});
  for (NodeId root : roots)
    prepare(root);
  if (!roots.empty()) {
    int64_t count = stage.columns % stage.columnBlock == 0 ? stage.columnBlock : -1;
    auto sums = team.walk(code, columnBegin, columnEnd, count, weigh(roots), accumulators, [&](const Lanes &lanes, ValueRange carried) {
      vectors.clear();
      SmallVector<Value> next, values;
      for (auto [i, id] : llvm::enumerate(reductions))
        next.push_back(combine(code, graph.nodes[id].reduction, carried[i], vector(graph.nodes[id].operands[0], lanes)));
      for (int store : vectorStores)
        values.push_back(vector(graph.stores[store].node, lanes));
      for (NodeId id : vectorPartials)
        accumulate(id, vector(graph.nodes[id].operands[0], lanes), &lanes);
      for (auto [index, value] : llvm::zip(vectorStores, values)) {
        const Store &store = graph.stores[index];
        ElementKind kind = graph.outputs[store.output].type;
        Access access = kernel.project(stage, store.layout, store.offset);
        Value row = rowPointer(pointer(OperandKind::Output, store.output), kind, access);
        Value at = code.address(row, storedType(kind), code.mul(lanes.column, access.columnStride));
        code.storeElements(kind, value, at, access.columnStride, lanes.mask, alignment(kind, access, lanes));
      }
      return next;
    });
    vectors.clear();
    for (auto [id, sum] : llvm::zip(reductions, sums))
      if (kernel.partialOf(id))
        accumulate(id, sum, nullptr);
      else
        rowScalars[id] = sum;
  }
  for (NodeId id : rowPartials)
    accumulate(id, scalar(graph.nodes[id].operands[0]), nullptr);
  // All values before the first store, which may take the place of an operand.
  SmallVector<Value> rowValues;
  for (int index : rowStores)
    rowValues.push_back(scalar(graph.stores[index].node));
  for (auto [index, value] : llvm::zip(rowStores, rowValues)) {
    const Store &store = graph.stores[index];
    ElementKind kind = graph.outputs[store.output].type;
    Value at = rowPointer(pointer(OperandKind::Output, store.output), kind, kernel.project(stage, store.layout, store.offset));
    team.once(code, [&] { code.storeElements(kind, value, at); });
  }
}

void StageEmitter::emitRow() {
  rowScalars.clear();
  rowPointers.clear();
  bufferedIn.clear();
  for (int i = 0; i < stage.phases; ++i)
    emitPhase(i);
}

void StageEmitter::emit(Value workgroup) {
  rowBlock = stage.columnBlocks == 1 ? workgroup : code.div(workgroup, stage.columnBlocks);
  columnBlock = stage.columnBlocks == 1 ? code.i64(0) : code.rem(workgroup, stage.columnBlocks);
  columnBegin = code.mul(columnBlock, stage.columnBlock);
  columnEnd = stage.columns % stage.columnBlock == 0 ? code.add(columnBegin, stage.columnBlock)
                                                     : code.min(code.add(columnBegin, stage.columnBlock), code.i64(stage.columns));
  for (NodeId id : stage.buffered)
    buffers[id] = team.rowBuffer(code, stage.columnBlock, getElementTypeOrSelf(typeOf(id)).getIntOrFloatBitWidth() / 8);
  rowIndices.assign(stage.rowSizes.size(), code.i64(0));
  // Scalars that no row loop changes.
  auto isConstantOverRows = [&](NodeId id) {
    return llvm::none_of(graph.nodes[id].span, [&](AtomId atom) {
      return llvm::any_of(stage.rowLoops, [&](const AtomList &loop) { return llvm::is_contained(loop, atom); });
    });
  };
  for (NodeId id : stage.reachable)
    if (!isVector(id) && stage.phase[id] == 0 && isConstantOverRows(id) && graph.nodes[id].kind != Node::Constant &&
        (graph.nodes[id].kind != Node::Reduce || kernel.partialOf(id)))
      scalar(id);
  blockScalars = std::move(rowScalars);
  startPartials();
  auto row = [&](Value index) {
    for (size_t i = stage.rowSizes.size(); i-- > 0;) {
      rowIndices[i] = i == 0 ? index : code.rem(index, stage.rowSizes[i]);
      if (i > 0)
        index = code.div(index, stage.rowSizes[i]);
    }
    emitRow();
  };
  if (stage.rows == 1)
    return row(code.i64(0));
  Value begin = code.mul(rowBlock, stage.rowBlock);
  if (stage.rowBlock == 1)
    return row(begin);
  Value end = stage.rows % stage.rowBlock == 0 ? code.add(begin, stage.rowBlock)
                                               : code.min(code.add(begin, stage.rowBlock), code.i64(stage.rows));
  code.loop(begin, end, 1, row);
}

} // namespace

void emitStage(const StagedKernel &kernel, size_t index, Team &team, Code &code, ArrayRef<Value> operands, Value workgroup) {
  StageEmitter(kernel, index, team, code, operands).emit(workgroup);
}

} // namespace llmc::codegen
