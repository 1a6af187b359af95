#!/usr/bin/env python3
"""What runs take and how they end: files of tokens and weights of all kinds give the same numbers, signals end a run after its
step, folders are locked, files that shrink are named, predictions are NumPy's. The model is that of bad_input.py.

    runs.py [PART OF A NAME]
"""
import json
import os
import pathlib
import re
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import time

import numpy as np
from safetensors.numpy import load_file, save_file

import bad_input
from bad_input import LENGTH, RECIPE, ROWS, VOCABULARY, WIDTH, batches, compiling, external, running, with_recipe, weights
from bad_runs import PREDICTS, TOKENS, npy, predictor
from support import LLMC, LLMC_RUN, Report, must, run

TESTS = []


def test(function):
    TESTS.append(function)
    return function


def losses(folder: pathlib.Path, *more, plan: str = "m.plan") -> list[float]:
    metrics = folder / "metrics.jsonl"
    metrics.unlink(missing_ok=True)
    must(LLMC_RUN, folder / plan, "--metrics", metrics, *more)
    return [json.loads(line)["loss"] for line in metrics.read_text().splitlines()]


def rates(folder: pathlib.Path, plan: str, *more) -> list[float]:
    result = must(LLMC_RUN, folder / plan, "--metrics", folder / "metrics.jsonl", *more)
    return [json.loads(line)["lr"] for line in (folder / "metrics.jsonl").read_text().splitlines()], result.stderr


@test
def token_files(folder):
    """One stream of ids in every format."""
    must(*compiling(folder, recipe=TOKENS))
    ids = (np.arange(400) * 7 % 11).astype(np.uint16)
    files = {"a.u16": ids.tobytes(), "A.U16": ids.tobytes(), "a.u32": ids.astype(np.uint32).tobytes(), "a.i64": ids.astype(np.int64).tobytes(),
             "raw.bin:u16": ids.tobytes(), "raw:i32": ids.astype(np.int32).tobytes(), "bytes.dat:u8": ids.astype(np.uint8).tobytes(),
             "gpt2.bin": struct.pack("<256i", 20240520, 1, len(ids), *[0] * 253) + ids.tobytes(),
             "llama3.bin": struct.pack("<256i", 20240801, 7, len(ids), *[0] * 253) + ids.astype(np.uint32).tobytes()}
    files |= {f"{kind}.npy": npy(ids.astype(kind)) for kind in ("uint8", "int8", "uint16", "int16", "int32", "uint32", "int64", "uint64")}
    files["table.npy"] = npy(ids.reshape(20, 20))
    index = b"MMIDIDX\0\0" + struct.pack("<QBQQ", 1, 8, 2, 3) + struct.pack("<2i2q3q", 150, 250, 0, 300, 0, 1, 2)
    files |= {"megatron.idx": index, "megatron.bin": ids.tobytes()}
    for name, content in files.items():
        (folder / name.split(":")[0]).write_bytes(content)
    expected = losses(folder, "--data", folder / "a.u16", "--steps", 3)
    for name in files:
        found = losses(folder, "--data", folder / name, "--steps", 3)
        if found != expected:
            return f"{name}: {found}, not {expected}"
    note = must(LLMC_RUN, folder / "m.plan", "--data", folder / "table.npy", "--steps", 1).stderr
    return "" if "has shape (20,20)" in note else "no note for an array of two dimensions"


@test
def helps(folder):
    """Help is no error, and names every option of its command."""
    for command in ([LLMC_RUN], [LLMC], *([LLMC, name] for name in ("check", "compile", "plan", "explain", "export", "interpret", "recipe", "verify"))):
        found = run(*command, "--help")
        if found.returncode or found.stderr or len(found.stdout) < 200:
            return f"{command}: {found.returncode} {found.stderr}"
    missing = [name for name in ("--data", "--steps", "--checkpoint", "--resume", "--weights", "--set", "--metrics", "--profile", "--trace", "--ranks", "--comm", "--prompt", "--predict")
               if name not in must(LLMC_RUN, "--help").stdout]
    return f"llmc-run --help lacks {missing}" if missing else ""


@test
def rates_of_work(folder):
    """Tokens, operations and seconds of each step fit together; tokens are those of all ranks."""
    for mesh, ranks in (("", ()), ("mesh: {dp: 2}\n", ("--ranks", 2))):
        must(*compiling(folder, recipe=RECIPE + mesh))
        save_file(batches(), folder / "data.safetensors")
        (folder / "metrics.jsonl").unlink(missing_ok=True)
        printed = must(LLMC_RUN, folder / "m.plan", "--data", folder / "data.safetensors", "--steps", 2, "--metrics", folder / "metrics.jsonl", *ranks).stdout
        flops = json.loads(must(LLMC, "explain", folder / "m.plan", "--json").stdout)["forecast"]["step_flops"] * (2 if ranks else 1)
        for line in map(json.loads, (folder / "metrics.jsonl").read_text().splitlines()):
            tokens, work = line["tokens_per_s"] * line["seconds"], line["tflops"] * 1e12 * line["seconds"]
            if abs(tokens - 4 * LENGTH) > 1e-6 or abs(work - flops) > 1e-6 * flops or not 1 << 20 < line["memory_bytes"] < 1 << 34:
                return f"{tokens} tokens and {work} FLOP, not {4 * LENGTH} and {flops}: {line}"
            share = f"step: {line['step']:2}  loss: {line['loss']:7.5f}  grad_norm: {line['grad_norm']:7.4f}  memory: {line['memory_bytes'] / 2**30:5.2f}GiB("
            if share not in printed or f"tps: {round(line['tokens_per_s']):,}" not in printed:
                return f"`{share}` is not in {printed}"
    return ""


@test
def traces_and_profiles(folder):
    """Every instruction of every run of a segment, in order and one after the other; a profile has its mean times without the first, of each rank."""
    save_file(batches(), folder / "data.safetensors")
    save_file(batches(), folder / "eval.safetensors")
    for mesh, ranks in (("", 1), ("mesh: {dp: 2}\n", 2)):
        command = compiling(folder, recipe=RECIPE + mesh)
        must(*command)
        must(*[part if part != folder / "m.plan" else folder / "m.mlir" for part in command], "--stop-after", "plan")
        text = (folder / "m.mlir").read_text()
        counts = {name: len(re.findall(r"^ *plan\.(?:launch|gemm|copy|fill|collective|wait)\b", body, re.M)) for name, body in re.findall(r"plan\.segment @(\w+)(.*?)\n  }", text, re.S)}
        began = time.time()
        must(LLMC_RUN, folder / "m.plan", "--data", folder / "data.safetensors", "--steps", 2, "--eval-data", folder / "eval.safetensors", "--eval-every", 2, "--eval-batches", 1,
             "--trace", folder / "trace.json", "--profile", folder / "profile.json", "--ranks", ranks)
        took = (time.time() - began) * 1e6
        events = json.loads((folder / "trace.json").read_text())["traceEvents"]
        expected = [name for name, runs in [("accumulate", 2), ("update", 1)] * 2 + [("evaluate", 1)] for _ in range(runs * counts[name])]
        if [event["cat"] for event in events] != expected or events[0]["ts"] != 0:
            return f"{len(events)} events, not the {len(expected)} of {counts}"
        for before, after in zip(events, events[1:]):
            if after["ts"] < before["ts"] + before["dur"] - 0.002 or before["dur"] < 0:
                return f"not one after the other: {before}, {after}"
        if not 0 < events[-1]["ts"] + events[-1]["dur"] < took:
            return f"the trace is not of {took} us: {events[-1]}"
        if any(event["ph"] != "X" or event["pid"] != 0 or event["tid"] != 0 or not event["name"] for event in events):
            return "an event lacks its fields"
        predicted = sum(event["args"]["predicted_ns"] for event in events[:counts["accumulate"] * 2 + counts["update"]])
        forecast = json.loads(must(LLMC, "explain", folder / "m.plan", "--json").stdout)["forecast"]["step_ns"]
        if predicted != forecast:
            return f"the forecast of a step is {forecast} ns, of its instructions {predicted}"
        gemm = next(event for event in events if "gflops_per_s" in event["args"])
        first = events[:counts["accumulate"]]
        own = events.index(gemm)
        if own >= len(first) or not gemm["args"]["predicted_ns"] > 0 or not gemm["args"]["gbytes_per_s"] > 0:
            return f"no rates of a contraction: {gemm}"
        for rank in range(ranks):
            path = folder / ("profile.json" + (f".{rank}" if rank else ""))
            profile = json.loads(path.read_text())
            if profile["rank"] != rank or {name: len(times) for name, times in profile["segments"].items()} != counts or profile["threads"] < 1:
                return f"the profile of rank {rank}: {profile['rank']}, {profile['threads']}"
            if any(value["runs"] != {"accumulate": 4, "update": 2, "evaluate": 1}[segment] for segment, sent in profile["sent"].items() for value in sent.values()):
                return f"runs of messages: {profile['sent']}"
            if any(time < 0 for times in profile["segments"].values() for time in times) or bool(profile["sent"]) != (ranks > 1):
                return f"times or messages of rank {rank}: {profile['sent']}"
            must(LLMC, "explain", folder / "m.plan", "--profile", path)
            path.unlink()
            if rank == 0:
                for segment in ("accumulate", "update", "evaluate"):
                    at = [event for event in events if event["cat"] == segment]
                    for i, mean in enumerate(profile["segments"][segment]):
                        own = [event["dur"] * 1e3 for event in at[i::counts[segment]]]
                        own = own[1:] or own  # the first run warms up
                        if abs(sum(own) / len(own) - mean) > 1 + 1e-6 * mean:
                            return f"instruction {i} of {segment} takes {own}, its mean is not {mean}"
    return ""


@test
def prompts(folder):
    """Continuations and logits are those of NumPy; a prompt that is longer than the window counts by its last ids."""
    proto = predictor()
    position = np.random.default_rng(3).normal(0, 0.1, (LENGTH, WIDTH)).astype(np.float32)
    proto.graph.initializer.append(bad_input.numpy_helper.from_array(position, "position"))
    lookup = next(node for node in proto.graph.node if node.name == "lookup")
    lookup.output[0] = "word"
    proto.graph.node.insert(1, bad_input.helper.make_node("Add", ["word", "position"], ["h"], name="place"))
    must(*compiling(folder, proto, PREDICTS))
    embed, head = weights()["embed"], weights()["head"]

    def logits(ids):
        window = ids[-LENGTH:]
        return (embed[window] + position[:len(window)]) @ head

    for prompt in ([3], [1, 5, 2], list(range(LENGTH)), [(5 * i + 1) % VOCABULARY for i in range(LENGTH + 3)]):
        ids = list(prompt)
        for _ in range(LENGTH + 2):
            ids.append(int(logits(ids)[-1].argmax()))
        text = "ids:" + ",".join(map(str, prompt))
        found = must(LLMC_RUN, folder / "m.plan", "--prompt", text, "--generate", LENGTH + 2, "--save-logits", folder / "l.safetensors")
        if found.stdout != "ids:" + ",".join(map(str, ids)) + "\n" or "the model's initial weights are used" not in found.stderr:
            return f"{text} goes on as {found.stdout}, not {ids}: {found.stderr}"
        kept = load_file(folder / "l.safetensors")
        if list(kept) != ["logits"] or kept["logits"].shape != logits(prompt).shape or np.abs(kept["logits"] - logits(prompt)).max() > 1e-6:
            return f"logits of {text}: {kept}"
        if must(LLMC_RUN, folder / "m.plan", "--prompt", text, "--save-logits", folder / "m.safetensors").stdout:
            return "logits alone print something"
    refused = run(LLMC_RUN, folder / "m.plan", "--prompt", "text", "--generate", 1)
    return "" if refused.returncode == 2 and "its vocabulary has 16 ids" in refused.stderr else f"a text for 16 ids: {refused.stderr}"


@test
def interpreted(folder):
    """The interpreter and a run give the same losses, norms, rates, gradients and weights; on ranks and with shifted arrays as well."""
    save_file(batches(), folder / "data.safetensors")
    for more in ("", "mesh: {dp: 2}\nzero: 1\n", "data: {ids: ids, labels: ids.next}\n"):
        recipe = (RECIPE if "data" not in more else re.sub("data: .*\n", "", RECIPE)) + "clip_grad_norm: 0.02\n" + more
        must(*compiling(folder, recipe=recipe))
        for old in ("metrics.jsonl", "own.jsonl"):
            (folder / old).unlink(missing_ok=True)
        shutil.rmtree(folder / "ck", ignore_errors=True)
        data = ("--data", folder / "data.safetensors", "--steps", 4)
        must(LLMC_RUN, folder / "m.plan", *data, "--metrics", folder / "metrics.jsonl", "--save-gradients", f"3:{folder / 'g.safetensors'}", "--checkpoint", folder / "ck",
             "--ranks", 2 if "mesh" in more else 1)
        must(LLMC, "export", folder / "ck", "--model", folder / "model.onnx", "-o", folder / "w.safetensors")
        printed = must(LLMC, "interpret", folder / "model.onnx", "-r", folder / "recipe.yaml", *data, "--metrics", folder / "own.jsonl", "--save-gradients",
                       f"3:{folder / 'own.g.safetensors'}", "--save-weights", f"1:{folder / 'first.safetensors'}", "--save-weights", f"4:{folder / 'own.w.safetensors'}").stdout
        lines, own = ([json.loads(line) for line in (folder / name).read_text().splitlines()] for name in ("metrics.jsonl", "own.jsonl"))
        if len(own) != 4 or any(abs(a[key] - b[key]) > 1e-5 * abs(a[key]) for a, b in zip(lines, own) for key in ("step", "loss", "grad_norm", "lr")):
            return f"{more}: {lines}, the interpreter {own}"
        if printed != "".join(f"step: {line['step']:2}  loss: {line['loss']:8.5f}  grad_norm: {line['grad_norm']:7.4f}\n" for line in own):
            return f"printed: {printed}"
        for one, other in (("g", "own.g"), ("w", "own.w")):
            ours, theirs = load_file(folder / f"{one}.safetensors"), load_file(folder / f"{other}.safetensors")
            if sorted(ours) != sorted(weights()) or any(np.abs(value - theirs.get(name, np.nan)).max() > 1e-5 * np.abs(value).max() for name, value in ours.items()):
                return f"{more}: {one}: {ours}, the interpreter {theirs}"
        first = load_file(folder / "first.safetensors")
        if any(np.array_equal(first[name], value) or np.array_equal(first[name], ours[name]) for name, value in weights().items()):
            return "the weights of step 1 are those of another"
    return ""


@test
def exported_checkpoints(folder):
    """The newest whole checkpoint is exported, or the one that is named; one that is damaged is passed over with a note."""
    must(*running(folder, "--steps", 4, "--checkpoint", folder / "ck", "--checkpoint-every", 1))
    kept = sorted(path.name for path in (folder / "ck").glob("step-*"))

    def export(checkpoint, name):
        result = must(LLMC, "export", checkpoint, "--model", folder / "model.onnx", "-o", folder / name)
        return load_file(folder / name) if name.endswith("safetensors") else None, result

    def same(found, step):
        expected = load_file(folder / "ck" / step / "model.safetensors")
        return sorted(found) == sorted(expected) and all(np.array_equal(found[name], value) for name, value in expected.items())

    if len(kept) < 2:
        return f"only {kept} are kept"
    if not same(export(folder / "ck", "a.safetensors")[0], kept[-1]) or not same(export(folder / "ck" / kept[-2], "b.safetensors")[0], kept[-2]):
        return "another checkpoint is exported"
    before, _ = export(folder / "ck" / kept[-2], "c.safetensors")
    path = folder / "ck" / kept[-1] / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-1] + b"\x55")
    found, result = export(folder / "ck", "d.safetensors")
    if not same(found, kept[-2]) or "note: passed over a damaged checkpoint: " not in result.stderr or kept[-1] not in result.stderr:
        return f"the damaged checkpoint: {result.stderr}"
    _, result = export(folder / "ck", "new.onnx")
    proto = bad_input.onnx.load(folder / "new.onnx")
    values = {tensor.name: bad_input.numpy_helper.to_array(tensor) for tensor in proto.graph.initializer}
    if any(not np.array_equal(values[name], value) for name, value in before.items()) or f"after step {int(kept[-2][5:])}" not in result.stdout:
        return f"the exported model: {result.stdout}"
    # Weights that lie beside the model are in the new one, whose file needs no other while it is small.
    (folder / "outside.bin").write_bytes(weights()["head"].tobytes())
    (folder / "outside.onnx").write_bytes(external("outside.bin", offset=0, length=WIDTH * VOCABULARY * 4).SerializeToString())
    (folder / "there").mkdir()
    must(LLMC, "export", folder / "ck" / kept[-2], "--model", folder / "outside.onnx", "-o", folder / "there" / "new.onnx")
    proto = bad_input.onnx.load(folder / "there" / "new.onnx")
    values = {tensor.name: bad_input.numpy_helper.to_array(tensor) for tensor in proto.graph.initializer}
    files = sorted(path.name for path in (folder / "there").iterdir())
    if any(not np.array_equal(values[name], value) for name, value in before.items()) or files != ["new.onnx"]:
        return f"the exported model with data outside: {files}"
    return ""


@test
def what_is_noted(folder):
    """A run that goes on with other data says so, and weights that the model does not have are named."""
    must(*running(folder, "--steps", 2, "--checkpoint", folder / "ck"))
    again = (LLMC_RUN, folder / "m.plan", "--steps", 3, "--checkpoint", folder / "ck", "--resume")
    note = "note: the checkpoint was written with other data"
    if note in must(*again, "--data", folder / "data.safetensors").stderr:
        return "the same data are other data"
    save_file({name: np.flip(value, 0).copy() for name, value in batches().items()}, folder / "other.safetensors")
    if note not in must(*again[:2], "--steps", 4, *again[4:], "--data", folder / "other.safetensors").stderr:
        return "other data are not noted"
    save_file(weights() | {"tail": np.zeros(3, np.float32)}, folder / "w.safetensors")
    start = (LLMC_RUN, folder / "m.plan", "--steps", 1, "--data", folder / "data.safetensors", "--weights")
    if "w.safetensors' also holds tail, which the model does not have" not in must(*start, folder / "w.safetensors").stderr:
        return "a weight too many is not noted"
    save_file({f"model.{name}": value for name, value in weights().items()}, folder / "p.safetensors")
    noted = must(*start, folder / "p.safetensors").stderr
    return "" if "2 parameters were found in" in noted and "under names with another prefix" in noted and "also holds" not in noted else f"prefixed names: {noted}"


@test
def weight_files(folder):
    """One set of weights under every name, in one file and in several; converted from bf16."""
    save_file(weights(), folder / "w.safetensors")
    must(*compiling(folder, external("none.bin", offset=0, length=WIDTH * VOCABULARY * 4), RECIPE + "weights: w.safetensors\n"))
    save_file(batches(), folder / "data.safetensors")
    data = ("--data", folder / "data.safetensors", "--steps", 3)
    by_key = losses(folder, *data)
    must(*compiling(folder))
    expected = losses(folder, *data)
    if by_key != expected:
        return f"weights of the recipe give {by_key}, not {expected}"
    own = weights()
    save_file({f"model.{name}": value for name, value in own.items()}, folder / "prefixed.safetensors")
    save_file({f"module._orig_mod.{name}": value for name, value in own.items()}, folder / "twice.safetensors")
    for number, name in enumerate(own):
        save_file({f"model.{name}": own[name]}, folder / f"{number}.safetensors")
    (folder / "i.json").write_text(json.dumps({"weight_map": {f"model.{name}": f"{k}.safetensors" for k, name in enumerate(own)}}))
    other = {name: value + np.float32(0.25) for name, value in own.items()}
    save_file(other, folder / "other.safetensors")
    if losses(folder, *data, "--weights", folder / "other.safetensors") == expected:
        return "other weights give the same losses"
    for name in ("prefixed.safetensors", "twice.safetensors", "i.json"):
        if (found := losses(folder, *data, "--weights", folder / name)) != expected:
            return f"{name}: {found}, not {expected}"
    interpreted = folder / "interpreted.jsonl"
    save_file(other, folder / "w.safetensors")
    command = compiling(folder, recipe=RECIPE + "weights: w.safetensors\n")
    must(*command)
    compiled = losses(folder, *data)
    must(LLMC, "interpret", *command[2:-2], "--data", folder / "data.safetensors", "--steps", 3, "--metrics", interpreted)
    found = [json.loads(line)["loss"] for line in interpreted.read_text().splitlines()]
    return "" if np.allclose(found, compiled, rtol=1e-5) else f"the interpreter gives {found}, the plan {compiled}"


@test
def a_tied_table_has_all_its_names(folder):
    """One tensor, looked up and multiplied by: exported under each name, loaded under any of them, trained as one."""
    table = weights()["embed"]
    nodes = [bad_input.helper.make_node("Transpose", ["embed"], ["turned"], name="turn", perm=[1, 0]), *bad_input.model().graph.node]
    nodes[2].input[1] = "turned"
    proto = bad_input.model(nodes=nodes, initializers=[bad_input.numpy_helper.from_array(table, "embed")])
    signature = "p_a: PARAMETER target='embed'\np_b: PARAMETER target='head.weight'\np_c: PARAMETER target='decoder.weight'"
    proto.graph.metadata_props.add(key="llmc.tied", value="embed head.weight decoder.weight")
    proto.graph.metadata_props.add(key="pkg.torch.export.ExportedProgram.graph_signature", value=signature)
    must(*compiling(folder, proto))
    save_file(batches(), folder / "data.safetensors")
    data = ("--data", folder / "data.safetensors")
    expected = losses(folder, *data, "--steps", 3, "--checkpoint", folder / "ck")
    must(LLMC, "export", folder / "ck", "--model", folder / "model.onnx", "-o", folder / "trained.safetensors")
    trained = load_file(folder / "trained.safetensors")
    if set(trained) != {"embed", "head.weight", "decoder.weight"}:
        return f"exported {sorted(trained)}"
    if not all(np.array_equal(trained["embed"], value) for value in trained.values()) or np.array_equal(trained["embed"], table):
        return "the names do not have one trained value"
    for name in trained:
        save_file({name: table}, folder / "one.safetensors")
        found = losses(folder, *data, "--steps", 3, "--weights", folder / "one.safetensors")
        if found != expected:
            return f"from {name}: {found}, not {expected}"
    return ""


@test
def missing_weights_stand_in(folder):
    """A parameter that the file lacks takes the recipe's `init`, if that names it; a catch-all is no name."""
    save_file({"embed": weights()["embed"]}, folder / "w.safetensors")
    must(*compiling(folder, external("none.bin", offset=0, length=WIDTH * VOCABULARY * 4), RECIPE + 'weights: w.safetensors\ninit: {"head": normal(0.02)}\n'))
    save_file(batches(), folder / "data.safetensors")
    result = must(LLMC_RUN, folder / "m.plan", "--data", folder / "data.safetensors", "--steps", 1)
    if "does not hold head" not in result.stderr:
        return f"no note: {result.stderr}"
    must(*compiling(folder, external("none.bin", offset=0, length=WIDTH * VOCABULARY * 4), RECIPE + 'weights: w.safetensors\ninit: {"*": normal(0.02)}\n'))
    code = run(LLMC_RUN, folder / "m.plan", "--data", folder / "data.safetensors", "--steps", 1).returncode
    return "" if code == 3 else f"exit code {code} for a catch-all"


@test
def rate_of_a_new_recipe(folder):
    """27i: a new lr counts on --resume; one of --set stays."""
    plain = with_recipe(("schedule: {cosine: {warmup_steps: 2, total_steps: 4, min_lr: 1.0e-3}}\n", ""))
    must(*compiling(folder, recipe=plain, out="a.plan"))
    must(*compiling(folder, recipe=plain.replace("1.0e-2", "5.0e-2"), out="b.plan"))
    save_file(batches(steps=8), folder / "data.safetensors")
    data = ("--data", folder / "data.safetensors")
    for is_set, expected in ((False, 0.05), (True, 0.003)):
        shutil.rmtree(folder / "ck", ignore_errors=True)
        (folder / "metrics.jsonl").unlink(missing_ok=True)
        rates(folder, "a.plan", *data, "--steps", 2, "--checkpoint", folder / "ck", *(["--set", "lr=0.003"] if is_set else []))
        found, notes = rates(folder, "b.plan", *data, "--steps", 4, "--checkpoint", folder / "ck", "--resume")
        if len(found) != 4 or abs(found[-1] / expected - 1) > 1e-6:
            return f"with --set {is_set}: {found}"
        if "lr is" not in notes:
            return f"no note about lr: {notes}"
        found, _ = rates(folder, "b.plan", *data, "--steps", 5, "--checkpoint", folder / "ck", "--resume", "--set", "lr=0.002")
        if abs(found[-1] / 0.002 - 1) > 1e-6:
            return f"--set on resume: {found}"
    return ""


class Long:
    """A run that would take very long, once it is in its steps."""

    def __init__(self, folder, *more, processes: int = 0, data: str = "data.safetensors"):
        self.folder = folder
        self.command = [str(part) for part in (LLMC_RUN, folder / "m.plan", "--data", folder / data, "--steps", 10**9, "--epochs", 10**9,
                                               "--threads", 1, *more)]
        self.processes = []
        for rank in range(max(1, processes)):
            place = {"RANK": str(rank), "WORLD_SIZE": str(processes), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(20000 + os.getpid() % 10000)}
            with open(folder / f"out.{rank}", "w") as out, open(folder / f"err.{rank}", "w") as err:
                self.processes.append(subprocess.Popen(self.command, stdout=out, stderr=err, env={**os.environ, **(place if processes else {})}))

    def wait_for_steps(self, count=3):
        end = time.monotonic() + 60
        while (self.folder / "out.0").read_text().count("step:") < count:
            if time.monotonic() > end or self.processes[0].poll() is not None:
                raise RuntimeError("it does not train: " + self.text())
            time.sleep(0.01)

    def send(self, number, rank=0):
        self.processes[rank].send_signal(number)

    def codes(self):
        try:
            return [process.wait(timeout=30) for process in self.processes]
        finally:
            for process in self.processes:
                process.kill()

    def text(self):
        return "".join(path.read_text() for path in sorted(self.folder.glob("err.*")))


def prepare(folder, ranks: int = 1):
    must(*compiling(folder, recipe=RECIPE + (f"mesh: {{dp: {ranks}}}\n" if ranks > 1 else "")))
    save_file(batches(), folder / "data.safetensors")


def last_step(folder):
    return int(sorted((folder / "ck").glob("step-*"))[-1].name[5:])


@test
def signals_end_a_run_after_its_step(folder):
    prepare(folder)
    for number, code in ((signal.SIGINT, 130), (signal.SIGTERM, 143)):
        for checkpoint in (False, True):
            shutil.rmtree(folder / "ck", ignore_errors=True)
            long = Long(folder, *(["--checkpoint", folder / "ck"] if checkpoint else []))
            long.wait_for_steps()
            long.send(number)
            codes, text = long.codes(), long.text()
            if codes != [code] or "ended by SIG" not in text or "error" in text:
                return f"{number}: {codes} {text}"
            if checkpoint and (found := re.search(r"after step (\d+), whose checkpoint", text)) and int(found[1]) != last_step(folder):
                return f"the checkpoint is of step {last_step(folder)}: {text}"
            if checkpoint and not found or not checkpoint and "not saved" not in text:
                return text
    step = last_step(folder)
    resumed = must(LLMC_RUN, folder / "m.plan", "--data", folder / "data.safetensors", "--epochs", 10**9, "--steps", step + 2, "--checkpoint", folder / "ck", "--resume")
    return "" if f"continuing after step {step}" in resumed.stderr else resumed.stderr


@test
def a_second_signal_ends_at_once(folder):
    prepare(folder)
    long = Long(folder)
    long.wait_for_steps()
    long.send(signal.SIGSTOP)
    long.send(signal.SIGINT)
    long.send(signal.SIGTERM)
    long.send(signal.SIGCONT)
    return "" if long.codes()[0] in (130, 143) else long.text()


@test
def ranks_agree_on_the_last_step(folder):
    """The signal reaches one rank: threads, and processes over TCP."""
    prepare(folder, 2)
    plugin = (LLMC_RUN.parent / "llmc_comm_gloo.so").exists()
    for processes in (0, 2) if plugin else (0,):
        shutil.rmtree(folder / "ck", ignore_errors=True)
        more = ["--comm", "gloo"] if processes else ["--ranks", 2]
        long = Long(folder, "--checkpoint", folder / "ck", "--log-folder", folder, *more, processes=processes)
        long.wait_for_steps()
        long.send(signal.SIGTERM, rank=processes // 2)
        codes, text = long.codes(), long.text()
        if set(codes) != {143} or f"after step {last_step(folder)}, whose checkpoint" not in text:
            return f"{codes} {text}"
    return ""


@test
def a_folder_is_one_runs(folder):
    prepare(folder)
    long = Long(folder, "--checkpoint", folder / "ck")
    long.wait_for_steps()
    second = run(LLMC_RUN, folder / "m.plan", "--data", folder / "data.safetensors", "--steps", 2, "--checkpoint", folder / "ck", "--resume")
    long.send(signal.SIGKILL)
    long.codes()
    if second.returncode != 2 or f"process {long.processes[0].pid}" not in second.stderr:
        return f"{second.returncode} {second.stderr}"
    third = run(LLMC_RUN, folder / "m.plan", "--data", folder / "data.safetensors", "--steps", 2, "--checkpoint", folder / "ck")
    return "" if third.returncode == 0 else f"the lock outlives its holder: {third.stderr}"


@test
def a_file_that_shrinks_is_named(folder):
    must(*compiling(folder, recipe=TOKENS))
    (folder / "data.u16").write_bytes(bytes(1 << 20))
    long = Long(folder, data="data.u16")
    long.wait_for_steps()
    os.truncate(folder / "data.u16", 10)
    codes, text = long.codes(), long.text()
    return "" if codes == [3] and "data.u16' has become shorter" in text and "SIGBUS" not in text else f"{codes} {text}"


@test
def a_crash_says_where_to_report_it(folder):
    prepare(folder)
    for more, has_stack in (([], False), (["--verbose"], True)):
        long = Long(folder, *more)
        long.wait_for_steps()
        long.send(signal.SIGSEGV)
        codes, text = long.codes(), long.text()
        lines = [line for line in text.splitlines() if line.startswith("error:")]
        if codes != [-signal.SIGSEGV] or len(lines) != 1 or "report" not in lines[0] or (len(text.splitlines()) > 1) != has_stack:
            return f"{codes} {text}"
    return ""


@test
def no_steps(folder):
    """--steps 0 runs none, also where the recipe names a number."""
    prepare(folder)
    result = must(LLMC_RUN, folder / "m.plan", "--data", folder / "data.safetensors", "--steps", 0)
    return "" if result.stdout == "" else f"it ran: {result.stdout}"


def ignored(step: int, rows=slice(None)):
    data = batches()
    data[f"labels.{step}"][rows] = -100
    return data


@test
def steps_without_labels(folder):
    """Averaged over tokens, a step in which no label counts changes nothing, and is told; else it is the data's mistake."""
    prepare(folder)
    save_file(ignored(1), folder / "data.safetensors")
    result = must(LLMC_RUN, folder / "m.plan", "--data", folder / "data.safetensors", "--steps", 2, "--save-gradients", f"2:{folder / 'g.safetensors'}")
    if "note: step 2: no label counts" not in result.stderr:
        return result.stderr
    gradients = load_file(folder / "g.safetensors")
    if sorted(gradients) != sorted(weights()) or any(np.any(value) or np.isnan(value).any() for value in gradients.values()):
        return "the gradients of a step without labels are not zero"
    save_file({name: value if name.startswith("ids") else np.full_like(value, -100) for name, value in batches().items()}, folder / "none.safetensors")
    result = run(LLMC_RUN, folder / "m.plan", "--data", folder / "data.safetensors", "--steps", 1, "--eval-data", folder / "none.safetensors", "--eval-every", 1)
    if result.returncode != 3 or "no label of the evaluation data counts" not in result.stderr:
        return f"evaluation without labels: {result.returncode} {result.stderr}"
    for mesh, more in (("", ()), ("mesh: {dp: 2}\n", ("--ranks", 2))):
        must(*compiling(folder, recipe=RECIPE + "loss_average: micro_batch\n" + mesh))
        save_file(ignored(2, slice(2, 4)), folder / "data.safetensors")
        result = run(LLMC_RUN, folder / "m.plan", "--data", folder / "data.safetensors", "--steps", 4, *more)
        if result.returncode != 3 or "step 3: no label of micro-batch 2 of 2 counts" not in result.stderr:
            return f"{result.returncode} {result.stderr}"
    return ""


@test
def epochs_of_arrays(folder):
    must(*compiling(folder, recipe=with_recipe(("schedule: {cosine: {warmup_steps: 2, total_steps: 4, min_lr: 1.0e-3}}\n", ""))))
    save_file(batches(), folder / "data.safetensors")
    data = ("--data", folder / "data.safetensors", "--set", "lr=0")
    found = losses(folder, *data, "--steps", 8, "--epochs", 2)
    return "" if len(found) == 8 and found[:4] == found[4:] and len(set(found)) == 4 else str(found)


@test
def metrics_of_resumed_runs(folder):
    prepare(folder)
    command = [LLMC_RUN, folder / "m.plan", "--data", folder / "data.safetensors", "--checkpoint", folder / "ck", "--metrics", folder / "m.jsonl"]
    must(*command, "--steps", 2)
    must(*command, "--steps", 4, "--resume")
    steps = [json.loads(line)["step"] for line in (folder / "m.jsonl").read_text().splitlines()]
    shutil.rmtree(folder / "ck")
    must(*command, "--steps", 1, "--overwrite")
    again = [json.loads(line)["step"] for line in (folder / "m.jsonl").read_text().splitlines()]
    return "" if (steps, again) == ([1, 2, 3, 4], [1]) else f"{steps} {again}"


@test
def predictions_are_numpys(folder):
    must(*compiling(folder, predictor(), PREDICTS))
    random = np.random.default_rng(4)
    arrays = {f"ids.{k}": random.integers(0, VOCABULARY, (rows, LENGTH)) for k, rows in enumerate((5, 1, 12))}
    save_file(arrays, folder / "in.safetensors")
    must(LLMC_RUN, folder / "m.plan", "--data", folder / "in.safetensors", "--predict", folder / "out.safetensors")
    found, own = load_file(folder / "out.safetensors"), weights()
    if sorted(found) != [f"logits.{k}" for k in range(3)]:
        return f"it holds {sorted(found)}"
    for k in range(3):
        expected = own["embed"][arrays[f"ids.{k}"]] @ own["head"]
        value = found[f"logits.{k}"]
        if value.shape != expected.shape or np.abs(value - expected).max() > 1e-6:
            return f"array {k}: shape {value.shape}, difference {np.abs(value - expected).max() if value.shape == expected.shape else '-'}"
    save_file(batches(), folder / "data.safetensors")
    must(LLMC_RUN, folder / "m.plan", "--data", folder / "data.safetensors", "--steps", 4, "--checkpoint", folder / "ck")
    must(LLMC_RUN, folder / "m.plan", "--data", folder / "in.safetensors", "--predict", folder / "after.safetensors", "--checkpoint", folder / "ck", "--resume")
    trained = load_file(folder / "ck" / "step-00000004" / "model.safetensors")
    expected = trained["embed"][arrays["ids.2"]] @ trained["head"]
    return "" if np.abs(load_file(folder / "after.safetensors")["logits.2"] - expected).max() < 1e-6 else "trained weights are not used"


def main() -> int:
    report = Report()
    for function in TESTS:
        if len(sys.argv) > 1 and sys.argv[1] not in function.__name__:
            continue
        with tempfile.TemporaryDirectory() as folder:
            try:
                problem = function(pathlib.Path(folder))
            except (RuntimeError, subprocess.TimeoutExpired) as failure:
                problem = str(failure)
            report.add(function.__name__.replace("_", " "), problem)
    return report.code


if __name__ == "__main__":
    sys.exit(main())
