// RUN: llmc-opt %s --lowering-expand-loss=chunk-bytes=16384 | FileCheck %s

// A rank's part of the classes: chunk by chunk a maximum and a sum over ranks, then the gradient. Labels of the gradient say which
// rows count; those of the loss, which are the rank's own.
// CHECK-LABEL: func.func @parts
//       CHECK:   %[[L0:.+]] = nn.contract
//       CHECK:   %{{.+}}, %{{.+}}, %[[OWN0:.+]] = nn.cross_entropy %[[L0]]
//       CHECK:   %[[M0:.+]] = dist.all_reduce %[[OWN0]] {{.*}}kind = "max"{{.*}} : (tensor<64xf32>)
//       CHECK:   dist.all_reduce {{.*}}kind = "sum"{{.*}} : (tensor<64xf32>)
//       CHECK:   %[[LSE0:.+]] = arith.addf %[[M0]]
//       CHECK:   nn.cross_entropy_backward %[[L0]], %{{.+}}, %[[LSE0]]
//       CHECK:   nn.cross_entropy %
//       CHECK:   tensor.concat dim(0) %[[LSE0]], %{{.+}}
//   CHECK-NOT:   dist.all_reduce
//       CHECK:   return
module attributes {dist.mesh = #dist.mesh<tp = 2>} {
  func.func @parts(%x: tensor<128x8xf32>, %w: tensor<40x8xf32>, %own: tensor<128xi64>, %labels: tensor<128xi64>)
      -> (tensor<f32>, tensor<128xf32>, tensor<128x8xf32>, tensor<40x8xf32>) {
    %one = arith.constant dense<1.0> : tensor<f32>
    %sum, %count, %l = nn.linear_cross_entropy %x, %w, %own {ignore_index = -1 : i64, parts = 1 : i64}
        : (tensor<128x8xf32>, tensor<40x8xf32>, tensor<128xi64>) -> (tensor<f32>, tensor<f32>, tensor<1x128xf32>)
    %c = tensor.collapse_shape %l [[0, 1]] : tensor<1x128xf32> into tensor<128xf32>
    %m = dist.all_reduce %c {axes = ["tp"], kind = "max", reason = "m"} : (tensor<128xf32>) -> tensor<128xf32>
    %e = tensor.expand_shape %m [[0, 1]] output_shape [1, 128] : tensor<128xf32> into tensor<1x128xf32>
    %d = arith.subf %l, %e : tensor<1x128xf32>
    %p = math.exp %d : tensor<1x128xf32>
    %f = tensor.collapse_shape %p [[0, 1]] : tensor<1x128xf32> into tensor<128xf32>
    %s = dist.all_reduce %f {axes = ["tp"], kind = "sum", reason = "s"} : (tensor<128xf32>) -> tensor<128xf32>
    %log = math.log %s : tensor<128xf32>
    %lse = arith.addf %m, %log : tensor<128xf32>
    %dx, %dw = nn.linear_cross_entropy_backward %x, %w, %labels, %lse, %one {ignore_index = -1 : i64}
        : (tensor<128x8xf32>, tensor<40x8xf32>, tensor<128xi64>, tensor<128xf32>, tensor<f32>) -> (tensor<128x8xf32>, tensor<40x8xf32>)
    return %sum, %lse, %dx, %dw : tensor<f32>, tensor<128xf32>, tensor<128x8xf32>, tensor<40x8xf32>
  }
}
