// RUN: llmc-opt %s --lowering-outline-kernels --split-input-file | FileCheck %s

// Query, key and value are read where they stand in the fused tensor; their gradients are written where they stand in its.
// CHECK-LABEL: func.func @fused
//  CHECK-NEXT:   %[[R:.+]] = call @[[K:attention_backward_.+]](%arg0, %arg1, %arg2, %arg3)
//  CHECK-NEXT:   return %[[R]]
//       CHECK: func.func private @[[K]]
//       CHECK:   tensor.extract_slice
//       CHECK:   tensor.extract_slice
//       CHECK:   tensor.extract_slice
//       CHECK:   nn.attention_backward
//       CHECK:   %[[C:.+]] = tensor.concat dim(2)
//       CHECK:   return %[[C]]
func.func @fused(%qkv: tensor<2x8x48xf32>, %y: tensor<2x8x2x8xf32>, %lse: tensor<2x2x8xf32>, %dy: tensor<2x8x2x8xf32>) -> tensor<2x8x48xf32> {
  %0 = tensor.extract_slice %qkv[0, 0, 0] [2, 8, 16] [1, 1, 1] : tensor<2x8x48xf32> to tensor<2x8x16xf32>
  %1 = tensor.extract_slice %qkv[0, 0, 16] [2, 8, 16] [1, 1, 1] : tensor<2x8x48xf32> to tensor<2x8x16xf32>
  %2 = tensor.extract_slice %qkv[0, 0, 32] [2, 8, 16] [1, 1, 1] : tensor<2x8x48xf32> to tensor<2x8x16xf32>
  %q = tensor.expand_shape %0 [[0], [1], [2, 3]] output_shape [2, 8, 2, 8] : tensor<2x8x16xf32> into tensor<2x8x2x8xf32>
  %k = tensor.expand_shape %1 [[0], [1], [2, 3]] output_shape [2, 8, 2, 8] : tensor<2x8x16xf32> into tensor<2x8x2x8xf32>
  %v = tensor.expand_shape %2 [[0], [1], [2, 3]] output_shape [2, 8, 2, 8] : tensor<2x8x16xf32> into tensor<2x8x2x8xf32>
  %dq, %dk, %dv = nn.attention_backward %q, %k, %v, %y, %lse, %dy {scale = 0.25 : f64, causal = true} : (tensor<2x8x2x8xf32>, tensor<2x8x2x8xf32>, tensor<2x8x2x8xf32>, tensor<2x8x2x8xf32>, tensor<2x2x8xf32>, tensor<2x8x2x8xf32>) -> (tensor<2x8x2x8xf32>, tensor<2x8x2x8xf32>, tensor<2x8x2x8xf32>)
  %dqf = tensor.collapse_shape %dq [[0], [1], [2, 3]] : tensor<2x8x2x8xf32> into tensor<2x8x16xf32>
  %dkf = tensor.collapse_shape %dk [[0], [1], [2, 3]] : tensor<2x8x2x8xf32> into tensor<2x8x16xf32>
  %dvf = tensor.collapse_shape %dv [[0], [1], [2, 3]] : tensor<2x8x2x8xf32> into tensor<2x8x16xf32>
  %g = tensor.concat dim(2) %dqf, %dkf, %dvf : (tensor<2x8x16xf32>, tensor<2x8x16xf32>, tensor<2x8x16xf32>) -> tensor<2x8x48xf32>
  return %g : tensor<2x8x48xf32>
}

// -----

// A gradient that something else needs too keeps the concatenation outside.
// CHECK-LABEL: func.func @used_twice
//       CHECK:   %[[G:.+]]:3 = call @attention_backward_
//       CHECK:   call @concat_{{.+}}(%[[G]]#0, %[[G]]#1, %[[G]]#2)
//       CHECK: func.func private @attention_backward_
//   CHECK-NOT:   tensor.concat
//       CHECK:   return
func.func @used_twice(%q: tensor<2x8x2x8xf32>, %y: tensor<2x8x2x8xf32>, %lse: tensor<2x2x8xf32>, %dy: tensor<2x8x2x8xf32>) -> (tensor<2x8x2x24xf32>, tensor<2x8x2x8xf32>) {
  %dq, %dk, %dv = nn.attention_backward %q, %q, %q, %y, %lse, %dy {scale = 0.25 : f64, causal = true} : (tensor<2x8x2x8xf32>, tensor<2x8x2x8xf32>, tensor<2x8x2x8xf32>, tensor<2x8x2x8xf32>, tensor<2x2x8xf32>, tensor<2x8x2x8xf32>) -> (tensor<2x8x2x8xf32>, tensor<2x8x2x8xf32>, tensor<2x8x2x8xf32>)
  %g = tensor.concat dim(3) %dq, %dk, %dv : (tensor<2x8x2x8xf32>, tensor<2x8x2x8xf32>, tensor<2x8x2x8xf32>) -> tensor<2x8x2x24xf32>
  return %g, %dq : tensor<2x8x2x24xf32>, tensor<2x8x2x8xf32>
}
