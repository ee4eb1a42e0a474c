"""RBF networks: what is measured against the formulas by hand, which J is climbed, the log scale; deep ones."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest
from matplotlib.colors import to_hex
from matplotlib.figure import Figure as Canvas
from test_sections import ByHand, agree, named, under_attack
from tiny import LOG, TINY, GivenLab, measure, measured, tiny_mnist, use

from tinyadv.datasets import MNIST, Split
from tinyadv.models import Network
from tinyadv.paper import recipes
from tinyadv.paper.draw import BLUE, GREY, ORANGE, drawings
from tinyadv.paper.measure import MEASURES
from tinyadv.paper.profiles import PROFILES
from tinyadv.paper.results import Result
from tinyadv.paper.results_file import from_json, to_json

IMAGES = 60


def world(patch, dtype="float64"):
    train, validation, test = tiny_mnist(dtype=dtype)
    use(patch, MNIST(train, validation, Split(test.x[-IMAGES:], test.y[-IMAGES:])))
    return GivenLab(dtype=dtype)


def saved(claim, *measurements):
    result = Result(claim, "tiny", "cpu", list(range(len(measurements))), list(measurements))
    return from_json(json.loads(json.dumps(to_json(result), allow_nan=False)))


def test_rbf(monkeypatch):
    lab = world(monkeypatch)
    x, y = lab.data.test
    tops = {"": "rbf-squared", "_cross_entropy": "rbf", "_true_class": "rbf-true-class"}
    networks = {name: lab.given["rbf_network", "clean", top] for name, top in tops.items()}
    reports = {name: under_attack(network, x, y) for name, network in networks.items()}
    values = {f"{key}{name}": v for name, (report, _) in reports.items() for key, v in report.items()}
    m, hand = measured("rbf-fgsm", lab), ByHand(networks[""])
    agree(m, named("rbf-fgsm", values))
    assert len({round(values[f"error{name}"], 6) for name in tops}) == 3  # they can be told apart
    assert m.details["log"] == m.details["log_cross_entropy"] == LOG
    for kind, images in (("clean", x), ("attacked", reports[""][1])):
        counts = [0] * 20
        for image in images:
            counts[min(19, int(20 * hand.probabilities(image).max()))] += 1
        assert m.details["confidence_shares"][kind] == pytest.approx([c / IMAGES for c in counts])


def test_the_variations_of_the_rbf_network(monkeypatch):
    lab = world(monkeypatch)
    (x, y), few = lab.data.test, measured("rbf-fgsm", lab)
    m = MEASURES["rbf-fgsm"](lab, replace(TINY, variations=True), 0)
    assert list(m.variations) == ["attack_cross_entropy", "clipped", *recipes.RBF_OTHERWISE]
    assert few.variations == {key: m.variations[key] for key in list(m.variations)[:4]}  # of the others J alone
    own = lab.given["rbf_network", "clean", "rbf-squared"]
    hand, climber = ByHand(own), ByHand(own)
    climber.top = "rbf"
    report = hand.report([climber.fgsm(a, b) for a, b in zip(x, y, strict=True)], y)
    clean = hand.report(x, y)
    assert m.variations["attack_cross_entropy"] == pytest.approx({
        "error": report["error"], "confidence_on_mistakes": report["confidence_on_mistakes"],
        "clean_confidence": clean["confidence"], "clean_error": clean["error"],
    })  # fmt: skip
    for found, top in ((m.variations["true_class"], "rbf-true-class"), (m.values, "rbf-squared")):
        by = ByHand(lab.given["rbf_network", "clean", top])
        report = by.report([by.fgsm(a, b) for a, b in zip(x, y, strict=True)], y)
        for name in ("error", "confidence_on_mistakes"):
            assert found[name] == pytest.approx(report[name])


def test_every_seed_has_the_other_costs_and_the_first_of_a_profile_that_varies_choices_everything():
    quick, lesson, paper = (PROFILES[name] for name in ("quick", "lesson", "paper"))
    every, few = recipes.rbf_otherwise(lesson, 0), recipes.rbf_otherwise(lesson, 3)
    two = {key: every[key] for key in ("cross_entropy", "true_class")}
    assert recipes.rbf_otherwise(quick, 0) == recipes.rbf_otherwise(paper, 0) == two
    assert few == recipes.rbf_otherwise(quick, 3) == {key: replace(recipe, seed=3) for key, recipe in two.items()}
    assert every.keys() == recipes.RBF_OTHERWISE.keys()
    assert len(every) == len({r.hash for r in every.values()})
    assert [r.arguments["top"] for r in few.values()] == ["rbf", "rbf-true-class"]
    assert {r.seed for r in every.values()} == {0}


def test_the_class_of_an_rbf_network_is_found_on_the_log_scale(monkeypatch):
    lab = world(monkeypatch, dtype="float32")
    for top in ("rbf", "rbf-true-class", "rbf-squared"):
        lab.given["rbf_network", "clean", top].layers[0].root.data[:] = np.log(20.0)  # so steep that every p is 0
    x, y = lab.data.test
    m, mu = measured("rbf-fgsm", lab), lab.given["rbf_network", "clean", "rbf-squared"].layers[0].mu.data
    nearest = [int(np.argmin(((image - mu) ** 2).sum(axis=1))) for image in x]
    assert m.values["clean_confidence"] == 0
    assert m.values["clean_error"] == np.mean(nearest != y) < 0.5  # the argmax of p would always say 0


def test_an_rbf_network_that_makes_no_mistakes(monkeypatch):
    lab = world(monkeypatch)
    sure = lab.given["rbf_network", "clean", "rbf-true-class"]
    sure.layers[0].mu.data[:] = sure.layers[0].mu.data * 100  # so far apart that no attack comes near another centre
    far = Split(sure.layers[0].mu.data.copy(), np.arange(10))
    lab.data = MNIST(far, far, far)
    m = measured("rbf-fgsm", lab)
    assert m.values["error_true_class"] == 0
    assert math.isnan(m.values["confidence_on_mistakes_true_class"])
    assert "confidence_on_mistakes_true_class" not in m.intervals


# ---------------------------------------------------------------------------------------------------------
# Deep ones


class Says:
    """A network that errs on given shares of the images: on the training images, and on the attacked test images."""

    def __init__(self, lab, training_error, error, confidence):
        self.lab, self.errors, self.confidence = lab, (training_error, error), confidence

    def __call__(self, x):
        train, test = self.lab.data.train, self.lab.data.test
        on_train = len(x) == len(train.x)
        y, share = (train.y, self.errors[0]) if on_train else (test.y, self.errors[1])
        wrong = np.arange(len(x)) < round(share * len(x))
        return np.eye(10)[np.where(wrong, (y + 1) % 10, y)]

    def probabilities(self, z):
        return self.confidence * z


def deep(monkeypatch, numbers, maxout=(0.005, 0.9, 0.9)):
    """rbf-deep where every network has (training error, FGSM error, confidence); two learning rates each."""
    lab = world(monkeypatch)
    from tinyadv.paper.measure import section7

    monkeypatch.setattr(section7, "attack", lambda network, x, y: x)
    monkeypatch.setattr(recipes, "QUADRATIC", [(name, "", {}, (0.1, 0.5)) for name in "ab"])
    keys = ("a@0.1", "a@0.5", "b@0.1", "b@0.5")
    tried = {key: Says(lab, *n) for key, n in zip(keys, numbers, strict=True)}
    shallow = Says(lab, 0.13, 0.55, 0.012)
    return measure("rbf-deep", lab, maxout=Says(lab, *maxout), shallow=shallow, deep=tried)


@pytest.mark.parametrize(
    ("b", "maxout", "holds", "resists"),
    [
        ((0.2, 0.9, 0.05), 0.005, True, True),
        ((0.2, 0.4, 0.9), 0.005, True, True),  # few mistakes, with confidence
        ((0.04, 0.9, 0.05), 0.005, False, True),  # it learns
        ((0.2, 0.9, 0.05), 0.01, False, True),  # the maxout network does not
        ((0.2, 0.9, 0.2), 0.005, False, False),  # nothing resists
        ((0.2, 0.5, 0.9), 0.005, False, False),  # nor what errs on half of the images
    ],
)
def test_rbf_deep(monkeypatch, b, maxout, holds, resists):
    worse = (b[0] + 0.1, 0.9, 0.9)
    m = deep(monkeypatch, [(0.02, 0.9, 0.8), (0.3, 0.1, 0.0), worse, b], (maxout, 0.9, 0.9))
    rows = {row["name"]: row for row in m.details["networks"]}
    assert [rows[name]["learning_rate"] for name in "ab"] == [0.1, 0.5]  # of the lower training error
    assert (rows["a"]["resists"], rows["b"]["resists"]) == (False, resists)
    assert rows["b"]["training_error"] == pytest.approx(b[0], abs=0.01)
    assert m.holds is holds
    assert m.values["training_error_maxout"] == maxout
    lowest = m.values["training_error"]
    assert lowest == pytest.approx(b[0], abs=0.01) if resists else math.isnan(lowest)


def test_rbf_deep_on_networks_as_they_are_built(monkeypatch):
    lab = world(monkeypatch)
    m = measured("rbf-deep", lab)
    rows = m.details["networks"]
    assert [row["name"] for row in rows] == [*(name for name, *_ in recipes.QUADRATIC), "shallow", "maxout"]
    hand = ByHand(lab.given["rbf_network", "clean", "rbf-squared"])
    assert rows[-2]["training_error"] == hand.report(*lab.data.train)["error"]
    assert (
        rows[-2]["error"] == under_attack(lab.given["rbf_network", "clean", "rbf-squared"], *lab.data.test)[0]["error"]
    )
    assert len(recipes.quadratic(TINY, 0)) == sum(len(rates) for *_, rates in recipes.QUADRATIC)
    assert isinstance(lab.network(recipes.quadratic(TINY, 0)["quadratic:0.03@0.1"]), Network)


def test_the_figure_of_deep_networks(monkeypatch):
    m = deep(monkeypatch, [(0.02, 0.9, 0.8), (0.3, 0.9, 0.8), (0.3, 0.9, 0.8), (0.2, 0.9, 0.05)])
    details = saved("rbf-deep", m).measurements[0].details
    drawings()["rbf-deep"].draw(canvas := Canvas(), details)
    (axes,) = canvas.axes
    keys = ("training_error", "error", "confidence_on_mistakes")
    for container, key in zip(axes.containers, keys, strict=True):
        assert [bar.get_width() for bar in container] == [100 * row[key] for row in details["networks"]]
    assert {to_hex(bar.get_facecolor()).upper() for bar in axes.patches} == {BLUE, ORANGE, GREY}
    assert [t.get_text() for t in axes.get_yticklabels()] == ["a", "b (resists)", "shallow RBF (resists)", "maxout"]
    details["networks"][0]["confidence_on_mistakes"] = None  # no mistakes: there is no number, and it is not 0
    drawings()["rbf-deep"].draw(canvas := Canvas(), details)
    texts = [text.get_text() for text in canvas.axes[0].texts]
    shares = [row[key] for key in keys for row in details["networks"]]
    assert texts == ["—" if share is None else f"{100 * share:.1f}" for share in shares]
