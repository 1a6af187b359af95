//===- NodeReader.cpp - nodes, attributes and the exporter's metadata ------===//
#include "frontends/onnx/ReaderParts.h"
#include "frontends/onnx/proto/onnx-ml.pb.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/Path.h"

using llvm::StringRef;
using namespace llmc;
using namespace llmc::onnx;

const NodeAttribute *Node::attribute(StringRef name) const {
  for (const NodeAttribute &attribute : attributes)
    if (attribute.name == name)
      return &attribute;
  return nullptr;
}

std::string Node::where() const {
  if (file.empty())
    return name;
  return name + " (" + file + ":" + std::to_string(line) + ")";
}

/// The strings of a Python list literal such as "['', 'blocks.0', 'linear']".
static std::vector<std::string> parseList(StringRef text) {
  std::vector<std::string> items;
  while (true) {
    size_t open = text.find_first_of("'\"");
    if (open == StringRef::npos)
      return items;
    size_t close = text.find(text[open], open + 1);
    if (close == StringRef::npos)
      return items;
    items.push_back(text.slice(open + 1, close).str());
    text = text.drop_front(close + 1);
  }
}

/// True for a line inside PyTorch itself: the user's own line stands above it.
static bool isLibrary(StringRef path, StringRef name) {
  if (path.contains("/torch/") || name.starts_with("<")) // "<eval_with_key>" is code that PyTorch made
    return true;
  static const StringRef modules[] = {"linear.py",  "normalization.py", "sparse.py",       "conv.py",     "container.py",
                                      "dropout.py", "batchnorm.py",     "instancenorm.py", "pooling.py",  "functional.py",
                                      "module.py",  "loss.py",          "_tensor.py",      "activation.py"};
  return llvm::is_contained(modules, name);
}

/// Finds the last user line of a stack trace: `File "x.py", line 3, in f` or `x.py:3 in f`, innermost last.
static void parseStackTrace(StringRef trace, Node &node) {
  llvm::SmallVector<StringRef> lines;
  trace.split(lines, '\n');
  for (StringRef line : llvm::reverse(lines)) {
    StringRef path, number;
    line = line.trim();
    if (line.consume_front("File \"")) {
      std::tie(path, line) = line.split("\", line ");
      number = line.take_while(llvm::isDigit);
    } else {
      StringRef head = line.split(" in ").first;
      std::tie(path, number) = head.rsplit(':');
    }
    int64_t parsed = 0;
    StringRef file = llvm::sys::path::filename(path);
    if (file.empty() || number.getAsInteger(10, parsed) || parsed < 1 || parsed > INT32_MAX)
      continue;
    bool library = isLibrary(path, file);
    if (!library || node.file.empty()) {
      node.file = file.str();
      node.line = parsed;
    }
    if (!library)
      return;
  }
}

static Subgraph readGraph(const ::onnx::GraphProto &proto, TensorReader &tensors) {
  Subgraph graph;
  for (const auto &tensor : proto.initializer())
    graph.initializers.push_back(tensors.read(tensor, tensor.name()));
  for (const auto &node : proto.node())
    graph.nodes.push_back(readNode(node, tensors));
  for (const auto &input : proto.input())
    graph.inputs.push_back(input.name());
  for (const auto &output : proto.output())
    graph.outputs.push_back(output.name());
  return graph;
}

NodeAttribute llmc::onnx::readAttribute(const ::onnx::AttributeProto &proto, TensorReader &tensors, StringRef where) {
  NodeAttribute attribute;
  attribute.name = proto.name();
  attribute.reference = proto.ref_attr_name();
  switch (proto.type()) {
  case ::onnx::AttributeProto::FLOAT:
    attribute.kind = NodeAttribute::Float;
    attribute.f = proto.f();
    break;
  case ::onnx::AttributeProto::INT:
    attribute.kind = NodeAttribute::Int;
    attribute.i = proto.i();
    break;
  case ::onnx::AttributeProto::STRING:
    attribute.kind = NodeAttribute::String;
    attribute.s = proto.s();
    break;
  case ::onnx::AttributeProto::TENSOR:
    attribute.kind = NodeAttribute::Tensor_;
    if (attribute.reference.empty())
      attribute.tensor = std::make_shared<Tensor>(tensors.read(proto.t(), where));
    break;
  case ::onnx::AttributeProto::FLOATS:
    attribute.kind = NodeAttribute::Floats;
    attribute.floats.assign(proto.floats().begin(), proto.floats().end());
    break;
  case ::onnx::AttributeProto::INTS:
    attribute.kind = NodeAttribute::Ints;
    attribute.ints.assign(proto.ints().begin(), proto.ints().end());
    break;
  case ::onnx::AttributeProto::STRINGS:
    attribute.kind = NodeAttribute::Strings;
    attribute.strings.assign(proto.strings().begin(), proto.strings().end());
    break;
  case ::onnx::AttributeProto::GRAPH:
    attribute.kind = NodeAttribute::Graph;
    attribute.graph = std::make_shared<Subgraph>(readGraph(proto.g(), tensors));
    break;
  case ::onnx::AttributeProto::GRAPHS:
    attribute.kind = NodeAttribute::Graph;
    break;
  default:
    break;
  }
  return attribute;
}

Node llmc::onnx::readNode(const ::onnx::NodeProto &proto, TensorReader &tensors) {
  Node node;
  node.op = proto.op_type();
  node.domain = proto.domain() == "ai.onnx" ? "" : proto.domain();
  node.inputs.assign(proto.input().begin(), proto.input().end());
  node.outputs.assign(proto.output().begin(), proto.output().end());
  while (!node.inputs.empty() && node.inputs.back().empty())
    node.inputs.pop_back();
  node.name = proto.name();
  if (node.name.empty())
    node.name = node.op + (node.outputs.empty() ? "" : "_" + node.outputs.front());
  for (const auto &attribute : proto.attribute())
    node.attributes.push_back(readAttribute(attribute, tensors, node.name));
  node.devices = readDevices(proto);
  if (!proto.overload().empty())
    node.op += "::" + proto.overload();
  for (const auto &entry : proto.metadata_props()) {
    if (entry.key() == "pkg.torch.onnx.stack_trace")
      parseStackTrace(entry.value(), node);
    else if (entry.key() == "pkg.torch.onnx.name_scopes")
      node.scopes = parseList(entry.value());
    else if (entry.key() == "pkg.torch.onnx.fx_node")
      node.fxNode = entry.value();
  }
  return node;
}

static Kind kindOf(StringRef word) {
  return word == "PARAMETER" ? Kind::Parameter : word == "BUFFER" ? Kind::Buffer : Kind::None;
}

void llmc::onnx::readSignature(const ::onnx::GraphProto &graph, Model &model) {
  auto readKind = [&](const std::string &name, const auto &properties) {
    for (const auto &entry : properties) {
      if (entry.key() == "llmc.trainable" && entry.value() == "false")
        model.frozen.insert(name);
      if (entry.key() == "pkg.torch.export.graph_signature.InputSpec.kind")
        if (Kind kind = kindOf(entry.value()); kind != Kind::None) {
          model.kinds[name] = kind;
          model.hasKinds = true;
        }
    }
  };
  for (const auto &value : graph.value_info())
    readKind(value.name(), value.metadata_props());
  for (const auto &value : graph.input())
    readKind(value.name(), value.metadata_props());
  for (const auto &tensor : graph.initializer())
    readKind(tensor.name(), tensor.metadata_props());
  for (const auto &entry : graph.metadata_props()) {
    if (entry.key() == "llmc.tied") { // lines `lm_head.weight embed.weight`: the name in this file, then the others
      llvm::SmallVector<StringRef> groups, names;
      StringRef(entry.value()).split(groups, '\n');
      for (StringRef group : groups) {
        names.clear();
        group.split(names, ' ');
        for (StringRef name : llvm::ArrayRef(names).drop_front())
          model.tied[name] = names.front().str();
      }
    }
    if (entry.key() != "pkg.torch.export.ExportedProgram.graph_signature")
      continue;
    // Lines `p_fc_weight: PARAMETER target='fc.weight'`.
    llvm::SmallVector<StringRef> lines;
    StringRef(entry.value()).split(lines, '\n');
    for (StringRef line : lines) {
      auto [placeholder, rest] = line.split(": ");
      auto [kind, target] = rest.split(" target='");
      if (kindOf(kind) != Kind::None && !target.empty())
        model.signature.push_back({placeholder.trim().str(), kindOf(kind), target.split('\'').first.str()});
    }
  }
  for (const SignatureEntry &entry : model.signature)
    if (model.initializerIndex.count(entry.target) && !model.kinds.count(entry.target)) {
      model.kinds[entry.target] = entry.kind;
      model.hasKinds = true;
    }
}
