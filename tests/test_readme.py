"""README says what is true: its snippet runs, and its table is what the committed results give."""

import re
from pathlib import Path

from tinyadv.paper.show.readme import updated

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


def test_every_path_that_it_names_exists():
    text = README.read_text(encoding="utf-8")
    for path in re.findall(r"\]\(((?!http)[^)]+)\)", text):
        assert (README.parent / path).exists(), path
    for path in re.findall(r"`((?:tinyadv|lessons|tests|data_scripts)/[\w./]*)`", text):
        assert (README.parent / path).exists(), path
