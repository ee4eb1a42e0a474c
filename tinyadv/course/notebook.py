"""What a lesson shows where it runs as a notebook: its tables as tables of the page, its figures in the page.

The one idea: a lesson does not know where it runs. `compare` and `figure` ask `in_notebook` and show the same things
here as on a terminal, with a text beside each picture for those who do not see it.
"""

from __future__ import annotations

import os
import re
import sys
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from html import escape
from importlib import import_module
from io import StringIO
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from rich.table import Table


class Page(Protocol):
    """What shows tables and pictures on a page that runs Python itself."""

    def table(self, html: str) -> None:
        """Show a table, in HTML."""

    def picture(self, png: bytes, text: str, dark: bytes | None) -> None:
        """Show a PNG file's content, another on dark pages, with a text for those who do not see it."""


_page: list[Page] = []
DARK = "TINYADV_DARK"  # the environment variable with which the site asks for pictures for dark pages too


@contextmanager
def shown_by(page: Page) -> Iterator[None]:
    """Inside, a lesson shows its tables and figures there, as in a notebook."""
    _page.append(page)
    try:
        yield
    finally:
        _page.pop()


def in_notebook() -> bool:
    """Whether this Python is the kernel of a notebook, or runs on a page; without IPython loaded it is no kernel."""
    if _page:
        return True
    ipython = sys.modules.get("IPython")
    return ipython is not None and hasattr(ipython.get_ipython(), "kernel")


def wants_dark() -> bool:
    """Whether what shows the pictures has light pages and dark ones, and shows each of them its own."""
    return bool(_page) or DARK in os.environ


def show_table(table: Table) -> None:
    """Show a rich table as HTML; title above, caption below."""
    if _page:
        _page[-1].table(html(table))
        return
    _ipython().display({"text/html": html(table), "text/plain": _plain(table)}, raw=True)


def html(table: Table) -> str:
    """A rich table as HTML; the first column names the rows, and what it holds is text, not markup."""
    rows = list(zip(*(column.cells for column in table.columns), strict=True))
    heads = [_text(column.header) for column in table.columns]
    head = "".join(f'<th scope="col">{said}</th>' if said else "<td></td>" for said in heads)
    lines = [f'<tr><th scope="row">{_text(first)}</th>' + "".join(map(_cell, rest)) + "</tr>" for first, *rest in rows]
    said = f"<caption>{_text(table.title)}</caption>" if table.title else ""
    below = "".join(f"<p>{_text(line)}</p>" for line in str(table.caption or "").splitlines())
    return f"<table>{said}<thead><tr>{head}</tr></thead><tbody>{''.join(lines)}</tbody></table>{below}"


def _cell(value: Any) -> str:
    """A cell of a table; a number stays on one line with its unit, and so does its interval."""
    if re.fullmatch(r"[-−\d][^a-z]*|[\d.]+e-?\d+", str(value)):
        return f"<td>{_text(together(str(value)))}</td>"
    return f"<td>{_text(value)}</td>"


def together(said: str) -> str:
    """A number and its interval, "45.0 % [44.0, 46.0]", with spaces and hyphens at which no line ends, but for one."""
    return re.sub(r" (?!\\?\[)", "\u00a0", said).replace("-", "\u2011")


def show_picture(png: bytes, text: str, dark: bytes | None = None) -> None:
    """Show a PNG file's content, another on dark pages; `text` is read out where it cannot be seen."""
    if _page:
        _page[-1].picture(png, text, dark)
        return
    ipython = _ipython()
    more = {} if dark is None else {"metadata": {"dark": b64encode(dark).decode()}}
    ipython.display(ipython.Image(data=png, format="png", alt=text, **more))


def described(canvas: Any) -> str:
    """What a matplotlib figure says of itself in one line: titles, axes and curves of its panels, or their texts."""
    panels = []
    for axes in canvas.axes:
        across, up = axes.get_xlabel(), axes.get_ylabel()
        plotted = " against ".join(name for name in (up, across) if name)
        curves = ", ".join(axes.get_legend_handles_labels()[1])
        parts = [axes.get_title(), plotted, f"curves: {curves}" if curves else ""]
        panels.append("; ".join(part for part in parts if part) or ", ".join(text.get_text() for text in axes.texts))
    return " ".join(f"Figure. {'. '.join(panel for panel in panels if panel)}".replace("$", "").split())


def _ipython() -> Any:
    return import_module("IPython.display")


def _text(value: Any) -> str:
    return escape(str(value), quote=False)


def _plain(table: Table) -> str:
    from rich.console import Console

    file = StringIO()
    Console(file=file, width=120, force_jupyter=False).print(table)
    return file.getvalue()
