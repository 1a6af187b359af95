// The page of keys is what the parser's table says.
// RUN: llmc recipe --markdown > %t.md
// RUN: diff %t.md %S/../../../docs/recipe.md

// RUN: llmc recipe --explain clip_grad_norm | FileCheck %s --check-prefix=CLIP
// CLIP: clip_grad_norm: number greater than 0
// CLIP: example: clip_grad_norm: 1.0

// A key with others below it explains these too.
// RUN: llmc recipe --explain optimizer.sgd | FileCheck %s --check-prefix=SGD
// SGD: optimizer.sgd: mapping
// SGD: optimizer.sgd.momentum: number from 0 to 1 (default 0.0)

// RUN: not llmc recipe --explain optimiser 2>&1 | FileCheck %s --check-prefix=NEAR
// NEAR: error: a recipe has no key 'optimiser'
// NEAR: hint: did you mean `optimizer`?

// RUN: llmc recipe | FileCheck %s --check-prefix=LIST
// LIST: seed: integer from 0 to 2^64-1 (default 1234)

// All values in force, numbers that the model decides among them; nothing is written.
// RUN: echo '{"data": {"input": "input", "labels": "labels"}}' > %t.yaml
// RUN: llmc compile %S/../../models/mlp/model.onnx -r %t.yaml --print-recipe | FileCheck %s --check-prefix=PRINT
// PRINT: loss: "loss"
// PRINT: batch: {step: 32, micro: 32}
// PRINT: optimizer: {adamw: {lr: 3e-04, weight_decay: 0, betas: [0.9, 0.95], eps: 1e-08}}
// PRINT: memory: {recompute: cheap, offload: none}
// PRINT: seed: 1234

// `check` refuses what `compile` refuses.
// RUN: echo 'data: {input: input, labels: labels}' > %t.bad
// RUN: echo 'trainable: ["nothing.*"]' >> %t.bad
// RUN: not llmc check %S/../../models/mlp/model.onnx -r %t.bad 2>&1 | FileCheck %s --check-prefix=GLOB
// GLOB: error: `trainable`: no parameter of the model is called `nothing.*` [{{.*}}.bad:2]
