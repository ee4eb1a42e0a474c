"""The report: a page that is whole, asks nothing of anybody and escapes every text, and tells everything."""

import base64
import math
import re
import struct
from dataclasses import replace
from html.parser import HTMLParser
from itertools import pairwise

import pytest
from invented import HOSTILE, WANTED, invented, measured

from tinyadv.bench import summary
from tinyadv.paper import report, variations
from tinyadv.paper.registry import claims
from tinyadv.paper.report import page, write_report
from tinyadv.paper.results import Figure, Measurement, Result, status
from tinyadv.paper.tables import markdown_rounding, rows
from tinyadv.paper.variations import ROUNDED
from tinyadv.paper.verdict import verdict

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
def results():
    return invented()


@pytest.fixture
def figures(tmp_path):
    (tmp_path / "robust.png").write_bytes(PNG)
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
    assert targets == {"robust.png", "lost.png", "adv-robust-1600"}  # the last one from its figures and its verdict
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
    assert "lost.png was not drawn." in parsed.text


def test_svg_figures_cannot_run_anything(results, figures):
    """As the source of an image, and not as markup of the page."""
    results["adv-robust-1600"].figures = [Figure("a.svg", "A", "About a.")]
    (figures / "a.svg").write_text("<svg onload='alert(1)'><script>alert(2)</script></svg>")
    text = page(results, MANIFEST, figures)
    assert Page(text).all("img")[0]["src"].startswith("data:image/svg+xml;base64,")
    assert "alert" not in text


@pytest.mark.parametrize("content", [b"", b"\x89PNG\r\n\x1a\n", b"\x89PNG\r\n\x1a\nshort"])
def test_a_damaged_figure_does_not_stop_the_report(results, figures, content):
    (figures / "robust.png").write_bytes(content)
    assert Page(page(results, MANIFEST, figures)).problems == []


def test_hostile_texts_stay_texts(results, figures):
    evil = results["adv-robust-1600"]
    evil.scale, evil.reason, evil.profile, evil.device = HOSTILE + "1", HOSTILE + "2", HOSTILE + "3", HOSTILE + "4"
    evil.versions = {HOSTILE + "5": HOSTILE + "6"}
    evil.figures = [Figure("robust.png", HOSTILE + "7", HOSTILE + "8")]
    evil.measurements[0].recipes = [HOSTILE + "9"]
    manifest = {key: HOSTILE + key for key in MANIFEST} | {HOSTILE + "10": {HOSTILE + "11": [HOSTILE + "12"]}}
    plain, parsed = Page(page(results, MANIFEST, figures)), Page(page(results, manifest, figures))
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
    assert "Of the paper’s 46 claims: 3 reproduced, 1 close, 1 differs, 41 not run." in text
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
    ):
        assert fact in text
    assert "a1b2c3 d4e5f6" in text


def test_a_page_of_nothing(tmp_path):
    parsed = Page(page({}, {}, tmp_path))
    assert parsed.problems == []
    assert "46 claims: 46 not run." in parsed.text
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
    assert report._duration(seconds) == text


# --- what stands under a claim, and the parts of a long page ---------------------------------------------------


def varied(*tables, violations=((), ())):
    """adv-robust-1600 with tables of variations and audits, one for each seed."""
    found = []
    for seed, (rows_, broken) in enumerate(zip(tables, violations, strict=False)):
        formats = ["text", "percent", "number"]
        details = {"variations": {"columns": ["choice", "error", "norm"], "rows": rows_, "formats": formats}}
        audited = [["naive", "FGSM", 10000, 0.9 + 0.02 * seed, 0.89, 0.91], ["naive", "(zeros)", 50, 0.125, None, None]]
        columns = ["network", "attack", "images", "error", "low", "high"]
        details["audit"] = {"columns": columns, "rows": audited, "violations": list(broken)}
        found.append(Measurement({"error": 0.286}, {}, True, details))
    return Result("adv-robust-1600", "quick", "cpu", list(range(len(tables))), found)


def under(result, figures):
    """The claim's group on the page: as text, and its parsed tags."""
    text = page({result.claim: result}, MANIFEST, figures)
    part = text[text.index('<tr class="more">') : text.index("</section>")]
    return Page(part).text, Page(part)


def test_variations_stand_under_the_claim(figures):
    text, parsed = under(varied([["by masks", 0.5, 12.5], ["plain", 0.25, None]]), figures)
    assert "Variations of what the paper leaves open choice error norm by masks 50.0 % 12.5 plain 25.0 % —" in text
    assert parsed.all("details")[0]["class"] == "variations"
    assert "open" in parsed.all("details")[0]  # it differs: this may be why
    assert {a["scope"] for a in parsed.all("th")} == {"col", "row"}


def test_variations_of_several_seeds_are_means_where_they_are_of_the_same_things(figures):
    text, _ = under(varied([["a", 0.5, 1.0]], [["a", 0.3, 2.0]]), figures)
    assert "leaves open, mean of 2 seeds choice error norm a 40.0 % 1.5" in text
    text, _ = under(varied([["a", 0.5, 1.0]], [["a", None, 2.0]]), figures)
    assert "a — 1.5" in text  # not a number for one seed is not a number
    text, _ = under(varied([["20 epochs", 0.5, 1.0]], [["31 epochs", 0.3, 2.0]]), figures)
    assert "leaves open, seed 0 choice error norm 20 epochs 50.0 % 1 " in text
    one_lacks_it = varied([["a", 0.5, 1.0]], [["a", 0.3, 2.0]])
    del one_lacks_it.measurements[1].details["variations"]
    assert "Variations" not in under(one_lacks_it, figures)[0]


def test_no_variations_are_no_table(figures):
    assert "Variations" not in under(varied([["as defined", 0.5, 1.0]]), figures)[0]
    assert "Variations" in under(varied([["as defined", 0.5, 1.0], ["a", 0.5, 1.0]]), figures)[0]


def test_the_audit_stands_under_the_claim(figures):
    text, parsed = under(varied([["a", 0.5, 1.0]]), figures)
    assert "Masking audit ✓ The order of attacks holds everywhere. Network Attack Images Error" in text
    assert "naive FGSM 10,000 90.0 % [89.0, 91.0] naive (zeros) 50 12.5 %" in text
    assert "[nan" not in text
    text, parsed = under(
        varied([["a", 0.5, 1.0]], [["a", 0.5, 1.0]], violations=((), ("FGSM less than <noise>",))), figures
    )
    assert "Masking audit, mean of 2 seeds ⚠ order broken , seed 1: FGSM less than <noise> Network" in text
    assert "holds everywhere" not in text
    assert "naive FGSM 10,000 91.0 % [" in text
    assert [a["class"] for a in parsed.all("ul")] == ["violations"]


@pytest.mark.parametrize("details", [{}, {"variations": {"rows": []}}, {"audit": "nonsense"}, {"variations": None}])
def test_without_tables_nothing_stands_under_the_claim(results, figures, details):
    results["rubbish-rbf"].measurements[0].details = details
    assert 'class="more"' not in page(results, MANIFEST, figures)


def test_hostile_tables_stay_texts(figures):
    result = varied([[HOSTILE, 0.5, 1.0]], violations=((HOSTILE,),))
    result.measurements[0].details["audit"]["rows"][0][:2] = [HOSTILE, HOSTILE]
    result.measurements[0].details["variations"]["columns"][1] = HOSTILE
    parsed = Page(page({result.claim: result}, MANIFEST, figures))
    assert parsed.problems == []
    assert not {"script", "img"} & {name for name, _ in parsed.tags}


def test_a_claim_on_other_data_says_so_and_why_it_is_not_run(figures):
    result = measured("fooling-step", {"success_mean_mnist": 0.67}, reason="Only digits were tried.")
    text = Page(page({"fooling-step": result}, MANIFEST, figures)).text
    assert "fooling-step §A · on CIFAR-10 One gradient step" in text
    assert "Why: Only digits were tried." in text
    assert "mean over the ten digits of MNIST 67.0 %" in text
    assert "46 claims: 46 not run." in text


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
    assert targets[-2:] == ["figures", "manifest"]  # and no claim that was not run
    order = [a["id"] for _, a in parsed.tags if a.get("id") in claims()]
    assert order == list(claims())
    assert "universal-direction" in text[text.index('id="section-8"') : text.index('id="section-9"')]


def test_the_published_benchmark_has_a_section_of_its_own(results, figures, monkeypatch):
    assert 'id="speed"' not in page(results, MANIFEST, figures)
    lines = [summary.Line("train<240>", {"ours": 21.4, "torch": 30.0}, {"ours": 0.71, "torch": 1.0}, 0.35, 216.4)]
    monkeypatch.setattr(summary, "committed", lambda: summary.Summary("A <processor>, 2 threads", lines))
    monkeypatch.setattr(summary, "growth_plot", lambda: PNG)
    text = page(results, MANIFEST, figures)
    part = text[text.index('<section id="speed"') :]
    shown = Page(part[: part.index("</section>") + len("</section>")])
    assert (Page(text).problems, shown.problems) == ([], [])
    assert "published with the package, on A <processor>, 2 threads." in shown.text
    assert "job tinyadv PyTorch of floor peak MiB train<240> 21.4 ms (0.71) 30 ms (1.00) 35% 216" in shown.text
    (image,) = shown.all("img")
    assert base64.b64decode(image["src"].removeprefix("data:image/png;base64,")) == PNG
    assert image["alt"].startswith("Growth of the time with size. Microseconds per example")
    monkeypatch.setattr(summary, "growth_plot", lambda: None)
    assert len(Page(page(results, MANIFEST, figures)).all("img")) == 1  # the claim's


# --- what rounding does to the gradient -----------------------------------------------------------------------------


def test_what_rounding_does_stands_beside_the_paper(figures):
    rows = [["as defined", 0.9, 0.8], [ROUNDED, 0.7, 0.97], ["as defined, longer", 0.9, 0.9],
            [f"{ROUNDED}, longer", 0.86, 0.5]]  # fmt: skip
    result = Result("noise-sign", "quick", "cpu", [0], [
        Measurement({"error": 0.9}, details={"variations": variations.table(["FGSM", "error", "confidence"], rows)}),
    ])  # fmt: skip
    text = page({"noise-sign": result}, MANIFEST, figures)
    part = text[text.index('<section id="rounding"') :]
    part = " ".join(" ".join(Page(part[: part.index("</section>") + 10]).texts).split())
    said = (
        "With the rounded gradient, {} of 2 published numbers are nearer to the paper’s than with the exact one of the "
    )
    assert said.format(1) in part, "the longest training's error, 86 %, but not its confidence"
    assert "noise-sign : FGSM error 86.2 % 90.0 % 70.0 %" in part
    assert "noise-sign , longer: confidence on mistakes 97.3 % 90.0 % 50.0 %" in part
    text = markdown_rounding({"noise-sign": result})
    assert said.format(1) in text
    assert "| `noise-sign`, longer: FGSM error | 86.2 % | 90.0 % | 86.0 % |" in text
    rows = result.measurements[0].details["variations"]["rows"]
    rows[2][0] = "not as defined, longer"  # without its like with the exact gradient a rounded number says nothing
    assert "longer" not in markdown_rounding({"noise-sign": result}).split("| --- |")[1]
    rows[1:] = [[ROUNDED, 0.9, 0.81]]
    text = markdown_rounding({"noise-sign": result})  # of two that are shown alike neither is nearer
    assert said.format(1) in text
    assert "| `noise-sign`: FGSM error | 86.2 % | 90.0 % | 90.0 % |" in text
    del result.measurements[0].details["variations"]["rows"][1:]
    assert markdown_rounding({"noise-sign": result}) == ""
    assert 'id="rounding"' not in page({"noise-sign": result}, MANIFEST, figures)


# --- what the audit does to the paper's number ------------------------------------------------------------------


def robust(**values):
    usual = {"error": 0.2, "naive_error": 0.95, "error_first": 0.22, "pgd_error": 0.61, "noise_error": 0.05,
             "transfer_error": 0.24, "zero_gradient_share": 0.0, "error_some_size": 0.4}  # fmt: skip
    return measured("adv-robust-1600", usual | values, holds=True, scale="240 units")


def test_the_verdict_follows_from_the_numbers():
    first, second, third = (part.replace("\u00a0", " ") for part in verdict(robust()))
    assert "the paper reports an error of 17.9 % under FGSM(.25). Ours (240 units) is 20.0 % [19.5, 20.5]." in first
    assert "against one step the training helps." in first
    assert "its error is 61.0 % [60.5, 61.5], that of FGSM 22.0 % [21.5, 22.5]." in second
    assert "at least 50 % do not withstand twenty" in second  # (.61 - .22) / (1 - .22)
    assert "the paper’s 17.9 % is therefore no more than a lower bound" in second
    assert "Random signs of the same size give 5.0 % [4.5, 5.5]: less than FGSM" in third
    assert (
        "fools 22.0 % [21.5, 22.5], some step of .05 to .25 along the same gradient 40.0 % [39.5, 40.5]: the" in third
    )
    assert "taught the network the size of the step" in third
    assert "24.0 % [23.5, 24.5]: more than the network’s own." in third
    assert "19.6 % to 17.9 %, show the same" in third
    assert "Of the entries of the input gradients 0.00 %" in third


@pytest.mark.parametrize(
    ("values", "wanted", "unwanted"),
    [
        ({"pgd_error": 0.221}, "hardly more than one, by no more than chance would", "lower bound"),
        ({"pgd_error": 0.1}, "neither figure can be trusted", "lower bound"),
        ({"pgd_error": 0.98867, "error_first": 0.22133}, "at least 98 % do not withstand", "99 %"),  # 98.55 %
        ({"naive_error": 0.1}, "does not even help", "the training helps"),
        ({"error_some_size": 0.225}, "shorter steps hardly add to it", "taught"),
        ({"noise_error": 0.3}, "more than FGSM, whose direction", "less than FGSM"),
        ({"transfer_error": 0.1}, "less than the network’s own, as it is where", "misleads the attack"),
    ],
)
def test_another_result_gives_another_verdict(values, wanted, unwanted):
    told = " ".join(verdict(robust(**values))).replace("\u00a0", " ")
    assert wanted in told
    assert unwanted not in told


def test_the_verdict_speaks_of_nothing_that_was_not_measured(results, figures):
    assert verdict(measured("adv-robust-1600", {}, holds=True)) == []
    assert len(verdict(measured("adv-robust-1600", {"error": 0.2}, holds=True))) == 1
    told = " ".join(verdict(robust(pgd_error=math.nan)))
    assert "PGD" not in told
    rows_ = [["naive", "PGD, 100 steps", 100, 0.99, 0, 1], ["adversarially trained", "PGD, 100 steps", 100, 0.7, 0, 1]]
    hundred = robust()
    hundred.measurements[0].details["audit"] = {"rows": rows_, "violations": []}
    assert "A hundred steps, on the first 100 images, give 70.0\u00a0%." in verdict(hundred)[1]


def test_the_page_has_the_verdict_only_with_its_result(results, figures):
    with_it = Page(page(results, MANIFEST, figures))
    assert "What the audit does to the paper’s 17.9" in with_it.text
    assert [a["id"] for a in with_it.all("section")].count("audit") == 1
    del results["adv-robust-1600"]
    assert "What the audit does" not in Page(page(results, MANIFEST, figures)).text
