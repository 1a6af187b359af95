// RUN: llmc-opt %s --autodiff-expand --symbol-dce --split-input-file --verify-diagnostics | FileCheck %s

// The forward op is copied; its derivative uses the forward result, not a second exp.
// CHECK-LABEL: func.func @exp_sum
//       CHECK:   %[[Y:.+]] = math.exp %[[X:.+]] : tensor<4xf32>
//       CHECK:   %[[SEED:.+]] = arith.constant dense<1.0
//       CHECK:   %[[DY:.+]] = nn.broadcast %[[SEED]]
//       CHECK:   %[[DX:.+]] = arith.mulf %[[DY]], %[[Y]]
//       CHECK:   return %[[DX]]
func.func private @f(%x: tensor<4xf32>) -> tensor<f32> {
  %y = math.exp %x : tensor<4xf32>
  %s = nn.reduce %y {kind = 0 : i32, dims = array<i64: 0>} : (tensor<4xf32>) -> tensor<f32>
  return %s : tensor<f32>
}
func.func @exp_sum(%x: tensor<4xf32>) -> tensor<4xf32> {
  %loss, %dx = train.value_and_grad @f(%x) {wrt = array<i64: 0>} : (tensor<4xf32>) -> (tensor<f32>, tensor<4xf32>)
  return %dx : tensor<4xf32>
}

// -----

// The gradient of a linear layer's weight is a contraction to the weight's labels: no transposes.
// CHECK-LABEL: func.func @linear
//       CHECK:   nn.contract %{{.+}}, %{{.+}} {equation = "btn,btk->nk"}
//   CHECK-NOT:   nn.transpose
func.func private @f(%x: tensor<2x3x4xf32>, %w: tensor<5x4xf32>) -> tensor<f32> {
  %y = nn.contract %x, %w {equation = "btk,nk->btn"} : (tensor<2x3x4xf32>, tensor<5x4xf32>) -> tensor<2x3x5xf32>
  %s = nn.reduce %y {kind = 0 : i32, dims = array<i64: 0, 1, 2>} : (tensor<2x3x5xf32>) -> tensor<f32>
  return %s : tensor<f32>
}
func.func @linear(%x: tensor<2x3x4xf32>, %w: tensor<5x4xf32>) -> tensor<5x4xf32> {
  %loss, %dw = train.value_and_grad @f(%x, %w) {wrt = array<i64: 1>} : (tensor<2x3x4xf32>, tensor<5x4xf32>) -> (tensor<f32>, tensor<5x4xf32>)
  return %dw : tensor<5x4xf32>
}

// -----

// A parameter that the loss does not use has gradient zero.
// CHECK-LABEL: func.func @unused
//       CHECK:   %[[ZERO:.+]] = arith.constant dense<0.0{{.+}}> : tensor<3xf32>
//       CHECK:   return %[[ZERO]]
func.func private @f(%x: tensor<4xf32>, %w: tensor<3xf32>) -> tensor<f32> {
  %s = nn.reduce %x {kind = 0 : i32, dims = array<i64: 0>} : (tensor<4xf32>) -> tensor<f32>
  return %s : tensor<f32>
}
func.func @unused(%x: tensor<4xf32>, %w: tensor<3xf32>) -> tensor<3xf32> {
  %loss, %dw = train.value_and_grad @f(%x, %w) {wrt = array<i64: 1>} : (tensor<4xf32>, tensor<3xf32>) -> (tensor<f32>, tensor<3xf32>)
  return %dw : tensor<3xf32>
}

// -----

// Every op without a derivative is listed, not only the first.
func.func private @f(%x: tensor<4xf32>) -> tensor<f32> {
  // expected-note @below {{math.atan 1x  has no derivative}}
  %y = math.atan %x : tensor<4xf32>
  // expected-note @below {{math.cbrt 1x  has no derivative}}
  %z = math.cbrt %y : tensor<4xf32>
  %s = nn.reduce %z {kind = 0 : i32, dims = array<i64: 0>} : (tensor<4xf32>) -> tensor<f32>
  return %s : tensor<f32>
}
func.func @missing(%x: tensor<4xf32>) -> tensor<4xf32> {
  // expected-error @below {{2 operators of this model cannot be trained}}
  %loss, %dx = train.value_and_grad @f(%x) {wrt = array<i64: 0>} : (tensor<4xf32>) -> (tensor<f32>, tensor<4xf32>)
  return %dx : tensor<4xf32>
}
