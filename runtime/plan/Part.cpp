//===- Part.cpp - which part of a tensor a rank holds ---------------------===//
#include "runtime/plan/Part.h"
#include "runtime/plan/Places.h"
#include <algorithm>
#include <cstring>

namespace llmc::runtime {

std::optional<Box> partOf(const fb::Plan &plan, const Shape &shape, const Cuts *cuts, uint32_t rank, std::string &problem) {
  Box box = Box::whole(shape);
  for (uint32_t i = 0; cuts && i < cuts->size(); ++i) {
    uint32_t dim = cuts->Get(i)->dim(), groups = cuts->Get(i)->groups();
    if (dim >= shape.size() || !plan.groups() || groups >= plan.groups()->size()) {
      problem = "is cut in a dimension or a division into groups that does not exist";
      return std::nullopt;
    }
    int64_t parts = plan.groups()->Get(groups)->size();
    if (parts < 1 || box.size[dim] % parts != 0) {
      problem = "dimension " + std::to_string(dim) + " of size " + std::to_string(box.size[dim]) + " is not cut evenly into " +
                std::to_string(parts) + " parts";
      return std::nullopt;
    }
    box.size[dim] /= parts;
    box.begin[dim] += box.size[dim] * placeOf(plan, groups, rank).place;
  }
  return box;
}

Box partOf(const fb::Plan &plan, const Shape &shape, const Cuts *cuts, uint32_t rank) {
  std::string problem;
  return partOf(plan, shape, cuts, rank, problem).value_or(Box::whole(shape));
}

std::optional<Box> intersect(const Box &a, const Box &b) {
  Box common = a;
  for (size_t d = 0; d < a.begin.size(); ++d) {
    common.begin[d] = std::max(a.begin[d], b.begin[d]);
    common.size[d] = std::min(a.begin[d] + a.size[d], b.begin[d] + b.size[d]) - common.begin[d];
    if (common.size[d] <= 0)
      return std::nullopt;
  }
  return common;
}

/// Elements between neighbours along each dimension of a box.
static Shape stridesOf(const Box &box) {
  Shape strides(box.size.size(), 1);
  for (size_t d = strides.size(); d-- > 1;)
    strides[d - 1] = strides[d] * box.size[d];
  return strides;
}

void copyBox(const Box &box, const Box &fromBox, const void *from, const Box &toBox, void *to, uint64_t width) {
  Shape fromStrides = stridesOf(fromBox), toStrides = stridesOf(toBox);
  // Dimensions that are whole on both sides are copied together with the one before.
  size_t rank = box.size.size(), inner = rank;
  int64_t run = 1;
  while (inner > 0) {
    run *= box.size[--inner];
    if (box.size[inner] != fromBox.size[inner] || box.size[inner] != toBox.size[inner])
      break;
  }
  int64_t rows = 1;
  for (size_t d = 0; d < inner; ++d)
    rows *= box.size[d];
  for (int64_t row = 0; row < rows; ++row) {
    int64_t fromAt = 0, toAt = 0, rest = row;
    for (size_t d = rank; d-- > 0;) {
      int64_t index = box.begin[d];
      if (d < inner) {
        index += rest % box.size[d];
        rest /= box.size[d];
      }
      fromAt += (index - fromBox.begin[d]) * fromStrides[d];
      toAt += (index - toBox.begin[d]) * toStrides[d];
    }
    std::memcpy(static_cast<uint8_t *>(to) + static_cast<uint64_t>(toAt) * width,
                static_cast<const uint8_t *>(from) + static_cast<uint64_t>(fromAt) * width, static_cast<uint64_t>(run) * width);
  }
}

} // namespace llmc::runtime
