"""The commands `tinyadv course`: hand out the exercises, grade what comes back, build the site and serve it.

The commands themselves are short; what they do is in the other files of this folder.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from ..command_line import check_output, complain, input_errors, whole, work
from ..storage import STANDARD_OUTPUT, descriptor, write_atomically

app = typer.Typer(help="Hand out the exercises, and grade what comes back.")


@app.callback(invoke_without_command=True)
def _course(context: typer.Context) -> None:
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


def offer_lessons(incomplete: str) -> list[tuple[str, str]]:
    """What a shell offers for a lesson's number."""
    from . import lessons, title

    return [(str(number), title(path)) for number, path in lessons().items() if str(number).startswith(incomplete)]


Notebooks = Annotated[bool, typer.Option("--notebooks", help="Lessons as notebooks; needs jupytext.")]
OnlyLessons = Annotated[
    list[int] | None,
    typer.Option(
        "--lesson",
        parser=whole,
        metavar="N",
        autocompletion=offer_lessons,
        help="Only this lesson; may be repeated.",
    ),
]


@app.command("export")
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
    with work():
        with input_errors():
            if nbgrader and (notebooks or github):
                raise ValueError("--nbgrader writes notebooks, for nbgrader to hand out: no --notebooks, no --github")
            if nbgrader:
                from .export import write_tree
                from .platforms import nbgrader_course

                _list_files(folder, write_tree(folder, nbgrader_course(only)))
                return
        _export(folder, notebooks, only, github=github)
        typer.echo(
            f"\nBefore you hand it out: {folder / 'requirements.txt'} asks pip for tinyadv.\n"
            "Where your students' package index has none, put the path or the address of its wheel or repository there."
        )
        if only:
            lessons = " ".join(f"--lesson {number}" for number in only)
            typer.echo(f"What comes back is graded by tinyadv course grade SUBMISSION... {lessons}")


@app.command("solutions")
def solutions_command(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A new folder, or an empty one.")],
    notebooks: Notebooks = False,
    only: OnlyLessons = None,
) -> None:
    """Write what the teacher gets. The lessons with solutions, what to look for in answers to open questions, tests."""
    with work():
        _export(folder, notebooks, only, solutions=True)


def _export(folder: Path, notebooks: bool, only: list[int] | None, **kind: bool) -> None:
    from .export import export

    with input_errors():
        files = export(folder, notebooks, only=only, **kind)
    _list_files(folder, files)


def _list_files(folder: Path, files: list[Path]) -> None:
    typer.echo("\n".join(str(folder / name) for name in files))


@app.command("site")
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
            "--runnable",
            help="Readers check exercises and run cells on the pages, with Python in the browser (extra web).",
        ),
    ] = False,
) -> None:
    """Build the read-along site. Lessons as pages, claims, a map, a glossary, the reference, a page for teachers."""
    with work():
        from .site import WORK, SiteError, build

        try:
            with input_errors():
                warnings = build(folder, run, runnable=runnable)
        except SiteError as error:
            typer.echo(error, err=True)
            raise typer.Exit(complain("the site cannot be built: see above", 1)) from error
        for line in warnings:
            typer.echo(line, err=True)
        typer.echo(f"site      {folder / 'index.html'}\nworked in {WORK} (kept, so that the next build is quick)")
        if runnable:
            typer.echo(f"to read   tinyadv course serve {folder}")


@app.command("serve")
def serve_command(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A site that `course site --runnable` has built.")],
    port: Annotated[int, typer.Option(parser=whole, metavar="N", help="Its port; 0 takes any that is free.")] = 8000,
) -> None:
    """Serve a site to this machine's browsers, until Ctrl-C. Pages that run Python cannot be opened as files."""
    with work(interrupted="stopped", terminated="stopped"):
        from .web.serve import server

        with input_errors():
            serving = server(folder, port)
        with serving:
            typer.echo(f"http://127.0.0.1:{serving.server_port}/  (Ctrl-C stops)")
            serving.serve_forever()


@app.command("grade")
def grade_command(
    submissions: Annotated[
        list[Path],
        typer.Argument(
            metavar="SUBMISSION", help="A folder, a zip file or a lesson; for a class, all that Moodle or Canvas gives."
        ),
    ],
    only: OnlyLessons = None,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR", help="For a class: the folder for grades, which later runs add to; one for each --lesson."
        ),
    ] = None,
    as_json: Annotated[
        Path | None, typer.Option("--json", metavar="FILE", help="Write everything as JSON; - is standard output.")
    ] = None,
    junit: Annotated[Path | None, typer.Option("--junit", metavar="FILE", help="Write JUnit XML.")] = None,
    gradescope: Annotated[
        Path | None, typer.Option("--gradescope", metavar="FILE", help="Write Gradescope's results.json.")
    ] = None,
    fail_under: Annotated[
        float | None,
        typer.Option(
            metavar="SHARE", help="Exit code 1 if a submission earns less than this share of its points, in %."
        ),
    ] = None,
) -> None:
    """Grade a submission, or a class. Points and a line of feedback for each exercise, by the package's own tests.

    With --out it writes a file for each student, tables for the class, answers to open questions, and a list of the
    class's mistakes. What was graded before is not graded again; students who come later are added to the tables. A
    student's text that you changed stays, as do the marks in open-questions.csv; other tables are written anew. A DIR
    with grades of other lessons is refused. Exit codes: 0 if all went well; 1 if a submission cannot be graded, or is
    below --fail-under; 2 if an argument or an option is wrong.
    """
    with work():
        from . import scores
        from .grade import GradingError

        asked = [
            ("--json", as_json, scores.as_json),
            ("--junit", junit, scores.as_junit),
            ("--gradescope", gradescope, scores.as_gradescope),
        ]
        outputs = [(option, path, form) for option, path, form in asked if path is not None]
        try:
            with input_errors():
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
            raise typer.Exit(complain(error, 1)) from error
        under = 0 if fail_under is None else fail_under
        if any(not points or 100 * earned < under * points for earned, points in totals):
            raise typer.Exit(1)


def _grade_one(
    submission: Path, only: list[int] | None, outputs: list[tuple[str, Path, Callable[..., str]]]
) -> tuple[float, float]:
    """Grade one submission, write what is asked for, and print the table; what was earned, and of how much."""
    from rich.console import Console

    from . import scores
    from .classroom import about
    from .grade import grade
    from .uploads import nothing_in, opened, refuse_class

    printed = [option for option, path, _ in outputs if descriptor(path) == STANDARD_OUTPUT]
    if len(printed) > 1:
        raise ValueError(f"{' and '.join(printed)}: only one of them can go to standard output")
    for option, path, _ in outputs:
        check_output(option, path)
    if "--gradescope" not in [option for option, _, _ in outputs]:  # there it is always one student's
        refuse_class(submission)
    with opened(submission) as folder:
        graded = grade(folder, only)
        nothing = nothing_in(folder, [submission])
    for option, path, form in outputs:  # files first: nothing that happens to the table can cost them
        write_atomically(path, form(graded, about(submission)) if option == "--json" else form(graded))
    scores.table(graded, Console(stderr=bool(printed)))
    if nothing:
        raise typer.Exit(complain(f"{submission}: {nothing}", 1))
    return scores.total(graded)


def _grade_class(submissions: list[Path], out: Path, only: list[int] | None) -> list[tuple[float, float]]:
    """Grade a class, and print which mistakes it made; what each earned, and of how much, 0 if it cannot be graded."""
    from .classroom import grade_class, mistakes
    from .scores import total

    graded = grade_class(submissions, out, only, typer.echo)
    typer.echo(f"\nWhat the class got wrong (all of it: {out / 'mistakes.csv'}):")
    for lesson, exercise, count, said in sorted(mistakes(graded), key=lambda row: -row[2])[:10]:
        typer.echo(f"{count:4} of {len(graded)}  lesson {lesson}, {exercise}: {said}")
    return [total(list(one.exercises)) for one in graded]


@app.command("gradescope")
def gradescope_command(
    path: Annotated[Path, typer.Argument(metavar="FILE", help="The zip file to upload to Gradescope.")],
    only: OnlyLessons = None,
) -> None:
    """Write an autograder for Gradescope. A zip file with the package inside; it grades as `course grade` does."""
    with work(), input_errors():
        from .platforms import gradescope

        gradescope(path, only)
        typer.echo(f"{path}: upload it as the autograder of a programming assignment")
