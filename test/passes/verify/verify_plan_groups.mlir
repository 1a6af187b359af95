// RUN: llmc-opt %s --verify-level=level=plan --split-input-file --verify-diagnostics

// Groups of two, their collectives, and a part at the rank's place that ends with the whole.
module attributes {dist.mesh = #dist.mesh<dp = 2, tp = 2>} {
plan.arena @state "state" 128
plan.arena @scratch "scratch" 256
plan.groups @g ["dp"] 2 [0, 2, 1, 3]
plan.groups @all ["dp", "tp"] 4 [3, 2, 1, 0]
plan.groups @alone [] 1 [0, 1, 2, 3]
plan.buffer @v @state 0 : tensor<16xf32> "parameter"
plan.buffer @w @state 64 : tensor<8xf32> "parameter"
plan.buffer @u @state 96 : tensor<8xf32> "parameter"
plan.buffer @p @state 0 : tensor<8xf32> "parameter" {alias_of = @v, place_groups = @g, place_stride = 32 : i64}
plan.segment @evaluate {
  plan.collective "all_reduce" @g [#plan.operand<@w, 0, 32, "read">, #plan.operand<@u, 0, 32, "write">] {type = f32, reduction = "sum", reason = ""}
  plan.collective "all_gather" @g [#plan.operand<@w, 0, 32, "read">, #plan.operand<@v, 0, 64, "write">] {type = f32, reduction = "sum", reason = ""}
  plan.collective "reduce_scatter" @g [#plan.operand<@v, 0, 64, "read">, #plan.operand<@w, 0, 32, "write">] {type = f32, reduction = "sum", reason = ""}
  plan.collective "all_gather" @all [#plan.operand<@w, 0, 16, "read">, #plan.operand<@v, 0, 64, "write">] {type = f32, reduction = "sum", reason = ""}
}
}

// -----

// Without a mesh there is one rank.
plan.groups @alone [] 1 [0]

// -----

module attributes {dist.mesh = #dist.mesh<dp = 2, tp = 2>} {
// expected-error@+1 {{does not divide the 4 ranks into equal groups}}
plan.groups @g ["dp"] 2 [0, 1, 2]
}

// -----

module attributes {dist.mesh = #dist.mesh<dp = 2, tp = 2>} {
// expected-error@+1 {{does not divide the 4 ranks into equal groups}}
plan.groups @g ["dp"] 2 [0, 1, 2, 2]
}

// -----

module attributes {dist.mesh = #dist.mesh<dp = 2, tp = 2>} {
// expected-error@+1 {{does not divide the 4 ranks into equal groups}}
plan.groups @g ["dp"] 2 [1, 2, 3, 4]
}

// -----

module attributes {dist.mesh = #dist.mesh<dp = 2, tp = 2>} {
// expected-error@+1 {{does not divide the 4 ranks into equal groups}}
plan.groups @g ["dp"] 3 [0, 1, 2, 3]
}

// -----

module attributes {dist.mesh = #dist.mesh<dp = 2, tp = 2>} {
// expected-error@+1 {{does not divide the 4 ranks into equal groups}}
plan.groups @g ["dp"] 0 [0, 1, 2, 3]
}

// -----

module attributes {dist.mesh = #dist.mesh<dp = 2, tp = 2>} {
// expected-error@+1 {{does not divide the 4 ranks into equal groups}}
plan.groups @g ["dp"] 8 [0, 1, 2, 3]
}

// -----

module attributes {dist.mesh = #dist.mesh<dp = 2, tp = 2>} {
// expected-error@+1 {{does not divide the 4 ranks into equal groups}}
plan.groups @g ["dp"] 2 [0, 1, 2, 3, 4]
}

// -----

// expected-error@+1 {{does not divide the 1 ranks into equal groups}}
plan.groups @g [] 1 [1]

// -----

module attributes {dist.mesh = #dist.mesh<dp = 2, tp = 2>} {
plan.arena @state "state" 128
plan.arena @scratch "scratch" 256
plan.groups @g ["dp"] 2 [0, 2, 1, 3]
plan.buffer @v @state 0 : tensor<16xf32> "parameter"
plan.buffer @w @state 64 : tensor<8xf32> "parameter"
plan.buffer @u @state 96 : tensor<8xf32> "parameter"
plan.segment @evaluate {
  // expected-error@+1 {{names no division into groups}}
  plan.collective "all_reduce" @h [#plan.operand<@w, 0, 32, "read">, #plan.operand<@u, 0, 32, "write">] {type = f32, reduction = "sum", reason = ""}
}
}

// -----

module attributes {dist.mesh = #dist.mesh<dp = 2, tp = 2>} {
plan.arena @state "state" 128
plan.arena @scratch "scratch" 256
plan.groups @g ["dp"] 2 [0, 2, 1, 3]
plan.buffer @v @state 0 : tensor<16xf32> "parameter"
// expected-error@+1 {{depends on the rank's place, but is a part of no buffer}}
plan.buffer @p @state 0 : tensor<8xf32> "parameter" {place_groups = @g, place_stride = 32 : i64}

}

// -----

module attributes {dist.mesh = #dist.mesh<dp = 2, tp = 2>} {
plan.arena @state "state" 128
plan.arena @scratch "scratch" 256
plan.groups @g ["dp"] 2 [0, 2, 1, 3]
plan.buffer @v @state 0 : tensor<16xf32> "parameter"
plan.buffer @w @state 64 : tensor<8xf32> "parameter"
plan.buffer @u @state 96 : tensor<8xf32> "parameter"
// expected-error@+1 {{does not lie inside 'v', which it is a part of}}
plan.buffer @p @state 0 : tensor<8xf32> "parameter" {alias_of = @v, place_groups = @g, place_stride = 33 : i64}

}

// -----

module attributes {dist.mesh = #dist.mesh<dp = 2, tp = 2>} {
plan.arena @state "state" 128
plan.arena @scratch "scratch" 256
plan.groups @g ["dp"] 2 [0, 2, 1, 3]
plan.buffer @v @state 0 : tensor<16xf32> "parameter"
plan.buffer @w @state 64 : tensor<8xf32> "parameter"
plan.buffer @u @state 96 : tensor<8xf32> "parameter"
plan.segment @evaluate {
  // expected-error@+1 {{needs operands in pairs: from, to}}
  plan.collective "all_reduce" @g [] {type = f32, reduction = "sum", reason = ""}
  // expected-error@+1 {{needs operands in pairs: from, to}}
  plan.collective "all_reduce" @g [#plan.operand<@v, 0, 64, "read">] {type = f32, reduction = "sum", reason = ""}
}
}

// -----

// Each kind with the bytes of another, a kind that there is not, and operands in the other order.
module attributes {dist.mesh = #dist.mesh<dp = 2, tp = 2>} {
plan.arena @state "state" 128
plan.arena @scratch "scratch" 256
plan.groups @g ["dp"] 2 [0, 2, 1, 3]
plan.buffer @v @state 0 : tensor<16xf32> "parameter"
plan.buffer @w @state 64 : tensor<8xf32> "parameter"
plan.buffer @u @state 96 : tensor<8xf32> "parameter"
plan.segment @evaluate {
  // expected-error@+1 {{moves 64 bytes to 32 between 2 ranks}}
  plan.collective "all_reduce" @g [#plan.operand<@v, 0, 64, "read">, #plan.operand<@w, 0, 32, "write">] {type = f32, reduction = "sum", reason = ""}
  // expected-error@+1 {{moves 32 bytes to 60 between 2 ranks}}
  plan.collective "all_gather" @g [#plan.operand<@w, 0, 32, "read">, #plan.operand<@v, 0, 60, "write">] {type = f32, reduction = "sum", reason = ""}
  // expected-error@+1 {{moves 64 bytes to 32 between 2 ranks}}
  plan.collective "all_gather" @g [#plan.operand<@v, 0, 64, "read">, #plan.operand<@w, 0, 32, "write">] {type = f32, reduction = "sum", reason = ""}
  // expected-error@+1 {{moves 60 bytes to 32 between 2 ranks}}
  plan.collective "reduce_scatter" @g [#plan.operand<@v, 0, 60, "read">, #plan.operand<@w, 0, 32, "write">] {type = f32, reduction = "sum", reason = ""}
  // expected-error@+1 {{moves 32 bytes to 64 between 2 ranks}}
  plan.collective "reduce_scatter" @g [#plan.operand<@w, 0, 32, "read">, #plan.operand<@v, 0, 64, "write">] {type = f32, reduction = "sum", reason = ""}
  // expected-error@+1 {{moves 32 bytes to 32 between 2 ranks}}
  plan.collective "broadcast" @g [#plan.operand<@w, 0, 32, "read">, #plan.operand<@u, 0, 32, "write">] {type = f32, reduction = "sum", reason = ""}
  // expected-error@+1 {{moves 32 bytes to 32 between 2 ranks}}
  plan.collective "all_reduce" @g [#plan.operand<@w, 0, 32, "write">, #plan.operand<@u, 0, 32, "write">] {type = f32, reduction = "sum", reason = ""}
  // expected-error@+1 {{moves 32 bytes to 32 between 2 ranks}}
  plan.collective "all_reduce" @g [#plan.operand<@w, 0, 32, "read">, #plan.operand<@u, 0, 32, "readwrite">] {type = f32, reduction = "sum", reason = ""}
}
}
