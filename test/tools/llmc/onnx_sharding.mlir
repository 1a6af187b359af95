// A model is written with the shardings of its plan in the format's own fields, and compiled from these.
// RUN: rm -rf %t && mkdir %t && cp %S/../../models/mlp/model.onnx %t/model.onnx
// RUN: (cat %S/../../models/mlp/recipe.yaml; echo "mesh: {dp: 2, tp: 2}") > %t/mesh.yaml
// RUN: (cat %t/mesh.yaml; echo "onnx_sharding: four") > %t/own.yaml
// RUN: llmc plan %t/model.onnx -r %t/mesh.yaml -o %t/sharded.onnx --configuration four 2>&1 | FileCheck %s --check-prefix=WRITTEN
// WRITTEN: sharded.onnx: configuration `four` of 4 devices, shardings of 8 tensors
// WRITTEN: communication of a rank

// Parameters are cut alike. Nothing else is added, but that the model's name and places differ.
// RUN: llmc compile %t/model.onnx -r %t/mesh.yaml --stop-after sharded | grep -o '{dist.sharding = [^}]*}[^}]*}[^}]*train.name = "fc[^"]*"' > %t/found
// RUN: llmc compile %t/sharded.onnx -r %t/own.yaml --stop-after sharded | grep -o '{dist.sharding = [^}]*}[^}]*}[^}]*train.name = "fc[^"]*"' > %t/own
// RUN: FileCheck %s --check-prefix=CUT < %t/own
// CUT: #dist.sharding<[{tp}, {}]>, train.name = "fc2.weight"
// RUN: diff %t/found %t/own

// RUN: llmc verify %t/sharded.onnx -r %t/own.yaml | FileCheck %s --check-prefix=VERIFIED
// VERIFIED: the ranks compute what one rank computes
// VERIFIED: the executed ranks compute what one executed rank computes

// The recipe goes before the model, and says so.
// RUN: (cat %t/own.yaml; echo 'sharding: {"fc2.weight": [{}, {}]}') > %t/both.yaml
// RUN: llmc compile %t/sharded.onnx -r %t/both.yaml --stop-after sharded 2>&1 | FileCheck %s --check-prefix=BOTH
// BOTH: note: `sharding` of the recipe goes before the model's for parameter 'fc2.weight'

// A configuration that is not asked for is not used, and said.
// RUN: llmc plan %t/sharded.onnx -r %t/mesh.yaml 2>&1 | FileCheck %s --check-prefix=UNUSED
// UNUSED: note: the model has shardings of its own, which `onnx_sharding: four` would use
