// RUN: llmc-opt %s --import-keep-batch --canonicalize --cse --import-sink-transposes --import-recompose-norms --import-recompose-activations --import-recompose-rope --import-recompose-attention --import-sink-transposes --import-simplify-attention --import-recompose-loss --canonicalize --cse --split-input-file | FileCheck %s

// Fused projection seen as [B, T, 3, H, D] and turned, rotation of the first half of each head, scores divided, a causal
// where: cut from the projection's last dimension, and nothing is transposed.
// CHECK-LABEL: func.func @fused
//   CHECK-NOT:   nn.transpose
// CHECK-COUNT-3: tensor.extract_slice %{{.+}} [2, 3, 8] [1, 1, 1] : tensor<2x3x24xf32> to tensor<2x3x8xf32>
//   CHECK-NOT:   nn.transpose
// CHECK-COUNT-2: nn.rope %{{.+}}, %{{.+}}, %{{.+}} : (tensor<2x3x2x4xf32>, tensor<3x2xf32>, tensor<3x2xf32>)
//   CHECK-NOT:   nn.transpose
//       CHECK:   %[[Y:.+]], %{{.+}} = nn.attention %{{.+}}, %{{.+}}, %{{.+}} {causal = true, scale = 5.000000e-01 : f64}
//  CHECK-NEXT:   tensor.collapse_shape %[[Y]]
//  CHECK-NEXT:   return
func.func @fused(%x: tensor<2x3x24xf32> {train.name = "x", train.role = "input"}) -> tensor<2x3x8xf32> {
  %cos = arith.constant dense<[[1.0, 1.0], [0.5, 0.5], [-0.4, -0.4]]> : tensor<3x2xf32>
  %sin = arith.constant dense<[[0.0, 0.0], [0.8, 0.8], [0.9, 0.9]]> : tensor<3x2xf32>
  %m = arith.constant dense<[[true, false, false], [true, true, false], [true, true, true]]> : tensor<3x3xi1>
  %fill = arith.constant dense<-3.4e38> : tensor<2x2x3x3xf32>
  %root = arith.constant dense<2.0> : tensor<2x2x3x3xf32>
  %e = tensor.expand_shape %x [[0], [1], [2, 3, 4]] output_shape [2, 3, 3, 2, 4] : tensor<2x3x24xf32> into tensor<2x3x3x2x4xf32>
  %t = nn.transpose %e {permutation = array<i64: 2, 0, 3, 1, 4>} : (tensor<2x3x3x2x4xf32>) -> tensor<3x2x2x3x4xf32>
  %q5 = tensor.extract_slice %t[0, 0, 0, 0, 0] [1, 2, 2, 3, 4] [1, 1, 1, 1, 1] : tensor<3x2x2x3x4xf32> to tensor<1x2x2x3x4xf32>
  %k5 = tensor.extract_slice %t[1, 0, 0, 0, 0] [1, 2, 2, 3, 4] [1, 1, 1, 1, 1] : tensor<3x2x2x3x4xf32> to tensor<1x2x2x3x4xf32>
  %v5 = tensor.extract_slice %t[2, 0, 0, 0, 0] [1, 2, 2, 3, 4] [1, 1, 1, 1, 1] : tensor<3x2x2x3x4xf32> to tensor<1x2x2x3x4xf32>
  %q = tensor.collapse_shape %q5 [[0, 1], [2], [3], [4]] : tensor<1x2x2x3x4xf32> into tensor<2x2x3x4xf32>
  %k = tensor.collapse_shape %k5 [[0, 1], [2], [3], [4]] : tensor<1x2x2x3x4xf32> into tensor<2x2x3x4xf32>
  %v = tensor.collapse_shape %v5 [[0, 1], [2], [3], [4]] : tensor<1x2x2x3x4xf32> into tensor<2x2x3x4xf32>
  %c = nn.broadcast %cos {dims = array<i64: 2, 3>} : (tensor<3x2xf32>) -> tensor<2x2x3x2xf32>
  %s = nn.broadcast %sin {dims = array<i64: 2, 3>} : (tensor<3x2xf32>) -> tensor<2x2x3x2xf32>
  %qr = tensor.extract_slice %q[0, 0, 0, 0] [2, 2, 3, 2] [1, 1, 1, 1] : tensor<2x2x3x4xf32> to tensor<2x2x3x2xf32>
  %qp = tensor.extract_slice %q[0, 0, 0, 2] [2, 2, 3, 2] [1, 1, 1, 1] : tensor<2x2x3x4xf32> to tensor<2x2x3x2xf32>
  %qa = tensor.extract_slice %qr[0, 0, 0, 0] [2, 2, 3, 1] [1, 1, 1, 1] : tensor<2x2x3x2xf32> to tensor<2x2x3x1xf32>
  %qb = tensor.extract_slice %qr[0, 0, 0, 1] [2, 2, 3, 1] [1, 1, 1, 1] : tensor<2x2x3x2xf32> to tensor<2x2x3x1xf32>
  %qn = arith.negf %qb : tensor<2x2x3x1xf32>
  %qt = tensor.concat dim(3) %qn, %qa : (tensor<2x2x3x1xf32>, tensor<2x2x3x1xf32>) -> tensor<2x2x3x2xf32>
  %q1 = arith.mulf %qr, %c : tensor<2x2x3x2xf32>
  %q2 = arith.mulf %qt, %s : tensor<2x2x3x2xf32>
  %q3 = arith.addf %q1, %q2 : tensor<2x2x3x2xf32>
  %qq = tensor.concat dim(3) %q3, %qp : (tensor<2x2x3x2xf32>, tensor<2x2x3x2xf32>) -> tensor<2x2x3x4xf32>
  %kr = tensor.extract_slice %k[0, 0, 0, 0] [2, 2, 3, 2] [1, 1, 1, 1] : tensor<2x2x3x4xf32> to tensor<2x2x3x2xf32>
  %kp = tensor.extract_slice %k[0, 0, 0, 2] [2, 2, 3, 2] [1, 1, 1, 1] : tensor<2x2x3x4xf32> to tensor<2x2x3x2xf32>
  %ka = tensor.extract_slice %kr[0, 0, 0, 0] [2, 2, 3, 1] [1, 1, 1, 1] : tensor<2x2x3x2xf32> to tensor<2x2x3x1xf32>
  %kb = tensor.extract_slice %kr[0, 0, 0, 1] [2, 2, 3, 1] [1, 1, 1, 1] : tensor<2x2x3x2xf32> to tensor<2x2x3x1xf32>
  %kn = arith.negf %kb : tensor<2x2x3x1xf32>
  %kt = tensor.concat dim(3) %kn, %ka : (tensor<2x2x3x1xf32>, tensor<2x2x3x1xf32>) -> tensor<2x2x3x2xf32>
  %k1 = arith.mulf %kr, %c : tensor<2x2x3x2xf32>
  %k2 = arith.mulf %kt, %s : tensor<2x2x3x2xf32>
  %k3 = arith.addf %k1, %k2 : tensor<2x2x3x2xf32>
  %kk = tensor.concat dim(3) %k3, %kp : (tensor<2x2x3x2xf32>, tensor<2x2x3x2xf32>) -> tensor<2x2x3x4xf32>
  %kx = nn.transpose %kk {permutation = array<i64: 0, 1, 3, 2>} : (tensor<2x2x3x4xf32>) -> tensor<2x2x4x3xf32>
  %z = nn.contract %qq, %kx {equation = "abxz,abzy->abxy"} : (tensor<2x2x3x4xf32>, tensor<2x2x4x3xf32>) -> tensor<2x2x3x3xf32>
  %zs = arith.divf %z, %root : tensor<2x2x3x3xf32>
  %mb = nn.broadcast %m {dims = array<i64: 2, 3>} : (tensor<3x3xi1>) -> tensor<2x2x3x3xi1>
  %zm = arith.select %mb, %zs, %fill : tensor<2x2x3x3xi1>, tensor<2x2x3x3xf32>
  %p = nn.softmax %zm : (tensor<2x2x3x3xf32>) -> tensor<2x2x3x3xf32>
  %o = nn.contract %p, %v {equation = "abxz,abzy->abxy"} : (tensor<2x2x3x3xf32>, tensor<2x2x3x4xf32>) -> tensor<2x2x3x4xf32>
  %ot = nn.transpose %o {permutation = array<i64: 0, 2, 1, 3>} : (tensor<2x2x3x4xf32>) -> tensor<2x3x2x4xf32>
  %y = tensor.collapse_shape %ot [[0], [1], [2, 3]] : tensor<2x3x2x4xf32> into tensor<2x3x8xf32>
  return %y : tensor<2x3x8xf32>
}

// -----

// Batch and heads merged for batched matrix products, the queries scaled before: the batch comes out again.
// CHECK-LABEL: func.func @merged
//   CHECK-NOT:   nn.transpose
//       CHECK:   nn.attention %{{.+}}, %{{.+}}, %{{.+}} {causal = false, scale = 5.000000e-01 : f64} : (tensor<2x3x2x4xf32>, tensor<2x3x2x4xf32>, tensor<2x3x2x4xf32>)
//   CHECK-NOT:   nn.transpose
func.func @merged(%x: tensor<2x3x8xf32> {train.name = "x", train.role = "input"}) -> tensor<2x3x8xf32> {
  %half = arith.constant dense<0.5> : tensor<2x3x8xf32>
  %s = arith.mulf %x, %half : tensor<2x3x8xf32>
  %qe = tensor.expand_shape %s [[0], [1], [2, 3]] output_shape [2, 3, 2, 4] : tensor<2x3x8xf32> into tensor<2x3x2x4xf32>
  %qt = nn.transpose %qe {permutation = array<i64: 0, 2, 1, 3>} : (tensor<2x3x2x4xf32>) -> tensor<2x2x3x4xf32>
  %q = tensor.collapse_shape %qt [[0, 1], [2], [3]] : tensor<2x2x3x4xf32> into tensor<4x3x4xf32>
  %ke = tensor.expand_shape %x [[0], [1], [2, 3]] output_shape [2, 3, 2, 4] : tensor<2x3x8xf32> into tensor<2x3x2x4xf32>
  %kt = nn.transpose %ke {permutation = array<i64: 0, 2, 1, 3>} : (tensor<2x3x2x4xf32>) -> tensor<2x2x3x4xf32>
  %k = tensor.collapse_shape %kt [[0, 1], [2], [3]] : tensor<2x2x3x4xf32> into tensor<4x3x4xf32>
  %kx = nn.transpose %k {permutation = array<i64: 0, 2, 1>} : (tensor<4x3x4xf32>) -> tensor<4x4x3xf32>
  %z = nn.contract %q, %kx {equation = "axz,azy->axy"} : (tensor<4x3x4xf32>, tensor<4x4x3xf32>) -> tensor<4x3x3xf32>
  %p = nn.softmax %z : (tensor<4x3x3xf32>) -> tensor<4x3x3xf32>
  %o = nn.contract %p, %k {equation = "axz,azy->axy"} : (tensor<4x3x3xf32>, tensor<4x3x4xf32>) -> tensor<4x3x4xf32>
  %oe = tensor.expand_shape %o [[0, 1], [2], [3]] output_shape [2, 2, 3, 4] : tensor<4x3x4xf32> into tensor<2x2x3x4xf32>
  %ot = nn.transpose %oe {permutation = array<i64: 0, 2, 1, 3>} : (tensor<2x2x3x4xf32>) -> tensor<2x3x2x4xf32>
  %y = tensor.collapse_shape %ot [[0], [1], [2, 3]] : tensor<2x3x2x4xf32> into tensor<2x3x8xf32>
  return %y : tensor<2x3x8xf32>
}
