"""The command line: what is wrong with the input is one line and exit code 2, before any work and any writing."""

from __future__ import annotations

import io
import json
import os
import re
import subprocess
import sys
import threading
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import typer

import tinyadv
from tinyadv import cli, course, models
from tinyadv.backend import generator
from tinyadv.command_line import check_folder
from tinyadv.course.grade import grade
from tinyadv.machine import cores
from tinyadv.paper.claims import claims
from tinyadv.paper.lab import Lab
from tinyadv.paper.measure import MEASURES
from tinyadv.paper.results import STATUSES
from tinyadv.paper.results_file import committed
from tinyadv.storage import StorageError
from tinyadv.training import DivergedError

IDS = tuple(claims())
PROCESSES = f"{cores()} process{'es' * (cores() != 1)}"


@pytest.fixture
def command(capsys, monkeypatch, tmp_path):
    """`command(*arguments)`: the exit code, standard output and standard error of `tinyadv`, run in an empty folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "100")

    def run(*arguments: object) -> tuple[int | str | None, str, str]:
        capsys.readouterr()
        with pytest.raises(SystemExit) as end:
            cli.main(list(map(str, arguments)))
        out, err = capsys.readouterr()
        return end.value.code or 0, out, err

    return run


@pytest.fixture
def jobs(monkeypatch):
    """The jobs that `reproduce` would run, instead of running them."""
    kept = []
    monkeypatch.setattr("tinyadv.paper.run.reproduce", lambda job, say: (kept.append(job) or {}, {}))
    return kept


@pytest.fixture
def no_training(monkeypatch):
    monkeypatch.setattr(Lab, "network", lambda *_: pytest.fail("a network was trained"))


@pytest.fixture
def files(tmp_path):
    """Good and bad files to name on the command line."""
    model = models.softmax_regression(rng=generator(0))
    tinyadv.save(model, tmp_path / "good.safetensors")
    tinyadv.save(models.softmax_regression(inputs=10, rng=generator(0)), tmp_path / "small.safetensors")
    whole = (tmp_path / "good.safetensors").read_bytes()
    (tmp_path / "cut.safetensors").write_bytes(whole[:-100])
    (tmp_path / "flipped.safetensors").write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    (tmp_path / "file").write_text("not a folder, not a network")
    (tmp_path / "damaged").mkdir()
    (tmp_path / "damaged" / "results.json").write_text('{"format": "tinyadv results 2"}')
    return tmp_path


def snapshot(folder: Path) -> dict[Path, bytes | None]:
    return {path: path.read_bytes() if path.is_file() else None for path in folder.rglob("*")}


def not_measured() -> str:
    return next((name for name in IDS if name not in MEASURES), "")


BAD = [
    ("bogus", "bogus"),
    ("--bogus", "--bogus"),
    ("reproduce --bogus", "--bogus"),
    ("reproduce extra", "extra"),
    ("reproduce --only nonsense", "no claim 'nonsense'"),
    ("reproduce --only fgsm-sofmax", "no claim 'fgsm-sofmax': did you mean fgsm-softmax"),
    ("reproduce --only linear-growth,nonsense", "no claim 'nonsense'"),
    ("reproduce --only linear-growth --only nonsense", "no claim 'nonsense'"),
    ("reproduce --only ,", "no claim ''"),
    ("reproduce --only=", "no claim ''"),
    ("reproduce --profile fast", "unknown profile 'fast': there are quick, lesson, paper"),
    ("reproduce --seeds 0", "at least 1, got 0"),
    ("reproduce --seeds -3", "at least 1, got -3"),
    ("reproduce --seeds many", "'--seeds': wanted a whole number, got 'many'"),
    ("reproduce --seeds 2.5", "'--seeds': wanted a whole number, got '2.5'"),
    ("reproduce --device tpu", "unknown device 'tpu': wanted 'cpu' or 'cuda'"),
    ("reproduce --device cuda", "device 'cuda' needs CuPy, which is not installed"),
    ("reproduce --out file", "the output folder file cannot be written: File exists"),
    ("reproduce --out file/x/y", "the output folder file/x/y cannot be written: Not a directory"),
    ("reproduce --workers 0", "--workers is at least 1, got 0"),
    ("reproduce --workers all", "'--workers': wanted a whole number, got 'all'"),
    ("reproduce --workers 2 --scheduler tcp://127.0.0.1:1", "either --workers here or"),
    (
        "reproduce --scheduler tcp://127.0.0.1:1",
        "needs dask.distributed, which is not installed: pip install 'tinyadv[cluster]'",
    ),
    ("claims nonsense", "no claim 'nonsense'"),
    ("claims linear-growh", "did you mean linear-growth"),
    ("claims --out damaged", "results.json is damaged"),
    ("attack", "'NETWORK'"),
    ("attack nowhere.safetensors", "nowhere.safetensors does not exist"),
    ("attack file", "file is not a readable safetensors file"),
    ("attack damaged", "damaged is not a readable safetensors file"),
    ("attack cut.safetensors", "cut.safetensors is not a readable safetensors file"),
    ("attack flipped.safetensors", "flipped.safetensors is damaged"),
    ("attack small.safetensors", "takes x of shape (N, 10), got (1, 784)"),
    ("attack good.safetensors --eps -0.1", "a finite number >= 0, got -0.1"),
    ("attack good.safetensors --eps nan", "a finite number >= 0, got nan"),
    ("attack good.safetensors --eps inf", "a finite number >= 0, got inf"),
    ("attack good.safetensors --eps 1e30", "pixels, which run from 0 to 1: at most 1, got 1e+30"),
    ("attack good.safetensors --eps little", "'--eps': wanted a number, got 'little'"),
    ("attack good.safetensors --images 0", "images is 1 to 10,000, got 0"),
    ("attack good.safetensors --images 10001", "images is 1 to 10,000, got 10001"),
    ("attack good.safetensors --images few", "'--images': wanted a whole number, got 'few'"),
    ("attack good.safetensors --method bim", "unknown method 'bim': there are fgsm, pgd"),
    ("attack good.safetensors --out file", "--out file: wanted a folder"),
    ("lesson 0", "there is no lesson 0: there are 1, "),
    ("lesson 99", "there is no lesson 99"),
    ("lesson one", "wanted a whole number, got 'one'"),
    ("course export damaged", "damaged is not empty: wanted a new folder, or an empty one"),
    ("course solutions damaged", "damaged is not empty"),
    ("course export file", "file is a file: wanted a new folder"),
    ("course export", "'DIR'"),
    ("course grade nowhere", "nowhere is no folder"),
    ("course grade damaged --lesson 77", "there are no exercises of lesson 77"),
    ("course grade damaged --lesson first", "wanted a whole number, got 'first'"),
    ("course grade damaged --json file/x.json", "wanted a folder, but"),
]


@pytest.mark.parametrize(("line", "said"), BAD)
def test_bad_input_is_one_line_and_nothing_happens(line, said, command, files, no_training, monkeypatch):
    for name in ("cupy", "distributed"):
        monkeypatch.setitem(sys.modules, name, None)  # as where it is not installed
    before = snapshot(files)
    code, out, err = command(*line.split())
    assert (code, out) == (2, "")
    assert err.startswith("tinyadv: ")
    assert err.count("\n") == 1
    assert said in err
    assert snapshot(files) == before


def test_a_claim_that_nothing_measures_is_named(command, no_training, tmp_path):
    if not not_measured():
        pytest.skip("every claim is measured")
    code, _, err = command("reproduce", "--only", not_measured())
    assert code == 2
    assert f"nothing measures {not_measured()} yet" in err
    assert not list(tmp_path.iterdir())


def test_a_folder_that_cannot_be_written(command, no_training, tmp_path, monkeypatch):
    def refuse(*_, **__):  # root may write anywhere
        raise PermissionError(13, "Permission denied", "locked")

    monkeypatch.setattr(Path, "mkdir", refuse)
    code, out, err = command("reproduce", "--out", "locked")
    assert (code, out) == (2, "")
    assert err == "tinyadv: the output folder locked cannot be written: Permission denied\n"
    assert not list(tmp_path.iterdir())


def test_a_folder_that_turns_out_to_be_unwritable(command, no_training, monkeypatch):
    def refuse(*_, **__):
        raise OSError(30, "Read-only file system", "new")

    monkeypatch.setattr(Path, "mkdir", refuse)
    code, _, err = command("reproduce", "--out", "new")
    assert (code, err) == (2, "tinyadv: the output folder new cannot be written: Read-only file system\n")


# ---------------------------------------------------------------------------------------------------------
# reproduce


@pytest.mark.parametrize(
    "only",
    [
        ["--only", "fgsm-softmax,linear-growth"],
        ["--only", "fgsm-softmax", "--only", "linear-growth"],
        ["--only=fgsm-softmax, linear-growth", "--only", "linear-growth"],
    ],
)
def test_only_takes_ids_one_by_one_or_with_commas(only, command, jobs):
    code, out, err = command("reproduce", *only)
    assert code == 0
    assert jobs[0].ids == ("linear-growth", "fgsm-softmax")
    assert err == f"2 claims, profile quick, seed 0, on cpu, {PROCESSES}\n"
    assert "linear-growth" in out
    assert "2 claims: 2 not run" in out


def test_the_defaults_and_all_the_options(command, jobs, tmp_path):
    _, out, _ = command("reproduce")
    _, _, err = command("reproduce", "--profile", "lesson", "--seeds", 2, "--out", "a/b", "--only", "linear-growth")
    default, chosen = jobs
    assert default.ids == tuple(name for name in IDS if name in MEASURES and MEASURES[name].quick)
    assert (default.workers, default.scheduler) == (cores(), None)
    assert (default.profile.name, default.seeds, default.device, default.out) == ("quick", (0,), "cpu", cli.OUT)
    assert (chosen.profile.name, chosen.seeds, chosen.ids) == ("lesson", (0, 1), ("linear-growth",))
    assert chosen.out == Path("a/b")
    assert (tmp_path / "a" / "b").is_dir()
    assert err == f"1 claim, profile lesson, seeds 0, 1, on cpu, {PROCESSES}\n"
    _, _, err = command("reproduce", "--workers", "7", "--only", "linear-growth")
    assert (jobs[2].workers, err) == (7, "1 claim, profile quick, seed 0, on cpu, 7 processes\n")
    _, _, err = command("reproduce", "--units", "24", "--only", "linear-growth")
    assert (jobs[3].profile.name, jobs[3].profile.units) == ("quick", 24)
    assert err == f"1 claim, profile quick with 24 units, seed 0, on cpu, {PROCESSES}\n"
    for name in ("report.html", "figures", "results.json", "networks"):
        assert str(cli.OUT / name) in out


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (DivergedError("J became nan in epoch 1"), 1, "J became nan in epoch 1"),
        (StorageError("x.checkpoint is damaged"), 2, "x.checkpoint is damaged"),
        (OSError(28, "No space left on device", "out/results.json"), 2, "out/results.json: No space left on device"),
        (OSError("no more"), 2, "no more"),
        (KeyboardInterrupt(), 130, "interrupted; the same command goes on from here"),
    ],
)
def test_what_stops_the_work_is_one_line(error, code, said, command, monkeypatch):
    def stop(*_):
        raise error

    monkeypatch.setattr("tinyadv.paper.run.reproduce", stop)
    found, out, err = command("reproduce", "--only", "linear-growth")
    assert (found, out) == (code, "")
    assert err.splitlines()[1:] == [f"tinyadv: {said}"]


@pytest.mark.parametrize("error", [KeyboardInterrupt, typer.Abort])
def test_an_interruption_before_the_work_is_one_line_too(error, command, monkeypatch):
    def stop(*_, **__):
        raise error

    monkeypatch.setattr(cli, "app", stop)
    assert command("reproduce") == (130, "", "tinyadv: interrupted\n")


def test_a_bug_keeps_its_traceback(monkeypatch, tmp_path):
    def stop(*_):
        raise ValueError("shapes do not fit")

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("tinyadv.paper.run.reproduce", stop)
    with pytest.raises(ValueError, match="shapes do not fit"):
        cli.main(["reproduce", "--only", "linear-growth"])


def test_reproduce_says_how_many_claims_it_leaves_out(command, monkeypatch):
    monkeypatch.setattr("tinyadv.paper.run.reproduce", lambda job, say: ({}, {}))
    _, out, err = command("reproduce", "--out", "out")
    measured = int(re.match(r"(\d+) claims, profile quick", err)[1])
    assert f"The paper's other {len(IDS) - measured} claims are not in this run" in out
    assert "not in this run" not in command("reproduce", "--only", "linear-growth", "--out", "out")[1]


def test_reproduce_measures_prints_and_writes(command, tmp_path):
    code, out, err = command("reproduce", "--only", "linear-growth", "--out", "out")
    assert code == 0
    assert "linear-growth: measured in" in err
    assert "1 claim: 1 reproduced" in out
    wanted = {".lock", "figures", "measurements", "report.html", "results.json"}
    assert {path.name for path in (tmp_path / "out").iterdir()} == wanted
    _, table, _ = command("claims", "linear-growth", "--out", "out")
    assert "reproduced" in table
    assert "What they cost: Measuring took" in table
    assert "What they cost: not recorded." in command("claims", "linear-growth")[1]
    _, text, _ = command("claims", "linear-growth", "--out", "out", "--json")
    (entry,) = json.loads(text)
    assert (entry["status"], entry["profile"], entry["seeds"]) == ("reproduced", "quick", [0])
    assert entry["quantities"][1]["ours"] == pytest.approx(1)
    assert entry["ours"]["statement"] == "holds"


# ---------------------------------------------------------------------------------------------------------
# claims, attack, lesson, and none of them


@pytest.mark.parametrize("width", [40, 60, 80, 120, 200])
def test_the_table_of_claims_fits_its_terminal(width, command, monkeypatch):
    monkeypatch.setenv("COLUMNS", str(width))
    code, out, _ = command("claims")
    assert code == 0
    assert max(map(len, out.splitlines())) <= width
    words = out.split()
    # an objective may have the name of a claim: "through-attack training" in the scale of a run is not its row
    rows = [name for name, after in pairwise(words) if name in IDS and after != "training"]
    assert rows == list(IDS)  # each once, in the paper's order
    assert f"{len(IDS)} claims" in out


def test_claims_as_json(command):
    code, out, err = command("claims", "--json")
    entries = json.loads(out)
    assert (code, err) == (0, "")
    assert [entry["id"] for entry in entries] == list(IDS)
    for entry in entries:
        claim = claims()[entry["id"]]
        assert entry["paper"] == claim.paper
        assert entry["definition"] == " ".join(claim.definition.split())
        assert entry["status"] in STATUSES
        assert (entry["ours"] is None) == (entry["profile"] is None)
        assert [(q["name"], q["paper"]) for q in entry["quantities"]] == [(q.name, q.paper) for q in claim.quantities]
    assert "\\u" not in out, "readable without decoding"


def test_claims_describes_what_was_asked_for(command):
    code, out, _ = command("claims", "logistic-exact")
    assert code == 0
    text = " ".join(out.split())
    for part in (claims()["logistic-exact"].claim, claims()["logistic-exact"].definition):
        assert " ".join(part.split()) in text
    assert "Has to hold, for every seed" in text
    assert "fgsm-softmax" not in out


def test_claims_reads_a_reader_that_left(tmp_path):
    """`tinyadv claims --json | head -1` ends without a word."""
    process = subprocess.Popen(
        [sys.executable, "-c", "from tinyadv.cli import main; main()", "claims", "--json"],
        cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    process.stdout.close()
    assert process.stderr.read() == b""
    process.stderr.close()
    assert process.wait() == 1


def test_attack_writes_a_picture_and_an_npz(command, files):
    code, out, err = command(
        "attack", "good.safetensors", "--eps", "0.1", "--images", "3", "--clip", "--out", "new/one"
    )
    assert (code, err) == (0, "")
    assert "eps 0.1, clipped to [0, 1], 3 test images" in out
    assert {path.name for path in (files / "new" / "one").iterdir()} == {"attack.npz", "attack.png"}
    with np.load(files / "new" / "one" / "attack.npz") as data:
        assert data["x_adv"].shape == (3, 784)


def test_lesson_lists_lessons(command):
    code, out, _ = command("lesson")
    assert code == 0
    assert "lesson01_linear.py" in out
    assert "   3  Following the gradient of the input" in out


def test_a_lesson_interrupted(command, monkeypatch):
    def stop(path, profile):
        raise KeyboardInterrupt

    monkeypatch.setattr("tinyadv.course.run_lesson", stop)
    assert command("lesson", "1") == (130, "", "tinyadv: interrupted\n")


def test_alone_it_says_what_one_can_do(command):
    code, out, err = command()
    assert (code, err) == (0, "")
    offered = {line.split()[1] for line in out.splitlines() if line.startswith("  tinyadv ")}
    assert offered == {"lesson", "course", "explore", "reproduce", "claims", "attack", "audit", "doctor"}
    assert max(map(len, out.splitlines())) <= 100


def test_help_lists_all_commands(command):
    code, out, err = command("--help")
    assert (code, err) == (0, "")
    assert command("-h") == (0, out, "")
    for name in ("reproduce", "claims", "attack", "lesson", "course", "doctor", "bench", "--version"):
        assert name in out


@pytest.mark.parametrize("name", ["reproduce", "claims", "attack", "lesson", "course", "doctor", "bench"])
def test_every_command_has_help(name, command):
    code, out, err = command(name, "--help")
    assert (code, err) == (0, "")
    assert f"tinyadv {name}" in out
    assert "..." not in command("--help")[1].replace("[ARGS]...", ""), "a summary that is cut off"


def test_version(command):
    assert command("--version") == (0, f"tinyadv {tinyadv.__version__}\n", "")


# ---------------------------------------------------------------------------------------------------------
# Real processes


def process(code: str, *arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """`tinyadv arguments` in a process of its own, `code` first."""
    return subprocess.run(
        [sys.executable, "-c", f"{code}\nfrom tinyadv.cli import main; main()", *arguments],
        cwd=cwd, capture_output=True, text=True, encoding="utf-8", check=False,
    )  # fmt: skip


def test_a_real_process_says_one_line_too(tmp_path):
    done = process("", "reproduce", "--only", "fgsm-sofmax", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("tinyadv: no claim 'fgsm-sofmax': did you mean fgsm-softmax")
    assert done.stderr.count("\n") == 1
    assert not list(tmp_path.iterdir())


# ---------------------------------------------------------------------------------------------------------
# Wherever it runs: any encoding of standard output, any MPLBACKEND, any thread, any kind of output file


def tinyadv_in(cwd: Path, *arguments: str, stdout=subprocess.PIPE, **environment: str):
    """`python -m tinyadv`, in a process of its own; standard output as bytes."""
    return subprocess.run(
        [sys.executable, "-m", "tinyadv", *arguments], cwd=cwd, stdout=stdout, stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(Path(tinyadv.__file__).parents[1]), **environment}, check=False,
    )  # fmt: skip


@pytest.fixture(scope="module")
def handed_in(tmp_path_factory):
    """What a student handed in whose first lesson says something with an umlaut and a Greek letter when it fails."""
    folder = tmp_path_factory.mktemp("handed in")
    source = course.path_of(1).read_text(encoding="utf-8")
    block = re.compile(r"( *)### BEGIN SOLUTION\n.*?### END SOLUTION\n", re.DOTALL)
    (folder / "lesson01_linear.py").write_text(
        block.sub(r'\1raise ValueError("zu groß: ε")' + "\n", source), encoding="utf-8"
    )
    return folder


@pytest.fixture(scope="module")
def graded(handed_in):
    """What grading that gives, found once: what is tested with it is how it is written and printed."""
    return grade(handed_in, [1])


ENCODINGS = ["cp1252", "cp437", "ascii"]


@pytest.fixture
def printed(command, monkeypatch):
    """`printed(encoding, *arguments)`: the exit code and the bytes on a standard output of this encoding."""

    def run(encoding: str, *arguments: object) -> tuple[int | str | None, bytes]:
        content = io.BytesIO()
        with monkeypatch.context() as patch:
            stream = io.TextIOWrapper(content, encoding=encoding)
            patch.setattr(sys, "stdout", stream)
            code, _, _ = command(*arguments)
            stream.flush()
        return code, content.getvalue()

    return run


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("line", ["claims", "claims fgsm-softmax", "lesson", "lesson 1", "--help", "course"])
def test_no_character_is_worth_a_traceback(line, encoding, printed):
    code, content = printed(encoding, *line.split())
    assert code == 0
    assert len(content.decode(encoding, "replace")) > 100


# In processes of their own, each command in one encoding, the others where slow tests are run
REAL = [pytest.param(name, marks=() if name == "ascii" else pytest.mark.slow) for name in ENCODINGS]


@pytest.mark.parametrize("encoding", REAL)
def test_a_process_with_another_encoding_lists_the_lessons(tmp_path, encoding):
    done = tinyadv_in(tmp_path, "lesson", PYTHONIOENCODING=encoding)
    assert (done.returncode, done.stderr) == (0, b"")
    assert b"lesson01_linear.py" in done.stdout


@pytest.mark.slow
@pytest.mark.parametrize("encoding", ENCODINGS)
def test_a_process_with_another_encoding_runs_a_lesson(tmp_path, encoding):
    done = tinyadv_in(tmp_path, "lesson", "1", PYTHONIOENCODING=encoding)
    assert (done.returncode, done.stderr) == (0, b"")
    assert "? = [0.25, 0.25, 0.25]" in done.stdout.decode(encoding)  # eta
    assert "lesson01_digits.png" in done.stdout.decode(encoding)


@pytest.mark.parametrize("encoding", REAL)
def test_json_of_a_process_loses_no_character(tmp_path, encoding):
    done = tinyadv_in(tmp_path, "claims", "--json", PYTHONIOENCODING=encoding)
    assert (done.returncode, done.stderr) == (0, b"")
    assert [entry["paper"] for entry in json.loads(done.stdout)] == [claim.paper for claim in claims().values()]
    assert any(not claim.paper.isascii() for claim in claims().values())


@pytest.mark.parametrize("encoding", REAL)
def test_a_process_that_grades_in_another_encoding_loses_no_word_of_a_student(tmp_path, handed_in, encoding):
    line = ("course", "grade", str(handed_in), "--lesson", "1", "--json", "g.json")
    done = tinyadv_in(tmp_path, *line, PYTHONIOENCODING=encoding)
    assert (done.returncode, done.stderr) == (0, b"")
    assert "zu groß: ε" in json.loads((tmp_path / "g.json").read_text("utf-8"))["exercises"][0]["feedback"]
    shown = {"ascii": "zu gro?: ?", "cp1252": "zu groß: ?", "cp437": "zu groß: ε"}
    assert shown[encoding] in done.stdout.decode(encoding)


def reproduced_in(cwd, **options):
    """A quick claim of a small world, measured and written by a process of its own."""
    world = Path(__file__).parent / "paper" / "world.py"
    path = os.pathsep.join([str(Path(tinyadv.__file__).parents[1]), str(world.parent)])
    return subprocess.run(
        [sys.executable, str(world), "reproduce", "--only", "rubbish-softmax", "--out", "out", "--seeds", "1"], cwd=cwd,
        stderr=subprocess.PIPE, env={**os.environ, "PYTHONPATH": path, "PYTHONIOENCODING": options.pop("encoding")},
        check=False, **options,
    )  # fmt: skip


@pytest.mark.parametrize("encoding", REAL)
def test_a_process_that_measures_in_another_encoding_writes_and_says_everything(tmp_path, encoding):
    done = reproduced_in(tmp_path, encoding=encoding, stdout=subprocess.PIPE)
    said = done.stdout.decode(encoding)
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in said + done.stderr.decode(encoding)
    assert "1 claim: " in said
    assert "§" in (tmp_path / "out" / "report.html").read_text("utf-8")
    assert "rubbish-softmax" in (tmp_path / "out" / "results.json").read_text("utf-8")


@pytest.mark.slow
@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a device that takes nothing")
def test_what_was_measured_is_in_its_files_before_the_screen_takes_nothing_more(tmp_path):
    with open("/dev/full", "w") as full:
        done = reproduced_in(tmp_path, encoding="ascii", stdout=full)
    assert done.returncode != 0
    assert {"report.html", "results.json"} <= {path.name for path in (tmp_path / "out").iterdir()}


@pytest.mark.parametrize("encoding", [*ENCODINGS, "utf-8"])
def test_json_on_standard_output_loses_no_character(encoding, printed):
    code, content = printed(encoding, "claims", "--json")
    entries = json.loads(content)
    assert code == 0
    assert [entry["paper"] for entry in entries] == [claim.paper for claim in claims().values()]
    assert [entry["claim"] for entry in entries] == [" ".join(claim.claim.split()) for claim in claims().values()]


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_what_was_measured_is_written_and_printed_in_any_encoding(encoding, printed, tmp_path, monkeypatch):
    measured = {"linear-growth": committed()["linear-growth"]}
    monkeypatch.setattr("tinyadv.paper.run.reproduce", lambda job, say: (measured, {}))
    code, content = printed(encoding, "reproduce", "--only", "linear-growth", "--out", "out")
    assert (code, b"1 claim: 1 reproduced" in content) == (0, True)


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_grades_are_written_whatever_a_student_says(encoding, printed, handed_in, graded, tmp_path, monkeypatch):
    monkeypatch.setattr("tinyadv.course.grade.grade", lambda *_: graded)
    code, content = printed(encoding, "course", "grade", handed_in, "--lesson", "1", "--json", "g.json")
    written = json.loads((tmp_path / "g.json").read_text(encoding="utf-8"))
    assert code == 0
    assert "zu groß: ε" in written["exercises"][0]["feedback"]
    assert "zu gro" in content.decode(encoding, "replace")


def test_grades_are_written_before_the_table_is_shown(command, handed_in, graded, tmp_path, monkeypatch):
    """Whatever happens to the table, the reader of a pipe who leaves, say, costs no file."""

    def leave(*_):
        raise BrokenPipeError(32, "Broken pipe")

    monkeypatch.setattr("tinyadv.course.grade.grade", lambda *_: graded)
    monkeypatch.setattr("tinyadv.course.scores.table", leave)
    command("course", "grade", handed_in, "--lesson", "1", "--json", "g.json", "--gradescope", "s.json")
    assert {path.name for path in tmp_path.iterdir()} == {"g.json", "s.json"}


def test_a_file_s_name_that_is_no_text_is_printed_all_the_same(tmp_path):
    """Its bytes are no UTF-8; Python has surrogates for them, which no encoding has."""
    folder = tmp_path / os.fsdecode(b"caf\xe9")
    try:
        folder.mkdir()
    except OSError:
        pytest.skip("a file system of Unicode alone")
    done = tinyadv_in(tmp_path, "course", "export", folder.name, PYTHONIOENCODING="utf-8")
    assert (done.returncode, done.stderr) == (0, b"")
    assert b"caf?/README.md" in done.stdout


def test_standard_output_is_left_as_it_was(command, monkeypatch):
    before = sys.stdout.errors
    monkeypatch.setenv("MPLBACKEND", "bogus")
    command("claims")
    assert (sys.stdout.errors, os.environ["MPLBACKEND"]) == (before, "bogus")
    monkeypatch.delenv("MPLBACKEND")
    command("claims")
    assert "MPLBACKEND" not in os.environ


@pytest.mark.parametrize(
    "line", ["lesson 1", "attack good.safetensors --images 2", "reproduce --only linear-growth --out out"]
)
def test_figures_are_written_whatever_backend_is_named(line, files):
    done = tinyadv_in(files, *line.split(), MPLBACKEND="no-such-backend")
    assert done.returncode == 0, done.stderr
    assert b"Traceback" not in done.stderr


def test_a_lesson_s_figure_is_drawn_without_the_command_too(tmp_path):
    code = "from tinyadv.course import figure\nwith figure('one.png') as canvas: canvas.subplots()"
    environment = {**os.environ, "MPLBACKEND": "no-such-backend"}
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (0, b"")
    assert (tmp_path / "tinyadv-results" / "lessons" / "one.png").exists()


def test_it_is_a_module_that_can_be_run(tmp_path):
    done = tinyadv_in(tmp_path, "--version")
    assert (done.returncode, done.stdout.decode().split()) == (0, ["tinyadv", tinyadv.__version__])
    assert tinyadv_in(tmp_path, "bogus").returncode == 2


@pytest.mark.parametrize("line", ["lesson", "reproduce --only linear-growth --workers 1", "claims bogus"])
def test_any_thread_may_run_it(line, tmp_path, monkeypatch, capsys):
    """Only the main thread can be told of signals."""
    monkeypatch.chdir(tmp_path)
    ended = []

    def run():
        try:
            cli.main(line.split())
        except SystemExit as end:
            ended.append(end.code or 0)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert ended == [2 if "bogus" in line else 0]
    assert "Traceback" not in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        (["rep"], ["reproduce"]),
        (["claims", "linear"], ["linear-growth"]),
        (["reproduce", "--only", "linear"], ["linear-growth"]),
        (["reproduce", "--only", "rbf-deep,linear"], ["rbf-deep,linear-growth"]),
        (["reproduce", "--profile", "q"], ["quick"]),
        (["reproduce", "--device", "cu"], ["cuda"]),
        (["attack", "x", "--method", "p"], ["pgd"]),
        (["lesson", "3"], ["3"]),
        (["course", "grade", "x", "--lesson", "14"], ["14"]),
        (["course", "sol"], ["solutions"]),
    ],
)
def test_a_shell_is_told_what_there_is(words, wanted, command, monkeypatch):
    monkeypatch.setenv("_TINYADV_COMPLETE", "complete_bash")
    monkeypatch.setenv("COMP_WORDS", f"tinyadv {' '.join(words)}")
    monkeypatch.setenv("COMP_CWORD", str(len(words)))
    assert command()[1].split() == wanted


def test_how_to_have_the_shell_ask_is_in_the_help(command):
    assert "--install-completion" in command("--help")[1]
    assert "--install-completion" in (Path(__file__).parents[1] / ".github" / "CONTRIBUTING.md").read_text("utf-8")


@pytest.mark.parametrize("target", ["-", "/dev/stdout"])
def test_json_alone_is_on_standard_output_if_asked_for_there(target, handed_in, tmp_path):
    if target != "-" and not os.path.exists(target):
        pytest.skip("no such device here")
    done = tinyadv_in(tmp_path, "course", "grade", str(handed_in), "--lesson", "1", "--json", target)
    assert done.returncode == 0
    assert json.loads(done.stdout)["format"] == "tinyadv grade 1"
    assert b"exercises solved" in done.stderr, "the table is not lost"
    assert not list(tmp_path.iterdir())


def test_two_formats_do_not_fit_on_one_standard_output(command, handed_in):
    code, out, err = command("course", "grade", handed_in, "--json", "-", "--junit", "/dev/stdout")
    assert (code, out) == (2, "")
    assert "--json and --junit: only one of them can go to standard output" in err


def test_an_output_that_is_a_folder_is_said_before_any_grading(command, handed_in, tmp_path, monkeypatch):
    monkeypatch.setattr("tinyadv.course.grade.grade", lambda *_: pytest.fail("it was graded"))
    (tmp_path / "folder").mkdir()
    code, _, err = command("course", "grade", handed_in, "--json", "folder")
    assert (code, err) == (2, "tinyadv: --json folder: wanted a file, but it is a folder\n")


@pytest.mark.parametrize("line", ["claims", "lesson", ""])
@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="only Linux has a disk that is always full")
def test_a_full_disk_under_standard_output_is_named(line, tmp_path):
    with open("/dev/full", "wb") as full:
        done = tinyadv_in(tmp_path, *line.split(), stdout=full)
    assert done.returncode == 2
    assert done.stderr == b"tinyadv: standard output: No space left on device\n"


@pytest.mark.parametrize("options", [(), ("--json",), ("--csv",), ("--markdown",)])
def test_a_mistyped_folder_of_results_is_named(command, options):
    """The published numbers would be taken for one's own."""
    code, out, err = command("claims", "linear-growth", "--out", "nowhere", *options)
    assert (code, out) == (2, "")
    assert "--out nowhere: there is no such folder" in err


def test_a_drive_that_is_not_there_is_said(tmp_path, monkeypatch):
    """As Z: in Windows: nothing above the folder exists either."""
    monkeypatch.setattr(Path, "exists", lambda _: False)
    with pytest.raises(ValueError, match=r"^--out away: wanted a folder, but there is no "):
        check_folder(Path("away"), "--out away")
