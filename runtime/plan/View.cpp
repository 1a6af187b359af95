//===- View.cpp - between a parameter's logical and compiled form ---------===//
//
// Permute, Slice and Pad are each a rectangular copy between two strided boxes; a chain runs step by step through
// temporary arrays, Reshape costs nothing.
//
//===----------------------------------------------------------------------===//
#include "runtime/plan/View.h"
#include <algorithm>
#include <cstring>

namespace llmc::runtime {

uint64_t elementBytes(fb::DataType type) {
  switch (type) {
  case fb::DataType::F64:
  case fb::DataType::I64:
    return 8;
  case fb::DataType::F32:
  case fb::DataType::I32:
    return 4;
  case fb::DataType::F16:
  case fb::DataType::BF16:
    return 2;
  case fb::DataType::I8:
  case fb::DataType::U8:
  case fb::DataType::Bool:
  case fb::DataType::F8E4M3:
  case fb::DataType::F8E5M2:
    return 1;
  }
  return 0;
}

int64_t elementCount(const Shape &shape) {
  int64_t count = 1;
  for (int64_t size : shape)
    if (size < 0 || __builtin_mul_overflow(count, size, &count) || count > (int64_t(1) << 62))
      return -1;
  return count;
}

Shape shapeOf(const flatbuffers::Vector<int64_t> *values) {
  return values ? Shape(values->begin(), values->end()) : Shape();
}

static std::vector<ViewStep> stepsOf(const flatbuffers::Vector<flatbuffers::Offset<fb::View>> *view) {
  std::vector<ViewStep> steps;
  if (view)
    for (const fb::View *step : *view)
      steps.push_back({step->kind(), shapeOf(step->values())});
  return steps;
}

std::vector<ViewStep> viewOf(const fb::Parameter &parameter) { return stepsOf(parameter.view()); }

std::vector<ViewStep> viewOf(const fb::Parameter &parameter, const fb::StateBuffer &state) {
  return state.view() && state.view()->size() > 0 ? stepsOf(state.view()) : viewOf(parameter);
}

static std::string applyStep(const ViewStep &step, Shape &shape) {
  const std::vector<int64_t> &values = step.values;
  size_t rank = shape.size();
  switch (step.kind) {
  case fb::ViewKind::Reshape:
    if (elementCount(values) < 0 || elementCount(values) != elementCount(shape))
      return "reshape changes the number of elements";
    shape = values;
    return "";
  case fb::ViewKind::Permute: {
    Shape result(rank);
    std::vector<bool> seen(rank);
    if (values.size() != rank)
      return "permute has the wrong number of dimensions";
    for (size_t i = 0; i < rank; ++i) {
      if (values[i] < 0 || values[i] >= static_cast<int64_t>(rank) || seen[values[i]])
        return "permute is not a permutation";
      seen[values[i]] = true;
      result[i] = shape[values[i]];
    }
    shape = result;
    return "";
  }
  case fb::ViewKind::Slice:
    if (values.size() != 2 * rank)
      return "slice has the wrong number of values";
    for (size_t i = 0; i < rank; ++i) {
      int64_t start = values[2 * i], size = values[2 * i + 1];
      if (start < 0 || size < 0 || start > shape[i] || size > shape[i] - start)
        return "slice leaves dimension " + std::to_string(i);
      shape[i] = size;
    }
    return "";
  case fb::ViewKind::Pad:
    if (values.size() != 2 * rank)
      return "pad has the wrong number of values";
    for (size_t i = 0; i < rank; ++i)
      if (values[2 * i] < 0 || values[2 * i + 1] < 0 || __builtin_add_overflow(shape[i], values[2 * i], &shape[i]) ||
          __builtin_add_overflow(shape[i], values[2 * i + 1], &shape[i]))
        return "pad is negative or too large";
    return elementCount(shape) < 0 ? "pad makes the tensor too large" : "";
  }
  return "unknown view kind";
}

bool applyToShape(const std::vector<ViewStep> &steps, Shape &shape, std::string &problem) {
  if (elementCount(shape) < 0) {
    problem = "shape is negative or too large";
    return false;
  }
  for (const ViewStep &step : steps) {
    problem = applyStep(step, shape);
    if (!problem.empty())
      return false;
  }
  return true;
}

static Shape stridesOf(const Shape &shape) {
  Shape strides(shape.size(), 1);
  for (size_t i = shape.size(); i-- > 1;)
    strides[i - 1] = strides[i] * shape[i];
  return strides;
}

namespace {
/// Copies a box of `sizes` between two strided arrays.
struct BoxCopy {
  Shape sizes, fromStrides, toStrides;
  int64_t fromOffset = 0, toOffset = 0;

  void run(uint64_t width, const uint8_t *from, uint8_t *to) const {
    if (elementCount(sizes) > 0)
      runDimension(0, width, from + fromOffset * width, to + toOffset * width);
  }

private:
  void runDimension(size_t dimension, uint64_t width, const uint8_t *from, uint8_t *to) const {
    if (dimension == sizes.size()) {
      std::memcpy(to, from, width);
      return;
    }
    if (dimension + 1 == sizes.size() && fromStrides[dimension] == 1 && toStrides[dimension] == 1) {
      std::memcpy(to, from, static_cast<size_t>(sizes[dimension]) * width);
      return;
    }
    for (int64_t i = 0; i < sizes[dimension]; ++i)
      runDimension(dimension + 1, width, from + i * fromStrides[dimension] * width, to + i * toStrides[dimension] * width);
  }
};
} // namespace

/// The copy that a step makes from an operand of `before` to a result of `after`.
static BoxCopy copyOf(const ViewStep &step, const Shape &before, const Shape &after) {
  BoxCopy copy;
  Shape from = stridesOf(before), to = stridesOf(after);
  copy.sizes = after;
  copy.fromStrides = from;
  copy.toStrides = to;
  for (size_t i = 0; i < after.size(); ++i) {
    if (step.kind == fb::ViewKind::Permute) {
      copy.fromStrides[i] = from[step.values[i]];
    } else if (step.kind == fb::ViewKind::Slice) {
      copy.fromOffset += step.values[2 * i] * from[i];
    } else if (step.kind == fb::ViewKind::Pad) {
      copy.sizes[i] = before[i];
      copy.toOffset += step.values[2 * i] * to[i];
    }
  }
  return copy;
}

void toCompiled(const std::vector<ViewStep> &steps, const Shape &shape, uint64_t width, const void *logical,
                void *compiled) {
  Shape before = shape;
  std::vector<uint8_t> current, next;
  const uint8_t *from = static_cast<const uint8_t *>(logical);
  for (const ViewStep &step : steps) {
    Shape after = before;
    applyStep(step, after);
    if (step.kind != fb::ViewKind::Reshape) {
      next.assign(static_cast<size_t>(elementCount(after)) * width, 0);
      copyOf(step, before, after).run(width, from, next.data());
      current.swap(next);
      from = current.data();
    }
    before = after;
  }
  std::memcpy(compiled, from, static_cast<size_t>(elementCount(before)) * width);
}

void toLogical(const std::vector<ViewStep> &steps, const Shape &shape, uint64_t width, const void *compiled,
               void *logical) {
  std::vector<Shape> shapes = {shape};
  for (const ViewStep &step : steps) {
    shapes.push_back(shapes.back());
    applyStep(step, shapes.back());
  }
  std::vector<uint8_t> current, next;
  const uint8_t *from = static_cast<const uint8_t *>(compiled);
  for (size_t i = steps.size(); i-- > 0;) {
    if (steps[i].kind == fb::ViewKind::Reshape)
      continue;
    BoxCopy copy = copyOf(steps[i], shapes[i], shapes[i + 1]);
    std::swap(copy.fromStrides, copy.toStrides);
    std::swap(copy.fromOffset, copy.toOffset);
    next.assign(static_cast<size_t>(elementCount(shapes[i])) * width, 0);
    copy.run(width, from, next.data());
    current.swap(next);
    from = current.data();
  }
  std::memcpy(logical, from, static_cast<size_t>(elementCount(shape)) * width);
}

} // namespace llmc::runtime
