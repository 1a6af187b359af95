"""Mixtures of experts of Hugging Face's transformers, in the form that a graph of fixed shapes can hold.

By default each expert takes the tokens routed to it, whose number depends on the data. `batched_mm` is another form of the same sums;
the module's configuration chooses.
"""
import contextlib
from collections.abc import Iterator

import torch

FORM = "batched_mm"
REMARK = f"experts are exported in their dense form (experts_implementation=\"{FORM}\")"


def configurations(module: torch.nn.Module) -> list:
    """Those of the module's parts that choose another form."""
    found = {id(part.config): part.config for part in module.modules()
             if getattr(getattr(part, "config", None), "_experts_implementation", None) not in (None, FORM)}
    return list(found.values())


@contextlib.contextmanager
def dense(module: torch.nn.Module) -> Iterator[None]:
    settings = configurations(module)
    before = [setting._experts_implementation for setting in settings]
    for setting in settings:
        setting._experts_implementation = FORM
    try:
        yield
    finally:
        for setting, form in zip(settings, before):
            setting._experts_implementation = form


def has_experts(module: torch.nn.Module) -> bool:
    return bool(configurations(module)) and any("experts" in type(part).__name__.lower() for part in module.modules())
