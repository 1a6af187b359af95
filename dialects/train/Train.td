//===- Train.td - the structure of a training step ------------------------===//
#ifndef LLMC_DIALECTS_TRAIN
#define LLMC_DIALECTS_TRAIN

include "mlir/IR/OpBase.td"
include "mlir/IR/SymbolInterfaces.td"
include "mlir/Interfaces/SideEffectInterfaces.td"

def Train_Dialect : Dialect {
  let name = "train";
  let cppNamespace = "::llmc::train";
  let summary = "the structure of a training step";
  let description = [{
    Ops that say how a step is put together, and the attributes that give function arguments and results their part in it:
    `train.role` (see Roles.h), `train.name` (the name of the parameter, input or output), `train.source`, `train.value`,
    `train.aliases`, and `train.recipe` on the module. Where a parameter is stored in another shape than it has in files,
    `train.shape` is the logical shape and `train.view` the way from there: a list of steps, each with the shape behind it,
    `{reshape = array<i64: ...>}` or `{pad = array<i64: ...>}` (zeros behind the end of dimensions).
  }];
  let hasOperationAttrVerify = 0;
}

class Train_Op<string mnemonic, list<Trait> traits = []> : Op<Train_Dialect, mnemonic, traits>;

def Train_ValueAndGradOp : Train_Op<"value_and_grad", [Pure, DeclareOpInterfaceMethods<SymbolUserOpInterface>]> {
  let summary = "results of a function and the gradient of its first result";
  let description = [{
    Made by `training-build-step`, expanded in place by `autodiff-expand`; illegal from level `step` on. Results are all
    results of the callee, then the gradients of its first result (rank 0) for the arguments `wrt`.

    Constraints:
    (C1) the callee is a function of this module whose argument types are the operand types;
    (C2) `wrt` are increasing arguments of floating-point element type;
    (C3) the results are the callee's results followed by one value of each `wrt` argument's type; the first has rank 0.

    Example: %loss, %dw = train.value_and_grad @forward(%x, %w) {wrt = array<i64: 1>} : (tensor<4xf32>, tensor<4xf32>) -> (tensor<f32>, tensor<4xf32>)
  }];
  let arguments = (ins FlatSymbolRefAttr:$callee, Variadic<AnyType>:$inputs, DenseI64ArrayAttr:$wrt);
  let results = (outs Variadic<AnyType>:$outputs);
  let assemblyFormat = "$callee `(` $inputs `)` attr-dict `:` functional-type($inputs, $outputs)";
}

#endif // LLMC_DIALECTS_TRAIN
