// RUN: llmc-opt %s --sharding-propagate --split-input-file --verify-diagnostics | FileCheck %s

// The gradient is a partial sum over dp, and so is its accumulator: nothing moves in a micro-batch.
// CHECK-LABEL: func.func @accumulate
//  CHECK-SAME:   %arg2: tensor<6x4xf32> {dist.sharding = #dist.sharding<[{}, {}] sum {dp}>
//   CHECK-NOT:   dist.reshard
//       CHECK:   nn.contract {{.*}}dist.shardings = [#dist.sharding<[{dp}, {}]>]
//       CHECK:   nn.broadcast %arg3 {{.*}}dist.shardings = [#dist.sharding<[{dp}, {}]>]
//       CHECK:   nn.contract {{.*}}dist.shardings = [#dist.sharding<[{}, {}] sum {dp}>]
//       CHECK:   arith.addf {{.*}}dist.shardings = [#dist.sharding<[{}, {}] sum {dp}>]
module attributes {dist.mesh = #dist.mesh<dp = 2>} {
  func.func @accumulate(%x: tensor<8x4xf32> {dist.sharding = #dist.sharding<[{dp}, {}]>, train.name = "x", train.role = "input"},
                        %w: tensor<6x4xf32> {dist.sharding = #dist.sharding<[{}, {}]>, train.name = "w", train.role = "param"},
                        %g: tensor<6x4xf32> {train.name = "w", train.role = "gradient"},
                        %b: tensor<6xf32> {dist.sharding = #dist.sharding<[{}]>, train.name = "b", train.role = "param"})
      -> (tensor<6x4xf32> {train.name = "w", train.role = "gradient"}) {
    %c = nn.broadcast %b {dims = array<i64: 1>} : (tensor<6xf32>) -> tensor<8x6xf32>
    %y = nn.contract %x, %w {equation = "bc,nc->bn"} : (tensor<8x4xf32>, tensor<6x4xf32>) -> tensor<8x6xf32>
    %z = arith.addf %y, %c : tensor<8x6xf32>
    %d = nn.contract %z, %x {equation = "bn,bc->nc"} : (tensor<8x6xf32>, tensor<8x4xf32>) -> tensor<6x4xf32>
    %a = arith.addf %g, %d : tensor<6x4xf32>
    return %a : tensor<6x4xf32>
  }
}

// -----

// ZeRO-2: each micro-batch's gradient goes into the rank's part. ZeRO-3: the parameter is gathered in front of its first reader.
// CHECK-LABEL: func.func @accumulate
//       CHECK:   %[[S:.+]] = math.exp %arg0
//       CHECK:   %[[W:.+]] = dist.reshard %arg1 {{.*}}from = #dist.sharding<[{dp}, {}]>, reason = "parameter w", to = #dist.sharding<[{}, {}]>
//       CHECK:   nn.contract %[[S]], %[[W]]
//       CHECK:   %[[D:.+]] = nn.contract
//       CHECK:   %[[R:.+]] = dist.reshard %[[D]] {{.*}}from = #dist.sharding<[{}, {}] sum {dp}>{{.*}}to = #dist.sharding<[{dp}, {}]>
//       CHECK:   arith.addf %arg2, %[[R]] {{.*}}dist.shardings = [#dist.sharding<[{dp}, {}]>]
module attributes {dist.mesh = #dist.mesh<dp = 2>} {
  func.func @accumulate(%x: tensor<8x4xf32> {dist.sharding = #dist.sharding<[{dp}, {}]>, train.name = "x", train.role = "input"},
                        %w: tensor<6x4xf32> {dist.sharding = #dist.sharding<[{dp}, {}]>, train.name = "w", train.role = "param"},
                        %g: tensor<6x4xf32> {dist.sharding = #dist.sharding<[{dp}, {}]>, train.name = "w", train.role = "gradient"})
      -> (tensor<6x4xf32> {dist.sharding = #dist.sharding<[{dp}, {}]>, train.name = "w", train.role = "gradient"}) {
    %s = math.exp %x : tensor<8x4xf32>
    %y = nn.contract %s, %w {equation = "bc,nc->bn"} : (tensor<8x4xf32>, tensor<6x4xf32>) -> tensor<8x6xf32>
    %d = nn.contract %y, %s {equation = "bn,bc->nc"} : (tensor<8x6xf32>, tensor<8x4xf32>) -> tensor<6x4xf32>
    %a = arith.addf %g, %d : tensor<6x4xf32>
    return %a : tensor<6x4xf32>
  }
}

// -----

// Sums of squares over cut and whole gradients are two sums; each gradient is resharded once for all readers.
// CHECK-LABEL: func.func @update
//   CHECK-DAG:   %[[G:.+]] = dist.reshard %arg2 {{.*}}reason = "gradient of w", to = #dist.sharding<[{dp}]>
//   CHECK-DAG:   %[[H:.+]] = dist.reshard %arg3 {{.*}}reason = "gradient of b", to = #dist.sharding<[{}]>
//   CHECK-DAG:   nn.sum_of_squares %[[G]] {dist.shardings = [#dist.sharding<[] sum {dp}>]}
//   CHECK-DAG:   nn.sum_of_squares %[[H]] {dist.shardings = [#dist.sharding<[]>]}
module attributes {dist.mesh = #dist.mesh<dp = 2>} {
  func.func @update(%m: tensor<4xf32> {dist.sharding = #dist.sharding<[{dp}]>, train.name = "exp_avg.w", train.role = "moment"},
                    %n: tensor<3xf32> {dist.sharding = #dist.sharding<[{}]>, train.name = "exp_avg.b", train.role = "moment"},
                    %g: tensor<4xf32> {dist.sharding = #dist.sharding<[{}] sum {dp}>, train.name = "w", train.role = "gradient"},
                    %h: tensor<3xf32> {dist.sharding = #dist.sharding<[{}] sum {dp}>, train.name = "b", train.role = "gradient"})
      -> (tensor<f32> {dist.sharding = #dist.sharding<[]>, train.name = "norm", train.role = "output"},
          tensor<4xf32> {dist.sharding = #dist.sharding<[{dp}]>, train.name = "exp_avg.w", train.role = "moment"}) {
    %0 = nn.sum_of_squares %g, %h : (tensor<4xf32>, tensor<3xf32>) -> tensor<f32>
    %1 = arith.addf %m, %g : tensor<4xf32>
    return %0, %1 : tensor<f32>, tensor<4xf32>
  }
}

// -----

// Outputs are made whole, for every rank to have them. Rows of an embedding's gradient are wanted where the parameter has them.
// CHECK-LABEL: func.func @accumulate
//       CHECK:   %[[D:.+]] = nn.scatter_add {{.*}}dist.shardings = [#dist.sharding<[{tp}, {}] sum {dp}>]
//       CHECK:   %[[A:.+]] = arith.addf %{{.+}}, %[[D]] {dist.shardings = [#dist.sharding<[{tp}, {}] sum {dp}>]}
//       CHECK:   %[[S:.+]] = dist.reshard {{.*}}from = #dist.sharding<[] sum {dp}>, reason = "output loss", to = #dist.sharding<[]>
//       CHECK:   return %[[A]], %[[S]]
module attributes {dist.mesh = #dist.mesh<dp = 2, tp = 2>} {
  func.func @accumulate(%w: tensor<6x4xf32> {dist.sharding = #dist.sharding<[{tp}, {}]>, train.name = "w", train.role = "param"},
                        %ids: tensor<8xi64> {dist.sharding = #dist.sharding<[{dp}]>, train.name = "ids", train.role = "input"},
                        %dy: tensor<8x4xf32> {dist.sharding = #dist.sharding<[{dp}, {}]>, train.name = "dy", train.role = "input"},
                        %g: tensor<6x4xf32> {train.name = "w", train.role = "gradient"})
      -> (tensor<6x4xf32> {train.name = "w", train.role = "gradient"}, tensor<f32> {train.name = "loss", train.role = "output"}) {
    %d = nn.scatter_add %ids, %dy : (tensor<8xi64>, tensor<8x4xf32>) -> tensor<6x4xf32>
    %a = arith.addf %g, %d : tensor<6x4xf32>
    %s = nn.reduce %dy {kind = 0 : i32, dims = array<i64: 0, 1>} : (tensor<8x4xf32>) -> tensor<f32>
    return %a, %s : tensor<6x4xf32>, tensor<f32>
  }
}

// -----

// A partial sum stays one through a product with a whole weight: so keys of few heads, whose gradients are sums over the ranks
// that share them, need no message of their own.
// CHECK-LABEL: func.func @accumulate
//   CHECK-NOT:   dist.reshard
//       CHECK:   nn.contract {{.*}}dist.shardings = [#dist.sharding<[{}, {}] sum {tp.0, tp.1}>]
module attributes {dist.mesh = #dist.mesh<tp.0 = 2, tp.1 = 2>} {
  func.func @accumulate(%dk: tensor<8x4xf32> {dist.sharding = #dist.sharding<[{}, {tp.0}] sum {tp.1}>}, %w: tensor<4x6xf32> {dist.sharding = #dist.sharding<[{tp.0}, {}]>}) -> tensor<8x6xf32> {
    %dx = nn.contract %dk, %w {equation = "tn,nk->tk"} : (tensor<8x4xf32>, tensor<4x6xf32>) -> tensor<8x6xf32>
    return %dx : tensor<8x6xf32>
  }
}

// -----

// The model itself says how a value is cut: resharded for all its readers, those of the backward pass too. What is no value any more
// is said.
// CHECK-NOT: dist.wanted
// CHECK-LABEL: func.func @accumulate
//       CHECK:   %[[Y:.+]] = nn.contract {{.*}}dist.shardings = [#dist.sharding<[{dp}, {}]>]
//       CHECK:   %[[R:.+]] = dist.reshard %[[Y]] {{.*}}reason = "onnx sharding of y", to = #dist.sharding<[{}, {dp}]>
//       CHECK:   math.exp %[[R]]
//       CHECK:   nn.contract %[[R]],
// expected-remark@+1 {{`onnx_sharding`: 1 of 2 tensors that nodes make are no values of this program (they became parts of larger operations, or constants); how these are cut follows from parameters and inputs: z}}
module attributes {dist.mesh = #dist.mesh<dp = 2>, dist.wanted = [
    {node = "mul", output = 0 : i64, outputs = 1 : i64, shape = array<i64: 4, 6>, sharding = #dist.sharding<[{}, {dp}]>, tensor = "y"},
    {node = "gone", output = 0 : i64, outputs = 1 : i64, shape = array<i64: 4, 6>, sharding = #dist.sharding<[{dp}, {}]>, tensor = "z"}]} {
  func.func @accumulate(%x: tensor<8x4xf32> {dist.sharding = #dist.sharding<[{dp}, {}]>, train.name = "x", train.role = "input"},
                        %w: tensor<6x4xf32> {dist.sharding = #dist.sharding<[{}, {}]>, train.name = "w", train.role = "param"})
      -> (tensor<8x6xf32> {train.name = "o", train.role = "output"}, tensor<6x6xf32> {train.name = "w", train.role = "gradient"}) {
    %y = nn.contract %x, %w {equation = "bc,nc->bn"} : (tensor<8x4xf32>, tensor<6x4xf32>) -> tensor<8x6xf32> loc("mul")
    %z = math.exp %y : tensor<8x6xf32>
    %d = nn.contract %y, %y {equation = "bn,bc->nc"} : (tensor<8x6xf32>, tensor<8x6xf32>) -> tensor<6x6xf32> loc("mul")
    return %z, %d : tensor<8x6xf32>, tensor<6x6xf32>
  }
}
