//===- Passes.td - from a model to a training step -------------------------===//
#ifndef LLMC_PASSES_TRAINING
#define LLMC_PASSES_TRAINING

include "mlir/Pass/PassBase.td"

def TrainingSelectOutputs : Pass<"training-select-outputs", "::mlir::ModuleOp"> {
  let summary = "splits @forward into @forward (the loss only) and @predict (one other output)";
  let description = [{
    The loss is the result named by the recipe's `loss`, the prediction the one named by `predict`; other outputs of the
    graph are dropped, and with them what only they need. New values of buffers stay results of @forward; in @predict, batches are
    normalized by their running statistics.

    Input:  func.func @forward(%ids, %w) -> (tensor<f32> {train.name = "loss"}, tensor<8x64x256xf32> {train.name = "logits"})
    Output: func.func @forward(%ids, %w) -> (tensor<f32> {train.name = "loss"})
            func.func @predict(%ids, %w) -> (tensor<8x64x256xf32> {train.name = "logits"})
  }];
  let dependentDialects = ["::llmc::nn::NnDialect"];
}

def TrainingNormalizeLoss : Pass<"training-normalize-loss", "::mlir::ModuleOp"> {
  let summary = "makes @forward return a sum of losses and the weight to divide it by";
  let description = [{
    loss_average: tokens: the quotient of two sums over samples that the loss is, scaled, or an average or sum over samples
    with weights that make the step's loss of its micro-batches' sums. A loss with no such form has weight 1 if the step is one
    micro-batch, and is refused otherwise, naming the term. loss_average: micro_batch: the loss itself with weight 1.

    Input:  %sum, %n, %lse = nn.cross_entropy %logits, %labels   %loss = arith.divf %sum, %n   return %loss
    Output: %sum, %n, %lse = nn.cross_entropy %logits, %labels   return %sum, %n
  }];
  let dependentDialects = ["::mlir::arith::ArithDialect", "::mlir::tensor::TensorDialect"];
}

def TrainingBuildStep : Pass<"training-build-step", "::mlir::ModuleOp"> {
  let summary = "builds @accumulate, @update and @evaluate from @forward";
  let description = [{
    @accumulate runs one micro-batch and adds gradients, loss_sum and weight to accumulators (with one micro-batch a step, it
    returns them directly); @update clips, computes the learning rate of this step from the step scalar, applies the
    optimizer and zeroes the accumulators; @evaluate is @forward without dropout. @predict loses its dropout and the inputs
    that it does not use; its result becomes the output `logits`. Scalars are computed in f64.

    Input:  func.func @forward(%x, %w {train.role = "param"}) -> (loss_sum, weight)
    Output: func.func @accumulate(%x, %w) -> (grad.w, loss_sum, weight) with train.value_and_grad @forward
            func.func @update(%w, exp_avg.w, exp_avg_sq.w, grad.w, loss_sum, weight, step, lr) -> (new state, loss, grad_norm, lr)
            func.func @evaluate(%x, %w) -> (loss_sum, weight)
            func.func @predict(%x, %w) -> logits
  }];
  let dependentDialects = ["::mlir::arith::ArithDialect", "::mlir::math::MathDialect", "::llmc::nn::NnDialect",
                           "::llmc::train::TrainDialect"];
}

#endif // LLMC_PASSES_TRAINING
