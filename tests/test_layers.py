"""Layers: what they compute against loops, what they record, their initial values, and dropout's masks."""

import math

import numpy as np
import pytest
from placed import place
from scipy import stats

from tinyadv import ops
from tinyadv.backend import generator, to_device, uniform
from tinyadv.datasets import mnist
from tinyadv.gradcheck import gradcheck
from tinyadv.layers import (
    RBF,
    ConvMaxout,
    Dropout,
    Images,
    Linear,
    Maxout,
    Quadratic,
    RBFUnits,
    Relu,
    Rows,
    Rust,
    RustSquared,
    Sigmoid,
    named_parameters,
    parameters,
    takes_rng,
)
from tinyadv.tensor import Tensor, grad, raw

D, UNITS, PIECES = 6, 3, 4
LAYERS = {
    "linear": lambda rng: Linear(D, UNITS, rng, scale=0.5),
    "maxout": lambda rng: Maxout(D, UNITS, PIECES, rng, scale=0.5),
    "rbf": lambda rng: RBF(uniform(rng, (UNITS, D), 0.5), beta=0.3),
    "sigmoid": lambda rng: Sigmoid(D, UNITS, rng, scale=0.5),
    "rust": lambda rng: Rust(D, UNITS, rng, 0.5),
    "rust-squared": lambda rng: RustSquared(D, UNITS, rng, 0.5, excitatory=3, suppressive=1),
    "rbf-units": lambda rng: RBFUnits(uniform(rng, (UNITS, D), 0.5), beta=0.3),
    "quadratic": lambda rng: Quadratic(D, UNITS, rng, scale=0.5, inhibition=0.3),
    "rbf-full": lambda rng: RBF(uniform(rng, (UNITS, D), 0.5), beta=0.3, full=True),
}


@pytest.fixture(params=LAYERS)
def layer(request):
    """Every layer with parameters, all of them moved away from their special initial values."""
    made = LAYERS[request.param](generator(1, "weights"))
    for p in parameters(made):
        p.data = p.data + uniform(generator(2), p.shape, 0.1)
    return made


@pytest.fixture
def x(rng):
    return rng.random((5, D), dtype=np.float32)


def by_hand(layer, x):
    """What the layer's docstring says, one entry at a time, in float64."""
    P = {name: p.data.astype("float64") for name, p in named_parameters(layer).items()}
    if isinstance(layer, Linear):
        return [[sum(W * r) + b for W, b in zip(P["W"], P["b"], strict=True)] for r in x]
    if isinstance(layer, Maxout):
        b = P["b"].reshape(PIECES, UNITS)
        return [[max(sum(P["W"][p, u] * r) + b[p, u] for p in range(PIECES)) for u in range(UNITS)] for r in x]
    if isinstance(layer, Sigmoid):
        return [[1 / (1 + np.exp(-(sum(W * r) + b))) for W, b in zip(P["W"], P["b"], strict=True)] for r in x]
    if isinstance(layer, Rust):
        w, U, V = P["W"][0], P["W"][1:3], P["W"][3:]
        f = [[np.hypot.reduce([max(0, w[u] @ r + P["b"][u]), *(U[:, u] @ r)]) for u in range(UNITS)] for r in x]
        g = [[np.linalg.norm(V[:, u] @ r) for u in range(UNITS)] for r in x]
        return (np.array(f) - g) / (1 + np.array(f) + g)
    if isinstance(layer, RustSquared):
        z = np.array([[W @ r for r in x] for W in P["W"]]) + P["b"].reshape(4, 1, UNITS)
        E, S = np.maximum(z[0], 0) ** 2 + z[1] ** 2 + z[2] ** 2, z[3] ** 2
        return (E - S) / (1 + E + S)
    if isinstance(layer, RBFUnits):
        units = list(zip(P["mu"], np.exp(P["s"]), strict=True))
        return [[np.exp(-(r - mu) @ (beta * (r - mu))) for mu, beta in units] for r in x]
    if isinstance(layer, Quadratic):
        units = list(zip(P["W"], P["b"], np.exp(P["s"]), strict=True))
        return [[W @ r + b - beta @ r**2 for W, b, beta in units] for r in x]
    beta = [np.diag(np.exp(s)) if s.ndim == 1 else s @ s.T for s in P["root"]]
    return [[-(r - mu) @ beta[k] @ (r - mu) for k, mu in enumerate(P["mu"])] for r in x]


def test_an_array_gives_an_array_and_a_tensor_a_tensor_of_the_same_bits(layer, x, xp):
    layer, x = place(layer, xp), xp.asarray(x)
    y, Y = layer(x), layer(Tensor(x))
    assert not isinstance(y, Tensor)
    assert isinstance(Y, Tensor)
    assert y.shape == (5, UNITS)
    assert y.dtype == Y.dtype == "float32"
    assert to_device(y, "cpu").tobytes() == to_device(Y.data, "cpu").tobytes()


def test_values_are_those_of_the_formula(layer, x):
    np.testing.assert_allclose(layer(x), by_hand(layer, x.astype("float64")), rtol=2e-5, atol=1e-6)


def test_gradients_reach_the_input_and_every_parameter(layer, x):
    X = Tensor(x)
    for t, g in zip([X, *parameters(layer)], grad(layer(X).sum(), [X, *parameters(layer)]), strict=True):
        assert g.shape == t.shape
        assert g.dtype == "float32"
        assert abs(g).max() > 0


def test_gradients_to_second_order(layer, rng):
    xs = [rng.normal(size=(2, D)), *(p.data.astype("float64") for p in parameters(layer))]

    def f(x, *theta):
        for name, p in zip(named_parameters(layer), theta, strict=True):
            setattr(layer, name, p)
        return layer(x)

    gradcheck(f, *xs)


@pytest.mark.parametrize("scale", [0.005, 0.5])
@pytest.mark.parametrize("make", [Linear, lambda *sizes, **k: Maxout(*sizes, PIECES, **k)], ids=["linear", "maxout"])
def test_initial_weights_are_uniform_within_the_scale_and_biases_zero(make, scale):
    layer = make(200, 100, rng=generator(5), scale=scale)
    assert layer.W.dtype == layer.b.dtype == "float32"
    assert not layer.b.data.any()
    assert abs(layer.W.data).max() <= np.float32(scale)
    assert stats.kstest(layer.W.data.ravel(), "uniform", (-scale, 2 * scale)).pvalue > 0.01


@pytest.mark.parametrize(
    ("make", "scale"),
    [
        (lambda rng: Linear(50, 40, rng), math.sqrt(6 / 50)),
        (lambda rng: Maxout(50, 40, 3, rng), math.sqrt(3 / 50)),
        (lambda rng: ConvMaxout(2, 10, 3, rng, kernel=5, padding=0, pool=1, stride=1), math.sqrt(3 / 50)),
        (lambda rng: Sigmoid(50, 100, rng), 4 * math.sqrt(6 / 150)),
        (lambda rng: Rust(50, 40, rng), math.sqrt(6 / 50)),
        (lambda rng: RustSquared(50, 40, rng), math.sqrt(6 / 50)),
    ],
    ids=["linear", "maxout", "conv-maxout", "sigmoid", "rust", "rust-squared"],
)
def test_the_default_scale_is_as_documented(make, scale):
    assert 0.98 * scale < abs(make(generator(5)).W.data).max() <= np.float32(scale)


def test_the_same_generator_gives_the_same_weights_and_another_others():
    first, same, other = (Linear(D, UNITS, generator(seed, "weights")).W.data for seed in (1, 1, 2))
    assert first.tobytes() == same.tobytes()
    assert (first != other).all()


def test_a_bias_has_one_axis_and_weights_more_which_is_how_max_norm_tells_them_apart():
    rng = generator(0)
    assert [p.shape for p in parameters(Linear(D, UNITS, rng))] == [(UNITS, D), (UNITS,)]
    assert [p.shape for p in parameters(Maxout(D, UNITS, PIECES, rng))] == [(PIECES, UNITS, D), (PIECES * UNITS,)]


def test_names_are_paths_of_attributes_in_the_order_they_were_set():
    class Owner:
        def __init__(self):
            self.label, self.sizes = "not a parameter", {"units": 3}
            self.first = Tensor(np.zeros(1))
            self.rest = [Linear(2, 1, generator(0)), (Dropout(0.5), RBF(np.zeros((1, 2)), 1.0))]

    owner = Owner()
    assert list(named_parameters(owner)) == ["first", "rest.0.W", "rest.0.b", "rest.1.1.mu", "rest.1.1.root"]
    assert parameters(owner)[1] is owner.rest[0].W
    assert [id(p) for p in parameters(owner)] == [id(p) for p in named_parameters(owner).values()]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Linear(0, 3, generator(0)), "sizes are at least 1, got inputs 0, units 3"),
        (lambda: Maxout(3, 3, 0, generator(0)), "got inputs 3, units 3, pieces 0"),
        (lambda: Sigmoid(0, 3, generator(0)), "got inputs 0, units 3"),
        (lambda: Rust(3, 0, generator(0)), "got inputs 3, units 0"),
        (lambda: RustSquared(3, 2, generator(0), suppressive=0), "got inputs 3, units 2, excitatory 2, suppressive 0"),
        (lambda: Quadratic(0, 2, generator(0), 0.1, 0.1), "got inputs 0, units 2"),
        (lambda: Quadratic(3, 2, generator(0), 0.1, 0.0), "beta is a positive number, got 0.0"),
        (lambda: RBFUnits(np.zeros((2, 3)), beta=-1.0), "beta is a positive number, got -1.0"),
        (lambda: RBF(np.zeros((2, 3)), beta=math.inf), "beta is a positive number, got inf"),
        (lambda: RBF(np.zeros((2, 3)), beta=0.0), "beta is a positive number, got 0.0"),
        (lambda: RBF(np.zeros((2, 3)), beta=-1.0, full=True), "beta is a positive number, got -1.0"),
        (lambda: RBF(np.zeros((2, 3)), beta=float("nan")), "beta is a positive number, got nan"),
        *((lambda keep=keep: Dropout(keep), "to keep in \\(0, 1\\]") for keep in (0.0, -0.1, 1.01, float("nan"))),
    ],
)
def test_bad_arguments_say_what_was_wanted(make, message):
    with pytest.raises(ValueError, match=message):
        make()


class HandsOn:
    """As in libraries that have hooks: `__call__` takes anything, and `forward` knows what."""

    def __call__(self, *args, **options):
        return self.forward(*args, **options)

    def forward(self, x):
        return x


class DrawsFor(HandsOn):
    def forward(self, x, rng=None):
        return x


@pytest.mark.parametrize(
    ("layer", "takes"),
    [
        (lambda x: x, False),
        (lambda x, rng: x, True),
        (lambda x, *, rng=None: x, True),
        (lambda x, **options: x, True),
        (lambda *x: x, False),
        (ops.relu, False),
        (np.abs, False),
        (Dropout(0.5), True),
        (Relu(), False),
        (HandsOn(), False),
        (DrawsFor(), True),
    ],
)
def test_rng_is_given_to_what_takes_it(layer, takes):
    assert takes_rng(layer) is takes


# ---------------------------------------------------------------------------------------------------------
# RBF


@pytest.mark.parametrize("full", [False, True])
def test_an_rbf_unit_is_sure_at_its_centre_and_nowhere_else(full, rng, xp):
    layer = place(RBF(rng.random((UNITS, D), dtype=np.float32), beta=0.2, full=full), xp)
    at_centres = to_device(layer(layer.mu.data), "cpu")
    assert (np.exp(at_centres).diagonal() == 1.0).all()
    assert (at_centres[~np.eye(UNITS, dtype=bool)] < 0).all()
    anywhere = layer(xp.asarray(rng.normal(size=(50, D)).astype("float32") * 10))
    assert float(anywhere.max()) < 0.0


@pytest.mark.parametrize("full", [False, True])
def test_beta_starts_at_beta_in_every_direction(full):
    layer = RBF(np.zeros((UNITS, D), dtype=np.float32), beta=0.2, full=full)
    expected = 0.2 * np.eye(D) if full else 0.2 * np.ones(D)
    np.testing.assert_allclose(layer.beta(np.zeros(1)), np.stack([expected] * UNITS), rtol=1e-6)
    assert isinstance(layer.beta(Tensor(np.zeros(1))), Tensor)


# ---------------------------------------------------------------------------------------------------------
# Dropout


@pytest.mark.parametrize(("keep", "rescale", "kept_value"), [(0.8, False, 1.0), (0.5, True, 2.0), (0.25, True, 4.0)])
def test_dropout_keeps_the_stated_share_and_scales_what_it_keeps(keep, rescale, kept_value, xp):
    y = to_device(Dropout(keep, rescale)(xp.asarray(np.ones((300, 200), dtype=np.float32)), rng=generator(7)), "cpu")
    assert y.dtype == "float32"
    assert set(np.unique(y)) == {0.0, kept_value}
    assert (y > 0).mean() == pytest.approx(keep, abs=0.01)
    for axis in (0, 1):  # of every unit, and of every example
        assert (y > 0).mean(axis=axis) == pytest.approx(keep, abs=0.17)


def test_every_example_has_a_mask_of_its_own():
    mask = Dropout(0.5)(np.ones((100, 60)), rng=generator(7))
    assert len(np.unique(mask, axis=0)) == 100


def test_the_same_seed_gives_the_same_masks_and_the_next_batch_others(x):
    drop, rng = Dropout(0.5), generator(1, "masks")
    first, second = drop(x, rng=rng), drop(x, rng=rng)
    assert first.tobytes() == drop(x, rng=generator(1, "masks")).tobytes()
    assert first.tobytes() != second.tobytes()


@pytest.mark.parametrize("wrap", [lambda x: x, Tensor], ids=["array", "tensor"])
def test_dropout_leaves_inference_alone(x, wrap):
    x = wrap(x)
    assert Dropout(0.5)(x) is x
    assert Dropout(1.0)(x, rng=generator(0)) is x


def test_the_gradient_goes_through_the_mask_of_the_forward(x):
    X = Tensor(x)
    Y = Dropout(0.5)(X, rng=generator(3))
    (g,) = grad(Y.sum(), [X])
    assert 0 < (g == 0).sum() < g.size
    assert (g * x).tobytes() == raw(Y).tobytes()


def test_relu_cuts_off_what_is_below_0():
    x = np.array([[-1.0, 0.0, 2.0]], dtype="float32")
    assert Relu()(x).tolist() == [[0, 0, 2]]
    assert isinstance(Relu()(Tensor(x)), Tensor)


def test_the_bias_of_a_quadratic_layer_makes_up_for_the_inhibition_of_a_typical_image():
    layer = Quadratic(784, 3, generator(0), scale=0.0, inhibition=0.2)
    assert layer.b.data == pytest.approx([0.2 * 784 * 0.112] * 3, rel=1e-6)
    x = mnist().train.x[:2000]
    assert (x**2).mean() == pytest.approx(0.112, abs=0.003)
    assert abs(layer(x).mean()) < 0.5


@pytest.mark.parametrize("gone", ["black image", "dropped units"])
def test_a_root_at_0_has_a_gradient_of_0_in_rust_units(gone, rng):
    """A black image, or all of an example's inputs dropped: nothing to learn from, and nothing that is no number."""
    layer, x = Rust(D, UNITS, generator(1), 0.5), rng.random((2, D), dtype=np.float32)
    x[0] = 0.0
    layer.b.data -= 0.1  # else relu' at 0 alone would make everything 0
    X = Tensor(x if gone == "black image" else np.ones_like(x))
    h = layer(X if gone == "black image" else X * x)
    theta = parameters(layer)
    assert not h.data[0].any()
    gx, *gs = grad(h.sum(), [X, *theta], create_graph=True)
    assert not gx.data[0].any()
    assert gx.data[1].any()
    alone = grad(layer(Tensor(x[1:])).sum(), theta)
    for g, expected in zip(gs, alone, strict=True):
        np.testing.assert_allclose(g.data, expected, rtol=1e-5, atol=1e-7)
    second = grad((gx * gx).sum(), theta)  # as training through an attack asks for
    assert all(np.isfinite(g).all() for g in second)
    assert any(g.any() for g in second)


def test_a_positive_bias_excites_a_rust_unit_also_in_the_dark():
    layer = Rust(D, 1, generator(1), 0.5)
    layer.b.data += 0.5
    h = layer(Tensor(np.zeros((1, D), np.float32)))
    assert h.data == pytest.approx(0.5 / 1.5)
    assert grad(h.sum(), [layer.b])[0] == pytest.approx(1 / 1.5**2)


def test_a_rust_unit_has_five_filters():
    with pytest.raises(ValueError, match=r"five filters, W of shape \(5, units, D\); got W of shape \(4, 2, 3\)"):
        ops.rust(np.zeros((1, 3)), np.zeros((4, 2, 3)), np.zeros(2))
    with pytest.raises(ValueError, match=r"five filters, .* got W of shape \(6, 2, 3\)"):
        ops.rust(np.zeros((1, 3)), np.zeros((6, 2, 3)), np.zeros(2))


def test_a_first_filter_that_is_cut_off_does_not_count_however_large():
    """Beside it the other filters' squares, divided by its own, are small, and so is the 1 that stands with them."""
    W = np.array([[[-1e10, 0]], [[0, 1]]], "float32")
    h = ops.rust_squared(np.ones((1, 2), "float32"), W, np.zeros(2, "float32"), 1)
    assert h == pytest.approx(-0.5)  # E = 0, S = 1


# ---------------------------------------------------------------------------------------------------------
# Convolutional maxout


def conv_layer(**changes):
    sizes = {"kernel": 3, "padding": 1, "pool": 3, "stride": 2} | changes
    return ConvMaxout(2, UNITS, PIECES, generator(1), scale=0.5, **sizes)


def test_convolutional_maxout_by_loops(rng):
    """The unit u of place p, q: the largest over the window's places and the pieces. Pieces are planes, as in W."""
    layer, x = conv_layer(), rng.normal(size=(5, 6, 2, 2)).astype("float32")
    layer.b.data = rng.normal(size=PIECES * UNITS).astype("float32")
    padded = np.pad(x, [(1, 1), (1, 1), (0, 0), (0, 0)])
    z = np.zeros((5, 6, 2, PIECES, UNITS))
    for p, q in np.ndindex(5, 6):
        window = padded[p : p + 3, q : q + 3]
        z[p, q] = (np.einsum("ijnc,ijco->no", window, layer.W.data) + layer.b.data).reshape(2, PIECES, UNITS)
    h = z.max(axis=3)
    expected = [[h[p : p + 3, q : q + 3].max(axis=(0, 1)) for q in (0, 2, 4)] for p in (0, 2)]
    np.testing.assert_allclose(layer(x), expected, rtol=1e-4, atol=1e-5)
    assert layer.places(5) == 2
    assert layer.places(6) == 3


def test_gradients_of_convolutional_maxout(rng):
    layer = conv_layer(padding=0)
    layer.b.data = rng.normal(size=PIECES * UNITS)
    x = rng.normal(size=(5, 5, 1, 2))

    def f(x, W, b):
        layer.W, layer.b = W, b
        return layer(x)

    gradcheck(f, x, layer.W.data.astype("float64"), layer.b.data, step=1e-5, rtol=1e-6)


def test_rows_of_images_and_images_of_rows(rng):
    x = rng.random((3, 12))
    assert Images(3, 2, 2)(x).shape == (2, 2, 3, 3)
    assert np.array_equal(Rows()(Images(3, 2, 2)(x)), x)
    assert isinstance(Rows()(Images(3, 2, 2)(Tensor(x))), Tensor)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: conv_layer(kernel=0), "sizes are at least 1, got channels 2, units 3, pieces 4, kernel 0"),
        (lambda: conv_layer(stride=0), "sizes are at least 1, got .*pool 3, stride 0"),
        (lambda: conv_layer(padding=-1), "padding is at least 0, the stride at most the pool, 3; got -1 and 2"),
        (lambda: conv_layer(stride=4), "padding is at least 0, the stride at most the pool, 3; got 1 and 4"),
        (lambda: conv_layer().places(2), "images are too small: 2 places are left for a pool of 3"),
        (lambda: Images(3, 0, 2), "got channels 3, height 0, width 2"),
        (lambda: Images(3, 2, 2)(np.zeros((2, 11))), "rows of 12 numbers; got"),
    ],
)
def test_impossible_convolutional_layers_are_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()
