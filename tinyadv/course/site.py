"""Building the read-along site: `tinyadv course site DIR`.

The one idea: Sphinx reads a folder that is written anew for every build, `WORK`, from the lesson files, the pages that
are typed (`site/` beside the lessons) and those that are generated (`pages`). Lessons are run there, all in one folder,
so that they share the networks that they train; what was run and has not changed is not run again. Nothing is fetched,
and the site fetches nothing.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sys
from collections.abc import Iterable, Iterator, Mapping
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING

from .. import __version__, explore
from ..storage import fill_folder, write_atomically
from . import FIGURES, PACKAGE, lessons
from .export import OF_THE_DESKTOP
from .notebook import DARK
from .pages import MODULES, claims_details, downloads, filled, lesson_page, module_page
from .web import build as web

if TYPE_CHECKING:
    from ..paper.results import Result

WORK = FIGURES.parent / "site-work"  # from where the command is run
HOME, HOME_DARK, EPS = "home.png", "home-dark.png", 0.25  # the first page's picture, and the size of its attack
_MARK = ".tinyadv-site"  # in a folder that holds a site: it may be written over
_NEEDS = ("sphinx", "myst_nb", "furo", "sphinx_copybutton", "numpydoc", "jupytext", "ziamath")


class SiteError(Exception):
    """The site cannot be built; the message has what Sphinx said, over several lines."""


def build(folder: Path, run: bool = True, work: Path = WORK, runnable: bool = False) -> list[str]:
    """Build the site into `folder`; what Sphinx warned of.

    Parameters
    ----------
    folder : Path
        A new or empty folder, or one that holds an earlier site.
    run : bool
        Whether lessons are run, in the quick profile; without it their pages have no tables and figures.
    work : Path
        Where Sphinx's sources are written, lessons run and their results kept for the next build.
    runnable : bool
        Whether exercises can be checked, and cells run, on the pages: Python then travels with the site.

    Raises
    ------
    ValueError
        If the folder holds something else, or something is not installed.
    SiteError
        If a page cannot be made, or a lesson fails. The folder is then as it was.
    """
    _check(folder, runnable)
    source = work / "source"
    results = _drawn(source / "pictures")
    _prepare(source, results)
    _write_report(source / "extra" / "report.html", results)
    explore.write(source / "extra" / "explorer.html", explore.embedded())
    html = work / "html"
    warnings = _sphinx(source, html, work, run, runnable)
    if runnable:
        web.write(html / "_static" / "runnable")
        shutil.copyfile(web.HERE / "service-worker.js", html / "service-worker.js")  # it serves what is below it
    else:
        shutil.rmtree(html / "_static" / "runnable", ignore_errors=True)
        (html / "service-worker.js").unlink(missing_ok=True)
    ours = sorted(path.name for path in html.iterdir() if path.name != _MARK)
    write_atomically(html / _MARK, "\n".join([f"tinyadv {__version__}", _MARK, *ours]) + "\n")
    fill_folder(folder, lambda new: shutil.copytree(html, new))
    return warnings


def configuration() -> Path:
    """The folder with Sphinx's configuration and the pages that are typed."""
    return next(iter(lessons().values())).parent / "site"


def _check(folder: Path, runnable: bool) -> None:
    from importlib.util import find_spec

    if missing := [name for name in _NEEDS if find_spec(name) is None]:
        raise ValueError(f"the site needs {', '.join(missing)}, not installed here: pip install 'tinyadv[site]'")
    if runnable and (missing := web.missing()):
        raise ValueError(f"--runnable needs {', '.join(missing)}, not installed here: pip install 'tinyadv[web]'")
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"{folder} is a file: wanted a folder")
    there = {path.name for path in folder.iterdir()} - OF_THE_DESKTOP if folder.is_dir() else set()
    if there and _MARK not in there:
        raise ValueError(f"{folder} holds something else than a site: wanted a new folder, an empty one, or a site's")
    if there:
        _, *ours = (folder / _MARK).read_text(encoding="utf-8").splitlines()
        if ours and (strange := sorted(there.difference(ours))):
            raise ValueError(
                f"{folder} holds {', '.join(strange[:5])}, which no build of the site has written: a new build would "
                "remove it; move it away first"
            )


def sources(results: Mapping[str, Result]) -> Iterator[tuple[str, str]]:
    """The text files that the site is made of, by their places."""
    details = {"claims-details": lambda: claims_details(results)}
    for page in sorted(configuration().glob("*.md")):
        yield _PLACES.get(page.name, page.name), filled(page.read_text(encoding="utf-8"), details)
    for number, path in lessons().items():
        yield f"lessons/{path.stem}.ipynb", lesson_page(number)
        for name, text in downloads(number).items():
            yield f"lessons/files/{name}", text
    for names in MODULES.values():
        for name in names:
            yield f"reference/{name}.md", module_page(name)


_PLACES = {"lessons.md": "lessons/index.md", "reference.md": "reference/index.md"}


def _prepare(source: Path, results: Mapping[str, Result]) -> None:
    """Write Sphinx's sources; what has not changed is left as it is, what is no longer there is taken away."""
    from ..paper.draw import drawing_of

    drawn = [drawing for result in results.values() if (drawing := drawing_of(result))]
    pictures = [HOME, HOME_DARK, *(file for drawing in drawn for file in (drawing.file, drawing.dark_file))]
    written = {source / "pictures" / file for file in pictures}
    for place, text in sources(results):
        path = source / place
        written.add(path)
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(path, text)
    for pattern in ("*.md", "reference/*", "lessons/*.ipynb", "lessons/files/*", "pictures/*"):
        for path in set(source.glob(pattern)) - written:
            path.unlink()


def _drawn(folder: Path) -> dict[str, Result]:
    """The committed results, with their figures drawn into the folder; not again if this very program has done so."""
    from ..paper.draw import draw_figure
    from ..paper.results_file import committed

    results, note = committed(), folder.parent / "pictures.json"
    before = json.loads(note.read_text(encoding="utf-8")) if note.exists() else {}
    if before.get("program") != _program():
        folder.mkdir(parents=True, exist_ok=True)
        for result in results.values():
            draw_figure(result, folder, dark=True)
        _draw_home(folder)
        write_atomically(note, json.dumps({"program": _program()}))
    return results


def _draw_home(folder: Path) -> None:
    """What the course is about, in one picture: a digit, a change of every pixel, and the digit that it then is.

    The digit is the first of MNIST's test images that the network of the package takes for its true class, and for
    another one after a step of the fast gradient sign method.
    """
    from numpy import flatnonzero
    from numpy import sign as sign_of

    from .. import attacks, datasets, models
    from ..machine import import_matplotlib
    from ..paper.draw import STYLE, darken, rendered, show_image

    matplotlib = import_matplotlib()
    from matplotlib.figure import Figure

    network = models.embedded("maxout-naive")
    x, y = (part[:20] for part in datasets.mnist().test)
    g = attacks.input_gradient(network, x, y)
    after = x + EPS * sign_of(g)
    before_p, after_p = (network.probabilities(network(images)) for images in (x, after))
    shown = int(flatnonzero((before_p.argmax(axis=1) == y) & (after_p.argmax(axis=1) != y))[0])
    with matplotlib.rc_context(STYLE):
        canvas = Figure(figsize=(8, 3), layout="constrained")
        left, middle, right = canvas.subplots(1, 3)
        says = [
            f"the network says {p[shown].argmax()}\n({100 * p[shown].max():.0f} % sure)" for p in (before_p, after_p)
        ]
        show_image(left, x[shown], says[0])
        show_image(middle, sign_of(g[shown]), f"+ {EPS} ×\nthe sign of its gradient", -1, 1)
        show_image(right, after[shown], f"= {says[1]}")
        write_atomically(folder / HOME, rendered(canvas))
        darken(canvas)
        write_atomically(folder / HOME_DARK, rendered(canvas))


def _write_report(path: Path, results: Mapping[str, Result]) -> None:
    """The report on the committed results, a page that stands alone."""
    from ..paper.results_file import BY_SIZE, RESULTS, load_results
    from ..paper.show.report import write_report

    found = [RESULTS / f"{profile}.json" for profile in reversed(BY_SIZE)]
    manifest = next((load_results(file)[1] for file in found if file.exists()), {})
    path.parent.mkdir(parents=True, exist_ok=True)
    write_report(path, results, manifest, path.parent.parent / "pictures")


def _sphinx(source: Path, html: Path, work: Path, run: bool, runnable: bool) -> list[str]:
    from sphinx.application import Sphinx
    from sphinx.errors import SphinxError
    from sphinx.util.console import nocolor

    if not sys.stderr.isatty():
        nocolor()
    runs = work / f"runs-{_program()}"  # of this very program: what another one's lessons showed may be out of date
    for old in set(work.glob("runs-*")) - {runs}:
        shutil.rmtree(old)
    settings = {
        "release": __version__,
        # a setting that differs has Sphinx write all pages anew, which a change of the configuration alone does not
        "html_context": {"configuration": _hash(configuration().glob("*.py")), "runnable": runnable},
        "html_extra_path": [str((source / "extra").absolute())],
        "nb_execution_mode": "cache" if run else "off",
        "nb_execution_cache_path": str(runs.absolute()),
    }
    warnings = StringIO()
    os.environ[DARK] = "1"  # for the kernels that run the lessons
    try:
        app = Sphinx(
            source, configuration(), html, work / "doctrees", "html", settings, status=sys.stderr, warning=warnings
        )
        app.build()
    except SphinxError as error:
        raise SiteError(f"{warnings.getvalue()}{error}".strip()) from error
    finally:
        os.environ.pop(DARK, None)
    return [line for line in warnings.getvalue().splitlines() if line.strip()]


def _program() -> str:
    """A fingerprint of what lessons run on: the package but for its command line and the other tools of the course."""
    course = [PACKAGE / "course" / name for name in ("__init__.py", "notebook.py")]
    found = [
        *PACKAGE.glob("*.py"),
        *PACKAGE.glob("paper/**/*.py"),
        *PACKAGE.glob("paper/*.toml"),
        *PACKAGE.glob("paper/results/*.json"),
        *course,
    ]
    return _hash(path for path in found if path.name not in ("cli.py", "command_line.py"))


def _hash(paths: Iterable[Path]) -> str:
    digest = hashlib.sha256()
    for path in sorted(paths):
        digest.update(path.name.encode() + path.read_bytes())
    return digest.hexdigest()[:12]
