"""Hostile files: a short campaign of every kind, faults planted to see it fail, and what the sources may not contain.

The whole campaign is `python tests/hostile.py 10000`; `pytest -m slow tests/test_hostile.py` runs a tenth of it.
"""

from __future__ import annotations

import ast
import json
import os
import struct
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import hostile
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tinyadv import models, storage, training
from tinyadv.course import contents, submissions
from tinyadv.paper import claims as registry
from tinyadv.paper import results_file as store
from tinyadv.storage import DEEPEST, StorageError, parse_json

ROOT = Path(__file__).parents[1]
FEW = {"attack": 25, "claims": 25, "mirror": 20, "results": 30, "script": 40}  # cases of what takes longest
SLOW = {name for name, kind in hostile.KINDS.items() if kind.works}

pytestmark = pytest.mark.skipif(os.name != "posix", reason="signals and limits are POSIX's")


@pytest.fixture(autouse=True)
def _spare_time(monkeypatch):
    hostile.spare_time(monkeypatch.setattr)


def campaign(name: str, cases: int, record_property) -> None:
    if name == "mirror":
        pytest.importorskip("pooch")
    counts = hostile.campaign(name, cases)
    record_property("hostile", (name, sum(counts.values())))
    assert sum(counts.values()) == max(1, cases // hostile.KINDS[name].share)


@pytest.mark.parametrize("name", sorted(hostile.KINDS.keys() - SLOW))
def test_a_few_hostile_files_of_each_kind(name, record_property):
    campaign(name, FEW.get(name, 80), record_property)


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(hostile.KINDS))
def test_many_hostile_files_of_each_kind(name, record_property):
    campaign(name, 1000, record_property)


def believes_the_file(model: models.Network, arrays: dict[str, object], source: object) -> None:
    for name, p in hostile.named_parameters(model).items():
        p.data = arrays[name]


FAULTS = {  # what is taken away: the kind of file that then has to be found out
    "network: sizes": (models, "_Room", lambda *_: hostile.generator(0), "network", "Error"),
    "network: shapes and kinds": (models, "load_parameters", believes_the_file, "network", "Error"),
    "arrays: any JSON": (storage, "parse_json", json.loads, "arrays", "RecursionError"),
    "checkpoint: its state": (
        training, "_checked_state", lambda path, about, *_: training.Training(about["log"], about["best_epoch"]),
        "checkpoint", "Error",
    ),
    "checkpoint: its log": (training, "check_log", lambda log, _: log, "checkpoint", "Error"),
    "results: any JSON": (store, "parse_json", json.loads, "results", "Error"),
    "results: tables": (store, "_details", lambda value: value, "results", "Error"),
    "toml: numbers": (registry, "_number", lambda _, value: value, "toml", "Error"),
    "notebook: any JSON": (submissions, "parse_json", json.loads, "notebook", "RecursionError"),
    "notes: any JSON": (contents, "parse_json", json.loads, "notes", "RecursionError"),
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("fault", FAULTS)
def test_the_campaign_finds_planted_faults(fault, monkeypatch):
    module, name, instead, kind, said = FAULTS[fault]
    monkeypatch.setattr(module, name, instead)
    with pytest.raises(AssertionError, match=said):
        hostile.campaign(kind, 2000)


def test_what_a_reader_does_besides_is_noticed(monkeypatch):
    def read(path: Path) -> None:
        subprocess.run(["true"], check=True)

    for worse in (read, lambda path: Path("/tmp/elsewhere").write_text("x"), lambda path: __import__("pickle").loads(
        b"cos\ngetcwd\n(tR.")):  # fmt: skip
        monkeypatch.setitem(hostile.KINDS, "worse", hostile.Kind(lambda rng: b"", worse))
        with pytest.raises(AssertionError, match="a file led to"):
            hostile.campaign("worse", 1)
    for worse, said in ((lambda path: bytearray(2 << 30), "MemoryError"), (lambda path: endless(), "still not done")):
        monkeypatch.setattr(hostile, "SECONDS", 0.2)
        monkeypatch.setitem(hostile.KINDS, "worse", hostile.Kind(lambda rng: b"", worse))
        with pytest.raises(AssertionError, match=said):
            hostile.campaign("worse", 1)


def test_a_case_that_must_not_be_can_be_kept(monkeypatch, tmp_path):
    def read(path: Path) -> None:
        raise ZeroDivisionError(path.read_bytes())

    monkeypatch.setitem(hostile.KINDS, "worse", hostile.Kind(lambda rng: b"x", read))
    kept = []
    counts = hostile.campaign("worse", 3, failed=lambda case, content, error: (
        kept.append((case, str(error))), (tmp_path / str(case)).write_bytes(content)
    ))  # fmt: skip
    assert counts == {"FAILED": 3}
    assert kept == [(case, "b'x'") for case in range(3)]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["0", "1", "2"]


def endless() -> None:
    while True:
        pass


# ---------------------------------------------------------------------------------------------------------
# By name: what an attacker would try first


@settings(max_examples=50, deadline=None)
@given(st.binary(max_size=200) | st.text(max_size=200))
def test_any_text_is_json_or_a_valueerror(text):
    with suppress(ValueError):
        parse_json(text)


@pytest.mark.parametrize("n", [DEEPEST, DEEPEST + 1, 900, 100_000])
def test_json_is_nested_as_deep_as_it_may_be_and_no_deeper(n):
    if n <= DEEPEST:
        assert parse_json("[" * n + "]" * n)
        return
    for text in ("[" * n + "]" * n, '{"a":' * n + "1" + "}" * n):
        with pytest.raises(ValueError, match="nested deeply: wanted at most 50 levels"):
            parse_json(text)


def test_json_that_is_far_too_long_is_not_parsed(monkeypatch):
    monkeypatch.setattr(storage, "LONGEST", 10)
    assert parse_json("[1, 2, 33]") == [1, 2, 33]
    with pytest.raises(ValueError, match="11 characters of JSON: wanted at most 10"):
        parse_json("[1, 2, 333]")


def test_a_header_that_lies_about_sizes_costs_no_memory(tmp_path):
    for length, shape in ((2**40, [4]), (10**8, [4]), (None, [2**40]), (None, [2**62, 4])):
        header = json.dumps({"a": {"dtype": "F32", "shape": shape, "data_offsets": [0, 16]}}).encode()
        path = tmp_path / "file"
        path.write_bytes(struct.pack("<Q", length or len(header)) + header + bytes(16))
        with pytest.raises(StorageError, match="is not a readable safetensors file"):
            storage.load_arrays(path)


BOMBS = {
    "wide": ("softmax_regression", {"inputs": 10**6, "classes": 10**6}),
    "full": ("rbf_network", {"inputs": 500, "classes": 2, "full": True}),
    "deep": ("deep_rbf_network", {"units": 1, "inputs": 1, "classes": 1, "depth": 10**9}),
    "many layers": ("maxout_network", {"units": 1, "pieces": 1, "inputs": 1, "classes": 1, "depth": 10**9}),
    "text": ("rbf_network", {"inputs": 10**10, "classes": "ab"}),
    "beyond": ("softmax_regression", {"inputs": 2**70, "classes": 10}),
    "negative": ("rbf_network", {"inputs": -5, "classes": -5}),
    "images": ("conv_maxout_network", {"size": 10**6, "channels": [1, 1, 1], "units": 10**6}),
    "no images": ("conv_maxout_network", {"size": "ab"}),
    "channels of channels": ("conv_maxout_network", {"channels": [[1], 2, 3]}),
}


@pytest.mark.parametrize("name", BOMBS)
def test_a_small_file_makes_no_large_network(tmp_path, name):
    builder, arguments = BOMBS[name]
    arrays = {"layers.0.W": hostile.np.zeros((100, 10), "float32"), "layers.0.b": hostile.np.zeros(10, "float32")}
    (tmp_path / "file").write_bytes(hostile.signed(arrays, json.dumps({"network": builder, "arguments": arguments})))
    with hostile.bounded(str(tmp_path), works=False):
        with pytest.raises(StorageError, match="cannot be made") as info:
            models.load(tmp_path / "file")
        assert not isinstance(info.value.__cause__, MemoryError), "it was tried"


MEASURED = """
import sys, os, tinyadv
from tinyadv import models
import safetensors.numpy
def peak():
    return next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmHWM")) * 1024
before = peak()
models.load(sys.argv[1])
print((peak() - before) / os.path.getsize(sys.argv[1]))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="/proc")
@pytest.mark.parametrize("kind", ["softmax", "full RBF"])
def test_a_network_is_read_in_twice_its_size(tmp_path, kind):
    rng = hostile.generator(0)
    make = {
        "softmax": lambda: models.softmax_regression(5000, 1200, rng=rng),
        "full RBF": lambda: models.rbf_network(500, 24, full=True, rng=rng),
    }[kind]
    models.save(make(), tmp_path / "file")
    command = [sys.executable, "-c", MEASURED, tmp_path / "file"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert float(done.stdout) < 2.3  # twice, and what the allocator keeps


# ---------------------------------------------------------------------------------------------------------
# What stands in no source of the project

PACKAGES = {"pickle", "cPickle", "_pickle", "dill", "cloudpickle", "shelve", "marshal", "joblib", "torch", "yaml"}
ARCHIVES = {"tarfile", "zipfile"}
CALLS = {"unpack_archive", "extractall", "extract", "run_path", "run_module"}
FUNCTIONS = {"eval", "exec", "__import__", *CALLS}  # by their bare names
ALLOWED = {
    # a submission is executed by the process that grades it, and a lesson by whoever runs it: that is what they are for
    ("tinyadv/course/submissions.py", "exec"),
    ("tinyadv/course/__init__.py", "run_path"),
    ("tinyadv/course/pages.py", "run_path"),
    ("tinyadv/course/web/answers.py", "exec"),  # in the browser, the reader's own
    # the members of the authors' archive are read into memory by name: nothing is unpacked
    ("data_scripts/cifar10.py", "tarfile"),
    # a zip file's members are read one by one, with limits; one is written
    ("tinyadv/course/uploads.py", "zipfile"),
    ("tinyadv/course/platforms.py", "zipfile"),
    # of the interpreter in the browser, whose archives have a known SHA-256
    ("tinyadv/course/web/build.py", "zipfile"),
    # peers of the benchmark, which is given no files
    ("tinyadv/bench/convolution.py", "torch"),
    ("tinyadv/bench/peer_torch.py", "torch"),
    ("tinyadv/bench/peer_torch_compile.py", "torch"),
    ("tinyadv/bench/floor.py", "torch"),
    ("tinyadv/torch_model.py", "torch"),
}


def offences(source: str, name: str) -> set[tuple[str, str]]:
    """What in a source reads objects, runs code, or unpacks archives: file and name."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import | ast.ImportFrom):
            modules = [node.module or ""] if isinstance(node, ast.ImportFrom) else [a.name for a in node.names]
            found |= {m.partition(".")[0] for m in modules} & (PACKAGES | ARCHIVES)
        if isinstance(node, ast.Call):
            found |= {getattr(node.func, "attr", "")} & CALLS | {getattr(node.func, "id", "")} & FUNCTIONS
            for keyword in node.keywords:
                if keyword.arg == "allow_pickle" and not (
                    isinstance(keyword.value, ast.Constant) and keyword.value.value is False
                ):
                    found.add("allow_pickle")
    return {(name, what) for what in found}


def test_nothing_unpickles_executes_or_unpacks():
    paths = [p for folder in ("tinyadv", "data_scripts", "lessons") for p in (ROOT / folder).rglob("*.py")]
    assert len(paths) > 60
    found = set[tuple[str, str]]()
    for path in paths:
        found |= offences(path.read_text(encoding="utf-8"), path.relative_to(ROOT).as_posix())
    assert found <= ALLOWED, found - ALLOWED
    assert ("tinyadv/course/submissions.py", "exec") in found, "the check finds what is there"


@pytest.mark.parametrize(
    "source",
    ["import pickle", "from pickle import loads", "import os, dill as d", "np.load(f, allow_pickle=True)", "eval(x)",
     "np.load(f, allow_pickle=yes)", "exec(text)", "shutil.unpack_archive(a, b)", "import tarfile", "z.extractall(d)",
     "import torch.hub"],
)  # fmt: skip
def test_the_check_of_sources_finds(source):
    assert offences(source, "x")
    assert not offences("np.load(f, allow_pickle=False)\nexecute(x)\nimport json", "x")
