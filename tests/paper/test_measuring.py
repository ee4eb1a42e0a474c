"""What every measurement shares: which networks it gets, what of it is reported, how an attack is evaluated."""

from dataclasses import replace

import numpy as np
import pytest
from tiny import TINY, GivenLab, tiny_mnist, use

from tinyadv.attacks import fgsm
from tinyadv.layers import parameters
from tinyadv.metrics import Evaluation, evaluate
from tinyadv.paper import measuring, recipes
from tinyadv.paper.figures import pixels
from tinyadv.paper.measuring import Measure, Values, attack, in_float64, measures, pictures, under_fgsm, weights_l1
from tinyadv.paper.recipes import PROFILES
from tinyadv.paper.results import Measurement


@pytest.fixture
def lab(monkeypatch):
    use(monkeypatch, tiny_mnist(dtype="float64"))
    return GivenLab()


# ---------------------------------------------------------------------------------------------------------
# Measures


def both(profile, seed):
    return [recipes.maxout(profile, seed), recipes.maxout(profile, seed, adversarial=True)]


def test_a_function_gets_the_networks_of_its_recipes_in_order_and_their_hashes_are_noted(lab):
    got = []

    def function(*arguments):
        got.extend(arguments)
        return Measurement(
            {"error": 0.5, "no such quantity": 1.0}, {"error": (0.4, 0.6), "nor this": (0, 1)}, holds=True
        )

    m = Measure("adv-robust-1600", function, both)(lab, TINY, 7)
    asked = both(TINY, 7)
    assert got == [lab, 7, lab.network(asked[0]), lab.network(asked[1])]
    assert got[2] is not got[3]
    assert m.recipes == [recipe.hash for recipe in asked]
    assert (m.values, m.intervals, m.holds) == ({"error": 0.5}, {"error": (0.4, 0.6)}, True)


def test_the_scale_says_each_thing_once():
    measure = Measure("adv-robust-1600", lambda: None, lambda p, s: both(p, s), units=1600)
    assert measure.scale(TINY) == (
        "240 units where the paper has 1600; naive training for 1 epochs on 50,000 images; "
        "adversarial training for 1 epochs on 50,000 images"
    )
    small = replace(PROFILES["paper"], units=240)
    assert measure.scale(small) == "240 units where the paper has 1600"  # said once, for both
    assert measure.scale(PROFILES["paper"]) == ""  # there networks of 240 units are compared with those of 1600
    assert Measure("x", lambda: None, lambda p, s: [recipes.softmax_regression(p, s)]).scale(TINY) == ""


def test_the_scale_is_that_of_the_networks_that_the_numbers_are_of():
    varying = replace(TINY, variations=True)
    longer = Measure("x", lambda: None, recipes.naive_at_length)
    assert len(longer.recipes(varying, 0)) == 2
    assert longer.scale(varying) == "naive training for 1 epochs on 50,000 images"
    halves = Measure("x", lambda: None, lambda p, s: recipes.in_halves(p, s, "maxout"))
    assert halves.scale(TINY) == "naive training for 1 epochs on 25,000 images"
    saturating = Measure("x", lambda: None, lambda p, s: [recipes.control(p, s, unit="rust")])
    assert saturating.scale(TINY) == "adversarial training for 1 epochs on 50,000 images"


def test_a_function_is_marked_and_left_as_it_is(monkeypatch):
    monkeypatch.setattr(measuring, "MEASURES", {})

    @measures("linear-growth", both, units=3)
    def function(lab, seed):
        """Nothing."""

    assert list(measuring.MEASURES.items()) == [("linear-growth", Measure("linear-growth", function, both, 3))]


# ---------------------------------------------------------------------------------------------------------
# Values


def test_values_come_with_their_intervals_where_they_have_one():
    evaluation = Evaluation(10, 2, 0.9, 0.8, 0.7, {"error": (0.1, 0.3)})
    values = Values()
    values.add(evaluation, error="a", confidence_on_mistakes="b")
    m = values.measurement(holds=False, details={"x": 1})
    assert m == Measurement({"a": 0.2, "b": 0.8}, {"a": (0.1, 0.3)}, holds=False, details={"x": 1})


def kind(lab, network):
    return lab.given[network, "clean", "softmax" if network == "maxout_network" else None]


def test_the_attack_is_fgsm_with_true_labels_not_clipped_and_of_each_image_by_itself(lab, monkeypatch):
    model, (x, y) = kind(lab, "maxout_network"), lab.data.test
    x_adv = attack(model, x, y)
    assert np.array_equal(x_adv, fgsm(model, x, y, 0.25))
    assert (x_adv.min(), x_adv.max()) == (-0.25, 1.25)
    assert np.array_equal(attack(model, x[5:9], y[5:9]), x_adv[5:9])
    wrong = (y + 1) % 10
    assert not np.array_equal(attack(model, x, wrong), x_adv)
    assert np.abs(attack(model, x, y, 0.125) - x).max() == 0.125


def test_what_every_fgsm_claim_reports(lab):
    model, (x, y) = kind(lab, "softmax_regression"), lab.data.test
    values, x_adv = under_fgsm(model, x, y)
    clean, attacked = evaluate(model, x, y), evaluate(model, x_adv, y)
    clipped = evaluate(model, fgsm(model, x, y, 0.25, clip=(0.0, 1.0)), y)
    rounded = {name: values.values.pop(name) for name in ("error_rounded", "confidence_on_mistakes_rounded")}
    assert rounded == {  # in float64 nothing is rounded away
        "error_rounded": attacked.error,
        "confidence_on_mistakes_rounded": attacked.confidence_on_mistakes,
    }
    assert values.values.pop("certain_share") == 0.0
    assert values.intervals.keys() >= rounded.keys()
    assert values.values == {
        "clean_error": clean.error,
        "clean_confidence": clean.confidence,
        "error": attacked.error,
        "confidence_on_mistakes": attacked.confidence_on_mistakes,
        "wrong_label_probability": attacked.wrong_label_probability,
        "error_clipped": clipped.error,
        "confidence_on_mistakes_clipped": clipped.confidence_on_mistakes,
        "zero_gradient_share": np.mean(fgsm(model, x, y, 0.25) == x),
    }
    assert values.intervals.keys() - rounded.keys() == values.values.keys() - {"zero_gradient_share"}
    assert all(low <= (values.values | rounded)[name] <= high for name, (low, high) in values.intervals.items())
    assert len(set(values.values.values())) == len(values.values)  # no two of them could be mixed up unnoticed


def test_small_things(lab):
    model = kind(lab, "maxout_network")
    first = model.layers[1].W.data
    assert weights_l1(model) == pytest.approx(sum(abs(float(w)) for w in first.ravel()))
    first, second = (pixels(p).tolist() for p in pictures(np.array([[0.12345, -0.25], [1.0, 1.25]])))
    assert first == pytest.approx([0.12345, -0.25], abs=0.003)
    assert second == pytest.approx([1.0, 1.25], abs=0.003)


def test_a_copy_in_float64_says_the_same_and_leaves_the_network_as_it_was():
    for kind, network in GivenLab(dtype="float32").given.items():
        x, before = tiny_mnist().test.x[:5], [p.data.copy() for p in parameters(network)]
        copy = in_float64(network)
        assert {p.dtype for p in parameters(copy)} == {np.dtype("float64")}
        assert copy(x.astype("float64")) == pytest.approx(network(x), rel=1e-3, abs=1e-3), kind
        for p in parameters(copy):
            p.data += 1.0
        for p, data in zip(parameters(network), before, strict=True):
            assert p.dtype == data.dtype == "float32"
            assert np.array_equal(p.data, data)
