"""Writes the tables in README.md from the committed results, and its figure: `python -m tinyadv.paper.show.readme`.

Tests check that README is what this would write, so no number in it is typed.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from ...bench import summary
from ...storage import write_atomically
from ..claims import claims
from ..draw import draw_figure
from ..results import Result, statuses
from ..results_file import RESULTS, committed
from . import gradients, tally
from .text import markdown


def updated(text: str) -> str:
    """README's text with its tables made anew: the headline numbers, and those of the benchmark.

    Raises
    ------
    ValueError
        If the marks between which a table stands are missing.
    """
    speed, of_images = summary.committed(), summary.committed_of_images()
    parts = [summary.markdown(speed, SPEED) if speed else "", summary.sentence(of_images, IMAGES) if of_images else ""]
    text = _between(text, "headline", headline(committed()))
    return _between(text, "speed", "\n".join(filter(None, parts)))


def headline(results: Mapping[str, Result]) -> str:
    """The numbers of `HEADLINE` as Markdown: the paper's, with the software's gradient, with the exact one.

    Each is that of the networks trained longest. Ends with a line break.
    """
    found = {(g.claim, g.quantity.name): g for g in gradients(results)}
    lines = ["| | § | paper | the software’s gradient | the exact gradient |", "|---|---|---:|---:|---:|"]
    for claim, name, said in HEADLINE:
        if (claim, name) not in found:
            continue
        g = found[claim, name]
        paper, software, exact = g.cells
        training = f" ({g.training})" if g.training else ""
        section = claims()[claim].section
        lines.append(f"| {markdown(said + training)} | {section} | {paper} | {software} | {exact} |")
    words = [word for _, _, word in statuses(results)]
    return "\n".join(lines) + f"\n\n{tally(words)}.\n"


# What README shows: the claim, its number, and what that is in a few words.
HEADLINE = (
    ("fgsm-maxout", "error", "maxout network under FGSM: error"),
    ("fgsm-maxout", "confidence_on_mistakes", "its confidence where it is wrong"),
    ("noise-sign", "error", "trained with noise of random signs: error under FGSM"),
    ("noise-uniform", "error", "trained with uniform noise: error under FGSM"),
    ("adv-robust-1600", "error", "adversarially trained, 240 units for the paper’s 1600: error under FGSM"),
    ("adv-transfer", "error_naive_to_trained", "examples of the naive network on the adversarially trained one: error"),
    ("adv-transfer", "error_trained_to_naive", "examples of the adversarially trained network on the naive one: error"),
    ("transfer-both-wrong", "agreement_softmax_maxout", "softmax regression and maxout, both wrong: same class"),
    ("transfer-both-wrong", "agreement_rbf_maxout", "RBF network and maxout, both wrong: same class"),
    ("ensemble-12", "error_ensemble", "twelve networks, attacked as a whole: error"),
)
FIGURE = "fgsm-maxout"  # the claim whose figure it shows
SPEED = ("train240", "train1600", "fgsm1000", "softmax")
IMAGES = ("conv-full", "conv-fgsm", "googlenet16")


def _between(text: str, name: str, table: str) -> str:
    """The text with `table` between the marks of this name."""
    begin, end = f"<!-- {name}: begin", f"<!-- {name}: end -->"
    if text.count(begin) != 1 or text.count(end) != 1:
        raise ValueError(f"README wants one line with {begin!r} and one with {end!r}")
    before, rest = text.split(begin)
    mark, after = rest.split("-->", 1)[0], rest.split(end)[1]
    return f"{before}{begin}{mark}-->\n\n{table}\n{end}{after}"


def write() -> None:
    """Write README's tables anew, in the checkout that this file is in, and draw its figure."""
    readme = Path(__file__).parents[3] / "README.md"
    write_atomically(readme, updated(readme.read_text(encoding="utf-8")))
    draw_figure(committed()[FIGURE], RESULTS / "figures")


if __name__ == "__main__":
    write()
