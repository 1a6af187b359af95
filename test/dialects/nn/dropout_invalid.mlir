// RUN: llmc-opt %s --split-input-file --verify-diagnostics

func.func @no_vector_of_two(%x: tensor<2x6xf32>, %p: tensor<3xi64>) {
  // expected-error@+1 {{C1: position must be tensor<2xi64>, or with strides tensor<3xi64>}}
  %0 = nn.dropout %x, %p {ratio = 0.5 : f64, seed = 1 : i64, id = 2 : i64} : (tensor<2x6xf32>, tensor<3xi64>) -> tensor<2x6xf32>
  return
}

// -----

func.func @no_first_entry(%x: tensor<2x6xf32>, %p: tensor<2xi64>) {
  // expected-error@+1 {{C1: position must be tensor<2xi64>, or with strides tensor<3xi64>}}
  %0 = nn.dropout %x, %p {ratio = 0.5 : f64, seed = 1 : i64, id = 2 : i64, strides = array<i64: 1>} : (tensor<2x6xf32>, tensor<2xi64>) -> tensor<2x6xf32>
  return
}

// -----

func.func @strides_of_nothing(%x: tensor<2x6xf32>) {
  // expected-error@+1 {{C1: position must be tensor<2xi64>, or with strides tensor<3xi64>}}
  %0 = nn.dropout %x {ratio = 0.5 : f64, seed = 1 : i64, id = 2 : i64, strides = array<i64: 1>} : (tensor<2x6xf32>) -> tensor<2x6xf32>
  return
}

// -----

func.func @keeps_nothing(%x: tensor<2x6xf32>) {
  // expected-error@+1 {{C2: ratio must be in [0, 1)}}
  %0 = nn.dropout %x {ratio = 1.0 : f64, seed = 1 : i64, id = 2 : i64} : (tensor<2x6xf32>) -> tensor<2x6xf32>
  return
}

// -----

func.func @too_many_strides(%x: tensor<2x6xf32>, %p: tensor<3xi64>) {
  // expected-error@+1 {{C3: strides must be one for each dimension behind the first}}
  %0 = nn.dropout %x, %p {ratio = 0.5 : f64, seed = 1 : i64, id = 2 : i64, strides = array<i64: 6, 1>} : (tensor<2x6xf32>, tensor<3xi64>) -> tensor<2x6xf32>
  return
}

// -----

func.func @strides_of_a_scalar(%x: tensor<f32>, %p: tensor<3xi64>) {
  // expected-error@+1 {{C3: strides must be one for each dimension behind the first}}
  %0 = nn.dropout %x, %p {ratio = 0.5 : f64, seed = 1 : i64, id = 2 : i64, strides = array<i64>} : (tensor<f32>, tensor<3xi64>) -> tensor<f32>
  return
}

// -----

func.func @backwards(%x: tensor<2x6xf32>, %p: tensor<3xi64>) {
  // expected-error@+1 {{C3: strides must be one for each dimension behind the first, not negative}}
  %0 = nn.dropout %x, %p {ratio = 0.5 : f64, seed = 1 : i64, id = 2 : i64, strides = array<i64: -1>} : (tensor<2x6xf32>, tensor<3xi64>) -> tensor<2x6xf32>
  return
}

// -----

func.func @beyond_all_tensors(%x: tensor<2x6xf32>, %p: tensor<3xi64>) {
  // expected-error@+1 {{number no entry beyond 2^60}}
  %0 = nn.dropout %x, %p {ratio = 0.5 : f64, seed = 1 : i64, id = 2 : i64, strides = array<i64: 1152921504606846976>} : (tensor<2x6xf32>, tensor<3xi64>) -> tensor<2x6xf32>
  return
}
