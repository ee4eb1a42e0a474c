"""What the paper reports of a network: error, confidence, and how sure one can be of such a figure.

Definitions, one meaning each: the error counts all inputs tried, also those that were wrong before the attack; the
confidence on mistakes is the mean of the largest class probability over the misclassified inputs alone, and no number
where there are none. Inputs go through a network in batches, so that memory stays small.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from .attacks import finite_gradient
from .backend import Array, array_module, conversion
from .losses import check_targets, signs, targets
from .tensor import Tensor, history, raw


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
        Mean over the misclassified inputs of 1 - p of the true label, which is the probability on all others where they
        add up to 1: the second reading of "confidence"; NaN without any.
    intervals : dict
        95 % intervals over the inputs by the names above, "error" included: Wilson's for the error, 1.96 standard
        errors to either side for the means. A mean of fewer than two inputs has none.
    """

    n: int
    wrong: int
    confidence: float
    confidence_on_mistakes: float
    wrong_label_probability: float
    intervals: dict[str, tuple[float, float]] = field(hash=False)

    @property
    def error(self) -> float:
        """Share of inputs misclassified."""
        return self.wrong / self.n


AT_ONCE = 1 << 27  # numbers that may be kept for the gradients of a batch: 512 MiB in float32


def batch_size(model: Any, x: Array) -> int:
    """How many rows of x `(N, D)` to give a model at a time: 1000, or fewer where it keeps much for each of them.

    What it keeps for its gradients is counted on one row and on two. A dense layer keeps thousands of numbers a row, a
    convolution a million.
    """
    one, two = (sum(t.size for t in history(model(Tensor(x[:n])))) for n in (1, 2))
    return max(1, min(1000, AT_ONCE // max(1, two - one)))


def in_batches(function: Callable[..., Array], *arrays: Array, size: int = 1000) -> Array:
    """`function` of the rows of the arrays, `size` at a time, the results joined: an array, also of Tensors."""
    if size < 1:
        raise ValueError(f"size is how many rows are taken at a time, at least 1; got {size}")
    if len(arrays[0]) <= size:
        return raw(function(*arrays))
    parts = [raw(function(*(a[i : i + size] for a in arrays))) for i in range(0, len(arrays[0]), size)]
    return array_module(parts[0]).concatenate(parts)


def predict(model: Any, x: Array) -> Array:
    """The class of largest output for each row of x, integers `(N,)`; for logistic regression -1 or 1.

    Raises
    ------
    TypeError
        If x are not floating point numbers.
    ValueError
        If the network has a single output in a row, `(N, 1)`, or outputs of another shape than `(N, K)` or `(N,)`.
    FloatingPointError
        If the network's outputs are NaN.
    """
    return _classes(_outputs(model, x))


def _outputs(model: Any, x: Array, size: int = 1000) -> Array:
    """The network's outputs for x, checked: bytes, or a network that is no number, would give plausible figures."""
    if (dtype := getattr(x, "dtype", None)) is not None and dtype.kind != "f":
        model(x[:1])  # a `Network` says itself what it wants
        raise TypeError(f"a network takes floating point numbers, got x of {dtype}: use x{conversion(x)}")
    outputs = in_batches(lambda rows: checked_outputs(model(rows)), x, size=size)
    if nans := int(array_module(outputs).isnan(outputs).any(axis=tuple(range(1, outputs.ndim))).sum()):
        raise FloatingPointError(f"the network's outputs are NaN for {nans} of {len(x)} inputs: has it diverged?")
    return outputs


def checked_outputs(outputs: Any) -> Any:
    """What a model gave: TypeError if it is no array and no Tensor, ValueError if it is neither `(N, K)` nor `(N,)`."""
    if not hasattr(outputs, "shape"):
        raise TypeError(f"a model gives an array or a Tensor, (N, K) or (N,); got a {type(outputs).__name__}")
    if outputs.ndim not in (1, 2):
        raise ValueError(f"a model's outputs are of shape (N, K), or (N,) for two classes; got {outputs.shape}")
    return outputs


def _classes(outputs: Array) -> Array:
    """The class of largest output; of several equal, the first, which of two classes is -1."""
    if outputs.ndim == 2 and outputs.shape[1] == 1:
        raise ValueError(
            f"one output is always the largest, got outputs of shape {outputs.shape}: two classes have outputs (N,), "
            "as under the top 'logistic', and labels -1 and 1"
        )
    return outputs.argmax(axis=1) if outputs.ndim == 2 else (outputs > 0) * 2 - 1


def evaluate(model: Any, x: Array, y: Array, size: int = 1000) -> Evaluation:
    """Error and confidences of a network on inputs x `(N, D)` with labels y `(N,)`, `size` of them at a time.

    `model(x)` gives outputs, and `model.probabilities(outputs)` the class probabilities `(N, K)`, whose largest is the
    confidence.

    Raises
    ------
    ValueError
        If there are no inputs; if y are neither labels nor targets of as many, or a row of targets has no single
        largest entry; if probabilities are above 1; or if the network has one output only, `(N, 1)`.
    TypeError
        If x are not floating point numbers.
    FloatingPointError
        If the network's outputs are NaN.
    """
    if len(x) != len(y) or not len(x):
        raise ValueError(f"evaluate wants as many inputs as labels, at least one; got {len(x)} and {len(y)}")
    outputs = _outputs(model, x, size)
    xp, p = array_module(outputs), raw(model.probabilities(outputs))
    if p.ndim == 1:  # two classes: p is that of the class 1, the rest that of the class -1
        truth = signs(y, outputs)
        of_true, largest = xp.where(truth > 0, p, 1.0 - p), xp.maximum(p, 1.0 - p)
    else:
        t = check_targets(targets(y, outputs))
        if ((t == t.max(axis=1, keepdims=True)).sum(axis=1) > 1).any():
            raise ValueError(
                "evaluate wants targets that name a class each: in every row one entry is larger than all others"
            )
        truth, of_true, largest = t.argmax(axis=1), (t * p).sum(axis=1), p.max(axis=1)
    if largest.max() > 1.001:
        raise ValueError(f"the model gives probabilities of up to {float(largest.max()):g}: is its top the right one?")
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
    """How a network takes N inputs of no class: an error is any class above probability 1/2 (appendix).

    Attributes
    ----------
    n, wrong : int
        Inputs tried, and those that some class claims.
    confidence_on_mistakes : float
        Mean largest class probability over these; NaN without any.
    by_class : tuple of int
        For each class, how many of these have it as their largest.
    intervals : dict
        95 % intervals, as of `Evaluation`.
    """

    n: int
    wrong: int
    confidence_on_mistakes: float
    by_class: tuple[int, ...]
    intervals: dict[str, tuple[float, float]] = field(hash=False)

    @property
    def error(self) -> float:
        """Share of inputs that some class claims."""
        return self.wrong / self.n


def evaluate_rubbish(model: Any, x: Array) -> RubbishEvaluation:
    """How often a network gives inputs x `(N, D)` of no class some class with a probability above 1/2.

    An input counts once, however many classes claim it, under its largest class.

    Raises
    ------
    ValueError
        If there are no inputs, or the network has two classes only.
    TypeError, FloatingPointError
        As `evaluate`.
    """
    if not len(x):
        raise ValueError("rubbish wants at least one input, got none")
    p = raw(model.probabilities(_outputs(model, x)))
    if p.ndim != 2:
        raise ValueError(f"rubbish wants a network of several classes, got p of shape {p.shape}")
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
    """The share of exactly zero entries in the input gradients of all examples: where FGSM moves nothing.

    FloatingPointError where a gradient is NaN or infinite.
    """
    return float((in_batches(lambda a, b: finite_gradient(model, a, b) == 0, x, y)).mean())


def wilson(wrong: int, n: int, z: float = 1.959964) -> tuple[float, float]:
    """The 95 % interval of a share `wrong / n` of independent trials (Wilson 1927, score interval)."""
    if not 0 <= wrong <= n or n < 1:
        raise ValueError(f"wilson wants 0 <= wrong <= n and n >= 1, got {wrong} of {n}")
    p = wrong / n
    centre = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    return max(0.0, min(p, centre - half)), min(1.0, max(p, centre + half))  # in spite of rounding at p = 0 and 1


def mean_interval(sample: Array, z: float = 1.959964) -> tuple[float, float]:
    """The 95 % interval of the mean of a sample `(k,)` of at least two: z standard errors to either side."""
    half = z * float(sample.std(ddof=1)) / math.sqrt(len(sample))
    return float(sample.mean()) - half, float(sample.mean()) + half


# ---------------------------------------------------------------------------------------------------------
# How local the filters of a first layer are (figure 3): three readings, since the paper gives none


def window_energy(filters: Array, window: int = 9) -> Array:
    """The largest share of each filter's squared weights within one window of `window` by `window` pixels, `(N,)`.

    1 for a filter that looks at one spot; (9 / 28)^2 = 10 % for weights of equal size on the 28 by 28 pixels of MNIST.
    Unlike a spread about the centre it does not fall for faint weights far away, which tell nothing of the pattern.

    Parameters
    ----------
    filters : array `(N, side * side)`
        Weights of square images, none of them all 0.
    window : int
        In pixels, at most the side.

    Raises
    ------
    ValueError
        If filters are not of this shape, or the window is below 1 or larger than the side.
    """
    e, side = _energy(filters)
    if not 1 <= window <= side:
        raise ValueError(f"a window has 1 to {side} pixels a side on images of {side} by {side}, got {window}")
    sums = array_module(filters).zeros((len(e), side + 1, side + 1), dtype=e.dtype)
    sums[:, 1:, 1:] = e.cumsum(axis=1).cumsum(axis=2)  # of all pixels above and to the left: a window is four of them
    w = window
    return (sums[:, w:, w:] - sums[:, :-w, w:] - sums[:, w:, :-w] + sums[:, :-w, :-w]).max(axis=(1, 2))


def pixels_used(filters: Array) -> Array:
    """The participation ratio (sum w^2)^2 / sum w^4 of each filter `(N,)`: k for k equal weights and no others.

    Filters are those of `window_energy`, and so for `spread`: of one that is all 0 the result is NaN.
    """
    e, _ = _energy(filters)
    return 1.0 / (e * e).sum(axis=(1, 2))


def spread(filters: Array) -> Array:
    """The root mean squared distance, in pixels, of each filter's squared weights from their centre of mass, `(N,)`."""
    e, side = _energy(filters)
    at = array_module(filters).arange(side) * 1.0
    rows, columns = e.sum(axis=2), e.sum(axis=1)
    variances = ((part * at * at).sum(axis=1) - (part * at).sum(axis=1) ** 2 for part in (rows, columns))
    return abs(sum(variances)) ** 0.5  # that of a single pixel is 0 up to rounding, to either side


def _energy(filters: Array) -> tuple[Array, int]:
    """Squared weights as images `(N, side, side)` that each sum to 1, in float64; and the side."""
    side = math.isqrt(filters.shape[-1])
    if filters.ndim != 2 or side * side != filters.shape[1]:
        raise ValueError(f"filters of square images have the shape (N, side * side), got {filters.shape}")
    e = filters.astype("float64").reshape(-1, side, side) ** 2
    return e / e.sum(axis=(1, 2), keepdims=True), side
