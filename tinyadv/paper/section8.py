"""Section 8, why adversarial examples generalize: what fools one network fools another, and into the same class.

The one idea is that of the paper: networks are close to linear, and linear models that learn the same task resemble
each other. Along a line through an image a maxout network is linear piece by piece: `pieces_along` finds every piece.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from math import nan
from typing import Any

from numpy import arange, argmax, concatenate, linspace, maximum, roll, unique, where

from ..attacks import input_gradient
from ..backend import Array, array_module, to_device
from ..layers import Dropout, Linear, Maxout
from ..metrics import in_batches, predict, wilson
from ..models import Network
from ..ops import sign
from . import recipes
from .figures import BLUE, GREEN, GREY, ORANGE, draws, show_image
from .lab import EPS, Lab, Recipe
from .measuring import Values, attack, explains, in_float64, mean, measures, random_signs
from .recipes import Profile
from .results import Measurement, Result, percent
from .rounding import Rounded
from .variations import ROUNDED, nearest, table

# ---------------------------------------------------------------------------------------------------------
# From the maxout network to shallow ones


Shares = Callable[[dict[str, Array]], list[tuple[int, int]]]


def _three(profile: Profile, seed: int) -> list[Recipe]:
    return [
        recipes.maxout(profile, seed),
        recipes.softmax_regression(profile, seed),
        recipes.rbf_network(profile, seed),
        recipes.rbf_network(profile, seed, top="rbf-true-class"),
        *recipes.at_length(profile, seed, recipes.maxout(profile, seed)),
    ]


@measures("transfer-agreement", _three)
def transfer_agreement(lab: Lab, seed: int, *networks: Network) -> Measurement:
    """Among all mistakes of the maxout network: who says the same?"""
    y = lab.data.test.y

    def shares(said: dict[str, Array]) -> list[tuple[int, int]]:
        wrong = said["maxout"] != y
        return [_same(said["maxout"], said[name], wrong) for name in ("rbf", "softmax")]

    return _transferred(lab, networks, ["agreement_rbf", "agreement_softmax"], shares)


@measures("transfer-both-wrong", _three)
def transfer_both_wrong(lab: Lab, seed: int, *networks: Network) -> Measurement:
    """Among the examples that both networks of a pair get wrong: do they say the same?"""
    y = lab.data.test.y

    def shares(said: dict[str, Array]) -> list[tuple[int, int]]:
        pairs = ("softmax", "maxout"), ("rbf", "maxout"), ("rbf", "softmax")
        return [_same(said[a], said[b], (said[a] != y) & (said[b] != y)) for a, b in pairs]

    names = ["agreement_softmax_maxout", "agreement_rbf_maxout", "agreement_rbf_softmax"]
    return _transferred(lab, networks, names, shares)


def _same(a: Array, b: Array, among: Array) -> tuple[int, int]:
    """How many of the examples `among` have the same class in a as in b, and how many there are."""
    return int(((a == b) & among).sum()), int(among.sum())


def _share(k: int, n: int) -> float:
    return k / n if n else nan


def _transferred(lab: Lab, networks: Sequence[Network], names: list[str], shares: Shares) -> Measurement:
    """The shares of agreement on the maxout network's examples, as defined and with what is left open varied."""
    maxout, softmax, rbf, other, *longer = networks
    x, y = lab.data.test
    x_adv = attack(maxout, x, y)
    kinds = {
        "as defined": (x_adv, maxout, rbf),
        "clipped to [0, 1]": (x_adv.clip(0.0, 1.0), maxout, rbf),
        "ε = .15": (attack(maxout, x, y, 0.15), maxout, rbf),
        "the RBF network's J is −log p of the true class": (x_adv, maxout, other),
        ROUNDED: (attack(Rounded(maxout), x, y), maxout, rbf),
    }
    for model in longer:
        what = f"the maxout network trained for {lab.epochs(model)} epochs"
        kinds[f"as defined, {what}"] = attack(model, x, y), model, rbf
        kinds[f"{ROUNDED}, {what}"] = attack(Rounded(model), x, y), model, rbf
    rows, columns = [], ["variation", *names, "error_maxout", "error_softmax", "error_rbf"]
    values = Values()
    for name, (images, first, third) in kinds.items():
        said = {k: predict(m, images) for k, m in (("maxout", first), ("softmax", softmax), ("rbf", third))}
        counts = shares(said)
        rows.append([name, *(_share(k, n) for k, n in counts), *(float((s != y).mean()) for s in said.values())])
        if name == "as defined":
            for quantity, (k, n) in zip(names, counts, strict=True):
                values.share(quantity, k, n)
    return values.measurement(details={"variations": table(columns, rows)})


@explains("transfer-agreement")
def _why_agreement(result: Result) -> str:
    return nearest(result, "agreement_rbf", "agreement_softmax")


@explains("transfer-both-wrong")
def _why_both_wrong(result: Result) -> str:
    return nearest(result, "agreement_softmax_maxout", "agreement_rbf_maxout", "agreement_rbf_softmax")


# ---------------------------------------------------------------------------------------------------------
# Four architectures, two halves of the training images

ARCHITECTURES = ("softmax", "maxout", "RBF", "sigmoid")


@measures(
    "transfer-subsets",
    lambda profile, seed: [r for kind in recipes.HALVES_OF for r in recipes.in_halves(profile, seed, kind)],
    quick=False,
)
def transfer_subsets(lab: Lab, seed: int, *networks: Network) -> Measurement:
    """Every network's examples shown to every other: error, and agreement where both err."""
    x, y = lab.data.test
    random = x + random_signs(x, seed, "random signs")
    under_random = [_errors(predict(m, random), y) for m in networks]
    n, pairs = len(networks), list[dict[str, Any]]()
    for i, source in enumerate(networks):
        x_adv = attack(source, x, y)
        said = [predict(m, x_adv) for m in networks]
        for j in range(n):
            same = _same(said[i], said[j], (said[i] != y) & (said[j] != y))
            pairs.append(_pair(i, j, _errors(said[j], y), same, under_random[j]))
    apart = [p for p in pairs if p["from"] != p["to"]]
    values = {
        "error_same_architecture": mean(p["error"] for p in apart if p["from"] // 2 == p["to"] // 2),
        "error_other_architecture": mean(p["error"] for p in apart if p["from"] // 2 != p["to"] // 2),
        "agreement": mean(p["agreement"] for p in apart),
    }
    details = {
        "names": [f"{kind}, half {half}" for kind in ARCHITECTURES for half in (1, 2)],
        "error": [[pairs[n * i + j]["error"] for j in range(n)] for i in range(n)],
        "agreement": [[pairs[n * i + j]["agreement"] for j in range(n)] for i in range(n)],
        "random_error": [k / m for k, m in under_random],
        "failing": [[p["from"], p["to"]] for p in apart if not p["holds"]],
    }
    return Measurement(values, holds=all(p["holds"] for p in apart), details=details)


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


@explains("transfer-subsets")
def _why_subsets(result: Result) -> str:
    """The pair that fails most clearly, of the first seed's."""
    details = result.measurements[0].details
    names, failing = details["names"], details["failing"]
    if not failing:
        return ""
    i, j = min(failing, key=lambda pair: details["error"][pair[0]][pair[1]] - details["random_error"][pair[1]])
    first = f" with seed {result.seeds[0]}" if len(result.seeds) > 1 else ""
    agreement = details["agreement"][i][j]  # none where they never err together
    common = agreement is not None and agreement == agreement
    agree = f"an agreement of {percent(agreement)}" if common else "no common error"
    return (
        f"{len(failing)} of {len(names) * (len(names) - 1)} pairs fail{first}; the examples made on “{names[i]}” raise "
        f"the error of “{names[j]}” least, to {percent(details['error'][i][j])} where random signs give "
        f"{percent(details['random_error'][j])}, with {agree}."
    )


@draws(
    "transfer-subsets",
    "What fools one network fools the others",
    "Rows: the network that the FGSM(.25) examples were made on; columns: the network that they are shown to. Each "
    "architecture is trained twice, on two halves of the training images that share none. Left: error in %; under the "
    "matrix, the error under random signs ±.25. Right: among the images that both get wrong, in how many % they say "
    "the same class (chance: 11).",
)
def _draw_matrices(canvas: Any, details: dict[str, Any]) -> None:
    from matplotlib.colors import LinearSegmentedColormap

    left, right = canvas.subplots(1, 2)
    shades = LinearSegmentedColormap.from_list("share", ["white", BLUE])
    names = [name.replace(", half ", " ") for name in details["names"]]
    for axes, rows, title in (
        (left, [*details["error"], details["random_error"]], "error, %"),
        (right, details["agreement"], "agreement where both err, %"),
    ):
        shares = [[nan if v is None else 100 * v for v in row] for row in rows]
        if axes is right:  # a network agrees with itself
            shares = [[nan if i == j else v for j, v in enumerate(row)] for i, row in enumerate(shares)]
        axes.imshow(shares, cmap=shades, vmin=0, vmax=100)
        for i, row in enumerate(shares):
            for j, v in enumerate(row):
                if v == v:
                    axes.text(j, i, f"{v:.0f}", ha="center", va="center", color="white" if v > 60 else "black")
        made = [*names, "random signs"][: len(shares)]
        axes.set_xticks(range(len(names)), names, rotation=45, ha="right")
        axes.set_yticks(range(len(made)), made)
        axes.set(title=title, xlabel="shown to", ylabel="made on")
    canvas.set_size_inches(10.5, 4.7)


# ---------------------------------------------------------------------------------------------------------
# Along one line

REACH, TRACED = 10.0, 100  # epsilon from -REACH to REACH, for so many test images
CURVE, CHECKED = 161, 40  # points of the figure's curves; pieces in whose middle the network itself is asked
SIDES = ("correct_share", "correct_share_up", "correct_share_down")  # of the whole line, of either half
SHOWN = (-10.0, -5.0, -3.0, -2.0, -1.0, -0.5, -0.25, 0.0, 0.25, 0.5, 1.0, 2.0, 3.0, 5.0, 10.0)  # images in the figure


@measures("fig4-eps-trace", lambda profile, seed: [recipes.maxout(profile, seed)], quick=False)
def fig4_eps_trace(lab: Lab, seed: int, network: Network) -> Measurement:
    """Logits along x + eps sign(grad J): every linear piece, and where the class is right."""
    x, y = lab.data.test
    model = in_float64(network)
    four = int((y == 4).argmax())
    shown = list(range(min(TRACED, len(y))))
    lines = [_line(model, network, x[i : i + 1], y[i : i + 1]) for i in shown]
    of_four = _line(model, network, x[four : four + 1], y[four : four + 1])
    holds = all(line["deviation"] <= 1e-9 and line["correct_share"] < 0.25 for line in lines)
    keys = (*SIDES, "linear_pieces", "deviation")
    values = {name: mean(line[name] for line in lines) for name in keys[:-1]}
    details = {"images": {key: [line[key] for line in lines] for key in keys}, "four": of_four["trace"]}
    return Measurement(values, holds=holds, details=details)


def _line(model: Network, network: Network, x: Array, y: Array) -> dict[str, Any]:
    """One image's line: the share where it is right, the pieces, and how far from linear the network is on them."""
    direction = to_device(sign(input_gradient(network, x, y)), "cpu")[0].astype("float64")
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


@explains("fig4-eps-trace")
def _why_trace(result: Result) -> str:
    lines = {key: [v for m in result.measurements for v in m.details["images"][key]] for key in ("deviation", *SIDES)}
    wide = sum(v >= 0.25 for v in lines["correct_share"])
    if not wide:
        return f"Between two knots the network deviates from a line by up to {max(lines['deviation']):.1g}."
    up, down = lines["correct_share_up"], lines["correct_share_down"]
    return (
        f"Of {len(up)} images {wide} are classified correctly over a quarter of the range or more; uphill (ε > 0) the "
        f"class is right on {percent(mean(up))} of the way, at most {percent(max(up))}, but downhill, where J falls, "
        f"on {percent(mean(down))}."
    )


@draws(
    "fig4-eps-trace",
    "Along the direction of FGSM, as in figure 4 of the paper",
    "Left: the ten logits of the naive maxout network at x + ε·sign(∇ₓJ) for a test image x of a 4; every curve has "
    "its class at its ends, in their order, and where the range is green the image is classified as a 4. Right: some "
    "of the images, with ε above each; thick green frames are those classified as a 4. Pixels below −1 are black, "
    "above 2 white.",
)
def _draw_trace(canvas: Any, details: dict[str, Any]) -> None:
    left, right = canvas.subfigures(1, 2, width_ratios=(1.1, 1))
    axes, four = left.subplots(), details["four"]
    eps, logits, label = four["eps"], four["logits"], four["label"]
    low, high = min(map(min, logits)), max(map(max, logits))
    for k, curve in enumerate(zip(*logits, strict=True)):
        style = {"color": BLUE, "linewidth": 3} if k == label else {"color": GREY, "linewidth": 1.2, "linestyle": "--"}
        axes.plot(eps, curve, label=f"class {k}", **style)
    for end, side, shift in ((0, "right", -0.3), (-1, "left", 0.3)):
        for k, height in enumerate(_apart(logits[end], (high - low) / 24)):
            axes.text(eps[end] + shift, height, str(k), ha=side, va="center", color=BLUE if k == label else "black")
    right_class = [max(range(len(z)), key=z.__getitem__) == label for z in logits]
    half = (eps[1] - eps[0]) / 2
    for e in (e for e, correct in zip(eps, right_class, strict=True) if correct):
        axes.axvspan(e - half, e + half, color=GREEN, alpha=0.3, linewidth=0)
    axes.set(
        xlabel="ε, in units of pixels from 0 to 1", ylabel="logit", xlim=(-11.2, 11.2), ylim=(1.1 * low, 1.1 * high)
    )
    for panel, e in zip(right.subplots(3, 5).ravel(), SHOWN, strict=True):
        at = min(range(len(eps)), key=lambda i: abs(eps[i] - e))
        image = [v + eps[at] * d for v, d in zip(four["x"], four["direction"], strict=True)]
        show_image(panel, image, f"{e:g}".replace("-", "−"), low=-1, high=2)
        panel.spines[:].set(color=GREEN if right_class[at] else GREY, linewidth=4 if right_class[at] else 0.8)
    canvas.set_size_inches(10.5, 4.4)


def _apart(heights: list[float], gap: float) -> list[float]:
    """Heights for labels near those of their curves, none nearer to another than about `gap`."""
    order = sorted(range(len(heights)), key=heights.__getitem__)
    moved = list(heights)
    for _ in range(100):
        for a, b in pairwise(order):
            if (short := gap - (moved[b] - moved[a])) > 0:
                moved[a], moved[b] = moved[a] - short / 2, moved[b] + short / 2
    return moved


# ---------------------------------------------------------------------------------------------------------
# One direction for many images

SEEN = 10_000  # training images, over which a class's mean gradient is taken


@measures("universal-direction", lambda profile, seed: [recipes.maxout(profile, seed)])
def universal_direction(lab: Lab, seed: int, network: Network) -> Measurement:
    """One perturbation for all images of a class, and one image's perturbation on another."""
    x, y = lab.data.test
    eta = attack(network, x, y) - x
    seen_x, seen_y = (a[:SEEN] for a in lab.data.train)
    signs = [sign(_mean_gradient(network, seen_x, seen_y, k)) for k in range(10)]
    labels = to_device(y, "cpu")
    next_one = arange(len(labels))  # for every image another of its class
    for k in range(10):
        next_one[labels == k] = roll(next_one[labels == k], 1)
    xp = array_module(x)
    common, swapped = EPS * xp.concatenate([s[None] for s in signs])[y], eta[xp.asarray(next_one)]
    patterns = [to_device(s, "cpu").astype(int).tolist() for s in signs]
    random = random_signs(x, seed, "random signs")
    kinds = {"error": eta, "error_common": common, "error_swapped": swapped, "error_random": random}
    values, by_class = Values(), dict[str, list[float]]()
    for name, shift in kinds.items():
        wrong = predict(network, x + shift) != y
        values.share(name, int(wrong.sum()), len(y))
        by_class[name] = [float(wrong[y == k].mean()) for k in range(10)]
    v, i = values.values, values.intervals
    holds = i["error_common"][0] > i["error_random"][1] and v["error_common"] >= v["error"] / 2
    return values.measurement(holds=holds, details={"by_class": by_class, "patterns": patterns, "errors": dict(v)})


def _mean_gradient(network: Network, x: Array, y: Array, label: int) -> Array:
    """The mean input gradient over the training images of a class, `(D,)`."""
    of_class = y == label
    return in_batches(lambda a, b: input_gradient(network, a, b), x[of_class], y[of_class]).mean(axis=0)


@explains("universal-direction")
def _why_universal(result: Result) -> str:
    errors = [m.details["errors"] for m in result.measurements]
    common, fooled, random = (mean(e[name] for e in errors) for name in ("error_common", "error", "error_random"))
    return (
        f"One perturbation a class gives an error of {percent(common)}, {common / fooled:.0%} of that under FGSM "
        f"({percent(fooled)}), and random signs {percent(random)}."
    )


@draws(
    "universal-direction",
    "One perturbation for all images of a class",
    "Left: for each class the sign of the mean input gradient over its training images, the one perturbation that is "
    "added to all test images of the class; white raises a pixel by .25, black lowers it, grey leaves it. Right: the "
    "error that it causes, beside that under each image's own FGSM perturbation, under that of another image of the "
    "class, and under random signs of the same size.",
)
def _draw_universal(canvas: Any, details: dict[str, Any]) -> None:
    left, right = canvas.subfigures(1, 2)
    for k, (panel, pattern) in enumerate(zip(left.subplots(2, 5).ravel(), details["patterns"], strict=True)):
        show_image(panel, pattern, str(k), low=-1, high=1)
    axes = right.subplots()
    kinds = (
        ("error", "its own (FGSM)", "o-", GREY),
        ("error_swapped", "another image's", "s--", ORANGE),
        ("error_common", "one for the class", "^-", BLUE),
        ("error_random", "random signs", "d:", GREEN),
    )
    for name, label, style, colour in kinds:
        axes.plot(
            range(10), [100 * e for e in details["by_class"][name]], style, color=colour, label=label, clip_on=False
        )
    axes.set(xlabel="class", ylabel="error, %", ylim=(0, 100), xticks=range(10))
    axes.legend(frameon=False, title="perturbation", fontsize=10, loc="center left", bbox_to_anchor=(1.0, 0.5))
    canvas.set_size_inches(10.5, 3.8)
