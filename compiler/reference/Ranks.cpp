//===- Ranks.cpp - simulated ranks ---------------------------------------------===//
#include "compiler/reference/Ranks.h"

using namespace mlir;

namespace llmc::reference {

using dist::Axes;
using dist::Sharding;

namespace {

/// Copies `part` out of, or into, the box of `whole` that begins at `begin`.
void copyBox(HostTensor &whole, HostTensor &part, ArrayRef<int64_t> begin, bool intoWhole) {
  auto wholeStrides = whole.strides(), partStrides = part.strides();
  for (int64_t i = 0, e = part.size(); i < e; ++i) {
    int64_t at = 0;
    for (int64_t d = 0; d < part.rank(); ++d)
      at += (begin[d] + i / partStrides[d] % part.shape[d]) * wholeStrides[d];
    if (part.isReal)
      (intoWhole ? whole.reals[at] : part.reals[i]) = intoWhole ? part.reals[i] : whole.reals[at];
    else
      (intoWhole ? whole.integers[at] : part.integers[i]) = intoWhole ? part.integers[i] : whole.integers[at];
  }
}

HostTensor cut(const HostTensor &whole, int64_t dim, int64_t index, int64_t parts) {
  SmallVector<int64_t, 4> shape(whole.shape), begin(whole.shape.size(), 0);
  shape[dim] /= parts;
  begin[dim] = index * shape[dim];
  HostTensor part = HostTensor::zeros(shape, whole.isReal);
  copyBox(const_cast<HostTensor &>(whole), part, begin, /*intoWhole=*/false);
  return part;
}

HostTensor gather(ArrayRef<const HostTensor *> parts, int64_t dim) {
  SmallVector<int64_t, 4> shape(parts[0]->shape), begin(shape.size(), 0);
  shape[dim] *= static_cast<int64_t>(parts.size());
  HostTensor whole = HostTensor::zeros(shape, parts[0]->isReal);
  for (const HostTensor *part : parts) {
    copyBox(whole, const_cast<HostTensor &>(*part), begin, /*intoWhole=*/true);
    begin[dim] += part->shape[dim];
  }
  return whole;
}

/// In the order of ranks; rounding between the additions is the element type's where results are rounded anyway.
HostTensor reduce(ArrayRef<const HostTensor *> parts, bool isMax) {
  HostTensor total = *parts[0];
  for (const HostTensor *part : parts.drop_front()) {
    for (auto [sum, value] : llvm::zip(total.reals, part->reals))
      sum = isMax ? std::max(sum, value) : sum + value;
    for (auto [sum, value] : llvm::zip(total.integers, part->integers))
      sum = isMax ? std::max(sum, value) : sum + value;
  }
  return total;
}

} // namespace

LogicalResult evaluateCollective(Operation *op, ArrayRef<SmallVector<const HostTensor *>> operands,
                                 std::vector<std::vector<HostTensor>> &results) {
  dist::MeshAttr mesh = dist::meshOf(op->getParentOfType<ModuleOp>());
  auto names = op->getAttrOfType<ArrayAttr>("axes");
  if (!names || !mesh || mesh.ranks() != static_cast<int64_t>(results.size()))
    return op->emitOpError("cannot be evaluated by the reference interpreter on ") << results.size() << " ranks";
  Axes axes = dist::axesOf(names);
  auto dim = op->getAttrOfType<IntegerAttr>("dim");
  for (int64_t rank = 0; rank < mesh.ranks(); ++rank) {
    SmallVector<int64_t> group = mesh.group(rank, axes);
    int64_t place = mesh.index(rank, axes), parts = mesh.size(axes);
    if (isa<dist::IndexOp>(op))
      results[rank].push_back({{}, false, {}, {place}});
    for (unsigned i = 0; i < op->getNumOperands(); ++i) {
      SmallVector<const HostTensor *> values;
      for (int64_t member : group)
        values.push_back(operands[member][i]);
      if (isa<dist::PartOp>(op))
        results[rank].push_back(cut(*operands[rank][i], dim.getInt(), place, parts));
      else if (isa<dist::AllGatherOp>(op))
        results[rank].push_back(gather(values, dim.getInt()));
      else if (auto all = dyn_cast<dist::AllReduceOp>(op))
        results[rank].push_back(reduce(values, all.getKind() == "max"));
      else if (auto scatter = dyn_cast<dist::ReduceScatterOp>(op))
        results[rank].push_back(cut(reduce(values, scatter.getKind() == "max"), dim.getInt(), place, parts));
    }
  }
  return success();
}

HostTensor partOf(const HostTensor &whole, const Sharding &sharding, dist::MeshAttr mesh, int64_t rank) {
  HostTensor part = whole;
  for (auto [d, axes] : llvm::enumerate(sharding.dims))
    if (!axes.empty())
      part = cut(part, static_cast<int64_t>(d), mesh.index(rank, axes), mesh.size(axes));
  if (mesh.index(rank, sharding.sum) != 0)
    return HostTensor::zeros(part.shape, part.isReal);
  return part;
}

HostTensor assemble(ArrayRef<const HostTensor *> parts, const Sharding &sharding, dist::MeshAttr mesh) {
  // Rank by rank into its box: sums are added, other ranks hold the same as an earlier one.
  SmallVector<int64_t, 4> shape(parts[0]->shape);
  for (auto [size, axes] : llvm::zip_equal(shape, sharding.dims))
    size *= mesh.size(axes);
  HostTensor whole = HostTensor::zeros(shape, parts[0]->isReal);
  for (int64_t rank = 0; rank < mesh.ranks(); ++rank) {
    SmallVector<int64_t> begin;
    Axes used = sharding.sum;
    for (auto [d, axes] : llvm::enumerate(sharding.dims)) {
      begin.push_back(mesh.index(rank, axes) * parts[0]->shape[d]);
      llvm::append_range(used, axes);
    }
    Axes others;
    for (StringAttr axis : mesh.getNames())
      if (!llvm::is_contained(used, axis))
        others.push_back(axis);
    if (mesh.index(rank, others) != 0)
      continue;
    HostTensor part = *parts[rank];
    if (mesh.index(rank, sharding.sum) != 0) {
      HostTensor before = HostTensor::zeros(part.shape, part.isReal);
      copyBox(whole, before, begin, /*intoWhole=*/false);
      part = reduce({&before, &part}, /*isMax=*/false);
    }
    copyBox(whole, part, begin, /*intoWhole=*/true);
  }
  return whole;
}

} // namespace llmc::reference
