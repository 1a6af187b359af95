//===- FlattenState.cpp - sharding-flatten-state ------------------------------------===//
//
//   1. state that ZeRO wants cut, and no dimension of which all data ranks divide, gets a flat type: its elements in one row
//      (one for each part over tensor ranks), with zeros up to a multiple of the data ranks;
//   2. @update: the optimizer works on rows; what is not held as rows is flattened in front of it, the parameter unflattened
//      behind;
//   3. elsewhere readers get the tensor, and gradients are added up as rows.
// Zeros stay zeros: their gradient, moments and decay are zero. Collectives are none of its business: a row is a sum where its
// tensor is one, and `sharding-propagate` scatters and gathers rows as it does other tensors.
//
//===----------------------------------------------------------------------===//
#include "dialects/nn/Nn.h"
#include "dialects/train/Recipe.h"
#include "dialects/train/Train.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "passes/sharding/Axes.h"
#include "passes/sharding/Passes.h"
#include "llvm/Support/MathExtras.h"
#include <map>

namespace llmc::sharding {
#define GEN_PASS_DEF_SHARDINGFLATTENSTATE
#include "passes/sharding/Passes.h.inc"
} // namespace llmc::sharding

using namespace mlir;
using namespace llmc;
using dist::Axes;
using dist::Sharding;
using dist::ShardingAttr;

namespace {

/// How a parameter's state is flattened.
struct FlatForm {
  RankedTensorType tensor, row;
  int64_t dim = 0, parts = 1;
  Sharding sharding;      // of the rows
  ArrayAttr shape, steps; // from the logical tensor to rows; `shape` holds the logical shape
};
using FlatForms = std::map<std::string, FlatForm>; // by parameter

Attribute step(Builder &b, StringRef kind, ArrayRef<int64_t> values) {
  return b.getDictionaryAttr(b.getNamedAttr(kind, b.getDenseI64ArrayAttr(values)));
}

/// The steps from the tensor to its rows.
void appendSteps(Builder &b, const FlatForm &form, SmallVectorImpl<Attribute> &steps) {
  ArrayRef<int64_t> shape = form.tensor.getShape();
  int64_t before = 1, size = form.tensor.getNumElements() / form.parts;
  for (int64_t extent : shape.take_front(form.dim))
    before *= extent;
  SmallVector<int64_t> rows = {size}, padded(form.row.getShape());
  if (form.parts > 1)
    rows.insert(rows.begin(), form.parts);
  if (before > 1 && form.parts > 1) {
    steps.push_back(step(b, "reshape", {before, form.parts, size / before}));
    steps.push_back(step(b, "permute", {1, 0, 2}));
  }
  if (shape != ArrayRef<int64_t>(rows))
    steps.push_back(step(b, "reshape", rows));
  if (rows != padded)
    steps.push_back(step(b, "pad", padded));
}

/// Finds the parameters whose state is flattened.
class FormFinder {
public:
  FormFinder(dist::MeshAttr mesh) : mesh(mesh), b(mesh.getContext()) {
    for (StringAttr axis : mesh.getNames())
      if (sharding::isZeroAxis(axis))
        data.push_back(axis);
  }

  FlatForms find(ModuleOp module) {
    FlatForms forms;
    for (auto function : module.getOps<func::FuncOp>())
      for (unsigned i = 0; !data.empty() && i < function.getNumArguments(); ++i)
        if (train::argumentString(function, i, train::kRole) == train::kParam)
          if (std::optional<FlatForm> form = formOf(function, i))
            forms.insert({train::argumentString(function, i, train::kName).str(), *form});
    return forms;
  }

private:
  std::optional<FlatForm> formOf(func::FuncOp function, unsigned i) {
    FlatForm form;
    form.tensor = cast<RankedTensorType>(function.getArgumentTypes()[i]);
    auto attribute = function.getArgAttrOfType<ShardingAttr>(i, dist::kSharding);
    if (!attribute)
      return std::nullopt;
    Axes rows;
    for (auto [d, axes] : llvm::enumerate(Sharding::of(attribute).dims)) {
      if (axes.empty() && form.tensor.getDimSize(d) % mesh.size(data) == 0)
        return std::nullopt;
      if (int64_t parts = mesh.size(axes); parts > 1) {
        bool isOnly = form.parts == 1 && llvm::all_of(axes, sharding::isTensorAxis);
        if (!isOnly || form.tensor.getDimSize(d) / parts % mesh.size(data) == 0)
          return std::nullopt;
        form.dim = static_cast<int64_t>(d), form.parts = parts, rows = axes;
      }
    }
    setRows(form, rows);
    setView(form, function, i);
    return form;
  }

  void setRows(FlatForm &form, const Axes &axes) {
    uint64_t size = form.tensor.getNumElements() / form.parts;
    SmallVector<int64_t> shape = {static_cast<int64_t>(llvm::alignTo(size, mesh.size(data)))};
    form.sharding.dims = {data};
    if (form.parts > 1) {
      shape.insert(shape.begin(), form.parts);
      form.sharding.dims.insert(form.sharding.dims.begin(), axes);
    }
    form.row = form.tensor.clone(shape);
  }

  void setView(FlatForm &form, func::FuncOp function, unsigned i) {
    SmallVector<Attribute> steps;
    if (auto view = function.getArgAttrOfType<ArrayAttr>(i, train::kView))
      llvm::append_range(steps, view);
    appendSteps(b, form, steps);
    form.steps = b.getArrayAttr(steps);
    Attribute shape = function.getArgAttr(i, train::kShape);
    form.shape = b.getArrayAttr(shape ? shape : b.getDenseI64ArrayAttr(form.tensor.getShape()));
  }

  dist::MeshAttr mesh;
  Builder b;
  Axes data; // over which ZeRO cuts
};

class Flattener {
public:
  Flattener(func::FuncOp function, const FlatForms &forms, int64_t zero)
      : function(function), block(function.getBody().front()), forms(forms), zero(zero) {}

  void run() {
    for (BlockArgument argument : block.getArguments())
      if (const FlatForm *form = heldFlat(true, argument.getArgNumber()))
        flattenArgument(argument, *form);
    if (function.getName() == train::kUpdate)
      flattenUpdate();
    for (unsigned i = 0; i < function.getNumResults(); ++i)
      if (const FlatForm *form = heldFlat(false, i))
        flattenResult(i, *form);
    function.setType(FunctionType::get(function.getContext(), block.getArgumentTypes(),
                                       block.getTerminator()->getOperandTypes()));
  }

private:
  StringRef text(bool isArgument, unsigned i, StringRef key) {
    return isArgument ? train::argumentString(function, i, key) : train::resultString(function, i, key);
  }
  StringRef parameterOf(bool isArgument, unsigned i) {
    StringRef name = text(isArgument, i, train::kName);
    return text(isArgument, i, train::kRole) == train::kMoment ? name.split('.').second : name;
  }
  const FlatForm *formOf(StringRef parameter) {
    auto it = forms.find(parameter.str());
    return it == forms.end() ? nullptr : &it->second;
  }
  /// The form of an argument or result that is state held as rows at this stage of ZeRO; null if it is none.
  const FlatForm *heldFlat(bool isArgument, unsigned i) {
    StringRef role = text(isArgument, i, train::kRole);
    bool isCut = (role == train::kMoment && zero >= 1) || (role == train::kGradient && zero >= 2) ||
                 (role == train::kParam && zero >= 3);
    return isCut ? formOf(parameterOf(isArgument, i)) : nullptr;
  }

  Value flatten(OpBuilder &b, Value value, const FlatForm &form) {
    if (value.getType() == form.row)
      return value;
    if (auto constant = value.getDefiningOp<arith::ConstantOp>()) // zeros of an accumulator
      if (auto splat = dyn_cast<DenseElementsAttr>(constant.getValue()); splat && splat.isSplat())
        return arith::ConstantOp::create(b, value.getLoc(), splat.resizeSplat(form.row));
    return nn::FlattenPartsOp::create(b, value.getLoc(), form.row, value, form.dim, form.parts);
  }

  void flattenArgument(BlockArgument argument, const FlatForm &form) {
    unsigned i = argument.getArgNumber();
    argument.setType(form.row);
    function.setArgAttr(i, dist::kSharding, form.sharding.toAttribute(function.getContext()));
    function.setArgAttr(i, train::kShape, form.shape[0]);
    function.setArgAttr(i, train::kView, form.steps);
    for (OpOperand &use : llvm::make_early_inc_range(argument.getUses())) {
      Operation *reader = use.getOwner();
      if (isa<nn::AdamWOp, nn::SgdOp, nn::SumOfSquaresOp>(reader))
        continue; // rows will do
      OpBuilder b(reader);
      if (auto sum = dyn_cast<arith::AddFOp>(reader); sum && text(true, i, train::kRole) == train::kGradient) {
        addRows(b, sum, 1 - use.getOperandNumber(), form);
        continue;
      }
      // One for each reader: as long as none reads it, a parameter that is gathered need not be there.
      use.set(nn::UnflattenPartsOp::create(b, reader->getLoc(), form.tensor, argument, form.dim, form.parts));
    }
  }

  /// Adds `other` to an accumulator of rows.
  void addRows(OpBuilder &b, arith::AddFOp sum, unsigned other, const FlatForm &form) {
    sum->setOperand(other, flatten(b, sum->getOperand(other), form));
    sum.getResult().setType(form.row);
    b.setInsertionPointAfter(sum);
    for (OpOperand &use : llvm::make_early_inc_range(sum->getUses()))
      if (use.getOwner() != block.getTerminator())
        use.set(nn::UnflattenPartsOp::create(b, sum.getLoc(), form.tensor, sum, form.dim, form.parts));
  }

  void flattenUpdate() {
    for (BlockArgument argument : block.getArguments()) {
      unsigned i = argument.getArgNumber();
      const FlatForm *form = formOf(parameterOf(true, i));
      if (text(true, i, train::kRole) != train::kGradient || !form || zero == 0 || argument.getType() == form->row)
        continue;
      OpBuilder b = OpBuilder::atBlockBegin(&block);
      Value rows = flatten(b, argument, *form);
      argument.replaceAllUsesExcept(rows, rows.getDefiningOp());
    }
    for (Operation &op : llvm::make_early_inc_range(block))
      if (isa<nn::AdamWOp, nn::SgdOp>(op))
        flattenOptimizer(&op);
  }

  /// Operands are parameter, gradient and moments; results the new parameter and moments.
  void flattenOptimizer(Operation *op) {
    auto moment = cast<BlockArgument>(op->getOperand(2));
    const FlatForm *form = heldFlat(true, moment.getArgNumber());
    if (!form)
      return;
    OpBuilder b(op);
    for (unsigned i : {0, 1})
      op->setOperand(i, flatten(b, op->getOperand(i), *form));
    for (OpResult result : op->getResults())
      result.setType(form->row);
    if (zero >= 3)
      return;
    b.setInsertionPointAfter(op);
    auto parameter =
        nn::UnflattenPartsOp::create(b, op->getLoc(), form->tensor, op->getResult(0), form->dim, form->parts);
    op->getResult(0).replaceAllUsesExcept(parameter, parameter);
  }

  void flattenResult(unsigned i, const FlatForm &form) {
    Operation *terminator = block.getTerminator();
    OpBuilder b(terminator);
    terminator->setOperand(i, flatten(b, terminator->getOperand(i), form));
    function.setResultAttr(i, dist::kSharding, form.sharding.toAttribute(function.getContext()));
  }

  func::FuncOp function;
  Block &block;
  const FlatForms &forms;
  int64_t zero;
};

struct FlattenState : sharding::impl::ShardingFlattenStateBase<FlattenState> {
  void runOnOperation() override {
    dist::MeshAttr mesh = dist::meshOf(getOperation());
    int64_t zero = train::recipeOf(getOperation()).zero;
    if (!mesh || zero == 0)
      return;
    FlatForms forms = FormFinder(mesh).find(getOperation());
    for (auto function : getOperation().getOps<func::FuncOp>())
      Flattener(function, forms, zero).run();
  }
};

} // namespace
