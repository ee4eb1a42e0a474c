"""This machine: its processor and how many of its cores this process may use, threads, and what Matplotlib needs here.

Nothing here is about adversarial examples; a reader may skip the file.
"""

from __future__ import annotations

import os
import platform
import sys
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from threading import Thread
from typing import Any


def thread_caps(threads: int) -> dict[str, str]:
    """Environment variables that cap the threads of a product of matrices; the libraries read them once, on import."""
    return {f"{library}_NUM_THREADS": str(threads) for library in ("OMP", "OPENBLAS", "MKL", "BLIS")}


@contextmanager
def blas_threads(number: int) -> Iterator[None]:
    """Multiply matrices with so many threads inside the block; with 1, the same program gives the same digits.

    A product that several threads share is summed in another order, so its last digits depend on their number, and a
    training soon makes more than last digits of that. `tinyadv reproduce` measures everything with one thread; so does

    >>> from tinyadv.machine import blas_threads
    >>> with blas_threads(1):
    ...     pass  # train and measure here

    Between processors, or versions of NumPy and its BLAS, last digits differ all the same. What runs on a GPU is not
    affected.

    Raises
    ------
    ValueError
        If `number` is less than 1.
    """
    if number < 1:
        raise ValueError(f"blas_threads: wanted at least 1 thread, got {number}")
    from threadpoolctl import threadpool_limits

    from . import backend  # noqa: F401  (it loads NumPy: only a library that is loaded can be limited)

    with threadpool_limits(number):
        yield


def silence_false_alarms() -> None:
    """Have NumPy say nothing of errors in products of matrices, which are right all the same.

    Some BLAS libraries set flags for errors that have not happened, and NumPy then warns of them: Apple's does (numpy
    issue 28687), and now and then OpenBLAS with AVX-512. Products that are not finite are found by their values.
    """
    warnings.filterwarnings("ignore", ".* encountered in matmul", RuntimeWarning)


@cache
def can_start_threads() -> bool:
    """Whether this Python can start threads: in WebAssembly, as in a browser, it cannot."""
    thread = Thread(target=int)
    try:
        thread.start()
    except RuntimeError:
        return False
    thread.join()
    return True


def thread_pool(threads: int) -> Executor:
    """A pool of so many threads; where none can be started, one that does all work in `submit`."""
    return ThreadPoolExecutor(threads) if can_start_threads() else _InTurn()


class _InTurn(Executor):
    """Does what it is given at once, in the thread that asks."""

    def submit(self, function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()
        try:
            future.set_result(function(*args, **kwargs))
        except Exception as error:
            future.set_exception(error)
        return future


def import_matplotlib() -> Any:
    """Matplotlib, also where MPLBACKEND names a backend that is not installed: what only writes files needs none.

    A backend that is there is kept, so that a notebook goes on showing its own figures.
    """
    if "matplotlib" in sys.modules:
        return sys.modules["matplotlib"]
    wanted = os.environ.pop("MPLBACKEND", None)  # with a name that it does not know, Matplotlib cannot be imported
    try:
        import matplotlib

        if wanted:
            with suppress(ValueError):
                matplotlib.rcParams["backend"] = wanted
    finally:
        if wanted is not None:
            os.environ["MPLBACKEND"] = wanted
    return matplotlib


def blas_kernel(package: str = "") -> str:
    """Which of its kernels OpenBLAS runs in this process, and its threads, as threadpoolctl finds them.

    Of several libraries, as NumPy and SciPy each bring one, only that of `package` is named, if it brought its own.
    """
    try:
        from threadpoolctl import threadpool_info
    except ImportError:
        return "unknown: threadpoolctl is not installed"
    found = [library for library in threadpool_info() if library["user_api"] == "blas"]
    own = [one for one in found if {package, f"{package}.libs"} & set(Path(one["filepath"]).parts)]
    return ", ".join(
        f"{library['internal_api']} {library['version']}, kernel {library.get('architecture', 'unknown')}, "
        f"{library['num_threads']} thread{'s' * (library['num_threads'] != 1)}"
        for library in own or found
    )


OPENBLAS_SETTINGS = ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE")


def openblas_settings() -> dict[str, str]:
    """Environment variables that choose OpenBLAS's kernel by hand, where set: NumPy's speed may halve."""
    return {name: os.environ[name] for name in OPENBLAS_SETTINGS if name in os.environ}


def cores() -> int:
    """How many processors this process may use."""
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else os.cpu_count() or 1


def processor() -> str:
    """The processor's name."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8", errors="replace") as file:
            return next(line.partition(":")[2].strip() for line in file if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()
