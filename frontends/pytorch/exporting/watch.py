"""Refuses, by name, what a module does that leaves no trace in an exported program."""
import contextlib
import random
from collections.abc import Iterator

import numpy as np
import torch

from .errors import unsupported


def check_module(module: torch.nn.Module) -> None:
    """Hooks on gradients, and norms whose statistics no operator updates."""
    problems = []
    for name, part in module.named_modules():
        where = f"{name or 'the module'} ({type(part).__name__})"
        if part._backward_hooks or part._backward_pre_hooks:
            problems.append(f"a backward hook of {where}")
        if isinstance(part, torch.jit.ScriptModule) and not any("TorchScript" in problem for problem in problems):
            problems.append(f"{where} is compiled by TorchScript, which cannot be traced: use the Python module that it was made from")
        if isinstance(part, (torch.nn.Embedding, torch.nn.EmbeddingBag)) and part.max_norm is not None:
            problems.append(f"max_norm of {where}, by which forward changes the weight that it reads")
        if isinstance(part, torch.nn.modules.batchnorm._BatchNorm) and part.training:
            if part.track_running_stats and part.momentum is None:
                problems.append(f"momentum=None, a cumulative average of statistics, of {where}")
    for name, parameter in module.named_parameters():
        if parameter._backward_hooks or getattr(parameter, "_post_accumulate_grad_hooks", None):
            problems.append(f"a hook on the gradient of {name}")
    if problems:
        raise unsupported("what this model does cannot be exported: " + "; ".join(problems))


@contextlib.contextmanager
def watched() -> Iterator[None]:
    """Around tracing: hooks that forward registers, and numbers that Python draws, would be lost or fixed in the graph."""

    def register_hook(self, hook):
        raise unsupported("forward registers a hook on a gradient (Tensor.register_hook), which cannot be exported")

    state, numbers, original = random.getstate(), np.random.get_state(), torch.Tensor.register_hook
    torch.Tensor.register_hook = register_hook
    try:
        yield
    finally:
        torch.Tensor.register_hook = original
    drawn = random.getstate() != state or any(
        not np.array_equal(a, b) for a, b in zip(np.random.get_state(), numbers))
    if drawn:
        raise unsupported("forward draws random numbers with Python or NumPy, which the graph would fix",
                          "export in evaluation mode, or draw with dropout")


Numbers = dict[tuple[str, str], float]


def numbers_of(module: torch.nn.Module) -> Numbers:
    """Plain numbers among the attributes of the parts of a module."""
    return {(path, name): value for path, part in module.named_modules() for name, value in vars(part).items()
            if isinstance(value, (int, float)) and name != "training"}


Containers = dict[tuple[str, str], list | dict | set]


def containers_of(module: torch.nn.Module) -> Containers:
    """Copies of lists, dicts and sets among the attributes of the parts of a module."""
    return {(path, name): value.copy() for path, part in module.named_modules() for name, value in vars(part).items()
            if type(value) in (list, dict, set) and not name.startswith("_")}


def put_containers(module: torch.nn.Module, before: Containers) -> Containers:
    """The attributes as they were; returns what those were now that had another length."""
    parts, now = dict(module.named_modules()), containers_of(module)
    grown = {key: now[key] for key, value in before.items() if key in now and len(now[key]) != len(value)}
    for path, name in grown:
        setattr(parts[path], name, before[path, name].copy())
    return grown


def changed_numbers(module: torch.nn.Module, before: Numbers) -> Numbers:
    """Those that are others now, with the values that they had."""
    now = numbers_of(module)
    return {key: value for key, value in before.items() if key in now and now[key] != value}


@contextlib.contextmanager
def moved(module: torch.nn.Module, changed: Numbers, by: int) -> Iterator[None]:
    """The attributes as they were, moved by a number of steps, and as they were afterwards."""
    parts = dict(module.named_modules())

    def put(steps):
        for (path, name), value in changed.items():
            setattr(parts[path], name, not value if isinstance(value, bool) and steps else value + steps if steps else value)

    put(by)
    try:
        yield
    finally:
        put(0)
