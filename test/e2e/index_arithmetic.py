#!/usr/bin/env python3
"""Integers that a graph computes from its inputs, and looks up with: the plan trains as the interpreter does.

Running counts of tokens that are no padding (positions of RoBERTa), the last such token of each row (a classifier's), tokens shifted
by one place with a first one put in (decoders), and places that data chooses to overwrite; weights in Constant nodes.
"""
import json
import pathlib
import sys
import tempfile

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from safetensors.numpy import save_file

from support import LLMC, LLMC_RUN, Report, run

BATCH, LENGTH, VOCABULARY, WIDTH, CLASSES = 4, 6, 9, 8, 3


def integers(name: str, values) -> onnx.TensorProto:
    return numpy_helper.from_array(np.array(values, np.int64), name)


def counted_positions(node) -> None:
    """positions = cumsum(ids != 0) * (ids != 0)"""
    node("Equal", ["ids", "zero"], "pad")
    node("Not", ["pad"], "kept")
    node("Cast", ["kept"], "keep", to=TensorProto.INT64)
    node("CumSum", ["keep", "axis"], "counts")
    node("Mul", ["counts", "keep"], "positions")


def last_token(node) -> None:
    """row i of hidden, at the last place whose id is not 0"""
    node("Mul", ["keep", "range"], "places")
    node("ArgMax", ["places"], "last", axis=1, keepdims=1)
    node("Unsqueeze", ["last", "two"], "last3")
    node("Expand", ["last3", "wide"], "index")
    node("GatherElements", ["hidden", "index"], "row", axis=1)
    node("Squeeze", ["row", "axis1"], "picked")


def shifted(node) -> None:
    """ids one place to the right, a 1 in front"""
    node("Slice", ["ids", "start", "end", "axis1"], "front")
    node("Pad", ["front", "pads", "one"], "right")


def chosen_places(node) -> None:
    """hidden, whose feature `labels` is overwritten by 0.5 in each row"""
    node("Unsqueeze", ["labels", "axis1"], "column")
    node("ScatterElements", ["picked", "column", "half"], "marked", axis=1)


def model() -> onnx.ModelProto:
    chance, nodes = np.random.default_rng(5), []

    def node(op: str, inputs: list, output: str, **attributes) -> None:
        nodes.append(helper.make_node(op, inputs, [output], name=f"/{op}_{output}", **attributes))

    def weight(name: str, *shape: int) -> onnx.NodeProto:
        return helper.make_node("Constant", [], [name], value=numpy_helper.from_array((0.3 * chance.normal(size=shape)).astype(np.float32)))

    nodes += [weight("words", VOCABULARY, WIDTH), weight("before", VOCABULARY, WIDTH), weight("places_table", LENGTH + 1, WIDTH),
              weight("head", WIDTH, CLASSES), helper.make_node("Constant", [], ["one_half"], value=numpy_helper.from_array(np.float32(0.5)))]
    counted_positions(node)
    shifted(node)
    node("Gather", ["words", "ids"], "w")
    node("Gather", ["before", "right"], "b")
    node("Gather", ["places_table", "positions"], "p")
    node("Sum", ["w", "b", "p"], "sum")
    node("Tanh", ["sum"], "hidden")
    last_token(node)
    node("Expand", ["one_half", "half_shape"], "half")
    chosen_places(node)
    node("MatMul", ["marked", "head"], "logits")
    node("SoftmaxCrossEntropyLoss", ["logits", "labels"], "loss")
    constants = [integers("zero", 0), integers("axis", 1), integers("axis1", [1]), integers("two", [2]), integers("start", [0]), integers("end", [-1]),
                 integers("pads", [0, 1, 0, 0]), integers("one", 1), integers("range", list(range(LENGTH))), integers("wide", [BATCH, 1, WIDTH]),
                 integers("half_shape", [BATCH, 1])]
    graph = helper.make_graph(nodes, "indices", [helper.make_tensor_value_info("ids", TensorProto.INT64, [BATCH, LENGTH]),
                                                helper.make_tensor_value_info("labels", TensorProto.INT64, [BATCH])],
                              [helper.make_tensor_value_info("loss", TensorProto.FLOAT, [])], constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)


def losses(folder: pathlib.Path, micro: int) -> tuple[str, list, list]:
    recipe = {"loss": "loss", "data": {"ids": "ids", "labels": "labels"}, "batch": {"step": BATCH, "micro": micro}, "optimizer": {"sgd": {"lr": 0.2}}}
    (folder / "recipe.yaml").write_text(json.dumps(recipe))
    commands = [[LLMC, "compile", folder / "model.onnx", "-r", folder / "recipe.yaml", "-o", folder / "m.plan"],
                [LLMC_RUN, folder / "m.plan", "--data", folder / "data.safetensors", "--steps", 3, "--metrics", folder / f"{micro}.jsonl"],
                [LLMC, "interpret", folder / "model.onnx", "-r", folder / "recipe.yaml", "--data", folder / "data.safetensors", "--steps", 3]]
    for command in commands:
        result = run(*command)
        if result.returncode:
            return f"exit {result.returncode}: {result.stderr.strip()[:300]}", [], []
    expected = [float(line.split("loss:")[1].split()[0]) for line in result.stdout.splitlines() if "loss:" in line]
    return "", [json.loads(line)["loss"] for line in (folder / f"{micro}.jsonl").read_text().splitlines()], expected


def reference(weights: dict, ids: np.ndarray, labels: np.ndarray) -> float:
    """The first loss, in NumPy."""
    keep = (ids != 0).astype(np.int64)
    positions, right = np.cumsum(keep, 1) * keep, np.concatenate([np.ones((BATCH, 1), np.int64), ids[:, :-1]], 1)
    hidden = np.tanh(weights["words"][ids] + weights["before"][right] + weights["places_table"][positions])
    picked = hidden[np.arange(BATCH), (keep * np.arange(LENGTH)).argmax(1)]
    picked[np.arange(BATCH), labels] = 0.5
    logits = picked @ weights["head"]
    return float(np.mean(np.log(np.exp(logits).sum(1)) - logits[np.arange(BATCH), labels]))


def main() -> int:
    report, chance = Report(), np.random.default_rng(6)
    proto = model()
    weights = {node.output[0]: numpy_helper.to_array(node.attribute[0].t) for node in proto.graph.node if node.op_type == "Constant"}
    with tempfile.TemporaryDirectory() as temporary:
        folder = pathlib.Path(temporary)
        onnx.save(proto, folder / "model.onnx")
        ids = chance.integers(1, VOCABULARY, (3, BATCH, LENGTH))
        ids[:, 0, 2:] = ids[:, 2, 4:] = 0
        labels = chance.integers(0, CLASSES, (3, BATCH))
        save_file({f"{name}.{k}": np.ascontiguousarray(data[k]) for k in range(3) for name, data in (("ids", ids), ("labels", labels))}, folder / "data.safetensors")
        problem, whole, expected = losses(folder, BATCH)
        first = reference(weights, ids[0], labels[0])
        if not problem and (len(whole) != 3 or not np.allclose(whole, expected, rtol=2e-5) or abs(whole[0] - first) > 1e-5):
            problem = f"{whole}, the interpreter {expected}, NumPy's first {first}"
        report.add("index arithmetic of integers: plan, interpreter and NumPy", problem)
    return report.code


if __name__ == "__main__":
    sys.exit(main())
