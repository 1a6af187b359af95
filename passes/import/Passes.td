//===- Passes.td - from an imported graph to a model ------------------------===//
#ifndef LLMC_PASSES_IMPORT
#define LLMC_PASSES_IMPORT

include "mlir/Pass/PassBase.td"

def ImportResizeBatch : Pass<"import-resize-batch", "::mlir::ModuleOp"> {
  let summary = "traces the batch dimension from the inputs and resizes it";
  let description = [{
    Exports bake the batch size into shapes and constants. The dimension is traced by structure, through the ops' factor
    rules, never by value: dimension 0 of every input is the batch; a constant that meets it must be equal for all samples.
    Every traced dimension is then resized: to the recipe's batch.micro in @forward, to 1 in @predict. An op that uses the
    batch as a whole, or splits it, is an error that names the op.

    Input:  (batch 8, resized to 2)
      %c = arith.constant dense<[8 equal rows]> : tensor<8x4xf32>   %y = arith.addf %x, %c : tensor<8x4xf32>
    Output:
      %c = arith.constant dense<[2 equal rows]> : tensor<2x4xf32>   %y = arith.addf %x, %c : tensor<2x4xf32>
  }];
}

def ImportKeepBatch : Pass<"import-keep-batch", "::mlir::ModuleOp"> {
  let summary = "moves reshapes that merge the batch with other dimensions behind the ops that use them";
  let description = [{
    An op whose operand merges the batch with other dimensions is applied to the unmerged operand, and its result merged, so
    that contractions and losses keep their leading dimensions and each can be sharded.

    Input:
      %m = tensor.collapse_shape %x [[0, 1], [2]] : tensor<8x64x16xf32> into tensor<512x16xf32>
      %y = nn.contract %m, %w {equation = "ab,bc->ac"}
    Output:
      %y = nn.contract %x, %w {equation = "adb,bc->adc"}
      %m = tensor.collapse_shape %y [[0, 1], [2]]
  }];
  let dependentDialects = ["::mlir::tensor::TensorDialect"];
}

def ImportBoundInputs : Pass<"import-bound-inputs", "::mlir::ModuleOp"> {
  let summary = "notes for each integer input which values it may hold";
  let description = [{
    An id that looks up a table must lie below its number of rows, a label below the number of classes or be the ignored one.
    The runtime checks all data against this before it computes with it.

    Input:  func.func @forward(%ids {train.role = "input"}) { nn.gather %table, %ids : (tensor<256x64xf32>, ...) }
    Output: func.func @forward(%ids {train.limit = 256, train.role = "input"})
  }];
}

#endif // LLMC_PASSES_IMPORT
