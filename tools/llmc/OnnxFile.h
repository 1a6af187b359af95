//===- OnnxFile.h - copies of a model in files ------------------*- C++ -*-===//
#ifndef LLMC_TOOLS_LLMC_ONNXFILE_H
#define LLMC_TOOLS_LLMC_ONNXFILE_H

#include "frontends/onnx/Writer.h"
#include "runtime/support/Status.h"
#include "tools/llmc/Tool.h"

namespace llmc::tool {

inline int failWith(const runtime::Status &status) {
  return fail(static_cast<ExitCode>(status.code), status.message, status.hint);
}

/// Refuses an output that is the model's own file. Returns the exit code.
int checkOnnxOutput(llvm::StringRef model, llvm::StringRef output);

/// Writes `model` with `values` and what `options` add to `output`, and what does not stand in the file itself to
/// `output`.data; refuses to write over one of the model's data files. A data file is in place before the model that refers
/// to it; an older model of that name is removed before both. Returns the exit code.
int writeOnnx(onnx::Model &model, const onnx::NewValues &values, onnx::WriteOptions options, llvm::StringRef output);

} // namespace llmc::tool

#endif // LLMC_TOOLS_LLMC_ONNXFILE_H
