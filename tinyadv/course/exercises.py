"""Exercises in a lesson: where they are, the stub that a student gets, loading what a student hands in, feedback.

The one idea: the lesson is the solution. What stands between two marks in a function is what a student has to write;
in the stub a NotImplementedError stands there, so that an exercise that was not touched says so itself.
"""

from __future__ import annotations
import __future__

import ast
import linecache
import re
import sys
import unicodedata
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import lru_cache, reduce
from importlib.util import decode_source
from operator import or_
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any, NamedTuple

from ..storage import parse_json
from .cells import WORK

BEGIN, END = "### BEGIN SOLUTION", "### END SOLUTION"
LONGEST = 400  # characters of a line of feedback
LARGEST = 4 << 20  # bytes of a lesson's file
_RUBRIC = re.compile(rf"(?P<gap>^#\n)?^# {BEGIN}\n(?:#.*\n)*?# {END}\n(?:#\n)?", re.MULTILINE)
_POINTS = re.compile(r"\*\*For the teacher\*\*, (\d+) points")
_ANSWER = """
# %% [markdown]
# **Your answer** (your teacher gives it up to {points} points):
#
# …

# %% [markdown]
"""
_ADDED = re.compile(
    r"(?:^|\n)assert |\n\(shapes .* mismatch\)|\n\(?Mismatched elements|\nx and y \w+ location|\n ACTUAL:|\n x: "
)


def exercises(source: str) -> list[str]:
    """The names of a lesson's exercises in its order: the functions and classes that have a block between the marks.

    Raises
    ------
    ValueError
        If a mark has no partner, or a block is not inside of a function.
    """
    return list(dict.fromkeys(name for name, _, _ in _blocks(source)))


def stub(source: str) -> str:
    """The lesson that a student gets: each block is one line that raises `NotImplementedError("exercise: NAME")`.

    Blocks in the text say what a teacher looks for in the answer to an open question. In their place is a cell for the
    student's answer.
    """
    source = _with_places_for_answers(source)
    lines = source.splitlines(keepends=True)
    for name, begin, end in reversed(_blocks(source)):
        indent = lines[begin][: len(lines[begin]) - len(lines[begin].lstrip())]
        lines[begin : end + 1] = [f'{indent}raise NotImplementedError("exercise: {name}")\n']
    text = "".join(lines)
    if BEGIN in text or END in text:
        raise ValueError(f"{BEGIN!r} or {END!r} without its partner")
    return text


class Piece(NamedTuple):
    """A part of a lesson as a student gets it: an exercise by its name, or, with name "", what stands between two."""

    name: str
    text: str


def pieces(source: str) -> list[Piece]:
    """The lesson that a student gets in parts, each exercise by itself: joined they are `stub(source)`."""
    source = _with_places_for_answers(source)
    lines, found, begun = source.splitlines(keepends=True), list[Piece](), 0
    for start, end in spans(source):
        text = "".join(lines[start:end])
        found += [Piece("", "".join(lines[begun:start])), Piece(exercises(text)[0], stub(text))]
        begun = end
    return [*found, Piece("", "".join(lines[begun:]))]


def spans(source: str) -> list[tuple[int, int]]:
    """The first line (from 0) of each exercise's function or class, with the comments above it, and the line after."""
    lines, found = source.splitlines(), []
    for node in ast.parse(source).body:
        end = node.end_lineno or len(lines)
        start = min([node.lineno, *(d.lineno for d in getattr(node, "decorator_list", []))]) - 1
        while start and lines[start - 1].startswith("#") and not lines[start - 1].startswith("# %%"):
            start -= 1
        while end < len(lines) and lines[end].startswith(" "):
            end += 1  # the mark at a solution's end is a comment, of which Python's syntax knows nothing
        if any(BEGIN in line for line in lines[start:end]):
            found.append((start, end))
    return found


def _with_places_for_answers(source: str) -> str:
    return _RUBRIC.sub(lambda block: _ANSWER.format(points=points_in(block[0])), source)


def without_rubrics(source: str) -> str:
    """A lesson without what a teacher looks for in the answers to its open questions."""
    return _RUBRIC.sub(r"\g<gap>", source)


def open_questions(source: str) -> list[int]:
    """What each open question of a lesson is worth, in points that a teacher gives."""
    return [points_in(block[0]) for block in _RUBRIC.finditer(source)]


def points_in(rubric: str) -> int:
    """What an open question is worth, by the text that says what to look for in its answer."""
    found = _POINTS.search(rubric)
    return int(found[1]) if found else 3


def _blocks(source: str) -> list[tuple[str, int, int]]:
    """Each block's exercise, and the places of its two marks among the lines."""
    marks = [(i, line.strip()) for i, line in enumerate(source.splitlines()) if line.strip() in (BEGIN, END)]
    if [text for _, text in marks] != [BEGIN, END] * (len(marks) // 2):
        raise ValueError(f"wanted pairs of {BEGIN!r} and {END!r}, found {[text for _, text in marks]}")
    places = [i for i, _ in marks]
    return [(_owner(source, begin), begin, end) for begin, end in zip(places[::2], places[1::2], strict=True)]


def _owner(source: str, line: int) -> str:
    """The top-level function or class that a line (from 0) is in; the line has to be in a function."""
    try:
        tree = _parsed(source)
    except (SyntaxError, RecursionError, MemoryError) as error:
        raise ValueError(f"the lesson is not Python: {type(error).__name__}: {error}") from error
    around = [
        node
        for node in ast.walk(tree)
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)) and node.lineno <= line < (node.end_lineno or 0)
    ]
    if not any(isinstance(node, ast.FunctionDef) for node in around):
        raise ValueError(f"line {line + 1}: {BEGIN!r} is not inside of a function")
    return min(around, key=lambda node: node.lineno).name


@lru_cache(maxsize=1)  # a lesson has several blocks
def _parsed(source: str) -> ast.Module:
    return ast.parse(source)


# ---------------------------------------------------------------------------------------------------------
# What a student hands in


def find(folder: Path, number: int) -> Path:
    """The file of a lesson, script or notebook: in a folder, in its folder `lessons`, or one level deeper.

    Of several, a script and a notebook of it or a download's second copy, any one is taken where their code is the
    same.

    Raises
    ------
    ValueError
        If there is none, or several that differ.
    """
    pattern = f"lesson{number:02}_*"
    for places in (folder / "lessons", folder), (*folder.glob("*/lessons"), *folder.glob("*/")):
        found = [
            path
            for place in places
            for path in sorted(place.glob(pattern))
            if path.suffix in (".py", ".ipynb") and path.is_file()
        ]
        if found and (len(found) == 1 or len({_code(path) for path in found}) == 1):
            return found[0]
        if found:
            names = " and ".join(str(path.relative_to(folder)) for path in found)
            raise ValueError(f"found {names}, and they differ: keep the one that counts, and remove the others")
    raise ValueError(f"wanted one file {pattern}.py or {pattern}.ipynb, found none")


def _code(path: Path) -> str:
    """What a file does, however it is laid out: its statements without comments, texts and what is no Python."""
    if path.stat().st_size > LARGEST:
        return f"too long to be compared: {path}"
    statements: list[str] = []
    try:
        for cell in cells(path, raw=True):
            with suppress(SyntaxError):
                for statement in ast.parse(cell.code).body:
                    if not (isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)):
                        statements.append(ast.dump(statement))
    except (ValueError, RecursionError, MemoryError):
        return f"unreadable: {path}"
    return "\n".join(statements)


class Cell(NamedTuple):
    """A piece of a lesson: its code, the line (from 1) at which it begins, and the name that Python knows it by."""

    code: str
    line: int
    file: str


def source_of(path: Path) -> str:
    """A lesson's Python code, from a script or from the code cells of a notebook.

    Raises
    ------
    ValueError
        If the file is not a text, or not a notebook.
    """
    return "".join(f"{cell.code}\n" for cell in cells(path)) if path.suffix == ".ipynb" else _text(path)


def _text(path: Path) -> str:
    """A script's text as Python reads it: UTF-8, with or without a mark at its start, or what a comment says."""
    try:
        return decode_source(path.read_bytes())
    except (ValueError, SyntaxError) as error:
        raise ValueError(f"{path.name} cannot be read: {type(error).__name__}: {error}") from error


def cells(path: Path, raw: bool = False) -> list[Cell]:
    """The cells of a notebook, or of a script, which "# %%" begins: those that hold code, as Python unless `raw`."""
    if path.suffix != ".ipynb":
        lines = _text(path).splitlines()
        starts = [0, *(i for i, line in enumerate(lines) if i and line.startswith("# %%"))]
        ends = [*starts[1:], len(lines)]
        return [Cell("\n".join(lines[i:j]), i + 1, str(path)) for i, j in zip(starts, ends, strict=True)]
    try:
        book = parse_json(path.read_text(encoding="utf-8-sig"))
        found = [cell for cell in book["cells"] if cell["cell_type"] == "code"]
        texts = [
            "" if WORK in cell.get("metadata", {}).get("tags", []) else "".join(cell["source"])
            for cell in found  # as importing a script leaves its work undone
        ]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{path.name} cannot be read: {type(error).__name__}: {error}") from error
    return [Cell(text if raw else _python(text), 1, f"{path}{CELL}{i}") for i, text in enumerate(texts, 1)]


CELL = "#cell "  # between a notebook's path and the number of one of its code cells


def _python(text: str) -> str:
    """A notebook's cell as Python: what is not, `%matplotlib` or `!pip`, becomes calls that only Jupyter answers."""
    first, _, rest = text.lstrip().partition("\n")
    blank = text[: len(text) - len(text.lstrip())].count("\n")  # lines that IPython drops, and others keep
    if re.match(r"%%(time|capture)\b", first):  # what these measure or hide is the notebook's own code
        text = "\n" * (blank + 1) + rest
    try:
        ast.parse(text)
    except SyntaxError:
        try:
            from IPython.core.inputtransformer2 import TransformerManager
        except ImportError:
            return text
        with suppress(SyntaxError, RuntimeError):
            transformer: Any = TransformerManager
            python: str = "\n" * blank + transformer().transform_cell(text)
            ast.parse(python)
            return python
    except (ValueError, RecursionError, MemoryError):
        pass
    return text


@contextmanager
def loaded(path: Path) -> Iterator[ModuleType]:
    """A lesson as a module, made anew of what the file holds now; known by its name while the block lasts.

    As in Jupyter, a cell that fails does not take the others with it: what fails is left out. A function that could not
    be made says why when it is called.
    """
    name = path.stem
    module = ModuleType(name)
    module.__file__ = str(path)
    before = sys.modules.get(name)
    sys.modules[name] = module  # dataclasses look their module up
    _failed.clear()

    def missing(wanted: str) -> Any:
        why = next(iter(_failed.values()), "")
        raise AttributeError(f"{path.name} has no {wanted}" + (f": {why}" if why else ""))

    module.__dict__["__getattr__"] = missing
    try:
        flags = 0
        for cell in cells(path):
            flags = _run(cell, module.__dict__, flags)
        yield module
    finally:
        if sys.modules.get(name) is module:
            del sys.modules[name]
        if before is not None:
            sys.modules[name] = before


_failed: dict[str, str] = {}  # the names that statements which failed would have defined, and how they failed


def _run(cell: Cell, space: dict[str, Any], flags: int) -> int:
    """Run a cell's statements one by one; the features of __future__ that hold from here on, as flags of `compile`."""
    number = cell.file.partition(CELL)[2]
    # empty lines before it, so that lines have the numbers that an editor shows
    place = f"code cell {number}, " if number else ""
    given = "\n" * (cell.line - 1) + cell.code
    source = mended(given, place)
    shown = [f"{line}\n" for line in cell.code.split("\n")]
    if cell.line > 1:
        shown = linecache.getlines(cell.file)[: cell.line - 1] + shown
    linecache.cache[cell.file] = (len(source), None, shown, cell.file)
    try:
        statements, flags = _compiled(source, cell.file, flags)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        _failed[cell.file] = feedback(error)
        return flags
    if source != given:  # part of it cannot be read: the likeliest reason why something else is missing
        _failed[cell.file] = _unreadable(given, place)
    for statement, code in statements:
        try:
            if isinstance(code, Exception):
                raise code
            exec(code, space)
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # sys.exit() in a student's trial, too
            for defined in _defines(statement) or [f"line {statement.lineno}"]:
                _failed[defined] = feedback(error)
            if isinstance(statement, ast.FunctionDef | ast.ClassDef):
                space[statement.name] = _raising(error)
    return flags


def _unreadable(source: str, place: str) -> str:
    """What Python says of code that it cannot read."""
    try:
        compile(source, "", "exec", ast.PyCF_ONLY_AST, dont_inherit=True)
    except SyntaxError as error:
        return f"{type(error).__name__} {_said(error, place)}"
    return ""


def _said(error: SyntaxError, place: str) -> str:
    return f"in {place}line {error.lineno}: {error.msg}"


@lru_cache(maxsize=100)  # a lesson is loaded anew for every test, and compiling its cells takes the most of that
def _compiled(source: str, file: str, flags: int) -> tuple[list[tuple[ast.stmt, CodeType | Exception]], int]:
    """Each statement of a cell with its code, or with why there is none; and the flags that hold after the last."""
    found: list[tuple[ast.stmt, CodeType | Exception]] = []
    for statement in compile(source, file, "exec", ast.PyCF_ONLY_AST | flags, dont_inherit=True).body:
        try:
            code = compile(ast.Module([statement], []), file, "exec", flags, dont_inherit=True)
        except Exception as error:
            found.append((statement, error))
        else:
            flags |= code.co_flags & _FUTURE
            found.append((statement, code))
    return found, flags


_FUTURE = reduce(or_, (getattr(__future__, name).compiler_flag for name in __future__.all_feature_names))


def _defines(statement: ast.stmt) -> list[str]:
    """The names that a statement gives a meaning to."""
    names = [node.id for node in ast.walk(statement) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)]
    if isinstance(statement, ast.Import | ast.ImportFrom):
        names += [(alias.asname or alias.name).partition(".")[0] for alias in statement.names]
    return [*names, statement.name] if isinstance(statement, ast.FunctionDef | ast.ClassDef) else names


def _raising(error: BaseException) -> Callable[..., Any]:
    def call(*_: Any, **__: Any) -> Any:
        raise error if isinstance(error, Exception) else RuntimeError(f"{type(error).__name__}: {error}")

    return call


def mended(source: str, place: str = "") -> str:
    """Code in which each top-level statement that Python cannot read raises its SyntaxError instead.

    A function or class does when it is called, anything else where it stands, so that it does not take the lesson's
    exercises with it. Lines keep their numbers; `place` is said before them.
    """
    for _ in range(50):
        try:
            compile(source, "", "exec", ast.PyCF_ONLY_AST, dont_inherit=True)
        except SyntaxError as error:
            if (lines := _without(source.splitlines(), error, place)) is None:
                break
            source = "\n".join(lines) + "\n"
        except (ValueError, RecursionError, MemoryError):  # a null byte, or more than Python's parser can take
            break
        else:
            break
    return source


def _without(lines: list[str], error: SyntaxError, place: str) -> list[str] | None:
    """The lines without the top-level statement in which an error is; None if that has been taken out already."""
    start = min(error.lineno or 1, len(lines)) - 1
    while start > 0 and not re.match(r"[^\s)\]}#]", lines[start]):
        start -= 1
    if not lines or lines[start].endswith("# unreadable"):
        return None
    rest = (i for i in range(start + 1, len(lines)) if re.match(r"[^\s)\]}]", lines[i]))
    end = next(rest, len(lines))
    said = _said(error, place)
    head = re.match(r"(?:async def|def|class)\s+(\w+)", lines[start])
    value = re.match(r"(\w+)\s*=", lines[start])
    if head:
        body = f"def {head[1]}(*_, **__): raise SyntaxError({said!r})  # unreadable"
    elif value and value[1].isidentifier():
        body = f"{value[1]} = (_ for _ in ()).throw(SyntaxError({said!r}))  # unreadable"
    else:
        body = f"raise SyntaxError({said!r})  # unreadable"
    return [*lines[:start], body, *[""] * (end - start - 1), *lines[end:]]


# ---------------------------------------------------------------------------------------------------------
# Feedback


def feedback(error: BaseException) -> str:
    """One line that says what an error in a test means for the student."""
    if isinstance(error, NotImplementedError) and str(error).startswith("exercise: "):
        return "not done yet"
    if isinstance(error, SyntaxError):
        where = f"in line {error.lineno}: " if error.lineno else ""
        return one_line(f"{type(error).__name__} {where}{error.msg}")
    if isinstance(error, AssertionError):
        return one_line(_message(str(error))) or "the result is wrong"
    if other := _of_another_kind(error):
        return one_line(other)
    why = _failed.get(str(error.name), "") if isinstance(error, NameError) else ""
    because = f"; it is missing because of {why}" if why else ""
    return one_line(f"{type(error).__name__}: {error}{_place(error)}{because}")


_PLAIN = (list, tuple, dict, float, int, str, type(None))


def _of_another_kind(error: BaseException) -> str:
    """What an error in a test's own code says of the answer: that it is of another kind than was asked for."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    if trace is None or not re.match(r"test_lesson\d\d", Path(trace.tb_frame.f_code.co_filename).name):
        return ""
    if isinstance(error, AttributeError) and isinstance(error.obj, _PLAIN):
        if error.obj is None:
            return "an array is wanted, your function returns nothing: is there a `return`?"
        if isinstance(error.obj, bool):  # what a list or a number gives when it is compared
            return "an array is wanted: does your function return a list, or a number of Python?"
        return f"an array is wanted, your function returns a {type(error.obj).__name__}"
    called = re.search(
        r"\(\) (takes|missing|got)\b", str(error)
    )  # with other arguments than it takes: that says it all
    if isinstance(error, TypeError | ValueError | IndexError | KeyError) and not called:
        return f"the test cannot use what your function returns: {type(error).__name__}: {error}"
    return ""


def _message(text: str) -> str:
    """What the test's author wrote, without what pytest and numpy.testing add."""
    text = _ADDED.split(text, maxsplit=1)[0]
    return re.sub(r"^\s*(Not equal to tolerance|Arrays are not \S+).*\n(?=.*\S)", "", text)


def _place(error: BaseException) -> str:
    """The line of a lesson that an error came through last."""
    trace, place = error.__traceback__, ""
    while trace is not None:
        file = trace.tb_frame.f_code.co_filename
        script, _, cell = file.partition(CELL)
        if re.match(r"lesson\d\d_", Path(script).name):
            code = linecache.getline(file, trace.tb_lineno).strip()
            where = f"code cell {cell}, line {trace.tb_lineno}" if cell else f"line {trace.tb_lineno}"
            place = f" ({where}: {code})"
        trace = trace.tb_next
    return place


def one_line(text: Any) -> str:
    """Text on one line of at most LONGEST characters, without what a terminal or XML would take for more than text."""
    line = " ".join("".join(c if unicodedata.category(c)[0] != "C" else " " for c in str(text)[: 10 * LONGEST]).split())
    return line if len(line) <= LONGEST else f"{line[: LONGEST - 1]}…"
