//===- Segments.cpp - a model as pieces of one straight line ---------------------===//
//
//   1. the stream is the ops that depend on an input and on a parameter; each op's immediate post-dominator in it is
//   found
//      from the end, as the nearest op that all its readers lead to;
//   2. those of all ops where the stream begins are a chain: its ops with one result that is read are the cuts;
//   3. each op of the stream belongs to the first cut that it leads to, all others to their readers, if these agree;
//   4. a segment is written down from its output backwards, each op after its operands, and equal texts are one kind.
//   The order
//      of ops in the function does not matter.
//
//===----------------------------------------------------------------------===//
#include "passes/shrink/Segments.h"
#include "dialects/nn/Nn.h"
#include "dialects/train/Train.h"
#include "llvm/ADT/MapVector.h"
#include <map>

using namespace mlir;

namespace llmc::shrink {

namespace {

constexpr int64_t kNone = -1;

class SegmentFinder {
public:
  SegmentFinder(func::FuncOp function, const train::Recipe &recipe) : function(function), recipe(recipe) {
    for (Operation &op : function.getBody().front()) {
      numbers[&op] = static_cast<int64_t>(ops.size());
      ops.push_back(&op);
    }
  }

  std::vector<Segment> run() {
    findStream();
    findDominators();
    findCuts();
    assignOps();
    std::map<Text, unsigned> kinds;
    for (auto [k, segment] : llvm::enumerate(segments))
      segment.kind = kinds.insert({write(static_cast<int64_t>(k)), static_cast<unsigned>(kinds.size())}).first->second;
    return std::move(segments);
  }

private:
  using Text = std::vector<uint64_t>;

  StringRef roleOf(BlockArgument argument) {
    return train::argumentString(function, argument.getArgNumber(), train::kRole);
  }
  bool isParameter(Value value) {
    auto argument = dyn_cast<BlockArgument>(value);
    return argument && (roleOf(argument) == train::kParam || roleOf(argument) == train::kBuffer);
  }

  //===-- The stream -----------------------------------------------------------------===//

  void findStream() {
    std::vector<bool> readsInput(ops.size()), readsParameter(ops.size());
    inStream.resize(ops.size());
    for (auto [i, op] : llvm::enumerate(ops)) {
      for (Value operand : op->getOperands()) {
        if (Operation *source = operand.getDefiningOp()) {
          readsInput[i] = readsInput[i] || readsInput[numbers[source]];
          readsParameter[i] = readsParameter[i] || readsParameter[numbers[source]];
        } else if (isParameter(operand)) {
          readsParameter[i] = true;
        } else if (roleOf(cast<BlockArgument>(operand)) == train::kInput) {
          readsInput[i] = true;
        }
      }
      inStream[i] = readsInput[i] && readsParameter[i];
    }
    inStream.back() = true; // the return
  }

  /// The nearest op that both `a` and `b` lead to, or are.
  int64_t meet(int64_t a, int64_t b) {
    while (a != b)
      (a < b ? a : b) = dominators[std::min(a, b)];
    return a;
  }

  /// An op's readers come after it, so a dominator has the higher number, and walking up always ends at the return.
  void findDominators() {
    dominators.assign(ops.size(), kNone);
    for (int64_t i = static_cast<int64_t>(ops.size()) - 2; i >= 0; --i) {
      if (!inStream[i])
        continue;
      for (Operation *user : ops[i]->getUsers())
        if (inStream[numbers[user]])
          dominators[i] = dominators[i] == kNone ? numbers[user] : meet(dominators[i], numbers[user]);
      if (dominators[i] == kNone)
        inStream[i] = false; // nothing reads it
    }
  }

  void findCuts() {
    int64_t start = kNone;
    for (auto [i, op] : llvm::enumerate(ops)) {
      bool isSource = inStream[i] && llvm::none_of(op->getOperands(), [&](Value operand) {
                        return operand.getDefiningOp() && inStream[numbers[operand.getDefiningOp()]];
                      });
      if (isSource)
        start = start == kNone ? static_cast<int64_t>(i) : meet(start, static_cast<int64_t>(i));
    }
    Value input;
    for (int64_t at = start; at != kNone; at = dominators[at]) {
      auto isRead = [](Value result) { return !result.use_empty(); };
      bool isCut = llvm::count_if(ops[at]->getResults(), isRead) == 1, isLast = ops[at] == ops.back();
      onChain[at] = static_cast<int64_t>(segments.size());
      if (!isCut && !isLast)
        continue;
      segments.emplace_back();
      segments.back().input = input;
      if (isCut)
        segments.back().output = input = *llvm::find_if(ops[at]->getResults(), isRead);
    }
  }

  void assignOps() {
    owners.assign(ops.size(), kNone);
    for (int64_t i = static_cast<int64_t>(ops.size()) - 1; i >= 0; --i) {
      if (auto it = onChain.find(i); it != onChain.end())
        owners[i] = it->second;
      else if (inStream[i])
        owners[i] = owners[dominators[i]];
      else
        owners[i] = ownerOfReaders(ops[i]->getUsers());
      if (owners[i] != kNone)
        ++segments[owners[i]].ops;
    }
  }

  template <typename Users> int64_t ownerOfReaders(Users users) {
    int64_t owner = kNone;
    for (Operation *user : users) {
      int64_t own = owners[numbers[user]];
      if (own == kNone || (owner != kNone && own != owner))
        return kNone;
      owner = own;
    }
    return owner;
  }

  //===-- What a segment is ------------------------------------------------------------===//

  enum Tag : uint64_t { kInput, kOwnParameter, kValue, kConstant, kResult };

  static uint64_t bitsOf(const void *pointer) { return reinterpret_cast<uint64_t>(pointer); }

  /// What the recipe says of a name.
  void writeRecipe(StringRef name, Text &text) {
    text.push_back(recipe.optimizer.noDecay && train::matchesAny(*recipe.optimizer.noDecay, {name.str()}));
    const train::Initializer *init = nullptr;
    for (const train::Initializer &entry : recipe.init)
      init = train::matchesGlob(entry.glob, name) ? &entry : init;
    text.insert(text.end(), {init ? init->kind + 1u : 0u, init ? llvm::bit_cast<uint64_t>(init->a) : 0u,
                             init ? llvm::bit_cast<uint64_t>(init->b) : 0u});
    uint64_t sharding = 0;
    for (auto [i, entry] : llvm::enumerate(recipe.sharding))
      if (train::matchesGlob(entry.glob, name))
        for (sharding = 0; recipe.sharding[sharding++].dims != entry.dims;)
          ;
    text.push_back(sharding);
  }

  void writeArgument(BlockArgument argument, int64_t k, llvm::MapVector<Value, unsigned> &parameters, Text &text) {
    unsigned i = argument.getArgNumber();
    text.push_back(bitsOf(argument.getType().getAsOpaquePointer()));
    if (isParameter(argument) && ownerOfReaders(argument.getUsers()) == k) {
      auto [it, isNew] = parameters.insert({argument, static_cast<unsigned>(parameters.size())});
      text.insert(text.end(), {kOwnParameter, it->second, roleOf(argument) == train::kParam});
      if (isNew)
        writeRecipe(train::argumentString(function, i, train::kName), text);
    } else if (Attribute value = function.getArgAttr(i, train::kValue)) {
      text.insert(text.end(), {kConstant, bitsOf(value.getAsOpaquePointer())});
    } else {
      text.insert(text.end(), {kValue, bitsOf(argument.getAsOpaquePointer())});
    }
  }

  void writeOp(Operation *op, Text &text) {
    NamedAttrList attributes(op->getAttrDictionary());
    if (isa<nn::DropoutOp>(op))
      attributes.erase("id"); // which one it is
    text.insert(text.end(), {bitsOf(op->getName().getAsOpaquePointer()), op->getNumOperands(),
                             bitsOf(attributes.getDictionary(op->getContext()).getAsOpaquePointer())});
    for (Type type : op->getResultTypes())
      text.push_back(bitsOf(type.getAsOpaquePointer()));
  }

  /// All of a segment, each op after its operands.
  Text write(int64_t k) {
    Segment &segment = segments[k];
    Text text;
    llvm::MapVector<Value, unsigned> parameters;
    llvm::DenseMap<Operation *, uint64_t> written;
    auto isOwn = [&](Value value) {
      Operation *op = value.getDefiningOp();
      return op && value != segment.input && owners[numbers[op]] == k;
    };
    SmallVector<Operation *> open = {segment.output ? segment.output.getDefiningOp() : ops.back()};
    while (!open.empty()) {
      Operation *op = open.back();
      size_t before = open.size();
      for (Value operand : llvm::reverse(op->getOperands()))
        if (isOwn(operand) && !written.count(operand.getDefiningOp()))
          open.push_back(operand.getDefiningOp());
      if (open.size() > before)
        continue;
      open.pop_back();
      if (!written.insert({op, written.size()}).second)
        continue;
      writeOp(op, text);
      for (Value operand : op->getOperands())
        if (operand == segment.input)
          text.insert(text.end(), {kInput, bitsOf(operand.getType().getAsOpaquePointer())});
        else if (isOwn(operand))
          text.insert(text.end(),
                      {kResult, written[operand.getDefiningOp()], cast<OpResult>(operand).getResultNumber()});
        else if (auto argument = dyn_cast<BlockArgument>(operand))
          writeArgument(argument, k, parameters, text);
        else
          text.insert(text.end(), {kValue, bitsOf(operand.getAsOpaquePointer())});
    }
    if (segment.output)
      text.push_back(cast<OpResult>(segment.output).getResultNumber());
    for (auto &[value, number] : parameters)
      segment.parameters.push_back(cast<BlockArgument>(value));
    return text;
  }

  func::FuncOp function;
  const train::Recipe &recipe;
  std::vector<Operation *> ops;
  llvm::DenseMap<Operation *, int64_t> numbers;
  std::vector<bool> inStream;
  std::vector<int64_t> dominators;          // immediate post-dominators of the stream
  llvm::DenseMap<int64_t, int64_t> onChain; // of an op that all the stream goes through: its segment
  std::vector<int64_t> owners;              // segment of each op, kNone if several read it
  std::vector<Segment> segments;
};

} // namespace

std::vector<Segment> findSegments(func::FuncOp function, const train::Recipe &recipe) {
  return SegmentFinder(function, recipe).run();
}

} // namespace llmc::shrink
