"""What the tests of the exercises share: the lesson to test, and at the end what was earned, with a line of feedback.

A test of an exercise is marked `@pytest.mark.exercise("function", points=2)` and asks for `lesson`: the module. Its
points are earned when it passes; where it has several cases, when all of them do.
"""

import json
from pathlib import Path

import pytest

from tinyadv.course.exercises import find, loaded
from tinyadv.course.judging import first, lesson_number, verdict

HERE = Path(__file__).resolve().parent
EXPORTED = (HERE.parent / "lessons").is_dir()  # a student's folder; in a checkout the lessons are higher up
SCORES = pytest.StashKey[dict]()


def pytest_configure(config):
    config.addinivalue_line("markers", "exercise(name, points): a test of this exercise of the lesson, and its worth")
    config.stash[SCORES] = {}


@pytest.fixture
def folder():
    """The folder with the lessons that are tested."""
    return HERE.parent if EXPORTED else HERE.parents[1]


@pytest.fixture
def lesson(request, folder):
    """The lesson that a test file test_lessonNN.py is about, as a module."""
    with loaded(find(folder, lesson_number(request.node))) as module:
        yield module


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    report = yield
    marker = item.get_closest_marker("exercise")
    said = verdict(item, call, report) if marker and EXPORTED else None
    if said is not None:
        exercise = f"lesson {lesson_number(item)}, {marker.args[0]}"
        points, tests = item.config.stash[SCORES].setdefault(exercise, ({}, {}))
        points[item.originalname] = marker.kwargs["points"]
        tests[item.originalname] = tests.get(item.originalname) or said
    return report


def pytest_terminal_summary(terminalreporter, config):
    scores = config.stash[SCORES]
    if not scores:
        return
    terminalreporter.section("exercises")
    for exercise, (points, tests) in scores.items():
        earned = sum(worth for name, worth in points.items() if not tests[name])
        terminalreporter.write_line(f"{exercise}: {earned:g} of {sum(points.values()):g} points")
        if any(tests.values()):
            terminalreporter.write_line(f"    {first(tests)}")
    _note({exercise: not any(tests.values()) for exercise, (_, tests) in scores.items()})


def _note(solved):
    """Keep which exercises are solved, for `tinyadv lesson`."""
    path = HERE.parent / "tinyadv-results" / "exercises.json"
    try:
        before = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        before = {}
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps({**before, **solved}, indent=1, ensure_ascii=False), encoding="utf-8")
