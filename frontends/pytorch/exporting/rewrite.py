"""Says in the exported program what PyTorch's ONNX exporter would drop, or refuses it by name.

There are two forms of the program. In the one that torch.export returns, composite operators, in-place updates and regions
without gradient are still visible: `prepare` refuses what cannot be carried over and ends such regions in a detach. Then
`functional` makes every update a new value, and turns
  - detach into llmc.StopGradient;
  - the padding row of an embedding into rows behind a StopGradient;
  - dropout inside scaled_dot_product_attention into that function's definition with a dropout of its own;
  - label smoothing and targets that are probabilities into the arithmetic that they stand for;
  - buffers that forward updates into outputs of the graph.
"""
import math
from collections.abc import Callable

import torch
import torch.utils._pytree as pytree
from torch.export.graph_signature import InputKind, OutputKind

from .errors import ExportError, unsupported

aten = torch.ops.aten
Node = torch.fx.Node

# Composite dropouts whose masks have another shape, or another scale, than what they are applied to.
OTHER_DROPOUTS = {"alpha_dropout": "nn.AlphaDropout", "feature_dropout": "nn.Dropout1d, 2d or 3d",
                  "feature_alpha_dropout": "nn.FeatureAlphaDropout"}


def name_of(node: Node) -> str:
    """The line of the user's model that a node comes from."""
    lines = [line.strip() for line in (node.stack_trace or "").splitlines() if line.strip().startswith('File "')]
    own = [line for line in lines if "/torch/" not in line] or lines
    if not own:
        return node.name
    path, _, rest = own[-1].removeprefix('File "').partition('", line ')
    return f"{path.rsplit('/', 1)[-1]}:{rest.split(',')[0]}"


def is_real(node) -> bool:
    value = node.meta.get("val") if isinstance(node, Node) else None
    return isinstance(value, torch.Tensor) and (value.dtype.is_floating_point or value.dtype.is_complex)


# ---------------------------------------------------------------------------------------------------------------------
# The program as torch.export returns it


def operator_of(node: Node) -> str:
    """The name of an aten operator without its overload, "" for anything else."""
    target = node.target
    return target._schema.name.removeprefix("aten::") if isinstance(target, torch._ops.OpOverload) else ""


def is_in_place(node: Node) -> bool:
    return isinstance(node.target, torch._ops.OpOverload) and node.target._schema.is_mutable


def origin(node: Node) -> tuple[Node, bool]:
    """The value whose memory `node` shares, and whether a detach is on the way."""
    detached = False
    while node.op == "call_function" and isinstance(node.target, torch._ops.OpOverload) and node.args:
        schema = node.target._schema
        aliases = any(argument.alias_info is not None for argument in schema.arguments[:1])
        if not aliases or not isinstance(node.args[0], Node):
            break
        detached |= operator_of(node) in ("detach", "detach_")
        node = node.args[0]
    return node, detached


def check_operator(node: Node, buffers: set[Node], parameters: dict[Node, str], region: bool, problems: list[str]) -> None:
    operator, where = operator_of(node), name_of(node)
    if operator.removesuffix("_") in OTHER_DROPOUTS and len(node.args) > 2 and node.args[2] and node.args[1] > 0:
        problems.append(f"{OTHER_DROPOUTS[operator.removesuffix('_')]} in training mode at {where}")
    if operator == "rrelu" and len(node.args) > 3 and node.args[3]:
        problems.append(f"nn.RReLU in training mode at {where}")
    if operator in ("embedding", "embedding_bag") and len(node.args) > 3 and node.args[3] is True:
        problems.append(f"Embedding(scale_grad_by_freq=True) at {where}")
    if operator == "instance_norm" and len(node.args) > 5 and node.args[3] is not None and node.args[5]:
        problems.append(f"InstanceNorm(track_running_stats=True) in training mode at {where}")
    if not is_in_place(node) or not node.args or not isinstance(node.args[0], Node):
        return
    changed, detached = origin(node.args[0])
    if changed in parameters:
        problems.append(f"forward changes the parameter {parameters[changed]} at {where}")
    elif changed not in buffers and (detached or (region and changed.op == "placeholder")):
        problems.append(f"forward changes a value in place behind the back of autograd at {where}")


def outer_arguments(node: Node, inner: torch.fx.GraphModule, first: int) -> dict[Node, Node]:
    """The placeholders of a region by the values that it is called with."""
    placeholders = [n for n in inner.graph.nodes if n.op == "placeholder"]
    return dict(zip(placeholders, node.args[first:]))


def end_region(node: Node, inner: torch.fx.GraphModule) -> None:
    """A detach behind each real result of a region without gradient; what only passes through keeps its gradient."""
    results = next(n for n in inner.graph.nodes if n.op == "output").args[0]
    for user in list(node.users):
        if user.target.__name__ != "getitem":
            continue
        result = results[user.args[1]]
        if result.op == "placeholder" or not is_real(result):
            continue
        with node.graph.inserting_after(user):
            marked = node.graph.call_function(aten.detach.default, (user,))
            marked.meta = dict(user.meta)
        user.replace_all_uses_with(marked, delete_user_cb=lambda other: other is not marked)


def prepare_graph(module: torch.fx.GraphModule, buffers: set[Node], parameters: dict[Node, str], region: bool,
                  problems: list[str]) -> None:
    for node in list(module.graph.nodes):
        if node.op != "call_function":
            continue
        kind = getattr(node.target, "__name__", str(node.target))
        if kind == "wrap_with_set_grad_enabled":
            inner = getattr(module, node.args[1].target)
            passed = outer_arguments(node, inner, 2)
            if node.args[0] and region:
                problems.append(f"torch.enable_grad() inside torch.no_grad() at {name_of(next(iter(node.users), node))}")
            prepare_graph(inner, {own for own, given in passed.items() if given in buffers},
                          {own: parameters[given] for own, given in passed.items() if given in parameters},
                          not node.args[0], problems)
            if not node.args[0]:
                end_region(node, inner)
        elif kind == "wrap_with_autocast" and not node.args[2]:  # switched off, it computes as it stands
            inner = getattr(module, node.args[4].target)
            passed = outer_arguments(node, inner, 5)
            prepare_graph(inner, {own for own, given in passed.items() if given in buffers},
                          {own: parameters[given] for own, given in passed.items() if given in parameters}, region, problems)
        elif kind == "wrap_with_autocast":
            problems.append(f"torch.autocast inside forward at {name_of(next(iter(node.users), node))}")
        else:
            check_operator(node, buffers, parameters, region, problems)
    module.recompile()


def prepare(program: torch.export.ExportedProgram) -> None:
    placeholders = {node.name: node for node in program.graph.nodes if node.op == "placeholder"}
    buffers, parameters = set(), {}
    for spec in program.graph_signature.input_specs:
        if spec.kind == InputKind.BUFFER:
            buffers.add(placeholders[spec.arg.name])
        elif spec.kind == InputKind.PARAMETER:
            parameters[placeholders[spec.arg.name]] = spec.target
    problems: list[str] = []
    prepare_graph(program.graph_module, buffers, parameters, False, problems)
    if problems:
        raise unsupported("what this model does cannot be exported: " + "; ".join(dict.fromkeys(problems)))


# ---------------------------------------------------------------------------------------------------------------------
# The program without updates in place


class Emitter:
    """Emits operators in front of a node, with the node's line."""

    def __init__(self, node: Node):
        self.node = node

    def __call__(self, target: Callable, *args, **kwargs) -> Node:
        with self.node.graph.inserting_before(self.node):
            made = self.node.graph.call_function(target, args, kwargs)
        made.meta = {key: value for key, value in self.node.meta.items() if key not in ("val", "tensor_meta")}
        return made


def arguments(node: Node, names: str) -> list:
    """All arguments of a call by the names of its schema, with defaults."""
    schema = node.target._schema.arguments
    given = {argument.name: argument.default_value for argument in schema}
    given.update(zip((argument.name for argument in schema), node.args))
    given.update(node.kwargs)
    return [given[name] for name in names.split()]


def shape_of(node: Node) -> list[int]:
    return list(node.meta["val"].shape)


def rewrite_detach(node: Node) -> Node | None:
    if not is_real(node):
        return node.args[0]
    return Emitter(node)(torch.ops.llmc.stop_gradient.default, node.args[0])


def rewrite_view(node: Node) -> Node | None:
    """A view of turned dimensions was possible because of strides that the traced operator in front happened to give. Those that
    the exporter puts in its place give others."""
    source = node.args[0]
    if source.op == "call_function" and source.target in (aten.transpose.int, aten.permute.default):
        node.update_arg(0, Emitter(node)(aten.clone.default, source, memory_format=torch.contiguous_format))
    return None


def rewrite_embedding(node: Node) -> Node | None:
    weight, indices, padding = arguments(node, "weight indices padding_idx")
    if padding < 0:
        return None
    emit = Emitter(node)
    rows = emit(aten.embedding.default, weight, indices)
    fixed = emit(torch.ops.llmc.stop_gradient.default, rows)
    padded = emit(aten.unsqueeze.default, emit(aten.eq.Scalar, indices, padding), -1)
    return emit(aten.where.self, padded, fixed, rows)


def rewrite_attention(node: Node) -> Node | None:
    query, key, value, mask, dropout, causal, scale, grouped = arguments(
        node, "query key value attn_mask dropout_p is_causal scale enable_gqa")
    if dropout == 0:
        return None
    emit = Emitter(node)
    if grouped:
        repeats = shape_of(query)[-3] // shape_of(key)[-3]
        key, value = (emit(aten.repeat_interleave.self_int, part, repeats, -3) for part in (key, value))
    scale = 1.0 / math.sqrt(shape_of(query)[-1]) if scale is None else scale
    scores = emit(aten.mul.Tensor, emit(aten.matmul.default, query, emit(aten.transpose.int, key, -2, -1)), scale)
    if causal:
        size = [shape_of(query)[-2], shape_of(node.args[1])[-2]]
        scores = emit(aten.add.Tensor, scores, emit(aten.triu.default, emit(aten.full.default, size, -math.inf), 1))
    elif mask is not None and mask.meta["val"].dtype == torch.bool:
        zero, least = (emit(aten.full.default, [], number) for number in (0.0, -math.inf))
        scores = emit(aten.add.Tensor, scores, emit(aten.where.self, mask, zero, least))
    elif mask is not None:
        scores = emit(aten.add.Tensor, scores, mask)
    weights = emit_dropout(emit, emit(aten.softmax.int, scores, -1), dropout)
    return emit(aten.matmul.default, weights, value)


def emit_dropout(emit: Emitter, x: Node, probability: float) -> Node:
    if probability >= 1:
        return emit(aten.mul.Tensor, x, 0.0)
    return emit(torch.ops.aten.dropout.default, x, probability, True)


def rewrite_dropout(node: Node) -> Node | None:
    """All entries are dropped: ONNX's scale would be 1 / 0."""
    x, probability, training = arguments(node, "input p train")
    if not training or probability < 1:
        return None
    zero = Emitter(node)(aten.mul.Tensor, x, 0.0)
    for user in list(node.users):
        if user.args[1] != 0:
            raise unsupported(f"the mask of a dropout with p=1 is used at {name_of(user)}")
        user.replace_all_uses_with(zero)
        node.graph.erase_node(user)
    return zero


def class_weights(emit: Emitter, weight: Node, rank: int, dim: int) -> Node:
    return emit(aten.view.default, weight, [-1 if d == dim else 1 for d in range(rank)])


def rewrite_cross_entropy(node: Node) -> Node | None:
    scores, target, weight, reduction, ignored, smoothing = arguments(
        node, "self target weight reduction ignore_index label_smoothing")
    probabilities = is_real(target)
    if smoothing == 0 and not probabilities:
        return None
    emit, rank = Emitter(node), len(shape_of(scores))
    dim, classes = (0, shape_of(scores)[0]) if rank == 1 else (1, shape_of(scores)[1])
    logs = emit(aten.log_softmax.int, scores, dim)
    if weight is not None:
        logs = emit(aten.mul.Tensor, logs, class_weights(emit, weight, rank, dim))
    if probabilities:
        if smoothing:
            target = emit(aten.add.Tensor, emit(aten.mul.Tensor, target, 1 - smoothing), smoothing / classes)
        rows = emit(aten.neg.default, emit(aten.sum.dim_IntList, emit(aten.mul.Tensor, logs, target), [dim]))
        return emit(aten.mean.default, rows) if reduction == 1 else emit(aten.sum.default, rows) if reduction == 2 else rows
    # The part of the smoothing is the mean over classes of -log p, over the labels that count.
    counted = emit(aten.ne.Scalar, target, ignored)
    rows = emit(aten.neg.default, emit(aten.sum.dim_IntList, logs, [dim]))
    rows = emit(aten.where.self, counted, rows, emit(aten.full.default, [], 0.0))
    exact = emit(aten.cross_entropy_loss.default, scores, target, weight, reduction, ignored, 0.0)
    if reduction != 0:
        rows = emit(aten.sum.default, rows)
    if reduction == 1:
        if weight is None:
            count = emit(aten.where.self, counted, *(emit(aten.full.default, [], number) for number in (1.0, 0.0)))
        else:
            safe = emit(aten.mul.Tensor, target, emit(aten._to_copy.default, counted, dtype=torch.int64))
            own = emit(aten.embedding.default, emit(aten.unsqueeze.default, weight, 1), safe)
            own = emit(aten.squeeze.dim, own, -1)
            count = emit(aten.where.self, counted, own, emit(aten.full.default, [], 0.0))
        rows = emit(aten.div.Tensor, rows, emit(aten.sum.default, count))
    return emit(aten.add.Tensor, emit(aten.mul.Tensor, exact, 1 - smoothing), emit(aten.mul.Tensor, rows, smoothing / classes))


REWRITES = {
    aten.detach.default: rewrite_detach,
    aten.view.default: rewrite_view,
    aten.embedding.default: rewrite_embedding,
    aten.scaled_dot_product_attention.default: rewrite_attention,
    aten.native_dropout.default: rewrite_dropout,
    aten.cross_entropy_loss.default: rewrite_cross_entropy,
}


def updates_as_outputs(program: torch.export.ExportedProgram) -> list[str]:
    """The values of updated buffers become outputs behind the others; returns the names of these buffers in that order.

    Not the running statistics of batch norms: their operator says that it updates them. Nor their count of batches, by
    which nothing is computed unless `momentum` is None, which is refused."""
    signature, graph = program.graph_signature, program.graph
    output = next(node for node in graph.nodes if node.op == "output")
    for spec, value in zip(signature.output_specs, output.args[0]):
        if isinstance(value, Node):
            spec.arg.name = value.name  # it may have been rewritten
    values = {value.name: value for value in output.args[0] if isinstance(value, Node)}
    kept, updates = [], []
    for spec in signature.output_specs:
        if spec.kind == OutputKind.USER_OUTPUT:
            kept.append(spec)
        elif spec.kind != OutputKind.BUFFER_MUTATION:
            raise unsupported(f"forward changes {spec.target or spec.arg.name} in place")
        elif not is_norm_update(values[spec.arg.name]) and not spec.target.endswith("num_batches_tracked"):
            updates.append(spec)
    names = [spec.target for spec in updates]
    for spec in updates:
        spec.kind, spec.target = OutputKind.USER_OUTPUT, None
    specs = kept + updates
    output.args = (tuple(values[spec.arg.name] if spec.arg.name in values else getattr(spec.arg, "value", None)
                         for spec in specs),)
    signature.output_specs[:] = specs
    call = program.module_call_graph[0].signature
    call.out_spec = pytree.tree_structure(tuple(range(len(specs))))
    call.outputs = []  # as torch.export leaves it; the names of outputs may change when operators are decomposed
    graph.eliminate_dead_code()
    program.graph_module.recompile()
    return names


def is_norm_update(value: Node) -> bool:
    return (getattr(value.target, "__name__", "") == "getitem" and
            value.args[0].target is aten._native_batch_norm_legit_functional.default)


def functional(program: torch.export.ExportedProgram) -> tuple[torch.export.ExportedProgram, list[str]]:
    """The program for the ONNX exporter, and the buffers whose new values its last outputs are."""
    prepare(program)
    program = program.run_decompositions({})
    for node in list(program.graph.nodes):
        rewrite = REWRITES.get(node.target) if node.op == "call_function" else None
        made = rewrite(node) if rewrite else None
        if made is None:
            continue
        made.meta.setdefault("val", node.meta.get("val"))
        node.replace_all_uses_with(made)
        node.graph.erase_node(node)
    updated = updates_as_outputs(program)
    return program, updated
