#!/usr/bin/env python3
"""ONNX files that Python packages ship: real_files.py [FOLDER...]

FOLDERs hold unpacked packages (pip download --no-deps magika rapidocr-onnxruntime silero-vad, then unzip each wheel); by default
the folders of this Python's packages are searched. Three models train 3 steps on made-up data and labels, and the plan's losses are
the interpreter's. Every other file is checked: it imports, or is refused for an operator by name, not for its operator set.
Files that are not there are skipped, and said so.
"""
import json
import pathlib
import re
import site
import sys
import tempfile

import numpy as np
from safetensors.numpy import save_file

from support import LLMC, LLMC_RUN, Report, must, run

STEPS, TOLERANCE = 3, 1e-5
MAGIKA, CLASSIFIER, RECOGNIZER = "standard_v3_*/model.onnx", "ch_ppocr_mobile_v2.0_cls_infer.onnx", "ch_PP-OCRv*_rec_infer.onnx"


def bytes_of(random: np.random.Generator) -> dict:
    return {"bytes": random.integers(0, 256, (2, 2048)).astype(np.int32), "labels": random.integers(0, 214, 2)}


def image(width: int, labels: tuple, classes: int):
    return lambda random: {"x": random.normal(size=(2, 3, 48, width)).astype(np.float32), "labels": random.integers(0, classes, labels)}


# pattern of the file -> output with the scores, sizes of open dimensions, data of one step
TRAINED = {
    MAGIKA: ("target_label", {}, bytes_of),
    CLASSIFIER: ("save_infer_model/scale_0.tmp_1", {"x.2": 48, "x.3": 192}, image(192, (2,), 2)),
    RECOGNIZER: ("softmax_11.tmp_0", {"x.2": 48, "p2o.DynamicDimension.1": 64}, image(64, (2, 8), 6625)),
}


def losses_of(text: str) -> list[float]:
    return [float(value) for value in re.findall(r"loss:\s+([-\d.]+)", text)]


def train(model: pathlib.Path, scores: str, shapes: dict, data, folder: pathlib.Path) -> str:
    """The problem, empty if the plan trains as the interpreter does."""
    random = np.random.default_rng(1)
    save_file({f"{name}.{k}": value for k in range(STEPS) for name, value in data(random).items()}, folder / "data.safetensors")
    inputs = data(random).keys()
    recipe = {"loss": {"cross_entropy": {"logits": scores, "labels": "labels"}}, "shapes": shapes, "data": {name: name for name in inputs},
              "batch": {"step": 2, "micro": 2}, "optimizer": {"sgd": {"lr": 0.01}}}
    (folder / "recipe.yaml").write_text(json.dumps(recipe))
    must(LLMC, "compile", model, "-r", folder / "recipe.yaml", "-o", folder / "m.plan")
    must(LLMC_RUN, folder / "m.plan", "--model-folder", model.parent, "--data", folder / "data.safetensors", "--steps", STEPS,
         "--metrics", folder / "metrics.jsonl")
    ours = [json.loads(line)["loss"] for line in (folder / "metrics.jsonl").read_text().splitlines()]
    (folder / "metrics.jsonl").unlink()
    expected = losses_of(must(LLMC, "interpret", model, "-r", folder / "recipe.yaml", "--data", folder / "data.safetensors", "--steps", STEPS).stdout)
    if len(ours) != STEPS or len(expected) != STEPS:
        return f"{len(ours)} and {len(expected)} losses instead of {STEPS}"
    worst = max(abs(a - b) / max(abs(b), 1e-12) for a, b in zip(ours, expected))
    return "" if worst < TOLERANCE else f"losses {ours}, the interpreter's {expected}"


def check(model: pathlib.Path) -> str:
    """The problem, empty if the file imports or is refused for an operator."""
    result = run(LLMC, "check", model)
    named = "not supported\n  " in result.stderr and "operator set" not in result.stderr
    return "" if result.returncode == 0 or (result.returncode == 4 and named) else f"exit {result.returncode}: {result.stderr.strip()[:200]}"


def main() -> int:
    roots = [pathlib.Path(name) for name in sys.argv[1:]] or [pathlib.Path(name) for name in site.getsitepackages()]
    files = sorted({file for root in roots for file in root.rglob("*.onnx") if "onnx/backend" not in str(file)})
    report = Report()
    with tempfile.TemporaryDirectory() as temporary:
        for pattern, (scores, shapes, data) in TRAINED.items():
            found = [file for file in files if file.match(pattern)]
            if not found:
                print(f"skipped: {pattern} is in none of {', '.join(map(str, roots))}")
            for file in found:
                report.add(f"{file.name} trains as the interpreter does", train(file, scores, shapes, data, pathlib.Path(temporary)))
    for file in files:
        if not any(file.match(pattern) for pattern in TRAINED):
            report.add(f"{file.name} imports, or an operator is named", check(file))
    return report.code


if __name__ == "__main__":
    sys.exit(main())
