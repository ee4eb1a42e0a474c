"""Costs against SciPy and PyTorch, label errors, the closed form of section 5, and the objectives against formulas."""

import itertools
from functools import partial
from typing import get_args

import numpy as np
import pytest
import strict
from hypothesis import given, settings
from hypothesis import strategies as st
from placed import host_data as host
from placed import place
from scipy import special

from tinyadv import layers, losses, models
from tinyadv.attacks import fgsm, input_gradient
from tinyadv.backend import full_like, generator
from tinyadv.gradcheck import gradcheck
from tinyadv.layers import parameters
from tinyadv.paper import rounding
from tinyadv.tensor import Tensor, grad, raw

N, D, K = 7, 6, 4
Y = np.array([0, 1, 2, 3, 3, 2, 1])
SIGNS = np.array([1, -1, 1, 1, -1, -1, 1])
ONE_HOT = np.eye(K)[Y]


def softmax_by_scipy(z):
    return -special.log_softmax(z, axis=1)[np.arange(N), Y].mean()


def sigmoid_by_scipy(z):
    return (special.xlogy(ONE_HOT, special.expit(z)) + special.xlogy(1 - ONE_HOT, special.expit(-z))).sum() / -N


def rbf_by_scipy(log_p):
    return (special.xlogy(ONE_HOT, np.exp(log_p)) + special.xlog1py(1 - ONE_HOT, -np.exp(log_p))).sum() / -N


COSTS = {
    "softmax": (losses.softmax_cross_entropy, softmax_by_scipy),
    "sigmoid": (losses.sigmoid_cross_entropy, sigmoid_by_scipy),
    "rbf": (losses.rbf_cross_entropy, rbf_by_scipy),
    "rbf-true-class": (losses.rbf_log_likelihood, lambda log_p: -log_p[np.arange(N), Y].mean()),
}
each_cost = pytest.mark.parametrize("cost", COSTS)


@pytest.fixture
def z(rng):
    """Outputs that fit every cost: RBF units want them below 0."""
    return -rng.gamma(2.0, size=(N, K))


# ---------------------------------------------------------------------------------------------------------
# Costs


@each_cost
def test_costs_are_scipy_s(cost, z):
    J, by_scipy = COSTS[cost]
    assert J(z, Y) == pytest.approx(by_scipy(z), rel=1e-12)


def test_the_logistic_loss_is_scipy_s(z):
    z = z[:, 0] + 2.0
    assert losses.logistic_loss(z, SIGNS) == pytest.approx(-special.log_expit(SIGNS * z).mean(), rel=1e-12)


@each_cost
def test_a_tensor_gives_a_number_and_gradients_of_float32_stay_float32(cost, z, xp):
    J, z32 = COSTS[cost][0], xp.asarray(z.astype("float32"))
    Z = Tensor(z32)
    value, (g,) = J(Z, Y), grad(J(Z, Y), [Z])
    assert value.shape == ()
    assert value.dtype == g.dtype == "float32"
    for result in (value, J(z32, Y)):
        assert result.item() == pytest.approx(COSTS[cost][1](z), rel=1e-5)


@each_cost
def test_gradients_to_second_order(cost, z):
    gradcheck(lambda z: COSTS[cost][0](z, Y), z)


@each_cost
@pytest.mark.parametrize("dtype", ["float32", "float64", "int64", "bool"])
def test_labels_and_one_hot_targets_of_any_dtype_agree_to_the_bit(cost, dtype, z):
    J, Z = COSTS[cost][0], Tensor(z.astype("float32"))
    for y in (Y.astype("uint8"), Y.tolist(), ONE_HOT.astype(dtype)):
        value = J(Z, y)
        assert raw(value).tobytes() == raw(J(Z, Y)).tobytes()
        assert grad(value, [Z])[0].tobytes() == grad(J(Z, Y), [Z])[0].tobytes()


@pytest.mark.parametrize("cost", ["softmax", "sigmoid"])
def test_values_and_gradients_are_pytorch_s_also_for_soft_targets(cost, z, rng):
    torch = pytest.importorskip("torch")
    by_torch = {
        "softmax": torch.nn.functional.cross_entropy,
        "sigmoid": lambda z, t: torch.nn.functional.binary_cross_entropy_with_logits(z, t, reduction="sum") / N,
    }
    z = z * 5 + 10
    for t in (ONE_HOT, special.softmax(rng.normal(size=(N, K)), axis=1)):
        Z, z_torch = Tensor(z), torch.tensor(z, requires_grad=True)
        J, J_torch = COSTS[cost][0](Z, t), by_torch[cost](z_torch, torch.tensor(t))
        J_torch.backward()
        assert J.item() == pytest.approx(J_torch.item(), rel=1e-12)
        np.testing.assert_allclose(grad(J, [Z])[0], z_torch.grad.numpy(), rtol=1e-10, atol=1e-14)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("size", [50.0, 1e4])
def test_extreme_outputs_stay_finite(dtype, size):
    z = np.array([[size, -size], [-size, size], [size, size]], dtype=dtype)
    for J in (losses.softmax_cross_entropy, losses.sigmoid_cross_entropy):
        value, (g,) = J(Tensor(z), np.array([1, 1, 0])), grad(J(Z := Tensor(z), np.array([1, 1, 0])), [Z])
        assert np.isfinite(value.item())
        assert np.isfinite(g).all()
    assert float(losses.logistic_loss(z[:, 0], np.array([-1, 1, 1]))) == pytest.approx(size * 2 / 3)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_an_rbf_unit_at_its_centre_costs_much_when_it_is_wrong_but_not_infinity(dtype):
    log_p = np.array([[0.0, -5.0], [-1e-9, -0.0], [-1e5, -300.0]], dtype=dtype)
    for y in ([0, 1, 0], [1, 0, 1]):
        Z = Tensor(log_p)
        J = losses.rbf_cross_entropy(Z, np.array(y))
        assert np.isfinite(J.item())
        assert np.isfinite(grad(J, [Z])[0]).all()
    assert losses.rbf_cross_entropy(log_p[:1, :1], np.array([[0.0]])) == pytest.approx(-np.log(1e-7), rel=0.02)


@pytest.mark.parametrize(
    ("y", "message"),
    [
        (Y + 1, "labels of 4 classes are 0 to 3, got 1 to 4"),
        (Y - 1, "labels of 4 classes are 0 to 3, got -1 to 2"),
        (Y * 1.0, r"integers of shape \(7,\), or targets of shape \(7, 4\); got float64 of shape \(7,\)"),
        (Y[:-1], r"got int64 of shape \(6,\)"),
        (Y[:, None], r"got int64 of shape \(7, 1\)"),
        (np.eye(K + 1)[Y], r"got float64 of shape \(7, 5\)"),
        (np.array(3), r"got int64 of shape \(\)"),
        (list("abcdefg"), r"got <U1 of shape \(7,\)"),
    ],
)
@each_cost
def test_wrong_labels_are_named(cost, y, message, z):
    for wrapped in (z, Tensor(z)):
        with pytest.raises(ValueError, match=message):
            COSTS[cost][0](wrapped, y)


@pytest.mark.parametrize(
    ("y", "message"),
    [
        (SIGNS[:-1], r"activations of shape \(7,\) have that shape, got \(6,\)"),
        (SIGNS[:, None], r"activations of shape \(7,\) have that shape, got \(7, 1\)"),
        (SIGNS > 0, "labels are -1 or 1, got others, from False to True"),
        (SIGNS * 0.5, "labels are -1 or 1, got others, from -0.5 to 0.5"),
        (np.full(N, np.nan), "labels are -1 or 1, got others, from nan to nan"),
    ],
)
def test_two_class_labels_that_are_not_signs_are_named(y, message, z):
    with pytest.raises(ValueError, match=message):
        losses.logistic_loss(z[:, 0], y)
    with pytest.raises(ValueError, match=message):
        losses.adversarial_logistic_loss(np.ones(K), 0.0, z, y, eps=0.1)


@pytest.mark.parametrize("dtype", ["int8", "int64", "float64", "float32"])
def test_two_class_labels_of_any_dtype(dtype, z):
    z = z[:, 0].astype("float32")
    value = losses.logistic_loss(z, SIGNS.astype(dtype))
    assert value.dtype == "float32"
    assert value == losses.logistic_loss(z, SIGNS.tolist())


# ---------------------------------------------------------------------------------------------------------
# The closed form of section 5

reals = st.floats(-3, 3, width=32)


@settings(max_examples=60, deadline=None)
@given(st.data(), st.integers(1, 6), st.floats(0, 2))
def test_the_closed_form_is_the_loss_at_the_worst_corner_of_the_box(data, dim, eps):
    w, b = np.array(data.draw(st.lists(reals, min_size=dim, max_size=dim))), data.draw(reals)
    x = np.random.default_rng(data.draw(st.integers(0, 99))).normal(size=(4, dim))
    y = np.array(data.draw(st.lists(st.sampled_from([-1, 1]), min_size=4, max_size=4)))
    corners = np.array(list(itertools.product([-eps, eps], repeat=dim)))
    z = (x[:, None] + corners) @ w + b  # every example at every corner
    worst = np.logaddexp(0, -y[:, None] * z).max(axis=1).mean()
    assert losses.adversarial_logistic_loss(w, b, x, y, eps) == pytest.approx(worst, rel=1e-10)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 999), st.floats(0, 1))
def test_the_closed_form_is_the_loss_after_fgsm(seed, eps):
    rng = np.random.default_rng(seed)
    model = models.logistic_regression(D, scale=1.0, rng=generator(seed)).to(dtype="float64")
    x, y = rng.normal(size=(N, D)), rng.choice([-1, 1], N)
    W, b = parameters(model)
    attacked = model.loss(model(fgsm(model, x, y, eps)), y)
    closed = losses.adversarial_logistic_loss(W.data[0], b.data[0], x, y, eps)
    assert closed == pytest.approx(attacked, rel=1e-10)
    assert closed >= model.loss(model(x), y)


def test_without_an_attack_the_closed_form_is_the_logistic_loss(z):
    w = np.array([1.0, -2.0, 0.5, 0.0])
    assert losses.adversarial_logistic_loss(w, 0.25, z, SIGNS, 0.0) == losses.logistic_loss(z @ w + 0.25, SIGNS)


def test_the_closed_form_trains(z):
    w, b = np.array([1.0, -2.0, 0.5, 0.3]), np.array(0.25)
    gradcheck(lambda w, b: losses.adversarial_logistic_loss(w, b, z, SIGNS, 0.3), w, b)
    W32 = Tensor(w.astype("float32"))
    J = losses.adversarial_logistic_loss(W32, 0.0, z.astype("float32"), SIGNS, np.float64(0.3))
    assert J.dtype == grad(J, [W32])[0].dtype == "float32"


def test_the_closed_form_refuses_a_negative_eps(z):
    with pytest.raises(ValueError, match=r"a finite number >= 0, got -0\.1"):
        losses.adversarial_logistic_loss(np.ones(K), 0.0, z, SIGNS, eps=-0.1)


# ---------------------------------------------------------------------------------------------------------
# Objectives


def maxout(keep=(1.0, 1.0), dtype="float64"):
    return models.maxout_network(
        5, 2, inputs=D, classes=K, keep=keep, scale=0.5, rng=generator(1, "weights")
    ).to(dtype=dtype)  # fmt: skip


@pytest.fixture
def x(rng):
    return rng.random((N, D))


def cost_gradients(model, x, y=Y, rng=None):
    """J(x) and dJ/dtheta, written out."""
    J = model.loss(model(Tensor(x), rng=rng), y)
    return J.item(), grad(J, parameters(model))


@pytest.mark.parametrize("attacked", get_args(losses.Attacked))
@pytest.mark.parametrize(("alpha", "eps"), [(0.5, 0.25), (0.3, 0.1), (0.0, 0.25), (1.0, 0.25), (0.5, 0.0)])
def test_the_adversarial_objective_is_the_formula_of_section_6(attacked, alpha, eps, x):
    model = maxout()
    x_adv = x + eps * np.sign(input_gradient(model, x, Y))
    (J_clean, g_clean), (J_adv, g_adv) = cost_gradients(model, x), cost_gradients(model, x_adv)
    loss, gs = losses.adversarial_objective(model, x, Y, generator(0), eps=eps, alpha=alpha, attacked=attacked)
    assert loss == pytest.approx(alpha * J_clean + (1 - alpha) * J_adv, rel=1e-12)
    for g, a, b in zip(gs, g_clean, g_adv, strict=True):
        np.testing.assert_allclose(g, alpha * a + (1 - alpha) * b, rtol=1e-10, atol=1e-14)
    if alpha == 1 or eps == 0:
        expected = losses.clean_objective(model, x, Y, None)
        assert loss == pytest.approx(expected[0], rel=1e-12)
        np.testing.assert_allclose(gs[0], expected[1][0], rtol=1e-10, atol=1e-14)
    else:
        assert abs(J_adv - J_clean) > 0.01


class Spy:
    """A network that writes down what it is called with."""

    def __init__(self, model):
        self.model, self.loss, self.calls = model, model.loss, []

    def __call__(self, x, rng=None):
        self.calls.append((raw(x), rng is not None))
        return self.model(x, rng=rng)


def test_by_default_the_attack_sees_the_network_without_dropout(x):
    model = maxout(keep=(0.8, 0.5))
    spy = Spy(model)
    losses.adversarial_objective(spy, x, Y, generator(3))
    (attacked, with_dropout), (trained, trained_with_dropout) = spy.calls
    assert not with_dropout
    assert trained_with_dropout
    assert attacked.tobytes() == x.tobytes()
    assert trained.tobytes() == np.concatenate([x, fgsm(model, x, Y, 0.25)]).tobytes()


def test_training_mode_attacks_the_network_with_this_batch_s_masks(x):
    model = maxout(keep=(0.8, 0.5))
    spy, rng = Spy(model), generator(3)
    loss, gs = losses.adversarial_objective(spy, x, Y, generator(3), attacked="training")
    X = Tensor(x)
    J_clean = model.loss(model(X, rng=rng), Y)
    x_adv = x + 0.25 * np.sign(grad(J_clean, [X])[0])
    J_adv, g_adv = cost_gradients(model, x_adv, rng=rng)  # with masks of its own
    assert [with_dropout for _, with_dropout in spy.calls] == [True, True]
    assert spy.calls[1][0].tobytes() == x_adv.tobytes() != fgsm(model, x, Y, 0.25).tobytes()
    assert loss == pytest.approx((J_clean.item() + J_adv) / 2, rel=1e-12)
    expected = [(a + b) / 2 for a, b in zip(grad(J_clean, parameters(model)), g_adv, strict=True)]
    for g, e in zip(gs, expected, strict=True):
        np.testing.assert_allclose(g, e, rtol=1e-10, atol=1e-14)


def masked_gradients(model, x, masks, y=Y):
    """J(x), dJ/dx and dJ/dtheta where the inputs of layers, by number, are multiplied by given masks."""
    X = Tensor(x)
    h = X
    for i, layer in enumerate(model.layers):
        h = h * masks[i] if i in masks else layer(h)
    J = model.loss(h, y)
    g_x, *g = grad(J, [X, *parameters(model)])
    return J.item(), g_x, g


@pytest.fixture
def masks(monkeypatch):
    """All masks that are drawn, in order: those of a pass are of pixels, of the first and of the second layer."""
    drawn = []

    def keep_mask(*arguments):
        drawn.append(original(*arguments))
        return drawn[-1]

    original = layers.keep_mask
    monkeypatch.setattr(layers, "keep_mask", keep_mask)
    return drawn


@pytest.mark.parametrize("gradient", ["exact", "rounded"])
@pytest.mark.parametrize("attacked", get_args(losses.Attacked))
def test_whom_the_attack_sees_written_out_mask_by_mask(attacked, gradient, x, masks):
    model, alpha, eps = maxout(keep=(0.8, 0.5)), 0.3, 0.2
    loss, gs = rounding.adversarial_objective(
        model, x, Y, generator(3), gradient=gradient, eps=eps, alpha=alpha, attacked=attacked
    )
    if attacked in ("training", "same-masks"):
        assert len(masks) == 6
        clean, adversarial = (dict(zip((0, 2, 4), part, strict=True)) for part in (masks[:3], masks[3:]))
        J_clean, g_x, g_clean = masked_gradients(model, x, clean)
        assert [(clean[i] == adversarial[i]).all() for i in clean] == [attacked == "same-masks"] * 3
    else:
        seen = dict(zip((2, 4), masks[:2], strict=True)) if attacked == "hidden-masks" else {2: 1.0, 4: 1.0}
        both = dict(zip((0, 2, 4), masks[-3:], strict=True))
        assert len(masks) == (5 if attacked == "hidden-masks" else 3)
        _, g_x, _ = masked_gradients(model, x, {0: 1.0, **seen})
        clean, adversarial = ({i: m[half] for i, m in both.items()} for half in (slice(N), slice(N, None)))
        J_clean, _, g_clean = masked_gradients(model, x, clean)
    J_adv, _, g_adv = masked_gradients(model, x + eps * np.sign(g_x), adversarial)
    assert loss == pytest.approx(alpha * J_clean + (1 - alpha) * J_adv, rel=1e-12)
    for g, a, b in zip(gs, g_clean, g_adv, strict=True):
        np.testing.assert_allclose(g, alpha * a + (1 - alpha) * b, rtol=1e-9, atol=1e-13)


def test_the_rounded_attack_in_training_is_made_with_the_rounded_gradient():
    model = maxout(dtype="float32")
    W, b = parameters(model)[-2:]
    W.data, b.data = 300.0 * W.data, 300.0 * b.data
    x = np.random.default_rng(5).random((200, D), dtype="float32")
    y = np.argmax(model(x), axis=1)
    assert rounding.certain(model, x, y).mean() > 0.1  # else both are the same
    examples = {"exact": fgsm(model, x, y, 0.25), "rounded": fgsm(rounding.Rounded(model), x, y, 0.25)}
    assert (examples["exact"] != examples["rounded"]).any()
    for gradient, x_adv in examples.items():
        spy = Spy(model)
        spy.top = model.top
        rounding.adversarial_objective(spy, x, y, None, gradient=gradient)
        assert spy.calls[1][0][len(x) :].tobytes() == x_adv.tobytes()


def test_a_rounded_network_that_sees_all_inputs_is_a_rounded_one():
    """Without input dropout it is the same network, and the one that 'hidden-masks' attacks."""
    model = maxout(dtype="float32")
    W, b = parameters(model)[-2:]
    W.data, b.data = 300.0 * W.data, 300.0 * b.data
    x = np.random.default_rng(5).random((200, D), dtype="float32")
    y = np.argmax(model(x), axis=1)
    exact, rounded, whole = (
        input_gradient(m, x, y) for m in (model, rounding.Rounded(model), rounding.Rounded(model).seeing_all_inputs())
    )
    assert (exact != rounded).any()
    np.testing.assert_array_equal(whole, rounded)


def test_the_rounded_gradient_is_refused_where_there_is_none(x):
    sigmoid = models.maxout_network(5, 2, top="sigmoid", inputs=D, classes=K, rng=generator(1))
    with pytest.raises(ValueError, match="that of a softmax, but this network's top is 'sigmoid'"):
        rounding.adversarial_objective(sigmoid, x, Y, None, gradient="rounded")
    with pytest.raises(ValueError, match="gradient is 'exact' or 'rounded', got 'float32'"):
        rounding.adversarial_objective(maxout(), x, Y, None, gradient="float32")


@pytest.mark.parametrize("gradient", ["exact", "rounded"])
@pytest.mark.parametrize("attacked", get_args(losses.Attacked))
def test_an_objective_changes_nothing_and_is_a_function_of_its_seed(attacked, gradient, x, xp):
    model, x = maxout((0.8, 0.5), "float32"), xp.asarray(x.astype("float32"))
    objective = partial(rounding.adversarial_objective, gradient=gradient, attacked=attacked)
    for p in parameters(model):
        p.data = xp.asarray(p.data)
    before = [host(a).tobytes() for a in (x, *parameters(model))]
    results = []
    for seed in (1, 1, 2):
        loss, gs = objective(model, x, Y, generator(seed), eps=np.float64(0.25))
        assert {g.dtype.name for g in gs} == {"float32"}
        results.append((loss, [host(g).tobytes() for g in gs]))
    assert results[0] == results[1] != results[2]
    assert [host(a).tobytes() for a in (x, *parameters(model))] == before


@pytest.mark.parametrize(
    ("objective", "looks"),
    [
        (losses.clean_objective, 1),  # at J
        (partial(losses.adversarial_objective, attacked="training"), 2),  # at J of either half
        (
            partial(losses.adversarial_objective, attacked="inference"),
            3,
        ),  # and whether x and g are finite
    ],
    ids=["clean", "training", "inference"],
)
def test_an_objective_rarely_waits_for_a_gpu(objective, looks, x):
    model, before = place(maxout((0.8, 0.5), "float32"), strict), len(strict.looks)
    objective(model, strict.asarray(x.astype("float32")), strict.asarray(ONE_HOT.astype("float32")), generator(0))
    assert len(strict.looks) == before + looks


def test_labels_as_targets_give_the_same_objective(x):
    """But for the last digits: rows made of labels lie in memory the other way round, and sums add in another order."""
    for objective in (losses.clean_objective, losses.adversarial_objective):
        loss, gs = objective(maxout(), x, Y, None)
        loss_targets, gs_targets = objective(maxout(), x, ONE_HOT, None)
        assert loss == pytest.approx(loss_targets, rel=1e-15)
        for a, b in zip(gs, gs_targets, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-14, atol=1e-16)


def test_the_clean_objective_is_the_cost_with_this_generator_s_dropout(x):
    model = maxout(keep=(0.8, 0.5))
    for rng in (lambda: None, lambda: generator(3)):
        loss, gs = losses.clean_objective(model, x, Y, rng())
        loss_cost, g_cost = cost_gradients(model, x, rng=rng())
        assert loss == loss_cost
        assert all(a.tobytes() == b.tobytes() for a, b in zip(gs, g_cost, strict=True))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_penalties_of_the_first_layer_s_weights_stand_outside_the_cost(dtype, x):
    model, x = maxout(dtype=dtype), x.astype(dtype)
    W = parameters(model)[0].data
    J, (g_W, *g_rest) = losses.clean_objective(model, x, Y, None)
    for l1, l2 in ((0.03, 0.0), (0.0, 0.07), (0.03, 0.07)):
        J_with, (g_with, *rest_with) = losses.clean_objective(model, x, Y, None, l1=np.float64(l1), l2=np.float64(l2))
        assert J_with == pytest.approx(J + l1 * abs(W).sum() + l2 * (W**2).sum(), rel=1e-6)
        np.testing.assert_allclose(g_with, g_W + l1 * np.sign(W) + 2 * l2 * W, rtol=1e-5, atol=1e-7)
        assert g_with.dtype == dtype
        assert all(a.tobytes() == b.tobytes() for a, b in zip(rest_with, g_rest, strict=True))


def test_objectives_take_soft_targets(x):
    t = full_like(x[:, :K], special.softmax(x[:, :K], axis=1))
    loss, _ = losses.clean_objective(maxout(), x, t, None)
    assert loss == pytest.approx(-(t * special.log_softmax(maxout()(x), axis=1)).sum(axis=1).mean())


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"alpha": -0.1}, "alpha in \\[0, 1\\].* got -0.1, 'inference'"),
        ({"alpha": 1.1}, "alpha in \\[0, 1\\].* got 1.1, 'inference'"),
        ({"alpha": float("nan")}, "alpha in \\[0, 1\\].* got nan"),
        ({"attacked": "test"}, "attacked 'inference' or .* or 'hidden-masks' are wanted; got 0.5, 'test'"),
        ({"eps": -0.1}, "eps is how far each entry may move: a finite number >= 0, got -0.1"),
        ({"eps": float("nan"), "attacked": "training"}, "a finite number >= 0, got nan"),
        ({"eps": float("inf"), "attacked": "training"}, "a finite number >= 0, got inf"),
    ],
)
def test_wrong_settings_are_named(settings, message, x):
    with pytest.raises(ValueError, match=message):
        losses.adversarial_objective(maxout(), x, Y, generator(0), **settings)


# ---------------------------------------------------------------------------------------------------------
# The controls of section 6: noise, attacks that are differentiated through, hidden layers


def averaged(model, x, x_other, alpha, rng=None, y=Y):
    """alpha J(x) + (1 - alpha) J(x_other) and its gradients; both halves in one pass of masks."""
    z = model(Tensor(np.concatenate([x, x_other])), rng=rng)
    J = alpha * model.loss(z[: len(x)], y) + (1 - alpha) * model.loss(z[len(x) :], y)
    return J.item(), grad(J, parameters(model))


def assert_same(objective, expected):
    (J, gs), (J_expected, g_expected) = objective, expected
    assert pytest.approx(J_expected, rel=1e-12) == J
    for g, e in zip(gs, g_expected, strict=True):
        np.testing.assert_allclose(g, e, rtol=1e-9, atol=1e-13)


@pytest.mark.parametrize("kind", ["sign", "uniform"])
@pytest.mark.parametrize("alpha", [0.5, 0.3, 0.0, 1.0])
def test_the_noise_objective_is_the_adversarial_one_with_noise_in_place_of_the_attack(kind, alpha, x):
    model = maxout(keep=(0.8, 0.5))
    spy = Spy(model)
    result = losses.noise_objective(spy, x, Y, generator(3), eps=0.25, alpha=alpha, kind=kind)
    ((batch, with_dropout),) = spy.calls
    assert with_dropout
    eta = batch[-N:] - x
    if kind == "sign":
        np.testing.assert_allclose(abs(eta), 0.25, rtol=1e-12)
        assert len(np.unique(np.sign(eta))) == 2
    else:
        assert 0.2 < abs(eta).max() <= 0.25
        assert abs(eta).min() < 0.05
    if alpha:
        assert batch[:N].tobytes() == x.tobytes()
        assert_same(result, averaged(model, x, batch[-N:], alpha, generator(3)))  # the masks are those without noise
    else:
        assert len(batch) == N
        assert_same(result, cost_gradients(model, batch, rng=generator(3)))


def test_noise_is_new_at_every_step_and_fair(x):
    x, y = np.zeros((500, D)), np.arange(500) % K
    for kind, deviation in (("sign", 0.25), ("uniform", 0.25 / np.sqrt(3))):
        spy, rng = Spy(maxout()), generator(0)
        for _ in range(2):
            losses.noise_objective(spy, x, y, rng, kind=kind)
        first, second = (batch[500:] for batch, _ in spy.calls)
        assert abs(np.corrcoef(first.ravel(), second.ravel())[0, 1]) < 0.1
        assert abs(np.corrcoef(first[:, 0], first[:, 1])[0, 1]) < 0.15  # each pixel has its own
        assert first.mean() == pytest.approx(0, abs=0.02)
        assert first.std() == pytest.approx(deviation, rel=0.03)


THROUGH = [("rotation", {"angle": 0.4}), ("scaled-gradient", {"eps": 0.1})]


def by_hand(model, attack, x, options):
    """The attacked inputs, one after another."""
    found = []
    for row, g in zip(x, input_gradient(model, x, Y), strict=True):
        length = np.sqrt((row**2).sum())
        beside = g - (g @ row) / (row @ row) * row
        if attack == "rotation":
            t = options["angle"]
            found.append(np.cos(t) * row + np.sin(t) * length * beside / np.sqrt(beside @ beside))
        else:
            found.append(row + options["eps"] * np.sqrt(D) * g / np.sqrt(g @ g))
    return np.array(found)


@pytest.mark.parametrize(("attack", "options"), THROUGH)
@pytest.mark.parametrize("alpha", [0.5, 0.3, 0.0])
def test_through_an_attack_the_value_is_that_of_the_attacked_inputs(attack, options, alpha, x):
    model = maxout(keep=(0.8, 0.5))
    spy = Spy(model)
    J, _ = losses.through_attack_objective(spy, x, Y, generator(3), attack, alpha=alpha, **options)
    (seen, with_dropout), (trained, trained_with_dropout) = spy.calls
    assert seen.tobytes() == x.tobytes()
    assert (with_dropout, trained_with_dropout) == (False, True)
    x_adv = by_hand(model, attack, x, options)
    np.testing.assert_allclose(trained[-N:], x_adv, rtol=1e-10, atol=1e-12)
    expected = (
        averaged(model, x, x_adv, alpha, generator(3)) if alpha else cost_gradients(model, x_adv, rng=generator(3))
    )
    assert pytest.approx(expected[0], rel=1e-10) == J


@pytest.mark.parametrize(("attack", "options"), THROUGH)
def test_through_an_attack_the_gradient_is_that_of_the_whole_by_finite_differences(attack, options, x, rng):
    model = models.saturating_network("sigmoid", 5, 2, D, K, (1.0, 1.0), 1.0, rng=generator(1)).to(dtype="float64")
    objective = {"alpha": 0.3, "attack": attack, **options}
    _, gs = losses.through_attack_objective(model, x, Y, None, **objective)
    x_adv = by_hand(model, attack, x, options)
    _, held = averaged(model, x, x_adv, 0.3)  # the gradient with the attack held constant
    for p, g, constant in zip(parameters(model), gs, held, strict=True):
        start, v, h, values = p.data, rng.normal(size=p.shape), 1e-4, []
        for t in (h, -h, h / 2, -h / 2):
            p.data = start + t * v
            values.append(losses.through_attack_objective(model, x, Y, None, **objective)[0])
        p.data = start
        coarse, fine = (values[0] - values[1]) / (2 * h), (values[2] - values[3]) / h
        measured = (4 * fine - coarse) / 3
        assert (g * v).sum() == pytest.approx(measured, rel=1e-7)
        assert abs((constant * v).sum() - measured) > 1e-4 * abs(measured)  # the second order part is there


@pytest.mark.parametrize(("attack", "options"), THROUGH)
def test_through_an_attack_examples_without_a_gradient_stay_and_train(attack, options, x):
    """As sure as float32 can be, or nearly: no NaN, and the others are not disturbed."""
    model = maxout(dtype="float32")
    b = parameters(model)[-1]
    for size in (60.0, 85.0, 200.0):  # p of the wrong classes: 1e-26, 1e-37, 0
        b.data = np.array([size, 0, 0, 0], dtype="float32")
        spy = Spy(model)
        J, gs = losses.through_attack_objective(spy, x.astype("float32"), Y * 0, None, attack, **options)
        assert spy.calls[1][0][N:].tobytes() == x.astype("float32").tobytes()
        assert np.isfinite(J)
        assert all(np.isfinite(g).all() for g in gs)


def test_through_an_attack_a_tiny_gradient_has_a_direction():
    class Faint:
        def __init__(self):
            self.W = Tensor(np.ones((1, 3)))

        def __call__(self, x, rng=None):
            return x @ self.W.T

        def loss(self, outputs, y):
            return 1e-12 * outputs.mean()

    spy, x = Spy(Faint()), np.array([[1.0, 0.0, 0.0]])
    losses.through_attack_objective(spy, x, np.zeros(1), None, "scaled-gradient", eps=0.1)
    assert spy.calls[-1][0][1] - x[0] == pytest.approx([0.1] * 3)


HIDDEN = [("additive", {"eps": 0.1}), ("rotation", {"angle": 0.4})]


def hidden_by_hand(model, x, kind, layers, options, alpha):
    """The formula for a network of two hidden layers without dropout, layer by layer."""
    h1 = Tensor(model.layers[1](x))
    h2 = model.layers[3](h1)
    g = dict(enumerate(grad(model.loss(model.layers[5](h2), Y), [h1, h2], cotangent=float(N))))

    def moved(k, h):
        if k not in layers:
            return h
        if kind == "additive":
            return h + options["eps"] * np.sign(g[k])
        length = (h * h).sum(axis=1, keepdims=True) ** 0.5
        beside = g[k] - (h * g[k]).sum(axis=1, keepdims=True) / (h * h).sum(axis=1, keepdims=True) * h
        u = beside / (beside * beside).sum(axis=1, keepdims=True) ** 0.5
        return np.cos(options["angle"]) * h + np.sin(options["angle"]) * length * u

    J = model.loss(model.layers[5](moved(1, model.layers[3](moved(0, model.layers[1](Tensor(x)))))), Y)
    J_clean = model.loss(model(Tensor(x)), Y)
    gs = zip(grad(J_clean, parameters(model)), grad(J, parameters(model)), strict=True)
    return alpha * J_clean.item() + (1 - alpha) * J.item(), [alpha * a + (1 - alpha) * b for a, b in gs]


@pytest.mark.parametrize(("kind", "options"), HIDDEN)
@pytest.mark.parametrize("layers", [(0,), (1,), (0, 1)])
@pytest.mark.parametrize("alpha", [0.5, 0.3, 0.0])
def test_the_hidden_objective_is_its_formula(kind, options, layers, alpha, x):
    model = maxout()
    expected = hidden_by_hand(model, x, kind, layers, options, alpha)
    assert_same(losses.hidden_objective(model, x, Y, None, layers, kind, alpha=alpha, **options), expected)
    from_the_end = [k - 2 for k in layers]
    assert_same(losses.hidden_objective(model, x, Y, None, from_the_end, kind, alpha=alpha, **options), expected)
    clean = cost_gradients(model, x)
    assert abs(expected[0] - clean[0]) > 1e-3
    options = dict.fromkeys(options, 0.0)
    assert losses.hidden_objective(model, x, Y, None, layers, kind, **options)[0] == pytest.approx(clean[0])


@pytest.mark.parametrize(("kind", "options"), HIDDEN)
def test_hidden_activations_are_attacked_without_dropout_and_perturbed_before_their_own(kind, options, x):
    model, seen = maxout(keep=(0.8, 0.5)), []

    class Watched:
        def __init__(self, layer):
            self.layer = layer

        def __call__(self, h, rng=None):
            seen.append((raw(h), rng is not None))
            return self.layer(h, rng=rng)

    quiet = maxout()  # of the same parameters
    g = Tensor(quiet.layers[1](x))
    (g,) = grad(quiet.loss(quiet.layers[5](quiet.layers[3](g)), Y), [g])
    model.layers[2] = Watched(model.layers[2])
    losses.hidden_objective(model, x, Y, generator(3), kind=kind, **options)
    (attacked, with_dropout), (trained, trained_with_dropout) = seen
    assert (with_dropout, trained_with_dropout) == (False, True)
    assert attacked.tobytes() == quiet.layers[1](x).tobytes()
    h = model.layers[1](model.layers[0](np.concatenate([x, x]), rng=generator(3)))
    np.testing.assert_allclose(trained[:N], h[:N], rtol=1e-12)
    if kind == "additive":
        np.testing.assert_allclose(trained[N:] - h[N:], 0.1 * np.sign(g), rtol=1e-9, atol=1e-12)
    else:
        np.testing.assert_allclose((trained**2).sum(axis=1), (h**2).sum(axis=1), rtol=1e-12)
        cosines = (trained[N:] * h[N:]).sum(axis=1) / (h[N:] ** 2).sum(axis=1)
        np.testing.assert_allclose(cosines, np.cos(0.4), rtol=1e-9)
        assert ((trained[N:] - h[N:]) * g).sum(axis=1).min() > 0


CONTROLS = {
    "noise": lambda **o: losses.noise_objective(maxout(), o.pop("x"), Y, o.pop("rng", generator(0)), **o),
    "through": lambda **o: losses.through_attack_objective(maxout(), o.pop("x"), Y, generator(0), **o),
    "hidden": lambda **o: losses.hidden_objective(maxout(), o.pop("x"), Y, generator(0), **o),
}


@pytest.mark.parametrize("objective", ["noise_objective", "through_attack_objective", "hidden_objective"])
def test_controls_keep_float32_change_nothing_and_run_on_another_library(objective, x, xp):
    model, x = maxout((0.8, 0.5), "float32"), xp.asarray(x.astype("float32"))
    for p in parameters(model):
        p.data = xp.asarray(p.data)
    before = [host(a).tobytes() for a in (x, *parameters(model))]
    kinds = {"noise_objective": "kind", "through_attack_objective": "attack", "hidden_objective": "kind"}
    names = {"noise_objective": ("sign", "uniform"), "through_attack_objective": ("rotation", "scaled-gradient"),
             "hidden_objective": ("additive", "rotation")}  # fmt: skip
    for name in names[objective]:
        results = []
        for seed in (1, 1, 2):
            options = {kinds[objective]: name, "eps": np.float64(0.25), "alpha": np.float64(0.5)}
            J, gs = getattr(losses, objective)(model, x, Y, generator(seed), **options)
            assert {g.dtype.name for g in gs} == {"float32"}
            results.append((J, [host(g).tobytes() for g in gs]))
        assert results[0] == results[1] != results[2]
    assert [host(a).tobytes() for a in (x, *parameters(model))] == before


@pytest.mark.parametrize(
    ("objective", "options", "message"),
    [
        ("noise", {"kind": "salt"}, "noise is 'sign' or 'uniform', .* got 'salt'"),
        ("noise", {"rng": None}, "drawn from a generator; got 'uniform' and None"),
        ("noise", {"eps": -0.1}, "a finite number >= 0, got -0.1"),
        ("noise", {"eps": -0.1, "kind": "sign"}, "a finite number >= 0, got -0.1"),
        ("noise", {"alpha": 1.5}, r"alpha is a number in \[0, 1\], got 1.5"),
        ("through", {"attack": "fgsm"}, "attack is 'rotation' or 'scaled-gradient', got 'fgsm'"),
        ("through", {"alpha": -1}, r"alpha is a number in \[0, 1\], got -1"),
        ("through", {"angle": 4.0}, "an angle is in radians, from 0 to pi; got 4.0"),
        ("through", {"attack": "scaled-gradient", "eps": float("inf")}, "a finite number >= 0, got inf"),
        ("hidden", {"kind": "multiplicative"}, "kind is 'additive' or 'rotation', got 'multiplicative'"),
        ("hidden", {"alpha": 2}, r"alpha is a number in \[0, 1\], got 2"),
        ("hidden", {"eps": -1.0}, "a finite number >= 0, got -1.0"),
        ("hidden", {"kind": "rotation", "angle": -1.0}, "from 0 to pi; got -1.0"),
        ("hidden", {"layers": (2,)}, "some of the hidden layers 0 to 1, at least one; got \\(2,\\)"),
        ("hidden", {"layers": ()}, "some of the hidden layers 0 to 1, at least one; got \\(\\)"),
    ],
)
def test_wrong_settings_of_controls_are_named(objective, options, message, x):
    with pytest.raises(ValueError, match=message):
        CONTROLS[objective](x=x, **options)


@pytest.mark.parametrize("attack", ["rotation", "scaled-gradient"])
def test_training_through_an_attack_takes_rows(attack):
    class OfImages:
        def __init__(self):
            self.layer = layers.Linear(6, 3, generator(0))

        def __call__(self, x):
            return self.layer(x.reshape(len(x), 6))

        def loss(self, outputs, y):
            return losses.softmax_cross_entropy(outputs, y)

    x = np.random.default_rng(0).random((4, 2, 3), dtype="float32")
    with pytest.raises(ValueError, match=r"takes x of shape \(N, D\), a row for each example; got \(4, 2, 3\)"):
        losses.through_attack_objective(OfImages(), x, np.array([0, 1, 2, 0]), None, attack=attack)
