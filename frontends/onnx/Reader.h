//===- Reader.h - an .onnx file -> Model ------------------------*- C++ -*-===//
#ifndef LLMC_FRONTENDS_ONNX_READER_H
#define LLMC_FRONTENDS_ONNX_READER_H

#include "frontends/Problem.h"
#include "frontends/onnx/Model.h"

namespace llmc::onnx {

struct ReadResult {
  std::unique_ptr<Model> model; // null unless `problems` is empty
  Problems problems;
};

/// Reads and checks a model of operator sets 7 to 27: one definition per name, no cycles, sizes that do not overflow,
/// external data inside the model's folder and as long as stated. Functions are inlined, nodes sorted. A data file that does
/// not exist is no problem here (`Tensor::missing`); a too short one is.
ReadResult readModel(llvm::StringRef path);

} // namespace llmc::onnx

#endif // LLMC_FRONTENDS_ONNX_READER_H
