"""How forward is called, and what it returns: the exporter knows modules that take tensors by position and return tensors.

Modules with keyword-only or variable arguments, wrapped by torch.compile or DataParallel, that return dicts, dataclasses, nested
tuples or None beside tensors, get a forward for the time of the export that calls theirs.
"""
import dataclasses
import inspect
from collections.abc import Mapping

import torch

from .errors import ExportError, unsupported

Inputs = dict[str, torch.Tensor]
Leaf = tuple[str, torch.Tensor]  # the key under which forward returns it, "" for a position


def unwrapped(module: torch.nn.Module) -> torch.nn.Module:
    """The user's module in torch.compile's and DataParallel's wrappers."""
    while True:
        if isinstance(module, torch.nn.DataParallel):
            module = module.module
        elif isinstance(getattr(module, "_orig_mod", None), torch.nn.Module):
            module = module._orig_mod
        else:
            return module


def check_inputs(inputs) -> None:
    for name, value in inputs.items():
        if not isinstance(value, torch.Tensor):
            raise ExportError(f"the input {name} is no tensor but a {type(value).__name__}",
                              "give each tensor as an input of its own, and fix other arguments inside of the module")
        if value.is_complex() or value.is_sparse:
            raise unsupported(f"the input {name} is a {'complex' if value.is_complex() else 'sparse'} tensor")
        if value.is_meta:
            raise ExportError(f"the input {name} is on the meta device, without values")


def apart(inputs: Inputs) -> Inputs:
    """One tensor under two names, such as ids that are labels too, would be traced as one input."""
    seen, result = set(), {}
    for name, value in inputs.items():
        result[name] = value.clone() if id(value) in seen else value
        seen.add(id(value))
    return result


def flatten(value, key: str, found: list[Leaf], dropped: list[str]) -> None:
    def name(part) -> str:
        return f"{key}.{part}" if key else str(part)

    if isinstance(value, torch.Tensor):
        found.append((key, value))
    elif isinstance(value, Mapping):
        for part, inner in value.items():
            flatten(inner, name(part), found, dropped)
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        for field in dataclasses.fields(value):
            flatten(getattr(value, field.name), name(field.name), found, dropped)
    elif isinstance(value, tuple) and hasattr(value, "_fields"):
        for part, inner in zip(value._fields, value):
            flatten(inner, name(part), found, dropped)
    elif isinstance(value, (tuple, list)):
        for i, inner in enumerate(value):
            flatten(inner, name(i) if key else "", found, dropped)
    else:
        dropped.append((f"{key} = " if key else "") + (repr(value) if value is None or isinstance(value, (bool, int, float, str))
                                                      else f"a {type(value).__name__}"))


def loss_among(leaves: list[Leaf]) -> int | None:
    """The output called loss; else the first if it is a scalar, else the only scalar."""
    for i, (key, _) in enumerate(leaves):
        if key == "loss":
            return i
    scalars = [i for i, (_, value) in enumerate(leaves) if value.dim() == 0 and value.is_floating_point()]
    scalars = scalars or [i for i, (_, value) in enumerate(leaves) if value.numel() == 1 and value.is_floating_point()]
    if scalars and (scalars[0] == 0 or len(scalars) == 1):
        return scalars[0]
    return None


def names_of(leaves: list[Leaf], taken: set[str]) -> list[str]:
    """By their keys, or loss, logits, output2, output3; the loss is always called so."""
    loss, names, free = loss_among(leaves), [], iter(["logits", *(f"output{i}" for i in range(2, len(leaves) + 2))])
    for i, (key, _) in enumerate(leaves):
        name = "loss" if i == loss else key or next(free)
        while name in taken or name in names:
            name += ".out"
        names.append(name)
    return names


class Call:
    """Calls the forward of a module with `inputs`."""

    def __init__(self, module: torch.nn.Module, inputs: Inputs):
        self.module, self.remarks, self.names = module, [], []
        self.untraced: ExportError | None = None  # why forward could only be traced without autograd
        own = unwrapped(module)
        parameters = list(inspect.signature(own.forward).parameters.values())
        ordered = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
        open_ended = any(p.kind == p.VAR_POSITIONAL for p in parameters)
        self.by_position = [p.name for p in ordered[:len(inputs)]] == list(inputs)
        self.is_direct = self.by_position and module is own
        named = open_ended and [p.name for p in ordered] == list(inputs)[:len(ordered)]
        self.by_position |= named
        try:
            inspect.signature(own.forward).bind(*inputs.values()) if self.by_position else inspect.signature(own.forward).bind(**inputs)
        except TypeError:
            taken = ", ".join(str(p).split(":")[0].split("=")[0].strip() for p in parameters)
            raise ExportError(f"forward takes {taken}, but the example inputs are {', '.join(inputs)}") from None
        self.inputs, self.replaced = list(inputs), vars(module).get("forward")
        self.original = module.forward if own is module else own  # wrappers do more than to call, such as to compile

    def __call__(self, *values: torch.Tensor):
        return self.call(self.module, values)

    def call(self, function, values):
        return function(*values) if self.by_position else function(**dict(zip(self.inputs, values)))

    def settle(self, result, state: set[str]) -> None:
        """Knows what forward returns from `result`, and replaces forward if the exporter could not take it as it is. `state` are
        the names of parameters and buffers, which no output can have."""
        leaves, dropped = [], []
        flatten(result, "", leaves, dropped)
        if not leaves:
            raise ExportError(f"forward returns {', '.join(dropped) or 'nothing'}: no tensor", "it must return the loss")
        self.names = names_of(leaves, state | set(self.inputs))
        if dropped:
            self.remarks.append(f"forward returns {', '.join(dropped)} beside tensors: not in the file")
        if "loss" not in self.names:
            self.remarks.append(f"forward returns no scalar that is the loss: its outputs are named {', '.join(self.names)}")
        loss = loss_among(leaves)
        if loss and leaves[loss][0] != "loss":
            self.remarks.append(f"the loss is what forward returns as {leaves[loss][0] or f'value {loss + 1}'}")
        plain = isinstance(result, torch.Tensor) or (isinstance(result, (tuple, list)) and len(result) == len(leaves))
        if not (self.is_direct and plain):
            self.install()

    def install(self) -> None:
        def forward(*values):
            leaves: list[Leaf] = []
            flatten(self.call(self.original, values), "", leaves, [])
            return tuple(value for _, value in leaves)

        kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
        forward.__signature__ = inspect.Signature([inspect.Parameter(name, kind) for name in self.inputs])
        self.module.forward = forward

    def __enter__(self):
        return self

    def __exit__(self, *_):
        vars(self.module).pop("forward", None)
        if self.replaced is not None:
            self.module.forward = self.replaced
