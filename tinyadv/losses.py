"""What is minimised: the costs J(theta, x, y) of the networks, and the objectives that training descends.

A cost takes a network's outputs and labels and gives one number, the mean over the examples. An objective takes a
network and a batch and gives J with its gradients for the parameters: training calls nothing else. Labels are
integers `(N,)` or, turned once into arrays, targets `(N, K)`; for two classes they are -1 and 1, shape `(N,)`.
"""

from __future__ import annotations

import math
from typing import Any, Literal

from . import ops
from .attacks import check_eps, fgsm
from .backend import Array, Generator, as_array, full_like, one_hot, weighted_sum
from .layers import parameters
from .tensor import Tensor, Value, grad, raw

SMALLEST = 1e-7  # how close log p of an RBF unit may come to 0 in log(1 - p)

# ---------------------------------------------------------------------------------------------------------
# Costs


def softmax_cross_entropy(logits: Value, y: Array) -> Value:
    """J = -mean_n log softmax(z_n)[y_n]: logits `(N, K)`, labels `(N,)` or targets `(N, K)`.

    Raises
    ------
    ValueError, TypeError
        If shapes do not fit, or labels are not integers in 0 ... K - 1.
    """
    return ops.softmax_cross_entropy(logits, targets(y, logits)).mean()


def sigmoid_cross_entropy(logits: Value, y: Array) -> Value:
    """J of independent sigmoids: binary cross-entropy summed over the K classes, mean over the examples."""
    return _mean_of_sums(ops.binary_cross_entropy(logits, targets(y, logits)))


def rbf_cross_entropy(log_p: Value, y: Array) -> Value:
    """J of RBF units that each say p_k: binary cross-entropy summed over classes, mean over examples.

    Takes log p `(N, K)`, all at most 0.
    """
    t = targets(y, log_p)
    below_0 = ops.clip(log_p, -math.inf, -SMALLEST)  # at a centre p is 1, and log(1 - p) would be log 0
    return _mean_of_sums(-t * log_p - (1.0 - t) * ops.log1mexp(below_0))


def rbf_log_likelihood(log_p: Value, y: Array) -> Value:
    """J = -mean_n log p_n[y_n] of RBF units on the log scale: only the true class's unit is trained."""
    return _mean_of_sums(-targets(y, log_p) * log_p)


def logistic_loss(z: Value, y: Array) -> Value:
    """J = mean_n softplus(-y_n z_n), section 5: activations `(N,)`, labels -1 or 1, shape `(N,)`."""
    return ops.softplus(-signs(y, z) * z).mean()


def adversarial_logistic_loss(w: Value, b: Value, x: Array, y: Array, eps: float) -> Value:
    """The closed form of section 5: J = mean_n softplus(eps ||w||_1 - y_n (w . x_n + b)).

    It equals `logistic_loss` at the worst x' within eps of x in the max norm, which for logistic regression is the
    one that FGSM finds. (In print a sign slipped.) w `(D,)`, b `()`, x `(N, D)`, y -1 or 1 `(N,)`.
    """
    z = x @ w + b
    return ops.softplus(check_eps(eps) * abs(w).sum() - signs(y, z) * z).mean()


def _mean_of_sums(losses: Value) -> Value:
    """Losses `(N, K)`, summed over the K classes, mean over the N examples."""
    return losses.sum() * (1.0 / len(losses))


def targets(y: Array, logits: Value) -> Array:
    """Labels as targets like `logits` `(N, K)`: integers `(N,)` become one-hot rows, targets take its dtype."""
    N, K = logits.shape
    y = as_array(y)
    if y.shape == (N, K):
        return full_like(raw(logits), y)
    if y.shape != (N,) or y.dtype.kind not in "iu":
        raise ValueError(
            f"labels for {N} examples and {K} classes are integers of shape ({N},), or targets of shape ({N}, {K}); "
            f"got {y.dtype} of shape {y.shape}"
        )
    t = one_hot(y, raw(logits))
    if t.sum() != N:  # a label that is no class has no 1
        raise ValueError(f"labels of {K} classes are 0 to {K - 1}, got {y.min()} to {y.max()}")
    return t


def signs(y: Array, z: Value) -> Array:
    """Two-class labels, checked: -1 or 1, of the shape and dtype of the activations `(N,)`."""
    y = as_array(y)
    if y.shape != z.shape:
        raise ValueError(f"two-class labels for activations of shape {z.shape} have that shape, got {y.shape}")
    if not (abs(y) == 1).all():
        raise ValueError(f"two-class labels are -1 or 1, got others, from {y.min()} to {y.max()}")
    return full_like(raw(z), y)


# ---------------------------------------------------------------------------------------------------------
# Objectives: J and its gradients for `parameters(model)`, in that order


def clean_objective(
    model: Any, x: Array, y: Array, rng: Generator | None, l1: float = 0.0, l2: float = 0.0
) -> tuple[float, list[Array]]:
    """J(theta, x, y) + l1 ||W||_1 + l2 ||W||^2, with dropout where the model has it and `rng` is given.

    W are the weights of the first layer. Both penalties stand outside the cost, so they never fade (section 5).
    """
    theta = parameters(model)
    J = model.loss(model(Tensor(x), rng=rng), y)
    if l1:
        J = J + float(l1) * abs(theta[0]).sum()
    if l2:
        J = J + float(l2) * (theta[0] * theta[0]).sum()
    return float(J), grad(J, theta)


def adversarial_objective(
    model: Any,
    x: Array,
    y: Array,
    rng: Generator | None,
    eps: float = 0.25,
    alpha: float = 0.5,
    attacked: Literal["inference", "training"] = "inference",
) -> tuple[float, list[Array]]:
    """alpha J(x) + (1 - alpha) J(x + eps sign(grad_x J)), section 6: two losses on the same batch, averaged.

    The attack is a constant to the gradients, not clipped, and made anew at every step.

    Parameters
    ----------
    model, x, y, rng
        As for every objective; x `(N, D)`.
    eps : float
        The size of the attack in the max norm, in units of pixels (0 to 1).
    alpha : float in [0, 1]
        The weight of the clean loss.
    attacked : "inference" or "training"
        Which network the attack sees; the paper does not say, and it decides how robust the network becomes.
        "inference": the one without dropout. "training": the one with this batch's masks, so that one backward pass
        of the clean loss gives both the attack and the clean half of the gradients; the adversarial pass draws
        masks of its own.
    """
    if attacked not in ("inference", "training") or not 0 <= alpha <= 1:
        raise ValueError(f"alpha in [0, 1], attacked 'inference' or 'training' are wanted; got {alpha}, {attacked!r}")
    theta, alpha = parameters(model), float(alpha)
    if attacked == "training":
        X = Tensor(x)
        J_clean = model.loss(model(X, rng=rng), y)
        g_x, *g_clean = grad(J_clean, [X, *theta])
        x_adv = x + check_eps(eps) * ops.sign(g_x)
        J_adv = model.loss(model(Tensor(x_adv), rng=rng), y)
        g_adv = grad(J_adv, theta, seed=1.0 - alpha)
        J = alpha * float(J_clean) + (1.0 - alpha) * float(J_adv)
        return J, [weighted_sum(alpha, a, b) for a, b in zip(g_clean, g_adv, strict=True)]
    x_adv = fgsm(model, x, y, eps)
    z = model(Tensor(ops.concatenate([x, x_adv])), rng=rng)  # both halves in one pass, each with its own masks
    J = alpha * model.loss(z[: len(x)], y) + (1.0 - alpha) * model.loss(z[len(x) :], y)
    return float(J), grad(J, theta)
