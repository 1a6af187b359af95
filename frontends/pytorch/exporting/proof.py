"""The proof beside a model: PyTorch's loss and gradients for two batches, which `llmc check` computes again.

MODEL.proof.safetensors holds, by the names of the ONNX file,
  parameter.NAME        int64: 1 if PyTorch trains it, else 0; then its shape
  K.input.NAME          inputs of batch K: 0 has the exported size, 1 another one if the module takes it
  K.loss                float64
  K.buffer.NAME         a buffer that forward updates, after it
  K.gradient.NAME       float64: the norm of the gradient, its product with `weights_of`, then its entries at
  K.indices.NAME        int64: the largest one and others spread over it, row-major
Dropout is off, everything else is as in training. A module that draws random numbers has no proof.
"""
import contextlib
import math
import pathlib
from collections.abc import Iterator

import torch
import torch.nn.functional as F
from safetensors.torch import save_file

from . import functions

ENTRIES = 8
Inputs = dict[str, torch.Tensor]


def path_of(model: pathlib.Path) -> pathlib.Path:
    return model.with_suffix(".proof.safetensors")


def weights_of(count: int) -> torch.Tensor:
    """Numbers in [-0.5, 0.5) that no permutation of entries leaves alone."""
    return ((torch.arange(count, dtype=torch.int64) * 2654435761) % (1 << 32)).double() / (1 << 32) - 0.5


@contextlib.contextmanager
def no_dropout() -> Iterator[None]:
    """Dropouts pass their input on; one of probability 1 still gives zeros."""
    names = ("dropout", "dropout1d", "dropout2d", "dropout3d", "alpha_dropout", "feature_alpha_dropout")
    saved = {name: getattr(F, name) for name in names}
    plain, attention = torch.dropout, F.scaled_dot_product_attention

    def passing(x, p=0.5, training=True, inplace=False):
        return x * 0 if training and p >= 1 else x

    def attend(query, key, value, attn_mask=None, dropout_p=0.0, *rest, **named):
        return attention(query, key, value, attn_mask, 0.0, *rest, **named)

    try:
        for name in names:
            setattr(F, name, passing)
        torch.dropout, F.scaled_dot_product_attention = lambda input, p, train: passing(input, p, train), attend
        yield
    finally:
        for name, function in saved.items():
            setattr(F, name, function)
        torch.dropout, F.scaled_dot_product_attention = plain, attention


@contextlib.contextmanager
def unchanged(module: torch.nn.Module) -> Iterator[None]:
    """Buffers and gradients are afterwards what they were."""
    buffers = {name: buffer.detach().clone() for name, buffer in module.named_buffers()}
    gradients = {name: parameter.grad for name, parameter in module.named_parameters()}
    for parameter in module.parameters():
        parameter.grad = None
    try:
        yield
    finally:
        with torch.no_grad():
            for name, buffer in module.named_buffers():
                if name in buffers and buffer.shape == buffers[name].shape:
                    buffer.copy_(buffers[name])
        for name, parameter in module.named_parameters():
            parameter.grad = gradients[name]


class Result:
    """Loss and gradients of a module for one batch; `random` if it draws numbers."""

    def __init__(self, module: torch.nn.Module, inputs: Inputs, output: int):
        with unchanged(module), no_dropout(), torch.enable_grad():
            before = torch.get_rng_state()
            before_buffers = {name: buffer.detach().clone() for name, buffer in module.named_buffers()}
            result = module(*(value.clone() for value in inputs.values()))
            self.random = not torch.equal(before, torch.get_rng_state())
            loss = result[output] if isinstance(result, (tuple, list)) else result
            self.loss = loss.item()
            self.buffers = {name: buffer.detach().clone() for name, buffer in module.named_buffers()
                            if buffer.dtype.is_floating_point and name in before_buffers
                            and not torch.equal(buffer, before_buffers[name])}
            if loss.requires_grad:
                loss.backward()
            self.gradients = {name: None if parameter.grad is None else parameter.grad.detach().to_dense().clone()
                              for name, parameter in module.named_parameters(remove_duplicate=False)}
        self.finite = math.isfinite(self.loss) and all(
            gradient is None or bool(torch.isfinite(gradient).all()) for gradient in self.gradients.values())


# ---------------------------------------------------------------------------------------------------------------------
# Batches


def is_mask(value: torch.Tensor) -> bool:
    return value.dtype == torch.bool or bool(((value == 0) | (value == 1)).all())


def fresh(value: torch.Tensor, limit: int | None, generator: torch.Generator) -> torch.Tensor:
    """Other values of the same kind: ids below the limit that the graph shows, reals around those of the example."""
    if limit is not None:
        ids = torch.randint(0, limit, value.shape, generator=generator).to(value.dtype)
        return torch.where(value < 0, value, ids)  # ignored labels stay
    if not value.dtype.is_floating_point:
        return value
    noise = torch.randn(value.shape, generator=generator).to(value.dtype)
    if bool((value == value.flatten()[0]).all()):
        return noise
    return value if is_mask(value) else value * (1 + 0.2 * noise.clamp(-2, 2))


def with_ignored(value: torch.Tensor, ignored: int) -> torch.Tensor:
    """Every seventh label does not count."""
    flat = value.clone().flatten()
    flat[3::7] = ignored
    return flat.reshape(value.shape)


def resized(inputs: Inputs, size: int) -> Inputs | None:
    """Other samples in another number; inputs whose first dimension is not the batch stay."""
    batch = next((value.shape[0] for value in inputs.values() if value.dim()), 0)
    if batch == 0:
        return None
    rows = torch.tensor([(3 * i + 1) % batch for i in range(size)])
    return {name: value[rows].contiguous() if value.dim() and value.shape[0] == batch else value
            for name, value in inputs.items()}


def other_size(batch: int) -> int:
    """Smaller than the batch where that is possible, never 1, and odd, so that it divides little."""
    return batch + 1 if batch <= 2 else max(2, batch // 2 | 1)


def candidates(inputs: Inputs, limits: dict[str, int], ignored: dict[str, int], seed: int) -> Iterator[Inputs]:
    """The richest batch first; the module may take only those that are closer to the example."""
    def varied(ids: bool, reals: bool) -> Inputs:
        generator = torch.Generator().manual_seed(seed)
        return {name: fresh(value, limits.get(name) if ids else None, generator)
                if reals or not value.dtype.is_floating_point else value for name, value in inputs.items()}

    rich = varied(True, True)
    yield {name: with_ignored(value, ignored[name]) if name in ignored and value.numel() >= 4 else value
           for name, value in rich.items()}
    yield rich
    yield varied(True, False)
    yield inputs


def first_result(module, inputs: Inputs | None, limits, ignored, output: int, seed: int) -> tuple[Inputs, Result] | None:
    for batch in candidates(inputs, limits, ignored, seed) if inputs else ():
        try:
            result = Result(module, batch, output)
        except Exception:  # whatever a module raises for a batch that it does not take
            continue
        if result.finite:
            return batch, result
    return None


# ---------------------------------------------------------------------------------------------------------------------
# The file


def describe(gradient: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    flat = gradient.detach().double().flatten()
    count = flat.numel()
    indices = {int(flat.abs().argmax())} | {i * count // ENTRIES for i in range(min(ENTRIES, count))}
    places = torch.tensor(sorted(indices), dtype=torch.int64)
    head = torch.stack([flat.norm(), flat @ weights_of(count)])
    return torch.cat([head, flat[places]]), places


class Recorder:
    """Runs a module for its proof before it is traced, which tells what custom Functions do, and writes it afterwards."""

    def __init__(self, module: torch.nn.Module, inputs: Inputs, limits: dict[str, int], ignored: dict[str, int], output: int):
        self.module, self.cases, self.note = module, [], ""
        self.compared = False  # set once the exported program has given the same result in PyTorch
        first = first_result(module, inputs, limits, ignored, output, 1)
        batch = next((value.shape[0] for value in inputs.values() if value.dim()), 0)
        if first is None:
            self.note = "PyTorch's loss or gradients for the example inputs are not finite, or forward fails on them"
        elif first[1].random:
            self.note = "forward draws random numbers besides dropout"
        elif any(value.dim() == 0 for value in inputs.values()) and batch == 0:
            self.cases = [first]
        else:
            self.cases = [first]
            if second := first_result(module, resized(inputs, other_size(batch)), limits, ignored, output, 2):
                self.cases.append(second)

    def save(self, path: pathlib.Path, names: list[str]) -> None:
        """`names` are the parameters of the file; a tied one has one of its names."""
        parameters = dict(self.module.named_parameters(remove_duplicate=False))
        tensors = {f"parameter.{name}": torch.tensor([int(parameters[name].requires_grad), *parameters[name].shape])
                   for name in names}
        for k, (inputs, result) in enumerate(self.cases):
            tensors[f"{k}.loss"] = torch.tensor([result.loss], dtype=torch.float64)
            tensors.update({f"{k}.input.{name}": value.detach().clone(memory_format=torch.contiguous_format)
                            for name, value in inputs.items()})
            tensors.update({f"{k}.buffer.{name}": value.contiguous() for name, value in result.buffers.items()})
            for name in names:
                if (gradient := result.gradients[name]) is not None:
                    tensors[f"{k}.gradient.{name}"], tensors[f"{k}.indices.{name}"] = describe(gradient)
        save_file(tensors, path)


def study(call, module: torch.nn.Module, inputs: Inputs) -> tuple[functions.Study, object]:
    """What the Functions that forward calls do, and what it returns; on the example inputs, since their values reach the cases that
    matter. `call` calls the module."""
    known = functions.Study()
    with unchanged(module), functions.studied(known), torch.enable_grad():
        result = call(*(value.clone() for value in inputs.values()))
    return known, result
