//===- Writer.h - a model with new values of initializers -------*- C++ -*-===//
#ifndef LLMC_FRONTENDS_ONNX_WRITER_H
#define LLMC_FRONTENDS_ONNX_WRITER_H

#include "frontends/Problem.h"
#include "frontends/onnx/Model.h"

namespace llmc::onnx {

/// New elements of initializers, by name: row-major, little-endian, in the initializer's type and shape.
using NewValues = std::map<std::string, llvm::ArrayRef<char>>;

/// What a configuration of devices says of tensors, by name, for every node that reads or makes one of them.
struct ShardingsToWrite {
  std::string configuration;
  int64_t devices = 0;
  std::map<std::string, ShardingSpec> specs;
};

struct WriteOptions {
  std::string dataFile;                      // name of the external data file, beside the model
  int64_t inlineLimit = int64_t(256) << 20;  // more bytes of values than this go to the data file
  /// Tensors in data files stay there; for a copy in the model's folder. Otherwise those whose file does not exist stay
  /// references, if `keepMissing`, or are problems.
  bool keepExternal = false, keepMissing = false;
  const ShardingsToWrite *shardings = nullptr; // takes the place of a configuration of the same name
};

/// A model ready to be written. `data` is empty if everything is inline; else the content of the data file, where each part
/// stands at its offset, a multiple of kAlignment, and what lies between is zero.
struct WrittenModel {
  struct Part {
    int64_t offset;
    llvm::ArrayRef<char> bytes;
  };
  static constexpr int64_t kAlignment = 4096;
  std::string file;
  std::vector<Part> data; // points into `values` and the files of the model
};

struct WriteResult {
  std::optional<WrittenModel> model; // absent if there are problems
  Problems problems;
};

/// The file that `model` was read from with `values` in place of the initializers of these names, and shardings if they are
/// given. All else stays as it is, but that no tensor refers to the original's data files any more: their elements move with
/// it. Problems: a name that is no initializer, a wrong number of bytes, a tensor without elements (its data file does not
/// exist and `values` lacks it), a file above the format's 2 GiB. `model` may get more mapped files.
WriteResult rewriteModel(Model &model, const NewValues &values, const WriteOptions &options);

} // namespace llmc::onnx

#endif // LLMC_FRONTENDS_ONNX_WRITER_H
