"""Is everything in order? Versions, threads, GPU, data, and the gradients of all operations, in about ten seconds.

`operations` is also the shortest list of what the engine can do: one small call of each operation.
"""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from collections.abc import Callable, Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from time import perf_counter
from typing import Any

from numpy import show_config
from threadpoolctl import threadpool_info

from .. import __version__, datasets, images, ops
from ..backend import DeviceError, generator, gpus
from ..gradcheck import GradientError, KinkError, gradcheck
from ..machine import cores, openblas_settings, processor, thread_caps
from . import lessons

NEEDED = ("numpy", "filelock", "jinja2", "matplotlib", "rich", "safetensors", "threadpoolctl", "typer")
EXTRA = ("pytest", "jupytext", "scipy")
DRAWS = 10  # random points at which each operation's gradients are checked

Finding = tuple[str, str, bool]  # what was looked at, what was found, whether that is in order


def examine() -> Iterator[Finding]:
    """Look at one thing after the other.

    Yields
    ------
    tuple of str, str, bool
        What was looked at, what was found, and whether it is in order. What is merely absent and optional, as a GPU
        or an extra's package, is in order.
    """
    yield "Python", f"{platform.python_version()} on {platform.system()} {platform.machine()}, {processor()}", True
    yield _packages()
    yield _blas()
    yield _gpu()
    yield _data()
    yield _lessons()
    yield _grading()
    yield _gradients()


def _packages() -> Finding:
    missing: list[str] = []
    found = [f"tinyadv {__version__}"]
    for name in (*NEEDED, *EXTRA):
        try:
            found.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            (missing if name in NEEDED else found).append(f"{name} (not installed)")
    return "packages", ", ".join(found + missing), not missing


def _blas() -> Finding:
    config: Any = show_config(mode="dicts")
    blas = config["Build Dependencies"]["blas"]
    found = [library for library in threadpool_info() if library["user_api"] == "blas"]
    kernels = dict.fromkeys(library["architecture"] for library in found if library.get("architecture"))
    runs = f", kernel {' and '.join(kernels)}" if kernels else ""
    threads = max((library["num_threads"] for library in found), default=0)
    used = f", {threads} thread{'s' * (threads != 1)}" if threads else ""
    said = [f"{blas['name']} {blas['version']}{runs}; {cores()} processors{used}"]
    if caps := [f"{name}={os.environ[name]}" for name in thread_caps(1) if name in os.environ]:
        said.append(f"threads capped by {', '.join(caps)}")
    if slow := [f"{name}={value}" for name, value in openblas_settings().items()]:
        said.append(
            f"{' and '.join(slow)} in place of what OpenBLAS finds out about this processor, which can halve "
            "NumPy's speed: unset it to measure times"
        )
    return "BLAS", "; ".join(said), True


def _gpu() -> Finding:
    try:
        return "GPU", gpus(), True
    except DeviceError as error:
        absent = isinstance(error.__cause__, ImportError)
        # CuPy that finds no GPU was installed for one; without CuPy nobody wants a GPU
        return "GPU", "CuPy is not installed: everything runs on the CPU" if absent else str(error), absent


def _data() -> Finding:
    try:
        for name, file in datasets.MNIST_FILES.items():
            datasets.read_idx(name, datasets.MNIST_FOLDER, file)
    except datasets.DataError as error:
        return "data", str(error), False
    return "data", f"MNIST: {len(datasets.MNIST_FILES)} files, each with the SHA-256 that it should have", True


def _lessons() -> Finding:
    from .export import graded_lessons

    try:
        return "lessons", f"{len(lessons())}, exercises with tests in {len(graded_lessons())}", True
    except FileNotFoundError as error:
        return "lessons", str(error), False


def _grading() -> Finding:
    # in a process of its own: there is no way back
    command = [sys.executable, "-I", "-B", str(Path(__file__).with_name("confine.py"))]
    held = subprocess.run(command, capture_output=True, text=True, timeout=60).stdout.strip()
    return "grading", f"what holds a submission besides Python and limits: {held or 'nothing on this system'}", True


def _gradients() -> Finding:
    wrong: dict[str, str] = {}
    start = perf_counter()
    for seed in range(DRAWS):
        for name, (function, xs) in operations(seed).items():
            try:
                gradcheck(function, *xs)
            except (GradientError, KinkError) as error:
                wrong.setdefault(name, f"{name}: {error}")
    if wrong:
        return "gradients", "; ".join(wrong.values()), False
    what = f"{len(operations())} operations to second order at {DRAWS} random points"
    return "gradients", f"{what}, {perf_counter() - start:.1f} s", True


def operations(seed: int = 0) -> dict[str, tuple[Callable[..., Any], list[Any]]]:
    """A small call of each operation: a function, and the float64 arrays with respect to which it is differentiated.

    Entries keep clear of kinks and ties, where finite differences give no verdict.
    """
    rng = generator(seed, "doctor")

    def normal(*shape: int) -> Any:
        return rng.standard_normal(shape)

    def positive(*shape: int) -> Any:
        return rng.uniform(0.5, 2.0, shape)

    def apart(*shape: int) -> Any:  # at least 0.1 away from 0 and from each other
        n = normal(*shape).size
        return (0.3 * (rng.permutation(n) - n // 2) + 0.15 + rng.uniform(-0.04, 0.04, n)).reshape(shape)

    one_argument = {
        name: (getattr(ops, name), [entries(2, 3)])
        for entries, names in (
            (normal, "negative exp tanh softplus sigmoid log_softmax softmax reduce_sum reduce_mean swap_last"),
            (positive, "log sqrt"),
            (apart, "absolute sign relu reduce_max"),
        )
        for name in names.split()
    }
    two_arguments = {name: (getattr(ops, name), [normal(2, 3), normal(3)]) for name in ("add", "subtract", "multiply")}
    mask = normal(2, 3) > 0
    return {
        **one_argument,
        **two_arguments,
        "from_rows": (lambda x: images.from_rows(x, (2, 2, 1)), [normal(3, 4)]),
        "to_rows": (images.to_rows, [normal(2, 1, 3, 2)]),
        "conv2d": (lambda x, w: images.conv2d(x, w, padding=1), [normal(3, 3, 2, 2), normal(3, 3, 2, 1)]),
        "max_pool": (lambda x: images.max_pool(x, 2, 2), [apart(3, 3, 1, 2)]),
        "mean_pool": (lambda x: images.mean_pool(x, 2, 2), [normal(3, 3, 1, 2)]),
        "local_response_normalisation": (images.local_response_normalisation, [normal(1, 1, 2, 6)]),
        "divide": (ops.divide, [normal(2, 3), positive(3)]),
        "power": (ops.power, [positive(2, 3), normal(3)]),
        "matmul": (ops.matmul, [normal(2, 3), normal(3, 4)]),
        "reshape": (lambda x: ops.reshape(x, (3, 2)), [normal(2, 3)]),
        "transpose": (lambda x: ops.transpose(x, (1, 0, 2)), [normal(2, 3, 2)]),
        "broadcast_to": (lambda x: ops.broadcast_to(x, (4, 2, 3)), [normal(2, 3)]),
        "sum_to": (lambda x: ops.sum_to(x, (3,)), [normal(2, 3)]),
        "take": (lambda x: ops.take(x, slice(0, 3, 2)), [normal(3, 2)]),
        "put": (lambda g: ops.put(g, (3, 2), slice(0, 3, 2)), [normal(2, 2)]),
        "concatenate": (lambda a, b: ops.concatenate([a, b]), [normal(2, 3), normal(1, 3)]),
        "where": (lambda a, b: ops.where(mask, a, b), [normal(2, 3), normal(2, 3)]),
        "log1mexp": (ops.log1mexp, [-positive(2, 3)]),
        "clip": (lambda x: ops.clip(x, -0.3, 0.6), [apart(2, 3)]),
        "softmax_cross_entropy": (ops.softmax_cross_entropy, [normal(2, 3), ops.softmax(normal(2, 3))]),
        "binary_cross_entropy": (ops.binary_cross_entropy, [normal(4), rng.uniform(0, 1, 4)]),
        "linear": (ops.linear, [normal(2, 3), normal(4, 3), normal(4)]),
        "maxout": (ops.maxout, [normal(2, 3), normal(5, 2, 3), normal(5, 2)]),
        "rbf": (ops.rbf, [normal(2, 3), normal(2, 3), positive(2, 3)]),
        "rust": (ops.rust, [normal(2, 3), normal(5, 2, 3), normal(2)]),
        "rust_squared": (lambda x, W, b: ops.rust_squared(x, W, b, 2), [normal(2, 3), normal(4, 2, 3), normal(8)]),
        "dropout": (lambda x: ops.dropout(x, 2.0 * mask), [normal(2, 3)]),
    }
