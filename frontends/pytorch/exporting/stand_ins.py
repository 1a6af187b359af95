"""What stands in for functions of PyTorch while a module is traced: some check values with Python's `if`, which cannot be traced, and
inference_mode leaves no trace at all, where no_grad, which keeps gradients from the same values, does."""
import contextlib
import math
from collections.abc import Iterator

import torch
import torch.nn.functional as F


def gaussian_nll_loss(input, target, var, full=False, eps=1e-6, reduction="mean"):
    """Without the check that no variance is negative; the lower bound of the variance does not change its gradient."""
    if not isinstance(var, torch.Tensor):
        var = torch.full_like(input, var)
    elif var.size() != input.size() and input.size()[:-1] == var.size():
        var = var.unsqueeze(-1)
    var = var + (var.clamp(min=eps) - var).detach()
    loss = 0.5 * (torch.log(var) + (input - target) ** 2 / var)
    if full:
        loss = loss + 0.5 * math.log(2 * math.pi)
    return {"mean": torch.mean, "sum": torch.sum, "none": lambda rows: rows}[reduction](loss)


@contextlib.contextmanager
def used() -> Iterator[None]:
    """While a module is traced. The exported program is compared with the module afterwards."""
    loss, mode = F.gaussian_nll_loss, torch.inference_mode
    F.gaussian_nll_loss = gaussian_nll_loss
    torch.inference_mode = lambda mode=True: torch.no_grad() if mode else contextlib.nullcontext()
    try:
        yield
    finally:
        F.gaussian_nll_loss, torch.inference_mode = loss, mode
