#!/usr/bin/env python3
"""ONNX node tests through compiled kernels: node_kernels.py [--only SUBSTRING] [--group N] [--verbose]

Each test of test/frontends/onnx/node_tests.txt with a real input of more than one number takes part.
Many of them become one model: such inputs are frozen parameters, so that nothing is evaluated by the compiler, other inputs are
constants, and the outputs, one after the other, are what the plan predicts. `llmc compile` and `llmc-run --predict` compute
them. A group that does not compile is halved until the tests that fail alone are known. All must compile, and nothing
may be wrong. Needs the onnx package (third_party/venv) and its node tests (third_party/onnx/node).
"""
import argparse
import json
import pathlib
import sys
import tempfile

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from safetensors.numpy import load_file, save_file

from support import LLMC, LLMC_RUN, ROOT, Report
from support import run as call

NODES = ROOT / "third_party" / "onnx" / "node"
LIST = ROOT / "test" / "frontends" / "onnx" / "node_tests.txt"
REAL = {TensorProto.FLOAT, TensorProto.DOUBLE}
NUMBERS = REAL | {TensorProto.INT8, TensorProto.INT16, TensorProto.INT32, TensorProto.INT64, TensorProto.BOOL}
KIND = "pkg.torch.export.graph_signature.InputSpec.kind"
OPSETS = range(7, 28)
SAMPLES = 7


class Case:
    """One node test, its names made unique by a prefix."""

    def __init__(self, name: str):
        self.name = name
        model = onnx.load(NODES / name / "model.onnx")
        self.versions = {entry.domain: entry.version for entry in model.opset_import}
        data = NODES / name / "test_data_set_0"
        self.inputs = [onnx.load_tensor(data / f"input_{i}.pb") for i in range(len(model.graph.input))]
        self.outputs = [onnx.load_tensor(data / f"output_{i}.pb") for i in range(len(model.graph.output))]
        self.model, self.graph = model, model.graph

    def takes_part(self) -> bool:
        return (any(self.compared(output) for output in self.outputs) and any(self.moves(tensor) for tensor in self.inputs)
                and not self.model.functions and set(self.versions) == {""} and all(0 not in tensor.dims for tensor in self.inputs))

    @staticmethod
    def compared(tensor: onnx.TensorProto) -> bool:
        return tensor.data_type in NUMBERS and 0 not in tensor.dims

    @staticmethod
    def moves(tensor: onnx.TensorProto) -> bool:
        """Becomes a parameter; single numbers are ratios, bounds and depths, which must be known."""
        return tensor.data_type in REAL and np.prod(tensor.dims) > 1

    def add_to(self, graph: onnx.GraphProto, prefix: str) -> list[str]:
        """Adds the nodes; returns the names of outputs as rows of float32."""
        def named(name: str) -> str:
            return prefix + name if name else ""
        def copied(node: onnx.NodeProto) -> onnx.NodeProto:
            copy = onnx.NodeProto.FromString(node.SerializeToString())
            copy.name = named(node.name or node.op_type)
            copy.input[:] = [named(name) for name in node.input]
            copy.output[:] = [named(name) for name in node.output]
            for attribute in copy.attribute:
                if attribute.HasField("g"):
                    nodes = [copied(inner) for inner in attribute.g.node]
                    del attribute.g.node[:]
                    attribute.g.node.extend(nodes)
                    for entry in [*attribute.g.input, *attribute.g.output, *attribute.g.initializer]:
                        entry.name = named(entry.name)
            return copy

        for value, tensor in zip(self.graph.input, self.inputs):
            tensor = onnx.TensorProto.FromString(tensor.SerializeToString())
            tensor.name = named(value.name)
            graph.initializer.append(tensor)
            if self.moves(tensor):
                graph.value_info.add(name=tensor.name).metadata_props.add(key=KIND, value="PARAMETER")
        for tensor in self.graph.initializer:
            graph.initializer.add().CopyFrom(tensor)
            graph.initializer[-1].name = named(tensor.name)
        for node in self.graph.node:
            graph.node.add().CopyFrom(copied(node))
        rows = []
        for value, tensor in zip(self.graph.output, self.outputs):
            if self.compared(tensor):
                single, row = named(value.name) + "/single", named(value.name) + "/row"
                graph.node.add().CopyFrom(helper.make_node("Cast", [named(value.name)], [single], to=TensorProto.FLOAT))
                graph.node.add().CopyFrom(helper.make_node("Reshape", [single, "one_row"], [row]))
                rows.append(row)
        return rows

    def expected(self) -> list[np.ndarray]:
        return [numpy_helper.to_array(tensor).astype(np.float32).ravel() for tensor in self.outputs if self.compared(tensor)]


def model_of(cases: list[Case]) -> onnx.ModelProto:
    """Predicts `row`: all outputs one after the other, plus 0 times a sample's input."""
    graph = helper.make_graph([], "nodes", [helper.make_tensor_value_info("z", TensorProto.FLOAT, [SAMPLES, 1])],
                              [helper.make_tensor_value_info("loss", TensorProto.FLOAT, []), helper.make_tensor_value_info("row", TensorProto.FLOAT, None)])
    graph.initializer.append(numpy_helper.from_array(np.array([1, -1], np.int64), "one_row"))
    graph.initializer.append(numpy_helper.from_array(np.zeros(1, np.float32), "nothing"))
    graph.initializer.append(numpy_helper.from_array(np.ones((1, 1), np.float32), "trained"))
    graph.value_info.add(name="trained").metadata_props.add(key=KIND, value="PARAMETER")
    rows = [row for i, case in enumerate(cases) for row in case.add_to(graph, f"t{i}/")]
    graph.node.extend([helper.make_node("Concat", rows, ["rows"], axis=1), helper.make_node("Mul", ["z", "nothing"], ["zeros"]),
                       helper.make_node("Add", ["rows", "zeros"], ["row"]), helper.make_node("MatMul", ["z", "trained"], ["p"]),
                       helper.make_node("ReduceMean", ["p"], ["loss"], keepdims=0)])
    version = min(max(cases[0].versions[""], OPSETS[0]), OPSETS[-1])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", version)], ir_version=10)


def run(cases: list[Case], folder: pathlib.Path) -> tuple[str, list[str]]:
    """Why the group does not compile or run, empty if it does; and the tests that are wrong."""
    onnx.save(model_of(cases), folder / "model.onnx")
    recipe = {"loss": "loss", "data": {"z": "z"}, "predict": "row", "trainable": ["trained"], "batch": {"step": SAMPLES}}
    (folder / "recipe.yaml").write_text(json.dumps(recipe))
    save_file({"z.0": np.ones((SAMPLES, 1), np.float32)}, folder / "data.safetensors")
    for command in ([LLMC, "compile", folder / "model.onnx", "-r", folder / "recipe.yaml", "-o", folder / "m.plan"],
                    [LLMC_RUN, folder / "m.plan", "--data", folder / "data.safetensors", "--predict", folder / "out.safetensors"]):
        result = call(*command)
        if result.returncode:
            return f"exit {result.returncode}: {result.stderr.strip()[:300]}", []
    (out,) = load_file(folder / "out.safetensors").values()
    wrong, at = [], 0
    for case in cases:
        for values in case.expected():
            got = out[0, at:at + values.size]
            at += values.size
            if not np.allclose(got, values, rtol=1e-3, atol=1e-5, equal_nan=True):
                worst = np.nanargmax(np.abs(got - values))
                wrong.append(f"{case.name}: {got[worst]} for {values[worst]}")
    return "", wrong


def attempt(cases: list[Case], folder: pathlib.Path, failed: dict[str, str], wrong: list[str]) -> None:
    reason, bad = run(cases, folder)
    wrong += bad
    if not reason:
        return
    if len(cases) == 1:
        failed[cases[0].name] = reason
        return
    attempt(cases[:len(cases) // 2], folder, failed, wrong)
    attempt(cases[len(cases) // 2:], folder, failed, wrong)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", help="part of a test's name")
    parser.add_argument("--group", type=int, default=24, help="tests that become one model")
    parser.add_argument("--verbose", action="store_true", help="print why tests do not compile")
    args = parser.parse_args()
    report = Report()
    if not NODES.is_dir():
        print(f"skipped: no node tests in {NODES}")
        return 0
    names = [name for name in LIST.read_text().split() if args.only in name]
    cases = [case for case in map(Case, names) if case.takes_part()]
    groups: dict[int, list[Case]] = {}
    for case in cases:
        groups.setdefault(case.versions[""], []).append(case)
    failed: dict[str, str] = {}
    wrong: list[str] = []
    with tempfile.TemporaryDirectory() as temporary:
        for group in groups.values():
            for at in range(0, len(group), args.group):
                attempt(group[at:at + args.group], pathlib.Path(temporary), failed, wrong)
    if args.verbose:
        for name, reason in failed.items():
            print(f"{name}: {reason}")
    report.add(f"{len(cases) - len(failed)} of {len(cases)} node tests on real inputs have the right numbers from kernels", "; ".join(wrong[:5]))
    report.add("all of them compile", "; ".join(f"{name}: {reason}" for name, reason in list(failed.items())[:5]))
    return report.code


if __name__ == "__main__":
    sys.exit(main())
