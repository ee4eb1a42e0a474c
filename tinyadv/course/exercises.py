"""Exercises in a lesson: where they are, the stub that a student gets, loading what a student hands in, feedback.

The one idea: the lesson is the solution. What stands between two marks in a function is what a student has to write;
in the stub a NotImplementedError stands there, so that an exercise that was not touched says so itself.
"""

from __future__ import annotations

import ast
import linecache
import re
import sys
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

from ..storage import parse_json
from .cells import WORK

BEGIN, END = "### BEGIN SOLUTION", "### END SOLUTION"
LONGEST = 400  # characters of a line of feedback
_RUBRIC = re.compile(rf"^# {BEGIN}\n(?:#.*\n)*?# {END}\n(?:#\n)?", re.MULTILINE)
_ADDED = re.compile(
    r"(?:^|\n)assert |\n\(shapes .* mismatch\)|\n\(?Mismatched elements|\nx and y \w+ location|\n ACTUAL:|\n x: "
)


def exercises(source: str) -> list[str]:
    """The names of a lesson's exercises in its order: the functions and classes that have a block between the marks.

    Raises
    ------
    ValueError
        If a mark has no partner, or a block is not inside of a function.
    """
    return list(dict.fromkeys(name for name, _, _ in _blocks(source)))


def stub(source: str) -> str:
    """The lesson that a student gets: each block is one line that raises `NotImplementedError("exercise: NAME")`.

    Blocks in the text, with what a teacher looks for in the answer to an open question, are left out.
    """
    source = without_rubrics(source)
    lines = source.splitlines(keepends=True)
    for name, begin, end in reversed(_blocks(source)):
        indent = lines[begin][: len(lines[begin]) - len(lines[begin].lstrip())]
        lines[begin : end + 1] = [f'{indent}raise NotImplementedError("exercise: {name}")\n']
    text = "".join(lines)
    if BEGIN in text or END in text:
        raise ValueError(f"{BEGIN!r} or {END!r} without its partner")
    return text


def without_rubrics(source: str) -> str:
    """A lesson without what a teacher looks for in the answers to its open questions."""
    return _RUBRIC.sub("", source)


def _blocks(source: str) -> list[tuple[str, int, int]]:
    """Each block's exercise, and the places of its two marks among the lines."""
    marks = [(i, line.strip()) for i, line in enumerate(source.splitlines()) if line.strip() in (BEGIN, END)]
    if [text for _, text in marks] != [BEGIN, END] * (len(marks) // 2):
        raise ValueError(f"wanted pairs of {BEGIN!r} and {END!r}, found {[text for _, text in marks]}")
    places = [i for i, _ in marks]
    return [(_owner(source, begin), begin, end) for begin, end in zip(places[::2], places[1::2], strict=True)]


def _owner(source: str, line: int) -> str:
    """The top-level function or class that a line (from 0) is in; the line has to be in a function."""
    try:
        tree = ast.parse(source)
    except (SyntaxError, RecursionError, MemoryError) as error:
        raise ValueError(f"the lesson is not Python: {type(error).__name__}: {error}") from error
    around = [
        node
        for node in ast.walk(tree)
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)) and node.lineno <= line < (node.end_lineno or 0)
    ]
    if not any(isinstance(node, ast.FunctionDef) for node in around):
        raise ValueError(f"line {line + 1}: {BEGIN!r} is not inside of a function")
    return min(around, key=lambda node: node.lineno).name


# ---------------------------------------------------------------------------------------------------------
# What a student hands in


def find(folder: Path, number: int) -> Path:
    """The file of a lesson, script or notebook, in a folder or in its folder `lessons`.

    Raises
    ------
    ValueError
        If there is none, or more than one.
    """
    pattern = f"lesson{number:02}_*"
    found = [
        path
        for place in (folder / "lessons", folder)
        for path in sorted(place.glob(pattern))
        if path.suffix in (".py", ".ipynb") and path.is_file()
    ]
    if len(found) != 1:
        names = " and ".join(path.name for path in found) or "none"
        raise ValueError(f"wanted one file {pattern}.py or {pattern}.ipynb, found {names}")
    return found[0]


def source_of(path: Path) -> str:
    """A lesson's Python code, from a script or from the code cells of a notebook.

    Raises
    ------
    ValueError
        If the file is not UTF-8, or not a notebook.
    """
    try:
        text = path.read_text(encoding="utf-8")
        if path.suffix != ".ipynb":
            return text
        cells = [cell for cell in parse_json(text)["cells"] if cell["cell_type"] == "code"]
        lines: list[str] = []
        for cell in cells:
            code = "".join(cell["source"]).splitlines()
            if WORK in cell.get("metadata", {}).get("tags", []):  # as importing a script leaves its work undone
                code = [f"# {line}" for line in code]
            lines += [*code, ""]
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path.name} cannot be read: {type(error).__name__}: {error}") from error
    # `%matplotlib` and `!pip` are the notebook's, not Python's
    return "".join(f"{'# ' * line.startswith(('%', '!'))}{line}\n" for line in lines)


@contextmanager
def loaded(path: Path) -> Iterator[ModuleType]:
    """A lesson as a module, made anew of what the file holds now; known by its name while the block lasts."""
    name, source = path.stem, mended(source_of(path))
    module = ModuleType(name)
    module.__file__ = str(path)
    linecache.cache[str(path)] = (len(source), None, source.splitlines(keepends=True), str(path))
    before = sys.modules.get(name)
    sys.modules[name] = module  # dataclasses look their module up
    try:
        exec(compile(source, str(path), "exec", dont_inherit=True), module.__dict__)
        yield module
    finally:
        del sys.modules[name]
        if before is not None:
            sys.modules[name] = before


def mended(source: str) -> str:
    """Code in which each top-level function that Python cannot read raises its SyntaxError instead, when called.

    So that it does not take the lesson's other exercises with it. Lines keep their numbers. Where an error is not
    inside of such a function, the code is left as it is.
    """
    for _ in range(50):
        try:
            compile(source, "", "exec", dont_inherit=True)
        except SyntaxError as error:
            if (lines := _without(source.splitlines(), error)) is None:
                break
            source = "\n".join(lines) + "\n"
        except (ValueError, RecursionError, MemoryError):  # a null byte, or more than Python's parser can take
            break
        else:
            break
    return source


def _without(lines: list[str], error: SyntaxError) -> list[str] | None:
    """The lines without the top-level function or class in which an error is; None if it is in none."""
    start = min(error.lineno or 1, len(lines)) - 1
    while start > 0 and not re.match(r"(async def|def|class)\s", lines[start]):
        start -= 1
    head = re.match(r"(?:async def|def|class)\s+(\w+)", lines[start]) if lines else None
    if head is None or lines[start].endswith("# unreadable"):
        return None
    rest = (i for i in range(start + 1, len(lines)) if re.match(r"[^\s)\]}]", lines[i]))
    end = next(rest, len(lines))
    said = f"in line {error.lineno}: {error.msg}"
    body = f"def {head[1]}(*_, **__): raise SyntaxError({said!r})  # unreadable"
    return [*lines[:start], body, *[""] * (end - start - 1), *lines[end:]]


# ---------------------------------------------------------------------------------------------------------
# Feedback


def feedback(error: BaseException) -> str:
    """One line that says what an error in a test means for the student."""
    if isinstance(error, NotImplementedError) and str(error).startswith("exercise: "):
        return "not done yet"
    if isinstance(error, SyntaxError):
        where = f"in line {error.lineno}: " if error.lineno else ""
        return one_line(f"{type(error).__name__} {where}{error.msg}")
    if isinstance(error, AssertionError):
        return one_line(_message(str(error))) or "the result is wrong"
    return one_line(f"{type(error).__name__}: {error}{_place(error)}")


def _message(text: str) -> str:
    """What the test's author wrote, without what pytest and numpy.testing add."""
    text = _ADDED.split(text, maxsplit=1)[0]
    return re.sub(r"^\s*(Not equal to tolerance|Arrays are not \S+).*\n(?=.*\S)", "", text)


def _place(error: BaseException) -> str:
    """The line of a lesson that an error came through last."""
    trace, place = error.__traceback__, ""
    while trace is not None:
        file = trace.tb_frame.f_code.co_filename
        if re.match(r"lesson\d\d_", Path(file).name):
            code = linecache.getline(file, trace.tb_lineno).strip()
            place = f" (line {trace.tb_lineno}: {code})"
        trace = trace.tb_next
    return place


def one_line(text: Any) -> str:
    """Text on one line of at most LONGEST characters, without what a terminal or XML would take for more than text."""
    line = " ".join("".join(c if unicodedata.category(c)[0] != "C" else " " for c in str(text)[: 10 * LONGEST]).split())
    return line if len(line) <= LONGEST else f"{line[: LONGEST - 1]}…"
