"""The exercises of lesson 7."""

import numpy as np
import pytest

from tinyadv import Tensor, grad, losses
from tinyadv.course.judging import LEAK, called, judge, leaks, several

EPS, N, D = 0.2, 6, 4


def problem():
    """Weights of both signs, a bias, images and labels whose margins have both signs too."""
    rng = np.random.default_rng(7)
    w, x = rng.standard_normal(D) + np.array([1.0, -1.0, 0.5, 0.0]), 2 * rng.random((N, D))
    return w, 0.3, x, np.array([1.0, -1.0, 1.0, 1.0, -1.0, 1.0])


def sigma(a):
    return 1 / (1 + np.exp(-a))


def softplus(a):
    return np.logaddexp(0, a)


def by_engine(J, w, b):
    """The gradients of J(w, b)."""
    W, B = Tensor(w), Tensor(b)
    return grad(J(W, B), [W, B])


def both(f, *arguments):
    """What a student's function gives: dJ/dw and dJ/db; what it was given may not have changed."""
    return several(called(f, *arguments), "dJ/dw, dJ/db")


def in_float32(f):
    w, b, x, y = problem()
    given = both(f, w.astype("float32"), np.float32(b), x.astype("float32"), y.astype("float32"), EPS)
    assert all(not leaks(g) for g in given), LEAK


def without_overflow(f):
    """Gradients at margins of thousands."""
    w, x, y = np.array([4000.0, -4000.0]), np.array([[1.0, 0.0], [1.0, 0.0]]), np.array([1.0, -1.0])
    with np.errstate(all="ignore"):
        given = both(f, w, 0.0, x, y, 0.01)
    finite = all(np.isfinite(g).all() for g in given)
    assert finite, "overflow: e^a is infinite for large a; ops.sigmoid(a) and np.logaddexp(0, a) avoid it"
    return given


# ---------------------------------------------------------------------------------------------------------
# adversarial_gradients


def adversarial(w, b, x, y, eps=EPS):
    return by_engine(lambda W, B: losses.adversarial_logistic_loss(W, B, x, y, eps), w, b)


@pytest.mark.exercise("adversarial_gradients", points=3)
def test_the_gradient_for_the_weights(lesson):
    w, b, x, y = problem()
    right, _ = adversarial(w, b, x, y)
    given, _ = both(lesson.adversarial_gradients, w, b, x, y, EPS)
    l1, m, sign = np.abs(w).sum(), y * (x @ w + b), np.sign(w)

    def gradient(s, push=sign, eps=EPS):
        """mean s (eps push - y x)"""
        return (s[:, None] * (eps * push - y[:, None] * x)).mean(axis=0)

    s, clean = sigma(EPS * l1 - m), sigma(-m)
    judge(given, right, [
        ("dJ/dw is N times too large: J is a mean over the images, so the factor 1/N is in its gradient", N * right),
        ("dJ/dw has the wrong sign: this goes uphill", -right),
        ("dJ/dw: this is the gradient of the cost without any attack", gradient(clean, 0 * sign)),
        ("dJ/dw: eps ||w||_1 depends on w too: its part of the gradient, s eps sign(w), is missing",
         gradient(s, 0 * sign)),
        ("dJ/dw: this is L1 decay: its push eps sign(w) stands outside of the mean and of s",
         gradient(clean, 0 * sign) + EPS * sign),
        ("dJ/dw: s multiplies eps sign(w) too: the penalty stands inside of the softplus",
         gradient(s, 0 * sign) + EPS * sign),
        ("dJ/dw: s is taken at the clean image: its argument is eps ||w||_1 - m, not -m", gradient(clean)),
        ("dJ/dw: the sign of the penalty is wrong: the attack lowers the margin, so the argument is "
         "eps ||w||_1 - m, with the slope +eps sign(w)", gradient(sigma(-EPS * l1 - m), -sign)),
        ("dJ/dw: eps sign(w) has the wrong sign: eps ||w||_1 is added to -m", gradient(s, -sign)),
        ("dJ/dw: y multiplies eps ||w||_1, as in the paper's slip: for y = -1 that is the best case, not the worst",
         gradient(sigma(y * EPS * l1 - m), y[:, None] * sign)),
        ("dJ/dw: the penalty's part is N times too large: s eps sign(w) stands inside of the mean",
         right + (N - 1) * EPS * s.mean() * sign),
        ("dJ/dw: eps is missing before sign(w)", gradient(s, eps=1.0)),
        ("dJ/dw: eps is missing altogether: the attack has size 1", gradient(sigma(l1 - m), eps=1.0)),
        ("dJ/dw: the slope of |w_i| is sign(w_i), not w_i", gradient(s, w)),
        ("dJ/dw: this is the Euclidean norm of w: it should be the sum of the |w_i|, the L1 norm",
         gradient(sigma(EPS * np.sqrt(w @ w) - m))),
        ("dJ/dw: this is the sum of the w_i: the sum of their sizes |w_i| is wanted",
         gradient(sigma(EPS * w.sum() - m))),
        ("dJ/dw: the bias b is missing in the margin", gradient(sigma(EPS * l1 - m + y * b))),
        ("dJ/dw: the labels y are missing: -s y x", (s[:, None] * (EPS * sign - x)).mean(axis=0)),
        ("dJ/dw: softplus(a) stands where its slope sigma(a) should", gradient(softplus(EPS * l1 - m))),
        ("dJ/dw: the slope of sigma stands where sigma itself should", gradient(s * (1 - s))),
        ("dJ/dw: sigma(m - eps ||w||_1) is the probability of the right class: the slope is that of the wrong one",
         gradient(1 - s)),
        ("dJ/dw: the images are not summed: a gradient has the shape of w, (D,)", s[:, None] * (
            EPS * sign - y[:, None] * x)),
    ])  # fmt: skip


@pytest.mark.exercise("adversarial_gradients", points=1)
def test_the_gradient_for_the_bias(lesson):
    w, b, x, y = problem()
    _, right = adversarial(w, b, x, y)
    _, given = both(lesson.adversarial_gradients, w, b, x, y, EPS)
    l1, m = np.abs(w).sum(), y * (x @ w + b)
    s = sigma(EPS * l1 - m)
    judge(given, right, [
        ("dJ/db is N times too large: J is a mean over the images", N * right),
        ("dJ/db has the wrong sign: dm/db = y, and m is subtracted", -right),
        ("dJ/db: the attack is missing in s: its argument is eps ||w||_1 - m", -(sigma(-m) * y).mean()),
        ("dJ/db: the label y is missing: dm/db = y", -s.mean()),
        ("dJ/db: the label y is missing: dm/db = y", s.mean()),
        ("dJ/db: one for each image: b is one number, so this is their mean", -s * y),
        ("dJ/db: the penalty has no b in it: eps ||w||_1 does not change with b", right + EPS * s.mean()),
        ("dJ/db: there is no factor eps: eps enters only through s", right * EPS),
        ("dJ/db: the slope of sigma stands where sigma itself should", -(s * (1 - s) * y).mean()),
    ])  # fmt: skip


@pytest.mark.exercise("adversarial_gradients", points=1)
def test_a_weight_of_zero_is_not_pushed(lesson):
    w, b, x, y = problem()
    w[1], x[:, 1] = 0.0, 0.0  # a pixel that is always dark
    with np.errstate(all="ignore"):
        given, _ = both(lesson.adversarial_gradients, w, b, x, y, EPS)
    assert np.isfinite(given).all(), "w / |w| is 0 / 0 where a weight is 0: np.sign(w) is 0 there"
    pushed = abs(given[1]) > 1e-12
    assert not pushed, "a weight that is 0, of a pixel that is always dark, is pushed: at w_i = 0 the slope should be 0"
    judge(given, adversarial(w, b, x, y)[0])


@pytest.mark.exercise("adversarial_gradients", points=1)
def test_adversarial_training_stays_in_float32_and_finite(lesson):
    in_float32(lesson.adversarial_gradients)
    dw, db = without_overflow(lesson.adversarial_gradients)
    judge(dw, [0.505, -0.005])
    judge(db, 0.5)


# ---------------------------------------------------------------------------------------------------------
# l1_gradients


def decayed(w, b, x, y, lam=EPS):
    return by_engine(lambda W, B: losses.logistic_loss(x @ W + B, y) + lam * abs(W).sum(), w, b)


@pytest.mark.exercise("l1_gradients", points=2)
def test_the_penalty_stands_outside(lesson):
    w, b, x, y = problem()
    right, for_b = decayed(w, b, x, y)
    given, given_b = both(lesson.l1_gradients, w, b, x, y, EPS)
    sign, m = np.sign(w), y * (x @ w + b)
    clean, n, slope = right - EPS * sign, N, sigma(-m) * sigma(m)
    judge(given, right, [
        ("dJ/dw: the penalty lambda sign(w) is missing: this is the clean gradient", clean),
        ("dJ/dw: lambda is missing before sign(w)", clean + sign),
        ("dJ/dw: this penalty has squares: the slope of |w_i| is sign(w_i), not w_i", clean + EPS * w),
        ("dJ/dw: this penalty has squares: the slope of |w_i| is sign(w_i), not 2 w_i", clean + 2 * EPS * w),
        ("dJ/dw: the sign of the penalty is wrong: decay makes weights smaller, this makes them grow",
         clean - EPS * sign),
        ("dJ/dw: lambda is divided by N: the penalty is added once, outside of the mean", clean + EPS * sign / n),
        ("dJ/dw: lambda is multiplied by N: the penalty is added once, outside of the mean", clean + EPS * sign * n),
        ("dJ/dw: this is adversarial training: L1 decay stands outside of the softplus", adversarial(w, b, x, y)[0]),
        ("dJ/dw: this is the slope of |w_1 + ... + w_D|: in the sum of the |w_i| each weight has its own sign",
         clean + EPS * np.sign(w.sum())),
        ("dJ/dw: this is the penalty ||w||_1 itself; its slope is sign(w)", clean + EPS * np.abs(w).sum()),
        ("dJ/dw: this is the penalty |w_i| itself; its slope is sign(w_i)", clean + EPS * np.abs(w)),
        ("dJ/dw: the cost's part is N times too large: J is a mean over the images", n * clean + EPS * sign),
        ("dJ/dw: the cost's part has the wrong sign: -sigma(-m) y x", EPS * sign - clean),
        ("dJ/dw: the slope of sigma stands where sigma itself should", EPS * sign - x.T @ (slope * y) / N),
    ])  # fmt: skip
    judge(given_b, for_b, [
        ("dJ/db: b is penalised too: ||w||_1 has no b in it", for_b + EPS * np.sign(b)),
        ("dJ/db: b is penalised too: ||w||_1 has no b in it", for_b + EPS * b),
        ("dJ/db: lambda is in it: ||w||_1 has no b in it", for_b + EPS),
        ("dJ/db is N times too large: J is a mean over the images", n * for_b),
        ("dJ/db has the wrong sign: dm/db = y, and m is subtracted", -for_b),
        ("dJ/db: this is that of adversarial training: L1 decay has the clean sigma(-m)", adversarial(w, b, x, y)[1]),
    ])  # fmt: skip


@pytest.mark.exercise("l1_gradients", points=1)
def test_at_zero_the_subgradient_is_zero(lesson):
    w, b, x, y = problem()
    w[[0, 2]] = 0.0
    with np.errstate(all="ignore"):
        given, _ = both(lesson.l1_gradients, w, b, x, y, EPS)
    assert np.isfinite(given).all(), "w / |w| is 0 / 0 where a weight is 0: np.sign(w) is 0 there"
    right = decayed(w, b, x, y)[0]
    kink = (w == 0) * EPS
    zero = "at w_i = 0 the slope 0 is wanted: `w > 0` or `w >= 0` makes it -1 or 1 there; np.sign(w) is 0"
    judge(given, right, [(zero, right + kink), (zero, right - kink)])


@pytest.mark.exercise("l1_gradients", points=1)
def test_l1_decay_stays_in_float32_and_finite(lesson):
    in_float32(lesson.l1_gradients)
    dw, db = without_overflow(lesson.l1_gradients)
    judge(dw, [0.51, -0.01])
    judge(db, 0.5)


# ---------------------------------------------------------------------------------------------------------
# added_penalty


@pytest.mark.exercise("added_penalty", points=2)
def test_what_the_attack_adds_to_each_image(lesson):
    w, b, x, y = problem()
    z, l1 = x @ w + b, np.abs(w).sum()
    m = y * z
    # by making the example: w^T sign(w) = ||w||_1 is not used
    x_adv = x - EPS * y[:, None] * np.sign(w)
    right = softplus(-y * (x_adv @ w + b)) - softplus(-m)
    judge(called(lesson.added_penalty, w, b, x, y, EPS), right, [
        ("this is the attacked cost: subtract the clean cost zeta(-m), to get what the attack ADDS",
         softplus(EPS * l1 - m)),
        ("the sign is wrong: it is the attacked cost minus the clean one", -right),
        ("this is L1 decay's penalty, the same for each image: this one is inside of the softplus",
         np.full(N, EPS * l1)),
        ("this is L1 decay's penalty, one number: this one is inside of the softplus", EPS * l1),
        ("this is the softplus of eps ||w||_1 alone: the margin m belongs in its argument", softplus(EPS * l1)),
        ("this is the softplus of eps ||w||_1 alone: the margin m belongs in its argument",
         np.full(N, softplus(EPS * l1))),
        ("the mean over the images: one penalty for each image is wanted, (N,)", right.mean()),
        ("the sum over the images: one penalty for each image is wanted, (N,)", right.sum()),
        ("the margin's sign: m is subtracted, zeta(eps ||w||_1 - m) - zeta(-m)", softplus(EPS * l1 + m) - softplus(m)),
        ("the labels y are missing: m = y (w x + b)", softplus(EPS * l1 - z) - softplus(-z)),
        ("y multiplies eps ||w||_1, as in the paper's slip: for y = -1 the attack would help",
         softplus(y * EPS * l1 - m) - softplus(-m)),
        ("the sign before eps ||w||_1 is wrong: the attack lowers the margin",
         softplus(-EPS * l1 - m) - softplus(-m)),
        ("the bias b is missing in the margin", softplus(EPS * l1 - m + y * b) - softplus(-m + y * b)),
        ("this is the Euclidean norm of w: it should be the sum of the |w_i|, the L1 norm",
         softplus(EPS * np.sqrt(w @ w) - m) - softplus(-m)),
        ("this is the sum of the w_i: the sum of their sizes |w_i| is wanted",
         softplus(EPS * w.sum() - m) - softplus(-m)),
        ("eps is missing before ||w||_1", softplus(l1 - m) - softplus(-m)),
        ("the slope sigma stands where the softplus should", sigma(EPS * l1 - m) - sigma(-m)),
        ("this is the slope at the clean image times eps ||w||_1: the softplus bends on the way, so subtract two costs",
         EPS * l1 * sigma(-m)),
        ("this is the slope at the attacked image times eps ||w||_1: the softplus bends on the way, so subtract two "
         "costs", EPS * l1 * sigma(EPS * l1 - m)),
    ])  # fmt: skip


@pytest.mark.exercise("added_penalty", points=2)
def test_it_fades_for_large_margins_and_is_l1_decay_for_wrong_images(lesson):
    """One weight of 2, eps = 0.5: eps ||w||_1 = 1."""
    margins = np.array([30.0, 300.0, 3000.0, -300.0, -3000.0])
    with np.errstate(all="ignore"):
        given = called(lesson.added_penalty, np.array([2.0]), 0.0, margins[:, None] / 2, np.ones(5), 0.5)
    given = np.asarray(given)
    assert given.shape == (5,), f"one penalty for each image is wanted, shape (5,); yours has {given.shape}"
    assert np.isfinite(given).all(), "overflow: e^a is infinite for large a, where np.logaddexp(0, a) is not"
    fading = np.exp(1 - margins[:2]) - np.exp(-margins[:2])
    assert np.abs(given[2]) < 1e-9, "the penalty does not fade: with a margin of 3000 nothing of it should be left"
    assert np.abs(given[3:] - 1).max() < 1e-9, "for an image that is far on the wrong side it is eps ||w||_1, here 1"
    exact = np.allclose(given[:2], fading, rtol=1e-3, atol=0)
    assert exact, "a small penalty is lost to rounding: log(1 + e^a) is 0 where e^a is tiny, np.logaddexp(0, a) is e^a"
