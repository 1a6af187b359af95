#!/usr/bin/env python3
"""Bytes of parameters, gradients and optimizer state of a rank are those of ZeRO: zero_memory.py [--graphs DIR] [MODEL...]

Rajbhandari et al. 2020, in f32 without accumulation over micro-batches, with P parameters and n data ranks:
  stage 0  16 P        1  8 P + 8 P / n        2  4 P + 12 P / n        3  16 P / n
Each row compiles a model for n ranks. It is ok if all bytes beyond the formula are padding that the plan itemises, at most 1 %
of them. Needs LLMC_TEST_DATA, or the folder of graphs.
"""
import argparse
import json
import pathlib
import sys
import tempfile

from support import DATA, LLMC, must

RANKS = [1, 2, 4, 8, 64, 1024]
ROUNDING = 8192  # bytes: the padding of each of some thousand tensors is rounded down
KINDS = ["parameter", "gradient", "optimizer"]


def formula(parameters: int, n: int, zero: int) -> float:
    whole, cut = {0: (16, 0), 1: (8, 8), 2: (4, 12), 3: (0, 16)}[zero]
    return parameters * (whole + cut / n)


def figures_of(model: pathlib.Path, n: int, zero: int, folder: pathlib.Path) -> dict:
    recipe = {"data": {"input_ids": "tokens", "labels": "tokens"}, "init": {"*": "normal(0.02)"}, "batch": {"step": n, "micro": n}, **({"mesh": {"dp": n}, "zero": zero} if n > 1 else {})}
    (folder / "recipe.yaml").write_text(json.dumps(recipe))
    return json.loads(must(LLMC, "plan", model, "-r", folder / "recipe.yaml", "--json").stdout)


def row(model: pathlib.Path, n: int, zero: int, parameters: int, figures: dict) -> bool:
    held = sum(figures["state"].get(kind, 0) for kind in KINDS)
    padding = sum(figures["padding"].get(kind, 0) for kind in KINDS)
    expected = formula(parameters, n, zero)
    ok = 0 <= held - padding - expected < ROUNDING and padding <= 0.01 * held
    print(f"{model.stem:<14} {n:>5} {zero:>4} {held:>18,} {expected:>20,.1f} {padding:>12,} {100 * padding / held:>7.3f} %  {'ok' if ok else 'FAIL'}", flush=True)
    return ok


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", default=["gpt2-124m"], help="a file, or a name in the folder of graphs")
    parser.add_argument("--graphs", type=pathlib.Path, default=DATA / "graphs" if DATA else None)
    parser.add_argument("--ranks", default=",".join(map(str, RANKS)))
    options = parser.parse_args()
    models = [pathlib.Path(name) if name.endswith(".onnx") else options.graphs and options.graphs / f"{name}.onnx" for name in options.models]
    if any(not model or not model.exists() for model in models):
        print("skipped: no graphs; LLMC_TEST_DATA names the folder that has them")
        return 0
    failed = 0
    print(f"{'model':<14} {'n':>5} {'zero':>4} {'bytes':>18} {'formula':>20} {'padding':>12} {'':>9}")
    with tempfile.TemporaryDirectory() as temporary:
        for model in models:
            single = figures_of(model, 1, 0, pathlib.Path(temporary))
            parameters = single["state"]["parameter"] // 4
            failed += not row(model, 1, 0, parameters, single)
            for n in (n for n in map(int, options.ranks.split(",")) if n > 1):
                for zero in range(4):
                    failed += not row(model, n, zero, parameters, figures_of(model, n, zero, pathlib.Path(temporary)))
    print(f"{failed} rows fell short" if failed else "all rows hold")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
