"""`check` in a notebook: the tests' feedback on the function that stands there.

>>> check(fgsm)                                                                            # doctest: +SKIP
fgsm: right, 3 of 3 points (lesson 3)

The one idea: pytest runs the very tests of the exported folder; only their `lesson` is what stands in the notebook.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from types import ModuleType
from typing import Any

from .exercises import exercises
from .export import graded_lessons, tests_folder
from .judging import first, verdict


def check(answer: Callable[..., Any] | str, test: str | None = None) -> None:
    """Test an exercise as it stands here, and print what `pytest` in the exported folder would say.

    Parameters
    ----------
    answer : function, class or str
        The exercise, or its name.
    test : str, optional
        Only this one of its tests; then AssertionError is raised where it fails, as nbgrader wants it.

    Raises
    ------
    ValueError
        If there is no such exercise, or no such test of it, or pytest is not installed.
    """
    name = answer if isinstance(answer, str) else getattr(answer, "__name__", type(answer).__name__)
    number = _lesson_of(name)
    lesson = _here(name, answer)
    points, said = tested(number, name, lambda: nullcontext(lesson))
    if test is not None:
        if test not in said:
            raise ValueError(f"{name} has no test {test!r}: there are {', '.join(said)}")
        points, said = {test: points[test]}, {test: said[test]}
    line = first(said)
    if test is not None and line:
        raise AssertionError(line)
    earned = sum(worth for each, worth in points.items() if not said[each])
    print(f"{name}: {line or 'right'}, {earned:g} of {sum(points.values()):g} points (lesson {number})")


def _lesson_of(name: str) -> int:
    for number, path in graded_lessons().items():
        if name in exercises(path.read_text(encoding="utf-8")):
            return number
    raise ValueError(f"there is no exercise {name!r}: wanted an exercise's name, in quotation marks, or its function")


def _here(name: str, answer: Callable[..., Any] | str) -> ModuleType:
    """What stands where `check` was called, as the module that tests ask for."""
    here = sys._getframe(2).f_globals
    lesson = ModuleType("notebook")
    vars(lesson).update({key: value for key, value in here.items() if not key.startswith("__")})
    if not isinstance(answer, str):
        setattr(lesson, name, answer)
    elif not hasattr(lesson, name):
        raise ValueError(f"{name} is not defined here yet: run its cell first")
    return lesson


def tested(
    number: int, name: str, opened: Callable[[], AbstractContextManager[ModuleType]]
) -> tuple[dict[str, float], dict[str, str]]:
    """Run the tests of one exercise, each case on the module that `opened()` gives for as long as it runs.

    Returns
    -------
    (dict, dict)
        By test what it is worth, and a line of feedback, "" where all of its cases pass.

    Raises
    ------
    ValueError
        If pytest is not installed.
    """
    try:
        import pytest
    except ImportError as error:
        raise ValueError("checking needs pytest, which is not installed: pip install 'tinyadv[course]'") from error

    points: dict[str, float] = {}
    said: dict[str, str] = {}

    class Answers:
        """Gives tests their lesson, runs those of one exercise alone, and keeps what they say."""

        @pytest.fixture
        def lesson(self) -> Iterator[ModuleType]:
            """The lesson that is tested."""
            with opened() as module:
                yield module

        def pytest_configure(self, config: Any) -> None:
            marker = "exercise(name, points): a test of this exercise of a lesson, and its worth"
            config.addinivalue_line("markers", marker)

        def pytest_collection_modifyitems(self, items: list[Any]) -> None:
            marks = {item: item.get_closest_marker("exercise") for item in items}
            items[:] = [item for item, mark in marks.items() if mark is not None and mark.args[0] == name]
            points.update({item.originalname: float(marks[item].kwargs["points"]) for item in items})

        @pytest.hookimpl(wrapper=True)
        def pytest_runtest_makereport(self, item: Any, call: Any) -> Any:
            report = yield
            line = verdict(item, call, report)
            if line is not None:
                said[item.originalname] = said.get(item.originalname) or line
            return report

    path = tests_folder() / f"test_lesson{number:02}.py"
    options = ["-c", os.devnull, "--rootdir", str(path.parent), "--import-mode=importlib", "--noconftest"]
    options += ["--capture=no"]
    # not what pytest adds to an assertion's words either: it is not shown, and needs a terminal to be made; nor what
    # collects all garbage ten times, which takes longer than the tests do
    unneeded = ["assertion", "cacheprovider", "debugging", "faulthandler", "logging", "terminal"]
    unneeded += ["unraisableexception", "warnings"]
    quiet = [word for name in unneeded for word in ("-p", f"no:{name}")]
    alone = {key: os.environ.pop(key) for key in ("PYTEST_ADDOPTS", "PYTEST_PLUGINS") if key in os.environ}
    try:
        code = pytest.main([*options, *quiet, str(path)], plugins=[Answers()])
    finally:
        os.environ.update(alone)
    if code == pytest.ExitCode.INTERRUPTED:  # Ctrl-C, or Stop in Jupyter
        raise KeyboardInterrupt
    if set(said) != set(points) or not points:
        raise RuntimeError(f"lesson {number}, {name}: the tests cannot be run: pytest ended with {code!r}")
    return points, said
