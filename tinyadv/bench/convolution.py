"""How the time of a convolution grows with kernel, channels and batch: by spectra, by windows, as chosen, PyTorch.

Forward and both gradients, on one thread, in seconds of that thread's work: what other programs do on the machine
hardly shows. The ways take turns, and the median counts.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from statistics import median
from typing import Any, BinaryIO

from threadpoolctl import threadpool_limits

from .. import images
from ..backend import Array, generator
from ..machine import import_matplotlib
from ..tensor import Tensor, grad
from .runner import Say

SIDE = 16  # pixels
BASE = {"kernel": 5, "channels": 32, "batch": 32}
SIZES: dict[str, tuple[int, ...]] = {
    "kernel": (1, 2, 3, 4, 5, 7, 9, 11),
    "channels": (2, 4, 8, 16, 32, 64, 128),
    "batch": (1, 2, 4, 8, 16, 32, 64, 128),
}
LABELS = {"chosen": "tinyadv", "spectra": "by spectra", "windows": "by windows", "torch": "PyTorch"}
Way = Callable[[], None]


def measure(rounds: int, say: Say = print) -> list[dict[str, Any]]:
    """A row for each size and way: `axis`, `size`, `way`, and `us_per_example`, the median of some rounds."""
    rows = []
    with threadpool_limits(1):
        for axis, sizes in SIZES.items():
            for size in sizes:
                say(f"convolution: {axis}={size}")
                sizes_now = BASE | {axis: size}
                found = timed(dict(ways(**sizes_now)), rounds)
                for way, seconds in found.items():
                    us = 1e6 * seconds / sizes_now["batch"]
                    rows.append({"axis": axis, "size": size, "way": way, "us_per_example": us})
    return rows


def timed(functions: dict[str, Way], rounds: int) -> dict[str, float]:
    """The median seconds of this process's work in each function, which take turns after a first call."""
    seconds: dict[str, list[float]] = {name: [] for name in functions}
    for i in range(rounds + 1):
        for name, function in functions.items():
            before = time.process_time()
            function()
            if i:
                seconds[name].append(time.process_time() - before)
    return {name: median(times) for name, times in seconds.items()}


def ways(kernel: int, channels: int, batch: int) -> Iterator[tuple[str, Way]]:
    """Each way to convolve `batch` images, of `channels`, with twice as many kernels, and to get both gradients."""
    rng, padding = generator(0), kernel // 2
    x = rng.standard_normal((SIDE, SIDE, batch, channels), dtype="float32")
    w = rng.standard_normal((kernel, kernel, channels, 2 * channels), dtype="float32")
    out = SIDE + 2 * padding - kernel + 1
    g = rng.standard_normal((out, out, batch, 2 * channels), dtype="float32")
    yield "chosen", _ours(lambda x, w: images.conv2d(x, w, padding=padding), x, w, g)
    yield "spectra", _ours(lambda x, w: images._spectral(x, w, padding), x, w, g)
    yield "windows", _ours(lambda x, w: images._correlate(x, w, stride=1, padding=padding), x, w, g)
    try:
        yield "torch", _in_torch(x, w, g, padding)
    except ImportError:
        return


def _ours(convolve: Callable[..., Any], x: Array, w: Array, g: Array) -> Way:
    def once() -> None:
        X, W = Tensor(x), Tensor(w)
        grad(convolve(X, W), [X, W], g)

    return once


def _in_torch(x: Array, w: Array, g: Array, padding: int) -> Way:
    import torch

    torch.set_num_threads(1)
    images, kernels, cotangent = (
        torch.from_numpy(a.transpose(order).copy())
        for a, order in ((x, (2, 3, 0, 1)), (w, (3, 2, 0, 1)), (g, (2, 3, 0, 1)))
    )
    images.requires_grad_()
    kernels.requires_grad_()

    def once() -> None:
        y = torch.nn.functional.conv2d(images, kernels, padding=padding)
        torch.autograd.grad(y, [images, kernels], cotangent)

    return once


def plot(rows: list[dict[str, Any]], file: str | os.PathLike[str] | BinaryIO, suffix: str = "png") -> None:
    """A panel for each axis, both scales logarithmic: `tinyadv` should lie on the lower of its two ways."""
    import_matplotlib()
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 3.4), layout="constrained")
    panels = figure.subplots(1, len(SIZES))
    for panel, axis in zip(panels, SIZES, strict=True):
        for way, label in LABELS.items():
            mine = [row for row in rows if (row["axis"], row["way"]) == (axis, way)]
            look: dict[str, Any] = {"linewidth": 4, "alpha": 0.3} if way == "chosen" else {"marker": "o"}
            sizes, times = [row["size"] for row in mine], [row["us_per_example"] for row in mine]
            panel.plot(sizes, times, label=label, markersize=3, **look)
        panel.set(xscale="log", yscale="log", xlabel=axis)
        panel.set_xticks(SIZES[axis], [str(size) for size in SIZES[axis]], fontsize=7)
        panel.minorticks_off()
        panel.grid(alpha=0.3)
    panels[0].set_ylabel("µs per example")
    panels[0].legend(fontsize=8)
    figure.savefig(file, format=suffix, dpi=150)
