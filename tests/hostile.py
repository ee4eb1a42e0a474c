"""Hostile files by the thousand: whatever a file holds, its reader gives something that can be used, or its own error.

The one idea: a stranger who writes a file can also sign it, so most cases are well-formed files with one or two values
exchanged for worse ones and a fingerprint that fits; the others are valid files with bytes exchanged, cut and doubled.
Any other exception fails, and so does what takes too long, takes too much memory, starts a program, unpickles, or
writes outside of its folder.

    python tests/hostile.py 10000                 so many cases of each kind, and a table of what became of them
    python tests/hostile.py 10000 network toml    of these kinds alone
    python tests/hostile.py 300000 toml --atheris guided by coverage, where atheris is installed
"""

from __future__ import annotations

import copy
import gzip
import json
import lzma
import random
import re
import shutil
import signal
import socketserver
import struct
import sys
import tempfile
import threading
import warnings
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout, suppress
from dataclasses import asdict, dataclass
from functools import cache, partial
from hashlib import blake2b, sha256
from io import BytesIO, StringIO
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
from rich.console import Console
from safetensors.numpy import save as as_safetensors

from tinyadv import cli, losses, models, storage, training
from tinyadv.backend import generator
from tinyadv.bench import summary
from tinyadv.course import contents, exercises, feedback, grade, submissions
from tinyadv.datasets import DataError, IdxFile, read_idx
from tinyadv.layers import named_parameters, parameters
from tinyadv.optim import SGD
from tinyadv.paper import claims as registry
from tinyadv.paper import results, robustness
from tinyadv.paper import results_file as store
from tinyadv.paper.lab import Lab, Recipe
from tinyadv.paper.show import numbers, report, terminal
from tinyadv.paper.show import text as texts
from tinyadv.storage import StorageError
from tinyadv.training import DivergedError

SECONDS = 20  # a case that takes more processor time hangs, and so does one that waits for ten times as long
MEMORY = 1 << 30  # more address space than this, beyond what the process has already, is a bomb

sys.path.insert(0, str(Path(__file__).parents[1] / "data_scripts"))  # as for a script that is run

import mnist as script  # noqa: E402

# ---------------------------------------------------------------------------------------------------------
# What is done to files

# in the text of a JSON file these stand for what no Python value can say
RAW = {
    **{f"@{n} lists@": "[" * n + "]" * n for n in (20, 45, 60, 200, 300, 450, 900)},
    "@deep list@": "[" * 100_000 + "]" * 100_000,
    "@deep table@": '{"a":' * 100_000 + "1" + "}" * 100_000,
    "@long integer@": "9" * 5000,
    "@overflow@": "1e999",
    "@twice@": '{"a": 1, "a": 2}',
    "@comment@": "// 1",
}
VALUES: list[Any] = [
    None, True, False, 0, -1, 1, 3, 10**5, 10**9, 2**31, 2**63, 2**64, -(2**63), 10**400, 0.5, -0.0, 1e30, 1e200,
    -1e308, 5e-324, float("nan"), float("inf"), "", "x", "\0", "\ud800", "\x1b[2J\x07", "\u202e", "../../../tmp/x",
    "/etc/passwd", "a\nb", "x" * 5000, "picture 0 1 AAAA", "9" * 5000, [], [[]], [None], [1, 2], ["a"], {}, {"a": 1},
    {"rows": []}, {"": [{}]}, [[[[[[]]]]]], [0.1] * 100, *RAW,
]  # fmt: skip


def places(tree: Any) -> list[tuple[Any, Any]]:
    """Every container in a tree with each of its keys."""
    found: list[tuple[Any, Any]] = []
    for key, value in tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ():
        found += [(tree, key), *places(value)]
    return found


def worsened(tree: Any, rng: Random) -> Any:
    """A copy of a tree of JSON values in which one, two or three things are not as they should be."""
    tree = copy.deepcopy(tree)
    for _ in range(rng.choice([1, 1, 2, 3])):
        around = places(tree)
        if not around:
            return copy.deepcopy(rng.choice(VALUES))
        container, key = rng.choice(around)
        what = rng.randrange(8)
        if what == 0:
            del container[key]
        elif what == 1 and isinstance(container, dict):
            container[rng.choice(["", "x", "\ud800", "rng", "__class__", key + " ", key.upper()])] = container.pop(key)
        elif what == 2:
            container[key] = copy.deepcopy(rng.choice(around)[0])
        elif what == 3 and isinstance(container[key], float):
            container[key] = container[key] * rng.choice([-1, 0, 2, 1e10, 1e300, float("inf")])
        elif what == 4 and isinstance(container, list):
            container.insert(key, container[key])
        else:
            container[key] = copy.deepcopy(rng.choice(VALUES))
    return tree if rng.random() < 0.98 else copy.deepcopy(rng.choice(VALUES))


def dumped(tree: Any) -> str:
    """A tree as JSON, with what JSON has no business to hold."""
    sys.set_int_max_str_digits(0)
    try:
        text = json.dumps(tree)
    finally:
        sys.set_int_max_str_digits(4300)
    for name, raw in RAW.items():
        text = text.replace(f'"{name}"', raw)
    return text


def scrambled(content: bytes, rng: Random) -> bytes:
    """Bytes with a few of them exchanged, cut out, doubled, inserted, or the rest cut off."""
    data = bytearray(content)
    for _ in range(rng.choice([1, 1, 1, 2, 5, 20])):
        i, n = rng.randrange(len(data) + 1), rng.choice([1, 1, 2, 4, 8, 50])
        what = rng.randrange(7)
        if what == 0:
            data[i : i + n] = rng.randbytes(n)
        elif what == 1 and i < len(data):
            data[i] ^= 1 << rng.randrange(8)
        elif what == 2:
            del data[i : i + n]
        elif what == 3:
            data[i:i] = data[i : i + n] * rng.choice([1, 2, 1000])
        elif what == 4:
            data[i : i + 8] = struct.pack("<Q", rng.choice([0, 1, 2**31, 2**32 - 1, 2**63, 2**64 - 1, 10**8]))
        elif what == 5:
            data[i:i] = rng.choice([b'"', b"{", b"[[[[", b"\0", b"\xff", b"\n", b"(", b"NaN", b"\\ud800", b"'''", b"#"])
        elif rng.random() < 0.3:
            del data[i:]
    return bytes(data)


# ---------------------------------------------------------------------------------------------------------
# Kinds of files


@dataclass(frozen=True)
class Kind:
    """A kind of file: makes a hostile one, reads it and uses what it gives; the only errors that may come of it."""

    make: Callable[[Random], bytes]
    read: Callable[[Path], object]
    errors: tuple[type[Exception], ...] = ()
    name: str = "file"
    share: int = 1  # of the cases, one in so many: where each takes long
    reserves: bool = False  # liblzma reserves what a header says, up to 4 GiB, and touches no more than it needs
    works: bool = False  # reading it is work that starts processes of its own


@cache
def valid_networks() -> list[tuple[dict[str, Any], dict[str, Any]]]:
    """Arrays and description of a small network of each sort."""
    rng, small = generator(0), {"inputs": 6, "classes": 3}
    made = [
        models.softmax_regression(**small, rng=rng),
        models.logistic_regression(6, rng=rng),
        models.maxout_network(4, 2, **small, rng=rng),
        models.saturating_network("rust", 4, **small, rng=rng),
        models.saturating_network("rust-squared", 4, **small, rng=rng),
        models.rbf_network(**small, full=True, rng=rng),
        models.deep_rbf_network(4, **small, rng=rng),
        models.quadratic_network(4, **small, rng=rng),
        models.conv_maxout_network((2, 3, 2), 4, size=10, classes=3, rng=rng),
        models.mp_dbm((4, 3), 3, **small, rng=rng),
    ]
    return [
        ({k: p.data for k, p in named_parameters(m).items()}, {"network": m.builder, "arguments": m.arguments})
        for m in made
    ]


OTHER_DTYPES = ["float64", "float16", "int64", "uint8", "bool"]
with suppress(Exception):  # safetensors before .6 has no complex numbers
    as_safetensors({"": np.zeros(1, "complex64")})
    OTHER_DTYPES.append("complex64")


def signed(arrays: dict[str, Any], about: str) -> bytes:
    """What `storage.save_arrays` would write, of any text."""
    arrays = {name: np.ascontiguousarray(a) for name, a in arrays.items()}
    return as_safetensors(arrays, {"about": about, "sha256": storage._fingerprint(arrays, about)})


def other_arrays(arrays: dict[str, Any], rng: Random) -> dict[str, Any]:
    """The arrays of a file, now and then not what they should be."""
    arrays = dict(arrays)
    name = rng.choice(list(arrays))
    a = arrays[name]
    change: list[Callable[[], Any]] = [
        lambda: a.astype(rng.choice(OTHER_DTYPES)),
        lambda: a.reshape(rng.choice([(-1,), (1, -1), (*a.shape, 1)])),
        lambda: a[:-1],
        lambda: a[:0],
        lambda: np.zeros((0, 1 << 40), "float32"),
        lambda: np.full_like(a, rng.choice([np.nan, np.inf, 1e38, 1e-45])),
        lambda: np.full((1000, 30), 0.5, "float32"),  # room for large sizes
    ]
    arrays[name if rng.random() < 0.8 else rng.choice(["extra", "", "../x"])] = rng.choice(change)()
    if rng.random() < 0.1:
        arrays.pop(name)
    return arrays


def array_file(rng: Random, arrays: dict[str, Any], about: dict[str, Any]) -> bytes:
    """A hostile version of what `save_arrays` wrote."""
    if rng.random() < 0.2:
        return scrambled(signed(arrays, json.dumps(about)), rng)
    if rng.random() < 0.15:
        whole = signed(arrays, json.dumps(about))
        length = struct.unpack("<Q", whole[:8])[0]
        header = dumped(worsened(json.loads(whole[8 : 8 + length]), rng)).encode("utf-8", "surrogatepass")
        return struct.pack("<Q", rng.choice([len(header)] * 5 + [2**40, 10**8, 0])) + header + whole[8 + length :]
    text = dumped(worsened(about, rng)) if rng.random() < 0.85 else json.dumps(about)
    return signed(other_arrays(arrays, rng) if rng.random() < 0.4 else arrays, text)


def network_file(rng: Random) -> bytes:
    return array_file(rng, *rng.choice(valid_networks()))


def use_network(path: Path) -> None:
    model = models.load(path)
    x = np.full((2, model.inputs), 0.5, parameters(model)[0].data.dtype)
    p = model.probabilities(model(x))
    assert p.shape[0] == 2


TINY_DATA = np.random.default_rng(0).random((30, 6), dtype="float32"), np.arange(30) % 3


def tiny_training(checkpoint: Path, epochs: int) -> training.Training:
    model = models.softmax_regression(6, 3, rng=generator(0))
    stopping = training.Stopping("error", 5)
    return training.train(
        model, losses.clean_objective, *TINY_DATA, epochs=epochs, seed=0, optimiser=SGD(parameters(model)), batch=10,
        validate=lambda m: {"error": float(np.abs(m(TINY_DATA[0])).mean())}, stopping=stopping, checkpoint=checkpoint,
    )  # fmt: skip


@cache
def valid_checkpoint() -> tuple[dict[str, Any], dict[str, Any]]:
    with tempfile.TemporaryDirectory() as folder:
        tiny_training(Path(folder) / "c", 3)
        return storage.load_arrays(Path(folder) / "c")


def use_checkpoint(path: Path) -> None:
    done = tiny_training(path, 4)
    assert len(done.log) in (3, 4)
    assert 1 <= done.best_epoch <= len(done.log)


TINY_RECIPE = Recipe("softmax_regression", {"inputs": 6, "classes": 3}, epochs=2)


@cache
def valid_lab_file() -> tuple[dict[str, Any], dict[str, Any]]:
    model = models.softmax_regression(6, 3, rng=generator(0, "weights"))
    with tempfile.TemporaryDirectory() as folder:
        log = [{"epoch": i, "loss": 1.0, "error": 0.5} for i in (1, 2)]
        arrays = {name: p.data for name, p in named_parameters(model).items()}
        return arrays, Lab(Path(folder))._about(TINY_RECIPE, model, log)


def use_lab_file(path: Path) -> None:
    said: list[str] = []
    place = Lab(path.parent, say=said.append)
    path.rename(place.path(TINY_RECIPE))
    found = place._read(TINY_RECIPE)
    assert (found is None) == (len(said) == 1)
    if found:
        assert [entry["epoch"] for entry in found[1]] == [1, 2][: len(found[1])]
        assert all(isinstance(entry["loss"], float) for entry in found[1])


@cache
def valid_results() -> dict[str, Any]:
    """Some published results, without their pictures and with long lists cut, and with what they cost."""

    def short(tree: Any) -> Any:
        if isinstance(tree, dict):
            return {key: short(value) for key, value in tree.items()}
        return [short(entry) for entry in tree[:3]] if isinstance(tree, list) else tree

    document = json.loads((store.RESULTS / "lesson.json").read_text(encoding="utf-8"))
    names = ("fgsm-maxout", "linear-growth", "ensemble-12", "noise-sign", "rubbish-skew", "transfer-agreement")
    kept = [store._without_pictures(r) for r in document["results"] if r["claim"] in names]
    for r in kept:
        r["measurements"] = [{**m, "details": short(m["details"])} for m in r["measurements"]]
        r["core_seconds"] = 1.5
        for network in r["measurements"][0]["networks"].values():
            network["cost"] = [asdict(results.Stint("a training", 12, 3.5, 3.0, {"processor": "one", "blas": "two"}))]
    return {"manifest": document["manifest"], "results": kept}


def results_file(rng: Random) -> bytes:
    content = valid_results()
    content = {**content, "results": rng.sample(content["results"], 2)}
    if rng.random() < 0.9:
        if rng.random() < 0.9:
            i = rng.randrange(2)
            content["results"][i] = worsened(content["results"][i], rng)
        else:
            content = worsened(content, rng)
    if not isinstance(content, dict):
        return dumped(content).encode()
    text = dumped({"format": store.FORMAT, "sha256": "@", **content})
    with suppress(ValueError, RecursionError):  # where it cannot be read, it needs no signature
        read = json.loads(text)
        mark = store._fingerprint({k: v for k, v in read.items() if k not in ("format", "sha256")})
        text = text.replace('"sha256": "@"', f'"sha256": "{mark}"', 1)
    return text.encode() if rng.random() < 0.9 else scrambled(text.encode(), rng)


def spare_time(set_attribute: Callable[..., None] = setattr) -> None:
    """Pages draw the one and tables read the others each time anew: always the same, and the slowest of all."""
    set_attribute(summary, "growth_plot", lambda device="cpu": None)
    set_attribute(store, "committed", cache(store.committed))


def use_results(path: Path) -> None:
    found, manifest = store.load_results(path)
    terminal.table(found, Console(file=StringIO(), width=100))
    for write in ("markdown_table", "markdown_notes", "markdown_gradients", "csv_table", "latex_table"):
        getattr(texts, write)(found)
    report.write_report(path.with_suffix(".html"), found, manifest, path.parent)
    text = path.with_suffix(".html").read_text(encoding="utf-8")
    assert not re.search("[\0-\x08\x0b-\x1f\x7f-\x9f]", text), "control characters"
    store.save_results(path.with_suffix(".json"), found, manifest)
    assert store.load_results(path.with_suffix(".json"))[0].keys() == found.keys()


@cache
def valid_claims() -> bytes:
    text = Path(registry.__file__).with_name("claims.toml").read_bytes()
    return b"\n[".join(text.split(b"\n[")[:6]) + b"\n"


TOML = [
    "9" * 5000, "1" + "0" * 400, "nan", "-inf", '"\\u001b[2J"', '""', "[" * 5000 + "]" * 5000, "true", "[]", "{}",
    "{a=" * 300 + "1" + "}" * 300, "1979-05-27T07:32:00Z", "0x" + "f" * 400, "1e999", "5e-324", "[[]]",
    '"x"', "-1", "0.5", ".".join("a" * 50_000) + "=1",
]  # fmt: skip


def toml_file(rng: Random) -> bytes:
    text = valid_claims()
    if rng.random() < 0.5:
        return scrambled(text, rng)
    source = text.decode()
    for _ in range(rng.choice([1, 2, 3])):
        values = list(re.finditer(r'= *("[^"\n]*"|[\d.]+)', source))
        lines = list(re.finditer("^.*$", source, re.MULTILINE))
        if values and rng.random() < 0.8:
            start, end = rng.choice(values).span(1)
            worse = rng.choice(TOML)
        else:
            start, end = rng.choice(lines).span()
            worse = rng.choice(["", f"{rng.choice(TOML)}", f"x = {rng.choice(TOML)}", "[[x]]", "[x.y.z]"])
        source = source[:start] + worse + source[end:]
    return source.encode()


def use_toml(path: Path) -> None:
    for claim in registry.parse(path.read_text(encoding="utf-8")).values():
        assert claim.predicate or claim.published
        [numbers.format_paper(q) for q in claim.quantities]


def bench_file(rng: Random) -> bytes:
    document = json.loads((summary.RESULTS / "cpu.json").read_text(encoding="utf-8"))
    document["rows"] = rng.sample(document["rows"], 4)
    return dumped(worsened(document, rng)).encode() if rng.random() < 0.8 else scrambled(dumped(document).encode(), rng)


def use_bench(path: Path) -> None:
    found = summary.read(path)
    summary.markdown(found)
    found.table()


IDX = IdxFile((30, 4, 4), "")
IDX_CONTENT = IDX.header + bytes(i * i % 251 for i in range(480))
IDX = IDX._replace(sha256=sha256(IDX_CONTENT).hexdigest())


def packed(rng: Random, pack: Callable[[bytes], bytes]) -> bytes:
    """Compressed, a bomb, empty members in front, or the content scrambled inside of a sound wrapper."""
    what = rng.randrange(6)
    if what == 0:
        return pack(scrambled(IDX_CONTENT, rng))
    if what == 1:
        return pack(IDX_CONTENT + bytes(rng.choice([1, 1000, 10**6])))
    if what == 2:
        return pack(b"") * rng.choice([1, 5, 50]) + pack(IDX_CONTENT)
    if what == 3:
        return scrambled(IDX_CONTENT, rng)
    return scrambled(pack(IDX_CONTENT), rng)


def xz(content: bytes) -> bytes:
    return lzma.compress(content, **{**script.XZ, "filters": [{**script.XZ["filters"][0], "dict_size": 1 << 16}]})


def use_xz(path: Path) -> None:
    assert read_idx(path.stem, path.parent, IDX).tobytes() == IDX_CONTENT[16:]


def use_gz(path: Path) -> None:
    assert script.from_folder(path.parent, path.stem, IDX) == IDX_CONTENT


@cache
def mirror() -> tuple[str, list[bytes]]:
    """The address of a server on this machine, and the list whose last entry is its next answer, as it is sent."""
    answers: list[bytes] = []

    class Answer(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            with suppress(OSError):
                self.request.recv(1 << 16)
                self.request.sendall(answers[-1])

    server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Answer)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return f"http://127.0.0.1:{server.server_address[1]}", answers


def answer_file(rng: Random) -> bytes:
    """What a server might say: HTTP with a file, bytes of both exchanged."""
    body = gzip.compress(IDX_CONTENT)
    header = f"HTTP/1.1 200 OK\r\nContent-Type: application/gzip\r\nContent-Length: {len(body)}\r\n\r\n".encode()
    more = [b"", b"Content-Encoding: gzip, deflate\r\n", b"Transfer-Encoding: chunked\r\n", b"Location: //\xff/\r\n"]
    header = header.replace(b"\r\n", b"\r\n" + rng.choice(more), 1)
    header = header.replace(b"200", rng.choice([b"200", b"302", b"999"]))
    return rng.choice([scrambled(header, rng) + body, header + scrambled(body, rng), scrambled(header + body, rng)])


def use_answer(path: Path) -> None:
    url, answers = mirror()
    answers.append(path.read_bytes())
    with redirect_stderr(StringIO()):
        assert script.from_mirrors([url], "file", IDX, attempts=1) == IDX_CONTENT


SUBMISSION = '''"""A lesson."""
# %% [markdown]
# Some text, größer.
import math

X = 3.0


def first(x, y=2):
    """The sum."""
    ### BEGIN SOLUTION
    return x + y * X
    ### END SOLUTION


class Second:
    def value(self):
        """Its value."""
        ### BEGIN SOLUTION
        text = f"{math.pi:.3f}"
        return text
        ### END SOLUTION


first(1)
'''


def notebook_of(source: str) -> dict[str, Any]:
    cells = [{"cell_type": kind, "metadata": {}, "source": source.splitlines(keepends=True), "outputs": []}
             for kind in ("markdown", "code", "code")]  # fmt: skip
    return {"cells": cells, "metadata": {"kernelspec": {"name": "python3"}}, "nbformat": 4, "nbformat_minor": 5}


def script_file(rng: Random) -> bytes:
    """A scrambled answer, or one whose function holds what is hard on Python's parser."""
    if rng.random() < 0.8:
        return scrambled(SUBMISSION.encode(), rng)
    n = rng.choice([50, 150, 1000, 5000])
    hard = [
        "(" * n + ")" * n, "-" * n + "1", "x" + ".a" * n, "not " * n + "1", "[" * n, "f'" + "{" * n, "9" * 5000,
        "1if 1else " * n + "1", "lambda:" * n + "1", "'\\N{x}'", "\x0c", "\\", "'''", "'\\ud800'", "0" * n + "1",
    ]  # fmt: skip
    return SUBMISSION.replace("x + y * X", rng.choice(hard)).encode()


def notebook_file(rng: Random) -> bytes:
    book = notebook_of(script_file(rng).decode("utf-8", "replace") if rng.random() < 0.3 else SUBMISSION)
    return dumped(worsened(book, rng)).encode() if rng.random() < 0.8 else scrambled(dumped(book).encode(), rng)


def use_submission(path: Path) -> None:
    source = "".join(f"{cell.code}\n" for cell in submissions.cells(path))
    submissions.mended(source)
    with suppress(ValueError):
        exercises.stub(source)
    with suppress(ValueError):
        exercises.exercises(source)


def use_module(path: Path) -> None:
    """Run it as grading does, where any error is turned into a line."""
    try:
        with redirect_stdout(StringIO()), submissions.loaded(path) as module:
            module.first(1)
    except Exception as error:
        line = feedback.feedback(error)
        assert 0 < len(line) <= feedback.LONGEST
        assert line.isprintable() or " " in line
        line.encode()


KEY = bytes(32)


def reply_file(rng: Random) -> bytes:
    """What a process may have written where only the grader's own may: all kinds of lines, one of them signed."""
    text = b"case:test_a:".hex().encode()
    mark = blake2b(text, key=KEY, digest_size=32).hexdigest().encode()
    line = b"\n" + mark + b" " + text + b"\n"
    return line + scrambled(rng.choice([line, mark, text, line * 3]), rng)


def use_reply(path: Path) -> None:
    found = grade._signed(path.read_bytes(), KEY)
    assert found[:1] == [("case", "test_a", "")]
    assert set(found) == {("case", "test_a", "")}


def notes_file(rng: Random) -> bytes:
    notes = {"lesson 1, fgsm": True, "lesson 2, x": False, "lesson 1, softmax": True}
    return dumped(worsened(notes, rng)).encode() if rng.random() < 0.8 else scrambled(json.dumps(notes).encode(), rng)


def use_notes(path: Path) -> None:
    before, contents.NOTES = contents.NOTES, path
    try:
        notes = contents._notes()
        assert all(isinstance(k, str) and isinstance(v, bool) for k, v in notes.items())
    finally:
        contents.NOTES = before


def npz_file(rng: Random) -> bytes:
    """Images and labels as the audit reads them, in a .npz: other arrays, other members, or bytes exchanged."""
    arrays = {"x": np.random.default_rng(0).random((3, 4), dtype="float32"), "y": np.arange(3)}
    if rng.random() < 0.5:
        arrays = other_arrays(arrays, rng)
    file = BytesIO()
    with zipfile.ZipFile(file, "w", rng.choice([zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_LZMA])) as pack:
        for name, a in arrays.items():
            member = BytesIO()
            np.save(member, a)
            content = member.getvalue()
            if rng.random() < 0.3:
                said = rng.choice([b"(10000000000,)", b"(-1,)", b"(" * 400, b"(1e3,)", b"None", b"(2**63, 2**63)"])
                content = content.replace(str(a.shape).encode(), said)
            pack.writestr(f"{name}.npy", scrambled(content, rng) if rng.random() < 0.3 else content)
    return scrambled(file.getvalue(), rng) if rng.random() < 0.4 else file.getvalue()


def use_npz(path: Path) -> None:
    x, y = robustness.read_images(path, 2)
    assert x.dtype == "float32"
    assert y.dtype == "int64"
    assert x.ndim == 2
    assert len(x) == len(y) <= 2


def picture_file(rng: Random) -> bytes:
    (text,) = results.encoded(np.random.default_rng(0).random((1, 784)))
    return scrambled(text.encode(), rng)


def use_picture(path: Path) -> None:
    results.pixels(path.read_bytes().decode("latin-1"))


# ---------------------------------------------------------------------------------------------------------
# What a user types


def typed(*arguments: object) -> tuple[int, str, str]:
    """`tinyadv arguments` in this process: exit code and what it said; anything but its own errors comes through."""
    said, complained = StringIO(), StringIO()
    try:
        with redirect_stdout(said), redirect_stderr(complained):
            cli.main(list(map(str, arguments)))
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 0
    assert "Traceback" not in complained.getvalue(), complained.getvalue()
    return code, said.getvalue(), complained.getvalue()


def one_line(code: int, complained: str) -> str:
    """Exit code 0 and not a word, or exit code 2 and one line of what can be printed."""
    assert code in (0, 2), f"exit code {code}: {complained}"
    if code:
        assert complained.startswith("tinyadv: ")
        assert complained.count("\n") == 1
        assert complained.strip().isprintable()
    return "refused" if code else "read"


@cache
def attackable_networks() -> list[tuple[dict[str, Any], dict[str, Any]]]:
    """Those that take images, of each sort and of few units."""
    rng = generator(0)
    made = [
        models.softmax_regression(scale=0.1, rng=rng),
        models.logistic_regression(scale=0.1, rng=rng),
        models.maxout_network(4, 2, rng=rng),
        models.rbf_network(beta=0.01, rng=rng),
        models.quadratic_network(4, 1, rng=rng),
        models.mp_dbm((4, 3), 3, rng=rng),
    ]
    return [
        ({k: p.data for k, p in named_parameters(m).items()}, {"network": m.builder, "arguments": m.arguments})
        for m in made
    ]


def type_attack(path: Path) -> str:
    code, _, complained = typed("attack", path, "--images", 2, "--out", path.parent / "out")
    return one_line(code, complained)


def type_claims(path: Path) -> str:
    for more in ([], ["--json"]):
        code, said, complained = typed("claims", "--out", path.parent, *more)
        if more and not code:
            json.loads(said)
    return one_line(code, complained)


def type_grade(path: Path) -> str:
    code, said, complained = typed("course", "grade", path.parent, "--lesson", 1)
    assert "exercises solved" in said or code, said
    return one_line(code, complained)


@cache
def finished_run() -> dict[str, bytes]:
    """The files of a small run of `reproduce`."""
    with tempfile.TemporaryDirectory() as folder:
        code, _, complained = typed("reproduce", "--only", REPRODUCED, "--workers", 1, "--out", folder)
        assert code == 0, complained
        found = Path(folder)
        return {str(p.relative_to(found)): p.read_bytes() for p in found.rglob("*") if p.is_file()}


REPRODUCED = "linear-growth,logistic-exact"


def run_file(rng: Random) -> bytes:
    """One file of a finished run, damaged; with its name in the first line."""
    files = finished_run()
    name = rng.choice([n for n in files if n.endswith((".json", ".safetensors", ".png"))])
    content = files[name]
    if name.endswith(".json") and rng.random() < 0.7:
        document = json.loads(content)
        body = worsened({k: v for k, v in document.items() if k not in ("format", "sha256")}, rng)
        with suppress(ValueError, RecursionError, AttributeError, TypeError):
            body = {"format": store.FORMAT, "sha256": store._fingerprint(body), **body}
        return f"{name}\n".encode() + dumped(body).encode()
    return f"{name}\n".encode() + scrambled(content, rng)


def type_reproduce(path: Path) -> str:
    name, _, content = path.read_bytes().partition(b"\n")
    out = path.parent / "out"
    for file, whole in finished_run().items():
        (out / file).parent.mkdir(parents=True, exist_ok=True)
        (out / file).write_bytes(content if file == name.decode() else whole)
    code, said, complained = typed("reproduce", "--only", REPRODUCED, "--workers", 1, "--out", out)
    if code == 2 and "wanted a new --out" in complained:
        return "refused"  # the damage is in the version of the form
    assert code == 0, complained
    assert "2 claims" in said
    wanted = json.loads(finished_run()["results.json"])["results"]
    found = {r["claim"]: r for r in json.loads((out / "results.json").read_bytes())["results"]}
    for r in wanted if name != b"results.json" and b"measurements" not in name else ():
        assert [m["values"] for m in found[r["claim"]]["measurements"]] == [m["values"] for m in r["measurements"]]
    return "read"


KINDS = {
    "arrays": Kind(lambda rng: array_file(rng, *rng.choice(valid_networks())), storage.load_arrays, (StorageError,)),
    "network": Kind(network_file, use_network, (StorageError,)),
    "checkpoint": Kind(lambda rng: array_file(rng, *valid_checkpoint()), use_checkpoint, (StorageError, DivergedError)),
    "lab": Kind(lambda rng: array_file(rng, *valid_lab_file()), use_lab_file),
    "results": Kind(results_file, use_results, (store.ResultsError,)),
    "toml": Kind(toml_file, use_toml, (ValueError,)),
    "bench": Kind(bench_file, use_bench, (StorageError,)),
    "idx.xz": Kind(partial(packed, pack=xz), use_xz, (DataError,), "file.xz", reserves=True),
    "idx.gz": Kind(partial(packed, pack=gzip.compress), use_gz, (DataError,), "file.gz"),
    "script": Kind(script_file, use_submission, (ValueError,), "lesson01_x.py"),
    "module": Kind(script_file, use_module, (), "lesson01_x.py"),
    "notebook": Kind(notebook_file, use_submission, (ValueError,), "lesson01_x.ipynb"),
    "reply": Kind(reply_file, use_reply),
    "notes": Kind(notes_file, use_notes),
    "picture": Kind(picture_file, use_picture, (ValueError,)),
    "npz": Kind(npz_file, use_npz, (DataError, ValueError), "file.npz", reserves=True),
    "mirror": Kind(answer_file, use_answer, (DataError,)),
    "attack": Kind(lambda rng: array_file(rng, *rng.choice(attackable_networks())), type_attack, share=5),
    "claims": Kind(results_file, type_claims, name="results.json", share=5),
    "grade": Kind(script_file, type_grade, name="lesson01_x.py", share=100, works=True),
    "grade-nb": Kind(notebook_file, type_grade, name="lesson01_x.ipynb", share=100, works=True),
    "reproduce": Kind(run_file, type_reproduce, share=100, works=True),
}


# ---------------------------------------------------------------------------------------------------------
# The campaign

FORBIDDEN = ("subprocess.", "os.system", "os.exec", "os.posix_spawn", "os.fork", "pickle.", "ctypes.dlopen")
_folder: list[str] = []  # where files may be written while a campaign runs; hooks cannot be taken away


def _watch(event: str, args: tuple[Any, ...]) -> None:
    if _folder and event.startswith(FORBIDDEN):
        raise AssertionError(f"a file led to {event} {args}")
    if _folder and event == "socket.connect":
        assert args[1][0] == "127.0.0.1", f"a file led to a connection with {args[1]}"
    if _folder and event == "open" and isinstance(args[1], str) and set(args[1]) & set("wax+"):
        path = str(args[0])
        assert path.startswith(_folder[0]) or not isinstance(args[0], str), f"a file led to writing {path}"


@contextmanager
def bounded(folder: str, works: bool) -> Iterator[None]:
    """What takes too long, or too much memory, or does what no file may, raises inside."""

    def late(*_: object) -> None:
        raise AssertionError(f"still not done after {SECONDS} s of work, or {10 * SECONDS} s")

    def limit() -> tuple[int, int]:
        import resource

        before = resource.getrlimit(resource.RLIMIT_AS)
        used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (used + MEMORY, before[1]))
        return before

    before = limit() if sys.platform == "linux" else None
    handlers = [(number, signal.signal(number, late)) for number in (signal.SIGALRM, signal.SIGPROF)]
    if not hasattr(_watch, "added"):
        sys.addaudithook(_watch)
        _watch.added = True  # type: ignore[attr-defined]
    if not works:
        _folder.append(folder)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        _folder.clear()
        _timers(0)
        for number, handler in handlers:
            signal.signal(number, handler)
        if before:
            import resource

            resource.setrlimit(resource.RLIMIT_AS, before)


def _timers(seconds: float) -> None:
    signal.setitimer(signal.ITIMER_PROF, seconds)
    signal.setitimer(signal.ITIMER_REAL, 10 * seconds)


def outcome(kind: Kind, content: bytes, folder: Path) -> str:
    """Read one file: "read", or the name of the error that refused it; raises what must not happen."""
    path = folder / kind.name
    path.write_bytes(content)
    _timers(SECONDS)
    try:
        said = kind.read(path)
    except kind.errors as error:
        if isinstance(error.__cause__ or error.__context__, MemoryError) and not kind.reserves:
            raise AssertionError("more memory was wanted than there is") from error
        if not 0 < len(str(error)) < 5000:
            raise AssertionError(f"an error of {len(str(error))} characters") from error
        return type(error).__name__
    finally:
        _timers(0)
        for rest in folder.iterdir():
            shutil.rmtree(rest) if rest.is_dir() else rest.unlink()
    return said if isinstance(said, str) else "read"


def campaign(
    name: str, cases: int, seed: int = 0, failed: Callable[[int, bytes, BaseException], None] | None = None
) -> Counter[str]:
    """Read `cases` hostile files of a kind; how many were read, and refused by which error.

    `failed` is told of the number, content and exception of a case that must not be; without it that is raised.
    """
    kind, counts, worse = KINDS[name], Counter[str](), []
    with tempfile.TemporaryDirectory() as folder, bounded(folder, kind.works):
        for case in range(max(1, cases // kind.share)):
            content = kind.make(random.Random(f"{name} {seed} {case}"))
            try:
                counts[outcome(kind, content, Path(folder))] += 1
            except Exception as error:
                if not failed:
                    raise AssertionError(f"{name}, case {case}: {type(error).__name__}: {error}") from error
                worse.append((case, content, error))
                counts["FAILED"] += 1
    for each in worse:  # now that files may be written elsewhere
        failed(*each)
    return counts


def atheris_campaign(name: str, runs: int) -> None:
    """Files that reach new lines of the reader are changed further."""
    import atheris

    kind = KINDS[name]
    for module in (storage, models, training, results, store, registry, summary, exercises, script):
        for value in list(vars(module).values()):
            if callable(value) and getattr(value, "__module__", "") == module.__name__ and not isinstance(value, type):
                with suppress(Exception):
                    setattr(module, value.__name__, atheris.instrument_func(value))
    folder = Path(tempfile.mkdtemp())
    corpus = folder / "corpus"
    corpus.mkdir()
    for case in range(50):
        (corpus / str(case)).write_bytes(kind.make(random.Random(case)))
    (work := folder / "work").mkdir()
    options = [sys.argv[0], f"-runs={runs}", "-max_len=20000", str(corpus)]
    with bounded(str(folder), kind.works):
        atheris.Setup(options, lambda data: outcome(kind, data, work) and None)
        atheris.Fuzz()


def main(arguments: list[str]) -> None:
    cases, *names = [a for a in arguments if not a.startswith("--")]
    spare_time()
    if "--atheris" in arguments:
        return atheris_campaign(names[0], int(cases))
    bad = 0

    def failed(case: int, content: bytes, error: BaseException) -> None:
        nonlocal bad
        bad += 1
        kept = Path(tempfile.gettempdir()) / f"hostile-{case}"
        if bad < 200:
            kept.write_bytes(content)
        print(f"  case {case}: {type(error).__name__}: {str(error)[:150]}" + f" ({kept})" * (bad < 200), flush=True)

    for name in names or KINDS:
        counts = campaign(name, int(cases), failed=failed)
        print(f"{name:12} {counts.total():8,} cases: {dict(counts)}", flush=True)
    print(f"{bad} cases that must not be")
    sys.exit(bool(bad))


if __name__ == "__main__":
    main(sys.argv[1:])
