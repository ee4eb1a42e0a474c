"""The exercises of lesson 11."""

import numpy as np
import pytest

from tinyadv import attacks, metrics, models, parameters
from tinyadv.backend import generator
from tinyadv.course.judging import LEAK, called, judge, leaks

EPS = 0.3

# ---------------------------------------------------------------------------------------------------------
# answers


def networks(n=3, inputs=5):
    """Softmax regressions with random weights in float64, some inputs and labels."""
    rng, made = np.random.default_rng(n), []
    for k in range(n):
        model = models.softmax_regression(inputs=inputs, rng=generator(k)).to(dtype="float64")
        for p in parameters(model):
            p.data = rng.standard_normal(p.shape)
        made.append(model)
    return made, rng.random((40, inputs)), rng.integers(0, 10, 40)


def said(made, examples):
    return np.array([[metrics.predict(model, x) for model in made] for x in examples])


@pytest.mark.exercise("answers", points=2)
def test_row_made_on_column_shown_to(lesson):
    made, x, y = networks()
    weights = [p.data.copy() for m in made for p in parameters(m)]
    examples = [attacks.fgsm(m, x, y, EPS) for m in made]
    right = said(made, examples)
    given = called(lesson.answers, made, x, y, EPS)
    kept = all(
        np.array_equal(a, p.data) for a, p in zip(weights, [p for m in made for p in parameters(m)], strict=True)
    )
    assert kept, "the attack changed the weights: only the input may move"
    chained, current = [], x
    for m in made:
        current = attacks.fgsm(m, current, y, EPS)
        chained.append(current)
    own = [metrics.predict(m, e) for m, e in zip(made, examples, strict=True)]
    by_answer = [attacks.fgsm(m, x, metrics.predict(m, x), EPS) for m in made]
    judge(given, right, [
        ("rows and columns are swapped: entry i, j is made ON i and shown TO j", right.swapaxes(0, 1)),
        ("every network sees its own examples: j is shown those made on i", np.array([own] * 3)),
        ("examples made of examples: each attack starts from the clean x, not from the last network's examples",
         said(made, chained)),
        ("this says whether the answers are wrong: the classes themselves are wanted", right != y),
        ("this says whether the answers are wrong: the classes themselves are wanted", (right != y).astype(int)),
        ("one error for each pair: the classes themselves are wanted, (M, M, N)", (right != y).mean(axis=2)),
        ("the clean images were shown: make FGSM examples first", said(made, [x] * 3)),
        ("the attack moves away from the network's own answer: it should move away from the true label",
         said(made, by_answer)),
        ("eps is missing: each pixel moved by 1", said(made, [x + np.sign(e - x) for e in examples])),
        ("the sign is wrong: x - eps sign(gradient) makes the cost fall", said(made, [2 * x - e for e in examples])),
        ("clipped to [0, 1]: the paper's examples are not clipped", said(made, [e.clip(0, 1) for e in examples])),
    ])  # fmt: skip
    assert np.asarray(given).dtype.kind in "iu", "classes are integers"


# ---------------------------------------------------------------------------------------------------------
# agreement

A = np.array([3, 3, 8, 8, 9, 0, 1, 2, 7, 5, 6, 4])
B = np.array([3, 1, 8, 9, 9, 0, 1, 5, 7, 5, 1, 4])
Y = np.array([1, 1, 3, 3, 4, 0, 1, 2, 4, 5, 6, 6])  # a errs on 7, both on 6, same class on 5
BOTH_WRONG, SAME = (A != Y) & (B != Y), A == B


@pytest.mark.exercise("agreement", points=1)
@pytest.mark.parametrize("among", ["a", "both"])
def test_the_denominator(lesson, among):
    wrong = A != Y
    same = float((SAME & wrong).sum())
    right, other = (
        same / (wrong if among == "a" else BOTH_WRONG).sum(),
        same / (BOTH_WRONG if among == "a" else wrong).sum(),
    )
    swapped = "the mistakes of a, whatever b says" if among == "a" else "the common mistakes, where a AND b are wrong"
    given = called(lesson.agreement, A.copy(), B.copy(), Y.copy(), among)
    judge(given, right, [
        (f'the denominator is another set: for "{among}" it is {swapped}', other),
        ("agreement on right answers is counted too: look at mistakes alone", SAME.mean()),
        (f"the denominator is all examples: it should be {swapped}", same / len(Y)),
        (f"the denominator is the examples where a OR b is wrong: it should be {swapped}",
         same / ((A != Y) | (B != Y)).sum()),
        ("right answers that are the same are counted as agreement", SAME.sum() / wrong.sum()),
        ("right answers that are the same are counted as agreement", SAME.sum() / BOTH_WRONG.sum()),
        ("this is the share with DIFFERENT classes: agreement is the share with the same class", 1 - right),
        ("this is a count: a share is wanted", same),
        (f"the denominator is the mistakes of b: it should be {swapped}", (SAME & (B != Y)).sum() / (B != Y).sum()),
        ("this is how often both are wrong: count how often they give the same class", BOTH_WRONG.sum() / wrong.sum()),
        ("this is how often both are wrong: count how often they give the same class", BOTH_WRONG.mean()),
    ])  # fmt: skip


@pytest.mark.exercise("agreement", points=1)
@pytest.mark.parametrize("among", ["a", "both"])
@pytest.mark.filterwarnings("ignore:Mean of empty slice", "ignore:invalid value")
def test_without_mistakes_there_is_no_share(lesson, among):
    with np.errstate(all="ignore"):
        try:
            given = called(lesson.agreement, Y.copy(), B.copy(), Y.copy(), among)
        except ZeroDivisionError:
            raise AssertionError("0/0 stops your function: without mistakes the share is NaN") from None
    assert np.isnan(given), f"without mistakes there is no share: NaN is wanted, not {given}"


# ---------------------------------------------------------------------------------------------------------
# cosines


def rows(n=6, inputs=4):
    return np.random.default_rng(n).standard_normal((2, n, inputs))


def lengths(u):
    return np.sqrt((u * u).sum(axis=1))


@pytest.mark.exercise("cosines", points=1)
def test_the_cosine_of_each_row(lesson):
    u, v = rows()
    products, right = (u * v).sum(axis=1), (u * v).sum(axis=1) / (lengths(u) * lengths(v))
    judge(called(lesson.cosines, u, v), right, [
        ("this is the product u . v: divide by both lengths", products),
        ("divided by one length: both u and v have one", products / lengths(u)),
        ("divided by one length: both u and v have one", products / lengths(v)),
        ("the square root is missing: a length is the root of the sum of squares",
         products / ((u * u).sum(axis=1) * (v * v).sum(axis=1))),
        ("this is the size of the cosine: a cosine has a sign, it lies between -1 and 1", abs(right)),
        ("these are the cosines of the columns: each image is a ROW",
         (u * v).sum(axis=0) / (lengths(u.T) * lengths(v.T))),
        ("every row with every row: only row n of u with row n of v is wanted, (N,)",
         (u @ v.T) / (lengths(u)[:, None] * lengths(v))),
        ("this is one number: each image has its own cosine, (N,)", right.mean()),
        ("this is one number: each image has its own cosine, (N,)",
         (u * v).sum() / np.sqrt((u * u).sum() * (v * v).sum())),
        ("divided by the lengths of the whole arrays: each row has its own length",
         products / np.sqrt((u * u).sum() * (v * v).sum())),
        ("the length was taken as the sum of the sizes |u_i|: it is the root of the sum of squares",
         products / (abs(u).sum(axis=1) * abs(v).sum(axis=1))),
        ("this is 1 minus the cosine: the cosine itself is wanted", 1 - right),
        ("u . v is a sum over the entries, not their mean", right / 4),
    ])  # fmt: skip


@pytest.mark.exercise("cosines", points=1)
def test_a_row_of_zeros_has_the_cosine_0(lesson):
    u, v = rows()
    u[1], v[3] = 0, 0
    with np.errstate(all="ignore"):
        given = np.asarray(called(lesson.cosines, u, v))
    assert not np.isnan(given).any(), "a row of zeros gave 0/0: it has no direction, and its cosine should be 0"
    assert (abs(given[[1, 3]]) < 1e-12).all(), f"a row of zeros should have the cosine 0, yours is {given[1]}"
    kept = (u * v).sum(axis=1)[[0, 2, 4, 5]] / (lengths(u) * lengths(v))[[0, 2, 4, 5]]
    judge(given[[0, 2, 4, 5]], kept, [])


@pytest.mark.exercise("cosines", points=1)
def test_tiny_and_large_gradients_in_float32(lesson):
    u, v = rows().astype("float32")
    right = (u * v).sum(axis=1) / (lengths(u) * lengths(v))
    own = np.array([[1.0], [1e-30], [1e-6], [1e30], [1.0], [1e-15]])
    for size, words in (
        (1e-6, "a small number was added against 0/0, and is not small beside tiny gradients: treat 0 by itself, with "
               "np.where"),
        (1e-30, "squares of tiny entries are rounded to 0: divide each row by its largest |entry| first"),
        (1e30, "squares of large entries are infinite: divide each row by its largest |entry| first"),
        (own, "rows of very different size: one maximum for the whole batch does not help the small ones; each row has "
              "its own, max(axis=1, keepdims=True)"),
    ):  # fmt: skip
        with np.errstate(all="ignore"):
            given = called(lesson.cosines, u * np.float32(size), v * np.float32(size))
        assert np.allclose(given, right, rtol=1e-4, atol=1e-5), words
    assert not leaks(given), LEAK


# ---------------------------------------------------------------------------------------------------------
# universal


def gradients(n=60, inputs=6):
    rng = np.random.default_rng(n)
    return rng.standard_normal((n, inputs)) * rng.uniform(0.01, 5, (n, 1)), rng.integers(0, 10, n)


@pytest.mark.exercise("universal", points=2)
def test_the_sign_of_each_classs_mean(lesson):
    g, y = gradients()
    means = np.stack([g[y == c].mean(axis=0) for c in range(10)])
    votes = np.stack([np.sign(g[y == c]).sum(axis=0) for c in range(10)])
    counts = np.bincount(y, minlength=10)[:, None]
    right = EPS * np.sign(means)
    judge(called(lesson.universal, g, y, EPS), right, [
        ("the sign is missing: this is eps times the mean gradient", EPS * means),
        ("the sign is missing: this is eps times the sum of the gradients", EPS * means * counts),
        ("eps is missing: each pixel moves by 1", np.sign(means)),
        ("this is the mean of the signs: each pixel should move by eps, yours moves by less", EPS * votes / counts),
        ("this is the sign of the sum of the signs, a vote: take the mean of the gradients themselves first",
         EPS * np.sign(votes)),
        ("the mean over all images: each class has its own", EPS * np.sign(np.stack([g.mean(axis=0)] * 10))),
        ("the mean over all images: each class has its own", EPS * np.sign(g.mean(axis=0))),
        ("one change for each image: one for each class is wanted, (10, D)", EPS * np.sign(g)),
        ("one change for each image: one for each class is wanted, (10, D)", right[y]),
        ("the sign is wrong: J should rise", -right),
        ("label off by one: labels count from 0", np.roll(right, 1, axis=0)),
        ("label off by one: labels count from 0", np.roll(right, -1, axis=0)),
        ("this looks at the first image of each class alone: take the mean over all of them",
         EPS * np.sign(np.stack([g[y == c][0] for c in range(10)]))),
    ])  # fmt: skip


@pytest.mark.exercise("universal", points=1)
def test_a_class_without_images_and_float32(lesson):
    g, y = gradients()
    g, y = g.astype("float32"), np.where((y == 7) | (y == 9), 1, y)
    g[:, 2] = 0
    with np.errstate(all="ignore"):
        given = called(lesson.universal, g, y, EPS)
    assert np.shape(given) == (10, 6), (
        f"one change for each of 10 classes is wanted, (10, 6), also where the last have no images: yours is "
        f"{np.shape(given)}"
    )
    assert np.isfinite(given).all(), "a class without images gave 0/0: its eta is 0"
    assert (np.asarray(given)[[7, 9]] == 0).all(), "a class without images has the eta 0"
    assert (np.asarray(given)[:, 2] == 0).all(), "where all gradients are 0 nothing moves: sign(0) is 0"
    assert not leaks(given), LEAK
