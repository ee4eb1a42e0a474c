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
from tiny import LOG, TINY, GivenLab, made_sure, measure, rounded_fgsm, tiny_mnist, use

from tinyadv import losses, metrics, training
from tinyadv.backend import generator
from tinyadv.datasets import MNIST, Split
from tinyadv.layers import named_parameters, parameters
from tinyadv.models import build
from tinyadv.optim import SGD, Schedule
from tinyadv.paper import audit, recipes
from tinyadv.paper import lab as laboratory
from tinyadv.paper.draw import BLUE, GREY, ORANGE, STYLE, drawings, pixels
from tinyadv.paper.lab import Lab, Trained
from tinyadv.paper.measure import MEASURES, section6
from tinyadv.paper.profiles import PROFILES
from tinyadv.paper.results import Result, check

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
        drawings()[claim].draw(canvas, json.loads(json.dumps(details)))
    return canvas.axes


def test_the_quick_profile_trains_nothing_for_them_that_others_do_not_need():
    quick = PROFILES["quick"]
    needed = {recipe.hash for claim in OURS for recipe in MEASURES[claim].recipes(quick, 0)}
    assert needed == {recipes.maxout(quick, 0, adversarial=a).hash for a in (False, True)}
    assert measure_units("paper") == {240, 1600}


def measure_units(profile):
    of = (MEASURES[claim].recipes(PROFILES[profile], 0) for claim in OURS)
    return {recipe.arguments["units"] for some in of for recipe in some}


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
    report, m = trained.report(of_trained, y), measured("adv-confidence", lab)
    assert m.values == {name: pytest.approx(report[name]) for name in m.values}
    assert m.details["adversarial_error"] == [0.0, 0.5]


def test_transfer_by_the_rounded_gradient_and_from_a_longer_trained_network(monkeypatch):
    use(monkeypatch, tiny_mnist())
    lab = GivenLab(dtype="float32")
    naive, trained, others = lab.given[NAIVE], lab.given[TRAINED], GivenLab(dtype="float32").given
    longer, second = others[NAIVE], others[("maxout_network", "rubbish", "softmax")]  # another one
    made_sure(longer, 40.0)
    m = measure("adv-transfer", lab, naive=naive, trained=trained, longer_naive=longer, longer_trained=second)
    x, y = lab.data.test
    assert (section6.attack(longer, x, y) != rounded_fgsm(longer, x, y)).any(axis=1).sum() > 3
    for found, (a, b), of in (
        (m.values, (naive, trained), section6.attack),
        (m.variations["rounded"], (naive, trained), rounded_fgsm),
        (m.variations["longer"], (longer, second), section6.attack),
        (m.variations["longer-rounded"], (longer, second), rounded_fgsm),
    ):
        for name, made_on, to in (("naive_to_trained", a, b), ("trained_to_naive", b, a)):
            error = (to(of(made_on, x, y)).argmax(axis=1) != y).mean()
            assert found[f"error_{name}"] == pytest.approx(error)
    assert list(m.variations) == ["rounded", "longer", "longer-rounded"]
    assert m.variations["longer"]["epochs"] == m.variations["longer-rounded"]["epochs"] == 2


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
    masked = Trained(None, log_of([0.25, 0.15], [0.95, 0.65], [math.nan, 0.45]), 2)
    found = section6._while_training(Trained(None, log, 8), masked)
    assert {key: tuple(values.values()) for key, values in found.items()} == {
        "validation": (0.5, 0.3, 0.1, 8),
        "validation-half": (0.9, 0.3, 0.5, 4),
        "validation-quarter": (0.99, 0.3, 0.7, 2),
        "validation-masked": (0.65, 0.45, 0.15, 2),
    }
    lengths = [len(section6._while_training(Trained(None, log, n), None)) for n in (1, 2, 3, 4)]
    assert lengths == [1, 2, 3, 3]
    assert section6._while_training(Trained(None, log, 3), None)["validation"]["epochs"] == 3  # not what came after


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
# Confidence


def test_the_confidence_after_each_epoch_up_to_the_one_that_early_stopping_chose(lab):
    lab.logs["adversarial"] = log_of([0.1] * 4, [0.9, 0.5, 0.3, 0.2], [math.nan, 0.3, 0.4, 0.6])
    lab.chosen = {"adversarial": 3}
    m = measured("adv-confidence", lab)
    assert m.details["epoch"] == [1, 2, 3]
    (axes,) = drawn("adv-confidence", {**m.details, section6.CONFIDENCE: [None, 0.3, 0.4]})
    confidence, error = axes.get_lines()
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
    swapped = measure("fig3-filters", lab, naive=other, trained=network)
    assert swapped.values["locality_trained"] == m.values["locality_naive"]
    assert swapped.holds != m.holds
    assert not measure("fig3-filters", lab, naive=other, trained=other).holds


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
    (recipe,) = MEASURES["adv-train-1600"].recipes(profile, 1)
    assert (recipe.stop_on, recipe.patience, recipe.retrain) == ("adversarial_error", 100, True)
    recipe = replace(recipe, patience=2, batch=50, schedule={"learning_rate": 0.5})
    recipe.arguments["scale"] = 0.1
    lab = Lab(tmp_path)
    network, log = lab.network(recipe), lab.trained(recipe).log
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
    assert lab.trained(recipe).epochs == best
    assert 1 < best == len(log) - 2 < 7  # patience ended it
    assert len(set(errors)) > 3
    model, run = trained(*MNIST(tiny.train, tiny.validation, nowhere).full_train, best)
    run()
    for name, p in named_parameters(model).items():
        assert np.array_equal(p.data, named_parameters(network)[name].data), name
    use(monkeypatch, tiny)
    lab = Lab(tmp_path)
    assert measure("adv-train-1600", lab, trained=lab.trained(recipe)).values["epochs"] == best


def validation(model, x, y):
    attacked = metrics.in_batches(partial(laboratory.fgsm, model, eps=EPS), x, y)
    return {"adversarial_error": metrics.evaluate(model, attacked, y).error}


def test_longer_trained_networks_are_variations(lab):
    (x, y), others = lab.data.test, Told().given
    naive, trained, longer = lab.given[NAIVE], lab.given[TRAINED], others[("maxout_network", "rubbish", "softmax")]

    def error(model):
        return float((model(x).argmax(axis=1) != y).mean())

    lab.log = lambda network: LOG
    m = measure("adv-train-240", lab, naive=naive, trained=trained, longer_naive=longer, longer_trained=naive)
    assert m.values == {"naive_error": error(naive), "adversarially_trained_error": error(trained)}
    assert m.variations == {
        "longer": {"naive_error": error(longer), "adversarially_trained_error": error(naive), "epochs": 2}
    }
    m = measure("adv-confidence", lab, trained=trained, longer_trained=longer)
    report = ByHand(longer).report([ByHand(longer).fgsm(p, label) for p, label in zip(x, y, strict=True)], y)
    confidence = pytest.approx(report["confidence_on_mistakes"])
    assert m.variations == {"longer": {"confidence_on_mistakes": confidence, "error": report["error"], "epochs": 2}}
