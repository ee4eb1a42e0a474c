"""Threads, and where there are none; Matplotlib under any MPLBACKEND; how many threads multiply matrices."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import warnings

import pytest
from threadpoolctl import threadpool_info

from tinyadv import machine
from tinyadv.machine import blas_threads, can_start_threads, thread_caps, thread_pool


@pytest.fixture
def without_threads(monkeypatch):
    """As in WebAssembly: no thread can be started."""

    def refuse(thread):
        raise RuntimeError("can't start new thread")

    can_start_threads.cache_clear()
    monkeypatch.setattr(threading.Thread, "start", refuse)
    yield
    can_start_threads.cache_clear()


def threads_of_blas() -> set[int]:
    return {library["num_threads"] for library in threadpool_info() if library["user_api"] == "blas"}


def python(code: str, **environment: str) -> str:
    kept = {name: value for name, value in os.environ.items() if name not in thread_caps(1)}
    done = subprocess.run(
        [sys.executable, "-c", code], env={**kept, **environment}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


# ---------------------------------------------------------------------------------------------------------
# How many threads multiply matrices


def test_blas_threads_holds_inside_the_block_and_no_longer():
    before = threads_of_blas()
    assert before, "no BLAS that can be asked"
    with blas_threads(2):
        assert threads_of_blas() == {2}
        with blas_threads(1):
            assert threads_of_blas() == {1}
        assert threads_of_blas() == {2}
    assert threads_of_blas() == before


def test_the_kernel_of_one_of_several_libraries(monkeypatch):
    def library(path, version):
        return {"user_api": "blas", "internal_api": "openblas", "version": version, "num_threads": 1, "filepath": path}

    scipy, numpy = library("/lib/scipy.libs/a.so", "0.3.30"), library("/lib/numpy.libs/b.so", "0.3.31")
    monkeypatch.setattr("threadpoolctl.threadpool_info", lambda: [scipy, numpy | {"architecture": "Haswell"}])
    assert machine.blas_kernel("numpy") == "openblas 0.3.31, kernel Haswell, 1 thread"
    assert (
        machine.blas_kernel("torch")
        == machine.blas_kernel()
        == ("openblas 0.3.30, kernel unknown, 1 thread, openblas 0.3.31, kernel Haswell, 1 thread")
    )


@pytest.mark.parametrize("number", [0, -1])
def test_blas_threads_is_at_least_one(number):
    with pytest.raises(ValueError, match=f"wanted at least 1 thread, got {number}"), blas_threads(number):
        pass


def test_a_training_inside_the_block_has_the_digits_of_a_process_with_one_thread():
    """As `tinyadv reproduce` starts its own; the process in which the block is could use four threads."""
    code = (
        "import hashlib, numpy as np\n"
        "from tinyadv import losses, models, optim, training\n"
        "from tinyadv.backend import generator\n"
        "from tinyadv.layers import parameters\n"
        "from tinyadv.machine import blas_threads\n"
        "rng = np.random.default_rng(0)\n"
        "x, y = rng.random((400, 784), dtype=np.float32), rng.integers(0, 10, 400)\n"
        "model = models.maxout_network(64, 2, rng=generator(0))\n"
        "def run():\n"
        "    optimiser = optim.SGD(parameters(model))\n"
        "    training.train(model, losses.clean_objective, x, y, epochs=2, seed=0, optimiser=optimiser)\n"
        "    digest = hashlib.sha256()\n"
        "    for p in parameters(model): digest.update(p.data.tobytes())\n"
        "    print(digest.hexdigest())\n"
    )
    alone = python(code + "run()", **thread_caps(1))
    block = python(code + "with blas_threads(1): run()", **thread_caps(4))
    assert alone == block


# ---------------------------------------------------------------------------------------------------------
# No threads


@pytest.mark.parametrize("there", [True, False])
def test_a_pool_does_its_work_with_threads_and_without(there, request):
    if not there:
        request.getfixturevalue("without_threads")
    assert can_start_threads() is there
    caller = threading.get_ident()
    with thread_pool(2) as pool:
        sums = [pool.submit(divmod, n, 3) for n in range(5)]
        failing = pool.submit(divmod, 1, 0)
        where = pool.submit(threading.get_ident)
        assert list(pool.map(abs, [-1, -2])) == [1, 2]
    assert [future.result() for future in sums] == [divmod(n, 3) for n in range(5)]
    with pytest.raises(ZeroDivisionError):
        failing.result()
    assert (where.result() != caller) is there


def test_a_system_that_may_start_threads_later_is_asked_once(without_threads):
    assert not can_start_threads()
    assert machine.can_start_threads.cache_info().currsize == 1


# ---------------------------------------------------------------------------------------------------------
# Matplotlib

DRAW = (
    "import io, os\n"
    "from tinyadv.machine import import_matplotlib\n"
    "matplotlib = import_matplotlib()\n"
    "from matplotlib.figure import Figure\n"
    "file = io.BytesIO(); canvas = Figure(); canvas.subplots().plot([1, 2]); canvas.savefig(file, format='png')\n"
    "print(file.getvalue()[1:4].decode(), os.environ.get('MPLBACKEND'), matplotlib is import_matplotlib())\n"
)


@pytest.mark.parametrize("backend", ["no-such-backend", "module://no_such_package.backend", "tkagg", "agg", ""])
def test_files_are_drawn_whatever_backend_is_named(backend):
    assert python(DRAW, MPLBACKEND=backend) == f"PNG {backend} True\n"


def test_a_backend_that_is_there_is_kept():
    """Or a notebook would no longer show its own figures."""
    assert python(DRAW + "print(matplotlib.get_backend())", MPLBACKEND="svg").endswith("\nsvg\n")


def test_false_alarms_of_products_are_silenced_and_others_are_heard():
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        machine.silence_false_alarms()
        warnings.warn("divide by zero encountered in matmul", RuntimeWarning, stacklevel=1)
        warnings.warn("divide by zero encountered in divide", RuntimeWarning, stacklevel=1)
    assert [str(warning.message) for warning in said] == ["divide by zero encountered in divide"]
