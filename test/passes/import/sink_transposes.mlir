// RUN: llmc-opt %s --import-sink-transposes --split-input-file | FileCheck %s

// A linear layer's transposed weight goes into the equation.
// CHECK-LABEL: func.func @weight
//   CHECK-NOT:   nn.transpose
//       CHECK:   nn.contract %{{.+}}, %{{.+}} {equation = "btk,nk->btn"}
func.func @weight(%x: tensor<2x3x4xf32>, %w: tensor<5x4xf32>) -> tensor<2x3x5xf32> {
  %t = nn.transpose %w {permutation = array<i64: 1, 0>} : (tensor<5x4xf32>) -> tensor<4x5xf32>
  %y = nn.contract %x, %t {equation = "btk,kn->btn"} : (tensor<2x3x4xf32>, tensor<4x5xf32>) -> tensor<2x3x5xf32>
  return %y : tensor<2x3x5xf32>
}

// -----

// Heads first and back: through arithmetic with a repeated table, a splat, slices and a concatenation.
// CHECK-LABEL: func.func @heads
//   CHECK-NOT:   nn.transpose
//   CHECK-DAG:   nn.broadcast %{{.+}} {dims = array<i64: 1, 3>} : (tensor<3x4xf32>) -> tensor<2x3x5x4xf32>
//   CHECK-DAG:   tensor.concat dim(3) %{{.+}}, %{{.+}} : (tensor<2x3x5x2xf32>, tensor<2x3x5x2xf32>)
//       CHECK:   return %{{.+}} : tensor<2x3x5x4xf32>
func.func @heads(%x: tensor<2x3x5x4xf32>, %table: tensor<1x1x3x4xf32>) -> tensor<2x3x5x4xf32> {
  %half = arith.constant dense<0.5> : tensor<2x5x3x4xf32>
  %t = nn.transpose %x {permutation = array<i64: 0, 2, 1, 3>} : (tensor<2x3x5x4xf32>) -> tensor<2x5x3x4xf32>
  %c = nn.broadcast %table {dims = array<i64: 0, 1, 2, 3>} : (tensor<1x1x3x4xf32>) -> tensor<2x5x3x4xf32>
  %a = tensor.extract_slice %t[0, 0, 0, 0] [2, 5, 3, 2] [1, 1, 1, 1] : tensor<2x5x3x4xf32> to tensor<2x5x3x2xf32>
  %b = tensor.extract_slice %t[0, 0, 0, 2] [2, 5, 3, 2] [1, 1, 1, 1] : tensor<2x5x3x4xf32> to tensor<2x5x3x2xf32>
  %r = tensor.concat dim(3) %b, %a : (tensor<2x5x3x2xf32>, tensor<2x5x3x2xf32>) -> tensor<2x5x3x4xf32>
  %p = arith.mulf %t, %c : tensor<2x5x3x4xf32>
  %q = arith.mulf %r, %half : tensor<2x5x3x4xf32>
  %s = arith.addf %p, %q : tensor<2x5x3x4xf32>
  %y = nn.transpose %s {permutation = array<i64: 0, 2, 1, 3>} : (tensor<2x5x3x4xf32>) -> tensor<2x3x5x4xf32>
  return %y : tensor<2x3x5x4xf32>
}

// -----

// Repeated key heads, merged: head and repetition stay together below the sequence.
// CHECK-LABEL: func.func @repeated
//       CHECK:   %[[R:.+]] = nn.broadcast %{{.+}} {dims = array<i64: 0, 1, 2, 4>} : (tensor<2x3x4x6xf32>) -> tensor<2x3x4x5x6xf32>
//       CHECK:   %[[M:.+]] = tensor.collapse_shape %[[R]] {{.+}} into tensor<2x3x20x6xf32>
//       CHECK:   nn.contract %{{.+}}, %[[M]] {equation = "bhtd,bshd->bhts"}
func.func @repeated(%q: tensor<2x20x7x6xf32>, %k: tensor<2x3x4x6xf32>) -> tensor<2x20x7x3xf32> {
  %t = nn.transpose %k {permutation = array<i64: 0, 2, 1, 3>} : (tensor<2x3x4x6xf32>) -> tensor<2x4x3x6xf32>
  %e = tensor.expand_shape %t [[0], [1, 2], [3], [4]] output_shape [2, 4, 1, 3, 6] : tensor<2x4x3x6xf32> into tensor<2x4x1x3x6xf32>
  %r = nn.broadcast %e {dims = array<i64: 0, 1, 2, 3, 4>} : (tensor<2x4x1x3x6xf32>) -> tensor<2x4x5x3x6xf32>
  %m = tensor.collapse_shape %r [[0], [1, 2], [3], [4]] : tensor<2x4x5x3x6xf32> into tensor<2x20x3x6xf32>
  %s = nn.contract %q, %m {equation = "bhtd,bhsd->bhts"} : (tensor<2x20x7x6xf32>, tensor<2x20x3x6xf32>) -> tensor<2x20x7x3xf32>
  return %s : tensor<2x20x7x3xf32>
}

// -----

// Row-wise ops and reductions; the result's transpose goes into the contraction before.
// CHECK-LABEL: func.func @rows
//   CHECK-NOT:   nn.transpose
//       CHECK:   nn.contract %{{.+}}, %{{.+}} {equation = "abk,kn->abn"}
//       CHECK:   nn.softmax %{{.+}} : (tensor<2x3x5xf32>) -> tensor<2x3x5xf32>
//       CHECK:   nn.reduce %{{.+}} {dims = array<i64: 1, 2>
func.func @rows(%x: tensor<2x3x4xf32>, %w: tensor<4x5xf32>) -> tensor<2xf32> {
  %y = nn.contract %x, %w {equation = "abk,kn->abn"} : (tensor<2x3x4xf32>, tensor<4x5xf32>) -> tensor<2x3x5xf32>
  %t = nn.transpose %y {permutation = array<i64: 1, 0, 2>} : (tensor<2x3x5xf32>) -> tensor<3x2x5xf32>
  %s = nn.softmax %t : (tensor<3x2x5xf32>) -> tensor<3x2x5xf32>
  %e = math.exp %s : tensor<3x2x5xf32>
  %r = nn.reduce %e {kind = 0 : i32, dims = array<i64: 0, 2>} : (tensor<3x2x5xf32>) -> tensor<2xf32>
  return %r : tensor<2xf32>
}

// -----

// Two values in different orders do not meet: the transpose stays. Nor does dropout let it pass.
// CHECK-LABEL: func.func @stays
//       CHECK:   %[[T:.+]] = nn.transpose %{{.+}}
//       CHECK:   %[[D:.+]] = nn.dropout %[[T]]
//       CHECK:   arith.addf %[[D]], %{{.+}} : tensor<3x2xf32>
func.func @stays(%x: tensor<2x3xf32>, %y: tensor<3x2xf32>) -> tensor<3x2xf32> {
  %t = nn.transpose %x {permutation = array<i64: 1, 0>} : (tensor<2x3xf32>) -> tensor<3x2xf32>
  %d = nn.dropout %t {ratio = 0.0 : f64, seed = 1 : i64, id = 0 : i64} : (tensor<3x2xf32>) -> tensor<3x2xf32>
  %s = arith.addf %d, %y : tensor<3x2xf32>
  return %s : tensor<3x2xf32>
}

// -----

// Views: a merged bias repeats where it is needed, a fused part is cut before it is split into heads, moved ones are a reshape.
// CHECK-LABEL: func.func @views
//   CHECK-DAG:   nn.broadcast %{{.+}} {dims = array<i64: 2>} : (tensor<4xf32>) -> tensor<2x3x4xf32>
//       CHECK:   tensor.extract_slice %{{.+}}[0, 0, 8] [2, 3, 4] [1, 1, 1] : tensor<2x3x12xf32>
//   CHECK-NOT:   nn.transpose
func.func @views(%bias: tensor<4xf32>, %x: tensor<2x3x12xf32>) -> (tensor<2x3x4xf32>, tensor<2x1x3x4xf32>) {
  %r = nn.broadcast %bias {dims = array<i64: 1>} : (tensor<4xf32>) -> tensor<6x4xf32>
  %e = tensor.expand_shape %r [[0, 1], [2]] output_shape [2, 3, 4] : tensor<6x4xf32> into tensor<2x3x4xf32>
  %h = tensor.expand_shape %x [[0], [1], [2, 3]] output_shape [2, 3, 3, 4] : tensor<2x3x12xf32> into tensor<2x3x3x4xf32>
  %s = tensor.extract_slice %h[0, 0, 2, 0] [2, 3, 1, 4] [1, 1, 1, 1] : tensor<2x3x3x4xf32> to tensor<2x3x1x4xf32>
  %t = nn.transpose %s {permutation = array<i64: 0, 2, 1, 3>} : (tensor<2x3x1x4xf32>) -> tensor<2x1x3x4xf32>
  return %e, %t : tensor<2x3x4xf32>, tensor<2x1x3x4xf32>
}

// -----

// A part that is put into its place.
// CHECK-LABEL: func.func @patch
//   CHECK-NOT:   nn.transpose
//       CHECK:   tensor.insert_slice %arg1 into %arg0[0, 0, 0, 1] [2, 3, 5, 2] [1, 1, 1, 1] : tensor<2x3x5x2xf32> into tensor<2x3x5x4xf32>
func.func @patch(%x: tensor<2x3x5x4xf32>, %u: tensor<2x3x5x2xf32>) -> tensor<2x3x5x4xf32> {
  %t = nn.transpose %x {permutation = array<i64: 0, 2, 1, 3>} : (tensor<2x3x5x4xf32>) -> tensor<2x5x3x4xf32>
  %s = nn.transpose %u {permutation = array<i64: 0, 2, 1, 3>} : (tensor<2x3x5x2xf32>) -> tensor<2x5x3x2xf32>
  %i = tensor.insert_slice %s into %t[0, 0, 0, 1] [2, 5, 3, 2] [1, 1, 1, 1] : tensor<2x5x3x2xf32> into tensor<2x5x3x4xf32>
  %y = nn.transpose %i {permutation = array<i64: 0, 2, 1, 3>} : (tensor<2x5x3x4xf32>) -> tensor<2x3x5x4xf32>
  return %y : tensor<2x3x5x4xf32>
}

// -----

// What is repeated is transposed before, where it is small, or not at all.
// CHECK-LABEL: func.func @spread
//       CHECK:   %[[T:.+]] = nn.transpose %arg0 {permutation = array<i64: 1, 0>} : (tensor<3x4xf32>) -> tensor<4x3xf32>
//   CHECK-DAG:   %[[Y:.+]] = nn.broadcast %[[T]] {dims = array<i64: 0, 2>} : (tensor<4x3xf32>) -> tensor<4x2x3xf32>
//   CHECK-DAG:   %[[Z:.+]] = nn.broadcast %arg1 {dims = array<i64: 1>} : (tensor<5xf32>) -> tensor<2x5x3xf32>
//       CHECK:   return %[[Y]], %[[Z]]
func.func @spread(%x: tensor<3x4xf32>, %z: tensor<5xf32>) -> (tensor<4x2x3xf32>, tensor<2x5x3xf32>) {
  %b = nn.broadcast %x {dims = array<i64: 1, 2>} : (tensor<3x4xf32>) -> tensor<2x3x4xf32>
  %t = nn.transpose %b {permutation = array<i64: 2, 0, 1>} : (tensor<2x3x4xf32>) -> tensor<4x2x3xf32>
  %c = nn.broadcast %z {dims = array<i64: 2>} : (tensor<5xf32>) -> tensor<2x3x5xf32>
  %u = nn.transpose %c {permutation = array<i64: 0, 2, 1>} : (tensor<2x3x5xf32>) -> tensor<2x5x3xf32>
  return %t, %u : tensor<4x2x3xf32>, tensor<2x5x3xf32>
}
