//===- Constants.h - values known at compile time during import -*- C++ -*-===//
//
// While a graph is imported, a known value stands in the IR as a placeholder op without operands and its elements live
// here, so that handlers treat all values alike and no large attribute is made before it is known to be needed. Ops whose
// operands are all known are evaluated and disappear. At the end the placeholders that are still used become
// `arith.constant`s or arguments.
//
//===----------------------------------------------------------------------===//
#ifndef LLMC_FRONTENDS_ONNX_CONSTANTS_H
#define LLMC_FRONTENDS_ONNX_CONSTANTS_H

#include "dialects/interfaces/HostTensor.h"
#include "frontends/onnx/Model.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/Builders.h"
#include <set>

namespace llmc::onnx {

/// The MLIR element type of an ONNX one; null for those without support (unsigned, strings, 16-bit floats).
mlir::Type elementType(DType type, mlir::MLIRContext *context);

/// The elements of an initializer, which must not be missing.
HostTensor hostTensor(const Tensor &tensor);

class ConstantPool {
public:
  explicit ConstantPool(mlir::OpBuilder &builder) : builder(builder) {}

  /// A known value of `type`. If `data` has a smaller shape, it is repeated: dimension i of the data is dimension
  /// `dims[i]` of the value (rank-0 data: a splat).
  mlir::Value make(mlir::Location loc, mlir::RankedTensorType type, HostTensor data, llvm::ArrayRef<int64_t> dims = {});
  mlir::Value makeSplat(mlir::Location loc, mlir::RankedTensorType type, double value);
  mlir::Value makeInts(mlir::Location loc, llvm::ArrayRef<int64_t> values);
  /// An initializer that is no parameter. It is loaded when first needed; a buffer that is still used at the end becomes
  /// an argument of role `buffer`.
  mlir::Value fromInitializer(mlir::Location loc, const Tensor &tensor, mlir::RankedTensorType type, bool isBuffer);

  bool isKnown(mlir::Value value) const { return value && known.count(value); }
  /// All elements of a known value; null if it is not known, too large (2^28 elements), or if its data file is missing
  /// (noted in `missing`).
  const HostTensor *elements(mlir::Value value);
  /// The element of a known value whose elements are all equal by construction.
  std::optional<double> splatValue(mlir::Value value);

  /// nn.broadcast, collapse/expand and the like on known values, without copying splats.
  mlir::Value broadcast(mlir::Location loc, mlir::Value value, mlir::RankedTensorType type, llvm::ArrayRef<int64_t> dims);
  mlir::Value reshape(mlir::Location loc, mlir::Value value, llvm::ArrayRef<int64_t> shape);

  /// Evaluates `op` if all its operands are known and it can be; then returns known values and erases it.
  bool fold(mlir::Operation *op, llvm::SmallVectorImpl<mlir::Value> &results);

  /// Replaces the placeholders that are used: splats and up to 1 KiB by `arith.constant`, dimensions along which all
  /// elements are equal by `nn.broadcast`, larger ones by arguments of `function`, equal ones sharing one.
  void materialize(mlir::func::FuncOp function);

  std::set<const Tensor *> missing; // initializers whose elements were needed and have no file
  std::set<const Tensor *> used;    // initializers whose elements were read

private:
  struct Constant {
    mlir::RankedTensorType type;
    std::shared_ptr<const HostTensor> base; // repeated to `type` along `dims`; null until loaded
    llvm::SmallVector<int64_t, 4> dims;
    std::shared_ptr<const HostTensor> full;
    const Tensor *origin = nullptr;
    bool isBuffer = false;
  };

  mlir::Value placeholder(mlir::Location loc, Constant constant);
  bool load(Constant &constant);
  bool isWhole(const Constant &constant) const {
    return llvm::ArrayRef<int64_t>(constant.base->shape) == constant.type.getShape();
  }

  mlir::OpBuilder &builder;
  llvm::DenseMap<mlir::Value, Constant> known;
  std::vector<mlir::Value> order; // placeholders in order of creation
};

} // namespace llmc::onnx

#endif // LLMC_FRONTENDS_ONNX_CONSTANTS_H
