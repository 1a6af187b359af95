//===- Code.cpp - shorthand for emitting scalar and vector code --------------===//
#include "compiler/codegen/Code.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"

using namespace mlir;

namespace llmc::codegen {

Value Code::i64(int64_t value) { return integer(i64Type(), value); }

Value Code::number(Type type, double value) {
  Attribute attribute = b.getFloatAttr(getElementTypeOrSelf(type), value);
  if (auto vector = dyn_cast<VectorType>(type))
    attribute = DenseElementsAttr::get(vector, attribute);
  return arith::ConstantOp::create(b, loc, cast<TypedAttr>(attribute));
}

Value Code::integer(Type type, int64_t value) {
  Attribute attribute = b.getIntegerAttr(getElementTypeOrSelf(type), value);
  if (auto vector = dyn_cast<VectorType>(type))
    attribute = DenseElementsAttr::get(vector, attribute);
  return arith::ConstantOp::create(b, loc, cast<TypedAttr>(attribute));
}

Value Code::add(Value x, Value y) { return b.createOrFold<arith::AddIOp>(loc, x, y); }
Value Code::sub(Value x, Value y) { return b.createOrFold<arith::SubIOp>(loc, x, y); }
Value Code::mul(Value x, Value y) { return b.createOrFold<arith::MulIOp>(loc, x, y); }
Value Code::div(Value x, int64_t y) { return b.createOrFold<arith::DivUIOp>(loc, x, i64(y)); }
Value Code::rem(Value x, int64_t y) { return b.createOrFold<arith::RemUIOp>(loc, x, i64(y)); }
Value Code::min(Value x, Value y) { return b.createOrFold<arith::MinSIOp>(loc, x, y); }
Value Code::max(Value x, Value y) { return b.createOrFold<arith::MaxSIOp>(loc, x, y); }
Value Code::compare(arith::CmpIPredicate predicate, Value x, Value y) {
  return b.createOrFold<arith::CmpIOp>(loc, predicate, x, y);
}
Value Code::select(Value condition, Value x, Value y) { return b.createOrFold<arith::SelectOp>(loc, condition, x, y); }

Value Code::op(StringRef name, ValueRange operands, Type result, int64_t predicate) {
  OperationState state(loc, name);
  state.addOperands(operands);
  state.addTypes(result);
  if (predicate >= 0)
    state.addAttribute("predicate", b.getI64IntegerAttr(predicate));
  bool isArithmetic = llvm::is_contained({"arith.addf", "arith.subf", "arith.mulf", "arith.negf"}, name);
  if (isArithmetic)
    state.addAttribute("fastmath", arith::FastMathFlagsAttr::get(b.getContext(), arith::FastMathFlags::contract));
  return b.create(state)->getResult(0);
}

Value Code::fastMax(Value x, Value y) {
  Type i1 = vectorOf(b.getI1Type(), isa<VectorType>(x.getType()) ? cast<VectorType>(x.getType()).getDimSize(0) : 0);
  Value larger = op("arith.cmpf", {x, y}, i1, static_cast<int64_t>(arith::CmpFPredicate::OGT));
  return select(larger, x, y);
}

Type Code::vectorOf(Type element, int64_t width) { return width == 0 ? element : VectorType::get({width}, element); }

Value Code::splat(Value scalar, int64_t width) {
  if (width == 0)
    return scalar;
  return vector::BroadcastOp::create(b, loc, vectorOf(scalar.getType(), width), scalar);
}

Value Code::iota(Type element, int64_t width) {
  SmallVector<APInt> values;
  for (int64_t i = 0; i < width; ++i)
    values.push_back(APInt(element.getIntOrFloatBitWidth(), static_cast<uint64_t>(i)));
  auto type = cast<VectorType>(vectorOf(element, width));
  return arith::ConstantOp::create(b, loc, DenseElementsAttr::get(type, values));
}

Value Code::address(Value base, Type element, Value index) {
  return LLVM::GEPOp::create(b, loc, pointerType(), element, base, ArrayRef<LLVM::GEPArg>{index});
}

static int64_t alignmentOf(Type type, int64_t stated) {
  return stated ? stated : std::max<int64_t>(1, getElementTypeOrSelf(type).getIntOrFloatBitWidth() / 8);
}

Value Code::load(Type type, Value pointer, int64_t alignment, Value mask) {
  alignment = alignmentOf(type, alignment);
  if (!mask)
    return LLVM::LoadOp::create(b, loc, type, pointer, static_cast<unsigned>(alignment));
  Value zero = isa<FloatType>(getElementTypeOrSelf(type)) ? number(type, 0) : integer(type, 0);
  return LLVM::MaskedLoadOp::create(b, loc, type, pointer, mask, zero, b.getI32IntegerAttr(alignment), UnitAttr());
}

void Code::store(Value value, Value pointer, int64_t alignment, Value mask) {
  alignment = alignmentOf(value.getType(), alignment);
  if (!mask)
    LLVM::StoreOp::create(b, loc, value, pointer, static_cast<unsigned>(alignment));
  else
    LLVM::MaskedStoreOp::create(b, loc, value, pointer, mask, b.getI32IntegerAttr(alignment));
}

/// Addresses of lanes that are `stride` elements apart.
static Value laneOffsets(Code &code, int64_t width, int64_t stride) {
  return code.mul(code.iota(code.i64Type(), width), code.integer(code.vectorOf(code.i64Type(), width), stride));
}

static Value lanePointers(Code &code, Type element, Value pointer, Value offsets) {
  Type pointers = VectorType::get(cast<VectorType>(offsets.getType()).getShape(), code.pointerType());
  return LLVM::GEPOp::create(code.b, code.loc, pointers, element, pointer, ArrayRef<LLVM::GEPArg>{offsets});
}

/// The type of memory accesses: bf16 moves as i16, since processors without bf16 have no vectors of it.
static Type accessType(Code &code, ElementKind kind) {
  return kind == ElementKind::BF16 ? Type(code.b.getI16Type()) : storageType(code.b.getContext(), kind);
}

/// From the form in memory to the one computed with.
static Value widen(Code &code, ElementKind kind, Value value) {
  auto vector = dyn_cast<VectorType>(value.getType());
  Type computed = Code::vectorOf(computeType(code.b.getContext(), kind), vector ? vector.getDimSize(0) : 0);
  if (kind == ElementKind::I1)
    return code.compare(arith::CmpIPredicate::ne, value, code.integer(value.getType(), 0));
  if (kind == ElementKind::BF16)
    value = code.op("arith.bitcast", value, Code::vectorOf(code.b.getBF16Type(), vector ? vector.getDimSize(0) : 0));
  return value.getType() == computed ? value : code.op("arith.extf", value, computed);
}

Value Code::gatherElements(ElementKind kind, Value pointer, Value indices, Value mask) {
  int64_t width = cast<VectorType>(indices.getType()).getDimSize(0);
  Type stored = accessType(*this, kind), type = vectorOf(stored, width);
  Value lanes = lanePointers(*this, stored, pointer, indices);
  if (!mask)
    mask = integer(vectorOf(b.getI1Type(), width), 1);
  Value zero = isa<FloatType>(stored) ? number(type, 0) : integer(type, 0);
  Value value = LLVM::masked_gather::create(b, loc, type, lanes, mask, ValueRange{zero}, b.getI32IntegerAttr(alignmentOf(type, 0)));
  return widen(*this, kind, value);
}

Value Code::loadElements(ElementKind kind, Value pointer, int64_t width, int64_t stride, Value mask, int64_t alignment) {
  if (stride == 0 && width > 0)
    return splat(loadElements(kind, pointer, 0), width);
  if (stride != 1 && width > 0)
    return gatherElements(kind, pointer, laneOffsets(*this, width, stride), mask);
  return widen(*this, kind, load(vectorOf(accessType(*this, kind), width), pointer, alignment, mask));
}

void Code::storeElements(ElementKind kind, Value value, Value pointer, int64_t stride, Value mask, int64_t alignment) {
  auto vector = dyn_cast<VectorType>(value.getType());
  Type stored = storageType(b.getContext(), kind);
  Type type = vectorOf(stored, vector ? vector.getDimSize(0) : 0);
  if (kind == ElementKind::I1)
    value = op("arith.extui", value, type);
  else if (value.getType() != type)
    value = op("arith.truncf", value, type);
  if (kind == ElementKind::BF16) {
    type = vectorOf(accessType(*this, kind), vector ? vector.getDimSize(0) : 0);
    value = op("arith.bitcast", value, type);
  }
  if (!vector || stride == 1)
    return store(value, pointer, alignment, mask);
  int64_t width = vector.getDimSize(0);
  Value lanes = lanePointers(*this, stored, pointer, laneOffsets(*this, width, stride));
  if (!mask)
    mask = integer(vectorOf(b.getI1Type(), width), 1);
  LLVM::masked_scatter::create(b, loc, value, lanes, mask, b.getI32IntegerAttr(alignmentOf(type, 0)));
}

Value Code::table(Type element, DenseElementsAttr values) {
  Operation *holder = b.getInsertionBlock()->getParentOp()->getParentWithTrait<OpTrait::SymbolTable>();
  if (b.getInsertionBlock()->getParentOp()->hasTrait<OpTrait::SymbolTable>())
    holder = b.getInsertionBlock()->getParentOp();
  Block &body = holder->getRegion(0).front();
  auto globals = llvm::range_size(body.getOps<LLVM::GlobalOp>());
  auto type = LLVM::LLVMArrayType::get(element, static_cast<unsigned>(values.getNumElements()));
  OpBuilder top(b.getContext());
  top.setInsertionPointToStart(&body);
  auto global = LLVM::GlobalOp::create(top, loc, type, /*isConstant=*/true, LLVM::Linkage::Internal,
                                       "table_" + std::to_string(globals), values, /*alignment=*/64);
  return LLVM::AddressOfOp::create(b, loc, global);
}

Value Code::table(ArrayRef<int64_t> values) {
  auto type = RankedTensorType::get({static_cast<int64_t>(values.size())}, i64Type());
  return table(i64Type(), DenseElementsAttr::get(type, values));
}

Value Code::table(ArrayRef<double> values) {
  auto type = RankedTensorType::get({static_cast<int64_t>(values.size())}, b.getF64Type());
  return table(b.getF64Type(), DenseElementsAttr::get(type, values));
}

Value Code::stack(int64_t bytes) {
  OpBuilder::InsertionGuard guard(b);
  auto function = b.getInsertionBlock()->getParentOp()->getParentOfType<LLVM::LLVMFuncOp>();
  if (!function)
    function = cast<LLVM::LLVMFuncOp>(b.getInsertionBlock()->getParentOp());
  b.setInsertionPointToStart(&function.getBody().front());
  Value count = i64(bytes);
  return LLVM::AllocaOp::create(b, loc, pointerType(), b.getI8Type(), count, 64);
}

SmallVector<Value> Code::loop(Value from, Value to, int64_t step, ValueRange initial, LoopBody body) {
  auto op = scf::ForOp::create(b, loc, from, to, i64(step), initial);
  OpBuilder::InsertionGuard guard(b);
  b.setInsertionPointToStart(op.getBody());
  if (initial.empty() && !op.getBody()->empty())
    b.setInsertionPoint(op.getBody()->getTerminator());
  SmallVector<Value> next = body(op.getInductionVar(), op.getRegionIterArgs());
  if (!initial.empty())
    scf::YieldOp::create(b, loc, next);
  return SmallVector<Value>(op.getResults());
}

void Code::loop(Value from, Value to, int64_t step, llvm::function_ref<void(Value)> body) {
  loop(from, to, step, {}, [&](Value index, ValueRange) {
    body(index);
    return SmallVector<Value>();
  });
}

SmallVector<Value> Code::repeat(ValueRange initial, llvm::function_ref<Value(ValueRange)> condition,
                                llvm::function_ref<SmallVector<Value>(ValueRange)> body) {
  OpBuilder outer = b;
  auto op = scf::WhileOp::create(
      outer, loc, initial.getTypes(), initial,
      [&](OpBuilder &builder, Location, ValueRange carried) {
        b = builder;
        Value go = condition(carried);
        scf::ConditionOp::create(b, loc, go, carried);
      },
      [&](OpBuilder &builder, Location, ValueRange carried) {
        b = builder;
        SmallVector<Value> next = body(carried);
        scf::YieldOp::create(b, loc, next);
      });
  b = outer;
  return SmallVector<Value>(op.getResults());
}

void Code::ifThen(Value condition, llvm::function_ref<void()> body) {
  auto op = scf::IfOp::create(b, loc, condition, /*withElseRegion=*/false);
  OpBuilder::InsertionGuard guard(b);
  b.setInsertionPointToStart(op.thenBlock());
  body();
}

void Code::ifElse(Value condition, llvm::function_ref<void()> body, llvm::function_ref<void()> otherwise) {
  auto op = scf::IfOp::create(b, loc, condition, /*withElseRegion=*/true);
  OpBuilder::InsertionGuard guard(b);
  b.setInsertionPointToStart(op.thenBlock());
  body();
  b.setInsertionPointToStart(op.elseBlock());
  otherwise();
}

void emitStageFunction(ModuleOp module, StringRef symbol, size_t operands, bool asArray,
                       llvm::function_ref<void(Code &, ArrayRef<Value>, Value)> body) {
  OpBuilder b = OpBuilder::atBlockEnd(module.getBody());
  Location loc = module.getLoc();
  auto pointer = LLVM::LLVMPointerType::get(b.getContext());
  auto type = LLVM::LLVMFunctionType::get(LLVM::LLVMVoidType::get(b.getContext()), {pointer, b.getI64Type()});
  auto function = LLVM::LLVMFuncOp::create(b, loc, symbol, type);
  Block *entry = function.addEntryBlock(b);
  b.setInsertionPointToStart(entry);
  Code code(b, loc);
  SmallVector<Value> pointers;
  if (asArray)
    pointers.push_back(entry->getArgument(0));
  for (size_t i = 0; i < operands && !asArray; ++i)
    pointers.push_back(code.load(pointer, code.address(entry->getArgument(0), pointer, code.i64(static_cast<int64_t>(i))), 8));
  body(code, pointers, entry->getArgument(1));
  LLVM::ReturnOp::create(code.b, loc, ValueRange());
}

} // namespace llmc::codegen
