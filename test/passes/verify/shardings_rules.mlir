// RUN: llmc-opt %s --verify-level=level=sharded --split-input-file --verify-diagnostics

// What fits: elementwise ops cut alike, sums of partial sums, a maximum over a cut dimension.
module attributes {dist.mesh = #dist.mesh<dp = 2, tp = 2>} {
  func.func @accumulate() { return }
  func.func @update() { return }
  func.func @evaluate(%x: tensor<8x4xf32> {dist.sharding = #dist.sharding<[{dp}, {}]>, train.name = "x", train.role = "input"}) -> (tensor<8x4xf32> {dist.sharding = #dist.sharding<[{dp}, {}]>, train.name = "r", train.role = "output"}) {
    %0 = arith.negf %x {dist.shardings = [#dist.sharding<[{dp}, {}]>]} : tensor<8x4xf32>
    return %0 : tensor<8x4xf32>
  }
}

// -----

module attributes {dist.mesh = #dist.mesh<dp = 2, tp = 2>} {
  func.func @accumulate() { return }
  func.func @update() { return }
  func.func @evaluate(%x: tensor<8x4xf32> {dist.sharding = #dist.sharding<[{}, {}] sum {dp}>, train.name = "x", train.role = "accumulator"}, %y: tensor<8x4xf32> {dist.sharding = #dist.sharding<[{}, {}] sum {dp}>, train.name = "y", train.role = "accumulator"}) -> (tensor<8x4xf32> {dist.sharding = #dist.sharding<[{}, {}] sum {dp}>, train.name = "r", train.role = "output"}) {
    %0 = arith.addf %x, %y {dist.shardings = [#dist.sharding<[{}, {}] sum {dp}>]} : tensor<8x4xf32>
    return %0 : tensor<8x4xf32>
  }
}

// -----

module attributes {dist.mesh = #dist.mesh<dp = 2, tp = 2>} {
  func.func @accumulate() { return }
  func.func @update() { return }
  func.func @evaluate(%x: tensor<8x4xf32> {dist.sharding = #dist.sharding<[{dp}, {}]>, train.name = "x", train.role = "input"}) -> (tensor<4xf32> {dist.sharding = #dist.sharding<[{}] max {dp}>, train.name = "r", train.role = "output"}) {
    %0 = nn.reduce %x {kind = 2 : i32, dims = array<i64: 0>, dist.shardings = [#dist.sharding<[{}] max {dp}>]} : (tensor<8x4xf32>) -> tensor<4xf32>
    return %0 : tensor<4xf32>
  }
}

// -----

module attributes {dist.mesh = #dist.mesh<dp = 2, tp = 2>} {
  func.func @accumulate() { return }
  func.func @update() { return }
  // expected-error@+2 {{`func.func`: has a value without sharding}}
  // expected-error@+1 {{result 0 is returned in another sharding than `dist.sharding` says}}
  func.func @evaluate(%x: tensor<8x4xf32> {train.name = "x", train.role = "input"}) -> (tensor<8x4xf32> {dist.sharding = #dist.sharding<[{}, {}]>, train.name = "r", train.role = "output"}) {
    return %x : tensor<8x4xf32>
  }
}

// -----

module attributes {dist.mesh = #dist.mesh<dp = 2, tp = 2>} {
  func.func @accumulate() { return }
  func.func @update() { return }
  // expected-error@+2 {{a sharding does not fit its tensor: }}
  // expected-error@+1 {{result 0 is returned in another sharding than `dist.sharding` says}}
  func.func @evaluate(%x: tensor<8x4xf32> {dist.sharding = #dist.sharding<[{}]>, train.name = "x", train.role = "input"}) -> (tensor<8x4xf32> {dist.sharding = #dist.sharding<[{}, {}]>, train.name = "r", train.role = "output"}) {
    return %x : tensor<8x4xf32>
  }
}

// -----

module attributes {dist.mesh = #dist.mesh<dp = 2, tp = 2>} {
  func.func @accumulate() { return }
  func.func @update() { return }
  // expected-error@+2 {{a sharding does not fit its tensor: dimension 1 has size 3, which is no multiple of 2}}
  // expected-error@+1 {{result 0 is returned in another sharding than `dist.sharding` says}}
  func.func @evaluate(%x: tensor<8x3xf32> {dist.sharding = #dist.sharding<[{dp}, {tp}]>, train.name = "x", train.role = "input"}) -> (tensor<8x3xf32> {dist.sharding = #dist.sharding<[{dp}, {tp}]>, train.name = "r", train.role = "output"}) {
    return %x : tensor<8x3xf32>
  }
}

// -----

module attributes {dist.mesh = #dist.mesh<dp = 2, tp = 2>} {
  func.func @accumulate() { return }
  func.func @update() { return }
  // expected-error@+1 {{result 0 is returned in another sharding than `dist.sharding` says}}
  func.func @evaluate(%x: tensor<8x4xf32> {dist.sharding = #dist.sharding<[{dp}, {}]>, train.name = "x", train.role = "input"}) -> (tensor<8x4xf32> {dist.sharding = #dist.sharding<[{tp}, {}]>, train.name = "r", train.role = "output"}) {
    return %x : tensor<8x4xf32>
  }
}

// -----

module attributes {dist.mesh = #dist.mesh<dp = 2, tp = 2>} {
  func.func @accumulate() { return }
  func.func @update() { return }
  // expected-error@+1 {{result 0 is returned in another sharding than `dist.sharding` says}}
  func.func @evaluate(%x: tensor<8x4xf32> {dist.sharding = #dist.sharding<[{dp}, {}]>, train.name = "x", train.role = "input"}) -> (tensor<8x4xf32> {dist.sharding = #dist.sharding<[{dp}, {}]>, train.name = "r", train.role = "output"}) {
    // expected-error@+1 {{`dist.shardings` must have one sharding per result}}
    %0 = arith.negf %x : tensor<8x4xf32>
    return %0 : tensor<8x4xf32>
  }
}

// -----

module attributes {dist.mesh = #dist.mesh<dp = 2, tp = 2>} {
  func.func @accumulate() { return }
  func.func @update() { return }
  // expected-error@+1 {{result 0 is returned in another sharding than `dist.sharding` says}}
  func.func @evaluate(%x: tensor<8x4xf32> {dist.sharding = #dist.sharding<[{dp}, {}]>, train.name = "x", train.role = "input"}) -> (tensor<8x4xf32> {dist.sharding = #dist.sharding<[{dp}, {}]>, train.name = "r", train.role = "output"}) {
    // expected-error@+1 {{`dist.shardings` must have one sharding per result}}
    %0 = arith.negf %x {dist.shardings = [#dist.sharding<[{dp}, {}]>, #dist.sharding<[{}, {}]>]} : tensor<8x4xf32>
    return %0 : tensor<8x4xf32>
  }
}

// -----

module attributes {dist.mesh = #dist.mesh<dp = 2, tp = 2>} {
  func.func @accumulate() { return }
  func.func @update() { return }
  // expected-error@+1 {{result 0 is returned in another sharding than `dist.sharding` says}}
  func.func @evaluate(%x: tensor<8x4xf32> {dist.sharding = #dist.sharding<[{dp}, {}]>, train.name = "x", train.role = "input"}) -> (tensor<8x4xf32> {dist.sharding = #dist.sharding<[{dp}, {}]>, train.name = "r", train.role = "output"}) {
    // expected-error@+1 {{`arith.negf`: has a value without sharding}}
    %0 = arith.negf %x {dist.shardings = [1]} : tensor<8x4xf32>
    return %0 : tensor<8x4xf32>
  }
}

// -----

module attributes {dist.mesh = #dist.mesh<dp = 2, tp = 2>} {
  func.func @accumulate() { return }
  func.func @update() { return }
  func.func @evaluate(%x: tensor<8x4xf32> {dist.sharding = #dist.sharding<[{dp}, {}]>, train.name = "x", train.role = "input"}, %y: tensor<8x4xf32> {dist.sharding = #dist.sharding<[{}, {dp}]>, train.name = "y", train.role = "input"}) -> (tensor<8x4xf32> {dist.sharding = #dist.sharding<[{dp}, {}]>, train.name = "r", train.role = "output"}) {
    // expected-error@+1 {{an operand's sharding contradicts the op's factor rule}}
    %0 = arith.addf %x, %y {dist.shardings = [#dist.sharding<[{dp}, {}]>]} : tensor<8x4xf32>
    return %0 : tensor<8x4xf32>
  }
}

// -----

module attributes {dist.mesh = #dist.mesh<dp = 2, tp = 2>} {
  func.func @accumulate() { return }
  func.func @update() { return }
  func.func @evaluate(%x: tensor<8x4xf32> {dist.sharding = #dist.sharding<[{dp}, {}]>, train.name = "x", train.role = "input"}) -> (tensor<8x4xf32> {dist.sharding = #dist.sharding<[{tp}, {}]>, train.name = "r", train.role = "output"}) {
    %0 = dist.reshard %x {from = #dist.sharding<[{dp}, {}]>, to = #dist.sharding<[{tp}, {}]>, reason = "", dist.shardings = [#dist.sharding<[{tp}, {}]>]} : tensor<8x4xf32>
    return %0 : tensor<8x4xf32>
  }
}

// -----

module attributes {dist.mesh = #dist.mesh<dp = 2, tp = 2>} {
  func.func @accumulate() { return }
  func.func @update() { return }
  func.func @evaluate(%x: tensor<8x4xf32> {dist.sharding = #dist.sharding<[{dp}, {}]>, train.name = "x", train.role = "input"}) -> (tensor<8x4xf32> {dist.sharding = #dist.sharding<[{tp}, {}]>, train.name = "r", train.role = "output"}) {
    // expected-error@+1 {{`from` and `to` are not the shardings of operand and result}}
    %0 = dist.reshard %x {from = #dist.sharding<[{}, {}]>, to = #dist.sharding<[{tp}, {}]>, reason = "", dist.shardings = [#dist.sharding<[{tp}, {}]>]} : tensor<8x4xf32>
    return %0 : tensor<8x4xf32>
  }
}

// -----

module attributes {dist.mesh = #dist.mesh<dp = 2, tp = 2>} {
  func.func @accumulate() { return }
  func.func @update() { return }
  func.func @evaluate(%x: tensor<8x4xf32> {dist.sharding = #dist.sharding<[{dp}, {}]>, train.name = "x", train.role = "input"}) -> (tensor<8x4xf32> {dist.sharding = #dist.sharding<[{tp}, {}]>, train.name = "r", train.role = "output"}) {
    // expected-error@+1 {{`from` and `to` are not the shardings of operand and result}}
    %0 = dist.reshard %x {from = #dist.sharding<[{dp}, {}]>, to = #dist.sharding<[{}, {tp}]>, reason = "", dist.shardings = [#dist.sharding<[{tp}, {}]>]} : tensor<8x4xf32>
    return %0 : tensor<8x4xf32>
  }
}

// -----

// A constant of one value may be cut, of zeros also be a partial sum.
module attributes {dist.mesh = #dist.mesh<dp = 2, tp = 2>} {
  func.func @accumulate() { return }
  func.func @update() { return }
  func.func @evaluate() -> (tensor<8x4xf32> {dist.sharding = #dist.sharding<[{dp}, {}]>, train.name = "r", train.role = "output"}) {
    %0 = arith.constant {dist.shardings = [#dist.sharding<[{dp}, {}]>]} dense<1.0> : tensor<8x4xf32>
    return %0 : tensor<8x4xf32>
  }
}

// -----

module attributes {dist.mesh = #dist.mesh<dp = 2, tp = 2>} {
  func.func @accumulate() { return }
  func.func @update() { return }
  func.func @evaluate() -> (tensor<8x4xf32> {dist.sharding = #dist.sharding<[{}, {}] sum {dp}>, train.name = "r", train.role = "output"}) {
    %0 = arith.constant {dist.shardings = [#dist.sharding<[{}, {}] sum {dp}>]} dense<0.0> : tensor<8x4xf32>
    return %0 : tensor<8x4xf32>
  }
}

// -----

module attributes {dist.mesh = #dist.mesh<dp = 2, tp = 2>} {
  func.func @accumulate() { return }
  func.func @update() { return }
  func.func @evaluate() -> (tensor<8x4xf32> {dist.sharding = #dist.sharding<[{}, {}] sum {dp}>, train.name = "r", train.role = "output"}) {
    // expected-error@+1 {{a constant is cut, or a partial sum, that cannot be}}
    %0 = arith.constant {dist.shardings = [#dist.sharding<[{}, {}] sum {dp}>]} dense<1.0> : tensor<8x4xf32>
    return %0 : tensor<8x4xf32>
  }
}

// -----

module attributes {dist.mesh = #dist.mesh<dp = 2, tp = 2>} {
  func.func @accumulate() { return }
  func.func @update() { return }
  func.func @evaluate() -> (tensor<8x4xi64> {dist.sharding = #dist.sharding<[{}, {}] sum {dp}>, train.name = "r", train.role = "output"}) {
    // expected-error@+1 {{a constant is cut, or a partial sum, that cannot be}}
    %0 = arith.constant {dist.shardings = [#dist.sharding<[{}, {}] sum {dp}>]} dense<0> : tensor<8x4xi64>
    return %0 : tensor<8x4xi64>
  }
}

// -----

module attributes {dist.mesh = #dist.mesh<dp = 2, tp = 2>} {
  func.func @accumulate() { return }
  func.func @update() { return }
  func.func @evaluate() -> (tensor<2xf32> {dist.sharding = #dist.sharding<[{dp}]>, train.name = "r", train.role = "output"}) {
    // expected-error@+1 {{a constant is cut, or a partial sum, that cannot be}}
    %0 = arith.constant {dist.shardings = [#dist.sharding<[{dp}]>]} dense<[1.0, 2.0]> : tensor<2xf32>
    return %0 : tensor<2xf32>
  }
}

// -----

module attributes {dist.mesh = #dist.mesh<dp = 2, tp = 2>} {
  func.func @accumulate() { return }
  func.func @update() { return }
  func.func @evaluate(%x: tensor<8x4xf32> {dist.sharding = #dist.sharding<[{}, {}] sum {dp}>, train.name = "x", train.role = "accumulator"}, %y: tensor<8x4xf32> {dist.sharding = #dist.sharding<[{}, {}]>, train.name = "y", train.role = "input"}) -> (tensor<8x4xf32> {dist.sharding = #dist.sharding<[{}, {}] sum {dp}>, train.name = "r", train.role = "output"}) {
    // expected-error@+1 {{reads a partial sum or maximum}}
    %0 = arith.addf %x, %y {dist.shardings = [#dist.sharding<[{}, {}] sum {dp}>]} : tensor<8x4xf32>
    return %0 : tensor<8x4xf32>
  }
}

// -----

module attributes {dist.mesh = #dist.mesh<dp = 2, tp = 2>} {
  func.func @accumulate() { return }
  func.func @update() { return }
  func.func @evaluate(%x: tensor<8x4xf32> {dist.sharding = #dist.sharding<[{}, {}] max {dp}>, train.name = "x", train.role = "input"}) -> (tensor<8x4xf32> {dist.sharding = #dist.sharding<[{}, {}] max {dp}>, train.name = "r", train.role = "output"}) {
    // expected-error@+1 {{reads a partial sum or maximum}}
    %0 = arith.negf %x {dist.shardings = [#dist.sharding<[{}, {}] max {dp}>]} : tensor<8x4xf32>
    return %0 : tensor<8x4xf32>
  }
}

// -----

module attributes {dist.mesh = #dist.mesh<dp = 2, tp = 2>} {
  func.func @accumulate() { return }
  func.func @update() { return }
  func.func @evaluate(%x: tensor<8x4xf32> {dist.sharding = #dist.sharding<[{}, {}]>, train.name = "x", train.role = "input"}, %y: tensor<8x4xf32> {dist.sharding = #dist.sharding<[{}, {}] sum {dp}>, train.name = "y", train.role = "accumulator"}) -> (tensor<8x4xf32> {dist.sharding = #dist.sharding<[{}, {}] sum {dp}>, train.name = "r", train.role = "output"}) {
    // expected-error@+1 {{reads a partial sum or maximum}}
    %0 = arith.mulf %x, %y {dist.shardings = [#dist.sharding<[{}, {}] sum {dp}>]} : tensor<8x4xf32>
    return %0 : tensor<8x4xf32>
  }
}

// -----

// A product keeps the sum of one factor, never of both.
module attributes {dist.mesh = #dist.mesh<dp = 2, tp = 2>} {
  func.func @accumulate() { return }
  func.func @update() { return }
  func.func @evaluate(%x: tensor<8x4xf32> {dist.sharding = #dist.sharding<[{}, {}] sum {dp}>, train.name = "x", train.role = "accumulator"}, %y: tensor<4x4xf32> {dist.sharding = #dist.sharding<[{}, {}]>, train.name = "y", train.role = "input"}) -> (tensor<8x4xf32> {dist.sharding = #dist.sharding<[{}, {}] sum {dp}>, train.name = "r", train.role = "output"}) {
    %0 = nn.contract %x, %y {equation = "ab,bc->ac", dist.shardings = [#dist.sharding<[{}, {}] sum {dp}>]} : (tensor<8x4xf32>, tensor<4x4xf32>) -> tensor<8x4xf32>
    return %0 : tensor<8x4xf32>
  }
}

// -----

module attributes {dist.mesh = #dist.mesh<dp = 2, tp = 2>} {
  func.func @accumulate() { return }
  func.func @update() { return }
  func.func @evaluate(%x: tensor<8x4xf32> {dist.sharding = #dist.sharding<[{}, {}]>, train.name = "x", train.role = "input"}, %y: tensor<4x4xf32> {dist.sharding = #dist.sharding<[{}, {}] sum {dp}>, train.name = "y", train.role = "accumulator"}) -> (tensor<8x4xf32> {dist.sharding = #dist.sharding<[{}, {}] sum {dp}>, train.name = "r", train.role = "output"}) {
    %0 = nn.contract %x, %y {equation = "ab,bc->ac", dist.shardings = [#dist.sharding<[{}, {}] sum {dp}>]} : (tensor<8x4xf32>, tensor<4x4xf32>) -> tensor<8x4xf32>
    return %0 : tensor<8x4xf32>
  }
}

// -----

module attributes {dist.mesh = #dist.mesh<dp = 2, tp = 2>} {
  func.func @accumulate() { return }
  func.func @update() { return }
  func.func @evaluate(%x: tensor<8x4xf32> {dist.sharding = #dist.sharding<[{}, {}] sum {dp}>, train.name = "x", train.role = "accumulator"}, %y: tensor<4x4xf32> {dist.sharding = #dist.sharding<[{}, {}] sum {dp}>, train.name = "y", train.role = "accumulator"}) -> (tensor<8x4xf32> {dist.sharding = #dist.sharding<[{}, {}] sum {dp}>, train.name = "r", train.role = "output"}) {
    // expected-error@+1 {{reads a partial sum or maximum}}
    %0 = nn.contract %x, %y {equation = "ab,bc->ac", dist.shardings = [#dist.sharding<[{}, {}] sum {dp}>]} : (tensor<8x4xf32>, tensor<4x4xf32>) -> tensor<8x4xf32>
    return %0 : tensor<8x4xf32>
  }
}

// -----

module attributes {dist.mesh = #dist.mesh<dp = 2, tp = 2>} {
  func.func @accumulate() { return }
  func.func @update() { return }
  func.func @evaluate(%x: tensor<8x4xf32> {dist.sharding = #dist.sharding<[{dp}, {}]>, train.name = "x", train.role = "input"}) -> (tensor<4xf32> {dist.sharding = #dist.sharding<[{}] sum {dp}>, train.name = "r", train.role = "output"}) {
    // expected-error@+1 {{a result's partial axes are not those of the factors that are reduced}}
    %0 = nn.reduce %x {kind = 2 : i32, dims = array<i64: 0>, dist.shardings = [#dist.sharding<[{}] sum {dp}>]} : (tensor<8x4xf32>) -> tensor<4xf32>
    return %0 : tensor<4xf32>
  }
}

// -----

module attributes {dist.mesh = #dist.mesh<dp = 2, tp = 2>} {
  func.func @accumulate() { return }
  func.func @update() { return }
  func.func @evaluate(%x: tensor<8x4xf32> {dist.sharding = #dist.sharding<[{}, {tp}]>, train.name = "x", train.role = "input"}, %y: tensor<4x4xf32> {dist.sharding = #dist.sharding<[{tp}, {}]>, train.name = "y", train.role = "input"}) -> (tensor<8x4xf32> {dist.sharding = #dist.sharding<[{}, {}]>, train.name = "r", train.role = "output"}) {
    // expected-error@+1 {{a result's partial axes are not those of the factors that are reduced}}
    %0 = nn.contract %x, %y {equation = "ab,bc->ac", dist.shardings = [#dist.sharding<[{}, {}]>]} : (tensor<8x4xf32>, tensor<4x4xf32>) -> tensor<8x4xf32>
    return %0 : tensor<8x4xf32>
  }
}

// -----

// Functions share state in one sharding; what is fed may differ.
module attributes {dist.mesh = #dist.mesh<dp = 2, tp = 2>} {
  func.func @accumulate() { return }
  func.func @update(%w: tensor<8x4xf32> {dist.sharding = #dist.sharding<[{dp}, {}]>, train.name = "w", train.role = "parameter"}) { return }
  func.func @evaluate(%w: tensor<8x4xf32> {dist.sharding = #dist.sharding<[{dp}, {}]>, train.name = "w", train.role = "parameter"}) -> (tensor<8x4xf32> {dist.sharding = #dist.sharding<[{dp}, {}]>, train.name = "r", train.role = "output"}) {
    return %w : tensor<8x4xf32>
  }
}

// -----

module attributes {dist.mesh = #dist.mesh<dp = 2, tp = 2>} {
  func.func @accumulate() { return }
  func.func @update(%w: tensor<8x4xf32> {dist.sharding = #dist.sharding<[{}, {dp}]>, train.name = "w", train.role = "input"}) { return }
  func.func @evaluate(%w: tensor<8x4xf32> {dist.sharding = #dist.sharding<[{dp}, {}]>, train.name = "w", train.role = "input"}) -> (tensor<8x4xf32> {dist.sharding = #dist.sharding<[{dp}, {}]>, train.name = "r", train.role = "output"}) {
    return %w : tensor<8x4xf32>
  }
}

// -----

module attributes {dist.mesh = #dist.mesh<dp = 2, tp = 2>} {
  func.func @accumulate() { return }
  func.func @update(%w: tensor<8x4xf32> {dist.sharding = #dist.sharding<[{}, {dp}]>, train.name = "w", train.role = "parameter"}) { return }
  // expected-error@+1 {{state 'w' has another sharding in another function}}
  func.func @evaluate(%w: tensor<8x4xf32> {dist.sharding = #dist.sharding<[{dp}, {}]>, train.name = "w", train.role = "parameter"}) -> (tensor<8x4xf32> {dist.sharding = #dist.sharding<[{dp}, {}]>, train.name = "r", train.role = "output"}) {
    return %w : tensor<8x4xf32>
  }
}
