"""The exercises of lesson 10."""

import numpy as np
import pytest

from tinyadv import Tensor, grad, losses, ops
from tinyadv.course.judging import LEAK, called, judge, leaks, several


def units(n=5, k=3, inputs=4, dtype="float64"):
    """g `(N, K)`, x, mu, and matrices beta without any symmetry."""
    rng, sizes = np.random.default_rng(n), ((n, k), (n, inputs), (k, inputs), (k, inputs, inputs))
    return [rng.standard_normal(size).astype(dtype) for size in sizes]


def differences(x, mu):
    """d `(K, N, D)`."""
    return x - mu[:, None]


# ---------------------------------------------------------------------------------------------------------
# rbf


@pytest.mark.exercise("rbf", points=1)
def test_the_exponent(lesson):
    _, x, mu, beta = units()
    d = differences(x, mu)
    right, by_x = ops.rbf(x, mu, beta), np.einsum("nd,kde,ne->nk", x, beta, x)
    diagonal = np.diagonal(beta, axis1=1, axis2=2)
    judge(called(lesson.rbf, x, mu, beta), right, [
        ("the minus sign is missing, as in the paper: then p would grow with the distance", -right),
        ("this is p: log p is wanted, the exponent itself, which is not rounded to 0", np.exp(right)),
        ("the shape is (K, N): the images should be the rows, (N, K)", right.T),
        ("the centre is missing: d is x - mu_k, not x", -by_x),
        ("beta is missing: this is -||x - mu||^2", -(d**2).sum(axis=2).T),
        ("only the diagonal of beta is used: d^T beta d is a sum over all i, j",
         -(d**2 * diagonal[:, None]).sum(axis=2).T),
        ("d is there once: d^T beta d has it on both sides", -(d @ beta).sum(axis=2).T),
        ("this is (beta d) squared: d^T beta d is d times (beta d)", -((d @ beta) ** 2).sum(axis=2).T),
        ("this is (beta d) squared: d^T beta d is d times (beta d)",
         -((d @ beta.swapaxes(1, 2)) ** 2).sum(axis=2).T),
        ("a factor 1/2 as in a Gaussian's exponent: here there is none", right / 2),
        ("a mean over the inputs: it is a sum", right / 4),
    ])  # fmt: skip


@pytest.mark.exercise("rbf", points=1)
def test_far_away_nothing_is_rounded_to_0_and_float32_stays(lesson):
    _, x, mu, beta = units(n=4, inputs=3, dtype="float32")
    given = called(lesson.rbf, 100 * x, mu, beta @ beta.swapaxes(1, 2))
    assert np.isfinite(given).all(), (
        "far away p is rounded to 0, and its log is infinite: compute log p directly, without p"
    )
    np.testing.assert_allclose(given, ops.rbf(100 * x, mu, beta @ beta.swapaxes(1, 2)), rtol=1e-4)
    assert not leaks(given), LEAK


# ---------------------------------------------------------------------------------------------------------
# signal

COSTS = {
    "rbf-squared": losses.rbf_squared_error,
    "rbf": losses.rbf_cross_entropy,
    "rbf-true-class": losses.rbf_log_likelihood,
}


def signals(J, n=4, k=3):
    a, y = -np.random.default_rng(n).uniform(0.1, 3, (n, k)), np.arange(n) % k
    A = Tensor(a)
    return a, y, grad(COSTS[J](A, y), [A], cotangent=float(n))[0]


@pytest.mark.exercise("signal", points=1)
def test_squared_errors(lesson):
    a, y, right = signals("rbf-squared")
    p, t = np.exp(a), np.eye(3)[y]
    judge(called(lesson.signal, a, y, "rbf-squared"), right, [
        ("rbf-squared: the slope of p = e^a is missing: this is dJ/dp, times p it is dJ/da", 2 * (p - t)),
        ("rbf-squared: the 2 of the square is missing", (p - t) * p),
        ("rbf-squared: the sign is wrong: p - t", -right),
        ("rbf-squared: divided by N: it is each image's own cost", right / 4),
        ("rbf-squared: this has the slope of a sigmoid, p (1 - p): the slope of e^a is p", 2 * (p - t) * p * (1 - p)),
        ("rbf-squared: a stands where p = e^a should", 2 * (a - t) * p),
        ("rbf-squared: this is p - t, the slope of a softmax: the p_k of RBF units need not add up to 1", p - t),
        ("rbf-squared: label off by one: labels count from 0", 2 * (p - np.roll(t, 1, axis=1)) * p),
        ("rbf-squared: label off by one: labels count from 0", 2 * (p - np.roll(t, -1, axis=1)) * p),
    ])  # fmt: skip


@pytest.mark.exercise("signal", points=1)
def test_binary_cross_entropies(lesson):
    a, y, right = signals("rbf")
    p, t = np.exp(a), np.eye(3)[y]
    others = p / (1 - p)
    judge(called(lesson.signal, a, y, "rbf"), right, [
        ("rbf: the sign is wrong: it is -1 for the label, so that going downhill raises its a", -right),
        ("rbf: the other classes are missing: their terms are -log(1 - p)", -t),
        ("rbf: the others have the wrong sign: -log(1 - p) rises with p", -t - (1 - t) * others),
        ("rbf: this is dJ/dp: times p, the slope of e^a, it is dJ/da", -t / p + (1 - t) / (1 - p)),
        ("rbf: the label's slope is p / (1 - p) too: there it is -1", others),
        ("rbf: both terms for all classes: t picks one of them for each", -1 + others),
        ("rbf: this is p - t, the slope in the logit of a sigmoid: here p = e^a", p - t),
        ("rbf: the slope of the others is p / (1 - p): the factor 1 / (1 - p) is missing", np.where(t > 0, -1, p)),
        ("rbf: divided by N: it is each image's own cost", right / 4),
    ])  # fmt: skip


@pytest.mark.exercise("signal", points=1)
def test_the_label_alone(lesson):
    a, y, right = signals("rbf-true-class")
    p, t = np.exp(a), np.eye(3)[y]
    judge(called(lesson.signal, a, y, "rbf-true-class"), right, [
        ("rbf-true-class: the sign is wrong: J = -a_y", t),
        ("rbf-true-class: this is p - t, the slope of a softmax: no other unit is in J = -log p_y", p - t),
        ("rbf-true-class: J = -log p_y is -a_y itself: p is not in its slope", -t * p),
        ("rbf-true-class: J = -log p_y is -a_y itself: p is not in its slope", -t / p),
        ("rbf-true-class: divided by N: it is each image's own cost", -t / 4),
        ("rbf-true-class: one number for each image: the other classes have the slope 0, shape (N, K)", -np.ones(4)),
        ("rbf-true-class: label off by one: labels count from 0", -np.roll(t, 1, axis=1)),
        ("rbf-true-class: label off by one: labels count from 0", -np.roll(t, -1, axis=1)),
    ])  # fmt: skip


@pytest.mark.exercise("signal", points=1)
def test_tiny_p_and_float32(lesson):
    a, y = np.array([[-200.0, -0.5, -300.0], [-1.0, -1e-6, -400.0]], "float32"), np.array([2, 0])
    for J in COSTS:
        with np.errstate(all="ignore"):
            given = called(lesson.signal, a, y, J)
        assert np.isfinite(given).all(), f"{J}: NaN or infinite where a p was rounded to 0: 0/0, or 1/0"
        assert not leaks(given), f"{J}: {LEAK}"
        if J == "rbf":  # another class's p = e^-0.000001: in float32 1 - p has lost all but a digit or two
            assert np.isclose(np.asarray(given)[1, 1], 1e6, rtol=1e-3), (
                "rbf: 1 - p by subtraction loses its digits where p is near 1: -np.expm1(a) is 1 - p, accurately"
            )


# ---------------------------------------------------------------------------------------------------------
# rbf_backward


def backward(g, x, mu, beta):
    T = [Tensor(v) for v in (x, mu, beta)]
    return grad(ops.rbf(*T), T, cotangent=g)


@pytest.mark.exercise("rbf_backward", points=2)
def test_the_gradient_of_the_input(lesson):
    g, x, mu, beta = units()
    right = backward(g, x, mu, beta)[0]
    d, T = differences(x, mu), beta.swapaxes(1, 2)
    gk, p = g.T[:, :, None], np.exp(ops.rbf(x, mu, beta)).T[:, :, None]
    given, _, _ = several(called(lesson.rbf_backward, g, x, mu, beta), "dJ/dx, dJ/dmu, dJ/dbeta")
    judge(given, right, [
        ("dJ/dx: the sign is wrong: a = MINUS d^T beta d", -right),
        ("dJ/dx: 2 beta, as if beta were symmetric: in general beta + beta^T", -(2 * gk * (d @ beta)).sum(axis=0)),
        ("dJ/dx: 2 beta, as if beta were symmetric: in general beta + beta^T", -(2 * gk * (d @ T)).sum(axis=0)),
        ("dJ/dx: d is in d^T beta d twice, here one of them was differentiated", -(gk * (d @ beta)).sum(axis=0)),
        ("dJ/dx: d is in d^T beta d twice, here one of them was differentiated", -(gk * (d @ T)).sum(axis=0)),
        ("dJ/dx: x moves d for all classes: the sum over k is missing", -(gk * (d @ (beta + T)))),
        ("dJ/dx: a mean over the classes: it is a sum", right / 3),
        ("dJ/dx: divided by N: if J has a factor 1/N, it is in g already", right / 5),
        ("dJ/dx: the g from above is missing", -(d @ (beta + T)).sum(axis=0)),
        ("dJ/dx: multiplied by p: g is dJ/da already, so e^a has no part in it", -(gk * p * (d @ (beta + T))).sum(0)),
        ("dJ/dx: beta is missing", -(2 * gk * d).sum(axis=0)),
    ])  # fmt: skip


@pytest.mark.exercise("rbf_backward", points=2)
def test_the_gradient_of_the_centres(lesson):
    g, x, mu, beta = units()
    right = backward(g, x, mu, beta)[1]
    d, T, gk = differences(x, mu), beta.swapaxes(1, 2), g.T[:, :, None]
    _, given, _ = several(called(lesson.rbf_backward, g, x, mu, beta), "dJ/dx, dJ/dmu, dJ/dbeta")
    judge(given, right, [
        ("dJ/dmu: the sign is wrong: mu moves d = x - mu the other way than x does", -right),
        ("dJ/dmu: 2 beta, as if beta were symmetric: in general beta + beta^T", (2 * gk * (d @ beta)).sum(axis=1)),
        ("dJ/dmu: 2 beta, as if beta were symmetric: in general beta + beta^T", (2 * gk * (d @ T)).sum(axis=1)),
        ("dJ/dmu: d is in d^T beta d twice, here one of them was differentiated", (gk * (d @ beta)).sum(axis=1)),
        ("dJ/dmu: d is in d^T beta d twice, here one of them was differentiated", (gk * (d @ T)).sum(axis=1)),
        ("dJ/dmu: a centre moves d for all images: the sum over n is missing", gk * (d @ (beta + T))),
        ("dJ/dmu: a mean over the images: the 1/N of J is in g already", right / 5),
        ("dJ/dmu: the g from above is missing", (d @ (beta + T)).sum(axis=1)),
        ("dJ/dmu: summed over the classes: each class has its own centre", (gk * (d @ (beta + T))).sum(axis=0)),
    ])  # fmt: skip


@pytest.mark.exercise("rbf_backward", points=2)
def test_the_gradient_of_beta(lesson):
    g, x, mu, beta = units()
    right = backward(g, x, mu, beta)[2]
    d, gk = differences(x, mu), g.T[:, :, None]
    diagonal = -(gk * d * d).sum(axis=1)
    _, _, given = several(called(lesson.rbf_backward, g, x, mu, beta), "dJ/dx, dJ/dmu, dJ/dbeta")
    judge(given, right, [
        ("dJ/dbeta: the sign is wrong: a = MINUS d^T beta d", -right),
        ("dJ/dbeta: the diagonal alone: beta_ij has the slope d_i d_j for all i, j, shape (K, D, D)", diagonal),
        ("dJ/dbeta: zeros off the diagonal: beta_ij has the slope d_i d_j for all i, j", diagonal[:, None] * np.eye(4)),
        ("dJ/dbeta: the g from above is missing", -d.swapaxes(1, 2) @ d),
        ("dJ/dbeta: a factor 2 too many: each beta_ij is there once", 2 * right),
        ("dJ/dbeta: a mean over the images: the 1/N of J is in g already", right / 5),
        ("dJ/dbeta: g is there twice: it multiplies one of the two d", -(gk * d).swapaxes(1, 2) @ (gk * d)),
        ("dJ/dbeta: the sum over n is missing: each matrix is used by all images",
         -(gk * d)[..., None] * d[:, :, None]),
        ("dJ/dbeta: summed over the inputs: d_i d_j should be summed over the images n",
         -(gk * d) @ d.swapaxes(1, 2)),
        ("dJ/dbeta: x stands where d = x - mu should", -np.einsum("nk,ni,nj->kij", g, x, x)),
    ])  # fmt: skip


@pytest.mark.exercise("rbf_backward", points=1)
def test_shapes_and_float32(lesson):
    g, x, mu, beta = units(n=6, k=2, inputs=3, dtype="float32")
    answer = several(called(lesson.rbf_backward, g, x, mu, beta), "dJ/dx, dJ/dmu, dJ/dbeta")
    for name, given, like in zip(("x", "mu", "beta"), answer, (x, mu, beta), strict=True):
        assert np.shape(given) == like.shape, f"dJ/d{name} has the shape {np.shape(given)}, {name} has {like.shape}"
        assert not leaks(given), LEAK


# ---------------------------------------------------------------------------------------------------------
# surest


def box(n=5, k=3, inputs=6, eps=0.3):
    rng = np.random.default_rng(n)
    x, mu, beta = rng.random((n, inputs)), rng.random((k, inputs)), rng.uniform(0.5, 2, (k, inputs))
    d = differences(x, mu)
    nearest = (x - mu[:, None].clip(x - eps, x + eps)) - d  # -(nearest - mu)
    return x, mu, beta, d, -(beta[:, None] * nearest**2).sum(axis=2).T


@pytest.mark.exercise("surest", points=2)
def test_the_nearest_point_of_the_box(lesson):
    eps = 0.3
    x, mu, beta, d, right = box(eps=eps)
    b, to_go = beta[:, None], abs(d) - eps

    def log_p(*terms):
        return -np.sum(np.prod(np.broadcast_arrays(*terms), axis=0), axis=2).T

    judge(called(lesson.surest, x, mu, beta, eps), right, [
        ("the max with 0 is missing: where the centre is within eps, the pixel stops at the centre",
         log_p(b, to_go**2)),
        ("eps is added: this is the LEAST sure point of the box", log_p(b, (abs(d) + eps) ** 2)),
        ("the sign is wrong: log p is minus the sum", -right),
        ("this is log p at x itself: nothing moved", log_p(b, d**2)),
        ("the square is missing", log_p(b, to_go.clip(0))),
        ("|d| is missing: with d itself, pixels below the centre do not count", log_p(b, (d - eps).clip(0) ** 2)),
        ("|d| is missing: with d itself, pixels below the centre move away from it", log_p(b, (d - eps) ** 2)),
        ("eps is subtracted from d^2: subtract it from |d|, and square after that", log_p(b, (d**2 - eps).clip(0))),
        ("eps^2 is subtracted from d^2: (|d| - eps)^2 is not d^2 - eps^2", log_p(b, (d**2 - eps**2).clip(0))),
        ("this is p: log p is wanted", np.exp(right)),
        ("the shape is (K, N): the images should be the rows, (N, K)", right.T),
        ("beta is missing", log_p(to_go.clip(0) ** 2)),
        ("eps is subtracted from the sum, and that is cut at 0: max(|d| - eps, 0) belongs to each pixel",
         -np.maximum((b * d**2).sum(axis=2) - eps, 0).T),
    ])  # fmt: skip


@pytest.mark.exercise("surest", points=1)
def test_no_corner_or_point_of_the_box_is_surer(lesson):
    eps, rng = 0.2, np.random.default_rng(8)
    x, mu, beta, _, _ = box(n=4)
    most = np.asarray(called(lesson.surest, x, mu, beta, eps))
    assert np.shape(most) == (4, 3), f"the shape (4, 3) is wanted, N and K; yours is {np.shape(most)}"
    for _ in range(200):
        eta = rng.uniform(-eps, eps, x.shape)
        for point in (x + eta, x + eps * np.sign(eta)):
            found = ops.rbf(point, mu, beta)
            assert (found <= most + 1e-12).all(), "a random point of the box is surer than your surest"


@pytest.mark.exercise("surest", points=1)
def test_the_ends_of_eps_and_float32(lesson):
    x, mu, beta, _, _ = (a.astype("float32") for a in box(n=4))
    np.testing.assert_allclose(
        called(lesson.surest, x, mu, beta, 0.0), ops.rbf(x, mu, beta), rtol=1e-5, err_msg="at eps = 0 it is log p at x"
    )
    given = called(lesson.surest, x, mu, beta, 1.0)
    reached = (abs(np.asarray(given)) < 1e-6).all()
    assert reached, "where the box holds the centre, log p reaches 0"
    assert not leaks(given), LEAK
