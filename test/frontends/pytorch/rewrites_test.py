#!/usr/bin/env python3
"""What exporting/rewrite.py puts in place of an operator computes the same: outputs and gradients of the rewritten program, run by PyTorch,
against those of the module, for each way to call the operator. And what export.py is given stays as it was.
Needs the packages of scripts/setup --torch."""
import itertools
import pathlib
import sys
import tempfile
import unittest
import warnings

import torch
import torch.nn.functional as F

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent.parent
sys.path[:0] = [str(ROOT / "frontends/pytorch")]
from export import export  # noqa: E402
from exporting import markers, proof, replay, rewrite  # noqa: E402, F401


class Calls(torch.nn.Module):
    """Calls a function with its parameters, and weights what it returns."""

    def __init__(self, function, *tensors):
        super().__init__()
        self.function, self.parts = function, torch.nn.ParameterList([torch.nn.Parameter(t, t.is_floating_point()) for t in tensors])

    def forward(self, factor):
        result = self.function(*self.parts)
        return (result * proof.weights_of(result.numel()).float().view(result.shape)).sum() * factor


def numbers(*shape, seed=1):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def attentions():
    """Dropout inside, which the exporter would lose; square, more keys than queries, more queries than keys; grouped heads."""
    for queries, keys in ((3, 3), (3, 5), (5, 3)):
        for how in ("plain", "causal", "bool", "float", "scale", "grouped"):
            heads = 4 if how == "grouped" else 2
            q, k, v = numbers(2, heads, queries, 4, seed=1), numbers(2, 2, keys, 4, seed=2), numbers(2, 2, keys, 6, seed=3)
            mask = numbers(queries, keys, seed=4)
            more = {"causal": {"is_causal": True}, "bool": {"attn_mask": (mask > -0.3) | (torch.arange(keys) == 0)}, "float": {"attn_mask": mask},
                    "scale": {"scale": 0.3}, "grouped": {"enable_gqa": True}}.get(how, {})
            yield f"attention {queries} {keys} {how}", Calls(lambda q, k, v, more=more: F.scaled_dot_product_attention(q, k, v, dropout_p=0.1, **more), q, k, v)
    yield "attention without dropout", Calls(lambda q: F.scaled_dot_product_attention(q, q, q), numbers(2, 2, 3, 4))


def lookups():
    ids = torch.tensor([[0, 2, 3], [3, 1, 0]])
    for padding in (None, 0, 2, 3, -1):
        yield f"embedding, padding_idx {padding}", Calls(lambda table, padding=padding: F.embedding(ids, table, padding_idx=padding), numbers(4, 5))


def losses():
    for shape in ((5,), (6, 5), (2, 5, 3), (2, 5, 2, 3)):
        dim, rows = (0, ()) if len(shape) == 1 else (1, (shape[0], *shape[2:]))
        target = torch.arange(max(1, torch.tensor(rows).prod().int().item() if rows else 1)).view(rows) * 3 % 5
        ignoring = target.clone()
        if rows:
            ignoring.view(-1)[1] = 2
        for reduction, smoothing, weighted, ignored in itertools.product(("mean", "sum", "none"), (0.0, 0.2), (False, True), (-100, 2)):
            if len(shape) != 2 and (len(shape) == 1 and ignored == 2 or not smoothing or (reduction == "none") == weighted):
                continue
            weight = numbers(5, seed=5).abs() + 0.1 if weighted else None
            name = f"cross_entropy {shape} {reduction} {smoothing} {'weighted' if weighted else ''} {ignored}"
            yield name, Calls(lambda x, r=reduction, s=smoothing, w=weight, i=ignored, t=ignoring if ignored == 2 else target:
                              F.cross_entropy(x, t, w, ignore_index=i, reduction=r, label_smoothing=s), numbers(*shape))
            if ignored == -100 and reduction != "sum":
                wanted = torch.softmax(numbers(*shape, seed=6), dim)
                yield name + " probabilities", Calls(lambda x, r=reduction, s=smoothing, w=weight, t=wanted:
                                                     F.cross_entropy(x, t, w, reduction=r, label_smoothing=s), numbers(*shape))


def others():
    yield "detach", Calls(lambda x, y: x * y.detach() + x.detach() * 2 + y, numbers(3, 4), numbers(3, 4, seed=2))
    yield "no_grad", Calls(_without_gradient, numbers(3, 4), numbers(3, 4, seed=2))
    yield "dropout of all", Calls(lambda x: F.dropout(x, 1.0) + x, numbers(3, 4))
    yield "dropout", Calls(lambda x: F.dropout(x, 0.3) * x, numbers(3, 4))
    yield "view of a turned value", Calls(lambda x: x.transpose(0, 1).contiguous().view(12) * 2, numbers(3, 4))
    yield "in place", Calls(_in_place, numbers(3, 4))


def _without_gradient(x, y):
    with torch.no_grad():
        scale = x.abs().mean() + y
    return x * scale + y


def _in_place(x):
    y = x * 2
    y[1:] += x[:-1]
    y.mul_(x)
    return y


class RewritesTest(unittest.TestCase):
    def test_what_is_rewritten_computes_the_same(self):
        count = 0
        for name, module in itertools.chain(attentions(), lookups(), losses(), others()):
            with self.subTest(name), warnings.catch_warnings():
                warnings.simplefilter("ignore")
                inputs = {"factor": torch.tensor(0.7)}
                with proof.no_dropout():
                    loss = module(**inputs)
                loss.backward()
                program, _ = rewrite.functional(torch.export.export(module, tuple(inputs.values()), strict=False))
                found, gradients = replay.replay(program, module, inputs, 0)
                self.assertAlmostEqual(found, loss.item(), delta=1e-5 * max(1, abs(loss.item())))
                for key, parameter in module.named_parameters():
                    wanted = torch.zeros(()) if parameter.grad is None else parameter.grad
                    own = torch.zeros(()) if gradients[key] is None else gradients[key]
                    self.assertLess((own - wanted).abs().max().item(), 1e-5 * max(1, wanted.abs().max().item()), key)
                count += 1
        self.assertGreater(count, 70)

    def test_the_module_stays_as_it_was(self):
        module = torch.nn.Sequential(torch.nn.Linear(4, 6), torch.nn.BatchNorm1d(6), torch.nn.Dropout(0.2), torch.nn.Linear(6, 2))
        module[3].bias.requires_grad_(False)
        module[2].eval()
        module[0].weight.grad = torch.full((6, 4), 3.0)

        class Loss(torch.nn.Module):
            def __init__(self):
                super().__init__()
                self.net, self.calls = module, 0

            def forward(self, x, y):
                return (self.net(x) - y).square().mean()

        wrapped = Loss()
        inputs = {"x": numbers(5, 4), "y": numbers(5, 2, seed=2)}

        def state():
            parts = {name: value.detach().clone() for name, value in wrapped.state_dict().items()}
            parts |= {name + ".grad": value.grad.clone() for name, value in wrapped.named_parameters() if value.grad is not None}
            flags = {name: value.requires_grad for name, value in wrapped.named_parameters()}
            modes = {name: part.training for name, part in wrapped.named_modules()}
            return parts, (flags, modes, wrapped.calls, torch.is_grad_enabled(), torch.get_default_dtype(), F.dropout, F.scaled_dot_product_attention)

        given = {name: value.clone() for name, value in inputs.items()}
        torch.manual_seed(11)
        before, random = state(), torch.get_rng_state()
        with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            export(lambda: (wrapped, inputs), pathlib.Path(folder, "m.onnx"))
        after = state()
        self.assertEqual(before[0].keys(), after[0].keys())
        for name, value in before[0].items():
            self.assertTrue(torch.equal(value, after[0][name]), name)
        self.assertEqual(before[1], after[1])
        for name, value in given.items():
            self.assertTrue(torch.equal(value, inputs[name]), name)
            self.assertIsNone(inputs[name].grad)
        self.assertTrue(torch.equal(random, torch.get_rng_state()))


if __name__ == "__main__":
    unittest.main()
