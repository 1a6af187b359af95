#!/usr/bin/env python3
"""llmc verify proves the sharding of models of full size, shrunk: verify_graphs.py [--slow] [NAME...]

Of each graph in LLMC_TEST_DATA/graphs one block is verified with smaller sizes, on simulated ranks in f64 and on executed ones. By
default two graphs; --slow: all.
"""
import argparse
import json
import pathlib
import re
import sys
import tempfile
import time

from support import DATA, LLMC, Report, run

DEFAULT = ["gpt2-1.5b", "llama-3-8b"]
MESHES = [{"dp": 2, "tp": 2}, {"tp": 4}]


def why_not(graph: pathlib.Path, mesh: dict, folder: pathlib.Path) -> str:
    recipe = {"mesh": mesh, "zero": 1 if "dp" in mesh else 0, "data": {"input_ids": "tokens", "labels": "tokens"}, "init": {"*": "normal(0.02)"},
              "batch": {"step": 2, "micro": 2}}
    (folder / "recipe.yaml").write_text(json.dumps(recipe))
    result = run(LLMC, "verify", graph, "-r", folder / "recipe.yaml", "--steps", 1)
    if result.returncode != 0:
        return result.stderr.strip().splitlines()[0] if result.stderr.strip() else f"exit code {result.returncode}"
    for line in ("a smaller model is verified:", "the ranks compute what one rank computes", "the executed ranks compute what one executed rank computes"):
        if line not in result.stdout:
            return f"it does not say: {line}"
    if not re.search(r"1 of \d+ equal blocks is kept", result.stdout) or not re.search(r"size \d+ becomes \d+", result.stdout):
        return "blocks or sizes are those of the whole model"
    return ""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--slow", action="store_true")
    parser.add_argument("names", nargs="*", metavar="NAME")
    options = parser.parse_args()
    if not DATA:
        print("skipped: full-size graphs (LLMC_TEST_DATA is not set)")
        return 0
    graphs = DATA / "graphs"
    names = options.names or (sorted(path.stem for path in graphs.glob("*.onnx")) if options.slow else DEFAULT)
    report = Report()
    with tempfile.TemporaryDirectory() as folder:
        for name in names:
            for mesh in MESHES:
                start = time.time()
                why = why_not(graphs / f"{name}.onnx", mesh, pathlib.Path(folder))
                report.add(f"{name} {' x '.join(axis + str(size) for axis, size in mesh.items())}", why, f"{time.time() - start:.1f} s")
    return report.code


if __name__ == "__main__":
    sys.exit(main())
