"""What a student hands in: finding a lesson's file, reading its cells, and loading it as a module.

The one idea: a lesson is run as Jupyter runs it, statement by statement. What fails or cannot be read is left out, and
says why when it is asked for, so that one mistake costs one exercise and not the lesson.
"""

from __future__ import annotations
import __future__

import ast
import codecs
import io
import linecache
import os
import re
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import lru_cache, reduce
from importlib.util import decode_source
from itertools import islice
from operator import or_
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any, NamedTuple

from numpy import errstate

from ..storage import parse_json
from .cells import WORK, parsed, works
from .feedback import CELL, failed, feedback

LARGEST = 4 << 20  # bytes of a lesson's file
OF_A_NOTEBOOK = 16 << 20  # of one that holds pictures, too
LOOKED_AT = 20_000  # files and folders of a submission: more than a course's folder has, and soon looked through
# Folders in which no answer is looked for: what installers, editors and systems make, and the exported tests
PASSED_OVER = {"__MACOSX", "__pycache__", "env", "node_modules", "site-packages", "tests", "venv"}
_LESSON = re.compile(r"lesson[ _-]?0*(?P<number>[0-9]{1,2})(?![0-9]).*\.(?:py|ipynb)", re.IGNORECASE | re.DOTALL)
# In a notebook: a line that only Jupyter understands, and the first line of a cell in another language
_COMMAND = re.compile(r"^[ \t]*(?:\w[\w, ]* = )?[%!?].*", re.MULTILINE)
_OTHER_LANGUAGE = re.compile(r"\s*%%(?!time\b|capture\b)")
_DEFINITIONS = (ast.FunctionDef, ast.ClassDef, ast.Import, ast.ImportFrom)


def largest(name: str) -> int:
    """How many bytes a lesson's file of this name may have."""
    return OF_A_NOTEBOOK if name.lower().endswith(".ipynb") else LARGEST


def lesson_named(name: str) -> int | None:
    """The lesson that a file's name says it has, as students write it: lesson01_linear.py, Lesson1.ipynb; else None."""
    found = _LESSON.fullmatch(name)
    return int(found["number"]) if found else None


def passed_over(folder: str) -> bool:
    """Whether a folder of this name holds no answers."""
    return folder.startswith(".") or folder in PASSED_OVER


def files_below(folder: Path) -> Iterator[Path]:
    """The files in a folder and in those below it, at most LOOKED_AT, without what is passed over; links not followed.

    What lies higher comes first.
    """
    looked_at, waiting = 0, [folder]
    for place in waiting:
        try:
            with os.scandir(place) as listed:
                entries = sorted(islice(listed, LOOKED_AT), key=lambda entry: entry.name)
        except OSError:
            continue
        for entry in entries:
            looked_at += 1
            if looked_at > LOOKED_AT:
                return
            if not entry.is_dir(follow_symlinks=False):
                yield place / entry.name
            elif not passed_over(entry.name):
                waiting.append(place / entry.name)


def find(folder: Path, number: int) -> Path:
    """The file of a lesson, script or notebook: in a folder or its folder `lessons`; if neither has it, anywhere below.

    Of several, a script and a notebook of it or a download's second copy, any one is taken where their code is the
    same.

    Raises
    ------
    ValueError
        If there is none, or several that differ.
    """
    found = [path for place in (folder / "lessons", folder) for path in _lessons_in(place, number)]
    if not found:
        found = [path for path in files_below(folder) if lesson_named(path.name) == number and path.is_file()]
    if found and (len(found) == 1 or len({_code(path) for path in found}) == 1):
        return found[0]
    if found:
        names = " and ".join(str(path.relative_to(folder)) for path in found)
        raise ValueError(f"found {names}, and they differ: keep the one that counts, and remove the others")
    name = f"lesson{number:02}_*"
    raise ValueError(f"wanted one file {name}.py or {name}.ipynb, found none")


def _lessons_in(place: Path, number: int) -> list[Path]:
    """The files of a lesson in this very folder."""
    with suppress(OSError):
        return sorted(path for path in place.iterdir() if lesson_named(path.name) == number and path.is_file())
    return []


def _code(path: Path) -> str:
    """What of a file is graded, however it is laid out: no comments and texts, no work, no commands of Jupyter."""
    if path.stat().st_size > largest(path.name):
        return f"too long to be compared: {path}"
    try:
        return "\n".join(statement for cell in cells(path, raw=True) for statement in _statements(cell))
    except (ValueError, RecursionError, MemoryError):
        return f"unreadable: {path}"


def _statements(cell: Cell) -> list[str]:
    """The statements of a cell that count: of one that does work its definitions alone."""
    if _OTHER_LANGUAGE.match(cell.code):
        return []
    for code in (cell.code, _COMMAND.sub("", cell.code)):
        with suppress(SyntaxError):
            body = parsed(code).body
            break
    else:
        return [re.sub(r"^#.*\n?", "", code, flags=re.MULTILINE).strip()]
    guarded = works(code)
    if guarded and isinstance(body[0], ast.If):
        body = body[0].body
    if guarded or cell.works:
        body = [statement for statement in body if isinstance(statement, _DEFINITIONS)]
    return [
        ast.dump(statement)
        for statement in body
        if not (isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant))
    ]


class Cell(NamedTuple):
    """A piece of a lesson: its code, the line (from 1) at which it begins, and the name that Python knows it by.

    `works` says that a notebook has marked it as one that does work.
    """

    code: str
    line: int
    file: str
    works: bool = False


def _text(path: Path, decode: Callable[[bytes], str] = decode_source) -> str:
    """A file's text: UTF-16 with a mark at its start, or else what `decode` makes of it.

    By default that is what Python reads: UTF-8, with or without a mark at its start, or what a comment says.
    """
    content = path.read_bytes()
    try:
        if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
            return io.StringIO(content.decode("utf-16"), newline=None).read()
        text = decode(content)
    except UnicodeDecodeError as error:
        raise ValueError(f"{path.name} cannot be read: it is not in UTF-8; save it as UTF-8") from error
    except SyntaxError as error:  # Python's word for bytes that are not UTF-8, and for a comment that names no encoding
        why = "it is not in UTF-8" if "invalid" in str(error) else str(error)
        raise ValueError(f"{path.name} cannot be read: {why}; save it as UTF-8") from error
    if len(content) > 8 and content.count(0) > len(content) // 4:
        raise ValueError(f"{path.name} cannot be read: it seems to be in UTF-16; save it as UTF-8")
    return text


def _utf_8(content: bytes) -> str:
    return content.decode("utf-8-sig")


def cells(path: Path, raw: bool = False) -> list[Cell]:
    """The cells of a notebook, or of a script, which "# %%" begins: those that hold code, as Python unless `raw`."""
    if path.suffix.lower() != ".ipynb":
        lines = _text(path).split("\n")  # what else may end a line elsewhere does not in Python
        starts = [0, *(i for i, line in enumerate(lines) if i and line.startswith("# %%"))]
        ends = [*starts[1:], len(lines)]
        return [Cell("\n".join(lines[i:j]), i + 1, str(path)) for i, j in zip(starts, ends, strict=True)]
    found = [cell for cell in _notebook(path) if cell.kind == "code"]
    return [
        Cell(cell.text if raw else _python(cell.text), 1, f"{path}{CELL}{i}", cell.works)
        for i, cell in enumerate(found, 1)
    ]


class _NotebookCell(NamedTuple):
    kind: str  # "code", "markdown" or "raw"
    text: str
    works: bool


def _notebook(path: Path) -> list[_NotebookCell]:
    text = _text(path, _utf_8)
    try:
        found = [
            _NotebookCell(
                cell["cell_type"],
                io.StringIO("".join(cell["source"]), newline=None).read(),  # each line ends with one character
                WORK in (cell.get("metadata", {}).get("tags") or []),
            )
            for cell in parse_json(text)["cells"]
        ]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        why = f"{type(error).__name__}: {error}"
        raise ValueError(f"{path.name} cannot be read: {why}; wanted a notebook of format 4, with `cells`") from error
    if (size := sum(len(cell.text) for cell in found)) > LARGEST:  # parsing takes hundreds of times as much memory
        raise ValueError(f"{path.name} has {size:,} characters in its cells: wanted at most {LARGEST:,}")
    return found


def texts(path: Path) -> list[str]:
    """The cells of text of a notebook, or of a script, in which they are comments; an empty one before each of code."""
    if path.suffix.lower() == ".ipynb":
        return [cell.text if cell.kind == "markdown" else "" for cell in _notebook(path)]
    return texts_of(_text(path))


def texts_of(source: str) -> list[str]:
    """The cells of text of a script; "" stands for one of code."""
    found: list[list[str]] = [[]]
    markdown = False
    for line in source.split("\n"):
        if line.startswith("# %%"):
            markdown = "[markdown]" in line
            found.append([])
        elif markdown:
            found[-1].append(re.sub(r"^# ?", "", line))
    return ["\n".join(lines) for lines in found]


def _python(text: str) -> str:
    """A notebook's cell as Python: what is not, `%matplotlib` or `!pip`, becomes calls that only Jupyter answers."""
    first, _, rest = text.lstrip().partition("\n")
    blank = text[: len(text) - len(text.lstrip())].count("\n")  # lines that IPython drops, and others keep
    if re.match(r"%%(time|capture)\b", first):  # what these measure or hide is the notebook's own code
        text = "\n" * (blank + 1) + rest
    try:
        parsed(text)
    except SyntaxError:
        try:
            from IPython.core.inputtransformer2 import TransformerManager
        except ImportError:
            return text
        with suppress(SyntaxError, RuntimeError):
            transformer: Any = TransformerManager
            python: str = "\n" * blank + transformer().transform_cell(text)
            parsed(python)
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
        with warnings.catch_warnings(), errstate():  # what a lesson asks for there is not for its tests, nor the next
            for cell in cells(path):
                flags = _run(cell, module.__dict__, flags)
        with errstate():
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
        if cell.works and not isinstance(statement, _DEFINITIONS):
            continue  # as importing a script leaves its work undone; but a student may define something there
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
                if cell.works and statement.name in space:
                    continue  # it may need what the work would have given; what was defined before does not
                space[statement.name] = _raising(error)
    return flags


def _unreadable(source: str, place: str) -> str:
    """What Python says of code that it cannot read."""
    try:
        parsed(source)
    except SyntaxError as error:
        return f"{type(error).__name__} {_said(error, place)}"
    return ""


def _said(error: SyntaxError, place: str) -> str:
    return f"in {place}line {error.lineno}: {error.msg}"


@lru_cache(maxsize=100)  # a lesson is loaded anew for every test, and compiling its cells takes the most of that
def _compiled(source: str, file: str, flags: int) -> tuple[list[tuple[ast.stmt, CodeType | Exception]], int]:
    """Each statement of a cell with its code, or with why there is none; and the flags that hold after the last."""
    found: list[tuple[ast.stmt, CodeType | Exception]] = []
    for statement in parsed(source).body:
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
            parsed(source)
        except SyntaxError as error:
            if (lines := _without(source.split("\n"), error, place)) is None:
                break
            source = "\n".join(lines)
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
