"""Which program made a network or a number: a fingerprint of the code that decides it.

The one idea: what is hashed is the syntax tree, without comments, docstrings and formatting, so that rewording changes
nothing. A network carries the fingerprint of what trains, a measurement that of what trains and measures. Some changes
leave every parameter as it was: `equal.toml` records them, and a test shows that they do.
"""

from __future__ import annotations

import ast
import hashlib
import tomllib
from collections.abc import Iterable
from functools import cache
from importlib.resources import files
from pathlib import Path
from types import ModuleType
from typing import Any

from numpy import __version__ as numpy_version

PACKAGE = Path(__file__).parents[1]
# of the package's own files, those that decide no number: how networks are named, shown, stored and asked for
APART = {
    "__init__",
    "__main__",
    "array_type",
    "by_name",
    "cli",
    "command_line",
    "explore",
    "gallery",
    "gradcheck",
    "machine",
    "plain_safetensors",
    "progress",
    "storage",
}
MEASURED_ONLY = {"googlenet", "photographs"}  # nothing here trains them

TRAINS = ("lab.py", "rounding.py", "stage2.py")  # of this folder, the files that decide what a training gives


@cache
def training() -> str:
    """The fingerprint of what trains: the engine, the models, the data, the training loop, the lab; and of NumPy.

    Of programs that are recorded as equal it is that of the first.
    """
    return equal_to(_of_sources())


_TOLD: dict[str, str] = {}  # `_of_sources()` by `_checksum()`, as another process told


def known() -> tuple[str, str]:
    """What another process that runs the same sources can `assume`, instead of parsing them again for 0.2 s."""
    return _checksum(), _of_sources()


def assume(checksum: str, found: str) -> None:
    """Take what another process has `known`; where this one's sources are not the same bytes, it is never used."""
    _TOLD[checksum] = found


def _of_sources() -> str:
    return _TOLD.get(_checksum()) or _of(_trains())


def _checksum() -> str:
    """Of the bytes of the sources that train, and of NumPy's version."""
    digest = hashlib.sha256(numpy_version.encode())
    for path in _trains():
        digest.update(path.name.encode() + path.read_bytes())
    return digest.hexdigest()


def _trains() -> list[Path]:
    engine = [path for path in _engine() if path.stem not in MEASURED_ONLY]
    return [*engine, *(PACKAGE / "paper" / name for name in TRAINS)]


def measuring(*modules: ModuleType) -> str:
    """The fingerprint of what trains and of what measures: `modules` are those of measuring functions.

    Of a module that is not this package's, the files beside it that it imports count too, as they are now.
    """
    ours = tuple(module for module in modules if module.__name__.split(".")[0] == __name__.split(".")[0])
    others = [module for module in modules if module not in ours]
    if not others:
        return _measuring(*ours)
    texts = [path.read_text("utf-8") for module in others for path in imported_files(module)]
    return hashlib.sha256("\n".join([_measuring(*ours), *map(code, texts)]).encode()).hexdigest()[:12]


@cache
def _measuring(*modules: ModuleType) -> str:
    paper = PACKAGE / "paper"
    shared = (paper / name for name in (*TRAINS, "attacking.py", "audit.py", "tutorial.py", "measure/common.py"))
    return _of([*_engine(), *shared, *(Path(str(module.__file__)) for module in modules)])


def imported_files(module: ModuleType) -> list[Path]:
    """The file of a module, and those beside it, or in its package, that it imports, wherever in their code."""
    file, name = Path(str(module.__file__)), module.__name__
    depth = name.count(".") + (file.name == "__init__.py")
    root = file.parents[depth]
    found, todo = {file: name}, [file]
    while todo:
        path = todo.pop()
        package = found[path] if path.name == "__init__.py" else found[path].rpartition(".")[0]
        for dotted in _imports(path.read_text("utf-8"), package):
            base = root.joinpath(*dotted.split("."))
            for other in (base.with_suffix(".py"), base / "__init__.py"):
                if other not in found and other.is_file():
                    found[other] = dotted
                    todo.append(other)
    return sorted(found)


def _imports(text: str, package: str) -> set[str]:
    """The dotted names that a text of a module in `package` imports, with the packages that they lie in."""
    names = set[str]()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: package.count(".") + 2 - node.level] if node.level else []
            base = ".".join(filter(None, [*above, node.module or ""]))
            names |= {base, *(f"{base}.{alias.name}".lstrip(".") for alias in node.names)}
    parts = [name.split(".") for name in names if name]
    return {".".join(name[:n]) for name in parts for n in range(1, len(name) + 1)}


def equal_to(fingerprint: str) -> str:
    """The first of the programs that `equal.toml` records as training the same parameters as this one."""
    record = tomllib.loads(files("tinyadv.paper").joinpath("equal.toml").read_text("utf-8"))
    for entry in record.get("equal", ()):
        if fingerprint in entry["programs"]:
            return str(entry["programs"][0])
    return fingerprint


def _engine() -> list[Path]:
    return [path for path in sorted(PACKAGE.glob("*.py")) if path.stem not in APART]


def _of(paths: Iterable[Path]) -> str:
    digest = hashlib.sha256(".".join(numpy_version.split(".")[:2]).encode())
    for path in paths:
        digest.update(path.stem.encode() + _tree(path).encode())
    return digest.hexdigest()[:12]


@cache
def _tree(path: Path) -> str:
    return code(path.read_text("utf-8"))


def code(source: str) -> str:
    """The syntax tree of a Python text, without docstrings, as a text that is the same for every Python version."""
    return str(_plain(ast.parse(source)))


def _plain(node: Any) -> Any:
    """A tree as nested lists; what is empty is left out, because later versions of Python add such fields."""
    if isinstance(node, ast.AST):
        fields = {name: value for name, value in ast.iter_fields(node) if name != "kind"}
        if isinstance(node, ast.Module | ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) and ast.get_docstring(
            node
        ):
            fields["body"] = fields["body"][1:]
        if isinstance(node, ast.JoinedStr):  # Python 3.12 ends the format in f"{x:>{width}}" with an empty text
            fields["values"] = [part for part in node.values if not _is_empty_text(part)]
        listed = ((name, _plain(value)) for name, value in fields.items())
        return [type(node).__name__, *([name, value] for name, value in listed if value not in ([], None, "None"))]
    if isinstance(node, list):
        return [_plain(entry) for entry in node]
    return repr(node)


def _is_empty_text(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and node.value == ""
