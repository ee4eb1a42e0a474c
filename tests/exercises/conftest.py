"""What the tests of the exercises share: the lesson to test, and at the end what was earned, with a line of feedback.

A test of an exercise is marked `@pytest.mark.exercise("function", points=2)` and asks for `lesson`: the module. Its
points are earned when it passes; where it has several cases, when all of them do.
"""

import _thread
import json
import signal
import threading
from contextlib import contextmanager
from pathlib import Path

import pytest

from tinyadv.course.feedback import NOT_DONE
from tinyadv.course.judging import first, lesson_number, verdict
from tinyadv.course.submissions import find, loaded

HERE = Path(__file__).resolve().parent
EXPORTED = (HERE.parent / "lessons").is_dir()  # a student's folder; in a checkout the lessons are higher up
SCORES = pytest.StashKey[dict]()
SLOW = pytest.StashKey[set]()
SECONDS = 60  # for a test of an exercise; then it is stopped


def pytest_configure(config):
    config.addinivalue_line("markers", "exercise(name, points): a test of this exercise of the lesson, and its worth")
    config.stash[SCORES], config.stash[SLOW] = {}, set()


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
def pytest_runtest_setup(item):
    with _stopped_when_late(item):
        return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item):
    with _stopped_when_late(item):
        return (yield)


@contextmanager
def _stopped_when_late(item):
    """An endless loop costs its exercise, in a student's folder; grading has limits of its own."""
    late, marker, slow = threading.Event(), item.get_closest_marker("exercise"), item.config.stash[SLOW]
    name = f"lesson {lesson_number(item)}, {marker.args[0]}" if marker else item.name
    said = f"{name} did not end within {SECONDS} s: is there an endless loop?"
    assert name not in slow, said  # nobody wants to wait for it a second time

    def stop():
        late.set()
        _thread.interrupt_main()

    timer, before = threading.Timer(SECONDS, stop), None
    try:
        if EXPORTED:
            timer.start()
            # a shell's background jobs ignore SIGINT, and interrupt_main would do nothing
            before = signal.signal(signal.SIGINT, signal.default_int_handler)
    except RuntimeError:  # no threads in WebAssembly: a page ends its worker
        pass
    try:
        yield
    except KeyboardInterrupt:
        if not late.is_set():
            raise
        slow.add(name)
        raise AssertionError(said) from None
    finally:
        timer.cancel()
        if before is not None:
            signal.signal(signal.SIGINT, before)


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
        report.not_done = said == NOT_DONE
    return report


def pytest_report_teststatus(report):
    """What is not done is a kind of its own: it fails, but nobody wants to read a page about it."""
    if getattr(report, "not_done", False) and report.failed:
        return NOT_DONE, "n", NOT_DONE.upper()
    return None


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_terminal_summary(terminalreporter, config):
    """The table of points is the last thing that one reads."""
    yield
    scores = config.stash[SCORES]
    if not scores:
        return
    terminalreporter.section("exercises")
    waiting = [exercise for exercise, (_, tests) in scores.items() if set(tests.values()) == {NOT_DONE}]
    for exercise, (points, tests) in scores.items():
        if exercise not in waiting:
            earned = sum(worth for name, worth in points.items() if not tests[name])
            terminalreporter.write_line(f"{exercise}: {earned:g} of {sum(points.values()):g} points")
            if any(tests.values()):
                terminalreporter.write_line(f"    {first(tests)}")
    if waiting:
        few = ": " + "; ".join(waiting) if len(waiting) <= 5 else ""
        terminalreporter.write_line(f"{NOT_DONE}: {len(waiting)} of {len(scores)} exercises{few}")
    try:
        _note({exercise: not any(tests.values()) for exercise, (_, tests) in scores.items()})
    except OSError as error:
        terminalreporter.write_line(f"`tinyadv lesson` will not know of this: {error}")


def _note(solved):
    """Keep which exercises are solved, for `tinyadv lesson`."""
    path = HERE.parent / "tinyadv-results" / "exercises.json"
    try:
        before = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        before = {}
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps({**before, **solved}, indent=1, ensure_ascii=False), encoding="utf-8")
