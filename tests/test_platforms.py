"""Other people's platforms: Gradescope's zip file grades in a clean folder; nbgrader and `check` say the same."""

from __future__ import annotations

import ast
import csv
import io
import json
import os
import re
import subprocess
import sys
import zipfile
from contextlib import nullcontext
from functools import partial

import pytest

from tinyadv import cli
from tinyadv.course import check as checking
from tinyadv.course import lessons
from tinyadv.course.check import check
from tinyadv.course.exercises import exercises, stub
from tinyadv.course.export import export, write_tree
from tinyadv.course.grade import tests_of as points_of
from tinyadv.course.platforms import CHECK, gradescope, nbgrader_course, nbgrader_notebook
from tinyadv.course.submissions import loaded

SLOW = [pytest.param(n, marks=pytest.mark.slow) for n in sorted(lessons()) if n not in (1, 4, 9)]


@pytest.fixture(scope="module")
def solved():
    """Lesson 1 as a module, and what stands in it."""
    with loaded(lessons()[1]) as module:
        yield module


def test_a_check_that_is_stopped_is_stopped():
    """Stop in Jupyter, while an answer loops."""

    def worst_change(w, eps):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        check(worst_change)


def test_check_says_what_pytest_says(solved, capsys):
    check(solved.worst_change)
    assert capsys.readouterr().out.startswith("worst_change: right, ")

    def worst_change(w, eps):
        return -eps * (w > 0) + eps * (w < 0)

    check(worst_change)
    said = capsys.readouterr().out
    assert "sign" in said
    assert "right" not in said
    with pytest.raises(ValueError, match="there is no exercise 'nonsense'"):
        check("nonsense")
    for answer, called in ((lambda w, eps: w, "<lambda>"), (partial(worst_change, eps=1.0), "partial")):
        with pytest.raises(ValueError, match=f"there is no exercise '{called}': wanted an exercise's name, in quot"):
            check(answer)
    with pytest.raises(ValueError, match="is not defined here yet"):
        check("typical_change")
    with pytest.raises(ValueError, match="has no test 'test_nonsense'"):
        check(worst_change, test="test_nonsense")
    refused = []
    for test in points_of(1, exercises(lessons()[1].read_text("utf-8")))["worst_change"]:
        try:
            check(worst_change, test=test)
        except AssertionError as error:
            refused.append(str(error))
    assert any("sign" in line for line in refused)


@pytest.mark.parametrize("number", [1, 4, pytest.param(9, marks=pytest.mark.slow), *SLOW])
def test_check_knows_every_exercise_and_its_points(number):
    names = exercises(lessons()[number].read_text("utf-8"))
    with loaded(lessons()[number]) as lesson:
        for name, wanted in points_of(number, names).items():
            assert checking._lesson_of(name) == number
            points, said = checking.tested(number, name, lambda: nullcontext(lesson))
            assert points == wanted
            assert said == dict.fromkeys(wanted, ""), "the lesson is the solution"


@pytest.mark.parametrize("path", lessons().values(), ids=lambda path: path.stem)
def test_no_lesson_defines_what_notebooks_import_to_test_it(path):
    words = set(re.findall(r"\w+", path.read_text("utf-8")))
    assert CHECK not in words
    defined = {getattr(node, "name", "") for node in ast.parse(path.read_text("utf-8")).body}
    assert "check" not in defined, "teachers.md has students import it"


def test_nbgrader_has_a_cell_for_each_test():
    book = json.loads(nbgrader_notebook(1))
    graded = [cell["metadata"]["nbgrader"] for cell in book["cells"] if "nbgrader" in cell["metadata"]]
    names = exercises(lessons()[1].read_text("utf-8"))
    wanted = {
        f"lesson01-{name}-{test}": points
        for name, tests in points_of(1, names).items()
        for test, points in tests.items()
    }
    wanted["lesson01-to-think-about"] = 3  # a person marks it
    assert {said["grade_id"]: said["points"] for said in graded if said["grade"]} == wanted
    solutions = [said["grade_id"] for said in graded if said["solution"]]
    assert solutions == [*(f"lesson01-{name}" for name in names), "lesson01-to-think-about"]
    assert len({said["grade_id"] for said in graded}) == len(graded)
    assert "### BEGIN SOLUTION" in "".join(book["cells"][6]["source"]) or any(
        "### BEGIN SOLUTION" in "".join(cell["source"]) for cell in book["cells"]
    )


def test_nbgrader_reads_it(tmp_path):
    metadata = pytest.importorskip("nbgrader.nbgraderformat.v3", reason="pip install nbgrader")
    nbformat = pytest.importorskip("nbformat")
    book = nbformat.reads(nbgrader_notebook(1), as_version=4)
    metadata.MetadataValidatorV3().validate_nb(book)


def test_the_autograder_grades_in_a_clean_folder(tmp_path):
    gradescope(tmp_path / "autograder.zip", [1])
    root = tmp_path / "root"
    with zipfile.ZipFile(tmp_path / "autograder.zip") as file:
        assert file.getinfo("setup.sh").external_attr >> 16 == 0o755
        assert "numpy" in file.read("setup.sh").decode()
        file.extractall(root / "source")
    export(tmp_path / "solved", solutions=True)
    (root / "submission").mkdir(parents=True)
    text = lessons()[1].read_text("utf-8")
    (root / "submission" / "lesson01_linear.py").write_text(stub(text), "utf-8")
    environment = {**os.environ, "AUTOGRADER": str(root), "PYTHON": sys.executable}
    environment.pop("PYTHONPATH", None)
    done = subprocess.run(
        ["bash", root / "source" / "run_autograder"], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    said = json.loads((root / "results" / "results.json").read_text("utf-8"))
    assert said["score"] == 0
    assert {test["name"] for test in said["tests"]} == {f"lesson 1: {name}" for name in exercises(text)}
    assert all("not done yet" in test["output"] for test in said["tests"])


def test_from_the_command_line(tmp_path, monkeypatch, capsys):
    def run(*arguments: str) -> int:
        with pytest.raises(SystemExit) as end:
            cli.main(["course", *arguments])
        return end.value.code or 0

    monkeypatch.chdir(tmp_path)
    assert run("gradescope", "auto.zip", "--lesson", "99") == 2
    assert "no exercises of lesson 99" in capsys.readouterr().err
    assert run("gradescope", "auto.zip", "--lesson", "1") == 0
    assert (tmp_path / "auto.zip").exists()
    assert run("grade", "missing", "--out", "grades", "--fail-under", "101") == 2
    assert run("grade", "missing", "other") == 2
    assert "2 submissions: say with --out DIR" in capsys.readouterr().err
    assert run("grade", "missing", "--out", "grades", "--json", "x.json") == 2
    assert "--json is for a single submission" in capsys.readouterr().err
    assert not (tmp_path / "grades").exists()
    assert run("grade", "missing", "--out", "grades", "--lesson", "1") == 1
    assert "cannot be graded" in capsys.readouterr().out


def test_exit_codes_and_who_when_what(tmp_path, monkeypatch, capsys):
    """One submission alone and the same in a class of one."""
    export(tmp_path / "solved", solutions=True)
    monkeypatch.chdir(tmp_path)
    stubs = tmp_path / "Ada Lovelace_7_assignsubmission_file_"
    stubs.mkdir()
    (stubs / "lesson01_linear.py").write_text(stub(lessons()[1].read_text("utf-8")), "utf-8")

    def run(*arguments: str) -> int:
        with pytest.raises(SystemExit) as end:
            cli.main(["course", "grade", *arguments, "--lesson", "1"])
        return end.value.code or 0

    assert run("solved", "--fail-under", "100", "--json", "solved.json") == 0
    assert run(str(stubs), "--json", "stubs.json") == 0
    assert run(str(stubs), "--fail-under", "1") == 1
    assert run(str(stubs), "--out", "grades") == 0
    assert run(str(stubs), "--out", "grades", "--fail-under", "1") == 1
    alone = json.loads((tmp_path / "stubs.json").read_text("utf-8"))
    of_class = json.loads((tmp_path / "grades" / "Ada-Lovelace-7.json").read_text("utf-8"))
    assert (alone["name"], alone["id"], alone["earned"]) == ("Ada Lovelace", "7", 0)
    assert {key: alone[key] for key in ("name", "id", "submission", "sha256", "version")} == {
        key: of_class[key] for key in ("name", "id", "submission", "sha256", "version")
    }
    assert alone["when"]
    assert of_class["when"]
    assert alone["sha256"] != json.loads((tmp_path / "solved.json").read_text("utf-8"))["sha256"]


def test_what_is_not_there_has_exit_code_1_and_a_class_is_no_student(tmp_path, monkeypatch, capsys):
    def run(*arguments: str) -> int:
        with pytest.raises(SystemExit) as end:
            cli.main(["course", *arguments])
        return end.value.code or 0

    monkeypatch.chdir(tmp_path)
    (tmp_path / "pdf").mkdir()
    (tmp_path / "pdf" / "answers.pdf").touch()
    assert run("grade", "pdf", "--lesson", "1", "--gradescope", "results.json") == 1
    assert "pdf: no lesson in it; there are: answers.pdf" in capsys.readouterr().err
    assert json.loads((tmp_path / "results.json").read_text("utf-8"))["score"] == 0
    for name in ("ada", "bob"):
        (tmp_path / "subs" / name).mkdir(parents=True)
        (tmp_path / "subs" / name / "lesson01_linear.py").touch()
    assert run("grade", "subs", "--lesson", "1") == 2
    assert "subs has the same lessons in ada and bob: a class? grade subs/*" in capsys.readouterr().err
    assert run("export", "week", "--lesson", "1", "--lesson", "2") == 0
    out = capsys.readouterr().out
    assert "requirements.txt asks pip for tinyadv" in out
    assert out.endswith("tinyadv course grade SUBMISSION... --lesson 1 --lesson 2\n")
    assert len(list((tmp_path / "week" / "lessons").iterdir())) == 2
    assert run("solutions", "teacher", "--lesson", "2") == 0
    assert [path.name[:8] for path in (tmp_path / "teacher" / "lessons").iterdir()] == ["lesson02"]
    assert run("export", "other", "--lesson", "99") == 2


def test_a_folder_for_nbgrader_and_a_workflow(tmp_path, monkeypatch, capsys):
    def run(*arguments: str) -> int:
        with pytest.raises(SystemExit) as end:
            cli.main(["course", *arguments])
        return end.value.code or 0

    monkeypatch.chdir(tmp_path)
    assert run("export", "course", "--nbgrader") == 0
    books = {path.parent.name: json.loads(path.read_text("utf-8")) for path in tmp_path.glob("course/source/*/*.ipynb")}
    assert sorted(books) == [f"lesson{number:02}" for number in sorted(lessons())]
    assert (tmp_path / "course" / "nbgrader_config.py").exists()
    for name, book in books.items():
        names = [cell["metadata"]["nbgrader"]["grade_id"] for cell in book["cells"] if "nbgrader" in cell["metadata"]]
        assert len(set(names)) == len(names)
        assert len({cell["id"] for cell in book["cells"]}) == len(book["cells"]), name
        for cell in book["cells"]:
            marks = cell["metadata"].get("nbgrader", {})
            assert ("### BEGIN SOLUTION" in "".join(cell["source"])) == marks.get("solution", False)
        open_questions = [
            cell for cell in book["cells"] if cell["cell_type"] == "markdown" and "nbgrader" in cell["metadata"]
        ]
        assert [cell["metadata"]["nbgrader"]["points"] for cell in open_questions] == [3]
    assert run("export", "both", "--nbgrader", "--notebooks") == 2
    assert not (tmp_path / "both").exists()
    assert run("export", "plain") == 0
    assert not (tmp_path / "plain" / ".github").exists()
    assert run("export", "pushed", "--github") == 0
    workflow = (tmp_path / "pushed" / ".github" / "workflows" / "exercises.yml").read_text("utf-8")
    for command in re.findall(r"run: (.+)", workflow):
        assert command in (tmp_path / "pushed" / "README.md").read_text("utf-8"), "a student does the same by hand"
    assert (
        (tmp_path / "pushed" / "requirements.txt").read_text("utf-8").splitlines()[-1].startswith("tinyadv[course]>=")
    )
    assert run("solutions", "solved", "--notebooks") == 0
    book = (tmp_path / "solved" / "lessons" / "lesson01_linear.ipynb").read_text("utf-8")
    assert "### BEGIN SOLUTION" in book
    assert (
        (tmp_path / "solved" / "requirements.txt").read_text("utf-8").splitlines()[-1].startswith("tinyadv[notebooks]")
    )


@pytest.mark.slow
def test_nbgrader_hands_out_and_grades(tmp_path):
    """The students' version has no solutions; one who solves an exercise of two gets its points, and no others."""
    pytest.importorskip("nbgrader", reason="pip install nbgrader")
    write_tree(tmp_path / "course", nbgrader_course())
    folder = tmp_path / "course"

    def nbgrader(*arguments: str) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "nbgrader", *arguments], cwd=folder, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    nbgrader("generate_assignment", "lesson01", "--create")
    (handed_out,) = folder.glob("release/lesson01/*.ipynb")
    text = handed_out.read_text("utf-8")
    assert "BEGIN SOLUTION" not in text
    assert "For the teacher" not in text
    (folder / "submitted" / "ada" / "lesson01").mkdir(parents=True)
    book = json.loads(text)
    for cell in book["cells"]:
        if "def worst_change" in "".join(cell["source"]):
            lines = "".join(cell["source"]).splitlines()
            assert lines[-1] == '    raise NotImplementedError("exercise: not done yet")'
            cell["source"] = "\n".join([*lines[:-1], "    return eps * np.sign(w)"])
    (folder / "submitted" / "ada" / "lesson01" / handed_out.name).write_text(json.dumps(book), "utf-8")
    nbgrader("autograde", "lesson01", "--create")
    nbgrader("export", "--to", "grades.csv")
    (row,) = csv.DictReader(io.StringIO((folder / "grades.csv").read_text("utf-8")))
    worth = points_of(1, exercises(lessons()[1].read_text("utf-8")))
    assert float(row["score"]) == sum(worth["worst_change"].values())
    assert float(row["max_score"]) == sum(sum(tests.values()) for tests in worth.values()) + 3


@pytest.mark.parametrize(("old", "python"), [(False, "python3"), (True, "python3.11")])
def test_the_image_of_the_autograder_gets_a_python_that_is_new_enough(old, python, tmp_path):
    """Gradescope's own image is Ubuntu 22.04, whose python3 is 3.10."""
    gradescope(tmp_path / "autograder.zip", [1])
    with zipfile.ZipFile(tmp_path / "autograder.zip") as file:
        script = file.read("setup.sh").decode().replace("/autograder/venv", str(tmp_path / "venv"))
    commands, log = tmp_path / "bin", tmp_path / "log"
    commands.mkdir()
    (tmp_path / "venv" / "bin").mkdir(parents=True)
    for name in ("apt-get", "python3", "python3.11", "pip"):
        place = tmp_path / "venv" / "bin" if name == "pip" else commands
        fails = 'if [ "$1" = -c ]; then exit 1; fi\n' if old and name == "python3" else ""
        (place / name).write_text(f'#!/bin/bash\n{fails}echo "{name} $*" >> {log}\n')
        (place / name).chmod(0o755)
    done = subprocess.run(
        ["bash", "-c", script], env={"PATH": f"{commands}:/usr/bin:/bin"}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    lines = log.read_text().splitlines()
    assert f"apt-get install -y {python} {python}-venv" in lines
    assert f"{python} -m venv {tmp_path / 'venv'}" in lines
