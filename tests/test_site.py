"""The read-along site: what is generated is complete, nothing of the teacher's gets out, and a browser finds no fault.

The browser's tests build the site once, lessons and all (minutes), or look at one that is there: TINYADV_SITE=DIR. They
take Debian's chromium, or the one that CHROMIUM names; `pip install -e ".[browser]"` brings the rest.
"""

from __future__ import annotations

import functools
import http.server
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import threading
import warnings
from base64 import b64decode
from collections import defaultdict
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import unquote, urldefrag, urljoin

import pytest

from tinyadv import cli, course
from tinyadv.course import pages, site
from tinyadv.course.exercises import exercises
from tinyadv.course.notebook import DARK, described, html, in_notebook
from tinyadv.paper.claims import claims
from tinyadv.paper.results_file import committed
from tinyadv.storage import fill_folder

FOLDER = Path(__file__).parents[1] / "lessons" / "site"
NUMBERS = list(course.lessons())
lessons = pytest.mark.parametrize("number", NUMBERS)


@functools.cache
def texts() -> dict[str, str]:
    """All that Sphinx is given."""
    pytest.importorskip("jupytext", reason="makes notebooks with jupytext: pip install 'tinyadv[course]'")
    return dict(site.sources(committed()))


def source(number: int) -> str:
    return course.path_of(number).read_text(encoding="utf-8")


# ---------------------------------------------------------------------------------------------------------
# What is generated


@pytest.mark.parametrize("page", ["map.md", "claims.md"])
def test_every_claim_is_on_the_map_and_among_the_claims(page):
    assert all(f"(#claim-{name})" in texts()[page] for name in claims())
    assert not set(re.findall(r"\(#claim-([\w-]+)\)", texts()[page])) - set(claims())


def test_the_table_of_claims_has_each_once_and_a_line_for_each_value():
    lines = pages.claims_table().splitlines()[2:]
    named = [line for line in lines if "badge" in line]
    assert [re.search(r"#claim-([\w-]+)", line)[1] for line in named] == list(claims())
    assert len(lines) > len(named)
    assert all("<br>" not in line for line in lines)


def test_the_reference_has_every_operation():
    from tinyadv import ops
    from tinyadv.tensor import Op

    page = texts()["reference/ops.md"]
    operations = [name for name, value in vars(ops).items() if isinstance(value, Op) and not name.startswith("_")]
    assert "sigmoid" in operations
    assert [name for name in operations if f".. py:function:: tinyadv.ops.{name}(" not in page] == []


def test_every_claim_has_a_place_to_link_to():
    assert sorted(re.findall(r"^\(claim-([\w-]+)\)=$", texts()["claims.md"], re.M)) == sorted(claims())


@lessons
def test_every_lesson_is_listed_mapped_planned_and_downloadable(number):
    path = course.path_of(number)
    for page in ("lessons/index.md", "map.md", "teachers.md"):
        assert f"(#lesson-{number:02})" in texts()[page]
    assert f"<{path.stem}>" in texts()["lessons/index.md"], "it is in the contents"
    page = texts()[f"lessons/{path.stem}.ipynb"]
    assert f"(lesson-{number:02})=" in page
    for name in (path.name, f"{path.stem}.ipynb", f"{path.stem}_exercises.ipynb"):
        assert f"files/{name}" in page
        assert texts()[f"lessons/files/{name}"]


def test_a_lesson_s_card_has_its_title_and_its_time():
    shown = pages.lesson_cards()
    for number in NUMBERS:
        head, _, what = course.title(course.path_of(number)).partition(": ")
        assert f"**[{number}. {pages.text(head)}](#lesson-{number:02})**" in shown
        assert pages.text(what).lower() in shown.lower()
    assert "I don't know" in shown.replace("’", "'"), "capitals stay"
    assert "GoogLeNet" in shown
    assert len(re.findall(r"^\d+\smin$", shown, re.M)) == len(NUMBERS)


def test_the_plan_has_each_lesson_once():
    planned = [number for numbers in pages.WEEKS.values() for number in numbers]
    assert len(planned) == len(set(planned))
    assert set(NUMBERS) <= set(planned)


def test_every_point_and_every_known_mistake_is_on_the_teachers_page():
    from tinyadv.course.export import graded_lessons
    from tinyadv.course.grade import tests_of

    page = texts()["teachers.md"]
    for number in graded_lessons():
        for name, tests in tests_of(number, exercises(source(number))).items():
            known = pages.mistakes(number).get(name, [])
            assert f"| `{name}` | {sum(tests.values()):g} | {len(tests)} | {len(known)} |" in page
            assert all(pages.with_code(said) in page for mistake in known for said in mistake)


@lessons
def test_what_is_for_the_teacher_stays_with_the_teacher(number):
    path = course.path_of(number)
    rubric = re.search(r"^# ### BEGIN SOLUTION\n# (.{30})", source(number), re.M)
    assert rubric, "an open question without a rubric"
    for name, text in texts().items():
        if path.stem in name:
            assert rubric[1] not in text, name
            assert "For the teacher" not in text, name


@lessons
def test_an_exercise_is_open_and_its_solution_folded_away(number):
    book = json.loads(texts()[f"lessons/{course.path_of(number).stem}.ipynb"])
    folded = [cell for cell in book["cells"] if "solution" in cell["metadata"].get("tags", [])]
    shown = ["".join(cell["source"]) for cell in book["cells"] if cell not in folded]
    assert not any("BEGIN SOLUTION" in "".join(cell["source"]) for cell in book["cells"])
    for name in exercises(source(number)):
        assert any(f'raise NotImplementedError("exercise: {name}")' in text for text in shown)
        assert any(re.search(rf"^(def|class) {name}\b", "".join(cell["source"]), re.M) for cell in folded)
        assert not any(re.search(rf"^(def|class) {name}\b", text, re.M) for text in shown if "code-block" not in text)
    assert all("hide-input" in cell["metadata"]["tags"] for cell in folded)
    assert len(folded) == len(exercises(source(number))), "each by itself"


@lessons
def test_a_page_has_all_of_its_lessons_code(number):
    """What runs on the page is the lesson: statement by statement, but for its docstring."""
    import ast

    book = json.loads(texts()[f"lessons/{course.path_of(number).stem}.ipynb"])
    code = "\n".join("".join(cell["source"]) + "\n" for cell in book["cells"] if cell["cell_type"] == "code")
    _, *statements = ast.parse(source(number)).body
    wanted = []
    for node in statements:
        under_the_guard = isinstance(node, ast.If) and ast.unparse(node.test) == "__name__ == '__main__'"
        wanted += node.body if under_the_guard else [node]
    assert [ast.unparse(node) for node in ast.parse(code).body] == [ast.unparse(node) for node in wanted]


def test_the_glossary_has_both_languages():
    page = (FOLDER / "glossary.md").read_text(encoding="utf-8")
    entries = re.findall(r"^((?:[^\s:].*\n)+)((?: {2}.*\n)+)", page.partition(":sorted:")[2], re.M)
    assert len(entries) >= 60
    terms = [term for names, _ in entries for term in names.splitlines()]
    assert len(terms) == len(set(terms)), "a term that is explained twice"
    for names, text in entries:
        english, *chinese = names.splitlines()
        assert english.isascii(), english
        assert chinese, english
        assert all(re.search(r"[\u4e00-\u9fff]", term) for term in chinese), english
        assert text.strip().endswith((".", ")")), english
    for word in (
        "fast gradient sign method\n快速梯度符号法",
        "adversarial example\n对抗样本",
        "rubbish class example\n垃圾类样本",
    ):
        assert f"\n{word}\n" in page


def test_a_page_that_asks_for_what_is_not_there():
    with pytest.raises(ValueError, match=r"asks for 'nothing': there are lessons, "):
        pages.filled("<!-- generated: nothing -->")
    with pytest.raises(ValueError, match="the claim 'fgsm-none', which the registry does not know"):
        pages.filled("See {claim}`fgsm-none`.")
    assert pages.filled("See {claim}`fgsm-maxout`, {lesson}`1`, {lesson}`99`.") == (
        "See [`fgsm-maxout`](#claim-fgsm-maxout), [lesson 1](#lesson-01), lesson 99."
    )


def test_text_is_no_markup():
    assert pages.text("a|b *c* <d> $e$ `f`\n_g_") == r"a\|b \*c\* &lt;d&gt; \$e\$ \`f\` \_g\_"


# ---------------------------------------------------------------------------------------------------------
# In a notebook


def test_without_a_notebook_there_is_none():
    assert not in_notebook()


def test_a_table_as_html():
    from rich.table import Table

    table = Table(title="a < b", caption="c & d")
    table.add_column("")
    table.add_column("ours")
    table.add_row("error", "99.9 % [99.8, 100.0]")
    assert html(table) == (
        '<table><caption>a &lt; b</caption><thead><tr><td></td><th scope="col">ours</th></tr></thead>'
        '<tbody><tr><th scope="row">error</th><td>99.9\u00a0% [99.8,\u00a0100.0]</td></tr></tbody>'
        "</table><p>c &amp; d</p>"
    )


def test_a_figure_describes_itself():
    from matplotlib.figure import Figure

    left, right = Figure().subplots(1, 2)
    left.plot([1, 2], label="FGSM")
    left.set(title="Error", xlabel="$\\epsilon$", ylabel="error [%]")
    right.set_title("clean")
    right.figure.add_subplot(label="empty")
    assert described(left.figure) == "Figure. Error; error [%] against \\epsilon; curves: FGSM. clean"
    drawing = Figure()
    for text in ("x\n(2, 3)", "exp"):
        drawing.subplots().text(0, 0, text)
    assert described(drawing) == "Figure. x (2, 3). exp"


def test_in_a_notebook_tables_and_figures_are_part_of_the_page(tmp_path, monkeypatch, capsys):
    display = pytest.importorskip("IPython.display", reason="a notebook's display: pip install 'tinyadv[site]'")
    shown: list[Any] = []
    monkeypatch.setattr(display, "display", lambda what, raw=False: shown.append(what))
    monkeypatch.setattr(course, "in_notebook", lambda: True)
    monkeypatch.chdir(tmp_path)
    course.compare("fgsm-softmax", {"error": 0.999})
    with course.figure("lesson01_test.png") as canvas:
        canvas.subplots().set_title("a title")
    assert capsys.readouterr().out == ""
    table, picture = shown
    assert '<th scope="row">FGSM error</th><td>99.9\u00a0%</td>' in table["text/html"]
    assert "fgsm-softmax (section 4)" in table["text/plain"]
    assert picture.alt == "Figure. a title"
    assert picture.data == (tmp_path / course.FIGURES / "lesson01_test.png").read_bytes()
    assert picture.metadata == {}, "a student's notebook has each picture once"
    monkeypatch.setenv(DARK, "1")
    with course.figure("lesson01_test.png") as canvas:
        canvas.subplots().set_title("a title")
    *_, picture = shown
    assert picture.data == (tmp_path / course.FIGURES / "lesson01_test.png").read_bytes()
    assert b64decode(picture.metadata["dark"]).startswith(b"\x89PNG")
    assert b64decode(picture.metadata["dark"]) != picture.data


# ---------------------------------------------------------------------------------------------------------
# The command, and Sphinx's configuration


def test_without_sphinx_the_command_names_the_extra(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name in ("sphinx", "furo") else name)
    with pytest.raises(SystemExit) as end:
        cli.main(["course", "site", "here"])
    assert end.value.code == 2
    said = capsys.readouterr().err
    assert said == "tinyadv: the site needs sphinx, furo, not installed here: pip install 'tinyadv[site]'\n"
    assert not list(tmp_path.iterdir()), "nothing was written"


@pytest.mark.parametrize("what", ["a file", "something else"])
def test_the_site_takes_no_place_that_is_taken(what, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: name)
    place = tmp_path / "here"
    if what == "a file":
        place.write_text("mine")
    else:
        place.mkdir()
        (place / "thesis.tex").write_text("mine")
    with pytest.raises(SystemExit) as end:
        cli.main(["course", "site", "here"])
    assert end.value.code == 2
    assert f"here {'is a file' if what == 'a file' else 'holds something else than a site'}" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == [place]


def test_what_a_desktop_puts_into_the_folder_of_a_site_is_nobody_s(tmp_path, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: name)
    (tmp_path / ".DS_Store").touch()
    site._check(tmp_path, runnable=False)
    (tmp_path / ".tinyadv-site").write_text("tinyadv 0.1.0\n.tinyadv-site\nindex.html\n")
    (tmp_path / "index.html").touch()
    site._check(tmp_path, runnable=False)


def test_a_site_is_not_built_over_what_no_build_has_written(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: name)
    place = tmp_path / "here"
    (place / ".git").mkdir(parents=True)
    (place / "index.html").write_text("built")
    (place / ".tinyadv-site").write_text("tinyadv 0.1.0\n.tinyadv-site\nindex.html\n")
    with pytest.raises(SystemExit) as end:
        cli.main(["course", "site", "here"])
    assert end.value.code == 2
    assert "here holds .git, which no build of the site has written" in capsys.readouterr().err
    assert (place / ".git").exists()


def test_what_sphinx_says_is_shown_as_it_is(tmp_path, monkeypatch, capsys):
    def fail(*_: Any, **__: Any) -> None:
        raise site.SiteError("lesson03: Traceback\n  in cell 4")

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(site, "build", fail)
    with pytest.raises(SystemExit) as end:
        cli.main(["course", "site", "here"])
    assert end.value.code == 1
    said = capsys.readouterr().err
    assert said == "lesson03: Traceback\n  in cell 4\ntinyadv: the site cannot be built: see above\n"


def test_a_new_site_takes_the_place_of_the_old_as_a_whole(tmp_path):
    (tmp_path / "work" / "html").mkdir(parents=True)
    (tmp_path / "work" / "html" / "new.html").touch()
    (tmp_path / "here").mkdir()
    (tmp_path / "here" / "old.html").touch()
    for folder in (tmp_path / "here", tmp_path / "deep" / "there"):
        fill_folder(folder, lambda new: shutil.copytree(tmp_path / "work" / "html", new))
    found = sorted(path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*.html"))
    assert found == ["deep/there/new.html", "here/new.html", "work/html/new.html"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["deep", "here", "work"]


def test_the_picture_of_the_first_page_shows_a_digit_that_is_taken_for_another(tmp_path, monkeypatch):
    from tinyadv.paper import draw

    titles, show = [], draw.show_image
    monkeypatch.setattr(draw, "show_image", lambda axes, image, title, *a: (titles.append(title), show(axes, image))[1])
    site._draw_home(tmp_path)
    light, dark = ((tmp_path / name).read_bytes() for name in (site.HOME, site.HOME_DARK))
    assert light.startswith(b"\x89PNG")
    assert dark.startswith(b"\x89PNG")
    assert light != dark
    before, after = (re.search(r"says (\d)", title)[1] for title in (titles[0], titles[2]))
    assert before == "7", "the first test image"
    assert after != before
    assert "+ 0.25" in titles[1]


def test_the_configuration_asks_nobody():
    """No address of another machine is in what is typed for the site, but for links in prose."""
    for path in FOLDER.rglob("*"):
        if path.suffix in (".py", ".css", ".js"):
            text = path.read_text(encoding="utf-8").replace("http://www.w3.org/1998/Math/MathML", "")
            assert not re.search(r"https?:|//[a-z]+\.", text), path


def test_the_configuration_can_be_imported():
    for name in ("sphinx", "myst_nb", "ziamath"):
        pytest.importorskip(name, reason="builds the site: pip install 'tinyadv[site]'")
    code = f"import runpy; print(runpy.run_path({str(FOLDER / 'conf.py')!r})['html_math_renderer'])"
    done = subprocess.run([sys.executable, "-B", "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "mathml\n"), done.stderr


@pytest.fixture(scope="module")
def module():
    """The extension that shows formulas."""
    pytest.importorskip("sphinx", reason="shows formulas with docutils: pip install 'tinyadv[site]'")
    spec = importlib.util.spec_from_file_location("mathml", FOLDER / "mathml.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def mathml(module):
    return module.mathml


@pytest.mark.parametrize("path", [*course.lessons().values(), *sorted(FOLDER.glob("*.md"))], ids=lambda path: path.stem)
def test_every_formula_can_be_shown(path, mathml):
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".py":
        text = "\n".join(line[2:] for line in text.splitlines() if line.startswith("# ") or line == "#")
    for block, inline in re.findall(r"\$\$(.+?)\$\$|\$([^$]+)\$", text, re.S):
        assert mathml(block or inline, bool(block)).startswith("<math ")


@pytest.mark.parametrize(
    ("tex", "shown"),
    [
        (r"\lVert w\rVert_1", r'<mo [^>]*stretchy="false"[^>]*>‖</mo><mi>w</mi><msub><mo [^>]*stretchy="false"'),
        (r"\left|\frac{a}{b}\right|", r"<mrow><mo>\|</mo><mfrac>"),
        (r"\varepsilon\operatorname{sign}(w)", r"<mi>ε</mi><mspace [^>]*/><mi [^>]*>sign</mi><mo>.</mo><mo [^>]*>\("),
        (r"\log p", r"<mi>log</mi><mo>\u2061</mo><mspace [^>]*/><mi>p</mi>"),
        (r"\{-1, 1\}", r'<mo form="prefix">−</mo>'),
        (r"\tilde x_n", r'<msub><mover accent="true"><mi>x</mi><mo [^>]*>.</mo></mover><mi>n</mi></msub>'),
        (r"\sqrt n", r'<msqrt class="short"><mi>n</mi><mspace width="0" height="0.85em" /></msqrt>'),
        (r"\sqrt{a + b}", r"<msqrt><"),
        (r"\bar z", r"<mover[^>]*><mi>z</mi><mo[^>]*>(?!\u02c9)"),
        (r"\operatorname{sign}\bigl(x\bigr)", r"sign</mi><mo>\u2061</mo><mrow><mo (?=[^>]*lspace=\"0\")[^>]*>\("),
        (r"\sum_n -\log p", r'<mo form="prefix">−</mo>'),
        (r"\tfrac12 + \dots", r"<mn>1</mn>.*<mn>2</mn>.*…"),
    ],
)  # fmt: skip
def test_spacing_is_mended(tex, shown, mathml):
    assert re.search(shown, re.sub(r"\s*\n\s*", "", mathml(tex)))


@pytest.mark.parametrize(
    ("tex", "shown"),
    [
        (r"\varepsilon = .25", "<mn>0.25</mn>"),
        ("100{,}000", "<mn>100,000</mn>"),
        ("(0, 100)", "<mn>0</mn><mo>,</mo><mn>100</mn>"),
        (r"\frac{v}{\lVert v\rVert}", '<mo class="mathopen" stretchy="false"'),
        (r"\left|\frac{a}{b}\right|", "<mrow><mo>|</mo>"),
    ],
)
def test_numbers_and_bars_are_those_of_the_formula(tex, shown, mathml):
    assert shown in re.sub(r"\s*\n\s*", "", mathml(tex))


@pytest.mark.parametrize(
    ("tex", "parts"),
    [
        (r"a = b, \qquad c", ["a = b,", "c"]),
        (r"a = b", ["a = b"]),
        (r"\frac{a \qquad b}{c} \qquad \left(d \qquad e\right)", [r"\frac{a \qquad b}{c}", r"\left(d \qquad e\right)"]),
        (r"\begin{aligned} a \qquad b \end{aligned}", [r"\begin{aligned} a \qquad b \end{aligned}"]),
        (r"a & b \qquad c", [r"a & b \qquad c"]),
    ],
)
def test_formulas_side_by_side_are_apart(tex, parts, module):
    assert module.parts(tex) == parts


@pytest.mark.parametrize(
    ("before", "after", "one"),
    [(" ", ".", "{}."), ("(", " or", "({}"), (" ", "-th", "{}-th"), ("<p>(", ")</p>", "({})"), (" ", " ", None)],
)
def test_a_formula_and_the_punctuation_at_it_are_on_one_line(before, after, one, module):
    formula = module.mathml(r"\sqrt n") + module.END
    page = module.together(f'<p id="a b">as {before}{formula}{after} and {formula} too</p>')
    wholes = re.findall(r'<span class="together">(.*?)</span>', page, re.DOTALL)
    assert wholes == ([one.format(formula)] if one else [])


def test_the_font_has_what_formulas_need(module):
    """All characters of the formulas in lessons and pages, and those that elements imply, are in the font."""
    ziamath = pytest.importorskip("ziamath", reason="has the font: pip install 'tinyadv[site]'")
    from fontTools.ttLib import TTFont

    formulas = []
    for path in [*course.lessons().values(), *sorted(FOLDER.glob("*.md"))]:
        text = path.read_text(encoding="utf-8")
        if path.suffix == ".py":
            text = "\n".join(line[2:] for line in text.splitlines() if line.startswith("# ") or line == "#")
        for block, inline in re.findall(r"\$\$(.+?)\$\$|\$([^$]+)\$", text, re.S):
            formulas += [module.mathml(part, bool(block)) for part in module.parts(block or inline)]
    assert any("<msqrt" in formula for formula in formulas)
    drawn = {element for formula in formulas for element in re.findall(r"<(\w+)", formula)}
    plain = {"math", "mrow", "mi", "mo", "mn", "mtext", "mspace", "mstyle", "mfrac", "msub", "msup", "msubsup"}
    plain |= {"munder", "mover", "munderover", "mtable", "mtr", "mtd"}
    assert drawn <= {*plain, *module.IMPLIED}, "an element that may draw what is in no text"
    shown = {code for code in module.characters([re.sub(r'alttext="[^"]*"', "", f) for f in formulas]) if code > 32}
    with TTFont(Path(ziamath.__file__).parent / "fonts" / module.FONT) as font:
        assert sorted(map(chr, shown - font.getBestCmap().keys() - {0x2061})) == []


def test_the_font_has_what_elements_imply(mathml, module):
    """A root's sign stands in no text: without it in the font, n is shown for the root of n."""
    assert ord("√") in module.characters([mathml(r"\sqrt n")])
    assert ord("√") not in module.characters([mathml("n")])
    assert {ord("‖"), ord("∑")} <= module.characters([mathml(r"\lVert x\rVert"), mathml(r"\sum_i x_i")])


def test_a_formula_that_cannot_be_shown_says_which(mathml):
    with pytest.raises(ValueError, match=r"the formula '\\\\nonsense' cannot be shown: Unknown LaTeX command"):
        mathml(r"\nonsense")


# ---------------------------------------------------------------------------------------------------------
# In a browser

VIEWS = {
    "wide light": (1400, "light"),
    "wide dark": (1400, "dark"),
    "narrow light": (375, "light"),
    "narrow dark": (375, "dark"),
}


@pytest.fixture(scope="session")
def built(tmp_path_factory) -> Path:
    """The folder of the site: TINYADV_SITE, or one that is built now; by one of several workers for all."""
    if "TINYADV_SITE" in os.environ:
        return Path(os.environ["TINYADV_SITE"]).resolve()
    for name in ("sphinx", "myst_nb", "furo", "ziamath", "playwright"):
        pytest.importorskip(name, reason="builds the site and looks at it: pip install 'tinyadv[browser]'")
    import fcntl

    shared = tmp_path_factory.getbasetemp()
    shared = shared.parent if "PYTEST_XDIST_WORKER" in os.environ else shared
    with (shared / "site.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (shared / "site" / "index.html").exists():
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # Python's, of Sphinx and its extensions about each other
                assert site.build(shared / "site", work=shared / "work") == [], "Sphinx warns of nothing"
    return shared / "site"


@pytest.fixture(scope="session")
def address(built):
    """Where the site is served: on this machine alone."""

    class Handler(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_: Any) -> None: ...

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Handler, directory=str(built)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()
    server.server_close()


def opened(browser, address, width=1400, scheme="light"):
    """A page of a new browser, and what it complains of and asks of other machines, which is refused."""
    context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme, accept_downloads=True)
    page, noted = context.new_page(), defaultdict(list)

    def answer(route: Any) -> None:
        if route.request.url.startswith((address, "data:", "blob:")):
            route.continue_()
        else:
            noted["elsewhere"].append(route.request.url)
            route.abort()

    context.route("**/*", answer)
    page.on("console", lambda said: noted["console"].append(said.text) if said.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: noted["console"].append(str(error)))
    page.on("requestfailed", lambda request: noted["failed"].append(request.url))
    page.on("response", lambda r: noted["failed"].append(f"{r.status} {r.url}") if r.status >= 400 else None)
    return page, noted


FACTS = r"""() => {
  const content = document.querySelector(".content, main, body").cloneNode(true);
  content.querySelectorAll("math, pre, code, script, style").forEach((part) => part.remove());
  const formulas = [...document.querySelectorAll("math")].filter((m) => !m.closest("details:not([open])"));
  return {
    title: document.title,
    ids: [...document.querySelectorAll("[id]")].map((part) => part.id),
    links: [...document.querySelectorAll("a[href]")].map((link) => link.getAttribute("href")),
    images: [...document.querySelectorAll("img")].map((image) => [image.src, image.naturalWidth, image.alt]),
    formulas: formulas.length,
    unseen: formulas.filter((m) => { const box = m.getBoundingClientRect(); return !(box.width > 2 && box.height > 4); })
      .map((m) => m.getAttribute("alttext")),
    font: document.fonts.check("16px Formulas") && [...document.fonts].some((f) => f.family.includes("Formulas") && f.status === "loaded"),
    text: content.textContent,
    over: document.documentElement.scrollWidth - document.documentElement.clientWidth,
    wide: [...document.querySelectorAll("body *")].filter((part) => part.getBoundingClientRect().right > innerWidth + 1
      && !part.closest("pre, .table-wrapper, .formula, .output, .cell_output:has(> .wide), .sidebar-drawer, .toc-drawer, .scroll")).slice(0, 3).map((p) => p.outerHTML.slice(0, 120)),
  };
}"""  # noqa: E501


ANSWERED = """document.querySelectorAll(".predict").forEach((question) => question.querySelector("button")?.click())"""


@pytest.fixture(scope="session")
def names(built) -> list[str]:
    """All pages."""
    return sorted(path.relative_to(built).as_posix() for path in built.rglob("*.html") if "_static" not in path.parts)


@pytest.fixture(scope="session", params=list(VIEWS))
def view(request, browser, address, names):
    """What there is to see on each page at this width, in this scheme, and what axe-core says of it."""
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="pip install 'tinyadv[browser]'").Axe()
    page, noted = opened(browser, address, *VIEWS[request.param])
    seen, said = {}, {}
    for name in names:
        page.goto(urljoin(address, name), wait_until="load")
        page.evaluate("document.fonts.ready")
        page.evaluate(ANSWERED)
        seen[name] = page.evaluate(FACTS)
        found = axe.run(page).response
        assert found["passes"], "axe-core has looked at nothing"
        said[name] = [
            (v["id"], v["nodes"][0]["html"][:200])
            for v in found["violations"]
            if v["impact"] in ("serious", "critical")
        ]
    page.context.close()
    return SimpleNamespace(pages=seen, noted=noted, axe={name: found for name, found in said.items() if found})


@pytest.mark.browser
def test_pages_load_without_a_complaint(view, names):
    assert len(names) > 30
    assert view.noted["console"] == []
    assert view.noted["failed"] == []
    assert all(facts["title"] for facts in view.pages.values())


@pytest.mark.browser
def test_nothing_is_asked_of_other_machines(view):
    assert view.noted["elsewhere"] == []


@pytest.mark.browser
def test_formulas_are_shown(view):
    for number in NUMBERS:
        facts = view.pages[f"lessons/{course.path_of(number).stem}.html"]
        assert facts["formulas"] > 5
        assert facts["font"], "formulas have their font"
    for name, facts in view.pages.items():
        assert facts["unseen"] == [], name
        assert not re.search(r"\$[^$\n]+\$|\\[A-Za-z]{2,}", facts["text"]), (
            f"a formula is left as it was typed in {name}"
        )


@pytest.mark.browser
def test_pictures_are_there_and_say_what_they_show(view):
    for name, facts in view.pages.items():
        for address, width, said in facts["images"]:
            assert width > 0, f"{address} in {name}"
            assert len(said) > 10, f"{address} in {name} says {said!r}"
            assert not said.endswith(".png"), f"{address} in {name} says {said!r}"
    for number in NUMBERS:
        assert view.pages[f"lessons/{course.path_of(number).stem}.html"]["images"], "its figures are on its page"


@pytest.mark.browser
def test_every_link_leads_somewhere(view, built):
    wrong = []
    for name, facts in view.pages.items():
        for link in facts["links"]:
            if re.match(r"[a-z]+:", link):
                continue
            where, anchor = urldefrag(urljoin(f"http://site/{name}", link))
            target = unquote(where.removeprefix("http://site/")) or "index.html"
            known = view.pages[target]["ids"] if target in view.pages else []
            if not (built / target).is_file() or (anchor and unquote(anchor) not in known):
                wrong.append((name, link))
    assert wrong == []


@pytest.mark.browser
def test_nothing_is_wider_than_the_screen(view):
    assert {
        name: (facts["over"], facts["wide"]) for name, facts in view.pages.items() if facts["over"] > 0 or facts["wide"]
    } == {}


@pytest.mark.browser
def test_axe_finds_nothing_serious(view):
    assert view.axe == {}


FOCUS = """() => {
  const part = document.activeElement, box = part.getBoundingClientRect(), style = getComputedStyle(part);
  return { text: part.textContent.trim().slice(0, 60), tag: part.tagName, href: part.getAttribute("href"),
    seen: box.width > 0 && box.height > 0 && box.bottom > 0 && box.right > 0, outline: parseFloat(style.outlineWidth),
    style: style.outlineStyle };
}"""


@pytest.mark.browser
def test_by_keyboard(browser, address):
    page, _ = opened(browser, address)
    page.goto(urljoin(address, "lessons/lesson01_linear.html"))
    page.keyboard.press("Tab")
    page.wait_for_timeout(500)  # it slides in
    first = page.evaluate(FOCUS)
    assert first["text"] == "Skip to content"
    assert first["seen"]
    reached = []
    for _ in range(200):
        if page.evaluate("document.activeElement.closest('.cm-editor') !== null"):
            page.keyboard.press("Escape")  # in the editor of a page whose exercises run, Tab indents
        page.keyboard.press("Tab")
        page.wait_for_timeout(20)
        reached.append(page.evaluate(FOCUS))
        if reached[-1]["text"] == first["text"]:
            break  # once around
    assert reached.pop()["text"] == first["text"], "Tab leads around the page, and nothing keeps it"
    texts = [focus["text"] for focus in reached]
    assert {"The lessons", "The map", "The claims", "For teachers"} <= set(texts)
    assert "Show the solution of worst_change" in " ".join(texts)
    hidden = [
        focus
        for focus in reached
        if focus["tag"] == "A" and (not focus["seen"] or focus["outline"] < 2 or focus["style"] == "none")
    ]
    assert hidden == [], "who tabs sees where he is"
    summary = page.locator("details.hide > summary").first
    summary.focus()
    page.keyboard.press("Enter")
    assert page.locator("details.hide[open]").count() == 1
    assert page.locator("details.hide[open] pre").first.is_visible()
    page.context.close()


@pytest.mark.browser
def test_what_a_prediction_asks_is_hidden_until_an_answer_was_chosen(browser, address):
    page, noted = opened(browser, address)
    for number in NUMBERS:
        page.goto(urljoin(address, f"lessons/{course.path_of(number).stem}.html"))
        questions = page.locator(".predict")
        assert questions.count() >= 1
        for question in questions.all():
            assert question.locator("button").count() == question.locator("li").count() > 1
            assert question.get_by_role("status").inner_text() == "Choose an answer to see the result and read on."
        hidden = page.locator("article [hidden]:not(.exercise *)")
        assert hidden.count() >= questions.count(), "each hides something"
        assert not any(part.is_visible() for part in hidden.all())
        for question in questions.all():
            question.locator("button").nth(1).click()
        assert hidden.count() == 0, "nothing stays hidden"
        assert page.locator(".predict button[aria-pressed=true]").count() == questions.count()
    page.goto(urljoin(address, f"lessons/{course.path_of(1).stem}.html"))
    meaning = page.get_by_text("With 10 inputs a lucky random change")
    assert not meaning.is_visible(), "the text below the result would tell, too"
    page.locator(".predict button").first.click()
    assert meaning.is_visible()
    assert not noted["console"]
    page.context.close()


@pytest.mark.browser
def test_claims_are_shown_by_their_status(browser, address):
    page, _ = opened(browser, address, 390)
    page.goto(urljoin(address, "claims.html"))
    for button in page.locator(".filter button").all():
        button.click()
        status, count = re.fullmatch(r"(.*) \((\d+)\)", button.inner_text()).groups()
        badges = page.locator("table >> nth=0").locator("tr:visible .badge")
        assert badges.count() == int(count)
        said = [badge.replace("\xa0", " ") for badge in badges.all_inner_texts()]
        assert status == "all" or all(badge.endswith(status) for badge in said)
        first = page.locator("table >> nth=0").locator("tbody tr:visible").first
        assert first.locator(".badge").is_visible(), "a claim's first row has its name and its status"
        assert first.locator(".badge").bounding_box()["x"] < 390
    page.context.close()


@pytest.mark.browser
def test_a_link_opens_a_claim_s_definition_and_no_hint(browser, address):
    page, _ = opened(browser, address)
    page.goto(urljoin(address, "claims.html#claim-fgsm-softmax"))
    assert page.locator("#claim-fgsm-softmax, #fgsm-softmax").locator("details[open]").count() == 1
    page.goto(urljoin(address, f"lessons/{course.path_of(3).stem}.html#lesson-03"))
    assert page.locator("details", has_text="Hint 1").count() >= 1
    assert page.locator("article details[open]").count() == 0
    page.context.close()


@pytest.mark.browser
def test_chinese_has_fonts_of_its_own_everywhere(browser, address):
    page, _ = opened(browser, address)
    for name, chinese in (("glossary.html", "dt[lang=zh-Hans]"), ("index.html", ".sidebar-tree a[href^=glossary]")):
        page.goto(urljoin(address, name))
        part = page.locator(chinese).first
        assert re.search("[\u4e00-\u9fff]", part.inner_text())
        fonts = part.evaluate("(part) => getComputedStyle(part).fontFamily")
        assert "Noto Sans CJK SC" in fonts
        assert "Microsoft YaHei" in fonts
    page.context.close()


@pytest.mark.browser
def test_code_can_be_copied(browser, address):
    page, _ = opened(browser, address)
    page.context.grant_permissions(["clipboard-read", "clipboard-write"], origin=address)
    page.goto(urljoin(address, "lessons/lesson01_linear.html"))
    block = page.locator("div.highlight", has_text="import numpy as np").first
    block.hover()
    block.locator("button.copybtn").click()
    assert "import numpy as np\n" in page.evaluate("navigator.clipboard.readText()")
    page.context.close()


@pytest.mark.browser
def test_the_search_finds_what_stands_in_text_alone(browser, address):
    page, noted = opened(browser, address)
    for word, number in {"camera": 1, "Taylor": 2, "velocity": 5, "absurdly": 6, "underfitting": 7}.items():
        page.goto(urljoin(address, f"search.html?q={word}"))
        page.wait_for_selector("#search-results li", timeout=20_000)
        found = page.locator("#search-results li", has=page.locator(f"a[href*={course.path_of(number).stem}]")).first
        assert word.lower() not in found.locator("a").inner_text().lower(), "its title does not have it"
        assert word.lower() in found.inner_text().lower(), "and the lines around it are shown"
    assert not noted["console"] + noted["elsewhere"]
    page.context.close()


def downloaded(browser, address, number: int, folder: Path) -> dict[str, Path]:
    """What the links under a lesson's heading bring, as a reader's browser saves it."""
    page, _ = opened(browser, address)
    page.goto(urljoin(address, f"lessons/{course.path_of(number).stem}.html"))
    found = {}
    for link in page.locator(".lead a.download").all():
        with page.expect_download() as waiting:
            link.click()
        name = waiting.value.suggested_filename
        waiting.value.save_as(folder / name)
        found[name] = folder / name
    page.context.close()
    return found


def executed(path: Path) -> Any:
    """A notebook, run from its beginning in its folder; it stops at the first error."""
    import nbclient
    import nbformat

    book = nbformat.read(path, as_version=4)
    resources = {"metadata": {"path": str(path.parent)}}
    nbclient.NotebookClient(book, timeout=1800, allow_errors=True, resources=resources).execute()
    return book


def errors(book: Any) -> list[tuple[str, str]]:
    outputs = [output for cell in book.cells for output in cell.get("outputs", [])]
    return [(output.ename, output.evalue) for output in outputs if output.output_type == "error"]


@pytest.mark.browser
@pytest.mark.parametrize(
    "number", [n if n in (1, 3) else pytest.param(n, marks=pytest.mark.slow) for n in NUMBERS]
)  # fmt: skip
def test_what_is_downloaded_runs(number, browser, address, tmp_path):
    path = course.path_of(number)
    found = downloaded(browser, address, number, tmp_path)
    assert set(found) == {path.name, f"{path.stem}.ipynb", f"{path.stem}_exercises.ipynb"}
    book = executed(found[f"{path.stem}.ipynb"])
    assert errors(book) == []
    data = [output.data for cell in book.cells for output in cell.get("outputs", []) if "data" in output]
    assert any("text/html" in entry for entry in data), "its tables"
    assert any("image/png" in entry for entry in data), "its figures"
    ((name, said), *_) = errors(executed(found[f"{path.stem}_exercises.ipynb"]))
    assert name == "NotImplementedError"
    assert said.removeprefix("exercise: ") in exercises(source(number))
    assert compile(found[path.name].read_text(encoding="utf-8"), path.name, "exec")
