"""The course: finding and running the lessons.

The lessons are plain files, `lessons/lessonNN_topic.py` in a checkout; an installed package carries a copy of them.
"""

from __future__ import annotations

import ast
import runpy
import sys
from pathlib import Path

_PACKAGE = Path(__file__).parent.parent


def lessons() -> dict[int, Path]:
    """The lesson files by number.

    Raises
    ------
    FileNotFoundError
        If the installation has none.
    """
    for folder in (_PACKAGE / "_lessons", _PACKAGE.parent / "lessons"):
        found = {int(path.name[6:8]): path for path in sorted(folder.glob("lesson[0-9][0-9]_*.py"))}
        if found:
            return found
    raise FileNotFoundError(f"no lessons beside {_PACKAGE}: the installation is incomplete, install tinyadv again")


def list_lessons() -> str:
    """A line for each lesson: its number and the first line of its text."""
    lines = [f"{number:3}  {_title(path)}" for number, path in lessons().items()]
    return "\n".join(["Lessons; run one with `tinyadv lesson NUMBER`, and read it beside:", *lines])


def _title(path: Path) -> str:
    text = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or path.stem
    return f"{text.splitlines()[0]}  ({path})"


def run_lesson(number: int) -> None:
    """Run a lesson as `python lessons/lessonNN_topic.py` would.

    Raises
    ------
    ValueError
        If there is no such lesson.
    """
    found = lessons()
    if number not in found:
        raise ValueError(f"there is no lesson {number}: there are {', '.join(map(str, found))}")
    arguments, sys.argv = sys.argv, [str(found[number])]
    try:
        runpy.run_path(str(found[number]), run_name="__main__")
    finally:
        sys.argv = arguments
