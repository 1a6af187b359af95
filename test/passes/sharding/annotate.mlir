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

// -----

// A moment of which four data ranks divide no dimension is left whole here.
// CHECK: dist.mesh = #dist.mesh<dp = 4>
module attributes {train.recipe = {batch.micro = 4 : i64, mesh = [{name = "dp", value = 4 : i64}], zero = 1 : i64}} {
  // CHECK-LABEL: func.func @update
  // CHECK-SAME:  %arg0: tensor<4x3xf32> {dist.sharding = #dist.sharding<[{dp}, {}]>
  // CHECK-SAME:  %arg1: tensor<5x6xf32> {dist.sharding = #dist.sharding<[{}, {}]>
  func.func @update(%x: tensor<4x3xf32> {train.name = "x", train.role = "input"}, %m: tensor<5x6xf32> {train.name = "exp_avg.w", train.role = "moment"}) { return }
}

// -----

// Hybrid: samples over both data axes, state over dp alone.
// CHECK: dist.mesh = #dist.mesh<dp_replicate = 2, dp = 2>
module attributes {train.recipe = {batch.micro = 8 : i64, mesh = [{name = "dp_replicate", value = 2 : i64}, {name = "dp", value = 2 : i64}], zero = 1 : i64}} {
  // CHECK-LABEL: func.func @update
  // CHECK-SAME:  %arg0: tensor<8x3xf32> {dist.sharding = #dist.sharding<[{dp_replicate, dp}, {}]>
  // CHECK-SAME:  %arg1: tensor<4x6xf32> {dist.sharding = #dist.sharding<[{dp}, {}]>
  func.func @update(%x: tensor<8x3xf32> {train.name = "x", train.role = "input"}, %m: tensor<4x6xf32> {train.name = "exp_avg.w", train.role = "moment"}) { return }
}

// -----

// The recipe's entries go over what is found, the last match first.
// CHECK: dist.mesh = #dist.mesh<dp = 2, tp = 2>
module attributes {train.recipe = {batch.micro = 8 : i64, mesh = [{name = "dp", value = 2 : i64}, {name = "tp", value = 2 : i64}],
    sharding = [{glob = "*", dims = [[], []], line = 3 : i64}, {glob = "*.up", dims = [[], ["tp", "dp"]], line = 4 : i64}]}} {
  // CHECK-LABEL: func.func @evaluate
  // CHECK-SAME:  %arg0: tensor<12x4xf32> {dist.sharding = #dist.sharding<[{}, {tp, dp}]>
  // CHECK-SAME:  %arg1: tensor<4x12xf32> {dist.sharding = #dist.sharding<[{}, {}]>
  func.func @evaluate(%w: tensor<12x4xf32> {train.name = "mlp.up", train.role = "param"}, %v: tensor<4x12xf32> {train.name = "mlp.down", train.role = "param"}) { return }
}

// -----

module attributes {train.recipe = {mesh = [{name = "tp", value = 4 : i64}], sharding = [{glob = "w", dims = [["tp"]], line = 3 : i64},
    {glob = "*", dims = [["tp"], []], line = 4 : i64}, {glob = "v", dims = [], line = 5 : i64}, {glob = "w", dims = [["tp", "tp"], []], line = 6 : i64}]}} {
  // expected-error@+4 {{recipe, line 3: `sharding.w`: parameter 'w' has 2 dimensions, 1 are given}}
  // expected-error@+3 {{recipe, line 4: `sharding.*`: dimension 0 of parameter 'w' has size 6, which the 4 ranks of its axes do not divide}}
  // expected-error@+2 {{recipe, line 5: `sharding.v`: no parameter has such a name}}
  // expected-error@+1 {{recipe, line 6: `sharding.w`: axis tp stands twice}}
  func.func @evaluate(%w: tensor<6x4xf32> {train.name = "w", train.role = "param"}) { return }
}

// -----

// Three heads over two tensor ranks: said, and computed whole on each.
// CHECK-LABEL: func.func @evaluate
// CHECK-SAME:  %arg1: tensor<6x6xf32> {dist.sharding = #dist.sharding<[{}, {}]>
module attributes {train.recipe = {mesh = [{name = "tp", value = 2 : i64}]}} {
  func.func @evaluate(%x: tensor<2x4x3x2xf32> {train.name = "x", train.role = "input"}, %w: tensor<6x6xf32> {train.name = "w", train.role = "param"}) {
    // expected-remark@+1 {{axis tp of 2 ranks does not divide the 3 heads: attention is cut into 1 parts, which several ranks compute; make tp a divisor of 3}}
    %y, %l = nn.attention %x, %x, %x {causal = true, scale = 0.5 : f64} : (tensor<2x4x3x2xf32>, tensor<2x4x3x2xf32>, tensor<2x4x3x2xf32>) -> (tensor<2x4x3x2xf32>, tensor<2x3x4xf32>)
    %c = tensor.collapse_shape %y [[0], [1], [2, 3]] : tensor<2x4x3x2xf32> into tensor<2x4x6xf32>
    %z = nn.contract %c, %w {equation = "btn,mn->btm"} : (tensor<2x4x6xf32>, tensor<6x6xf32>) -> tensor<2x4x6xf32>
    return
  }
}

// -----

// What the model says of itself: a weight over the major half of four tensor ranks, so that the axis becomes two; values are left to
// `sharding-propagate`. The recipe's own entry goes before it, with a note.
// CHECK: dist.mesh = #dist.mesh<tp.0 = 2, tp.1 = 2>, dist.wanted = [{node = "mul", output = 0 : i64, outputs = 1 : i64, shape = array<i64: 8, 12>, sharding = #dist.sharding<[{}, {tp.0, tp.1}]>, tensor = "y"}]
module attributes {train.recipe = {batch.micro = 8 : i64, mesh = [{name = "tp", value = 4 : i64}], onnx_sharding = "c",
    sharding = [{glob = "v", dims = [[], []], line = 3 : i64}],
    model_sharding = [{kind = 0 : i64, tensor = "w", node = "mul", dims = [[{axes = [{name = "tp", parts = 2 : i64}]}], [{}]]},
                      {kind = 0 : i64, tensor = "v", node = "mul", dims = [[{axes = [{name = "tp", parts = 4 : i64}]}], [{}]]},
                      {kind = 1 : i64, tensor = "x", node = "mul", dims = [[{}], [{}]]},
                      {kind = 2 : i64, tensor = "y", node = "mul", shape = [8, 12], dims = [[{}], [{axes = [{name = "tp", parts = 4 : i64}]}]]}]}} {
  // CHECK-LABEL: func.func @evaluate
  // CHECK-SAME:  %arg1: tensor<12x4xf32> {dist.sharding = #dist.sharding<[{tp.0}, {}]>
  // CHECK-SAME:  %arg2: tensor<12x4xf32> {dist.sharding = #dist.sharding<[{}, {}]>
  // expected-remark@+1 {{`sharding` of the recipe goes before the model's for parameter 'v'}}
  func.func @evaluate(%x: tensor<8x4xf32> {train.name = "x", train.role = "input"}, %w: tensor<12x4xf32> {train.name = "w", train.role = "param"},
                      %v: tensor<12x4xf32> {train.name = "v", train.role = "param"}) { return }
}

// -----

// All at once: parts that do not divide, parts within parts that are none here, an input that is not cut by its samples.
// expected-error@unknown {{`onnx_sharding`: tensor 'w': 2 parts do not divide a dimension of size 5}}
// expected-error@unknown {{`onnx_sharding`: tensor 'v': dimension 0 is not made of 2 parts in this program, so it cannot be cut within each of them}}
module attributes {train.recipe = {batch.micro = 8 : i64, mesh = [{name = "tp", value = 2 : i64}],
    model_sharding = [{kind = 0 : i64, tensor = "w", node = "a", dims = [[{axes = [{name = "tp", parts = 2 : i64}]}]]},
                      {kind = 0 : i64, tensor = "v", node = "b", dims = [[{size = 3 : i64}, {size = 4 : i64, axes = [{name = "tp", parts = 2 : i64}]}]]}]}} {
  func.func @evaluate(%w: tensor<5xf32> {train.name = "w", train.role = "param"}, %v: tensor<12xf32> {train.name = "v", train.role = "param"}) { return }
}

// -----

// expected-error@unknown {{`onnx_sharding`: input 'x' is cut otherwise than by its samples over data ranks, which cut dimension 0; say that, or nothing of it}}
module attributes {train.recipe = {batch.micro = 8 : i64, mesh = [{name = "dp", value = 2 : i64}],
    model_sharding = [{kind = 1 : i64, tensor = "x", node = "a", dims = [[{}], [{axes = [{name = "dp", parts = 2 : i64}]}]]}]}} {
  func.func @evaluate(%x: tensor<8x4xf32> {train.name = "x", train.role = "input"}) { return }
}

// -----

// Six tensor ranks cut the first pair, of 4, in two; the second, of 9, would need three parts of the same ranks, which do not go with two:
// it stays whole. The third, of 12, goes with two in all six.
// CHECK: dist.mesh = #dist.mesh<tp
module attributes {train.recipe = {batch.micro = 8 : i64, mesh = [{name = "tp", value = 6 : i64}]}} {
  // CHECK-LABEL: func.func @evaluate
  // CHECK-SAME:  %arg1: tensor<4x5xf32> {dist.sharding = #dist.sharding<[{[[MAJOR:[a-z0-9_.:]+]]}, {}]>
  // CHECK-SAME:  %arg2: tensor<5x4xf32> {dist.sharding = #dist.sharding<[{}, {[[MAJOR]]}]>
  // CHECK-SAME:  %arg3: tensor<9x5xf32> {dist.sharding = #dist.sharding<[{}, {}]>
  // CHECK-SAME:  %arg4: tensor<5x9xf32> {dist.sharding = #dist.sharding<[{}, {}]>
  // CHECK-SAME:  %arg5: tensor<12x5xf32> {dist.sharding = #dist.sharding<[{[[MAJOR]], {{[a-z0-9_.:]+}}}, {}]>
  func.func @evaluate(%x: tensor<8x5xf32> {train.name = "x", train.role = "input"}, %a: tensor<4x5xf32> {train.name = "a", train.role = "param"},
                      %b: tensor<5x4xf32> {train.name = "b", train.role = "param"}, %c: tensor<9x5xf32> {train.name = "c", train.role = "param"},
                      %d: tensor<5x9xf32> {train.name = "d", train.role = "param"}, %e: tensor<12x5xf32> {train.name = "e", train.role = "param"},
                      %f: tensor<5x12xf32> {train.name = "f", train.role = "param"}) {
    %1 = nn.contract %x, %a {equation = "tk,nk->tn"} : (tensor<8x5xf32>, tensor<4x5xf32>) -> tensor<8x4xf32>
    %2 = nn.contract %1, %b {equation = "tn,mn->tm"} : (tensor<8x4xf32>, tensor<5x4xf32>) -> tensor<8x5xf32>
    %3 = nn.contract %2, %c {equation = "tk,nk->tn"} : (tensor<8x5xf32>, tensor<9x5xf32>) -> tensor<8x9xf32>
    %4 = nn.contract %3, %d {equation = "tn,mn->tm"} : (tensor<8x9xf32>, tensor<5x9xf32>) -> tensor<8x5xf32>
    %5 = nn.contract %4, %e {equation = "tk,nk->tn"} : (tensor<8x5xf32>, tensor<12x5xf32>) -> tensor<8x12xf32>
    %6 = nn.contract %5, %f {equation = "tn,mn->tm"} : (tensor<8x12xf32>, tensor<5x12xf32>) -> tensor<8x5xf32>
    return
  }
}
