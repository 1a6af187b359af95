//===- DeviceMesh.cpp - which axes of a mesh make given parts ------===//
#include "frontends/onnx/devices/DeviceMesh.h"
#include "llvm/ADT/STLExtras.h"
#include "llvm/Support/CheckedArithmetic.h"

using namespace llmc;
using namespace llmc::onnx;

DeviceMesh::DeviceMesh(const train::Recipe &recipe) : count(1) {
  for (auto &[name, size] : llvm::reverse(recipe.mesh)) {
    axes.insert(axes.begin(), {name, size, count.value_or(0)});
    if (count)
      count = llvm::checkedMul(*count, size);
  }
}

std::string DeviceMesh::text() const {
  std::string text;
  for (const Axis &axis : axes)
    text += (text.empty() ? "" : " x ") + axis.name + " " + std::to_string(axis.size);
  return text;
}

std::optional<DeviceMesh::Axes> DeviceMesh::find(llvm::ArrayRef<int64_t> indices, int64_t minor, int64_t parts,
                                                 std::vector<std::string> &used) const {
  if (parts == 1)
    return Axes();
  for (const Axis &axis : axes) {
    if (axis.size == 1 || llvm::is_contained(used, axis.name))
      continue;
    for (int64_t own = axis.size; own > 1; --own) {
      if (axis.size % own != 0 || parts % own != 0)
        continue;
      int64_t rest = minor * (parts / own);
      bool fits = true;
      for (size_t rank = 0; rank < indices.size() && fits; ++rank) {
        int64_t place = static_cast<int64_t>(rank) / axis.stride % axis.size;
        fits = indices[rank] / rest % own == place / (axis.size / own);
      }
      if (!fits)
        continue;
      used.push_back(axis.name);
      if (std::optional<Axes> others = find(indices, minor, parts / own, used)) {
        others->insert(others->begin(), {axis.name, own});
        return others;
      }
      used.pop_back();
    }
  }
  return std::nullopt;
}
