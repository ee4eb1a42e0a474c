"""Writes the tables in README.md from the committed results: `python -m tinyadv.paper.show.readme`.

A test checks that README is what this would write, so no number in it is typed.
"""

from __future__ import annotations

from pathlib import Path

from ...bench import summary
from ...storage import write_atomically
from ..results import committed
from .text import markdown_gradients, markdown_notes, markdown_table


def updated(text: str) -> str:
    """README's text with its tables made anew: that of the claims, and that of the benchmark.

    Raises
    ------
    ValueError
        If the marks between which a table stands are missing.
    """
    results, speed = committed(), summary.committed()
    parts = markdown_table(results, list(results)), markdown_notes(results) + markdown_gradients(results)
    claims = "\n".join(parts) if results else ""
    text = _between(text, "claims", claims)
    return _between(text, "speed", summary.markdown(speed) if speed else "")


def _between(text: str, name: str, table: str) -> str:
    """The text with `table` between the marks of this name."""
    begin, end = f"<!-- {name}: begin", f"<!-- {name}: end -->"
    if text.count(begin) != 1 or text.count(end) != 1:
        raise ValueError(f"README wants one line with {begin!r} and one with {end!r}")
    before, rest = text.split(begin)
    mark, after = rest.split("-->", 1)[0], rest.split(end)[1]
    return f"{before}{begin}{mark}-->\n\n{table}\n{end}{after}"


if __name__ == "__main__":
    readme = Path(__file__).parents[3] / "README.md"
    write_atomically(readme, updated(readme.read_text(encoding="utf-8")))
