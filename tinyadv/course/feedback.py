"""Feedback: one line for the student on an error in a test of an exercise.

The one idea: a student reads what the answer's mistake is, not what pytest or NumPy say of it. An error that comes from
the test's own code says that the answer is of another kind than was asked for.
"""

from __future__ import annotations

import linecache
import re
import unicodedata
from pathlib import Path
from typing import Any

TODO, NOT_DONE = "exercise: ", "not done yet"  # begins what an untouched exercise raises; what its student then reads
LONGEST = 400  # characters of a line of feedback
CELL = "#cell "  # between a notebook's path and the number of one of its code cells
# the names that statements of a lesson would have defined, and how these failed; `submissions.loaded` fills it
failed: dict[str, str] = {}
_PLAIN = (list, tuple, dict, float, int, str, type(None))
_ADDED = re.compile(
    r"(?:^|\n)assert |\n\(shapes .* mismatch\)|\n\(?Mismatched elements|\nx and y \w+ location|\n ACTUAL:|\n x: "
)


def feedback(error: BaseException) -> str:
    """One line that says what an error in a test means for the student."""
    if isinstance(error, NotImplementedError) and str(error).startswith(TODO):
        return NOT_DONE
    if isinstance(error, SyntaxError):
        where = f"in line {error.lineno}: " if error.lineno else ""
        return one_line(f"{type(error).__name__} {where}{error.msg}")
    if isinstance(error, AssertionError):
        return one_line(_message(str(error))) or "the result is wrong"
    if other := _of_another_kind(error):
        return one_line(other)
    why = failed.get(str(error.name), "") if isinstance(error, NameError) else ""
    because = f"; it is missing because of {why}" if why else ""
    return one_line(f"{type(error).__name__}: {error}{_place(error)}{because}")


def _of_another_kind(error: BaseException) -> str:
    """What an error in a test's own code says of the answer: that it is of another kind than was asked for."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    if trace is None or not re.match(r"test_lesson\d\d", Path(trace.tb_frame.f_code.co_filename).name):
        return ""
    if isinstance(error, AttributeError) and isinstance(error.obj, _PLAIN):
        if error.obj is None:
            return "an array is wanted, your function returns nothing: is there a `return`?"
        if isinstance(error.obj, bool):  # what a list or a number gives when it is compared
            return "an array is wanted: does your function return a list, or a number of Python?"
        return f"an array is wanted, your function returns a {type(error.obj).__name__}"
    # called with other arguments than it takes: that says it all
    called = re.search(r"\(\) (takes|missing|got)\b", str(error))
    if isinstance(error, TypeError | ValueError | IndexError | KeyError) and not called:
        return f"the test cannot use what your function returns: {type(error).__name__}: {error}"
    return ""


def _message(text: str) -> str:
    """What the test's author wrote, without what pytest and numpy.testing add."""
    text = _ADDED.split(text, maxsplit=1)[0]
    return re.sub(r"^\s*(Not equal to tolerance|Arrays are not \S+).*\n(?=.*\S)", "", text)


def _place(error: BaseException) -> str:
    """The line of a lesson that an error came through last."""
    trace, place = error.__traceback__, ""
    while trace is not None:
        file = trace.tb_frame.f_code.co_filename
        script, _, cell = file.partition(CELL)
        if re.match(r"lesson\d\d_", Path(script).name):
            code = linecache.getline(file, trace.tb_lineno).strip()
            where = f"code cell {cell}, line {trace.tb_lineno}" if cell else f"line {trace.tb_lineno}"
            place = f" ({where}: {code})"
        trace = trace.tb_next
    return place


def one_line(text: Any) -> str:
    """Text on one line of at most LONGEST characters, without what a terminal or XML would take for more than text."""
    line = " ".join("".join(c if unicodedata.category(c)[0] != "C" else " " for c in str(text)[: 10 * LONGEST]).split())
    return line if len(line) <= LONGEST else f"{line[: LONGEST - 1]}…"
