"""Operators of the ONNX domain `llmc`: what PyTorch knows and ONNX cannot say.

A marker computes nothing. In the file it is a call of a function of the model with a body of standard operators, so that
ONNX Runtime and others still run the file; llmc reads the call itself. While PyTorch traces and exports it is an op of
torch.library, which every pass of PyTorch's leaves alone.

  llmc.StopGradient(x)    x, through which no gradient flows
  llmc.BatchSize(x)       the number of samples, as a float32 scalar; x is an input of the model
"""
import onnx
import onnx_ir
import onnxscript
import torch

DOMAIN, VERSION = "llmc", 1
REALS = ["tensor(float)", "tensor(double)", "tensor(float16)", "tensor(bfloat16)"]
TENSORS = [*REALS, "tensor(bool)", *(f"tensor({sign}int{bits})" for sign in ("", "u") for bits in (8, 16, 32, 64))]


@torch.library.custom_op("llmc::stop_gradient", mutates_args=())
def stop_gradient(x: torch.Tensor) -> torch.Tensor:
    return x.clone()


@stop_gradient.register_fake
def _(x):
    return torch.empty_like(x)


@torch.library.custom_op("llmc::batch_size", mutates_args=())
def batch_size(x: torch.Tensor) -> torch.Tensor:
    return torch.tensor(float(x.shape[0]))


@batch_size.register_fake
def _(x):
    return torch.empty((), dtype=torch.float32)


def _register_schemas() -> None:
    schema = onnx.defs.OpSchema
    for name, types, result in (("StopGradient", REALS, "T"), ("BatchSize", TENSORS, "tensor(float)")):
        if not onnx.defs.has(name, DOMAIN):
            onnx.defs.register_schema(schema(
                name, DOMAIN, VERSION, inputs=[schema.FormalParameter("x", "T")],
                outputs=[schema.FormalParameter("y", result)], type_constraints=[("T", types, "")]))


_register_schemas()
_operators = onnxscript.values.Opset(DOMAIN, VERSION)


def _translate_stop_gradient(x):
    return _operators.StopGradient(x)


def _translate_batch_size(x):
    return _operators.BatchSize(x)


def _batch_norm(x, weight, bias, mean, variance, momentum, eps):
    from onnxscript import opset18 as op

    channels = x.shape[1]
    ones, zeros = ([value] * channels for value in (1.0, 0.0))
    return op.BatchNormalization(
        x, op.Constant(value_floats=ones) if weight is None else weight,
        op.Constant(value_floats=zeros) if bias is None else bias,
        op.Constant(value_floats=zeros) if mean is None else mean,
        op.Constant(value_floats=ones) if variance is None else variance,
        epsilon=eps, momentum=1.0 - momentum, training_mode=1)


def _translate_batch_norm(x, weight=None, bias=None, running_mean=None, running_var=None, training=False, momentum=0.1,
                          eps=1e-5):
    """In training mode; PyTorch's own translation says training_mode=0 whatever the module does."""
    y, mean, variance = _batch_norm(x, weight, bias, running_mean, running_var, momentum, eps)
    return y, mean, variance, mean, variance  # the second and third are saved statistics, which nothing here reads


def _translate_batch_norm_without_statistics(x, weight=None, bias=None, training=True, momentum=0.1, eps=1e-5):
    return _batch_norm(x, weight, bias, None, None, momentum, eps)


TRANSLATIONS = {
    torch.ops.llmc.stop_gradient.default: _translate_stop_gradient,
    torch.ops.llmc.batch_size.default: _translate_batch_size,
    torch.ops.aten._native_batch_norm_legit_functional.default: _translate_batch_norm,
    torch.ops.aten._native_batch_norm_legit.no_stats: _translate_batch_norm_without_statistics,
}


def _stop_gradient_body(x: onnx_ir.Value) -> list[onnx_ir.Node]:
    return [onnx_ir.node("Identity", [x])]


def _batch_size_body(x: onnx_ir.Value) -> list[onnx_ir.Node]:
    size = onnx_ir.node("Shape", [x], {"start": 0, "end": 1})
    scalar = onnx_ir.node("Squeeze", size.outputs)
    return [size, scalar, onnx_ir.node("Cast", scalar.outputs, {"to": onnx_ir.DataType.FLOAT})]


BODIES = {"StopGradient": _stop_gradient_body, "BatchSize": _batch_size_body}


def add_functions(model: onnx_ir.Model) -> None:
    """Gives `model` the bodies of the markers that it uses; after everything that might inline them."""
    used = {node.op_type for node in model.graph.all_nodes() if node.domain == DOMAIN}
    if not used:
        model.opset_imports.pop(DOMAIN, None)
        return
    for name in sorted(used):
        x = onnx_ir.Value(name="x")
        body = BODIES[name](x)
        body[-1].outputs[0].name = "y"
        graph = onnx_ir.Graph([x], body[-1].outputs, nodes=body, opset_imports={"": model.opset_imports[""]})
        function = onnx_ir.Function(DOMAIN, name, graph=graph, attributes=[])
        model.functions[function.identifier()] = function
    model.opset_imports[DOMAIN] = VERSION
