// RUN: llmc-opt %s --lowering-prepare-contractions | FileCheck %s

// Contracted dimensions in another order than in the other operand do not merge: one side is transposed.
// CHECK-LABEL: func.func @crossed
//       CHECK:   nn.transpose %{{.+}} {permutation = array<i64: 1, 2, 0>}
//       CHECK:   nn.contract
//  CHECK-SAME:   equation = "akc,nkc->an"
func.func @crossed(%a: tensor<2x3x4xf32>, %b: tensor<4x5x3xf32>) -> tensor<2x5xf32> {
  %y = nn.contract %a, %b {equation = "akc,cnk->an"} : (tensor<2x3x4xf32>, tensor<4x5x3xf32>) -> tensor<2x5xf32>
  return %y : tensor<2x5xf32>
}

// What a strided product can read stays.
// CHECK-LABEL: func.func @heads
//   CHECK-NOT:   nn.transpose
func.func @heads(%q: tensor<2x3x4x8xf32>, %k: tensor<2x5x4x8xf32>) -> tensor<2x4x3x5xf32> {
  %y = nn.contract %q, %k {equation = "bthd,bshd->bhts"} : (tensor<2x3x4x8xf32>, tensor<2x5x4x8xf32>) -> tensor<2x4x3x5xf32>
  return %y : tensor<2x4x3x5xf32>
}
