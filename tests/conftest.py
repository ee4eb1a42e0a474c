"""What the whole suite shares: the array libraries that the same tests run on, and a summary line on mutants."""

import atexit
import importlib
import os
import shutil
import sys
import tempfile
from pathlib import Path

# before NumPy is imported: tests run in several processes, whose BLAS threads would fight
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
if os.environ.pop("PYTHONDONTWRITEBYTECODE", ""):
    # The checkout stays as it is, as .ci/run wants it; but hundreds of processes are started here, and compiling the
    # package takes each a quarter of the time in which it starts. What one has compiled lies in a temporary folder.
    os.environ["PYTHONPYCACHEPREFIX"] = tempfile.mkdtemp(prefix="tinyadv-bytecode-")
    atexit.register(shutil.rmtree, os.environ["PYTHONPYCACHEPREFIX"], ignore_errors=True)

import numpy as np
import pytest
import strict
from mirrors import DATA_SCRIPTS

from tinyadv.backend import DeviceError, check_device
from tinyadv.machine import cores

sys.path.insert(0, str(DATA_SCRIPTS))  # as for a script that is run: it finds its siblings
FLAGS = ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking", "--disable-sync"]


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers(config):
    """One process more than there are processors: many tests wait for processes that they start."""
    return cores() + 1


if os.name == "nt":

    @pytest.fixture(autouse=True)
    def _links(monkeypatch):
        """Most users of Windows may make no links: tests that want one are skipped there."""

        def skip_where_it_is_forbidden(function):
            def make(*arguments, **options):
                try:
                    function(*arguments, **options)
                except OSError as error:
                    pytest.skip(f"this user may make no links: {error}")

            return make

        monkeypatch.setattr(Path, "symlink_to", skip_where_it_is_forbidden(Path.symlink_to))
        monkeypatch.setattr(os, "symlink", skip_where_it_is_forbidden(os.symlink))


@pytest.fixture(params=["numpy", "strict", pytest.param("cupy", marks=pytest.mark.gpu)])
def xp(request):
    """An array library: numpy; strict, the stub that refuses what CuPy refuses; cupy where there is a GPU (-m gpu)."""
    if request.param == "strict":
        return strict
    if request.param == "cupy":
        try:
            check_device("cuda")
        except DeviceError as error:
            pytest.skip(str(error))
    return importlib.import_module(request.param)


@pytest.fixture
def rng():
    return np.random.default_rng(20141220)


@pytest.fixture(scope="session")
def browser():
    """Chromium, driven by Playwright; a process can have only one Playwright."""
    api = pytest.importorskip("playwright.sync_api", reason="drives the browser: pip install 'tinyadv[browser]'")
    executable = os.environ.get("CHROMIUM") or shutil.which("chromium")
    if executable is None:
        pytest.skip("there is no chromium: apt-get install chromium, or say where it is: CHROMIUM=PATH")
    with api.sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=executable, args=FLAGS)
        yield opened
        opened.close()


@pytest.fixture(scope="module")
def torch():
    """PyTorch on one thread, as an independent oracle."""
    module = pytest.importorskip("torch", reason="PyTorch is not installed: an oracle less")
    threads = module.get_num_threads()
    module.set_num_threads(1)
    yield module
    module.set_num_threads(threads)


def pytest_terminal_summary(terminalreporter):
    """One line on the planted mutants, summed over the tests (and xdist workers) that planted them."""
    counts = [
        value
        for outcome in ("passed", "failed")
        for report in terminalreporter.stats.get(outcome, [])
        for key, value in getattr(report, "user_properties", [])
        if key == "mutants"
    ]
    if counts:
        planted, killed, equivalent = map(sum, zip(*counts, strict=True))
        survived = planted - killed - equivalent
        terminalreporter.write_line(
            f"mutants of gradient formulas: {planted} planted, {killed} killed, "
            f"{equivalent} equivalent, {survived} survived"
        )
