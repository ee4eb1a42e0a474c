"""What trainings show while they run: live bars on a terminal, plain lines elsewhere.

`training.train` reports to anything with the four methods of `Progress`; `Silent` says nothing, `Console` is what
people see. Several trainings at once are several consoles that share their `Bars`.
"""

from __future__ import annotations

import sys
import time
from typing import Any, Protocol

from .machine import can_start_threads


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


class Bars:
    """Bars that move at the bottom of the terminal, there while there is at least one; nothing on anything else."""

    def __init__(self) -> None:
        self.live = sys.stderr is not None and sys.stderr.isatty()
        self._shown: Any = None
        self._drawn = 0.0  # when, where no thread of Rich's does it

    def add(self, title: str, total: float | None, done: float) -> Any:
        """A new bar, moving to and fro if nobody knows the total; what names it to the other methods."""
        if not self.live:
            return None
        if self._shown is None:
            from rich.console import Console as Terminal
            from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

            self._shown = Progress(
                TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[figures]}"),
                TimeRemainingColumn(compact=True), console=Terminal(stderr=True), transient=True,
                auto_refresh=can_start_threads(),
            )  # fmt: skip
            self._shown.start()
        return self._shown.add_task(title, total=total, completed=done, figures="")

    def update(self, bar: Any, done: float, figures: str) -> None:
        self._shown.update(bar, completed=done, figures=figures)
        if not self._shown.live.auto_refresh and time.monotonic() - self._drawn > 0.1:
            self._drawn = time.monotonic()
            self._shown.refresh()

    def remove(self, bar: Any) -> None:
        """Take a bar away; with the last one the terminal is as it was."""
        if len(self._shown.tasks) > 1:
            self._shown.remove_task(bar)
        else:
            self._shown.stop()
            self._shown = None


class Console:
    """Shows one training on standard error: a bar that moves on a terminal, else a line about every ten seconds."""

    def __init__(self, bars: Bars | None = None) -> None:
        self.bars = bars or Bars()
        self._bar: Any = None

    def work(self, title: str) -> None:
        """Show, where bars are shown, that there is work of which nobody knows how long it takes."""
        self.close()
        self._bar = self.bars.add(title, None, 0)

    def begin(self, title: str, epochs: int, done: int) -> None:
        self.close()
        self.title, self.epochs, self.done, self._figures = title, epochs, done, ""
        self.started = self.spoke = time.monotonic()
        self._bar = self.bars.add(title, epochs, done)

    def advance(self, epoch: float, loss: float) -> None:
        if self._bar is not None:
            self.bars.update(self._bar, epoch, f"epoch {int(epoch) + 1}/{self.epochs}  loss {loss:.3f}{self._figures}")

    def end(self, entry: dict[str, Any], last: bool) -> None:
        self._figures = "".join(f"  {name} {value:.2%}" for name, value in entry.items() if name.endswith("error"))
        if last:
            self.close()
        now = time.monotonic()
        if last or (not self.bars.live and now - self.spoke > 10):
            self.spoke = now
            done = entry["epoch"]
            left = (now - self.started) / max(1, done - self.done) * (self.epochs - done)
            ending = f"  ({now - self.started:.0f} s)" if last else f"  ({left:.0f} s left)"
            say(f"{self.title}: epoch {done}/{self.epochs}  loss {entry['loss']:.3f}{self._figures}{ending}")

    def close(self) -> None:
        if self._bar is not None:
            self.bars.remove(self._bar)
            self._bar = None


def say(line: str) -> None:
    """A line on standard error; where bars are shown they stay below it."""
    print(line, file=sys.stderr, flush=True)
