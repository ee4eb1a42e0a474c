"""The command `tinyadv`.

Whatever is wrong with what the user typed is one line on standard error and exit code 2, before any work is done.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from . import __version__

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    help="Explaining and Harnessing Adversarial Examples, from scratch: lessons, attacks, and every claim measured.",
)

OUT = Path("tinyadv-results")


def main() -> None:
    """Run the command line."""
    app()


@contextmanager
def _one_line_errors() -> Iterator[None]:
    """Errors that the user can do something about become one line and an exit code."""
    from .backend import DeviceError
    from .datasets import DataError
    from .storage import StorageError
    from .training import DivergedError

    try:
        yield
    except (ValueError, TypeError, DeviceError, DataError, StorageError, OSError) as error:
        typer.echo(f"tinyadv: {error}", err=True)
        raise typer.Exit(2) from error
    except DivergedError as error:
        typer.echo(f"tinyadv: {error}", err=True)
        raise typer.Exit(1) from error
    except KeyboardInterrupt as error:
        typer.echo("tinyadv: interrupted; the same command goes on from here", err=True)
        raise typer.Exit(130) from error


@app.command()
def reproduce(
    profile: Annotated[
        str, typer.Option(help="How much work: quick (minutes), lesson, or paper (a GPU, or days).")
    ] = "quick",
    only: Annotated[
        list[str] | None, typer.Option(help="Measure this claim alone; may be given several times.")
    ] = None,
    seeds: Annotated[int | None, typer.Option(help="How many seeds; by default the profile's number.")] = None,
    device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
    out: Annotated[Path, typer.Option(help="Where everything is written; run again to go on.")] = OUT,
) -> None:
    """Measure the paper's claims and print them beside the paper's numbers; write results, figures and a report."""
    with _one_line_errors():
        from rich.console import Console

        from .paper.report import table
        from .paper.reproduce import plan
        from .paper.reproduce import reproduce as run
        from .progress import Console as Progress

        job = plan(only or (), profile, seeds, device, out)
        console = Console(stderr=True)
        console.print(f"{len(job.ids)} claims, profile {profile}, seeds {', '.join(map(str, job.seeds))}, on {device}")
        results = run(job, Progress(), lambda text: console.print(text, style="dim", highlight=False))
        table(results, Console(), job.ids)
        typer.echo(f"\nreport    {out / 'report.html'}\nfigures   {out / 'figures'}\nresults   {out / 'results.json'}")


@app.command()
def claims(
    as_json: Annotated[bool, typer.Option("--json", help="As JSON instead of a table.")] = False,
    out: Annotated[Path, typer.Option(help="The folder of a run, for our values.")] = OUT,
) -> None:
    """List every claim of the paper: its value, what we measure, and how ours compares where there is one."""
    with _one_line_errors():
        from rich.console import Console

        from .paper.registry import claims as registry
        from .paper.report import rows, table
        from .paper.results import committed, load_results, merge, status

        path = out / "results.json"
        results = merge(committed(), load_results(path)[0] if path.exists() else {})
        if not as_json:
            table(results, Console())
            return
        listing = []
        for claim in registry().values():
            result = results.get(claim.id)
            listing.append(
                {
                    "id": claim.id,
                    "section": claim.section,
                    "kind": claim.kind,
                    "claim": claim.claim,
                    "paper": claim.paper,
                    "definition": claim.definition,
                    "status": status(claim, result),
                    "profile": result.profile if result else None,
                    "ours": {row.label: row.ours for row in rows(claim, result)} if result else None,
                }
            )
        typer.echo(json.dumps(listing, indent=1, ensure_ascii=False))


@app.command()
def attack(
    network: Annotated[Path, typer.Argument(help="A trained network: a .safetensors file, e.g. from reproduce.")],
    eps: Annotated[float, typer.Option(help="How far each pixel may move, pixels from 0 to 1.")] = 0.25,
    method: Annotated[str, typer.Option(help="fgsm, or pgd: 20 small steps.")] = "fgsm",
    images: Annotated[int, typer.Option(help="How many test images, from the first.")] = 10,
    clip: Annotated[bool, typer.Option(help="Keep pixels within 0 and 1; the paper did not.")] = False,
    out: Annotated[Path, typer.Option(help="Where attack.npz and attack.png are written.")] = Path("."),
) -> None:
    """Make adversarial examples of MNIST test images against a trained network; write a picture and an .npz."""
    with _one_line_errors():
        from .gallery import attack_test_images

        for line in attack_test_images(network, eps, method, images, clip, out):
            typer.echo(line)


@app.command()
def lesson(
    number: Annotated[int | None, typer.Argument(help="The lesson's number; without it, the list of lessons.")] = None,
) -> None:
    """Run a lesson, or list them."""
    with _one_line_errors():
        from .course import list_lessons, run_lesson

        typer.echo(list_lessons()) if number is None else run_lesson(number)


@app.callback(invoke_without_command=True)
def _version(version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False) -> None:
    if version:
        typer.echo(f"tinyadv {__version__}")
        raise typer.Exit
