//===- Segment.cpp - instructions and live ranges of one function ------------------===//
//
//   1. arguments are state, inputs or constants;
//   2. results are matched with the state they replace: the call that makes one writes it in place if the old value is not
//      read later and the kernel allows it;
//   3. calls and collectives become instructions, in order; a temporary may reuse the storage of an operand that dies there; slices are
//      parts of their source, operands of a concatenation parts of its result;
//   4. what could not be written in place is copied or filled at the end;
//   5. a collective runs beside what follows until an instruction touches what it writes, or writes what it reads.
//
//===----------------------------------------------------------------------===//
#include "dialects/interfaces/Interfaces.h"
#include "dialects/train/Train.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "passes/analysis/FusionGroups.h"
#include "passes/scheduling/Program.h"

using namespace mlir;

namespace llmc::scheduling {

namespace {

constexpr int64_t kNever = -1, kAtReturn = std::numeric_limits<int64_t>::max();

/// The value whose bytes, or a part of them, `value` shows.
Value rootValue(Value value) {
  while (Operation *op = value.getDefiningOp()) {
    if (!analysis::isView(op) && !analysis::isPlaceView(op))
      break;
    value = op->getOperand(0);
  }
  return value;
}

/// Ops that become instructions (dist.index: an input).
bool isStep(Operation *op) {
  return op && (isa<func::CallOp>(op) || (isa<dist::DistDialect>(op->getDialect()) && !analysis::isPlaceView(op)));
}

RankedTensorType typeOf(Value value) { return cast<RankedTensorType>(value.getType()); }

class SegmentPlanner {
public:
  SegmentPlanner(func::FuncOp function, Program &program)
      : function(function), program(program), symbols(function->getParentOfType<ModuleOp>()) {
    segment.name = function.getName().str();
    segment.function = function;
  }

  LogicalResult run() {
    countUses();
    placeArguments();
    placeAssemblies();
    chooseTargets();
    for (Operation &op : function.getBody().front().without_terminator()) {
      if (isStep(&op)) {
        if (failed(emitStep(&op)))
          return failure();
      } else if (auto constant = dyn_cast<arith::ConstantOp>(op)) {
        placeConstant(constant);
      }
    }
    finishResults();
    while (!pending.empty())
      waitFor(0);
    program.segments.push_back(std::move(segment));
    return success();
  }

private:
  void countUses() {
    int64_t index = 0;
    for (Operation &op : function.getBody().front()) {
      if (isStep(&op))
        stepIndex[&op] = index++;
      if (auto concat = dyn_cast<tensor::ConcatOp>(op))
        for (Value operand : concat.getInputs())
          assemblyOf[rootValue(operand)] = concat;
      bool isReturn = op.hasTrait<OpTrait::IsTerminator>();
      if (!isStep(&op) && !isReturn)
        continue;
      for (Value operand : op.getOperands())
        lastUse[rootValue(operand)] = isReturn ? kAtReturn : index - 1;
    }
  }
  int64_t lastUseOf(Value root) const {
    auto it = lastUse.find(root);
    return it == lastUse.end() ? kNever : it->second;
  }

  void placeArguments() {
    for (BlockArgument argument : function.getArguments()) {
      unsigned i = argument.getArgNumber();
      StringRef role = train::argumentString(function, i, train::kRole), name = train::argumentString(function, i, train::kName);
      RankedTensorType type = typeOf(argument);
      if (role == train::kInput || role == train::kPosition) {
        int buffer = program.addBuffer({segment.name + "." + name.str(), "input", "input", "", type, tensorBytes(type), 0, 0, 0, -1, {}, function.getLoc()});
        storage[argument] = buffer;
        segment.inputs.push_back({i, buffer});
        segment.given.push_back({argument, buffer});
        continue;
      }
      int buffer = program.stateBuffer(role, name, type, argument.getLoc());
      if (auto sharding = function.getArgAttrOfType<dist::ShardingAttr>(i, dist::kSharding))
        program.buffers[buffer].sharding = sharding;
      if (auto view = function.getArgAttrOfType<ArrayAttr>(i, train::kView); view && role != train::kParam)
        program.buffers[buffer].view = view;
      if (auto value = function.getArgAttrOfType<ElementsAttr>(i, train::kValue))
        program.buffers[buffer].value = value;
      storage[argument] = buffer;
      segment.given.push_back({argument, buffer});
    }
  }

  /// Concatenations get their storage now, so that what makes their operands can write there.
  void placeAssemblies() {
    for (auto concat : function.getBody().front().getOps<tensor::ConcatOp>()) {
      int buffer = addTemporary(concat.getType(), "activation", concat.getLoc());
      program.buffers[buffer].first = std::numeric_limits<int64_t>::max();
      program.buffers[buffer].last = -1;
      storage[concat.getResult()] = buffer;
    }
  }

  /// The buffer that holds the bytes of `value`, a part of its root's buffer if it is a slice.
  int bufferOf(Value value) {
    Operation *op = value.getDefiningOp();
    if (!op || (!analysis::isView(op) && !analysis::isPlaceView(op)))
      return storage.lookup(value);
    int source = bufferOf(op->getOperand(0));
    if (auto part = dyn_cast<dist::PartOp>(op)) {
      auto [it, isNew] = storage.try_emplace(value, 0);
      if (isNew)
        it->second = program.addPlacePart(source, typeOf(value), part.getAxes(), op->getLoc());
      return it->second;
    }
    auto slice = dyn_cast<tensor::ExtractSliceOp>(op);
    if (!slice || slice.getType().getNumElements() == slice.getSourceType().getNumElements())
      return source;
    auto [it, isNew] = storage.try_emplace(value, 0);
    if (isNew)
      it->second = program.addPart(source, typeOf(value), analysis::sliceOffset(slice) * elementBytes(typeOf(value).getElementType()), op->getLoc());
    return it->second;
  }

  /// True if the step that makes `value` may write it over argument `old`.
  bool mayReplace(Value value, BlockArgument old) {
    Operation *step = value.getDefiningOp();
    int64_t last = lastUseOf(old), position = stepIndex.lookup(step);
    if (last < position)
      return true;
    if (last > position)
      return false;
    ArrayRef<int64_t> places = operandsOf(step, old);
    return places.size() == 1 && llvm::is_contained(aliasesOf(step, cast<OpResult>(value).getResultNumber()), places[0]);
  }

  /// The operands of the step that show bytes of `root`.
  ArrayRef<int64_t> operandsOf(Operation *step, Value root) {
    auto [it, isNew] = operandsByRoot.try_emplace(step);
    if (isNew)
      for (auto [j, input] : llvm::enumerate(step->getOperands()))
        it->second[rootValue(input)].push_back(j);
    auto found = it->second.find(root);
    return found == it->second.end() ? ArrayRef<int64_t>() : ArrayRef<int64_t>(found->second);
  }

  /// The operands whose storage result `output` of the step may take.
  ArrayRef<int64_t> aliasesOf(Operation *step, int64_t output) {
    auto call = dyn_cast<func::CallOp>(step);
    if (!call) {
      inPlace = {output};
      return isa<dist::AllReduceOp>(step) ? ArrayRef<int64_t>(inPlace) : ArrayRef<int64_t>();
    }
    auto [it, isNew] = aliases.try_emplace(call.getCalleeAttr().getAttr());
    auto &known = it->second;
    if (isNew) {
      auto kernel = symbols.lookup<func::FuncOp>(call.getCallee());
      known.resize(call.getNumResults());
      if (auto gemm = kernel->getAttrOfType<DictionaryAttr>(plan::kGemm)) {
        if (auto accumulated = gemm.getAs<IntegerAttr>("accumulate"))
          known[0].push_back(accumulated.getInt());
      } else if (auto stages = kernel->getAttrOfType<DictionaryAttr>(plan::kStages)) {
        ArrayRef<int64_t> pairs = stages.getAs<DenseI64ArrayAttr>("alias").asArrayRef();
        for (size_t i = 0; i + 1 < pairs.size(); i += 2)
          known[pairs[i]].push_back(pairs[i + 1]);
      }
    }
    return known[output];
  }

  /// Decides which results of steps are written straight into state or output buffers.
  void chooseTargets() {
    auto ret = cast<func::ReturnOp>(function.getBody().front().getTerminator());
    train::ArgumentTable arguments(function);
    for (auto [i, operand] : llvm::enumerate(ret.getOperands())) {
      StringRef role = train::resultString(function, i, train::kRole), name = train::resultString(function, i, train::kName);
      int buffer;
      if (role == train::kOutput) {
        buffer = program.addBuffer({segment.name + "." + name.str(), "output", "output", "", typeOf(operand), tensorBytes(operand.getType()), 0, 0, 0, -1, {}, operand.getLoc()});
        segment.outputs.push_back({static_cast<unsigned>(i), buffer});
      } else {
        buffer = program.stateBuffer(role, name, typeOf(operand), operand.getLoc());
      }
      resultBuffers.push_back(buffer);
      Value root = rootValue(operand);
      int64_t argument = role == train::kOutput ? -1 : arguments.find(name, role);
      bool isWhole = tensorBytes(root.getType()) == tensorBytes(operand.getType()); // else a part of it is copied
      if (!isStep(root.getDefiningOp()) || targets.contains(root) || !isWhole)
        continue;
      BlockArgument old = argument < 0 ? BlockArgument() : function.getArgument(argument);
      if (!old || mayReplace(root, old))
        setTarget(root, buffer, old);
    }
  }

  /// Writes `value` into `buffer`, and before it what it is made from in place: the first products of a sum, say.
  void setTarget(Value value, int buffer, BlockArgument old) {
    while (value) {
      targets[value] = buffer;
      Operation *step = value.getDefiningOp();
      auto mayTake = [&](Value operand, Type type) {
        return isWholeTemporary(operand, type) && lastUseOf(operand) == stepIndex.lookup(step) && operandsOf(step, operand).size() == 1 &&
               (!old || mayReplace(operand, old));
      };
      int64_t output = cast<OpResult>(value).getResultNumber();
      Value next;
      for (int64_t j : aliasesOf(step, output))
        if (Value operand = step->getOperand(j); mayTake(operand, value.getType()))
          next = operand;
      // What is gathered is made in its place.
      if (auto gather = dyn_cast<dist::AllGatherOp>(step))
        if (Value input = gather.getInputs()[output], part = rootValue(input);
            isAligned(part) && tensorBytes(part.getType()) == tensorBytes(input.getType()) && mayTake(part, part.getType()) &&
            isReadAtPlace(part.getDefiningOp(), old, gather.getAxes())) {
          buffer = program.addPlacePart(buffer, typeOf(part), gather.getAxes(), gather.getLoc());
          next = part;
        }
      value = next;
    }
  }

  /// True if `step` reads nothing of `old` but the rank's own part along `axes`.
  bool isReadAtPlace(Operation *step, BlockArgument old, ArrayAttr axes) {
    return !old || llvm::all_of(operandsOf(step, old), [&](int64_t j) {
      return program.buffers[bufferOf(step->getOperand(j))].placeAxes == axes;
    });
  }

  static bool isAligned(Value value) { return tensorBytes(value.getType()) % 64 == 0; }

  /// A result of a step with no storage decided yet.
  bool isWholeTemporary(Value value, Type type) {
    return isStep(value.getDefiningOp()) && value.getType() == type && !targets.contains(value) && !assemblyOf.contains(value);
  }

  int64_t position() const { return static_cast<int64_t>(segment.instructions.size()); }

  int addTemporary(Type type, StringRef category, Location loc) {
    std::string name = segment.name + "." + std::to_string(program.buffers.size());
    return program.addBuffer({name, "scratch", category.str(), segment.name, cast<RankedTensorType>(type), tensorBytes(type),
                              position(), position(), 0, -1, {}, loc});
  }

  /// The buffer of a step's result: its target, the storage of an operand that dies here, or a new temporary.
  int placeResult(Operation *step, OpResult result, DenseSet<int> &taken) {
    if (auto it = targets.find(result); it != targets.end())
      return it->second;
    if (auto concat = assemblyOf.lookup(result)) {
      int64_t offset = 0;
      for (Value operand : concat.getInputs()) {
        if (rootValue(operand) == result)
          return program.addPart(storage.lookup(concat.getResult()), typeOf(result), offset, step->getLoc());
        offset += tensorBytes(operand.getType());
      }
    }
    if (auto scatter = dyn_cast<dist::ReduceScatterOp>(step); scatter && isAligned(result))
      if (Value input = scatter.getInputs()[result.getResultNumber()]; isLastReadOfGradient(step, rootValue(input)))
        return program.addPlacePart(bufferOf(input), typeOf(result), scatter.getAxes(), step->getLoc());
    for (int64_t j : aliasesOf(step, result.getResultNumber())) {
      Value input = step->getOperand(j), root = rootValue(input);
      int buffer = bufferOf(input), rootBuffer = program.rootOf(buffer);
      bool isTemporary = program.buffers[rootBuffer].arena == "scratch" && !targets.contains(root);
      bool dies = lastUseOf(root) == stepIndex.lookup(step) && isTemporary;
      if (isa<dist::AllReduceOp>(step) && isLastReadOfGradient(step, root))
        return buffer;
      bool once = llvm::count_if(step->getOperands(), [&](Value v) { return program.rootOf(bufferOf(v)) == rootBuffer; }) == 1;
      if (!dies || !once || taken.contains(rootBuffer) || program.buffers[rootBuffer].bytes != tensorBytes(result.getType()))
        continue;
      taken.insert(rootBuffer);
      int alias = addTemporary(result.getType(), "activation", step->getLoc());
      program.buffers[alias].root = rootBuffer;
      return alias;
    }
    return addTemporary(result.getType(), "activation", step->getLoc());
  }

  /// True if `root` is a gradient that @update reads for the last time in `step`: its storage is free then.
  bool isLastReadOfGradient(Operation *step, Value root) {
    auto argument = dyn_cast<BlockArgument>(root);
    return argument && function.getName() == train::kUpdate && lastUseOf(root) == stepIndex.lookup(step) &&
           operandsOf(step, root).size() == 1 &&
           train::argumentString(function, argument.getArgNumber(), train::kRole) == train::kGradient;
  }

  LogicalResult emitStep(Operation *op) {
    if (auto index = dyn_cast<dist::IndexOp>(op)) {
      std::string name = segment.name + ".place." + std::to_string(program.buffers.size());
      int buffer = program.addBuffer({name, "input", "input", "", typeOf(index), tensorBytes(index.getType()), 0, 0, 0, -1, {}, op->getLoc()});
      storage[index] = buffer;
      segment.given.push_back({index, buffer});
      segment.places.push_back({index.getAxes(), buffer});
      return success();
    }
    DenseSet<int> taken;
    for (OpResult result : op->getResults())
      storage[result] = placeResult(op, result, taken);
    if (auto call = dyn_cast<func::CallOp>(op))
      return emitCall(call);
    if (auto part = dyn_cast<dist::PartOp>(op))
      return emitPart(part);
    if (auto reduce = dyn_cast<dist::AllReduceOp>(op))
      return emitCollective(op, "all_reduce", reduce.getAxes(), reduce.getKind(), reduce.getReason());
    if (auto scatter = dyn_cast<dist::ReduceScatterOp>(op))
      return emitCollective(op, "reduce_scatter", scatter.getAxes(), scatter.getKind(), scatter.getReason());
    if (auto gather = dyn_cast<dist::AllGatherOp>(op))
      return emitCollective(op, "all_gather", gather.getAxes(), "sum", gather.getReason());
    return op->emitOpError("has no instruction");
  }

  LogicalResult emitCollective(Operation *op, StringRef kind, ArrayAttr axes, StringRef reduction, StringRef reason) {
    Instruction instruction{Instruction::Collective, {}, op->getLoc()};
    instruction.collective = kind.str();
    instruction.axes = axes;
    instruction.reduction = reduction.str();
    instruction.reason = reason.str();
    instruction.element = typeOf(op->getResult(0)).getElementType();
    for (auto [from, to] : llvm::zip_equal(op->getOperands(), op->getResults())) {
      instruction.operands.push_back({bufferOf(from), tensorBytes(from.getType()), "read", from, {}});
      instruction.operands.push_back({bufferOf(to), tensorBytes(to.getType()), "write", {}, to});
    }
    instruction.event = events++;
    push(std::move(instruction));
    pending.push_back(position() - 1);
    return success();
  }

  /// Before `next` is issued: waits for the collectives that it would disturb.
  void waitForConflicts(const Instruction &next) {
    for (size_t i = 0; i < pending.size();)
      if (conflicts(segment.instructions[pending[i]], next))
        waitFor(i);
      else
        ++i;
  }

  bool conflicts(const Instruction &collective, const Instruction &next) {
    return llvm::any_of(collective.operands, [&](const Operand &mine) {
      return llvm::any_of(next.operands, [&](const Operand &other) {
        return program.rootOf(mine.buffer) == program.rootOf(other.buffer) && (mine.access != "read" || other.access != "read");
      });
    });
  }

  /// Waits for pending collective `index`; one that nothing came after just runs.
  void waitFor(size_t index) {
    int64_t at = pending[index];
    pending.erase(pending.begin() + static_cast<ptrdiff_t>(index));
    if (at == position() - 1) {
      segment.instructions[at].event = -1;
      return;
    }
    Instruction wait{Instruction::Wait, {}, segment.instructions[at].loc};
    wait.event = segment.instructions[at].event;
    for (const Operand &operand : segment.instructions[at].operands) // what it writes is there from here on
      program.touch(operand.buffer, position());
    segment.instructions.push_back(std::move(wait));
  }

  /// The rank's part of a dimension, block by block.
  LogicalResult emitPart(dist::PartOp part) {
    RankedTensorType from = typeOf(part.getInput()), to = typeOf(part.getOutput());
    auto dim = static_cast<int64_t>(part.getDim());
    Instruction copy{Instruction::Copy, {}, part.getLoc()};
    copy.rows = 1;
    for (int64_t size : to.getShape().take_front(dim))
      copy.rows *= size;
    copy.unit = tensorBytes(to) / copy.rows;
    copy.fromStride = tensorBytes(from) / copy.rows;
    copy.axes = part.getAxes();
    copy.operands = {{bufferOf(part.getOutput()), tensorBytes(to), "write", {}, part.getOutput()},
                     {bufferOf(part.getInput()), tensorBytes(from), "read", part.getInput(), {}}};
    push(std::move(copy));
    return success();
  }

  LogicalResult emitCall(func::CallOp call) {
    auto kernel = symbols.lookup<func::FuncOp>(call.getCallee());
    if (auto shape = kernel->getAttrOfType<DictionaryAttr>(plan::kGemm))
      return emitGemm(call, shape);
    return emitLaunches(call, kernel);
  }

  LogicalResult emitGemm(func::CallOp call, DictionaryAttr shape) {
    auto argument = [&](StringRef key) { return call.getOperand(shape.getAs<IntegerAttr>(key).getInt()); };
    Instruction instruction{Instruction::Gemm, {}, call.getLoc()};
    instruction.shape = shape;
    instruction.kernel = call.getCallee().str();
    instruction.flops = shape.getAs<IntegerAttr>("flops").getInt();
    auto add = [&](Value value, StringRef access, Value reads, Value writes = {}) {
      instruction.operands.push_back({bufferOf(value), tensorBytes(value.getType()), access, reads, writes});
    };
    if (shape.contains("accumulate")) {
      int before = bufferOf(argument("accumulate")), result = bufferOf(call.getResult(0));
      auto placeOf = [&](int buffer) { return std::pair(program.rootOf(buffer), program.buffers[buffer].inner); };
      if (placeOf(before) != placeOf(result))
        emitCopy(result, before, call.getLoc(), argument("accumulate"));
    }
    Value result = call.getResult(0);
    add(argument("a"), "read", argument("a"));
    add(argument("b"), "read", argument("b"));
    if (shape.contains("accumulate"))
      add(result, "readwrite", argument("accumulate"), result);
    else
      add(result, "write", {}, result);
    if (shape.contains("bias"))
      add(argument("bias"), "read", argument("bias"));
    push(std::move(instruction));
    return success();
  }

  LogicalResult emitLaunches(func::CallOp call, func::FuncOp kernel) {
    auto description = kernel->getAttrOfType<DictionaryAttr>(plan::kStages);
    if (!description)
      return call.emitError() << "kernel @" << kernel.getName() << " has no `plan.stages`; pass `codegen-describe-kernels` should have set it";
    SmallVector<int> scratch;
    for (int64_t bytes : description.getAs<DenseI64ArrayAttr>("scratch").asArrayRef())
      scratch.push_back(addTemporary(RankedTensorType::get({bytes}, IntegerType::get(call.getContext(), 8)), "workspace", call.getLoc()));
    auto stages = description.getAs<ArrayAttr>("stages");
    for (auto [s, attribute] : llvm::enumerate(stages)) {
      Instruction instruction{Instruction::Launch, {}, call.getLoc()};
      instruction.kernel = kernel.getName().str();
      instruction.stage = s;
      if (s == 0)
        for (Operation &op : kernel.getBody().front())
          if (auto cost = dyn_cast<Cost>(op))
            instruction.flops += cost.getFlops();
      for (Attribute entry : cast<DictionaryAttr>(attribute).getAs<ArrayAttr>("operands")) {
        auto fields = cast<ArrayAttr>(entry);
        StringRef kind = cast<StringAttr>(fields[0]).getValue(), access = cast<StringAttr>(fields[2]).getValue();
        int64_t index = cast<IntegerAttr>(fields[1]).getInt();
        if (kind == "scratch") {
          instruction.operands.push_back({scratch[index], program.buffers[scratch[index]].bytes, access, {}, {}});
        } else {
          Value value = kind == "input" ? call.getOperand(index) : Value(call.getResult(index));
          instruction.operands.push_back({bufferOf(value), tensorBytes(value.getType()), access, access == "read" ? value : Value(),
                                          access == "read" ? Value() : value, index});
        }
      }
      push(std::move(instruction));
    }
    return success();
  }

  void push(Instruction instruction) {
    waitForConflicts(instruction);
    for (const Operand &operand : instruction.operands)
      program.touch(operand.buffer, position());
    segment.instructions.push_back(std::move(instruction));
  }

  /// Splats that a call or the return reads are filled when first needed; other constants are mapped from the plan.
  void placeConstant(arith::ConstantOp constant) {
    auto value = cast<ElementsAttr>(constant.getValue());
    auto dense = dyn_cast<DenseElementsAttr>(value);
    bool onlyReturned = llvm::all_of(constant->getUsers(), [](Operation *user) { return isa<func::ReturnOp>(user); });
    if (dense && dense.isSplat() && onlyReturned)
      return;
    std::string name = segment.name + ".constant" + std::to_string(program.buffers.size());
    int buffer = program.addBuffer({name, "constant", "constant", "", typeOf(constant), tensorBytes(constant.getType()), 0, 0, 0, -1, value, constant.getLoc()});
    storage[constant.getResult()] = buffer;
    segment.given.push_back({constant.getResult(), buffer});
  }

  void emitFill(int buffer, Value value, DenseElementsAttr splat, Location loc) {
    Instruction fill{Instruction::Fill, {{buffer, program.buffers[buffer].bytes, "write", {}, value}}, loc};
    fill.width = elementBytes(splat.getElementType());
    APInt bits = isa<FloatType>(splat.getElementType()) ? splat.getSplatValue<APFloat>().bitcastToAPInt() : splat.getSplatValue<APInt>();
    fill.pattern = bits.getZExtValue();
    push(std::move(fill));
  }

  /// Copies `value`, which `source` holds.
  void emitCopy(int destination, int source, Location loc, Value value) {
    int64_t bytes = program.buffers[destination].bytes;
    push({Instruction::Copy, {{destination, bytes, "write", {}, value}, {source, bytes, "read", value, {}}}, loc});
  }

  /// Copies and fills for results that no call wrote in place. Arguments that are returned as other state are saved first,
  /// since their buffers may be overwritten here.
  void finishResults() {
    auto ret = cast<func::ReturnOp>(function.getBody().front().getTerminator());
    SmallVector<std::tuple<int, int, Value>> copies;
    SmallVector<std::pair<int, arith::ConstantOp>> fills;
    for (auto [i, operand] : llvm::enumerate(ret.getOperands())) {
      Value root = rootValue(operand);
      int buffer = resultBuffers[i];
      if (auto constant = root.getDefiningOp<arith::ConstantOp>(); constant && !storage.contains(root))
        fills.push_back({buffer, constant});
      else if (int source = bufferOf(operand); source != buffer)
        copies.push_back({buffer, source, operand});
      segment.results.push_back({operand, buffer});
    }
    for (auto &[buffer, source, value] : copies) {
      bool overwritten = program.buffers[source].arena == "state";
      if (!overwritten)
        continue;
      int saved = addTemporary(program.buffers[source].type, "activation", ret.getLoc());
      emitCopy(saved, source, ret.getLoc(), value);
      source = saved;
    }
    for (auto [buffer, source, value] : copies)
      emitCopy(buffer, source, ret.getLoc(), value);
    for (auto [buffer, constant] : fills)
      emitFill(buffer, constant, cast<DenseElementsAttr>(constant.getValue()), ret.getLoc());
  }

  func::FuncOp function;
  Program &program;
  SymbolTable symbols;
  Segment segment;
  DenseMap<Operation *, int64_t> stepIndex;
  SmallVector<int64_t, 1> inPlace;
  SmallVector<int64_t> pending; // positions of collectives that are not waited for yet
  int64_t events = 0;
  DenseMap<Value, int64_t> lastUse;
  DenseMap<Value, int> storage, targets;
  DenseMap<Value, tensor::ConcatOp> assemblyOf;                             // by operand
  DenseMap<Operation *, DenseMap<Value, SmallVector<int64_t, 1>>> operandsByRoot; // by step
  DenseMap<StringAttr, std::vector<SmallVector<int64_t, 1>>> aliases; // by kernel and result: operands
  SmallVector<int> resultBuffers;
};

} // namespace

LogicalResult planSegment(func::FuncOp function, Program &program) { return SegmentPlanner(function, program).run(); }

} // namespace llmc::scheduling
