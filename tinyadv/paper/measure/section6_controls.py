"""Section 6, the controls: noise in place of the attack, attacks that are trained through, hidden layers perturbed.

Each network here differs from the adversarially trained one in what is put in the place of FGSM on the input, and in
nothing else. Those that are compared with each other are trained equally long: with noise as long as the naive network,
all others for the profile's "hidden" epochs. Attacks on hidden layers see the network without dropout, and so does FGSM
on the input that they are held against; "masked" is FGSM on the input of the network with this batch's masks.
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
from ..attacking import attack, software
from ..audit import PGD_20, PREDICTED
from ..lab import Lab, Recipe, Trained
from ..profiles import Profile
from ..results import Interval, Measurement
from .common import EXACT, Values, in_short, logged, measures, training_error, under_fgsm

Row = dict[str, Any]  # a network's name, shares and their intervals: what the bars are drawn from

# ---------------------------------------------------------------------------------------------------------
# What is measured of every network


def _row(name: str, network: Network, x: Array, y: Array) -> tuple[Row, Values]:
    """Clean and FGSM error of a network, as a row for the figures and as values with their intervals."""
    values = Values()
    values.add(metrics.evaluate(network, x, y), error="clean_error")
    values.add(metrics.evaluate(network, attack(software(network), x, y), y), error="error")
    values.add(metrics.evaluate(network, attack(network, x, y), y), error="error" + EXACT)
    shares = {key: [values.values[key], *values.intervals[key]] for key in ("clean_error", "error")}
    return {"network": name, **shares}, values


def _measured(networks: Mapping[str, Trained], lab: Lab) -> tuple[list[Row], Values]:
    """Rows by name, and the values under the names of claims.toml: clean_error_NAME, error_NAME, error_NAME_exact."""
    rows, values = [], Values()
    for name, of in networks.items():
        row, of_network = _row(name, of.network, *lab.data.test)
        rows.append(row)
        for part in ("values", "intervals"):
            getattr(values, part).update({_named(key, name): v for key, v in getattr(of_network, part).items()})
    return rows, values


def _named(key: str, network: str) -> str:
    end = EXACT if key.endswith(EXACT) else ""
    return f"{key.removesuffix(EXACT)}_{network}{end}"


def _masked(masked: Trained, lab: Lab, name: str) -> dict[str, dict[str, float]]:
    """The variation where FGSM on the input sees this batch's masks; `name` is that of the network it stands for."""
    _, values = _row(name, masked.network, *lab.data.test)
    return {"masked": {_named(key, name): value for key, value in values.values.items()}}


def activation_sizes(network: Network, x: Array) -> list[float]:
    """The mean absolute activation of each hidden layer over inputs x `(N, D)`, dropout off."""

    def of_layer(i: int) -> float:
        total, count = 0.0, 0

        def note(h: Any) -> Any:
            nonlocal total, count
            total, count = total + float(abs(h).sum()), count + h.size
            return h

        in_batches(lambda part: network(part, after={i: note}), x)
        return total / count

    return [of_layer(i) for i in network.hidden]


# ---------------------------------------------------------------------------------------------------------
# Noise


def _control(
    profile: Profile, seed: int, objective: str = "adversarial", unit: str = "maxout", **options: Any
) -> Recipe:
    """A network that is trained for the "hidden" epochs: see `recipes.control`."""
    return recipes.control(profile, seed, objective, unit, length="hidden", **options)


def _noisy(profile: Profile, seed: int, kind: str) -> dict[str, Recipe]:
    """A network trained with noise; varied are a mixture with clean images, and longer training."""
    noisy = recipes.noise_control(profile, seed, kind)
    found = {"noisy": noisy, **recipes.longer(profile, seed, noisy)}
    if profile.varies(seed):
        found["mixture"] = recipes.noise_control(profile, seed, kind, alpha=0.5)
    return found


def _compared(profile: Profile, seed: int) -> dict[str, Recipe]:
    """Networks trained with signs, and to compare with them naively; with uniform noise and with the attack, if short.

    By the published protocol these two take hours, and have claims of their own.
    """
    found = _noisy(profile, seed, "sign") | {"naive": recipes.maxout(profile, seed)}
    if not profile.protocol:
        found["uniform"] = recipes.noise_control(profile, seed, "uniform")
        found["trained"] = recipes.maxout(profile, seed, adversarial="training")
    return found


@measures("noise-sign", _compared, quick=False)
def noise_sign(
    lab: Lab, seed: int, noisy: Trained, naive: Trained, uniform: Trained | None = None,
    trained: Trained | None = None, **others: Trained,
) -> Measurement:  # fmt: skip
    """Error and confidence after training with random signs, beside networks to compare with."""
    measurement = _under_noise(lab, noisy, others)
    noise = {"sign": noisy} | ({"uniform": uniform} if uniform else {})
    compared = {"naive": naive} | noise | ({"fgsm": trained} if trained else {})
    measurement.details["rows"] = [_row(name, of.network, *lab.data.test)[0] for name, of in compared.items()]
    measurement.details["logs"] = logged("software_error", **noise)
    return measurement


@measures("noise-uniform", lambda profile, seed: _noisy(profile, seed, "uniform"), quick=False)
def noise_uniform(lab: Lab, seed: int, noisy: Trained, **others: Trained) -> Measurement:
    """Error and confidence after training with uniform noise."""
    return _under_noise(lab, noisy, others)


def _under_noise(lab: Lab, noisy: Trained, others: Mapping[str, Trained]) -> Measurement:
    """What a noise claim reports; varied is how the network is trained."""
    values, _ = under_fgsm(noisy.network, *lab.data.test)
    varied = {}
    for name, other in others.items():
        of_other, _ = under_fgsm(other.network, *lab.data.test)
        varied[name] = in_short(of_other.values, other.epochs)
    return values.measurement(variations=varied)


# ---------------------------------------------------------------------------------------------------------
# Through the attack


@measures(
    "through-attack",
    lambda profile, seed: {
        "fgsm": _control(profile, seed),
        "masked": _control(profile, seed, attacked="training"),
        "rotation": _control(profile, seed, "through-attack", attack="rotation"),
        "scaled": _control(profile, seed, "through-attack", attack="scaled-gradient"),
        "naive": _control(profile, seed, "clean"),
    },
    quick=False,
)
def through_attack(
    lab: Lab, seed: int, fgsm: Trained, masked: Trained, rotation: Trained, scaled: Trained, naive: Trained
) -> Measurement:
    """Clean error and errors under attack after training through an attack, against training with FGSM."""
    networks = {"fgsm": fgsm, "rotation": rotation, "scaled": scaled}
    rows, values = _measured({**networks, "naive": naive}, lab)
    audited = {name: of.network for name, of in (networks | {"masked": masked}).items()}
    found = audit.audit(audited, *lab.data.test, seed)
    v, varied = values.values, _masked(masked, lab, "fgsm")
    for name in networks:
        for key, attacked in (("pgd_error", PGD_20), ("predicted_error", PREDICTED)):
            wrong = found.wrong[name][attacked]
            values.share(f"{key}_{name}", int(wrong.sum()), len(wrong))
    varied["masked"] |= {
        f"{key}_fgsm": found.error("masked", attacked)
        for key, attacked in (("pgd_error", PGD_20), ("predicted_error", PREDICTED))
    }
    holds = all(
        v[f"{key}_{name}"] > v[f"{key}_fgsm"] for key in ("clean_error", "pgd_error") for name in list(networks)[1:]
    )
    for row in rows[:-1]:
        name = f"pgd_error_{row['network']}"
        row["pgd_error"] = [v[name], *values.intervals[name]]
    return values.measurement(holds=holds, variations=varied, details={"rows": rows, "audit": found.table()})


# ---------------------------------------------------------------------------------------------------------
# Hidden layers


def _hidden(profile: Profile, seed: int, kind: str, *layers: int, unit: str = "maxout") -> Recipe:
    return _control(profile, seed, "hidden-layer", unit, kind=kind, layers=list(layers))


@measures(
    "hidden-additive",
    lambda profile, seed: {
        "hidden": _hidden(profile, seed, "additive", 0),
        "at_input": _control(profile, seed),
        "masked": _control(profile, seed, attacked="training"),
        "naive": _control(profile, seed, "clean"),
    },
    quick=False,
)
def hidden_additive(
    lab: Lab, seed: int, hidden: Trained, at_input: Trained, masked: Trained, naive: Trained
) -> Measurement:
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
    holds, varied = worse and v["activation_growth"] >= 3.0, _masked(masked, lab, "input")
    return values.measurement(holds=holds, variations=varied, details={"rows": rows})


SATURATING = {"": "sigmoid", "_rust": "rust", "_rust_squared": "rust-squared"}  # units, by how their quantities end
COMPARED = ("", "_rust")  # those that the statement is about


@measures(
    "hidden-saturating",
    lambda profile, seed: (
        {
            f"{place}{ending}": network
            for ending, unit in SATURATING.items()
            for place, network in (
                ("hidden", _hidden(profile, seed, "additive", 0, unit=unit)),
                ("input", _control(profile, seed, unit=unit)),
            )
        }
        | {
            f"masked{ending}": _control(profile, seed, unit=SATURATING[ending], attacked="training")
            for ending in COMPARED
        }
    ),
    quick=False,
)
def hidden_saturating(lab: Lab, seed: int, masked: Trained, masked_rust: Trained, **networks: Trained) -> Measurement:
    """Clean errors of networks whose units saturate, the first hidden layer perturbed and the input.

    The statement is about sigmoids and the draft's Rust units; those without square roots stand beside them.
    """
    rows, values = _measured(networks, lab)
    for row in rows:
        row["activation"] = activation_sizes(networks[row["network"]].network, lab.data.test.x)
    overlap = [_overlap(values.intervals, f"clean_error_hidden{unit}", f"clean_error_input{unit}") for unit in COMPARED]
    varied = _masked(masked, lab, "input")["masked"] | _masked(masked_rust, lab, "input_rust")["masked"]
    return values.measurement(holds=all(overlap), variations={"masked": varied}, details={"rows": rows})


def _overlap(intervals: Mapping[str, Interval], a: str, b: str) -> bool:
    (low_a, high_a), (low_b, high_b) = intervals[a], intervals[b]
    return low_a <= high_b and low_b <= high_a


@measures(
    "hidden-rotation",
    lambda profile, seed: {
        "rotation": _hidden(profile, seed, "rotation", 0),
        "at_input": _control(profile, seed),
        "masked": _control(profile, seed, attacked="training"),
    },
    quick=False,
)
def hidden_rotation(lab: Lab, seed: int, rotation: Trained, at_input: Trained, masked: Trained) -> Measurement:
    """Clean error after training with the first hidden layer's activations turned, against FGSM on the input."""
    rows, values = _measured({"rotation": rotation, "input": at_input}, lab)
    turned, added = (values.values[f"clean_error_{name}"] for name in ("rotation", "input"))
    holds, varied = turned < 0.02 and turned > added, _masked(masked, lab, "input")
    return values.measurement(holds=holds, variations=varied, details={"rows": rows})


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
