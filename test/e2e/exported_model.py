#!/usr/bin/env python3
"""ONNX Runtime computes with an exported model what the plan's prediction computes: exported_model.py BUILD_FOLDER

Trains the quickstart's model for a few steps on this file's text, exports it, and compares the logits of a prompt, which must
agree within 1e-4 of the largest. Needs onnxruntime, numpy and safetensors (scripts/setup --torch).
"""
import pathlib
import subprocess
import sys
import tempfile

import numpy as np
import onnxruntime
from safetensors.numpy import load_file

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
TOLERANCE = 1e-4


def main() -> int:
    tools = pathlib.Path(sys.argv[1]) / "bin"
    model = ROOT / "examples/quickstart/model.onnx"
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        plan, checkpoints, trained = folder / "m.plan", folder / "checkpoints", folder / "trained.onnx"

        def run(*command):
            subprocess.run([str(part) for part in command], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)

        run(tools / "llmc", "compile", model, "-r", ROOT / "examples/quickstart/recipe.yaml", "-o", plan)
        run(tools / "llmc-run", plan, "--data", f"{__file__}:bytes", "--steps", "30", "--checkpoint", checkpoints)
        run(tools / "llmc", "export", checkpoints, "--model", model, "-o", trained)
        session = onnxruntime.InferenceSession(trained, providers=["CPUExecutionProvider"])
        batch, length = session.get_inputs()[0].shape
        prompt = pathlib.Path(__file__).read_bytes()[:length]
        run(tools / "llmc-run", plan, "--checkpoint", checkpoints, "--resume", "--prompt", prompt.decode(), "--save-logits",
            folder / "logits.safetensors")
        ours = load_file(folder / "logits.safetensors")["logits"]
        ids = np.tile(np.frombuffer(prompt, np.uint8).astype(np.int64), (batch, 1))
        theirs = session.run(["logits"], {"input_ids": ids, "labels": ids})[0][0]
    difference = float(np.abs(ours - theirs).max() / np.abs(theirs).max())
    print(f"exported quickstart model in ONNX Runtime: logits differ by {difference:.1e} of the largest (allowed {TOLERANCE:.0e})")
    return 0 if difference <= TOLERANCE else 1


if __name__ == "__main__":
    try:
        sys.exit(main())
    except subprocess.CalledProcessError as error:
        sys.exit(f"{error.cmd[0]} failed:\n{error.stderr.decode()}")
