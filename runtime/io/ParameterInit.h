//===- ParameterInit.h - first values of parameters -------------*- C++ -*-===//
#ifndef LLMC_RUNTIME_IO_PARAMETERINIT_H
#define LLMC_RUNTIME_IO_PARAMETERINIT_H

#include "runtime/io/Safetensors.h"
#include "runtime/plan/Part.h"
#include "runtime/plan/Places.h"
#include <functional>
#include <map>
#include <string>

namespace llmc::runtime {

/// Calls the function for each item in [0, items), on any threads.
using ParallelFor = std::function<void(int64_t items, const std::function<void(int64_t)> &)>;

/// Fills parameters from what the plan says. Random values are a function of (seed, name, element) alone.
class ParameterInitializer {
public:
  /// Files are looked up below `folder`. `plan` must outlive this.
  ParameterInitializer(const fb::Plan &plan, uint32_t rank, std::string folder, ParallelFor parallel)
      : plan(plan), places(placesOfRank(plan, rank)), folder(std::move(folder)), parallel(std::move(parallel)) {}

  /// Writes the rank's part of the compiled form of `parameter`.
  /// Errors: BadInput if the plan names no source, or if a file is missing, too short, outside the folder, or not the one the plan was compiled with.
  Status initialize(const fb::Parameter &parameter, void *compiled);

  /// Writes the rank's part of the compiled form of `parameter` from tensor `info` of `file`, converting the
  /// element type. Errors: BadInput if shape or type do not fit.
  Status load(const fb::Parameter &parameter, const SafetensorsFile &file, const TensorInfo &info, void *compiled);

private:
  Status fromFile(const fb::Parameter &parameter, void *compiled);
  Box ownBox(const fb::Parameter &parameter) const;
  void fillRandom(const fb::Parameter &parameter, const Shape &shape, const Box &box, void *to) const;

  const fb::Plan &plan;
  std::vector<uint32_t> places; // of the rank
  std::string folder;
  ParallelFor parallel;
  std::map<std::string, std::shared_ptr<MappedFile>> files;
};

} // namespace llmc::runtime

#endif // LLMC_RUNTIME_IO_PARAMETERINIT_H
