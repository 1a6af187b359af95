"""What belongs to the user stays: no export writes over a file that it reads, or over one that it was not asked to replace."""
import pathlib
import sys

from safetensors import safe_open

from . import proof
from .errors import ExportError

OTHERS = {".py", ".ipynb", ".safetensors", ".pt", ".pth", ".bin", ".ckpt", ".npz", ".npy", ".json", ".yaml", ".yml"}
_read: set[pathlib.Path] = set()
_watching, _installed = False, False


def _hook(event: str, arguments: tuple) -> None:
    """Notes each file that Python opens; those that native code opens are known by what they are."""
    if _watching and event == "open" and isinstance(arguments[0], (str, bytes, pathlib.PurePath)):
        mode = arguments[1]
        if mode is None or "r" in mode and "+" not in mode:
            try:
                name = arguments[0].decode() if isinstance(arguments[0], bytes) else arguments[0]
                _read.add(pathlib.Path(name).absolute())
            except (UnicodeDecodeError, ValueError):
                pass


def watch() -> None:
    """From here on, files that are read are remembered."""
    global _watching, _installed
    if not _installed:
        sys.addaudithook(_hook)  # for as long as Python runs
    _watching = _installed = True


def forget() -> None:
    """The end of an export."""
    global _watching
    _watching = False
    _read.clear()


def wrong_use(message: str, hint: str) -> ExportError:
    return ExportError(message, hint, code=2)


def is_proof(path: pathlib.Path) -> bool:
    try:
        with safe_open(path, "pt") as file:
            return "0.loss" in file.keys()
    except Exception:  # whatever it is, it is no proof
        return False


def written(path: pathlib.Path) -> list[pathlib.Path]:
    return [path, path.with_name(f"{path.name}.data"), proof.path_of(path)]


def check_before(path: pathlib.Path, overwrite: bool) -> None:
    """Before anything is computed: the output may be written."""
    if path.is_dir():
        raise wrong_use(f"the output {path} is a folder", "name a file, such as model.onnx")
    if path.suffix in OTHERS:
        raise wrong_use(f"the output {path} would be an ONNX file under the name of another kind", "name it model.onnx, for example")
    if path.exists() and not overwrite:
        raise wrong_use(f"the output {path} exists", "name another file, or replace this one and its proof with --overwrite")
    if proof.path_of(path).exists() and not is_proof(proof.path_of(path)):
        raise wrong_use(f"{proof.path_of(path)}, where the proof of this model would be written, is no proof of an earlier export",
                        "name another output, or move that file")


def check_read(path: pathlib.Path) -> None:
    """Before anything is written: it is nothing that was read to build the model."""
    read = {str(file.resolve()) for file in _read if file.exists()}
    for output in written(path):
        if output.exists() and str(output.resolve()) in read:
            raise wrong_use(f"the output {output} is a file that the model was built from", "name another output")
