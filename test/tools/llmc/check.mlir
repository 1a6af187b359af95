// What check says of a model: its operators, tensors with their sizes, outputs, and what is trained with the reason.
// RUN: llmc check %S/../../models/mlp/model.onnx | FileCheck %s --match-full-lines --strict-whitespace
//      CHECK:operators: 4 nodes
// CHECK-NEXT:  Gemm:2 Relu:1 SoftmaxCrossEntropyLoss:1
// CHECK-NEXT:parameters: 4 tensors, 9610 elements, 38440 bytes
// CHECK-NEXT:  fc1.weight                                                   tensor<128x64xf32>
// CHECK-NEXT:  fc1.bias                                                     tensor<128xf32>
// CHECK-NEXT:  fc2.weight                                                   tensor<10x128xf32>
// CHECK-NEXT:  fc2.bias                                                     tensor<10xf32>
// CHECK-NEXT:buffers: 0 tensors, 0 elements, 0 bytes
// CHECK-NEXT:inputs (each needs a key under `data`): 2 tensors, 2080 elements, 8448 bytes
// CHECK-NEXT:  input                                                        tensor<32x64xf32>
// CHECK-NEXT:  labels                                                       tensor<32xi64>
// CHECK-NEXT:outputs: loss tensor<f32> logits tensor<32x10xf32>
// CHECK-NEXT:trained: 4
// CHECK-NEXT:  fc1.weight  [128, 64]  a parameter of the module
// CHECK-NEXT:  fc1.bias    [128]  a parameter of the module
// CHECK-NEXT:  fc2.weight  [10, 128]  a parameter of the module
// CHECK-NEXT:  fc2.bias    [10]  a parameter of the module
// CHECK-NEXT:not trained: 0
// CHECK-NEXT:note: there is no proof beside the model (model.proof.safetensors), so that PyTorch's loss and gradients are not compared

// With a recipe sizes are the recipe's, and `trainable` chooses.
// RUN: cp %S/../../models/mlp/recipe.yaml %t.yaml && echo 'trainable: ["fc2.*"]' >> %t.yaml
// RUN: llmc check %S/../../models/mlp/model.onnx -r %t.yaml | FileCheck %s --check-prefix=SOME
// SOME: inputs (each needs a key under `data`): 2 tensors,
// SOME: trained: 2
// SOME-NEXT: fc2.weight [10, 128] a parameter of the module
// SOME-NEXT: fc2.bias [10] a parameter of the module
// SOME-NEXT: not trained: 2
// SOME-NEXT: fc1.weight [128, 64] no glob of `trainable` matches it
// SOME-NEXT: fc1.bias [128] no glob of `trainable` matches it

// What compile would refuse, check refuses.
// RUN: cp %S/../../models/mlp/recipe.yaml %t.yaml && echo 'trainable: ["fc3.*"]' >> %t.yaml
// RUN: not llmc check %S/../../models/mlp/model.onnx -r %t.yaml 2>&1 | FileCheck %s --check-prefix=NONE
// NONE: error: `trainable`: no parameter of the model is called `fc3.*`
