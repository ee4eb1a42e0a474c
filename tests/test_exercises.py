"""The tests of the tests: stubs fail by NotImplementedError, the lessons pass, every wrong answer is caught and named.

For each lesson its tests run once more, inside of one test, on the stub, on the lesson, and on the lesson with each
wrong answer in place of the right one. `python tests/test_exercises.py` prints the whole table.
"""

from __future__ import annotations

import ast
import contextlib
import io
import runpy
import tempfile
from collections import defaultdict
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from tinyadv.course import lessons
from tinyadv.course.exercises import exercises, stub
from tinyadv.course.export import INI
from tinyadv.course.judging import verdict

FOLDER = Path(__file__).parent / "exercises"
GRADED = sorted(int(path.stem[-2:]) for path in FOLDER.glob("test_lesson*.py"))
SOURCES = {number: path.read_text(encoding="utf-8") for number, path in lessons().items()}
WRONG: dict[int, dict[str, list[tuple[str, str, str]]]] = {
    number: runpy.run_path(str(FOLDER / "wrong" / f"lesson{number:02}.py"))["WRONG"] for number in GRADED
}
ANSWERS = [
    pytest.param(number, name, i, id=f"{number}-{name}-{mistake.replace(' ', '_')}")
    for number, wrong in WRONG.items()
    for name, answers in wrong.items()
    for i, (mistake, _, _) in enumerate(answers)
]
graded = pytest.mark.parametrize("number", GRADED)


class Trials:
    """A pytest plugin: every test runs on every folder that holds an answer to its exercise; what each said is kept."""

    def __init__(self) -> None:
        self.folders: list[tuple[Path, str | None]] = []
        self.said: dict[str, dict[str, dict[str, str]]] = defaultdict(lambda: defaultdict(dict))

    def pytest_generate_tests(self, metafunc: Any) -> None:
        for marker in metafunc.definition.iter_markers("exercise"):
            chosen = [folder for folder, name in self.folders if name in (None, marker.args[0])]
            metafunc.parametrize("folder", chosen, ids=[folder.name for folder in chosen])

    def pytest_collection_modifyitems(self, items: list[Any]) -> None:
        items.sort(key=lambda item: item.callspec.params["folder"])  # what has been compiled is compiled once

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(self, item: Any, call: Any) -> Any:
        report = yield
        said = verdict(item, call, report)
        if said is not None:
            exercise = item.get_closest_marker("exercise").args[0]
            self.said[item.callspec.params["folder"].name][exercise][item.name] = said
        return report


parsed = cache(ast.parse)


def answered(source: str, name: str, answer: str) -> str:
    """A lesson in which a function or class is another."""
    (node,) = [n for n in parsed(source).body if getattr(n, "name", "") == name]
    lines = source.splitlines(keepends=True)
    start = min([node.lineno, *(d.lineno for d in node.decorator_list)]) - 1
    return "".join([*lines[:start], answer.strip() + "\n", *lines[node.end_lineno :]])


@cache
def trials(number: int) -> dict[str, dict[str, dict[str, str]]]:
    """What the tests of a lesson say of the folders "stub", "solution" and "EXERCISE-I": by exercise and test."""
    source, file, plugin = SOURCES[number], lessons()[number].name, Trials()
    sources = {("stub", None): stub(source), ("solution", None): source}
    for name, answers in WRONG[number].items():
        for i, (_, answer, _) in enumerate(answers):
            sources[f"{name}-{i}", name] = answered(source, name, answer)
    with tempfile.TemporaryDirectory() as temporary, contextlib.redirect_stdout(io.StringIO()):
        root = Path(temporary)
        for (folder, name), text in sources.items():
            (root / folder).mkdir()
            (root / folder / file).write_text(text, encoding="utf-8")
            plugin.folders.append((root / folder, name))
        (root / "pytest.ini").write_text(INI, encoding="utf-8")
        arguments = [str(FOLDER / f"test_lesson{number:02}.py"), f"--rootdir={FOLDER}", f"--basetemp={root / 'tmp'}"]
        arguments += ["-c", str(root / "pytest.ini"), "--tb=no", "-p", "no:cacheprovider", "-p", "no:capture"]
        unneeded = ("xdist", "unraisableexception")  # the latter collects garbage ten times, for nothing here
        pytest.main([*arguments, *(word for name in unneeded for word in ("-p", f"no:{name}"))], plugins=[plugin])
    return plugin.said


@graded
def test_every_exercise_has_tests_with_points_and_wrong_answers(number):
    names = set(exercises(SOURCES[number]))
    assert set(WRONG[number]) == names
    assert all(len(answers) >= 3 for answers in WRONG[number].values())
    tests = [
        node
        for node in ast.parse((FOLDER / f"test_lesson{number:02}.py").read_text(encoding="utf-8")).body
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")
    ]
    marks = {
        node.name: [ast.unparse(d) for d in node.decorator_list if "mark.exercise" in ast.unparse(d)] for node in tests
    }
    assert all(len(found) == 1 and "points=" in found[0] for found in marks.values()), marks
    assert {ast.literal_eval(found[0].partition("(")[2].partition(",")[0]) for found in marks.values()} == names
    assert all("lesson" in [a.arg for a in node.args.args] for node in tests)


@graded
def test_the_stub_fails_every_test_and_says_that_it_is_a_stub(number):
    said = trials(number)["stub"]
    assert set(said) == set(exercises(SOURCES[number]))
    assert {line for tests in said.values() for line in tests.values()} == {"not done yet"}, dict(said)


@graded
def test_the_lesson_passes(number):
    said = trials(number)["solution"]
    assert set(said) == set(exercises(SOURCES[number]))
    assert not [line for tests in said.values() for line in tests.values() if line]


@pytest.mark.parametrize(("number", "name", "i"), ANSWERS)
def test_a_wrong_answer_is_caught_and_its_mistake_is_named(number, name, i):
    said = trials(number)[f"{name}-{i}"][name]
    _, _, words = WRONG[number][name][i]
    lines = [line for line in said.values() if line]
    assert lines, "no test fails"
    assert words in lines[0], lines


def main() -> None:
    """Print the table: exercise, wrong answer, caught, named, and the line of feedback."""
    print("| lesson | exercise | wrong answer | caught | named | feedback |\n|---|---|---|---|---|---|")
    for number in GRADED:
        for name, answers in WRONG[number].items():
            for i, (mistake, _, words) in enumerate(answers):
                lines = [line for line in trials(number)[f"{name}-{i}"][name].values() if line]
                named = bool(lines) and words in lines[0]
                cells = [number, f"`{name}`", mistake, "yes" if lines else "NO", "yes" if named else "NO", *lines[:1]]
                print("|", " | ".join(str(cell).replace("|", "\\|") for cell in cells), "|")


if __name__ == "__main__":
    main()
