//===- ReaderParts.h - the steps of reading a model, one file each ---*- C++ -*-===//
#ifndef LLMC_FRONTENDS_ONNX_READERPARTS_H
#define LLMC_FRONTENDS_ONNX_READERPARTS_H

#include "frontends/Problem.h"
#include "frontends/onnx/Model.h"
#include "llvm/ADT/StringSet.h"
#include <map>

namespace onnx {
class TensorProto;
class NodeProto;
class ShardingSpecProto;
class AttributeProto;
class ModelProto;
class GraphProto;
} // namespace onnx

namespace llmc::onnx {

/// Parses a whole file with bounded depth; false if it is no ONNX model.
bool parseModel(const llvm::MemoryBuffer &file, ::onnx::ModelProto &proto);

/// Byte ranges of one initializer's elements in the file; size -1 where a field is absent or not contiguous.
struct ElementRange {
  int64_t rawOffset = 0, rawSize = -1;
  int64_t floatOffset = 0, floatSize = -1;
};

/// Walks the wire format for the position of each initializer's elements, in order. Stops early on malformed bytes, which
/// the protobuf parser has then refused already.
std::vector<ElementRange> findInitializers(llvm::ArrayRef<char> file);

/// The same of each node's attribute tensor, by the position of the node in the file; absent for nodes without one.
std::map<int, ElementRange> findConstants(llvm::ArrayRef<char> file);

/// Turns TensorProtos into Tensors: element counts checked, external data mapped.
class TensorReader {
public:
  TensorReader(Model &model, Problems &problems) : model(model), problems(problems) {}

  /// Reads `proto`; `range` gives its position in the model's own file, if it is an initializer.
  Tensor read(const ::onnx::TensorProto &proto, llvm::StringRef what, const ElementRange *range = nullptr);

private:
  struct DataFile {
    llvm::ArrayRef<char> bytes;
    bool exists = false, usable = false;
  };

  bool readDims(const ::onnx::TensorProto &proto, llvm::StringRef what, Tensor &tensor);
  void readExternal(const ::onnx::TensorProto &proto, llvm::StringRef what, Tensor &tensor);
  void readTyped(const ::onnx::TensorProto &proto, llvm::StringRef what, Tensor &tensor, const ElementRange *range);
  const DataFile &openData(const std::string &location, llvm::StringRef what);
  void report(const std::string &message, llvm::StringRef where, const std::string &hint = "");

  Model &model;
  Problems &problems;
  std::map<std::string, DataFile> opened;
};

/// Converts nodes and attributes; fills Python lines and scopes from the metadata.
Node readNode(const ::onnx::NodeProto &proto, TensorReader &tensors);
NodeAttribute readAttribute(const ::onnx::AttributeProto &proto, TensorReader &tensors, llvm::StringRef where);

/// Makes all values that `node`'s graphs define unique in the model, and notes what they capture.
void nameGraphs(Node &node);

/// Rewrites a node of an older operator set into the form that the importer knows: one table of what changed. Attributes
/// that became inputs are added to `constants`.
void adaptVersion(Node &node, std::vector<Tensor> &constants);

/// Takes away the names of outputs that nothing reads, so that what is optional and unused is not asked for.
void dropUnusedOutputs(Model &model);

/// A sharding from and to the file's form.
ShardingSpec readSpec(const ::onnx::ShardingSpecProto &proto);
void writeSpec(const ShardingSpec &spec, ::onnx::ShardingSpecProto &proto);
std::vector<NodeDevices> readDevices(const ::onnx::NodeProto &proto);

/// A model-local function, ready to be copied into a graph.
struct Function {
  std::vector<std::string> inputs, outputs, attributeNames;
  std::vector<NodeAttribute> defaults;
  std::vector<Node> nodes;
};
using FunctionTable = std::map<std::string, Function>; // by domain + "::" + name (+ "::" + overload)

/// Replaces every call of a function by its body, with fresh names inside, to any depth. Recursion and growth beyond a
/// million nodes are problems.
void inlineFunctions(std::vector<Node> &nodes, const FunctionTable &functions, Problems &problems);

/// Orders nodes so that definitions come before uses, keeping the file's order where it can. Reports cycles, values that
/// nothing defines, and values defined twice.
void sortNodes(Model &model, Problems &problems);

/// Kinds and signature from the exporter's metadata.
void readSignature(const ::onnx::GraphProto &graph, Model &model);

} // namespace llmc::onnx

#endif // LLMC_FRONTENDS_ONNX_READERPARTS_H
