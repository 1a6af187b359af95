//===- Tables.h - FlatBuffers fields that may be absent ---------*- C++ -*-===//
#ifndef LLMC_RUNTIME_PLAN_TABLES_H
#define LLMC_RUNTIME_PLAN_TABLES_H

#include <flatbuffers/flatbuffers.h>
#include <string>

namespace llmc::runtime {

/// Elements of a vector; 0 if it is absent.
template <typename T> uint32_t sizeOf(const flatbuffers::Vector<T> *vector) { return vector ? vector->size() : 0; }

/// A string; empty if it is absent.
inline std::string textOf(const flatbuffers::String *text) { return text ? text->str() : std::string(); }

} // namespace llmc::runtime

#endif // LLMC_RUNTIME_PLAN_TABLES_H
