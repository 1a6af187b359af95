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

/// The part of a tensor of `shape` that a rank with these `places` (placesOfRank) holds after `cuts` (null: all of it) of a
/// plan whose groups are valid. Nothing if a cut names no dimension or division, or does not divide; `problem` says which.
std::optional<Box> partOf(const fb::Plan &plan, const Shape &shape, const Cuts *cuts, const std::vector<uint32_t> &places,
                          std::string &problem);
/// Of a validated plan.
Box partOf(const fb::Plan &plan, const Shape &shape, const Cuts *cuts, const std::vector<uint32_t> &places);

/// What two boxes of one tensor have in common; nothing if that is empty.
std::optional<Box> intersect(const Box &a, const Box &b);

/// The elements of a box, in order, as runs of neighbours in the row-major tensor of `shape` that it is a part of.
struct Runs {
  Runs(const Box &box, const Shape &shape);

  int64_t length = 1, count = 1;
  /// The element of the tensor with which a run begins.
  int64_t begin(int64_t run) const;

private:
  const Box &box;
  Shape strides;
  size_t outer; // dimensions before those that lie within a run
};

/// Copies the elements of `box` (of `width` bytes) between two tensors that hold the boxes `fromBox` and `toBox` of one
/// tensor, row-major. `box` lies in both.
void copyBox(const Box &box, const Box &fromBox, const void *from, const Box &toBox, void *to, uint64_t width);

/// Copies what the boxes have in common.
void copyCommon(const Box &fromBox, const void *from, const Box &toBox, void *to, uint64_t width);

/// Whether `boxes` together hold all elements of `box`.
bool covers(const std::vector<Box> &boxes, const Box &box);

/// Whether the compiled form has the bytes of the logical tensor, in the same order.
bool keepsBytes(const std::vector<ViewStep> &view);

/// The shape of the compiled form. The steps must fit.
Shape compiledShape(const std::vector<ViewStep> &view, const Shape &shape);

/// Writes into `part` the elements of `box` of the compiled form of a tensor whose logical form, of `shape`, is given.
void toPart(const std::vector<ViewStep> &view, const Shape &shape, const Box &box, uint64_t width, const void *logical,
            void *part);

} // namespace llmc::runtime

#endif // LLMC_RUNTIME_PLAN_PART_H
