"""Section 6, adversarial training: a lower clean error, a much lower error under FGSM, and what PGD makes of it.

Two maxout networks, alike but for the objective, serve every claim here. How long they were trained decides most of
the numbers, so each measurement holds what their validation errors did meanwhile, and the reasons are made of that.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import isnan, nan
from typing import Any

from numpy import array, full

from .. import metrics
from ..backend import Array, generator, to_device
from ..layers import parameters
from ..models import Network
from . import audit, recipes
from .audit import FGSM, NOISE, PGD_20, PGD_100
from .figures import BLUE, GREY, ORANGE, draws, pixels, show_image
from .lab import EPS, Lab, Recipe
from .measuring import Values, attack, explains, mean, measures, pictures, under_fgsm, weights_l1
from .recipes import Profile
from .registry import claims
from .results import Measurement, Result, percent
from .rounding import Rounded
from .variations import ROUNDED, nearest, table

CURVE = (0.0, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3)
FLAT = 0.001  # how near to its lowest, in validation error, the flat stretch begins: .1 point, ten images
SHOWN = 6  # maxout units in figure 3, each with all its pieces
NAIVE, TRAINED, MASKED = "naive", "adversarially trained", "attack under this batch's masks"
CONFIDENCE = "adversarial_confidence_on_mistakes"  # in a training's log

Log = Sequence[dict[str, Any]]


def _pair(profile: Profile, seed: int, units: int) -> list[Recipe]:
    """The naive and the adversarially trained network, alike but for the objective and what early stopping watches."""
    return [recipes.maxout(profile, seed, units), recipes.maxout(profile, seed, units, adversarial=True)]


def _large_pair(profile: Profile, seed: int) -> list[Recipe]:
    return _pair(profile, seed, profile.units)


def _pair_at_length(profile: Profile, seed: int, units: int) -> list[Recipe]:
    """Both, and where choices are varied both trained longer."""
    pair = _pair(profile, seed, units)
    return [*pair, *recipes.at_length(profile, seed, *pair)]


def _large_trained(profile: Profile, seed: int) -> list[Recipe]:
    return _large_pair(profile, seed)[1:]


# ---------------------------------------------------------------------------------------------------------
# How long a network was trained, and what that did: the reasons are made of it


def _course(lab: Lab, network: Network, quantity: str) -> dict[str, float]:
    """A validation figure half way through a network's training, at its end, at the epoch chosen, and at its lowest."""
    log, chosen = lab.log(network), lab.epochs(network)
    lowest = min(log, key=lambda entry: entry[quantity])
    half = log[(len(log) - 1) // 2]
    return {
        "chosen": chosen,
        "at_chosen": next((entry[quantity] for entry in log if entry["epoch"] == chosen), log[-1][quantity]),
        "epochs": log[-1]["epoch"],
        "half_epoch": half["epoch"],
        "half": half[quantity],
        "end": log[-1][quantity],
        "lowest": lowest[quantity],
        "lowest_epoch": lowest["epoch"],
    }


def _courses(result: Result, name: str) -> dict[str, float]:
    """The means over seeds of a course among the details."""
    courses = [m.details["courses"][name] for m in result.measurements]
    return {key: sum(course[key] for course in courses) / len(courses) for key in courses[0]}


def _stopped(course: dict[str, float]) -> bool:
    """Whether early stopping chose fewer epochs than there were."""
    return course["chosen"] < course["epochs"]


def _unfinished(course: dict[str, float]) -> bool:
    """Whether the figure was still falling: lowest in the last quarter of the training, and lower than half way."""
    late = course["lowest_epoch"] > 0.75 * course["epochs"]
    return late and course["end"] < course["half"] and not _stopped(course)


def _in_words(course: dict[str, float]) -> str:
    """What a figure on the validation images did, after its name; and whether a longer training promises more."""
    if _unfinished(course):
        return (
            f"was still falling when training ended, from {percent(course['half'])} after "
            f"{course['half_epoch']:.0f} epochs to {percent(course['end'])} after {course['epochs']:.0f}"
        )
    lowest = (
        f"was lowest, {percent(course['lowest'])}, after {course['lowest_epoch']:.0f} of {course['epochs']:.0f} epochs"
    )
    if _stopped(course) and course["lowest_epoch"] == course["chosen"]:
        return f"{lowest}, which early stopping chose"
    if _stopped(course):
        return f"{lowest} ({percent(course['at_chosen'])} after the {course['chosen']:.0f} that early stopping chose)"
    return f"{lowest}, so that longer training alone promises nothing"


# ---------------------------------------------------------------------------------------------------------
# The clean error


@measures("adv-train-240", lambda profile, seed: _pair_at_length(profile, seed, 240))
def adv_train_240(lab: Lab, seed: int, naive: Network, trained: Network, *longer: Network) -> Measurement:
    """Clean test error without and with adversarial training; varied is its length."""
    x, y = lab.data.test
    values = Values()
    values.add(metrics.evaluate(naive, x, y), error="naive_error")
    values.add(metrics.evaluate(trained, x, y), error="adversarially_trained_error")
    rows = [["as defined", *values.values.values()]]
    if longer:
        errors = [metrics.evaluate(model, x, y).error for model in longer]
        rows.append([f"both trained for {lab.epochs(longer[0])} epochs", *errors])
    courses = {NAIVE: _course(lab, naive, "error"), TRAINED: _course(lab, trained, "error")}
    return values.measurement(
        holds=values.values["adversarially_trained_error"] < values.values["naive_error"],
        details={"courses": courses, "variations": table(["training", NAIVE, TRAINED], rows)},
    )


@explains("adv-train-240")
def _why_not_better(result: Result) -> str:
    naive, trained = _courses(result, NAIVE), _courses(result, TRAINED)
    more = _fall(trained) - _fall(naive)
    faster = "adversarial training" if more > 0 else "naive training"
    still = abs(more) > FLAT and (_unfinished(naive) or _unfinished(trained))
    gained = f": {faster} gained more in its second half" if still else ""
    return (
        f"On the validation images the naive network's error {_in_words(naive)}, and that of the adversarially trained "
        f"one {_in_words(trained)}{gained}. "
        f"{nearest(result, 'naive_error', 'adversarially_trained_error')}"
    ).rstrip()


def _fall(course: dict[str, float]) -> float:
    return course["half"] - course["end"]


@measures(
    "maxout-1600-naive",
    lambda profile, seed: [recipes.maxout(profile, seed, profile.units), recipes.maxout(profile, seed)],
    units=1600,
)
def maxout_1600_naive(lab: Lab, seed: int, large: Network, small: Network) -> Measurement:
    """Clean test error of the large and the small naive network."""
    x, y = lab.data.test
    values = Values()
    values.add(metrics.evaluate(large, x, y), error="clean_error")
    values.add(metrics.evaluate(small, x, y), error="clean_error_240")
    courses = {"large": _course(lab, large, "error"), "small": _course(lab, small, "error")}
    return values.measurement(details={"courses": courses})


@explains("maxout-1600-naive")
def _why_naive(result: Result) -> str:
    return f"The error on the validation images {_in_words(_courses(result, 'large'))}."


@measures("adv-train-1600", _large_trained, units=1600)
def adv_train_1600(lab: Lab, seed: int, trained: Network) -> Measurement:
    """Clean test error of the adversarially trained network, and the epoch that early stopping on FGSM(.25) chooses."""
    values = Values()
    values.add(metrics.evaluate(trained, *lab.data.test), error="clean_error")
    adversarial = _course(lab, trained, "adversarial_error")
    values.values["epochs"] = adversarial["lowest_epoch"]
    courses = {"error": _course(lab, trained, "error"), "adversarial_error": adversarial}
    return values.measurement(details={"courses": courses})


@explains("adv-train-1600")
def _why_trained(result: Result) -> str:
    return f"The error on the validation images {_in_words(_courses(result, 'error'))}."


# ---------------------------------------------------------------------------------------------------------
# What early stopping should watch


@measures("adv-stopping", _large_trained, units=1600)
def adv_stopping(lab: Lab, seed: int, trained: Network) -> Measurement:
    """How far the adversarial validation error still falls once the validation error is flat."""
    log = lab.log(trained)
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


@explains("adv-stopping")
def _why_not_flat(result: Result) -> str:
    def of_seed(m: Measurement) -> str:
        flat, last = m.details["flat_from"], m.details["epoch"][-1]
        if flat == last:
            return (
                f"After {last} epochs the training has no flat stretch yet: its last epoch is the first within .1 "
                "point of the lowest validation error."
            )
        return (
            f"The flat stretch begins at epoch {flat} of {last}; from there the adversarial validation error falls by "
            f"{100 * m.values['adversarial_fall']:.2f} points, and the validation error can fall by "
            f"{100 * m.details['clean_fall']:.2f}."
        )

    return " ".join(map(of_seed, result.measurements))


@draws(
    "adv-stopping",
    "What to watch: the validation error is flat, the adversarial one is not",
    "The adversarially trained network after every epoch: its error on the 10,000 validation images, clean and under "
    "FGSM(.25), on a logarithmic scale. Rings mark where each is lowest; from the grey line on the clean error is "
    "within .1 point of its lowest.",
)
def _draw_stopping(canvas: Any, details: dict[str, Any]) -> None:
    axes, epochs = canvas.subplots(), details["epoch"]
    for key, label, colour, style in (
        ("error", "clean", BLUE, "o-"),
        ("adversarial_error", "under FGSM(.25)", ORANGE, "s--"),
    ):
        errors = [100 * e or nan for e in details[key]]  # a logarithm has no place for 0
        axes.semilogy(epochs, errors, style, color=colour, label=label, markevery=max(1, len(epochs) // 20))
        best = details[key].index(min(details[key]))
        axes.plot([epochs[best]], [errors[best]], "o", color=colour, markersize=13, fillstyle="none", clip_on=False)
    axes.axvline(details["flat_from"], color=GREY, linewidth=1.5, linestyle=":", label="clean error flat from here")
    axes.set(xlabel="epoch", ylabel="error on the validation images, %")
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.yaxis.get_major_locator().set_params(subs=(1, 2, 5))
    axes.yaxis.set_major_formatter(lambda value, position: f"{value:g}")
    axes.legend(frameon=False)


# ---------------------------------------------------------------------------------------------------------
# Robustness, and its audit


def _robust(profile: Profile, seed: int) -> list[Recipe]:
    varied = [recipes.maxout_under_masks(profile, seed)] if profile.varies(seed) else []
    return _large_pair(profile, seed) + varied


@measures("adv-robust-1600", _robust, units=1600)
def adv_robust_1600(lab: Lab, seed: int, naive: Network, trained: Network, *masked: Network) -> Measurement:
    """FGSM error of the adversarially trained network, and beside it every other attack of the audit."""
    x, y = lab.data.test
    values, x_adv = under_fgsm(trained, x, y)
    x_naive = attack(naive, x, y)
    values.add(metrics.evaluate(naive, x_naive, y), error="naive_error")
    values.add(metrics.evaluate(trained, x_naive, y), error="transfer_error")
    first = audit.FIRST
    values.add(metrics.evaluate(trained, x_adv[:first], y[:first]), error="error_first")
    found = audit.audit({NAIVE: naive, TRAINED: trained}, x, y, seed, examples={NAIVE: x_naive, TRAINED: x_adv})
    for name, attacked in (("noise_error", NOISE), ("pgd_error", PGD_20)):
        wrong = found.wrong[TRAINED][attacked]
        values.share(name, int(wrong.sum()), len(wrong))
    values.values["weights_l1"] = weights_l1(trained)
    fooled = {name: _fooled(m, x[:first], y[:first]) for name, m in (("naive", naive), ("adversarial", trained))}
    some = fooled["adversarial"][1 : CURVE.index(EPS) + 1].any(axis=0)  # without the clean images
    values.share("error_some_size", int(some.sum()), len(some))
    curve = {name: of.mean(axis=1).tolist() for name, of in fooled.items()}
    kept = {(PGD_20, FGSM), (PGD_100, FGSM), (FGSM, NOISE)}
    holds = all(a >= b for stronger, weaker, _, a, b in found.compared(TRAINED) if (stronger, weaker) in kept)
    logs = [lab.log(network)[: lab.epochs(network)] for network in (trained, *masked)]
    details: dict[str, Any] = {
        "eps": list(CURVE),
        **curve,
        "audit": found.table(),
        "variations": _silent_choices(*logs),
    }
    details["courses"] = {TRAINED: _course(lab, trained, "adversarial_error")}
    below = [entry["epoch"] for entry in logs[0] if entry["adversarial_error"] < _paper_error()]
    details["below_paper"] = min(below, default=nan)
    return values.measurement(holds=holds, details=details)


def _fooled(network: Network, x: Array, y: Array) -> Array:
    """Which images FGSM fools, for each of its sizes in `CURVE`."""
    return array([to_device(metrics.predict(network, attack(network, x, y, eps)) != y, "cpu") for eps in CURVE])


def _paper_error() -> float:
    return claims()["adv-robust-1600"].published[0].paper or nan


def _silent_choices(log: Log, *masked: Log) -> dict[str, Any]:
    """How far the length of training and the masks under the attack move the errors on the validation images."""
    last = len(log) - 1
    rows: list[tuple[str, dict[str, Any]]]
    rows = [(f"attack on the network without dropout, {log[last]['epoch']} epochs", log[last])]
    rows += [(f"the same, {log[k]['epoch']} epochs", log[k]) for k in sorted({last // 2, last // 4} - {last})[::-1]]
    rows += [(f"{MASKED}, {other[-1]['epoch']} epochs", other[-1]) for other in masked]
    names = ("adversarial_error", CONFIDENCE, "error")
    columns = ["on the validation images", "FGSM error", "confidence on mistakes", "clean error"]
    return table(columns, [[text, *(entry[name] for name in names)] for text, entry in rows])


@explains("adv-robust-1600")
def _why_robust(result: Result) -> str:
    course = _courses(result, TRAINED)
    text = f"On the validation images the FGSM error {_in_words(course)}"
    if not isnan(below := mean(m.details["below_paper"] for m in result.measurements)):
        text += f"; it was first below the paper's {percent(_paper_error())} after {below:.0f} epochs"
    tables = [m.details["variations"]["rows"] for m in result.measurements]
    masked = [row[1] for rows in tables for row in rows if row[0].startswith(MASKED)]
    if not masked:
        return f"{text}."
    by_masks = sum(masked) / len(masked) - course["end"]
    more = "the masks move it most" if abs(by_masks) > abs(_fall(course)) else "the length of training moves it most"
    return f"{text}; with the attack made under this batch's masks it is {percent(course['end'] + by_masks)}: {more}."


@draws(
    "adv-robust-1600",
    "What adversarial training changes",
    "Error under FGSM against its size, on the first 1,000 test images. FGSM takes one step: see the error under "
    "PGD in the table before calling a network robust.",
)
def _draw_robustness(canvas: Any, details: dict[str, Any]) -> None:
    axes = canvas.subplots()
    for name, colour, style in (("naive", ORANGE, "s--"), ("adversarial", BLUE, "o-")):
        errors = [100 * e for e in details[name]]
        axes.plot(details["eps"], errors, style, color=colour, label=f"{name} training", clip_on=False)
    axes.axvline(EPS, color=GREY, linewidth=1.5, linestyle=":", label="ε used in training")
    axes.set(xlabel="ε of the attack (FGSM)", ylabel="error, %", ylim=(0, 100))
    axes.legend(frameon=False)


def _large_pair_at_length(profile: Profile, seed: int) -> list[Recipe]:
    return _pair_at_length(profile, seed, profile.units)


@measures("adv-transfer", _large_pair_at_length, units=1600)
def adv_transfer(lab: Lab, seed: int, naive: Network, trained: Network, *longer: Network) -> Measurement:
    """Each network's FGSM examples, shown to the other.

    Varied are the rounding of the gradient (see `rounding`) and how long both are trained.
    """
    x, y = lab.data.test
    of_naive, of_trained, values = attack(naive, x, y), attack(trained, x, y), Values()
    values.add(metrics.evaluate(trained, of_naive, y), error="error_naive_to_trained")
    values.add(metrics.evaluate(naive, of_trained, y), error="error_trained_to_naive")
    own = {NAIVE: metrics.evaluate(naive, of_naive, y).error, TRAINED: metrics.evaluate(trained, of_trained, y).error}
    rows = [["as defined", *values.values.values()], [ROUNDED, *_exchanged(naive, trained, x, y, Rounded)]]
    if longer:
        what = f", both trained for {lab.epochs(longer[0])} epochs"
        rows.append([f"as defined{what}", *_exchanged(longer[0], longer[1], x, y)])
        rows.append([f"{ROUNDED}{what}", *_exchanged(longer[0], longer[1], x, y, Rounded)])
    columns = ["FGSM", "made on naive", "made on adversarially trained"]
    courses = {TRAINED: _course(lab, trained, "adversarial_error")}
    return values.measurement(details={"own": own, "courses": courses, "variations": table(columns, rows)})


def _exchanged(naive: Network, trained: Network, x: Array, y: Array, of: Any = lambda model: model) -> list[float]:
    """The error of either network on the other's examples, which follow the gradient of `of(network)`."""
    pairs = (naive, trained), (trained, naive)
    return [metrics.evaluate(to, attack(of(made_on), x, y), y).error for made_on, to in pairs]


@explains("adv-transfer")
def _why_transfer(result: Result) -> str:
    own = {name: mean(m.details["own"][name] for m in result.measurements) for name in (NAIVE, TRAINED)}
    to_trained, to_naive = result.mean("error_naive_to_trained"), result.mean("error_trained_to_naive")
    than_own = "more" if to_trained > own[TRAINED] else "no more"
    return (
        f"The adversarially trained network errs on {percent(own[TRAINED])} of its own FGSM examples, {than_own} on "
        f"the naive network's, {percent(to_trained)}; the naive one on {percent(own[NAIVE])} and "
        f"{percent(to_naive)}; on the validation images the former's FGSM error "
        f"{_in_words(_courses(result, TRAINED))}. {nearest(result, 'error_naive_to_trained', 'error_trained_to_naive')}"
    )


def _trained_at_length(profile: Profile, seed: int) -> list[Recipe]:
    trained = _large_trained(profile, seed)
    return [*trained, *recipes.at_length(profile, seed, *trained)]


@measures("adv-confidence", _trained_at_length, units=1600)
def adv_confidence(lab: Lab, seed: int, trained: Network, *longer: Network) -> Measurement:
    """How sure the adversarially trained network is where FGSM fools it; varied is the length of its training."""
    x, y = lab.data.test
    values, log = Values(), lab.log(trained)[: lab.epochs(trained)]
    values.add(metrics.evaluate(trained, attack(trained, x, y), y), error="error",
                confidence_on_mistakes="confidence_on_mistakes",
                wrong_label_probability="wrong_label_probability")  # fmt: skip
    rows = [["as defined", values.values["confidence_on_mistakes"], values.values["error"]]]
    for model in longer:
        after = metrics.evaluate(model, attack(model, x, y), y)
        rows.append([f"trained for {lab.epochs(model)} epochs", after.confidence_on_mistakes, after.error])
    names = ("epoch", CONFIDENCE, "adversarial_error")
    details: dict[str, Any] = {name: [entry[name] for entry in log] for name in names}
    details["variations"] = table(["training", "confidence on mistakes", "FGSM error"], rows)
    return values.measurement(details=details)


@explains("adv-confidence")
def _why_confidence(result: Result) -> str:
    """Confidence follows training: what it was half way, and at the end."""
    logs = [m.details for m in result.measurements]
    (first, half), (last, end) = (
        [mean(log[key][(len(log[key]) - 1) // of] or nan for log in logs) for key in ("epoch", CONFIDENCE)]
        for of in (2, 1)
    )
    if isnan(half) or isnan(end):
        return ""
    does = "still rose" if end > half else "did not rise any more"
    return (
        f"On the validation images the confidence on mistakes {does} towards the end of training, {percent(half)} "
        f"after {first:.0f} epochs and {percent(end)} after {last:.0f}, where the FGSM error is "
        f"{percent(mean(log['adversarial_error'][-1] for log in logs))}. "
        f"{nearest(result, 'confidence_on_mistakes')}"
    ).rstrip()


@draws(
    "adv-confidence",
    "Confidence on mistakes follows training",
    "The adversarially trained network after every epoch, under FGSM(.25) on the 10,000 validation images: its error, "
    "and the mean of the largest class probability over the images that it gets wrong.",
)
def _draw_confidence(canvas: Any, details: dict[str, Any]) -> None:
    axes, epochs = canvas.subplots(), details["epoch"]
    for key, label, colour, style in (
        (CONFIDENCE, "confidence on mistakes", BLUE, "o-"),
        ("adversarial_error", "error", ORANGE, "s--"),
    ):
        shares = [nan if v is None else 100 * v for v in details[key]]  # no mistakes, no confidence
        axes.plot(epochs, shares, style, color=colour, label=label, markevery=max(1, len(epochs) // 20))
    axes.set(xlabel="epoch", ylabel="% on the validation images, FGSM(.25)", ylim=(0, 100))
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.legend(frameon=False)


# ---------------------------------------------------------------------------------------------------------
# Filters


@measures("fig3-filters", _large_pair, units=1600)
def fig3_filters(lab: Lab, seed: int, naive: Network, trained: Network) -> Measurement:
    """First-layer filters side by side, and how local those are that ever win."""
    networks, x = {NAIVE: naive, TRAINED: trained}, lab.data.validation.x
    alive = {name: _filters(network)[_ever_largest(network, x)] for name, network in networks.items()}
    readings = {
        "best 9 × 9 window, % of the squared weights": {n: 100 * metrics.window_energy(w) for n, w in alive.items()},
        "pixels used (participation ratio)": {n: metrics.pixels_used(w) for n, w in alive.items()},
        "distance from the centre, pixels (root mean square)": {n: metrics.spread(w) for n, w in alive.items()},
        "filters that are not dead": {n: [float(len(w))] for n, w in alive.items()},
    }
    values = Values()
    for name, quantity in ((NAIVE, "locality_naive"), (TRAINED, "locality_trained")):
        locality = metrics.window_energy(alive[name])
        values.values[quantity], values.intervals[quantity] = float(locality.mean()), metrics.mean_interval(locality)
    rows = [[text, *(mean(map(float, of[name])) for name in networks)] for text, of in readings.items()]
    return values.measurement(
        holds=values.values["locality_trained"] > values.values["locality_naive"],
        details={
            "filters": {name: _shown(network, seed) for name, network in networks.items()},
            "variations": table(["mean over filters", *networks], rows, ["number", "number"]),
        },
    )  # fmt: skip


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


@explains("fig3-filters")
def _why_not_local(result: Result) -> str:
    tables = [m.details["variations"]["rows"] for m in result.measurements]
    _, used, distance = ([mean(table[k][i] for table in tables) for i in (1, 2)] for k in range(3))
    votes = sum(trained < naive for naive, trained in (used, distance))
    return (
        f"Two other readings of locality, pixels used ({used[1]:.0f} against the naive network's {used[0]:.0f}) and "
        f"distance from the centre ({distance[1]:.2f} against {distance[0]:.2f} pixels), "
        f"{('agree with that', 'contradict each other', 'say that the filters are more local')[votes]}."
    )


@draws(
    "fig3-filters",
    "First-layer maxout filters, as in figure 3 of the paper",
    "Units drawn at random, a column for each of both networks, and in it its five pieces one below the other; grey is "
    "a weight of 0, white and black are the largest weight of that piece in size, up and down.",
)
def _draw_filters(canvas: Any, details: dict[str, Any]) -> None:
    panels = canvas.subplots(1, 2)
    for axes, (name, filters) in zip(panels, details["filters"].items(), strict=True):
        show_image(axes, _columns(filters), name, low=-1, high=1)
    canvas.set_size_inches(10, 4.3)


def _columns(filters: list[str]) -> Array:
    """Filters, unit by unit, as one picture: a column for each unit, transparent lines between them."""
    tiles = full((SHOWN, len(filters) // SHOWN, 30, 30), nan)
    tiles[:, :, 1:-1, 1:-1] = array([pixels(image) for image in filters]).reshape(SHOWN, -1, 28, 28)
    return tiles.transpose(1, 2, 0, 3).reshape(-1, SHOWN * 30)
