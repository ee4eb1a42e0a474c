"""Section 6, adversarial training: a lower clean error, a much lower error under FGSM, and what PGD makes of it.

Two maxout networks, alike but for the objective, serve every claim here. How long they were trained decides most of
the numbers.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from numpy import array

from ... import metrics
from ...backend import Array, generator, to_device
from ...layers import parameters
from ...models import Network
from .. import audit, recipes
from ..attacking import attack
from ..audit import FGSM, NOISE, PGD_20, PGD_100
from ..lab import EPS, Lab, Recipe, Trained
from ..profiles import Profile
from ..results import Measurement
from ..rounding import Rounded
from .common import Values, measures, pictures, under_fgsm, weights_l1

CURVE = (0.0, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3)
FLAT = 0.001  # how near to its lowest, in validation error, the flat stretch begins: .1 point, ten images
SHOWN = 6  # maxout units in figure 3, each with all its pieces
NAIVE, TRAINED = "naive", "trained"  # how the audit and the details name the two networks
CONFIDENCE = "adversarial_confidence_on_mistakes"  # in a training's log


def _pair(profile: Profile, seed: int, units: int) -> dict[str, Recipe]:
    """The naive and the adversarially trained network, alike but for the objective and what early stopping watches."""
    return {
        "naive": recipes.maxout(profile, seed, units),
        "trained": recipes.maxout(profile, seed, units, adversarial=True),
    }


def _at_length(profile: Profile, seed: int, networks: dict[str, Recipe]) -> dict[str, Recipe]:
    """Networks; and where choices are varied the same trained longer, as longer_NAME."""
    longer = recipes.at_length(profile, seed, *networks.values())
    return networks | {f"longer_{name}": recipe for name, recipe in zip(networks, longer, strict=False)}


def _large_pair(profile: Profile, seed: int) -> dict[str, Recipe]:
    return _pair(profile, seed, profile.units)


def _large_trained(profile: Profile, seed: int) -> dict[str, Recipe]:
    return {"trained": recipes.maxout(profile, seed, profile.units, adversarial=True)}


# ---------------------------------------------------------------------------------------------------------
# The clean error


@measures("adv-train-240", lambda profile, seed: _at_length(profile, seed, _pair(profile, seed, 240)))
def adv_train_240(
    lab: Lab,
    seed: int,
    naive: Trained,
    trained: Trained,
    longer_naive: Trained | None = None,
    longer_trained: Trained | None = None,
) -> Measurement:
    """Clean test error without and with adversarial training; varied is its length."""
    x, y = lab.data.test
    values, varied = Values(), {}
    values.add(metrics.evaluate(naive.network, x, y), error="naive_error")
    values.add(metrics.evaluate(trained.network, x, y), error="adversarially_trained_error")
    if longer_naive and longer_trained:
        varied["longer"] = {
            "naive_error": metrics.evaluate(longer_naive.network, x, y).error,
            "adversarially_trained_error": metrics.evaluate(longer_trained.network, x, y).error,
            "epochs": longer_naive.epochs,
        }
    holds = values.values["adversarially_trained_error"] < values.values["naive_error"]
    return values.measurement(holds=holds, variations=varied)


@measures(
    "maxout-1600-naive",
    lambda profile, seed: {
        "large": recipes.maxout(profile, seed, profile.units),
        "small": recipes.maxout(profile, seed),
    },
)
def maxout_1600_naive(lab: Lab, seed: int, large: Trained, small: Trained) -> Measurement:
    """Clean test error of the large and the small naive network."""
    x, y = lab.data.test
    values = Values()
    values.add(metrics.evaluate(large.network, x, y), error="clean_error")
    values.add(metrics.evaluate(small.network, x, y), error="clean_error_240")
    return values.measurement()


@measures("adv-train-1600", _large_trained)
def adv_train_1600(lab: Lab, seed: int, trained: Trained) -> Measurement:
    """Clean test error of the adversarially trained network, and the epoch that early stopping on FGSM(.25) chooses."""
    values = Values()
    values.add(metrics.evaluate(trained.network, *lab.data.test), error="clean_error")
    values.values["epochs"] = min(trained.log, key=lambda entry: entry["adversarial_error"])["epoch"]
    return values.measurement()


# ---------------------------------------------------------------------------------------------------------
# What early stopping should watch


@measures("adv-stopping", _large_trained)
def adv_stopping(lab: Lab, seed: int, trained: Trained) -> Measurement:
    """How far the adversarial validation error still falls once the validation error is flat."""
    log = trained.log
    error, adversarial = ([entry[name] for entry in log] for name in ("error", "adversarial_error"))
    flat = next(i for i, e in enumerate(error) if e <= min(error) + FLAT + 1e-9)
    fall = adversarial[flat] - min(adversarial[flat:])
    epochs = [int(entry["epoch"]) for entry in log]
    return Measurement(
        {
            "adversarial_fall": fall,
            "best_epoch_clean": epochs[error.index(min(error))],
            "best_epoch_adversarial": epochs[adversarial.index(min(adversarial))],
        },
        holds=fall >= 10 * FLAT - 1e-9,  # rounding: shares are whole numbers of images
        details={
            "epoch": epochs,
            "error": error,
            "adversarial_error": adversarial,
            "flat_from": epochs[flat],
            "clean_fall": error[flat] - min(error),
        },
    )


# ---------------------------------------------------------------------------------------------------------
# Robustness, and its audit


def _robust(profile: Profile, seed: int) -> dict[str, Recipe]:
    varied = {"masked": recipes.maxout_under_masks(profile, seed)} if profile.varies(seed) else {}
    return _large_pair(profile, seed) | varied


@measures("adv-robust-1600", _robust)
def adv_robust_1600(
    lab: Lab, seed: int, naive: Trained, trained: Trained, masked: Trained | None = None
) -> Measurement:
    """FGSM error of the adversarially trained network, and beside it every other attack of the audit."""
    x, y = lab.data.test
    networks = {NAIVE: naive.network, TRAINED: trained.network}
    values, x_adv = under_fgsm(trained.network, x, y)
    x_naive = attack(naive.network, x, y)
    values.add(metrics.evaluate(naive.network, x_naive, y), error="naive_error")
    values.add(metrics.evaluate(trained.network, x_naive, y), error="transfer_error")
    first = audit.FIRST
    values.add(metrics.evaluate(trained.network, x_adv[:first], y[:first]), error="error_first")
    found = audit.audit(networks, x, y, seed, examples={NAIVE: x_naive, TRAINED: x_adv})
    for name, attacked in (("noise_error", NOISE), ("pgd_error", PGD_20)):
        wrong = found.wrong[TRAINED][attacked]
        values.share(name, int(wrong.sum()), len(wrong))
    values.values["weights_l1"] = weights_l1(trained.network)
    fooled = {name: _fooled(network, x[:first], y[:first]) for name, network in networks.items()}
    some = fooled[TRAINED][1 : CURVE.index(EPS) + 1].any(axis=0)  # without the clean images
    values.share("error_some_size", int(some.sum()), len(some))
    curve = {name: of.mean(axis=1).tolist() for name, of in fooled.items()}
    kept = {(PGD_20, FGSM), (PGD_100, FGSM), (FGSM, NOISE)}
    holds = all(a >= b for stronger, weaker, _, a, b in found.compared(TRAINED) if (stronger, weaker) in kept)
    details = {"eps": list(CURVE), "curves": curve, "audit": found.table()}
    return values.measurement(holds=holds, variations=_while_training(trained, masked), details=details)


def _fooled(network: Network, x: Array, y: Array) -> Array:
    """Which images FGSM fools, for each of its sizes in `CURVE`."""
    return array([to_device(metrics.predict(network, attack(network, x, y, eps)) != y, "cpu") for eps in CURVE])


def _while_training(trained: Trained, masked: Trained | None) -> dict[str, dict[str, float]]:
    """What length of training and masks under the attack do to the errors on the validation images, as variations."""
    log = trained.log[: trained.epochs]
    last = len(log) - 1
    found = {"validation": _on_validation(log[last])}
    for key, at in (("validation-half", last // 2), ("validation-quarter", last // 4)):
        if at < last and log[at]["epoch"] not in [entry["epochs"] for entry in found.values()]:
            found[key] = _on_validation(log[at])
    if masked:
        found["validation-masked"] = _on_validation(masked.log[masked.epochs - 1])
    return found


def _on_validation(entry: dict[str, Any]) -> dict[str, float]:
    return {
        "validation_error": entry["adversarial_error"],
        "validation_confidence": entry[CONFIDENCE],
        "validation_clean_error": entry["error"],
        "epochs": entry["epoch"],
    }


@measures("adv-transfer", lambda profile, seed: _at_length(profile, seed, _large_pair(profile, seed)))
def adv_transfer(
    lab: Lab,
    seed: int,
    naive: Trained,
    trained: Trained,
    longer_naive: Trained | None = None,
    longer_trained: Trained | None = None,
) -> Measurement:
    """Each network's FGSM examples, shown to the other.

    Varied are the rounding of the gradient (see `rounding`) and how long both are trained.
    """
    x, y = lab.data.test
    of_naive, of_trained, values = attack(naive.network, x, y), attack(trained.network, x, y), Values()
    values.add(metrics.evaluate(trained.network, of_naive, y), error="error_naive_to_trained")
    values.add(metrics.evaluate(naive.network, of_trained, y), error="error_trained_to_naive")
    values.add(metrics.evaluate(naive.network, of_naive, y), error="own_error_naive")
    values.add(metrics.evaluate(trained.network, of_trained, y), error="own_error_trained")
    varied = {"rounded": _exchanged(naive, trained, x, y, Rounded)}
    if longer_naive and longer_trained:
        for key, of in (("longer", _as_it_is), ("longer-rounded", Rounded)):
            varied[key] = _exchanged(longer_naive, longer_trained, x, y, of) | {"epochs": longer_naive.epochs}
    return values.measurement(variations=varied)


def _exchanged(naive: Trained, trained: Trained, x: Array, y: Array, of: Callable[[Network], Any]) -> dict[str, float]:
    """The error of either network on the other's examples, which follow the gradient of `of(network)`."""
    on_naive, on_trained = (attack(of(made_on.network), x, y) for made_on in (naive, trained))
    return {
        "error_naive_to_trained": metrics.evaluate(trained.network, on_naive, y).error,
        "error_trained_to_naive": metrics.evaluate(naive.network, on_trained, y).error,
    }


def _as_it_is(network: Network) -> Network:
    return network


@measures("adv-confidence", lambda profile, seed: _at_length(profile, seed, _large_trained(profile, seed)))
def adv_confidence(lab: Lab, seed: int, trained: Trained, longer_trained: Trained | None = None) -> Measurement:
    """How sure the adversarially trained network is where FGSM fools it; varied is the length of its training."""
    x, y = lab.data.test
    values, varied, log = Values(), {}, trained.log[: trained.epochs]
    values.add(metrics.evaluate(trained.network, attack(trained.network, x, y), y), error="error",
                confidence_on_mistakes="confidence_on_mistakes",
                wrong_label_probability="wrong_label_probability")  # fmt: skip
    if longer_trained:
        after = metrics.evaluate(longer_trained.network, attack(longer_trained.network, x, y), y)
        varied["longer"] = {
            "error": after.error,
            "confidence_on_mistakes": after.confidence_on_mistakes,
            "epochs": longer_trained.epochs,
        }
    names = ("epoch", CONFIDENCE, "adversarial_error")
    details = {name: [entry[name] for entry in log] for name in names}
    return values.measurement(variations=varied, details=details)


# ---------------------------------------------------------------------------------------------------------
# Filters


@measures("fig3-filters", _large_pair)
def fig3_filters(lab: Lab, seed: int, naive: Trained, trained: Trained) -> Measurement:
    """First-layer filters side by side, and how local those are that ever win."""
    networks, values = {NAIVE: naive.network, TRAINED: trained.network}, Values()
    for name, network in networks.items():
        alive = _filters(network)[_ever_largest(network, lab.data.validation.x)]
        locality = metrics.window_energy(alive)
        values.values[f"locality_{name}"] = float(locality.mean())
        values.intervals[f"locality_{name}"] = metrics.mean_interval(locality)
        values.values[f"pixels_used_{name}"] = float(metrics.pixels_used(alive).mean())
        values.values[f"spread_{name}"] = float(metrics.spread(alive).mean())
        values.values[f"filters_{name}"] = float(len(alive))
    holds = values.values["locality_trained"] > values.values["locality_naive"]
    return values.measurement(
        holds=holds, details={"filters": {name: _shown(network, seed) for name, network in networks.items()}}
    )


def _filters(network: Network) -> Array:
    """The weights of all pieces of the first maxout layer, `(pieces * units, 784)`, on the CPU."""
    W = parameters(network)[0].data
    return to_device(W, "cpu").reshape(-1, W.shape[-1])


def _ever_largest(network: Network, x: Array) -> Array:
    """For each filter whether it is its unit's largest piece for any image; if not, it is dead: nothing moves it."""
    W, b = (p.data for p in parameters(network)[:2])
    pieces, units, _ = W.shape

    def winners(part: Array) -> Array:
        h = (part @ W.reshape(pieces * units, -1).T + b).reshape(-1, pieces, units)
        return (h == h.max(axis=1, keepdims=True)).any(axis=0).reshape(1, -1)

    return to_device(metrics.in_batches(winners, x), "cpu").any(axis=0)


def _shown(network: Network, seed: int) -> list[str]:
    """The filters of some units drawn at random, unit by unit, each divided by its largest weight."""
    pieces, units, _ = parameters(network)[0].shape
    drawn = generator(seed, "figure 3").permutation(units)[:SHOWN]
    w = _filters(network).reshape(pieces, units, -1)[:, drawn].transpose(1, 0, 2).reshape(len(drawn) * pieces, -1)
    return pictures(w / abs(w).max(axis=1, keepdims=True))
