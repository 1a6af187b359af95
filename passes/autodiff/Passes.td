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

def AutodiffDropStopGradients : Pass<"autodiff-drop-stop-gradients", "::mlir::ModuleOp"> {
  let summary = "replaces nn.stop_gradient by its input, now that all gradients exist";
  let description = [{
    Input:
      %y = nn.stop_gradient %x : (tensor<4xf32>) -> tensor<4xf32>
      %z = math.exp %y : tensor<4xf32>
    Output:
      %z = math.exp %x : tensor<4xf32>
  }];
}

def AutodiffMergeSlices : Pass<"autodiff-merge-slices", "::mlir::ModuleOp"> {
  let summary = "turns sums of slices inserted into zeros into one concatenation";
  let description = [{
    The derivative of a slice inserts into zeros, so the gradient of a tensor that is cut up (fused query, key and value) is a
    sum of such insertions. Those of disjoint slices of one dimension become a concatenation.

    Input:
      %a = tensor.insert_slice %dq into %zeros[0, 0] [8, 4] [1, 1]
      %b = tensor.insert_slice %dk into %zeros[0, 4] [8, 4] [1, 1]
      %d = arith.addf %a, %b : tensor<8x8xf32>
    Output:
      %d = tensor.concat dim(1) %dq, %dk
  }];
  let dependentDialects = ["::mlir::arith::ArithDialect", "::mlir::tensor::TensorDialect"];
}

#endif // LLMC_PASSES_AUTODIFF
