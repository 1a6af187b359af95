// RUN: llmc-opt %s --split-input-file --verify-diagnostics

func.func @c1(%x: tensor<1x3xf32>, %c: tensor<3xf32>) -> tensor<1x3xf32> {
  // expected-error @below {{C1: rank 2 or more and two values in each channel expected: one has no variance}}
  %y, %m, %v = nn.batch_norm %x, %c, %c, %c, %c {epsilon = 1.0e-5 : f64, momentum = 0.9 : f64} : (tensor<1x3xf32>, tensor<3xf32>, tensor<3xf32>, tensor<3xf32>, tensor<3xf32>) -> (tensor<1x3xf32>, tensor<3xf32>, tensor<3xf32>)
  return %y : tensor<1x3xf32>
}

// -----

func.func @c2(%x: tensor<4x3xf32>, %c: tensor<3xf32>, %d: tensor<4xf32>) -> tensor<4x3xf32> {
  // expected-error @below {{C2: scale, bias and statistics must have shape [channels]}}
  %y, %m, %v = nn.batch_norm %x, %c, %d, %c, %c {epsilon = 1.0e-5 : f64, momentum = 0.9 : f64} : (tensor<4x3xf32>, tensor<3xf32>, tensor<4xf32>, tensor<3xf32>, tensor<3xf32>) -> (tensor<4x3xf32>, tensor<3xf32>, tensor<3xf32>)
  return %y : tensor<4x3xf32>
}
