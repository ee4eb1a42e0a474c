"""The ensemble: its three costs and their gradients by hand, and what is measured on them."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest
from matplotlib.figure import Figure as Canvas
from tiny import TINY, GivenLab, made_sure, measure, rounded_fgsm, softmax, tiny_mnist, use

from tinyadv import models
from tinyadv.attacks import input_gradient
from tinyadv.backend import generator
from tinyadv.datasets import MNIST, Split
from tinyadv.gradcheck import gradcheck
from tinyadv.layers import parameters
from tinyadv.paper import recipes
from tinyadv.paper.draw import BLUE, GREY, ORANGE, drawings
from tinyadv.paper.measure import MEASURES, section9
from tinyadv.paper.measure.section9 import Against, Average
from tinyadv.paper.profiles import PROFILES
from tinyadv.paper.results import Result
from tinyadv.paper.results_file import from_json, to_json
from tinyadv.tensor import Tensor, grad

EPS, D, K = 0.25, 6, 4
COSTS = ("probability", "logit", "losses")


def small(seed, scale=2.0):
    network = models.maxout_network(5, 3, 1, inputs=D, classes=K, scale=scale, rng=generator(seed))
    return network.to(dtype="float64")


def J(cost, zs, label):
    """The cost of one image, from its members' logits."""
    if cost == "probability":
        return -math.log(np.mean([softmax(z)[label] for z in zs]))
    if cost == "logit":
        return -math.log(softmax(np.mean(zs, axis=0))[label])
    return -sum(math.log(softmax(z)[label]) for z in zs)


@pytest.mark.parametrize("cost", COSTS)
def test_each_cost_by_hand(cost, rng):
    members, x, y = [small(seed) for seed in range(3)], rng.random((5, D)), np.arange(5) % K
    model = Against(members, cost)
    wanted = [J(cost, [m(a[None])[0] for m in members], label) for a, label in zip(x, y, strict=True)]
    assert float(model.loss(model(x), y)) == pytest.approx(np.mean(wanted), rel=1e-12)


@pytest.mark.parametrize("cost", COSTS)
def test_the_gradients_of_each_cost_to_second_order(cost, rng):
    model, y = Against([small(seed) for seed in range(3)], cost), np.arange(2)
    gradcheck(lambda x: model.loss(model(x), y), rng.normal(size=(2, D)), step=1e-4)


@pytest.mark.parametrize("cost", COSTS)
def test_a_sure_ensemble_still_has_a_gradient(cost):
    model, y = Against([small(seed) for seed in range(3)], cost, rounded=False), np.array([1, 3])
    z = np.tile(25.0 * np.eye(K)[y], 3).astype("float32")  # the label's probability is 1 in float32, 1 - p is 0
    assert (softmax(z[0, :K])[1]) == 1
    Z = Tensor(z)
    (g,) = grad(model.loss(Z, y), [Z])
    of_labels = g.reshape(2, 3, K)[np.arange(2), :, y]
    assert (of_labels < 0).all()
    assert of_labels == pytest.approx(of_labels[0, 0] * np.ones((2, 3)), rel=1e-5)


@pytest.mark.parametrize("cost", COSTS)
def test_in_float32_the_software_s_gradient_of_a_sure_ensemble_has_none(cost):
    """What is left is that of the other classes: where the label's p rounds to 1, p - 1 is 0."""
    y = np.array([1, 3])
    for scale, kept in ((25.0, 0), (2.0, 1)):
        model, Z = (
            Against([small(seed) for seed in range(3)], cost),
            Tensor(np.tile(scale * np.eye(K)[y], 3).astype("float32")),
        )
        (g,) = grad(model.loss(Z, y), [Z])
        assert ((g.reshape(2, 3, K)[np.arange(2), :, y] < 0) == kept).all()


def test_a_label_that_every_member_excludes_still_has_a_cost():
    members = [small(seed, 40.0).to(dtype="float32") for seed in range(2)]
    x = generator(1).standard_normal((50, D), dtype="float32")
    y = (members[0](x) + members[1](x)).argmin(axis=1)
    model = Against(members, "probability")
    excluded = Average(members)(x)[np.arange(50), y] == 0
    assert excluded.any()
    loss = float(model.loss(model(x[excluded]), y[excluded]))
    assert 80 < loss < np.inf
    assert np.isfinite(input_gradient(model, x, y)).all()


def test_an_unknown_cost_is_named():
    with pytest.raises(ValueError, match="J is 'probability', 'logit' or 'losses', got 'vote'"):
        Against([small(0)], "vote")


# ---------------------------------------------------------------------------------------------------------
# The claim

IMAGES = 30


def members_of(lab):
    kinds = [("maxout_network", objective, "softmax") for objective in ("clean", "adversarial", "rubbish")]
    return [lab.given[kind] for kind in kinds]


def measured(patch):
    train, validation, test = tiny_mnist(dtype="float64")
    use(patch, MNIST(train, validation, Split(test.x[-IMAGES:], test.y[-IMAGES:])))
    lab = GivenLab()
    members = members_of(lab)
    return measure("ensemble-12", lab, members=members), members, lab.data.test


def saved(m):
    return from_json(json.loads(json.dumps(to_json(Result("ensemble-12", "tiny", "", [0], [m])))))


def test_ensemble(monkeypatch):
    m, members, (x, y) = measured(monkeypatch)

    def error(images, some=3):
        p = np.mean([[softmax(z) for z in network(images)] for network in members[:some]], axis=0)
        return float((p.argmax(axis=1) != y).mean())

    def made(cost, some=3):
        """By the derivative of the cost for each member's logits, and each member's gradient for the image."""
        g = np.zeros_like(x)
        for i, (image, label) in enumerate(zip(x, y, strict=True)):
            zs = [network(image[None])[0] for network in members[:some]]
            for k, network in enumerate(members[:some]):
                for c in range(10):
                    step = 1e-5
                    up, down = ([z + s * step * np.eye(10)[c] * (j == k) for j, z in enumerate(zs)] for s in (1, -1))
                    slope = (J(cost, up, label) - J(cost, down, label)) / (2 * step)
                    g[i] += slope * logit_gradient(network, image, c)
        return x + EPS * np.sign(g)

    assert m.values["clean_error"] == error(x)
    names = {"error_ensemble": "probability", "error_mean_logit": "logit", "error_summed_losses": "losses"}
    for name, cost in names.items():
        assert m.values[name] == error(made(cost)), name
    of_one = made("losses", 1)
    assert m.values["error_member"] == error(of_one)
    assert m.intervals.keys() == m.values.keys()
    sizes = m.details["sizes"]
    assert (sizes["members"], sizes["images"]) == ([1, 2], IMAGES)
    assert sizes["member"] == [error(of_one, 1), error(of_one, 2)]
    assert sizes["ensemble"] == [error(of_one, 1), error(made("probability", 2), 2)]
    assert sizes["clean"] == [error(x, 1), error(x, 2)]
    for name in ("error_ensemble", "error_member"):  # in float64, of networks that are not that sure
        assert m.values[name + "_exact"] == m.values[name]
    assert m.variations == {
        "mean_logit": {"error_ensemble": m.values["error_mean_logit"]},
        "summed_losses": {"error_ensemble": m.values["error_summed_losses"]},
        "clipped": {
            "error_ensemble": error(made("probability").clip(0, 1)), "error_member": error(of_one.clip(0, 1)),
        },
    }  # fmt: skip


def test_the_ensemble_is_attacked_with_the_software_s_gradient_and_the_exact_one_stands_beside(monkeypatch):
    use(monkeypatch, tiny_mnist())
    lab = GivenLab(dtype="float32")
    members = members_of(lab)
    for member in members:
        made_sure(member, 40.0)
    m, (x, y) = measure("ensemble-12", lab, members=members), lab.data.test
    average = Average(members)

    def error(images):
        return pytest.approx((average(images).argmax(axis=1) != y).mean())

    assert m.values["error_member"] == error(rounded_fgsm(members[0], x, y))
    assert m.values["error_member_exact"] == error(section9.attack(members[0], x, y))
    for name, rounded in (("error_ensemble", True), ("error_ensemble_exact", False)):
        assert m.values[name] == error(section9.attack(Against(members, "probability", rounded), x, y))
    assert m.values["error_ensemble"] != m.values["error_ensemble_exact"]


def logit_gradient(network, x, c):
    """dz_c / dx of a maxout network with two hidden layers, by hand."""
    W1, b1, W2, b2, W, _ = (p.data for p in parameters(network))
    z1 = W1 @ x + b1.reshape(W1.shape[:2])
    z2 = W2 @ z1.max(axis=0) + b2.reshape(W2.shape[:2])
    first, second = z1.argmax(axis=0), z2.argmax(axis=0)
    g = W[c] @ W2[second, np.arange(len(second))]
    return g @ W1[first, np.arange(len(first))]


def test_members_are_twelve_others_for_every_seed():
    for profile in PROFILES.values():
        seeds = [recipe.seed for s in (0, 1, 2) for recipe in recipes.ensemble(profile, s)]
        assert seeds == list(range(36))
    lesson = PROFILES["lesson"]
    first, second = recipes.ensemble(lesson, 0)[:2]
    assert first == replace(recipes.control(lesson, 0, "clean"), epochs=lesson.epochs["members"])
    assert first.hash != second.hash
    published = recipes.ensemble(PROFILES["paper"], 0)[0]
    assert published == recipes.published(0)
    assert len(MEASURES["ensemble-12"].recipes(TINY, 0)) == 12
    longer = MEASURES["ensemble-12"].recipes(lesson, 0)[12:]
    assert longer == [replace(m, epochs=lesson.epochs["naive"]) for m in recipes.ensemble(lesson, 0)]
    assert len(MEASURES["ensemble-12"].recipes(lesson, 1)) == 12


def test_longer_trained_members_are_another_ensemble(monkeypatch):
    _, (first, second, _), _ = measured(monkeypatch)
    lab, members, longer = GivenLab(), [first] * 12, [second] * 12
    m = measure("ensemble-12", lab, members=members, longer=longer)
    swapped = measure("ensemble-12", lab, members=longer, longer=members)
    for name in ("error_ensemble", "error_member"):
        assert m.variations["longer"][name] == swapped.values[name]
        assert m.variations["longer"][name + "_exact"] == swapped.values[name + "_exact"]
    assert m.values != swapped.values
    assert m.variations["longer"]["epochs"] == 2


def test_the_figure_of_the_ensemble(monkeypatch):
    m, _, _ = measured(monkeypatch)
    details = saved(m).measurements[0].details
    drawings()["ensemble-12"].draw(canvas := Canvas(), details)
    (axes,) = canvas.axes
    lines = {line.get_label(): line for line in axes.get_lines()}
    names = {
        "made against the whole ensemble": ("ensemble", BLUE),
        "made against the first member": ("member", ORANGE),
        "clean images": ("clean", GREY),
    }
    assert lines.keys() == names.keys()
    for label, (name, colour) in names.items():
        assert list(lines[label].get_xdata()) == details["sizes"]["members"]
        assert list(lines[label].get_ydata()) == [100 * e for e in details["sizes"][name]]
        assert lines[label].get_color() == colour
    assert axes.get_ylim() == (0, 100)
