#!/usr/bin/env python3
"""Ranks that die or stop: rank_failures.py [--trials N] [--seed S] [--backend gloo|mpi] [--moment M]

Each trial trains on 4 processes with --deadline 3, and kills (SIGKILL) or stops (SIGSTOP) one of them at a random moment: while
the ranks find each other, while they train, while they write checkpoints, and at the end. Every other rank must then
  - end within deadline + 5 s, with exit code 10 (a rank died; also when the launcher says SIGTERM) or 11 (the deadline passed);
  - say on stderr what it was doing (step, segment, instruction, reason; or the phase) and which rank is missing;
  - leave llmc-rank-K.log with its last instructions, at most 1,024.
A trial whose job was done before the signal is repeated. Then, with each backend: an id in the data that is too large is
found by one rank and reported by all, before the first step. The moments are random, but the same for the same seed.
"""
import argparse
import contextlib
import os
import pathlib
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

from support import LLMC, LLMC_RUN, ROOT, Report, must

RANKS, DEADLINE, GRACE, STEPS = 4, 3.0, 5.0, 30
VOCABULARY = 256
PHASES = ["joining the job", "comparing plans", "opening groups of ranks", "opening the data", "loading the state", "writing the checkpoint", "ending the step", "ending the run"]
INSTRUCTION = re.compile(r"step \d+(, micro-batch \d+)?, segment '\w+', instruction \d+ '[^']*'")
COLLECTIVE = re.compile(INSTRUCTION.pattern + r" \([^)]+")


class Job:
    """A training on several processes. Process K writes err.K; `codes` fills as they end."""

    def __init__(self, backend: str, plan: pathlib.Path, data: pathlib.Path, folder: pathlib.Path, *more):
        self.backend, self.folder = backend, folder
        self.command = [str(part) for part in (LLMC_RUN, plan, "--data", data, "--steps", STEPS, "--deadline", DEADLINE, "--checkpoint", folder / "ck",
                                               "--log-folder", folder / "logs", "--threads", 1, "--comm", backend, *more)]
        self.codes: dict[int, int] = {}
        self.pids: dict[int, int] = {}
        self.processes: dict[int, subprocess.Popen] = {}
        self.launcher = None
        self.start_mpi() if backend == "mpi" else self.start_gloo()

    def start_gloo(self) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        for rank in range(RANKS):
            place = {"RANK": str(rank), "WORLD_SIZE": str(RANKS), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
            with open(self.folder / f"out.{rank}", "w") as out, open(self.folder / f"err.{rank}", "w") as err:
                self.processes[rank] = subprocess.Popen(self.command, stdout=out, stderr=err, env={**os.environ, **place})
            self.pids[rank] = self.processes[rank].pid

    def start_mpi(self) -> None:
        command = ["mpirun", "--allow-run-as-root", "--oversubscribe", "--bind-to", "none", "-n", str(RANKS), sys.executable, __file__, "--wrap",
                   str(self.folder), *self.command]
        self.launcher = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def poll(self) -> None:
        for rank in range(RANKS):
            if rank in self.processes:
                if self.processes[rank].poll() is not None:
                    self.codes[rank] = self.processes[rank].returncode
                continue
            for name, numbers in (("pid", self.pids), ("code", self.codes)):
                file = self.folder / f"{name}.{rank}"
                if rank not in numbers and file.exists() and (text := file.read_text()).endswith("\n"):
                    numbers[rank] = int(text)

    def wait(self, done, seconds: float) -> bool:
        """Until done() or the time is over."""
        end = time.monotonic() + seconds
        while True:
            self.poll()
            if done():
                return True
            if time.monotonic() > end:
                return False
            time.sleep(0.003)

    def errors(self, rank: int) -> str:
        file = self.folder / f"err.{rank}"
        return file.read_text(errors="replace") if file.exists() else ""

    def trains(self) -> bool:
        file = self.folder / "out.0"
        return file.exists() and "step:" in file.read_text(errors="replace")

    def still_running(self, ranks: list[int]) -> str:
        """What is known of the ranks that have not ended."""
        texts = []
        for rank in ranks:
            if rank not in self.codes:
                status = pathlib.Path(f"/proc/{self.pids.get(rank)}/status")
                state = re.search(r"State:\s*(.*)", status.read_text())[1] if status.exists() else "gone, its exit code is not known"
                texts.append(f"rank {rank} ({state}): {self.errors(rank).strip()[-300:]}")
        return "; ".join(texts)

    def saves(self) -> bool:
        """A checkpoint has been begun and is not complete."""
        return any(not (folder / "manifest.json").exists() for folder in self.folder.glob("ck/step-*"))

    def end(self) -> None:
        self.poll()
        for rank, pid in self.pids.items():
            if rank not in self.codes:
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    pass
        for process in self.processes.values():
            process.wait()
        if self.launcher:
            try:
                self.launcher.wait(timeout=15)
            except subprocess.TimeoutExpired:
                self.launcher.kill()
                self.launcher.wait()


def observe(folder: pathlib.Path, rank: str, command: list[str]) -> None:
    """Runs one rank, and notes its process number and exit code, whatever the launcher does to its own children meanwhile."""
    os.setsid()
    signal.signal(signal.SIGTERM, lambda number, frame: None)  # no SIG_IGN, which the rank would inherit
    with open(folder / f"out.{rank}", "w") as out, open(folder / f"err.{rank}", "w") as err:
        process = subprocess.Popen(command, stdout=out, stderr=err)
    (folder / f"pid.{rank}").write_text(f"{process.pid}\n")
    code = process.wait()
    (folder / f"code.{rank}").write_text(f"{code}\n")
    os._exit(0)


def wrap(folder: pathlib.Path, command: list[str]) -> None:
    """What mpirun starts in place of a rank: passes SIGTERM on to it, and ends as it did."""
    rank = os.environ["OMPI_COMM_WORLD_RANK"]
    number, code = folder / f"pid.{rank}", folder / f"code.{rank}"
    told = []
    signal.signal(signal.SIGTERM, lambda *_: told.append(True))
    if os.fork() == 0:
        observe(folder, rank, command)
    while not (code.exists() and code.read_text().endswith("\n")):
        if told and number.exists() and (text := number.read_text()).endswith("\n"):
            told.clear()
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(text), signal.SIGTERM)
        time.sleep(0.005)
    ended = int(code.read_text())
    if ended < 0:
        os.kill(os.getpid(), -ended)
    sys.exit(ended)


def error_line(text: str) -> str:
    return next((line for line in text.splitlines() if line.startswith("error: ")), "")


def problem_of(job: Job, rank: int, victim: int) -> str:
    """What the survivor did wrong."""
    code, text = job.codes[rank], job.errors(rank)
    if code not in (10, 11):
        return f"rank {rank} ended with {code}: {text.strip()[-300:]}"
    line = error_line(text)
    told = "was told to end (SIGTERM)" in line
    if not COLLECTIVE.search(line) and not any(phase in line for phase in PHASES) and not (told and (INSTRUCTION.search(line) or "before the first" in line)):
        return f"rank {rank} does not say where: {line or text.strip()[-300:]}"
    if not re.search(rf"rank {victim} (died|did not arrive)|missing: rank {victim};", line):
        return f"rank {rank} names another rank than {victim}: {line}"
    log = job.folder / "logs" / f"llmc-rank-{rank}.log"
    if not log.exists():
        return f"rank {rank} left no log"
    entries = len(INSTRUCTION.findall(log.read_text()))
    if entries > 1024 or (entries == 0 and INSTRUCTION.search(line)):
        return f"the log of rank {rank} has {entries} instructions"
    return ""


class Trials:
    """The plan, and how long an undisturbed job takes with each backend."""

    def __init__(self, root: pathlib.Path, seed: int, moment: str | None):
        self.root, self.chance, self.moment = root, random.Random(seed), moment
        self.plan, self.data = root / "m.plan", root / "tokens.u16"
        recipe = (ROOT / "examples" / "quickstart" / "recipe.yaml").read_text()
        (root / "recipe.yaml").write_text(recipe + f"\nmesh: {{dp: {RANKS}}}\nzero: 1\n")
        must(LLMC, "compile", ROOT / "examples" / "quickstart" / "model.onnx", "-r", root / "recipe.yaml", "-o", self.plan)
        self.data.write_bytes(bytes(byte for i in range(60_000) for byte in (self.chance.randrange(64), 0)))
        self.times: dict[tuple, tuple] = {}
        self.numbers = 0

    def job(self, backend: str, *more, data: pathlib.Path | None = None) -> Job:
        self.numbers += 1
        folder = self.root / f"job{self.numbers}"
        folder.mkdir()
        return Job(backend, self.plan, data or self.data, folder, *more)

    def measure(self, backend: str, more: tuple) -> tuple[float, float]:
        """Seconds from the start of the processes to the first step, and to the end."""
        if (backend, more) not in self.times:
            job = self.job(backend, *more)
            job.wait(lambda: len(job.pids) == RANKS, 30)
            begin = time.monotonic()
            job.wait(job.trains, 60)
            first = time.monotonic() - begin
            if not job.wait(lambda: len(job.codes) == RANKS, 120) or any(job.codes.values()):
                raise RuntimeError(f"an undisturbed run over {backend} fails: {job.codes} {job.errors(0)}")
            self.times[backend, more] = first, time.monotonic() - begin
            job.end()
        return self.times[backend, more]

    def attempt(self, backend: str, how: signal.Signals, moment: str) -> tuple[str, float, str] | None:
        """What went wrong, the seconds the last survivor took, and what one said; nothing if the job was done before."""
        more = ("--checkpoint-every", "1") if moment == "checkpoint" else ()
        first, end = self.measure(backend, more)
        low, high = {"start": (0, 0.7 * first), "end": (max(first, 0.9 * end), 1.05 * end)}.get(moment, (first, end))
        victim, delay = self.chance.randrange(RANKS), self.chance.uniform(low, high)
        job = self.job(backend, *more)
        others = [rank for rank in range(RANKS) if rank != victim]
        try:
            job.wait(lambda: victim in job.pids, 30)
            if job.wait(lambda: victim in job.codes, delay):
                return None
            if moment == "checkpoint":
                job.wait(lambda: job.saves() or victim in job.codes, 5)
            os.kill(job.pids[victim], how)
            begin = time.monotonic()
            in_time = job.wait(lambda: all(rank in job.codes for rank in others), DEADLINE + GRACE)
            seconds = time.monotonic() - begin
            if not in_time:
                return f"still running after {seconds:.1f} s: {job.still_running(others)}", seconds, ""
            if not any(job.codes[rank] for rank in others) or job.codes.get(victim) == 0:
                return None
            ended = [rank for rank in others if job.codes[rank] == 0 and any("ending the run" in job.errors(other) for other in others)]
            problems = [text for rank in others if rank not in ended and (text := problem_of(job, rank, victim))]
            return "; ".join(problems), seconds, next(filter(None, (error_line(job.errors(rank)) for rank in others)), "")
        except ProcessLookupError:
            return None
        finally:
            job.end()
            shutil.rmtree(job.folder)

    def trial(self, report: Report, number: int, backend: str) -> float:
        how = [signal.SIGKILL, signal.SIGSTOP][(number + number // 4) % 2]
        moment = self.moment or ["start", "training", "checkpoint", "end"][number % 4]
        outcome = None
        for attempt in range(20):
            if attempt % 5 == 4:
                self.times.clear()  # the machine has become faster or slower since
            if outcome := self.attempt(backend, how, moment):
                break
        problem, seconds, text = outcome or ("the job was always done before the signal", 0.0, "")
        report.add(f"{number} {backend} {how.name} {moment}", problem, f"{seconds:.1f} s  {text[:170]}")
        return seconds

    def bad_token(self, report: Report, backend: str) -> None:
        tokens = bytearray(self.data.read_bytes())
        tokens[60_001] = 0xFF  # an id of 65,280 or more, in the middle
        bad = self.root / "bad.u16"
        bad.write_bytes(tokens)
        job = self.job(backend, data=bad)
        in_time = job.wait(lambda: len(job.codes) == RANKS, 60)
        job.end()
        problem = "" if in_time else "ranks hang"
        for rank in range(RANKS):
            if job.codes.get(rank) != 3 or not re.search(r"error: rank \d: .* position 30000: id 65\d\d\d", job.errors(rank)):
                problem = problem or f"exit codes {job.codes}, rank {rank} says {job.errors(rank)}"
        report.add(f"bad id in the data: {backend}", problem, error_line(job.errors(0)))


def main() -> int:
    if sys.argv[1:2] == ["--wrap"]:
        wrap(pathlib.Path(sys.argv[2]), sys.argv[3:])
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=8)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--backend", choices=["gloo", "mpi"])
    parser.add_argument("--moment", choices=["start", "training", "checkpoint", "end"], help="all trials then")
    args = parser.parse_args()
    backends = [name for name in ("gloo", "mpi") if args.backend in (None, name) and (LLMC_RUN.parent / f"llmc_comm_{name}.so").exists()]
    if not backends:
        print("skipped: failures of ranks (neither Gloo nor MPI was built)")
        return 0
    report, begin, slowest = Report(), time.monotonic(), 0.0
    with tempfile.TemporaryDirectory() as temporary:
        trials = Trials(pathlib.Path(temporary), args.seed, args.moment)
        for number in range(args.trials):
            slowest = max(slowest, trials.trial(report, number, backends[(number // 2 + number // 8) % len(backends)]))
        for backend in backends:
            trials.bad_token(report, backend)
    print(f"{args.trials} trials, {report.failed} failures, the slowest survivor took {slowest:.1f} s, {time.monotonic() - begin:.0f} s in all")
    return report.code


if __name__ == "__main__":
    sys.exit(main())
