"""The controls of section 6: numbers by hand, every part of each predicate made to fail, what the bars show."""

import json
import math
from dataclasses import replace

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.figure import Figure as Canvas
from test_sections import ByHand, under_attack
from tiny import LOG, TINY, GivenLab, made_sure, measured, on_strict_device, rounded_fgsm, tiny_mnist, use

from tinyadv.backend import generator
from tinyadv.datasets import MNIST, Split
from tinyadv.layers import parameters
from tinyadv.models import build
from tinyadv.paper import audit, recipes
from tinyadv.paper.claims import claims
from tinyadv.paper.draw import STYLE, drawings
from tinyadv.paper.lab import OBJECTIVES, Lab, Trained
from tinyadv.paper.measure import MEASURES, section6_controls
from tinyadv.paper.measure.section6_controls import KINDS, PLACES, activation_sizes
from tinyadv.paper.profiles import PROFILES
from tinyadv.paper.results import Result, check
from tinyadv.paper.results_file import from_json, to_json

OURS = (
    "noise-sign", "noise-uniform", "through-attack", "hidden-additive", "hidden-saturating", "hidden-rotation",
    "hidden-last",
)  # fmt: skip


def world(monkeypatch, **options):
    dtype = options.setdefault("dtype", "float64")
    train, validation, test = tiny_mnist(dtype=dtype)
    use(monkeypatch, MNIST(Split(train.x[:200], train.y[:200]), validation, Split(test.x[-80:], test.y[-80:])))
    for name, n in (("FIRST", 20), ("FEW", 4), ("FEWEST", 1)):
        monkeypatch.setattr(audit, name, n)
    return GivenLab(**options)


@pytest.fixture
def lab(monkeypatch):
    return world(monkeypatch)


def networks_of(claim, lab):
    return [lab.network(recipe) for recipe in MEASURES[claim].recipes(TINY, 0)]


def result_of(claim, *measurements):
    result = Result(claim, "tiny", "cpu", list(range(len(measurements))), list(measurements))
    check(result)
    return result


def by_hand(network, lab):
    """What `under_attack` of the other sections reports of a maxout network, image by image."""
    return under_attack(network, *lab.data.test)[0]


def agree(m, expected):
    for name, v in expected.items():
        assert m.values[name] == pytest.approx(v, rel=1e-9, nan_ok=True), name


# ---------------------------------------------------------------------------------------------------------
# All of them


@pytest.mark.parametrize("claim", OURS)
def test_a_measurement_has_what_the_registry_names_and_can_be_saved_and_drawn(lab, claim):
    m = measured(claim, lab)
    assert m.intervals.keys() <= m.values.keys()
    assert (m.holds is None) == (claims()[claim].predicate is None)
    from_json(to_json(result_of(claim, m, measured(claim, lab, 1))))
    if claim in drawings():
        drawn(claim, m.details)
    assert not MEASURES[claim].quick


@pytest.mark.parametrize("claim", OURS)
def test_on_another_library_the_same_comes_out(monkeypatch, claim):
    on_cpu = measured(claim, world(monkeypatch, dtype="float32"))
    on_strict_device(monkeypatch)
    there = measured(claim, world(monkeypatch, dtype="float32", device="cuda"))
    assert there.values == {name: pytest.approx(v, rel=1e-4, nan_ok=True) for name, v in on_cpu.values.items()}
    assert there.holds == on_cpu.holds
    json.dumps(to_json(result_of(claim, there)))


@pytest.mark.parametrize("profile", PROFILES.values(), ids=PROFILES)
def test_networks_that_are_compared_differ_in_the_objective_alone(profile):
    for claim in OURS:
        for recipe in MEASURES[claim].recipes(profile, 3):
            assert recipe.objective in OBJECTIVES
            assert recipe.seed == 3
            if not claim.startswith("noise"):
                assert recipe.epochs == profile.epochs["hidden"]
            of_maxout = recipe.network == "maxout_network"
            assert recipe.max_norm == (1.9365 if of_maxout else None)
            if recipe.objective != "clean":
                assert recipe.options["eps"] == 0.25
            if "rotation" in recipe.options.values():
                assert math.degrees(recipe.options["angle"]) == pytest.approx(15, abs=1e-4)
    named = MEASURES["noise-sign"].named(profile, 3)
    noisy, naive = named.pop("noisy"), named.pop("naive")
    assert naive == recipes.maxout(profile, 3)
    uniform = replace(noisy, options={**noisy.options, "kind": "uniform"})
    assert [uniform] == MEASURES["noise-uniform"].recipes(profile, 3)
    trained = recipes.maxout(profile, 3, adversarial="training")
    assert named == ({} if profile.protocol else {"uniform": uniform, "trained": trained})
    assert noisy.options == {"kind": "sign", "eps": 0.25, "alpha": 0.0}  # noisy images alone
    for name in ("network", "arguments", "schedule", "max_norm", "batch"):
        assert getattr(noisy, name) == getattr(naive, name)
    if profile.protocol:  # the published naive network's best epoch
        assert noisy == recipes.noise_alone(3, "sign", 243)
    else:
        assert noisy.epochs == naive.epochs
    for claim in ("through-attack", "hidden-additive", "hidden-rotation"):
        named = MEASURES[claim].named(profile, 3)
        at_input = named["fgsm" if claim == "through-attack" else "at_input"]
        assert at_input == recipes.control(profile, 3, length="hidden")  # one reference for all rows
        assert at_input.options["attacked"] == "inference"
        assert named["masked"] == replace(at_input, options={**at_input.options, "attacked": "training"})


def test_a_mixture_and_longer_training_are_for_the_first_seed_where_choices_are_varied():
    for profile in PROFILES.values():
        for seed in (0, 1):
            by_name = MEASURES["noise-sign"].named(profile, seed)
            noisy, varied = by_name["noisy"], by_name.keys() - {"noisy", "naive", "uniform", "trained"}
            mixture = replace(noisy, options={**noisy.options, "alpha": 0.5})
            longer = replace(noisy, epochs=2 * profile.epochs["naive"])
            if profile.name == "lesson" and seed == 0:
                assert (by_name["mixture"], by_name["longer"]) == (mixture, longer)
            else:
                assert not varied


def test_a_recipe_trains_what_it_says(monkeypatch, tmp_path):
    """Each objective's options reach it, through the lab."""
    world(monkeypatch, dtype="float32")
    lab, seen = Lab(tmp_path), []
    for name in ("noise", "through-attack", "hidden-layer"):
        original = OBJECTIVES[name]
        monkeypatch.setitem(OBJECTIVES, name, lambda *a, o=original, **k: seen.append(k) or o(*a, **k))
    wanted = [
        recipes.noise_control(TINY, 0, "sign"),
        recipes.control(TINY, 0, "through-attack", attack="scaled-gradient"),
        recipes.control(TINY, 0, "hidden-layer", "rust", kind="rotation", layers=[-1]),
    ]
    for recipe in wanted:
        seen.clear()
        small = recipe.__class__(**{**vars(recipe), "arguments": {**recipe.arguments, "units": 4}})
        network = lab.network(small)
        assert {json.dumps(k, sort_keys=True) for k in seen} == {json.dumps(recipe.options, sort_keys=True)}
        assert all(np.isfinite(p.data).all() for p in parameters(network))


# ---------------------------------------------------------------------------------------------------------
# Noise


@pytest.mark.parametrize("claim", ["noise-sign", "noise-uniform"])
def test_noise(lab, claim):
    profile = replace(TINY, variations=True)
    networks = {name: lab.network(recipe) for name, recipe in MEASURES[claim].named(profile, 0).items()}
    m, expected = MEASURES[claim](lab, profile, 0), by_hand(networks["noisy"], lab)
    names = ("error", "confidence_on_mistakes", "error_clipped", "clean_error")
    agree(m, {name: expected[name] for name in names})
    assert set(m.variations) == {"mixture", "longer"}
    for key, found in m.variations.items():
        v = by_hand(networks[key], lab)
        for name in names:
            assert found[name] == pytest.approx(v[name], nan_ok=True)
        assert found["error_exact"] == found["error"]  # in float64, of networks that are not that sure
        assert found["epochs"] == len(LOG)
    assert not measured(claim, lab).variations  # where nothing is varied
    protocol = MEASURES[claim](lab, replace(TINY, protocol=True), 0)  # by which two of the networks are left out
    assert [row["network"] for row in protocol.details.get("rows", [])] == ["naive", "sign"][
        : 2 * (claim == "noise-sign")
    ]
    if claim == "noise-sign":
        order = {"naive": "naive", "sign": "noisy", "uniform": "uniform", "fgsm": "trained"}
        assert [row["network"] for row in m.details["rows"]] == list(order)
        for row, name in zip(m.details["rows"], order.values(), strict=True):
            values = by_hand(networks[name], lab)
            assert row["clean_error"][0] == pytest.approx(values["clean_error"])
            assert row["error"][0] == pytest.approx(values["error"])
            assert row["error"][1] < row["error"][0] < row["error"][2] or row["error"][0] in (0, 1)


def test_the_errors_of_controls_follow_the_rounded_gradient_and_the_exact_one_stands_beside(monkeypatch):
    lab = world(monkeypatch, dtype="float32")
    network, (x, y) = lab.given["maxout_network", "clean", "softmax"], lab.data.test
    made_sure(network, 40.0)
    _, values = section6_controls._row("name", network, x, y)
    for name, of in (("error", rounded_fgsm), ("error_exact", section6_controls.attack)):
        assert values.values[name] == pytest.approx((network(of(network, x, y)).argmax(axis=1) != y).mean())
    assert values.values["error"] != values.values["error_exact"]
    named = section6_controls._masked(Trained(network, [], 0), lab, "input")["masked"]
    assert named == {"clean_error_input": values.values["clean_error"], "error_input": values.values["error"],
                     "error_input_exact": values.values["error_exact"]}  # fmt: skip


# ---------------------------------------------------------------------------------------------------------
# Predicates: each part can fail by itself


def told(monkeypatch, lab, claim, table, pgd=None, sizes=None, training=None):
    """`claim` measured where clean and FGSM errors of its networks, in order, are those of the table."""
    networks = networks_of(claim, lab)
    of: dict[int, int] = {}
    for i, n in enumerate(networks):
        of.setdefault(id(n), i)  # this lab has one network for both attacks in training

    def row(name, network, x, y):
        values = section6_controls.Values()
        clean, error = table[of[id(network)]]
        values.values = {"clean_error": clean, "error": error, "error_exact": error}
        values.intervals = {key: (v - 0.002, v + 0.002) for key, v in values.values.items()}
        return {"network": name, **{k: [v, *values.intervals[k]] for k, v in values.values.items()}}, values

    class Found:
        def __init__(self):
            self.wrong = {
                name: {audit.PGD_20: np.arange(100) < 100 * error, audit.PREDICTED: np.arange(100) < 50}
                for name, error in pgd.items()
            }

        def error(self, network, attack):
            return 0.0  # that of "masked", of which nothing is asked

        def table(self):
            return {}

    monkeypatch.setattr(section6_controls, "_row", row)
    monkeypatch.setattr(audit, "audit", lambda *a: Found())
    if sizes:
        monkeypatch.setattr(section6_controls, "activation_sizes", lambda n, x: [sizes[of[id(n)]], 1.0])
    if training:
        monkeypatch.setattr(section6_controls, "training_error", lambda lab, n: training[of[id(n)]])
    return measured(claim, lab)


PGD = {"fgsm": 0.5, "rotation": 0.6, "scaled": 0.7}
THROUGH = [(0.01, 0.2), (0.5, 0.5), (0.02, 0.1), (0.03, 0.1), (0.015, 0.9)]  # the second is beside


@pytest.mark.parametrize(
    ("table", "pgd", "holds"),
    [
        (THROUGH, PGD, True),
        ([*THROUGH[:2], (0.01, 0.1), *THROUGH[3:]], PGD, False),
        ([*THROUGH[:3], (0.005, 0.1), THROUGH[4]], PGD, False),
        (THROUGH, PGD | {"rotation": 0.5}, False),
        (THROUGH, PGD | {"scaled": 0.1}, False),
        (
            [*THROUGH[:2], (0.3, 0.1), *THROUGH[3:]],
            PGD | {"rotation": 0.4},
            False,
        ),
    ],
)
def test_through_attack_holds_if_both_are_worse_in_both(monkeypatch, lab, table, pgd, holds):
    m = told(monkeypatch, lab, "through-attack", table, pgd)
    assert m.holds is holds
    assert m.values["clean_error_naive"] == 0.015


ADDITIVE = [(0.02, 0.9), (0.01, 0.2), (0.5, 0.5), (0.015, 0.9)]  # the third is beside


@pytest.mark.parametrize(
    ("table", "sizes", "holds"),
    [
        (ADDITIVE, (3.0, 1.0, 9.0, 2.0), True),
        (
            ADDITIVE,
            (2.9, 1.0, 9.0, 2.0),
            False,
        ),
        ([(0.01, 0.9), *ADDITIVE[1:]], (3.0, 1.0, 9.0, 2.0), False),
        ([(0.02, 0.2), *ADDITIVE[1:]], (3.0, 1.0, 9.0, 2.0), False),
    ],
)
def test_hidden_additive_holds_if_activations_grow_and_errors_are_higher(monkeypatch, lab, table, sizes, holds):
    m = told(monkeypatch, lab, "hidden-additive", table, sizes=sizes)
    assert m.holds is holds
    assert m.values["activation_growth"] == sizes[0] / sizes[1]
    assert m.values["activation_growth_naive"] == sizes[0] / sizes[3]


@pytest.mark.parametrize(
    ("clean", "holds"),
    [
        ((0.02, 0.0235, 0.04, 0.0365, 0.01, 0.5), True),  # the last two are beside
        ((0.02, 0.0245, 0.04, 0.0365, 0.01, 0.01), False),
        ((0.02, 0.0235, 0.04, 0.0355, 0.01, 0.01), False),
    ],
)
def test_hidden_saturating_holds_if_intervals_overlap_for_both_units(monkeypatch, lab, clean, holds):
    masked = [(0.07, 0.6), (0.08, 0.7)]
    m = told(monkeypatch, lab, "hidden-saturating", [*((c, 0.5) for c in clean), *masked])
    assert m.holds is holds
    varied = m.variations["masked"]
    for end, pair in zip(("", "_rust"), masked, strict=True):
        assert (varied[f"clean_error_input{end}"], varied[f"error_input{end}"]) == pair
    ends = ("", "_rust", "_rust_squared")
    assert [m.values[f"clean_error_{k}{end}"] for end in ends for k in ("hidden", "input")] == list(clean)


@pytest.mark.parametrize(
    ("turned", "added", "holds"),
    [
        (0.019, 0.01, True),
        (0.02, 0.01, False),
        (0.01, 0.01, False),
    ],
)
def test_hidden_rotation_holds_below_2_percent_and_above_the_input(monkeypatch, lab, turned, added, holds):
    m = told(monkeypatch, lab, "hidden-rotation", [(turned, 0.9), (added, 0.2), (0.5, 0.5)])
    assert m.holds is holds


CLEAN, FIT = (0.02, 0.03, 0.04, 0.01, 0.05, 0.06), (0.01, 0.02, 0.03, 0.015, 0.02, 0.03)


@pytest.mark.parametrize(
    ("clean", "training", "holds"),
    [
        (CLEAN, FIT, True),
        (
            CLEAN,
            (0.01, 0.01, *FIT[2:]),
            False,
        ),
        (CLEAN, (*FIT[:2], 0.005, *FIT[3:]), False),
        (CLEAN, (*FIT[:4], 0.015, FIT[5]), False),
        (CLEAN, (*FIT[:5], 0.01), False),
        ((*CLEAN[:5], 0.01), FIT, False),
    ],
)
def test_hidden_last_holds_if_the_last_underfits_and_the_best_is_without_it(monkeypatch, lab, clean, training, holds):
    m = told(monkeypatch, lab, "hidden-last", [(c, 0.5) for c in clean], training=training)
    assert m.holds is holds
    names = [f"{place}{kind}" for kind in KINDS for place in PLACES]
    assert [m.values[f"training_error_{name}"] for name in names] == list(training)
    assert [m.values[f"clean_error_{name}"] for name in names] == list(clean)


# ---------------------------------------------------------------------------------------------------------
# Which network stands for which number


def options_of(claim):
    return [(r.network, r.objective, {k: v for k, v in r.options.items() if k in ("attack", "kind", "layers")})
            for r in MEASURES[claim].recipes(TINY, 0)]  # fmt: skip


def test_numbers_are_those_of_the_networks_that_they_name(lab):
    rotation, scaled = ({"attack": a} for a in ("rotation", "scaled-gradient"))
    assert [o[1:] for o in options_of("through-attack")] == [
        *2 * [("adversarial", {})], ("through-attack", rotation), ("through-attack", scaled), ("clean", {}),
    ]  # fmt: skip
    m = measured("through-attack", lab)
    names = ("fgsm", "masked", "rotation", "scaled", "naive")
    for name, network in zip(names, networks_of("through-attack", lab), strict=True):
        if name == "masked":
            continue
        expected = by_hand(network, lab)
        assert m.values[f"clean_error_{name}"] == pytest.approx(expected["clean_error"])
        if name != "naive":
            assert m.values[f"error_{name}"] == pytest.approx(expected["error"])
            rows = {row[1]: row[3] for row in m.details["audit"]["rows"] if row[0] == name}
            assert m.values[f"pgd_error_{name}"] == rows[audit.PGD_20]
            assert m.values[f"predicted_error_{name}"] == rows[audit.PREDICTED]
            hand, (x, y) = ByHand(network), (a[:20] for a in lab.data.test)
            away = [hand.fgsm(image, hand.says(image)) for image in x]
            assert rows[audit.PREDICTED] == pytest.approx(hand.report(away, y)["error"])


def test_hidden_numbers_are_those_of_the_networks_that_they_name(lab):
    first, rotated = {"kind": "additive", "layers": [0]}, {"kind": "rotation", "layers": [0]}
    assert [o[1:] for o in options_of("hidden-additive")] == [
        ("hidden-layer", first), ("adversarial", {}), ("adversarial", {}), ("clean", {}),
    ]  # fmt: skip
    assert [o[1:] for o in options_of("hidden-rotation")] == [("hidden-layer", rotated), *2 * [("adversarial", {})]]
    assert [o[2] for o in options_of("hidden-last")] == [
        {"kind": kind, "layers": layers} for kind in ("additive", "rotation") for layers in ([0], [-1], [0, -1])
    ]
    units = [r.arguments["unit"] for r in MEASURES["hidden-saturating"].recipes(TINY, 0)]
    assert units == ["sigmoid", "sigmoid", "rust", "rust", "rust-squared", "rust-squared", "sigmoid", "rust"]
    assert [o[1:] for o in options_of("hidden-saturating")] == [
        *3 * [("hidden-layer", first), ("adversarial", {})], *2 * [("adversarial", {})],
    ]  # fmt: skip
    for end in ("", "_rust"):
        named = MEASURES["hidden-saturating"].named(TINY, 0)
        at_input = named[f"input{end}"]
        assert named[f"masked{end}"] == replace(at_input, options={**at_input.options, "attacked": "training"})

    m, (hidden, at_input, _, naive) = measured("hidden-additive", lab), networks_of("hidden-additive", lab)
    for name, network in (("hidden", hidden), ("input", at_input)):
        expected = by_hand(network, lab)
        agree(m, {f"clean_error_{name}": expected["clean_error"], f"error_{name}": expected["error"]})
    sizes = [
        np.mean([abs(ByHand(n).pieces(0, x).max(axis=0)) for x in lab.data.test.x]) for n in (hidden, at_input, naive)
    ]
    assert m.values["activation_growth"] == pytest.approx(sizes[0] / sizes[1])
    assert m.values["activation_growth_naive"] == pytest.approx(sizes[0] / sizes[2])
    last = measured("hidden-last", lab)
    for recipe, name in zip(
        MEASURES["hidden-last"].recipes(TINY, 0), [f"{p}{k}" for k in KINDS for p in PLACES], strict=True
    ):
        report = ByHand(lab.network(recipe)).report(*lab.data.train)
        assert last.values[f"training_error_{name}"] == pytest.approx(report["error"])


def test_activation_sizes_are_means_over_images_and_units_of_each_hidden_layer():
    network = build("saturating_network", {"unit": "rust", "units": 3, "inputs": 4, "depth": 3}, generator(0))
    x = generator(1).random((2300, 4), dtype="float32")  # more than one batch, the last one shorter
    h, expected = x, []
    for layer in network.layers[1:-1]:
        h = layer(h)
        expected.append(abs(h).mean())
    assert activation_sizes(network, x) == pytest.approx(expected[::2], rel=1e-5)


# ---------------------------------------------------------------------------------------------------------
# Figures: what is drawn is what was measured


def drawn(claim, details):
    with mpl.rc_context(STYLE):
        canvas = Canvas(layout="constrained")
        drawings()[claim].draw(canvas, json.loads(json.dumps(details)))
    canvas.draw_without_rendering()
    return canvas.axes


def bars(axes):
    return [patch.get_height() for patch in axes.patches]


def share(name, *triple, **more):
    return {"network": name, "clean_error": list(triple), "error": [10 * v for v in triple], **more}


@pytest.mark.parametrize(
    ("claim", "names", "keys"),
    [
        ("noise-sign", ("naive", "sign", "uniform", "fgsm"), ("clean_error", "error")),
        ("through-attack", ("naive", "fgsm", "rotation", "scaled"), ("clean_error", "error", "pgd_error")),
        ("hidden-additive", ("naive", "input", "hidden"), (None, "clean_error", "error")),
        (
            "hidden-saturating",
            ("input", "hidden", "input_rust", "hidden_rust", "input_rust_squared", "hidden_rust_squared"),
            ("clean_error", "error"),
        ),
        ("hidden-last", [f"{p}{k}" for k in KINDS for p in PLACES], ("training_error", "clean_error")),
    ],
)
def test_bars_stand_in_a_fixed_order_with_their_intervals(claim, names, keys):
    rows = [
        share(name, k / 100, k / 100 - 0.002, k / 100 + 0.001, pgd_error=[k / 20, k / 20 - 0.01, k / 20 + 0.02],
              training_error=[k / 200], activation=[k, k + 1])
        for k, name in enumerate(names, start=1)
    ]  # fmt: skip
    order = rows if claim in ("noise-sign", "hidden-last") else rows[::-1]  # told in another order than drawn
    panels = drawn(claim, {"rows": order})
    assert len(panels) == len(keys)
    for axes, key in zip(panels, keys, strict=True):
        assert axes.get_ylabel()
        assert len({label.get_text() for label in axes.get_xticklabels()}) == len(names)
        if key is None:
            assert bars(axes) == [row["activation"][0] for row in rows] + [row["activation"][1] for row in rows]
            assert [text.get_text() for text in axes.get_legend().get_texts()] == ["first layer", "second layer"]
            continue
        assert bars(axes) == pytest.approx([100 * row[key][0] for row in rows])
        assert [text.get_text() for text in axes.texts] == [f"{100 * row[key][0]:.3g}" for row in rows]
        ((lines,),) = [c for c in [axes.collections] if c]
        ends = [(segment[0, 1], segment[1, 1]) for segment in lines.get_segments()]
        low_high = [(row[key][1:] if len(row[key]) == 3 else 2 * row[key]) for row in rows]
        np.testing.assert_allclose(ends, 100 * np.array(low_high), atol=1e-9)
        assert axes.get_ylim()[1] > max(max(end) for end in ends)


def test_large_activations_are_written_out():
    rows = [share(name, 0.1, 0.1, 0.1, activation=[0.123, 1234.5]) for name in ("naive", "input", "hidden")]
    panel, *_ = drawn("hidden-additive", {"rows": rows})
    assert [text.get_text() for text in panel.texts] == ["0.12"] * 3 + ["1,234"] * 3


def test_nothing_wrong_at_all_is_drawn_too():
    rows = [share(name, 0.0, 0.0, 0.0) for name in ("naive", "sign", "uniform", "fgsm")]
    assert bars(drawn("noise-sign", {"rows": rows})[0]) == [0, 0, 0, 0]
