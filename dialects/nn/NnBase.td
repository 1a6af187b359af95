//===- NnBase.td - the nn dialect and what its ops share ----------------===//
#ifndef LLMC_DIALECTS_NN_BASE
#define LLMC_DIALECTS_NN_BASE

include "dialects/interfaces/Interfaces.td"
include "mlir/IR/OpBase.td"
include "mlir/IR/EnumAttr.td"
include "mlir/Interfaces/SideEffectInterfaces.td"
include "mlir/Interfaces/InferTypeOpInterface.td"

def Nn_Dialect : Dialect {
  let name = "nn";
  let cppNamespace = "::llmc::nn";
  let summary = "what a model computes: value-semantic tensor ops";
  let description = [{
    Ops that models are made of beyond elementwise arithmetic (`arith`, `math` on tensors) and shape changes (`tensor`).
    All shapes are static. Made by the ONNX frontend, by recomposition and by autodiff; consumed by lowering.
  }];
  let hasConstantMaterializer = 1;
  let dependentDialects = ["::mlir::arith::ArithDialect", "::mlir::math::MathDialect", "::mlir::tensor::TensorDialect"];
}

class Nn_Op<string mnemonic, list<Trait> traits = []> : Op<Nn_Dialect, mnemonic, !listconcat([
    Pure,
    DeclareOpInterfaceMethods<Differentiable>,
    DeclareOpInterfaceMethods<Shardable>,
    DeclareOpInterfaceMethods<Evaluable>], traits)> {
  let assemblyFormat = "operands attr-dict `:` functional-type(operands, results)";
}

// An op whose work is not simply one operation per result element declares its cost.
def Nn_OwnCost : DeclareOpInterfaceMethods<Cost, ["getFlops"]>;
def Nn_DefaultCost : DeclareOpInterfaceMethods<Cost>;

def Nn_Tensor : RankedTensorOf<[AnyFloat, AnySignlessInteger, Index]>;
def Nn_Float : RankedTensorOf<[AnyFloat]>;
def Nn_Int : RankedTensorOf<[AnySignlessInteger]>;

#endif // LLMC_DIALECTS_NN_BASE
