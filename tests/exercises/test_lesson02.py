"""The exercises of lesson 2."""

from contextlib import suppress

import numpy as np
import pytest

from tinyadv import Tensor, grad, losses
from tinyadv.course.judging import as_array, called, close, judge, leaks, several

N, D = 6, 5


def example(dtype="float64"):
    """w, b, images and labels."""
    rng = np.random.default_rng(2)
    w, x, y = rng.standard_normal(D), rng.random((N, D)), np.array([1.0, -1.0, 1.0, 1.0, -1.0, -1.0])
    return w.astype(dtype), np.array(0.3, dtype)[()], x.astype(dtype), y.astype(dtype)


def engine(w, b, x, y):
    """J, its gradients for w and b, and each image's own for its pixels, by the package."""
    W, B, X = Tensor(w), Tensor(np.asarray(b)), Tensor(x)
    J = losses.logistic_loss(X @ W + B, y)
    dw, db, dx = grad(J, [W, B, X])
    return J.item(), dw, db, dx * len(x)


def asked(function, w, b, x, y, right=None):
    """What a student's function gives; told so where its parameters are in another order."""
    try:
        return called(function, w, b, x, y)
    except (TypeError, ValueError):
        swapped = None
        with suppress(Exception):
            swapped = function(x, y, w, b)
        other = close(swapped, right) if swapped is not None and right is not None else False
        assert not other, ORDER
        raise


ORDER = "the arguments come in the order w, b, x, y: leave the first line, `def ...`, as it was given"
COLUMN = (
    "z has the shape (N, 1) here and y (N,), so y * z is an (N, N) matrix, every label with every image: w has the "
    "shape (D,), so z = x @ w + b has the shape (N,)"
)


@pytest.mark.exercise("cost", points=2)
def test_it_is_the_mean_of_minus_log_p(lesson):
    w, b, x, y = example()
    z = x @ w + b
    J = engine(w, b, x, y)[0]
    mistakes = {
        "the sum over the images: J is their mean, divide by N": N * J,
        "the sign is wrong: this cost is small where the model is wrong; it is zeta(-y z)": engine(w, b, x, -y)[0],
        "the labels are -1 and 1, but this formula takes them for 0 and 1": np.mean(np.logaddexp(0, z) - y * z),
        "the bias b is missing": engine(w, 0.0, x, y)[0],
        COLUMN: np.mean(np.logaddexp(0, -y * z[:, None])),
        "the mean of p, not of -log p": np.mean(np.exp(-np.logaddexp(0, -y * z))),
        "the mean of log p: the minus before it is missing, so training would go for the worst model": -J,
        "one cost for each image: J is one number, their mean": np.logaddexp(0, -y * z),
        "the labels y are missing: every image is counted as if its label were 1": np.mean(np.logaddexp(0, -z)),
        "the labels y are missing: every image is counted as if its label were -1": np.mean(np.logaddexp(0, z)),
    }
    judge(asked(lesson.cost, w, b, x, y, J), J, mistakes.items())


@pytest.mark.exercise("cost", points=1)
def test_it_is_finite_for_every_activation(lesson):
    w, x, y = np.array([1000.0, -1000.0]), np.array([[1.0, 0.0], [1.0, 0.0]]), np.array([1.0, -1.0])
    with np.errstate(all="ignore"):
        J = called(lesson.cost, w, 0.0, x, y)
    assert np.isfinite(J), (
        "overflow: for an activation of 1000, e^1000 is infinite; np.logaddexp(0, a) computes log(1 + e^a) safely"
    )
    mistakes = [
        (ORDER, np.log(2)),
        ("the sum over the images: J is their mean, divide by N", 1000.0),
    ]
    if np.ndim(J) == 0 and 0 < J < 500:
        mistakes.append(("clipped: for large activations the cost should go on growing, with slope 1", J))
    judge(J, 500.0, mistakes)


@pytest.mark.exercise("gradients", points=2)
def test_for_the_weights(lesson):
    w, b, x, y = example()
    right, p = engine(w, b, x, y)[1], np.exp(-np.logaddexp(0, -y * (x @ w + b)))
    mistakes = {
        "the sign is wrong: this is -dJ/dw, the way downhill": -right,
        "the gradient is N times too large: J is a mean over the images": N * right,
        "-y sigma(+y z) x: the weight of an image is the probability of the WRONG class, sigma(-y z)": -x.T
        @ (y * p)
        / N,
        "the label y is missing in c = -y sigma(-y z)": -x.T @ (1 - p) / N,
        "the slope of sigma stands where sigma itself should: c has sigma(-y z), the slope of the softplus": -x.T
        @ (y * p * (1 - p))
        / N,
        "the labels are -1 and 1: sigma(z) - y is the formula for labels 0 and 1": x.T
        @ (np.exp(-np.logaddexp(0, -(x @ w + b))) - y)
        / N,
        "a mean over the D pixels: the mean is over the N images": right * N / D,
        "one gradient for each image: their mean is wanted, shape (D,)": -(y * (1 - p))[:, None] * x,
        "the bias b is missing in the activation z": engine(w, 0.0, x, y)[1],
        COLUMN: x.T @ column(w, b, x, y) / N,
    }
    dw, _ = several(asked(lesson.gradients, w, b, x, y), "dw, db")
    judge(dw, right, [*mistakes.items(), (COLUMN, (x.T @ column(w, b, x, y)).mean(axis=1))])


def column(w, b, x, y):
    """c `(N, N)`, as it comes out where z has the shape (N, 1)."""
    z = (x @ w + b)[:, None]
    return -y / (1 + np.exp(y * z))


@pytest.mark.exercise("gradients", points=1)
def test_for_the_bias(lesson):
    w, b, x, y = example()
    right, p = engine(w, b, x, y)[2], np.exp(-np.logaddexp(0, -y * (x @ w + b)))
    mistakes = {
        "for the bias: N times too large, the mean over the images is missing": N * right,
        "for the bias: the sign is wrong": -right,
        "for the bias: one number for each image; b is one number for all of them, so their parts are averaged": -y
        * (1 - p),
        "for the bias: the factor 1/N twice": right / N,
        "for the bias: the slope of sigma stands where sigma itself should: c = -y sigma(-y z)": -(
            y * p * (1 - p)
        ).mean(),
        "for the bias: the bias b is missing in the activation z": engine(w, 0.0, x, y)[2],
        COLUMN: column(w, b, x, y).mean(),
    }
    _, db = several(called(lesson.gradients, w, b, x, y), "dw, db")
    judge(db, right, mistakes.items())


@pytest.mark.exercise("gradients", points=1)
def test_weights_stay_float32_and_as_they_were(lesson):
    w, b, x, y = example("float32")
    answer = [as_array(d) for d in called(lesson.gradients, w, b, x, y)]
    kept = not leaks(answer)
    assert kept, "float64 leak: float32 went in, float64 came out; which array was made without a dtype?"


@pytest.mark.exercise("input_gradient", points=2)
def test_for_each_image_its_own(lesson):
    w, b, x, y = example()
    right, p = engine(w, b, x, y)[3], np.exp(-np.logaddexp(0, -y * (x @ w + b)))
    mistakes = {
        "N times too small: an image's own cost has no factor 1/N, and no other image has a part in it": right / N,
        "the sign is wrong: this lowers the cost": -right,
        "c_n x_n is what an image adds to the WEIGHTS' gradient: for the input, dz/dx is w": -(y * (1 - p))[:, None]
        * x,
        "summed over the images: each image has its own gradient, shape (N, D)": right.sum(axis=0),
        "averaged over the images: each image has its own gradient, shape (N, D)": right.mean(axis=0),
        "transposed: the images are the rows, shape (N, D)": right.T,
        "the probability of the right class: c = -y sigma(-y z) has that of the WRONG one": -(y * p)[:, None] * w,
        "the label y is missing in c = -y sigma(-y z)": -(1 - p)[:, None] * w,
        "the slope of sigma stands where sigma itself should: c = -y sigma(-y z)": -(y * p * (1 - p))[:, None] * w,
        "the bias b is missing in the activation z": engine(w, 0.0, x, y)[3],
        "the labels are -1 and 1: sigma(z) - y is the formula for labels 0 and 1": (
            np.exp(-np.logaddexp(0, -(x @ w + b))) - y
        )[:, None]
        * w,
        "this is sign(w) with the label: the gradient itself is wanted, its size too": -y[:, None] * np.sign(w),
    }
    judge(asked(lesson.input_gradient, w, b, x, y, right), right, mistakes.items())


@pytest.mark.exercise("input_gradient", points=1)
def test_pixels_stay_float32(lesson):
    given = called(lesson.input_gradient, *example("float32"))
    assert not leaks(given), "float64 leak: float32 went in, float64 came out"


@pytest.mark.exercise("numerical_gradient", points=2)
def test_it_is_the_central_quotient_of_each_entry(lesson):
    x, h = np.array([[0.5, -1.0, 2.0], [1.5, 0.25, -0.75]]), 0.1
    before = x.copy()
    given = lesson.numerical_gradient(lambda v: float((v**3).sum()), x, h)
    # of v^3 the quotients are known exactly: 3 v^2 + h^2 is the central one
    right = 3 * before**2 + h**2
    mistakes = {
        "a one-sided quotient, whose error is proportional to h: step to both sides, and divide by 2h": right
        + 3 * before * h,
        "a one-sided quotient, backwards, whose error is proportional to h: step to both sides": right - 3 * before * h,
        "twice too large: x + h and x - h are 2h apart, divide by 2h": 2 * right,
        "twice too small: has it been divided by 2 twice?": right / 2,
        "the quotient is not divided by the step": 2 * h * right,
        "all entries stepped at once: that is one number, the sum of all slopes": np.full_like(x, right.sum()),
        "the sign is wrong: f(x + h) - f(x - h), not the other way round": -right,
        "this is one number, the slope with all entries stepped at once: each entry has its own": right.sum(),
    }
    assert np.allclose(x, before), "your function changed x: an entry was stepped and not put back; work on a copy"
    judge(given, right, mistakes.items())


@pytest.mark.exercise("numerical_gradient", points=1)
def test_other_entries_stay_where_they_are(lesson):
    x, h = np.array([0.5, -1.0, 2.0]), 0.1
    before = x.copy()
    # d/dx_i x_0 x_1 x_2, exactly: a central quotient of what is linear in each entry
    given = lesson.numerical_gradient(lambda v: float(v[0] * v[1] * v[2]), x, h)
    assert np.allclose(x, before), "your function changed x: an entry was stepped and not put back; work on a copy"
    judge(given, [-2.0, 1.0, -0.5])
    judge(lesson.numerical_gradient(lambda v: float(v**2), np.array(1.5)), 3.0)
