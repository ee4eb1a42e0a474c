"""Results: the status of a claim at every boundary, intervals, and a file that cannot be changed unnoticed."""

import json
import math
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tinyadv.paper import results as module
from tinyadv.paper.claims import Claim, Quantity, claims
from tinyadv.paper.results import (
    Measurement,
    Result,
    ResultsError,
    Stint,
    check,
    committed,
    format_paper,
    format_value,
    joined,
    load_results,
    merge,
    save_results,
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
    same = result(*[one(0.5, (0.4, 0.52))] * 4)
    assert same.interval("error") == pytest.approx((0.5 - 0.1 / 2, 0.5 + 0.02 / 2))
    none_wrong = result(*[one(0.0, (0.0, 0.0004))] * 4)
    assert none_wrong.interval("error") == pytest.approx((0, 0.0002), abs=1e-15)
    # seeds that differ more than images do decide alone
    wide = [one(0.2, (0.199, 0.201)), one(0.4, (0.399, 0.401))]
    assert result(*wide).interval("error") == pytest.approx(stats.t.interval(0.95, 1, 0.3, stats.sem([0.2, 0.4])))
    # where one seed's images are not known there is no such bound
    partly = result(one(0.5, (0.0, 1.0)), one(0.5))
    assert partly.interval("error") == (0.5, 0.5)


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
    three = result(one(0.18, (0.17, 0.19)), one(0.34, (0.33, 0.35)), one(0.2, (0.19, 0.21)))
    assert three.quantity_status(q) == "reproduced"


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
        (0.5, (0.1, 0.9), "reproduced"),  # far, but our interval does not exclude it
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


def test_variations_are_means_over_the_seeds_that_have_them():
    first = {"float64": {"error": 0.5, "certain_share": NAN}, "longer": {"error": 0.25, "epochs": 20.0}}
    second = {"float64": {"error": 0.75, "certain_share": 1.0}, "longer-float64": {"error": 0.5}}
    r = result(*(Measurement({}, variations=v) for v in (first, second)), claim="fgsm-maxout")
    clipped, longer = r.variations()
    assert (clipped.key, clipped.label, clipped.seeds) == ("float64", "p − t computed, and rounded, in float64", 2)
    assert clipped.values["error"] == 0.625
    assert math.isnan(clipped.values["certain_share"])  # of one seed it is not a number
    assert (longer.label, longer.values, longer.seeds) == ("trained for 20 epochs", {"error": 0.25, "epochs": 20.0}, 1)


# --- numbers as text ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("q", "value", "interval", "text"),
    [
        (quantity(0.999, TOL), 0.9992, (0.9984, 0.9996), "99.9 % [99.8, 100.0]"),
        (quantity(0.976, TOL), 0.976, None, "97.6 %"),
        (quantity(0.99, TOL), 0.99, (0.98, 0.995), "99.0 % [98.0, 99.5]"),
        (quantity(0.9835, TOL), 0.97, (0.96, 0.98), "97.00 % [96.00, 98.00]"),
        (quantity(0.0094, 0.001), 0.0131, (0.0111, 0.0155), "1.31 % [1.11, 1.55]"),
        (quantity(0.0094, 0.001), 0.0431, None, "4.31 %"),
        (quantity(0.00782, 0.001), 0.0078, None, "0.780 %"),
        (quantity(), 0.0131, None, "1.31 %"),
        (quantity(), 0.131, None, "13.1 %"),
        (quantity(0.0, 0.001), 0.0, (0.0, 0.00038), "0.00 % [0.00, 0.04]"),
        (quantity(0.5, TOL), 0.5, (-0.3, 1.3), "50.0 % [0.0, 100.0]"),
        (quantity(form="difference"), 0.0018, (-0.0025, 0.006), "0.18 % [-0.25, 0.60]"),
        (quantity(form="difference"), -0.044, (-1.5, -0.02), "-4.4 % [-150.0, -2.0]"),
        (quantity(form="number"), 312.412, (300.0, 320.25), "312.4 [300, 320.2]"),
        (quantity(form="number"), 48123.4, (-20000.0, 50000.0), "48,123 [-20,000, 50,000]"),
        (quantity(form="number"), 3e-14, None, "3e-14"),
        (quantity(0.5, TOL), NAN, None, "—"),
        (quantity(0.5, TOL), NAN, (0.1, 0.2), "—"),
        (quantity(0.5, TOL), None, None, "—"),
        (quantity(form="number"), math.inf, None, "—"),
    ],
)
def test_format_value(q, value, interval, text):
    assert format_value(q, value, interval) == text


def test_format_paper():
    texts = [format_paper(quantity(p, TOL)) for p in (0.999, 0.99, 0.9835, 0.0094, 0.00782, 0.0, 1.0, 0.16)]
    assert texts == ["99.9 %", "99 %", "98.35 %", "0.94 %", "0.782 %", "0 %", "100 %", "16 %"]
    assert format_paper(quantity()) == "—"
    assert format_paper(quantity(1.5, 0.1, "number")) == "1.5"


# --- the file -------------------------------------------------------------------------------------------------

text = st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=20)
finite = st.floats(-1e100, 1e100)
number = finite | st.sampled_from([NAN, math.inf, -math.inf]) | st.integers(-(10**6), 10**6).map(float)
plain = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**20), 10**20) | finite | text,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(text, inner, max_size=3),
    max_leaves=8,
)
costs = st.builds(
    lambda *stints: {"cost": [asdict(stint) for stint in stints]},
    st.builds(
        Stint,
        text,
        st.integers(0, 10**6),
        finite,
        finite,
        st.dictionaries(text, text, max_size=2),
    ),
)
measurements = st.builds(
    Measurement,
    values=st.dictionaries(text, number, max_size=3),
    intervals=st.dictionaries(text, st.tuples(number, number), max_size=2),
    holds=st.none() | st.booleans(),
    variations=st.dictionaries(text, st.dictionaries(text, number, max_size=2), max_size=1),
    details=st.dictionaries(text.filter(lambda name: name != "audit"), plain, max_size=3),
    networks=st.dictionaries(text, st.dictionaries(text, text, max_size=1) | costs, max_size=1),
    later=st.dictionaries(text.map("later {}".format), text, max_size=1),
)


@st.composite
def any_result(draw):
    seeds = draw(st.lists(st.integers(0, 10**9), min_size=1, max_size=3, unique=True))
    return Result(
        claim=draw(st.sampled_from(list(claims()))), profile=draw(text), device=draw(text), seeds=seeds,
        measurements=[draw(measurements) for _ in seeds], seconds=draw(finite),
        versions=draw(st.dictionaries(text, text, max_size=2)), core_seconds=draw(st.none() | finite),
        later=draw(st.dictionaries(text.map("later {}".format), text, max_size=1)),
    )  # fmt: skip


@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(any_result())
def test_json_round_trip(r):
    data = json.loads(json.dumps(r.to_json(), allow_nan=False))
    back = Result.from_json(data)
    assert back.to_json() == r.to_json()
    for name in ("claim", "seeds", "versions", "core_seconds", "later"):
        assert getattr(back, name) == getattr(r, name)
    for a, b in zip(back.measurements, r.measurements, strict=True):
        assert (a.holds, a.networks, a.details, a.later) == (b.holds, b.networks, b.details, b.later)
        assert a.variations.keys() == b.variations.keys()
        assert a.values.keys() == b.values.keys()
        for name, value in b.values.items():
            assert a.values[name] == value if math.isfinite(value) else math.isnan(a.values[name])


@settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow], max_examples=40, deadline=None
)
@given(st.lists(any_result(), max_size=3, unique_by=lambda r: r.claim), st.dictionaries(text, plain, max_size=3))
def test_file_round_trip(tmp_path, listed, manifest):
    path = tmp_path / "results.json"
    results = {r.claim: r for r in listed}
    save_results(path, results, manifest)
    json.loads(path.read_text("utf-8"), parse_constant=pytest.fail)  # strict JSON: no NaN
    found, about = load_results(path)
    assert {name: r.to_json() for name, r in found.items()} == {name: r.to_json() for name, r in results.items()}
    assert about == manifest


def test_arrays_and_array_scalars_are_written_as_numbers(tmp_path):
    details = {"curve": np.array([1.0, NAN], np.float32), "n": np.int64(3), "yes": np.bool_(True), "t": (1, 2)}
    values, intervals = {"error": np.float32(0.5)}, {"error": (np.float64(0.4), 0.6)}
    r = result(Measurement(values, intervals, np.bool_(True), {"clipped": {"error": np.float32(0.25)}}, details))
    save_results(tmp_path / "r.json", {r.claim: r}, {"versions": {"numpy": np.__version__}})
    back = load_results(tmp_path / "r.json")[0][r.claim].measurements[0]
    assert back == Measurement(
        {"error": 0.5},
        {"error": (0.4, 0.6)},
        True,
        {"clipped": {"error": 0.25}},
        {"curve": [1.0, None], "n": 3, "yes": True, "t": [1, 2]},
    )


def test_a_file_from_before_costs_were_recorded_is_read(tmp_path):
    r = result(Measurement({"error": 0.5}, networks={"one": {"hash": "a"}}))
    assert "core_seconds" not in r.to_json()
    save_results(tmp_path / "r.json", {r.claim: r}, {})
    back = load_results(tmp_path / "r.json")[0][r.claim]
    assert back.core_seconds is None
    assert module.stints(back.measurements[0].networks["one"]) == []


def test_what_json_cannot_say_is_named_before_anything_is_written(tmp_path):
    r = result(Measurement({"error": 0.5}, details={"model": object()}))
    with pytest.raises(TypeError, match="results hold texts, numbers, lists and tables of these, got object"):
        save_results(tmp_path / "r.json", {r.claim: r}, {})
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def saved(tmp_path):
    path = tmp_path / "results.json"
    r = result(one(0.9993, (0.998, 1.0)))
    save_results(path, {r.claim: r}, {"profile": "quick"})
    return path


def test_a_number_edited_by_hand_is_noticed(saved):
    text = saved.read_text()
    assert text.count("0.9993") == 1
    saved.write_text(text.replace("0.9993", "0.9992"))
    with pytest.raises(ResultsError, match=r"results\.json is damaged or was edited: .* do not match their SHA-256"):
        load_results(saved)


def test_layout_alone_is_not_damage(saved):
    saved.write_text(json.dumps(json.loads(saved.read_text()), indent=4, sort_keys=True))
    assert load_results(saved)[1] == {"profile": "quick"}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is not a readable results file"),
        (b"\xff\xfe", "is not a readable results file"),
        (b"{", "is not a readable results file"),
        (b'{"a": NaN}', "is not a readable results file: NaN is not JSON"),
        (b'{"a": 1e999}', "is not a readable results file"),
        (b'{"a": "\\ud800"}', "is not a readable results file"),
        (b"[" * 200_000, "is not a readable results file"),
        (b'{"a": ' + b"[" * 990 + b"]" * 990 + b"}", "is"),
        (b"9" * 10_000, "is not a readable results file"),
        (b"[]", "is JSON, but not results"),
        (b"3", "is JSON, but not results"),
        (b'"tinyadv results 2"', "is JSON, but not results"),
        (b"{}", "is JSON, but not results"),
        (b'{"format": "tinyadv result"}', "is JSON, but not results of the form 'tinyadv results 2'"),
        (b'{"format": "tinyadv results 1"}', "was written by an earlier version of tinyadv, as 'tinyadv results 1'"),
        (b'{"format": "tinyadv results 3"}', "was written by a later version of tinyadv, as 'tinyadv results 3'"),
        (b'{"format": "tinyadv results 2"}', "is damaged or was edited"),
        (b'{"format": "tinyadv results 2", "sha256": 3}', "is damaged or was edited"),
    ],
)  # fmt: skip
def test_files_that_are_not_results(tmp_path, content, message):
    path = tmp_path / "results.json"
    path.write_bytes(content)
    with pytest.raises(ResultsError, match=rf"results\.json {message}"):
        load_results(path)


def test_files_that_are_not_there(tmp_path):
    with pytest.raises(ResultsError, match=r"nothing\.json does not exist"):
        load_results(tmp_path / "nothing.json")
    with pytest.raises(ResultsError, match="is not a readable results file"):
        load_results(tmp_path)


def costing(document, cost):
    document["results"][0]["measurements"][0]["networks"]["one"] = {"cost": cost}


def signed(path, change):
    """The saved file, changed and given a fitting fingerprint: what somebody made on purpose."""
    document = json.loads(path.read_text())
    change(document)
    content = {key: value for key, value in document.items() if key not in ("format", "sha256")}
    document["sha256"] = module._fingerprint(content)
    path.write_text(json.dumps(document))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: d.pop("manifest"), "file: manifest is missing"),
        (lambda d: d.update(manifest=[]), r"file: manifest: wanted a table, got \[\]"),
        (lambda d: d.update(results={}), "file: results: wanted a list, got {}"),
        (lambda d: d.update(results=[3]), "result: wanted a table, got int"),
        (lambda d: d["results"][0].pop("claim"), "result: claim is missing"),
        (lambda d: d["results"][0].pop("seeds"), "result of fgsm-softmax: seeds is missing"),
        (lambda d: d["results"][0].update(seeds=[0.5]), "fgsm-softmax: seeds: wanted an integer, got 0.5"),
        (lambda d: d["results"][0].update(seeds=[True]), "fgsm-softmax: seeds: wanted an integer, got True"),
        (lambda d: d["results"][0].update(seeds=[0, 1]), "a result has one measurement for each of its seeds"),
        (lambda d: d["results"][0].update(seconds=None), "seconds: wanted a number, got None"),
        (lambda d: d["results"][0].update(seconds=True), "seconds: wanted a number, got True"),
        (lambda d: d["results"][0].update(seconds=10**400), "seconds: wanted a number that fits"),
        (lambda d: d["results"][0].update(core_seconds="1"), "core_seconds: wanted a number, got '1'"),
        (lambda d: costing(d, 3), "wanted a list, got 3"),
        (lambda d: costing(d, [{"title": "a"}]), "cost: epochs is missing"),
        (lambda d: costing(d, [asdict(Stint("a", "1"))]), "epochs: wanted an integer, got '1'"),
        (lambda d: costing(d, [asdict(Stint("a", 1, None))]), "seconds: wanted a number, got None"),
        (lambda d: costing(d, [asdict(Stint("a", 1, setup={"blas": 1}))]), "setup: wanted a text, got 1"),
        (lambda d: d["results"][0].update(profile=3), "profile: wanted a text, got 3"),
        (lambda d: d["results"].append(d["results"][0]), "more than one result of the same claim"),
        (lambda d: d["results"][0]["measurements"][0].update(holds=1), "holds: wanted true, false or null, got 1"),
        (
            lambda d: d["results"][0]["measurements"][0].update(values={"error": "x"}),
            "values: wanted a number, got 'x'",
        ),
        (
            lambda d: d["results"][0]["measurements"][0].update(intervals={"error": [1]}),
            "intervals: wanted two numbers",
        ),
        (lambda d: d["results"][0]["measurements"][0].update(details=3), "details: wanted a table, got 3"),
        (lambda d: d["results"][0]["measurements"][0].update(networks="abc"), "networks: wanted a table, got 'abc'"),
        (lambda d: d["results"][0]["measurements"][0].update(networks={"a": 1}), "networks: wanted a table, got 1"),
        (lambda d: d["results"][0]["measurements"][0].update(variations=[]), r"variations: wanted a table, got \[\]"),
        (
            lambda d: d["results"][0]["measurements"][0].update(variations={"a": {"error": "x"}}),
            "variations: wanted a number, got 'x'",
        ),
        (lambda d: d["results"][0]["measurements"][0].pop("variations"), "variations is missing"),
        (
            lambda d: d["results"][0]["measurements"][0].update(details={"audit": {}}),
            "details: wanted a list, got None",
        ),
    ],
)
def test_a_stranger_s_file_is_checked_entry_by_entry(saved, change, message):
    signed(saved, change)
    with pytest.raises(ResultsError, match=rf"(?s)results\.json.*{message}"):
        load_results(saved)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60, deadline=None)
@given(st.data())
def test_any_flipped_byte_is_noticed(saved, data):
    """Every change of one byte either gives the same contents or an error that names the file."""
    content = saved.read_bytes()
    at = data.draw(st.integers(0, len(content) - 1))
    byte = data.draw(st.integers(0, 255))
    other = saved.with_name("other.json")
    other.write_bytes(content[:at] + bytes([byte]) + content[at + 1 :])
    try:
        found = load_results(other)
    except ResultsError as error:
        message = str(error)
    else:
        message = "other.json"
        assert found == load_results(saved)
    assert "other.json" in message


@settings(max_examples=60)
@given(plain)
def test_from_json_refuses_anything_else(data):
    with pytest.raises(ResultsError):
        Result.from_json(data)


def test_merge_keeps_what_was_not_run_anew():
    old = {name: result(one(0.1), claim=name) for name in ("rubbish-rbf", "fgsm-softmax")}
    new = {name: result(one(0.2), claim=name) for name in ("fgsm-softmax", "linear-growth")}
    both = merge(old, new)
    assert list(both) == ["linear-growth", "fgsm-softmax", "rubbish-rbf"]
    assert both["fgsm-softmax"] is new["fgsm-softmax"]
    assert both["rubbish-rbf"] is old["rubbish-rbf"]
    assert merge({}, {}) == {}


@pytest.mark.parametrize("largest", ["quick", "lesson", "paper"])
def test_of_the_committed_results_each_claim_has_the_largest_profile(largest):
    folder, found = Path(module.__file__).parent / "results", {}
    for profile in {"quick": ["quick"], "lesson": ["quick", "lesson"], "paper": ["quick", "lesson", "paper"]}[largest]:
        for claim, result in load_results(folder / f"{profile}.json")[0].items():
            assert result.profile == profile
            found[claim] = result.to_json()
    assert {claim: result.to_json() for claim, result in committed(largest).items()} == found
    assert {profile.profile for profile in committed().values()} >= {"lesson", "paper"}


def test_what_a_later_version_wrote_is_kept(saved):
    """Claims and fields that this version does not know: they are read, shown nowhere, and written back."""

    def change(document):
        document["results"][0] |= {"energy": 3.5}
        document["results"][0]["measurements"][0] |= {"temperature": [1, None]}
        document["results"].append({**document["results"][0], "claim": "of-a-later-version"})

    signed(saved, change)
    results, manifest = load_results(saved)
    assert list(results) == ["fgsm-softmax", "of-a-later-version"]
    assert [claim.id for claim, found, _ in statuses(results) if found] == ["fgsm-softmax"]
    new = {"rubbish-rbf": result(one(0.0), claim="rubbish-rbf")}
    merged = merge(results, new)
    assert list(merged) == ["fgsm-softmax", "rubbish-rbf", "of-a-later-version"]
    save_results(saved, merged, manifest)
    first, _, last = json.loads(saved.read_text())["results"]
    for entry in (first, last):
        assert (entry["energy"], entry["measurements"][0]["temperature"]) == (3.5, [1, None])
    assert last["claim"] == "of-a-later-version"


def test_the_file_is_written_whole_or_not_at_all(saved, monkeypatch):
    before = saved.read_bytes()
    monkeypatch.setattr("os.replace", lambda *a: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        save_results(saved, {}, {})
    assert saved.read_bytes() == before
    assert [p.name for p in Path(saved.parent).iterdir()] == ["results.json"]


# --- seeds of several runs ------------------------------------------------------------------------------------


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
