"""Writes the table of claims in README.md from the committed results: `python -m tinyadv.paper.readme`.

A test checks that README is what this would write, so no number in it is typed.
"""

from __future__ import annotations

from pathlib import Path

from ..storage import write_atomically
from .report import markdown_notes, markdown_table
from .results import committed

BEGIN, END = "<!-- claims: begin", "<!-- claims: end -->"


def updated(text: str) -> str:
    """README's text with the table of claims made anew.

    Raises
    ------
    ValueError
        If the marks between which the table stands are missing.
    """
    if text.count(BEGIN) != 1 or text.count(END) != 1:
        raise ValueError(f"README wants one line with {BEGIN!r} and one with {END!r}")
    before, rest = text.split(BEGIN)
    mark, after = rest.split("-->", 1)[0], rest.split(END)[1]
    results = committed()
    table = f"{markdown_table(results, list(results))}\n{markdown_notes(results)}" if results else ""
    return f"{before}{BEGIN}{mark}-->\n\n{table}\n{END}{after}"


if __name__ == "__main__":
    readme = Path(__file__).parents[2] / "README.md"
    write_atomically(readme, updated(readme.read_text(encoding="utf-8")))
