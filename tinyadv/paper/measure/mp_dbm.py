"""Section 9, a generative model: the multi-prediction deep Boltzmann machine, fooled through its own inference.

The one idea: its answer is the end of many rounds of mean field. So besides the error one can ask in which round an
attack takes hold, and whether the gradient has to go through all of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import islice
from typing import Any

from ... import metrics
from ...backend import Array, full_like, to_device
from ...dbm import machine_of, with_iterations
from ...losses import targets
from ...models import Network
from ...ops import softmax
from .. import audit, recipes
from ..attacking import attack
from ..lab import Lab, Recipe, Trained
from ..profiles import Profile
from ..recipes import Packaged
from ..results import Measurement
from .common import logged, measures, pictures, under_fgsm

NAME = "MP-DBM"  # in the audit
FIRST = 1000  # test images for everything that is asked of many numbers of rounds
ROUNDS = (2, 3, 4, 6, 10, 14, 28)  # of mean field, at inference and in the attack; 14 is the published number
SHOWN = 6  # digits whose hidden half is filled in: the first of the test images


def _networks(profile: Profile, seed: int) -> dict[str, Recipe | Packaged | dict[Any, Recipe]]:
    """The machine; and where choices are varied, machines trained with fewer rounds of mean field."""
    machine = recipes.mp_dbm(profile, seed)
    return {"machine": machine, "fewer": recipes.mp_dbm_of_fewer_rounds(profile, seed)}


@measures("mp-dbm", _networks)
def mp_dbm(lab: Lab, seed: int, machine: Trained, fewer: Mapping[int, Trained] | None = None) -> Measurement:
    """Error of the machine, clean and under FGSM through all rounds; the audit; errors against the number of rounds."""
    network, (x, y) = machine.network, lab.data.test
    values, x_adv = under_fgsm(network, x, y)
    x_exact, variations = attack(network, x, y), dict[str, dict[str, float]]()
    for n, trained in (fewer or {}).items():
        of_fewer, _ = under_fgsm(trained.network, x, y)
        variations[f"rounds:{n}"] = of_fewer.among("clean_error", "error", "error_exact")
    details = {
        "audit": audit.audit({NAME: network}, x, y, seed, examples={NAME: x_exact}).table(),
        "rounds": by_rounds(network, x[:FIRST], y[:FIRST], x_exact[:FIRST]),
        "probabilities": over_rounds(network, x[:FIRST], y[:FIRST], x_adv[:FIRST]),
        "filled_in": filled_in(network, x[:SHOWN]),
        "logs": logged("error", clean=machine) | logged("software_error", attacked=machine),
    }
    return values.measurement(variations=variations, details=details)


def by_rounds(network: Network, x: Array, y: Array, x_adv: Array) -> dict[str, Any]:
    """Errors against the number of rounds, in the order of ROUNDS.

    "clean": of the machine that infers for so many. "own": of the same, on examples made through so many. "truncated":
    of the machine with all its rounds, on examples made through so many. "full": of the machine that infers for so
    many, on `x_adv`, made through all. All attacks follow the exact gradient.
    """
    found: dict[str, Any] = {"n": list(ROUNDS), "images": len(x), "clean": [], "own": [], "truncated": [], "full": []}
    for n in ROUNDS:
        short = with_iterations(network, n)
        made = attack(short, x, y)
        for name, judge, images in (
            ("clean", short, x),
            ("own", short, made),
            ("truncated", network, made),
            ("full", short, x_adv),
        ):
            found[name].append(metrics.evaluate(judge, images, y).error)
    return found


def over_rounds(network: Network, x: Array, y: Array, x_adv: Array) -> dict[str, Any]:
    """The probability of the true class after each round, over images that are classified correctly and then fooled.

    For "clean" and "attacked" images a list of three quartiles for each round from 1 on.
    """
    fooled = (metrics.predict(network, x) == y) & (metrics.predict(network, x_adv) != y)
    found: dict[str, Any] = {"images": int(fooled.sum()), "clean": [], "attacked": []}
    if not found["images"]:
        return found
    for name, images in (("clean", x), ("attacked", x_adv)):
        found[name] = [_quartiles(p) for p in _probabilities(network, images[fooled], y[fooled])]
    return found


def _probabilities(network: Network, x: Array, y: Array) -> list[list[float]]:
    """p of the true class after each round, a list over the images for each."""
    machine = machine_of(network)
    rounds = islice(machine.mean_field(x), machine.iterations - 1)
    each = [to_device((softmax(z) * targets(y, z)).sum(axis=1), "cpu").tolist() for _, _, z in rounds]
    return [each[0], *each]  # after round 1 the label is that of round 2


def _quartiles(p: list[float]) -> list[float]:
    """Lower quartile, median, upper quartile of at least one number."""
    ordered = sorted(p)
    return [ordered[round(share * (len(ordered) - 1))] for share in (0.25, 0.5, 0.75)]


def filled_in(network: Network, x: Array) -> dict[str, Any]:
    """Digits whose right, or lower, half is hidden, and what the machine thinks it was: pixels as probabilities."""
    hidden = {}
    for half in ("right", "lower"):
        M = full_like(x, 0.0).reshape(-1, 28, 28)
        if half == "right":
            M[:, :, 14:] = 1.0
        else:
            M[:, 14:] = 1.0
        M = M.reshape(x.shape)
        pixels, _ = machine_of(network).fill_in(x, M)
        filled = (1.0 - M) * x + M * pixels
        error = float((abs(pixels - x) * M).sum() / M.sum())
        hidden[half] = {"seen": pictures((1.0 - M) * x), "filled": pictures(filled), "mean_difference": error}
    return {"images": pictures(x), **hidden}
