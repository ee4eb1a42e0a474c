"""Networks: calls, dropout, the published default, whole-network gradients, moving, saving, and refusals."""

import numpy as np
import pytest
from placed import place

from tinyadv import backend, load, losses, models, ops, parameters, save
from tinyadv.backend import generator, to_device
from tinyadv.gradcheck import gradcheck
from tinyadv.layers import ConvMaxout, Dropout, Linear, Maxout, Rust, RustSquared, Sigmoid, named_parameters
from tinyadv.models import Network, build
from tinyadv.optim import SGD, LinearSchedule, schedule_of
from tinyadv.storage import StorageError, save_arrays
from tinyadv.tensor import Tensor, raw
from tinyadv.training import train

D, K = 6, 3
SMALL = {
    "softmax": ("softmax_regression", {"inputs": D, "classes": K, "scale": 0.5}),
    "logistic": ("logistic_regression", {"inputs": D, "scale": 0.5}),
    "maxout": ("maxout_network", {"units": 4, "pieces": 2, "inputs": D, "classes": K, "scale": 0.5}),
    "maxout-sigmoid": (
        "maxout_network",
        {"units": 4, "pieces": 3, "depth": 1, "top": "sigmoid", "inputs": D, "classes": K, "scale": 0.5},
    ),
    "sigmoid-units": ("saturating_network", {"units": 4, "inputs": D, "classes": K, "scale": 0.5}),
    "rust-units": ("saturating_network", {"unit": "rust", "units": 4, "inputs": D, "classes": K, "scale": 0.5}),
    "rust-squared-units": (
        "saturating_network",
        {"unit": "rust-squared", "units": 4, "inputs": D, "classes": K, "scale": 0.5},
    ),
    "rbf": ("rbf_network", {"inputs": D, "classes": K, "beta": 0.5}),
    "rbf-full": ("rbf_network", {"inputs": D, "classes": K, "beta": 0.5, "full": True, "top": "rbf-true-class"}),
    "rbf-squared": ("rbf_network", {"inputs": D, "classes": K, "beta": 0.5, "top": "rbf-squared"}),
    "deep-rbf": (
        "deep_rbf_network",
        {"units": 4, "depth": 2, "beta": 0.4, "hidden_beta": 0.6, "inputs": D, "classes": K},
    ),
    "deep-rbf-softmax": ("deep_rbf_network", {"units": 4, "beta": 0.4, "top": "softmax", "inputs": D, "classes": K}),
    "quadratic": ("quadratic_network", {"units": 4, "inhibition": 0.3, "inputs": D, "classes": K, "scale": 0.9}),
    "mp-dbm": ("mp_dbm", {"units": [4, 3], "iterations": 4, "inputs": D, "classes": K}),
    # images of 10 x 10 are the smallest that its layers leave anything of
    "conv": (
        "conv_maxout_network",
        {"channels": [2, 3, 2], "units": 4, "pieces": [2, 3], "size": 10, "classes": K, "scale": 0.3},
    ),
}


@pytest.fixture(params=SMALL)
def model(request):
    return build(*SMALL[request.param], generator(1, "weights"))


@pytest.fixture
def x(rng, request):
    """Five rows that fit the test's model, or D inputs."""
    inputs = request.getfixturevalue("model").inputs if "model" in request.fixturenames else D
    return rng.random((5, inputs), dtype=np.float32)


def labels(model, n=5):
    """Labels of all classes."""
    y = np.arange(n) % K
    return np.where(y == 0, -1, 1) if model.top == "logistic" else y


def small(name="maxout"):
    return build(*SMALL[name], generator(1, "weights"))


# ---------------------------------------------------------------------------------------------------------
# Calls


def test_an_array_gives_an_array_and_a_tensor_a_tensor_of_the_same_bits(model, x, xp):
    model, x = place(model, xp), xp.asarray(x)
    z, Z = model(x), model(Tensor(x))
    assert not isinstance(z, Tensor)
    assert isinstance(Z, Tensor)
    assert z.shape == ((5,) if model.top == "logistic" else (5, K))
    assert z.dtype == Z.dtype == "float32"
    assert to_device(z, "cpu").tobytes() == to_device(Z.data, "cpu").tobytes()


def test_inference_is_deterministic_and_does_not_feel_a_training_pass(model, x):
    before = model(x).tobytes()
    model(x, rng=generator(0))
    assert model(x).tobytes() == before


def test_training_draws_masks_from_the_generator_alone():
    model, x = small(), np.ones((5, D), dtype=np.float32)
    first, same, other = (model(x, rng=generator(seed)).tobytes() for seed in (1, 1, 2))
    assert first == same != other
    assert first != model(x).tobytes()


def test_masks_stand_on_every_layer_s_input_pixels_unscaled_and_hidden_units_doubled(x):
    model, rng = small(), generator(9)
    layers = [layer for layer in model.layers if not isinstance(layer, Dropout)]
    expected = x
    for layer, (keep, kept_value) in zip(layers, [(0.8, 1.0), (0.5, 2.0), (0.5, 2.0)], strict=True):
        mask = backend.keep_mask(rng, expected, keep, kept_value)
        expected = layer(expected * mask)
    assert model(x, rng=generator(9)).tobytes() == expected.tobytes()


def test_networks_without_dropout_ignore_the_generator(x):
    for name in ("softmax", "logistic", "rbf", "rbf-full"):
        assert small(name)(x, rng=generator(0)).tobytes() == small(name)(x).tobytes()


def test_the_outputs_of_a_maxout_network_by_hand(x):
    h = x
    for i in (1, 3):
        W, b = small().layers[i].W.data, small().layers[i].b.data.reshape(2, 4)
        h = np.max([h @ W[p].T + b[p] for p in range(2)], axis=0)
    np.testing.assert_allclose(small()(x), h @ small().layers[5].W.data.T, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("name", "J", "p"),
    [
        ("softmax", losses.softmax_cross_entropy, ops.softmax),
        ("maxout", losses.softmax_cross_entropy, ops.softmax),
        ("maxout-sigmoid", losses.sigmoid_cross_entropy, ops.sigmoid),
        ("logistic", losses.logistic_loss, ops.sigmoid),
        ("rust-units", losses.softmax_cross_entropy, ops.softmax),
        ("rust-squared-units", losses.softmax_cross_entropy, ops.softmax),
        ("rbf", losses.rbf_cross_entropy, ops.exp),
        ("rbf-full", losses.rbf_log_likelihood, ops.exp),
        ("rbf-squared", losses.rbf_squared_error, ops.exp),
        ("deep-rbf", losses.rbf_cross_entropy, ops.exp),
        ("quadratic", losses.softmax_cross_entropy, ops.softmax),
        ("conv", losses.softmax_cross_entropy, ops.softmax),
    ],
)
def test_the_top_says_the_cost_and_the_probabilities(name, J, p, x):
    model = small(name)
    z = model(np.tile(x, model.inputs // D))
    assert model.loss(z, labels(model)) == J(z, labels(model))
    assert model.probabilities(z).tobytes() == p(z).tobytes()
    assert (model.probabilities(z) >= 0).all()
    assert (model.probabilities(z) <= 1).all()


@pytest.mark.parametrize("unit", ["sigmoid", "rust", "rust-squared"])
def test_saturating_units_stay_within_their_bounds_and_stand_between_dropouts(unit, rng):
    model = models.saturating_network(unit, 5, 3, D, K, scale=0.7, rng=generator(0))
    kind = {"sigmoid": Sigmoid, "rust": Rust, "rust-squared": RustSquared}[unit]
    expected = [Dropout, kind, Dropout, kind, Dropout, kind, Dropout, Linear]
    assert [type(layer) for layer in model.layers] == expected
    assert [(d.keep, d.rescale) for d in model.layers if isinstance(d, Dropout)] == [(0.8, False)] + 3 * [(0.5, True)]
    h = model.layers[1](1000 * rng.normal(size=(99, D)).astype("float32"))
    low, high = (0, 1) if unit == "sigmoid" else (-1, 1)
    near = 0.7 if unit == "rust" else 0.01  # roots of squares are less extreme
    assert low <= h.min() < low + near
    assert high - near < h.max() <= high
    shapes = {"sigmoid": [(5, D), (5,)], "rust": [(5, 5, D), (5,)], "rust-squared": [(4, 5, D), (20,)]}
    assert [p.shape for p in parameters(model)[:2]] == shapes[unit]
    assert 0.6 < abs(parameters(model)[0].data).max() <= np.float32(0.7)


def test_the_hidden_layers_are_those_of_units_between_the_input_and_the_top():
    hidden = {"maxout": [1, 3], "maxout-sigmoid": [1], "rust-units": [1, 3], "softmax": [], "rbf": []}
    assert {name: small(name).hidden for name in hidden} == hidden


def test_outputs_of_layers_can_be_changed_on_the_way(model, x):
    """`after` takes a layer's outputs, and gives what the next one gets."""
    seen = {}
    for i in range(len(model.layers)):
        z = model(x, after={i: lambda h, i=i: seen.setdefault(i, h)})
        assert z.tobytes() == model(x).tobytes()
    h = x
    for i, layer in enumerate(model.layers):
        h = layer(h)
        assert seen[i].tobytes() == h.tobytes()
        rest = 2 * h
        for later in model.layers[i + 1 :]:
            rest = later(rest)
        rest = rest[:, 0] if model.top == "logistic" else rest
        assert model(x, after={i: lambda h: 2 * h}).tobytes() == rest.tobytes()
    with_masks = model(x, rng=generator(1), after={0: lambda h: h})
    assert with_masks.tobytes() == model(x, rng=generator(1)).tobytes()
    X = model(x, after={0: Tensor})  # from there on it is recorded
    assert isinstance(X, Tensor)
    assert X.data.tobytes() == model(x).tobytes()


def test_the_probabilities_of_a_softmax_sum_to_1_those_of_sigmoids_need_not(x):
    np.testing.assert_allclose(small("maxout").probabilities(small("maxout")(x)).sum(axis=1), 1, rtol=1e-6)
    assert (abs(small("maxout-sigmoid").probabilities(small("maxout-sigmoid")(x)).sum(axis=1) - 1) > 0.1).all()


# ---------------------------------------------------------------------------------------------------------
# What is published


def test_the_maxout_network_of_the_published_scale_is_the_published_one():
    model = models.maxout_network(scale=0.005, rng=generator(0))
    shapes = {name: p.shape for name, p in named_parameters(model).items()}
    assert shapes == {
        "layers.1.W": (5, 240, 784),
        "layers.1.b": (5 * 240,),
        "layers.3.W": (5, 240, 240),
        "layers.3.b": (5 * 240,),
        "layers.5.W": (10, 240),
        "layers.5.b": (10,),
    }
    assert [type(layer) for layer in model.layers] == [Dropout, Maxout, Dropout, Maxout, Dropout, Linear]
    drops = [(d.keep, d.rescale) for d in model.layers if isinstance(d, Dropout)]
    assert drops == [(0.8, False), (0.5, True), (0.5, True)]
    assert model.top == "softmax"
    for name, p in named_parameters(model).items():
        assert p.dtype == "float32"
        if name.endswith("W"):
            assert 0.00499 < abs(p.data).max() <= np.float32(0.005)
            assert abs(p.data.mean()) < 2e-4
        else:
            assert not p.data.any()


def test_the_scale_is_that_of_all_layers():
    for W in parameters(models.maxout_network(8, 2, inputs=9, scale=0.3, rng=generator(0)))[::2]:
        assert 0.27 < abs(W.data).max() <= np.float32(0.3)


def test_regressions_start_at_zero_by_default():
    for make, outputs in ((models.softmax_regression, 10), (models.logistic_regression, 1)):
        W, b = parameters(make(rng=generator(0)))
        assert (W.shape, b.shape) == ((outputs, 784), (outputs,))
        assert not W.data.any()
        assert not b.data.any()


@pytest.mark.parametrize("full", [False, True])
def test_the_rbf_network_starts_at_noise_of_pixels(full):
    model = models.rbf_network(inputs=30, full=full, rng=generator(0))
    mu, root = parameters(model)
    assert mu.shape == (10, 30)
    assert root.shape == ((10, 30, 30) if full else (10, 30))
    assert 0 <= mu.data.min() < 0.05
    assert 0.95 < mu.data.max() <= 1
    at_centres = model.probabilities(model(mu.data))
    assert (at_centres.diagonal() == 1).all()
    assert (at_centres <= 1).all()


@pytest.mark.parametrize("top", ["rbf", "softmax"])
def test_a_deep_rbf_network_by_hand(top, x):
    model = models.deep_rbf_network(4, 2, 0.4, 0.6, top, D, K, rng=generator(1, "weights"))
    h = x.astype("float64")
    for layer, beta in zip(model.layers[:2], (0.4, 0.6), strict=True):
        mu = layer.mu.data
        assert 0 <= mu.min() < mu.max() <= 1
        h = np.exp([[-beta * ((r - m) ** 2).sum() for m in mu] for r in h])
    if top == "rbf":
        expected = [[-0.6 * ((r - m) ** 2).sum() for m in model.layers[2].mu.data] for r in h]
    else:
        expected = h @ model.layers[2].W.data.T
        assert abs(model.layers[2].W.data).max() <= 0.5  # units^-1/2
    np.testing.assert_allclose(model(x), expected, rtol=1e-4, atol=1e-5)


def test_a_network_of_quadratic_units_by_hand(x):
    model = models.quadratic_network(4, 2, 0.3, "softmax", D, K, 0.9, rng=generator(1, "weights"))
    h = x.astype("float64")
    for layer, inputs in ((model.layers[0], D), (model.layers[2], 4)):
        h = np.maximum(h @ layer.W.data.T + 0.3 * 0.112 * inputs - 0.3 * (h**2).sum(axis=1, keepdims=True), 0)
    assert (h == 0).any()
    assert (h > 0).any()
    np.testing.assert_allclose(model(x), h @ model.layers[4].W.data.T, rtol=1e-4, atol=1e-6)


# ---------------------------------------------------------------------------------------------------------
# Gradients of the whole network


@pytest.mark.parametrize("dropout", [False, True])
def test_the_cost_s_gradients_to_second_order_in_the_inputs_and_every_parameter(model, dropout, rng):
    model.to(dtype="float64")
    names, y = list(named_parameters(model)), labels(model, 3)

    def J(x, *theta):
        for name, p in zip(names, theta, strict=True):
            _, i, attribute = name.split(".")
            setattr(model.layers[int(i)], attribute, p)
        return model.loss(model(x, rng=generator(3) if dropout else None), y)

    xs = [rng.normal(size=(3, model.inputs)), *(p.data + 0.1 * rng.normal(size=p.shape) for p in parameters(model))]
    gradcheck(J, *xs, step=1e-4)


# ---------------------------------------------------------------------------------------------------------
# Moving, saving, loading


def test_moving_to_float64_and_back(model, x):
    z, same = model(x), model.to(dtype="float64")
    assert same is model
    assert {p.dtype.name for p in parameters(model)} == {"float64"}
    z64 = model(x.astype("float64"))
    assert z64.dtype == "float64"
    np.testing.assert_allclose(z64, z, rtol=1e-4, atol=1e-5)
    assert model.to(dtype="float32").to("cpu")(x).tobytes() == z.tobytes()


def test_moving_to_what_is_not_there_changes_nothing(model):
    before = [p.data for p in parameters(model)]
    with pytest.raises(ValueError, match="'float32' or 'float64', got 'int32'"):
        model.to(dtype="int32")
    with pytest.raises(ValueError, match="unknown device 'tpu'"):
        model.to("tpu", "float64")
    assert all(p.data is a for p, a in zip(parameters(model), before, strict=True))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_saved_network_comes_back_bit_for_bit(model, dtype, x, tmp_path):
    model.to(dtype=dtype)
    x = x.astype(dtype)
    for p in parameters(model):
        p.data = p.data + 0.25  # what the builder would not make
    save(model, tmp_path / "network.safetensors")
    again = load(tmp_path / "network.safetensors")
    assert (again.builder, again.arguments, again.top) == (model.builder, model.arguments, model.top)
    assert again(x).tobytes() == model(x).tobytes()
    assert again(x, rng=generator(4)).tobytes() == model(x, rng=generator(4)).tobytes()
    parameters(again)[0].data += 1.0  # what was loaded can be trained further


def test_every_builder_is_saved_and_loaded():
    assert {builder for builder, _ in SMALL.values()} == set(models._BUILDERS)


def test_a_network_without_dropout_and_one_of_another_depth_come_back(tmp_path):
    model = models.maxout_network(3, 2, 3, inputs=D, classes=K, keep=(1.0, 1.0), rng=generator(0))
    save(model, tmp_path / "network")
    x = np.ones((2, D), dtype=np.float32)
    assert load(tmp_path / "network")(x, rng=generator(0)).tobytes() == model(x).tobytes()


def test_saving_leaves_no_other_file_and_says_where_it_cannot(tmp_path):
    save(small(), tmp_path / "new folder" / "network")
    assert [p.name for p in (tmp_path / "new folder").iterdir()] == ["network"]
    with pytest.raises(OSError, match="new folder"):
        save(small(), tmp_path / "new folder")
    assert [p.name for p in tmp_path.iterdir()] == ["new folder"]


ARRAYS = {name: p.data for name, p in named_parameters(small("softmax")).items()}
ABOUT = {"network": "softmax_regression", "arguments": SMALL["softmax"][1]}


@pytest.mark.parametrize(
    ("arrays", "about", "message"),
    [
        (ARRAYS, {}, "holds arrays, but not a network"),
        (ARRAYS, ABOUT | {"network": "transformer"}, "no network 'transformer'"),
        (ARRAYS, ABOUT | {"arguments": {"heads": 8}}, "does not take {'heads': 8}"),
        (ARRAYS, ABOUT | {"arguments": {"inputs": 5, "classes": 3}}, "does not fit softmax_regression"),
        ({"layers.0.W": ARRAYS["layers.0.W"]}, ABOUT, "does not fit softmax_regression: wanted arrays"),
        (ARRAYS | {"more": np.zeros(1)}, ABOUT, "does not fit softmax_regression"),
    ],
)
def test_a_file_of_something_else_is_named(arrays, about, message, tmp_path):
    save_arrays(tmp_path / "file", arrays, about)
    with pytest.raises(StorageError, match=message) as info:
        load(tmp_path / "file")
    assert "file" in str(info.value)


# ---------------------------------------------------------------------------------------------------------
# The convolutional network


def test_the_published_convolutional_network():
    """Sizes as in its authors' configuration; 4.31 GFLOP an example in training are 3 x 2 x 718 million products."""
    model = models.conv_maxout_network(rng=generator(0))
    shapes = [layer.W.shape for layer in model.layers if hasattr(layer, "W")]
    assert shapes == [(8, 8, 3, 192), (8, 8, 96, 384), (5, 5, 192, 384), (5, 500, 4800), (10, 500)]
    assert [layer.keep for layer in model.layers if isinstance(layer, Dropout)] == [0.8, 0.5, 0.5, 0.5, 0.5]
    places = [33**2, 15**2, 9**2]
    products = sum(n * W[0] * W[1] * W[2] * W[3] for n, W in zip(places, shapes, strict=False))
    assert products / 1e6 == pytest.approx(40.1 + 530.8 + 149.3, abs=0.2)


def test_its_norms_and_rates_name_its_parameters():
    model = models.conv_maxout_network((2, 3, 2), 4, size=10, rng=generator(0))
    sgd = SGD(model, max_norm=models.CONV_MAX_NORMS, rate_factors=models.CONV_RATE_FACTORS)
    convolutions = [i for i, layer in enumerate(model.layers) if isinstance(layer, ConvMaxout)]
    assert set(sgd.rate_factors) == {f"layers.{i}.{name}" for i in convolutions for name in ("W", "b")}
    assert set(sgd.max_norm) == {name for name in named_parameters(model) if name.endswith("W")}
    for p in parameters(model):
        p.data[...] = 1.0
    sgd.step([np.zeros_like(p.data) for p in parameters(model)])
    kernels = model.layers[convolutions[0]].W.data
    np.testing.assert_allclose((kernels**2).sum(axis=(0, 1, 2)), 0.9**2, rtol=1e-5)


def test_the_lesson_s_settings_are_a_network_and_a_training():
    lesson = models.CONV_LESSON
    model = build("conv_maxout_network", lesson["arguments"], generator(0))
    sgd = SGD(model, schedule_of(**lesson["schedule"]), lesson["max_norm"], lesson["rate_factors"])
    assert model.layers[2].W.shape == (8, 8, 3, 48)
    assert sgd.schedule.at(0, 8) == pytest.approx((0.0005, 0.9))
    assert sgd.rate_factors.keys() == models.CONV_RATE_FACTORS.keys()


def test_it_learns_which_of_three_patterns_is_in_an_image():
    rng = np.random.default_rng(0)
    patterns = rng.normal(size=(K, 300))
    y = rng.integers(0, K, size=96)
    x = (patterns[y] + 0.5 * rng.normal(size=(96, 300))).astype("float32")
    model = models.conv_maxout_network((4, 4, 4), 8, keep=(1.0, 1.0), scale=0.3, size=10, classes=K, rng=generator(0))
    sgd = SGD(model, LinearSchedule(0.3, 0.1, 5, 0.9, 0.9), models.CONV_MAX_NORMS, models.CONV_RATE_FACTORS)
    log = train(model, losses.clean_objective, x, y, epochs=5, seed=0, optimiser=sgd, batch=16).log
    assert log[-1]["loss"] < 0.2 * log[0]["loss"]


# ---------------------------------------------------------------------------------------------------------
# Refusals


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda n: np.zeros((5, n + 1), "float32"), ValueError, r"takes x of shape \(N, {n}\), got \(5, {n1}\)"),
        (lambda n: np.zeros(n, "float32"), ValueError, r"takes x of shape \(N, {n}\), got \({n},\)"),
        (lambda n: np.zeros((5, 2, n), "float32"), ValueError, r"takes x of shape \(N, {n}\), got \(5, 2, {n}\)"),
        (lambda n: np.zeros((5, n)), TypeError, "computes in float32, got x of float64"),
        (lambda n: np.zeros((5, n), "uint8"), TypeError, "computes in float32, got x of uint8"),
        (lambda n: [[0.0] * n] * 5, TypeError, "takes an array or a Tensor, got list"),
    ],
)
def test_wrong_inputs_are_named(model, make, error, message):
    x, message = make(model.inputs), message.format(n=model.inputs, n1=model.inputs + 1)
    with pytest.raises(error, match=f"{model.builder} {message}"):
        model(x)
    if getattr(x, "dtype", None) == "float32":
        with pytest.raises(error, match=f"{model.builder} {message}"):
            model(Tensor(x))


def test_a_tensor_of_another_dtype_is_named_by_the_first_operation_with_a_parameter(model):
    of_one_dtype = "conv2d takes images and kernels of one dtype, got float64 and float32"
    with pytest.raises(TypeError, match=f"of a Tensor of float.. and float.. would give float64|{of_one_dtype}"):
        model(Tensor(np.zeros((5, model.inputs))))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda rng: build("resnet", {}, rng), "no network 'resnet': there are softmax_regression, "),
        (lambda rng: build("softmax_regression", {"units": 3}, rng), "softmax_regression does not take {'units': 3}"),
        (lambda rng: build("softmax_regression", {"rng": 1}, rng), "softmax_regression does not take"),
        (lambda rng: models.maxout_network(top="rbf", rng=rng), "top is 'softmax' or 'sigmoid', got 'rbf'"),
        (lambda rng: models.rbf_network(top="softmax", rng=rng), "top is 'rbf' or .*, got 'softmax'"),
        (lambda rng: Network("mine", {}, [], "sigmoids"), "top is 'softmax' or .*, got 'sigmoids'"),
        (lambda rng: models.maxout_network(depth=0, rng=rng), "depth is at least 1 .* got 0"),
        (lambda rng: models.maxout_network(keep=(0.8,), rng=rng), "keep is .* got 2 and \\(0.8,\\)"),
        (lambda rng: models.maxout_network(keep=(0.8, 0.0), rng=rng), "probability to keep in \\(0, 1\\], got 0.0"),
        (lambda rng: models.maxout_network(units=0, rng=rng), "got inputs 784, units 0, pieces 5"),
        (lambda rng: models.softmax_regression(classes=0, rng=rng), "got inputs 784, units 0"),
        (lambda rng: models.saturating_network("relu", rng=rng), "unit is 'sigmoid' or 'rust' or .* got 'relu', 2 and"),
        (lambda rng: models.saturating_network(depth=0, rng=rng), "depth is at least 1, .* got 'sigmoid', 0 and"),
        (lambda rng: models.saturating_network(keep=(0.5,), rng=rng), r"keep is .* got 'sigmoid', 2 and \(0.5,\)"),
        (lambda rng: RustSquared(3, 2, rng, suppressive=0), "got inputs 3, units 2, excitatory 2, suppressive 0"),
        (lambda rng: models.rbf_network(beta=0.0, rng=rng), "beta is a positive number, got 0.0"),
        (lambda rng: models.deep_rbf_network(beta=-1.0, rng=rng), "beta is a positive number, got -1.0"),
        (lambda rng: models.deep_rbf_network(depth=0, rng=rng), "depth is at least 1, got 0"),
        (lambda rng: models.deep_rbf_network(top="sigmoid", rng=rng), "top is 'rbf' or .*, got 'sigmoid'"),
        (lambda rng: models.quadratic_network(inhibition=0.0, rng=rng), "beta is a positive number, got 0.0"),
        (lambda rng: models.quadratic_network(depth=0, rng=rng), "depth is at least 1, got 0"),
        (lambda rng: models.quadratic_network(top="rbf", rng=rng), "top is 'softmax' or 'sigmoid', got 'rbf'"),
        (lambda rng: models.conv_maxout_network((2, 3), rng=rng), r"channels are three numbers, .* got \(2, 3\), "),
        (lambda rng: models.conv_maxout_network(keep=(0.5,), rng=rng), r"keep \(of pixels, of hidden .* \(0.5,\)"),
        (lambda rng: models.conv_maxout_network(size=9, rng=rng), "too small: 3 places are left for a pool of 4"),
        (lambda rng: models.conv_maxout_network((2, 0, 2), rng=rng), "channels 2, units 0, pieces 2, kernel 8"),
    ],
)
def test_wrong_arguments_are_named(make, message):
    with pytest.raises(ValueError, match=message):
        make(generator(0))


def test_a_network_of_one_s_own_needs_no_builder(x):
    rng = generator(0)
    mine = Network("mine", {}, [Maxout(D, 4, 2, rng), Linear(4, K, rng)], "softmax")
    assert raw(mine(x)).shape == (5, K)
    assert list(named_parameters(mine)) == ["layers.0.W", "layers.0.b", "layers.1.W", "layers.1.b"]


def test_parameters_in_another_byte_order_leave_the_model_as_it_is():
    network = models.Network("own", {}, [Linear(4, 3, generator(0))], "softmax")
    before = network.layers[0].W.data.copy()
    arrays = {"layers.0.W": np.ones((3, 4), "f4"), "layers.0.b": np.ones(3, np.dtype("f4").newbyteorder())}
    with pytest.raises(StorageError, match=r"layers\.0\.b has its bytes in another order"):
        models.load_parameters(network, arrays)
    np.testing.assert_array_equal(network.layers[0].W.data, before)
