//===- Optimizer.cpp - nn.adamw and nn.sgd on all parameters in one kernel ----===//
//
// Updates that differ only in tensors and numeric attributes form a group, which is one stage: a workgroup finds its tensor
// and chunk in a table, reads the pointers from the argument array and the attributes from a table, and updates the chunk.
// Scalars (learning rate, bias corrections, what they are computed from) are evaluated by each workgroup in f64.
//
//===----------------------------------------------------------------------===//
#include "compiler/codegen/forms/Chunks.h"
#include "compiler/codegen/forms/Forms.h"
#include "compiler/codegen/forms/ScalarProgram.h"
#include "dialects/nn/Nn.h"
#include "mlir/Dialect/Arith/IR/Arith.h"

using namespace mlir;

namespace llmc::codegen {
namespace {

enum class Rule { AdamW, Sgd, Nesterov };

struct Group {
  Rule rule;
  ElementKind type;
  SmallVector<int, 4> scalars; // of the program
  Chunks chunks;
  SmallVector<double> attributes; // attributesOf(rule) for each tensor
  bool isSame(Rule otherRule, ElementKind otherType, ArrayRef<int> otherScalars) const {
    return rule == otherRule && type == otherType && ArrayRef<int>(scalars) == otherScalars;
  }
};

/// Tensor operands, then results, of one update.
int64_t tensorsOf(Rule rule) { return rule == Rule::AdamW ? 4 : 3; }
int64_t resultsOf(Rule rule) { return tensorsOf(rule) - 1; }
int64_t attributesOf(Rule rule) { return rule == Rule::AdamW ? 5 : 2; }

class OptimizerForm : public TeamForm {
public:
  llvm::Error build(func::FuncOp function);
  bool readsArguments(size_t) const override { return true; }
  void emit(Team &team, Code &code, size_t index, ArrayRef<Value> operands, Value workgroup) const override;

private:
  llvm::Error addUpdate(Operation *op, func::ReturnOp results);
  llvm::Error unsupported(Operation *op, const Twine &why) const {
    return llvm::createStringError(("kernel " + kernel.name + ": `" + op->getName().getStringRef() + "`: " + why).str());
  }
  SmallVector<Value> adamw(Code &code, ArrayRef<Value> tensors, ArrayRef<Value> factors) const;
  SmallVector<Value> sgd(Code &code, ArrayRef<Value> tensors, ArrayRef<Value> factors, bool nesterov) const;

  ScalarProgram program;
  std::vector<Group> groups;
};

llvm::Error OptimizerForm::addUpdate(Operation *op, func::ReturnOp results) {
  auto adamw = dyn_cast<nn::AdamWOp>(op);
  auto sgd = dyn_cast<nn::SgdOp>(op);
  Rule rule = adamw ? Rule::AdamW : sgd.getNesterov() ? Rule::Nesterov : Rule::Sgd;
  auto tensor = cast<RankedTensorType>(op->getOperand(0).getType());
  auto type = elementKindOf(tensor.getElementType());
  if (!type || !tensor.hasStaticShape())
    return unsupported(op, "not a tensor of static shape and known element type");
  SmallVector<int, 4> scalars;
  for (Value operand : op->getOperands().drop_front(tensorsOf(rule)))
    if (scalars.push_back(program.idOf(operand)); scalars.back() < 0)
      return unsupported(op, "a scalar that is neither an argument nor arithmetic on arguments");
  auto group = llvm::find_if(groups, [&](const Group &each) { return each.isSame(rule, *type, scalars); });
  if (group == groups.end()) {
    groups.push_back({rule, *type, scalars, {}, {}});
    kernel.stages.push_back({kernel.name + "_" + std::to_string(groups.size() - 1), 0, {}});
    group = groups.end() - 1;
  }
  KernelStage &stage = kernel.stages[group - groups.begin()];
  int64_t bytes = tensor.getNumElements() * bytesOf(*type);
  SmallVector<int> inputs;
  for (Value operand : op->getOperands().take_front(tensorsOf(rule))) {
    auto argument = dyn_cast<BlockArgument>(operand);
    if (!argument)
      return unsupported(op, "parameter, gradient and state must be arguments");
    inputs.push_back(static_cast<int>(argument.getArgNumber()));
    stage.operands.push_back({OperandKind::Input, inputs.back(), AccessMode::Read, bytes});
  }
  inputs.erase(inputs.begin() + 1); // the gradient
  for (auto [i, result] : llvm::enumerate(op->getResults())) {
    auto at = llvm::find(results.getOperands(), result);
    if (at == results.getOperands().end() || llvm::count(results.getOperands(), result) != 1 || !result.hasOneUse())
      return unsupported(op, "each result must be returned once and have no other use");
    int output = static_cast<int>(at - results.getOperands().begin());
    stage.operands.push_back({OperandKind::Output, output, AccessMode::Write, bytes});
    // Each element is read before it is written, by the same workgroup, unless another update reads it too.
    if (op->getOperand(i == 0 ? 0 : i + 1).hasOneUse())
      kernel.mayAlias.push_back({inputs[i], output});
  }
  group->chunks.add(tensor.getNumElements());
  if (adamw) {
    double beta1 = adamw.getBeta1().convertToDouble(), beta2 = adamw.getBeta2().convertToDouble();
    group->attributes.append({1.0 - beta1, beta2, 1.0 - beta2, adamw.getEpsilon().convertToDouble(), adamw.getDecay().convertToDouble()});
  } else {
    group->attributes.append({sgd.getMomentum().convertToDouble(), sgd.getDecay().convertToDouble()});
  }
  return llvm::Error::success();
}

llvm::Error OptimizerForm::build(func::FuncOp function) {
  kernel.name = function.getName().str();
  auto results = cast<func::ReturnOp>(function.getBody().front().getTerminator());
  for (Operation &op : function.getBody().front().without_terminator()) {
    if (isa<nn::AdamWOp, nn::SgdOp>(op)) {
      if (llvm::Error error = addUpdate(&op, results))
        return error;
    } else if (!program.add(&op)) {
      return unsupported(&op, "does not go with optimizer updates in one kernel");
    }
  }
  int64_t updated = 0;
  for (auto [group, stage] : llvm::zip(groups, kernel.stages)) {
    stage.workgroups = group.chunks.count();
    updated += group.chunks.tensors() * resultsOf(group.rule);
    // The scalars come after the tensors; all groups read all of them.
    for (int input : program.inputs())
      stage.operands.push_back(
          {OperandKind::Input, input, AccessMode::Read, bytesOf(*elementKindOf(getElementTypeOrSelf(function.getArgumentTypes()[input])))});
  }
  if (updated != static_cast<int64_t>(results.getNumOperands()))
    return unsupported(results, "scalars beside optimizer updates are a kernel of their own");
  return llvm::Error::success();
}

/// tensors: p, g, m, v; factors (for a scale of zero: 0, 1, 0, 1, 0, 1, 0, 1): scale, 1 - lr decay, lr / c1, 1 / sqrt(c2), 1 - beta1, beta2, 1 - beta2, eps.
SmallVector<Value> OptimizerForm::adamw(Code &code, ArrayRef<Value> tensors, ArrayRef<Value> factors) const {
  Value gradient = code.mulf(tensors[1], factors[0]);
  Value m = code.addf(tensors[2], code.mulf(factors[4], code.subf(gradient, tensors[2])));
  Value v = code.addf(code.mulf(factors[5], tensors[3]), code.mulf(code.mulf(factors[6], gradient), gradient));
  Value root = code.op("math.sqrt", v, v.getType());
  Value divisor = code.addf(code.mulf(root, factors[3]), factors[7]);
  Value step = code.divf(code.mulf(factors[2], m), divisor);
  return {code.subf(code.mulf(tensors[0], factors[1]), step), m, v};
}

/// tensors: p, g, b; factors (for a scale of zero: 0, 0, 1, 0): scale, lr, momentum, decay.
SmallVector<Value> OptimizerForm::sgd(Code &code, ArrayRef<Value> tensors, ArrayRef<Value> factors, bool nesterov) const {
  Value gradient = code.addf(code.mulf(tensors[1], factors[0]), code.mulf(factors[3], tensors[0]));
  Value buffer = code.addf(code.mulf(factors[2], tensors[2]), gradient);
  Value direction = nesterov ? code.addf(gradient, code.mulf(factors[2], buffer)) : buffer;
  return {code.subf(tensors[0], code.mulf(factors[1], direction)), buffer};
}

void OptimizerForm::emit(Team &team, Code &code, size_t index, ArrayRef<Value> operands, Value workgroup) const {
  const Group &group = groups[index];
  int64_t inputs = tensorsOf(group.rule), outputs = resultsOf(group.rule);
  auto pointerAt = [&](Value at) { return code.load(code.pointerType(), code.address(operands[0], code.pointerType(), at), 8); };
  Chunks::Place place = group.chunks.locate(code, workgroup);
  Value firstPointer = code.mul(place.tensor, inputs + outputs);
  SmallVector<Value> pointers;
  for (int64_t i = 0; i < inputs + outputs; ++i)
    pointers.push_back(pointerAt(code.add(firstPointer, i)));

  Type real = code.b.getF64Type(), type = computeType(code.b.getContext(), group.type);
  SmallVector<Value> scalars = program.emit(
      code, group.scalars,
      [&](size_t i) { return pointerAt(code.i64(group.chunks.tensors() * (inputs + outputs) + static_cast<int64_t>(i))); }, {});
  for (Value &scalar : scalars)
    if (scalar.getType() != real)
      scalar = code.op("arith.extf", scalar, real);
  int64_t count = attributesOf(group.rule);
  Value attributeBase = code.address(code.table(ArrayRef<double>(group.attributes)), real, code.mul(place.tensor, count));
  SmallVector<Value> attributes;
  for (int64_t i = 0; i < count; ++i)
    attributes.push_back(code.load(real, code.address(attributeBase, real, code.i64(i))));
  SmallVector<Value> factors;
  Value one = code.number(real, 1);
  if (group.rule == Rule::AdamW)
    factors = {scalars[1],
               code.subf(one, code.mulf(scalars[0], attributes[4])),
               code.divf(scalars[0], scalars[2]),
               code.divf(one, code.op("math.sqrt", scalars[3], real)),
               attributes[0],
               attributes[1],
               attributes[2],
               attributes[3]};
  else
    factors = {scalars[1], scalars[0], attributes[0], attributes[1]};
  // A scale of zero leaves everything as it is: the old value times 1, and 0 times the new one.
  Value skips = code.op("arith.cmpf", {scalars[1], code.number(real, 0)}, code.b.getI1Type(), static_cast<int64_t>(arith::CmpFPredicate::OEQ));
  static constexpr double adamwKeeps[] = {0, 1, 0, 1, 0, 1, 0, 1}, sgdKeeps[] = {0, 0, 1, 0};
  for (auto [i, kept] : llvm::enumerate(group.rule == Rule::AdamW ? ArrayRef(adamwKeeps) : ArrayRef(sgdKeeps)))
    factors[i] = code.select(skips, code.number(real, kept), factors[i]);
  for (Value &factor : factors)
    if (type != real)
      factor = code.op("arith.truncf", factor, type);

  Type stored = storageType(code.b.getContext(), group.type);
  team.walk(code, place.begin, place.end, -1, Team::Body::Light, {}, [&](const Lanes &lanes, ValueRange) {
    SmallVector<Value> tensors, wide;
    for (int64_t i = 0; i < inputs; ++i)
      tensors.push_back(code.loadElements(group.type, code.address(pointers[i], stored, lanes.column), lanes.width, 1, lanes.mask,
                                          lanes.alignment(bytesOf(group.type), Chunks::chunkSize)));
    for (Value factor : factors)
      wide.push_back(code.splat(factor, lanes.width));
    SmallVector<Value> results =
        group.rule == Rule::AdamW ? adamw(code, tensors, wide) : sgd(code, tensors, wide, group.rule == Rule::Nesterov);
    for (int64_t i = 0; i < outputs; ++i)
      code.storeElements(group.type, results[i], code.address(pointers[inputs + i], stored, lanes.column), 1, lanes.mask,
                         lanes.alignment(bytesOf(group.type), Chunks::chunkSize));
    return SmallVector<Value>();
  });
}

} // namespace

FormResult makeOptimizerForm(func::FuncOp function) {
  bool applies = llvm::any_of(function.getBody().front(), [](Operation &op) { return isa<nn::AdamWOp, nn::SgdOp>(op); });
  if (!applies)
    return nullptr;
  auto form = std::make_unique<OptimizerForm>();
  if (llvm::Error error = form->build(function))
    return error;
  return form;
}

} // namespace llmc::codegen
