// RUN: llmc-opt %s --sharding-annotate --split-input-file --verify-diagnostics | FileCheck %s

// Moments are cut from stage 1 on, along the first dimension that divides; gradients are left to the computation.
// CHECK: dist.mesh = #dist.mesh<dp = 2>
module attributes {train.recipe = {batch.micro = 4 : i64, mesh = [{name = "dp", value = 2 : i64}, {name = "tp", value = 1 : i64}], zero = 1 : i64}} {
  // CHECK-LABEL: func.func @accumulate
  // CHECK-SAME:  %arg0: tensor<4x3xf32> {dist.sharding = #dist.sharding<[{dp}, {}]>, train.name = "x"
  // CHECK-SAME:  %arg1: tensor<3x8xf32> {dist.sharding = #dist.sharding<[{}, {}]>, train.name = "w"
  // CHECK-SAME:  %arg2: tensor<3x8xf32> {train.name = "w", train.role = "gradient"}
  func.func @accumulate(%x: tensor<4x3xf32> {train.name = "x", train.role = "input"}, %w: tensor<3x8xf32> {train.name = "w", train.role = "param"},
                        %g: tensor<3x8xf32> {train.name = "w", train.role = "gradient"}) { return }
  // CHECK-LABEL: func.func @update
  // CHECK-SAME:  %arg0: tensor<3x8xf32> {dist.sharding = #dist.sharding<[{}, {dp}]>, train.name = "exp_avg.w"
  // CHECK-SAME:  %arg1: tensor<3xf32> {dist.sharding = #dist.sharding<[{}]>, train.name = "exp_avg.b"
  func.func @update(%m: tensor<3x8xf32> {train.name = "exp_avg.w", train.role = "moment"}, %b: tensor<3xf32> {train.name = "exp_avg.b", train.role = "moment"}) { return }
}

// -----

module attributes {train.recipe = {batch.micro = 3 : i64, mesh = [{name = "dp", value = 2 : i64}]}} {
  // expected-error@+1 {{axis dp of 2 ranks does not divide the 3 samples of a micro-batch, dimension 0 of input 'x'; make batch.micro a multiple of 2}}
  func.func @accumulate(%x: tensor<3x3xf32> {train.name = "x", train.role = "input"}) { return }
}

// -----

// A pair is found behind elementwise ops: the first weight is cut along what it makes, with its bias, the second along what it
// reads. Moments follow, with ZeRO besides.
// CHECK: dist.mesh = #dist.mesh<dp = 2, tp = 2>
module attributes {train.recipe = {batch.micro = 8 : i64, mesh = [{name = "dp", value = 2 : i64}, {name = "tp", value = 2 : i64}], zero = 1 : i64}} {
  // CHECK-LABEL: func.func @evaluate
  // CHECK-SAME:  %arg1: tensor<12x4xf32> {dist.sharding = #dist.sharding<[{tp}, {}]>
  // CHECK-SAME:  %arg2: tensor<12xf32> {dist.sharding = #dist.sharding<[{tp}]>
  // CHECK-SAME:  %arg3: tensor<4x12xf32> {dist.sharding = #dist.sharding<[{}, {tp}]>
  func.func @evaluate(%x: tensor<8x4xf32> {train.name = "x", train.role = "input"}, %w: tensor<12x4xf32> {train.name = "w", train.role = "param"},
                      %b: tensor<12xf32> {train.name = "b", train.role = "param"}, %v: tensor<4x12xf32> {train.name = "v", train.role = "param"}) {
    %y = nn.contract %x, %w {equation = "tk,nk->tn"} : (tensor<8x4xf32>, tensor<12x4xf32>) -> tensor<8x12xf32>
    %c = nn.broadcast %b {dims = array<i64: 1>} : (tensor<12xf32>) -> tensor<8x12xf32>
    %s = arith.addf %y, %c : tensor<8x12xf32>
    %g = nn.gelu %s {tanh = true} : (tensor<8x12xf32>) -> tensor<8x12xf32>
    %z = nn.contract %g, %v {equation = "tn,mn->tm"} : (tensor<8x12xf32>, tensor<4x12xf32>) -> tensor<8x4xf32>
    return
  }
  // CHECK-LABEL: func.func @update
  // CHECK-SAME:  %arg0: tensor<12x4xf32> {dist.sharding = #dist.sharding<[{tp, dp}, {}]>
  // CHECK-SAME:  %arg1: tensor<4x12xf32> {dist.sharding = #dist.sharding<[{dp}, {tp}]>
  func.func @update(%m: tensor<12x4xf32> {train.name = "exp_avg.w", train.role = "moment"}, %n: tensor<4x12xf32> {train.name = "exp_avg.v", train.role = "moment"}) { return }
}
