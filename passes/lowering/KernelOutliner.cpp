//===- KernelOutliner.cpp - groups of ops become kernel functions -----------------===//
#include "passes/lowering/KernelOutliner.h"
#include "dialects/dist/Dist.h"
#include "dialects/nn/Nn.h"
#include "dialects/plan/Plan.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/IR/IRMapping.h"
#include "llvm/ADT/SetVector.h"
#include "llvm/ADT/StringMap.h"
#include "llvm/Support/xxhash.h"

using namespace mlir;

namespace llmc::lowering {

namespace {

bool isSplatConstant(Operation *op) {
  auto constant = dyn_cast_or_null<arith::ConstantOp>(op);
  if (!constant)
    return false;
  auto dense = dyn_cast<DenseElementsAttr>(constant.getValue());
  return dense && dense.isSplat();
}

/// Makes the functions of kernels, one per distinct text.
class KernelTable {
public:
  explicit KernelTable(ModuleOp module) : module(module) {}

  /// The kernel with the body of `function` (detached); takes ownership.
  func::FuncOp intern(func::FuncOp function, StringRef stem) {
    function.setName("kernel");
    std::string text;
    llvm::raw_string_ostream stream(text);
    function->print(stream, OpPrintingFlags().useLocalScope().elideLargeElementsAttrs(64));
    func::FuncOp &known = byText[text];
    if (known) {
      function->erase();
      return known;
    }
    std::string name = stem.str() + "_" + llvm::utohexstr(llvm::xxh3_64bits(text), true);
    if (auto earlier = module.lookupSymbol<func::FuncOp>(name)) { // of an earlier outlining of this module
      function->erase();
      return known = earlier;
    }
    function.setName(name);
    module.push_back(function);
    return known = function;
  }

private:
  ModuleOp module;
  llvm::StringMap<func::FuncOp> byText;
};

/// Builds one kernel function from a fusion group and the call that replaces it.
class GroupOutliner {
public:
  GroupOutliner(const analysis::FusionGroup &group, KernelTable &table) : group(group), table(table) {
    inside.insert(group.ops.begin(), group.ops.end());
  }

  void outline(OpBuilder &builder, IRMapping &outer) {
    bool takesSplats = llvm::all_of(group.ops, analysis::takesSplats);
    for (Operation *op : group.ops)
      for (Value operand : op->getOperands())
        if (!takesSplats && isSplatConstant(operand.getDefiningOp()))
          inputs.insert(operand);
        else
          collect(operand);
    llvm::SetVector<Value> outputs;
    for (Operation *op : group.ops)
      for (Value result : op->getResults())
        if (llvm::any_of(result.getUsers(), [&](Operation *user) { return !inside.contains(user) && !isOnlyCloned(user); }))
          outputs.insert(result);
    Location loc = mainOp()->getLoc();
    func::FuncOp kernel = table.intern(build(outputs.getArrayRef()), mainOp()->getName().stripDialect());
    SmallVector<Value> operands;
    for (Value input : inputs)
      operands.push_back(outer.lookup(input));
    auto call = func::CallOp::create(builder, loc, kernel, operands);
    for (auto [output, result] : llvm::zip(outputs, call.getResults()))
      outer.map(output, result);
  }

private:
  /// Views and absorbed ops inside the group's copies only matter through their own users.
  bool isOnlyCloned(Operation *user) const { return clones.contains(user) && llvm::all_of(user->getUsers(), [&](Operation *u) {
    return inside.contains(u) || isOnlyCloned(u); }); }

  /// The most expensive op names the kernel.
  Operation *mainOp() const {
    auto weight = [](Operation *op) { return isa<nn::NnDialect>(op->getDialect()) ? 1 : 0; };
    Operation *best = group.ops.back();
    for (Operation *op : llvm::reverse(group.ops))
      if (weight(op) > weight(best))
        best = op;
    return best;
  }

  /// Registers an operand: an input of the kernel, or something that is copied into it.
  void collect(Value value) {
    Operation *def = value.getDefiningOp();
    if (def && inside.contains(def))
      return;
    if (def && (isSplatConstant(def) || (!isa<arith::ConstantOp>(def) && analysis::isAbsorbed(def)) || isInnerView(def))) {
      if (clones.insert(def))
        for (Value operand : def->getOperands())
          collect(operand);
      return;
    }
    inputs.insert(value);
  }

  /// A view of an absorbed slice, or of a value of this group, belongs inside.
  bool isInnerView(Operation *def) const {
    if (!analysis::isView(def))
      return false;
    Operation *source = def->getOperand(0).getDefiningOp();
    return source && (inside.contains(source) || isInnerView(source) ||
                      (!isa<arith::ConstantOp>(source) && analysis::isAbsorbed(source)));
  }

  func::FuncOp build(ArrayRef<Value> outputs) {
    MLIRContext *context = group.ops.front()->getContext();
    OpBuilder builder(context);
    SmallVector<Type> inputTypes, outputTypes;
    for (Value input : inputs)
      inputTypes.push_back(input.getType());
    for (Value output : outputs)
      outputTypes.push_back(output.getType());
    auto function = func::FuncOp::create(mainOp()->getLoc(), "kernel", builder.getFunctionType(inputTypes, outputTypes));
    function.setPrivate();
    bool gemm = llvm::any_of(group.ops, [](Operation *op) { return isa<nn::ContractOp>(op); });
    function->setAttr(plan::kKernel, builder.getStringAttr(gemm ? "gemm" : "fused"));
    builder.setInsertionPointToStart(function.addEntryBlock());
    IRMapping map;
    for (auto [input, argument] : llvm::zip(inputs, function.getArguments()))
      map.map(input, argument);
    SmallVector<Operation *> ops(clones.begin(), clones.end());
    llvm::append_range(ops, group.ops);
    llvm::sort(ops, [](Operation *a, Operation *b) { return a->isBeforeInBlock(b); });
    for (Operation *op : ops)
      builder.clone(*op, map);
    SmallVector<Value> results;
    for (Value output : outputs)
      results.push_back(map.lookup(output));
    func::ReturnOp::create(builder, mainOp()->getLoc(), results);
    return function;
  }

  const analysis::FusionGroup &group;
  KernelTable &table;
  DenseSet<Operation *> inside;
  llvm::SetVector<Value> inputs;
  llvm::SetVector<Operation *> clones;
};

/// Views and constants stay in the outer function, before their first user.
void materializeOperands(Operation *op, OpBuilder &builder, IRMapping &map) {
  for (Value operand : op->getOperands()) {
    Operation *def = operand.getDefiningOp();
    if (!def || map.contains(operand) || !(analysis::isView(def) || analysis::isAbsorbed(def) || analysis::isAssembly(def)))
      continue;
    materializeOperands(def, builder, map);
    bool known = llvm::all_of(def->getOperands(), [&](Value v) { return map.contains(v); });
    // An operand that is not there yet is a result of the same group: the view is copied into the kernel.
    if (known && (analysis::isView(def) || analysis::isAssembly(def) || isa<arith::ConstantOp>(def)))
      builder.clone(*def, map);
  }
}

void eraseUnused(Block &block) {
  for (Operation &op : llvm::make_early_inc_range(llvm::reverse(block)))
    if (op.use_empty() && (analysis::isView(&op) || isa<arith::ConstantOp, tensor::ConcatOp>(op)))
      op.erase();
}

/// The body becomes calls in the order of the groups.
void rebuild(func::FuncOp function, const analysis::FusionOptions &options, KernelTable &table) {
  SmallVector<analysis::FusionGroup> groups = analysis::findFusionGroups(function, options);
  Block &old = function.getBody().front();
  Block *fresh = new Block;
  function.getBody().push_back(fresh);
  IRMapping map;
  for (BlockArgument argument : old.getArguments())
    map.map(argument, fresh->addArgument(argument.getType(), argument.getLoc()));
  OpBuilder builder = OpBuilder::atBlockEnd(fresh);
  for (const analysis::FusionGroup &group : groups) {
    for (Operation *op : group.ops)
      materializeOperands(op, builder, map);
    if (isa<dist::DistDialect>(group.ops.front()->getDialect()))
      builder.clone(*group.ops.front(), map); // moves data, computes nothing
    else
      GroupOutliner(group, table).outline(builder, map);
  }
  materializeOperands(old.getTerminator(), builder, map);
  builder.clone(*old.getTerminator(), map);
  for (auto [from, to] : llvm::zip(old.getArguments(), fresh->getArguments()))
    from.replaceAllUsesWith(to);
  old.dropAllReferences();
  old.erase();
  eraseUnused(*fresh);
}

} // namespace

void outlineKernels(ModuleOp module, ArrayRef<func::FuncOp> functions, const analysis::FusionOptions &options) {
  KernelTable table(module);
  for (func::FuncOp function : functions)
    rebuild(function, options, table);
}

} // namespace llmc::lowering
