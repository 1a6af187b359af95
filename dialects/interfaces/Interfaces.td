//===- Interfaces.td - what a pass may ask of any op --------------------===//
//
// Four interfaces say all there is to know about an op: its derivative, its factor rule, its cost, its meaning on host
// arrays. nn ops implement them beside their definition; arith, math and tensor ops get external models in this folder.
//
//===----------------------------------------------------------------------===//
#ifndef LLMC_DIALECTS_INTERFACES
#define LLMC_DIALECTS_INTERFACES

include "mlir/IR/OpBase.td"

def Differentiable : OpInterface<"Differentiable"> {
  let cppNamespace = "::llmc";
  let description = [{
    An op whose vector-Jacobian product can be emitted as IR. `cotangents` has one value per result, null where no gradient
    arrives; `wanted` says for which operands a gradient is asked. The method appends one value per operand to `gradients`,
    of the operand's type, null where the gradient is zero or was not wanted. It may use operands and results of the op.
    It fails only where the op has no derivative for this form; the reason is emitted as an error at the op.
  }];
  let methods = [InterfaceMethod<"Emits the vector-Jacobian product.", "::llvm::LogicalResult", "emitVjp",
    (ins "::mlir::OpBuilder &":$builder, "::mlir::ValueRange":$cotangents, "::llvm::ArrayRef<bool>":$wanted,
         "::llvm::SmallVectorImpl<::mlir::Value> &":$gradients)>];
}

def Shardable : OpInterface<"Shardable"> {
  let cppNamespace = "::llmc";
  let description = [{
    An op with an einsum-like factor rule: which dimensions of operands and results move together, and which factors are
    summed over, maximized over, or needed whole (Shardy's `sdy.op_sharding_rule` is the model).
  }];
  let methods = [InterfaceMethod<"The factor rule of this op with its present shapes.", "::llmc::FactorRule",
    "getFactorRule", (ins)>];
}

def Cost : OpInterface<"Cost"> {
  let cppNamespace = "::llmc";
  let description = [{ Work of an op: floating-point operations (a fused multiply-add is two) and bytes touched once. }];
  let methods = [
    InterfaceMethod<"Floating-point operations.", "int64_t", "getFlops", (ins), [{}],
      [{ return ::llmc::countResultElements($_op.getOperation()); }]>,
    InterfaceMethod<"Bytes of all operands and results.", "int64_t", "getBytes", (ins), [{}],
      [{ return ::llmc::countBytes($_op.getOperation()); }]>];
}

def Evaluable : OpInterface<"Evaluable"> {
  let cppNamespace = "::llmc";
  let description = [{
    The meaning of an op as plain loops over host arrays; the judge of every other implementation. Floating-point values are
    doubles; rounding to the result's element type is the caller's (so the same loops serve f32 and f64). `results` arrives
    sized and zeroed after the op's result types.
  }];
  let methods = [InterfaceMethod<"Computes the results.", "::llvm::LogicalResult", "evaluate",
    (ins "::llvm::ArrayRef<const ::llmc::HostTensor *>":$operands,
         "::llvm::MutableArrayRef<::llmc::HostTensor>":$results)>];
}

#endif // LLMC_DIALECTS_INTERFACES
