"""What the tests of the exercises share: the lesson to test, and at the end what was earned, with a line of feedback.

A test of an exercise is marked `@pytest.mark.exercise("function", points=2)` and asks for `lesson`: the module. Its
points are earned when it passes, or when all its cases do.
"""

import json
from pathlib import Path

import pytest

from tinyadv.course.exercises import feedback, find, loaded, one_line

HERE = Path(__file__).resolve().parent
EXPORTED = (HERE.parent / "lessons").is_dir()  # a student's folder; in a checkout the lessons are higher up


def pytest_configure(config):
    config.addinivalue_line("markers", "exercise(name, points): a test of this exercise of the lesson, and its worth")


@pytest.fixture
def folder():
    """The folder with the lessons that are tested."""
    return HERE.parent if EXPORTED else HERE.parents[1]


@pytest.fixture
def lesson(request, folder):
    """The lesson that a test file test_lessonNN.py is about, as a module."""
    with loaded(find(folder, int(request.path.stem[11:13]))) as module:
        yield module


# ---------------------------------------------------------------------------------------------------------
# The table at the end: exercise, points, feedback. The notes are for `tinyadv lesson`.

TESTS = pytest.StashKey()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    report = yield
    marker = item.get_closest_marker("exercise")
    if marker and (report.when == "call" or report.outcome != "passed"):
        said = ""
        if call.excinfo:
            number = int(item.path.stem[11:13])
            try:
                said = feedback(call.excinfo.value, find(item.funcargs["folder"], number))
            except (KeyError, ValueError):
                said = one_line(call.excinfo.value)
        key = (item.path.stem[5:], marker.args[0])
        test = item.config.stash.setdefault(TESTS, {}).setdefault(key, {}).setdefault(item.originalname, {})
        test["points"] = marker.kwargs["points"]
        test["said"] = test.get("said") or ("" if report.outcome == "passed" else said or "it fails")
    return report


def pytest_terminal_summary(terminalreporter, config):
    found = config.stash.get(TESTS, {})
    if not EXPORTED or not found:
        return
    terminalreporter.write_sep("=", "exercises")
    for (lesson_name, name), tests in found.items():
        points, earned = (sum(t["points"] for t in tests.values() if not t["said"] * only) for only in (0, 1))
        said = next((t["said"] for t in tests.values() if t["said"]), "")
        terminalreporter.write_line(f"{lesson_name}  {name:24} {earned:g} of {points:g} points  {said}".rstrip())
    _keep({f"{lesson_name} {name}": not any(t["said"] for t in tests.values()) for (lesson_name, name), tests in found.items()})


def _keep(solved):
    """Note which exercises are solved."""
    path = HERE.parent / "tinyadv-results" / "exercises.json"
    try:
        notes = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        notes = {}
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps({**notes, **solved}, indent=1, sort_keys=True), encoding="utf-8")
