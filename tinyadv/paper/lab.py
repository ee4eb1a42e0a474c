"""The lab: where a recipe becomes a trained network. A recipe is a value; its hash names the network everywhere.

The one idea: many claims look at the same network, so a claim asks a `Lab` for the network of a recipe, and the lab
trains it, continues an interrupted training, or loads what was trained before by the same program (see `fingerprint`).
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import sys
from collections.abc import Callable
from dataclasses import MISSING, asdict, dataclass, field, fields, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

from numpy import stack

from .. import dbm, losses, metrics
from ..attacks import fgsm
from ..backend import generator, to_device
from ..datasets import MNIST, Split, cifar10, mnist, pair
from ..layers import named_parameters, parameters
from ..models import Network, build, load_parameters
from ..optim import SGD, schedule_of
from ..progress import Progress, Silent
from ..storage import StorageError, load_arrays, save_arrays
from ..training import Objective, Stopping, Training, best_epoch, check_log, train
from . import rounding
from .fingerprint import training
from .stage2 import Stage2, stage2

EPS = 0.25  # the paper's attack on MNIST, in units of pixels from 0 to 1
EPS_WHITENED = 0.1  # its attack on CIFAR-10, in the whitened space
LOOKED_AT = 2000  # how many validation images are attacked after each epoch where that is only for the log


@dataclass(frozen=True)
class Recipe:
    """A network and its training; equal recipes give the same bits on a CPU.

    Attributes
    ----------
    network, arguments : str, dict
        A builder of `tinyadv.models` and its arguments.
    data : "mnist", "mnist-3v7", "mnist-half-0", "mnist-half-1" or "cifar10"
        All ten classes; sevens (1) against threes (-1); all ten classes with every second training image, from the
        first or from the second on: two halves without an image in common. Or CIFAR-10, whitened, the last 10,000
        training images for validation.
    objective, options : str, dict
        A key of `OBJECTIVES`, and its options (see `tinyadv.losses`).
    epochs : int
        At most so many, on the data's training images: 50,000 where the data is "mnist".
    schedule, max_norm, rate_factors, batch
        The optimiser's; the schedule, data for `optim.schedule_of`, defaults to the published one.
    stop_on, patience : str, int
        What early stopping watches on the 10,000 validation images: "error" or "adversarial_error"; None: nothing.
    retrain : bool
        After early stopping train again from scratch, for the best number of epochs, on all 60,000 (section 6).
    chosen_with : int, optional
        The seed of the training whose early stopping chooses the number of epochs for `retrain`: it is chosen once,
        for several seeds. By default every seed chooses its own.
    stage2 : bool
        After early stopping go on from the best parameters, on all 60,000 (see `stage2`).
    seed : int
        Of initial weights, order and masks.

    Raises
    ------
    ValueError
        For unknown data or an unknown objective, and where there is no early stopping to go on from.
    """

    network: str
    arguments: dict[str, Any] = field(default_factory=dict)
    data: str = "mnist"
    objective: str = "clean"
    options: dict[str, Any] = field(default_factory=dict)
    epochs: int = 10
    schedule: dict[str, Any] = field(default_factory=dict)
    max_norm: float | dict[str, float] | None = None
    rate_factors: dict[str, float] = field(default_factory=dict)
    batch: int = 100
    stop_on: str | None = None
    patience: int = 100
    retrain: bool = False
    chosen_with: int | None = None
    stage2: bool = False
    seed: int = 0

    def __post_init__(self) -> None:
        if self.data not in DATA or self.objective not in OBJECTIVES:
            raise ValueError(
                f"data is {' or '.join(map(repr, DATA))}, objective is {' or '.join(map(repr, OBJECTIVES))}; "
                f"got {self.data!r} and {self.objective!r}"
            )
        if self.stage2 and (self.retrain or not self.stop_on):
            raise ValueError(f"stage 2 goes on after early stopping, without retraining; got {self}")
        if self.chosen_with is not None and not (self.retrain and self.stop_on):
            raise ValueError(f"chosen_with is for retraining after early stopping; got {self}")

    @property
    def first(self) -> Recipe | None:
        """The early stopped training that this one begins with and that is kept as a network of its own, if any."""
        if self.stage2:
            return replace(self, stage2=False)
        if self.chosen_with is not None:
            return replace(self, retrain=False, chosen_with=None, seed=self.chosen_with)
        return None

    @property
    def as_json(self) -> dict[str, Any]:
        """All fields, as they come back from JSON: tuples are lists."""
        return dict(json.loads(json.dumps(asdict(self))))

    @property
    def chosen(self) -> dict[str, Any]:
        """The fields that are not left at their defaults, as they come back from JSON."""
        defaults = {f.name: f.default if f.default_factory is MISSING else f.default_factory() for f in fields(self)}
        return {name: value for name, value in self.as_json.items() if value != defaults[name]}

    @property
    def hash(self) -> str:
        """Twelve hexadecimal digits that name the trained network; what is left at its default does not count."""
        return hashlib.sha256(json.dumps(self.chosen, sort_keys=True).encode()).hexdigest()[:12]

    @property
    def title(self) -> str:
        """A few words for the progress display."""
        top = self.arguments.get("top")
        words = [self.network.replace("_", " "), self.arguments.get("units"), top if top not in USUAL_TOPS else None]
        objective = "" if self.objective == "clean" else f", {self.objective}"
        half = f", {self.data.removeprefix('mnist-')}" if self.data in HALVES else ""
        return f"{' '.join(str(word) for word in words if word)}{objective}{half}, seed {self.seed}"


@dataclass(frozen=True)
class Trained:
    """A trained network and its training.

    Attributes
    ----------
    log : list of dict
        What was noted after each epoch. After early stopping that is the whole training, which went on for longer than
        `epochs`; where the network was trained again on all 60,000 images, nothing was noted of that.
    epochs : int
        For how many epochs the network was trained: with early stopping, those that this chose.
    packaged : bool
        Whether it came with the package instead of being trained here.
    """

    network: Network
    log: list[dict[str, Any]]
    epochs: int
    packaged: bool = False


class Lab:
    """Where networks are trained once and kept.

    Parameters
    ----------
    folder : path
        Checkpoints and trained networks are kept here, by the hash of their recipes.
    device : "cpu" or "cuda"
    progress : Progress, optional
    say : callable, optional
        Is told, in one line, of a file that cannot be used; by default standard error.
    """

    def __init__(
        self,
        folder: Path,
        device: str = "cpu",
        progress: Progress | None = None,
        say: Callable[[str], None] = lambda line: print(line, file=sys.stderr),
    ) -> None:
        self.folder, self.device, self.progress, self.say = Path(folder), device, progress or Silent(), say
        self._trained = dict[str, Trained]()

    @cached_property
    def data(self) -> MNIST:
        """MNIST, where the networks are."""
        return MNIST(*(self._placed(split) for split in mnist()))

    def split(self, recipe: Recipe, name: str) -> Split:
        """The "train", "validation", "test" or "full_train" part of a recipe's data.

        Raises
        ------
        DataError
            For CIFAR-10, if it has not been fetched.
        """
        if recipe.data == "cifar10":
            return self.whitened(name)
        if recipe.data == "mnist-3v7":
            return self.three_or_seven(name)
        whole = self._placed(mnist().full_train) if name == "full_train" else getattr(self.data, name)
        if recipe.data in HALVES and name in ("train", "full_train"):
            return Split(*(a[HALVES.index(recipe.data) :: 2] for a in whole))
        return whole

    def whitened(self, name: str) -> Split:
        """A part of CIFAR-10, whitened, as of `split`."""
        whole = cifar10(whitened=True)
        if name == "test":
            return self._placed(whole.test)
        rows = {"train": slice(-10_000), "validation": slice(-10_000, None), "full_train": slice(None)}[name]
        return self._placed(Split(*(a[rows] for a in whole.train)))

    def three_or_seven(self, name: str) -> Split:
        """Sevens (1) against threes (-1) of a part of MNIST, section 5."""
        return self._placed(pair(getattr(mnist(), name), positive=7, negative=3))

    def _placed(self, split: Split) -> Split:
        return Split(to_device(split.x, self.device), to_device(split.y, self.device))

    def network(self, recipe: Recipe) -> Network:
        """The trained network of a recipe."""
        return self.trained(recipe).network

    def trained(self, recipe: Recipe) -> Trained:
        """The trained network of a recipe, with what is known of its training."""
        if recipe.hash not in self._trained:
            model, log = self._read(recipe) or self._train(recipe)
            for path in self.folder.glob(f"{recipe.hash}.*.checkpoint"):
                path.unlink(missing_ok=True)  # this training's; or of one killed when its network had just been written
            epochs = best_epoch(log, recipe.stop_on) if recipe.stop_on else log[-1]["epoch"]
            self._trained[recipe.hash] = Trained(model.to(self.device), log, epochs)
        return self._trained[recipe.hash]

    def stage2(self, recipe: Recipe) -> Stage2:
        """What stage 2 of a recipe that has one did, of which `Trained` says nothing."""
        self.network(recipe)
        about = load_arrays(self.path(recipe))[1]["stage2"]
        return Stage2(about["target"], about["log"])

    def has(self, recipe: Recipe) -> bool:
        """Whether the network of a recipe is there, undamaged, so that nothing is left to train."""
        return self._read(recipe) is not None

    def forget(self) -> None:
        """Let go of all networks: they are in their files."""
        self._trained.clear()

    def _read(self, recipe: Recipe) -> tuple[Network, list[dict[str, Any]]] | None:
        path = self.path(recipe)
        if not path.exists():
            return None
        try:
            arrays, about = load_arrays(path)
            model = self._untrained(recipe)
            log = check_log(about.get("log"), path)
            if about.get("program") != training():
                self._set_aside(path, str(about.get("program")))
                return None
            stage2 = about.pop("stage2", None)
            if about != self._about(recipe, model, log) or recipe.stage2 != (stage2 is not None):
                raise StorageError(f"{path} is not the network of its recipe, or was trained on another device")
            load_parameters(model, arrays, path, copy=False)
        except StorageError as error:
            self.say(f"{error}; it is trained again")
            return None
        return model, log

    def _set_aside(self, path: Path, program: str) -> None:
        """Keep the network of another program under another name, and say so: this program trains its own."""
        kept = path.with_suffix(f".{re.sub('[^0-9a-f]', '', program)[:12] or 'older'}.safetensors")
        os.replace(path, kept)
        self.say(f"{path} was trained by another version of the program; it is kept as {kept.name}, and trained again")

    def _train(self, recipe: Recipe) -> tuple[Network, list[dict[str, Any]]]:
        extra = {}
        if recipe.first:
            first = self.trained(recipe.first)
            model, log, best_epoch = first.network, first.log, first.epochs
        else:
            model, done = self._run(recipe, "train", recipe.epochs)
            log, best_epoch = done.log, done.best_epoch
        if recipe.stage2:
            model, second = self._stage2(recipe, best_epoch)
            extra = {"stage2": asdict(second)}
        elif recipe.retrain:
            model, _ = self._run(recipe, "full_train", best_epoch)
        arrays = {name: to_device(p.data, "cpu") for name, p in named_parameters(model).items()}
        save_arrays(self.path(recipe), arrays, self._about(recipe, model, log) | extra)
        return model, log

    def _stage2(self, recipe: Recipe, best_epoch: int) -> tuple[Network, Stage2]:
        """Stage 2 from the network of `recipe.first`, of which a copy is trained."""
        assert recipe.first
        model = self._untrained(recipe).to(self.device)
        for p, trained in zip(parameters(model), parameters(self.network(recipe.first)), strict=True):
            p.data = trained.data.copy()
        checkpoint = self._checkpoint(recipe, "full_train")
        try:
            second = stage2(
                model,
                partial(OBJECTIVES[recipe.objective], **recipe.options),
                *(self.split(recipe, part) for part in ("train", "validation", "full_train")),
                best_epoch=best_epoch,
                schedule=schedule_of(**recipe.schedule),
                max_norm=recipe.max_norm,
                rate_factors=recipe.rate_factors,
                batch=recipe.batch,
                seed=recipe.seed,
                checkpoint=checkpoint,
                progress=self.progress,
                title=f"{recipe.title}, stage 2",
            )
        except StorageError as error:
            self.say(f"{error}; stage 2 starts from the beginning")
            checkpoint.unlink(missing_ok=True)
            return self._stage2(recipe, best_epoch)
        return model, second

    def _run(self, recipe: Recipe, part: str, epochs: int) -> tuple[Network, Training]:
        """One training on a part of the data, continued from its checkpoint if there is one that can be used."""
        model, again = self._untrained(recipe).to(self.device), part == "full_train"
        own = self._checkpoint(recipe, part)
        if others := [path.name for path in self.folder.glob(f"{recipe.hash}.*.{part}.checkpoint") if path != own]:
            self.say(f"{others[0]} is of another version of the program; the training starts from the beginning")
        try:
            done = train(
                model,
                partial(OBJECTIVES[recipe.objective], **recipe.options),
                *self.split(recipe, part),
                epochs=epochs,
                seed=recipe.seed,
                optimiser=SGD(model, schedule_of(**recipe.schedule), recipe.max_norm, recipe.rate_factors),
                batch=recipe.batch,
                validate=None if again else partial(self._validate, recipe),  # again: on the validation images too
                stopping=Stopping(recipe.stop_on, recipe.patience) if recipe.stop_on and not again else None,
                checkpoint=own,
                progress=self.progress,
                title=recipe.title + (", on all training images" if again else ""),
            )
        except StorageError as error:
            self.say(f"{error}; the training starts from the beginning")
            own.unlink(missing_ok=True)
            return self._run(recipe, part, epochs)
        return model, done

    def _about(self, recipe: Recipe, model: Network, log: list[dict[str, Any]]) -> dict[str, Any]:
        """What stands in the file of a trained network beside its parameters."""
        return {
            "network": model.builder,
            "arguments": json.loads(json.dumps(model.arguments)),
            "log": log,
            "recipe": recipe.as_json,
            "device": self.device,
            "program": training(),
        }

    def _untrained(self, recipe: Recipe) -> Network:
        arguments = {**PUBLISHED_START.get(recipe.network, {}), **recipe.arguments}
        model = build(recipe.network, arguments, generator(recipe.seed, "weights"))
        if recipe.network in ("rbf_network", "deep_rbf_network"):
            x, y = (to_device(a, "cpu") for a in self.split(recipe, "train"))
            mu = model.layers[0].mu  # type: ignore[attr-defined]
            if recipe.network == "rbf_network":  # its units start at the mean image of their class
                mu.data = stack([x[y == k].mean(axis=0) for k in range(10)])
            else:  # hidden units start at training images
                mu.data = x[generator(recipe.seed, "centres").permutation(len(x))[: len(mu.data)]]
        if recipe.network == "mp_dbm":
            dbm.machine_of(model).start_from(to_device(self.split(recipe, "train").x, "cpu"))
        return model

    def _validate(self, recipe: Recipe, model: Network) -> dict[str, float]:
        """Error and confidence on the validation images, clean and attacked: by the exact gradient, and as software_*
        by that of the paper's software, which is another one once p of a true class has rounded to 1.

        All of them are attacked in adversarial training, and where early stopping watches the attack; else the first
        LOOKED_AT, because attacking all would take a third of the time of a naive training.
        """
        x, y = self.split(recipe, "validation")
        size = metrics.batch_size(model, x)
        clean = metrics.evaluate(model, x, y, size)
        if recipe.objective != "adversarial" and recipe.stop_on != "adversarial_error":
            x, y = x[:LOOKED_AT], y[:LOOKED_AT]
        eps = EPS_WHITENED if recipe.data == "cifar10" else EPS

        def under_fgsm(attacked: Any) -> metrics.Evaluation:
            x_adv = metrics.in_batches(partial(fgsm, attacked, eps=eps), x, y, size=size)
            return metrics.evaluate(model, x_adv, y, size)

        exact = under_fgsm(model)
        rounds = model.top == "softmax" and metrics.in_batches(partial(rounding.certain, model), x, y, size=size).any()
        software = under_fgsm(rounding.Rounded(model)) if rounds else exact
        return {
            "error": clean.error,
            "adversarial_error": exact.error,
            "confidence": clean.confidence,
            "adversarial_confidence_on_mistakes": exact.confidence_on_mistakes,
            "software_error": software.error,
            "software_confidence_on_mistakes": software.confidence_on_mistakes,
        }

    def path(self, recipe: Recipe) -> Path:
        """Where the trained network of a recipe is kept; `tinyadv.load` reads it."""
        return self.folder / f"{recipe.hash}.safetensors"

    def _checkpoint(self, recipe: Recipe, part: str) -> Path:
        """Where an unfinished training is kept: under the program's fingerprint, so that no other goes on with it."""
        return self.folder / f"{recipe.hash}.{training()}.{part}.checkpoint"


HALVES = ("mnist-half-0", "mnist-half-1")
DATA = ("mnist", "mnist-3v7", *HALVES, "cifar10")
PUBLISHED_START: dict[str, dict[str, Any]] = {  # arguments that are not part of a recipe's hash
    "maxout_network": {"scale": 0.005},
    "conv_maxout_network": {"scale": 0.005},
    "saturating_network": {"scale": 0.05},
}
USUAL_TOPS = ("softmax", "rbf-squared")
OBJECTIVES: dict[str, Objective] = {
    "clean": losses.clean_objective,
    "adversarial": rounding.adversarial_objective,
    "rubbish": losses.rubbish_objective,
    "noise": losses.noise_objective,
    "through-attack": losses.through_attack_objective,
    "hidden-layer": losses.hidden_objective,
    "multi-prediction": dbm.multi_prediction_objective,
}
