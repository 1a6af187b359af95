#!/usr/bin/env python3
"""Random programs of level `step`, compiled and executed, against the reference interpreter: random_programs.py [--cases N] [--seed N]

What real models do not have is where mistakes hide: values that are read again after a sum took their place, states that trade
places, slices of what is returned, dimensions of size 1, masks between kernels. @predict returns a random choice of the values
of a random program, @update gives every parameter a random new value made from parameters and gradients. Each program is a
function of its seed; one that fails is kept.
"""
import argparse
import pathlib
import random
import re
import sys
import tempfile

import numpy as np

from support import LLMC, Report, must, run

SMALL, LARGE = [1, 1, 2, 3, 4, 5, 8, 16, 17, 32], [1, 2, 16, 17, 64, 70, 129, 300]
# Differences below are rounding, which cancellation may blow up.
SIGNIFICANT = 1e-3


def count(shape) -> int:
    return int(np.prod(shape)) if shape else 1


class Program:
    """The body of one function: values with their shapes; `f` real, `b` true or false."""

    def __init__(self, chance: random.Random, element: str, sizes: list[int]):
        self.chance, self.element, self.sizes, self.lines, self.values = chance, element, sizes, [], []

    def type(self, shape, kind="f") -> str:
        return "tensor<" + "".join(f"{size}x" for size in shape) + ("i1" if kind == "b" else self.element) + ">"

    def add(self, text: str, shape, kind="f"):
        name = f"%v{len(self.lines)}"
        self.lines.append(f"    {name} = {text}")
        value = (name, tuple(shape), kind)
        self.values.append(value)
        return value

    def maker(self, name: str) -> str:
        """The line that makes a value; empty for an argument."""
        return next((line for line in self.lines if line.startswith(f"    {name} = ")), "")

    def pick(self, kind="f", where=lambda shape: True):
        fitting = [value for value in self.values if value[2] == kind and where(value[1])]
        # Recent values more often, so that programs are deep.
        return self.chance.choice(fitting[-6:] if fitting and self.chance.random() < 0.6 else fitting) if fitting else None

    def unary(self):
        name, shape, _ = self.pick()
        op = self.chance.choice(["arith.negf", "math.tanh", "math.absf"])
        return self.add(f"{op} {name} : {self.type(shape)}", shape)

    def binary(self):
        name, shape, _ = self.pick()
        other = self.pick(where=lambda s: s == shape)
        op = self.chance.choice(["arith.addf", "arith.addf", "arith.addf", "arith.mulf", "arith.subf", "arith.maximumf"])
        return self.add(f"{op} {name}, {other[0]} : {self.type(shape)}", shape)

    def compare(self):
        name, shape, _ = self.pick()
        other = self.pick(where=lambda s: s == shape)
        return self.add(f"arith.cmpf {self.chance.choice(['ogt', 'olt', 'oge'])}, {name}, {other[0]} : {self.type(shape)}", shape, "b")

    def logic(self):
        value = self.pick("b")
        if not value:
            return None
        other = self.pick("b", lambda s: s == value[1])
        if self.chance.random() < 0.5:
            return self.add(f"arith.uitofp {value[0]} : {self.type(value[1], 'b')} to {self.type(value[1])}", value[1])
        return self.add(f"arith.{self.chance.choice(['andi', 'ori', 'xori'])} {value[0]}, {other[0]} : {self.type(value[1], 'b')}", value[1], "b")

    def select(self):
        mask = self.pick("b")
        if not mask:
            return None
        a, b = (self.pick(where=lambda s: s == mask[1]) for _ in range(2))
        return a and self.add(f"arith.select {mask[0]}, {a[0]}, {b[0]} : {self.type(mask[1], 'b')}, {self.type(mask[1])}", mask[1])

    def constant(self):
        shape = self.pick()[1]
        if self.chance.random() < 0.5 or count(shape) > 64:
            return self.add(f"arith.constant dense<{self.chance.uniform(-1, 1):.6f}> : {self.type(shape)}", shape)
        def nest(sizes):
            if not sizes:
                return f"{self.chance.uniform(-1, 1):.6f}"
            return "[" + ", ".join(nest(sizes[1:]) for _ in range(sizes[0])) + "]"
        return self.add(f"arith.constant dense<{nest(shape)}> : {self.type(shape)}", shape)

    def broadcast(self):
        kind = "b" if self.chance.random() < 0.1 else "f"
        value = self.pick(kind)
        if not value:
            return None
        name, shape, _ = value
        rank = self.chance.randint(max(1, len(shape)), max(4, len(shape)))
        dims = sorted(self.chance.sample(range(rank), len(shape)))
        result = [self.chance.choice(self.sizes) for _ in range(rank)]
        for size, dim in zip(shape, dims):
            result[dim] = size if size != 1 or self.chance.random() < 0.5 else result[dim]
        if count(result) > 32 * max(self.sizes) ** 1.5:
            return None
        listed = ": " + ", ".join(map(str, dims)) if dims else ""
        return self.add(f"nn.broadcast {name} {{dims = array<i64{listed}>}} : ({self.type(shape, kind)}) -> {self.type(result, kind)}", result, kind)

    def reduce(self):
        name, shape, _ = self.pick(where=lambda s: len(s) > 0)
        dims = sorted(self.chance.sample(range(len(shape)), self.chance.randint(1, len(shape))))
        result = [size for d, size in enumerate(shape) if d not in dims]
        return self.add(f"nn.reduce {name} {{kind = {self.chance.choice([0, 0, 1, 2])} : i32, dims = array<i64: {', '.join(map(str, dims))}>}} : "
                        f"({self.type(shape)}) -> {self.type(result)}", result)

    def transpose(self):
        value = self.pick("b" if self.chance.random() < 0.1 else "f", lambda s: len(s) > 1)
        if not value:
            return None
        name, shape, kind = value
        order = list(range(len(shape)))
        self.chance.shuffle(order)
        result = [shape[d] for d in order]
        return self.add(f"nn.transpose {name} {{permutation = array<i64: {', '.join(map(str, order))}>}} : ({self.type(shape, kind)}) -> {self.type(result, kind)}", result, kind)

    def collapse(self):
        value = self.pick("b" if self.chance.random() < 0.1 else "f", lambda s: len(s) > 1)
        if not value:
            return None
        name, shape, kind = value
        at = self.chance.randrange(len(shape) - 1)
        groups = [[d] for d in range(at)] + [[at, at + 1]] + [[d] for d in range(at + 2, len(shape))]
        result = [count([shape[d] for d in group]) for group in groups]
        return self.add(f"tensor.collapse_shape {name} {groups} : {self.type(shape, kind)} into {self.type(result, kind)}", result, kind)

    def expand(self):
        name, shape, _ = self.pick(where=lambda s: 0 < len(s) < 4)
        at = self.chance.randrange(len(shape))
        factor = self.chance.choice([f for f in range(1, shape[at] + 1) if shape[at] % f == 0])
        split = [factor, shape[at] // factor]
        result = list(shape[:at]) + split + list(shape[at + 1:])
        groups = [[d] for d in range(at)] + [[at, at + 1]] + [[d + 1] for d in range(at + 1, len(shape))]
        return self.add(f"tensor.expand_shape {name} {groups} output_shape {result} : {self.type(shape)} into {self.type(result)}", result)

    def slice(self):
        value = self.pick("b" if self.chance.random() < 0.1 else "f", lambda s: len(s) > 0)
        if not value:
            return None
        name, shape, kind = value
        sizes, offsets = list(shape), [0] * len(shape)
        for d in self.chance.sample(range(len(shape)), self.chance.choice([1, 1, len(shape)])):
            sizes[d] = self.chance.randint(1, shape[d])
            offsets[d] = self.chance.randint(0, shape[d] - sizes[d])
        return self.add(f"tensor.extract_slice {name}{offsets} {sizes} {[1] * len(shape)} : {self.type(shape, kind)} to {self.type(sizes, kind)}", sizes, kind)

    def concat(self):
        _, shape, _ = self.pick(where=lambda s: len(s) > 0)
        dim = self.chance.randrange(len(shape))
        fits = lambda s: len(s) == len(shape) and all(a == b for d, (a, b) in enumerate(zip(s, shape)) if d != dim)
        parts = [self.pick(where=fits) for _ in range(self.chance.randint(2, 3))]
        result = list(shape)
        result[dim] = sum(part[1][dim] for part in parts)
        if count(result) > 32 * max(self.sizes) ** 1.5:
            return None
        return self.add(f"tensor.concat dim({dim}) {', '.join(p[0] for p in parts)} : ({', '.join(self.type(p[1]) for p in parts)}) -> {self.type(result)}", result)

    def contract(self):
        a = self.pick(where=lambda s: 0 < len(s))
        b = self.pick(where=lambda s: 0 < len(s))
        letters = iter("abcdefghijklmnop")
        left = [next(letters) for _ in a[1]]
        right = []
        for size in b[1]:
            shared = [l for l, s in zip(left, a[1]) if s == size and l not in right]
            right.append(self.chance.choice(shared) if shared and self.chance.random() < 0.7 else next(letters))
        sizes = dict(zip(left, a[1])) | dict(zip(right, b[1]))
        both = [l for l in left if l in right]
        batch = [l for l in both if self.chance.random() < 0.4]
        result = [l for l in left if l not in right or l in batch] + [l for l in right if l not in left]
        self.chance.shuffle(result)
        shape = [sizes[l] for l in result]
        if count(shape) > 32 * max(self.sizes) ** 1.5 or len(shape) > 5:
            return None
        product = self.add(f'nn.contract {a[0]}, {b[0]} {{equation = "{"".join(left)},{"".join(right)}->{"".join(result)}"}} : '
                           f"({self.type(a[1])}, {self.type(b[1])}) -> {self.type(shape)}", shape)
        other = self.pick(where=lambda s: s == tuple(shape))
        if self.chance.random() < 0.5:
            return self.add(f"arith.addf {product[0]}, {other[0]} : {self.type(shape)}", shape)
        return product

    def softmax(self):
        name, shape, _ = self.pick(where=lambda s: len(s) > 0)
        if "softmax" in self.maker(name):
            return None  # the same again but for rounding, which a comparison would show
        return self.add(f"nn.{self.chance.choice(['softmax', 'log_softmax'])} {name} : ({self.type(shape)}) -> {self.type(shape)}", shape)

    def norm(self):
        name, shape, _ = self.pick(where=lambda s: len(s) > 0)
        scale = self.pick(where=lambda s: s == (shape[-1],))
        if not scale or shape[-1] < 3:
            return None
        result, n = self.type(shape), len(self.lines)
        rows = self.type(shape[:-1])
        if self.chance.random() < 0.5:
            self.lines.append(f"    %v{n}, %rstd{n} = nn.rms_norm {name}, {scale[0]} {{epsilon = 1.0e-5 : f64}} : ({result}, {self.type([shape[-1]])}) -> ({result}, {rows})")
        else:
            self.lines.append(f"    %v{n}, %mean{n}, %rstd{n} = nn.layer_norm {name}, {scale[0]} {{epsilon = 1.0e-2 : f64}} : ({result}, {self.type([shape[-1]])}) -> ({result}, {rows}, {rows})")
        self.values += [(f"%v{n}", tuple(shape), "f"), (f"%rstd{n}", tuple(shape[:-1]), "f")]
        return self.values[-1]

    def indices(self, limit: int) -> tuple[str, list[int], str]:
        shape = [self.chance.choice([1, 2, 3, 7]) for _ in range(self.chance.randint(1, 2))]
        listed = [self.chance.randrange(limit) for _ in range(count(shape))]
        text = str(listed if len(shape) == 1 else [listed[i * shape[1]:(i + 1) * shape[1]] for i in range(shape[0])])
        kind = f"tensor<{'x'.join(map(str, shape))}xi64>"
        name = f"%i{len(self.lines)}"
        self.lines.append(f"    {name} = arith.constant dense<{text}> : {kind}")
        return name, shape, kind

    def gather(self):
        table, shape, _ = self.pick(where=lambda s: len(s) > 0)
        name, sizes, kind = self.indices(shape[0])
        result = [*sizes, *shape[1:]]
        if count(result) > 32 * max(self.sizes) ** 1.5 or len(result) > 5:
            return None
        return self.add(f"nn.gather {table}, {name} : ({self.type(shape)}, {kind}) -> {self.type(result)}", result)

    def scatter(self):
        rows = self.chance.choice([1, 3, 8, 17])
        name, sizes, kind = self.indices(rows)
        updates = self.pick(where=lambda s: len(s) >= len(sizes) and list(s[:len(sizes)]) == sizes)
        if not updates:
            return None
        result = [rows, *updates[1][len(sizes):]]
        made = self.add(f"nn.scatter_add {name}, {updates[0]} : ({kind}, {self.type(updates[1])}) -> {self.type(result)}", result)
        other = self.pick(where=lambda s: s == tuple(result))
        return self.add(f"arith.addf {other[0]}, {made[0]} : {self.type(result)}", result) if self.chance.random() < 0.7 else made

    def activation(self):
        name, shape, _ = self.pick()
        kind = self.chance.choice(["gelu", "gelu", "sigmoid", "silu", "swiglu"])
        if kind == "swiglu":
            other = self.pick(where=lambda s: s == shape)
            return self.add(f"nn.swiglu {name}, {other[0]} : ({self.type(shape)}, {self.type(shape)}) -> {self.type(shape)}", shape)
        form = f" {{tanh = {self.chance.choice(['true', 'false'])}}}" if kind == "gelu" else ""
        return self.add(f"nn.{kind} {name}{form} : ({self.type(shape)}) -> {self.type(shape)}", shape)

    def vectors(self, shape):
        """Any vector as long as the last dimension, times constants."""
        row = self.pick(where=lambda s: s == (shape[-1],))
        if not row:
            return None
        spread = self.add(f"nn.broadcast {row[0]} {{dims = array<i64: {len(shape) - 1}>}} : ({self.type(row[1])}) -> {self.type(shape)}", shape)
        entries = iter([f"{self.chance.uniform(-1, 1):.4f}" for _ in range(count(shape))])
        nest = lambda sizes: next(entries) if not sizes else "[" + ", ".join(nest(sizes[1:]) for _ in range(sizes[0])) + "]"
        factor = self.add(f"arith.constant dense<{nest(list(shape))}> : {self.type(shape)}", shape)
        return self.add(f"arith.mulf {spread[0]}, {factor[0]} : {self.type(shape)}", shape)

    def attention(self):
        rows = [value for value in self.values if value[2] == "f" and len(value[1]) == 1 and value[1][0] in (2, 4, 8, 16)]
        if not rows or self.element == "f64":  # which attention kernels do not have
            return None
        width = self.chance.choice(rows)[1][0]
        batch, queries, heads = self.chance.choice([1, 2]), self.chance.choice([1, 2, 3, 5]), self.chance.choice([1, 2, 4])
        keys = queries if self.chance.random() < 0.5 else self.chance.choice([2, 3, 7])
        groups = self.chance.choice([g for g in (1, 2, 4) if heads % g == 0])
        q = self.vectors((batch, queries, heads, width))
        k, v = self.vectors((batch, keys, groups, width)), self.vectors((batch, keys, groups, width))
        causal = keys == queries and self.chance.random() < 0.5
        if self.chance.random() < 0.4 and width > 2:
            table = (queries, width // 2)
            angles = [self.add(f"arith.constant dense<{self.chance.uniform(-1, 1):.4f}> : {self.type(table)}", table)[0] for _ in range(2)]
            form = " {interleaved}" if self.chance.random() < 0.5 else ""
            q = self.add(f"nn.rope {q[0]}, {angles[0]}, {angles[1]}{form} : ({self.type(q[1])}, {self.type(table)}, {self.type(table)}) -> {self.type(q[1])}", q[1])
        n = len(self.lines)
        lse = (batch, heads, queries)
        self.lines.append(f"    %v{n}, %lse{n} = nn.attention {q[0]}, {k[0]}, {v[0]} {{scale = {self.chance.uniform(.2, 1):.3f}, causal = {str(causal).lower()}}} : "
                          f"({self.type(q[1])}, {self.type(k[1])}, {self.type(v[1])}) -> ({self.type(q[1])}, {self.type(lse)})")
        self.values += [(f"%v{n}", q[1], "f"), (f"%lse{n}", lse, "f")]
        return self.values[-1]

    def along(self):
        name, shape, _ = self.pick(where=lambda s: 0 < len(s) < 4)
        axis = self.chance.randrange(len(shape))
        picked = list(shape)
        picked[axis] = self.chance.choice([1, 2, 3])
        if count(picked) > 64:
            return None
        entries = iter([str(self.chance.randrange(-shape[axis], shape[axis])) for _ in range(count(picked))])
        nest = lambda sizes: next(entries) if not sizes else "[" + ", ".join(nest(sizes[1:]) for _ in range(sizes[0])) + "]"
        kind, at = f"tensor<{'x'.join(map(str, picked))}xi64>", f"%i{len(self.lines)}"
        self.lines.append(f"    {at} = arith.constant dense<{nest(picked)}> : {kind}")
        found = self.add(f"nn.gather_along {name}, {at} {{axis = {axis} : i64}} : ({self.type(shape)}, {kind}) -> {self.type(picked)}", picked)
        if self.chance.random() < 0.5:
            return found
        return self.add(f"nn.scatter_add_along {at}, {found[0]} {{axis = {axis} : i64}} : ({kind}, {self.type(picked)}) -> {self.type(shape)}", shape)

    def top(self):
        name, shape, _ = self.pick(where=lambda s: len(s) > 0)
        k, n = self.chance.randint(1, shape[-1]), len(self.lines)
        result = [*shape[:-1], k]
        if k > 8:
            return None
        self.lines.append(f"    %v{n}, %at{n} = nn.top_k {name} : ({self.type(shape)}) -> ({self.type(result)}, tensor<{''.join(f'{s}x' for s in result)}i64>)")
        self.values.append((f"%v{n}", tuple(result), "f"))
        return self.values[-1]

    def insert(self):
        name, shape, _ = self.pick(where=lambda s: len(s) > 0)
        part = self.pick(where=lambda s: len(s) == len(shape) and all(a <= b for a, b in zip(s, shape)))
        offsets = [self.chance.randint(0, b - a) for a, b in zip(part[1], shape)]
        return self.add(f"tensor.insert_slice {part[0]} into {name}{offsets} {list(part[1])} {[1] * len(shape)} : {self.type(part[1])} into {self.type(shape)}", shape)

    def loss(self):
        value = self.pick(where=lambda s: len(s) == 2 and s[0] <= 32 and s[1] > 1)
        if not value:
            return None
        name, shape, _ = value
        labels, n = f"%i{len(self.lines)}", len(self.lines) + 1
        listed = [self.chance.choice([-100, self.chance.randrange(shape[1])]) for _ in range(shape[0])]
        self.lines.append(f"    {labels} = arith.constant dense<{listed}> : tensor<{shape[0]}xi64>")
        scalar = self.type([])
        self.lines.append(f"    %v{n}, %n{n}, %lse{n} = nn.cross_entropy {name}, {labels} {{ignore_index = -100 : i64}} : ({self.type(shape)}, tensor<{shape[0]}xi64>) -> "
                          f"({scalar}, {scalar}, {self.type(shape[:1])})")
        self.values += [(f"%v{n}", (), "f"), (f"%lse{n}", tuple(shape[:1]), "f")]
        return self.values[-1]

    def grow(self, steps: int):
        made = 0
        ops = [self.unary, self.binary, self.binary, self.binary, self.compare, self.logic, self.select, self.constant, self.broadcast, self.reduce,
               self.transpose, self.collapse, self.expand, self.slice, self.concat, self.contract, self.contract, self.softmax,
               self.norm, self.gather, self.scatter, self.activation, self.attention, self.along, self.top, self.insert, self.loss]
        for _ in range(20 * steps):
            if self.chance.choice(ops)():
                made += 1
            if made >= steps:
                break

    def bounded(self, value):
        """Keeps new states between -1 and 1, most of the time in a kernel of its own kind."""
        return self.add(f"math.tanh {value[0]} : {self.type(value[1])}", value[1])

    def shaped(self, shape):
        """A value of this shape: one that is there, or one bent into it."""
        if self.chance.random() < 0.5:
            value = self.pick(where=lambda s: s == tuple(shape))
            if value:
                return value
        value = self.pick(where=lambda s: count(s) == count(shape)) or self.pick(where=lambda s: s == tuple(shape))
        name, current = value[0], value[1]
        if current == tuple(shape):
            return value
        if len(current) != 1:
            groups = [list(range(len(current)))] if current else []
            if not current:
                flat = self.add(f"tensor.expand_shape {name} [] output_shape [1] : {self.type(current)} into {self.type([1])}", [1])
            else:
                flat = self.add(f"tensor.collapse_shape {name} {groups} : {self.type(current)} into {self.type([count(current)])}", [count(current)])
            name = flat[0]
        if len(shape) == 1:
            return (name, tuple(shape), "f")
        if not shape:
            return self.add(f"tensor.collapse_shape {name} [] : {self.type([1])} into {self.type([])}", [])
        return self.add(f"tensor.expand_shape {name} [{list(range(len(shape)))}] output_shape {list(shape)} : {self.type([count(shape)])} into {self.type(shape)}", shape)


def role(type_text: str, name: str, kind: str, more: str = "") -> str:
    return f'{type_text} {{train.name = "{name}", train.role = "{kind}"{more}}}'


def module(seed: str, folder: pathlib.Path) -> str:
    chance = random.Random(seed)
    element = chance.choice(["f32", "f32", "f32", "f64"])
    sizes = SMALL if chance.random() < 0.75 else LARGE
    width = 4 if element == "f32" else 8
    p = Program(chance, element, sizes)
    shapes = [[chance.choice(sizes) for _ in range(chance.randint(1, 3))] for _ in range(3)]
    shapes = [shape if count(shape) <= 32 * max(sizes) else shape[:1] for shape in shapes]
    shapes += [list(chance.choice(shapes)), list(chance.choice(shapes))]
    names = [f"p{i}" for i in range(len(shapes))]
    values = np.random.default_rng(chance.randrange(2**31)).uniform(-1, 1, sum(map(count, shapes))).astype(np.float32 if element == "f32" else np.float64)
    (folder / "w.bin").write_bytes(values.tobytes())
    offset, params = 0, []
    for name, shape in zip(names, shapes):
        size = count(shape) * width
        params.append((name, shape, f', train.source = {{bytes = {size} : i64, offset = {offset} : i64, path = "w.bin"}}'))
        offset += size
    param_args = [role(p.type(shape), name, "param", more) for name, shape, more in params]
    text = "module attributes {train.recipe = {batch.micro = 1 : i64, batch.step = 1 : i64}} {\n"

    def function(name: str, arguments: list[str], results: list[str], body: list[str], returned: list[str]) -> str:
        listed = ", ".join(f"%arg{i}: {a}" for i, a in enumerate(arguments))
        types = ", ".join(result.split(" {")[0] for result in results)
        return f"  func.func @{name}({listed}) -> ({', '.join(results)}) {{\n" + "\n".join(body) + f"\n    return {', '.join(returned)} : {types}\n  }}\n"

    def seeded(first: int) -> Program:
        program = Program(chance, element, sizes)
        program.values = [(f"%arg{first + i}", tuple(shape), "f") for i, shape in enumerate(shapes)]
        return program

    # @predict: anything may be returned, some of it twice.
    body = seeded(1)
    body.values.append(("%arg0", (1, 4), "f"))
    body.grow(chance.randint(5, 25))
    outputs = [value for value in body.values if value[2] == "f"]
    chosen = [chance.choice(outputs[-8:] if chance.random() < 0.7 else outputs) for _ in range(chance.randint(1, 4))]
    data = role(p.type([1, 4]), "x", "input")
    text += function("predict", [data, *param_args], [role(p.type(v[1]), f"o{i}", "output") for i, v in enumerate(chosen)], body.lines, [v[0] for v in chosen])

    # @accumulate: gradients are any values, some added to what is there.
    body = seeded(1)
    body.values.append(("%arg0", (1, 4), "f"))
    adds = chance.random() < 0.5
    first = 1 + len(shapes)
    body.grow(chance.randint(5, 20))
    gradients = []
    for i, shape in enumerate(shapes):
        value = body.shaped(shape)
        if adds:
            value = body.add(f"arith.addf %arg{first + i}, {value[0]} : {body.type(shape)}", shape)
        gradients.append(value[0])
    arguments = [data, *param_args] + ([role(p.type(s), n, "gradient") for n, s in zip(names, shapes)] if adds else [])
    body.lines += ["    %one = arith.constant dense<1.0> : tensor<f32>"]
    results = [role(p.type(s), n, "gradient") for n, s in zip(names, shapes)] + [role("tensor<f32>", n, "accumulator") for n in ("loss_sum", "weight")]
    text += function("accumulate", arguments, results, body.lines, [*gradients, "%one", "%one"])

    # @update: states trade places.
    body = seeded(0)
    first = len(shapes)
    body.values += [(f"%arg{first + i}", tuple(shape), "f") for i, shape in enumerate(shapes)]
    body.grow(chance.randint(0, 20))
    fresh = [body.shaped(shape) if chance.random() < 0.4 else body.bounded(body.shaped(shape)) for shape in shapes]
    moments = [body.shaped(shape) for shape in shapes]
    zero = [body.add(f"arith.constant dense<0.0> : {body.type(shape)}", shape)[0] for shape in shapes]
    last = 2 * len(shapes)
    arguments = param_args + [role(p.type(s), n, "gradient") for n, s in zip(names, shapes)]
    arguments += [role(p.type(s), f"momentum.{n}", "moment") for n, s in zip(names, shapes)] if chance.random() < 0.5 else []
    last = len(arguments)
    arguments += [role("tensor<f32>", "loss_sum", "accumulator"), role("tensor<f32>", "weight", "accumulator"), role("tensor<i64>", "step", "scalar"), role("tensor<f32>", "lr", "scalar")]
    body.lines += ["    %one = arith.constant dense<1> : tensor<i64>", f"    %step = arith.addi %arg{last + 2}, %one : tensor<i64>", "    %none = arith.constant dense<0.0> : tensor<f32>"]
    results = [role(p.type(s), n, "param") for n, s in zip(names, shapes)] + [role(p.type(s), f"momentum.{n}", "moment") for n, s in zip(names, shapes)]
    results += [role(p.type(s), n, "gradient") for n, s in zip(names, shapes)]
    results += [role("tensor<f32>", "loss_sum", "accumulator"), role("tensor<f32>", "weight", "accumulator"), role("tensor<i64>", "step", "scalar")]
    results += [role("tensor<f32>", n, "output") for n in ("loss", "grad_norm", "lr")]
    returned = [v[0] for v in fresh] + [v[0] for v in moments] + zero + ["%none", "%none", "%step", f"%arg{last}", f"%arg{last}", f"%arg{last + 3}"]
    text += function("update", arguments, results, body.lines, returned)
    text += function("evaluate", [data], [role("tensor<f32>", n, "output") for n in ("loss_sum", "weight")], ["    %one = arith.constant dense<1.0> : tensor<f32>"], ["%one", "%one"])
    return text + "}\n"


def problem_of(result) -> str:
    if result.returncode == 0:
        return ""
    found = re.search(r"differs by ([0-9.E+-]+|inf)", result.stderr)
    if result.returncode == 17 and found and float(found.group(1)) < SIGNIFICANT:
        return ""
    return f"exit code {result.returncode}: {result.stderr.strip()[:500]}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--case", type=int, help="this one alone, kept")
    args = parser.parse_args()
    report, problems, failed = Report(), [], 0
    numbers = range(args.cases) if args.case is None else [args.case]
    with tempfile.TemporaryDirectory() as temporary:
        folder = pathlib.Path(temporary)
        for number in numbers:
            seed = f"{args.seed} {number}"
            text = module(seed, folder)
            # As level `step` is: folded, without dead code, equal values merged. Every third keeps what nothing reads, results of any op.
            (folder / "raw.mlir").write_text(text)
            passes = [] if number % 3 == 2 else ["--canonicalize", "--cse"]
            must(LLMC.parent / "llmc-opt", folder / "raw.mlir", *passes, "-o", folder / "x.mlir")
            problem = problem_of(run(LLMC, "verify", folder / "x.mlir", "--start-from", "step", timeout=120))
            if problem or args.case is not None:
                kept = pathlib.Path(tempfile.gettempdir()) / f"random-program-{args.seed}-{number}"
                kept.mkdir(exist_ok=True)
                (kept / "x.mlir").write_bytes((folder / "x.mlir").read_bytes())
                (kept / "w.bin").write_bytes((folder / "w.bin").read_bytes())
            if problem:
                failed += 1
                problems.append(f"case {number} (kept in {kept}): {problem}")
    report.add(f"random programs: {len(numbers)} of seed {args.seed}", f"{failed} failed\n" + "\n".join(problems[:20]) if problems else "")
    return report.code


if __name__ == "__main__":
    sys.exit(main())
