//===- Axes.h - axes of the mesh, and parts of them -------------*- C++ -*-===//
#ifndef LLMC_PASSES_SHARDING_AXES_H
#define LLMC_PASSES_SHARDING_AXES_H

#include "dialects/dist/Dist.h"
#include "llvm/ADT/MapVector.h"
#include <set>

namespace llmc::sharding {

/// True for axes along which ranks have different samples: dp and dp_replicate, or a part of one.
bool isDataAxis(mlir::StringAttr axis);

/// True for the axis over which ZeRO cuts state: dp, or a part of it.
bool isZeroAxis(mlir::StringAttr axis);

/// True for the axis of tensor parallelism, or a part of it.
bool isTensorAxis(mlir::StringAttr axis);

/// `sharding` without its data axes.
dist::Sharding withoutData(dist::Sharding sharding);

/// Sorts axes into the order of the mesh, so that equal sets are equal lists.
void sortAxes(dist::Axes &axes, dist::MeshAttr mesh);

/// Divisors of `number` that are greater than 1, the largest first.
llvm::SmallVector<int64_t> divisorsOf(int64_t number);

/// The numbers of parts into which the major places of one axis are grouped, e.g. {2, 4} of an axis of 4 places: each
/// divides the next.
class Divisions {
public:
  explicit Divisions(int64_t size) : sizes({size}) {}
  /// True if `parts` fits those there are; notes it.
  bool admit(int64_t parts);
  const std::set<int64_t> &all() const { return sizes; }

private:
  std::set<int64_t> sizes;
};

/// The mesh of a recipe, whose axes become several, AXIS.0, AXIS.1, ..., the first major, where some dimensions are cut
/// over a part of one only.
class AxisSplitter {
public:
  void add(mlir::StringAttr axis, int64_t size) { axes.insert({axis, Divisions(size)}); }
  /// The places of an axis; 1 if there is none of this name.
  int64_t size(mlir::StringAttr axis) const;
  /// True if a dimension may be cut into `parts` over the major places of `axis`, beside what was admitted before;
  /// notes it.
  bool admit(mlir::StringAttr axis, int64_t parts);
  bool empty() const { return axes.empty(); }

  // After all parts are admitted:
  dist::MeshAttr mesh(mlir::MLIRContext *context) const;
  /// The axes of the mesh that are the major `parts` places of `axis`.
  dist::Axes major(mlir::StringAttr axis, int64_t parts) const;

private:
  llvm::SmallVector<std::pair<mlir::StringAttr, int64_t>> split(mlir::StringAttr axis) const;
  llvm::MapVector<mlir::StringAttr, Divisions> axes;
};

} // namespace llmc::sharding

#endif // LLMC_PASSES_SHARDING_AXES_H
