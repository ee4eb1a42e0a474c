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
from ...losses import softmax_cross_entropy, targets
from ...models import Network
from ...tensor import Value, raw
from .. import recipes
from ..attacking import attack
from ..lab import Lab, Recipe, Trained
from ..profiles import Profile
from ..results import Measurement
from ..rounding import Rounded, rounded_cross_entropy
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
    J : "probability", "logit", "losses" or "rounded losses"
        -log of the mean probability of the label; cross-entropy of the mean logit; the sum of the members' own, with
        its gradient as it is, or as float32 rounds it (see `rounding`).
    """

    def __init__(self, members: Sequence[Network], J: str) -> None:
        if J not in ("probability", "logit", "losses", "rounded losses"):
            raise ValueError(f"J is 'probability', 'logit', 'losses' or 'rounded losses', got {J!r}")
        self.members, self.J = members, J

    def __call__(self, x: Value) -> Value:
        return ops.concatenate([m(x) for m in self.members], axis=1)

    def loss(self, outputs: Value, y: Array) -> Value:
        """J of all logits and labels `(N,)`: the mean over the examples."""
        M = len(self.members)
        K = outputs.shape[1] // M
        parts = [outputs[:, m * K : (m + 1) * K] for m in range(M)]
        if self.J == "logit":
            return softmax_cross_entropy(_mean(parts), y)
        cost = rounded_cross_entropy if self.J == "rounded losses" else ops.softmax_cross_entropy
        costs = [cost(z, targets(y, z)) for z in parts]
        if self.J != "probability":
            return reduce(ops.add, costs).mean()
        # -log 1/M sum_m p_m = c - log sum_m e^(c - J_m) + log M, with c the smallest J_m: p_m itself may underflow
        c = reduce(lambda a, b: a + (b - a) * (b < a), map(raw, costs))
        return (c - ops.log(reduce(ops.add, [ops.exp(c - cost) for cost in costs])) + log(M)).mean()


def _mean(parts: Sequence[Value]) -> Value:
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
    of_one = attack(networks[0], x, y)
    on = {
        "error_ensemble": _made(networks, "probability", x, y),
        "error_mean_logit": _made(networks, "logit", x, y),
        "error_summed_losses": _made(networks, "losses", x, y),
        "error_member": of_one,
    }
    for name, x_adv in on.items():
        values.add(metrics.evaluate(average, x_adv, y), error=name)
    v = values.values
    varied = {
        "mean_logit": {"error_ensemble": v["error_mean_logit"], "error_member": v["error_member"]},
        "summed_losses": {"error_ensemble": v["error_summed_losses"], "error_member": v["error_member"]},
        "clipped": {
            name: metrics.evaluate(average, on[name].clip(0.0, 1.0), y).error
            for name in ("error_ensemble", "error_member")
        },
        "rounded": _errors(networks, "rounded losses", Rounded(networks[0]), x, y),
    }
    if longer:
        others, epochs = [member.network for member in longer], {"epochs": longer[0].epochs}
        varied["longer"] = _errors(others, "probability", others[0], x, y) | epochs
        varied["longer-rounded"] = _errors(others, "rounded losses", Rounded(others[0]), x, y) | epochs
    return values.measurement(variations=varied, details={"sizes": _by_size(networks, of_one, x, y)})


def _made(members: Sequence[Network], J: str, x: Array, y: Array) -> Array:
    """FGSM examples against all members together."""
    return attack(Against(members, J), x, y)


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


def _errors(members: Sequence[Network], J: str, first: Any, x: Array, y: Array) -> dict[str, float]:
    """The ensemble's errors on examples made against all of it, and against its first member."""
    on = {"error_ensemble": _made(members, J, x, y), "error_member": attack(first, x, y)}
    average = Average(members)
    return {name: metrics.evaluate(average, x_adv, y).error for name, x_adv in on.items()}
