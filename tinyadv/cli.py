"""The command `tinyadv`.

The one idea: whatever is wrong with what the user typed is one line on standard error and exit code 2, before any
work is done and anything is written. The commands themselves are short; what they do is elsewhere.
"""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from . import __version__
from .bench.command import bench_command
from .command_line import check_folder, complain, input_errors, real, said_by, whole, work
from .course.command import app as course_app
from .course.command import offer_lessons

if TYPE_CHECKING:
    from .paper.workers import Extension

app = typer.Typer(
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Explaining and Harnessing Adversarial Examples, from scratch: lessons, attacks, and every claim measured.",
)

OUT = Path("tinyadv-results")
GREETING = f"""\
tinyadv {__version__}: Explaining and Harnessing Adversarial Examples, from scratch

  tinyadv lesson               the lessons, and the claim of the paper that each leads to
  tinyadv lesson 1             run the first lesson
  tinyadv explore              a page for your browser, to try attacks on
  tinyadv course export DIR    the exercises, to be solved in DIR; `pytest` there says what is right
  tinyadv reproduce            measure the paper's claims on this machine, in minutes
  tinyadv claims               each claim: the paper's number, ours, and how it is measured
  tinyadv attack NETWORK       attack a network that reproduce has trained
  tinyadv audit NETWORK        its error under many attacks together
  tinyadv course grade DIR     grade a student's exercises, or with --out a class's
  tinyadv course site DIR      the lessons as a site, with a page for teachers
  tinyadv doctor               is everything in order here?

`tinyadv --help` lists all commands, `tinyadv COMMAND --help` the options of one."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line, by default what was typed; it ends with SystemExit and the exit code.

    It may be called from any thread, and leaves the process as it was.
    """
    try:
        with _any_terminal(), _files_alone():
            code = app(None if arguments is None else list(arguments), prog_name="tinyadv", standalone_mode=False)
    except (KeyboardInterrupt, typer.Abort):  # before a command has begun its work
        code = complain("interrupted", 130)
    except OSError as error:  # nothing has been done yet but to print
        code = complain(said_by(error), 2)
    except Exception as error:
        # What the command line does not understand, typer words over several lines. Its exceptions moved between
        # modules more than once; they are known by this method.
        if not hasattr(error, "format_message"):
            raise
        code = complain(error.format_message(), 2)
    sys.exit(code)


@contextmanager
def _any_terminal() -> Iterator[None]:
    """Standard output shows another character for one that its encoding does not have: none is worth a traceback."""
    stream = sys.stdout
    if not isinstance(stream, io.TextIOWrapper):  # closed, or a notebook's
        yield
        return
    before = stream.errors
    stream.reconfigure(errors="replace")
    try:
        yield
    finally:
        with suppress(OSError):  # it flushes, and perhaps nobody reads any more
            stream.reconfigure(errors=before)


@contextmanager
def _files_alone() -> Iterator[None]:
    """Figures are written to files: Matplotlib needs no window and no notebook, whatever MPLBACKEND says."""
    before = os.environ.get("MPLBACKEND")
    os.environ["MPLBACKEND"] = "agg"
    try:
        yield
    finally:
        if before is None:
            del os.environ["MPLBACKEND"]
        else:
            os.environ["MPLBACKEND"] = before


def _ids(texts: Iterable[str]) -> list[str]:
    """Claim ids, given one by one or with commas between them."""
    return [name.strip() for text in texts for name in text.split(",")]


# ---------------------------------------------------------------------------------------------------------
# What a shell offers while one types; `tinyadv --install-completion` teaches it to ask


def _offer_claims(incomplete: str) -> list[tuple[str, str]]:
    """Claim ids, also after a comma."""
    from .paper.claims import claims as registry

    before, comma, begun = incomplete.rpartition(",")
    found = [claim for claim in registry().values() if claim.id.startswith(begun)]
    return [(f"{before}{comma}{claim.id}", claim.where) for claim in found]


def _offer_profiles(incomplete: str) -> list[str]:
    from .paper.profiles import PROFILES

    return [name for name in PROFILES if name.startswith(incomplete)]


def _offer_devices(incomplete: str) -> list[str]:
    return [name for name in ("cpu", "cuda") if name.startswith(incomplete)]


def _offer_methods(incomplete: str) -> list[str]:
    from .gallery import METHODS

    return [name for name in METHODS if name.startswith(incomplete)]


# ---------------------------------------------------------------------------------------------------------


@app.command()
def reproduce(
    profile: Annotated[
        str,
        typer.Option(
            metavar="NAME",
            autocompletion=_offer_profiles,
            help="How much work: quick (minutes), lesson (hours), or paper (a GPU, or days).",
        ),
    ] = "quick",
    only: Annotated[
        list[str] | None,
        typer.Option(
            metavar="ID",
            autocompletion=_offer_claims,
            help="Measure these claims alone: --only ID --only ID, or --only ID,ID.",
        ),
    ] = None,
    seeds: Annotated[
        int | None, typer.Option(parser=whole, metavar="N", help="How many seeds; by default the profile's number.")
    ] = None,
    first_seed: Annotated[
        int,
        typer.Option(
            parser=whole,
            metavar="K",
            help="The first seed; above 0 if the seeds before it are measured elsewhere.",
        ),
    ] = 0,
    units: Annotated[
        int | None,
        typer.Option(
            parser=whole,
            metavar="N",
            help="Maxout units per layer where the paper has 1600; by default the profile's.",
        ),
    ] = None,
    device: Annotated[str, typer.Option(metavar="NAME", autocompletion=_offer_devices, help="cpu or cuda.")] = "cpu",
    out: Annotated[
        Path, typer.Option(metavar="DIR", help="Where everything is written; run again to go on from there.")
    ] = OUT,
    workers: Annotated[
        int | None,
        typer.Option(
            parser=whole, metavar="N", help="How many processes; by default one for each processor, one for a GPU."
        ),
    ] = None,
    scheduler: Annotated[
        str | None,
        typer.Option(metavar="ADDRESS", help="Work on a dask.distributed cluster instead: tcp://HOST:PORT."),
    ] = None,
    claims: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Measure your own claims: a file in the form of claims.toml; needs --module."
        ),
    ] = None,
    module: Annotated[
        str | None, typer.Option(metavar="NAME", help="The module that measures and draws the claims of --claims.")
    ] = None,
) -> None:
    """Measure the paper's claims. Prints them beside the paper's numbers; writes results, figures and a report."""
    with work(hint="the same command goes on from here"):
        from rich.console import Console

        from .paper.claims import claims as registry
        from .paper.run import plan
        from .paper.run import reproduce as run
        from .paper.show.terminal import table
        from .progress import say

        with input_errors():
            own = _extension(claims, module)
            job = plan(_ids(only or ()), profile, seeds, device, out, workers, scheduler, units, own, first_seed)
        scale = f"profile {profile}" + (f" with {units} units" if units else "")
        what = f"{len(job.ids)} claim{'s' * (len(job.ids) != 1)}, {scale}"
        say(f"{what}, seed{'s' * (len(job.seeds) != 1)} {', '.join(map(str, job.seeds))}, on {device}, {job.where}")
        results, failed = run(job, say)
        table(results, Console(), job.ids, context=own is not None)
        if not only and not own and (others := len(registry()) - len(job.ids)):
            typer.echo(f"The paper's other {others} claims are not in this run: `tinyadv claims` shows all.")
        typer.echo(f"\nreport    {out / 'report.html'}\nfigures   {out / 'figures'}\nresults   {out / 'results.json'}")
        typer.echo(f"networks  {out / 'networks'} (for `tinyadv attack`; the report lists them)")
        if failed:
            reasons = "; ".join(f"{name} ({why})" for name, why in failed.items())
            raise typer.Exit(complain(f"{len(failed)} of {len(job.ids)} claims not measured: {reasons}", 1))


def _extension(file: Path | None, module: str | None) -> Extension | None:
    """One's own claims, as --claims and --module name them."""
    from .paper.workers import Extension

    if (file is None) != (module is None):
        raise ValueError("--claims and --module belong together: what the claims are, and what measures them")
    if file is None or module is None:
        return None
    return Extension(_own_claims(file), module, f"--claims {file}")


def _own_claims(file: Path) -> str:
    """The text of --claims."""
    try:
        return file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"--claims {file} cannot be read: {error}") from error


@app.command()
def claims(
    ids: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="ID",
            autocompletion=_offer_claims,
            help="Claims to describe in full; without any, a table of all.",
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON: everything about each claim.")] = False,
    as_csv: Annotated[
        bool, typer.Option("--csv", help="As CSV: a line for each number, with what each seed gave.")
    ] = False,
    as_markdown: Annotated[bool, typer.Option("--markdown", help="As a table in Markdown.")] = False,
    as_latex: Annotated[bool, typer.Option("--latex", help="As a longtable in LaTeX.")] = False,
    out: Annotated[
        Path,
        typer.Option(
            metavar="DIR", help="The folder of a run, whose numbers are shown; all others are the published ones."
        ),
    ] = OUT,
    own: Annotated[
        Path | None,
        typer.Option("--claims", metavar="FILE", help="List your own claims: a file in the form of claims.toml."),
    ] = None,
) -> None:
    """List the paper's claims. Each with the paper's value, ours where there is one, and how they compare."""
    with work():
        from rich.console import Console

        from .paper.claims import add, select
        from .paper.claims import claims as registry
        from .paper.results import merge
        from .paper.results_file import committed, load_results
        from .paper.show.terminal import describe, sources, table
        from .paper.show.text import csv_table, json_list, latex_table, markdown_page

        with input_errors():
            if sum((as_json, as_csv, as_markdown, as_latex)) > 1:
                raise ValueError("wanted at most one of --json, --csv, --markdown and --latex")
            listed = add(_own_claims(own), f"--claims {own}") if own else registry()
            chosen = select(_ids(ids) if ids else listed)
            path = out / "results.json"
            if out != OUT and not out.exists():
                raise ValueError(f"--out {out}: there is no such folder")
            published, of_run = committed(), load_results(path)[0] if path.exists() else {}
            results = merge(published, of_run)
        asked = [claim.id for claim in chosen]
        if as_json:
            typer.echo(json_list(results, asked, ascii_only=not _speaks_unicode()), nl=False)
        elif as_csv:
            typer.echo(csv_table(results, asked), nl=False)
        elif as_latex:
            typer.echo(latex_table(results, asked), nl=False)
        elif as_markdown:
            typer.echo(markdown_page(results, asked if ids or own else None), nl=False)
        else:
            console = Console()
            table(results, console, asked, context=bool(ids or own))
            if said := sources([name for name in asked if name in of_run], [n for n in asked if n in published], path):
                console.print(said, highlight=False, markup=False)
            if ids:
                for claim in chosen:
                    describe(claim, results.get(claim.id), console)
            else:
                console.print("`tinyadv claims ID` says what is measured, and how.", highlight=False)


def _speaks_unicode() -> bool:
    """Whether standard output takes every character: elsewhere JSON has escapes for what is not ASCII."""
    return str(getattr(sys.stdout, "encoding", None) or "utf-8").lower().startswith("utf")


@app.command()
def attack(
    network: Annotated[
        str,
        typer.Argument(
            metavar="NETWORK",
            help="A trained network: a .safetensors file, e.g. from reproduce, the name of one of the package's own, "
            "e.g. maxout-naive, or MODULE:FUNCTION, e.g. mine:make for make() in mine.py, which returns a model; "
            "or the word googlenet.",
        ),
    ],
    eps: Annotated[
        float | None,
        typer.Option(
            parser=real,
            metavar="EPS",
            help="How far each pixel may move; pixels run from 0 to 1. By default 0.25, for googlenet 1/255.",
        ),
    ] = None,
    method: Annotated[
        str, typer.Option(metavar="NAME", autocompletion=_offer_methods, help="fgsm, or pgd: 20 small steps.")
    ] = "fgsm",
    images: Annotated[
        int | None,
        typer.Option(parser=whole, metavar="N", help="How many images, from the first; by default 10."),
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Your own images: an .npz with x (N, D) from 0 to 1 and y (N,); for googlenet a photograph.",
        ),
    ] = None,
    clip: Annotated[bool, typer.Option("--clip", help="Keep pixels within 0 and 1; the paper did not.")] = False,
    out: Annotated[Path, typer.Option(metavar="DIR", help="Where attack.npz and attack.png are written.")] = Path("."),
) -> None:
    """Attack a trained network. Writes adversarial images, of MNIST or your own, as a picture and as an .npz file.

    With the word googlenet in place of a file: attack a photograph of yours.
    """
    with work(), input_errors():
        check_folder(out, f"--out {out}")
        if network == "googlenet":
            from .photographs import GREY_LEVEL, attack_photograph

            if data is None:
                raise ValueError("attack googlenet wants a photograph: --data PHOTO.jpg")
            if images is not None:
                raise ValueError("--images is for test images of MNIST; googlenet is shown the photograph of --data")
            lines = attack_photograph(data, GREY_LEVEL if eps is None else eps, method, clip, out)
        else:
            from .gallery import attack_test_images

            lines = attack_test_images(network, 0.25 if eps is None else eps, method, images, clip, out, data)
        for line in lines:
            typer.echo(line)


@app.command()
def explore(
    networks: Annotated[
        list[Path] | None,
        typer.Argument(metavar="NETWORK", help="Trained networks, .safetensors files; by default the package's own."),
    ] = None,
    out: Annotated[Path, typer.Option(metavar="FILE", help="The page to write.")] = Path("explorer.html"),
) -> None:
    """Write a page to try attacks on. It is one HTML file with networks and images, and needs no server."""
    with work(), input_errors():
        from .explore import embedded, named, write

        write(out, named(networks) if networks else embedded())
        typer.echo(f"{out}: open it in a browser")


@app.command()
def audit(
    networks: Annotated[
        list[str],
        typer.Argument(
            metavar="NETWORK",
            help="Trained networks: .safetensors files, names of the package's own, e.g. maxout-naive, or "
            "MODULE:FUNCTION, e.g. mine:make for make() in mine.py, which returns a model.",
        ),
    ],
    data: Annotated[
        Path | None,
        typer.Option(metavar="FILE.npz", help="x (N, D), from 0 to 1, and y (N,); by default MNIST's test images."),
    ] = None,
    eps: Annotated[
        float, typer.Option(parser=real, metavar="EPS", help="How far each pixel may move, in the max norm.")
    ] = 0.25,
    radius: Annotated[
        float, typer.Option(parser=real, metavar="R", help="How far an image may move, in the L2 norm.")
    ] = 2.0,
    images: Annotated[int, typer.Option(parser=whole, metavar="N", help="How many images, from the first.")] = 1000,
    restarts: Annotated[int, typer.Option(parser=whole, metavar="N", help="Random starts of PGD.")] = 5,
    queries: Annotated[int, typer.Option(parser=whole, metavar="N", help="Queries of the square attack.")] = 5000,
    seed: Annotated[int, typer.Option(parser=whole, metavar="N", help="The seed of all random numbers.")] = 0,
    unclipped: Annotated[
        bool,
        typer.Option("--unclipped", help="Never clip: for images whose range is not 0 to 1, such as whitened ones."),
    ] = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="As CSV, with shares from 0 to 1 instead of percent.")] = False,
    as_latex: Annotated[bool, typer.Option("--latex", help="As a LaTeX tabular.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON, with the settings.")] = False,
) -> None:
    """Audit networks with many attacks. An image counts as misclassified if one of them fools the network on it.

    Each network is also shown the examples of the others. A network of 240 units takes minutes on two cores.
    """
    with work(), input_errors():
        if as_csv + as_latex + as_json > 1:
            raise ValueError("--csv, --latex and --json are three forms of one table: choose one")
        from .by_name import check_images, read_networks
        from .paper import robustness

        effort = robustness.Effort(eps=eps, radius=radius, restarts=restarts, queries=queries, seed=seed)
        robustness.check(effort)
        read = read_networks(networks)
        x, y = robustness.read_images(data, images, read)
        check_images(networks, x)
        clips = (False,) if unclipped else (False, True)
        rows = robustness.audit_networks(read, x, y, effort, clips, say=lambda line: typer.echo(line, err=True))
        if as_csv:
            typer.echo(robustness.as_csv(rows))
        elif as_latex:
            typer.echo(robustness.as_latex(rows, effort))
        elif as_json:
            typer.echo(robustness.as_json(rows, effort))
        else:
            typer.echo(robustness.as_text(rows, effort))


@app.command()
def lesson(
    number: Annotated[
        int | None,
        typer.Argument(
            parser=whole,
            metavar="NUMBER",
            autocompletion=offer_lessons,
            help="The lesson's number; without it, the list of lessons.",
        ),
    ] = None,
    profile: Annotated[
        str,
        typer.Option(
            metavar="NAME",
            autocompletion=_offer_profiles,
            help="How much work: quick (minutes), lesson (hours), or paper (days).",
        ),
    ] = "quick",
) -> None:
    """Run a lesson, or list them. The list says what each is about, and what you have run and solved here."""
    with work():
        from .course import own_lesson, path_of, run_lesson, scale
        from .course.contents import list_lessons
        from .course.feedback import NOT_DONE, TODO

        with input_errors():
            path = (own_lesson(number) or path_of(number)) if number is not None else None
            scale(profile)
        if path is None:
            typer.echo(list_lessons())
        else:
            try:
                run_lesson(path, profile)
            except NotImplementedError as error:  # a student's own lesson
                if not str(error).startswith(TODO):
                    raise
                name = str(error).removeprefix(TODO)
                said = f"{path} needs {name} to go on, an exercise that is {NOT_DONE}"
                raise typer.Exit(complain(said, 1)) from error


@app.command()
def doctor() -> None:
    """Report whether everything is in order. Versions, threads, GPU, data, the gradients of all operations."""
    with work():
        from .course.doctor import examine

        wrong = 0
        for name, said, good in examine():
            typer.echo(f"{'ok   ' if good else 'WRONG'}  {name:12} {said}")
            wrong += not good
        typer.echo("\neverything is in order" if not wrong else f"\n{wrong} of these are wrong")
        raise typer.Exit(int(bool(wrong)))


app.add_typer(course_app, name="course")
app.command("bench")(bench_command)


@app.callback(invoke_without_command=True)
def _start(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
) -> None:
    if version:
        typer.echo(f"tinyadv {__version__}")
        raise typer.Exit
    if context.invoked_subcommand is None:
        typer.echo(GREETING)
        raise typer.Exit
