//===- StateLayout.h - which ranks hold which parts of the state -*- C++ -*-===//
#ifndef LLMC_RUNTIME_PLAN_STATELAYOUT_H
#define LLMC_RUNTIME_PLAN_STATELAYOUT_H

#include "runtime/plan/Part.h"
#include <string>
#include <vector>

namespace llmc::runtime {

/// A rank and the buffer of its program that holds a part.
struct Holder {
  uint32_t rank, buffer;
};

/// A part of a tensor's compiled form, and the ranks that hold it, in order. The first one speaks for all.
struct HeldPart {
  Box box;
  std::vector<Holder> holders;
};

/// A tensor of the state of all ranks together.
struct StateTensor {
  std::string name;
  fb::DataType type = fb::DataType::F32;
  Shape shape; // logical
  std::vector<ViewStep> view;
  Shape compiled;
  std::vector<HeldPart> parts;
  std::vector<uint32_t> sum; // divisions over whose groups parts are to be added up

  /// The part that `rank` holds, and its buffer; null if it holds none.
  const HeldPart *partOf(uint32_t rank, uint32_t &buffer) const;
};

/// What a checkpoint holds, in the plan's order: parameters by name; their states as NAME.STATE and then, as bytes, all
/// other state that is neither gradient nor zero between steps (running statistics and the like), as `buffer.NAME`.
struct StateLayout {
  std::vector<StateTensor> model, optimizer;
};

/// Of a validated plan. A function of the plan alone, so that all ranks know it without asking each other.
StateLayout stateLayout(const fb::Plan &plan);

/// The gradients, by the names of their parameters.
std::vector<StateTensor> gradientLayout(const fb::Plan &plan);

/// The ranks that stand together with `rank` in groups of any of the divisions, in order: those over which to add up.
std::vector<uint32_t> ranksAround(const fb::Plan &plan, const std::vector<uint32_t> &divisions, uint32_t rank);

} // namespace llmc::runtime

#endif // LLMC_RUNTIME_PLAN_STATELAYOUT_H
