// A model that has trained is exported from its checkpoint, under the same names, and can be trained on from there.
// RUN: rm -rf %t && mkdir %t && cp %S/../../models/mlp/model.onnx %t/model.onnx
// RUN: llmc compile %t/model.onnx -r %S/../../models/mlp/recipe.yaml -o %t/m.plan
// RUN: llmc-run %t/m.plan --data %S/../../models/mlp/batches.safetensors --steps 3 --checkpoint %t/ck
// RUN: llmc export %t/ck --model %t/model.onnx -o %t/trained.onnx | FileCheck %s --check-prefix=DONE
// DONE: trained.onnx: {{[0-9]+}} tensors after step 3

// The weights of the new model are those of the checkpoint, bit for bit: exported again as tensors they make the same file as
// the checkpoint's, and step 1 of a run that starts from the new model is the same as that of one that starts from the tensors.
// RUN: llmc export %t/ck/step-00000003 --model %t/model.onnx -o %t/trained.safetensors
// RUN: cmp %t/trained.safetensors %t/ck/step-00000003/model.safetensors
// RUN: llmc compile %t/trained.onnx -r %S/../../models/mlp/recipe.yaml -o %t/again.plan
// RUN: llmc-run %t/again.plan --data %S/../../models/mlp/batches.safetensors --steps 1 | cut -c1-40 > %t/again
// RUN: llmc-run %t/m.plan --weights %t/trained.safetensors --data %S/../../models/mlp/batches.safetensors --steps 1 | cut -c1-40 > %t/weights
// RUN: diff %t/again %t/weights

// What does not fit is said with every name; a damaged checkpoint is noticed.
// RUN: not llmc export %t/ck --model %S/../../../examples/quickstart/model.onnx -o %t/x.onnx 2>&1 | FileCheck %s --check-prefix=OTHER
// OTHER: error: checkpoint '{{.*}}step-00000003' does not fit the model:
// OTHER: parameter 'positions.weight' is not in the checkpoint
// OTHER: hint: was it written by a run of another model?
// RUN: not llmc export %t --model %t/model.onnx -o %t/x.onnx 2>&1 | FileCheck %s --check-prefix=NONE
// NONE: error: there is no complete checkpoint in
// RUN: not llmc export %t/ck --model %t/model.onnx -o %t/model.onnx 2>&1 | FileCheck %s --check-prefix=SAME
// SAME: error: -o {{.*}} is the model itself, which is read
// RUN: dd if=/dev/zero of=%t/ck/step-00000003/model.safetensors bs=1 seek=9000 count=8 conv=notrunc
// RUN: not llmc export %t/ck --model %t/model.onnx -o %t/x.onnx 2>&1 | FileCheck %s --check-prefix=DAMAGED
// DAMAGED: error: all checkpoints in {{.*}} are damaged: {{.*}}its digest does not match the manifest
// RUN: not ls %t/x.onnx
