//===- Export.cpp - llmc export: trained values of a checkpoint -----------------------===//
//
//   1. read the model, and the checkpoint by its manifest's digests;
//   2. match the checkpoint's tensors with the model's parameters and buffers by name and shape, putting together what
//      several ranks wrote and converting to the model's element type; everything that does not fit is reported at once;
//   3. write the model with these values, or a safetensors file.
//
//===----------------------------------------------------------------------===//
#include "frontends/onnx/Reader.h"
#include "frontends/onnx/Roles.h"
#include "runtime/io/Checkpoint.h"
#include "runtime/plan/PlanFile.h"
#include "tools/llmc/OnnxFile.h"
#include "tools/llmc/Tool.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/FileSystem.h"

using namespace mlir;

namespace llmc::tool {

namespace {

constexpr size_t kShownProblems = 20;

struct TrainedTensor {
  std::string name;
  std::vector<std::string> aliases;
  runtime::fb::DataType type;
  runtime::Shape shape;
  runtime::Bytes bytes;
};

class Exporter {
public:
  explicit Exporter(const ExportOptions &options) : options(options) {}
  int run();

private:
  int openCheckpoint();
  int matchTensors();
  std::string matchTensor(const onnx::Tensor &initializer, const runtime::StoredTensor &stored);
  int writeModel();
  int writeTensors();

  const ExportOptions &options;
  std::unique_ptr<onnx::Model> model;
  onnx::Roles roles;
  std::optional<runtime::CheckpointReader> checkpoint;
  std::vector<TrainedTensor> tensors;
  std::vector<std::unique_ptr<std::vector<uint8_t>>> storage; // of bytes that are not mapped
};

std::string describeShape(ArrayRef<int64_t> shape) {
  return (Twine("[") + llvm::join(llvm::map_range(shape, [](int64_t size) { return std::to_string(size); }), ", ") +
          "]")
      .str();
}

/// The runtime's name of an element type; nothing for types that no checkpoint holds.
std::optional<runtime::fb::DataType> runtimeType(onnx::DType type) {
  using runtime::fb::DataType;
  switch (type) {
  case onnx::DType::Float:
    return DataType::F32;
  case onnx::DType::Double:
    return DataType::F64;
  case onnx::DType::Float16:
    return DataType::F16;
  case onnx::DType::BFloat16:
    return DataType::BF16;
  case onnx::DType::Int64:
    return DataType::I64;
  case onnx::DType::Int32:
    return DataType::I32;
  default:
    return std::nullopt;
  }
}

} // namespace

/// `checkpoint` names one checkpoint, or the folder that holds them: then the newest complete one.
int Exporter::openCheckpoint() {
  if (!llvm::sys::fs::is_directory(options.checkpoint))
    return fail(kBadInput, "'" + options.checkpoint + "' is no folder",
                "name the folder that llmc-run --checkpoint wrote");
  if (llvm::sys::fs::exists(options.checkpoint + "/manifest.json")) {
    auto opened = runtime::openCheckpoint(options.checkpoint);
    if (!opened.ok())
      return failWith(opened.status());
    checkpoint = std::move(*opened);
    return kDone;
  }
  std::vector<std::string> notes;
  auto newest = runtime::openNewestCheckpoint(options.checkpoint, notes);
  if (!newest.ok())
    return failWith(newest.status());
  for (const std::string &note : notes)
    llvm::errs() << "note: passed over a damaged checkpoint: " << note << "\n";
  if (!*newest)
    return fail(kBadInput, "there is no complete checkpoint in '" + options.checkpoint + "'",
                "name the folder that llmc-run --checkpoint wrote, or one step-... in it");
  checkpoint = std::move(*newest);
  return kDone;
}

/// Returns the problem, empty if there is none.
std::string Exporter::matchTensor(const onnx::Tensor &initializer, const runtime::StoredTensor &stored) {
  if (!llvm::equal(stored.shape, initializer.dims))
    return "has shape " + describeShape(stored.shape) + " in the checkpoint, " + describeShape(initializer.dims) +
           " in the model";
  std::optional<runtime::fb::DataType> type = runtimeType(initializer.type);
  std::string otherType =
      "has type " + stored.typeName + " in the checkpoint, " + onnx::nameOf(initializer.type) + " in the model";
  if (!type || !stored.supported)
    return otherType;
  auto assembled = std::make_unique<std::vector<uint8_t>>();
  auto bytes = checkpoint->readLogical(initializer.name, stored, *assembled);
  if (!bytes.ok())
    return "cannot be read: " + bytes.status().message;
  if (stored.type != *type) {
    auto converted = std::make_unique<std::vector<uint8_t>>(initializer.bytes());
    if (!runtime::convertElements(stored.type, bytes->data(), *type, converted->data(), initializer.elements))
      return otherType;
    assembled = std::move(converted);
    bytes = runtime::Bytes(*assembled);
  }
  tensors.push_back({initializer.name, {}, *type, stored.shape, *bytes});
  storage.push_back(std::move(assembled));
  auto aliases = roles.aliases.find(initializer.name);
  if (aliases != roles.aliases.end())
    tensors.back().aliases = aliases->second;
  return "";
}

/// Buffers that the compiler evaluated are in no checkpoint and keep the model's values; parameters must all be there.
int Exporter::matchTensors() {
  std::vector<std::string> problems;
  auto report = [&](const std::string &name, const std::string &problem) {
    if (!problem.empty())
      problems.push_back("parameter '" + name + "' " + problem);
  };
  roles = onnx::findRoles(*model);
  for (const onnx::Tensor &initializer : model->initializers) {
    auto stored = checkpoint->model().find(initializer.name);
    if (stored != checkpoint->model().end())
      report(initializer.name, matchTensor(initializer, stored->second));
    else if (roles.of(initializer.name) == onnx::Kind::Parameter)
      report(initializer.name, "is not in the checkpoint");
  }
  for (const auto &[name, stored] : checkpoint->model())
    if (!model->initializer(name))
      report(name, "is not in the model");
  if (problems.empty())
    return kDone;
  std::string message = "checkpoint '" + checkpoint->folder() + "' does not fit the model:";
  for (const std::string &problem : llvm::ArrayRef(problems).take_front(kShownProblems))
    message += "\n  " + problem;
  if (problems.size() > kShownProblems)
    message += "\n  and " + std::to_string(problems.size() - kShownProblems) + " more";
  return fail(kBadInput, message, "was it written by a run of another model?");
}

int Exporter::writeModel() {
  onnx::NewValues values;
  for (const TrainedTensor &tensor : tensors)
    values[tensor.name] = {reinterpret_cast<const char *>(tensor.bytes.data()), tensor.bytes.size()};
  return writeOnnx(*model, values, {}, options.output);
}

int Exporter::writeTensors() {
  std::vector<runtime::TensorToWrite> list;
  for (const TrainedTensor &tensor : tensors) {
    auto add = [&](const std::string &name) {
      list.push_back({name, tensor.type, tensor.shape, [&tensor](std::vector<uint8_t> &) { return tensor.bytes; }});
    };
    add(tensor.name);
    llvm::for_each(tensor.aliases, add);
  }
  auto status = runtime::writeSafetensors(options.output, list);
  return status.ok() ? kDone : failWith(status);
}

int Exporter::run() {
  StringRef output = options.output;
  bool asModel = output.ends_with(".onnx");
  if (!asModel && !output.ends_with(".safetensors"))
    return fail(kWrongUse, "-o '" + output + "' names neither a .onnx nor a .safetensors file");
  runtime::FileRoles roles;
  roles.reads(options.model, "the model itself");
  roles.readsFolder(options.checkpoint, "CHECKPOINT");
  roles.writes(options.output, "-o");
  if (auto status = roles.check(); !status.ok())
    return failWith(status);
  onnx::ReadResult read = onnx::readModel(options.model);
  if (!read.model)
    return report(read.problems);
  model = std::move(read.model);
  roles = runtime::FileRoles();
  declareOnnx(*model, output, roles);
  roles.readsFolder(options.checkpoint, "CHECKPOINT");
  if (auto status = roles.check(); !status.ok())
    return failWith(status);
  if (int code = openCheckpoint())
    return code;
  if (int code = matchTensors())
    return code;
  if (int code = asModel ? writeModel() : writeTensors())
    return code;
  llvm::outs() << output << ": " << tensors.size() << " tensors after step " << checkpoint->manifest().step << "\n";
  return kDone;
}

int exportCheckpoint(const ExportOptions &options) { return Exporter(options).run(); }

} // namespace llmc::tool
