// RUN: llmc-opt %s --split-input-file --verify-diagnostics

func.func @parts_divide(%x: tensor<3x5xf32>) {
  // expected-error@+1 {{C1: the parts do not divide the dimension}}
  %0 = nn.flatten_parts %x {dim = 1 : i64, parts = 2 : i64} : (tensor<3x5xf32>) -> tensor<2x8xf32>
  return
}

// -----

func.func @one_part_has_no_dimension(%x: tensor<3x5xf32>) {
  // expected-error@+1 {{C1: the parts do not divide the dimension}}
  %0 = nn.flatten_parts %x {dim = 1 : i64, parts = 1 : i64} : (tensor<3x5xf32>) -> tensor<15xf32>
  return
}

// -----

func.func @too_few_elements(%x: tensor<3x6xf32>) {
  // expected-error@+1 {{C2: the flat form is no row of the tensor's elements for each part}}
  %0 = nn.flatten_parts %x {dim = 1 : i64, parts = 2 : i64} : (tensor<3x6xf32>) -> tensor<2x8xf32>
  return
}

// -----

func.func @a_row_for_each_part(%x: tensor<18xf32>) {
  // expected-error@+1 {{C2: the flat form is no row of the tensor's elements for each part}}
  %0 = nn.unflatten_parts %x {dim = 1 : i64, parts = 2 : i64} : (tensor<18xf32>) -> tensor<3x6xf32>
  return
}
