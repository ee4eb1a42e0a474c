"""The paper's networks as recipes, one function each, for the three profiles.

A profile sets the scale of a run (see `profiles`); a recipe (see `lab`) is a network and its training at that scale.
Every choice on which the paper is silent is made here, or in the builders of `tinyadv.models`, and said in the
docstring.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from hashlib import sha256
from typing import Any

from .. import dbm
from ..datasets import data_folder
from ..models import CONV_LESSON, CONV_MAX_NORMS, CONV_RATE_FACTORS, EMBEDDED, embedded, provenance
from ..optim import Schedule
from .lab import EPS, HALVES, Recipe, Trained
from .profiles import NAIVE_EPOCHS, Profile

MAX_NORM = 1.9365  # published for maxout on MNIST


@dataclass(frozen=True)
class Packaged:
    """A trained network that came with the package, which stands where a recipe would: nothing is trained.

    Attributes
    ----------
    name : str
        As in `models.embedded`.
    """

    name: str

    @property
    def hash(self) -> str:
        """Twelve hexadecimal digits of its file's content, which name it as a recipe's hash names a network."""
        return sha256((EMBEDDED / f"{self.name}.safetensors").read_bytes()).hexdigest()[:12]

    @property
    def chosen(self) -> dict[str, Any]:
        """The recipe that it was trained by, as its file has it."""
        return dict(provenance(self.name)["recipe"])

    def trained(self, device: str = "cpu") -> Trained:
        """The network, on a device, and the log of its training."""
        log = provenance(self.name)["log"]
        return Trained(embedded(self.name).to(device), log, len(log), packaged=True)


def softmax_regression(profile: Profile, seed: int) -> Recipe:
    """Shallow softmax regression, section 4; l2 = 0.003 was chosen knowing the paper's values: it names none."""
    return Recipe(
        "softmax_regression", options={"l2": 0.003}, epochs=profile.epochs["softmax"], schedule=PLAIN, seed=seed
    )


def logistic_regression(profile: Profile, seed: int, adversarial: bool = False) -> Recipe:
    """Logistic regression on threes and sevens, section 5; trained on clean images, or on attacked ones alone."""
    return Recipe(
        "logistic_regression",
        data="mnist-3v7",
        objective="adversarial" if adversarial else "clean",
        options={"eps": EPS, "alpha": 0.0} if adversarial else {},
        epochs=profile.epochs["logistic"],
        schedule=PLAIN,
        seed=seed,
    )


def _with_momentum(learning_rate: float) -> dict[str, float]:
    """A schedule of the networks of RBF units, whose training is not published."""
    return {"learning_rate": learning_rate, "momentum": 0.9, "final_momentum": 0.9}


def rbf_network(
    profile: Profile,
    seed: int,
    top: str = "rbf-squared",
    beta: float = 0.12,
    learning_rate: float = 2.0,
    times: int = 1,
) -> Recipe:
    """The shallow RBF network, section 7; J by default the sum of squared errors; it trains `times` as long as usual.

    The paper names neither J nor where beta starts nor how long it trained, and these decide all three of its numbers.
    They were chosen on the validation images, knowing the paper's values: squared errors, from 0.12, at a rate of 2 for
    6 epochs, come near to all three; the sum of binary cross-entropies errs more often at the same confidence, and
    -log p_y is confident where it errs. The measurement reports these too.
    """
    return Recipe(
        "rbf_network",
        {"top": top, "beta": beta},
        epochs=times * profile.epochs["rbf"],
        schedule=_with_momentum(learning_rate),
        seed=seed,
    )


# Other choices than those of `rbf_network`: which numbers they give shows which of them matter.
RBF_OTHERWISE: dict[str, dict[str, Any]] = {
    "cross_entropy": {"top": "rbf", "learning_rate": 0.5, "beta": 0.1},
    "true_class": {"top": "rbf-true-class", "learning_rate": 0.5, "beta": 0.1},
    "beta:0.05": {"beta": 0.05},
    "beta:0.2": {"beta": 0.2},
    "slow": {"learning_rate": 0.5},
    "long": {"times": 3},
    "cross_entropy_long": {"top": "rbf", "learning_rate": 0.5, "beta": 0.1, "times": 2},
}


def rbf_otherwise(profile: Profile, seed: int) -> dict[str, Recipe]:
    """Networks of `RBF_OTHERWISE`, by its keys; the two other J's alone where the profile does not vary choices."""
    chosen = list(RBF_OTHERWISE) if profile.varies(seed) else ["cross_entropy", "true_class"]
    return {key: rbf_network(profile, seed, **RBF_OTHERWISE[key]) for key in chosen}


def maxout(
    profile: Profile,
    seed: int,
    units: int = 240,
    adversarial: str | None = None,
    top: str = "softmax",
    gradient: str = "rounded",
) -> Recipe:
    """The maxout network, sections 4 and 6, with the published settings; trained naively or adversarially.

    Under the published protocol one of 240 units is `published`, a larger one `published_large`.

    Parameters
    ----------
    adversarial : "training", "inference" or None
        Whom the attack in training sees: the network with this batch's masks, as the paper's software would have it, or
        the one without dropout; the paper does not say (see `losses.adversarial_objective`). None trains naively.
    gradient : "rounded" or "exact"
        The gradient of that attack: the software's, or as it is.
    """
    if profile.protocol:
        recipe = (published if units == 240 else published_large)(seed, units, adversarial, gradient)
        return replace(recipe, arguments={**recipe.arguments, "top": top, **profile.maxout})
    return Recipe(
        "maxout_network",
        {"units": units, "top": top, **profile.maxout},
        objective="adversarial" if adversarial else "clean",
        options=_attacked(adversarial, gradient),
        epochs=profile.epochs["adversarial" if adversarial else "naive"],
        schedule=profile.schedule,
        max_norm=MAX_NORM,
        seed=seed,
    )


def _attacked(adversarial: str | None, gradient: str) -> dict[str, Any]:
    """Options of the adversarial objective; none without an attack."""
    return {"eps": EPS, "alpha": 0.5, "attacked": adversarial, "gradient": gradient} if adversarial else {}


def larger(profile: Profile) -> int:
    """Units a layer of the network that is held against the one of 240: the profile's, or twice as many as 240."""
    return profile.units if profile.units > 240 else 480


def cifar10_missing() -> str:
    """That CIFAR-10 is not at hand, in one line with the command to get it; "" if it is."""
    path = data_folder() / "cifar10.bin"
    command = "To get it, run in tinyadv's source tree: python data_scripts/cifar10.py"
    return "" if path.exists() else f"{path} does not exist. {command}"


def conv_maxout(profile: Profile, seed: int) -> Recipe | Packaged:
    """The convolutional maxout network of CIFAR-10, sections 4 and 8: trained here, or the one that travels.

    Where CIFAR-10 is not at hand, and in the quick profile, which trains none, it is the one that travels. The
    published protocol trains the published network: 40,000 images, patience 100, then all 50,000 (stage 2). In lessons
    the smaller network that was published too is trained for 8 epochs, with the larger start of `models.CONV_LESSON`:
    the published schedule begins slowly and has hundreds of epochs.
    """
    if "convolutional" not in profile.epochs or cifar10_missing():
        return Packaged("conv-maxout")
    if profile.protocol:
        return Recipe(
            "conv_maxout_network",
            data="cifar10",
            epochs=profile.epochs["convolutional"],
            schedule={"kind": "linear"},
            max_norm=CONV_MAX_NORMS,
            rate_factors=CONV_RATE_FACTORS,
            batch=128,
            stop_on="error",
            stage2=True,
            seed=seed,
        )
    return Recipe(
        "conv_maxout_network",
        {**CONV_LESSON["arguments"], "channels": [48, 128, 128]},
        data="cifar10",
        epochs=profile.epochs["convolutional"],
        schedule={**CONV_LESSON["schedule"], "epochs": profile.epochs["convolutional"]},
        max_norm=CONV_LESSON["max_norm"],
        rate_factors=CONV_LESSON["rate_factors"],
        batch=CONV_LESSON["batch"],
        seed=seed,
    )


def at_length(profile: Profile, seed: int, *networks: Recipe, times: int = 2) -> list[Recipe]:
    """Where choices are varied, networks trained so many times as long as the naive one usually is; else none.

    How long most of the paper's were trained is not said, and how sure they become depends on it.
    """
    epochs = times * profile.epochs["naive"]
    return [replace(network, epochs=epochs) for network in networks] if profile.varies(seed) else []


def naive_at_length(profile: Profile, seed: int) -> dict[str, Recipe]:
    """The naive maxout network, section 4; and where choices are varied the same, trained longer."""
    naive = maxout(profile, seed)
    return {"naive": naive, **longer(profile, seed, naive)}


def longer(profile: Profile, seed: int, network: Recipe) -> dict[str, Recipe]:
    """As "longer" a network trained for longer, where choices are varied (see `at_length`)."""
    return {"longer": at_length(profile, seed, network)[0]} if profile.varies(seed) else {}


def maxout_rubbish(profile: Profile, seed: int, top: str = "softmax", trained: bool = True) -> Recipe:
    """The maxout network trained to give Gaussian rubbish no class, appendix; or not, but as long, for comparison.

    The paper does not say how; here a sample of N(0, I) goes with every ten images, and "no class" is that of
    `losses.rubbish_objective` for the network's top. Of 1, 0.25, 0.1 and 0.05 samples an image, 0.1 is the most that
    does not raise the error on the validation images, and the least that keeps rubbish near 0 (six epochs, one seed).
    """
    plain = control(profile, seed, "clean")
    plain = replace(plain, arguments={**plain.arguments, "top": top})
    return replace(plain, objective="rubbish", options={"per_image": 0.1}) if trained else plain


# Ever more inhibition, section 7: a name, a builder, its arguments, learning rates to choose from.
QUADRATIC: tuple[tuple[str, str, dict[str, Any], tuple[float, ...]], ...] = (
    ("quadratic:0.03", "quadratic_network", {"inhibition": 0.03, "top": "sigmoid"}, (0.03, 0.1)),
    ("quadratic:0.1", "quadratic_network", {"inhibition": 0.1, "top": "sigmoid"}, (0.03, 0.1)),
    ("quadratic:0.3", "quadratic_network", {"inhibition": 0.3, "top": "sigmoid"}, (0.03, 0.1)),
    ("rbf_softmax:0.03", "deep_rbf_network", {"beta": 0.03, "top": "softmax"}, (0.1, 0.5)),
    ("rbf:0.03", "deep_rbf_network", {"beta": 0.03, "top": "rbf"}, (0.1, 0.5)),
    ("rbf:0.1", "deep_rbf_network", {"beta": 0.1, "top": "rbf"}, (0.1, 0.5)),
    (
        "rbf_squared:0.1",
        "deep_rbf_network",
        {"beta": 0.1, "hidden_beta": 1.0, "top": "rbf-squared"},
        (0.5, 2.0),
    ),
)


def quadratic(profile: Profile, seed: int) -> dict[str, Recipe]:
    """Deep networks of RBF and quadratic units, section 7, by "NAME@RATE": `QUADRATIC` at all of its learning rates.

    100 units a layer: what is asked is whether SGD can train them at all.
    """
    return {
        f"{name}@{rate:g}": Recipe(
            network,
            {"units": 100, **arguments},
            epochs=profile.epochs["controls"],
            schedule=_with_momentum(rate),
            seed=seed,
        )
        for name, network, arguments, rates in QUADRATIC
        for rate in rates
    }


HALVES_OF = ("softmax", "maxout", "rbf", "sigmoid")


def in_halves(profile: Profile, seed: int, architecture: str) -> list[Recipe]:
    """A network for each half of the training images, section 8, each with a seed of its own."""
    whole: dict[str, Callable[[int], Recipe]] = {
        "softmax": lambda s: softmax_regression(profile, s),
        "maxout": lambda s: control(profile, s, "clean"),
        "rbf": lambda s: rbf_network(profile, s),
        "sigmoid": lambda s: control(profile, s, "clean", unit="sigmoid"),
    }
    halves = enumerate(HALVES)
    return [
        replace(whole[architecture](2 * seed + k), data=half, epochs=profile.epochs["controls"]) for k, half in halves
    ]


def ensemble(profile: Profile, seed: int, members: int = 12) -> list[Recipe]:
    """The members of section 9's ensemble: maxout networks of other seeds, and of others for every `seed`.

    Only the published protocol trains them as long as the naive network.
    """
    seeds = range(seed * members, (seed + 1) * members)
    if profile.protocol:
        return [maxout(profile, s) for s in seeds]
    return [replace(control(profile, s, "clean"), epochs=profile.epochs["members"]) for s in seeds]


def mp_dbm(profile: Profile, seed: int) -> Recipe | Packaged:
    """The multi-prediction deep Boltzmann machine, section 9: as published, or as far as the profile goes.

    The published training stops by the error on the validation images, with patience 100, and then goes on with all
    60,000 (stage 2). The quick profile trains none: in its time a machine errs on 7 % of the images, where the one that
    travels with the package had 20 epochs.
    """
    return Packaged("mp-dbm") if profile.dbm is None else _machine(profile, seed, profile.dbm)


def mp_dbm_of_fewer_rounds(profile: Profile, seed: int) -> dict[int, Recipe]:
    """Where choices are varied, machines trained and inferring with fewer rounds of mean field, by their number."""
    if profile.dbm is None or not profile.varies(seed):
        return {}
    return {n: _machine(profile, seed, {**profile.dbm, "iterations": n}) for n in (3, 6)}


def _machine(profile: Profile, seed: int, otherwise: dict[str, Any]) -> Recipe:
    published: dict[str, Any] = {
        "units": [2087, 3200],
        "iterations": 14,
        "epochs": dbm.SCHEDULE["epochs"],
        "schedule": {},
    }
    sizes = published | otherwise
    return Recipe(
        "mp_dbm",
        {"units": sizes["units"], "iterations": sizes["iterations"]},
        objective="multi-prediction",
        epochs=sizes["epochs"],
        schedule={**dbm.SCHEDULE, **sizes["schedule"]},
        max_norm=dbm.MAX_NORMS,
        stop_on="error" if profile.protocol else None,
        stage2=profile.protocol,
        seed=seed,
    )


def published(seed: int, units: int = 240, adversarial: str | None = None, gradient: str = "rounded") -> Recipe:
    """The maxout network by the published protocol: early stopping with patience 100 and then stage 2.

    `adversarial` and `gradient` are those of `maxout`. Both networks stop by the *clean* validation error: the paper
    describes stopping by the adversarial one as a later change.
    """
    return Recipe(
        "maxout_network",
        {"units": units, "top": "softmax"},
        objective="adversarial" if adversarial else "clean",
        options=_attacked(adversarial, gradient),
        epochs=1000,
        max_norm=MAX_NORM,
        stop_on="error",
        stage2=True,
        seed=seed,
    )


def published_large(seed: int, units: int, adversarial: str | None = None, gradient: str = "rounded") -> Recipe:
    """A larger maxout network by section 6's protocol: the number of epochs is chosen once, by the training of seed 0.

    The adversarially trained one stops by the adversarial validation error, the naive one by the clean one. Every seed
    then trains from scratch, for as many epochs, on all 60,000 images.
    """
    recipe = published(seed, units, adversarial, gradient)
    stop_on = "adversarial_error" if adversarial else "error"
    return replace(recipe, stop_on=stop_on, stage2=False, retrain=True, chosen_with=0)


def noise_control(profile: Profile, seed: int, kind: str, alpha: float = 0.0) -> Recipe:
    """The noise control of section 6: noisy images alone, for as many epochs as the naive network; else as that one.

    With an `alpha` clean images stand beside them with this weight, as in adversarial training; the paper mentions no
    such mixture.
    """
    if profile.protocol:
        return noise_alone(seed, kind, NAIVE_EPOCHS, alpha)
    return replace(maxout(profile, seed), objective="noise", options={"kind": kind, "eps": EPS, "alpha": alpha})


def noise_alone(seed: int, kind: str, epochs: int, alpha: float = 0.0) -> Recipe:
    """The noise control with the published settings, for `epochs`."""
    naive = replace(published(seed), stop_on=None, stage2=False, epochs=epochs)
    return replace(naive, objective="noise", options={"kind": kind, "eps": EPS, "alpha": alpha})


def sigmoid_mean(recipe: Recipe) -> Recipe:
    """The recipe with independent sigmoids on top whose J is the mean over the ten classes, as in the paper's software.

    Ours is their sum. Without momentum or with, a tenth of J is a tenth of the learning rate, and of its floor.
    """
    published = Schedule(**recipe.schedule)
    schedule = {"learning_rate": published.learning_rate / 10, "floor": published.floor / 10}
    return replace(recipe, arguments={**recipe.arguments, "top": "sigmoid"}, schedule={**recipe.schedule, **schedule})


def logistic_regularised(profile: Profile, seed: int, regulariser: str, coefficient: float) -> Recipe:
    """Logistic regression on threes and sevens with "adversarial" training at an eps, or with "l1" or "l2" decay.

    The learning rate falls to a hundredth, because a penalty with a kink keeps weights jumping to and fro across 0 at
    a constant one, so far that at large coefficients their norm is nothing but that.
    """
    adversarial = regulariser == "adversarial"
    epochs = profile.epochs["logistic"]
    return Recipe(
        "logistic_regression",
        data="mnist-3v7",
        objective="adversarial" if adversarial else "clean",
        options={"eps": coefficient, "alpha": 0.0} if adversarial else {regulariser: coefficient},
        epochs=epochs,
        schedule={**PLAIN, "decay": round(100 ** (1 / (100 * epochs)), 6)},  # an epoch is about 100 updates
        seed=seed,
    )


def maxout_l1(profile: Profile, seed: int, coefficient: float) -> Recipe:
    """The naive maxout network with L1 decay of its first layer, section 5; all coefficients are trained equally long.

    0 is without decay.
    """
    return replace(control(profile, seed, "clean"), options={"l1": coefficient} if coefficient else {})


def control(
    profile: Profile,
    seed: int,
    objective: str = "adversarial",
    unit: str = "maxout",
    length: str = "controls",
    **options: Any,
) -> Recipe:
    """A network that is only compared with others, all trained equally long (`profile.epochs[length]`); by FGSM.

    `unit` is "maxout", or "sigmoid", "rust" or "rust-squared", units that saturate. About these the paper says
    nothing more: see `UNITS`. With the objective "clean" it is the network that they are all to be better than. FGSM in
    training sees the network without dropout, as attacks on hidden layers do, unless `attacked` says otherwise.
    """
    fixed: dict[str, Any] = {"eps": EPS, "alpha": 0.5}
    if objective == "adversarial":
        fixed["attacked"] = "inference"
    if "rotation" in options.values():
        fixed["angle"] = ANGLE
    shape = UNITS[unit]
    if unit == "maxout":
        shape = {**shape, "arguments": {**shape["arguments"], **profile.maxout}, "schedule": profile.schedule}
    return Recipe(
        **shape,
        objective=objective,
        options={**fixed, **options} if objective != "clean" else {},
        epochs=profile.epochs[length],
        seed=seed,
    )


# Of rotations that are trained with, 15 degrees in radians. The paper says "small"; of 15 and 30 degrees this one gives
# the lower error on validation images, by far
ANGLE = 0.2617994

# Scales and learning rates of the saturating units were chosen by the error on validation images after two epochs of
# training with FGSM on the input; max-norm, which is published for maxout, is not used for them
UNITS: dict[str, dict[str, Any]] = {
    "maxout": {"network": "maxout_network", "arguments": {"units": 240, "top": "softmax"}, "max_norm": MAX_NORM},
    "sigmoid": {
        "network": "saturating_network",
        "arguments": {"unit": "sigmoid", "scale": 0.2},
        "schedule": {"learning_rate": 0.3},
    },
    "rust": {"network": "saturating_network", "arguments": {"unit": "rust"}, "schedule": {"learning_rate": 0.3}},
    "rust-squared": {
        "network": "saturating_network",
        "arguments": {"unit": "rust-squared"},
        "schedule": {"learning_rate": 0.3},
    },
}
PLAIN = {"momentum": 0.5, "final_momentum": 0.5}  # for the shallow models: constant momentum
