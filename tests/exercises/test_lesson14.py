"""The exercises of lesson 14."""

import math

import numpy as np
import pytest

from tinyadv import attacks, models, parameters
from tinyadv.backend import generator
from tinyadv.course.judging import LEAK, called, judge, leaks

EPS, D, K, N = 0.2, 12, 4, 4  # N = K: an argmax over the wrong axis gives labels, not an error


def network(dtype="float64", seed=1):
    """A small maxout network with random weights, in which a second look at the gradient shows another one."""
    model = models.maxout_network(units=6, pieces=2, inputs=D, classes=K, keep=(1.0, 1.0), rng=generator(0))
    rng = np.random.default_rng(seed)
    for p in parameters(model.to(dtype=dtype)):
        p.data = rng.standard_normal(p.shape).astype(dtype)
    parameters(model)[0].data[..., 3] = 0  # a pixel whose weights are all 0: its gradient is 0
    return model, rng.random((N, D)).astype(dtype), rng.integers(0, K, N), rng


def finite(given):
    assert np.isfinite(given).all(), "g / |g| is 0 / 0 where the gradient is 0: there np.sign(g) is 0"
    return given


# ---------------------------------------------------------------------------------------------------------
# pgd


def walked(model, x, y, start, steps, a, project, sign=1.0, look=None):
    """PGD with something else in it: x' <- project(x' + sign a sign(gradient at x', or at look))."""
    x_adv = start
    for _ in range(steps):
        g = attacks.input_gradient(model, x_adv if look is None else look, y)
        x_adv = project(x_adv + sign * a * np.sign(g))
    return x_adv


def walked_on(model, x, y, start, steps, a, project, of_zero=1.0):
    """PGD that moves by a or by -a also where the gradient is 0."""
    x_adv = start
    for _ in range(steps):
        g = attacks.input_gradient(model, x_adv, y)
        x_adv = project(x_adv + a * np.where(g == 0, of_zero, np.sign(g)))
    return x_adv


def box(centre, eps=EPS):
    return lambda x_adv: x_adv.clip(centre - eps, centre + eps)


@pytest.mark.exercise("pgd", points=2)
def test_steps_and_projection(lesson):
    model, x, y, rng = network()
    start, steps = x + rng.uniform(-EPS, EPS, x.shape), 8
    a, home = 2.5 * EPS / steps, box(x)
    given = finite(called(lesson.pgd, model, x, y, EPS, steps, start))

    def other(project=home, first=start, a=a, steps=steps, **settings):
        return walked(model, x, y, first, steps, a, project, **settings)

    def free(x_adv):
        return x_adv

    def length(x_adv):
        eta = x_adv - x
        norm = np.sqrt((eta**2).sum(axis=1, keepdims=True))
        return x + eta * np.minimum(1, EPS / norm)

    judge(given, other(), [
        ("the way back into the box is missing, or the box is around the last point, where it changes nothing: after "
         "each step clip to the box around the clean x", other(free)),
        ("clipped to the box only once, at the end: clip after each step, before the next gradient is taken",
         home(other(free))),
        ("the box is around the START here: it should be around the clean x", other(box(start))),
        ("the pixels were clipped to the range from 0 to 1 in place of the box around x",
         other(lambda x_adv: x_adv.clip(0, 1))),
        ("the pixels were clipped to the range from 0 to 1 too: clip only to the box",
         other(lambda x_adv: home(x_adv).clip(0, 1))),
        ("the pixels were clipped to the range from 0 to 1 too: clip only to the box", other().clip(0, 1)),
        ("the change was scaled back to a Euclidean length: the box bounds each pixel by itself, so clip",
         other(length)),
        ("this goes downhill: the sign before the gradient is wrong, the cost has to rise", other(sign=-1.0)),
        ("the gradient is always taken at x: take it at x', where the last step ended", other(look=x)),
        ("the gradient is always taken at the start: take it at x', where the last step ended", other(look=start)),
        ("it starts at x here: the start is given", other(first=x)),
        ("steps of size eps: each step moves by 2.5 eps / steps", other(a=EPS)),
        ("steps of size eps / steps: together they must be able to cross the box, 2.5 eps / steps",
         other(a=EPS / steps)),
        ("steps of size 2.5 eps: divide by the number of steps", other(a=2.5 * EPS)),
        ("steps of size 2.5 / steps: eps is missing", other(a=2.5 / steps)),
        ("one step too few", other(steps=steps - 1)),
        ("one step too many", other(steps=steps + 1)),
        ("one step only: is `return` inside of the loop?", other(steps=1)),
        ("where the gradient is 0 the pixel moved: the sign of 0 is 0", walked_on(model, x, y, start, steps, a, home)),
        ("where the gradient is 0 the pixel moved: the sign of 0 is 0",
         walked_on(model, x, y, start, steps, a, home, -1.0)),
        ("this is FGSM: one step from x", attacks.fgsm(model, x, y, EPS)),
        ("this is the change alone: return x'", other() - x),
        ("this is the start: nothing moved", start),
    ])  # fmt: skip


@pytest.mark.exercise("pgd", points=1)
def test_the_box_and_float32(lesson):
    model, x, y, rng = network("float32")
    start = x + rng.uniform(-EPS, EPS, x.shape).astype("float32")
    given = finite(called(lesson.pgd, model, x, y, EPS, 20, start))
    out = float(np.abs(given - x).max())
    assert out < EPS + 1e-6, f"a pixel is {out:.3g} away from x: that is outside of the box, since eps is {EPS}"
    assert not leaks(given), LEAK


# ---------------------------------------------------------------------------------------------------------
# predicted_label_fgsm


@pytest.mark.exercise("predicted_label_fgsm", points=2)
def test_it_moves_away_from_the_own_answer(lesson):
    model, x, _, _ = network(seed=2)
    z = model(x)
    own, least = z.argmax(axis=1), z.argmin(axis=1)
    second = z.argsort(axis=1)[:, -2]

    def away(labels):
        return attacks.fgsm(model, x, labels, EPS)

    g = attacks.input_gradient(model, x, own)
    right = away(own)
    judge(finite(called(lesson.predicted_label_fgsm, model, x, EPS)), right, [
        ("this moves towards the network's answer: the cost of that answer has to rise, plus", 2 * x - right),
        ("this moves away from the class of the SMALLEST output: the answer is the class of the largest", away(least)),
        ("this moves away from the class of the second largest output: the answer is the class of the largest",
         away(second)),
        ("this moves towards the class of the smallest output, an attack with a target: move away from the answer",
         2 * x - away(least)),
        ("this moves towards the class of the second largest output, an attack with a target: move away from the "
         "answer", 2 * x - away(second)),
        ("argmax over all entries: each image has its own answer, axis 1", away(np.full(N, z.argmax() % K))),
        ("argmax over the images: take the largest of each image's K outputs, axis 1",
         away(np.resize(z.argmax(axis=0), N))),
        ("one answer for all images, that of the first: each has its own", away(np.full(N, own[0]))),
        ("label off by one: classes count from 0", away((own + 1) % K)),
        ("label off by one: classes count from 0", away((own - 1) % K)),
        ("the sign is missing: the gradient itself was followed", x + EPS * g),
        ("eps is missing: each pixel moved by 1", x + np.sign(g)),
        ("where the gradient is 0 the pixel moved: the sign of 0 is 0", x + EPS * np.where(g >= 0, 1, -1)),
        ("where the gradient is 0 the pixel moved: the sign of 0 is 0", x + EPS * np.where(g > 0, 1, -1)),
        ("this is the change alone: return x plus the change", EPS * np.sign(g)),
        ("clipped to the range from 0 to 1: nothing is clipped here", right.clip(0, 1)),
    ])  # fmt: skip


@pytest.mark.exercise("predicted_label_fgsm", points=1)
def test_the_prediction_is_that_for_the_clean_image_and_float32_stays(lesson):
    model, x, _, _ = network("float32", seed=3)
    given = finite(called(lesson.predicted_label_fgsm, model, x, EPS))
    assert not leaks(given), LEAK
    judge(np.asarray(given).astype("float64"), attacks.fgsm(model, x, model(x).argmax(axis=1), EPS).astype("float64"))


# ---------------------------------------------------------------------------------------------------------
# direction


def softmax(z, axis=1):
    e = np.exp(z - z.max(axis=axis, keepdims=True))
    return e / e.sum(axis=axis, keepdims=True)


def exact(z, y):
    """(p - t) / (1 - p_y), in float64, for logits that are not far apart."""
    p, t = softmax(z), np.eye(z.shape[1])[y]
    return (p - t) / (p * (1 - t)).sum(axis=1, keepdims=True)


@pytest.mark.exercise("direction", points=2)
def test_it_is_the_gradient_without_its_size(lesson):
    z, y = np.random.default_rng(4).standard_normal((4, 4)), np.array([2, 0, 3, 1])
    p, t = softmax(z), np.eye(4)[y]
    s = (p * (1 - t)).sum(axis=1, keepdims=True)
    right = exact(z, y)
    judge(called(lesson.direction, z, y), right, [
        ("this is p - t, the gradient of J itself: 1 - p_y is still in it", p - t),
        ("this is (p - t) / N: 1 - p_y is still in it, and there is no mean here", (p - t) / 4),
        ("divided by N: each image's own cost is differentiated, not a mean", right / 4),
        ("the sign is wrong: it is -1 for the label, and q for the others", -right),
        ("the sign of the label's entry is wrong: it should be -1", right + 2 * t),
        ("the label has 0 here: it should have -1", right + t),
        ("divided by p_y: the factor to leave out is 1 - p_y", (p - t) / (p * t).sum(axis=1, keepdims=True)),
        ("multiplied by 1 - p_y: divide by it", (p - t) * s),
        ("q is a softmax over ALL classes here: leave the label out of its sum", p * (1 - t) - t),
        ("this is -1 for the label and 1 for the largest other class: q is a softmax over all others",
         (right - right.min()) * 0 + (np.arange(4) == np.where(t > 0, -np.inf, z).argmax(axis=1)[:, None]) - t),
        ("the others have 1 each: they should have q, a softmax over them", 1 - 2 * t),
        ("label off by one: classes count from 0", exact(z, (y - 1) % 4)),
        ("label off by one: classes count from 0", exact(z, (y + 1) % 4)),
        ("softmax over the images, axis 0: each image has its own, axis 1", exact_over(z, y, 0)),
        ("softmax over all entries: each image has its own, axis 1", exact_over(z, y, None)),
        ("this is its sign: the sizes of q matter on the way to the pixels", np.sign(right)),
    ])  # fmt: skip


def exact_over(z, y, axis):
    t = np.eye(z.shape[1])[y]
    q = np.exp(z) * (1 - t)
    return q / q.sum(axis=axis, keepdims=True) - t


@pytest.mark.exercise("direction", points=2)
def test_it_survives_where_probabilities_round_to_0_or_1(lesson):
    y = np.array([0, 1, 2])
    for lead in (30.0, 300.0, 3000.0):  # 1 - p_y is 0 in float32 (float64: from 37 on), then every other p is
        z = np.array([[lead, 0.0, -1.0], [0.5, lead, 0.0], [0.0, 2.0, lead]], "float32")
        with np.errstate(all="ignore"):
            given = called(lesson.direction, z, y)
        assert np.shape(given) == (3, 3), f"the shape (3, 3) is wanted, your result has {np.shape(given)}"
        overflow = np.isinf(given).any() or (np.isnan(given).any() and lead > 88)
        place = f"where the label leads by {lead:.0f}"
        assert not (np.isnan(given).any() and lead < 88), f"0/0 {place}: 1 - p_y was rounded to 0 and then divided by"
        assert not overflow, f"infinite or NaN {place}: e^z overflows, or 0/0; a softmax over the others needs no p_y"
        zero = not np.any(np.asarray(given)[np.arange(3) != y[:, None]])
        assert not zero, (
            f"the others are all 0 {place}: this masks the gradient; subtract the largest of the others' logits first"
        )
        wanted = exact(np.where(np.eye(3) > 0, 0.0, z.astype("float64")), y)  # the label's logit does not matter
        label = np.asarray(given)[np.arange(3), y]
        assert np.allclose(label, -1), f"the label has {label[0]:.3g} {place}, not -1: 1 - p_y is rounded"
        judge(np.round(np.asarray(given), 5), np.round(wanted, 5))


@pytest.mark.exercise("direction", points=1)
def test_a_label_with_tiny_p_and_float32(lesson):
    z, y = np.array([[-2000.0, 0.0, 1.0], [1.0, 0.0, -2000.0]], "float32"), np.array([0, 2])
    with np.errstate(all="ignore"):
        given = called(lesson.direction, z, y)
    assert np.isfinite(given).all(), "not finite where the label's own logit is very small: q does not contain it"
    q = 1 / (1 + math.e)
    judge(np.round(given, 5), np.round([[-1, q, 1 - q], [1 - q, q, -1]], 5))
    assert not leaks(given), LEAK
    z, y = np.array([[0.0, 1000.0, 1001.0], [1001.0, 1000.0, 0.0], [0.0, 1.0, -3.0]], "float32"), np.array([0, 2, 2])
    with np.errstate(all="ignore"):
        given = called(lesson.direction, z, y)
    assert np.isfinite(given).all(), (
        "overflow where the others' logits are 1000, or 0/0 where those of another image are: before e^z subtract from "
        "each row its own largest logit, the label's left out"
    )
    wanted = np.array([[-1, q, 1 - q], [1 - q, q, -1], [q, 1 - q, -1]])
    assert np.allclose(given, wanted, atol=1e-3), "wrong where the others' logits are 1000"


# ---------------------------------------------------------------------------------------------------------
# violations


def attack(images, n=40):
    wrong = np.zeros(n, bool)
    wrong[list(images)] = True
    return wrong


def listed(lesson, wrong):
    """The pairs, and the scores, of an answer of the right form."""
    try:
        with np.errstate(all="ignore"):
            found = called(lesson.violations, wrong)
    except KeyError as error:
        raise AssertionError(f"KeyError: {error} was not tried, so leave out the pairs that it is in") from error
    except ZeroDivisionError as error:
        said = "0/0: two attacks that fool the same images are no violation, so compute the score only where w > t"
        raise AssertionError(said) from error
    right = isinstance(found, list | tuple) and all(isinstance(row, list | tuple) and len(row) == 3 for row in found)
    assert right, "a list of (stronger, weaker, score) is wanted"
    return [tuple(row[:2]) for row in found], [float(row[2]) for row in found]


@pytest.mark.exercise("violations", points=2)
def test_which_pairs(lesson):
    wrong = {"clean": attack(range(2)), "noise": attack(range(1, 5)), "FGSM": attack(range(8))}
    wrong |= {"clipped": attack(range(2, 12)), "transfer": attack(range(8, 16)), "PGD": attack(range(7))}
    wrong |= {"predicted label": attack(range(8))}
    pairs, _ = listed(lesson, wrong)
    right = [("FGSM", "clipped"), ("PGD", "FGSM"), ("PGD", "transfer")]
    reversed_pairs = [(weaker, stronger) for stronger, weaker in right]
    equal = ("FGSM", "transfer"), ("FGSM", "predicted label")
    holds = [pair for pair in lesson.ORDER if pair not in right and pair not in equal]
    assert pairs != reversed_pairs, "each pair is the wrong way round: (stronger, weaker, score)"
    assert pairs != holds, "these are the pairs in which the order HOLDS: those in which it is broken are wanted"
    assert not set(pairs) & set(equal), (
        "two attacks that fool equally many images are no violation: the weaker has to fool MORE"
    )
    assert set(pairs) != set(lesson.ORDER), "every pair is in the list: only those whose weaker attack fools MORE"
    assert pairs == right or sorted(pairs) != sorted(right), (
        f"the pairs should be in the order of ORDER: {right}; yours: {pairs}"
    )
    assert pairs == right, f"the broken pairs are {right}; yours: {pairs}"


@pytest.mark.exercise("violations", points=2)
def test_the_score(lesson):
    wrong = {"FGSM": attack(range(12)), "transfer": attack(range(3, 28))}  # only transfer: 16, only FGSM: 3, both: 9
    pairs, scores = listed(lesson, wrong)
    assert pairs == [("FGSM", "transfer")], f"the broken pair is FGSM, transfer; yours: {pairs}"
    p, q = 25 / 40, 12 / 40
    judge(scores[0], 13 / math.sqrt(19), [
        ("the score's sign is wrong: it begins with w - t, not with t - w", -13 / math.sqrt(19)),
        ("the score is w - t alone: divide it by its standard deviation", 13.0),
        ("the score is the difference of errors: divide w - t by its standard deviation, sqrt(w + t)", 13 / 40),
        ("the score is divided by the variance w + t: its square root is wanted", 13 / 19),
        ("the score is divided by sqrt(N): divide by sqrt(w + t), since images on which both agree say nothing",
         13 / math.sqrt(40)),
        ("the score is divided by the square root of all mistakes: images that both attacks fool say nothing",
         13 / math.sqrt(37)),
        ("the score is divided by the square root of all mistakes: images that both attacks fool say nothing",
         13 / math.sqrt(28)),
        ("the score takes the two attacks for independent: they were tried on the same images, so divide by "
         "sqrt(w + t)", (p - q) / math.sqrt((p * (1 - p) + q * (1 - q)) / 40)),
        ("the score is divided by sqrt(w): divide by sqrt(w + t)", 13 / 4),
        ("the score is w / sqrt(w + t) here: subtract t from w first", 16 / math.sqrt(19)),
    ])  # fmt: skip


@pytest.mark.exercise("violations", points=1)
def test_attacks_that_were_not_tried_or_agree(lesson):
    same = attack(range(5))
    pairs, _ = listed(lesson, {"FGSM": same, "PGD": same.copy(), "noise": same.copy()})
    assert pairs == [], "attacks that agree on every image are no violation"
    assert listed(lesson, {})[0] == []
