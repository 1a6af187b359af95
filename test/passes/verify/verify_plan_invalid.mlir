// RUN: llmc-opt %s --verify-level=level=plan --split-input-file --verify-diagnostics

// Two temporaries that live at once share bytes.
plan.arena @scratch "scratch" 128
// expected-error@+1 {{overlaps 'b' while both live}}
plan.buffer @a @scratch 32 : tensor<16xf32> "activation" {segment = "evaluate", first = 1 : i64, last = 2 : i64}
plan.buffer @b @scratch 0 : tensor<16xf32> "activation" {segment = "evaluate", first = 0 : i64, last = 1 : i64}

// -----

plan.arena @state "state" 64
// expected-error@+1 {{leaves its arena: bytes [64, 128) of 64}}
plan.buffer @w @state 64 : tensor<16xf32> "parameter"

// -----

// A temporary is read before anything wrote it, and used after its life.
plan.arena @scratch "scratch" 128
plan.buffer @a @scratch 0 : tensor<16xf32> "activation" {segment = "evaluate", first = 0 : i64, last = 0 : i64}
plan.buffer @b @scratch 64 : tensor<16xf32> "activation" {segment = "evaluate", first = 0 : i64, last = 1 : i64}
plan.segment @evaluate {
  // expected-error@+1 {{reads buffer 'a' before anything wrote it}}
  plan.copy [#plan.operand<@b, 0, 64, "write">, #plan.operand<@a, 0, 64, "read">]
  // expected-error@+1 {{uses buffer 'a' outside its life}}
  plan.copy [#plan.operand<@a, 0, 64, "write">, #plan.operand<@b, 0, 64, "read">]
}

// -----

plan.arena @scratch "scratch" 128
plan.buffer @whole @scratch 0 : tensor<16xf32> "activation" {segment = "evaluate", first = 0 : i64, last = 4 : i64}
// expected-error@+1 {{does not lie inside 'whole', which it is a part of}}
plan.buffer @part @scratch 32 : tensor<16xf32> "activation" {alias_of = @whole, segment = "evaluate", first = 0 : i64, last = 4 : i64}
// expected-error@+1 {{outlives 'whole', which it is a part of}}
plan.buffer @late @scratch 0 : tensor<8xf32> "activation" {alias_of = @whole, segment = "evaluate", first = 0 : i64, last = 5 : i64}
