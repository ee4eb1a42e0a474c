"""The exercises of lesson 3."""

import itertools

import numpy as np
import pytest

from tinyadv import Tensor, grad, models, parameters
from tinyadv.backend import generator
from tinyadv.course.judging import called

EPS = 0.2


def network(n=7):
    """Logistic regression of n inputs in float64 with random weights, and some inputs and labels."""
    model, rng = models.logistic_regression(inputs=n, rng=generator(0)).to(dtype="float64"), np.random.default_rng(4)
    for p in parameters(model):
        p.data = rng.standard_normal(p.shape)
    return model, rng.random((6, n)), rng.choice([-1.0, 1.0], 6)


def costs(model, x, y):
    """The cost of each image, without the engine."""
    return np.logaddexp(0, -y * model(x))


def worst(model, x, y, eps):
    """The largest cost of each image over all corners of the box."""
    n = x.shape[1]
    return np.max([costs(model, x + eps * np.array(c), y) for c in itertools.product((-1.0, 1.0), repeat=n)], axis=0)


def attacked(lesson, model, x, y):
    """What the student's FGSM gives, as an array; nothing else may have changed."""
    weights = [p.data.copy() for p in parameters(model)]
    x_adv = called(lesson.fgsm, model, x, y, EPS)
    assert all((p.data == old).all() for p, old in zip(parameters(model), weights, strict=True)), (
        "the attack changed the weights: only the input may move"
    )
    assert not isinstance(x_adv, Tensor), "an array is wanted, your function returns a Tensor: the array is its .data"
    return np.asarray(x_adv)


@pytest.mark.exercise("fgsm", points=2)
def test_the_cost_rises_as_far_as_it_can(lesson):
    model, x, y = network()
    x_adv = attacked(lesson, model, x, y)
    assert x_adv.shape == x.shape, f"x has the shape {x.shape}, your result {x_adv.shape}"
    move = x_adv - x
    assert np.abs(move).max() > 0, (
        "nothing moved: is that x as it came, or the gradient of something that does not depend on x?"
    )
    assert not np.allclose(np.abs(x_adv), EPS), "this is the change alone: FGSM returns x plus the change"
    assert not np.allclose(np.abs(move), 1), "the size eps is missing: each pixel moves by 1"
    before, after = costs(model, x, y), costs(model, x_adv, y)
    assert not (after < before).all(), "the sign is wrong: the attack made the cost fall"
    up = EPS * np.sign(parameters(model)[0].data)  # raises every output
    own = np.where(model(x) > 0, 1.0, -1.0).reshape(-1, 1)
    named = {
        "the result was clipped to [0, 1]: here, as in the paper, x_adv may leave the range of the pixels": np.clip(
            x - y[:, None] * up, 0, 1
        ),
        "the attack moves away from the model's own answer: it should move away from the true label y, also where the "
        "model is wrong": x - own * up,
    }
    for mistake, value in named.items():
        assert not np.allclose(x_adv, value), mistake
    assert not any(np.allclose(x_adv, value) for value in (x + up, x - up)), (
        "all images move the same way: each image has its own gradient, that of its own cost with its own label y; do "
        "not use the gradient of the output z, or one gradient for the whole batch"
    )
    sizes = np.abs(move)
    weights = parameters(model)[0].data
    along = -y[:, None] * weights * sizes.max(axis=1, keepdims=True) / np.abs(weights).max()
    assert np.ptp(sizes) < 1e-9 or not np.allclose(move, along), "the gradient itself was followed, not its sign"
    assert np.ptp(sizes) < 1e-9, "the pixels move by different amounts: each moves by eps, unless its gradient is 0"
    assert np.allclose(sizes, EPS), f"each pixel should move by eps = {EPS}, yours move by {sizes.max():.3g}"
    np.testing.assert_allclose(
        after, worst(model, x, y, EPS), rtol=1e-9,
        err_msg="another change of this size raises the cost further: yours does not have the sign of the gradient",
    )  # fmt: skip


@pytest.mark.exercise("fgsm", points=1)
def test_each_image_has_its_own_change(lesson):
    model, x, y = network()
    together = attacked(lesson, model, x, y)
    alone = np.concatenate([attacked(lesson, model, x[i : i + 1], y[i : i + 1]) for i in range(len(x))])
    assert np.allclose(together, alone), (
        "the attack on an image depends on the other images of its batch: the gradient has the shape of x, (N, D), "
        "without any sum or mean over the images"
    )


@pytest.mark.exercise("fgsm", points=1)
def test_where_the_gradient_is_zero_nothing_moves(lesson):
    model, x, y = network()
    parameters(model)[0].data[:, 2] = 0.0
    with np.errstate(all="ignore"):
        move = attacked(lesson, model, x, y) - x
    assert np.isfinite(move).all(), "g / |g| is 0 / 0 where the gradient is 0: np.sign(g) is 0 there"
    assert np.abs(move[:, 2]).max() < 1e-12, "a pixel without influence on the cost moved: sign(0) is 0"


@pytest.mark.exercise("fgsm", points=1)
def test_it_works_for_several_classes_too(lesson):
    model = models.softmax_regression(inputs=5, rng=generator(1)).to(dtype="float64")
    rng = np.random.default_rng(6)
    for p in parameters(model):
        p.data = rng.standard_normal(p.shape)
    x, y = rng.random((4, 5)), np.array([1, 0, 7, 3])
    X = Tensor(x)
    (g,) = grad(model.loss(model(X), y), [X])
    np.testing.assert_allclose(
        attacked(lesson, model, x, y) - x, EPS * np.sign(g), atol=1e-9,
        err_msg="right for logistic regression, wrong for ten classes: ask `grad` instead of using a formula for one "
        "model",
    )  # fmt: skip


@pytest.mark.exercise("worst_cost", points=2)
def test_it_is_the_cost_at_the_worst_corner(lesson):
    model, x, y = network()
    w, b = (p.data for p in parameters(model))
    given, right = called(lesson.worst_cost, w[0], b[0], x, y, EPS), worst(model, x, y, EPS)
    given = np.asarray(given)
    assert given.shape == y.shape, f"one cost for each image is wanted, shape {y.shape}; yours has {given.shape}"
    z, l1, softplus = x @ w[0] + b[0], np.abs(w[0]).sum(), lambda a: np.logaddexp(0, a)
    named = {
        "this is the cost at the best corner: the sign before eps ||w||_1 is wrong": softplus(-EPS * l1 - y * z),
        "the sign before y (w x + b) is wrong: it must be subtracted": softplus(EPS * l1 + y * z),
        "this is what the paper prints, which is a slip: y must not multiply eps ||w||_1 too": (
            softplus(y * (EPS * l1 - z))
        ),
        "this is the cost without any attack: eps ||w||_1 is missing": softplus(-y * z),
        "this is the Euclidean norm of w: over the box it is the sum of the |w_i|, the L1 norm": softplus(
            EPS * np.sqrt((w[0] ** 2).sum()) - y * z
        ),
        "this is the sum of the w_i, where the sum of their sizes |w_i| is wanted": softplus(EPS * w[0].sum() - y * z),
        "this is the cost without the bias b": softplus(EPS * l1 - y * (z - b[0])),
        "this is the softplus's argument: the softplus itself is missing": EPS * l1 - y * z,
        "this is the mean of |w_i|, where their sum is wanted: a factor 1/D too many": softplus(EPS * l1 / 7 - y * z),
        "eps ||w||_1 stands outside of the softplus: the attack changes the argument of the softplus": (
            softplus(-y * z) + EPS * l1
        ),
        "y must not multiply eps ||w||_1: for both classes the attack makes the cost rise": (
            softplus(-y * (z + EPS * l1))
        ),
    }
    for mistake, values in named.items():
        assert not np.allclose(given, values), mistake
    np.testing.assert_allclose(given, right, rtol=1e-9, err_msg="not the cost at the worst corner of the box")


@pytest.mark.exercise("worst_cost", points=1)
def test_large_margins_do_not_overflow(lesson):
    w, y = np.array([1000.0, -1000.0]), np.array([1.0, -1.0])
    with np.errstate(over="ignore"):
        given = called(lesson.worst_cost, w, 0.0, np.array([[1.0, 0.0], [1.0, 0.0]]), y, 0.25)
    assert np.isfinite(given).all(), "exp overflows for large arguments: np.logaddexp(0, a) does not"
    np.testing.assert_allclose(given, [0.0, 1500.0], atol=1e-9, err_msg="wrong for large weights")
