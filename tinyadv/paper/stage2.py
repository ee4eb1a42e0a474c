"""The last stage of the published training: from the best parameters on, on all images, until J is as low again.

Early stopping leaves 10,000 images that the network has not learned from. The maxout network's authors then went on
from the best epoch's parameters, on all 60,000 images, until the objective on these 10,000 had come down to what it
was on the other 50,000 at that epoch (pylearn2, scripts/papers/maxout, mnist_pi.yaml and its continuation).
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

from ..datasets import Split
from ..models import Network
from ..optim import SGD, LinearSchedule, Schedule
from ..progress import Progress
from ..training import Objective, Target, mean_objective, train

MOST_EPOCHS = 500


@dataclass(frozen=True)
class Stage2:
    """What stage 2 did.

    Attributes
    ----------
    target : float
        The mean objective on the training images of stage 1, dropout on, with the best epoch's parameters.
    log : list of dict
        An entry for each epoch; "validation_objective" is what has to come down to the target.
    """

    target: float
    log: list[dict[str, Any]]

    @property
    def reached(self) -> bool:
        """Whether the objective came down to the target; else the epochs ran out."""
        return bool(self.log[-1]["validation_objective"] <= self.target)


def stage2(
    model: Network,
    objective: Objective,
    train_images: Split,
    validation_images: Split,
    all_images: Split,
    *,
    best_epoch: int,
    schedule: Schedule | LinearSchedule,
    max_norm: float | dict[str, float] | None,
    rate_factors: dict[str, float],
    batch: int,
    seed: int,
    epochs: int = MOST_EPOCHS,
    checkpoint: str | os.PathLike[str] | None = None,
    progress: Progress | None = None,
    title: str = "stage 2",
) -> Stage2:
    """Train `model`, which has the parameters of stage 1's best epoch, in place; the last epoch counts.

    The learning rate goes on decaying from its value at the end of that epoch, momentum stays at its value in it,
    velocities start at 0. After each epoch the objective, with dropout on, is taken on the validation images; training
    stops once it is no higher than the target, at the latest after `epochs`. Both are means over masks of one stream.

    Parameters
    ----------
    objective : callable
        The one of stage 1, J or the adversarial J~.
    train_images, validation_images, all_images : Split
        The images of stage 1; those that it validated on; both together.
    schedule, max_norm, rate_factors, batch
        Those of stage 1.
    seed : int
        That of stage 1 will do: the order and the masks of the same numbers are of other images here.
    checkpoint, progress, title
        As for `training.train`. A training that goes on from its checkpoint must get the same model.
    """
    updates = best_epoch * -(-len(train_images.x) // batch)
    optimiser = SGD(model, schedule.continued(updates, best_epoch), max_norm, rate_factors)
    target = mean_objective(model, objective, *train_images, seed=seed, batch=batch)

    def validate(model: Network) -> dict[str, float]:
        J = mean_objective(model, objective, *validation_images, seed=seed, batch=batch)
        return {"validation_objective": J}

    done = train(
        model,
        objective,
        *all_images,
        epochs=epochs,
        seed=seed,
        optimiser=optimiser,
        batch=batch,
        validate=validate,
        stopping=Target("validation_objective", target),
        checkpoint=checkpoint,
        progress=progress,
        title=title,
    )
    return Stage2(target, done.log)
