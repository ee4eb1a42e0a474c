"""What a run costs, so that others know what it takes to repeat it: time, epochs, and what multiplied the matrices.

The one idea: a training reports its epochs anyway, so a `Ledger` listens and keeps an account beside the network. What
trains knows nothing of it, and an interrupted training's account goes on with it.
"""

from __future__ import annotations

import json
import platform
import sys
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from numpy import __version__ as numpy_version

from .. import __version__
from ..machine import blas_kernel, processor
from ..progress import Progress
from ..storage import parse_json, write_atomically
from .fingerprint import training
from .lab import Recipe
from .results import Stint
from .results_file import ResultsError, stints

WRITE_SECONDS = 5.0  # how much of an account a process that is killed may lose, to the nearest epoch


def versions() -> dict[str, str]:
    """The versions that a number may depend on."""
    found = {"python": platform.python_version(), "numpy": numpy_version, "tinyadv": __version__}
    return found | ({"cupy": sys.modules["cupy"].__version__} if "cupy" in sys.modules else {})


def setup() -> dict[str, str]:
    """What this process computes with: its processor, its BLAS with kernel and threads, and versions."""
    return {"processor": processor(), "blas": blas_kernel("numpy"), **versions()}


class Stopwatch:
    """Seconds since it was made: by the clock, and of processors, of all threads of this process together."""

    def __init__(self) -> None:
        self._clock, self._work = time.monotonic(), time.process_time()

    def read(self) -> tuple[float, float]:
        return round(time.monotonic() - self._clock, 2), round(time.process_time() - self._work, 2)


class Ledger:
    """The account of a network's trainings, in a file; for them it is the `Progress` that they report to.

    Parameters
    ----------
    path : path
        The file. What an interrupted training has cost is read from it, and forgotten if that training is not
        continued, but begun anew.
    progress : Progress
        Is told everything too.
    say : callable
        Is told, in one line, of a file that cannot be used.
    """

    def __init__(self, path: Path, progress: Progress, say: Callable[[str], None]) -> None:
        self.path, self.progress, self.stints = path, progress, read(path, say)

    def begin(self, title: str, epochs: int, done: int) -> None:
        if not done:
            self.stints = [stint for stint in self.stints if stint.title != title]
        self.now, self.watch, self.written = Stint(title, setup=setup()), Stopwatch(), 0.0
        write_atomically(self.path, as_text(self.stints))  # a training killed before its first entry leaves one too
        self.progress.begin(title, epochs, done)

    def advance(self, epoch: float, loss: float) -> None:
        self.progress.advance(epoch, loss)

    def end(self, entry: dict[str, Any], last: bool) -> None:
        if not self.now.epochs:
            self.stints.append(self.now)
        self.now.epochs += 1
        self.now.seconds, self.now.core_seconds = self.watch.read()
        if last or self.now.seconds - self.written > WRITE_SECONDS:
            self.written = self.now.seconds
            write_atomically(self.path, as_text(self.stints))
        self.progress.end(entry, last)

    def close(self) -> None:
        self.progress.close()


def path_of(folder: Path, recipe: Recipe) -> Path:
    """Where the account of a recipe's network is kept: under the program's fingerprint, as what it is about."""
    return folder / f"{recipe.hash}.{training()}.cost.json"


def as_text(of: list[Stint]) -> str:
    """An account as the text of its file."""
    return json.dumps({"cost": [asdict(stint) for stint in of]}, indent=1) + "\n"


def read(path: Path, say: Callable[[str], None]) -> list[Stint]:
    """The account in a file; empty if there is none, or it is damaged: then `say` is told, and the file is removed."""
    if not path.exists():
        return []
    try:
        content = parse_json(path.read_bytes().decode())
        if not isinstance(content, dict) or "cost" not in content:
            raise ResultsError("wanted a table with the entry cost")
        return stints(content)
    except ValueError as error:
        say(f"{path} is damaged, so what the training has cost is not known: {str(error)[:200]}")
        path.unlink(missing_ok=True)
        return []
