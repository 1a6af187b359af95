//===- Numbers.h - element types of files -----------------------*- C++ -*-===//
#ifndef LLMC_RUNTIME_IO_NUMBERS_H
#define LLMC_RUNTIME_IO_NUMBERS_H

#include "runtime/plan/Plan_generated.h"
#include <cstdint>

namespace llmc::runtime {

namespace fb = llmc::plan::fb;

bool isFloat(fb::DataType type);
bool isInteger(fb::DataType type);
const char *nameOf(fb::DataType type);

/// Converts `count` elements. Floating point to floating point (F16, BF16, F32, F64; round to nearest even) and integer to
/// integer (I64, I32, I8, U8, Bool; out of range wraps) are supported. Returns false for other pairs.
bool convertElements(fb::DataType fromType, const void *from, fb::DataType toType, void *to, int64_t count);

} // namespace llmc::runtime

#endif // LLMC_RUNTIME_IO_NUMBERS_H
