"""Invented results, for the tests of what shows them."""

import math

from tinyadv.paper.results import Figure, Measurement, Result

HOSTILE = (
    """<script>alert("x")</script>'"><img src=http://evil.example/a.png onerror=alert(1)> & </td></table> [bold]|`*_"""
)


def measured(claim, values, half=0.005, holds=None, seeds=1, **more):
    intervals = {k: (v - half, v + half) for k, v in values.items() if not math.isnan(v)}
    one = Measurement(values, intervals, holds, recipes=["a1b2c3", "d4e5f6"])
    return Result(claim, "quick", "cpu", list(range(seeds)), [one] * seeds, **more)


def invented():
    """Results by claim, of every status."""
    listed = [
        measured("fgsm-softmax", {"error": 0.9992, "confidence_on_mistakes": 0.79, "error_clipped": 0.99}),
        measured("fgsm-maxout", {"error": 0.91, "confidence_on_mistakes": 0.97}),
        measured("logistic-exact", {}, holds=True, seeds=3),
        measured(
            "adv-robust-1600", {"error": 0.286}, holds=True, scale="240 units where the paper has 1600",
            reason="fewer epochs",
            figures=[Figure("robust.png", "Robustness", "Error against epochs."), Figure("lost.png", "Lost", "Gone.")],
        ),
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
