//===- Predict.h - outputs for arrays of inputs -----------------*- C++ -*-===//
#ifndef LLMC_RUNTIME_EXECUTOR_PREDICT_H
#define LLMC_RUNTIME_EXECUTOR_PREDICT_H

#include "runtime/executor/Executor.h"
#include <string>

namespace llmc::runtime {

/// Runs the segment `predict` on the arrays NAME.0, NAME.1, ... of the safetensors file `data`, and writes what comes out of each
/// to the safetensors file `path`, as OUTPUT.0, OUTPUT.1, ... NAME is what feeds the input in training, or the input's own name if
/// that is a stream of tokens. An array has any number of samples that the segment's own number divides; labels are not needed.
/// Returns the number of arrays. Errors: WrongUse if the plan has no such segment, or one whose outputs are not by sample;
/// BadInput, all problems of shapes and types at once, or for ids beyond the limit.
Result<uint64_t> predictArrays(Executor &executor, const std::string &data, const std::string &path);

} // namespace llmc::runtime

#endif // LLMC_RUNTIME_EXECUTOR_PREDICT_H
