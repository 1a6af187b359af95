#!/usr/bin/env python3
"""llmc check finds what a file computes otherwise than PyTorch, by the proof beside it. Needs the packages of scripts/setup --torch.

Two models are exported with their proofs, which must be reproduced; then each of the faults below is planted in a copy of the file,
and `llmc check` must refuse it with exit code 4 and name a parameter, a buffer or the loss.
"""
import logging
import pathlib
import subprocess
import sys
import tempfile
import unittest
import warnings

import numpy as np
import onnx
import torch
import torch.nn.functional as F
from onnx import helper, numpy_helper
from torch import nn

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent.parent
sys.path.insert(0, str(ROOT / "frontends/pytorch"))
from export import export  # noqa: E402

LLMC = ROOT / "build/dev/bin/llmc"


class Language(nn.Module):
    """An embedding with a padding row, frozen positions, causal attention, a detached auxiliary target, smoothed labels."""

    def __init__(self):
        super().__init__()
        self.embed, self.position = nn.Embedding(16, 8, padding_idx=0), nn.Embedding(6, 8)
        self.position.weight.requires_grad_(False)
        self.norm, self.qkv, self.project = nn.LayerNorm(8), nn.Linear(8, 24), nn.Linear(8, 8)
        self.up, self.down, self.drop, self.head = nn.Linear(8, 16), nn.Linear(16, 8), nn.Dropout(0.3), nn.Linear(8, 16)

    def forward(self, ids, labels):
        b, t = ids.shape
        x = self.embed(ids) + self.position(torch.arange(t))
        q, k, v = self.qkv(self.norm(x)).view(b, t, 3, 2, 4).permute(2, 0, 3, 1, 4).unbind(0)
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.project(y.transpose(1, 2).reshape(b, t, 8))
        z = x + self.down(self.drop(F.gelu(self.up(x))))
        auxiliary = F.mse_loss(z, torch.tanh(x).detach())
        return F.cross_entropy(self.head(z).flatten(0, 1), labels.flatten(), label_smoothing=0.1) + 0.25 * auxiliary


class Image(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.norm, self.head = nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4), nn.Linear(64, 5)

    def forward(self, x, labels):
        h = F.max_pool2d(F.relu(self.norm(self.conv(x))), 2)
        return F.cross_entropy(self.head(h.flatten(1)), labels)


def language():
    torch.manual_seed(0)
    generator = torch.Generator().manual_seed(1)
    ids = torch.randint(0, 16, (4, 6), generator=generator)
    return Language().train(), {"ids": ids, "labels": torch.randint(1, 16, (4, 6), generator=generator)}


def image():
    torch.manual_seed(0)
    return Image().train(), {"x": torch.randn(6, 3, 8, 8), "labels": torch.arange(6) % 5}


# ---------------------------------------------------------------------------------------------------------------------
# Faults: each changes the graph in place, and fails if it finds nothing to change.


def nodes(graph, op):
    found = [node for node in graph.node if node.op_type == op]
    assert found, f"no {op} in the graph: {sorted({node.op_type for node in graph.node})}"
    return found


def other_op(op, now, index=0):
    def plant(graph):
        node = nodes(graph, op)[index]
        node.op_type = now
        node.domain = ""
    return plant


def attribute(op, name, value, index=0):
    def plant(graph):
        node = nodes(graph, op)[index]
        kept = [entry for entry in node.attribute if entry.name != name]
        del node.attribute[:]
        node.attribute.extend([*kept, helper.make_attribute(name, value)])
    return plant


def pass_through(op, keep, index=0):
    """The node hands on its input `keep`."""
    def plant(graph):
        node = nodes(graph, op)[index]
        node.op_type, kept = "Identity", node.input[keep]
        del node.input[:], node.attribute[:]
        node.input.append(kept)
    return plant


def swap_inputs(op, index=0):
    def plant(graph):
        node = nodes(graph, op)[index]
        node.input[0], node.input[1] = node.input[1], node.input[0]
    return plant


def initializer(name, change):
    def plant(graph):
        tensor = next(tensor for tensor in graph.initializer if tensor.name == name)
        value = change(numpy_helper.to_array(tensor).copy())
        tensor.CopyFrom(numpy_helper.from_array(np.ascontiguousarray(value), name))
    return plant


def number(value, now):
    """A constant of the graph with this value in all its elements."""
    def plant(graph):
        for tensor in graph.initializer:
            array = numpy_helper.to_array(tensor)
            if array.dtype == np.float32 and array.size and np.allclose(array, value, rtol=1e-5, atol=0):
                tensor.CopyFrom(numpy_helper.from_array(np.full_like(array, now), tensor.name))
                return
        raise AssertionError(f"no constant {value}: {[float(numpy_helper.to_array(t).flat[0]) for t in graph.initializer if t.dims == [] or list(t.dims) == [1]]}")
    return plant


def metadata(name, value):
    """What the exporter says of whether PyTorch trains a parameter."""
    def plant(graph):
        for holder in [*graph.value_info, *graph.input, *graph.initializer]:
            if holder.name == name:
                kept = [entry for entry in holder.metadata_props if entry.key != "llmc.trainable"]
                del holder.metadata_props[:]
                holder.metadata_props.extend(kept)
                if value:
                    holder.metadata_props.add(key="llmc.trainable", value=value)
    return plant


def no_bias(op, index=0):
    def plant(graph):
        del nodes(graph, op)[index].input[2]
    return plant


LANGUAGE = {
    "detach is lost": other_op("StopGradient", "Identity"),
    "a frozen parameter is trained": metadata("position.weight", None),
    "a parameter is frozen": metadata("up.weight", "false"),
    "the padding row has a gradient": pass_through("Where", 2),
    "another weight of a term of the loss": number(0.25, 0.5),
    "a norm's epsilon": attribute("LayerNormalization", "epsilon", 0.1),
    "a norm's scale": initializer("norm.weight", lambda value: value * 1.001),
    "sums instead of differences": other_op("Sub", "Add"),
    "a residual connection is lost": pass_through("Add", 0, -1),
    "another activation": other_op("Erf", "Tanh"),
    "softmax over the wrong dimension": attribute("Softmax", "axis", -2),
    "a transposed weight": initializer("project.weight", lambda value: value.T),
    "one entry of a weight": initializer("down.weight", lambda value: value + (np.arange(value.size).reshape(value.shape) == 5)),
    "a bias": initializer("head.bias", lambda value: value + 0.01 * np.arange(value.size, dtype=np.float32)),
    "rows of a table in another order": initializer("embed.weight", lambda value: value[::-1]),
    "a hyperbolic sine": other_op("Tanh", "Sinh"),
    "sum instead of mean": other_op("ReduceMean", "ReduceSum"),
    "a quotient turned around": swap_inputs("Div"),
    "operands of a product exchanged for a sum": other_op("Mul", "Add", -1),
}

IMAGE = {
    "stored statistics instead of the batch's": attribute("BatchNormalization", "training_mode", 0),
    "the momentum of running statistics": attribute("BatchNormalization", "momentum", 0.5),
    "epsilon of a batch normalization": attribute("BatchNormalization", "epsilon", 0.01),
    "running statistics": initializer("norm.running_var", lambda value: value + 1),
    "no activation": pass_through("Relu", 0),
    "another pooling": other_op("MaxPool", "AveragePool"),
    "a convolution's kernel turned": initializer("conv.weight", lambda value: value[:, :, ::-1]),
    "a linear layer without bias": no_bias("Gemm"),
    "a label that is ignored": attribute("SoftmaxCrossEntropyLoss", "ignore_index", 3),
    "a sum over the batch": attribute("SoftmaxCrossEntropyLoss", "reduction", "sum"),
    "scores times two": attribute("Gemm", "alpha", 2.0),
}


# What the message must say, where a fault has one place.
NAMED = {
    "a frozen parameter is trained": "'position.weight' is trained, though PyTorch does not train it",
    "a parameter is frozen": "'up.weight' is not trained, though PyTorch trains it",
    "another weight of a term of the loss": ": the loss, ",
    "the padding row has a gradient": "the gradient of 'embed.weight'",
    "the momentum of running statistics": "the update of buffer 'norm.running_mean'",
    "running statistics": "the update of buffer 'norm.running_var'",
    "a sum over the batch": "the gradient of 'norm.bias'",
}


class ProofTest(unittest.TestCase):
    def check(self, path):
        return subprocess.run([LLMC, "check", path], capture_output=True, text=True)

    def plant(self, build, faults):
        with tempfile.TemporaryDirectory() as temporary:
            folder = pathlib.Path(temporary)
            export(build, folder / "m.onnx")
            right = self.check(folder / "m.onnx")
            self.assertEqual(right.returncode, 0, right.stdout + right.stderr)
            self.assertRegex(right.stdout, r"PyTorch's loss and gradients reproduced \(\d+ parameters, 2 batch sizes\)")
            for name, fault in faults.items():
                with self.subTest(name):
                    model = onnx.load(folder / "m.onnx")
                    before = model.SerializeToString()
                    fault(model.graph)
                    self.assertNotEqual(model.SerializeToString(), before, "the fault changed nothing")
                    onnx.save(model, folder / "faulty.onnx")
                    (folder / "faulty.proof.safetensors").write_bytes((folder / "m.proof.safetensors").read_bytes())
                    found = self.check(folder / "faulty.onnx")
                    self.assertEqual(found.returncode, 4, found.stdout + found.stderr)
                    self.assertRegex(found.stderr, "gradient of '|: the loss|is trained, though|is not trained, though|update of buffer '|op label -100 of row", name)
                    self.assertIn(NAMED.get(name, ""), found.stderr)

    def test_faults_in_a_language_model(self):
        self.plant(language, LANGUAGE)

    def test_faults_in_an_image_model(self):
        self.plant(image, IMAGE)


if __name__ == "__main__":
    warnings.filterwarnings("ignore")
    logging.disable(logging.WARNING)
    unittest.main()
