//===- NnOps.td - structural ops: contraction, reduction, shape, indexing ===//
#ifndef LLMC_DIALECTS_NN_OPS
#define LLMC_DIALECTS_NN_OPS

include "dialects/nn/NnBase.td"

def Nn_ContractOp : Nn_Op<"contract", [Nn_OwnCost]> {
  let summary = "einsum of two tensors";
  let description = [{
    result[...] = sum over the labels that the result lacks of lhs[...] * rhs[...]. The equation names each dimension with a
    letter, e.g. "btk,nk->btn" for a linear layer with PyTorch's weight. The form is closed under differentiation: the
    gradient of lhs is the contraction of the result's gradient with rhs to lhs's labels.
    Made by the frontend and autodiff; becomes a library call at level `kernels`.

    Constraints:
    (C1) the equation is `letters,letters->letters`, one letter per dimension, no letter twice in one tensor;
    (C2) equal letters have equal sizes;
    (C3) each result letter stands in an operand; a letter in only one operand stands in the result;
    (C4) element types of operands and result are one float type.

    Example: %y = nn.contract %x, %w {equation = "btk,nk->btn"} : (tensor<8x64x16xf32>, tensor<48x16xf32>) -> tensor<8x64x48xf32>
  }];
  let arguments = (ins Nn_Float:$lhs, Nn_Float:$rhs, StrAttr:$equation);
  let results = (outs Nn_Float:$result);
  let hasVerifier = 1;
  let extraClassDeclaration = [{
    /// The three label strings of the equation.
    ::llvm::StringRef lhsLabels();
    ::llvm::StringRef rhsLabels();
    ::llvm::StringRef resultLabels();
  }];
  let builders = [OpBuilder<(ins "::llvm::StringRef":$equation, "::mlir::Value":$lhs, "::mlir::Value":$rhs)>];
}

def Nn_ReduceKind : I32EnumAttr<"ReduceKind", "how a dimension is reduced", [
    I32EnumAttrCase<"Sum", 0, "sum">, I32EnumAttrCase<"Mean", 1, "mean">, I32EnumAttrCase<"Max", 2, "max">,
    I32EnumAttrCase<"Min", 3, "min">, I32EnumAttrCase<"Prod", 4, "prod">]> {
  let cppNamespace = "::llmc::nn";
}

def Nn_ReduceOp : Nn_Op<"reduce", [Nn_OwnCost]> {
  let summary = "reduction over dimensions, which the result lacks";
  let description = [{
    Constraints:
    (C1) `dims` are increasing dimensions of the input;
    (C2) the result's shape is the input's without them, of the same element type.

    Example: %s = nn.reduce %x {kind = 0 : i32, dims = array<i64: 1>} : (tensor<4x8xf32>) -> tensor<4xf32>
  }];
  let arguments = (ins Nn_Tensor:$input, Nn_ReduceKind:$kind, DenseI64ArrayAttr:$dims);
  let results = (outs Nn_Tensor:$result);
  let hasVerifier = 1;
  let builders = [OpBuilder<(ins "::mlir::Value":$input, "ReduceKind":$kind, "::llvm::ArrayRef<int64_t>":$dims)>];
}

def Nn_BroadcastOp : Nn_Op<"broadcast", [Nn_DefaultCost]> {
  let summary = "repeats a tensor along new or size-1 dimensions";
  let description = [{
    Dimension i of the input becomes dimension dims[i] of the result; other dimensions of the result repeat the input.

    Constraints:
    (C1) `dims` has one entry per input dimension, increasing, each a dimension of the result;
    (C2) an input dimension equals the result dimension it becomes, or is 1.

    Example: %b = nn.broadcast %bias {dims = array<i64: 2>} : (tensor<16xf32>) -> tensor<8x64x16xf32>
  }];
  let arguments = (ins Nn_Tensor:$input, DenseI64ArrayAttr:$dims);
  let results = (outs Nn_Tensor:$result);
  let hasVerifier = 1;
  let hasFolder = 1;
}

def Nn_TransposeOp : Nn_Op<"transpose", [Nn_DefaultCost]> {
  let summary = "permutes dimensions: dimension i of the result is dimension permutation[i] of the input";
  let description = [{
    Constraints:
    (C1) `permutation` is a permutation of the input's dimensions, and the result's shape follows it.

    Example: %t = nn.transpose %x {permutation = array<i64: 1, 0>} : (tensor<4x8xf32>) -> tensor<8x4xf32>
  }];
  let arguments = (ins Nn_Tensor:$input, DenseI64ArrayAttr:$permutation);
  let results = (outs Nn_Tensor:$result);
  let hasVerifier = 1;
  let hasFolder = 1;
  let hasCanonicalizer = 1;
  let builders = [OpBuilder<(ins "::mlir::Value":$input, "::llvm::ArrayRef<int64_t>":$permutation)>];
}

def Nn_FlattenPartsOp : Nn_Op<"flatten_parts", [Nn_DefaultCost]> {
  let summary = "the parts of a tensor, each row-major in one dimension, with zeros behind";
  let description = [{
    Dimension `dim` is cut into `parts` equal parts; the result has one row for each, or is one row without a dimension for
    them if there is one part. State that data ranks do not divide is held so: rows are cut over tensor ranks, what is in
    them over data ranks. Made by `sharding-flatten-state`, gone after `sharding-partition`. A sum of tensors stays one.

    Constraints:
    (C1) `parts` divides dimension `dim`; of one part, `dim` is 0;
    (C2) the result is [size], or [parts, size], and holds all elements.

    Example: %f = nn.flatten_parts %w {dim = 1 : i64, parts = 2 : i64} : (tensor<3x6xf32>) -> tensor<2x12xf32>
  }];
  let arguments = (ins Nn_Tensor:$input, I64Attr:$dim, I64Attr:$parts);
  let results = (outs Nn_Tensor:$result);
  let hasVerifier = 1;
}

def Nn_UnflattenPartsOp : Nn_Op<"unflatten_parts", [Nn_DefaultCost]> {
  let summary = "the tensor whose `nn.flatten_parts` is the input; what is behind its elements is dropped";
  let description = [{
    Constraints:
    (C1), (C2) as `nn.flatten_parts` from the result to the input.

    Example: %w = nn.unflatten_parts %f {dim = 1 : i64, parts = 2 : i64} : (tensor<2x12xf32>) -> tensor<3x6xf32>
  }];
  let arguments = (ins Nn_Tensor:$input, I64Attr:$dim, I64Attr:$parts);
  let results = (outs Nn_Tensor:$result);
  let hasVerifier = 1;
}

def Nn_GatherOp : Nn_Op<"gather", [Nn_DefaultCost]> {
  let summary = "rows of a table: result[i..., c...] = table[indices[i...], c...]";
  let description = [{
    Negative indices count from the end, as in ONNX. Embedding lookups are this op; its derivative is `nn.scatter_add`.

    Constraints:
    (C1) the result's shape is indices' shape followed by table's shape without its first dimension.

    Example: %e = nn.gather %table, %ids : (tensor<256x64xf32>, tensor<8x32xi64>) -> tensor<8x32x64xf32>
  }];
  let arguments = (ins Nn_Tensor:$table, Nn_Int:$indices);
  let results = (outs Nn_Tensor:$result);
  let hasVerifier = 1;
}

def Nn_ScatterAddOp : Nn_Op<"scatter_add", [Nn_DefaultCost]> {
  let summary = "sums rows into a table of zeros: result[indices[i...], c...] += updates[i..., c...]";
  let description = [{
    Rows are added in the order of the indices, so the sum has one fixed order.

    Constraints:
    (C1) updates' shape is indices' shape followed by the result's without its first dimension.

    Example: %d = nn.scatter_add %ids, %dy : (tensor<8x32xi64>, tensor<8x32x64xf32>) -> tensor<256x64xf32>
  }];
  let arguments = (ins Nn_Int:$indices, Nn_Float:$updates);
  let results = (outs Nn_Float:$result);
  let hasVerifier = 1;
}

def Nn_GatherAlongOp : Nn_Op<"gather_along", [Nn_DefaultCost]> {
  let summary = "picks along one axis: result[.., i, ..] = input[.., indices[.., i, ..], ..] (ONNX GatherElements)";
  let description = [{
    Constraints:
    (C1) input, indices and result have one rank; the result has indices' shape;
    (C2) outside `axis`, indices' dimensions equal input's.
  }];
  let arguments = (ins Nn_Tensor:$input, Nn_Int:$indices, I64Attr:$axis);
  let results = (outs Nn_Tensor:$result);
  let hasVerifier = 1;
}

def Nn_ScatterAddAlongOp : Nn_Op<"scatter_add_along", [Nn_DefaultCost]> {
  let summary = "the transpose of gather_along: adds updates into zeros along one axis";
  let description = [{
    Constraints:
    (C1) indices and updates have one shape, of the result's rank;
    (C2) outside `axis`, indices' dimensions equal the result's.
  }];
  let arguments = (ins Nn_Int:$indices, Nn_Float:$updates, I64Attr:$axis);
  let results = (outs Nn_Float:$result);
  let hasVerifier = 1;
}

def Nn_TopKOp : Nn_Op<"top_k", [Nn_DefaultCost]> {
  let summary = "the k largest entries of the last dimension, largest first, and their positions; ties: lower index first";
  let description = [{
    Constraints:
    (C1) both results have the input's shape with the last dimension k, 1 <= k <= the input's last dimension.
  }];
  let arguments = (ins Nn_Float:$input);
  let results = (outs Nn_Float:$values, Nn_Int:$indices);
  let hasVerifier = 1;
}

def Nn_StopGradientOp : Nn_Op<"stop_gradient", [Nn_DefaultCost, SameOperandsAndResultType]> {
  let summary = "the input, through which no gradient flows";
  let description = [{
    What PyTorch calls detach, and ONNX has no word for. Made by the frontend from the operator `llmc.StopGradient`; gone after
    `autodiff-drop-stop-gradients`, right behind differentiation. It has no folder: until then it is not its input.

    Example: %y = nn.stop_gradient %x : (tensor<4x8xf32>) -> tensor<4x8xf32>
  }];
  let arguments = (ins Nn_Float:$input);
  let results = (outs Nn_Float:$result);
}

def Nn_BatchSizeOp : Nn_Op<"batch_size", [Nn_DefaultCost]> {
  let summary = "how many samples the batch has, as a number to compute with";
  let description = [{
    The size of dimension 0 of `input`, which is an input of the model. It is a sum over the samples, of one for each, and counts as
    that until `import-resize-batch` knows the size and puts the number in its place. Made by the frontend from the operator
    `llmc.BatchSize`; export.py writes it where PyTorch's exporter would write a number that follows from the size it saw.

    Constraints:
    (C1) the input has a dimension, and the result is a scalar.

    Example: %n = nn.batch_size %ids : (tensor<8x64xi64>) -> tensor<f32>
  }];
  let arguments = (ins Nn_Tensor:$input);
  let results = (outs Nn_Float:$result);
  let hasVerifier = 1;
}

#endif // LLMC_DIALECTS_NN_OPS
