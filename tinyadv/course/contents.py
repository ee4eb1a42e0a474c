"""The list of lessons: what each answers, and what the reader has done of it.

Done is what can be seen from the folder in which the reader works: a lesson that ran has left its figures there, and
`pytest` in a student's folder notes which exercises are solved.
"""

from __future__ import annotations

import ast
import re
import shutil
import textwrap
from pathlib import Path

from ..paper.claims import Claim, claims
from ..storage import parse_json
from . import FIGURES, lessons, title
from .exercises import exercises

NOTES = FIGURES.parent / "exercises.json"


def list_lessons() -> str:
    """Each lesson's number, title, what was done of it, the claims that it answers, and its file."""
    solved = _notes()
    entries = ["\n".join(_entry(number, path, solved)) for number, path in lessons().items()]
    return "\n\n".join([*entries, "Run one with `tinyadv lesson NUMBER` while you read its file."])


def _entry(number: int, path: Path, solved: dict[str, bool]) -> list[str]:
    source = path.read_text(encoding="utf-8")
    names = exercises(source)
    done = ["run"] if any(FIGURES.glob(f"{path.stem[:8]}_*")) else []
    if names:
        right = sum(solved.get(f"lesson {number}, {name}", False) for name in names)
        done.append(f"{right} of {len(names)} exercises solved" if right else f"{len(names)} exercises")
    entry = [f"{number:4}  {title(path)}", f"      [{', '.join(done)}]"] if done else [f"{number:4}  {title(path)}"]
    width = max(40, shutil.get_terminal_size((100, 24)).columns)
    for answer in _answers(source):
        entry += textwrap.wrap(answer, width, initial_indent=" " * 6, subsequent_indent=" " * 8)
    return [*entry, f"      {path}"]


def answers(source: str) -> list[Claim]:
    """The paper's claims whose numbers a lesson shows, in its order: those that its code names."""
    ids = dict.fromkeys(re.findall(r'"([\w-]+)"', source))
    return [claims()[name] for name in ids if name in claims()]


def _answers(source: str) -> list[str]:
    """The paper's claims that a lesson measures; for a lesson without any, its own text's second paragraph."""
    if answered := answers(source):
        return [f"{claim.id} (§ {claim.section}): {' '.join(claim.claim.split())}" for claim in answered]
    text = ast.get_docstring(ast.parse(source)) or ""
    return [" ".join(paragraph.split()) for paragraph in text.split("\n\n")[1:2]]


def _notes() -> dict[str, bool]:
    try:
        notes = parse_json(NOTES.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return {name: done for name, done in notes.items() if isinstance(done, bool)} if isinstance(notes, dict) else {}
