// RUN: llmc-opt %s --lowering-prepare-collectives | FileCheck %s

module attributes {dist.mesh = #dist.mesh<tp = 2>} {

// Columns are gathered as rows of parts, which a transpose puts side by side.
// CHECK-LABEL: func @gather_columns
//       CHECK:   %[[G:.+]] = dist.all_gather %arg0 {axes = ["tp"], dim = 0 : i64, reason = "r"} : (tensor<4x8xf32>) -> tensor<8x8xf32>
//       CHECK:   %[[P:.+]] = tensor.expand_shape %[[G]] {{.+}} into tensor<2x4x8xf32>
//       CHECK:   %[[T:.+]] = nn.transpose %[[P]] {{.*}}tensor<4x2x8xf32>
//       CHECK:   tensor.collapse_shape %[[T]] {{.+}} into tensor<4x16xf32>
func.func @gather_columns(%x: tensor<4x8xf32>) -> tensor<4x16xf32> {
  %0 = dist.all_gather %x {axes = ["tp"], dim = 1 : i64, reason = "r"} : (tensor<4x8xf32>) -> tensor<4x16xf32>
  return %0 : tensor<4x16xf32>
}

// Before a reduce_scatter the parts of all ranks are put one after the other.
// CHECK-LABEL: func @scatter_columns
//       CHECK:   %[[T:.+]] = nn.transpose {{.*}}tensor<2x4x8xf32>
//       CHECK:   %[[P:.+]] = tensor.collapse_shape %[[T]] {{.+}} into tensor<8x8xf32>
//       CHECK:   dist.reduce_scatter %[[P]] {axes = ["tp"], dim = 0 : i64, kind = "sum", reason = "r"} : (tensor<8x8xf32>) -> tensor<4x8xf32>
func.func @scatter_columns(%x: tensor<4x16xf32>) -> tensor<4x8xf32> {
  %0 = dist.reduce_scatter %x {axes = ["tp"], dim = 1 : i64, kind = "sum", reason = "r"} : (tensor<4x16xf32>) -> tensor<4x8xf32>
  return %0 : tensor<4x8xf32>
}

// Dimensions of size 1 in front of the parts change nothing about where they lie.
// CHECK-LABEL: func @outermost
//  CHECK-NEXT:   dist.all_gather %arg0 {axes = ["tp"], dim = 1 : i64, reason = "r"} : (tensor<1x8xf32>) -> tensor<1x16xf32>
func.func @outermost(%x: tensor<1x8xf32>) -> tensor<1x16xf32> {
  %0 = dist.all_gather %x {axes = ["tp"], dim = 1 : i64, reason = "r"} : (tensor<1x8xf32>) -> tensor<1x16xf32>
  return %0 : tensor<1x16xf32>
}
}
