"""The report: a page that is whole, asks nothing of anybody and escapes every text, and tells everything."""

import base64
import io
import math
import re
import struct
from dataclasses import replace
from html.parser import HTMLParser
from itertools import pairwise

import pytest
from invented import HOSTILE, WANTED, invented, measured, noted
from rich.console import Console

from tinyadv.bench import summary
from tinyadv.paper.claims import claims
from tinyadv.paper.draw import Drawing
from tinyadv.paper.results import Measurement, Result, status
from tinyadv.paper.results_file import committed
from tinyadv.paper.show import duration, entries, entry, report, rows, without_note
from tinyadv.paper.show.report import page, write_report
from tinyadv.paper.show.terminal import table
from tinyadv.paper.show.text import markdown_gradients

VOID = {"meta", "img", "br", "link", "input", "hr"}
PNG = b"\x89PNG\r\n\x1a\n" + b"\0\0\0\rIHDR" + struct.pack(">II", 800, 300) + b"the rest"
MANIFEST = {
    "command": "tinyadv reproduce --only <this>",
    "profile": "quick",
    "seeds": [0, 1],
    "device": "cpu",
    "started": "2026-11-02T10:11:12+00:00",
    "seconds": 131.2,
    "versions": {"python": "3.11.7", "numpy": "2.4.6"},
    "machine": {"cpu": "some & processor", "cores": 2},
}


class Page(HTMLParser):
    """What a page consists of; complains about tags that do not match."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.open, self.texts, self.problems = [], [], [], []
        self.feed(text)
        self.close()
        self.problems += [f"{name} is not closed" for name in self.open]

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        if not self.open or self.open.pop() != tag:
            self.problems.append(f"</{tag}> at {self.getpos()}")

    def handle_data(self, data):
        self.texts.append(data)

    def all(self, name):
        return [attributes for tag, attributes in self.tags if tag == name]

    @property
    def text(self):
        return " ".join(" ".join(self.texts).split())


@pytest.fixture(autouse=True)
def unpublished(monkeypatch, tmp_path):
    """No benchmark run is committed: its figure takes long to draw, and one test is enough."""
    monkeypatch.setattr(summary, "RESULTS", tmp_path)


@pytest.fixture
def results(monkeypatch):
    """Invented results; of two of their claims there are figures, of which one was drawn."""
    noted(monkeypatch, "adv-robust-1600", "fewer epochs")
    robust, lost = (Drawing(claim, *text, None) for claim, text in DRAWINGS.items())
    monkeypatch.setattr(report, "drawings", lambda: {d.claim: d for d in (robust, lost)})
    return invented()


DRAWINGS = {"adv-robust-1600": ("Robustness", "Error against epochs."), "rubbish-rbf": ("Lost", "Gone.")}


@pytest.fixture
def figures(tmp_path):
    (tmp_path / "adv-robust-1600.png").write_bytes(PNG)
    return tmp_path


def test_the_page_is_whole_html(results, figures):
    text = page(results, MANIFEST, figures)
    parsed = Page(text)
    assert parsed.problems == []
    assert text.startswith("<!doctype html>")
    assert parsed.all("html") == [{"lang": "en"}]
    assert [name for name, _ in parsed.tags].count("h1") == 1
    levels = [int(name[1]) for name, _ in parsed.tags if re.fullmatch("h[1-6]", name)]
    assert all(b - a <= 1 for a, b in pairwise(levels))
    ids = [a["id"] for _, a in parsed.tags if "id" in a]
    assert len(set(ids)) == len(ids)


def test_every_claim_is_there_once_with_its_status(results, figures):
    text = page(results, MANIFEST, figures)
    ids = [a["id"] for _, a in Page(text).tags if "id" in a]
    assert [name for name in ids if name in claims()] == [*results, *(name for name in claims() if name not in results)]
    for name in claims():
        part = text[text.index(f'id="{name}"') :]
        part = (
            part[: re.search("</tbody>|</tr>", part).start()] if name not in results else part.partition("</tbody>")[0]
        )
        badge = Page(part[part.index('class="badge') - 6 :].partition("</td>")[0]).text
        assert badge.split(" ", 1)[1] == WANTED.get(name, "not run") == status(claims()[name], results.get(name))
        on = "" if claims()[name].data == "MNIST" else f" · on {claims()[name].data}"
        assert Page(part[part.index("<th") :]).text.startswith(
            f"{name} §{claims()[name].section}{on} {claims()[name].claim}"
        )
        assert claims()[name].definition in Page(part[part.index("<th") :]).text


def test_the_page_asks_nothing_of_anybody(results, figures):
    text = page(results, MANIFEST, figures)
    parsed = Page(text)
    assert not {name for name, _ in parsed.tags} & {"script", "link", "iframe", "object", "embed", "base", "form"}
    for name, attributes in parsed.tags:
        for key, value in attributes.items():
            assert not key.startswith("on")
            if key in ("src", "href", "srcset", "action", "data", "poster"):
                assert value.startswith(("data:image/", "#")) or (name, key) == ("a", "href"), (name, key, value)
    assert [a["href"] for a in parsed.all("a") if not a["href"].startswith("#")] == [report.PAPER]
    style = "".join(re.findall(r"<style>(.*?)</style>", text, re.S))
    assert "url(" not in style
    assert "@import" not in style
    assert "default-src 'none'" in next(a["content"] for a in parsed.all("meta") if "http-equiv" in a)


def test_links_within_the_page_lead_somewhere(results, figures):
    parsed = Page(page(results, MANIFEST, figures))
    ids = {a["id"] for _, a in parsed.tags if "id" in a}
    targets = {a["href"][1:] for a in parsed.all("a") if a["href"].startswith("#")}
    assert targets == {"adv-robust-1600.png", "rubbish-rbf.png", "adv-robust-1600", "rubbish-rbf"}
    assert targets <= ids


def test_tables_tell_what_their_headers_are_for(results, figures):
    parsed = Page(page(results, MANIFEST, figures))
    assert {a.get("scope") for a in parsed.all("th")} == {"col", "row", "rowgroup"}
    spans = [int(a["rowspan"]) for a in parsed.all("th") if a.get("scope") == "rowgroup"]
    assert spans == [int(a["rowspan"]) for a in parsed.all("td") if a.get("class") == "status" and "rowspan" in a]
    assert spans == [len(rows(claims()[name], results[name])) + 1 for name in WANTED]
    assert spans == [4, 3, 2, 3, 3]


def test_figures_are_inside_and_described(results, figures):
    parsed = Page(page(results, MANIFEST, figures))
    (image,) = parsed.all("img")
    assert base64.b64decode(image["src"].removeprefix("data:image/png;base64,")) == PNG
    assert image["alt"] == "Robustness. Error against epochs."
    assert (image["width"], image["height"]) == ("800", "300")
    assert [a.get("class") for a in parsed.all("figure")] == ["wide", None]
    assert "rubbish-rbf.png was not drawn." in parsed.text


@pytest.mark.parametrize("content", [b"", b"\x89PNG\r\n\x1a\n", b"\x89PNG\r\n\x1a\nshort"])
def test_a_damaged_figure_does_not_stop_the_report(results, figures, content):
    (figures / "adv-robust-1600.png").write_bytes(content)
    assert Page(page(results, MANIFEST, figures)).problems == []


def test_hostile_texts_stay_texts(results, figures, monkeypatch):
    evil = results["adv-robust-1600"]
    plain = Page(page(results, MANIFEST, figures))
    noted(monkeypatch, "adv-robust-1600", HOSTILE + "2")
    evil.profile, evil.device, evil.versions = HOSTILE + "3", HOSTILE + "4", {HOSTILE + "5": HOSTILE + "6"}
    drawing = Drawing("adv-robust-1600", HOSTILE + "7", HOSTILE + "8", None)
    monkeypatch.setattr(report, "drawings", lambda: {"adv-robust-1600": drawing})
    recipe = {"network": "maxout_network", "objective": HOSTILE + "1"}
    evil.measurements[0].networks = {"one": {"hash": HOSTILE + "9", "recipe": recipe}}
    manifest = {key: HOSTILE + key for key in MANIFEST} | {HOSTILE + "10": {HOSTILE + "11": [HOSTILE + "12"]}}
    parsed = Page(page(results, manifest, figures))
    assert parsed.problems == []
    names = {name for name, _ in plain.tags}
    assert {name for name, _ in parsed.tags} <= names
    assert len(parsed.all("img")) == 1
    assert parsed.all("img")[0]["alt"] == f"{HOSTILE}7. {HOSTILE}8"
    assert not [a for _, a in parsed.tags if any(key.startswith("on") for key in a)]
    spoken = " ".join(HOSTILE.split())
    for i in range(1, 13):
        assert f"{spoken}{i}" in parsed.text, i
    for key in ("command", "device", "started"):
        assert f"{spoken}{key}" in parsed.text


def test_a_hostile_registry_stays_text(results, figures, monkeypatch):
    plain = Page(page(results, MANIFEST, figures))
    changed = {
        name: replace(
            claim, claim=HOSTILE, definition=HOSTILE, paper=HOSTILE, section=HOSTILE, data=HOSTILE,
            predicate=claim.predicate and HOSTILE,
            quantities=tuple(replace(q, label=HOSTILE) for q in claim.quantities),
        )
        for name, claim in claims().items()
    }  # fmt: skip
    monkeypatch.setattr("tinyadv.paper.results.claims", lambda: changed)
    parsed = Page(page(results, MANIFEST, figures))
    assert parsed.problems == []
    assert HOSTILE in "".join(parsed.texts)
    assert {name for name, _ in parsed.tags} == {name for name, _ in plain.tags}
    assert len(parsed.all("img")) == 1
    assert not [a for _, a in parsed.tags if any(key.startswith("on") for key in a)]


def test_the_summary_counts(results, figures):
    text = Page(page(results, MANIFEST, figures)).text
    assert (
        f"Of the paper’s {len(claims())} claims: 3 reproduced, 1 close, 1 differs, {len(claims()) - 5} not run." in text
    )
    assert "profile quick, seeds 0, 1, on cpu, in 2 min 11 s, started 2026-11-02 10:11." in text


def test_the_rows_of_a_claim(results, figures):
    text = Page(page(results, MANIFEST, figures)).text
    assert "FGSM error 99.9 % ✓ 99.9 % [99.4, 100.0] ✓ reproduced confidence on mistakes 79.3 % ✓" in text
    assert "FGSM error, clipped 99.0 % [98.5, 99.5]" in text  # context: no value of the paper, no mark
    assert "statement exact ✓ holds for 3 of 3 seeds" in text
    assert "Scale: 240 units where the paper has 1600 Why: fewer epochs" in text
    assert "confidence on mistakes — clean error" not in text  # what was not measured and is context is not listed
    assert "rubbish error 0 % ✓ 0.00 % [0.00, 0.50] ✓ reproduced confidence on mistakes —" in text
    assert "Has to hold, for every seed: " + claims()["logistic-exact"].predicate in text
    assert "Counts as close: FGSM error, within 2 points of the paper’s value." in text
    assert "statement ✓ holds ✗ differs FGSM error 17.9 % ✗ 28.6 % [28.1, 29.1]" in text


def test_the_manifest_is_told_in_full(results, figures):
    text = Page(page(results, MANIFEST, figures)).text
    for fact in (
        "tinyadv reproduce --only <this>",
        "versions: numpy 2.4.6",
        "machine: cpu some & processor",
        "cores 2",
        "seconds 131.2",
    ):
        assert fact in text
    assert "seconds 41,144 " in Page(page(results, MANIFEST | {"seconds": 41144.0}, figures)).text
    assert "a1b2c3 d4e5f6" in text


def test_costs_are_told_and_where_they_are_not_known(results, figures):
    old = Page(page(results, MANIFEST, figures))
    assert "a1b2c3 maxout network 240, seed 0 not recorded fgsm-softmax, " in old.text
    stint = {"title": "t", "epochs": 12, "seconds": 70.0, "core_seconds": 7200.0, "setup": {"blas": "a <kernel>"}}
    softmax = results["fgsm-softmax"]
    softmax.measurements[0].networks["one"] = {**softmax.measurements[0].networks["one"], "cost": [stint]}
    softmax.seconds, softmax.core_seconds, softmax.versions = 100.0, 360.0, {"blas": "another", "numpy": "2.4.6"}
    new = Page(page(results, MANIFEST, figures))
    assert new.problems == []
    assert "a1b2c3 maxout network 240, seed 0 12 1 min 10 s 2.00 2 fgsm-softmax, " in new.text
    assert "fgsm-softmax profile quick 1 min 40 s 0.10 1 " in new.text
    assert "1 not recorded another not recorded 2.4.6 not recorded 2 not recorded a <kernel> " in new.text


def test_a_page_of_nothing(tmp_path):
    parsed = Page(page({}, {}, tmp_path))
    assert parsed.problems == []
    assert f"{len(claims())} claims: {len(claims())} not run." in parsed.text
    assert "None yet." in parsed.text
    full = {name: measured(name, {}, holds=True) for name in claims()}
    assert "Claims not run" not in Page(page(full, {}, tmp_path)).text


def test_write_report_writes_a_whole_file(results, figures, tmp_path):
    path = tmp_path / "deep" / "report.html"
    write_report(path, results, MANIFEST, figures)
    assert path.read_text("utf-8") == page(results, MANIFEST, figures)
    write_report(path, results, MANIFEST | {"command": "lone surrogate \ud800"}, str(figures))
    assert "lone surrogate ?" in path.read_text("utf-8")
    with pytest.raises(OSError, match="deep"):
        write_report(tmp_path / "deep", results, MANIFEST, figures)


@pytest.mark.parametrize(
    ("seconds", "text"), [(3.4, "3 s"), (59.9, "60 s"), (131.2, "2 min 11 s"), (7322, "2 h 2 min"), (0, "0 s")]
)
def test_durations(seconds, text):
    assert duration(seconds) == text


# --- what stands under a claim, and the parts of a long page ---------------------------------------------------


def varied(*seeds, violations=((), ())):
    """adv-robust-1600 with variations and an audit, for each seed."""
    found = []
    for seed, (variations, broken) in enumerate(zip(seeds, violations, strict=False)):
        audited = [["naive", "fgsm", 10000, 0.9 + 0.02 * seed, 0.89, 0.91], ["naive", "zeros", 50, 0.125, None, None]]
        columns = ["network", "attack", "images", "error", "low", "high"]
        details = {"audit": {"columns": columns, "rows": audited, "violations": list(broken)}}
        found.append(Measurement({"error": 0.286}, {}, True, variations, details))
    return Result("adv-robust-1600", "quick", "cpu", list(range(len(seeds))), found)


def under(result, figures):
    """The claim's group on the page: as text, and its parsed tags."""
    text = page({result.claim: result}, MANIFEST, figures)
    part = text[text.index('<tr class="more">') : text.index("</section>")]
    return Page(part).text, Page(part)


def validation(error, norm, epochs=8):
    return {"validation": {"error": error, "weights_l1": norm, "epochs": epochs}}


def test_variations_stand_under_the_claim_by_their_labels(figures):
    half = {"validation-unmasked-half": {"error": 0.25, "weights_l1": math.nan, "epochs": 3}}
    text, parsed = under(varied(validation(0.5, 12.5) | half), figures)
    assert "Variations of what the paper leaves open variation FGSM error ‖W‖₁ of the first layer on the " in text
    assert (
        "on the validation images, at the end of the first stage 50.0 % 12.5 attack without dropout, on the validation"
        in text
    )
    assert "images, half way, 3 epochs 25.0 % —" in text
    assert parsed.all("details")[0]["class"] == "variations"
    assert "open" in parsed.all("details")[0]  # it differs: this may be why
    assert {a["scope"] for a in parsed.all("th")} == {"col", "row"}


def test_the_definition_stands_first_where_it_has_all_the_numbers(figures):
    result = measured("fgsm-maxout", {"error": 0.9, "confidence_on_mistakes": 0.8})
    result.measurements[0].variations = {"float64": {"error": 0.7, "confidence_on_mistakes": 0.6}}
    text, _ = under(result, figures)
    assert "FGSM error confidence on mistakes as defined 90.0 % 80.0 % p − t" in text
    assert "computed, and rounded, in float64 70.0 % 60.0 %" in text


def test_variations_of_several_seeds_are_means_over_those_that_have_them(figures):
    text, _ = under(varied(validation(0.5, 1.0), validation(0.3, 2.0)), figures)
    assert "leaves open, mean of 2 seeds variation" in text
    assert "at the end of the first stage 40.0 % 1.5" in text
    text, _ = under(varied(validation(0.5, 1.0), validation(math.nan, 2.0)), figures)
    assert "at the end of the first stage — 1.5" in text  # not a number for one seed is not a number
    text, _ = under(varied(validation(0.5, 1.0), {}), figures)
    assert "at the end of the first stage (of 1 of 2 seeds) 50.0 % 1" in text


def test_the_epochs_of_a_variation_are_shown_where_the_claim_has_that_number(figures):
    numbers = {"clean_error": 0.011, "epochs": 90.0}
    m = Measurement({"clean_error": 0.009, "epochs": 120.0}, variations={"unmasked": numbers})
    text, _ = under(Result("adv-train-1600", "quick", "cpu", [0], [m]), figures)
    assert "variation clean error, mean of seeds epochs chosen as defined 0.900 % 120 the attack in training" in text
    assert "sees the network without dropout 1.100 % 90" in text


def test_no_variations_are_no_table(figures):
    assert "Variations" not in under(varied({}), figures)[0]


def test_the_audit_stands_under_the_claim(figures):
    text, parsed = under(varied({}), figures)
    assert "Masking audit ✓ The order of attacks holds everywhere. Network Attack Images Error" in text
    assert "naive FGSM 10,000 90.0 % [89.0, 91.0] naive (input gradients exactly 0) 50 12.5 %" in text
    assert "[nan" not in text
    broken = ["naive", "fgsm", "noise", 10_000, 0.1, 0.25]
    text, parsed = under(varied({}, {}, violations=((), (broken,))), figures)
    said = "naive: random signs 25.00 %, FGSM 10.00 % only, on the same 10,000 images"
    assert f"Masking audit, mean of 2 seeds ⚠ order broken , seed 1: {said} Network" in text
    assert "holds everywhere" not in text
    assert "naive FGSM 10,000 91.0 % [" in text
    assert [a["class"] for a in parsed.all("ul")] == ["violations"]
    close = ["naive", "fgsm", "noise", 10_000, 0.1791, 0.1793]
    assert "random signs 17.93 %, FGSM 17.91 % only" in under(varied({}, violations=((close,),)), figures)[0]


def test_audits_of_other_attacks_have_no_mean(results, figures):
    result = varied({}, {})
    for key in (0, 1, 2):
        table = result.measurements[1].details["audit"]
        result.measurements[1].details["audit"] = table | {"rows": [[*row] for row in table["rows"]]}
        result.measurements[1].details["audit"]["rows"][0][key] = 7 if key == 2 else "another"
        assert "Masking audit" not in page({result.claim: result}, MANIFEST, figures)
        result = varied({}, {})


@pytest.mark.parametrize("details", [{}, {"audit": "nonsense"}, {"audit": None}])
def test_without_tables_nothing_stands_under_the_claim(results, figures, details):
    results["rubbish-rbf"].measurements[0].details = details
    assert 'class="more"' not in page(results, MANIFEST, figures)


def test_hostile_tables_stay_texts(figures, monkeypatch):
    monkeypatch.setattr(report, "drawings", dict)
    claim = claims()["adv-robust-1600"]
    labels = dict.fromkeys(claim.variations, HOSTILE)
    monkeypatch.setitem(claims(), claim.id, replace(claim, variations=labels))
    broken = [HOSTILE, HOSTILE, HOSTILE, 10, 0.1, 0.2]
    result = varied(validation(0.5, 1.0), violations=((broken,),))
    result.measurements[0].details["audit"]["rows"][0][:2] = [HOSTILE, HOSTILE]
    parsed = Page(page({result.claim: result}, MANIFEST, figures))
    assert parsed.problems == []
    assert not {"script", "img"} & {name for name, _ in parsed.tags}


def test_a_claim_on_other_data_says_so_and_why_it_is_not_run(figures, monkeypatch):
    noted(monkeypatch, "fooling-step", "Only digits were tried: {success_mean_mnist}.")
    result = measured("fooling-step", {"success_mean_mnist": 0.67})
    text = Page(page({"fooling-step": result}, MANIFEST, figures)).text
    assert "fooling-step §A · on CIFAR-10 One gradient step" in text
    assert "Why: Only digits were tried: 67.0 %." in text
    assert "mean over the ten digits of MNIST 67.0 %" in text
    assert f"{len(claims())} claims: {len(claims())} not run." in text


def test_a_long_page_has_a_table_of_contents(results, figures):
    assert not Page(page(results, MANIFEST, figures)).all("nav")
    full = {name: measured(name, {}, holds=True) for name in claims()} | results
    text = page(full, MANIFEST, figures)
    parsed = Page(text)
    assert parsed.problems == []
    listed = Page(text[text.index("<nav") : text.index("</nav>")])
    targets = [a["href"][1:] for a in listed.all("a")]
    assert {a["id"] for _, a in parsed.tags if "id" in a} >= set(targets)
    assert set(claims()) <= set(targets)
    assert len(set(targets)) == len(targets)
    assert [t for t in targets if t.startswith("section-")] == [f"section-{s}" for s in "3456789A2"]
    assert "adv-robust-1600\u00a0✗" in "".join(listed.texts)
    assert targets[-3:] == ["figures", "cost", "manifest"]  # and no claim that was not run
    order = [a["id"] for _, a in parsed.tags if a.get("id") in claims()]
    assert order == list(claims())
    assert "universal-direction" in text[text.index('id="section-8"') : text.index('id="section-9"')]


def test_the_published_benchmark_has_a_section_of_its_own(results, figures, monkeypatch):
    assert 'id="speed"' not in page(results, MANIFEST, figures)
    lines = [summary.Line("train<240>", {"ours": 21.4, "torch": 30.0}, {"ours": 0.71, "torch": 1.0}, 0.35, 216.4)]
    monkeypatch.setattr(summary, "committed", lambda: summary.Summary("A <processor>, 2 threads", lines))
    monkeypatch.setattr(summary, "growth_plot", lambda: PNG)
    monkeypatch.setattr(summary, "committed_of_images", lambda: None)
    monkeypatch.setattr(summary, "convolution_plot", lambda: None)
    text = page(results, MANIFEST, figures)
    part = text[text.index('<section id="speed"') :]
    shown = Page(part[: part.index("</section>") + len("</section>")])
    assert (Page(text).problems, shown.problems) == ([], [])
    assert "published with the package, on A <processor>, 2 threads." in shown.text
    assert "job tinyadv PyTorch products' share peak MiB train<240> 21.4 ms (0.71) 30 ms (1.00) 35% 216" in shown.text
    (image,) = shown.all("img")
    assert base64.b64decode(image["src"].removeprefix("data:image/png;base64,")) == PNG
    assert image["alt"].startswith("Growth of the time with size. Microseconds per example")
    monkeypatch.setattr(summary, "growth_plot", lambda: None)
    assert len(Page(page(results, MANIFEST, figures)).all("img")) == 1  # the claim's


def test_the_benchmark_of_images_stands_below_with_its_figure(results, figures, monkeypatch):
    lines = [summary.Line("conv", {"ours": 940.0, "torch": 3290.0}, {"ours": 0.28, "torch": 1.0}, None, 919.0)]
    monkeypatch.setattr(summary, "committed", lambda: summary.Summary("A processor", lines))
    monkeypatch.setattr(summary, "growth_plot", lambda: None)
    monkeypatch.setattr(summary, "committed_of_images", lambda: summary.Summary("one thread", lines))
    monkeypatch.setattr(summary, "convolution_plot", lambda: PNG)
    text = page(results, MANIFEST, figures)
    part = text[text.index('<section id="speed"') :]
    shown = Page(part[: part.index("</section>") + len("</section>")])
    assert "Convolutional networks, on one thread. job tinyadv PyTorch peak MiB conv 940 ms (0.28)" in shown.text
    (image,) = shown.all("img")
    assert image["alt"].startswith("Growth of a convolution’s time. Microseconds of one thread")


# --- what rounding does to the gradient -----------------------------------------------------------------------------


def test_what_rounding_does_stands_beside_the_paper(figures):
    longer = {"error": 0.86, "confidence_on_mistakes": 0.5, "error_exact": 0.9, "confidence_on_mistakes_exact": 0.9}
    variations = {"longer": {**longer, "epochs": 100}}
    values = {"error": 0.7, "confidence_on_mistakes": 0.97, "error_exact": 0.9, "confidence_on_mistakes_exact": 0.8}
    measurement = Measurement(values, variations=variations)
    result = Result("noise-sign", "quick", "cpu", [0], [measurement])
    text = page({"noise-sign": result}, MANIFEST, figures)
    part = text[text.index('<section id="rounding"') :]
    part = " ".join(" ".join(Page(part[: part.index("</section>") + 10]).texts).split())
    said = (
        "With the software’s gradient, {} of 2 published numbers are nearer to the paper’s than with the exact one of "
        "the "
    )
    assert said.format(1) in part, "the longest training's error, 86 %, but not its confidence"
    assert "noise-sign : FGSM error 86.2 % 70.0 % 90.0 %" in part
    assert "noise-sign : confidence on mistakes (trained for 100 epochs) 97.3 % 50.0 % 90.0 %" in part
    text = markdown_gradients({"noise-sign": result})
    assert said.format(1) in text
    assert "| `noise-sign`: FGSM error (trained for 100 epochs) | 86.2 % | 86.0 % | 90.0 % |" in text
    del longer["error_exact"], variations["longer"]["error_exact"], variations["longer"]["confidence_on_mistakes_exact"]
    assert "100 epochs" not in markdown_gradients({"noise-sign": result})  # without the exact one it says nothing
    measurement.variations = {}
    values |= {"error": 0.9, "confidence_on_mistakes": 0.81}
    text = markdown_gradients({"noise-sign": result})  # of two that are shown alike neither is nearer
    assert said.format(1) in text
    assert "| `noise-sign`: FGSM error | 86.2 % | 90.0 % | 90.0 % |" in text
    del values["error_exact"], values["confidence_on_mistakes_exact"]
    assert markdown_gradients({"noise-sign": result}) == ""
    assert 'id="rounding"' not in page({"noise-sign": result}, MANIFEST, figures)


def test_the_exact_gradient_s_number_stands_beside_the_published_one_and_a_draft_s_is_named():
    values = {"error": 0.9, "error_exact": 0.99, "confidence_on_mistakes": 0.9, "clean_error": 0.01}
    one = entry(claims()["noise-sign"], measured("noise-sign", values))
    shown = [(row.label, row.paper, row.ours.partition(" [")[0]) for row in one.compared]
    assert shown == [
        ("FGSM error", "86.2 %", "90.0 %"),
        ("FGSM error, exact gradient", "", "99.0 %"),
        ("confidence on mistakes", "97.3 %", "90.0 %"),
    ]
    assert [row.status for row in one.compared][1] is None
    claim = claims()["universal-direction"]
    rows = {row.label: row.paper for row in entry(claim, measured(claim.id, {"error_other": 0.4})).rows}
    assert rows["error, the perturbation of another image of any class"] == "a draft: 46.2 %"
    assert claim.published == ()  # nothing is compared with a draft


# --- notes ------------------------------------------------------------------------------------------------------


def test_a_note_has_the_numbers_in_it_and_leaves_out_what_was_not_measured(monkeypatch):
    text = """Ours is {error}, the paper's {paper/error}.
    Trained for longer it is {longer/error}.
    With confidence {confidence_on_mistakes} and {wrong_label_probability}.
    Nobody knows why."""
    noted(monkeypatch, "fgsm-maxout", text)
    result = measured("fgsm-maxout", {"error": 0.5, "confidence_on_mistakes": math.nan})
    shown = entry(claims()["fgsm-maxout"], result)
    assert shown.note == "Ours is 50.0 %, the paper's 89.4 %. Nobody knows why."
    result.measurements[0].variations = {"longer": {"error": 0.75}}
    assert "Trained for longer it is 75.0 %. Nobody" in entry(claims()["fgsm-maxout"], result).note


def test_a_note_is_shown_where_something_differs_is_close_or_is_not_run(monkeypatch):
    noted(monkeypatch, "rubbish-rbf", "A note.")
    claim = claims()["rubbish-rbf"]
    for error, word, shown in ((0.0, "reproduced", ""), (0.5, "differs", "A note.")):
        one = entry(claim, measured("rubbish-rbf", {"error": error}))
        assert (one.status, one.note) == (word, shown)
    assert entry(claim, None).note == ""


def test_every_committed_result_that_is_not_reproduced_has_a_note(monkeypatch):
    for largest in ("quick", "lesson", "paper"):
        assert without_note(entries(committed(largest))) == []
    noted(monkeypatch, "fgsm-maxout", None)
    found = {"fgsm-maxout": measured("fgsm-maxout", {"error": 0.5, "confidence_on_mistakes": 0.5})}
    assert without_note(entries(found)) == ["fgsm-maxout: ours differs, and no note says why"]


@pytest.mark.parametrize("text", [None, "With {confidence_on_mistakes}, which was not measured."])
def test_where_a_claim_differs_and_nothing_says_why_one_line_says_so(monkeypatch, text):
    noted(monkeypatch, "rubbish-rbf", text)
    for error, lines in ((0.0, 0), (0.5, 1)):
        console = Console(file=io.StringIO(), width=100)
        table({"rubbish-rbf": measured("rubbish-rbf", {"error": error})}, console)
        said = [line for line in console.file.getvalue().splitlines() if "no note" in line]
        assert [line.strip() for line in said] == ["rubbish-rbf: ours differs, and no note says why"] * lines
