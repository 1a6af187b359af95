// RUN: llmc-opt %s --lowering-expand-loss=chunk-bytes=16384 --split-input-file | FileCheck %s

// Loss and gradients walk the rows together, 64 at a time; the weight's gradient is added up, the input's put side by side.
// CHECK-LABEL: func.func @together
//   CHECK-NOT:   nn.linear_cross_entropy
//       CHECK:   %[[X0:.+]] = tensor.extract_slice %{{.+}}[0, 0] [64, 8]
//       CHECK:   %[[L0:.+]] = nn.contract %[[X0]], %arg1 {equation = "tc,vc->tv"}
//       CHECK:   %{{.+}}, %{{.+}}, %[[LSE0:.+]] = nn.cross_entropy %[[L0]]
//       CHECK:   %[[D0:.+]] = nn.cross_entropy_backward %[[L0]], %{{.+}}, %[[LSE0]]
//       CHECK:   %[[DX0:.+]] = nn.contract %[[D0]], %arg1
//       CHECK:   %[[DW0:.+]] = nn.contract %[[D0]], %[[X0]]
//       CHECK:   tensor.extract_slice %{{.+}}[64, 0] [64, 8]
//       CHECK:   arith.addf %[[DW0]]
//       CHECK:   tensor.concat dim(0) %[[DX0]]
func.func @together(%x: tensor<2x64x8xf32>, %w: tensor<40x8xf32>, %labels: tensor<2x64xi64>)
    -> (tensor<f32>, tensor<f32>, tensor<2x64x8xf32>, tensor<40x8xf32>) {
  %one = arith.constant dense<1.0> : tensor<f32>
  %sum, %count, %lse = nn.linear_cross_entropy %x, %w, %labels {ignore_index = -100 : i64}
      : (tensor<2x64x8xf32>, tensor<40x8xf32>, tensor<2x64xi64>) -> (tensor<f32>, tensor<f32>, tensor<2x64xf32>)
  %dx, %dw = nn.linear_cross_entropy_backward %x, %w, %labels, %lse, %one {ignore_index = -100 : i64}
      : (tensor<2x64x8xf32>, tensor<40x8xf32>, tensor<2x64xi64>, tensor<2x64xf32>, tensor<f32>) -> (tensor<2x64x8xf32>, tensor<40x8xf32>)
  return %sum, %count, %dx, %dw : tensor<f32>, tensor<f32>, tensor<2x64x8xf32>, tensor<40x8xf32>
}

// -----

// One over the number of labels is known from the labels alone; small logits are one chunk.
// CHECK-LABEL: func.func @mean
//       CHECK:   %[[COUNTS:.+]] = arith.cmpi ne
//       CHECK:   nn.reduce
//       CHECK:   %[[COTANGENT:.+]] = arith.divf
//       CHECK:   nn.cross_entropy_backward {{.+}}, %[[COTANGENT]]
//   CHECK-NOT:   tensor.concat
func.func @mean(%x: tensor<64x8xf32>, %w: tensor<8x40xf32>, %labels: tensor<64xi64>) -> (tensor<f32>, tensor<64x8xf32>, tensor<8x40xf32>) {
  %one = arith.constant dense<1.0> : tensor<f32>
  %sum, %count, %lse = nn.linear_cross_entropy %x, %w, %labels {ignore_index = -100 : i64, vocabulary_last}
      : (tensor<64x8xf32>, tensor<8x40xf32>, tensor<64xi64>) -> (tensor<f32>, tensor<f32>, tensor<64xf32>)
  %loss = arith.divf %sum, %count : tensor<f32>
  %g = arith.divf %one, %count : tensor<f32>
  %dx, %dw = nn.linear_cross_entropy_backward %x, %w, %labels, %lse, %g {ignore_index = -100 : i64, vocabulary_last}
      : (tensor<64x8xf32>, tensor<8x40xf32>, tensor<64xi64>, tensor<64xf32>, tensor<f32>) -> (tensor<64x8xf32>, tensor<8x40xf32>)
  return %loss, %dx, %dw : tensor<f32>, tensor<64x8xf32>, tensor<8x40xf32>
}

// -----

// A cotangent that depends on the loss itself: the backward op makes its logits again.
// CHECK-LABEL: func.func @squared
//       CHECK:   %[[L:.+]] = nn.contract
//       CHECK:   nn.cross_entropy %[[L]]
//       CHECK:   %[[AGAIN:.+]] = nn.contract
//       CHECK:   nn.cross_entropy_backward %[[AGAIN]]
func.func @squared(%x: tensor<64x8xf32>, %w: tensor<40x8xf32>, %labels: tensor<64xi64>) -> (tensor<f32>, tensor<64x8xf32>, tensor<40x8xf32>) {
  %sum, %count, %lse = nn.linear_cross_entropy %x, %w, %labels {ignore_index = -100 : i64}
      : (tensor<64x8xf32>, tensor<40x8xf32>, tensor<64xi64>) -> (tensor<f32>, tensor<f32>, tensor<64xf32>)
  %loss = arith.mulf %sum, %sum : tensor<f32>
  %g = arith.addf %sum, %sum : tensor<f32>
  %dx, %dw = nn.linear_cross_entropy_backward %x, %w, %labels, %lse, %g {ignore_index = -100 : i64}
      : (tensor<64x8xf32>, tensor<40x8xf32>, tensor<64xi64>, tensor<64xf32>, tensor<f32>) -> (tensor<64x8xf32>, tensor<40x8xf32>)
  return %loss, %dx, %dw : tensor<f32>, tensor<64x8xf32>, tensor<40x8xf32>
}
