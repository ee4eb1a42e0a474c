"""Section 6, adversarial training: a lower clean error, a much lower error under FGSM, and what PGD makes of it.

Three maxout networks, alike but for the objective, serve the claims here: one trained naively, and two adversarially.
The attack in training sees the network with this batch's masks, as the paper's software most likely had it; the numbers
are of that. In the variation "unmasked" it sees the network without dropout; the paper does not say.
"""

from __future__ import annotations

from math import nan
from statistics import median
from typing import Any

from numpy import array

from ... import metrics
from ...backend import Array, generator, to_device
from ...layers import parameters
from ...models import Network
from ...training import best_epoch
from .. import audit, recipes
from ..attacking import attack, software
from ..audit import FGSM, NOISE, PGD_20, PGD_100
from ..lab import EPS, Lab, Recipe, Trained
from ..profiles import Profile
from ..results import Measurement
from .common import ATTACKED, EXACT, Values, exact, logged, measures, pictures, under_fgsm, weights_l1

CURVE = (0.0, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3)
FLAT = 0.001  # how near to its lowest, in validation error, the flat stretch begins: 0.1 point, ten images
SHOWN = 6  # maxout units in figure 3, each with all its pieces
NAIVE, TRAINED = "naive", "trained"  # how the audit and the details name the two networks
CONFIDENCE = "adversarial_confidence_on_mistakes"  # in a training's log
MASKS, NO_MASKS = "training", "inference"  # whom the attack in training sees: see `recipes.maxout`


def _adversarial(profile: Profile, seed: int, units: int, sees: str = MASKS, **options: Any) -> Recipe:
    return recipes.maxout(profile, seed, units, adversarial=sees, **options)


def _trained(profile: Profile, seed: int, units: int) -> dict[str, Recipe]:
    """The adversarially trained network, and the one whose attack in training saw no masks."""
    return {
        "trained": _adversarial(profile, seed, units),
        "unmasked": _adversarial(profile, seed, units, NO_MASKS),
    }


def _three(profile: Profile, seed: int, units: int) -> dict[str, Recipe]:
    """The naive network and both of `_trained`."""
    return {"naive": recipes.maxout(profile, seed, units), **_trained(profile, seed, units)}


def _longer(profile: Profile, seed: int, networks: dict[str, Recipe]) -> dict[str, Recipe]:
    """Networks; and where choices are varied the same trained longer, as longer_NAME."""
    longer = recipes.at_length(profile, seed, *networks.values())
    return networks | {f"longer_{name}": recipe for name, recipe in zip(networks, longer, strict=False)}


def _large_three(profile: Profile, seed: int) -> dict[str, Recipe]:
    return _three(profile, seed, profile.units)


def _large_trained(profile: Profile, seed: int) -> dict[str, Recipe]:
    return _trained(profile, seed, profile.units)


# ---------------------------------------------------------------------------------------------------------
# The clean error


def _of_240(profile: Profile, seed: int) -> dict[str, Recipe]:
    networks = _longer(profile, seed, _three(profile, seed, 240))
    if profile.varies(seed):
        networks["exact_attack"] = _adversarial(profile, seed, 240, gradient="exact")
    return networks


@measures("adv-train-240", _of_240)
def adv_train_240(lab: Lab, seed: int, naive: Trained, trained: Trained, **others: Trained) -> Measurement:
    """Clean test error without and with adversarial training.

    Varied are whom the attack in training sees, the gradient of that attack, and the length of training.
    """
    x, y = lab.data.test
    values, varied = Values(), {}
    values.add(metrics.evaluate(naive.network, x, y), error="naive_error")
    values.add(metrics.evaluate(trained.network, x, y), error="adversarially_trained_error")
    for key, after, before in (
        ("unmasked", "unmasked", naive),
        ("exact-attack", "exact_attack", naive),
        ("longer", "longer_trained", others.get("longer_naive")),
        ("longer-unmasked", "longer_unmasked", others.get("longer_naive")),
    ):
        if before and after in others:
            varied[key] = {
                "naive_error": metrics.evaluate(before.network, x, y).error,
                "adversarially_trained_error": metrics.evaluate(others[after].network, x, y).error,
                "epochs": others[after].epochs,
            }
    holds = values.values["adversarially_trained_error"] < values.values["naive_error"]
    logs = logged("error", naive=naive, trained=trained, unmasked=others["unmasked"])
    return values.measurement(holds=holds, variations=varied, details={"logs": logs})


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
    return values.measurement(details={"logs": logged("error", naive=large)})


@measures("adv-train-1600", _large_trained)
def adv_train_1600(lab: Lab, seed: int, trained: Trained, unmasked: Trained) -> Measurement:
    """Clean test error of the adversarially trained network, and the epoch that stopping on FGSM(0.25) chooses."""
    values = Values()
    values.add(metrics.evaluate(trained.network, *lab.data.test), error="clean_error")
    values.values["epochs"] = float(best_epoch(trained.log, "adversarial_error"))
    error = metrics.evaluate(unmasked.network, *lab.data.test).error
    varied = {"unmasked": {"clean_error": error, "epochs": float(best_epoch(unmasked.log, "adversarial_error"))}}
    return values.measurement(variations=varied, details={"logs": logged("error", trained=trained, unmasked=unmasked)})


# ---------------------------------------------------------------------------------------------------------
# The fault that led to 1600 units


@measures(
    "adv-train-error",
    lambda profile, seed: {
        "small": _adversarial(profile, seed, 240),
        "large": _adversarial(profile, seed, recipes.larger(profile)),
        "unmasked": _adversarial(profile, seed, 240, NO_MASKS),
    },
    quick=False,
)
def adv_train_error(lab: Lab, seed: int, small: Trained, large: Trained, unmasked: Trained) -> Measurement:
    """Error on FGSM examples of the training images of two adversarially trained networks that differ in size."""
    x, y = lab.data.train
    values, varied = Values(), {}
    for name, of in (("240", small), ("larger", large), ("unmasked", unmasked)):
        after = metrics.evaluate(of.network, attack(software(of.network), x, y), y)
        by_exact = metrics.evaluate(of.network, attack(of.network, x, y), y)
        if name == "unmasked":
            varied["unmasked"] = {"training_error_240": after.error, "training_error_240_exact": by_exact.error}
        else:
            values.add(after, error=f"training_error_{name}")
            values.add(by_exact, error=f"training_error_{name}{EXACT}")
    values.values["units"] = float(len(parameters(large.network)[0].data[0]))
    lowest, highest = values.intervals["training_error_240"][0], values.intervals["training_error_larger"][1]
    return values.measurement(holds=lowest > highest, variations=varied)


# ---------------------------------------------------------------------------------------------------------
# What early stopping should watch


@measures("adv-stopping", _large_trained)
def adv_stopping(lab: Lab, seed: int, trained: Trained, unmasked: Trained) -> Measurement:
    """How far the adversarial validation error still falls once the validation error is flat."""
    values, details = _falls(trained.log)
    return Measurement(
        values,
        holds=values["adversarial_median_fall"] >= 10 * FLAT - 1e-9,  # rounding: shares are whole numbers of images
        variations={"unmasked": _falls(unmasked.log)[0]},
        details=details,
    )


def _falls(log: list[dict[str, Any]]) -> tuple[dict[str, float], dict[str, Any]]:
    """The numbers of adv-stopping, and what its figure is drawn from, of the log of a training."""
    error, adversarial = ([entry[name] for entry in log] for name in ("error", "adversarial_error"))
    flat = next(i for i, e in enumerate(error) if e <= min(error) + FLAT + 1e-9)
    epochs = [int(entry["epoch"]) for entry in log]
    values = {
        "adversarial_fall": adversarial[flat] - min(adversarial[flat:]),
        "adversarial_median_fall": _median_fall(adversarial[flat:]),
        "best_epoch_clean": epochs[error.index(min(error))],
        "best_epoch_adversarial": epochs[adversarial.index(min(adversarial))],
    }
    return values, {
        "epoch": epochs,
        "error": error,
        "adversarial_error": adversarial,
        "flat_from": epochs[flat],
        "clean_fall": error[flat] - min(error),
    }


def _median_fall(errors: list[float]) -> float:
    """How far the median of ten epochs in a row falls from the first ten on; NaN of fewer than twenty epochs."""
    medians = [median(errors[i : i + 10]) for i in range(len(errors) - 9)]
    return medians[0] - min(medians) if len(errors) >= 20 else nan


# ---------------------------------------------------------------------------------------------------------
# Robustness, and its audit


@measures("adv-robust-1600", _large_three)
def adv_robust_1600(lab: Lab, seed: int, naive: Trained, trained: Trained, unmasked: Trained) -> Measurement:
    """FGSM error of the adversarially trained network, and beside it every other attack of the audit.

    The audit asks whether the exact gradient misleads, so it attacks with that one.
    """
    x, y = lab.data.test
    networks = {NAIVE: naive.network, TRAINED: trained.network}
    values, _ = under_fgsm(trained.network, x, y)
    exactly = {name: attack(network, x, y) for name, network in networks.items()}
    x_naive = attack(software(naive.network), x, y)
    values.add(metrics.evaluate(naive.network, x_naive, y), error="naive_error")
    values.add(metrics.evaluate(naive.network, exactly[NAIVE], y), error="naive_error" + EXACT)
    values.add(metrics.evaluate(trained.network, x_naive, y), error="transfer_error")
    values.add(metrics.evaluate(trained.network, exactly[NAIVE], y), error="transfer_error" + EXACT)
    first = audit.FIRST
    values.add(metrics.evaluate(trained.network, exactly[TRAINED][:first], y[:first]), error="error_first")
    found = audit.audit(networks, x, y, seed, examples=exactly)
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
    logs = logged("adversarial_error", masks=trained, unmasked=unmasked)
    details = {"eps": list(CURVE), "curves": curve, "audit": found.table(), "logs": logs}
    return values.measurement(holds=holds, variations=_otherwise(unmasked, naive, trained, lab), details=details)


def _fooled(network: Network, x: Array, y: Array) -> Array:
    """Which images FGSM fools, for each of its sizes in `CURVE`."""
    return array([to_device(metrics.predict(network, attack(network, x, y, eps)) != y, "cpu") for eps in CURVE])


def _otherwise(unmasked: Trained, naive: Trained, trained: Trained, lab: Lab) -> dict[str, dict[str, float]]:
    """The network whose attack saw no masks; and what the length of either training does on the validation images."""
    of_unmasked, _ = under_fgsm(unmasked.network, *lab.data.test)
    names = ("error", "confidence_on_mistakes", "error" + EXACT, "confidence_on_mistakes" + EXACT, "clean_error")
    found = {"unmasked": of_unmasked.among(*names)}
    x, y = lab.data.test
    transferred = metrics.evaluate(unmasked.network, attack(software(naive.network), x, y), y)
    found["unmasked"]["transfer_error"] = transferred.error
    return found | _on_the_way("validation", trained) | _on_the_way("validation-unmasked", unmasked)


def _on_the_way(key: str, trained: Trained) -> dict[str, dict[str, float]]:
    """The errors on the validation images at the end of a training, half way and at a quarter, as variations."""
    log = trained.log[: trained.epochs]
    last = len(log) - 1
    found = {key: _on_validation(log[last])}
    for part, at in (("half", last // 2), ("quarter", last // 4)):
        if at < last and log[at]["epoch"] not in [entry["epochs"] for entry in found.values()]:
            found[f"{key}-{part}"] = _on_validation(log[at])
    return found


def _on_validation(entry: dict[str, Any]) -> dict[str, float]:
    return {
        "validation_error": entry["adversarial_error"],
        "validation_confidence": entry[CONFIDENCE],
        "validation_clean_error": entry["error"],
        "epochs": entry["epoch"],
    }


def _exchange(profile: Profile, seed: int) -> dict[str, Recipe]:
    softmax = {"softmax": recipes.softmax_regression(profile, seed)}
    return _longer(profile, seed, _large_three(profile, seed)) | softmax


@measures("adv-transfer", _exchange)
def adv_transfer(
    lab: Lab, seed: int, naive: Trained, trained: Trained, unmasked: Trained, softmax: Trained, **longer: Trained
) -> Measurement:
    """Each network's FGSM examples, shown to the other; and softmax regression's, to the adversarially trained one.

    Varied are whom the attack in training sees and how long all are trained.
    """
    x, y = lab.data.test
    values = Values()
    for end, of in (("", software), (EXACT, _as_it_is)):
        on_naive, on_trained = (attack(of(made_on.network), x, y) for made_on in (naive, trained))
        values.add(metrics.evaluate(trained.network, on_naive, y), error="error_naive_to_trained" + end)
        values.add(metrics.evaluate(naive.network, on_trained, y), error="error_trained_to_naive" + end)
        values.add(metrics.evaluate(naive.network, on_naive, y), error="own_error_naive" + end)
        values.add(metrics.evaluate(trained.network, on_trained, y), error="own_error_trained" + end)
    x_softmax = attack(software(softmax.network), x, y)
    said, of_softmax = (metrics.predict(of.network, x_softmax) for of in (trained, softmax))
    wrong = said != y
    values.share("error_softmax_to_trained", int(wrong.sum()), len(y))
    values.share("agreement_softmax_to_trained", int((wrong & (said == of_softmax)).sum()), int(wrong.sum()))
    varied = {"unmasked": _exchanged(naive, unmasked, x, y)}
    for key, other in (("longer", "longer_trained"), ("longer-unmasked", "longer_unmasked")):
        if other in longer:
            varied[key] = _exchanged(longer["longer_naive"], longer[other], x, y) | {"epochs": longer[other].epochs}
    return values.measurement(variations=varied)


def _exchanged(naive: Trained, trained: Trained, x: Array, y: Array) -> dict[str, float]:
    """The error of either network on the other's examples, made with the software's gradient and with the exact one."""
    found = {}
    for end, of in (("", software), (EXACT, _as_it_is)):
        on_naive, on_trained = (attack(of(made_on.network), x, y) for made_on in (naive, trained))
        found["error_naive_to_trained" + end] = metrics.evaluate(trained.network, on_naive, y).error
        found["error_trained_to_naive" + end] = metrics.evaluate(naive.network, on_trained, y).error
    return found


def _as_it_is(network: Network) -> Network:
    return network


@measures("adv-confidence", lambda profile, seed: _longer(profile, seed, _large_trained(profile, seed)))
def adv_confidence(lab: Lab, seed: int, trained: Trained, unmasked: Trained, **longer: Trained) -> Measurement:
    """How sure the adversarially trained network is where FGSM fools it.

    Varied are whom the attack in training sees and the length of training.
    """
    (x, y), values, log = lab.data.test, Values(), trained.log[: trained.epochs]
    names = {**ATTACKED, "wrong_label_probability": "wrong_label_probability"}
    values.add(metrics.evaluate(trained.network, attack(software(trained.network), x, y), y), **names)
    values.add(metrics.evaluate(trained.network, attack(trained.network, x, y), y), **exact(names))
    varied = {"unmasked": _confidence(unmasked, x, y)}
    for key, other in (("longer", "longer_trained"), ("longer-unmasked", "longer_unmasked")):
        if other in longer:
            varied[key] = _confidence(longer[other], x, y) | {"epochs": longer[other].epochs}
    details = {name: [entry[name] for entry in log] for name in ("epoch", CONFIDENCE, "adversarial_error")}
    return values.measurement(variations=varied, details=details)


def _confidence(of: Trained, x: Array, y: Array) -> dict[str, float]:
    """Error and confidence on mistakes, with the software's gradient and with the exact one."""
    values = Values()
    values.add(metrics.evaluate(of.network, attack(software(of.network), x, y), y), **ATTACKED)
    values.add(metrics.evaluate(of.network, attack(of.network, x, y), y), **exact(ATTACKED))
    return values.values


# ---------------------------------------------------------------------------------------------------------
# Filters


@measures("fig3-filters", _large_three)
def fig3_filters(lab: Lab, seed: int, naive: Trained, trained: Trained, unmasked: Trained) -> Measurement:
    """First-layer filters side by side, and how local those are that ever win."""
    networks, values = {NAIVE: naive.network, TRAINED: trained.network}, Values()
    for name, network in networks.items():
        found, locality = _locality(network, name, lab)
        values.values |= found
        values.intervals[f"locality_{name}"] = metrics.mean_interval(locality)
    holds = values.values["locality_trained"] > values.values["locality_naive"]
    without, _ = _locality(unmasked.network, TRAINED, lab)
    shown = {name: _shown(network, seed) for name, network in networks.items()}
    return values.measurement(holds=holds, variations={"unmasked": without}, details={"filters": shown})


def _locality(network: Network, name: str, lab: Lab) -> tuple[dict[str, float], Array]:
    """Of the filters that ever win: the quantities of this network's name, and how local each filter is."""
    alive = _filters(network)[_ever_largest(network, lab.data.validation.x)]
    locality = metrics.window_energy(alive)
    found = {
        f"locality_{name}": float(locality.mean()),
        f"pixels_used_{name}": float(metrics.pixels_used(alive).mean()),
        f"spread_{name}": float(metrics.spread(alive).mean()),
        f"filters_{name}": float(len(alive)),
    }
    return found, locality


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
