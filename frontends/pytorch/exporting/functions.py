"""torch.autograd.Function with a backward of its own, which torch.export does not see: it traces forward and derives that.

`study` runs the module once and judges every class on the arguments that it meets:
  - DERIVED: backward is the derivative of forward; forward is traced as it stands;
  - SCALED: backward multiplies the gradient by numbers, entry by entry (straight-through estimators, gradient reversal,
    activations with a backward by hand): y = detach(f(x)) + (x - detach(x)) * detach(m), with m = backward(1), has the value
    of the one and the gradient of the other;
  - anything else is refused by name.
`Replaced` then stands in for Function.apply while the module is traced.
"""
import contextlib
from collections.abc import Iterator

import torch
from torch.utils.checkpoint import CheckpointFunction

from .errors import unsupported

DERIVED, SCALED = "derived", "scaled"


class Context:
    """What forward and backward of a Function get as `ctx`."""

    def __init__(self, needs: tuple[bool, ...]):
        self.needs_input_grad, self.saved_tensors = needs, ()

    def save_for_backward(self, *tensors):
        self.saved_tensors = tensors

    save_for_forward = save_for_backward

    def mark_dirty(self, *_):
        raise unsupported("an autograd.Function that changes its input in place (mark_dirty) cannot be exported")

    def mark_non_differentiable(self, *_):
        pass

    def set_materialize_grads(self, _):
        pass


def run_forward(function: type, arguments: tuple) -> tuple:
    """The result and the context."""
    context = Context(tuple(isinstance(a, torch.Tensor) and a.requires_grad for a in arguments))
    if function.setup_context is not torch.autograd.function._SingleLevelFunction.setup_context:
        result = function.forward(*arguments)
        function.setup_context(context, arguments, result)
    else:
        result = function.forward(context, *arguments)
    return result, context


def run_backward(function: type, context: Context, *gradients) -> tuple:
    backward = function.backward if "backward" in vars(function) else function.vjp
    result = backward(context, *gradients)
    return result if isinstance(result, tuple) else (result,)


def is_real(value) -> bool:
    return isinstance(value, torch.Tensor) and value.dtype.is_floating_point


def close(a: torch.Tensor | None, b: torch.Tensor | None) -> bool:
    a, b = (torch.zeros(()) if value is None else value for value in (a, b))
    largest = max(a.abs().max().item() if a.numel() else 0, b.abs().max().item() if b.numel() else 0)
    return (a - b).abs().max().item() <= 1e-4 * largest if max(a.numel(), b.numel()) else True


def is_derived(function: type, arguments: tuple) -> bool:
    own = tuple(a.detach().clone().requires_grad_() if is_real(a) else a for a in arguments)
    leaves = [a for a in own if is_real(a)]
    with torch.enable_grad():
        result, _ = run_forward(function, own)
    results = [r for r in (result if isinstance(result, tuple) else (result,)) if is_real(r)]
    gradients = [torch.randn_like(r) for r in results]
    known = [(r, g) for r, g in zip(results, gradients) if r.requires_grad]
    expected = (torch.autograd.grad([r for r, _ in known], leaves, [g for _, g in known], allow_unused=True) if known
                else [None] * len(leaves))
    with torch.no_grad():
        _, context = run_forward(function, own)
        found = run_backward(function, context, *gradients)
    return all(close(g, e) for g, e in zip([g for g, a in zip(found, own) if is_real(a)], expected))


def scaled_argument(function: type, arguments: tuple) -> int | None:
    """The argument whose gradient is the result's, times numbers, entry by entry; if it is the only one with a gradient."""
    own = tuple(a.detach().clone().requires_grad_() if is_real(a) else a for a in arguments)
    with torch.no_grad():
        result, context = run_forward(function, own)
        if not is_real(result):
            return None
        one, first, second = torch.ones_like(result), torch.randn_like(result), 3 * torch.randn_like(result)
        factors, firsts, seconds = (run_backward(function, context, g) for g in (one, first, second))
    moved = [i for i, g in enumerate(factors) if g is not None and is_real(own[i])]
    if len(moved) != 1 or factors[moved[0]].shape != result.shape:
        return None
    at = moved[0]
    fits = close(firsts[at], factors[at] * first) and close(seconds[at], factors[at] * second)
    return at if fits else None


class Study:
    """What is known of each class of Function."""

    def __init__(self):
        self.verdicts: dict[type, str] = {}

    def meet(self, function: type, arguments: tuple) -> None:
        moved = tuple(a + torch.randn_like(a) if is_real(a) else a for a in arguments)
        try:
            derived = is_derived(function, arguments) and is_derived(function, moved)
        except RuntimeError:
            derived = False
        verdict = DERIVED if derived else SCALED if scaled_argument(function, arguments) is not None else ""
        known = self.verdicts.get(function, verdict)
        self.verdicts[function] = verdict if known == verdict else SCALED if known and verdict else ""


def is_users(function: type) -> bool:
    return not function.__module__.startswith("torch.")


@contextlib.contextmanager
def replaced_apply(apply) -> Iterator[None]:
    """`apply(function, arguments, original)` instead of Function.apply, for Functions outside of PyTorch."""
    original = torch.autograd.Function.__dict__["apply"]

    def stand_in(cls, *arguments, **named):
        if cls is CheckpointFunction:  # computes its function twice, for the same value and gradient
            function, _, *rest = arguments
            return function(*rest)
        bound = original.__get__(None, cls)
        return apply(cls, arguments, bound) if is_users(cls) and not named else bound(*arguments, **named)

    torch.autograd.Function.apply = classmethod(stand_in)
    try:
        yield
    finally:
        torch.autograd.Function.apply = original


def studied(study: Study):
    def apply(function, arguments, original):
        study.meet(function, arguments)
        return original(*arguments)

    return replaced_apply(apply)


def traced(study: Study | None):
    """Stands in for Function.apply while a module is traced. Without a study, as for weights that have no values, every
    Function is refused."""

    def apply(function, arguments, _):
        verdict = study.verdicts.get(function) if study else None
        if not verdict:
            raise unsupported(
                f"the autograd.Function {function.__name__} has a backward that is neither the derivative of its forward nor "
                "a factor for each entry" if study else
                f"the backward of the autograd.Function {function.__name__} can only be judged on values",
                "write it as x + (f(x) - x).detach(), or with other operators that have the gradient you want" if study else
                "export the model with its weights")
        result, context = run_forward(function, arguments)
        if verdict == DERIVED:
            return result
        factors = run_backward(function, context, torch.ones_like(result))
        at = next(i for i, g in enumerate(factors) if g is not None and is_real(arguments[i]))
        x = arguments[at]
        return result.detach() + (x - x.detach()) * factors[at].detach()

    return replaced_apply(apply)
