//===- Axes.cpp - axes of the mesh, and parts of them ----------------------------===//
#include "passes/sharding/Axes.h"

using namespace mlir;

namespace llmc::sharding {

using dist::Axes;
using dist::Sharding;

bool isDataAxis(StringAttr axis) {
  return isZeroAxis(axis) || axis.getValue().split('.').first == "dp_replicate";
}

bool isZeroAxis(StringAttr axis) { return axis.getValue().split('.').first == "dp"; }

bool isTensorAxis(StringAttr axis) { return axis.getValue().split('.').first == "tp"; }

Sharding withoutData(Sharding sharding) {
  for (Axes &axes : sharding.dims)
    llvm::erase_if(axes, isDataAxis);
  return sharding;
}

void sortAxes(Axes &axes, dist::MeshAttr mesh) {
  llvm::sort(axes, [&](StringAttr a, StringAttr b) {
    return llvm::find(mesh.getNames(), a) < llvm::find(mesh.getNames(), b);
  });
}

SmallVector<int64_t> divisorsOf(int64_t number) {
  SmallVector<int64_t> divisors;
  for (int64_t d = number; d > 1; --d)
    if (number % d == 0)
      divisors.push_back(d);
  return divisors;
}

bool Divisions::admit(int64_t parts) {
  for (int64_t size : sizes)
    if (parts % size != 0 && size % parts != 0)
      return false;
  sizes.insert(parts);
  return true;
}

int64_t AxisSplitter::size(StringAttr axis) const {
  auto it = axes.find(axis);
  return it == axes.end() ? 1 : *it->second.all().rbegin();
}

bool AxisSplitter::admit(StringAttr axis, int64_t parts) {
  auto it = axes.find(axis);
  return it != axes.end() && it->second.admit(parts);
}

SmallVector<std::pair<StringAttr, int64_t>> AxisSplitter::split(StringAttr axis) const {
  const std::set<int64_t> &sizes = axes.find(axis)->second.all();
  if (sizes.size() == 1)
    return {{axis, *sizes.begin()}};
  SmallVector<std::pair<StringAttr, int64_t>> split;
  int64_t before = 1;
  for (int64_t size : sizes) {
    auto name = StringAttr::get(axis.getContext(), axis.getValue() + "." + Twine(split.size()));
    split.push_back({name, size / before});
    before = size;
  }
  return split;
}

dist::MeshAttr AxisSplitter::mesh(MLIRContext *context) const {
  SmallVector<StringAttr> names;
  SmallVector<int64_t> sizes;
  for (auto &[axis, divisions] : axes)
    for (auto [name, size] : split(axis)) {
      names.push_back(name);
      sizes.push_back(size);
    }
  return dist::MeshAttr::get(context, names, sizes);
}

Axes AxisSplitter::major(StringAttr axis, int64_t parts) const {
  Axes result;
  for (auto [name, size] : split(axis)) {
    if (parts == 1)
      break;
    result.push_back(name);
    parts /= size;
  }
  return result;
}

} // namespace llmc::sharding
