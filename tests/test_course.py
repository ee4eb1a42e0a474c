"""The course's tools: finding and running lessons, the table *ours | paper*, and figures."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import cases
import numpy as np
import pytest
from threadpoolctl import threadpool_info

from tinyadv import cli, course, ops
from tinyadv.course import contents, doctor, export, judging
from tinyadv.course.contents import list_lessons
from tinyadv.machine import OPENBLAS_SETTINGS, blas_threads
from tinyadv.paper.claims import claims
from tinyadv.paper.profiles import PROFILES
from tinyadv.paper.results_file import committed
from tinyadv.paper.show import seeds
from tinyadv.paper.show.numbers import format_value


@pytest.fixture
def school(tmp_path, monkeypatch):
    """A package of two lessons, and the folder that they are run from."""
    (tmp_path / "lessons").mkdir()
    (tmp_path / "lessons" / "lesson02_two.py").write_text('"""Two\n\nMore."""\nimport sys\nprint(__name__, sys.argv)\n')
    (tmp_path / "lessons" / "lesson10_ten.py").write_text("x = 1 / 0\n")
    (tmp_path / "lessons" / "notes.py").write_text("not a lesson\n")
    monkeypatch.setattr(course, "PACKAGE", tmp_path / "tinyadv")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_lessons_are_found_beside_the_package(school):
    assert course.lessons() == {
        2: school / "lessons" / "lesson02_two.py",
        10: school / "lessons" / "lesson10_ten.py",
    }


def test_an_installed_package_carries_its_own(school):
    (school / "tinyadv" / "_lessons").mkdir(parents=True)
    (school / "tinyadv" / "_lessons" / "lesson07_seven.py").touch()
    assert list(course.lessons()) == [7]


def test_an_installation_without_lessons_says_so(school, monkeypatch):
    monkeypatch.setattr(course, "PACKAGE", school / "elsewhere" / "tinyadv")
    with pytest.raises(FileNotFoundError, match=r"no lessons beside .*elsewhere"):
        course.lessons()


def test_the_list_has_titles_and_files(school):
    text = list_lessons()
    assert f"   2  Two\n      More.\n      {school / 'lessons' / 'lesson02_two.py'}\n" in text
    assert "  10  lesson10_ten\n" in text, "a lesson without a text has its file's name"


def test_the_list_has_claims_and_what_was_done(school):
    path = school / "lessons" / "lesson02_two.py"
    blocks = "".join(
        f"def {name}():\n    ### BEGIN SOLUTION\n    pass\n    ### END SOLUTION\n" for name in ("one", "other")
    )
    path.write_text('"""Two\n\nMore."""\n' + blocks + 'compare(\n    "linear-growth", {})\ncompare("rbf-fgsm", {})\n')
    text = list_lessons()
    assert "   2  Two\n      [2 exercises]\n      linear-growth (§ 3): For a linear model" in text
    assert "      rbf-fgsm (§ 7): " in text
    assert "More." not in text
    notes = school / "tinyadv-results" / "exercises.json"
    notes.parent.mkdir()
    notes.write_text('{"lesson 2, one": true, "lesson 2, other": false, "lesson 10, one": true}')
    (course.FIGURES).mkdir()
    (course.FIGURES / "lesson02_two.png").touch()
    assert "      [run, 1 of 2 exercises solved]\n" in list_lessons()
    notes.write_text("damaged")
    assert "      [run, 2 exercises]\n" in list_lessons()


def test_an_unknown_lesson(school):
    with pytest.raises(ValueError, match="there is no lesson 3: there are 2, 10"):
        course.path_of(3)


def test_running_is_as_a_script(school, capsys):
    arguments = sys.argv.copy()
    course.run_lesson(course.path_of(2))
    assert capsys.readouterr().out == f"__main__ {[str(school / 'lessons' / 'lesson02_two.py')]}\n"
    with pytest.raises(ZeroDivisionError):
        course.run_lesson(course.path_of(10))
    assert sys.argv == arguments


def test_compare_puts_ours_beside_the_papers(capsys):
    course.compare("fgsm-softmax", {"error": 0.5, "weights_l1": 123.0}, {"error": (0.4, 0.6)})
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].strip() == "fgsm-softmax (section 4)"
    assert ["this", "lesson", "ours", "paper"] in [line.split() for line in lines]
    result = committed()["fgsm-softmax"]
    ours = format_value(claims()["fgsm-softmax"].published[0], result.mean("error"), result.interval("error"))
    (error,) = [line for line in lines if "FGSM error" in line]
    assert " ".join(error.split()) == f"FGSM error 50.0 % [40.0, 60.0] {ours} 99.9 %"
    assert any("123" in line for line in lines)
    (confidence,) = [line for line in lines if "confidence" in line]
    assert "mistakes   —" in confidence, "what the lesson did not measure"
    assert f"ours: profile {result.profile}, {seeds(result)}" in lines[-1]


def test_compare_without_values_shows_what_was_published(capsys):
    course.compare("fgsm-softmax")
    out = capsys.readouterr().out
    assert "this lesson" not in out
    assert re.search(r"FGSM error +\S+ %.* 99.9 %", out)


@pytest.mark.parametrize(("holds", "word"), [(True, "holds"), (False, "fails")])
def test_compare_shows_a_statement(holds, word, capsys):
    course.compare("linear-growth", {"exponent": 1.0}, holds=holds)
    assert re.search(rf"statement +{word} +holds for .* {claims()['linear-growth'].paper}", capsys.readouterr().out)


def test_the_scale_of_lessons():
    quick = course.scale("quick")
    assert quick.epochs.keys() == PROFILES["quick"].epochs.keys() >= course.EPOCHS.keys()
    assert all(quick.epochs[kind] <= epochs for kind, epochs in PROFILES["quick"].epochs.items())
    assert course.scale("paper") is PROFILES["paper"]
    with pytest.raises(ValueError, match=r"'qick': there are quick, lesson, paper"):
        course.scale("qick")


def test_the_lab_is_where_reproduce_trains(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert course.lab().folder == Path("tinyadv-results") / "networks"


@pytest.mark.parametrize(("claim", "values"), [("fgsm-sofmax", {}), ("fgsm-softmax", {"eror": 0.5})])
def test_compare_refuses_what_the_registry_does_not_know(claim, values):
    with pytest.raises(ValueError, match=r"sofmax|eror"):
        course.compare(claim, values)


def test_figures_are_saved_where_the_lesson_is_run(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    import matplotlib

    before = dict(matplotlib.rcParams) | {"backend": matplotlib.get_backend()}
    with course.figure("a.png", width=2, height=1) as canvas:
        canvas.subplots().plot([1, 2], [3, 4])
        assert tuple(canvas.get_size_inches()) == (2, 1)
        assert dict(matplotlib.rcParams) != before
    assert dict(matplotlib.rcParams) == before
    assert (tmp_path / "tinyadv-results" / "lessons" / "a.png").read_bytes().startswith(b"\x89PNG")
    assert capsys.readouterr().out == f"figure: {course.FIGURES / 'a.png'}\n"


def test_a_figure_that_fails_writes_nothing(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ZeroDivisionError), course.figure("a.png"):
        _ = 1 / 0
    assert not list(tmp_path.iterdir())


# ---------------------------------------------------------------------------------------------------------
# Export

STUDENT = {"README.md", "pytest.ini", "requirements.txt", "tests/conftest.py"}


def files(folder):
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def test_a_students_folder_has_stubs_and_tests_and_nothing_of_the_solutions(tmp_path):
    written = export.export(tmp_path / "a" / "student")
    folder = tmp_path / "a" / "student"
    numbers = sorted(export.graded_lessons())
    names = {path.name for path in export.graded_lessons().values()}
    assert {1, 3} <= set(numbers)
    assert files(folder) == {path.as_posix() for path in written}
    assert files(folder) == STUDENT | {f"lessons/{name}" for name in names} | {
        f"tests/test_lesson{number:02}.py" for number in numbers
    }
    everything = "".join((folder / name).read_text(encoding="utf-8") for name in files(folder))
    for number in numbers:
        source = course.lessons()[number].read_text(encoding="utf-8")
        for block in source.split("### BEGIN SOLUTION\n")[1:]:
            solution = block.partition("### END SOLUTION")[0]
            assert len(solution.strip()) < 40 or solution.strip() not in everything  # `return x` may be elsewhere
        assert f"| {number}. " in (folder / "README.md").read_text(encoding="utf-8")
    assert "### BEGIN SOLUTION" not in everything
    assert "WRONG = " not in everything
    assert not list((tmp_path / "a").glob(".*")), "nothing is left beside it"


def test_the_teachers_folder_has_the_solutions(tmp_path):
    export.export(tmp_path / "teacher", solutions=True)
    for path in export.graded_lessons().values():
        assert (tmp_path / "teacher" / "lessons" / path.name).read_bytes() == path.read_bytes()


@pytest.mark.parametrize("solutions", [False, True])
def test_a_week_s_lessons_are_exported_alone(solutions, tmp_path):
    written = export.export(tmp_path / "week", solutions=solutions, only=[3, 2])
    numbers = {path.name[:8] for path in written if path.parts[0] == "lessons"}
    assert numbers == {"lesson02", "lesson03"}
    assert {path.name for path in written if path.parts[0] == "tests"} == {
        "conftest.py", "test_lesson02.py", "test_lesson03.py",
    }  # fmt: skip
    text = (tmp_path / "week" / "README.md").read_text("utf-8")
    assert "| 2. " in text
    assert "| 1. " not in text
    with pytest.raises(ValueError, match="no exercises of lesson 77: there are of 1, "):
        export.export(tmp_path / "other", only=[77])
    assert not (tmp_path / "other").exists()


def test_what_is_exported_has_the_same_bytes_on_every_system(tmp_path, monkeypatch):
    write = Path.write_text

    def as_in_windows(path, text, encoding=None, errors=None, newline=None):
        return write(path, text, encoding, errors, "\r\n" if newline is None else newline)

    monkeypatch.setattr(Path, "write_text", as_in_windows)
    export.export(tmp_path / "mine", only=[1])
    assert [path.name for path in (tmp_path / "mine").rglob("*.*") if b"\r" in path.read_bytes()] == []


def test_a_student_of_each_system_reads_what_to_type(tmp_path):
    export.export(tmp_path / "mine", only=[1])
    text = (tmp_path / "mine" / "README.md").read_text("utf-8")
    blocks = re.findall(r"```(sh|bat)\n(.*?)```", text, re.S)
    (unix, windows) = [block.splitlines() for kind, block in blocks if "venv" in block]
    assert unix == [
        "python3 -m venv .venv", "source .venv/bin/activate", "pip install -r requirements.txt", "tinyadv doctor"
    ]  # fmt: skip
    assert windows == ["py -m venv .venv", r".venv\Scripts\activate", *unix[2:]]


@pytest.mark.parametrize("name", sorted(export.OF_THE_DESKTOP))
def test_what_a_desktop_puts_into_folders_does_not_fill_them(name, tmp_path):
    (tmp_path / name).touch()
    export.export(tmp_path, only=[1])
    assert (tmp_path / "lessons").is_dir()


def test_export_writes_all_or_nothing(tmp_path, monkeypatch):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine").touch()
    with pytest.raises(ValueError, match="full is not empty"):
        export.export(tmp_path / "full")
    (tmp_path / "empty").mkdir()
    monkeypatch.setattr(export, "_files", lambda *_: {"a": "text", "b": "\ud800"})  # a text that cannot be written
    for name in ("empty", "new"):
        with pytest.raises(UnicodeEncodeError):
            export.export(tmp_path / name)
    assert {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*")} == {"full", "full/mine", "empty"}
    monkeypatch.setattr(export, "_files", lambda *_: {"a/b": "text"})
    export.export(tmp_path / "empty")
    assert files(tmp_path / "empty") == {"a/b"}


def test_plain_pytest_works_in_a_students_folder(tmp_path, monkeypatch):
    """The tests fail on stubs, pass once solved, say what was earned, and note it for `tinyadv lesson`."""
    export.export(tmp_path / "student")
    lesson = tmp_path / "student" / "lessons" / course.lessons()[1].name
    text = lesson.read_text(encoding="utf-8")
    stub = 'raise NotImplementedError("exercise: worst_change")'
    assert stub in text
    lesson.write_text(text.replace(stub, "return eps * np.sign(w)"), encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "tests/test_lesson01.py", "-p", "no:cacheprovider"],
        cwd=tmp_path / "student", capture_output=True, text=True, encoding="utf-8", check=False,
    )  # fmt: skip
    assert done.returncode == 1, done.stdout + done.stderr
    assert "lesson 1, worst_change: 3 of 3 points\n" in done.stdout
    assert "not done yet: 1 of 2 exercises: lesson 1, typical_change\n" in done.stdout
    monkeypatch.chdir(tmp_path / "student")
    assert "      [1 of 2 exercises solved]\n" in contents.list_lessons()


def test_notebooks(tmp_path):
    pytest.importorskip("jupytext", reason="writes notebooks with jupytext: pip install 'tinyadv[course]'")
    from tinyadv.course.submissions import find, loaded

    export.export(tmp_path / "student", notebooks=True)
    path = find(tmp_path / "student", 1)
    book = json.loads(path.read_text(encoding="utf-8"))
    assert path.suffix == ".ipynb"
    assert {cell["cell_type"] for cell in book["cells"]} == {"markdown", "code"}
    assert len({cell["id"] for cell in book["cells"]}) == len(book["cells"])
    assert not any(cell.get("outputs") for cell in book["cells"])
    with loaded(path) as lesson, pytest.raises(NotImplementedError, match="exercise: worst_change"):
        lesson.worst_change([1.0], 0.1)


def test_notebooks_without_jupytext(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "jupytext", None)
    with pytest.raises(ValueError, match=r"needs? jupytext, which is not installed: pip install 'tinyadv\[course\]'"):
        export.export(tmp_path / "student", notebooks=True)
    assert not list(tmp_path.iterdir())


# ---------------------------------------------------------------------------------------------------------
# The doctor


def test_the_doctor_checks_every_operation():
    public = {name for name in cases.operations() if not name.startswith("_")}
    assert set(doctor.operations()) == public


def test_the_doctor_finds_all_well():
    found = {name: (said, good) for name, said, good in doctor.examine()}
    assert list(found) == ["Python", "packages", "BLAS", "GPU", "data", "lessons", "grading", "gradients"]
    assert all(good for name, (_, good) in found.items() if name != "GPU"), found
    assert "numpy " in found["packages"][0]
    assert "4 files" in found["data"][0]
    assert f"{len(doctor.operations())} operations" in found["gradients"][0]


def test_the_doctor_says_which_kernel_multiplies_and_what_makes_it_slow(monkeypatch):
    for name in OPENBLAS_SETTINGS:
        monkeypatch.delenv(name, raising=False)
    said = doctor._blas()[1]
    kernels = {library["architecture"] for library in threadpool_info() if library["internal_api"] == "openblas"}
    assert all(f"kernel {kernel}" in said for kernel in kernels)
    assert "OPENBLAS" not in said.replace("OPENBLAS_NUM_THREADS", "")
    with blas_threads(1):
        assert "1 thread;" in doctor._blas()[1] + ";"
    monkeypatch.setenv("OPENBLAS_CORETYPE", "Prescott")  # which is read once, on import: it changes nothing here
    assert "OPENBLAS_CORETYPE=Prescott in place of" in doctor._blas()[1]
    monkeypatch.setenv("OPENBLAS_L2_SIZE", "512")
    said = doctor._blas()[1]
    assert "OPENBLAS_CORETYPE=Prescott and OPENBLAS_L2_SIZE=512 in place of" in said
    assert "halve NumPy's speed" in said


def test_the_doctor_names_a_wrong_gradient(monkeypatch, capsys):
    monkeypatch.setattr(ops.tanh, "formulas", (lambda g, y, x: -g * (1.0 - y * y),))
    monkeypatch.setattr(doctor, "_data", lambda: ("data", "fine", True))
    with pytest.raises(SystemExit) as end:
        cli.main(["doctor"])
    out = capsys.readouterr().out
    assert end.value.code == 1
    assert "WRONG  gradients" in out
    assert "tanh" in out
    assert "the sign is wrong" in out
    assert "1 of these are wrong" in out


def test_the_doctor_names_damaged_data(monkeypatch, tmp_path):
    monkeypatch.setattr(doctor.datasets, "MNIST_FOLDER", tmp_path)
    name, said, good = doctor._data()
    assert (name, good) == ("data", False)
    assert "To repair it" in said


def test_the_doctor_without_a_gpu(monkeypatch):
    monkeypatch.setitem(sys.modules, "cupy", None)
    assert doctor._gpu() == ("GPU", "CuPy is not installed: everything runs on the CPU", True)


def test_the_doctor_misses_a_package(monkeypatch):
    monkeypatch.setattr(doctor, "NEEDED", ("numpy", "a-package-that-nobody-has"))
    _, said, good = doctor._packages()
    assert not good
    assert said.endswith("a-package-that-nobody-has (not installed)")


# ---------------------------------------------------------------------------------------------------------
# Judging


def test_judging_names_the_mistake_or_the_worst_entry():
    right = np.array([[1.0, 2.0], [3.0, 4.0]])
    judging.judge(right * (1 + 1e-9), right, [("any", right)])
    with pytest.raises(AssertionError, match=r"^the sign"):
        judging.judge(-right, right, [("doubled", 2 * right), ("the sign", -right)])
    for wrong in (9.5, np.nan):
        answer = right.copy()
        answer[1, 0] = wrong
        with pytest.raises(AssertionError, match=rf"^entry 1, 0: {wrong} should be 3$"):
            judging.judge(answer, right)
    with pytest.raises(AssertionError, match=r"^entry 1, 1: 4\.00004 should be 4$"):
        judging.judge(right * [1, 1.00001], right)
    with pytest.raises(AssertionError, match=r"^0\.333329\d* should be 0\.333330\d*: was float64 rounded to float32"):
        judging.judge(0.33332999, 0.33333044)
    with pytest.raises(AssertionError, match=r"shape \(2, 2\) is wanted, your result has \(4,\)"):
        judging.judge(right.ravel(), right)
    with pytest.raises(AssertionError, match=r"^entry 0, 1: 9 should be 2$"):
        judging.judge(np.ma.masked_equal([[1.0, 9.0], [3.0, 4.0]], 9.0), right)
    with pytest.raises(AssertionError, match="returns nothing"):
        judging.judge(None, right)
    assert judging.several(np.array([3.0, 5.0]), "a, b") == [3.0, 5.0]
    for other in (right[0, 0], np.array(1.0), np.ones(3)):
        with pytest.raises(AssertionError, match="return a, b"):
            judging.several(other, "a, b")
    with pytest.raises(AssertionError, match="say `return`"):
        judging.judge((row for row in right), right)


def test_what_is_called_may_not_change_its_arrays():
    def doubled(x, scale=1.0, by_name=None):
        return 2 * scale * x

    def in_place(x, scale=1.0, by_name=None):
        scale *= 2
        for values in (by_name or {}).values():
            values += 1
        return scale * x

    x, scale = np.array([1.0, np.nan]), np.ones(2)
    np.testing.assert_array_equal(judging.called(doubled, x, scale=scale), [2.0, np.nan])
    np.testing.assert_array_equal(judging.called(in_place, x), [2.0, np.nan])
    with pytest.raises(AssertionError, match="changed an array"):
        judging.called(in_place, x, scale=scale)
    with pytest.raises(AssertionError, match="changed an array"):
        judging.called(in_place, x, 1.0, {"a": np.zeros(2)})
    with pytest.raises(AssertionError, match="returns nothing"):
        judging.called(lambda: None)


# ---------------------------------------------------------------------------------------------------------
# Wherever it is


def test_a_package_and_a_submission_under_a_path_with_brackets(tmp_path):
    """pytest takes a [ in a path for the name of a test's case."""
    root, here = Path(course.__file__).parents[2], tmp_path / "a [1]"
    for name in ("tinyadv", "lessons", "tests/exercises"):
        shutil.copytree(root / name, here / name, ignore=shutil.ignore_patterns("__pycache__", "data", "results"))

    def tinyadv(*arguments: str) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "tinyadv", *arguments], cwd=here, env={**os.environ, "PYTHONPATH": str(here)},
            capture_output=True, text=True, encoding="utf-8", check=False,
        )  # fmt: skip
        assert (done.returncode, done.stderr) == (0, "")
        return done.stdout

    assert "lessons/lesson01_linear.py" in tinyadv("course", "solutions", "solved [2]")
    assert "6 of 6 points" in tinyadv("course", "grade", "solved [2]", "--lesson", "1")
    assert "lesson01_linear.py" in tinyadv("lesson")


@pytest.mark.parametrize("way", [".", "link"])
def test_export_into_the_folder_one_is_in_and_onto_a_link(way, tmp_path, monkeypatch, capsys):
    (tmp_path / "empty").mkdir()
    (tmp_path / "link").symlink_to("empty")
    monkeypatch.chdir(tmp_path / "empty" if way == "." else tmp_path)
    with pytest.raises(SystemExit) as end:
        cli.main(["course", "export", way])
    assert not end.value.code
    assert {"README.md", "pytest.ini", "requirements.txt", "lessons", "tests"} == {
        path.name for path in (tmp_path / "empty").iterdir()
    }
    assert Path("README.md" if way == "." else "link/README.md").exists(), "from where one is"
    assert "tests/conftest.py" in capsys.readouterr().out


def test_a_full_disk_names_the_file_that_export_was_writing(tmp_path, monkeypatch):
    def full(path, text, **options):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(OSError, match="No space left on device") as caught:
        export.export(tmp_path / "new")
    assert caught.value.filename == str(tmp_path / "new" / "lessons" / "lesson01_linear.py")
    assert list(tmp_path.iterdir()) == []
