"""Attacks: how far they move, that they do what closed forms say, touch nothing else, and what they refuse."""

import math
import re
from functools import partial

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from placed import host

from tinyadv import attacks, losses, metrics, models, ops
from tinyadv.attacks import apgd, fgsm, input_gradient, pgd, pgd_l2, rotate, rotated, square
from tinyadv.backend import generator
from tinyadv.gradcheck import gradcheck
from tinyadv.layers import parameters
from tinyadv.tensor import Tensor, grad

N, D, K = 8, 6, 3
NETWORKS = {
    "softmax": lambda rng: models.softmax_regression(D, K, scale=1.0, rng=rng),
    "logistic": lambda rng: models.logistic_regression(D, scale=1.0, rng=rng),
    "maxout": lambda rng: models.maxout_network(5, 2, inputs=D, classes=K, scale=0.5, rng=rng),
    "maxout-sigmoid": lambda rng: models.maxout_network(5, 2, 1, "sigmoid", D, K, scale=0.5, rng=rng),
    "rbf": lambda rng: models.rbf_network(D, K, beta=0.5, rng=rng),
    "rbf-full": lambda rng: models.rbf_network(D, K, beta=0.5, full=True, rng=rng),
}
seeds = st.integers(0, 9999)
epsilons = st.floats(0, 2, allow_subnormal=False)


def network(name, seed=1, dtype="float32"):
    return NETWORKS[name](generator(seed, "weights")).to(dtype=dtype)


def batch(model, seed=1, dtype="float32"):
    """Inputs and true labels."""
    rng = np.random.default_rng(seed)
    y = rng.integers(0, K, N)
    return rng.random((N, D)).astype(dtype), np.where(y == 0, -1, 1) if model.top == "logistic" else y


@pytest.fixture(params=NETWORKS)
def model(request):
    return network(request.param)


@pytest.fixture
def asked(monkeypatch):
    """The points at which an attack asks for a gradient, one after another."""
    points, finite_gradient = [], attacks.finite_gradient

    def noting(model, x, y):
        points.append(x)
        return finite_gradient(model, x, y)

    monkeypatch.setattr(attacks, "finite_gradient", noting)
    return points


def loss_of_each(model, x, y):
    return np.array([model.loss(model(x[n : n + 1]), y[n : n + 1]) for n in range(len(x))])


# ---------------------------------------------------------------------------------------------------------
# The gradient


def test_the_input_gradient_is_each_example_s_own(model):
    model = model.to(dtype="float64")
    x, y = batch(model, dtype="float64")
    G = input_gradient(model, x, y)
    assert G.shape == x.shape
    for n in range(N):
        X = Tensor(x[n : n + 1])
        (g,) = grad(model.loss(model(X), y[n : n + 1]), [X])
        np.testing.assert_allclose(G[n : n + 1], g, rtol=1e-9, atol=1e-15)


def test_the_input_gradient_is_what_the_loss_does(model):
    model = model.to(dtype="float64")
    x, y = batch(model, dtype="float64")
    G, h = input_gradient(model, x, y), 1e-6
    for d in range(D):
        step = h * np.eye(D)[d]
        slope = (loss_of_each(model, x + step, y) - loss_of_each(model, x - step, y)) / (2 * h)
        np.testing.assert_allclose(G[:, d], slope, rtol=1e-5, atol=1e-8)


# ---------------------------------------------------------------------------------------------------------
# How far it moves


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(sorted(NETWORKS)), seeds, epsilons, st.sampled_from(["float32", "float64"]))
@example("softmax", 0, 0.0, "float32")
def test_every_entry_moves_by_eps_along_the_sign_of_its_gradient(name, seed, eps, dtype):
    model = network(name, seed, dtype)
    x, y = batch(model, seed, dtype)
    moved, g = fgsm(model, x, y, eps) - x, input_gradient(model, x, y)
    rounding = np.finfo(dtype).eps * (1 + eps)
    assert abs(moved).max() <= eps + rounding
    assert (abs(abs(moved) - eps) <= rounding)[g != 0].all()
    assert (moved * g >= 0).all()


def test_where_the_gradient_is_exactly_zero_nothing_moves(xp):
    model = network("maxout")
    W = parameters(model)[0].data
    W[..., [1, 4]] = 0.0  # no unit sees these pixels
    for p in parameters(model):
        p.data = xp.asarray(p.data)
    x, y = batch(model)
    moved = host(fgsm(model, xp.asarray(x), xp.asarray(y), 0.25)) - x
    assert not moved[:, [1, 4]].any()
    assert (abs(moved[:, [0, 2, 3, 5]]) > 0.2).all()


@pytest.mark.parametrize("eps", [0.25, np.float64(0.25), np.float32(0.25), np.array(0.25), 1])
def test_float32_stays_float32_whatever_kind_of_number_eps_is(model, eps):
    x, y = batch(model)
    for clip in (None, (0, 1), (np.float64(0), np.float64(1))):
        x_adv = fgsm(model, x, y, eps, clip=clip)
        assert x_adv.dtype == "float32"
        assert x_adv.tobytes() == fgsm(model, x, y, float(eps), clip=clip).tobytes()


@settings(max_examples=30, deadline=None)
@given(seeds, epsilons, st.floats(-1, 0), st.floats(1, 2))
def test_clip_keeps_within_the_bounds_and_changes_nothing_else(seed, eps, low, high):
    model = network("softmax", seed, "float64")
    x, y = batch(model, seed, "float64")
    clipped = fgsm(model, x, y, eps, clip=(low, high))
    assert clipped.tobytes() == np.clip(fgsm(model, x, y, eps), low, high).tobytes()


def test_by_default_nothing_is_clipped(model):
    x, y = batch(model)
    x_adv = fgsm(model, x, y, 2.0)
    assert x_adv.min() < -0.5
    assert x_adv.max() > 1.5


# ---------------------------------------------------------------------------------------------------------
# What it does to the loss


@settings(max_examples=40, deadline=None)
@given(seeds, epsilons)
def test_on_a_linear_model_the_loss_rises_exactly_by_the_closed_form(seed, eps):
    model = network("logistic", seed, "float64")
    x, y = batch(model, seed, "float64")
    W, b = (p.data for p in parameters(model))
    z = x @ W[0] + b
    after = loss_of_each(model, fgsm(model, x, y, eps), y)
    np.testing.assert_allclose(after, np.logaddexp(0, eps * abs(W).sum() - y * z), rtol=1e-10)


@settings(max_examples=40, deadline=None)
@given(seeds, epsilons)
def test_on_softmax_regression_the_loss_rises_at_least_as_its_tangent_does(seed, eps):
    model = network("softmax", seed, "float64")
    x, y = batch(model, seed, "float64")
    rise = loss_of_each(model, fgsm(model, x, y, eps), y) - loss_of_each(model, x, y)
    tangent = eps * abs(input_gradient(model, x, y)).sum(axis=1)  # J is convex in x
    assert (rise >= tangent - 1e-12).all()


@pytest.mark.parametrize("gap", [20.0, 80.0])
def test_a_saturated_float32_network_still_has_a_gradient(gap):
    model, precise = network("softmax"), network("softmax", dtype="float64")
    x, y = batch(model)
    x[:, 0], y[...] = 1.0, 0
    for m in (model, precise):
        parameters(m)[0].data[0, 0] += gap
    assert (model.probabilities(model(x))[:, 0] == 1.0).all()
    assert metrics.zero_gradient_share(model, x, y) == 0.0
    moved = fgsm(model, x, y, 0.1) - x
    assert (np.sign(moved) == np.sign(input_gradient(precise, x.astype("float64"), y))).all()


# ---------------------------------------------------------------------------------------------------------
# Labels


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_an_example_does_not_depend_on_its_batch_mates(name, seed):
    model = network(name, seed, "float64")
    x, y = batch(model, seed, "float64")
    together = fgsm(model, x, y, 0.25)
    for n in range(N):
        assert together[n].tobytes() == fgsm(model, x[n : n + 1], y[n : n + 1], 0.25)[0].tobytes()
    shuffled = np.random.default_rng(0).permutation(N)
    assert fgsm(model, x[shuffled], y[shuffled], 0.25).tobytes() == together[shuffled].tobytes()


def test_the_label_says_what_to_move_away_from(model):
    """The true label and the predicted one give the same attack where the prediction is right, and only there."""
    x, y = batch(model)
    predicted = metrics.predict(model, x)
    right = predicted == y
    assert 0 < right.sum() < N
    with_true, with_predicted = fgsm(model, x, y, 0.1), fgsm(model, x, predicted, 0.1)
    assert with_true[right].tobytes() == with_predicted[right].tobytes()
    assert (with_true != with_predicted)[~right].any(axis=1).all()
    before, after = (loss_of_each(model, a, predicted) for a in (x, with_predicted))
    assert (after > before).all()


def test_labels_and_targets_make_the_same_attack():
    model = network("maxout")
    x, y = batch(model)
    assert fgsm(model, x, np.eye(K)[y], 0.25).tobytes() == fgsm(model, x, y, 0.25).tobytes()


# ---------------------------------------------------------------------------------------------------------
# What it leaves alone


def test_it_changes_no_parameter_no_input_and_no_label(model, xp):
    x, y = batch(model)
    for p in parameters(model):
        p.data = xp.asarray(p.data)
    x, y = xp.asarray(x), xp.asarray(y)
    owned = [x, y, *(p.data for p in parameters(model))]
    before, attributes = [host(a).tobytes() for a in owned], dict(vars(model))
    x_adv = fgsm(model, x, y, 0.25, clip=(0.0, 1.0))
    assert type(x_adv) is type(x)
    assert [host(a).tobytes() for a in owned] == before
    assert all(p.data is a for p, a in zip(parameters(model), owned[2:], strict=True))
    assert vars(model) == attributes
    x_adv[:] = 7.0
    assert host(x).tobytes() == before[0]


def test_eps_0_gives_a_copy(model):
    x, y = batch(model)
    x_adv = fgsm(model, x, y, 0.0)
    assert x_adv.tobytes() == x.tobytes()
    assert not np.shares_memory(x_adv, x)


def test_it_never_computes_a_gradient_of_a_parameter(model, monkeypatch):
    """An attack that also computes dL/dW costs twice as much, and invites it to be used."""
    calls = []

    def counting(op, i, formula):
        return lambda *args, **settings: calls.append((op.__name__, i)) or formula(*args, **settings)

    for op in (ops.linear, ops.rbf):
        monkeypatch.setattr(op, "formulas", tuple(counting(op, i, f) for i, f in enumerate(op.formulas)))
    x, y = batch(model)
    fgsm(model, x, y, 0.25)
    layers = sum(hasattr(layer, "W") or hasattr(layer, "mu") for layer in model.layers)
    assert calls == [("rbf" if "rbf" in model.top else "linear", 0)] * layers
    X = Tensor(x)
    grad(model.loss(model(X), y), [X, *parameters(model)])
    assert {i for _, i in calls} == {0, 1, 2}  # the count would see them


def test_dropout_is_off():
    model = network("maxout")
    x, y = batch(model)
    without = models.maxout_network(5, 2, inputs=D, classes=K, scale=0.5, keep=(1.0, 1.0), rng=generator(1, "weights"))
    assert fgsm(model, x, y, 0.25).tobytes() == fgsm(without, x, y, 0.25).tobytes()


# ---------------------------------------------------------------------------------------------------------
# PGD


@settings(max_examples=40, deadline=None)
@given(st.sampled_from(sorted(NETWORKS)), seeds, epsilons, st.integers(1, 4), st.booleans(), st.booleans())
def test_pgd_stays_in_the_box_and_within_the_bounds(name, seed, eps, steps, start_at_random, clipped):
    model = network(name, seed)
    x, y = batch(model, seed)
    rng, clip = generator(seed) if start_at_random else None, (0.0, 1.0) if clipped else None
    x_adv = pgd(model, x, y, eps, steps, rng=rng, clip=clip)
    assert x_adv.dtype == "float32"
    assert abs(x_adv - x).max() <= eps + np.finfo("float32").eps * (1 + eps)
    assert not clipped or (x_adv.min() >= 0 and x_adv.max() <= 1)


def test_pgd_of_one_step_is_fgsm(model):
    x, y = batch(model)
    for clip in (None, (0.0, 1.0)):
        np.testing.assert_allclose(pgd(model, x, y, 0.25, 1, clip=clip), fgsm(model, x, y, 0.25, clip=clip), rtol=1e-6)


@pytest.mark.parametrize("start_at_random", [False, True])
def test_on_a_linear_model_pgd_ends_in_the_corner_that_fgsm_finds(start_at_random):
    model = network("logistic")
    x, y = batch(model)
    x_adv = pgd(model, x, y, 0.25, 20, rng=generator(0) if start_at_random else None)
    np.testing.assert_allclose(x_adv, fgsm(model, x, y, 0.25), rtol=1e-6)


def test_pgd_climbs_higher_than_fgsm_where_the_network_bends():
    gained = []
    for seed in range(10):
        model = network("maxout", seed, "float64")
        x, y = batch(model, seed, "float64")
        J_fgsm, J_pgd = (float(model.loss(model(a), y)) for a in (fgsm(model, x, y, 0.5), pgd(model, x, y, 0.5)))
        gained.append(J_pgd - J_fgsm)
    assert np.mean(gained) > 0
    assert min(gained) > -0.01


def test_pgd_starts_anywhere_in_the_box_and_is_a_function_of_its_seed(xp):
    model = network("maxout")
    x, y = batch(model)
    for p in parameters(model):
        p.data = xp.asarray(p.data)
    x_on, y_on = xp.asarray(x), xp.asarray(y)
    first, same, other = (host(pgd(model, x_on, y_on, 0.25, 2, rng=generator(seed))) for seed in (1, 1, 2))
    assert first.tobytes() == same.tobytes() != other.tobytes()
    assert host(x_on).tobytes() == x.tobytes()


def test_pgd_refuses_what_fgsm_refuses_and_no_steps(model):
    x, y = batch(model)
    for steps in (0, -1, 2.5, 3.0, "3", None):
        with pytest.raises(ValueError, match=f"pgd takes a whole number of steps, at least 1; got {steps!r}"):
            pgd(model, x, y, 0.25, steps=steps)
    with pytest.raises(ValueError, match="a finite number >= 0, got -1"):
        pgd(model, x, y, -1.0)
    with pytest.raises(ValueError, match="clip is"):
        pgd(model, x, y, 0.1, clip=(1.0, 0.0))
    with pytest.raises(ValueError, match="holds a NaN or an infinity"):
        pgd(model, x * np.float32("nan"), y, 0.1)


@pytest.mark.parametrize("clip", [None, (0.0, 1.0)])
@pytest.mark.parametrize("radius", [0.0, 0.3, 2.0])
def test_l2_pgd_stays_in_the_ball_and_within_the_bounds(model, radius, clip):
    x, y = batch(model)
    x_adv = pgd_l2(model, x, y, radius, 5, clip)
    assert x_adv.dtype == "float32"
    assert norms(x_adv - x).max() <= radius * (1 + 1e-5) + 1e-6
    assert clip is None or (x_adv.min() >= 0 and x_adv.max() <= 1)


def test_a_step_of_l2_pgd_is_2_5_radii_divided_by_the_steps(asked):
    model = network("logistic", dtype="float64")
    x, y = batch(model, dtype="float64")
    x_adv = pgd_l2(model, x, y, 0.2, 5)
    for after, at in zip((0, 0.5, 1, 1, 1, 1), [*asked, x_adv], strict=True):
        np.testing.assert_allclose(norms(at - x) / 0.2, after)


@pytest.mark.parametrize(
    "attack", [partial(pgd, eps=0.5, steps=2, rng=generator(0)), partial(pgd_l2, radius=1.0, steps=4)],
    ids=["pgd", "pgd_l2"],
)  # fmt: skip
def test_gradients_are_asked_for_within_the_bounds_alone(attack, asked):
    model = network("softmax")
    x, y = batch(model)
    attack(model, x, y, clip=(0.0, 1.0))
    assert min(at.min() for at in asked) >= 0.0
    assert max(at.max() for at in asked) <= 1.0
    assert abs(asked[-1] - x).max() > 0.2


def test_on_a_linear_model_l2_pgd_goes_straight_and_on_another_higher_than_one_step():
    model = network("logistic")
    x, y = batch(model)
    w = parameters(model)[0].data[0]
    np.testing.assert_allclose(pgd_l2(model, x, y, 0.5) - x, -y[:, None] * 0.5 * w / np.linalg.norm(w), atol=1e-5)
    model = network("maxout", 4, "float64")
    x, y = batch(model, 4, "float64")
    one, many = (float(model.loss(model(pgd_l2(model, x, y, 1.0, steps)), y)) for steps in (1, 40))
    assert many > one


# ---------------------------------------------------------------------------------------------------------
# APGD and the square attack


@settings(max_examples=30, deadline=None)
@given(st.sampled_from(sorted(NETWORKS)), seeds, epsilons, st.integers(1, 12), st.booleans(), st.booleans())
def test_apgd_stays_in_the_box_and_never_ends_below_its_start(name, seed, eps, steps, start_at_random, clipped):
    model = network(name, seed)
    x, y = batch(model, seed)
    rng, clip = generator(seed) if start_at_random else None, (0.0, 1.0) if clipped else None
    x_adv = apgd(model, x, y, eps, steps, rng=rng, clip=clip)
    assert x_adv.dtype == "float32"
    assert abs(x_adv - x).max() <= eps + np.finfo("float32").eps * (1 + eps)
    assert not clipped or (x_adv.min() >= 0 and x_adv.max() <= 1)
    if not start_at_random:
        assert (loss_of_each(model, x_adv, y) >= loss_of_each(model, x, y)).all()


def apgd_by_hand(model, x, y, eps, steps):
    """Algorithm 1 of Croce and Hein (2020) for one example, a list of everything kept."""
    J = lambda x: float(model.loss(model(x), y))  # noqa: E731
    project = lambda z: np.clip(z, x - eps, x + eps)  # noqa: E731
    periods, checkpoints = [max(int(0.22 * steps), 1)], [0]
    while checkpoints[-1] + periods[-1] <= steps:
        checkpoints.append(checkpoints[-1] + periods[-1])
        periods.append(max(periods[-1] - max(int(0.03 * steps), 1), max(int(0.06 * steps), 1)))
    points, costs, step, bests = [x], [J(x)], 2 * eps, [J(x)]
    best, best_cost, previous, reduced, rises = x, J(x), x, True, []
    for k in range(steps):
        now = points[-1]
        z = project(now + step * np.sign(input_gradient(model, now, y)))
        new = z if k == 0 else project(now + 0.75 * (z - now) + 0.25 * (now - previous))
        rises.append(J(new) > costs[-1])
        previous = now
        if J(new) > best_cost:
            best, best_cost = new, J(new)
        points.append(new)
        costs.append(J(new))
        if k + 1 in checkpoints[1:]:
            since = rises[checkpoints[checkpoints.index(k + 1) - 1] : k + 1]
            unchanged = not reduced and best_cost == bests[-1]
            reduced = sum(since) <= 0.75 * len(since) or unchanged
            if reduced:
                step, points[-1], costs[-1] = step / 2, best, best_cost
            bests.append(best_cost)
    return best


@pytest.mark.parametrize("steps", [1, 5, 20, 60])
def test_apgd_is_algorithm_1_each_example_by_itself(steps):
    model = network("maxout", 3, "float64")
    x, y = batch(model, 3, "float64")
    x_adv = apgd(model, x, y, 0.5, steps)
    for n in range(len(x)):
        expected = apgd_by_hand(model, x[n : n + 1], y[n : n + 1], 0.5, steps)
        np.testing.assert_allclose(x_adv[n : n + 1], expected, atol=1e-9)


def test_apgd_climbs_higher_than_pgd_where_the_network_bends():
    gained = []
    for seed in range(10):
        model = network("maxout", seed, "float64")
        x, y = batch(model, seed, "float64")
        J_pgd, J_apgd = (float(model.loss(model(attack(model, x, y, 0.5, 40)), y)) for attack in (pgd, apgd))
        gained.append(J_apgd - J_pgd)
    assert np.mean(gained) > 0


def images(seed=1, side=6, channels=1, classes=K):
    """A linear network of images, and some of them with the labels that it gives."""
    model = models.softmax_regression(channels * side * side, classes, scale=1.0, rng=generator(seed))
    x = np.random.default_rng(seed).random((20, channels * side * side), dtype="float32")
    return model, x, model(x).argmax(axis=1)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("clip", [None, (0.0, 1.0)])
def test_the_square_attack_moves_by_eps_within_the_bounds_and_lowers_the_margin(clip, channels):
    model, x, y = images(channels=channels)
    fooled = []
    for queries in (1, 10, 100, 400):
        x_adv = square(model, x, y, 0.1, queries, rng=generator(0), channels=channels, clip=clip)
        assert x_adv.dtype == "float32"
        moved = (x + 0.1, x - 0.1) if clip is None else ((x + 0.1).clip(*clip), (x - 0.1).clip(*clip))
        assert np.minimum(abs(x_adv - moved[0]), abs(x_adv - moved[1])).max() < 1e-6
        fooled.append((model(x_adv).argmax(axis=1) != y).mean())
    assert fooled == sorted(fooled)
    assert fooled[-1] > fooled[0]
    best = (model(fgsm(model, x, y, 0.1, clip=clip)).argmax(axis=1) != y).mean()
    assert fooled[-1] >= 0.5 * best


def test_the_square_attack_asks_no_gradient_and_starts_from_stripes(monkeypatch):
    model, x, y = images(channels=2)
    monkeypatch.setattr("tinyadv.attacks.grad", None)
    eta = (square(model, x, y, 0.1, 1, rng=generator(0), channels=2) - x).reshape(-1, 2, 6, 6)
    np.testing.assert_allclose(eta, np.broadcast_to(eta[:, :, :1], eta.shape), atol=1e-6)
    assert (np.sign(eta[:, :, 0]) == 1).mean() == pytest.approx(0.5, abs=0.15)


def test_an_image_that_is_fooled_is_left_alone_and_each_query_changes_at_most_a_square():
    model, x, y = images()
    batches = []

    class Seen:
        def __call__(self, x):
            batches.append(x)
            return model(x)

    square(Seen(), x, y, 0.05, 60, rng=generator(0))
    sizes = [len(a) for a in batches]
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[-1] < sizes[0]


def tried(side, queries, channels=1):
    """The images, and what the square attack shows a network that nothing fools: stripes, and changes of these."""
    x, shown = images(side=side, channels=channels)[1], []

    def never(x):
        shown.append(x.reshape(-1, channels, side, side))
        return np.tile(np.arange(K, dtype=x.dtype), (len(x), 1))

    square(never, x, np.full(len(x), K - 1), 0.05, queries, rng=generator(1), channels=channels)
    stripes, *changed = shown
    return x.reshape(stripes.shape), stripes, np.array(changed)


def test_each_query_changes_one_square_of_the_published_size():
    _, stripes, shown = tried(28, 500)
    assert len(shown) == 499
    # sqrt(0.8 / 2^h) * 28, after h = 0, 2, 3, 4, 6, 9 halvings; the third is due after query 10, not with it
    for query, size in {0: 25, 10: 13, 11: 9, 29: 6, 149: 3, 498: 1}.items():
        changed = (abs(shown[query] - stripes) > 1e-6)[:, 0]
        rows, columns = (changed.any(axis=axis) for axis in (2, 1))
        assert rows.sum(axis=1).max() == size
        assert columns.sum(axis=1).max() <= size
        extent = [np.flatnonzero(row)[[0, -1]] for row in rows if row.any()]
        assert all(last - first == size - 1 for first, last in extent)


def test_squares_lie_anywhere_and_rows_and_columns_are_drawn_apart():
    _, stripes, shown = tried(6, 300)
    changed = (abs(shown - stripes) > 1e-6)[:, :, 0]
    assert changed.any(axis=(0, 1)).all()  # the last row and the last column too
    squares = changed[changed.any(axis=(2, 3))]
    top, left = (squares.any(axis=axis).argmax(axis=1) for axis in (2, 1))
    assert (top < left).any()
    assert (top > left).any()


def test_each_channel_of_a_square_has_a_sign_of_its_own():
    x, stripes, shown = tried(6, 300, channels=3)
    changed = (abs(shown - stripes) > 1e-6).any(axis=2)
    signs = np.moveaxis(np.sign(shown - x), 2, -1)[changed]
    assert (signs.min(axis=1) != signs.max(axis=1)).any()


def test_the_square_attack_goes_on_where_two_classes_are_equally_likely():
    """Of several equal the first is predicted: such an image may still be classified correctly."""
    x, queried = np.full((2, 9), 0.5, "float32"), []
    square(lambda x: queried.append(len(x)) or np.zeros((len(x), K)), x, np.array([0, 1]), 0.1, 7, rng=generator(0))
    assert queried == [2] * 7


def test_both_stay_on_another_library(xp):
    model, x, y = images()
    expected = [host(attack(model, x, y)) for attack in (short_apgd, short_square)]
    for p in parameters(model):
        p.data = xp.asarray(p.data)
    for attack, wanted in zip((short_apgd, short_square), expected, strict=True):
        x_adv = attack(model, xp.asarray(x), xp.asarray(y))
        assert type(x_adv) is type(xp.asarray(x))
        np.testing.assert_allclose(host(x_adv), wanted, rtol=1e-5)


def short_apgd(model, x, y):
    return apgd(model, x, y, 0.1, 6, rng=generator(0))


def short_square(model, x, y):
    return square(model, x, y, 0.1, 8, rng=generator(0))


def test_apgd_and_square_refuse_what_fgsm_refuses_and_no_work():
    model, x, y = images()
    for count in (0, -1, 2.0, 2.5, "3"):
        with pytest.raises(ValueError, match=f"apgd takes a whole number of steps, at least 1; got {count!r}"):
            apgd(model, x, y, 0.1, count)
        with pytest.raises(ValueError, match=f"square takes a whole number of queries, at least 1; got {count!r}"):
            square(model, x, y, 0.1, count, rng=generator(0))
        with pytest.raises(ValueError, match=f"square takes a whole number of channels, at least 1; got {count!r}"):
            square(model, x, y, 0.1, rng=generator(0), channels=count)
    for attack in (apgd, partial(square, rng=generator(0))):
        with pytest.raises(ValueError, match="a finite number >= 0, got -1"):
            attack(model, x, y, -1.0)
        with pytest.raises(ValueError, match="holds a NaN or an infinity"):
            attack(model, x * np.float32("nan"), y, 0.1)
    with pytest.raises(ValueError, match="square takes 1 channels of square images, got rows of 35 numbers"):
        square(model, x[:, :35], y, 0.1, rng=generator(0))
    with pytest.raises(ValueError, match="several classes, got one of two"):
        square(lambda x: x[:, 0], x, y, 0.1, rng=generator(0))


# ---------------------------------------------------------------------------------------------------------
# The rotation


def norms(v):
    return np.linalg.norm(v.astype("float64"), axis=-1)


def angle_between(a, b):
    """Of each row, in radians; in float64, from the chord and its complement, which is precise at small angles too."""
    a, b = (v.astype("float64") / norms(v)[..., None] for v in (a, b))
    return 2 * np.arctan2(norms(a - b), norms(a + b))


@settings(max_examples=60, deadline=None)
@given(
    seeds,
    st.floats(0, math.pi),
    st.sampled_from(["float32", "float64"]),
    st.sampled_from([1e-30, 1e-3, 1.0, 1e30]),
    st.sampled_from([1e-3, 1.0, 1e30]),
    st.sampled_from([2, 6, 784]),
)
@example(0, 0.0, "float32", 1.0, 1.0, 6)
@example(0, math.pi, "float32", 1.0, 1.0, 6)
def test_the_rotation_keeps_the_norm_turns_by_the_angle_and_towards_g(seed, angle, dtype, size_of_g, size_of_x, n):
    rng = np.random.default_rng(seed)
    x, g = (rng.normal(size=(5, n)) * size_of_x).astype(dtype), (rng.normal(size=(5, n)) * size_of_g).astype(dtype)
    turned, rounding = rotated(x, g, angle), 8 * np.finfo(dtype).eps
    assert turned.dtype == dtype
    assert abs(norms(turned) / norms(x) - 1).max() < rounding
    np.testing.assert_allclose(angle_between(turned, x), angle, atol=rounding)
    to_g = angle_between(x, g)  # in the plane, and towards g: as much nearer to g, or past it
    np.testing.assert_allclose(angle_between(turned, g), abs(to_g - angle), atol=1e3 * rounding)


def test_a_quarter_turn_towards_an_orthogonal_gradient_by_hand():
    x, g = np.array([[3.0, 0.0], [0.0, 2.0]]), np.array([[0.0, -1e-9], [5.0, 0.0]])
    np.testing.assert_allclose(rotated(x, g, math.pi / 2), [[0, -3], [2, 0]], atol=1e-15)
    np.testing.assert_allclose(rotated(x, g, math.pi / 6)[0], [3 * 3**0.5 / 2, -1.5], atol=1e-15)
    np.testing.assert_allclose(
        rotated(x, g + 7 * x, math.pi / 2)[1], [2, 0], atol=1e-15
    )  # only what is beside x counts


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_what_is_nearly_parallel_still_turns_in_an_exact_plane(dtype):
    rng = np.random.default_rng(3)
    x = rng.random((20, 784)).astype(dtype)
    g = (x + 1e-4 * rng.normal(size=x.shape)).astype(dtype)
    turned = rotated(x, g, 0.5)
    assert abs(norms(turned) / norms(x) - 1).max() < 8 * np.finfo(dtype).eps
    np.testing.assert_allclose(angle_between(turned, x), 0.5, atol=8 * np.finfo(dtype).eps)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_without_a_plane_x_stays_and_nothing_is_nan(dtype, xp):
    """x or g of 0, and a g parallel to x; in the value, the gradients, and the second derivatives."""
    x = np.random.default_rng(0).random((8, 784)).astype(dtype)
    g = np.random.default_rng(1).normal(size=x.shape).astype(dtype)
    x[1], g[2], x[3], g[3], g[4], g[5], g[6] = 0.0, 0.0, 0.0, 0.0, x[4] * 3, x[5] * -1e-20, x[6] / 7
    x, g = xp.asarray(x), xp.asarray(g)
    stays = np.array([False, *[True] * 6, False])
    turned = host(rotated(x, g, 0.5))
    assert turned[stays].tobytes() == host(x)[stays].tobytes()
    assert (turned != host(x))[~stays].any(axis=1).all()
    X, G = Tensor(x), Tensor(g)
    first = grad(rotated(X, G, 0.5), [X, G], cotangent=xp.ones_like(x), create_graph=True)
    assert (host(first[0].data)[stays] == 1).all()
    assert (host(first[1].data)[stays] == 0).all()
    second = grad((first[0] * first[0]).sum() + (first[1] * first[1]).sum(), [X, G])
    assert all(np.isfinite(host(d)).all() for d in [*(d.data for d in first), *second])


@pytest.mark.parametrize("angle", [0.2, math.pi / 2, 2.5])
def test_the_rotation_is_differentiated_rightly_in_x_and_in_g_twice(angle):
    rng = np.random.default_rng(1)
    x, g = rng.random((4, 5)), rng.normal(size=(4, 5))
    gradcheck(lambda x, g: rotated(x, g, angle), x, g)
    gradcheck(lambda x: rotated(x, g, angle), x)
    gradcheck(lambda g: rotated(x, g, angle), g)


def test_the_attack_turns_towards_the_gradient_and_the_loss_rises_as_its_tangent_says(model):
    """To first order J rises by the angle times ||x|| times the part of the gradient that is orthogonal to x."""
    model = model.to(dtype="float64")
    x, y = batch(model, dtype="float64")
    g, t = input_gradient(model, x, y), 1e-5
    assert rotate(model, x, y, 0.3).tobytes() == rotated(x, g, 0.3).tobytes()
    beside = g - (g * x).sum(axis=1, keepdims=True) / (x * x).sum(axis=1, keepdims=True) * x
    rise = loss_of_each(model, rotate(model, x, y, t), y) - loss_of_each(model, x, y)
    np.testing.assert_allclose(rise / t, norms(x) * norms(beside), rtol=1e-3)


def test_no_other_direction_at_that_angle_raises_a_linear_loss_more():
    model = network("logistic", dtype="float64")
    x, y = batch(model, dtype="float64")
    best, rng = loss_of_each(model, rotate(model, x, y, 0.2), y), np.random.default_rng(0)
    for _ in range(200):
        other = rotated(x, rng.normal(size=x.shape), 0.2)
        assert (loss_of_each(model, other, y) <= best + 1e-12).all()


def test_differentiated_through_the_attack_the_loss_s_slope_is_the_measured_one():
    model = network("maxout-sigmoid", dtype="float64")
    x, y = batch(model, dtype="float64")

    def after(X):
        (g,) = grad(model.loss(model(X), y), [X], create_graph=True)
        return model.loss(model(rotated(X, g, 0.1)), y)

    X = Tensor(x)
    (slope,) = grad(after(X), [X])
    v, h = np.random.default_rng(0).normal(size=x.shape), 1e-6
    measured = (after(Tensor(x + h * v)).item() - after(Tensor(x - h * v)).item()) / (2 * h)
    assert (slope * v).sum() == pytest.approx(measured, rel=1e-6)


def test_angle_0_gives_a_copy(model):
    x, y = batch(model)
    assert (turned := rotate(model, x, y, 0.0)).tobytes() == x.tobytes()
    assert not np.shares_memory(turned, x)


@pytest.mark.parametrize("angle", [-0.1, 30, 3.15, float("nan"), float("inf")])
def test_a_bad_angle_is_named(angle):
    model = network("softmax")
    with pytest.raises(ValueError, match=f"an angle is in radians, from 0 to pi; got {angle}"):
        rotate(model, *batch(model), angle)


def test_the_rotation_refuses_inputs_that_fgsm_refuses():
    model = network("softmax")
    x, y = batch(model)
    with pytest.raises(ValueError, match="holds a NaN or an infinity"):
        rotate(model, x * np.float32("nan"), y, 0.1)
    with pytest.raises(TypeError, match="an attack starts from an array, got list"):
        rotate(model, x.tolist(), y, 0.1)


# ---------------------------------------------------------------------------------------------------------
# Refusals


@pytest.mark.parametrize("eps", [-0.1, float("nan"), float("inf"), np.float32("nan"), -float("inf")])
def test_a_bad_eps_is_named(model, eps):
    with pytest.raises(ValueError, match=f"eps is how far each entry may move: a finite number >= 0, got {eps}"):
        fgsm(model, *batch(model), eps)


@pytest.mark.parametrize(
    "clip", [(1.0, 0.0), (0.0, float("nan")), (0.0,), (0.0, 0.5, 1.0), 1, True, ("a", "b"), (0, None)]
)
def test_bad_bounds_are_named(clip):
    model = network("softmax")
    message = re.escape(f"clip is (low, high) with low <= high, got {clip!r}")
    for attack in (fgsm, pgd):
        with pytest.raises(ValueError, match=message):
            attack(model, *batch(model), 0.25, clip=clip)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_pixels_that_are_not_finite_are_named(model, value, xp):
    x, y = batch(model)
    x[3, 2] = value
    with pytest.raises(ValueError, match="holds a NaN or an infinity"):
        fgsm(model, xp.asarray(x), y, 0.25)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (lambda x: x[:, :-1], ValueError, r"takes x of shape \(N, 6\), got \(8, 5\)"),
        (lambda x: x[0], ValueError, r"takes x of shape \(N, 6\), got \(6,\)"),
        (lambda x: x[:0], ValueError, "finite inputs, at least one; x is empty"),
        (lambda x: x.astype("float64"), TypeError, r"of a Tensor of float32 and float64 would give float64: .*astype"),
        (lambda x: (x * 255).astype("uint8"), TypeError, "floating point numbers, got uint8"),
        (lambda x: x.tolist(), TypeError, "an attack starts from an array, got list"),
        (Tensor, TypeError, "an attack starts from an array, got Tensor"),
    ],
)
def test_inputs_of_another_kind_are_named(model, change, error, message):
    x, y = batch(model)
    with pytest.raises(error, match=message):
        fgsm(model, change(x), y, 0.25)


def test_labels_of_another_kind_are_named(model):
    x, y = batch(model)
    for wrong in (y[:-1], y * 10 + 20, y.reshape(-1, 1)):
        with pytest.raises(ValueError, match="labels"):
            fgsm(model, x, wrong, 0.25)


@pytest.mark.parametrize(
    "attack",
    [
        lambda *a: pgd_l2(*a, 0.1),
        lambda *a: apgd(*a, 0.1),
        lambda *a: square(*a, 0.1, rng=generator(0)),
        lambda *a: rotate(*a, 0.1),
    ],
    ids=["pgd_l2", "apgd", "square", "rotate"],
)
def test_what_looks_at_an_example_as_a_row_refuses_images(attack):
    """A length would be that of each line of pixels, without a word."""
    model = network("softmax")
    x, y = batch(model)
    with pytest.raises(ValueError, match=r"takes x of shape \(N, D\), a row for each example; got \(8, 1, 2, 3\)"):
        attack(lambda x: model(x.reshape(N, D)), x.reshape(N, 1, 2, 3), y)


@pytest.mark.parametrize("attack", [fgsm, pgd])
def test_steps_of_signs_take_examples_of_any_shape(attack):
    class OfImages:
        def __call__(self, x):
            return rows(x.reshape(len(x), D))

        def loss(self, outputs, y):
            return rows.loss(outputs, y)

    rows = network("maxout")
    x, y = batch(rows)
    images = x.reshape(N, 1, 2, 3)
    assert attack(OfImages(), images, y, 0.1).tobytes() == attack(rows, x, y, 0.1).tobytes()


@pytest.mark.parametrize(
    "wrong",
    [lambda y: y + 1, lambda y: y - 5, lambda y: y[:1], lambda y: np.eye(K)[y], lambda y: 1.0 * y],
)
def test_the_square_attack_refuses_labels_that_are_no_classes(wrong):
    """Each would count as misclassified already, and the network as robust."""
    model = models.softmax_regression(4, K, scale=1.0, rng=generator(0))
    y = np.arange(N) % K
    with pytest.raises(ValueError, match="square takes labels of 8 examples, integers from 0 to 2; got"):
        square(model, np.ones((N, 4), "float32"), wrong(y), 0.1, rng=generator(0))


def test_a_radius_is_named_as_what_it_is():
    model = network("softmax")
    with pytest.raises(ValueError, match="radius is how far an example may move: a finite number >= 0, got -1"):
        pgd_l2(model, *batch(model), -1)


GRADIENT, OUTPUTS = "the gradient of J is NaN or infinite", "the network's outputs are NaN"


@pytest.mark.parametrize(
    ("attack", "message"),
    [
        (lambda *a: fgsm(*a, 0.1), GRADIENT),
        (lambda *a: pgd(*a, 0.1, steps=2), GRADIENT),
        (lambda *a: pgd_l2(*a, 0.1, steps=2), GRADIENT),
        (lambda *a: apgd(*a, 0.1, steps=2), GRADIENT),
        (lambda *a: square(*a, 0.1, queries=2, channels=a[1].shape[1], rng=generator(0)), OUTPUTS),
        (lambda *a: rotate(*a, 0.1), GRADIENT),
    ],
    ids=["fgsm", "pgd", "pgd_l2", "apgd", "square", "rotate"],
)
@pytest.mark.parametrize("value", [np.nan])
def test_a_network_without_finite_gradients_is_not_attacked(attack, message, value):
    model = network("softmax", dtype="float64")
    x, y = batch(model, dtype="float64")
    parameters(model)[0].data[0, 0] = value
    with pytest.raises(FloatingPointError, match=f"{message} for {len(x)} of {len(x)} examples"):
        attack(model, x, y)


ON_PIXELS = {
    "fgsm": fgsm, "pgd": partial(pgd, steps=2), "pgd_l2": partial(pgd_l2, steps=2), "apgd": partial(apgd, steps=2),
    "square": partial(square, queries=3, rng=generator(0)),
}  # fmt: skip


@pytest.mark.parametrize("attack", ON_PIXELS)
@pytest.mark.parametrize("dtype", ["uint8", "int64", "bool"])
def test_no_attack_starts_from_whole_numbers(attack, dtype):
    W = np.random.default_rng(0).standard_normal((16, 3))

    class Model:
        def __call__(self, x):
            return x @ W

        def loss(self, outputs, y):
            return losses.softmax_cross_entropy(outputs, y)

    with pytest.raises(TypeError, match=f"an attack starts from floating point numbers, got {dtype}"):
        ON_PIXELS[attack](Model(), np.ones((4, 16), dtype), np.array([0, 1, 2, 0]), 0.25)


@pytest.mark.parametrize("clip", [(0.0, math.inf), (-math.inf, 1.0), (0.0, 1e6), (-1e6, 1.0)])
def test_wide_bounds_are_bounds_too(clip):
    network = models.softmax_regression(4, 3, scale=1.0, rng=generator(0))
    outside = clip[0] - 0.9 if clip[0] == 0.0 else clip[1] + 0.9
    y = np.array([0, 1, 2])
    with pytest.raises(ValueError, match="clipping would move it by more than eps"):
        fgsm(network, np.full((3, 4), outside, "float32"), y, 0.1, clip=clip)
    x = np.full((3, 4), 0.5, "float32")
    np.testing.assert_array_equal(fgsm(network, x, y, 0.1, clip=clip), fgsm(network, x, y, 0.1))


def test_steps_may_be_a_numpy_integer():
    network, x, y = (
        models.softmax_regression(4, 3, scale=1.0, rng=generator(0)),
        np.ones((3, 4), "float32"),
        np.arange(3),
    )
    for steps in np.array([1, 5]):
        for attack, size in ((pgd, 0.1), (pgd_l2, 0.3), (apgd, 0.1)):
            found = attack(network, x, y, size, steps=steps)
            assert found.dtype == x.dtype
            np.testing.assert_array_equal(found, attack(network, x, y, size, steps=int(steps)))
