// RUN: llmc-opt %s --split-input-file --verify-diagnostics

// What is allowed: sums and maxima, over one axis, several and none; each dimension that divides.
module attributes {dist.mesh = #dist.mesh<dp = 2, tp = 2>} {
  func.func @valid(%x: tensor<8x4xf32>) {
    %0 = dist.all_reduce %x {axes = ["dp"], kind = "sum", reason = ""} : (tensor<8x4xf32>) -> tensor<8x4xf32>
    %1 = dist.all_reduce %x {axes = ["dp"], kind = "max", reason = ""} : (tensor<8x4xf32>) -> tensor<8x4xf32>
    %2 = dist.all_reduce %x {axes = ["tp", "dp"], kind = "sum", reason = ""} : (tensor<8x4xf32>) -> tensor<8x4xf32>
    %3 = dist.all_reduce %x {axes = [], kind = "sum", reason = ""} : (tensor<8x4xf32>) -> tensor<8x4xf32>
    %4 = dist.reduce_scatter %x {axes = ["dp"], dim = 0 : i64, kind = "sum", reason = ""} : (tensor<8x4xf32>) -> tensor<4x4xf32>
    %5 = dist.reduce_scatter %x {axes = ["dp"], dim = 1 : i64, kind = "sum", reason = ""} : (tensor<8x4xf32>) -> tensor<8x2xf32>
    %6 = dist.reduce_scatter %x {axes = ["dp", "tp"], dim = 1 : i64, kind = "max", reason = ""} : (tensor<8x4xf32>) -> tensor<8x1xf32>
    %7 = dist.all_gather %x {axes = ["dp"], dim = 1 : i64, reason = ""} : (tensor<8x4xf32>) -> tensor<8x8xf32>
    %8 = dist.part %x {axes = ["dp"], dim = 1 : i64} : (tensor<8x4xf32>) -> tensor<8x2xf32>
    %9 = dist.reshard %x {from = #dist.sharding<[{}, {dp}] sum {tp}>, to = #dist.sharding<[{}, {dp}] sum {tp}>, reason = ""} : tensor<8x4xf32>
    %10 = dist.reshard %x {from = #dist.sharding<[{}, {}] max {tp}>, to = #dist.sharding<[{tp}, {}]>, reason = ""} : tensor<8x4xf32>
    %11 = dist.index {axes = ["dp"]} : tensor<i64>
    return
  }
}

// -----

module {
  func.func @no_mesh_all_reduce(%x: tensor<8x4xf32>) {
    // expected-error@+1 {{C1: the module has no `dist.mesh`}}
    %0 = dist.all_reduce %x {axes = ["dp"], kind = "sum", reason = ""} : (tensor<8x4xf32>) -> tensor<8x4xf32>
    return
  }
}

// -----

module {
  func.func @no_mesh_reduce_scatter(%x: tensor<8x4xf32>) {
    // expected-error@+1 {{C1: the module has no `dist.mesh`}}
    %0 = dist.reduce_scatter %x {axes = ["dp"], dim = 0 : i64, kind = "sum", reason = ""} : (tensor<8x4xf32>) -> tensor<4x4xf32>
    return
  }
}

// -----

module {
  func.func @no_mesh_all_gather(%x: tensor<8x4xf32>) {
    // expected-error@+1 {{C1: the module has no `dist.mesh`}}
    %0 = dist.all_gather %x {axes = ["dp"], dim = 0 : i64, reason = ""} : (tensor<8x4xf32>) -> tensor<16x4xf32>
    return
  }
}

// -----

module {
  func.func @no_mesh_part(%x: tensor<8x4xf32>) {
    // expected-error@+1 {{C1: the module has no `dist.mesh`}}
    %0 = dist.part %x {axes = ["dp"], dim = 0 : i64} : (tensor<8x4xf32>) -> tensor<4x4xf32>
    return
  }
}

// -----

module {
  func.func @no_mesh_index(%x: tensor<8x4xf32>) {
    // expected-error@+1 {{C1: the module has no `dist.mesh`}}
    %0 = dist.index {axes = ["dp"]} : tensor<i64>
    return
  }
}

// -----

module {
  func.func @no_mesh_reshard(%x: tensor<8x4xf32>) {
    // expected-error@+1 {{stands in a module without `dist.mesh`}}
    %0 = dist.reshard %x {from = #dist.sharding<[{}, {}]>, to = #dist.sharding<[{}, {}]>, reason = ""} : tensor<8x4xf32>
    return
  }
}

// -----

module attributes {dist.mesh = #dist.mesh<dp = 2, tp = 2>} {
  func.func @scatter_kind(%x: tensor<8x4xf32>) {
    // expected-error@+1 {{C1: kind is neither "sum" nor "max"}}
    %0 = dist.reduce_scatter %x {axes = ["dp"], dim = 0 : i64, kind = "min", reason = ""} : (tensor<8x4xf32>) -> tensor<4x4xf32>
    return
  }
}

// -----

module attributes {dist.mesh = #dist.mesh<dp = 2, tp = 2>} {
  func.func @index_axis(%x: tensor<8x4xf32>) {
    // expected-error@+1 {{C1: the mesh has no axis 'pp'}}
    %0 = dist.index {axes = ["pp"]} : tensor<i64>
    return
  }
}

// -----

module attributes {dist.mesh = #dist.mesh<dp = 2, tp = 2>} {
  func.func @reduced_type(%x: tensor<8x4xf32>) {
    // expected-error@+1 {{C2: results must have the operands' types}}
    %0 = dist.all_reduce %x {axes = ["dp"], kind = "sum", reason = ""} : (tensor<8x4xf32>) -> tensor<8x4xf64>
    return
  }
}

// -----

module attributes {dist.mesh = #dist.mesh<dp = 2, tp = 2>} {
  func.func @reduced_count(%x: tensor<8x4xf32>) {
    // expected-error@+1 {{C2: results must have the operands' types}}
    %0:2 = dist.all_reduce %x {axes = ["dp"], kind = "sum", reason = ""} : (tensor<8x4xf32>) -> (tensor<8x4xf32>, tensor<8x4xf32>)
    return
  }
}

// -----

module attributes {dist.mesh = #dist.mesh<dp = 2, tp = 2>} {
  func.func @second_differs(%x: tensor<8x4xf32>) {
    // expected-error@+1 {{C2: results must have the operands' types}}
    %0:2 = dist.all_reduce %x, %x {axes = ["dp"], kind = "sum", reason = ""} : (tensor<8x4xf32>, tensor<8x4xf32>) -> (tensor<8x4xf32>, tensor<8x2xf32>)
    return
  }
}

// -----

module attributes {dist.mesh = #dist.mesh<dp = 2, tp = 2>} {
  func.func @scatter_behind_the_last(%x: tensor<8x4xf32>) {
    // expected-error@+1 {{C2: each result must be its operand with `dim` divided by the number of ranks}}
    %0 = dist.reduce_scatter %x {axes = ["dp"], dim = 2 : i64, kind = "sum", reason = ""} : (tensor<8x4xf32>) -> tensor<4x4xf32>
    return
  }
}

// -----

module attributes {dist.mesh = #dist.mesh<dp = 2, tp = 2>} {
  func.func @scatter_negative(%x: tensor<8x4xf32>) {
    // expected-error@+1 {{C2: each result must be its operand with `dim` divided by the number of ranks}}
    %0 = dist.reduce_scatter %x {axes = ["dp"], dim = -1 : i64, kind = "sum", reason = ""} : (tensor<8x4xf32>) -> tensor<8x2xf32>
    return
  }
}

// -----

module attributes {dist.mesh = #dist.mesh<dp = 2, tp = 2>} {
  func.func @scatter_other_dimension(%x: tensor<8x4xf32>) {
    // expected-error@+1 {{C2: each result must be its operand with `dim` divided by the number of ranks}}
    %0 = dist.reduce_scatter %x {axes = ["dp"], dim = 0 : i64, kind = "sum", reason = ""} : (tensor<8x4xf32>) -> tensor<8x2xf32>
    return
  }
}

// -----

module attributes {dist.mesh = #dist.mesh<dp = 2, tp = 2>} {
  func.func @scatter_type(%x: tensor<8x4xf32>) {
    // expected-error@+1 {{C2: each result must be its operand with `dim` divided by the number of ranks}}
    %0 = dist.reduce_scatter %x {axes = ["dp"], dim = 0 : i64, kind = "sum", reason = ""} : (tensor<8x4xf32>) -> tensor<4x4xf64>
    return
  }
}

// -----

module attributes {dist.mesh = #dist.mesh<dp = 2, tp = 2>} {
  func.func @gather_behind_the_last(%x: tensor<8x4xf32>) {
    // expected-error@+1 {{C2: each result must be its operand with `dim` multiplied by the number of ranks}}
    %0 = dist.all_gather %x {axes = ["dp"], dim = 2 : i64, reason = ""} : (tensor<8x4xf32>) -> tensor<16x4xf32>
    return
  }
}

// -----

module attributes {dist.mesh = #dist.mesh<dp = 2, tp = 2>} {
  func.func @gather_too_often(%x: tensor<8x4xf32>) {
    // expected-error@+1 {{C2: each result must be its operand with `dim` multiplied by the number of ranks}}
    %0 = dist.all_gather %x {axes = ["dp"], dim = 0 : i64, reason = ""} : (tensor<8x4xf32>) -> tensor<32x4xf32>
    return
  }
}

// -----

module attributes {dist.mesh = #dist.mesh<dp = 2, tp = 2>} {
  func.func @part_divides(%x: tensor<7x4xf32>) {
    // expected-error@+1 {{C2: the result must be the operand with `dim` divided by the number of ranks}}
    %0 = dist.part %x {axes = ["dp"], dim = 0 : i64} : (tensor<7x4xf32>) -> tensor<3x4xf32>
    return
  }
}

// -----

module attributes {dist.mesh = #dist.mesh<dp = 2, tp = 2>} {
  func.func @part_behind_the_last(%x: tensor<8x4xf32>) {
    // expected-error@+1 {{C2: the result must be the operand with `dim` divided by the number of ranks}}
    %0 = dist.part %x {axes = ["dp"], dim = 2 : i64} : (tensor<8x4xf32>) -> tensor<4x4xf32>
    return
  }
}
