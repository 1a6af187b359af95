// RUN: llmc-opt %s --split-input-file -lowering-select-library=cores=1 | FileCheck %s

// 512 rows are two tiles of 256, not 384 and 128: the narrow one would pack the other operand for little.
// CHECK: @rows
// CHECK-SAME: m = 512 : i64, n = 768 : i64, tile_m = 256 : i64, tile_n = 384 : i64
func.func private @rows(%x: tensor<512x64xf32>, %w: tensor<64x768xf32>) -> tensor<512x768xf32> attributes {plan.kernel = "gemm"} {
  %y = nn.contract %x, %w {equation = "tk,kn->tn"} : (tensor<512x64xf32>, tensor<64x768xf32>) -> tensor<512x768xf32>
  return %y : tensor<512x768xf32>
}

// -----

// Parts are whole panels of 32 as long as there are several; a small product is one tile.
// CHECK: @uneven
// CHECK-SAME: m = 500 : i64, n = 40 : i64, tile_m = 256 : i64, tile_n = 40 : i64
func.func private @uneven(%x: tensor<500x64xf32>, %w: tensor<64x40xf32>) -> tensor<500x40xf32> attributes {plan.kernel = "gemm"} {
  %y = nn.contract %x, %w {equation = "tk,kn->tn"} : (tensor<500x64xf32>, tensor<64x40xf32>) -> tensor<500x40xf32>
  return %y : tensor<500x40xf32>
}
