"""One peer in one process, driven by `runner` over standard input and output: a line of JSON in, a line of JSON out.

First comes the configuration, then commands: `run` times n calls one by one, `save` writes the parameters, or what the
attack made of the first batch. Whatever a library prints goes to standard error.
"""

from __future__ import annotations

import json
import os
import sys
import time
from importlib import import_module
from typing import Any, TextIO

import numpy as np

from ..machine import blas_kernel
from .jobs import Job, Library

# name: module and, if it is not the module itself, what in it; then the library that must be there
PEERS = {
    "ours": ("ours", "tinyadv"),
    "by-hand": ("by_hand", "numpy"),
    "torch": ("peer_torch", "torch"),
    "torch-compile": ("peer_torch_compile", "torch"),
    "jax": ("peer_jax", "jax"),
    "autograd": ("peer_autograd", "autograd"),
    "floor": ("floor:products", "numpy"),
    "floor-torch": ("floor:torch_products", "torch"),
    "floor-update": ("floor:update", "numpy"),
}


def load_peer(name: str) -> Library:
    module, _, attribute = PEERS[name][0].partition(":")
    found: Any = import_module(f"{__package__}.{module}")
    peer: Library = getattr(found, attribute) if attribute else found
    return peer


def peak_memory() -> float | None:
    """The most memory that this process has had, in MiB."""
    try:
        with open("/proc/self/status", encoding="utf-8") as file:
            return next(int(line.split()[1]) for line in file if line.startswith("VmHWM")) / 1024
    except (OSError, StopIteration):
        return None


class Assignment:
    """A peer with a job, its data in batches, and where in them it stands."""

    def __init__(self, config: dict[str, Any]) -> None:
        keep, channels = (tuple(config["job"].pop(name)) for name in ("keep", "channels"))
        self.job = job = Job(**config["job"], keep=keep, channels=channels)
        peer = load_peer(config["peer"])
        self.version = peer.start(config["threads"], config["device"])
        with np.load(config["data"]) as file:
            x, y = peer.put(file["x"]), peer.put(file["y"])
            start = [file[f"theta{i}"] for i in range(len(file.files) - 2)]
        make = getattr(peer, job.kind.replace("-", "_"), None)
        if make is None:
            raise NotImplementedError(f"{config['peer']} has no job of the kind {job.kind!r}")
        made: Any = make(start, job)
        self.call, self.read = made if isinstance(made, tuple) else (made, None)
        whole = job.kind == "softmax"
        starts = [0] if whole else range(0, len(x) - job.batch + 1, job.batch)
        self.batches = [(x, y) if whole else (x[i : i + job.batch], y[i : i + job.batch]) for i in starts]
        self.done = 0

    def run(self, n: int) -> dict[str, Any]:
        seconds, cpu, losses = [], [], []
        for _ in range(n):
            x, y = self.batches[self.done % len(self.batches)]
            before, cpu_before = time.perf_counter(), time.process_time()
            J = self.call(x, y)
            seconds.append(time.perf_counter() - before)
            cpu.append(time.process_time() - cpu_before)
            self.done += 1
            if isinstance(J, float):
                losses.append(J)
        return {"seconds": seconds, "cpu": cpu, "losses": losses, "peak": peak_memory()}

    def save(self, path: str) -> dict[str, Any]:
        arrays = self.read() if self.read else [self.call(*self.batches[0])]
        np.savez(path, *arrays)
        return {}


def serve(lines: TextIO, answers: TextIO) -> None:
    """Answer every line of `lines`: an error ends it, named."""

    def say(answer: dict[str, Any]) -> None:
        print(json.dumps(answer), file=answers, flush=True)

    try:
        assignment = Assignment(json.loads(lines.readline()))
        say({"version": assignment.version, "numpy": np.__version__, "blas": blas_kernel()})
        for line in lines:
            command = json.loads(line)
            say(assignment.run(command["run"]) if "run" in command else assignment.save(command["save"]))
    except ImportError as error:
        say({"missing": error.name or str(error)})
    except Exception as error:
        say({"error": f"{type(error).__name__}: {error}"})
        raise


if __name__ == "__main__":
    with os.fdopen(os.dup(1), "w", encoding="utf-8") as answers:
        os.dup2(2, 1)
        serve(sys.stdin, answers)
