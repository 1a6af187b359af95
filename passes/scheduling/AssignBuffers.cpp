//===- AssignBuffers.cpp - scheduling-assign-buffers ----------------------------------===//
#include "dialects/train/Recipe.h"
#include "dialects/train/Train.h"
#include "passes/scheduling/Packing.h"
#include "passes/scheduling/Passes.h"
#include "passes/scheduling/Program.h"
#include "llvm/ADT/StringSet.h"
#include "llvm/Support/MathExtras.h"

namespace llmc::scheduling {
#define GEN_PASS_DEF_SCHEDULINGASSIGNBUFFERS
#include "passes/scheduling/Passes.h.inc"

namespace {
// A cache line, and what the widest vector load wants.
constexpr int64_t kAlignment = 64;
} // namespace

std::map<std::string, int64_t> assignOffsets(Program &program) {
  std::map<std::string, int64_t> bytes = {{"state", 0}, {"input", 0}, {"output", 0}, {"constant", 0}, {"scratch", 0}};
  std::map<std::string, std::vector<int>> temporaries;
  for (auto [i, buffer] : llvm::enumerate(program.buffers)) {
    if (buffer.root >= 0)
      continue;
    if (!buffer.segment.empty()) {
      temporaries[buffer.segment].push_back(i);
      continue;
    }
    int64_t &end = bytes[buffer.arena];
    buffer.offset = end;
    end += llvm::alignTo(buffer.bytes, kAlignment);
  }
  for (auto &[segment, indices] : temporaries) {
    std::vector<LiveRange> ranges;
    for (int i : indices)
      ranges.push_back({program.buffers[i].first, program.buffers[i].last, program.buffers[i].bytes});
    bytes["scratch"] = std::max(bytes["scratch"], pack(ranges, kAlignment));
    for (auto [i, range] : llvm::zip(indices, ranges))
      program.buffers[i].offset = range.offset;
  }
  for (Buffer &buffer : program.buffers)
    if (buffer.root >= 0)
      buffer.offset = program.buffers[buffer.root].offset + buffer.inner;
  return bytes;
}

} // namespace llmc::scheduling

using namespace mlir;
using namespace llmc;
using namespace llmc::scheduling;

namespace {

/// Writes a planned program as plan ops.
class PlanEmitter {
public:
  PlanEmitter(ModuleOp module, const Program &program, const std::map<std::string, int64_t> &arenas)
      : module(module), program(program), arenas(arenas), b(module.getContext()), recipe(train::recipeOf(module)) {
    b.setInsertionPointToEnd(module.getBody());
  }

  void run() {
    emitGroups();
    for (StringRef name : {"state", "scratch", "input", "output", "constant"})
      plan::ArenaOp::create(b, b.getUnknownLoc(), name, name, arenas.at(name.str()));
    for (const Buffer &buffer : program.buffers)
      emitBuffer(buffer);
    for (const Segment &segment : program.segments)
      emitSegment(segment);
    emitParameters();
    emitScalars();
  }

private:
  /// The division of ranks by their places along `axes`; made when it is first asked for.
  FlatSymbolRefAttr groupsOf(ArrayAttr axes) {
    std::string name = "groups";
    for (auto axis : axes.getAsRange<StringAttr>())
      name += "." + axis.str();
    auto symbol = FlatSymbolRefAttr::get(b.getContext(), name);
    if (!divisions.insert(name).second)
      return symbol;
    dist::MeshAttr mesh = dist::meshOf(module);
    dist::Axes list = dist::axesOf(axes);
    SmallVector<int64_t> ranks;
    for (int64_t rank = 0; rank < mesh.ranks(); ++rank)
      if (mesh.index(rank, list) == 0)
        llvm::append_range(ranks, mesh.group(rank, list));
    OpBuilder::InsertionGuard guard(b);
    b.setInsertionPointToStart(module.getBody());
    plan::GroupsOp::create(b, b.getUnknownLoc(), name, axes, mesh.size(list), ranks);
    return symbol;
  }

  /// State is described by the axes of the mesh, one by one.
  void emitGroups() {
    if (dist::MeshAttr mesh = dist::meshOf(module))
      for (StringAttr axis : mesh.getNames())
        groupsOf(b.getArrayAttr(axis));
  }

  FlatSymbolRefAttr symbol(int buffer) { return FlatSymbolRefAttr::get(b.getContext(), program.buffers[buffer].name); }

  void emitBuffer(const Buffer &buffer) {
    auto op = plan::BufferOp::create(b, buffer.origin, buffer.name, buffer.arena, buffer.offset, buffer.type, buffer.category, StringAttr(),
                                     buffer.first, buffer.last, FlatSymbolRefAttr(), buffer.value, FlatSymbolRefAttr(), 0);
    if (!buffer.segment.empty())
      op.setSegmentAttr(b.getStringAttr(buffer.segment));
    if (buffer.root >= 0)
      op.setAliasOfAttr(symbol(buffer.root));
    if (buffer.placeAxes) {
      op.setPlaceGroupsAttr(groupsOf(buffer.placeAxes));
      op.setPlaceStride(buffer.placeStride);
    }
    if (buffer.sharding)
      op->setAttr(dist::kSharding, buffer.sharding);
    if (buffer.view)
      op->setAttr(train::kView, buffer.view);
  }

  ArrayAttr operands(const Instruction &instruction) {
    SmallVector<Attribute> list;
    for (const Operand &operand : instruction.operands)
      list.push_back(plan::OperandAttr::get(b.getContext(), symbol(operand.buffer), 0, operand.bytes, b.getStringAttr(operand.access)));
    return b.getArrayAttr(list);
  }

  void emitInstruction(const Instruction &instruction) {
    switch (instruction.kind) {
    case Instruction::Launch:
      plan::LaunchOp::create(b, instruction.loc, instruction.kernel, instruction.stage, operands(instruction), instruction.flops);
      break;
    case Instruction::Gemm:
      plan::GemmOp::create(b, instruction.loc, instruction.shape, operands(instruction), instruction.flops)
          ->setAttr("name", b.getStringAttr(instruction.kernel));
      break;
    case Instruction::Copy:
      emitCopy(instruction);
      break;
    case Instruction::Collective:
      plan::CollectiveOp::create(b, instruction.loc, b.getStringAttr(instruction.collective), groupsOf(instruction.axes),
                                 TypeAttr::get(instruction.element), b.getStringAttr(instruction.reduction),
                                 b.getStringAttr(instruction.reason), operands(instruction),
                                 instruction.event < 0 ? IntegerAttr() : b.getI64IntegerAttr(instruction.event));
      break;
    case Instruction::Wait:
      plan::WaitOp::create(b, instruction.loc, instruction.event, operands(instruction));
      break;
    case Instruction::Fill:
      plan::FillOp::create(b, instruction.loc, static_cast<int64_t>(instruction.pattern), instruction.width, operands(instruction));
      break;
    }
  }

  void emitCopy(const Instruction &instruction) {
    auto copy = plan::CopyOp::create(b, instruction.loc, operands(instruction), IntegerAttr(), 0, 0, FlatSymbolRefAttr());
    if (!instruction.axes)
      return;
    copy.setRows(instruction.rows);
    copy.setUnit(instruction.unit);
    copy.setFromStride(instruction.fromStride);
    copy.setPlaceGroupsAttr(groupsOf(instruction.axes));
  }

  void emitSegment(const Segment &segment) {
    func::FuncOp function = segment.function;
    auto op = plan::SegmentOp::create(b, function.getLoc(), segment.name);
    OpBuilder::InsertionGuard guard(b);
    b.setInsertionPointToStart(&op.getBody().emplaceBlock());
    for (auto [argument, buffer] : segment.inputs)
      emitInput(function, argument, buffer);
    for (auto [axes, buffer] : segment.places)
      plan::InputOp::create(b, op.getLoc(), program.buffers[buffer].name, program.buffers[buffer].name, "place", "", 0, false, -100, groupsOf(axes));
    for (auto [result, buffer] : segment.outputs)
      plan::OutputOp::create(b, op.getLoc(), train::resultString(function, result, train::kName), program.buffers[buffer].name);
    for (const Instruction &instruction : segment.instructions)
      emitInstruction(instruction);
  }

  void emitInput(func::FuncOp function, unsigned argument, int buffer) {
    StringRef name = train::argumentString(function, argument, train::kName);
    train::DataSource source{train::DataSource::Array, name.str()};
    for (auto &[input, entry] : recipe.data)
      if (input == name)
        source = entry;
    static constexpr StringLiteral kinds[] = {"tokens", "tokens.next", "array", "array.next"};
    StringRef kind = train::argumentString(function, argument, train::kRole) == train::kPosition ? StringRef("position") : StringRef(kinds[source.kind]);
    auto number = [&](StringRef key) {
      auto attribute = function.getArgAttrOfType<IntegerAttr>(argument, key);
      return attribute ? attribute.getInt() : 0;
    };
    bool ignored = static_cast<bool>(function.getArgAttr(argument, train::kIgnored));
    auto input = plan::InputOp::create(b, function.getLoc(), name, program.buffers[buffer].name, kind, source.array, number(train::kLimit),
                                       ignored, ignored ? number(train::kIgnored) : -100, FlatSymbolRefAttr());
    if (auto sharding = function.getArgAttrOfType<dist::ShardingAttr>(argument, dist::kSharding))
      input->setAttr(dist::kSharding, sharding);
  }

  void emitParameters() {
    DenseSet<StringRef> done;
    for (const Segment &segment : program.segments) {
      func::FuncOp function = segment.function;
      for (unsigned i = 0; i < function.getNumArguments(); ++i) {
        StringRef role = train::argumentString(function, i, train::kRole), name = train::argumentString(function, i, train::kName);
        if ((role == train::kParam || role == train::kBuffer) && done.insert(name).second)
          emitParameter(function, i, role.str(), name);
      }
    }
  }

  int stateOf(StringRef role, const std::string &name) const {
    auto it = program.state.find({role.str(), name});
    return it == program.state.end() ? -1 : it->second;
  }

  void emitParameter(func::FuncOp function, unsigned argument, const std::string &role, StringRef name) {
    SmallVector<NamedAttribute> states;
    for (StringRef kind : {"exp_avg", "exp_avg_sq", "momentum"})
      if (int buffer = stateOf(train::kMoment, (kind + "." + name).str()); buffer >= 0)
        states.push_back(b.getNamedAttr(kind, symbol(buffer)));
    int gradient = stateOf(train::kGradient, name.str());
    auto source = function.getArgAttrOfType<DictionaryAttr>(argument, train::kSource);
    auto aliases = function.getArgAttrOfType<ArrayAttr>(argument, train::kAliases);
    bool decay = recipe.optimizer.decays(train::namesOf(function, argument), train::logicalRank(function, argument));
    plan::ParameterOp::create(b, function.getLoc(), b.getStringAttr(name), symbol(stateOf(role, name.str())),
                              gradient >= 0 ? symbol(gradient) : FlatSymbolRefAttr(), b.getDictionaryAttr(states),
                              source ? source : b.getDictionaryAttr({}), b.getBoolAttr(gradient >= 0), b.getBoolAttr(decay),
                              aliases ? aliases : b.getArrayAttr({}),
                              function.getArgAttrOfType<DenseI64ArrayAttr>(argument, train::kShape),
                              function.getArgAttrOfType<ArrayAttr>(argument, train::kView));
  }

  void emitScalars() {
    for (auto &[key, buffer] : program.state)
      if (key.first == train::kScalar)
        plan::ScalarOp::create(b, b.getUnknownLoc(), b.getStringAttr(key.second), symbol(buffer),
                               b.getF64FloatAttr(key.second == "lr" ? recipe.optimizer.lr : 0.0), b.getBoolAttr(key.second != "step"));
  }

  ModuleOp module;
  const Program &program;
  const std::map<std::string, int64_t> &arenas;
  OpBuilder b;
  train::Recipe recipe;
  llvm::StringSet<> divisions; // that exist
};

struct AssignBuffers : scheduling::impl::SchedulingAssignBuffersBase<AssignBuffers> {
  void runOnOperation() override {
    ModuleOp module = getOperation();
    Program program;
    // In the order in which a step runs them.
    SmallVector<func::FuncOp> functions;
    for (StringRef name : {train::kAccumulate, train::kUpdate, train::kEvaluate, train::kPredict})
      if (auto function = module.lookupSymbol<func::FuncOp>(name))
        functions.push_back(function);
    for (func::FuncOp function : functions)
      if (failed(planSegment(function, program)))
        return signalPassFailure();
    std::map<std::string, int64_t> arenas = assignOffsets(program);
    if (failed(checkContents(program)))
      return signalPassFailure();
    for (func::FuncOp function : functions)
      function->remove();
    PlanEmitter(module, program, arenas).run();
    for (func::FuncOp function : functions)
      function->erase();
  }
};

} // namespace
