"""The exercises of lesson 6."""

import math

import numpy as np
import pytest

from tinyadv import attacks
from tinyadv.course.judging import LEAK, as_array, called, judge, leaks

# ---------------------------------------------------------------------------------------------------------
# predicted_rise


@pytest.mark.exercise("predicted_rise", points=2)
def test_it_is_the_slope_times_the_step(lesson):
    g, eps = np.random.default_rng(1).standard_normal((4, 4)), 0.3  # square: the wrong axis gives numbers, not an error
    right = (eps * np.sign(g) * g).sum(axis=1)
    judge(called(lesson.predicted_rise, g, eps), right, [
        ("this is the sum of the g_i: add up their sizes |g_i|, because each pixel moves uphill",
         eps * g.sum(axis=1)),
        ("this is the Euclidean norm of g: for the step eps sign(g) it is the sum of the |g_i|, the L1 norm",
         eps * np.sqrt((g * g).sum(axis=1))),
        ("this is the sum of squares, for a step eps g: FGSM's step is eps sign(g)", eps * (g * g).sum(axis=1)),
        ("this is the largest |g_i|: every pixel moves, so all of them count", eps * abs(g).max(axis=1)),
        ("this is the mean of the |g_i|, where their sum is wanted: a factor 1/D too many", eps * abs(g).mean(axis=1)),
        ("eps is missing: this is ||g||_1", right / eps),
        ("eps is there twice: the step has the size eps, and the slope has no eps in it", right * eps),
        ("the sum runs over the images, axis 0: an image's own pixels are summed, axis 1", eps * abs(g).sum(axis=0)),
        ("this is one number, all images summed: each has its own rise, (N,)", right.sum()),
        ("this is one number, the mean over the images: each has its own rise, (N,)", right.mean()),
        ("this is what each pixel adds, (N, D): sum over axis 1 to get the image's rise", eps * abs(g)),
        ("this has the shape (N, 1), but (N,) is wanted: leave out keepdims", right[:, None]),
        ("the sign is wrong: FGSM makes the cost rise", -right),
    ])  # fmt: skip


@pytest.mark.exercise("predicted_rise", points=1)
def test_its_shape_and_float32(lesson):
    g = np.random.default_rng(2).standard_normal((3, 5)).astype("float32")
    given = called(lesson.predicted_rise, g, 0.25)
    assert np.shape(given) == (3,), f"one number for each of 3 images is wanted, (3,); yours has {np.shape(given)}"
    assert not leaks(given), LEAK
    right = 0.25 * abs(g.astype("float64")).sum(axis=1)
    divided = "this is right only for as many images as pixels: nothing here is divided or multiplied by N"
    assert np.allclose(given, right, rtol=1e-5), divided


# ---------------------------------------------------------------------------------------------------------
# rotated

ANGLE = 0.4


def unit(v):
    return v / np.linalg.norm(v, axis=1, keepdims=True)


def across(x, g):
    """The unit vectors of the right answer."""
    return unit(g - (g * x).sum(axis=1, keepdims=True) / (x * x).sum(axis=1, keepdims=True) * x)


def turn(x, u, cos, sin, length=None):
    return cos * x + sin * (np.linalg.norm(x, axis=1, keepdims=True) if length is None else length) * u


def points(seed=3, n=4):
    rng = np.random.default_rng(seed)
    return rng.standard_normal((n, 5)) + 1.0, rng.standard_normal((n, 5))


@pytest.mark.exercise("rotated", points=3)
def test_it_turns_towards_the_gradient(lesson):
    x, g = points()
    c, s = math.cos(ANGLE), math.sin(ANGLE)
    given = called(lesson.rotated, x, g, ANGLE)
    u, lengths, inner = across(x, g), np.linalg.norm(x, axis=1, keepdims=True), (g * x).sum(axis=1, keepdims=True)
    half = g - inner / lengths * x
    twice = g - inner * x
    together = g - (g * x).sum() / (x * x).sum() * x
    halves = math.radians(ANGLE)
    judge(given, attacks.rotated(x, g, ANGLE), [
        ("it turns away from g: plus sin(t) ||x|| u, uphill", turn(x, -u, c, s)),
        ("the length changes: the part of g along x was not taken out, so u is not at a right angle to x",
         turn(x, unit(g), c, s)),
        ("||x|| is missing before u: u is one long, x is not, so the length changes", turn(x, u, c, s, 1.0)),
        ("cos and sin are swapped: at t = 0 x has to stay", turn(x, u, s, c)),
        ("the angle is in radians already", turn(x, u, math.cos(halves), math.sin(halves))),
        ("the sign of g was followed: that is FGSM's direction, here it is g's own",
         turn(x, across(x, np.sign(g)), c, s)),
        ("u is not one long: v has to be divided by its length", turn(x, u * np.linalg.norm(
            g - inner / lengths**2 * x, axis=1, keepdims=True), c, s)),
        ("v: the part along x is g.x / x.x times x: divided by the SQUARE of the length", turn(x, unit(half), c, s)),
        ("v: the part along x is g.x / x.x times x: the division is missing", turn(x, unit(twice), c, s)),
        ("||x|| is that of the whole batch: each row has its own, axis=1 with keepdims", turn(
            x, u, c, s, np.linalg.norm(x))),
        ("all rows were taken together: g.x and x.x are sums over axis 1, one for each row", turn(
            x, unit(together), c, s)),
        ("all rows were taken together: g.x and x.x, and both lengths, are sums over axis 1, one for each row", turn(
            x, together / np.linalg.norm(together), c, s, np.linalg.norm(x))),
        ("cos(t) is missing before x: x' = x + ... is longer than x", turn(x, u, 1.0, s)),
        ("this steps along u by tan(t) ||x||, and is longer than x: cos and sin keep the length",
         turn(x, u, 1.0, math.tan(ANGLE))),
        ("this steps along u by t ||x||, and is longer than x: cos and sin keep the length", turn(x, u, 1.0, ANGLE)),
        ("this is x + t ||x|| u, scaled back to the length of x: that turns by atan(t), not by t",
         lengths * unit(turn(x, u, 1.0, ANGLE))),
        ("this is the change alone: x' is wanted", turn(x, u, c, s) - x),
        ("nothing was turned: this is x", x),
    ])  # fmt: skip


@pytest.mark.exercise("rotated", points=1)
def test_where_the_gradient_is_zero_x_stays(lesson):
    x, g = points(4)
    g[1] = 0
    with np.errstate(all="ignore"):
        given = np.asarray(called(lesson.rotated, x, g, ANGLE))
    assert np.isfinite(given).all(), "a gradient of 0 gave 0/0: where g is 0, x stays"
    right = attacks.rotated(x, g, ANGLE)
    judge(given[1], x[1], [
        ("where g is 0, x became cos(t) x, and shorter: it has to stay", math.cos(ANGLE) * x[1]),
        ("where g is 0, x became 0: it has to stay", 0 * x[1]),
    ])  # fmt: skip
    judge(given, right, [("because the g of one image is 0, no image was turned: look at each row by itself", x)])


@pytest.mark.exercise("rotated", points=2)
def test_tiny_gradients_and_float32(lesson):
    x, g = (a.astype("float32") for a in points(5))
    given = as_array(called(lesson.rotated, x, g, ANGLE))
    assert not leaks(given), f"{LEAK} (np.cos and np.sin give float64 scalars, math.cos and math.sin do not)"
    right = attacks.rotated(x, g, ANGLE)
    tiny = g * np.float32(1e-25)
    with np.errstate(all="ignore"):
        turned = np.asarray(called(lesson.rotated, x, tiny, ANGLE))
        huge = np.asarray(called(lesson.rotated, x, g * np.float32(1e25), ANGLE))
    moved = np.isfinite(turned).all() and np.allclose(turned, right, atol=1e-4)
    assert moved, (
        "tiny gradients: (1e-25)^2 is 0 in float32, so their length is 0 too; only their direction counts, so divide "
        "each row by its largest |g_i| first"
    )
    sizes = np.array([[1.0], [1e-30], [1.0], [1e-15]], "float32")
    with np.errstate(all="ignore"):
        mixed = np.asarray(called(lesson.rotated, x, g * sizes, ANGLE))
    each = np.isfinite(mixed).all() and np.allclose(mixed, right, atol=1e-4)
    assert each, (
        "rows of very different size: one maximum for the whole batch leaves the small rows tiny; divide each row by "
        "its own largest |g_i|"
    )
    fine = np.isfinite(huge).all() and np.allclose(huge, right, atol=1e-4)
    assert fine, "huge gradients: (1e25)^2 is infinite in float32; divide each row by its largest |g_i| first"


# ---------------------------------------------------------------------------------------------------------
# confidence_on_mistakes


def answers():
    """As many images as classes: the wrong axis gives numbers, not an error. Two are right."""
    rng = np.random.default_rng(3)
    p = rng.random((6, 6)) ** 3 + 0.01
    p /= p.sum(axis=1, keepdims=True)
    y = rng.integers(0, 6, 6)
    y[::3] = p.argmax(axis=1)[::3]
    return p, y


@pytest.mark.exercise("confidence_on_mistakes", points=2)
def test_only_mistakes_count(lesson):
    p, y = answers()
    largest, of_true, wrong = p.max(axis=1), p[np.arange(len(y)), y], p.argmax(axis=1) != y
    by_columns = p.argmax(axis=0) != y
    judge(called(lesson.confidence_on_mistakes, p, y), largest[wrong].mean(), [
        ("this is the mean over all images: only mistakes count", largest.mean()),
        ("this is the mean over the images that are right: mistakes are those with p.argmax(axis=1) != y",
         largest[~wrong].mean()),
        ("this is the mean probability of the true class: confidence is the largest of the row", of_true[wrong].mean()),
        ("this is 1 minus the probability of the true class, another reading of the word: here it is the largest p",
         (1 - of_true[wrong]).mean()),
        ("the sum over the mistakes is divided by all N images: divide by the number of mistakes",
         largest[wrong].sum() / 6),
        ("this is the sum over the mistakes: their mean is wanted", largest[wrong].sum()),
        ("this is the share of mistakes, the error: how sure the network is of them is wanted", wrong.mean()),
        ("this is the largest of all: the mean of each mistake's largest is wanted", largest[wrong].max()),
        ("this is the mean of all entries of p, 1/K: first the largest of each row, max(axis=1)", p[wrong].mean()),
        ("the largest was taken down the columns, axis 0: the classes of an image are axis 1",
         p[wrong].max(axis=0).mean()),
        ("the answers were taken down the columns, axis 0: the classes of an image are axis 1",
         largest[by_columns].mean()),
        ("this is one number for each mistake: their mean is wanted", largest[wrong]),
        ("label off by one: classes count from 0, as columns do", largest[p.argmax(axis=1) + 1 != y].mean()),
    ])  # fmt: skip


@pytest.mark.exercise("confidence_on_mistakes", points=1)
@pytest.mark.filterwarnings("ignore:Mean of empty slice", "ignore:invalid value")
def test_without_mistakes_there_is_no_number(lesson):
    p, _ = answers()
    try:
        with np.errstate(all="ignore"):
            given = lesson.confidence_on_mistakes(p, p.argmax(axis=1))
    except (ValueError, ZeroDivisionError) as error:
        raise AssertionError(f"without any mistake your function fails ({error}): NaN is wanted") from None
    assert given is not None, "without any mistake your function returns nothing: NaN is wanted"
    assert given != 0, (
        "without any mistake you give 0: that would say that the network was unsure of its mistakes; NaN is wanted"
    )
    assert np.isnan(given), f"without any mistake NaN is wanted; your result is {given}"


# ---------------------------------------------------------------------------------------------------------
# count_pieces


# The winners of three units at 18 points: to and fro, one or several at once, such that every mistake counts otherwise.
LINE = "231 231 231 231 022 222 222 222 231 301 101 111 231 030 231 222 231 031"


def along(line, pieces=4):
    """Activations `(S, P, U)`, all negative, in which these pieces win."""
    winners, rng = np.array([[int(digit) for digit in point] for point in line.split()]), np.random.default_rng(7)
    low = -1.5 - rng.random((len(winners), pieces, winners.shape[1]))
    return low + (np.arange(pieces)[:, None] == winners[:, None])


@pytest.mark.exercise("count_pieces", points=3)
def test_a_piece_ends_where_any_winner_changes(lesson):
    a = along(LINE)
    winners = a.argmax(axis=1)
    changed = winners[1:] != winners[:-1]
    by_units = a.argmax(axis=2)
    judge(called(lesson.count_pieces, a), 1 + changed.any(axis=1).sum(), [
        ("one too few: n changes on the way make n + 1 pieces", changed.any(axis=1).sum()),
        ("each unit was counted by itself: where several change at once, one piece of the layer ends",
         1 + changed.sum()),
        ("each unit was counted by itself, and the 1 is missing: n changes make n + 1 pieces", changed.sum()),
        ("only points where all units change were counted: the change of a single unit ends a piece",
         1 + changed.all(axis=1).sum()),
        ("the different patterns were counted: a line can come back to a pattern, in another piece",
         len(np.unique(winners, axis=0))),
        ("only changes to a later piece were counted: != 0, not > 0",
         1 + (np.diff(winners, axis=0) > 0).any(axis=1).sum()),
        ("each point was compared with the first one: compare it with the one before",
         1 + (winners != winners[0]).any(axis=1).sum()),
        ("neighbouring units were compared, axis 1: the points of the line are axis 0",
         1 + np.diff(winners, axis=1).any(axis=1).sum()),
        ("the units that ever change were counted: count the points of the line at which any unit changes",
         1 + changed.any(axis=0).sum()),
        ("the winner was taken among the units: the pieces are axis 1 of a, which is (S, P, U)",
         1 + np.diff(by_units, axis=0).any(axis=1).sum()),
        ("the piece of largest |a| was taken for the winner: the largest a wins; of negative ones, that nearest to 0",
         1 + np.diff(abs(a).argmax(axis=1), axis=0).any(axis=1).sum()),
        ("every point was counted: the winner has to change, not its value", len(a)),
        ("this says where a piece ends: the number of pieces is wanted", changed.any(axis=1)),
    ])  # fmt: skip


@pytest.mark.exercise("count_pieces", points=1)
def test_no_kink_and_a_single_point(lesson):
    straight = called(lesson.count_pieces, along("12 12 12"))
    assert straight == 1, f"where no unit changes there is one piece; you count {straight}"
    alone = called(lesson.count_pieces, along("12"))
    assert alone == 1, f"a single point shows one piece; you count {alone}"
    assert np.ndim(alone) == 0, "one number is wanted"
