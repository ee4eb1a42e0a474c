"""What a training shows while it runs: a live bar on a terminal, plain lines elsewhere.

`training.train` reports to anything with these four methods; `Silent` says nothing, `Console` is what people see.
"""

from __future__ import annotations

import sys
import time
from typing import Any, Protocol


class Progress(Protocol):
    """What a training reports to."""

    def begin(self, title: str, epochs: int, done: int) -> None:
        """A training of `epochs` epochs starts, `done` of them already done by an earlier run."""

    def advance(self, epoch: float, loss: float) -> None:
        """So many epochs are done, with a fraction; `loss` is that of the last batch."""

    def end(self, entry: dict[str, Any], last: bool) -> None:
        """An epoch is done: its entry of the log, and whether it was the last."""

    def close(self) -> None:
        """The training is over: finished, nothing left to do, or broken off by an exception."""


class Silent:
    """Shows nothing."""

    def begin(self, title: str, epochs: int, done: int) -> None: ...

    def advance(self, epoch: float, loss: float) -> None: ...

    def end(self, entry: dict[str, Any], last: bool) -> None: ...

    def close(self) -> None: ...


class Console:
    """Shows a training on standard error: a bar that moves on a terminal, else a line about every ten seconds."""

    def __init__(self) -> None:
        self.live = sys.stderr.isatty()
        self._bar: Any = None

    def begin(self, title: str, epochs: int, done: int) -> None:
        self.title, self.epochs, self.done = title, epochs, done
        self.started = self.spoke = time.monotonic()
        if self.live:
            from rich.console import Console as Terminal
            from rich.progress import BarColumn, TextColumn, TimeRemainingColumn
            from rich.progress import Progress as Bar

            self._bar = Bar(
                TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[figures]}"),
                TimeRemainingColumn(compact=True), console=Terminal(stderr=True), transient=True,
            )  # fmt: skip
            self._bar.start()
            self._task = self._bar.add_task(title, total=epochs, completed=done, figures="")
            self._figures = ""

    def advance(self, epoch: float, loss: float) -> None:
        if self._bar:
            figures = f"epoch {int(epoch) + 1}/{self.epochs}  loss {loss:.3f}{self._figures}"
            self._bar.update(self._task, completed=epoch, figures=figures)

    def end(self, entry: dict[str, Any], last: bool) -> None:
        self._figures = "".join(f"  {name} {value:.2%}" for name, value in entry.items() if name.endswith("error"))
        if last:
            self.close()
        now = time.monotonic()
        if last or (not self.live and now - self.spoke > 10):
            self.spoke = now
            done = entry["epoch"]
            left = (now - self.started) / max(1, done - self.done) * (self.epochs - done)
            ending = f"  ({now - self.started:.0f} s)" if last else f"  ({left:.0f} s left)"
            print(
                f"{self.title}: epoch {done}/{self.epochs}  loss {entry['loss']:.3f}{self._figures}{ending}",
                file=sys.stderr, flush=True,
            )  # fmt: skip

    def close(self) -> None:
        if self._bar:
            self._bar.stop()
            self._bar = None
