"""How robust is a network? `tinyadv audit`: many attacks on the same images, and what the worst of them leaves.

The one idea: an attack that fails says nothing, because another may succeed. An image counts as fooled if *any* attack
fools it, and that share is the headline. Attacks that see no gradient stand beside those that do: where they succeed
more often, the gradient is masked. Single steps are there because the paper has them, the rest because it does not.
(`audit` is another file: it asks of the claims' networks whether attacks come in the order that they should.)
"""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from functools import partial, reduce
from operator import or_
from pathlib import Path
from typing import Any

from .. import metrics
from ..attacks import apgd, check_eps, fgsm, pgd, pgd_l2, square
from ..backend import Array, conversion, generator, noise
from ..by_name import check_units, in_precision_of, outputs_of
from ..datasets import mnist, npz, pair
from ..ops import sign
from .rounding import Rounded, can_be_rounded
from .show.numbers import format_share
from .show.text import latex

CLIPPED = (0.0, 1.0)


@dataclass(frozen=True)
class Effort:
    """How hard the attacks try, and how far they may go.

    Attributes
    ----------
    eps : float
        In the max norm, in units of the inputs.
    radius : float
        In the L2 norm.
    restarts : int
        Of PGD, each from a random point of the box; an image that one start fools is fooled.
    pgd_steps : tuple of int
        PGD is run once for each of them, with so many steps.
    apgd_steps, queries : int
        Of APGD, and of the square attack.
    seed : int
        Of everything random.
    """

    eps: float = 0.25
    radius: float = 2.0
    restarts: int = 5
    pgd_steps: tuple[int, ...] = (20, 100)
    apgd_steps: int = 100
    queries: int = 5000
    seed: int = 0


def check(effort: Effort) -> None:
    """ValueError if an effort cannot be: found before the first attack."""
    counts = [("restarts", effort.restarts), ("queries", effort.queries), ("apgd_steps", effort.apgd_steps)]
    counts += [("pgd_steps", steps) for steps in effort.pgd_steps]
    for name, count in counts:
        if count < 1:
            raise ValueError(f"{name} is at least 1, got {count}")
    if effort.seed < 0:
        raise ValueError(f"a seed is at least 0, got {effort.seed}")
    check_eps(effort.eps)
    if not 0 <= effort.radius < math.inf:
        raise ValueError(f"radius is how far an image may move: a finite number >= 0, got {effort.radius}")


@dataclass(frozen=True)
class Row:
    """What an attack did to a network: the share of images misclassified, and its 95 % interval (Wilson)."""

    network: str
    attack: str
    clipped: bool
    images: int
    error: float
    low: float
    high: float


COLUMNS = ("network", "attack", "clipped", "images", "error", "low", "high")
WORST, ZEROS = "worst", "zero-gradients"


def labels(effort: Effort) -> dict[str, str]:
    """The attacks' keys as text for people."""
    pgds = {
        f"pgd-{n}": f"PGD, {n} steps, {effort.restarts} random start{'s' if effort.restarts > 1 else ''}"
        for n in effort.pgd_steps
    }
    return {
        "clean": "none",
        "noise": "random signs",
        "fgsm": "FGSM",
        "fgsm-rounded": "FGSM, gradient rounded",
        **pgds,
        "apgd": f"APGD on J, {effort.apgd_steps} steps",
        "square": f"square attack, {effort.queries:,} queries",
        WORST: "worst of these, image by image",
        "l2": f"L2, radius {effort.radius:g}",
        ZEROS: "(input gradients exactly 0)",
    }


def label(attack: str, effort: Effort) -> str:
    """The text for an attack's key; examples brought from another network have that network's name in theirs."""
    if attack.startswith("from "):
        return f"FGSM examples {attack}"
    return labels(effort)[attack]


def audit_networks(
    networks: Mapping[str, Any],
    x: Array,
    y: Array,
    effort: Effort | None = None,
    clips: tuple[bool, ...] = (False, True),
    say: Callable[[str], None] = lambda line: None,
) -> list[Row]:
    """Attack each of the networks in every way on the same images.

    Parameters
    ----------
    networks : dict
        By name; models of one's own too (see `models`). Each is also shown the FGSM examples of all others.
    x, y : arrays `(N, D)`, `(N,)`
        Images, within [0, 1] where they are to be clipped, and their labels. Each network gets them in its own dtype.
    clips : tuple of bool
        Whether attacked images are kept within [0, 1]: by default not, as in the paper, and then again so.
    say : callable
        Is told what is being done.

    Returns
    -------
    list of Row
        For each network and each of `clips`: one for each attack, then the worst over those in the max norm (an image
        counts once, whichever attack fools it), the L2 attack, which has a radius of its own, and the share of entries
        of the input gradients that are exactly 0.

    Raises
    ------
    TypeError
        If the images are not floating point numbers.
    ValueError
        If the images do not fit a network, or are to be clipped and not within [0, 1]; if eps is above 1 where pixels
        are from 0 to 1; or if the effort cannot be (see `check`).
    """
    effort = effort or Effort()
    check(effort)
    if x.dtype.kind != "f":
        raise TypeError(f"networks take floating point numbers, got x of {x.dtype}: use x{conversion(x)}")
    for name, network in networks.items():
        outputs_of(name, network, x)
    check_units(effort.eps, x)
    if any(clips) and not (x.min() >= 0 and x.max() <= 1):
        raise ValueError(
            f"pixels are from 0 to 1, got some from {x.min()} to {x.max()}; images of another range are audited "
            "with --unclipped, clips=(False,)"
        )
    rows = []
    images = {name: in_precision_of(network, x) for name, network in networks.items()}
    zeros = {name: metrics.zero_gradient_share(network, images[name], y) for name, network in networks.items()}
    for clipped in clips:
        made = {name: _fgsm(network, images[name], y, effort, clipped) for name, network in networks.items()}
        for name, network in networks.items():
            wrong: dict[str, Array] = {}
            attacks = _attacks(network, images[name], y, made[name], effort, CLIPPED if clipped else None)
            for number, (attack, fooled) in enumerate(attacks.items(), start=1):
                bounds = ", clipped" if clipped else ""
                say(f"{name}{bounds}, {number} of {len(attacks)}: {label(attack, effort)}")
                wrong[attack] = fooled()
            for other, x_adv in made.items():
                if other != name:
                    wrong[f"from {other}"] = metrics.predict(network, in_precision_of(network, x_adv)) != y
            l2 = wrong.pop("l2")
            wrong[WORST] = reduce(or_, wrong.values())
            wrong["l2"] = l2
            rows += [_row(name, attack, clipped, errors) for attack, errors in wrong.items()]
            rows.append(Row(name, ZEROS, clipped, len(x), zeros[name], math.nan, math.nan))
    return rows


def _row(network: str, attack: str, clipped: bool, wrong: Array) -> Row:
    count = int(wrong.sum())
    return Row(network, attack, clipped, len(wrong), count / len(wrong), *metrics.wilson(count, len(wrong)))


def _fgsm(network: Any, x: Array, y: Array, effort: Effort, clipped: bool) -> Array:
    attack = partial(fgsm, network, eps=effort.eps, clip=CLIPPED if clipped else None)
    return metrics.in_batches(attack, x, y)


def _attacks(
    network: Any, x: Array, y: Array, made: Array, effort: Effort, clip: tuple[float, float] | None
) -> dict[str, Callable[[], Array]]:
    """For each attack what finds out which of the images it fools, `(N,)`; only those that fit the network.

    `made` are the network's own FGSM examples.
    """
    eps, seed = effort.eps, effort.seed
    in_batches = partial(metrics.in_batches, size=metrics.batch_size(network, x))
    two_classes = metrics.in_batches(network, x[:1]).ndim == 1

    def wrong(attack: Callable[[Array, Array], Array]) -> Array:
        return metrics.predict(network, in_batches(attack, x, y)) != y

    def noisy(x: Array, y: Array) -> Array:
        x = x + eps * sign(noise(generator(seed, "noise"), x, 1.0))
        return x.clip(*clip) if clip else x

    def restarted(steps: int) -> Array:
        rng, fooled = generator(seed, f"pgd {steps}"), metrics.predict(network, x) != y
        for _ in range(effort.restarts):
            left = ~fooled
            if left.any():
                attack = partial(pgd, network, eps=eps, steps=steps, rng=rng, clip=clip)
                x_adv = in_batches(attack, x[left], y[left])
                fooled[left] = metrics.predict(network, x_adv) != y[left]
        return fooled

    found: dict[str, Callable[[], Array]] = {
        "clean": lambda: metrics.predict(network, x) != y,
        "noise": lambda: wrong(noisy),
        "fgsm": lambda: metrics.predict(network, made) != y,
    }
    if can_be_rounded(network):
        found["fgsm-rounded"] = lambda: wrong(partial(fgsm, Rounded(network), eps=eps, clip=clip))
    for steps in effort.pgd_steps:
        found[f"pgd-{steps}"] = partial(restarted, steps)
    found["apgd"] = lambda: wrong(
        partial(apgd, network, eps=eps, steps=effort.apgd_steps, rng=generator(seed, "apgd"), clip=clip)
    )
    channels = _channels(x.shape[1])
    if channels and not two_classes:
        found["square"] = lambda: wrong(
            partial(
                square, network, eps=eps, queries=effort.queries, rng=generator(seed, "square"), channels=channels,
                clip=clip,
            )
        )  # fmt: skip
    found["l2"] = lambda: wrong(partial(pgd_l2, network, radius=effort.radius, clip=clip))
    return found


def _channels(D: int) -> int | None:
    """1 or 3 where rows of D numbers are square images of so many channels; else None."""
    return next((c for c in (1, 3) if D % c == 0 and math.isqrt(D // c) ** 2 == D // c), None)


# ---------------------------------------------------------------------------------------------------------
# What the command reads and writes; networks are read by `by_name.read_networks`


def read_images(path: Path | None, images: int, networks: Mapping[str, Any] | None = None) -> tuple[Array, Array]:
    """The first `images` of MNIST's test images, or of an .npz of one's own: see `datasets.npz`.

    Of MNIST, networks that all tell two classes apart are shown sevens (1) and threes (-1) alone.

    Raises
    ------
    ValueError
        If there is to be no image.
    DataError
        If the file is not such a one.
    """
    if images < 1:
        raise ValueError(f"an audit wants at least one image, got {images}")
    split = mnist().test if path is None else npz(path)
    each = (networks or {}).items()
    if path is None and each and all(outputs_of(name, network, split.x).ndim == 1 for name, network in each):
        split = pair(split, positive=7, negative=3)
    return split.x[:images], split.y[:images]


def as_text(rows: list[Row], effort: Effort) -> str:
    """For the terminal: what the worst of the attacks leaves of each network, and then a table of its attacks.

    Each with its error and the interval, unclipped and clipped.
    """
    width = max(len(label(row.attack, effort)) for row in rows) + 2
    lines = []
    for network in dict.fromkeys(row.network for row in rows):
        of_network = [row for row in rows if row.network == network]
        clips = list(dict.fromkeys(row.clipped for row in of_network))
        heads = ["clipped to [0, 1]" if clipped else "not clipped" for clipped in clips]
        worst = [format_share(row.error) for row in of_network if row.attack == WORST]
        fooled = ", ".join(f"{error} ({head})" for error, head in zip(worst, heads, strict=True))
        lines.append(f"{network}: {of_network[0].images:,} images, eps {effort.eps:g}")
        lines += [f"misclassified after at least one of the attacks: {fooled}", ""]
        lines.append(f"  {'attack':<{width}}" + "".join(f"{head:>26}" for head in heads))
        for attack in dict.fromkeys(row.attack for row in of_network):
            found = [row for row in of_network if row.attack == attack]
            cells = [format_share(row.error, None if math.isnan(row.low) else (row.low, row.high)) for row in found]
            lines.append(f"  {label(attack, effort):<{width}}" + "".join(f"{cell:>26}" for cell in cells))
        lines.append("")
    return "\n".join(lines).rstrip()


def as_csv(rows: list[Row]) -> str:
    """One line for each network, attack and bounds, as in `COLUMNS`; shares, not percent."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows([*("" if value != value else value for value in asdict(row).values())] for row in rows)
    return file.getvalue().rstrip()


def as_json(rows: list[Row], effort: Effort) -> str:
    """The rows and the effort behind them."""
    found = [{key: None if value != value else value for key, value in asdict(row).items()} for row in rows]
    return json.dumps({"effort": asdict(effort), "rows": found}, indent=2)


def as_latex(rows: list[Row], effort: Effort) -> str:
    """A tabular for a paper: networks side by side, errors in percent."""
    networks = list(dict.fromkeys(row.network for row in rows))
    clips = list(dict.fromkeys(row.clipped for row in rows))
    lines = [f"\\begin{{tabular}}{{l{'r' * len(networks) * len(clips)}}}", "\\hline"]
    heads = [f"{latex(n)}{', clipped' if clipped else ''}" for n in networks for clipped in clips]
    lines += [" & ".join(["attack", *heads]) + r" \\", "\\hline"]
    cells = {(row.network, row.attack, row.clipped): format_share(row.error).removesuffix(" %") for row in rows}
    for attack in dict.fromkeys(row.attack for row in rows):
        line = [cells.get((n, attack, clipped), "--") for n in networks for clipped in clips]
        lines.append(" & ".join([latex(label(attack, effort)), *line]) + r" \\")
    return "\n".join([*lines, "\\hline", "\\end{tabular}"])
