// RUN: llmc-opt %s --sharding-flatten-state --split-input-file | FileCheck %s
// RUN: llmc-opt %s --sharding-flatten-state --sharding-propagate --sharding-partition --split-input-file | FileCheck %s --check-prefix=LOCAL

// ZeRO-1 over four ranks: the moment is 8 elements in a row, and so are parameter and gradient where the optimizer reads them.
// What is a partial sum stays one: it is scattered as a row. The new parameter is gathered as one.
// CHECK-LABEL: func.func @update
// CHECK-SAME:  %[[W:[^:]+]]: tensor<3x2xf32> {
// CHECK-SAME:  %[[M:[^:]+]]: tensor<8xf32> {dist.sharding = #dist.sharding<[{dp}]>, {{.*}}train.shape = array<i64: 3, 2>, train.view = [{reshape = array<i64: 6>}, {pad = array<i64: 8>}]}
// CHECK-SAME:  %[[G:[^:]+]]: tensor<3x2xf32> {
// CHECK-DAG:   %[[GR:.+]] = nn.flatten_parts %[[G]]
// CHECK-DAG:   %[[WR:.+]] = nn.flatten_parts %[[W]]
// CHECK-DAG:   nn.sum_of_squares %[[GR]]
// CHECK:       %[[P:[^,]+]], %[[N:.+]] = nn.sgd %[[WR]], %[[GR]], %[[M]]
// CHECK:       %[[NEW:.+]] = nn.unflatten_parts %[[P]]
// CHECK:       return %[[NEW]], %[[N]]
// LOCAL-LABEL: func.func @update
// LOCAL-SAME:  tensor<2xf32> {dist.sharding = #dist.sharding<[{dp}]>
// LOCAL-NOT:   all_reduce
// LOCAL:       %[[R:.+]] = dist.reduce_scatter {{.*}}reason = "gradient of w"{{.*}}(tensor<8xf32>) -> tensor<2xf32>
// LOCAL:       nn.sum_of_squares %[[R]]
// LOCAL:       %[[P:[^,]+]], %{{.+}} = nn.sgd
// LOCAL:       dist.all_gather %[[P]] {{.*}}reason = "param w"{{.*}}(tensor<2xf32>) -> tensor<8xf32>
// LOCAL:       tensor.extract_slice {{.*}}tensor<8xf32> to tensor<6xf32>
module attributes {dist.mesh = #dist.mesh<dp = 4>, train.recipe = {zero = 1 : i64}} {
  func.func @update(%w: tensor<3x2xf32> {dist.sharding = #dist.sharding<[{}, {}]>, train.name = "w", train.role = "param"},
                    %m: tensor<3x2xf32> {dist.sharding = #dist.sharding<[{}, {}]>, train.name = "momentum.w", train.role = "moment"},
                    %g: tensor<3x2xf32> {dist.sharding = #dist.sharding<[{}, {}] sum {dp}>, train.name = "w", train.role = "gradient"},
                    %lr: tensor<f32> {dist.sharding = #dist.sharding<[]>, train.name = "lr", train.role = "scalar"})
      -> (tensor<3x2xf32> {train.name = "w", train.role = "param"}, tensor<3x2xf32> {train.name = "momentum.w", train.role = "moment"}, tensor<f32> {train.name = "norm", train.role = "output"}) {
    %s = nn.sum_of_squares %g : (tensor<3x2xf32>) -> tensor<f32>
    %p, %n = nn.sgd %w, %g, %m, %lr, %lr {decay = 0.0 : f64, momentum = 0.9 : f64, nesterov = false} : (tensor<3x2xf32>, tensor<3x2xf32>, tensor<3x2xf32>, tensor<f32>, tensor<f32>) -> (tensor<3x2xf32>, tensor<3x2xf32>)
    return %p, %n, %s : tensor<3x2xf32>, tensor<3x2xf32>, tensor<f32>
  }
}

// -----

// ZeRO-3, with a dimension over tensor ranks: a row for each. On one rank that is no transpose.
// CHECK-LABEL: func.func @evaluate
// CHECK-SAME:  %[[W:[^:]+]]: tensor<2x12xf32> {dist.sharding = #dist.sharding<[{tp}, {dp}]>, {{.*}}train.view = [{reshape = array<i64: 3, 2, 3>}, {permute = array<i64: 1, 0, 2>}, {reshape = array<i64: 2, 9>}, {pad = array<i64: 2, 12>}]}
// CHECK:       %[[T:.+]] = nn.unflatten_parts %[[W]] {dim = 1 : i64, parts = 2 : i64} : (tensor<2x12xf32>) -> tensor<3x6xf32>
// CHECK:       arith.negf %[[T]]
// LOCAL-LABEL: func.func @evaluate
// LOCAL-SAME:  tensor<1x3xf32>
// LOCAL:       dist.all_gather {{.*}}dim = 1 : i64{{.*}}(tensor<1x3xf32>) -> tensor<1x12xf32>
// LOCAL-NOT:   nn.transpose
// LOCAL:       return {{.*}}tensor<3x3xf32>
module attributes {dist.mesh = #dist.mesh<dp = 4, tp = 2>, train.recipe = {zero = 3 : i64}} {
  func.func @evaluate(%w: tensor<3x6xf32> {dist.sharding = #dist.sharding<[{}, {tp}]>, train.name = "w", train.role = "param"})
      -> (tensor<3x6xf32> {dist.sharding = #dist.sharding<[{}, {tp}]>, train.name = "y", train.role = "scalar"}) {
    %y = arith.negf %w : tensor<3x6xf32>
    return %y : tensor<3x6xf32>
  }
}

// -----

// ZeRO-2: gradients are added up as rows, each rank its part.
// CHECK-LABEL: func.func @accumulate
// CHECK-SAME:  %{{[^:]+}}: tensor<5xf32> {{.*}} %[[A:[^:]+]]: tensor<6xf32> {dist.sharding = #dist.sharding<[{dp}]>
// CHECK:       %[[G:.+]] = arith.negf
// CHECK:       %[[R:.+]] = nn.flatten_parts %[[G]]
// CHECK:       %[[S:.+]] = arith.addf %[[A]], %[[R]] : tensor<6xf32>
// CHECK:       return %[[S]]
module attributes {dist.mesh = #dist.mesh<dp = 2>, train.recipe = {zero = 2 : i64}} {
  func.func @accumulate(%w: tensor<5xf32> {dist.sharding = #dist.sharding<[{}]>, train.name = "w", train.role = "param"},
                        %a: tensor<5xf32> {train.name = "w", train.role = "gradient"}) -> (tensor<5xf32> {train.name = "w", train.role = "gradient"}) {
    %g = arith.negf %w : tensor<5xf32>
    %s = arith.addf %a, %g : tensor<5xf32>
    return %s : tensor<5xf32>
  }
}

// -----

// What all data ranks divide along some dimension stays as it is.
// CHECK-LABEL: func.func @evaluate
// CHECK-SAME:  tensor<3x8xf32> {dist.sharding = #dist.sharding<[{}, {dp}]>, train.name = "w"
module attributes {dist.mesh = #dist.mesh<dp = 4>, train.recipe = {zero = 3 : i64}} {
  func.func @evaluate(%w: tensor<3x8xf32> {dist.sharding = #dist.sharding<[{}, {dp}]>, train.name = "w", train.role = "param"}) { return }
}
