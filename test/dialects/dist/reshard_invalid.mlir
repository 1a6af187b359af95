// RUN: llmc-opt %s --split-input-file --verify-diagnostics

module attributes {dist.mesh = #dist.mesh<dp = 2, tp = 2>} {
  func.func @from_rank(%x: tensor<8x4xf32>) {
    // expected-error@+1 {{C1: `from` does not fit: }}
    %0 = dist.reshard %x {from = #dist.sharding<[{}]>, to = #dist.sharding<[{}, {}]>, reason = ""} : tensor<8x4xf32>
    return
  }
}

// -----

module attributes {dist.mesh = #dist.mesh<dp = 2, tp = 2>} {
  func.func @to_rank(%x: tensor<8x4xf32>) {
    // expected-error@+1 {{C1: `to` does not fit: }}
    %0 = dist.reshard %x {from = #dist.sharding<[{}, {}]>, to = #dist.sharding<[{}, {}, {}]>, reason = ""} : tensor<8x4xf32>
    return
  }
}

// -----

module attributes {dist.mesh = #dist.mesh<dp = 2, tp = 2>} {
  func.func @from_axis(%x: tensor<8x4xf32>) {
    // expected-error@+1 {{C1: `from` does not fit: }}
    %0 = dist.reshard %x {from = #dist.sharding<[{pp}, {}]>, to = #dist.sharding<[{}, {}]>, reason = ""} : tensor<8x4xf32>
    return
  }
}

// -----

module attributes {dist.mesh = #dist.mesh<dp = 2, tp = 2>} {
  func.func @axis_of_two_dimensions(%x: tensor<8x4xf32>) {
    // expected-error@+1 {{C1: `to` does not fit: }}
    %0 = dist.reshard %x {from = #dist.sharding<[{}, {}]>, to = #dist.sharding<[{dp}, {dp}]>, reason = ""} : tensor<8x4xf32>
    return
  }
}

// -----

module attributes {dist.mesh = #dist.mesh<dp = 2, tp = 2>} {
  func.func @axis_cut_and_partial(%x: tensor<8x4xf32>) {
    // expected-error@+1 {{C1: `from` does not fit: }}
    %0 = dist.reshard %x {from = #dist.sharding<[{dp}, {}] sum {dp}>, to = #dist.sharding<[{dp}, {}]>, reason = ""} : tensor<8x4xf32>
    return
  }
}

// -----

module attributes {dist.mesh = #dist.mesh<dp = 2, tp = 2>} {
  func.func @axis_sum_and_max(%x: tensor<8x4xf32>) {
    // expected-error@+1 {{C1: `from` does not fit: }}
    %0 = dist.reshard %x {from = #dist.sharding<[{}, {}] sum {dp} max {dp}>, to = #dist.sharding<[{}, {}]>, reason = ""} : tensor<8x4xf32>
    return
  }
}

// -----

module attributes {dist.mesh = #dist.mesh<dp = 2, tp = 2>} {
  func.func @partial_axis(%x: tensor<8x4xf32>) {
    // expected-error@+1 {{C1: `from` does not fit: }}
    %0 = dist.reshard %x {from = #dist.sharding<[{}, {}] max {pp}>, to = #dist.sharding<[{}, {}]>, reason = ""} : tensor<8x4xf32>
    return
  }
}

// -----

module attributes {dist.mesh = #dist.mesh<dp = 2, tp = 2>} {
  func.func @product_divides(%x: tensor<8x6xf32>) {
    // expected-error@+1 {{C1: `to` does not fit: dimension 1 has size 6, which is no multiple of 4}}
    %0 = dist.reshard %x {from = #dist.sharding<[{}, {}]>, to = #dist.sharding<[{}, {dp, tp}]>, reason = ""} : tensor<8x6xf32>
    return
  }
}

// -----

module attributes {dist.mesh = #dist.mesh<dp = 2, tp = 2>} {
  func.func @another_sum(%x: tensor<8x4xf32>) {
    // expected-error@+1 {{C2: `to` has a partial axis that `from` lacks}}
    %0 = dist.reshard %x {from = #dist.sharding<[{}, {}] sum {tp}>, to = #dist.sharding<[{}, {}] sum {dp}>, reason = ""} : tensor<8x4xf32>
    return
  }
}

// -----

module attributes {dist.mesh = #dist.mesh<dp = 2, tp = 2>} {
  func.func @another_max(%x: tensor<8x4xf32>) {
    // expected-error@+1 {{C2: `to` has a partial axis that `from` lacks}}
    %0 = dist.reshard %x {from = #dist.sharding<[{}, {}] max {tp}>, to = #dist.sharding<[{}, {}] max {dp}>, reason = ""} : tensor<8x4xf32>
    return
  }
}

// -----

module attributes {dist.mesh = #dist.mesh<dp = 2, tp = 2>} {
  func.func @one_more_max(%x: tensor<8x4xf32>) {
    // expected-error@+1 {{C2: `to` has a partial axis that `from` lacks}}
    %0 = dist.reshard %x {from = #dist.sharding<[{}, {}] max {tp}>, to = #dist.sharding<[{}, {}] max {tp, dp}>, reason = ""} : tensor<8x4xf32>
    return
  }
}

// -----

module attributes {dist.mesh = #dist.mesh<dp = 2, tp = 2>} {
  func.func @max_of_a_sum(%x: tensor<8x4xf32>) {
    // expected-error@+1 {{C2: `to` has a partial axis that `from` lacks}}
    %0 = dist.reshard %x {from = #dist.sharding<[{}, {}] sum {tp}>, to = #dist.sharding<[{}, {}] max {tp}>, reason = ""} : tensor<8x4xf32>
    return
  }
}

// -----

// Each axis has one rank or more, and the ranks are as many as 64 bits count.
module attributes {dist.mesh = #dist.mesh<dp = 1, tp = 9223372036854775807>} {}

// -----

// expected-error@+1 {{axis 'tp' has size 4611686018427387904}}
module attributes {dist.mesh = #dist.mesh<dp = 2, tp = 4611686018427387904>} {}

// -----

// expected-error@+1 {{axis 'dp' has size -1}}
module attributes {dist.mesh = #dist.mesh<dp = -1>} {}
