"""Adversarial training: numbers by hand, predicates on logs made for them, the protocol in a tiny world, figures."""

import json
import math
from dataclasses import replace
from functools import partial

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.figure import Figure as Canvas
from test_sections import EPS, ByHand
from tiny import LOG, TINY, GivenLab, made_sure, measure, measured, rounded_fgsm, tiny_mnist, use

from tinyadv import metrics, training
from tinyadv.backend import generator
from tinyadv.datasets import MNIST, Split
from tinyadv.layers import named_parameters, parameters
from tinyadv.models import build
from tinyadv.optim import SGD, Schedule
from tinyadv.paper import audit, recipes, rounding
from tinyadv.paper import lab as laboratory
from tinyadv.paper.draw import BLUE, GREY, ORANGE, STYLE, drawings
from tinyadv.paper.lab import Lab, Trained
from tinyadv.paper.measure import MEASURES, section6
from tinyadv.paper.profiles import PROFILES
from tinyadv.paper.results import Result, check, pixels

NAIVE, TRAINED = ("maxout_network", "clean", "softmax"), ("maxout_network", "adversarial", "softmax")
OURS = (
    "adv-train-240", "maxout-1600-naive", "adv-stopping", "adv-train-1600", "adv-robust-1600", "adv-transfer",
    "adv-confidence", "fig3-filters",
)  # fmt: skip


class Told(GivenLab):
    """A lab whose networks had the trainings that it was told, by objective; `chosen` is what early stopping chose."""

    def __init__(self, logs=(), chosen=(), **options):
        super().__init__(**options)
        self.logs, self.chosen = dict(logs), dict(chosen)

    def log(self, network):
        return self.logs.get(self._objective(network), LOG)

    def epochs(self, network):
        return self.chosen.get(self._objective(network), super().epochs(network))

    def _objective(self, network):
        return next((kind[1] for kind, model in self.given.items() if model is network), None)


@pytest.fixture
def lab(monkeypatch):
    train, validation, test = tiny_mnist(dtype="float64")
    use(monkeypatch, MNIST(train, validation, Split(test.x[-100:], test.y[-100:])))
    for name, n in (("FIRST", 20), ("FEW", 4), ("FEWEST", 1)):
        monkeypatch.setattr(audit, name, n)
    return Told()


def result_of(claim, *measurements, scale=""):
    result = Result(claim, "tiny", "cpu", list(range(len(measurements))), list(measurements), scale=scale)
    check(result)
    return result


def log_of(errors, adversarial=None, confidences=None):
    adversarial, confidences = adversarial or errors, confidences or [0.5] * len(errors)
    rows = zip(errors, adversarial, confidences, strict=True)
    names = ("error", "adversarial_error", "adversarial_confidence_on_mistakes")
    return [{"epoch": i, **dict(zip(names, row, strict=True))} for i, row in enumerate(rows, start=1)]


def drawn(claim, details):
    with mpl.rc_context(STYLE):
        canvas = Canvas()
        drawings()[claim].draw(canvas, json.loads(json.dumps(details)))
    return canvas.axes


def test_the_quick_profile_trains_nothing_for_them_that_others_do_not_need():
    quick = PROFILES["quick"]
    needed = {recipe.hash for claim in OURS for recipe in MEASURES[claim].recipes(quick, 0)}
    maxout = {recipes.maxout(quick, 0, adversarial=sees).hash for sees in (None, "training", "inference")}
    assert needed == maxout | {recipes.softmax_regression(quick, 0).hash}
    assert measure_units("paper") == {240, 1600}


def test_under_the_protocol_the_networks_of_240_units_are_the_published_ones():
    profile = PROFILES["paper"]
    wanted = [recipes.published(3, adversarial=sees) for sees in (None, "training", "inference")]
    assert MEASURES["adv-train-240"].recipes(profile, 3) == wanted
    small = replace(profile, units=240)  # in place of 1600: nothing is trained twice
    for claim in ("adv-robust-1600", "adv-transfer", "fig3-filters"):
        assert MEASURES[claim].recipes(small, 3)[:3] == wanted
    large = MEASURES["adv-robust-1600"].named(profile, 3)
    assert large["trained"] == recipes.published_large(3, 1600, "training")
    assert large["unmasked"] == recipes.published_large(3, 1600, "inference")
    assert (large["naive"].stop_on, large["naive"].chosen_with, large["naive"].retrain) == ("error", 0, True)
    assert large["naive"] == MEASURES["maxout-1600-naive"].named(profile, 3)["large"]


@pytest.mark.parametrize("profile", PROFILES.values(), ids=PROFILES)
def test_either_attack_in_training_is_measured_by_every_row_and_nothing_else_differs(profile):
    for claim in (*OURS, "adv-train-error"):
        if claim == "maxout-1600-naive":
            continue
        named = MEASURES[claim].named(profile, 1)
        masks, without = named["small" if claim == "adv-train-error" else "trained"], named["unmasked"]
        assert masks.options == {"eps": 0.25, "alpha": 0.5, "attacked": "training", "gradient": "rounded"}
        assert replace(masks, options={**masks.options, "attacked": "inference"}) == without
    varied = MEASURES["adv-train-240"].named(profile, 0)
    assert ("exact_attack" in varied) == (profile.name == "lesson")
    if profile.name == "lesson":
        assert varied["exact_attack"].options == {**varied["trained"].options, "gradient": "exact"}


def measure_units(profile):
    of = (MEASURES[claim].recipes(PROFILES[profile], 0) for claim in OURS)
    return {recipe.arguments["units"] for some in of for recipe in some if recipe.network == "maxout_network"}


# ---------------------------------------------------------------------------------------------------------
# Numbers


def test_clean_errors(lab):
    (x, y), naive, trained = lab.data.test, ByHand(lab.given[NAIVE]), ByHand(lab.given[TRAINED])
    m = measured("maxout-1600-naive", lab)
    assert m.values == {"clean_error": naive.report(x, y)["error"], "clean_error_240": naive.report(x, y)["error"]}
    large, small = (lab.given[kind] for kind in (TRAINED, NAIVE))
    m = measure("maxout-1600-naive", lab, large=large, small=small)
    assert m.values == {"clean_error": trained.report(x, y)["error"], "clean_error_240": naive.report(x, y)["error"]}
    lab.logs["adversarial"] = log_of([0.3, 0.1, 0.2, 0.1], [0.9, 0.5, 0.4, 0.6])
    m = measured("adv-train-1600", lab)
    assert m.values == {"clean_error": trained.report(x, y)["error"], "epochs": 3}
    assert m.intervals == {"clean_error": metrics.wilson(round(100 * m.values["clean_error"]), 100)}


def test_transfer_and_confidence(lab):
    (x, y), naive, trained = lab.data.test, ByHand(lab.given[NAIVE]), ByHand(lab.given[TRAINED])
    of_naive, of_trained = ([by.fgsm(p, label) for p, label in zip(x, y, strict=True)] for by in (naive, trained))
    m = measured("adv-transfer", lab)
    assert m.values["error_naive_to_trained"] == trained.report(of_naive, y)["error"]
    assert m.values["error_trained_to_naive"] == naive.report(of_trained, y)["error"]
    assert m.values["error_naive_to_trained"] != m.values["error_trained_to_naive"]
    assert m.values["own_error_naive"] == naive.report(of_naive, y)["error"]
    assert m.values["own_error_trained"] == trained.report(of_trained, y)["error"]
    softmax = ByHand(lab.given["softmax_regression", "clean", None])
    of_softmax = [softmax.fgsm(p, label) for p, label in zip(x, y, strict=True)]
    said = [(trained.says(p), softmax.says(p), label) for p, label in zip(of_softmax, y, strict=True)]
    wrong = [(a, b) for a, b, label in said if a != label]
    assert m.values["error_softmax_to_trained"] == len(wrong) / len(y)
    assert m.values["agreement_softmax_to_trained"] == pytest.approx(np.mean([a == b for a, b in wrong]))
    report, m = trained.report(of_trained, y), measured("adv-confidence", lab)
    names = ("error", "confidence_on_mistakes", "wrong_label_probability")
    assert m.values == {name + end: pytest.approx(report[name]) for name in names for end in ("", "_exact")}
    assert m.details["adversarial_error"] == [0.0, 0.5]


def test_numbers_follow_the_rounded_gradient_and_those_named_exact_the_exact_one(monkeypatch):
    use(monkeypatch, tiny_mnist())
    lab = GivenLab(dtype="float32")
    naive, trained, others = lab.given[NAIVE], lab.given[TRAINED], GivenLab(dtype="float32").given
    unmasked, longer = others[NAIVE], others[("maxout_network", "rubbish", "softmax")]  # two other ones
    for network in (naive, trained, unmasked, longer):
        made_sure(network, 40.0)
    x, y = lab.data.test
    assert (section6.attack(naive, x, y) != rounded_fgsm(naive, x, y)).any(axis=1).sum() > 3

    def error(judge, made_on, of):
        return pytest.approx((judge(of(made_on, x, y)).argmax(axis=1) != y).mean())

    softmax = lab.given["softmax_regression", "clean", None]
    networks = {"naive": naive, "trained": trained, "unmasked": unmasked, "softmax": softmax}
    m = measure("adv-transfer", lab, **networks, longer_naive=longer, longer_trained=unmasked, longer_unmasked=naive)
    for found, a, b in (
        (m.values, naive, trained),
        (m.variations["unmasked"], naive, unmasked),
        (m.variations["longer"], longer, unmasked),
        (m.variations["longer-unmasked"], longer, naive),
    ):
        for end, of in (("", rounded_fgsm), ("_exact", section6.attack)):
            assert found["error_naive_to_trained" + end] == error(b, a, of)
            assert found["error_trained_to_naive" + end] == error(a, b, of)
    assert list(m.variations) == ["unmasked", "longer", "longer-unmasked"]
    assert m.values["error_naive_to_trained"] != m.values["error_naive_to_trained_exact"]
    assert m.variations["longer"]["epochs"] == m.variations["longer-unmasked"]["epochs"] == 2

    m = measure("adv-confidence", lab, trained=trained, unmasked=unmasked, longer_trained=longer)
    r = measure("adv-robust-1600", lab, naive=naive, trained=trained, unmasked=unmasked)
    for end, of in (("", rounded_fgsm), ("_exact", section6.attack)):
        assert m.values["error" + end] == r.values["error" + end] == error(trained, trained, of)
        assert m.variations["unmasked"]["error" + end] == error(unmasked, unmasked, of)
        assert r.variations["unmasked"]["error" + end] == error(unmasked, unmasked, of)
        assert m.variations["longer"]["error" + end] == error(longer, longer, of)
        assert r.values["naive_error" + end] == error(naive, naive, of)
        assert r.values["transfer_error" + end] == error(trained, naive, of)
    assert r.variations["unmasked"]["transfer_error"] == error(unmasked, naive, rounded_fgsm)
    assert m.values["error"] != m.values["error_exact"]


def test_the_error_on_adversarial_training_examples_has_to_be_above_0_and_higher_than_of_the_larger(monkeypatch):
    use(monkeypatch, tiny_mnist())
    lab = GivenLab(dtype="float32")
    small, large, unmasked = (lab.given["maxout_network", *kind] for kind in (
        ("clean", "softmax"), ("adversarial", "softmax"), ("rubbish", "softmax"),
    ))  # fmt: skip
    for network in (small, large, unmasked):
        made_sure(network, 40.0)
    m = measure("adv-train-error", lab, small=small, large=large, unmasked=unmasked)
    x, y = lab.data.train
    for found, name, network in (
        (m.values, "240", small), (m.values, "larger", large), (m.variations["unmasked"], "240", unmasked),
    ):  # fmt: skip
        for end, of in (("", rounded_fgsm), ("_exact", section6.attack)):
            error = (network(of(network, x, y)).argmax(axis=1) != y).mean()
            assert found[f"training_error_{name}{end}"] == pytest.approx(error)
    assert m.values["units"] == 24


def test_that_error_has_to_be_higher_than_the_larger_network_s_by_more_than_the_intervals(lab, monkeypatch):
    monkeypatch.setattr(section6, "attack", lambda model, x, y: x)
    good, bad = lab.given[NAIVE], Told().given[NAIVE]
    made_sure(bad, -1.0)  # what it says least is what the other says most

    def holds(small, large):
        return measure("adv-train-error", lab, small=small, large=large, unmasked=small).holds

    assert holds(bad, good)
    assert not holds(good, bad)
    assert not holds(bad, bad)  # as many are not fewer


def test_the_larger_network_has_the_paper_s_units_where_the_profile_has_them():
    units = [recipes.larger(profile) for profile in PROFILES.values()]
    assert units == [480, 480, 1600]
    assert MEASURES["adv-train-error"].named(PROFILES["lesson"], 0)["large"].arguments["units"] == 480


def test_robustness_has_an_audit_of_both_networks_and_the_numbers_are_its(lab):
    m = measured("adv-robust-1600", lab)
    table = m.details["audit"]
    rows = {(network, attack): (n, error, low, high) for network, attack, n, error, low, high in table["rows"]}
    assert {network for network, _ in rows} == {"naive", "trained"}
    for name, key in (
        ("clean_error", "clean"), ("error", "fgsm"), ("noise_error", "noise"), ("pgd_error", "pgd-20"),
        ("transfer_error", "brought:naive"),
    ):  # fmt: skip
        n, error, low, high = rows["trained", key]
        assert (m.values[name], m.intervals[name]) == (error, (low, high))
        assert n == (20 if key.startswith("pgd") else 100)
    assert rows["naive", "fgsm"][1] == m.values["naive_error"]
    assert rows["trained", "zeros"][1] == m.values["zero_gradient_share"]
    assert table["violations"] == []


def test_fgsm_of_some_size_fools_whom_one_of_them_fools(lab, monkeypatch):
    """From .05 to .25, and nobody who is misclassified without a step, or by a longer one, alone."""
    m, model, (x, y) = measured("adv-robust-1600", lab), lab.given[TRAINED], lab.data.test
    x, y = x[: audit.FIRST], y[: audit.FIRST]
    wrong = [(model(section6.attack(model, x, y, eps)).argmax(axis=1) != y).mean() for eps in m.details["eps"]]
    assert m.details["curves"]["trained"] == wrong
    assert m.values["error_first"] == wrong[5] <= m.values["error_some_size"]
    one_by_one = np.eye(7, 20, dtype=bool)  # each size of 0, .05, ..., .3 fools another image
    one_by_one[2:5] = False
    monkeypatch.setattr(section6, "_fooled", lambda *network_x_y: one_by_one)
    m = measured("adv-robust-1600", lab)
    assert (m.values["error_some_size"], m.intervals["error_some_size"]) == (2 / 20, metrics.wilson(2, 20))


@pytest.mark.parametrize("steps", [20, 100])
def test_pgd_with_either_number_of_steps_has_to_find_as_much_as_fgsm(lab, monkeypatch, steps):
    assert measured("adv-robust-1600", lab).holds
    pgd = audit.pgd
    monkeypatch.setattr(
        audit, "pgd", lambda model, x, y, eps, n, rng: x if n == steps else pgd(model, x, y, eps, n, rng)
    )
    m = measured("adv-robust-1600", lab)
    assert not m.holds
    assert any(stronger == f"pgd-{steps}" for _, stronger, *_ in m.details["audit"]["violations"])


def test_variations_are_the_logs_at_a_quarter_half_and_end():
    log = log_of([0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1], [0.99] * 3 + [0.9, 0.8, 0.7, 0.6, 0.5], [0.3] * 8)
    found = section6._on_the_way("validation", Trained(None, log, 8))
    assert {key: tuple(values.values()) for key, values in found.items()} == {
        "validation": (0.5, 0.3, 0.1, 8),
        "validation-half": (0.9, 0.3, 0.5, 4),
        "validation-quarter": (0.99, 0.3, 0.7, 2),
    }
    lengths = [len(section6._on_the_way("validation", Trained(None, log, n))) for n in (1, 2, 3, 4)]
    assert lengths == [1, 2, 3, 3]
    assert section6._on_the_way("validation", Trained(None, log, 3))["validation"]["epochs"] == 3  # not what came after


def test_the_figure_shows_the_training_beside_the_paper_s_number(lab):
    lab.logs["adversarial"] = log_of([0.1] * 3, [0.9, 0.5, 0.3])
    _, training = drawn("adv-robust-1600", measured("adv-robust-1600", lab).details)
    masks, unmasked, paper = training.get_lines()
    for line in (masks, unmasked):
        assert (list(line.get_xdata()), list(line.get_ydata())) == ([1, 2, 3], pytest.approx([90, 50, 30]))
    assert set(paper.get_ydata()) == {17.9}


# ---------------------------------------------------------------------------------------------------------
# Early stopping


def stopping(lab, error, adversarial, each=1):
    """The measurement of a training with these errors, `each` of them in so many epochs."""
    error, adversarial = ([e for e in errors for _ in range(each)] for errors in (error, adversarial))
    lab.logs["adversarial"] = log_of(error, adversarial)
    return measured("adv-stopping", lab)


def test_the_adversarial_error_falls_where_the_error_is_flat(lab):
    m = stopping(lab, [0.5, 0.0109, 0.01, 0.0105, 0.012], [0.9, 0.4, 0.38, 0.3, 0.35], each=10)
    assert m.holds
    assert m.values == {
        "adversarial_fall": pytest.approx(0.1), "adversarial_median_fall": pytest.approx(0.1), "best_epoch_clean": 21,
        "best_epoch_adversarial": 31,
    }  # fmt: skip
    assert (m.details["flat_from"], m.details["clean_fall"]) == (11, pytest.approx(0.0009))
    assert m.details["epoch"] == [*range(1, 51)]


@pytest.mark.parametrize(
    ("error", "adversarial", "flat", "fall", "holds"),
    [
        ([0.02, 0.011, 0.010], [0.5, 0.31, 0.30], 21, 0.01, True),  # exactly .1 point, exactly one point
        ([0.02, 0.0111, 0.010], [0.5, 0.31, 0.30], 41, 0.0, False),  # flat too late
        ([0.02, 0.011, 0.010], [0.5, 0.31, 0.3001], 21, 0.0099, False),  # falls too little
        ([0.02, 0.011, 0.010], [0.2, 0.30, 0.31], 21, 0.0, False),  # rises: what it fell before does not count
    ],
)
def test_it_can_fail(lab, error, adversarial, flat, fall, holds):
    m = stopping(lab, error, adversarial, each=20)
    assert m.details["flat_from"] == flat
    assert m.values["adversarial_fall"] == pytest.approx(fall, abs=1e-12)
    assert m.values["adversarial_median_fall"] == pytest.approx(fall, abs=1e-12)
    assert m.holds is holds


def test_a_tenth_of_a_point_above_the_lowest_is_flat_whatever_rounding_does():
    """Of shares of 10,000 images, (k + 10) / 10,000 is often above k / 10,000 + 0.001 by a last digit."""
    for k in range(50, 300):
        log = [
            {"epoch": epoch, "error": n / 10_000, "adversarial_error": 0.5}
            for epoch, n in enumerate((k + 11, k + 10, k), 1)
        ]
        assert section6._falls(log)[1]["flat_from"] == 2


def test_going_up_and_down_is_no_fall(lab):
    """The lowest of many epochs is always well below the first; ten epochs have to be low, and there have to be ten."""
    m = stopping(lab, [0.01] * 100, [0.3, 0.28, 0.32, 0.29] * 25)
    assert m.values["adversarial_fall"] == pytest.approx(0.02)
    assert m.values["adversarial_median_fall"] == pytest.approx(0, abs=1e-12)
    assert m.holds is False
    m = stopping(lab, [0.01] * 19, [0.3 - 0.01 * i for i in range(19)])
    assert math.isnan(m.values["adversarial_median_fall"])
    assert m.holds is False


def test_the_figure_of_both_errors(lab):
    m = stopping(lab, [0.5, 0.011, 0.01, 0.0], [0.9, 0.4, 0.3, 0.35])
    (axes,) = drawn("adv-stopping", m.details)
    clean, ring, attacked, other_ring, line = axes.get_lines()
    for shown, label, key, colour in (
        (clean, "clean", "error", BLUE), (attacked, "under FGSM(0.25)", "adversarial_error", ORANGE),
    ):  # fmt: skip
        assert (shown.get_label(), shown.get_color(), list(shown.get_xdata())) == (label, colour, [1, 2, 3, 4])
        wanted = [100 * e if e else math.nan for e in m.details[key]]
        assert list(shown.get_ydata()) == pytest.approx(wanted, nan_ok=True)
    assert (list(other_ring.get_xdata()), list(other_ring.get_ydata())) == ([3], [30])
    assert list(ring.get_xdata()) == [4]
    assert (line.get_xdata()[0], line.get_color()) == (m.details["flat_from"], GREY)
    assert axes.get_yscale() == "log"
    assert axes.get_ylabel() == "error on the validation images, %"


# ---------------------------------------------------------------------------------------------------------
# Confidence


def test_the_confidence_after_each_epoch_up_to_the_one_that_early_stopping_chose(lab):
    lab.logs["adversarial"] = log_of([0.1] * 4, [0.9, 0.5, 0.3, 0.2], [math.nan, 0.3, 0.4, 0.6])
    lab.chosen = {"adversarial": 3}
    m = measured("adv-confidence", lab)
    assert m.details["epoch"] == [1, 2, 3]
    (axes,) = drawn("adv-confidence", {**m.details, section6.CONFIDENCE: [None, 0.3, 0.4]})
    confidence, error, paper = axes.get_lines()
    assert list(paper.get_ydata()) == pytest.approx([81.4, 81.4])
    assert list(confidence.get_ydata()) == pytest.approx([math.nan, 30, 40], nan_ok=True)
    assert list(error.get_ydata()) == pytest.approx([90, 50, 30])


# ---------------------------------------------------------------------------------------------------------
# Filters


def test_locality_is_that_of_the_filters_that_ever_win(lab):
    network, other = lab.given[NAIVE], lab.given[TRAINED]
    W, b = (p.data for p in parameters(network)[:2])
    b.reshape(2, 24)[1, :5] = -1e6  # dead: never the largest
    W[1, :5] = 0
    W[1, :5, 400] = 1  # and as local as can be
    wins = np.zeros((2, 24), bool)
    for x in lab.data.validation.x:
        h = np.stack([W[p] @ x for p in range(2)]) + b.reshape(2, 24)
        wins[h.argmax(axis=0), range(24)] = True
    assert not wins[1, :5].any()
    assert wins.sum() > 24
    local = [
        max((w[i : i + 9, j : j + 9] ** 2).sum() for i in range(20) for j in range(20)) / (w**2).sum()
        for w in (w.reshape(28, 28) for w in W[wins])
    ]
    m = measured("fig3-filters", lab)
    assert m.values["locality_naive"] == pytest.approx(np.mean(local))
    assert m.holds == (m.values["locality_trained"] > m.values["locality_naive"])
    assert m.values["filters_naive"] == wins.sum()
    assert m.values["pixels_used_naive"] == pytest.approx(metrics.pixels_used(W[wins]).mean())
    assert m.values["spread_naive"] == pytest.approx(metrics.spread(W[wins]).mean())
    swapped = measure("fig3-filters", lab, naive=other, trained=network, unmasked=other)
    assert swapped.values["locality_trained"] == m.values["locality_naive"]
    assert swapped.variations["unmasked"]["locality_trained"] == m.values["locality_trained"]
    assert swapped.holds != m.holds
    assert not measure("fig3-filters", lab, naive=other, trained=other, unmasked=network).holds


def test_the_filters_that_are_drawn(lab):
    m = measured("fig3-filters", lab, seed=5)
    panels = drawn("fig3-filters", m.details)
    units = generator(5, "figure 3").permutation(24)[:6]
    for axes, kind, name in zip(panels, (NAIVE, TRAINED), ("naive", "adversarially trained"), strict=True):
        assert axes.get_title() == name
        (shown,) = axes.get_images()
        picture, W = np.ma.filled(shown.get_array(), np.nan), parameters(lab.given[kind])[0].data
        assert shown.get_clim() == (-1, 1)
        assert picture.shape == (2 * 30, 6 * 30)
        for column, unit in enumerate(units):
            for piece in range(2):
                tile = picture[30 * piece : 30 * piece + 30, 30 * column : 30 * column + 30]
                w = W[piece, unit] / abs(W[piece, unit]).max()
                assert np.allclose(tile[1:-1, 1:-1].ravel(), w, atol=0.006)
                assert np.isnan(tile[0]).all()
    assert m.details["filters"] != measured("fig3-filters", lab, seed=6).details["filters"]
    assert all(abs(pixels(text)).max() <= 1.0001 for texts in m.details["filters"].values() for text in texts)


# ---------------------------------------------------------------------------------------------------------
# The protocol


def test_the_whole_protocol_on_a_tiny_world(tmp_path, monkeypatch):
    """The adversarial recipe of a profile with the protocol, against the same written out."""
    tiny = tiny_mnist(300, 150, 100)
    nowhere = Split(np.full_like(tiny.test.x, np.nan), tiny.test.y)
    use(monkeypatch, MNIST(tiny.train, tiny.validation, nowhere))  # whoever reads the test images gets no numbers
    profile = replace(TINY, epochs=dict.fromkeys(TINY.epochs, 9), units=8, protocol=True)
    recipe = MEASURES["adv-train-1600"].named(profile, 1)["unmasked"]
    assert (recipe.stop_on, recipe.patience, recipe.retrain) == ("adversarial_error", 100, True)
    recipe = replace(recipe, epochs=9, patience=2, batch=50, schedule={"learning_rate": 0.1})
    recipe.arguments["scale"] = 0.1
    lab = Lab(tmp_path)
    network, log = lab.network(recipe), lab.trained(recipe).log
    objective = partial(rounding.adversarial_objective, eps=EPS, attacked="inference", gradient="rounded")

    def trained(x, y, epochs, seed):
        model = build("maxout_network", recipe.arguments, generator(seed, "weights"))
        optimiser = SGD(parameters(model), Schedule(learning_rate=0.1), 1.9365)
        return model, partial(
            training.train, model, objective, x, y, epochs=epochs, seed=seed, optimiser=optimiser, batch=50
        )

    figures = []
    model, run = trained(*tiny.train, 9, seed=0)  # it chooses for every seed
    x, y = tiny.validation
    run(validate=lambda m: figures.append(validation(m, x, y)) or figures[-1])
    errors = [f["adversarial_error"] for f in figures]
    best = min(range(len(log)), key=lambda k: errors[k]) + 1
    assert [entry["adversarial_error"] for entry in log] == errors[: len(log)]
    assert lab.trained(recipe).epochs == best
    assert 1 < best == len(log) - 2 < 7  # patience ended it
    assert len(set(errors)) > 3
    model, run = trained(*MNIST(tiny.train, tiny.validation, nowhere).full_train, best, seed=1)
    run()
    for name, p in named_parameters(model).items():
        assert np.array_equal(p.data, named_parameters(network)[name].data), name
    use(monkeypatch, tiny)
    lab = Lab(tmp_path)
    m = measure("adv-train-1600", lab, trained=lab.trained(recipe), unmasked=lab.trained(recipe))
    assert m.values["epochs"] == m.variations["unmasked"]["epochs"] == best


def validation(model, x, y):
    attacked = metrics.in_batches(partial(laboratory.fgsm, model, eps=EPS), x, y)
    return {"adversarial_error": metrics.evaluate(model, attacked, y).error}


def test_longer_trained_networks_are_variations(lab):
    (x, y), others = lab.data.test, Told().given
    naive, trained, longer = lab.given[NAIVE], lab.given[TRAINED], others[("maxout_network", "rubbish", "softmax")]

    def error(model):
        return float((model(x).argmax(axis=1) != y).mean())

    lab.log = lambda network: LOG
    networks = {"naive": naive, "trained": trained, "unmasked": longer, "exact_attack": naive}
    m = measure("adv-train-240", lab, **networks, longer_naive=longer, longer_trained=naive, longer_unmasked=trained)
    assert m.values == {"naive_error": error(naive), "adversarially_trained_error": error(trained)}
    assert m.variations == {
        key: {"naive_error": error(before), "adversarially_trained_error": error(after), "epochs": 2}
        for key, before, after in (
            ("unmasked", naive, longer), ("exact-attack", naive, naive),
            ("longer", longer, naive), ("longer-unmasked", longer, trained),
        )
    }  # fmt: skip
