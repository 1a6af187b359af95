#!/usr/bin/env python3
"""llmc check against the proof beside a model, which is made here with NumPy: the right one is reproduced at both sizes, one with any
number changed beyond rounding is refused by name, and one that is damaged or of another model ends in an error that says so.

frontends/pytorch/exporting/proof.py describes the file.
"""
import pathlib
import sys
import tempfile

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from safetensors.numpy import save_file

from support import LLMC, Report, run

VOCABULARY, WIDTH, ROWS, LENGTH, IGNORED = 16, 8, 4, 8, -100


def weights() -> dict[str, np.ndarray]:
    random = np.random.default_rng(1)
    return {"embed": random.normal(0, 0.5, (VOCABULARY, WIDTH)).astype(np.float32),
            "head": random.normal(0, 0.5, (WIDTH, VOCABULARY)).astype(np.float32)}


def model() -> onnx.ModelProto:
    """An embedding whose rows are multiplied with a head; cross-entropy over labels that are not IGNORED."""
    nodes = [helper.make_node("Gather", ["embed", "ids"], ["h"]), helper.make_node("MatMul", ["h", "head"], ["scores"]),
             helper.make_node("Reshape", ["scores", "rows"], ["flat"]), helper.make_node("Reshape", ["labels", "minus"], ["flat_labels"]),
             helper.make_node("SoftmaxCrossEntropyLoss", ["flat", "flat_labels"], ["loss"], ignore_index=IGNORED)]
    initializers = [numpy_helper.from_array(value, name) for name, value in weights().items()]
    initializers += [numpy_helper.from_array(np.array([-1, VOCABULARY], np.int64), "rows"), numpy_helper.from_array(np.array([-1], np.int64), "minus")]
    inputs = [helper.make_tensor_value_info(name, TensorProto.INT64, [ROWS, LENGTH]) for name in ("ids", "labels")]
    graph = helper.make_graph(nodes, "g", inputs, [helper.make_tensor_value_info("loss", TensorProto.FLOAT, [])], initializers)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)


def gradients(ids: np.ndarray, labels: np.ndarray) -> tuple[float, dict[str, np.ndarray]]:
    embed, head = (weights()[name].astype(np.float64) for name in ("embed", "head"))
    rows, counted = ids.ravel(), labels.ravel() != IGNORED
    hidden = embed[rows]
    scores = hidden @ head
    logs = scores - np.log(np.exp(scores).sum(1, keepdims=True))
    wanted = np.where(counted, labels.ravel(), 0)
    loss = -(logs[np.arange(len(rows)), wanted] * counted).sum() / counted.sum()
    cotangent = np.exp(logs)
    cotangent[np.arange(len(rows)), wanted] -= 1
    cotangent *= counted[:, None] / counted.sum()
    of_embed = np.zeros_like(embed)
    np.add.at(of_embed, rows, cotangent @ head.T)
    return loss, {"embed": of_embed, "head": hidden.T @ cotangent}


def proof() -> dict[str, np.ndarray]:
    random = np.random.default_rng(2)
    tensors = {f"parameter.{name}": np.array([1, *value.shape]) for name, value in weights().items()}
    for k, rows in enumerate((ROWS, 3)):
        ids, labels = (random.integers(0, VOCABULARY, (rows, LENGTH)) for _ in range(2))
        labels[0, :3] = IGNORED
        loss, found = gradients(ids, labels)
        tensors |= {f"{k}.input.ids": ids, f"{k}.input.labels": labels, f"{k}.loss": np.array([loss])}
        for name, value in found.items():
            flat = value.ravel()
            places = np.unique([np.abs(flat).argmax(), *(i * flat.size // 8 for i in range(8))])
            factors = (np.arange(flat.size, dtype=np.int64) * 2654435761 % (1 << 32)) / (1 << 32) - 0.5
            tensors[f"{k}.gradient.{name}"] = np.array([np.linalg.norm(flat), flat @ factors, *flat[places]])
            tensors[f"{k}.indices.{name}"] = places.astype(np.int64)
    return tensors


def times(name: str, factor: float, place=...):
    def change(tensors):
        tensors[name][place] *= factor
    return change


def plus(name: str, part: float, place: int, of: int = 0):
    """Adds a part of the tensor's entry `of` to its entry `place`."""
    def change(tensors):
        tensors[name][place] += part * tensors[name][of]
    return change


def without(*names: str):
    def change(tensors):
        for name in names:
            del tensors[name]
    return change


def put(name: str, value):
    def change(tensors):
        tensors[name] = np.array(value)
    return change


def all_of(*changes):
    def change(tensors):
        for one in changes:
            one(tensors)
    return change


# Name, change, exit code, what the output must say.
CASES = [
    ("as it is", lambda tensors: None, 0, "reproduced (2 parameters, 2 batch sizes), in the reference interpreter"),
    ("one size", without(*(f"1.{what}" for what in ("input.ids", "input.labels", "loss", "gradient.embed", "gradient.head", "indices.embed", "indices.head"))),
     0, "reproduced (2 parameters, 1 batch size)"),
    ("a loss within rounding", times("0.loss", 1 + 3e-6), 0, "reproduced"),
    ("a loss", times("0.loss", 1 + 3e-5), 4, "4 samples: the loss, "),
    ("a loss of the second size", times("1.loss", 1 - 3e-5), 4, "3 samples: the loss, "),
    ("a loss that is no number", times("0.loss", np.nan), 4, "4 samples: the loss, "),
    ("a norm within rounding", times("0.gradient.head", 1 + 3e-5, 0), 0, "reproduced"),
    ("a norm", times("0.gradient.head", 1 + 3e-4, 0), 4, "4 samples: the gradient of 'head', off by 3.0E-04"),
    ("a smaller norm", times("0.gradient.head", 1 - 3e-4, 0), 4, "4 samples: the gradient of 'head', off by 3.0E-04"),
    ("a norm that is no number", times("0.gradient.head", np.nan, 0), 4, "4 samples: the gradient of 'head'"),
    ("a norm of the second size", times("1.gradient.embed", 1 + 3e-4, 0), 4, "3 samples: the gradient of 'embed', off by 3.0E-04"),
    ("entries in another order", plus("0.gradient.embed", 1e-3, 1), 4, "4 samples: the gradient of 'embed'"),
    ("the first entry", plus("0.gradient.embed", 1e-3, 2), 4, "4 samples: the gradient of 'embed'"),
    ("the last entry", plus("1.gradient.head", -1e-3, -1), 4, "3 samples: the gradient of 'head'"),
    ("two differences", all_of(times("0.gradient.head", 1 + 3e-4, 0), times("1.gradient.embed", 1 + 2e-2, 0)), 4,
     "the largest relative difference is 2.0E-02:\n  3 samples: the gradient of 'embed', off by 2.0E-02\n  4 samples: the gradient of 'head', off by 3.0E-04\n"),
    ("a parameter that PyTorch does not train", put("parameter.head", [0, WIDTH, VOCABULARY]), 4, "'head' is trained, though PyTorch does not train it"),
    ("a gradient that PyTorch does not have", without("0.gradient.head", "0.indices.head"), 4, "the gradient of 'head', which PyTorch does not have"),
    ("an entry outside of the gradient", put("0.indices.head", [0, 16, 32, 48, 64, 80, 96, 112, WIDTH * VOCABULARY]), 4, "the gradient of 'head' has another size"),
    ("an entry before the gradient", put("0.indices.head", [-1, 16, 32, 48, 64, 80, 96, 112, 113]), 4, "the gradient of 'head' has another size"),
    ("a parameter of another shape", put("parameter.head", [1, WIDTH, VOCABULARY + 1]), 4, "belongs to another model:\n  head: has another shape in the model\n"),
    ("a parameter more", put("parameter.tail", [1, 3]), 4, "belongs to another model:\n  tail: is no parameter of the model\n"),
    ("a parameter less", without("parameter.embed"), 4, "belongs to another model:\n  embed: is not in the proof\n"),
    ("an input less", without("0.input.labels"), 4, "has no value for input 'labels'"),
    ("an input of another length", put("0.input.labels", np.zeros((ROWS, LENGTH - 1), np.int64)), 4, "'labels' has another shape in the proof"),
    ("an input of other rows", put("0.input.labels", np.zeros((ROWS - 1, LENGTH), np.int64)), 4, "'labels' has another shape in the proof"),
    ("an input of another type", put("0.input.labels", np.zeros((ROWS, LENGTH), np.float32)), 4, "'labels' has another type in the proof"),
    ("ids outside of the table", put("0.input.ids", np.full((ROWS, LENGTH), VOCABULARY)), 4, "ids"),
    ("no loss", without("0.loss"), 3, "is no proof of a model"),
    ("no parameters", without("parameter.embed", "parameter.head"), 3, "is no proof of a model"),
]


def main() -> int:
    report = Report()
    with tempfile.TemporaryDirectory() as temporary:
        folder = pathlib.Path(temporary)
        onnx.save(model(), folder / "m.onnx")

        def check(name: str, code: int, text: str) -> None:
            found = run(LLMC, "check", folder / "m.onnx")
            said = found.stdout + found.stderr
            problem = ""
            if found.returncode != code:
                problem = f"exit code {found.returncode} instead of {code}: {said[-600:]}"
            elif text not in said:
                problem = f"`{text}` is not in: {said[-600:]}"
            elif found.stderr.count("error:") != (code != 0):
                problem = f"not one error: {found.stderr}"
            report.add(name, problem)

        check("no proof", 0, "note: there is no proof beside the model (m.proof.safetensors), so that PyTorch's loss and gradients are not compared")
        for name, change, code, text in CASES:
            tensors = {key: value.copy() for key, value in proof().items()}
            change(tensors)
            save_file(tensors, folder / "m.proof.safetensors")
            check(name, code, text)
        (folder / "m.proof.safetensors").write_bytes(b"no safetensors")
        check("another file", 3, "m.proof.safetensors")
    return report.code


if __name__ == "__main__":
    sys.exit(main())
