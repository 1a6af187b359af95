//===- OnnxFile.h - copies of a model in files ------------------*- C++ -*-===//
#ifndef LLMC_TOOLS_LLMC_ONNXFILE_H
#define LLMC_TOOLS_LLMC_ONNXFILE_H

#include "frontends/onnx/Writer.h"
#include "tools/llmc/Tool.h"

namespace llmc::tool {

/// Declares a copy of `model` that `writeOnnx` writes, its data file, and the data files of the model itself.
void declareOnnx(const onnx::Model &model, llvm::StringRef output, runtime::FileRoles &roles);

/// Writes `model` with `values` and what `options` add to `output`, and what does not stand in the file itself to
/// `output`.data. A data file is in place before the model that refers
/// to it; an older model of that name is removed before both. Returns the exit code.
int writeOnnx(onnx::Model &model, const onnx::NewValues &values, onnx::WriteOptions options, llvm::StringRef output);

} // namespace llmc::tool

#endif // LLMC_TOOLS_LLMC_ONNXFILE_H
