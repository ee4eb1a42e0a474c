"""The claim about the deep Boltzmann machine: its numbers by hand, round by round, its recipes and its figure."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest
from matplotlib.figure import Figure as Canvas
from tiny import TINY, GivenLab, measure, softmax, tiny_mnist, use

from tinyadv import models, optim
from tinyadv.backend import generator
from tinyadv.datasets import MNIST, Split
from tinyadv.dbm import MAX_NORMS, SCHEDULE, machine_of
from tinyadv.paper import audit, recipes
from tinyadv.paper.draw import drawings
from tinyadv.paper.lab import Lab
from tinyadv.paper.measure import MEASURES, mp_dbm
from tinyadv.paper.profiles import PROFILES
from tinyadv.paper.recipes import Packaged
from tinyadv.paper.results import Result, pixels
from tinyadv.paper.results_file import from_json, to_json

IMAGES, EPS = 60, 0.25


@pytest.fixture(scope="module")
def found():
    """The measurement of the tiny machine, its parameters by name, test images and labels."""
    with pytest.MonkeyPatch.context() as patch:
        train, validation, test = tiny_mnist(dtype="float64")
        use(patch, MNIST(train, validation, Split(test.x[:IMAGES], test.y[:IMAGES])))
        for name, n in {"FIRST": 20, "FEW": 5, "FEWEST": 1}.items():
            patch.setattr(audit, name, n)
        patch.setattr(mp_dbm, "ROUNDS", (2, 3, 4))
        patch.setattr(mp_dbm, "SHOWN", 3)
        lab = GivenLab()
        network = lab.given["mp_dbm", "multi-prediction", None]
        m = measure("mp-dbm", lab, machine=network, fewer={3: network})
        machine = machine_of(network)
        theta = {name: getattr(machine, name).data for name in ("W1", "W2", "W3", "b1", "b2", "b3", "b_v")}
        return m, theta, *lab.data.test


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


def rounds(theta, x, n):
    """The label's logits after rounds 1 to n, written out."""
    W1, W2, W3, b1, b2, b3, _ = (theta[name] for name in ("W1", "W2", "W3", "b1", "b2", "b3", "b_v"))
    h1 = sigmoid(2 * x @ W1.T + b1)
    h2 = sigmoid(2 * h1 @ W2.T + b2)
    found = [h2 @ W3.T + b3]
    while len(found) < n:
        z = h2 @ W3.T + b3
        h1 = sigmoid(x @ W1.T + b1 + h2 @ W2)
        h2 = sigmoid(h1 @ W2.T + b2 + softmax(z) @ W3)
        found.append(z)
    return found


def attacked(theta, x, y, n):
    """FGSM through n rounds, its gradient by differences."""

    def J(x):
        return -np.log(softmax(rounds(theta, x, n)[-1])[np.arange(len(y)), y])

    h, g = 1e-5, np.empty_like(x)
    for i in range(x.shape[1]):
        step = np.zeros(x.shape[1])
        step[i] = h
        g[:, i] = J(x + step) - J(x - step)
    return x + EPS * np.sign(g)


def error(theta, x, y, n):
    return float((rounds(theta, x, n)[-1].argmax(axis=1) != y).mean())


def test_errors_against_the_number_of_rounds(found):
    m, theta, x, y = found
    full = attacked(theta, x, y, 4)
    assert m.values["clean_error"] == error(theta, x, y, 4)
    assert m.values["error"] == pytest.approx(error(theta, full, y, 4), abs=1 / IMAGES)
    by_rounds = m.details["rounds"]
    assert (by_rounds["n"], by_rounds["images"]) == ([2, 3, 4], IMAGES)
    for i, n in enumerate((2, 3, 4)):
        made = attacked(theta, x, y, n)
        wanted = {
            "clean": error(theta, x, y, n),
            "own": error(theta, made, y, n),
            "truncated": error(theta, made, y, 4),
            "full": error(theta, full, y, n),
        }
        for name, value in wanted.items():
            assert by_rounds[name][i] == pytest.approx(value, abs=1 / IMAGES), (name, n)
    assert len({tuple(by_rounds[name]) for name in wanted}) == 4
    assert m.variations["rounds:3"] == {name: m.values[name] for name in ("clean_error", "error", "error_exact")}


def test_the_belief_in_the_true_class_over_the_rounds(found):
    m, theta, x, y = found
    x_adv = attacked(theta, x, y, 4)
    fooled = (rounds(theta, x, 4)[-1].argmax(axis=1) == y) & (rounds(theta, x_adv, 4)[-1].argmax(axis=1) != y)
    p = m.details["probabilities"]
    assert p["images"] == pytest.approx(fooled.sum(), abs=1)
    for name, images in (("clean", x), ("attacked", x_adv)):
        assert len(p[name]) == 4
        for quartiles, z in zip(p[name], rounds(theta, images, 4), strict=True):
            of_true = softmax(z)[np.arange(len(y)), y][fooled]
            wanted = np.quantile(of_true, (0.25, 0.5, 0.75), method="nearest")
            assert quartiles == pytest.approx(wanted, abs=0.05)
            assert quartiles == sorted(quartiles)


def test_where_no_image_is_fooled_there_is_nothing_to_believe():
    network = models.mp_dbm((4, 3), 3, 6, 3, rng=generator(0))
    x = np.random.default_rng(0).random((5, 6), dtype=np.float32)
    assert mp_dbm.over_rounds(network, x, network(x).argmax(axis=1), x) == {"images": 0, "clean": [], "attacked": []}


def test_hidden_halves(found):
    m, _, x, _ = found
    shown = m.details["filled_in"]
    images = [pixels(image).reshape(28, 28) for image in shown["images"]]
    np.testing.assert_allclose(images, x[:3].reshape(-1, 28, 28), atol=1 / 255)
    for half, seen_part, hidden_part in (
        ("right", np.s_[:, :14], np.s_[:, 14:]), ("lower", np.s_[:14], np.s_[14:]),
    ):  # fmt: skip
        for image, seen, filled in zip(images, shown[half]["seen"], shown[half]["filled"], strict=True):
            seen, filled = pixels(seen).reshape(28, 28), pixels(filled).reshape(28, 28)
            np.testing.assert_allclose(seen[seen_part], image[seen_part], atol=2 / 255)
            np.testing.assert_allclose(filled[seen_part], image[seen_part], atol=2 / 255)
            assert seen[hidden_part].max() <= 1 / 255
            assert 0.05 < filled[hidden_part].max() <= 1
        assert 0 < shown[half]["mean_difference"] < 0.3


def test_the_audit_stands_beside_it(found):
    rows = found[0].details["audit"]["rows"]
    assert {row[0] for row in rows} == {"MP-DBM"}
    assert {"clean", "fgsm", "noise", "pgd-20", "pgd-100", "differences", "zeros"} <= {row[1] for row in rows}


# ---------------------------------------------------------------------------------------------------------
# Recipes


def test_the_published_recipe():
    recipe = recipes.mp_dbm(PROFILES["paper"], 3)
    assert recipe.arguments == {"units": [2087, 3200], "iterations": 14}
    assert (recipe.epochs, recipe.stop_on, recipe.patience, recipe.stage2) == (868, "error", 100, True)
    assert (recipe.objective, recipe.max_norm, recipe.schedule) == ("multi-prediction", MAX_NORMS, SCHEDULE)
    assert recipe.seed == 3


def test_machines_of_fewer_rounds_are_trained_where_choices_are_varied():
    names = MEASURES["mp-dbm"].named(PROFILES["lesson"], 0)
    assert names.keys() == {"machine", "fewer/3", "fewer/6"}
    assert [r.arguments["iterations"] for r in names.values()] == [14, 3, 6]
    assert MEASURES["mp-dbm"].named(PROFILES["lesson"], 1).keys() == {"machine"}
    assert MEASURES["mp-dbm"].named(TINY, 0).keys() == {"machine"}
    for name in ("lesson", "paper"):
        optim.schedule_of(**recipes.mp_dbm(PROFILES[name], 0).schedule)


def test_the_quick_profile_trains_none():
    assert MEASURES["mp-dbm"].named(PROFILES["quick"], 0) == {"machine": Packaged("mp-dbm")}
    assert MEASURES["mp-dbm"].named(replace(PROFILES["quick"], variations=True), 0).keys() == {"machine"}
    machine = machine_of(Packaged("mp-dbm").trained().network)
    assert machine.iterations == PROFILES["lesson"].dbm.get("iterations", 14)
    assert machine.b1.shape == machine.b2.shape == (200,)


def test_the_lab_trains_it_from_the_mean_image(monkeypatch, tmp_path):
    use(monkeypatch, tiny_mnist())
    lab = Lab(tmp_path)
    recipe = recipes.mp_dbm(TINY, 0)
    before = machine_of(lab._untrained(recipe)).b_v.data
    np.testing.assert_allclose(sigmoid(before), lab.data.train.x.mean(axis=0).clip(1e-7, 1 - 1e-7), rtol=1e-4)
    trained = lab.trained(recipe)
    assert trained.network.arguments["units"] == [8, 6]
    assert abs(machine_of(trained.network).b_v.data - before).max() > 0.01
    assert (Lab(tmp_path).network(recipe)(lab.data.test.x) == trained.network(lab.data.test.x)).all()


# ---------------------------------------------------------------------------------------------------------
# The figure


def test_the_figure(found):
    result = from_json(json.loads(json.dumps(to_json(Result("mp-dbm", "tiny", "", [0], [found[0]])))))
    details = result.measurements[0].details
    details["logs"]["attacked"] = {"epoch": [1, 2], "software_error": [0.5, 0.75]}  # the tiny training logs none
    drawings()["mp-dbm"].draw(canvas := Canvas(), details)
    beliefs, errors, training, halves = canvas.axes
    lines = {line.get_label(): line for line in beliefs.get_lines()}
    for name in ("clean", "attacked"):
        assert list(lines[name].get_xdata()) == [1, 2, 3, 4]
        assert list(lines[name].get_ydata()) == [middle for _, middle, _ in details["probabilities"][name]]
    lines = [line.get_ydata().tolist() for line in errors.get_lines()]
    assert lines == [[100 * e for e in details["rounds"][name]] for name in ("own", "truncated", "clean")]
    assert [label.get_text() for label in errors.get_xticklabels()] == ["2", "3", "4"]
    assert not any("14" in text.get_text() for text in errors.get_legend().get_texts())  # this machine infers by 4
    shown = [list(map(float, line.get_ydata())) for line in training.get_lines()]
    curves = {"attacked": ([0.5, 0.75], 0.975), "clean": (details["logs"]["clean"]["error"], 0.0088)}
    assert shown == [pytest.approx([100 * e or math.nan for e in each], nan_ok=True)
                     for curve, paper in curves.values() for each in (curve, [paper] * 2)]  # fmt: skip
    none = {"images": 0, "clean": [], "attacked": []}
    drawings()["mp-dbm"].draw(canvas := Canvas(), details | {"probabilities": none})
    assert canvas.axes[0].get_title() == "the attack fools no image"
    assert not canvas.axes[0].get_lines()
    (picture,) = halves.get_images()
    second = pixels(details["filled_in"]["right"]["filled"][1]).reshape(28, 28)
    np.testing.assert_allclose(picture.get_array()[31:59, 28:56], second)
