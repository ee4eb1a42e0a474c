"""Section 6, the controls: noise in place of the attack, attacks that are trained through, hidden layers perturbed.

Each network here differs from the adversarially trained one in what is put in the place of FGSM on the input, and in
nothing else. All are trained equally long, because they are compared with each other; under the published protocol the
two that are trained with noise, which have a published number, as long as the naive network.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import nan
from typing import Any

from ... import metrics
from ...backend import Array
from ...metrics import in_batches
from ...models import Network
from .. import audit, recipes
from ..attacking import attack
from ..audit import PGD_20, PREDICTED
from ..lab import Lab, Recipe, Trained
from ..profiles import Profile
from ..results import Interval, Measurement
from .common import Values, measures, three_ways, training_error, under_fgsm

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


def _measured(networks: Mapping[str, Trained], lab: Lab) -> tuple[list[Row], Values]:
    """Rows by name, and the values under the names of claims.toml: clean_error_NAME, error_NAME."""
    rows, values = [], Values()
    for name, of in networks.items():
        row, of_network = _row(name, of.network, *lab.data.test)
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


def _noisy(profile: Profile, seed: int) -> dict[str, Recipe]:
    """Networks trained with either noise, those to compare them with; varied: noise alone, and longer training."""
    sign, uniform = (recipes.noise_control(profile, seed, kind) for kind in ("sign", "uniform"))
    if profile.protocol:
        naive, trained = (recipes.maxout(profile, seed, adversarial=adversarial) for adversarial in (False, True))
    else:
        naive, trained = recipes.control(profile, seed, "clean"), recipes.control(profile, seed)
    found = {"sign": sign, "uniform": uniform, "naive": naive, "trained": trained}
    if profile.varies(seed):
        found["alone"] = recipes.noise_control(profile, seed, "sign", alpha=0.0)
    return found | recipes.longer(profile, seed, sign)


@measures("noise-sign", _noisy, quick=False)
def noise_sign(
    lab: Lab,
    seed: int,
    sign: Trained,
    uniform: Trained,
    naive: Trained,
    trained: Trained,
    alone: Trained | None = None,
    longer: Trained | None = None,
) -> Measurement:
    """Error and confidence after training with random signs, beside networks to compare with."""
    measurement = _under_noise(lab, sign, {"alone": alone, "longer": longer})
    compared = {"naive": naive, "sign": sign, "uniform": uniform, "fgsm": trained}
    measurement.details["rows"] = [_row(name, of.network, *lab.data.test)[0] for name, of in compared.items()]
    return measurement


def _uniform(profile: Profile, seed: int) -> dict[str, Recipe]:
    noisy = recipes.noise_control(profile, seed, "uniform")
    return {"uniform": noisy, **recipes.longer(profile, seed, noisy)}


@measures("noise-uniform", _uniform, quick=False)
def noise_uniform(lab: Lab, seed: int, uniform: Trained, longer: Trained | None = None) -> Measurement:
    """Error and confidence after training with uniform noise."""
    return _under_noise(lab, uniform, {"longer": longer})


def _under_noise(lab: Lab, noisy: Trained, others: Mapping[str, Trained | None]) -> Measurement:
    """What a noise claim reports; varied are the attack, and how the network is trained."""
    values, _ = under_fgsm(noisy.network, *lab.data.test)
    varied = three_ways(values.values)
    for name, other in others.items():
        if other:
            of_other, _ = under_fgsm(other.network, *lab.data.test)
            varied |= three_ways(of_other.values, name, other.epochs)
    return values.measurement(variations=varied)


# ---------------------------------------------------------------------------------------------------------
# Through the attack


@measures(
    "through-attack",
    lambda profile, seed: {
        "fgsm": recipes.control(profile, seed),
        "rotation": recipes.control(profile, seed, "through-attack", attack="rotation"),
        "scaled": recipes.control(profile, seed, "through-attack", attack="scaled-gradient"),
        "naive": recipes.control(profile, seed, "clean"),
    },
    quick=False,
)
def through_attack(
    lab: Lab, seed: int, fgsm: Trained, rotation: Trained, scaled: Trained, naive: Trained
) -> Measurement:
    """Clean error and errors under attack after training through an attack, against training with FGSM."""
    networks = {"fgsm": fgsm, "rotation": rotation, "scaled": scaled}
    rows, values = _measured({**networks, "naive": naive}, lab)
    found = audit.audit({name: of.network for name, of in networks.items()}, *lab.data.test, seed)
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


# ---------------------------------------------------------------------------------------------------------
# Hidden layers


def _hidden(profile: Profile, seed: int, kind: str, *layers: int, unit: str = "maxout") -> Recipe:
    return recipes.control(profile, seed, "hidden-layer", unit, kind=kind, layers=list(layers))


@measures(
    "hidden-additive",
    lambda profile, seed: {
        "hidden": _hidden(profile, seed, "additive", 0),
        "at_input": recipes.control(profile, seed),
        "naive": recipes.control(profile, seed, "clean"),
    },
    quick=False,
)
def hidden_additive(lab: Lab, seed: int, hidden: Trained, at_input: Trained, naive: Trained) -> Measurement:
    """Activations and errors after FGSM training on the first hidden layer, against that on the input."""
    networks = {"naive": naive, "hidden": hidden, "input": at_input}
    rows, values = _measured(networks, lab)
    sizes = {name: activation_sizes(of.network, lab.data.test.x) for name, of in networks.items()}
    v = values.values
    v["activation_growth"] = sizes["hidden"][0] / sizes["input"][0] if sizes["input"][0] else nan
    v["activation_growth_naive"] = sizes["hidden"][0] / sizes["naive"][0] if sizes["naive"][0] else nan
    worse = all(v[f"{key}_hidden"] > v[f"{key}_input"] for key in ("clean_error", "error"))
    for row in rows:
        row["activation"] = sizes[row["network"]]
    return values.measurement(holds=worse and v["activation_growth"] >= 3.0, details={"rows": rows})


@measures(
    "hidden-saturating",
    lambda profile, seed: {
        "hidden": _hidden(profile, seed, "additive", 0, unit="sigmoid"),
        "at_input": recipes.control(profile, seed, unit="sigmoid"),
        "hidden_rust": _hidden(profile, seed, "additive", 0, unit="rust"),
        "at_input_rust": recipes.control(profile, seed, unit="rust"),
    },
    quick=False,
)
def hidden_saturating(
    lab: Lab, seed: int, hidden: Trained, at_input: Trained, hidden_rust: Trained, at_input_rust: Trained
) -> Measurement:
    """Clean errors of networks whose units saturate, the first hidden layer perturbed and the input."""
    networks = {"hidden": hidden, "input": at_input, "hidden_rust": hidden_rust, "input_rust": at_input_rust}
    rows, values = _measured(networks, lab)
    for row in rows:
        row["activation"] = activation_sizes(networks[row["network"]].network, lab.data.test.x)
    overlap = [
        _overlap(values.intervals, f"clean_error_hidden{unit}", f"clean_error_input{unit}") for unit in ("", "_rust")
    ]
    return values.measurement(holds=all(overlap), details={"rows": rows})


def _overlap(intervals: Mapping[str, Interval], a: str, b: str) -> bool:
    (low_a, high_a), (low_b, high_b) = intervals[a], intervals[b]
    return low_a <= high_b and low_b <= high_a


@measures(
    "hidden-rotation",
    lambda profile, seed: {
        "rotation": _hidden(profile, seed, "rotation", 0),
        "at_input": recipes.control(profile, seed),
    },
    quick=False,
)
def hidden_rotation(lab: Lab, seed: int, rotation: Trained, at_input: Trained) -> Measurement:
    """Clean error after training with the first hidden layer's activations turned, against FGSM on the input."""
    rows, values = _measured({"rotation": rotation, "input": at_input}, lab)
    turned, added = (values.values[f"clean_error_{name}"] for name in ("rotation", "input"))
    return values.measurement(holds=turned < 0.02 and turned > added, details={"rows": rows})


PLACES = {"first": (0,), "last": (-1,), "both": (0, -1)}
KINDS = {"": "additive", "_rotation": "rotation"}


@measures(
    "hidden-last",
    lambda profile, seed: {
        f"{place}{suffix}": _hidden(profile, seed, kind, *layers)
        for suffix, kind in KINDS.items()
        for place, layers in PLACES.items()
    },
    quick=False,
)
def hidden_last(lab: Lab, seed: int, **networks: Trained) -> Measurement:
    """Training and clean error with the first hidden layer perturbed, the last, and both, in two ways."""
    rows, values = _measured(networks, lab)
    v = values.values
    for row in rows:
        name = row["network"]
        v[f"training_error_{name}"] = training_error(lab, networks[name].network)
        row["training_error"] = [v[f"training_error_{name}"]]
    underfits = all(
        v[f"training_error_{place}{kind}"] > v[f"training_error_first{kind}"]
        for place in ("last", "both")
        for kind in KINDS
    )
    best = min(v[f"clean_error_first{kind}"] for kind in KINDS)
    others = min(v[f"clean_error_{place}{kind}"] for place in ("last", "both") for kind in KINDS)
    return values.measurement(holds=underfits and best < others, details={"rows": rows})
