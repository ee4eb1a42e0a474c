"""Exercises in a lesson: where they are, and the stub that a student gets.

The one idea: the lesson is the solution. What stands between two marks in a function is what a student has to write;
in the stub a NotImplementedError stands there, so that an exercise that was not touched says so itself.
"""

from __future__ import annotations

import ast
import re
from functools import lru_cache
from typing import NamedTuple

from .cells import parsed
from .feedback import TODO

# The conftest.py of folders that students have already got imports these two from here.
from .submissions import find as find
from .submissions import loaded as loaded

BEGIN, END = "### BEGIN SOLUTION", "### END SOLUTION"
_RUBRIC = re.compile(rf"(?P<gap>^#\n)?^# {BEGIN}\n(?:#.*\n)*?# {END}\n(?:#\n)?", re.MULTILINE)
_POINTS = re.compile(r"\*\*For the teacher\*\*, (\d+) points")
_ANSWER = """
# %% [markdown]
# **Your answer** (your teacher gives it up to {points} points):
#
# …

# %% [markdown]
"""


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

    Blocks in the text say what a teacher looks for in the answer to an open question. In their place is a cell for the
    student's answer.
    """
    source = _with_places_for_answers(source)
    lines = source.splitlines(keepends=True)
    for name, begin, end in reversed(_blocks(source)):
        indent = lines[begin][: len(lines[begin]) - len(lines[begin].lstrip())]
        lines[begin : end + 1] = [f'{indent}raise NotImplementedError("{TODO}{name}")\n']
    text = "".join(lines)
    if BEGIN in text or END in text:
        raise ValueError(f"{BEGIN!r} or {END!r} without its partner")
    return text


class Piece(NamedTuple):
    """A part of a lesson as a student gets it: an exercise by its name, or, with name "", what stands between two."""

    name: str
    text: str


def pieces(source: str) -> list[Piece]:
    """The lesson that a student gets in parts, each exercise by itself: joined they are `stub(source)`."""
    source = _with_places_for_answers(source)
    lines, found, begun = source.splitlines(keepends=True), list[Piece](), 0
    for start, end in spans(source):
        text = "".join(lines[start:end])
        found += [Piece("", "".join(lines[begun:start])), Piece(exercises(text)[0], stub(text))]
        begun = end
    return [*found, Piece("", "".join(lines[begun:]))]


def spans(source: str) -> list[tuple[int, int]]:
    """The first line (from 0) of each exercise's function or class, with the comments above it, and the line after."""
    lines, found = source.splitlines(), []
    for node in parsed(source).body:
        end = node.end_lineno or len(lines)
        start = min([node.lineno, *(d.lineno for d in getattr(node, "decorator_list", []))]) - 1
        while start and lines[start - 1].startswith("#") and not lines[start - 1].startswith("# %%"):
            start -= 1
        while end < len(lines) and lines[end].startswith(" "):
            end += 1  # the mark at a solution's end is a comment, of which Python's syntax knows nothing
        if any(BEGIN in line for line in lines[start:end]):
            found.append((start, end))
    return found


def _with_places_for_answers(source: str) -> str:
    return _RUBRIC.sub(lambda block: _ANSWER.format(points=points_in(block[0])), source)


def without_rubrics(source: str) -> str:
    """A lesson without what a teacher looks for in the answers to its open questions."""
    return _RUBRIC.sub(r"\g<gap>", source)


def open_questions(source: str) -> list[int]:
    """What each open question of a lesson is worth, in points that a teacher gives."""
    return [points_in(block[0]) for block in _RUBRIC.finditer(source)]


def points_in(rubric: str) -> int:
    """What an open question is worth, by the text that says what to look for in its answer."""
    found = _POINTS.search(rubric)
    return int(found[1]) if found else 3


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
        tree = _parsed(source)
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


_parsed = lru_cache(maxsize=1)(parsed)  # a lesson has several blocks
