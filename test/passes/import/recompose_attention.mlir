// RUN: llmc-opt %s --import-recompose-attention --canonicalize --split-input-file | FileCheck %s

// Scaled scores, an added mask, rows of NaN guarded: the mask is constant and causal.
// CHECK-LABEL: func.func @causal
//       CHECK:   %[[Q:.+]] = nn.transpose %{{.+}} {permutation = array<i64: 0, 2, 1, 3>}
//       CHECK:   %[[Y:.+]], %{{.+}} = nn.attention %[[Q]], %{{.+}}, %{{.+}} {causal = true, scale = 2.500000e-01 : f64} : (tensor<2x2x3x4xf32>, tensor<2x2x3x4xf32>, tensor<2x2x3x5xf32>)
//       CHECK:   nn.transpose %[[Y]] {permutation = array<i64: 0, 2, 1, 3>}
func.func @causal(%q: tensor<2x3x2x4xf32>, %k: tensor<2x3x2x4xf32>, %v: tensor<2x3x2x5xf32>) -> tensor<2x3x2x5xf32> {
  %quarter = arith.constant dense<0.25> : tensor<2x3x2x2xf32>
  %zero = arith.constant dense<0.0> : tensor<2x3x2x2xf32>
  %m = arith.constant dense<[[0.0, -3.4e38], [0.0, 0.0]]> : tensor<2x2xf32>
  %mask = nn.broadcast %m {dims = array<i64: 2, 3>} : (tensor<2x2xf32>) -> tensor<2x3x2x2xf32>
  %s = nn.contract %q, %k {equation = "bhtd,bhsd->bhts"} : (tensor<2x3x2x4xf32>, tensor<2x3x2x4xf32>) -> tensor<2x3x2x2xf32>
  %c = arith.mulf %quarter, %s : tensor<2x3x2x2xf32>
  %a = arith.addf %c, %mask : tensor<2x3x2x2xf32>
  %p = nn.softmax %a : (tensor<2x3x2x2xf32>) -> tensor<2x3x2x2xf32>
  %n = arith.cmpf uno, %p, %p : tensor<2x3x2x2xf32>
  %g = arith.select %n, %zero, %p : tensor<2x3x2x2xi1>, tensor<2x3x2x2xf32>
  %y = nn.contract %g, %v {equation = "bhts,bhse->bhte"} : (tensor<2x3x2x2xf32>, tensor<2x3x2x5xf32>) -> tensor<2x3x2x5xf32>
  return %y : tensor<2x3x2x5xf32>
}

// -----

// Already [B, T, H, D], values first, a boolean padding mask [B, S]: kept, repeated over the queries only.
// CHECK-LABEL: func.func @padding
//   CHECK-NOT:   nn.transpose
//       CHECK:   %[[M:.+]] = nn.broadcast %{{.+}} {dims = array<i64: 0, 3>} : (tensor<2x3xi1>) -> tensor<2x1x2x3xi1>
//       CHECK:   nn.attention %{{.+}}, %{{.+}}, %{{.+}}, %[[M]] {causal = false, scale = 1.000000e+00 : f64} : (tensor<2x2x4x5xf32>, {{.+}} tensor<2x1x2x3xi1>)
func.func @padding(%q: tensor<2x2x4x5xf32>, %k: tensor<2x3x4x5xf32>, %v: tensor<2x3x4x5xf32>, %seen: tensor<2x3xi1>) -> tensor<2x2x4x5xf32> {
  %hidden = arith.constant dense<0xFF800000> : tensor<2x4x2x3xf32>
  %mask = nn.broadcast %seen {dims = array<i64: 0, 3>} : (tensor<2x3xi1>) -> tensor<2x4x2x3xi1>
  %s = nn.contract %k, %q {equation = "bshd,bthd->bhts"} : (tensor<2x3x4x5xf32>, tensor<2x2x4x5xf32>) -> tensor<2x4x2x3xf32>
  %a = arith.select %mask, %s, %hidden : tensor<2x4x2x3xi1>, tensor<2x4x2x3xf32>
  %p = nn.softmax %a : (tensor<2x4x2x3xf32>) -> tensor<2x4x2x3xf32>
  %y = nn.contract %v, %p {equation = "bshe,bhts->bthe"} : (tensor<2x3x4x5xf32>, tensor<2x4x2x3xf32>) -> tensor<2x2x4x5xf32>
  return %y : tensor<2x2x4x5xf32>
}

// -----

// A causal mask plus one per head (a bias by distance): the attribute and an operand. Groups stand in the equation.
// CHECK-LABEL: func.func @grouped
//       CHECK:   %[[M:.+]] = tensor.expand_shape %{{.+}} output_shape [1, 2, 2, 2]
//       CHECK:   nn.attention %{{.+}}, %{{.+}}, %{{.+}}, %[[M]] {causal = true, scale = 1.000000e+00 : f64} : (tensor<3x2x2x4xf32>, tensor<3x2x1x4xf32>, tensor<3x2x1x4xf32>, tensor<1x2x2x2xf32>)
func.func @grouped(%q: tensor<3x2x2x4xf32>, %k: tensor<3x2x4xf32>, %v: tensor<3x2x4xf32>, %bias: tensor<2x2x2xf32>) -> tensor<3x2x2x4xf32> {
  %m = arith.constant dense<[[true, false], [true, true]]> : tensor<2x2xi1>
  %hidden = arith.constant dense<0xFF800000> : tensor<3x2x2x2xf32>
  %mask = nn.broadcast %m {dims = array<i64: 2, 3>} : (tensor<2x2xi1>) -> tensor<3x2x2x2xi1>
  %bb = nn.broadcast %bias {dims = array<i64: 1, 2, 3>} : (tensor<2x2x2xf32>) -> tensor<3x2x2x2xf32>
  %s = nn.contract %q, %k {equation = "bhtd,bsd->bhts"} : (tensor<3x2x2x4xf32>, tensor<3x2x4xf32>) -> tensor<3x2x2x2xf32>
  %a = arith.addf %bb, %s : tensor<3x2x2x2xf32>
  %w = arith.select %mask, %a, %hidden : tensor<3x2x2x2xi1>, tensor<3x2x2x2xf32>
  %p = nn.softmax %w : (tensor<3x2x2x2xf32>) -> tensor<3x2x2x2xf32>
  %y = nn.contract %p, %v {equation = "bhts,bsd->bhtd"} : (tensor<3x2x2x2xf32>, tensor<3x2x4xf32>) -> tensor<3x2x2x4xf32>
  return %y : tensor<3x2x2x4xf32>
}

// -----

// A finite fill is an addend: a row that sees nothing spreads over all keys, as it did.
// CHECK-LABEL: func.func @finite
//       CHECK:   %[[M:.+]] = arith.select %{{.+}}, %{{.+}}, %{{.+}} : tensor<2x1x2x3xi1>, tensor<2x1x2x3xf32>
//       CHECK:   nn.attention %{{.+}}, %{{.+}}, %{{.+}}, %[[M]]
func.func @finite(%q: tensor<2x2x4xf32>, %k: tensor<2x3x4xf32>, %hide: tensor<2x2x3xi1>) -> tensor<2x2x4xf32> {
  %fill = arith.constant dense<-3.4e38> : tensor<2x2x3xf32>
  %s = nn.contract %q, %k {equation = "btd,bsd->bts"} : (tensor<2x2x4xf32>, tensor<2x3x4xf32>) -> tensor<2x2x3xf32>
  %a = arith.select %hide, %fill, %s : tensor<2x2x3xi1>, tensor<2x2x3xf32>
  %p = nn.softmax %a : (tensor<2x2x3xf32>) -> tensor<2x2x3xf32>
  %y = nn.contract %p, %k {equation = "bts,bsd->btd"} : (tensor<2x2x3xf32>, tensor<2x3x4xf32>) -> tensor<2x2x4xf32>
  return %y : tensor<2x2x4xf32>
}

// -----

// Weights that are an output too, a mask that is a parameter, a scale outside of the mask: all stay.
// CHECK-LABEL: func.func @stays
//   CHECK-NOT:   nn.attention
func.func @stays(%q: tensor<2x2x4xf32>, %k: tensor<2x3x4xf32>, %b: tensor<2x2x3xf32> {train.name = "bias", train.role = "param"},
                 %m: tensor<2x2x3xf32>) -> (tensor<2x2x4xf32>, tensor<2x2x3xf32>, tensor<2x2x4xf32>, tensor<2x2x4xf32>) {
  %two = arith.constant dense<2.0> : tensor<2x2x3xf32>
  %s = nn.contract %q, %k {equation = "btd,bsd->bts"} : (tensor<2x2x4xf32>, tensor<2x3x4xf32>) -> tensor<2x2x3xf32>
  %p = nn.softmax %s : (tensor<2x2x3xf32>) -> tensor<2x2x3xf32>
  %x = nn.contract %p, %k {equation = "bts,bsd->btd"} : (tensor<2x2x3xf32>, tensor<2x3x4xf32>) -> tensor<2x2x4xf32>
  %s2 = nn.contract %q, %k {equation = "btd,bsd->bts"} : (tensor<2x2x4xf32>, tensor<2x3x4xf32>) -> tensor<2x2x3xf32>
  %a2 = arith.addf %s2, %b : tensor<2x2x3xf32>
  %p2 = nn.softmax %a2 : (tensor<2x2x3xf32>) -> tensor<2x2x3xf32>
  %y = nn.contract %p2, %k {equation = "bts,bsd->btd"} : (tensor<2x2x3xf32>, tensor<2x3x4xf32>) -> tensor<2x2x4xf32>
  %s3 = nn.contract %q, %k {equation = "btd,bsd->bts"} : (tensor<2x2x4xf32>, tensor<2x3x4xf32>) -> tensor<2x2x3xf32>
  %a3 = arith.addf %s3, %m : tensor<2x2x3xf32>
  %c3 = arith.mulf %a3, %two : tensor<2x2x3xf32>
  %p3 = nn.softmax %c3 : (tensor<2x2x3xf32>) -> tensor<2x2x3xf32>
  %z = nn.contract %p3, %k {equation = "bts,bsd->btd"} : (tensor<2x2x3xf32>, tensor<2x3x4xf32>) -> tensor<2x2x4xf32>
  return %x, %p, %y, %z : tensor<2x2x4xf32>, tensor<2x2x3xf32>, tensor<2x2x4xf32>, tensor<2x2x4xf32>
}

// -----

// Merged heads of a single sample: they stay heads.
// CHECK-LABEL: func.func @merged
//       CHECK:   nn.attention %{{.+}}, %{{.+}}, %{{.+}} {{.+}} : (tensor<1x2x3x4xf32>, tensor<1x5x3x4xf32>, tensor<1x5x3x4xf32>)
func.func @merged(%q: tensor<1x3x2x4xf32> {train.name = "q", train.role = "input"}, %k: tensor<3x5x4xf32>) -> tensor<3x2x4xf32> {
  %m = tensor.collapse_shape %q [[0, 1], [2], [3]] : tensor<1x3x2x4xf32> into tensor<3x2x4xf32>
  %s = nn.contract %m, %k {equation = "htd,hsd->hts"} : (tensor<3x2x4xf32>, tensor<3x5x4xf32>) -> tensor<3x2x5xf32>
  %p = nn.softmax %s : (tensor<3x2x5xf32>) -> tensor<3x2x5xf32>
  %y = nn.contract %p, %k {equation = "hts,hsd->htd"} : (tensor<3x2x5xf32>, tensor<3x5x4xf32>) -> tensor<3x2x4xf32>
  return %y : tensor<3x2x4xf32>
}
