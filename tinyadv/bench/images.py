"""The jobs on images: the convolutional maxout network of CIFAR-10, and GoogLeNet; what every peer starts from.

Parameters are plain arrays again, in the layout of `layers`: kernels W `(K, K, C, pieces * units)`, b `(pieces *
units,)`; the dense layers as in `jobs`. GoogLeNet's are those of `googlenet.GoogLeNet`, `(F, C, K, K)` and `(F,)`, in
the order of `googlenet_layers`. The numbers are random: how long it takes does not depend on them.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from .jobs import Arrays, Job

PIECES = 2  # of a convolutional unit
SIDE = 32
# kernel, padding and pool (whose stride is 2) of each convolutional layer, largest norm of a kernel
LAYERS = ((8, 4, 4, 0.9), (8, 3, 4, 1.9365), (5, 3, 2, 1.9365))
DENSE_NORMS = (1.9, 1.9365)  # largest norms of a dense unit's weights, and of a class's
RATE_FACTOR = 0.05  # of the learning rate of the convolutional layers

# channels of an inception block: 1x1, 3x3_reduce, 3x3, 5x5_reduce, 5x5, pool_proj
INCEPTION = {
    "3a": (64, 96, 128, 16, 32, 32),
    "3b": (128, 128, 192, 32, 96, 64),
    "4a": (192, 96, 208, 16, 48, 64),
    "4b": (160, 112, 224, 24, 64, 64),
    "4c": (128, 128, 256, 24, 64, 64),
    "4d": (112, 144, 288, 32, 64, 64),
    "4e": (256, 160, 320, 32, 128, 128),
    "5a": (256, 160, 320, 32, 128, 128),
    "5b": (384, 192, 384, 48, 128, 128),
}
BRANCHES = ("1x1", "3x3_reduce", "3x3", "5x5_reduce", "5x5", "pool_proj")
POOLED_BEFORE = ("3a", "4a", "5a")  # blocks with a max-pool before them


def places_after(n: int, kernel: int, padding: int, pool: int) -> int:
    """The height of a convolutional layer's outputs for images of height n; a pool may stick out at the far edge."""
    n = n + 2 * padding - kernel + 1
    return -(-(n - pool) // 2) + 1


def start_parameters(job: Job, seed: int = 1) -> Arrays:
    """The parameters: weights from N(0, 1 / inputs), dense ones a tenth as large; for GoogLeNet from N(0, 2 / inputs).

    Biases are 0.
    """
    rng = np.random.default_rng(seed)
    if job.kind == "googlenet":
        arrays = []
        for _, shape in googlenet_layers():
            scale = np.float32((2 / np.prod(shape[1:])) ** 0.5)
            arrays += [rng.standard_normal(shape, dtype=np.float32) * scale, np.zeros(shape[0], np.float32)]
        return arrays
    arrays, before, places = [], 3, SIDE
    for units, (kernel, padding, pool, _) in zip(job.channels, LAYERS, strict=True):
        shape = (kernel, kernel, before, PIECES * units)
        arrays += [rng.standard_normal(shape, dtype=np.float32) * np.float32(np.prod(shape[:3]) ** -0.5)]
        arrays += [np.zeros(PIECES * units, np.float32)]
        before, places = units, places_after(places, kernel, padding, pool)
    inputs = before * places**2
    # the dense layers start small: a softmax that is sure of everything would hand back numbers too small to be fast
    W = rng.standard_normal((job.pieces, job.units, inputs), dtype=np.float32) * np.float32(0.1 * inputs**-0.5)
    top = rng.standard_normal((job.classes, job.units), dtype=np.float32) * np.float32(0.1 * job.units**-0.5)
    return [*arrays, W, np.zeros(job.pieces * job.units, np.float32), top, np.zeros(job.classes, np.float32)]


def load_data(job: Job) -> tuple[Any, Any]:
    """Ten batches of random images of the job's size, and their labels."""
    rng, n = np.random.default_rng(0), 10 * job.batch
    if job.kind == "googlenet":
        return rng.random((n, job.inputs), dtype=np.float32), rng.integers(0, job.classes, n)
    return 0.5 * rng.standard_normal((n, job.inputs), dtype=np.float32), rng.integers(0, job.classes, n)


def googlenet_layers() -> Iterator[tuple[str, tuple[int, ...]]]:
    """GoogLeNet's layers with weights and the weights' shapes, in the order of its computation."""
    yield "conv1/7x7_s2", (64, 3, 7, 7)
    yield "conv2/3x3_reduce", (64, 64, 1, 1)
    yield "conv2/3x3", (192, 64, 3, 3)
    before = 192
    for block, (one, reduce3, three, reduce5, five, pool) in INCEPTION.items():
        outputs = dict(zip(BRANCHES, (one, reduce3, three, reduce5, five, pool), strict=True))
        inputs = dict.fromkeys(BRANCHES, before) | {"3x3": reduce3, "5x5": reduce5}
        for branch in BRANCHES:
            size = int(branch[0]) if branch in ("3x3", "5x5") else 1
            yield f"inception_{block}/{branch}", (outputs[branch], inputs[branch], size, size)
        before = one + three + five + pool
    yield "loss3/classifier", (1000, before)


def googlenet_weights(start: Arrays) -> dict[str, np.ndarray]:
    """What `start_parameters` made for GoogLeNet, by name."""
    at = count()
    return {f"{name}.{kind}": start[next(at)] for name, _ in googlenet_layers() for kind in ("weight", "bias")}
