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
