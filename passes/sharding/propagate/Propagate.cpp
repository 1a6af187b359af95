//===- Propagate.cpp - sharding-propagate ---------------------------------------===//
//
// @accumulate goes first: how gradients are computed decides how their accumulators are held where ZeRO leaves that
// open. In @update each gradient is made whole, or cut like its moments, once for all its readers.
//
//===----------------------------------------------------------------------===//
#include "dialects/dist/Dist.h"
#include "dialects/nn/Nn.h"
#include "dialects/train/Recipe.h"
#include "dialects/train/Train.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "passes/analysis/NodeValues.h"
#include "passes/sharding/Axes.h"
#include "passes/sharding/propagate/OpSharding.h"
#include "passes/sharding/Passes.h"
#include "passes/sharding/propagate/SequenceParallel.h"
#include "llvm/ADT/StringExtras.h"
#include <map>
#include <set>

namespace llmc::sharding {
#define GEN_PASS_DEF_SHARDINGPROPAGATE
#include "passes/sharding/Passes.h.inc"
} // namespace llmc::sharding

using namespace mlir;
using namespace llmc;
using dist::Sharding;
using dist::ShardingAttr;

namespace {

int64_t rankOf(Value value) { return cast<RankedTensorType>(value.getType()).getRank(); }

/// A constant of one value can be had in any sharding; as a partial sum only if it is zero.
bool canBe(Value value, const Sharding &sharding) {
  auto constant = value.getDefiningOp<arith::ConstantOp>();
  auto elements = constant ? dyn_cast<DenseElementsAttr>(constant.getValue()) : DenseElementsAttr();
  if (!elements || !elements.isSplat())
    return false;
  if (!sharding.isPartial())
    return true;
  auto number = dyn_cast<FloatAttr>(elements.getSplatValue<Attribute>());
  return sharding.max.empty() && number && number.getValue().isZero();
}

class Propagator {
public:
  /// Role and name of state that functions share.
  using StateName = std::pair<std::string, std::string>;

  Propagator(dist::MeshAttr mesh, bool sequenceParallel, std::map<StateName, Sharding> &state)
      : mesh(mesh), context(mesh.getContext()), sequence(mesh, sequenceParallel), state(state) {}

  LogicalResult run(func::FuncOp f) {
    function = f;
    for (unsigned i = 0; i < f.getNumArguments(); ++i)
      if (auto attribute = f.getArgAttrOfType<ShardingAttr>(i, dist::kSharding))
        known[f.getArgument(i)] = Sharding::of(attribute);
      else if (auto it = state.find(argumentName(i)); it != state.end())
        known[f.getArgument(i)] = it->second;
    if (f.getName() == train::kUpdate) {
      reshardGradients();
      splitSumsOfSquares();
    } else {
      gatherParameters();
      wantGradients();
    }
    findGiven();
    Block &block = f.getBody().front();
    for (Operation &op : llvm::make_early_inc_range(block.without_terminator()))
      if (failed(visit(&op)))
        return failure();
    if (failed(finish(block.getTerminator())))
      return failure();
    for (Operation *op = block.getTerminator()->getPrevNode(), *before; op; op = before) {
      before = op->getPrevNode();
      if (isOpTriviallyDead(op))
        op->erase(); // what was made again for a part
    }
    return success();
  }

  /// Tensors of the model that are cut as it says itself.
  const DenseSet<StringAttr> &followedTensors() const { return followed; }

private:
  StateName argumentName(unsigned i) {
    return {train::argumentString(function, i, train::kRole).str(),
            train::argumentString(function, i, train::kName).str()};
  }

  Sharding shardingOf(Value value) {
    auto it = known.find(value);
    return it == known.end() ? Sharding::whole(rankOf(value)) : it->second;
  }

  bool isOpen(Value value) { return isa<BlockArgument>(value) && !known.contains(value); }

  /// `value` in another sharding, in front of the builder's place; one reshard serves all later readers.
  Value reshard(OpBuilder &b, Value value, const Sharding &to, const Twine &reason) {
    Sharding from = shardingOf(value);
    if (from == to)
      return value;
    ShardingAttr target = to.toAttribute(context);
    Value cached = reshards.lookup({value, target});
    if (cached)
      return cached;
    if (canBe(value, to)) {
      Operation *copy = b.clone(*value.getDefiningOp());
      cached = copy->getResult(0);
    } else if (auto broadcast = value.getDefiningOp<nn::BroadcastOp>();
               broadcast && !from.isPartial() && !to.isPartial()) {
      // Repeated for the rank's part alone.
      Sharding input = Sharding::whole(rankOf(broadcast.getInput()));
      for (auto [i, d] : llvm::enumerate(broadcast.getDims()))
        if (cast<RankedTensorType>(broadcast.getInput().getType()).getDimSize(i) != 1)
          input.dims[i] = to.dims[d];
      Value part = reshard(b, broadcast.getInput(), input, reason);
      cached = nn::BroadcastOp::create(b, value.getLoc(), broadcast.getType(), part, broadcast.getDims());
    } else {
      cached =
          dist::ReshardOp::create(b, value.getLoc(), value, from.toAttribute(context), target, b.getStringAttr(reason));
    }
    reshards[{value, target}] = cached;
    annotate(cached.getDefiningOp(), {to});
    return cached;
  }

  void annotate(Operation *op, ArrayRef<Sharding> shardings) {
    SmallVector<Attribute> attributes;
    for (auto [result, sharding] : llvm::zip_equal(op->getResults(), shardings)) {
      known[result] = sharding;
      attributes.push_back(sharding.toAttribute(context));
    }
    op->setAttr(dist::kShardings, ArrayAttr::get(context, attributes));
  }

  //===-- Before the walk -----------------------------------------------------===//

  /// Where parameters are cut over data axes (ZeRO-3), their readers get them whole: those of the forward pass, and again
  /// those of the backward pass, so that no whole parameter lives from one to the other. Kept if no other is read between.
  void gatherParameters() {
    SmallVector<std::pair<unsigned, Sharding>> cut; // argument, and how its readers get it
    for (unsigned i = 0; i < function.getNumArguments(); ++i) {
      Sharding sharding = shardingOf(function.getArgument(i)), whole = sharding::withoutData(sharding);
      if (train::argumentString(function, i, train::kRole) == train::kParam && whole != sharding)
        cut.push_back({i, whole});
    }
    if (cut.empty())
      return;
    DenseMap<Operation *, int64_t> position;
    for (auto [at, op] : llvm::enumerate(function.getBody().front()))
      position[&op] = static_cast<int64_t>(at);
    DenseSet<Operation *> forward = forwardOps();
    std::set<std::pair<int64_t, unsigned>> reads; // position, argument
    for (auto &[i, whole] : cut)
      for (Operation *user : function.getArgument(i).getUsers())
        reads.insert({position.lookup(user), i});
    for (auto &[i, whole] : cut) {
      SmallVector<OpOperand *> early, late;
      for (OpOperand &use : function.getArgument(i).getUses())
        (forward.contains(use.getOwner()) ? early : late).push_back(&use);
      auto at = [&](OpOperand *use) { return position.lookup(use->getOwner()); };
      llvm::sort(early, [&](OpOperand *a, OpOperand *b) { return at(a) < at(b); });
      llvm::sort(late, [&](OpOperand *a, OpOperand *b) { return at(a) < at(b); });
      bool isKept = !early.empty() && !late.empty() &&
                    std::none_of(reads.upper_bound({at(early.back()), UINT_MAX}), reads.lower_bound({at(late.front()), 0}),
                                 [argument = i](auto &read) { return read.second != argument; });
      if (isKept)
        early.append(std::exchange(late, {}));
      gatherFor(early, i, whole, "");
      gatherFor(late, i, whole, early.empty() ? "" : " again");
    }
  }

  /// Ops that the results other than gradients depend on.
  DenseSet<Operation *> forwardOps() {
    DenseSet<Operation *> ops;
    SmallVector<Value> open;
    for (auto [i, value] : llvm::enumerate(function.getBody().front().getTerminator()->getOperands()))
      if (train::resultString(function, static_cast<unsigned>(i), train::kRole) != train::kGradient)
        open.push_back(value);
    while (!open.empty())
      if (Operation *op = open.pop_back_val().getDefiningOp(); op && ops.insert(op).second)
        llvm::append_range(open, op->getOperands());
    return ops;
  }

  void gatherFor(ArrayRef<OpOperand *> uses, unsigned argument, const Sharding &whole, StringRef again) {
    if (uses.empty())
      return;
    OpBuilder b(uses.front()->getOwner());
    Value parameter = function.getArgument(argument);
    reshards.erase({parameter, whole.toAttribute(context)}); // of the other pass
    Value gathered = reshard(b, parameter, whole, "parameter " + argumentName(argument).second + again);
    for (OpOperand *use : uses)
      use->set(gathered);
  }

  /// What is added into a gradient is wanted cut as its parameter is, where its op may choose: rows of an embedding's
  /// gradient.
  void wantGradients() {
    for (unsigned i = 0; i < function.getNumResults(); ++i) {
      int64_t parameter = train::findArgument(function, train::resultString(function, i, train::kName), train::kParam);
      if (train::resultString(function, i, train::kRole) != train::kGradient || parameter < 0)
        continue;
      auto [type, sharding] = readForm(function.getArgument(static_cast<unsigned>(parameter)));
      SmallVector<Value> open = {function.getBody().front().getTerminator()->getOperand(i)};
      while (!open.empty()) {
        Value value = open.pop_back_val();
        if (value.getType() == type)
          wanted[value] = sharding;
        if (auto sum = value.getDefiningOp<arith::AddFOp>())
          open.append({sum.getLhs(), sum.getRhs()});
        else if (auto rows = value.getDefiningOp<nn::FlattenPartsOp>())
          open.push_back(rows.getInput());
      }
    }
  }

  /// How readers see a parameter: not as rows, and not cut over data axes.
  std::pair<Type, Sharding> readForm(BlockArgument parameter) {
    Sharding sharding = sharding::withoutData(shardingOf(parameter));
    auto reader = parameter.use_empty() ? nn::UnflattenPartsOp() : dyn_cast<nn::UnflattenPartsOp>(*parameter.user_begin());
    if (!reader)
      return {parameter.getType(), sharding};
    Sharding unflattened = Sharding::whole(rankOf(reader));
    if (reader.getParts() > 1)
      unflattened.dims[reader.getDim()] = sharding.dims[0];
    return {reader.getType(), unflattened};
  }

  /// Each gradient as its moments are, or whole; one that becomes rows, as soon as these are there.
  void reshardGradients() {
    std::map<std::string, Sharding> moments;
    for (unsigned i = 0; i < function.getNumArguments(); ++i)
      if (auto [role, name] = argumentName(i); role == train::kMoment)
        moments[name.substr(name.find('.') + 1)] = shardingOf(function.getArgument(i));
    for (unsigned i = 0; i < function.getNumArguments(); ++i) {
      auto [role, name] = argumentName(i);
      Value gradient = function.getArgument(i);
      if ((role != train::kGradient && role != train::kAccumulator) || gradient.use_empty())
        continue;
      if (auto rows = dyn_cast<nn::FlattenPartsOp>(*gradient.user_begin())) {
        cutBehind[rows] = {moments.at(name), "gradient of " + name};
        continue;
      }
      auto moment = moments.find(name);
      Sharding target =
          moment != moments.end() && role == train::kGradient ? moment->second : shardingOf(gradient).withoutPartial();
      OpBuilder b = OpBuilder::atBlockBegin(&function.getBody().front());
      Value resharded =
          reshard(b, gradient, target, role == train::kGradient ? "gradient of " + name : name + " of all samples");
      if (resharded != gradient)
        gradient.replaceAllUsesExcept(resharded, resharded.getDefiningOp());
    }
  }

  /// A sum over tensors that are cut in different ways is the sum of one sum for each way.
  void splitSumsOfSquares() {
    for (auto sum : llvm::make_early_inc_range(function.getBody().front().getOps<nn::SumOfSquaresOp>())) {
      std::map<std::string, SmallVector<Value>> groups; // by the axes that cut the tensor
      for (Value input : sum.getInputs()) {
        SmallVector<std::string> axes;
        auto rows = cutBehind.find(input);
        for (const dist::Axes &dim : (rows == cutBehind.end() ? shardingOf(input) : rows->second.first).dims)
          for (StringAttr axis : dim)
            axes.push_back(axis.str());
        llvm::sort(axes);
        groups[llvm::join(axes, ",")].push_back(input);
      }
      if (groups.size() < 2)
        continue;
      OpBuilder b(sum);
      Value total;
      for (auto &[cut, inputs] : groups) {
        Value part = nn::SumOfSquaresOp::create(b, sum.getLoc(), sum.getType(), inputs);
        total = total ? arith::AddFOp::create(b, sum.getLoc(), total, part).getResult() : part;
      }
      sum.getResult().replaceAllUsesWith(total);
      sum.erase();
    }
  }

  //===-- The walk ----------------------------------------------------------------===//

  LogicalResult visit(Operation *op) {
    if (isa<arith::ConstantOp, dist::ReshardOp>(op))
      return success();
    if (!isa<Shardable>(op))
      return op->emitOpError("has no factor rule");
    settleOpenOperands(op);
    SmallVector<Sharding> present;
    SmallVector<int64_t> bytes;
    for (Value operand : op->getOperands()) {
      present.push_back(shardingOf(operand));
      bytes.push_back(tensorBytes(operand.getType()));
    }
    FailureOr<sharding::OpSharding> chosen =
        sequence.choose(op, present, bytes, op->getNumResults() == 1 ? wanted.lookup(op->getResult(0)) : Sharding());
    if (failed(chosen))
      return failure();
    OpBuilder b(op);
    for (auto [i, needed] : llvm::enumerate(chosen->operands)) {
      Value operand = op->getOperand(i);
      std::string reason = reasonOf(op);
      if (std::optional<Sharding> scattered = sequence.between(shardingOf(operand), needed, operand))
        operand = reshard(b, operand, *scattered, reason);
      op->setOperand(i, reshard(b, operand, needed, reason));
    }
    annotate(op, chosen->results);
    if (failed(giveResults(op)))
      return failure();
    if (auto cut = op->getNumResults() == 1 ? cutBehind.find(op->getResult(0)) : cutBehind.end(); cut != cutBehind.end()) {
      b.setInsertionPointAfter(op);
      Value part = reshard(b, cut->first, cut->second.first, cut->second.second);
      cut->first.replaceAllUsesExcept(part, part.getDefiningOp());
    }
    return success();
  }

  /// The values of the forward pass that the model itself says the sharding of.
  void findGiven() {
    auto all = function->getParentOfType<ModuleOp>()->getAttrOfType<ArrayAttr>(dist::kWanted);
    if (!all || all.empty() || function.getName() == train::kUpdate)
      return;
    DenseSet<Operation *> forward = forwardOps();
    analysis::NodeValues values(function, [&](Operation *op) { return forward.contains(op); });
    for (auto each : all.getAsRange<DictionaryAttr>()) {
      auto tensor = each.getAs<StringAttr>("tensor");
      Value value = values.find(each.getAs<StringAttr>("node").getValue(), each.getAs<IntegerAttr>("output").getInt(),
                                each.getAs<IntegerAttr>("outputs").getInt(),
                                each.getAs<DenseI64ArrayAttr>("shape").asArrayRef());
      if (value) {
        given[value] = {Sharding::of(each.getAs<ShardingAttr>("sharding")), tensor.str()};
        followed.insert(tensor);
      }
    }
  }

  /// Reshards results as the model says, for all that read them.
  LogicalResult giveResults(Operation *op) {
    for (Value result : op->getResults()) {
      auto it = given.find(result);
      if (it == given.end() || shardingOf(result) == it->second.first)
        continue;
      auto &[to, tensor] = it->second;
      if (std::string problem = dist::problemOf(to, cast<RankedTensorType>(result.getType()), mesh); !problem.empty())
        return op->emitError() << "`onnx_sharding`: tensor '" << tensor << "': " << problem;
      OpBuilder b(op);
      b.setInsertionPointAfter(op);
      Value resharded = reshard(b, result, to, "onnx sharding of " + tensor);
      result.replaceAllUsesExcept(resharded, resharded.getDefiningOp());
    }
    return success();
  }

  /// For whom an operand is resharded: the op, or the state that it makes: a parameter of rows, an accumulated gradient.
  std::string reasonOf(Operation *op) {
    if (isa<nn::UnflattenPartsOp, arith::AddFOp>(op))
      for (OpOperand &use : op->getUses())
        if (isa<func::ReturnOp>(use.getOwner())) {
          StringRef role = train::resultString(function, use.getOperandNumber(), train::kRole);
          if (role == train::kParam || role == train::kGradient)
            return (role + " " + train::resultString(function, use.getOperandNumber(), train::kName)).str();
        }
    return ("operand of " + op->getName().getStringRef()).str();
  }

  /// An accumulator is held as what is added to it; elsewhere whole.
  void settleOpenOperands(Operation *op) {
    for (Value operand : op->getOperands()) {
      if (!isOpen(operand))
        continue;
      Sharding sharding = Sharding::whole(rankOf(operand));
      if (isa<arith::AddFOp>(op)) {
        Value other = op->getOperand(op->getOperand(0) == operand ? 1 : 0);
        if (!isOpen(other))
          sharding = shardingOf(other);
      }
      settle(cast<BlockArgument>(operand), sharding);
    }
  }

  void settle(BlockArgument argument, const Sharding &sharding) {
    known[argument] = sharding;
    state[argumentName(argument.getArgNumber())] = sharding;
  }

  LogicalResult finish(Operation *terminator) {
    for (BlockArgument argument : function.getArguments()) {
      if (isOpen(argument))
        settle(argument, Sharding::whole(rankOf(argument)));
      function.setArgAttr(argument.getArgNumber(), dist::kSharding, shardingOf(argument).toAttribute(context));
    }
    OpBuilder b(terminator);
    for (unsigned i = 0; i < function.getNumResults(); ++i) {
      StateName name = {train::resultString(function, i, train::kRole).str(),
                        train::resultString(function, i, train::kName).str()};
      Value value = terminator->getOperand(i);
      Sharding needed = shardingOf(value);
      if (auto attribute = function.getResultAttrOfType<ShardingAttr>(i, dist::kSharding))
        needed = Sharding::of(attribute);
      else if (name.first == train::kOutput)
        needed = Sharding::whole(rankOf(value)); // so that every rank has it
      else
        needed = state.try_emplace(name, needed).first->second;
      if (Sharding from = shardingOf(value); needed.isPartial() && from != needed && !canBe(value, needed))
        return function.emitError() << "'" << name.second
                                    << "' is a partial sum over ranks in one function and whole in another";
      terminator->setOperand(i, reshard(b, value, needed, name.first + " " + name.second));
      function.setResultAttr(i, dist::kSharding, needed.toAttribute(context));
    }
    return success();
  }

  dist::MeshAttr mesh;
  MLIRContext *context;
  sharding::SequenceParallel sequence;
  func::FuncOp function;
  std::map<StateName, Sharding> &state;
  DenseMap<Value, Sharding> known, wanted;
  DenseMap<Value, std::pair<Sharding, std::string>> given; // by the model, and for which tensor
  DenseMap<Value, std::pair<Sharding, std::string>> cutBehind; // rows of gradients: as what, and why
  DenseMap<std::pair<Value, Attribute>, Value> reshards;
  DenseSet<StringAttr> followed; // tensors that `given` has
};

struct Propagate : sharding::impl::ShardingPropagateBase<Propagate> {
  void runOnOperation() override {
    dist::MeshAttr mesh = dist::meshOf(getOperation());
    if (!mesh)
      return;
    SmallVector<func::FuncOp> functions(getOperation().getOps<func::FuncOp>());
    llvm::stable_sort(functions, [](func::FuncOp a, func::FuncOp b) {
      return (a.getName() == train::kAccumulate) > (b.getName() == train::kAccumulate);
    });
    bool sequenceParallel = train::recipeOf(getOperation()).sequenceParallel;
    std::map<Propagator::StateName, Sharding> state;
    DenseSet<StringAttr> followed;
    for (func::FuncOp function : functions) {
      Propagator propagator(mesh, sequenceParallel && function.getName() != train::kUpdate, state);
      if (failed(propagator.run(function)))
        return signalPassFailure();
      followed.insert_range(propagator.followedTensors());
    }
    noteOthers(followed);
  }

  /// What the model says of values that are no more, for example inside an attention.
  void noteOthers(const DenseSet<StringAttr> &followed) {
    ModuleOp module = getOperation();
    auto all = module->getAttrOfType<ArrayAttr>(dist::kWanted);
    module->removeAttr(dist::kWanted);
    if (!all)
      return;
    constexpr size_t kShown = 16;
    SmallVector<StringRef> gone;
    for (auto each : all.getAsRange<DictionaryAttr>())
      if (auto tensor = each.getAs<StringAttr>("tensor"); !followed.contains(tensor))
        gone.push_back(tensor.getValue());
    if (!gone.empty())
      module.emitRemark() << "`onnx_sharding`: " << gone.size() << " of " << all.size()
                          << " tensors that nodes make are no values of this program (they became parts of larger "
                             "operations, or constants); how these are cut follows from parameters and inputs: "
                          << llvm::join(ArrayRef(gone).take_front(kShown), ", ") << (gone.size() > kShown ? ", ..." : "");
  }
};

} // namespace
