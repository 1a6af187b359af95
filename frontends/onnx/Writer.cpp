//===- Writer.cpp - a model with new values of initializers --------===//
//
//   1. parse the original again: what the reader does not keep (names, metadata, unknown fields) survives that way;
//   2. find the new elements of each tensor: given ones, and those of the original's data files;
//   3. if they are few, put them inline; else give each large one a place in one data file.
//
//===----------------------------------------------------------------------===//
#include "frontends/onnx/Writer.h"
#include "frontends/onnx/ReaderParts.h"
#include "frontends/onnx/proto/onnx-ml.pb.h"
#include "llvm/Support/MathExtras.h"
#include <set>

using llvm::StringRef;
using namespace llmc;
using namespace llmc::onnx;

// Smaller values stay inline even if there is a data file, as PyTorch writes it.
static constexpr size_t kSmall = 256;

namespace {
class ModelWriter {
public:
  ModelWriter(Model &model, const NewValues &values, const WriteOptions &options)
      : values(values), options(options), reader(model, result.problems) {}

  WriteResult run(::onnx::ModelProto &proto);

private:
  struct Change {
    ::onnx::TensorProto *proto;
    llvm::ArrayRef<char> bytes;
  };

  void visitInitializers(::onnx::GraphProto &graph);
  void visitNodes(google::protobuf::RepeatedPtrField<::onnx::NodeProto> &nodes);
  void visitSubgraph(::onnx::GraphProto &graph);
  void moveExternal(::onnx::TensorProto &proto, StringRef what);
  void addShardings(::onnx::ModelProto &proto);
  void store(WrittenModel &written);

  const NewValues &values;
  const WriteOptions &options;
  WriteResult result;
  TensorReader reader;
  std::vector<Change> changes;
};
} // namespace

/// A tensor whose elements lie in one of the original's data files keeps them.
void ModelWriter::moveExternal(::onnx::TensorProto &proto, StringRef what) {
  if (proto.data_location() != ::onnx::TensorProto::EXTERNAL || options.keepExternal)
    return;
  Tensor tensor = reader.read(proto, what);
  if (tensor.missing && options.keepMissing)
    return;
  if (tensor.missing)
    result.problems.push_back({"tensor `" + what.str() + "` has no elements: its data file `" + tensor.missingFile + "` does not exist",
                               "", "put the file that the model was exported with beside it"});
  changes.push_back({&proto, tensor.data}); // a range of a mapped file
}

void ModelWriter::visitInitializers(::onnx::GraphProto &graph) {
  for (::onnx::TensorProto &proto : *graph.mutable_initializer()) {
    auto it = values.find(proto.name());
    if (it == values.end())
      moveExternal(proto, proto.name());
    else
      changes.push_back({&proto, it->second});
  }
}

void ModelWriter::visitNodes(google::protobuf::RepeatedPtrField<::onnx::NodeProto> &nodes) {
  for (::onnx::NodeProto &node : nodes)
    for (::onnx::AttributeProto &attribute : *node.mutable_attribute()) {
      auto constant = node.op_type() == "Constant" && node.output_size() == 1 ? values.find(node.output(0)) : values.end();
      if (attribute.has_t() && constant != values.end())
        changes.push_back({attribute.mutable_t(), constant->second});
      else if (attribute.has_t())
        moveExternal(*attribute.mutable_t(), node.name());
      for (::onnx::TensorProto &tensor : *attribute.mutable_tensors())
        moveExternal(tensor, node.name());
      if (attribute.has_g())
        visitSubgraph(*attribute.mutable_g());
      for (::onnx::GraphProto &graph : *attribute.mutable_graphs())
        visitSubgraph(graph);
    }
}

void ModelWriter::visitSubgraph(::onnx::GraphProto &graph) {
  for (::onnx::TensorProto &proto : *graph.mutable_initializer())
    moveExternal(proto, proto.name());
  visitNodes(*graph.mutable_node());
}

void ModelWriter::store(WrittenModel &written) {
  int64_t total = 0, end = 0;
  for (const Change &change : changes)
    total += static_cast<int64_t>(change.bytes.size());
  for (const Change &change : changes) {
    ::onnx::TensorProto &proto = *change.proto;
    proto.clear_float_data();
    proto.clear_int32_data();
    proto.clear_int64_data();
    proto.clear_double_data();
    proto.clear_uint64_data();
    proto.clear_raw_data();
    proto.clear_external_data();
    proto.clear_data_location();
    if (total <= options.inlineLimit || change.bytes.size() <= kSmall) {
      proto.set_raw_data(change.bytes.data(), change.bytes.size());
      continue;
    }
    auto add = [&](const char *key, const std::string &value) {
      auto *entry = proto.add_external_data();
      entry->set_key(key);
      entry->set_value(value);
    };
    end = static_cast<int64_t>(llvm::alignTo(static_cast<uint64_t>(end), WrittenModel::kAlignment));
    proto.set_data_location(::onnx::TensorProto::EXTERNAL);
    add("location", options.dataFile);
    add("offset", std::to_string(end));
    add("length", std::to_string(change.bytes.size()));
    written.data.push_back({end, change.bytes});
    end += static_cast<int64_t>(change.bytes.size());
  }
}

/// Only nodes of the graph itself: those of functions have no values of their own.
void ModelWriter::addShardings(::onnx::ModelProto &proto) {
  const ShardingsToWrite &shardings = *options.shardings;
  constexpr int64_t kFirstVersion = 11; // of the format, that has these fields
  proto.set_ir_version(std::max<int64_t>(proto.ir_version(), kFirstVersion));
  auto replace = [&](auto &list, auto nameOf) {
    for (int i = list.size(); i-- > 0;)
      if (nameOf(list.Get(i)) == shardings.configuration)
        list.DeleteSubrange(i, 1);
    return list.Add();
  };
  auto *configuration = replace(*proto.mutable_configuration(), [](auto &each) { return each.name(); });
  configuration->set_name(shardings.configuration);
  configuration->set_num_devices(static_cast<int32_t>(shardings.devices));
  for (::onnx::NodeProto &node : *proto.mutable_graph()->mutable_node()) {
    auto *devices = replace(*node.mutable_device_configurations(), [](auto &each) { return each.configuration_id(); });
    devices->set_configuration_id(shardings.configuration);
    std::set<std::string> tensors(node.input().begin(), node.input().end());
    tensors.insert(node.output().begin(), node.output().end());
    for (const std::string &tensor : tensors)
      if (auto it = shardings.specs.find(tensor); it != shardings.specs.end())
        writeSpec(it->second, *devices->add_sharding_spec());
    if (devices->sharding_spec_size() == 0)
      node.mutable_device_configurations()->RemoveLast();
  }
}

WriteResult ModelWriter::run(::onnx::ModelProto &proto) {
  visitInitializers(*proto.mutable_graph());
  visitNodes(*proto.mutable_graph()->mutable_node());
  for (::onnx::FunctionProto &function : *proto.mutable_functions())
    visitNodes(*function.mutable_node());
  if (!result.problems.empty())
    return std::move(result);
  if (options.shardings)
    addShardings(proto);
  WrittenModel written;
  store(written);
  if (proto.ByteSizeLong() > INT32_MAX) {
    result.problems.push_back({"the model would be larger than 2 GiB, the limit of the format, without its parameters",
                               "", "save its constants as external data"});
    return std::move(result);
  }
  written.file = proto.SerializeAsString();
  result.model = std::move(written);
  return std::move(result);
}

WriteResult llmc::onnx::rewriteModel(Model &model, const NewValues &values, const WriteOptions &options) {
  WriteResult failed;
  for (const auto &[name, bytes] : values) {
    const Tensor *tensor = model.initializer(name);
    if (!tensor)
      failed.problems.push_back({"the model has no initializer `" + name + "`", model.file, ""});
    else if (static_cast<int64_t>(bytes.size()) != tensor->bytes())
      failed.problems.push_back({"initializer `" + name + "` has " + std::to_string(tensor->bytes()) + " bytes, not " +
                                     std::to_string(bytes.size()),
                                 model.file, ""});
  }
  ::onnx::ModelProto proto;
  if (!parseModel(*model.files.front(), proto))
    failed.problems.push_back({"this is no ONNX file, or it is damaged", model.file, "did it change meanwhile?"});
  if (!failed.problems.empty())
    return failed;
  return ModelWriter(model, values, options).run(proto);
}
