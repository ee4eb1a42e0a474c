"""The stopwatch: every peer is a process of its own, they take turns, and a turn that others disturbed is repeated.

The order is reversed from round to round, and a ratio is taken turn by turn against the baseline (PyTorch if it takes
part, else NumPy by hand), so that a machine's drift divides out. The products alone, the floor, take turns too.
"""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import median, quantiles
from typing import Any

import numpy as np

from ..machine import cores, openblas_settings, processor, thread_caps
from ..storage import temporary_folder
from .jobs import Arrays, Data, Job, load_data, start_parameters
from .quiet import Patience, busy, disturbed
from .worker import PEERS

Say = Callable[[str], None]
REPEATS = 5  # how often a disturbed turn is taken again
PACKAGE = Path(__file__).parents[1]
# Importing tinyadv has the system's allocator keep freed memory, which makes other libraries faster too. Their users do
# not have that, so other peers get a package of this name that is bare: only what is in `bench` can be imported.
BARE = (
    "import runpy, sys, types; package = sys.modules['tinyadv'] = types.ModuleType('tinyadv'); "
    "package.__path__ = [sys.argv[1]]; runpy.run_module('tinyadv.bench.worker', run_name='__main__')"
)


class BenchError(ValueError):
    """The benchmark was asked for something that there is not."""


class AbsentError(RuntimeError):
    """A peer cannot take part; the message says why."""


@dataclass(frozen=True)
class Peer:
    """A peer by its name, run by a Python interpreter: `torch`, or `jax@/path/to/python`."""

    name: str
    python: str = sys.executable
    label: str = ""

    @classmethod
    def parse(cls, text: str) -> Peer:
        name, _, python = text.partition("@")
        if name not in PEERS:
            raise BenchError(f"no peer {name!r}: there are {', '.join(PEERS)}")
        if python and not Path(python).is_file():
            raise BenchError(f"peer {name}: there is no interpreter {python}")
        return cls(name, python or sys.executable, text)

    def environment(self, threads: int) -> dict[str, str]:
        path = os.pathsep.join(p for p in (str(PACKAGE.parent), os.environ.get("PYTHONPATH")) if p)
        return {**os.environ, **thread_caps(threads), "PYTHONPATH": path}

    def worker(self) -> list[str]:
        """The command that starts a worker for this peer; another interpreter need not have tinyadv installed."""
        if self.name == "ours":
            return [self.python, "-m", "tinyadv.bench.worker"]
        return [self.python, "-c", BARE, str(PACKAGE)]

    def import_seconds(self) -> float:
        """How long a fresh interpreter takes to import the library, files in the cache: the median of three."""
        code = f"import time; t = time.perf_counter(); import {PEERS[self.name][1]}; print(time.perf_counter() - t)"

        def once() -> float:
            done = subprocess.run(
                [self.python, "-c", code], env=self.environment(1), capture_output=True, text=True, check=True
            )
            return float(done.stdout.split()[-1])

        once()
        return median(once() for _ in range(3))


@dataclass
class Turns:
    """What a peer's turns took: milliseconds a call, by the clock and of all its threads, a list for each turn."""

    times: list[list[float]] = field(default_factory=list)
    cpu: list[list[float]] = field(default_factory=list)
    losses: list[float] = field(default_factory=list)
    peak: float | None = None
    repeated: int = 0
    disturbed: int = 0


class PeerProcess:
    """A peer at work in its process, and what its turns took. To be closed."""

    def __init__(self, peer: Peer, job: Job, data: Path, threads: int, device: str = "cpu") -> None:
        self.peer, self.job, self.turns = peer, job, Turns()
        self.errors = tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace")  # noqa: SIM115
        self.process = subprocess.Popen(
            peer.worker(), env=peer.environment(threads),
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.errors, text=True, encoding="utf-8",
        )  # fmt: skip
        self.first_calls_seconds = 0.0
        try:
            config = {"peer": peer.name, "threads": threads, "device": device, "job": asdict(job), "data": str(data)}
            answer = self.ask(config)
            self.version: str = answer["version"]
            self.blas: str = answer["blas"]
        except BaseException:
            self.close()
            raise

    def ask(self, command: dict[str, Any]) -> dict[str, Any]:
        assert self.process.stdin
        assert self.process.stdout
        try:
            self.process.stdin.write(json.dumps(command) + "\n")
            self.process.stdin.flush()
            answer = self.process.stdout.readline()
        except OSError:  # a broken pipe, or to Windows an invalid argument
            answer = ""
        if not answer:
            self.errors.seek(0)
            last = self.errors.read().strip().splitlines()[-1:]
            raise AbsentError(f"its process ended{': ' + last[0] if last else ''}")
        reply: dict[str, Any] = json.loads(answer)
        if "missing" in reply:
            raise AbsentError(f"{reply['missing']} is not installed")
        if "error" in reply:
            raise AbsentError(reply["error"])
        return reply

    def warm_up(self) -> None:
        """The first calls: they compile, they fill caches."""
        calls = 1 if self.job.kind == "softmax" or self.job.of_images else 4
        self.first_calls_seconds = sum(self.ask({"run": calls})["seconds"])

    def turn(self, calls: int, patience: Patience) -> None:
        """Time `calls` calls; again, if others were at work meanwhile and there is patience left."""
        for attempt in range(REPEATS):
            patience.wait()
            self.ask({"run": 1 if calls > 2 else 0})  # threads and caches wake up
            began, before = time.perf_counter(), busy()
            reply = self.ask({"run": calls})
            wall, after = time.perf_counter() - began, busy()
            others = 0.0 if before is None or after is None else after - before - sum(reply["cpu"])
            spoilt = disturbed(others, wall)
            if not spoilt or patience.left <= 0 or attempt == REPEATS - 1:
                break
            patience.left -= wall
            self.turns.repeated += 1
        self.turns.disturbed += spoilt
        self.turns.times.append([1e3 * t for t in reply["seconds"]])
        self.turns.cpu.append([1e3 * t for t in reply["cpu"]])
        self.turns.losses += reply["losses"]
        self.turns.peak = reply["peak"]

    def save(self, path: Path) -> Arrays:
        """The peer's parameters, or what its attack made of the first batch."""
        self.ask({"save": str(path)})
        with np.load(path) as file:
            return [file[name] for name in file.files]

    def close(self) -> None:
        if self.process.stdin:
            self.process.stdin.close()
        self.process.wait()
        if self.process.stdout:
            self.process.stdout.close()
        self.errors.close()

    def __enter__(self) -> PeerProcess:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def write_data(path: Path, data: Data, start: Arrays) -> Path:
    """What a worker reads: x, y and the starting parameters."""
    arrays: dict[str, Any] = {"x": data.x, "y": data.y, **{f"theta{i}": a for i, a in enumerate(start)}}
    np.savez(path, **arrays)
    return path


def trained_parameters(job: Job, steps: int = 300) -> Arrays:
    """The parameters that FGSM attacks: those after `steps` steps of adversarial training, by hand."""
    from . import by_hand

    training = Job("", "train", "", 0, units=job.units, pieces=job.pieces, depth=job.depth)
    data = load_data(training)
    step, read = by_hand.train(start_parameters(training), training)
    for i in range(steps):
        rows = slice(i * 100 % 6000, i * 100 % 6000 + 100)
        step(data.x[rows], data.y[rows])
    return read()


def run_job(
    job: Job, peers: Sequence[Peer], rounds: int, *, data: Data | None = None, threads: int | None = None,
    device: str = "cpu", patience: float = 60.0, say: Say = print,
) -> list[dict[str, Any]]:  # fmt: skip
    """Let the peers take turns at a job: a row of figures for each, the absent left out and named.

    Parameters
    ----------
    rounds : int
        Turns of each peer, `job.calls` calls each.
    data : optional
        Other examples than the job's own.
    patience : float
        Seconds in all for waiting until the machine is quiet, and for repeating disturbed turns.
    """
    threads, waiting, workers = threads or cores(), Patience(patience), list[PeerProcess]()
    start = trained_parameters(job) if job.kind == "fgsm" else start_parameters(job)
    with temporary_folder() as folder:
        file = write_data(folder / "data.npz", data or load_data(job), start)
        try:
            for peer in peers:
                worker = _started(peer, job, file, threads, device, say)
                workers += [worker] if worker else []
            for i in range(rounds):
                for worker in workers if i % 2 == 0 else workers[::-1]:
                    worker.turn(job.calls, waiting)
                    time.sleep(0.1)  # threads that spin for a while after their work go to sleep
        finally:
            for worker in workers:
                worker.close()
    return _rows(job, workers)


def _started(peer: Peer, job: Job, file: Path, threads: int, device: str, say: Say) -> PeerProcess | None:
    try:
        worker = PeerProcess(peer, job, file, threads, device)
        try:
            worker.warm_up()
        except BaseException:
            worker.close()
            raise
    except AbsentError as reason:
        say(f"{job.name}: {peer.label} is skipped: {reason}")
        return None
    return worker


def _rows(job: Job, workers: Sequence[PeerProcess]) -> list[dict[str, Any]]:
    middles = {w.peer.label: [median(times) for times in w.turns.times] for w in workers}
    labels = [w.peer.label for name in ("torch", "by-hand", "ours") for w in workers if w.peer.name == name]
    baseline = labels[0] if labels else ""

    def against(label: str, of: str) -> float | None:
        if label not in middles:
            return None
        return median(a / b for a, b in zip(middles[of], middles[label], strict=True))

    cpu = {w.peer.label: [median(times) for times in w.turns.cpu] for w in workers}
    rows = []
    for w in workers:
        name, flat = w.peer.label, [t for times in w.turns.times for t in times]
        low, *_, high = quantiles(flat, n=20, method="inclusive") if len(flat) > 1 else (flat[0], flat[0])
        above_floor = against("floor", name)
        cpu_ratio = mean_loss = None
        if baseline:
            cpu_ratio = median(a / b if b else 0.0 for a, b in zip(cpu[name], cpu[baseline], strict=True))
        if w.turns.losses:
            mean_loss = sum(w.turns.losses) / len(w.turns.losses)
        rows.append(
            {
                "job": job.name, "peer": name, "version": w.version, "median_ms": median(flat), "p5_ms": low,
                "p95_ms": high, "calls": len(flat), "ratio": against(baseline, name), "baseline": baseline,
                "cpu_ms": median(cpu[name]), "cpu_ratio": cpu_ratio, "blas": w.blas,
                "of_floor": 1 / above_floor if above_floor else None, "first_calls_s": w.first_calls_seconds,
                "peak_MiB": w.turns.peak, "mean_loss": mean_loss, "turns_repeated": w.turns.repeated,
                "turns_disturbed": w.turns.disturbed,
            }
        )  # fmt: skip
    return rows


def surroundings(threads: int, device: str) -> dict[str, Any]:
    """What a timing depends on besides the code."""
    from .. import __version__

    return {
        "tinyadv": __version__, "python": platform.python_version(), "numpy": np.__version__,
        "system": platform.system(), "processor": processor(), "processors": os.cpu_count(),
        "threads": threads, "device": device, "gpu": _gpu() if device == "cuda" else None,
        "openblas_settings": openblas_settings(),
    }  # fmt: skip


def _gpu() -> str:
    import cupy

    return str(cupy.cuda.runtime.getDeviceProperties(0)["name"].decode())
