//===- Part.h - which part of a tensor a rank holds -------------*- C++ -*-===//
#ifndef LLMC_RUNTIME_PLAN_PART_H
#define LLMC_RUNTIME_PLAN_PART_H

#include "runtime/plan/View.h"
#include <optional>

namespace llmc::runtime {

using Cuts = flatbuffers::Vector<flatbuffers::Offset<fb::Cut>>;

/// A box of a tensor: where it begins and its size, per dimension.
struct Box {
  Shape begin, size;

  static Box whole(const Shape &shape) { return {Shape(shape.size(), 0), shape}; }
  bool isWhole(const Shape &shape) const { return size == shape; }
  bool operator==(const Box &) const = default;
};

/// The part of a tensor of `shape` that `rank` holds after `cuts` (null: all of it) of a plan whose groups are valid.
/// Nothing if a cut names no dimension or division, or does not divide; `problem` says which.
std::optional<Box> partOf(const fb::Plan &plan, const Shape &shape, const Cuts *cuts, uint32_t rank, std::string &problem);
/// Of a validated plan.
Box partOf(const fb::Plan &plan, const Shape &shape, const Cuts *cuts, uint32_t rank);

/// What two boxes of one tensor have in common; nothing if that is empty.
std::optional<Box> intersect(const Box &a, const Box &b);

/// Copies the elements of `box` (of `width` bytes) between two tensors that hold the boxes `fromBox` and `toBox` of one
/// tensor, row-major. `box` lies in both.
void copyBox(const Box &box, const Box &fromBox, const void *from, const Box &toBox, void *to, uint64_t width);

} // namespace llmc::runtime

#endif // LLMC_RUNTIME_PLAN_PART_H
