//===- Dist.h - the dist dialect --------------------------------*- C++ -*-===//
#ifndef LLMC_DIALECTS_DIST_DIST_H
#define LLMC_DIALECTS_DIST_DIST_H

#include "mlir/Bytecode/BytecodeOpInterface.h"
#include "mlir/IR/BuiltinAttributes.h"
#include "mlir/IR/BuiltinOps.h"
#include "mlir/IR/BuiltinTypes.h"
#include "mlir/IR/Dialect.h"
#include "mlir/IR/OpDefinition.h"
#include "mlir/IR/OpImplementation.h"
#include "mlir/Interfaces/InferTypeOpInterface.h"
#include "mlir/Interfaces/SideEffectInterfaces.h"

#include "dialects/dist/DistDialect.h.inc"
#define GET_ATTRDEF_CLASSES
#include "dialects/dist/DistAttrs.h.inc"
#define GET_OP_CLASSES
#include "dialects/dist/DistOps.h.inc"

namespace llmc::dist {

inline constexpr llvm::StringLiteral kMesh = "dist.mesh";         // MeshAttr on the module; none: one rank
inline constexpr llvm::StringLiteral kSharding = "dist.sharding"; // ShardingAttr on arguments and results of functions
inline constexpr llvm::StringLiteral kShardings = "dist.shardings"; // ArrayAttr of ShardingAttr on ops, one per result

inline constexpr llvm::StringLiteral kWanted =
    "dist.wanted"; // ArrayAttr on the module: {node, tensor, output, outputs, shape, sharding}, for `sharding-propagate`

/// Metadata of the location of a message of several tensors: fused of one location each.
inline mlir::StringAttr messageTag(mlir::MLIRContext *context) { return mlir::StringAttr::get(context, "dist.message"); }

/// The mesh of a module; null if it is for one rank.
MeshAttr meshOf(mlir::ModuleOp module);

/// Axes of a mesh, the first major.
using Axes = llvm::SmallVector<mlir::StringAttr, 2>;

/// Axes from and to the attributes of ops.
Axes axesOf(mlir::ArrayAttr names);
mlir::ArrayAttr namesOf(mlir::MLIRContext *context, llvm::ArrayRef<mlir::StringAttr> axes);

/// A ShardingAttr's content, to compute with.
struct Sharding {
  llvm::SmallVector<Axes, 4> dims;
  Axes sum, max;

  /// The same whole tensor on every rank.
  static Sharding whole(int64_t rank) { return {llvm::SmallVector<Axes, 4>(rank), {}, {}}; }
  static Sharding of(ShardingAttr attribute);
  ShardingAttr toAttribute(mlir::MLIRContext *context) const;

  bool isPartial() const { return !sum.empty() || !max.empty(); }
  /// The same dimensions, without partial axes.
  Sharding withoutPartial() const { return {dims, {}, {}}; }
  bool operator==(const Sharding &) const = default;

  /// The type of a rank's part. Fails if a dimension is no multiple of its axes' places.
  mlir::FailureOr<mlir::RankedTensorType> localType(mlir::RankedTensorType type, MeshAttr mesh) const;
};

/// What is wrong with `sharding` for a tensor of `type` on `mesh`: its rank, an unknown axis, one that stands twice, or
/// a dimension that does not divide. Empty if nothing is.
std::string problemOf(const Sharding &sharding, mlir::RankedTensorType type, MeshAttr mesh);

} // namespace llmc::dist

#endif // LLMC_DIALECTS_DIST_DIST_H
