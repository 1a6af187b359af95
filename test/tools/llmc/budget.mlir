// A plan beyond its budget is refused with exit code 5, with what stands at the peak and what would help.
// RUN: sed '$amemory: {budget: 164KiB}' %S/../../models/mlp/recipe.yaml > %t.yaml
// RUN: echo kept > %t.plan
// RUN: sh -c 'llmc compile %S/../../models/mlp/model.onnx -r %t.yaml -o %t.plan 2> %t.err; test $? -eq 5'
// RUN: FileCheck %s --input-file=%t.err
// RUN: grep kept %t.plan
// CHECK: error: the plan needs {{.*}} bytes, `memory.budget` is 167,936 bytes
// CHECK: optimizer: 76,880 bytes
// CHECK: temporaries: {{.*}} at their peak, in @accumulate at [node_
// CHECK: tensor<8x128xf32>  activation [node_
// CHECK: hint: a smaller micro-batch fits: with `batch: {step: 32, micro: 4}` it needs {{.*}} bytes

// Where the state alone is too large, a smaller batch is no help.
// RUN: sed '$amemory: {budget: 100KiB}' %S/../../models/mlp/recipe.yaml > %t.state.yaml
// RUN: not llmc compile %S/../../models/mlp/model.onnx -r %t.state.yaml --stop-after plan 2>&1 | FileCheck %s --check-prefix=STATE
// STATE: hint: parameters, gradients and optimizer state alone are 154,112 bytes
