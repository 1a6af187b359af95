#!/usr/bin/env python3
"""Same plan, same data, same bits: determinism.py [--slow]

  kill     runs are killed with signal 9 at random moments, resumed until done: weights, optimizer state, scalars and metrics
           equal those of a run that nobody disturbed, bit for bit
  threads  1, 2 and 4 threads give the same weights and optimizer state
  compile  the same model compiled again, with one core, and from another folder under another path, is the same plan
  levels   printing a level and reading it back changes no byte of the plan

Needs LLMC_TEST_DATA for all but the model in test/models. The moments are random, but the same each time.
"""
import argparse
import json
import pathlib
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time

from support import DATA, LLMC, LLMC_RUN, MLP, Report, must, recipe_of

LEVELS = ["imported", "model", "step", "sharded", "scheduled", "local", "kernels", "plan"]


def compile_plan(model: pathlib.Path, recipe: str, plan: pathlib.Path) -> None:
    plan.with_suffix(".yaml").write_text(recipe)
    must(LLMC, "compile", model, "-r", plan.with_suffix(".yaml"), "-o", plan)


def training(plan: pathlib.Path, model: pathlib.Path, folder: pathlib.Path, steps: int, *more) -> list[str]:
    return [str(part) for part in (LLMC_RUN, plan, "--model-folder", model.parent, "--data", model.parent / "batches.safetensors", "--steps", steps,
                                   "--checkpoint", folder / "checkpoints", *more)]


def final_state(folder: pathlib.Path) -> dict:
    """The newest checkpoint as bytes, its scalars, and the numbers of each step."""
    newest = sorted((folder / "checkpoints").glob("step-*"))[-1]
    state = {name: (newest / name).read_bytes() for name in ("model.safetensors", "optimizer.safetensors")}
    state["scalars"] = json.loads((newest / "manifest.json").read_text())["scalars"]
    metrics = folder / "metrics.jsonl"
    if metrics.exists():
        rows = [json.loads(line) for line in metrics.read_text().splitlines()]
        state["metrics"] = [[row[key] for key in ("step", "loss", "grad_norm", "lr")] for row in rows]
    return state


def difference(ours: dict, expected: dict) -> str:
    return ", ".join(f"{key} differs" for key in expected if ours[key] != expected[key])


def kill_at(command: list[str], seconds: float) -> bool:
    """True if the run was killed, false if it was done before."""
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    try:
        _, errors = process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGKILL)
        process.communicate()
        return True
    if process.returncode:
        raise RuntimeError(f"a resumed run failed: {errors.decode(errors='replace').strip()}")
    return False


def kill(report: Report, model: pathlib.Path, recipe: str, steps: int, kills: int) -> None:
    chance = random.Random(f"{model.parent.name} {kills}")
    with tempfile.TemporaryDirectory() as temporary:
        root = pathlib.Path(temporary)
        plan, undisturbed = root / "m.plan", root / "undisturbed"
        compile_plan(model, recipe, plan)
        undisturbed.mkdir()
        begin = time.monotonic()
        must(*training(plan, model, undisturbed, steps, "--checkpoint-every", 1, "--metrics", undisturbed / "metrics.jsonl"))
        duration = time.monotonic() - begin
        expected = final_state(undisturbed)
        done, whole, problem = 0, 0, ""
        while done < kills and not problem:
            folder = root / f"run{whole}"
            folder.mkdir()
            every = 1 + whole % 3
            command = training(plan, model, folder, steps, "--checkpoint-every", every, "--metrics", folder / "metrics.jsonl", "--resume")
            attempts = 0
            while done < kills and attempts < 30 and kill_at(command, chance.uniform(0, duration)):
                done, attempts = done + 1, attempts + 1
            must(*command)
            problem = difference(final_state(folder), expected)
            shutil.rmtree(folder)
            whole += 1
        report.add(f"kill: {model.parent.name}", problem, f"{done} kills in {whole} runs of {steps} steps")


def threads(report: Report, model: pathlib.Path, recipe: str, what: str) -> None:
    with tempfile.TemporaryDirectory() as temporary:
        root = pathlib.Path(temporary)
        plan, states = root / "m.plan", []
        compile_plan(model, recipe, plan)
        for count in (1, 2, 4):
            folder = root / str(count)
            must(*training(plan, model, folder, 5, "--threads", count, "--metrics", root / "metrics.jsonl", "--overwrite"))
            states.append(final_state(folder) | {"metrics": (root / "metrics.jsonl").read_text().count("\n")})
        problems = [f"{count} threads: {difference(state, states[0])}" for count, state in zip((2, 4), states[1:]) if difference(state, states[0])]
        report.add(f"threads: {what}", "; ".join(problems))


def compile_again(report: Report, model: pathlib.Path, recipe: str) -> None:
    with tempfile.TemporaryDirectory() as temporary:
        root = pathlib.Path(temporary)
        (root / "r.yaml").write_text(recipe)
        elsewhere = root / "elsewhere"
        elsewhere.mkdir()
        for file in model.parent.glob("model*"):
            shutil.copy(file, elsewhere / file.name)
        must(LLMC, "compile", model, "-r", root / "r.yaml", "-o", root / "first.plan")
        runs = {"again": ([LLMC, "compile", model, "-r", root / "r.yaml"], None),
                "with one core": (["taskset", "-c", "0", LLMC, "compile", model, "-r", root / "r.yaml"], None),
                "from another folder": ([LLMC, "compile", model.name, "-r", "../r.yaml"], elsewhere)}
        problems = []
        for name, (command, folder) in runs.items():
            must(*command, "-o", root / "other.plan", cwd=folder)
            if (root / "other.plan").read_bytes() != (root / "first.plan").read_bytes():
                problems.append(f"another plan {name}")
        report.add(f"compile: {model.parent.name}/{model.name}", ", ".join(problems))


def levels(report: Report, model: pathlib.Path, recipe: str, which: list[str]) -> None:
    with tempfile.TemporaryDirectory() as temporary:
        root = pathlib.Path(temporary)
        compile_plan(model, recipe, root / "m.plan")
        problems = []
        for level in which:
            ir, plan = root / f"{level}.mlir", root / "from.plan"
            must(LLMC, "compile", model, "-r", root / "m.yaml", "--stop-after", level, "-o", ir)
            must(LLMC, "compile", ir, "--start-from", level, "--model-folder", model.parent, "-o", plan)
            if plan.read_bytes() != (root / "m.plan").read_bytes():
                problems.append(level)
        report.add(f"levels: {model.parent.name}/{model.name}", f"another plan from {', '.join(problems)}" if problems else "")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--slow", action="store_true", help="more kills, more models")
    parser.add_argument("--only", choices=["kill", "threads", "compile", "levels"])
    args = parser.parse_args()
    report, slow = Report(), args.slow
    wanted = lambda name: args.only in (None, name)
    mlp, mlp_recipe = MLP / "model.onnx", (MLP / "recipe.yaml").read_text()
    if wanted("kill"):
        kill(report, mlp, mlp_recipe, 20, 50 if slow else 5)
    if wanted("threads"):
        threads(report, mlp, mlp_recipe, "mlp, accumulated")
    if wanted("compile"):
        compile_again(report, mlp, mlp_recipe)
    if wanted("levels"):
        levels(report, mlp, mlp_recipe, LEVELS)
    if not DATA:
        print("skipped: determinism of the reference models (LLMC_TEST_DATA is not set)")
        return report.code
    model = lambda name, file="model.onnx": DATA / "models" / name / file
    if wanted("kill"):
        kill(report, model("gpt2-plain"), recipe_of(model("gpt2-plain")), 12, 50 if slow else 5)
    if wanted("threads"):
        for name in ("gpt2-plain", "llama", "gpt2-odd"):
            threads(report, model(name), recipe_of(model(name)), name)
        threads(report, model("llama"), recipe_of(model("llama"), 2), "llama, accumulated")
        threads(report, model("gpt2", "model_dropout.onnx"), recipe_of(model("gpt2", "model_dropout.onnx"), 2), "gpt2 with dropout, accumulated")
    files = [model(name, file) for name in ("gpt2-plain", "llama", "gpt2") for file in ("model.onnx", "model_opset23.onnx")]
    if wanted("compile"):
        for file in files if slow else files[:1]:
            compile_again(report, file, recipe_of(file))
    if wanted("levels"):
        for file in files:
            levels(report, file, recipe_of(file, 2), LEVELS if slow else ["model", "step", "kernels", "plan"])
    return report.code


if __name__ == "__main__":
    sys.exit(main())
