//===- RecomposeRope.cpp - import-recompose-rope -----------------------------------------===//
//
// A rotation works on pairs (a, b) of a vector x: its halves, or its even and odd entries ("packed" one or the other way).
//   1. x cos + packed(-b, a) sin, and packed(a cos - b sin, b cos + a sin), are nn.rope of x;
//   2. the tables, which repeat over heads and mostly over samples, are made [T, R] or [B, T, R], at compile time if constant;
//   3. a rotated first part joined with the rest is nn.rope of the whole; tables that repeat over samples lose that dimension.
// Where x is [B, H, T, D], transposes around cancel in import-sink-transposes.
//
//===----------------------------------------------------------------------===//
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "passes/import/KnownValues.h"
#include "passes/import/Matching.h"
#include "passes/import/Passes.h"
#include <map>

namespace llmc::importing {
#define GEN_PASS_DEF_IMPORTRECOMPOSEROPE
#include "passes/import/Passes.h.inc"
} // namespace llmc::importing

using namespace mlir;
using namespace llmc;
using namespace llmc::importing;

namespace {

//===-- Pairs ------------------------------------------------------------------------------===//

/// The entries start, start + step, ... of the last dimension of `x`.
struct Part {
  Value x;
  int64_t start, step, size;
};

int64_t lastSize(Value value) { return nn::typeOf(value).getShape().back(); }

/// A slice of the last dimension only.
std::optional<Part> sliceOf(Value value) {
  auto slice = value.getDefiningOp<tensor::ExtractSliceOp>();
  if (!slice || slice->getNumOperands() != 1 || slice.getDroppedDims().any())
    return std::nullopt;
  int64_t last = nn::typeOf(value).getRank() - 1;
  ArrayRef<int64_t> whole = nn::typeOf(slice.getSource()).getShape();
  for (int64_t d = 0; d < last; ++d)
    if (slice.getStaticSizes()[d] != whole[d])
      return std::nullopt;
  return Part{slice.getSource(), slice.getStaticOffsets()[last], slice.getStaticStrides()[last], slice.getStaticSizes()[last]};
}

/// A slice, also one of x seen as [.., R/2, 2].
std::optional<Part> partOf(Value value) {
  if (auto part = sliceOf(value))
    return part;
  Operation *reshape = value.getDefiningOp();
  if (!isa_and_nonnull<tensor::CollapseShapeOp, tensor::ExpandShapeOp>(reshape))
    return std::nullopt;
  auto part = sliceOf(reshape->getOperand(0));
  auto expand = part && part->size == 1 ? part->x.getDefiningOp<tensor::ExpandShapeOp>() : nullptr;
  if (!expand || lastSize(part->x) != 2 || expand.getReassociationIndices().back().size() != 2 ||
      nn::typeOf(value).getShape().drop_back() != nn::typeOf(expand.getSrc()).getShape().drop_back())
    return std::nullopt;
  return Part{expand.getSrc(), part->start, 2, lastSize(expand.getSrc()) / 2};
}

/// Two parts as pairs of one range of x: halves, or neighbours if `interleaved`.
struct Pairs {
  Value x;
  int64_t start, size;
  bool interleaved;
};
std::optional<Pairs> pairsOf(Value a, Value b) {
  auto first = partOf(a), second = partOf(b);
  if (!first || !second || first->x != second->x || first->step != second->step || first->size != second->size)
    return std::nullopt;
  if (first->step == 1 && second->start == first->start + first->size)
    return Pairs{first->x, first->start, 2 * first->size, false};
  if (first->step == 2 && second->start == first->start + 1)
    return Pairs{first->x, first->start, 2 * first->size, true};
  return std::nullopt;
}

/// True if `value` is that range.
bool isRange(Value value, const Pairs &pairs) {
  if (value == pairs.x)
    return pairs.start == 0 && pairs.size == lastSize(value);
  auto part = sliceOf(value);
  return part && part->x == pairs.x && part->start == pairs.start && part->step == 1 && part->size == pairs.size;
}

struct Packed {
  Value first, second;
  bool interleaved;
};
std::optional<Packed> packedOf(Value value) {
  int64_t last = nn::typeOf(value).getRank() - 1;
  if (auto concat = value.getDefiningOp<tensor::ConcatOp>()) {
    bool halves = concat.getInputs().size() == 2 && static_cast<int64_t>(concat.getDim()) == last &&
                  concat.getInputs()[0].getType() == concat.getInputs()[1].getType();
    return halves ? std::optional(Packed{concat.getInputs()[0], concat.getInputs()[1], false}) : std::nullopt;
  }
  auto collapse = value.getDefiningOp<tensor::CollapseShapeOp>();
  auto concat = collapse ? collapse.getSrc().getDefiningOp<tensor::ConcatOp>() : nullptr;
  if (!concat || concat.getInputs().size() != 2 || static_cast<int64_t>(concat.getDim()) != last + 1 ||
      collapse.getReassociationIndices().back().size() != 2)
    return std::nullopt;
  Value parts[2];
  for (int i : {0, 1}) {
    auto expand = concat.getInputs()[i].getDefiningOp<tensor::ExpandShapeOp>();
    if (!expand || lastSize(expand) != 1 || nn::typeOf(expand).getShape().drop_back() != nn::typeOf(expand.getSrc()).getShape())
      return std::nullopt;
    parts[i] = expand.getSrc();
  }
  return Packed{parts[0], parts[1], true};
}

/// b, if `value` is -b.
Value negated(Value value) {
  if (auto negative = value.getDefiningOp<arith::NegFOp>())
    return negative.getOperand();
  Value result;
  if (auto mul = value.getDefiningOp<arith::MulFOp>())
    eitherOrder(mul, [&](Value b, Value one) { return isSplat(one, -1.0) && (result = b, true); });
  return result;
}

//===-- Tables -----------------------------------------------------------------------------===//

/// Where batch, sequence and heads stand in x, which has three (no heads) or four dimensions.
struct Layout {
  bool headsFirst; // [B, H, T, D]
  bool perSample;  // the tables differ between samples
};

/// The layout that tables repeated to x's shape imply; nothing if they differ between heads.
std::optional<Layout> layoutOf(ArrayRef<Value> tables) {
  ArrayRef<int64_t> shape = nn::typeOf(tables.front()).getShape();
  int64_t last = static_cast<int64_t>(shape.size()) - 1;
  if (last != 2 && last != 3)
    return std::nullopt;
  SmallVector<bool> varies(last + 1, false);
  for (Value table : tables)
    for (int64_t d : spreadOf(table).dims)
      varies[d] = true;
  if (last == 2)
    return Layout{false, varies[0]};
  if (varies[1] && varies[2])
    return std::nullopt;
  if (varies[1] || varies[2])
    return Layout{varies[2], varies[0]};
  if (shape[1] != 1 && shape[2] != 1)
    return std::nullopt; // which one is the sequence?
  return Layout{shape[1] != 1, varies[0]};
}

class RopeBuilder {
public:
  RopeBuilder(func::FuncOp function) : trained(valuesOfParameters(function)), known(function) {}

  /// Replaces `root` by the rotation of `x` with full tables, or with tables of the two members of each pair. False if that
  /// is not possible.
  bool replace(Operation *root, Value x, ArrayRef<Value> cos, ArrayRef<Value> sin, bool interleaved);
  /// Tables of an existing op.
  void shrinkTables(nn::RopeOp op);

private:
  Value smallTable(OpBuilder &b, Location loc, ArrayRef<Value> parts, const Layout &layout, bool interleaved);
  Value compact(OpBuilder &b, Location loc, Value part, const Layout &layout);

  DenseSet<Value> trained;
  KnownValues known;
  std::map<std::vector<void *>, Value> made; // constant tables by their sources and layout
};

/// One table [T, n] or [B, T, n].
Value RopeBuilder::compact(OpBuilder &b, Location loc, Value part, const Layout &layout) {
  ArrayRef<int64_t> shape = nn::typeOf(part).getShape();
  int64_t last = static_cast<int64_t>(shape.size()) - 1, sequence = layout.headsFirst ? 2 : 1;
  SmallVector<int64_t> dims, compactShape;
  if (layout.perSample)
    compactShape.push_back(shape[0]);
  compactShape.append({shape[sequence], shape[last]});
  int64_t offset = layout.perSample ? 1 : 0;
  Spread spread = spreadOf(part);
  for (int64_t d : spread.dims)
    dims.push_back(d == last ? offset + 1 : d == 0 && layout.perSample ? 0 : offset);
  return respread(b, loc, spread, dims, compactShape);
}

Value RopeBuilder::smallTable(OpBuilder &b, Location loc, ArrayRef<Value> parts, const Layout &layout, bool interleaved) {
  std::vector<void *> key = {reinterpret_cast<void *>(static_cast<intptr_t>(layout.headsFirst + 2 * layout.perSample + 4 * interleaved))};
  for (Value part : parts) {
    Spread spread = spreadOf(part);
    key.push_back(known.fold(spread.source).getAsOpaquePointer()); // what is folded here is not erased later
    for (int64_t d : spread.dims)
      key.push_back(reinterpret_cast<void *>(static_cast<intptr_t>(d)));
  }
  auto [it, isNew] = made.try_emplace(key, Value());
  if (it->second)
    return it->second;
  SmallVector<Value> small = llvm::map_to_vector(parts, [&](Value part) { return compact(b, loc, part, layout); });
  Value table = small[0];
  if (small.size() == 2) {
    SmallVector<int64_t> shape(nn::typeOf(table).getShape());
    int64_t last = static_cast<int64_t>(shape.size()) - 1;
    if (interleaved) {
      shape.push_back(1);
      for (Value &part : small)
        part = nn::reshape(b, loc, part, shape);
    }
    table = tensor::ConcatOp::create(b, loc, interleaved ? last + 1 : last, small);
    shape.resize(last + 1);
    shape[last] *= 2;
    table = nn::reshape(b, loc, table, shape);
  }
  table = known.fold(table);
  if (known.attributeOf(table))
    it->second = table;
  return table;
}

bool RopeBuilder::replace(Operation *root, Value x, ArrayRef<Value> cos, ArrayRef<Value> sin, bool interleaved) {
  SmallVector<Value> all(cos);
  llvm::append_range(all, sin);
  std::optional<Layout> layout = layoutOf(all);
  if (!layout || llvm::any_of(all, [&](Value v) { return trained.contains(v); }) || lastSize(x) % 2 != 0)
    return false;
  OpBuilder b(root);
  Location loc = root->getLoc();
  Value cosTable = smallTable(b, loc, cos, *layout, interleaved), sinTable = smallTable(b, loc, sin, *layout, interleaved);
  SmallVector<int64_t> shape(nn::typeOf(x).getShape());
  if (shape.size() == 3)
    x = nn::reshape(b, loc, x, {shape[0], shape[1], 1, shape[2]});
  else if (layout->headsFirst)
    x = nn::TransposeOp::create(b, loc, x, ArrayRef<int64_t>({0, 2, 1, 3}));
  Value y = nn::RopeOp::create(b, loc, x.getType(), x, cosTable, sinTable, interleaved, false);
  if (shape.size() == 3)
    y = nn::reshape(b, loc, y, shape);
  else if (layout->headsFirst)
    y = nn::TransposeOp::create(b, loc, y, ArrayRef<int64_t>({0, 2, 1, 3}));
  if (trained.contains(root->getResult(0)))
    trained.insert(y);
  root->getResult(0).replaceAllUsesWith(y);
  return true;
}

void RopeBuilder::shrinkTables(nn::RopeOp op) {
  OpBuilder b(op);
  auto shrink = [&](OpOperand &operand) {
    Value table = operand.get();
    Spread spread = spreadOf(table);
    if (nn::typeOf(table).getRank() == 3 && !llvm::is_contained(spread.dims, 0)) {
      SmallVector<int64_t> dims = llvm::map_to_vector(spread.dims, [](int64_t d) { return d - 1; });
      return respread(b, op.getLoc(), spread, dims, nn::typeOf(table).getShape().drop_front());
    }
    return table;
  };
  Value cos = shrink(op.getCosMutable()), sin = shrink(op.getSinMutable());
  if (nn::typeOf(cos).getRank() != nn::typeOf(sin).getRank())
    return;
  op.getCosMutable().assign(known.fold(cos));
  op.getSinMutable().assign(known.fold(sin));
}

//===-- The two forms ------------------------------------------------------------------------===//

/// x * cos + packed(-b, a) * sin.
bool matchSum(arith::AddFOp op, RopeBuilder &builder) {
  if (!isa<RankedTensorType>(op.getType()))
    return false;
  return eitherOrder(op, [&](Value straight, Value turned) {
    auto left = straight.getDefiningOp<arith::MulFOp>(), right = turned.getDefiningOp<arith::MulFOp>();
    return left && right && eitherOrder(right, [&](Value packed, Value sin) {
             auto pack = packedOf(packed);
             Value b = pack ? negated(pack->first) : Value();
             auto pairs = b ? pairsOf(pack->second, b) : std::nullopt;
             return pairs && pairs->interleaved == pack->interleaved && eitherOrder(left, [&](Value x, Value cos) {
                      return isRange(x, *pairs) && builder.replace(op, x, {cos}, {sin}, pairs->interleaved);
                    });
           });
  });
}

/// first * cos + sign * second * sin.
struct Rotation {
  Value first, cos, second, sin;
};
SmallVector<Rotation> rotationsOf(Value value, bool minus) {
  SmallVector<Rotation> found;
  Operation *op = value.getDefiningOp();
  auto addProducts = [&](Value a, Value b) {
    auto left = a.getDefiningOp<arith::MulFOp>(), right = b.getDefiningOp<arith::MulFOp>();
    if (left && right)
      eitherOrder(left, [&](Value first, Value cos) {
        return eitherOrder(right, [&](Value second, Value sin) {
          found.push_back({first, cos, second, sin});
          return false;
        });
      });
  };
  if (auto sub = dyn_cast_or_null<arith::SubFOp>(op); sub && minus)
    addProducts(sub.getLhs(), sub.getRhs());
  if (auto add = dyn_cast_or_null<arith::AddFOp>(op); add && !minus)
    eitherOrder(add, [&](Value a, Value b) { return addProducts(a, b), false; });
  return found;
}

/// packed(a, b): the range of the x that they are parts of, or a concatenation. Null for neighbours of two values.
Value joined(OpBuilder &b, Value first, Value second, bool interleaved) {
  auto pairs = pairsOf(first, second);
  if (!pairs || pairs->interleaved != interleaved) {
    if (interleaved)
      return {};
    return tensor::ConcatOp::create(b, first.getLoc(), nn::typeOf(first).getRank() - 1, ValueRange{first, second});
  }
  if (pairs->size == lastSize(pairs->x))
    return pairs->x;
  RankedTensorType type = nn::typeOf(pairs->x);
  SmallVector<OpFoldResult> offsets(type.getRank(), b.getIndexAttr(0)), strides(type.getRank(), b.getIndexAttr(1)), sizes;
  for (int64_t size : type.getShape())
    sizes.push_back(b.getIndexAttr(size));
  offsets.back() = b.getIndexAttr(pairs->start);
  sizes.back() = b.getIndexAttr(pairs->size);
  return tensor::ExtractSliceOp::create(b, first.getLoc(), pairs->x, offsets, sizes, strides);
}

/// packed(a * cos - b * sin, b * cos + a * sin).
bool matchPacked(Operation *op, RopeBuilder &builder) {
  auto pack = packedOf(op->getResult(0));
  if (!pack)
    return false;
  for (const Rotation &u : rotationsOf(pack->first, true))
    for (const Rotation &v : rotationsOf(pack->second, false)) {
      if (u.first != v.second || u.second != v.first || u.first == u.second)
        continue;
      // The other operands must be the tables: they repeat over heads.
      Value a = u.first, b = u.second;
      if (!layoutOf({u.cos, u.sin, v.cos, v.sin}))
        continue;
      OpBuilder ir(op);
      Value x = joined(ir, a, b, pack->interleaved);
      if (x && builder.replace(op, x, {u.cos, v.cos}, {u.sin, v.sin}, pack->interleaved))
        return true;
    }
  return false;
}

/// concat(rope(x[.., :R]), x[.., R:]) = rope(x).
void joinPartial(tensor::ConcatOp op) {
  if (op.getInputs().size() != 2 || static_cast<int64_t>(op.getDim()) != nn::typeOf(op).getRank() - 1)
    return;
  auto rope = op.getInputs()[0].getDefiningOp<nn::RopeOp>();
  auto rotated = rope ? sliceOf(rope.getInput()) : std::nullopt, rest = sliceOf(op.getInputs()[1]);
  if (!rotated || !rest || rotated->x != rest->x || rotated->start != 0 || rotated->step != 1 || rest->step != 1 ||
      rest->start != rotated->size || rotated->size + rest->size != lastSize(rotated->x))
    return;
  OpBuilder b(op);
  op.getResult().replaceAllUsesWith(nn::RopeOp::create(b, op.getLoc(), rotated->x.getType(), rotated->x, rope.getCos(), rope.getSin(),
                                                       rope.getInterleaved(), rope.getTransposed()));
}

struct RecomposeRope : importing::impl::ImportRecomposeRopeBase<RecomposeRope> {
  void runOnOperation() override {
    for (auto function : getOperation().getOps<func::FuncOp>()) {
      RopeBuilder builder(function);
      for (Operation &op : llvm::make_early_inc_range(function.getBody().front().without_terminator())) {
        if (auto add = dyn_cast<arith::AddFOp>(op))
          matchSum(add, builder);
        else if (isa<tensor::ConcatOp, tensor::CollapseShapeOp>(op) && !op.use_empty())
          matchPacked(&op, builder);
      }
      for (auto concat : function.getOps<tensor::ConcatOp>())
        joinPartial(concat);
      for (auto rope : function.getOps<nn::RopeOp>())
        builder.shrinkTables(rope);
    }
  }
};

} // namespace
