"""The appendix's claims against the same computed another way: sample by sample, by finite differences, by hand."""

import math
from functools import cache
from inspect import signature

import numpy as np
import pytest
from figures import lines
from tiny import TINY, GivenLab, given, measure, tiny_mnist, use

from tinyadv import metrics
from tinyadv.backend import generator
from tinyadv.layers import parameters
from tinyadv.losses import rubbish_objective
from tinyadv.models import maxout_network
from tinyadv.paper import recipes
from tinyadv.paper.claims import claims
from tinyadv.paper.draw import BLUE, ORANGE, drawings
from tinyadv.paper.measure import MEASURES, appendix
from tinyadv.paper.profiles import PROFILES
from tinyadv.paper.results import Result
from tinyadv.paper.results_file import from_json, to_json

MAXOUT = ("maxout_network", "clean", "softmax")


def world(patch, samples=200, moved=12):
    """Few samples, and a lab in float32, as rubbish is."""
    use(patch, tiny_mnist())
    patch.setattr(appendix, "SAMPLES", samples)
    patch.setattr(appendix, "MOVED", moved)
    patch.setattr(appendix, "STEPS", 4)
    return GivenLab(dtype="float32")


@cache
def undisturbed(claim):
    with pytest.MonkeyPatch.context() as patch:
        return MEASURES[claim](world(patch), TINY, 0)


def result(claim, *measurements):
    found = Result(claim, "tiny", "cpu", list(range(len(measurements))), list(measurements))
    return from_json(to_json(found))


def gaussian(stream, n, seed=0):
    return generator(seed, stream).standard_normal((n, 784), dtype="float32")


def probabilities(network, x):
    """p of every class in float64, one sample at a time, by the definition of its top."""
    rows = []
    for sample in x:
        z = network(sample[None].astype("float32"))[0].astype("float64")
        rows.append(1 / (1 + np.exp(-z)) if network.top == "sigmoid" else np.exp(z) / np.exp(z).sum())
    return np.array(rows)


# ---------------------------------------------------------------------------------------------------------
# How much rubbish is claimed


def test_sigmoids_claim_a_sample_once_however_many_exceed_one_half():
    m, p = (
        undisturbed("rubbish-maxout-sigmoid"),
        probabilities(given(("maxout_network", "clean", "sigmoid")), gaussian("rubbish", 200)),
    )
    claimed = p.max(axis=1) > 0.5
    assert (p > 0.5).sum() > claimed.sum() > 0  # several classes claim the same sample
    assert m.values["error"] == claimed.mean()
    assert m.values["confidence_on_mistakes"] == pytest.approx(p.max(axis=1)[claimed].mean(), abs=1e-6)
    assert m.details["by_class"] == [int((p.argmax(axis=1)[claimed] == k).sum()) for k in range(10)]


@pytest.mark.parametrize(
    "claim", ["rubbish-maxout-softmax", "rubbish-maxout-sigmoid", "rubbish-softmax", "rubbish-rbf"]
)
def test_outputs_of_another_size(claim):
    m = undisturbed(claim)
    recipe = MEASURES[claim].recipes(TINY, 0)[0]
    network = given((recipe.network, "clean", recipe.arguments.get("top")))
    z = network(gaussian("rubbish", 200)).astype("float64")
    assert list(m.variations) == [f"outputs:{scale:g}" for scale in appendix.SCALES]  # where nothing is varied
    for scale, (error, confidence) in zip(appendix.SCALES, map(dict.values, m.variations.values()), strict=True):
        s = scale * z
        p = 1 / (1 + np.exp(-s)) if network.top == "sigmoid" else np.exp(s)
        p = (p / p.sum(axis=1, keepdims=True) if network.top == "softmax" else p).max(axis=1)
        assert error == (p > 0.5).mean()
        assert confidence == pytest.approx(p[p > 0.5].mean() if error else math.nan, abs=1e-5, nan_ok=True)
    own = {name: m.values[name] for name in ("error", "confidence_on_mistakes")}
    assert m.variations["outputs:1"] == pytest.approx(own, abs=1e-6, nan_ok=True)


def test_a_class_of_probability_one_half_is_not_claimed():
    network = maxout_network(3, 2, 1, "sigmoid", 4, 3, rng=generator(0))
    for p in parameters(network):
        p.data[:] = 0.0
    assert {found["error"] for found in appendix._scaled(network, np.zeros((5, 3), "float32")).values()} == {0.0}


def test_a_longer_trained_network_is_a_variation(monkeypatch):
    use(monkeypatch, tiny_mnist())
    lab = GivenLab(dtype="float32")
    network, longer = (lab.given["maxout_network", kind, "softmax"] for kind in ("clean", "adversarial"))
    m = measure("rubbish-maxout-softmax", lab, naive=network, longer=longer)
    alone = measure("rubbish-maxout-softmax", lab, naive=longer)
    wanted = {name: alone.values[name] for name in ("error", "confidence_on_mistakes")}
    assert m.variations["longer"] == wanted | {"epochs": 2}
    assert wanted["error"] != m.values["error"]
    assert "longer" not in alone.variations


def test_independent_sigmoids_have_the_mean_as_j_and_the_sum_is_a_variation(monkeypatch):
    use(monkeypatch, tiny_mnist())
    for profile in PROFILES.values():
        named = MEASURES["rubbish-maxout-sigmoid"].named(profile, 0)
        summed = recipes.maxout(profile, 0, top="sigmoid")
        assert named["naive"] == recipes.sigmoid_mean(summed)
        assert named.get("summed") == (summed if profile.name == "lesson" else None)
    lab = GivenLab(dtype="float32")
    mean, summed = (lab.given["maxout_network", *kind] for kind in (("clean", "sigmoid"), ("rubbish", "sigmoid")))
    m = measure("rubbish-maxout-sigmoid", lab, naive=mean, summed=summed)
    other = measure("rubbish-maxout-sigmoid", lab, naive=summed)
    names = ("error", "confidence_on_mistakes", "clean_error")
    assert m.variations["sum"] == {name: other.values[name] for name in names}
    assert m.values != other.values


def test_skew_is_of_the_samples_of_the_other_claim():
    m, counts = undisturbed("rubbish-skew"), undisturbed("rubbish-maxout-softmax").details["by_class"]
    assert m.details["by_class"] == counts
    wrong = sum(counts)
    assert m.values == {
        "share_fives": counts[5] / wrong, "share_eights": counts[8] / wrong, "share_most_frequent": max(counts) / wrong
    }  # fmt: skip
    assert m.intervals["share_fives"] == metrics.wilson(counts[5], wrong)


def test_skew_is_by_the_class_s_number(monkeypatch):
    lab, counts = world(monkeypatch), (7, 1, 2, 3, 4, 5, 30, 6, 8, 9)
    found = metrics.RubbishEvaluation(100, sum(counts), 0.9, counts, {})
    monkeypatch.setattr(metrics, "evaluate_rubbish", lambda network, x: found)
    m = MEASURES["rubbish-skew"](lab, TINY, 0)
    assert m.values == {"share_fives": 5 / 75, "share_eights": 8 / 75, "share_most_frequent": 30 / 75}
    assert m.intervals["share_eights"] == metrics.wilson(8, 75)


def test_skew_of_nothing_is_not_a_number(monkeypatch):
    lab = world(monkeypatch)
    parameters(lab.given[MAXOUT])[-2].data[:] = 0.0  # a top that always says one tenth
    parameters(lab.given[MAXOUT])[-1].data[:] = 0.0
    m = MEASURES["rubbish-skew"](lab, TINY, 0)
    assert all(map(math.isnan, m.values.values()))
    assert m.intervals == {}


# ---------------------------------------------------------------------------------------------------------
# Training on rubbish


def small(top):
    network = maxout_network(4, 2, depth=1, top=top, inputs=6, classes=3, keep=(1.0, 1.0), scale=0.5, rng=generator(1))
    return network.to(dtype="float64")


@pytest.mark.parametrize(("top", "no_class"), [("softmax", 1 / 3), ("sigmoid", 0.0)])
def test_the_objective_is_the_mean_over_images_and_rubbish(top, no_class):
    network, x, y = small(top), generator(2).random((8, 6)), np.arange(8) % 3
    J, gradients = rubbish_objective(network, x, y, generator(3), per_image=0.5)
    rubbish = generator(3).standard_normal((4, 6), dtype="float32").astype("float64")

    def by_hand():
        z = network(np.concatenate([x, rubbish]))
        t = np.concatenate([np.eye(3)[y], np.full((4, 3), no_class)])
        if top == "softmax":
            return -(t * (z - np.log(np.exp(z).sum(axis=1, keepdims=True)))).sum() / 12
        return (np.log1p(np.exp(z)) - t * z).sum() / 12

    assert pytest.approx(by_hand()) == J
    for p, g in zip(parameters(network), gradients, strict=True):
        assert g.shape == p.shape
        for i in [*np.ndindex(*p.shape)][:: max(1, p.size // 5)]:
            value = p.data[i]
            p.data[i] = value + 1e-6
            above = by_hand()
            p.data[i] = value - 1e-6
            below = by_hand()
            p.data[i] = value
            assert g[i] == pytest.approx((above - below) / 2e-6, rel=1e-5, abs=1e-9)


def test_the_objective_draws_new_rubbish_at_every_step_and_keeps_the_dtype():
    network, x, y = small("softmax").to(dtype="float32"), generator(2).random((8, 6), dtype="float32"), np.arange(8) % 3
    rng = generator(3)
    (first, gradients), (second, _) = (rubbish_objective(network, x, y, rng) for _ in range(2))
    assert first != second
    assert {g.dtype.name for g in gradients} == {"float32"}


@pytest.mark.parametrize(("per_image", "samples"), [(0.1, 2), (0.04, 1), (0.16, 2)])
def test_the_number_of_samples_of_rubbish_is_rounded_to_the_nearest(per_image, samples):
    seen, network = [], small("softmax")
    network.layers.insert(0, lambda x: seen.append(len(x)) or x)
    rubbish_objective(network, np.zeros((15, 6)), np.arange(15) % 3, generator(3), per_image)
    assert seen == [15 + samples]


@pytest.mark.parametrize(
    ("per_image", "rng"), [(0.0, 1), (-1.0, 1), (0.01, 1), (math.nan, 1), (math.inf, 1), (1.0, None)]
)
def test_the_objective_refuses_what_gives_no_rubbish(per_image, rng):
    x, y = np.zeros((4, 6)), np.zeros(4, dtype=int)
    with pytest.raises(
        ValueError, match=r"a generator and at least one sample of rubbish are wanted; got .* image of 4"
    ):
        rubbish_objective(small("softmax"), x, y, generator(0) if rng else None, per_image)


def test_rubbish_training():
    m, lab = undisturbed("rubbish-training"), GivenLab(dtype="float32")
    kinds = [
        ("maxout_network", *kind) for kind in (("clean", "softmax"), ("rubbish", "softmax"), ("rubbish", "sigmoid"))
    ]
    with pytest.MonkeyPatch.context() as patch:
        x, y = world(patch).data.test
        new, start = gaussian("rubbish", 200), gaussian("rubbish to step from", 12)
        k = generator(0, "classes to step to").integers(0, 10, 12)
        rows, wrong = [], []
        for kind in kinds:
            network, at, fooled = lab.given[kind], start, []
            g = appendix.input_gradient(network, start, k)
            one = (probabilities(network, start - np.float32(0.25) * np.sign(g)).max(axis=1) > 0.5).mean()
            for _ in range(5):
                fooled.append((probabilities(network, at).max(axis=1) > 0.5).mean())
                g = np.concatenate([appendix.input_gradient(network, at[i : i + 1], k[i : i + 1]) for i in range(12)])
                at = at - np.float32(0.05) * np.sign(g)
            wrong.append(probabilities(network, x).argmax(axis=1) != y)
            rows.append([(probabilities(network, new).max(axis=1) > 0.5).mean(), wrong[-1].mean(), one, fooled[-1]])
            assert list(m.details["fooled"].values())[len(rows) - 1] == pytest.approx(fooled)
    names = ("error", "clean_error", "fooled_after_one_step", "fooled_after_steps")
    for key, row in zip(("without", "trained", "sigmoids"), rows, strict=True):
        assert m.variations[key] == pytest.approx(dict(zip(names, row, strict=True)))
        assert m.details["fooled"][key][-1] == pytest.approx(row[3])
    d = wrong[1].astype(float) - wrong[0]
    half = 1.959964 * d.std(ddof=1) / math.sqrt(len(d))
    assert m.values == pytest.approx({
        "clean_error_without": rows[0][1], "error": rows[1][0], "clean_error": rows[1][1],
        "fooled_after_one_step": rows[1][2], "fooled_after_steps": rows[1][3], "clean_cost": d.mean(),
    })  # fmt: skip
    assert m.intervals["clean_cost"] == pytest.approx((d.mean() - half, d.mean() + half))
    assert m.holds == (d.mean() <= half and rows[1][2] >= 0.5)


@pytest.mark.parametrize(
    ("cost", "fooled", "holds"),
    [
        ((0.0, -0.1, 0.1), 0.5, True),
        ((0.1, 0.0, 0.2), 0.5, True),  # it may be 0
        ((0.2, 0.1, 0.3), 0.5, False),
        ((0.0, -0.1, 0.1), 0.4, False),
    ],
)
def test_the_predicate_of_rubbish_training_can_fail(monkeypatch, cost, fooled, holds):
    lab = world(monkeypatch, moved=10)
    monkeypatch.setattr(appendix, "_difference", lambda a, b: cost)
    monkeypatch.setattr(appendix, "_iterated", lambda network, x, k: [1.0, 0.0])
    rubbish = metrics.RubbishEvaluation(10, round(10 * fooled), 0.9, (0,) * 10, {})
    monkeypatch.setattr(metrics, "evaluate_rubbish", lambda network, x: rubbish)
    m = MEASURES["rubbish-training"](lab, TINY, 0)
    assert m.holds is holds
    assert (m.values["clean_cost"], m.intervals["clean_cost"]) == (cost[0], cost[1:])


def test_the_networks_of_rubbish_training_differ_in_rubbish_alone():
    for profile in PROFILES.values():
        without, trained, sigmoids = MEASURES["rubbish-training"].recipes(profile, 3)
        assert (without.objective, trained.objective, sigmoids.objective) == ("clean", "rubbish", "rubbish")
        assert {r.epochs for r in (without, trained, sigmoids)} == {profile.epochs["controls"]}
        assert without.arguments == trained.arguments == {**sigmoids.arguments, "top": "softmax"}
        assert {r.seed for r in (without, trained, sigmoids)} == {3}
    assert recipes.maxout_rubbish(TINY, 0).title == "maxout network 240, rubbish, seed 0"
    names = signature(rubbish_objective).parameters
    assert recipes.maxout_rubbish(TINY, 0).options.keys() <= names.keys()


def test_networks_that_quick_does_not_train_are_left_out_of_it():
    assert {name: MEASURES[name].quick for name in MEASURES if claims()[name].section == "A"} == {
        "rubbish-maxout-softmax": True, "rubbish-maxout-sigmoid": False, "rubbish-softmax": True, "rubbish-rbf": True,
        "rubbish-skew": True, "rubbish-training": False, "rubbish-conv": True, "rubbish-skew-conv": True,
        "fooling-step": True, "fig5-fooling": True,
    }  # fmt: skip


# ---------------------------------------------------------------------------------------------------------
# The figures' data


def drawn(claim):
    from matplotlib.figure import Figure as Canvas

    details = result(claim, undisturbed(claim)).measurements[0].details
    drawings()[claim].draw(canvas := Canvas(), details)
    return canvas, details


def test_the_figure_of_the_skew():
    canvas, details = drawn("rubbish-skew")
    (axes,) = canvas.axes
    total = sum(details["by_class"])
    assert [bar.get_height() for bar in axes.patches] == pytest.approx([100 * c / total for c in details["by_class"]])
    x, y, colour = lines(axes)["the paper's network"]
    assert (x, y, colour) == ([5, 8], pytest.approx([45.3, 0.0]), ORANGE)
    assert lines(axes)["all classes alike"][1] == [10, 10]


def test_the_figure_of_rubbish_training():
    canvas, details = drawn("rubbish-training")
    shown = lines(canvas.axes[0])
    labels = {
        "without": "without rubbish training",
        "trained": "uniform under a softmax",
        "sigmoids": "none under sigmoids",
    }
    assert list(shown) == list(labels.values())
    for name, label in labels.items():
        x, y, _ = shown[label]
        assert (x, y) == (list(range(5)), pytest.approx([100 * s for s in details["fooled"][name]]))
    assert shown["uniform under a softmax"][2] == BLUE
