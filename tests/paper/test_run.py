"""The main job: errors before any work, results kept the moment they exist, and the same command goes on."""

import json
import os
import platform
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from inline import Inline
from tiny import TINY, tiny_mnist, use

import tinyadv
from tinyadv import load, storage
from tinyadv.backend import DeviceError
from tinyadv.bench import summary
from tinyadv.machine import blas_threads
from tinyadv.paper import audit, cost, lab
from tinyadv.paper import run as reproduce
from tinyadv.paper.claims import claims
from tinyadv.paper.draw import Drawing, draw_figure, drawings
from tinyadv.paper.fingerprint import training
from tinyadv.paper.measure import MEASURES, Measure, appendix, common, section3
from tinyadv.paper.profiles import PROFILES
from tinyadv.paper.results import Measurement, Result, Stint
from tinyadv.paper.results_file import load_results, save_results, stints
from tinyadv.paper.run import plan
from tinyadv.paper.workers import MeasureTask

VERSIONS = {"python": platform.python_version(), "numpy": np.__version__, "tinyadv": tinyadv.__version__}
SEVERAL = [  # claims with figures and without, of every kind of network, that take little time
    "linear-growth",
    "fgsm-softmax",
    "fgsm-maxout",
    "logistic-3v7",
    "logistic-exact",
    "fig2-logistic",
    "adv-train-240",
    "rbf-fgsm",
    "rubbish-softmax",
    "rubbish-rbf",
]
FAST = ["linear-growth", "fgsm-softmax", "rubbish-softmax"]  # claims that take no time; two share a network


@pytest.fixture(autouse=True)
def small(monkeypatch):
    """The small world, in which no figures are drawn, which would take longer than all the rest."""
    tiny_world(monkeypatch)
    monkeypatch.setattr(reproduce, "draw_figure", lambda result, folder: None)


def tiny_world(monkeypatch):
    use(monkeypatch, tiny_mnist(200, 100, 100))
    monkeypatch.setitem(PROFILES, "tiny", TINY)
    monkeypatch.setattr(appendix, "SAMPLES", 200)
    monkeypatch.setattr(section3, "DIMENSIONS", (10, 100, 1000))
    for name in ("FIRST", "FEW", "FEWEST"):
        monkeypatch.setattr(audit, name, 2)
    monkeypatch.setattr(summary, "RESULTS", Path("nowhere"))  # of the benchmark nothing is committed


def run(out, *ids, seeds=None, say=lambda text: None):
    results, failed = attempt(out, *ids, seeds=seeds, say=say)
    assert not failed
    return results


def attempt(out, *ids, seeds=None, say=lambda text: None):
    """A run in this process, in which what is monkeypatched is seen; its results, and the claims that failed."""
    executor = Inline(lab.Lab(out / "networks", say=say))
    return reproduce.reproduce(plan(ids, "tiny", seeds, "cpu", out), say, executor)


def numbers(results):
    return {
        name: [(m.values, m.intervals, m.holds, without_cost(m.networks)) for m in r.measurements]
        for name, r in results.items()
    }


def without_cost(networks):
    return {name: {key: entry for key, entry in about.items() if key != "cost"} for name, about in networks.items()}


# ---------------------------------------------------------------------------------------------------------
# The plan


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"ids": ["fgsm-softmx"]}, ValueError, r"^no claim 'fgsm-softmx': did you mean fgsm-softmax"),
        ({"ids": ["fgsm-softmax", "zzz"]}, ValueError, r"^no claim 'zzz' \(`tinyadv claims` lists them all\)$"),
        ({"profile": "fast"}, ValueError, r"^unknown profile 'fast': there are quick, lesson, paper"),
        ({"seeds": 0}, ValueError, r"^--seeds is at least 1, got 0$"),
        ({"seeds": -3}, ValueError, r"^--seeds is at least 1, got -3$"),
        ({"first_seed": -1}, ValueError, r"^--first-seed is at least 0, got -1$"),
        ({"workers": 0}, ValueError, r"^--workers is at least 1, got 0$"),
        ({"units": 0}, ValueError, r"^--units is at least 1, got 0$"),
        (
            {"workers": 2, "scheduler": "tcp://host:1"},
            ValueError,
            r"^either --workers here or .* a --scheduler, not both$",
        ),
        ({"device": "tpu"}, ValueError, r"^unknown device 'tpu': wanted 'cpu' or 'cuda'$"),
        ({"device": "cuda"}, DeviceError, r"^no GPU here$"),
    ],
)
def test_what_cannot_be_done_is_said_before_any_work(tmp_path, monkeypatch, change, error, message):
    def check_device(device):
        if device == "cuda":
            raise DeviceError("no GPU here")
        original(device)

    original = reproduce.check_device
    monkeypatch.setattr(reproduce, "check_device", check_device)
    out = tmp_path / "out"
    wanted = {"ids": [], "profile": "tiny", "seeds": None, "device": "cpu", "out": out}
    with pytest.raises(error, match=message) as caught:
        plan(**{**wanted, **change})
    assert "\n" not in str(caught.value)
    assert not out.exists()


def test_a_claim_that_nothing_measures_is_named(tmp_path, monkeypatch):
    monkeypatch.delitem(MEASURES, "rubbish-conv")
    with pytest.raises(ValueError, match=r"^nothing measures rubbish-conv yet"):
        plan(["mp-dbm", "fgsm-softmax", "rubbish-conv"], "tiny", None, "cpu", tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("below", ["", "further/below"])
def test_a_folder_that_cannot_be_written_is_named(tmp_path, below):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OSError, match=rf"^the output folder {tmp_path}/file.* cannot be written: ") as caught:
        plan([], "tiny", None, "cpu", tmp_path / "file" / below)
    assert "\n" not in str(caught.value)


def test_a_full_disk_is_noticed_before_any_work(tmp_path, monkeypatch):
    def full(**options):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(reproduce.tempfile, "TemporaryFile", full)
    with pytest.raises(OSError, match=r"cannot be written: No space left on device$"):
        plan([], "tiny", None, "cpu", tmp_path)


def test_a_plan_has_the_claims_in_the_paper_s_order(tmp_path):
    everything = plan([], "tiny", None, "cpu", tmp_path / "a" / "b")
    at_hand = [name for name in claims() if name in MEASURES and not MEASURES[name].missing()]
    assert everything.ids == tuple(at_hand)
    assert len(everything.ids) > 12
    quick = plan([], "quick", None, "cpu", tmp_path)
    assert quick.ids == tuple(name for name in everything.ids if MEASURES[name].quick)
    job = plan(["rubbish-softmax", "linear-growth", "rubbish-softmax"], "tiny", 3, "cpu", tmp_path)
    assert (job.ids, job.seeds, job.profile) == (("linear-growth", "rubbish-softmax"), (0, 1, 2), TINY)
    assert plan([], "paper", None, "cpu", tmp_path).seeds == (0, 1, 2, 3, 4)
    assert plan([], "tiny", 2, "cpu", tmp_path, first_seed=3).seeds == (3, 4)
    assert list((tmp_path / "a" / "b").iterdir()) == []  # the folder is there, and empty


def test_the_paper_s_protocol_with_fewer_units(tmp_path):
    job = plan(["adv-robust-1600", "adv-train-240"], "paper", 2, "cpu", tmp_path, units=240)
    assert job.profile == replace(PROFILES["paper"], units=240)
    small, whole = (MEASURES["adv-robust-1600"].recipes(profile, 1) for profile in (job.profile, PROFILES["paper"]))
    assert small == MEASURES["adv-train-240"].recipes(job.profile, 1)  # so that nothing is trained twice
    assert [r.arguments["units"] for r in whole] == 3 * [1600]


# ---------------------------------------------------------------------------------------------------------
# A run


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The folder of a run of everything, what it returned, and what it said."""
    said, out = [], tmp_path_factory.mktemp("whole")
    with pytest.MonkeyPatch.context() as patch:
        tiny_world(patch)
        patch.setattr(sys, "argv", ["/somewhere/tinyadv", "reproduce", "--out", "a folder"])
        results = run(out, *SEVERAL, say=said.append)
    return out, results, said


def test_everything_is_measured_drawn_saved_and_reported(whole):
    out, results, said = whole
    assert list(results) == SEVERAL
    assert str(load_results(out / "results.json")[0]) == str(results)  # as text, in which NaN equals NaN
    assert {path.name for path in (out / "figures").iterdir()} == {
        f"{name}.png" for name in drawings() if name in results
    }
    with blas_threads(1):
        setup = cost.setup()
    for result in results.values():
        assert (result.profile, result.device, result.seeds) == ("tiny", "cpu", [0])
        assert result.seconds >= 0
        programs = {"trained by": training(), "measured by": MEASURES[result.claim].program}
        assert result.versions == setup | programs
        assert result.core_seconds >= 0
        for used in result.measurements[0].networks.values():
            assert load(out / "networks" / f"{used['hash']}.safetensors")
            (stint,) = stints(used)
            assert (stint.epochs, stint.setup) == (used["epochs"], setup)
    page = (out / "report.html").read_text()
    assert all(name in page for name in results)
    assert page.count("data:image/png;base64,") == len(drawings().keys() & results.keys())
    assert sorted(line.split(":")[0] for line in said) == sorted(results)  # in the order in which they were measured
    assert said[-1].endswith(f" s ({len(results)} of {len(results)})")
    assert not [path for path in out.rglob("*") if path.suffix in (".part", ".checkpoint")]


def test_the_manifest_says_how_it_was_run(whole):
    _, manifest = load_results(whole[0] / "results.json")
    assert manifest.keys() == {"command", "profile", "seeds", "device", "started", "seconds", "versions", "machine"}
    assert manifest["command"] == "tinyadv reproduce --out 'a folder'"  # no folder of this machine, and quoted
    assert (manifest["profile"], manifest["seeds"], manifest["device"]) == ("tiny", [0], "cpu")
    assert manifest["versions"] == VERSIONS
    assert manifest["started"].endswith("+00:00")
    assert manifest["seconds"] > 0
    assert manifest["machine"].keys() == {"cpu", "cores", "system"}
    assert manifest["machine"]["cores"] >= 1


def test_several_seeds_are_several_measurements(tmp_path):
    results = run(tmp_path, "rubbish-softmax", "linear-growth", seeds=2)
    for result in results.values():
        assert result.seeds == [0, 1]
        first, second = result.measurements
        assert first.values != second.values
    assert first.networks != second.networks
    assert len(list((tmp_path / "networks").glob("*.safetensors"))) == 2


def test_a_second_run_trains_nothing_and_measures_the_same(whole, tmp_path, monkeypatch):
    def train(*arguments, **options):
        raise AssertionError("nothing is left to train")

    out, results, _ = whole
    (tmp_path / "networks").symlink_to(out / "networks")
    monkeypatch.setattr(lab, "train", train)
    ids = ["rubbish-softmax", "logistic-exact", "adv-train-240", "rbf-fgsm"]
    again = run(tmp_path, *ids)
    assert str(numbers(again)) == str(numbers({name: results[name] for name in again}))
    hashes = {used["hash"] for r in again.values() for used in r.measurements[0].networks.values()}
    assert hashes <= {path.stem for path in (out / "networks").iterdir()}


def test_a_measurement_that_lacks_a_published_number_is_refused(tmp_path, monkeypatch):
    monkeypatch.setitem(
        MEASURES, "fgsm-softmax", Measure("fgsm-softmax", lambda lab, seed: Measurement({}), lambda p, s: {})
    )
    said = []
    results, failed = attempt(tmp_path, "fgsm-softmax", "linear-growth", say=said.append)
    assert "fgsm-softmax, seed 0: the measurement lacks confidence_on_mistakes, error" in failed["fgsm-softmax"]
    assert list(failed) == ["fgsm-softmax"]
    assert list(results) == list(load_results(tmp_path / "results.json")[0]) == ["linear-growth"]  # it went on
    assert sum("Traceback" in line for line in said) == 1  # a bug says where


def test_a_figure_that_cannot_be_drawn_stops_no_other_claim(tmp_path, monkeypatch):
    def draw(canvas, details):
        raise ZeroDivisionError("no axes")

    monkeypatch.setattr(reproduce, "draw_figure", draw_figure)
    monkeypatch.setitem(drawings(), "linear-growth", Drawing("linear-growth", "", "", draw))
    results, failed = attempt(tmp_path, "linear-growth", "logistic-3v7")
    assert failed == {"linear-growth": "ZeroDivisionError: no axes"}
    assert list(results) == ["linear-growth", "logistic-3v7"]  # the number is there, its figure is not


def test_a_network_that_diverges_fails_its_claims_alone(tmp_path, monkeypatch):
    def diverges(model, x, y, rng, **options):
        return float("nan"), []

    monkeypatch.setitem(lab.OBJECTIVES, "adversarial", diverges)
    said = []
    results, failed = attempt(tmp_path, "adv-train-240", "logistic-3v7", say=said.append)
    assert list(results) == ["logistic-3v7"]
    assert list(failed) == ["adv-train-240"]
    message = "J became nan in epoch 1, step 1 of 2, seed 0; there is no checkpoint from before"
    assert message in failed["adv-train-240"]
    assert any(message in line for line in said)
    assert not any("Traceback" in line for line in said)


# ---------------------------------------------------------------------------------------------------------
# The book


@pytest.fixture
def book(tmp_path):
    """That of a job of one claim and two seeds."""
    return reproduce._Book(plan(["fgsm-softmax"], "tiny", 2, "cpu", tmp_path, workers=1), lambda line: None)


def test_the_training_that_chose_the_epochs_of_all_seeds_counts_with_its_own_alone(book, monkeypatch):
    recipe = lab.Recipe("softmax_regression", stop_on="error", retrain=True, chosen_with=0)
    measure = Measure(
        "fgsm-softmax", lambda lab, seed, softmax: None, lambda profile, seed: {"softmax": replace(recipe, seed=seed)}
    )
    monkeypatch.setitem(MEASURES, "fgsm-softmax", measure)
    for one, title in ((recipe.first, "chooses"), (recipe, "again, 0"), (replace(recipe, seed=1), "again, 1")):
        storage.write_atomically(cost.path_of(book.job.out / "networks", one), cost.as_text([Stint(title, 1)]))
    for seed, titles in ((0, ["chooses", "again, 0"]), (1, ["again, 1"])):
        measurement = Measurement({}, networks={"softmax": {}})
        task = MeasureTask("fgsm-softmax", book.job.profile, seed)
        book._add_costs(task, Result("fgsm-softmax", "tiny", "cpu", [seed], [measurement]))
        assert [stint["title"] for stint in measurement.networks["softmax"]["cost"]] == titles


@pytest.mark.parametrize(("known", "total"), [((1.25, 2.5), 3.75), ((None, 2.5), None), ((1.25, None), None)])
def test_core_seconds_of_some_seeds_alone_are_no_sum(book, known, total):
    for seed, core_seconds in enumerate(known):
        measurement = Measurement({"error": 0.5, "confidence_on_mistakes": 0.5})
        book.seeds["fgsm-softmax"][seed] = Result(
            "fgsm-softmax", "tiny", "cpu", [seed], [measurement], 1.0, core_seconds=core_seconds
        )
    book._complete("fgsm-softmax")
    result = load_results(book.path)[0]["fgsm-softmax"]
    assert (result.seconds, result.core_seconds) == (2.0, total)


def test_what_was_measured_on_another_device_is_measured_again(book):
    task = MeasureTask("fgsm-softmax", book.job.profile, 0)
    measured = Result("fgsm-softmax", "tiny", "cpu", [0], [Measurement({"error": 0.5})])
    save_results(book._path(task), {"fgsm-softmax": measured}, book._about(task))
    assert book._earlier_value(task).seeds == [0]
    book.job = replace(book.job, device="cuda")
    assert book._earlier_value(task) is None


# ---------------------------------------------------------------------------------------------------------
# Going on


def interrupted(lab, seed, **networks):
    raise KeyboardInterrupt


def test_what_was_measured_before_an_interruption_is_kept(tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setitem(MEASURES, "fgsm-softmax", Measure("fgsm-softmax", interrupted, MEASURES["fgsm-softmax"].networks))
        with pytest.raises(KeyboardInterrupt):
            run(tmp_path, *FAST)
    kept, manifest = load_results(tmp_path / "results.json")
    assert list(kept) == ["linear-growth"]
    assert manifest["profile"] == "tiny"
    assert len(list((tmp_path / "networks").glob("*.safetensors"))) == 1  # it was trained before it was to be measured
    assert list(run(tmp_path, *FAST)) == FAST


def test_what_was_measured_for_a_seed_is_not_measured_again(tmp_path, monkeypatch):
    before = run(tmp_path, "rubbish-softmax", seeds=2)
    (tmp_path / "results.json").unlink()
    measured, old = [], MEASURES["rubbish-softmax"]

    def function(lab, seed, **networks):
        measured.append(seed)
        return old.function(lab, seed, **networks)

    function.__module__ = old.function.__module__  # the same program
    monkeypatch.setitem(MEASURES, "rubbish-softmax", replace(old, function=function))
    assert run(tmp_path, "rubbish-softmax", seeds=2) == before
    assert measured == []
    results = run(tmp_path, "rubbish-softmax", seeds=3)["rubbish-softmax"]
    assert (measured, results.seeds, results.measurements[:2]) == (
        [2],
        [0, 1, 2],
        before["rubbish-softmax"].measurements,
    )
    monkeypatch.setattr(common, "measuring", lambda *modules: "another")
    run(tmp_path, "rubbish-softmax", seeds=1)
    assert measured == [2, 0]  # another program, another measurement


def test_what_depends_on_other_data_at_hand_is_measured_again(tmp_path, monkeypatch):
    measured, old, there = [], MEASURES["rubbish-softmax"], ["a photograph"]

    def function(lab, seed, **networks):
        measured.append(there[0])
        return old.function(lab, seed, **networks)

    function.__module__ = old.function.__module__
    monkeypatch.setitem(MEASURES, "rubbish-softmax", replace(old, function=function, at_hand=lambda: there[0]))
    for now in ("a photograph", "a photograph", "another", ""):
        there[0] = now
        run(tmp_path, "rubbish-softmax")
    assert measured == ["a photograph", "another", ""]


def test_what_was_measured_on_other_networks_than_planned_is_not_kept(tmp_path, monkeypatch):
    """As where CIFAR-10 is at a worker of a cluster and not here."""
    old = MeasureTask.work

    def elsewhere(self, lab):
        found = json.loads(old(self, lab))
        found["measurements"][0]["networks"]["softmax"]["hash"] = "another"
        return json.dumps(found)

    monkeypatch.setattr(MeasureTask, "work", elsewhere)
    results, failed = attempt(tmp_path, "rubbish-softmax")
    assert (results, list(failed)) == ({}, ["rubbish-softmax"])
    assert "on other networks than planned" in failed["rubbish-softmax"]
    assert not list((tmp_path / "measurements").glob("*"))


@pytest.mark.parametrize("damage", ["not JSON", "edited"])
def test_a_damaged_measurement_is_named_and_made_again(tmp_path, damage):
    before, said = run(tmp_path, "rubbish-softmax"), []
    (path,) = (tmp_path / "measurements").iterdir()
    text = path.read_text()
    path.write_text(text[:-20] if damage == "not JSON" else text.replace('"error": ', '"error": 0'))
    assert numbers(run(tmp_path, "rubbish-softmax", say=said.append)) == numbers(before)
    assert str(path) in said[0]
    assert said[0].endswith("; it is measured again")
    assert load_results(path)[0]["rubbish-softmax"].measurements == before["rubbish-softmax"].measurements


def test_a_signed_measurement_of_which_nothing_can_be_made_is_made_again(tmp_path, monkeypatch):
    monkeypatch.setattr(reproduce, "draw_figure", draw_figure)
    before, said = run(tmp_path, "rubbish-softmax", seeds=2), []
    for path in (tmp_path / "measurements").iterdir():
        results, about = load_results(path)
        results["rubbish-softmax"].measurements[0].details["by_class"] = "no list of counts"
        save_results(path, results, about)
    results = run(tmp_path, "rubbish-softmax", seeds=2, say=said.append)
    assert results["rubbish-softmax"].measurements == before["rubbish-softmax"].measurements
    assert said[0].startswith("rubbish-softmax: what was measured earlier cannot be used (")
    assert "Traceback" not in "".join(said)


def test_results_are_read_and_written_under_one_lock(tmp_path, monkeypatch):
    """Two runs that read, add and write in turns would each lose what the other added."""
    steps = []

    @contextmanager
    def locked(path):
        steps.append("locked")
        yield
        steps.append("free")

    def spy(name):
        real = getattr(reproduce, name)

        def function(path, *others):
            if path == tmp_path / "results.json":
                steps.append(name)
            return real(path, *others)

        monkeypatch.setattr(reproduce, name, function)

    run(tmp_path, "linear-growth")
    monkeypatch.setattr(reproduce, "locked", locked)
    spy("load_results")
    spy("save_results")
    run(tmp_path, "rubbish-softmax")
    # before any work, then for the claim, then for the report
    assert steps == ["load_results", *["locked", "load_results", "save_results", "free"] * 2]


def test_what_a_killed_process_was_writing_is_removed(tmp_path):
    killed = subprocess.Popen(["true"])
    killed.wait()
    mine = storage._writer()
    dead = tmp_path / "networks" / f".x.safetensors.{mine.replace(str(os.getpid()), str(killed.pid))}.abc.part"
    alive = dead.with_name(f".x.safetensors.{mine}.abc.part")
    elsewhere = dead.with_name(f".x.safetensors.another-{dead.name.partition('.x.safetensors.')[2]}")
    dead.parent.mkdir()
    for path in (dead, alive, elsewhere):
        path.write_text("half of it")
    run(tmp_path, "linear-growth")
    assert [path.exists() for path in (dead, alive, elsewhere)] == [False, True, True]


def test_other_claims_keep_their_earlier_results(tmp_path):
    before = run(tmp_path, "rubbish-softmax", seeds=2)
    results = run(tmp_path, "linear-growth")
    assert list(results) == ["linear-growth", "rubbish-softmax"]
    assert results["rubbish-softmax"] == before["rubbish-softmax"]
    assert load_results(tmp_path / "results.json")[0] == results
    assert "rubbish-softmax" in (tmp_path / "report.html").read_text()
    said = []
    after = run(tmp_path, "rubbish-softmax", say=said.append)
    assert after["rubbish-softmax"].seeds == [0]  # a new measurement takes the old one's place, and that is said
    replaced = [line for line in said if "takes the place of" in line]
    name = before["rubbish-softmax"].profile
    assert replaced == [
        f"rubbish-softmax: profile {name}, seeds 0 takes the place of profile {name}, seeds 0, 1; "
        "another --out keeps both"
    ]
    said.clear()
    run(tmp_path, "rubbish-softmax", seeds=2, say=said.append)  # all of the old one's seeds, and more
    assert not [line for line in said if "takes the place of" in line]


@pytest.mark.parametrize("damage", ["not JSON", "edited"])
def test_a_damaged_results_file_is_kept_aside_and_named(tmp_path, damage):
    run(tmp_path, "rubbish-softmax")
    path, said = tmp_path / "results.json", []
    text = path.read_text()
    damaged = text[:-50] if damage == "not JSON" else text.replace('"seeds": [\n    0\n   ]', '"seeds": [\n    7\n   ]')
    assert damaged != text
    path.write_text(damaged)
    results = run(tmp_path, "linear-growth", say=said.append)
    assert list(results) == list(load_results(path)[0]) == ["linear-growth"]
    assert (tmp_path / "results.damaged.json").read_text() == damaged
    assert str(path) in said[0]
    assert "kept as results.damaged.json" in said[0]


@pytest.mark.parametrize(("form", "which"), [("tinyadv results 1", "an earlier"), ("tinyadv results 3", "a later")])
def test_results_of_another_version_are_left_alone_and_the_run_is_refused(tmp_path, form, which):
    run(tmp_path, "linear-growth")
    path = tmp_path / "results.json"
    path.write_text(path.read_text().replace("tinyadv results 2", form))
    before = path.read_text()
    with pytest.raises(ValueError, match=rf"written by {which} version .*; wanted a new --out$"):
        run(tmp_path, "linear-growth")
    assert path.read_text() == before


def test_claims_and_fields_of_a_later_version_stay_in_the_file(tmp_path):
    run(tmp_path, "linear-growth", "rubbish-softmax")
    path = tmp_path / "results.json"
    results, manifest = load_results(path)
    results["linear-growth"].later = {"energy": 3}
    later = replace(results["linear-growth"], claim="of-a-later-version")
    save_results(path, {**results, later.claim: later}, manifest)
    run(tmp_path, "rubbish-softmax")
    kept = load_results(path)[0]
    assert list(kept) == ["linear-growth", "rubbish-softmax", "of-a-later-version"]
    assert kept["linear-growth"].later == kept["of-a-later-version"].later == {"energy": 3}
    assert "of-a-later-version" not in (tmp_path / "report.html").read_text()


def test_another_run_that_ends_meanwhile_keeps_its_results(tmp_path):
    def say(text):
        if text.startswith("linear-growth"):  # between two claims of this run, a whole other run
            run(tmp_path, "logistic-3v7")

    results = run(tmp_path, *FAST, say=say)
    assert set(results) == {*FAST, "logistic-3v7"}
    assert load_results(tmp_path / "results.json")[0].keys() == results.keys()
