// Of a model that repeats a block, one is verified; what is left out is said first, and what the proof does not cover.
// RUN: llmc verify %s --start-from imported --shrink blocks | FileCheck %s
// CHECK: a smaller model is verified:
// CHECK-NEXT: 1 of 2 equal blocks is kept, h.0.w; left out: h.1.w
// CHECK: not covered: {{.*}}rounding
// CHECK-NEXT: 2 steps of
// CHECK-NOT: h.1.w
// CHECK: the plan agrees with the reference interpreter

// A model within the interpreter's bound stays whole, and so does one whose blocks differ.
// RUN: llmc verify %s --start-from imported | FileCheck %s --check-prefix=WHOLE
// RUN: llmc verify %S/../../models/mlp/model.onnx -r %S/../../models/mlp/recipe.yaml --shrink blocks | FileCheck %s --check-prefix=DIFFER
// WHOLE-NOT: left out
// WHOLE: h.1.w
// WHOLE: the plan agrees with the reference interpreter
// DIFFER: the whole model is verified: no two of its blocks are equal
// DIFFER: the plan agrees with the reference interpreter

// Sizes can be smaller too, and what is verified then is the same structure, on ranks as well. Data would not fit.
// RUN: llmc verify %S/../../models/mlp/model.onnx -r %S/../../models/mlp/recipe.yaml --shrink sizes | FileCheck %s --check-prefix=SIZES
// RUN: cp %S/../../models/mlp/recipe.yaml %t.yaml && echo "mesh: {dp: 2, tp: 2}" >> %t.yaml
// RUN: llmc verify %S/../../models/mlp/model.onnx -r %t.yaml --shrink sizes | FileCheck %s --check-prefixes=SIZES,RANKS
// RUN: not llmc verify %S/../../models/mlp/model.onnx -r %t.yaml --data no --shrink sizes 2>&1 | FileCheck %s --check-prefix=DATA
// SIZES: a smaller model is verified:
// SIZES-NEXT: size 128 becomes 64: dimension 0 of fc1.weight
// SIZES: choices by size may be others in the whole model
// RANKS: the ranks compute what one rank computes
// RANKS: the executed ranks compute what one executed rank computes
// DATA: error: --data has the sizes of the model, which --shrink sizes makes smaller

// RUN: not llmc verify %s --start-from imported --shrink half 2>&1 | FileCheck %s --check-prefix=HALF
// HALF: error: --shrink does not know 'half'
// HALF-NEXT: hint: it is one of auto, no, blocks and sizes
// RUN: llmc compile %s --start-from imported --stop-after step -o %t.mlir
// RUN: not llmc verify %t.mlir --start-from step --shrink blocks 2>&1 | FileCheck %s --check-prefix=STEP
// STEP: error: IR of level 'step' is not shrunk
// STEP-NEXT: hint:
module attributes {train.recipe = {batch.micro = 2 : i64, batch.step = 4 : i64, init = [{a = 0.0 : f64, b = 0.5 : f64, glob = "*", kind = 3 : i64}]}} {
  func.func @forward(%x: tensor<4x6xf32> {train.name = "x", train.role = "input"}, %labels: tensor<4xi64> {train.name = "labels", train.role = "input"},
                     %e: tensor<6x6xf32> {train.name = "embed", train.role = "param"}, %a: tensor<6x6xf32> {train.name = "h.0.w", train.role = "param"},
                     %b: tensor<6x6xf32> {train.name = "h.1.w", train.role = "param"}, %h: tensor<7x6xf32> {train.name = "head", train.role = "param"})
      -> (tensor<f32> {train.name = "loss"}) {
    %0 = nn.contract %x, %e {equation = "bk,nk->bn"} : (tensor<4x6xf32>, tensor<6x6xf32>) -> tensor<4x6xf32>
    %1 = nn.contract %0, %a {equation = "bk,nk->bn"} : (tensor<4x6xf32>, tensor<6x6xf32>) -> tensor<4x6xf32>
    %2 = math.tanh %1 : tensor<4x6xf32>
    %3 = arith.addf %0, %2 : tensor<4x6xf32>
    %4 = nn.contract %3, %b {equation = "bk,nk->bn"} : (tensor<4x6xf32>, tensor<6x6xf32>) -> tensor<4x6xf32>
    %5 = math.tanh %4 : tensor<4x6xf32>
    %6 = arith.addf %3, %5 : tensor<4x6xf32>
    %7 = nn.contract %6, %h {equation = "bk,vk->bv"} : (tensor<4x6xf32>, tensor<7x6xf32>) -> tensor<4x7xf32>
    %sum, %n, %lse = nn.cross_entropy %7, %labels {ignore_index = -100 : i64} : (tensor<4x7xf32>, tensor<4xi64>) -> (tensor<f32>, tensor<f32>, tensor<4xf32>)
    %loss = arith.divf %sum, %n : tensor<f32>
    return %loss : tensor<f32>
  }
}
