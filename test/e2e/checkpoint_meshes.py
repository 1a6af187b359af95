#!/usr/bin/env python3
"""Checkpoints move between meshes: checkpoint_meshes.py [--slow]

A reference model trains 3 steps under one configuration of ranks and goes on for 5 steps under another. For each pair
  - weights, optimizer state and scalars are the same, bit for bit: the checkpoint, and the one that the other ranks write
    when they have loaded it and done nothing, are both written once more by one rank, which holds everything whole;
  - the 5 losses are those of the run that was not moved, within 1e-5 relative.
Each configuration with itself and a few others; all 64 pairs with --slow. Needs LLMC_TEST_DATA.
"""
import argparse
import json
import math
import pathlib
import shutil
import sys
import tempfile
import time

from support import DATA, LLMC, LLMC_RUN, Report, must, recipe_of

CONFIGURATIONS = {
    "one": ({}, 0),
    "dp2 zero1": ({"dp": 2}, 1),
    "dp4 zero3": ({"dp": 4}, 3),
    "tp2": ({"tp": 2}, 0),
    "tp4": ({"tp": 4}, 0),
    "dp2 tp2 zero2": ({"dp": 2, "tp": 2}, 2),
    "dp_replicate2 dp2 zero1": ({"dp_replicate": 2, "dp": 2}, 1),
    "dp2 tp2 zero3": ({"dp": 2, "tp": 2}, 3),
}
QUICK = [("one", "dp4 zero3"), ("dp4 zero3", "tp4"), ("tp4", "dp2 tp2 zero3"), ("dp2 tp2 zero3", "dp2 zero1"), ("dp2 tp2 zero2", "one")]
SAVED, MORE, LOSS = 3, 5, 1e-5


class Setup:
    """A plan of one configuration."""

    def __init__(self, name: str, model: pathlib.Path, root: pathlib.Path):
        self.name, self.model = name, model
        mesh, zero = CONFIGURATIONS[name]
        self.ranks = math.prod(mesh.values())
        self.plan = root / f"{name.replace(' ', '-')}.plan"
        recipe = json.loads(recipe_of(model)) | ({"mesh": mesh, "zero": zero} if mesh else {})
        self.plan.with_suffix(".yaml").write_text(json.dumps(recipe))
        must(LLMC, "compile", model, "-r", self.plan.with_suffix(".yaml"), "-o", self.plan)

    def train(self, checkpoints: pathlib.Path, steps: int, *more) -> list[float]:
        """The losses of the steps it ran."""
        metrics = checkpoints.with_suffix(".jsonl")
        metrics.unlink(missing_ok=True)
        ranks = ["--ranks", self.ranks] if self.ranks > 1 else []
        must(LLMC_RUN, self.plan, "--model-folder", self.model.parent, "--data", self.model.parent / "batches.safetensors", "--steps", steps,
             "--checkpoint", checkpoints, "--metrics", metrics, *ranks, *more, timeout=300)
        return [json.loads(line)["loss"] for line in metrics.read_text().splitlines()]


def whole(one: Setup, checkpoints: pathlib.Path) -> dict:
    """The bytes of the checkpoint of step 3 as one rank holds it. Leaves `checkpoints` as they are."""
    copy = checkpoints.with_name(checkpoints.name + "-whole")
    shutil.copytree(checkpoints, copy)
    one.train(copy, SAVED, "--resume")
    folder = copy / f"step-{SAVED:08}"
    state = {name: (folder / name).read_bytes() for name in ("model.safetensors", "optimizer.safetensors")}
    state["scalars"] = json.loads((folder / "manifest.json").read_text())["scalars"]
    shutil.rmtree(copy)
    return state


def plan_of(checkpoints: pathlib.Path) -> str:
    return json.loads((checkpoints / f"step-{SAVED:08}" / "manifest.json").read_text())["plan"]


def move(source: Setup, target: Setup, one: Setup, root: pathlib.Path, expected: dict, losses: list[float]) -> tuple[str, str]:
    """What is wrong, and the largest relative difference of a loss. `losses`: of the run that was not moved."""
    folder = root / "moved"
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(root / "source", folder)
    before = plan_of(folder)
    target.train(folder, SAVED, "--resume")
    if source is not target and plan_of(folder) == before:
        return "the checkpoint was not written again", ""
    state = whole(one, folder)
    wrong = [key for key in expected if state[key] != expected[key]]
    moved = target.train(folder, SAVED + MORE, "--resume")
    if len(moved) != MORE:
        return f"{len(moved)} steps after the move", ""
    worst = max(abs(a - b) / abs(b) for a, b in zip(moved, losses))
    problems = [f"{key} differs" for key in wrong] + ([f"losses differ by {worst:.1e}"] if not worst <= LOSS else [])
    return ", ".join(problems), f"{worst:.1e}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--slow", action="store_true", help="all pairs")
    args = parser.parse_args()
    if not DATA:
        print("skipped: checkpoints between meshes (LLMC_TEST_DATA is not set)")
        return 0
    report, begin = Report(), time.monotonic()
    pairs = [(a, b) for a in CONFIGURATIONS for b in CONFIGURATIONS] if args.slow else QUICK
    with tempfile.TemporaryDirectory() as temporary:
        root, model = pathlib.Path(temporary), DATA / "models" / "gpt2" / "model.onnx"
        setups = {name: Setup(name, model, root) for name in CONFIGURATIONS if name == "one" or any(name in pair for pair in pairs)}
        one = setups["one"]
        for name in dict.fromkeys(source for source, _ in pairs):
            shutil.rmtree(root / "source", ignore_errors=True)
            setups[name].train(root / "source", SAVED)
            expected = whole(one, root / "source")
            losses = setups[name].train(root / "undisturbed", SAVED + MORE)[SAVED:]
            shutil.rmtree(root / "undisturbed")
            for target in [b for a, b in pairs if a == name]:
                problem, worst = move(setups[name], setups[target], one, root, expected, losses)
                report.add(f"{name} -> {target}", problem, worst)
    print(f"{len(pairs)} pairs, {report.failed} failed, {time.monotonic() - begin:.0f} s")
    return report.code


if __name__ == "__main__":
    sys.exit(main())
