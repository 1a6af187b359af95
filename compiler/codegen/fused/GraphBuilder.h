//===- GraphBuilder.h - from tensor ops to expressions over atoms -------------*- C++ -*-===//
#ifndef LLMC_COMPILER_CODEGEN_FUSED_GRAPHBUILDER_H
#define LLMC_COMPILER_CODEGEN_FUSED_GRAPHBUILDER_H

#include "compiler/codegen/fused/Graph.h"
#include "dialects/nn/Nn.h"
#include "llvm/ADT/DenseMap.h"
#include <memory>

namespace llmc::codegen {

using Dims = llvm::SmallVector<AtomList, 4>;

/// A computed tensor: an expression, and the atoms of each of its dimensions.
struct Expr {
  NodeId node;
  Dims dims;
};

/// A strided view of a kernel argument, of which each use gets loops of its own.
struct View {
  int input;
  int64_t offset;
  llvm::SmallVector<int64_t, 4> shape, strides;
};

/// What an SSA value of the kernel function is.
struct TensorValue {
  enum Form { Computed, Viewed, Splat, Assembled } form = Computed;
  Expr expr;                           // Computed; Splat: the constant's node
  View view;                           // Viewed
  llvm::SmallVector<int64_t, 4> shape; // all forms
  /// Assembled: boxes of this tensor and what fills them; later ones overwrite earlier ones of a lower level.
  struct Piece {
    std::shared_ptr<TensorValue> value;
    llvm::SmallVector<int64_t, 4> offsets, strides;
    int level;
  };
  std::vector<Piece> pieces;
};

/// Builds a graph op by op. Errors are kept and returned by finish; after the first one all results are meaningless.
class GraphBuilder {
public:
  explicit GraphBuilder(mlir::func::FuncOp function) : function(function) {}
  llvm::Expected<Graph> build();

  // Pieces of expressions, for composites.
  Expr use(mlir::Value value);
  Expr elementwise(llvm::StringRef op, llvm::ArrayRef<Expr> operands, ElementKind type, int64_t predicate = -1);
  /// An expression over no loop at all, to be combined with anything.
  Expr constant(ElementKind type, double value);
  Expr reduce(Reduction kind, const Expr &value, llvm::ArrayRef<int64_t> dims);
  /// `value` lacks the last dimension of `like`; repeats it along that.
  Expr alongLast(const Expr &value, const Expr &like);
  /// `value` has only the last dimension of `like`.
  Expr alongRows(const Expr &value, const Expr &like);
  /// The index along the given dimensions, row-major over them, or with a stride for each.
  Expr position(const Expr &like, llvm::ArrayRef<int64_t> dims, std::optional<llvm::ArrayRef<int64_t>> strides = std::nullopt);
  /// Entries offset, offset + stride, ... of the last dimension of `value`; null if `value` is computed.
  std::optional<Expr> sliceLast(mlir::Value value, int64_t offset, int64_t size, int64_t stride);
  struct LastPiece {
    Expr expr;
    int64_t offset, size, stride;
  };
  /// `value` is put together from pieces along its last dimension.
  void setPieces(mlir::Value value, llvm::ArrayRef<LastPiece> pieces);
  ElementKind typeOf(const Expr &value) const { return graph.nodes[value.node].type; }
  ElementKind typeOf(mlir::Value value) const;
  void set(mlir::Value value, Expr expr);
  void fail(mlir::Operation *op, const llvm::Twine &why);
  void unifyDims(const Dims &a, const Dims &b, mlir::Operation *op);
  mlir::Operation *current = nullptr;

private:
  void buildOp(mlir::Operation *op);
  void buildElementwise(mlir::Operation *op);
  void buildConstant(mlir::arith::ConstantOp op);
  void buildBroadcast(nn::BroadcastOp op);
  void buildReduce(nn::ReduceOp op);
  void buildGather(nn::GatherOp op);
  void buildGatherAlong(nn::GatherAlongOp op);
  void buildTranspose(nn::TransposeOp op);
  void buildReshape(mlir::Operation *op, mlir::Value source, mlir::RankedTensorType type);
  void buildSlice(mlir::tensor::ExtractSliceOp op);
  void buildInsert(mlir::tensor::InsertSliceOp op);
  void buildConcat(mlir::tensor::ConcatOp op);
  void buildReturn(mlir::func::ReturnOp op);
  void store(const TensorValue &value, int output, int64_t offset, llvm::ArrayRef<int64_t> strides, int level);
  Expr use(const TensorValue &value);
  Expr load(const View &view, ElementKind type);
  NodeId add(Node node);
  Dims freshDims(llvm::ArrayRef<int64_t> shape);
  void shareLoops();
  bool hasRepeatedLoop() const;
  void finalize();

  mlir::func::FuncOp function;
  Graph graph;
  llvm::DenseMap<mlir::Value, TensorValue> values;
  llvm::SmallVector<Dims> allDims; // to check that no value has one loop twice
  std::vector<std::pair<View, Dims>> loads;
  std::string error;
};

/// The comparison of an arith.cmpf or arith.cmpi, else -1.
int64_t predicateOf(mlir::Operation *op);
/// Sets the value of a Constant node of known type to the first element of `dense`.
void setConstant(Node &node, mlir::DenseElementsAttr dense);

/// Expands a composite nn op (softmax, norms, activations, losses, rope, dropout); false if `op` is none.
bool buildComposite(GraphBuilder &builder, mlir::Operation *op);

} // namespace llmc::codegen

#endif // LLMC_COMPILER_CODEGEN_FUSED_GRAPHBUILDER_H
