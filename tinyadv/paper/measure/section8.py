"""Section 8, why adversarial examples generalize: what fools one network fools another, and into the same class.

The one idea is that of the paper: networks are close to linear, and linear models that learn the same task resemble
each other. Along a line through an image a maxout network is linear piece by piece: `pieces_along` finds every piece.
"""

from __future__ import annotations

from collections.abc import Callable
from math import nan
from typing import Any

from numpy import arange, argmax, concatenate, linspace, maximum, roll, unique, where

from ...attacks import input_gradient
from ...backend import Array, array_module, to_device
from ...layers import Dropout, Linear, Maxout
from ...metrics import evaluate, in_batches, predict, wilson
from ...models import Network
from ...ops import sign
from .. import recipes
from ..attacking import attack, random_signs, software
from ..lab import EPS, Lab, Recipe, Trained
from ..profiles import Profile
from ..results import Measurement
from .common import EXACT, Values, in_float64, mean, measures

# ---------------------------------------------------------------------------------------------------------
# From the maxout network to shallow ones


Shares = Callable[[dict[str, Array]], dict[str, tuple[int, int]]]


def _three(profile: Profile, seed: int) -> dict[str, Recipe]:
    maxout = recipes.maxout(profile, seed)
    return {
        "maxout": maxout,
        **recipes.longer(profile, seed, maxout),
        "softmax": recipes.softmax_regression(profile, seed),
        "rbf": recipes.rbf_network(profile, seed),
        "rbf_true_class": recipes.rbf_network(profile, seed, top="rbf-true-class"),
    }


@measures("transfer-agreement", _three)
def transfer_agreement(lab: Lab, seed: int, **networks: Trained) -> Measurement:
    """Among all mistakes of the maxout network: who says the same? And the other way round for softmax regression."""
    x, y = lab.data.test

    def shares(said: dict[str, Array]) -> dict[str, tuple[int, int]]:
        wrong = said["maxout"] != y
        return {f"agreement_{name}": _same(said["maxout"], said[name], wrong) for name in ("rbf", "softmax")}

    values, varied = _transferred(lab, shares, **networks)
    maxout, softmax = (networks[name].network for name in ("maxout", "softmax"))
    x_adv = attack(software(softmax), x, y)
    said = predict(maxout, x_adv)
    wrong = said != y
    values.share("error_of_softmax_s", int(wrong.sum()), len(y))
    values.share("agreement_of_softmax_s", *_same(said, predict(softmax, x_adv), wrong))
    return values.measurement(variations=varied)


@measures("transfer-both-wrong", _three)
def transfer_both_wrong(lab: Lab, seed: int, **networks: Trained) -> Measurement:
    """Among the examples that both networks of a pair get wrong: do they say the same?

    The last pair also on examples made on softmax regression, the other reading of what the paper compares.
    """
    x, y = lab.data.test

    def both_wrong(a: Array, b: Array) -> tuple[int, int]:
        return _same(a, b, (a != y) & (b != y))

    def shares(said: dict[str, Array]) -> dict[str, tuple[int, int]]:
        pairs = ("softmax", "maxout"), ("rbf", "maxout"), ("rbf", "softmax")
        return {f"agreement_{a}_{b}": both_wrong(said[a], said[b]) for a, b in pairs}

    values, varied = _transferred(lab, shares, **networks)
    softmax, rbf = (networks[name].network for name in ("softmax", "rbf"))
    for end, of in (("", software(softmax)), (EXACT, softmax)):
        x_adv = attack(of, x, y)
        values.share(f"agreement_rbf_softmax_own{end}", *both_wrong(predict(rbf, x_adv), predict(softmax, x_adv)))
    return values.measurement(variations=varied)


def _same(a: Array, b: Array, among: Array) -> tuple[int, int]:
    """How many of the examples `among` have the same class in a as in b, and how many there are."""
    return int(((a == b) & among).sum()), int(among.sum())


def _share(k: int, n: int) -> float:
    return k / n if n else nan


def _transferred(
    lab: Lab,
    shares: Shares,
    maxout: Trained,
    softmax: Trained,
    rbf: Trained,
    rbf_true_class: Trained,
    longer: Trained | None = None,
) -> tuple[Values, dict[str, dict[str, float]]]:
    """The shares of agreement on the maxout network's examples, as defined; and with what is left open varied.

    Each with the software's gradient and with the exact one.
    """
    x, y = lab.data.test
    values, varied = Values(), dict[str, dict[str, float]]()

    def shown(x_adv: Array, attacked: Trained, third: Trained) -> tuple[dict[str, tuple[int, int]], dict[str, float]]:
        """The counts of agreement on examples made on a maxout network, and everybody's errors."""
        networks = {"maxout": attacked.network, "softmax": softmax.network, "rbf": third.network}
        said = {name: predict(network, x_adv) for name, network in networks.items()}
        return shares(said), {f"error_{name}": float((s != y).mean()) for name, s in said.items()}

    def vary(key: str, end: str, x_adv: Array, attacked: Trained, third: Trained, **more: float) -> None:
        counts, errors = shown(x_adv, attacked, third)
        found = {name: _share(k, n) for name, (k, n) in counts.items()} | errors
        varied.setdefault(key, {}).update({name + end: value for name, value in found.items()} | more)

    for end, of in (("", software), (EXACT, _as_it_is)):
        x_adv = attack(of(maxout.network), x, y)
        counts, errors = shown(x_adv, maxout, rbf)
        for name, (k, n) in counts.items():
            values.share(name + end, k, n)
        values.values |= {name + end: error for name, error in errors.items()}
        vary("clipped", end, x_adv.clip(0.0, 1.0), maxout, rbf)
        vary("eps:0.15", end, attack(of(maxout.network), x, y, 0.15), maxout, rbf)
        vary("true_class", end, x_adv, maxout, rbf_true_class)
        if longer:
            vary("longer", end, attack(of(longer.network), x, y), longer, rbf, epochs=longer.epochs)
    return values, varied


def _as_it_is(network: Network) -> Network:
    return network


# ---------------------------------------------------------------------------------------------------------
# Four architectures, two halves of the training images


@measures(
    "transfer-subsets",
    lambda profile, seed: {kind: recipes.in_halves(profile, seed, kind) for kind in recipes.HALVES_OF},
    quick=False,
)
def transfer_subsets(lab: Lab, seed: int, **halves: list[Trained]) -> Measurement:
    """Every network's examples shown to every other: error, and agreement where both err.

    The statement and the details are about the software's gradient.
    """
    x, y = lab.data.test
    networks = [half.network for both in halves.values() for half in both]
    random = x + random_signs(x, seed, "random signs")
    under_random = [_errors(predict(m, random), y) for m in networks]
    n = len(networks)

    def shown(of: Callable[[Network], Any]) -> list[dict[str, Any]]:
        """Every pair of networks, the examples made with the gradient of `of(network)`."""
        pairs = []
        for i, source in enumerate(networks):
            x_adv = attack(of(source), x, y)
            said = [predict(m, x_adv) for m in networks]
            for j in range(n):
                same = _same(said[i], said[j], (said[i] != y) & (said[j] != y))
                pairs.append(_pair(i, j, _errors(said[j], y), same, under_random[j]))
        return pairs

    pairs = shown(software)
    details = {
        "names": [f"{kind}/{half}" for kind in halves for half in (0, 1)],
        "error": [[pairs[n * i + j]["error"] for j in range(n)] for i in range(n)],
        "agreement": [[pairs[n * i + j]["agreement"] for j in range(n)] for i in range(n)],
        "random_error": [k / m for k, m in under_random],
        "failing": [[p["from"], p["to"]] for p in pairs if p["from"] != p["to"] and not p["holds"]],
    }
    by_exact = {name + EXACT: value for name, value in _means(shown(_as_it_is)).items()}
    return Measurement(_means(pairs) | by_exact, holds=not details["failing"], details=details)


def _means(pairs: list[dict[str, Any]]) -> dict[str, float]:
    """The means over the pairs of two networks."""
    apart = [p for p in pairs if p["from"] != p["to"]]
    return {
        "error_same_architecture": mean(p["error"] for p in apart if p["from"] // 2 == p["to"] // 2),
        "error_other_architecture": mean(p["error"] for p in apart if p["from"] // 2 != p["to"] // 2),
        "agreement": mean(p["agreement"] for p in apart),
    }


def _errors(said: Array, y: Array) -> tuple[int, int]:
    return int((said != y).sum()), len(y)


def _pair(i: int, j: int, wrong: tuple[int, int], same: tuple[int, int], random: tuple[int, int]) -> dict[str, Any]:
    """What one network's examples do to another, and whether it is more than random signs and chance would do."""
    more = wilson(*wrong)[0] > wilson(*random)[1]
    return {
        "from": i,
        "to": j,
        "error": _share(*wrong),
        "agreement": _share(*same),
        "holds": more and same[1] > 0 and wilson(*same)[0] > 1 / 9,  # nine wrong classes
    }


# ---------------------------------------------------------------------------------------------------------
# Along one line

REACH, TRACED = 10.0, 100  # epsilon from -REACH to REACH, for so many test images of a digit
FAR = 2.0  # beyond this epsilon, on both sides, an image of the figure is wrong everywhere
CURVE, CHECKED = 161, 40  # points of the figure's curves; pieces in whose middle the network itself is asked
SIDES = ("correct_share", "correct_share_up", "correct_share_down")  # of the whole line, of either half


@measures("fig4-eps-trace", lambda profile, seed: {"naive": recipes.maxout(profile, seed)}, quick=False)
def fig4_eps_trace(lab: Lab, seed: int, naive: Trained) -> Measurement:
    """Logits along x + eps sign(grad J): every linear piece, and where the class is right, for 4s and by digit.

    The statement is about the software's gradient, and so are the numbers by digit.
    """
    network, (x, y) = naive.network, lab.data.test
    model, labels = in_float64(network), to_device(y, "cpu")
    right = to_device(predict(network, x) == y, "cpu")
    images = {k: _first(labels == k) for k in range(10)}
    exact, lines = (
        {k: [_line(model, of, x[i : i + 1], y[i : i + 1]) for i in images[k]] for k in images}
        for of in (network, software(network))
    )

    def far_away(found: dict[int, list[dict[str, Any]]], k: int) -> tuple[int, int]:
        """How many of how many images of a digit that are classified correctly are wrong on both sides."""
        wrong = [line["wrong_beyond"] for line, i in zip(found[k], images[k], strict=True) if right[i]]
        return sum(wrong), len(wrong)

    values, keys = Values(), (*SIDES, "linear_pieces", "deviation")
    for end, found in (("", lines), (EXACT, exact)):
        values.values |= {name + end: mean(line[name] for line in found[4]) for name in (*SIDES, "linear_pieces")}
        values.share(f"wrong_beyond{end}", *far_away(found, 4))
    for k in lines:
        values.share(f"wrong_beyond_{k}", *far_away(lines, k))
    every_line = [line for of in (lines, exact) for of_digit in of.values() for line in of_digit]
    straight = all(line["deviation"] <= 1e-9 for line in every_line)
    details = {
        "images": {key: [line[key] for line in lines[4]] for key in keys},
        "by_digit": {
            str(k): {name: mean(line[name] for line in lines[k]) for name in SIDES} | {"images": len(lines[k])}
            for k in lines
        },
        "four": lines[4][0]["trace"],
        "four_exact": exact[4][0]["trace"],
    }
    return values.measurement(holds=straight and values.values["wrong_beyond"] > 0.5, details=details)


def _first(chosen: Array) -> list[int]:
    """Where the first TRACED of the chosen images are."""
    return [int(i) for i in array_module(chosen).flatnonzero(chosen)[:TRACED]]


def _line(model: Network, attacked: Any, x: Array, y: Array) -> dict[str, Any]:
    """One image's line along the attacked network's gradient: the share where it is right, the pieces, and how far from
    linear the network is on them.
    """
    direction = to_device(sign(input_gradient(attacked, x, y)), "cpu")[0].astype("float64")
    start, label = to_device(x, "cpu")[0].astype("float64"), int(y[0])
    t, z = pieces_along(model, start, direction, -REACH, REACH)
    picked = linspace(0, len(t) - 2, min(CHECKED, len(t) - 1)).astype(int)
    middle = (t[picked] + t[picked + 1]) / 2
    asked = model(start + middle[:, None] * direction)
    points = linspace(-REACH, REACH, CURVE)
    down, up = (_right(t, z, label, *side) / REACH for side in ((-REACH, 0.0), (0.0, REACH)))
    trace = {
        "label": label,
        "eps": points.tolist(),
        "logits": _between(t, z, points).round(4).tolist(),
        "x": [round(float(v), 3) for v in start],
        "direction": [int(v) for v in direction],
    }
    return {
        "correct_share": (up + down) / 2,
        "correct_share_up": up,
        "correct_share_down": down,
        "wrong_beyond": _right(t, z, label, -REACH, -FAR) + _right(t, z, label, FAR, REACH) == 0.0,
        "linear_pieces": len(t) - 1,
        "deviation": float(abs(asked - _between(t, z, middle)).max() / abs(z).max()),
        "trace": trace,
    }


def pieces_along(model: Network, x: Array, direction: Array, low: float, high: float) -> tuple[Array, Array]:
    """The outputs of a maxout network at x + t direction for t from `low` to `high`: linear between the knots t.

    Parameters
    ----------
    model : Network of Maxout layers and a Linear one on top; dropout is off
    x, direction : float64 arrays `(D,)`, on the CPU

    Returns
    -------
    t `(S + 1,)`, ascending: both ends, and wherever another piece of some unit takes over, which is exact to rounding;
    outputs `(S + 1, K)` there

    Raises
    ------
    TypeError
        If a layer is of another kind.
    """
    t = linspace(low, high, 2)
    h = x + t[:, None] * direction
    for layer in model.layers:
        if isinstance(layer, Maxout):
            W, b = layer.W.data, layer.b.data
            z = h @ W.reshape(-1, W.shape[-1]).T + b
            z = z.reshape(len(t), *W.shape[:2])  # the pieces are linear between the knots of the layer below
            knots = unique(concatenate([t, _crossings(t, z)]))
            h, t = _between(t, z, knots).max(axis=1), knots
        elif isinstance(layer, Linear):
            h = layer(h)
        elif not isinstance(layer, Dropout):
            raise TypeError(f"a {type(layer).__name__} layer is not piecewise linear, or its pieces are not known here")
    return t, h


def _crossings(t: Array, z: Array) -> Array:
    """Where the winning piece changes: z `(S + 1, pieces, units)` at the knots t `(S + 1,)`, linear between them.

    A maximum of lines is convex: if one piece wins at both ends of an interval, it wins throughout. Else the winners
    of both ends, a and b, cross; if a third piece is above them there, it has a crossing with each.
    """
    left, right = z[:-1], z[1:]
    a, b = left.argmax(axis=1), right.argmax(axis=1)
    i, u = (a != b).nonzero()
    a, b, found = a[i, u], b[i, u], [t[:0]]
    while len(i):
        n, start, end = arange(len(i)), left[i, :, u], right[i, :, u]
        ahead, behind = start[n, a] - start[n, b], end[n, b] - end[n, a]
        share = ahead / (ahead + behind)
        there = start + share[:, None] * (end - start)
        c = argmax(there, axis=1)
        third = there[n, c] - maximum(there[n, a], there[n, b]) > 1e-12 * abs(there).max(axis=1)
        found.append((t[i] + share * (t[i + 1] - t[i]))[~third])
        a, b = concatenate([a[third], c[third]]), concatenate([c[third], b[third]])
        i, u = concatenate([i[third]] * 2), concatenate([u[third]] * 2)
    return concatenate(found)


def _between(t: Array, z: Array, points: Array) -> Array:
    """z `(S + 1, ...)` at the knots t, linear between them, at `points` `(n,)` -> `(n, ...)`."""
    i = (t.searchsorted(points, side="right") - 1).clip(0, len(t) - 2)
    share = ((points - t[i]) / (t[i + 1] - t[i])).reshape(-1, *[1] * (z.ndim - 1))
    return z[i] + share * (z[i + 1] - z[i])


def _right(t: Array, z: Array, label: int, low: float, high: float) -> float:
    """The length of the part of [low, high] where output `label` is the largest: exact, piece by piece."""
    margins = z[:, [label]] - z[:, [k for k in range(z.shape[1]) if k != label]]
    m0, m1 = margins[:-1], margins[1:]
    crossing = m0 / where(m0 == m1, 1.0, m0 - m1)
    start = where(m0 >= 0, 0.0, where(m1 > 0, crossing, 1.0)).max(axis=1)
    end = where(m1 >= 0, 1.0, where(m0 > 0, crossing, 0.0)).min(axis=1)
    first, last = ((t[:-1] + share * (t[1:] - t[:-1])).clip(low, high) for share in (start, end))
    return float((last - first).clip(0.0, None).sum())


# ---------------------------------------------------------------------------------------------------------
# One direction for many images

SEEN = 10_000  # training images, over which a class's mean gradient is taken


@measures("universal-direction", lambda profile, seed: {"naive": recipes.maxout(profile, seed)})
def universal_direction(lab: Lab, seed: int, naive: Trained) -> Measurement:
    """One perturbation for all images of a class, and one image's perturbation on another.

    The statement and the details are about the software's gradient.
    """
    network, (x, y) = naive.network, lab.data.test
    random = random_signs(x, seed, "random signs")
    values, by_class = Values(), dict[str, list[float]]()
    for end, of in ((EXACT, network), ("", software(network))):
        kinds, signs = _shifts(of, lab)
        for name, shift in (kinds | ({} if end else {"error_random": random})).items():
            evaluation = evaluate(network, x + shift, y)
            values.add(evaluation, error=name + end)
            if name == "error_other":
                values.add(evaluation, confidence_on_mistakes="confidence_other" + end)
            wrong = predict(network, x + shift) != y
            by_class[name] = [float(wrong[y == k].mean()) for k in range(10)]
    patterns = [to_device(s, "cpu").astype(int).tolist() for s in signs]
    v, i = values.values, values.intervals
    holds = i["error_common"][0] > i["error_random"][1] and v["error_common"] >= v["error"] / 2
    return values.measurement(holds=holds, details={"by_class": by_class, "patterns": patterns})


def _shifts(of: Any, lab: Lab) -> tuple[dict[str, Array], list[Array]]:
    """What is added to the test images, `(N, D)` each, by the gradients of a network; and the signs for each class.

    "error": each image's own perturbation. "error_common": one for the class. "error_swapped": that of another image of
    the class. "error_other": that of another image, of any class.
    """
    x, y = lab.data.test
    xp, labels = array_module(x), to_device(y, "cpu")
    eta = attack(of, x, y) - x
    seen_x, seen_y = (a[:SEEN] for a in lab.data.train)
    signs = [sign(_mean_gradient(of, seen_x, seen_y, k)) for k in range(10)]
    next_one = arange(len(labels))  # for every image another of its class
    for k in range(10):
        next_one[labels == k] = roll(next_one[labels == k], 1)
    any_other = roll(arange(len(labels)), 1)
    shifts = {
        "error": eta,
        "error_common": EPS * xp.concatenate([s[None] for s in signs])[y],
        "error_swapped": eta[xp.asarray(next_one)],
        "error_other": eta[xp.asarray(any_other)],
    }
    return shifts, signs


def _mean_gradient(network: Any, x: Array, y: Array, label: int) -> Array:
    """The mean input gradient over the training images of a class, `(D,)`."""
    of_class = y == label
    return in_batches(lambda a, b: input_gradient(network, a, b), x[of_class], y[of_class]).mean(axis=0)
