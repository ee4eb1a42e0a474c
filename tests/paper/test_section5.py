"""Section 5's two trainings and its comparison with L1 decay, by hand; and that each part of a predicate can fail."""

import math
from types import SimpleNamespace

import numpy as np
import pytest
from figures import drawn, lines
from tiny import TINY, GivenLab, measure, tiny_mnist, use

from tinyadv.backend import generator
from tinyadv.datasets import MNIST, Split
from tinyadv.layers import parameters
from tinyadv.metrics import wilson
from tinyadv.paper import recipes
from tinyadv.paper.draw import BLUE, GREEN, GREY, ORANGE
from tinyadv.paper.lab import Recipe
from tinyadv.paper.measure import MEASURES, section5
from tinyadv.paper.profiles import PROFILES
from tinyadv.paper.results import Result, check
from tinyadv.paper.results_file import to_json

CLEAN, ADVERSARIAL = (("logistic_regression", objective, None) for objective in ("clean", "adversarial"))


@pytest.fixture
def lab(monkeypatch):
    train, validation, test = tiny_mnist(dtype="float64")
    use(monkeypatch, MNIST(train, validation, Split(test.x[:200], test.y[:200])))
    return GivenLab()


def measured(claim, lab):
    m = MEASURES[claim](lab, TINY, 0)
    check(Result(claim, "tiny", "cpu", [0], [m]))
    return m


def three_or_seven(split):
    kept = np.isin(split.y, (3, 7))
    return split.x[kept], np.where(split.y[kept] == 7, 1.0, -1.0)


# ---------------------------------------------------------------------------------------------------------
# Both trainings of logistic regression


def test_training_by_formula_is_training_by_hand(lab, monkeypatch):
    """w, b of the closed form's training, with its gradient written out: -sigmoid(.25 ||w|| - m)(y x - .25 sign w)."""
    ends, original = [], section5.train

    def recording(model, *args, **options):
        done = original(model, *args, **options)
        ends.append([p.data.copy() for p in parameters(model)])
        return done

    monkeypatch.setattr(section5, "train", recording)
    difference = section5._training_difference(lab, 0, epochs=3)
    x, y = three_or_seven(lab.data.train)
    w, b, v, u, updates = np.zeros(784), 0.0, np.zeros(784), 0.0, 0
    for epoch in (1, 2, 3):
        order = generator(0, f"order of epoch {epoch}").permutation(len(x))
        for rows in (order[i : i + 100] for i in range(0, len(x), 100)):
            s = 1 / (1 + np.exp(y[rows] * (x[rows] @ w + b) - 0.25 * abs(w).sum())) / len(rows)
            g_w, g_b = 0.25 * s.sum() * np.sign(w) - (s * y[rows]) @ x[rows], -(s @ y[rows])
            rate = 0.1 / 1.000004**updates
            v, u = 0.5 * v - rate * g_w, 0.5 * u - rate * g_b
            w, b, updates = w + v, b + u, updates + 1
    assert len(ends) == 2
    for W, c in ends:
        assert W[0] == pytest.approx(w, rel=1e-9, abs=1e-13)
        assert c[0] == pytest.approx(b)
    (W, c), (V, d) = ends
    expected = math.sqrt(((W - V) ** 2).sum() + (c - d) @ (c - d)) / math.sqrt((V * V).sum() + d @ d)
    assert difference == pytest.approx(expected, abs=1e-18)
    assert difference < 1e-12


def test_it_trains_as_long_as_the_recipe_s_network(lab, monkeypatch):
    seen = []
    monkeypatch.setattr(section5, "_training_difference", lambda lab, seed, epochs: seen.append(epochs) or 0.0)
    measured("logistic-exact", lab)
    assert seen == [len(lab.log(None))]


@pytest.mark.parametrize("what", ["gradient", "eps", "order"])
def test_trainings_that_differ_fail_the_predicate(lab, monkeypatch, what):
    assert measured("logistic-exact", lab).holds
    original, train = section5._closed_form, section5.train

    def wrong(model, x, y, rng):
        J, gradients = original(model, x, y, rng)
        return J, [g * (1 + 1e-6) for g in gradients]

    if what == "gradient":
        monkeypatch.setattr(section5, "_closed_form", wrong)
    elif what == "eps":  # of the second training alone
        loss = section5.adversarial_logistic_loss
        by_hand = lambda w, b, x, y, eps: loss(w, b, x, y, eps + 1e-6 * (len(x) <= 100))  # noqa: E731
        monkeypatch.setattr(section5, "adversarial_logistic_loss", by_hand)
    else:
        seeds = iter((0, 1))
        monkeypatch.setattr(section5, "train", lambda *a, **o: train(*a, **{**o, "seed": next(seeds)}))
    m = measured("logistic-exact", lab)
    assert not m.holds
    assert m.values["training_difference"] > 1e-9
    assert what == "eps" or max(m.values["loss_difference"], m.values["gradient_difference"]) < 1e-12


@pytest.mark.parametrize("what", ["training", "loss"])
def test_a_difference_that_is_no_number_fails_the_predicate(lab, monkeypatch, what):
    monkeypatch.setattr(section5, "_training_difference", lambda *a, **k: math.nan if what == "training" else 0.0)
    if what == "loss":
        objective = section5.adversarial_objective
        monkeypatch.setattr(section5, "adversarial_objective", lambda *a, **k: (math.nan, objective(*a, **k)[1]))
    m = measured("logistic-exact", lab)
    assert math.isnan(m.values[f"{what}_difference"])
    assert m.holds is False


# ---------------------------------------------------------------------------------------------------------
# logistic-3v7 with other decays


def test_the_variations_of_logistic_3v7(lab):
    m = measured("logistic-3v7", lab)
    assert list(m.variations) == [f"decay:{l2:g}" for l2 in section5.DECAYS]
    for values in m.variations.values():  # this lab gives the same network for all of them
        assert values == {k: m.values[k] for k in ("weights_l1", "clean_error", "error")}
    assert [r.options for r in MEASURES["logistic-3v7"].recipes(TINY, 0)][1:] == [{"l2": c} for c in section5.DECAYS]


# ---------------------------------------------------------------------------------------------------------
# L1 decay of logistic regression


def test_the_penalties_by_hand(lab):
    m = measured("l1-pessimism", lab)
    x, y = three_or_seven(lab.data.train)
    (w,), (b,) = (p.data for p in parameters(lab.given[ADVERSARIAL]))
    margins, l1 = [t * (w @ image + b) for image, t in zip(x, y, strict=True)], sum(abs(v) for v in w)
    zeta = lambda v: np.logaddexp(0, v)  # noqa: E731
    assert m.details["scales"] == [0, 0.125, 0.25, 0.5, 1, 2, 4, 8, 16, 32, 64]
    assert list(m.details["penalties"]) == ["0.001", "0.0025", "0.01", "0.025", "0.1", "0.25"]
    left = []
    for key, curve in m.details["penalties"].items():
        eps = float(key)
        outgrown = [k for k, margin in enumerate(margins) if margin > eps * l1]
        others = [k for k in range(len(x)) if k not in outgrown]
        assert curve["outgrown"] == len(outgrown) / len(x)
        for kind, some in (("outgrown_images", outgrown), ("elsewhere", others), ("all", range(len(x)))):
            for s, value in zip(m.details["scales"], curve[kind], strict=True):
                added = [zeta(eps * l1 * s - margins[k] * s) - zeta(-margins[k] * s) for k in some]
                assert value == pytest.approx(np.mean(added) if added else math.nan, nan_ok=True)
        assert curve["l1"] == pytest.approx([eps * l1 * s for s in m.details["scales"]])
        left.append(curve["outgrown_images"][-1] / max(curve["outgrown_images"]))
        assert curve["left"] == pytest.approx(left[-1])
    assert m.values["adversarial_penalty_share"] == pytest.approx(max(left))
    assert m.values["l1_penalty_growth"] == pytest.approx(1)
    assert m.values["outgrown_share"] == m.details["penalties"]["0.1"]["outgrown"]
    last, before = (m.details["penalties"]["0.1"]["elsewhere"][k] for k in (-1, -2))
    assert m.values["penalty_growth_elsewhere"] == pytest.approx(last / before / 2, nan_ok=True)
    assert m.holds == (max(left) < 0.1)


def test_the_grids(lab):
    m = measured("l1-pessimism", lab)
    asked = MEASURES["l1-pessimism"].recipes(TINY, 0)
    assert [r.options for r in asked[:6]] == [{"eps": c, "alpha": 0.0} for c in section5.COEFFICIENTS]
    assert [r.options for r in asked[6:]] == [{"l1": c} for c in section5.COEFFICIENTS]
    assert not MEASURES["l1-pessimism"].quick
    for kind, name in ((ADVERSARIAL, "adversarial"), (CLEAN, "l1")):
        (w,), (b,) = (p.data for p in parameters(lab.given[kind]))
        for part, key in ((lab.data.train, "training_error"), (lab.data.test, "clean_error")):
            x, y = three_or_seven(part)
            assert {entry[key] for entry in m.details["grids"][name]} == {np.mean((x @ w + b > 0) != (y > 0))}
        x, y = three_or_seven(lab.data.test)
        attacked = np.mean((x @ w + b - y * 0.25 * abs(w).sum() > 0) != (y > 0))
        assert m.details["grids"][name][0]["error"] == attacked
        assert m.values[f"training_error_{name}"] == m.details["grids"][name][-1]["training_error"]


def test_a_penalty_that_does_not_fade_fails_the_predicate(lab, monkeypatch):
    curve = {"left": 0.0999, "l1": [0.1, 1, 2], "outgrown": 0.9, "growth_elsewhere": 1.0}
    monkeypatch.setattr(section5, "SCALES", (0.1, 1.0, 2.0))
    for changes, holds in (
        ({}, True),
        ({"left": 0.1}, False),
        ({"left": math.nan}, False),
    ):
        monkeypatch.setattr(section5, "_penalties", lambda lab, m, eps, c=changes: curve | (c if eps == 0.01 else {}))
        m = measured("l1-pessimism", lab)
        assert m.holds is holds, changes


@pytest.mark.parametrize(("growths", "shown"), [((0.5, 1.1), 0.5), ((0.9, 1.2), 1.2), ((1.0, 1.0), 1.0)])
def test_the_growth_of_the_l1_penalty_is_the_one_farthest_from_1(lab, monkeypatch, growths, shown):
    monkeypatch.setattr(section5, "SCALES", (0.5, 1.0, 2.0))

    def penalties(lab, network, eps):
        last = 2.0 * growths[eps == 0.25]
        return {"left": 0.01, "l1": [0.5, 1.0, last], "outgrown": 0.9, "growth_elsewhere": 1.0}

    monkeypatch.setattr(section5, "_penalties", penalties)
    assert measured("l1-pessimism", lab).values["l1_penalty_growth"] == pytest.approx(shown)


def test_a_network_that_says_nothing_has_no_shares_and_does_not_hold(lab):
    for p in parameters(lab.given[ADVERSARIAL]):
        p.data[:] = 0.0
    m = measured("l1-pessimism", lab)
    assert m.values["outgrown_share"] == 0
    for name in ("adversarial_penalty_share", "l1_penalty_growth", "penalty_growth_elsewhere"):
        assert math.isnan(m.values[name])
    assert not m.holds
    assert to_json(Result("l1-pessimism", "tiny", "cpu", [0], [m]))


def test_the_figure_of_l1_pessimism(lab):
    m = measured("l1-pessimism", lab)
    m.details["penalties"]["0.1"]["elsewhere"][3] = None  # as NaN comes back from JSON
    left, right = drawn("l1-pessimism", m.details)
    scales, curve = m.details["scales"][1:], m.details["penalties"]["0.1"]
    shown = lines(left)
    assert shown["L1: ε‖w‖₁"] == (scales, curve["l1"][1:], ORANGE)
    assert shown["adversarial, all images"] == (scales, curve["all"][1:], GREEN)
    assert shown["adversarial, margin above ε‖w‖₁"] == (scales, curve["outgrown_images"][1:], BLUE)
    assert shown["adversarial, other images"][2] == GREY
    assert math.isnan(shown["adversarial, other images"][1][2])
    for label, key in (("L1 decay, coefficient λ", "l1"), ("adversarial training, ε", "adversarial")):
        errors = [100 * entry["training_error"] for entry in m.details["grids"][key]]
        assert lines(right)[label][:2] == (list(section5.COEFFICIENTS), errors)


def test_the_learning_rate_falls_to_a_hundredth():
    for profile in PROFILES.values():
        r = recipes.logistic_regularised(profile, 0, "l1", 0.1)
        assert r.schedule["decay"] ** (103 * r.epochs) == pytest.approx(100, rel=0.3)  # 10,280 images or so


# ---------------------------------------------------------------------------------------------------------
# L1 decay of the maxout network


class Errors:
    """In the place of `metrics`: errors of networks that are only names, on training images and on test images."""

    def __init__(self, lab, of_network):
        self.lab, self.of_network = lab, of_network

    def evaluate(self, network, x, y):
        share = self.of_network[network][x is self.lab.data.test.x]
        return SimpleNamespace(error=share, intervals={"error": wilson(round(10_000 * share), 10_000)})


GRID = {"without": (0.001, 0.02), "a": (0.3, 0.3), "b": (0.06, 0.07), "c": (0.049, 0.019), "d": (0.001, 0.02)}


@pytest.mark.parametrize(
    ("change", "holds"),
    [
        ({}, True),
        ({"a": (0.05, 0.3)}, False),  # not stuck
        ({"c": (0.05, 0.02), "d": (0.05, 0.02)}, False),  # no smaller coefficient trains
        ({"c": (0.05, 0.001), "d": (0.001, 0.02)}, True),  # what does not train does not count
        ({"d": (0.001, 0.0150)}, False),  # it regularises
        ({"d": (0.001, 0.0180)}, True),  # within the interval
    ],
)
def test_stuck(lab, monkeypatch, change, holds):
    grid = GRID | change
    monkeypatch.setattr(section5, "metrics", Errors(lab, grid))
    monkeypatch.setattr(section5, "training_error", lambda lab, network: grid[network][0])
    monkeypatch.setattr(section5, "weights_l1", lambda network: float(len(network)))
    without, *decayed = grid
    given = dict(zip(section5.LAMBDAS, decayed, strict=True))
    m = measure("l1-maxout-stuck", lab, without=without, decayed=given)
    assert m.holds is holds
    best = min(grid[name][1] for name in "bcd")
    assert m.values == {"error_without_decay": 0.02, "training_error": grid["a"][0], "best_error": best}
    assert m.intervals["best_error"] == wilson(round(10_000 * best), 10_000)
    coefficients = ("0", "0.0025", "0.0001", "0.00003", "0.00001")
    assert list(m.variations) == [f"lambda:{coefficient}" for coefficient in coefficients]
    found = [(values["training_error"], values["clean_error"]) for values in m.variations.values()]
    assert found == list(grid.values())


def test_stuck_on_networks_and_its_figure(lab):
    m = measured("l1-maxout-stuck", lab)
    assert not MEASURES["l1-maxout-stuck"].quick
    assert section5.LAMBDAS[0] == 0.0025 == max(section5.LAMBDAS)
    x, y = lab.data.train
    network = lab.given["maxout_network", "clean", "softmax"]
    assert m.values["training_error"] == np.mean(network(x).argmax(axis=1) != y)
    (axes,) = drawn("l1-maxout-stuck", m.details)
    assert list(lines(axes)) == ["no decay", "λ = 0.0025", "λ = 0.0001", "λ = 0.00003", "λ = 0.00001"]
    assert all(shown[:2] == ([1, 2], [20, 10]) for shown in lines(axes).values())
    assert len({shown[2] for shown in lines(axes).values()}) == 5


def test_all_coefficients_are_trained_alike_and_without_decay_is_the_plain_control():
    asked = MEASURES["l1-maxout-stuck"].recipes(PROFILES["lesson"], 3)
    assert [r.options for r in asked] == [{}, *({"l1": c} for c in section5.LAMBDAS)]
    assert {(r.epochs, r.seed, r.max_norm) for r in asked} == {(PROFILES["lesson"].epochs["controls"], 3, 1.9365)}
    assert isinstance(asked[0], Recipe)
