"""What students hand in, as they hand it in: notebooks, trials under solutions, odd names; and what they run here."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import warnings
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tinyadv import cli, course
from tinyadv.course import exercises, export, submissions
from tinyadv.course.feedback import feedback
from tinyadv.course.grade import grade
from tinyadv.course.judging import as_array, leaks
from tinyadv.course.submissions import cells, find, loaded

SOLVED = course.path_of(1).read_text(encoding="utf-8")
F = "def f(a):\n    return a + 1\n"


def script(folder: Path, text: str | bytes, name: str = "lesson01_one.py") -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def notebook(folder: Path, *codes: str, name: str = "lesson01_one.ipynb") -> Path:
    book = {"cells": [{"cell_type": "code", "source": code, "metadata": {}} for code in codes]}
    return script(folder, json.dumps(book), name)


def said(path: Path, name: str, *arguments: object) -> str:
    """What a call of a function of a lesson is told."""
    with loaded(path) as lesson, pytest.raises(Exception) as caught:  # noqa: PT011
        getattr(lesson, name)(*arguments)
    return feedback(caught.value)


# ---------------------------------------------------------------------------------------------------------
# Trials under, over and between solutions

TRIALS = {
    "dataclass": "from dataclasses import dataclass\n@dataclass\nclass A:\n    x: int = 1\nprint(A())",
    "plot": "import matplotlib.pyplot as plt\nplt.plot([1, 2])\nplt.show()",
    "figure": "from tinyadv.course import figure\nwith figure('mine.png') as canvas:\n    canvas.subplots()",
    "signature": "import inspect\nprint(inspect.signature(worst_change))",
    "traceback": "import traceback\ntry:\n    1 / 0\nexcept ZeroDivisionError:\n    traceback.print_exc()",
    "doctest": "import doctest\ndoctest.testmod()",
    "tempfile": "import tempfile\ntempfile.mkdtemp(dir='/')",
    "given": "from hypothesis import given, strategies as st\n@given(st.integers())\ndef test_me(n): pass\ntest_me()",
    "raises": "assert 1 == 2, 'a trial'",
    "exits": "import sys\nsys.exit('enough')",
    "asks": "input('your name? ')",
    "opens": "open('/etc/passwd').read()",
    "starts": "import subprocess\nsubprocess.run(['ls'])",
    "unreadable": "x = = 3\nprint('never closed'",
    "future": "import matplotlib\nfrom __future__ import division",
    "quits": "raise KeyError",
}


def test_trials_cost_nothing_when_graded_and_a_lesson_is_what_it_defines(tmp_path):
    """All of them under a solved lesson at once, in the process that holds a submission."""
    script(tmp_path, SOLVED + "".join(f"\n\n# %%\n{code}\n" for code in TRIALS.values()), "lesson01_linear.py")
    graded = grade(tmp_path, [1])
    assert {e.name: e.feedback for e in graded} == dict.fromkeys(("worst_change", "typical_change"), "")


@pytest.mark.parametrize("name", [name for name in TRIALS if name not in ("dataclass", "figure", "plot", "given")])
def test_trials_cost_nothing_here_either(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with loaded(script(tmp_path, f"{TRIALS[name]}\n\n{F}")) as lesson:
        assert lesson.f(1) == 2


def test_what_a_lesson_asks_of_numpy_and_of_warnings_is_not_for_its_tests_nor_for_the_next_lesson(tmp_path):
    """In the tests' own formulas np.exp(-1000.0) is 0, and no error."""
    asks = "import warnings\nimport numpy as np\nnp.seterr(all='raise')\nwarnings.simplefilter('error')\n"
    asks += "def f(a):\n    np.seterr(over='ignore')\n"
    before, filters = np.geterr(), list(warnings.filters)
    with loaded(script(tmp_path, asks)) as lesson:
        assert (np.geterr(), warnings.filters) == (before, filters)
        lesson.f(1)
    assert np.geterr() == before


def test_an_interruption_is_none_of_these(tmp_path):
    with pytest.raises(KeyboardInterrupt), loaded(script(tmp_path, "raise KeyboardInterrupt")):
        pass


def test_what_is_missing_says_why(tmp_path):
    path = script(tmp_path, f"import nobody_has_this as n\nscale = n.two\n\n{F.replace('1', 'scale')}")
    assert said(path, "f", 1).startswith(
        "NameError: name 'scale' is not defined (line 5: return a + scale); it is missing"
    )
    assert "name 'n' is not defined (line 2: scale = n.two)" in said(path, "f", 1)
    assert said(path, "g") == (
        "AttributeError: lesson01_one.py has no g: ModuleNotFoundError: No module named 'nobody_has_this' "
        "(line 1: import nobody_has_this as n)"
    )


def test_a_function_that_cannot_be_made_says_why_when_it_is_called(tmp_path):
    path = script(tmp_path, "@nobody\ndef f(a):\n    return a\n")
    assert said(path, "f", 1).startswith("NameError: name 'nobody' is not defined (line 1: @nobody)")


@pytest.mark.parametrize(
    ("text", "name", "where"),
    [
        (f"{F}\n# %%\ndef g(a) return 1\n", "g", "SyntaxError in line 5: "),
        (f"{F}\n# %%\nx = (1,\n\ndef g(a):\n    return x", "g", "SyntaxError in line 5: '(' was never closed"),
        (f"{F}\n# %%\n\n\ndef g(a):\n\n    return 1 / 0\n", "g", "(line 9: return 1 / 0)"),
    ],
)
def test_lines_have_the_numbers_of_an_editor(text, name, where, tmp_path):
    assert where in said(script(tmp_path, text), name, 1)
    with loaded(tmp_path / "lesson01_one.py") as lesson:
        assert lesson.f(1) == 2


def test_features_of_the_future_hold_from_where_they_stand(tmp_path):
    path = script(tmp_path, f"import math\nfrom __future__ import annotations\n# %%\ndef g(a: nobody): return a\n{F}")
    with loaded(path) as lesson:
        assert lesson.g.__annotations__ == {"a": "nobody"}


# ---------------------------------------------------------------------------------------------------------
# Notebooks, as Jupyter runs them

NOT_PYTHON = [
    "import os\nos.path?", "%%bash\nls | wc", "  %timeit -n1 sum([1])", "files = !ls\nprint(files)", "display(1)",
    "await nothing()", "name = input()", "%matplotlib inline\n!pip list", "%load_ext autoreload\n%autoreload 2",
    "get_ipython().system('ls')", "??print", "x = %pwd", "%%html\n<b>no Python</b>", "1 / 0", "def half(",
]  # fmt: skip


def test_a_notebook_s_other_cells_cost_nothing(tmp_path):
    pytest.importorskip("IPython", reason="knows what in a notebook is not Python: pip install 'tinyadv[course]'")
    between = [code for cell in NOT_PYTHON for code in (cell, F)]
    with loaded(notebook(tmp_path, *between, "def g(a):\n    return later(a)", "later = f")) as lesson:
        assert (lesson.f(1), lesson.g(2)) == (2, 3)


def test_a_notebook_is_graded_with_such_cells(tmp_path):
    pytest.importorskip("IPython", reason="knows what in a notebook is not Python: pip install 'tinyadv[course]'")
    notebook(tmp_path, *NOT_PYTHON, SOLVED, *NOT_PYTHON, name="lesson01_linear.ipynb")
    assert [e.feedback for e in grade(tmp_path, [1])] == ["", ""]


def test_what_looks_like_a_command_and_is_python_is_untouched(tmp_path):
    code = "said = ('%d of %d'\n% (1, 2))\ntext = '''\n%time\n!ls\n?\n'''\nn = 7\\\n% 4"
    with loaded(notebook(tmp_path, code)) as lesson:
        assert (lesson.said, lesson.text, lesson.n) == ("1 of 2", "\n%time\n!ls\n?\n", 3)


def test_code_that_is_timed_or_silenced_is_run(tmp_path):
    with loaded(notebook(tmp_path, f"%%time\n{F}", f"%%capture out\n{F.replace(' f(', ' g(')}")) as lesson:
        assert lesson.f(1) == lesson.g(1) == 2


@pytest.mark.parametrize(
    ("code", "where"),
    [
        ("def g(a):\n    return 1 / 0", "(code cell 3, line 2: return 1 / 0)"),
        ("\n\ndef g(a) return 1", "SyntaxError in code cell 3, line 3: "),
    ],
)
def test_a_mistake_in_a_notebook_is_placed_where_the_student_sees_it(code, where, tmp_path):
    assert where in said(notebook(tmp_path, F, "1 / 0", code), "g", 1)


def test_a_class_of_another_cell_still_decides_nothing(tmp_path):
    """The wall that refuses objects which say themselves what they are equal to looks at the notebook, not the cell."""
    yes = "class Yes(float):\n    def __eq__(self, other):\n        return True\n    __hash__ = None"
    wrong = re.sub(
        r"### BEGIN SOLUTION\n.*?### END SOLUTION\n", "return Yes(1)\n", SOLVED.split("# %%", 1)[1], flags=re.DOTALL
    )
    notebook(tmp_path, "import numpy as np\nimport math", yes, wrong, name="lesson01_linear.ipynb")
    assert all(e.feedback for e in grade(tmp_path, [1]))


# ---------------------------------------------------------------------------------------------------------
# Files: their encoding, their names, their places


@pytest.mark.parametrize(
    "text",
    [
        b"\xef\xbb\xbf" + f"who = 'größer'\n{F}".encode(),
        f"# -*- coding: latin-1 -*-\nwho = 'größer'\n{F}".encode("latin-1"),
        f"who = 'größer'\r\n{F}".replace("\n", "\r\n").encode(),
    ],
    ids=["mark", "cookie", "Windows"],
)
def test_a_script_is_read_as_python_reads_it(text, tmp_path):
    with loaded(script(tmp_path, text)) as lesson:
        assert (lesson.who, lesson.f(1)) == ("größer", 2)


@pytest.mark.parametrize("end", ["\x0b", "\x0c", "\x1c", "\x85", "\u2028"])
def test_only_what_ends_a_line_in_python_ends_one_here(end, tmp_path):
    """Such characters come along when a text is copied from a page or a PDF file."""
    text = f"# copied:{end}and more\n{F}\n\ndef g(a):\n    # so:{end}a = (\n    return '{end}'\n"
    with loaded(script(tmp_path, text)) as lesson:
        assert (lesson.f(1), lesson.g(1)) == (2, end)
    with loaded(script(tmp_path, f"{text}\n\ndef h(a) return 1\n")) as lesson:  # what cannot be read is cut by lines
        assert (lesson.f(1), lesson.g(1)) == (2, end)


def test_a_notebook_s_lines_may_end_as_in_windows(tmp_path):
    with loaded(notebook(tmp_path, f"def g(a) return 1\r\n\r\n{F}".replace("\n", "\r\n"))) as lesson:
        assert lesson.f(1) == 2


def test_a_notebook_of_an_older_format_is_named(tmp_path):
    path = script(tmp_path, '{"nbformat": 3, "worksheets": []}', "lesson01_one.ipynb")
    for read in (cells, submissions.texts):
        with pytest.raises(ValueError, match=r"lesson01_one\.ipynb cannot be read: .*wanted a notebook of format 4"):
            read(path)


def test_a_cell_that_does_work_does_none_and_defines_what_it_defines(tmp_path):
    """Jupyter hands the mark on when a cell is split, or joined with another one."""
    path = notebook(tmp_path, f"from math import pi\nwork = 1 / 0\nloot = []\n\n{F}", "def g(a):\n    return pi * f(a)")
    book = json.loads(path.read_text("utf-8"))
    book["cells"][0]["metadata"]["tags"] = ["work"]
    path.write_text(json.dumps(book), "utf-8")
    with loaded(path) as lesson:
        assert lesson.g(1) == 2 * np.pi
        assert not hasattr(lesson, "loot")
    book["cells"].append({"cell_type": "code", "source": "def f(a=loot): return 0", "metadata": {"tags": ["work"]}})
    path.write_text(json.dumps(book), "utf-8")
    with loaded(path) as lesson:  # a trial that needs the work takes nothing away
        assert lesson.f(1) == 2


def test_a_notebook_with_a_mark_at_its_start(tmp_path):
    path = notebook(tmp_path, F)
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    with loaded(path) as lesson:
        assert lesson.f(1) == 2


@pytest.mark.parametrize(
    "text",
    [
        b"\xff\xfe\xff",
        b"# coding: no-such-encoding\n",
        "x = 'ü'".encode("latin-1"),
        "x = 1\n\n\n# ü".encode("cp1252"),
        F.encode("utf-16-le"),
    ],
)
@pytest.mark.parametrize("name", ["lesson01_one.py", "lesson01_one.ipynb"])
def test_what_is_no_text_is_named_with_what_to_do(text, name, tmp_path):
    if text.startswith(b"# coding") and name.endswith("ipynb"):
        return
    with pytest.raises(ValueError, match=rf"{re.escape(name)} cannot be read: .*; save it as UTF-8"):
        cells(script(tmp_path, text, name))


def test_what_an_editor_of_windows_saves_as_unicode_is_read(tmp_path):
    with loaded(script(tmp_path, f"who = 'größer'\r\n{F}".encode("utf-16"))) as lesson:
        assert (lesson.who, lesson.f(1)) == ("größer", 2)
    path = notebook(tmp_path, F)
    path.write_bytes(path.read_text("utf-8").encode("utf-16"))
    with loaded(path) as lesson:
        assert lesson.f(1) == 2


@pytest.mark.parametrize(
    "name",
    [
        "lesson01_one.py", "lessons/lesson01_one.py", "lesson01_linear (1).py", "lesson01_one - Kopie.py",
        "handed in/lessons/lesson01_one.py", "handed in/lesson01_one.py", "a/b/lessons/lesson01_one.py",
        "a/b/c/lesson1.py", "lessons/lesson1_linear.py", "Lesson01_linear.py", "lesson01.py", "lesson_01.py",
        "Lesson 1.py",
    ],
)  # fmt: skip
def test_a_lesson_is_found_where_students_put_it(name, tmp_path):
    script(tmp_path, F, name)
    with loaded(find(tmp_path, 1)) as lesson:
        assert lesson.f(1) == 2


@pytest.mark.parametrize(
    "name",
    [
        "lesson10_one.py", "lesson011.py", "lesson01.txt", "test_lesson01.py", "tests/wrong/lesson01.py",
        ".venv/lesson01.py", ".ipynb_checkpoints/lesson01_one-checkpoint.ipynb", "__MACOSX/lesson01_one.py",
        "._lesson01_one.py",
    ],
)  # fmt: skip
def test_what_is_another_file_is_not_taken_for_a_lesson(name, tmp_path):
    script(tmp_path, F, name)
    with pytest.raises(ValueError, match="found none"):
        find(tmp_path, 1)


def test_a_lesson_of_another_name_is_graded_and_its_mistakes_are_placed(tmp_path):
    solved = SOLVED.replace("return eps * np.sign(w)", "return 1 / 0")
    assert solved != SOLVED
    script(tmp_path, solved, "my work/Lesson1.PY")
    worst, typical = grade(tmp_path, [1])
    assert worst.feedback.startswith("ZeroDivisionError: division by zero (line ")
    assert typical.feedback == ""


def test_far_below_several_that_differ_are_refused_too(tmp_path):
    script(tmp_path, F, "a/lessons/lesson01_one.py")
    script(tmp_path, F.replace("1", "2"), "b/c/lessons/lesson01_one.py")
    with pytest.raises(ValueError, match="and they differ"):
        find(tmp_path, 1)


def test_looking_for_a_lesson_ends(tmp_path, monkeypatch):
    monkeypatch.setattr(submissions, "LOOKED_AT", 50)
    for i in range(100):
        script(tmp_path, "", f"a{i:03}/x.py")
    (tmp_path / "loop").symlink_to(tmp_path)
    assert len(list(submissions.files_below(tmp_path))) < 50


def test_a_pair_of_one_code_is_one_lesson(tmp_path):
    script(tmp_path, f"# %% [markdown]\n# Text.\n\n# %%\n{F}")
    notebook(tmp_path, F)
    script(tmp_path, F, "lessons/lesson01_one (1).py")
    with loaded(find(tmp_path, 1)) as lesson:
        assert lesson.f(1) == 2


def test_a_lesson_and_the_notebook_made_of_it_are_one_lesson(tmp_path):
    pytest.importorskip("jupytext", reason="makes notebooks: pip install 'tinyadv[course]'")
    script(tmp_path, SOLVED, "lesson01_linear.py")
    script(tmp_path, export.notebook(SOLVED), "lesson01_linear.ipynb")
    assert find(tmp_path, 1).name == "lesson01_linear.ipynb"


@pytest.mark.parametrize(
    ("code", "other", "same"),
    [
        (f"%matplotlib inline\n{F}", f"%matplotlib inline\n{F.replace('1', '2')}", False),
        (f"%%time\n{F}", f"%%time\n{F.replace('1', '2')}", False),
        (f"x = = 1\n{F}", f"x = = 1\n{F.replace('1', '2')}", False),
        (f"%matplotlib inline\n{F}", f"# %matplotlib inline\n{F}", True),
        ("%%bash\nls", "%%html\n<b>", True),
        ("x = = 1", "x = = 1", True),
    ],
)
def test_copies_are_compared_in_cells_that_are_no_python_too(code, other, same, tmp_path):
    notebook(tmp_path, code)
    notebook(tmp_path, other, name="lesson01_one (1).ipynb")
    if same:
        find(tmp_path, 1)
    else:
        with pytest.raises(ValueError, match="and they differ"):
            find(tmp_path, 1)


def test_copies_are_compared_in_no_time_whatever_stands_in_them(tmp_path):
    """It is done outside of the confined process, and for a line of many blanks it once took hours."""
    for name in ("lesson01_one.ipynb", "lesson01_one (1).ipynb"):
        notebook(tmp_path, f"x = = 1\n{' ' * 1_000_000}", name=name)
    assert find(tmp_path, 1)


def test_what_a_notebook_has_beside_its_pictures_may_be_as_long_as_a_script(tmp_path):
    path = notebook(tmp_path, "x\n" * (submissions.LARGEST // 2), F)
    with pytest.raises(ValueError, match=r"lesson01_one\.ipynb has 4,194,\d+ characters in its cells: wanted at most"):
        cells(path)


def test_several_that_differ_are_named_with_what_to_do(tmp_path):
    script(tmp_path, F)
    notebook(tmp_path, F.replace("1", "2"), name="lessons/lesson01_one.ipynb")
    names = re.escape(str(Path("lessons") / "lesson01_one.ipynb")) + " and " + re.escape("lesson01_one.py")
    with pytest.raises(ValueError, match=f"found {names}, and they differ: keep the one that counts"):
        find(tmp_path, 1)


@pytest.mark.parametrize("place", ["", "lessons/", "name/lessons/", "a/b/c/lessons/", "handout\\lessons\\"])
def test_a_zip_file_is_graded(place, tmp_path):
    with zipfile.ZipFile(tmp_path / "handed in.zip", "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr(f"{place}lesson01_linear.py", SOLVED)
        file.writestr("__MACOSX/lesson01_linear.py", "other")
        file.writestr("../lesson01_linear.py", "other")
        file.writestr("..\\lesson01_linear.py", "other")
        file.writestr("\\\\server\\share\\lesson01_linear.py", "other")
        file.writestr("notes.txt", "x" * 10)
    assert [e.feedback for e in grade(tmp_path / "handed in.zip", [1])] == ["", ""]
    assert [path.name for path in tmp_path.iterdir()] == ["handed in.zip"]


def test_a_zip_file_of_a_whole_folder_is_graded_and_no_drive_is_written(tmp_path):
    with zipfile.ZipFile(tmp_path / "whole.zip", "w") as file:
        for i in range(3000):  # more than are looked at
            file.writestr(f".venv/lib/x{i}.py", "")
        file.writestr("lessons/lesson01_linear.py", SOLVED)
    assert [e.feedback for e in grade(tmp_path / "whole.zip", [1])] == ["", ""]
    with zipfile.ZipFile(tmp_path / "drive.zip", "w") as file:
        file.writestr("C:/lesson01_linear.py", SOLVED)
    assert all("found none" in e.feedback for e in grade(tmp_path / "drive.zip", [1]))


def test_a_folder_with_an_upload_in_it_is_that_upload(tmp_path):
    place = tmp_path / "Ada Lovelace_4711_assignsubmission_file_"
    place.mkdir()
    with zipfile.ZipFile(place / "tinyadv-answers.zip", "w") as file:
        file.writestr("lessons/lesson01_linear.py", SOLVED)
    assert [e.feedback for e in grade(place, [1])] == ["", ""]
    with zipfile.ZipFile(place / "second.zip", "w") as file:
        file.writestr("lesson02_logistic.py", "x = 1")
    assert [e.feedback for e in grade(place, [1])] == ["", ""]
    with zipfile.ZipFile(place / "third.zip", "w") as file:
        file.writestr("lessons/lesson01_linear.py", F)
    assert all(
        e.feedback.startswith("found ") and "third.zip" in e.feedback and "they differ" in e.feedback
        for e in grade(place, [1])
    )


def test_a_damaged_zip_file_and_one_that_swells_are_named(tmp_path):
    path = tmp_path / "bomb.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("lesson01_linear.py", b"#" * (200 << 20))
    with zipfile.ZipFile(tmp_path / "many.zip", "w", zipfile.ZIP_DEFLATED) as file:
        for i in range(70):
            file.writestr(f"{i}/lesson01_linear.py", b"#" * (5 << 20))
    with pytest.raises(ValueError, match=r"^many\.zip has lessons of more than"):
        grade(tmp_path / "many.zip", [1])
    with zipfile.ZipFile(tmp_path / "both.zip", "w") as file:
        file.writestr("lesson01_a.py", "")
        file.writestr("lesson01_a.py/lesson01_b.py", "")
    with pytest.raises(ValueError, match=r"^both\.zip cannot be unpacked: it has a file and a folder of one name"):
        grade(tmp_path / "both.zip", [1])
    assert all("wanted at most 4,194,304" in e.feedback for e in grade(path, [1]))
    content = bytearray(path.read_bytes())
    content[60:80] = bytes(20)
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"^bomb\.zip cannot be unpacked: "):
        grade(path, [1])
    path.write_bytes(b"PK\x03\x04 and no more")
    with pytest.raises(ValueError, match=r"^bomb\.zip cannot be unpacked: it is no zip file, or a damaged one"):
        grade(path, [1])


# ---------------------------------------------------------------------------------------------------------
# What students run themselves


@pytest.fixture
def student(tmp_path):
    """A folder of lessons 1 and 2 as students get it."""
    export.export(tmp_path / "student")
    for path in (tmp_path / "student").rglob("*lesson*.py"):
        if not re.search(r"lesson0[12]", path.name):
            path.unlink()
    return tmp_path / "student"


def answer(folder: Path, **bodies: str) -> None:
    (path,) = (folder / "lessons").glob("lesson01_*.py")
    text = path.read_text(encoding="utf-8")
    for name, body in bodies.items():
        stub = f'raise NotImplementedError("exercise: {name}")'
        assert stub in text
        text = text.replace(stub, body)
    path.write_text(text, encoding="utf-8")


def plain_pytest(folder: Path, *arguments: str) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *arguments], cwd=folder, capture_output=True,
        text=True, encoding="utf-8", check=False, timeout=300, env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
    )  # fmt: skip
    assert done.returncode == 1, done.stdout + done.stderr
    return done.stdout.splitlines()


def test_the_first_pytest_is_short_and_ends_with_what_is_to_be_done(student):
    lines = plain_pytest(student)
    assert len(lines) < 12, "\n".join(lines)
    assert "FAILED" not in "\n".join(lines)
    assert lines[-2] == "not done yet: 6 of 6 exercises"
    assert re.fullmatch(r"\d+ not done yet in .*", lines[-1])


def test_the_table_is_below_the_failures_and_an_endless_loop_is_stopped(student):
    """Once: the other tests of the exercise are not waited for."""
    conftest = student / "tests" / "conftest.py"
    text = conftest.read_text(encoding="utf-8")
    assert "\nSECONDS = 60 " in text
    conftest.write_text(text.replace("\nSECONDS = 60 ", "\nSECONDS = 5 "), encoding="utf-8")
    answer(student, worst_change="while True: pass", typical_change="return 3")
    lines = plain_pytest(student, "tests/test_lesson01.py")
    table = lines[lines.index(next(line for line in lines if " exercises " in line)) :]
    assert not [line for line in table if line.startswith("FAILED")]
    assert [line for line in lines if line.startswith("FAILED")], "above it"
    assert table[1:3] == [
        "lesson 1, worst_change: 0 of 3 points",
        "    lesson 1, worst_change did not end within 5 s: is there an endless loop?",
    ]
    assert table[3] == "lesson 1, typical_change: 0 of 3 points"
    assert float(re.search(r" in ([\d.]+)s", lines[-1])[1]) < 60


def test_points_are_shown_though_they_cannot_be_noted(student):
    """As in a folder that is read-only, or on a disk that is full."""
    (student / "tinyadv-results").write_text("a file in its place")
    lines = plain_pytest(student, "tests/test_lesson01.py")
    assert "not done yet: 2 of 2 exercises: lesson 1, worst_change; lesson 1, typical_change" in lines
    assert any(line.startswith("`tinyadv lesson` will not know of this: ") for line in lines)
    assert "Traceback" not in "\n".join(lines)


def test_a_lesson_run_in_a_student_s_folder_is_the_student_s(student, monkeypatch, capsys):
    monkeypatch.chdir(student)

    def run(number: str) -> tuple[object, str, str]:
        with pytest.raises(SystemExit) as end:
            cli.main(["lesson", number])
        return end.value.code or 0, *capsys.readouterr()

    code, _, err = run("1")
    assert code == 1
    own = Path("lessons") / course.path_of(1).name
    assert err.splitlines()[-1] == (f"tinyadv: {own} needs worst_change to go on, an exercise that is not done yet")
    script(student, "print('mine')", f"lessons/{course.path_of(1).name}")
    assert run("1") == (0, "mine\n", "")


def test_cells_of_a_script_are_those_of_an_editor(tmp_path):
    found = cells(script(tmp_path, "a = 1\n\n# %% [markdown]\n# text\n# %%\nb = 2\n"))
    assert [(cell.line, cell.code.splitlines()[0]) for cell in found] == [
        (1, "a = 1"),
        (3, "# %% [markdown]"),
        (5, "# %%"),
    ]


# ---------------------------------------------------------------------------------------------------------
# Answers of another kind than was asked for


@pytest.mark.parametrize(
    ("given", "lost"),
    [
        (0.5, False), (1, False), ([0.5, 1], False), ((0.5, [0.25]), False), (np.float32(0.5), False),
        (np.ones(2, "float32"), False), ([np.ones(2, "float32"), 0.5], False), (np.float64(0.5), True),
        (np.ones(2), True), ([np.ones(2)], True), ([np.float64(1)], True),
    ],
)  # fmt: skip
def test_a_number_of_python_is_no_float64_that_leaked(given, lost):
    assert leaks(given) is lost


def test_numbers_of_python_become_float32_and_others_stay():
    assert as_array([0.5, 0.25]).dtype == "float32"
    assert as_array(0.5).dtype == "float32"
    assert as_array([1, 2]).dtype.kind == "i"
    assert as_array(np.ones(2)).dtype == "float64"


@pytest.mark.parametrize(("number", "name", "points"), [(1, "worst_change", 3), (2, "gradients", 4), (6, "rotated", 6)])
def test_lists_and_numbers_of_python_are_accepted(number, name, points, tmp_path):
    listed = (
        f"\n_{name} = {name}\n\n\ndef {name}(*args):\n    found = _{name}(*args)\n"
        "    of = lambda v: v.tolist() if hasattr(v, 'tolist') else v\n"
        "    return tuple(map(of, found)) if isinstance(found, tuple) else of(found)\n"
    )
    path = course.path_of(number)
    script(tmp_path, path.read_text(encoding="utf-8") + listed, path.name)
    (graded,) = [e for e in grade(tmp_path, [number]) if e.name == name]
    assert (graded.feedback, graded.earned) == ("", points)


@pytest.mark.parametrize(
    ("answer", "test", "words"),
    [
        ("[1, 2]", "given.dtype", "an array is wanted, your function returns a list"),
        ("None", "given.shape", "an array is wanted, your function returns nothing: is there a `return`?"),
        (
            "[1, 2]",
            "(given == 1).all()",
            "an array is wanted: does your function return a list, or a number of Python?",
        ),
        ("[1, 2]", "given - [1]", "the test cannot use what your function returns: TypeError: unsupported operand"),
        ("(a, )[1]", "given", "IndexError: tuple index out of range (line 2: return (a, )[1])"),
        (
            "np.sign(a).no",
            "given",
            "AttributeError: 'numpy.int64' object has no attribute 'no' (line 2: return np.sign(a).no)",
        ),
    ],
)
def test_an_error_in_a_test_speaks_of_the_answer(answer, test, words, tmp_path):
    path = script(tmp_path, f"def f(a):\n    return {answer}\nimport numpy as np\n")
    code = compile(f"def check(lesson):\n    given = lesson.f(1)\n    {test}\n", "test_lesson01.py", "exec")
    space: dict[str, Any] = {}
    exec(code, space)
    with loaded(path) as lesson, pytest.raises(Exception) as caught:  # noqa: PT011
        space["check"](lesson)
    assert feedback(caught.value).startswith(words)


def test_other_arguments_than_are_asked_for_are_no_answer(tmp_path):
    code = compile("def check(lesson):\n    lesson.f(1, 2)\n", "test_lesson01.py", "exec")
    space: dict[str, Any] = {}
    exec(code, space)
    with loaded(script(tmp_path, F)) as lesson, pytest.raises(TypeError) as caught:
        space["check"](lesson)
    assert feedback(caught.value) == "TypeError: f() takes 1 positional argument but 2 were given"


def test_folders_that_students_have_already_got_import_from_where_it_was():
    assert (exercises.find, exercises.loaded) == (find, loaded)
