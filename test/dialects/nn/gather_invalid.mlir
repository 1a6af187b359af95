// RUN: llmc-opt %s --split-input-file --verify-diagnostics

// Lookups and their gradients: each rank, shape and axis alone wrong.

func.func @rows(%a0: tensor<7x4xf32>, %a1: tensor<5xi64>) {
  %r = nn.gather %a0, %a1 : (tensor<7x4xf32>, tensor<5xi64>) -> tensor<5x4xf32>
  return
}
func.func @one_row(%a0: tensor<7x4xf32>, %a1: tensor<i64>) {
  %r = nn.gather %a0, %a1 : (tensor<7x4xf32>, tensor<i64>) -> tensor<4xf32>
  return
}
func.func @sums(%a0: tensor<5xi64>, %a1: tensor<5x4xf32>) {
  %r = nn.scatter_add %a0, %a1 : (tensor<5xi64>, tensor<5x4xf32>) -> tensor<7x4xf32>
  return
}
func.func @along(%a0: tensor<2x7xf32>, %a1: tensor<2x3xi64>) {
  %r = nn.gather_along %a0, %a1 {axis = 1 : i64} : (tensor<2x7xf32>, tensor<2x3xi64>) -> tensor<2x3xf32>
  return
}
func.func @along_the_first(%a0: tensor<7x3xf32>, %a1: tensor<2x3xi64>) {
  %r = nn.gather_along %a0, %a1 {axis = 0 : i64} : (tensor<7x3xf32>, tensor<2x3xi64>) -> tensor<2x3xf32>
  return
}
func.func @sums_along(%a0: tensor<2x3xi64>, %a1: tensor<2x3xf32>) {
  %r = nn.scatter_add_along %a0, %a1 {axis = 1 : i64} : (tensor<2x3xi64>, tensor<2x3xf32>) -> tensor<2x7xf32>
  return
}
func.func @top_k(%a0: tensor<2x7xf32>) {
  %r:2 = nn.top_k %a0 : (tensor<2x7xf32>) -> (tensor<2x7xf32>, tensor<2x7xi64>)
  return
}
func.func @top_1(%a0: tensor<7xf32>) {
  %r:2 = nn.top_k %a0 : (tensor<7xf32>) -> (tensor<1xf32>, tensor<1xi64>)
  return
}

// -----

func.func @scalar_table(%a0: tensor<f32>, %a1: tensor<5xi64>) {
  // expected-error@+1 {{C1: the table has rank 0}}
  %r = nn.gather %a0, %a1 : (tensor<f32>, tensor<5xi64>) -> tensor<5xf32>
  return
}

// -----

func.func @whole_table(%a0: tensor<7x4xf32>, %a1: tensor<5xi64>) {
  // expected-error@+1 {{C1: the result's shape must be the indices' followed by the table's without its first dimension}}
  %r = nn.gather %a0, %a1 : (tensor<7x4xf32>, tensor<5xi64>) -> tensor<5x7xf32>
  return
}

// -----

func.func @gathered_type(%a0: tensor<7x4xf32>, %a1: tensor<5xi64>) {
  // expected-error@+1 {{C1: the result's shape must be the indices' followed by the table's without its first dimension}}
  %r = nn.gather %a0, %a1 : (tensor<7x4xf32>, tensor<5xi64>) -> tensor<5x4xf64>
  return
}

// -----

func.func @scalar_result(%a0: tensor<5xi64>, %a1: tensor<5xf32>) {
  // expected-error@+1 {{C1: the result has rank 0}}
  %r = nn.scatter_add %a0, %a1 : (tensor<5xi64>, tensor<5xf32>) -> tensor<f32>
  return
}

// -----

func.func @updates(%a0: tensor<5xi64>, %a1: tensor<4x4xf32>) {
  // expected-error@+1 {{C1: the updates' shape must be the indices' followed by the result's without its first dimension}}
  %r = nn.scatter_add %a0, %a1 : (tensor<5xi64>, tensor<4x4xf32>) -> tensor<7x4xf32>
  return
}

// -----

func.func @updates_type(%a0: tensor<5xi64>, %a1: tensor<5x4xf64>) {
  // expected-error@+1 {{C1: the updates' shape must be the indices' followed by the result's without its first dimension}}
  %r = nn.scatter_add %a0, %a1 : (tensor<5xi64>, tensor<5x4xf64>) -> tensor<7x4xf32>
  return
}

// -----

func.func @along_rank(%a0: tensor<2x7x1xf32>, %a1: tensor<2x3xi64>) {
  // expected-error@+1 {{C1: ranks, shapes or axis do not agree}}
  %r = nn.gather_along %a0, %a1 {axis = 1 : i64} : (tensor<2x7x1xf32>, tensor<2x3xi64>) -> tensor<2x3xf32>
  return
}

// -----

func.func @along_shape(%a0: tensor<2x7xf32>, %a1: tensor<2x3xi64>) {
  // expected-error@+1 {{C1: ranks, shapes or axis do not agree}}
  %r = nn.gather_along %a0, %a1 {axis = 1 : i64} : (tensor<2x7xf32>, tensor<2x3xi64>) -> tensor<2x4xf32>
  return
}

// -----

func.func @axis_behind_the_last(%a0: tensor<2x7xf32>, %a1: tensor<2x7xi64>) {
  // expected-error@+1 {{C1: ranks, shapes or axis do not agree}}
  %r = nn.gather_along %a0, %a1 {axis = 2 : i64} : (tensor<2x7xf32>, tensor<2x7xi64>) -> tensor<2x7xf32>
  return
}

// -----

func.func @axis_negative(%a0: tensor<2x7xf32>, %a1: tensor<2x7xi64>) {
  // expected-error@+1 {{C1: ranks, shapes or axis do not agree}}
  %r = nn.gather_along %a0, %a1 {axis = -1 : i64} : (tensor<2x7xf32>, tensor<2x7xi64>) -> tensor<2x7xf32>
  return
}

// -----

func.func @sums_shape(%a0: tensor<2x3xi64>, %a1: tensor<2x4xf32>) {
  // expected-error@+1 {{C1: ranks, shapes or axis do not agree}}
  %r = nn.scatter_add_along %a0, %a1 {axis = 1 : i64} : (tensor<2x3xi64>, tensor<2x4xf32>) -> tensor<2x7xf32>
  return
}

// -----

func.func @other_dimension(%a0: tensor<2x7xf32>, %a1: tensor<1x3xi64>) {
  // expected-error@+1 {{C2: dimension 0 of the indices differs}}
  %r = nn.gather_along %a0, %a1 {axis = 1 : i64} : (tensor<2x7xf32>, tensor<1x3xi64>) -> tensor<1x3xf32>
  return
}

// -----

func.func @sums_other_dimension(%a0: tensor<3x5xi64>, %a1: tensor<3x5xf32>) {
  // expected-error@+1 {{C2: dimension 1 of the indices differs}}
  %r = nn.scatter_add_along %a0, %a1 {axis = 0 : i64} : (tensor<3x5xi64>, tensor<3x5xf32>) -> tensor<7x4xf32>
  return
}

// -----

func.func @top_of_a_scalar(%a0: tensor<f32>) {
  // expected-error@+1 {{C1: result shapes do not follow the input's}}
  %r:2 = nn.top_k %a0 : (tensor<f32>) -> (tensor<f32>, tensor<i64>)
  return
}

// -----

func.func @top_rank(%a0: tensor<2x7xf32>) {
  // expected-error@+1 {{C1: result shapes do not follow the input's}}
  %r:2 = nn.top_k %a0 : (tensor<2x7xf32>) -> (tensor<2xf32>, tensor<2xi64>)
  return
}

// -----

func.func @top_leading(%a0: tensor<2x7xf32>) {
  // expected-error@+1 {{C1: result shapes do not follow the input's}}
  %r:2 = nn.top_k %a0 : (tensor<2x7xf32>) -> (tensor<3x7xf32>, tensor<3x7xi64>)
  return
}

// -----

func.func @top_indices(%a0: tensor<2x7xf32>) {
  // expected-error@+1 {{C1: result shapes do not follow the input's}}
  %r:2 = nn.top_k %a0 : (tensor<2x7xf32>) -> (tensor<2x3xf32>, tensor<2x2xi64>)
  return
}

// -----

func.func @top_0(%a0: tensor<2x7xf32>) {
  // expected-error@+1 {{C1: k is not between 1 and the input's last dimension}}
  %r:2 = nn.top_k %a0 : (tensor<2x7xf32>) -> (tensor<2x0xf32>, tensor<2x0xi64>)
  return
}

// -----

func.func @top_8(%a0: tensor<2x7xf32>) {
  // expected-error@+1 {{C1: k is not between 1 and the input's last dimension}}
  %r:2 = nn.top_k %a0 : (tensor<2x7xf32>) -> (tensor<2x8xf32>, tensor<2x8xi64>)
  return
}
