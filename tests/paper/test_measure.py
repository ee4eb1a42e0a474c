"""What every measurement shares: which networks it gets, what of it is reported, how an attack is evaluated."""

from dataclasses import replace
from types import ModuleType

import numpy as np
import pytest
from tiny import LOG, SMALL, TINY, GivenLab, made_sure, rounded_fgsm, tiny_mnist, use

from tinyadv.attacks import fgsm
from tinyadv.backend import generator
from tinyadv.layers import parameters
from tinyadv.metrics import Evaluation, evaluate
from tinyadv.paper import recipes
from tinyadv.paper.attacking import attack, software
from tinyadv.paper.claims import claims
from tinyadv.paper.lab import Trained
from tinyadv.paper.measure import MEASURES, Measure, measures
from tinyadv.paper.measure.common import Values, in_float64, in_short, logged, pictures, under_fgsm, weights_l1
from tinyadv.paper.profiles import PROFILES
from tinyadv.paper.results import Measurement, Result, pixels
from tinyadv.paper.sections import collected
from tinyadv.paper.show import scale


@pytest.fixture
def lab(monkeypatch):
    use(monkeypatch, tiny_mnist(dtype="float64"))
    return GivenLab()


# ---------------------------------------------------------------------------------------------------------
# Measures


def both(profile, seed):
    return {"naive": recipes.maxout(profile, seed), "trained": recipes.maxout(profile, seed, adversarial="training")}


def test_a_function_gets_its_networks_by_name_and_what_was_used_is_noted(lab):
    got = {}

    def function(lab, seed, **networks):
        got.update(networks, lab=lab, seed=seed)
        return Measurement({"error": 0.5}, {"error": (0.4, 0.6)}, holds=True)

    m = Measure("adv-robust-1600", function, both)(lab, TINY, 7)
    asked = both(TINY, 7)
    assert (got.pop("lab"), got.pop("seed")) == (lab, 7)
    assert got == {name: lab.trained(recipe) for name, recipe in asked.items()}
    assert m.networks == {
        name: {"hash": recipe.hash, "recipe": recipe.chosen, "epochs": len(LOG)} for name, recipe in asked.items()
    }
    assert (m.values, m.intervals, m.holds) == ({"error": 0.5}, {"error": (0.4, 0.6)}, True)


def test_several_networks_have_one_name_in_the_function_and_one_each_in_the_result(lab):
    maxout = recipes.maxout(TINY, 0)

    def networks(profile, seed):
        varied = {"longer": replace(maxout, epochs=9)} if profile.varies(seed) else {}
        return {"members": [replace(maxout, seed=n) for n in (4, 5)], "decayed": {0.1: maxout}, **varied}

    def function(lab, seed, members, decayed, longer=None):
        assert [type(one) for one in (*members, *decayed.values())] == [Trained] * 3
        assert list(decayed) == [0.1]
        assert (longer is None) == (not networks_vary)
        return Measurement({"error": 0.5})

    measure = Measure("adv-confidence", function, networks)
    for networks_vary in (False, True):
        profile = replace(TINY, variations=networks_vary)
        names = ["members/0", "members/1", "decayed/0.1", *(["longer"] if networks_vary else [])]
        m = measure(lab, profile, 0)
        assert list(measure.named(profile, 0)) == list(m.networks) == names
        assert [used.get("varied", False) for used in m.networks.values()] == [False] * 3 + [True] * networks_vary
        assert [used["hash"] for used in m.networks.values()] == [r.hash for r in measure.recipes(profile, 0)]


def test_a_network_that_came_with_the_package_is_marked(lab, monkeypatch):
    monkeypatch.setattr(lab, "as_trained", lambda network: Trained(network, LOG, 2, packaged=True))
    m = Measure("adv-robust-1600", lambda lab, seed, **networks: Measurement({"error": 0.5}), both)(lab, TINY, 0)
    assert all(used["packaged"] for used in m.networks.values())
    found = Result("adv-robust-1600", "tiny", "cpu", [0], [m])
    assert "measured on networks that came with the package" in scale(claims()["adv-robust-1600"], found)


@pytest.mark.parametrize(
    ("measurement", "message"),
    [
        (Measurement({"eror": 0.5}), "adv-robust-1600 has no quantity 'eror'"),
        (Measurement({"error": 0.5}, {"eror": (0, 1)}), "adv-robust-1600 has no quantity 'eror'"),
        (Measurement({"error": 0.5}, variations={"masks": {"error": 1.0}}), "adv-robust-1600 has no variation 'masks'"),
        (Measurement({}, variations={"validation": {"eror": 1.0}}), "adv-robust-1600 has no quantity 'eror'"),
    ],
)
def test_a_name_that_claims_toml_does_not_have_is_refused(lab, measurement, message):
    with pytest.raises(ValueError, match=message):
        Measure("adv-robust-1600", lambda lab, seed, **networks: measurement, both)(lab, TINY, 0)


def scale_of(networks, claim="adv-robust-1600", profile=TINY):
    used = Measure(claim, None, networks).named(replace(profile, variations=False), 0)
    found = {name: {"hash": recipe.hash, "recipe": recipe.chosen} for name, recipe in used.items()}
    return scale(claims()[claim], Result(claim, "tiny", "cpu", [0], [Measurement({}, networks=found)]))


def test_the_scale_says_each_thing_once():
    assert scale_of(both) == [
        "240 units where the paper has 1600",
        "naive training for 1 epochs on 50,000 images",
        "adversarial training for 1 epochs on 50,000 images",
    ]
    small = replace(PROFILES["paper"], units=240)
    assert scale_of(both, profile=small) == ["240 units where the paper has 1600"]  # said once, for both
    large = MEASURES["maxout-1600-naive"].networks  # there networks of 240 units are compared with those of 1600
    assert scale_of(large, "maxout-1600-naive", PROFILES["paper"]) == []
    assert scale_of(large, "maxout-1600-naive", PROFILES["quick"])[0] == "240 units where the paper has 1600"
    assert scale_of(lambda p, s: {"softmax": recipes.softmax_regression(p, s)}) == []


def test_the_scale_of_a_boltzmann_machine_is_its_size_and_its_training():
    machine = MEASURES["mp-dbm"].networks
    assert scale_of(machine, "mp-dbm", PROFILES["lesson"]) == [
        "a machine of 500 and 500 hidden units, trained for 20 epochs on 50,000 images"
    ]
    assert scale_of(machine, "mp-dbm", PROFILES["paper"]) == []


def test_the_scale_is_that_of_the_networks_that_the_numbers_are_of():
    halves = scale_of(lambda p, s: {"halves": recipes.in_halves(p, s, "maxout")}, "transfer-subsets")
    assert halves == ["naive training for 1 epochs on 25,000 images"]
    saturating = scale_of(lambda p, s: {"rust": recipes.control(p, s, unit="rust")}, "hidden-saturating")
    assert saturating == ["adversarial training for 1 epochs on 50,000 images"]
    varied = {"naive": {"recipe": SMALL.chosen}, "longer": {"recipe": replace(SMALL, epochs=9).chosen, "varied": True}}
    found = Result("fgsm-maxout", "tiny", "cpu", [0], [Measurement({}, networks=varied)])
    assert scale(claims()["fgsm-maxout"], found) == ["naive training for 3 epochs on 50,000 images"]


def test_functions_are_marked_left_as_they_are_and_collected():
    module = ModuleType("mine")

    @measures("linear-growth", both, quick=False)
    @measures("fgsm-softmax")
    def function(lab, seed):
        """Nothing."""

    module.function = function
    found = collected("measures", module)
    assert found == {
        "fgsm-softmax": Measure("fgsm-softmax", function, found["fgsm-softmax"].networks),
        "linear-growth": Measure("linear-growth", function, both, quick=False),
    }
    assert found["fgsm-softmax"].networks(TINY, 0) == {}
    other = ModuleType("other")
    other.again = measures("linear-growth")(lambda lab, seed: None)
    with pytest.raises(
        ValueError,
        match=r"^one function measures a claim, but two are for linear-growth: <lambda> in other is the second$",
    ):
        collected("measures", module, other)


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
    exact = {name: values.values.pop(name) for name in list(values.values) if name.endswith("_exact")}
    assert len(exact) == 5
    assert {f"{name}_exact": v for name, v in values.values.items()}.items() >= exact.items()  # in float64
    assert values.values.pop("certain_share") == 0.0
    assert values.intervals.keys() >= exact.keys()
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
    assert values.intervals.keys() - exact.keys() == values.values.keys() - {"zero_gradient_share"}
    assert all(low <= (values.values | exact)[name] <= high for name, (low, high) in values.intervals.items())
    assert len(set(values.values.values())) == len(values.values)  # no two of them could be mixed up unnoticed


def test_numbers_are_of_the_software_s_gradient_and_the_exact_one_s_end_in_exact(monkeypatch):
    use(monkeypatch, tiny_mnist())
    lab = GivenLab(dtype="float32")
    model, (x, y) = kind(lab, "maxout_network"), lab.data.test
    made_sure(model, 40.0)
    values, x_adv = under_fgsm(model, x, y)
    for end, made in (("", rounded_fgsm(model, x, y)), ("_exact", fgsm(model, x, y, 0.25))):
        found = evaluate(model, made, y)
        clipped = evaluate(model, made.clip(0, 1), y)
        assert values.values["error" + end] == found.error
        assert values.values["confidence_on_mistakes" + end] == pytest.approx(found.confidence_on_mistakes)
        assert values.values["error_clipped" + end] == clipped.error
    assert values.values["error"] != values.values["error_exact"]
    assert np.array_equal(x_adv, rounded_fgsm(model, x, y))
    in_short_of = in_short(values.values, 3)
    assert in_short_of["epochs"] == 3
    assert in_short_of["error_exact"] == values.values["error_exact"]


def test_only_a_softmax_is_rounded(lab):
    for network in lab.given.values():
        assert (software(network) is not network) == (network.top == "softmax")


def test_small_things(lab):
    model = kind(lab, "maxout_network")
    first = model.layers[1].W.data
    assert weights_l1(model) == pytest.approx(sum(abs(float(w)) for w in first.ravel()))
    first, second = (pixels(p).tolist() for p in pictures(np.array([[0.12345, -0.25], [1.0, 1.25]])))
    assert first == pytest.approx([0.12345, -0.25], abs=0.003)
    assert second == pytest.approx([1.0, 1.25], abs=0.003)


def test_a_copy_in_float64_says_the_same_and_leaves_the_network_as_it_was():
    for kind, network in GivenLab(dtype="float32").given.items():
        x = generator(0).random((5, network.inputs or 784), dtype="float32")
        before = [p.data.copy() for p in parameters(network)]
        copy = in_float64(network)
        assert {p.dtype for p in parameters(copy)} == {np.dtype("float64")}
        assert copy(x.astype("float64")) == pytest.approx(network(x), rel=1e-3, abs=1e-3), kind
        for p in parameters(copy):
            p.data += 1.0
        for p, data in zip(parameters(network), before, strict=True):
            assert p.dtype == data.dtype == "float32"
            assert np.array_equal(p.data, data)


def test_a_log_by_columns_leaves_out_networks_that_lack_one():
    whole, partial = ([{"epoch": 1, "error": 0.5, "loss": 1.0}, {"epoch": 2, "error": 0.25}] for _ in range(2))
    del partial[1]["error"]
    found = logged("error", naive=Trained(None, whole, 2), trained=Trained(None, partial, 2))
    assert found == {"naive": {"epoch": [1, 2], "error": [0.5, 0.25]}}


@pytest.mark.parametrize(
    ("recipe", "said"),
    [
        ({"retrain": True, "stop_on": "error"}, ["stopped early and trained again from scratch on all 60,000 images"]),
        ({"retrain": True, "stop_on": "error", "chosen_with": 0}, []),
        ({"stage2": True, "stop_on": "error"}, []),
        ({"objective": "noise", "epochs": 243}, []),
        ({"objective": "noise", "epochs": 20}, ["noise training for 20 epochs on 50,000 images"]),
    ],
)
def test_another_protocol_than_the_definition_s_is_said(recipe, said):
    used = {"naive": {"recipe": {"network": "maxout_network", "arguments": {"units": 240}, **recipe}}}
    found = scale(claims()["fgsm-maxout"], Result("fgsm-maxout", "paper", "cpu", [0], [Measurement({}, networks=used)]))
    assert [line.partition(", where")[0] for line in found] == said


def test_a_second_stage_that_did_not_reach_its_target_is_said():
    about = {"recipe": {"network": "maxout_network", "stage2": True}, "stage2": {"epochs": 500, "reached": False}}
    for reached, said in ((False, ["stage 2 ended after 500 epochs, above its target"]), (True, [])):
        about["stage2"]["reached"] = reached
        found = Result("fgsm-maxout", "paper", "cpu", [0], [Measurement({}, networks={"naive": about})])
        assert scale(claims()["fgsm-maxout"], found) == said
