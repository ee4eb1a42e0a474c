"""The guard of the claims: bands are right, published results lie within, and planted mistakes turn claims red.

`pytest -m slow tests/test_guard.py` plants all of them, which takes about ten minutes; `python tests/guard.py plant`
shows the table.
"""

from __future__ import annotations

import inspect
import json
import math
import textwrap

import guard
import numpy as np
import pytest

from tinyadv.paper.measure import MEASURES
from tinyadv.paper.results import Measurement, Result
from tinyadv.paper.results_file import load_results

PUBLISHED = guard.Path(guard.lab.__file__).parent / "results" / "quick.json"
QUICK = {claim for claim, m in MEASURES.items() if m.quick}


def results(*values, holds=True, interval=()):
    ms = [Measurement({"error": v}, {"error": interval} if interval else {}, holds) for v in values]
    return {"fgsm-softmax": Result("fgsm-softmax", "quick", "cpu", list(range(len(ms))), ms)}


def test_a_band_is_a_prediction_interval():
    rng, inside = np.random.default_rng(0), 0
    for _ in range(2000):
        *seen, new = rng.normal(0.5, 0.01, 6)
        low, high = guard.bands(results(*seen))["fgsm-softmax"]["error"]
        inside += low <= new <= high
    assert 1990 <= inside < 2000, "99.9 % of new runs, not of fewer, not all"


def test_where_seeds_agree_the_test_images_are_left():
    assert guard.bands(results(0.5, 0.5, 0.5, interval=(0.4, 0.62)))["fgsm-softmax"]["error"] == pytest.approx(
        [0.38, 0.62]
    )


def test_bands_want_seeds():
    with pytest.raises(ValueError, match=r"3 to 10 seeds, fgsm-softmax has 2"):
        guard.bands(results(0.5, 0.6))


def test_what_lies_outside_is_named():
    band = guard.bands(results(0.50, 0.51, 0.49))["fgsm-softmax"]
    assert guard.violations("fgsm-softmax", Measurement({"error": 0.505}, holds=True), band) == []
    for wrong in (0.9, math.nan):
        (line,) = guard.violations("fgsm-softmax", Measurement({"error": wrong}, holds=True), band)
        assert line.startswith(f"fgsm-softmax: error = {wrong:.4g}, outside of")
    assert len(guard.violations("fgsm-softmax", Measurement({}, holds=False), band)) == 2
    assert "holds" not in guard.bands(results(0.5, 0.51, 0.49, holds=None))["fgsm-softmax"]


def test_every_claim_of_the_quick_profile_has_bands():
    known, published = json.loads(guard.BANDS.read_text(encoding="utf-8")), load_results(PUBLISHED)[0]
    assert known.keys() == QUICK
    for claim, band in known.items():
        assert band, f"{claim} has nothing that could turn red"
        measured = published[claim].measurements[0]
        finite = {name for name, v in measured.values.items() if math.isfinite(v)}
        assert finite <= band.keys()
        assert all(limits[0] <= limits[1] for name, limits in band.items() if name != "holds")


def test_the_published_results_lie_within_their_bands():
    assert guard.check(load_results(PUBLISHED)[0]) == []


@pytest.mark.parametrize("name", guard.MISTAKES)
def test_a_mistake_can_be_planted(name):
    mistake = guard.MISTAKES[name]
    source = textwrap.dedent(inspect.getsource(mistake.function))
    assert source.count(mistake.right) == 1
    compile(source.replace(mistake.right, mistake.wrong), name, "exec")
    assert set(mistake.claims) <= QUICK


def test_planting_reaches_all_who_have_the_function():
    def twice(x):
        return 2 * x

    has_it = twice
    with pytest.raises(ValueError, match=r"not once in"):
        guard.Mistake(twice, "4 * x", "", ()).plant()
    guard.Mistake(twice, "2 * x", "3 * x", ()).plant()
    assert has_it(1) == 3


@pytest.mark.slow
@pytest.mark.parametrize("name", guard.MISTAKES)
def test_a_planted_mistake_is_noticed(name):
    ((_, told),) = guard.table([name])
    assert told


@pytest.mark.slow
@pytest.mark.parametrize("claim", sorted(QUICK))
def test_a_new_run_lies_within_its_bands(claim, tmp_path_factory):
    place = guard.lab.Lab(tmp_path_factory.getbasetemp() / "networks")
    measurement = MEASURES[claim](place, guard.PROFILES["quick"], 0)
    band = json.loads(guard.BANDS.read_text(encoding="utf-8"))[claim]
    assert guard.violations(claim, measurement, band) == []
