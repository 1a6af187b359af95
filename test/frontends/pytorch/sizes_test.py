#!/usr/bin/env python3
"""export.py writes numbers that follow from the batch as such, or says that only the exported size is right.

The proof has a second batch size, to which `llmc check` resizes the model: a number that stayed as it was would show. Needs the
packages of scripts/setup --torch.
"""
import logging
import math
import pathlib
import subprocess
import sys
import tempfile
import unittest
import warnings

import numpy as np
import onnx
import onnxruntime
import torch
from onnx import numpy_helper
from torch import nn

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent.parent
sys.path.insert(0, str(ROOT / "frontends/pytorch"))
from export import export  # noqa: E402
from exporting import sizes  # noqa: E402

LLMC = ROOT / "build/dev/bin/llmc"

# Each is a loss of predictions p and values y, both [batch, 3].
FOLLOWS = {
    "a sum divided by the number of values": lambda p, y: (p - y).square().sum() / p.numel(),
    "a product with 1 / n": lambda p, y: (p - y).square().sum() * (1 / p.shape[0]),
    "a root of n": lambda p, y: (p - y).square().mean() + p.sum() / math.sqrt(p.shape[0]),
    "an average times n": lambda p, y: (p - y).square().mean() * p.shape[0],
    "one less": lambda p, y: (p - y).square().sum() / (p.shape[0] - 1),
    "a tensor made of n": lambda p, y: (p - y).square().sum() / torch.tensor(float(p.shape[0])),
    "a vector filled with n": lambda p, y: ((p - y).square().sum(0) / torch.full((3,), float(p.shape[0]))).sum(),
    "a comparison with n": lambda p, y: torch.where(p.abs() * 4 < p.shape[0], p, y).square().mean(),
    "a lower bound": lambda p, y: (p * 8).clamp(min=-p.shape[0]).sum() / p.shape[0],
    "a power": lambda p, y: p.abs().mean() ** p.shape[0] + y.sum() * 0,
    "a negative number": lambda p, y: (p - y).square().sum() / -p.shape[0],
    "a variance over samples": lambda p, y: p.var(0).sum() + y.sum() * 0,
    "a deviation of all values": lambda p, y: (p - y).std(),
    "no number": lambda p, y: (p - y).square().sum() / 10,
}
FIXED = {
    "a branch": lambda p, y: (p - y if p.shape[0] > 3 else p).square().mean(),
    "half of the batch": lambda p, y: (p - y).square().sum() / (p.shape[0] // 2),
    "columns": lambda p, y: (p - y)[:, :min(3, p.shape[0] - 1)].square().mean(),
    "a scale of attention": lambda p, y: nn.functional.scaled_dot_product_attention(p[:, None, None], p[:, None, None], y[:, None, None], scale=1 / p.shape[0]).mean(),
}


class Module(nn.Module):
    def __init__(self, loss):
        super().__init__()
        self.layer, self.loss = nn.Linear(6, 3), loss

    def forward(self, x, y):
        return self.loss(self.layer(x), y)


def build(loss, batch=4):
    torch.manual_seed(0)
    return lambda: (Module(loss), {"x": torch.randn(batch, 6), "y": torch.randn(batch, 3)})


class SizesTest(unittest.TestCase):
    def setUp(self):
        temporary = tempfile.TemporaryDirectory()
        self.addCleanup(temporary.cleanup)
        self.model = pathlib.Path(temporary.name, "m.onnx")

    def exported(self, loss, batch=4):
        export(build(loss, batch), self.model)
        return {entry.key: entry.value for entry in onnx.load(self.model).metadata_props}

    def check(self):
        return subprocess.run([LLMC, "check", self.model], capture_output=True, text=True)

    def test_numbers_follow_the_batch(self):
        for name, loss in FOLLOWS.items():
            with self.subTest(name):
                self.assertEqual(self.exported(loss).get(sizes.NUMBERS), "known")
                found = self.check()
                self.assertEqual(found.returncode, 0, found.stdout + found.stderr)
                self.assertRegex(found.stdout, r"reproduced \(\d+ parameters, 2 batch sizes\)", name)

    def test_a_number_that_follows_by_another_law_is_found(self):
        self.exported(FOLLOWS["a sum divided by the number of values"])
        model = onnx.load(self.model)
        three = next(t for t in model.graph.initializer if numpy_helper.to_array(t).size == 1 and numpy_helper.to_array(t).item() == 3)
        three.CopyFrom(numpy_helper.from_array(np.array(3.01, np.float32), three.name))
        onnx.save(model, self.model)
        self.assertEqual(self.check().returncode, 4)

    def test_graphs_that_are_right_at_one_size_only_say_so(self):
        for name, loss in FIXED.items():
            with self.subTest(name):
                self.assertIn(sizes.FIXED, self.exported(loss))

    def test_an_example_of_one_sample_tells_nothing_of_others(self):
        self.assertIn(sizes.FIXED, {**self.exported(lambda p, y: (p - y if p.shape[0] == 1 else p * p.shape[0]).square().mean(), 1)})

    def test_other_runtimes_read_the_number(self):
        loss = FOLLOWS["one less"]
        self.exported(loss)
        module, inputs = build(loss)()
        session = onnxruntime.InferenceSession(self.model)
        (found,) = session.run(None, {name: value.numpy() for name, value in inputs.items()})
        torch.testing.assert_close(torch.tensor(found.item()), module(**inputs).detach())

    def test_laws(self):
        self.assertEqual(sizes.law([4, 3, 5], [24.0, 18.0, 30.0]), (1, 6, 0, 1))
        self.assertEqual(sizes.law([4, 3, 5], [1 / 23, 1 / 17, 1 / 29]), (1, 6, -1, -1))
        self.assertEqual(sizes.law([4, 3, 5], [-2.0, -math.sqrt(3), -math.sqrt(5)]), (-1, 1, 0, 0.5))
        self.assertIsNone(sizes.law([4, 3, 5], [2.0, 1.0, 2.0]))
        self.assertIsNone(sizes.law([4, 3, 5], [0.0, 1.0, 2.0]))


if __name__ == "__main__":
    warnings.filterwarnings("ignore")
    logging.disable(logging.WARNING)
    unittest.main()
