"""The command `tinyadv`.

The one idea: whatever is wrong with what the user typed is one line on standard error and exit code 2, before any
work is done and anything is written. The commands themselves are short; what they do is elsewhere.
"""

from __future__ import annotations

import io
import json
import math
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from . import __version__
from .bench.command import bench_command
from .storage import STANDARD_OUTPUT, descriptor, write_atomically

if TYPE_CHECKING:
    from .paper.claims import Claim
    from .paper.results import Result
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

  tinyadv lesson               the lessons, and the claim of the paper that each answers
  tinyadv lesson 1             run the first
  tinyadv explore              attacks to touch, in one page for a browser
  tinyadv course export DIR    the exercises, to be solved in DIR; `pytest` there says what is right
  tinyadv reproduce            measure the paper's claims on this machine, in minutes
  tinyadv claims               what each claim became, and how it is measured
  tinyadv attack NETWORK       attack a network that reproduce has trained
  tinyadv audit NETWORK        what many attacks together leave of it
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
        code = _complain("interrupted", 130)
    except OSError as error:  # nothing has been done yet but to print
        code = _complain(_said_by(error), 2)
    except Exception as error:
        # What the command line does not understand, typer words over several lines. Its exceptions moved between
        # modules more than once; they are known by this method.
        if not hasattr(error, "format_message"):
            raise
        code = _complain(error.format_message(), 2)
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


def _complain(message: object, code: int) -> int:
    # what a file said may be in it: nothing that a terminal would obey, and no more than one wants to read
    text = "".join(c if c.isprintable() else " " for c in str(message)[:5000])
    typer.echo("tinyadv: " + " ".join(text.split()), err=True)
    return code


@contextmanager
def _input_errors() -> Iterator[None]:
    """What is wrong with the input becomes one line and exit code 2; so does what the installation lacks."""
    from .backend import DeviceError

    try:
        yield
    except (ValueError, FloatingPointError, DeviceError) as error:
        raise typer.Exit(_complain(error, 2)) from error


@contextmanager
def _work(interrupted: str = "interrupted") -> Iterator[None]:
    """What may stop sound work on sound input: files, training that diverges, the user. Anything else is a bug."""
    from .datasets import DataError
    from .storage import StorageError
    from .training import DivergedError

    try:
        with _stopped_by_sigterm():
            yield
    except BrokenPipeError:
        raise  # who reads our output has seen enough: typer ends without a word
    except (DataError, StorageError) as error:
        raise typer.Exit(_complain(error, 2)) from error
    except OSError as error:
        raise typer.Exit(_complain(_said_by(error), 2)) from error
    except DivergedError as error:
        raise typer.Exit(_complain(error, 1)) from error
    except _TerminatedError as error:
        raise typer.Exit(_complain(interrupted.replace("interrupted", "terminated"), 143)) from error
    except KeyboardInterrupt as error:
        raise typer.Exit(_complain(interrupted, 130)) from error


def _said_by(error: OSError) -> str:
    """What went wrong with which file."""
    if error.strerror is None:
        return str(error)
    if error.filename is not None:
        return f"{error.filename}: {error.strerror}"
    try:
        print(flush=True)
    except OSError:  # again: it was standard output that could not be written
        return f"standard output: {error.strerror}"
    return str(error)


class _TerminatedError(KeyboardInterrupt):
    """SIGTERM."""


@contextmanager
def _stopped_by_sigterm() -> Iterator[None]:
    """SIGTERM stops the work like Ctrl-C: what is running is stopped first. Only the main thread hears of signals."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(*_: object) -> None:
        raise _TerminatedError

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _check_folder(out: Path, wanted_for: str) -> None:
    """ValueError unless `out` is a folder that can be written, or can become one; nothing is written to find out."""
    there = next(path for path in (out, *out.absolute().parents) if path.exists())
    if not there.is_dir():
        raise ValueError(f"{wanted_for}: wanted a folder, but {there} is a file")
    if not os.access(there, os.W_OK | os.X_OK):
        raise ValueError(f"{wanted_for}: wanted a folder that can be written, but {there} cannot be")


def _check_output(option: str, path: Path) -> None:
    """ValueError unless a file can be written at `path`, or something else there takes what is written."""
    if descriptor(path) is not None:
        return
    if path.is_dir():
        raise ValueError(f"{option} {path}: wanted a file, but it is a folder")
    if path.exists() and not os.access(path, os.W_OK):
        raise ValueError(f"{option} {path}: wanted a file that can be written, but it cannot be")
    if not path.exists() or path.is_file():
        _check_folder(Path(os.path.realpath(path)).parent, f"{option} {path}")


def _number(kind: Callable[[str], Any], wanted: str) -> Callable[[Any], Any]:
    """A reader of numbers that says what it wanted and what it got."""

    def read(text: Any) -> Any:
        try:
            return kind(text)
        except ValueError:
            raise typer.BadParameter(f"wanted {wanted}, got {text!r}") from None

    return read


_whole, _real = _number(int, "a whole number"), _number(float, "a number")


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


def _offer_lessons(incomplete: str) -> list[tuple[str, str]]:
    from .course import lessons, title

    return [(str(number), title(path)) for number, path in lessons().items() if str(number).startswith(incomplete)]


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
        int | None, typer.Option(parser=_whole, metavar="N", help="How many seeds; by default the profile's number.")
    ] = None,
    first_seed: Annotated[
        int, typer.Option(parser=_whole, metavar="K", help="The first of the seeds, if others were measured elsewhere.")
    ] = 0,
    units: Annotated[
        int | None,
        typer.Option(
            parser=_whole,
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
            parser=_whole, metavar="N", help="How many processes; by default one for each processor, one for a GPU."
        ),
    ] = None,
    scheduler: Annotated[
        str | None,
        typer.Option(metavar="ADDRESS", help="Work on a dask.distributed cluster instead: tcp://HOST:PORT."),
    ] = None,
    claims: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Measure one's own claims, in the form of claims.toml, by --module's functions."
        ),
    ] = None,
    module: Annotated[
        str | None, typer.Option(metavar="NAME", help="The module that measures and draws the claims of --claims.")
    ] = None,
) -> None:
    """Measure the paper's claims. Prints them beside the paper's numbers; writes results, figures and a report."""
    with _work("interrupted; the same command goes on from here"):
        from rich.console import Console

        from .paper.claims import claims as registry
        from .paper.run import plan
        from .paper.run import reproduce as run
        from .paper.show.terminal import table
        from .progress import say

        with _input_errors():
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
            raise typer.Exit(_complain(f"{len(failed)} of {len(job.ids)} claims not measured: {reasons}", 1))


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
        typer.Option(metavar="DIR", help="The folder of a run with our values; the others are the published ones."),
    ] = OUT,
    own: Annotated[
        Path | None,
        typer.Option("--claims", metavar="FILE", help="List one's own claims, in the form of claims.toml."),
    ] = None,
) -> None:
    """List the paper's claims. Each with the paper's value, ours where there is one, and how they compare."""
    with _work():
        from rich.console import Console

        from .paper.claims import add, select
        from .paper.claims import claims as registry
        from .paper.results import committed, load_results, merge
        from .paper.show.terminal import table
        from .paper.show.text import csv_table, latex_table, markdown_page

        with _input_errors():
            if sum((as_json, as_csv, as_markdown, as_latex)) > 1:
                raise ValueError("wanted at most one of --json, --csv, --markdown and --latex")
            listed = add(_own_claims(own), f"--claims {own}") if own else registry()
            chosen = select(_ids(ids) if ids else listed)
            path = out / "results.json"
            if out != OUT and not out.exists():
                raise ValueError(f"--out {out}: there is no such folder")
            published, of_run = committed(), load_results(path)[0] if path.exists() else {}
            results = merge(published, of_run)
        if as_json:
            listing = [_described(claim, results.get(claim.id)) for claim in chosen]
            typer.echo(json.dumps(listing, indent=1, ensure_ascii=not _speaks_unicode(), allow_nan=False))
            return
        asked = [claim.id for claim in chosen]
        if as_csv or as_latex:
            typer.echo((csv_table if as_csv else latex_table)(results, asked), nl=False)
            return
        if as_markdown:
            typer.echo(markdown_page(results, asked if ids else None), nl=False)
            return
        console = Console()
        table(results, console, asked, context=bool(ids or own))
        if said := _whose([name for name in asked if name in of_run], [n for n in asked if n in published], path):
            console.print(said, highlight=False, markup=False)
        if not ids:
            console.print("`tinyadv claims ID` says what is measured, and how.", highlight=False)
            return
        for claim in chosen:
            described = _paragraphs(claim, results.get(claim.id))
            console.print("", f"{claim.id}, {claim.where}", *described, sep="\n", markup=False)


def _paragraphs(claim: Claim, result: Result | None) -> list[str]:
    """What a claim says, what is measured, and what that has cost."""
    from .paper.show import GRADIENT

    parts = [claim.claim, claim.definition]
    parts += [GRADIENT] if claim.rounds else []
    parts += [f"Has to hold, for every seed: {claim.predicate}"] if claim.predicate else []
    return [" ".join(part.split()) for part in [*parts, *_cost(result)]]


def _cost(result: Result | None) -> list[str]:
    """What a claim's numbers have cost, in a paragraph; none where nobody measured them."""
    from .paper.show.costs import UNKNOWN, summary

    if result is None:
        return []
    return [f"What they cost: {summary({result.claim: result}) or UNKNOWN + '.'}"]


def _whose(of_run: list[str], published: list[str], path: Path) -> str:
    """Where our numbers are from: claims of the run at `path`, and those whose numbers the package came with."""
    published = [name for name in published if name not in of_run]
    if not of_run:
        return "Ours: as published with the package." if published else ""
    if not published:
        return f"Ours: from {path}."
    if len(of_run) <= len(published):
        return f"Ours: as published with the package, but from {path} for {', '.join(of_run)}."
    return f"Ours: from {path}, but as published with the package for {', '.join(published)}."


def _described(claim: Claim, result: Result | None) -> dict[str, Any]:
    """Everything about a claim as what JSON can say: null where there is no number.

    "ours" is the mean over seeds, "interval" its 95 % interval, "values" what each of the seeds gave.
    """
    from .paper.show import entry

    one = entry(claim, result)
    quantities = [
        {
            "name": q.name,
            "label": q.label,
            "format": q.format,
            "paper": q.paper,
            "tolerance": q.tolerance,
            "draft": q.draft,
            "ours": _finite(result.mean(q.name)) if result else None,
            "interval": result.interval(q.name) if result else None,
            "values": [_finite(m.values.get(q.name, math.nan)) for m in result.measurements] if result else [],
        }
        for q in claim.quantities
    ]
    return {
        "id": claim.id,
        "section": claim.section,
        "kind": claim.kind,
        "claim": " ".join(claim.claim.split()),
        "paper": claim.paper,
        "definition": " ".join(claim.definition.split()),
        "predicate": " ".join(claim.predicate.split()) if claim.predicate else None,
        "status": one.status,
        "profile": result.profile if result else None,
        "scale": "; ".join(one.scale) if result else None,
        "note": one.note or None,
        "seeds": result.seeds if result else [],
        "ours": {row.label: row.ours for row in one.rows} if result else None,
        "quantities": quantities,
    }


def _speaks_unicode() -> bool:
    """Whether standard output takes every character: elsewhere JSON has escapes for what is not ASCII."""
    return str(getattr(sys.stdout, "encoding", None) or "utf-8").lower().startswith("utf")


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


Model = Annotated[
    str | None,
    typer.Option(
        metavar="MODULE:FUNCTION",
        help="The function that makes your model, for a file with its weights, e.g. mine:make for make() in mine.py.",
    ),
]


@app.command()
def attack(
    network: Annotated[
        Path,
        typer.Argument(
            metavar="NETWORK",
            help="A trained network: a .safetensors file, e.g. from reproduce, or the name of one of the "
            "package's own, e.g. maxout-naive; or the word googlenet.",
        ),
    ],
    eps: Annotated[
        float | None,
        typer.Option(
            parser=_real,
            metavar="EPS",
            help="How far each pixel may move; pixels run from 0 to 1. By default 0.25, for googlenet 1/255.",
        ),
    ] = None,
    method: Annotated[
        str, typer.Option(metavar="NAME", autocompletion=_offer_methods, help="fgsm, or pgd: 20 small steps.")
    ] = "fgsm",
    images: Annotated[
        int | None,
        typer.Option(parser=_whole, metavar="N", help="How many images, from the first; by default 10."),
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Images of one's own: an .npz with x (N, D) from 0 to 1 and y (N,); for googlenet a photograph.",
        ),
    ] = None,
    model: Model = None,
    clip: Annotated[bool, typer.Option("--clip", help="Keep pixels within 0 and 1; the paper did not.")] = False,
    out: Annotated[Path, typer.Option(metavar="DIR", help="Where attack.npz and attack.png are written.")] = Path("."),
) -> None:
    """Attack a trained network. Writes adversarial images, of MNIST or your own, as a picture and as an .npz file.

    With the word googlenet in place of a file: attack a photograph of yours.
    """
    with _work(), _input_errors():
        _check_folder(out, f"--out {out}")
        if str(network) != "googlenet":
            from .gallery import attack_test_images

            lines = attack_test_images(network, 0.25 if eps is None else eps, method, images, clip, out, data, model)
        else:
            from .photographs import GREY_LEVEL, attack_photograph

            if data is None:
                raise ValueError("attack googlenet wants a photograph: --data PHOTO.jpg")
            if images is not None:
                raise ValueError("--images is for test images of MNIST; googlenet is shown the photograph of --data")
            if model is not None:
                raise ValueError("--model is for a file with a model of one's own; googlenet is no file")
            lines = attack_photograph(data, GREY_LEVEL if eps is None else eps, method, clip, out)
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
    with _work(), _input_errors():
        from .explore import embedded, named, write

        write(out, named(networks) if networks else embedded())
        typer.echo(f"{out}: open it in a browser")


@app.command()
def audit(
    networks: Annotated[
        list[str],
        typer.Argument(
            metavar="NETWORK",
            help="Trained networks: .safetensors files, or names of the package's own, e.g. maxout-naive.",
        ),
    ],
    data: Annotated[
        Path | None,
        typer.Option(metavar="FILE.npz", help="x (N, D), from 0 to 1, and y (N,); by default MNIST's test images."),
    ] = None,
    eps: Annotated[
        float, typer.Option(parser=_real, metavar="EPS", help="How far each pixel may move, in the max norm.")
    ] = 0.25,
    model: Model = None,
    radius: Annotated[
        float, typer.Option(parser=_real, metavar="R", help="How far an image may move, in the L2 norm.")
    ] = 2.0,
    images: Annotated[int, typer.Option(parser=_whole, metavar="N", help="How many images, from the first.")] = 1000,
    restarts: Annotated[int, typer.Option(parser=_whole, metavar="N", help="Random starts of PGD.")] = 5,
    queries: Annotated[int, typer.Option(parser=_whole, metavar="N", help="Queries of the square attack.")] = 5000,
    seed: Annotated[int, typer.Option(parser=_whole, metavar="N", help="The seed of all random numbers.")] = 0,
    unclipped: Annotated[
        bool, typer.Option("--unclipped", help="Never clip: for images of another range than 0 to 1, as whitened ones.")
    ] = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="As CSV, shares instead of percent.")] = False,
    as_latex: Annotated[bool, typer.Option("--latex", help="As a LaTeX tabular.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON, with the settings.")] = False,
) -> None:
    """Audit networks by many attacks. An image counts as misclassified if one of them fools the network on it.

    Each network is also shown the examples of the others. A network of 240 units takes minutes on two cores.
    """
    with _work(), _input_errors():
        if as_csv + as_latex + as_json > 1:
            raise ValueError("--csv, --latex and --json are three forms of one table: choose one")
        from .by_name import check_images, read_networks
        from .paper import robustness

        effort = robustness.Effort(eps=eps, radius=radius, restarts=restarts, queries=queries, seed=seed)
        robustness.check(effort)
        read = read_networks(networks, model)
        x, y = robustness.read_images(data, images)
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
            parser=_whole,
            metavar="NUMBER",
            autocompletion=_offer_lessons,
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
    with _work():
        from .course import own_lesson, path_of, run_lesson, scale
        from .course.contents import list_lessons
        from .course.feedback import NOT_DONE, TODO

        with _input_errors():
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
                raise typer.Exit(_complain(said, 1)) from error


course_app = typer.Typer(help="Hand out the exercises, and grade what comes back.")
app.add_typer(course_app, name="course")


@course_app.callback(invoke_without_command=True)
def _course(context: typer.Context) -> None:
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


Notebooks = Annotated[bool, typer.Option("--notebooks", help="Lessons as notebooks; needs jupytext.")]


@course_app.command("export")
def export_command(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A new folder, or an empty one.")],
    notebooks: Notebooks = False,
    only: OnlyLessons = None,
    github: Annotated[
        bool, typer.Option("--github", help="With a GitHub Actions workflow that tests at every push.")
    ] = False,
    nbgrader: Annotated[
        bool, typer.Option("--nbgrader", help="A course folder for nbgrader instead, with the solutions.")
    ] = False,
) -> None:
    """Write what a student gets. The lessons with gaps where solutions were, their tests, a README."""
    with _work():
        with _input_errors():
            if nbgrader and (notebooks or github):
                raise ValueError("--nbgrader writes notebooks, for nbgrader to hand out: no --notebooks, no --github")
            if nbgrader:
                from .course.export import write_tree
                from .course.platforms import nbgrader_course

                _list_files(folder, write_tree(folder, nbgrader_course(only)))
                return
        _export(folder, notebooks, only, github=github)
        typer.echo(
            f"\nBefore you hand it out: {folder / 'requirements.txt'} asks pip for tinyadv.\n"
            "Where your students' package index has none, put the path or the address of its wheel or repository there."
        )


@course_app.command("solutions")
def solutions_command(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A new folder, or an empty one.")],
    notebooks: Notebooks = False,
    only: OnlyLessons = None,
) -> None:
    """Write what the teacher gets. The lessons with solutions, what to look for in answers to open questions, tests."""
    with _work():
        _export(folder, notebooks, only, solutions=True)


def _export(folder: Path, notebooks: bool, only: list[int] | None, **kind: bool) -> None:
    from .course.export import export

    with _input_errors():
        files = export(folder, notebooks, only=only, **kind)
    _list_files(folder, files)


def _list_files(folder: Path, files: list[Path]) -> None:
    typer.echo("\n".join(str(folder / name) for name in files))


@course_app.command("site")
def site_command(
    folder: Annotated[
        Path, typer.Argument(metavar="DIR", help="A new folder, an empty one, or one with an earlier site.")
    ],
    run: Annotated[
        bool, typer.Option("--run/--no-run", help="Run the lessons for their tables and figures, in the quick profile.")
    ] = True,
    runnable: Annotated[
        bool,
        typer.Option(
            "--runnable", help="Exercises are checked and cells run on the pages, by Python in the browser (extra web)."
        ),
    ] = False,
) -> None:
    """Build the read-along site. Lessons as pages, claims, a map, a glossary, the reference, a page for teachers."""
    with _work():
        from .course.site import WORK, SiteError, build

        try:
            with _input_errors():
                warnings = build(folder, run, runnable=runnable)
        except SiteError as error:
            typer.echo(error, err=True)
            raise typer.Exit(_complain("the site cannot be built: see above", 1)) from error
        for line in warnings:
            typer.echo(line, err=True)
        typer.echo(f"site      {folder / 'index.html'}\nworked in {WORK} (kept, so that the next build is quick)")
        if runnable:
            typer.echo(f"to read   tinyadv course serve {folder}")


@course_app.command("serve")
def serve_command(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A site that `course site --runnable` has built.")],
    port: Annotated[int, typer.Option(parser=_whole, metavar="N", help="Its port; 0 takes any that is free.")] = 8000,
) -> None:
    """Serve a site to this machine's browsers, until Ctrl-C. Pages that run Python cannot be opened as files."""
    with _work("stopped"):
        from .course.web.serve import server

        with _input_errors():
            serving = server(folder, port)
        with serving:
            typer.echo(f"http://127.0.0.1:{serving.server_port}/  (Ctrl-C stops)")
            serving.serve_forever()


OnlyLessons = Annotated[
    list[int] | None,
    typer.Option(
        "--lesson",
        parser=_whole,
        metavar="N",
        autocompletion=_offer_lessons,
        help="Only this lesson; may be repeated.",
    ),
]


@course_app.command("grade")
def grade_command(
    submissions: Annotated[
        list[Path],
        typer.Argument(
            metavar="SUBMISSION", help="A folder, a zip file or a lesson; for a class all of Moodle's or Canvas's."
        ),
    ],
    only: OnlyLessons = None,
    out: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="For a class: where grades are written, and added to; one for each --lesson."),
    ] = None,
    as_json: Annotated[
        Path | None, typer.Option("--json", metavar="FILE", help="Write everything as JSON; - is standard output.")
    ] = None,
    junit: Annotated[Path | None, typer.Option("--junit", metavar="FILE", help="Write JUnit XML.")] = None,
    gradescope: Annotated[
        Path | None, typer.Option("--gradescope", metavar="FILE", help="Write Gradescope's results.json.")
    ] = None,
    fail_under: Annotated[
        float | None, typer.Option(metavar="SHARE", help="Exit code 1 if a submission earns less of its points, in %.")
    ] = None,
) -> None:
    """Grade a submission, or a class. Points and a line of feedback for each exercise, by the package's own tests.

    With --out it writes a file for each student, tables for the class, answers to open questions, and a list of the
    class's mistakes. What was graded before is not graded again; students who come later are added to the tables. A
    student's text that you changed stays, as do the marks in open-questions.csv; other tables are written anew. A DIR
    with grades of other lessons is refused. Exit codes: 0 if all went well; 1 if a submission cannot be graded, or is
    below --fail-under; 2 if an argument or an option is wrong.
    """
    with _work():
        from .course import scores
        from .course.grade import GradingError

        asked = [
            ("--json", as_json, scores.as_json),
            ("--junit", junit, scores.as_junit),
            ("--gradescope", gradescope, scores.as_gradescope),
        ]
        outputs = [(option, path, form) for option, path, form in asked if path is not None]
        try:
            with _input_errors():
                if fail_under is not None and not 0 <= fail_under <= 100:
                    raise ValueError(f"--fail-under is a share from 0 to 100, got {fail_under:g}")
                if out is None and len(submissions) > 1:
                    raise ValueError(f"{len(submissions)} submissions: say with --out DIR where their grades go")
                if out is not None and outputs:
                    raise ValueError(
                        f"{outputs[0][0]} is for a single submission: with --out each has a file of its own"
                    )
                if out is not None:
                    totals = _grade_class(submissions, out, only)
                else:
                    totals = [_grade_one(submissions[0], only, outputs)]
        except GradingError as error:
            raise typer.Exit(_complain(error, 1)) from error
        under = 0 if fail_under is None else fail_under
        if any(not points or 100 * earned < under * points for earned, points in totals):
            raise typer.Exit(1)


def _grade_one(
    submission: Path, only: list[int] | None, outputs: list[tuple[str, Path, Callable[..., str]]]
) -> tuple[float, float]:
    """Grade one submission, write what is asked for, and print the table; what was earned, and of how much."""
    from rich.console import Console

    from .course import scores
    from .course.classroom import about
    from .course.grade import grade
    from .course.uploads import nothing_in, opened, refuse_class

    printed = [option for option, path, _ in outputs if descriptor(path) == STANDARD_OUTPUT]
    if len(printed) > 1:
        raise ValueError(f"{' and '.join(printed)}: only one of them can go to standard output")
    for option, path, _ in outputs:
        _check_output(option, path)
    if "--gradescope" not in [option for option, _, _ in outputs]:  # there it is always one student's
        refuse_class(submission)
    with opened(submission) as folder:
        graded = grade(folder, only)
        nothing = nothing_in(folder, [submission])
    for option, path, form in outputs:  # files first: nothing that happens to the table can cost them
        write_atomically(path, form(graded, about(submission)) if option == "--json" else form(graded))
    scores.table(graded, Console(stderr=bool(printed)))
    if nothing:
        raise typer.Exit(_complain(f"{submission}: {nothing}", 1))
    return scores.total(graded)


def _grade_class(submissions: list[Path], out: Path, only: list[int] | None) -> list[tuple[float, float]]:
    """Grade a class, and print which mistakes it made; what each earned, and of how much, 0 if it cannot be graded."""
    from .course.classroom import grade_class, mistakes
    from .course.scores import total

    graded = grade_class(submissions, out, only, typer.echo)
    typer.echo(f"\nWhat the class got wrong (all of it: {out / 'mistakes.csv'}):")
    for lesson, exercise, count, said in sorted(mistakes(graded), key=lambda row: -row[2])[:10]:
        typer.echo(f"{count:4} of {len(graded)}  lesson {lesson}, {exercise}: {said}")
    return [total(list(one.exercises)) for one in graded]


@course_app.command("gradescope")
def gradescope_command(
    path: Annotated[Path, typer.Argument(metavar="FILE", help="The zip file to upload to Gradescope.")],
    only: OnlyLessons = None,
) -> None:
    """Write an autograder for Gradescope. A zip file with the package inside; it grades as `course grade` does."""
    with _work(), _input_errors():
        from .course.platforms import gradescope

        gradescope(path, only)
        typer.echo(f"{path}: upload it as the autograder of a programming assignment")


@app.command()
def doctor() -> None:
    """Report whether everything is in order. Versions, threads, GPU, data, the gradients of all operations."""
    with _work():
        from .course.doctor import examine

        wrong = 0
        for name, said, good in examine():
            typer.echo(f"{'ok   ' if good else 'WRONG'}  {name:12} {said}")
            wrong += not good
        typer.echo("\neverything is in order" if not wrong else f"\n{wrong} of these are wrong")
        raise typer.Exit(int(bool(wrong)))


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
