//===- Chunks.h - many tensors, one after another in chunks of one size -------*- C++ -*-===//
#ifndef LLMC_COMPILER_CODEGEN_FORMS_CHUNKS_H
#define LLMC_COMPILER_CODEGEN_FORMS_CHUNKS_H

#include "compiler/codegen/Code.h"
#include <vector>

namespace llmc::codegen {

/// The elements of several tensors in chunks; a chunk lies in one tensor. Which tensor a chunk lies in is looked up in a
/// table, so that code does not grow with the number of tensors.
class Chunks {
public:
  static constexpr int64_t chunkSize = 32 * 1024;
  /// Appends a tensor.
  void add(int64_t elements);
  int64_t tensors() const { return static_cast<int64_t>(sizes.size()); }
  int64_t count() const { return chunks; }
  struct Place {
    mlir::Value tensor, begin, end; // number of the tensor, range of its elements
  };
  /// Where chunk `index` lies.
  Place locate(Code &code, mlir::Value index) const;

private:
  std::vector<int64_t> sizes, first; // elements; number of the first chunk
  int64_t chunks = 0;
};

} // namespace llmc::codegen

#endif // LLMC_COMPILER_CODEGEN_FORMS_CHUNKS_H
