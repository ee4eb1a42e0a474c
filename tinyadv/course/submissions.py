"""What a student hands in: finding a lesson's file, reading its cells, and loading it as a module.

The one idea: a lesson is run as Jupyter runs it, statement by statement. What fails or cannot be read is left out, and
says why when it is asked for, so that one mistake costs one exercise and not the lesson.
"""

from __future__ import annotations
import __future__

import ast
import linecache
import re
import sys
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
from .feedback import CELL, failed, feedback

LARGEST = 4 << 20  # bytes of a lesson's file


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
    failed.clear()

    def missing(wanted: str) -> Any:
        why = next(iter(failed.values()), "")
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
        failed[cell.file] = feedback(error)
        return flags
    if source != given:  # part of it cannot be read: the likeliest reason why something else is missing
        failed[cell.file] = _unreadable(given, place)
    for statement, code in statements:
        try:
            if isinstance(code, Exception):
                raise code
            exec(code, space)
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # sys.exit() in a student's trial, too
            for defined in _defines(statement) or [f"line {statement.lineno}"]:
                failed[defined] = feedback(error)
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
