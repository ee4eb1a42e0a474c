"""SGD against a literal reference and PyTorch, the published schedules, and the max-norm projection's properties."""

import numpy as np
import pytest
import strict
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from placed import host

from tinyadv import models
from tinyadv.backend import generator
from tinyadv.layers import Linear, Maxout, parameters
from tinyadv.optim import PUBLISHED, SGD, LinearSchedule, Schedule, project_rows, schedule_of
from tinyadv.tensor import Tensor, grad

SHAPES = [(4, 3), (4,), (2, 3, 5), ()]
NORM = 1.9365


@pytest.fixture
def theta(rng):
    return [rng.normal(size=shape) for shape in SHAPES]


def gradients_of(rng, steps):
    return [[rng.normal(size=shape) for shape in SHAPES] for _ in range(steps)]


def constant(rate, momentum):
    return Schedule(rate, decay=1.0, momentum=momentum, final_momentum=momentum)


# ---------------------------------------------------------------------------------------------------------
# Updates


@pytest.mark.parametrize("max_norm", [None, 1.2])
def test_updates_are_those_of_a_literal_reference(theta, rng, max_norm):
    schedule = Schedule(0.3, decay=1.1, floor=0.2, momentum=0.5, final_momentum=0.9, saturation=3)
    sgd = SGD([Tensor(a.copy()) for a in theta], schedule, max_norm)
    v = [np.zeros(shape) for shape in SHAPES]
    for update, gs in enumerate(gradients_of(rng, 8)):
        epoch = 1 + update // 2  # two updates an epoch
        rate = max(0.2, 0.3 / 1.1**update)
        momentum = 0.5 + 0.4 * min(1, (epoch - 1) / 2)
        for i, g in enumerate(gs):
            v[i] = momentum * v[i] - rate * g
            theta[i] = theta[i] + v[i]
            if max_norm and theta[i].ndim > 1:
                norms = np.sqrt((theta[i] ** 2).sum(axis=-1, keepdims=True))
                theta[i] = np.where(norms > max_norm, theta[i] * max_norm / norms, theta[i])
        sgd.step(gs, epoch)
        for p, expected in zip(sgd.parameters, theta, strict=True):
            np.testing.assert_allclose(p.data, expected, rtol=1e-12)
    assert sgd.updates == 8


def test_updates_are_pytorch_s_where_the_learning_rate_is_constant(theta, rng):
    """There the rate multiplies the velocity, here it is inside it: the same until the rate changes."""
    torch = pytest.importorskip("torch")
    sgd = SGD([Tensor(a.copy()) for a in theta], constant(0.1, 0.7))
    by_torch = [torch.tensor(a, requires_grad=True) for a in theta]
    optimizer = torch.optim.SGD(by_torch, lr=0.1, momentum=0.7, dampening=0.0, nesterov=False)
    for gs in gradients_of(rng, 6):
        for p, g in zip(by_torch, gs, strict=True):
            p.grad = torch.tensor(g)
        optimizer.step()
        sgd.step(gs)
    for p, expected in zip(sgd.parameters, by_torch, strict=True):
        np.testing.assert_allclose(p.data, expected.detach().numpy(), rtol=1e-12)


def test_the_learning_rate_is_inside_the_velocity():
    """v <- mu v - lr g, as published: a rate that falls does not shrink what has been gathered."""
    p = Tensor(np.zeros(()))
    sgd = SGD([p], Schedule(1.0, decay=10.0, floor=0.0, momentum=0.5, final_momentum=0.5))
    for expected in (-1.0, -1.0 - 0.6, -1.6 - 0.31):  # v = -1, then .5 v - .1, then .5 v - .01
        sgd.step([np.ones(())])
        assert float(p) == pytest.approx(expected, rel=1e-12)


def test_parameters_change_in_place_and_stay_float32(xp):
    model = models.maxout_network(4, 2, inputs=6, classes=3, rng=generator(0))
    for p in parameters(model):
        p.data = xp.asarray(p.data)
    arrays = [p.data for p in parameters(model)]
    before = [host(a).copy() for a in arrays]
    sgd, ones = SGD(parameters(model), max_norm=np.float64(0.1)), [xp.ones(a.shape, dtype=a.dtype) for a in arrays]
    for _ in range(3):
        sgd.step(ones)
    for p, a, b in zip(parameters(model), arrays, before, strict=True):
        assert p.data is a
        assert a.dtype == "float32"
        assert (host(a) != b).all()
    assert all((host(g) == 1).all() for g in ones)


# ---------------------------------------------------------------------------------------------------------
# Schedules


def test_the_published_learning_rate():
    rates = [PUBLISHED.at(update, 1)[0] for update in (0, 1, 100_000, 10**7)]
    assert rates == pytest.approx([0.1, 0.1 / 1.000004, 0.1 * np.exp(-100_000 * np.log(1.000004)), 1e-6], rel=1e-9)
    assert rates[0] == 0.1
    assert rates[2] == pytest.approx(0.06703, abs=1e-5)


def test_the_published_momentum():
    momenta = [PUBLISHED.at(0, epoch)[1] for epoch in (1, 2, 125, 250, 251, 300)]
    expected = [0.5, 0.5 + 0.2 / 249, 0.5 + 0.2 * 124 / 249, 0.7, 0.7, 0.7]
    assert momenta == pytest.approx(expected, rel=1e-12)


def test_a_rate_that_falls_fast_reaches_its_floor_instead_of_overflowing():
    assert Schedule(decay=2.0).at(10**6, 1)[0] == 1e-6
    assert Schedule(decay=2.0, floor=0.0).at(10**6, 1)[0] == 0.0


def test_momentum_that_saturates_at_once():
    for saturation in (0, 1):
        assert Schedule(saturation=saturation).at(0, 2)[1] == 0.7


def test_the_first_step_uses_update_0_and_the_second_update_1():
    p = Tensor(np.zeros(1))
    sgd = SGD([p], Schedule(1.0, decay=4.0, momentum=0.0, final_momentum=0.0))
    positions = []
    for _ in range(3):
        sgd.step([np.ones(1)])
        positions.append(-float(p.data[0]))
    assert positions == [1.0, 1.25, 1.3125]


# ---------------------------------------------------------------------------------------------------------
# Max-norm

weights = hnp.arrays("float32", st.sampled_from([(1, 1), (5, 3), (2, 4, 3)]), elements=st.floats(-4, 4, width=32))


@settings(max_examples=80, deadline=None)
@given(weights)
def test_long_rows_get_exactly_the_norm_and_short_ones_keep_every_bit(W):
    before, norms = W.copy(), np.linalg.norm(W.astype("float64"), axis=-1)
    project_rows(W, NORM)
    after = np.linalg.norm(W.astype("float64"), axis=-1)
    long = norms > NORM * (1 + 1e-6)
    short = norms < NORM * (1 - 1e-6)
    np.testing.assert_allclose(after[long], NORM, rtol=1e-6)
    assert W[short].tobytes() == before[short].tobytes()
    np.testing.assert_allclose(W * norms[..., None], before * after[..., None], rtol=1e-5, atol=1e-5)  # same direction


@settings(max_examples=80, deadline=None)
@given(weights)
def test_projecting_again_changes_nothing(W):
    project_rows(W, NORM)
    once = W.copy()
    project_rows(W, NORM)
    np.testing.assert_allclose(W, once, rtol=5e-7)


def test_every_piece_of_every_maxout_unit_is_a_row_of_its_own_and_biases_are_left_alone(xp):
    layers = [Maxout(6, 3, 4, generator(0), scale=0.1), Linear(6, 3, generator(1), scale=0.1)]
    for layer in layers:
        layer.W.data[..., 1, :] = 3.0  # too long: unit 1, in every piece
        layer.b.data[...] = 5.0
        for p in parameters(layer):
            p.data = xp.asarray(p.data)
        before = [host(p.data).copy() for p in parameters(layer)]
        SGD(parameters(layer), max_norm=NORM).step([xp.zeros(p.shape, dtype="float32") for p in parameters(layer)])
        W, b = (host(p.data) for p in parameters(layer))
        np.testing.assert_allclose(np.linalg.norm(W[..., 1, :], axis=-1), NORM, rtol=1e-6)
        assert W[..., [0, 2], :].tobytes() == before[0][..., [0, 2], :].tobytes()
        assert (b == 5.0).all()


@pytest.mark.filterwarnings("ignore:overflow")
@pytest.mark.parametrize("axes", [None, (0,)])
def test_units_whose_squares_overflow_are_projected_too(axes, xp):
    rows = np.array([[3e30, 4e30], [0.3, 0.4], [30, 40], [3e38, 0]], dtype="float32")
    W = xp.asarray(rows if axes is None else np.ascontiguousarray(rows.T))
    project_rows(W, 1.0, axes)
    expected = np.array([[0.6, 0.8], [0.3, 0.4], [0.6, 0.8], [1, 0]])
    np.testing.assert_allclose(host(W) if axes is None else host(W).T, expected, rtol=1e-6)
    assert W.dtype == "float32"


def test_an_update_never_waits_for_a_gpu():
    layers = [Maxout(6, 3, 4, generator(0), scale=3.0), Linear(6, 3, generator(1), scale=3.0)]
    for p in parameters(layers):
        p.data = strict.asarray(p.data)
    optimiser = SGD(layers, max_norm=NORM)
    gradients = [strict.zeros(p.shape, dtype="float32") for p in parameters(layers)]
    before = len(strict.looks)
    optimiser.step(gradients)
    assert len(strict.looks) == before
    assert np.linalg.norm(host(parameters(layers)[0].data), axis=-1).max() <= NORM * (1 + 1e-6)


def test_without_max_norm_rows_may_grow():
    W = Tensor(np.zeros((2, 3)))
    SGD([W], constant(1.0, 0.0)).step([np.full((2, 3), -100.0)])
    assert (W.data == 100.0).all()


# ---------------------------------------------------------------------------------------------------------
# Refusals


@pytest.mark.parametrize(
    "bad",
    [
        {"learning_rate": 0.0},
        {"learning_rate": -0.1},
        {"learning_rate": float("nan")},
        {"learning_rate": float("inf")},
        {"decay": 0.999},
        {"momentum": 1.0},
        {"momentum": -0.1},
        {"final_momentum": 1.0},
        {"final_momentum": float("nan")},
    ],
)
def test_impossible_schedules_are_named(bad):
    with pytest.raises(ValueError, match=r"learning_rate > 0, decay >= 1 and momenta in \[0, 1\) are wanted, got"):
        Schedule(**bad)


@pytest.mark.parametrize("max_norm", [0.0, -1.0, float("nan")])
def test_an_impossible_norm_is_named(max_norm):
    with pytest.raises(ValueError, match="max_norm is positive, or None for no constraint; got"):
        SGD([Tensor(np.zeros(1))], max_norm=max_norm)


@pytest.mark.parametrize("shapes", [[(4, 3)], [(4, 3), (1,)], [(3, 4), (4,)], [(4, 3), (4,), ()]])
def test_gradients_that_do_not_fit_are_named_before_anything_moves(shapes):
    sgd = SGD([Tensor(np.zeros((4, 3))), Tensor(np.zeros(4))])
    with pytest.raises(ValueError, match=r"for each parameter: wanted \[\(4, 3\), \(4,\)\], got \["):
        sgd.step([np.ones(shape) for shape in shapes])
    assert not any(p.data.any() for p in sgd.parameters)
    assert sgd.updates == 0


# ---------------------------------------------------------------------------------------------------------
# A schedule that falls linearly, as published for maxout on CIFAR-10 and for the MP-DBM


def test_a_linear_schedule_falls_epoch_by_epoch_to_its_share():
    schedule = LinearSchedule(0.17, 0.01, 500)
    rates = [schedule.at(update, epoch)[0] for update, epoch in [(0, 1), (7, 1), (0, 250), (0, 500), (9, 700)]]
    first = 0.17 * (1 - 0.99 / 500)
    assert rates == pytest.approx([first, first, 0.17 * (1 - 0.99 / 2), 0.0017, 0.0017], rel=1e-12)


def test_the_published_rate_and_momentum_of_the_mp_dbm():
    """software.md's numbers: 15.146493 (1 - .979621 e / 868), momentum .5 in epoch 1 and .732716 from epoch 2."""
    dbm = LinearSchedule(15.146493, 0.020379, 868, 0.5, 0.732716, saturation=2)
    assert dbm.at(0, 384) == pytest.approx((15.146493 * (1 - 0.979621 * 384 / 868), 0.732716), rel=1e-9)
    assert dbm.at(0, 1)[1] == 0.5
    second = dbm.continued(384 * 500, 384)  # stage 2 was published with a constant rate of 8.58230304718
    for update, epoch in ((0, 1), (9, 2000)):
        assert second.at(update, epoch) == pytest.approx((8.58230304718, 0.732716))


@pytest.mark.parametrize(
    "bad",
    [{"learning_rate": 0.0}, {"final_share": -0.1}, {"final_share": 1.1}, {"epochs": 0}, {"momentum": 1.0},
     {"final_share": float("nan")}],
)  # fmt: skip
def test_impossible_linear_schedules_are_named(bad):
    with pytest.raises(ValueError, match=r"final_share in \[0, 1\], epochs >= 1 .* are wanted, got"):
        LinearSchedule(**bad)


def test_a_recipe_s_data_name_a_schedule():
    assert schedule_of() == PUBLISHED
    assert schedule_of(learning_rate=0.3) == Schedule(0.3)
    assert schedule_of(kind="linear", epochs=250) == LinearSchedule(epochs=250)
    with pytest.raises(ValueError, match="a schedule is 'exponential' or 'linear', got 'cosine'"):
        schedule_of(kind="cosine")
    with pytest.raises(ValueError, match=r"the linear schedule does not take \{'decay': 2.0\}"):
        schedule_of(kind="linear", decay=2.0)


# ---------------------------------------------------------------------------------------------------------
# Rates and norms of single parameters, and incoming weights that are no rows


class Kernels:
    """W `(height, width, channels, units)`, as a convolution may have it, and one bias a unit."""

    def __init__(self, values, xp):
        self.incoming_axes = {"W": (0, 1, 2)}
        self.W, self.b = Tensor(xp.asarray(values)), Tensor(xp.zeros(values.shape[-1]))


class Columns:
    """W `(inputs, units)`, as the MP-DBM has it."""

    def __init__(self, values, xp):
        self.incoming_axes = {"W": 0}
        self.W = Tensor(xp.asarray(values))


@pytest.mark.parametrize("kind", [Kernels, Columns])
def test_norms_are_over_all_incoming_weights_of_a_unit(kind, rng, xp):
    values = rng.normal(size=(2, 3, 4, 5) if kind is Kernels else (7, 5))
    before = values / np.linalg.norm(values.reshape(-1, 5), axis=0) * [0.5, 3.0, 1.0, 2.0, 0.1]
    network = [kind(before, xp)]  # its names begin with "0."
    SGD(network, max_norm=1.5).step([xp.zeros(p.shape, dtype=p.dtype.name) for p in parameters(network)])
    after = host(network[0].W.data)
    np.testing.assert_allclose(np.linalg.norm(after.reshape(-1, 5), axis=0), [0.5, 1.5, 1.0, 1.5, 0.1], rtol=1e-12)
    assert after[..., [0, 2, 4]].tobytes() == before[..., [0, 2, 4]].tobytes()


def test_columns_whose_squares_overflow(xp):
    W = np.full((3, 2), 1e30, dtype="float32")
    W[:, 1] = 0.25
    layer = Columns(W, xp)
    SGD(layer, max_norm=3.0).step([xp.zeros((3, 2), dtype="float32")])
    np.testing.assert_allclose(host(layer.W.data), [[3**0.5, 0.25]] * 3, rtol=1e-6)


def test_each_parameter_may_have_its_own_norm_and_rate():
    network = [Linear(3, 2, generator(0)), Linear(2, 2, generator(1)), Linear(2, 2, generator(2))]
    for p in parameters(network):
        p.data[...] = 5.0
    sgd = SGD(network, constant(1.0, 0.5), {"0.W": 0.9, "1.W": 1.9}, {"0.W": 0.05, "0.b": 0.05, "1.b": 0.0})
    for _ in range(2):  # v = -1, then -1.5: 2.5 in all
        sgd.step([np.ones(p.shape, dtype="float32") for p in parameters(network)])
    for layer, norm, rate, inputs in ((network[0], 0.9, 0.05, 3), (network[1], 1.9, 1.0, 2)):
        after_one_step = norm / inputs**0.5  # on the ball; the second step is one of 1.5 times the rate
        np.testing.assert_allclose(layer.W.data, after_one_step - 1.5 * rate, rtol=1e-5)
    np.testing.assert_allclose(network[2].W.data, 2.5)
    assert [float(layer.b.data[0]) for layer in network] == pytest.approx([5 - 0.05 * 2.5, 5.0, 2.5])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"max_norm": {"1.W": 1.9}}, "max_norm can be set for 0.W; got 1.W"),
        ({"max_norm": {"0.b": 1.9}}, "max_norm can be set for 0.W; got 0.b"),
        ({"max_norm": {"0.W": 0.0}}, "max_norm is positive, or None for no constraint; got {'0.W': 0.0}"),
        ({"rate_factors": {"W": 0.05}}, "rate_factors can be set for 0.W, 0.b; got W"),
        ({"rate_factors": {"0.W": -1.0}}, "rate_factors are finite numbers, at least 0; got"),
        ({"rate_factors": {"0.W": float("nan")}}, "rate_factors are finite numbers, at least 0; got"),
    ],
)
def test_norms_and_rates_that_cannot_be_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        SGD([Linear(3, 2, generator(0))], **options)


def test_gradients_asked_for_after_the_update_raise():
    """They would be those of the parameters as they were not when J was computed."""
    W = Tensor(np.ones(2))
    J = (W * W).sum()
    SGD([W]).step([np.ones(2)])
    with pytest.raises(ValueError, match="set after its use"):
        grad(J, [W])


def test_a_rate_below_its_floor_is_named():
    """The floor would raise it without a word."""
    assert Schedule(learning_rate=1e-6).at(1000, 1)[0] == 1e-6  # at its floor
    with pytest.raises(ValueError, match=r"starts at its floor or above it, got Schedule\(learning_rate=1e-07"):
        Schedule(learning_rate=1e-7)
    assert Schedule(learning_rate=1e-7, floor=0.0).at(0, 1)[0] == 1e-7


def test_gradients_that_can_be_differentiated_again_are_followed_too():
    W = Tensor(np.ones(3))
    optimiser = SGD([W], Schedule(0.1, momentum=0.0, final_momentum=0.0))
    optimiser.step(grad((W * W).sum(), [W], create_graph=True))
    np.testing.assert_allclose(W.data, 0.8)
