"""The multi-prediction deep Boltzmann machine of section 9: a generative model that classifies by inference.

The one idea: a Boltzmann machine has an energy, and no forward direction. Mean field guesses what is not known (hidden
units, the label, hidden pixels) from everything else, over and over, by formulas that can be differentiated. So the
guess after fourteen rounds is an output like any other: training lowers its cost on what was hidden, and an attack
climbs the gradient through all fourteen rounds. `mean_field` and `predictions` are the file's heart.

Source: Goodfellow, Mirza, Courville, Bengio (2013), "Multi-prediction deep Boltzmann machines".
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from itertools import islice
from typing import Any

from . import losses, ops
from .backend import (
    Array,
    Generator,
    array_module,
    bernoulli,
    full_like,
    keep_mask,
    sparse_normal,
    uniform,
    zeros,
)
from .layers import as_given, parameters
from .tensor import Alike, Tensor, Value, grad, raw

# As published for MNIST: the max-norms of a unit's weights from below, and `optim.schedule_of(**SCHEDULE)`.
MAX_NORMS = {"layers.0.W1": 1.809978, "layers.0.W2": 2.666304, "layers.0.W3": 5.175683}
SCHEDULE = {
    "kind": "linear",
    "learning_rate": 15.146493,
    "final_share": 0.020379,
    "epochs": 868,
    "final_momentum": 0.732716,
    "saturation": 2,
}
MOST_ITERATIONS = 1000  # of mean field, which has long converged by then: no file may ask for more


class DeepBoltzmannMachine:
    """Pixels v, two layers of hidden units h1 and h2, and a label y, joined by an energy.

    E(v, h1, h2, y) = -b_v.v - b1.h1 - b2.h2 - b3.y - h1.(W1 v) - h2.(W2 h1) - y.(W3 h2)

    A unit's weights from the layer below it are a row: W1 `(n1, D)`, W2 `(n2, n1)`, W3 `(K, n2)`; the biases are b_v
    `(D,)`, b1 `(n1,)`, b2 `(n2,)`, b3 `(K,)`. It is the only layer of a network, `models.mp_dbm`: called with pixels it
    gives the label's logits, and so can be attacked, evaluated and saved as all networks are.

    Parameters
    ----------
    units : (n1, n2)
        How many hidden units either layer has.
    iterations : int
        Rounds of mean field; the first of them is the pass upwards.
    inputs, classes : int
        D and K.
    rng : Generator
        Draws the initial weights as published: 15 entries of each row of W1 and 23 of each row of W3 from N(0, 1), the
        others 0; W2 from U(-0.0064, 0.0064). The visible biases start at 0: see `start_from`.

    Raises
    ------
    ValueError
        If a size or the number of iterations is not at least 1, or there are more than MOST_ITERATIONS.
    """

    def __init__(
        self, units: tuple[int, int], iterations: int = 14, inputs: int = 784, classes: int = 10, *, rng: Generator
    ) -> None:
        n1, n2 = units
        self.iterations = _at_least_1(iterations=iterations, n1=n1, n2=n2, inputs=inputs, classes=classes)
        self.W1 = Tensor(sparse_normal(rng, (n1, inputs), 15))
        self.W2 = Tensor(uniform(rng, (n2, n1), 0.00638830865761))
        self.W3 = Tensor(sparse_normal(rng, (classes, n2), 23))
        self.b1, self.b2 = Tensor(zeros(n1) - 0.710467), Tensor(zeros(n2) - 0.393587)
        self.b3, self.b_v = Tensor(zeros(classes)), Tensor(zeros(inputs))

    def start_from(self, x: Array) -> DeepBoltzmannMachine:
        """This machine, its visible biases set so that sigmoid(b_v) is the mean of the images x `(N, D)`.

        ValueError for images of another size than the machine's, or pixels outside [0, 1].
        """
        if x.ndim != 2 or x.shape[1:] != self.b_v.shape:
            raise ValueError(f"the machine starts from images of shape (N, {self.b_v.size}), got {x.shape}")
        xp = array_module(_check_pixels(x))
        mean = x.mean(axis=0, dtype="float64").clip(1e-7, 1.0 - 1e-7)  # a pixel that is always dark has a finite bias
        self.b_v.data = xp.log(mean / (1.0 - mean)).astype(self.b_v.dtype)
        return self

    def energy(self, v: Value, h1: Value, h2: Value, y: Value) -> Alike:
        """E of states v `(N, D)`, h1 `(N, n1)`, h2 `(N, n2)` and y `(N, K)`: one number an example, `(N,)`."""
        W1, W2, W3, b1, b2, b3, b_v = self._parameters_like(v)
        biases = v @ b_v + h1 @ b1 + h2 @ b2 + y @ b3
        return -(biases + ((v @ W1.T) * h1 + (h2 @ W2) * h1).sum(axis=1) + ((y @ W3) * h2).sum(axis=1))

    def mean_field(self, x: Value) -> Iterator[tuple[Alike, Alike, Alike]]:
        """Rounds 2, 3, ... of mean field, without end, where all pixels x `(N, D)` are known and the label is not.

        Each gives h1 `(N, n1)`, h2 `(N, n2)` and the label's logits z `(N, K)`. A round first updates h1 and the label,
        both from h2; then h2, which shows in the next round.
        """
        W1, W2, W3, b1, b2, b3, _ = self._parameters_like(x)
        up, below = W2.T, x @ W1.T  # one W2.T for all rounds: the gradients of its uses are summed before they turn
        # Round 1 goes upwards: what is above a layer is not known yet, and what is below it counts twice instead.
        h1 = ops.sigmoid(2.0 * below + b1)
        h2 = ops.sigmoid(2.0 * (h1 @ up) + b2)
        while True:
            h1, z = ops.sigmoid(below + h2 @ W2 + b1), h2 @ W3.T + b3
            yield h1, h2, z
            h2 = ops.sigmoid(h1 @ up + ops.softmax(z) @ W3 + b2)

    def __call__(self, x: Value) -> Alike:
        """The label's logits `(N, K)` for pixels x `(N, D)` after all iterations.

        After round 1 they are those of round 2, whose label still comes from the h2 of round 1.
        """
        for _, _, z in islice(self.mean_field(x), max(1, self.iterations - 1)):
            logits = z
        return logits

    def predictions(self, V: Value, Y: Array, M: Array, m: Array) -> Iterator[tuple[Value, Value]]:
        """Rounds 2, 3, ... of mean field, without end, where some pixels and some labels are hidden.

        Each gives the logits of all pixels, `(N, D)`, and of the label, `(N, K)`.

        Parameters
        ----------
        V : array or Tensor `(N, D)`
            Pixels, in [0, 1].
        Y : array `(N, K)`
            Labels, one-hot.
        M, m : arrays `(N, D)` and `(N, 1)`
            Masks: 1 where a pixel, or the label, is hidden and to be predicted, 0 where it is given.
        """
        W1, W2, W3, b1, b2, b3, b_v = self._parameters_like(V)
        up1, up2, up3 = W1.T, W2.T, W3.T
        V_given, Y_given = (1.0 - M) * V, (1.0 - m) * Y
        # Round 1: hidden pixels and labels are guessed by their biases alone; pixels as constants, as published.
        below = (V_given + M * ops.sigmoid(raw(b_v))) @ up1
        y = Y_given + m * ops.softmax(b3.reshape(1, -1))
        h1 = ops.sigmoid(2.0 * below + b1)
        h2 = ops.sigmoid(h1 @ up2 + y @ W3 + b2)
        while True:
            h1, z_y = ops.sigmoid(below + h2 @ W2 + b1), h2 @ up3 + b3
            z_v = h1 @ W1 + b_v
            yield z_v, z_y
            y = Y_given + m * ops.softmax(z_y)
            below = (V_given + M * ops.sigmoid(z_v)) @ up1
            h2 = ops.sigmoid(h1 @ up2 + y @ W3 + b2)

    def cost(self, V: Array, Y: Array, M: Array, m: Array) -> Alike:
        """J of multi-prediction, one number: what is hidden costs -log of the probability that is predicted for it.

        J = mean over N and D of M (-log p(V)) + 1/D mean over N of m (-log p(Y)), both after the last round. The
        arguments are those of `predictions`. ValueError for other shapes, or pixels outside [0, 1].
        """
        self._check_cost(V, Y, M, m)
        for z_v, z_y in islice(self.predictions(Tensor(V), Y, M, m), max(1, self.iterations - 1)):
            pixels, label = z_v, z_y
        of_pixels = (M * ops.binary_cross_entropy(pixels, V)).mean()
        of_label = (m[:, 0] * ops.softmax_cross_entropy(label, Y)).mean()
        return of_pixels + of_label * (1.0 / V.shape[1])

    def fill_in(self, V: Array, M: Array) -> tuple[Array, Array]:
        """Probabilities of all pixels `(N, D)`, and of the classes `(N, K)`, where pixels with M = 1 are hidden.

        ValueError for pixels outside [0, 1].
        """
        hidden = full_like(_check_pixels(V)[:, :1], 1.0)
        nothing = full_like(V[:, :1] * raw(self.b3), 0.0)
        for z_v, z_y in islice(self.predictions(V, nothing, M, hidden), max(1, self.iterations - 1)):
            pixels, label = z_v, z_y
        return ops.sigmoid(pixels), ops.softmax(label)

    def with_iterations(self, iterations: int) -> DeepBoltzmannMachine:
        """A machine of the same parameters, shared, that infers for another number of rounds."""
        other = copy.copy(self)
        other.iterations = _at_least_1(iterations=iterations)
        return other

    def _parameters_like(self, x: Value) -> tuple[Alike, ...]:
        return as_given(x, self.W1, self.W2, self.W3, self.b1, self.b2, self.b3, self.b_v)

    def _check_cost(self, V: Array, Y: Array, M: Array, m: Array) -> None:
        N, D, K = len(V), self.W1.shape[1], self.W3.shape[0]
        if V.shape != (N, D):
            raise ValueError(f"the cost wants pixels of shape (N, {D}), got {V.shape}")
        if getattr(Y, "shape", None) != (N, K):
            got = "none" if Y is None else getattr(Y, "shape", type(Y).__name__)
            raise ValueError(f"the cost wants labels as one-hot targets of shape {(N, K)}, got {got}")
        if M.shape != V.shape or m.shape != (N, 1):
            raise ValueError(f"masks are of shapes {V.shape} and {(N, 1)}, got {M.shape} and {m.shape}")
        _check_pixels(V)


def _check_pixels(V: Array) -> Array:
    """V, or ValueError unless all are probabilities."""
    if not (V.min() >= 0 and V.max() <= 1):
        raise ValueError(f"pixels are in [0, 1], got some from {V.min()} to {V.max()}")
    return V


def with_iterations(model: Any, iterations: int) -> Any:
    """A network made by `models.mp_dbm` that infers for another number of rounds; it shares its parameters."""
    other = copy.copy(model)
    other.layers = [machine_of(model).with_iterations(iterations)]
    other.arguments = {**model.arguments, "iterations": iterations}
    return other


def machine_of(model: Any) -> DeepBoltzmannMachine:
    """The machine in a network made by `models.mp_dbm`; TypeError for another network."""
    layers = getattr(model, "layers", [])
    if len(layers) != 1 or not isinstance(layers[0], DeepBoltzmannMachine):
        raise TypeError(f"wanted a network made by mp_dbm, got {getattr(model, 'builder', type(model).__name__)}")
    return layers[0]


def multi_prediction_objective(model: Any, x: Array, y: Array, rng: Generator) -> tuple[float, list[Array]]:
    """J of multi-prediction of a network made by `models.mp_dbm`, and its gradients, for `training.train`.

    Drawn anew at every step: black or white pixels, white with the probability of the image's grey x `(N, D)`; and what
    is hidden, each pixel and each label with probability 1/2.

    Raises
    ------
    ValueError
        If pixels are outside [0, 1], or labels do not fit.
    TypeError
        If the network is another one, or `rng` no generator.
    """
    machine = machine_of(model)
    Y = losses.targets(y, x[:, :1] * raw(machine.b3))
    V = bernoulli(rng, _check_pixels(x))
    M, m = keep_mask(rng, x, 0.5, 1.0), keep_mask(rng, x[:, :1], 0.5, 1.0)
    J = machine.cost(V, Y, M, m)
    return J.item(), grad(J, parameters(model))


def _at_least_1(iterations: int, **sizes: int) -> int:
    counts = {"iterations": iterations, **sizes}
    if min(counts.values()) < 1:
        got = ", ".join(f"{name} {n}" for name, n in counts.items())
        raise ValueError(f"iterations of mean field, and sizes, are at least 1; got {got}")
    if not hasattr(iterations, "__index__") or iterations > MOST_ITERATIONS:
        raise ValueError(f"mean field has a whole number of iterations, at most {MOST_ITERATIONS}; got {iterations}")
    return iterations
