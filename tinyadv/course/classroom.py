"""Grading a class: many submissions, what each earned, and which mistakes the class made.

The one idea: each submission is graded as one alone would be (`grade`), its result is kept as a file the moment it
exists, and all tables are made of these files. So a run that was broken off goes on where it stopped, and a submission
that cannot be graded costs only itself.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from .. import __version__
from ..storage import parse_json, write_atomically
from .export import graded_lessons
from .grade import grade
from .scores import Check, Exercise, total

FORM = "tinyadv class 1"
AT_ONCE = 2  # submissions: while an endless loop of one waits for its end, the other goes on
# What learning platforms call the files that they hand out, with the numbers that they want back
_MOODLE = re.compile(r"(?P<name>.+?)_(?P<id>\d+)_assignsubmission_(?:file|onlinetext)_?.*")
_CANVAS = re.compile(r"(?P<name>[^_]+)(?:_LATE)?_(?P<id>\d+)_(?P<file>\d+)_.*")


@dataclass(frozen=True)
class Student:
    """Who handed something in, as far as the name of the file or folder tells.

    Attributes
    ----------
    id : str
        The number that the learning platform gave the student (Canvas) or the submission (Moodle); "" without one.
    """

    name: str
    id: str
    path: Path


@dataclass(frozen=True)
class Graded:
    """What came of one submission; `problem` says in a line why nothing could be graded, and is "" otherwise."""

    student: Student
    exercises: tuple[Exercise, ...]
    problem: str = ""


def student_of(path: Path) -> Student:
    """The student of a submission: Moodle's and Canvas's names are understood, any other name is the student's."""
    name = path.stem if path.suffix == ".zip" else path.name
    for platform in (_MOODLE, _CANVAS):
        if found := platform.fullmatch(name):
            return Student(found["name"].strip(), found["id"], path)
    return Student(name, "", path)


def grade_class(
    paths: Sequence[Path], out: Path, only: Iterable[int] | None = None, say: Callable[[str], None] = lambda line: None
) -> list[Graded]:
    """Grade submissions, each a folder or a zip file, and write what came out into the folder `out`.

    A student's file is written when it is known, `NAME.json` for programs and `NAME.txt` to hand back; a file of the
    same submission, lessons and version that is there already is taken as it is. In the end `questions.csv` has a line
    for each student and exercise, `class.csv` one for each student, `moodle.csv` and `canvas.csv` the forms that these
    import, `mistakes.csv` what the class got wrong.

    Raises
    ------
    ValueError
        If there is no submission, two have one name, or a lesson is unknown: before anything is graded.
    OSError
        If `out` cannot be written.
    GradingError
        If the tests themselves cannot be run.
    """
    students = [student_of(path) for path in paths]
    if not students:
        raise ValueError("wanted at least one submission, a folder or a zip file")
    files = [_file_name(student) for student in students]
    if twice := [name for name, count in Counter(files).items() if count > 1]:
        raise ValueError(f"two submissions would be written to {twice[0]}: rename one of them")
    lessons = sorted(graded_lessons() if only is None else only)
    if unknown := [number for number in lessons if number not in graded_lessons()]:
        raise ValueError(f"there are no exercises of lesson {unknown[0]}")
    out.mkdir(parents=True, exist_ok=True)
    found: dict[str, Graded] = {}
    with ThreadPoolExecutor(AT_ONCE) as pool:
        tasks = {
            pool.submit(_graded, student, out / name, lessons): name
            for student, name in zip(students, files, strict=True)
        }
        try:
            for number, task in enumerate(as_completed(tasks), 1):
                one = found[tasks[task]] = task.result()
                earned, points = total(list(one.exercises))
                said = one.problem or f"{earned:g} of {points:g} points"
                say(f"{number} of {len(students)}: {one.student.name}: {said}")
        finally:  # stopped by Ctrl-C, say: what has not begun does not begin
            for task in tasks:
                task.cancel()
    graded = [found[name] for name in files]
    for name, text in tables(graded).items():
        write_atomically(out / name, text)
    return graded


def _file_name(student: Student) -> str:
    name = f"{student.name}-{student.id}" if student.id else student.name
    return re.sub(r"[^\w.-]+", "-", name).strip("-.") or "student"


def _graded(student: Student, place: Path, lessons: list[int]) -> Graded:
    """Grade one submission, or take what an earlier run wrote of the very same."""
    said: dict[str, Any] = {"format": FORM, "lessons": lessons, **about(student.path)}
    when = said.pop("when")
    path = place.with_name(f"{place.name}.json")
    try:
        if (kept := _kept(path, said)) is not None:
            return Graded(student, kept)
        exercises, problem = tuple(grade(student.path, lessons)), ""
    except (ValueError, OSError) as error:
        exercises, problem = (), f"cannot be graded: {error}"
    one = Graded(student, exercises, problem)
    said |= {"when": when, "problem": problem}
    said["exercises"] = [
        {"lesson": e.lesson, "exercise": e.name, "tests": [[t.name, t.points, t.feedback] for t in e.tests]}
        for e in exercises
    ]
    # the letter first: where the JSON is, nothing is done again
    write_atomically(place.with_name(f"{place.name}.txt"), letter(one))
    write_atomically(path, json.dumps(said, indent=1, ensure_ascii=False) + "\n")
    return one


def about(submission: Path) -> dict[str, Any]:
    """Whose submission it is, a hash of its contents ("" if it cannot be read), when it is graded, by which version."""
    student = student_of(submission)
    said = {"name": student.name, "id": student.id, "submission": submission.name, "sha256": ""}
    with suppress(ValueError, OSError):
        said["sha256"] = fingerprint(submission)
    return said | {"when": datetime.now(UTC).isoformat(timespec="seconds"), "version": __version__}


def _kept(path: Path, wanted: dict[str, Any]) -> tuple[Exercise, ...] | None:
    """The exercises in a file of an earlier run, if it is about this very submission and nothing went wrong."""
    try:
        said = parse_json(path.read_text(encoding="utf-8"))
        if not wanted["sha256"] or said["problem"] or any(said[key] != value for key, value in wanted.items()):
            return None
        return tuple(
            Exercise(e["lesson"], e["exercise"], tuple(Check(str(n), float(p), str(f)) for n, p, f in e["tests"]))
            for e in said["exercises"]
        )
    except (OSError, ValueError, KeyError, TypeError):
        return None


def fingerprint(path: Path) -> str:
    """SHA-256 of a submission: a zip file's bytes, or the names and bytes of a folder's files.

    Raises
    ------
    ValueError
        If it is neither a folder nor a file.
    """
    if path.is_file():
        return hashlib.sha256(path.read_bytes()).hexdigest()
    if not path.is_dir():
        raise ValueError(f"{path} is no folder and no file")
    digest = hashlib.sha256()
    for file in sorted(p for p in path.rglob("*") if p.is_file() and not p.is_symlink()):
        digest.update(f"{file.relative_to(path).as_posix()}\n".encode())
        digest.update(hashlib.sha256(file.read_bytes()).digest())
    return digest.hexdigest()


# ---------------------------------------------------------------------------------------------------------
# What is written


def letter(one: Graded) -> str:
    """What a student gets back: points and a line of feedback for each exercise."""
    lines = [f"{one.student.name}", ""]
    if one.problem:
        return "\n".join([*lines, f"Your submission {one.problem}", ""])
    for e in one.exercises:
        lines.append(f"lesson {e.lesson}, {e.name}: {e.earned:g} of {e.points:g} points")
        lines += [f"    {e.feedback}"] if e.feedback else []
    earned, points = total(list(one.exercises))
    return "\n".join([*lines, "", f"{earned:g} of {points:g} points", ""])


def tables(graded: Sequence[Graded]) -> dict[str, str]:
    """The class's tables as CSV, by file name."""
    names = list(dict.fromkeys((e.lesson, e.name, e.points) for one in graded for e in one.exercises))
    earned = [{(e.lesson, e.name): e.earned for e in one.exercises} for one in graded]
    heads = [f"{lesson}: {name} ({points:g})" for lesson, name, points in names]
    whole = sum(points for _, _, points in names)
    questions = [
        [one.student.name, one.student.id, e.lesson, e.name, e.earned, e.points, e.feedback]
        for one in graded
        for e in one.exercises
    ]
    rows = [
        [
            one.student.name,
            one.student.id,
            *(of.get((lesson, name), 0.0) for lesson, name, _ in names),
            sum(of.values()),
        ]
        for one, of in zip(graded, earned, strict=True)
    ]
    moodle = []
    for one, of in zip(graded, earned, strict=True):
        participant = f"Participant {one.student.id}" if one.student.id else ""
        said = one.problem or "; ".join(f"{e.name}: {e.feedback}" for e in one.exercises if e.feedback)
        moodle.append([participant, one.student.name, sum(of.values()), whole, said])
    canvas = [[one.student.name, one.student.id, "", sum(of.values())] for one, of in zip(graded, earned, strict=True)]
    return {
        "questions.csv": _csv(["name", "id", "lesson", "exercise", "earned", "points", "feedback"], questions),
        "class.csv": _csv(["name", "id", *heads, f"total ({whole:g})"], rows),
        "moodle.csv": _csv(["Identifier", "Full name", "Grade", "Maximum Grade", "Feedback comments"], moodle),
        "canvas.csv": _csv(
            ["Student", "ID", "Section", "tinyadv exercises"], [["Points Possible", "", "", whole], *canvas]
        ),
        "mistakes.csv": _csv(["lesson", "exercise", "students", "feedback"], mistakes(graded)),
    }


def mistakes(graded: Sequence[Graded]) -> list[list[Any]]:
    """Lesson, exercise, number of students and the line of feedback, the commonest of each exercise first."""
    counts = Counter((e.lesson, e.name, e.feedback) for one in graded for e in one.exercises if e.feedback)
    order = sorted(counts.items(), key=lambda entry: (entry[0][0], entry[0][1], -entry[1], entry[0][2]))
    return [[lesson, name, count, said] for (lesson, name, said), count in order]


def _csv(head: list[str], rows: Iterable[Iterable[Any]]) -> str:
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(head)
    for row in rows:
        writer.writerow([_cell(value) for value in row])
    return file.getvalue()


def _cell(value: Any) -> str:
    """A value as text that a spreadsheet shows and does not compute: what begins like a formula gets an apostrophe."""
    text = f"{value:g}" if isinstance(value, float) else str(value)
    return f"'{text}" if text[:1] in ("=", "+", "-", "@", "\t", "\r") and not isinstance(value, float | int) else text
