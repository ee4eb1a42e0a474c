"""The tables of text, for the terminal and in Markdown: they fit, keep their columns, and say the same as the page."""

import io
import re

import pytest
from invented import HOSTILE, WANTED, invented
from rich.console import Console

from tinyadv.paper.registry import claims
from tinyadv.paper.tables import markdown_notes, markdown_table, table


@pytest.fixture
def results():
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


@pytest.mark.parametrize("width", [80, 79])
def test_the_status_is_whole_where_output_is_piped(results, width):
    text = printed(width, results, list(claims()))
    for word in ("reproduced", "close", "differs", "not run"):
        assert re.search(rf" {word}\s*$", text, re.M), word


def test_the_terminal_lists_claims_that_were_not_run(results):
    text = " ".join(printed(100, results, list(claims())).split())
    assert "rotation-attack (§4) not run statement reliable —" in text
    assert "46 claims: 3 reproduced, 1 close, 1 differs, 41 not run." in text
    with pytest.raises(ValueError, match="no claim 'nonsense'"):
        printed(100, results, ["nonsense"])


def test_texts_are_not_taken_for_terminal_markup(results):
    results["adv-robust-1600"].scale = "[bold]loud[/bold] [/nonsense]"
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


def test_markdown_notes(results):
    results["fgsm-maxout"].scale = "naive training for 8 epochs; 240 units where the paper has 1600"
    results["rubbish-rbf"].reason = "It is reproduced, so that nobody asks why."
    tally, missing, *others = markdown_notes(results).splitlines()
    assert tally == "46 claims: 3 reproduced, 1 close, 1 differs, 41 not run."
    assert missing.startswith("Not in the table, because they are not measured: `linear-growth` (")
    assert len(re.findall(r"`[\w-]+` \(\S+\)", missing)) == 41
    assert others == [
        "",
        "The runs, each claim’s with the largest profile in which it was measured:",
        "",
        "- profile quick, seed 0: `fgsm-softmax`, `fgsm-maxout`, `adv-robust-1600`, `rubbish-rbf`",
        "- profile quick, seeds 0, 1, 2: `logistic-exact`",
        "",
        "Where ours is not the paper’s number, and why:",
        "",
        "- `adv-robust-1600` differs: fewer epochs",
        "",
        "In what these runs are smaller than the paper’s:",
        "",
        "- naive training for 8 epochs: `fgsm-maxout`",
        "- 240 units where the paper has 1600: `fgsm-maxout`, `adv-robust-1600`",
    ]
    assert markdown_notes({}).startswith("46 claims: 46 not run.\nNot in the table, ")
    assert len(markdown_notes({}).splitlines()) == 2
    results["adv-robust-1600"].reason = HOSTILE + "\n- another"
    assert "<script" not in markdown_notes(results)
    assert len(markdown_notes(results).splitlines()) == 16


def test_markdown_of_hostile_texts_keeps_its_columns(results):
    results["adv-robust-1600"].scale = HOSTILE + "\n| a | new | row |\n\n# a heading"
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
