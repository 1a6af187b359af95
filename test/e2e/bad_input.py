#!/usr/bin/env python3
"""What is wrong is said once, with the name of the culprit and the documented exit code, and nothing is written over.

Each case runs one tool in a folder of its own on a small model of ids (embedding, head, cross-entropy) that works, but for
one thing. Checked are: the exit code, the texts that the error must have, that stderr begins with `error:` exactly once per
problem and shows no crash, that it takes less than a few seconds, and that files which were there keep their bytes.
"""
import json
import os
import pathlib
import struct
import sys
import tempfile
import time

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from safetensors.numpy import save_file

from support import LLMC, LLMC_RUN, Report, must, run

VOCABULARY, WIDTH, ROWS, LENGTH = 16, 8, 4, 8
RECIPE = """loss: loss
data: {ids: ids, labels: labels}
optimizer: {adamw: {lr: 1.0e-2}}
schedule: {cosine: {warmup_steps: 2, total_steps: 4, min_lr: 1.0e-3}}
batch: {step: 4, micro: 2}
"""
CASES = []


def case(name: str, code: int, *texts: str):
    """Registers a function (folder) -> command; `texts` must all be in stderr."""
    def register(function):
        CASES.append((name, code, texts, function))
        return function
    return register


def weights() -> dict[str, np.ndarray]:
    random = np.random.default_rng(1)
    return {"embed": random.normal(0, 0.1, (VOCABULARY, WIDTH)).astype(np.float32),
            "head": random.normal(0, 0.1, (WIDTH, VOCABULARY)).astype(np.float32)}


def model(nodes=None, extra_nodes=(), initializers=None, inputs=None, outputs=None) -> onnx.ModelProto:
    nodes = nodes or [helper.make_node("Gather", ["embed", "ids"], ["h"], name="lookup"),
                      helper.make_node("MatMul", ["h", "head"], ["scores"], name="project"),
                      helper.make_node("Reshape", ["scores", "rows"], ["flat"], name="flatten"),
                      helper.make_node("Reshape", ["labels", "minus"], ["flat_labels"], name="flatten_labels"),
                      helper.make_node("SoftmaxCrossEntropyLoss", ["flat", "flat_labels"], ["loss"], name="criterion", ignore_index=-100)]
    initializers = initializers if initializers is not None else [numpy_helper.from_array(value, name) for name, value in weights().items()]
    initializers += [numpy_helper.from_array(np.array([-1, VOCABULARY], np.int64), "rows"), numpy_helper.from_array(np.array([-1], np.int64), "minus")]
    inputs = inputs or [helper.make_tensor_value_info(name, TensorProto.INT64, [ROWS, LENGTH]) for name in ("ids", "labels")]
    outputs = outputs or [helper.make_tensor_value_info("loss", TensorProto.FLOAT, [])]
    graph = helper.make_graph(list(nodes) + list(extra_nodes), "g", inputs, outputs, initializers)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)


def batches(steps=4, top=VOCABULARY, dtype=np.int64, shape=(ROWS, LENGTH)) -> dict[str, np.ndarray]:
    random = np.random.default_rng(2)
    return {f"{name}.{k}": random.integers(0, top, shape).astype(dtype) for k in range(steps) for name in ("ids", "labels")}


def compiling(folder: pathlib.Path, proto=None, recipe: str = RECIPE, out: str = "m.plan", raw: bytes | None = None) -> list:
    (folder / "model.onnx").write_bytes(raw if raw is not None else (proto or model()).SerializeToString())
    (folder / "recipe.yaml").write_text(recipe)
    return [LLMC, "compile", folder / "model.onnx", "-r", folder / "recipe.yaml", "-o", folder / out]


def running(folder: pathlib.Path, *more, data: dict | None = None, recipe: str = RECIPE) -> list:
    """A compiled plan and the command that trains it."""
    must(*compiling(folder, recipe=recipe))
    save_file(data if data is not None else batches(), folder / "data.safetensors")
    return [LLMC_RUN, folder / "m.plan", "--data", folder / "data.safetensors", *(more or ("--steps", 4))]


def external(location: str, **fields) -> onnx.ModelProto:
    """The model with its head in an external file."""
    proto = model()
    head = next(tensor for tensor in proto.graph.initializer if tensor.name == "head")
    head.ClearField("raw_data")
    head.data_location = TensorProto.EXTERNAL
    for key, value in {"location": location, **fields}.items():
        head.external_data.add(key=key, value=str(value))
    return proto


def with_recipe(*changes: tuple[str, str]) -> str:
    text = RECIPE
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    return text


# --- the model file

@case("external data is missing", 3, "head", "weights.bin")
def _(folder):
    return compiling(folder, external("weights.bin", offset=0, length=WIDTH * VOCABULARY * 4))


@case("external data is truncated", 3, "head", "weights.bin")
def _(folder):
    (folder / "weights.bin").write_bytes(b"\0" * 100)
    return compiling(folder, external("weights.bin", offset=0, length=WIDTH * VOCABULARY * 4))


def sharded(change=None, recipe: str = RECIPE + "mesh: {tp: 2}\nonnx_sharding: two\n"):
    """The model with shardings of its own over two devices, that `change` (configuration, sharding of head) makes wrong."""
    proto = model()
    configuration = proto.configuration.add(name="two", num_devices=2)
    devices = proto.graph.node[1].device_configurations.add(configuration_id="two")
    spec = devices.sharding_spec.add(tensor_name="head", device=[0, 1])
    spec.sharded_dim.add(axis=-1).simple_sharding.add(dim_value=VOCABULARY, num_shards=2)
    if change:
        change(configuration, devices, spec)
    return lambda folder: compiling(folder, proto, recipe)


case("a configuration that the model lacks", 3, "`onnx_sharding: three` names no configuration", "it has two")(
    sharded(recipe=RECIPE + "mesh: {tp: 2}\nonnx_sharding: three\n"))
case("a configuration without a mesh", 3, "`onnx_sharding` needs a mesh", "recipe.yaml:6")(sharded(recipe=RECIPE + "onnx_sharding: two\n"))
case("a configuration of another number of devices", 3, "has 2 devices, the mesh (dp 1 x tp 4) has 4 ranks")(
    sharded(recipe=RECIPE + "mesh: {dp: 1, tp: 4}\nonnx_sharding: two\n"))
case("a mesh of 2^80 ranks", 3, "`mesh.tp` must be at least 1 and at most 1048576")(sharded(recipe=RECIPE.replace("batch: {step: 4, micro: 2}", "") + f"mesh: {{tp: {2**40}, dp_replicate: {2**40}}}\nonnx_sharding: two\n"))
case("a node of an unknown configuration", 3, "`x` is no configuration of the model", "project")(
    sharded(lambda configuration, devices, spec: setattr(devices, "configuration_id", "x")))
case("pipeline stages of the model", 4, "pipeline stages, which are not supported yet", "project")(
    sharded(lambda configuration, devices, spec: setattr(devices, "pipeline_stage", 1)))
case("a sharding of a tensor of another node", 3, "tensor `embed`, which is neither input nor output", "project")(
    sharded(lambda configuration, devices, spec: setattr(spec, "tensor_name", "embed")))
case("a sharding along an axis that is not there", 3, "sharding of `head`: axis -9 is outside a tensor of rank 2", "project")(
    sharded(lambda configuration, devices, spec: setattr(spec.sharded_dim[0], "axis", -9)))
case("a sharding of another size", 3, "sharding of `head`", "has size 16", "makes 17")(
    sharded(lambda configuration, devices, spec: setattr(spec.sharded_dim[0].simple_sharding[0], "dim_value", VOCABULARY + 1)))
case("a sharding of 2^62 shards", 3, "sharding of `head`", "shards, of size 16")(
    sharded(lambda configuration, devices, spec: setattr(spec.sharded_dim[0].simple_sharding[0], "num_shards", 2**62)))
case("a sharding over a device that is not there", 3, "sharding of `head`: device 2 is out of range")(
    sharded(lambda configuration, devices, spec: spec.device.__setitem__(1, 2)))
case("a sharding over one device", 3, "sharding of `head`: 1 devices or groups are given for 2 shards")(
    sharded(lambda configuration, devices, spec: spec.device.pop()))
case("a sharded input that data ranks do not cut", 4, "input 'ids' is cut otherwise than by its samples", "lookup")(
    lambda folder: sharded_input(folder))


def sharded_input(folder):
    proto = model()
    proto.configuration.add(name="two", num_devices=2)
    spec = proto.graph.node[0].device_configurations.add(configuration_id="two").sharding_spec.add(tensor_name="ids", device=[0, 1])
    spec.sharded_dim.add(axis=1).simple_sharding.add(num_shards=2)
    return compiling(folder, proto, RECIPE + "mesh: {dp: 2}\nonnx_sharding: two\n")


@case("plan: the copy is the model itself", 2, "is the model itself, which is read")
def _(folder):
    command = compiling(folder, recipe=RECIPE + "mesh: {tp: 2}\n")
    return [LLMC, "plan", *command[2:-1], folder / "model.onnx"]


@case("plan: the copy would be a data file", 2, "weights.onnx' is a data file of the model itself, which is read")
def _(folder):
    (folder / "weights.onnx").write_bytes(weights()["head"].tobytes())
    command = compiling(folder, external("weights.onnx"), RECIPE + "mesh: {tp: 2}\n")
    return [LLMC, "plan", *command[2:-1], folder / "weights.onnx"]


@case("plan: shardings of one rank", 3, "the recipe's mesh has one rank")
def _(folder):
    return [LLMC, "plan", *compiling(folder, out="copy.onnx")[2:]]


@case("plan: a copy that is no model", 2, "names no .onnx file")
def _(folder):
    return [LLMC, "plan", *compiling(folder, recipe=RECIPE + "mesh: {tp: 2}\n")[2:]]


@case("external data above the folder", 3, "head", "../weights.bin")
def _(folder):
    return compiling(folder, external("../weights.bin"))


@case("external data by absolute path", 3, "head", "/etc/hostname")
def _(folder):
    return compiling(folder, external("/etc/hostname"))


@case("external data through a link out", 3, "head", "weights.bin")
def _(folder):
    (folder / "weights.bin").symlink_to("/etc/hostname")
    return compiling(folder, external("weights.bin"))


@case("external offset overflows", 3, "head")
def _(folder):
    (folder / "weights.bin").write_bytes(b"\0" * 512)
    return compiling(folder, external("weights.bin", offset=2**63 - 8, length=512))


@case("external length is negative", 3, "head")
def _(folder):
    (folder / "weights.bin").write_bytes(b"\0" * 512)
    return compiling(folder, external("weights.bin", offset=0, length=-512))


@case("dimensions overflow", 3, "big")
def _(folder):
    big = TensorProto(name="big", data_type=TensorProto.FLOAT, dims=[2**40, 2**40], raw_data=b"1234")
    return compiling(folder, model(initializers=[numpy_helper.from_array(v, n) for n, v in weights().items()] + [big]))


@case("an initializer has too few bytes", 3, "head")
def _(folder):
    proto = model()
    next(t for t in proto.graph.initializer if t.name == "head").raw_data = b"\0" * 8
    return compiling(folder, proto)


@case("a graph that goes in a circle", 3, "turn")
def _(folder):
    return compiling(folder, model(extra_nodes=[helper.make_node("Add", ["b", "h"], ["a"], name="turn"),
                                                helper.make_node("Neg", ["a"], ["b"], name="back")]))


@case("a value that nothing defines", 3, "ghost", "spook")
def _(folder):
    return compiling(folder, model(extra_nodes=[helper.make_node("Neg", ["ghost"], ["x"], name="spook")]))


@case("unknown operators, all at once", 4, "Det", "Mystery", "Unheard")
def _(folder):
    extra = [helper.make_node("Det", ["h"], ["d1"], name="n1"), helper.make_node("Mystery", ["d1"], ["d2"], name="n2"),
             helper.make_node("Unheard", ["d2"], ["d4"], name="n3"),
             helper.make_node("ReduceMean", ["d4"], ["d5"], name="n5", keepdims=0), helper.make_node("Add", ["plain", "d5"], ["loss"], name="sum")]
    nodes = [node for node in model().graph.node]
    nodes[-1].output[0] = "plain"
    return compiling(folder, model(nodes=nodes, extra_nodes=extra))


@case("an operator of another domain", 4, "Fancy")
def _(folder):
    nodes = list(model().graph.node)
    nodes[-1].output[0] = "plain"
    proto = model(nodes=nodes, extra_nodes=[helper.make_node("Fancy", ["plain"], ["loss"], name="f", domain="com.example")])
    proto.opset_import.add(domain="com.example", version=1)
    return compiling(folder, proto)


@case("matrices that do not fit", 4, "project", "8 and 9")
def _(folder):
    values = weights() | {"head": np.zeros((WIDTH + 1, VOCABULARY), np.float32)}
    return compiling(folder, model(initializers=[numpy_helper.from_array(v, n) for n, v in values.items()]))


@case("ids of a floating-point type", 4, "lookup")
def _(folder):
    inputs = [helper.make_tensor_value_info("ids", TensorProto.FLOAT, [ROWS, LENGTH]), helper.make_tensor_value_info("labels", TensorProto.INT64, [ROWS, LENGTH])]
    return compiling(folder, model(inputs=inputs))


@case("types that do not fit", 4, "project")
def _(folder):
    values = weights() | {"head": np.zeros((WIDTH, VOCABULARY), np.float64)}
    return compiling(folder, model(initializers=[numpy_helper.from_array(v, n) for n, v in values.items()]))


@case("no parameter at all", 4)
def _(folder):
    node = helper.make_node("ReduceMean", ["x"], ["loss"], name="mean", keepdims=0)
    inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, [ROWS, LENGTH])]
    return compiling(folder, model(nodes=[node], initializers=[], inputs=inputs), with_recipe(("{ids: ids, labels: labels}", "{x: x}")))


@case("a loss that is no scalar", 3, "loss")
def _(folder):
    nodes = list(model().graph.node)
    nodes[-1] = helper.make_node("SoftmaxCrossEntropyLoss", ["flat", "flat_labels"], ["loss"], name="criterion", reduction="none")
    return compiling(folder, model(nodes=nodes, outputs=[helper.make_tensor_value_info("loss", TensorProto.FLOAT, [ROWS * LENGTH])]))


@case("a loss that is no output", 3, "losses", "loss")
def _(folder):
    return compiling(folder, recipe=with_recipe(("loss: loss", "loss: losses")))


@case("no ONNX file", 3, "model.onnx")
def _(folder):
    return compiling(folder, raw=b"this is a letter, not a model" * 10)


@case("an empty model file", 3, "model.onnx")
def _(folder):
    return compiling(folder, raw=b"")


@case("a model file cut in half", 3, "model.onnx")
def _(folder):
    whole = model().SerializeToString()
    return compiling(folder, raw=whole[:len(whole) // 2])


@case("no model file", 3, "absent.onnx")
def _(folder):
    return [LLMC, "check", folder / "absent.onnx"]


# --- the recipe

@case("unknown keys have the nearest valid one", 3, "optimiser", "did you mean `optimizer`", "lrr", "recipe.yaml:3")
def _(folder):
    return compiling(folder, recipe=with_recipe(("optimizer: {adamw: {lr: 1.0e-2}}", "optimiser: {adamw: {}}\noptimizer: {adamw: {lrr: 1}}")))


@case("wrong types", 3, "`batch.step` must be an integer", "`seed` must be an integer", "`clip_grad_norm` must be a number")
def _(folder):
    return compiling(folder, recipe=with_recipe(("step: 4", "step: four")) + "seed: many\nclip_grad_norm: [1]\n")


@case("an input that no data key feeds", 3, "labels", "data")
def _(folder):
    return compiling(folder, recipe=with_recipe((", labels: labels", "")))


@case("a data key that is no input", 3, "`data.label` names no input", "recipe.yaml:2")
def _(folder):
    return compiling(folder, recipe=with_recipe(("labels: labels}", "labels: labels, label: x}")))


@case("a micro-batch that does not divide the step", 3, "batch.micro")
def _(folder):
    return compiling(folder, recipe=with_recipe(("micro: 2", "micro: 3")))


@case("a schedule without an end", 3, "total_steps")
def _(folder):
    return compiling(folder, recipe=with_recipe((", total_steps: 4", "")))


@case("what is not built yet", 3, "precision")
def _(folder):
    return compiling(folder, recipe=RECIPE + "precision: fp9\n")


@case("mesh axes that are not built yet", 3, "mesh.pp", "mesh.cp", "dp and tp")
def _(folder):
    return compiling(folder, recipe=RECIPE + "mesh: {pp: 2, cp: 2}\n")


@case("a plan for several ranks, started as one", 2, "2 ranks", "--ranks 2", "mpirun -n 2")
def _(folder):
    return running(folder, recipe=RECIPE + "mesh: {dp: 2}\n")


@case("ranks with a GPU each, for a plan without one", 2, "--comm nccl", "target is cpu:", "local, mpi or gloo")
def _(folder):
    return running(folder, "--comm", "nccl", recipe=RECIPE + "mesh: {dp: 2}\n")


@case("a text continued by several ranks", 2, "2", "without `mesh`")
def _(folder):
    return [*running(folder, recipe=RECIPE + "mesh: {dp: 2}\n")[:2], "--prompt", "ids:1", "--generate", 2, "--ranks", 2]


@case("a bad id on one of several ranks", 3, "id 99", "outside [0, ")
def _(folder):
    data = batches()
    data["ids.0"][-1, -1] = 99 # a sample of the last rank
    return running(folder, "--ranks", 2, "--steps", 2, "--log-folder", folder, data=data, recipe=RECIPE + "mesh: {dp: 2}\n")


@case("data ranks that do not divide the batch", 3, "batch.micro", "mesh.dp")
def _(folder):
    return compiling(folder, recipe=RECIPE + "mesh: {dp: 3}\n")


@case("nothing is trainable", 3, "`trainable`", "recipe.yaml:6", "embed, head")
def _(folder):
    return compiling(folder, recipe=RECIPE + 'trainable: ["nothing.*"]\n')


@case("a recipe that is no YAML", 3, "recipe.yaml")
def _(folder):
    return compiling(folder, recipe="loss: [}\n\tx")


@case("a recipe of bytes", 3, "recipe.yaml")
def _(folder):
    command = compiling(folder)
    (folder / "recipe.yaml").write_bytes(bytes(range(256)) * 4)
    return command


@case("no recipe file", 3, "absent.yaml")
def _(folder):
    return [*compiling(folder)[:3], "-r", folder / "absent.yaml", "-o", folder / "m.plan"]


@case("a budget that is too small", 5, "memory.budget", "optimizer", "hint")
def _(folder):
    return compiling(folder, recipe=RECIPE + "memory: {budget: 1KiB}\n")


def with_key(name: str, line: str, *texts: str, code: int = 3):
    """The recipe with one more line; the error names it."""
    case(name, code, "recipe.yaml:6", *texts)(lambda folder: compiling(folder, recipe=RECIPE + line + "\n"))


with_key("a micro-batch that the compiler is to choose", "batch: {step: 4, micro: auto}", "`batch` is given twice")
with_key("a glob of trainable that matches nothing", 'trainable: ["*", "nothing.*"]', "`trainable`: no parameter of the model is called `nothing.*`", "its parameters are embed, head")
with_key("a glob of init that matches nothing", 'init: {"*.weight": zeros}', "`init`: no parameter of the model is called `*.weight`")
with_key("an initializer of parameters that have values", 'init: {"*": zeros}', "`init.*` has no effect")
with_key("ZeRO without data ranks", "zero: 1", "`zero: 1` has no effect", "mesh: {dp: 2}")
with_key("arrays that are to be shuffled", "shuffle: true", "`shuffle` has no effect")
with_key("recomputation that a budget is to choose", "memory: {budget: 1GiB, recompute: auto}", "`memory.recompute: auto` under a budget is not supported yet")
with_key("a prediction of one number", "predict: loss", "`predict: loss` is one number")
with_key("a prediction that is no output", "predict: logits", "`predict: logits` is no output of the model", "its outputs are loss")
with_key("16 bits", "precision: bf16", "`precision: bf16` is not supported yet")
with_key("a gradient norm without bounds", "clip_grad_norm: inf", "`clip_grad_norm` must be a number")
with_key("a budget without a unit", "memory: {budget: 24}", "`memory.budget` has no unit")
with_key("a symbol that the model lacks", "shapes: {sequence: 8}", "`shapes.sequence` names no dimension of the model")
case("weight decay spared from nothing", 3, "`optimizer.adamw.no_decay`: no parameter of the model is called `*.LayerNorm.*`", "recipe.yaml:3")(
    lambda folder: compiling(folder, recipe=with_recipe(("{lr: 1.0e-2}", '{lr: 1.0e-2, weight_decay: 0.1, no_decay: ["*.LayerNorm.*"]}'))))
for rate in ("1.0e+30", "1.0e+39", "-1", "nan"):
    case(f"a learning rate of {rate}", 3, "`optimizer.adamw.lr` must be", "recipe.yaml:3")(
        lambda folder, rate=rate: compiling(folder, recipe=with_recipe(("lr: 1.0e-2", f"lr: {rate}"))))
case("data ranks that do not divide the exported batch", 3, "exported with, 4 samples, does not divide by the 3 data ranks", "recipe.yaml:5")(
    lambda folder: compiling(folder, recipe=with_recipe(("batch: {step: 4, micro: 2}", "mesh: {dp: 3}"))))
case("a sharding that does not divide", 3, "sharding.head", "which the 3 ranks of its axes do not divide")(  # the vocabulary would be padded
    lambda folder: compiling(folder, recipe=RECIPE + "mesh: {tp: 3}\nsharding: {head: [tp, {}]}\n"))
case("2^40 samples", 3, "`batch.step` must be at least 1 and at most 16777216", "recipe.yaml:5")(
    lambda folder: compiling(folder, recipe=with_recipe(("step: 4", f"step: {2**40}"))))
case("a micro-batch to be chosen", 3, "`batch.micro: auto` is not supported yet", "recipe.yaml:5")(
    lambda folder: compiling(folder, recipe=with_recipe(("micro: 2", "micro: auto"))))
case("a source that is none", 3, "`tokens.prev` names no source", "recipe.yaml:2", "tokens.next")(
    lambda folder: compiling(folder, recipe=with_recipe(("labels: labels", "labels: tokens.prev"))))


@case("labels that the graph shifts, shifted", 3, "the graph shifts `labels` itself, by 1", "write `data: {labels: tokens}`", "shifted_twice: true", "recipe.yaml:2")
def _(folder):
    initializers = [numpy_helper.from_array(value, name) for name, value in weights().items()]
    initializers += [numpy_helper.from_array(np.array([value], np.int64), name) for name, value in (("zero", 0), ("one", 1), ("end", -1), ("last", 2**62))]
    cut = [helper.make_node("Slice", ["scores", "zero", "end", "one"], ["earlier"]), helper.make_node("Slice", ["labels", "one", "last", "one"], ["later"])]
    nodes = list(model().graph.node)
    nodes[2].input[0], nodes[3].input[0] = "earlier", "later"
    return compiling(folder, model(nodes=nodes[:2] + cut + nodes[2:], initializers=initializers),
                     with_recipe(("{ids: ids, labels: labels}", "{ids: tokens, labels: tokens.next}")))


@case("everything that is wrong with a recipe, at once", 3, "`loss: los` is no output", "input `labels` is fed by nothing", "`data.lables` names no input", "`predict: x` is no output")
def _(folder):
    return compiling(folder, recipe=with_recipe(("loss: loss", "loss: los"), ("labels: labels", "lables: labels")) + "predict: x\n")


def with_command(folder, command: str, more: str) -> list:
    save_file(batches(), folder / "data.safetensors")
    return [LLMC, command, *compiling(folder, recipe=RECIPE + more)[2:-2], *(["--data", folder / "data.safetensors"] if command == "interpret" else [])]


for command in ("check", "plan", "verify", "interpret"):
    @case(f"a recipe with a mistake, for {command}", 3, "`trainable`: no parameter of the model is called `x`", "recipe.yaml:6")
    def _(folder, command=command):
        return with_command(folder, command, "trainable: [x]\n")

    @case(f"a recipe with an unknown key, for {command}", 3, "unknown key `optimiser`", "recipe.yaml:6")
    def _(folder, command=command):
        return with_command(folder, command, "optimiser: adamw\n")


@case("a recipe that is a pipe", 3, "is a pipe, not a regular file")
def _(folder):
    command = compiling(folder)
    (folder / "recipe.yaml").unlink()
    os.mkfifo(folder / "recipe.yaml")
    return command


case("a bucket that is no size", 3, "communication.bucket", "25 megs", "recipe.yaml:7")(
    lambda folder: compiling(folder, recipe=RECIPE + "mesh: {dp: 2}\ncommunication: {bucket: 25 megs}\n"))
case("a key that communication lacks", 3, "communication.overlap", "the keys here are bucket", "recipe.yaml:6")(
    lambda folder: compiling(folder, recipe=RECIPE + "communication: {overlap: true}\n"))


@case("an unwritable plan", 3, "nowhere")
def _(folder):
    return compiling(folder, out="nowhere/m.plan")


@case("a plan that is a folder", 3, "m.plan")
def _(folder):
    (folder / "m.plan").mkdir()
    return compiling(folder)


@case("a bad model keeps the plan of a good one", 4, "project")
def _(folder):
    must(*compiling(folder))
    values = weights() | {"head": np.zeros((WIDTH + 1, VOCABULARY), np.float32)}
    return compiling(folder, model(initializers=[numpy_helper.from_array(v, n) for n, v in values.items()]))


@case("IR that is none", 3, "x.mlir")
def _(folder):
    (folder / "x.mlir").write_text("func.func @forward( {\n")
    return [LLMC, "compile", folder / "x.mlir", "--start-from", "model", "--stop-after", "step"]


@case("IR of another level", 4, "forward")
def _(folder):
    (folder / "x.mlir").write_text("module {}\n")
    return [LLMC, "compile", folder / "x.mlir", "--start-from", "imported", "--stop-after", "step"]


# --- the run

@case("ids beyond the vocabulary", 3, "ids.0", "outside [0, 16)")
def _(folder):
    return running(folder, data=batches(top=VOCABULARY + 100))


@case("labels out of range", 3, "labels.1", "-7")
def _(folder):
    data = batches()
    data["labels.1"][0, 3] = -7
    return running(folder, data=data)


@case("data that is too short", 3, "3 steps")
def _(folder):
    return running(folder, data=batches(steps=3))


@case("data of another shape", 3, "ids.0", "[4, 8]")
def _(folder):
    return running(folder, data=batches(shape=(ROWS, LENGTH + 1)))


@case("data of another type", 3, "ids.0", "F32")
def _(folder):
    return running(folder, data=batches(dtype=np.float32))


@case("data without an array", 3, "labels.0")
def _(folder):
    return running(folder, data={name: value for name, value in batches().items() if "ids" in name})


@case("no data", 2, "--data")
def _(folder):
    return running(folder)[:2]


@case("data that is no safetensors file", 3, "data.safetensors")
def _(folder):
    command = running(folder)
    (folder / "data.safetensors").write_bytes(b"\xff" * 64)
    return command


@case("safetensors with overlapping offsets", 3, "overlaps")
def _(folder):
    command = running(folder)
    header = json.dumps({"ids.0": {"dtype": "I64", "shape": [4, 8], "data_offsets": [0, 256]}, "labels.0": {"dtype": "I64", "shape": [4, 8], "data_offsets": [128, 384]}}).encode()
    (folder / "data.safetensors").write_bytes(struct.pack("<Q", len(header)) + header + b"\0" * 384)
    return command


@case("a header longer than its file", 3, "data.safetensors")
def _(folder):
    command = running(folder)
    (folder / "data.safetensors").write_bytes(struct.pack("<Q", 2**62) + b"{}")
    return command


def resumed(folder, *damage):
    command = running(folder, "--steps", 2, "--checkpoint", folder / "checkpoints")
    must(*command)
    newest = sorted((folder / "checkpoints").glob("step-*"))[-1]
    for name, change in damage:
        data = (newest / name).read_bytes()
        (newest / name).write_bytes(change(data))
    return [*command[:4], "--steps", 4, "--checkpoint", folder / "checkpoints", "--resume"]


@case("a damaged checkpoint", 3, "damaged", "model.safetensors")
def _(folder):
    return resumed(folder, ("model.safetensors", lambda data: data[:-1] + bytes([data[-1] ^ 1])))


@case("a damaged manifest", 3, "manifest")
def _(folder):
    return resumed(folder, ("manifest.json", lambda data: data[:20]))


@case("a checkpoint of another model", 3, "embed")
def _(folder):
    command = resumed(folder)
    values = weights() | {"embed": np.zeros((VOCABULARY * 2, WIDTH), np.float32)}
    must(*compiling(folder, model(initializers=[numpy_helper.from_array(v, n) for n, v in values.items()])))
    return command


@case("a new run among the checkpoints of another", 2, "checkpoints", "--resume")
def _(folder):
    return [part for part in resumed(folder) if part != "--resume"]


@case("an unwritable checkpoint", 3, "blocked")
def _(folder):
    (folder / "blocked").write_text("a file")
    return running(folder, "--steps", 2, "--checkpoint", folder / "blocked" / "checkpoints")


@case("unwritable metrics", 3, "nowhere")
def _(folder):
    return running(folder, "--steps", 2, "--metrics", folder / "nowhere" / "m.jsonl")


@case("weights that are not there", 3, "absent.safetensors")
def _(folder):
    return running(folder, "--steps", 2, "--weights", folder / "absent.safetensors")


@case("weights of another shape", 3, "head")
def _(folder):
    save_file(weights() | {"head": np.zeros((3, 3), np.float32)}, folder / "w.safetensors")
    return running(folder, "--steps", 2, "--weights", folder / "w.safetensors")


@case("a model file that has changed", 3, "embed", "changed")
def _(folder):
    command = running(folder)
    (folder / "model.onnx").write_bytes((folder / "model.onnx").read_bytes().replace(weights()["embed"].tobytes()[:8], b"\1" * 8))
    return command


@case("a model file that is gone", 3, "model.onnx")
def _(folder):
    command = running(folder)
    (folder / "model.onnx").unlink()
    return command


@case("a scalar that is none", 2, "rate", "lr")
def _(folder):
    return running(folder, "--steps", 2, "--set", "rate=1")


@case("an option that is none", 2, "--stepz")
def _(folder):
    return running(folder, "--stepz", 2)


@case("more ranks than the plan has", 2, "not 2")
def _(folder):
    return running(folder, "--steps", 2, "--ranks", 2)


@case("no plan", 3, "absent.plan")
def _(folder):
    return [LLMC_RUN, folder / "absent.plan", "--data", folder / "x", "--steps", 1]


@case("a model instead of a plan", 6, "not a plan")
def _(folder):
    compiling(folder)
    return [LLMC_RUN, folder / "model.onnx", "--data", folder / "x", "--steps", 1]


def problem_of(result, code: int, texts, seconds: float) -> str:
    errors = result.stderr
    if result.returncode != code:
        return f"exit code {result.returncode}, not {code}: {errors.strip()[:300]}"
    if not errors.lstrip("note:").strip() or "error: " not in errors:
        return f"no error: {errors[:200]}"
    missing = [text for text in texts if text not in errors]
    if missing:
        return f"no {missing} in: {errors.strip()[:400]}"
    for sign in ("Stack dump", "PLEASE submit", "Assertion", "terminate called", "AddressSanitizer", "runtime error", "loc(", "error: error"):
        if sign in errors:
            return f"{sign} in: {errors.strip()[:300]}"
    starts = [line for line in errors.splitlines() if line and not line.startswith(("error: ", "hint: ", "note: ", "warning: ", "  "))]
    if starts:
        return f"a line that is no error, hint or note: {starts[0][:200]}"
    repeated = [line for line in errors.splitlines() if line.startswith("error: ") and errors.count(line + "\n") > 1]
    if repeated:
        return f"said twice: {repeated[0][:200]}"
    return f"took {seconds:.1f} s" if seconds > 10 else ""


def snapshot(folder: pathlib.Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file() and not path.is_symlink() and path.name != ".lock"}


def sweep_plan(report: Report) -> None:
    """One byte altered anywhere, or the end cut off: refused with code 6, at once, by llmc-run and llmc explain."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = pathlib.Path(temporary)
        command = running(folder)
        whole = (folder / "m.plan").read_bytes()
        random = np.random.default_rng(3)
        altered = sorted({*range(0, 160, 4), *random.integers(0, len(whole), 160).tolist()})
        cuts = sorted({0, 1, 63, 64, 100, 135, 136, len(whole) - 1, *random.integers(0, len(whole), 42).tolist()})
        problems = []
        for at in altered:
            data = bytearray(whole)
            data[at] ^= 1 << int(random.integers(0, 8))
            problems += check_plan(folder, command, bytes(data), f"byte {at}")
        for length in cuts:
            problems += check_plan(folder, command, whole[:length], f"cut to {length}")
        problems += check_plan(folder, command, whole + b"\0", "a byte added")
        report.add(f"a plan altered at {len(altered)} places, cut at {len(cuts)}", "; ".join(problems[:3]))


def check_plan(folder, command, data: bytes, what: str) -> list[str]:
    (folder / "m.plan").write_bytes(data)
    begin = time.monotonic()
    result = run(*command)
    problem = problem_of(result, 6, ["m.plan"], time.monotonic() - begin)
    return [f"{what}: {problem}"] if problem else []


def main(sweep: bool = True) -> int:
    only = sys.argv[1] if len(sys.argv) > 1 else ""
    report = Report()
    for name, code, texts, prepare in CASES:
        if only not in name:
            continue
        with tempfile.TemporaryDirectory() as temporary:
            folder = pathlib.Path(temporary)
            command = prepare(folder)
            before = snapshot(folder)
            begin = time.monotonic()
            result = run(*command, timeout=120)
            problem = problem_of(result, code, texts, time.monotonic() - begin)
            after = snapshot(folder)
            changed = [path for path in before if after.get(path) != before[path]] + [path for path in after if path.endswith(".tmp")]
            report.add(name, problem or (f"wrote {changed}" if changed else ""))
    if sweep and only in "sweep":
        sweep_plan(report)
    return report.code


if __name__ == "__main__":
    sys.exit(main())
