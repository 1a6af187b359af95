//===- View.h - between a parameter's logical and compiled form -*- C++ -*-===//
//
// A view is a list of steps from the logical tensor (as the model file and checkpoints hold it) to the tensor that the
// kernels use:
//   Reshape  values: the new shape, same number of elements
//   Permute  values: a permutation p; dimension i of the result is dimension p[i] of the operand
//   Slice    values: start and size per dimension, interleaved
//   Pad      values: zeros before and after per dimension, interleaved
//
//===----------------------------------------------------------------------===//
#ifndef LLMC_RUNTIME_PLAN_VIEW_H
#define LLMC_RUNTIME_PLAN_VIEW_H

#include "runtime/plan/Plan_generated.h"
#include "runtime/support/Status.h"
#include <cstdint>
#include <string>
#include <vector>

namespace llmc::runtime {

namespace fb = llmc::plan::fb;
using Shape = std::vector<int64_t>;

struct ViewStep {
  fb::ViewKind kind;
  std::vector<int64_t> values;
};

/// Bytes of one element; 0 for an unknown type.
uint64_t elementBytes(fb::DataType type);

/// Number of elements, -1 if a size is negative or the product overflows 2^62.
int64_t elementCount(const Shape &shape);

Shape shapeOf(const flatbuffers::Vector<int64_t> *values);
std::vector<ViewStep> viewOf(const fb::Parameter &parameter);
/// The view of a parameter's gradient or optimizer state: its own, or the parameter's.
std::vector<ViewStep> viewOf(const fb::Parameter &parameter, const fb::StateBuffer &state);

/// The shape after `steps`. On a step that does not fit, returns false and says why.
bool applyToShape(const std::vector<ViewStep> &steps, Shape &shape, std::string &problem);

/// Copies `logical` (of `shape`, row-major, elements of `width` bytes) into compiled form. The steps must fit the shape.
void toCompiled(const std::vector<ViewStep> &steps, const Shape &shape, uint64_t width, const void *logical,
                void *compiled);

/// The inverse. Logical elements that a Slice leaves out become zero.
void toLogical(const std::vector<ViewStep> &steps, const Shape &shape, uint64_t width, const void *compiled,
               void *logical);

} // namespace llmc::runtime

#endif // LLMC_RUNTIME_PLAN_VIEW_H
