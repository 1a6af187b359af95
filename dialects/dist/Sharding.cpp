//===- Sharding.cpp - which part of a tensor a rank holds -----------------===//
#include "dialects/dist/Dist.h"
#include "llvm/ADT/SmallPtrSet.h"
#include "llvm/ADT/StringExtras.h"

using namespace mlir;

namespace llmc::dist {

Axes axesOf(ArrayAttr names) {
  Axes axes;
  for (Attribute name : names)
    axes.push_back(cast<StringAttr>(name));
  return axes;
}

ArrayAttr namesOf(MLIRContext *context, ArrayRef<StringAttr> axes) {
  return ArrayAttr::get(context, SmallVector<Attribute>(axes.begin(), axes.end()));
}

Sharding Sharding::of(ShardingAttr attribute) {
  Sharding sharding;
  for (Attribute dim : attribute.getDims())
    sharding.dims.push_back(axesOf(cast<ArrayAttr>(dim)));
  sharding.sum = axesOf(attribute.getSum());
  sharding.max = axesOf(attribute.getMax());
  return sharding;
}

ShardingAttr Sharding::toAttribute(MLIRContext *context) const {
  SmallVector<Attribute> lists;
  for (const Axes &axes : dims)
    lists.push_back(namesOf(context, axes));
  return ShardingAttr::get(context, ArrayAttr::get(context, lists), namesOf(context, sum), namesOf(context, max));
}

FailureOr<RankedTensorType> Sharding::localType(RankedTensorType type, MeshAttr mesh) const {
  SmallVector<int64_t> shape(type.getShape());
  for (auto [size, axes] : llvm::zip_equal(shape, dims)) {
    int64_t parts = mesh.size(axes);
    if (parts == 0 || size % parts != 0)
      return failure();
    size /= parts;
  }
  return RankedTensorType::get(shape, type.getElementType());
}

std::string problemOf(const Sharding &sharding, RankedTensorType type, MeshAttr mesh) {
  if (static_cast<int64_t>(sharding.dims.size()) != type.getRank())
    return "it has " + std::to_string(sharding.dims.size()) + " dimensions, the tensor has " +
           std::to_string(type.getRank());
  llvm::SmallPtrSet<Attribute, 8> seen;
  auto check = [&](const Axes &axes) -> std::string {
    for (StringAttr axis : axes) {
      if (mesh.size(axis) == 0)
        return "the mesh has no axis '" + axis.str() + "'";
      if (!seen.insert(axis).second)
        return "axis '" + axis.str() + "' stands twice";
    }
    return "";
  };
  for (auto [d, axes] : llvm::enumerate(sharding.dims)) {
    if (std::string problem = check(axes); !problem.empty())
      return problem;
    if (type.getDimSize(d) % mesh.size(axes) != 0)
      return "dimension " + std::to_string(d) + " has size " + std::to_string(type.getDimSize(d)) +
             ", which is no multiple of " + std::to_string(mesh.size(axes));
  }
  if (std::string problem = check(sharding.sum); !problem.empty())
    return problem;
  return check(sharding.max);
}

} // namespace llmc::dist
