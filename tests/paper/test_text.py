"""Tables for the terminal, in Markdown, CSV and LaTeX: they fit, keep their columns, and say the same as the page."""

import csv
import io
import re
from dataclasses import replace

import pytest
from invented import HOSTILE, SMALLER, WANTED, invented, noted
from rich.console import Console

from tinyadv.paper.claims import claims
from tinyadv.paper.show import entries
from tinyadv.paper.show.terminal import table
from tinyadv.paper.show.text import COLUMNS, csv_table, latex_table, markdown_notes, markdown_table

COUNTED = f"{len(claims())} claims: 3 reproduced, 1 close, 1 differs, {len(claims()) - 5} not run."


@pytest.fixture
def results(monkeypatch):
    noted(monkeypatch, "adv-robust-1600", "fewer epochs")
    return invented()


def printed(width, *arguments):
    console = Console(file=io.StringIO(), width=width, force_terminal=False)
    table(*arguments[:1], console, *arguments[1:])
    return console.file.getvalue()


@pytest.mark.parametrize("width", [100, 80, 79, 40, 20])
def test_the_terminal_table_fits(results, width):
    text = printed(width, results)
    assert max(map(len, text.splitlines())) <= width
    flat = "".join(text.split())
    for name, word in WANTED.items():
        assert name in flat
        assert word in flat
    assert "17.9%" in flat
    assert "28.6%[28.1,29.1]" in flat
    assert "5claims:3reproduced,1close,1differs." in flat
    assert "scale:240unitswherethepaperhas1600;why:fewerepochs" in flat


def test_the_terminal_table_s_lines(results):
    lines = [" ".join(line.split()) for line in printed(100, results).splitlines()]
    assert "fgsm-softmax (§4) reproduced" in lines
    assert "FGSM error 99.9 % 99.9 % [99.4, 100.0]" in lines
    assert "confidence on mistakes 79.3 % 79.0 % [78.5, 79.5]" in lines
    assert "logistic-exact (§5) reproduced" in lines
    assert "statement exact holds for 3 of 3 seeds" in lines
    assert not any("clipped" in line for line in lines)
    assert not any("‖W‖₁" in line for line in lines)


@pytest.mark.parametrize("width", [100, 79])
def test_with_context_the_terminal_has_the_numbers_that_the_paper_lacks_too(results, width):
    console = Console(file=io.StringIO(), width=width, force_terminal=False)
    table(results, console, ["fgsm-softmax"], context=True)
    (one,) = entries(results, ["fgsm-softmax"])
    context = [row for row in one.rows if row.status is None]
    assert context
    text = " ".join(console.file.getvalue().split())
    for row in context:
        assert f"{row.label} {'ours ' if width < 80 else ''}{row.ours}" in text


@pytest.mark.parametrize("width", [80, 79])
def test_the_status_is_whole_where_output_is_piped(results, width):
    text = printed(width, results, list(claims()))
    for word in ("reproduced", "close", "differs", "not run"):
        assert re.search(rf" {word}\s*$", text, re.M), word


def test_the_terminal_lists_claims_that_were_not_run(results):
    text = " ".join(printed(100, results, list(claims())).split())
    assert "rotation-attack (§4) not run statement reliable —" in text
    assert COUNTED in text
    with pytest.raises(ValueError, match="no claim 'nonsense'"):
        printed(100, results, ["nonsense"])


def test_texts_are_not_taken_for_terminal_markup(results, monkeypatch):
    noted(monkeypatch, "adv-robust-1600", "[bold]loud[/bold] [/nonsense]")
    for width in (60, 100):
        assert "[bold]loud[/bold] [/nonsense]" in " ".join(printed(width, results).split())


def test_markdown_table(results):
    lines = markdown_table(results).splitlines()
    assert lines[0] == "| claim | § | | paper | ours | status |"
    assert len(lines) == 2 + len(results)
    assert (
        "| `fgsm-softmax` | 4 | FGSM error<br>confidence on mistakes | 99.9 %<br>79.3 % "
        "| 99.9 % \\[99.4, 100.0\\]<br>79.0 % \\[78.5, 79.5\\] | reproduced |"
    ) in lines
    assert any(line.startswith("| `adv-robust-1600` | 6 |") and line.endswith("| differs |") for line in lines)
    assert markdown_table(results).endswith("|\n")
    assert max(len(re.sub(r"<br>.*?\|", "|", line)) for line in lines) < 200  # no long text makes a cell high


def test_markdown_notes(results, monkeypatch):
    noted(monkeypatch, "rubbish-rbf", "It is reproduced, so that nobody asks why.")
    noted(monkeypatch, "fgsm-maxout", "{error} is near {paper/error}.")
    used = {"network": "maxout_network", "epochs": 8}
    results["fgsm-maxout"].measurements[0].networks = {"naive": {"recipe": used}, "other": {"recipe": SMALLER}}
    tally, missing, *others = markdown_notes(results).splitlines()
    assert tally == COUNTED
    assert missing.startswith("Not in the table, because they are not measured: `linear-growth` (")
    assert len(re.findall(r"`[\w-]+` \(\S+\)", missing)) == len(claims()) - 5
    assert others == [
        "",
        "The runs, each claim’s with the largest profile in which it was measured:",
        "",
        "- profile quick, seed 0: `fgsm-softmax`, `fgsm-maxout`, `adv-robust-1600`, `rubbish-rbf`",
        "- profile quick, seeds 0, 1, 2: `logistic-exact`",
        "",
        "Where ours is not the paper’s number, and why:",
        "",
        "- `fgsm-maxout` is close: 91.0 % is near 89.4 %.",
        "- `adv-robust-1600` differs: fewer epochs",
        "",
        "Where these runs are smaller than the paper’s:",
        "",
        "- naive training for 8 epochs on 50,000 images: `fgsm-maxout`",
        "- 240 units where the paper has 1600: `adv-robust-1600`",
    ]
    assert markdown_notes({}).startswith(f"{len(claims())} claims: {len(claims())} not run.\nNot in the table, ")
    assert len(markdown_notes({}).splitlines()) == 2
    noted(monkeypatch, "adv-robust-1600", HOSTILE + "\n- another")
    assert "<script" not in markdown_notes(results)
    assert len(markdown_notes(results).splitlines()) == 17


def test_markdown_of_hostile_texts_keeps_its_columns(results, monkeypatch):
    claim = claims()["adv-robust-1600"]
    label = HOSTILE + "\n| a | new | row |\n\n# a heading"
    changed = tuple(replace(q, label=label) for q in claim.quantities)
    monkeypatch.setitem(claims(), claim.id, replace(claim, quantities=changed))
    lines = markdown_table(results).splitlines()
    assert len(lines) == 2 + len(results)
    assert {len(re.findall(r"(?<!\\)\|", line)) for line in lines} == {7}
    assert "<script" not in markdown_table(results)
    assert "<img" not in markdown_table(results)


def test_markdown_of_chosen_claims(results):
    text = markdown_table(results, ["mp-dbm", "fgsm-softmax"])
    assert [line.split("`")[1] for line in text.splitlines()[2:]] == ["mp-dbm", "fgsm-softmax"]
    assert "| 0.88 %<br>97.5 % | —<br>— | not run |" in text
    assert len(markdown_table(results, []).splitlines()) == 2  # none chosen is none


def test_csv_has_a_line_for_each_number_with_what_each_seed_gave(results):
    lines = list(csv.DictReader(io.StringIO(csv_table(results, [*results, "mp-dbm"]))))
    assert tuple(lines[0]) == COLUMNS
    by_name = {(line["claim"], line["quantity"]): line for line in lines}
    assert by_name["fgsm-softmax", "error"] == {
        "claim": "fgsm-softmax", "section": "4", "quantity": "error", "label": "FGSM error", "format": "percent",
        "paper": "0.999", "tolerance": "0.02", "ours": "0.9992", "low": "0.9942", "high": "1.0042",
        "status": "reproduced", "profile": "quick", "device": "cpu", "seeds": "0", "values": "0.9992",
    }  # fmt: skip
    assert (by_name["logistic-exact", "holds"]["values"], by_name["logistic-exact", "holds"]["seeds"]) == (
        "1 1 1",
        "0 1 2",
    )
    assert by_name["fgsm-softmax", "error_clipped"]["status"] == ""  # context
    nothing = by_name["rubbish-rbf", "confidence_on_mistakes"]
    assert (nothing["ours"], nothing["values"]) == ("", "")
    missing = by_name["mp-dbm", "error"]
    assert (missing["paper"], missing["ours"], missing["status"], missing["profile"]) == ("0.975", "", "not run", "")


def test_latex_is_a_table_in_which_no_text_is_a_command(results, monkeypatch):
    claim = claims()["fgsm-softmax"]
    changed = tuple(replace(q, label=f"a\\b_{{c}}^2 & 50 % of #1 $x$ ~ ε‖w‖₁ {q.name}") for q in claim.quantities)
    monkeypatch.setitem(claims(), claim.id, replace(claim, quantities=changed))
    first, head, *lines, last = latex_table(results).splitlines()
    assert (first, last) == (r"\begin{longtable}{llrrl}", r"\end{longtable}")
    assert head.endswith(r"\endhead")
    assert all(len(re.findall(r"(?<!\\)&", line)) == 4 and line.endswith(r" \\") for line in lines)
    assert lines[0].startswith(
        r"fgsm-softmax & a\textbackslash{}b\_\{c\}\textasciicircum{}2 \& 50 \% of \#1 \$x\$ \textasciitilde{} "
        r"$\varepsilon$$\|$w"
    )
    assert r"99.9 \% & 99.9 \% [99.4, 100.0] & reproduced" in lines[0]
