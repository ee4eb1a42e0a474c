"""One's own claims: the worked example runs as a command, and what is wrong with a file or a module is one line."""

import csv
import io
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from inline import Inline
from tiny import TINY, tiny_mnist, use

from tinyadv.cli import main
from tinyadv.paper import claims as registry
from tinyadv.paper.draw import drawings
from tinyadv.paper.lab import Lab
from tinyadv.paper.measure import MEASURES
from tinyadv.paper.measure.common import Measure
from tinyadv.paper.profiles import PROFILES
from tinyadv.paper.results import Measurement, Result
from tinyadv.paper.results_file import committed, save_results
from tinyadv.paper.run import plan, reproduce
from tinyadv.paper.show.text import COLUMNS, csv_table
from tinyadv.paper.workers import Extension

HERE = Path(__file__).parent
TEXT = (HERE / "own_claims.toml").read_text("utf-8")


@pytest.fixture(autouse=True)
def as_before(monkeypatch):
    """What an extension adds is there for this test alone."""
    monkeypatch.chdir(HERE)
    monkeypatch.setattr(sys, "path", list(sys.path))
    before = [(table, dict(table)) for table in (registry.claims(), MEASURES, drawings())]
    yield
    for table, content in before:
        table.clear()
        table.update(content)


def test_the_worked_example_is_measured_drawn_and_reported(tmp_path, monkeypatch):
    use(monkeypatch, tiny_mnist(200, 100, 100))
    monkeypatch.setitem(PROFILES, "tiny", TINY)
    job = plan([], "tiny", None, "cpu", tmp_path, extension=Extension(TEXT, "own_claims"))
    assert job.ids == ("half-the-size",)
    results, failed = reproduce(job, lambda text: None, Inline(Lab(tmp_path / "networks")))
    assert not failed
    (m,) = results["half-the-size"].measurements
    assert m.details["error"][2] == m.values["error"]
    assert m.details["error"] == sorted(m.details["error"])
    assert m.details["error"][0] < m.details["error"][-1]
    assert (tmp_path / "figures/half-the-size.png").exists()
    assert 'id="half-the-size"' in (tmp_path / "report.html").read_text("utf-8")
    lines = list(csv.DictReader(io.StringIO(csv_table(results, ["half-the-size"]))))
    assert [line["quantity"] for line in lines] == ["holds", "error"]


def test_only_chooses_among_ones_own_claims_and_the_papers(tmp_path):
    extension = Extension(TEXT, "own_claims")
    for ids in (["half-the-size"], ["fgsm-softmax", "half-the-size"]):
        assert plan(ids, "quick", None, "cpu", tmp_path, extension=extension).ids == tuple(ids)
    with pytest.raises(ValueError, match="no claim 'half-the-sise': did you mean half-the-size"):
        plan(["half-the-sise"], "quick", None, "cpu", tmp_path, extension=extension)


def test_the_worked_example_is_30_lines_and_stands_in_the_guide():
    guide = (HERE.parents[1] / ".github/CONTRIBUTING.md").read_text("utf-8")
    code = (HERE / "own_claims.py").read_text("utf-8")
    assert len([line for line in f"{TEXT}{code}".splitlines() if line]) <= 30
    assert f"```toml\n{TEXT}```" in guide
    assert f"```python\n{code}```" in guide
    assert [name for name in COLUMNS if f"`{name}`" not in guide] == []


@pytest.mark.parametrize(
    ("text", "module", "message"),
    [
        ("nonsense", "own_claims", "claims.toml is not TOML: Expected '='"),
        (TEXT.replace("kind", "knd"), "own_claims", "half-the-size: unknown key 'knd'"),
        (TEXT.replace("{error}", "{eror}"), "own_claims", "the note on half-the-size has the placeholder {eror}"),
        (
            TEXT.replace("half-the-size", "fgsm-softmax"),
            "own_claims",
            "fgsm-softmax: the paper's claims have this id already",
        ),
        (TEXT.replace("half-the-size", '"../up"'), "own_claims", "a claim's id is letters, digits, '.', '_' and '-'"),
        (TEXT, "own_claims.py", "--module own_claims.py: wanted the name of a module, my.claims for my/claims.py"),
        (TEXT, "no_such_module", "--module no_such_module cannot be imported: No module named"),
        (TEXT, "tiny", "--module tiny has no function that measures half-the-size"),
    ],
)
def test_what_is_wrong_is_one_line(tmp_path, text, module, message):
    out = tmp_path / "out"
    with pytest.raises(ValueError, match=message.replace("(", r"\(")) as caught:
        plan([], "quick", None, "cpu", out, extension=Extension(text, module))
    assert "\n" not in str(caught.value)
    assert not out.exists()


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("def f(:", "invalid syntax (broken.py, line 1)"),
        ("import math\nmath.foo", "AttributeError: module 'math' has no attribute 'foo' ("),
        ("import nowhere", "No module named 'nowhere'"),
    ],
)
def test_a_module_that_is_broken_is_one_line_too(tmp_path, monkeypatch, code, message):
    (tmp_path / "broken.py").write_text(code, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ValueError, match=re.escape(f"--module broken cannot be imported: {message}")) as caught:
        plan([], "quick", None, "cpu", tmp_path / "out", extension=Extension(TEXT, "broken"))
    assert "\n" not in str(caught.value)
    if "math" in code:
        assert str(caught.value).endswith(f"({tmp_path / 'broken.py'}, line 2)")


def test_a_measuring_function_that_gives_no_measurement_is_told_so(tmp_path, monkeypatch):
    monkeypatch.setitem(PROFILES, "tiny", TINY)
    job = plan([], "tiny", None, "cpu", tmp_path, extension=Extension(TEXT, "own_claims"))
    # `as_before` takes it away; monkeypatch would bring back, later than that, what the job has put there
    MEASURES["half-the-size"] = Measure("half-the-size", lambda lab, seed: None, lambda *_: {})
    monkeypatch.setattr(Extension, "load", lambda self: ["half-the-size"])
    _, failed = reproduce(job, lambda text: None, Inline(Lab(tmp_path / "networks")))
    assert failed["half-the-size"].startswith("TypeError: what measures half-the-size gives a Measurement, as values.")


OTHERS = """
from tinyadv.paper.draw import draws
from tinyadv.paper.measure import measures
from tinyadv.paper.results import Measurement

def networks(profile, seed):
    return {NETWORKS}

@measures("half-the-size", networks)
def measured(lab, seed):
    return Measurement({"error": 0.5}, holds=HOLDS, details={"a": 1})

@draws("DRAWN", "title", "caption")
def drawn(canvas, details):
    canvas.nonsense
"""


def other(tmp_path, monkeypatch, **changes):
    """A job of a module that is not quite right, and what it gives."""
    text = OTHERS
    for name, new in ({"NETWORKS": "", "HOLDS": "True", "DRAWN": "half-the-size"} | changes).items():
        text = text.replace(name, new)
    (tmp_path / "others.py").write_text(text, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "others", raising=False)
    monkeypatch.setitem(PROFILES, "tiny", TINY)
    job = plan([], "tiny", None, "cpu", tmp_path / "out", extension=Extension(TEXT, "others"))
    return reproduce(job, lambda text: None, Inline(Lab(tmp_path / "networks")))


def test_a_number_is_kept_where_its_figure_cannot_be_drawn(tmp_path, monkeypatch):
    results, failed = other(tmp_path, monkeypatch)
    assert results["half-the-size"].measurements[0].values == {"error": 0.5}
    assert failed["half-the-size"].startswith("AttributeError")


def test_a_type_that_no_file_holds_is_the_claims_mistake(tmp_path, monkeypatch):
    results, failed = other(tmp_path, monkeypatch, HOLDS="1")
    assert "half-the-size" not in results
    assert failed["half-the-size"].startswith("ResultsError")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"NETWORKS": "1 / 0"}, "the networks of half-the-size cannot be named: ZeroDivisionError: division by zero ("),
        ({"DRAWN": "half-the-sise"}, "--module others draws half-the-sise, which it does not measure"),
    ],
)
def test_networks_and_figures_are_checked_before_any_work(tmp_path, monkeypatch, changes, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        other(tmp_path, monkeypatch, **changes)


def test_a_claim_of_ones_own_may_change_and_the_papers_may_not():
    (claim,) = registry.add(TEXT).values()
    (changed,) = registry.add(TEXT.replace("More than half", "More than a third")).values()
    assert registry.claims()["half-the-size"] == changed != claim


@pytest.fixture
def typed(capsys, tmp_path):
    """What `tinyadv claims` prints with these options, of the run in tmp_path."""

    def run(*options):
        with pytest.raises(SystemExit) as ended:
            main(["claims", *options, "--out", str(tmp_path)])
        assert not ended.value.code
        return capsys.readouterr().out

    return run


def test_claims_lists_ones_own_with_their_numbers(tmp_path, typed):
    value = Measurement({"error": 0.875}, holds=True)
    result = Result("half-the-size", "quick", "cpu", [0], [value])
    save_results(tmp_path / "results.json", {"half-the-size": result}, {})
    for ids in ([], ["half-the-size"]):
        said = " ".join(typed(*ids, "--claims", "own_claims.toml").split())
        assert "FGSM(0.125) error 87.5 %" in said
        assert "1 claim: 1 reproduced." in said
        assert "fgsm-softmax (" not in said
    assert "half-the-size,4,error,FGSM(0.125) error,percent,,,0.875" in typed("--claims", "own_claims.toml", "--csv")
    for form in ("--json", "--csv", "--markdown", "--latex"):
        said = typed("--claims", "own_claims.toml", form)
        assert "half-the-size" in said
        assert "fgsm-maxout" not in said


def test_claims_says_whose_numbers_it_shows(tmp_path, typed):
    def said(*ids):
        return "".join(typed(*ids).split())

    assert "Ours:aspublishedwiththepackage." in said("fgsm-softmax")
    save_results(tmp_path / "results.json", {"fgsm-softmax": committed()["fgsm-softmax"]}, {})
    path = str(tmp_path / "results.json")
    assert f"Ours:from{path}." in said("fgsm-softmax")
    for ids in ([], ["fgsm-softmax", "fgsm-maxout"]):
        assert f"Ours:aspublishedwiththepackage,butfrom{path}forfgsm-softmax." in said(*ids)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            ("--claims", "own_claims.toml"),
            "--claims and --module belong together: what the claims are, and what measures",
        ),
        (("--module", "own_claims"), "--claims and --module belong together"),
        (("--claims", "nowhere.toml", "--module", "own_claims"), "--claims nowhere.toml cannot be read: "),
        (("--claims", "own_claims.py", "--module", "own_claims"), "--claims own_claims.py is not TOML: Expected '='"),
    ],
)
def test_on_the_command_line_too(tmp_path, options, message):
    command = [sys.executable, "-m", "tinyadv", "reproduce", "--out", str(tmp_path / "out"), *options]
    done = subprocess.run(command, cwd=HERE, capture_output=True, text=True, check=False, env={**os.environ})
    assert done.returncode == 2
    assert done.stderr.startswith(f"tinyadv: {message}")
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("form", ["--json", "--csv", "--markdown", "--latex"])
def test_claims_are_listed_in_every_form(tmp_path, form):
    command = [sys.executable, "-m", "tinyadv", "claims", "fgsm-maxout", "--out", str(tmp_path), form]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "fgsm-maxout" in done.stdout
    if form == "--json":
        (claim,) = json.loads(done.stdout)
        assert len(claim["quantities"][0]["values"]) == len(claim["seeds"]) >= 3
    done = subprocess.run([*command, "--csv", "--json"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (
        2,
        "tinyadv: wanted at most one of --json, --csv, --markdown and --latex\n",
    )


def test_a_file_without_claims_measures_nothing(tmp_path):
    with pytest.raises(ValueError, match=r"^empty\.toml has no claims"):
        plan(
            [],
            "quick",
            None,
            "cpu",
            tmp_path / "out",
            extension=Extension("# nothing yet\n", "own_claims", "empty.toml"),
        )
