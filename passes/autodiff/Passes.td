//===- Passes.td - reverse-mode differentiation ---------------------------===//
#ifndef LLMC_PASSES_AUTODIFF
#define LLMC_PASSES_AUTODIFF

include "mlir/Pass/PassBase.td"

def AutodiffExpand : Pass<"autodiff-expand", "::mlir::ModuleOp"> {
  let summary = "replaces train.value_and_grad by the callee's body and its derivative";
  let description = [{
    Reverse-mode differentiation over the Differentiable interface: the callee's ops are copied, then for each op on a path
    from a `wrt` argument to the first result, last op first, its vector-Jacobian product is emitted. Gradients of values
    with several uses are added in the order in which they arise. Ops on such a path that are not Differentiable are
    reported all at once.

    Input:
      %loss, %dx = train.value_and_grad @f(%x) {wrt = array<i64: 0>} : (tensor<4xf32>) -> (tensor<f32>, tensor<4xf32>)
      func.func private @f(%x) { %y = math.exp %x  %s = nn.reduce %y {kind = 0, dims = [0]}  return %s }
    Output:
      %y = math.exp %x
      %s = nn.reduce %y {kind = 0, dims = [0]}
      %dy = nn.broadcast %one {dims = []}
      %dx = arith.mulf %dy, %y
  }];
  let dependentDialects = ["::mlir::arith::ArithDialect", "::mlir::tensor::TensorDialect", "::mlir::math::MathDialect",
                           "::llmc::nn::NnDialect"];
}

#endif // LLMC_PASSES_AUTODIFF
