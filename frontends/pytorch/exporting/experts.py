"""Mixtures of experts of Hugging Face's transformers, in the form that a graph of fixed shapes can hold.

By default each expert takes the tokens routed to it, whose number depends on the data. `batched_mm` and `eager` are other forms of
the same sums; the module's configuration chooses.
"""
import contextlib
from collections.abc import Callable, Iterator

import torch

FORM = "batched_mm"


def configurations(module: torch.nn.Module) -> list:
    found = {id(part.config): part.config for part in module.modules()
             if getattr(getattr(part, "config", None), "_experts_implementation", None) not in (None, FORM)}
    return list(found.values())


@contextlib.contextmanager
def _dense(settings: list) -> Iterator[None]:
    before = [setting._experts_implementation for setting in settings]
    for setting in settings:
        setting._experts_implementation = FORM
    try:
        yield
    finally:
        for setting, form in zip(settings, before):
            setting._experts_implementation = form


def dense_forms(module: torch.nn.Module) -> list[Callable]:
    """Contexts in which the module's experts have another form; none if it has no such experts."""
    settings = configurations(module)
    if not settings:
        return []

    def change():
        return _dense(settings)

    DONE[change] = f"with experts_implementation=\"{FORM}\""
    return [change]


DONE: dict[Callable, str] = {torch.no_grad: "under torch.no_grad()"}
