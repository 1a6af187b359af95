// RUN: llmc-opt %s --split-input-file --training-select-outputs --canonicalize --training-normalize-loss --training-build-step | FileCheck %s

// One micro-batch a step: gradients are results, not accumulators; other outputs of the graph are gone.
// CHECK-LABEL: func.func private @forward
//   CHECK-NOT:   train.name = "logits"
// CHECK-LABEL: func.func @evaluate
// CHECK-LABEL: func.func @accumulate
//       CHECK:   %[[R:.+]]:3 = train.value_and_grad @forward
//       CHECK:   return %[[R]]#2, %[[R]]#0, %[[R]]#1
// CHECK-LABEL: func.func @update
//  CHECK-SAME:   train.name = "exp_avg.w", train.role = "moment"
//       CHECK:   nn.sum_of_squares
//       CHECK:   nn.adamw
//       CHECK:   arith.addi
func.func @forward(%x: tensor<4x5xf32> {train.name = "x", train.role = "input"}, %labels: tensor<4xi64> {train.name = "labels", train.role = "input"},
                   %w: tensor<5x5xf32> {train.name = "w", train.role = "param"})
    -> (tensor<f32> {train.name = "loss"}, tensor<4x5xf32> {train.name = "logits"}) {
  %y = nn.contract %x, %w {equation = "bc,vc->bv"} : (tensor<4x5xf32>, tensor<5x5xf32>) -> tensor<4x5xf32>
  %sum, %n, %lse = nn.cross_entropy %y, %labels {ignore_index = -100 : i64} : (tensor<4x5xf32>, tensor<4xi64>) -> (tensor<f32>, tensor<f32>, tensor<4xf32>)
  %loss = arith.divf %sum, %n : tensor<f32>
  return %loss, %y : tensor<f32>, tensor<4x5xf32>
}

// -----

// A prediction is an output under the name that the runtime looks for, without dropout; labels, which it does not need, are
// no input of it.
// CHECK-LABEL: func.func @predict(
//   CHECK-NOT:   "labels"
//       CHECK:   -> (tensor<4x5xf32> {train.name = "logits", train.role = "output"})
//   CHECK-NOT:   nn.dropout
//       CHECK:   return
module attributes {train.recipe = {loss = "loss", predict = "scores"}} {
  func.func @forward(%x: tensor<4x5xf32> {train.name = "x", train.role = "input"}, %labels: tensor<4xi64> {train.name = "labels", train.role = "input"},
                     %w: tensor<5x5xf32> {train.name = "w", train.role = "param"})
      -> (tensor<f32> {train.name = "loss"}, tensor<4x5xf32> {train.name = "scores"}) {
    %y = nn.contract %x, %w {equation = "bc,vc->bv"} : (tensor<4x5xf32>, tensor<5x5xf32>) -> tensor<4x5xf32>
    %d = nn.dropout %y {ratio = 1.0e-1 : f64, seed = 0 : i64, id = 0 : i64} : (tensor<4x5xf32>) -> tensor<4x5xf32>
    %sum, %n, %lse = nn.cross_entropy %d, %labels {ignore_index = -100 : i64} : (tensor<4x5xf32>, tensor<4xi64>) -> (tensor<f32>, tensor<f32>, tensor<4xf32>)
    %loss = arith.divf %sum, %n : tensor<f32>
    return %loss, %d : tensor<f32>, tensor<4x5xf32>
  }
}

// -----

// Without a list, what has two dimensions in the model decays: not a vector that is stored as a matrix, whatever its name, but a
// matrix that is stored as a vector. With a list, what it does not name decays, by any of a parameter's names.
// CHECK-LABEL: module attributes {train.recipe = {optimizer.kind = 1 : i64, optimizer.weight_decay
//       CHECK: nn.sgd {{.*}} {decay = 0.000000e+00
//       CHECK: nn.sgd {{.*}} {decay = 5.000000e-01
//       CHECK: nn.sgd {{.*}} {decay = 5.000000e-01
module attributes {train.recipe = {optimizer.kind = 1 : i64, optimizer.weight_decay = 0.5 : f64}} {
  func.func @forward(%x: tensor<2x3xf32> {train.name = "x", train.role = "input"},
                     %a: tensor<2x3xf32> {train.name = "a", train.role = "param", train.shape = array<i64: 6>},
                     %b: tensor<2x3xf32> {train.name = "norm.bias", train.role = "param"},
                     %c: tensor<6xf32> {train.name = "c", train.role = "param", train.shape = array<i64: 2, 3>}) -> (tensor<f32> {train.name = "loss"}) {
    %0 = arith.addf %a, %b : tensor<2x3xf32>
    %1 = arith.mulf %0, %x : tensor<2x3xf32>
    %2 = nn.reduce %1 {kind = 0 : i32, dims = array<i64: 0, 1>} : (tensor<2x3xf32>) -> tensor<f32>
    %3 = nn.reduce %c {kind = 0 : i32, dims = array<i64: 0>} : (tensor<6xf32>) -> tensor<f32>
    %4 = arith.addf %2, %3 : tensor<f32>
    return %4 : tensor<f32>
  }
}

// -----

// CHECK-LABEL: module attributes {train.recipe = {optimizer.kind = 1 : i64, optimizer.no_decay
//       CHECK: nn.sgd {{.*}} {decay = 5.000000e-01
//       CHECK: nn.sgd {{.*}} {decay = 0.000000e+00
module attributes {train.recipe = {optimizer.kind = 1 : i64, optimizer.weight_decay = 0.5 : f64, optimizer.no_decay = ["tied.*"]}} {
  func.func @forward(%x: tensor<2x3xf32> {train.name = "x", train.role = "input"}, %a: tensor<3xf32> {train.name = "a", train.role = "param"},
                     %b: tensor<3xf32> {train.name = "b", train.role = "param", train.aliases = ["tied.b"]}) -> (tensor<f32> {train.name = "loss"}) {
    %0 = arith.mulf %a, %b : tensor<3xf32>
    %s = nn.broadcast %0 {dims = array<i64: 1>} : (tensor<3xf32>) -> tensor<2x3xf32>
    %m = arith.mulf %s, %x : tensor<2x3xf32>
    %1 = nn.reduce %m {kind = 0 : i32, dims = array<i64: 0, 1>} : (tensor<2x3xf32>) -> tensor<f32>
    return %1 : tensor<f32>
  }
}
