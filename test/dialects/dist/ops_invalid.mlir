// RUN: llmc-opt %s --split-input-file --verify-diagnostics

module attributes {dist.mesh = #dist.mesh<dp = 2>} {
  func.func @unknown_axis(%x: tensor<8xf32>) -> tensor<8xf32> {
    // expected-error@+1 {{C1: the mesh has no axis 'tp'}}
    %0 = dist.all_reduce %x {axes = ["tp"], kind = "sum", reason = ""} : (tensor<8xf32>) -> tensor<8xf32>
    return %0 : tensor<8xf32>
  }
}

// -----

module attributes {dist.mesh = #dist.mesh<dp = 2>} {
  func.func @axis_twice(%x: tensor<8xf32>) -> tensor<2xf32> {
    // expected-error@+1 {{C1: axis 'dp' stands twice}}
    %0 = dist.part %x {axes = ["dp", "dp"], dim = 0 : i64} : (tensor<8xf32>) -> tensor<2xf32>
    return %0 : tensor<2xf32>
  }
}

// -----

module attributes {dist.mesh = #dist.mesh<dp = 2>} {
  func.func @kind(%x: tensor<8xf32>) -> tensor<8xf32> {
    // expected-error@+1 {{C1: kind is neither "sum" nor "max"}}
    %0 = dist.all_reduce %x {axes = ["dp"], kind = "mean", reason = ""} : (tensor<8xf32>) -> tensor<8xf32>
    return %0 : tensor<8xf32>
  }
}

// -----

module attributes {dist.mesh = #dist.mesh<dp = 2>} {
  func.func @gathered(%x: tensor<8xf32>) -> tensor<8xf32> {
    // expected-error@+1 {{C2: each result must be its operand with `dim` multiplied by the number of ranks}}
    %0 = dist.all_gather %x {axes = ["dp"], dim = 0 : i64, reason = ""} : (tensor<8xf32>) -> tensor<8xf32>
    return %0 : tensor<8xf32>
  }
}

// -----

module attributes {dist.mesh = #dist.mesh<dp = 2>} {
  func.func @scattered(%x: tensor<7xf32>) -> tensor<3xf32> {
    // expected-error@+1 {{C2: each result must be its operand with `dim` divided by the number of ranks}}
    %0 = dist.reduce_scatter %x {axes = ["dp"], dim = 0 : i64, kind = "sum", reason = ""} : (tensor<7xf32>) -> tensor<3xf32>
    return %0 : tensor<3xf32>
  }
}

// -----

module attributes {dist.mesh = #dist.mesh<dp = 2>} {
  func.func @divides(%x: tensor<7xf32>) -> tensor<7xf32> {
    // expected-error@+1 {{C1: `to` does not fit: dimension 0 has size 7, which is no multiple of 2}}
    %0 = dist.reshard %x {from = #dist.sharding<[{}]>, to = #dist.sharding<[{dp}]>, reason = ""} : tensor<7xf32>
    return %0 : tensor<7xf32>
  }
}

// -----

module attributes {dist.mesh = #dist.mesh<dp = 2>} {
  func.func @made_partial(%x: tensor<8xf32>) -> tensor<8xf32> {
    // expected-error@+1 {{C2: `to` has a partial axis that `from` lacks}}
    %0 = dist.reshard %x {from = #dist.sharding<[{}]>, to = #dist.sharding<[{}] sum {dp}>, reason = ""} : tensor<8xf32>
    return %0 : tensor<8xf32>
  }
}

// -----

// expected-error@+1 {{axis 'dp' stands twice}}
module attributes {dist.mesh = #dist.mesh<dp = 2, dp = 3>} {}

// -----

// expected-error@+1 {{axis 'dp' has size 0}}
module attributes {dist.mesh = #dist.mesh<dp = 0>} {}
