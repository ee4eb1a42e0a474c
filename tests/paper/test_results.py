"""Results: the status of a claim at every boundary, intervals, and seeds of several runs put together."""

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinyadv.paper.claims import Claim, Quantity, claims
from tinyadv.paper.results import (
    Measurement,
    Result,
    check,
    joined,
    merge,
    status,
    statuses,
    student_t,
)

NAN = math.nan


def quantity(paper=None, tolerance=None, form="percent", name="error"):
    return Quantity(name, name, paper, tolerance, form)


def claim(*quantities, predicate=None):
    return Claim("fgsm-softmax", "4", "N", "A sentence.", "a value", "A definition.", predicate, quantities)


def result(*measurements, claim="fgsm-softmax", **more):
    seeds = list(range(len(measurements)))
    return Result(claim, "quick", "cpu", more.pop("seeds", seeds), list(measurements), **more)


def one(value, interval=None, holds=None, name="error"):
    return Measurement({name: value}, {name: interval} if interval else {}, holds)


def of_networks(hashes, m):
    """This measurement of each of these networks."""
    return [replace(m, networks={"naive": {"hash": name}}) for name in hashes]


# --- means and intervals --------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def stats():
    """SciPy's module, which takes a second to import: every process that collects the tests would."""
    return pytest.importorskip("scipy.stats", reason="SciPy is not installed: an oracle less")


@pytest.mark.parametrize("degrees", [*range(1, 40), 100, 999])
def test_student_t_is_scipys(degrees, stats):
    # SciPy itself was right to 5e-10 only, before its version 1.17
    assert student_t(degrees) == pytest.approx(stats.t.ppf(0.975, degrees), rel=1e-9)


def test_student_t_where_its_formula_is_known():
    assert student_t(1) == pytest.approx(math.tan(0.475 * math.pi), rel=1e-14)
    assert student_t(2) == pytest.approx(0.95 * math.sqrt(2 / (1 - 0.95**2)), rel=1e-14)


def test_student_t_wants_a_degree_of_freedom():
    with pytest.raises(ValueError, match="at least 1 degree of freedom, got 0"):
        student_t(0)


def test_one_seed_has_the_interval_of_its_images():
    assert result(one(0.5, (0.45, 0.56))).interval("error") == (0.45, 0.56)
    assert result(one(0.5)).interval("error") is None
    assert result(one(0.5, (0.4, NAN))).interval("error") is None
    assert result(one(NAN, (0.4, 0.6))).interval("error") is None
    assert result(one(0.5)).interval("no such name") is None


def test_seeds_give_students_interval(stats):
    values = [0.17, 0.19, 0.2, 0.26]
    r = result(*map(one, values))
    assert r.mean("error") == pytest.approx(np.mean(values))
    wanted = stats.t.interval(0.95, 3, np.mean(values), stats.sem(values))
    assert r.interval("error") == pytest.approx(wanted)


def test_the_interval_is_never_narrower_than_the_images_interval_of_the_mean(stats):
    """Identical seeds say nothing about images; and the images' intervals need not be symmetric."""
    same = result(*of_networks("abcd", one(0.5, (0.4, 0.52))))
    assert same.interval("error") == pytest.approx((0.5 - 0.1 / 2, 0.5 + 0.02 / 2))
    none_wrong = result(*of_networks("abcd", one(0.0, (0.0, 0.0004))))
    assert none_wrong.interval("error") == pytest.approx((0, 0.0002), abs=1e-15)
    # seeds that differ more than images do decide alone
    wide = [one(0.2, (0.199, 0.201)), one(0.4, (0.399, 0.401))]
    assert result(*wide).interval("error") == pytest.approx(stats.t.interval(0.95, 1, 0.3, stats.sem([0.2, 0.4])))
    # where one seed's images are not known there is no such bound
    partly = result(one(0.5, (0.0, 1.0)), one(0.5))
    assert partly.interval("error") == (0.5, 0.5)


def test_what_the_same_network_gives_again_makes_the_interval_no_narrower():
    """A network that came with the package is the same for every seed, and so are the test images."""
    again = result(*of_networks("aaa", one(0.87, (0.86, 0.88))))
    assert again.interval("error") == pytest.approx((0.86, 0.88))
    assert result(*of_networks("aa", one(0.87, (0.86, 0.88)))).interval("error") == pytest.approx((0.86, 0.88))
    assert again.quantity_status(quantity(0.8785, TOL)) == "reproduced"
    varied = {"longer": {"hash": "b", "varied": True}}
    again.measurements[0].networks |= varied
    assert again.interval("error") == pytest.approx((0.86, 0.88))
    # other samples, as of noise, are news
    others = result(*of_networks("aa", one(0.9, (0.88, 0.92))), *of_networks("aa", one(0.9, (0.89, 0.92))))
    assert others.interval("error") == pytest.approx((0.9 - 0.015 / 2**0.5, 0.9 + 0.02 / 2**0.5))


def test_two_seeds_that_differ_reproduce_nothing_by_their_spread():
    """Their interval over seeds holds nearly every number: what counts is the one over test images."""
    q = quantity(0.179, TOL)
    far = result(one(0.18, (0.17, 0.19)), one(0.34, (0.33, 0.35)))
    low, high = far.interval("error")
    assert low < 0.0 < 0.179 < 1.0 < high
    assert far.quantity_status(q) == "differs"
    near = result(one(0.18, (0.17, 0.19)), one(0.176, (0.166, 0.186)))
    assert near.quantity_status(q) == "reproduced"
    assert result(one(0.18), one(0.19)).quantity_status(q) == "close"  # of images nothing is known
    three = result(one(0.18, (0.17, 0.19)), one(0.26, (0.25, 0.27)), one(0.2, (0.19, 0.21)))
    assert three.quantity_status(q) == "reproduced"
    apart = result(one(0.183, (0.17, 0.19)), one(0.335, (0.32, 0.35)), one(0.125, (0.12, 0.13)))
    assert apart.interval("error")[1] > 0.4
    assert apart.quantity_status(q) == "differs"


def test_a_missing_or_undefined_seed_leaves_no_mean():
    assert math.isnan(result(one(0.5), one(NAN)).mean("error"))
    assert math.isnan(result(one(0.5), Measurement({})).mean("error"))
    assert result(one(0.5), one(NAN)).interval("error") is None


@given(st.lists(st.floats(0, 1), min_size=2, max_size=6), st.floats(0, 0.1), st.floats(0, 0.1))
def test_intervals_hold_the_mean_and_shrink_with_agreement(values, below, above):
    r = result(*(one(v, (v - below, v + above)) for v in values))
    low, high = r.interval("error")
    assert low <= r.mean("error") + 1e-12
    assert high >= r.mean("error") - 1e-12
    assert high - low >= (below + above) / math.sqrt(len(values)) - 1e-9


# --- the status of a quantity and of a claim ------------------------------------------------------------------

TOL = 0.02


@pytest.mark.parametrize(
    ("value", "interval", "wanted"),
    [
        (0.9, (0.88, 0.92), "reproduced"),  # the interval holds .894
        (0.9, (0.894, 0.92), "reproduced"),  # at its very edge
        (0.89, (0.88, 0.894), "reproduced"),
        (0.9, (0.894 + 1e-6, 0.92), "close"),  # just beyond
        (0.89, (0.88, 0.894 - 1e-6), "close"),
        (0.914, (0.91, 0.918), "close"),  # the tolerance's edge, .894 + .02
        (0.874, (0.87, 0.878), "close"),
        (0.914 + 1e-6, (0.91, 0.918), "differs"),
        (0.874 - 1e-6, (0.87, 0.878), "differs"),
        (0.75, (0.6, 0.9), "reproduced"),  # far, but our interval does not exclude it
        (0.8, (0.6, 1.0), "reproduced"),  # as wide as an interval may be, ten tolerances to either side
        (0.8, (0.6 - 1e-6, 1.0), "differs"),
        (0.89, (0.6, 1.1), "close"),
        (0.894, None, "close"),  # no interval: close at best, even where equal
        (0.95, None, "differs"),
        (NAN, (0.8, 0.9), "differs"),
        (NAN, None, "differs"),
        (math.inf, (0.8, 0.9), "differs"),
    ],
)
def test_status_of_a_number(value, interval, wanted):
    q = quantity(0.894, TOL)
    r = result(one(value, interval))
    assert r.quantity_status(q) == wanted
    assert status(claim(q), r) == wanted


def test_status_of_no_errors_at_all():
    """0 of 10,000: Wilson's lower end is 0 up to rounding, and has to count as 0."""
    assert result(one(0.0, (1e-19, 0.0004))).quantity_status(quantity(0.0, 0.001)) == "reproduced"


def test_context_has_no_status_and_does_not_count():
    context = quantity(name="clean_error")
    measured = Measurement({"error": 0.894, "clean_error": NAN}, {"error": (0.88, 0.9)})
    assert result(measured).quantity_status(context) is None
    assert status(claim(quantity(0.894, TOL), context), result(measured)) == "reproduced"


def test_what_was_not_measured_is_not_run():
    q, other = quantity(0.894, TOL), quantity(0.5, TOL, name="confidence")
    assert status(claim(q), None) == "not run"
    assert result(one(0.894, (0.8, 0.9))).quantity_status(other) == "not run"
    assert status(claim(q, other), result(one(0.894, (0.8, 0.9)))) == "not run"
    # a part that differs is not hidden by one that is missing
    assert status(claim(q, other), result(one(0.1, (0.05, 0.15)))) == "differs"
    # for one seed of two: no mean, so it differs
    assert result(one(0.894, (0.8, 0.9)), Measurement({})).quantity_status(q) == "differs"


@pytest.mark.parametrize(
    ("held", "wanted"),
    [
        ([True], "reproduced"),
        ([True, True, True], "reproduced"),
        ([True, False, True], "differs"),
        ([False], "differs"),
        ([False, None], "differs"),
        ([True, None], "not run"),
        ([None], "not run"),
    ],
)
def test_status_of_a_predicate(held, wanted):
    r = result(*(Measurement({}, holds=h) for h in held))
    assert status(claim(predicate="It holds."), r) == wanted


def test_the_worst_part_decides():
    q, other = quantity(0.5, TOL), quantity(0.3, TOL, name="confidence")

    def measured(error, confidence, holds):
        values = {"error": error, "confidence": confidence}
        return result(Measurement(values, {k: (v - 0.005, v + 0.005) for k, v in values.items()}, holds))

    both = claim(q, other, predicate="It holds.")
    assert status(both, measured(0.5, 0.3, True)) == "reproduced"
    assert status(both, measured(0.515, 0.3, True)) == "close"
    assert status(both, measured(0.515, 0.4, True)) == "differs"
    assert status(both, measured(0.5, 0.3, False)) == "differs"
    assert status(both, measured(0.515, 0.3, None)) == "not run"


def test_a_predicate_that_the_claim_does_not_have_is_not_asked():
    assert status(claim(quantity(0.5, TOL)), result(one(0.5, (0.4, 0.6), holds=False))) == "reproduced"


def test_statuses_list_every_claim():
    r = result(one(0.999, (0.998, 1.0)))
    listed = list(statuses({"fgsm-softmax": r}))
    assert [c.id for c, _, _ in listed] == list(claims())
    assert [c.id for c, found, _ in listed if found is r] == ["fgsm-softmax"]
    assert all(word == "not run" for _, found, word in listed if found is None)


def test_a_result_has_a_measurement_for_each_seed():
    for seeds, n in [([], 0), ([0], 0), ([0, 1], 1), ([1, 1], 2)]:
        with pytest.raises(ValueError, match="fgsm-softmax: a result has one measurement for each of its seeds"):
            result(*[one(0.5)] * n, seeds=seeds)


def test_check_names_what_does_not_fit_the_registry():
    check(result(Measurement({"error": 0.9, "confidence_on_mistakes": 0.8, "clean_error": 0.07})))
    with pytest.raises(ValueError, match=r"fgsm-softmax, seed 0: the measurement lacks confidence_on_mistakes$"):
        check(result(Measurement({"error": 0.9})))
    with pytest.raises(ValueError, match=r"logistic-exact, seed 0: the measurement lacks holds$"):
        check(result(Measurement({}), claim="logistic-exact"))
    with pytest.raises(ValueError, match="logistic-exact has no quantity 'typo': there are loss_difference, "):
        check(result(Measurement({}, {"typo": (0.0, 1.0)}, holds=True), claim="logistic-exact"))
    for key, values, message in (
        ("dcay:1:2", {}, "has no variation 'dcay': there are decay, conjugate-gradients$"),
        ("decay:1", {}, "the variation 'decay:1' lacks what its label names"),
        ("decay:1:2", {"eror": 1.0}, "has no quantity 'eror'"),
    ):
        with pytest.raises(ValueError, match=f"fgsm-softmax.* {message}"):
            check(result(Measurement({"error": 0.9, "confidence_on_mistakes": 0.8}, variations={key: values})))


@pytest.mark.parametrize(
    ("values", "intervals", "message"),
    [
        ({"error": 50.0}, {}, "error is a share from 0 to 1, got 50"),
        ({"error": -0.1}, {}, "error is a share from 0 to 1, got -0.1"),
        ({"error": math.inf}, {}, "error is a share from 0 to 1, got inf"),
        ({"weights_l1": math.inf}, {}, "weights_l1 is a finite number, or NaN, got inf"),
        ({"error": 0.5}, {"error": (0.7, 0.2)}, r"error is 0.5, outside of its interval, 0.7 to 0.2"),
        ({"error": 0.5}, {"error": (0.6, 0.8)}, r"error is 0.5, outside of its interval, 0.6 to 0.8"),
    ],
)
def test_numbers_that_no_measurement_gives_are_named(values, intervals, message):
    m = Measurement({"error": 0.9, "confidence_on_mistakes": math.nan, "weights_l1": 300.0} | values, intervals)
    with pytest.raises(ValueError, match=f"fgsm-softmax, seed 0: {message}"):
        check(result(m))
    check(result(Measurement(m.values | {"error": 1.0, "weights_l1": 3.0}, {"error": (1.0 - 1e-3, 1.0 - 1e-15)})))


def test_variations_are_means_over_the_seeds_that_have_them():
    first = {"float64": {"error": 0.5, "certain_share": NAN}, "longer": {"error": 0.25, "epochs": 20.0}}
    second = {"float64": {"error": 0.75, "certain_share": 1.0}, "longer-float64": {"error": 0.5}}
    r = result(*(Measurement({}, variations=v) for v in (first, second)), claim="fgsm-maxout")
    clipped, longer = r.variations()
    assert (clipped.key, clipped.label, clipped.seeds) == ("float64", "p − t computed, and rounded, in float64", 2)
    assert clipped.values["error"] == 0.625
    assert math.isnan(clipped.values["certain_share"])  # of one seed it is not a number
    assert (longer.label, longer.values, longer.seeds) == ("trained for 20 epochs", {"error": 0.25, "epochs": 20.0}, 1)


# --- results of several runs ------------------------------------------------------------------------------------


def test_merge_keeps_what_was_not_run_anew():
    old = {name: result(one(0.1), claim=name) for name in ("rubbish-rbf", "fgsm-softmax")}
    new = {name: result(one(0.2), claim=name) for name in ("fgsm-softmax", "linear-growth")}
    both = merge(old, new)
    assert list(both) == ["linear-growth", "fgsm-softmax", "rubbish-rbf"]
    assert both["fgsm-softmax"] is new["fgsm-softmax"]
    assert both["rubbish-rbf"] is old["rubbish-rbf"]
    assert merge({}, {}) == {}


def of_seeds(*seeds, units=240, **more):
    """A result of these seeds, whose error is a hundredth of the seed."""
    measurements = [one(seed / 100) for seed in seeds]
    for seed, m in zip(seeds, measurements, strict=True):
        recipe = {"network": "maxout_network", "arguments": {"units": units}} | ({"seed": seed} if seed else {})
        m.networks = {"naive": {"hash": f"{seed}{units}", "recipe": recipe}}
        if seed == 0:
            m.networks["longer"] = {"hash": "longer", "recipe": {**recipe, "epochs": 100}, "varied": True}
    return result(*measurements, seeds=list(seeds), **more)


@pytest.mark.parametrize(
    ("old", "new", "seeds"),
    [((0,), (1, 2), [0, 1, 2]), ((1, 2), (0,), [0, 1, 2]), ((0, 1), (1, 2), [0, 1, 2]), ((0,), (0,), [0])],
)
def test_seeds_of_two_runs_are_put_together(old, new, seeds):
    both = joined(of_seeds(*old, seconds=1.5), of_seeds(*new, seconds=2.0))
    assert both.seeds == seeds
    assert both.mean("error") == pytest.approx(sum(seeds) / len(seeds) / 100)
    assert both.seconds == (2.0 if set(new) == set(seeds) else 3.5)


def test_costs_of_seeds_that_are_put_together_are_added_up():
    old = of_seeds(0, core_seconds=2.0, versions={"processor": "a", "numpy": "2.4.6"})
    new = of_seeds(1, core_seconds=0.5, versions={"processor": "b", "numpy": "2.4.6", "blas": "c"})
    both = joined(old, new)
    assert both.core_seconds == 2.5
    assert both.versions == {"processor": "a; b", "numpy": "2.4.6", "blas": "c"}
    assert joined(both, of_seeds(2, core_seconds=1.0, versions={"processor": "b"})).versions == {"processor": "a; b"}
    assert joined(old, of_seeds(1)).core_seconds is None


def test_of_a_seed_that_both_have_the_new_one_counts():
    old, new = of_seeds(0, 1), of_seeds(1)
    new.measurements[0].values["error"] = 0.5
    assert [m.values["error"] for m in joined(old, new).measurements] == [0.0, 0.5]


@pytest.mark.parametrize(
    ("new", "named"),
    [
        (of_seeds(1, units=1600), "recipe of naive"),
        (of_seeds(1, claim="fgsm-maxout"), "claim"),
        (of_seeds(1, versions={"trained by": "another"}), "program"),
        (result(one(0.1, name="clean_error"), seeds=[1]), "quantities"),
        (result(one(0.1), seeds=[1]), "networks"),
    ],
)
def test_what_does_not_belong_together_is_not_put_together(new, named):
    with pytest.raises(ValueError, match=named):
        joined(of_seeds(0, versions={"trained by": "one"}), new)


def test_variations_of_another_version_are_shown_as_far_as_they_are_known():
    m = Measurement({"error": 0.5}, variations={"later": {"error": 0.25, "unheard_of": 1.0, "epochs": 3.0}})
    (found,) = Result("fgsm-maxout", "quick", "cpu", [0], [m]).variations()
    assert (found.label, found.values) == ("later", {"error": 0.25, "epochs": 3.0})
