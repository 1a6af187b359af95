//===- Names.h - parameters as a report names them --------------*- C++ -*-===//
#ifndef LLMC_PASSES_SHRINK_NAMES_H
#define LLMC_PASSES_SHRINK_NAMES_H

#include "llvm/ADT/ArrayRef.h"
#include <string>

namespace llmc::shrink {

/// What all names begin with, up to a dot: "h.1" of "h.1.up.weight" and "h.1.up.bias" is "h.1.up"; a single name is
/// itself.
std::string commonPrefix(llvm::ArrayRef<std::string> names);

/// Names separated by commas; where their numbers follow each other, only the first and the last: "h.1 ... h.31, tail".
std::string listed(llvm::ArrayRef<std::string> names);

} // namespace llmc::shrink

#endif // LLMC_PASSES_SHRINK_NAMES_H
