// RUN: llmc-opt %s --autodiff-expand --autodiff-drop-stop-gradients --symbol-dce --split-input-file | FileCheck %s

// d/dx of x * stop(x) is stop(x) = x, not 2 x; the operator itself is gone when gradients exist.
// CHECK-LABEL: func.func @through_one_factor
//  CHECK-SAME:   (%[[X:.+]]: tensor<4xf32>)
//   CHECK-NOT:   nn.stop_gradient
//       CHECK:   %[[DY:.+]] = nn.broadcast
//       CHECK:   %[[DX:.+]] = arith.mulf %[[DY]], %[[X]]
//       CHECK:   return %[[DX]] : tensor<4xf32>
func.func private @f(%x: tensor<4xf32>) -> tensor<f32> {
  %s = nn.stop_gradient %x : (tensor<4xf32>) -> tensor<4xf32>
  %y = arith.mulf %x, %s : tensor<4xf32>
  %l = nn.reduce %y {kind = 0 : i32, dims = array<i64: 0>} : (tensor<4xf32>) -> tensor<f32>
  return %l : tensor<f32>
}
func.func @through_one_factor(%x: tensor<4xf32>) -> tensor<4xf32> {
  %loss, %dx = train.value_and_grad @f(%x) {wrt = array<i64: 0>} : (tensor<4xf32>) -> (tensor<f32>, tensor<4xf32>)
  return %dx : tensor<4xf32>
}

// -----

// Nothing but what is stopped: the gradient is zero.
// CHECK-LABEL: func.func @stopped
//       CHECK:   %[[Z:.+]] = arith.constant dense<0.000000e+00> : tensor<4xf32>
//       CHECK:   return %[[Z]]
func.func private @g(%x: tensor<4xf32>) -> tensor<f32> {
  %s = nn.stop_gradient %x : (tensor<4xf32>) -> tensor<4xf32>
  %l = nn.reduce %s {kind = 0 : i32, dims = array<i64: 0>} : (tensor<4xf32>) -> tensor<f32>
  return %l : tensor<f32>
}
func.func @stopped(%x: tensor<4xf32>) -> tensor<4xf32> {
  %loss, %dx = train.value_and_grad @g(%x) {wrt = array<i64: 0>} : (tensor<4xf32>) -> (tensor<f32>, tensor<4xf32>)
  return %dx : tensor<4xf32>
}
