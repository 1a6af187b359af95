// RUN: llmc-opt %s --import-keep-batch --canonicalize --split-input-file | FileCheck %s

// The contraction keeps batch and sequence apart; both reshapes cancel.
// CHECK-LABEL: func.func @linear
//   CHECK-NOT:   tensor.collapse_shape
//       CHECK:   nn.contract %{{.+}}, %{{.+}} {equation = "{{.}}{{.}}b,bc->{{.}}{{.}}c"} : (tensor<8x6x4xf32>, tensor<4x5xf32>) -> tensor<8x6x5xf32>
//       CHECK:   return %{{.+}} : tensor<8x6x5xf32>
func.func @linear(%x: tensor<8x6x4xf32> {train.name = "x", train.role = "input"}, %w: tensor<4x5xf32> {train.name = "w", train.role = "param"}) -> tensor<8x6x5xf32> {
  %m = tensor.collapse_shape %x [[0, 1], [2]] : tensor<8x6x4xf32> into tensor<48x4xf32>
  %y = nn.contract %m, %w {equation = "ab,bc->ac"} : (tensor<48x4xf32>, tensor<4x5xf32>) -> tensor<48x5xf32>
  %e = tensor.expand_shape %y [[0, 1], [2]] output_shape [8, 6, 5] : tensor<48x5xf32> into tensor<8x6x5xf32>
  return %e : tensor<8x6x5xf32>
}

// -----

// The loss too, with its labels.
// CHECK-LABEL: func.func @loss
//   CHECK-NOT:   tensor.collapse_shape
//       CHECK:   nn.cross_entropy %{{.+}}, %{{.+}} {{.+}} : (tensor<8x6x4xf32>, tensor<8x6xi64>)
func.func @loss(%x: tensor<8x6x4xf32> {train.name = "x", train.role = "input"}, %labels: tensor<8x6xi64> {train.name = "labels", train.role = "input"}) -> tensor<f32> {
  %m = tensor.collapse_shape %x [[0, 1], [2]] : tensor<8x6x4xf32> into tensor<48x4xf32>
  %l = tensor.collapse_shape %labels [[0, 1]] : tensor<8x6xi64> into tensor<48xi64>
  %sum, %n, %lse = nn.cross_entropy %m, %l {ignore_index = -100 : i64} : (tensor<48x4xf32>, tensor<48xi64>) -> (tensor<f32>, tensor<f32>, tensor<48xf32>)
  return %sum : tensor<f32>
}

// -----

// Dimensions that attributes name follow.
// CHECK-LABEL: func.func @views
//   CHECK-NOT:   tensor.collapse_shape
//       CHECK:   %[[S:.+]] = arith.mulf %arg0, %{{.+}} : tensor<8x6x4xf32>
//   CHECK-DAG:   nn.reduce %[[S]] {dims = array<i64: 2>, kind = 0 : i32} : (tensor<8x6x4xf32>) -> tensor<8x6xf32>
//   CHECK-DAG:   nn.transpose %[[S]] {permutation = array<i64: 2, 0, 1>} : (tensor<8x6x4xf32>) -> tensor<4x8x6xf32>
//   CHECK-DAG:   tensor.concat dim(2) %[[S]], %arg0
//   CHECK-DAG:   %[[G:.+]] = nn.gather_along %[[S]], %arg1 {axis = 2 : i64}
//   CHECK-DAG:   nn.scatter_add_along %arg1, %[[G]] {axis = 2 : i64}
func.func @views(%x: tensor<8x6x4xf32> {train.name = "x", train.role = "input"}, %i: tensor<8x6x2xi64> {train.name = "i", train.role = "input"}, %w: tensor<4xf32> {train.name = "w", train.role = "param"}) -> (tensor<8x6xf32>, tensor<4x8x6xf32>, tensor<8x6x8xf32>, tensor<8x6x2xf32>, tensor<8x6x4xf32>) {
  %m = tensor.collapse_shape %x [[0, 1], [2]] : tensor<8x6x4xf32> into tensor<48x4xf32>
  %j = tensor.collapse_shape %i [[0, 1], [2]] : tensor<8x6x2xi64> into tensor<48x2xi64>
  %b = nn.broadcast %w {dims = array<i64: 1>} : (tensor<4xf32>) -> tensor<48x4xf32>
  %s = arith.mulf %m, %b : tensor<48x4xf32>
  %r = nn.reduce %s {kind = 0 : i32, dims = array<i64: 1>} : (tensor<48x4xf32>) -> tensor<48xf32>
  %t = nn.transpose %s {permutation = array<i64: 1, 0>} : (tensor<48x4xf32>) -> tensor<4x48xf32>
  %c = tensor.concat dim(1) %s, %m : (tensor<48x4xf32>, tensor<48x4xf32>) -> tensor<48x8xf32>
  %g = nn.gather_along %s, %j {axis = 1 : i64} : (tensor<48x4xf32>, tensor<48x2xi64>) -> tensor<48x2xf32>
  %a = nn.scatter_add_along %j, %g {axis = 1 : i64} : (tensor<48x2xi64>, tensor<48x2xf32>) -> tensor<48x4xf32>
  %re = tensor.expand_shape %r [[0, 1]] output_shape [8, 6] : tensor<48xf32> into tensor<8x6xf32>
  %te = tensor.expand_shape %t [[0], [1, 2]] output_shape [4, 8, 6] : tensor<4x48xf32> into tensor<4x8x6xf32>
  %ce = tensor.expand_shape %c [[0, 1], [2]] output_shape [8, 6, 8] : tensor<48x8xf32> into tensor<8x6x8xf32>
  %ge = tensor.expand_shape %g [[0, 1], [2]] output_shape [8, 6, 2] : tensor<48x2xf32> into tensor<8x6x2xf32>
  %ae = tensor.expand_shape %a [[0, 1], [2]] output_shape [8, 6, 4] : tensor<48x4xf32> into tensor<8x6x4xf32>
  return %re, %te, %ce, %ge, %ae : tensor<8x6xf32>, tensor<4x8x6xf32>, tensor<8x6x8xf32>, tensor<8x6x2xf32>, tensor<8x6x4xf32>
}
