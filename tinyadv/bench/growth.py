"""How the time per example grows with units, pieces, batch and depth: ours, the products alone, PyTorch.

An engine's overhead shows where the network is small, its temporaries where it is large; against the products alone
both are plain to see, because those grow as they must.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, BinaryIO

from ..machine import import_matplotlib
from .jobs import JOBS, Job
from .runner import Peer, Say, run_job

SIZES: dict[str, tuple[int, ...]] = {
    "units": (120, 240, 480, 960, 1600, 3200),
    "pieces": (2, 3, 5, 7, 10),
    "batch": (10, 30, 100, 300, 1000, 5000),
    "depth": (1, 2, 3, 4),
}


def jobs_along(axis: str) -> list[Job]:
    """`train240` with other sizes along one axis; a turn is about as much work for each."""
    base, jobs = JOBS["train240"], []
    for size in SIZES[axis]:
        other: dict[str, Any] = {"name": f"{axis}={size}", axis: size}
        job = replace(base, **other)
        jobs.append(replace(job, calls=max(1, min(20, round(base.calls * _work(base) / _work(job))))))
    return jobs


def _work(job: Job) -> float:
    """Multiplications in the products of a step, up to a factor."""
    rows = job.units * job.pieces
    return job.batch * rows * (job.inputs + (job.depth - 1) * job.units)


def measure(peers: Sequence[Peer], rounds: int, say: Say = print, **settings: Any) -> list[dict[str, Any]]:
    """Rows as of `run_job`, with the axis, the size and microseconds per example."""
    rows = []
    for axis in SIZES:
        for job in jobs_along(axis):
            say(f"growth: {job.name}")
            for row in run_job(job, peers, rounds, say=say, **settings):
                us = 1e3 * row["median_ms"] / job.batch
                rows.append({**row, "axis": axis, "size": getattr(job, axis), "us_per_example": us})
    return rows


def plot(rows: Sequence[dict[str, Any]], file: str | os.PathLike[str] | BinaryIO, suffix: str = "png") -> None:
    """A panel for each axis, both scales logarithmic: in parallel with the floor is as good as it can be."""
    import_matplotlib()
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12, 3.4), layout="constrained")
    panels = figure.subplots(1, len(SIZES), sharey=True)
    for panel, axis in zip(panels, SIZES, strict=True):
        for peer in dict.fromkeys(row["peer"] for row in rows):
            mine = [row for row in rows if (row["axis"], row["peer"]) == (axis, peer)]
            sizes, times = [row["size"] for row in mine], [row["us_per_example"] for row in mine]
            look: dict[str, Any] = {"color": "0.5", "linestyle": "--"} if peer == "floor" else {"marker": "o"}
            panel.plot(sizes, times, label=LABELS.get(peer, peer), markersize=3, **look)
        panel.set(xscale="log", yscale="log", xlabel=axis)
        panel.set_xticks(SIZES[axis], [str(size) for size in SIZES[axis]], fontsize=7)
        panel.minorticks_off()
        panel.grid(alpha=0.3)
    panels[0].set_ylabel("µs per example, one training step")
    panels[0].legend(fontsize=8)
    figure.savefig(file, format=suffix, dpi=150)


LABELS = {
    "ours": "tinyadv", "by-hand": "NumPy by hand", "jax": "JAX jit", "torch": "PyTorch", "torch-compile":
    "torch.compile", "autograd": "HIPS autograd", "floor": "products alone",
}  # fmt: skip
