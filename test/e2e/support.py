"""What the end-to-end tests share: the tools, recipes of reference models, a count of failures."""
import importlib.machinery
import importlib.util
import json
import os
import pathlib
import subprocess

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
BUILD = pathlib.Path(os.environ.get("LLMC_BUILD", ROOT / "build" / "dev"))
LLMC, LLMC_RUN = BUILD / "bin" / "llmc", BUILD / "bin" / "llmc-run"
DATA = pathlib.Path(os.environ["LLMC_TEST_DATA"]) if os.environ.get("LLMC_TEST_DATA") else None
MLP = ROOT / "test" / "models" / "mlp"


def _parity():
    loader = importlib.machinery.SourceFileLoader("parity", str(ROOT / "scripts" / "parity"))
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader("parity", loader))
    loader.exec_module(module)
    return module


def recipe_of(model: pathlib.Path, micro: int | None = None) -> str:
    """The recorded recipe of a reference model, whole batches or micro-batches of `micro` samples."""
    expected = json.loads((model.parent / "expected.json").read_text())
    batch = next(iter(expected["inputs"].values()))["shape"][0]
    return _parity().recipe_of(expected, batch, micro or batch, False, "dynamic" in model.stem)


def run(*command, **options) -> subprocess.CompletedProcess:
    return subprocess.run([str(part) for part in command], capture_output=True, text=True, errors="replace", **options)


def must(*command, **options) -> subprocess.CompletedProcess:
    result = run(*command, **options)
    if result.returncode:
        raise RuntimeError(f"{' '.join(map(str, command))}\nexit code {result.returncode}: {result.stderr.strip()}")
    return result


class Report:
    """Prints one line per test; `code` is the exit code of the program."""

    def __init__(self):
        self.failed = 0

    def add(self, name: str, problem: str = "", detail: str = "") -> None:
        self.failed += bool(problem)
        print(f"{name:58} {'FAIL ' + problem if problem else 'ok'} {detail}".rstrip(), flush=True)

    @property
    def code(self) -> int:
        return 1 if self.failed else 0
