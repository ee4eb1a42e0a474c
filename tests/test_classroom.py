"""A class: who handed in what, tables that platforms import, and a run that goes on where it stopped."""

from __future__ import annotations

import csv
import io
import json
import shutil
import zipfile
from pathlib import Path
from time import sleep

import pytest

from tinyadv.course import classroom
from tinyadv.course.classroom import Graded, Student, fingerprint, grade_class, mistakes, student_of, tables
from tinyadv.course.export import export
from tinyadv.course.grade import GradingError
from tinyadv.course.scores import Check, Exercise

RIGHT = Exercise(1, "worst_change", (Check("test_a", 2.0, ""), Check("test_b", 1.0, "")))
WRONG = Exercise(1, "worst_change", (Check("test_a", 2.0, "the sign is wrong"), Check("test_b", 1.0, "")))


@pytest.mark.parametrize(
    ("file", "name", "number"),
    [
        ("Ada Lovelace_4711_assignsubmission_file_", "Ada Lovelace", "4711"),
        ("Ada Lovelace_4711_assignsubmission_file_mine.zip", "Ada Lovelace", "4711"),
        ("lovelaceada_12345_678910_mine.zip", "lovelaceada", "12345"),
        ("lovelaceada_LATE_12345_678910_mine.zip", "lovelaceada", "12345"),
        ("ada", "ada", ""),
        ("ada lovelace.zip", "ada lovelace", ""),
        ("Ångström_7_assignsubmission_onlinetext_", "Ångström", "7"),
    ],
)
def test_platforms_names_are_understood(file, name, number):
    found = student_of(Path("submissions") / file)
    assert (found.name, found.id) == (name, number)


def folder(tmp_path: Path, name: str, text: str = "x = 1\n") -> Path:
    (tmp_path / name / "lessons").mkdir(parents=True)
    (tmp_path / name / "lessons" / "lesson01_linear.py").write_text(text, "utf-8")
    return tmp_path / name


@pytest.fixture
def graded(monkeypatch):
    """Grading, replaced: what a folder's name says. Which folders were graded."""
    asked: list[str] = []

    def stub(path, only):
        asked.append(path.name)
        if "broken" in path.name:
            raise ValueError("wanted one file lesson01_*.py, found none")
        return [WRONG if "wrong" in path.name else RIGHT]

    monkeypatch.setattr(classroom, "grade", stub)
    return asked


def test_a_class_is_graded_and_a_broken_submission_costs_only_itself(tmp_path, graded):
    paths = [folder(tmp_path, name) for name in ("right_1_2_x", "wrong_3_4_x", "wrong-too", "broken")]
    said: list[str] = []
    found = grade_class(paths, tmp_path / "out", [1], said.append)
    assert [one.student.name for one in found] == ["right", "wrong", "wrong-too", "broken"]
    assert len(said) == 4
    assert any("broken: cannot be graded: wanted one file" in line for line in said)
    rows = list(csv.DictReader(io.StringIO((tmp_path / "out" / "class.csv").read_text("utf-8"))))
    assert [(row["name"], row["id"], row["total (3)"]) for row in rows] == [
        ("right", "1", "3"), ("wrong", "3", "1"), ("wrong-too", "", "1"), ("broken", "", "0"),
    ]  # fmt: skip
    assert "the sign is wrong" in (tmp_path / "out" / "wrong-3.txt").read_text("utf-8")
    said_of_all = list(csv.DictReader(io.StringIO((tmp_path / "out" / "mistakes.csv").read_text("utf-8"))))
    assert said_of_all == [
        {"lesson": "1", "exercise": "worst_change", "students": "2", "feedback": "the sign is wrong"}
    ]
    canvas = list(csv.reader(io.StringIO((tmp_path / "out" / "canvas.csv").read_text("utf-8"))))
    assert canvas[1] == ["Points Possible", "", "", "3"]
    assert canvas[2] == ["right", "1", "", "3"]
    moodle = list(csv.DictReader(io.StringIO((tmp_path / "out" / "moodle.csv").read_text("utf-8"))))
    assert moodle[1]["Identifier"] == "Participant 3"
    assert moodle[1]["Grade"] == "1"
    about = json.loads((tmp_path / "out" / "wrong-3.json").read_text("utf-8"))
    assert {"when", "version", "sha256", "lessons", "name", "id"} <= about.keys()


def test_what_was_graded_is_not_graded_again_unless_it_changed(tmp_path, graded):
    paths = [folder(tmp_path, name) for name in ("right", "wrong", "broken")]
    first = grade_class(paths, tmp_path / "out", [1])
    assert sorted(graded) == ["broken", "right", "wrong"]
    graded.clear()
    assert grade_class(paths, tmp_path / "out", [1]) == first
    assert graded == ["broken"], "what could not be graded is tried again"
    graded.clear()
    (paths[1] / "lessons" / "lesson01_linear.py").write_text("x = 2\n", "utf-8")
    grade_class(paths[:2], tmp_path / "out", [1])
    assert graded == ["wrong"]
    graded.clear()
    (tmp_path / "out" / "right.json").write_text("{damaged", "utf-8")
    grade_class(paths[:2], tmp_path / "out", [1])
    assert graded == ["right"]
    graded.clear()
    grade_class(paths[:2], tmp_path / "out", [1, 2])
    assert sorted(graded) == ["right", "wrong"], "other lessons were asked for"


def test_errors_come_before_any_work(tmp_path, graded):
    with pytest.raises(ValueError, match="at least one submission"):
        grade_class([], tmp_path / "out")
    same = [folder(tmp_path, "a/ada"), folder(tmp_path, "b/ada")]
    with pytest.raises(ValueError, match="two submissions would be written to ada"):
        grade_class(same, tmp_path / "out")
    with pytest.raises(ValueError, match="no exercises of lesson 99"):
        grade_class(same[:1], tmp_path / "out", [99])
    assert not graded
    assert not (tmp_path / "out").exists()


def test_tests_that_cannot_be_run_end_everything(tmp_path, monkeypatch):
    def fails(path, only):
        raise GradingError("pytest does not start")

    monkeypatch.setattr(classroom, "grade", fails)
    with pytest.raises(GradingError):
        grade_class([folder(tmp_path, "ada")], tmp_path / "out", [1])


def test_a_fingerprint_is_that_of_the_contents(tmp_path):
    one = folder(tmp_path, "one")
    other = tmp_path / "other"
    shutil.copytree(one, other)
    assert fingerprint(one) == fingerprint(other)
    (other / "lessons" / "more.txt").write_text("", "utf-8")
    assert fingerprint(one) != fingerprint(other)
    with pytest.raises(ValueError, match="no folder and no file"):
        fingerprint(tmp_path / "missing")


def test_a_spreadsheet_computes_nothing_that_a_student_wrote():
    check = Check("test", 1.0, '=HYPERLINK("http://x")')
    one = Graded(Student("=1+1", "", Path("x")), (Exercise(1, "f", (check,)),))
    text = tables([one])["questions.csv"]
    row = next(csv.DictReader(io.StringIO(text)))
    assert row["name"] == "'=1+1"
    assert row["feedback"].startswith("'=")


def test_the_commonest_mistake_comes_first():
    other = Exercise(1, "worst_change", (Check("test_a", 2.0, "not done yet"),))
    class_of = [Graded(Student(str(i), "", Path()), (e,)) for i, e in enumerate((WRONG, other, WRONG, RIGHT))]
    assert [row[2:] for row in mistakes(class_of)] == [[2, "the sign is wrong"], [1, "not done yet"]]


@pytest.mark.slow
def test_a_real_class(tmp_path):
    """A solved lesson as a folder and as a zip file, an untouched one, and one with an endless loop."""
    export(tmp_path / "solved", solutions=True)
    export(tmp_path / "stub")
    shutil.copytree(tmp_path / "stub", tmp_path / "loop")
    path = tmp_path / "loop" / "lessons" / "lesson01_linear.py"
    text = path.read_text("utf-8")
    path.write_text(text.replace('raise NotImplementedError("exercise: worst_change")', "while True: pass"), "utf-8")
    with zipfile.ZipFile(tmp_path / "Ada Lovelace_1_assignsubmission_file_x.zip", "w") as file:
        for part in (tmp_path / "solved").rglob("*.py"):
            file.write(part, part.relative_to(tmp_path / "solved"))
    names = ("solved", "Ada Lovelace_1_assignsubmission_file_x.zip", "stub", "loop")
    found = grade_class([tmp_path / name for name in names], tmp_path / "out", [1])
    earned = [sum(e.earned for e in one.exercises) for one in found]
    worth = sum(e.points for e in found[0].exercises)
    assert earned == [worth, worth, 0, 0]
    assert "processor time" in next(e.feedback for e in found[3].exercises if e.name == "worst_change")


def test_a_class_that_is_broken_off_grades_nothing_more(tmp_path, monkeypatch):
    begun = []

    def fails(path, only):
        begun.append(path)
        sleep(0.05)
        raise GradingError("pytest does not start")

    monkeypatch.setattr(classroom, "grade", fails)
    with pytest.raises(GradingError):
        grade_class([folder(tmp_path, f"student{i}") for i in range(30)], tmp_path / "out", [1])
    assert len(begun) < 20


def test_what_cannot_be_read_is_graded_each_time(tmp_path, graded, monkeypatch):
    def unreadable(submission):
        raise OSError(13, "Permission denied")

    monkeypatch.setattr(classroom, "fingerprint", unreadable)
    for _ in range(2):
        grade_class([folder(tmp_path, "right")] if not graded else [tmp_path / "right"], tmp_path / "out", [1])
    assert graded == ["right", "right"]


def test_a_letter_is_never_missing(tmp_path, graded, monkeypatch):
    write, written = classroom.write_atomically, []

    def breaks_off(path, content):
        written.append(path.suffix)
        if len(written) == 2:
            raise OSError(28, "No space left on device")
        write(path, content)

    monkeypatch.setattr(classroom, "write_atomically", breaks_off)
    submission = folder(tmp_path, "right")
    with pytest.raises(OSError, match="No space"):
        grade_class([submission], tmp_path / "out", [1])
    grade_class([submission], tmp_path / "out", [1])
    assert {path.suffix for path in (tmp_path / "out").glob("right.*")} == {".json", ".txt"}
    assert graded == ["right", "right"]
