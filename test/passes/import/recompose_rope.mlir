// RUN: llmc-opt %s --import-recompose-rope --canonicalize --split-input-file | FileCheck %s

// Llama's form, heads first: constant tables become [T, R].
// CHECK-LABEL: func.func @half_split
//       CHECK:   %[[COS:.+]] = arith.constant dense<{{.+}}> : tensor<2x4xf32>
//       CHECK:   %[[X:.+]] = nn.transpose
//       CHECK:   nn.rope %[[X]], %{{.+}}, %{{.+}} : (tensor<1x2x3x4xf32>, tensor<2x4xf32>, tensor<2x4xf32>)
func.func @half_split(%x: tensor<1x3x2x4xf32>) -> tensor<1x3x2x4xf32> {
  %cos = arith.constant dense<[[[[1.0, 1.0, 1.0, 1.0], [0.5, 0.9, 0.5, 0.9]]]]> : tensor<1x1x2x4xf32>
  %sin = arith.constant dense<[[[[0.0, 0.0, 0.0, 0.0], [0.8, 0.4, 0.8, 0.4]]]]> : tensor<1x1x2x4xf32>
  %c = nn.broadcast %cos {dims = array<i64: 0, 1, 2, 3>} : (tensor<1x1x2x4xf32>) -> tensor<1x3x2x4xf32>
  %s = nn.broadcast %sin {dims = array<i64: 0, 1, 2, 3>} : (tensor<1x1x2x4xf32>) -> tensor<1x3x2x4xf32>
  %a = tensor.extract_slice %x[0, 0, 0, 0] [1, 3, 2, 2] [1, 1, 1, 1] : tensor<1x3x2x4xf32> to tensor<1x3x2x2xf32>
  %b = tensor.extract_slice %x[0, 0, 0, 2] [1, 3, 2, 2] [1, 1, 1, 1] : tensor<1x3x2x4xf32> to tensor<1x3x2x2xf32>
  %n = arith.negf %b : tensor<1x3x2x2xf32>
  %r = tensor.concat dim(3) %n, %a : (tensor<1x3x2x2xf32>, tensor<1x3x2x2xf32>) -> tensor<1x3x2x4xf32>
  %p = arith.mulf %x, %c : tensor<1x3x2x4xf32>
  %q = arith.mulf %r, %s : tensor<1x3x2x4xf32>
  %y = arith.addf %p, %q : tensor<1x3x2x4xf32>
  return %y : tensor<1x3x2x4xf32>
}

// -----

// Products of halves, with tables that differ between samples: joined [B, T, R].
// CHECK-LABEL: func.func @products
//   CHECK-DAG:   %[[COS:.+]] = tensor.concat dim(2) %{{.+}}, %{{.+}} : (tensor<2x5x2xf32>, tensor<2x5x2xf32>)
//       CHECK:   nn.rope %{{.+}}, %{{.+}}, %{{.+}} : (tensor<2x5x3x4xf32>, tensor<2x5x4xf32>, tensor<2x5x4xf32>)
func.func @products(%x: tensor<2x5x3x4xf32>, %cos: tensor<2x5x2xf32>, %sin: tensor<2x5x2xf32>) -> tensor<2x5x3x4xf32> {
  %c = nn.broadcast %cos {dims = array<i64: 0, 1, 3>} : (tensor<2x5x2xf32>) -> tensor<2x5x3x2xf32>
  %s = nn.broadcast %sin {dims = array<i64: 0, 1, 3>} : (tensor<2x5x2xf32>) -> tensor<2x5x3x2xf32>
  %a = tensor.extract_slice %x[0, 0, 0, 0] [2, 5, 3, 2] [1, 1, 1, 1] : tensor<2x5x3x4xf32> to tensor<2x5x3x2xf32>
  %b = tensor.extract_slice %x[0, 0, 0, 2] [2, 5, 3, 2] [1, 1, 1, 1] : tensor<2x5x3x4xf32> to tensor<2x5x3x2xf32>
  %ac = arith.mulf %a, %c : tensor<2x5x3x2xf32>
  %bs = arith.mulf %s, %b : tensor<2x5x3x2xf32>
  %u = arith.subf %ac, %bs : tensor<2x5x3x2xf32>
  %bc = arith.mulf %b, %c : tensor<2x5x3x2xf32>
  %as = arith.mulf %a, %s : tensor<2x5x3x2xf32>
  %v = arith.addf %as, %bc : tensor<2x5x3x2xf32>
  %y = tensor.concat dim(3) %u, %v : (tensor<2x5x3x2xf32>, tensor<2x5x3x2xf32>) -> tensor<2x5x3x4xf32>
  return %y : tensor<2x5x3x4xf32>
}

// -----

// Neighbours, stacked again: interleaved, each angle twice side by side.
// CHECK-LABEL: func.func @interleaved
//       CHECK:   nn.rope %{{.+}}, %{{.+}}, %{{.+}} {interleaved} : (tensor<2x5x3x4xf32>, tensor<5x4xf32>, tensor<5x4xf32>)
func.func @interleaved(%x: tensor<2x5x3x4xf32>, %cos: tensor<5x2xf32>, %sin: tensor<5x2xf32>) -> tensor<2x5x3x4xf32> {
  %c = nn.broadcast %cos {dims = array<i64: 1, 3>} : (tensor<5x2xf32>) -> tensor<2x5x3x2xf32>
  %s = nn.broadcast %sin {dims = array<i64: 1, 3>} : (tensor<5x2xf32>) -> tensor<2x5x3x2xf32>
  %a = tensor.extract_slice %x[0, 0, 0, 0] [2, 5, 3, 2] [1, 1, 1, 2] : tensor<2x5x3x4xf32> to tensor<2x5x3x2xf32>
  %e = tensor.expand_shape %x [[0], [1], [2], [3, 4]] output_shape [2, 5, 3, 2, 2] : tensor<2x5x3x4xf32> into tensor<2x5x3x2x2xf32>
  %o = tensor.extract_slice %e[0, 0, 0, 0, 1] [2, 5, 3, 2, 1] [1, 1, 1, 1, 1] : tensor<2x5x3x2x2xf32> to tensor<2x5x3x2x1xf32>
  %b = tensor.collapse_shape %o [[0], [1], [2], [3, 4]] : tensor<2x5x3x2x1xf32> into tensor<2x5x3x2xf32>
  %ac = arith.mulf %a, %c : tensor<2x5x3x2xf32>
  %bs = arith.mulf %b, %s : tensor<2x5x3x2xf32>
  %u = arith.subf %ac, %bs : tensor<2x5x3x2xf32>
  %bc = arith.mulf %b, %c : tensor<2x5x3x2xf32>
  %as = arith.mulf %a, %s : tensor<2x5x3x2xf32>
  %v = arith.addf %bc, %as : tensor<2x5x3x2xf32>
  %ue = tensor.expand_shape %u [[0], [1], [2], [3, 4]] output_shape [2, 5, 3, 2, 1] : tensor<2x5x3x2xf32> into tensor<2x5x3x2x1xf32>
  %ve = tensor.expand_shape %v [[0], [1], [2], [3, 4]] output_shape [2, 5, 3, 2, 1] : tensor<2x5x3x2xf32> into tensor<2x5x3x2x1xf32>
  %t = tensor.concat dim(4) %ue, %ve : (tensor<2x5x3x2x1xf32>, tensor<2x5x3x2x1xf32>) -> tensor<2x5x3x2x2xf32>
  %y = tensor.collapse_shape %t [[0], [1], [2], [3, 4]] : tensor<2x5x3x2x2xf32> into tensor<2x5x3x4xf32>
  return %y : tensor<2x5x3x4xf32>
}

// -----

// The first four of six entries are rotated; an imported op's tables lose the samples they repeat over.
// CHECK-LABEL: func.func @partial
//   CHECK-NOT:   tensor.concat
//       CHECK:   nn.rope %{{.+}}, %{{.+}}, %{{.+}} : (tensor<2x5x3x6xf32>, tensor<5x4xf32>, tensor<5x4xf32>)
func.func @partial(%x: tensor<2x5x3x6xf32>, %cos: tensor<1x5x4xf32>, %sin: tensor<5x4xf32>) -> tensor<2x5x3x6xf32> {
  %c = nn.broadcast %cos {dims = array<i64: 0, 1, 2>} : (tensor<1x5x4xf32>) -> tensor<2x5x4xf32>
  %s = nn.broadcast %sin {dims = array<i64: 1, 2>} : (tensor<5x4xf32>) -> tensor<2x5x4xf32>
  %a = tensor.extract_slice %x[0, 0, 0, 0] [2, 5, 3, 4] [1, 1, 1, 1] : tensor<2x5x3x6xf32> to tensor<2x5x3x4xf32>
  %b = tensor.extract_slice %x[0, 0, 0, 4] [2, 5, 3, 2] [1, 1, 1, 1] : tensor<2x5x3x6xf32> to tensor<2x5x3x2xf32>
  %r = nn.rope %a, %c, %s : (tensor<2x5x3x4xf32>, tensor<2x5x4xf32>, tensor<2x5x4xf32>) -> tensor<2x5x3x4xf32>
  %y = tensor.concat dim(3) %r, %b : (tensor<2x5x3x4xf32>, tensor<2x5x3x2xf32>) -> tensor<2x5x3x6xf32>
  return %y : tensor<2x5x3x6xf32>
}

// -----

// The wrong half negated, and tables that differ between heads, are no rotation that nn.rope knows.
// CHECK-LABEL: func.func @near
//   CHECK-NOT:   nn.rope
func.func @near(%x: tensor<2x5x3x4xf32>, %cos: tensor<5x4xf32>, %full: tensor<2x5x3x4xf32>) -> (tensor<2x5x3x4xf32>, tensor<2x5x3x4xf32>) {
  %c = nn.broadcast %cos {dims = array<i64: 1, 3>} : (tensor<5x4xf32>) -> tensor<2x5x3x4xf32>
  %a = tensor.extract_slice %x[0, 0, 0, 0] [2, 5, 3, 2] [1, 1, 1, 1] : tensor<2x5x3x4xf32> to tensor<2x5x3x2xf32>
  %b = tensor.extract_slice %x[0, 0, 0, 2] [2, 5, 3, 2] [1, 1, 1, 1] : tensor<2x5x3x4xf32> to tensor<2x5x3x2xf32>
  %na = arith.negf %a : tensor<2x5x3x2xf32>
  %nb = arith.negf %b : tensor<2x5x3x2xf32>
  %wrong = tensor.concat dim(3) %b, %na : (tensor<2x5x3x2xf32>, tensor<2x5x3x2xf32>) -> tensor<2x5x3x4xf32>
  %right = tensor.concat dim(3) %nb, %a : (tensor<2x5x3x2xf32>, tensor<2x5x3x2xf32>) -> tensor<2x5x3x4xf32>
  %p = arith.mulf %x, %c : tensor<2x5x3x4xf32>
  %q = arith.mulf %wrong, %c : tensor<2x5x3x4xf32>
  %y = arith.addf %p, %q : tensor<2x5x3x4xf32>
  %r = arith.mulf %right, %full : tensor<2x5x3x4xf32>
  %z = arith.addf %p, %r : tensor<2x5x3x4xf32>
  return %y, %z : tensor<2x5x3x4xf32>, tensor<2x5x3x4xf32>
}

// -----

// Halves of a part of x: the part is rotated.
// CHECK-LABEL: func.func @part
//       CHECK:   %[[X:.+]] = tensor.extract_slice %arg0[0, 0, 0, 2] [2, 5, 3, 4] [1, 1, 1, 1]
//       CHECK:   nn.rope %[[X]], %{{.+}}, %{{.+}} : (tensor<2x5x3x4xf32>, tensor<5x4xf32>, tensor<5x4xf32>)
func.func @part(%x: tensor<2x5x3x8xf32>, %cos: tensor<5x2xf32>, %sin: tensor<5x2xf32>) -> tensor<2x5x3x4xf32> {
  %c = nn.broadcast %cos {dims = array<i64: 1, 3>} : (tensor<5x2xf32>) -> tensor<2x5x3x2xf32>
  %s = nn.broadcast %sin {dims = array<i64: 1, 3>} : (tensor<5x2xf32>) -> tensor<2x5x3x2xf32>
  %a = tensor.extract_slice %x[0, 0, 0, 2] [2, 5, 3, 2] [1, 1, 1, 1] : tensor<2x5x3x8xf32> to tensor<2x5x3x2xf32>
  %b = tensor.extract_slice %x[0, 0, 0, 4] [2, 5, 3, 2] [1, 1, 1, 1] : tensor<2x5x3x8xf32> to tensor<2x5x3x2xf32>
  %ac = arith.mulf %a, %c : tensor<2x5x3x2xf32>
  %bs = arith.mulf %s, %b : tensor<2x5x3x2xf32>
  %u = arith.subf %ac, %bs : tensor<2x5x3x2xf32>
  %bc = arith.mulf %b, %c : tensor<2x5x3x2xf32>
  %as = arith.mulf %a, %s : tensor<2x5x3x2xf32>
  %v = arith.addf %as, %bc : tensor<2x5x3x2xf32>
  %y = tensor.concat dim(3) %u, %v : (tensor<2x5x3x2xf32>, tensor<2x5x3x2xf32>) -> tensor<2x5x3x4xf32>
  return %y : tensor<2x5x3x4xf32>
}

// -----

// Without heads; one of the tables differs between samples.
// CHECK-LABEL: func.func @three
//       CHECK:   %[[X:.+]] = tensor.expand_shape %arg0 {{.+}} output_shape [2, 5, 1, 4]
//       CHECK:   nn.rope %[[X]], %{{.+}}, %arg2 : (tensor<2x5x1x4xf32>, tensor<2x5x4xf32>, tensor<2x5x4xf32>)
func.func @three(%x: tensor<2x5x4xf32>, %cos: tensor<5x4xf32>, %sin: tensor<2x5x4xf32>) -> tensor<2x5x4xf32> {
  %c = nn.broadcast %cos {dims = array<i64: 1, 2>} : (tensor<5x4xf32>) -> tensor<2x5x4xf32>
  %a = tensor.extract_slice %x[0, 0, 0] [2, 5, 2] [1, 1, 1] : tensor<2x5x4xf32> to tensor<2x5x2xf32>
  %b = tensor.extract_slice %x[0, 0, 2] [2, 5, 2] [1, 1, 1] : tensor<2x5x4xf32> to tensor<2x5x2xf32>
  %n = arith.negf %b : tensor<2x5x2xf32>
  %r = tensor.concat dim(2) %n, %a : (tensor<2x5x2xf32>, tensor<2x5x2xf32>) -> tensor<2x5x4xf32>
  %p = arith.mulf %x, %c : tensor<2x5x4xf32>
  %q = arith.mulf %r, %sin : tensor<2x5x4xf32>
  %y = arith.addf %p, %q : tensor<2x5x4xf32>
  return %y : tensor<2x5x4xf32>
}

// -----

// A sequence of one: the other dimension is the heads'.
// CHECK-LABEL: func.func @one
//       CHECK:   nn.rope %arg0, %{{.+}}, %{{.+}} : (tensor<2x1x3x4xf32>, tensor<2x1x4xf32>, tensor<2x1x4xf32>)
func.func @one(%x: tensor<2x1x3x4xf32>, %cos: tensor<4xf32>, %sin: tensor<2x4xf32>) -> tensor<2x1x3x4xf32> {
  %c = nn.broadcast %cos {dims = array<i64: 3>} : (tensor<4xf32>) -> tensor<2x1x3x4xf32>
  %s = nn.broadcast %sin {dims = array<i64: 0, 3>} : (tensor<2x4xf32>) -> tensor<2x1x3x4xf32>
  %a = tensor.extract_slice %x[0, 0, 0, 0] [2, 1, 3, 2] [1, 1, 1, 1] : tensor<2x1x3x4xf32> to tensor<2x1x3x2xf32>
  %b = tensor.extract_slice %x[0, 0, 0, 2] [2, 1, 3, 2] [1, 1, 1, 1] : tensor<2x1x3x4xf32> to tensor<2x1x3x2xf32>
  %n = arith.negf %b : tensor<2x1x3x2xf32>
  %r = tensor.concat dim(3) %n, %a : (tensor<2x1x3x2xf32>, tensor<2x1x3x2xf32>) -> tensor<2x1x3x4xf32>
  %p = arith.mulf %x, %c : tensor<2x1x3x4xf32>
  %q = arith.mulf %r, %s : tensor<2x1x3x4xf32>
  %y = arith.addf %p, %q : tensor<2x1x3x4xf32>
  return %y : tensor<2x1x3x4xf32>
}

// -----

// Tables that vary along neither do not tell which one is the sequence.
// CHECK-LABEL: func.func @unknown
//   CHECK-NOT:   nn.rope
//       CHECK:   return
func.func @unknown(%x: tensor<2x2x3x4xf32>, %cos: tensor<4xf32>) -> tensor<2x2x3x4xf32> {
  %c = nn.broadcast %cos {dims = array<i64: 3>} : (tensor<4xf32>) -> tensor<2x2x3x4xf32>
  %a = tensor.extract_slice %x[0, 0, 0, 0] [2, 2, 3, 2] [1, 1, 1, 1] : tensor<2x2x3x4xf32> to tensor<2x2x3x2xf32>
  %b = tensor.extract_slice %x[0, 0, 0, 2] [2, 2, 3, 2] [1, 1, 1, 1] : tensor<2x2x3x4xf32> to tensor<2x2x3x2xf32>
  %n = arith.negf %b : tensor<2x2x3x2xf32>
  %r = tensor.concat dim(3) %n, %a : (tensor<2x2x3x2xf32>, tensor<2x2x3x2xf32>) -> tensor<2x2x3x4xf32>
  %p = arith.mulf %x, %c : tensor<2x2x3x4xf32>
  %q = arith.mulf %r, %c : tensor<2x2x3x4xf32>
  %y = arith.addf %p, %q : tensor<2x2x3x4xf32>
  return %y : tensor<2x2x3x4xf32>
}
