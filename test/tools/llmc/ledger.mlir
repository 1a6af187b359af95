// The ledger says of each message its group, bytes, the time that no compute hides, its reason, and the node and line that it
// comes from; of a message of several the first, and how many more.
// RUN: rm -rf %t && mkdir %t && cp %S/../../models/mlp/model.onnx %t/model.onnx
// RUN: (cat %S/../../models/mlp/recipe.yaml; echo "mesh: {dp: 2}"; echo "zero: 1") > %t/data.yaml
// RUN: llmc compile %t/model.onnx -r %t/data.yaml -o %t/m.plan
// RUN: llmc explain %t/m.plan | FileCheck %s
// CHECK: communication of a rank
// CHECK-NEXT: segment at collective groups ranks payload bytes sent bytes forecast exposed reason
// CHECK: update {{.*}} reduce_scatter groups.dp 2 38,440 19220.0 {{.*}} ms {{.*}} ms gradient of fc2.bias and 3 more [node_cross_entropy_loss, {{.*}}.py:{{[0-9]+}} and 1 more]
// CHECK: update {{.*}} all_gather groups.dp {{.*}} param fc1.weight and 3 more [node_linear, {{.*}}.py:{{[0-9]+}} and 1 more]
// RUN: llmc explain %t/m.plan --json | FileCheck %s --check-prefix=JSON
// JSON: "origin": "node_cross_entropy_loss, {{.*}}.py:{{[0-9]+}} and 1 more"

// A sum within the model comes from one node.
// RUN: (cat %S/../../models/mlp/recipe.yaml; echo "mesh: {tp: 2}") > %t/tensor.yaml
// RUN: llmc plan %t/model.onnx -r %t/tensor.yaml | FileCheck %s --check-prefix=TENSOR
// TENSOR: communication of a rank
// TENSOR: accumulate {{.*}} all_reduce groups.tp {{.*}} operand of math.log [node_cross_entropy_loss, {{.*}}.py:{{[0-9]+}}]

// With a bucket of nothing each tensor has its own message.
// RUN: (cat %t/data.yaml; echo "communication: {bucket: 0}") > %t/alone.yaml
// RUN: llmc plan %t/model.onnx -r %t/alone.yaml | FileCheck %s --check-prefix=ALONE
// ALONE: communication of a rank
// ALONE-NOT: more
// ALONE: param fc1.bias [node_linear, {{.*}}.py:{{[0-9]+}}]
// ALONE-NOT: more
// ALONE: per run of a segment
