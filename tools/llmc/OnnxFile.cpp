//===- OnnxFile.cpp - copies of a model in files ---------------------------------------===//
#include "tools/llmc/OnnxFile.h"
#include "runtime/io/Checkpoint.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/Path.h"
#include <set>

namespace llmc::tool {

void declareOnnx(const onnx::Model &model, llvm::StringRef output, runtime::FileRoles &roles) {
  roles.reads(model.path, "the model itself");
  std::set<std::string> files;
  for (const onnx::Tensor &initializer : model.initializers)
    if (initializer.source)
      files.insert(initializer.source->path);
  for (const std::string &file : files) {
    llvm::SmallString<256> path(model.folder);
    llvm::sys::path::append(path, file);
    roles.reads(path.str().str(), "a data file of the model itself");
  }
  roles.writes(output.str(), "-o");
  roles.writes(output.str() + ".data", "the data of -o");
}

static runtime::Status writeData(const onnx::WrittenModel &model, const std::string &path) {
  auto data = runtime::DurableFile::create(path);
  if (!data.ok())
    return data.status();
  for (const onnx::WrittenModel::Part &part : model.data) {
    if (auto status = (*data)->alignTo(onnx::WrittenModel::kAlignment); !status.ok())
      return status;
    if (auto status = (*data)->write({reinterpret_cast<const uint8_t *>(part.bytes.data()), part.bytes.size()});
        !status.ok())
      return status;
  }
  return (*data)->commit();
}

int writeOnnx(onnx::Model &model, const onnx::NewValues &values, onnx::WriteOptions options, llvm::StringRef output) {
  std::string dataPath = output.str() + ".data";
  options.dataFile = llvm::sys::path::filename(dataPath).str();
  onnx::WriteResult written = onnx::rewriteModel(model, values, options);
  if (!written.model)
    return report(written.problems);
  if (!written.model->data.empty()) {
    llvm::sys::fs::remove(output);
    if (auto status = writeData(*written.model, dataPath); !status.ok())
      return failWith(status);
  }
  auto file = runtime::DurableFile::create(output.str());
  if (!file.ok())
    return failWith(file.status());
  if (auto status = (*file)->write(written.model->file); !status.ok())
    return failWith(status);
  auto status = (*file)->commit();
  return status.ok() ? kDone : failWith(status);
}

} // namespace llmc::tool
