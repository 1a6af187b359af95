#!/usr/bin/env python3
"""Figures that explain, plan and refusals print, computed a second way from the plan's text: bytes of arenas and state, peaks of
temporaries and the buffers at them, bytes of kernels, work of a step, what a refused budget says, bytes of messages.
"""
import collections
import json
import math
import pathlib
import re
import shutil
import sys
import tempfile

import onnx

from support import LLMC, MLP, Report, must, run

SIZES = {"f32": 4, "f64": 8, "i64": 8, "i32": 4, "i8": 1, "i1": 1}
STEP, MICRO, FROZEN = 32, 8, "fc2.bias"  # the recipe of the model, and a parameter that is not trained here
UNITS = {"B": 1, "KiB": 1 << 10, "MiB": 1 << 20}


class Plan:
    """What the text of level `plan` says."""

    def __init__(self, text: str):
        self.buffers = {}
        for match in re.finditer(r'plan\.buffer @(\S+) @(\w+) (\d+) : tensor<(\S+?)> "(\w+)"(.*)', text):
            name, arena, offset, shape, category, rest = match.groups()
            number = lambda key: int(found.group(1)) if (found := re.search(rf"\b{key} = (\d+)", rest.split(" loc(")[0])) else 0
            size = 1
            for part in shape.split("x"):
                size *= SIZES.get(part) or int(part)
            segment = re.search(r'segment = "(\w+)"', rest)
            self.buffers[name] = dict(arena=arena, bytes=size, category=category, offset=int(offset), first=number("first"), last=number("last"),
                                      alias="alias_of" in rest, segment=segment.group(1) if segment else None)
        self.arenas = {name: int(size) for name, size in re.findall(r'plan\.arena @(\w+) "\w+" (\d+)', text)}
        self.instructions = collections.defaultdict(list)  # by segment: (kind, name, operands, flops)
        segment = None
        for line in text.splitlines():
            if match := re.match(r"\s*plan\.segment @(\w+)", line):
                segment = match.group(1)
            elif match := re.match(r"\s*plan\.(launch|gemm|copy|fill|collective|wait)\b(.*)", line):
                kind, rest = match.groups()
                operands = [(buffer, int(size), access) for buffer, size, access in re.findall(r'#plan\.operand<@([^,]+), \d+, (\d+), "(\w+)">', rest)]
                name = {"launch": lambda: re.match(r" @(\w+)", rest).group(1), "gemm": lambda: re.search(r'name = "(\w+)"', rest).group(1),
                        "collective": lambda: re.match(r' "(\w+)"', rest).group(1)}.get(kind, lambda: kind)()
                flops = re.match(r".*\] (\d+)", rest.split(" loc(")[0])
                self.instructions[segment].append((kind, name, operands, int(flops.group(1)) if flops and kind in ("launch", "gemm") else 0))

    def temporaries(self, segment: str) -> list[dict]:
        return [buffer for buffer in self.buffers.values() if buffer["segment"] == segment and not buffer["alias"]]

    def alive(self, segment: str, position: int) -> list[int]:
        return sorted((b["bytes"] for b in self.temporaries(segment) if b["first"] <= position <= b["last"]), reverse=True)

    def peak(self, segment: str) -> int:
        return max((sum(self.alive(segment, position)) for position in range(len(self.instructions[segment]))), default=0)


def bytes_of(number: str, unit: str) -> float:
    return float(number.replace(",", "")) * UNITS[unit]


def near(found: float, wanted: float) -> bool:
    return abs(found - wanted) <= 0.006 * max(UNITS["KiB"] if wanted >= UNITS["KiB"] else 0, wanted if wanted >= UNITS["MiB"] else 0) + 1e-6 * wanted


def check_explain(report: Report, plan: Plan, text: str, name: str) -> None:
    problems = []
    for arena, number, unit in re.findall(r"^  (state|scratch|input|output|constant) +([\d.]+) (\w+)$", text, re.M):
        if not near(bytes_of(number, unit), plan.arenas[arena]):
            problems.append(f"{arena} is {plan.arenas[arena]}")
    for category, number, unit, count in re.findall(r"^    (\w+) +([\d.]+) (\w+)  (\d+) buffers", text, re.M):
        own = [b["bytes"] for b in plan.buffers.values() if b["arena"] == "state" and b["category"] == category and not b["alias"]]
        if len(own) != int(count) or not near(bytes_of(number, unit), sum(own)):
            problems.append(f"{category} is {sum(own)} in {len(own)} buffers")
    peaks = re.findall(r"^peak of temporaries in (\w+): ([\d.]+) (\w+) at instruction (\d+) of (\d+).*\n((?:  +[\d.]+ \w+ .*\n)*)", text, re.M)
    for segment, number, unit, position, count, lines in peaks:
        alive = plan.alive(segment, int(position))
        if not near(bytes_of(number, unit), plan.peak(segment)) or sum(alive) != plan.peak(segment) or int(count) != len(plan.instructions[segment]):
            problems.append(f"the peak of {segment} is {plan.peak(segment)} of {len(plan.instructions[segment])} instructions")
        listed = [bytes_of(*entry) for entry in re.findall(r"^  +([\d.]+) (\w+) ", lines, re.M)]
        if any(not near(a, b) for a, b in zip(listed, alive)):
            problems.append(f"at the peak of {segment} are {alive}")
    report.add(f"{name}: memory and {len(peaks)} peaks", "; ".join(problems))
    problems, rows = [], 0
    for part in re.split(r"^segment ", text, flags=re.M)[1:]:
        segment = part.split()[0]
        for kernel, calls, number, unit in re.findall(r"^  (\w+) +(\d+) +[\d.]+ +([\d.]+) (\w+) +[\d.]+ ms", part, re.M):
            own = [operands for _, instruction, operands, _ in plan.instructions[segment] if instruction == kernel]
            moved = sum(size * (2 if access == "readwrite" else 1) for operands in own for _, size, access in operands)
            rows += 1
            if len(own) != int(calls) or not near(bytes_of(number, unit), moved):
                problems.append(f"{kernel} of {segment} moves {moved} bytes in {len(own)} calls, not {number} {unit} in {calls}")
    report.add(f"{name}: bytes of {rows} kernels", "; ".join(problems[:3]) if rows else "no rows")


def check_json(report: Report, plan: Plan, figures: dict, name: str) -> None:
    problems = []
    runs = {"accumulate": figures["micro_batches"], "update": 1}
    work = sum(runs.get(segment, 0) * flops for segment, list_ in plan.instructions.items() for _, _, _, flops in list_)
    if work != figures["forecast"]["step_flops"]:
        problems.append(f"a step is {work} FLOP, not {figures['forecast']['step_flops']}")
    if sum(plan.arenas.values()) != figures["forecast"]["peak_bytes"]:
        problems.append(f"all arenas are {sum(plan.arenas.values())}, not {figures['forecast']['peak_bytes']}")
    for entry in figures["ledger"]:
        kind, collective, operands, _ = plan.instructions[entry["segment"]][entry["instruction"]]
        pairs = list(zip(operands[::2], operands[1::2]))
        payload = sum(max(a[1], b[1]) for a, b in pairs)
        n = entry["ranks"]
        sent = payload * (n - 1) / n * (2 if collective == "all_reduce" else 1)
        if kind != "collective" or payload != entry["payload_bytes"] or abs(sent - entry["sent_bytes"]) > 1e-6 * sent:
            problems.append(f"instruction {entry['instruction']} of {entry['segment']} is {collective} of {payload} bytes")
        if entry["times_per_step"] != runs.get(entry["segment"], 0):
            problems.append(f"{entry['segment']} runs {runs.get(entry['segment'], 0)} times")
        if not 0 <= entry["exposed_ns"] <= entry["forecast_ns"]:
            problems.append("exposed beyond the forecast")
    report.add(f"{name}: work, bytes and {len(figures['ledger'])} messages of a step", "; ".join(problems[:3]))


def check_header(report: Report, plan: Plan, text: str, figures: dict, name: str, mesh: dict[str, int]) -> None:
    """Batch, ranks and parameters, which follow from the recipe and the model, and the totals of text and JSON."""
    ranks = math.prod(mesh.values())
    shapes = {tensor.name: list(tensor.dims) for tensor in onnx.load(MLP / "model.onnx").graph.initializer if tensor.data_type == 1}
    elements = {key: math.prod(dims) for key, dims in shapes.items()}
    trained = sum(count for key, count in elements.items() if key != FROZEN)
    lines = [f"  a step is {STEP} samples in {STEP // MICRO} micro-batches of {MICRO}, 1 tokens each\n",
             f"\nparameters: {len(elements)} tensors, {sum(elements.values()):,} elements, {trained:,} of them trained\n"]
    if ranks > 1:
        lines.append(f"  {ranks} ranks: " + " x ".join(f"{axis} {size}" for axis, size in mesh.items()) + ";")
    problems = [f"`{line.strip()}` is missing" for line in lines if line not in text]
    if ranks == 1 and " ranks: " in text:
        problems.append("one rank is several")
    total = re.search(r"^  all +([\d.]+) (\w+)$", text, re.M)
    if not near(bytes_of(*total.groups()), sum(plan.arenas.values())):
        problems.append(f"all arenas are {sum(plan.arenas.values())}")
    if figures["arenas"] != plan.arenas or figures["ranks"] != ranks or figures["mesh"] != mesh or figures["micro_batches"] != STEP // MICRO:
        problems.append("arenas, ranks, mesh or micro-batches of the JSON")
    state = collections.Counter()
    for buffer in plan.buffers.values():
        if buffer["arena"] == "state" and not buffer["alias"]:
            state[buffer["category"]] += buffer["bytes"]
    if figures["state"] != state:
        problems.append(f"the state is {state}")
    work = figures["forecast"]["step_flops"] / 1e9, figures["forecast"]["step_ns"] / 1e6
    if f"\na step: {work[0]:.3f} GFLOP, forecast {work[1]:.1f} ms\n" not in text:
        problems.append("work and time of a step")
    if figures["ledger"]:
        sent = sum(entry["sent_bytes"] * entry["times_per_step"] for entry in figures["ledger"])
        if f"  a step: {sent:.1f} bytes sent\n" not in text:
            problems.append(f"a step sends {sent} bytes")
    report.add(f"{name}: batch, parameters, totals", "; ".join(problems))


def check_profile(report: Report, folder: pathlib.Path, plan: Plan, figures: dict, name: str) -> None:
    """Made-up times of every instruction come back as sums of kernels, with the rates that follow."""
    times = {segment: [1e5 * (1 + (7 * i + len(segment)) % 5) for i in range(len(list_))] for segment, list_ in plan.instructions.items()}
    (folder / "profile.json").write_text(json.dumps({"plan": figures["plan"], "segments": times}))
    text = must(LLMC, "explain", folder / "m.plan", "--profile", folder / "profile.json").stdout
    problems = []
    for part in re.split(r"^segment ", text, flags=re.M)[1:]:
        segment, previous = part.split()[0], math.inf
        for kernel, found, rate in re.findall(r"^  (\w+) .* ms +([\d.]+) ms +([\d.]+)  \[", part, re.M):
            own = [i for i, (_, instruction, _, _) in enumerate(plan.instructions[segment]) if instruction == kernel]
            taken, work = sum(times[segment][i] for i in own), sum(plan.instructions[segment][i][3] for i in own)
            if abs(float(found) - taken / 1e6) > 0.006 or abs(float(rate) - work / taken) > 0.06 or float(found) > previous:
                problems.append(f"{kernel} of {segment} takes {taken / 1e6} ms at {work / taken} GFLOP/s, not {found} at {rate}")
            previous = float(found)
        if previous == math.inf:
            problems.append(f"{segment} has no measured times")
    step = sum(sum(list_) * (STEP // MICRO if segment == "accumulate" else segment == "update") for segment, list_ in times.items())
    if f", measured {step / 1e6:.1f} ms ({figures['forecast']['step_flops'] / step:.1f} GFLOP/s)\n" not in text:
        problems.append(f"a step takes {step / 1e6} ms")
    for content, message in ((json.dumps({"plan": "0" * 32, "segments": times}), "was written for another plan"), ("{}", "has no `segments`"), ("[", "profile")):
        (folder / "profile.json").write_text(content)
        refused = run(LLMC, "explain", folder / "m.plan", "--profile", folder / "profile.json")
        if refused.returncode != 3 or message not in refused.stderr:
            problems.append(f"`{content[:20]}` is not refused: {refused.returncode} {refused.stderr}")
    report.add(f"{name}: measured times", "; ".join(problems[:3]))


def check_budget(report: Report, folder: pathlib.Path, recipe: str, plan: Plan) -> None:
    """A budget that is a byte too small is refused, with the figures; one that is just enough is taken."""
    total = sum(plan.arenas.values())
    def attempt(budget: int):
        (folder / "budget.yaml").write_text(recipe + f"\nmemory: {{budget: {budget}B}}\n")
        return run(LLMC, "compile", folder / "model.onnx", "-r", folder / "budget.yaml", "-o", folder / "b.plan")
    refused, taken = attempt(total - 1), attempt(total)
    number = lambda pattern: int(found.group(1).replace(",", "")) if (found := re.search(pattern, refused.stderr)) else -1
    problems = [] if (refused.returncode, taken.returncode) == (5, 0) else [f"exit codes {refused.returncode} and {taken.returncode}: {taken.stderr[:200]}"]
    if number(r"the plan needs ([\d,]+) bytes") != total or number(r"`memory.budget` is ([\d,]+) bytes") != total - 1:
        problems.append("the totals are wrong")
    segment = max(plan.instructions, key=plan.peak)
    if number(r"temporaries: ([\d,]+) bytes at their peak") != plan.peak(segment) or f"in @{segment}" not in refused.stderr:
        problems.append(f"temporaries are {plan.peak(segment)} bytes in @{segment}")
    shown = [int(size.replace(",", "")) for size in re.findall(r"^ +([\d,]+) bytes  tensor", refused.stderr, re.M)]
    if not any(shown == plan.alive(segment, at)[:len(shown)] and sum(plan.alive(segment, at)) == plan.peak(segment) for at in range(len(plan.instructions[segment]))):
        problems.append(f"the buffers shown, {shown}, are not those of a peak")
    for category in ("gradient", "optimizer", "parameter"):
        own = sum(b["bytes"] for b in plan.buffers.values() if b["arena"] == "state" and b["category"] == category and not b["alias"])
        if number(rf"  {category}: ([\d,]+) bytes") != own:
            problems.append(f"{category} is {own}")
    report.add("a budget a byte too small", "; ".join(problems))


def check_hint(report: Report, folder: pathlib.Path, recipe: str) -> None:
    """The micro-batch that a refusal proposes is the largest that fits, and needs what it says; none is proposed where none fits."""
    needs = {}
    for micro in (1, 2, 4, 8):
        (folder / "m.yaml").write_text(recipe.replace(f"micro: {MICRO}", f"micro: {micro}"))
        must(LLMC, "compile", folder / "model.onnx", "-r", folder / "m.yaml", "-o", folder / "b.plan")
        needs[micro] = sum(json.loads(must(LLMC, "explain", folder / "b.plan", "--json").stdout)["arenas"].values())
    problems = []
    for budget in (needs[1] - 1, needs[1], needs[2] - 1, needs[2], needs[4] - 1, needs[4], needs[8] - 1):
        (folder / "budget.yaml").write_text(recipe + f"\nmemory: {{budget: {budget}B}}\n")
        refused = run(LLMC, "compile", folder / "model.onnx", "-r", folder / "budget.yaml", "-o", folder / "b.plan")
        fits = [micro for micro in needs if needs[micro] <= budget]
        hint = (f"a smaller micro-batch fits: with `batch: {{step: {STEP}, micro: {max(fits)}}}` it needs {needs[max(fits)]:,} bytes" if fits else
                f"micro-batches of 1 still need {needs[1]:,} bytes: a larger budget")
        if refused.returncode != 5 or hint not in refused.stderr:
            problems.append(f"{budget}: not `{hint}`: {refused.stderr[-200:]}")
    report.add("what a refused budget proposes", "; ".join(problems))


def main() -> int:
    report, base = Report(), (MLP / "recipe.yaml").read_text()
    with tempfile.TemporaryDirectory() as temporary:
        folder = pathlib.Path(temporary)
        shutil.copy(MLP / "model.onnx", folder / "model.onnx")
        for name, mesh, more in (("one rank", {}, ""), ("zero 3", {"dp": 2}, "zero: 3\n"), ("tensor ranks", {"dp": 2, "tp": 2}, "zero: 1\ncommunication: {bucket: 0}\n")):
            more += f"mesh: {json.dumps(mesh)}\n" if mesh else ""
            recipe = f"{base}\ntrainable: ['fc1.*', fc2.weight]\n{more}"
            (folder / "recipe.yaml").write_text(recipe)
            must(LLMC, "compile", folder / "model.onnx", "-r", folder / "recipe.yaml", "-o", folder / "m.plan")
            must(LLMC, "compile", folder / "model.onnx", "-r", folder / "recipe.yaml", "--stop-after", "plan", "-o", folder / "p.mlir")
            plan = Plan((folder / "p.mlir").read_text())
            text, figures = must(LLMC, "explain", folder / "m.plan").stdout, json.loads(must(LLMC, "explain", folder / "m.plan", "--json").stdout)
            check_explain(report, plan, text, name)
            check_json(report, plan, figures, name)
            check_header(report, plan, text, figures, name, mesh)
            check_profile(report, folder, plan, figures, name)
            if not more:
                check_budget(report, folder, recipe, plan)
                check_hint(report, folder, recipe)
    return report.code


if __name__ == "__main__":
    sys.exit(main())
