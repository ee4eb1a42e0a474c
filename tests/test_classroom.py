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

from tinyadv.course import classroom, exercises, lessons, uploads
from tinyadv.course import grade as grading
from tinyadv.course.answers import answers
from tinyadv.course.classroom import Graded, fingerprint, grade_class, mistakes, tables
from tinyadv.course.export import export
from tinyadv.course.grade import GradingError
from tinyadv.course.scores import Check, Exercise
from tinyadv.course.submissions import files_below
from tinyadv.course.uploads import Student, class_in, student_of, students_of

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
    assert [one.student.name for one in found] == ["broken", "right", "wrong", "wrong-too"]
    assert len(said) == 4
    assert any("broken: cannot be graded: wanted one file" in line for line in said)
    rows = list(csv.DictReader(io.StringIO((tmp_path / "out" / "class.csv").read_text("utf-8-sig"))))
    assert [(row["name"], row["id"], row["total (3)"]) for row in rows] == [
        ("broken", "", "0"), ("right", "1", "3"), ("wrong", "3", "1"), ("wrong-too", "", "1"),
    ]  # fmt: skip
    assert "the sign is wrong" in (tmp_path / "out" / "wrong-3.txt").read_text("utf-8")
    said_of_all = list(csv.DictReader(io.StringIO((tmp_path / "out" / "mistakes.csv").read_text("utf-8-sig"))))
    assert said_of_all == [
        {"lesson": "1", "exercise": "worst_change", "students": "2", "feedback": "the sign is wrong"}
    ]
    canvas = list(csv.reader(io.StringIO((tmp_path / "out" / "canvas.csv").read_text("utf-8"))))
    assert canvas[1] == ["Points Possible", "", "", "3"]
    assert canvas[3] == ["right", "1", "", "3"]
    moodle = list(csv.DictReader(io.StringIO((tmp_path / "out" / "moodle.csv").read_text("utf-8"))))
    assert moodle[2]["Identifier"] == "Participant 3"
    assert moodle[2]["Grade"] == "1"
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


def test_where_tests_have_changed_all_that_is_given_is_graded_again(tmp_path, graded, monkeypatch):
    ada, bob = folder(tmp_path, "ada"), folder(tmp_path, "bob")
    grade_class([ada, bob], tmp_path / "out", [1])
    tests = tmp_path / "test_lesson01.py"
    tests.write_text("# other points", "utf-8")
    monkeypatch.setattr(classroom, "test_file", lambda number: tests)
    graded.clear()
    said: list[str] = []
    grade_class([ada], tmp_path / "out", [1], said.append)
    assert graded == ["ada"]
    assert "bob.json is graded by other tests, or another version of tinyadv: give this submission again" in said
    said.clear()
    grade_class([ada, bob], tmp_path / "out", [1], said.append)
    assert graded == ["ada", "bob"]
    assert not any("other tests" in line for line in said)


def test_a_wrong_mark_in_the_tests_is_no_student_s_fault(tmp_path, monkeypatch):
    (tmp_path / "test_lesson01.py").write_text('@pytest.mark.exercise("nobody", points=2)\ndef test_it(lesson): pass\n')
    monkeypatch.setattr(grading, "tests_folder", lambda: tmp_path)
    with pytest.raises(ValueError, match=r"test_lesson01\.py, line 1: wanted @pytest"):
        grade_class([folder(tmp_path, "ada")], tmp_path / "out", [1])
    assert not (tmp_path / "out").exists()


def test_a_student_is_one_whatever_the_file_with_the_grades_is_called(tmp_path, graded):
    """On some disks, and in zip files, macOS makes two characters of an accented letter."""
    out = tmp_path / "out"
    jose = folder(tmp_path, "Jos\u00e9")
    grade_class([jose], out, [1])
    (out / "Jos\u00e9.json").rename(out / "Jose\u0301.json")
    grade_class([jose, folder(tmp_path, "ada")], out, [1])
    assert [row["name"] for row in rows_of(out / "class.csv")] == ["ada", "Jos\u00e9"]


def test_an_exercise_whose_points_have_changed_has_one_column():
    changed = Exercise(1, "worst_change", (Check("test_a", 5.0, ""),))
    class_of = [Graded(Student(str(i), "", Path()), (e,)) for i, e in enumerate((changed, RIGHT, WRONG))]
    text = tables(class_of)["class.csv"]
    assert text.splitlines()[0] == "name,id,late,1: worst_change (3),total (3),open questions (0)"


def test_what_lies_beside_the_submissions_is_no_submission(tmp_path, graded, monkeypatch):
    folder(tmp_path, "ada")
    (tmp_path / "Thumbs.db").touch()
    monkeypatch.chdir(tmp_path)
    for _ in range(2):  # the second time the star finds them
        grade_class(sorted(Path().iterdir()), Path("grades"), [1])
    assert [row["name"] for row in rows_of(Path("grades/class.csv"))] == ["ada"]


def test_errors_come_before_any_work(tmp_path, graded):
    with pytest.raises(ValueError, match="at least one submission"):
        grade_class([], tmp_path / "out")
    ada = folder(tmp_path, "a/ada")
    with pytest.raises(ValueError, match="no exercises of lesson 99"):
        grade_class([ada], tmp_path / "out", [99])
    assert not graded
    assert not (tmp_path / "out").exists()
    grade_class([ada], tmp_path / "out", [1])
    before = {path: path.read_bytes() for path in (tmp_path / "out").iterdir()}
    with pytest.raises(
        ValueError, match=r"out has grades of other lessons \(ada\.json: 1; wanted: 2\): choose another"
    ):
        grade_class([ada], tmp_path / "out", [2])
    assert graded == ["ada"]
    assert {path: path.read_bytes() for path in (tmp_path / "out").iterdir()} == before


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
    assert [one.student.name for one in found] == ["Ada Lovelace", "loop", "solved", "stub"]
    assert earned == [worth, 0, worth, 0]
    assert "processor time" in next(e.feedback for e in found[1].exercises if e.name == "worst_change")


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


# ---------------------------------------------------------------------------------------------------------
# One student, several files


def upload(tmp_path: Path, name: str, **files: str) -> Path:
    """A zip file of these lessons, by name without .py; or any other file."""
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    if name.endswith(".zip"):
        with zipfile.ZipFile(path, "w") as file:
            for inside, text in files.items():
                file.writestr(f"lessons/{inside}.py", text)
    else:
        path.write_text("".join(files.values()) or "x = 1\n", "utf-8")
    return path


def test_a_text_typed_into_moodle_s_form_is_no_second_submission(tmp_path, graded):
    typed = tmp_path / "Ada L_12_assignsubmission_onlinetext"
    typed.mkdir()
    (typed / "onlinetext.html").write_text("<p>see the file")
    said: list[str] = []
    handed_in = folder(tmp_path, "Ada L_12_assignsubmission_file")
    (one,) = grade_class([handed_in, typed], tmp_path / "out", [1], said.append)
    assert (one.problem, graded, len(said)) == ("", [handed_in.name], 1)
    (one,) = grade_class([typed], tmp_path / "typed", [1])
    assert one.problem == "cannot be graded: no lesson in it; there are: onlinetext.html"


@pytest.mark.parametrize(
    ("names", "counts", "late"),
    [
        (("lovelaceada_42_101_handout.zip", "lovelaceada_42_102_report.pdf"), 0, False),
        (("lovelaceada_42_99_handout.zip", "lovelaceada_42_102_handout-1.zip"), 1, False),
        (("lovelaceada_LATE_42_101_handout.zip", "lovelaceada_42_102_handout.zip"), 1, False),
        (("lovelaceada_42_101_handout.zip", "lovelaceada_LATE_42_102_handout.zip"), 1, True),
    ],
)
def test_of_canvas_s_files_the_newest_is_graded(names, counts, late, tmp_path, graded):
    paths = [upload(tmp_path, name, lesson01_linear="x = 1") for name in names]
    said: list[str] = []
    (one,) = grade_class(paths, tmp_path / "out", [1], said.append)
    assert (one.problem, one.student.path, one.student.late) == ("", paths[counts], late)
    assert said[0] == f"lovelaceada: graded is {paths[counts]}, left out is {paths[1 - counts]}"
    rows = list(csv.DictReader(io.StringIO((tmp_path / "out" / "class.csv").read_text("utf-8-sig"))))
    assert [row["late"] for row in rows] == ["late" if late else ""]
    assert ("late" in (tmp_path / "out" / "lovelaceada-42.txt").read_text("utf-8")) == late


def test_what_cannot_be_told_apart_is_its_student_s_problem_alone(tmp_path, graded):
    same = [folder(tmp_path, "a/ada"), folder(tmp_path, "b/ada"), folder(tmp_path, "bob")]
    same += [upload(tmp_path, name) for name in ("c_1_2_lesson01_a.py", "c_1_3_x.zip")]
    said: list[str] = []
    ada, bob, c = grade_class(same, tmp_path / "out", [1], said.append)
    assert graded == ["bob"]
    assert (bool(ada.problem), bool(bob.problem), bool(c.problem)) == (True, False, True)
    assert f"ada: handed in are {same[0]} and {same[1]}: keep what counts" in said
    assert str(tmp_path) not in (tmp_path / "out" / "ada.txt").read_text("utf-8")
    assert grade_class(same[:1], tmp_path / "out", [1])[0].problem == ""


def test_loose_files_of_a_student_are_one_submission(tmp_path, monkeypatch):
    there = {}

    def stub(path, only):
        there.update({file.name: file.read_text("utf-8") for file in path.iterdir()})
        return [RIGHT]

    monkeypatch.setattr(classroom, "grade", stub)
    names = ("name_42_101_lesson01_linear.py", "name_42_102_lesson02_x.ipynb", "name_42_105_lesson01_linear-1.py")
    paths = [upload(tmp_path, name, text=name) for name in names]
    (one,) = grade_class(paths, tmp_path / "out", [1])
    assert there == {"lesson01_linear-1.py": names[2], "lesson02_x.ipynb": names[1]}
    assert (one.student.name, one.student.id) == ("name", "42")
    outside = upload(tmp_path, "secret.py", text="solutions")
    link = tmp_path / "eve_43_101_lesson01_linear.py"
    link.symlink_to(outside)
    (one,) = grade_class([link], tmp_path / "eve", [1])
    assert one.problem == f"cannot be graded: {link.name} is a link: wanted the file itself"
    (one,) = grade_class([outside], tmp_path / "other", [1])
    assert one.problem.startswith("cannot be graded: secret.py is no folder, no zip file and no lesson")


@pytest.mark.parametrize("name", ["../eve_1_2_lesson01_a.py", "eve_1_2_lesson01_..py"])
def test_no_name_leads_outside(name, tmp_path, graded):
    (tmp_path / "in").mkdir()
    path = upload(tmp_path / "in", name)
    before = set(tmp_path.iterdir())
    grade_class([path], tmp_path / "in" / "out", [1])
    assert set(tmp_path.iterdir()) == before


def test_work_that_is_not_found_is_a_problem(tmp_path, graded):
    empty = tmp_path / "empty.zip"
    empty.write_bytes(b"PK\x05\x06" + bytes(18))
    pdf = tmp_path / "pdf"
    pdf.mkdir()
    (pdf / "answers.pdf").touch()
    (tmp_path / "tested" / "tests").mkdir(parents=True)
    two = tmp_path / "two"
    two.mkdir()
    for name in ("a", "b"):
        upload(two, f"{name}.zip", lesson01_linear=f"{name} = 1")
    said = [one.problem for one in grade_class([empty, pdf, tmp_path / "tested", two], tmp_path / "out", [1])]
    assert said[:3] == [
        "cannot be graded: no lesson in it; it is empty",
        "cannot be graded: no lesson in it; there are: answers.pdf",
        "cannot be graded: no lesson in it; there are: tests",
    ]
    assert said[3].startswith("cannot be graded: found a.zip/lessons/lesson01_linear.py and b.zip/lessons/")
    assert not graded


def test_no_letter_has_the_teacher_s_folders(tmp_path, monkeypatch):
    (tmp_path / "broken.zip").write_bytes(b"PK\x03\x04 broken")
    damaged = upload(tmp_path, "damaged.zip", lesson01_linear="x = 1" * 99)
    damaged.write_bytes(damaged.read_bytes().replace(b"x = 1x", b"y = 2y"))

    def fails(path, only):
        raise OSError(13, "Permission denied", str(tmp_path / "out" / "a"))

    monkeypatch.setattr(classroom, "grade", fails)
    paths = [tmp_path / "broken.zip", damaged, folder(tmp_path, "closed"), tmp_path / "missing"]
    grade_class(paths, tmp_path / "out", [1])
    letters = [path.read_text("utf-8") for path in sorted((tmp_path / "out").glob("*.txt"))]
    assert len(letters) == 4
    assert str(tmp_path) not in "".join(letters)
    assert "cannot be graded: Permission denied: a" in letters[1]


# ---------------------------------------------------------------------------------------------------------
# Again into the same folder


def rows_of(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(path.read_text("utf-8-sig"))))


def test_who_comes_late_is_added(tmp_path, graded):
    paths = [folder(tmp_path, name) for name in ("ann", "wrong", "zoe")]
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.json").write_text("{}")
    grade_class([paths[0], paths[2]], tmp_path / "out", [1])
    said: list[str] = []
    assert [one.student.name for one in grade_class([paths[1]], tmp_path / "out", [1], said.append)] == ["wrong"]
    for table in ("class.csv", "questions.csv", "open-questions.csv"):
        assert [row["name"] for row in rows_of(tmp_path / "out" / table)] == ["ann", "wrong", "zoe"], table
    assert (tmp_path / "out" / "moodle.csv").read_text("utf-8").count("\n") == 4
    assert graded == ["ann", "zoe", "wrong"] or graded == ["zoe", "ann", "wrong"]
    assert any("mine.json" in line for line in said)
    (paths[0] / "lessons" / "more.txt").touch()
    grade_class(paths[:1], tmp_path / "out", [1])
    assert len(rows_of(tmp_path / "out" / "class.csv")) == 3


def test_a_letter_that_a_teacher_changed_stays(tmp_path, graded):
    path = folder(tmp_path, "ada")
    out = tmp_path / "out"
    grade_class([path], out, [1])
    with (out / "ada.txt").open("a") as file:
        file.write("Well done!\n")
    kept = (out / "ada.txt").read_bytes()
    said: list[str] = []
    for number, text in enumerate(("x = 2", "x = 3", "x = 4")):
        (path / "lessons" / "lesson01_linear.py").write_text(text)
        grade_class([path], out, [1], said.append)
        assert (out / "ada.txt").read_bytes() == kept
        assert sorted(p.name for p in out.glob("*.txt")) == ["ada.txt", "ada~2.txt"]
        assert len(graded) == number + 2
    assert said[1] == "ada: ada.txt was changed by hand; the new one is ada~2.txt"
    (out / "ada~2.txt").write_text("mine too")
    (path / "lessons" / "lesson01_linear.py").write_text("x = 5")
    grade_class([path], out, [1])
    assert (out / "ada~2.txt").read_text() == "mine too"
    assert (out / "ada~3.txt").exists()
    for old in out.glob("*.txt"):
        old.unlink()
    grade_class([path], out, [1])
    assert len(graded) == 5, "a letter that is missing is written again without grading"
    assert (out / "ada.txt").exists()


def answered() -> str:
    """Lesson 1 as a student gets it, with an answer and a cell of text that the student added."""
    text = exercises.stub(lessons()[1].read_text("utf-8"))
    assert text.count("# …\n") == 1
    return text.replace("# …\n", "# The *sign* of it.\n#\n# # Because\x1b[31m\n\n# %% [markdown]\n# And more.\n")


def test_answers_to_open_questions_wait_for_a_teacher_whose_marks_stay(tmp_path, graded):
    out = tmp_path / "out"
    paths = [folder(tmp_path, "Müller_7_8_x", answered()), folder(tmp_path, "ada")]
    grade_class(paths, out, [1])
    sheet = (out / "answers-lesson01.md").read_text("utf-8")
    assert (
        "## Müller 7, question 1 (3 points)\n\n    The *sign* of it.\n    \n    # Because [31m\n    \n    And more.\n"
        in sheet
    )
    assert sheet.endswith("Because [31m\n    \n    And more.\n"), "what the lesson goes on with is no answer"
    assert "## ada, question 1 (3 points)\n\n*no answer found*" in sheet
    first, second = rows_of(out / "open-questions.csv")
    assert (first["name"], first["words"], first["mark"]) == ("ada", "0", "")
    assert (second["name"], second["words"], second["points"], second["mark"]) == ("Müller", "9", "3", "")
    assert "lesson 1, to think about: your teacher marks your answer, up to 3" in (out / "Müller-7.txt").read_text()
    assert "lesson 1, to think about: no answer found" in (out / "ada.txt").read_text()
    text = (out / "open-questions.csv").read_text("utf-8-sig").replace("3,9,", "3,9,2.5")
    (out / "open-questions.csv").write_bytes(text.replace(",", ";").replace("2.5", "2,5").encode("cp1252"))
    grade_class([folder(tmp_path, "zoe")], out, [1])
    assert [row["mark"] for row in rows_of(out / "open-questions.csv")] == ["", "2,5", ""]
    assert [row["open questions (3)"] for row in rows_of(out / "class.csv")] == ["", "2.5", ""]
    assert [row["total (3)"] for row in rows_of(out / "class.csv")] == ["3", "3", "3"]


@pytest.mark.parametrize(
    ("there", "here", "wanted"),
    [
        ("3 points):\n#\n# …", "3 points): the *sign*.", "the *sign*."),
        ("(your teacher gives it up to 3 points):\n#\n# …", "the sign: eps", "the sign: eps"),
        ("# …\n", "# So:\n\n# %%\nprint(1)\n\n# %% [markdown]\n# therefore.\n", "So:\n\ntherefore."),
    ],
)  # fmt: skip
def test_an_answer_is_found_where_students_write_it(there, here, wanted, tmp_path):
    text = exercises.stub(lessons()[1].read_text("utf-8"))
    assert there in text
    (found,) = answers(folder(tmp_path, "ada", text.replace(there, here)), [1])
    assert found.text == wanted


def test_marks_are_never_lost(tmp_path, graded):
    out = tmp_path / "out"
    path = folder(tmp_path, "ada_0007_8_x")
    grade_class([path], out, [1])
    text = (out / "open-questions.csv").read_text("utf-8-sig").replace("0007", "7").replace("3,0,", "3,0,1")
    (out / "open-questions.csv").write_text(text)
    said: list[str] = []
    grade_class([path], out, [1], said.append)
    assert (out / "open-questions.csv").read_text() == text
    assert (out / "open-questions~2.csv").exists()
    assert any("has marks for ada" in line for line in said)
    marked = (out / "open-questions~2.csv").read_text("utf-8-sig").replace("3,0,", "3,0,2")
    (out / "open-questions.csv").write_text(f"{marked}bob,1,,1,1,3,0\n")  # Excel leaves out the last comma
    grade_class([path], out, [1])
    assert [row["mark"] for row in rows_of(out / "open-questions.csv")] == ["2"]
    (out / "open-questions.csv").write_text("who,what\nada,3\n")
    with pytest.raises(ValueError, match="has a teacher's marks and cannot be read"):
        grade_class([path], out, [1])


def test_a_spreadsheet_takes_its_tables_for_utf_8_and_a_platform_gets_no_mark(tmp_path, graded):
    grade_class([folder(tmp_path, "Müller")], tmp_path / "out", [1])
    marked = {path.name for path in (tmp_path / "out").iterdir() if path.read_bytes().startswith(b"\xef\xbb\xbf")}
    assert marked == {"class.csv", "questions.csv", "mistakes.csv", "open-questions.csv"}


# ---------------------------------------------------------------------------------------------------------
# A class that is taken for one submission


def test_a_class_is_not_taken_for_a_student(tmp_path, graded):
    for name in ("ada", "bob"):
        folder(tmp_path / "subs", name)
    with pytest.raises(ValueError, match=r"subs has the same lessons in ada and bob: a class\? grade .*subs/\*"):
        grade_class([tmp_path / "subs"], tmp_path / "out", [1])
    for name in ("zipped/ada.zip", "zipped/bob.zip", "loose/a_1_2_lesson01_a.py", "loose/b_2_3_lesson02_b.py"):
        upload(tmp_path, name, lesson01_linear="x = 1")
    assert class_in(tmp_path / "zipped") == ["ada.zip", "bob.zip"]
    assert class_in(tmp_path / "loose") == ["a_1_2_lesson01_a.py", "b_2_3_lesson02_b.py"]
    one = folder(tmp_path / "one", "handout").parent
    assert class_in(one) == []
    (one / "week2").mkdir()
    (one / "week2" / "lesson02_logistic.py").touch()
    assert class_in(one) == []
    assert not graded


def test_the_folder_in_which_one_stands_has_a_name(tmp_path, monkeypatch):
    monkeypatch.chdir(folder(tmp_path, "ada"))
    assert student_of(Path()).name == "ada"


def test_students_are_told_apart_where_capitals_are_not(tmp_path):
    (one,) = students_of([tmp_path / "Ada", tmp_path / "ada"])
    assert one.problem


def test_a_long_name_stops_nobody_and_is_told_apart(tmp_path, graded):
    """A letter of many scripts has three bytes, and systems count those."""
    names = [f"{chr(0x930) * 80}{end}" for end in "ab"]
    grade_class([folder(tmp_path, name) for name in names], tmp_path / "out", [1])
    assert [row["name"] for row in rows_of(tmp_path / "out" / "class.csv")] == names
    assert len(list((tmp_path / "out").glob("*.txt"))) == 2


def test_students_are_told_apart_by_their_accents_however_these_are_written(tmp_path):
    """macOS writes é as two characters, and the vowels of many scripts are such marks of their own."""
    composed, parted = "Jos\u00e9", "Jose\u0301"
    names = [composed, parted, "Jose", "\u0930\u093e\u092e", "\u0930\u0947\u092e"]
    found = {student.file_name: student for student in students_of([tmp_path / name for name in names])}
    assert list(found) == [composed, *names[2:]]
    assert [name for name, student in found.items() if student.problem] == [composed]
    assert student_of(tmp_path / f"{parted}_7_assignsubmission_file").name == composed


@pytest.mark.parametrize(("name", "wanted"), [("Con", "student-Con"), ("aux.b", "student-aux.b"), ("Connie", "Connie")])
def test_no_student_s_file_has_the_name_of_a_device(name, wanted, tmp_path):
    """In Windows nul.txt is no file, and what is written there is gone."""
    assert Student(name, "", tmp_path).file_name == wanted


def test_names_that_windows_does_not_have_are_unpacked_there(tmp_path, monkeypatch):
    monkeypatch.setattr(uploads, "WINDOWS", True)
    with zipfile.ZipFile(tmp_path / "ada.zip", "w") as file:
        file.writestr("what? /lesson01: mine.py", "x = 1")
    uploads.unpack(tmp_path / "ada.zip", tmp_path / "out")
    assert [path.relative_to(tmp_path / "out").as_posix() for path in files_below(tmp_path / "out")] == [
        "what__/lesson01_ mine.py"
    ]


def test_a_file_and_a_folder_of_one_name_are_said(tmp_path, monkeypatch):
    """Windows itself would say that it is forbidden."""

    def forbidden(*_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "write_bytes", forbidden)
    (tmp_path / "out" / "lesson01.py").mkdir(parents=True)
    with zipfile.ZipFile(tmp_path / "ada.zip", "w") as file:
        file.writestr("lesson01.py", "x = 1")
    with pytest.raises(ValueError, match="a file and a folder of one name"):
        uploads.unpack(tmp_path / "ada.zip", tmp_path / "out")
