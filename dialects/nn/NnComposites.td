//===- NnComposites.td - normalization, activation, attention, loss, optimizer ===//
#ifndef LLMC_DIALECTS_NN_COMPOSITES
#define LLMC_DIALECTS_NN_COMPOSITES

include "dialects/nn/NnBase.td"

//===-- Softmax ----------------------------------------------------------===//

def Nn_SoftmaxOp : Nn_Op<"softmax", [Nn_OwnCost, SameOperandsAndResultType]> {
  let summary = "softmax over the last dimension";
  let description = [{ y = exp(x - max(x)) / sum(exp(x - max(x))), rows of -inf only give NaN as in PyTorch. }];
  let arguments = (ins Nn_Float:$input);
  let results = (outs Nn_Float:$result);
}
def Nn_SoftmaxBackwardOp : Nn_Op<"softmax_backward", [Nn_OwnCost, SameOperandsAndResultType]> {
  let summary = "dx = y * (dy - sum(dy * y)), sums over the last dimension";
  let arguments = (ins Nn_Float:$result_value, Nn_Float:$cotangent);
  let results = (outs Nn_Float:$gradient);
}
def Nn_LogSoftmaxOp : Nn_Op<"log_softmax", [Nn_OwnCost, SameOperandsAndResultType]> {
  let summary = "x - max(x) - log(sum(exp(x - max(x)))) over the last dimension";
  let arguments = (ins Nn_Float:$input);
  let results = (outs Nn_Float:$result);
}
def Nn_LogSoftmaxBackwardOp : Nn_Op<"log_softmax_backward", [Nn_OwnCost, SameOperandsAndResultType]> {
  let summary = "dx = dy - exp(y) * sum(dy), sums over the last dimension";
  let arguments = (ins Nn_Float:$result_value, Nn_Float:$cotangent);
  let results = (outs Nn_Float:$gradient);
}

//===-- Normalization ------------------------------------------------------===//

def Nn_BatchNormOp : Nn_Op<"batch_norm", [Nn_DefaultCost]> {
  let summary = "batch normalization with the statistics of the batch (Ioffe and Szegedy 2015), as PyTorch in training mode";
  let description = [{
    Per channel (dimension 1): m and v = mean and biased variance over all other dimensions;
    result = (x - m) / sqrt(v + epsilon) * scale + bias,
    new_mean = momentum * mean + (1 - momentum) * m, new_variance = momentum * variance + (1 - momentum) * v * n / (n - 1),
    n the number of elements of a channel.
    Made by the frontend. `training-build-step` expands it into elementary ops in @accumulate, where `mean` and `variance` are
    state, and into normalization by `mean` and `variance` in @evaluate and @predict; illegal from level `step` on.

    Constraints:
    (C1) the input has rank 2 or more, and at least two elements in each channel;
    (C2) scale, bias, mean, variance and the new statistics have shape [channels]; the result has the input's type.
  }];
  let arguments = (ins Nn_Float:$input, Nn_Float:$scale, Nn_Float:$bias, Nn_Float:$mean, Nn_Float:$variance, F64Attr:$epsilon,
                       F64Attr:$momentum);
  let results = (outs Nn_Float:$result, Nn_Float:$new_mean, Nn_Float:$new_variance);
  let hasVerifier = 1;
  let extraClassDeclaration = [{
    /// The three results as elementary ops.
    ::llvm::SmallVector<::mlir::Value> expandTraining(::mlir::OpBuilder &builder);
    /// The first result with `mean` and `variance` in place of the batch's statistics.
    ::mlir::Value expandInference(::mlir::OpBuilder &builder);
  }];
}

def Nn_LayerNormOp : Nn_Op<"layer_norm", [Nn_OwnCost]> {
  let summary = "layer normalization over the last dimension (Ba et al. 2016)";
  let description = [{
    mean and rstd = 1 / sqrt(var + epsilon) per row, biased variance; result = (x - mean) * rstd * scale + bias. The
    statistics are results because the backward op needs them; they have x's shape without the last dimension.

    Constraints:
    (C1) scale and bias have shape [C], C the last dimension of x;
    (C2) mean and rstd have x's leading shape.
  }];
  let arguments = (ins Nn_Float:$input, Nn_Float:$scale, Optional<Nn_Float>:$bias, F64Attr:$epsilon);
  let results = (outs Nn_Float:$result, Nn_Float:$mean, Nn_Float:$rstd);
  let hasVerifier = 1;
}
def Nn_LayerNormBackwardOp : Nn_Op<"layer_norm_backward", [Nn_OwnCost]> {
  let summary = "gradients of layer_norm for x, scale and bias";
  let description = [{
    With h = (x - mean) * rstd and g = dy * scale: dx = rstd * (g - mean(g) - h * mean(g * h)), dscale = sum(dy * h),
    dbias = sum(dy), the sums over all rows.

    Constraints:
    (C1) dx has x's type, dscale and dbias have scale's.
  }];
  let arguments = (ins Nn_Float:$input, Nn_Float:$scale, Nn_Float:$mean, Nn_Float:$rstd, Nn_Float:$cotangent);
  let results = (outs Nn_Float:$input_gradient, Nn_Float:$scale_gradient, Nn_Float:$bias_gradient);
  let hasVerifier = 1;
}
def Nn_RmsNormOp : Nn_Op<"rms_norm", [Nn_OwnCost]> {
  let summary = "root-mean-square normalization over the last dimension (Zhang and Sennrich 2019)";
  let description = [{
    rstd = 1 / sqrt(mean(x * x) + epsilon) per row; result = x * rstd * scale.

    Constraints:
    (C1) scale has shape [C], C the last dimension of x;
    (C2) rstd has x's leading shape.
  }];
  let arguments = (ins Nn_Float:$input, Nn_Float:$scale, F64Attr:$epsilon);
  let results = (outs Nn_Float:$result, Nn_Float:$rstd);
  let hasVerifier = 1;
}
def Nn_RmsNormBackwardOp : Nn_Op<"rms_norm_backward", [Nn_OwnCost]> {
  let summary = "gradients of rms_norm for x and scale";
  let description = [{
    With h = x * rstd and g = dy * scale: dx = rstd * (g - h * mean(g * h)), dscale = sum(dy * h) over all rows.

    Constraints:
    (C1) dx has x's type, dscale has scale's.
  }];
  let arguments = (ins Nn_Float:$input, Nn_Float:$scale, Nn_Float:$rstd, Nn_Float:$cotangent);
  let results = (outs Nn_Float:$input_gradient, Nn_Float:$scale_gradient);
  let hasVerifier = 1;
}

//===-- Activations --------------------------------------------------------===//
// Named so that the backward pass saves their input only; lowering expands them to arith and math.

def Nn_GeluOp : Nn_Op<"gelu", [Nn_OwnCost, SameOperandsAndResultType]> {
  let summary = "Gaussian error linear unit (Hendrycks and Gimpel 2016), exact (erf) or with tanh";
  let description = [{
    tanh: 0.5 x (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3))); else 0.5 x (1 + erf(x / sqrt(2))).
  }];
  let arguments = (ins Nn_Float:$input, BoolAttr:$tanh);
  let results = (outs Nn_Float:$result);
}
def Nn_SigmoidOp : Nn_Op<"sigmoid", [Nn_OwnCost, SameOperandsAndResultType]> {
  let summary = "1 / (1 + exp(-x))";
  let arguments = (ins Nn_Float:$input);
  let results = (outs Nn_Float:$result);
}
def Nn_SiluOp : Nn_Op<"silu", [Nn_OwnCost, SameOperandsAndResultType]> {
  let summary = "x * sigmoid(x)";
  let arguments = (ins Nn_Float:$input);
  let results = (outs Nn_Float:$result);
}
def Nn_SwigluOp : Nn_Op<"swiglu", [Nn_OwnCost, SameOperandsAndResultType]> {
  let summary = "silu(gate) * up (Shazeer 2020)";
  let arguments = (ins Nn_Float:$gate, Nn_Float:$up);
  let results = (outs Nn_Float:$result);
}

//===-- Attention ----------------------------------------------------------===//

def Nn_RopeOp : Nn_Op<"rope", [Nn_OwnCost]> {
  let summary = "rotary position embedding (Su et al. 2021) on [batch, sequence, heads, size]";
  let description = [{
    The first R entries of the last dimension are rotated, the others pass. Half-split pairs (i, i + R/2), or neighbours
    (2i, 2i + 1) if `interleaved`: (a, b) -> (a cos_a - b sin_a, b cos_b + a sin_b). `transposed` applies the transposed
    matrix, which is the derivative: (a, b) -> (a cos_a + b sin_b, b cos_b - a sin_a).

    Constraints:
    (C1) cos and sin have one shape, [sequence, R] or [batch, sequence, R], R even and at most size.
  }];
  let arguments = (ins Nn_Float:$input, Nn_Float:$cos, Nn_Float:$sin, UnitAttr:$interleaved, UnitAttr:$transposed);
  let results = (outs Nn_Float:$result);
  let hasVerifier = 1;
}
def Nn_AttentionOp : Nn_Op<"attention", [Nn_OwnCost]> {
  let summary = "scaled dot-product attention that never holds the score matrix (Dao et al. 2022)";
  let description = [{
    query [B, T, H, D], key [B, S, G, D], value [B, S, G, E], H a multiple of G (grouped heads: head h uses h / (H/G)).
    scores = scale * q k^T (+ mask); if `causal`, key position s is seen from t only if s <= t + S - T. A mask is i1 (true:
    seen) or additive float, of shape [b, h, T, S], b and h being 1 or whole. result [B, T, H, E]; `lse` [B, H, T] is the
    log-sum-exp of each row, for the backward op. A row that sees no key gives zeros, and lse -inf.
    A mask gets no gradient.

    Constraints:
    (C1) the shapes above.
  }];
  let arguments = (ins Nn_Float:$query, Nn_Float:$key, Nn_Float:$value, Optional<Nn_Tensor>:$mask, F64Attr:$scale,
                       BoolAttr:$causal);
  let results = (outs Nn_Float:$result, Nn_Float:$lse);
  let hasVerifier = 1;
}
def Nn_AttentionBackwardOp : Nn_Op<"attention_backward", [Nn_OwnCost]> {
  let summary = "gradients of attention for query, key and value, recomputing the scores from lse";
  let description = [{
    With P = exp(scores - lse), delta = sum(dresult * result): dV = P^T dresult, dS = P * (dresult V^T - delta),
    dQ = scale dS K, dK = scale dS^T Q.

    Constraints:
    (C1) the gradients have the types of query, key and value.
  }];
  let arguments = (ins Nn_Float:$query, Nn_Float:$key, Nn_Float:$value, Nn_Float:$result_value, Nn_Float:$lse,
                       Nn_Float:$cotangent, Optional<Nn_Tensor>:$mask, F64Attr:$scale, BoolAttr:$causal);
  let results = (outs Nn_Float:$query_gradient, Nn_Float:$key_gradient, Nn_Float:$value_gradient);
  let hasVerifier = 1;
}

//===-- Loss ---------------------------------------------------------------===//

def Nn_CrossEntropyOp : Nn_Op<"cross_entropy", [Nn_OwnCost]> {
  let summary = "sum of -log softmax(logits)[label] over rows whose label is not ignored";
  let description = [{
    logits [..., V], labels [...]. `loss_sum` and `weight` (the number of counted rows) are rank 0; `lse` [...] is the
    log-sum-exp of each row. The mean loss is loss_sum / weight, written with arith.

    Constraints:
    (C1) labels have the logits' shape without the last dimension, lse too.
  }];
  let arguments = (ins Nn_Float:$logits, Nn_Int:$labels, I64Attr:$ignore_index);
  let results = (outs Nn_Float:$loss_sum, Nn_Float:$weight, Nn_Float:$lse);
  let hasVerifier = 1;
}
def Nn_CrossEntropyBackwardOp : Nn_Op<"cross_entropy_backward", [Nn_OwnCost]> {
  let summary = "dlogits = dloss_sum * (softmax(logits) - onehot(label)), zero for ignored rows";
  let description = [{
    A label of V is of a class that is elsewhere: its row counts, and none of these classes is its own.

    Constraints:
    (C1) the gradient has the logits' type.
  }];
  let arguments = (ins Nn_Float:$logits, Nn_Int:$labels, Nn_Float:$lse, Nn_Float:$cotangent, I64Attr:$ignore_index);
  let results = (outs Nn_Float:$gradient);
  let hasVerifier = 1;
}
def Nn_LinearCrossEntropyOp : Nn_Op<"linear_cross_entropy", [Nn_OwnCost]> {
  let summary = "head and cross-entropy together, so that the logits never exist whole";
  let description = [{
    cross_entropy(input weight^T + bias, labels) with input [..., C], bias [V], weight [V, C], or [C, V] if
    `vocabulary_last`. Made by recomposition; lowering walks chunks of rows.
    With `parts`, the softmax of a row is over the part of its label alone, of so many equal parts of the vocabulary, and lse
    [parts, ...] is the log-sum-exp of each part: `sharding-split-loss` makes the whole loss of these.

    Constraints:
    (C1) the shapes above; lse and labels have input's leading shape;
    (C2) `parts` divides the vocabulary.
  }];
  let arguments = (ins Nn_Float:$input, Nn_Float:$weight_matrix, Nn_Int:$labels, Optional<Nn_Float>:$bias,
                       I64Attr:$ignore_index, UnitAttr:$vocabulary_last, OptionalAttr<I64Attr>:$parts);
  let results = (outs Nn_Float:$loss_sum, Nn_Float:$weight, Nn_Float:$lse);
  let hasVerifier = 1;
}
def Nn_LinearCrossEntropyBackwardOp : Nn_Op<"linear_cross_entropy_backward", [Nn_OwnCost]> {
  let summary = "gradients of linear_cross_entropy for input, weight and bias, recomputing the logits chunk by chunk";
  let description = [{
    A label of V is of a class that is elsewhere: its row counts, and none of these classes is its own.

    Constraints:
    (C1) the gradients have the types of input, weight and bias; there is a bias gradient exactly if there is a bias.
  }];
  let arguments = (ins Nn_Float:$input, Nn_Float:$weight_matrix, Nn_Int:$labels, Nn_Float:$lse, Nn_Float:$cotangent,
                       Optional<Nn_Float>:$bias, I64Attr:$ignore_index, UnitAttr:$vocabulary_last);
  let results = (outs Nn_Float:$input_gradient, Nn_Float:$weight_gradient, Optional<Nn_Float>:$bias_gradient);
  let hasVerifier = 1;
}

//===-- Randomness -----------------------------------------------------------===//

def Nn_DropoutOp : Nn_Op<"dropout", [Nn_OwnCost]> {
  let summary = "zeroes entries with probability `ratio` and scales the others by 1 / (1 - ratio)";
  let description = [{
    Entry e of sample s (dimension 0) is kept if uniform(seed, step, id, first_sample + s, e) >= ratio: a Philox-4x32-10 hash
    (Salmon et al. 2011), so that neither sharding nor splitting a batch changes a bit. `position` is [step, first sample];
    absent below level `step` (the identity in `@evaluate` and `@predict`, where the op is removed). Its own derivative.

    Entries are numbered row-major. For a part of a tensor that is cut behind its samples, `sharding-partition` appends the
    number of the part's first entry to `position`, and `strides` says how far apart in the whole tensor neighbours are along
    each dimension behind the first.

    Constraints:
    (C1) position, if present, is tensor<2xi64>, with strides tensor<3xi64>;
    (C2) 0 <= ratio < 1;
    (C3) strides, if present, are not negative, one for each dimension behind the first, and number no entry beyond 2^60.

    Example, columns 4 to 7 of 8 (first = 4):
      %y = nn.dropout %x, %p {ratio = 0.1 : f64, seed = 1 : i64, id = 2 : i64, strides = array<i64: 8, 1>} : (tensor<2x6x4xf32>, tensor<3xi64>) -> tensor<2x6x4xf32>
  }];
  let arguments = (ins Nn_Float:$input, Optional<Nn_Int>:$position, F64Attr:$ratio, I64Attr:$seed, I64Attr:$id,
                       OptionalAttr<DenseI64ArrayAttr>:$strides);
  let results = (outs Nn_Float:$result);
  let hasVerifier = 1;
}

//===-- Optimizer ------------------------------------------------------------===//

def Nn_SumOfSquaresOp : Nn_Op<"sum_of_squares", [Nn_OwnCost]> {
  let summary = "sum of the squares of all elements of all operands, in one fixed order; rank 0";
  let arguments = (ins Variadic<Nn_Float>:$inputs);
  let results = (outs Nn_Float:$result);
}
def Nn_AdamWOp : Nn_Op<"adamw", [Nn_OwnCost]> {
  let summary = "one AdamW update (Loshchilov and Hutter 2019, as torch.optim.AdamW)";
  let description = [{
    With g = gradient * gradient_scale, k = step (counted from 1): p <- p (1 - lr decay); m <- m + (1 - beta1)(g - m);
    v <- beta2 v + (1 - beta2) g^2; p <- p - lr / (1 - beta1^k) * m / (sqrt(v) / sqrt(1 - beta2^k) + eps).
    lr, gradient_scale and the bias corrections c1 = 1 - beta1^k, c2 = 1 - beta2^k are rank-0 tensors. A gradient_scale of 0
    says that the step had no gradient: the results are parameter and moments as they were.

    Constraints:
    (C1) parameter, gradient and moments have one type, and so have the results.
  }];
  let arguments = (ins Nn_Float:$parameter, Nn_Float:$gradient, Nn_Float:$first_moment, Nn_Float:$second_moment,
                       Nn_Float:$lr, Nn_Float:$gradient_scale, Nn_Float:$correction1, Nn_Float:$correction2,
                       F64Attr:$beta1, F64Attr:$beta2, F64Attr:$epsilon, F64Attr:$decay);
  let results = (outs Nn_Float:$new_parameter, Nn_Float:$new_first_moment, Nn_Float:$new_second_moment);
  let hasVerifier = 1;
}
def Nn_SgdOp : Nn_Op<"sgd", [Nn_OwnCost]> {
  let summary = "one SGD update with momentum (as torch.optim.SGD, dampening 0)";
  let description = [{
    With g = gradient * gradient_scale + decay p: b <- momentum b + g; p <- p - lr (nesterov ? g + momentum b : b).
    The buffer starts at zero, so the first step equals PyTorch's. A gradient_scale of 0 changes nothing, as in nn.adamw.

    Constraints:
    (C1) parameter, gradient and buffer have one type, and so have the results.
  }];
  let arguments = (ins Nn_Float:$parameter, Nn_Float:$gradient, Nn_Float:$buffer, Nn_Float:$lr,
                       Nn_Float:$gradient_scale, F64Attr:$momentum, F64Attr:$decay, BoolAttr:$nesterov);
  let results = (outs Nn_Float:$new_parameter, Nn_Float:$new_buffer);
  let hasVerifier = 1;
}

#endif // LLMC_DIALECTS_NN_COMPOSITES
