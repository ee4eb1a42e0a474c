"""The exercises of lesson 8."""

import numpy as np
import pytest

from tinyadv import Tensor, attacks, grad, losses, metrics, models, parameters
from tinyadv.backend import generator
from tinyadv.course.judging import called, close, judge, several

EPS, ALPHA = 0.2, 0.3


class Watched:
    """A network that notes what it was called with: whether with a generator, and the inputs."""

    def __init__(self, network):
        self.network, self.calls = network, []

    def __call__(self, x, rng=None, **options):
        self.calls.append((rng is not None, np.array(x.data if isinstance(x, Tensor) else x)))
        return self.network(x, rng=rng, **options)

    def loss(self, outputs, y):
        return self.network.loss(outputs, y)


def network(keep=(1.0, 1.0), seed=0, units=4):
    """A small maxout network in float64 with large weights, and five inputs with labels."""
    model = models.maxout_network(units, 2, depth=1, inputs=6, classes=3, keep=keep, scale=1.0, rng=generator(seed))
    rng = np.random.default_rng(8)
    model = model.to(dtype="float64")
    # of a pixel without any weight the gradient is 0, as at the dark edge of a digit
    parameters(model)[0].data[..., 2] = 0.0
    return model, rng.random((5, 6)), rng.integers(0, 3, 5)


def cost(model, x, y):
    """J and its gradients, flat, one after the other."""
    J = model.loss(model(Tensor(x)), y)
    return np.concatenate([[J.item()], *(g.ravel() for g in grad(J, parameters(model)))])


# ---------------------------------------------------------------------------------------------------------
# adversarial_objective


def objective(lesson, model, x, y, rng=None):
    """What the student gives: J and all gradients in a row; and nothing else may have changed."""
    weights = [p.data.copy() for p in parameters(model)]
    answer = called(lesson.adversarial_objective, model, x, y, rng, EPS, ALPHA)
    J, gradients = several(answer, "J, the list of its gradients")
    same = all(np.array_equal(p.data, w) for p, w in zip(parameters(model), weights, strict=True))
    assert same, "your function changed the weights: it gives gradients, the optimiser takes the step"
    assert not isinstance(J, Tensor), "J is a Tensor: a number is wanted, J.item()"
    assert np.ndim(J) == 0, f"J has the shape {np.shape(J)}: it is one number, the mean over the batch"
    shapes = [p.shape for p in parameters(model)]
    fits = isinstance(gradients, list | tuple) and [np.shape(g) for g in gradients] == shapes
    assert fits, "one gradient for each of `parameters(model)`, in that order, is wanted (not that of x)"
    return np.concatenate([[float(J)], *(np.ravel(g) for g in gradients)])


@pytest.mark.exercise("adversarial_objective", points=3)
def test_both_costs_are_averaged_and_the_attack_is_a_constant(lesson):
    model, x, y = network()
    given, clean = objective(lesson, model, x, y), cost(model, x, y)
    adv = cost(model, attacks.fgsm(model, x, y, EPS), y)
    best = cost(model, 2 * x - attacks.fgsm(model, x, y, EPS), y)
    g = attacks.input_gradient(model, x, y)
    X = Tensor(x)
    (of_outputs,) = grad(model(X).sum(), [X])
    finite = np.isfinite(given).all()
    assert finite, "g / |g| is 0 / 0 where a gradient is 0: there np.sign(g) is 0"
    half = len(x) // 2
    mixed = np.concatenate([x[:half], attacks.fgsm(model, x, y, EPS)[half:]])
    average = ALPHA * clean + (1 - ALPHA) * adv
    judge(given, average, [
        ("alpha is the weight of the CLEAN cost: yours is that of the attacked one", (1 - ALPHA) * clean + ALPHA * adv),
        ("the two costs are summed: they should be averaged, with the weights alpha and 1 - alpha", clean + adv),
        ("half and half, whatever alpha says", (clean + adv) / 2),
        ("this is the attacked cost alone: the clean one is missing", adv),
        ("this is the weighted attacked cost alone: the clean one is missing", (1 - ALPHA) * adv),
        ("this is the clean cost alone: nothing was attacked", clean),
        ("half of the batch is clean and half attacked: each image should count twice, once clean and once attacked",
         cost(model, mixed, y)),
        ("the sign is wrong: these examples make the cost fall", ALPHA * clean + (1 - ALPHA) * best),
        ("the gradient's sign is missing: x moved along the gradient itself",
         ALPHA * clean + (1 - ALPHA) * cost(model, x + EPS * g / len(x), y)),
        ("the gradient's sign is missing: x moved along the gradient itself",
         ALPHA * clean + (1 - ALPHA) * cost(model, x + EPS * g, y)),
        ("eps is missing: each entry moves by 1", ALPHA * clean + (1 - ALPHA) * cost(model, x + np.sign(g), y)),
        ("the attack is clipped to [0, 1]: here, as in the paper, it is not",
         ALPHA * clean + (1 - ALPHA) * cost(model, attacks.fgsm(model, x, y, EPS, (0.0, 1.0)), y)),
        ("the attack moves away from the network's own prediction: it should move away from the true label y",
         ALPHA * clean + (1 - ALPHA) * cost(model, attacks.fgsm(model, x, metrics.predict(model, x), EPS), y)),
        ("the second cost is that of the change alone: the examples are x plus the change",
         ALPHA * clean + (1 - ALPHA) * cost(model, EPS * np.sign(g), y)),
        ("the clean half has no gradient: `model(x)` of an array records nothing, `model(Tensor(x))` does",
         np.r_[average[0], (1 - ALPHA) * adv[1:]]),
        ("the attacked half has no gradient: `model(x_adv)` of an array records nothing, `model(Tensor(x_adv))` does",
         np.r_[average[0], ALPHA * clean[1:]]),
        ("the attack raises the network's outputs: the gradient is that of the cost J, which depends on y",
         ALPHA * clean + (1 - ALPHA) * cost(model, x + EPS * np.sign(of_outputs), y)),
        ("J is right, its gradients are those of the clean cost alone", np.r_[average[0], clean[1:]]),
        ("J is right, its gradients are those of the attacked cost alone", np.r_[average[0], adv[1:]]),
        ("the gradients are right, J is the attacked cost alone", np.r_[adv[0], average[1:]]),
        ("the gradients are right, J is the clean cost alone", np.r_[clean[0], average[1:]]),
    ])  # fmt: skip


@pytest.mark.exercise("adversarial_objective", points=2)
def test_the_attack_sees_no_masks_and_both_costs_do(lesson):
    model, x, y = network(keep=(0.5, 0.5))
    watched = Watched(model)
    objective(lesson, watched, x, y, rng=generator(1))
    right = attacks.fgsm(model, x, y, EPS)
    masked = [inputs for with_rng, inputs in watched.calls if with_rng]
    assert masked, "no pass has masks: training calls model(x, rng=rng), without it dropout is off"
    seen = np.concatenate(masked)

    def shown(examples):
        return all(any(np.allclose(row, other) for other in seen) for row in examples)

    assert len(seen) > len(x), "only one of the costs has masks: both are `model(..., rng=rng)`"
    assert shown(x), "the clean cost has no masks: `model(x, rng=rng)`"
    assert shown(right) or any(not with_rng for with_rng, _ in watched.calls), (
        "the attack was made under masks: it sees the network without dropout, `model(x)` without rng"
    )
    unmasked = [inputs for with_rng, inputs in watched.calls if not with_rng]
    passed = any(inputs.shape == right.shape and np.allclose(inputs, right) for inputs in unmasked)
    assert not passed, "the attacked cost has no masks: it is part of the training, `model(x_adv, rng=rng)`"
    assert shown(right), "the attacked images are not those that fool the network without dropout"


@pytest.mark.exercise("adversarial_objective", points=1)
def test_no_rng_is_no_dropout(lesson):
    model, x, y = network(keep=(0.5, 0.5))
    J, gradients = losses.adversarial_objective(model, x, y, None, EPS, ALPHA)
    right = np.concatenate([[J], *(g.ravel() for g in gradients)])
    assert close(objective(lesson, model, x, y), right), (
        "with rng=None there is no dropout: hand `rng` on, make no generator of your own"
    )


# ---------------------------------------------------------------------------------------------------------
# transfer


@pytest.mark.exercise("transfer", points=3)
def test_rows_are_made_on_columns_are_shown_to(lesson):
    rng = np.random.default_rng(9)
    networks = [network(seed=s, units=u)[0] for s, u in ((1, 3), (2, 5), (3, 4))]
    x, y = rng.random((40, 6)), rng.integers(0, 3, 40)
    y[:30] = metrics.predict(networks[0], x[:30])  # so that the networks differ in how often they are right
    E = np.array([
        [metrics.evaluate(shown, attacks.fgsm(made, x, y, EPS), y).error for shown in networks] for made in networks
    ])  # fmt: skip
    clean = np.array([metrics.evaluate(n, x, y).error for n in networks])
    own = [attacks.fgsm(n, x, y, EPS) for n in networks]
    changed = np.array([
        [np.mean(metrics.predict(n, x_adv) != metrics.predict(n, x)) for n in networks] for x_adv in own
    ])  # fmt: skip
    fools = [metrics.predict(n, x_adv) != y for n, x_adv in zip(networks, own, strict=True)]
    of_mistakes = np.array([
        [np.mean(metrics.predict(n, x_adv[wrong]) != y[wrong]) for n in networks]
        for x_adv, wrong in zip(own, fools, strict=True)
    ])  # fmt: skip
    agree = np.array([
        [np.mean(metrics.predict(n, x_adv) != metrics.predict(m, x_adv)) for n in networks]
        for m, x_adv in zip(networks, own, strict=True)
    ])  # fmt: skip
    predicted = [attacks.fgsm(n, x, metrics.predict(n, x), EPS) for n in networks]
    by_prediction = np.array([[np.mean(metrics.predict(n, x_adv) != y) for n in networks] for x_adv in predicted])
    judge(called(lesson.transfer, networks, x, y, EPS), E, [
        ("rows and columns are exchanged: E[i, j] is made on i and shown to j", E.T),
        ("this is the share of right answers: the error is that of wrong ones", 1 - E),
        ("a number of images, not a share of them", E * len(x)),
        ("in per cent: the error is a share from 0 to 1", 100 * E),
        ("each network was shown its own examples, whichever they were made on", np.tile(np.diag(E), (3, 1))),
        ("each network was shown its own examples, whichever they were made on", np.tile(np.diag(E), (3, 1)).T),
        ("the images were not attacked: these are the clean errors", np.tile(clean, (3, 1))),
        ("only the examples that fool their own network were counted: the error is over all images", of_mistakes),
        ("compared with the answer on the clean image: compare with the true label y", changed),
        ("compared with the answer of the network that they were made on: compare with the true label y", agree),
        ("the attack moved away from the network's own predictions: hand it the true labels y", by_prediction),
        ("one error for each network: the matrix (K, K) has one error for each pair", np.diag(E)),
    ])  # fmt: skip


@pytest.mark.exercise("transfer", points=1)
def test_of_two_and_of_one(lesson):
    model, x, y = network()
    for networks in ([model], [model, network(seed=5)[0]]):
        given = np.asarray(called(lesson.transfer, networks, x, y, 0.0))
        K = len(networks)
        assert given.shape == (K, K), f"of {K} networks the shape ({K}, {K}) is wanted, yours is {given.shape}"
        clean = [metrics.evaluate(n, x, y).error for n in networks]
        assert close(given, np.tile(clean, (K, 1))), "with eps = 0 these should be the clean errors, in each row"


# ---------------------------------------------------------------------------------------------------------
# stop


def stopped(lesson, errors, patience):
    best, last = several(called(lesson.stop, errors, patience), "the best epoch, the last epoch")
    return int(best), int(last)


@pytest.mark.exercise("stop", points=2)
def test_patience_counts_from_the_best(lesson):
    errors = [5.0, 3.0, 4.0, 3.5, 2.0, 2.5, 2.8, 2.9, 2.95, 3.0, 1.0, 1.5]
    judge(stopped(lesson, errors, 3), (5, 8), [
        ("epochs are counted from 1", (4, 7)),
        ("best and last are exchanged: first the best", (8, 5)),
        ("one epoch too early: `patience` epochs are trained AFTER the best", (5, 7)),
        ("one epoch too early: `patience` epochs are trained AFTER the best", (2, 4)),
        ("one epoch too late: after `patience` epochs without a new best it ends", (5, 9)),
        ("this looks into the future: epochs after the end were never trained", (11, 8)),
        ("it stopped when the error rose once: it should wait for `patience` epochs", (2, 3)),
        ("it never stopped: the list goes on, but training ends `patience` epochs after the best", (11, 12)),
        ("the last epoch is kept: the best epoch is that of the lowest error", (8, 8)),
    ])  # fmt: skip


@pytest.mark.exercise("stop", points=1)
def test_compared_with_the_lowest_not_with_the_epoch_before(lesson):
    errors = [4.0, 1.0, 3.0, 2.9, 2.8, 2.7, 2.6, 0.5]
    judge(stopped(lesson, errors, 2), (2, 4), [
        ("compared with the epoch before: the error has to fall below the LOWEST so far", (8, 8)),
        ("compared with the epoch before: the error has to fall below the LOWEST so far", (7, 8)),
        ("compared with the epoch before: the error has to fall below the LOWEST so far", (2, 8)),
        ("one epoch too early: `patience` epochs are trained AFTER the best", (2, 3)),
        ("one epoch too late: after `patience` epochs without a new best it ends", (2, 5)),
    ])  # fmt: skip


@pytest.mark.exercise("stop", points=1)
def test_an_equal_error_is_not_lower(lesson):
    judge(stopped(lesson, [3.0, 2.0, 2.0, 2.0, 2.0, 2.0], 3), (2, 5), [
        ("an equal error counts as a new best: it has to be BELOW all before it", (6, 6)),
        ("an equal error counts as a new best: it has to be BELOW all before it", (5, 5)),
    ])  # fmt: skip


@pytest.mark.exercise("stop", points=1)
def test_the_list_may_end_first_and_the_first_may_be_the_best(lesson):
    judge(stopped(lesson, [3.0, 2.0, 1.0], 100), (3, 3), [
        ("the list ends before patience does: then its last epoch is the last one trained", (3, 103)),
    ])  # fmt: skip
    judge(stopped(lesson, [1.0, 2.0, 3.0, 4.0], 2), (1, 3), [
        ("the first epoch can be the best", (2, 4)),
        ("the first epoch can be the best", (2, 3)),
    ])  # fmt: skip
    judge(stopped(lesson, [1.0], 1), (1, 1))


# ---------------------------------------------------------------------------------------------------------
# locality


@pytest.mark.exercise("locality", points=2)
def test_the_largest_share_of_squares_in_a_window(lesson):
    w = np.random.default_rng(10).standard_normal((6, 49)) ** 3
    right, side, b = metrics.window_energy(w, 3), 7, 3

    def windows(values):
        images = values.reshape(-1, side, side)
        starts = [(r, c) for r in range(side - b + 1) for c in range(side - b + 1)]
        return starts, np.array([images[:, r : r + b, c : c + b].sum(axis=(1, 2)) for r, c in starts]).T

    starts, squares = windows(w**2)
    total = (w**2).sum(axis=1)
    apart = [i for i, (r, c) in enumerate(starts) if r % b == 0 and c % b == 0]
    inner = [i for i, (r, c) in enumerate(starts) if r < side - b and c < side - b]
    sizes, signed = windows(abs(w))[1], windows(w)[1]
    judge(called(lesson.locality, w, 3), right, [
        ("sizes |w| were summed: sum the squares w^2", sizes.max(axis=1) / abs(w).sum(axis=1)),
        ("the weights were summed with their signs, so that they cancel: sum the squares w^2",
         signed.max(axis=1) / w.sum(axis=1)),
        ("the sum in the window is not divided by that over the whole filter: L is a share", squares.max(axis=1)),
        ("divided by the sum of |w|: both sums are of squares", squares.max(axis=1) / abs(w).sum(axis=1)),
        ("divided by the number of pixels: L is a share of the filter's own squares", squares.max(axis=1) / 49),
        ("divided by the squares of all filters: divide by each filter's own", squares.max(axis=1) / total.sum()),
        ("windows side by side: B may lie anywhere, so windows overlap", squares[:, apart].max(axis=1) / total),
        ("the last row and column of windows are missing: there are side - window + 1", squares[:, inner].max(axis=1)
         / total),
        ("this is the mean over the windows: L is the largest share", squares.mean(axis=1) / total),
        ("this is the smallest share: L is the largest", squares.min(axis=1) / total),
        ("the window in the middle only: B is the best of all windows", squares[:, len(starts) // 2] / total),
        ("one number for all filters: each has its own", right.mean()),
        ("one number for all filters: each has its own", right.max()),
        ("this is the square root of the share: L is the share itself", np.sqrt(right)),
    ])  # fmt: skip


@pytest.mark.exercise("locality", points=1)
def test_what_is_known_beforehand(lesson):
    spot = np.zeros((28, 28))
    spot[-9:, -9:] = -1.0  # in the corner that comes last, and negative
    judge(called(lesson.locality, np.stack([spot.ravel(), np.ones(784)]), 9), [1.0, (9 / 28) ** 2], [
        ("wrong where the best window lies at the last row and column", [64 / 81, (9 / 28) ** 2]),
        ("the weights were summed with their signs: a window of -1 counts as much as one of 1", [0.0, (9 / 28) ** 2]),
    ])  # fmt: skip
    whole = [("a window as large as the filter holds all of it", [0.0])]
    judge(called(lesson.locality, np.ones((1, 16)), 4), [1.0], whole)


@pytest.mark.exercise("locality", points=1)
def test_the_callers_weights_stay(lesson):
    w = np.random.default_rng(11).standard_normal((2, 25))
    called(lesson.locality, w, 2)
