"""Fingerprints: what decides a number changes them, wording does not; and a record of programs that train alike."""

import importlib
import re
from dataclasses import replace
from functools import cache
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest
from tiny import SMALL, TINY, tiny_mnist, use

import tinyadv
from tinyadv.layers import named_parameters
from tinyadv.paper import fingerprint, recipes
from tinyadv.paper.lab import Lab
from tinyadv.paper.measure import MEASURES, section4, section8

SOURCE = '''"""A module."""
# a comment
import math

@decorated
def area(r: float) -> float:
    """Of a circle."""
    return math.pi * r ** 2
'''


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("# a comment\n", ""),
        ('"""A module."""', '"""Another text."""'),
        ('    """Of a circle."""\n', ""),
        ("math.pi * r ** 2", "(math.pi\n        * r**2)  # r squared"),
    ],
)
def test_wording_and_layout_change_nothing(old, new):
    assert fingerprint.code(SOURCE.replace(old, new)) == fingerprint.code(SOURCE)


@pytest.mark.parametrize(
    ("old", "new"), [("r ** 2", "r ** 3"), ("@decorated\n", ""), ("math.pi", "math.tau"), ("area", "a")]
)
def test_code_changes_it(old, new):
    assert fingerprint.code(SOURCE.replace(old, new)) != fingerprint.code(SOURCE)


# Syntax whose trees have changed between versions of Python, or may.
EVERY_KIND = '''
"""A module."""
class Layer(Base, metaclass=Meta):
    """A class."""
    size: int = -1

    def call(self, x, /, b=2, *rest: "text", d=None, **options) -> "Layer":
        """A method."""
        text = u"é" "beside" f"{x:>{b}} {x!r:{b}.{d}}{{}}" "after" f"{x=}" f""
        match x:
            case [1, *_] | {"k": None, **others} | Layer(size=0) as b if b:
                pass
        try:
            yield (lambda *, z=...: z), b"\\x00", 1j, not -x @ b
        except* OSError:
            raise

    async def gather(self):
        return [i async for i in self if not (j := i)], {**x}, f(*x, key=1)
'''


def test_every_version_of_python_gives_the_same_fingerprint():
    """As recorded with Python 3.11. Python 3.12 has other trees of texts with a format that ends in a value."""
    assert sha256(fingerprint.code(EVERY_KIND).encode()).hexdigest()[:12] == "fb6dc57c3103"


tree_of = cache(fingerprint.code)  # most of the sources stay as they are


def copied(tmp_path, monkeypatch):
    """The package's sources where they can be changed."""
    for path in Path(tinyadv.__file__).parent.rglob("*.py"):
        target = tmp_path / path.relative_to(Path(tinyadv.__file__).parent)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(path.read_text("utf-8"), "utf-8")
    monkeypatch.setattr(fingerprint, "PACKAGE", tmp_path)
    monkeypatch.setattr(fingerprint, "_tree", lambda path: tree_of(path.read_text("utf-8")))

    def both():
        return fingerprint.training.__wrapped__(), fingerprint._measuring.__wrapped__(section4)

    return both


@pytest.mark.parametrize(
    ("file", "trains", "measures"),
    [
        ("optim.py", True, True),
        ("losses.py", True, True),
        ("paper/lab.py", True, True),
        ("paper/rounding.py", True, True),
        ("paper/audit.py", False, True),
        ("paper/measure/common.py", False, True),
        ("paper/measure/section8.py", False, False),  # of another section
        ("paper/draw/section4.py", False, False),
        ("paper/show/report.py", False, False),
        ("photographs.py", False, True),
        ("explore.py", False, False),
        ("cli.py", False, False),
        ("command_line.py", False, False),
    ],
)
def test_which_files_decide_what(tmp_path, monkeypatch, file, trains, measures):
    both = copied(tmp_path, monkeypatch)
    before = both()
    with (tmp_path / file).open("a") as source:
        source.write("\n\nANOTHER = 3\n")
    after = both()
    assert [a != b for a, b in zip(after, before, strict=True)] == [trains, measures]


def test_another_process_is_told_the_fingerprint_and_uses_it_for_the_same_sources_alone(tmp_path, monkeypatch):
    """Where somebody has changed the sources since, it parses them."""
    both = copied(tmp_path, monkeypatch)
    monkeypatch.setattr(fingerprint, "_TOLD", {})
    checksum, found = fingerprint.known()
    fingerprint.assume(checksum, "told")
    assert fingerprint._of_sources() == "told"
    with (tmp_path / "optim.py").open("a") as source:
        source.write("\n\nANOTHER = 3\n")
    assert fingerprint._of_sources() not in (found, "told")
    monkeypatch.setattr(fingerprint, "_TOLD", {})
    assert fingerprint.training.__wrapped__() == both()[0]


def test_a_measure_has_the_fingerprint_of_its_section():
    assert MEASURES["fgsm-maxout"].program == MEASURES["rotation-attack"].program == fingerprint.measuring(section4)
    assert fingerprint.measuring(section4) != fingerprint.measuring(section8)
    assert re.fullmatch("[0-9a-f]{12}", fingerprint.training())


@pytest.mark.parametrize(("version", "same"), [("2.4.99", None), ("3.0.0", False)])
def test_numpy_s_major_and_minor_version_count(monkeypatch, version, same):
    before = fingerprint.training.__wrapped__()
    own = ".".join(np.__version__.split(".")[:2])
    monkeypatch.setattr(fingerprint, "numpy_version", version if same is False else f"{own}.99")
    assert (fingerprint.training.__wrapped__() == before) is (same is not False)


def test_programs_that_are_recorded_as_equal_share_the_first_one_s_fingerprint(tmp_path, monkeypatch):
    (tmp_path / "equal.toml").write_text('[[equal]]\nprograms = ["first", "second"]\nwhy = "same bits"\n')
    monkeypatch.setattr(fingerprint, "files", lambda package: tmp_path)
    assert [fingerprint.equal_to(name) for name in ("first", "second", "third")] == ["first", "first", "third"]


# After 100 steps of each of three trainings: the sum of the parameters and that of their sizes. A change of code that
# leaves them as they are to within rounding may be recorded in equal.toml; one that does not must not be.
AFTER_100_STEPS = {
    "clean": (-1.3327, 646.2684),
    "adversarial": (-1.1131, 640.4128),
    "multi-prediction": (1.6473, 220.0261),
}


@pytest.mark.parametrize("objective", AFTER_100_STEPS)
def test_the_parameters_after_100_steps(tmp_path, monkeypatch, objective):
    use(monkeypatch, tiny_mnist(200, 100, 100))
    options = {"eps": 0.25, "alpha": 0.5} if objective == "adversarial" else {}
    recipe = replace(SMALL, objective=objective, options=options)
    if objective == "multi-prediction":
        recipe = replace(recipes.mp_dbm(TINY, 0), batch=SMALL.batch)
    recipe = replace(recipe, epochs=25)  # of four steps each
    named = named_parameters(Lab(tmp_path).network(recipe))
    # but for a machine's visible biases, which are large wherever pixels are always black
    found = [p.data.astype("float64") for name, p in named.items() if name != "layers.0.b_v"]
    sums = sum(float(a.sum()) for a in found), sum(float(abs(a).sum()) for a in found)
    assert sums == pytest.approx(AFTER_100_STEPS[objective], rel=1e-4, abs=0.05)


def written(folder, files):
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


OWN = {
    "own_study/__init__.py": "",
    "own_study/claims.py": "import numpy\nfrom . import numbers_of\nfrom .deep.inside import one\n",
    "own_study/numbers_of.py": "HALF = 0.5\ndef number():\n    from own_study import late\n    import beside_it\n",
    "own_study/late.py": "LATE = 1",
    "own_study/deep/__init__.py": "",
    "own_study/deep/inside.py": "from ..above import two\nfrom .. import further\none = two",
    "own_study/above.py": "two = 2",
    "own_study/further.py": "three = 3",
    "own_study/another.py": "never = 'imported'",
    "beside_it.py": "x = 1",
    "apart_from_it.py": "y = 1",
}


def test_a_module_of_one_s_own_has_all_that_it_imports_in_its_fingerprint(tmp_path, monkeypatch):
    written(tmp_path, OWN)
    monkeypatch.syspath_prepend(tmp_path)
    module = importlib.import_module("own_study.claims")
    files = [path.relative_to(tmp_path).as_posix() for path in fingerprint.imported_files(module)]
    assert files == sorted(OWN.keys() - {"own_study/another.py", "apart_from_it.py"})
    before = fingerprint.measuring(module)
    assert before == fingerprint.measuring(module)
    for name in files:
        written(tmp_path, {name: OWN[name] + "\nCHANGED = 1\n"})
        assert fingerprint.measuring(module) != before, name
        written(tmp_path, {name: OWN[name] + "\n# a comment\n"})
        assert fingerprint.measuring(module) == before, name
    written(tmp_path, {"own_study/another.py": "other = 1"})
    assert fingerprint.measuring(module) == before
