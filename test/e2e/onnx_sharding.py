#!/usr/bin/env python3
"""Shardings in the fields of ONNX: what llmc writes is a valid model, and what others write is followed or said.

Written: by `llmc plan -o`, with weights inside, beside it, and missing; the checker of the onnx package accepts it, all but the
new fields is as it was, and `llmc verify` passes on it. Read: shardings made by hand, of a model of two products, over groups of
devices; the shardings at level `sharded` are the ones that were meant.
"""
import pathlib
import re
import sys
import tempfile

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from support import DATA, LLMC, MLP, Report, must

RECIPE = """loss: loss
data: {x: x, target: target}
batch: {step: 8, micro: 8}
optimizer: {sgd: {lr: 1.0e-2}}
"""


def stripped(path: pathlib.Path) -> onnx.ModelProto:
    """The model without values and without what `plan -o` adds."""
    proto = onnx.load(path, load_external_data=False)
    del proto.configuration[:]
    proto.ir_version = 11
    for node in proto.graph.node:
        del node.device_configurations[:]
    for tensor in proto.graph.initializer:
        for field in ("raw_data", "float_data", "external_data", "data_location"):
            tensor.ClearField(field)
    return proto


def write_and_verify(report: Report, name: str, model: pathlib.Path, recipe: str, out: pathlib.Path, verified: bool = True) -> None:
    (out.parent / "recipe.yaml").write_text(recipe)
    (out.parent / "own.yaml").write_text(recipe + "onnx_sharding: llmc\n")
    must(LLMC, "plan", model, "-r", out.parent / "recipe.yaml", "-o", out)
    try:
        if verified: # the checker wants the data files too
            onnx.checker.check_model(str(out), full_check=True)
    except onnx.checker.ValidationError as error:
        return report.add(name, f"the checker refuses it: {error}")
    if stripped(out) != stripped(model):
        return report.add(name, "something else than shardings changed")
    again = out.with_name("again.onnx")
    must(LLMC, "plan", out, "-r", out.parent / "own.yaml", "-o", again)
    count = sum(len(node.device_configurations[0].sharding_spec) for node in onnx.load(again, load_external_data=False).graph.node if node.device_configurations)
    if verified:
        must(LLMC, "verify", out, "-r", out.parent / "own.yaml", "--steps", 1)
    report.add(name, "" if count else "nothing is sharded", f"{count} shardings")


def products() -> onnx.ModelProto:
    """loss = mean((relu(x a) b - target)^2), a configuration of four devices."""
    random = np.random.default_rng(1)
    weight = lambda name, *shape: numpy_helper.from_array(random.normal(0, 0.3, shape).astype(np.float32), name)
    nodes = [helper.make_node("MatMul", ["x", "a"], ["h"], name="up"), helper.make_node("Relu", ["h"], ["r"], name="relu"),
             helper.make_node("MatMul", ["r", "b"], ["y"], name="down"), helper.make_node("Sub", ["y", "target"], ["d"], name="sub"),
             helper.make_node("Mul", ["d", "d"], ["s"], name="square"), helper.make_node("ReduceMean", ["s"], ["loss"], name="mean", keepdims=0)]
    inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, [8, 4]), helper.make_tensor_value_info("target", TensorProto.FLOAT, [8, 6])]
    graph = helper.make_graph(nodes, "g", inputs, [helper.make_tensor_value_info("loss", TensorProto.FLOAT, [])],
                              [weight("a", 4, 12), weight("b", 12, 6)])
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=11)
    proto.configuration.add(name="hand", num_devices=4)
    return proto


def shard(proto: onnx.ModelProto, node: str, tensor: str, devices: list, dims: dict) -> None:
    """`devices` holds a device or a list of them for each shard; `dims` the number of shards of each axis."""
    found = next(each for each in proto.graph.node if each.name == node)
    if not found.device_configurations:
        found.device_configurations.add(configuration_id="hand")
    spec = found.device_configurations[0].sharding_spec.add(tensor_name=tensor)
    for key, entry in enumerate(devices):
        spec.device.append(entry if isinstance(entry, int) else -1 - key)
        if not isinstance(entry, int):
            spec.index_to_device_group_map.add(key=-1 - key, value=entry)
    for axis, shards in dims.items():
        spec.sharded_dim.add(axis=axis).simple_sharding.add(num_shards=shards)


def read_by_hand(report: Report, folder: pathlib.Path, name: str, mesh: str, shardings: list, expected: list[str]) -> None:
    proto = products()
    for each in shardings:
        shard(proto, *each)
    onnx.checker.check_model(proto)
    (folder / "hand.onnx").write_bytes(proto.SerializeToString())
    (folder / "hand.yaml").write_text(RECIPE + f"mesh: {mesh}\nonnx_sharding: hand\n")
    text = must(LLMC, "compile", folder / "hand.onnx", "-r", folder / "hand.yaml", "--stop-after", "sharded").stdout
    evaluate = text[text.index("func.func @evaluate"):text.index("func.func @accumulate")]
    missing = [each for each in expected if not re.search(each, evaluate)]
    must(LLMC, "verify", folder / "hand.onnx", "-r", folder / "hand.yaml")
    report.add(name, f"lacks {missing}" if missing else "")


def main() -> int:
    report = Report()
    cut = lambda dims, name: rf"#dist.sharding<\[{dims}\]>, train.name = \"{name}\""
    with tempfile.TemporaryDirectory() as temporary:
        folder = pathlib.Path(temporary)
        mlp = (MLP / "recipe.yaml").read_text() + "mesh: {dp: 2, tp: 2}\n"
        write_and_verify(report, "written: weights inside", MLP / "model.onnx", mlp, folder / "inside.onnx")
        parts = onnx.load(MLP / "model.onnx")
        onnx.save(parts, folder / "parts.onnx", save_as_external_data=True, location="parts.data", size_threshold=64)
        write_and_verify(report, "written: weights in a file that stays", folder / "parts.onnx", mlp, folder / "beside.onnx")
        (folder / "elsewhere").mkdir()
        write_and_verify(report, "written: weights move to another folder", folder / "parts.onnx", mlp, folder / "elsewhere" / "moved.onnx")
        (folder / "parts.data").unlink()
        write_and_verify(report, "written: weights that are not there", folder / "parts.onnx", mlp + "init: {\"*\": normal(0.02)}\n",
                         folder / "elsewhere" / "missing.onnx", verified=False)
        if DATA:
            for model in ("gpt2", "llama"):
                recipe = "loss: loss\ndata: {input_ids: tokens, labels: tokens}\nbatch: {step: 4, micro: 4}\nmesh: {dp: 2, tp: 2}\n"
                for more in ("", "zero: 3\n"):
                    write_and_verify(report, f"written: {model} {more.strip()}", DATA / "models" / model / "model.onnx", recipe + more, folder / f"{model}.onnx")
        read_by_hand(report, folder, "read: groups of devices", "{dp: 2, tp: 2}",
                     [("up", "x", [[0, 1], [2, 3]], {0: 2}), ("up", "a", [[0, 2], [1, 3]], {-1: 2}), ("down", "b", [[2, 0], [3, 1]], {0: 2})],
                     [cut("{dp}, {}", "x"), cut("{}, {tp}", "a"), cut("{tp}, {}", "b")])
        read_by_hand(report, folder, "read: both dimensions, device order", "{dp: 2, tp: 2}",
                     [("up", "a", [0, 2, 1, 3], {0: 2, 1: 2}), ("down", "b", [0, 1, 2, 3], {1: 2, 0: 2})],
                     [cut("{tp}, {dp}", "a"), cut("{tp}, {dp}", "b")])
        read_by_hand(report, folder, "read: the major half of an axis", "{tp: 4}", [("up", "a", [[0, 1], [2, 3]], {1: 2})],
                     [cut(r"{}, {tp\.0}", "a")])
        read_by_hand(report, folder, "read: values that nodes make", "{dp: 2, tp: 2}",
                     [("up", "h", [[0, 1], [2, 3]], {1: 2}), ("down", "y", [0, 1, 2, 3], {0: 4})],
                     [r'reason = "onnx sharding of h", to = #dist.sharding<\[{}, {dp}\]>', r'reason = "onnx sharding of y", to = #dist.sharding<\[{dp, tp}, {}\]>'])
    return report.code


if __name__ == "__main__":
    sys.exit(main())
