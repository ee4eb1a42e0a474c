"""The scale of a run: how many networks, how long each is trained, how large. Which networks is in `recipes`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

NAIVE_EPOCHS = 243  # of the published naive network of 240 units, as its published constants say


@dataclass(frozen=True)
class Profile:
    """How much work a run may take. The code is the same; only these numbers, and what follows from them, differ.

    Attributes
    ----------
    seeds : int
        How many networks of each kind.
    epochs : dict
        Passes over the data, by kind of network; "controls" are those that are only compared with each other, all
        trained equally long, "hidden" the same of section 6, where hidden layers are attacked and attacks are trained
        through, "members" those of ensembles. Without "convolutional" the network of CIFAR-10 is the one that came with
        the package.
    units : int
        Maxout units a layer in the networks for which the paper uses 1600.
    protocol : bool
        Whether to stop early with patience 100 and then use all 60,000 images, as published: by stage 2, or, where the
        paper has 1600 units, by training once more from scratch. The settings are then the published ones: `schedule`
        is left out.
    variations : bool
        Whether also to train the networks that only tell how far a silent choice moves a number: one of each, for the
        first seed.
    dbm : dict
        The deep Boltzmann machine: its "units", its "iterations" of mean field, its "epochs", and what of the published
        "schedule" is otherwise. By default as published; None where it is the one that came with the package.
    maxout, schedule : dict
        Arguments of maxout networks, and of the `optim.Schedule` that trains them, in place of the published ones.
    """

    name: str
    seeds: int
    epochs: dict[str, int]
    units: int = 240
    protocol: bool = False
    variations: bool = False
    dbm: dict[str, Any] | None = field(default_factory=dict)
    maxout: dict[str, Any] = field(default_factory=dict)
    schedule: dict[str, Any] = field(default_factory=dict)

    def varies(self, seed: int) -> bool:
        """Whether the networks of other choices are trained too: one of each, for the first seed."""
        return self.variations and seed == 0


# The published learning rate and momentum of the Boltzmann machine are for hundreds of epochs. With few, higher ones
# learn more: by the error on the validation images, of machines of 200 and 200 or 300 units.
_TWENTY_EPOCHS: dict[str, Any] = {"learning_rate": 40.0, "epochs": 20, "final_momentum": 0.95}

PROFILES = {
    "quick": Profile(
        "quick",
        1,
        {
            "softmax": 10,
            "logistic": 10,
            "rbf": 6,
            "naive": 8,
            "adversarial": 8,
            "controls": 2,
            "hidden": 2,
            "members": 2,
        },
        dbm=None,
    ),
    "lesson": Profile(
        "lesson",
        3,
        {
            "softmax": 20,
            "logistic": 20,
            "rbf": 6,
            "naive": 20,
            "adversarial": 20,
            "controls": 6,
            "hidden": 30,
            "members": 4,
            "convolutional": 8,
        },
        variations=True,
        dbm={"units": [500, 500], "epochs": 20, "schedule": _TWENTY_EPOCHS},
    ),
    "paper": Profile(
        "paper",
        5,
        {
            "softmax": 100,
            "logistic": 100,
            "rbf": 6,
            "naive": 1000,
            "adversarial": 1000,
            "controls": 100,
            "hidden": 100,
            "members": 1000,
            "convolutional": 1000,
        },
        units=1600,
        protocol=True,
    ),
}
