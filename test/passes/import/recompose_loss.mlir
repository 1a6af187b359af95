// RUN: llmc-opt %s --import-recompose-loss --canonicalize --split-input-file | FileCheck %s

// Logits of a [V, C] matrix with a bias, merged before the loss: the hidden states keep their dimensions.
// CHECK-LABEL: func.func @head
//   CHECK-NOT:   nn.contract
//       CHECK:   nn.linear_cross_entropy %{{.+}}, %{{.+}}, %{{.+}}, %{{.+}} {ignore_index = -100 : i64} : (tensor<2x3x4xf32>, tensor<5x4xf32>, tensor<2x3xi64>, tensor<5xf32>)
func.func @head(%x: tensor<2x3x4xf32>, %w: tensor<5x4xf32>, %b: tensor<5xf32>, %labels: tensor<6xi64>) -> tensor<f32> {
  %l = nn.contract %x, %w {equation = "btc,vc->btv"} : (tensor<2x3x4xf32>, tensor<5x4xf32>) -> tensor<2x3x5xf32>
  %bb = nn.broadcast %b {dims = array<i64: 2>} : (tensor<5xf32>) -> tensor<2x3x5xf32>
  %lb = arith.addf %bb, %l : tensor<2x3x5xf32>
  %m = tensor.collapse_shape %lb [[0, 1], [2]] : tensor<2x3x5xf32> into tensor<6x5xf32>
  %sum, %n, %lse = nn.cross_entropy %m, %labels {ignore_index = -100 : i64} : (tensor<6x5xf32>, tensor<6xi64>) -> (tensor<f32>, tensor<f32>, tensor<6xf32>)
  %loss = arith.divf %sum, %n : tensor<f32>
  return %loss : tensor<f32>
}

// -----

// A [C, V] matrix; logits cut to all but the last position: the hidden states are cut instead.
// CHECK-LABEL: func.func @shifted
//       CHECK:   %[[X:.+]] = tensor.extract_slice %{{.+}}[0, 0, 0] [2, 2, 4] [1, 1, 1] : tensor<2x3x4xf32> to tensor<2x2x4xf32>
//       CHECK:   nn.linear_cross_entropy %[[X]], %{{.+}}, %{{.+}} {ignore_index = -100 : i64, vocabulary_last} : (tensor<2x2x4xf32>, tensor<4x5xf32>, tensor<2x2xi64>)
func.func @shifted(%x: tensor<2x3x4xf32>, %w: tensor<4x5xf32>, %labels: tensor<2x3xi64>) -> tensor<f32> {
  %l = nn.contract %w, %x {equation = "cv,btc->btv"} : (tensor<4x5xf32>, tensor<2x3x4xf32>) -> tensor<2x3x5xf32>
  %s = tensor.extract_slice %l[0, 0, 0] [2, 2, 5] [1, 1, 1] : tensor<2x3x5xf32> to tensor<2x2x5xf32>
  %m = tensor.collapse_shape %s [[0, 1], [2]] : tensor<2x2x5xf32> into tensor<4x5xf32>
  %t = tensor.extract_slice %labels[0, 1] [2, 2] [1, 1] : tensor<2x3xi64> to tensor<2x2xi64>
  %tm = tensor.collapse_shape %t [[0, 1]] : tensor<2x2xi64> into tensor<4xi64>
  %sum, %n, %lse = nn.cross_entropy %m, %tm {ignore_index = -100 : i64} : (tensor<4x5xf32>, tensor<4xi64>) -> (tensor<f32>, tensor<f32>, tensor<4xf32>)
  return %sum : tensor<f32>
}

// -----

// A loss over some of the classes, or over classes beside others, needs logits of its own.
// CHECK-LABEL: func.func @some_classes
//   CHECK-NOT:   nn.linear_cross_entropy
func.func @some_classes(%x: tensor<3x4xf32>, %w: tensor<6x4xf32>, %labels: tensor<3xi64>) -> (tensor<f32>, tensor<f32>) {
  %l = nn.contract %x, %w {equation = "bc,vc->bv"} : (tensor<3x4xf32>, tensor<6x4xf32>) -> tensor<3x6xf32>
  %s = tensor.extract_slice %l[0, 0] [3, 5] [1, 1] : tensor<3x6xf32> to tensor<3x5xf32>
  %sum, %n, %lse = nn.cross_entropy %s, %labels {ignore_index = -100 : i64} : (tensor<3x5xf32>, tensor<3xi64>) -> (tensor<f32>, tensor<f32>, tensor<3xf32>)
  %k = nn.contract %x, %w {equation = "bc,vc->bv"} : (tensor<3x4xf32>, tensor<6x4xf32>) -> tensor<3x6xf32>
  %e = tensor.extract_slice %k[0, 0] [3, 3] [1, 2] : tensor<3x6xf32> to tensor<3x3xf32>
  %sum2, %n2, %lse2 = nn.cross_entropy %e, %labels {ignore_index = -100 : i64} : (tensor<3x3xf32>, tensor<3xi64>) -> (tensor<f32>, tensor<f32>, tensor<3xf32>)
  return %sum, %sum2 : tensor<f32>, tensor<f32>
}

// -----

// Logits that are an output too are made anyway; a batched matrix is no head.
// CHECK-LABEL: func.func @stays
//   CHECK-NOT:   nn.linear_cross_entropy
func.func @stays(%x: tensor<2x4xf32>, %w: tensor<5x4xf32>, %wb: tensor<2x5x4xf32>, %labels: tensor<2xi64>) -> (tensor<f32>, tensor<2x5xf32>, tensor<f32>) {
  %l = nn.contract %x, %w {equation = "bc,vc->bv"} : (tensor<2x4xf32>, tensor<5x4xf32>) -> tensor<2x5xf32>
  %sum, %n, %lse = nn.cross_entropy %l, %labels {ignore_index = -100 : i64} : (tensor<2x5xf32>, tensor<2xi64>) -> (tensor<f32>, tensor<f32>, tensor<2xf32>)
  %k = nn.contract %x, %wb {equation = "bc,bvc->bv"} : (tensor<2x4xf32>, tensor<2x5x4xf32>) -> tensor<2x5xf32>
  %sum2, %n2, %lse2 = nn.cross_entropy %k, %labels {ignore_index = -100 : i64} : (tensor<2x5xf32>, tensor<2xi64>) -> (tensor<f32>, tensor<f32>, tensor<2xf32>)
  return %sum, %l, %sum2 : tensor<f32>, tensor<2x5xf32>, tensor<f32>
}

// -----

// -log_softmax(logits)[label], averaged.
// CHECK-LABEL: func.func @gathered
//       CHECK:   %[[SUM:.+]], %[[N:.+]], %{{.+}} = nn.cross_entropy %{{.+}}, %{{.+}} {ignore_index = -9223372036854775808 : i64}
//       CHECK:   %[[Y:.+]] = arith.divf %[[SUM]], %[[N]]
//       CHECK:   return %[[Y]]
func.func @gathered(%l: tensor<2x5xf32>, %labels: tensor<2xi64>) -> tensor<f32> {
  %p = nn.log_softmax %l : (tensor<2x5xf32>) -> tensor<2x5xf32>
  %i = tensor.expand_shape %labels [[0, 1]] output_shape [2, 1] : tensor<2xi64> into tensor<2x1xi64>
  %g = nn.gather_along %p, %i {axis = 1 : i64} : (tensor<2x5xf32>, tensor<2x1xi64>) -> tensor<2x1xf32>
  %m = nn.reduce %g {kind = 1 : i32, dims = array<i64: 0, 1>} : (tensor<2x1xf32>) -> tensor<f32>
  %y = arith.negf %m : tensor<f32>
  return %y : tensor<f32>
}

// -----

// The log-sum-exp minus the logit of the label, summed; with another tensor's logit it is something else.
// CHECK-LABEL: func.func @logsumexp
//       CHECK:   %[[SUM:.+]], %{{.+}}, %{{.+}} = nn.cross_entropy
//   CHECK-NOT:   nn.cross_entropy
//       CHECK:   return %[[SUM]], %{{.+}}
func.func @logsumexp(%l: tensor<2x5xf32>, %k: tensor<2x5xf32>, %labels: tensor<2xi64>) -> (tensor<f32>, tensor<f32>) {
  %top = nn.reduce %l {kind = 2 : i32, dims = array<i64: 1>} : (tensor<2x5xf32>) -> tensor<2xf32>
  %tb = nn.broadcast %top {dims = array<i64: 0>} : (tensor<2xf32>) -> tensor<2x5xf32>
  %d = arith.subf %l, %tb : tensor<2x5xf32>
  %e = math.exp %d : tensor<2x5xf32>
  %s = nn.reduce %e {kind = 0 : i32, dims = array<i64: 1>} : (tensor<2x5xf32>) -> tensor<2xf32>
  %ls = math.log %s : tensor<2xf32>
  %lse = arith.addf %ls, %top : tensor<2xf32>
  %i = tensor.expand_shape %labels [[0, 1]] output_shape [2, 1] : tensor<2xi64> into tensor<2x1xi64>
  %g = nn.gather_along %l, %i {axis = 1 : i64} : (tensor<2x5xf32>, tensor<2x1xi64>) -> tensor<2x1xf32>
  %gk = nn.gather_along %k, %i {axis = 1 : i64} : (tensor<2x5xf32>, tensor<2x1xi64>) -> tensor<2x1xf32>
  %le = tensor.expand_shape %lse [[0, 1]] output_shape [2, 1] : tensor<2xf32> into tensor<2x1xf32>
  %r = arith.subf %le, %g : tensor<2x1xf32>
  %y = nn.reduce %r {kind = 0 : i32, dims = array<i64: 0, 1>} : (tensor<2x1xf32>) -> tensor<f32>
  %rk = arith.subf %le, %gk : tensor<2x1xf32>
  %z = nn.reduce %rk {kind = 0 : i32, dims = array<i64: 0, 1>} : (tensor<2x1xf32>) -> tensor<f32>
  return %y, %z : tensor<f32>, tensor<f32>
}
