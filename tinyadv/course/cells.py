"""A lesson's cells: where work is done in them, and how a notebook gets them.

The one idea: a lesson is a file that imports silently, yet reads as idea, code, output, and what it means. So a cell
that does work stands, whole, under `if __name__ == "__main__":`. As a script that runs it; a notebook gets the cell
without the line.
"""

from __future__ import annotations

import ast
from threading import Lock
from typing import Any

GUARD = 'if __name__ == "__main__":'
WORK, FOLDED = "work", "hide-input"  # tags of cells in notebooks: does work; is code that readers may skip


_parsing = Lock()


def parsed(source: str) -> ast.Module:
    """The syntax tree of a source, by one thread at a time: with two at once CPython 3.11 now and then fails.

    It then raises SystemError, "AST constructor recursion depth mismatch". A class is graded by several threads.
    """
    with _parsing:
        return ast.parse(source)


def works(code: str) -> bool:
    """Whether a cell does work: all of its code stands under the guard."""
    body = parsed(code).body
    return len(body) == 1 and GUARD in code.splitlines() and isinstance(body[0], ast.If) and not body[0].orelse


def unguarded(code: str) -> str:
    """A cell that does work without its guard; any other cell as it is.

    Raises
    ------
    ValueError
        If the code under the guard would mean something else without it, as a string over several lines does.
    """
    if not works(code):
        return code
    lines = code.splitlines()
    place = lines.index(GUARD)
    text = "\n".join(lines[:place] + [line.removeprefix("    ") for line in lines[place + 1 :]]).strip("\n")
    (guard,) = parsed(code).body
    assert isinstance(guard, ast.If)
    if ast.dump(parsed(text)) != ast.dump(ast.Module(guard.body, [])):
        raise ValueError(f"a cell under {GUARD!r} reads differently without it: {lines[place + 1].strip()} ...")
    return text


def as_in_notebook(cell: Any) -> None:
    """Turn a code cell of a lesson, read by jupytext, into a notebook's, in place: no guard, tags that tools read."""
    tags = list(cell.metadata.get("tags", []))
    if works(cell.source):
        cell.source = unguarded(cell.source)
        tags.append(WORK)
    if FOLDED in tags:
        cell.metadata["jupyter"] = {"source_hidden": True}
    if tags:
        cell.metadata["tags"] = tags
