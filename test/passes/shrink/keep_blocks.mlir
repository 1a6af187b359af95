// RUN: llmc-opt %s --shrink-keep-blocks --split-input-file | FileCheck %s

// Of three equal blocks, each with a parameter of its own and all reading one constant, the first stays. The head is no block.
// CHECK-LABEL: train.left_out = ["1 of 3 equal blocks is kept, h.0.w; left out: h.1.w, h.2.w"]
// CHECK-LABEL: func.func @forward
//  CHECK-SAME:   %[[X:[a-z0-9]+]]: {{.*}}"x"{{.*}}, %[[E:[a-z0-9]+]]: {{.*}}"embed"{{.*}}, %[[A:[a-z0-9]+]]: {{.*}}"h.0.w"{{.*}}, %{{[a-z0-9]+}}: {{.*}}"mask"{{.*}}, %[[H:[a-z0-9]+]]: {{.*}}"head"
//   CHECK-NOT:   "h.1.w"
//       CHECK:   %[[Y:.+]] = arith.mulf
//       CHECK:   nn.contract %[[Y]], %[[A]]
//       CHECK:   %[[S:.+]] = arith.addf %[[Y]],
//  CHECK-NEXT:   nn.contract %[[S]], %[[H]]
module {
func.func @forward(%x: tensor<2x4xf32> {train.name = "x", train.role = "input"}, %e: tensor<2x4xf32> {train.name = "embed", train.role = "param"}, %a: tensor<4x4xf32> {train.name = "h.0.w", train.role = "param"}, %b: tensor<4x4xf32> {train.name = "h.1.w", train.role = "param"}, %c: tensor<4x4xf32> {train.name = "h.2.w", train.role = "param"}, %m: tensor<2x4xf32> {train.name = "mask", train.role = "constant", train.value = dense<2.0> : tensor<2x4xf32>}, %h: tensor<4x4xf32> {train.name = "head", train.role = "param"}) -> tensor<2x4xf32> {
  %y = arith.mulf %x, %e : tensor<2x4xf32>
  %a0 = nn.contract %y, %a {equation = "bk,kn->bn"} : (tensor<2x4xf32>, tensor<4x4xf32>) -> tensor<2x4xf32>
  %t0 = math.tanh %a0 : tensor<2x4xf32>
  %m0 = arith.mulf %t0, %m : tensor<2x4xf32>
  %y0 = arith.addf %y, %m0 : tensor<2x4xf32>
  %a1 = nn.contract %y0, %b {equation = "bk,kn->bn"} : (tensor<2x4xf32>, tensor<4x4xf32>) -> tensor<2x4xf32>
  %t1 = math.tanh %a1 : tensor<2x4xf32>
  %m1 = arith.mulf %t1, %m : tensor<2x4xf32>
  %y1 = arith.addf %y0, %m1 : tensor<2x4xf32>
  %a2 = nn.contract %y1, %c {equation = "bk,kn->bn"} : (tensor<2x4xf32>, tensor<4x4xf32>) -> tensor<2x4xf32>
  %t2 = math.tanh %a2 : tensor<2x4xf32>
  %m2 = arith.mulf %t2, %m : tensor<2x4xf32>
  %y2 = arith.addf %y1, %m2 : tensor<2x4xf32>
  %a3 = nn.contract %y2, %h {equation = "bk,kn->bn"} : (tensor<2x4xf32>, tensor<4x4xf32>) -> tensor<2x4xf32>
  %t3 = math.tanh %a3 : tensor<2x4xf32>
  return %t3 : tensor<2x4xf32>
}
}

// -----

// Parts alternate: the second part of a block is dense (tanh) in the first one and another (exp) in the others. One block of each
// kind stays, with both of its parts.
// CHECK-LABEL: train.left_out = ["1 of 3 equal blocks is kept, h.1; left out: h.2, h.3"]
// CHECK-LABEL: func.func @forward
//       CHECK:   math.sin
//       CHECK:   math.tanh
//       CHECK:   math.sin
//       CHECK:   math.exp
//   CHECK-NOT:   math.sin
module {
func.func @forward(%x: tensor<2x4xf32> {train.name = "x", train.role = "input"}, %e: tensor<2x4xf32> {train.name = "embed", train.role = "param"}, %p0: tensor<4x4xf32> {train.name = "h.0.p", train.role = "param"}, %q0: tensor<4x4xf32> {train.name = "h.0.q", train.role = "param"}, %p1: tensor<4x4xf32> {train.name = "h.1.p", train.role = "param"}, %q1: tensor<4x4xf32> {train.name = "h.1.q", train.role = "param"}, %p2: tensor<4x4xf32> {train.name = "h.2.p", train.role = "param"}, %q2: tensor<4x4xf32> {train.name = "h.2.q", train.role = "param"}, %p3: tensor<4x4xf32> {train.name = "h.3.p", train.role = "param"}, %q3: tensor<4x4xf32> {train.name = "h.3.q", train.role = "param"}, %h: tensor<4x4xf32> {train.name = "head", train.role = "param"}) -> tensor<2x4xf32> {
  %y = arith.mulf %x, %e : tensor<2x4xf32>
  %ap0 = nn.contract %y, %p0 {equation = "bk,kn->bn"} : (tensor<2x4xf32>, tensor<4x4xf32>) -> tensor<2x4xf32>
  %tp0 = math.sin %ap0 : tensor<2x4xf32>
  %yp0 = arith.addf %y, %tp0 : tensor<2x4xf32>
  %aq0 = nn.contract %yp0, %q0 {equation = "bk,kn->bn"} : (tensor<2x4xf32>, tensor<4x4xf32>) -> tensor<2x4xf32>
  %tq0 = math.tanh %aq0 : tensor<2x4xf32>
  %yq0 = arith.addf %yp0, %tq0 : tensor<2x4xf32>
  %ap1 = nn.contract %yq0, %p1 {equation = "bk,kn->bn"} : (tensor<2x4xf32>, tensor<4x4xf32>) -> tensor<2x4xf32>
  %tp1 = math.sin %ap1 : tensor<2x4xf32>
  %yp1 = arith.addf %yq0, %tp1 : tensor<2x4xf32>
  %aq1 = nn.contract %yp1, %q1 {equation = "bk,kn->bn"} : (tensor<2x4xf32>, tensor<4x4xf32>) -> tensor<2x4xf32>
  %tq1 = math.exp %aq1 : tensor<2x4xf32>
  %yq1 = arith.addf %yp1, %tq1 : tensor<2x4xf32>
  %ap2 = nn.contract %yq1, %p2 {equation = "bk,kn->bn"} : (tensor<2x4xf32>, tensor<4x4xf32>) -> tensor<2x4xf32>
  %tp2 = math.sin %ap2 : tensor<2x4xf32>
  %yp2 = arith.addf %yq1, %tp2 : tensor<2x4xf32>
  %aq2 = nn.contract %yp2, %q2 {equation = "bk,kn->bn"} : (tensor<2x4xf32>, tensor<4x4xf32>) -> tensor<2x4xf32>
  %tq2 = math.exp %aq2 : tensor<2x4xf32>
  %yq2 = arith.addf %yp2, %tq2 : tensor<2x4xf32>
  %ap3 = nn.contract %yq2, %p3 {equation = "bk,kn->bn"} : (tensor<2x4xf32>, tensor<4x4xf32>) -> tensor<2x4xf32>
  %tp3 = math.sin %ap3 : tensor<2x4xf32>
  %yp3 = arith.addf %yq2, %tp3 : tensor<2x4xf32>
  %aq3 = nn.contract %yp3, %q3 {equation = "bk,kn->bn"} : (tensor<2x4xf32>, tensor<4x4xf32>) -> tensor<2x4xf32>
  %tq3 = math.exp %aq3 : tensor<2x4xf32>
  %yq3 = arith.addf %yp3, %tq3 : tensor<2x4xf32>
  %ah = nn.contract %yq3, %h {equation = "bk,kn->bn"} : (tensor<2x4xf32>, tensor<4x4xf32>) -> tensor<2x4xf32>
  %th = math.tanh %ah : tensor<2x4xf32>
  return %th : tensor<2x4xf32>
}
}

// -----

// Blocks that differ: in an op, in a size, in what the recipe says of a parameter (weight decay), in that the parameter
// is one that another block reads too. All stay.
// CHECK-NOT: train.left_out
// CHECK-LABEL: func.func @forward
//  CHECK-SAME:   "h.0.w"{{.*}}"h.1.w"{{.*}}"h.2.w"{{.*}}"h.2.o"{{.*}}"h.3.bias"
module attributes {train.recipe = {optimizer.no_decay = ["*.bias"]}} {
func.func @forward(%x: tensor<2x4xf32> {train.name = "x", train.role = "input"}, %e: tensor<2x4xf32> {train.name = "embed", train.role = "param"}, %a: tensor<4x4xf32> {train.name = "h.0.w", train.role = "param"}, %b: tensor<4x4xf32> {train.name = "h.1.w", train.role = "param"}, %c: tensor<4x6xf32> {train.name = "h.2.w", train.role = "param"}, %o: tensor<6x4xf32> {train.name = "h.2.o", train.role = "param"}, %d: tensor<4x4xf32> {train.name = "h.3.bias", train.role = "param"}) -> tensor<2x4xf32> {
  %y = arith.mulf %x, %e : tensor<2x4xf32>
  %a0 = nn.contract %y, %a {equation = "bk,kn->bn"} : (tensor<2x4xf32>, tensor<4x4xf32>) -> tensor<2x4xf32>
  %t0 = math.tanh %a0 : tensor<2x4xf32>
  %y0 = arith.addf %y, %t0 : tensor<2x4xf32>
  %a1 = nn.contract %y0, %b {equation = "bk,kn->bn"} : (tensor<2x4xf32>, tensor<4x4xf32>) -> tensor<2x4xf32>
  %t1 = math.exp %a1 : tensor<2x4xf32>
  %y1 = arith.addf %y0, %t1 : tensor<2x4xf32>
  %a2 = nn.contract %y1, %c {equation = "bk,kn->bn"} : (tensor<2x4xf32>, tensor<4x6xf32>) -> tensor<2x6xf32>
  %t2 = math.tanh %a2 : tensor<2x6xf32>
  %o2 = nn.contract %t2, %o {equation = "bk,kn->bn"} : (tensor<2x6xf32>, tensor<6x4xf32>) -> tensor<2x4xf32>
  %y2 = arith.addf %y1, %o2 : tensor<2x4xf32>
  %a3 = nn.contract %y2, %d {equation = "bk,kn->bn"} : (tensor<2x4xf32>, tensor<4x4xf32>) -> tensor<2x4xf32>
  %t3 = math.tanh %a3 : tensor<2x4xf32>
  %y3 = arith.addf %y2, %t3 : tensor<2x4xf32>
  %a4 = nn.contract %y3, %a {equation = "bk,kn->bn"} : (tensor<2x4xf32>, tensor<4x4xf32>) -> tensor<2x4xf32>
  %t4 = math.tanh %a4 : tensor<2x4xf32>
  %y4 = arith.addf %y3, %t4 : tensor<2x4xf32>
  return %y4 : tensor<2x4xf32>
}
}

// -----

// Something else than the residual stream crosses the blocks: the first value is read again behind the last one, so nothing
// between is cut off.
// CHECK-NOT: train.left_out
// CHECK-LABEL: func.func @forward
//  CHECK-SAME:   "h.0.w"{{.*}}"h.1.w"
module {
func.func @forward(%x: tensor<2x4xf32> {train.name = "x", train.role = "input"}, %e: tensor<2x4xf32> {train.name = "embed", train.role = "param"}, %a: tensor<4x4xf32> {train.name = "h.0.w", train.role = "param"}, %b: tensor<4x4xf32> {train.name = "h.1.w", train.role = "param"}) -> tensor<2x4xf32> {
  %y = arith.mulf %x, %e : tensor<2x4xf32>
  %a0 = nn.contract %y, %a {equation = "bk,kn->bn"} : (tensor<2x4xf32>, tensor<4x4xf32>) -> tensor<2x4xf32>
  %t0 = math.tanh %a0 : tensor<2x4xf32>
  %y0 = arith.addf %y, %t0 : tensor<2x4xf32>
  %a1 = nn.contract %y0, %b {equation = "bk,kn->bn"} : (tensor<2x4xf32>, tensor<4x4xf32>) -> tensor<2x4xf32>
  %t1 = math.tanh %a1 : tensor<2x4xf32>
  %y1 = arith.addf %y0, %t1 : tensor<2x4xf32>
  %s = arith.mulf %y1, %y : tensor<2x4xf32>
  return %s : tensor<2x4xf32>
}
}

// -----

// A recipe's sharding of blocks that are gone goes too; it would name no parameter. @predict loses the same blocks.
// CHECK-LABEL: train.left_out = ["1 of 2 equal blocks is kept, h.0.w; left out: h.1.w"]
//  CHECK-SAME:   sharding = [{dims = {{.*}}, glob = "h.*.w", line = 1 : i64}]
// CHECK-LABEL: func.func @forward
//   CHECK-NOT:   "h.1.w"
// CHECK-LABEL: func.func @predict
//   CHECK-NOT:   "h.1.w"
module attributes {train.recipe = {sharding = [{dims = [[], ["tp"]], glob = "h.*.w", line = 1 : i64}, {dims = [[], ["tp"]], glob = "h.1.w", line = 2 : i64}]}} {
func.func @forward(%x: tensor<2x4xf32> {train.name = "x", train.role = "input"}, %e: tensor<2x4xf32> {train.name = "embed", train.role = "param"}, %a: tensor<4x4xf32> {train.name = "h.0.w", train.role = "param"}, %b: tensor<4x4xf32> {train.name = "h.1.w", train.role = "param"}) -> tensor<2x4xf32> {
  %y = arith.mulf %x, %e : tensor<2x4xf32>
  %a0 = nn.contract %y, %a {equation = "bk,kn->bn"} : (tensor<2x4xf32>, tensor<4x4xf32>) -> tensor<2x4xf32>
  %t0 = math.tanh %a0 : tensor<2x4xf32>
  %y0 = arith.addf %y, %t0 : tensor<2x4xf32>
  %a1 = nn.contract %y0, %b {equation = "bk,kn->bn"} : (tensor<2x4xf32>, tensor<4x4xf32>) -> tensor<2x4xf32>
  %t1 = math.tanh %a1 : tensor<2x4xf32>
  %y1 = arith.addf %y0, %t1 : tensor<2x4xf32>
  return %y1 : tensor<2x4xf32>
}
func.func @predict(%x: tensor<2x4xf32> {train.name = "x", train.role = "input"}, %e: tensor<2x4xf32> {train.name = "embed", train.role = "param"}, %a: tensor<4x4xf32> {train.name = "h.0.w", train.role = "param"}, %b: tensor<4x4xf32> {train.name = "h.1.w", train.role = "param"}) -> tensor<2x4xf32> {
  %y = arith.mulf %x, %e : tensor<2x4xf32>
  %a0 = nn.contract %y, %a {equation = "bk,kn->bn"} : (tensor<2x4xf32>, tensor<4x4xf32>) -> tensor<2x4xf32>
  %t0 = math.tanh %a0 : tensor<2x4xf32>
  %y0 = arith.addf %y, %t0 : tensor<2x4xf32>
  %a1 = nn.contract %y0, %b {equation = "bk,kn->bn"} : (tensor<2x4xf32>, tensor<4x4xf32>) -> tensor<2x4xf32>
  %t1 = math.tanh %a1 : tensor<2x4xf32>
  %y1 = arith.addf %y0, %t1 : tensor<2x4xf32>
  return %y1 : tensor<2x4xf32>
}
}
