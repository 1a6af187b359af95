//===- KeepBlocks.cpp - shrink-keep-blocks ----------------------------------------===//
//
//   1. the function is a string of segments, equal ones the same letter: E A D A X A X F of an embedding, a block with
//   a dense
//      part, two with experts, and a head;
//   2. it is cut before each occurrence of one letter: E | A D | A X | A X F. A piece that an earlier one equals goes;
//   of the
//      last piece, its beginning. The letter is the one that makes the most go; among equals the rarest, for the
//      longest blocks;
//   3. what goes has input and output of one type, and parameters of its own.
//
//===----------------------------------------------------------------------===//
#include "dialects/train/Train.h"
#include "passes/shrink/Names.h"
#include "passes/shrink/Passes.h"
#include "passes/shrink/Segments.h"
#include <map>
#include <set>

namespace llmc::shrink {
#define GEN_PASS_DEF_SHRINKKEEPBLOCKS
#include "passes/shrink/Passes.h.inc"
} // namespace llmc::shrink

using namespace mlir;
using namespace llmc;
using namespace llmc::shrink;

namespace {

/// Segments [begin, end), and the block that is kept for it.
struct Block {
  size_t begin, end, kept;
};

/// What goes if the string is cut before each occurrence of one letter.
struct Choice {
  std::vector<Block> dropped;
  size_t ops = 0, pieces = 0;

  void drop(Block block, ArrayRef<Segment> segments) {
    dropped.push_back(block);
    for (const Segment &segment : segments.slice(block.begin, block.end - block.begin))
      ops += segment.ops;
  }
};

class BlockKeeper {
public:
  BlockKeeper(func::FuncOp function, const train::Recipe &recipe)
      : function(function), segments(findSegments(function, recipe)) {}

  /// Drops what is repeated, and returns the names of its parameters.
  std::set<std::string> run() {
    Choice best;
    std::map<unsigned, std::vector<size_t>> letters;
    for (auto [i, segment] : llvm::enumerate(segments))
      letters[segment.kind].push_back(i);
    for (auto &[letter, positions] : letters)
      if (Choice choice = choose(positions);
          choice.ops > best.ops || (choice.ops == best.ops && choice.pieces < best.pieces))
        best = std::move(choice);
    std::map<size_t, std::vector<std::string>> left; // names of blocks, by the one that is kept
    std::set<std::string> parameters;
    for (const Block &block : best.dropped) {
      std::vector<std::string> names = namesOf(block.begin, block.end);
      parameters.insert(names.begin(), names.end());
      left[block.kept].push_back(commonPrefix(names));
      sizes[block.kept] = block.end - block.begin;
    }
    for (auto &[kept, names] : left)
      report.push_back("1 of " + std::to_string(names.size() + 1) + " equal blocks is kept, " +
                       commonPrefix(namesOf(kept, kept + sizes[kept])) + "; left out: " + listed(names));
    for (const Block &block : llvm::reverse(best.dropped)) // the input may be the output of one that goes too
      segments[block.end - 1].output.replaceAllUsesWith(segments[block.begin].input);
    eraseUnused(parameters);
    return parameters;
  }

  std::vector<std::string> report;

private:
  std::vector<std::string> namesOf(size_t begin, size_t end) {
    std::vector<std::string> names;
    for (size_t i = begin; i < end; ++i)
      for (BlockArgument parameter : segments[i].parameters)
        names.push_back(train::argumentString(function, parameter.getArgNumber(), train::kName).str());
    return names;
  }

  bool mayGo(size_t begin, size_t end) {
    Value input = segments[begin].input, output = segments[end - 1].output;
    bool hasParameters = llvm::any_of(ArrayRef(segments).slice(begin, end - begin),
                                      [](const Segment &segment) { return !segment.parameters.empty(); });
    return input && output && input.getType() == output.getType() && hasParameters;
  }

  Choice choose(ArrayRef<size_t> positions) {
    Choice choice;
    choice.pieces = positions.size();
    std::map<std::vector<unsigned>, size_t> kept; // letters of a piece, where it begins
    for (auto [i, begin] : llvm::enumerate(positions)) {
      bool isLast = i + 1 == positions.size();
      size_t end = isLast ? segments.size() : positions[i + 1];
      std::vector<unsigned> letters;
      for (size_t at = begin; at < end; ++at)
        letters.push_back(segments[at].kind);
      while (isLast && !letters.empty() && !kept.count(letters))
        letters.pop_back();
      end = begin + letters.size();
      auto it = kept.find(letters);
      if (it == kept.end())
        kept.insert({letters, begin});
      else if (mayGo(begin, end))
        choice.drop({begin, end, it->second}, segments);
    }
    return choice;
  }

  /// Ops that nothing reads any more, and arguments of role constant, or of these names.
  void eraseUnused(const std::set<std::string> &parameters) {
    for (Operation &op : llvm::make_early_inc_range(llvm::reverse(function.getBody().front())))
      if (!op.hasTrait<OpTrait::IsTerminator>() && op.use_empty())
        op.erase();
    llvm::BitVector unused(function.getNumArguments());
    for (BlockArgument argument : function.getArguments())
      if (argument.use_empty() &&
          (train::argumentString(function, argument.getArgNumber(), train::kRole) == train::kConstant ||
           parameters.count(train::argumentString(function, argument.getArgNumber(), train::kName).str())))
        unused.set(argument.getArgNumber());
    (void)function.eraseArguments(unused);
  }

  func::FuncOp function;
  std::vector<Segment> segments;
  std::map<size_t, size_t> sizes; // of kept blocks
};

struct KeepBlocks : shrink::impl::ShrinkKeepBlocksBase<KeepBlocks> {
  void runOnOperation() override {
    ModuleOp module = getOperation();
    train::Recipe recipe = train::recipeOf(module);
    auto forward = module.lookupSymbol<func::FuncOp>(train::kForward);
    if (!forward)
      return;
    BlockKeeper keeper(forward, recipe);
    std::set<std::string> dropped = keeper.run();
    std::vector<std::string> report = keeper.report;
    if (auto predict = module.lookupSymbol<func::FuncOp>(train::kPredict))
      if (BlockKeeper(predict, recipe).run() != dropped) {
        predict.erase();
        report.push_back("@predict is left out: its blocks are others than those of the loss");
      }
    if (report.empty())
      return;
    dropShardings(recipe, forward, dropped);
    module->setAttr(train::kRecipe, train::toAttribute(&getContext(), recipe));
    Builder b(&getContext());
    module->setAttr(train::kLeftOut, b.getStrArrayAttr(SmallVector<StringRef>(report.begin(), report.end())));
  }

  /// A `sharding` entry of the recipe whose parameters are all gone would be a mistake.
  void dropShardings(train::Recipe &recipe, func::FuncOp forward, const std::set<std::string> &dropped) {
    llvm::erase_if(recipe.sharding, [&](const train::ParameterSharding &entry) {
      auto matches = [&](StringRef name) { return train::matchesGlob(entry.glob, name); };
      return llvm::any_of(dropped, matches) && llvm::none_of(llvm::seq(0u, forward.getNumArguments()), [&](unsigned i) {
               return matches(train::argumentString(forward, i, train::kName));
             });
    });
  }
};

} // namespace
