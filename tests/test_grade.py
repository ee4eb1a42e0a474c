"""Grading: right and wrong answers, and submissions that would rather not be graded; each costs its own points only."""

from __future__ import annotations

import io
import json
import os
import re
import signal
import sys
from collections.abc import Iterable
from pathlib import Path
from types import SimpleNamespace
from xml.etree import ElementTree

import pytest
from rich.console import Console

from tinyadv import cli
from tinyadv.course import grade as grading
from tinyadv.course import lessons, runner
from tinyadv.course.exercises import exercises, open_questions, stub, without_rubrics
from tinyadv.course.export import tests_folder as folder_of_tests
from tinyadv.course.feedback import LONGEST, feedback, one_line
from tinyadv.course.grade import grade
from tinyadv.course.scores import Check, Exercise, as_gradescope, as_json, as_junit, table, total
from tinyadv.course.submissions import cells, find, loaded, mended

pytest.importorskip("resource", reason="limits of processes are POSIX's")

RIGHT = "return x + 1"
SOLUTION = lessons()[1]

# Each is the body of a function of its own, f(x), that ought to return x + 1, and the feedback that it has to get, or
# nothing where it earns its points. These are an exercise each, so a process each;
ALONE = {
    "right": (RIGHT, ""),
    "wrong": ("return x - 1", "the sign is wrong"),
    "stub": ('raise NotImplementedError("exercise: stub")', "not done yet"),
    "exits": ("import os\n    os._exit(0)", "your code ended the process (exit code 0)"),
    "exits_pytest": ("import pytest\n    pytest.exit('enough', returncode=0)", "your code ended the process"),
    "interrupts": ("raise KeyboardInterrupt", "your code ended the process"),
    "aborts": ("import os\n    os.abort()", "SIGABRT"),
    "raises_a_signal_without_a_name": ("import signal\n    signal.raise_signal(signal.SIGRTMIN + 1)", "by signal "),
    "leaves_a_thread": (
        "import threading\n    threading.Thread(target=lambda: threading.Event().wait()).start()\n    return x + 1",
        "",
    ),
    "forges": (
        """import os
    for fd in range(50):
        try:
            os.write(fd, b'\\n' + b'0' * 64 + b' {"test": "test_forges", "said": ""}\\n')
        except OSError:
            pass
    os._exit(0)""",
        "your code ended the process",
    ),
    "floods": (
        """import os
    for fd in range(50):
        try:
            for _ in range(50):
                os.write(fd, b'x' * 10**6)
        except OSError:
            pass
    return x + 1""",
        "your code wrote where only the grader may write",
    ),
    "patches_a_comparison": (
        "import numpy.testing\n    numpy.testing.assert_allclose = print\n    return x - 1",
        "the submission changed numpy.testing.assert_allclose",
    ),
    "patches_pytest": (
        "import _pytest.python\n    _pytest.python.Function.runtest = lambda self: None\n    return x + 1",
        "the submission changed _pytest.python.Function.runtest",
    ),
    "patches_python": (
        "import builtins\n    builtins.abs = lambda x: 0\n    return x - 1",
        "the submission changed builtins.abs",
    ),
    "patches_and_restores": (
        """import pytest
    class Result(int):
        def __del__(self, was=pytest.raises):
            pytest.raises = was
    pytest.raises = None
    return Result(x + 1)""",
        "the submission changed pytest.raises",
    ),
    "patches_what_would_say_so": (
        "import builtins, json\n    builtins.any = json.dumps = lambda *_: ''\n    return x - 1",
        "the submission changed builtins.any",
    ),
    "patches_the_tests": (
        "import numpy\n    numpy.one.__globals__['test_right'] = None\n    return x + 1",
        "the submission changed test_lesson01.test_right",
    ),
    "equals_everything": (
        "class Yes(float):\n        __eq__ = lambda self, other: True\n    return Yes(x)",
        "which decides itself what it is equal to",
    ),
}
# these leave the process as it was: they are tests of one exercise, in one process.
TOGETHER = {
    "raises": ("return x / 0", "ZeroDivisionError: division by zero (line "),
    "unreadable": ("return (x +", "SyntaxError in line "),
    "recurses": ("return recurses(x) + 1", "RecursionError"),
    "fills_memory": ("return len(bytearray(3 << 30)) * 0 + x + 1", "MemoryError"),
    "exits_softly": ("import sys\n    sys.exit(0)", "SystemExit"),
    "skips": ("import pytest\n    pytest.skip('no time')", "the test was skipped: no time"),
    "reads_the_solution": (f"open({str(SOLUTION)!r})", "an exercise may not open"),
    "imports_the_solution": (
        f"import sys\n    sys.path.insert(0, {str(SOLUTION.parent)!r})\n    import {SOLUTION.stem}",
        SOLUTION.stem,
    ),
    "opens_its_folder": (
        f"import os\n    fd = os.open({str(SOLUTION.parent.parent)!r}, os.O_RDONLY)",
        "an exercise may not open",
    ),
    "reads_wrong_answers": (
        "import numpy, pathlib\n    here = pathlib.Path(numpy.one.__globals__['__file__']).parent\n"
        "    open(here / 'wrong' / 'lesson01.py')",
        "PermissionError: an exercise may not open lesson01.py (line",
    ),
    "asks_the_tests": (
        "import sys\n    for module in list(sys.modules.values()):\n        if hasattr(module, 'test_right'):\n"
        "            return module.one() + 1\n    raise LookupError('no tests')",
        "LookupError: no tests",
    ),
    "imports_the_tests": (
        "import numpy, pathlib, sys\n"
        "    sys.path.insert(0, str(pathlib.Path(numpy.one.__globals__['__file__']).parent))\n"
        "    import test_lesson01\n    return test_lesson01.one() + 1",
        "test_lesson01",
    ),
    "opens_the_package": (
        "import os, tinyadv\n    os.open(os.path.dirname(tinyadv.__file__), os.O_RDONLY)",
        "an exercise may not open",
    ),
    "reads_with_numpy": (f"import numpy\n    numpy.fromfile({str(SOLUTION)!r}, dtype='uint8')", "may not open"),
    "loads_the_solution": (
        f"import importlib.machinery as m\n    m.SourceFileLoader('a', {str(SOLUTION)!r}).load_module()",
        "may not open",
    ),
    "reads_elsewhere": ("open('/etc/passwd')", "an exercise may not open /etc/passwd"),
    "reads_its_memory": ("open('/proc/self/mem', 'rb')", "an exercise may not open"),
    "edits_the_tests": (f"open({str(folder_of_tests() / 'conftest.py')!r}, 'a')", "an exercise may not write"),
    "deletes": (f"import os\n    os.remove({str(folder_of_tests() / 'nothing')!r})", "may not change"),
    "links": (f"import os\n    os.symlink({str(SOLUTION)!r}, 'mine.py')", "may not do this: os.symlink"),
    "starts": ("import subprocess\n    subprocess.run(['true'])", "may not do this: subprocess.Popen"),
    "forks": ("import os\n    os.fork()", "may not do this: os.fork"),
    "kills": ("import os\n    os.kill(os.getppid(), 9)", "may not do this: os.kill"),
    "connects": ("import socket\n    socket.socket()", "may not do this: socket"),
    "climbs_frames": ("import sys\n    sys._getframe(1)", "may not do this: sys._getframe"),
    "climbs_a_traceback": (
        "try:\n        1 / 0\n    except ZeroDivisionError as error:\n        error.__traceback__.tb_frame.f_back",
        "may not do this: object.__getattr__",
    ),
    "starts_as_windows_does": ("import sys\n    sys.audit('_winapi.CreateProcess')", "may not do this: _winapi.Create"),
    "writes_nowhere": ("import os\n    open(os.devnull, 'w').close()\n    return x + 1", ""),
    "collects": ("import gc\n    gc.get_objects()", "may not do this: gc.get_objects"),
    "writes_in_its_folder": (
        "import pathlib\n    pathlib.Path('a').write_text(str(x))\n    return int(open('a').read()) + 1",
        "",
    ),
    "prints": ("for _ in range(200):\n        print('x' * 10**6)\n    return x + 1", ""),
}
BODIES = ALONE | TOGETHER


def lesson_of(bodies: dict[str, str]) -> str:
    return '"""A lesson."""\n\n' + "".join(f"def {name}(x):\n    {body}\n\n\n" for name, body in bodies.items())


@pytest.fixture
def course(tmp_path, monkeypatch):
    """`course(*names, together=names)`: a course of one lesson, with exercises of a test each, and one of several.

    Returned is the folder of a submission, empty yet.
    """

    def make(*names: str, together: Iterable[str] = ()) -> Path:
        tests, handed_in = tmp_path / "tests", tmp_path / "handed in" / "lessons"
        tests.mkdir()
        handed_in.mkdir(parents=True)
        conftest = (folder_of_tests() / "conftest.py").read_text(encoding="utf-8")
        (tests / "conftest.py").write_text(conftest, encoding="utf-8")
        (tests / "wrong").mkdir()
        (tests / "wrong" / "lesson01.py").touch()
        exercise = dict.fromkeys(names, None) | dict.fromkeys(together, "together")
        source = lesson_of(
            dict.fromkeys(
                [*names, *["together"] * bool(together)], f"### BEGIN SOLUTION\n    {RIGHT}\n    ### END SOLUTION"
            )
        )
        (tmp_path / "lesson01_one.py").write_text(source, encoding="utf-8")
        text = "import pytest\nimport numpy as np\nfrom numpy.testing import assert_allclose\n\n\n"
        text += "def one():\n    return 1\n\n\nnp.one = one\n"  # as what tests hand to a submission, a way to them
        text += "".join(
            f'\n\n@pytest.mark.exercise("{group or name}", points=2)\ndef test_{name}(lesson):\n'
            f'    assert lesson.{name}(one()) == 2, "the sign is wrong"\n'
            for name, group in exercise.items()
        )
        (tests / "test_lesson01.py").write_text(text, encoding="utf-8")
        monkeypatch.setattr(grading, "PATIENCE", 900.0)  # where other work leaves little of the processor to this
        monkeypatch.setattr(grading, "tests_folder", lambda: tests)
        monkeypatch.setattr(grading, "graded_lessons", lambda: {1: tmp_path / "lesson01_one.py"})
        monkeypatch.setattr(grading, "chosen_lessons", lambda _: {1: tmp_path / "lesson01_one.py"})
        return handed_in.parent

    return make


def hand_in(folder: Path, source: str) -> Path:
    path = folder / "lessons" / "lesson01_one.py"
    path.write_text(source, encoding="utf-8")
    return path


def test_every_answer_costs_its_own_points_only(course):
    """All in one submission, each exercise another way to go wrong."""
    folder = course(*ALONE, together=TOGETHER)
    file = hand_in(folder, lesson_of({name: body for name, (body, _) in BODIES.items()}))
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    graded = grade(folder)
    assert [e.name for e in graded] == [*ALONE, "together"]
    checks = {check.name: check for e in graded for check in e.tests}
    assert list(checks) == [f"test_{name}" for name in BODIES]
    for check, (_, words) in zip(checks.values(), BODIES.values(), strict=True):
        assert words in check.feedback, check
        assert bool(check.feedback) == bool(words), check
        assert check.points == 2
        assert "\n" not in check.feedback
    assert total(graded) == (2 * sum(not words for _, words in BODIES.values()), 2 * len(BODIES))
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before, file


MODULES = {
    "exits": ("import os\nos._exit(0)", "your code ended the process (exit code 0)"),
    "patches_until_it_is_called": (
        "import numpy\nt = numpy.one.__globals__\nwas, t['one'] = t['one'], lambda: 0\n"
        "def right(x):\n    t['one'] = was\n    return 2",
        "the submission changed test_lesson01.one",
    ),
    "patches": (
        "import numpy\nnumpy._core.numeric.isclose = lambda *a, **k: True",
        "the submission changed numpy._core.numeric.isclose",
    ),
}


@pytest.mark.parametrize("name", MODULES)
def test_what_goes_wrong_while_the_lesson_is_loaded(name, course):
    code, words = MODULES[name]
    folder = course("right")
    hand_in(folder, f"{lesson_of({'right': RIGHT})}{code}\n")
    (e,) = grade(folder)
    assert words in e.feedback
    assert e.earned == 0


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("import a_package_that_nobody_has", "No module named 'a_package_that_nobody_has' (line 1: import a_pack"),
        ("x = = 1", "SyntaxError in line 1"),
        ("import math\n\ndef another(x:\n    return x\n", "has no f: SyntaxError in line 3: '(' was never closed"),
        ("x = '\0'", "null bytes"),
        (f"x = {'(' * 100_000}", "too many nested parentheses"),
    ],
)
def test_what_cannot_be_loaded_says_why(code, words, tmp_path):
    (tmp_path / "lesson01_one.py").write_text(code)
    with loaded(tmp_path / "lesson01_one.py") as lesson, pytest.raises(AttributeError) as error:
        lesson.f(1)
    assert words in feedback(error.value)


def test_one_that_loops_is_ended_and_one_beside_it_has_time(course):
    folder = course("loops", "right")
    hand_in(folder, lesson_of({"loops": "while True:\n        pass", "right": RIGHT}))
    loops, right = grade(folder, seconds=3.0)
    assert loops.feedback == "it took more than 3 s of processor time: is there an endless loop?"
    assert not right.feedback


def test_one_that_waits_is_ended(course, monkeypatch):
    folder = course("waits")
    monkeypatch.setattr(grading, "PATIENCE", 0.1)
    hand_in(folder, lesson_of({"waits": "import time\n    time.sleep(1000)"}))
    (e,) = grade(folder, seconds=5.0)
    assert e.feedback.startswith("it did not end within 0.5 s")


def test_points_are_the_tests_and_all_cases_of_a_test_have_to_pass(course):
    folder = course("f")
    tests = folder.parent / "tests" / "test_lesson01.py"
    tests.write_text(
        "import pytest\n\n"
        '@pytest.mark.exercise("f", points=1.5)\n@pytest.mark.parametrize("x", [1, 2, 3])\n'
        'def test_cases(lesson, x):\n    assert lesson.f(x) == x + 1, f"f({x}) is wrong"\n\n'
        '@pytest.mark.exercise("f", points=2)\n@pytest.mark.parametrize("x", [1, 9])\ndef test_exits(lesson, x):\n'
        "    lesson.f(x)\n\n"
        '@pytest.mark.exercise("f", points=4)\ndef test_last(lesson, tmp_path):\n    assert tmp_path.is_dir()\n'
    )
    hand_in(folder, lesson_of({"f": "if x == 9:\n        __import__('os')._exit(3)\n    return x + (x != 2)"}))
    (e,) = grade(folder)
    ended = "your code ended the process (exit code 3) before the test was over"
    assert e.tests == (
        Check("test_cases", 1.5, "f(2) is wrong"),
        Check("test_exits", 2, ended),
        Check("test_last", 4, ended),
    )
    assert (e.earned, e.points, e.feedback) == (0, 7.5, "f(2) is wrong")


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda file: file.unlink(), "wanted one file lesson01_*.py or lesson01_*.ipynb, found none"),
        (
            lambda file: (file.parent / "lesson01_two.py").touch(),
            "lesson01_two.py, and they differ: keep the one that counts",
        ),
        (lambda file: (file.unlink(), file.symlink_to(SOLUTION)), "is a link"),
        (lambda file: file.write_bytes(b"#" * ((4 << 20) + 1)), "wanted at most 4,194,304"),
        (
            lambda file: file.rename(file.with_suffix(".ipynb")).write_bytes(b"#" * ((16 << 20) + 1)),
            "lesson01_one.ipynb has 16,777,217 bytes: wanted at most 16,777,216; clear its outputs",
        ),
    ],
)
def test_files_that_are_not_even_run(spoil, words, course, monkeypatch):
    monkeypatch.setattr(grading.subprocess, "Popen", lambda *_, **__: pytest.fail("a process was started"))
    folder = course("f")
    spoil(hand_in(folder, lesson_of({"f": RIGHT})))
    (e,) = grade(folder)
    assert words in e.feedback
    assert e.earned == 0


def test_bytes_that_are_no_text(course):
    folder = course("f")
    hand_in(folder, "").write_bytes(b"\xff\xfe\xff")
    assert "lesson01_one.py cannot be read: it is not in UTF-8; save it as UTF-8" in grade(folder)[0].feedback


def test_a_notebook_is_graded_too(course):
    folder = course("f")
    handed_in = [
        {"cell_type": "markdown", "source": ["# def f(x): return 0"]},
        {"cell_type": "code", "source": ["%matplotlib inline\n", "!pip list"]},
        {"cell_type": "code", "source": "def f(x):\n    return x + 1"},
    ]
    (folder / "lessons" / "lesson01_one.ipynb").write_text(json.dumps({"cells": handed_in}), encoding="utf-8")
    assert grade(folder)[0].earned == 2
    handed_in[1]["outputs"] = [{"output_type": "stream", "text": "x" * (5 << 20)}]  # pictures, or a flood
    (folder / "lessons" / "lesson01_one.ipynb").write_text(json.dumps({"cells": handed_in}), encoding="utf-8")
    assert grade(folder)[0].earned == 2
    (folder / "lessons" / "lesson01_one.ipynb").write_text('{"cells": [{}]}', encoding="utf-8")
    with pytest.raises(ValueError, match=r"lesson01_one\.ipynb cannot be read: KeyError: 'cell_type'"):
        cells(find(folder, 1))


def test_an_exercise_without_tests_is_worth_nothing_and_a_mark_of_no_exercise_is_named(course):
    folder = course("f", "g")
    tests = folder.parent / "tests" / "test_lesson01.py"
    text = tests.read_text(encoding="utf-8")
    hand_in(folder, lesson_of({"f": RIGHT, "g": RIGHT}))
    tests.write_text(text.partition('@pytest.mark.exercise("g"')[0], encoding="utf-8")
    assert [(e.name, e.earned) for e in grade(folder)] == [("f", 2)]
    for mark in ('"h", points=2', '"g"', '"g", points=2 * two'):
        tests.write_text(text.replace('"g", points=2', mark), encoding="utf-8")
        with pytest.raises(ValueError, match=r"test_lesson01\.py, line \d+: wanted .*lesson \(f, g\), found ") as error:
            grade(folder)
        assert str(error.value).replace("'", '"').endswith(f"pytest.mark.exercise({mark})")


def test_what_is_masked_is_not_right():
    import numpy as np

    masked = np.ma.masked_equal([1.0, 9.0], 9.0)
    assert bool((masked == [1.0, 2.0]).all()), "what a test would hear of it"
    (seen,) = runner.plain((masked,), runner.every_class())
    assert type(seen) is np.ndarray
    assert seen.tolist() == [1.0, 9.0]


def test_a_plot_waits_for_nobody(course):
    """One that a student has left in an exercise, to look at what it computes."""
    folder = course("f")
    plot = "import matplotlib.pyplot as plt\n    plt.loglog([x, 2])\n    plt.gcf().tight_layout()\n"
    plot += "    plt.savefig('f.png')\n    plt.show()"
    hand_in(folder, lesson_of({"f": f"{plot}\n    return 2 if plt.get_backend() == 'agg' else 0"}))
    assert grade(folder, seconds=120.0)[0].feedback == ""  # where Matplotlib has to look for fonts first


def test_an_exercise_that_draws_need_not_look_for_fonts(course, monkeypatch):
    monkeypatch.setattr(grading, "_lists_of_fonts", lambda: {"fontlist-v1.json": b"{}"})
    folder = course("f")
    read = "import matplotlib\n    with open(matplotlib.get_cachedir() + '/fontlist-v1.json') as file:\n        "
    hand_in(folder, lesson_of({"f": f"{read}return 2 if file.read() == '{{}}' else 0"}))
    assert grade(folder)[0].feedback == ""


def test_tests_that_cannot_run_are_not_the_students_fault(course):
    folder = course("f")
    hand_in(folder, lesson_of({"f": RIGHT}))
    (folder.parent / "tests" / "conftest.py").write_text("1 / 0")
    with pytest.raises(grading.GradingError, match="lesson 1, f: the tests cannot be run"):
        grade(folder)


@pytest.mark.parametrize("moment", ["before", "while it is graded"])
def test_a_full_disk_is_not_the_students_fault(moment, course, monkeypatch):
    folder = course("f")
    hand_in(folder, lesson_of({"f": RIGHT}))

    def full(*_, **where):
        raise OSError(28, "No space left on device")

    real = grading.tempfile.TemporaryFile
    if moment == "before":
        monkeypatch.setattr(Path, "write_bytes", full)
    else:  # the process may not have been able to say what it found
        monkeypatch.setattr(grading.tempfile, "TemporaryFile", lambda **where: full() if where else real())
        monkeypatch.setattr(grading, "_signed", lambda *_: [("case", "test_f", "")])
    with pytest.raises(OSError, match="No space left on device"):
        grade(folder)


def test_the_courses_own_solutions_have_full_marks(tmp_path):
    from tinyadv.course.export import export

    export(tmp_path / "teacher", solutions=True)
    graded = grade(tmp_path / "teacher", only=[1, 1])  # who names a lesson twice wants its points once
    assert {e.lesson for e in graded} == {1}
    assert [e.name for e in graded] == ["worst_change", "typical_change"]
    assert total(graded) == (6, 6)
    with pytest.raises(ValueError, match="there are no exercises of lesson 77: there are of 1"):
        grade(tmp_path / "teacher", only=[77])


# ---------------------------------------------------------------------------------------------------------
# Formats

SCORES = [
    Exercise(1, "f", (Check("test_a", 1, ""), Check("test_b", 2, 'it <is> "wrong" & [red]so[/red]'))),
    Exercise(3, "g", (Check("test_c", 0.5, ""),)),
]


def test_the_table():
    console = Console(width=100, record=True, file=io.StringIO())
    table(SCORES, console)
    text = console.export_text()
    assert "1 / 3" in text
    assert 'it <is> "wrong" & [red]so[/red]' in text
    assert "1.5 of 3.5 points, 1 of 2 exercises solved" in text
    said = 'not in these points, for the teacher to mark: "To think about" in lesson 1 (3 points), lesson 3 (3 points)'
    assert said in " ".join(text.split())


def test_json():
    whole = json.loads(as_json(SCORES))
    assert (whole["format"], whole["earned"], whole["points"]) == ("tinyadv grade 1", 1.5, 3.5)
    assert [e["exercise"] for e in whole["exercises"]] == ["f", "g"]
    assert whole["exercises"][0]["tests"][1] == {
        "name": "test_b", "earned": 0.0, "points": 2, "feedback": SCORES[0].feedback,
    }  # fmt: skip
    assert whole["open_questions"] == [
        {"lesson": n, "question": "To think about", "earned": None, "points": 3, "marked_by": "teacher"} for n in (1, 3)
    ]


def test_junit():
    root = ElementTree.fromstring(as_junit(SCORES))
    assert [(s.get("name"), s.get("tests"), s.get("failures")) for s in root] == [
        ("lesson01", "2", "1"),
        ("lesson03", "1", "0"),
    ]
    (failure,) = root.iter("failure")
    assert failure.get("message") == failure.text == SCORES[0].feedback


def test_gradescope():
    whole = json.loads(as_gradescope(SCORES))
    assert whole["score"] == 1.5
    assert [(t["score"], t["max_score"], t["status"]) for t in whole["tests"]] == [
        (1, 3, "failed"),
        (0.5, 0.5, "passed"),
    ]
    assert whole["tests"][0]["output"] == SCORES[0].feedback


def test_the_command(course, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "100")
    folder = course("f", "g")
    hand_in(folder, lesson_of({"f": RIGHT, "g": "return x - 1"}))
    outs = {kind: tmp_path / "out" / kind for kind in ("json", "junit", "gradescope")}
    arguments = [word for kind, path in outs.items() for word in (f"--{kind}", str(path))]
    with pytest.raises(SystemExit) as end:
        cli.main(["course", "grade", str(folder), *arguments])
    assert not end.value.code
    assert "2 of 4 points, 1 of 2 exercises solved" in capsys.readouterr().out
    assert json.loads(outs["json"].read_text(encoding="utf-8"))["earned"] == 2
    assert ElementTree.parse(outs["junit"]).getroot()[0].get("failures") == "1"
    assert json.loads(outs["gradescope"].read_text(encoding="utf-8"))["score"] == 2


# ---------------------------------------------------------------------------------------------------------
# Blocks, stubs, feedback

LESSON = '''"""A lesson."""

# %% [markdown]
# **To think about.** Why?
#
# ### BEGIN SOLUTION
# **For the teacher.** Because.
#
# It is.
# ### END SOLUTION
#
# **Next.**


def f(x):
    """One more."""
    ### BEGIN SOLUTION
    # y = x + 1
    return x + 1
    ### END SOLUTION


class C:
    def g(self):
        if self:
            ### BEGIN SOLUTION
            return 1
            ### END SOLUTION
        return 2

    def h(self):
        ### BEGIN SOLUTION
        return 1
        ### END SOLUTION
'''


def test_stubs():
    assert exercises(LESSON) == ["f", "C"]
    text = stub(LESSON)
    assert "SOLUTION" not in text
    assert "x + 1" not in text
    place = "# %% [markdown]\n# **Your answer** (your teacher gives it up to 3 points):\n#\n# …\n\n# %% [markdown]\n"
    assert f"# **To think about.** Why?\n\n{place}# **Next.**\n" in text
    assert "# **To think about.** Why?\n#\n# **Next.**\n" in without_rubrics(LESSON)
    assert open_questions(LESSON) == [3]
    assert open_questions(LESSON.replace("teacher.**", "teacher**, 5 points.")) == [5]
    assert '    """One more."""\n    raise NotImplementedError("exercise: f")\n\n' in text
    assert '        if self:\n            raise NotImplementedError("exercise: C")\n        return 2\n' in text
    assert text.count("NotImplementedError") == 3
    assert stub(text) == text


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("def f():\n    ### BEGIN SOLUTION\n    pass\n", "wanted pairs"),
        ("def f():\n    ### END SOLUTION\n    ### BEGIN SOLUTION\n    pass\n", "wanted pairs"),
        ("class C:\n    ### BEGIN SOLUTION\n    x = 1\n    ### END SOLUTION\n", "line 2: .* not inside of a function"),
        ("# ### BEGIN SOLUTION\n# Because.\n\nx = 1\n", "without its partner"),
        ("### BEGIN SOLUTION\nx = 1\n### END SOLUTION\n", "line 1: .* not inside of a function"),
    ],
)
def test_marks_in_the_wrong_place(source, words):
    with pytest.raises(ValueError, match=words):
        stub(source)


def test_a_lesson_is_loaded_anew_and_leaves_nothing(tmp_path):
    import sys

    path = tmp_path / "lesson09_x.py"
    for value in (1, 2):
        path.write_text(f"import dataclasses\n\n@dataclasses.dataclass\nclass A:\n    a: 'int' = {value}\n")
        with loaded(path) as module:
            assert module.A().a == value
            assert sys.modules["lesson09_x"] is module
        assert "lesson09_x" not in sys.modules
    assert list(tmp_path.iterdir()) == [path]


def test_lessons_are_found_in_both_places(tmp_path):
    (tmp_path / "lesson01_a.py").touch()
    assert find(tmp_path, 1) == tmp_path / "lesson01_a.py"
    (tmp_path / "lessons").mkdir()
    (tmp_path / "lessons" / "lesson02_b.ipynb").write_text("{}")
    assert find(tmp_path, 2).name == "lesson02_b.ipynb"
    with pytest.raises(ValueError, match="cannot be read: KeyError"):
        cells(find(tmp_path, 2))


def test_what_cannot_be_read_is_taken_out():
    source = "x = 1\n\ndef f(a):\n    return (a\n\ndef g(a):\n    return a\n\ndef h():\n  if\n"
    text = mended(source)
    space: dict = {}
    exec(text, space)
    assert space["g"](3) == 3
    for name in "fh":
        with pytest.raises(SyntaxError) as error:
            space[name](1)
        assert feedback(error.value).startswith("SyntaxError in line ")
    assert text.splitlines().index("def g(a):") == source.splitlines().index("def g(a):")
    with pytest.raises(SyntaxError, match="in line 2: invalid syntax"):
        exec(mended("y = 1\nx = = 1\n"), space)
    assert space["y"] == 1
    assert mended("") == ""


def test_feedback_is_what_the_tests_author_wrote():
    import numpy as np

    for wrong in (np.array([1.0, 3.0]), np.array([1.0, 2.0, 3.0])):
        with pytest.raises(AssertionError) as error:
            np.testing.assert_allclose(wrong, [1.0, 2.0], err_msg="the sign is wrong")
        assert feedback(error.value) == "the sign is wrong"
    with pytest.raises(AssertionError) as error:
        np.testing.assert_allclose([1.0], [2.0])
    assert feedback(error.value).startswith("Not equal to tolerance")
    assert feedback(AssertionError("N times too large\nassert 1 == 2\n +  where 1 = f()")) == "N times too large"
    assert feedback(AssertionError("assert 1 == 2")) == "the result is wrong"


def test_feedback_is_one_line_of_plain_text():
    assert one_line("a\n\tb\x1b[31m\x00c") == "a b [31m c"
    assert len(one_line("x" * 10_000)) == LONGEST


# ---------------------------------------------------------------------------------------------------------
# Windows and macOS, as far as another system can play them


class Ended:
    """A process of Windows that ended by itself, and does not take its job any more."""

    def __init__(self, code):
        self.returncode, self.pid, self.stdin = code, 0, self

    def write(self, _):
        raise OSError(22, "Invalid argument")

    def poll(self):
        return self.returncode

    def close(self):
        """There is nothing to close."""

    wait = kill = close


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (0xC0000005, "the process was ended by Windows with code 0xc0000005: did it crash"),
        (0xC00000FD, "the process was ended by Windows with code 0xc00000fd: did it crash"),
        (3, "your code ended the process (exit code 3)"),
    ],
    ids=["access violation", "stack overflow", "abort"],
)
def test_a_process_of_windows_that_crashed(code, words, tmp_path, monkeypatch):
    monkeypatch.setattr(grading, "WINDOWS", True)
    assert grading._end(Ended(code), b"{}", 1.0, tmp_path).startswith(words)


def test_folders_of_windows_are_not_shown_either():
    """Python doubles each backslash of a path in quotation marks."""
    root = "C:\\Users\\José Núñez"
    for said in (f"{root}\\AppData\\x.py", f"{root}/AppData/x.py", repr(f"{root}\\AppData\\x.py")[1:-1]):
        found = re.sub(grading._written(root), "", said)
        assert found in ("\\AppData\\x.py", "/AppData/x.py", "\\\\AppData\\\\x.py"), said


def test_ctrl_c_is_not_for_the_processes_of_windows(course, monkeypatch):
    """A class's grades are kept as they come: what Ctrl-C ended would stay without points."""
    given = {}

    class StoppedError(Exception):
        """Nothing is to be started."""

    def popen(command, **options):
        given.update(options, command=command)
        raise StoppedError

    folder = course("right")
    hand_in(folder, lesson_of({"right": RIGHT}))
    monkeypatch.setattr(grading.subprocess, "Popen", popen)
    monkeypatch.setattr(grading, "APART", 0x200)
    with pytest.raises(StoppedError):
        grade(folder)
    assert given["creationflags"] == 0x200
    assert given["env"]["USERPROFILE"] == str(given["cwd"])


def test_an_answer_may_print_whatever_the_system_s_encoding_is(course):
    """In Python's UTF-8 mode: in the usual one of Windows `print("ε")` is an error where nobody sees it."""
    folder = course("right")
    hand_in(folder, lesson_of({"right": "import sys\n    print('ε → 0')\n    return x + sys.flags.utf8_mode"}))
    (e,) = grade(folder)
    assert e.feedback == ""


def test_a_system_that_takes_no_limit_of_memory(monkeypatch):
    """That of macOS refuses it; the others hold."""
    taken = {}

    def setrlimit(kind, limits):
        if kind == "AS":
            raise ValueError("current limit exceeds maximum limit")
        taken[kind] = limits

    fake = SimpleNamespace(
        RUSAGE_SELF=0, RLIM_INFINITY=-1, getrusage=lambda _: SimpleNamespace(ru_utime=1.0, ru_stime=0.0),
        getrlimit=lambda _: (-1, -1), setrlimit=setrlimit,
        **{f"RLIMIT_{name}": name for name in ("CPU", "AS", "CORE", "FSIZE", "NOFILE")},
    )  # fmt: skip
    monkeypatch.setitem(sys.modules, "resource", fake)
    monkeypatch.setattr(signal, "setitimer", lambda *_: None)
    monkeypatch.setattr(sys, "platform", "darwin")
    runner._limit(20.0, 60.0, 1 << 30)
    assert taken.keys() == {"CPU", "CORE", "FSIZE", "NOFILE"}
    monkeypatch.setattr(sys, "platform", "linux")
    with pytest.raises(ValueError, match="exceeds"):
        runner._limit(20.0, 60.0, 1 << 30)


# Started in place of `runner`: it becomes the runner, in a Python that lacks what Windows lacks
BARE = """\
import os, runpy, signal, sys
sys.modules.update(dict.fromkeys(("resource", "fcntl", "pwd", "grp", "termios", "pty")))
for name in ("fork", "forkpty", "killpg", "getpgid", "setsid", "geteuid", "getuid", "memfd_create"):
    delattr(os, name)
for name in ("SIGKILL", "SIGALRM", "SIGXCPU", "setitimer", "alarm", "pthread_sigmask"):
    delattr(signal, name)
sys.argv = [sys.argv[1]]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def test_a_system_like_windows_grades(course, tmp_path, monkeypatch):
    """No `resource`, no signals, no groups of processes: whoever waits for a process ends it."""
    real, bare = grading.subprocess.Popen, tmp_path / "bare.py"
    bare.write_text(BARE, encoding="utf-8")

    def popen(command, **options):
        return real([*command[:-1], str(bare), command[-1]], **options)

    answers = {name: ALONE[name][0] for name in ("right", "wrong", "exits", "forges")}
    folder = course(*answers, "loops")
    hand_in(folder, lesson_of(answers | {"loops": "while True:\n        pass"}))
    monkeypatch.setattr(grading.subprocess, "Popen", popen)
    monkeypatch.setattr(grading, "WINDOWS", True)
    monkeypatch.setattr(grading, "PATIENCE", 1.0)
    monkeypatch.setattr(grading, "GRACE", 20.0)
    monkeypatch.delattr(os, "killpg")
    monkeypatch.delattr(os, "memfd_create", raising=False)
    feedback = {e.name: e.feedback for e in grade(folder, seconds=2.0)}
    for name in answers:
        assert ALONE[name][1] in feedback[name]
        assert bool(feedback[name]) == bool(ALONE[name][1])
    assert feedback["loops"] == "it did not end within 2 s: is there an endless loop, or does it wait for something?"
