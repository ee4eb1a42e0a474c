"""What the paper reports of a network: error, confidence, and how sure one can be of such a figure.

Definitions, one meaning each: the error counts all inputs tried, also those that were wrong before the attack; the
confidence on mistakes is the mean of the largest class probability over the misclassified inputs alone, and no number
where there are none. Inputs go through a network in batches, so that memory stays small.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from .attacks import input_gradient
from .backend import Array, array_module
from .losses import signs, targets


@dataclass(frozen=True)
class Evaluation:
    """How a network does on N inputs.

    Attributes
    ----------
    n, wrong : int
        Inputs tried, and misclassified.
    confidence : float
        Mean largest class probability over all inputs.
    confidence_on_mistakes : float
        The same over the misclassified inputs; NaN without any.
    wrong_label_probability : float
        Mean over the misclassified inputs of the probability on labels other than the true one: the second reading
        of "confidence"; NaN without any.
    intervals : dict
        95 % intervals over the inputs: Wilson's for the error, 1.96 standard errors to either side for the means.
    """

    n: int
    wrong: int
    confidence: float
    confidence_on_mistakes: float
    wrong_label_probability: float
    intervals: dict[str, tuple[float, float]]

    @property
    def error(self) -> float:
        """Share of inputs misclassified."""
        return self.wrong / self.n


def in_batches(function: Callable[..., Array], *arrays: Array, size: int = 1000) -> Array:
    """`function` of the rows of the arrays, `size` at a time, the results joined."""
    if len(arrays[0]) <= size:
        return function(*arrays)
    parts = [function(*(a[i : i + size] for a in arrays)) for i in range(0, len(arrays[0]), size)]
    return array_module(parts[0]).concatenate(parts)


def predict(model: Any, x: Array) -> Array:
    """The class of largest output, integers `(N,)`; for logistic regression -1 or 1."""
    return _classes(in_batches(model, x))


def _classes(outputs: Array) -> Array:
    """The class of largest output; of several equal, the first, which of two classes is -1."""
    return outputs.argmax(axis=1) if outputs.ndim == 2 else (outputs > 0) * 2 - 1


def evaluate(model: Any, x: Array, y: Array) -> Evaluation:
    """Error and confidences of a network on inputs x `(N, D)` with labels y `(N,)`.

    Raises
    ------
    ValueError
        If there are no inputs, or y are not the labels of as many.
    """
    if len(x) != len(y) or not len(x):
        raise ValueError(f"evaluate wants as many inputs as labels, at least one; got {len(x)} and {len(y)}")
    outputs = in_batches(model, x)
    xp, p = array_module(outputs), model.probabilities(outputs)
    if p.ndim == 1:  # two classes: p is that of the class 1, the rest that of the class -1
        truth = signs(y, outputs)
        of_true, largest = xp.where(truth > 0, p, 1.0 - p), xp.maximum(p, 1.0 - p)
    else:
        t = targets(y, outputs)
        truth, of_true, largest = t.argmax(axis=1), (t * p).sum(axis=1), p.max(axis=1)
    mistakes = _classes(outputs) != truth
    wrong = int(mistakes.sum())
    samples = {
        "confidence": largest,
        "confidence_on_mistakes": largest[mistakes],
        "wrong_label_probability": (1.0 - of_true)[mistakes],
    }
    means = {name: float(p.mean()) if len(p) else math.nan for name, p in samples.items()}
    intervals = {name: mean_interval(p) for name, p in samples.items() if len(p) > 1}
    return Evaluation(len(x), wrong, **means, intervals={"error": wilson(wrong, len(x)), **intervals})


@dataclass(frozen=True)
class RubbishEvaluation:
    """How a network takes inputs of no class: an error is any class above probability 1/2 (appendix)."""

    n: int
    wrong: int
    confidence_on_mistakes: float
    by_class: tuple[int, ...]
    intervals: dict[str, tuple[float, float]]

    @property
    def error(self) -> float:
        """Share of inputs that some class claims."""
        return self.wrong / self.n


def evaluate_rubbish(model: Any, x: Array) -> RubbishEvaluation:
    """An input counts once, however many classes claim it; its class is the largest."""
    p = in_batches(lambda part: model.probabilities(model(part)), x)
    if p.ndim != 2 or not len(x):
        raise ValueError(f"rubbish wants a network of several classes and at least one input, got p of shape {p.shape}")
    claimed = p.max(axis=1) > 0.5
    wrong = int(claimed.sum())
    classes, confidences = p.argmax(axis=1)[claimed], p.max(axis=1)[claimed]
    intervals = {"error": wilson(wrong, len(x))}
    if wrong > 1:
        intervals["confidence_on_mistakes"] = mean_interval(confidences)
    return RubbishEvaluation(
        n=len(x),
        wrong=wrong,
        confidence_on_mistakes=float(confidences.mean()) if wrong else math.nan,
        by_class=tuple(int((classes == k).sum()) for k in range(p.shape[1])),
        intervals=intervals,
    )


def zero_gradient_share(model: Any, x: Array, y: Array) -> float:
    """The share of exactly zero entries in the input gradients of all examples: where FGSM moves nothing."""
    return float((in_batches(lambda a, b: input_gradient(model, a, b) == 0, x, y)).mean())


def wilson(wrong: int, n: int, z: float = 1.959964) -> tuple[float, float]:
    """The 95 % interval of a share `wrong / n` of independent trials (Wilson 1927, score interval)."""
    if not 0 <= wrong <= n or n < 1:
        raise ValueError(f"wilson wants 0 <= wrong <= n and n >= 1, got {wrong} of {n}")
    p = wrong / n
    centre = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    return max(0.0, centre - half), min(1.0, centre + half)


def mean_interval(sample: Array, z: float = 1.959964) -> tuple[float, float]:
    """The 95 % interval of the mean of a sample `(k,)` of at least two: z standard errors to either side."""
    half = z * float(sample.std(ddof=1)) / math.sqrt(len(sample))
    return float(sample.mean()) - half, float(sample.mean()) + half
