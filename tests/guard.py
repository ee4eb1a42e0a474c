"""Claims under guard: would a mistake in the program be seen in the numbers?

Every quantity of the quick profile has a band, learned from healthy runs of several seeds (`bands.json`). `check` names
what lies outside; `plant` puts known mistakes into the program, one at a time, and shows which claims turn red. A
mistake is planted by its text: in the source of one function something is replaced, and all that call it get it.

    tinyadv reproduce --profile quick --seeds 3 --out healthy     the healthy runs, three at least
    python tests/guard.py bands healthy/results.json              their bands
    python tests/guard.py check RESULTS.json                      what of other results lies outside
    python tests/guard.py plant [NAME ...]                        the table of planted mistakes
"""

from __future__ import annotations

import inspect
import json
import os
import subprocess
import sys
import tempfile
import textwrap
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from math import isfinite, sqrt
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from tinyadv import attacks, datasets, losses, metrics, models, optim
from tinyadv.machine import thread_caps
from tinyadv.paper import lab
from tinyadv.paper.measure import MEASURES, common
from tinyadv.paper.profiles import PROFILES
from tinyadv.paper.results import Measurement, Result
from tinyadv.paper.results_file import load_results
from tinyadv.training import DivergedError

BANDS = Path(__file__).parent / "bands.json"
T = {2: 31.6, 3: 12.9, 4: 8.61, 5: 6.87, 6: 5.96, 7: 5.41, 8: 5.04, 9: 4.78}  # Student's t, 99.9 %, by degrees


# ---------------------------------------------------------------------------------------------------------
# Bands


def bands(results: Mapping[str, Result]) -> dict[str, dict[str, Any]]:
    """Where one more healthy run lies, with 99.9 % probability, from those of several seeds.

    For each claim [low, high] of every number that was measured, and "holds" for predicates that held every time. At
    least the test images' own interval is left, for numbers that came out the same for all seeds.
    """
    found: dict[str, dict[str, Any]] = {}
    for claim, result in results.items():
        ms = result.measurements
        if len(ms) - 1 not in T:
            raise ValueError(f"bands want {min(T) + 1} to {max(T) + 1} seeds, {claim} has {len(ms)}")
        entry = {name: _band(name, ms) for name in ms[0].values if all(isfinite(m.values[name]) for m in ms)}
        if all(m.holds for m in ms):
            entry["holds"] = True
        found[claim] = entry
    return found


def _band(name: str, ms: list[Measurement]) -> list[float]:
    values = [m.values[name] for m in ms]
    n, mean = len(values), fmean(values)
    images = max((abs(end - m.values[name]) for m in ms for end in m.intervals.get(name, ())), default=0.0)
    half = max(T[n - 1] * stdev(values) * sqrt(1 + 1 / n), images, 1e-9 * abs(mean))
    return [mean - half, mean + half]


def violations(claim: str, m: Measurement, band: Mapping[str, Any]) -> list[str]:
    """What of a measurement lies outside of its claim's bands, in words."""
    told = [
        f"{claim}: {name} = {m.values.get(name, float('nan')):.4g}, outside of {limits[0]:.4g} to {limits[1]:.4g}"
        for name, limits in band.items()
        if name != "holds" and not limits[0] <= m.values.get(name, float("nan")) <= limits[1]
    ]
    return told + ([f"{claim}: its statement no longer holds"] if band.get("holds") and not m.holds else [])


def check(results: Mapping[str, Result]) -> list[str]:
    """What of results, of any number of seeds, lies outside."""
    known = json.loads(BANDS.read_text(encoding="utf-8"))
    return [
        line
        for claim, band in known.items()
        for m in (results[claim].measurements if claim in results else [])
        for line in violations(claim, m, band)
    ]


# ---------------------------------------------------------------------------------------------------------
# Planted mistakes


@dataclass(frozen=True)
class Mistake:
    """In the source of `function`, `right` becomes `wrong`; the claims are measured that should notice it."""

    function: Callable[..., Any]
    right: str
    wrong: str
    claims: tuple[str, ...]

    def plant(self) -> None:
        """Replace the function's code in place, so that everybody who has the function gets the mistake."""
        source = textwrap.dedent(inspect.getsource(self.function))
        if source.count(self.right) != 1:
            raise ValueError(f"{self.right!r} is not once in {self.function.__qualname__}: it was changed")
        names: dict[str, Any] = {}
        exec(compile(source.replace(self.right, self.wrong), "planted", "exec"), self.function.__globals__, names)
        self.function.__code__ = inspect.unwrap(names[self.function.__name__]).__code__


SOFTMAX, FGSM, MAXOUT = ("fgsm-softmax", "rubbish-softmax"), ("fgsm-softmax", "logistic-3v7"), ("fgsm-maxout",)
TRAINED, RUBBISH = ("adv-robust-1600", "adv-confidence"), ("rubbish-softmax", "rubbish-rbf")
MISTAKES = {
    "FGSM goes downhill": Mistake(attacks.fgsm, "x + eps *", "x - eps *", FGSM),
    "FGSM clips to [0, 1]": Mistake(attacks.fgsm, "else x_adv", "else x_adv.clip(0.0, 1.0)", MAXOUT),
    "half of ε": Mistake(attacks.fgsm, "+ eps *", "+ 0.5 * eps *", FGSM),
    "FGSM moves away from the predicted label": Mistake(
        attacks.fgsm, "gradient(model, x, y)", "gradient(model, x, model(x).argmax(axis=1))", SOFTMAX
    ),
    "the L2 step in place of the sign": Mistake(
        attacks.fgsm,
        "ops.sign(finite_gradient(model, x, y))",
        "(lambda g: g / ((g**2).sum(axis=1, keepdims=True) ** 0.5 + 1e-12))(finite_gradient(model, x, y))",
        FGSM,
    ),
    "dropout stays on": Mistake(
        models.Network.__call__,
        "call(layer, x, rng)",
        "call(layer, x, rng or __import__('tinyadv').backend.generator(0))",
        MAXOUT,
    ),
    "confidence over all images": Mistake(metrics.evaluate, "largest[mistakes]", "largest", ("rbf-fgsm",)),
    "confidence of the true class": Mistake(metrics.evaluate, "largest[mistakes]", "of_true[mistakes]", FGSM),
    "rubbish counts from .1": Mistake(metrics.evaluate_rubbish, "> 0.5", "> 0.1", RUBBISH),
    "rubbish of half the size": Mistake(common.gaussian, 'dtype="float32")', 'dtype="float32") * 0.5', RUBBISH),
    "threes and sevens swapped in training": Mistake(
        lab.Lab.three_or_seven,
        "positive=7, negative=3",
        "positive=7 if name == 'test' else 3, negative=3 if name == 'test' else 7",
        ("logistic-3v7",),
    ),
    "one label in ten swapped": Mistake(
        lab.Lab.split,
        "return whole",
        "return whole._replace(y=(whole.y + (generator(0).random(len(whole.y)) < 0.1)) % 10) "
        "if name == 'train' else whole",
        SOFTMAX,
    ),
    "trained on the test images": Mistake(lab.Lab.split, "getattr(self.data, name)", "self.data.test", SOFTMAX),
    "early stopping looks at the test images": Mistake(
        lab.Lab._validate, 'self.split(recipe, "validation")', 'self.split(recipe, "test")', SOFTMAX
    ),
    "weight decay forgotten": Mistake(losses.clean_objective, "if l2:", "if False:", SOFTMAX),
    "J is the sum over the batch": Mistake(losses.softmax_cross_entropy, ".mean()", ".sum()", SOFTMAX),
    "momentum forgotten": Mistake(optim.SGD.step, "velocity *= momentum", "velocity *= 0", ("fgsm-softmax", *MAXOUT)),
    "adversarial training without an attack": Mistake(
        losses.adversarial_objective, "Tensor(x_adv), adversarial_rng", "Tensor(x), adversarial_rng", TRAINED
    ),
    "pixels are divided by 255 twice": Mistake(datasets._mnist.__wrapped__, "784), 255,", "784), 255 * 255,", SOFTMAX),
}


def measure(name: str, folder: Path) -> list[str]:
    """With a mistake planted: train what its claims need, measure them, and name what turned red."""
    mistake, profile = MISTAKES[name], PROFILES["quick"]
    mistake.plant()
    place, told = lab.Lab(folder), list[str]()
    measured = [(claim, MEASURES[claim]) for claim in mistake.claims]
    test = place.data.test
    for recipe in (r for _, m in measured for r in m.recipes(profile, 0)):
        place.data = place.data._replace(test=None)  # who reads the test images before measuring is found out
        try:
            place.network(recipe)
        except DivergedError as error:
            return [str(error)]
        except (AttributeError, TypeError):
            return [f"training {recipe.title} reads the test images"]
    place.data = place.data._replace(test=test)
    known = json.loads(BANDS.read_text(encoding="utf-8"))
    for claim, m in measured:
        told += violations(claim, m(place, profile, 0), known[claim])
    return told


def table(names: list[str]) -> Iterator[tuple[str, list[str]]]:
    """Each mistake, planted in a process of its own with networks of its own, and what turned red.

    One thread multiplies matrices there, as in the runs that the bands are from.
    """
    environment = {**os.environ, **thread_caps(1)}
    for name in names:
        with tempfile.TemporaryDirectory() as folder:
            done = subprocess.run(
                [sys.executable, __file__, "measure", name, folder],
                capture_output=True, text=True, check=False, env=environment,
            )  # fmt: skip
        if done.returncode:
            raise RuntimeError(f"{name}: {done.stderr}")
        yield name, json.loads(done.stdout.splitlines()[-1])


def main(command: str, *arguments: str) -> int:
    """The four commands of the text above, and `measure`, of one mistake in this process."""
    if command == "bands":
        found = bands(load_results(arguments[0])[0])
        BANDS.write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        print(f"{sum(map(len, found.values()))} bands of {len(found)} claims in {BANDS}")
    elif command == "check":
        print("\n".join(told := check(load_results(arguments[0])[0])) or "all within their bands")
        return bool(told)
    elif command == "measure":
        print(json.dumps(measure(arguments[0], Path(arguments[1])), ensure_ascii=False))
    elif command == "plant":
        missed = 0
        for name, told in table(list(arguments) or list(MISTAKES)):
            more = f", and {len(told) - 1} more" if len(told) > 1 else ""
            print(f"{name}\n    {told[0] if told else 'NOT NOTICED'}{more}", flush=True)
            missed += not told
        print(f"{len(list(arguments) or MISTAKES) - missed} noticed, {missed} not")
        return missed
    else:
        print(__doc__)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(*(sys.argv[1:] or ["help"])))
