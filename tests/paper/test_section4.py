"""Section 4's trajectories and rotation, computed a second time by hand."""

import math
from dataclasses import replace
from importlib.util import find_spec

import numpy as np
import pytest
from figures import drawn, lines
from tiny import LOG, TINY, GivenLab, made_sure, measure, measured, rounded_fgsm, softmax, tiny_mnist, use

from tinyadv import metrics
from tinyadv.backend import generator
from tinyadv.datasets import MNIST, Split
from tinyadv.layers import parameters
from tinyadv.models import build
from tinyadv.paper import rounding
from tinyadv.paper.attacking import attack
from tinyadv.paper.claims import claims
from tinyadv.paper.draw import BLUE, GREEN, GREY, ORANGE
from tinyadv.paper.measure import MEASURES, section4
from tinyadv.paper.measure.common import in_float64
from tinyadv.paper.results import Result, check
from tinyadv.paper.tutorial import softmax_by_conjugate_gradients

IMAGES = 60
SCIPY = find_spec("scipy") is not None
SOFTMAX, MAXOUT = ("softmax_regression", "clean", None), ("maxout_network", "clean", "softmax")


@pytest.fixture
def lab(monkeypatch):
    train, validation, test = tiny_mnist(dtype="float64")
    use(monkeypatch, MNIST(train, validation, Split(test.x[:IMAGES], test.y[:IMAGES])))
    return GivenLab()


# ---------------------------------------------------------------------------------------------------------
# The trajectory of softmax regression


def trained_by_hand(x, y, l2, epochs):
    """W, b after each epoch: batches of 100, momentum .5, the published learning rate."""
    W, b, t, updates = np.zeros((10, 784)), np.zeros(10), np.eye(10)[y], 0
    v, u = 0 * W, 0 * b
    for epoch in range(1, epochs + 1):
        order = generator(0, f"order of epoch {epoch}").permutation(len(x))
        for rows in np.split(order, len(x) // 100):
            d = (softmax(x[rows] @ W.T + b) - t[rows]) / 100
            rate = 0.1 / 1.000004**updates
            v, u = 0.5 * v - rate * (d.T @ x[rows] + 2 * l2 * W), 0.5 * u - rate * d.sum(axis=0)
            W, b, updates = W + v, b + u, updates + 1
        yield W, b


@pytest.mark.parametrize("l2", [0.0, 0.01])
def test_the_trajectory_is_that_of_a_training_by_hand(lab, l2):
    entries = measured("fgsm-softmax", lab).details["trajectories"][f"{l2:g}"]
    (x, y), test, epochs = lab.data.train, lab.data.test, len(LOG)
    assert [entry["epoch"] for entry in entries] == [1, 2]
    for entry, (W, b) in zip(entries, trained_by_hand(x, y, l2, epochs), strict=True):
        gradient = (softmax(test.x @ W.T + b) - np.eye(10)[test.y]) @ W
        p = softmax((test.x + 0.25 * np.sign(gradient)) @ W.T + b)
        wrong = p.argmax(axis=1) != test.y
        assert entry["weights_l1"] == pytest.approx(abs(W).sum())
        assert entry["clean_error"] == np.mean((test.x @ W.T + b).argmax(axis=1) != test.y)
        assert entry["error"] == wrong.mean()
        assert entry["confidence_on_mistakes"] == pytest.approx(p.max(axis=1)[wrong].mean())


def test_the_variations_are_the_trajectories_at_their_start_middle_and_end(lab):
    m = measured("fgsm-softmax", lab)
    keys = ("weights_l1", "clean_error", "error", "confidence_on_mistakes")
    keys_of_decay = ["decay:0:1", "decay:0:2", "decay:0.01:1", "decay:0.01:2"]
    assert list(m.variations) == [*keys_of_decay, *["conjugate-gradients"] * SCIPY]
    for key, values in m.variations.items():
        if key not in keys_of_decay:
            continue
        _, l2, epoch = key.split(":")
        assert values == {k: m.details["trajectories"][l2][int(epoch) - 1][k] for k in keys}
    assert m.details["measured"] == {k: m.values[k] for k in keys}


@pytest.mark.parametrize(("epochs", "middle"), [(3, 2), (4, 2), (5, 3)])
def test_the_middle_epoch_of_an_odd_number_has_as_many_on_either_side(lab, monkeypatch, epochs, middle):
    entries = [dict.fromkeys(section4.FOLLOWED, float(epoch)) for epoch in range(1, epochs + 1)]
    monkeypatch.setattr(section4, "_trajectory", lambda *a: entries)
    monkeypatch.setattr(type(lab), "epochs", lambda self, network: epochs)
    found = [key for key in measured("fgsm-softmax", lab).variations if key.startswith("decay:0:")]
    assert found == ["decay:0:1", f"decay:0:{middle}", f"decay:0:{epochs}"]


@pytest.mark.skipif(not SCIPY, reason="SciPy minimises")
def test_the_tutorial_s_recipe_is_a_variation_of_the_first_seed(lab):
    found = measured("fgsm-softmax", lab).variations["conjugate-gradients"]
    model, log = softmax_by_conjugate_gradients(lab.data.train, lab.data.validation)
    x, y = lab.data.test
    assert found["clean_error"] == (model(x).argmax(axis=1) != y).mean()
    assert found["error"] == (model(attack(rounding.Rounded(model), x, y)).argmax(axis=1) != y).mean()
    assert found["error_exact"] == (model(attack(model, x, y)).argmax(axis=1) != y).mean()
    assert found["epochs"] == len(log)
    assert "conjugate-gradients" not in MEASURES["fgsm-softmax"](lab, TINY, 1).variations


# ---------------------------------------------------------------------------------------------------------
# The maxout network, the rounding of the gradient


def test_the_log_is_that_of_the_training(lab):
    m = measured("fgsm-maxout", lab)
    keys = ("epoch", "error", "adversarial_error", "adversarial_confidence_on_mistakes")
    assert str(m.details["log"]) == str([{key: entry[key] for key in keys} for entry in LOG])


def test_the_variations_are_float64_and_length(lab):
    m = MEASURES["fgsm-maxout"](lab, replace(TINY, variations=True), 0)
    v, varied = m.values, m.variations
    assert list(varied) == ["float64", "longer", "longer-float64"]
    assert varied["float64"]["error"] == v["error"]  # this network is in float64
    assert varied["longer-float64"] == {**varied["float64"], "epochs": len(LOG)}  # here the same network
    names = ("error", "confidence_on_mistakes", "error_exact", "error_clipped", "certain_share")
    for name in names:
        assert varied["longer"][name] == pytest.approx(v[name], nan_ok=True)
    assert varied["longer"]["epochs"] == len(LOG)
    assert [point["epochs"] for point in m.details["software"]] == [len(LOG), len(LOG)]
    assert m.details["software"][0]["error"] == v["error"]
    assert list(measured("fgsm-maxout", lab).variations) == ["float64"]  # where nothing is varied
    naive, longer = MEASURES["fgsm-maxout"].named(replace(TINY, variations=True), 0).values()
    assert longer.epochs == 2 * naive.epochs
    assert {name: used.get("varied") for name, used in m.networks.items()} == {"naive": None, "longer": True}


def test_rounding_in_float64_saves_fewer_images_than_in_float32(monkeypatch):
    use(monkeypatch, tiny_mnist())
    lab = GivenLab(dtype="float32")
    network, (x, y) = lab.given["maxout_network", "clean", "softmax"], lab.data.test
    made_sure(network, 40.0)
    m = measure("fgsm-maxout", lab, naive=network)
    by_hand = rounded_fgsm(in_float64(network), x.astype("float64"), y)
    wanted = (network(by_hand.astype("float32")).argmax(axis=1) != y).mean()
    assert m.variations["float64"]["error"] == pytest.approx(wanted)
    assert m.values["error"] < m.variations["float64"]["error"] <= m.values["error_exact"]
    assert m.values["error"] == (network(rounded_fgsm(network, x, y)).argmax(axis=1) != y).mean()


def test_in_float64_nothing_is_lost(lab):
    network, (x, y) = lab.network(MEASURES["fgsm-maxout"].recipes(TINY, 0)[0]), lab.data.test
    assert (attack(rounding.Rounded(network), x, y) == attack(network, x, y)).all()
    assert not rounding.certain(network, x, y).any()


def sure(dtype):
    """A linear network so sure of the first class that in float32 p is 1, and an image of that class."""
    network = build("softmax_regression", {"inputs": 3, "classes": 3}, generator(0)).to(dtype=dtype)
    W, b = parameters(network)
    W.data = np.array([[1, 2, -3], [2, 1, -4], [0, 0, 0]], dtype)
    b.data = np.array([30, 0, -9], dtype)
    return network, np.zeros((1, 3), dtype), np.array([0])


def test_where_p_rounds_to_1_the_gradient_lacks_the_true_class():
    network, x, y = sure("float32")
    W = parameters(network)[0].data
    assert rounding.certain(network, x, y).all()
    without = np.sign(W[1])  # of the others the second is the likelier by far
    whole = np.sign(W[1] - W[0])
    assert (without != whole).any()
    np.testing.assert_allclose(attack(rounding.Rounded(network), x, y), 0.25 * without[None])
    np.testing.assert_allclose(attack(network, x, y), 0.25 * whole[None])
    network, x, y = sure("float64")
    assert not rounding.certain(network, x, y).any()
    np.testing.assert_allclose(attack(rounding.Rounded(network), x, y), 0.25 * whole[None])


def test_it_is_the_gradient_that_pytorch_computes():
    torch = pytest.importorskip("torch")
    network, x, y = sure("float32")
    W, b = (torch.tensor(p.data) for p in parameters(network))
    X = torch.tensor(x, requires_grad=True)
    (g,) = torch.autograd.grad(torch.nn.functional.cross_entropy(X @ W.T + b, torch.tensor(y)), X)
    np.testing.assert_allclose(attack(rounding.Rounded(network), x, y), x + 0.25 * np.sign(g.numpy()))


# ---------------------------------------------------------------------------------------------------------
# The rotation


def gradients_by_hand(network, x, y):
    """dJ/dx of each image: the slope along every pixel, for softmax regression by formula."""
    if network.top == "softmax" and len(parameters(network)) == 2:
        W, b = (p.data for p in parameters(network))
        return (softmax(x @ W.T + b) - np.eye(10)[y]) @ W
    W1, b1, W2, b2, W, b = (p.data for p in parameters(network))
    rows = []
    for image, label in zip(x, y, strict=True):
        z1 = np.einsum("puj,j->pu", W1, image) + b1.reshape(W1.shape[:2])
        z2 = np.einsum("puj,j->pu", W2, z1.max(axis=0)) + b2.reshape(W2.shape[:2])
        p = softmax((W @ z2.max(axis=0) + b)[None])[0]
        g = W.T @ (p - np.eye(10)[label])
        for V, z in ((W2, z2), (W1, z1)):
            g = sum(g[u] * V[z[:, u].argmax(), u] for u in range(len(g)))
        rows.append(g)
    return np.array(rows)


def turned_by_hand(x, g, degrees):
    t, rows = math.radians(degrees), []
    for a, b in zip(x, g, strict=True):
        u = b - (b @ a) / (a @ a) * a
        rows.append(math.cos(t) * a + math.sin(t) * math.sqrt(a @ a) * u / math.sqrt(u @ u))
    return np.array(rows)


def test_rotation(lab):
    m, (x, y) = measured("rotation-attack", lab), lab.data.test
    check(Result("rotation-attack", "tiny", "cpu", [0], [m]))
    assert MEASURES["rotation-attack"].quick
    random = generator(0, "directions").standard_normal(x.shape, dtype="float32")
    for name, kind in (("softmax", SOFTMAX), ("maxout", MAXOUT)):
        network = lab.given[kind]
        for key, g, angles in (
            (name, gradients_by_hand(network, x, y), range(0, 50, 5)),
            (f"{name}_random", random, (0, 15, 30, 45)),
        ):
            by_hand = [np.mean(network(turned_by_hand(x, g, t)).argmax(axis=1) != y) for t in angles]
            assert m.details[key] == pytest.approx(by_hand)
        assert m.values[f"error_{name}"] == m.details[name][6]
        assert m.intervals[f"error_{name}"][0] < m.details[name][6] <= m.intervals[f"error_{name}"][1]
        assert m.details[name][6] > m.details[f"{name}_random"][2]
    assert m.details["degrees"] == list(range(0, 50, 5))
    assert m.details["random_degrees"] == [0, 15, 30, 45]
    assert m.values["norm_change"] < 1e-15 * 4
    assert m.holds


ROTATIONS = {  # what is done to x' = rotated(x, g, angle)
    "too weak": lambda rotated: lambda x, g, angle: x,
    "too long": lambda rotated: lambda x, g, angle: rotated(x, g, angle) * (1 + 1e-13),
    "reliable at 45 degrees alone": lambda rotated: lambda x, g, angle: rotated(x, g, angle if angle > 0.7 else 0),
}


@pytest.mark.parametrize("name", ROTATIONS)
def test_each_part_of_the_rotation_s_predicate_can_fail(lab, monkeypatch, name):
    monkeypatch.setattr(section4, "rotated", ROTATIONS[name](section4.rotated))
    assert measured("rotation-attack", lab).holds is False


@pytest.mark.parametrize(("fools_from", "holds"), [(25, True), (30, True), (35, False)])
def test_a_rotation_has_to_fool_at_30_degrees_at_the_latest(lab, monkeypatch, fools_from, holds):
    turned = []

    def evaluate(model, x, y):
        wrong = 60 if turned[-1] >= fools_from else 10
        return metrics.Evaluation(100, wrong, 0.9, 0.9, 0.9, {"error": metrics.wilson(wrong, 100)})

    monkeypatch.setattr(section4, "rotated", lambda x, g, angle: turned.append(round(math.degrees(angle))) or x)
    monkeypatch.setattr(metrics, "evaluate", evaluate)
    assert measured("rotation-attack", lab).holds is holds


def test_both_networks_have_to_err_at_the_same_angle(lab):
    softmax_only = lab.given[SOFTMAX]
    blind = GivenLab().given[MAXOUT]
    parameters(blind)[-2].data[:] = 0.0  # says the same of every image, whatever the angle: 0, mostly
    parameters(blind)[-1].data[:] = np.arange(10) == 0
    lab.data = MNIST(*lab.data[:2], Split(lab.data.test.x, lab.data.test.y * 0))
    assert measure("rotation-attack", lab, softmax=softmax_only, maxout=softmax_only).holds
    assert not measure("rotation-attack", lab, softmax=softmax_only, maxout=blind).holds
    assert not measure("rotation-attack", lab, softmax=blind, maxout=softmax_only).holds


# ---------------------------------------------------------------------------------------------------------
# The figures' data


def test_the_panel_of_softmax_regression(lab):
    m = measured("fgsm-softmax", lab)
    m.details["trajectories"]["0"][0]["confidence_on_mistakes"] = None  # as it comes back from JSON
    *_, axes = drawn("fgsm-softmax", m.details)
    free, decayed = (m.details["trajectories"][key] for key in ("0", "0.01"))
    shown = lines(axes)
    x, y, colour = shown["confidence, no decay"]
    assert x == [entry["weights_l1"] for entry in free]
    assert math.isnan(y[0])
    assert (y[1], colour) == (100 * free[1]["confidence_on_mistakes"], BLUE)
    assert shown["FGSM error, no decay"] == (x, [100 * entry["error"] for entry in free], ORANGE)
    assert shown["clean error, no decay"] == (x, [100 * entry["clean_error"] for entry in free], GREY)
    assert shown["confidence, decay 0.01"][1:] == ([100 * e["confidence_on_mistakes"] for e in decayed], GREEN)
    of_network = ([m.values["weights_l1"]], [100 * m.values["confidence_on_mistakes"]])
    assert shown["confidence, network measured"][:2] == of_network


def test_the_panel_of_the_maxout_network(lab):
    details = measured("fgsm-maxout", lab).details
    details["log"][1] |= {"software_error": 0.4, "software_confidence_on_mistakes": 0.45}  # the first lacks them
    *_, axes = drawn("fgsm-maxout", details)
    shown = lines(axes)
    assert shown["FGSM error"] == ([2], [40], ORANGE)
    assert shown["confidence on mistakes"] == ([2], [45], BLUE)
    assert shown["FGSM error, exact gradient"] == ([1, 2], [0, 50], ORANGE)
    assert shown["clean error"] == ([1, 2], [20, 10], GREY)
    assert math.isnan(shown["confidence on mistakes, exact gradient"][1][0])
    assert shown["confidence on mistakes, exact gradient"][1][1] == 25
    published = {q.name: 100 * q.paper for q in claims()["fgsm-maxout"].published}
    assert shown["FGSM error, the paper's"][1] == [published["error"]] * 2
    assert shown["confidence on mistakes, the paper's"][1] == [published["confidence_on_mistakes"]] * 2


def test_the_figure_of_the_rotation(lab):
    m = measured("rotation-attack", lab)
    (axes,) = drawn("rotation-attack", m.details)
    for key, label, colour in (
        ("softmax", "softmax regression", BLUE),
        ("maxout", "maxout network", ORANGE),
        ("softmax_random", "softmax regression, random direction", GREEN),
        ("maxout_random", "maxout network, random direction", GREY),
    ):
        degrees = m.details["random_degrees" if "random" in key else "degrees"]
        assert lines(axes)[label] == (degrees, [100 * e for e in m.details[key]], colour)
