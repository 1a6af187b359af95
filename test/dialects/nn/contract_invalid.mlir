// RUN: llmc-opt %s --split-input-file --verify-diagnostics

func.func @c1(%a: tensor<2x3xf32>, %b: tensor<3x4xf32>) -> tensor<2x4xf32> {
  // expected-error @below {{C1: equation 'abc,bc->ac' does not label each dimension once}}
  %0 = nn.contract %a, %b {equation = "abc,bc->ac"} : (tensor<2x3xf32>, tensor<3x4xf32>) -> tensor<2x4xf32>
  return %0 : tensor<2x4xf32>
}

// -----

func.func @c2(%a: tensor<2x3xf32>, %b: tensor<5x4xf32>) -> tensor<2x4xf32> {
  // expected-error @below {{C2: label 'b' has two sizes}}
  %0 = nn.contract %a, %b {equation = "ab,bc->ac"} : (tensor<2x3xf32>, tensor<5x4xf32>) -> tensor<2x4xf32>
  return %0 : tensor<2x4xf32>
}

// -----

func.func @c3(%a: tensor<2x3xf32>, %b: tensor<3x4xf32>) -> tensor<2xf32> {
  // expected-error @below {{C3: label 'c' stands in one operand only and not in the result}}
  %0 = nn.contract %a, %b {equation = "ab,bc->a"} : (tensor<2x3xf32>, tensor<3x4xf32>) -> tensor<2xf32>
  return %0 : tensor<2xf32>
}

// -----

func.func @c4(%a: tensor<2x3xf32>, %b: tensor<3x4xf64>) -> tensor<2x4xf32> {
  // expected-error @below {{C4: element types differ}}
  %0 = nn.contract %a, %b {equation = "ab,bc->ac"} : (tensor<2x3xf32>, tensor<3x4xf64>) -> tensor<2x4xf32>
  return %0 : tensor<2x4xf32>
}
