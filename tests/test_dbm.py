"""The multi-prediction deep Boltzmann machine: against a literal loop, PyTorch, its own free energy, and bad input."""

import tracemalloc

import numpy as np
import pytest
from error_bounds import bound
from numpy.testing import assert_allclose

from tinyadv import attacks, dbm, load, losses, metrics, models, save
from tinyadv.backend import array_module, generator, to_device
from tinyadv.dbm import DeepBoltzmannMachine, machine_of, multi_prediction_objective, with_iterations
from tinyadv.gradcheck import gradcheck
from tinyadv.layers import named_parameters, parameters
from tinyadv.optim import SGD, LinearSchedule, schedule_of
from tinyadv.storage import StorageError
from tinyadv.tensor import Tensor, grad
from tinyadv.training import train

N, D, N1, N2, K = 7, 6, 5, 4, 3


def machine(iterations=14, dtype="float64", seed=1, factor=1.0):
    """A small machine whose parameters are all at work, the same float32 numbers in either dtype."""
    model = DeepBoltzmannMachine((N1, N2), iterations, D, K, rng=generator(seed, "weights"))
    rng = np.random.default_rng(seed)
    for p in parameters(model):
        p.data = ((p.data + 0.5 * rng.standard_normal(p.shape)) * factor).astype("float32").astype(dtype)
    return model


def network(iterations=14, dtype="float64"):
    """The same machine as a network."""
    model = models.mp_dbm((N1, N2), iterations, D, K, rng=generator(1, "weights"))
    model.layers = [machine(iterations, dtype)]
    return model


def batch(seed=2, dtype="float64"):
    """Black and white pixels, labels and masks, each value of which occurs."""
    rng = np.random.default_rng(seed)
    V, M = (rng.integers(0, 2, (N, D)).astype(dtype) for _ in range(2))
    M[:, 0], M[:, 1] = 0, 1  # of every image some pixels are given, and some hidden
    m = np.array([[0, 1, 1, 0, 1, 0, 1]], dtype).T
    return V, np.eye(K, dtype=dtype)[np.arange(N) % K], M, m


def images(seed=3, dtype="float64"):
    return np.random.default_rng(seed).random((N, D)).astype("float32").astype(dtype)


def values(model):
    return {name: p.data for name, p in named_parameters(model).items()}


# ---------------------------------------------------------------------------------------------------------
# Against the equations, written once more unit by unit


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


def softmax(z):
    e = np.exp(z - z.max())
    return e / e.sum()


def from_below(W, b, state, times=1):
    """times * W state + b, one unit after another."""
    return np.array([times * sum(W[j, i] * state[i] for i in range(len(state))) + b[j] for j in range(len(b))])


def from_above(W, state):
    return np.array([sum(W[j, i] * state[j] for j in range(len(state))) for i in range(W.shape[1])])


def literal_inference(p, v, iterations):
    """The label's logits and probabilities of one image."""
    h1 = sigmoid(from_below(p["W1"], p["b1"], v, 2))
    h2 = sigmoid(from_below(p["W2"], p["b2"], h1, 2))
    z = from_below(p["W3"], p["b3"], h2)
    for _ in range(iterations - 1):
        old = h2
        h1 = sigmoid(from_below(p["W1"], p["b1"], v) + from_above(p["W2"], old))
        z = from_below(p["W3"], p["b3"], old)
        h2 = sigmoid(from_below(p["W2"], p["b2"], h1) + from_above(p["W3"], softmax(z)))
    return z


def literal_prediction(p, V, Y, M, m, iterations):
    """Logits of the pixels and of the label of one example."""
    v = np.where(M == 1, sigmoid(p["b_v"]), V)
    y = softmax(p["b3"]) if m == 1 else Y
    h1 = sigmoid(from_below(p["W1"], p["b1"], v, 2))
    h2 = sigmoid(from_below(p["W2"], p["b2"], h1) + from_above(p["W3"], y))
    for _ in range(iterations - 1):
        h1 = sigmoid(from_below(p["W1"], p["b1"], v) + from_above(p["W2"], h2))
        z_y = from_below(p["W3"], p["b3"], h2)
        z_v = from_above(p["W1"], h1) + p["b_v"]
        y = softmax(z_y) if m == 1 else Y
        v = np.where(M == 1, sigmoid(z_v), V)
        h2 = sigmoid(from_below(p["W2"], p["b2"], h1) + from_above(p["W3"], y))
    return z_v, z_y


def literal_cost(p, V, Y, M, m, iterations):
    total = 0.0
    for n in range(len(V)):
        z_v, z_y = literal_prediction(p, V[n], Y[n], M[n], m[n, 0], iterations)
        for i in range(D):
            if M[n, i]:
                total += -np.log(sigmoid(z_v[i]) if V[n, i] else 1 - sigmoid(z_v[i])) / (len(V) * D)
        if m[n, 0]:
            total += -np.log(softmax(z_y)[Y[n].argmax()]) / len(V) / D
    return total


@pytest.mark.parametrize("iterations", [1, 2, 3, 14])
def test_inference_is_the_literal_loop(iterations):
    model, x = machine(iterations), images()
    expected = [literal_inference(values(model), v, iterations) for v in x]
    assert_allclose(model(x), expected, rtol=1e-12)
    assert (np.ptp(expected, axis=0) > 0.01).all()  # the pixels matter


@pytest.mark.parametrize("iterations", [2, 3, 14])
def test_the_cost_is_the_literal_loop(iterations):
    model, examples = machine(iterations), batch()
    assert_allclose(model.cost(*examples).data, literal_cost(values(model), *examples, iterations), rtol=1e-12)


def test_more_iterations_are_another_answer_and_share_the_parameters():
    model, x = machine(14), images()
    short = model.with_iterations(3)
    assert_allclose(short(x), [literal_inference(values(model), v, 3) for v in x], rtol=1e-12)
    assert abs(short(x) - model(x)).max() > 1e-3
    assert all(a is b for a, b in zip(parameters(short), parameters(model), strict=True))
    assert (model.iterations, short.iterations) == (14, 3)


def test_a_network_infers_for_another_number_of_rounds():
    model, x = network(14), images()
    short = with_iterations(model, 3)
    assert (short(x) == machine(3)(x)).all()
    assert (model(x) == machine(14)(x)).all()
    assert (model.arguments["iterations"], short.arguments["iterations"]) == (14, 3)
    assert all(a is b for a, b in zip(parameters(short), parameters(model), strict=True))
    with pytest.raises(TypeError, match="wanted a network made by mp_dbm, got softmax_regression"):
        with_iterations(models.softmax_regression(rng=generator(0)), 3)


def test_the_answer_of_round_1_is_that_of_round_2():
    model, x = machine(), images()
    assert (model.with_iterations(1)(x) == model.with_iterations(2)(x)).all()


# ---------------------------------------------------------------------------------------------------------
# Gradients


def test_the_gradient_of_the_cost_is_right_to_both_orders():
    """For all parameters but b_v, which is taken for a constant in one place: see below."""
    model, examples = machine(4), batch()
    names = [name for name in named_parameters(model) if name != "b_v"]

    def cost(*theta):
        for name, p in zip(names, theta, strict=True):
            setattr(model, name, p)
        return model.cost(*examples)

    gradcheck(cost, *[getattr(model, name).data for name in names])


def test_the_gradient_of_the_answer_is_right_through_all_rounds():
    model, y = network(14), np.arange(N) % K
    gradcheck(lambda x: model.loss(model(x), y), images())


def cost_in_torch(torch, p, V, Y, M, m, iterations):
    F = torch.nn.functional
    v = torch.where(M == 1, torch.sigmoid(p["b_v"].detach()), V)
    y = torch.where(m == 1, torch.softmax(p["b3"], 0), Y)
    h1 = torch.sigmoid(2 * F.linear(v, p["W1"]) + p["b1"])
    h2 = torch.sigmoid(F.linear(h1, p["W2"], p["b2"]) + y @ p["W3"])
    for _ in range(iterations - 1):
        h1 = torch.sigmoid(F.linear(v, p["W1"], p["b1"]) + h2 @ p["W2"])
        z_y = F.linear(h2, p["W3"], p["b3"])
        z_v = h1 @ p["W1"] + p["b_v"]
        y = torch.where(m == 1, torch.softmax(z_y, 1), Y)
        v = torch.where(M == 1, torch.sigmoid(z_v), V)
        h2 = torch.sigmoid(F.linear(h1, p["W2"], p["b2"]) + y @ p["W3"])
    pixels = F.binary_cross_entropy_with_logits(z_v, V, weight=M)
    return pixels + (m[:, 0] * F.cross_entropy(z_y, Y, reduction="none")).mean() / V.shape[1]


@pytest.mark.parametrize("iterations", [2, 14])
def test_cost_and_all_its_gradients_are_pytorch_s(torch, iterations):
    model, examples = machine(iterations), batch()
    theta = {name: torch.tensor(a, requires_grad=True) for name, a in values(model).items()}
    J = cost_in_torch(torch, theta, *map(torch.from_numpy, examples), iterations)
    expected = torch.autograd.grad(J, list(theta.values()))
    ours = model.cost(*examples)
    assert_allclose(ours.data, J.detach().numpy(), rtol=1e-12)
    for name, g, wanted in zip(theta, grad(ours, parameters(model)), expected, strict=True):
        assert_allclose(g, wanted.numpy(), rtol=1e-9, atol=1e-13, err_msg=name)
        assert abs(g).max() > 1e-6, name


def test_the_guess_of_hidden_pixels_by_their_bias_is_a_constant():
    """As published: of b_v, only its part in the predicted logits has a gradient."""
    model, (V, Y, M, m) = machine(2), batch()
    (g,) = grad(model.cost(V, Y, M, m), [model.b_v])
    z_v = np.array(
        [literal_prediction(values(model), V[n], Y[n], M[n], m[n, 0], 2)[0] for n in range(N)]
    )  # in round 2, b_v is nowhere else
    assert_allclose(g, (M * (sigmoid(z_v) - V)).mean(axis=0) / D, rtol=1e-10, atol=1e-14)


# ---------------------------------------------------------------------------------------------------------
# What masks mean


def test_where_nothing_is_hidden_nothing_is_predicted():
    model, (V, Y, M, m) = machine(), batch()
    assert float(model.cost(V, Y, 0 * M, 0 * m).data) == 0.0


def test_where_no_pixel_is_hidden_the_cost_is_the_label_s_alone():
    model, (V, Y, M, m) = machine(), batch()
    for _, (_, z) in zip(range(13), model.predictions(V, Y, 0 * M, 0 * m + 1), strict=False):
        logits = z
    label = losses.softmax_cross_entropy(logits, Y)
    assert_allclose(model.cost(V, Y, 0 * M, 0 * m + 1).data, label / D, rtol=1e-12)


def test_hidden_values_are_not_seen():
    """Another value of a hidden pixel or label changes no prediction; another given one does."""
    model, (V, Y, M, m) = machine(3), batch()

    def predictions(V, Y):
        (_, _), (z_v, z_y) = (pair for pair, _ in zip(model.predictions(V, Y, M, m), range(2), strict=False))
        return np.concatenate([z_v, z_y], axis=1)

    other_V, other_Y = np.where(M == 1, 1 - V, V), np.where(m == 1, np.roll(Y, 1, axis=1), Y)
    assert (predictions(V, Y) == predictions(other_V, other_Y)).all()
    assert (predictions(V, Y) != predictions(1 - V, Y)).any(axis=1).all()
    given = m[:, 0] == 0
    assert (predictions(V, Y) != predictions(V, np.roll(Y, 1, axis=1))).any(axis=1)[given].all()


def test_fill_in_predicts_from_what_is_given_without_a_label():
    model, (V, Y, M, _) = machine(5), batch()
    pixels, classes = model.fill_in(V, M)
    for n in range(N):
        z_v, z_y = literal_prediction(values(model), V[n], Y[n], M[n], 1, 5)
        assert_allclose(pixels[n], sigmoid(z_v), rtol=1e-12)
        assert_allclose(classes[n], softmax(z_y), rtol=1e-12)


# ---------------------------------------------------------------------------------------------------------
# The energy


def free_energy(model, v, h1, h2, y):
    """Mean field's variational free energy of each example: E - the entropy of independent units."""

    def entropy(p):
        return -(p * np.log(p)).sum(axis=1)

    units = entropy(h1) + entropy(1 - h1) + entropy(h2) + entropy(1 - h2)
    return model.energy(v, h1, h2, y) - units - entropy(y)


def test_the_energy_is_the_sum_over_all_pairs():
    model = machine()
    p, rng = values(model), np.random.default_rng(0)
    v, h1, h2, y = (rng.random((1, n)) for n in (D, N1, N2, K))
    expected = -(p["b_v"] @ v[0] + p["b1"] @ h1[0] + p["b2"] @ h2[0] + p["b3"] @ y[0])
    for W, below, above in ((p["W1"], v, h1), (p["W2"], h1, h2), (p["W3"], h2, y)):
        for j in range(W.shape[0]):
            for i in range(W.shape[1]):
                expected -= above[0, j] * W[j, i] * below[0, i]
    assert_allclose(model.energy(v, h1, h2, y), [expected], rtol=1e-12)


@pytest.mark.parametrize("factor", [0.3, 1.0, 4.0])
def test_rounds_of_mean_field_do_not_raise_the_free_energy(factor):
    """Where no weights are doubled: from round 2 on, which may start anywhere."""
    model, x = machine(factor=factor), images()
    energies = []
    for _, (h1, h2, z) in zip(range(13), model.mean_field(x), strict=False):
        energies.append(free_energy(model, x, h1, h2, np.array([softmax(row) for row in z])))
    steps = np.diff(energies, axis=0)
    assert steps.shape == (12, N)
    assert steps.max() <= 1e-12
    assert steps[0].max() < -1e-6  # and lower it, as long as something moves


def test_each_update_is_the_conditional_distribution():
    """sigmoid of the difference in energy between a unit that is off and one that is on, the others as they are."""
    model, rng = machine(), np.random.default_rng(5)
    v = rng.random((1, D))
    _, first = next(model.mean_field(v)), model.mean_field(v)
    _, h2, z = next(first)
    y = softmax(z[0])[None]
    h1 = next(model.mean_field(v))[0]
    second = next(first), next(first)  # the h2 of round 2 shows in round 3
    new = second[0][1]
    for unit in range(N2):
        on, off = h2.copy(), h2.copy()
        on[0, unit], off[0, unit] = 1, 0
        difference = model.energy(v, h1, off, y) - model.energy(v, h1, on, y)
        assert_allclose(new[0, unit], sigmoid(difference)[0], rtol=1e-10)


def test_renaming_hidden_units_changes_nothing():
    model, other, rng = machine(), machine(), np.random.default_rng(0)
    a, b = rng.permutation(N1), rng.permutation(N2)
    other.W1.data, other.b1.data = model.W1.data[a], model.b1.data[a]
    other.W2.data, other.b2.data = model.W2.data[b][:, a], model.b2.data[b]
    other.W3.data = model.W3.data[:, b]
    x, examples = images(), batch()
    assert_allclose(other(x), model(x), rtol=1e-11)
    assert_allclose(other.cost(*examples).data, model.cost(*examples).data, rtol=1e-12)
    (g,), (wanted,) = (grad(m.cost(*examples), [m.W2]) for m in (other, model))
    assert_allclose(g, wanted[b][:, a], rtol=1e-9, atol=1e-14)


# ---------------------------------------------------------------------------------------------------------
# float32


def test_float32_is_within_the_rounding_of_every_operation():
    """Logits, cost and an entry of every gradient, each against its own bound."""
    found = {}
    for dtype in ("float32", "float64"):
        model = machine(6, dtype)
        examples = batch(dtype=dtype)
        X = Tensor(images(dtype=dtype))
        z = model(X)
        J = model.cost(*examples)
        gradients = grad(J, parameters(model), create_graph=True)
        (g,) = grad(losses.softmax_cross_entropy(z, np.arange(N) % K), [X], create_graph=True)
        found[dtype] = [z[2, 1], J, g[3, 2], *(g.reshape(-1)[1] for g in gradients)]
    for ours, exact in zip(found["float32"], found["float64"], strict=True):
        allowed = bound(exact, "float32")
        assert ours.dtype == "float32"
        assert 0 < allowed < 0.01 * abs(float(exact.data))
        assert abs(float(ours.data) - float(exact.data)) <= allowed


# ---------------------------------------------------------------------------------------------------------
# In use, like every other network


def test_attacks_and_metrics_take_it_as_it_is():
    model, x, y = network(dtype="float32"), images(dtype="float32"), np.arange(N) % K
    x_adv = attacks.fgsm(model, x, y, 0.25)
    (g,) = grad(model.loss(model(X := Tensor(x)), y), [X])
    assert (x_adv == x + np.float32(0.25) * np.sign(g)).all()
    stronger = attacks.pgd(model, x, y, 0.25, 5)
    assert float(model.loss(model(stronger), y)) > float(model.loss(model(x), y))
    assert metrics.evaluate(model, x, y).n == N
    assert_allclose(model.probabilities(model(x)).sum(axis=1), 1, rtol=1e-6)
    assert (model(x, rng=generator(0)) == model(x)).all()


def test_what_is_saved_is_loaded(tmp_path):
    model, x = network(5, "float32"), images(dtype="float32")
    save(model, tmp_path / "dbm.safetensors")
    again = load(tmp_path / "dbm.safetensors")
    assert (again(x) == model(x)).all()
    assert machine_of(again).iterations == 5
    assert again.arguments == model.arguments


def trained(epochs, checkpoint=None):
    """A small machine after some of 4 epochs on three kinds of image; costs of hidden parts before and after."""
    rng, y = np.random.default_rng(0), np.arange(300) % 3
    x = (0.8 * (np.arange(12) // 4 == y[:, None]) + 0.1).astype("float32")
    V, Y = (rng.random(x.shape) < x).astype("float32"), np.eye(3, dtype="float32")[y]
    M, m = (rng.random(x.shape) < 0.5).astype("float32"), (rng.random((300, 1)) < 0.5).astype("float32")
    model = models.mp_dbm((8, 6), 5, 12, 3, rng=generator(0, "weights"))
    machine_of(model).start_from(x)
    before = machine_of(model).cost(V, Y, M, m).item()
    optimiser = SGD(model, LinearSchedule(2.0, 0.02, 4, 0.5, 0.7, saturation=2), dbm.MAX_NORMS)
    options = {"epochs": epochs, "seed": 0, "optimiser": optimiser, "batch": 10, "checkpoint": checkpoint}
    train(model, multi_prediction_objective, x, y, **options)
    return model, before, machine_of(model).cost(V, Y, M, m).item(), metrics.evaluate(model, x, y).error


def test_training_lowers_the_cost_of_what_is_hidden():
    model, before, after, error = trained(4)
    assert after < 0.8 * before
    assert error == 0
    norms = np.linalg.norm(machine_of(model).W1.data, axis=1)
    assert norms.max() <= dbm.MAX_NORMS["layers.0.W1"] * (1 + 1e-6)


def test_an_interrupted_training_goes_on_to_the_same_bits(tmp_path):
    trained(2, tmp_path / "checkpoint")
    resumed, straight = trained(4, tmp_path / "checkpoint")[0], trained(4)[0]
    for a, b in zip(parameters(resumed), parameters(straight), strict=True):
        assert a.data.tobytes() == b.data.tobytes()


def test_an_array_gives_an_array_of_the_same_bits_in_every_library(xp):
    model, x = network(dtype="float32"), images(dtype="float32")
    expected = model(x)
    for p in parameters(model):
        p.data = xp.asarray(p.data)
    z, Z = model(xp.asarray(x)), model(Tensor(xp.asarray(x)))
    assert_allclose(to_device(z, "cpu"), expected, rtol=1e-6)
    assert to_device(z, "cpu").tobytes() == to_device(Z.data, "cpu").tobytes()


def test_the_objective_runs_in_every_library(xp):
    model, x, y = network(dtype="float32"), images(dtype="float32"), np.arange(N) % K
    for p in parameters(model):
        p.data = xp.asarray(p.data)
    J, gradients = multi_prediction_objective(model, xp.asarray(x), xp.asarray(y), generator(3))
    assert 0 < J < 10
    for p, g in zip(parameters(model), gradients, strict=True):
        assert array_module(g) is xp
        assert (g.shape, g.dtype) == (p.shape, "float32")


def test_the_objective_draws_everything_anew(monkeypatch):
    """Pixels by their grey, masks by a coin; all of it from `rng`, so that the same seed gives the same step."""
    seen = []
    model, y = network(dtype="float32"), np.tile(np.arange(K), 400)
    x = np.tile(np.linspace(0, 1, D, dtype="float32"), (len(y), 1))
    cost = DeepBoltzmannMachine.cost
    monkeypatch.setattr(DeepBoltzmannMachine, "cost", lambda *args: seen.append(args[1:]) or cost(*args))
    rng = generator(0)
    J = [multi_prediction_objective(model, x, y, r)[0] for r in (rng, rng, generator(0))]
    assert J[0] == J[2] != J[1]
    (V, Y, M, m), (V_2, _, M_2, m_2), _ = seen
    assert set(np.unique(V)) == set(np.unique(M)) == set(np.unique(m)) == {0, 1}
    assert_allclose(V.mean(axis=0), np.linspace(0, 1, D), atol=0.06)
    assert_allclose(M.mean(axis=0), 0.5, atol=0.06)
    assert_allclose(m.mean(), 0.5, atol=0.06)
    assert (Y == np.identity(K)[y]).all()  # noqa: SIM300
    assert (V != V_2).any()
    assert 0.45 < (M != M_2).mean() < 0.55
    assert 0.4 < (m != m_2).mean() < 0.6
    independent = np.corrcoef(np.concatenate([M, m], axis=1).T) - np.eye(D + 1)
    assert abs(independent).max() < 0.15


def test_the_start_is_as_published():
    model = DeepBoltzmannMachine((40, 60), rng=generator(0, "weights"))
    for W, entries in ((model.W1.data, 15), (model.W3.data, 23)):
        assert ((W != 0).sum(axis=1) == entries).all()
        assert 0.8 < W[W != 0].std() < 1.2
        assert len(np.unique(W.nonzero()[1])) > 0.5 * min(W.shape[1], W.shape[0] * entries)  # others in every row
    assert 0.0062 < abs(model.W2.data).max() <= 0.00638831
    assert (model.b1.data == np.float32(-0.710467)).all()
    assert (model.b2.data == np.float32(-0.393587)).all()
    assert not model.b3.data.any()
    assert {p.dtype.name for p in parameters(model)} == {"float32"}
    assert model.iterations == 14
    assert (model.W1.shape, model.W2.shape, model.W3.shape) == ((40, 784), (60, 40), (10, 60))


def test_visible_biases_start_from_the_mean_image():
    x = np.array([[0, 0.25, 1, 0, 0.5, 0.1]] * 3 + [[0, 0.75, 1, 0, 0.5, 0.3]], dtype="float32")
    model = machine(dtype="float32").start_from(x)
    assert_allclose(sigmoid(model.b_v.data.astype("float64")), x.mean(axis=0).clip(1e-7, 1 - 1e-7), rtol=1e-5)
    assert model.b_v.dtype == "float32"


@pytest.mark.parametrize(
    "use",
    [
        lambda m, x: machine_of(m).start_from(x),
        lambda m, x: machine_of(m).fill_in(x, np.zeros_like(x)),
        lambda m, x: multi_prediction_objective(m, x, np.zeros(len(x), int), generator(0)),
    ],
)
def test_pixels_that_are_no_probabilities_are_refused(use):
    with pytest.raises(ValueError, match=r"pixels are in \[0, 1\], got some from"):
        use(network(), 255 * images())


# ---------------------------------------------------------------------------------------------------------
# Bad input


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"V": lambda V: V + 0.5}, r"pixels are in \[0, 1\], got some from 0.5 to 1.5"),
        ({"V": lambda V: V - 0.5}, r"pixels are in \[0, 1\], got some from -0.5 to 0.5"),
        ({"V": lambda V: V * np.nan}, r"pixels are in \[0, 1\], got some from nan to nan"),
        ({"V": lambda V: V[:, 1:]}, r"the cost wants pixels of shape \(N, 6\), got \(7, 5\)"),
        ({"Y": lambda Y: None}, r"the cost wants labels as one-hot targets of shape \(7, 3\), got none"),
        ({"Y": lambda Y: Y.argmax(axis=1)}, r"labels as one-hot targets of shape \(7, 3\), got \(7,\)"),
        ({"M": lambda M: M[:, 1:]}, r"masks are of shapes \(7, 6\) and \(7, 1\), got \(7, 5\) and \(7, 1\)"),
        ({"m": lambda m: m[:, 0]}, r"masks are of shapes \(7, 6\) and \(7, 1\), got \(7, 6\) and \(7,\)"),
    ],
)
def test_a_cost_that_cannot_be_is_named(change, message):
    examples = dict(zip("VYMm", batch(), strict=True))
    for name, f in change.items():
        examples[name] = f(examples[name])
    with pytest.raises(ValueError, match=message):
        machine().cost(*examples.values())


def test_iterations_and_sizes_are_at_least_1():
    for bad in ({"iterations": 0}, {"units": (0, 3)}, {"units": (3, 0)}, {"inputs": 0}, {"classes": 0}):
        with pytest.raises(ValueError, match="iterations of mean field, and sizes, are at least 1; got iterations "):
            models.mp_dbm(**{"units": (3, 2), **bad}, rng=generator(0))
    with pytest.raises(ValueError, match="iterations of mean field, and sizes, are at least 1; got iterations 0"):
        machine().with_iterations(0)


@pytest.mark.parametrize("iterations", [1001, 2**63, 2.5])
def test_iterations_that_would_not_end_or_are_not_whole_are_refused(iterations):
    message = f"mean field has a whole number of iterations, at most 1000; got {iterations}"
    with pytest.raises(ValueError, match=message):
        models.mp_dbm((3, 2), iterations, rng=generator(0))
    with pytest.raises(ValueError, match=message):
        machine().with_iterations(iterations)


@pytest.mark.parametrize("name", ["inputs", "classes", "units"])
def test_a_file_makes_no_machine_that_is_larger_than_it(name):
    """The size is refused before its room is taken."""
    model = network(dtype="float32")
    large = [4, 10**9] if name == "units" else 10**9
    about = {"network": "mp_dbm", "arguments": {**model.arguments, name: large}}
    arrays = {key: p.data for key, p in named_parameters(model).items()}
    tracemalloc.start()
    try:
        with pytest.raises(StorageError, match="where the file has no such room"):
            models._rebuilt("file", arrays, about)
        assert tracemalloc.get_traced_memory()[1] < 1e6
    finally:
        tracemalloc.stop()


def test_only_a_machine_has_a_multi_prediction_cost():
    model = models.softmax_regression(rng=generator(0))
    with pytest.raises(TypeError, match="wanted a network made by mp_dbm, got softmax_regression"):
        multi_prediction_objective(model, images(dtype="float32"), np.arange(N) % K, generator(0))


def test_the_published_constants():
    assert dbm.MAX_NORMS == {"layers.0.W1": 1.809978, "layers.0.W2": 2.666304, "layers.0.W3": 5.175683}
    schedule = schedule_of(**dbm.SCHEDULE)
    assert schedule.at(0, 384)[0] == pytest.approx(15.146493 * (1 - 0.979621 * 384 / 868), rel=1e-9)
    assert schedule.continued(0, 384).at(0, 9)[0] == pytest.approx(8.58230304718, rel=1e-6)  # of stage 2, as published
    assert [schedule.at(0, epoch)[1] for epoch in (1, 2, 868)] == pytest.approx([0.5, 0.732716, 0.732716])


@pytest.mark.parametrize("shape", [(3, 1), (3, 7), (20,), (1, 3, 20)])
def test_a_machine_starts_from_images_of_its_own_size(shape):
    machine = DeepBoltzmannMachine((5, 6), inputs=20, rng=generator(0))
    with pytest.raises(ValueError, match=r"images of shape \(N, 20\), got"):
        machine.start_from(np.full(shape, 0.5, "float32"))
    assert machine.b_v.shape == (20,)
