"""Runs the rewritten program in PyTorch: what its ids are bounded by, and whether it has the module's gradients.

The program is all that the ONNX file can hold. Where its gradients are not the module's, something that no rule here knows was
lost (a hook, a backward of C++, a tensor that is changed behind autograd's back), and the export is refused.
"""
import torch
from torch.export.graph_signature import InputKind

from .errors import unsupported
from .proof import Result

aten = torch.ops.aten
VIEWS = {"view", "reshape", "unsqueeze", "squeeze", "slice", "select", "permute", "transpose", "expand", "clone", "_to_copy",
         "contiguous", "flatten", "alias", "to", "constant_pad_nd", "pad", "t", "_unsafe_view", "detach"}
LOSS_TOLERANCE, GRADIENT_TOLERANCE = 1e-4, 1e-3
# A gradient that is zero but for rounding, as that of a bias in front of a variance, is compared as if it were this part of the largest.
SMALL = 1e-2


def bounds(program: torch.export.ExportedProgram) -> tuple[dict[str, int], dict[str, int]]:
    """For each integer input that picks rows or classes: how many there are; and for labels the value that is ignored."""
    limits, ignored = {}, {}
    placeholders = {node.name: node for node in program.graph.nodes if node.op == "placeholder"}
    for spec in program.graph_signature.input_specs:
        node = placeholders.get(getattr(spec.arg, "name", ""))
        value = node.meta.get("val") if node is not None else None
        if spec.kind != InputKind.USER_INPUT or not isinstance(value, torch.Tensor) or value.dtype.is_floating_point:
            continue
        found, label = [], []
        follow(node, found, label, set())
        if found and value.dtype != torch.bool:
            limits[spec.arg.name] = min(found)
        if label:
            ignored[spec.arg.name] = label[0]
    return limits, ignored


def follow(node, found: list[int], label: list[int], seen: set) -> None:
    for user in node.users:
        if user in seen or user.op != "call_function" or not isinstance(user.target, torch._ops.OpOverload):
            continue
        seen.add(user)
        name, args = user.target._schema.name.removeprefix("aten::"), user.args
        size = lambda i, d: args[i].meta["val"].shape[d]
        if name == "embedding" and args[1] is node:
            found.append(size(0, 0))
        elif name in ("cross_entropy_loss", "nll_loss", "nll_loss_nd", "nll_loss2d") and args[1] is node:
            found.append(size(0, 1 if args[0].meta["val"].dim() > 1 else 0))
            label.append(args[4] if len(args) > 4 else -100)
        elif name in ("gather", "index_select") and args[2] is node:
            found.append(size(0, args[1]))
        elif name == "index" and node in args[1]:
            found.append(size(0, list(args[1]).index(node)))
        elif name in VIEWS:
            follow(user, found, label, seen)


class Replay(torch.fx.Interpreter):
    """The program with autograd, without dropout."""

    def call_function(self, target, args, kwargs):
        if target is torch.ops.llmc.stop_gradient.default:
            return args[0].detach()
        if target is aten.dropout.default:
            return args[0]
        if target is aten.view.default:  # strides may be others than in the trace
            return args[0].reshape(args[1])
        if target is aten.copy.default:  # has no derivative
            return args[1].to(args[0].dtype).expand(args[0].shape).clone()
        if target is aten.native_dropout.default:
            return args[0], torch.ones_like(args[0], dtype=torch.bool)
        if target is aten._native_batch_norm_legit_functional.default:
            x, weight, bias, mean, variance, training, momentum, eps = args
            mean, variance = mean.clone(), variance.clone()
            y = torch.nn.functional.batch_norm(x, mean, variance, weight, bias, training, momentum, eps)
            return y, mean, variance, mean, variance
        if target is aten._native_batch_norm_legit.no_stats:
            return torch.nn.functional.batch_norm(args[0], None, None, args[1], args[2], True, args[4], args[5]), None, None
        return super().call_function(target, args, kwargs)


def replay(program: torch.export.ExportedProgram, module: torch.nn.Module, inputs: dict, output: int) -> tuple[float, dict]:
    parameters = {name: parameter.detach().clone().requires_grad_(parameter.requires_grad)
                  for name, parameter in program.named_parameters()}
    ids = {id(parameter): parameters[name] for name, parameter in program.named_parameters()}
    buffers = {**dict(program.named_buffers()), **program.constants}
    given = iter(inputs.values())
    arguments = []
    for spec in program.graph_signature.input_specs:
        if spec.kind == InputKind.USER_INPUT:
            arguments.append(next(given).clone())
        elif spec.kind == InputKind.PARAMETER:
            arguments.append(ids[id(program.state_dict[spec.target])] if spec.target in program.state_dict else parameters[spec.target])
        else:
            arguments.append(buffers[spec.target].clone())
    with torch.enable_grad():
        results = Replay(program.graph_module).run(*arguments)
        loss = results[output]
        if loss.requires_grad:
            loss.backward()
    return loss.item(), {name: parameter.grad for name, parameter in parameters.items()}


def compare(program: torch.export.ExportedProgram, module: torch.nn.Module, inputs: dict, expected: Result, output: int,
            functions: list[str]) -> None:
    loss, gradients = replay(program, module, inputs, output)
    if abs(loss - expected.loss) > LOSS_TOLERANCE * max(abs(expected.loss), 1e-3):
        raise unsupported(f"the exported graph has another loss than the module, {loss:.7g} instead of {expected.loss:.7g}",
                          "does forward change state besides buffers, or depend on what it was called with before?")
    tied = {}
    for name, parameter in module.named_parameters(remove_duplicate=False):
        tied.setdefault(id(parameter), []).append(name)
    largest = max((g.abs().max().item() for g in expected.gradients.values() if g is not None and g.numel()), default=0.0)
    wrong = []
    for names in tied.values():
        wanted = expected.gradients[names[0]]
        found = [gradients[name] for name in names if gradients.get(name) is not None]
        total = sum(found) if found else None
        if wanted is None and total is None:
            continue
        wanted, total = (torch.zeros(()) if value is None else value for value in (wanted, total))
        scale = max(wanted.abs().max().item(), SMALL * largest)
        if (wanted - total).abs().max().item() > GRADIENT_TOLERANCE * scale:
            wrong.append(names[-1])
    if wrong:
        cause = f"the autograd.Function {', '.join(functions)}" if functions else "a hook or an operator with a backward of its own"
        raise unsupported(f"the exported graph has other gradients than the module for {len(wrong)} parameters: "
                          f"{', '.join(wrong[:5])}", f"is it {cause}?")
