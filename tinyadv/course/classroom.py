"""Grading a class: many submissions, what each earned, and which mistakes the class made.

The one idea: each submission is graded as one alone would be (`grade`), its result is kept as a file the moment it
exists, and all tables are made of the files in the folder. So a run that was broken off goes on where it stopped, a
submission that comes late is added, and one that cannot be graded costs only itself. What a person may have written
in a file, a line in a letter or the marks for the open questions, stays.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from typing import Any

from .. import __version__
from ..storage import parse_json, write_atomically
from .answers import Answer, answers
from .exercises import exercises
from .export import OF_THE_DESKTOP, chosen_lessons
from .feedback import one_line
from .grade import grade, test_file, tests_of
from .scores import Check, Exercise, total
from .uploads import Student, nothing_in, opened, refuse_class, student_of, students_of

FORM = "tinyadv class 1"
AT_ONCE = 2  # submissions: while an endless loop of one waits for its end, the other goes on
OPEN = "open-questions.csv"
# Tables that people open: without a mark at its start a spreadsheet does not take a file for UTF-8. Those that
# platforms import have none, as they ask for.
SPREADSHEETS = ("questions.csv", "class.csv", "mistakes.csv", OPEN)

Mark = tuple[str, str, int, int]  # a student's name and id, a lesson, and which of its open questions


@dataclass(frozen=True)
class Graded:
    """What came of one submission; `problem` says in a line why nothing could be graded, and is "" otherwise."""

    student: Student
    exercises: tuple[Exercise, ...]
    problem: str = ""
    answers: tuple[Answer, ...] = ()


def grade_class(
    paths: Sequence[Path], out: Path, only: Iterable[int] | None = None, say: Callable[[str], None] = lambda line: None
) -> list[Graded]:
    """Grade submissions, each a folder, a zip file or lessons' files, and write what came out into the folder `out`.

    A student's file is written when it is known, `NAME.json` for programs and `NAME.txt` to hand back; a file of the
    same submission, lessons, tests and version that is there already is taken as it is. A text that somebody changed
    stays, and the new one is written beside it. In the end `questions.csv` has a line for each student and exercise,
    `class.csv` one for each student, `moodle.csv` and `canvas.csv` the forms that these import, `mistakes.csv` what
    the class got wrong, `open-questions.csv` a line for each answer that a teacher marks, and `answers-lessonNN.md`
    these answers. The tables are of all students who have a file in `out`, also of those graded earlier. `out` itself
    is no submission, nor are the files that desktops put into folders.

    Returns
    -------
    list of Graded
        What came of these submissions, by the names of their files.

    Raises
    ------
    ValueError
        If there is no submission, a lesson is unknown, a mark in the tests is wrong, or `out` has grades of other
        lessons: before anything is graded.
    OSError
        If `out` cannot be written.
    GradingError
        If the tests themselves cannot be run.
    """
    # a star finds these too, where grades lie beside the submissions, or a desktop was there
    paths = [path for path in paths if path.resolve() != out.resolve() and path.name not in OF_THE_DESKTOP]
    if not paths:
        raise ValueError("wanted at least one submission, a folder or a zip file")
    students = sorted(students_of(paths), key=lambda student: student.file_name.casefold())
    chosen = chosen_lessons(only)
    for number, path in chosen.items():
        tests_of(number, exercises(path.read_text(encoding="utf-8")))  # a mistake in the tests is no student's
    lessons = list(chosen)
    if len(paths) == 1:
        refuse_class(paths[0])
    _refuse_other_lessons(out, lessons)
    marks = _marks(out / OPEN)
    out.mkdir(parents=True, exist_ok=True)
    for student in students:
        if student.note:
            say(f"{student.name}: {student.note}")
    found, tests = dict[str, Graded](), _tests(lessons)
    with ThreadPoolExecutor(AT_ONCE) as pool:
        tasks = {pool.submit(_graded, student, out, lessons, tests): student for student in students}
        try:
            for number, task in enumerate(as_completed(tasks), 1):
                student = tasks[task]
                one, beside = task.result()
                found[student.file_name] = one
                earned, points = total(list(one.exercises))
                said = one.problem or f"{earned:g} of {points:g} points"
                say(f"{number} of {len(students)}: {student.name}: {said}")
                if beside:
                    say(f"{student.name}: {student.file_name}.txt was changed by hand; the new one is {beside}")
        finally:  # stopped by Ctrl-C, say: what has not begun does not begin
            for task in tasks:
                task.cancel()
    everyone = dict(found)
    for path, record in _records(out, say).items():
        one = _of_record(record)
        name = one.student.file_name  # and not the file's: some disks write accents in another way
        if name not in everyone and (record.get("version"), record.get("tests")) != (__version__, tests):
            say(f"{path.name} is graded by other tests, or another version of tinyadv: give this submission again")
        everyone.setdefault(name, one)
    ordered = [everyone[name] for name in sorted(everyone, key=str.casefold)]
    for name, text in (tables(ordered, marks) | answer_sheets(ordered)).items():
        place = out / name
        if name == OPEN and (lost := marks.keys() - {_key(one, answer) for one in ordered for answer in one.answers}):
            place = next(path for n in count(2) if not (path := place.with_stem(f"{place.stem}~{n}")).exists())
            say(f"{OPEN} has marks for {', '.join(sorted(name for name, *_ in lost))}, whom the files here do not")
            say(f"know by this name and id: it stays as it is, and the new table is {place.name}")
        write_atomically(place, text.encode("utf-8-sig" if name in SPREADSHEETS else "utf-8"))
    return [found[student.file_name] for student in students]


def _refuse_other_lessons(out: Path, lessons: list[int]) -> None:
    """ValueError if a folder has grades of other lessons: its tables could not have both."""
    for path, record in _records(out).items():
        if record["lessons"] != lessons:
            there, wanted = (", ".join(map(str, numbers)) for numbers in (record["lessons"], lessons))
            raise ValueError(
                f"{out} has grades of other lessons ({path.name}: {there}; wanted: {wanted}): choose another --out"
            )


def _graded(student: Student, out: Path, lessons: list[int], tests: str) -> tuple[Graded, str]:
    """Grade one submission, or take what an earlier run wrote of the very same by the same tests, given by their hash.

    Also the name of the file that its letter went to, where the usual one was changed by hand; else "".
    """
    said: dict[str, Any] = {"format": FORM, "lessons": lessons, "tests": tests, **_about(student)}
    when = said.pop("when")
    path = out / f"{student.file_name}.json"
    record = _record(path)
    if record is not None and said["sha256"] and not record["problem"] and said.items() <= record.items():
        one = _of_record(record, student)
        if (out / f"{student.file_name}.txt").exists():
            return one, ""
    else:
        one = _graded_anew(student, lessons)
    text = letter(one)
    letters = dict(record.get("letters", {})) if record is not None else {}
    name = _free(out, student.file_name, text, letters)
    letters[name] = _hash(text)
    said |= {"when": when, "problem": one.problem, "letters": letters}
    said["exercises"] = [
        {"lesson": e.lesson, "exercise": e.name, "tests": [[t.name, t.points, t.feedback] for t in e.tests]}
        for e in one.exercises
    ]
    said["answers"] = [asdict(answer) for answer in one.answers]
    # the letter first: where the JSON is, nothing is done again
    write_atomically(out / name, text)
    write_atomically(path, json.dumps(said, indent=1, ensure_ascii=False) + "\n")
    return one, "" if name == f"{student.file_name}.txt" else name


def _graded_anew(student: Student, lessons: list[int]) -> Graded:
    """Grade one submission; what is wrong with it is its problem, not the class's."""
    if student.problem:
        return Graded(student, (), student.problem)
    submission = (student.path, *student.more)
    try:
        with opened(*submission) as folder:
            if why := nothing_in(folder, submission):
                return Graded(student, (), f"cannot be graded: {why}")
            return Graded(student, tuple(grade(folder, lessons)), "", answers(folder, lessons))
    except ValueError as error:
        return Graded(student, (), f"cannot be graded: {one_line(error)}")
    except OSError as error:  # without the folders on this machine: its student reads it
        name = f": {Path(error.filename).name}" if isinstance(error.filename, str) else ""
        return Graded(student, (), f"cannot be graded: {one_line(error.strerror or error)}{name}")


def _free(out: Path, name: str, text: str, letters: Mapping[str, str]) -> str:
    """The file that a letter goes to: NAME.txt, or where that was changed by hand NAME~2.txt, NAME~3.txt, ..."""
    for number in count(1):
        file = f"{name}.txt" if number == 1 else f"{name}~{number}.txt"
        try:
            there = (out / file).read_bytes()
        except FileNotFoundError:
            return file
        if hashlib.sha256(there).hexdigest() in (letters.get(file), _hash(text)):
            return file
    raise AssertionError("there is always another number")


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _tests(lessons: list[int]) -> str:
    """A hash of these lessons' tests, which a teacher may change."""
    return _hash("".join(test_file(number).read_text(encoding="utf-8") for number in lessons))


def about(submission: Path) -> dict[str, Any]:
    """Whose submission it is, a hash of its contents ("" if it cannot be read), when it is graded, by which version."""
    return _about(student_of(submission))


def _about(student: Student) -> dict[str, Any]:
    said = {"name": student.name, "id": student.id, "late": student.late, "submission": student.path.name, "sha256": ""}
    if not student.problem:
        with suppress(ValueError, OSError):
            prints = [fingerprint(path) for path in (student.path, *student.more)]
            said["sha256"] = prints[0] if len(prints) == 1 else _hash("\n".join(prints))
    return said | {"when": datetime.now(UTC).isoformat(timespec="seconds"), "version": __version__}


def _records(out: Path, say: Callable[[str], None] = lambda line: None) -> dict[Path, dict[str, Any]]:
    """What earlier runs wrote into a folder of their students, by file; files that are of something else are not."""
    found = {}
    for path in sorted(out.glob("*.json")):
        if (record := _record(path)) is not None:
            found[path] = record
        else:
            say(f"{path.name} is no student's file, or a damaged one: the tables go without it")
    return found


def _record(path: Path) -> dict[str, Any] | None:
    """What a run wrote of a student; None if there is no such file, or it is damaged or of something else."""
    try:
        said: dict[str, Any] = parse_json(path.read_text(encoding="utf-8"))
        if said["format"] != FORM or not isinstance(said["lessons"], list):
            return None
        _of_record(said)
        return said
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def _of_record(said: dict[str, Any], student: Student | None = None) -> Graded:
    """What came of a submission, as a student's file has it."""
    if student is None:
        path = Path(str(said["submission"]))
        student = Student(str(said["name"]), str(said["id"]), path, said.get("late") is True)
    exercises = tuple(
        Exercise(e["lesson"], e["exercise"], tuple(Check(str(n), float(p), str(f)) for n, p, f in e["tests"]))
        for e in said["exercises"]
    )
    given = tuple(Answer(**answer) for answer in said.get("answers", []))
    return Graded(student, exercises, str(said["problem"]), given)


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
    lines = [f"{one.student.name}" + (" (handed in late)" if one.student.late else ""), ""]
    if one.problem:
        return "\n".join([*lines, f"Your submission {one.problem}", ""])
    for e in one.exercises:
        lines.append(f"lesson {e.lesson}, {e.name}: {e.earned:g} of {e.points:g} points")
        lines += [f"    {e.feedback}"] if e.feedback else []
    earned, points = total(list(one.exercises))
    lines += ["", f"{earned:g} of {points:g} points", ""]
    for answer in one.answers:
        given = "your teacher marks your answer" if answer.text else "no answer found"
        lines.append(f"lesson {answer.lesson}, to think about: {given}, up to {answer.points} points more")
    return "\n".join([*lines, ""] if one.answers else lines)


def tables(graded: Sequence[Graded], marks: Mapping[Mark, str] | None = None) -> dict[str, str]:
    """The class's tables as CSV, by file name; `marks` are a teacher's for the answers to open questions."""
    marks = marks or {}
    known = Counter((e.lesson, e.name, e.points) for one in graded for e in one.exercises)
    worth: dict[tuple[int, str], float] = {}
    for (lesson, name, points), _ in known.most_common():  # where tests have changed, what counts for most students
        worth.setdefault((lesson, name), points)
    names = list(dict.fromkeys((lesson, name) for lesson, name, _ in known))
    names.sort(key=lambda exercise: exercise[0])  # as the lessons are; in one of them as it has them
    earned = [{(e.lesson, e.name): e.earned for e in one.exercises} for one in graded]
    heads = [f"{lesson}: {name} ({worth[lesson, name]:g})" for lesson, name in names]
    whole = sum(worth.values())
    open_points = sum({(a.lesson, a.question): a.points for one in graded for a in one.answers}.values())
    questions = [
        [one.student.name, one.student.id, _late(one), e.lesson, e.name, e.earned, e.points, e.feedback]
        for one in graded
        for e in one.exercises
    ]
    rows, moodle, canvas = [], [], []
    for one, of in zip(graded, earned, strict=True):
        who = [one.student.name, one.student.id]
        sum_of = sum(of.values())
        each = [of.get(exercise, 0.0) for exercise in names]
        rows.append([*who, _late(one), *each, sum_of, _marked(one, marks)])
        participant = f"Participant {one.student.id}" if one.student.id else ""
        said = one.problem or "; ".join(f"{e.name}: {e.feedback}" for e in one.exercises if e.feedback)
        moodle.append([participant, one.student.name, sum_of, whole, said])
        canvas.append([*who, "", sum_of])
    answered = [
        [one.student.name, one.student.id, _late(one), a.lesson, a.question, a.points, _words_of(a), marks.get(key, "")]
        for one in graded
        for a in one.answers
        for key in [_key(one, a)]
    ]
    return {
        "questions.csv": _csv(["name", "id", "late", "lesson", "exercise", "earned", "points", "feedback"], questions),
        "class.csv": _csv(
            ["name", "id", "late", *heads, f"total ({whole:g})", f"open questions ({open_points})"], rows
        ),
        "moodle.csv": _csv(["Identifier", "Full name", "Grade", "Maximum Grade", "Feedback comments"], moodle),
        "canvas.csv": _csv(
            ["Student", "ID", "Section", "tinyadv exercises"], [["Points Possible", "", "", whole], *canvas]
        ),
        "mistakes.csv": _csv(["lesson", "exercise", "students", "feedback"], mistakes(graded)),
        OPEN: _csv(OPEN_HEAD, answered),
    }


OPEN_HEAD = ["name", "id", "late", "lesson", "question", "points", "words", "mark"]


def _late(one: Graded) -> str:
    return "late" if one.student.late else ""


def _words_of(answer: Answer) -> int:
    return len(answer.text.split())


def _key(one: Graded, answer: Answer) -> Mark:
    return _cell(one.student.name), one.student.id, answer.lesson, answer.question


def _marked(one: Graded, marks: Mapping[Mark, str]) -> str:
    """The sum of a student's marks for open questions, "" as long as there is none."""
    given = [mark for answer in one.answers if (mark := marks.get(_key(one, answer), ""))]
    with suppress(ValueError):
        return f"{sum(float(mark.replace(',', '.')) for mark in given):g}" if given else ""
    return " + ".join(given)  # words, for a person to make sense of


def _marks(path: Path) -> dict[Mark, str]:
    """The marks that a teacher has put into the table of open questions, by what they are for.

    Raises
    ------
    ValueError
        If it cannot be read any more: it would be overwritten, with the marks.
    """
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return {}
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = content.decode("cp1252", "replace")  # what some spreadsheets write
    first = text.partition("\n")[0]
    separator = max(",;\t", key=first.count)
    found: dict[Mark, str] = {}
    try:
        for row in csv.DictReader(io.StringIO(text, newline=""), delimiter=separator):
            if mark := (row["mark"] or "").strip():  # Excel leaves out the commas before cells that are empty
                found[row["name"], row["id"], int(row["lesson"]), int(row["question"])] = mark
    except (KeyError, ValueError, AttributeError, csv.Error) as error:
        raise ValueError(
            f"{path} has a teacher's marks and cannot be read ({type(error).__name__}: {error}): "
            f"wanted the columns {', '.join(OPEN_HEAD)}; mend it, or move it away"
        ) from error
    return found


def answer_sheets(graded: Sequence[Graded]) -> dict[str, str]:
    """The answers of a class to the open questions of each lesson as a text for whoever marks them, by file name."""
    sheets: dict[str, list[str]] = {}
    for one in graded:
        for answer in one.answers:
            lines = sheets.setdefault(f"answers-lesson{answer.lesson:02}.md", [])
            lines += [] if lines else [f"# Lesson {answer.lesson}, to think about", ""]
            who = " ".join(filter(None, (one_line(one.student.name), one.student.id, _late(one))))
            lines += [f"## {who}, question {answer.question} ({answer.points} points)", ""]
            # as code: nothing in it is markup, or a heading of this file
            lines += [f"    {line}" for line in answer.text.splitlines()] or ["*no answer found*"]
            lines.append("")
    return {name: "\n".join(lines) for name, lines in sheets.items()}


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
