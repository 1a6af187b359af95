//===- Passes.td - from the mesh in the recipe to what each rank computes ------===//
#ifndef LLMC_PASSES_SHARDING
#define LLMC_PASSES_SHARDING

include "mlir/Pass/PassBase.td"

def ShardingGroupFusedWeights : Pass<"sharding-group-fused-weights", "::mlir::ModuleOp"> {
  let summary = "gives weights that are several in one a dimension for which one";
  let description = [{
    Where the recipe's mesh has tensor ranks: a parameter whose contraction is read by slices of equal parts alone, such as GPT-2's
    weight of queries, keys and values, gets its dimension as (parts, size of one), and its bias too. So each part can be cut
    over ranks, and none across a border between parts. It is a view of the same bytes: `train.shape` keeps the logical shape,
    `train.view` the reshape.

    Input:  %y = nn.contract %x, %w {equation = "tk,kn->tn"} (%w: tensor<4x12xf32>)   %q = tensor.extract_slice %y[0, 0] [8, 4] [1, 1]
    Output: %y = nn.contract %x, %w {equation = "tk,kan->tan"} (%w: tensor<4x3x4xf32>)   %q = tensor.extract_slice %y[0, 0, 0] [8, 1, 4] [1, 1, 1]
  }];
  let dependentDialects = ["::llmc::nn::NnDialect", "::mlir::tensor::TensorDialect", "::mlir::arith::ArithDialect"];
}

def ShardingPadVocabulary : Pass<"sharding-pad-vocabulary", "::mlir::ModuleOp"> {
  let summary = "adds entries to a vocabulary that tensor ranks do not divide";
  let description = [{
    Where the recipe's mesh has tensor ranks: the weight and bias of a linear head, and tables of as many rows, are padded with
    zeros along the classes, to a multiple of 64 per rank if that adds less than a hundredth, else of the ranks. `train.shape`
    keeps the logical shape and `train.view` lists the padding. A mask as bias keeps it out of the softmax.

    Input:  %s, %n, %lse = nn.linear_cross_entropy %x, %w, %labels                  (%w: tensor<13x8xf32>, tp = 2)
    Output: %s, %n, %lse = nn.linear_cross_entropy %x, %w, %labels, %mask           (%w: tensor<14x8xf32> {train.view = [{pad = [14, 8] } ] })
  }];
  let dependentDialects = ["::llmc::nn::NnDialect", "::mlir::tensor::TensorDialect", "::mlir::arith::ArithDialect"];
}

def ShardingAnnotate : Pass<"sharding-annotate", "::mlir::ModuleOp"> {
  let summary = "writes the recipe's mesh and the shardings that it decides onto the module";
  let description = [{
    `dist.mesh` from the recipe, without axes of size 1; nothing on one rank. Inputs are cut along their batch dimension by
    the data axis `dp`. ZeRO is a sharding of state over `dp`: moments from stage 1, gradients from stage 2, parameters from
    stage 3, each along its first dimension that divides; a tensor without one is left to `sharding-flatten-state`. Gradients
    whose sharding follows from how they are computed are left open.

    Input:  func.func @update(%w: tensor<8x4xf32> {train.role = "param"}, %m: tensor<8x4xf32> {train.role = "moment"}, ...), zero: 1
    Output: %w {dist.sharding = #dist.sharding<[{ }, { } ]>}, %m {dist.sharding = #dist.sharding<[{dp}, { } ]>}
  }];
  let dependentDialects = ["::llmc::dist::DistDialect"];
}

def ShardingSplitLoss : Pass<"sharding-split-loss", "::mlir::ModuleOp"> {
  let summary = "computes a loss by parts of a vocabulary that tensor ranks cut";
  let description = [{
    A linear head whose weight is cut along its classes gives the log-sum-exp of each part, and of these, with a maximum and a
    sum over the parts, the whole one. The derivative reads that and makes logits again.

    Input:  %s, %n, %lse = nn.linear_cross_entropy %x, %w, %labels                   (%w: #dist.sharding<[{tp}, { } ]>, tp = 2)
    Output: %s, %n, %l = nn.linear_cross_entropy %x, %w, %labels {parts = 2}   %m = nn.reduce %l {kind = max, dims = 0}   ...
  }];
  let dependentDialects = ["::llmc::nn::NnDialect", "::mlir::arith::ArithDialect", "::mlir::math::MathDialect"];
}

def ShardingFlattenState : Pass<"sharding-flatten-state", "::mlir::ModuleOp"> {
  let summary = "holds state that data ranks do not divide as rows of its elements";
  let description = [{
    Moments (ZeRO 1), gradients (2) and parameters (3) none of whose dimensions all ranks of `dp` divide become their elements
    one after the other, with zeros up to a multiple of the ranks; where tensor ranks cut a dimension, one such row for each
    part. `train.shape` keeps the logical shape, `train.view` the way from there. In @update gradient and parameter are
    flattened in front of the optimizer, the new parameter is unflattened; elsewhere readers get the tensor.

    Input:  %p, %m = nn.sgd %w, %g, %m0 ...                                  (tensor<5xf32>, dp = 4)
    Output: %w1 = nn.flatten_parts %w   %g1 = nn.flatten_parts %g            (tensor<5xf32> -> tensor<8xf32>)
            %p1, %m = nn.sgd %w1, %g1, %m0 ...   %p = nn.unflatten_parts %p1 (%m0: tensor<8xf32>, cut over dp)
  }];
  let dependentDialects = ["::llmc::dist::DistDialect", "::llmc::nn::NnDialect", "::mlir::arith::ArithDialect"];
}

def ShardingPropagate : Pass<"sharding-propagate", "::mlir::ModuleOp"> {
  let summary = "gives every value a sharding by the factor rules of its op, and inserts explicit reshards";
  let description = [{
    Runs over each function in program order. A factor takes the axes that its largest operand has for it; results follow from
    the factors, with a partial sum or maximum where a cut factor is reduced. Partial sums stay as they are through additions
    of alike ones and changes of shape, and are made whole, or cut, where another op reads them. An operand in another sharding
    than its op needs goes through a `dist.reshard`, shared by all readers that need the same.

    Input:  %g = nn.contract %dy, %x {equation = "bn,bk->nk"}                        (%dy and %x cut over dp along b)
    Output: %g = nn.contract %dy, %x {dist.shardings = [#dist.sharding<[{ }, { } ] sum {dp}>], ...}
  }];
  let dependentDialects = ["::llmc::dist::DistDialect"];
}

def ShardingPartition : Pass<"sharding-partition", "::mlir::ModuleOp"> {
  let summary = "makes shapes local and reshards collectives";
  let description = [{
    Every type becomes that of a rank's part. A reshard becomes a reduce-scatter, an all-reduce, all-gathers or a part, in this
    order, whichever it needs. Where an op's meaning depends on where its part lies, that is corrected: a mean becomes a sum
    over the local part times one over the global count, dropout counts samples and entries from the rank's first, and ops that
    find rows of a table by number look into the rank's own rows.
    Arguments and results keep `dist.sharding`: how a rank's state and inputs are parts of the whole.

    Input:  %1 = dist.reshard %0 {from = #dist.sharding<[{ } ] sum {dp}>, to = #dist.sharding<[{dp} ]>} : tensor<8xf32>
    Output: %1 = dist.reduce_scatter %0 {axes = ["dp"], dim = 0 : i64, kind = "sum"} : (tensor<8xf32>) -> tensor<4xf32>
  }];
  let dependentDialects = ["::llmc::dist::DistDialect", "::llmc::nn::NnDialect", "::mlir::arith::ArithDialect", "::mlir::tensor::TensorDialect"];
}

def ShardingScheduleCollectives : Pass<"sharding-schedule-collectives", "::mlir::ModuleOp"> {
  let summary = "starts collectives as early as their overlap with compute wants";
  let description = [{
    Reductions stand right behind what they reduce. A gather of a parameter stands in front of the first reader of the
    gather before it: one ahead of where it is needed, so that two are whole at a time.

    Input:  %1 = dist.all_gather %a   %2 = use %1   %3 = dist.all_gather %b   %4 = use %3   %5 = dist.reduce_scatter %2
    Output: %1 = dist.all_gather %a   %3 = dist.all_gather %b   %2 = use %1   %5 = dist.reduce_scatter %2   %4 = use %3
  }];
  let dependentDialects = ["::llmc::dist::DistDialect"];
}

def ShardingMergeCollectives : Pass<"sharding-merge-collectives", "::mlir::ModuleOp"> {
  let summary = "sends several tensors in one message";
  let description = [{
    Equal sums and parts of a value become one, gathers stay. Collectives of one kind, along the same axes and of one element type, that do not
    depend on each other, become one of several operands, up to the bytes of the recipe's `communication.bucket`, at the place
    of the last.

    Input:  %1 = dist.all_reduce %a {axes = ["dp"], kind = "sum"}   %2 = dist.all_reduce %b {axes = ["dp"], kind = "sum"}
    Output: %1:2 = dist.all_reduce %a, %b {axes = ["dp"], kind = "sum"}
  }];
  let dependentDialects = ["::llmc::dist::DistDialect"];
}

#endif // LLMC_PASSES_SHARDING
