// RUN: llmc-opt %s --split-input-file --verify-diagnostics

// Dimensions of reductions, broadcasts and transposes: one wrong in each case.

func.func @first_and_last(%a0: tensor<2x3x4xf32>) {
  %r = nn.reduce %a0 {kind = 0 : i32, dims = array<i64: 0, 2>} : (tensor<2x3x4xf32>) -> tensor<3xf32>
  return
}
func.func @none(%a0: tensor<2x3x4xf32>) {
  %r = nn.reduce %a0 {kind = 0 : i32, dims = array<i64>} : (tensor<2x3x4xf32>) -> tensor<2x3x4xf32>
  return
}
func.func @into_the_middle(%a0: tensor<3xf32>) {
  %r = nn.broadcast %a0 {dims = array<i64: 1>} : (tensor<3xf32>) -> tensor<2x3x4xf32>
  return
}
func.func @of_one(%a0: tensor<1x4xf32>) {
  %r = nn.broadcast %a0 {dims = array<i64: 0, 2>} : (tensor<1x4xf32>) -> tensor<2x3x4xf32>
  return
}
func.func @to_itself(%a0: tensor<2x3x4xf32>) {
  %r = nn.broadcast %a0 {dims = array<i64: 0, 1, 2>} : (tensor<2x3x4xf32>) -> tensor<2x3x4xf32>
  return
}
func.func @transposed(%a0: tensor<2x3x4xf32>) {
  %r = nn.transpose %a0 {permutation = array<i64: 2, 0, 1>} : (tensor<2x3x4xf32>) -> tensor<4x2x3xf32>
  return
}

// -----

func.func @reduced_twice(%a0: tensor<2x3x4xf32>) {
  // expected-error@+1 {{C1: dims must be increasing dimensions of the input}}
  %r = nn.reduce %a0 {kind = 0 : i32, dims = array<i64: 1, 1>} : (tensor<2x3x4xf32>) -> tensor<3xf32>
  return
}

// -----

func.func @reduced_decreasing(%a0: tensor<2x3x4xf32>) {
  // expected-error@+1 {{C1: dims must be increasing dimensions of the input}}
  %r = nn.reduce %a0 {kind = 0 : i32, dims = array<i64: 2, 0>} : (tensor<2x3x4xf32>) -> tensor<3xf32>
  return
}

// -----

func.func @reduced_behind_the_last(%a0: tensor<2x3x4xf32>) {
  // expected-error@+1 {{C1: dims must be increasing dimensions of the input}}
  %r = nn.reduce %a0 {kind = 0 : i32, dims = array<i64: 0, 3>} : (tensor<2x3x4xf32>) -> tensor<3xf32>
  return
}

// -----

func.func @reduced_negative(%a0: tensor<2x3x4xf32>) {
  // expected-error@+1 {{C1: dims must be increasing dimensions of the input}}
  %r = nn.reduce %a0 {kind = 0 : i32, dims = array<i64: -1>} : (tensor<2x3x4xf32>) -> tensor<3xf32>
  return
}

// -----

func.func @kept_dimension(%a0: tensor<2x3x4xf32>) {
  // expected-error@+1 {{C2: the result's type must be the input's without the reduced dimensions}}
  %r = nn.reduce %a0 {kind = 0 : i32, dims = array<i64: 1>} : (tensor<2x3x4xf32>) -> tensor<2x3xf32>
  return
}

// -----

func.func @reduced_type(%a0: tensor<2x3x4xf32>) {
  // expected-error@+1 {{C2: the result's type must be the input's without the reduced dimensions}}
  %r = nn.reduce %a0 {kind = 0 : i32, dims = array<i64: 1>} : (tensor<2x3x4xf32>) -> tensor<2x4xf64>
  return
}

// -----

func.func @too_few(%a0: tensor<3x4xf32>) {
  // expected-error@+1 {{C1: one entry of dims per input dimension}}
  %r = nn.broadcast %a0 {dims = array<i64: 1>} : (tensor<3x4xf32>) -> tensor<2x3x4xf32>
  return
}

// -----

func.func @too_many(%a0: tensor<3xf32>) {
  // expected-error@+1 {{C1: one entry of dims per input dimension}}
  %r = nn.broadcast %a0 {dims = array<i64: 0, 1>} : (tensor<3xf32>) -> tensor<2x3x4xf32>
  return
}

// -----

func.func @broadcast_twice(%a0: tensor<3x3xf32>) {
  // expected-error@+1 {{C1: dims must be increasing dimensions of the result}}
  %r = nn.broadcast %a0 {dims = array<i64: 1, 1>} : (tensor<3x3xf32>) -> tensor<2x3x4xf32>
  return
}

// -----

func.func @broadcast_decreasing(%a0: tensor<4x2xf32>) {
  // expected-error@+1 {{C1: dims must be increasing dimensions of the result}}
  %r = nn.broadcast %a0 {dims = array<i64: 2, 0>} : (tensor<4x2xf32>) -> tensor<2x3x4xf32>
  return
}

// -----

func.func @broadcast_behind_the_last(%a0: tensor<4xf32>) {
  // expected-error@+1 {{C1: dims must be increasing dimensions of the result}}
  %r = nn.broadcast %a0 {dims = array<i64: 3>} : (tensor<4xf32>) -> tensor<2x3x4xf32>
  return
}

// -----

func.func @broadcast_negative(%a0: tensor<4xf32>) {
  // expected-error@+1 {{C1: dims must be increasing dimensions of the result}}
  %r = nn.broadcast %a0 {dims = array<i64: -1>} : (tensor<4xf32>) -> tensor<2x3x4xf32>
  return
}

// -----

func.func @size(%a0: tensor<3x2xf32>) {
  // expected-error@+1 {{C2: input dimension 1 is neither 1 nor the result's}}
  %r = nn.broadcast %a0 {dims = array<i64: 1, 2>} : (tensor<3x2xf32>) -> tensor<2x3x4xf32>
  return
}

// -----

func.func @broadcast_type(%a0: tensor<3xf32>) {
  // expected-error@+1 {{C2: element types differ}}
  %r = nn.broadcast %a0 {dims = array<i64: 1>} : (tensor<3xf32>) -> tensor<2x3x4xf64>
  return
}

// -----

func.func @permutation_short(%a0: tensor<2x3x4xf32>) {
  // expected-error@+1 {{C1: permutation is no permutation of the input's dimensions}}
  %r = nn.transpose %a0 {permutation = array<i64: 0, 1>} : (tensor<2x3x4xf32>) -> tensor<2x3x4xf32>
  return
}

// -----

func.func @permutation_repeated(%a0: tensor<2x3x4xf32>) {
  // expected-error@+1 {{C1: permutation is no permutation of the input's dimensions}}
  %r = nn.transpose %a0 {permutation = array<i64: 0, 1, 1>} : (tensor<2x3x4xf32>) -> tensor<2x3x4xf32>
  return
}

// -----

func.func @permutation_beyond(%a0: tensor<2x3x4xf32>) {
  // expected-error@+1 {{C1: permutation is no permutation of the input's dimensions}}
  %r = nn.transpose %a0 {permutation = array<i64: 0, 1, 3>} : (tensor<2x3x4xf32>) -> tensor<2x3x4xf32>
  return
}

// -----

func.func @permutation_negative(%a0: tensor<2x3x4xf32>) {
  // expected-error@+1 {{C1: permutation is no permutation of the input's dimensions}}
  %r = nn.transpose %a0 {permutation = array<i64: 0, 1, -1>} : (tensor<2x3x4xf32>) -> tensor<2x3x4xf32>
  return
}

// -----

func.func @inverse(%a0: tensor<2x3x4xf32>) {
  // expected-error@+1 {{C1: the result's shape does not follow the permutation}}
  %r = nn.transpose %a0 {permutation = array<i64: 2, 0, 1>} : (tensor<2x3x4xf32>) -> tensor<3x4x2xf32>
  return
}

// -----

func.func @transposed_type(%a0: tensor<2x3x4xf32>) {
  // expected-error@+1 {{C1: the result's shape does not follow the permutation}}
  %r = nn.transpose %a0 {permutation = array<i64: 0, 1, 2>} : (tensor<2x3x4xf32>) -> tensor<2x3x4xf64>
  return
}
