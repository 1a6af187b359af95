#!/usr/bin/env python3
"""Random damage to small files must end in an error with a documented exit code, or in a run: fuzz.py [--cases N] [--seed N]

Bits are flipped, ranges are cut out, doubled or overwritten: in ONNX files of a newer and an older operator set (llmc check and compile), a recipe (llmc compile), and a
safetensors file of data and of weights (llmc-run). The seed decides everything.
"""
import argparse
import pathlib
import random
import subprocess
import sys
import tempfile

import numpy as np
import onnx
from bad_input import compiling, running, weights
from onnx import TensorProto, helper, numpy_helper
from safetensors.numpy import save_file
from support import LLMC, Report

DOCUMENTED = {0, 2, 3, 4, 5, 6, 16, 17}
LIMIT_SECONDS = 30


def older_model() -> onnx.ModelProto:
    """Weights in Constant nodes, a branch, and operators in the forms of operator set 9; its recipe's loss is `loss`."""
    def weight(name: str, values: np.ndarray) -> onnx.NodeProto:
        return helper.make_node("Constant", [], [name], value=numpy_helper.from_array(values.astype(np.float32)))
    chance = np.random.default_rng(7)
    branch = helper.make_graph([helper.make_node("Clip", ["h"], ["c"], min=-1.0, max=2.0)], "then", [],
                               [helper.make_tensor_value_info("c", TensorProto.FLOAT, None)])
    nodes = [weight("w", chance.normal(size=(3, 4))), weight("b", chance.normal(size=4)), helper.make_node("MatMul", ["x", "w"], ["m"]),
             helper.make_node("Add", ["m", "b"], ["h"]), helper.make_node("If", ["yes"], ["i"], then_branch=branch, else_branch=branch),
             helper.make_node("Unsqueeze", ["i"], ["u"], axes=[1]), helper.make_node("Slice", ["u"], ["s"], starts=[1], ends=[4], axes=[2]),
             helper.make_node("Squeeze", ["s"], ["q"], axes=[1]), helper.make_node("Softmax", ["q"], ["p"]),
             helper.make_node("ReduceMean", ["p"], ["r"], axes=[1], keepdims=0), helper.make_node("Mul", ["r", "r"], ["t"]),
             helper.make_node("ReduceSum", ["t"], ["loss"], keepdims=0)]
    graph = helper.make_graph(nodes, "older", [helper.make_tensor_value_info("x", TensorProto.FLOAT, [2, 3])],
                              [helper.make_tensor_value_info("loss", TensorProto.FLOAT, [])],
                              [numpy_helper.from_array(np.array(True), "yes")])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 9)], ir_version=4)


def damage(data: bytes, chance: random.Random) -> bytes:
    result = bytearray(data)
    for _ in range(chance.choice([1, 1, 1, 2, 4, 16])):
        at = chance.randrange(len(result))
        kind = chance.randrange(6)
        if kind <= 2:
            result[at] ^= 1 << chance.randrange(8)
        elif kind == 3:
            result[at] = chance.choice([0, 1, 0x7F, 0x80, 0xFF, ord("-"), ord("9"), ord("{")])
        elif kind == 4:
            del result[at:at + chance.randrange(1, 9)]
        else:
            result[at:at] = result[at:at + chance.randrange(1, 33)]
        if not result:
            return b"\0"
    return bytes(result)


def attempt(command: list) -> str:
    """The problem, empty if the tool ended as documented."""
    try:
        result = subprocess.run([str(part) for part in command], capture_output=True, text=True, errors="replace", timeout=LIMIT_SECONDS)
    except subprocess.TimeoutExpired:
        return f"still running after {LIMIT_SECONDS} s"
    signs = [sign for sign in ("Stack dump", "Assertion", "terminate called", "AddressSanitizer", "runtime error:") if sign in result.stderr]
    if result.returncode not in DOCUMENTED or signs:
        return f"exit code {result.returncode} {signs}: {result.stderr.strip()[-300:]}"
    if result.returncode and "error: " not in result.stderr:
        return f"exit code {result.returncode} without an error"
    return ""


def fuzz(report: Report, name: str, file: pathlib.Path, whole: bytes, commands: list, cases: int, seed: int, keep: pathlib.Path) -> None:
    problems = []
    for number in range(cases):
        data = damage(whole, random.Random(f"{seed} {name} {number}"))
        file.write_bytes(data)
        for command in commands:
            if problem := attempt(command):
                kept = keep / f"fuzz-{name}-{number}{file.suffix}"
                kept.write_bytes(data)
                problems.append(f"case {number} (kept as {kept}): {problem}")
    file.write_bytes(whole)
    report.add(f"fuzz: {cases} damaged files: {name}", "; ".join(problems[:3]))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=int, default=150, help="per kind of file")
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    report, keep = Report(), pathlib.Path(tempfile.gettempdir())
    with tempfile.TemporaryDirectory() as temporary:
        folder = pathlib.Path(temporary)
        train = running(folder, "--steps", 2)
        save_file(weights(), folder / "w.safetensors")
        (folder / "older.yaml").write_text("{loss: loss, data: {x: x}, batch: {step: 2}}")
        (folder / "older.onnx").write_bytes(older_model().SerializeToString())
        older = [[LLMC, "check", folder / "older.onnx"], [LLMC, "compile", folder / "older.onnx", "-r", folder / "older.yaml", "-o", folder / "other.plan"]]
        both = [[LLMC, "check", folder / "model.onnx", "-r", folder / "recipe.yaml"], compiling(folder, out="other.plan")]
        for name, file, commands in (("model.onnx", folder / "model.onnx", both), ("older.onnx", folder / "older.onnx", older), ("recipe.yaml", folder / "recipe.yaml", both[1:]),
                                     ("data.safetensors", folder / "data.safetensors", [train]),
                                     ("weights.safetensors", folder / "w.safetensors", [[*train, "--weights", folder / "w.safetensors"]])):
            fuzz(report, name, file, file.read_bytes(), commands, args.cases, args.seed, keep)
    return report.code


if __name__ == "__main__":
    sys.exit(main())
