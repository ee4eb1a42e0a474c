"""Invented results, for the tests of what shows them."""

import math
from dataclasses import replace

from tinyadv.paper.claims import claims
from tinyadv.paper.results import Measurement, Result

HOSTILE = (
    """<script>alert("x")</script>'"><img src=http://evil.example/a.png onerror=alert(1)> & </td></table> [bold]|`*_"""
)


SMALLER = {"network": "maxout_network", "arguments": {"units": 240}, "retrain": True}


def measured(claim, values, half=0.005, holds=None, seeds=1, **more):
    intervals = {k: (v - half, v + half) for k, v in values.items() if not math.isnan(v)}
    networks = {"one": {"hash": "a1b2c3", "recipe": SMALLER}, "another": {"hash": "d4e5f6"}}
    one = Measurement(values, intervals, holds, networks=networks)
    return Result(claim, "quick", "cpu", list(range(seeds)), [one] * seeds, **more)


def invented():
    """Results by claim, of every status."""
    listed = [
        measured("fgsm-softmax", {"error": 0.9992, "confidence_on_mistakes": 0.79, "error_clipped": 0.99}),
        measured("fgsm-maxout", {"error": 0.91, "confidence_on_mistakes": 0.97}),
        measured("logistic-exact", {}, holds=True, seeds=3),
        measured("adv-robust-1600", {"error": 0.286}, holds=True),
        measured("rubbish-rbf", {"error": 0.0, "confidence_on_mistakes": math.nan}),
    ]  # fmt: skip
    return {r.claim: r for r in listed}


WANTED = {
    "fgsm-softmax": "reproduced",
    "fgsm-maxout": "close",
    "logistic-exact": "reproduced",
    "adv-robust-1600": "differs",
    "rubbish-rbf": "reproduced",
}


def noted(monkeypatch, claim, note):
    """Let the note on a claim be this one."""
    monkeypatch.setitem(claims(), claim, replace(claims()[claim], note=note))
