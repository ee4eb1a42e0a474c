"""The jobs: what every peer does, from which starting parameters, on which data.

The one idea: a job is a frozen dataclass of plain numbers, and its parameters are plain arrays in the layout of
`layers` (W `(pieces, units, inputs)`, b `(pieces * units,)`, ...). A peer may rearrange them as its library likes them
best, and gives them back in this layout, so that all can be compared.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from . import images

Arrays = list[NDArray[Any]]
Step = Callable[[Any, Any], float]  # (x, y) -> J, when the update is done
Attack = Callable[[Any, Any], NDArray[Any]]  # (x, y) -> x_adv
Epoch = Callable[[Any, Any], None]  # (all x, all y)
Read = Callable[[], Arrays]  # the parameters as they are now, in the layout of `layers`


@dataclass(frozen=True)
class Job:
    """One job, float32.

    On digits: "train" is a step of adversarial training (section 6) of the maxout network, dropout before every layer
    and inverted (kept entries are divided by the probability to be kept, pixels too), every forward pass with masks of
    its own; momentum, then max-norm on every unit's incoming weights. "fgsm" is the attack alone, "softmax" an epoch of
    plain gradient descent on softmax regression. "dbm" is a step of multi-prediction training of the deep Boltzmann
    machine (section 9), through all of its rounds of mean field: black and white pixels and masks are drawn, then the
    cost, its gradients, momentum and max-norms of its own.

    On images: "conv-train" is a training step of the convolutional maxout network (`models.conv_maxout_network`; pixels
    may be dropped with or without rescaling), with momentum, the published norms and learning rates; "conv-fgsm" is the
    attack on it, "googlenet" the attack on GoogLeNet: a forward pass and the gradient in the image.

    Attributes
    ----------
    channels : (int, int, int)
        Units of the three convolutional layers, for jobs on images.
    calls : int
        Timed calls in one turn.
    keep : (float, float)
        Probability to keep a pixel, and a hidden unit.
    attacked : "training" or "inference"
        Which network the attack of a training step sees: with this batch's masks, or without dropout.
    upper, iterations : int
        Units of the second layer of a Boltzmann machine, of which `units` is the first; its rounds of mean field.
    """

    name: str
    kind: Literal["train", "fgsm", "softmax", "dbm", "conv-train", "conv-fgsm", "googlenet"]
    meaning: str
    calls: int
    units: int = 240
    pieces: int = 5
    depth: int = 2
    batch: int = 100
    attacked: Literal["training", "inference"] = "training"
    keep: tuple[float, float] = (0.8, 0.5)
    max_norm: float = 1.9365
    eps: float = 0.25
    alpha: float = 0.5
    learning_rate: float = 0.1
    momentum: float = 0.7
    inputs: int = 784
    classes: int = 10
    upper: int = 0
    iterations: int = 14
    channels: tuple[int, int, int] = (48, 128, 128)

    @property
    def of_images(self) -> bool:
        return self.kind in ("conv-train", "conv-fgsm", "googlenet")


_FULL: dict[str, Any] = {"channels": (96, 192, 192), "units": 500}
_PHOTOGRAPHS: dict[str, Any] = {"inputs": 3 * 224 * 224, "classes": 1000, "eps": 1 / 255}


def _conv(name: str, kind: Literal["conv-train", "conv-fgsm"], meaning: str, **sizes: Any) -> Job:
    """A job on the convolutional network; learning rate and momentum are those of its published first epoch."""
    return Job(name, kind, meaning, 1, batch=128, inputs=3 * 32 * 32, eps=0.1, momentum=0.5, **sizes)


_STEP = "ms a step of adversarial training"
_DBM = "ms a step of multi-prediction training"
_MACHINE: dict[str, Any] = {"learning_rate": 15.0, "momentum": 0.73, "keep": (0.5, 0.5)}  # keep: given, not hidden
_ALL = (
    Job("train240", "train", f"{_STEP}, 240 units", 12),
    Job("train240-bound", "train", f"{_STEP}, 240 units, max-norm 0.5 binds on all", 12, max_norm=0.5),
    Job("train240-clean-attack", "train", f"{_STEP}, 240 units, attacked without dropout", 12, attacked="inference"),
    Job("train1600", "train", f"{_STEP}, 1600 units", 3, units=1600),
    Job("train1600-bound", "train", f"{_STEP}, 1600 units, max-norm 0.5 binds on all", 3, units=1600, max_norm=0.5),
    Job("fgsm100", "fgsm", "ms a batch of FGSM, 240 units, batch 100", 30),
    Job("fgsm1000", "fgsm", "ms a batch of FGSM, 240 units, batch 1000", 8, batch=1000),
    Job("softmax", "softmax", "ms an epoch of softmax regression, batch 100", 2),
    Job("dbm500", "dbm", f"{_DBM}, 500 and 1000 units", 3, units=500, upper=1000, **_MACHINE),
    Job("dbm2087", "dbm", f"{_DBM}, 2087 and 3200 units", 1, units=2087, upper=3200, **_MACHINE),
    _conv("conv-small", "conv-train", "ms a training step, the small published network of CIFAR-10, batch 128"),
    _conv("conv-full", "conv-train", "ms a training step, the published network of CIFAR-10, batch 128", **_FULL),
    _conv("conv-fgsm", "conv-fgsm", "ms a batch of FGSM on it, batch 128", **_FULL),
    Job("googlenet1", "googlenet", "ms FGSM on GoogLeNet, one image", 2, batch=1, **_PHOTOGRAPHS),
    Job("googlenet16", "googlenet", "ms FGSM on GoogLeNet, batch 16", 1, batch=16, **_PHOTOGRAPHS),
)
JOBS = {job.name: job for job in _ALL}


class Library(Protocol):
    """What a module (or object) must offer to take part: parameters in the layout of `layers`, float32."""

    def start(self, threads: int, device: str) -> str:
        """Get the library ready; what it is and its version."""

    def put(self, a: NDArray[Any]) -> Any:
        """Inputs or labels as this peer wants them handed in, outside the timing: where the network is."""

    def train(self, parameters: Arrays, job: Job) -> tuple[Step, Read]:
        """A training step, and what reads the parameters."""

    def fgsm(self, parameters: Arrays, job: Job) -> Attack:
        """The attack on the network without dropout."""

    def softmax(self, parameters: Arrays, job: Job) -> tuple[Epoch, Read]:
        """An epoch over all examples in their order, and what reads the parameters."""

    # Only some peers offer this one: the others are skipped.
    def dbm(self, parameters: Arrays, job: Job) -> tuple[Step, Read]:
        """A step of multi-prediction training, and what reads W1, W2, W3, b1, b2, b3, b_v."""

    # A peer that takes part in the jobs on images also has, of the same kinds as `train` and `fgsm`,
    # `conv_train`, `conv_fgsm` and `googlenet`.


class Data(NamedTuple):
    """Inputs `(N, 784)`, labels `(N,)`."""

    x: NDArray[np.float32]
    y: NDArray[np.int64]


def start_parameters(job: Job, seed: int = 1) -> Arrays:
    """The job's W1, b1, W2, b2, ...: weights from N(0, 1 / inputs), biases 0; zeros for softmax regression.

    For the jobs on images see `images`.
    """
    if job.of_images:
        return images.start_parameters(job, seed)
    if job.kind == "softmax":
        return [np.zeros((job.classes, job.inputs), np.float32), np.zeros(job.classes, np.float32)]
    if job.kind == "dbm":
        return _machine(job, seed)
    rng, arrays = np.random.default_rng(seed), []
    shapes = [(job.units if i else job.inputs, job.units, job.pieces) for i in range(job.depth)]
    for inputs, *outputs in [*shapes, (job.units, job.classes)]:
        W = rng.standard_normal((inputs, *outputs), dtype=np.float32).T * np.float32(inputs**-0.5)
        arrays += [np.ascontiguousarray(W), np.zeros(W[..., 0].size, np.float32)]
    return arrays


MACHINE_NORMS = (1.809978, 2.666304, 5.175683)  # of W1, W2, W3


def _machine(job: Job, seed: int) -> Arrays:
    """W1, W2, W3, b1, b2, b3, b_v of a Boltzmann machine; rows of weights have a norm of about 1."""
    rng = np.random.default_rng(seed)
    sizes = [job.inputs, job.units, job.upper, job.classes]
    weights = [
        rng.standard_normal((above, below), dtype=np.float32) * np.float32(below**-0.5)
        for below, above in pairwise(sizes)
    ]
    return [*weights, *(np.full(n, -0.5, np.float32) for n in (*sizes[1:], sizes[0]))]


def fixed_masks(job: Job, N: int) -> Arrays | None:
    """Where a job is checked, every second pixel `(N, D)` and label `(N, 1)` is hidden, instead of some at random."""
    if job.keep != (1.0, 1.0):
        return None
    pixels, labels = np.indices((N, job.inputs)).sum(axis=0) % 2, np.arange(N)[:, None] % 2
    return [pixels.astype(np.float32), labels.astype(np.float32)]


def as_rows(parameters: Arrays) -> Arrays:
    """Weights as `(units * pieces, inputs)`, biases as `(units * pieces,)`, a unit's pieces next to each other.

    So they are in libraries whose users take the maximum over a trailing axis of pieces.
    """
    rows = []
    for W, b in zip(parameters[::2], parameters[1::2], strict=True):
        rows += [W.swapaxes(0, -2).reshape(-1, W.shape[-1]), b.reshape(W.shape[:-1]).T.flatten()]
    return rows


def from_rows(rows: Arrays, like: Arrays) -> Arrays:
    """What `as_rows` made of parameters of the shapes of `like`, undone."""
    parameters = []
    for W, b, wanted in zip(rows[::2], rows[1::2], like[::2], strict=True):
        units_first = wanted.shape[-2::-1]
        W, b = W.reshape(*units_first, -1).swapaxes(0, -2), b.reshape(units_first).T
        parameters += [W.copy(order="C"), b.flatten()]
    return parameters


def load_data(job: Job) -> Data:
    """MNIST: the first 6000 training images for training, all 60,000 for softmax regression, the test for FGSM.

    For a Boltzmann machine images are black and white already, so that drawing their pixels gives every peer the same.
    Random numbers for the jobs on images.
    """
    if job.of_images:
        return Data(*images.load_data(job))
    from ..datasets import mnist

    splits = mnist()
    x, y = splits.test if job.kind == "fgsm" else splits.full_train
    if job.kind == "dbm":
        return Data((x[:6000] > 0.5).astype(np.float32), y[:6000])
    return Data(x[:6000], y[:6000]) if job.kind == "train" else Data(x, y)
