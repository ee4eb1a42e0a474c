"""README says what is true: its snippet runs, and its table is what the committed results give."""

import re
from pathlib import Path

import numpy as np
from PIL import Image

from tinyadv.paper.draw import draw_figure
from tinyadv.paper.results_file import RESULTS, committed
from tinyadv.paper.show.readme import FIGURE, updated

README = Path(__file__).parents[1] / "README.md"


def test_the_snippet_is_short_and_runs(capsys):
    (snippet,) = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), re.S)
    assert len([line for line in snippet.splitlines() if line.strip()]) <= 15
    exec(compile(snippet, "README.md", "exec"), {})
    clean, attacked = (float(share) for share in re.findall(r"([\d.]+)%", capsys.readouterr().out))
    assert clean < 12
    assert attacked > 95


def test_the_table_is_current():
    text = README.read_text(encoding="utf-8")
    assert updated(text) == text, "the committed results changed: run python -m tinyadv.paper.show.readme"


def test_the_figure_is_current(tmp_path):
    """Fonts may differ by a little where it is drawn; examples and curves do not."""
    drawn = draw_figure(committed()[FIGURE], tmp_path)
    files = drawn, RESULTS / "figures" / drawn.name
    assert files[1].relative_to(README.parent).as_posix() in README.read_text(encoding="utf-8")
    small = [np.asarray(Image.open(file).convert("L").resize((320, 150)), float) for file in files]
    assert abs(small[0] - small[1]).mean() < 2, "the committed results changed: run python -m tinyadv.paper.show.readme"


def test_every_path_that_it_names_exists():
    text = README.read_text(encoding="utf-8")
    for path in re.findall(r"\]\(((?!http)[^)]+)\)", text):
        assert (README.parent / path).exists(), path
    for path in re.findall(r"`((?:tinyadv|lessons|tests|data_scripts)/[\w./]*)`", text):
        assert (README.parent / path).exists(), path
