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
from tiny import LOG, TINY, GivenLab, made_sure, rounded_fgsm, tiny_mnist, use

from tinyadv import losses, metrics, training
from tinyadv.backend import generator
from tinyadv.datasets import MNIST, Split
from tinyadv.layers import named_parameters, parameters
from tinyadv.models import build
from tinyadv.optim import SGD, Schedule
from tinyadv.paper import audit, recipes, section6
from tinyadv.paper import lab as laboratory
from tinyadv.paper.figures import BLUE, FIGURES, GREY, ORANGE, STYLE, pixels
from tinyadv.paper.lab import Lab
from tinyadv.paper.measuring import EXPLANATIONS, MEASURES, reason
from tinyadv.paper.recipes import PROFILES
from tinyadv.paper.registry import claims
from tinyadv.paper.results import Result, check
from tinyadv.paper.variations import ROUNDED

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


def measured(claim, lab, profile=TINY, seed=0):
    return MEASURES[claim](lab, profile, seed)


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
        FIGURES[claim].draw(canvas, json.loads(json.dumps(details)))
    return canvas.axes


def test_all_rows_are_measured_explained_and_in_the_quick_profile(lab):
    for claim in OURS:
        measure = MEASURES[claim]
        assert measure.quick, claim
        assert claim in EXPLANATIONS, claim
        m = measured(claim, lab)
        assert m.values.keys() == {q.name for q in claims()[claim].quantities}, claim
        if claim == "adv-stopping" and m.holds:
            continue  # its reason is that of the seed for which it does not hold
        text = EXPLANATIONS[claim](result_of(claim, m, m))
        assert text == "" or text.endswith("."), claim
        assert "nan" not in text, claim


def test_the_quick_profile_trains_nothing_for_them_that_others_do_not_need():
    quick = PROFILES["quick"]
    needed = {recipe.hash for claim in OURS for recipe in MEASURES[claim].recipes(quick, 0)}
    assert needed == {recipes.maxout(quick, 0, adversarial=a).hash for a in (False, True)}
    assert measure_units("paper") == {240, 1600}


def measure_units(profile):
    of = (MEASURES[claim].recipes(PROFILES[profile], 0) for claim in OURS)
    return {recipe.arguments["units"] for some in of for recipe in some}


def test_the_scale_names_smaller_networks_but_not_the_one_with_240_units_that_is_there_for_comparison():
    measure = MEASURES["maxout-1600-naive"]
    assert measure.scale(PROFILES["quick"]).startswith("240 units where the paper has 1600; naive training for ")
    assert measure.scale(PROFILES["paper"]) == ""


# ---------------------------------------------------------------------------------------------------------
# Numbers


def test_clean_errors(lab):
    (x, y), naive, trained = lab.data.test, ByHand(lab.given[NAIVE]), ByHand(lab.given[TRAINED])
    m = measured("maxout-1600-naive", lab)
    assert m.values == {"clean_error": naive.report(x, y)["error"], "clean_error_240": naive.report(x, y)["error"]}
    large, small = (lab.given[kind] for kind in (TRAINED, NAIVE))
    m = MEASURES["maxout-1600-naive"].function(lab, 0, large, small)
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
    assert m.details["own"] == {
        "naive": naive.report(of_naive, y)["error"],
        "adversarially trained": trained.report(of_trained, y)["error"],
    }
    report, m = trained.report(of_trained, y), measured("adv-confidence", lab)
    assert m.values == {name: pytest.approx(report[name]) for name in m.values}
    assert m.details["adversarial_error"] == [0.0, 0.5]


def test_transfer_by_the_rounded_gradient_and_from_a_longer_trained_network(monkeypatch):
    use(monkeypatch, tiny_mnist())
    lab = GivenLab(dtype="float32")
    naive, trained, others = lab.given[NAIVE], lab.given[TRAINED], GivenLab(dtype="float32").given
    longer, second = others[NAIVE], others[("maxout_network", "rubbish", "softmax")]  # another one
    made_sure(longer, 40.0)
    m = MEASURES["adv-transfer"].function(lab, 0, naive, trained, longer, second)
    x, y = lab.data.test
    assert (section6.attack(longer, x, y) != rounded_fgsm(longer, x, y)).any(axis=1).sum() > 3
    wanted = []
    for end, (a, b) in (("", (naive, trained)), (", both trained for 2 epochs", (longer, second))):
        for name, of in (("as defined", section6.attack), (ROUNDED, rounded_fgsm)):
            shown = ((b, of(a, x, y)), (a, of(b, x, y)))
            wanted.append([name + end, *(pytest.approx((n(made).argmax(axis=1) != y).mean()) for n, made in shown)])
    assert m.details["variations"]["rows"] == wanted
    assert wanted[0][1:] == [m.values["error_naive_to_trained"], m.values["error_trained_to_naive"]]
    why = EXPLANATIONS["adv-transfer"](result_of("adv-transfer", m))
    assert "Of 3 variations of what the paper leaves open" in why


def test_robustness_has_an_audit_of_both_networks_and_the_numbers_are_its(lab):
    m = measured("adv-robust-1600", lab)
    table = m.details["audit"]
    rows = {(network, attack): (n, error, low, high) for network, attack, n, error, low, high in table["rows"]}
    assert {network for network, _ in rows} == {"naive", "adversarially trained"}
    for name, key in (
        ("clean_error", "none"), ("error", "FGSM"), ("noise_error", "random signs"), ("pgd_error", "PGD, 20 steps"),
        ("transfer_error", "FGSM examples of naive"),
    ):  # fmt: skip
        n, error, low, high = rows["adversarially trained", key]
        assert (m.values[name], m.intervals[name]) == (error, (low, high))
        assert n == (20 if key.startswith("PGD") else 100)
    assert rows["naive", "FGSM"][1] == m.values["naive_error"]
    assert rows["adversarially trained", "(input gradients exactly 0)"][1] == m.values["zero_gradient_share"]
    assert table["violations"] == []


def test_fgsm_of_some_size_fools_whom_one_of_them_fools(lab, monkeypatch):
    """From .05 to .25, and nobody who is misclassified without a step, or by a longer one, alone."""
    m, model, (x, y) = measured("adv-robust-1600", lab), lab.given[TRAINED], lab.data.test
    x, y = x[: audit.FIRST], y[: audit.FIRST]
    wrong = [(model(section6.attack(model, x, y, eps)).argmax(axis=1) != y).mean() for eps in m.details["eps"]]
    assert m.details["adversarial"] == wrong
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
    assert any(f"PGD, {steps} steps only" in text for text in m.details["audit"]["violations"])


def test_only_a_profile_with_variations_trains_under_masks():
    for profile in PROFILES.values():
        for seed in (0, 3):
            found = MEASURES["adv-robust-1600"].recipes(profile, seed)
            published, *masked = [r for r in found if r.objective == "adversarial"]
            assert len(masked) == (profile.name == "lesson" and seed == 0)  # one network of other choices is enough
            for recipe in masked:
                assert recipe.options == {"eps": 0.25, "alpha": 0.5, "attacked": "training"}
                assert replace(recipe, options=published.options) == published


def test_variations_are_the_logs_at_a_quarter_half_and_end_and_under_masks():
    log = log_of([0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1], [0.99] * 3 + [0.9, 0.8, 0.7, 0.6, 0.5], [0.3] * 8)
    table = section6._silent_choices(log, log_of([0.25, 0.15], [0.95, 0.65], [math.nan, 0.45]))
    assert table["rows"] == [
        ["attack on the network without dropout, 8 epochs", 0.5, 0.3, 0.1],
        ["the same, 4 epochs", 0.9, 0.3, 0.5],
        ["the same, 2 epochs", 0.99, 0.3, 0.7],
        ["attack under this batch's masks, 2 epochs", 0.65, 0.45, 0.15],
    ]
    assert len(table["columns"]) == len(table["formats"]) == 4
    assert [len(section6._silent_choices(log[:n])["rows"]) for n in (1, 2, 3, 4)] == [1, 2, 3, 3]


# ---------------------------------------------------------------------------------------------------------
# Early stopping


def stopping(lab, error, adversarial):
    lab.logs["adversarial"] = log_of(error, adversarial)
    return measured("adv-stopping", lab)


def test_the_adversarial_error_falls_where_the_error_is_flat(lab):
    m = stopping(lab, [0.5, 0.0109, 0.01, 0.0105, 0.012], [0.9, 0.4, 0.38, 0.3, 0.35])
    assert m.holds
    assert m.values == {
        "adversarial_fall": pytest.approx(0.1), "best_epoch_clean": 3, "best_epoch_adversarial": 4,
    }  # fmt: skip
    assert (m.details["flat_from"], m.details["clean_fall"]) == (2, pytest.approx(0.0009))
    assert m.details["epoch"] == [1, 2, 3, 4, 5]


@pytest.mark.parametrize(
    ("error", "adversarial", "flat", "fall", "holds"),
    [
        ([0.02, 0.011, 0.010], [0.5, 0.31, 0.30], 2, 0.01, True),  # exactly .1 point, exactly one point
        ([0.02, 0.0111, 0.010], [0.5, 0.31, 0.30], 3, 0.0, False),  # flat too late
        ([0.02, 0.011, 0.010], [0.5, 0.31, 0.3001], 2, 0.0099, False),  # falls too little
        ([0.02, 0.011, 0.010], [0.2, 0.30, 0.31], 2, 0.0, False),  # rises: what it fell before does not count
    ],
)
def test_it_can_fail(lab, error, adversarial, flat, fall, holds):
    m = stopping(lab, error, adversarial)
    assert m.details["flat_from"] == flat
    assert m.values["adversarial_fall"] == pytest.approx(fall, abs=1e-12)
    assert m.holds is holds


def test_why_early_stopping_showed_nothing(lab):
    late = stopping(lab, [0.03, 0.02, 0.01], [0.5, 0.4, 0.3])
    assert "After 3 epochs the training has no flat stretch yet" in EXPLANATIONS["adv-stopping"](
        result_of("adv-stopping", late)
    )
    little = stopping(lab, [0.03, 0.011, 0.01], [0.5, 0.305, 0.3])
    held = stopping(lab, [0.03, 0.011, 0.01], [0.5, 0.4, 0.3])
    assert reason(result_of("adv-stopping", held, little)) == (
        "With seed 1: The flat stretch begins at epoch 2 of 3; from there the adversarial validation error falls by "
        "0.50 points, and the validation error can fall by 0.10."
    )
    assert reason(result_of("adv-stopping", held)) == ""
    said = reason(result_of("adv-stopping", late, held, little))
    assert said.startswith("With seeds 0, 2: After 3 epochs the training has no flat stretch yet")
    assert said.endswith("The flat stretch begins at epoch 2 of 3; from there the adversarial validation error falls "
                         "by 0.50 points, and the validation error can fall by 0.10.")  # fmt: skip


def test_the_figure_of_both_errors(lab):
    m = stopping(lab, [0.5, 0.011, 0.01, 0.0], [0.9, 0.4, 0.3, 0.35])
    (axes,) = drawn("adv-stopping", m.details)
    clean, ring, attacked, other_ring, line = axes.get_lines()
    for shown, label, key, colour in (
        (clean, "clean", "error", BLUE), (attacked, "under FGSM(.25)", "adversarial_error", ORANGE),
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
# Reasons: made of the logs


def test_a_training_that_was_not_finished_is_told_from_one_that_was(lab):
    lab.logs["clean"] = log_of([0.2, 0.1, 0.05, 0.04])
    lab.logs["adversarial"] = log_of([0.2, 0.015, 0.05, 0.04])
    m = measured("adv-train-240", lab)
    assert EXPLANATIONS["adv-train-240"](result_of("adv-train-240", m)) == (
        "On the validation images the naive network's error was still falling when training ended, from 10.0 % after 2 "
        "epochs to 4.00 % after 4, and that of the adversarially trained one was lowest, 1.50 %, after 2 of 4 epochs, "
        "so that longer training alone promises nothing: naive training gained more in its second half."
    )


def test_after_early_stopping_nothing_is_said_of_the_epochs_that_it_threw_away(lab):
    """The networks are those of the epochs chosen, though both logs go on, one of them downwards."""
    lab.logs["clean"] = log_of([0.2, 0.1, 0.05, 0.06])
    lab.logs["adversarial"] = log_of([0.2, 0.15, 0.05, 0.04], [0.9, 0.2, 0.3, 0.4], [0.5, 0.6, 0.7, 0.8])
    lab.chosen = {"clean": 3, "adversarial": 2}
    m = measured("adv-train-240", lab)
    assert EXPLANATIONS["adv-train-240"](result_of("adv-train-240", m)) == (
        "On the validation images the naive network's error was lowest, 5.00 %, after 3 of 4 epochs, which early "
        "stopping chose, and that of the adversarially trained one was lowest, 4.00 %, after 4 of 4 epochs (15.0 % "
        "after the 2 that early stopping chose)."
    )
    robust = measured("adv-robust-1600", lab).details["variations"]["rows"]
    assert [row[0] for row in robust] == ["attack on the network without dropout, 2 epochs", "the same, 1 epochs"]
    assert [row[1] for row in robust] == [0.2, 0.9]
    confidence = measured("adv-confidence", lab)
    assert confidence.details["epoch"] == [1, 2]
    assert EXPLANATIONS["adv-confidence"](result_of("adv-confidence", confidence)).startswith(
        "On the validation images the confidence on mistakes still rose towards the end of training, 50.0 % after 1 "
        "epochs and 60.0 % after 2, where the FGSM error is 20.0 %."
    )


def test_the_reason_is_of_all_seeds(lab):
    texts = []
    for errors in ([0.8, 0.6, 0.4, 0.2], [0.6, 0.4, 0.3, 0.1]):
        lab.logs["clean"] = log_of(errors)
        texts.append(measured("maxout-1600-naive", lab))
    assert EXPLANATIONS["maxout-1600-naive"](result_of("maxout-1600-naive", *texts)) == (
        "The error on the validation images was still falling when training ended, from 50.0 % after 2 epochs to "
        "15.0 % after 4."
    )


@pytest.mark.parametrize(
    ("under_masks", "said"),
    [(0.9, "is 90.0 %: the masks move it most."), (0.3, "is 30.0 %: the length of training moves it most.")],
)
def test_which_silent_choice_moves_robustness(lab, under_masks, said):
    lab.logs["adversarial"] = log_of([0.1] * 4, [0.9, 0.5, 0.3, 0.2])
    m = measured("adv-robust-1600", lab)
    assert EXPLANATIONS["adv-robust-1600"](result_of("adv-robust-1600", m)) == (
        "On the validation images the FGSM error was still falling when training ended, from 50.0 % after 2 epochs to "
        "20.0 % after 4."
    )
    assert math.isnan(m.details["below_paper"])
    m.details["variations"] = section6._silent_choices(lab.logs["adversarial"], log_of([0.1] * 4, [under_masks] * 4))
    assert EXPLANATIONS["adv-robust-1600"](result_of("adv-robust-1600", m)).endswith(said)


def test_when_robustness_passes_the_paper(lab):
    """Of the epochs that made the network: those that early stopping threw away may go lower, and say nothing."""
    texts = []
    for errors in ([0.5, 0.17, 0.3, 0.1], [0.5, 0.4, 0.3, 0.178]):
        lab.logs["adversarial"] = log_of([0.1] * 4, errors)
        texts.append(measured("adv-robust-1600", lab))
    assert EXPLANATIONS["adv-robust-1600"](result_of("adv-robust-1600", *texts)) == (
        "On the validation images the FGSM error was still falling when training ended, from 28.5 % after 2 epochs to "
        "13.9 % after 4; it was first below the paper's 17.9 % after 3 epochs."
    )
    lab.chosen["adversarial"] = 3
    assert math.isnan(measured("adv-robust-1600", lab).details["below_paper"])


def test_why_confidence_differs(lab):
    lab.logs["adversarial"] = log_of([0.1] * 4, [0.9, 0.5, 0.3, 0.2], [math.nan, 0.3, 0.4, 0.6])
    m = measured("adv-confidence", lab)
    assert EXPLANATIONS["adv-confidence"](result_of("adv-confidence", m)) == (
        "On the validation images the confidence on mistakes still rose towards the end of training, 30.0 % after 2 "
        "epochs and 60.0 % after 4, where the FGSM error is 20.0 %."
    )
    (axes,) = drawn("adv-confidence", {**m.details, section6.CONFIDENCE: [None, 0.3, 0.4, 0.6]})
    confidence, error = axes.get_lines()
    assert list(confidence.get_ydata()) == pytest.approx([math.nan, 30, 40, 60], nan_ok=True)
    assert list(error.get_ydata()) == pytest.approx([90, 50, 30, 20])
    lab.logs["adversarial"] = log_of([0.1] * 2, [0.9, 0.5], [math.nan, 0.3])
    assert EXPLANATIONS["adv-confidence"](result_of("adv-confidence", measured("adv-confidence", lab))) == ""


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
    rows = {name: values for name, *values in m.details["variations"]["rows"]}
    assert rows["filters that are not dead"][0] == wins.sum()
    assert rows["best 9 × 9 window, % of the squared weights"] == [
        pytest.approx(100 * m.values[name]) for name in ("locality_naive", "locality_trained")
    ]
    swapped = MEASURES["fig3-filters"].function(lab, 0, other, network)
    assert swapped.values["locality_trained"] == m.values["locality_naive"]
    assert swapped.holds != m.holds
    assert not MEASURES["fig3-filters"].function(lab, 0, other, other).holds


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


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([[0, 4, 3], [0, 100, 90], [0, 7, 6]], "say that the filters are more local."),
        ([[0, 4, 3], [0, 100, 90], [0, 7, 8]], "contradict each other."),
        ([[0, 4, 3], [0, 100, 110], [0, 7, 8]], "agree with that."),
    ],
)
def test_other_readings_of_locality(lab, rows, said):
    m = measured("fig3-filters", lab)
    m.details["variations"]["rows"] = rows
    assert EXPLANATIONS["fig3-filters"](result_of("fig3-filters", m)).endswith(said)


# ---------------------------------------------------------------------------------------------------------
# The protocol


def test_the_whole_protocol_on_a_tiny_world(tmp_path, monkeypatch):
    """The adversarial recipe of a profile with the protocol, against the same written out."""
    tiny = tiny_mnist(300, 150, 100)
    nowhere = Split(np.full_like(tiny.test.x, np.nan), tiny.test.y)
    use(monkeypatch, MNIST(tiny.train, tiny.validation, nowhere))  # whoever reads the test images gets no numbers
    profile = replace(TINY, epochs=dict.fromkeys(TINY.epochs, 9), units=8, protocol=True)
    (recipe,) = MEASURES["adv-train-1600"].recipes(profile, 1)
    assert (recipe.stop_on, recipe.patience, recipe.retrain) == ("adversarial_error", 100, True)
    recipe = replace(recipe, patience=2, batch=50, schedule={"learning_rate": 0.5})
    recipe.arguments["scale"] = 0.1
    lab = Lab(tmp_path)
    network = lab.network(recipe)
    log = lab.log(network)
    objective = partial(losses.adversarial_objective, eps=EPS, alpha=0.5, attacked="inference")

    def trained(x, y, epochs):
        model = build("maxout_network", recipe.arguments, generator(1, "weights"))
        optimiser = SGD(parameters(model), Schedule(learning_rate=0.5), 1.9365)
        return model, partial(
            training.train, model, objective, x, y, epochs=epochs, seed=1, optimiser=optimiser, batch=50
        )

    figures = []
    model, run = trained(*tiny.train, 9)
    x, y = tiny.validation
    run(validate=lambda m: figures.append(validation(m, x, y)) or figures[-1])
    errors = [f["adversarial_error"] for f in figures]
    best = min(range(len(log)), key=lambda k: errors[k]) + 1
    assert [entry["adversarial_error"] for entry in log] == errors[: len(log)]
    assert lab.epochs(network) == best
    assert 1 < best == len(log) - 2 < 7  # patience ended it
    assert len(set(errors)) > 3
    model, run = trained(*MNIST(tiny.train, tiny.validation, nowhere).full_train, best)
    run()
    for name, p in named_parameters(model).items():
        assert np.array_equal(p.data, named_parameters(network)[name].data), name
    use(monkeypatch, tiny)
    assert MEASURES["adv-train-1600"].function(lab_of(tmp_path, recipe), 0, network).values["epochs"] == best


def lab_of(folder, recipe):
    """A lab that has read the trained network of a recipe, and takes any network for it."""
    lab = Lab(folder)
    log, epochs = lab.log(lab.network(recipe)), lab.epochs(lab.network(recipe))
    lab.log, lab.epochs = lambda network: log, lambda network: epochs
    return lab


def validation(model, x, y):
    attacked = metrics.in_batches(partial(laboratory.fgsm, model, eps=EPS), x, y)
    return {"adversarial_error": metrics.evaluate(model, attacked, y).error}


@pytest.mark.parametrize(
    ("errors", "falling"),
    [
        ([0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2], True),
        ([0.9, 0.1, 0.5, 0.5, 0.4, 0.4, 0.3, 0.2], False),  # lower than half way, but it was lower before
        ([0.9, 0.8, 0.7, 0.2, 0.5, 0.4, 0.1, 0.3], False),  # lowest late, but higher again at the end than half way
    ],
)
def test_when_a_training_counts_as_unfinished(errors, falling):
    lab = Told({"clean": log_of(errors)})
    assert section6._unfinished(section6._course(lab, lab.given[NAIVE], "error")) == falling
    lab.chosen["clean"] = len(errors) - 1
    assert not section6._unfinished(section6._course(lab, lab.given[NAIVE], "error"))


def test_longer_trained_networks_stand_below_and_in_the_reasons(lab):
    (x, y), others = lab.data.test, Told().given
    naive, trained, longer = lab.given[NAIVE], lab.given[TRAINED], others[("maxout_network", "rubbish", "softmax")]

    def errors(*models):
        return [float((model(x).argmax(axis=1) != y).mean()) for model in models]

    lab.log = lambda network: LOG
    m = MEASURES["adv-train-240"].function(lab, 0, naive, trained, longer, naive)
    rows = [["as defined", *errors(naive, trained)], ["both trained for 2 epochs", *errors(longer, naive)]]
    assert m.details["variations"]["rows"] == rows
    assert "The one variation of what the paper leaves open" in EXPLANATIONS["adv-train-240"](
        result_of("adv-train-240", m)
    )
    lab.log = lambda network: log_of([0.2, 0.1])
    m = MEASURES["adv-confidence"].function(lab, 0, trained, longer)
    report = ByHand(longer).report([ByHand(longer).fgsm(p, label) for p, label in zip(x, y, strict=True)], y)
    row = ["trained for 2 epochs", pytest.approx(report["confidence_on_mistakes"]), report["error"]]
    assert m.details["variations"]["rows"][1:] == [row]
    assert "The one variation of what the paper leaves open" in EXPLANATIONS["adv-confidence"](
        result_of("adv-confidence", m)
    )
