#!/usr/bin/env python3
"""No recipe with a mistake is accepted: valid recipes are changed in one place, in all kinds of ways, and compiled.

    recipe_mistakes.py [--cases N] [--seed N] [--case K]

Each must end with exit code 3, one error or more, the line of the recipe, and a hint. Case K is the same in each run.
"""
import argparse
import copy
import json
import pathlib
import random
import sys
import tempfile

from onnx import TensorProto, helper

from bad_input import LENGTH, ROWS, VOCABULARY, model
from support import LLMC, Report, must, run

FULL = {
    "loss": "loss", "loss_average": "tokens", "data": {"ids": "tokens", "labels": "tokens.next"}, "batch": {"step": 8, "micro": 4},
    "optimizer": {"adamw": {"lr": 0.001, "betas": [0.9, 0.95], "eps": 1e-8, "weight_decay": 0.1, "no_decay": ["embed"]}},
    "schedule": {"cosine": {"warmup_steps": 2, "total_steps": 10, "min_lr": 0.0001}}, "clip_grad_norm": 1.0, "precision": "fp32", "mesh": {"dp": 2, "tp": 1},
    "zero": 1, "memory": {"budget": "1GiB", "recompute": "cheap", "offload": "none"}, "communication": {"bucket": "1MiB"}, "trainable": ["head", "emb*"],
    "shuffle": False, "predict": "scores", "seed": 1, "sharding": {"head": [{}, "tp"]}}
ARRAYS = {
    "loss": {"cross_entropy": {"logits": "scores", "labels": "wanted", "ignore_index": -1}}, "data": {"ids": "ids", "labels": "x", "wanted": "w.next"}, "batch": 4,
    "optimizer": {"sgd": {"lr": 0.1, "momentum": 0.9, "nesterov": True, "weight_decay": 0.01, "no_decay": ["*"]}},
    "schedule": {"linear": {"warmup_steps": 1, "total_steps": 5, "min_lr": 0.01}}, "memory": {"recompute": "none"}, "trainable": ["*"], "seed": 0}
HUBER = {"loss": {"huber": {"prediction": "scores", "target": "wanted", "delta": 0.5}}, "data": {"ids": "ids", "labels": "labels", "wanted": "wanted"},
         "optimizer": {"adamw": {"lr": 0.01}}, "schedule": {"constant": {"warmup_steps": 3, "total_steps": 5}}}
BASES = [FULL, ARRAYS, HUBER]
FREE = {"data", "sharding"}  # mappings of the user's names


def write(recipe: dict) -> str:
    return "".join(f"{key}: {json.dumps(value)}\n" for key, value in recipe.items())


def leaves(value, path=()):
    """Paths of all values that are no mappings."""
    if isinstance(value, dict) and value:
        for key, inner in value.items():
            yield from leaves(inner, path + (key,))
    else:
        yield path


def keys(value, path=()):
    if isinstance(value, dict):
        for key, inner in value.items():
            yield path + (key,)
            yield from keys(inner, path + (key,))


def at(recipe: dict, path):
    for key in path:
        recipe = recipe[key]
    return recipe


def put(recipe: dict, path, value) -> dict:
    recipe = copy.deepcopy(recipe)
    at(recipe, path[:-1])[path[-1]] = value
    return recipe


def misspelled_key(rng, recipe):
    path = rng.choice([p for p in keys(recipe) if p[0] not in FREE or len(p) == 1])
    parent, key = at(recipe, path[:-1]), path[-1]
    while True:
        i = rng.randrange(len(key))
        wrong = rng.choice([key[:i] + key[i + 1:], key[:i] + key[i] + key[i:], key[:i] + "x" + key[i + 1:], key.upper(), key + "s", key.replace("_", "-"),
                            key[:i] + key[i + 1:i + 2] + key[i:i + 1] + key[i + 2:], "my_" + key])
        if wrong and wrong not in parent and wrong not in ("dp", "tp", "step", "loss"):
            break
    renamed = {wrong if k == key else k: v for k, v in parent.items()}
    return put(recipe, path[:-1], renamed) if len(path) > 1 else renamed, f"{path} as {wrong}"


def wrong_type(rng, recipe):
    path = rng.choice([p for p in leaves(recipe) if p != ("batch",)])
    value = at(recipe, path)
    if isinstance(value, bool):
        wrong = rng.choice([1, "yes", [True], "True", {"a": 1}])
    elif isinstance(value, (int, float)):
        wrong = rng.choice(["many", [value, value], {"a": 1}, True, str(value), "1,5", "0x10", "ten", ".nan", ".inf", "inf", "nan", "1e999"])
    elif isinstance(value, str):
        wrong = rng.choice([[value, value], {"a": "b"}, ""])
    else:
        wrong = rng.choice([{"a": 1}, 7 if path[0] == "sharding" or path[-1] == "betas" else {"b": []}])
    return put(recipe, path, wrong), f"{path} = {wrong!r}"


RANGES = {"lr": [-1, 1e30, 1e39, -1e-9], "betas": [[1.0, 0.9], [0.9, -0.1], [0.9], [0.9, 0.9, 0.9]], "eps": [0, -1e-8, 2, 1e-60], "weight_decay": [-0.1, 1e30],
          "momentum": [-0.1, 1.5], "warmup_steps": [-1, 2**62, 1.5, 1000], "total_steps": [0, -5, 2**62], "min_lr": [-1, 5.0], "clip_grad_norm": [0, -1, 1e40],
          "step": [0, -8, 2**40, 2**70, 7, 6], "micro": [0, 3, 2**40, 16, 1], "zero": [-1, 4, 1.0], "seed": [-1, 2**64, 0.5], "delta": [0, -1, 1e40],
          "ignore_index": [2**40, 0.5], "budget": ["0GiB", "-1GiB", "1e99GiB"], "bucket": ["-1MiB", "0.1B"], "dp": [0, -2, 3, 2**40], "tp": [0, -1, 2**40],
          "precision": ["bf16", "fp16", "fp8", "float32", "fp64", "int8"], "recompute": ["all", "auto ", "most", "yes"], "offload": ["host", "nvme", "cpu"],
          "loss_average": ["token", "samples", "mean"]}


def out_of_range(rng, recipe):
    path = rng.choice([p for p in leaves(recipe) if p[-1] in RANGES and not (p[-1] == "warmup_steps" and "constant" in p)])
    wrong = rng.choice(RANGES[path[-1]])
    return put(recipe, path, wrong), f"{path} = {wrong!r}"


def missing_unit(rng, recipe):
    path = rng.choice([("memory", "budget"), ("communication", "bucket")])
    wrong = rng.choice([24, "24", "24 gigs", "24G", "24gib", "GiB", 1000000])
    return put(FULL, path, wrong), f"{path} = {wrong!r}"


def duplicate_key(rng, recipe):
    path = rng.choice([p for p in keys(recipe)])
    if len(path) == 1:
        return write(recipe) + write({path[0]: recipe[path[0]]}), f"{path} twice"
    once = json.dumps(path[-1]) + ": " + json.dumps(at(recipe, path))
    text = write(recipe)
    assert once in text
    return text.replace(once, once + ", " + once, 1), f"{path} twice"


def glob_without_match(rng, recipe):
    wrong = rng.choice(["nothing.*", "*.LayerNorm.*", "Head", "heads", "embed.weight", "*.bias", "h?", " head", "head*s"])
    where = rng.choice(["trainable", "no_decay", "init", "sharding"])
    if where == "trainable":
        return put(recipe, ("trainable",), ["*", wrong]), f"trainable {wrong}"
    if where == "no_decay":
        base = rng.choice([FULL, ARRAYS])
        kind = next(iter(base["optimizer"]))
        return put(base, ("optimizer", kind, "no_decay"), ["head", wrong]), f"no_decay {wrong}"
    if where == "init":
        return put(recipe, ("init",), {wrong: "zeros"}), f"init {wrong}"
    return put(FULL, ("sharding",), {wrong: [{}, "tp"]}), f"sharding {wrong}"


def wrong_name(rng, recipe):
    paths = [p for p in leaves(recipe) if p[-1] in ("loss", "logits", "prediction", "predict")]
    if rng.random() < 0.5 and paths:
        path = rng.choice(paths)
        wrong = rng.choice(["score", "Loss", "output", "logit", "ids", "scores.0"])
        return put(recipe, path, wrong), f"{path} = {wrong}"
    name = rng.choice(list(recipe["data"]))
    data = {("input_" + k if k == name else k): v for k, v in recipe["data"].items()}
    return put(recipe, ("data",), data), f"data.{name} misnamed"


def missing(rng, recipe):
    paths = [p for p in keys(recipe) if p[0] == "data" or p[-1] in ("total_steps", "logits", "labels", "prediction", "target", "loss") and "constant" not in p]
    path = rng.choice([p for p in paths if p != ("loss",) or recipe is not FULL])
    recipe = copy.deepcopy(recipe)
    del at(recipe, path[:-1])[path[-1]]
    return recipe, f"without {path}"


def no_value(rng, recipe):
    defaults = {("optimizer", "adamw"), ("optimizer", "sgd"), ("schedule", "constant")}  # without a value: all defaults
    path = rng.choice([p for p in keys(recipe) if p not in defaults])
    return put(recipe, path, None), f"{path} without a value"


def bad_source(rng, recipe):
    name = rng.choice(list(recipe["data"]))
    wrong = rng.choice(["tokens.prev", "tokens.previous", "tokens.nxt", "tokens.next.next", "token", "Tokens", "tokens.Next", "NAME.prev", ".next", "", "a b", "tokns"])
    return put(recipe, ("data", name), wrong), f"data.{name} = {wrong}"


def without_effect(rng, recipe):
    change = rng.choice([(ARRAYS, "shuffle", True), (HUBER, "shuffle", False), (ARRAYS, "zero", 2), (HUBER, "communication", {"bucket": "1MiB"}),
                         (HUBER, "sequence_parallel", True), (HUBER, "onnx_sharding", "two"), (ARRAYS, "sharding", {"head": [{}, "tp"]}),
                         (HUBER, "optimizer", {"adamw": {"no_decay": ["head"]}}), (HUBER, "optimizer", {"sgd": {"nesterov": True}}),
                         (HUBER, "init", {"*": "zeros"}), (FULL, "memory", {"budget": "1GiB", "recompute": "auto"}), (ARRAYS, "batch", {"step": 8, "micro": "auto"}),
                         (HUBER, "predict", "loss"), (HUBER, "shapes", {"sequence": 8}), (HUBER, "data", {**HUBER["data"], "wanted": "tokens"}),
                         (HUBER, "data", {**HUBER["data"], "wanted": "wanted.next"}), (FULL, "mesh", {"dp": 2, "pp": 2}), (FULL, "mesh", {"dp": 2, "ep": 2, "tp": 1}),
                         (HUBER, "data", {**HUBER["data"], "labels": {"source": "labels.next", "shifted_twice": True}}),
                         (FULL, "sharding", {"head": ["tp"]}), (FULL, "sharding", {"head": ["dp", "dp"]}), (HUBER, "trainable", [])])
    return put(change[0], (change[1],), change[2]), f"{change[1]} = {change[2]!r}"


def broken_text(rng, recipe):
    text = write(recipe)
    wrong = rng.choice([text + "]", text + "  \tx", "- a\n" + text, text + "---\n" + text, text.replace('"', "", 1), text + "x: *y\n", text[:-2], text + "\0"])
    return wrong, "broken text"


KINDS = [misspelled_key, wrong_type, out_of_range, missing_unit, duplicate_key, glob_without_match, wrong_name, missing, no_value, bad_source, without_effect,
         broken_text]


def mistake(seed: int, case: int) -> tuple[str, str]:
    rng = random.Random(f"{seed}/{case}")
    kind = KINDS[case % len(KINDS)]
    changed, what = kind(rng, rng.choice(BASES))
    return changed if isinstance(changed, str) else write(changed), f"{kind.__name__}: {what}"


def problem_of(result) -> str:
    errors = result.stderr
    if result.returncode != 3:
        return f"exit code {result.returncode}: {errors.strip()[:200] or 'accepted'}"
    if "error: " not in errors or "recipe.yaml" not in errors:
        return f"no error with the file: {errors.strip()[:300]}"
    without_place = [line for line in errors.splitlines() if line.startswith("error: ") and "recipe.yaml" not in line]
    return f"an error without its place: {without_place[0]}" if without_place else ""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--case", type=int)
    args = parser.parse_args()
    report = Report()
    with tempfile.TemporaryDirectory() as temporary:
        folder = pathlib.Path(temporary)
        outputs = [helper.make_tensor_value_info("loss", TensorProto.FLOAT, []),
                   helper.make_tensor_value_info("scores", TensorProto.FLOAT, [ROWS, LENGTH, VOCABULARY])]
        (folder / "model.onnx").write_bytes(model(outputs=outputs).SerializeToString())
        command = [LLMC, "compile", folder / "model.onnx", "-r", folder / "recipe.yaml", "-o", folder / "m.plan"]
        for i, base in enumerate(BASES):
            (folder / "recipe.yaml").write_text(write(base))
            must(*command)
            printed = must(*command, "--print-recipe").stdout
            (folder / "recipe.yaml").write_text(printed)
            again = must(*command, "--print-recipe").stdout
            report.add(f"valid recipe {i}, printed and read again", "" if again == printed else f"{again}\nis not\n{printed}")
        failed = 0
        for case in range(args.cases) if args.case is None else [args.case]:
            text, what = mistake(args.seed, case)
            (folder / "recipe.yaml").write_text(text)
            if problem := problem_of(run(*command, timeout=60)):
                failed += 1
                report.add(f"case {case}, {what}", problem)
        report.add(f"{args.cases if args.case is None else 1} recipes with one mistake", f"{failed} not refused as they should" if failed else "")
    return report.code


if __name__ == "__main__":
    sys.exit(main())
