// RUN: llmc-opt %s --verify-level=level=sharded --split-input-file --verify-diagnostics

module attributes {dist.mesh = #dist.mesh<dp = 2>} {
  func.func @accumulate() { return }
  func.func @update() { return }
  func.func @evaluate(%x: tensor<8x4xf32> {dist.sharding = #dist.sharding<[{dp}, {}]>, train.name = "x", train.role = "input"})
      -> (tensor<8x4xf32> {dist.sharding = #dist.sharding<[{}, {dp}]>, train.name = "y", train.role = "output"}) {
    // expected-error@+1 {{a result's sharding contradicts the op's factor rule}}
    %0 = arith.negf %x {dist.shardings = [#dist.sharding<[{}, {dp}]>]} : tensor<8x4xf32>
    return %0 : tensor<8x4xf32>
  }
}

// -----

module attributes {dist.mesh = #dist.mesh<dp = 2>} {
  func.func @accumulate() { return }
  func.func @update() { return }
  func.func @evaluate(%x: tensor<8x4xf32> {dist.sharding = #dist.sharding<[{dp}, {}]>, train.name = "x", train.role = "input"})
      -> (tensor<4xf32> {dist.sharding = #dist.sharding<[{}]>, train.name = "y", train.role = "output"}) {
    // expected-error@+1 {{a result's partial axes are not those of the factors that are reduced}}
    %0 = nn.reduce %x {kind = 0 : i32, dims = array<i64: 0>, dist.shardings = [#dist.sharding<[{}]>]} : (tensor<8x4xf32>) -> tensor<4xf32>
    return %0 : tensor<4xf32>
  }
}

// -----

module attributes {dist.mesh = #dist.mesh<dp = 2>} {
  func.func @accumulate() { return }
  func.func @update() { return }
  func.func @evaluate(%x: tensor<4xf32> {dist.sharding = #dist.sharding<[{}] sum {dp}>, train.name = "x", train.role = "accumulator"})
      -> (tensor<4xf32> {dist.sharding = #dist.sharding<[{}]>, train.name = "y", train.role = "output"}) {
    // expected-error@+1 {{reads a partial sum or maximum}}
    %0 = math.exp %x {dist.shardings = [#dist.sharding<[{}]>]} : tensor<4xf32>
    return %0 : tensor<4xf32>
  }
}

// -----

module attributes {dist.mesh = #dist.mesh<dp = 2>} {
  func.func @accumulate() { return }
  func.func @update() { return }
  // expected-error@+1 {{result 0 is returned in another sharding than `dist.sharding` says}}
  func.func @evaluate(%x: tensor<4xf32> {dist.sharding = #dist.sharding<[{dp}]>, train.name = "x", train.role = "input"})
      -> (tensor<4xf32> {dist.sharding = #dist.sharding<[{}]>, train.name = "y", train.role = "output"}) {
    return %x : tensor<4xf32>
  }
}
