// RUN: llmc-opt %s --import-resize-batch --split-input-file --verify-diagnostics | FileCheck %s

// Inputs, reshapes and a constant that is equal for all samples follow the micro-batch of the recipe.
// CHECK-LABEL: func.func @forward
//  CHECK-SAME:   tensor<2x3x4xf32>
//       CHECK:   arith.constant dense<{{.}}{{.}}1.000000e+00, 2.000000e+00, 3.000000e+00, 4.000000e+00], [1.000000e+00, 2.000000e+00, 3.000000e+00, 4.000000e+00]{{.}}> : tensor<2x4xf32>
//       CHECK:   tensor.collapse_shape {{.+}} : tensor<2x3x4xf32> into tensor<6x4xf32>
//       CHECK:   tensor.expand_shape {{.+}} output_shape [2, 3, 4] : tensor<6x4xf32> into tensor<2x3x4xf32>
//       CHECK:   arith.addf %{{.+}}, %{{.+}} : tensor<2x4xf32>
module attributes {train.recipe = {"batch.micro" = 2 : i64, "batch.step" = 2 : i64}} {
func.func @forward(%x: tensor<4x3x4xf32> {train.name = "x", train.role = "input"}) -> tensor<4x4xf32> {
  %c = arith.constant dense<[[1.0, 2.0, 3.0, 4.0], [1.0, 2.0, 3.0, 4.0], [1.0, 2.0, 3.0, 4.0], [1.0, 2.0, 3.0, 4.0]]> : tensor<4x4xf32>
  %m = tensor.collapse_shape %x [[0, 1], [2]] : tensor<4x3x4xf32> into tensor<12x4xf32>
  %t = math.tanh %m : tensor<12x4xf32>
  %e = tensor.expand_shape %t [[0, 1], [2]] output_shape [4, 3, 4] : tensor<12x4xf32> into tensor<4x3x4xf32>
  %s = nn.reduce %e {kind = 0 : i32, dims = array<i64: 1>} : (tensor<4x3x4xf32>) -> tensor<4x4xf32>
  %r = arith.addf %s, %c : tensor<4x4xf32>
  return %r : tensor<4x4xf32>
}
}

// -----

// A batch of one: what meets it without depending on it, here positions and a weight, is repeated for each sample.
// CHECK-LABEL: func.func @forward
//  CHECK-SAME:   %[[X:.+]]: tensor<2x3x4xf32> {{.*}}, %[[W:.+]]: tensor<1x3x4xf32>
//       CHECK:   %[[R:.+]] = nn.broadcast %[[W]] {dims = array<i64: 0, 1, 2>} : (tensor<1x3x4xf32>) -> tensor<2x3x4xf32>
//       CHECK:   %[[S:.+]] = arith.addf %[[X]], %[[R]] : tensor<2x3x4xf32>
//       CHECK:   tensor.collapse_shape %[[S]] {{.+}} : tensor<2x3x4xf32> into tensor<6x4xf32>
module attributes {train.recipe = {"batch.micro" = 2 : i64, "batch.step" = 2 : i64}} {
func.func @forward(%x: tensor<1x3x4xf32> {train.name = "x", train.role = "input"}, %w: tensor<1x3x4xf32> {train.name = "w", train.role = "param"}) -> tensor<3x4xf32> {
  %s = arith.addf %x, %w : tensor<1x3x4xf32>
  %m = tensor.collapse_shape %s [[0, 1], [2]] : tensor<1x3x4xf32> into tensor<3x4xf32>
  return %m : tensor<3x4xf32>
}
}

// -----

// What is repeated meets the batch in two other operands, and is repeated once.
// CHECK-LABEL: func.func @forward
//       CHECK:   %[[Z:.+]] = nn.broadcast %{{.+}} : (tensor<1x3xf32>) -> tensor<2x3xf32>
//       CHECK:   arith.select %{{.+}}, %[[Z]], %{{.+}} : tensor<2x3xi1>, tensor<2x3xf32>
module attributes {train.recipe = {"batch.micro" = 2 : i64, "batch.step" = 2 : i64}} {
func.func @forward(%x: tensor<1x3xf32> {train.name = "x", train.role = "input"}) -> tensor<1x3xf32> {
  %z = arith.constant dense<0.0> : tensor<1x3xf32>
  %n = arith.cmpf uno, %x, %x : tensor<1x3xf32>
  %s = arith.select %n, %z, %x : tensor<1x3xi1>, tensor<1x3xf32>
  return %s : tensor<1x3xf32>
}
}

// -----

// The batch size becomes a number once it is known.
// CHECK-LABEL: func.func @forward
//       CHECK:   %[[N:.+]] = arith.constant dense<2.000000e+00> : tensor<f32>
//   CHECK-NOT:   nn.batch_size
//       CHECK:   arith.divf %{{.+}}, %[[N]]
module attributes {train.recipe = {"batch.micro" = 2 : i64, "batch.step" = 2 : i64}} {
func.func @forward(%x: tensor<4x6xf32> {train.name = "x", train.role = "input"}) -> tensor<f32> {
  %s = nn.reduce %x {kind = 0 : i32, dims = array<i64: 0, 1>} : (tensor<4x6xf32>) -> tensor<f32>
  %n = nn.batch_size %x : (tensor<4x6xf32>) -> tensor<f32>
  %d = arith.divf %s, %n : tensor<f32>
  return %d : tensor<f32>
}
}

// -----

// The batch of one is merged with positions: what they share is repeated around them.
// CHECK-LABEL: func.func @forward
//       CHECK:   %[[M:.+]] = tensor.collapse_shape %{{.+}} : tensor<2x3x4xf32> into tensor<6x4xf32>
//       CHECK:   %[[E:.+]] = tensor.expand_shape %{{.+}} output_shape [1, 3, 4] : tensor<3x4xf32> into tensor<1x3x4xf32>
//       CHECK:   %[[R:.+]] = nn.broadcast %[[E]] {dims = array<i64: 0, 2, 3>} : (tensor<1x3x4xf32>) -> tensor<1x2x3x4xf32>
//       CHECK:   %[[W:.+]] = tensor.collapse_shape %[[R]] {{.+}} into tensor<6x4xf32>
//       CHECK:   arith.addf %[[M]], %[[W]] : tensor<6x4xf32>
module attributes {train.recipe = {"batch.micro" = 2 : i64, "batch.step" = 2 : i64}} {
func.func @forward(%x: tensor<1x3x4xf32> {train.name = "x", train.role = "input"}, %w: tensor<3x4xf32> {train.name = "w", train.role = "param"}) -> tensor<3x4xf32> {
  %m = tensor.collapse_shape %x [[0, 1], [2]] : tensor<1x3x4xf32> into tensor<3x4xf32>
  %s = arith.addf %m, %w : tensor<3x4xf32>
  return %s : tensor<3x4xf32>
}
}

// -----

// A constant that is an argument follows as one in the body does; integers too.
// CHECK-LABEL: func.func @forward
//  CHECK-SAME:   train.value = dense<{{.}}[5, 7], [5, 7]]> : tensor<2x2xi64>
//       CHECK:   arith.addi %{{.+}} : tensor<2x2xi64>
module attributes {train.recipe = {"batch.micro" = 2 : i64, "batch.step" = 2 : i64}} {
func.func @forward(%x: tensor<3x2xi64> {train.name = "x", train.role = "input"}, %c: tensor<3x2xi64> {train.name = "c", train.role = "constant", train.value = dense<[[5, 7], [5, 7], [5, 7]]> : tensor<3x2xi64>}) -> tensor<3x2xi64> {
  %s = arith.addi %x, %c : tensor<3x2xi64>
  return %s : tensor<3x2xi64>
}
}

// -----

// One that differs between the samples does not.

module attributes {train.recipe = {"batch.micro" = 2 : i64, "batch.step" = 2 : i64}} {
func.func @forward(%x: tensor<3x2xf32> {train.name = "x", train.role = "input"}) -> tensor<3x2xf32> {
  // expected-error@+1 {{a constant differs between the samples of the batch, so the batch size cannot be changed}}
  %c = arith.constant dense<[[5.0, 7.0], [5.0, 7.0], [5.0, 8.0]]> : tensor<3x2xf32>
  %s = arith.addf %x, %c : tensor<3x2xf32>
  return %s : tensor<3x2xf32>
}
}
