//===- NodeImporter.h - what a handler sees of the node it imports -*- C++ -*-===//
#ifndef LLMC_FRONTENDS_ONNX_NODEIMPORTER_H
#define LLMC_FRONTENDS_ONNX_NODEIMPORTER_H

#include "dialects/nn/Nn.h"
#include "frontends/onnx/Constants.h"
#include "frontends/onnx/Model.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include <functional>

namespace llmc::onnx {

/// An ONNX value: a tensor or a sequence of tensors.
struct Slot {
  mlir::Value value; // null: its node could not be imported
  std::vector<mlir::Value> sequence;
  bool isSequence = false;
};

/// State shared by the nodes of one import.
struct ImportState {
  mlir::OpBuilder &builder;
  ConstantPool &pool;
  llvm::StringMap<Slot> slots;
  uint64_t seed = 0;       // of dropout
  int64_t nextDropout = 0; // stable id of the next dropout
  /// Imports the nodes of a graph inside a node, as if they stood in its place; false if one of them could not be.
  std::function<bool(const Subgraph &)> importGraph;
  /// Which buffer a value holds, of the initializers that a step changes and what nodes make of them.
  llvm::StringMap<std::string> bufferOf;
  std::map<std::string, mlir::Value> newBuffers; // the values after the step, by buffer
  bool isPyTorchs = false;                       // as Model says
};

class NodeImporter {
public:
  NodeImporter(const Node &node, mlir::Location loc, ImportState &state) : node(node), loc(loc), state(state) {}

  // Inputs. An absent optional input is null.
  mlir::Value in(size_t i) const;
  bool has(size_t i) const { return i < node.inputs.size() && !node.inputs[i].empty(); }
  const Slot *slot(size_t i) const;
  llvm::ArrayRef<int64_t> shape(size_t i) const { return nn::typeOf(in(i)).getShape(); }
  int64_t rank(size_t i) const { return nn::typeOf(in(i)).getRank(); }
  /// The elements of an input that must be known at compile time; null after `fail`.
  const HostTensor *constant(size_t i);
  /// The same as integers; an absent input gives nothing and succeeds.
  mlir::FailureOr<llvm::SmallVector<int64_t>> ints(size_t i);
  bool isKnown(size_t i) const { return state.pool.isKnown(in(i)); }

  // Attributes.
  int64_t attr(llvm::StringRef name, int64_t fallback) const;
  double attrFloat(llvm::StringRef name, double fallback) const;
  std::string attrText(llvm::StringRef name, llvm::StringRef fallback) const;
  std::optional<llvm::SmallVector<int64_t>> attrInts(llvm::StringRef name) const;
  const Subgraph *attrGraph(llvm::StringRef name) const;
  bool hasAttr(llvm::StringRef name) const { return node.attribute(name) != nullptr; }

  /// `axis` counted from 0; fails if it is outside [-rank, rank).
  mlir::FailureOr<int64_t> axis(int64_t axis, int64_t rank);

  // Results.
  void out(size_t i, mlir::Value value);
  void outSequence(size_t i, std::vector<mlir::Value> values);
  bool wants(size_t i) const { return i < node.outputs.size() && !node.outputs[i].empty(); }
  mlir::LogicalResult done(mlir::Value value) { return out(0, value), mlir::success(); }

  /// Records why the node cannot be imported.
  mlir::LogicalResult fail(const llvm::Twine &reason);
  const std::string &reason() const { return failure; }
  bool failed() const { return !failure.empty(); }

  /// Creates an op and returns its results, folded if all operands are known. An op that its verifier refuses is a
  /// failure of the node; the results are then zeros, so that a handler can go on.
  template <typename Op, typename... Args> llvm::SmallVector<mlir::Value> emitAll(Args &&...args) {
    return finish(Op::create(state.builder, loc, std::forward<Args>(args)...));
  }
  template <typename Op, typename... Args> mlir::Value emit(Args &&...args) {
    return emitAll<Op>(std::forward<Args>(args)...).front();
  }

  // Building blocks, all of them no-ops where nothing changes.
  mlir::Value splat(mlir::RankedTensorType type, double value) { return state.pool.makeSplat(loc, type, value); }
  mlir::Value splatLike(mlir::Value value, double v) { return splat(nn::typeOf(value), v); }
  mlir::Value reshape(mlir::Value value, llvm::ArrayRef<int64_t> shape);
  mlir::Value transpose(mlir::Value value, llvm::ArrayRef<int64_t> permutation);
  mlir::Value broadcast(mlir::Value value, llvm::ArrayRef<int64_t> shape, llvm::ArrayRef<int64_t> dims);
  /// NumPy's rules: shapes aligned at the end.
  mlir::Value broadcastTo(mlir::Value value, llvm::ArrayRef<int64_t> shape);
  mlir::FailureOr<llvm::SmallVector<int64_t>> commonShape(llvm::ArrayRef<mlir::Value> values);
  /// `value[offset : offset + size : stride]` in dimension `d`. `byNumber`: the file says which elements these are, so a slice
  /// of the whole dimension is one too, and stays until it is known that the dimension is not the batch.
  mlir::Value slice(mlir::Value value, int64_t d, int64_t offset, int64_t size, int64_t stride = 1, bool byNumber = false);
  mlir::Value concat(llvm::ArrayRef<mlir::Value> values, int64_t d);
  mlir::Value cast(mlir::Value value, mlir::Type elementType);
  /// The square root of sums of squares, whose derivative at 0 is 0, as PyTorch's norms have it.
  mlir::Value normOf(mlir::Value squares);
  /// Notes at the reshape or slice that made `value` from `source` which dimensions the operator names (train::kAxes); by their
  /// sizes alone, dimensions of size 1 cannot be told apart. Nothing if `value` is `source` or a constant.
  mlir::Value noteAxes(mlir::Value value, mlir::Value source, llvm::ArrayRef<int64_t> axes);
  /// Swaps dimension `d` with the last one, and back.
  mlir::Value swapLast(mlir::Value value, int64_t d);

  const Node &node;
  mlir::Location loc;
  ImportState &state;

private:
  llvm::SmallVector<mlir::Value> finish(mlir::Operation *op);

  std::string failure;
};

} // namespace llmc::onnx

#endif // LLMC_FRONTENDS_ONNX_NODEIMPORTER_H
