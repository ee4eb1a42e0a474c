"""How a claim is measured: a function of trained networks, and the recipes that it needs.

A section's module marks its functions with `@measures(claim id, recipes)`. The runner can so see what is to be trained
before it starts, and a function gets its networks ready: `function(lab, seed, *networks) -> Measurement`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from copy import deepcopy
from dataclasses import dataclass, replace
from functools import partial
from math import fsum, nan
from typing import Any, TypeVar

from .. import metrics
from ..attacks import fgsm
from ..backend import Array, generator, noise, to_device
from ..layers import parameters
from ..models import Network
from ..ops import sign
from .figures import encoded
from .lab import EPS, Lab, Recipe
from .recipes import Profile
from .registry import claims
from .results import EXPLAINED, Interval, Measurement, Result, status
from .rounding import Rounded, certain

Recipes = Callable[[Profile, int], list[Recipe]]
F = TypeVar("F", bound=Callable[..., Measurement])


@dataclass(frozen=True)
class Measure:
    """A measuring function with the recipes of its networks, for a profile and a seed.

    `units` is how many maxout units a layer the paper has in this claim's networks, where that is not 240. `quick`
    says whether it belongs to the quick profile; if not, that profile measures it only when it is named.
    """

    claim: str
    function: Callable[..., Measurement]
    recipes: Recipes
    units: int | None = None
    quick: bool = True

    def __call__(self, lab: Lab, profile: Profile, seed: int) -> Measurement:
        recipes = self.recipes(profile, seed)
        measurement = self.function(lab, seed, *(lab.network(recipe) for recipe in recipes))
        named = {q.name for q in claims()[self.claim].quantities}  # what the registry does not name is not reported
        return replace(
            measurement,
            values={name: v for name, v in measurement.values.items() if name in named},
            intervals={name: v for name, v in measurement.intervals.items() if name in named},
            recipes=[recipe.hash for recipe in recipes],
        )

    def scale(self, profile: Profile) -> str:
        """In what the profile is smaller than the paper, in words; networks that only vary a choice do not count."""
        measured = self.recipes(replace(profile, variations=False), 0)
        parts = [part for recipe in measured for part in profile.scale(recipe, self.units)]
        return "; ".join(dict.fromkeys(parts))


MEASURES: dict[str, Measure] = {}


def measures(
    claim: str, recipes: Recipes = lambda profile, seed: [], units: int | None = None, quick: bool = True
) -> Callable[[F], F]:
    """Mark a function as the one that measures a claim."""

    def mark(function: F) -> F:
        MEASURES[claim] = Measure(claim, function, recipes, units, quick)
        return function

    return mark


EXPLANATIONS: dict[str, Callable[[Result], str]] = {}


def explains(claim: str) -> Callable[[Callable[[Result], str]], Callable[[Result], str]]:
    """Mark a function as the one that says why a claim differs, from what was measured; it may say "" for nothing."""

    def mark(function: Callable[[Result], str]) -> Callable[[Result], str]:
        EXPLANATIONS[claim] = function
        return function

    return mark


def reason(result: Result) -> str:
    """Why a result differs from the paper, in a sentence with measured numbers; "" if it does not, or nobody knows.

    A predicate fails for a seed: where it is all that there is, the sentence is about the seeds for which it does. Of a
    claim on other data than MNIST it says what MNIST gave.
    """
    claim, explain = claims()[result.claim], EXPLANATIONS.get(result.claim)
    if explain is None or status(claim, result) not in EXPLAINED:
        return ""
    failing = [(s, m) for s, m in zip(result.seeds, result.measurements, strict=True) if m.holds is False]
    if claim.published or len(failing) in (0, len(result.seeds)):
        return explain(result)
    seeds = [seed for seed, _ in failing]
    said = explain(replace(result, seeds=seeds, measurements=[m for _, m in failing]))
    return f"With seed{'s' * (len(seeds) > 1)} {', '.join(map(str, seeds))}: {said}" if said else ""


def mean(numbers: Iterable[float | None]) -> float:
    """The mean; NaN where one is not a number, which a results file holds as null."""
    listed = [nan if number is None else number for number in numbers]
    return fsum(listed) / len(listed)


class Values:
    """Values and their intervals over test images, collected under the registry's names."""

    def __init__(self) -> None:
        self.values: dict[str, float] = {}
        self.intervals: dict[str, Interval] = {}

    def add(self, evaluation: Any, **names: str) -> None:
        """Take `evaluation.quantity` as `name` for each `quantity=name`, with its interval where it has one."""
        for quantity, name in names.items():
            self.values[name] = getattr(evaluation, quantity)
            if quantity in evaluation.intervals:
                self.intervals[name] = evaluation.intervals[quantity]

    def share(self, name: str, k: int, n: int) -> None:
        """Take k of n as `name`, with its interval; NaN without one if n is 0."""
        self.values[name] = k / n if n else nan
        if n:
            self.intervals[name] = metrics.wilson(k, n)

    def measurement(self, **more: Any) -> Measurement:
        """All of them as a measurement."""
        return Measurement(self.values, self.intervals, **more)


def attack(model: Any, x: Array, y: Array, eps: float = EPS) -> Array:
    """FGSM with the true labels y `(N,)` on x `(N, D)`, not clipped, in batches: `(N, D)`."""
    return metrics.in_batches(partial(fgsm, model, eps=eps), x, y)


def random_signs(x: Array, seed: int, stream: str) -> Array:
    """Noise as large as the attack, +EPS or -EPS for each entry of x, from this stream of the seed."""
    return EPS * sign(noise(generator(seed, stream), x, 1.0))


def under_fgsm(model: Network, x: Array, y: Array) -> tuple[Values, Array]:
    """What every FGSM claim reports of a network on x `(N, D)` with labels y `(N,)`; and the attacked x, `(N, D)`."""
    values, x_adv = Values(), attack(model, x, y)
    values.add(metrics.evaluate(model, x, y), error="clean_error", confidence="clean_confidence")
    values.add(metrics.evaluate(model, x_adv, y), error="error", confidence_on_mistakes="confidence_on_mistakes",
                wrong_label_probability="wrong_label_probability")  # fmt: skip
    values.add(metrics.evaluate(model, x_adv.clip(0.0, 1.0), y), error="error_clipped",
                confidence_on_mistakes="confidence_on_mistakes_clipped")  # fmt: skip
    if model.top == "softmax":
        values.add(metrics.evaluate(model, attack(Rounded(model), x, y), y), error="error_rounded",
                    confidence_on_mistakes="confidence_on_mistakes_rounded")  # fmt: skip
        values.values["certain_share"] = float(metrics.in_batches(partial(certain, model), x, y).mean())
    values.values["zero_gradient_share"] = float((x_adv == x).mean())  # FGSM moves every other entry
    return values, x_adv


def training_error(lab: Lab, network: Network) -> float:
    """Error on the 50,000 clean training images, dropout off."""
    return metrics.evaluate(network, *lab.data.train).error


def in_float64(network: Network) -> Network:
    """A copy of a network on the CPU in float64, where SciPy works, and rounding hides no difference."""
    return deepcopy(network).to("cpu", "float64")


def weights_l1(model: Network) -> float:
    """||W||_1 of the first layer."""
    return float(abs(parameters(model)[0].data).sum())


def pictures(x: Array) -> list[str]:
    """Images `(n, D)` as texts for the results file, in 256 levels from the lowest value of all to the highest.

    They are for `figures.show_image`; `figures.pixels` gives their numbers back, to within half a level.
    """
    return encoded(to_device(x, "cpu"))
