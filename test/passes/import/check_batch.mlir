// RUN: llmc-opt %s --import-check-batch --split-input-file --verify-diagnostics | FileCheck %s

// Averages, quotients of two sums, and numbers that meet samples one by one are the same for any number of samples.
// CHECK-LABEL: func.func @forward
module attributes {train.recipe = {"batch.micro" = 2 : i64, "batch.step" = 4 : i64}} {
func.func @forward(%x: tensor<4x3xf32> {train.name = "x", train.role = "input"}, %m: tensor<4x3xf32> {train.name = "m", train.role = "input"}) -> (tensor<f32>, tensor<f32>) {
  %half = arith.constant dense<0.5> : tensor<4x3xf32>
  %scale = arith.constant dense<0.25> : tensor<f32>
  %h = arith.mulf %x, %half : tensor<4x3xf32>
  %a = nn.reduce %h {kind = 1 : i32, dims = array<i64: 0, 1>} : (tensor<4x3xf32>) -> tensor<f32>
  %b = arith.mulf %a, %scale : tensor<f32>
  %p = arith.mulf %h, %m : tensor<4x3xf32>
  %s = nn.reduce %p {kind = 0 : i32, dims = array<i64: 0, 1>} : (tensor<4x3xf32>) -> tensor<f32>
  %n = nn.reduce %m {kind = 0 : i32, dims = array<i64: 0, 1>} : (tensor<4x3xf32>) -> tensor<f32>
  %q = arith.divf %s, %n : tensor<f32>
  %r = arith.mulf %q, %scale : tensor<f32>
  return %b, %r : tensor<f32>, tensor<f32>
}
}

// -----

// A number that scales a sum over samples, in one step or after others, may be the number of samples; each is named.
module attributes {train.recipe = {"batch.micro" = 2 : i64, "batch.step" = 4 : i64}} {
func.func @forward(%x: tensor<4x3xf32> {train.name = "x", train.role = "input"}) -> (tensor<3xf32>, tensor<f32>, tensor<i64>) {
  %twelve = arith.constant dense<12.0> : tensor<3xf32>
  %one = arith.constant dense<0.25> : tensor<f32>
  %eps = arith.constant dense<1.0e-5> : tensor<f32>
  %four = arith.constant dense<4> : tensor<i64>
  %s = nn.reduce %x {kind = 0 : i32, dims = array<i64: 0>} : (tensor<4x3xf32>) -> tensor<3xf32>
  // expected-error @+2 {{divides a sum over the samples of the batch by a number (12) that may follow from the batch size}}
  // expected-note @+1 {{hint: the file was exported with 4 samples: export it with 2, as many as a micro-batch has, or write `micro: 4`}}
  %d = arith.divf %s, %twelve : tensor<3xf32>
  %t = nn.reduce %s {kind = 0 : i32, dims = array<i64: 0>} : (tensor<3xf32>) -> tensor<f32>
  %u = arith.addf %t, %eps : tensor<f32>
  %r = math.sqrt %u : tensor<f32>
  // expected-error @+2 {{multiplies a sum over the samples of the batch by a number (0.25)}}
  // expected-note @+1 {{hint: the file was exported}}
  %m = arith.mulf %one, %r : tensor<f32>
  %i = arith.fptosi %t : tensor<f32> to tensor<i64>
  // expected-error @+2 {{divides a sum over the samples of the batch by a number (4)}}
  // expected-note @+1 {{hint: the file was exported}}
  %k = arith.divsi %i, %four : tensor<i64>
  return %d, %m, %k : tensor<3xf32>, tensor<f32>, tensor<i64>
}
}

// -----

// Samples that are compared with each other (the scores of a contrastive loss), split, or taken one by one.
module attributes {train.recipe = {"batch.micro" = 2 : i64, "batch.step" = 4 : i64}} {
func.func @forward(%x: tensor<4x6xf32> {train.name = "x", train.role = "input"}, %w: tensor<4x6xf32> {train.name = "w", train.role = "param"}) -> (tensor<4x4xf32>, tensor<2x2x6xf32>, tensor<1x6xf32>, tensor<4x6xf32>) {
  %s = nn.contract %x, %x {equation = "ac,bc->ab"} : (tensor<4x6xf32>, tensor<4x6xf32>) -> tensor<4x4xf32>
  // expected-error @+2 {{uses the samples of the batch together, so the batch size cannot be changed}}
  // expected-note @+1 {{hint}}
  %p = nn.softmax %s : (tensor<4x4xf32>) -> tensor<4x4xf32>
  // expected-error @+2 {{splits the batch dimension (size 4)}}
  // expected-note @+1 {{hint}}
  %e = tensor.expand_shape %x [[0, 1], [2]] output_shape [2, 2, 6] : tensor<4x6xf32> into tensor<2x2x6xf32>
  // expected-error @+2 {{takes a fixed number of the batch's samples}}
  // expected-note @+1 {{hint}}
  %f = tensor.extract_slice %x[0, 0] [1, 6] [1, 1] : tensor<4x6xf32> to tensor<1x6xf32>
  // expected-error @+2 {{ties the batch dimension to a weight}}
  // expected-note @+1 {{hint}}
  %a = arith.addf %x, %w : tensor<4x6xf32>
  return %p, %e, %f, %a : tensor<4x4xf32>, tensor<2x2x6xf32>, tensor<1x6xf32>, tensor<4x6xf32>
}
}

// -----

// With as many samples as the file was exported with, all of that is right.
// CHECK-LABEL: func.func @forward
module attributes {train.recipe = {"batch.micro" = 4 : i64, "batch.step" = 8 : i64}} {
func.func @forward(%x: tensor<4x6xf32> {train.name = "x", train.role = "input"}) -> tensor<4x4xf32> {
  %s = nn.contract %x, %x {equation = "ac,bc->ab"} : (tensor<4x6xf32>, tensor<4x6xf32>) -> tensor<4x4xf32>
  %p = nn.softmax %s : (tensor<4x4xf32>) -> tensor<4x4xf32>
  return %p : tensor<4x4xf32>
}
}

// -----

// Where export.py compared several sizes, a number is just a number, and a quotient by the batch size is an average.
// CHECK-LABEL: func.func @forward
module attributes {train.recipe = {"batch.micro" = 2 : i64, "batch.step" = 4 : i64}} {
func.func @forward(%x: tensor<4x6xf32> {train.name = "x", train.role = "input"}) -> (tensor<f32>, tensor<f32>) attributes {train.known_numbers} {
  %ten = arith.constant dense<10.0> : tensor<f32>
  %s = nn.reduce %x {kind = 0 : i32, dims = array<i64: 0, 1>} : (tensor<4x6xf32>) -> tensor<f32>
  %d = arith.divf %s, %ten : tensor<f32>
  %n = nn.batch_size %x : (tensor<4x6xf32>) -> tensor<f32>
  %e = arith.divf %s, %n : tensor<f32>
  return %d, %e : tensor<f32>, tensor<f32>
}
}

// -----

// It also says where only the exported size is right, and why.
module attributes {train.recipe = {"batch.micro" = 2 : i64, "batch.step" = 4 : i64}} {
// expected-error @+2 {{this model computes something else with another number of samples: forward does other operations at m.py:3}}
// expected-note @+1 {{hint: the file was exported with 4 samples: export it with 2}}
func.func @forward(%x: tensor<4x6xf32> {train.name = "x", train.role = "input"}) -> tensor<4x6xf32> attributes {train.fixed_batch = "forward does other operations at m.py:3"} {
  return %x : tensor<4x6xf32>
}
}

// -----

// A step of two micro-batches of the exported size is another number of samples, too, for a number made of it.
module attributes {train.recipe = {"batch.micro" = 4 : i64, "batch.step" = 8 : i64}} {
func.func @forward(%x: tensor<4x6xf32> {train.name = "x", train.role = "input"}) -> tensor<f32> {
  %four = arith.constant dense<4.0> : tensor<f32>
  %s = nn.reduce %x {kind = 0 : i32, dims = array<i64: 0, 1>} : (tensor<4x6xf32>) -> tensor<f32>
  // expected-error @+2 {{divides a sum over the samples of the batch by a number (4) that may follow from the batch size}}
  // expected-note @+1 {{hint: export the model with as many samples as a step has}}
  %d = arith.divf %s, %four : tensor<f32>
  return %d : tensor<f32>
}
}

// -----

// Averaged over micro-batches, it is right.
// CHECK-LABEL: func.func @forward
module attributes {train.recipe = {"batch.micro" = 4 : i64, "batch.step" = 8 : i64, loss_average = "micro_batch"}} {
func.func @forward(%x: tensor<4x6xf32> {train.name = "x", train.role = "input"}) -> tensor<f32> {
  %four = arith.constant dense<4.0> : tensor<f32>
  %s = nn.reduce %x {kind = 0 : i32, dims = array<i64: 0, 1>} : (tensor<4x6xf32>) -> tensor<f32>
  %d = arith.divf %s, %four : tensor<f32>
  return %d : tensor<f32>
}
}
