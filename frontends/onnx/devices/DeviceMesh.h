//===- DeviceMesh.h - which axes of a mesh make given parts -----*- C++ -*-===//
#ifndef LLMC_FRONTENDS_ONNX_DEVICES_DEVICEMESH_H
#define LLMC_FRONTENDS_ONNX_DEVICES_DEVICEMESH_H

#include "dialects/train/Recipe.h"
#include "llvm/ADT/ArrayRef.h"
#include <optional>

namespace llmc::onnx {

/// The mesh of a recipe: ranks are numbered row-major over its axes.
class DeviceMesh {
public:
  explicit DeviceMesh(const train::Recipe &recipe);

  /// Nothing if the product of the axes overflows.
  std::optional<int64_t> ranks() const { return count; }
  /// "dp 2 x tp 2".
  std::string text() const;

  using Axes = std::vector<train::ModelSharding::Axis>;

  /// The axes, or major places of axes, that cut something into parts such that rank r has part `indices[r] / minor %
  /// parts`, the first axis major, none of them twice in `used`, which they are added to. Nothing if there are none: the
  /// parts are no product of axes. A mesh has few axes, so all orders are tried.
  std::optional<Axes> find(llvm::ArrayRef<int64_t> indices, int64_t minor, int64_t parts,
                           std::vector<std::string> &used) const;

private:
  struct Axis {
    std::string name;
    int64_t size, stride;
  };
  std::vector<Axis> axes;
  std::optional<int64_t> count;
};

} // namespace llmc::onnx

#endif // LLMC_FRONTENDS_ONNX_DEVICES_DEVICEMESH_H
