//===- Reader.cpp - an .onnx file -> Model -------------------------===//
//
//   1. map the file, parse it with protobuf (bounded depth and size);
//   2. find each initializer's bytes in the file, map external data;
//   3. convert to Model, inline functions, sort, check that every name is defined once.
//
//===----------------------------------------------------------------------===//
#include "frontends/onnx/Reader.h"
#include "frontends/onnx/ReaderParts.h"
#include "frontends/onnx/proto/onnx-ml.pb.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/Path.h"
#include <google/protobuf/io/coded_stream.h>
#include <google/protobuf/stubs/logging.h>
#include <set>

using llvm::StringRef;
using namespace llmc;
using namespace llmc::onnx;

static constexpr int64_t kMinOpset = 7, kMaxOpset = 27;

static ValueInfo readValue(const ::onnx::ValueInfoProto &proto) {
  ValueInfo value;
  value.name = proto.name();
  value.isTensor = proto.type().has_tensor_type();
  const auto &type = proto.type().tensor_type();
  value.type = static_cast<DType>(type.elem_type());
  value.hasShape = type.has_shape();
  for (const auto &dim : type.shape().dim()) {
    Dim read;
    if (dim.has_dim_value() && dim.dim_value() != -1) // which some writers mean by an open size
      read.size = dim.dim_value();
    else if (!dim.dim_param().empty() && dim.dim_param() != "?")
      read.symbol = dim.dim_param();
    else // so that a recipe can bind it
      read.symbol = proto.name() + "." + std::to_string(value.dims.size());
    value.dims.push_back(read);
  }
  return value;
}

/// Opset imports by domain; reports a standard operator set outside the supported range.
template <typename Imports>
static std::map<std::string, int64_t> readOpsets(const Imports &imports, const std::string &where, Problems &problems) {
  std::map<std::string, int64_t> opsets;
  for (const auto &import : imports)
    opsets[import.domain() == "ai.onnx" ? "" : import.domain()] = import.version();
  auto it = opsets.find("");
  if (it == opsets.end())
    return opsets;
  if (it->second < kMinOpset || it->second > kMaxOpset)
    problems.push_back({"operator set " + std::to_string(it->second) + " is not supported (" + std::to_string(kMinOpset) + " to " +
                            std::to_string(kMaxOpset) + " are)",
                        where,
                        "export with torch.onnx.export(..., dynamo=True, opset_version=18), or convert with "
                        "onnx.version_converter",
                        Problem::kUnsupported});
  return opsets;
}

/// Nodes of a graph inside a node are of the same sets as the node.
static void setVersion(Node &node, std::map<std::string, int64_t> &opsets) {
  node.version = opsets[node.domain];
  for (NodeAttribute &attribute : node.attributes)
    if (attribute.graph)
      for (Node &inner : attribute.graph->nodes)
        setVersion(inner, opsets);
}

static FunctionTable readFunctions(const ::onnx::ModelProto &proto, TensorReader &tensors, Problems &problems) {
  FunctionTable table;
  for (const auto &proto : proto.functions()) {
    if (proto.domain() == "llmc") // a marker: its body, the identity, is for other readers of the file
      continue;
    Function function;
    function.inputs.assign(proto.input().begin(), proto.input().end());
    function.outputs.assign(proto.output().begin(), proto.output().end());
    for (const auto &attribute : proto.attribute_proto())
      function.defaults.push_back(readAttribute(attribute, tensors, proto.name()));
    auto opsets = readOpsets(proto.opset_import(), proto.name(), problems);
    for (const auto &node : proto.node()) {
      function.nodes.push_back(readNode(node, tensors));
      setVersion(function.nodes.back(), opsets);
      nameGraphs(function.nodes.back());
    }
    std::string key = (proto.domain() == "ai.onnx" ? "" : proto.domain()) + "::" + proto.name();
    if (!proto.overload().empty())
      key += "::" + proto.overload();
    if (!table.emplace(key, std::move(function)).second)
      problems.push_back({"function `" + proto.name() + "` is defined twice", proto.domain(), ""});
  }
  return table;
}

static void readInitializers(const ::onnx::GraphProto &graph, llvm::ArrayRef<ElementRange> ranges, TensorReader &tensors,
                             Model &model, Problems &problems) {
  for (int i = 0; i < graph.initializer_size(); ++i) {
    const auto &proto = graph.initializer(i);
    const ElementRange *range = static_cast<size_t>(i) < ranges.size() ? &ranges[i] : nullptr;
    if (proto.name().empty()) {
      problems.push_back({"an initializer has no name", model.file, "the file is damaged; export it again"});
      continue;
    }
    if (!model.initializerIndex.try_emplace(proto.name(), model.initializers.size()).second) {
      problems.push_back({"two initializers are named `" + proto.name() + "`", model.file, "export the model again"});
      continue;
    }
    model.initializers.push_back(tensors.read(proto, proto.name(), range));
  }
  if (graph.sparse_initializer_size() > 0)
    problems.push_back({"sparse initializers are not supported", model.file, "export dense weights", Problem::kUnsupported});
}

static bool isReal(int32_t type) {
  return type == ::onnx::TensorProto::FLOAT || type == ::onnx::TensorProto::DOUBLE || type == ::onnx::TensorProto::FLOAT16 ||
         type == ::onnx::TensorProto::BFLOAT16;
}

/// The tensor of a Constant node that may be a weight; null if it is none.
static const ::onnx::TensorProto *weightOf(const ::onnx::NodeProto &node) {
  if (node.op_type() != "Constant" || !node.domain().empty() || node.output_size() != 1 || node.attribute_size() != 1)
    return nullptr;
  const ::onnx::AttributeProto &attribute = node.attribute(0);
  return attribute.has_t() && isReal(attribute.t().data_type()) && attribute.t().dims_size() > 0 ? &attribute.t() : nullptr;
}

/// Some writers keep all weights in Constant nodes: where no initializer is real, these are initializers by their outputs' names.
/// Returns the nodes that are.
static std::set<int> readConstants(const ::onnx::GraphProto &graph, llvm::ArrayRef<char> file, TensorReader &tensors, Model &model) {
  std::set<int> taken;
  for (const auto &tensor : graph.initializer())
    if (isReal(tensor.data_type()) && tensor.dims_size() > 0)
      return taken;
  std::map<int, ElementRange> ranges = findConstants(file);
  for (int i = 0; i < graph.node_size(); ++i) {
    const ::onnx::TensorProto *proto = weightOf(graph.node(i));
    if (!proto || graph.node(i).output(0).empty() ||
        !model.initializerIndex.try_emplace(graph.node(i).output(0), model.initializers.size()).second)
      continue;
    auto range = ranges.find(i);
    model.initializers.push_back(tensors.read(*proto, graph.node(i).output(0), range == ranges.end() ? nullptr : &range->second));
    model.initializers.back().name = graph.node(i).output(0);
    taken.insert(i);
  }
  return taken;
}

/// Inputs of the graph without those that only give an initializer's type; their types must agree.
static void readInputs(const ::onnx::GraphProto &graph, Model &model, Problems &problems) {
  for (const auto &proto : graph.input()) {
    ValueInfo value = readValue(proto);
    const Tensor *tensor = model.initializer(value.name);
    if (!tensor) {
      if (!value.isTensor)
        problems.push_back({"input `" + value.name + "` is no tensor", model.file, "", Problem::kUnsupported});
      else if (!value.hasShape)
        problems.push_back({"input `" + value.name + "` has no shape", model.file, "run onnx.shape_inference, or export again"});
      for (const Dim &dim : value.dims)
        if (dim.symbol.empty() && (dim.size < 0 || dim.size > (int64_t(1) << 40)))
          problems.push_back({"a dimension of input `" + value.name + "` is out of range", model.file, ""});
      model.inputs.push_back(std::move(value));
      continue;
    }
    bool same = value.type == tensor->type && (!value.hasShape || value.dims.size() == tensor->dims.size());
    for (size_t i = 0; same && value.hasShape && i < value.dims.size(); ++i)
      same = !value.dims[i].symbol.empty() || value.dims[i].size == tensor->dims[i];
    if (!same)
      problems.push_back({"input `" + value.name + "` and the initializer of that name differ in type or shape", model.file,
                          "export the model again"});
  }
}

static void convert(const ::onnx::ModelProto &proto, Model &model, Problems &problems) {
  const llvm::MemoryBuffer &buffer = *model.files.front();
  TensorReader tensors(model, problems);
  auto opsets = readOpsets(proto.opset_import(), model.file, problems);
  model.opset = opsets[""];
  if (!problems.empty())
    return;
  std::vector<ElementRange> ranges = findInitializers({buffer.getBufferStart(), buffer.getBufferSize()});
  readInitializers(proto.graph(), ranges, tensors, model, problems);
  std::set<int> constants = readConstants(proto.graph(), {buffer.getBufferStart(), buffer.getBufferSize()}, tensors, model);
  readInputs(proto.graph(), model, problems);
  for (const auto &value : proto.graph().output())
    model.outputs.push_back(readValue(value));
  for (int i = 0; i < proto.graph().node_size(); ++i) {
    if (constants.count(i))
      continue;
    model.nodes.push_back(readNode(proto.graph().node(i), tensors));
    setVersion(model.nodes.back(), opsets);
    nameGraphs(model.nodes.back());
  }
  for (const auto &configuration : proto.configuration())
    model.configurations.push_back({configuration.name(), configuration.num_devices(), configuration.device_size()});
  FunctionTable functions = readFunctions(proto, tensors, problems);
  inlineFunctions(model.nodes, functions, problems);
  readSignature(proto.graph(), model);
  model.isPyTorchs = model.hasKinds || proto.producer_name() == "pytorch";
  for (const auto &entry : proto.metadata_props()) {
    StringRef key = entry.key();
    if (key.consume_front("llmc.buffer_update."))
      model.bufferUpdates[key.str()] = entry.value();
    else if (key == "llmc.batch.numbers")
      model.knowsNumbers = entry.value() == "known";
    else if (key == "llmc.batch.fixed")
      model.fixedBatch = entry.value();
  }
  if (problems.empty())
    sortNodes(model, problems);
  for (Node &node : model.nodes)
    adaptVersion(node, model.constants);
  dropUnusedOutputs(model);
  if (model.outputs.empty())
    problems.push_back({"the graph has no outputs", model.file, ""});
}

bool llmc::onnx::parseModel(const llvm::MemoryBuffer &file, ::onnx::ModelProto &proto) {
  google::protobuf::io::CodedInputStream stream(reinterpret_cast<const uint8_t *>(file.getBufferStart()),
                                                static_cast<int>(file.getBufferSize()));
  stream.SetRecursionLimit(100);
  google::protobuf::LogSilencer silencer; // the caller reports what it would print
  return proto.ParseFromCodedStream(&stream) && stream.ConsumedEntireMessage();
}

ReadResult llmc::onnx::readModel(StringRef path) {
  ReadResult result;
  auto model = std::make_unique<Model>();
  model->path = path.str();
  model->folder = llvm::sys::path::parent_path(path).str();
  model->file = llvm::sys::path::filename(path).str();
  auto fail = [&](const std::string &message, const std::string &hint) {
    result.problems.push_back({message, path.str(), hint});
    return std::move(result);
  };
  if (llvm::sys::fs::is_directory(path))
    return fail("this is a folder, not an ONNX file", "name the .onnx file in it");
  auto buffer = llvm::MemoryBuffer::getFile(path, /*IsText=*/false, /*RequiresNullTerminator=*/false);
  if (!buffer)
    return fail("cannot read the model: " + buffer.getError().message(), "");
  int64_t size = static_cast<int64_t>((*buffer)->getBufferSize());
  model->fileBytes = size;
  if (size > INT32_MAX)
    return fail("the file is larger than 2 GiB, the limit of the format",
                "save the weights as external data (torch.onnx.export(..., external_data=True))");
  if (size == 0)
    return fail("the file is empty", "export the model again");
  model->files.push_back(std::move(*buffer));

  ::onnx::ModelProto proto;
  if (!parseModel(*model->files.front(), proto))
    return fail("this is no ONNX file, or it is damaged", "was the download or copy complete?");
  if (!proto.has_graph() || proto.graph().node_size() == 0)
    return fail("the file holds no graph", "is this an ONNX model?");
  convert(proto, *model, result.problems);
  if (result.problems.empty())
    result.model = std::move(model);
  return result;
}
