"""What a submission earned, and saying it: a table, JSON, JUnit XML, and the results.json of Gradescope.

Feedback may quote what a submission said; it has been made one plain line before it gets here, and stays text in
every format.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any
from xml.etree import ElementTree

from . import lessons
from .exercises import open_questions


@dataclass(frozen=True)
class Check:
    """One test: `feedback` is "" where its points are earned."""

    name: str
    points: float
    feedback: str

    @property
    def earned(self) -> float:
        """All of its points, or none."""
        return 0.0 if self.feedback else self.points


@dataclass(frozen=True)
class Exercise:
    """One exercise of a lesson, and its tests."""

    lesson: int
    name: str
    tests: tuple[Check, ...]

    @property
    def points(self) -> float:
        """What it is worth."""
        return sum(test.points for test in self.tests)

    @property
    def earned(self) -> float:
        """What its tests earned."""
        return sum(test.earned for test in self.tests)

    @property
    def feedback(self) -> str:
        """Of the tests that failed, the first one's line; "" where none did."""
        return next((test.feedback for test in self.tests if test.feedback), "")


def total(exercises: list[Exercise]) -> tuple[float, float]:
    """Points earned, and what all is worth."""
    return sum(e.earned for e in exercises), sum(e.points for e in exercises)


def questions(exercises: list[Exercise]) -> dict[int, list[int]]:
    """The open questions of these exercises' lessons: for each, the points that a teacher may give its answer."""
    there = lessons()
    chosen = [number for number in dict.fromkeys(e.lesson for e in exercises) if number in there]
    found = {number: open_questions(there[number].read_text(encoding="utf-8")) for number in chosen}
    return {number: points for number, points in found.items() if points}


def table(exercises: list[Exercise], console: Any) -> None:
    """Print exercise, points and feedback on a rich console."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table
    from rich.text import Text

    shown = Table(box=SIMPLE_HEAD, pad_edge=False)
    shown.add_column("lesson", justify="right")
    shown.add_column("exercise", no_wrap=True)
    shown.add_column("points", justify="right", no_wrap=True)
    shown.add_column("feedback")
    for e in exercises:
        shown.add_row(str(e.lesson), Text(e.name), f"{e.earned:g} / {e.points:g}", Text(e.feedback or "right"))
    console.print(shown)
    earned, points = total(exercises)
    solved = sum(not e.feedback for e in exercises)
    console.print(f"{earned:g} of {points:g} points, {solved} of {len(exercises)} exercises solved", highlight=False)
    if waiting := questions(exercises):
        listed = ", ".join(f"lesson {number} ({sum(points)} points)" for number, points in waiting.items())
        console.print(f'not in these points, for the teacher to mark: "To think about" in {listed}', highlight=False)


def as_json(exercises: list[Exercise], about: dict[str, Any] | None = None) -> str:
    """Everything, for other programs; `about` says whose submission it is, when it was graded, and by which version."""
    earned, points = total(exercises)
    entries = [
        {
            "lesson": e.lesson,
            "exercise": e.name,
            "earned": e.earned,
            "points": e.points,
            "feedback": e.feedback,
            "tests": [
                {"name": t.name, "earned": t.earned, "points": t.points, "feedback": t.feedback} for t in e.tests
            ],
        }
        for e in exercises
    ]
    waiting = [
        {"lesson": number, "question": "To think about", "earned": None, "points": worth, "marked_by": "teacher"}
        for number, each in questions(exercises).items()
        for worth in each
    ]
    whole = {"format": "tinyadv grade 1", **(about or {}), "earned": earned, "points": points, "exercises": entries}
    whole["open_questions"] = waiting  # no part of the points above
    return json.dumps(whole, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def as_junit(exercises: list[Exercise]) -> str:
    """JUnit XML: a suite for each lesson, a case for each test."""
    root = ElementTree.Element("testsuites")
    for lesson in dict.fromkeys(e.lesson for e in exercises):
        tests = [(e, test) for e in exercises if e.lesson == lesson for test in e.tests]
        failures = sum(bool(test.feedback) for _, test in tests)
        counts = {"tests": str(len(tests)), "failures": str(failures), "errors": "0", "skipped": "0"}
        suite = ElementTree.SubElement(root, "testsuite", {"name": f"lesson{lesson:02}", **counts})
        for e, test in tests:
            case = ElementTree.SubElement(suite, "testcase", classname=f"lesson{lesson:02}.{e.name}", name=test.name)
            if test.feedback:
                ElementTree.SubElement(case, "failure", message=test.feedback).text = test.feedback
    ElementTree.indent(root)
    return ElementTree.tostring(root, encoding="unicode", xml_declaration=True) + "\n"


def as_gradescope(exercises: list[Exercise]) -> str:
    """The results.json of Gradescope's autograders: https://gradescope-autograders.readthedocs.io/en/latest/specs/."""
    entries = [
        {
            "name": f"lesson {e.lesson}: {e.name}",
            "score": e.earned,
            "max_score": e.points,
            "status": "failed" if e.feedback else "passed",
            "output": e.feedback or "right",
            "output_format": "text",
            "visibility": "visible",
        }
        for e in exercises
    ]
    whole = {"score": total(exercises)[0], "output_format": "text", "tests": entries}
    return json.dumps(whole, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
