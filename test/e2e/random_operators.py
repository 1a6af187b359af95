#!/usr/bin/env python3
"""ONNX operators with attributes drawn at random, through compiled kernels, against the reference implementation of the onnx package:
random_operators.py [--cases N] [--seed N] [--only OPERATOR] [--verbose]

Node tests show one or two forms of each operator. Here axes count from the end, windows are even and uneven and padded on one side,
indices repeat and are negative, shapes broadcast both ways and many extents are equal. Each case is a function of its seed. A form that
llmc does not have is refused (exit code 4); nothing may be wrong or end otherwise.
"""
import argparse
import pathlib
import random
import sys
import tempfile

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from node_kernels import Case, attempt
from support import Report

FORMS = {}


def form(function):
    FORMS[function.__name__.strip("_")] = function
    return function


class Draw(random.Random):
    """What the forms draw from: sizes, most of them small and equal, and arrays."""

    def size(self, least=1):
        return self.choice([size for size in (1, 2, 3, 3, 3, 4, 5, 8) if size >= least])

    def shape(self, rank=None, least=1):
        rank = self.randint(1, 4) if rank is None else rank
        same = self.size(least)
        return [same if self.random() < 0.5 else self.size(least) for _ in range(rank)]

    def reals(self, shape, low=-2, high=2):
        values = np.array([self.uniform(low, high) for _ in range(int(np.prod(shape)))], np.float32).reshape(shape)
        return np.round(values * 2) / 2 if self.random() < 0.2 else values  # ties

    def axis(self, rank):
        return self.randrange(-rank, rank)

    def axes(self, rank):
        chosen = self.sample(range(rank), self.randint(1, rank))
        return [axis - rank if self.random() < 0.4 else axis for axis in chosen]

    def flag(self):
        return self.randint(0, 1)

    def broadcast(self, shape):
        """A shape that broadcasts to `shape`."""
        return [1 if self.random() < 0.4 else size for size in shape][self.randint(0, len(shape)):]

    def indices(self, limit, shape):
        return np.array([self.randrange(-limit, limit) for _ in range(int(np.prod(shape)))], np.int64).reshape(shape)


def ints(*values):
    return np.array(values, np.int64)


def node(op, *inputs, outputs=1, opset=18, **attributes):
    """(operator, inputs: arrays or None, number of outputs, operator set, attributes)"""
    return op, list(inputs), outputs, opset, attributes


# --- windows

def window(d: Draw, pool=False):
    rank = d.choice([1, 2, 2])
    kernel = [d.randint(1, 3) for _ in range(rank)]
    attributes = {"kernel_shape": kernel, "strides": [d.randint(1, 3) for _ in range(rank)]}
    if d.random() < 0.4:
        attributes["dilations"] = [d.randint(1, 2) for _ in range(rank)]
    if d.random() < 0.2 and "dilations" not in attributes:
        attributes["auto_pad"] = "VALID"  # the reference implementation's SAME forms are wrong where the stride is larger than 1
    else:
        attributes["pads"] = [d.randint(0, kernel[i % rank] - 1) if pool else d.randint(0, 2) for i in range(2 * rank)]
    return rank, kernel, attributes


@form
def Conv(d):
    rank, kernel, attributes = window(d)
    group, each, out = d.choice([1, 1, 2, 3]), d.randint(1, 2), d.randint(1, 2)
    x = d.reals([d.randint(1, 2), group * each, *[d.randint(5, 7) for _ in range(rank)]])
    w = d.reals([group * out, each, *kernel])
    return node("Conv", x, w, *([d.reals([group * out])] if d.flag() else []), group=group, **attributes)


@form
def MaxPool(d):
    rank, _, attributes = window(d, pool=True)
    return node("MaxPool", d.reals([d.randint(1, 2), 2, *[d.randint(5, 7) for _ in range(rank)]]), **attributes)


@form
def AveragePool(d):
    rank, _, attributes = window(d, pool=True)
    attributes.pop("dilations", None)
    return node("AveragePool", d.reals([d.randint(1, 2), 2, *[d.randint(5, 7) for _ in range(rank)]]), count_include_pad=d.flag(), **attributes)


@form
def LRN(d):
    channels = d.randint(2, 6)
    return node("LRN", d.reals([channels, channels, 2, 3]),  # the reference implementation leaves out channels beyond the number of samples
                size=d.randint(1, 5), alpha=d.uniform(.1, 1), beta=d.uniform(.3, 1), bias=d.uniform(.5, 2))


@form
def GlobalPool(d):
    return node(d.choice(["GlobalAveragePool", "GlobalMaxPool"]), d.reals([2, 3, 3, d.randint(2, 4)]))


# --- reductions and what runs along an axis

@form
def Reduce(d):
    op = d.choice(["ReduceSum", "ReduceMean", "ReduceMax", "ReduceMin", "ReduceProd", "ReduceL1", "ReduceL2", "ReduceSumSquare", "ReduceLogSum", "ReduceLogSumExp"])
    x = d.reals(d.shape(), 0.2, 2) if op == "ReduceLogSum" else d.reals(d.shape())
    axes, keep = d.axes(x.ndim), d.flag()
    if op != "ReduceSum" and d.flag():
        return node(op, x, opset=13, axes=axes, keepdims=keep)
    if d.random() < 0.3:
        return node(op, x, keepdims=keep, noop_with_empty_axes=d.flag())
    return node(op, x, ints(*axes), keepdims=keep)


@form
def Softmax(d):
    x = d.reals(d.shape())
    return node(d.choice(["Softmax", "LogSoftmax"]), x, opset=d.choice([13, 18]), axis=d.axis(x.ndim))


@form
def CumSum(d):
    x = d.reals(d.shape())
    return node("CumSum", x, np.array(d.axis(x.ndim), np.int64), exclusive=d.flag(), reverse=d.flag())


@form
def ArgExtreme(d):
    x = d.reals(d.shape())
    return node(d.choice(["ArgMax", "ArgMin"]), x, axis=d.axis(x.ndim), keepdims=d.flag(), select_last_index=d.flag())


@form
def TopK(d):
    x = d.reals(d.shape())
    axis = d.axis(x.ndim)
    return node("TopK", x, ints(d.randint(1, x.shape[axis])), outputs=2, axis=axis, largest=d.flag(), sorted=1)


@form
def Hardmax(d):
    x = d.reals(d.shape())
    return node("Hardmax", x, axis=d.axis(x.ndim))


@form
def OneHot(d):
    shape = d.shape(d.randint(1, 3))
    depth = d.randint(2, 5)
    return node("OneHot", d.indices(depth, shape), np.array(depth, np.int64), d.reals([2]), axis=d.axis(len(shape) + 1))


# --- norms

@form
def LayerNormalization(d):
    x = d.reals(d.shape(d.randint(2, 4), least=2))
    axis = d.randrange(-x.ndim, x.ndim) if d.flag() else -1
    rest = x.shape[axis:]
    return node("LayerNormalization", x, d.reals(rest), *([d.reals(rest)] if d.flag() else []), axis=axis, epsilon=d.choice([1e-5, .1]))


@form
def RMSNormalization(d):
    x = d.reals(d.shape(d.randint(2, 3), least=2))
    axis = d.randrange(-x.ndim, x.ndim)
    return node("RMSNormalization", x, d.reals(x.shape[axis:]), opset=23, axis=axis, epsilon=1e-3)


@form
def GroupNormalization(d):
    groups, each = d.randint(1, 3), d.randint(1, 2)
    channels = groups * each
    return node("GroupNormalization", d.reals([2, channels, 3, 3]), d.reals([channels]), d.reals([channels]), opset=21, num_groups=groups, epsilon=1e-3)


@form
def InstanceNormalization(d):
    c = d.size(2)
    return node("InstanceNormalization", d.reals([c, c, c, 3]), d.reals([c]), d.reals([c]), epsilon=1e-3)


@form
def LpNormalization(d):
    x = d.reals(d.shape(d.randint(1, 3), least=2), .3, 2)
    return node("LpNormalization", x, axis=d.axis(x.ndim), p=d.choice([1, 2]))


@form
def MeanVarianceNormalization(d):
    x = d.reals([3, 3, 3, 4])
    return node("MeanVarianceNormalization", x, axes=d.axes(4)) if d.flag() else node("MeanVarianceNormalization", x)


# --- products

@form
def MatMul(d):
    m, k, n, batch = d.size(), d.size(), d.size(), d.shape(d.randint(0, 2))
    left = [] if d.random() < 0.15 else [*d.broadcast(batch), m]
    right = [] if d.random() < 0.15 else [n]
    return node("MatMul", d.reals([*left, k]), d.reals([*(d.broadcast(batch) if right else []), k, *right]))


@form
def Gemm(d):
    m, k, n, a, b = d.size(), d.size(), d.size(), d.flag(), d.flag()
    parts = [d.reals([k, m] if a else [m, k]), d.reals([n, k] if b else [k, n])]
    if d.flag():
        parts.append(d.reals(d.broadcast([m, n])))
    return node("Gemm", *parts, transA=a, transB=b, alpha=d.choice([1., .5, -2.]), beta=d.choice([1., 0., .25]))


@form
def Einsum(d):
    letters = "abcd"
    sizes = {letter: d.size() for letter in letters}
    left = d.sample(letters, d.randint(1, 3))
    right = d.sample(letters, d.randint(1, 3))
    both = sorted(set(left + right))
    out = d.sample(both, d.randint(0, len(both)))
    return node("Einsum", d.reals([sizes[l] for l in left]), d.reals([sizes[l] for l in right]), equation=f"{''.join(left)},{''.join(right)}->{''.join(out)}")


@form
def Attention(d):
    batch, heads, size, queries, keys = d.randint(1, 2), 2 * d.randint(1, 2), 2 * d.randint(1, 2), d.size(), d.size()
    groups = d.choice([heads, heads // 2, 1])
    parts = [d.reals([batch, heads, queries, size]), d.reals([batch, groups, keys, size]), d.reals([batch, groups, keys, size])]
    more = {"scale": d.uniform(.2, 1)} if d.flag() else {}
    if d.random() < 0.3:
        more["softcap"] = d.uniform(1, 3)
    if d.flag():
        parts.append(d.reals([queries, keys]))
    elif d.flag():
        more["is_causal"] = 1
    return node("Attention", *parts, opset=23, **more)


# --- shapes and places

@form
def Slice(d):
    x = d.reals(d.shape())
    axes = d.axes(x.ndim)
    starts, ends, steps = [], [], []
    for axis in axes:
        n, step = x.shape[axis], d.choice([1, 1, 2, -1, -2])
        first, last = sorted((d.randrange(n), d.randrange(n)))
        start, end = (first, last + 1) if step > 0 else (last, first - 1 if first else -n - 1)
        starts.append(start - n if d.flag() else start)
        ends.append(end - n if step > 0 and end < n and d.flag() else d.choice([end, 2**62]) if step > 0 and end == n else end)
        steps.append(step)
    return node("Slice", x, ints(*starts), ints(*ends), ints(*axes), ints(*steps))


@form
def Pad(d):
    x = d.reals(d.shape(d.randint(1, 3), least=2))
    mode = d.choice(["constant", "reflect", "edge", "wrap"])
    axes = d.axes(x.ndim)
    most = [x.shape[axis] - 1 for axis in axes]
    pads = [d.randint(0 if mode != "constant" else -1, min(2, most[i % len(axes)])) for i in range(2 * len(axes))]
    value = [np.array(d.uniform(-1, 1), np.float32)] if mode == "constant" and d.flag() else [None]
    return node("Pad", x, ints(*pads), *value, ints(*axes), opset=19, mode=mode)


@form
def Split(d):
    x = d.reals(d.shape(least=2))
    axis = d.axis(x.ndim)
    n = x.shape[axis]
    if d.flag():
        return node("Split", x, outputs=min(2, n), axis=axis, num_outputs=min(2, n))
    first = d.randint(1, n - 1)
    return node("Split", x, ints(first, n - first), outputs=2, axis=axis)


@form
def Concat(d):
    shape = d.shape()
    axis = d.axis(len(shape))
    parts = []
    for _ in range(d.randint(1, 3)):
        part = list(shape)
        part[axis] = d.size()
        parts.append(d.reals(part))
    return node("Concat", *parts, axis=axis)


@form
def Transpose(d):
    x = d.reals(d.shape())
    return node("Transpose", x, **({"perm": d.sample(range(x.ndim), x.ndim)} if d.random() < 0.8 else {}))


@form
def Reshape(d):
    a, b, c = d.size(), d.size(), d.size()
    return node("Reshape", d.reals([a, b, c]), ints(*d.choice([[0, -1], [-1], [0, 0, -1], [c, -1, b], [a * b, c], [1, a, -1, 1]])))


@form
def Flatten(d):
    x = d.reals(d.shape())
    return node("Flatten", x, axis=d.randint(-x.ndim, x.ndim))


@form
def Expand(d):
    shape = d.shape()
    return node("Expand", d.reals(d.broadcast(shape)), ints(*d.broadcast(shape)))


@form
def Tile(d):
    x = d.reals(d.shape(d.randint(1, 3)))
    return node("Tile", x, ints(*[d.randint(1, 3) for _ in range(x.ndim)]))


@form
def Squeeze(d):
    shape = d.shape(2)
    at = d.randint(0, 2)
    x = d.reals([*shape[:at], 1, *shape[at:]])
    return node("Squeeze", x, ints(at - 3 if d.flag() else at))


@form
def Unsqueeze(d):
    x = d.reals(d.shape(d.randint(1, 2)))
    rank = x.ndim + 2
    return node("Unsqueeze", x, ints(*[axis - rank if d.flag() else axis for axis in d.sample(range(rank), 2)]))


@form
def Trilu(d):
    x = d.reals(d.shape(d.randint(2, 3)))
    return node("Trilu", x, np.array(d.randint(-3, 3), np.int64), upper=d.flag())


@form
def DepthToSpace(d):
    b = d.randint(1, 2)
    if d.flag():
        return node("SpaceToDepth", d.reals([2, 2, 2 * b, 3 * b]), blocksize=b)
    return node("DepthToSpace", d.reals([2, 2 * b * b, 2, 3]), blocksize=b, mode=d.choice(["DCR", "CRD"]))


@form
def Gather(d):
    x = d.reals(d.shape())
    axis = d.axis(x.ndim)
    return node("Gather", x, d.indices(x.shape[axis], d.shape(d.randint(0, 2))), axis=axis)


@form
def GatherElements(d):
    x = d.reals(d.shape())
    axis = d.axis(x.ndim)
    shape = [d.randint(1, n) for n in x.shape]
    return node("GatherElements", x, d.indices(x.shape[axis], shape), axis=axis)


@form
def GatherND(d):
    shape = d.shape(3)
    batch, depth = d.randint(0, 1), d.randint(1, 2)
    rows = [*shape[:batch], d.randint(1, 3)]
    at = np.stack([d.indices(shape[batch + i], rows) for i in range(depth)], -1)
    return node("GatherND", d.reals(shape), at, batch_dims=batch)


@form
def ScatterElements(d):
    x = d.reals(d.shape())
    axis = d.axis(x.ndim)
    shape = [d.randint(1, n) for n in x.shape]
    at = np.zeros(shape, np.int64)
    lines = np.moveaxis(at, axis, -1).reshape(-1, shape[axis]) if x.ndim else at
    for line in lines.reshape(-1, shape[axis]):
        line[:] = [i - x.shape[axis] if d.flag() else i for i in d.sample(range(x.shape[axis]), shape[axis])]
    at = np.moveaxis(lines.reshape([*[s for i, s in enumerate(shape) if i != axis % x.ndim], shape[axis]]), -1, axis)
    return node("ScatterElements", x, np.ascontiguousarray(at), d.reals(shape), axis=axis)


@form
def ScatterND(d):
    shape = d.shape(d.randint(1, 3))
    rows = d.sample(range(shape[0]), d.randint(1, shape[0]))
    at = np.array([[row - shape[0] if d.flag() else row] for row in rows], np.int64)
    return node("ScatterND", d.reals(shape), at, d.reals([len(rows), *shape[1:]]))


@form
def ReverseSequence(d):
    time, batch = d.size(2), d.size(2)
    first = d.flag()
    x = d.reals([time, batch, 2] if first else [batch, time, 2])
    return node("ReverseSequence", x, ints(*[d.randint(1, time) for _ in range(batch)]), time_axis=0 if first else 1, batch_axis=1 if first else 0)


# --- elementwise

@form
def Unary(d):
    op, low, high = d.choice([("Abs", -2, 2), ("Neg", -2, 2), ("Exp", -2, 2), ("Log", .1, 3), ("Sqrt", 0, 3), ("Tanh", -2, 2), ("Erf", -2, 2), ("Sin", -4, 4), ("Cos", -4, 4),
                              ("Tan", -1, 1), ("Sinh", -2, 2), ("Cosh", -2, 2), ("Asinh", -2, 2), ("Acosh", 1.1, 3), ("Atanh", -.9, .9), ("Floor", -3, 3), ("Ceil", -3, 3),
                              ("Round", -3, 3), ("Reciprocal", .2, 2), ("Sigmoid", -4, 4), ("Relu", -2, 2), ("Softplus", -3, 3), ("Softsign", -3, 3), ("Sign", -2, 2),
                              ("HardSwish", -5, 5), ("Mish", -4, 4), ("Identity", -2, 2)])
    return node(op, d.reals(d.shape(), low, high))


@form
def Activation(d):
    op, names = d.choice([("LeakyRelu", ["alpha"]), ("Elu", ["alpha"]), ("Selu", ["alpha", "gamma"]), ("Celu", ["alpha"]), ("ThresholdedRelu", ["alpha"]),
                          ("HardSigmoid", ["alpha", "beta"]), ("Shrink", ["lambd", "bias"])])
    return node(op, d.reals(d.shape(), -4, 4), **{name: d.uniform(.1, 1.5) for name in names if d.random() < 0.8})


@form
def Gelu(d):
    return node("Gelu", d.reals(d.shape(), -3, 3), opset=20, **({"approximate": d.choice(["none", "tanh"])} if d.flag() else {}))


@form
def PRelu(d):
    x = d.reals(d.shape())
    return node("PRelu", x, d.reals(d.broadcast(x.shape)))


@form
def Clip(d):
    bound = lambda low, high: np.array(d.uniform(low, high), np.float32) if d.random() < 0.7 else None
    return node("Clip", d.reals(d.shape()), bound(-1, 0), bound(0, 1))


@form
def Binary(d):
    op = d.choice(["Add", "Sub", "Mul", "Div", "Pow", "Max", "Min", "Mean", "Sum"])
    shape = d.shape()
    low = .3 if op in ("Div", "Pow") else -2
    first, second = d.broadcast(shape), d.broadcast(shape)
    more = [d.reals(d.broadcast(shape))] if op in ("Max", "Min", "Mean", "Sum") and d.flag() else []
    return node(op, d.reals(first, low), d.reals(second, low), *more)


@form
def Mod(d):
    shape = d.shape()
    return node("Mod", d.reals(shape, .5, 5) * d.choice([-1, 1]), d.reals(d.broadcast(shape), .7, 2), fmod=1)


@form
def Where(d):
    shape = d.shape()
    condition = np.array([d.flag() for _ in range(int(np.prod(shape)))], bool).reshape(shape)
    return node("Where", condition, d.reals(d.broadcast(shape)), d.reals(d.broadcast(shape)))


@form
def Compare(d):
    shape = d.shape()
    return node(d.choice(["Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual"]), np.round(d.reals(shape)), np.round(d.reals(d.broadcast(shape))))


class RandomCase(Case):
    """A node with its inputs and what the reference implementation makes of them."""

    def __init__(self, name: str, seed: str):
        op, inputs, outputs, opset, attributes = FORMS[name](Draw(seed))
        self.name, self.versions = f"{seed}: {op} opset {opset} {attributes} of {[getattr(i, 'shape', None) for i in inputs]}", {"": opset}
        names = ["" if value is None else f"i{k}" for k, value in enumerate(inputs)]
        arrays = {key: np.ascontiguousarray(value).reshape(np.shape(value)) for key, value in zip(names, inputs) if key}
        single = helper.make_node(op, names, [f"o{k}" for k in range(outputs)], name="node", **attributes)
        graph = helper.make_graph([single], "g", [helper.make_tensor_value_info(key, helper.np_dtype_to_tensor_dtype(value.dtype), value.shape) for key, value in arrays.items()],
                                  [helper.make_tensor_value_info(f"o{k}", TensorProto.UNDEFINED, None) for k in range(outputs)])
        self.model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=10)
        results = ReferenceEvaluator(self.model).run(None, arrays)
        inferred = onnx.shape_inference.infer_shapes(self.model).graph.output
        for value, result in zip(inferred, results):
            known = [dim.dim_value for dim in value.type.tensor_type.shape.dim]
            if all(known) and known and known != list(np.shape(result)):
                raise ValueError("the reference implementation gives another shape than the specification")
        self.inputs = [numpy_helper.from_array(value, key) for key, value in arrays.items()]
        self.outputs = [numpy_helper.from_array(np.asarray(value), f"o{k}") for k, value in enumerate(results)]
        self.graph = self.model.graph


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=int, default=8, help="of each form")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", default="", help="part of a form's name")
    parser.add_argument("--verbose", action="store_true", help="print what is refused")
    args = parser.parse_args()
    report, failed, wrong, unfit = Report(), {}, [], []
    groups: dict[int, list[RandomCase]] = {}
    for name in FORMS:
        for k in range(args.cases) if args.only in name else ():
            try:
                case = RandomCase(name, f"{name} {args.seed} {k}")
            except Exception as problem:  # the reference implementation has no such form
                unfit.append(f"{name} {args.seed} {k}: {type(problem).__name__} {problem}")
                continue
            if case.takes_part():
                groups.setdefault(case.versions[""], []).append(case)
    count = sum(map(len, groups.values()))
    with tempfile.TemporaryDirectory() as temporary:
        for group in groups.values():
            for at in range(0, len(group), 60):
                attempt(group[at:at + 60], pathlib.Path(temporary), failed, wrong)
    if args.verbose:
        print("\n".join([*unfit, *(f"{name}: {reason}" for name, reason in failed.items())]))
    other = [f"{name}: {reason}" for name, reason in failed.items() if not reason.startswith("exit 4:")]
    report.add(f"{count} random operators of seed {args.seed}, {len(failed)} refused", "; ".join(wrong + other))
    report.add("most of them are not", "" if len(failed) <= count // 10 else f"{len(failed)} of {count} are refused")
    return report.code


if __name__ == "__main__":
    sys.exit(main())
