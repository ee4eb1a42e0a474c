"""The costs J(theta, x, y) that training minimises, and the objectives that it follows: a cost with its gradients.

A cost takes a network's outputs and labels and gives one number, the mean over the examples. An objective takes a
network and a batch and gives J with its gradients for the parameters: training calls nothing else. Labels are
integers `(N,)` or, turned once into arrays, targets `(N, K)`; for two classes they are -1 and 1, shape `(N,)`.

An objective's options are bound by `functools.partial`: adversarial training by an attack of one's own size is
`train(model, partial(adversarial_objective, eps=0.1, attacked="training"), ...)`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from copy import deepcopy
from typing import Any, Literal, get_args

from . import ops
from .attacks import check_eps, fgsm, rotated, unit
from .backend import Array, Generator, as_array, check_generator, full_like, noise, one_hot, sums
from .layers import call
from .owned import parameters
from .tensor import Alike, Tensor, Value, grad, raw

Attacked = Literal["inference", "training", "same-masks", "hidden-masks"]  # whom the attack in training sees

SMALLEST = 1e-7  # how close log p of an RBF unit may come to 0 in log(1 - p)

# ---------------------------------------------------------------------------------------------------------
# Costs


def softmax_cross_entropy(logits: Value, y: Array) -> Alike:
    """J = -mean_n log softmax(z_n)[y_n]: logits `(N, K)`, labels `(N,)` or targets `(N, K)`.

    Raises
    ------
    ValueError
        If shapes do not fit, there is no example, or labels are not integers in 0 ... K - 1.
    """
    return ops.softmax_cross_entropy(logits, targets(y, logits)).mean()


def sigmoid_cross_entropy(logits: Value, y: Array) -> Alike:
    """J of independent sigmoids: binary cross-entropy summed over the K classes, mean over the examples.

    Takes logits `(N, K)`; labels and errors are those of `softmax_cross_entropy`.
    """
    return _mean_of_sums(ops.binary_cross_entropy(logits, targets(y, logits)))


def rbf_cross_entropy(log_p: Value, y: Array) -> Alike:
    """J of RBF units that each say p_k: binary cross-entropy summed over classes, mean over examples.

    Takes log p `(N, K)`, all at most 0.
    """
    t = targets(y, log_p)
    below_0 = ops.clip(log_p, -math.inf, -SMALLEST)  # at a centre p is 1, and log(1 - p) would be log 0
    return _mean_of_sums(-t * log_p - (1.0 - t) * ops.log1mexp(below_0))


def rbf_log_likelihood(log_p: Value, y: Array) -> Alike:
    """J = -mean_n log p_n[y_n] of RBF units, from log p `(N, K)`: only the true class's unit is trained."""
    return _mean_of_sums(-targets(y, log_p) * log_p)


def rbf_squared_error(log_p: Value, y: Array) -> Alike:
    """J of RBF units by least squares, as they were first trained: sum_k (p_k - t_k)^2, mean over the examples.

    Broomhead and Lowe (1988), "Multivariable functional interpolation and adaptive networks". Takes log p `(N, K)`.
    """
    difference = ops.exp(log_p) - targets(y, log_p)
    return _mean_of_sums(difference * difference)


def logistic_loss(z: Value, y: Array) -> Alike:
    """J = mean_n softplus(-y_n z_n), section 5: activations `(N,)`, labels -1 or 1, shape `(N,)`.

    ValueError for other labels, 0 among them.
    """
    return ops.softplus(-signs(y, z) * z).mean()


def adversarial_logistic_loss(w: Value, b: Value, x: Array, y: Array, eps: float) -> Alike:
    """The closed form of section 5: J = mean_n softplus(eps ||w||_1 - y_n (w . x_n + b)).

    It equals `logistic_loss` at the worst x' within eps of x in the max norm, which for logistic regression is the
    one that FGSM finds. (In print a sign slipped.) w `(D,)`, b `()`, x `(N, D)`, y -1 or 1 `(N,)`. ValueError for other
    labels, or an eps that is negative or not finite.
    """
    z = x @ w + b
    return ops.softplus(check_eps(eps) * abs(w).sum() - signs(y, z) * z).mean()


def _mean_of_sums(losses: Value) -> Alike:
    """Losses `(N, K)`, summed over the K classes, mean over the N examples."""
    return losses.sum() * (1.0 / len(losses))


def targets(y: Array, logits: Value) -> Array:
    """Labels as targets like `logits` `(N, K)`: integers `(N,)` become one-hot rows, targets take its dtype."""
    N, K = logits.shape
    y = _some(y)
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


def check_targets(t: Array, top: str | None = None) -> Array:
    """Targets `(N, K)`; ValueError unless they are from 0 to 1 and, under a softmax, add up to 1 in every row."""
    if not ((t >= -1e-6) & (t <= 1.0 + 1e-6)).all():  # to rounding; NaN is neither
        raise ValueError(f"targets are from 0 to 1, got some from {t.min():.9g} to {t.max():.9g}")
    if top == "softmax" and (off := float(abs(t.sum(axis=1) - 1.0).max())) > 1e-3:
        raise ValueError(f"targets of a softmax add up to 1 in every row, got a row that is {off:g} away from it")
    return t


def signs(y: Array, z: Value) -> Array:
    """Two-class labels, checked: -1 or 1, of the shape and dtype of the activations `(N,)`."""
    y = _some(y)
    if y.shape != z.shape:
        raise ValueError(f"two-class labels for activations of shape {z.shape} have that shape, got {y.shape}")
    if not (abs(y) == 1).all():
        raise ValueError(f"two-class labels are -1 or 1, got others, from {y.min()} to {y.max()}")
    return full_like(raw(z), y)


def _some(y: Array) -> Array:
    """Labels as an array; ValueError without any, of which no cost could be the mean."""
    if not (y := as_array(y)).size:
        raise ValueError("a cost is a mean over examples: at least one is wanted, got none")
    return y


# ---------------------------------------------------------------------------------------------------------
# Objectives: J and its gradients for `parameters(model)`, in that order


def clean_objective(
    model: Any, x: Array, y: Array, rng: Generator | None, l1: float = 0.0, l2: float = 0.0
) -> tuple[float, list[Array]]:
    """J(theta, x, y) + l1 ||W||_1 + l2 ||W||^2, with dropout where the model has it and `rng` is given.

    W is the first parameter: in the networks of `models` the weights of the first layer, in a model of one's own what
    it set first. Both penalties stand outside the cost, so they never fade (section 5). ValueError for a penalty where
    the first parameter has one axis only, as biases have.
    """
    theta = parameters(model)
    if (l1 or l2) and theta[0].ndim < 2:
        raise ValueError(
            f"l1 and l2 are penalties of the first parameter, which is of shape {theta[0].shape}: wanted weights; "
            "a model of one's own sets them before all else"
        )
    J = model.loss(call(model, Tensor(x), rng), y)
    if l1:
        J = J + float(l1) * abs(theta[0]).sum()
    if l2:
        J = J + float(l2) * (theta[0] * theta[0]).sum()
    return J.item(), grad(J, theta)


def adversarial_objective(
    model: Any,
    x: Array,
    y: Array,
    rng: Generator | None,
    eps: float = 0.25,
    alpha: float = 0.5,
    attacked: Attacked = "inference",
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
    attacked : "inference", "training", "same-masks" or "hidden-masks"
        Which network the attack sees; the paper does not say, and it decides how robust the network becomes.
        "inference": the one without dropout. "training": the one with this batch's masks, so that one backward pass
        of the clean loss gives both the attack and the clean half of the gradients; the adversarial pass draws
        masks of its own. "same-masks": the same, and the adversarial pass has these masks again. "hidden-masks": the
        attack has masks of its own, on hidden units alone, and sees every pixel.

    Raises
    ------
    ValueError
        If alpha is not in [0, 1], eps is negative or not finite, or there is no such `attacked`.
    TypeError
        For "hidden-masks", if the model cannot leave out the masks of its inputs, as a `Network` can.
    FloatingPointError
        For "inference", if the gradient that the attack follows is not finite.
    """
    if attacked not in get_args(Attacked) or not 0 <= alpha <= 1:
        kinds = " or ".join(map(repr, get_args(Attacked)))
        raise ValueError(f"alpha in [0, 1], attacked {kinds} are wanted; got {alpha}, {attacked!r}")
    if attacked == "hidden-masks" and not hasattr(model, "seeing_all_inputs"):
        raise TypeError(f"'hidden-masks' wants a model with seeing_all_inputs(), got a {type(model).__name__}")
    theta, alpha = parameters(model), float(alpha)
    if attacked in ("training", "same-masks"):
        adversarial_rng = deepcopy(rng) if attacked == "same-masks" else rng
        X = Tensor(x)
        J_clean = model.loss(call(model, X, rng), y)
        g_x, *g_clean = grad(J_clean, [X, *theta], cotangent=alpha or 1.0)  # alpha > 0 changes no sign of g_x
        x_adv = x + check_eps(eps) * ops.sign(g_x)
        J_adv = model.loss(call(model, Tensor(x_adv), adversarial_rng), y)
        g_adv = grad(J_adv, theta, cotangent=1.0 - alpha)
        J = alpha * J_clean.item() + (1.0 - alpha) * J_adv.item()
        return J, sums(g_clean, g_adv) if alpha else g_adv
    if attacked == "hidden-masks":
        X = Tensor(x)
        (g_x,) = grad(model.loss(model.seeing_all_inputs()(X, rng=rng), y), [X])
        x_adv = x + check_eps(eps) * ops.sign(g_x)
    else:
        x_adv = fgsm(model, x, y, eps)
    return _averaged(model, Tensor(x_adv), x, y, rng, alpha)


def rubbish_objective(
    model: Any, x: Array, y: Array, rng: Generator | None, per_image: float = 0.1
) -> tuple[float, list[Array]]:
    """J over the images x and, as examples of no class, `per_image` times as many samples of N(0, I); appendix.

    The samples are drawn anew at every step and not clipped; all examples, of either kind, weigh alike. "No class" is
    what the appendix asks of a classifier there: the same probability for every class under a softmax, none for any
    under units that are independent of each other.

    Raises
    ------
    ValueError
        If that gives no sample for a batch as large as x, there is no `rng` to draw from, or the model has outputs
        `(N,)`, for two classes.
    TypeError
        If the model has no `top`, as a `Network` has, that says what "no class" is.
    """
    if not hasattr(model, "top"):
        raise TypeError(f"rubbish wants a model whose `top` says what no class is, got a {type(model).__name__}")
    n = round(per_image * len(x)) if 0 < per_image < math.inf else 0
    if n < 1 or rng is None:
        raise ValueError(
            f"a generator and at least one sample of rubbish are wanted; got {rng}, {per_image} per image of {len(x)}"
        )
    theta = parameters(model)
    rubbish = full_like(x, check_generator(rng).standard_normal((n, x.shape[1]), dtype="float32"))
    z = call(model, Tensor(ops.concatenate([x, rubbish])), rng)  # in one pass, each example with its own masks
    no_class = full_like(raw(z[len(x) :]), 1.0 / z.shape[1] if model.top == "softmax" else 0.0)
    J = model.loss(z, ops.concatenate([targets(y, z[: len(x)]), no_class]))
    return J.item(), grad(J, theta)


def noise_objective(
    model: Any,
    x: Array,
    y: Array,
    rng: Generator | None,
    eps: float = 0.25,
    alpha: float = 0.5,
    kind: Literal["sign", "uniform"] = "uniform",
) -> tuple[float, list[Array]]:
    """alpha J(x) + (1 - alpha) J(x + noise): the control experiments of section 6.

    The noise is drawn anew at every step, independently for each pixel, and not clipped: +eps or -eps with equal
    probability ("sign"), or U(-eps, eps) ("uniform"). It has a stream of its own, so that the masks are those that
    adversarial training would have had. The paper does not say whether noisy images stand beside the clean ones or in
    their place; by default they stand where attacked ones stand in adversarial training, so that what differs is the
    direction alone. With alpha = 0 they replace the clean ones.

    Raises
    ------
    ValueError
        If alpha is not in [0, 1], eps is negative or not finite, the kind is unknown, or there is no `rng`.
    """
    if kind not in ("sign", "uniform") or rng is None:
        raise ValueError(f"noise is 'sign' or 'uniform', drawn from a generator; got {kind!r} and {rng}")
    eta = noise(check_generator(rng).spawn(1)[0], x, check_eps(eps) if kind == "uniform" else 1.0)
    eta = eta if kind == "uniform" else check_eps(eps) * ops.where(eta < 0, full_like(x, -1.0), full_like(x, 1.0))
    return _beside(model, Tensor(x + eta), x, y, rng, alpha)


def _beside(
    model: Any, x_other: Tensor, x: Array, y: Array, rng: Generator | None, alpha: float, after: Any = None
) -> tuple[float, list[Array]]:
    """`_averaged` for a checked alpha; without the half of no weight, unless functions `after` layers count on both."""
    if not 0 <= alpha <= 1:
        raise ValueError(f"alpha is a number in [0, 1], got {alpha}")
    if alpha == 0 and after is None:
        J = model.loss(call(model, x_other, rng), y)
        return J.item(), grad(J, parameters(model))
    return _averaged(model, x_other, x, y, rng, float(alpha), after)


def _averaged(
    model: Any, x_other: Tensor, x: Array, y: Array, rng: Generator | None, alpha: float, after: Any = None
) -> tuple[float, list[Array]]:
    """alpha J(x) + (1 - alpha) J(x_other) and its gradients: both halves in one pass, each with its own masks."""
    both = ops.concatenate([x, x_other])
    z = model(both, rng=rng, after=after) if after else call(model, both, rng)
    J = alpha * model.loss(z[: len(x)], y) + (1.0 - alpha) * model.loss(z[len(x) :], y)
    return J.item(), grad(J, parameters(model))


LEAST_GRADIENT = 1e-20  # of the entries of an input gradient, for its direction to be differentiated in float32


def through_attack_objective(
    model: Any,
    x: Array,
    y: Array,
    rng: Generator | None,
    attack: Literal["rotation", "scaled-gradient"] = "rotation",
    angle: float = math.pi / 12,
    eps: float = 0.25,
    alpha: float = 0.5,
) -> tuple[float, list[Array]]:
    """alpha J(x) + (1 - alpha) J(x'), where the gradient also sees how x' answers to the parameters (section 6).

    x' is made by an attack that is differentiable, from g = grad_x J on the network without dropout:

    - "rotation": x turned by `angle` towards g (`attacks.rotated`).
    - "scaled-gradient": x + c g, with c such that every perturbation is as long as FGSM's, ||c g||_2 = eps sqrt(D).

    g is computed with `create_graph`, so the gradient of the whole has a second order part, through g. An example whose
    g is as good as 0 (no entry above 1e-20) is not moved.

    Raises
    ------
    ValueError
        If the attack is unknown, x is not `(N, D)`, alpha is not in [0, 1], eps or angle cannot be.
    """
    if attack not in ("rotation", "scaled-gradient"):
        raise ValueError(f"attack is 'rotation' or 'scaled-gradient', got {attack!r}")
    if x.ndim != 2:
        raise ValueError(f"training through an attack takes x of shape (N, D), a row for each example; got {x.shape}")
    X = Tensor(x)
    (g,) = grad(model.loss(model(X), y), [X], cotangent=float(len(x)), create_graph=True)
    g = ops.where(abs(g.data).max(axis=1, keepdims=True) > LEAST_GRADIENT, g, full_like(x, 0.0))
    x_adv = rotated(x, g, angle) if attack == "rotation" else x + check_eps(eps) * x.shape[1] ** 0.5 * unit(g)[0]
    return _beside(model, x_adv, x, y, rng, alpha)


def hidden_objective(
    model: Any,
    x: Array,
    y: Array,
    rng: Generator | None,
    layers: Sequence[int] = (0,),
    kind: Literal["additive", "rotation"] = "additive",
    eps: float = 0.25,
    angle: float = math.pi / 12,
    alpha: float = 0.5,
) -> tuple[float, list[Array]]:
    """alpha J(x) + (1 - alpha) J with perturbed hidden activations, the input as it is (section 6).

    g = grad_h J of the activations h of the hidden layers in question, all from one backward pass on the network
    without dropout, as the attack on inputs is by default. In the pass that trains, the activations of the second
    half of the batch become, before their own dropout,

    - "additive": h + eps sign(g), the fast gradient sign method on h;
    - "rotation": h turned by `angle` towards g (`attacks.rotated`); its length stays, so that growing is no answer.

    g is a constant to the gradients.

    Parameters
    ----------
    layers : sequence of int
        Which of the hidden layers are perturbed: 0 is the first, -1 the last.

    Raises
    ------
    ValueError
        If the kind is unknown, the model has no such hidden layer, alpha is not in [0, 1], eps or angle cannot be.
    TypeError
        If the model is no `Network`, whose layers have numbers.
    """
    if not hasattr(model, "hidden"):
        raise TypeError(f"hidden layers are those of a Network, got a {type(model).__name__}")
    if kind not in ("additive", "rotation"):
        raise ValueError(f"kind is 'additive' or 'rotation', got {kind!r}")
    last = len(model.hidden) - 1
    if not layers or not all(-last - 1 <= k <= last for k in layers):
        raise ValueError(f"layers are some of the hidden layers 0 to {last}, at least one; got {tuple(layers)}")
    numbers = sorted({model.hidden[k] for k in layers})
    found: dict[int, Tensor] = {}

    def keep(i: int) -> Callable[[Value], Alike]:
        return lambda h: found.setdefault(i, h if isinstance(h, Tensor) else Tensor(h))

    J = model.loss(model(x, after={i: keep(i) for i in numbers}), y)
    gs = dict(zip(numbers, grad(J, [found[i] for i in numbers], cotangent=float(len(x))), strict=True))

    def perturb(i: int) -> Callable[[Value], Alike]:
        if kind == "additive":
            eta = check_eps(eps) * ops.sign(gs[i])
            return lambda h: h + ops.concatenate([0.0 * eta, eta])
        return lambda h: ops.concatenate([h[: len(x)], rotated(h[len(x) :], gs[i], angle)])

    return _beside(model, Tensor(x), x, y, rng, alpha, {i: perturb(i) for i in numbers})
