"""What a lesson's page asks of Python: check an exercise, run a cell.

The one idea: a request is JSON, and what comes of it are lines of JSON on standard output: `text`, `html` and `picture`
as they are shown, `began` and `cell` where work of the reader's own begins, last `done`. Whatever a student's code
prints becomes such a line, so that nothing else is written there. The exercise's tests are the ones of the exported
folder, on the file that the page offers to download.
"""

from __future__ import annotations

import io
import json
import os
import sys
import traceback
from base64 import b64decode, b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

from .. import notebook
from ..check import tested
from ..feedback import feedback
from ..judging import first
from ..submissions import loaded

_lessons: dict[int, ModuleType] = {}  # in which cells run, one for each lesson
_WRITTEN = 1 << 20  # characters that one request may print


def serve(request: str) -> None:
    """Do what a page asks: JSON, in base64 so that it is plain text in any program."""
    wanted = json.loads(b64decode(request))
    do = check if wanted.pop("do") == "check" else run
    done = do(**wanted)
    _send(done=done)


def check(number: int, name: str, file: str, source: str) -> dict[str, Any]:
    """Test an exercise in what would be handed in.

    Returns
    -------
    dict
        `said`: a line of feedback, "" where all is right; `earned` and `points`.
    """
    import_module("pytest")
    import_module("numpy.testing")
    _send(began=name)  # from here on it is the answer's own time that passes
    path = Path(file).resolve()
    path.write_text(source, encoding="utf-8")
    with _shown():
        points, said = tested(number, name, lambda: loaded(path))
    return {
        "said": first(said),
        "earned": sum(worth for test, worth in points.items() if not said[test]),
        "points": sum(points.values()),
    }


def run(number: int, cells: list[str], afresh: bool = False) -> dict[str, Any]:
    """Run code in the lesson's own module, cell after cell; only the last one's output is shown.

    Returns
    -------
    dict
        `error`: what stopped it, "" if nothing did; `ran`: how many cells ran to their end.
    """
    if afresh or number not in _lessons:
        _lessons[number] = ModuleType("__main__")
    module = _lessons[number]
    before, sys.modules["__main__"] = sys.modules["__main__"], module  # data classes look their module up
    try:
        for i, cell in enumerate(cells):
            last = i == len(cells) - 1
            _send(cell=i)
            with _shown(silent=not last):
                error = _error(cell, f"<cell {i}>", vars(module))
            if error:
                return {"error": error, "ran": i}
    finally:
        sys.modules["__main__"] = before
    return {"error": "", "ran": len(cells)}


def _error(code: str, name: str, space: dict[str, Any]) -> str:
    """Run code; "" or, on several lines, how it failed."""
    try:
        exec(compile(code, name, "exec", dont_inherit=True), space)
    except NotImplementedError as error:
        return feedback(error)
    except SystemExit:
        return ""
    except BaseException as error:
        trace = error.__traceback__
        while trace is not None and trace.tb_frame.f_code.co_filename != name:
            trace = trace.tb_next
        lines = traceback.format_exception_only(error)
        where = f"line {trace.tb_lineno}: {code.splitlines()[trace.tb_lineno - 1].strip()}\n" if trace else ""
        return where + "".join(lines).strip()
    return ""


def _send(**message: Any) -> None:
    # one call, so that a line stays a line
    os.write(1, (json.dumps(message) + "\n").encode())


class _Page(io.TextIOBase):
    """Standard output of what a page runs; too much is cut off."""

    left = _WRITTEN

    def write(self, text: str) -> int:
        if self.left > 0:
            more = "\n… and more\n" if len(text) > self.left else ""
            _send(text=text[: self.left] + more)
        self.left -= len(text)
        return len(text)

    def isatty(self) -> bool:
        return False

    def table(self, html: str) -> None:
        """A table of the lesson, as part of the page."""
        _send(html=html)

    def picture(self, png: bytes, text: str, dark: bytes | None) -> None:
        """A PNG file's content, another for dark pages, and the text that is read out where it cannot be seen."""
        _send(picture=b64encode(png).decode(), dark=b64encode(dark or png).decode(), alt=text)


class _Nowhere(_Page):
    left = 0

    def table(self, html: str) -> None: ...

    def picture(self, png: bytes, text: str, dark: bytes | None) -> None: ...


@contextmanager
def _shown(silent: bool = False) -> Iterator[None]:
    """Give the page what is printed and shown inside; nobody reads what trainings say of their progress."""
    before = sys.stdout, sys.stderr
    page = _Nowhere() if silent else _Page()
    sys.stdout, sys.stderr = page, _Nowhere()
    try:
        with notebook.shown_by(page):
            yield
    finally:
        sys.stdout, sys.stderr = before
