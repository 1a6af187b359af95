//===- SequenceParallel.cpp - activations cut along the sequence ------------------===//
#include "passes/sharding/propagate/SequenceParallel.h"
#include "passes/sharding/Axes.h"

using namespace mlir;

namespace llmc::sharding {

using dist::Sharding;

static constexpr size_t kSequence = 1; // the dimension behind the batch

SequenceParallel::SequenceParallel(dist::MeshAttr mesh, bool isOn) : mesh(mesh) {
  for (StringAttr axis : mesh.getNames())
    if (isOn && isTensorAxis(axis))
      axes.push_back(axis);
}

/// A sum over all tensor ranks of an activation; what has one place only is none of a sequence.
bool SequenceParallel::isSummed(const Sharding &sharding, Value value) const {
  return sharding.dims.size() >= 3 && cast<RankedTensorType>(value.getType()).getDimSize(kSequence) > 1 &&
         llvm::all_of(axes, [&](StringAttr axis) { return llvm::is_contained(sharding.sum, axis); });
}

bool SequenceParallel::isCut(const Sharding &sharding) const {
  return llvm::any_of(sharding.dims, [&](const dist::Axes &dim) { return llvm::any_of(dim, isTensorAxis); });
}

bool SequenceParallel::usesTensorRanks(const OpSharding &sharding) const {
  auto cut = [&](const Sharding &each) { return isCut(each); };
  return llvm::any_of(sharding.operands, cut) || llvm::any_of(sharding.results, cut);
}

std::optional<Sharding> SequenceParallel::between(const Sharding &from, const Sharding &to, Value value) const {
  if (axes.empty() || !isSummed(from, value) || to.isPartial() || isCut(to) || isCut(from) ||
      cast<RankedTensorType>(value.getType()).getDimSize(kSequence) %
              (mesh.size(from.dims[kSequence]) * mesh.size(axes)) !=
          0)
    return std::nullopt;
  Sharding scattered = from;
  llvm::append_range(scattered.dims[kSequence], axes);
  llvm::erase_if(scattered.sum, isTensorAxis);
  return scattered;
}

FailureOr<OpSharding> SequenceParallel::choose(Operation *op, ArrayRef<Sharding> present, ArrayRef<int64_t> bytes,
                                               const Sharding &wanted) {
  FactorRule rule = cast<Shardable>(op).getFactorRule();
  SmallVector<Sharding> others(present), scattered(present);
  for (auto [i, operand] : llvm::enumerate(op->getOperands()))
    if (alongSequence.contains(operand))
      for (dist::Axes &dim : others[i].dims)
        llvm::erase_if(dim, isTensorAxis);
  OpSharding chosen = shardByRule(rule, others, bytes, mesh, wanted);
  keepPartialSums(op, present, chosen, mesh);
  auto isPartial = [](const Sharding &sharding) { return sharding.isPartial(); };
  // A sum with other readers, such as the stream that layers add to, is scattered for them, and what it is added to
  // too.
  bool isShared = llvm::any_of(llvm::zip_equal(op->getOperands(), present), [&](auto pair) {
    return isSummed(std::get<1>(pair), std::get<0>(pair)) && !std::get<0>(pair).hasOneUse();
  });
  if (axes.empty() || usesTensorRanks(chosen) || (llvm::any_of(chosen.operands, isPartial) && !isShared))
    return chosen;
  for (auto [sharding, operand] : llvm::zip_equal(scattered, op->getOperands())) {
    if (!isSummed(sharding, operand))
      continue;
    int64_t size = cast<RankedTensorType>(operand.getType()).getDimSize(kSequence);
    if (size % (mesh.size(sharding.dims[kSequence]) * mesh.size(axes)) != 0)
      return op->emitError() << "`sequence_parallel`: the " << mesh.size(axes)
                             << " ranks of axis tp do not divide the sequence, dimension " << kSequence << " of size "
                             << size << "; pad the sequences or leave `sequence_parallel` out";
    llvm::append_range(sharding.dims[kSequence], axes);
    llvm::erase_if(sharding.sum, isTensorAxis);
  }
  chosen = shardByRule(rule, scattered, bytes, mesh, wanted);
  for (auto [result, sharding] : llvm::zip_equal(op->getResults(), chosen.results))
    if (isCut(sharding))
      alongSequence.insert(result);
  return chosen;
}

} // namespace llmc::sharding
