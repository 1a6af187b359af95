//===- FusionGroups.cpp - which ops become one kernel -----------------------------===//
//
//   1. walk the ops in program order; an op of the (rows, columns) domain joins the groups of its producers with the same
//      domain, as long as no path leaves the group and comes back;
//   2. a matrix product takes the sum with a bias or with a value that dies there, a scatter the sum with its table; an
//      attention the concatenation of its gradients; all optimizer updates are one group; everything else is a group of its
//      own;
//   3. the groups are sorted topologically, in the order of their last ops where there is a choice.
//
//===----------------------------------------------------------------------===//
#include "passes/analysis/FusionGroups.h"
#include "dialects/dist/Dist.h"
#include "dialects/interfaces/Interfaces.h"
#include "dialects/nn/Nn.h"
#include "dialects/train/Train.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "passes/analysis/GemmForm.h"
#include "llvm/ADT/SetVector.h"
#include <queue>

using namespace mlir;

namespace llmc::analysis {

namespace {

/// The (rows, columns) a fused kernel walks; rows < 0: the op is not of that kind.
struct Domain {
  int64_t rows = -1, columns = -1;
  bool operator==(const Domain &) const = default;
  bool isFusable() const { return rows >= 0; }
};

Domain domainOf(RankedTensorType type) {
  if (type.getRank() == 0)
    return {1, 1};
  int64_t columns = type.getShape().back();
  return {columns == 0 ? 0 : type.getNumElements() / columns, columns};
}

bool isElementwise(Operation *op) {
  if (isa<arith::ConstantOp>(op))
    return false;
  return isa<arith::ArithDialect, math::MathDialect>(op->getDialect()) ||
         isa<nn::GeluOp, nn::SigmoidOp, nn::SiluOp, nn::SwigluOp>(op);
}

bool reducesOnlyLast(nn::ReduceOp op) {
  return op.getDims().size() == 1 && op.getDims()[0] == nn::typeOf(op.getInput()).getRank() - 1;
}
bool reducesAllLeading(nn::ReduceOp op) {
  int64_t rank = nn::typeOf(op.getInput()).getRank();
  return rank >= 2 && llvm::equal(op.getDims(), llvm::seq<int64_t>(0, rank - 1));
}

Domain fusionDomain(Operation *op) {
  if (isElementwise(op))
    return domainOf(cast<RankedTensorType>(op->getResult(0).getType()));
  if (isa<nn::SoftmaxOp, nn::SoftmaxBackwardOp, nn::LogSoftmaxOp, nn::LogSoftmaxBackwardOp, nn::LayerNormOp, nn::RmsNormOp,
          nn::LayerNormBackwardOp, nn::RmsNormBackwardOp, nn::CrossEntropyBackwardOp, nn::CrossEntropyOp>(op))
    return domainOf(nn::typeOf(op->getOperand(0)));
  if (auto reduce = dyn_cast<nn::ReduceOp>(op))
    if ((reduce.getKind() == nn::ReduceKind::Sum || reduce.getKind() == nn::ReduceKind::Mean || reduce.getKind() == nn::ReduceKind::Max) &&
        isa<FloatType>(nn::typeOf(reduce.getInput()).getElementType()) && (reducesOnlyLast(reduce) || reducesAllLeading(reduce)))
      return domainOf(nn::typeOf(reduce.getInput()));
  return {};
}

/// Broadcasts that a fused kernel reads as a row, column or scalar operand: the input keeps the last dimension, all
/// leading dimensions, or nothing.
bool isOperandBroadcast(nn::BroadcastOp op) {
  RankedTensorType input = nn::typeOf(op.getInput()), result = nn::typeOf(op.getResult());
  if (input.getNumElements() == 1)
    return true;
  int64_t rank = result.getRank();
  // Column: all elements lie along the last dimension.
  if (!op.getDims().empty() && op.getDims().back() == rank - 1 && input.getNumElements() == result.getShape().back() &&
      input.getShape().back() == result.getShape().back())
    return true;
  // Row: every leading dimension is there, the last is missing or 1.
  int64_t leading = 1;
  for (int64_t d = 0; d < rank - 1; ++d)
    leading *= result.getDimSize(d);
  bool lastRepeats = op.getDims().empty() || op.getDims().back() != rank - 1 || input.getShape().back() == 1;
  return lastRepeats && input.getNumElements() == leading;
}

bool isLastDimSlice(tensor::ExtractSliceOp op) {
  auto source = cast<RankedTensorType>(op.getSource().getType()), result = cast<RankedTensorType>(op.getType());
  int64_t rank = source.getRank();
  if (op->getNumOperands() != 1 || result.getRank() != rank || op.getStaticStrides().back() != 1)
    return false;
  for (int64_t d = 0; d < rank - 1; ++d)
    if (result.getDimSize(d) != source.getDimSize(d))
      return false;
  return true;
}

/// A bias that the library adds to each row of the product.
bool isBiasOf(Value value, nn::ContractOp contract) {
  auto broadcast = value.getDefiningOp<nn::BroadcastOp>();
  if (!broadcast || !isAbsorbed(broadcast))
    return false;
  int64_t last = nn::typeOf(contract.getResult()).getRank() - 1, columns = nn::typeOf(contract.getResult()).getShape().back();
  std::optional<GemmForm> form = gemmFormOf(contract);
  return form && form->n == columns && nn::typeOf(broadcast.getInput()).getNumElements() == columns && !broadcast.getDims().empty() &&
         broadcast.getDims().back() == last && nn::typeOf(broadcast.getInput()).getShape().back() == columns;
}

/// A value that the product may be added to in its place.
bool diesInSum(Value value) {
  if (!value.hasOneUse())
    return false;
  if (auto argument = dyn_cast<BlockArgument>(value))
    return train::argumentString(cast<func::FuncOp>(argument.getOwner()->getParentOp()), argument.getArgNumber(), train::kRole) ==
           train::kGradient;
  Operation *def = value.getDefiningOp();
  return !isView(def) && !isAbsorbed(def);
}

/// True if every user of `value`, seen through views, satisfies `predicate`.
template <typename Fn>
bool allUsers(Value value, bool throughViews, Fn predicate) {
  for (Operation *user : value.getUsers()) {
    if (throughViews && isView(user)) {
      if (!allUsers(user->getResult(0), true, predicate))
        return false;
    } else if (!predicate(user)) {
      return false;
    }
  }
  return true;
}

/// The backward attention whose gradients, each seen through collapse_shape only and used nowhere else, are all that `op`
/// puts together; null if there is none. Such a kernel writes them where the concatenation has them.
Operation *concatenatedAttention(Operation *op) {
  auto concat = dyn_cast<tensor::ConcatOp>(op);
  if (!concat)
    return nullptr;
  Operation *attention = nullptr;
  llvm::SmallDenseSet<Value> gradients;
  for (Value value : concat.getInputs()) {
    if (!value.hasOneUse())
      return nullptr;
    while (auto view = value.getDefiningOp<tensor::CollapseShapeOp>())
      value = view.getSrc();
    auto def = value.getDefiningOp<nn::AttentionBackwardOp>();
    if (!def || (attention && attention != def) || !value.hasOneUse() || !gradients.insert(value).second)
      return nullptr;
    attention = def;
  }
  return attention;
}

class Grouper {
public:
  Grouper(func::FuncOp function, const FusionOptions &options) : function(function), options(options) {}

  SmallVector<FusionGroup> run() {
    for (Operation &op : function.getBody().front().without_terminator())
      if (!isView(&op) && !isAbsorbed(&op) && !isAssembly(&op))
        place(&op);
    return sorted();
  }

private:
  struct Group {
    SmallVector<Operation *> ops;
    Domain domain;
    llvm::SmallSetVector<int, 8> inputs; // groups it depends on directly
    int mergedInto = -1;
    int64_t first = 0, last = 0;         // program positions
  };

  int find(int g) {
    while (groups[g].mergedInto >= 0)
      g = groups[g].mergedInto;
    return g;
  }

  /// The groups whose results `op` reads, through views and absorbed ops.
  void producers(Operation *op, llvm::SmallSetVector<int, 8> &result) {
    for (Value operand : op->getOperands()) {
      Operation *def = operand.getDefiningOp();
      if (!def)
        continue;
      if (auto it = groupOf.find(def); it != groupOf.end())
        result.insert(find(it->second));
      else
        producers(def, result);
    }
  }

  /// True if a path leads from group `from` to group `to` through at least one other group.
  bool pathOutside(int from, int to) {
    SmallVector<int> stack;
    llvm::SmallDenseSet<int> seen;
    for (int input : groups[to].inputs)
      if (int g = find(input); g != from && g != to)
        stack.push_back(g);
    while (!stack.empty()) {
      int g = stack.pop_back_val();
      if (g == from)
        return true;
      if (!seen.insert(g).second || groups[g].last < groups[from].first)
        continue;
      for (int input : groups[g].inputs)
        if (int next = find(input); next != g)
          stack.push_back(next);
    }
    return false;
  }

  unsigned tensorsOf(ArrayRef<Operation *> ops) {
    llvm::SmallDenseSet<Value> outer;
    llvm::SmallDenseSet<Operation *> inside(ops.begin(), ops.end());
    for (Operation *op : ops) {
      for (Value operand : op->getOperands())
        if (Operation *def = operand.getDefiningOp(); !def || !inside.contains(def))
          outer.insert(operand);
      for (Value result : op->getResults())
        if (llvm::any_of(result.getUsers(), [&](Operation *user) { return !inside.contains(user); }))
          outer.insert(result);
    }
    return outer.size();
  }

  bool tryMerge(int a, int b) {
    if (pathOutside(a, b) || pathOutside(b, a))
      return false;
    SmallVector<Operation *> ops(groups[a].ops);
    llvm::append_range(ops, groups[b].ops);
    if (tensorsOf(ops) > options.maxOperands)
      return false;
    groups[a].ops = std::move(ops);
    groups[a].inputs.insert(groups[b].inputs.begin(), groups[b].inputs.end());
    groups[a].first = std::min(groups[a].first, groups[b].first);
    groups[a].last = std::max(groups[a].last, groups[b].last);
    groups[b].mergedInto = a;
    return true;
  }

  void join(int target, int self) {
    groups[target].ops.append(groups[self].ops);
    groups[target].inputs.insert(groups[self].inputs.begin(), groups[self].inputs.end());
    groups[target].last = groups[self].last;
    groups[self].mergedInto = target;
  }

  /// Adds a sum to the product or scatter that makes one of its operands.
  bool joinSum(Operation *op, int self) {
    auto add = dyn_cast<arith::AddFOp>(op);
    if (!add)
      return false;
    Operation *best = nullptr;
    for (auto [value, other] : {std::pair(add.getLhs(), add.getRhs()), std::pair(add.getRhs(), add.getLhs())}) {
      Operation *def = value.getDefiningOp();
      if (!def || !value.hasOneUse() || groups[find(groupOf.lookup(def))].ops.size() != 1)
        continue;
      auto contract = dyn_cast<nn::ContractOp>(def);
      bool fits = isa<nn::ScatterAddOp>(def) ? diesInSum(other) : contract && (isBiasOf(other, contract) || diesInSum(other));
      // A scatter touches few rows of the table; of two products the later one takes the sum.
      if (fits && (!best || isa<nn::ScatterAddOp>(def) || (!isa<nn::ScatterAddOp>(best) && best->isBeforeInBlock(def))))
        best = def;
    }
    if (best)
      join(find(groupOf.lookup(best)), self);
    return best;
  }

  bool joinOptimizer(Operation *op, int self) {
    if (!isa<nn::AdamWOp, nn::SgdOp>(op))
      return false;
    if (optimizer < 0)
      optimizer = self;
    else if (!pathOutside(find(optimizer), self))
      join(find(optimizer), self);
    return true;
  }

  void place(Operation *op) {
    int self = groups.size();
    groups.push_back({{op}, fusionDomain(op), {}, -1, position, position});
    ++position;
    producers(op, groups[self].inputs);
    groupOf[op] = self;
    if (Operation *attention = options.fuse ? concatenatedAttention(op) : nullptr)
      tryMerge(find(groupOf[attention]), self);
    if (!options.fuse || joinSum(op, self) || joinOptimizer(op, self) || !groups[self].domain.isFusable() || op->hasAttr(kRecomputed))
      return;
    SmallVector<int> candidates(groups[self].inputs.begin(), groups[self].inputs.end());
    llvm::sort(candidates, [&](int a, int b) { return groups[a].last > groups[b].last; });
    for (int candidate : candidates) {
      int target = find(candidate), current = find(self);
      if (target != current && groups[target].domain == groups[current].domain)
        tryMerge(target, current);
    }
  }

  SmallVector<FusionGroup> sorted() {
    std::vector<int> waiting(groups.size(), 0);
    std::vector<SmallVector<int, 4>> users(groups.size());
    using Entry = std::pair<int64_t, int>;
    std::priority_queue<Entry, std::vector<Entry>, std::greater<>> ready;
    for (int g = 0; g < static_cast<int>(groups.size()); ++g) {
      if (groups[g].mergedInto >= 0)
        continue;
      llvm::SmallSetVector<int, 8> inputs;
      for (int input : groups[g].inputs)
        if (find(input) != g)
          inputs.insert(find(input));
      for (int input : inputs)
        users[input].push_back(g);
      waiting[g] = inputs.size();
      if (inputs.empty())
        ready.push({groups[g].last, g});
    }
    SmallVector<FusionGroup> result;
    while (!ready.empty()) {
      int g = ready.top().second;
      ready.pop();
      llvm::sort(groups[g].ops, [](Operation *a, Operation *b) { return a->isBeforeInBlock(b); });
      result.push_back({groups[g].ops});
      for (int user : users[g])
        if (--waiting[user] == 0)
          ready.push({groups[user].last, user});
    }
    return result;
  }

  func::FuncOp function;
  const FusionOptions &options;
  std::vector<Group> groups;
  DenseMap<Operation *, int> groupOf;
  int optimizer = -1; // the group of the first optimizer update
  int64_t position = 0;
};

} // namespace

int64_t sliceOffset(tensor::ExtractSliceOp op) {
  int64_t offset = 0, step = 1;
  auto type = cast<RankedTensorType>(op.getSource().getType());
  for (int64_t d = type.getRank() - 1; d >= 0; --d) {
    offset += op.getStaticOffsets()[d] * step;
    step *= type.getDimSize(d);
  }
  return offset;
}

/// True if the elements of the slice lie side by side in its source: below the first dimension of a size other than 1, all
/// are whole.
static bool isContiguous(tensor::ExtractSliceOp op) {
  if (op->getNumOperands() != 1 || llvm::any_of(op.getStaticStrides(), [](int64_t stride) { return stride != 1; }))
    return false;
  auto type = cast<RankedTensorType>(op.getSource().getType());
  bool cut = false;
  for (int64_t d = 0; d < type.getRank(); ++d) {
    int64_t size = op.getStaticSizes()[d];
    if (cut && size != type.getDimSize(d))
      return false;
    cut |= size != 1;
  }
  return true;
}

constexpr int64_t kAlignment = 64;

static bool isAligned(int64_t elements, Type type) {
  return elements * elementBytes(getElementTypeOrSelf(type)) % kAlignment == 0;
}

bool isView(Operation *op) {
  if (auto slice = dyn_cast<tensor::ExtractSliceOp>(op))
    return isContiguous(slice) && isAligned(sliceOffset(slice), slice.getType());
  return isa<tensor::CollapseShapeOp, tensor::ExpandShapeOp>(op);
}

bool isOutermost(RankedTensorType type, int64_t dim) {
  return llvm::all_of(type.getShape().take_front(dim), [](int64_t size) { return size == 1; });
}

bool isPlaceView(Operation *op) {
  auto part = dyn_cast<dist::PartOp>(op);
  auto type = part ? cast<RankedTensorType>(part.getOutput().getType()) : RankedTensorType();
  if (!part || !isOutermost(type, static_cast<int64_t>(part.getDim())) || !isAligned(type.getNumElements(), type))
    return false;
  Operation *source = part.getInput().getDefiningOp();
  while (source && isView(source))
    source = source->getOperand(0).getDefiningOp();
  return !source || !isPlaceView(source); // an address depends on one place only
}

bool isAssembly(Operation *op) {
  auto concat = dyn_cast<tensor::ConcatOp>(op);
  if (!concat || concat.getDim() != 0)
    return false;
  for (Value input : concat.getInputs()) {
    Operation *def = input.getDefiningOp();
    while (def && isa<tensor::CollapseShapeOp, tensor::ExpandShapeOp>(def) && def->getResult(0).hasOneUse())
      def = def->getOperand(0).getDefiningOp();
    bool single = def && llvm::all_of(def->getResults(), [](Value v) { return v.hasOneUse() || v.use_empty(); });
    if (!input.hasOneUse() || !single || isView(def) || isPlaceView(def) || isa<arith::ConstantOp, tensor::ConcatOp>(def) || isAbsorbed(def) ||
        !isAligned(cast<RankedTensorType>(input.getType()).getNumElements(), input.getType()))
      return false;
  }
  return true;
}

bool takesSplats(Operation *op) {
  return !isa<nn::NnDialect>(op->getDialect()) || fusionDomain(op).isFusable() || isa<nn::BroadcastOp, nn::TransposeOp>(op);
}

bool isAbsorbed(Operation *op) {
  if (auto constant = dyn_cast<arith::ConstantOp>(op))
    return true;
  if (auto broadcast = dyn_cast<nn::BroadcastOp>(op))
    return isOperandBroadcast(broadcast) &&
           allUsers(op->getResult(0), false, [](Operation *user) { return fusionDomain(user).isFusable(); });
  if (auto slice = dyn_cast<tensor::ExtractSliceOp>(op))
    return isLastDimSlice(slice) &&
           allUsers(op->getResult(0), true, [](Operation *user) { return isa<nn::AttentionOp, nn::AttentionBackwardOp>(user); });
  return false;
}

SmallVector<FusionGroup> findFusionGroups(func::FuncOp function, const FusionOptions &options) {
  return Grouper(function, options).run();
}

} // namespace llmc::analysis
