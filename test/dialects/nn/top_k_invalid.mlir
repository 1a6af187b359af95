// RUN: llmc-opt %s --split-input-file --verify-diagnostics

func.func @all(%x: tensor<2x3xf32>) -> tensor<2x3xf32> {
  %v, %i = nn.top_k %x : (tensor<2x3xf32>) -> (tensor<2x3xf32>, tensor<2x3xi64>)
  return %v : tensor<2x3xf32>
}

// -----

func.func @more(%x: tensor<2x3xf32>) -> tensor<2x4xf32> {
  // expected-error @below {{C1: k is not between 1 and the input's last dimension}}
  %v, %i = nn.top_k %x : (tensor<2x3xf32>) -> (tensor<2x4xf32>, tensor<2x4xi64>)
  return %v : tensor<2x4xf32>
}

// -----

func.func @none(%x: tensor<2x3xf32>) -> tensor<2x0xf32> {
  // expected-error @below {{C1: k is not between 1 and the input's last dimension}}
  %v, %i = nn.top_k %x : (tensor<2x3xf32>) -> (tensor<2x0xf32>, tensor<2x0xi64>)
  return %v : tensor<2x0xf32>
}

// -----

func.func @rows(%x: tensor<2x3xf32>) -> tensor<3x2xf32> {
  // expected-error @below {{C1: result shapes do not follow the input's}}
  %v, %i = nn.top_k %x : (tensor<2x3xf32>) -> (tensor<3x2xf32>, tensor<3x2xi64>)
  return %v : tensor<3x2xf32>
}

// -----

func.func @indices(%x: tensor<2x3xf32>) -> tensor<2x2xf32> {
  // expected-error @below {{C1: result shapes do not follow the input's}}
  %v, %i = nn.top_k %x : (tensor<2x3xf32>) -> (tensor<2x2xf32>, tensor<2x1xi64>)
  return %v : tensor<2x2xf32>
}

// -----

func.func @rank(%x: tensor<2x3xf32>) -> tensor<2xf32> {
  // expected-error @below {{C1: result shapes do not follow the input's}}
  %v, %i = nn.top_k %x : (tensor<2x3xf32>) -> (tensor<2xf32>, tensor<2xi64>)
  return %v : tensor<2xf32>
}
