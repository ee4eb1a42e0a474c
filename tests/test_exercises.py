"""The tests of the tests: stubs fail by NotImplementedError, right answers pass, wrong ones are caught and named.

For each lesson its tests run once more, inside of one test, on the stub, on the lesson, and on the lesson with each
wrong answer, and each right answer of another form, in place of its own. `python tests/test_exercises.py` prints the
whole table of wrong answers.
"""

from __future__ import annotations

import ast
import contextlib
import io
import runpy
import tempfile
import time
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from tinyadv.course import lessons
from tinyadv.course.cells import parsed as one_at_a_time
from tinyadv.course.exercises import exercises, stub
from tinyadv.course.export import INI
from tinyadv.course.judging import verdict

FOLDER = Path(__file__).parent / "exercises"
GRADED = sorted(int(path.stem[-2:]) for path in FOLDER.glob("test_lesson*.py"))
SOURCES = {number: path.read_text(encoding="utf-8") for number, path in lessons().items()}
WRONG: dict[int, dict[str, list[tuple[str, str, str]]]] = {
    number: runpy.run_path(str(FOLDER / "wrong" / f"lesson{number:02}.py"))["WRONG"] for number in GRADED
}
RIGHT: dict[int, dict[str, list[tuple[str, str]]]] = {
    number: runpy.run_path(str(path))["RIGHT"] if path.exists() else {}
    for number in GRADED
    for path in [FOLDER / "right" / f"lesson{number:02}.py"]
}
ALTERNATIVES = [
    pytest.param(number, name, i, id=f"{number}-{name}-{form.replace(' ', '_')}")
    for number, right in RIGHT.items()
    for name, answers in right.items()
    for i, (form, _) in enumerate(answers)
]
ANSWERS = [
    pytest.param(number, name, i, id=f"{number}-{name}-{mistake.replace(' ', '_')}")
    for number, wrong in WRONG.items()
    for name, answers in wrong.items()
    for i, (mistake, _, _) in enumerate(answers)
]
NO_ARRAYS = {"dropout_mask", "noise", "stop", "grad"}  # exercises whose arguments are none
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


# What any right answer can be made to do: the function that takes its place calls it as NAME_before.
HABITS = {
    "yield": """
    yield {name}_before(*args, **options)
""",
    "overwrite": """
    copies = [given.copy() if isinstance(given, np.ndarray | dict) else given for given in args]
    result = {name}_before(*copies, **options)
    for given in args:
        for array in given.values() if isinstance(given, dict) else [given]:
            if isinstance(array, np.ndarray):
                np.add(array, 1, out=array, casting="unsafe")
    return result
""",
    "list": """
    result = {name}_before(*args, **options)
    swapped = {tuple: list, list: tuple}.get(type(result), lambda same: same)
    return swapped(result)
""",
}

parsed = cache(ast.parse)


def answered(source: str, name: str, answer: str) -> str:
    """A lesson in which a function or class is another."""
    (node,) = [n for n in parsed(source).body if getattr(n, "name", "") == name]
    lines = source.splitlines(keepends=True)
    start = min([node.lineno, *(d.lineno for d in node.decorator_list)]) - 1
    return "".join([*lines[:start], answer.strip() + "\n", *lines[node.end_lineno :]])


@cache
def trials(number: int) -> dict[str, dict[str, dict[str, str]]]:
    """What the tests of a lesson say of its folders, by folder, exercise and test.

    The folders are "stub", "solution", "EXERCISE-I" with a wrong answer, "EXERCISE-right-I" with a right one of another
    form, and "EXERCISE-HABIT".
    """
    source, file, plugin = SOURCES[number], lessons()[number].name, Trials()
    sources = {("stub", None): stub(source), ("solution", None): source}
    for name, answers in WRONG[number].items():
        for i, (_, answer, _) in enumerate(answers):
            sources[f"{name}-{i}", name] = answered(source, name, answer)
        for i, (_, answer) in enumerate(RIGHT[number].get(name, [])):
            sources[f"{name}-right-{i}", name] = answered(source, name, answer)
        for habit, body in HABITS.items():
            body = body.replace("{name}", name)
            again = f"\n\n{name}_before = {name}\n\n\ndef {name}(*args, **options):{body}"
            sources[f"{name}-{habit}", name] = source + again
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


@pytest.mark.parametrize(("number", "name", "i"), ALTERNATIVES)
def test_a_right_answer_of_another_form_gets_all_points(number, name, i):
    said = trials(number)[f"{name}-right-{i}"][name]
    assert len(said) == len(trials(number)["solution"][name])
    assert not [line for line in said.values() if line]


@graded
def test_right_answers_are_to_exercises_of_the_lesson(number):
    assert set(RIGHT[number]) <= set(WRONG[number])


def of_habit(number, habit):
    """The first line of feedback on each exercise of a lesson whose answer has a habit; "" where all tests pass."""
    said = {name: trials(number)[f"{name}-{habit}"][name] for name in WRONG[number]}
    return {name: next((line for line in tests.values() if line), "") for name, tests in said.items()}


@graded
def test_a_generator_is_named(number):
    assert {name: line for name, line in of_habit(number, "yield").items() if "say `return`" not in line} == {}


@graded
def test_who_overwrites_what_was_given_is_told_so(number):
    said = of_habit(number, "overwrite")
    unnoticed = {name: line for name, line in said.items() if "changed" not in line}
    assert unnoticed == dict.fromkeys(NO_ARRAYS & set(said), "")


@graded
def test_a_list_does_for_a_tuple_and_a_tuple_for_a_list(number):
    assert not any(of_habit(number, "list").values())


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


def test_two_threads_never_parse_at_once(monkeypatch):
    """Where they do, CPython 3.11 now and then raises SystemError: a class is graded by several threads."""
    parse, inside, most = ast.parse, [], []

    def slowly(source):
        inside.append(source)
        most.append(len(inside))
        time.sleep(0.01)
        inside.remove(source)
        return parse(source)

    with monkeypatch.context() as patched, ThreadPoolExecutor(4) as pool:
        patched.setattr(ast, "parse", slowly)  # put back before anything is asserted: pytest parses too
        trees = list(pool.map(one_at_a_time, [f"x = {n}" for n in range(8)]))
    assert [tree.body[0].value.value for tree in trees] == [*range(8)]
    assert max(most) == 1
