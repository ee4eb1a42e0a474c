"""The results file: it comes back as it was written, and cannot be changed unnoticed."""

import json
import math
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tinyadv.paper import results_file as module
from tinyadv.paper.claims import claims
from tinyadv.paper.results import Measurement, Result, Stint, merge, statuses
from tinyadv.paper.results_file import (
    RESULTS,
    ResultsError,
    committed,
    from_json,
    load_results,
    save_results,
    stints,
    to_json,
)

NAN = math.nan


def result(m, claim="fgsm-softmax"):
    """A result of one seed."""
    return Result(claim, "quick", "cpu", [0], [m])


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
    data = json.loads(json.dumps(to_json(r), allow_nan=False))
    back = from_json(data)
    assert to_json(back) == to_json(r)
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
    assert {name: to_json(r) for name, r in found.items()} == {name: to_json(r) for name, r in results.items()}
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
    assert "core_seconds" not in to_json(r)
    save_results(tmp_path / "r.json", {r.claim: r}, {})
    back = load_results(tmp_path / "r.json")[0][r.claim]
    assert back.core_seconds is None
    assert stints(back.measurements[0].networks["one"]) == []


def test_what_json_cannot_say_is_named_before_anything_is_written(tmp_path):
    r = result(Measurement({"error": 0.5}, details={"model": object()}))
    with pytest.raises(TypeError, match="results hold texts, numbers, lists and tables of these, got object"):
        save_results(tmp_path / "r.json", {r.claim: r}, {})
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def saved(tmp_path):
    path = tmp_path / "results.json"
    r = result(Measurement({"error": 0.9993}, {"error": (0.998, 1.0)}))
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
        (
            lambda d: d["results"][0]["measurements"][0].update(
                details={"audit": {"rows": [], "violations": [["naive", "fgsm", "noise", 10, None, 0.1]]}}
            ),
            "details: wanted a number, got None",
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
        from_json(data)


@pytest.mark.parametrize("largest", ["quick", "lesson", "paper"])
def test_of_the_committed_results_each_claim_has_the_largest_profile(largest):
    found = {}
    for profile in {"quick": ["quick"], "lesson": ["quick", "lesson"], "paper": ["quick", "lesson", "paper"]}[largest]:
        for claim, result in load_results(RESULTS / f"{profile}.json")[0].items():
            assert result.profile == profile
            found[claim] = to_json(result)
    assert {claim: to_json(result) for claim, result in committed(largest).items()} == found
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
    new = {"rubbish-rbf": result(Measurement({"error": 0.0}), "rubbish-rbf")}
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
