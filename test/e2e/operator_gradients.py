#!/usr/bin/env python3
"""Gradients of ONNX operators as PyTorch has them, at ties and kinks too: operator_gradients.py [--only SUBSTRING] [--write | --pytorch]

Each case is a few nodes on parameters; its loss is the sum of its result times fixed weights. All cases are one graph, whose plan
makes the gradients of all parameters at once, and `llmc interpret` makes them too. Central differences
cannot see which subgradient a kink gets, and tensors of different extents cannot tell an axis that was swapped by mistake, so inputs here
have ties and most are square. operator_gradients.json holds PyTorch's results and gradients; --write makes it anew, and --pytorch compares it with what PyTorch says
now (both need scripts/setup --torch).
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

from support import LLMC, LLMC_RUN, Report, must

EXPECTED = pathlib.Path(__file__).with_suffix(".json")
KIND = "pkg.torch.export.graph_signature.InputSpec.kind"
TOLERANCE = 2e-6

# Values of which some are at the kinks: zero, the bounds of the usual clips and ramps, and pairs that are equal.
KINKS = [-4, -3, -1, -.5, -0.0, 0, .25, .5, .5, 1, 3, 6]
SMOOTH = [.3, -1.2, .8, 2.1, -.4, 1.5, -.9, .6, 1.1, -.2, .7, -1.7, .45, 1.9, -.65, .15]
POSITIVE = [.3, 1.2, .8, 2.1, .4, 1.5, .9, .6, 1.1, .2, .7, 1.7, .45, 1.9, .65, .15]
SQUARE = np.reshape(SMOOTH, (4, 4)).tolist()
TIED = [[1, 2, 2], [3, 3, 3], [2, 0, 2]]


def node(op: str, inputs: str = "x", outputs: str = "y", **attributes):
    return op, inputs.split(), outputs.split(), attributes


def fill(shape, first=0):
    return np.resize(np.roll(SMOOTH, first), shape).tolist()


# name: inputs that are trained, constants (lists of integers are int64), nodes that make y, PyTorch's y of (torch, F, inputs)
CASES = {
    "Relu": ({"x": KINKS}, {}, [node("Relu")], lambda t, F, x: F.relu(x)),
    "LeakyRelu": ({"x": KINKS}, {}, [node("LeakyRelu", alpha=.1)], lambda t, F, x: F.leaky_relu(x, .1)),
    "PRelu": ({"x": [KINKS, KINKS[::-1]], "s": [.25]}, {}, [node("PRelu", "x s")], lambda t, F, x, s: F.prelu(x, s)),
    "Elu": ({"x": KINKS}, {}, [node("Elu", alpha=.5)], lambda t, F, x: F.elu(x, .5)),
    "Selu": ({"x": KINKS}, {}, [node("Selu")], lambda t, F, x: F.selu(x)),
    "Celu": ({"x": KINKS}, {}, [node("Celu", alpha=2.)], lambda t, F, x: F.celu(x, 2.)),
    "ThresholdedRelu": ({"x": KINKS}, {}, [node("ThresholdedRelu", alpha=.5)], lambda t, F, x: F.threshold(x, .5, 0)),
    "HardSigmoid": ({"x": KINKS}, {}, [node("HardSigmoid", alpha=1 / 6, beta=.5)], lambda t, F, x: F.hardsigmoid(x)),
    "HardSwish": ({"x": KINKS}, {}, [node("HardSwish")], lambda t, F, x: F.hardswish(x)),
    "Shrink, soft": ({"x": KINKS}, {}, [node("Shrink", lambd=.5, bias=.5)], lambda t, F, x: F.softshrink(x, .5)),
    "Shrink, hard": ({"x": KINKS}, {}, [node("Shrink", lambd=.5)], lambda t, F, x: F.hardshrink(x, .5)),
    "Softplus": ({"x": KINKS}, {}, [node("Softplus")], lambda t, F, x: F.softplus(x)),
    "Softsign": ({"x": KINKS}, {}, [node("Softsign")], lambda t, F, x: F.softsign(x)),
    "Mish": ({"x": KINKS}, {}, [node("Mish")], lambda t, F, x: F.mish(x)),
    "Gelu": ({"x": KINKS}, {}, [node("Gelu")], lambda t, F, x: F.gelu(x)),
    "Sigmoid, Log": ({"x": [-200, -30, -1, 0, 1, 30]}, {}, [node("Sigmoid", "x", "s"), node("Log", "s")], lambda t, F, x: F.logsigmoid(x)),
    "Abs": ({"x": KINKS}, {}, [node("Abs")], lambda t, F, x: x.abs()),
    "Sign": ({"x": KINKS}, {}, [node("Sign", "x", "s"), node("Mul", "s x")], lambda t, F, x: x.sign() * x),
    "Clip": ({"x": KINKS}, {"low": -.5, "high": .5}, [node("Clip", "x low high")], lambda t, F, x: x.clamp(-.5, .5)),
    "Clip below": ({"x": KINKS}, {"low": .5}, [node("Clip", "x low")], lambda t, F, x: x.clamp(min=.5)),
    "Max with a number": ({"x": KINKS}, {"low": 0.}, [node("Max", "x low")], lambda t, F, x: x.clamp(min=0)),
    "Min with a number": ({"x": KINKS}, {"high": .5}, [node("Min", "high x")], lambda t, F, x: x.clamp(max=.5)),
    "Max": ({"x": KINKS, "z": [0] * 6 + [.5] * 6}, {}, [node("Max", "x z")], lambda t, F, x, z: t.maximum(x, z)),
    "Min": ({"x": KINKS, "z": [0] * 6 + [.5] * 6}, {}, [node("Min", "x z")], lambda t, F, x, z: t.minimum(x, z)),
    "Pow, squares": ({"x": KINKS}, {"p": 2.}, [node("Pow", "x p")], lambda t, F, x: x ** 2),
    "Pow, 0 and 1": ({"x": [[-2, 0, 3], [-2, 0, 3]]}, {"p": [[0.], [1.]]}, [node("Pow", "x p")], lambda t, F, x: x ** t.tensor([[0.], [1.]])),
    "Pow, of exponents": ({"x": POSITIVE[:4], "p": [0, 1, 2, -1.5]}, {}, [node("Pow", "x p")], lambda t, F, x, p: x ** p),
    "Pow, of exponents at 0": ({"x": [0, 0, 0, 2], "p": [0, 1, 2, 0]}, {}, [node("Pow", "x p")], lambda t, F, x, p: x ** p),
    "Sub, Div, broadcast both ways": ({"x": [[.5], [-1], [2]], "z": [[1, 4, -2]]}, {}, [node("Sub", "x z", "d"), node("Div", "d z")], lambda t, F, x, z: (x - z) / z),
    "Where": ({"x": SQUARE, "z": fill((4, 4), 3)}, {"c": np.tri(4, dtype=bool)}, [node("Where", "c x z")],
              lambda t, F, x, z: t.where(t.ones(4, 4).tril().bool(), x, z)),
    "Reciprocal, Sqrt": ({"x": POSITIVE}, {}, [node("Sqrt", "x", "s"), node("Reciprocal", "s")], lambda t, F, x: x.rsqrt()),
    "Erf, Tanh": ({"x": SMOOTH}, {}, [node("Erf", "x", "s"), node("Tanh", "s")], lambda t, F, x: t.tanh(t.erf(x))),
    "Sin, Cos": ({"x": SMOOTH}, {}, [node("Sin", "x", "s"), node("Cos", "s")], lambda t, F, x: t.cos(t.sin(x))),
    "ReduceMax, ties": ({"x": TIED}, {"a": [1]}, [node("ReduceMax", "x a", keepdims=0)], lambda t, F, x: x.amax(1)),
    "ReduceMax, first axis": ({"x": TIED}, {"a": [0]}, [node("ReduceMax", "x a", keepdims=0)], lambda t, F, x: x.amax(0)),
    "ReduceMin, ties": ({"x": TIED}, {"a": [1]}, [node("ReduceMin", "x a")], lambda t, F, x: x.amin(1, keepdim=True)),
    "ReduceProd": ({"x": SQUARE}, {"a": [0]}, [node("ReduceProd", "x a", keepdims=0)], lambda t, F, x: x.prod(0)),
    "ReduceProd, zeros": ({"x": [[2, 0, 3], [0, 4, 0], [1, 2, 3]]}, {"a": [1]}, [node("ReduceProd", "x a", keepdims=0)], lambda t, F, x: x.prod(1)),
    "ReduceMean": ({"x": SQUARE}, {"a": [0]}, [node("ReduceMean", "x a", keepdims=0)], lambda t, F, x: x.mean(0)),
    "ReduceSum": ({"x": SQUARE}, {"a": [-1]}, [node("ReduceSum", "x a", keepdims=0)], lambda t, F, x: x.sum(1)),
    "ReduceL1": ({"x": [[0, 1, -2], [0, 0, 0]]}, {"a": [1]}, [node("ReduceL1", "x a", keepdims=0)], lambda t, F, x: x.norm(1, dim=1)),
    "ReduceL2": ({"x": [[0, 1, -2], [0, 0, 0]]}, {"a": [1]}, [node("ReduceL2", "x a", keepdims=0)], lambda t, F, x: x.norm(2, dim=1)),
    "ReduceLogSumExp": ({"x": TIED}, {"a": [0]}, [node("ReduceLogSumExp", "x a", keepdims=0)], lambda t, F, x: x.logsumexp(0)),
    "Softmax, rows": ({"x": SQUARE}, {}, [node("Softmax", axis=1)], lambda t, F, x: x.softmax(1)),
    "Softmax, columns": ({"x": SQUARE}, {}, [node("Softmax", axis=0)], lambda t, F, x: x.softmax(0)),
    "LogSoftmax, columns": ({"x": SQUARE}, {}, [node("LogSoftmax", axis=0)], lambda t, F, x: x.log_softmax(0)),
    "CumSum": ({"x": SQUARE}, {"a": 1}, [node("CumSum", "x a")], lambda t, F, x: x.cumsum(1)),
    "TopK": ({"x": [[3, 1, 2], [0, 5, 4]]}, {"k": [2]}, [node("TopK", "x k", "y i", axis=-1)], lambda t, F, x: x.topk(2).values),
    "LayerNormalization": ({"x": SQUARE, "s": POSITIVE[:4], "b": SMOOTH[:4]}, {}, [node("LayerNormalization", "x s b", axis=-1, epsilon=1e-5)],
                           lambda t, F, x, s, b: F.layer_norm(x, (4,), s, b)),
    "LayerNormalization of two dimensions": ({"x": fill((3, 3, 3)), "s": fill((3, 3), 2), "b": fill((3, 3), 5)}, {},
                                             [node("LayerNormalization", "x s b", axis=1, epsilon=1e-5)], lambda t, F, x, s, b: F.layer_norm(x, (3, 3), s, b)),
    "LayerNormalization of a cube": ({"x": fill((4, 4, 4)), "s": POSITIVE[:4], "b": SMOOTH[:4]}, {}, [node("LayerNormalization", "x s b", axis=-1, epsilon=1e-5)],
                                     lambda t, F, x, s, b: F.layer_norm(x, (4,), s, b)),
    "LayerNormalization by hand, columns": ({"x": SQUARE, "s": POSITIVE[:4]}, {"a": [0], "e": 1e-5, "two": 2.},
                                            [node("ReduceMean", "x a", "m"), node("Sub", "x m", "c"), node("Pow", "c two", "q"), node("ReduceMean", "q a", "v"),
                                             node("Add", "v e", "w"), node("Sqrt", "w", "r"), node("Div", "c r", "n"), node("Mul", "n s")],
                                            lambda t, F, x, s: F.layer_norm(x.T, (4,)).T * s),
    "RMSNormalization": ({"x": SQUARE, "s": POSITIVE[:4]}, {}, [node("RMSNormalization", "x s", axis=-1, epsilon=1e-5)], lambda t, F, x, s: F.rms_norm(x, (4,), s, 1e-5)),
    "InstanceNormalization": ({"x": fill((3, 3, 3)), "s": POSITIVE[:3], "b": SMOOTH[:3]}, {}, [node("InstanceNormalization", "x s b", epsilon=1e-5)],
                              lambda t, F, x, s, b: F.instance_norm(x, weight=s, bias=b)),
    "GroupNormalization": ({"x": fill((4, 4, 4)), "s": POSITIVE[:4], "b": SMOOTH[:4]}, {}, [node("GroupNormalization", "x s b", num_groups=2, epsilon=1e-5)],
                           lambda t, F, x, s, b: F.group_norm(x, 2, s, b)),
    "LpNormalization": ({"x": SQUARE}, {}, [node("LpNormalization", axis=0, p=2)], lambda t, F, x: F.normalize(x, dim=0, eps=0)),
    "LpNormalization of zeros": ({"x": [[0, 1], [0, 1]]}, {}, [node("LpNormalization", axis=0, p=2)], lambda t, F, x: x / t.where(x.norm(dim=0) == 0, 1, x.norm(dim=0))),
    "normalize of zeros": ({"x": [[0, 0], [3, 4]]}, {"a": [1], "e": 1e-12}, [node("ReduceL2", "x a", "n"), node("Clip", "n e", "c"), node("Div", "x c")],
                           lambda t, F, x: F.normalize(x)),
    "MatMul": ({"x": SQUARE, "z": fill((4, 4), 5)}, {}, [node("MatMul", "x z")], lambda t, F, x, z: x @ z),
    "MatMul of stacks": ({"x": fill((3, 3, 3)), "z": fill((3, 3, 3), 5)}, {}, [node("MatMul", "x z")], lambda t, F, x, z: x @ z),
    "MatMul of a stack and a matrix": ({"x": fill((3, 3, 3)), "z": fill((3, 3), 5)}, {}, [node("MatMul", "x z")], lambda t, F, x, z: x @ z),
    "Gemm, A turned": ({"x": SQUARE, "z": fill((4, 4), 5), "b": [1, 2, 3, 4]}, {}, [node("Gemm", "x z b", transA=1, alpha=.5, beta=2.)],
                       lambda t, F, x, z, b: .5 * x.T @ z + 2 * b),
    "Gemm, B turned, a column added": ({"x": SQUARE, "z": fill((4, 4), 5), "b": [[1], [2], [3], [4]]}, {}, [node("Gemm", "x z b", transB=1)],
                                       lambda t, F, x, z, b: x @ z.T + b),
    "Einsum": ({"x": fill((3, 3, 3)), "z": fill((3, 3, 3), 5)}, {}, [node("Einsum", "x z", equation="bij,kjb->kbi")], lambda t, F, x, z: t.einsum("bij,kjb->kbi", x, z)),
    "Transpose": ({"x": fill((3, 3, 3)), "z": fill((3, 3, 3), 4)}, {}, [node("Transpose", "x", "p", perm=[2, 0, 1]), node("Mul", "p z")],
                  lambda t, F, x, z: x.permute(2, 0, 1) * z),
    "Reshape, Expand": ({"x": [[1, 2], [3, 4]]}, {"to": [4, 1], "more": [4, 4]}, [node("Reshape", "x to", "c"), node("Expand", "c more")],
                        lambda t, F, x: x.reshape(4, 1).expand(4, 4)),
    "Tile": ({"x": [[1, 2], [3, 4]]}, {"r": [1, 2]}, [node("Tile", "x r")], lambda t, F, x: x.repeat(1, 2)),
    "Concat, Split": ({"x": [[1, 2], [3, 4]], "z": [[5, 6], [7, 8]]}, {"s": [1, 3]},
                      [node("Concat", "x z", "c", axis=1), node("Split", "c s", "u v", axis=1), node("Mul", "u v")],
                      lambda t, F, x, z: t.cat([x, z], 1)[:, :1] * t.cat([x, z], 1)[:, 1:]),
    "Slice, backwards": ({"x": SQUARE}, {"b": [3, 0], "e": [-5, 4], "a": [0, 1], "s": [-1, 2]}, [node("Slice", "x b e a s")],
                         lambda t, F, x: x.flip(0)[:, ::2]),
    "Pad, constant": ({"x": [[1, 2], [3, 4]]}, {"p": [1, 0, 0, 2]}, [node("Pad", "x p")], lambda t, F, x: F.pad(x, (0, 2, 1, 0))),
    "Pad, reflected": ({"x": [[1, 2, 3], [4, 5, 6], [7, 8, 9]]}, {"p": [0, 2, 0, 1]}, [node("Pad", "x p", mode="reflect")],
                       lambda t, F, x: F.pad(x[None], (2, 1), mode="reflect")[0]),
    "Gather, rows twice": ({"x": SQUARE}, {"i": [2, 0, 2, -1]}, [node("Gather", "x i", axis=0)], lambda t, F, x: x[[2, 0, 2, 3]]),
    "Gather, columns": ({"x": SQUARE}, {"i": [2, 0, 2, -1]}, [node("Gather", "x i", axis=1)], lambda t, F, x: x[:, [2, 0, 2, 3]]),
    "GatherElements": ({"x": SQUARE}, {"i": [[0, 0], [3, 1], [2, 2], [1, 0]]}, [node("GatherElements", "x i", axis=1)],
                       lambda t, F, x: x.gather(1, t.tensor([[0, 0], [3, 1], [2, 2], [1, 0]]))),
    "GatherND": ({"x": SQUARE}, {"i": [[0, 1], [3, 3], [0, 1]]}, [node("GatherND", "x i")], lambda t, F, x: x[[0, 3, 0], [1, 3, 1]]),
    "ScatterND": ({"x": SQUARE, "u": [[1, 2, 3, 4], [5, 6, 7, 8]]}, {"i": [[1], [3]]}, [node("ScatterND", "x i u")],
                  lambda t, F, x, u: x.index_copy(0, t.tensor([1, 3]), u)),
    "Trilu": ({"x": SQUARE}, {"k": -1}, [node("Trilu", "x k", upper=0)], lambda t, F, x: x.tril(-1)),
    "MaxPool, ties": ({"x": [[TIED + [[5, 5, 0]]]]}, {}, [node("MaxPool", kernel_shape=[2, 2], strides=[1, 1])],
                      lambda t, F, x: F.max_pool2d(x, 2, 1)),
    "MaxPool, padded": ({"x": [[[[-1, -2, -3], [-3, -3, -2], [-1, -1, -5]]]]}, {}, [node("MaxPool", kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])],
                        lambda t, F, x: F.max_pool2d(x, 3, 2, 1)),
    "AveragePool": ({"x": fill((1, 2, 4, 4))}, {}, [node("AveragePool", kernel_shape=[2, 3], strides=[1, 2], pads=[0, 1, 0, 1])],
                    lambda t, F, x: F.avg_pool2d(x, (2, 3), (1, 2), (0, 1), count_include_pad=False)),
    "AveragePool, padding counted": ({"x": fill((1, 2, 4, 4))}, {}, [node("AveragePool", kernel_shape=[2, 3], strides=[1, 2], pads=[0, 1, 0, 1], count_include_pad=1)],
                                     lambda t, F, x: F.avg_pool2d(x, (2, 3), (1, 2), (0, 1))),
    "GlobalMaxPool": ({"x": [[TIED, TIED[::-1]]]}, {}, [node("GlobalMaxPool")], lambda t, F, x: x.amax((2, 3), keepdim=True)),
    "Conv": ({"x": fill((1, 2, 4, 4)), "w": fill((2, 2, 2, 2), 3), "b": [1, -1]}, {}, [node("Conv", "x w b", kernel_shape=[2, 2], strides=[1, 2], pads=[1, 0, 0, 1])],
             lambda t, F, x, w, b: F.conv2d(F.pad(x, (0, 1, 1, 0)), w, b, (1, 2))),
    "Conv, groups and dilation": ({"x": fill((1, 4, 5, 5)), "w": fill((4, 2, 2, 2), 3)}, {}, [node("Conv", "x w", group=2, dilations=[2, 1], pads=[1, 1, 1, 1])],
                                  lambda t, F, x, w: F.conv2d(x, w, None, 1, 1, (2, 1), 2)),
    "DepthToSpace": ({"x": fill((1, 4, 2, 2))}, {}, [node("DepthToSpace", blocksize=2, mode="CRD")], lambda t, F, x: F.pixel_shuffle(x, 2)),
    "SpaceToDepth": ({"x": fill((1, 1, 4, 4))}, {}, [node("SpaceToDepth", blocksize=2)], lambda t, F, x: F.pixel_unshuffle(x, 2)),
    "Attention": ({"q": fill((2, 2, 2, 2)), "k": fill((2, 2, 2, 2), 3), "v": fill((2, 2, 2, 2), 7)}, {}, [node("Attention", "q k v", is_causal=1)],
                  lambda t, F, q, k, v: F.scaled_dot_product_attention(q, k, v, is_causal=True)),
    "Attention, masked": ({"q": fill((2, 2, 2, 2)), "k": fill((2, 2, 2, 2), 3), "v": fill((2, 2, 2, 2), 7)}, {"m": np.array([[True, False], [True, True]])},
                          [node("Attention", "q k v m", scale=.3)],
                          lambda t, F, q, k, v: F.scaled_dot_product_attention(q, k, v, t.tensor([[True, False], [True, True]]), scale=.3)),
    "Attention by hand": ({"q": fill((2, 3, 3, 3)), "k": fill((2, 3, 3, 3), 3), "v": fill((2, 3, 3, 3), 7)}, {"c": .6},
                          [node("Transpose", "k", "kt", perm=[0, 1, 3, 2]), node("MatMul", "q kt", "s"), node("Mul", "s c", "n"), node("Softmax", "n", "p", axis=-1),
                           node("MatMul", "p v")], lambda t, F, q, k, v: F.scaled_dot_product_attention(q, k, v, scale=.6)),
    "SoftmaxCrossEntropyLoss": ({"x": SQUARE}, {"l": [3, 0, 2, 0]}, [node("SoftmaxCrossEntropyLoss", "x l", reduction="none")],
                                lambda t, F, x: F.cross_entropy(x, t.tensor([3, 0, 2, 0]), reduction="none")),
}


def weights(count: int) -> np.ndarray:
    """Of the elements of a result: no two neighbours alike, none zero."""
    return np.array([(i * 7 % 11 - 5.5) / 4 for i in range(count)], np.float32)


def by_pytorch(name: str) -> dict:
    import torch
    import torch.nn.functional as F
    trained, _, _, function = CASES[name]
    inputs = {key: torch.tensor(value, dtype=torch.float64, requires_grad=True) for key, value in trained.items()}
    result = function(torch, F, **inputs)
    (result.reshape(-1) * torch.tensor(weights(result.numel()), dtype=torch.float64)).sum().backward()
    return {"shape": list(result.shape), "result": float((result.detach().reshape(-1) * torch.tensor(weights(result.numel()))).sum()),
            "gradients": {key: [float(f"{g:.9g}") for g in value.grad.reshape(-1).tolist()] for key, value in inputs.items()}}


def constant(graph: onnx.GraphProto, name: str, value) -> None:
    array = np.asarray(value)
    graph.initializer.append(numpy_helper.from_array(array.astype(np.float32) if array.dtype == np.float64 else array, name))


def model(names: list[str], expected: dict) -> onnx.ModelProto:
    """Input x [1, 1], output `results` [1, cases + 1], the last of which is zero; loss their sum."""
    graph = onnx.GraphProto(name="operators")
    graph.input.append(helper.make_tensor_value_info("one", TensorProto.FLOAT, [1, 1]))
    constant(graph, "flat", [-1])
    constant(graph, "single", [1])
    for k, name in enumerate(names):
        trained, constants, nodes, _ = CASES[name]
        own = lambda key: f"c{k}.{key}"
        for key, value in trained.items():
            graph.initializer.append(numpy_helper.from_array(np.array(value, np.float32), own(key)))
            info = helper.make_tensor_value_info(own(key), TensorProto.FLOAT, np.shape(value))
            info.metadata_props.add(key=KIND, value="PARAMETER")
            graph.value_info.append(info)
        for key, value in constants.items():
            constant(graph, own(key), value)
        graph.node.extend(helper.make_node(op, [own(i) for i in inputs], [own(o) for o in outputs], name=own(f"{op}{j}"), **attributes)
                          for j, (op, inputs, outputs, attributes) in enumerate(nodes))
        constant(graph, own("weights"), weights(int(np.prod(expected[name]["shape"]))))
        graph.node.extend([helper.make_node("Reshape", [own("y"), "flat"], [own("row")]), helper.make_node("Mul", [own("row"), own("weights")], [own("product")]),
                           helper.make_node("ReduceSum", [own("product")], [own("sum")], keepdims=0), helper.make_node("Reshape", [own("sum"), "single"], [own("out")])])
    graph.node.extend([helper.make_node("Concat", [*(f"c{k}.out" for k in range(len(names))), "zero"], ["all"], axis=0), helper.make_node("Mul", ["one", "all"], ["results"]),
                       helper.make_node("ReduceSum", ["results", "last"], ["per_sample"], keepdims=0), helper.make_node("ReduceMean", ["per_sample"], ["loss"], keepdims=0)])
    constant(graph, "last", [1])
    constant(graph, "zero", [0.])
    graph.output.extend([helper.make_tensor_value_info("loss", TensorProto.FLOAT, []), helper.make_tensor_value_info("results", TensorProto.FLOAT, [1, len(names) + 1])])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 23)], ir_version=10)


def by_plan(folder: pathlib.Path) -> tuple[np.ndarray, dict]:
    """The results of the cases, and the gradients of a step."""
    run = [LLMC_RUN, folder / "m.plan", "--data", folder / "data.safetensors"]
    must(LLMC, "compile", folder / "m.onnx", "-r", folder / "r.yaml", "-o", folder / "m.plan")
    must(*run, "--steps", 1, "--save-gradients", f"1:{folder / 'plan.safetensors'}")
    must(*run, "--predict", folder / "predicted.safetensors")
    return load_file(folder / "predicted.safetensors")["logits.0"].ravel(), load_file(folder / "plan.safetensors")


def by_interpreter(folder: pathlib.Path) -> dict:
    must(LLMC, "interpret", folder / "m.onnx", "-r", folder / "r.yaml", "--data", folder / "data.safetensors", "--steps", 1, "--save-gradients",
         f"1:{folder / 'interpreted.safetensors'}")
    return load_file(folder / "interpreted.safetensors")


def compare(expected: dict, gradients: dict, result: float | None = None) -> str:
    problems = []
    if result is not None and not abs(result - expected["result"]) <= TOLERANCE * max(1., abs(expected["result"])):
        problems.append(f"result {result:.7g}, PyTorch's is {expected['result']:.7g}")
    for key, values in expected["gradients"].items():
        found, wanted = gradients[key].ravel().astype(np.float64), np.array(values)
        worst = np.abs(found - wanted) - TOLERANCE * max(1., np.abs(wanted).max())
        if not worst.max() <= 0:
            at = int(np.nanargmax(worst))
            problems.append(f"gradient of {key} at {at} is {found[at]:.7g}, PyTorch's {wanted[at]:.7g}")
    return "; ".join(problems)


def check_file(report: Report, expected: dict) -> None:
    import torch
    for name in CASES:
        now, kept = by_pytorch(name), expected[name]
        same = now["shape"] == kept["shape"] and all(np.allclose(now["gradients"][key], kept["gradients"][key], 1e-6, 1e-9) for key in now["gradients"])
        report.add(f"PyTorch {torch.__version__.split('+')[0]}: {name}", "" if same else f"{now}, the file has {kept}")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="")
    parser.add_argument("--write", action="store_true", help="make operator_gradients.json anew with PyTorch")
    parser.add_argument("--pytorch", action="store_true", help="compare operator_gradients.json with PyTorch, and nothing else")
    args = parser.parse_args()
    if args.write:
        lines = [f"  {json.dumps(name)}: {json.dumps(by_pytorch(name))}" for name in CASES]
        EXPECTED.write_text("{\n" + ",\n".join(lines) + "\n}\n")
    report, expected = Report(), json.loads(EXPECTED.read_text())
    if args.pytorch:
        check_file(report, expected)
        return report.code
    names = [name for name in CASES if args.only in name]
    with tempfile.TemporaryDirectory() as temporary:
        folder = pathlib.Path(temporary)
        onnx.save(model(names, expected), folder / "m.onnx")
        (folder / "r.yaml").write_text("loss: loss\ndata: {one: one}\nbatch: {step: 1}\npredict: results\noptimizer: {sgd: {lr: 0.1}}\n")
        save_file({"one.0": np.ones((1, 1), np.float32)}, folder / "data.safetensors")
        results, of_plan = by_plan(folder)
        of_interpreter = by_interpreter(folder)
        for k, name in enumerate(names):
            own = lambda gradients: {key: gradients[f"c{k}.{key}"] for key in CASES[name][0]}
            report.add(f"plan: {name}", compare(expected[name], own(of_plan), float(results[k])))
            report.add(f"interpreter: {name}", compare(expected[name], own(of_interpreter)))
    return report.code


if __name__ == "__main__":
    sys.exit(main())
