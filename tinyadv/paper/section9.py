"""Section 9, alternative hypotheses: averaging many networks resists no better than one does.

The one idea: an ensemble has no single J. `Against` holds those that one may climb, each a function of all members'
logits.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from math import log
from typing import Any

from .. import metrics, ops
from ..backend import Array
from ..losses import softmax_cross_entropy, targets
from ..models import Network
from ..tensor import Value, raw
from . import recipes
from .figures import BLUE, GREY, ORANGE, draws
from .lab import Lab, Recipe
from .measuring import Values, attack, explains, measures
from .recipes import Profile
from .results import Measurement, Result
from .rounding import Rounded, rounded_cross_entropy
from .variations import ROUNDED, nearest, table

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


def _members(profile: Profile, seed: int) -> list[Recipe]:
    """The ensemble's members; and where choices are varied, as many that are trained as long as the naive network."""
    members = recipes.ensemble(profile, seed)
    return members + recipes.at_length(profile, seed, *members, times=1)


@measures("ensemble-12", _members, quick=False)
def ensemble_12(lab: Lab, seed: int, *networks: Network) -> Measurement:
    """Error of the ensemble on examples made against all of it, by three J's, and against its first member."""
    members, longer = networks[:12], networks[12:]
    x, y = lab.data.test
    average, values = Average(members), Values()
    values.add(metrics.evaluate(average, x, y), error="clean_error")
    of_one = attack(members[0], x, y)
    on = {
        "error_ensemble": _made(members, "probability", x, y),
        "error_mean_logit": _made(members, "logit", x, y),
        "error_summed_losses": _made(members, "losses", x, y),
        "error_member": of_one,
    }
    for name, x_adv in on.items():
        values.add(metrics.evaluate(average, x_adv, y), error=name)
    rows = _varied(average, on, values, y)
    rows.append([ROUNDED, *_errors(members, "rounded losses", Rounded(members[0]), x, y)])
    if longer:
        what = f"members trained for {lab.epochs(longer[0])} epochs"
        rows.append([f"gradient of the mean probability, {what}", *_errors(longer, "probability", longer[0], x, y)])
        rows.append([f"{ROUNDED}, {what}", *_errors(longer, "rounded losses", Rounded(longer[0]), x, y)])
    columns = ["variation", "error_ensemble", "error_member"]
    details = {"sizes": _by_size(members, of_one, x, y), "variations": table(columns, rows)}
    return values.measurement(details=details)


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


def _errors(members: Sequence[Network], J: str, first: Any, x: Array, y: Array) -> list[float]:
    """The ensemble's errors on examples made against all of it, and against its first member."""
    average = Average(members)
    return [metrics.evaluate(average, images, y).error for images in (_made(members, J, x, y), attack(first, x, y))]


def _varied(average: Average, on: dict[str, Array], values: Values, y: Array) -> list[list[Any]]:
    """What the paper leaves open: which J, and whether the images are clipped."""
    v, member = values.values, values.values["error_member"]
    clipped = [
        metrics.evaluate(average, on[name].clip(0.0, 1.0), y).error for name in ("error_ensemble", "error_member")
    ]
    return [
        ["gradient of the mean probability", v["error_ensemble"], member],
        ["gradient of the mean logit", v["error_mean_logit"], member],
        ["gradient of the summed losses", v["error_summed_losses"], member],
        ["clipped to [0, 1]", *clipped],
    ]


@explains("ensemble-12")
def _why_ensemble(result: Result) -> str:
    return nearest(result, "error_ensemble", "error_member")


@draws(
    "ensemble-12",
    "Averaging many networks is no defence",
    "Error of an ensemble under FGSM(.25) against the number of its members, on the first 1,000 test images: made "
    "against the whole ensemble (the mean probability), against its first member alone, and clean.",
)
def _draw_sizes(canvas: Any, details: dict[str, Any]) -> None:
    axes, sizes = canvas.subplots(), details["sizes"]
    for name, label, style, colour in (
        ("ensemble", "made against the whole ensemble", "o-", BLUE),
        ("member", "made against the first member", "s--", ORANGE),
        ("clean", "clean images", "^:", GREY),
    ):
        axes.plot(sizes["members"], [100 * e for e in sizes[name]], style, color=colour, label=label, clip_on=False)
    axes.set(
        xlabel="networks in the ensemble", ylabel="error of the ensemble, %", ylim=(0, 100), xticks=sizes["members"]
    )
    axes.legend(frameon=False, loc="center right")
