"""The one error that export.py reports."""
import pathlib
import re
import traceback


class ExportError(Exception):
    """Something that the user can mend; `code` is the exit code, 3 for bad input and 4 for what is not supported."""

    def __init__(self, message: str, hint: str = "", code: int = 3):
        super().__init__(message)
        self.hint, self.code = hint, code


def unsupported(message: str, hint: str = "") -> ExportError:
    return ExportError(message, hint, code=4)


def place_of(trace_text: str) -> str:
    """The last line outside of PyTorch that a stack trace names, as file.py:12; "" if there is none."""
    frames = re.findall(r'File "([^"]+)", line (\d+)', trace_text)
    own = [(path, line) for path, line in frames
           if not re.search(r"[/\\](torch|onnxscript|onnx_ir|frontends[/\\]pytorch)[/\\]", path) and not path.startswith("<")]
    return f"{pathlib.PurePath(own[-1][0]).name}:{own[-1][1]}" if own else ""


def failure(what: str, problem: BaseException, program=None, code: int = 4) -> ExportError:
    """One line for whatever PyTorch raised: its cause, and the user's line or the operator where it is known."""
    if isinstance(problem, ExportError):
        return problem
    chain, current = [], problem
    while current is not None:
        chain.append(current)
        current = current.__cause__ or (None if current.__suppress_context__ else current.__context__)
    texts = [str(p) for p in chain]
    nodes = {node.name: node for node in program.graph.nodes} if program is not None else {}
    node = next((nodes.get(name) for text in texts for name in re.findall(r"translating node %(\w+)", text)), None)
    where = place_of(node.stack_trace or "") if node is not None else ""
    lacking = next((found for text in texts for found in re.findall(r"No ONNX function found for <OpOverload\(op='([\w.]+)'", text)), "")
    if lacking:
        return ExportError(f"PyTorch's ONNX exporter has no form of the operator {lacking}" + (f" [{where}]" if where else ""),
                           "write it with other operators", code=4)
    where = where or next((place for p in chain if (place := place_of("".join(traceback.format_tb(p.__traceback__))))), "")
    root = next((text for text in reversed(texts) if text.strip()), type(problem).__name__)
    line = " ".join(root.strip().splitlines()[0].split())[:300]
    if any("fake tensor in the exported program constant" in text for text in texts):
        return ExportError(f"{what}: it reads Tensor.data, or differentiates inside of itself (torch.autograd.grad)" + (f" [{where}]" if where else ""),
                           "write x.detach() instead of x.data", code)
    hint = ("a shape or a branch of forward depends on the values of tensors: give sizes as numbers, such as F.one_hot(x, num_classes), and "
            "choose with torch.where" if any("data-dependent" in text for text in texts) else "")
    return ExportError(f"{what}: {type(chain[-1]).__name__}: {line}" + (f" [{where}]" if where else ""), hint, code)
