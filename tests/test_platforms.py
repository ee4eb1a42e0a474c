"""Other people's platforms: Gradescope's zip file grades in a clean folder; nbgrader and `check` say the same."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile

import pytest

from tinyadv import cli
from tinyadv.course import check as checking
from tinyadv.course import lessons
from tinyadv.course.check import check
from tinyadv.course.exercises import exercises, loaded, stub
from tinyadv.course.export import export
from tinyadv.course.grade import tests_of as points_of
from tinyadv.course.platforms import gradescope, nbgrader_notebook

SLOW = [pytest.param(n, marks=pytest.mark.slow) for n in sorted(lessons()) if n not in (1, 4, 9)]


@pytest.fixture(scope="module")
def solved():
    """Lesson 1 as a module, and what stands in it."""
    with loaded(lessons()[1]) as module:
        yield module


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
            points, said = checking._tested(number, name, lesson)
            assert points == wanted
            assert said == dict.fromkeys(wanted, ""), "the lesson is the solution"


def test_nbgrader_has_a_cell_for_each_test():
    book = json.loads(nbgrader_notebook(1))
    graded = [cell["metadata"]["nbgrader"] for cell in book["cells"] if "nbgrader" in cell["metadata"]]
    names = exercises(lessons()[1].read_text("utf-8"))
    wanted = {
        f"lesson01-{name}-{test}": points
        for name, tests in points_of(1, names).items()
        for test, points in tests.items()
    }
    assert {said["grade_id"]: said["points"] for said in graded if said["grade"]} == wanted
    assert [said["grade_id"] for said in graded if said["solution"]] == [f"lesson01-{name}" for name in names]
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
    assert run("class", "missing", "--out", "grades", "--fail-under", "101") == 2
    assert not (tmp_path / "grades").exists()
    assert run("class", "missing", "--out", "grades", "--lesson", "1", "--fail-under", "50") == 1
    assert "cannot be graded" in capsys.readouterr().out
