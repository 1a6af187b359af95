//===- OnnxFile.cpp - copies of a model in files ---------------------------------------===//
#include "tools/llmc/OnnxFile.h"
#include "runtime/io/Checkpoint.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/Path.h"

namespace llmc::tool {

int checkOnnxOutput(llvm::StringRef model, llvm::StringRef output) {
  if (llvm::sys::fs::equivalent(output, model))
    return fail(kWrongUse, "'" + output + "' is the model itself", "give another name with -o");
  return kDone;
}

static bool isDataFileOf(const onnx::Model &model, llvm::StringRef path) {
  return llvm::any_of(model.initializers, [&](const onnx::Tensor &initializer) {
    llvm::SmallString<256> source(model.folder);
    if (initializer.source)
      llvm::sys::path::append(source, initializer.source->path);
    return initializer.source && llvm::sys::fs::equivalent(source, path);
  });
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
  if (isDataFileOf(model, output))
    return fail(kWrongUse, "'" + output + "' is a data file of the model itself", "give another name with -o");
  if (isDataFileOf(model, dataPath))
    return fail(kWrongUse, "'" + dataPath + "' is a data file of the model itself", "give another name with -o");
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
