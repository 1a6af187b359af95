//===- Model.h - an ONNX model in memory, checked and flat ------*- C++ -*-===//
//
// What the reader makes of a file: one list of nodes in order, functions inlined, every name defined once. Independent of
// protobuf and MLIR.
//
//===----------------------------------------------------------------------===//
#ifndef LLMC_FRONTENDS_ONNX_MODEL_H
#define LLMC_FRONTENDS_ONNX_MODEL_H

#include "llvm/ADT/ArrayRef.h"
#include "llvm/ADT/SmallVector.h"
#include "llvm/ADT/StringMap.h"
#include "llvm/ADT/StringRef.h"
#include "llvm/ADT/StringSet.h"
#include "llvm/Support/MemoryBuffer.h"
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace llmc::onnx {

/// Element types by their number in the format.
enum class DType : int32_t {
  Undefined = 0, Float = 1, Uint8 = 2, Int8 = 3, Uint16 = 4, Int16 = 5, Int32 = 6, Int64 = 7, String = 8, Bool = 9,
  Float16 = 10, Double = 11, Uint32 = 12, Uint64 = 13, Complex64 = 14, Complex128 = 15, BFloat16 = 16
};

/// The name PyTorch users know ("float32", "int64", ...), or "type 23" for types without one here.
std::string nameOf(DType type);
/// Bytes of one element, 0 for strings and unknown types.
int64_t bytesOf(DType type);

/// Where the bytes of a tensor lie: a file beside the model (or the model itself) and a range in it.
struct Source {
  std::string path; // relative to the model's folder
  int64_t offset = 0, bytes = 0;
};

/// A constant array. `data` holds its elements row-major, little-endian, unless `missing`.
struct Tensor {
  std::string name;
  DType type = DType::Undefined;
  llvm::SmallVector<int64_t, 4> dims;
  int64_t elements = 0; // product of dims
  llvm::ArrayRef<char> data;
  std::shared_ptr<std::string> owned; // keeps `data` alive where it is no range of a mapped file
  std::optional<Source> source;       // absent if the elements are in no contiguous range of a file
  bool missing = false;               // its external data file does not exist
  std::string missingFile;

  int64_t bytes() const { return elements * bytesOf(type); }
};

struct Subgraph;

struct NodeAttribute {
  enum Kind { Float, Int, String, Tensor_, Floats, Ints, Strings, Graph, Other } kind = Other;
  std::string name;
  std::string reference; // inside a function: the function's attribute that this one takes its value from
  float f = 0;
  int64_t i = 0;
  std::string s;
  std::vector<float> floats;
  std::vector<int64_t> ints;
  std::vector<std::string> strings;
  std::shared_ptr<Tensor> tensor;
  std::shared_ptr<Subgraph> graph; // a branch; its own values have names that nothing else in the model has
};

/// How a tensor is cut over devices, as the format says it (IR version 11); what the file says is checked by
/// devices/Shardings.h.
struct ShardingSpec {
  struct Part {
    std::optional<int64_t> size; // absent: not given, or symbolic
    int64_t shards = 0;
  };
  struct Dim {
    std::optional<int64_t> axis;
    std::vector<Part> parts; // several: the dimension is as many fused into one, the first major
  };
  std::string tensor;
  std::vector<int64_t> devices;                                  // a device, or the key of a group, for each shard
  std::vector<std::pair<int64_t, std::vector<int64_t>>> groups;  // devices that hold the same shard
  std::vector<Dim> dims; // shards are numbered row-major over these, in the order of the list
};

/// What a node says for one configuration of devices.
struct NodeDevices {
  std::string configuration;
  std::vector<ShardingSpec> specs;
  bool hasStage = false;
  std::string call; // the call of a function that said it, if the node is of the function's body
};

struct DeviceConfiguration {
  std::string name;
  int64_t devices = 0;
  int64_t deviceNames = 0; // how many are given
};

struct Node {
  std::string name; // unique; made from the operator and the first output where the file has none
  std::string op, domain;
  int64_t version = 0; // of the operator set of `domain` that this node was written for
  std::vector<std::string> inputs, outputs; // "" for an optional one left out
  std::vector<NodeAttribute> attributes;
  std::vector<NodeDevices> devices;
  std::vector<std::string> captures; // what its graphs read of the values around them
  // From the exporter's metadata:
  std::string file;   // last Python line of the user's model
  int64_t line = 0;
  std::vector<std::string> scopes; // module paths from the root, the last entry is the call itself
  std::string fxNode;

  const NodeAttribute *attribute(llvm::StringRef name) const;
  /// The node as the user knows it: "name (file.py:12)".
  std::string where() const;
  /// "Gemm", or "domain.Op" outside the standard.
  std::string opName() const { return domain.empty() ? op : domain + "." + op; }
};

/// A graph inside a node, such as a branch of If.
struct Subgraph {
  std::vector<Node> nodes;
  std::vector<Tensor> initializers;
  std::vector<std::string> inputs, outputs; // a branch of If has no inputs
};

/// A dimension of an input or output: a size, or the name of a symbol, INPUT.INDEX if the file gives none.
struct Dim {
  int64_t size = -1; // -1: symbolic
  std::string symbol;
};

struct ValueInfo {
  std::string name;
  DType type = DType::Undefined;
  bool isTensor = true;
  bool hasShape = false;
  std::vector<Dim> dims;
};

enum class Kind { None, Parameter, Buffer };

struct SignatureEntry {
  std::string placeholder; // the name in the exported program
  Kind kind = Kind::None;
  std::string target; // PyTorch's name
};

struct Model {
  std::string path;   // as given
  std::string folder; // that paths of sources are relative to
  std::string file;   // the model's own name in that folder
  int64_t opset = 0;  // of the standard domain
  int64_t fileBytes = 0;
  std::vector<ValueInfo> inputs, outputs;
  std::vector<Node> nodes; // definitions before uses
  std::vector<Tensor> initializers;
  std::vector<Tensor> constants; // of branches, and attributes of older operator sets that are inputs now; never trained
  llvm::StringMap<size_t> initializerIndex;
  llvm::StringMap<Kind> kinds; // from the exporter's metadata on values
  llvm::StringSet<> frozen;    // parameters that the exporter marked as not trained by the module
  bool hasKinds = false;       // the exporter wrote which initializers are parameters
  std::vector<SignatureEntry> signature;
  bool isPyTorchs = false; // PyTorch's exporter wrote the file
  std::map<std::string, std::string> bufferUpdates; // output -> the buffer whose new value it is, as the exporter wrote
  bool knowsNumbers = false; // export.py compared several batch sizes: numbers that follow the batch are computed from llmc.BatchSize
  std::string fixedBatch;    // why the graph is right at the exported batch size only, as export.py says; empty: it does not say so
  llvm::StringMap<std::string> tied; // other names of a parameter -> the name it has here, as the exporter says
  std::vector<DeviceConfiguration> configurations;
  std::vector<std::unique_ptr<llvm::MemoryBuffer>> files; // mapped; the tensors point into them

  const Tensor *initializer(llvm::StringRef name) const {
    auto it = initializerIndex.find(name);
    return it == initializerIndex.end() ? nullptr : &initializers[it->second];
  }
};

} // namespace llmc::onnx

#endif // LLMC_FRONTENDS_ONNX_MODEL_H
