#!/usr/bin/env python3
"""export.py takes modules as their users call them, refuses what it cannot take in one line, and writes over nothing of theirs.

Each export must have a proof, which compares the exported program with the module. --slow adds tests that start export.py again and
again. Needs the packages of scripts/setup --torch.
"""
import collections
import dataclasses
import logging
import pathlib
import subprocess
import sys
import tempfile
import unittest
import warnings

import onnx
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.checkpoint import checkpoint

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent.parent
sys.path.insert(0, str(ROOT / "frontends/pytorch"))
from export import ExportError, export  # noqa: E402

SLOW = "--slow" in sys.argv
Pair = collections.namedtuple("Pair", "loss logits")


@dataclasses.dataclass
class Output:
    loss: torch.Tensor
    logits: torch.Tensor = None


def module(forward, **parts):
    """A module with a layer and this forward(self, ...)."""
    made = type("Made", (nn.Module,), {"forward": forward})()
    made.layer = nn.Linear(6, 3)
    for name, part in parts.items():
        setattr(made, name, part)
    return made


def data():
    generator = torch.Generator().manual_seed(0)
    return {"x": torch.randn(4, 6, generator=generator), "y": torch.randn(4, 3, generator=generator)}


def plain(self, x, y):
    return F.mse_loss(self.layer(x), y)


def keywords(self, *, x, y):
    return F.mse_loss(self.layer(x), y)


def any_keywords(self, **batch):
    return F.mse_loss(self.layer(batch["x"]), batch["y"])


def any_position(self, x, *rest):
    return F.mse_loss(self.layer(x), rest[0])


def other_order(self, y, x):
    return F.mse_loss(self.layer(x), y)


def skips_a_default(self, x, mask=None, y=None):
    return F.mse_loss(self.layer(x if mask is None else x * mask), y)


def returning(result):
    def forward(self, x, y):
        p = self.layer(x)
        return result(p, F.mse_loss(p, y))
    return forward


def recomputed(self, x, y):
    return F.mse_loss(checkpoint(self.layer, torch.tanh(self.first(x)), use_reentrant=True), y)


def counted(self, x, y):
    self.count += 1
    return F.mse_loss(self.layer(x) * min(1, self.count / 10), y)


def counted_in_vain(self, x, y):
    self.count += 1
    return F.mse_loss(self.layer(x), y)


def collected(self, x, y):
    self.terms.append(F.mse_loss(self.layer(x), y))
    return sum(self.terms)


def last_collected(self, x, y):
    self.terms.append(F.mse_loss(self.layer(x), y))
    return self.terms[-1]


def uncast(self, x, y):
    with torch.autocast("cpu", enabled=False):
        return F.mse_loss(self.layer(x), y)


CALLS = {"keyword-only arguments": keywords, "any keywords": any_keywords, "any positions": any_position, "another order": other_order,
         "an argument left out": skips_a_default}
RESULTS = {
    "a dict": (lambda p, loss: {"logits": p, "loss": loss}, ["logits", "loss"]),
    "a dict with another key": (lambda p, loss: {"total": loss, "scores": p}, ["loss", "scores"]),
    "a dataclass": (lambda p, loss: Output(loss, p), ["loss", "logits"]),
    "a namedtuple": (lambda p, loss: Pair(loss, p), ["loss", "logits"]),
    "the loss last": (lambda p, loss: (p, loss), ["logits", "loss"]),
    "None and numbers": (lambda p, loss: (loss, None, 3.0, p), ["loss", "logits"]),
    "nested tuples": (lambda p, loss: (loss, (p, [p * 2])), ["loss", "logits", "output2"]),
    "a key of an input": (lambda p, loss: {"loss": loss, "x": p}, ["loss", "x.out"]),
}
REFUSED = {
    "a count in Python": (lambda: module(counted, count=0), "numbers that it changes itself.*count"),
    "a list that grows": (lambda: module(collected, terms=[]), "earlier calls left in the module: terms"),
    "Tensor.data": (lambda: module(lambda self, x, y: F.mse_loss(self.layer(x), self.layer(x).data + y)), "reads Tensor.data"),
    "max_norm": (lambda: module(plain, table=nn.Embedding(4, 4, max_norm=1.0)), r"max_norm of table \(Embedding\)"),
    "TorchScript inside": (lambda: module(plain, part=torch.jit.script(nn.Linear(2, 2))), "part .* is compiled by TorchScript"),
    "TorchScript": (lambda: torch.jit.script(nn.Linear(2, 2)), "compiled by TorchScript"),
    "no values": (lambda: module(plain).to("meta"), "on the meta device: layer.weight, layer.bias"),
    "no module": (lambda: plain, "instead of a torch.nn.Module"),
    "no tensor": (lambda: module(lambda self, x, y: "loss"), "no tensor"),
    "other names": (lambda: module(lambda self, a, b: a.mean()), "forward takes a, b, but the example inputs are x, y"),
    "sizes that depend on data": (lambda: module(lambda self, x, y: F.one_hot(x.argmax(-1)).float().mean() * self.layer(x).mean()),
                                  "cannot trace forward: .*data-dependent"),
}


class CallsTest(unittest.TestCase):
    def setUp(self):
        temporary = tempfile.TemporaryDirectory()
        self.addCleanup(temporary.cleanup)
        self.folder = pathlib.Path(temporary.name)
        self.model = self.folder / "m.onnx"

    def exported(self, made, inputs=None, **options):
        self.remarks = export(lambda: (made, inputs or data()), self.model, **options)
        self.assertTrue((self.folder / "m.proof.safetensors").exists() or "weights" in options)
        return onnx.load(self.model, load_external_data=False).graph

    def test_forward_is_called_as_it_wants(self):
        for name, forward in CALLS.items():
            with self.subTest(name):
                made = module(forward)
                graph = self.exported(made)
                self.assertEqual([value.name for value in graph.input], ["x", "y"])
                self.assertNotIn("forward", vars(made), "the module is left as it was")

    def test_results_get_names(self):
        for name, (result, names) in RESULTS.items():
            with self.subTest(name):
                self.assertEqual([value.name for value in self.exported(module(returning(result))).output], names)
        self.assertIn("the loss last", RESULTS)

    def test_what_is_left_out_is_said(self):
        self.exported(module(returning(lambda p, loss: (loss, None, 3.0, p))))
        self.assertEqual(self.remarks, ["forward returns None, 3.0 beside tensors: not in the file"])

    def test_wrappers_keep_the_names_of_parameters(self):
        for wrapped in (torch.compile(module(plain)), nn.DataParallel(module(plain)), module(plain, part=torch.compile(nn.Linear(2, 2)))):
            names = {name for name, _ in wrapped.named_parameters() if "part" not in name}
            self.assertLessEqual(names, {tensor.name for tensor in self.exported(wrapped).initializer})

    def test_recomputed_parts_have_gradients(self):
        self.exported(module(recomputed, first=nn.Linear(6, 6)))

    def test_lazy_parameters_get_their_shapes(self):
        made = module(plain)
        made.layer = nn.LazyLinear(3)
        self.exported(made)
        self.assertEqual(self.remarks, ["the example inputs gave lazy parameters their shapes: layer.weight, layer.bias"])
        made.layer = nn.LazyLinear(3)
        with self.assertRaisesRegex(ExportError, "lazy parameters layer.weight, layer.bias have no shapes"):
            self.exported(made, weights=False)

    def test_inputs_may_be_views_and_the_same_tensor(self):
        same = torch.randn(6, 4).t()
        self.exported(module(lambda self, a, b: F.mse_loss(self.layer(a), self.layer(b) + 1)), {"a": same, "b": same})

    def test_numbers_that_nothing_reads_may_change(self):
        self.exported(module(counted_in_vain, count=0))
        self.exported(module(last_collected, terms=[]))

    def test_losses_that_check_values_have_the_same_gradients(self):
        def forward(self, x, y):
            p = self.layer(x)
            return F.gaussian_nll_loss(p, y, F.relu(p), full=True) + nn.GaussianNLLLoss(reduction="sum")(p, y, y.square()[:, :1])

        self.exported(module(forward))
        self.assertEqual(self.remarks, [])

    def test_inference_mode_keeps_gradients_from_its_values(self):
        def forward(self, x, y):
            with torch.inference_mode():
                target = self.layer(x)
            return F.mse_loss(self.layer(x), target.clone() + y)

        self.exported(module(forward))

    def test_autocast_that_is_off_changes_nothing(self):
        self.exported(module(uncast))

    def test_buffers_of_integers_that_change_are_refused_by_name(self):
        def forward(self, x, y):
            self.steps += 1
            return F.mse_loss(self.layer(x), y) / self.steps

        made = module(forward)
        made.register_buffer("steps", torch.zeros((), dtype=torch.int64))
        self.exported(made)
        found = subprocess.run([ROOT / "build/dev/bin/llmc", "check", self.model], capture_output=True, text=True)
        self.assertEqual(found.returncode, 4, found.stderr)
        self.assertIn("buffer `steps`, which forward updates, has type int64", found.stderr)

    def test_what_cannot_be_taken_is_refused(self):
        for name, (build, message) in REFUSED.items():
            with self.subTest(name), self.assertRaisesRegex(ExportError, message) as caught:
                export(lambda: (build(), data()), self.model)
            self.assertNotIn("\n", str(caught.exception))
            self.assertFalse(self.model.exists())


SCRIPT = """import pathlib, torch
def build():
    layer = torch.nn.Linear(6, 1)
    for file in pathlib.Path(__file__).parent.glob("state*"):
        layer.load_state_dict(torch.load(file))
    return torch.nn.Sequential(layer, torch.nn.Flatten(0)), {"input": torch.randn(4, 6)}
"""


class CommandTest(unittest.TestCase):
    def setUp(self):
        temporary = tempfile.TemporaryDirectory()
        self.addCleanup(temporary.cleanup)
        self.folder = pathlib.Path(temporary.name)
        (self.folder / "m.py").write_text(SCRIPT)

    def run_export(self, *arguments):
        return subprocess.run([sys.executable, ROOT / "frontends/pytorch/export.py", *arguments], cwd=self.folder, capture_output=True, text=True)

    def refused(self, code, message, *arguments):
        found = self.run_export(*arguments)
        self.assertEqual(found.returncode, code, found.stderr)
        self.assertRegex(found.stderr, r"\Aerror: [^\n]*" + message)
        self.assertNotIn("Traceback", found.stderr)

    def test_nothing_is_written_over(self):
        (self.folder / "older.onnx").write_text("mine")
        (self.folder / "other.proof.safetensors").write_text("mine")
        torch.save(nn.Linear(6, 1).state_dict(), self.folder / "state.onnx")
        before = {file.name: file.read_bytes() for file in self.folder.iterdir()}
        self.refused(2, "older.onnx exists", "m.py", "-o", "older.onnx")
        self.refused(2, "state.onnx is a file that the model was built from", "m.py", "-o", "state.onnx", "--overwrite")
        self.refused(2, "m.py would be an ONNX file under the name of another kind", "m.py", "-o", "m.py", "--overwrite")
        self.refused(2, "is no proof of an earlier export", "m.py", "-o", "other.onnx", "--overwrite")
        self.refused(2, "is a folder", "m.py", "-o", ".", "--overwrite")
        after = {file.name: file.read_bytes() for file in self.folder.iterdir() if file.is_file()}
        self.assertEqual(after, before)

    @unittest.skipUnless(SLOW, "slow: --slow")
    def test_an_older_output_is_replaced_if_asked(self):
        self.assertEqual(self.run_export("m.py", "-o", "new.onnx").returncode, 0)
        found = self.run_export("m.py", "-o", "new.onnx", "--overwrite")
        self.assertEqual(found.returncode, 0, found.stderr)

    @unittest.skipUnless(SLOW, "slow: --slow")
    def test_faults_of_the_file_are_one_line(self):
        for text, message in (("def build(", "SyntaxError"), ("import nothing_here", "No module named 'nothing_here'"), ("import sys; sys.exit()", "ends the program"),
                              ("def build(): 1 / 0", r"build\(\) fails: ZeroDivisionError.*e.py:1"), ("def build(): return 3", "must return"),
                              ("", "defines no function build")):
            (self.folder / "e.py").write_text(text)
            self.refused(3, message, "e.py", "-o", "e.onnx")


if __name__ == "__main__":
    warnings.filterwarnings("ignore")
    logging.disable(logging.WARNING)
    unittest.main(argv=[argument for argument in sys.argv if argument != "--slow"])
