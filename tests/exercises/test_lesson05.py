"""The exercises of lesson 5."""

import numpy as np
import pytest

from tinyadv import Tensor, grad, losses, ops
from tinyadv.course.judging import LEAK, called, close, judge, leaks, several
from tinyadv.optim import project_rows

# ---------------------------------------------------------------------------------------------------------
# softmax_cross_entropy


def logits(n=4, k=3):
    z, y = np.random.default_rng(n).standard_normal((n, k)), np.arange(n) % k
    Z = Tensor(z)
    J = losses.softmax_cross_entropy(Z, y)
    return z, y, J.item(), grad(J, [Z])[0]


def with_axis(z, y, axis):
    """J and (p - t) / N with the softmax over an axis, or over all entries (None)."""
    p, t = np.exp(z) / np.exp(z).sum(axis=axis, keepdims=True), np.eye(z.shape[1])[y]
    return -np.log((p * t).sum(axis=1)).mean(), (p - t) / len(z)


@pytest.mark.exercise("softmax_cross_entropy", points=1)
def test_the_cost(lesson):
    z, y, J, _ = logits()
    N, p = len(z), ops.softmax(z)
    given, _ = several(called(lesson.softmax_cross_entropy, z, y), "J, dJ/dz")
    judge(given, J, [
        ("J is a sum over the examples here: it is their mean, 1/N", N * J),
        ("J is divided by the number of classes: the mean is over the N examples", N * J / z.shape[1]),
        ("J is the mean over all N K entries: for each example one entry counts, that of its label", J / z.shape[1]),
        ("softmax over the wrong axis: its sum runs over the classes of one example, axis 1", with_axis(z, y, 0)[0]),
        ("the maximum of each column was subtracted, which changes the softmax: each row has its own, axis 1",
         with_axis(z - z.max(axis=0), y, 1)[0]),
        ("softmax over all entries: its sum runs over the classes of one example, axis 1", with_axis(z, y, None)[0]),
        ("label off by one: labels count from 0, as columns do", losses.softmax_cross_entropy(z, y - 1 + 3 * (y == 0))),
        ("label off by one: labels count from 0, as columns do", losses.softmax_cross_entropy(z, (y + 1) % 3)),
        ("J has the wrong sign: it is MINUS log p", -J),
        ("the logarithm is missing: J is -log p, not -p", -p[np.arange(N), y].mean()),
        ("one cost for each example: J is one number, their mean", -np.log(p[np.arange(N), y])),
        ("log_p[:, y] takes the labels of all examples from every row: each row has its own label, log_p[arange(N), y]",
         -np.log(p)[:, y].mean()),
    ])  # fmt: skip


@pytest.mark.exercise("softmax_cross_entropy", points=2)
def test_the_gradient_of_the_logits(lesson):
    z, y, _, right = logits()
    N, t = len(z), np.eye(3)[y]
    _, given = several(called(lesson.softmax_cross_entropy, z, y), "J, dJ/dz")
    judge(given, right, [
        ("dJ/dz is N times too large: J is a mean over the batch, so the factor 1/N is in its gradient", N * right),
        ("dJ/dz: the sign is wrong: p - t, so that going downhill raises the label's logit", -right),
        ("dJ/dz: the sign is wrong, and the 1/N of the mean is missing", -N * right),
        ("dJ/dz: divided by the number of classes: J is a mean over the N examples", N * right / 3),
        ("dJ/dz: softmax over the wrong axis: each row for itself, axis 1", with_axis(z, y, 0)[1]),
        ("dJ/dz: softmax over all entries: each row for itself, axis 1", with_axis(z, y, None)[1]),
        ("dJ/dz: t is missing: this is p / N", ops.softmax(z) / N),
        ("dJ/dz: label off by one: labels count from 0", (ops.softmax(z) - np.roll(t, 1, axis=1)) / N),
        ("dJ/dz: label off by one: labels count from 0", (ops.softmax(z) - np.roll(t, -1, axis=1)) / N),
        ("dJ/dz: z itself stands where its softmax should", (z - t) / N),
    ])  # fmt: skip


@pytest.mark.exercise("softmax_cross_entropy", points=1)
def test_large_logits_float32_and_the_callers_array(lesson):
    z, y = np.array([[1000.0, -1000.0, 0.0], [0.0, 50.0, 1000.0]], "float32"), np.array([0, 1])
    with np.errstate(all="ignore"):
        J, g = called(lesson.softmax_cross_entropy, z, y)
    finite = np.isfinite(J) and np.isfinite(g).all()
    assert finite, (
        "overflow: e^1000 is infinite, and so is the log of a p that was rounded to 0; subtract each row's maximum "
        "first, and compute log p as z - log sum e^z"
    )
    judge(J, 475.0, [("J is cut off: log p is a number also where p is rounded to 0; it is z - log sum e^z", J)])
    rows = np.array([[1000.0, 999.0, 0.0], [1.0, 0.0, -1.0]], "float32")  # of very different size
    with np.errstate(all="ignore"):
        J_rows, g_rows = called(lesson.softmax_cross_entropy, rows, y)
    right = losses.softmax_cross_entropy(rows.astype("float64"), y)
    # at logits of 1000 a float32 is right to 1e-5 at best; the mistake gives infinity
    same = np.isfinite(g_rows).all() and np.isclose(J_rows, right, rtol=1e-3)
    assert same, (
        "rows of very different size: one maximum for the whole batch rounds the small rows to 0; each has its own, "
        "z.max(axis=1, keepdims=True)"
    )
    assert not leaks(g), LEAK


# ---------------------------------------------------------------------------------------------------------
# linear_backward


@pytest.mark.exercise("linear_backward", points=2)
def test_the_three_gradients(lesson):
    g, x, W = np.random.default_rng(1).standard_normal((3, 4, 4))  # square: a missing .T gives numbers, not an error
    X, V, B = Tensor(x), Tensor(W), Tensor(np.zeros(4))
    dx, dW, db = grad(ops.linear(X, V, B), [X, V, B], cotangent=g)
    for_x, for_W, for_b = several(called(lesson.linear_backward, g, x, W), "dJ/dx, dJ/dW, dJ/db")
    swapped = close(for_x, dW) and close(for_W, dx)
    assert not swapped, "dJ/dx and dJ/dW are swapped: first the input's, then the weights'"
    judge(for_x, dx, [
        ("dJ/dx: W is transposed: forward it is x W^T, so backward g W", g @ W.T),
        ("dJ/dx: the factors are in the wrong order: g (N, U) times W (U, D)", W @ g),
        ("dJ/dx: the factors are in the wrong order: g (N, U) times W (U, D)", W.T @ g),
        ("dJ/dx is divided by N: the 1/N of the mean is in g already", dx / 4),
    ])  # fmt: skip
    judge(for_W, dW, [
        ("dJ/dW is transposed: it has the shape of W (U, D), a unit's weights in a row", dW.T),
        ("dJ/dW: the sum has to run over the N examples: g^T x", g @ x),
        ("dJ/dW: the sum has to run over the N examples: g^T x", g @ x.T),
        ("dJ/dW is divided by N: the 1/N of the mean is in g already", dW / 4),
    ])  # fmt: skip
    judge(for_b, db, [
        ("dJ/db: summed over the units: b has one number for each unit, used by all N examples: axis 0", g.sum(axis=1)),
        ("dJ/db: a mean over the examples: the 1/N of the mean is in g already, so this is a sum", g.mean(axis=0)),
        ("dJ/db: one for each example: b was repeated for N rows, so they are summed", g),
        ("dJ/db: everything was summed: b has one number for each unit", g.sum()),
        ("dJ/db has the shape (1, U), b has (U,): without keepdims", g.sum(axis=0, keepdims=True)),
    ])  # fmt: skip


@pytest.mark.exercise("linear_backward", points=1)
def test_other_shapes_and_float32(lesson):
    rng = np.random.default_rng(2)
    g, x, W = (rng.standard_normal(shape).astype("float32") for shape in ((5, 2), (5, 3), (2, 3)))
    answer = several(called(lesson.linear_backward, g, x, W), "dJ/dx, dJ/dW, dJ/db")
    for name, given, shape in zip("xWb", answer, ((5, 3), (2, 3), (2,)), strict=True):
        assert np.shape(given) == shape, f"dJ/d{name} has the shape {np.shape(given)}, {name} has {shape}"
        assert not leaks(given), LEAK


# ---------------------------------------------------------------------------------------------------------
# maxout_backward


def by_engine(g, a):
    A = Tensor(a)
    return grad(A.max(axis=1), [A], cotangent=g)[0]


@pytest.mark.exercise("maxout_backward", points=1)
def test_the_winner_gets_it(lesson):
    rng = np.random.default_rng(3)
    g, a = rng.standard_normal((4, 3)), rng.standard_normal((4, 3, 3))  # as many pieces as units: axes 1 and 2 alike
    right = by_engine(g, a)
    judge(called(lesson.maxout_backward, g, a), right, [
        ("the axes of the result are in the wrong order: dJ/da is (N, P, U), as a is", np.swapaxes(right, 1, 2)),
        ("every piece gets g: only the largest piece has a part in h", np.repeat(g[:, None], 3, axis=1)),
        ("the maximum over the units: the pieces are axis 1 of a (N, P, U)",
         g[:, None] * (a == a.max(axis=2)[..., None])),
        ("the smallest piece gets g: it is the largest that is passed on", g[:, None] * (a == a.min(axis=1)[:, None])),
        ("the piece of largest size |a| gets g: the largest a wins; of two negative pieces, the one nearer to 0",
         g[:, None] * (abs(a) == abs(a).max(axis=1)[:, None])),
        ("the g from above is missing: this is 1 for the winner", (a == a.max(axis=1)[:, None]).astype(float)),
        ("g is multiplied by the piece itself: the slope of h with respect to its winner is 1", right * a),
        ("the pieces share g, as if h were their mean", np.repeat(g[:, None], 3, axis=1) / 3),
    ])  # fmt: skip


@pytest.mark.exercise("maxout_backward", points=2)
def test_of_several_winners_the_first_gets_all(lesson):
    a = np.array([[[1.0, 2.0], [1.0, 0.0], [0.0, 2.0]], [[3.0, 0.0], [3.0, 0.0], [3.0, 0.0]]])
    g = np.array([[1.0, -2.0], [0.5, 4.0]])
    wins = a == a.max(axis=1, keepdims=True)
    last = wins[:, ::-1].cumsum(axis=1)[:, ::-1] == 1
    judge(called(lesson.maxout_backward, g, a), by_engine(g, a), [
        ("every tie gets the whole gradient: only the first winner may, or two equal pieces would have the slope 2",
         g[:, None] * wins),
        ("ties share the gradient: here the rule is that the first winner gets all of it",
         g[:, None] * wins / wins.sum(axis=1, keepdims=True)),
        ("of several winners the last gets g: the rule is the first", g[:, None] * (wins & last)),
        ("where pieces tie no piece gets g: the first winner gets it",
         g[:, None] * (wins & (wins.sum(1)[:, None] == 1))),
    ])  # fmt: skip


@pytest.mark.exercise("maxout_backward", points=1)
def test_one_piece_is_a_linear_layer_and_float32_stays(lesson):
    g = np.random.default_rng(4).standard_normal((4, 3)).astype("float32")
    given = called(lesson.maxout_backward, g, g[:, None] + 1)
    judge(given, g[:, None])
    assert not leaks(given), LEAK


# ---------------------------------------------------------------------------------------------------------
# dropout_mask


@pytest.mark.exercise("dropout_mask", points=1)
def test_as_many_are_kept_as_keep_says(lesson):
    mask = called(lesson.dropout_mask, np.random.default_rng(5), (500, 40), 0.8, False)
    assert np.shape(mask) == (500, 40), f"the shape (500, 40) is wanted, your mask has {np.shape(mask)}"
    rows, columns = ((mask == mask[:1]).all(), (mask == mask[:, :1]).all())
    assert not rows, "all rows of the mask are the same: each entry is drawn by itself"
    assert not columns, "each row of the mask is kept or dropped as a whole: each entry is drawn by itself"
    kept = float((np.asarray(mask) != 0).mean())
    assert abs(kept - 0.2) > 0.02, "keep is the probability of KEEPING an entry: here it is that of dropping one"
    assert abs(kept - 0.5) > 0.02, "half are kept, whatever keep says"
    assert abs(kept - 0.8) < 0.02, f"of 20,000 entries a share of 0.8 should be kept, it is {kept:.3f}"
    assert len(np.unique(mask)) == 2, "more than two values: the mask is 0 or 1, kept or dropped"


@pytest.mark.exercise("dropout_mask", points=1)
def test_what_is_rescaled_keeps_its_mean(lesson):
    plain, scaled = (
        called(lesson.dropout_mask, np.random.default_rng(6), (200, 50), 0.4, rescale) for rescale in (False, True)
    )
    top = float(np.max(plain))
    assert top == 1, f"without rescale what is kept stays as it is, times 1; yours times {top:.3g}"
    top = float(np.max(scaled))
    mistakes = [
        ("rescale is forgotten: what is kept is divided by keep", 1.0),
        ("multiplied by keep, not divided by it: the mean should stay what it was without a mask", 0.4),
        (
            "divided by 1 - keep, which is the probability of dropping: divide by keep, the probability of keeping",
            1 / 0.6,
        ),
    ]
    judge(top, np.float32(2.5), mistakes)


@pytest.mark.exercise("dropout_mask", points=1)
def test_it_is_float32_and_from_this_generator(lesson):
    first, again = (called(lesson.dropout_mask, np.random.default_rng(7), (20, 5), 0.5, True) for _ in range(2))
    same = np.array_equal(first, again)
    assert same, (
        "another mask from the same generator: draw from `rng`, not from np.random, so that runs can be repeated"
    )
    plain = called(lesson.dropout_mask, np.random.default_rng(7), (20, 5), 0.5, False)
    for mask, which in ((first, "rescale=True"), (plain, "rescale=False")):
        assert mask.dtype != bool, f"truth values with {which}: float32 is wanted, 0 and 1"
        assert mask.dtype == np.float32, (
            f"float64 leak: with {which} your mask is {mask.dtype}, and float32 times that is float64"
        )
    rng = np.random.default_rng(7)
    one, two = (called(lesson.dropout_mask, rng, (20, 5), 0.5, True) for _ in range(2))
    moved = not np.array_equal(one, two)
    assert moved, "two calls with one generator give the same mask: the generator is made anew in your function"
    counts = {int((called(lesson.dropout_mask, rng, (20, 5), 0.5, False) != 0).sum()) for _ in range(10)}
    assert len(counts) > 1, "each mask keeps the same number of entries: each entry is kept or dropped by itself"


# ---------------------------------------------------------------------------------------------------------
# max_norm


def projected(W, limit):
    W = W.copy()
    project_rows(W, limit)
    return W


@pytest.mark.exercise("max_norm", points=2)
def test_only_rows_that_are_too_long_are_scaled(lesson):
    W = np.array([[3.0, 4.0, 0.0], [0.3, 0.0, 0.4], [6.0, 0.0, 8.0]])
    limit = 2.0
    given = called(lesson.max_norm, W, limit)
    squares = W**2
    norms = np.sqrt(squares.sum(axis=1, keepdims=True))
    judge(given, projected(W, limit), [
        ("nothing was scaled: the first row has the length 5, the limit is 2", W),
        ("shorter rows were scaled up to the limit: they stay as they are", W * limit / norms),
        ("the limit is missing in the factor: it is limit / max(length, limit), 1 for a short row",
         W / np.maximum(norms, limit)),
        ("each column was scaled by the length of a row: keepdims=True keeps the lengths beside their rows",
         W * np.minimum(1, limit / norms[:, 0])),
        ("columns were scaled: a unit's weights are a ROW of W, the last axis", projected(W.T, limit).T),
        ("the norm of the whole matrix: each row has its own", W * min(1.0, limit / np.sqrt(squares.sum()))),
        ("the square root is missing: the length is the root of the sum of squares",
         W * np.minimum(1, limit / squares.sum(axis=1, keepdims=True))),
        ("entries were clipped one by one: the row keeps its direction, all of it is scaled", W.clip(-limit, limit)),
        ("the length of a row was taken as the sum of its |w_i|: the Euclidean length is wanted",
         W * np.minimum(1, limit / abs(W).sum(axis=1, keepdims=True))),
        ("rows that are too long get length 1, not the limit", np.where(norms > limit, W / norms, W)),
    ])  # fmt: skip


@pytest.mark.exercise("max_norm", points=1)
def test_pieces_rows_of_zeros_and_float32(lesson):
    W = np.random.default_rng(8).standard_normal((3, 4, 5)).astype("float32")
    W[0, 0] = 0
    with np.errstate(all="ignore"):
        given = called(lesson.max_norm, W, 1.5)
    assert np.isfinite(given).all(), "a row of zeros gave 0/0: its length is 0, and it has to stay 0"
    assert np.shape(given) == W.shape, f"W has the shape {W.shape} (P, U, D), your result {np.shape(given)}"
    assert not leaks(given), LEAK
    judge(given, projected(W, 1.5), [
        ("the units of all pieces were taken together: a row is the LAST axis of W (P, U, D)",
         W * np.minimum(1, 1.5 / np.sqrt((W**2).sum(axis=1, keepdims=True)))),
    ])  # fmt: skip
