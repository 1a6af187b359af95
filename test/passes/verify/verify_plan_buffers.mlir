// RUN: llmc-opt %s --verify-level=level=plan --split-input-file --verify-diagnostics

// Buffers side by side, up to the last byte of the arena; one after the other in the same bytes.
plan.arena @state "state" 128
plan.arena @scratch "scratch" 256
plan.buffer @v @state 0 : tensor<16xf32> "parameter"
plan.buffer @w @state 64 : tensor<16xf32> "parameter"
plan.buffer @a @scratch 0 : tensor<16xf32> "activation" {segment = "evaluate", first = 0 : i64, last = 1 : i64}
plan.buffer @b @scratch 0 : tensor<16xf32> "activation" {segment = "evaluate", first = 2 : i64, last = 3 : i64}
plan.buffer @c @scratch 64 : tensor<16xf32> "activation" {segment = "evaluate", first = 0 : i64, last = 3 : i64}
plan.buffer @part @scratch 64 : tensor<16xf32> "activation" {alias_of = @c, segment = "evaluate", first = 0 : i64, last = 3 : i64}
plan.segment @evaluate {
  plan.copy [#plan.operand<@a, 0, 64, "write">, #plan.operand<@v, 0, 64, "read">]
  plan.copy [#plan.operand<@part, 32, 32, "write">, #plan.operand<@a, 32, 32, "read">]
  plan.copy [#plan.operand<@b, 0, 64, "write">, #plan.operand<@c, 0, 64, "read">]
  plan.copy [#plan.operand<@w, 0, 64, "write">, #plan.operand<@b, 0, 64, "read">]
}

// -----

// expected-error@+1 {{names no arena}}
plan.buffer @w @state 0 : tensor<16xf32> "parameter"

// -----

// expected-error@+1 {{names no arena}}
plan.buffer @w @state 0 : tensor<16xf32> "parameter" {alias_of = @v}
plan.arena @other "state" 64
plan.buffer @v @other 0 : tensor<16xf32> "parameter"

// -----

plan.arena @state "state" 128
plan.arena @scratch "scratch" 256
// expected-error@+1 {{leaves its arena: bytes [65, 129) of 128}}
plan.buffer @w @state 65 : tensor<16xf32> "parameter"

// -----

plan.arena @state "state" 128
plan.arena @scratch "scratch" 256
// expected-error@+1 {{leaves its arena: bytes [-1, 63) of 128}}
plan.buffer @w @state -1 : tensor<16xf32> "parameter"

// -----

plan.arena @state "state" 128
plan.arena @scratch "scratch" 256
plan.buffer @v @state 0 : tensor<16xf32> "parameter"
// expected-error@+1 {{overlaps 'v' while both live}}
plan.buffer @w @state 60 : tensor<16xf32> "parameter"

// -----

// A life ends with its last instruction, not before.
plan.arena @state "state" 128
plan.arena @scratch "scratch" 256
plan.buffer @a @scratch 0 : tensor<16xf32> "activation" {segment = "evaluate", first = 0 : i64, last = 2 : i64}
// expected-error@+1 {{overlaps 'a' while both live}}
plan.buffer @b @scratch 0 : tensor<16xf32> "activation" {segment = "evaluate", first = 2 : i64, last = 3 : i64}

// -----

plan.arena @state "state" 128
plan.arena @scratch "scratch" 256
// expected-error@+1 {{is a part of no buffer}}
plan.buffer @w @state 0 : tensor<16xf32> "parameter" {alias_of = @v}

// -----

plan.arena @state "state" 128
plan.arena @scratch "scratch" 256
plan.buffer @c @scratch 64 : tensor<16xf32> "activation" {segment = "evaluate", first = 1 : i64, last = 3 : i64}
// expected-error@+1 {{does not lie inside 'c', which it is a part of}}
plan.buffer @p @scratch 64 : tensor<17xf32> "activation" {alias_of = @c, segment = "evaluate", first = 1 : i64, last = 3 : i64}

// -----

plan.arena @state "state" 128
plan.arena @scratch "scratch" 256
plan.buffer @c @scratch 64 : tensor<16xf32> "activation" {segment = "evaluate", first = 1 : i64, last = 3 : i64}
// expected-error@+1 {{does not lie inside 'c', which it is a part of}}
plan.buffer @p @scratch 60 : tensor<16xf32> "activation" {alias_of = @c, segment = "evaluate", first = 1 : i64, last = 3 : i64}

// -----

plan.arena @state "state" 128
plan.arena @scratch "scratch" 256
plan.buffer @c @scratch 64 : tensor<16xf32> "activation" {segment = "evaluate", first = 1 : i64, last = 3 : i64}
// expected-error@+1 {{outlives 'c', which it is a part of}}
plan.buffer @p @scratch 64 : tensor<16xf32> "activation" {alias_of = @c, segment = "update", first = 1 : i64, last = 3 : i64}

// -----

plan.arena @state "state" 128
plan.arena @scratch "scratch" 256
plan.buffer @c @scratch 64 : tensor<16xf32> "activation" {segment = "evaluate", first = 1 : i64, last = 3 : i64}
// expected-error@+1 {{outlives 'c', which it is a part of}}
plan.buffer @p @scratch 64 : tensor<16xf32> "activation" {alias_of = @c, segment = "evaluate", first = 0 : i64, last = 3 : i64}

// -----

plan.arena @state "state" 128
plan.arena @scratch "scratch" 256
plan.buffer @c @scratch 64 : tensor<16xf32> "activation" {segment = "evaluate", first = 1 : i64, last = 3 : i64}
// expected-error@+1 {{outlives 'c', which it is a part of}}
plan.buffer @p @scratch 64 : tensor<16xf32> "activation" {alias_of = @c, segment = "evaluate", first = 1 : i64, last = 4 : i64}

// -----

plan.arena @other "scratch" 256
plan.arena @state "state" 128
plan.arena @scratch "scratch" 256
plan.buffer @c @scratch 64 : tensor<16xf32> "activation" {segment = "evaluate", first = 1 : i64, last = 3 : i64}
// expected-error@+1 {{does not lie inside 'c', which it is a part of}}
plan.buffer @p @other 64 : tensor<16xf32> "activation" {alias_of = @c, segment = "evaluate", first = 1 : i64, last = 3 : i64}

// -----

plan.arena @state "state" 128
plan.arena @scratch "scratch" 256
plan.buffer @v @state 0 : tensor<16xf32> "parameter"
plan.segment @evaluate {
  // expected-error@+1 {{operand names no buffer}}
  plan.fill 0 4 [#plan.operand<@x, 0, 64, "write">]
}

// -----

plan.arena @state "state" 128
plan.arena @scratch "scratch" 256
plan.buffer @v @state 0 : tensor<16xf32> "parameter"
plan.segment @evaluate {
  plan.fill 0 4 [#plan.operand<@v, 32, 32, "write">]
  // expected-error@+1 {{operand leaves buffer 'v'}}
  plan.fill 0 4 [#plan.operand<@v, 33, 32, "write">]
}

// -----

plan.arena @state "state" 128
plan.arena @scratch "scratch" 256
plan.buffer @v @state 0 : tensor<16xf32> "parameter"
plan.buffer @a @scratch 0 : tensor<16xf32> "activation" {segment = "evaluate", first = 1 : i64, last = 1 : i64}
plan.segment @evaluate {
  // expected-error@+1 {{uses buffer 'a' outside its life}}
  plan.fill 0 4 [#plan.operand<@a, 0, 64, "write">]
  plan.fill 0 4 [#plan.operand<@a, 0, 64, "write">]
  // expected-error@+1 {{uses buffer 'a' outside its life}}
  plan.fill 0 4 [#plan.operand<@a, 0, 64, "write">]
}

// -----

plan.arena @state "state" 128
plan.arena @scratch "scratch" 256
plan.buffer @v @state 0 : tensor<16xf32> "parameter"
plan.buffer @a @scratch 0 : tensor<16xf32> "activation" {segment = "evaluate", first = 1 : i64, last = 1 : i64}
plan.segment @update {
  plan.fill 0 4 [#plan.operand<@v, 0, 64, "write">]
  // expected-error@+1 {{uses buffer 'a' outside its life}}
  plan.fill 0 4 [#plan.operand<@a, 0, 64, "write">]
}

// -----

plan.arena @state "state" 128
plan.arena @scratch "scratch" 256
plan.buffer @v @state 0 : tensor<16xf32> "parameter"
plan.buffer @a @scratch 0 : tensor<16xf32> "activation" {segment = "evaluate", first = 1 : i64, last = 1 : i64}
plan.segment @evaluate {
  plan.fill 0 4 [#plan.operand<@v, 0, 64, "write">]
  // expected-error@+1 {{reads buffer 'a' before anything wrote it}}
  plan.fill 0 4 [#plan.operand<@a, 0, 64, "readwrite">]
}
