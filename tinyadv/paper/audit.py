"""The masking audit: is a network that resists FGSM robust, or does its gradient only mislead the attack?

Claims of section 6 have it; the command `tinyadv audit` is another one: see `robustness`.

Where a gradient shows the way, attacks come in an order: PGD, which follows it again and again, errs at least as often
as the single step of FGSM, that at least as often as noise of the same size, and whoever sees the network errs at
least as often as who brings examples from another. A place where the order breaks does not make a number false, but
tells that FGSM does not measure robustness there. `audit` tries all of them; `details["audit"]` of a measurement is
its `table`, and a table or page that shows the claim can flag it:

    columns     ["network", "attack", "images", "error", "low", "high"]
    rows        one list for each network and attack: two keys (see `label`), how many images (the first ones of the
                test set), the share of them misclassified, and its 95 % interval (Wilson); the last row of a network is
                the share of exactly zero entries in the input gradients, which is no error and has no interval
    violations  for each place where the order does not hold [network, stronger attack, weaker attack, images, error of
                the stronger, error of the weaker]; empty where it holds everywhere
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass
from math import nan
from typing import Any

from .. import metrics
from ..attacks import fgsm, pgd
from ..backend import Array, array_module, generator, to_device
from ..models import Network
from ..ops import sign
from .attacking import attack, random_signs
from .lab import EPS

FIRST, FEW, FEWEST = 1000, 100, 20  # test images for 20 steps of PGD, for 100 steps, and for finite differences
STEP = 0.01  # of the finite differences, in units of pixels: a 25th of EPS

CLEAN, FGSM, PREDICTED, NOISE, PGD_20, PGD_100 = "clean", "fgsm", "predicted", "noise", "pgd-20", "pgd-100"
DIFFERENCES, ZEROS, BROUGHT = "differences", "zeros", "brought:"  # the last is followed by a network's name
LABELS = {
    CLEAN: "none",
    FGSM: "FGSM",
    PREDICTED: "FGSM, away from the predicted labels",
    NOISE: "random signs",
    PGD_20: "PGD, 20 steps",
    PGD_100: "PGD, 100 steps",
    DIFFERENCES: "finite differences of J, no gradients",
    ZEROS: "(input gradients exactly 0)",
}


def label(attack: str) -> str:
    """An attack's key as text for people."""
    if attack.startswith(BROUGHT):
        return f"FGSM examples of {attack.removeprefix(BROUGHT)}"
    return LABELS.get(attack, attack)


@dataclass(frozen=True)
class Audit:
    """What was found.

    Attributes
    ----------
    wrong : dict
        By network and attack, for each of the first images whether it was misclassified: booleans on the CPU.
    zero_gradients : dict
        By network the share of entries of the input gradients that are exactly 0.
    """

    wrong: dict[str, dict[str, Array]]
    zero_gradients: dict[str, float]

    def error(self, network: str, attack: str, first: int | None = None) -> float:
        """The share misclassified, of the `first` images or of all that were tried."""
        return float(self.wrong[network][attack][:first].mean())

    def compared(self, network: str) -> Iterator[tuple[str, str, int, float, float]]:
        """What has to err at least as often as what, on how many images that both were tried on; and both errors."""
        for stronger, weaker in _order(self.wrong[network]):
            n = min(len(self.wrong[network][name]) for name in (stronger, weaker))
            yield stronger, weaker, n, self.error(network, stronger, n), self.error(network, weaker, n)

    def violations(self) -> list[list[Any]]:
        """Where the order of attacks does not hold."""
        return [
            [network, stronger, weaker, n, a, b]
            for network in self.wrong
            for stronger, weaker, n, a, b in self.compared(network)
            if a < b
        ]

    def table(self) -> dict[str, Any]:
        """All of it for `details["audit"]`; its form is said at the top of this file."""
        rows: list[list[Any]] = []
        for network, attacks in self.wrong.items():
            for name, wrong in attacks.items():
                n, k = len(wrong), int(wrong.sum())
                rows.append([network, name, n, k / n, *metrics.wilson(k, n)])
            rows.append([network, ZEROS, len(attacks[FGSM]), self.zero_gradients[network], nan, nan])
        columns = ["network", "attack", "images", "error", "low", "high"]
        return {"columns": columns, "rows": rows, "violations": self.violations()}


def _order(attacks: Mapping[str, Array]) -> list[tuple[str, str]]:
    """The attacks that have to err at least as often as others: (stronger, weaker)."""
    pairs = [(PGD_20, FGSM), (PGD_100, FGSM), (FGSM, NOISE), (PGD_100, DIFFERENCES)]
    pairs += [(FGSM, PREDICTED)]  # else the true label can be read from the perturbation: it leaks
    brought = [name for name in attacks if name.startswith(BROUGHT)]
    return pairs + [(seeing, name) for name in brought for seeing in (FGSM, PGD_20)]


def audit(
    networks: Mapping[str, Network],
    x: Array,
    y: Array,
    seed: int,
    examples: Mapping[str, Array] | None = None,
) -> Audit:
    """Attack each of the networks in every way, with EPS in the max norm, true labels, and nothing clipped.

    At 240 units it costs about five seconds a network on one core, most of them for PGD and finite differences.

    Parameters
    ----------
    networks : dict
        By name, as the table shows it. Each is also shown the FGSM examples of all others.
    x, y : arrays `(N, D)`, `(N,)`
        Test images and their labels. All are used for single steps and noise, the first FIRST, FEW, FEWEST for the
        attacks that cost more.
    seed : int
        Of noise and random starts.
    examples : dict, optional
        FGSM examples, by the names of the networks they were made on, where they have been made already.
    """
    made = dict(examples or {})
    for name, network in networks.items():
        if name not in made:
            made[name] = attack(network, x, y)
    wrong = {
        name: {
            attack: to_device(metrics.predict(network, x_adv) != y[: len(x_adv)], "cpu")
            for attack, x_adv in _attacked(name, network, x, y, seed, made)
        }
        for name, network in networks.items()
    }
    # FGSM moves every entry whose gradient is not 0
    return Audit(wrong, {name: float((made[name] == x).mean()) for name in networks})


def _attacked(
    name: str, network: Network, x: Array, y: Array, seed: int, examples: Mapping[str, Array]
) -> Iterator[tuple[str, Array]]:
    """Each attack with its examples of the first images."""
    yield CLEAN, x
    yield FGSM, examples[name]
    yield PREDICTED, fgsm(network, x[:FIRST], metrics.predict(network, x[:FIRST]), EPS)
    yield NOISE, x + random_signs(x, seed, "noise")
    for other in examples:
        if other != name:
            yield BROUGHT + other, examples[other]
    yield PGD_20, pgd(network, x[:FIRST], y[:FIRST], EPS, 20, generator(seed, "pgd"))
    yield PGD_100, pgd(network, x[:FEW], y[:FEW], EPS, 100, generator(seed, "pgd 100"))
    yield DIFFERENCES, by_differences(network, x[:FEWEST], y[:FEWEST], EPS)


def by_differences(model: Network, x: Array, y: Array, eps: float, h: float = STEP) -> Array:
    """FGSM without a gradient: x + eps sign(J(x + h e_i) - J(x)), pixel by pixel, only by asking for J.

    No gradient that is wrong, or 0, or follows the network only in its closest neighbourhood can mislead it. J is
    computed in float64, so that the difference is not lost in rounding. A forward pass for every pixel: only for a few
    images.

    Parameters
    ----------
    model, x, y, eps
        As for `attacks.fgsm`: x `(N, D)`, labels `(N,)`.
    h : float
        How far each pixel is moved by itself to see what J does.
    """
    xp, model = array_module(x), deepcopy(model).to(dtype="float64")
    steps = float(h) * xp.eye(x.shape[1], dtype="float64")
    estimates = []
    for n in range(len(x)):
        point = x[n : n + 1].astype("float64")
        outputs = model(xp.concatenate([point, point + steps]))
        costs = [model.loss(outputs[i : i + 1], y[n : n + 1]).reshape(1, 1) for i in range(len(outputs))]
        J = xp.concatenate(costs, axis=1)
        estimates.append(J[:, 1:] - J[:, :1])
    return x + float(eps) * sign(xp.concatenate(estimates)).astype(x.dtype)
