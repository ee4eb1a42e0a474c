"""What a run has cost: accounts of trainings, which go on with them, and the tables that show them."""

import json
import sys
import time
from dataclasses import asdict, replace

import pytest
from tiny import tiny_mnist, use

from tinyadv import training
from tinyadv.machine import blas_threads
from tinyadv.paper import cost
from tinyadv.paper.cost import Ledger, Stopwatch, path_of, read, setup
from tinyadv.paper.lab import Lab, Recipe
from tinyadv.paper.results import Measurement, Result, Stint
from tinyadv.paper.show.costs import core_hours, costs, summary
from tinyadv.paper.workers import TrainTask
from tinyadv.progress import Silent

RECIPE = Recipe("softmax_regression", epochs=5)


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A folder; every epoch has its checkpoint there, and is entered at once."""
    use(monkeypatch, tiny_mnist(200, 100, 100))
    monkeypatch.setattr(training, "CHECKPOINT_SECONDS", -1.0)
    monkeypatch.setattr(cost, "WRITE_SECONDS", -1.0)
    return tmp_path


class Stopped(Silent):
    """Presses Ctrl-C at the end of an epoch."""

    def __init__(self, epoch):
        self.epoch = epoch

    def end(self, entry, last):
        if entry["epoch"] == self.epoch:
            raise KeyboardInterrupt


def trained(folder, recipe, progress=None, say=print):
    """The account of a recipe's network after its training was worked on."""
    value = TrainTask(recipe).work(Lab(folder, progress=progress, say=say))
    found = read(path_of(folder, recipe), say)
    assert json.loads(value) == {"cost": [asdict(stint) for stint in found]}
    return found


def test_a_training_keeps_an_account(place):
    with blas_threads(1):
        (stint,) = trained(place, RECIPE)
        assert stint.setup == setup()
    assert (stint.title, stint.epochs) == (RECIPE.title, 5)
    assert stint.core_seconds >= 0
    assert 0 <= stint.seconds < 60
    assert stint.setup["blas"].endswith("1 thread")
    assert stint.setup.keys() == {"processor", "blas", "python", "numpy", "tinyadv"}
    assert stint.setup["python"] == sys.version.split()[0]


def test_a_network_that_is_there_keeps_its_account(place):
    assert trained(place, RECIPE) == trained(place, RECIPE)


def test_the_account_of_an_interrupted_training_goes_on(place):
    with pytest.raises(KeyboardInterrupt):
        trained(place, RECIPE, Stopped(2))
    first, second = trained(place, RECIPE)
    assert (first.title, first.epochs, second.title, second.epochs) == (RECIPE.title, 2, RECIPE.title, 3)


def test_what_is_begun_anew_is_not_counted_twice(place):
    with pytest.raises(KeyboardInterrupt):
        trained(place, RECIPE, Stopped(2))
    for path in place.glob("*.checkpoint"):
        path.unlink()
    (stint,) = trained(place, RECIPE)
    assert stint.epochs == 5


def test_each_of_a_network_s_trainings_has_its_own_entry(place):
    recipe = replace(RECIPE, stop_on="error", patience=1, stage2=True)
    first, second = trained(place, recipe)
    assert (first.title, second.title) == (RECIPE.title, f"{RECIPE.title}, stage 2")
    lab = Lab(place)
    assert first.epochs == len(lab.trained(recipe).log)
    assert second.epochs == len(lab.stage2(recipe).log)


def test_waiting_is_no_work():
    watch = Stopwatch()
    time.sleep(0.3)
    seconds, core_seconds = watch.read()
    assert core_seconds < 0.2 < seconds


def test_what_is_killed_between_its_last_checkpoint_and_its_entry_has_an_account(place, monkeypatch):
    def killed(ledger, entry, last):
        if last:
            raise SystemExit

    with monkeypatch.context() as patch:
        patch.setattr(Ledger, "end", killed)
        with pytest.raises(SystemExit):
            trained(place, RECIPE)
    assert path_of(place, RECIPE).exists()  # written when it began
    assert trained(place, RECIPE) == []  # nothing was left to train: what the killed epochs took is not known


@pytest.mark.parametrize("content", [b"", b"\xff", b"[]", b"{}", b'{"cost": 3}', b'{"cost": [{}]}', b"[" * 100_000])
def test_a_damaged_account_is_told_once_and_forgotten(place, content):
    said, network = [], TrainTask(RECIPE)
    network.work(Lab(place))
    path = path_of(place, RECIPE)
    path.write_bytes(content)
    assert network.work(Lab(place, say=said.append)) == ""
    assert [line.partition(",")[0] for line in said] == [f"{path} is damaged"]
    assert read(path, said.append) == []
    assert len(said) == 1


# ---------------------------------------------------------------------------------------------------------
# What is shown

HERE, THERE = {"processor": "a", "blas": "b", "numpy": "2.4.6"}, {"processor": "c", "blas": "d"}
STINTS = [Stint("one", 2, 3.0, 2.0, HERE), Stint("one", 3, 4.0, 3.0, THERE), Stint("one, stage 2", 7, 1.0, 1.0, HERE)]
ONE = {"hash": "aa", "recipe": {"network": "maxout_network", "arguments": {"units": 240}, "seed": 1}, "epochs": 5}


def result(claim, core_seconds=None, versions=None, **networks):
    m = Measurement({}, networks=networks)
    return Result(claim, "quick", "cpu", [0], [m], 90.0, versions or {}, core_seconds)


def test_costs_are_added_up_and_a_shared_network_counts_once():
    one = ONE | {"cost": [asdict(stint) for stint in STINTS]}
    old, packaged = {"hash": "bb", "recipe": {}, "epochs": 9}, {"hash": "cc", "packaged": True, "epochs": 6}
    found = costs(
        {
            "fgsm-maxout": result("fgsm-maxout", 72.0, HERE, naive=ONE, old=old),  # measured before costs were known
            "fgsm-softmax": result("fgsm-softmax", None, {"numpy": "2.4.6", "cupy": "13"}, a=one, b=packaged),
        }
    )
    assert found.setups == [HERE, {"numpy": "2.4.6", "cupy": "13"}, THERE]
    assert list(found.parts) == ["processor", "blas", "python", "numpy", "tinyadv", "cupy"]
    assert [(c.name, c.time, c.core_hours, c.setups) for c in found.claims] == [
        ("fgsm-maxout", "1 min 30 s", "0.0200", [1]),
        ("fgsm-softmax", "1 min 30 s", "not recorded", [2]),
    ]
    assert [(n.name, n.epochs, n.time, n.core_hours, n.setups, n.claims) for n in found.networks] == [
        ("aa", "5 + 7", "8 s", "0.0017", [1, 3], ["fgsm-maxout", "fgsm-softmax"]),
        ("bb", "9", "not recorded", "", [], ["fgsm-maxout"]),
        ("cc", "6", "came with the package", "", [], ["fgsm-softmax"]),
    ]
    assert found.networks[0].what == "maxout network 240, seed 1"
    measuring, training = found.sums.split(". ")
    assert "1 min 30 s, 0.0200 core-hours (not recorded for 1 more)" in measuring
    assert "1 network, 12 epochs in all, took 8 s, 0.0017 core-hours (not recorded for 1 more)" in training


def test_where_nothing_is_recorded_there_are_no_sums():
    assert summary({"fgsm-maxout": result("fgsm-maxout", naive=ONE)}) == ""


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "< 0.0001"), (0.4, "0.0001"), (36, "0.0100"), (3600, "1.00"), (1e7, "2,777.78")]
)
def test_core_hours(seconds, text):
    assert core_hours(seconds) == text
