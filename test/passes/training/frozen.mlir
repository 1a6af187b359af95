// RUN: llmc-opt %s --split-input-file --training-select-outputs --canonicalize --training-normalize-loss --training-build-step | FileCheck %s

// A parameter that the model's module does not train is not trained, where the recipe says nothing.
// CHECK-LABEL: func.func @accumulate
//       CHECK:   train.value_and_grad
//   CHECK-NOT:   train.name = "a", train.role = "gradient"
// CHECK-LABEL: func.func @update
//   CHECK-NOT:   exp_avg.a
//       CHECK:   train.name = "exp_avg.b", train.role = "moment"
module attributes {train.recipe = {loss = "loss"}} {
  func.func @forward(%x: tensor<4x5xf32> {train.name = "x", train.role = "input"}, %labels: tensor<4xi64> {train.name = "labels", train.role = "input"},
                     %a: tensor<5x5xf32> {train.frozen, train.name = "a", train.role = "param"}, %b: tensor<5x5xf32> {train.name = "b", train.role = "param"})
      -> (tensor<f32> {train.name = "loss"}) {
    %h = nn.contract %x, %a {equation = "bc,vc->bv"} : (tensor<4x5xf32>, tensor<5x5xf32>) -> tensor<4x5xf32>
    %y = nn.contract %h, %b {equation = "bc,vc->bv"} : (tensor<4x5xf32>, tensor<5x5xf32>) -> tensor<4x5xf32>
    %sum, %n, %lse = nn.cross_entropy %y, %labels {ignore_index = -100 : i64} : (tensor<4x5xf32>, tensor<4xi64>) -> (tensor<f32>, tensor<f32>, tensor<4xf32>)
    %loss = arith.divf %sum, %n : tensor<f32>
    return %loss : tensor<f32>
  }
}

// -----

// What the recipe says goes before it: "a" is trained, "b" is not.
// CHECK-LABEL: func.func @update
//   CHECK-NOT:   exp_avg.b
//       CHECK:   train.name = "exp_avg.a", train.role = "moment"
module attributes {train.recipe = {loss = "loss", trainable = ["a"]}} {
  func.func @forward(%x: tensor<4x5xf32> {train.name = "x", train.role = "input"}, %labels: tensor<4xi64> {train.name = "labels", train.role = "input"},
                     %a: tensor<5x5xf32> {train.frozen, train.name = "a", train.role = "param"}, %b: tensor<5x5xf32> {train.name = "b", train.role = "param"})
      -> (tensor<f32> {train.name = "loss"}) {
    %h = nn.contract %x, %a {equation = "bc,vc->bv"} : (tensor<4x5xf32>, tensor<5x5xf32>) -> tensor<4x5xf32>
    %y = nn.contract %h, %b {equation = "bc,vc->bv"} : (tensor<4x5xf32>, tensor<5x5xf32>) -> tensor<4x5xf32>
    %sum, %n, %lse = nn.cross_entropy %y, %labels {ignore_index = -100 : i64} : (tensor<4x5xf32>, tensor<4xi64>) -> (tensor<f32>, tensor<f32>, tensor<4xf32>)
    %loss = arith.divf %sum, %n : tensor<f32>
    return %loss : tensor<f32>
  }
}
