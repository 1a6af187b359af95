"""Numbers of a graph that follow from the batch size.

A tracer sees sizes as numbers: `loss.sum() / ids.numel()` divides by 24, whatever batches come later. Traced again with other
numbers of samples, the module gives the same graph with other numbers where they follow from the batch. Where three sizes agree
on a law, (a * samples + b) ** p, the number is computed from llmc.BatchSize; any other difference than of shapes means that the
graph is right at the exported size only, and the file says so. Shapes are llmc's to follow: it traces where the batch goes.
"""
from collections.abc import Callable, Iterator

import torch
from torch.export.graph_signature import InputKind

from . import proof, rewrite

aten = torch.ops.aten
Node = torch.fx.Node
Program = torch.export.ExportedProgram
Capture = Callable[[dict[str, torch.Tensor]], Program]

NUMBERS, FIXED = "llmc.batch.numbers", "llmc.batch.fixed"  # metadata of the model
POWERS = (1, -1, 0.5, -0.5, 2, -2)
TOLERANCE = 1e-6  # constants may have been rounded to float32

# Operators whose integers are sizes, positions or counts that end up in shapes.
SIZED = {"view", "reshape", "_unsafe_view", "expand", "full", "zeros", "ones", "empty", "new_full", "new_zeros", "new_ones", "new_empty",
         "arange", "linspace", "slice", "select", "narrow", "repeat", "repeat_interleave", "split", "split_with_sizes", "unfold",
         "as_strided", "tile", "unflatten", "chunk", "slice_scatter", "select_scatter", "rand", "randn", "randint", "slice_backward",
         "select_backward", "empty_permuted", "tensor_split", "unsafe_split", "expand_as"}
POSITIONS = {"arange", "linspace"}  # whose plain numbers are sizes, too
TAKES = {"slice": 1, "select": 1, "narrow": 1, "slice_scatter": 2, "select_scatter": 2}  # part of a dimension, named by this argument

# The form of an operator that takes a tensor where this one takes a number.
WITH_TENSOR = {getattr(aten, name).Scalar: getattr(aten, name).Tensor
               for name in ("add", "sub", "mul", "div", "eq", "ne", "lt", "le", "gt", "ge", "remainder", "fmod", "masked_fill")}
WITH_TENSOR |= {aten.pow.Tensor_Scalar: aten.pow.Tensor_Tensor, aten.pow.Scalar: aten.pow.Tensor_Tensor,
                aten.div.Scalar_mode: aten.div.Tensor_mode, aten.clamp_min.default: aten.clamp_min.Tensor,
                aten.clamp_max.default: aten.clamp_max.Tensor, aten.clamp.default: aten.clamp.Tensor}
COMPARISONS = {"eq", "ne", "lt", "le", "gt", "ge"}


class Fixed(Exception):
    """The graph is right at the exported batch size only; the text says why."""


class Number:
    """A number of a node that differs between the sizes: argument `at` of its schema, or the value of a constant (`at` None)."""

    def __init__(self, node: Node, at: int | None, values: list[float]):
        self.node, self.at, self.values = node, at, values


# ---------------------------------------------------------------------------------------------------------------------
# Comparing


def flat(value) -> Iterator:
    if isinstance(value, (list, tuple)):
        yield len(value)
        for part in value:
            yield from flat(part)
    else:
        yield value


def is_number(value) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def same(values: list, places: list[dict[Node, int]]) -> bool:
    """Equal, where nodes are compared by their place in their graph."""
    first, *others = ([place[v] if isinstance(v, Node) else v for v in flat(value)] for value, place in zip(values, places))
    return all(len(other) == len(first) and all(type(a) is type(b) and (a == b or a is b or a != a and b != b)
                                                for a, b in zip(first, other)) for other in others)


def arguments(node: Node) -> list:
    """By the schema, with defaults."""
    schema = node.target._schema.arguments
    named = {argument.name: argument.default_value for argument in schema}
    named.update(zip(named, node.args))
    named.update(node.kwargs)
    return list(named.values())


def shape(node: Node) -> list[int]:
    return list(node.meta["val"].shape)


def takes_part(nodes: tuple[Node, ...], operator: str) -> bool:
    """A part, of a size that follows from the batch, of a dimension that does not contain it."""
    if operator not in TAKES:
        return False
    sources = [arguments(node)[0] for node in nodes]
    dim = arguments(nodes[0])[TAKES[operator]]
    return len({shape(source)[dim] for source in sources if shape(source)}) == 1


def compare_call(nodes: tuple[Node, ...], places: list[dict[Node, int]]) -> Iterator[Number]:
    node, where = nodes[0], rewrite.name_of(nodes[0])
    if not isinstance(node.target, torch._ops.OpOverload):
        if not same([[n.args, n.kwargs] for n in nodes], places):
            raise Fixed(f"the arguments of {getattr(node.target, '__name__', node.target)} at {where}")
        return
    operator = rewrite.operator_of(node)
    for at, (schema, values) in enumerate(zip(node.target._schema.arguments, zip(*map(arguments, nodes)))):
        if same(list(values), places):
            continue
        kind = str(schema.type)
        if all(map(is_number, values)) and ("Tensor" in kind or "number" in kind) and operator not in POSITIONS:
            yield Number(node, at, [float(value) for value in values])
        elif operator not in SIZED or takes_part(nodes, operator) or not all(
                isinstance(leaf, (int, float, Node, type(None))) for leaf in flat(values)):
            raise Fixed(f"`{schema.name}` of {operator} at {where}")


def compare_inputs(programs: list[Program]) -> Iterator[Number]:
    """The constants that tracing made of tensors that forward creates."""
    placeholders = {node.name: node for node in programs[0].graph.nodes if node.op == "placeholder"}
    with torch._subclasses.fake_tensor.unset_fake_temporarily():
        yield from compare_constants(programs, placeholders)


def known_value(value: torch.Tensor) -> torch.Tensor:
    """Exported without weights, constants are fake tensors; small ones know their value."""
    if not isinstance(value, torch._subclasses.FakeTensor):
        return value
    if value.constant is None:
        raise Fixed("its constant tensors have no values in an export without weights")
    return value.constant


def compare_constants(programs: list[Program], placeholders: dict[str, Node]) -> Iterator[Number]:
    for specs in zip(*(program.graph_signature.input_specs for program in programs)):
        if len({(spec.kind, spec.target) for spec in specs}) != 1:
            raise Fixed("forward reads other parameters or constants")
        if specs[0].kind != InputKind.CONSTANT_TENSOR:
            continue
        node = placeholders[specs[0].arg.name]
        values = [known_value(program.constants[spec.target]) for program, spec in zip(programs, specs)]
        if len({value.shape for value in values}) > 1 or all(torch.equal(value, values[0]) for value in values):
            continue  # one that grows with the batch must be equal for all samples; llmc checks that
        users = [user for user in node.users if user.op == "call_function"]
        where = rewrite.name_of(users[0]) if users else "forward"
        if values[0].numel() != 1 or values[0].dtype == torch.bool:
            raise Fixed(f"a constant tensor at {where}")
        yield Number(node, None, [float(value.item()) for value in values])


def compare(programs: list[Program]) -> list[Number]:
    """The numbers that differ. Nodes and arguments are those of the first program. Raises Fixed where more differs."""
    graphs = [list(program.graph.nodes) for program in programs]
    places = [{node: i for i, node in enumerate(graph)} for graph in graphs]
    for nodes in zip(*graphs):
        if len({(node.op, node.target if node.op == "call_function" else "") for node in nodes}) > 1:
            raise Fixed(f"forward does other operations at {rewrite.name_of(nodes[0])}")
    if len({len(graph) for graph in graphs}) > 1:
        raise Fixed("forward does more operations for more samples")
    found = list(compare_inputs(programs))
    for nodes in zip(*graphs):
        if nodes[0].op == "call_function":
            found.extend(compare_call(nodes, places))
        elif nodes[0].op == "output" and not same([node.args for node in nodes], places):
            raise Fixed("forward returns other values")
    return found


def spreads(programs: list[Program]) -> list[tuple[Node, list[int]]]:
    """Variances over the batch of the first program, divided by one less than the elements that they are of, and these counts."""
    found = []
    for nodes in zip(*(program.graph.nodes for program in programs)):
        operator = rewrite.operator_of(nodes[0]) if nodes[0].op == "call_function" else ""
        if operator not in ("var", "std", "var_mean", "std_mean"):
            continue
        counts = [node.args[0].meta["val"].numel() // max(1, first_value(node).numel()) for node in nodes]
        if len(set(counts)) > 1 and spread_arguments(nodes[0])[2] != 0:
            if operator.endswith("_mean"):
                raise Fixed(f"{operator} over the batch at {rewrite.name_of(nodes[0])}")
            found.append((nodes[0], counts))
    return found


def spread_arguments(node: Node) -> tuple[Node, list[int], float, bool]:
    """Input, dimensions, correction, keepdim of a variance in any of its three forms."""
    given = dict(zip((argument.name for argument in node.target._schema.arguments), arguments(node)))
    dims = given.get("dim")
    correction = given["correction"] if "correction" in given else int(given["unbiased"])
    return (given["self"], list(range(len(shape(given["self"])))) if not dims else list(dims), 1 if correction is None else correction,
            given.get("keepdim", False))


def first_value(node: Node) -> torch.Tensor:
    value = node.meta["val"]
    return value[0] if isinstance(value, (tuple, list)) else value


# ---------------------------------------------------------------------------------------------------------------------
# Laws


def whole(value: float) -> float:
    return float(round(value)) if abs(value - round(value)) < TOLERANCE * max(1, abs(value)) else value


def law(sizes: list[int], values: list[float]) -> tuple[float, float, float, float] | None:
    """sign, a, b, p with values = sign * (a * sizes + b) ** p, which the first two sizes suggest and the others confirm."""
    sign = -1.0 if values[0] < 0 else 1.0
    values = [sign * value for value in values]
    if not all(value > 0 for value in values):
        return None
    for power in POWERS:
        bases = [value ** (1 / power) for value in values]
        a = (bases[1] - bases[0]) / (sizes[1] - sizes[0])
        b = bases[0] - a * sizes[0]
        a, b = whole(a), 0.0 if abs(b) < TOLERANCE * max(bases) else whole(b)
        if all(abs((a * size + b) - base) <= TOLERANCE * max(bases) for size, base in zip(sizes, bases)):
            return sign, a, b, power
    return None


class Writer:
    """Puts numbers that are computed from the batch size into a program."""

    def __init__(self, program: Program):
        self.program, self.size, self.made = program, None, []
        nodes = list(program.graph.nodes)
        self.start = next(node for node in nodes if node.op != "placeholder")
        users = {spec.arg.name for spec in program.graph_signature.input_specs if spec.kind == InputKind.USER_INPUT}
        self.input = next(node for node in nodes if node.name in users and shape(node))

    def batch_size(self) -> Node:
        if self.size is None:
            self.size = rewrite.Emitter(self.start)(torch.ops.llmc.batch_size.default, self.input)
        return self.size

    def line(self, emit, a: float, b: float) -> Node:
        value = self.batch_size()
        if a != 1:
            value = emit(aten.mul.Tensor, value, a)
        return emit(aten.add.Tensor, value, b) if b else value

    def value(self, emit, found: tuple[float, float, float, float]) -> Node:
        sign, a, b, power = found
        if power == 1:
            return self.line(emit, sign * a, sign * b)
        value = self.line(emit, a, b)
        if abs(power) == 0.5:
            value = emit(aten.sqrt.default, value)
        if abs(power) == 2:
            value = emit(aten.mul.Tensor, value, value)
        if power < 0:
            value = emit(aten.reciprocal.default, value)
        return emit(aten.neg.default, value) if sign < 0 else value

    def write(self, number: Number, sizes: list[int]) -> None:
        found = law(sizes, number.values)
        where = rewrite.name_of(number.node if number.at is not None else next(iter(number.node.users), number.node))
        if found is None:
            raise Fixed(f"the numbers {', '.join(f'{value:g}' for value in number.values)} at {where} follow from "
                        f"{', '.join(map(str, sizes))} samples by no law that is known here")
        if number.at is None:
            self.write_constant(number, found, where)
        else:
            self.write_argument(number, found, where)

    def typed(self, emit, value: Node, dtype: torch.dtype, number: Number, where: str) -> Node:
        if dtype == torch.float32:
            return value
        if not dtype.is_floating_point and any(v != round(v) for v in number.values) or dtype == torch.bool:
            raise Fixed(f"a number of type {dtype} at {where}")
        return emit(aten._to_copy.default, value, dtype=dtype)

    def write_constant(self, number: Number, found, where: str) -> None:
        emit, value = rewrite.Emitter(self.start), number.node.meta["val"]
        made = self.typed(emit, self.value(emit, found), value.dtype, number, where)
        if value.dim():
            made = emit(aten.view.default, made, list(value.shape))
        made.meta["val"] = value
        number.node.replace_all_uses_with(made)

    def write_argument(self, number: Number, found, where: str) -> None:
        node, at, emit = number.node, number.at, rewrite.Emitter(number.node)
        operator, schema = rewrite.operator_of(node), node.target._schema.arguments
        sign, a, b, power = found
        result = first_value(node).dtype
        tensors = [argument.meta["val"].dtype for argument in node.args if isinstance(argument, Node)]
        dtype = tensors[0] if operator in COMPARISONS and tensors else result
        if not dtype.is_floating_point and any(v != round(v) for v in number.values):
            dtype = torch.float32
        if operator in ("full", "scalar_tensor", "full_like"):
            made = self.typed(emit, self.value(emit, found), result, number, where)
            if shape(node):
                made = emit(aten.expand.default, made, shape(node))
            made.meta.setdefault("val", node.meta["val"])
            node.replace_all_uses_with(made)
            node.graph.erase_node(node)
            return
        target = node.target if "Tensor" in str(schema[at].type) else WITH_TENSOR.get(node.target)
        if target is None:
            raise Fixed(f"`{schema[at].name}` of {operator} at {where}")
        if operator in ("mul", "div") and power == -1 and at == 1:  # a sum stays one under a quotient
            target = aten.div.Tensor if operator == "mul" else aten.mul.Tensor
            found = (sign, a, b, 1)
        values = arguments(node)
        if operator in ("mul", "div") and found[0] < 0 and at == 1 and isinstance(values[0], Node):  # counts stay positive
            values[0], found = emit(aten.neg.default, values[0]), (1.0, *found[1:])
        values[at] = self.typed(emit, self.value(emit, found), dtype, number, where)
        if operator == "clamp":
            values[1:] = [emit(aten.full.default, [], bound, dtype=dtype) if is_number(bound) else bound for bound in values[1:]]
        node.target = target
        positional = [argument for argument in target._schema.arguments if not argument.kwarg_only]
        node.args = tuple(values[:len(positional)])
        node.kwargs = {name: value for name, value in node.kwargs.items()
                       if name in {argument.name for argument in target._schema.arguments if argument.kwarg_only}}

    def write_spread(self, node: Node, sizes: list[int], counts: list[int]) -> None:
        """var(x) = sum((x - mean(x)) ** 2) / (n - correction)"""
        emit = rewrite.Emitter(node)
        x, dims, correction, keep = spread_arguments(node)
        found = law(sizes, [float(count - correction) for count in counts])
        if found is None or found[3] != 1:
            raise Fixed(f"a variance of few samples at {rewrite.name_of(node)}")
        moved = emit(aten.sub.Tensor, x, emit(aten.mean.dim, x, dims, True))
        total = emit(aten.sum.dim_IntList, emit(aten.mul.Tensor, moved, moved), dims, keep)
        made = emit(aten.div.Tensor, total, self.line(emit, found[1], found[2]))
        if rewrite.operator_of(node) == "std":
            made = emit(aten.sqrt.default, made)
        made.meta.setdefault("val", node.meta["val"])
        node.replace_all_uses_with(made)
        node.graph.erase_node(node)


# ---------------------------------------------------------------------------------------------------------------------
# All together


def batch_of(inputs: dict[str, torch.Tensor]) -> int:
    """The size of dimension 0 of all inputs that have one; 0 if they disagree."""
    sizes = {value.shape[0] for value in inputs.values() if value.dim()}
    return sizes.pop() if len(sizes) == 1 else 0


def capture_other(inputs: dict[str, torch.Tensor], size: int, capture: Capture) -> Program | None:
    try:
        with torch._subclasses.fake_tensor.unset_fake_temporarily():
            values = proof.resized(inputs, size)
        return capture(values)
    except Exception:  # whatever forward raises for a number of samples that it does not take
        return None


def differences(programs: list[Program]) -> tuple[list[Number], list[tuple[Node, list[int]]]]:
    return compare(programs), spreads(programs)


def differ(one: Program, other: Program) -> bool:
    """True unless both programs compute the same of the same inputs."""
    try:
        return bool(compare([one, other]))
    except Fixed:
        return True


def write(program: Program, inputs: dict[str, torch.Tensor], batch: int, capture: Capture) -> dict[str, str]:
    """Odd numbers of samples, or multiples of the example's, if the module takes those only."""
    for sizes in ([size for size in (3, 5, 7) if size != batch][:2], [2 * batch, 3 * batch]):
        if second := capture_other(inputs, sizes[0], capture):
            break
    else:
        return {}
    try:
        if not any(differences([program, second])):
            return {NUMBERS: "known"}
    except Fixed:
        if batch > 1:
            raise
        # A size of one is a case of its own in PyTorch: its graph tells nothing of others.
        third = capture_other(inputs, sizes[1], capture)
        if third is None or not any(differences([second, third])):
            return {}
        raise Fixed("its numbers follow from the batch, of which an example of one sample shows too little") from None
    third = capture_other(inputs, sizes[1], capture)
    if third is None:
        raise Fixed("it has numbers that follow from the batch, and takes too few other sizes to tell how")
    numbers, variances = differences([program, second, third])
    writer = Writer(program)
    for number in numbers:
        writer.write(number, [batch, *sizes])
    for node, counts in variances:
        writer.write_spread(node, [batch, *sizes], counts)
    return {NUMBERS: "known"}


def follow(program: Program, inputs: dict[str, torch.Tensor], capture: Capture) -> dict[str, str]:
    """Writes numbers that follow from the batch into `program`, the module as captured with `inputs`. Returns metadata for llmc."""
    batch = batch_of(inputs)
    if batch == 0:
        return {}
    try:
        return write(program, inputs, batch, capture)
    except Fixed as reason:
        return {FIXED: str(reason)}
    finally:  # what was written is right at the exported size whatever came after it
        output = next(node for node in program.graph.nodes if node.op == "output")
        for spec, value in zip(program.graph_signature.output_specs, output.args[0]):
            if isinstance(value, Node):
                spec.arg.name = value.name
        program.graph.eliminate_dead_code()
        program.graph_module.recompile()
