#!/usr/bin/env python3
"""frontends/pytorch/export.py keeps parameters and writes the quickstart's model. Needs the packages of scripts/setup --torch."""
import logging
import pathlib
import sys
import tempfile
import unittest
import warnings

import numpy as np
import onnx
import torch
from onnx import numpy_helper

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent.parent
sys.path[:0] = [str(ROOT / "frontends/pytorch"), str(ROOT / "examples/quickstart")]
from export import ExportError, SIGNATURE, export  # noqa: E402
import model as quickstart  # noqa: E402


class Pair(torch.nn.Module):
    """Two equal layers, a third that shares a weight with the first, one that forward does not read, and a buffer."""

    def __init__(self):
        super().__init__()
        self.first, self.second, self.third, self.unread = (torch.nn.Linear(4, 4) for _ in range(4))
        for layer in (self.first, self.second):
            torch.nn.init.ones_(layer.weight)
            torch.nn.init.zeros_(layer.bias)
        self.third.weight = self.first.weight
        self.register_buffer("mean", torch.arange(4.0))

    def forward(self, x, y):
        return (self.third(self.second(self.first(x - self.mean))) - y).square().mean()


def pair():
    return Pair(), {"x": torch.zeros(8, 4), "y": torch.zeros(8, 4)}


class ExportTest(unittest.TestCase):
    def exported(self, build, **options):
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder, "m.onnx")
            self.unread = export(build, path, **options)
            return onnx.load(path, load_external_data=False)

    def test_the_committed_quickstart_model_is_what_its_source_exports(self):
        committed = onnx.load(ROOT / "examples/quickstart/model.onnx", load_external_data=False)
        exported = self.exported(quickstart.build, weights=False)
        for tensor in exported.graph.initializer:
            for entry in tensor.external_data:
                if entry.key == "location":
                    entry.value = "model.onnx.data"
        self.assertEqual(exported, committed)

    def test_equal_parameters_stay_apart_and_tied_ones_together(self):
        for options in ({}, {"weights": False}, {"opset": 23}):
            graph = self.exported(pair, **options).graph
            names = {tensor.name for tensor in graph.initializer if not tensor.name.startswith("val_")}
            self.assertEqual(names, {"first.bias", "second.weight", "second.bias", "third.weight", "third.bias", "mean"})

    def test_changes_in_place_and_views_of_other_strides_have_a_proof(self):
        class Changed(torch.nn.Module):
            def __init__(self):
                super().__init__()
                self.layer = torch.nn.Linear(4, 4)

            def forward(self, x, y):
                h = self.layer(x).view(-1, 2, 2).transpose(1, 2).clone()
                h[:, 0] = 2 * h[:, 1]
                return (h.reshape(-1, 4) - y).square().mean()

        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder, "m.onnx")
            self.assertEqual(export(lambda: (Changed(), {"x": torch.randn(8, 4), "y": torch.zeros(8, 4)}), path), [])
            self.assertTrue(path.with_suffix(".proof.safetensors").exists())

    def test_without_weights_only_parameters_lack_values(self):
        tensors = {tensor.name: tensor for tensor in self.exported(pair, weights=False).graph.initializer}
        self.assertEqual(tensors["second.weight"].data_location, onnx.TensorProto.EXTERNAL)
        np.testing.assert_array_equal(numpy_helper.to_array(tensors["mean"]), np.arange(4, dtype=np.float32))

    def test_parameters_that_are_not_read_are_named_and_not_in_the_signature(self):
        graph = self.exported(pair).graph
        self.assertEqual(self.unread, ["forward does not read unread.weight, unread.bias: not in the graph"])
        signature = next(entry.value for entry in graph.metadata_props if entry.key == SIGNATURE)
        self.assertIn("'first.weight'", signature)
        self.assertNotIn("unread", signature)

    def test_updated_buffers_that_forward_does_not_read_are_in_the_file(self):
        def build():
            return torch.nn.Sequential(torch.nn.utils.spectral_norm(torch.nn.Linear(4, 4))), {"input": torch.randn(8, 4)}

        names = {tensor.name for tensor in self.exported(build).graph.initializer}
        self.assertLessEqual({"0.weight_u", "0.weight_v"}, names)

    def test_wrong_input_names_are_errors(self):
        with self.assertRaisesRegex(ExportError, "forward takes x, y"):
            self.exported(lambda: (Pair(), {"z": torch.zeros(8, 4), "y": torch.zeros(8, 4)}))


if __name__ == "__main__":
    logging.disable(logging.WARNING)
    warnings.filterwarnings("ignore")
    unittest.main(warnings="ignore")
