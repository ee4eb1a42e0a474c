"""The exercises of lesson 12."""

import numpy as np
import pytest

from tinyadv import Tensor, attacks, grad, losses, models, ops, parameters
from tinyadv.backend import generator
from tinyadv.course.judging import LEAK, as_array, called, judge, leaks

EPS = 0.1


def logits(M=4, N=4, K=4, size=1.0):
    """Logits `(M, N, K)`, as many of each, so that a wrong axis gives numbers; labels, one-hot targets."""
    z, y = np.random.default_rng(M).standard_normal((M, N, K)) * size, np.arange(1, N + 1) % K
    return z, y, np.eye(K)[y]


def over(z, axis):
    """A softmax over some axis, or over all entries (None)."""
    e = np.exp(z - z.max())
    return e / e.sum(axis=axis, keepdims=True)


def engine(z, y, J):
    """dJ/dz by the engine, of each image's own cost."""
    Z = [Tensor(part) for part in z]
    return np.stack(grad(J(Z), Z, cotangent=float(len(y))))


# ---------------------------------------------------------------------------------------------------------
# by_probability


def mean_probability(y, t):
    def J(Z):
        p = sum(ops.softmax(part) for part in Z) * (1 / len(Z))
        return -(ops.log((p * t).sum(axis=1))).mean()

    return J


@pytest.mark.exercise("by_probability", points=2)
def test_the_gradient_of_the_mean_probability(lesson):
    z, y, t = logits()
    p, right = ops.softmax(z), engine(z, y, mean_probability(y, t))
    of_label = (p * t).sum(axis=2)
    r, M = of_label / of_label.sum(axis=0), len(z)
    judge(called(lesson.by_probability, z, y), right, [
        ("r_m is missing: this is the gradient of the summed losses", p - t),
        ("1/M where r_m should stand: members that still believe in the label weigh more", (p - t) / M),
        ("divided by M once more: r_m sums to 1 over the members already", right / M),
        ("M times too large: r_m is p_my over the SUM of the members' p_my, not over their mean", right * M),
        ("the sign is wrong: p - t, since J rises as the label's logit falls", -right),
        ("divided by N: it is each image's own cost", right / 4),
        ("r_m is p_my itself: divide by its sum over the members", of_label[:, :, None] * (p - t)),
        ("here r_m sums to 1 over the images: it should sum to 1 over the members",
         (of_label / of_label.sum(axis=1, keepdims=True))[:, :, None] * (p - t)),
        ("r_m is upside down: members that believe in the label weigh more, not less",
         (1 / of_label / (1 / of_label).sum(axis=0))[:, :, None] * (p - t)),
        ("the mean probability stands where each member's own p_m should", r[:, :, None] * (p.mean(axis=0) - t)),
        ("this is the gradient of the mean probability itself: J is minus its logarithm, which has the slope -1/p",
         of_label[:, :, None] * (t - p) / M),
        ("this is the gradient of minus the mean probability: J is minus its logarithm, which has the slope -1/p",
         of_label[:, :, None] * (p - t) / M),
        ("this is (p - t) / M with the mean probability: each member has its own p_m, weighted by r_m",
         np.stack([(p.mean(axis=0) - t) / M] * M)),
        ("softmax over the wrong axis: classes are the last one", _weighted(over(z, 0), t)),
        ("softmax over the wrong axis: classes are the last one", _weighted(over(z, 1), t)),
        ("label off by one: labels count from 0", _weighted(p, np.roll(t, 1, axis=1))),
        ("label off by one: labels count from 0", _weighted(p, np.roll(t, -1, axis=1))),
        ("the label's entry alone: the other classes' logits have a part in p_my too", right * t),
    ])  # fmt: skip
    z, y, t = logits(3, 5, 4)
    judge(called(lesson.by_probability, z, y), engine(z, y, mean_probability(y, t)))


def _weighted(p, t):
    of_label = (p * t).sum(axis=2)
    return (of_label / of_label.sum(axis=0))[:, :, None] * (p - t)


@pytest.mark.exercise("by_probability", points=1)
def test_where_all_members_are_fooled(lesson):
    z, y = np.zeros((2, 1, 3), "float32"), np.array([0])
    z[0, 0], z[1, 0] = [-900, 0, 1], [-901, 2, 0]
    with np.errstate(all="ignore"):
        given = as_array(called(lesson.by_probability, z, y))
    assert np.isfinite(given).all(), "0/0: all p_my are rounded to 0; r_m is a softmax over the members of log p_my"
    assert np.abs(given).max() > 0.1, (
        "all results are 0, since all p_my are rounded to 0: but the member that is fooled least should weigh most; "
        "r_m is a softmax over the members of log p_my"
    )
    log_p = ops.log_softmax(z.astype("float64"))
    right = over(log_p[:, 0, 0], 0)[:, None, None] * (np.exp(log_p) - np.eye(3)[y])
    assert np.allclose(given, right, atol=1e-3), "wrong where p_my is tiny: take r_m from log p_my"
    assert not leaks(given), LEAK
    with np.errstate(all="ignore"):
        moved = as_array(called(lesson.by_probability, z + np.array([[[1000]], [[-1000]]], "float32"), y))
    assert np.allclose(moved, right, atol=1e-3), (
        "overflow: e^1000 is infinite, and e^-1000 is rounded to 0; subtract each row's own maximum first, as "
        "ops.log_softmax does"
    )


# ---------------------------------------------------------------------------------------------------------
# by_logit


@pytest.mark.exercise("by_logit", points=1)
def test_the_gradient_of_the_mean_logit(lesson):
    z, y, t = logits()
    right = engine(z, y, lambda Z: losses.softmax_cross_entropy(sum(Z) * (1 / len(Z)), y))
    p, q, M = ops.softmax(z), ops.softmax(z.mean(axis=0)), len(z)
    judge(called(lesson.by_logit, z, y), right, [
        ("1/M is missing: each z_m is in the mean with a factor of 1/M", M * right),
        ("each member's own softmax: q is that of the mean logits", (p - t) / M),
        ("each member's own softmax, and without 1/M: this is the gradient of the summed losses", p - t),
        ("this has the mean of the probabilities: q is the softmax of the mean logits",
         np.stack([(p.mean(axis=0) - t) / M] * M)),
        ("this has the softmax of the SUM of the logits: q is that of their mean",
         np.stack([(ops.softmax(z.sum(axis=0)) - t) / M] * M)),
        ("the sign is wrong: q - t", -right),
        ("divided by N: it is each image's own cost", right / 4),
        ("one gradient (N, K): every member has its own, so (M, N, K), all alike", right[0]),
        ("one gradient (N, K): every member has its own, so (M, N, K), all alike, with 1/M", M * right[0]),
        ("this is a mean over the images: it should be over the members, axis 0",
         np.stack([(ops.softmax(z.mean(axis=1)) - t) / M] * M)),
        ("softmax over the wrong axis: classes are the last one", np.stack([(over(z.mean(axis=0), 0) - t) / M] * M)),
        ("label off by one: labels count from 0", np.stack([(q - np.roll(t, 1, axis=1)) / M] * M)),
        ("label off by one: labels count from 0", np.stack([(q - np.roll(t, -1, axis=1)) / M] * M)),
    ])  # fmt: skip
    z, y, t = logits(3, 5, 4)  # as many members as images and as classes hide what is divided by
    M, N, K = z.shape
    right = engine(z, y, lambda Z: losses.softmax_cross_entropy(sum(Z) * (1 / len(Z)), y))
    judge(called(lesson.by_logit, z, y), right, [
        ("divided by N, where M is wanted: each z_m is in the mean with a factor of 1/M", right * M / N),
        ("divided by K, where M is wanted: each z_m is in the mean with a factor of 1/M", right * M / K),
        ("there are N gradients here, where one for each of M members is wanted", np.stack([right[0] * M / N] * N)),
        ("there are N gradients here, where one for each of M members is wanted", np.stack([right[0]] * N)),
    ])  # fmt: skip


@pytest.mark.exercise("by_logit", points=1)
def test_large_logits_and_float32(lesson):
    z, y, t = logits(3, 5, 4, size=1000.0)
    with np.errstate(all="ignore"):
        given = as_array(called(lesson.by_logit, z.astype("float32"), y))
    assert np.isfinite(given).all(), (
        "overflow: e^1000 is infinite, and e^-1000 is rounded to 0; subtract each row's own maximum first, as "
        "ops.softmax does"
    )
    assert np.allclose(given, (ops.softmax(z.mean(axis=0)) - t) / 3, atol=1e-3), "wrong for logits of 1000"
    assert not leaks(given), LEAK


# ---------------------------------------------------------------------------------------------------------
# shared


def gradients(M=3, N=5, D=4):
    rng = np.random.default_rng(M)
    return (rng.standard_normal((N, D)) + rng.standard_normal((M, N, D))) * rng.uniform(0.1, 5, (M, N, 1))


def products(u):
    return np.einsum("ind,jnd->ijn", u, u)


@pytest.mark.exercise("shared", points=2)
def test_the_mean_cosine_of_different_members(lesson):
    g = gradients()
    u, M = g / np.sqrt((g * g).sum(axis=2, keepdims=True)), len(g)
    c, apart = products(u), ~np.eye(M, dtype=bool)
    right = c[apart].mean(axis=0)
    judge(called(lesson.shared, g), right, [
        ("each member with itself is counted too, with the cosine 1: only pairs of different members are wanted",
         c.mean(axis=(0, 1))),
        ("the gradients are not divided by their lengths", products(g)[apart].mean(axis=0)),
        ("this is a sum over the pairs: their mean is wanted, so divide by M(M - 1)", c[apart].sum(axis=0)),
        ("divided by M^2: there are M(M - 1) pairs of different members", c[apart].sum(axis=0) / M**2),
        ("half of the right value: there are M(M - 1)/2 pairs with i < j, but M(M - 1) with i different from j",
         right / 2),
        ("twice the right value: there are M(M - 1)/2 pairs with i < j, but M(M - 1) with i different from j",
         right * 2),
        ("this is the mean of the cosines' sizes: keep their signs", abs(c[apart]).mean(axis=0)),
        ("this is a mean over the images too: one number for each image is wanted, (N,)", right.mean()),
        ("the first member with the others alone: all pairs are wanted", c[0, 1:].mean(axis=0)),
        ("only neighbours i, i + 1: all pairs are wanted", np.mean([c[i, i + 1] for i in range(M - 1)], axis=0)),
        ("this is the squared length of the mean of the u_m, which is rho + (1 - rho)/M: solve that for rho",
         (u.mean(axis=0) ** 2).sum(axis=1)),
        ("images stand where members should: g is (M, N, D)",
         _apart(products(u.swapaxes(0, 1)))),
    ])  # fmt: skip


def _apart(c):
    return c[~np.eye(len(c), dtype=bool)].mean(axis=0)


@pytest.mark.exercise("shared", points=1)
def test_rows_of_zeros_tiny_rows_and_float32(lesson):
    g = gradients()
    g[1, 2] = 0
    u = attacks.unit(g)[0]
    right = _apart(products(u))
    with np.errstate(all="ignore"):
        given = np.asarray(called(lesson.shared, g))
    assert not np.isnan(given).any(), "a gradient of 0 gave 0/0: it has no direction, and the cosine 0 with all others"
    judge(given, right, [
        ("M was subtracted, as if each member had the length 1: a row of zeros has the length 0, so subtract the sum "
         "of the squares that are there", ((u.sum(axis=0) ** 2).sum(axis=1) - 3) / 6),
        ("a row of zeros was left out of the mean: its cosines are 0, and they count",
         np.where(np.arange(5) == 2, 3 * right, right)),
    ])  # fmt: skip
    with np.errstate(all="ignore"):
        tiny = as_array(called(lesson.shared, (1e-30 * g).astype("float32")))
    assert np.allclose(tiny, right, atol=1e-4), "squares of tiny entries are rounded to 0: `attacks.unit` avoids that"
    sizes = 10.0 ** np.array([[0, -30, -15, 0, -30], [-30, 0, 0, -6, -30], [0, -15, 0, -30, -30]])[:, :, None]
    with np.errstate(all="ignore"):
        mixed = as_array(called(lesson.shared, (sizes * g).astype("float32")))
    assert np.allclose(mixed, right, atol=1e-4), (
        "rows of very different size: one maximum for all of them does not help the small ones; `attacks.unit` takes "
        "each row's own"
    )
    assert not leaks(tiny), LEAK


# ---------------------------------------------------------------------------------------------------------
# error_made_on


def ensemble(M=4, inputs=6, n=2000):
    """Members of quite different sureness, so that their mean probability, mean logit and votes differ."""
    members, rng = [], np.random.default_rng(M)
    common = rng.standard_normal((10, inputs))
    for k in range(M):
        model = models.softmax_regression(inputs=inputs, rng=generator(k)).to(dtype="float64")
        W, b = parameters(model)
        W.data, b.data = (3 * k + 0.5) * (common + rng.standard_normal((10, inputs))), rng.standard_normal(10)
        members.append(model)
    x = rng.random((n, inputs))
    return members, x, (x @ common.T).argmax(axis=1)


@pytest.mark.exercise("error_made_on", points=2)
@pytest.mark.parametrize("which", [2, 1])
def test_the_error_of_the_whole_ensemble(lesson, which):
    members, x, y = ensemble()
    made = [attacks.fgsm(m, x, y, EPS) for m in members]

    def said(images):
        return np.stack([ops.softmax(m(images)) for m in members])

    def error(p):
        return float(np.mean(p.argmax(axis=1) != y))

    z = np.stack([m(made[which]) for m in members])
    votes = np.eye(10)[z.argmax(axis=2)].sum(axis=0)
    own = [float(np.mean(m(e).argmax(axis=1) != y)) for m, e in zip(members, made, strict=True)]
    singles = [float(np.mean(m(made[which]).argmax(axis=1) != y)) for m in members]
    fooled = np.mean([attacks.input_gradient(m, x, y) for m in members], axis=0)
    right = error(said(made[which]).mean(axis=0))
    given = called(lesson.error_made_on, members, which, x, y, EPS)
    judge(given, right, [
        ("this is the error of the member itself: show the examples to the whole ensemble", own[which]),
        ("the mean of the members' errors: the ensemble answers once, by its mean probability", np.mean(singles)),
        ("the mean of the members' errors, each on its own examples: one member's are shown to all", np.mean(own)),
        ("the ensemble answers by the mean logit here: it should answer by the mean probability",
         error(z.mean(axis=0))),
        ("the ensemble answers by a vote here: it should answer by the mean probability", error(votes)),
        ("this is the share that is right: the error is wanted", 1 - right),
        ("the examples are made on the first member, whichever was asked for", error(said(made[0]).mean(axis=0))),
        ("the examples are made on another member: `which` counts from 0", error(said(made[which - 1]).mean(axis=0))),
        ("the examples are made on another member: `which` counts from 0", error(said(made[which + 1]).mean(axis=0))),
        ("the clean images were shown: make FGSM examples first", error(said(x).mean(axis=0))),
        ("the examples are made on the whole ensemble: make them on one member alone",
         error(said(x + EPS * np.sign(fooled)).mean(axis=0))),
        ("the member that the examples were made on is left out: it belongs to the ensemble too",
         error(said(made[which])[[k for k in range(4) if k != which]].mean(axis=0))),
        ("clipped to [0, 1]: the paper's examples are not clipped", error(said(made[which].clip(0, 1)).mean(axis=0))),
        ("a count, where a share is wanted", right * len(y)),
        ("a percentage, where a share from 0 to 1 is wanted", 100 * right),
    ])  # fmt: skip


# ---------------------------------------------------------------------------------------------------------
# infer


def machine(D=6, n1=5, n2=4, K=3):
    """Weights and biases of a small Boltzmann machine whose rounds differ, and images."""
    rng = np.random.default_rng(D)
    shapes = ((n1, D), (n2, n1), (K, n2), (n1,), (n2,), (K,))
    return rng.random((4, D)), [1.5 * rng.standard_normal(shape) for shape in shapes]


def rounds_of(
    v, W1, W2, W3, b1, b2, b3, rounds, *,
    first1=2, first2=2, later=1, back=True, said="softmax", bias1=1, first=True, old=False,
):  # fmt: skip
    """Mean field, with one thing changed that students get wrong."""
    answers = {
        "softmax": ops.softmax,
        "sigmoid": ops.sigmoid,
        "nothing": lambda z: 0 * z,
        "logits": lambda z: z,
        "images": lambda z: over(z, 0),
    }
    h1 = ops.sigmoid(first1 * (v @ W1.T) + bias1 * b1)
    h2 = ops.sigmoid(first2 * (h1 @ W2.T) + bias1 * b2)
    for _ in range(rounds - 1):
        above = h2 @ W2 if back else 0
        before = h1
        h1 = ops.sigmoid(later * (v @ W1.T) + above + b1) if first else h1
        z = h2 @ W3.T + b3
        h2 = ops.sigmoid(later * ((before if old else h1) @ W2.T) + answers[said](z) @ W3 + b2)
        h1 = h1 if first else ops.sigmoid(v @ W1.T + h2 @ W2 + b1)
    return z


@pytest.mark.exercise("infer", points=2)
@pytest.mark.parametrize("rounds", [2, 4])
def test_the_label_after_some_rounds(lesson, rounds):
    v, weights = machine()
    right = rounds_of(v, *weights, rounds)
    given = called(lesson.infer, v, *weights, rounds)
    assert not isinstance(given, Tensor), "an array goes in, so an array is wanted: use the functions of `ops`"
    judge(given, right, [
        ("one round too many: round 1 is the pass upwards, and a round computes z from the h2 of the round before",
         rounds_of(v, *weights, rounds + 1)),
        ("one round too few: round 1 is the pass upwards, then come rounds - 1 more",
         rounds_of(v, *weights, max(2, rounds - 1))),
        ("in round 1 what comes from below should count twice, for h1 and for h2",
         rounds_of(v, *weights, rounds, first1=1, first2=1)),
        ("in round 1 what comes from below should count twice: for h1 it does not here",
         rounds_of(v, *weights, rounds, first1=1)),
        ("in round 1 what comes from below should count twice: for h2 it does not here",
         rounds_of(v, *weights, rounds, first2=1)),
        ("what comes from below should count twice in round 1 alone: later there is something above",
         rounds_of(v, *weights, rounds, later=2)),
        ("the biases count once in round 1 too: only what comes from below counts twice",
         rounds_of(v, *weights, rounds, bias1=2)),
        ("h1 is updated last: a round computes h1 and z from the old h2, and then h2 from both",
         rounds_of(v, *weights, rounds, first=False)),
        ("h2 is computed from the h1 of the round before: a round computes h1 first, and then h2 from the new h1",
         rounds_of(v, *weights, rounds, old=True)),
        ("h1 depends only on the pixels here: W2^T h2 is missing", rounds_of(v, *weights, rounds, back=False)),
        ("h2 does not depend on the label here: W3^T softmax(z) is missing",
         rounds_of(v, *weights, rounds, said="nothing")),
        ("the label is one of K classes: use softmax(z), not a sigmoid of each entry",
         rounds_of(v, *weights, rounds, said="sigmoid")),
        ("h2 needs the label's probabilities, softmax(z), not the logits z",
         rounds_of(v, *weights, rounds, said="logits")),
        ("the softmax runs over the classes of an image, not over the images",
         rounds_of(v, *weights, rounds, said="images")),
        ("these are the probabilities: the logits z are wanted, before their softmax", ops.softmax(right)),
        ("b3 is missing: z = W3 h2 + b3", right - weights[5]),
    ])  # fmt: skip


@pytest.mark.exercise("infer", points=1)
def test_a_gradient_goes_through_all_rounds(lesson):
    v, weights = machine()
    V = Tensor(v)
    z = called(lesson.infer, V, *weights, 4)
    assert isinstance(z, Tensor), (
        "a Tensor goes in, so a Tensor is wanted that remembers all rounds: use `@`, `.T`, `ops.sigmoid`, `ops.softmax`"
    )
    (given,) = grad((z * z).sum(), [V])
    X = Tensor(v)
    (right,) = grad((rounds_of(X, *weights, 4) ** 2).sum(), [X])
    assert given.shape == v.shape, f"the gradient for the images has the shape {given.shape}, wanted {v.shape}"
    judge(given, right, [("the gradient is 0: somewhere the rounds go on with a plain array", 0 * right)])


# ---------------------------------------------------------------------------------------------------------
# prediction_cost


def predictions(N=5, D=4, K=3, size=1.0):
    """Logits of pixels and labels, what is true, and what was hidden: other numbers of pixels in each image."""
    rng = np.random.default_rng(N)
    z_v, z_y = size * rng.standard_normal((N, D)), size * rng.standard_normal((N, K))
    V, Y = rng.integers(0, 2, (N, D)).astype(float), np.eye(K)[rng.integers(0, K, N)]
    M = rng.integers(0, 2, (N, D)).astype(float)
    return z_v, z_y, V, Y, M, np.array([1.0, 0, 0, 1, 1])


@pytest.mark.exercise("prediction_cost", points=2)
def test_the_cost_of_what_was_hidden(lesson):
    z_v, z_y, V, Y, M, m = predictions()
    N, D = V.shape
    of_pixels, of_labels = np.logaddexp(0, (1 - 2 * V) * z_v), -(Y * ops.log_softmax(z_y)).sum(axis=1)
    pixels, labels = (M * of_pixels).sum(), (m * of_labels).sum()
    right = (pixels + labels) / (N * D)
    given = called(lesson.prediction_cost, z_v, z_y, V, Y, M, m)
    assert np.size(given) == 1, f"one number is wanted, your result has the shape {np.shape(given)}"
    judge(float(np.asarray(given).reshape(())), right, [
        ("what was shown is counted, instead of what was hidden: M and m are 1 where something was hidden",
         (((1 - M) * of_pixels).sum() + ((1 - m) * of_labels).sum()) / (N * D)),
        ("everything is counted: multiply by the masks", (of_pixels.sum() + of_labels.sum()) / (N * D)),
        ("the masks of the pixels are missing", (of_pixels.sum() + labels) / (N * D)),
        ("the mask of the labels is missing", (pixels + of_labels.sum()) / (N * D)),
        ("divided by how much was hidden: the formula divides by N D", pixels / M.sum() + labels / m.sum()),
        ("divided by how much was hidden: the formula divides by N D", (pixels + labels) / (M.sum() + m.sum())),
        ("divided by how much was hidden: the formula divides by N D", pixels / M.sum() + labels / m.sum() / D),
        ("the labels are divided by N alone: a label weighs as much as a pixel, 1/(N D)",
         pixels / (N * D) + labels / N),
        ("divided by N alone: the factor is 1/(N D)", (pixels + labels) / N),
        ("this is a sum: divide it by N D", pixels + labels),
        ("black and white are exchanged: for a white pixel -log p is zeta(-z)",
         ((M * np.logaddexp(0, (2 * V - 1) * z_v)).sum() + labels) / (N * D)),
        ("a hidden black pixel costs something too: its cost zeta(z) is missing",
         ((M * V * of_pixels).sum() + labels) / (N * D)),
        ("the labels' cost is missing", pixels / (N * D)),
        ("the pixels' cost is missing", labels / (N * D)),
        ("each label's cost was multiplied by the masks of all images: m and the labels' costs have the shape (N,)",
         (pixels + m.sum() * of_labels.sum()) / (N * D)),
        ("the sign is wrong: minus the logarithm of a probability is positive", -right),
    ])  # fmt: skip


@pytest.mark.exercise("prediction_cost", points=1)
def test_the_cost_is_finite_for_logits_of_any_size(lesson):
    arguments = [a.astype("float32") for a in predictions(size=1000.0)]
    with np.errstate(all="ignore"):
        given = float(np.asarray(called(lesson.prediction_cost, *arguments)).reshape(()))
    z_v, z_y, V, Y, M, m = (a.astype("float64") for a in arguments)
    right = ((M * np.logaddexp(0, (1 - 2 * V) * z_v)).sum() - (m[:, None] * Y * ops.log_softmax(z_y)).sum()) / V.size
    assert np.isfinite(given), (
        "logits of 1000: e^1000 is infinite, and so is the logarithm of a p that was rounded to 0; np.logaddexp and "
        "ops.log_softmax avoid both"
    )
    assert np.allclose(given, right, rtol=1e-4), (
        "logits of 1000: probabilities are rounded to 0 or 1 before the logarithm"
    )
