#!/usr/bin/env python3
"""Exports a PyTorch module or a Hugging Face model to ONNX, as a graph that llmc can train.

  export.py FILE.py -o model.onnx                        # FILE.py defines build(), see below
  export.py FILE.py:NAME -o model.onnx --no-weights      # NAME instead of build; parameters without values
  export.py --hf NAME_OR_FOLDER -o model.onnx --batch 8 --sequence 256

build() returns (module, inputs): a torch.nn.Module whose forward takes `inputs`, a dict from name to example tensor in the
order of forward's parameters, and returns the loss, or (loss, logits). Everything stays float32 with the shapes of the
examples; llmc resizes the batch. From Python: `from export import export`.

Without weights every parameter is an initializer that points into MODEL.onnx.data, a file that is never written: the recipe's
`init` or `weights` then gives the values. Such an export needs next to no memory, whatever the size of the model.

What torch.onnx.export does by default would lose parameters: its optimizer takes them for constants, merges those that are
equal at the moment (all zero biases of a fresh model) and folds what depends on them alone. Here it runs while they are
inputs of the graph, and afterwards each of them must still be there.

What the exporter drops is carried over, or the export is refused by name: see `exporting/`. Beside the model stands its proof,
MODEL.proof.safetensors: PyTorch's loss and gradients for two batches, which `llmc check` computes again.

Needs PyTorch 2.9 or later, onnx, onnxscript and onnx-ir: `scripts/setup --torch` installs them into third_party/torch, whose Python
this program goes on with if its own lacks them. --hf needs transformers.
"""
import argparse
import contextlib
import io
import logging
import math
import os
import pathlib
import re
import sys
import warnings

try:
    import onnx_ir
    import onnxscript.optimizer
    import onnxscript.rewriter
    import torch
    from torch._subclasses.fake_tensor import FakeTensorMode
except ImportError as missing:
    if __name__ != "__main__":
        raise
    installed = pathlib.Path(__file__).resolve().parents[2] / "third_party/torch"
    if (installed / "bin/python").exists() and pathlib.Path(sys.prefix) != installed:
        os.execv(installed / "bin/python", [installed / "bin/python", *sys.argv])
    print(f"error: this Python has no package {missing.name}", file=sys.stderr)
    print("hint: `scripts/setup --torch` installs what exports need, or: pip install torch onnx onnxscript onnx-ir safetensors", file=sys.stderr)
    sys.exit(3)

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
from exporting import calls, experts, functions, markers, outputs as files, proof, replay, rewrite, sizes, stand_ins, watch  # noqa: E402
from exporting.sources import Build, from_file, from_hugging_face  # noqa: E402
from exporting.errors import ExportError, failure, unsupported  # noqa: E402

KIND = "pkg.torch.export.graph_signature.InputSpec.kind"
TIED = "llmc.tied"  # of the graph: lines of a parameter's name in the file and its other names
SIGNATURE = "pkg.torch.export.ExportedProgram.graph_signature"
TRACE = "pkg.torch.onnx.stack_trace"
UPDATE = "llmc.buffer_update."  # metadata of the model, followed by an output's name: the buffer whose new value it is
TRAINABLE = "llmc.trainable"  # metadata of an initializer: "false" if PyTorch does not train it
ALIGNMENT = 4096  # of each parameter in the external data file, as PyTorch writes it
LARGEST_CONSTANT = 4096  # elements; larger ones, such as causal masks, stay the nodes that compute them
OPSETS = range(18, 24)
FIRST_FUSED_OPSET = 23  # from here on the standard has attention, RMS norm and rotary embedding of its own


# ---------------------------------------------------------------------------------------------------------------------
# Parameters without values


class ShapesOnly:
    """While active, each parameter that a module registers becomes one on the meta device; buffers keep their values."""

    def __enter__(self):
        self.register = torch.nn.Module.register_parameter

        def register(module, name, parameter):
            if parameter is not None and parameter.device.type != "meta" and not torch.nn.parameter.is_lazy(parameter):
                parameter = torch.nn.Parameter(parameter.to("meta"), requires_grad=parameter.requires_grad)
            self.register(module, name, parameter)

        torch.nn.Module.register_parameter = register

    def __exit__(self, *_):
        torch.nn.Module.register_parameter = self.register


def make_fake(module: torch.nn.Module) -> None:
    """Replaces meta parameters by fake ones of the CPU, tied ones by the same; call it inside a FakeTensorMode."""
    fakes = {}
    for owner in module.modules():
        for name, parameter in owner._parameters.items():
            if parameter is None:
                continue
            if id(parameter) not in fakes:
                fake = torch.empty(parameter.shape, dtype=parameter.dtype, device="cpu")
                fakes[id(parameter)] = torch.nn.Parameter(fake, requires_grad=parameter.requires_grad)
            owner._parameters[name] = fakes[id(parameter)]


def remove_weights(model: onnx_ir.Model, location: str) -> None:
    """Points every parameter into the file `location`, which is never written."""
    offset = 0
    for name, value in model.graph.initializers.items():
        if value.metadata_props.get(KIND) != "PARAMETER":
            continue
        length = math.prod(value.shape) * value.dtype.itemsize
        value.const_value = onnx_ir.ExternalTensor(location, offset, length, value.dtype, shape=value.shape, name=name)
        offset += -(-length // ALIGNMENT) * ALIGNMENT


# ---------------------------------------------------------------------------------------------------------------------
# The graph


def fold_constants(model: onnx_ir.Model) -> None:
    """Evaluates what depends on constants only. Parameters and buffers are inputs of the graph meanwhile."""
    graph = model.graph
    values = {name: value for name, value in graph.initializers.items()
              if value.metadata_props.get(KIND) in ("PARAMETER", "BUFFER")}
    tensors = {name: value.const_value for name, value in values.items()}
    inputs = list(graph.inputs)
    for name, value in values.items():
        del graph.initializers[name]
        value.const_value = None
        graph.inputs.append(value)
    onnxscript.optimizer.optimize_ir(model, output_size_limit=LARGEST_CONSTANT)
    if model.opset_imports[""] >= FIRST_FUSED_OPSET:
        onnxscript.rewriter.onnx_fusions.fuse(model)
    restored = [value for value in graph.inputs if value.name in values]
    graph.inputs[:] = inputs
    for value in restored:
        value.const_value = tensors[value.name]
        if value.metadata_props[KIND] == "PARAMETER" or value.uses():
            graph.initializers[value.name] = value


def keep_buffers(model: onnx_ir.Model, module: torch.nn.Module, updated: list[str]) -> None:
    """Buffers that forward updates are in the file, even if it reads their new values only."""
    buffers = dict(module.named_buffers())
    for name in updated:
        if name not in model.graph.initializers:
            tensor = onnx_ir.tensor(buffers[name].detach().numpy(), name=name)
            value = onnx_ir.Value(name=name, type=onnx_ir.TensorType(tensor.dtype), shape=tensor.shape, const_value=tensor)
            value.metadata_props[KIND] = "BUFFER"
            model.graph.initializers[name] = value


def shorten_metadata(model: onnx_ir.Model) -> None:
    """Keeps file names and lines of stack traces, without the folders of this machine."""
    for node in model.graph.all_nodes():
        if TRACE in node.metadata_props:
            frames = re.findall(r'File "(?:[^"]*[/\\])?([^"/\\]+)", line (\d+), in (\S+)', node.metadata_props[TRACE])
            node.metadata_props[TRACE] = "\n".join(f"{name}:{line} in {function}" for name, line, function in frames)
        node.doc_string = None


def check_parameters(program: torch.onnx.ONNXProgram, module: torch.nn.Module) -> list[str]:
    """Every parameter that the traced program reads must be an initializer under one of its names.

    Returns the names of parameters that the program never reads, and takes them out of the signature in the metadata, by
    which llmc would find them lost.
    """
    metadata, exported = program.model.graph.metadata_props, program.exported_program
    placeholders = {node.name: node for node in exported.graph.nodes if node.op == "placeholder"}
    names = {}
    for name, parameter in module.named_parameters(remove_duplicate=False):
        names.setdefault(id(parameter), set()).add(name)
    held = program.model.graph.initializers.keys()
    metadata[TIED] = "\n".join(" ".join([*sorted(tied & held), *sorted(tied - held)]) for tied in names.values()
                               if len(tied) > 1 and len(tied & held) == 1)
    present = set().union(*(tied for tied in names.values() if tied & program.model.graph.initializers.keys()))
    absent = {placeholder: name for placeholder, name in exported.graph_signature.inputs_to_parameters.items()
              if name not in present}
    lost = [name for placeholder, name in absent.items() if placeholders[placeholder].users]
    if lost:
        raise ExportError(f"the exported graph lacks parameters of the model: {', '.join(lost)}")
    unread = list(absent.values())
    lines = metadata.get(SIGNATURE, "").split("\n")
    metadata[SIGNATURE] = "\n".join(line for line in lines if not any(line.endswith(f" target='{name}'") for name in unread))
    return unread


def export(build: Build, path: str | pathlib.Path, *, weights: bool = True, opset: int = 18,
           outputs: list[str] | None = None, overwrite: bool = True) -> list[str]:
    """Writes the graph of `build()` (module and inputs, see above) to `path`, and its proof beside it. `outputs` names the tensors
    that forward returns, by default loss, logits, output2 and so on, or by the keys of a dict. Models above 1 GiB get their
    weights in a file beside it. Returns remarks: what is not in the file, why there is no proof, and what was done to get so far."""
    path = pathlib.Path(path)
    files.watch()
    files.check_before(path, overwrite)
    if opset not in OPSETS:
        raise ExportError(f"opset {opset} is not supported: {OPSETS[0]} to {OPSETS[-1]} are")
    try:
        with torch.compiler.set_stance("force_eager"):  # compiled parts are exported as they were written
            return build_and_write(build, path, weights, opset, outputs)
    finally:
        files.forget()


def build_and_write(build: Build, path: pathlib.Path, weights: bool, opset: int, outputs: list[str] | None) -> list[str]:
    with contextlib.nullcontext() if weights else ShapesOnly():
        module, inputs = built(build)
    watch.check_module(module)
    with calls.Call(module, inputs) as call, contextlib.nullcontext() if weights else FakeTensorMode(allow_non_fake_inputs=True):
        if weights:
            check_values(module)
            initialize_lazy(call, inputs)
        else:
            check_shapes(module)
            make_fake(module)
        remarks = write(call, module, inputs, path, weights, opset, outputs)
        return call.remarks + remarks


def write(call: calls.Call, module: torch.nn.Module, inputs: dict[str, torch.Tensor], path: pathlib.Path, weights: bool, opset: int,
          outputs: list[str] | None) -> list[str]:
    numbers, containers = watch.numbers_of(module), watch.containers_of(module)
    known, result = studied(call, module, inputs)
    call.settle(result, set(module.state_dict()))
    changed = watch.changed_numbers(module, numbers)
    grown = watch.put_containers(module, containers)
    with watch.moved(module, changed, 0):
        program, onnx_program, updated = trace(call, inputs, opset, known if weights else None, changed, grown)
    model = onnx_program.model
    names = name_outputs(model, outputs or call.names, updated)
    fold_constants(model)
    keep_buffers(model, module, updated)
    markers.add_functions(model)
    mark_frozen(model, module)
    unread = check_parameters(onnx_program, module)
    shorten_metadata(model)
    remarks = [f"forward does not read {', '.join(unread)}: not in the graph"] if unread else []
    recorder = None
    if not weights:
        remarks.append("without weights the model has no proof of its loss and gradients")
    elif "loss" in names:
        recorder = proven(module, inputs, program, names.index("loss"), known, remarks)
    else:
        remarks.append("the model has no proof: none of its outputs is named loss")
    if call.untraced and not (recorder and recorder.compared):
        raise call.untraced  # traced without autograd, of which nothing shows that it computes the same gradients
    files.check_read(path)
    proof.path_of(path).unlink(missing_ok=True)  # of what was exported before
    if weights:
        size = sum(parameter.numel() * parameter.element_size() for parameter in module.parameters())
        onnx_program.save(path, external_data=size > 1 << 30)
    else:
        remove_weights(model, f"{path.name}.data")
        onnx_ir.save(model, path)
    if recorder and recorder.cases:
        recorder.save(proof.path_of(path), [name for name, value in model.graph.initializers.items()
                                            if value.metadata_props.get(KIND) == "PARAMETER"])
        if len(recorder.cases) == 1:
            remarks.append("forward takes no other number of samples than the example's; the proof has one batch")
    return remarks


def proven(module: torch.nn.Module, inputs: dict[str, torch.Tensor], program: torch.export.ExportedProgram, loss: int,
           known: functions.Study, remarks: list[str]) -> proof.Recorder:
    """The proof of the loss at this place of the outputs, which the program reproduces in PyTorch already."""
    recorder = proof.Recorder(module, inputs, *replay.bounds(program), loss)
    if recorder.note:
        remarks.append(f"the model has no proof of its loss and gradients: {recorder.note}")
    for batch, result in recorder.cases[:1]:
        try:
            replay.compare(program, module, batch, result, loss, [f.__name__ for f in known.verdicts])
            recorder.compared = True
        except ExportError:
            raise
        except Exception as problem:  # an operator of the program that PyTorch computes, but does not differentiate
            remarks.append(f"PyTorch cannot run the exported program itself ({str(problem).strip().splitlines()[0]}): "
                           "`llmc check` compares the file with the module")
    return recorder


def studied(call: calls.Call, module: torch.nn.Module, inputs: dict[str, torch.Tensor]) -> tuple[functions.Study, object]:
    """What forward's Functions do, and what it returns."""
    try:
        return proof.study(call, module, inputs)
    except Exception as problem:  # whatever forward raises
        raise failure("forward fails on the example inputs", problem) from problem


def check_values(module: torch.nn.Module) -> None:
    absent = [name for name, value in [*module.named_parameters(), *module.named_buffers()] if value.is_meta]
    if absent:
        raise ExportError(f"{len(absent)} parameters and buffers of the module have no values, they are on the meta device: "
                          f"{', '.join(absent[:5])}", "export without weights (--no-weights), or give them values")


def check_shapes(module: torch.nn.Module) -> None:
    """Of an export without weights."""
    lazy = [name for name, parameter in module.named_parameters() if torch.nn.parameter.is_lazy(parameter)]
    made = [name for name, buffer in module.named_buffers() if buffer.is_meta]
    if lazy or made:
        what = f"the lazy parameters {', '.join(lazy)} have no shapes" if lazy else f"the buffers {', '.join(made)} are made of parameters"
        raise ExportError(f"{what}, so that this model cannot be exported without weights", "leave out --no-weights")


def initialize_lazy(call: calls.Call, inputs: dict[str, torch.Tensor]) -> None:
    """Lazy parameters get their shape and values from a first batch."""
    lazy = [name for name, parameter in call.module.named_parameters() if torch.nn.parameter.is_lazy(parameter)]
    if not lazy:
        return
    training = {part: part.training for part in call.module.modules()}
    try:
        with torch.no_grad():
            call.module.eval()  # changes no statistics
            call(*(value.clone() for value in inputs.values()))
    except Exception as problem:  # whatever forward raises
        raise failure("forward fails on the example inputs", problem) from problem
    finally:
        for part, mode in training.items():
            part.training = mode
    call.remarks.append(f"the example inputs gave lazy parameters their shapes: {', '.join(lazy)}")


def built(build: Build) -> tuple[torch.nn.Module, dict[str, torch.Tensor]]:
    try:
        result = build()
    except ExportError:
        raise
    except Exception as problem:  # whatever the user's code raises
        raise failure("build() fails", problem, code=3) from problem
    if not (isinstance(result, tuple) and len(result) == 2 and isinstance(result[1], dict)):
        raise ExportError("build() must return (module, {name of an input: example tensor})")
    module, inputs = result
    if isinstance(module, torch.jit.ScriptModule):
        raise unsupported("the module is compiled by TorchScript, which cannot be traced", "return the Python module that it was made from")
    if not isinstance(module, torch.nn.Module):
        raise ExportError(f"build() returns a {type(module).__name__} instead of a torch.nn.Module")
    calls.check_inputs(inputs)
    return module, calls.apart(inputs)


def trace(call: calls.Call, inputs: dict[str, torch.Tensor], opset: int, known: functions.Study | None, changed: watch.Numbers,
          grown: watch.Containers) -> tuple[torch.export.ExportedProgram, torch.onnx.ONNXProgram, list[str]]:
    """The module as a program and as ONNX, not optimized; labels and ids keep the names in `inputs`. Its last outputs are the
    new values of the buffers named in the last result."""
    values = tuple(inputs.values())
    program, updated = rewrite.functional(captured(call, values, known))

    def capture(other: dict[str, torch.Tensor], steps: int = 0) -> torch.export.ExportedProgram:
        with watch.moved(call.module, changed, steps):
            return rewrite.functional(captured(call, tuple(other.values()), known))[0]

    if changed and sizes.differ(program, capture(inputs, 1000)):
        attributes = ", ".join(".".join(filter(None, key)) for key in changed)
        raise unsupported(f"forward computes with numbers that it changes itself, which the graph would fix: {attributes}",
                          "keep them in buffers (register_buffer), which the file holds")
    if grown:
        empty = watch.put_containers(call.module, grown)
        other = capture(inputs)
        watch.put_containers(call.module, empty)
        if sizes.differ(program, other):
            raise unsupported("forward computes with what earlier calls left in the module: "
                              + ", ".join(".".join(filter(None, key)) for key in grown), "start from an empty list or dict in each call")
    facts = sizes.follow(program, inputs, capture)
    try:
        onnx_program = torch.onnx.export(program, values, dynamo=True, opset_version=opset, input_names=list(inputs),
                                         optimize=False, verbose=False, custom_translation_table=markers.TRANSLATIONS)
    except Exception as problem:  # whatever PyTorch's exporter raises
        raise failure("PyTorch's ONNX exporter fails", problem, program) from problem
    onnx_program.model.metadata_props.update(facts)
    return program, onnx_program, updated


def captured(call: calls.Call, values: tuple[torch.Tensor, ...], known: functions.Study | None) -> torch.export.ExportedProgram:
    """As it stands, else without autograd. That is right where forward itself does not switch gradients off: the exported program
    is compared with the module afterwards."""
    problems = []
    for change in (contextlib.nullcontext, torch.no_grad):
        try:
            with (change(), experts.dense(call.module), stand_ins.used(), watch.watched(), functions.traced(known),
                  contextlib.redirect_stderr(io.StringIO())):
                program = torch.export.export(call.module, values, strict=False)
        except ExportError:
            raise
        except Exception as problem:  # whatever forward and torch.export raise
            problems.append(problem)
            continue
        if problems:
            call.untraced = failure("PyTorch cannot trace forward", problems[0])
            note(call, "PyTorch cannot trace forward as it stands; it was traced under torch.no_grad()")
        note(call, experts.REMARK if experts.has_experts(call.module) else "")
        return program
    raise failure("PyTorch cannot trace forward", problems[0]) from problems[0]


def note(call: calls.Call, remark: str) -> None:
    if remark and remark not in call.remarks:
        call.remarks.append(remark)


def name_outputs(model: onnx_ir.Model, names: list[str], updated: list[str]) -> list[str]:
    """Returns the names. `updated` are the buffers whose new values the last outputs are; they are named after them, and the metadata say so."""
    count = len(model.graph.outputs) - len(updated)
    if len(names) != count:
        raise ExportError(f"forward returns {count} tensors, but the outputs are named {', '.join(names)}")
    for name in updated:
        names = [*names, f"{name}.updated"]
        model.metadata_props[UPDATE + names[-1]] = name
    for i, name in enumerate(names):
        output = model.graph.outputs[i]
        if output.is_graph_input() or output in model.graph.outputs[:i] or output.is_initializer():
            copy = onnx_ir.node("Identity", [output])
            model.graph.append(copy)
            model.graph.outputs[i] = output = copy.outputs[0]
        output.name = name
    return names


def mark_frozen(model: onnx_ir.Model, module: torch.nn.Module) -> None:
    """Says of each parameter that PyTorch does not train that it is not."""
    for name, parameter in module.named_parameters(remove_duplicate=False):
        if not parameter.requires_grad and name in model.graph.initializers:
            model.graph.initializers[name].metadata_props[TRAINABLE] = "false"


def report(error: ExportError) -> int:
    print(f"error: {error}", file=sys.stderr)
    if error.hint:
        print(f"hint: {error.hint}", file=sys.stderr)
    return error.code


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", nargs="?", metavar="FILE.py[:NAME]", help="defines build() -> (module, inputs)")
    parser.add_argument("--hf", metavar="NAME_OR_FOLDER", help="a Hugging Face causal language model instead")
    parser.add_argument("-o", dest="output", type=pathlib.Path, required=True, metavar="model.onnx")
    parser.add_argument("--no-weights", action="store_true", help="shapes of the parameters only")
    parser.add_argument("--opset", type=int, default=18, choices=OPSETS, metavar="18..23")
    parser.add_argument("--outputs", nargs="+", metavar="NAME", help="names of the tensors that forward returns (default: loss logits, or their keys)")
    parser.add_argument("--batch", type=int, default=8, help="with --hf: samples of the example")
    parser.add_argument("--sequence", type=int, default=256, help="with --hf: tokens of a sample")
    parser.add_argument("--dropout", action="store_true", help="with --hf: keep the model's dropout")
    parser.add_argument("--overwrite", action="store_true", help="replace an older model.onnx and its proof")
    args = parser.parse_args()
    if (args.source is None) == (args.hf is None):
        parser.error("give either FILE.py or --hf NAME_OR_FOLDER")
    if args.batch < 1 or args.sequence < 1:
        parser.error("--batch and --sequence must be at least 1")
    warnings.filterwarnings("ignore")
    logging.disable(logging.WARNING)
    try:
        weights = not args.no_weights
        files.check_before(args.output, args.overwrite)
        build = (from_file(args.source) if args.source else
                 from_hugging_face(args.hf, weights, args.batch, args.sequence, args.dropout))
        args.output.parent.mkdir(parents=True, exist_ok=True)
        remarks = export(build, args.output, weights=weights, opset=args.opset, outputs=args.outputs, overwrite=args.overwrite)
    except OSError as error:
        return report(ExportError(f"{error.strerror or error}" + (f": {error.filename}" if error.filename else "")))
    except Exception as error:  # an error of this program is one line, too
        return report(failure("the export fails", error))
    for remark in remarks:
        print(f"note: {remark}", file=sys.stderr)
    print(f"{args.output}: {args.output.stat().st_size:,} bytes")
    return 0


if __name__ == "__main__":
    sys.exit(main())
