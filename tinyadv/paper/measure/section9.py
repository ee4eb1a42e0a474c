"""Section 9, alternative hypotheses: averaging many networks resists no better than one does.

The one idea: an ensemble has no single J. `Against` holds those that one may climb, each a function of all members'
logits.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from math import log
from typing import Any

from ... import metrics, ops
from ...backend import Array
from ...losses import targets
from ...models import Network
from ...tensor import Alike, Value, raw
from .. import recipes
from ..attacking import attack, software
from ..lab import Lab, Recipe, Trained
from ..profiles import Profile
from ..results import Measurement
from ..rounding import rounded_cross_entropy
from .common import Values, measures

SUBSETS = (1, 2, 4, 8, 12)  # ensembles of the first members


class Average:
    """The mean of the members' probabilities: what the ensemble says; in and out `(N, D)` and `(N, K)`."""

    def __init__(self, members: Sequence[Network]) -> None:
        self.members = members

    def __call__(self, x: Array) -> Array:
        return _mean([m.probabilities(m(x)) for m in self.members])

    def probabilities(self, outputs: Array) -> Array:
        """The outputs are the probabilities."""
        return outputs


class Against:
    """All members' logits, side by side `(N, M K)`, and a J of all of them, for the attack to climb.

    Parameters
    ----------
    members : networks with a softmax on top
    J : "probability", "logit" or "losses"
        -log of the mean probability of the label; cross-entropy of the mean logit; the sum of the members' own.
    rounded : bool
        Whether every softmax has the gradient of the paper's software, as float32 rounds it (see `rounding`).
    """

    def __init__(self, members: Sequence[Network], J: str, rounded: bool = True) -> None:
        if J not in ("probability", "logit", "losses"):
            raise ValueError(f"J is 'probability', 'logit' or 'losses', got {J!r}")
        self.members, self.J = members, J
        self.cost = rounded_cross_entropy if rounded else ops.softmax_cross_entropy

    def __call__(self, x: Value) -> Value:
        return ops.concatenate([m(x) for m in self.members], axis=1)

    def loss(self, outputs: Value, y: Array) -> Value:
        """J of all logits and labels `(N,)`: the mean over the examples."""
        M = len(self.members)
        K = outputs.shape[1] // M
        parts = [outputs[:, m * K : (m + 1) * K] for m in range(M)]
        if self.J == "logit":
            z = _mean(parts)
            return self.cost(z, targets(y, z)).mean()
        costs = [self.cost(z, targets(y, z)) for z in parts]
        if self.J != "probability":
            return reduce(ops.add, costs).mean()
        # -log 1/M sum_m p_m = c - log sum_m e^(c - J_m) + log M, with c the smallest J_m: p_m itself may underflow
        c = reduce(lambda a, b: a + (b - a) * (b < a), map(raw, costs))
        return (c - ops.log(reduce(ops.add, [ops.exp(c - cost) for cost in costs])) + log(M)).mean()


def _mean(parts: Sequence[Value]) -> Alike:
    return reduce(ops.add, parts) * (1.0 / len(parts))


def _members(profile: Profile, seed: int) -> dict[str, list[Recipe]]:
    """The ensemble's members; and where choices are varied, as many that are trained as long as the naive network."""
    members = recipes.ensemble(profile, seed)
    return {"members": members, "longer": recipes.at_length(profile, seed, *members, times=1)}


@measures("ensemble-12", _members, quick=False)
def ensemble_12(lab: Lab, seed: int, members: list[Trained], longer: Sequence[Trained] = ()) -> Measurement:
    """Error of the ensemble on examples made against all of it, by three J's, and against its first member."""
    x, y = lab.data.test
    networks = [member.network for member in members]
    average, values = Average(networks), Values()
    values.add(metrics.evaluate(average, x, y), error="clean_error")
    of_one = attack(software(networks[0]), x, y)
    whole = _made(networks, "probability", x, y)
    for name, x_adv in (
        ("error_ensemble", whole),
        ("error_member", of_one),
        ("error_mean_logit", _made(networks, "logit", x, y)),
        ("error_summed_losses", _made(networks, "losses", x, y)),
        ("error_ensemble_exact", _made(networks, "probability", x, y, rounded=False)),
        ("error_member_exact", attack(networks[0], x, y)),
        ("error_mean_logit_exact", _made(networks, "logit", x, y, rounded=False)),
        ("error_summed_losses_exact", _made(networks, "losses", x, y, rounded=False)),
    ):
        values.add(metrics.evaluate(average, x_adv, y), error=name)
    varied = {
        "mean_logit": {"error_ensemble": values.values["error_mean_logit"]},
        "summed_losses": {"error_ensemble": values.values["error_summed_losses"]},
        "clipped": {
            name: metrics.evaluate(average, x_adv.clip(0.0, 1.0), y).error
            for name, x_adv in (("error_ensemble", whole), ("error_member", of_one))
        },
    }
    if longer:
        varied["longer"] = _errors([member.network for member in longer], x, y) | {"epochs": longer[0].epochs}
    return values.measurement(variations=varied, details={"sizes": _by_size(networks, of_one, x, y)})


def _made(members: Sequence[Network], J: str, x: Array, y: Array, rounded: bool = True) -> Array:
    """FGSM examples against all members together."""
    return attack(Against(members, J, rounded), x, y)


def _by_size(members: Sequence[Network], of_one: Array, x: Array, y: Array, first: int = 1000) -> dict[str, Any]:
    """Errors of ensembles of the first members, on the first test images."""
    x, y, of_one = x[:first], y[:first], of_one[:first]
    sizes: dict[str, Any] = {"members": [], "images": len(x), "ensemble": [], "member": [], "clean": []}
    for n in (n for n in SUBSETS if n <= len(members)):
        average = Average(members[:n])
        sizes["members"].append(n)
        made = {"ensemble": _made(members[:n], "probability", x, y), "member": of_one, "clean": x}
        for name, images in made.items():
            sizes[name].append(metrics.evaluate(average, images, y).error)
    return sizes


def _errors(members: Sequence[Network], x: Array, y: Array) -> dict[str, float]:
    """The ensemble's errors on examples against all of it, and its first member, with either gradient."""
    average, first = Average(members), members[0]
    on = {
        "error_ensemble": _made(members, "probability", x, y),
        "error_member": attack(software(first), x, y),
        "error_ensemble_exact": _made(members, "probability", x, y, rounded=False),
        "error_member_exact": attack(first, x, y),
    }
    return {name: metrics.evaluate(average, x_adv, y).error for name, x_adv in on.items()}
