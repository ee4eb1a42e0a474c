"""Section 6, the controls: noise in place of the attack, attacks that are trained through, hidden layers perturbed.

Each network here differs from the adversarially trained one in what is put in the place of FGSM on the input, and in
nothing else. All are trained equally long, because they are compared with each other; under the published protocol the
two that are trained with noise, which have a published number, as long as the naive network.
A reader may skip the figures: they are bars, drawn by one function from one form of rows.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import nan
from typing import Any

from .. import metrics
from ..backend import Array
from ..metrics import in_batches
from ..models import Network
from . import audit, recipes, variations
from .audit import PGD_20, PREDICTED
from .figures import BLUE, GREEN, GREY, ORANGE, draws
from .lab import Lab, Recipe
from .measuring import Values, attack, explains, measures, training_error, under_fgsm
from .recipes import Profile
from .results import Interval, Measurement, Result, percent

Row = dict[str, Any]  # a network's name, shares and their intervals: what the bars are drawn from

# ---------------------------------------------------------------------------------------------------------
# What is measured of every network


def _row(name: str, network: Network, x: Array, y: Array) -> tuple[Row, Values]:
    """Clean and FGSM error of a network, as a row for the figures and as values with their intervals."""
    values = Values()
    values.add(metrics.evaluate(network, x, y), error="clean_error")
    values.add(metrics.evaluate(network, attack(network, x, y), y), error="error")
    shares = {key: [values.values[key], *values.intervals[key]] for key in ("clean_error", "error")}
    return {"network": name, **shares}, values


def _measured(networks: Mapping[str, Network], lab: Lab) -> tuple[list[Row], Values]:
    """Rows by name, and the values under the registry's names: clean_error_NAME, error_NAME."""
    rows, values = [], Values()
    for name, network in networks.items():
        row, of_network = _row(name, network, *lab.data.test)
        rows.append(row)
        for part in ("values", "intervals"):
            getattr(values, part).update({f"{key}_{name}": v for key, v in getattr(of_network, part).items()})
    return rows, values


def activation_sizes(network: Network, x: Array) -> list[float]:
    """The mean absolute activation of each hidden layer over inputs x `(N, D)`, dropout off."""

    def of_layer(i: int) -> float:
        total, count = 0.0, 0

        def note(h: Array) -> Array:
            nonlocal total, count
            total, count = total + float(abs(h).sum()), count + h.size
            return h

        in_batches(lambda part: network(part, after={i: note}), x)
        return total / count

    return [of_layer(i) for i in network.hidden]


# ---------------------------------------------------------------------------------------------------------
# Noise


def _noisy(profile: Profile, seed: int) -> list[Recipe]:
    """Networks trained with either noise, those to compare them with; varied: noise alone, and longer training."""
    noisy = [recipes.noise_control(profile, seed, kind) for kind in ("sign", "uniform")]
    if profile.protocol:
        others = [recipes.maxout(profile, seed, adversarial=adversarial) for adversarial in (False, True)]
    else:
        others = [recipes.control(profile, seed, "clean"), recipes.control(profile, seed)]
    alone = [recipes.noise_control(profile, seed, "sign", alpha=0.0)] if profile.varies(seed) else []
    return noisy + others + alone + recipes.at_length(profile, seed, noisy[0])


@measures("noise-sign", _noisy, quick=False)
def noise_sign(
    lab: Lab, seed: int, network: Network, uniform: Network, naive: Network, trained: Network, *varied: Network
) -> Measurement:
    """Error and confidence after training with random signs, beside networks to compare with."""
    measurement = _under_noise(lab, network, dict(zip(("noisy images alone", "longer"), varied, strict=False)))
    compared = {"naive": naive, "±ε": network, "U(−ε, ε)": uniform, "FGSM": trained}
    measurement.details["rows"] = [_row(name, model, *lab.data.test)[0] for name, model in compared.items()]
    return measurement


def _uniform(profile: Profile, seed: int) -> list[Recipe]:
    noisy = recipes.noise_control(profile, seed, "uniform")
    return [noisy, *recipes.at_length(profile, seed, noisy)]


@measures("noise-uniform", _uniform, quick=False)
def noise_uniform(lab: Lab, seed: int, network: Network, *longer: Network) -> Measurement:
    """Error and confidence after training with uniform noise."""
    return _under_noise(lab, network, dict(zip(["longer"], longer, strict=False)))


def _under_noise(lab: Lab, network: Network, varied: Mapping[str, Network]) -> Measurement:
    """What a noise claim reports; varied are the attack, and how the network is trained."""
    values, _ = under_fgsm(network, *lab.data.test)
    rows = variations.ways("", values.values)
    for name, other in varied.items():
        what = f", trained for {lab.epochs(other)} epochs" if name == "longer" else f", trained with {name}"
        rows += variations.ways(what, under_fgsm(other, *lab.data.test)[0].values)
    return values.measurement(details={"variations": variations.table(["FGSM", *variations.WAYS], rows)})


@explains("noise-sign")
@explains("noise-uniform")
def _why_noise(result: Result) -> str:
    """Which variation comes nearest to the paper's two numbers."""
    return variations.nearest(result, "error", "confidence_on_mistakes")


# ---------------------------------------------------------------------------------------------------------
# Through the attack


@measures(
    "through-attack",
    lambda profile, seed: [
        recipes.control(profile, seed),
        recipes.control(profile, seed, "through-attack", attack="rotation"),
        recipes.control(profile, seed, "through-attack", attack="scaled-gradient"),
        recipes.control(profile, seed, "clean"),
    ],
    quick=False,
)
def through_attack(
    lab: Lab, seed: int, fgsm: Network, rotation: Network, scaled: Network, naive: Network
) -> Measurement:
    """Clean error and errors under attack after training through an attack, against training with FGSM."""
    networks = {"fgsm": fgsm, "rotation": rotation, "scaled": scaled}
    rows, values = _measured({**networks, "naive": naive}, lab)
    found = audit.audit(networks, *lab.data.test, seed)
    v = values.values
    for name in networks:
        for key, attacked in (("pgd_error", PGD_20), ("predicted_error", PREDICTED)):
            wrong = found.wrong[name][attacked]
            values.share(f"{key}_{name}", int(wrong.sum()), len(wrong))
    holds = all(
        v[f"{key}_{name}"] > v[f"{key}_fgsm"] for key in ("clean_error", "pgd_error") for name in list(networks)[1:]
    )
    for row in rows[:-1]:
        name = f"pgd_error_{row['network']}"
        row["pgd_error"] = [v[name], *values.intervals[name]]
    return values.measurement(holds=holds, details={"rows": rows, "audit": found.table()})


@explains("through-attack")
def _why_through(result: Result) -> str:
    """Which of the comparisons fails, and whether the perturbation tells the label: FGSM errs less than no attack."""
    texts = []
    for name, words in (("rotation", "through the rotation"), ("scaled", "through the scaled gradient")):
        better = [
            f"{kind} {percent(result.mean(f'{key}_{name}'))} against {percent(result.mean(f'{key}_fgsm'))}"
            for key, kind in (("clean_error", "clean error"), ("pgd_error", "PGD error"))
            if not result.mean(f"{key}_{name}") > result.mean(f"{key}_fgsm")
        ]
        if better:
            texts.append(f"trained {words} the network does no worse than trained with FGSM ({', '.join(better)})")
        if result.mean(f"error_{name}") < result.mean(f"clean_error_{name}"):
            attacked, clean = (percent(result.mean(f"{key}_{name}")) for key in ("error", "clean_error"))
            texts.append(
                f"trained {words} it errs less under FGSM, {attacked}, than on clean images, {clean}: it reads the "
                "label off the perturbation"
            )
    return _sentence(texts)


# ---------------------------------------------------------------------------------------------------------
# Hidden layers


def _hidden(profile: Profile, seed: int, kind: str, *layers: int, unit: str = "maxout") -> Recipe:
    return recipes.control(profile, seed, "hidden-layer", unit, kind=kind, layers=list(layers))


@measures(
    "hidden-additive",
    lambda profile, seed: [
        _hidden(profile, seed, "additive", 0),
        recipes.control(profile, seed),
        recipes.control(profile, seed, "clean"),
    ],
    quick=False,
)
def hidden_additive(lab: Lab, seed: int, hidden: Network, at_input: Network, naive: Network) -> Measurement:
    """Activations and errors after FGSM training on the first hidden layer, against that on the input."""
    networks = {"hidden": hidden, "input": at_input}
    rows, values = _measured({"naive": naive, **networks}, lab)
    sizes = {n: activation_sizes(m, lab.data.test.x) for n, m in {**networks, "naive": naive}.items()}
    v = values.values
    v["activation_growth"] = sizes["hidden"][0] / sizes["input"][0] if sizes["input"][0] else nan
    v["activation_growth_naive"] = sizes["hidden"][0] / sizes["naive"][0] if sizes["naive"][0] else nan
    worse = all(v[f"{key}_hidden"] > v[f"{key}_input"] for key in ("clean_error", "error"))
    for row in rows:
        row["activation"] = sizes[row["network"]]
    return values.measurement(holds=worse and v["activation_growth"] >= 3.0, details={"rows": rows})


@explains("hidden-additive")
def _why_additive(result: Result) -> str:
    """Which part fails: the growth, or an error."""
    texts = []
    growth = result.mean("activation_growth")
    if not growth >= 3.0:
        texts.append(
            f"perturbed activations grow {growth:.2g}-fold, not threefold (against a network trained without any "
            f"attack {result.mean('activation_growth_naive'):.2g}-fold)"
        )
    for key, words in (("clean_error", "clean error"), ("error", "FGSM error")):
        hidden, at_input = result.mean(f"{key}_hidden"), result.mean(f"{key}_input")
        if not hidden > at_input:
            texts.append(f"the {words} is {percent(hidden)}, with perturbed inputs {percent(at_input)}")
    return _sentence(texts)


@measures(
    "hidden-saturating",
    lambda profile, seed: [
        recipe
        for unit in ("sigmoid", "rust")
        for recipe in (_hidden(profile, seed, "additive", 0, unit=unit), recipes.control(profile, seed, unit=unit))
    ],
    quick=False,
)
def hidden_saturating(lab: Lab, seed: int, *networks: Network) -> Measurement:
    """Clean errors of networks whose units saturate, the first hidden layer perturbed and the input."""
    names = ("hidden", "input", "hidden_rust", "input_rust")
    rows, values = _measured(dict(zip(names, networks, strict=True)), lab)
    for row, network in zip(rows, networks, strict=True):
        row["activation"] = activation_sizes(network, lab.data.test.x)
    overlap = [
        _overlap(values.intervals, f"clean_error_hidden{unit}", f"clean_error_input{unit}") for unit in ("", "_rust")
    ]
    return values.measurement(holds=all(overlap), details={"rows": rows})


def _overlap(intervals: Mapping[str, Interval], a: str, b: str) -> bool:
    (low_a, high_a), (low_b, high_b) = intervals[a], intervals[b]
    return low_a <= high_b and low_b <= high_a


@explains("hidden-saturating")
def _why_saturating(result: Result) -> str:
    """For the units whose clean errors differ: which perturbation does better, and what it does to the FGSM error."""
    texts = []
    for unit, words in (("", "sigmoid"), ("_rust", "Rust-type")):
        names = [f"clean_error_{kind}{unit}" for kind in ("hidden", "input")]
        if any(not _overlap(m.intervals, *names) for m in result.measurements):
            hidden, at_input = map(result.mean, names)
            texts.append(
                f"with {words} units the clean error is {percent(hidden)} with the first hidden layer perturbed and "
                f"{percent(at_input)} with the input"
            )
    return _sentence(texts)


@measures(
    "hidden-rotation",
    lambda profile, seed: [_hidden(profile, seed, "rotation", 0), recipes.control(profile, seed)],
    quick=False,
)
def hidden_rotation(lab: Lab, seed: int, rotation: Network, at_input: Network) -> Measurement:
    """Clean error after training with the first hidden layer's activations turned, against FGSM on the input."""
    rows, values = _measured({"rotation": rotation, "input": at_input}, lab)
    turned, added = (values.values[f"clean_error_{name}"] for name in ("rotation", "input"))
    return values.measurement(holds=turned < 0.02 and turned > added, details={"rows": rows})


@explains("hidden-rotation")
def _why_rotation(result: Result) -> str:
    """Which part fails."""
    turned, added = result.mean("clean_error_rotation"), result.mean("clean_error_input")
    texts = []
    if not turned < 0.02:
        texts.append(f"at this scale the network with turned activations ends at a clean error of {percent(turned)}")
    if not turned > added:
        texts.append(
            f"turning activations regularises no less: clean error {percent(turned)} against {percent(added)} with "
            f"perturbed inputs, though FGSM errors are {percent(result.mean('error_rotation'))} and "
            f"{percent(result.mean('error_input'))}"
        )
    return _sentence(texts)


PLACES = {"first": (0,), "last": (-1,), "both": (0, -1)}
KINDS = {"": "additive", "_rotation": "rotation"}


@measures(
    "hidden-last",
    lambda profile, seed: [
        _hidden(profile, seed, kind, *layers) for kind in KINDS.values() for layers in PLACES.values()
    ],
    quick=False,
)
def hidden_last(lab: Lab, seed: int, *networks: Network) -> Measurement:
    """Training and clean error with the first hidden layer perturbed, the last, and both, in two ways."""
    names = [f"{place}{suffix}" for suffix in KINDS for place in PLACES]
    rows, values = _measured(dict(zip(names, networks, strict=True)), lab)
    v = values.values
    for name, row, network in zip(names, rows, networks, strict=True):
        v[f"training_error_{name}"] = training_error(lab, network)
        row["training_error"] = [v[f"training_error_{name}"]]
    underfits = all(
        v[f"training_error_{place}{kind}"] > v[f"training_error_first{kind}"]
        for place in ("last", "both")
        for kind in KINDS
    )
    best = min(v[f"clean_error_first{kind}"] for kind in KINDS)
    others = min(v[f"clean_error_{place}{kind}"] for place in ("last", "both") for kind in KINDS)
    return values.measurement(holds=underfits and best < others, details={"rows": rows})


@explains("hidden-last")
def _why_last(result: Result) -> str:
    """Which comparison fails."""
    texts = []
    for kind, words in (("", "additive"), ("_rotation", "rotational")):
        first = result.mean(f"training_error_first{kind}")
        for place in ("last", "both"):
            other = result.mean(f"training_error_{place}{kind}")
            if not other > first:
                where = "the last hidden layer" if place == "last" else "both hidden layers"
                texts.append(
                    f"with {words} perturbation of {where} the training error is {percent(other)}, of the first alone "
                    f"{percent(first)}"
                )
    best = min(result.mean(f"clean_error_first{kind}") for kind in KINDS)
    others = min(result.mean(f"clean_error_{place}{kind}") for place in ("last", "both") for kind in KINDS)
    if not best < others:
        texts.append(
            f"the lowest clean error with the last layer perturbed is {percent(others)}, without {percent(best)}"
        )
    return _sentence(texts)


def _sentence(texts: list[str]) -> str:
    """Clauses, one sentence; "" of none."""
    text = "; ".join(texts)
    return f"{text[0].upper()}{text[1:]}." if text else ""


# ---------------------------------------------------------------------------------------------------------
# Figures: bars with the 95 % intervals over the test images


def _bars(axes: Any, rows: list[Row], names: Mapping[str, str], key: str, label: str, colour: str) -> None:
    """A bar for each row that has the share `key`, with its interval if it has one, and its value written above."""
    shown = [row for row in rows if key in row]
    shares = [100 * row[key][0] for row in shown]
    axes.bar(range(len(shown)), shares, color=colour, width=0.7)
    ends = [row[key] if len(row[key]) == 3 else [row[key][0]] * 3 for row in shown]
    # at no and at only mistakes rounding may put an end of the interval on the wrong side
    below = [100 * max(0.0, share - low) for share, low, _ in ends]
    above = [100 * max(0.0, high - share) for share, _, high in ends]
    axes.errorbar(range(len(shown)), shares, yerr=[below, above], fmt="none", color="black", capsize=4, linewidth=1.5)
    for i, (share, _, high) in enumerate(ends):  # written above the interval, not across it
        place, text = (i, 100 * max(share, high)), f"{100 * share:.3g}"
        axes.annotate(text, place, xytext=(0, 3), textcoords="offset points", ha="center", va="bottom")
    axes.set(ylabel=label, xticks=range(len(shown)), xticklabels=[names[row["network"]] for row in shown])
    axes.set_ylim(0, 1.15 * max([*(100 * end[2] for end in ends), 1e-9]))


@draws(
    "noise-sign",
    "Noise is no substitute for the attack",
    "Errors on the test images of maxout networks that differ in what they were trained with: nothing added, noise of "
    "the attack's size, and FGSM. Lines are 95 % intervals.",
)
def _draw_noise(canvas: Any, details: dict[str, Any]) -> None:
    names = {row["network"]: row["network"] for row in details["rows"]}
    left, right = canvas.subplots(1, 2)
    _bars(left, details["rows"], names, "clean_error", "clean error, %", BLUE)
    _bars(right, details["rows"], names, "error", "error under FGSM(.25), %", ORANGE)
    for axes in (left, right):
        axes.set_xlabel("trained with")
    canvas.set_size_inches(9, 4)


@draws(
    "through-attack",
    "Training through the attack",
    "Errors on the test images of maxout networks that were trained equally long: naively, with FGSM, and through a "
    "rotation and a scaled gradient, whose reaction to the parameters is part of the gradient. An error under FGSM "
    "below the clean error means that the perturbation tells the label. Lines are 95 % intervals.",
)
def _draw_through(canvas: Any, details: dict[str, Any]) -> None:
    names = {"naive": "naive", "fgsm": "FGSM", "rotation": "rotation", "scaled": "scaled\ngradient"}
    rows = sorted(details["rows"], key=lambda row: list(names).index(row["network"]))
    panels = canvas.subplots(1, 3)
    _bars(panels[0], rows, names, "clean_error", "clean error, %", BLUE)
    _bars(panels[1], rows, names, "error", "error under FGSM(.25), %", ORANGE)
    _bars(panels[2], rows, names, "pgd_error", "error under PGD, 20 steps, first images, %", GREEN)
    canvas.set_size_inches(11, 4.2)


@draws(
    "hidden-additive",
    "The fast gradient sign method on hidden activations",
    "Maxout networks trained equally long: naively, with FGSM(.25) on the input, and on the first hidden layer's "
    "activations. Left, the mean absolute activation of the hidden layers over the test images; then errors, with 95 % "
    "intervals.",
)
def _draw_additive(canvas: Any, details: dict[str, Any]) -> None:
    names = {"naive": "naive", "input": "input", "hidden": "hidden"}
    rows = sorted(details["rows"], key=lambda row: list(names).index(row["network"]))
    panels = canvas.subplots(1, 3)
    for layer, (label, colour, hatch) in enumerate((("first layer", GREEN, ""), ("second layer", GREY, "//"))):
        places = [i + 0.38 * (layer - 0.5) for i in range(len(rows))]
        sizes = [row["activation"][layer] for row in rows]
        bars = panels[0].bar(places, sizes, width=0.36, color=colour, hatch=hatch, edgecolor="white", label=label)
        panels[0].bar_label(bars, [f"{size:.2g}" for size in sizes])
    panels[0].set(ylabel="mean absolute activation", xticks=range(len(rows)))
    panels[0].set_xticklabels([names[row["network"]] for row in rows])
    panels[0].legend(frameon=False)
    _bars(panels[1], rows, names, "clean_error", "clean error, %", BLUE)
    _bars(panels[2], rows, names, "error", "error under FGSM(.25), %", ORANGE)
    canvas.set_size_inches(11, 4.2)


@draws(
    "hidden-saturating",
    "Units that saturate: the input perturbed, or the first hidden layer",
    "Errors on the test images, with 95 % intervals, of networks of sigmoid units and of Rust-type units.",
)
def _draw_saturating(canvas: Any, details: dict[str, Any]) -> None:
    names = {"input": "sigmoid,\ninput", "hidden": "sigmoid,\nhidden"}
    names |= {"input_rust": "Rust,\ninput", "hidden_rust": "Rust,\nhidden"}
    rows = sorted(details["rows"], key=lambda row: list(names).index(row["network"]))
    left, right = canvas.subplots(1, 2)
    _bars(left, rows, names, "clean_error", "clean error, %", BLUE)
    _bars(right, rows, names, "error", "error under FGSM(.25), %", ORANGE)
    canvas.set_size_inches(9, 4)


@draws(
    "hidden-last",
    "Which hidden layer is perturbed",
    "Maxout networks trained equally long with the activations of the first, the last or both hidden layers perturbed, "
    "additively or by a rotation: error on the clean training images, and on the test images with 95 % intervals.",
)
def _draw_last(canvas: Any, details: dict[str, Any]) -> None:
    names = {place: f"{place},\nadded" for place in PLACES} | {f"{p}_rotation": f"{p},\nturned" for p in PLACES}
    left, right = canvas.subplots(1, 2)
    _bars(left, details["rows"], names, "training_error", "training error, %", GREY)
    _bars(right, details["rows"], names, "clean_error", "clean test error, %", BLUE)
    canvas.set_size_inches(11, 4)
