//===- Part.cpp - which part of a tensor a rank holds ---------------------===//
#include "runtime/plan/Part.h"
#include <algorithm>
#include <cstring>

namespace llmc::runtime {

std::optional<Box> partOf(const fb::Plan &plan, const Shape &shape, const Cuts *cuts, const std::vector<uint32_t> &places,
                          std::string &problem) {
  Box box = Box::whole(shape);
  for (uint32_t i = 0; cuts && i < cuts->size(); ++i) {
    uint32_t dim = cuts->Get(i)->dim(), groups = cuts->Get(i)->groups();
    if (dim >= shape.size() || !plan.groups() || groups >= plan.groups()->size()) {
      problem = "is cut in a dimension or a division into groups that does not exist";
      return std::nullopt;
    }
    int64_t parts = plan.groups()->Get(groups)->size();
    if (parts < 1 || box.size[dim] % parts != 0) {
      problem = "dimension " + std::to_string(dim) + " of size " + std::to_string(box.size[dim]) +
                " is not cut evenly into " + std::to_string(parts) + " parts";
      return std::nullopt;
    }
    box.size[dim] /= parts;
    box.begin[dim] += box.size[dim] * places[groups];
  }
  return box;
}

Box partOf(const fb::Plan &plan, const Shape &shape, const Cuts *cuts, const std::vector<uint32_t> &places) {
  std::string problem;
  return partOf(plan, shape, cuts, places, problem).value_or(Box::whole(shape));
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

/// Elements between neighbours along each dimension.
static Shape stridesOf(const Shape &shape) {
  Shape strides(shape.size(), 1);
  for (size_t d = strides.size(); d-- > 1;)
    strides[d - 1] = strides[d] * shape[d];
  return strides;
}

Runs::Runs(const Box &box, const Shape &shape) : box(box), strides(stridesOf(shape)), outer(shape.size()) {
  while (outer > 0) {
    length *= box.size[--outer];
    if (box.size[outer] != shape[outer])
      break;
  }
  for (size_t d = 0; d < outer; ++d)
    count *= box.size[d];
}

int64_t Runs::begin(int64_t run) const {
  int64_t element = 0;
  for (size_t d = strides.size(); d-- > 0;) {
    element += box.begin[d] * strides[d];
    if (d < outer) {
      element += run % box.size[d] * strides[d];
      run /= box.size[d];
    }
  }
  return element;
}

/// `box` as seen from a tensor that holds only `frame`.
static Box within(const Box &frame, Box box) {
  for (size_t d = 0; d < box.begin.size(); ++d)
    box.begin[d] -= frame.begin[d];
  return box;
}

void copyBox(const Box &box, const Box &fromBox, const void *from, const Box &toBox, void *to, uint64_t width) {
  Box fromPart = within(fromBox, box), toPart = within(toBox, box);
  Runs fromRuns(fromPart, fromBox.size), toRuns(toPart, toBox.size);
  int64_t length = std::min(fromRuns.length, toRuns.length); // divides the other
  if (elementCount(box.size) == 0)
    return;
  for (int64_t at = 0, count = elementCount(box.size); at < count; at += length) {
    int64_t fromAt = fromRuns.begin(at / fromRuns.length) + at % fromRuns.length;
    int64_t toAt = toRuns.begin(at / toRuns.length) + at % toRuns.length;
    std::memcpy(static_cast<uint8_t *>(to) + static_cast<uint64_t>(toAt) * width,
                static_cast<const uint8_t *>(from) + static_cast<uint64_t>(fromAt) * width,
                static_cast<uint64_t>(length) * width);
  }
}

void copyCommon(const Box &fromBox, const void *from, const Box &toBox, void *to, uint64_t width) {
  if (std::optional<Box> common = intersect(fromBox, toBox))
    copyBox(*common, fromBox, from, toBox, to, width);
}

/// Adds what `hole` leaves of `box` to `rest`: along each dimension what lies before and after it.
static void subtract(Box box, const Box &hole, std::vector<Box> &rest) {
  std::optional<Box> common = intersect(box, hole);
  if (!common)
    return rest.push_back(box);
  for (size_t d = 0; d < box.size.size(); ++d) {
    int64_t end = box.begin[d] + box.size[d], holeEnd = common->begin[d] + common->size[d];
    Box before = box, after = box;
    before.size[d] = common->begin[d] - box.begin[d];
    after.begin[d] = holeEnd;
    after.size[d] = end - holeEnd;
    for (const Box &piece : {before, after})
      if (piece.size[d] > 0)
        rest.push_back(piece);
    box.begin[d] = common->begin[d];
    box.size[d] = common->size[d];
  }
}

bool covers(const std::vector<Box> &boxes, const Box &box) {
  std::vector<Box> missing, rest;
  if (elementCount(box.size) != 0)
    missing.push_back(box);
  for (const Box &held : boxes) {
    rest.clear();
    for (const Box &piece : missing)
      subtract(piece, held, rest);
    missing.swap(rest);
  }
  return missing.empty();
}

bool keepsBytes(const std::vector<ViewStep> &view) {
  return std::all_of(view.begin(), view.end(), [](const ViewStep &step) { return step.kind == fb::ViewKind::Reshape; });
}

Shape compiledShape(const std::vector<ViewStep> &view, const Shape &shape) {
  Shape compiled = shape;
  std::string problem;
  applyToShape(view, compiled, problem);
  return compiled;
}

void toPart(const std::vector<ViewStep> &view, const Shape &shape, const Box &box, uint64_t width, const void *logical,
            void *part) {
  Shape compiled = compiledShape(view, shape);
  Box whole = Box::whole(compiled);
  if (keepsBytes(view))
    return copyBox(box, whole, logical, box, part, width);
  if (box == whole)
    return toCompiled(view, shape, width, logical, part);
  std::vector<uint8_t> all(static_cast<size_t>(elementCount(compiled)) * width);
  toCompiled(view, shape, width, logical, all.data());
  copyBox(box, whole, all.data(), box, part, width);
}

} // namespace llmc::runtime
