"""What a test of an exercise says, read from pytest's own objects: in a student's folder and in grading."""

from __future__ import annotations

from typing import Any

from .exercises import feedback, one_line


def lesson_number(item: Any) -> int:
    """The lesson that a test in a file test_lessonNN.py is about."""
    return int(item.path.stem.removeprefix("test_lesson")[:2])


def verdict(item: Any, call: Any, report: Any) -> str | None:
    """A line of feedback on a phase of a test that went wrong; "" for a test that passed; None says nothing yet.

    The arguments are those of pytest's hook `pytest_runtest_makereport`, and the report that it made.
    """
    if report.outcome == "passed":
        return "" if report.when == "call" else None
    if report.outcome == "skipped":
        return one_line(f"the test was skipped: {getattr(call.excinfo, 'value', '')}")
    return feedback(call.excinfo.value) or "the test failed"


def first(said: dict[str, str]) -> str:
    """Of the feedback of several tests, the first that says something."""
    return next((line for line in said.values() if line), "")
