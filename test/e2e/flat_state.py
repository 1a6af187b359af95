#!/usr/bin/env python3
"""State that data ranks do not divide: flat_state.py

Five data ranks divide no dimension of gpt2-odd. For each stage of ZeRO, with and without tensor ranks:
  trains   losses are one rank's, within 1e-6
  resumes  its checkpoint continues on other meshes as if nothing had happened, within 1e-6
Needs LLMC_TEST_DATA.
"""
import json
import math
import pathlib
import shutil
import sys
import tempfile

import numpy
from safetensors.numpy import save_file

from support import DATA, LLMC, LLMC_RUN, Report, must

SAMPLES, STEPS, LIMIT = 10, 3, 1e-6
OTHERS = [({}, 0), ({"dp": 2}, 3), ({"dp": 5}, 1), ({"dp": 5, "tp": 2}, 3)]


class Runs:
    def __init__(self, model: pathlib.Path, folder: pathlib.Path):
        self.model, self.folder = model, folder
        ids = numpy.random.default_rng(0).integers(0, 257, (2 * STEPS, SAMPLES, 31))
        save_file({f"{name}.{k}": ids[k] for name in ("input_ids", "labels") for k in range(2 * STEPS)}, folder / "data.safetensors")

    def losses(self, mesh: dict, zero: int, steps: int, checkpoint: pathlib.Path, *more) -> list[float]:
        recipe = {"loss": "loss", "data": {"input_ids": "input_ids", "labels": "labels"}, "batch": {"step": SAMPLES, "micro": SAMPLES},
                  "optimizer": {"adamw": {"lr": 0.003, "weight_decay": 0.1}}, "clip_grad_norm": 1.0, **({"mesh": mesh, "zero": zero} if mesh else {})}
        (self.folder / "recipe.yaml").write_text(json.dumps(recipe))
        plan, metrics = self.folder / "m.plan", self.folder / "metrics.jsonl"
        metrics.unlink(missing_ok=True)
        must(LLMC, "compile", self.model, "-r", self.folder / "recipe.yaml", "-o", plan)
        must(LLMC_RUN, plan, "--model-folder", self.model.parent, "--data", self.folder / "data.safetensors", "--steps", steps, "--metrics",
             metrics, "--checkpoint", checkpoint, *more, *(["--ranks", math.prod(mesh.values())] if mesh else []))
        return [json.loads(line)["loss"] for line in metrics.read_text().splitlines()]


def problem_of(losses: list[float], expected: list[float]) -> str:
    worst = max(abs(a - b) / abs(b) for a, b in zip(losses, expected, strict=True))
    return "" if worst <= LIMIT else f"losses differ by {worst:.1e}"


def main() -> int:
    if not DATA:
        print("skipped: LLMC_TEST_DATA is not set")
        return 0
    report = Report()
    with tempfile.TemporaryDirectory() as temporary:
        root = pathlib.Path(temporary)
        runs = Runs(DATA / "models" / "gpt2-odd" / "model.onnx", root)
        one = runs.losses({}, 0, 2 * STEPS, root / "one")
        for mesh in ({"dp": 5}, {"dp": 5, "tp": 2}):
            for zero in (1, 2, 3):
                name = " x ".join(f"{axis}{size}" for axis, size in mesh.items()) + f", zero {zero}"
                checkpoint = root / name.replace(" ", "")
                report.add(f"{name} trains", problem_of(runs.losses(mesh, zero, STEPS, checkpoint), one[:STEPS]))
                for other, stage in OTHERS:
                    copy = root / "copy"
                    shutil.rmtree(copy, ignore_errors=True)
                    shutil.copytree(checkpoint, copy)
                    resumed = runs.losses(other, stage, 2 * STEPS, copy, "--resume")
                    report.add(f"{name} resumes on {other or 'one rank'}, zero {stage}", problem_of(resumed[-STEPS:], one[STEPS:]))
    return report.code


if __name__ == "__main__":
    sys.exit(main())
