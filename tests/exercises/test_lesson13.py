"""The exercises of lesson 13."""

import numpy as np
import pytest

from tinyadv import models, ops, parameters
from tinyadv.attacks import input_gradient
from tinyadv.backend import generator
from tinyadv.course.judging import LEAK, called, judge, leaks, several

# ---------------------------------------------------------------------------------------------------------
# rubbish_error

P = np.array([  # sigmoids: rows need not sum to 1
    [0.9, 0.8, 0.1],  # counts once
    [0.1, 0.5, 0.2],  # exactly one half is not above it
    [0.0, 0.1, 0.3],
    [0.2, 0.7, 0.6],
    [0.1, 0.1, 0.45],
    [0.3, 0.75, 0.1],
    [0.05, 0.4, 0.02],
    [0.0, 0.0, 0.2],
    [0.1, 0.3, 0.1],
])  # fmt: skip
NAMES = "the error, the confidence on mistakes, the errors of each class"


@pytest.mark.exercise("rubbish_error", points=1)
def test_the_error_is_a_share_of_the_samples(lesson):
    error, _, _ = several(called(lesson.rubbish_error, P.copy()), NAMES)
    share = P / P.sum(axis=1, keepdims=True)
    judge(error, 3 / 9, [
        ("the error counts a sample twice if two sigmoids are above one half: each sample counts once", 5 / 9),
        ("the error is a share of all N K probabilities here: it is a share of the N samples", 5 / 27),
        ("the error counts p = 0.5 too: an error is a probability ABOVE one half", 4 / 9),
        ("the error is a count here: a share of the N samples is wanted", 3),
        ("this is the share of samples in which no class has more than one half: the error is the rest", 6 / 9),
        ("rows were divided by their sums: sigmoids are independent, and rows need not add up to 1",
         float((share.max(axis=1) > 0.5).mean())),
        ("this takes the largest p of each class, axis 0: take that of each sample, axis 1",
         float((P.max(axis=0) > 0.5).mean())),
        ("every sample is an error here, although most have no class above one half", 1.0),
    ])  # fmt: skip


@pytest.mark.exercise("rubbish_error", points=1)
def test_the_confidence_is_a_mean_over_the_errors(lesson):
    _, confidence, _ = several(called(lesson.rubbish_error, P.copy()), NAMES)
    judge(confidence, (0.9 + 0.7 + 0.75) / 3, [
        ("the confidence is a mean over all samples: only errors count", P.max(axis=1).mean()),
        ("the confidence is divided by N: divide by the number of errors", (0.9 + 0.7 + 0.75) / 9),
        ("the confidence is a mean of every p above one half: of each sample only the largest counts",
         P[P > 0.5].mean()),
        ("the confidence is the mean of all K probabilities of the errors: of each only the largest counts",
         P[P.max(axis=1) > 0.5].mean()),
        ("this is the largest p of all: the mean over the errors is wanted", 0.9),
        ("the confidence counts a p of exactly 0.5 too: an error is a probability ABOVE one half",
         (0.9 + 0.7 + 0.75 + 0.5) / 4),
    ])  # fmt: skip


@pytest.mark.exercise("rubbish_error", points=1)
def test_without_errors_the_confidence_is_no_number(lesson):
    with np.errstate(all="ignore"):
        error, confidence, by_class = several(called(lesson.rubbish_error, np.full((4, 5), 0.1)), NAMES)
    judge(error, 0.0)
    assert confidence is not None, "without errors the confidence is NaN, math.nan, not None"
    is_zero = confidence == 0
    assert not is_zero, "without errors the confidence is 0 here: it should be NaN, because there is nothing to average"
    is_nan = np.isnan(confidence)
    assert is_nan, (
        f"without errors the confidence is {confidence:.3g} here: it should be NaN, because there is nothing to average"
    )
    mistake = "samples that are no errors are counted under their largest class: count only the errors"
    judge(by_class, np.zeros(5), [(mistake, np.array([4, 0, 0, 0, 0]))])


@pytest.mark.exercise("rubbish_error", points=1)
def test_each_error_has_one_class(lesson):
    _, _, by_class = several(called(lesson.rubbish_error, P.copy()), NAMES)
    judge(by_class, np.array([1, 2, 0]), [
        ("samples that are no errors are counted under their largest class: count only the errors",
         np.bincount(P.argmax(axis=1), minlength=3)),
        ("a sample is counted under every class above one half: its class is the largest", (P > 0.5).sum(axis=0)),
        ("classes without errors are left out at the end: K numbers are wanted (minlength of np.bincount)",
         np.array([1, 2])),
        ("these are shares: counts are wanted", np.array([1, 2, 0]) / 3),
        ("these are shares: counts are wanted", np.array([1, 2, 0]) / 9),
        ("counted under the class with the smallest probability: it should be the largest", np.array([1, 0, 2])),
        ("this is the class of each error: the number of errors of each class is wanted", np.array([0, 1, 1])),
    ])  # fmt: skip
    kind = np.asarray(by_class).dtype
    assert kind.kind in "iu", f"the numbers of errors are integers, yours are {kind}: np.zeros(K, int), or np.bincount"


# ---------------------------------------------------------------------------------------------------------
# logits_on_noise


def weights(K=3, D=3):
    rng = np.random.default_rng(3)
    return rng.standard_normal((K, D)) + 0.3, rng.standard_normal(K)


PARTS = "means, standard deviations, covariances"


@pytest.mark.exercise("logits_on_noise", points=1)
def test_the_means(lesson):
    W, b = weights()
    mean, _, _ = several(called(lesson.logits_on_noise, W, b), PARTS)
    judge(mean, b, [
        ("the means are 0 here: the noise has mean 0, but b stays", np.zeros(3)),
        ("the means are those for x = 1: the noise has mean 0, so only b is left", W.sum(axis=1) + b),
        ("the means are those of the weights: the noise has mean 0, so only b is left", W.mean(axis=1)),
        ("the means are b plus the mean weight: the noise has mean 0, so only b is left", W.mean(axis=1) + b),
        ("the means have the shape (1, K): (K,) is wanted", b[None]),
    ])  # fmt: skip


@pytest.mark.exercise("logits_on_noise", points=2)
def test_the_standard_deviations(lesson):
    W, b = weights()
    _, sd, _ = several(called(lesson.logits_on_noise, W, b), PARTS)
    squares = W**2
    judge(sd, np.sqrt(squares.sum(axis=1)), [
        ("these are the variances: the standard deviation is their square root", squares.sum(axis=1)),
        ("standard deviations were added, the sum of |w|: for independent terms the VARIANCES add up",
         np.abs(W).sum(axis=1)),
        ("these are the standard deviations of columns: the weights of a class are a ROW of W",
         np.sqrt(squares.sum(axis=0))),
        ("this has a mean of squares: the variances of all D terms add up, nothing is divided by D",
         np.sqrt(squares.mean(axis=1))),
        ("this is how much the weights of a row differ: x is random, W is fixed", W.std(axis=1)),
        ("this is how much the weights of a row differ: x is random, W is fixed", W.std(axis=1, ddof=1)),
        ("this is the size of the sum of the weights: x has independent entries, not one number for all",
         np.abs(W.sum(axis=1))),
        ("b is part of the standard deviation here: b is constant and adds nothing",
         np.sqrt(squares.sum(axis=1) + b**2)),
        ("one number for all classes: each row of W has its own length", np.sqrt(squares.sum())),
    ])  # fmt: skip


@pytest.mark.exercise("logits_on_noise", points=2)
def test_the_covariances(lesson):
    W, b = weights()
    sd = np.sqrt((W**2).sum(axis=1))
    _, _, covariance = several(called(lesson.logits_on_noise, W, b), PARTS)
    judge(covariance, W @ W.T, [
        ("W^T W has the shape (D, D): the covariance of the logits is W W^T, (K, K)", W.T @ W),
        ("these are covariances of the weights, as if the weights were random: W is fixed, x is random", np.cov(W)),
        ("these are covariances of the weights, as if the weights were random: W is fixed, x is random",
         np.cov(W, bias=True)),
        ("only the variances: two logits depend on the same x, so their covariance need not be 0", np.diag(sd**2)),
        ("the covariances are divided by the standard deviations: leave them out", W @ W.T / np.outer(sd, sd)),
        ("the covariances are divided by D: they are sums over all pixels, not means", W @ W.T / 3),
        ("the means b are in it: subtract them from the logits first", W @ W.T + np.outer(b, b)),
        ("this is the product entry by entry, `W * W.T`: a product of matrices is wanted, W @ W.T", W * W.T),
        ("these are the products of the standard deviations: that would hold only if all logits moved together",
         np.outer(sd, sd)),
    ])  # fmt: skip


@pytest.mark.exercise("logits_on_noise", points=1)
def test_other_shapes(lesson):
    W, b = weights(2, 5)
    mean, sd, covariance = several(called(lesson.logits_on_noise, W, b), PARTS)
    for name, given, shape in (
        ("means", mean, (2,)),
        ("standard deviations", sd, (2,)),
        ("covariances", covariance, (2, 2)),
    ):
        assert np.shape(given) == shape, f"the {name} of 2 classes have the shape {shape}, yours {np.shape(given)}"
    mean, sd, covariance = map(np.asarray, (mean, sd, covariance))
    judge(sd**2, np.diag(covariance))
    judge(covariance, W @ W.T)


# ---------------------------------------------------------------------------------------------------------
# fooling_step

EPS, D, K = 0.2, 6, 4


def network(dtype="float64", zero=False):
    """Softmax regression with random weights, and samples of noise."""
    model = models.softmax_regression(inputs=D, classes=K, rng=generator(1)).to(dtype=dtype)
    rng = np.random.default_rng(5)
    for p in parameters(model):
        p.data = (rng.standard_normal(p.shape) * (not zero)).astype(dtype)
    return model, rng.standard_normal((5, D)).astype(dtype)


def stepped(lesson, model, x, k, sign):
    """What the student's step adds to x; nothing else may have changed."""
    with np.errstate(all="ignore"):
        given = called(lesson.fooling_step, model, x, k, EPS, sign=sign)
    assert np.shape(given) == x.shape, f"x has the shape {x.shape}, your result {np.shape(given)}"
    return np.asarray(given) - x


def gradients(model, x):
    """grad_x J for each class as the label, and for the network's own answers."""
    own = model(x).argmax(axis=1)
    return [input_gradient(model, x, np.full(len(x), k)) for k in range(K)], input_gradient(model, x, own)


@pytest.mark.exercise("fooling_step", points=2)
def test_the_sign_of_the_step(lesson):
    model, x = network()
    (g0, g1, g2, g3), own = gradients(model, x)
    p = ops.softmax(model(x))[:, 2:3]
    judge(stepped(lesson, model, x, 2, True), -EPS * np.sign(g2), [
        ("the sign is wrong: x + eps sign(g) raises the cost of class k, but it should fall: minus", EPS * np.sign(g2)),
        ("this moves away from the network's own answer: the label is the wanted class k", EPS * np.sign(own)),
        ("this moves towards the network's own answer: the label is the wanted class k", -EPS * np.sign(own)),
        ("label off by one: classes count from 0", -EPS * np.sign(g1)),
        ("label off by one: classes count from 0", -EPS * np.sign(g3)),
        ("this always moves towards class 0: the label is k for every sample", -EPS * np.sign(g0)),
        ("the sign is missing: with sign=True each pixel moves by eps", -EPS * g2),
        ("the sign is missing: with sign=True each pixel moves by eps", EPS * p * -g2),
        ("the size eps is missing: each pixel moves by 1", -np.sign(g2)),
        ("the two are swapped: sign=True is the sign, sign=False the gradient", along(-g2)),
        ("this is the change alone: return x plus the change", -EPS * np.sign(g2) - x),
        ("the sign is multiplied by sqrt(D): that factor is for the gradient itself", -EPS * D**0.5 * np.sign(g2)),
    ])  # fmt: skip


def along(g, length=EPS * D**0.5):
    return length * g / np.sqrt((g**2).sum(axis=1, keepdims=True))


@pytest.mark.exercise("fooling_step", points=2)
def test_along_the_gradient_as_far_as_its_sign(lesson):
    model, x = network()
    (_, g, _, _), own = gradients(model, x)
    judge(stepped(lesson, model, x, 1, False), along(-g), [
        ("the sign is wrong: along +g the cost of class k rises, but it should fall: minus", along(g)),
        ("the factor sqrt(D) is missing: D entries of size eps have the length eps sqrt(D)", along(-g, EPS)),
        ("the factor is D: D entries of size eps have the length eps sqrt(D)", along(-g, EPS * D)),
        ("the gradient was not divided by its length", -EPS * g),
        ("the gradient was not divided by its length", -EPS * D**0.5 * g),
        ("one length for the whole batch: each sample's gradient has its own (axis=1)",
         -EPS * D**0.5 * g / np.sqrt((g**2).sum())),
        ("divided by the SQUARE of the length", -EPS * D**0.5 * g / (g**2).sum(axis=1, keepdims=True)),
        ("divided by the sum of |g|: the length is the root of the sum of squares",
         -EPS * D**0.5 * g / np.abs(g).sum(axis=1, keepdims=True)),
        ("divided by the largest entry: the length is the root of the sum of squares",
         -EPS * g / np.abs(g).max(axis=1, keepdims=True)),
        ("divided by the largest entry: the length is the root of the sum of squares",
         -EPS * D**0.5 * g / np.abs(g).max(axis=1, keepdims=True)),
        ("sqrt(N) in place of sqrt(D): D is the number of entries of one sample, x.shape[1]", along(-g, EPS * 5**0.5)),
        ("this is the sign: with sign=False the step follows the gradient itself", -EPS * np.sign(g)),
        ("the label is the network's own answer: it is the wanted class k", along(-own)),
    ])  # fmt: skip


@pytest.mark.exercise("fooling_step", points=1)
def test_without_a_gradient_nothing_moves_and_float32_stays(lesson):
    for sign in (True, False):
        model, x = network(zero=True)
        move = stepped(lesson, model, x, 3, sign)
        assert np.isfinite(move).all(), "a gradient of 0 gave 0/0: its length is 0, and its sample should not move"
        assert np.abs(move).max() < 1e-12, "a sample without gradient moved: the sign of 0 is 0"
        model, x = network("float32")
        given = called(lesson.fooling_step, model, x, 3, EPS, sign=sign)
        assert not leaks(given), f"{LEAK} (a factor np.sqrt(D) makes x float64; math.sqrt(D) does not)"
