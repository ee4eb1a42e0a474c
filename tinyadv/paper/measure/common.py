"""What every measuring function shares: how it is marked, how its numbers are collected, how networks are attacked."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping
from copy import deepcopy
from dataclasses import dataclass, replace
from functools import partial
from math import fsum, nan
from typing import Any, TypeVar

from ... import metrics
from ...backend import Array, generator, to_device
from ...layers import parameters
from ...models import Network
from ..attacking import attack, software
from ..fingerprint import measuring
from ..lab import Lab, Recipe, Trained
from ..profiles import Profile
from ..recipes import Packaged
from ..results import Interval, Measurement, check_names, encoded
from ..rounding import certain

Some = Recipe | Packaged | list[Recipe] | dict[Any, Recipe]
Networks = Callable[[Profile, int], Mapping[str, Some]]
F = TypeVar("F", bound=Callable[..., Measurement])


@dataclass(frozen=True)
class Measure:
    """A measuring function with the recipes of its networks, by name, for a profile and a seed.

    A name stands for one recipe, or a network that came with the package, for a list of recipes, or for several by a
    key each; the function gets `lab.Trained` in the same form. `quick` says whether the claim belongs to the quick
    profile; if not, that profile measures it only when it is named. `missing` says which data the function needs that
    isn't at hand, and how to get it; "" if none. `at_hand` says what else than networks a measurement depends on: where
    that has changed it is measured again.
    """

    claim: str
    function: Callable[..., Measurement]
    networks: Networks
    quick: bool = True
    missing: Callable[[], str] = str
    at_hand: Callable[[], str] = str

    def __call__(self, lab: Lab, profile: Profile, seed: int) -> Measurement:
        """Measure with the networks of a lab.

        Raises
        ------
        ValueError
            If the function returns a number that claims.toml does not name.
        """
        recipes = self.networks(profile, seed)
        measurement = self.function(lab, seed, **{name: _each(lab, some) for name, some in recipes.items()})
        check_names(self.claim, measurement)
        usual = self.named(replace(profile, variations=False), seed)
        used = {name: _used(lab, recipe, name not in usual) for name, recipe in self.named(profile, seed).items()}
        return replace(measurement, networks=used)

    def named(self, profile: Profile, seed: int) -> dict[str, Recipe | Packaged]:
        """Every network by a name of its own: "naive", "members/3", "decayed/0.0025"."""
        found = dict[str, Recipe | Packaged]()
        for name, some in self.networks(profile, seed).items():
            if isinstance(some, Recipe | Packaged):
                found[name] = some
            else:
                pairs = some.items() if isinstance(some, dict) else enumerate(some)
                found |= {f"{name}/{key}": recipe for key, recipe in pairs}
        return found

    def recipes(self, profile: Profile, seed: int) -> list[Recipe]:
        """All recipes, of the networks that are trained here."""
        return [network for network in self.named(profile, seed).values() if isinstance(network, Recipe)]

    @property
    def program(self) -> str:
        """The fingerprint of the code that decides what is measured."""
        return measuring(sys.modules[self.function.__module__])


def _each(lab: Lab, some: Some) -> Any:
    """The trained network of a recipe, or of each of several."""
    if isinstance(some, list):
        return [lab.trained(recipe) for recipe in some]
    if isinstance(some, dict):
        return {key: lab.trained(recipe) for key, recipe in some.items()}
    return _trained(lab, some)


def _trained(lab: Lab, network: Recipe | Packaged) -> Trained:
    return network.trained(lab.device) if isinstance(network, Packaged) else lab.trained(network)


def _used(lab: Lab, recipe: Recipe | Packaged, varied: bool) -> dict[str, Any]:
    """What a measurement says of a network: what was trained, for how long, and whether that varies a choice."""
    trained = _trained(lab, recipe)
    about = {"hash": recipe.hash, "recipe": recipe.chosen, "epochs": trained.epochs}
    if isinstance(recipe, Recipe) and recipe.stage2:
        second = lab.stage2(recipe)
        about["stage2"] = {"epochs": len(second.log), "reached": second.reached}
    return about | ({"varied": True} if varied else {}) | ({"packaged": True} if trained.packaged else {})


def measures(
    claim: str,
    networks: Networks = lambda profile, seed: {},
    quick: bool = True,
    missing: Callable[[], str] = str,
    at_hand: Callable[[], str] = str,
) -> Callable[[F], F]:
    """Mark a function as the one that measures a claim; the arguments are those of `Measure`."""

    def mark(function: F) -> F:
        marked = function.__dict__.setdefault("measures", [])
        marked.append(Measure(claim, function, networks, quick, missing, at_hand))
        return function

    return mark


def logged(*keys: str, **networks: Trained) -> dict[str, dict[str, list[Any]]]:
    """What was logged after each epoch of trainings, by the network's name: lists of epochs and of each of `keys`.

    Networks whose log lacks a key are left out: of an earlier program, or trained on the validation images too.
    """
    wanted = ("epoch", *keys)
    return {
        name: {key: [entry[key] for entry in of.log] for key in wanted}
        for name, of in networks.items()
        if all(key in entry for entry in of.log for key in wanted)
    }


def mean(numbers: Iterable[float | None]) -> float:
    """The mean; NaN where one is not a number, which a results file holds as null."""
    listed = [nan if number is None else number for number in numbers]
    return fsum(listed) / len(listed)


class Values:
    """Values and their intervals over test images, collected under the names of claims.toml."""

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

    def among(self, *names: str) -> dict[str, float]:
        """The values of these names, as a variation."""
        return {name: self.values[name] for name in names}

    def measurement(self, **more: Any) -> Measurement:
        """All of them as a measurement."""
        return Measurement(self.values, self.intervals, **more)


EXACT = "_exact"  # how a quantity's name ends where the attack follows the exact gradient

ATTACKED = {"error": "error", "confidence_on_mistakes": "confidence_on_mistakes"}
CLIPPED = {name: f"{name}_clipped" for name in ATTACKED}


def under_fgsm(model: Network, x: Array, y: Array) -> tuple[Values, Array]:
    """What every FGSM claim reports of a network on x `(N, D)` with labels y `(N,)`; and the attacked x, `(N, D)`.

    "error" and its like are those of the software's gradient, with which these x were attacked; "error_exact" and its
    like those of the exact gradient, where that is another (see `attacking`).
    """
    values, x_adv = Values(), attack(software(model), x, y)
    wrong_label = {"wrong_label_probability": "wrong_label_probability"}
    values.add(metrics.evaluate(model, x, y), error="clean_error", confidence="clean_confidence")
    values.add(metrics.evaluate(model, x_adv, y), **ATTACKED, **wrong_label)
    values.add(metrics.evaluate(model, x_adv.clip(0.0, 1.0), y), **CLIPPED)
    x_exact = x_adv
    if model.top == "softmax":
        x_exact = attack(model, x, y)
        values.add(metrics.evaluate(model, x_exact, y), **exact({**ATTACKED, **wrong_label}))
        values.add(metrics.evaluate(model, x_exact.clip(0.0, 1.0), y), **exact(CLIPPED))
        values.values["certain_share"] = float(metrics.in_batches(partial(certain, model), x, y).mean())
    values.values["zero_gradient_share"] = float((x_exact == x).mean())  # FGSM moves every other entry
    return values, x_adv


def exact(names: Mapping[str, str]) -> dict[str, str]:
    """The names of quantities, by what they are read from, as those of the attack with the exact gradient."""
    return {read: name + EXACT for read, name in names.items()}


def in_short(values: Mapping[str, float], epochs: int | None = None) -> dict[str, float]:
    """Of what `under_fgsm` found of a network, what is said of a variation; `epochs` is for how long it was trained."""
    names = [*ATTACKED, *(name + EXACT for name in ATTACKED), *CLIPPED.values(), "clean_error", "certain_share"]
    length = {} if epochs is None else {"epochs": float(epochs)}
    return {name: values[name] for name in names if name in values} | length


def training_error(lab: Lab, network: Network) -> float:
    """Error on the 50,000 clean training images, dropout off."""
    return metrics.evaluate(network, *lab.data.train).error


def in_float64(network: Network) -> Network:
    """A copy of a network on the CPU in float64, where SciPy works, and rounding hides no difference."""
    return deepcopy(network).to("cpu", "float64")


def gaussian(lab: Lab, seed: int, stream: str, shape: tuple[int, int]) -> Array:
    """Samples of N(0, I), float32 `(n, D)`, not clipped, from this stream of the seed, where the lab's networks are."""
    return to_device(generator(seed, stream).standard_normal(shape, dtype="float32"), lab.device)


def weights_l1(model: Network) -> float:
    """||W||_1 of the first layer."""
    return float(abs(parameters(model)[0].data).sum())


def pictures(x: Array) -> list[str]:
    """Images `(n, D)` as texts for the results file, in 256 levels from the lowest value of all to the highest.

    They are for `draw.show_image`; `results.pixels` gives their numbers back, to within half a level.
    """
    return encoded(to_device(x, "cpu"))
