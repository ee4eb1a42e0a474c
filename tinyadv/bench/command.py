"""`tinyadv bench`: what is asked for, checked, then handed to the stopwatch, and its tables.

Bad input is one line on standard error and exit code 2; a check that fails is exit code 1.
"""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Annotated, Any

import typer

from ..backend import check_device
from ..command_line import input_errors
from ..machine import cores
from ..progress import say
from ..storage import STANDARD_OUTPUT, descriptor, write_atomically
from .jobs import JOBS, Job
from .runner import BenchError, Peer, run_job, surroundings

AGAINST = "by-hand,torch,torch-compile,jax,autograd"
ON_GPU = "torch,torch-compile,jax"
FLOORS = {"cpu": ("floor", "floor-torch", "floor-update"), "cuda": ("floor", "floor-torch")}


def bench_command(
    against: Annotated[
        str,
        typer.Option(
            metavar="LIST",
            help="Libraries to compare with, separated by commas; by default all that are installed. "
            "NAME@/path/to/python runs one in another interpreter.",
        ),
    ] = "",
    job: Annotated[
        str, typer.Option(metavar="LIST", help=f"Jobs, separated by commas, or all: {', '.join(JOBS)}.")
    ] = "train240",
    device: Annotated[str, typer.Option(metavar="NAME", help="cpu or cuda.")] = "cpu",
    rounds: Annotated[int, typer.Option(metavar="N", help="How many turns each library gets.")] = 6,
    threads: Annotated[
        int, typer.Option(metavar="N", help="Threads of each library; by default (0) one for each processor.")
    ] = 0,
    patience: Annotated[
        float, typer.Option(metavar="SECONDS", help="How long each job waits for a quiet machine.")
    ] = 60.0,
    json_file: Annotated[
        Path | None, typer.Option("--json", metavar="FILE", help="Write the results here; - is standard output.")
    ] = None,
    growth: Annotated[
        bool, typer.Option("--growth", help="Measure instead how the time grows with units, pieces, batch and depth.")
    ] = False,
    convolution: Annotated[
        bool,
        typer.Option(
            "--convolution",
            help="Measure instead how a convolution's time grows with kernel, channels and batch, on one thread.",
        ),
    ] = False,
    plot: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Where --growth and --convolution draw their figure, .png or .svg; by default growth.png or "
            "convolution.png.",
        ),
    ] = None,
    check: Annotated[
        bool, typer.Option("--check", help="Compare the libraries' results instead of their times.")
    ] = False,
) -> None:
    """Time tinyadv beside other libraries on the paper's own job."""
    with input_errors():
        peers = _peers(against, device)
        names = _jobs(job)
        check_device(device)
        if rounds < 1 or not 0 <= threads <= 1024 or not 0 <= patience < float("inf"):
            raise BenchError(
                "rounds is at least 1, threads 0 to 1024, patience finite and not negative; "
                f"got {rounds}, {threads}, {patience}"
            )
        if growth + convolution + check > 1:
            raise BenchError("one of --growth, --convolution and --check at a time")
        drawn = plot or Path("convolution.png" if convolution else "growth.png")
        _check_targets(json_file, drawn if growth or convolution else None)
    settings: dict[str, Any] = {"threads": threads or cores(), "device": device, "say": say}
    if check:
        _check(peers, names, json_file, settings)
    elif convolution:
        _convolution(rounds, drawn, json_file)
    elif growth:
        _growth(peers, against, rounds, drawn, json_file, {**settings, "patience": patience})
    else:
        _time(peers, names, rounds, json_file, {**settings, "patience": patience})


def _check_targets(file: Path | None, plot: Path | None) -> None:
    """BenchError for a file that could not be written when everything has been measured."""
    for path in (file, plot):
        if path and (path.is_dir() or not path.absolute().parent.is_dir()):
            raise BenchError(f"{path} cannot be written: wanted a file in a folder that exists")
    if plot and plot.suffix not in (".png", ".svg"):
        raise BenchError(f"--plot is a .png or .svg file, got {plot}")


def _peers(against: str, device: str) -> list[Peer]:
    """Ours first, then those named, then the floors."""
    if device not in FLOORS:
        raise BenchError(f"device is cpu or cuda, got {device!r}")
    against = against or (AGAINST if device == "cpu" else ON_GPU)
    floors = [name for name in FLOORS[device] if name != "floor-torch" or "torch" in against]
    names = ["ours", *(text.strip() for text in against.split(",")), *floors]
    peers = [Peer.parse(name) for name in dict.fromkeys(names)]
    several = {p.name for p in peers if sum(q.name == p.name for q in peers) > 1}
    return [p if p.name in several else replace(p, label=p.name) for p in peers]  # its interpreter tells it apart


def _jobs(text: str) -> list[str]:
    names = list(JOBS) if text == "all" else [name.strip() for name in text.split(",")]
    for name in names:
        if name not in JOBS:
            raise BenchError(f"no job {name!r}: there are {', '.join(JOBS)}, and all")
    return names


def _time(
    peers: Sequence[Peer], names: Sequence[str], rounds: int, file: Path | None, settings: dict[str, Any]
) -> None:
    rows: list[dict[str, Any]] = []
    around = surroundings(settings["threads"], settings["device"])
    say(", ".join(f"{name} {value}" for name, value in around.items() if value not in (None, {})))
    if around["openblas_settings"]:
        say(f"{', '.join(around['openblas_settings'])} set: OpenBLAS doesn't choose its kernel itself, and may be slow")
    imports: dict[str, float] = {}
    try:
        for name in names:
            job = JOBS[name]
            taking_part = [p for p in peers if _takes_part(p, job)]
            found = run_job(job, taking_part, rounds, **settings)
            for row, peer in ((row, peer) for row in found for peer in peers if peer.label == row["peer"]):
                if not peer.name.startswith("floor"):
                    imports[peer.label] = row["import_s"] = imports.get(peer.label) or peer.import_seconds()
            rows += found
            for kernel in dict.fromkeys(row["blas"] for row in found if row["blas"]):
                say(f"{name}: {' and '.join(row['peer'] for row in found if row['blas'] == kernel)} had {kernel}")
            of = f"; ratio to {found[0]['baseline']}" if found else ""
            _show(f"{name}: {job.meaning}{of}", found, _TIME_COLUMNS, file, by="median_ms")
    finally:  # a reader of the tables who left, or Ctrl-C, costs nothing that was measured
        if rows:
            _write(file, around, rows, names)


def _takes_part(peer: Peer, job: Job) -> bool:
    """Floors are counted for the jobs on digits alone, that of the update for training."""
    if job.of_images:
        return peer.name in ("ours", "torch", "torch-compile", "jax")
    return peer.name != "floor-update" or job.kind == "train"


def _growth(
    peers: Sequence[Peer], against: str, rounds: int, path: Path, file: Path | None, settings: dict[str, Any]
) -> None:
    from .growth import measure, plot

    peers = peers if against else [p for p in peers if p.name in ("ours", "floor", "torch")]
    rows = measure([p for p in peers if p.name == "floor" or not p.name.startswith("floor")], rounds, **settings)
    _write(file, surroundings(settings["threads"], settings["device"]), rows, [])
    _draw(plot, rows, path)
    _show("growth: µs per example of a training step", rows, _GROWTH_COLUMNS, file)
    say(f"drawn: {path}")


def _convolution(rounds: int, path: Path, file: Path | None) -> None:
    from .convolution import measure, plot

    rows = measure(rounds, say)
    _write(file, surroundings(1, "cpu"), rows, [])
    _draw(plot, rows, path)
    _show("convolution: µs of work per example", rows, _CONVOLUTION_COLUMNS, file)
    say(f"drawn: {path}")


def _draw(plot: Callable[..., None], rows: list[dict[str, Any]], path: Path) -> None:
    picture = io.BytesIO()
    plot(rows, picture, path.suffix[1:])
    write_atomically(path, picture.getvalue())


def _check(peers: Sequence[Peer], names: Sequence[str], file: Path | None, settings: dict[str, Any]) -> None:
    from .check import check_job

    rows = [
        row
        for name in names
        for row in check_job(JOBS[name], [p for p in peers if _takes_part(p, JOBS[name])], **settings)
    ]
    _write(file, surroundings(settings["threads"], settings["device"]), rows, names)
    title = "same start, no dropout: largest difference to ours (FGSM: share of entries that differ)"
    _show(title, rows, _CHECK_COLUMNS, file)
    if alone := [name for name in names if sum(row["job"] == name for row in rows) < 2]:
        say(f"nobody to compare with: {', '.join(alone)}")
    if alone or not all(row["same"] for row in rows):
        raise typer.Exit(1)


def _write(file: Path | None, around: dict[str, Any], rows: list[dict[str, Any]], names: Sequence[str]) -> None:
    if file:
        jobs = [asdict(JOBS[name]) for name in names]
        write_atomically(file, json.dumps({"surroundings": around, "jobs": jobs, "rows": rows}, indent=1) + "\n")


# ---------------------------------------------------------------------------------------------------------
# Tables: heading, key, format

Column = tuple[str, str, str]
_TIME_COLUMNS: list[Column] = [
    ("peer", "peer", ""), ("median ms", "median_ms", ".2f"), ("p5", "p5_ms", ".2f"), ("p95", "p95_ms", ".2f"),
    ("ratio", "ratio", ".2f"), ("CPU ms", "cpu_ms", ".1f"), ("CPU ratio", "cpu_ratio", ".2f"),
    ("products' share", "of_floor", ".0%"), ("first calls s", "first_calls_s", ".1f"),
    ("import s", "import_s", ".2f"), ("peak MiB", "peak_MiB", ".0f"), ("mean J", "mean_loss", ".3f"),
    ("disturbed turns", "turns_disturbed", "d"), ("version", "version", ""),
]  # fmt: skip
_GROWTH_COLUMNS: list[Column] = [
    ("along", "axis", ""), ("size", "size", "d"), ("peer", "peer", ""), ("µs per example", "us_per_example", ".1f"),
    ("ratio", "ratio", ".2f"), ("products' share", "of_floor", ".0%"), ("disturbed turns", "turns_disturbed", "d"),
]  # fmt: skip
_CONVOLUTION_COLUMNS: list[Column] = [
    ("along", "axis", ""), ("size", "size", "d"), ("way", "way", ""), ("µs per example", "us_per_example", ".1f"),
]  # fmt: skip
_CHECK_COLUMNS: list[Column] = [
    ("job", "job", ""), ("peer", "peer", ""), ("largest difference", "difference", ".1e"), ("same", "same", ""),
    ("version", "version", ""),
]  # fmt: skip


def _show(
    title: str, rows: Sequence[dict[str, Any]], columns: Sequence[Column], file: Path | None, by: str = ""
) -> None:
    """Print a table: to standard output, or to standard error if the results go to standard output."""
    from rich.console import Console
    from rich.table import Table

    table = Table(title=title, title_justify="left")
    for heading, _, form in columns:
        table.add_column(heading, justify="right" if form else "left")
    for row in sorted(rows, key=lambda row: row[by]) if by else rows:
        cells = [(row.get(key), form) for _, key, form in columns]
        table.add_row(*("" if value is None else format(value, form) if form else str(value) for value, form in cells))
    results_are_printed = file is not None and descriptor(file) == STANDARD_OUTPUT
    stream = sys.stderr if results_are_printed else sys.stdout
    width = None if stream.isatty() else 160
    Console(file=stream, width=width).print(table)
