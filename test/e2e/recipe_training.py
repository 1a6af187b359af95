#!/usr/bin/env python3
"""What a recipe adds to a graph without a loss trains as PyTorch: losses, optimizers with groups of weight decay, schedules.

The model is a linear layer of four samples. The numbers were computed with PyTorch 2 (torch.nn.functional, torch.optim); the
data has ties and kinks: a prediction equal to its target, differences equal to Huber's delta, a logit of zero.
"""
import json
import math
import pathlib
import sys
import tempfile

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from safetensors.numpy import load_file, save_file

from support import LLMC, LLMC_RUN, Report, must, run

W = np.array([[.5, -1], [.25, 2], [-1.5, 0]], np.float32)
X = np.array([[1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 1, 0]], np.float32)
REAL = np.array([[.5, -.5], [1, 0], [-1.25, 1], [-1, 1.5]], np.float32)
FAR = np.array([[.5, -.5], [1, 0], [-1.25, 1], [-1, 3]], np.float32)  # no gradient is near 0, where Adam is ill-conditioned
SHARE = np.array([[1, 0], [.25, 1], [0, 1], [1, 0]], np.float32)
IGNORED, LABELS = np.array([0, 1, 1, -100]), np.array([0, 1, 1, 0])

# name: recipe's loss, target, whether each sample counts, (loss, gradient of w, gradient of b)
LOSSES = {
    "mse": ("mse: {prediction: y, target: t}", REAL, True, (1.1484375, [0.4375, -0.25, 0.25, 0.375, -0.0625, -0.25], [0.1875, 0.0])),
    "l1": ("l1: {prediction: y, target: t}", REAL, True, (0.84375, [0.125, -0.25, 0.0, 0.0, -0.125, -0.125], [-0.125, -0.25])),
    "huber, delta 0.5": ("huber: {prediction: y, target: t, delta: 0.5}", REAL, True,
                         (0.31640625, [0.0625, -0.125, 0.0, 0.0, -0.03125, -0.0625], [-0.03125, -0.125])),
    "huber": ("huber: {prediction: y, target: t}", REAL, True, (0.4765625, [0.125, -0.125, 0.03125, 0.0625, -0.03125, -0.125], [0.0, -0.125])),
    "bce_with_logits": ("bce_with_logits: {logits: y, target: t}", SHARE, True,
                        (0.53404993, [-0.08729524, 0.125, -0.00108059, 0.07648195, 0.02280319, -0.0625], [-0.02546998, 0.04759963])),
    "l1 of a Softplus": ("l1: {prediction: softplus, target: t}", np.zeros((4, 2), np.float32), True,
                         (0.94811243, [0.16270477, 0.125, 0.1551694, 0.20148197, 0.02280319, 0.0625], [0.25578001, 0.29759964])),
    "cross_entropy": ("cross_entropy: {logits: y, labels: t}", IGNORED, False,
                      (0.18768363, [-0.06080852, 0.0608085, 0.04934907, -0.04934907, 0.0608085, -0.06080852], [0.04934905, -0.04934909])),
    "cross_entropy of a Softmax": ("cross_entropy: {probabilities: softmax, labels: t}", IGNORED, False,
                                   (0.18768363, [-0.06080852, 0.0608085, 0.04934907, -0.04934907, 0.0608085, -0.06080852], [0.04934905, -0.04934909])),
    "cross_entropy of probabilities": ("cross_entropy: {probabilities: sigmoid, labels: t}", LABELS, True,
                                       (0.42025581, [-0.1745905, 0.0, -0.08020533, -0.02980074, 0.0, -0.125], [-0.1745905, -0.15480074])),
    "cross_entropy of probabilities, ignored": ("cross_entropy: {probabilities: sigmoid, labels: t, ignore_index: 0}", LABELS, False,
                                                (0.41003764, [0.0, 0.0, 0.0, -0.05960148, 0.0, -0.25], [0.0, -0.30960149])),
}

# recipe's optimizer: parameters after four steps of the mean squared error against FAR
OPTIMIZERS = {
    'sgd: {lr: 0.1}':
        ([0.3454736, -0.7772691, 0.1677077, 1.9819505, -1.4736465, 0.0914953], [-0.0474194, 0.1096479]),
    'sgd: {lr: 0.1, weight_decay: 0.5}':
        ([0.272542, -0.6091906, 0.1341694, 1.6317427, -1.2075717, 0.0844227], [-0.0483673, 0.1231936]),
    'sgd: {lr: 0.1, weight_decay: 0.5, no_decay: []}':
        ([0.2723803, -0.6088539, 0.1340077, 1.6320795, -1.2076538, 0.0845934], [-0.0442144, 0.1139365]),
    'sgd: {lr: 0.1, weight_decay: 0.5, no_decay: [layer.w]}':
        ([0.3453096, -0.776934, 0.1675436, 1.9822857, -1.4737298, 0.0916652], [-0.0432794, 0.1008533]),
    'sgd: {lr: 0.1, weight_decay: 0.5, momentum: 0.9}':
        ([-0.0095553, -0.1211867, -0.0080235, 1.1683974, -0.8405933, 0.1895328], [-0.1057212, 0.2756381]),
    'sgd: {lr: 0.1, weight_decay: 0.5, momentum: 0.9, nesterov: true}':
        ([-0.0786333, 0.0421955, -0.0233754, 0.9664422, -0.6956529, 0.2186397], [-0.0888037, 0.3121128]),
    'adamw: {lr: 0.1, weight_decay: 0.5}':
        ([0.0589611, -0.4482854, -0.0759965, 1.3931731, -0.8973392, 0.3614792], [-0.1521575, 0.363436]),
    'adamw: {lr: 0.1, betas: [0.8, 0.99], eps: 1.0e-3, weight_decay: 0.5, no_decay: []}':
        ([0.070036, -0.4537304, -0.061581, 1.3960336, -0.9238561, 0.3528082], [-0.1143943, 0.3238896]),
    'adamw: {lr: 0.1, weight_decay: 0.5, no_decay: ["*.w"]}':
        ([0.1174306, -0.6048111, -0.0762869, 1.753854, -1.1050928, 0.3904254], [-0.1306154, 0.3159512]),
}

SCHEDULES = {  # of lr 0.1: the rates of eight steps
    "constant: {warmup_steps: 4}": [.025, .05, .075, .1, .1, .1, .1, .1],
    "linear: {warmup_steps: 2, total_steps: 6, min_lr: 0.02}": [.05, .1, .1, .08, .06, .04, .02, .02],
    "cosine: {warmup_steps: 2, total_steps: 6, min_lr: 0.02}": [.05, .1, .1, .02 + .04 * (1 + math.sqrt(.5)), .06, .02 + .04 * (1 - math.sqrt(.5)), .02, .02],
    "cosine: {total_steps: 4}": [.1, .05 * (1 + math.sqrt(.5)), .05, .05 * (1 - math.sqrt(.5)), 0, 0, 0, 0],
}


def write_model(path: pathlib.Path) -> None:
    nodes = [helper.make_node("Gemm", ["x", "layer.w", "layer.b"], ["y"], name="layer"), helper.make_node("Softmax", ["y"], ["softmax"], name="soft", axis=-1),
             helper.make_node("Sigmoid", ["y"], ["sigmoid"], name="sig"), helper.make_node("Softplus", ["y"], ["softplus"], name="plus")]
    outputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [4, 2]) for name in ("y", "softmax", "sigmoid", "softplus")]
    graph = helper.make_graph(nodes, "g", [helper.make_tensor_value_info("x", TensorProto.FLOAT, [4, 3])], outputs,
                              [numpy_helper.from_array(W, "layer.w"), numpy_helper.from_array(np.zeros(2, np.float32), "layer.b")])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10), path)


def recipe(loss: str, optimizer: str = "sgd: {lr: 0.1}", micro: int = 4, more: str = "") -> str:
    return f"loss: {{{loss}}}\ndata: {{x: x, t: t}}\nbatch: {{step: 4, micro: {micro}}}\noptimizer: {{{optimizer}}}\n{more}"


def train(folder: pathlib.Path, text: str, target: np.ndarray, steps: int, ranks: int = 1) -> tuple[list[dict], dict, dict]:
    """Metrics, gradients of the first step, parameters after the last."""
    (folder / "r.yaml").write_text(text)
    save_file({f"{name}.{k}": value for k in range(steps) for name, value in (("x", X), ("t", target))}, folder / "data.safetensors")
    must(LLMC, "compile", folder / "m.onnx", "-r", folder / "r.yaml", "-o", folder / "m.plan")
    for old in ("metrics.jsonl", "trained.safetensors"):
        (folder / old).unlink(missing_ok=True)
    with tempfile.TemporaryDirectory() as checkpoints:
        must(LLMC_RUN, folder / "m.plan", "--data", folder / "data.safetensors", "--steps", steps, "--metrics", folder / "metrics.jsonl", "--save-gradients",
             f"1:{folder / 'gradients.safetensors'}", "--checkpoint", checkpoints, *(["--ranks", ranks, "--log-folder", folder] if ranks > 1 else []))
        must(LLMC, "export", checkpoints, "--model", folder / "m.onnx", "-o", folder / "trained.safetensors")
    metrics = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return metrics, load_file(folder / "gradients.safetensors"), load_file(folder / "trained.safetensors")


def difference(found: np.ndarray, expected: list) -> float:
    return float(np.abs(found.ravel() - np.array(expected)).max())


def check_loss(report: Report, folder: pathlib.Path, name: str) -> None:
    loss, target, all_count, (value, w, b) = LOSSES[name]
    # Where not all count, no micro-batch or rank without a counted label.
    for micro, ranks in [(4, 1), (2, 1), (4, 2)] + ([(1, 1), (2, 2)] if all_count else []):
        metrics, gradients, _ = train(folder, recipe(loss, micro=micro, more=f"mesh: {{dp: {ranks}}}\n" if ranks > 1 else ""), target, 1, ranks)
        worst = max(abs(metrics[0]["loss"] - value), difference(gradients["layer.w"], w), difference(gradients["layer.b"], b))
        report.add(f"{name}, micro-batches of {micro}, {ranks} ranks", "" if worst < 1e-6 else f"{worst:.1e} off", f"{worst:.0e}")


def check_target_of_graph(report: Report, folder: pathlib.Path) -> None:
    """An input that the graph has is compared with, converted from integers, and not added again."""
    proto = onnx.load(folder / "m.onnx")
    proto.graph.input.append(helper.make_tensor_value_info("t", TensorProto.INT64, [4, 2]))
    onnx.save(proto, folder / "m.onnx")
    target = np.array([[1, 0], [0, 1], [0, 1], [1, 0]])
    metrics, _, _ = train(folder, recipe("bce_with_logits: {logits: y, target: t}"), target, 1)
    y = (X @ W).astype(np.float64)
    expected = float(np.mean(np.logaddexp(0, y) - y * target))
    report.add("a target of the graph's own", "" if abs(metrics[0]["loss"] - expected) < 1e-6 else f"{metrics[0]['loss']}, not {expected}")


def main() -> int:
    report = Report()
    with tempfile.TemporaryDirectory() as temporary:
        folder = pathlib.Path(temporary)
        write_model(folder / "m.onnx")
        for name in LOSSES:
            check_loss(report, folder, name)
        for optimizer, (w, b) in OPTIMIZERS.items():
            _, _, trained = train(folder, recipe(LOSSES["mse"][0], optimizer), FAR, 4)
            worst = max(difference(trained["layer.w"], w), difference(trained["layer.b"], b))
            report.add(optimizer, "" if worst < 2e-6 else f"{worst:.1e} off", f"{worst:.0e}")
        for schedule, rates in SCHEDULES.items():
            metrics, _, _ = train(folder, recipe(LOSSES["mse"][0], more=f"schedule: {{{schedule}}}\n"), REAL, len(rates))
            worst = difference(np.array([row["lr"] for row in metrics]), rates)
            report.add(schedule, "" if worst < 1e-8 else f"rates {[row['lr'] for row in metrics]}", f"{worst:.0e}")
        check_target_of_graph(report, folder)
    return report.code


if __name__ == "__main__":
    sys.exit(main())
