//===- Passes.td - from an imported graph to a model ------------------------===//
#ifndef LLMC_PASSES_IMPORT
#define LLMC_PASSES_IMPORT

include "mlir/Pass/PassBase.td"

def ImportUnfoldBatch : Pass<"import-unfold-batch", "::mlir::ModuleOp"> {
  let summary = "resizes a batch of one to two, so that its dimension can be told from others of size 1";
  let description = [{
    Runs on what was just imported: reshapes and slices still say which dimensions the file's operators name (train.axes). Where the
    batch may be any of several dimensions of size 1, or is dropped as one, micro-batches of more than one sample are refused,
    naming each op, and others are computed as exported. `import-resize-batch` undoes this, or goes on to another size.

    Input:   func.func @forward(%x: tensor<1x5x6xf32> {train.role = "input"}) { tensor.collapse_shape %x [[0, 1], [2]] ... }
    Output:  func.func @forward(%x: tensor<2x5x6xf32> {train.role = "input"}) attributes {train.exported_batch = 1} { ... }
  }];
  let dependentDialects = ["::llmc::nn::NnDialect", "::mlir::tensor::TensorDialect"];
}

def ImportCheckBatch : Pass<"import-check-batch", "::mlir::ModuleOp"> {
  let summary = "refuses graphs that cannot be computed with another number of samples, if the recipe asks for one";
  let description = [{
    Where the recipe's micro-batch is not the exported batch, every op that keeps it from changing is an error: one that uses
    samples together, splits the batch or takes some of its samples, and a number that multiplies or divides a sum over samples,
    which may be the batch size that the exporter saw. The same holds for such a number where a step
    has several micro-batches of the exported size. export.py, which runs the module with several batch sizes, says that there is no
    such number (train.known_numbers), or that only the exported size is right, and why (train.fixed_batch).

    Input:   (batch 4, micro-batch 2)
      %s = nn.reduce %x {kind = sum, dims = [0]}   %m = arith.divf %s, dense<24.0>
    Output:  error: divides a sum over the samples of the batch by a number (24), which may follow the batch size ...
  }];
}

def ImportResizeBatch : Pass<"import-resize-batch", "::mlir::ModuleOp"> {
  let summary = "resizes the batch to the recipe's micro-batch, to one sample in @predict";
  let description = [{
    Exports bake the batch size into shapes and constants. The dimension is traced by structure, through the ops' factor
    rules, never by value: dimension 0 of every input is the batch; a constant that meets it must be equal for all samples.
    `nn.batch_size` becomes the number that it stands for.

    Input:  (batch 8, resized to 2)
      %c = arith.constant dense<[8 equal rows]> : tensor<8x4xf32>   %y = arith.addf %x, %c : tensor<8x4xf32>
    Output:
      %c = arith.constant dense<[2 equal rows]> : tensor<2x4xf32>   %y = arith.addf %x, %c : tensor<2x4xf32>
  }];
  let dependentDialects = ["::llmc::nn::NnDialect", "::mlir::tensor::TensorDialect"];
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

def ImportSinkTransposes : Pass<"import-sink-transposes", "::mlir::ModuleOp"> {
  let summary = "moves transposes down until they cancel or end in the equation of a contraction";
  let description = [{
    Transposes pass elementwise ops, reshapes, slices, concatenations, repetitions and row-wise ops; contractions absorb those
    of their operands and of their result. Reshapes and broadcasts on the way are simplified.

    Input:
      %t = nn.transpose %x {permutation = array<i64: 0, 2, 1>} : (tensor<2x3x4xf32>) -> tensor<2x4x3xf32>
      %n = arith.negf %t
      %y = nn.contract %n, %w {equation = "abc,cd->abd"}
    Output:
      %n = arith.negf %x
      %y = nn.contract %n, %w {equation = "acb,cd->abd"}
  }];
  let dependentDialects = ["::mlir::arith::ArithDialect", "::mlir::tensor::TensorDialect"];
}

def ImportRecomposeNorms : Pass<"import-recompose-norms", "::mlir::ModuleOp"> {
  let summary = "recomposes nn.rms_norm and nn.layer_norm";
  let description = [{
    Input:
      %m = nn.reduce (x * x) {kind = mean, dims = [last]}
      %r = 1 / sqrt(%m + 1e-6)
      %y = %w * (%x * %r)
    Output:
      %y, %rstd = nn.rms_norm %x, %w {epsilon = 1e-6}
  }];
  let dependentDialects = ["::llmc::nn::NnDialect"];
}

def ImportRecomposeActivations : Pass<"import-recompose-activations", "::mlir::ModuleOp"> {
  let summary = "recomposes nn.gelu, nn.sigmoid, nn.silu and nn.swiglu";
  let description = [{
    Input:
      %y = 0.5 * %x * (1 + erf(%x / sqrt(2)))        %z = (%g * sigmoid(%g)) * %u
    Output:
      %y = nn.gelu %x {tanh = false}                 %z = nn.swiglu %g, %u
  }];
  let dependentDialects = ["::llmc::nn::NnDialect"];
}

def ImportRecomposeRope : Pass<"import-recompose-rope", "::mlir::ModuleOp"> {
  let summary = "recomposes nn.rope, with tables [T, R] or [B, T, R]";
  let description = [{
    Half-split and interleaved pairs, all of the last dimension or its first part. Constant tables are made at compile time.

    Input:
      %y = %x * cos + concat(-%x[.., R/2:], %x[.., :R/2]) * sin
    Output:
      %y = nn.rope %x, %cos, %sin
  }];
  let dependentDialects = ["::llmc::nn::NnDialect", "::mlir::arith::ArithDialect", "::mlir::tensor::TensorDialect"];
}

def ImportRecomposeAttention : Pass<"import-recompose-attention", "::mlir::ModuleOp"> {
  let summary = "recomposes nn.attention from contraction, softmax, contraction";
  let description = [{
    Weights that something else uses (dropout, an output) and masks that a parameter flows into stay decomposed.

    Input:
      %s = nn.contract %q, %k {equation = "bhtd,bhsd->bhts"}
      %w = nn.softmax (%s * 0.125 + %mask)
      %y = nn.contract %w, %v {equation = "bhts,bhse->bhte"}
    Output:
      %a, %lse = nn.attention (transposed %q, %k, %v), %mask {scale = 0.125, causal = false}
      %y = nn.transpose %a {permutation = array<i64: 0, 2, 1, 3>}
  }];
  let dependentDialects = ["::llmc::nn::NnDialect", "::mlir::arith::ArithDialect", "::mlir::tensor::TensorDialect"];
}

def ImportSimplifyAttention : Pass<"import-simplify-attention", "::mlir::ModuleOp"> {
  let summary = "puts scales, constant masks and repeated key heads of nn.attention into its attributes";
  let description = [{
    Input:  (%mask constant, true for s <= t; %k8 and %v8 repeat 2 heads to 8)
      nn.attention (%q * 0.25), %k8, %v8, %mask {scale = 1.0, causal = false}
    Output:
      nn.attention %q, %k2, %v2 {scale = 0.25, causal = true}
  }];
  let dependentDialects = ["::llmc::nn::NnDialect", "::mlir::tensor::TensorDialect"];
}

def ImportRecomposeLoss : Pass<"import-recompose-loss", "::mlir::ModuleOp"> {
  let summary = "recomposes nn.cross_entropy, and nn.linear_cross_entropy from logits that only the loss uses";
  let description = [{
    Input:
      %logits = nn.contract %x, %w {equation = "btc,vc->btv"}
      %sum, %n, %lse = nn.cross_entropy %logits, %labels
    Output:
      %sum, %n, %lse = nn.linear_cross_entropy %x, %w, %labels
  }];
  let dependentDialects = ["::llmc::nn::NnDialect", "::mlir::arith::ArithDialect", "::mlir::tensor::TensorDialect"];
}

def ImportDropConstants : Pass<"import-drop-constants", "::mlir::ModuleOp"> {
  let summary = "erases arguments of role constant that nothing uses";
  let description = [{
    Recomposition leaves masks and tables behind.

    Input:   func.func @forward(%x, %mask {train.role = "constant"}) { return %x }
    Output:  func.func @forward(%x) { return %x }
  }];
}

#endif // LLMC_PASSES_IMPORT
