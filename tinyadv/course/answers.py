"""Answers to the open questions of lessons: what a student wrote where the exported lesson says "Your answer"."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from . import lessons
from .exercises import open_questions, stub
from .submissions import find, largest, texts, texts_of

# What `exercises.stub` writes before the place for an answer. Some students answer on the same line.
HERE = re.compile(r"^[ \t]*\*\*Your answer\*\*(?: \([^)\n]*\))?:?", re.MULTILINE)
LONGEST = 20_000  # characters of an answer


@dataclass(frozen=True)
class Answer:
    """An open question of a lesson, the `question`-th from 1, its worth, and what was answered; "" for nothing."""

    lesson: int
    question: int
    points: int
    text: str


def answers(folder: Path, numbers: Iterable[int]) -> tuple[Answer, ...]:
    """The answers in a submission, a folder as `uploads.opened` gives it, to all open questions of these lessons."""
    found: list[Answer] = []
    for number in numbers:
        source = lessons()[number].read_text(encoding="utf-8")
        worth = open_questions(source)
        written = _written(folder, number, source) if worth else []
        written += [""] * (len(worth) - len(written))
        found += [Answer(number, i, points, written[i - 1]) for i, points in enumerate(worth, 1)]
    return tuple(found)


def _written(folder: Path, number: int, source: str) -> list[str]:
    """The answers in a lesson's file, one for each place; none if the file is missing or cannot be read.

    An answer goes on through the cells that its student added below, until a text that was there before. Code in it is
    passed over.
    """
    try:
        path = find(folder, number)
        if path.is_symlink() or path.stat().st_size > largest(path.name):
            return []
        cells = texts(path)
    except (ValueError, OSError):
        return []
    given = {_words(cell) for cell in texts_of(stub(source)) if not HERE.search(cell)}
    found: list[list[str]] = []
    inside = False
    for cell in cells:
        _, *below = HERE.split(cell)
        if below:
            inside = True
            found += [[text] for text in below]
        elif cell and _words(cell) in given:
            inside = False
        elif cell and inside:
            found[-1].append(cell)
    return [_plain("\n\n".join(part.strip() for part in parts)) for parts in found]


def _words(text: str) -> str:
    return " ".join(text.split())


def _plain(text: str) -> str:
    """An answer without what a terminal would take for commands; "" where only the place for it was left."""
    lines = ["".join(c if c == "\t" or unicodedata.category(c)[0] != "C" else " " for c in line).rstrip()
             for line in text.split("\n")]  # fmt: skip
    said = "\n".join(lines).strip()[:LONGEST]
    return "" if said in ("", "…", "...") else said.removeprefix("…").strip()
