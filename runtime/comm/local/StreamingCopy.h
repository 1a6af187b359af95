//===- StreamingCopy.h - copies of what caches do not hold ------*- C++ -*-===//
#ifndef LLMC_RUNTIME_COMM_LOCAL_STREAMINGCOPY_H
#define LLMC_RUNTIME_COMM_LOCAL_STREAMINGCOPY_H

#include <cstddef>

namespace llmc::runtime::local {

/// std::memcpy for arrays of many megabytes: past the caches, and from several pages in turn, since a core has more
/// reads under way in several streams than in one (24 against 14 GB/s read and written by each of two cores of a server
/// of 2023).
void streamingCopy(void *to, const void *from, size_t bytes);

} // namespace llmc::runtime::local

#endif // LLMC_RUNTIME_COMM_LOCAL_STREAMINGCOPY_H
